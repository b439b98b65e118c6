//! The envelope of the next message, sent with the message at hand: one turn for each message in the place of two.
//!
//! RFC 2920 section 3.1 lets MAIL and RCPT stand anywhere in a group and DATA at its end, and nothing in front of them has to
//! be answered first: the end of a message may be what is in front. The two transactions stay apart. Whatever is said to the end of
//! the first, the server is ready for the second; and when the connection ends before it has answered MAIL, nothing
//! is known about the second, which then goes over another connection.
//!
//! # Invariants
//! The envelope that was sent ahead is that of the next [`Client::begin`]: whoever calls [`Client::begin_next`] begins nothing else.
//! # Not here
//! Which message is the next (the tcp plugin).

use super::transaction::{GROUP_BYTES_MAX, GROUP_RECIPIENTS_MAX, Transaction};
use super::{Asked, Client, Mail, Phase, To};

/// What ends every envelope that is sent ahead.
const DATA: &[u8] = b"DATA\r\n";

/// The next transaction, as far as it was begun before its time.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Its envelope goes, or went, with the message at hand.
    next: Option<Transaction>,
    /// It has become the transaction at hand, and nobody has begun it yet.
    is_at_hand: bool,
    /// Memory of one that is over.
    spare: Transaction,
}

impl Client {
    /// Has the envelope of the next message go with the message at hand, of which nothing has been written yet
    /// ([`Step::Content`](super::Step::Content)): [`Client::envelope_ahead`] is to be written behind its terminator. The next transaction that is begun
    /// must be this one. `false`: not on this connection, not behind this message, or not this envelope; it is begun when its time comes.
    pub fn begin_next<'a, T: Into<To<'a>>>(
        &mut self,
        mail: &Mail<'_>,
        recipients: impl IntoIterator<Item = T>,
    ) -> bool {
        let may = self.phase == Phase::Content
            && self.asked.is_empty()
            && self.ahead.next.is_none()
            && self.offers.pipelining
            && self.manner.streaming.is_none_or(|level| level >= 3)
            && !self.speaks_lmtp()
            && !self.takes_chunks()
            // Somebody is left over, for whom this message goes once more.
            && !self.transaction.is_full();
        if !may {
            return false;
        }
        let at_hand = std::mem::replace(&mut self.transaction, std::mem::take(&mut self.ahead.spare));
        self.start(mail, recipients);
        let next = std::mem::replace(&mut self.transaction, at_hand);
        if !next.goes_ahead(GROUP_BYTES_MAX, GROUP_RECIPIENTS_MAX) {
            self.ahead.spare = next;
            return false;
        }
        self.begun = self.begun.saturating_add(1);
        self.ahead.next = Some(next);
        true
    }

    /// What [`Client::begin_next`] wants to be written behind the message at hand, in pieces; they are empty where there is nothing.
    pub fn envelope_ahead(&self) -> [&[u8]; 3] {
        match &self.ahead.next {
            Some(next) => [next.mail(), next.rcpt(), DATA],
            None => [&[]; 3],
        }
    }

    /// Whether the envelope of a transaction that nobody has begun yet was sent, and the connection waits for that transaction.
    pub fn has_begun_next(&self) -> bool {
        self.ahead.next.is_some() || self.ahead.is_at_hand
    }

    /// The message at hand has been written, and with it what was to go ahead.
    pub(super) fn ahead_sent(&mut self) {
        if let Some(next) = &mut self.ahead.next {
            self.asked.push_back(Asked::Mail);
            self.asked.extend((0..next.mark_sent()).map(Asked::Rcpt));
            self.asked.push_back(Asked::Data);
        }
    }

    /// The message at hand is settled: the next reply is for the transaction whose envelope was sent ahead, if any was.
    pub(super) fn next_is_at_hand(&mut self) {
        if let Some(next) = self.ahead.next.take() {
            self.ahead.spare = std::mem::replace(&mut self.transaction, next);
            self.ahead.is_at_hand = true;
            self.phase = Phase::Envelope;
        }
    }

    /// A transaction is begun: was it before its time?
    pub(super) fn was_begun(&mut self) -> bool {
        std::mem::take(&mut self.ahead.is_at_hand)
    }

    /// The connection is over. What went ahead of a message that was never answered for has not begun.
    pub(super) fn forget_ahead(&mut self) {
        if let Some(next) = self.ahead.next.take() {
            self.ahead.spare = next;
        }
    }
}
