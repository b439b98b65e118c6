//! The index: all queues, and the ways to them.
//!
//! Queues are found by (channel, domain), by channel, and by reversed domain over all channels. Each channel has a ring
//! per priority of the queues that have something ready, from which leases are taken in turn. One ordered set tells
//! which queue has to be looked at next for its due times; there is no timer per message.

use std::collections::btree_map::Entry as BTreeEntry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use sluice_mail::Time;
use sluice_spool::{EntryId, GivesBack, Location};

use crate::entry::{
    Due, Entry, EntryKey, Message, MessageKey, MessageRecord, NEVER, NONE, NewEntry, NewMessage, Placement,
    State, Then,
};
use crate::homes::Homes;
use crate::names::{ByDomain, Name};
use crate::place::{Order, Place};
use crate::queue::{Queue, Shelf};
use crate::release::{Run, RunNumber};
use crate::ring::Rings;
use crate::slab::Slab;
use crate::suspend::Suspended;
use crate::tally::Tally;

/// A channel's number, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey(pub(crate) u32);

impl ChannelKey {
    /// Its number, counted from 0: for tables of the caller's own, one row per channel.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A queue's number while it lives: until it is empty and under no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey(pub(crate) u32);

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: Arc<str>,
    pub(crate) queues: ByDomain,
    pub(crate) rings: Rings,
    pub(crate) leased: usize,
    /// It is among [`Queues::stirred`].
    pub(crate) is_stirred: bool,
}

/// What became of a message when one of its entries was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It has entries left.
    InPart,
    /// That was the last one: the spool may forget it.
    Whole {
        /// Its id.
        id: EntryId,
        /// Where it was.
        at: Location,
    },
}

/// Everything that waits.
#[derive(Debug)]
pub struct Queues {
    pub(crate) messages: Slab<MessageRecord>,
    pub(crate) entries: Slab<Entry>,
    pub(crate) queues: Slab<Queue>,
    pub(crate) runs: Slab<Run>,
    pub(crate) run_numbers: HashMap<RunNumber, u32>,
    /// Runs that cover queues yet to come.
    pub(crate) collecting: Vec<u32>,
    /// Entries that were released by themselves: their run, and whether they were tried under it.
    pub(crate) alone: HashMap<EntryKey, (u32, bool)>,
    /// See [`Queues::take_dated`].
    pub(crate) dated: Vec<EntryKey>,
    /// Runs that are over, until somebody asks.
    pub(crate) ended: Vec<(RunNumber, Tally)>,
    pub(crate) channels: Vec<Channel>,
    /// Channels in which something has become ready, or has changed beside what is ready, since they were last asked for.
    pub(crate) stirred: Vec<ChannelKey>,
    /// Channels that have a queue.
    pub(crate) occupied: BTreeSet<ChannelKey>,
    channel_keys: HashMap<Arc<str>, ChannelKey>,
    /// By which domains are found in the tables of channels.
    pub(crate) hasher: RandomState,
    pub(crate) domains: BTreeMap<Name, Homes>,
    pub(crate) wakes: BTreeSet<(Time, QueueKey)>,
    /// Open recipients of entries that were settled in part.
    open: HashMap<EntryKey, Box<[u32]>>,
    /// See [`Queues::set_grace`].
    pub(crate) grace: Duration,
    pub(crate) suspended: Suspended,
}

impl Default for Queues {
    fn default() -> Self {
        Self::new()
    }
}

