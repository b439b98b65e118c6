//! Receives the content of a message: everything between DATA and the line with a single dot, or the chunks of BDAT.
//!
//! Only CR LF `.` CR LF ends a message. What else some servers take for the end (LF `.` LF and its relatives) is how
//! messages are smuggled past checks: such content is read to its true end and then refused, never repaired. The wire
//! form is kept as it came, stuffed dots included, without the final line; so a body can be sent on as it is. What comes
//! by BDAT (RFC 3030) is checked in the same way, and brought into wire form: dots are stuffed, and the last line gets
//! its CR LF if it has none.
//!
//! # Invariants
//! The result does not depend on how the octets were split. After a fault nothing more is stored, whatever comes.
//! # Not here
//! Where the octets are kept (`smtpd` hands them to the spool), timeouts.

use memchr::memchr3;
use sluice_mail::{Priority, Time};

use crate::replies;
use crate::reply::Reply;

/// Longest line of a message with its CR LF, not counting a stuffed dot (RFC 5321 section 4.5.3.1.6).
pub const CONTENT_LINE_OCTETS_MAX: u64 = 1000;

/// The same without the CR LF.
const LINE_TEXT_MAX: usize = CONTENT_LINE_OCTETS_MAX as usize - 2;

/// How much of a header line is looked at: enough for `Received:`, `Priority:` and `Deferred-Delivery:` with a date.
const FIELD_OCTETS: usize = 72;

/// What content is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Most octets of the message itself; 0 is no limit.
    pub size_max: u64,
    /// Most lines, those of the header among them (PMDF System Manager's Guide, "linelimit").
    pub lines_max: Option<u32>,
    /// What becomes of a line of more than [`CONTENT_LINE_OCTETS_MAX`] octets.
    pub long_lines: LongLines,
    /// Octets above 127 are a fault: nobody announced them.
    pub seven_bit: bool,
    /// The content comes in chunks (BDAT): dots mean nothing, and the end is somebody else's word.
    pub chunked: bool,
}

/// What becomes of a line of more than [`CONTENT_LINE_OCTETS_MAX`] octets (Messaging Server Administration Guide, "Handling
/// SMTP Mail with Lines Exceeding 1000 Characters").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LongLines {
    /// The message is refused.
    #[default]
    Refuse,
    /// What is too much is cut off.
    Truncate,
    /// The line is broken, in front of a blank where there is one. A continuation of a header line begins with a blank.
    Wrap,
}

/// Receives one message.
#[derive(Debug)]
pub struct Content {
    rules: Rules,
    /// With [`LongLines::Wrap`]: the current line as far as it may still have to be broken. At most [`LINE_TEXT_MAX`] octets.
    pending: Vec<u8>,
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
    /// Lines, those of the header among them.
    pub lines: u32,
    /// Lines were too long and have been cut off or broken.
    pub long_lines: bool,
    /// The header has a `Date:`.
    pub dated: bool,
    /// The header has a `Message-ID:`.
    pub identified: bool,
    /// The first `Deferred-Delivery:` field that holds a date, on one line (RFC 2156).
    pub deferred_until: Option<Time>,
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
    /// More than this many lines.
    TooManyLines(u32),
    /// An octet above 127 that was not announced.
    EightBit,
}

