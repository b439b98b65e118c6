//! Numbered places that are used again: records keep their number while they live, and cost no allocation each.
//!
//! Places are made by the *shelf*, which stays where it is. One list that grows would be copied into ever larger ones, and what it
//! leaves behind each time, megabytes of it, stays with the allocator.
//!
//! It is not a generational arena: whoever keeps a number must know that its record lives, or be able to tell from the
//! record that it is another one.

/// Places of a shelf.
const SHELF: usize = 1024;

/// Records in numbered places.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All are full, with free places among them, but for the last one.
    shelves: Vec<Vec<Option<T>>>,
    places: u32,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { shelves: Vec::new(), places: 0, free: Vec::new() }
    }

    /// Puts a record into a free place and returns its number.
    pub(crate) fn insert(&mut self, record: T) -> u32 {
        if let Some(number) = self.free.pop() {
            if let Some(place) = self.place(number) {
                *place = Some(record);
            }
            return number;
        }
        let number = self.places;
        assert!(number != u32::MAX, "four thousand million records do not fit into this machine's memory");
        if (number as usize).is_multiple_of(SHELF) {
            self.shelves.push(Vec::with_capacity(SHELF));
        }
        if let Some(shelf) = self.shelves.last_mut() {
            shelf.push(Some(record));
        }
        self.places += 1;
        number
    }

    /// Takes a record out; its number will be used again.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let record = self.place(number)?.take()?;
        self.free.push(number);
        Some(record)
    }

    fn place(&mut self, number: u32) -> Option<&mut Option<T>> {
        let number = number as usize;
        self.shelves.get_mut(number / SHELF)?.get_mut(number % SHELF)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        self.shelves.get(number / SHELF)?.get(number % SHELF)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.place(number)?.as_mut()
    }

    /// How many places there are, free ones included: the bound of a walk by number.
    pub(crate) const fn places(&self) -> u32 {
        self.places
    }

    pub(crate) fn len(&self) -> usize {
        self.places as usize - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let all = (0..).zip(self.shelves.iter().flatten());
        all.filter_map(|(number, record)| record.as_ref().map(|record| (number, record)))
    }
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
}