/// Coming in and finding.
impl Queues {
    /// An index of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            messages: Slab::new(),
            entries: Slab::new(),
            queues: Slab::new(),
            runs: Slab::new(),
            run_numbers: HashMap::new(),
            collecting: Vec::new(),
            alone: HashMap::new(),
            dated: Vec::new(),
            ended: Vec::new(),
            channels: Vec::new(),
            stirred: Vec::new(),
            occupied: BTreeSet::new(),
            channel_keys: HashMap::new(),
            hasher: RandomState::new(),
            domains: BTreeMap::new(),
            wakes: BTreeSet::new(),
            open: HashMap::new(),
            grace: Duration::ZERO,
            suspended: Suspended::default(),
        }
    }

    /// The number of a channel, which need not exist in any configuration: mail may wait in one that is gone.
    pub fn channel(&mut self, name: &str) -> ChannelKey {
        if let Some(&key) = self.channel_keys.get(name) {
            return key;
        }
        let key = ChannelKey(
            u32::try_from(self.channels.len()).expect("channel names come from a configuration file"),
        );
        let name: Arc<str> = name.into();
        self.channels.push(Channel {
            name: Arc::clone(&name),
            queues: ByDomain::default(),
            rings: Rings::default(),
            leased: 0,
            is_stirred: false,
        });
        self.channel_keys.insert(name, key);
        key
    }

    /// The number of a channel that had mail or was asked for before.
    #[must_use]
    pub fn known_channel(&self, name: &str) -> Option<ChannelKey> {
        self.channel_keys.get(name).copied()
    }

    /// A channel's name.
    #[must_use]
    pub fn channel_name(&self, key: ChannelKey) -> &Arc<str> {
        &self.channels[key.0 as usize].name
    }

    /// All channels ever named here.
    pub fn channels(&self) -> impl Iterator<Item = ChannelKey> + use<> {
        (0..u32::try_from(self.channels.len()).unwrap_or(u32::MAX)).map(ChannelKey)
    }

    /// The channels in which something has become ready since the last call, each once: whoever hands out leases need look
    /// at no other for new work.
    pub fn take_stirred(&mut self) -> Vec<ChannelKey> {
        let stirred = std::mem::take(&mut self.stirred);
        for key in &stirred {
            self.channels[key.0 as usize].is_stirred = false;
        }
        stirred
    }

    /// The channels that have mail, in whatever state, or a run under way.
    pub fn occupied_channels(&self) -> impl Iterator<Item = ChannelKey> {
        self.occupied.iter().copied()
    }

    /// Takes a message in. Entries for the same channel and domain are the caller's to merge, unless each names the
    /// recipients it is for; a second one that does not is dropped here, with an assertion in debug builds. `None` if
    /// there was no entry.
    pub fn insert<'a>(
        &mut self,
        message: NewMessage,
        entries: impl IntoIterator<Item = NewEntry<'a>>,
        now: Time,
    ) -> Option<MessageKey> {
        let NewMessage { id, size, .. } = message;
        let key = MessageKey(self.messages.insert(MessageRecord::new(message)));
        for new in entries {
            let channel = self.channel(new.channel);
            let queue_key = self.queue_for(channel, new.domain, new.order, now);
            let Some(queue) = self.queues.get_mut(queue_key.0) else { continue };
            let siblings = queue.place(new.priority, id, size, EntryKey(0)).siblings();
            let mut is_split = false;
            let mut twice = false;
            for place in queue.shelves().into_iter().flat_map(|shelf| shelf.range(siblings.clone())) {
                is_split = true;
                twice |= new.open.is_none() || !self.open.contains_key(&place.entry());
            }
            debug_assert!(!twice, "message {id} has two entries for {} in {}", new.domain, new.channel);
            if twice {
                continue;
            }
            let (state, due, then) = stand(new.placement, queue.run.is_some(), now);
            let Some(message) = self.messages.get_mut(key.0) else { continue };
            let entry = EntryKey(self.entries.insert(Entry {
                message: key,
                queue: queue_key,
                due: due.into(),
                next: message.first,
                attempts: new.attempts,
                step: new.step,
                noticed: new.noticed,
                priority: new.priority,
                recipients: new.recipients,
                then,
                state,
            }));
            message.first = entry.0;
            queue.bytes += size;
            queue.is_split |= is_split;
            let place = queue.place(new.priority, id, size, entry);
            shelf(queue, state).insert(place);
            if matches!(state, State::Delayed | State::Deferred) && due != NEVER {
                queue.due.insert((due, entry));
            }
            if let Some(open) = new.open {
                self.open.insert(entry, open.into());
            }
            self.weigh(entry, true);
            self.touch(queue_key, now);
        }
        let first = self.messages.get(key.0)?.first;
        if first == NONE {
            self.messages.remove(key.0);
            return None;
        }
        if self.entry(EntryKey(first)).next != NONE {
            for entry in self.entries_of(key).collect::<Vec<_>>() {
                let queue = self.entry(entry).queue;
                if let Some(queue) = self.queues.get_mut(queue.0) {
                    queue.rare.spread.insert(entry);
                }
            }
        }
        for entry in self.entries_of(key).collect::<Vec<_>>() {
            self.enter(entry);
        }
        Some(key)
    }

    fn queue_for(&mut self, channel: ChannelKey, domain: &str, order: Order, now: Time) -> QueueKey {
        if let Some(key) = self.queue(channel, domain) {
            return key;
        }
        let domain: Arc<str> = domain.into();
        let name = Name::of(&domain);
        let mut queue = Queue::new(channel, domain);
        queue.is_suspended = self.suspended.covers(&queue.domain);
        queue.order = order;
        let key = QueueKey(self.queues.insert(queue));
        self.channels[channel.0 as usize].queues.insert(key, &self.queues, &self.hasher);
        self.occupied.insert(channel);
        match self.domains.entry(name) {
            BTreeEntry::Vacant(place) => drop(place.insert(Homes::One(key))),
            BTreeEntry::Occupied(mut homes) => homes.get_mut().push(key),
        }
        self.join_run(key, now);
        key
    }

    /// An entry.
    ///
    /// # Panics
    /// When it has been finished: its number is then no longer its holder's to use.
    #[must_use]
    pub fn entry(&self, key: EntryKey) -> &Entry {
        self.entries.get(key.0).expect("whoever has an entry's number has not finished it")
    }

    /// Whether the number is that of a living entry of this message. For holders of numbers that may be out of date.
    #[must_use]
    pub fn is_entry_of(&self, key: EntryKey, id: EntryId) -> bool {
        self.entries.get(key.0).is_some_and(|entry| self.message(entry.message).id == id)
    }

    /// Counts an attempt, a step in the backoff list, a notice sent.
    ///
    /// # Panics
    /// When it has been finished.
    pub fn entry_mut(&mut self, key: EntryKey) -> &mut Entry {
        self.entries.get_mut(key.0).expect("whoever has an entry's number has not finished it")
    }

    /// A message.
    ///
    /// # Panics
    /// When its last entry has been finished.
    #[must_use]
    pub fn message(&self, key: MessageKey) -> Message {
        self.record(key).message()
    }

    pub(crate) fn record(&self, key: MessageKey) -> &MessageRecord {
        self.messages.get(key.0).expect("a message lives as long as one of its entries")
    }

    /// All entries of a message, in no particular order.
    pub fn entries_of(&self, key: MessageKey) -> impl Iterator<Item = EntryKey> {
        let mut next = self.messages.get(key.0).map_or(NONE, |message| message.first);
        std::iter::from_fn(move || {
            let entry = self.entries.get(next)?;
            let key = EntryKey(next);
            next = entry.next;
            Some(key)
        })
    }

    /// The message of that id. Walks the messages, since few things need to find one by its id; a million take some
    /// milliseconds.
    #[must_use]
    pub fn find_message(&self, id: EntryId) -> Option<MessageKey> {
        self.messages.iter().find(|(_, message)| message.id() == id).map(|(number, _)| MessageKey(number))
    }

    /// Channel and domain of a queue.
    ///
    /// # Panics
    /// When the queue has gone: take its number from a living entry.
    #[must_use]
    pub fn queue_names(&self, key: QueueKey) -> (ChannelKey, &Arc<str>) {
        let queue = self.queues.get(key.0).expect("a queue lives as long as it has an entry");
        (queue.channel, &queue.domain)
    }

    /// Recipients still open, when that is not all with its channel and domain.
    #[must_use]
    pub fn open(&self, key: EntryKey) -> Option<&[u32]> {
        self.open.get(&key).map(|open| &**open)
    }

    /// Notes that only these recipients are still open.
    pub fn set_open(&mut self, key: EntryKey, open: &[u32]) {
        self.weigh(key, false);
        self.open.insert(key, open.into());
        self.weigh(key, true);
    }

    /// Adds an entry to what a release of its queue covers, or takes it out.
    pub(crate) fn weigh(&mut self, key: EntryKey, add: bool) {
        let entry = self.entry(key);
        if !is_covered(entry.state) {
            return;
        }
        let (queue, bytes, recipients) =
            (entry.queue, self.message(entry.message).size, self.recipients(key));
        let Some(queue) = self.queues.get_mut(queue.0) else { return };
        if add {
            queue.covered.recipients += recipients;
            queue.covered.bytes += bytes;
        } else {
            queue.covered.recipients -= recipients;
            queue.covered.bytes -= bytes;
        }
    }

    /// The queue of exactly this channel and domain.
    #[must_use]
    pub fn queue(&self, channel: ChannelKey, domain: &str) -> Option<QueueKey> {
        self.channels[channel.0 as usize].queues.get(domain, &self.queues, &self.hasher)
    }

    /// The queues of exactly this domain, in whatever channel.
    #[must_use]
    pub fn queues_of_domain(&self, domain: &str) -> Vec<QueueKey> {
        self.domains.get(&Name::new(domain)).map_or_else(Vec::new, |homes| homes.keys().to_vec())
    }

    /// The queues of this domain and everything below it.
    #[must_use]
    pub fn queues_of_subnet(&self, domain: &str) -> Vec<QueueKey> {
        let above = Name::new(domain);
        let below = self.domains.range(&above..).take_while(|(name, _)| name.is_within(&above));
        below.flat_map(|(_, homes)| homes.keys().iter().copied()).collect()
    }

    /// The queues of a channel, in the order of their numbers.
    #[must_use]
    pub fn queues_of_channel(&self, channel: ChannelKey) -> Vec<QueueKey> {
        let mut queues: Vec<QueueKey> = self.channels[channel.0 as usize].queues.keys().collect();
        queues.sort_unstable();
        queues
    }
}

