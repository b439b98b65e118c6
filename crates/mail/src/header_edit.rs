//! Changes of a header that were ordered by name: a field more, another value, a field less.
//!
//! # Invariants
//! What is not named stays as it is, octet by octet. The first field of a header is the hub's own `Received:`, and is
//! neither counted nor changed. No octets make this panic.
//! # Not here
//! Changing the addresses in fields (`rewrite`).

use crate::header;

/// Longest name of a field: with colon and blank it fits the line of 78 characters that RFC 5322 section 2.1.1 asks for.
pub const NAME_MAX: usize = 76;
/// Longest line without its end (RFC 5322 section 2.1.1).
const LINE_MAX: usize = 998;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new field on top, below the hub's own.
    AddFirst,
    /// A new field at the end.
    AddLast,
    /// The field has this value now; one that is not there is put at the end.
    Replace,
    /// The field goes.
    Remove,
}

/// One change. Made by [`HeaderEdit::new`], so that it can be written into any header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderEdit {
    change: Change,
    /// Which of the fields with this name, from the top and from 1; 0 is all of them.
    occurrence: u32,
    name: String,
    value: String,
}

impl HeaderEdit {
    /// A change; `None` when name or value cannot stand in a header. `value` is of no meaning for a removal. Without
    /// `smtputf8` a value is ASCII.
    #[must_use]
    pub fn new(
        change: Change,
        occurrence: u32,
        name: &str,
        value: &str,
        smtputf8: bool,
    ) -> Option<HeaderEdit> {
        let value = if change == Change::Remove { "" } else { value };
        let fine = is_name(name) && (change == Change::Remove || is_value(name, value, smtputf8));
        fine.then(|| HeaderEdit { change, occurrence, name: name.to_owned(), value: value.to_owned() })
    }

    /// Octets that it brings along.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.name.len() + self.value.len()
    }

    fn line(&self) -> Vec<u8> {
        let blank = if self.value.is_empty() || self.value.starts_with("\r\n") { "" } else { " " };
        format!("{}:{blank}{}\r\n", self.name, self.value).into_bytes()
    }

    fn apply(&self, header: &[u8]) -> Vec<u8> {
        let own = header::fields(header).next().map_or(0, |field| field.place.end);
        let mut changed = Vec::with_capacity(header.len() + self.octets() + 4);
        match self.change {
            Change::AddFirst => {
                changed.extend_from_slice(&header[..own]);
                changed.extend(self.line());
                changed.extend_from_slice(&header[own..]);
            }
            Change::AddLast => {
                changed.extend_from_slice(header);
                changed.extend(self.line());
            }
            Change::Replace | Change::Remove => {
                let mut found = 0;
                for field in header::fields(header) {
                    let named =
                        field.place.start > 0 && field.name.eq_ignore_ascii_case(self.name.as_bytes());
                    found += u32::from(named);
                    if !(named && (self.occurrence == 0 || self.occurrence == found)) {
                        changed.extend_from_slice(&header[field.place]);
                    } else if self.change == Change::Replace && (self.occurrence != 0 || found == 1) {
                        changed.extend(self.line());
                    }
                }
                if self.change == Change::Replace && found < self.occurrence.max(1) {
                    changed.extend(self.line());
                }
            }
        }
        changed
    }
}

/// The header after all changes, each made to what the one before has left. `header` is what comes before the empty line, and ends with
/// a line end.
#[must_use]
pub fn edited(header: &[u8], edits: &[HeaderEdit]) -> Vec<u8> {
    edits.iter().fold(header.to_vec(), |header, edit| edit.apply(&header))
}

/// A name begins with no dot, because the line would be stuffed on the wire and be another name there.
fn is_name(name: &str) -> bool {
    let octets = name.as_bytes();
    (1..=NAME_MAX).contains(&octets.len())
        && octets.iter().all(|octet| octet.is_ascii_graphic() && *octet != b':')
        && octets[0] != b'.'
}

