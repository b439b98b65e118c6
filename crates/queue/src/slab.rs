//! Numbered places that are used again: records keep their number while they live, and cost no allocation each.
//!
//! Places are made by the *shelf*, which stays where it is. One list that grows would be copied into ever larger ones, and what it
//! leaves behind each time, megabytes of it, stays with the allocator.
//!
//! A record gets a place on the first shelf that has a free one, so that what is left of many records gathers at the front, and a
//! shelf with nothing left on it goes back to the allocator. One such shelf is kept, lest a shelf be made and given back again and
//! again: between two shelves that are made or given back lie as many steps as a shelf has places.
//!
//! It is not a generational arena: whoever keeps a number must know that its record lives, or be able to tell from the
//! record that it is another one.

use std::collections::BTreeSet;

/// Places of a shelf.
const SHELF: usize = 1024;

/// Ends the chain of a shelf's free places.
const LAST: u32 = u32::MAX;

/// Records in numbered places.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    shelves: Vec<Shelf<T>>,
    /// Shelves that have a free place, those among them that were given back or never made.
    roomy: BTreeSet<u32>,
    /// An empty shelf that is kept.
    spare: Option<u32>,
    records: usize,
}

/// Some places, or none while nothing stands on it.
#[derive(Debug)]
struct Shelf<T> {
    /// Those that were never used are not here yet.
    places: Vec<Place<T>>,
    records: usize,
    /// The first of the free ones among them.
    free: u32,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    /// With the next free one of its shelf.
    Free(u32),
}

/// Octets of a place for such a record.
pub(crate) const fn place_size<T>() -> usize {
    size_of::<Place<T>>()
}

impl<T> Shelf<T> {
    const fn new() -> Self {
        Self { places: Vec::new(), records: 0, free: LAST }
    }

    const fn is_full(&self) -> bool {
        self.records == SHELF
    }

    /// Where on it; it is not full.
    fn insert(&mut self, record: T) -> usize {
        self.records += 1;
        let at = self.free as usize;
        if let Some(place) = self.places.get_mut(at) {
            if let Place::Free(next) = std::mem::replace(place, Place::Taken(record)) {
                self.free = next;
            }
            return at;
        }
        if self.places.is_empty() {
            self.places.reserve_exact(SHELF);
        }
        self.places.push(Place::Taken(record));
        self.places.len() - 1
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        let place = self.places.get_mut(at)?;
        if matches!(place, Place::Free(_)) {
            return None;
        }
        let Place::Taken(record) = std::mem::replace(place, Place::Free(self.free)) else { return None };
        self.free = at as u32;
        self.records -= 1;
        Some(record)
    }
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { shelves: Vec::new(), roomy: BTreeSet::new(), spare: None, records: 0 }
    }

    /// Puts a record into a free place and returns its number.
    pub(crate) fn insert(&mut self, record: T) -> u32 {
        let first = self.roomy.first().map(|number| *number as usize);
        let number = first.unwrap_or_else(|| {
            let number = self.shelves.len();
            assert!(
                number < LAST as usize / SHELF,
                "four thousand million records do not fit into this machine's memory"
            );
            self.shelves.push(Shelf::new());
            self.roomy.insert(number as u32);
            number
        });
        let shelf = &mut self.shelves[number];
        let at = shelf.insert(record);
        self.records += 1;
        if shelf.is_full() {
            self.roomy.remove(&(number as u32));
        }
        if self.spare == Some(number as u32) {
            self.spare = None;
        }
        (number * SHELF + at) as u32
    }

    /// Takes a record out; its number will be used again.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (shelf_number, at) = split(number);
        let shelf = self.shelves.get_mut(shelf_number)?;
        let was_full = shelf.is_full();
        let record = shelf.remove(at)?;
        self.records -= 1;
        if was_full {
            self.roomy.insert(shelf_number as u32);
        }
        if shelf.records == 0 {
            self.emptied(shelf_number as u32);
        }
        Some(record)
    }

    /// A shelf has nothing left on it: of two of those, the one with the higher number goes.
    fn emptied(&mut self, number: u32) {
        let kept = self.spare.map_or(number, |spare| spare.min(number));
        if let Some(spare) = self.spare.replace(kept) {
            self.shelves[spare.max(number) as usize] = Shelf::new();
        }
        // What was given back at the end needs no number either.
        while let Some(last) = self.shelves.last()
            && last.places.is_empty()
        {
            self.shelves.pop();
            self.roomy.remove(&(self.shelves.len() as u32));
        }
    }

    fn place(&self, number: u32) -> Option<&Place<T>> {
        let (shelf, at) = split(number);
        self.shelves.get(shelf)?.places.get(at)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        match self.place(number)? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (shelf, at) = split(number);
        match self.shelves.get_mut(shelf)?.places.get_mut(at)? {
            Place::Taken(record) => Some(record),
            Place::Free(_) => None,
        }
    }

    /// No record has this number or a higher one: the bound of a walk by number.
    pub(crate) fn places(&self) -> u32 {
        let Some(last) = self.shelves.last() else { return 0 };
        ((self.shelves.len() - 1) * SHELF + last.places.len()) as u32
    }

    pub(crate) const fn len(&self) -> usize {
        self.records
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.shelves.iter().enumerate().flat_map(|(shelf, all)| {
            let all = ((shelf * SHELF) as u32..).zip(&all.places);
            all.filter_map(|(number, place)| match place {
                Place::Taken(record) => Some((number, record)),
                Place::Free(_) => None,
            })
        })
    }

    /// How many records it has room for without asking for more.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.places.capacity()).sum()
    }
}

