//! The records of the index: messages and entries, and what is said about them when they come in.
//!
//! They are kept small, because a hub for many sites may hold millions: no strings, no addresses, no lists. The
//! recipients of an entry are those of the message's envelope that have its channel and domain.

use sluice_mail::{Time, TransferPriority};
use sluice_spool::{EntryId, Location};

use crate::index::QueueKey;
use crate::place::Order;
use crate::slab::place_size;

/// Number of an entry while it lives. The holder of a leased entry's number may rely on it until it gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey(pub(crate) u32);

/// Number of a message while it lives, that is: while it has an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey(pub(crate) u32);

/// A message that waits, in whole or in part.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Its id, by which the spool and everybody else knows it.
    pub id: EntryId,
    /// Where the spool keeps it.
    pub at: Location,
    /// When it was accepted: its age is counted from here.
    pub arrived: Time,
    /// Octets of its content.
    pub size: u64,
    /// How urgent it is.
    pub priority: TransferPriority,
}

/// A [`Message`] as it is kept: there may be millions. Times have 48 bits, which last until the year 10889, and sizes 40,
/// which is a tebibyte.
#[derive(Debug, Clone)]
pub(crate) struct MessageRecord {
    id: EntryId,
    at: Location,
    size: u32,
    /// First of its entries; the others hang on this one.
    pub(crate) first: u32,
    arrived: [u8; 6],
    size_high: u8,
    priority: TransferPriority,
}

impl MessageRecord {
    pub(crate) fn new(message: NewMessage) -> Self {
        let NewMessage { id, at, arrived, size, priority } = message;
        let [a, b, c, d, e, f, ..] = arrived.0.min((1 << 48) - 1).to_le_bytes();
        let [s, t, u, v, size_high, ..] = size.min((1 << 40) - 1).to_le_bytes();
        let size = u32::from_le_bytes([s, t, u, v]);
        Self { id, at, size, first: NONE, arrived: [a, b, c, d, e, f], size_high, priority }
    }

    pub(crate) const fn id(&self) -> EntryId {
        self.id
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size as u64 | (self.size_high as u64) << 32
    }

    pub(crate) const fn message(&self) -> Message {
        let [a, b, c, d, e, f] = self.arrived;
        let arrived = Time(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]));
        Message { id: self.id, at: self.at, arrived, size: self.size(), priority: self.priority }
    }
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Due: the next lease may take it.
    Ready,
    /// Waits for its due time, or for a release.
    Delayed,
    /// Under a lease.
    Leased,
    /// Waits for a date of the sender's (`Deferred-Delivery`): only time moves it, no release.
    Deferred,
    /// On hold: neither time nor release moves it.
    Held,
}

/// What shall become of an entry that comes in or comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Due at once.
    Ready,
    /// Due at that time.
    At(Time),
    /// Due when it is released and not before (`periodic` channels between their services).
    UntilReleased,
    /// Out of reach, of releases too, until that time; then as `then` says.
    Deferred {
        /// The sender's date.
        until: Time,
        /// What happens then.
        then: Then,
    },
    /// Neither.
    Held,
}

/// What becomes of an entry when the date is reached that it was deferred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is due.
    Ready,
    /// It waits for a release.
    UntilReleased,
}

/// Recipients of one message that have one channel and one domain; all of them, or a share of them.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The message it is part of.
    pub message: MessageKey,
    /// The queue it stands in.
    pub queue: QueueKey,
    /// When it is due by itself; `None` for "not before a release". Meaningful while it waits.
    pub(crate) due: Due,
    /// Next entry of the same message.
    pub(crate) next: u32,
    /// Delivery attempts so far.
    pub attempts: u16,
    /// Position in the channel's `backoff` list: how many of its waits were used up.
    pub step: u8,
    /// How many of the channel's `notices` ages were acted upon.
    pub noticed: u8,
    /// How urgent the message is on this channel, where its size may count against it.
    pub priority: TransferPriority,
    /// How many recipients it was made for; stays at 65535.
    pub recipients: u16,
    /// What follows a deferral.
    pub(crate) then: Then,
    pub(crate) state: State,
}

