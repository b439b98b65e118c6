//! Turns: in which order the queues of a channel are leased from, and how much each gets.
//!
//! The more urgent mail of a channel goes before all other, with one exception: after so many leases of it, while less urgent mail
//! waited, one lease is for mail that was passed over, of the level that has been passed over most often. So a
//! stream of urgent mail that never ends leaves a small part of the channel to the rest, and each level gets its share of that.
//!
//! A queue that has had nothing taken from it since it last was idle is *new*. New queues go before others, most of the time, and a
//! first turn is for one message: whoever asks for mail gets the first of it soon, however many others asked before, and
//! however much waits for them. Each further turn is for twice as many, up to what the channel allows; so large queues are soon
//! taken from in large leases, and a queue that is alone is so from the beginning.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use crate::index::QueueKey;

/// After so many turns of new queues in a row another one has its turn: it shall not wait for as long as new ones come.
const NEW_IN_A_ROW: u8 = 8;
/// Beyond so many turns a turn is as long as the channel allows.
const SHORT_TURNS: u8 = 16;
/// After so many leases that have passed over less urgent mail, one is for that.
const URGENT_IN_A_ROW: u8 = 15;
/// In a queue that is ordered by size, one turn in so many begins with the oldest entry: the largest shall not wait for as long as
/// smaller ones come.
const OLDEST_EVERY: u8 = 8;

/// How many entries may be taken at a queue's turn, when others wait for theirs.
pub(crate) fn turn_length(turns: u8, max: usize) -> usize {
    if turns >= SHORT_TURNS { max } else { max.min(1 << turns) }
}

/// The turns of a queue after one more. They are counted as far as it matters.
pub(crate) fn next_turn(turns: u8) -> u8 {
    turns.checked_add(1).unwrap_or(u8::MAX - OLDEST_EVERY + 1)
}

/// Whether this turn of a queue begins with its oldest entry, whatever the queue's order.
pub(crate) fn is_for_the_oldest(turns: u8) -> bool {
    turns % OLDEST_EVERY == OLDEST_EVERY - 1
}

/// The rings of a channel: one for each level of priority that has something ready, 0 for the most urgent.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    by_level: BTreeMap<u8, Ring>,
    /// Leases in a row that have passed over less urgent mail.
    passing: u8,
}

impl Rings {
    pub(crate) fn push(&mut self, level: u8, key: QueueKey, is_new: bool) {
        self.by_level.entry(level).or_default().push(key, is_new);
    }

    /// Takes out the queue whose turn it is, of these levels, and the level that the turn is for.
    pub(crate) fn pop(&mut self, levels: &RangeInclusive<u8>) -> Option<(u8, QueueKey)> {
        let mut found = self.by_level.range(levels.clone());
        let (&first, _) = found.next()?;
        let passed_over = || found.max_by_key(|(level, ring)| (ring.passed, u8::MAX - **level));
        let level = if self.passing >= URGENT_IN_A_ROW {
            passed_over().map_or(first, |(&level, _)| level)
        } else {
            first
        };
        let ring = self.by_level.get_mut(&level)?;
        let key = ring.pop();
        if ring.is_empty() {
            self.by_level.remove(&level);
        }
        key.map(|key| (level, key))
    }

    /// A lease was taken at the turn of this level.
    pub(crate) fn has_leased(&mut self, level: u8) {
        if let Some(ring) = self.by_level.get_mut(&level) {
            ring.passed = 0;
        }
        let is_first = self.by_level.range(..level).next().is_none();
        let mut passes = false;
        for ring in self.by_level.range_mut(level + 1..).map(|(_, ring)| ring) {
            ring.passed = ring.passed.saturating_add(1);
            passes = true;
        }
        self.passing = if is_first && passes { self.passing.saturating_add(1) } else { 0 };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_level.is_empty()
    }

    /// The queues in the rings of these levels, with the level of each.
    pub(crate) fn iter(&self, levels: RangeInclusive<u8>) -> impl Iterator<Item = (u8, QueueKey)> {
        self.by_level.range(levels).flat_map(|(&level, ring)| ring.iter().map(move |&key| (level, key)))
    }