const fn split(number: u32) -> (usize, usize) {
    (number as usize / SHELF, number as usize % SHELF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_numbers_over_many_shelves_and_numbers_are_used_again() {
        let mut slab = Slab::new();
        let last = u32::try_from(SHELF * 3 + 7).unwrap();
        for number in 0..last {
            assert_eq!(slab.insert(number * 3), number);
        }
        assert_eq!((slab.places(), slab.len()), (last, last as usize));
        assert_eq!(slab.remove(1024), Some(3072));
        assert_eq!((slab.remove(1024), slab.get(1024), slab.get(last)), (None, None, None));
        let others: Vec<(u32, u32)> = slab.iter().map(|(number, record)| (number, *record)).collect();
        let expected = (0..last).filter(|&number| number != 1024).map(|number| (number, number * 3));
        assert_eq!(others, expected.collect::<Vec<_>>());
        assert_eq!((slab.insert(5), slab.get(1024)), (1024, Some(&5)));
        *slab.get_mut(last - 1).unwrap() = 9;
        assert_eq!(slab.get(last - 1), Some(&9));
        assert_eq!((slab.insert(1), slab.len()), (last, last as usize + 1));
    }

    #[test]
    fn what_has_become_free_is_used_from_the_front_and_given_back_from_wherever_it_is() {
        let mut slab = Slab::new();
        let (shelf, all) = (SHELF as u32, SHELF as u32 * 10);
        for number in 0..all {
            slab.insert(number);
        }
        assert_eq!(slab.room(), all as usize);
        // Two shelves in the middle, of which one is kept.
        for number in shelf * 4..shelf * 6 {
            assert_eq!(slab.remove(number), Some(number));
        }
        assert_eq!((slab.room(), slab.places()), (SHELF * 9, all));
        assert_eq!((slab.get(shelf * 4), slab.get(shelf * 5)), (None, None));
        assert_eq!((slab.remove(shelf * 4), slab.remove(shelf * 5)), (None, None));
        // Nothing but some at the end of each.
        for number in (0..all).filter(|number| number % shelf < shelf - 3) {
            slab.remove(number);
        }
        assert_eq!((slab.len(), slab.room()), (3 * 8, SHELF * 9));
        // What comes gathers at the front, also where a shelf was given back.
        let numbers: Vec<u32> = (0..shelf - 3).map(|_| slab.insert(7)).collect();
        assert!(numbers.iter().all(|number| *number < shelf - 3));
        assert_eq!(slab.insert(8), shelf * 2 - 4, "the place that was left last");
        for number in (0..all).filter(|number| number / shelf != 4) {
            slab.remove(number);
        }
        assert_eq!((slab.len(), slab.room(), slab.places()), (0, SHELF, shelf));
        assert_eq!(slab.iter().count(), 0);
        let numbers: Vec<u32> = (0..shelf * 6).map(|one| slab.insert(one)).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..shelf * 6).collect::<Vec<_>>());
        assert!(numbers.iter().zip(0..).all(|(number, record)| slab.get(*number) == Some(&record)));
    }

    #[test]
    fn at_the_edge_of_a_shelf_none_is_made_and_given_back_at_each_step() {
        let mut slab = Slab::new();
        let all: Vec<u32> = (0..SHELF as u32 * 2).map(|one| slab.insert(one)).collect();
        let mut rooms = Vec::new();
        for _ in 0..100 {
            let number = slab.insert(1);
            rooms.push(slab.room());
            assert_eq!(slab.remove(number), Some(1));
            rooms.push(slab.room());
        }
        assert!(rooms.iter().all(|room| *room == SHELF * 3), "{rooms:?}");
        // A thousand that come and go beside these make two shelves at most.
        for number in all {
            slab.remove(number);
        }
        assert_eq!(slab.room(), SHELF);
    }

    /// The same calls on this and on a map.
    #[test]
    fn it_is_a_map_whose_keys_it_chooses() {
        let (mut slab, mut map) = (Slab::new(), std::collections::BTreeMap::new());
        let mut chance: u64 = 1;
        let mut next = || {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) as u32
        };
        for round in 0..60_000_u32 {
            // Ebb and flood.
            let is_flood = (round / 6000).is_multiple_of(2);
            if (next() % 8 < 5) == is_flood {
                let number = slab.insert(round);
                assert_eq!(map.insert(number, round), None, "it was taken");
            } else if let Some((&number, _)) = map.range(next() % (slab.places() + 1)..).next() {
                assert_eq!(slab.remove(number), map.remove(&number));
            }
            assert_eq!(slab.len(), map.len());
        }
        assert!(slab.iter().eq(map.iter().map(|(number, record)| (*number, record))));
        for (number, record) in map {
            assert_eq!(slab.remove(number), Some(record));
        }
        assert_eq!((slab.len(), slab.room()), (0, SHELF));
    }
}
