//! Receives the content of a message: everything between DATA and the line with a single dot.
//!
//! Only CR LF `.` CR LF ends a message. What else some servers take for the end (LF `.` LF and its relatives) is how
//! messages are smuggled past checks: such content is read to its true end and then refused, never repaired. The wire
//! form is kept as it came, stuffed dots included, without the final line; so a body can be sent on as it is.
//!
//! # Invariants
//! The result does not depend on how the octets were split. After a fault nothing more is stored, whatever comes.
//! # Not here
//! Where the octets are kept (`smtpd` hands them to the spool), timeouts.

use memchr::memchr3;
use sluice_mail::Priority;

use crate::replies;
use crate::reply::Reply;

/// Longest line of a message with its CR LF, not counting a stuffed dot (RFC 5321 section 4.5.3.1.6).
pub const CONTENT_LINE_OCTETS_MAX: u64 = 1000;

/// How much of a header line is looked at: enough for `Received:` and for `Priority:` with its longest value.
const FIELD_OCTETS: usize = 40;

/// Receives one message.
#[derive(Debug)]
pub struct Content {
    size_max: u64,
    /// Octets of the current line so far, since the last CR LF; a CR that may end the line is not counted.
    line: u64,
    /// The last octet was a CR, and what it means depends on the next one.
    after_cr: bool,
    /// The current line began with a dot.
    dotted: bool,
    /// Start of the current line, while it is one of the header.
    field: Field,
    fault: Option<Fault>,
    swallowed: u64,
    summary: Summary,
}

/// What is known about a message that came in whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Octets in wire form: what was stored.
    pub stored: u64,
    /// Octets of the message itself: without the stuffed dots (RFC 1870 section 5).
    pub size: u64,
    /// An octet above 127 was seen.
    pub eight_bit: bool,
    /// `Received:` fields in the header.
    pub received_lines: u32,
    /// The first `Priority:` field that says something (RFC 2156).
    pub priority: Priority,
    /// Where the body begins in wire form: behind the empty line that ends the header. `None` if there is none.
    pub body_at: Option<u64>,
}

/// Why content is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A CR or an LF that is not part of CR LF.
    BareLineEnd,
    /// A NUL (RFC 5321 has no place for it).
    Nul,
    /// A line of more than [`CONTENT_LINE_OCTETS_MAX`] octets.
    LongLine,
    /// More than this many octets.
    TooLarge(u64),
}

impl Fault {
    /// The reply after DATA.
    pub fn reply(self) -> Reply {
        match self {
            Fault::BareLineEnd => replies::bare_line_end(),
            Fault::Nul => replies::nul_in_message(),
            Fault::LongLine => replies::message_line_too_long(CONTENT_LINE_OCTETS_MAX),
            Fault::TooLarge(octets) => replies::message_too_large(octets),
        }
    }
}

/// What became of the input of one [`Content::feed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// All of it was content; there is more to come.
    More,
    /// The message has ended; this many octets of the input belonged to it, its end included.
    End(usize),
}

/// The first octets of a header line.
#[derive(Debug)]
enum Field {
    Header { start: [u8; FIELD_OCTETS], length: usize },
    Body,
}

impl Content {
    /// Ready for the octet behind the 354 reply. `size_max` 0 means no limit.
    pub fn new(size_max: u64) -> Content {
        Content {
            size_max,
            line: 0,
            after_cr: false,
            dotted: false,
            field: Field::Header { start: [0; FIELD_OCTETS], length: 0 },
            fault: None,
            swallowed: 0,
            summary: Summary::default(),
        }
    }

    /// What is wrong with the message, as far as it has come.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Octets that came after the first fault.
    pub fn swallowed(&self) -> u64 {
        self.swallowed
    }

    /// The message after its end, or why it is refused.
    pub fn finish(&self) -> Result<Summary, Fault> {
        self.fault.map_or(Ok(self.summary), Err)
    }

