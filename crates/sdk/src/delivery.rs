//! A worker and the deliveries it is lent.

use crate::export::{RawDelivery, RawWorker};
use crate::{Header, Level, NotTaken, Outcome, Reader, Status, Submission, WireReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One worker thread's line to the host.
#[derive(Debug)]
pub struct Worker<'w> {
    pub(crate) raw: RawWorker<'w>,
}

/// What a worker is to do next.
#[derive(Debug)]
pub enum Next<'w> {
    /// Deliver this.
    Delivery(Delivery<'w>),
    /// Nothing came within the time asked for: a moment to close idle connections.
    Idle,
    /// Nothing may be queued, but the peer is to be asked for its mail.
    Poll,
    /// Finish what you hold and return from `run`.
    Stop,
}

impl<'w> Worker<'w> {
    /// Waits at most `timeout` for something to do. May be called again before the last delivery is dropped: a worker
    /// may hold several at once, and settle them in any order.
    pub fn next(&mut self, timeout: Duration) -> Next<'w> {
        self.raw.next(timeout)
    }

    /// Brings a message in: waits until it is durable or refused, and gives one outcome for each recipient, in their order.
    /// Only [`Outcome::Delivered`] means that the host answers for it now: settle, delete or acknowledge the source after
    /// that, not before. A refused recipient is nobody's business but the caller's: no notice is sent.
    ///
    /// # Errors
    /// When nothing of it was looked at.
    pub fn enqueue(&self, submission: &Submission<'_>) -> Result<Vec<Outcome>, NotTaken> {
        self.raw.enqueue(submission)
    }

    /// Writes a line about the channel to the host's log.
    pub fn log(&self, level: Level, text: &str) {
        self.raw.log().write(level, None, text);
    }
}

/// How urgent a message is (RFC 1327, `Priority:`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before others.
    Urgent,
    /// As usual.
    Normal,
    /// After others.
    Nonurgent,
}

/// One recipient of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient<'d> {
    /// Its number in the message, for comparing with [`Delivery::unsettled`] and in logs; nobody is settled by it. Ascending, not
    /// necessarily consecutive.
    pub index: u32,
    /// The address to use with the next hop, without angle brackets; it may have a source route.
    pub address: &'d str,
    /// The address as the message's submitter gave it.
    pub original: &'d str,
    /// The destination domain, lower case: the same for all recipients of a delivery.
    pub domain: &'d str,
    /// What the sender wants to be told (NOTIFY of RFC 3461): 1 nothing, or the sum of 2 a delivery, 4 a failure and 8 a
    /// delay; 0 when it did not say.
    pub notify: u8,
    /// Type and address where the message began (ORCPT), encoded as they go on the wire; empty when they were not told.
    pub origin: &'d str,
}

/// One message for one or more recipients. Borrows the host's memory; give it back by dropping it.
#[derive(Debug)]
pub struct Delivery<'w> {
    raw: RawDelivery<'w>,
    /// One for each recipient, by position. Atomic because a delivery may be shared among threads of one `run`.
    claimed: Box<[AtomicBool]>,
}

impl<'w> Delivery<'w> {
    pub(crate) fn new(raw: RawDelivery<'w>) -> Delivery<'w> {
        let claimed = (0..raw.recipient_count()).map(|_| AtomicBool::new(false)).collect();
        Delivery { raw, claimed }
    }

    /// The message's queue id, for logs and for what is said to the peer.
    #[must_use]
    pub fn id(&self) -> &str {
        self.raw.id()
    }

    /// Envelope sender without angle brackets; empty is the null reverse-path.
    #[must_use]
    pub fn sender(&self) -> &str {
        self.raw.sender()
    }

    /// The destination domain of all recipients.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.recipients().next().map_or("", |recipient| recipient.domain)
    }

