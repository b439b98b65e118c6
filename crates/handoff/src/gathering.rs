//! Things that come close together, and a reader that wakes once for several of them.
//!
//! Who begins something says so ([`Gathering::begins`]), long before it is put into the queue, so that the reader knows how many may come. A
//! reader who would rather have several at once sleeps until so many have arrived, or its time is over ([`Gathering::wait`]). Whoever makes
//! the group complete wakes it; the others leave it asleep.
//!
//! # Not here
//! Whether it is worth while to wait, and for how many: the reader knows.

use std::time::Duration;

use crate::sync::{AtomicBool, AtomicUsize, Ordering, fence};
use crate::{Bell, Patience, Sender, TrySendError};

/// Who is on his way to a reader, and who has arrived.
#[derive(Debug, Default)]
pub struct Gathering {
    /// Begun, and neither put into the queue nor given up.
    on_their_way: AtomicUsize,
    /// In the queue, and not taken yet.
    pub(crate) arrived: AtomicUsize,
    /// So many does the reader wait for.
    pub(crate) enough: AtomicUsize,
    /// Something else came that does not wait.
    hurry: AtomicBool,
    /// The reader waits for others as well.
    pub(crate) patience: Patience,
}

impl Gathering {
    /// Something is begun.
    pub fn begins(&self) {
        self.on_their_way.fetch_add(1, Ordering::AcqRel);
    }

    /// What was begun has been put into the queue, or is given up.
    pub fn ends(&self) {
        self.on_their_way.fetch_sub(1, Ordering::AcqRel);
    }

    /// The reader has taken one out of the queue.
    pub fn is_taken(&self) {
        self.arrived.fetch_sub(1, Ordering::AcqRel);
    }

    /// Something that does not wait was put into one of the reader's queues. Who says so rings behind it.
    pub fn hurries(&self) {
        self.hurry.store(true, Ordering::Release);
    }

    /// The reader is about to take all that is there.
    pub fn attends(&self) {
        self.hurry.swap(false, Ordering::AcqRel);
    }

    /// How many are in the queue.
    pub fn arrived(&self) -> usize {
        self.arrived.load(Ordering::Acquire)
    }

    /// How many may come yet.
    pub fn on_their_way(&self) -> usize {
        self.on_their_way.load(Ordering::Acquire)
    }

    /// The reader's sleep until `enough` have arrived; or until something comes that does not wait, or for `time`. Says how many have.
    pub fn wait(&self, bell: &Bell, time: Duration, enough: usize) -> usize {
        self.enough.store(enough, Ordering::Relaxed);
        self.patience.begins();
        bell.wait(time, || self.arrived() < enough && !self.hurry.load(Ordering::Acquire));
        // Before the reader sleeps in another way it looks once more, behind the fence of that wait.
        self.patience.ends();
        self.arrived()
    }
}

impl<T> Sender<T> {
    /// Puts something in that was said to be on its way, or gives it back at once. Wakes the reader unless that waits for more.
    ///
    /// # Errors
    /// There is no room, or the reader has gone.
    pub fn try_send_gathered(&self, thing: T, gathering: &Gathering) -> Result<(), TrySendError<T>> {
        if self.is_gone() {
            return Err(TrySendError::Disconnected(thing));
        }
        // Before it can be taken.
        let arrived = gathering.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        if let Err(error) = self.queue.try_send(thing) {
            gathering.is_taken();
            return Err(error);
        }
        // Pairs with the fence in `Bell::wait`: either the reader's last look finds this one arrived, or it is seen here how many it waits for.
        fence(Ordering::SeqCst);
        if arrived >= gathering.enough.load(Ordering::Relaxed) {
            self.ring();
        } else {
            self.ring_in_time(&gathering.patience);
        }
        Ok(())
    }
}
