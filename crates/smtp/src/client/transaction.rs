//! One transaction: MAIL, RCPT and DATA in groups, and a verdict for each recipient.
//!
//! # Not here
//! The connection around it, and which reply belongs to which command: the parent module.

use sluice_mail::{Handover, Outcome, Status};

use super::verdict::{self, Settled, Verdict, deferred, failed, outcome_of, path_fault, shown};
use super::{Asked, Client, Mail, Phase, To, Wait};
use crate::reply::Reply;

/// Commands of one pipelined group are at most this long together: a group and its replies must fit the socket buffers
/// of both sides, or each could wait for the other to read (RFC 2920 section 3.1).
pub(super) const GROUP_BYTES_MAX: usize = 8 * 1024;
/// Recipients of one pipelined group, for the sake of the replies, which may be 512 bytes each.
pub(super) const GROUP_RECIPIENTS_MAX: usize = 50;

/// The transaction at hand.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    mail: Vec<u8>,
    /// The RCPT commands one after the other, and where each ends.
    rcpt: Vec<u8>,
    rcpt_ends: Vec<usize>,
    verdicts: Vec<Option<Verdict>>,
    mail_sent: bool,
    pub(super) mail_answered: bool,
    /// Set when MAIL was refused: what that means for every recipient.
    mail_refused: Option<Outcome>,
    rcpt_sent: usize,
    pub(super) accepted: Vec<usize>,
    /// BDAT with the size of the message, where it goes that way.
    pub(super) chunk: Option<Vec<u8>>,
    /// The server has said that it takes no more recipients in this transaction.
    full: bool,
    /// The server has refused BDAT, and the transaction begins anew: nothing follows RSET before it was answered.
    pub(super) again: bool,
}

impl Client {
    pub(super) fn start<'a, T: Into<To<'a>>>(
        &mut self,
        mail: &Mail<'_>,
        recipients: impl IntoIterator<Item = T>,
    ) {
        let takes_chunks = self.takes_chunks();
        let peer = &self.manner.peer;
        let transaction = &mut self.transaction;
        transaction.clear();
        let utf8 = mail.smtputf8 || !mail.sender.is_ascii();
        transaction.mail_refused = if path_fault(mail.sender, true) {
            let text = format!(
                "the sender's address cannot be written in SMTP: {}",
                verdict::printable(mail.sender)
            );
            Some(failed(Status::new(5, 1, 7), &text, ""))
        } else if utf8 && !self.offers.smtputf8 {
            Some(failed(
                Status::new(5, 6, 7),
                &format!("the message needs SMTPUTF8, which {peer} does not offer"),
                "",
            ))
        } else if mail.eight_bit && !self.offers.eight_bit_mime && !self.manner.eight_bit {
            Some(failed(
                Status::new(5, 6, 3),
                &format!("the message has 8-bit content and {peer} does not offer 8BITMIME"),
                "",
            ))
        } else {
            None
        };
        if let (Some(octets), true) = (mail.chunk, takes_chunks) {
            transaction.chunk = Some(format!("BDAT {octets} LAST\r\n").into_bytes());
        }
        let mut needs_utf8 = utf8;
        for to in recipients {
            let To { address: recipient, wishes } = to.into();
            let refused = if path_fault(recipient, false) {
                let text =
                    format!("the address cannot be written in SMTP: {}", verdict::printable(recipient));
                Some(failed(Status::new(5, 1, 3), &text, ""))
            } else if !recipient.is_ascii() && !self.offers.smtputf8 {
                let text = format!("the address needs SMTPUTF8, which {peer} does not offer");
                Some(failed(Status::new(5, 6, 7), &text, ""))
            } else {
                needs_utf8 |= !recipient.is_ascii();
                None
            };
            if refused.is_none() {
                transaction.rcpt.extend_from_slice(b"RCPT TO:<");
                transaction.rcpt.extend_from_slice(recipient.as_bytes());
                transaction.rcpt.push(b'>');
                if let (Some(wishes), true) = (wishes, self.offers.dsn) {
                    if !wishes.notify.is_default() {
                        transaction.rcpt.extend_from_slice(format!(" NOTIFY={}", wishes.notify).as_bytes());
                    }
                    // One that is not ASCII came with SMTPUTF8, and goes with it.
                    if !wishes.original.is_empty() && (wishes.original.is_ascii() || self.offers.smtputf8) {
                        needs_utf8 |= !wishes.original.is_ascii();
                        transaction.rcpt.extend_from_slice(b" ORCPT=");
                        transaction.rcpt.extend_from_slice(wishes.original.as_bytes());
                    }
                }
                transaction.rcpt.extend_from_slice(b"\r\n");
            }
            transaction.rcpt_ends.push(transaction.rcpt.len());
            transaction.verdicts.push(refused.map(Verdict::of));
        }
        let line = &mut transaction.mail;
        line.extend_from_slice(b"MAIL FROM:<");
        line.extend_from_slice(mail.sender.as_bytes());
        line.push(b'>');
        if let (Some(size), true) = (mail.size, self.offers.size) {
            line.extend_from_slice(format!(" SIZE={size}").as_bytes());
        }
        if mail.eight_bit && self.offers.eight_bit_mime {
            line.extend_from_slice(b" BODY=8BITMIME");
        }
        if needs_utf8 && self.offers.smtputf8 {
            line.extend_from_slice(b" SMTPUTF8");
        }
        if let (Some(wishes), true) = (mail.wishes, self.offers.dsn) {
            if let Some(returned) = wishes.returned {
                line.extend_from_slice(format!(" RET={}", returned.name()).as_bytes());
            }
            if !wishes.envelope_id.is_empty() {
                line.extend_from_slice(format!(" ENVID={}", wishes.envelope_id).as_bytes());
            }
        }
        if let (Some(priority), true) =
            (mail.wishes.and_then(|wishes| wishes.priority), self.offers.mt_priority)
        {
            line.extend_from_slice(format!(" MT-PRIORITY={priority}").as_bytes());
        }
        line.extend_from_slice(b"\r\n");
    }

