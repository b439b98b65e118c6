//! The order in which entries are taken: a place on a shelf.
//!
//! The more urgent goes first, of equally urgent ones the older; in a queue whose *order* is by size the smaller goes before
//! the older. Sizes count in steps of a thirty-second part or less, so that neighbours in size go by age.
//!
//! # Not here
//! Which queue's turn it is (`ring`), and that nobody waits for ever (`ring`, `lease`).

use std::ops::RangeInclusive;

use sluice_mail::{Priority, TransferPriority};
use sluice_spool::EntryId;

use crate::entry::EntryKey;

/// What the entries of a queue are ordered by, among those that are equally urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The oldest first.
    #[default]
    Age,
    /// The smallest first, for a connection that may end before all is through.
    Size,
}

/// Place of an entry on a shelf. Five bits for its level of priority, eleven for its step of size (0 where that does not count),
/// 48 for the id of its message, then its number: ids grow with time and are used once, so that only the entries of one message differ in
/// nothing but their number. An id that needs 48 bits is nine thousand years away at a thousand messages a second. Three halves of
/// what would be two words: there is one for each entry that waits, and padding would cost a third more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place([u32; 3]);

const ID_BITS: u32 = 48;
const SIZE_BITS: u32 = 11;
/// Of a size, so many of its first binary digits behind the very first one count.
const SIZE_DIGITS: u32 = 5;
const LEVEL_AT: u32 = ID_BITS + SIZE_BITS;

const _: () = assert!(size_of::<Place>() == 12);
const _: () = assert!(size_step(u64::MAX) < 1 << SIZE_BITS);
const _: () = assert!((TransferPriority::MIN.level() as u64) < 1 << (u64::BITS - LEVEL_AT));

/// Grows with the size, and tells two sizes apart that differ by more than a thirty-second part.
const fn size_step(size: u64) -> u64 {
    let digits = u64::BITS - size.leading_zeros();
    if digits <= SIZE_DIGITS + 1 {
        return size;
    }
    let shift = digits - SIZE_DIGITS - 1;
    ((shift as u64) << SIZE_DIGITS) + (size >> shift)
}

impl Place {
    pub(crate) fn of(priority: TransferPriority, size: Option<u64>, id: EntryId, entry: EntryKey) -> Self {
        debug_assert!(id.0 >> ID_BITS == 0, "id {id} would spill into the size");
        let step = size.map_or(0, size_step);
        let id = id.0 & ((1 << ID_BITS) - 1);
        Self::at(u64::from(priority.level()) << LEVEL_AT | step << ID_BITS | id, entry)
    }

    const fn at(rank: u64, entry: EntryKey) -> Self {
        Self([(rank >> 32) as u32, (rank & 0xffff_ffff) as u32, entry.0])
    }

    const fn rank(self) -> u64 {
        (self.0[0] as u64) << 32 | self.0[1] as u64
    }

    /// Its level of priority, 0 for the most urgent.
    pub(crate) const fn level(self) -> u8 {
        (self.rank() >> LEVEL_AT) as u8
    }

    /// The first place that an entry of this level may have.
    pub(crate) const fn first_of(level: u8) -> Self {
        Self::at((level as u64) << LEVEL_AT, EntryKey(0))
    }

    /// The places that entries of these levels may have.
    pub(crate) const fn all_of(levels: &RangeInclusive<u8>) -> RangeInclusive<Self> {
        let last = (*levels.end() as u64) << LEVEL_AT | ((1 << LEVEL_AT) - 1);
        Self::first_of(*levels.start())..=Self::at(last, EntryKey(u32::MAX))
    }

    /// The last place that an entry of its level and size may have: behind it the next of another begin.
    pub(crate) const fn last_alike(self) -> Self {
        Self::at(self.rank() | ((1 << ID_BITS) - 1), EntryKey(u32::MAX))
    }

    /// The places that other entries of the same message and priority may have.
    pub(crate) const fn siblings(self) -> RangeInclusive<Self> {
        let [high, low, _] = self.0;
        Self([high, low, 0])..=Self([high, low, u32::MAX])
    }

    /// What is left of its message's id: the lower, the older.
    pub(crate) const fn id(self) -> u64 {
        self.rank() & ((1 << ID_BITS) - 1)
    }

    pub(crate) const fn entry(self) -> EntryKey {
        EntryKey(self.0[2])
    }
}

/// All levels of priority.
pub(crate) const ALL_LEVELS: RangeInclusive<u8> = 0..=TransferPriority::MIN.level();

/// Some of the levels of priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Levels(u32);

const _: () = assert!((TransferPriority::MIN.level() as u32) < u32::BITS);

impl Levels {
    pub(crate) fn of(classes: &[Priority]) -> Self {
        let levels = classes.iter().flat_map(|&class| levels_of(class));
        Self(levels.fold(0, |all, level| all | 1 << level))
    }

    pub(crate) const fn has(self, level: u8) -> bool {
        self.0 >> level & 1 != 0
    }

    /// The most urgent of them.
    pub(crate) const fn first(self) -> u8 {
        self.0.trailing_zeros() as u8
    }
}

impl From<RangeInclusive<u8>> for Levels {
    fn from(levels: RangeInclusive<u8>) -> Self {
        Self(levels.fold(0, |all, level| all | 1 << level))
    }
}

/// The levels of a priority of RFC 2156.
pub(crate) const fn levels_of(class: Priority) -> RangeInclusive<u8> {
    match class {
        Priority::Urgent => 0..=5,
        Priority::Normal => 6..=12,
        Priority::Nonurgent => 13..=18,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_their_order() {
        let mut last = 0;
        for size in (0..100_000u64)
            .chain((17..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + (1 << (bit - 5))]))
        {
            let step = size_step(size);
            assert!(step >= last, "{size}");
            last = step;
        }
        assert_eq!((size_step(63), size_step(64), size_step(65), size_step(66)), (63, 64, 64, 65));
        for size in [100u64, 4096, 1 << 20, 10 << 30] {
            assert!(size_step(size + size / 32 + 1) > size_step(size), "{size}");
        }
    }

    #[test]
    fn levels_are_those_of_the_class() {
        for level in 0..=18u8 {
            let class = TransferPriority::at_level(level).unwrap().class();
            assert!(levels_of(class).contains(&level), "{level} is {class:?}");
        }
    }

    #[test]
    fn urgency_goes_before_size_and_size_before_age() {
        let place = |number: i8, size, id| {
            let place = Place::of(TransferPriority::new(number).unwrap(), size, EntryId(id), EntryKey(7));
            assert_eq!((i16::from(place.level()), place.entry()), (9 - i16::from(number), EntryKey(7)));
            place
        };
        let order = [
            place(9, Some(1 << 40), 9),
            place(1, None, (1 << 48) - 1),
            place(1, Some(10), 5),
            place(1, Some(10), 6),
            place(1, Some(4000), 1),
            place(0, None, 0),
            place(-9, Some(u64::MAX), 0),
        ];
        assert!(order.is_sorted());
        assert!(order[3] < order[2].last_alike() && order[2].last_alike() < order[4]);
        assert!(Place::all_of(&(8..=8)).contains(&order[1]) && Place::all_of(&(8..=8)).contains(&order[4]));
        assert!(!Place::all_of(&(8..=8)).contains(&order[0]) && !Place::all_of(&(8..=8)).contains(&order[5]));
    }
}
