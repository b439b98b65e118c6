//! Replies: how they are written, and how those of others are read.
//!
//! A [`Reply`] is a code, perhaps an enhanced code, and lines of text. Writing it is where the promises are kept: the
//! text is cleaned, long lines are folded into several, and the whole reply goes out as one run of bytes, because some
//! clients read a multi-line reply with a single read.
//!
//! # Not here
//! Which reply is given when (`replies`, `server`).

mod reader;

use std::borrow::Cow;
use std::fmt;

use sluice_mail::{Refusal, Status};

pub use reader::{REPLY_LINES_MAX, REPLY_OCTETS_MAX, ReplyError, ReplyReader};

/// Longest reply line with its CR LF (RFC 5321 section 4.5.3.1.5).
pub const REPLY_LINE_OCTETS_MAX: usize = 512;

/// A reply, sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits, 200 to 599.
    pub code: u16,
    /// The enhanced code (RFC 2034, RFC 3463). Absent in the greeting, in replies to EHLO and HELO, and in 3xx.
    pub status: Option<Status>,
    /// The text, line by line, without code and line ends. Never empty in a reply that was received.
    pub lines: Vec<Cow<'static, str>>,
}

/// Which characters may stand in the text on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// RFC 5321: others become `?`.
    Ascii,
    /// The client asked for SMTPUTF8 (RFC 6531 section 3.7.4.2).
    Utf8,
}

impl Reply {
    /// A reply of one line with an enhanced code.
    pub fn new(code: u16, status: Status, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, status: Some(status), lines: vec![text.into()] }
    }

    /// A reply of one line without an enhanced code.
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, status: None, lines: vec![text.into()] }
    }

    /// The same with one more line.
    #[must_use]
    pub fn and(mut self, line: impl Into<Cow<'static, str>>) -> Reply {
        self.lines.push(line.into());
        self
    }

    /// The same without its enhanced code, for the greeting (RFC 2034 section 4 leaves it out there).
    #[must_use]
    pub fn without_status(mut self) -> Reply {
        self.status = None;
        self
    }

    /// 2xx.
    pub const fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3xx.
    pub const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4xx: later may be different.
    pub const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: later will not be different.
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The enhanced code, or the one that the reply code stands for.
    pub fn status_or_class(&self) -> Status {
        self.status.unwrap_or(Status::of_reply_code(self.code))
    }

    /// The text as one line, the lines joined by one blank.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// The same as a refusal, for those who refuse with a reply of [`crate::replies`].
    pub fn into_refusal(self) -> Refusal {
        Refusal { code: self.code, status: self.status_or_class(), text: self.text() }
    }

    /// Appends the wire form in ASCII.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.write_in(Charset::Ascii, out);
    }

    /// Appends the wire form: each line with code, separator, enhanced code and CR LF.
    ///
    /// An enhanced code of another class than the reply code is not sent: it would contradict it.
    pub fn write_in(&self, charset: Charset, out: &mut Vec<u8>) {
        let prefix = Prefix::of(self.code.clamp(200, 599), self.status);
        let prefix = prefix.as_bytes();
        let room = REPLY_LINE_OCTETS_MAX - 2 - prefix.len();
        let mut last = out.len();
        let empty: Cow<'static, str> = Cow::Borrowed("");
        let lines = if self.lines.is_empty() { std::slice::from_ref(&empty) } else { &self.lines };
        for text in lines {
            let text = cleaned(text, charset);
            let mut rest = &*text;
            loop {
                let (piece, more) = fold(rest, room);
                last = out.len();
                out.extend_from_slice(prefix);
                out.extend_from_slice(piece.as_bytes());
                out.extend_from_slice(b"\r\n");
                if more.is_empty() {
                    break;
                }
                rest = more;
            }
        }
        out[last + 3] = b' ';
    }

    /// The wire form in ASCII.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        self.write_to(&mut bytes);
        bytes
    }
}

/// What stands before the text of each line: the code, the separator, and the enhanced code where it agrees. Every reply has
/// one, so it is put together without asking for memory.
struct Prefix {
    octets: [u8; PREFIX_OCTETS_MAX],
    length: usize,
}

/// `550-5.65535.65535 `: as long as a prefix can be.
const PREFIX_OCTETS_MAX: usize = 18;

impl Prefix {
    fn of(code: u16, status: Option<Status>) -> Prefix {
        let mut prefix = Prefix { octets: [0; PREFIX_OCTETS_MAX], length: 0 };
        prefix.number(code);
        prefix.put(b'-');
        if let Some(Status { class, subject, detail }) = status
            && u16::from(class) == code / 100
        {
            for (number, end) in [(u16::from(class), b'.'), (subject, b'.'), (detail, b' ')] {
                prefix.number(number);
                prefix.put(end);
            }
        }
        prefix
    }

    fn put(&mut self, octet: u8) {
        self.octets[self.length] = octet;
        self.length += 1;
    }

    /// Up to five digits.
    fn number(&mut self, number: u16) {
        let first = [10_000, 1000, 100, 10].iter().position(|unit| number >= *unit).unwrap_or(4);
        for unit in &[10_000, 1000, 100, 10, 1][first..] {
            // One digit, so it fits.
            self.put(b'0' + (number / unit % 10) as u8);
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

/// The text as it may go out; most texts may go as they are.
fn cleaned(text: &str, charset: Charset) -> Cow<'_, str> {
    match text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.chars().map(|c| clean(c, charset)).collect()),
    }
}