    /// Sends what comes next in the envelope, or ends the transaction when nothing can come of it. Called when no
    /// reply is outstanding.
    pub(super) fn advance(&mut self) {
        if let Some(outcome) = self.transaction.mail_refused.take() {
            return self.settle(&outcome, false);
        }
        let (mut first, mut recipients) = (true, 0);
        loop {
            let room = self.output.len() < GROUP_BYTES_MAX && recipients < GROUP_RECIPIENTS_MAX;
            let goes = first || (room && self.may_follow());
            if !goes {
                return;
            }
            let transaction = &mut self.transaction;
            transaction.skip_settled();
            if !transaction.mail_sent && transaction.rcpt.is_empty() {
                // Every recipient was refused before anything was said.
                return self.settle(&nothing_said(), false);
            }
            if self.needs_reset && first {
                self.ask(Asked::Reset, b"RSET\r\n");
            } else if !transaction.mail_sent {
                transaction.mail_sent = true;
                self.asked.push_back(Asked::Mail);
                self.output.extend_from_slice(&transaction.mail);
            } else if transaction.rcpt_sent < transaction.rcpt_ends.len() && !transaction.full {
                let recipient = transaction.rcpt_sent;
                transaction.rcpt_sent += 1;
                self.asked.push_back(Asked::Rcpt(recipient));
                self.output.extend_from_slice(transaction.command(recipient));
                recipients += 1;
            } else if transaction.accepted.is_empty() && first {
                // All answers are in and nobody is left; the server still has the sender.
                self.needs_reset = true;
                return self.settle(&nothing_said(), false);
            } else if transaction.chunk.is_some() {
                // The chunk itself follows its command, and may go only where somebody takes it.
                if first {
                    self.phase = Phase::Content;
                }
                return;
            } else {
                self.ask(Asked::Data, b"DATA\r\n");
                return;
            }
            first = false;
        }
    }

