//! Things that are known to be on their way, and a reader that wakes once for several of them.
//!
//! Who begins something says so ([`Gathering::begins`]), long before it is put into the queue. A reader who would rather have several
//! at once sleeps until nobody is on his way any more, or enough have arrived, or its time is over ([`Gathering::wait`]). Whoever makes
//! the group complete wakes it; the others leave it asleep.
//!
//! # Not here
//! Whether it is worth while to wait: the reader knows.

use std::time::Duration;

use crate::sync::{AtomicUsize, Ordering};
use crate::{Bell, Patience, Sender, TrySendError};

/// Who is on his way to a reader, and who has arrived.
#[derive(Debug)]
pub struct Gathering {
    /// Begun, and neither put into the queue nor given up.
    on_their_way: AtomicUsize,
    /// In the queue, and not taken yet.
    arrived: AtomicUsize,
    /// So many are waited for at most.
    enough: usize,
    /// The reader waits for others as well.
    pub(crate) patience: Patience,
}

impl Gathering {
    /// Nobody is there, and `enough` are a group.
    #[must_use]
    pub fn of(enough: usize) -> Gathering {
        Gathering {
            on_their_way: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            enough,
            patience: Patience::default(),
        }
    }

    /// Something is begun.
    pub fn begins(&self) {
        self.on_their_way.fetch_add(1, Ordering::AcqRel);
    }

    /// What was begun has been put into the queue, or is given up. Who does that rings when it says yes: the others who have arrived have
    /// been waiting for it.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.on_their_way.fetch_sub(1, Ordering::AcqRel) == 1 && self.arrived() > 0
    }

    /// The reader has taken one out of the queue.
    pub fn is_taken(&self) {
        self.arrived.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many are in the queue.
    pub fn arrived(&self) -> usize {
        self.arrived.load(Ordering::Acquire)
    }

    /// How many may come yet.
    pub fn on_their_way(&self) -> usize {
        self.on_their_way.load(Ordering::Acquire)
    }

    /// Whether there is nothing to be gained by waiting.
    pub fn is_complete(&self) -> bool {
        self.on_their_way() == 0 || self.arrived() >= self.enough
    }

    /// The reader's sleep until all have arrived who are on their way, or enough of them; or until somebody rings for another reason, or for
    /// `time`. Says how many have arrived.
    pub fn wait(&self, bell: &Bell, time: Duration) -> usize {
        self.patience.begins();
        bell.wait(time, || !self.is_complete());
        // Before the reader sleeps in another way it looks once more, behind the fence of that wait.
        self.patience.ends();
        self.arrived()
    }
}

impl<T> Sender<T> {
    /// Puts something in that was said to be on its way, or gives it back at once. Wakes the reader unless that waits for more. Whether it was the last on
    /// its way is for [`Gathering::ends`], which comes behind this.
    ///
    /// # Errors
    /// There is no room, or the reader has gone.
    pub fn try_send_gathered(&self, thing: T, gathering: &Gathering) -> Result<(), TrySendError<T>> {
        // Before it can be taken.
        let arrived = gathering.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        if let Err(error) = self.queue.try_send(thing) {
            gathering.is_taken();
            return Err(error);
        }
        if arrived >= gathering.enough {
            self.bell.ring();
        } else {
            self.ring_in_time(&gathering.patience);
        }
        Ok(())
    }
}
