//! Turns: in which order the queues of a channel are leased from, and how much each gets.
//!
//! The more urgent mail of a channel goes before all other, with one exception: after so many leases of it, while less urgent mail
//! waited, one lease is for mail that was passed over, of the level that has been passed over most often. So a
//! stream of urgent mail that never ends leaves a small part of the channel to the rest, and each level gets its share of that.
//!
//! A queue that has had nothing taken from it since it last was idle is *new*. New queues go before others, most of the time, and a
//! first turn is for one message: whoever asks for mail gets the first of it soon, however much waits for others. Each further
//! turn is for twice as many, up to what the channel allows; so large queues are soon taken from in large leases, and a queue
//! that is alone is so from the beginning.
//!
//! Turns are between parties. Whoever asks for mail is one *party* with all the queues that were released for it: a site with a
//! thousand domains has one turn where a site with a single domain has one, and shares it among its queues in the same
//! manner. A queue that nobody has asked for is by itself. A party that has just asked goes before new queues that nobody has asked for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use sluice_spool::GivesBack;

use crate::index::QueueKey;
use crate::place::Levels;

/// After so many first turns in a row another one has its turn: it shall not wait for as long as new ones come.
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
    /// Leases in a row that have passed over less urgent mail which they might have been for, by the most urgent of the levels
    /// that they were for: those for other levels, by a pool of their own, change nothing of it.
    passing: BTreeMap<u8, u8>,
}

impl Rings {
    pub(crate) fn push(&mut self, level: u8, spot: Spot, party: Option<&Party>, is_new: bool) {
        self.by_level.entry(level).or_default().turns.push(spot, party, is_new);
    }

    /// Takes out the place whose turn it is, of these levels, and the level that the turn is for. What `is_over` says has no
    /// place there costs nobody a turn.
    pub(crate) fn pop(
        &mut self,
        levels: Levels,
        mut is_over: impl FnMut(u8, Spot) -> bool,
    ) -> Option<(u8, Spot)> {
        loop {
            let mut found = self.by_level.iter().filter(|(level, _)| levels.has(**level));
            let (&first, _) = found.next()?;
            let passing = self.passing.get(&levels.first()).copied().unwrap_or_default();
            let passed_over = || found.max_by_key(|(level, ring)| (ring.passed, u8::MAX - **level));
            let level = if passing >= URGENT_IN_A_ROW {
                passed_over().map_or(first, |(&level, _)| level)
            } else {
                first
            };
            let ring = self.by_level.get_mut(&level)?;
            let spot = ring.turns.pop(|spot| is_over(level, spot));
            if ring.turns.is_empty() {
                self.by_level.remove(&level);
            }
            if let Some(spot) = spot {
                return Some((level, spot));
            }
        }
    }

    /// Who has asked for the one whose turn may be next, and whether it has had none yet. What is over is to be tidied away
    /// before.
    pub(crate) fn first(&self) -> Option<(Option<&Party>, bool)> {
        self.by_level.values().find_map(|ring| ring.turns.first())
    }

    /// A lease for these levels was taken at the turn of this one.
    pub(crate) fn has_leased(&mut self, level: u8, levels: Levels) {
        if let Some(ring) = self.by_level.get_mut(&level) {
            ring.passed = 0;
        }
        let is_first = self.by_level.range(..level).all(|(&other, _)| !levels.has(other));
        let mut passes = false;
        let behind = self.by_level.range_mut(level + 1..).filter(|(other, _)| levels.has(**other));
        for (_, ring) in behind {
            ring.passed = ring.passed.saturating_add(1);
            passes = true;
        }
        let passing = self.passing.entry(levels.first()).or_default();
        *passing = if is_first && passes { passing.saturating_add(1) } else { 0 };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_level.is_empty()
    }

    /// The places in the rings of these levels, with the level of each.
    pub(crate) fn iter(&self, levels: RangeInclusive<u8>) -> impl Iterator<Item = (u8, Spot)> {
        self.by_level
            .range(levels)
            .flat_map(|(&level, ring)| ring.turns.iter().map(move |spot| (level, spot)))
    }

    /// Takes out of the front of each ring what `is_over` says has no place in that of this level.
    pub(crate) fn tidy(&mut self, mut is_over: impl FnMut(u8, Spot) -> bool) {
        self.by_level.retain(|&level, ring| {
            ring.turns.tidy(|spot| is_over(level, spot));
            !ring.turns.is_empty()
        });
    }
}

/// The queues of a channel that have something ready, of one level.
#[derive(Debug, Default)]
struct Ring {
    turns: Turns<Spot>,
    /// Leases of more urgent mail since the last one of this level.
    passed: u32,
}

/// Who asks for mail, under any name that tells one from the other.
pub type Party = Arc<str>;

/// A place in a ring. It counts while the queue has that number, and a bit for its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) queue: QueueKey,
    pub(crate) number: u32,
}

#[derive(Debug)]
enum Member<T> {
    Single(T),
    /// With a line of its own in [`Turns::parties`].
    Party(Party),
}

