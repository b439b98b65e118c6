//! Looking at the index: summaries, listings, and walks over all of it.
//!
//! Nothing here changes anything. What only the envelope knows (sender, recipients) is not here either: whoever lists
//! reads that from the spool, where the views say.

use std::sync::Arc;

use sluice_mail::{Time, TransferPriority};
use sluice_spool::{EntryId, Location};

use crate::entry::{Entry, EntryKey, Message, MessageKey, State};
use crate::index::{QueueKey, Queues};
use crate::queue::Queue;

/// A queue as an operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSummary {
    /// Channel name.
    pub channel: Arc<str>,
    /// Destination domain.
    pub domain: Arc<str>,
    /// Entries in it, whatever their state: its messages, those counted several times whose recipients wait apart.
    pub messages: u64,
    /// Octets of their content.
    pub bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest: Option<Time>,
    /// Messages on hold.
    pub held: u64,
    /// Messages under a lease.
    pub active: u64,
    /// Messages that are due now and may be tried.
    pub ready: u64,
    /// Messages that are not tried because the domain is suspended: all but those on hold and under a lease.
    pub suspended: u64,
    /// When something becomes due by itself; `None` if only a release can do that, or all is due already.
    pub next_due: Option<Time>,
}

/// An entry as an operator sees it, short of what only the envelope knows.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryView {
    /// Message id.
    pub id: EntryId,
    /// Where the spool keeps it.
    pub at: Location,
    /// Channel name.
    pub channel: Arc<str>,
    /// Destination domain.
    pub domain: Arc<str>,
    /// Octets of content.
    pub size: u64,
    /// How urgent it is here.
    pub priority: TransferPriority,
    /// When it was accepted.
    pub arrived: Time,
    /// Attempts so far.
    pub attempts: u16,
    /// When it is due by itself.
    pub due: Option<Time>,
    /// Where it stands.
    pub state: State,
    /// Recipients (indexes into the envelope) still open, when that is not all with its channel and domain.
    pub open: Option<Box<[u32]>>,
}

impl Queues {
    /// Every queue that has mail.
    pub fn summaries(&self) -> impl Iterator<Item = QueueSummary> {
        self.queues.iter().filter(|(_, queue)| !queue.is_empty()).map(|(_, queue)| self.summary(queue))
    }

    /// The same of up to `budget` places from place `from` on, and where to go on; `None` when all were seen. As with [`Queues::walk`],
    /// a queue that is begun meanwhile may be missed.
    pub fn summaries_from(&self, from: u32, budget: u32) -> (Vec<QueueSummary>, Option<u32>) {
        let end = from.saturating_add(budget).min(self.queues.places());
        let queues = (from..end).filter_map(|number| self.queues.get(number));
        let found = queues.filter(|queue| !queue.is_empty()).map(|queue| self.summary(queue)).collect();
        (found, (end < self.queues.places()).then_some(end))
    }

    /// How many messages each queue has, with the name of its channel; nothing else is looked at.
    pub fn queue_lengths(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.queues.iter().map(|(_, queue)| (&self.channels[queue.channel.0 as usize].name, queue.entries()))
    }

    fn summary(&self, queue: &Queue) -> QueueSummary {
        QueueSummary {
            channel: Arc::clone(&self.channels[queue.channel.0 as usize].name),
            domain: Arc::clone(&queue.domain),
            messages: queue.entries(),
            bytes: queue.bytes,
            oldest: queue
                .oldest_candidates()
                .map(|entry| self.message(self.entry(entry).message).arrived)
                .min(),
            held: queue.rare.held.len() as u64,
            active: queue.leased.len() as u64,
            ready: if queue.is_suspended { 0 } else { queue.ready.len() as u64 },
            suspended: if queue.is_suspended {
                queue.entries() - (queue.rare.held.len() + queue.leased.len()) as u64
            } else {
                0
            },
            next_due: if queue.ready.is_empty() { queue.due.first().map(|&(due, _)| due) } else { None },
        }
    }