    /// Takes out of the front of each ring what `is_over` says has no place in that of this level.
    pub(crate) fn tidy(&mut self, mut is_over: impl FnMut(u8, QueueKey) -> bool) {
        self.by_level.retain(|&level, ring| {
            ring.tidy(|key| is_over(level, key));
            !ring.is_empty()
        });
    }
}

/// The queues of a channel that have something ready, of one level.
#[derive(Debug, Default)]
struct Ring {
    new: VecDeque<QueueKey>,
    others: VecDeque<QueueKey>,
    new_in_a_row: u8,
    /// Leases of more urgent mail since the last one of this level.
    passed: u32,
}

impl Ring {
    fn push(&mut self, key: QueueKey, is_new: bool) {
        if is_new { &mut self.new } else { &mut self.others }.push_back(key);
    }

    /// The queue whose turn it is.
    fn pop(&mut self) -> Option<QueueKey> {
        let others_turn = self.new_in_a_row >= NEW_IN_A_ROW && !self.others.is_empty();
        if !others_turn && let Some(key) = self.new.pop_front() {
            self.new_in_a_row = self.new_in_a_row.saturating_add(1);
            return Some(key);
        }
        self.new_in_a_row = 0;
        self.others.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.new.is_empty() && self.others.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &QueueKey> {
        self.new.iter().chain(&self.others)
    }

    fn tidy(&mut self, mut is_over: impl FnMut(QueueKey) -> bool) {
        for line in [&mut self.new, &mut self.others] {
            while line.front().is_some_and(|&key| is_over(key)) {
                line.pop_front();
            }
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_queues_go_first_and_the_others_are_not_forgotten() {
        let mut ring = Ring::default();
        (0..3).for_each(|number| ring.push(QueueKey(number), false));
        (10..30).for_each(|number| ring.push(QueueKey(number), true));
        let order: Vec<u32> = std::iter::from_fn(|| ring.pop()).map(|key| key.0).collect();
        let expected: Vec<u32> =
            (10..18).chain([0]).chain(18..26).chain([1]).chain(26..30).chain([2]).collect();
        assert_eq!(order, expected);
        assert!(ring.is_empty());
    }

    #[test]
    fn urgent_mail_leaves_a_part_to_all_other() {
        let mut rings = Rings::default();
        let mut order = Vec::new();
        // Three levels, of which each always has something.
        for level in [0, 9, 18] {
            rings.push(level, QueueKey(level.into()), false);
        }
        for _ in 0..64 {
            let (level, key) = rings.pop(&(0..=18)).unwrap();
            assert_eq!(u32::from(level), key.0);
            rings.push(level, key, false);
            rings.has_leased(level);
            order.push(level);
        }
        let others: Vec<(usize, u8)> =
            order.iter().copied().enumerate().filter(|(_, level)| *level != 0).collect();
        assert_eq!(others, [(15, 9), (31, 18), (47, 9), (63, 18)]);
        // What waits alone, or is asked for by itself, waits for nobody.
        assert_eq!(rings.pop(&(6..=12)).unwrap().0, 9);
        assert_eq!(rings.pop(&(6..=12)), None);
    }

    #[test]
    fn one_turn_in_eight_is_for_the_oldest_however_many_there_were() {
        let (mut turns, mut row, mut longest) = (0, 0, 0);
        for _ in 0..1000 {
            row = if is_for_the_oldest(turns) { 0 } else { row + 1 };
            longest = longest.max(row);
            turns = next_turn(turns);
        }
        assert_eq!(longest, 7);
        assert!(turns >= SHORT_TURNS);
    }

    #[test]
    fn turns_grow() {
        let lengths: Vec<usize> = [0, 1, 2, 3, 4, 200].iter().map(|&turns| turn_length(turns, 10)).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 10, 10]);
        assert_eq!(turn_length(SHORT_TURNS, usize::MAX), usize::MAX);
    }
}