/// What comes back from leases.
impl Queues {
    /// The entry is settled whole, or taken away by its age: it is gone, and its number with it.
    pub fn finish(&mut self, key: EntryKey, now: Time) -> Finished {
        self.leave(key);
        self.take_off_shelf(key);
        if self.open.remove(&key).is_some() {
            self.open.give_back();
        }
        let Some(entry) = self.entries.remove(key.0) else { return Finished::InPart };
        let message_key = entry.message;
        let message =
            self.messages.get_mut(message_key.0).expect("a message lives as long as one of its entries");
        let Message { id, at, size, .. } = message.message();
        if message.first == key.0 {
            message.first = entry.next;
        } else {
            let mut before = message.first;
            while let Some(other) = self.entries.get_mut(before) {
                if other.next == key.0 {
                    other.next = entry.next;
                    break;
                }
                before = other.next;
            }
        }
        let has_others = message.first != NONE;
        if let Some(queue) = self.queues.get_mut(entry.queue.0) {
            queue.bytes -= size;
            if let Some(sets) = queue.rare.sets() {
                sets.spread.remove(&key);
            }
        }
        self.touch(entry.queue, now);
        if has_others {
            return Finished::InPart;
        }
        self.messages.remove(message_key.0);
        Finished::Whole { id, at }
    }

