//! Releases: what they match, how many messages that is, and how long they go on collecting.
//!
//! A released queue is *under a run*: mail that comes in for it is due at once, until the queue has been idle for
//! the time of grace ([`Queues::set_grace`]). A second release of the queue joins the run. A release of a channel or a subnet also covers queues
//! that come into being while any of its queues is under the run.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use sluice_mail::{Priority, ReversedDomain, Time};

use crate::entry::{MessageKey, State};
use crate::index::{ChannelKey, QueueKey, Queues};

/// Which queues that do not exist yet a release covers.
#[derive(Debug, Clone, PartialEq)]
pub enum Collect {
    /// None: only the queues it was given.
    Named,
    /// Those of a channel.
    Channel(ChannelKey),
    /// Those of a domain and everything below it, on the given channels, which are in order.
    Subnet(ReversedDomain, Arc<[ChannelKey]>),
}

/// A queue's part in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueRun {
    /// The record among [`Queues::runs`] that covers queues yet to come.
    pub(crate) record: Option<u32>,
    /// Since when the queue has been idle; `None` while it is not.
    pub(crate) idle_since: Option<Time>,
}

/// A run that covers queues yet to come; lives as long as a queue is under it.
#[derive(Debug)]
pub(crate) struct RunRecord {
    pub(crate) collect: Collect,
    pub(crate) queues: u32,
}

impl RunRecord {
    fn covers(&self, channel: ChannelKey, reversed: &ReversedDomain) -> bool {
        match &self.collect {
            Collect::Named => false,
            Collect::Channel(own) => *own == channel,
            Collect::Subnet(root, channels) => {
                let (from, to) = root.subtree_range();
                channels.binary_search(&channel).is_ok()
                    && match from {
                        Bound::Included(from) => *reversed >= from,
                        Bound::Excluded(from) => *reversed > from,
                        Bound::Unbounded => true,
                    }
                    && match to {
                        Bound::Included(to) => *reversed <= to,
                        Bound::Excluded(to) => *reversed < to,
                        Bound::Unbounded => true,
                    }
            }
        }
    }
}

impl Queues {
    /// How long a run goes on collecting after its queue has become idle. Nothing, at first: what comes in after the run
    /// waits for the next release. Runs under way end by the new time.
    pub fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// Makes everything that waits in these queues due now, held and deferred entries excepted, and keeps them collecting.
    pub fn release(&mut self, queues: &[QueueKey], collect: Collect, now: Time) {
        let record = self.record_for(queues, collect);
        for &key in queues {
            let Some(queue) = self.queues.get_mut(key.0) else { continue };
            queue.release();
            let before = queue.run.and_then(|run| run.record);
            let idle_since = queue.is_idle().then_some(now);
            queue.run = Some(QueueRun { record: record.or(before), idle_since });
            if record.is_some() && record != before {
                self.leave_record(before);
                if let Some(record) = record.and_then(|record| self.runs.get_mut(record)) {
                    record.queues += 1;
                }
            }
            self.touch(key, now);
        }
    }

    /// Makes everything that waits in these queues due now, once, without a run: what comes later keeps its schedule.
    pub fn make_due(&mut self, queues: &[QueueKey], now: Time) {
        for &key in queues {
            if let Some(queue) = self.queues.get_mut(key.0) {
                queue.release();
                self.touch(key, now);
            }
        }
    }

    /// Like [`Queues::make_due`], for entries of these priorities only.
    pub fn make_due_of(&mut self, queues: &[QueueKey], priorities: &[Priority], now: Time) {
        for &key in queues {
            if let Some(queue) = self.queues.get_mut(key.0) {
                priorities.iter().for_each(|&priority| queue.release_priority(priority));
                self.touch(key, now);
            }
        }
    }

    /// Makes one message due now, in whatever queues it waits, suspended ones excepted. Returns the queues where it is ready or under way. Walks
    /// the messages, since nothing but this needs to find one by its id; a million take some milliseconds.
    pub fn release_message(&mut self, id: sluice_spool::EntryId, now: Time) -> Vec<QueueKey> {
        let Some(message) = self.find_message(id) else { return Vec::new() };
        let mut queues = Vec::new();
        for entry in self.entries_of(message).collect::<Vec<_>>() {
            let (queue, state) = (self.entry(entry).queue, self.entry(entry).state);
            match state {
                State::Held | State::Deferred => continue,
                _ if self.is_suspended(queue) => continue,
                State::Delayed if self.is_delayed(entry) => self.make_ready(entry, now),
                State::Delayed | State::Ready | State::Leased => {}
            }
            queues.push(queue);
        }
        queues
    }

    /// How many messages these queues hold that a release covers (all but held and deferred ones), each counted once however many of
    /// the queues it is in. Costs by the queues, and by the messages in them that have several destinations.
    #[must_use]
    pub fn count_messages(&self, queues: &[QueueKey]) -> u64 {
        let found = || queues.iter().filter_map(|key| self.queues.get(key.0));
        let total = found().map(crate::queue::Queue::releasable).sum();
        if queues.len() < 2 && !found().any(|queue| queue.is_split) {
            return total;
        }
        let mut seen: HashSet<MessageKey> = HashSet::new();
        let mut twice = 0;
        for queue in found() {
            for &entry in &queue.spread {
                let entry = self.entry(entry);
                if !matches!(entry.state, State::Held | State::Deferred) && !seen.insert(entry.message) {
                    twice += 1;
                }
            }
        }
        total - twice
    }

    /// The record that covers queues yet to come: an equal one that runs already, or a new one. None when nothing is
    /// matched, for a release that finds nothing starts nothing.
    fn record_for(&mut self, queues: &[QueueKey], collect: Collect) -> Option<u32> {
        if collect == Collect::Named || !queues.iter().any(|key| self.queues.get(key.0).is_some()) {
            return None;
        }
        if let Some((record, _)) = self.runs.iter().find(|(_, run)| run.collect == collect) {
            return Some(record);
        }
        Some(self.runs.insert(RunRecord { collect, queues: 0 }))
    }

    fn leave_record(&mut self, record: Option<u32>) {
        let Some(number) = record else { return };
        let Some(run) = self.runs.get_mut(number) else { return };
        run.queues -= 1;
        if run.queues == 0 {
            self.runs.remove(number);
        }
    }

    /// Ends the run of a queue.
    pub(crate) fn end_run(&mut self, key: QueueKey) {
        let record = self.queues.get_mut(key.0).and_then(|queue| queue.run.take()).and_then(|run| run.record);
        self.leave_record(record);
    }

    /// Puts a queue that has just come into being under a run that covers it.
    pub(crate) fn join_run(&mut self, key: QueueKey, now: Time) {
        let Some(queue) = self.queues.get(key.0) else { return };
        let found = self.runs.iter().find(|(_, run)| run.covers(queue.channel, &queue.reversed));
        let Some(record) = found.map(|(record, _)| record) else { return };
        if let Some(run) = self.runs.get_mut(record) {
            run.queues += 1;
        }
        if let Some(queue) = self.queues.get_mut(key.0) {
            queue.run = Some(QueueRun { record: Some(record), idle_since: Some(now) });
        }
    }
}
