//! Stopping, and how many connections there may be: what the workers of one channel share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long a dialogue under way may go on after the channel was told to stop. The hub allows ten seconds for all of
/// its stopping; a message whose end was sent deserves most of that, since giving up means sending it twice.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(6);

/// Told once, by the host; seen by all workers.
#[derive(Debug, Default)]
pub(crate) struct Halt {
    since: OnceLock<Instant>,
    told: Notify,
}

impl Halt {
    pub(crate) fn stop(&self) {
        let _ = self.since.set(Instant::now());
        self.told.notify_waiters();
    }

    pub(crate) fn is_told(&self) -> bool {
        self.since.get().is_some()
    }

    /// Nothing is to be waited for any longer.
    pub(crate) fn is_over(&self) -> bool {
        self.since.get().is_some_and(|since| since.elapsed() >= STOP_GRACE)
    }

    /// Ends when the channel is told to stop.
    pub(crate) async fn told(&self) {
        let told = self.told.notified();
        tokio::pin!(told);
        // Registered before the look, so that a word in between is not missed.
        told.as_mut().enable();
        if !self.is_told() {
            told.await;
        }
    }
}

/// The connections that the channel may have open at once (MAX_CLIENT_THREADS).
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<u32>,
    freed: Condvar,
}

/// The right to one connection; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

/// How often a worker that waits for a slot looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Slots {
    pub(crate) fn new(count: u32) -> Arc<Slots> {
        Arc::new(Slots { free: Mutex::new(count), freed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, u32> {
        // A panic elsewhere leaves a number here, and a number is never half written.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_take(self: &Arc<Slots>) -> Option<Slot> {
        let mut free = self.lock();
        *free = free.checked_sub(1)?;
        Some(Slot(Arc::clone(self)))
    }

    /// Waits for a slot; `None` after `limit`, or when the channel is told to stop.
    pub(crate) fn take(self: &Arc<Slots>, limit: Duration, halt: &Halt) -> Option<Slot> {
        let begun = Instant::now();
        let mut free = self.lock();
        loop {
            if let Some(rest) = free.checked_sub(1) {
                *free = rest;
                return Some(Slot(Arc::clone(self)));
            }
            if halt.is_told() || begun.elapsed() >= limit {
                return None;
            }
            free = self
                .freed
                .wait_timeout(free, LOOK_EVERY)
                .map_or_else(|e| e.into_inner().0, |(guard, _)| guard);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_and_come_back() {
        let (slots, halt) = (Slots::new(2), Halt::default());
        let one = slots.try_take().unwrap();
        let _two = slots.try_take().unwrap();
        assert!(slots.try_take().is_none());
        assert!(slots.take(Duration::from_millis(1), &halt).is_none());
        let waiting = std::thread::spawn({
            let slots = Arc::clone(&slots);
            move || slots.take(Duration::from_secs(60), &Halt::default()).is_some()
        });
        drop(one);
        assert!(waiting.join().unwrap());
        halt.stop();
        let _three = slots.try_take().unwrap();
        assert!(slots.take(Duration::from_secs(60), &halt).is_none());
        assert!(halt.is_told() && !halt.is_over());
    }
}
