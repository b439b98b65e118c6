//! The fields of a message's header, one after the other.
//!
//! ```
//! # use sluice_sdk::{Header, Reader};
//! # let header = || Header::of(Reader::over([b"Subject: a\r\n long one\r\nTo: a@b\r\n\r\nText.\r\n".as_slice()]));
//! // In a channel: `delivery.header()`.
//! assert_eq!(header().value("subject").as_deref(), Some("a long one"));
//! let names: Vec<String> = header().map(|field| field.name()).collect();
//! assert_eq!(names, ["Subject", "To"]);
//! ```
//!
//! # Not here
//! What a field means: addresses, dates, encoded words (RFC 2047).

use crate::{Pieces, Reader};
use std::io::BufRead;

/// A field that is longer is cut off here, in bytes; a header is a stranger's text.
pub const FIELD_MAX: usize = 1 << 20;

/// The fields of a header, from the top to the blank line that ends it. Bytes that are no field (a first line without a
/// colon, as some senders leave one) are passed over.
#[derive(Clone, Debug)]
pub struct Header<'d, P = Pieces<'d>> {
    reader: Reader<'d, P>,
    /// The first line of the next field.
    next: Option<Vec<u8>>,
    over: bool,
}

/// One field of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    raw: Vec<u8>,
    colon: usize,
}

impl<'d, P: Iterator<Item = &'d [u8]>> Header<'d, P> {
    /// The header of what is read from its beginning.
    #[must_use]
    pub fn of(reader: Reader<'d, P>) -> Header<'d, P> {
        Header { reader, next: None, over: false }
    }

    /// The value of the first field with this name, as text; letter case does not count.
    pub fn value(&mut self, name: &str) -> Option<String> {
        self.find(|field| field.is(name)).map(|field| field.value())
    }

    /// One line with its end, cut off where it is too long; empty at the end.
    fn line(&mut self, room: usize) -> Vec<u8> {
        let mut line = Vec::new();
        loop {
            let run = self.reader.fill_buf().unwrap_or_default();
            if run.is_empty() {
                return line;
            }
            let count = run.len();
            let ends = run.ends_with(b"\n");
            line.extend_from_slice(&run[..count.min(room.saturating_sub(line.len()))]);
            self.reader.consume(count);
            if ends {
                return line;
            }
        }
    }
}

impl<'d, P: Iterator<Item = &'d [u8]>> Iterator for Header<'d, P> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        loop {
            let mut raw = match self.next.take() {
                Some(line) => line,
                None if self.over => return None,
                None => self.line(FIELD_MAX),
            };
            if matches!(raw.as_slice(), b"" | b"\r\n" | b"\n") {
                self.over = true;
                return None;
            }
            loop {
                let line = self.line(FIELD_MAX);
                if matches!(line.first(), Some(b' ' | b'\t')) {
                    let room = FIELD_MAX - raw.len();
                    raw.extend_from_slice(&line[..line.len().min(room)]);
                } else {
                    self.next = Some(line);
                    break;
                }
            }
            // A name is printable ASCII without blanks (RFC 5322 section 2.2); old mail has a blank in front of the colon.
            let colon = raw.iter().position(|&byte| byte == b':').filter(|&at| {
                let name = raw[..at].trim_ascii_end();
                !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
            });
            if let Some(colon) = colon {
                return Some(Field { raw, colon });
            }
        }
    }
}

impl Field {
    /// Its name, as written.
    #[must_use]
    pub fn name(&self) -> String {
        String::from_utf8_lossy(self.raw[..self.colon].trim_ascii_end()).into_owned()
    }

    /// Has it this name? Letter case does not count.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.raw[..self.colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its value on one line (RFC 5322 section 2.2.3), without blanks around it. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn value(&self) -> String {
        let unfolded: Vec<u8> =
            self.raw_value().iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        String::from_utf8_lossy(&unfolded).trim().to_owned()
    }

    /// Its value as it stands, with folds and the last line end.
    #[must_use]
    pub fn raw_value(&self) -> &[u8] {
        &self.raw[self.colon + 1..]
    }

    /// The whole field as it stands.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(wire: &[u8], piece: usize) -> Vec<(String, String)> {
        let header = Header::of(Reader::over(wire.chunks(piece)));
        header.map(|field| (field.name(), field.value())).collect()
    }

    #[test]
    fn fields_are_unfolded_however_they_are_split() {
        let wire = b"Subject: a\r\n\tlong\r\n  one \r\n..dotted: x\r\nno field\r\nOld : v\r\nEmpty:\r\n\r\nNot: this\r\n";
        let wanted = [("Subject", "a\tlong  one"), (".dotted", "x"), ("Old", "v"), ("Empty", "")];
        for piece in 1..=wire.len() {
            let found = fields(wire, piece);
            let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found, wanted, "{piece}");
        }
        let mut header = Header::of(Reader::over(wire.chunks(7)));
        assert_eq!(header.value("SUBJECT").as_deref(), Some("a\tlong  one"));
        assert_eq!(header.next().map(|field| field.raw().to_vec()), Some(b".dotted: x\r\n".to_vec()));
    }

    #[test]
    fn what_is_no_header_ends_without_harm() {
        assert_eq!(fields(b"", 1), []);
        assert_eq!(fields(b"\r\nTo: x\r\n", 3), []);
        assert_eq!(fields(b"To: x", 2), [("To".to_owned(), "x".to_owned())]);
        assert_eq!(
            fields(b" folded from nothing\r\nA: \xff\r\n", 4),
            [("A".to_owned(), "\u{fffd}".to_owned())]
        );
        let long = [b"A: ".as_slice(), &vec![b'x'; 2 * FIELD_MAX], b"\r\nB: y\r\n\r\n"].concat();
        let mut header = Header::of(Reader::over([long.as_slice()]));
        assert_eq!(header.next().map(|field| field.raw().len()), Some(FIELD_MAX));
        assert_eq!(header.next().map(|field| field.name()), Some("B".to_owned()));
        let folds = [b"A: ".as_slice(), &b"\r\n x".repeat(FIELD_MAX / 3), b"\r\n\r\n"].concat();
        let mut header = Header::of(Reader::over([folds.as_slice()]));
        assert_eq!(header.next().map(|field| field.raw().len()), Some(FIELD_MAX));
        assert_eq!(header.next(), None);
        assert_eq!(header.next(), None);
    }
}