/// Where in a line something is put.
#[derive(Debug, Clone, Copy)]
enum Rank {
    Asked,
    New,
    Other,
}

#[derive(Debug)]
struct Line<T> {
    /// By [`Rank`].
    lines: [VecDeque<T>; 3],
    new_in_a_row: u8,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { lines: [VecDeque::new(), VecDeque::new(), VecDeque::new()], new_in_a_row: 0 }
    }
}

/// The first of a part of a line.
fn taken<T>(line: &mut VecDeque<T>) -> Option<T> {
    let first = line.pop_front()?;
    line.give_back();
    Some(first)
}

impl<T> Line<T> {
    fn push(&mut self, one: T, rank: Rank) {
        self.lines[rank as usize].push_back(one);
    }

    /// The one whose turn it is.
    fn pop(&mut self) -> Option<T> {
        let [asked, new, others] = &mut self.lines;
        let others_turn = self.new_in_a_row >= NEW_IN_A_ROW && !others.is_empty();
        if !others_turn && let Some(one) = taken(asked).or_else(|| taken(new)) {
            self.new_in_a_row = self.new_in_a_row.saturating_add(1);
            return Some(one);
        }
        self.new_in_a_row = 0;
        taken(others)
    }

    fn is_empty(&self) -> bool {
        self.lines.iter().all(VecDeque::is_empty)
    }

    fn first(&self) -> Option<(Rank, &T)> {
        let ranks = [Rank::Asked, Rank::New, Rank::Other];
        ranks.into_iter().find_map(|rank| Some((rank, self.lines[rank as usize].front()?)))
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.lines.iter().flatten()
    }

    /// Takes out of the front of each part what is over.
    fn tidy(&mut self, mut is_over: impl FnMut(&T) -> bool) {
        for line in &mut self.lines {
            while line.front().is_some_and(&mut is_over) {
                taken(line);
            }
        }
    }
}

/// What waits for a turn: queues of a channel, or channels of a pool.
#[derive(Debug)]
pub struct Turns<T> {
    members: Line<Member<T>>,
    parties: HashMap<Party, Line<T>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { members: Line::default(), parties: HashMap::new() }
    }
}

impl<T: Copy> Turns<T> {
    /// Puts it in line, for a party if one has asked for it. `is_new`: it has had no turn yet.
    pub fn push(&mut self, spot: T, party: Option<&Party>, is_new: bool) {
        let rank = if is_new { Rank::New } else { Rank::Other };
        let Some(party) = party else { return self.members.push(Member::Single(spot), rank) };
        let line = self.parties.entry(Arc::clone(party)).or_default();
        let is_there = !line.is_empty();
        line.push(spot, rank);
        if !is_there {
            let rank = if is_new { Rank::Asked } else { Rank::Other };
            self.members.push(Member::Party(Arc::clone(party)), rank);
        }
    }

