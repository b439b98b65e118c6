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
//! is one thread at a time. What is in a queue when its reader goes is dropped then, and what is put in later comes back or is
//! dropped: nobody waits for the answer of somebody who has gone.
//! That is tried in thousands of orders of steps (`rehearsal`), and with real threads (`tests/threads.rs`). What loom says of two who ring is
//! a weakness of its own: see docs/internals/threads.md.
//! # Not here
//! What is in the queues, and in which order their reader takes it.
#![forbid(unsafe_code)]

mod gathering;
#[cfg(test)]
mod rehearsal;
mod sync;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sync::{AtomicBool, Mutex, Ordering, PoisonError, channel, fence, thread};

pub use gathering::Gathering;
pub use sync::channel::{SendError, TryRecvError, TrySendError};

/// Wakes one reader.
#[derive(Debug, Default)]
pub struct Bell {
    /// The reader has looked, or is about to look for the last time, before it sleeps.
    asleep: AtomicBool,
    /// Who that is. Locked by the reader before it sleeps, and by those who find it asleep.
    reader: Mutex<Option<thread::Thread>>,
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
        self.of(channel::bounded(length))
    }

    /// The same without a limit, for what may not be refused.
    #[must_use]
    pub fn unbounded<T>(self: &Arc<Bell>) -> (Sender<T>, Receiver<T>) {
        self.of(channel::unbounded())
    }

    fn of<T>(
        self: &Arc<Bell>,
        (queue, things): (channel::Sender<T>, channel::Receiver<T>),
    ) -> (Sender<T>, Receiver<T>) {
        let gone = Arc::new(AtomicBool::new(false));
        let sender = Sender { queue, left: things.clone(), gone: Arc::clone(&gone), bell: Arc::clone(self) };
        (sender, Receiver { things, gone })
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

/// What a reader says of things that have time: that it has some, and will wake for them by itself. Who brings more of them then need not
/// ring.
///
/// Only the reader says so. Were it for those who bring something to note that one of them has rung, a reader could have taken that thing and
/// dealt with it before the note is made, and nobody would ring for the next.
#[derive(Debug, Default)]
pub struct Patience(AtomicBool);

impl Patience {
    /// The reader has taken something that has time, and does not sleep past its deadline.
    pub fn begins(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The reader is about to deal with what it has. Before it sleeps it looks once more, behind the fence of [`Bell::wait`].
    pub fn ends(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The end of a queue that things are taken out of. When it is dropped the reader has gone, and what is in the queue is dropped with it.
///
/// A queue of crossbeam with room for so many things would keep them for as long as there is anybody who might put in more.
pub struct Receiver<T> {
    things: channel::Receiver<T>,
    /// The reader has gone.
    gone: Arc<AtomicBool>,
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl<T> Receiver<T> {
    /// The next thing.
    ///
    /// # Errors
    /// There is none now.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.things.try_recv()
    }

    /// Takes what is there, one after the other.
    pub fn try_iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// How many things there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// There is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        // Pairs with the fence that stands between putting something in and `Sender::look_after`: either it is found here, or whoever put it
        // in sees that the reader has gone.
        fence(Ordering::SeqCst);
        while self.things.try_recv().is_ok() {}
    }
}

/// The end of a queue that things are put into.
pub struct Sender<T> {
    queue: channel::Sender<T>,
    /// What is in it, for when the reader has gone.
    left: channel::Receiver<T>,
    gone: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender {
            queue: self.queue.clone(),
            left: self.left.clone(),
            gone: Arc::clone(&self.gone),
            bell: Arc::clone(&self.bell),
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sender").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

/// What is put in at the moment at which the reader goes is dropped.
impl<T> Sender<T> {
    /// The reader has gone.
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Behind a fence, when something was put in: if the reader has gone meanwhile, it may be that nobody else takes it out again.
    fn look_after(&self) {
        if self.is_gone() {
            while self.left.try_recv().is_ok() {}
        }
    }

    /// Puts something in, when there is room again.
    ///
    /// # Errors
    /// The reader has gone; the thing comes back.
    pub fn send(&self, thing: T) -> Result<(), SendError<T>> {
        self.send_quietly(thing)?;
        self.ring();
        Ok(())
    }

    /// Puts something in, or gives it back at once.
    ///
    /// # Errors
    /// There is no room, or the reader has gone.
    pub fn try_send(&self, thing: T) -> Result<(), TrySendError<T>> {
        if self.is_gone() {
            return Err(TrySendError::Disconnected(thing));
        }
        self.queue.try_send(thing)?;
        self.ring();
        Ok(())
    }

    /// Puts something in that has time, and wakes the reader unless that has something of the kind.
    ///
    /// # Errors
    /// The reader has gone; the thing comes back.
    pub fn send_in_time(&self, thing: T, patience: &Patience) -> Result<(), SendError<T>> {
        self.send_quietly(thing)?;
        self.ring_in_time(patience);
        Ok(())
    }

    fn ring_in_time(&self, patience: &Patience) {
        // Pairs with the fence in `wait`, which comes behind the end of patience: either the reader's last look finds the thing, or it
        // is seen here that its patience has ended.
        fence(Ordering::SeqCst);
        if !patience.0.load(Ordering::Relaxed) {
            self.bell.ring();
        }
        self.look_after();
    }

    /// Puts something in without waking the reader: for who rings a moment later.
    ///
    /// # Errors
    /// The reader has gone; the thing comes back.
    pub fn send_quietly(&self, thing: T) -> Result<(), SendError<T>> {
        if self.is_gone() {
            return Err(SendError(thing));
        }
        self.queue.send(thing)
    }

    /// Wakes the reader.
    pub fn ring(&self) {
        // Begins with a fence.
        self.bell.ring();
        self.look_after();
    }
}
