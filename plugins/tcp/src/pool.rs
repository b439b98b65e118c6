//! The connections of a channel: how many there may be, and those that wait for the next message.
//!
//! All workers share them. A worker that has delivered puts its connection here; whoever needs one for the same target
//! next takes it, and nobody waits for a connection that stands idle with somebody else.
//!
//! # Invariants
//! Each connection, idle or busy, holds one [`Slot`], and there are as many slots as MAX_CLIENT_THREADS says. A worker
//! that waits for a slot holds none. Connections end (which may take a word on the wire) without a lock.
//! # Not here
//! Opening and using a connection (`connection`), to whom (`targets`).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::halt::Halt;

/// How often a worker that waits for a connection looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The connections that the channel may have open at once (MAX_CLIENT_THREADS).
#[derive(Debug)]
struct Slots {
    free: Mutex<u32>,
    /// A slot is free, or a connection waits.
    changed: Condvar,
}

/// The right to one connection; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.changed.notify_one();
    }
}

/// What a worker gets when it needs a connection.
pub(crate) enum Found {
    /// One to the same target, idle until now.
    Kept(Box<Connection>),
    /// The right to open one.
    Slot(Slot),
}

/// A connection that waits for its next message, and the target it leads to.
struct Kept {
    target: String,
    connection: Connection,
}

/// All connections of a channel.
pub(crate) struct Pool {
    slots: Arc<Slots>,
    /// The one put back last is the last. Locked after `slots.free` where both are.
    kept: Mutex<Vec<Kept>>,
}

impl Pool {
    pub(crate) fn new(connections_max: u32) -> Pool {
        let slots = Slots { free: Mutex::new(connections_max), changed: Condvar::new() };
        Pool { slots: Arc::new(slots), kept: Mutex::new(Vec::new()) }
    }

    /// An idle connection to the target: the one that was used last, so that others may grow old and end.
    pub(crate) fn take(&self, target: &str) -> Option<Connection> {
        let mut kept = lock(&self.kept);
        let at = kept.iter().rposition(|one| one.target == target)?;
        Some(kept.remove(at).connection)
    }

    /// Puts a connection back. Somebody may be waiting for just that.
    pub(crate) fn put(&self, target: &str, connection: Connection) {
        lock(&self.kept).push(Kept { target: target.to_owned(), connection });
        // Through the lock, so that it cannot fall between a waiter's look and its sleep.
        drop(lock(&self.slots.free));
        self.slots.changed.notify_one();
    }

    /// A connection to the target, or the right to open one. Where all are in use, idle ones to other targets end first,
    /// then the worker waits; `None` after `limit`, or when the channel is told to stop. Without a `target` only the
    /// right will do.
    pub(crate) fn find(&self, target: Option<&str>, limit: Duration, halt: &Halt) -> Option<Found> {
        let begun = Instant::now();
        let mut free = lock(&self.slots.free);
        loop {
            if let Some(connection) = target.and_then(|target| self.take(target)) {
                return Some(Found::Kept(Box::new(connection)));
            }
            if let Some(rest) = free.checked_sub(1) {
                *free = rest;
                return Some(Found::Slot(Slot(Arc::clone(&self.slots))));
            }
            let oldest = {
                let mut kept = lock(&self.kept);
                (!kept.is_empty()).then(|| kept.remove(0))
            };
            if let Some(oldest) = oldest {
                drop(free);
                oldest.connection.quit();
                free = lock(&self.slots.free);
                continue;
            }
            if halt.is_told() || begun.elapsed() >= limit {
                return None;
            }
            free = self
                .slots
                .changed
                .wait_timeout(free, LOOK_EVERY)
                .map_or_else(|error| error.into_inner().0, |(guard, _)| guard);
        }
    }

    /// Time until some idle connection will have been idle for `idle`.
    pub(crate) fn until_idle(&self, idle: Duration) -> Option<Duration> {
        let kept = lock(&self.kept);
        kept.iter().map(|one| idle.saturating_sub(one.connection.used().elapsed())).min()
    }

    /// Ends what was idle for `idle`; with zero, everything that is idle.
    pub(crate) fn close_idle(&self, idle: Duration) {
        let old: Vec<Kept> =
            lock(&self.kept).extract_if(.., |one| one.connection.used().elapsed() >= idle).collect();
        old.into_iter().for_each(|one| one.connection.quit());
    }
}

/// A panic elsewhere leaves a number or a list here, and neither is ever half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_and_come_back() {
        let (pool, halt) = (Pool::new(2), Halt::default());
        let slot = |limit| pool.find(Some("mx"), limit, &halt);
        let one = slot(Duration::ZERO).unwrap();
        let _two = slot(Duration::ZERO).unwrap();
        assert!(slot(Duration::from_millis(1)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| slot(Duration::from_secs(60)).is_some());
            drop(one);
            assert!(waiting.join().unwrap());
        });
        halt.stop();
        let _three = slot(Duration::ZERO).unwrap();
        assert!(slot(Duration::from_secs(60)).is_none());
        assert!(halt.is_told() && !halt.is_over());
    }
}
