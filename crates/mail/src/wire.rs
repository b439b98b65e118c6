//! The transparency dots of SMTP (RFC 5321 section 4.5.2).
//!
//! Bodies are kept everywhere as they travelled: each line ended by CR LF, a leading dot doubled, without the final
//! line that holds a single dot. These helpers make that form from plain text and plain text from that form.
//!
//! # Not here
//! Finding the end of DATA and refusing bare CR or LF (`smtp::content`).

use std::iter::FusedIterator;

/// Doubles the dot at the start of each line. The input has CR LF line ends already.
pub fn stuff(text: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(text.len() + 8);
    let mut rest = text;
    while !rest.is_empty() {
        if rest[0] == b'.' {
            stuffed.push(b'.');
        }
        let line = memchr::memmem::find(rest, b"\r\n").map_or(rest.len(), |at| at + 2);
        stuffed.extend_from_slice(&rest[..line]);
        rest = &rest[line..];
    }
    stuffed
}

/// The plain text of a body in wire form, as slices of it. See [`Unstuffer`] for a body in several pieces.
pub fn unstuff(wire: &[u8]) -> Plain<'_> {
    Unstuffer::new().plain(wire)
}

/// Takes the stuffed dots out of a body that comes in pieces cut anywhere.
#[derive(Debug, Clone, Copy)]
pub struct Unstuffer {
    /// How much of CR LF stood right before the next byte.
    seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Other,
    CarriageReturn,
    LineEnd,
}

impl Default for Unstuffer {
    fn default() -> Self {
        Unstuffer::new()
    }
}

impl Unstuffer {
    /// At the start of a body.
    pub const fn new() -> Unstuffer {
        Unstuffer { seen: Seen::LineEnd }
    }

    /// The plain slices of the next piece.
    pub fn piece<'a>(&mut self, piece: &'a [u8]) -> Plain<'a> {
        let plain = self.plain(piece);
        self.seen = match piece {
            [] => self.seen,
            [.., b'\r', b'\n'] => Seen::LineEnd,
            [b'\n'] if self.seen == Seen::CarriageReturn => Seen::LineEnd,
            [.., b'\r'] => Seen::CarriageReturn,
            _ => Seen::Other,
        };
        plain
    }

    fn plain<'a>(&self, piece: &'a [u8]) -> Plain<'a> {
        let skip_first = match self.seen {
            Seen::LineEnd => piece.first() == Some(&b'.'),
            Seen::CarriageReturn | Seen::Other => false,
        };
        // A piece that opens with the LF of a cut CR LF may have its stuffed dot as second byte.
        let split_end = self.seen == Seen::CarriageReturn && piece.starts_with(b"\n.");
        if split_end {
            Plain { head: &piece[..1], rest: &piece[2..] }
        } else {
            Plain { head: &[], rest: &piece[usize::from(skip_first)..] }
        }
    }
}

/// Slices of plain text; made by [`unstuff`] and [`Unstuffer::piece`].
#[derive(Debug, Clone)]
pub struct Plain<'a> {
    head: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Iterator for Plain<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if !self.head.is_empty() {
            return Some(std::mem::take(&mut self.head));
        }
        if self.rest.is_empty() {
            return None;
        }
        match memchr::memmem::find(self.rest, b"\r\n.") {
            Some(at) => {
                let (plain, after) = self.rest.split_at(at + 2);
                self.rest = &after[1..];
                Some(plain)
            }
            None => Some(std::mem::take(&mut self.rest)),
        }
    }
}

impl FusedIterator for Plain<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(wire: &[u8]) -> Vec<u8> {
        unstuff(wire).flatten().copied().collect()
    }

    #[test]
    fn leading_dots_are_doubled_and_no_others() {
        assert_eq!(stuff(b".\r\na.b\r\n..\r\n"), b"..\r\na.b\r\n...\r\n");
        assert_eq!(stuff(b""), b"");
        assert_eq!(stuff(b".no end"), b"..no end");
    }

    #[test]
    fn unstuffing_undoes_stuffing() {
        for text in
            [&b""[..], b".", b"..", b"a\r\n.b\r\n..\r\n\r\n.\r\n", b"\r\n.\r\n", b"no dots\r\nat all\r\n"]
        {
            assert_eq!(plain(&stuff(text)), text);
        }
    }

    #[test]
    fn pieces_may_be_cut_anywhere() {
        let text = b".a\r\n.b\r\n..\r\n\r\n.\rx\n.\r\n";
        let wire = stuff(text);
        for first in 0..=wire.len() {
            for second in first..=wire.len() {
                let mut unstuffer = Unstuffer::new();
                let mut out: Vec<u8> = Vec::new();
                for piece in [&wire[..first], &wire[first..second], &wire[second..]] {
                    out.extend(unstuffer.piece(piece).flatten());
                }
                assert_eq!(out, text, "cut at {first} and {second}");
            }
        }
    }
}
