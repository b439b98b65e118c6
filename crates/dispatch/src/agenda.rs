//! Which channels are to be looked at for a lease: those in which something has happened, each in its turn.
//!
//! Looking at all channels after each event would cost by the configuration. So a channel is listed here when
//! something happens that could let it run: mail has become ready in it, one of its jobs has ended, its instance has started or
//! has gone, its pause is over, its pool has a slot for it, its configuration has changed. Whoever looks and finds that it cannot
//! run need not remember it: what stands in its way is one of these things, and its end lists the channel again.
//!
//! # Invariant
//! A channel that could be given a lease is listed. The lookout (`lookout`) checks this and mends it.
//! # Not here
//! Whether a channel can run (`schedule`).

use std::collections::{BTreeSet, HashMap, VecDeque};

use sluice_mail::Time;
use sluice_queue::ChannelKey;

/// The channels to look at, in turn, and those to look at later.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    turn: VecDeque<ChannelKey>,
    /// By [`ChannelKey::index`]: it stands in `turn`.
    is_listed: Vec<bool>,
    wakes: BTreeSet<(Time, ChannelKey)>,
    wake_of: HashMap<ChannelKey, Time>,
}

impl Agenda {
    /// The channel is to be looked at, after those that are listed already.
    pub(crate) fn list(&mut self, key: ChannelKey) {
        if self.is_listed.len() <= key.index() {
            self.is_listed.resize(key.index() + 1, false);
        }
        if !std::mem::replace(&mut self.is_listed[key.index()], true) {
            self.turn.push_back(key);
        }
    }

    /// The channel is to be looked at next, even if it is listed already: it is in the middle of something.
    pub(crate) fn list_first(&mut self, key: ChannelKey) {
        self.list(key);
        if let Some(at) = self.turn.iter().position(|&listed| listed == key) {
            self.turn.remove(at);
            self.turn.push_front(key);
        }
    }

    /// The channel whose turn it is.
    pub(crate) fn take(&mut self) -> Option<ChannelKey> {
        let key = self.turn.pop_front()?;
        self.is_listed[key.index()] = false;
        Some(key)
    }

    /// The channel is to be looked at when that time has come. A later word replaces an earlier one.
    pub(crate) fn list_at(&mut self, key: ChannelKey, time: Time) {
        if let Some(old) = self.wake_of.insert(key, time) {
            self.wakes.remove(&(old, key));
        }
        self.wakes.insert((time, key));
    }

    /// Lists the channels whose time has come.
    pub(crate) fn advance(&mut self, now: Time) {
        while let Some(&(time, key)) = self.wakes.first().filter(|(time, _)| *time <= now) {
            self.wakes.remove(&(time, key));
            self.wake_of.remove(&key);
            self.list(key);
        }
    }

    /// When [`Agenda::advance`] has something to do.
    pub(crate) fn next_wake(&self) -> Option<Time> {
        self.wakes.first().map(|&(time, _)| time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_queue::Queues;

    #[test]
    fn channels_take_turns_and_stand_in_line_once() {
        let mut queues = Queues::new();
        let keys: Vec<ChannelKey> = ["a", "b", "c"].iter().map(|name| queues.channel(name)).collect();
        let mut agenda = Agenda::default();
        for &at in &[2, 0, 2, 1, 0] {
            agenda.list(keys[at]);
        }
        assert_eq!(agenda.take(), Some(keys[2]));
        agenda.list(keys[2]);
        assert_eq!(std::iter::from_fn(|| agenda.take()).collect::<Vec<_>>(), [keys[0], keys[1], keys[2]]);
        agenda.list(keys[0]);
        agenda.list(keys[1]);
        agenda.list_first(keys[1]);
        agenda.list_first(keys[2]);
        assert_eq!(std::iter::from_fn(|| agenda.take()).collect::<Vec<_>>(), [keys[2], keys[1], keys[0]]);
        agenda.list_at(keys[1], Time(50));
        agenda.list_at(keys[0], Time(20));
        agenda.list_at(keys[1], Time(10));
        agenda.advance(Time(9));
        assert_eq!(agenda.take(), None);
        assert_eq!(agenda.next_wake(), Some(Time(10)));
        agenda.advance(Time(30));
        assert_eq!(std::iter::from_fn(|| agenda.take()).collect::<Vec<_>>(), [keys[1], keys[0]]);
        assert_eq!(agenda.next_wake(), None, "the first word was replaced");
    }
}