    /// Whether the next command may go out before the reply to the last one.
    fn may_follow(&self) -> bool {
        if self.transaction.again && self.asked.back() == Some(&Asked::Reset) {
            return false;
        }
        let Some(level) = self.manner.streaming else { return self.offers.pipelining };
        let is_data = self.transaction.rcpt_sent == self.transaction.rcpt_ends.len();
        match self.asked.back() {
            Some(Asked::Reset) => level >= 3,
            _ if is_data => level >= 3 && self.offers.pipelining,
            Some(Asked::Mail) => level >= 2,
            Some(Asked::Rcpt(_)) => level >= 1,
            _ => false,
        }
    }

    pub(super) fn mail_answered(&mut self, answer: &Reply) {
        self.transaction.mail_answered = true;
        if !answer.is_success() {
            let outcome = outcome_of(answer, Wait::Mail, &self.manner.peer);
            self.transaction.mail_refused = Some(outcome);
        }
    }

    pub(super) fn rcpt_answered(&mut self, recipient: usize, answer: &Reply) {
        if self.transaction.mail_refused.is_some() {
            return;
        }
        if answer.is_success() {
            self.transaction.accepted.push(recipient);
            return;
        }
        let outcome = outcome_of(answer, Wait::Rcpt, &self.manner.peer);
        let surplus = verdict::says_too_many(answer) && !self.transaction.accepted.is_empty();
        self.transaction.full |= surplus;
        self.transaction.verdicts[recipient] = Some(Verdict { outcome, surplus });
    }

    pub(super) fn data_answered(&mut self, answer: &Reply) {
        let nobody = self.transaction.accepted.is_empty() || self.transaction.mail_refused.is_some();
        if answer.code == 354 {
            if nobody && self.speaks_lmtp() {
                // RFC 2033 section 4.2: it must refuse. How many replies an empty message would have is not known.
                if let Some(refused) = self.transaction.mail_refused.take() {
                    self.settle(&refused, false);
                }
                self.violated(&format!("DATA was accepted for no recipient: {}", shown(answer)));
            } else if nobody {
                // RFC 2920 section 3.1: with nobody to send to, the server gets an empty message, and whatever it says
                // to that is of no interest.
                self.phase = Phase::Dot;
                self.ask(Asked::Dot(false), b".\r\n");
            } else {
                self.phase = Phase::Content;
            }
            return;
        }
        if answer.is_success() {
            return self.violated(&format!("DATA was answered without 354: {}", shown(answer)));
        }
        self.needs_reset = self.transaction.mail_refused.is_none();
        let outcome = match self.transaction.mail_refused.take() {
            Some(refused) => refused,
            None => outcome_of(answer, Wait::Data, &self.manner.peer),
        };
        self.settle(&outcome, false);
    }

    /// A server that offers CHUNKING and does not know BDAT after all gets the message once more, behind DATA. If it took
    /// the octets of the chunk for commands, it has answered each line of them, and the reply to RSET is not the next one:
    /// that is seen and ends the connection.
    fn without_chunk(&mut self) {
        self.offers.chunking = false;
        self.needs_reset = true;
        let transaction = &mut self.transaction;
        transaction.chunk = None;
        transaction.accepted.clear();
        transaction.again = true;
        (transaction.mail_sent, transaction.mail_answered) = (false, false);
        (transaction.rcpt_sent, transaction.full) = (0, false);
        self.phase = Phase::Envelope;
    }

    pub(super) fn dot_answered(&mut self, sent: bool, answer: &Reply) {
        if sent && self.transaction.chunk.is_some() && matches!(answer.code, 500 | 502) {
            return self.without_chunk();
        }
        let outcome = match self.transaction.mail_refused.take() {
            Some(refused) => refused,
            None if sent => outcome_of(answer, Wait::Dot, &self.manner.peer),
            None => nothing_said(),
        };
        let outcome = match outcome {
            Outcome::Delivered { status, text, peer, .. } if self.offers.dsn => {
                Outcome::Delivered { status, text, peer, handover: Handover::PassedOn }
            }
            outcome => outcome,
        };
        self.settle(&outcome, false);
        self.next_is_at_hand();
    }

