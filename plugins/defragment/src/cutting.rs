//! A message becomes pieces of limited size (RFC 2046 section 5.2.2): `maxblocks` and `maxlines`.
//!
//! The same message gives the same pieces each time, whatever the clock says: a piece that is sent once more after a crash is known for
//! what it is at the other end.

use sluice_mail::header;
use sluice_mail::mime::{lines, split};
use sluice_mail::seven_bit::{Needs, encoded};

/// Pieces of a message, at most; a message that would need more goes whole.
pub(crate) const PIECES_MAX: usize = 999;
/// What a piece has room for besides its header, at least.
const ROOM_LEAST: usize = 256;
/// Fields that the later pieces repeat from the first, so that people see what they are.
const REPEATED: [&str; 6] = ["from", "sender", "to", "cc", "date", "subject"];
/// The longest of such fields that is repeated.
const REPEATED_MAX: usize = 998;

/// What a channel takes; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) octets: u64,
    pub(crate) lines: u64,
}

/// Why a message cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Uncut {
    #[error("it cannot be made 7-bit, which its pieces must be: {0}")]
    Unfit(#[from] sluice_mail::seven_bit::Unfit),
    #[error("its header alone is larger than a piece may be")]
    Header,
    #[error("a line of it is larger than a piece may be")]
    Line,
    #[error("it would be more than {PIECES_MAX} pieces")]
    Many,
}

