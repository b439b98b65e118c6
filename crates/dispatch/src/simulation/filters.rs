//! Filters beside the door: each looks at the mail for one channel before it is queued, and accepts it, refuses it, puts it on hold,
//! changes its header, sends it elsewhere, or fails. Their verdicts come when chance says so, and the session waits.
//!
//! What a filter wants is known before, so that what has come of it can be held against that (`world::clients`).
//!
//! # Not here
//! Real filters and how they are asked (the program, `host`).

use std::sync::{Arc, Mutex};

use sluice_mail::{Envelope, Recipient, Refusal, Status};

use super::scenery::PLACES;

/// What a filter says of the mail that it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    /// Nothing of the message is taken.
    Refuse,
    /// Nor when the filter has failed, for now.
    Fail,
    Hold,
    /// A field is put in front.
    Mark,
    /// It goes to one address instead of those that it was for.
    Redirect,
}

/// The filter of a channel, for one message.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) channel: &'static str,
    pub(super) verdict: Verdict,
    /// Of the session.
    pub(super) number: u64,
}

/// What waits for filters; each is asked when it is called.
pub(super) type Questions = Arc<Mutex<Vec<Box<dyn FnOnce() + Send>>>>;

/// One kind of copy of a message.
pub(super) type Copied = (Envelope, Vec<u8>);

impl Filter {
    /// The field that it puts in front.
    pub(super) fn mark(&self) -> String {
        format!("X-Filter: {}\r\n", self.number)
    }

    /// Where it sends what it redirects.
    pub(super) fn instead(&self) -> String {
        format!("instead{}@{}", self.number, PLACES[0].1)
    }

    /// Looks at all copies. Those for its channel are copies of their own afterwards.
    pub(super) fn look(
        &self,
        copies: Vec<Copied>,
        route: impl Fn(&str) -> Recipient,
    ) -> Result<Vec<Copied>, Refusal> {
        let is_seen = |one: &Recipient| one.channel == self.channel;
        let mut looked = Vec::new();
        for (envelope, content) in copies {
            let (seen, unseen): (Vec<_>, Vec<_>) = envelope.recipients.iter().cloned().partition(is_seen);
            if seen.is_empty() {
                looked.push((envelope, content));
                continue;
            }
            let mut own = Envelope { recipients: seen, ..envelope.clone() };
            let mut own_content = content.clone();
            let status = |class| Status { class, subject: 7, detail: 1 };
            match self.verdict {
                Verdict::Accept => {
                    looked.push((envelope, content));
                    continue;
                }
                Verdict::Refuse => return Err(Refusal::new(550, status(5), "the filter refuses it")),
                Verdict::Fail => return Err(Refusal::new(451, status(4), "the filter has failed")),
                Verdict::Hold => own.held = true,
                Verdict::Mark => own_content = [self.mark().as_bytes(), &content].concat(),
                Verdict::Redirect => own.recipients = vec![route(&self.instead())],
            }
            looked.push((own, own_content));
            if !unseen.is_empty() {
                looked.push((Envelope { recipients: unseen, ..envelope }, content));
            }
        }
        Ok(looked)
    }
}
