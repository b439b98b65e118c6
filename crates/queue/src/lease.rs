//! Leases: what a channel has that is due, and who takes how much of it.
//!
//! # Not here
//! What comes back from a lease (`index`), how many leases there may be (`dispatch`).

use std::ops::RangeInclusive;

use sluice_mail::{Priority, Time};

use crate::entry::{EntryKey, NONE, State};
use crate::index::{ChannelKey, QueueKey, Queues};
use crate::place::{ALL_LEVELS, Levels, Place, levels_of};
use crate::queue::Queue;
use crate::ring::{Party, Spot, is_for_the_oldest, next_turn, turn_length};
use crate::slab::Slab;

impl Queues {
    /// Takes up to `max` due entries of one queue of the channel: the most urgent there are, from the queue whose turn
    /// it is, first what its order says, and fewer at its first turns when others wait for theirs; now and then what
    /// was passed over for long (`ring`). With `only`, none but those of these priorities. They are appended to `taken`. `None`
    /// when nothing is due.
    pub fn lease(
        &mut self,
        channel: ChannelKey,
        only: Option<&[Priority]>,
        max: usize,
        taken: &mut Vec<EntryKey>,
        now: Time,
    ) -> Option<QueueKey> {
        let levels = only.map_or_else(|| ALL_LEVELS.into(), Levels::of);
        let queues = &mut self.queues;
        let is_over = |level, spot| is_over(queues, channel, level, spot);
        let (level, Spot { queue: key, .. }) =
            self.channels[channel.0 as usize].rings.pop(levels, is_over)?;
        let queue = self.queues.get_mut(key.0)?;
        queue.in_ring &= !(1 << level);
        let rings = &mut self.channels[channel.0 as usize].rings;
        let max = if rings.is_empty() { max } else { turn_length(queue.turns, max) };
        rings.has_leased(level, levels);
        let mut oldest = is_for_the_oldest(queue.turns);
        queue.turns = next_turn(queue.turns);
        let before = taken.len();
        while taken.len() - before < max {
            let first = queue.first_ready(level, std::mem::take(&mut oldest));
            let Some(place) = first.filter(|place| levels.has(place.level())) else { break };
            queue.ready.remove(&place);
            queue.leased.insert(place);
            taken.push(place.entry());
        }
        for &entry in &taken[before..] {
            let Some(record) = self.entries.get_mut(entry.0) else { continue };
            record.state = State::Leased;
            // A released entry may have a due time still to come.
            queue.due.remove(&(record.due.time(), entry));
        }
        self.channels[channel.0 as usize].leased += taken.len() - before;
        self.begin_turn(key);
        self.touch(key, now);
        Some(key)
    }

    /// Puts one waiting entry under a lease of its own, for work that is not delivery, such as giving it up.
    pub fn take(&mut self, key: EntryKey, now: Time) {
        self.stand_aside(key);
        self.take_off_shelf(key);
        let place = self.place(key);
        let entry = self.entry_mut(key);
        entry.state = State::Leased;
        let queue_key = entry.queue;
        if let Some(queue) = self.queues.get_mut(queue_key.0) {
            queue.leased.insert(place);
            self.channels[queue.channel.0 as usize].leased += 1;
        }
        self.weigh(key, true);
        self.touch(queue_key, now);
    }

    /// Takes out of the channel's rings what stands first in them and has nothing ready any more, so that questions about
    /// the channel are answered by the first place of each ring. Each place is taken out once, and was put in once.
    pub fn tidy_rings(&mut self, channel: ChannelKey) {
        let queues = &mut self.queues;
        self.channels[channel.0 as usize].rings.tidy(|level, spot| is_over(queues, channel, level, spot));
    }

    /// Who has asked for what the next lease of this channel may be of, and whether it would be a first turn. Rings are to be
    /// tidy.
    #[must_use]
    pub fn next_party(&self, channel: ChannelKey) -> (Option<&Party>, bool) {
        self.channels[channel.0 as usize].rings.first().unwrap_or((None, true))
    }

    /// Whether a lease of this channel would find something.
    #[must_use]
    pub fn has_ready(&self, channel: ChannelKey) -> bool {
        self.has_ready_in(channel, ALL_LEVELS)
    }

    /// Whether a lease of this channel for this priority would find something.
    #[must_use]
    pub fn has_ready_of(&self, channel: ChannelKey, priority: Priority) -> bool {
        self.has_ready_in(channel, levels_of(priority))
    }

    fn has_ready_in(&self, channel: ChannelKey, levels: RangeInclusive<u8>) -> bool {
        self.channels[channel.0 as usize].rings.iter(levels).any(|(level, spot)| {
            let queue = self.queues.get(spot.queue.0).filter(|queue| queue.channel == channel);
            queue.is_some_and(|queue| queue.has_spot(level, spot) && queue.has_ready(level))
        })
    }

    /// Entries of the channel that are due, and their recipients. Counting stops when there are more of either than the
    /// `enough` for it; so it costs by those numbers, and not by what waits.
    #[must_use]
    pub fn count_ready(&self, channel: ChannelKey, enough: (u64, u64)) -> (u64, u64) {
        let rings = &self.channels[channel.0 as usize].rings;
        let (mut entries, mut recipients) = (0, 0);
        for (level, spot) in rings.iter(ALL_LEVELS) {
            let lends = |queue: &&Queue| {
                queue.channel == channel && queue.has_spot(level, spot) && !queue.is_closed()
            };
            let Some(queue) = self.queues.get(spot.queue.0).filter(lends) else { continue };
            for place in queue.ready.range(Place::all_of(&(level..=level))) {
                entries += 1;
                recipients += u64::from(self.entry(place.entry()).recipients.max(1));
                if entries > enough.0 || recipients > enough.1 {
                    return (entries, recipients);
                }
            }
        }
        (entries, recipients)
    }

    /// Other entries of the same message on the same channel that are due now.
    pub fn due_siblings(&self, key: EntryKey) -> Vec<EntryKey> {
        let entry = self.entry(key);
        let first = self.record(entry.message).first;
        if self.entry(EntryKey(first)).next == NONE {
            return Vec::new();
        }
        let channel = self.queue_names(entry.queue).0;
        let mut found: Vec<EntryKey> = self
            .entries_of(entry.message)
            .filter(|&other| {
                other != key
                    && self.queue_names(self.entry(other).queue).0 == channel
                    && self.state(other) == State::Ready
                    && !self.is_suspended(self.entry(other).queue)
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// How many entries of this channel are under a lease.
    #[must_use]
    pub fn leased(&self, channel: ChannelKey) -> usize {
        self.channels[channel.0 as usize].leased
    }
}

/// Whether a place in the rings of a channel is to be taken out: that of a queue that has gone, or whose number another one has
/// now, one that is out of date, or one of a queue that has nothing to give. That queue gets another when it has.
fn is_over(queues: &mut Slab<Queue>, channel: ChannelKey, level: u8, spot: Spot) -> bool {
    let Some(queue) = queues.get_mut(spot.queue.0).filter(|queue| queue.channel == channel) else {
        return true;
    };
    if !queue.has_spot(level, spot) {
        return true;
    }
    let is_over = !queue.has_ready(level);
    if is_over {
        queue.in_ring &= !(1 << level);
    }
    is_over
}
