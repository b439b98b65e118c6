//! Numbered places that are used again: records keep their number while they live, and cost no allocation each.
//!
//! It is not a generational arena: whoever keeps a number must know that its record lives, or be able to tell from the
//! record that it is another one.

/// Records in numbered places.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Puts a record into a free place and returns its number.
    pub(crate) fn insert(&mut self, record: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = Some(record);
            return number;
        }
        let number = u32::try_from(self.places.len())
            .ok()
            .filter(|&number| number != u32::MAX)
            .expect("four thousand million records do not fit into this machine's memory");
        self.places.push(Some(record));
        number
    }

    /// Takes a record out; its number will be used again.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let record = self.places.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(record)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.places.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// How many places there are, free ones included: the bound of a walk by number.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places.iter().enumerate().filter_map(|(number, record)| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "insert keeps the number of places below 2^32"
            )]
            record.as_ref().map(|record| (number as u32, record))
        })
    }
}
