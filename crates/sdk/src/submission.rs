//! Mail that a channel brings in.
//!
//! # Not here
//! What the host does with it: `docs/internals/abi.md`, "Bringing mail in".

use crate::{Delivery, Recipient};
use std::fmt;

/// A message to bring in, with [`Worker::enqueue`](crate::Worker::enqueue).
///
/// ```
/// use sluice_sdk::{Submission, wire};
///
/// let content = wire(b"Subject: found in a folder\n\nHello.\n");
/// let submission = Submission::new("scanner@hub.example", [content.as_slice()]).to("archive@site.example");
/// assert_eq!(submission.recipients().count(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    pub(crate) sender: &'a str,
    pub(crate) recipients: Vec<To<'a>>,
    pub(crate) pieces: Vec<&'a [u8]>,
    pub(crate) of: u64,
    pub(crate) as_original: bool,
    pub(crate) eight_bit: bool,
    pub(crate) smtputf8: bool,
}

/// One of its recipients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To<'a> {
    pub(crate) address: &'a str,
    pub(crate) original: &'a str,
    pub(crate) notify: u8,
    pub(crate) origin: &'a str,
}

impl<'a> Submission<'a> {
    /// A message from this sender (empty for the null reverse-path) with this content, in wire form; [`wire`] makes that
    /// of a text, and [`Delivery::pieces`] has it.
    pub fn new(sender: &'a str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Submission<'a> {
        let pieces: Vec<&[u8]> = pieces.into_iter().collect();
        let eight_bit = !pieces.iter().all(|piece| piece.is_ascii());
        Submission {
            sender,
            recipients: Vec::new(),
            pieces,
            of: 0,
            as_original: false,
            eight_bit,
            smtputf8: false,
        }
    }

    /// The message of a delivery once more: its sender, content and properties, still without recipients. It appears to
    /// come from the worker's own channel.
    #[must_use]
    pub fn again(delivery: &'a Delivery<'_>) -> Submission<'a> {
        Submission {
            sender: delivery.sender(),
            recipients: Vec::new(),
            pieces: delivery.pieces().collect(),
            of: delivery.token(),
            as_original: false,
            eight_bit: delivery.eight_bit(),
            smtputf8: delivery.smtputf8(),
        }
    }

    /// It appears to come from the channel that the delivery came in by. Only for what [`Submission::again`] has made.
    #[must_use]
    pub fn as_original(mut self) -> Submission<'a> {
        self.as_original = self.of != 0;
        self
    }

    /// One recipient more, without angle brackets.
    #[must_use]
    pub fn to(self, address: &'a str) -> Submission<'a> {
        self.to_original(address, address)
    }

    /// One recipient more, whom notices name by another address.
    #[must_use]
    pub fn to_original(mut self, address: &'a str, original: &'a str) -> Submission<'a> {
        self.recipients.push(To { address, original, notify: 0, origin: "" });
        self
    }

    /// A recipient of a delivery once more, with what the sender wants to be told about it.
    #[must_use]
    pub fn to_again(mut self, recipient: &Recipient<'a>) -> Submission<'a> {
        let Recipient { address, original, notify, origin, .. } = *recipient;
        self.recipients.push(To { address, original, notify, origin });
        self
    }

    /// It needs SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn smtputf8(mut self) -> Submission<'a> {
        self.smtputf8 = true;
        self
    }

    /// The recipients so far, in the order of the answers.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.recipients.iter().map(|to| to.address)
    }
}

/// Why a submission was not looked at. Nothing of it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The host is older than this interface.
    Unsupported,
    /// The worker's time is over, or the delivery is not with it any more: return from `run`.
    Gone,
    /// The submission is not usable: no recipients, or far too many of them or of content.
    Bad,
    /// No mail is taken at the moment: the hub is starting or stopping.
    Closed,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            NotTaken::Unsupported => "this hub takes no mail from plugins",
            NotTaken::Gone => "this worker's time is over",
            NotTaken::Bad => "the submission is not usable",
            NotTaken::Closed => "no mail is taken at the moment",
        })
    }
}

impl std::error::Error for NotTaken {}

/// A text in wire form: lines end with CR LF, and one that begins with a dot has a dot more (RFC 5321 section 4.5.2). A
/// lone CR is dropped, and so is a NUL, which mail has no place for.
#[must_use]
pub fn wire(text: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(text.len() + text.len() / 32 + 2);
    let mut at_start = true;
    for byte in text.iter().copied().filter(|byte| !matches!(byte, b'\r' | 0)) {
        if at_start && byte == b'.' {
            wire.push(b'.');
        }
        at_start = byte == b'\n';
        if at_start {
            wire.push(b'\r');
        }
        wire.push(byte);
    }
    if !at_start {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_wire_form() {
        assert_eq!(wire(b""), b"");
        assert_eq!(wire(b"a\nb"), b"a\r\nb\r\n");
        assert_eq!(wire(b"a\r\n.\r\n..b\n"), b"a\r\n..\r\n...b\r\n");
        assert_eq!(wire(b"a\rb\0\n\n"), b"ab\r\n\r\n");
    }

    #[test]
    fn a_submission_without_a_delivery_comes_from_its_own_channel() {
        let submission = Submission::new("a@b", [b"x\xe4\r\n".as_slice()]).to("c@d").as_original();
        assert!(!submission.as_original && submission.eight_bit && submission.of == 0);
        assert_eq!(submission.recipients().collect::<Vec<_>>(), ["c@d"]);
    }
}