    /// All recipients, settled or not.
    #[must_use]
    pub fn recipients(&self) -> Recipients<'_> {
        Recipients { raw: &self.raw, position: 0, count: self.claimed.len() }
    }

    /// The message in wire form: CRLF line ends, dot-stuffed, without the closing dot line.
    #[must_use]
    pub fn pieces(&self) -> Pieces<'_> {
        self.raw.pieces()
    }

    /// Reads the message without its dot-stuffing.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader::over(self.pieces())
    }

    /// Reads the message as it goes over the wire.
    #[must_use]
    pub fn wire_reader(&self) -> WireReader<'_> {
        WireReader::new(self.pieces(), self.body_size())
    }

    /// The fields of its header.
    #[must_use]
    pub fn header(&self) -> Header<'_> {
        Header::of(self.reader())
    }

    /// Length of the wire form.
    #[must_use]
    pub fn body_size(&self) -> u64 {
        self.raw.get().body_size
    }

    /// How often delivery was tried before.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.raw.get().attempts
    }

    /// When the message was accepted, milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn arrived_ms(&self) -> u64 {
        self.raw.get().arrived_ms
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(&self) -> Priority {
        match self.raw.get().priority {
            0 => Priority::Urgent,
            2 => Priority::Nonurgent,
            _ => Priority::Normal,
        }
    }

    /// The message is not pure seven-bit text (RFC 6152).
    #[must_use]
    pub fn eight_bit(&self) -> bool {
        self.raw.get().flags & sluice_abi::DELIVERY_EIGHT_BIT != 0
    }

    /// The message needs SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn smtputf8(&self) -> bool {
        self.raw.get().flags & sluice_abi::DELIVERY_SMTPUTF8 != 0
    }

    /// What a notice of failure is to return (RET of RFC 3461): 1 the whole message, 2 its header, 0 when the sender did not
    /// say.
    #[must_use]
    pub fn returned(&self) -> u8 {
        u8::try_from(self.raw.get().returned).unwrap_or(0)
    }

    /// The sender's name of the message (ENVID), encoded as it goes on the wire; empty when there is none.
    #[must_use]
    pub fn envelope_id(&self) -> &str {
        self.raw.envelope_id()
    }

    /// The number that the sender has given with `MT-PRIORITY` (RFC 6710), -9 to 9: to be passed on. `None` where it has given
    /// none, and from a host that is older than this function.
    #[must_use]
    pub fn transfer_priority(&self) -> Option<i8> {
        let raw = self.raw.get();
        let said = raw.flags & sluice_abi::DELIVERY_MT_PRIORITY != 0;
        i8::try_from(raw.transfer_priority).ok().filter(|number| said && (-9..=9).contains(number))
    }

    /// Another delivery for the same destination follows at once: a connection is worth keeping.
    #[must_use]
    pub fn more_follows(&self) -> bool {
        self.raw.get().flags & sluice_abi::DELIVERY_MORE != 0
    }

    /// Where this delivery goes in place of where the channel's settings say: `host`, `host:port`, `[address]:port`, or
    /// `unix:/path`. `None`: as configured. Whoever keeps connections keeps them by this.
    #[must_use]
    pub fn next_hop(&self) -> Option<&str> {
        self.raw.next_hop()
    }

    /// Deliveries with the same number came as one batch, for one destination.
    #[must_use]
    pub fn lease(&self) -> u64 {
        self.raw.get().lease
    }

    pub(crate) fn token(&self) -> u64 {
        self.raw.get().token
    }

    /// Time until the host takes the delivery away, counts the worker as hung, and gives the mail to another. Zero when
    /// that has happened.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.raw.remaining()
    }

    /// The recipients that are still to be settled, each with the right to do so once. Who is taken here and dropped, or not taken at
    /// all, is deferred.
    ///
    /// ```
    /// # use sluice_sdk::{Delivery, Status};
    /// # fn store(_: &str) -> Result<(), String> { Ok(()) }
    /// fn deliver(delivery: &Delivery<'_>) {
    ///     for recipient in delivery.take_recipients() {
    ///         match store(recipient.address) {
    ///             Ok(()) => recipient.delivered("stored"),
    ///             Err(why) => recipient.deferred(Status::new(4, 3, 0), why),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// Settling uses the recipient up, so that nobody is settled twice:
    ///
    /// ```compile_fail,E0382
    /// # use sluice_sdk::{Delivery, Status};
    /// fn deliver(delivery: &Delivery<'_>) {
    ///     for recipient in delivery.take_recipients() {
    ///         recipient.delivered("stored");
    ///         recipient.failed(Status::new(5, 0, 0), "on second thoughts");
    ///     }
    /// }
    /// ```
    ///
    /// Nor is one settled after the delivery was given back:
    ///
    /// ```compile_fail,E0505
    /// # use sluice_sdk::{Delivery, Outcome};
    /// fn deliver(delivery: Delivery<'_>) {
    ///     let mut recipients = delivery.take_recipients();
    ///     delivery.settle_all(&Outcome::delivered("stored"));
    ///     if let Some(recipient) = recipients.next() {
    ///         recipient.delivered("stored again");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn take_recipients(&self) -> Claims<'_> {
        Claims { delivery: self, position: 0 }
    }

    fn claim_at(&self, position: usize) -> Option<Claim<'_>> {
        let taken = self.claimed[position].swap(true, Ordering::Relaxed);
        (!taken).then(|| Claim { raw: &self.raw, recipient: self.raw.recipient(position) })
    }

    /// Indexes of the recipients that nobody has taken.
    #[must_use]
    pub fn unsettled(&self) -> Vec<u32> {
        let open = self.claimed.iter().enumerate().filter(|(_, claimed)| !claimed.load(Ordering::Relaxed));
        open.map(|(position, _)| self.raw.index_at(position)).collect()
    }

    /// Settles alike all that were not settled, and gives the delivery back.
    pub fn settle_all(self, outcome: &Outcome) {
        for claim in self.take_recipients() {
            self.raw.settle(claim.index(), outcome);
        }
    }

    /// Writes a line about this message to the host's log.
    pub fn log(&self, level: Level, text: &str) {
        self.raw.log().write(level, Some(self.id()), text);
    }

    /// Hands an outcome to the host without any guard, as a careless plugin in C would. For testing hosts.
    #[doc(hidden)]
    pub fn settle_unguarded(&self, index: u32, outcome: &Outcome) -> u32 {
        self.raw.settle(index, outcome)
    }
}