    /// The one whose turn it is. What `is_over` says has no place here costs nobody a turn.
    pub fn pop(&mut self, is_over: impl FnMut(T) -> bool) -> Option<T> {
        self.tidy(is_over);
        let party = match self.members.pop()? {
            Member::Single(spot) => return Some(spot),
            Member::Party(party) => party,
        };
        let line = self.parties.get_mut(&party)?;
        let spot = line.pop();
        if line.is_empty() {
            self.parties.remove(&party);
            self.parties.give_back();
        } else {
            self.members.push(Member::Party(party), Rank::Other);
        }
        spot
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who has asked for the one whose turn may be next, and whether it has had none yet. What is over is to be tidied away
    /// before.
    pub(crate) fn first(&self) -> Option<(Option<&Party>, bool)> {
        let (rank, member) = self.members.first()?;
        let party = match member {
            Member::Single(_) => None,
            Member::Party(party) => Some(party),
        };
        Some((party, !matches!(rank, Rank::Other)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        self.members.iter().flat_map(|member| {
            let (own, party) = match member {
                Member::Single(spot) => (Some(*spot), None),
                Member::Party(party) => (None, self.parties.get(party)),
            };
            own.into_iter().chain(party.into_iter().flat_map(Line::iter).copied())
        })
    }

    /// Takes out of the front what `is_over` says has no place here.
    pub(crate) fn tidy(&mut self, mut is_over: impl FnMut(T) -> bool) {
        let parties = &mut self.parties;
        self.members.tidy(|member| match member {
            Member::Single(spot) => is_over(*spot),
            Member::Party(party) => {
                let Some(line) = parties.get_mut(party) else { return true };
                line.tidy(|spot| is_over(*spot));
                let is_over = line.is_empty();
                if is_over {
                    parties.remove(party);
                    parties.give_back();
                }
                is_over
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_mail::Priority;

    fn spot(number: u32) -> Spot {
        Spot { queue: QueueKey(number), number: 1 }
    }

    fn order(ring: &mut Turns<Spot>) -> Vec<u32> {
        std::iter::from_fn(|| ring.pop(|_| false)).map(|spot| spot.queue.0).collect()
    }

    #[test]
    fn new_queues_go_first_and_the_others_are_not_forgotten() {
        let mut ring = Turns::default();
        (0..3).for_each(|number| ring.push(spot(number), None, false));
        (10..30).for_each(|number| ring.push(spot(number), None, true));
        let expected: Vec<u32> =
            (10..18).chain([0]).chain(18..26).chain([1]).chain(26..30).chain([2]).collect();
        assert_eq!(order(&mut ring), expected);
        assert!(ring.is_empty());
    }

    #[test]
    fn a_party_has_one_turn_however_many_queues_it_has() {
        let (many, one) = (Party::from("many"), Party::from("one"));
        let mut ring = Turns::default();
        (0..100).for_each(|number| ring.push(spot(number), Some(&many), true));
        assert_eq!(ring.pop(|_| false), Some(spot(0)));
        (200..202).for_each(|number| ring.push(spot(number), Some(&one), true));
        ring.push(spot(300), None, true);
        ring.push(spot(301), None, false);
        assert_eq!(ring.iter().count(), 103);
        let order = order(&mut ring);
        // Who has just asked, what is new, and then turn by turn.
        assert_eq!(order[..8], [200, 300, 1, 301, 201, 2, 3, 4]);
        assert_eq!(order.len(), 103);
        assert!(ring.is_empty() && ring.parties.is_empty());
    }

    #[test]
    fn what_is_over_costs_no_turn_and_leaves_nothing_behind() {
        let (gone, party) = (Party::from("gone"), Party::from("party"));
        let mut ring = Turns::default();
        (0..5).for_each(|number| ring.push(spot(number), Some(&gone), true));
        (5..10).for_each(|number| ring.push(spot(number), Some(&party), true));
        ring.push(spot(20), None, true);
        let mut other = Turns::default();
        (0..5).for_each(|number| other.push(spot(number), Some(&gone), true));
        assert_eq!(ring.pop(|spot| spot.queue.0 < 7), Some(spot(7)));
        assert_eq!(order(&mut ring), [20, 8, 9]);
        assert!(ring.parties.is_empty());
        // Nor does it have the turn that the others are given among new ones.
        (0..2).for_each(|number| ring.push(spot(number), None, false));
        (10..30).for_each(|number| ring.push(spot(number), None, true));
        let order: Vec<u32> = std::iter::from_fn(|| ring.pop(|spot| [0, 11].contains(&spot.queue.0)))
            .map(|spot| spot.queue.0)
            .collect();
        assert_eq!(order[..10], [10, 12, 13, 14, 15, 16, 17, 18, 1, 19]);
        other.tidy(|spot| spot.queue.0 < 4);
        assert_eq!(other.iter().collect::<Vec<_>>(), [spot(4)]);
        other.tidy(|_| true);
        assert!(other.is_empty() && other.parties.is_empty());
    }

    #[test]
    fn urgent_mail_leaves_a_part_to_all_other() {
        let mut rings = Rings::default();
        let mut order = Vec::new();
        // Three levels, of which each always has something.
        for level in [0, 9, 18] {
            rings.push(level, spot(level.into()), None, false);
        }
        for _ in 0..64 {
            let (level, spot) = rings.pop((0..=18).into(), |_, _| false).unwrap();
            assert_eq!(u32::from(level), spot.queue.0);
            rings.push(level, spot, None, false);
            rings.has_leased(level, (0..=18).into());
            order.push(level);
        }
        let others: Vec<(usize, u8)> =
            order.iter().copied().enumerate().filter(|(_, level)| *level != 0).collect();
        assert_eq!(others, [(15, 9), (31, 18), (47, 9), (63, 18)]);
        // What waits alone, or is asked for by itself, waits for nobody.
        assert_eq!(rings.pop((6..=12).into(), |_, _| false).unwrap().0, 9);
        assert_eq!(rings.pop((6..=12).into(), |_, _| false), None);
        // Nor does it where all else is over.
        assert_eq!(rings.pop((0..=18).into(), |level, _| level == 0).unwrap().0, 18);
        assert!(rings.is_empty());
    }

    #[test]
    fn what_shares_a_pool_takes_turns_whatever_goes_by_others() {
        for (own, shared, expected) in [
            (Priority::Urgent, [Priority::Normal, Priority::Nonurgent], [9, 18]),
            (Priority::Normal, [Priority::Urgent, Priority::Nonurgent], [0, 18]),
        ] {
            let (own, shared) = (Levels::of(&[own]), Levels::of(&shared));
            let mut rings = Rings::default();
            for level in [0, 9, 18] {
                rings.push(level, spot(level.into()), None, false);
            }
            let mut order = Vec::new();
            for _ in 0..32 {
                for levels in [own, shared] {
                    let (level, spot) = rings.pop(levels, |_, _| false).unwrap();
                    assert!(levels.has(level));
                    rings.push(level, spot, None, false);
                    rings.has_leased(level, levels);
                    order.extend((levels == shared).then_some(level));
                }
            }
            let turns = |level| order.iter().filter(|&&one| one == level).count();
            assert_eq!(expected.map(turns), [30, 2], "{order:?}");
        }
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
