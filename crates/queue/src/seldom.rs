//! Sets that few queues have anything in.
//!
//! A hub for many sites has a queue for each, and a queue has several sets of entries of which one or two are used. An empty
//! one of these costs a word, and those that hardly any queue uses have a word together.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use crate::entry::EntryKey;
use crate::place::Place;

/// A set that is empty, as a rule.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "a set by itself takes three words, and there are two of these in each queue"
)]
pub(crate) struct Seldom<T>(Option<Box<BTreeSet<T>>>);

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Ord> Seldom<T> {
    /// Takes out what may be there, without making room for it.
    pub(crate) fn remove(&mut self, value: &T) -> bool {
        self.0.as_mut().is_some_and(|set| set.remove(value))
    }

    /// Gives back the room of a set that has become empty.
    pub(crate) fn tidy(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }
}

impl<T> Deref for Seldom<T> {
    type Target = BTreeSet<T>;

    fn deref(&self) -> &BTreeSet<T> {
        match &self.0 {
            Some(set) => set,
            None => const { &BTreeSet::new() },
        }
    }
}

impl<T> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut BTreeSet<T> {
        self.0.get_or_insert_default()
    }
}

/// What hardly any queue has, under one word.
#[derive(Debug, Default)]
pub(crate) struct Rare(Option<Box<RareSets>>);

/// Each of them is empty, as a rule.
#[derive(Debug, Default)]
pub(crate) struct RareSets {
    /// The shelf of what waits for a date of its sender's.
    pub(crate) deferred: BTreeSet<Place>,
    /// The shelf of what is on hold.
    pub(crate) held: BTreeSet<Place>,
    /// Entries here whose message has other entries, here or elsewhere: what a count of messages must not count twice.
    pub(crate) spread: BTreeSet<EntryKey>,
}

impl RareSets {
    const fn new() -> Self {
        Self { deferred: BTreeSet::new(), held: BTreeSet::new(), spread: BTreeSet::new() }
    }
}

impl Rare {
    /// The sets, if there are any: to take something out, without making room for it.
    pub(crate) fn sets(&mut self) -> Option<&mut RareSets> {
        self.0.as_deref_mut()
    }

    /// Gives back the room of sets that have all become empty.
    pub(crate) fn tidy(&mut self) {
        if self.deferred.is_empty() && self.held.is_empty() && self.spread.is_empty() {
            self.0 = None;
        }
    }
}

impl Deref for Rare {
    type Target = RareSets;

    fn deref(&self) -> &RareSets {
        match &self.0 {
            Some(sets) => sets,
            None => const { &RareSets::new() },
        }
    }
}

impl DerefMut for Rare {
    fn deref_mut(&mut self) -> &mut RareSets {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_sets_are_there_when_something_is_in_one_of_them() {
        let mut rare = Rare::default();
        assert!(rare.sets().is_none() && rare.held.is_empty() && rare.deferred.is_empty());
        rare.spread.insert(EntryKey(7));
        rare.tidy();
        assert_eq!((rare.spread.len(), rare.held.len()), (1, 0));
        assert!(rare.sets().is_some_and(|sets| sets.spread.remove(&EntryKey(7))));
        rare.tidy();
        assert!(rare.sets().is_none() && rare.spread.is_empty());
    }

    #[test]
    fn an_empty_one_is_a_set_like_any_other() {
        let mut set = Seldom::default();
        assert!(set.is_empty() && !set.remove(&7) && set.0.is_none());
        set.insert(7);
        set.tidy();
        assert_eq!(set.first(), Some(&7));
        assert!(set.remove(&7));
        set.tidy();
        assert!(set.0.is_none());
    }
}
