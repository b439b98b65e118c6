//! One queue: the entries of one channel for one domain, on five shelves.
//!
//! Shelves are ordered by [`Place`]: priority and then age, or priority and then size. Entries with a due time are also in `due`. A released entry
//! may still be in `due`; it leaves it when that time comes, which then changes nothing. That is what allows a release
//! to move a shelf whole, without looking at what stands on it.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use sluice_mail::{Priority, Time, TransferPriority};
use sluice_spool::EntryId;

use crate::entry::{Due, EntryKey};
use crate::index::ChannelKey;
use crate::place::{Order, Place, levels_of};
use crate::release::QueueRun;
use crate::ring::Spot;
use crate::seldom::{Rare, Seldom};
use crate::slab::place_size;

/// A shelf of entries, first to be taken first.
pub(crate) type Shelf = BTreeSet<Place>;

/// Sums over entries.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) recipients: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) channel: ChannelKey,
    pub(crate) domain: Arc<str>,
    pub(crate) ready: Shelf,
    pub(crate) delayed: Shelf,
    pub(crate) leased: Seldom<Place>,
    /// The shelves of what is deferred and held, and what else few queues have.
    pub(crate) rare: Rare,
    /// Due times of entries on `delayed` that have one, of those that are deferred, and of released ones whose time has not come yet.
    pub(crate) due: Seldom<(Time, EntryKey)>,
    /// Octets of all entries' messages.
    pub(crate) bytes: u64,
    /// The same and the recipients, of those entries that a release covers.
    pub(crate) covered: Load,
    /// The single run that it is under has its lease: nothing else of it may be taken.
    pub(crate) is_barred: bool,
    /// Some message has had several entries here: then its messages are fewer than its entries.
    pub(crate) is_split: bool,
    /// An operator wants nothing tried for this domain: no lease takes anything.
    pub(crate) is_suspended: bool,
    /// Turns that it has had since it last was idle.
    pub(crate) turns: u8,
    /// The release that this queue is under.
    pub(crate) run: Option<Box<QueueRun>>,
    /// In which of its channel's rings it stands: a bit for each level of priority.
    pub(crate) in_ring: u32,
    /// The number of its places there. Those with another are out of date.
    pub(crate) spot: u32,
    pub(crate) order: Order,
    /// Time under which it is registered with the index, or [`Due::NEVER`].
    pub(crate) wake: Due,
}

impl Queue {
    pub(crate) fn new(channel: ChannelKey, domain: Arc<str>) -> Self {
        Self {
            channel,
            domain,
            ready: Shelf::new(),
            delayed: Shelf::new(),
            leased: Seldom::default(),
            rare: Rare::default(),
            due: Seldom::default(),
            bytes: 0,
            covered: Load::default(),
            is_barred: false,
            is_split: false,
            is_suspended: false,
            turns: 0,
            run: None,
            in_ring: 0,
            spot: 0,
            order: Order::Age,
            wake: Due::NEVER,
        }
    }

    pub(crate) fn shelves(&self) -> [&Shelf; 5] {
        [&*self.leased, &self.ready, &self.delayed, &self.rare.deferred, &self.rare.held]
    }

    /// Its entries: a message is one, or several where its recipients are apart.
    pub(crate) fn entries(&self) -> u64 {
        self.shelves().into_iter().map(|shelf| shelf.len() as u64).sum()
    }

    /// Entries that a release of this queue covers: all but those that are on hold or deferred.
    pub(crate) fn releasable(&self) -> u64 {
        (self.ready.len() + self.delayed.len() + self.leased.len()) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shelves().into_iter().all(BTreeSet::is_empty)
    }

    /// Gives back the room of sets that have become empty.
    pub(crate) fn tidy(&mut self) {
        self.leased.tidy();
        self.due.tidy();
        self.rare.tidy();
    }

    /// Nothing is being delivered or about to be.
    pub(crate) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.leased.is_empty()
    }

    /// Where an entry of a message stands here.
    pub(crate) fn place(&self, priority: TransferPriority, id: EntryId, size: u64, entry: EntryKey) -> Place {
        Place::of(priority, (self.order == Order::Size).then_some(size), id, entry)
    }

    /// Whether a lease would find something of this level.
    pub(crate) fn has_ready(&self, level: u8) -> bool {
        !self.is_closed() && self.ready.range(Place::all_of(&(level..=level))).next().is_some()
    }

    /// Whether a place in a ring is one of its own.
    pub(crate) const fn has_spot(&self, level: u8, spot: Spot) -> bool {
        self.spot == spot.number && self.in_ring & 1 << level != 0
    }

    /// Nothing may be taken from it.
    pub(crate) const fn is_closed(&self) -> bool {
        self.is_suspended || self.is_barred
    }

    /// Of the most urgent entries that are ready and not above `level`: the first, or the oldest.
    pub(crate) fn first_ready(&self, level: u8, oldest: bool) -> Option<Place> {
        let first = self.ready.range(Place::first_of(level)..).next().copied()?;
        if !oldest || self.order == Order::Age {
            return Some(first);
        }
        let level = first.level();
        let alike = firsts(&self.ready, first).take_while(|place| place.level() == level);
        alike.min_by_key(|place| place.id())
    }

    /// Makes all that is delayed ready. One shelf is empty almost always, and then this is one exchange. Otherwise the
    /// shorter one is put into the longer; an entry comes to `delayed` beside a ready one only by a delivery attempt,
    /// so that no number of releases costs more than the attempts made between them.
    pub(crate) fn release(&mut self) {
        if self.delayed.len() > self.ready.len() {
            std::mem::swap(&mut self.delayed, &mut self.ready);
        }
        while let Some(place) = self.delayed.pop_first() {
            self.ready.insert(place);
        }
    }

    /// Makes ready what is delayed and of this priority.
    pub(crate) fn release_priority(&mut self, priority: Priority) {
        self.ready.extend(self.delayed.extract_if(Place::all_of(&levels_of(priority)), |_| true));
    }

    /// The oldest entry of each shelf, priority and size: one of them is the oldest of the queue.
    pub(crate) fn oldest_candidates(&self) -> impl Iterator<Item = EntryKey> {
        let all = self.shelves().into_iter().flat_map(|shelf| firsts(shelf, Place::first_of(0)));
        all.map(Place::entry)
    }
}

/// From a place on, the first of each level and size. Costs by those, and not by what stands there.
fn firsts(shelf: &Shelf, from: Place) -> impl Iterator<Item = Place> {
    let first = shelf.range(from..).next().copied();
    std::iter::successors(first, |place| {
        shelf.range((Bound::Excluded(place.last_alike()), Bound::Unbounded)).next().copied()
    })
}

// There may be one for each of a hundred thousand sites.
const _: () = assert!(place_size::<Queue>() <= 144);