    /// Takes the next octets from the client, and appends to `kept` those that are surely content.
    pub fn feed(&mut self, input: &[u8], kept: &mut Vec<u8>) -> Fed {
        let mut at = 0;
        while at < input.len() {
            if self.after_cr {
                self.after_cr = false;
                if input[at] == b'\n' {
                    at += 1;
                    if self.dotted && self.line == 1 {
                        return Fed::End(at);
                    }
                    self.end_line(kept);
                    continue;
                }
                self.blame(Fault::BareLineEnd);
                self.text(b"\r", kept);
            }
            let rest = &input[at..];
            let stop = memchr3(b'\r', b'\n', 0, rest);
            let (text, special) = rest.split_at(stop.unwrap_or(rest.len()));
            self.text(text, kept);
            at += text.len();
            match special.first() {
                None => break,
                Some(b'\r') => self.after_cr = true,
                Some(b'\n') => {
                    self.blame(Fault::BareLineEnd);
                    self.text(b"\n", kept);
                }
                Some(_) => {
                    self.blame(Fault::Nul);
                    self.text(b"\0", kept);
                }
            }
            at += 1;
        }
        Fed::More
    }

    /// Octets of the current line that end nothing.
    fn text(&mut self, text: &[u8], kept: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if self.line == 0 && text[0] == b'.' {
            self.dotted = true;
            // Kept back until it is known to be content: a lone dot ends the message.
            self.line = 1;
            return self.text(&text[1..], kept);
        }
        if self.dotted && self.line == 1 {
            self.keep(b".", kept);
        }
        self.line += text.len() as u64;
        if self.line + 2 - u64::from(self.dotted) > CONTENT_LINE_OCTETS_MAX {
            self.blame(Fault::LongLine);
        }
        self.summary.size += text.len() as u64;
        self.summary.eight_bit |= !text.is_ascii();
        if let Field::Header { start, length } = &mut self.field {
            let room = text.len().min(FIELD_OCTETS - *length);
            start[*length..*length + room].copy_from_slice(&text[..room]);
            *length += room;
        }
        self.keep(text, kept);
    }

    /// CR LF.
    fn end_line(&mut self, kept: &mut Vec<u8>) {
        self.summary.size += 2;
        self.keep(b"\r\n", kept);
        match &mut self.field {
            Field::Header { .. } if self.line == 0 => {
                self.field = Field::Body;
                self.summary.body_at = Some(self.summary.stored);
            }
            Field::Header { start, length } => {
                match field(&start[..*length]) {
                    Some(Known::Received) => self.summary.received_lines += 1,
                    Some(Known::Priority(priority)) if self.summary.priority == Priority::Normal => {
                        self.summary.priority = priority;
                    }
                    _ => {}
                }
                *length = 0;
            }
            Field::Body => {}
        }
        self.line = 0;
        self.dotted = false;
        if self.size_max != 0 && self.summary.size > self.size_max {
            self.blame(Fault::TooLarge(self.size_max));
        }
    }

    fn keep(&mut self, octets: &[u8], kept: &mut Vec<u8>) {
        if self.fault.is_some() {
            self.swallowed += octets.len() as u64;
            return;
        }
        self.summary.stored += octets.len() as u64;
        kept.extend_from_slice(octets);
    }

    /// The first fault is the one that is reported.
    fn blame(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

enum Known {
    Received,
    Priority(Priority),
}

/// The header fields that the server reads. Folded lines begin with a blank and match none.
fn field(start: &[u8]) -> Option<Known> {
    let colon = start.iter().position(|octet| *octet == b':')?;
    let (name, value) = (start[..colon].trim_ascii_end(), start[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"received") {
        return Some(Known::Received);
    }
    if !name.eq_ignore_ascii_case(b"priority") {
        return None;
    }
    let values: [(&[u8], Priority); 2] =
        [(b"urgent", Priority::Urgent), (b"non-urgent", Priority::Nonurgent)];
    let known = values.iter().find(|(word, _)| value.eq_ignore_ascii_case(word));
    known.map(|(_, priority)| Known::Priority(*priority))
}

#[cfg(test)]
#[path = "content/tests.rs"]
mod tests;