    /// Puts an entry where it shall wait from now on, wherever it stands. A run does not make it ready again: what has
    /// failed under a release goes by its own schedule.
    pub fn put_back(&mut self, key: EntryKey, placement: Placement, now: Time) {
        let (state, due, then) = stand(placement, false, now);
        let was_within = is_covered(self.entry(key).state) && !self.is_outside(key);
        if !is_covered(state) {
            self.leave(key);
        }
        self.take_off_shelf(key);
        let place = self.place(key);
        let entry = self.entry_mut(key);
        entry.state = state;
        entry.due = due.into();
        entry.then = then;
        let queue_key = entry.queue;
        if let Some(queue) = self.queues.get_mut(queue_key.0) {
            shelf(queue, state).insert(place);
            if matches!(state, State::Delayed | State::Deferred) && due != NEVER {
                queue.due.insert((due, key));
            }
        }
        self.weigh(key, true);
        if is_covered(state) && !was_within {
            self.enter(key);
        }
        if state == State::Delayed {
            self.alone_waits(key);
        }
        self.touch(queue_key, now);
    }

    pub(crate) fn make_ready(&mut self, key: EntryKey, now: Time) {
        self.put_back(key, Placement::Ready, now);
    }

    /// Whether it really waits: a release moves shelves without telling the entries on them.
    pub(crate) fn is_delayed(&self, key: EntryKey) -> bool {
        let place = self.place(key);
        self.queues.get(self.entry(key).queue.0).is_some_and(|queue| queue.delayed.contains(&place))
    }

