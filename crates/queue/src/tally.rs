//! What becomes of the mail that a run covers, counted exactly.
//!
//! Each recipient of a run stands in one place: waiting, deferred, delivered, bounced, or left over. So does each message,
//! in the worst place that any of its recipients is in (left over, then waiting, deferred, bounced, delivered). Bytes go
//! with messages, each counted once. What has come in and what there is are therefore equal at any moment:
//! `promised + joined = waiting + deferred + delivered + bounced + left`.
//!
//! Nothing is kept for a message with one entry that was not tried yet, which is nearly all there is; so a run of a
//! million messages costs no more memory than one of ten.

use std::collections::HashMap;
use std::ops::{AddAssign, SubAssign};

use sluice_spool::GivesBack;

use crate::entry::MessageKey;

/// How many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Messages, each counted once.
    pub messages: u64,
    /// Recipients.
    pub recipients: u64,
    /// Octets of content of these messages.
    pub bytes: u64,
}

impl Count {
    const fn message(bytes: u64) -> Self {
        Self { messages: 1, recipients: 0, bytes }
    }

    const fn recipients(recipients: u64) -> Self {
        Self { messages: 0, recipients, bytes: 0 }
    }

    /// Nothing.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.messages == 0 && self.recipients == 0 && self.bytes == 0
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.recipients += other.recipients;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Count {
    fn sub_assign(&mut self, other: Self) {
        debug_assert!(
            self.messages >= other.messages
                && self.recipients >= other.recipients
                && self.bytes >= other.bytes,
            "{other:?} cannot be taken from {self:?}"
        );
        self.messages = self.messages.saturating_sub(other.messages);
        self.recipients = self.recipients.saturating_sub(other.recipients);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// What a run has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// What it covered when it began.
    pub promised: Count,
    /// What came in later and went with it.
    pub joined: Count,
    /// Not tried yet.
    pub waiting: Count,
    /// Tried, and put off.
    pub deferred: Count,
    /// Somebody else answers for it now.
    pub delivered: Count,
    /// Failed for good.
    pub bounced: Count,
    /// Out of the run without an attempt: put on hold, taken away, taken over by another run, or left at the end.
    pub left: Count,
}

impl Tally {
    /// Whether everything that came in is somewhere.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let sum = |counts: &[Count]| {
            let mut all = Count::default();
            counts.iter().for_each(|&count| all += count);
            all
        };
        sum(&[self.promised, self.joined])
            == sum(&[self.waiting, self.deferred, self.delivered, self.bounced, self.left])
    }

    /// The run is over: what was not tried is left over.
    pub fn close(&mut self) {
        self.left += std::mem::take(&mut self.waiting);
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Waiting,
    Deferred,
    Delivered,
    Bounced,
    Left,
}

/// How an entry comes into a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// It was there when the run began.
    Promised,
    /// It came later.
    Joined,
}

/// What is remembered of a message in a run.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    /// Entries not tried yet, and tried ones.
    untried: u32,
    tried: u32,
    /// What became of entries that are out of the run.
    was_left: bool,
    was_deferred: bool,
    was_bounced: bool,
}

impl Parts {
    const fn single(tried: bool) -> Self {
        Self {
            untried: !tried as u32,
            tried: tried as u32,
            was_left: false,
            was_deferred: false,
            was_bounced: false,
        }
    }

    const fn live(self) -> u32 {
        self.untried + self.tried
    }

    const fn is_marked(self) -> bool {
        self.was_left || self.was_deferred || self.was_bounced
    }

    const fn standing(self) -> Standing {
        match self {
            Self { untried: 1.., .. } => Standing::Waiting,
            Self { was_left: true, .. } => Standing::Left,
            Self { tried: 1.., .. } | Self { was_deferred: true, .. } => Standing::Deferred,
            Self { was_bounced: true, .. } => Standing::Bounced,
            _ => Standing::Delivered,
        }
    }
}

/// A message as the ledger is told of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose {
    pub(crate) message: MessageKey,
    /// Octets of the message.
    pub(crate) bytes: u64,
    /// It has, or had, several entries.
    pub(crate) several: bool,
}