    /// The reply of LMTP about one recipient. What it delivers to is the mailbox itself, so that there is nobody else to tell the
    /// sender, unless the store says that it does.
    pub(super) fn dot_of_answered(&mut self, recipient: usize, answer: &Reply) {
        let outcome = match outcome_of(answer, Wait::Dot, &self.manner.peer) {
            Outcome::Delivered { status, text, peer, .. } => {
                let handover = if self.offers.dsn { Handover::PassedOn } else { Handover::Final };
                Outcome::Delivered { status, text, peer, handover }
            }
            outcome => outcome,
        };
        self.transaction.verdicts[recipient] = Some(Verdict::of(outcome));
        if self.asked.is_empty() {
            self.settle(&nothing_said(), false);
        }
    }

    /// Ends the transaction: whoever has no verdict yet gets this one. Recipients beyond what the server takes at once
    /// keep their own.
    pub(super) fn settle(&mut self, outcome: &Outcome, stale: bool) {
        let transaction = &mut self.transaction;
        let unsent = transaction.rcpt_sent..;
        let full = transaction.full;
        let verdicts = transaction
            .verdicts
            .drain(..)
            .enumerate()
            .map(|(recipient, verdict)| match verdict {
                Some(verdict) => verdict,
                None if full && unsent.contains(&recipient) => Verdict {
                    outcome: deferred(
                        Status::new(4, 5, 3),
                        "the server takes no more recipients at once",
                        &self.manner.peer,
                    ),
                    surplus: true,
                },
                None => Verdict::of(outcome.clone()),
            })
            .collect();
        self.settled.push_back(Settled { verdicts, stale });
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Ready;
        }
    }
}

impl Transaction {
    /// Empties it for the next message and keeps its memory.
    fn clear(&mut self) {
        let mut old = std::mem::take(self);
        old.mail.clear();
        old.rcpt.clear();
        old.rcpt_ends.clear();
        old.verdicts.clear();
        old.accepted.clear();
        self.mail = old.mail;
        self.rcpt = old.rcpt;
        self.rcpt_ends = old.rcpt_ends;
        self.verdicts = old.verdicts;
        self.accepted = old.accepted;
    }

    /// The server takes no more recipients.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether it can be sent before its time: nothing was refused by us, and it is one group.
    pub(super) fn goes_ahead(&self, bytes_max: usize, recipients_max: usize) -> bool {
        self.mail_refused.is_none()
            && self.verdicts.iter().all(Option::is_none)
            && !self.rcpt.is_empty()
            && self.rcpt_ends.len() <= recipients_max
            && self.mail.len() + self.rcpt.len() <= bytes_max
    }

    /// MAIL, with its line end.
    pub(super) fn mail(&self) -> &[u8] {
        &self.mail
    }

    /// All RCPT commands.
    pub(super) fn rcpt(&self) -> &[u8] {
        &self.rcpt
    }

    /// All of it is on its way. How many recipients that is.
    pub(super) fn mark_sent(&mut self) -> usize {
        self.mail_sent = true;
        self.rcpt_sent = self.rcpt_ends.len();
        self.rcpt_sent
    }

    fn command(&self, recipient: usize) -> &[u8] {
        let start = recipient.checked_sub(1).map_or(0, |before| self.rcpt_ends[before]);
        &self.rcpt[start..self.rcpt_ends[recipient]]
    }

    /// Recipients that were refused by us are not sent.
    fn skip_settled(&mut self) {
        while self.verdicts.get(self.rcpt_sent).is_some_and(Option::is_some) {
            self.rcpt_sent += 1;
        }
    }
}

/// For a recipient that got no answer of its own although all answers are in. There is none; if there were, trying
/// again is the safe side.
fn nothing_said() -> Outcome {
    deferred(Status::new(4, 5, 0), "the server said nothing about this recipient", "")
}
