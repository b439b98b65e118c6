//! Sets that few queues have anything in.
//!
//! A hub for many sites has a queue for each, and a queue has several sets of entries of which one or two are used. An empty
//! one of these costs a word.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

/// A set that is empty, as a rule.
#[derive(Debug)]
#[expect(
    clippy::box_collection,
    reason = "a set by itself takes three words, and there are five of these in each queue"
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

#[cfg(test)]
mod tests {
    use super::*;

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
