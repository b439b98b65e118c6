//! Mail that a channel brings in.
//!
//! # Not here
//! What the host does with it: `docs/internals/abi.md`, "Bringing mail in".

use crate::{Delivery, Outcome, Recipient, Status};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

/// A message to bring in, with [`Worker::enqueue`](crate::Worker::enqueue).
///
/// ```
/// use sluice_sdk::Submission;
///
/// let found = std::io::Cursor::new("Subject: found in a folder\n\nHello.\n"); // Or a file, or a socket.
/// let submission = Submission::read("scanner@hub.example", found, 10 << 20)?.to("archive@site.example");
/// assert_eq!(submission.recipients().collect::<Vec<_>>(), ["archive@site.example"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    pub(crate) sender: Cow<'a, str>,
    pub(crate) recipients: Vec<To<'a>>,
    pub(crate) pieces: Vec<Cow<'a, [u8]>>,
    pub(crate) of: u64,
    pub(crate) as_original: bool,
    pub(crate) on_hold: bool,
    pub(crate) eight_bit: bool,
    pub(crate) smtputf8: bool,
    pub(crate) returned: u8,
    pub(crate) envelope_id: Cow<'a, str>,
}

/// One of its recipients.
#[derive(Clone, Debug)]
pub(crate) struct To<'a> {
    pub(crate) address: Cow<'a, str>,
    /// What notices name; empty where that is the address.
    pub(crate) original: Cow<'a, str>,
    pub(crate) notify: u8,
    pub(crate) origin: Cow<'a, str>,
}

impl<'a> Submission<'a> {
    /// A message from this sender (empty for the null reverse-path) with this content, in wire form; [`wire`] makes that
    /// of a text, [`Delivery::pieces`] has it, and [`Submission::read`] reads whatever there is.
    pub fn new(
        sender: impl Into<Cow<'a, str>>,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Submission<'a> {
        Submission::of_pieces(sender.into(), pieces.into_iter().map(Cow::Borrowed).collect())
    }

    /// A message from this sender whose content is read to its end: line ends of any kind become CRLF, dots are stuffed, a NUL
    /// is left out, and whether it is 8-bit is found out. A line of more than 998 bytes is for the hub to refuse.
    ///
    /// # Errors
    /// Those of `from`, and [`io::ErrorKind::FileTooLarge`] when there are more than `most` bytes.
    pub fn read(
        sender: impl Into<Cow<'a, str>>,
        mut from: impl Read,
        most: u64,
    ) -> io::Result<Submission<'a>> {
        let (mut content, mut wire, mut total) = (Vec::new(), Wire::default(), 0_u64);
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            total += count as u64;
            if total > most {
                let text = format!("a message of more than {most} bytes");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
            wire.put(&buffer[..count], &mut content);
        }
        wire.end(&mut content);
        let pieces = if content.is_empty() { Vec::new() } else { vec![Cow::Owned(content)] };
        Ok(Submission::of_pieces(sender.into(), pieces))
    }

