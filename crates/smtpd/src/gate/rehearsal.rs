//! A gate under shuttle: connections that come and go, in every order of their steps that chance comes upon.
//!
//! Whoever is in counts himself, and no count is ever above its limit; when all have gone nothing is left. Stories with one who counts in
//! the wrong way must be found.
//!
//! # Not here
//! What the memory model permits beyond one order of all steps: each count is a number of its own, and what is in a place is nobody else's.

pub(crate) mod doubles {
    //! A lock and a counter with a place before each step at which somebody else may go on. Outside of a rehearsal nobody else is there.

    use std::cell::Cell;
    use std::sync::atomic::Ordering;
    use std::sync::{LockResult, MutexGuard, TryLockError};

    thread_local! {
        /// Shuttle plays all threads of a story on this one.
        static GOES_ON: Cell<bool> = const { Cell::new(false) };
    }

    /// Others are there until it is dropped.
    pub(crate) struct Rehearsal(());

    impl Rehearsal {
        pub(crate) fn begin() -> Self {
            GOES_ON.set(true);
            Self(())
        }
    }

    impl Drop for Rehearsal {
        fn drop(&mut self) {
            GOES_ON.set(false);
        }
    }

    pub(crate) fn step() {
        if GOES_ON.get() {
            shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
        }
    }

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            step();
            while GOES_ON.get() {
                match self.0.try_lock() {
                    Ok(guard) => return Ok(guard),
                    Err(TryLockError::Poisoned(error)) => return Err(error),
                    Err(TryLockError::WouldBlock) => shuttle::thread::yield_now(),
                }
            }
            self.0.lock()
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct AtomicU32(std::sync::atomic::AtomicU32);

    impl AtomicU32 {
        pub(crate) const fn new(value: u32) -> Self {
            Self(std::sync::atomic::AtomicU32::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u32 {
            step();
            self.0.load(order)
        }

        pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
            step();
            self.0.fetch_sub(value, order)
        }

        pub(crate) fn fetch_update(
            &self,
            set: Ordering,
            fetch: Ordering,
            change: impl FnMut(u32) -> Option<u32>,
        ) -> Result<u32, u32> {
            step();
            self.0.fetch_update(set, fetch, change)
        }
    }
}

use super::*;
use doubles::{Rehearsal, step};
use shuttle::thread;

/// Orders of steps that are tried of each story.
const RUNS: usize = 2000;

fn every_order(story: impl Fn() + Send + Sync + 'static) {
    let _goes_on = Rehearsal::begin();
    shuttle::check_random(story, RUNS);
}

/// Those who are in, as they count themselves: in all, and of each of two clients.
#[derive(Default)]
struct In {
    all: std::sync::atomic::AtomicU32,
    of_client: [std::sync::atomic::AtomicU32; 2],
}

impl In {
    fn come(&self, client: usize) {
        let counts = [(&self.all, MOST[0].min(MOST[1])), (&self.of_client[client], MOST[2])];
        for (count, most) in counts {
            assert!(count.fetch_add(1, Ordering::SeqCst) < most, "more are in than may be");
        }
    }

    fn go(&self, client: usize) {
        self.all.fetch_sub(1, Ordering::SeqCst);
        self.of_client[client].fetch_sub(1, Ordering::SeqCst);
    }
}

/// In all, in the service, of a client.
const MOST: [u32; 3] = [2, 2, 1];

/// Three connections of one client and one of another come, stay for a step and go; `enter` is how they come in.
fn come_and_go(enter: fn(&Arc<Gate>, IpAddr) -> Result<Place, Crowded>) {
    every_order(move || {
        let total = Arc::new(AtomicU32::new(0));
        let gate = Gate::new(Arc::clone(&total), MOST[0], MOST[1], MOST[2]);
        let all = Arc::new(In::default());
        let coming: Vec<_> = [0, 0, 0, 1]
            .into_iter()
            .map(|client: u8| {
                let (gate, all) = (Arc::clone(&gate), Arc::clone(&all));
                thread::spawn(move || {
                    let Ok(place) = enter(&gate, IpAddr::from([192, 0, 2, client])) else { return };
                    all.come(client.into());
                    step();
                    all.go(client.into());
                    drop(place);
                })
            })
            .collect();
        coming.into_iter().for_each(|one| one.join().expect("nobody panics"));
        assert_eq!(total.load(Ordering::SeqCst), 0, "all have gone");
        assert_eq!(gate.of_service.load(Ordering::SeqCst), 0, "all have gone");
        assert!(gate.of_client.lock().expect("nobody panics").is_empty(), "all have gone");
        let place = gate.enter(IpAddr::from([192, 0, 2, 1]));
        assert!(place.is_ok(), "there is room again");
    });
}

#[test]
fn no_more_are_in_than_may_be_and_places_come_back() {
    come_and_go(Gate::enter);
}

#[test]
#[should_panic(expected = "more are in than may be")]
fn one_who_looks_for_room_and_takes_it_later_is_found_out() {
    come_and_go(|gate, client| {
        let counts = || gate.of_client.lock().unwrap_or_else(PoisonError::into_inner);
        let has_enough = counts().get(&client).is_some_and(|count| *count >= MOST[2]);
        if has_enough || take(&gate.total, MOST[0]).is_none() {
            return Err(Crowded::Client);
        }
        let _ = take(&gate.of_service, 0);
        *counts().entry(client).or_insert(0) += 1;
        Ok(Place { gate: Arc::clone(gate), client })
    });
}

#[test]
#[should_panic(expected = "all have gone")]
fn one_who_is_refused_and_gives_nothing_back_is_found_out() {
    come_and_go(|gate, client| {
        let refused = gate.enter(client);
        if matches!(refused, Err(Crowded::Client)) {
            let _ = take(&gate.total, 0);
        }
        refused
    });
}
