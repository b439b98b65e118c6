//! Bells under shuttle: thousands of orders of the steps of a reader and those who ring.
//!
//! No time passes, so that whoever sleeps with something to do sleeps for ever, which is found as a deadlock. Each story comes twice: as
//! it is, and with a reader or a writer that does two steps in the wrong order, which must be found.
//!
//! # Not here
//! What the memory model permits beyond one order of all steps: the two fences of the bell are argued where they stand.

pub(crate) mod doubles {
    //! Threads without time, and queues that are as slow as they are simple.

    pub(crate) mod thread {
        pub(crate) use shuttle::thread::{Thread, current};

        /// Whether somebody else goes on is tried both ways at each step anyway.
        pub(crate) fn yield_now() {}

        /// No time passes.
        pub(crate) fn park_timeout(_: std::time::Duration) {
            shuttle::thread::park();
        }
    }

    pub(crate) mod channel {
        use std::collections::VecDeque;
        use std::sync::Arc;

        #[allow(unreachable_pub)] // As the real ones, which the crate hands on.
        pub use crossbeam_channel::{SendError, TryRecvError, TrySendError};
        use shuttle::sync::Mutex;

        type Things<T> = Arc<Mutex<VecDeque<T>>>;

        pub(crate) struct Sender<T>(Things<T>, usize);
        pub(crate) struct Receiver<T>(Things<T>);

        pub(crate) fn bounded<T>(length: usize) -> (Sender<T>, Receiver<T>) {
            let things = Things::default();
            (Sender(Arc::clone(&things), length), Receiver(things))
        }

        pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
            bounded(usize::MAX)
        }

        impl<T> Clone for Sender<T> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0), self.1)
            }
        }

        impl<T> Sender<T> {
            pub(crate) fn send(&self, thing: T) -> Result<(), SendError<T>> {
                self.try_send(thing).map_err(|error| SendError(error.into_inner()))
            }

            pub(crate) fn try_send(&self, thing: T) -> Result<(), TrySendError<T>> {
                let mut things = self.0.lock().expect("nobody panics with a queue in hand");
                if things.len() >= self.1 {
                    return Err(TrySendError::Full(thing));
                }
                things.push_back(thing);
                Ok(())
            }

            pub(crate) fn len(&self) -> usize {
                self.0.lock().expect("nobody panics with a queue in hand").len()
            }
        }

        impl<T> Clone for Receiver<T> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0))
            }
        }

        impl<T> Receiver<T> {
            pub(crate) fn len(&self) -> usize {
                self.0.lock().expect("nobody panics with a queue in hand").len()
            }

            pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
                let next = self.0.lock().expect("nobody panics with a queue in hand").pop_front();
                next.ok_or(TryRecvError::Empty)
            }

            pub(crate) fn is_empty(&self) -> bool {
                self.0.lock().expect("nobody panics with a queue in hand").is_empty()
            }
        }
    }
}

use crate::{Bell, Gathering, Patience, Receiver, Sender};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Long enough for never.
const LONG: Duration = Duration::from_secs(3600);
/// Orders that are tried of each story.
const RUNS: usize = 5000;

fn every_order(story: impl Fn() + Sync + Send + 'static) {
    shuttle::check_random(story, RUNS);
}

/// Things that are counted.
#[derive(Default)]
struct Things(AtomicUsize);

