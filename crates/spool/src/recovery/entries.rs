//! The live entries while the index is put together: those of the checkpoint as they stand there, in the order of their ids,
//! and beside them the few that came since.
//!
//! A million entries of a checkpoint are one list that is handed on as it is. Nothing is hashed for them.

use std::collections::{BTreeMap, HashMap};

use super::Live;
use crate::brief::brief_list;
use crate::checkpoint::LiveRow;
use crate::found::FoundState;
use crate::ids::EntryId;

#[derive(Default)]
pub(super) struct Entries {
    /// By id, once [`Entries::sort`] was called.
    base: Vec<Live>,
    /// Which of them are not live any more; a bit each.
    gone: Vec<u64>,
    came: BTreeMap<EntryId, Live>,
    /// Other segments of those that have chunks.
    spread: HashMap<EntryId, Box<[u32]>>,
    live: usize,
}

enum Place {
    Base(usize),
    Came,
}

impl Entries {
    /// Makes room for about so many.
    pub(super) fn expect(&mut self, entries: usize) {
        self.base = brief_list(entries);
    }

    /// An entry of the checkpoint; all of them come before anything is looked for.
    pub(super) fn push(&mut self, id: EntryId, row: LiveRow, state: Option<FoundState>) {
        if !row.spread.is_empty() {
            self.spread.insert(id, row.spread);
        }
        self.base.push(Live { id, at: row.at, state, body_len: row.body_len });
        self.live += 1;
    }

    /// All entries of the checkpoint are there. False when it named one twice, which none of ours does.
    pub(super) fn sort(&mut self) -> bool {
        // Mostly in order: long stretches of messages that came one after the other.
        self.base.sort_by_key(|live| live.id);
        let pushed = self.base.len();
        self.base.dedup_by_key(|live| live.id);
        self.live = self.base.len();
        self.gone = vec![0; self.base.len().div_ceil(64)];
        self.base.len() == pushed
    }

    fn find(&self, id: EntryId) -> Option<Place> {
        if let Ok(place) = self.base.binary_search_by_key(&id, |live| live.id)
            && self.gone[place / 64] & 1 << (place % 64) == 0
        {
            return Some(Place::Base(place));
        }
        self.came.contains_key(&id).then_some(Place::Came)
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Live> {
        match self.find(id)? {
            Place::Base(place) => self.base.get(place),
            Place::Came => self.came.get(&id),
        }
    }

    pub(super) fn get_mut(&mut self, id: EntryId) -> Option<&mut Live> {
        match self.find(id)? {
            Place::Base(place) => self.base.get_mut(place),
            Place::Came => self.came.get_mut(&id),
        }
    }

    /// Other segments that hold chunks of its body.
    pub(super) fn spread(&self, id: EntryId) -> &[u32] {
        self.spread.get(&id).map_or(&[], |segments| segments)
    }

    /// An entry that was found beside the checkpoint, or found again somewhere else.
    pub(super) fn insert(&mut self, id: EntryId, row: LiveRow, state: Option<FoundState>) {
        self.remove(id);
        if !row.spread.is_empty() {
            self.spread.insert(id, row.spread);
        }
        self.came.insert(id, Live { id, at: row.at, state, body_len: row.body_len });
        self.live += 1;
    }

    pub(super) fn remove(&mut self, id: EntryId) -> Option<Live> {
        let live = match self.find(id)? {
            Place::Base(place) => {
                self.gone[place / 64] |= 1 << (place % 64);
                let nobody = Live { id, at: self.base[place].at, state: None, body_len: 0 };
                std::mem::replace(&mut self.base[place], nobody)
            }
            Place::Came => self.came.remove(&id)?,
        };
        self.spread.remove(&id);
        self.live -= 1;
        Some(live)
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Live> {
        let is_live =
            |place: usize| self.gone.get(place / 64).is_none_or(|word| word & 1 << (place % 64) == 0);
        let base =
            self.base.iter().enumerate().filter(move |(place, _)| is_live(*place)).map(|(_, live)| live);
        base.chain(self.came.values())
    }

    /// All of them, by id.
    pub(super) fn into_list(self) -> Vec<Live> {
        let mut list = self.base;
        if self.gone.iter().any(|word| *word != 0) {
            let mut place = 0;
            list.retain(|_| {
                place += 1;
                self.gone[(place - 1) / 64] & 1 << ((place - 1) % 64) == 0
            });
        }
        list.extend(self.came.into_values());
        if !list.is_sorted_by_key(|live| live.id) {
            list.sort_unstable_by_key(|live| live.id);
        }
        list
    }
}