    /// The message of a delivery once more: its sender, content and properties, still without recipients. It appears to
    /// come from the worker's own channel.
    #[must_use]
    pub fn again(delivery: &'a Delivery<'_>) -> Submission<'a> {
        Submission {
            sender: delivery.sender().into(),
            recipients: Vec::new(),
            pieces: delivery.pieces().map(Cow::Borrowed).collect(),
            of: delivery.token(),
            as_original: false,
            on_hold: false,
            eight_bit: delivery.eight_bit(),
            smtputf8: delivery.smtputf8(),
            // The host knows what was wished with the delivery.
            returned: 0,
            envelope_id: "".into(),
        }
    }

    fn of_pieces(sender: Cow<'a, str>, pieces: Vec<Cow<'a, [u8]>>) -> Submission<'a> {
        let eight_bit = !pieces.iter().all(|piece| piece.is_ascii());
        Submission {
            sender,
            recipients: Vec::new(),
            pieces,
            of: 0,
            as_original: false,
            on_hold: false,
            eight_bit,
            smtputf8: false,
            returned: 0,
            envelope_id: "".into(),
        }
    }

    /// Other content, in wire form, for what is otherwise the message of a delivery: one that was changed, or put together.
    #[must_use]
    pub fn with_content(mut self, wire: impl Into<Cow<'a, [u8]>>) -> Submission<'a> {
        let content = wire.into();
        self.eight_bit = !content.is_ascii();
        self.pieces = if content.is_empty() { Vec::new() } else { vec![content] };
        self
    }

    /// It appears to come from the channel that the delivery came in by. Only for what [`Submission::again`] has made.
    #[must_use]
    pub fn as_original(mut self) -> Submission<'a> {
        self.as_original = self.of != 0;
        self
    }

    /// It is on hold from the moment it comes in, until an operator releases it. A hub that is older than this function passes over it.
    #[must_use]
    pub fn on_hold(mut self) -> Submission<'a> {
        self.on_hold = true;
        self
    }

    /// One recipient more, without angle brackets.
    #[must_use]
    pub fn to(self, address: impl Into<Cow<'a, str>>) -> Submission<'a> {
        self.to_original(address, "")
    }

    /// One recipient more, whom notices name by another address.
    #[must_use]
    pub fn to_original(
        mut self,
        address: impl Into<Cow<'a, str>>,
        original: impl Into<Cow<'a, str>>,
    ) -> Submission<'a> {
        let (address, original) = (address.into(), original.into());
        self.recipients.push(To { address, original, notify: 0, origin: "".into() });
        self
    }

    /// One recipient more, with what the sender wants to be told about it (RFC 3461): NOTIFY as a sum of bits, 0 for nothing said, and
    /// ORCPT as it goes on the wire, empty for none. What means nothing is left out by the host.
    #[must_use]
    pub fn to_notifying(
        mut self,
        address: impl Into<Cow<'a, str>>,
        notify: u8,
        origin: impl Into<Cow<'a, str>>,
    ) -> Submission<'a> {
        let (address, origin) = (address.into(), origin.into());
        self.recipients.push(To { address, original: "".into(), notify, origin });
        self
    }

    /// What the sender wishes about the message (RFC 3461): RET as its number, 1 for the whole message and 2 for its header, 0 for nothing
    /// said; ENVID as it goes on the wire, empty for none. A host that is older than this does not look at it.
    #[must_use]
    pub fn wishing(mut self, returned: u8, envelope_id: impl Into<Cow<'a, str>>) -> Submission<'a> {
        self.returned = returned;
        self.envelope_id = envelope_id.into();
        self
    }

    /// A recipient of a delivery once more, with what the sender wants to be told about it.
    #[must_use]
    pub fn to_again(mut self, recipient: &Recipient<'a>) -> Submission<'a> {
        let Recipient { address, original, notify, origin, .. } = *recipient;
        let (address, original, origin) = (address.into(), original.into(), origin.into());
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
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = &str> {
        self.recipients.iter().map(|to| to.address.as_ref())
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

/// What becomes of a recipient whose mail is not looked at: it is deferred, with 4.3.2 while the hub takes no mail and 4.3.0 otherwise.
impl From<NotTaken> for Outcome {
    fn from(why: NotTaken) -> Outcome {
        let status = if why == NotTaken::Closed { Status::new(4, 3, 2) } else { Status::new(4, 3, 0) };
        Outcome::deferred(status, why.to_string())
    }
}

/// So much is read in one call, in bytes.
const READ_AT_ONCE: usize = 64 * 1024;

/// A text in wire form: lines end with CR LF, and one that begins with a dot has a dot more (RFC 5321 section 4.5.2). A
/// lone CR ends a line too, and a NUL, which mail has no place for, is dropped.
#[must_use]
pub fn wire(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32 + 2);
    let mut wire = Wire::default();
    wire.put(text, &mut out);
    wire.end(&mut out);
    out
}

/// Makes wire form of a text that comes in parts.
#[derive(Debug, Default)]
struct Wire {
    /// Something stands in the present line.
    in_line: bool,
    /// The last byte was a CR, which has ended a line.
    after_cr: bool,
}

impl Wire {
    fn put(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for &byte in text {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    out.extend_from_slice(b"\r\n");
                    self.in_line = false;
                }
                0 => self.after_cr = after_cr,
                byte => {
                    if byte == b'.' && !self.in_line {
                        out.push(b'.');
                    }
                    out.push(byte);
                    self.in_line = true;
                }
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.in_line {
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_wire_form() {
        assert_eq!(wire(b""), b"");
        assert_eq!(wire(b"a\nb"), b"a\r\nb\r\n");
        assert_eq!(wire(b"a\r\n.\r\n..b\n"), b"a\r\n..\r\n...b\r\n");
        assert_eq!(wire(b"a\rb\0\n\n"), b"a\r\nb\r\n\r\n");
        assert_eq!(wire(b"\r\r\n\n\0.\0"), b"\r\n\r\n\r\n..\r\n");
    }

    #[test]
    fn a_message_is_read_in_whatever_parts_it_comes() {
        struct Slow<'a>(&'a [u8], usize, bool);
        impl Read for Slow<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.2 = !self.2;
                if self.2 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let count = self.1.min(self.0.len()).min(into.len());
                into[..count].copy_from_slice(&self.0[..count]);
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
        let text = b"Subject: \xe4\r\n\r.\n..two\r\nend";
        for step in 1..=text.len() {
            let read = Submission::read("", Slow(text, step, false), text.len() as u64).unwrap();
            assert_eq!(read.pieces.concat(), wire(text), "{step}");
            assert!(read.eight_bit);
        }
        let long = Submission::read("", text.as_slice(), text.len() as u64 - 1).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::FileTooLarge);
        assert!(Submission::read("", [0_u8; 0].as_slice(), 0).unwrap().pieces.is_empty());
    }

    #[test]
    fn a_submission_without_a_delivery_comes_from_its_own_channel() {
        let submission = Submission::new("a@b", [b"x\xe4\r\n".as_slice()]).to("c@d").as_original();
        assert!(!submission.as_original && submission.eight_bit && submission.of == 0);
        assert_eq!(submission.recipients().collect::<Vec<_>>(), ["c@d"]);
    }
}