    /// Up to `max` entries of these queues, queue by queue, in the order in which they would be taken.
    #[must_use]
    pub fn list(&self, queues: &[QueueKey], max: usize) -> Vec<EntryView> {
        let found = queues.iter().filter_map(|key| self.queues.get(key.0));
        let shelves = found.flat_map(Queue::shelves);
        shelves.flatten().take(max).map(|place| self.view(place.entry())).collect()
    }

    /// The entries of one message.
    #[must_use]
    pub fn list_message(&self, id: EntryId) -> Vec<EntryView> {
        let message = self.find_message(id);
        message.map(|key| self.entries_of(key).map(|entry| self.view(entry)).collect()).unwrap_or_default()
    }

    /// Recipients of a message that a release covers, in all its entries.
    #[must_use]
    pub fn recipients_of_message(&self, id: EntryId) -> u64 {
        let Some(message) = self.find_message(id) else { return 0 };
        let covered = |entry: &EntryKey| !matches!(self.entry(*entry).state(), State::Held | State::Deferred);
        self.entries_of(message).filter(covered).map(|entry| self.recipients(entry)).sum()
    }

    /// Whether mail that comes in for this queue is due at once because a release is under way.
    #[must_use]
    pub fn is_collecting(&self, key: QueueKey) -> bool {
        self.queues.get(key.0).is_some_and(|queue| queue.run.is_some())
    }

    /// All queues, in the order of their reversed domains: a site's stand together.
    #[must_use]
    pub fn all_queues(&self) -> Vec<QueueKey> {
        self.domains.values().flat_map(|homes| homes.keys().iter().copied()).collect()
    }

    /// An entry as an operator sees it.
    #[must_use]
    pub fn view(&self, key: EntryKey) -> EntryView {
        let entry = self.entry(key);
        let message = self.message(entry.message);
        let (channel, domain) = self.queue_names(entry.queue);
        let state = self.state(key);
        EntryView {
            id: message.id,
            at: message.at,
            channel: Arc::clone(self.channel_name(channel)),
            domain: Arc::clone(domain),
            size: message.size,
            priority: entry.priority,
            arrived: message.arrived,
            attempts: entry.attempts,
            due: if matches!(state, State::Delayed | State::Deferred) { entry.due() } else { None },
            state,
            open: self.open(key).map(Into::into),
        }
    }

    /// Shows up to `budget` places from place `from` on, and returns where to go on; `None` when all were seen. For work
    /// that must look at every entry without stopping the world: entries that come while it walks may be missed.
    pub fn walk(
        &self,
        from: u32,
        budget: u32,
        mut see: impl FnMut(EntryKey, &Entry, Message),
    ) -> Option<u32> {
        let end = from.saturating_add(budget).min(self.entries.places());
        for number in from..end {
            if let Some(entry) = self.entries.get(number) {
                see(EntryKey(number), entry, self.message(entry.message));
            }
        }
        (end < self.entries.places()).then_some(end)
    }

    /// How many messages there are, in whatever state.
    #[must_use]
    pub fn messages_total(&self) -> usize {
        self.messages.len()
    }

    /// How many entries there are, in whatever state.
    #[must_use]
    pub const fn entries_total(&self) -> usize {
        self.entries.len()
    }

    /// How many places messages have, free ones included: the bound of a [`Queues::walk_messages`] that is to see those that are there now.
    #[must_use]
    pub fn message_places(&self) -> u32 {
        self.messages.places()
    }

    /// Shows the messages of up to `budget` places from place `from` on, before place `end`, and returns where to go on; `None` when all were
    /// seen. A message keeps its place as long as it lives: whatever comes and goes between two steps, one that was there before the
    /// first and is there after the last has been seen.
    pub fn walk_messages(
        &self,
        from: u32,
        budget: u32,
        end: u32,
        mut see: impl FnMut(MessageKey, Message),
    ) -> Option<u32> {
        let to = from.saturating_add(budget).min(end);
        for number in from..to {
            if let Some(record) = self.messages.get(number) {
                see(MessageKey(number), record.message());
            }
        }
        (to < end).then_some(to)
    }

    /// All messages.
    pub fn messages(&self) -> impl Iterator<Item = (MessageKey, Message)> {
        self.messages.iter().map(|(number, record)| (MessageKey(number), record.message()))
    }
}
