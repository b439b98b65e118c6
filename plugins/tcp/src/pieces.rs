//! A message as the host lends it, in pieces of the mapped spool: what can be known of it without copying any.

use sluice_mail::wire::Unstuffer;

/// A message with more stuffed dots than this is not sent as a chunk: the list of slices between them would be large.
const SLICES_MAX: usize = 16_384;

/// Octets of a message without its stuffed dots. `None` where it would have to be cut into too many slices: it then goes
/// as it is, behind DATA.
pub(crate) fn plain(pieces: &[&[u8]]) -> Option<u64> {
    let mut unstuffer = Unstuffer::new();
    let (mut octets, mut slices) = (0, 0usize);
    for slice in pieces.iter().flat_map(|piece| unstuffer.piece(piece)) {
        octets += slice.len() as u64;
        slices += 1;
        if slices > SLICES_MAX {
            return None;
        }
    }
    Some(octets)
}

/// The last two bytes of a message, or what there is.
pub(crate) fn last_two(pieces: &[&[u8]]) -> Vec<u8> {
    let mut last: Vec<u8> =
        pieces.iter().rev().flat_map(|piece| piece.iter().rev()).take(2).copied().collect();
    last.reverse();
    last
}

/// Lines end with CR LF and nothing else, no line is a lone dot, and the message ends with a line's end. Looks at one
/// piece at a time: a message may be larger than memory should ever be.
pub(crate) fn is_wire_form(pieces: &[&[u8]]) -> bool {
    /// What stands before the byte at hand.
    #[derive(Clone, Copy, PartialEq)]
    enum Before {
        LineEnd,
        Dot,
        DotReturn,
        Return,
        Text,
    }
    let mut before = Before::LineEnd;
    for piece in pieces {
        let mut rest = *piece;
        while let Some((byte, behind)) = rest.split_first() {
            before = match (before, *byte) {
                (Before::DotReturn, _) => return false,
                (Before::Return, b'\n') => Before::LineEnd,
                (Before::Return, _) | (_, b'\n') => return false,
                (Before::Dot, b'\r') => Before::DotReturn,
                (_, b'\r') => Before::Return,
                (Before::LineEnd, b'.') => Before::Dot,
                _ => Before::Text,
            };
            // The rest of a line's text is of no interest.
            rest = match before {
                Before::Text => &behind[memchr::memchr2(b'\r', b'\n', behind).unwrap_or(behind.len())..],
                _ => behind,
            };
        }
    }
    before == Before::LineEnd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form() {
        let pieces = |text: &[&'static str]| text.iter().map(|one| one.as_bytes()).collect::<Vec<_>>();
        for good in [&[][..], &["a\r\n"], &["a\r", "\n..\r\n"], &["..\r\n"], &["\r\n"]] {
            assert!(is_wire_form(&pieces(good)), "{good:?}");
        }
        for bad in
            [&["a"][..], &["a\n"], &["a\r\n", ".\r\n"], &[".\r\nb\r\n"], &["a\rb\r\n"], &["\n"], &["a\r"]]
        {
            assert!(!is_wire_form(&pieces(bad)), "{bad:?}");
        }
    }

    #[test]
    fn the_last_two_bytes_may_be_in_two_pieces() {
        assert_eq!(last_two(&[b"a\r", b"\n"]), b"\r\n");
        assert_eq!(last_two(&[b"x"]), b"x");
        assert_eq!(last_two(&[]), b"");
    }
}