/// Stands for "no time".
pub(crate) const NEVER: Time = Time(u64::MAX);

/// A due time as it is kept: 48 bits, all set for [`NEVER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due([u16; 3]);

impl Due {
    pub(crate) const NEVER: Due = Due([u16::MAX; 3]);

    pub(crate) const fn time(self) -> Time {
        let [low, middle, high] = self.0;
        match low as u64 | (middle as u64) << 16 | (high as u64) << 32 {
            0xffff_ffff_ffff => NEVER,
            time => Time(time),
        }
    }
}

impl From<Time> for Due {
    fn from(time: Time) -> Due {
        if time == NEVER {
            return Due::NEVER;
        }
        let [a, b, c, d, e, f, ..] = time.0.min((1 << 48) - 2).to_le_bytes();
        Due([[a, b], [c, d], [e, f]].map(u16::from_le_bytes))
    }
}

/// Ends the chain of a message's entries.
pub(crate) const NONE: u32 = u32::MAX;

impl Entry {
    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// When it is due by itself; `None` when only a release makes it so.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        let due = self.due.time();
        (due != NEVER).then_some(due)
    }
}

/// A message that comes in.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage {
    /// Its id.
    pub id: EntryId,
    /// Where the spool keeps it.
    pub at: Location,
    /// When it was accepted.
    pub arrived: Time,
    /// Octets of its content.
    pub size: u64,
    /// How urgent it is.
    pub priority: TransferPriority,
}

/// One entry of a message that comes in, new or from an earlier run of the program.
#[derive(Debug, Clone)]
pub struct NewEntry<'a> {
    /// Channel name, lower case.
    pub channel: &'a str,
    /// Destination domain, lower case.
    pub domain: &'a str,
    /// When it is due.
    pub placement: Placement,
    /// Attempts it has behind it.
    pub attempts: u16,
    /// Its position in the `backoff` list.
    pub step: u8,
    /// How many of the `notices` ages were acted upon.
    pub noticed: u8,
    /// How urgent it is here.
    pub priority: TransferPriority,
    /// What the entries of its queue are ordered by, should the queue come into being with it.
    pub order: Order,
    /// How many recipients it is for; stays at 65535.
    pub recipients: u16,
    /// The envelope's recipients (by index) that it is for, when that is not all with its channel and domain. A message
    /// may have several entries in one queue when each of them has such a list.
    pub open: Option<&'a [u32]>,
}

// The index's promise about memory: a record that grows must be noticed.
const _: () = assert!(place_size::<Entry>() <= 28);
const _: () = assert!(place_size::<MessageRecord>() <= 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_time_comes_back_and_never_stays_never() {
        for time in [0, 1, 1_790_000_000_123, (1 << 48) - 2] {
            assert_eq!(Due::from(Time(time)).time(), Time(time));
        }
        assert_eq!(Due::from(Time((1 << 48) - 1)).time(), Time((1 << 48) - 2));
        assert_eq!((Due::from(NEVER), Due::NEVER.time()), (Due::NEVER, NEVER));
    }

    #[test]
    fn a_record_gives_back_what_it_was_made_of() {
        for (arrived, size) in [(0, 0), (1_790_000_000_123, 4096), ((1 << 48) - 1, (1 << 40) - 1)] {
            let new = NewMessage {
                id: EntryId(u64::MAX),
                at: Location { segment: 7, offset: u32::MAX },
                arrived: Time(arrived),
                size,
                priority: TransferPriority::MIN,
            };
            let Message { id, at, arrived, size, priority } = MessageRecord::new(new).message();
            assert_eq!(
                (id, at, arrived, size, priority),
                (new.id, new.at, new.arrived, new.size, new.priority)
            );
        }
    }
}
