//! Turns: in which order the queues of a channel are leased from, and how much each gets.
//!
//! A queue that has had nothing taken from it since it last was idle is *new*. New queues go before others, most of the time, and a
//! first turn is for one message: whoever asks for mail gets the first of it soon, however many others asked before, and
//! however much waits for them. Each further turn is for twice as many, up to what the channel allows; so large queues are soon
//! taken from in large leases, and a queue that is alone is so from the beginning.

use std::collections::VecDeque;

use crate::index::QueueKey;

/// After so many turns of new queues in a row another one has its turn: it shall not wait for as long as new ones come.
const NEW_IN_A_ROW: u8 = 8;
/// Beyond so many turns a turn is as long as the channel allows.
const SHORT_TURNS: u8 = 16;

/// How many entries may be taken at a queue's turn, when others wait for theirs.
pub(crate) fn turn_length(turns: u8, max: usize) -> usize {
    if turns >= SHORT_TURNS { max } else { max.min(1 << turns) }
}

/// The queues of a channel that have something ready, of one priority.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    new: VecDeque<QueueKey>,
    others: VecDeque<QueueKey>,
    new_in_a_row: u8,
}

impl Ring {
    pub(crate) fn push(&mut self, key: QueueKey, is_new: bool) {
        if is_new { &mut self.new } else { &mut self.others }.push_back(key);
    }

    /// The queue whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<QueueKey> {
        let others_turn = self.new_in_a_row >= NEW_IN_A_ROW && !self.others.is_empty();
        if !others_turn && let Some(key) = self.new.pop_front() {
            self.new_in_a_row = self.new_in_a_row.saturating_add(1);
            return Some(key);
        }
        self.new_in_a_row = 0;
        self.others.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.others.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueueKey> {
        self.new.iter().chain(&self.others)
    }

    /// Takes out of the front what `is_over` says has no place here.
    pub(crate) fn tidy(&mut self, mut is_over: impl FnMut(QueueKey) -> bool) {
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
    fn turns_grow() {
        let lengths: Vec<usize> = [0, 1, 2, 3, 4, 200].iter().map(|&turns| turn_length(turns, 10)).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 10, 10]);
        assert_eq!(turn_length(SHORT_TURNS, usize::MAX), usize::MAX);
    }
}