/// The recipients of a delivery that are still to be settled.
#[derive(Debug)]
pub struct Claims<'d> {
    delivery: &'d Delivery<'d>,
    position: usize,
}

impl<'d> Iterator for Claims<'d> {
    type Item = Claim<'d>;

    fn next(&mut self) -> Option<Claim<'d>> {
        while self.position < self.delivery.claimed.len() {
            self.position += 1;
            if let Some(claim) = self.delivery.claim_at(self.position - 1) {
                return Some(claim);
            }
        }
        None
    }
}

/// One recipient together with the right to settle it, which is used up by doing so. Dropped unused, it leaves the recipient to
/// be deferred.
#[derive(Debug)]
#[must_use = "a recipient that is not settled is deferred"]
pub struct Claim<'d> {
    raw: &'d RawDelivery<'d>,
    recipient: Recipient<'d>,
}

impl<'d> std::ops::Deref for Claim<'d> {
    type Target = Recipient<'d>;

    fn deref(&self) -> &Recipient<'d> {
        &self.recipient
    }
}

impl Claim<'_> {
    /// Which recipient.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.recipient.index
    }

    /// The next hop, or the mailbox, has it now: 2.0.0.
    pub fn delivered(self, text: impl Into<String>) {
        self.settle(Outcome::delivered(text));
    }

    /// Not now; the host tries again by the channel's schedule.
    pub fn deferred(self, status: Status, text: impl Into<String>) {
        self.settle(Outcome::deferred(status, text));
    }

    /// Never; the sender gets a notice.
    pub fn failed(self, status: Status, text: impl Into<String>) {
        self.settle(Outcome::failed(status, text));
    }

    /// Tells the host what became of it.
    #[allow(clippy::needless_pass_by_value)] // The outcome is used up, like the claim.
    pub fn settle(self, outcome: Outcome) {
        self.raw.settle(self.recipient.index, &outcome);
    }
}

/// The recipients of a delivery.
#[derive(Clone, Debug)]
pub struct Recipients<'d> {
    raw: &'d RawDelivery<'d>,
    position: usize,
    count: usize,
}

impl<'d> Iterator for Recipients<'d> {
    type Item = Recipient<'d>;

    fn next(&mut self) -> Option<Recipient<'d>> {
        let position = self.position;
        if position >= self.count {
            return None;
        }
        self.position += 1;
        Some(self.raw.recipient(position))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.position;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Recipients<'_> {}

/// The pieces of a message, in order.
#[derive(Clone, Debug)]
pub struct Pieces<'d> {
    pub(crate) raw: &'d RawDelivery<'d>,
    pub(crate) position: usize,
}

impl<'d> Iterator for Pieces<'d> {
    type Item = &'d [u8];

    fn next(&mut self) -> Option<&'d [u8]> {
        let piece = self.raw.piece(self.position)?;
        self.position += 1;
        Some(piece)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.raw.get().piece_count - self.position;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Pieces<'_> {}
