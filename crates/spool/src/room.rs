//! When a table or a list gives room back: the one rule for all that may once have held very much.
//!
//! Tables and lists of the standard library keep the room that they once needed. A hub had a million messages waiting, and they have
//! gone: then the room of the tables that knew them is the hub's for ever. So whoever takes something out of such a table says
//! [`GivesBack::give_back`] behind it. Room is given back when less than an eighth of it is in use, down to twice what is: before
//! the table has to be copied again, it has to lose three quarters of what it holds, or to get as much again. So a step costs
//! as before, over many, and coming and going at an edge copies nothing. Small tables are left alone.
//!
//! Trees give back by themselves, and numbered records by their shelves (`queue::slab`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

/// So much room is no matter.
const SMALL: usize = 1024;

/// Room for how many should be left to a container that holds so many and has room for so many; `None`: as it is.
#[must_use]
pub const fn room_left(len: usize, room: usize) -> Option<usize> {
    if room > SMALL && len < room / 8 { Some(len * 2) } else { None }
}

/// What has room that it may not need any more.
pub trait GivesBack {
    /// Gives room back where it has much more than it needs. Costs two comparisons otherwise.
    fn give_back(&mut self);
}

impl<T> GivesBack for Vec<T> {
    fn give_back(&mut self) {
        if let Some(room) = room_left(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T> GivesBack for VecDeque<T> {
    fn give_back(&mut self) {
        if let Some(room) = room_left(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> GivesBack for HashMap<K, V, S> {
    fn give_back(&mut self) {
        if let Some(room) = room_left(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<K: Eq + Hash, S: BuildHasher> GivesBack for HashSet<K, S> {
    fn give_back(&mut self) {
        if let Some(room) = room_left(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts so many in and takes them out, and returns the room at the most and at the end, and how often room was given back.
    fn filled_and_emptied<C: GivesBack>(
        mut container: C,
        put: fn(&mut C, usize),
        take: fn(&mut C, usize),
        room: fn(&C) -> usize,
    ) -> (usize, usize, usize) {
        (0..100_000).for_each(|one| put(&mut container, one));
        let most = room(&container);
        let mut times = 0;
        for one in (0..100_000).rev() {
            take(&mut container, one);
            let before = room(&container);
            container.give_back();
            times += usize::from(room(&container) < before);
        }
        (most, room(&container), times)
    }

    #[test]
    fn what_was_filled_and_emptied_is_small_again_and_was_copied_few_times() {
        let all = [
            filled_and_emptied(
                Vec::new(),
                Vec::push,
                |list, _| {
                    let _ = list.pop();
                },
                Vec::capacity,
            ),
            filled_and_emptied(
                VecDeque::new(),
                VecDeque::push_back,
                |list, _| {
                    let _ = list.pop_front();
                },
                VecDeque::capacity,
            ),
            filled_and_emptied(
                HashMap::new(),
                |map, one| {
                    let _ = map.insert(one, one);
                },
                |map, one| {
                    let _ = map.remove(&one);
                },
                HashMap::capacity,
            ),
            filled_and_emptied(
                HashSet::new(),
                |set, one| {
                    let _ = set.insert(one);
                },
                |set, one| {
                    let _ = set.remove(&one);
                },
                HashSet::capacity,
            ),
        ];
        for (most, end, times) in all {
            assert!(most >= 100_000 && end <= SMALL, "{most} at the most, {end} at the end");
            assert!((1..=6).contains(&times), "given back {times} times");
        }
    }

    #[test]
    fn coming_and_going_at_an_edge_copies_nothing() {
        let mut list: Vec<usize> = (0..100_000).collect();
        list.truncate(100_000 / 8 - 1);
        list.give_back();
        let room = list.capacity();
        assert!(room < 100_000 / 3, "{room}");
        for _ in 0..1000 {
            list.truncate(list.len() / 3);
            list.give_back();
            assert_eq!(list.capacity(), room, "a third of it is not much less");
            list.resize(room, 0);
        }
        let mut small: Vec<usize> = Vec::with_capacity(SMALL);
        small.give_back();
        assert!(small.capacity() >= SMALL, "it is no matter");
    }
}