/// What an attempt has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Recipients that somebody else answers for now.
    pub delivered: u64,
    /// Recipients that have failed for good.
    pub bounced: u64,
    /// Recipients that are still open.
    pub open: u64,
}

/// The books of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) tally: Tally,
    /// Messages with several entries, or with something to remember.
    parts: HashMap<MessageKey, Parts>,
}

impl Ledger {
    /// An entry with so many recipients comes in.
    pub(crate) fn enter(&mut self, whose: Whose, recipients: u64, how: Entrance) {
        let count = Count::recipients(recipients);
        self.tally.waiting += count;
        let is_new = self.change(whose, Parts::default(), |parts| parts.untried += 1);
        let total = match how {
            Entrance::Promised => &mut self.tally.promised,
            Entrance::Joined => &mut self.tally.joined,
        };
        *total += count;
        if is_new {
            *total += Count::message(whose.bytes);
        }
    }

    /// Messages with one entry each come in with the beginning, as many as these.
    pub(crate) fn enter_many(&mut self, count: Count) {
        self.tally.promised += count;
        self.tally.waiting += count;
    }

    /// An entry was tried; `known` recipients were open before. True when it is done with.
    pub(crate) fn settle(&mut self, whose: Whose, known: u64, tried: bool, settled: Settled) -> bool {
        let said = settled.delivered + settled.bounced + settled.open;
        // The index may not have known how many there are (it counts to 65535).
        if said > known {
            self.tally.joined += Count::recipients(said - known);
        } else {
            self.tally.left += Count::recipients(known - said);
        }
        *if tried { &mut self.tally.deferred } else { &mut self.tally.waiting } -= Count::recipients(known);
        self.tally.delivered += Count::recipients(settled.delivered);
        self.tally.bounced += Count::recipients(settled.bounced);
        self.tally.deferred += Count::recipients(settled.open);
        let is_done = settled.open == 0;
        self.change(whose, Parts::single(tried), |parts| {
            parts.was_bounced |= settled.bounced > 0;
            parts.out(tried);
            parts.tried += u32::from(!is_done);
        });
        is_done
    }

    /// An entry goes out of the run as it is.
    pub(crate) fn leave(&mut self, whose: Whose, recipients: u64, tried: bool) {
        let count = Count::recipients(recipients);
        *if tried { &mut self.tally.deferred } else { &mut self.tally.waiting } -= count;
        self.tally.left += count;
        self.change(whose, Parts::single(tried), |parts| {
            parts.was_left = true;
            parts.out(tried);
        });
    }

    /// An entry that was put off will not be tried again by this run.
    pub(crate) fn conclude(&mut self, whose: Whose) {
        if self.parts.contains_key(&whose.message) {
            self.change(whose, Parts::single(true), |parts| {
                parts.was_deferred = true;
                parts.out(true);
            });
        }
    }

    /// Changes what is known of a message, and moves it where it stands now. True when it was not known before.
    fn change(&mut self, whose: Whose, single: Parts, act: impl FnOnce(&mut Parts)) -> bool {
        let known = self.parts.get(&whose.message).copied();
        let mut parts = known.unwrap_or(if whose.several { Parts::default() } else { single });
        let before = (parts.live() > 0).then(|| parts.standing());
        act(&mut parts);
        let after = parts.standing();
        if before != Some(after) {
            let message = Count::message(whose.bytes);
            if let Some(before) = before {
                *self.place(before) -= message;
            }
            *self.place(after) += message;
        }
        if parts.live() == 0 {
            self.parts.remove(&whose.message);
            self.parts.give_back();
        } else if whose.several || parts.is_marked() || known.is_some() {
            self.parts.insert(whose.message, parts);
        }
        before.is_none()
    }

    const fn place(&mut self, standing: Standing) -> &mut Count {
        match standing {
            Standing::Waiting => &mut self.tally.waiting,
            Standing::Deferred => &mut self.tally.deferred,
            Standing::Delivered => &mut self.tally.delivered,
            Standing::Bounced => &mut self.tally.bounced,
            Standing::Left => &mut self.tally.left,
        }
    }
}

impl Parts {
    const fn out(&mut self, tried: bool) {
        let from = if tried { &mut self.tried } else { &mut self.untried };
        *from = from.saturating_sub(1);
    }
}
