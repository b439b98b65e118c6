//! Which run counts an entry, and what it is told of what becomes of it.
//!
//! A run counts what its queues hold within a release's reach: an entry that comes, or comes back, enters; one that is held
//! or taken away leaves; one that was tried is settled.
//!
//! # Not here
//! The sums (`tally`), which queues are under which run (`release`).

use sluice_spool::GivesBack;

use crate::entry::{EntryKey, State};
use crate::index::{QueueKey, Queues};
use crate::tally::{Count, Entrance, Ledger, Settled, Whose};

/// What becomes of entries.
impl Queues {
    /// An attempt has come to this. To be told before anything else is done with the entry: before
    /// [`Queues::set_open`], [`Queues::put_back`] and [`Queues::finish`]. True when a run counts it.
    pub fn settle(&mut self, key: EntryKey, settled: Settled) -> bool {
        let Some((index, tried)) = self.counted_by(key) else { return false };
        let (whose, known) = (self.whose(key), self.recipients(key));
        let Some(run) = self.runs.get_mut(index) else { return false };
        let is_done = run.ledger.settle(whose, known, tried, settled);
        if let Some(own) = self.alone.get_mut(&key) {
            own.1 = true;
            if is_done {
                self.drop_alone(key);
            }
            return true;
        }
        let queue = self.entry(key).queue;
        if let Some(run) = self.queues.get_mut(queue.0).and_then(|queue| queue.run.as_mut()) {
            if is_done {
                run.tried.remove(&key);
                run.outside.insert(key);
            } else {
                run.tried.insert(key);
            }
        }
        true
    }

    /// How many recipients of an entry are open, as far as the index knows.
    #[must_use]
    pub fn recipients(&self, key: EntryKey) -> u64 {
        match self.open(key) {
            Some(open) => open.len() as u64,
            None => u64::from(self.entry(key).recipients.max(1)),
        }
    }

    /// The run that counts an entry, and whether the entry was tried under it.
    pub(crate) fn counted_by(&self, key: EntryKey) -> Option<(u32, bool)> {
        if let Some(&own) = self.alone.get(&key) {
            return Some(own);
        }
        let entry = self.entry(key);
        if matches!(entry.state, State::Held | State::Deferred) {
            return None;
        }
        let run = self.queues.get(entry.queue.0)?.run.as_ref()?;
        (!run.outside.contains(&key)).then(|| (run.run, run.tried.contains(&key)))
    }

    pub(crate) fn whose(&self, key: EntryKey) -> Whose {
        let entry = self.entry(key);
        let several = self.queues.get(entry.queue.0).is_some_and(|queue| queue.rare.spread.contains(&key));
        Whose { message: entry.message, bytes: self.message(entry.message).size, several }
    }

    /// All that a queue under a run holds is promised by it.
    pub(crate) fn enter_queue(&self, key: QueueKey, ledger: &mut Ledger) {
        let Some(queue) = self.queues.get(key.0) else { return };
        let Some(run) = &queue.run else { return };
        let mut plain = Count {
            messages: queue.releasable(),
            recipients: queue.covered.recipients,
            bytes: queue.covered.bytes,
        };
        let others = run.outside.iter().filter(|entry| !queue.rare.spread.contains(entry));
        for &entry in queue.rare.spread.iter().chain(others) {
            let record = self.entry(entry);
            if matches!(record.state, State::Held | State::Deferred) {
                continue;
            }
            let (whose, recipients) = (self.whose(entry), self.recipients(entry));
            plain -= Count { messages: 1, recipients, bytes: whose.bytes };
            if !run.outside.contains(&entry) {
                ledger.enter(whose, recipients, Entrance::Promised);
            }
        }
        ledger.enter_many(plain);
    }

    /// An entry of a queue under a run is there now, or is in reach again: it goes with the run.
    pub(crate) fn enter(&mut self, key: EntryKey) {
        let entry = self.entry(key);
        if matches!(entry.state, State::Held | State::Deferred) || self.alone.contains_key(&key) {
            return;
        }
        let queue = entry.queue;
        let (whose, recipients) = (self.whose(key), self.recipients(key));
        let Some(run) = self.queues.get_mut(queue.0).and_then(|queue| queue.run.as_mut()) else { return };
        run.outside.remove(&key);
        if let Some(run) = self.runs.get_mut(run.run) {
            run.ledger.enter(whose, recipients, Entrance::Joined);
        }
    }

    /// An entry goes out of its run, if one counts it.
    pub(crate) fn leave(&mut self, key: EntryKey) {
        let Some((index, tried)) = self.counted_by(key) else {
            let queue = self.entry(key).queue;
            if let Some(run) = self.queues.get_mut(queue.0).and_then(|queue| queue.run.as_mut()) {
                run.outside.remove(&key);
            }
            return;
        };
        let (whose, recipients) = (self.whose(key), self.recipients(key));
        if let Some(run) = self.runs.get_mut(index) {
            run.ledger.leave(whose, recipients, tried);
        }
        if self.alone.contains_key(&key) {
            return self.drop_alone(key);
        }
        let queue = self.entry(key).queue;
        if let Some(run) = self.queues.get_mut(queue.0).and_then(|queue| queue.run.as_mut()) {
            run.tried.remove(&key);
        }
    }

    /// An entry that was released by itself has had its turn, and waits as others do.
    pub(crate) fn alone_waits(&mut self, key: EntryKey) {
        let Some(&(index, true)) = self.alone.get(&key) else { return };
        let whose = self.whose(key);
        if let Some(run) = self.runs.get_mut(index) {
            run.ledger.conclude(whose);
        }
        self.drop_alone(key);
    }

    fn drop_alone(&mut self, key: EntryKey) {
        let Some((index, _)) = self.alone.remove(&key) else { return };
        self.alone.give_back();
        if let Some(run) = self.runs.get_mut(index) {
            run.alone.remove(&key);
            run.alone.give_back();
        }
        self.end_if_empty(index);
    }

    /// An entry that is out of reach of its queue's run is taken for work that is not delivery.
    pub(crate) fn stand_aside(&mut self, key: EntryKey) {
        let entry = self.entry(key);
        if matches!(entry.state, State::Held | State::Deferred) {
            let queue = entry.queue;
            if let Some(run) = self.queues.get_mut(queue.0).and_then(|queue| queue.run.as_mut()) {
                run.outside.insert(key);
            }
        }
    }

    /// Whether an entry stands aside from the run that its queue is under.
    pub(crate) fn is_outside(&self, key: EntryKey) -> bool {
        let queue = self.queues.get(self.entry(key).queue.0);
        queue.and_then(|queue| queue.run.as_ref()).is_some_and(|run| run.outside.contains(&key))
    }
}