/// Lines that are not too long, and folded so that none of them ends the field, or the header, for any reader.
fn is_value(name: &str, value: &str, smtputf8: bool) -> bool {
    if !smtputf8 && !value.is_ascii() {
        return false;
    }
    // Also the separators of lines of Unicode, which some readers obey.
    if value
        .chars()
        .any(|c| (c.is_control() && !matches!(c, '\t' | '\r' | '\n')) || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        return false;
    }
    let mut room = LINE_MAX.saturating_sub(name.len() + 2);
    for (number, line) in value.split("\r\n").enumerate() {
        let folded = line.starts_with([' ', '\t']) && !line.trim_matches([' ', '\t']).is_empty();
        if (number > 0 && !folded) || line.contains(['\r', '\n']) || line.len() > room {
            return false;
        }
        room = LINE_MAX;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use Change::{AddFirst, AddLast, Remove, Replace};

    const HEADER: &str = "Received: by us\r\nReceived: by them\r\nA: 1\r\nb: 2\r\n folded\r\nA: 3\r\n";

    fn after(edits: &[(Change, u32, &str, &str)]) -> String {
        let edits: Vec<HeaderEdit> = edits
            .iter()
            .map(|(change, which, name, value)| HeaderEdit::new(*change, *which, name, value, false).unwrap())
            .collect();
        String::from_utf8(edited(HEADER.as_bytes(), &edits)).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn fields_are_added_replaced_and_removed() {
        assert_eq!(after(&[]), "Received: by us|Received: by them|A: 1|b: 2| folded|A: 3|");
        assert_eq!(
            after(&[(AddFirst, 0, "X", "first"), (AddLast, 0, "Y", "last\r\n line")]),
            "Received: by us|X: first|Received: by them|A: 1|b: 2| folded|A: 3|Y: last| line|"
        );
        assert_eq!(after(&[(Replace, 0, "a", "9")]), "Received: by us|Received: by them|a: 9|b: 2| folded|");
        assert_eq!(
            after(&[(Replace, 2, "A", "9")]),
            "Received: by us|Received: by them|A: 1|b: 2| folded|A: 9|"
        );
        assert_eq!(
            after(&[(Replace, 3, "A", "9")]),
            "Received: by us|Received: by them|A: 1|b: 2| folded|A: 3|A: 9|"
        );
        assert_eq!(
            after(&[(Replace, 0, "C", "")]),
            "Received: by us|Received: by them|A: 1|b: 2| folded|A: 3|C:|"
        );
        assert_eq!(after(&[(Remove, 0, "A", "")]), "Received: by us|Received: by them|b: 2| folded|");
        assert_eq!(
            after(&[(Remove, 1, "A", ""), (Remove, 1, "A", "")]),
            "Received: by us|Received: by them|b: 2| folded|"
        );
        assert_eq!(after(&[(Remove, 7, "A", ""), (Remove, 0, "none", "")]), HEADER.replace("\r\n", "|"));
        // Each change is made to what the one before has left.
        assert_eq!(
            after(&[(AddFirst, 0, "A", "0"), (Remove, 2, "A", "")]),
            "Received: by us|A: 0|Received: by them|b: 2| folded|A: 3|"
        );
    }

    #[test]
    fn the_hubs_own_received_is_not_counted_and_stays() {
        assert_eq!(after(&[(Remove, 0, "received", "")]), "Received: by us|A: 1|b: 2| folded|A: 3|");
        assert_eq!(
            after(&[(Replace, 1, "Received", "x")]),
            "Received: by us|Received: x|A: 1|b: 2| folded|A: 3|"
        );
    }

    #[test]
    fn what_would_break_a_header_is_no_change() {
        let bad = |name: &str, value: &str, utf8: bool| {
            assert_eq!(HeaderEdit::new(AddLast, 0, name, value, utf8), None, "{name:?} {value:?}");
        };
        for name in ["", "a b", "a:", "a\r", "ä", ".a", "a\u{7f}", &"n".repeat(NAME_MAX + 1)] {
            bad(name, "x", true);
        }
        for value in [
            "a\rb",
            "a\nb",
            "a\r\nb",
            "a\r\n",
            "a\r\n \t",
            "a\r\n\r\n b",
            "nul\0",
            "esc\u{1b}",
            "\u{85}",
            "\u{2028}",
        ] {
            bad("X", value, true);
        }
        bad("X", "ä", false);
        bad("X", &"v".repeat(996), true);
        bad("X", &format!("a\r\n {}", "v".repeat(998)), true);
        for (value, utf8) in
            [("", false), ("ä", true), ("a\r\n\tb\r\n c", false), (&"v".repeat(995), false), (".", false)]
        {
            assert!(HeaderEdit::new(AddLast, 0, "X", value, utf8).is_some(), "{value:?}");
        }
        // The value of a removal is nobody's business.
        assert!(HeaderEdit::new(Remove, 0, "X", "\0", false).is_some());
    }

    #[test]
    fn headers_without_anything_in_them_can_be_changed() {
        let add = HeaderEdit::new(AddFirst, 0, "X", "1", false).unwrap();
        assert_eq!(edited(b"", std::slice::from_ref(&add)), b"X: 1\r\n");
        assert_eq!(edited(b"Received: us\r\n", &[add]), b"Received: us\r\nX: 1\r\n");
    }
}