/// The pieces of a message (plain, not dot-stuffed), each within the limits. `id` is unique to the message; `host` ends the message ids
/// of the pieces.
///
/// # Errors
/// Why it must go whole.
pub(crate) fn pieces(message: &[u8], limits: Limits, id: &str, host: &str) -> Result<Vec<Vec<u8>>, Uncut> {
    let message = encoded(message, Needs { seven_bit: true, line_max: None })?;
    let (header, body) = split(&message);
    // Around the first piece stands what is not of the message inside, trace fields first; the rest is inside (RFC 2046 5.2.2.1).
    let (mut around, mut inside, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for field in header::fields(header) {
        let octets = &header[field.place.clone()];
        if octets == b"\r\n" {
            continue;
        }
        let is_named =
            |names: &[&str]| names.iter().any(|name| field.name.eq_ignore_ascii_case(name.as_bytes()));
        let is_content = field.name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
        if is_content || is_named(&["subject", "message-id", "encrypted", "mime-version"]) {
            inside.extend_from_slice(octets);
        } else {
            around.extend_from_slice(octets);
        }
        if is_named(&REPEATED) && octets.len() <= REPEATED_MAX {
            repeated.extend_from_slice(octets);
        }
    }
    inside.extend_from_slice(b"\r\n");
    // What stands behind the fields of each header; the widest numbers, so that what is counted does not grow.
    let own = |number: usize, total: usize| {
        format!(
            "Message-ID: <{id}.{number}@{host}>\r\nMIME-Version: 1.0\r\nContent-Type: message/partial; number={number}; total={total};\r\n \
             id=\"{id}@{host}\"\r\n\r\n"
        )
    };
    let subject = header::fields(header).find(|field| field.name.eq_ignore_ascii_case(b"subject"));
    let subject =
        subject.map(|field| header[field.place].to_vec()).filter(|field| field.len() <= REPEATED_MAX);
    around.extend_from_slice(subject.as_deref().unwrap_or_default());
    let widest = own(PIECES_MAX, PIECES_MAX);
    let room = |head: &[u8]| {
        let count = |octets: &[u8]| memchr::memchr_iter(b'\n', octets).count() as u64;
        let (octets, lines) = ((head.len() + widest.len()) as u64, count(head) + count(widest.as_bytes()));
        let left = |limit: u64, taken: u64, least: u64| match limit {
            0 => Some(u64::MAX),
            limit => limit.checked_sub(taken).filter(|left| *left >= least),
        };
        Some((left(limits.octets, octets, ROOM_LEAST as u64)?, left(limits.lines, lines, 1)?))
    };
    let first_room = room(&[&around[..], &inside].concat()).ok_or(Uncut::Header)?;
    let later_room = room(&repeated).ok_or(Uncut::Header)?;
    // Where each piece of the body begins.
    let mut starts = vec![0];
    let (mut octets_left, mut lines_left) = first_room;
    for line in lines(body) {
        let length = line.len() as u64;
        if length > octets_left || lines_left == 0 {
            (octets_left, lines_left) = later_room;
            if length > octets_left {
                return Err(Uncut::Line);
            }
            starts.push(line.start);
            if starts.len() > PIECES_MAX {
                return Err(Uncut::Many);
            }
        }
        octets_left -= length;
        lines_left -= 1;
    }
    let total = starts.len();
    let ends = starts.iter().skip(1).copied().chain([body.len()]);
    let one = |(at, (start, end)): (usize, (&usize, usize))| {
        let (head, inside) = if at == 0 { (&around, &inside[..]) } else { (&repeated, &b""[..]) };
        [head, own(at + 1, total).as_bytes(), inside, &body[*start..end]].concat()
    };
    Ok(starts.iter().zip(ends).enumerate().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::joining::joined;
    use sluice_mail::mime::Partial;

    const HEADER: &str =
        "Received: x\r\nFrom: a@b\r\nTo: c@d,\r\n e@f\r\nSubject: S\r\nMessage-ID: <m@b>\r\nX-Own: y\r\n";

    fn cut(message: &str, octets: u64, lines: u64) -> Result<Vec<Vec<u8>>, Uncut> {
        pieces(message.as_bytes(), Limits { octets, lines }, "a1.b2", "hub.example")
    }

    fn sorted(message: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (header, body) = split(message);
        let mut fields: Vec<Vec<u8>> =
            header::fields(header).map(|field| header[field.place].to_vec()).collect();
        fields.sort();
        (fields, body.to_vec())
    }

    #[test]
    fn pieces_are_within_the_limits_and_join_to_what_they_were() {
        for (octets, most) in [(1000, 0), (2000, 0), (0, 20), (1500, 25), (100_000, 0)] {
            for count in [1, 10, 300] {
                let body: String =
                    (0..count).map(|number| format!("line {number} of the text\r\n.dot\r\n")).collect();
                let message = format!("{HEADER}\r\n{body}");
                let pieces = cut(&message, octets, most).unwrap();
                for (at, piece) in pieces.iter().enumerate() {
                    let says = Partial::of(split(piece).0).unwrap();
                    assert_eq!((says.id.as_str(), says.number as usize), ("a1.b2@hub.example", at + 1));
                    assert_eq!(says.total, Some(pieces.len() as u32));
                    assert!(octets == 0 || piece.len() as u64 <= octets, "{} octets", piece.len());
                    assert!(most == 0 || memchr::memchr_iter(b'\n', piece).count() as u64 <= most);
                    let subject = sluice_mail::mime::field(piece, "subject");
                    assert_eq!(subject.as_deref(), Some("S"), "people see what it is");
                }
                assert_eq!(sorted(&joined(&pieces)), sorted(message.as_bytes()));
            }
        }
    }

    #[test]
    fn eight_bits_are_encoded_before() {
        let message = format!("{HEADER}\r\n{}", "gr\u{fc}n\r\n".repeat(200));
        let pieces = cut(&message, 1000, 0).unwrap();
        assert!(pieces.iter().all(|piece| piece.is_ascii()) && pieces.len() > 1);
        let whole = joined(&pieces);
        assert_eq!(sluice_mail::mime::encoding(&whole), "quoted-printable");
    }

    #[test]
    fn what_cannot_be_cut() {
        let long = format!("{HEADER}\r\n{}\r\n", "x".repeat(5000));
        assert_eq!(cut(&long, 1000, 0), Err(Uncut::Line));
        assert_eq!(cut(&format!("{HEADER}\r\n"), 400, 0), Err(Uncut::Header));
        assert_eq!(cut(&format!("{HEADER}\r\nx\r\n"), 0, 5), Err(Uncut::Header));
        let many = format!("{HEADER}\r\n{}", "x\r\n".repeat(40_000));
        assert_eq!(cut(&many, 0, 30), Err(Uncut::Many));
        let signed = format!(
            "{HEADER}Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{fc}\r\n--b--\r\n"
        );
        assert!(matches!(cut(&signed, 1000, 0), Err(Uncut::Unfit(_))));
    }
}