impl Fault {
    /// The reply after DATA.
    pub fn reply(self) -> Reply {
        match self {
            Fault::BareLineEnd => replies::bare_line_end(),
            Fault::Nul => replies::nul_in_message(),
            Fault::LongLine => replies::message_line_too_long(CONTENT_LINE_OCTETS_MAX),
            Fault::TooLarge(octets) => replies::message_too_large(octets),
            Fault::TooManyLines(lines) => replies::message_too_long(lines),
            Fault::EightBit => replies::eight_bit_unannounced(),
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
    /// Ready for the octet behind the 354 reply, or for the first chunk.
    pub fn new(rules: Rules) -> Content {
        Content {
            rules,
            pending: Vec::new(),
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

    /// What is known of the message so far.
    pub fn so_far(&self) -> &Summary {
        &self.summary
    }

    /// The message after its end, or why it is refused.
    pub fn finish(&self) -> Result<Summary, Fault> {
        self.fault.map_or(Ok(self.summary), Err)
    }

    /// The last chunk has been fed. What is not a whole line becomes one; a bare CR at the end stays one.
    pub fn end_chunks(&mut self, kept: &mut Vec<u8>) {
        if std::mem::take(&mut self.after_cr) {
            self.blame(Fault::BareLineEnd);
        }
        if self.line > 0 {
            self.end_line(kept);
        }
    }

    /// Takes the next octets from the client, and appends to `kept` those that are surely content. Content in chunks
    /// never ends here, but with [`Content::end_chunks`].
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
            let plain = self.plain_lines(rest);
            if !plain.is_empty() {
                at += plain.len();
                self.keep(plain, kept);
                continue;
            }
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

    /// The whole lines at the beginning of the input about which there is nothing to be said, which are most of all bodies:
    /// they are looked at once, counted here, and kept as one piece.
    fn plain_lines<'i>(&mut self, input: &'i [u8]) -> &'i [u8] {
        let between_lines = self.line == 0 && !self.dotted && matches!(self.field, Field::Body);
        if !between_lines || self.fault.is_some() || self.rules.long_lines == LongLines::Wrap {
            return &[];
        }
        let Rules { size_max, lines_max, seven_bit, .. } = self.rules;
        let size_left = if size_max == 0 { u64::MAX } else { size_max.saturating_sub(self.summary.size) };
        let lines_left = lines_max.map_or(u32::MAX, |most| most.saturating_sub(self.summary.lines));
        let (mut end, mut lines) = (0, 0u32);
        while lines < lines_left && input.get(end) != Some(&b'.') {
            let line = &input[end..];
            let Some(length) = memchr3(b'\r', b'\n', 0, line) else { break };
            let next = end + length + 2;
            if !line[length..].starts_with(b"\r\n") || length > LINE_TEXT_MAX || next as u64 > size_left {
                break;
            }
            if seven_bit && !line[..length].is_ascii() {
                break;
            }
            (end, lines) = (next, lines + 1);
        }
        let plain = &input[..end];
        if !seven_bit && !plain.is_ascii() {
            self.summary.eight_bit = true;
        }
        self.summary.size += end as u64;
        self.summary.lines = self.summary.lines.saturating_add(lines);
        plain
    }

    /// Octets of the current line that end nothing.
    fn text(&mut self, text: &[u8], kept: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let wraps = self.rules.long_lines == LongLines::Wrap;
        if self.line == 0 && text[0] == b'.' {
            if !self.rules.chunked {
                self.dotted = true;
                // Kept back until it is known to be content: a lone dot ends the message.
                self.line = 1;
                return self.text(&text[1..], kept);
            }
            if !wraps {
                self.keep(b".", kept);
            }
        }
        if self.dotted && self.line == 1 && !wraps {
            self.keep(b".", kept);
        }
        if !text.is_ascii() {
            self.summary.eight_bit = true;
            if self.rules.seven_bit {
                self.blame(Fault::EightBit);
            }
        }
        if let Field::Header { start, length } = &mut self.field {
            let room = text.len().min(FIELD_OCTETS - *length);
            start[*length..*length + room].copy_from_slice(&text[..room]);
            *length += room;
        }
        let before = self.line - u64::from(self.dotted);
        self.line += text.len() as u64;
        if wraps {
            return self.wrap(text, kept);
        }
        let mut text = text;
        if before + text.len() as u64 > LINE_TEXT_MAX as u64 {
            if self.rules.long_lines == LongLines::Refuse {
                self.blame(Fault::LongLine);
            } else {
                let room = LINE_TEXT_MAX.saturating_sub(usize::try_from(before).unwrap_or(usize::MAX));
                text = &text[..room];
                self.summary.long_lines = true;
            }
        }
        self.summary.size += text.len() as u64;
        self.keep(text, kept);
    }

    /// Collects the current line, and breaks it as often as it is too long.
    fn wrap(&mut self, mut text: &[u8], kept: &mut Vec<u8>) {
        while self.fault.is_none() && self.pending.len() + text.len() > LINE_TEXT_MAX {
            let (taken, rest) = text.split_at(LINE_TEXT_MAX - self.pending.len());
            self.pending.extend_from_slice(taken);
            text = rest;
            self.summary.long_lines = true;
            let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t');
            // A break in front of the first octet would make an empty line, and end a header.
            let blank = self.pending[1..].iter().rposition(is_blank).map(|at| at + 1);
            let left = self.pending.split_off(blank.unwrap_or(LINE_TEXT_MAX));
            self.end_pending(kept);
            if blank.is_none()
                && !is_blank(text.first().unwrap_or(&b' '))
                && matches!(self.field, Field::Header { .. })
            {
                self.pending.push(b' ');
            }
            self.pending.extend_from_slice(&left);
            if self.summary.size > self.rules.size_max && self.rules.size_max != 0 {
                self.blame(Fault::TooLarge(self.rules.size_max));
            }
        }
        if self.fault.is_some() {
            self.swallowed += text.len() as u64;
        } else {
            self.pending.extend_from_slice(text);
        }
    }

    /// Puts out a line that was broken or has come to its end.
    fn end_pending(&mut self, kept: &mut Vec<u8>) {
        let pending = std::mem::take(&mut self.pending);
        if pending.first() == Some(&b'.') {
            self.keep(b".", kept);
        }
        self.summary.size += pending.len() as u64 + 2;
        self.summary.lines = self.summary.lines.saturating_add(1);
        self.keep(&pending, kept);
        self.keep(b"\r\n", kept);
        self.pending = pending;
        self.pending.clear();
    }

    /// CR LF.
    fn end_line(&mut self, kept: &mut Vec<u8>) {
        if self.rules.long_lines == LongLines::Wrap {
            self.end_pending(kept);
        } else {
            self.summary.size += 2;
            self.summary.lines = self.summary.lines.saturating_add(1);
            self.keep(b"\r\n", kept);
        }
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
                    Some(Known::Date) => self.summary.dated = true,
                    Some(Known::MessageId) => self.summary.identified = true,
                    Some(Known::Deferred(date)) => {
                        self.summary.deferred_until = self.summary.deferred_until.or(Some(date));
                    }
                    _ => {}
                }
                *length = 0;
            }
            Field::Body => {}
        }
        self.line = 0;
        self.dotted = false;
        let Rules { size_max, lines_max, .. } = self.rules;
        if size_max != 0 && self.summary.size > size_max {
            self.blame(Fault::TooLarge(size_max));
        }
        if let Some(lines_max) = lines_max
            && self.summary.lines > lines_max
        {
            self.blame(Fault::TooManyLines(lines_max));
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
    Date,
    MessageId,
    Deferred(Time),
}

/// The header fields that the server reads. Folded lines begin with a blank and match none.
fn field(start: &[u8]) -> Option<Known> {
    let colon = start.iter().position(|octet| *octet == b':')?;
    let (name, value) = (start[..colon].trim_ascii_end(), start[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"received") {
        return Some(Known::Received);
    }
    if name.eq_ignore_ascii_case(b"date") {
        return Some(Known::Date);
    }
    if name.eq_ignore_ascii_case(b"message-id") {
        return Some(Known::MessageId);
    }
    if name.eq_ignore_ascii_case(b"deferred-delivery") {
        return std::str::from_utf8(value).ok().and_then(sluice_mail::header_date).map(Known::Deferred);
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

#[cfg(test)]
#[path = "content/rules_tests.rs"]
mod rules_tests;