impl Things {
    fn put(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Some who bring something, and a reader that goes home when it has both. `sleep` is how it sleeps when it has seen so much.
fn bring_and_read(ringers: usize, sleep: impl Fn(&Bell, &Things, usize)) {
    let (bell, things) = (Bell::new(), Arc::new(Things::default()));
    for _ in 0..ringers {
        let (bell, things) = (Arc::clone(&bell), Arc::clone(&things));
        shuttle::thread::spawn(move || {
            things.put();
            bell.ring();
        });
    }
    let mut seen = 0;
    while seen < ringers {
        match things.count() {
            more if more > seen => seen = more,
            _ => sleep(&bell, &things, seen),
        }
    }
}

#[test]
fn a_bell_is_heard_whenever_it_is_rung() {
    for ringers in [1, 2] {
        every_order(move || {
            bring_and_read(ringers, |bell, things, seen| bell.wait(LONG, || things.count() == seen));
        });
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_reader_that_looks_before_everybody_knows_that_it_sleeps_is_found_out() {
    every_order(|| bring_and_read(1, |bell, _, _| bell.wait(LONG, || true)));
}

#[test]
#[should_panic(expected = "deadlock")]
fn one_who_rings_before_it_puts_something_there_is_found_out() {
    every_order(|| {
        let (bell, things) = (Bell::new(), Arc::new(Things::default()));
        let (ringing, brought) = (Arc::clone(&bell), Arc::clone(&things));
        shuttle::thread::spawn(move || {
            ringing.ring();
            brought.put();
        });
        while things.count() == 0 {
            bell.wait(LONG, || things.count() == 0);
        }
    });
}

#[test]
fn one_bell_serves_two_queues() {
    every_order(|| {
        let bell = Bell::new();
        let (one, ones) = bell.unbounded::<u8>();
        let (two, twos) = bell.bounded::<u8>(1);
        shuttle::thread::spawn(move || one.send(1).expect("somebody reads"));
        shuttle::thread::spawn(move || two.try_send(2).expect("there is room"));
        let mut sum = 0;
        while sum < 3 {
            match ones.try_recv().or_else(|_| twos.try_recv()) {
                Ok(thing) => sum += thing,
                Err(_) => bell.wait(LONG, || ones.is_empty() && twos.is_empty()),
            }
        }
    });
}

/// Some who bring things that have time, and a reader that takes what is there and deals with it, as the spool's writer does. `deal` is
/// told how much it has at hand, and says how much it has dealt with.
fn bring_in_time(deal: impl Fn(&Patience, &Receiver<u8>, &mut usize) -> usize) {
    const THINGS: usize = 3;
    let (bell, patience) = (Bell::new(), Arc::new(Patience::default()));
    let (sender, things): (Sender<u8>, Receiver<u8>) = bell.unbounded();
    for _ in 0..THINGS {
        let (sender, patience) = (sender.clone(), Arc::clone(&patience));
        shuttle::thread::spawn(move || sender.send_in_time(0, &patience).expect("somebody reads"));
    }
    let (mut dealt_with, mut at_hand) = (0, 0);
    while dealt_with < THINGS {
        dealt_with += deal(&patience, &things, &mut at_hand);
        // Whoever has something at hand has a deadline, and wakes by itself.
        if dealt_with < THINGS && at_hand == 0 {
            bell.wait(LONG, || things.is_empty());
        }
    }
}

/// Takes what is there.
fn take(things: &Receiver<u8>, patience: &Patience, at_hand: &mut usize) {
    for _ in std::iter::from_fn(|| things.try_recv().ok()) {
        *at_hand += 1;
        patience.begins();
    }
}

/// As the spool's writer: takes, and now or at a later turn deals with all that it has.
fn deal(patience: &Patience, things: &Receiver<u8>, at_hand: &mut usize) -> usize {
    take(things, patience, at_hand);
    if thread_rng().gen_range(0..2) == 0 {
        return 0;
    }
    patience.ends();
    std::mem::take(at_hand)
}

#[test]
fn what_has_time_is_not_forgotten() {
    every_order(|| bring_in_time(deal));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_reader_whose_patience_never_ends_is_found_out() {
    every_order(|| {
        bring_in_time(|patience, things, at_hand| {
            take(things, patience, at_hand);
            std::mem::take(at_hand)
        });
    });
}

/// What was here once: those who bring something note that one of them has rung.
#[test]
#[should_panic(expected = "deadlock")]
fn a_note_that_is_made_when_the_reader_has_dealt_with_it_already_is_found_out() {
    every_order(|| {
        let (bell, noted) = (Bell::new(), Arc::new(AtomicBool::new(false)));
        let things = Arc::new(Things::default());
        for _ in 0..2 {
            let (bell, noted, things) = (Arc::clone(&bell), Arc::clone(&noted), Arc::clone(&things));
            shuttle::thread::spawn(move || {
                things.put();
                if !noted.swap(true, Ordering::AcqRel) {
                    bell.ring();
                }
            });
        }
        let mut seen = 0;
        while seen < 2 {
            seen = things.count();
            noted.swap(false, Ordering::AcqRel);
            bell.wait(LONG, || seen < 2 && things.count() == seen);
        }
    });
}

/// Two who come close together, and a reader that sleeps for both of them at once, or for one, as the spool's writer does. `arrive` is how one hands
/// over what he has, `wait` the reader's sleep for so many.
fn gather(
    arrive: impl Fn(&Sender<u8>, &Gathering) + Copy + Send + Sync + 'static,
    wait: impl Fn(&Gathering, &Bell, usize),
) {
    const ALL: usize = 2;
    let bell = Bell::new();
    let gathering = Arc::new(Gathering::default());
    let (sender, things): (Sender<u8>, Receiver<u8>) = bell.bounded(ALL);
    for _ in 0..ALL {
        let (sender, gathering) = (sender.clone(), Arc::clone(&gathering));
        gathering.begins();
        shuttle::thread::spawn(move || {
            arrive(&sender, &gathering);
            gathering.ends();
        });
    }
    let mut taken = 0;
    loop {
        while things.try_recv().is_ok() {
            gathering.is_taken();
            taken += 1;
        }
        match ALL - taken {
            0 => return,
            // No time passes, so that it must not wait for more than will come.
            left => match thread_rng().gen_range(0..3) {
                0 => bell.wait(LONG, || things.is_empty()),
                enough => wait(&gathering, &bell, enough.min(left)),
            },
        }
    }
}

fn arrive(sender: &Sender<u8>, gathering: &Gathering) {
    sender.try_send_gathered(0, gathering).expect("there is room");
}

fn wait(gathering: &Gathering, bell: &Bell, enough: usize) {
    let _ = gathering.wait(bell, LONG, enough);
}

#[test]
fn who_waits_for_several_is_woken_by_the_last_of_them() {
    every_order(|| gather(arrive, wait));
}

#[test]
#[should_panic(expected = "deadlock")]
fn one_who_looks_whether_he_is_the_last_before_he_is_counted_is_found_out() {
    every_order(|| {
        let arrive = |sender: &Sender<u8>, gathering: &Gathering| {
            let is_last = gathering.arrived() + 1 >= 2;
            gathering.arrived.fetch_add(1, Ordering::AcqRel);
            sender.send_quietly(0).expect("there is room");
            if is_last {
                sender.ring();
            }
        };
        gather(arrive, wait);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_reader_that_looks_for_several_before_everybody_knows_that_it_sleeps_is_found_out() {
    every_order(|| {
        gather(arrive, |gathering, bell, enough| {
            gathering.enough.store(enough, Ordering::Relaxed);
            gathering.patience.begins();
            let is_complete = gathering.arrived() >= enough;
            bell.wait(LONG, || !is_complete);
            gathering.patience.ends();
        });
    });
}

/// One who does not wait, and a reader that waits for others. `bring` is how the thing is brought.
fn hurry(bring: impl Fn(&Sender<u8>, &Gathering) + Copy + Send + Sync + 'static) {
    every_order(move || {
        let (bell, gathering) = (Bell::new(), Arc::new(Gathering::default()));
        let (sender, things): (Sender<u8>, Receiver<u8>) = bell.unbounded();
        let hurried = Arc::clone(&gathering);
        shuttle::thread::spawn(move || bring(&sender, &hurried));
        loop {
            gathering.attends();
            if things.try_recv().is_ok() {
                return;
            }
            let _ = gathering.wait(&bell, LONG, 2);
        }
    });
}

#[test]
fn what_does_not_wait_is_not_overslept() {
    hurry(|sender, gathering| {
        sender.send_quietly(0).expect("somebody reads");
        gathering.hurries();
        sender.ring();
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn one_who_hurries_before_it_puts_something_there_is_found_out() {
    hurry(|sender, gathering| {
        gathering.hurries();
        sender.send_quietly(0).expect("somebody reads");
        sender.ring();
    });
}

/// One thing, whose end is counted.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Two who put something in, and a reader that goes meanwhile. Nothing is kept, although those who might put in more are still there.
/// `put` is how one puts it in, `go` how the reader goes.
fn leave(
    put: impl Fn(&Sender<Counted>, Counted) + Copy + Send + Sync + 'static,
    go: impl Fn(Receiver<Counted>) + Send + Sync + 'static,
) {
    every_order(move || {
        let bell = Bell::new();
        let (sender, things) = bell.bounded(2);
        let ended = Arc::new(AtomicUsize::new(0));
        let putting: Vec<_> = (0..2)
            .map(|_| {
                let (sender, ended) = (sender.clone(), Arc::clone(&ended));
                shuttle::thread::spawn(move || put(&sender, Counted(ended)))
            })
            .collect();
        drop(things.try_recv());
        go(things);
        putting.into_iter().for_each(|one| one.join().expect("nobody panics"));
        assert_eq!(ended.load(Ordering::SeqCst), 2, "something is kept that nobody will read");
        assert!(sender.try_send(Counted(ended)).is_err(), "the reader has gone");
    });
}

#[test]
fn what_is_in_a_queue_goes_with_its_reader() {
    leave(|sender, thing| drop(sender.send(thing)), drop);
    leave(|sender, thing| drop(sender.try_send(thing)), drop);
    leave(|sender, thing| drop(sender.send_in_time(thing, &Patience::default())), drop);
    leave(|sender, thing| drop(sender.try_send_gathered(thing, &Gathering::default())), drop);
    let quietly = |sender: &Sender<Counted>, thing| {
        if sender.send_quietly(thing).is_ok() {
            sender.ring();
        }
    };
    leave(quietly, drop);
}

#[test]
#[should_panic(expected = "something is kept")]
fn a_reader_that_takes_what_is_left_before_everybody_knows_that_it_goes_is_found_out() {
    leave(
        |sender, thing| drop(sender.send(thing)),
        |things| {
            while things.try_recv().is_ok() {}
            things.gone.store(true, Ordering::Relaxed);
            std::mem::forget(things);
        },
    );
}

#[test]
#[should_panic(expected = "something is kept")]
fn one_who_looks_whether_the_reader_has_gone_only_before_it_puts_something_in_is_found_out() {
    leave(
        |sender, thing| {
            if sender.send_quietly(thing).is_ok() {
                sender.bell.ring();
            }
        },
        drop,
    );
}
