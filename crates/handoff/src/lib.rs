//! What one thread hands to another: queues with one reader, who sleeps at once when all of them are empty.
//!
//! A reader of crossbeam's own looks again and again for some microseconds, giving way to others (`sched_yield`) in between,
//! before it sleeps. On a machine whose processors are busy with the work of the same message that is a good part of what a
//! hand-over costs, and it finds nothing: what comes next needs the processor that the reader holds. Here the reader sleeps
//! on a [`Bell`], which whoever puts something into one of its queues rings. One bell serves several queues, and ringing it
//! costs a system call only when the reader sleeps.
//!
//! A reader that was woken gives way once before it looks. On an idle machine that is nothing; on a busy one those who have
//! something to bring get to it first, so that the reader takes several things at once and sleeps less often.
//!
//! # Invariants
//! What was put into a queue before [`Bell::ring`] is seen by the reader's next look, or wakes it from its sleep. The reader
//! is one thread at a time.
//! # Not here
//! What is in the queues, and in which order their reader takes it.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

pub use crossbeam_channel::{Receiver, SendError, TrySendError};

/// Wakes one reader.
#[derive(Debug, Default)]
pub struct Bell {
    /// The reader has looked, or is about to look for the last time, before it sleeps.
    asleep: AtomicBool,
    /// Who that is. Locked by the reader before it sleeps, and by those who find it asleep.
    reader: Mutex<Option<Thread>>,
}

impl Bell {
    /// A bell that nobody waits for yet.
    #[must_use]
    pub fn new() -> Arc<Bell> {
        Arc::new(Bell::default())
    }

    /// A queue whose reader waits for this bell, with room for `length` things.
    #[must_use]
    pub fn bounded<T>(self: &Arc<Bell>, length: usize) -> (Sender<T>, Receiver<T>) {
        self.of(crossbeam_channel::bounded(length))
    }

    /// The same without a limit, for what may not be refused.
    #[must_use]
    pub fn unbounded<T>(self: &Arc<Bell>) -> (Sender<T>, Receiver<T>) {
        self.of(crossbeam_channel::unbounded())
    }

    fn of<T>(
        self: &Arc<Bell>,
        (queue, receiver): (crossbeam_channel::Sender<T>, Receiver<T>),
    ) -> (Sender<T>, Receiver<T>) {
        (Sender { queue, bell: Arc::clone(self) }, receiver)
    }

    /// Wakes the reader if it sleeps.
    pub fn ring(&self) {
        // Pairs with the fence in `wait`: either the reader's last look comes after this fence and finds what was put into a
        // queue before it, or it has said before that it sleeps, and is woken here.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(reader) = reader {
                reader.unpark();
            }
        }
    }

    /// The reader's sleep: until somebody rings, or for `time`. Does not sleep when `nothing_there` says no, which is asked
    /// after everybody knows that they have to ring.
    pub fn wait(&self, time: Duration, nothing_there: impl FnOnce() -> bool) {
        {
            let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let me = thread::current();
            if reader.as_ref().is_none_or(|known| known.id() != me.id()) {
                *reader = Some(me);
            }
        }
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if nothing_there() {
            let begun = Instant::now();
            // A thread may wake for no reason, or for a bell that was rung after its last look.
            let mut rung = true;
            while self.asleep.load(Ordering::Acquire) {
                let left = time.saturating_sub(begun.elapsed());
                if left.is_zero() {
                    rung = false;
                    break;
                }
                thread::park_timeout(left);
            }
            if rung {
                thread::yield_now();
            }
        }
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// The end of a queue that things are put into.
pub struct Sender<T> {
    queue: crossbeam_channel::Sender<T>,
    bell: Arc<Bell>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { queue: self.queue.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sender").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

impl<T> Sender<T> {
    /// Puts something in, when there is room again.
    ///
    /// # Errors
    /// The reader has gone; the thing comes back.
    pub fn send(&self, thing: T) -> Result<(), SendError<T>> {
        self.queue.send(thing)?;
        self.bell.ring();
        Ok(())
    }

    /// Puts something in, or gives it back at once.
    ///
    /// # Errors
    /// There is no room, or the reader has gone.
    pub fn try_send(&self, thing: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(thing)?;
        self.bell.ring();
        Ok(())
    }

    /// Puts something in that has time until the reader wakes for something else.
    ///
    /// # Errors
    /// The reader has gone; the thing comes back.
    pub fn send_quietly(&self, thing: T) -> Result<(), SendError<T>> {
        self.queue.send(thing)
    }

    /// Wakes the reader.
    pub fn ring(&self) {
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn nothing_is_overslept() {
        const EACH: u32 = 20_000;
        let bell = Bell::new();
        let (one, ones) = bell.bounded::<u32>(7);
        let (two, twos) = bell.unbounded::<u32>();
        let reader = {
            let bell = Arc::clone(&bell);
            thread::spawn(move || {
                let (mut seen, mut slept) = (0, Duration::ZERO);
                while seen < 2 * EACH {
                    let taken = ones.try_iter().chain(twos.try_iter()).count() as u32;
                    seen += taken;
                    if taken == 0 {
                        let begun = Instant::now();
                        bell.wait(LONG, || ones.is_empty() && twos.is_empty());
                        slept = slept.max(begun.elapsed());
                    }
                }
                slept
            })
        };
        let writers = [one, two].map(|queue| {
            thread::spawn(move || {
                for number in 0..EACH {
                    queue.send(number).unwrap();
                    if number % 64 == 0 {
                        thread::yield_now();
                    }
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert!(reader.join().unwrap() < LONG, "a bell was not heard");
    }

    #[test]
    fn a_bell_rung_before_the_reader_looks_costs_nothing_and_one_after_it_wakes() {
        let bell = Bell::new();
        let (queue, things) = bell.unbounded();
        queue.send(1).unwrap();
        bell.wait(LONG, || things.is_empty());
        assert_eq!(things.try_recv(), Ok(1));
        let (asleep, times) = (Arc::clone(&bell), Arc::new(AtomicU32::new(0)));
        let woken = Arc::clone(&times);
        let reader = thread::spawn(move || {
            asleep.wait(LONG, || {
                woken.fetch_add(1, Ordering::SeqCst);
                true
            });
            woken.fetch_add(1, Ordering::SeqCst);
        });
        while times.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        bell.ring();
        reader.join().unwrap();
        assert_eq!(times.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_is_put_in_quietly_is_there_at_the_next_look() {
        let bell = Bell::new();
        let (queue, things) = bell.unbounded();
        queue.send_quietly("later").unwrap();
        assert!(!bell.asleep.load(Ordering::Relaxed));
        bell.wait(Duration::from_millis(1), || true);
        assert_eq!(things.try_recv(), Ok("later"));
    }

    #[test]
    fn a_full_queue_and_one_without_a_reader_give_back() {
        let bell = Bell::new();
        let (queue, things) = bell.bounded(1);
        queue.try_send(1).unwrap();
        assert_eq!(queue.try_send(2), Err(TrySendError::Full(2)));
        drop(things);
        assert_eq!(queue.send(3), Err(SendError(3)));
        assert_eq!(queue.try_send(3), Err(TrySendError::Disconnected(3)));
    }
}