    /// Where an entry stands, releases considered.
    #[must_use]
    pub fn state(&self, key: EntryKey) -> State {
        match self.entry(key).state {
            State::Delayed if !self.is_delayed(key) => State::Ready,
            state => state,
        }
    }

    pub(crate) fn place(&self, key: EntryKey) -> Place {
        let entry = self.entry(key);
        let message = self.message(entry.message);
        let queue = self.queues.get(entry.queue.0).expect("a queue lives as long as it has an entry");
        queue.place(entry.priority, message.id, message.size, key)
    }

    /// Orders the entries of each queue as the caller says for its channel and domain. Costs by the queues, and by the
    /// entries of those whose order is another one than before.
    pub fn set_orders(&mut self, mut order_of: impl FnMut(&str, &str) -> Order) {
        let changed: Vec<(QueueKey, Order)> = self
            .queues
            .iter()
            .map(|(key, queue)| {
                let channel = &self.channels[queue.channel.0 as usize].name;
                (QueueKey(key), queue.order, order_of(channel, &queue.domain))
            })
            .filter_map(|(key, old, new)| (old != new).then_some((key, new)))
            .collect();
        for (key, order) in changed {
            let Some(queue) = self.queues.get_mut(key.0) else { continue };
            queue.order = order;
            for shelf in ALL_SHELVES {
                let old = std::mem::take(shelf(queue));
                let places = old.into_iter().filter_map(|place| {
                    let entry = self.entries.get(place.entry().0)?;
                    let message = self.messages.get(entry.message.0)?;
                    Some(queue.place(entry.priority, message.id(), message.size(), place.entry()))
                });
                let new = places.collect();
                *shelf(queue) = new;
            }
        }
    }

    pub(crate) fn take_off_shelf(&mut self, key: EntryKey) {
        self.weigh(key, false);
        let place = self.place(key);
        let entry = self.entry(key);
        let (state, due, queue) = (entry.state, entry.due.time(), entry.queue);
        let Some(queue) = self.queues.get_mut(queue.0) else { return };
        if state == State::Leased {
            self.channels[queue.channel.0 as usize].leased -= 1;
        }
        let found = match state {
            State::Delayed => queue.delayed.remove(&place) || queue.ready.remove(&place),
            state => shelf(queue, state).remove(&place),
        };
        debug_assert!(found, "an entry stands on its shelf");
        queue.due.remove(&(due, key));
    }
}

/// Whether a release of its queue covers an entry that stands there.
const fn is_covered(state: State) -> bool {
    !matches!(state, State::Held | State::Deferred)
}

/// The shelves, to do the same with each.
const ALL_SHELVES: [fn(&mut Queue) -> &mut Shelf; 5] = [
    |queue| &mut queue.ready,
    |queue| &mut queue.delayed,
    |queue| &mut *queue.leased,
    |queue| &mut queue.rare.deferred,
    |queue| &mut queue.rare.held,
];

fn shelf(queue: &mut Queue, state: State) -> &mut Shelf {
    match state {
        State::Ready => &mut queue.ready,
        State::Delayed => &mut queue.delayed,
        State::Leased => &mut queue.leased,
        State::Deferred => &mut queue.rare.deferred,
        State::Held => &mut queue.rare.held,
    }
}

/// Where an entry stands after a placement, when it is due there, and what follows.
fn stand(placement: Placement, collecting: bool, now: Time) -> (State, Time, Then) {
    let (state, due) = match placement {
        Placement::Held => (State::Held, NEVER),
        Placement::Deferred { until, then } if until > now => {
            return (State::Deferred, Due::from(until).time(), then);
        }
        Placement::Deferred { then: Then::Ready, .. } | Placement::Ready => (State::Ready, now),
        Placement::At(due) if collecting || due <= now => (State::Ready, now),
        Placement::UntilReleased | Placement::Deferred { .. } if collecting => (State::Ready, now),
        Placement::At(due) => (State::Delayed, due),
        Placement::UntilReleased | Placement::Deferred { .. } => (State::Delayed, NEVER),
    };
    (state, Due::from(due).time(), Then::Ready)
}