/// A character as it may go out. Texts quote what strangers sent: a line end in one would forge a second reply.
fn clean(character: char, charset: Charset) -> char {
    match character {
        '\t' => ' ',
        c if c.is_control() => '?',
        c if !c.is_ascii() && charset == Charset::Ascii => '?',
        c => c,
    }
}

/// Cuts off at most `room` octets, behind a blank when there is one in the second half.
fn fold(text: &str, room: usize) -> (&str, &str) {
    if text.len() <= room {
        return (text, "");
    }
    let mut cut = room;
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    match text[..cut].rfind(' ') {
        Some(blank) if blank > room / 2 => (&text[..blank], &text[blank + 1..]),
        _ => text.split_at(cut),
    }
}

impl fmt::Display for Reply {
    /// For logs and notices, on one line: `550 5.1.1 no such user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            write!(f, " ")?;
            line.chars().try_for_each(|c| write!(f, "{}", clean(c, Charset::Utf8)))?;
        }
        Ok(())
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        let agrees = u16::from(refusal.status.class) == refusal.code / 100;
        let status = if agrees { refusal.status } else { Status::of_reply_code(refusal.code) };
        Reply::new(refusal.code, status, refusal.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        String::from_utf8(reply.to_bytes()).unwrap()
    }

    #[test]
    fn one_line_has_code_enhanced_code_and_text() {
        assert_eq!(wire(&Reply::new(250, Status::DONE, "OK")), "250 2.0.0 OK\r\n");
        assert_eq!(wire(&Reply::plain(354, "go on")), "354 go on\r\n");
        assert_eq!(wire(&Reply { code: 250, status: None, lines: vec![] }), "250 \r\n");
    }

    #[test]
    fn numbers_of_any_length_stand_before_the_text() {
        for (subject, detail) in
            [(0, 9), (10, 99), (100, 999), (1000, 9999), (10_000, 65_535), (65_535, 65_535)]
        {
            let status = Status::new(5, subject, detail);
            assert_eq!(wire(&Reply::new(550, status, "no")), format!("550 5.{subject}.{detail} no\r\n"));
        }
    }

    #[test]
    fn only_the_last_line_has_a_blank_behind_the_code() {
        let reply = Reply::plain(250, "hub.example").and("SIZE 10").and("HELP");
        assert_eq!(wire(&reply), "250-hub.example\r\n250-SIZE 10\r\n250 HELP\r\n");
        let reply = Reply::new(214, Status::DONE, "a").and("b");
        assert_eq!(wire(&reply), "214-2.0.0 a\r\n214 2.0.0 b\r\n");
    }

    #[test]
    fn text_cannot_forge_a_second_reply() {
        let reply = Reply::new(550, Status::new(5, 1, 2), "unknown: a\r\n250 2.0.0 fine\0\u{85}\t!");
        assert_eq!(wire(&reply), "550 5.1.2 unknown: a??250 2.0.0 fine?? !\r\n");
        assert_eq!(reply.to_string(), "550 5.1.2 unknown: a??250 2.0.0 fine?? !");
    }

    #[test]
    fn utf8_goes_out_only_to_clients_that_asked_for_it() {
        let reply = Reply::new(550, Status::new(5, 1, 1), "no such user: jürgen");
        assert_eq!(wire(&reply), "550 5.1.1 no such user: j?rgen\r\n");
        let mut bytes = Vec::new();
        reply.write_in(Charset::Utf8, &mut bytes);
        assert_eq!(bytes, "550 5.1.1 no such user: jürgen\r\n".as_bytes());
    }

    #[test]
    fn long_text_is_folded_and_nothing_of_it_is_lost() {
        let text = "wort ".repeat(300);
        let reply = wire(&Reply::new(550, Status::new(5, 7, 1), text));
        let mut joined = String::new();
        for line in reply.split_inclusive("\r\n") {
            assert!(line.len() <= REPLY_LINE_OCTETS_MAX, "{}", line.len());
            joined.push_str(line[4..].trim_end_matches("\r\n").strip_prefix("5.7.1 ").unwrap());
            joined.push(' ');
        }
        assert_eq!(joined.split_whitespace().count(), 300);
        assert!(reply.lines().rev().skip(1).all(|line| line.starts_with("550-")));
        assert!(reply.lines().last().unwrap().starts_with("550 "));
    }

    #[test]
    fn a_long_word_is_cut_between_characters() {
        let mut bytes = Vec::new();
        Reply::plain(550, "ü".repeat(600)).write_in(Charset::Utf8, &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.lines().all(|line| line.len() + 2 <= REPLY_LINE_OCTETS_MAX));
        assert_eq!(text.matches('ü').count(), 600);
    }

    #[test]
    fn a_contradicting_enhanced_code_is_not_sent() {
        assert_eq!(wire(&Reply::new(450, Status::new(5, 1, 1), "x")), "450 x\r\n");
        let refusal = Refusal { code: 450, status: Status::new(5, 1, 1), text: "x".into() };
        assert_eq!(wire(&Reply::from(refusal)), "450 4.0.0 x\r\n");
    }
}
