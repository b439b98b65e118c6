//! The fields of a message header, in the form in which the message came over the wire (RFC 5322 section 2.2).
//!
//! # Invariants
//! The fields of a header, joined, are the header. No octets make this panic.
//! # Not here
//! What the body of a field means ([`crate::field`] reads addresses).

use std::ops::Range;

/// One field with its folded lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without blanks behind it. Empty for a line that is no field.
    pub name: &'a [u8],
    /// All of it, from the name to behind the last line end.
    pub place: Range<usize>,
    /// What stands behind the colon, line ends included.
    pub body: Range<usize>,
}

/// Where the header ends: at the empty line, or where the message does. `None`: there is no end in these octets.
pub fn end(message: &[u8]) -> Option<usize> {
    if message.starts_with(b"\r\n") {
        return Some(0);
    }
    let mut from = 0;
    while let Some(at) = message.get(from..)?.iter().position(|octet| *octet == b'\n') {
        from += at + 1;
        if message[from..].starts_with(b"\r\n") {
            return Some(from);
        }
    }
    None
}

/// The fields of a header, given without the empty line at its end.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= header.len() {
            return None;
        }
        let end = end_of_field(header, start);
        let place = start..end;
        start = end;
        let line = &header[place.clone()];
        let colon = line.iter().position(|octet| matches!(octet, b':' | b'\n'));
        let colon = colon.filter(|at| line[*at] == b':');
        Some(match colon {
            Some(colon) => Field {
                name: line[..colon].trim_ascii_end(),
                body: place.start + colon + 1..place.end,
                place,
            },
            None => Field { name: b"", body: place.end..place.end, place },
        })
    })
}

fn end_of_field(header: &[u8], start: usize) -> usize {
    let mut from = start;
    while let Some(at) = header[from..].iter().position(|octet| *octet == b'\n') {
        from += at + 1;
        if !matches!(header.get(from), Some(b' ' | b'\t')) {
            return from;
        }
    }
    header.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_with_their_folded_lines() {
        let header = b"To: a@b,\r\n c@d\r\nSubject : x\r\nno field\r\nX-Last:";
        let found: Vec<(&[u8], &[u8])> =
            fields(header).map(|field| (field.name, &header[field.body])).collect();
        assert_eq!(
            found,
            [(&b"To"[..], &b" a@b,\r\n c@d\r\n"[..]), (b"Subject", b" x\r\n"), (b"", b""), (b"X-Last", b""),]
        );
        let joined: Vec<u8> = fields(header).flat_map(|field| header[field.place].to_vec()).collect();
        assert_eq!(joined, header);
    }

    #[test]
    fn the_header_ends_at_the_first_empty_line() {
        assert_eq!(end(b"\r\nbody"), Some(0));
        assert_eq!(end(b"A: b\r\n\r\nbody\r\n\r\n"), Some(6));
        assert_eq!(end(b"A: b\r\n c\r\n"), None);
        assert_eq!(end(b""), None);
    }
}
