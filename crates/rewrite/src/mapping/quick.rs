//! Telling at a glance that a pattern cannot match: what makes large tables fast.
//!
//! Each pattern leaves in a row of its own what any text that matches must begin with, end with and contain. The text
//! is looked at once for all rows. A row that lets a text pass promises nothing; one that stops it is always right.

use super::pattern::{Pattern, leading_address};
use std::collections::HashMap;

/// Octets of the pieces that a text is searched for.
const PIECE: usize = 4;
/// Bits of the set of pieces of a text; the first is always set, for rows that ask for fewer pieces.
const PIECE_BITS: usize = 1024;
/// Pieces that a row asks for.
const PIECES_ASKED: usize = 4;

/// What a text must have to match one pattern.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quick {
    head: u64,
    head_mask: u64,
    tail: u64,
    tail_mask: u64,
    network: u32,
    network_mask: u32,
    pieces: [u16; PIECES_ASKED],
    by_network: bool,
}

/// The rows of one table.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    rows: Vec<Quick>,
    /// Some row asks for pieces.
    asks_for_pieces: bool,
}

/// What a text has.
pub(crate) struct Text {
    head: u64,
    tail: u64,
    address: Option<u32>,
    pieces: [u64; PIECE_BITS / 64],
}

impl Sieve {
    pub(crate) fn new<'p>(patterns: impl Iterator<Item = &'p Pattern> + Clone) -> Sieve {
        // Of the pieces of a pattern those tell most that few other patterns have.
        let mut common: HashMap<u16, u32> = HashMap::new();
        for pattern in patterns.clone() {
            for piece in pattern.texts().flat_map(pieces) {
                *common.entry(piece).or_default() += 1;
            }
        }
        let rows: Vec<Quick> = patterns
            .map(|pattern| {
                let signs = pattern.signs();
                let mut rare: Vec<u16> = pattern.texts().flat_map(pieces).collect();
                rare.sort_unstable_by_key(|piece| (common.get(piece).copied().unwrap_or(0), *piece));
                rare.dedup();
                let mut asked = [0; PIECES_ASKED];
                for (place, piece) in asked.iter_mut().zip(rare) {
                    *place = piece;
                }
                let network = pattern.leading_network();
                let (bits, mask) = network.unwrap_or((0, 0));
                Quick {
                    head: signs.head,
                    head_mask: signs.head_mask,
                    tail: signs.tail,
                    tail_mask: signs.tail_mask,
                    network: bits,
                    network_mask: mask,
                    pieces: asked,
                    by_network: network.is_some(),
                }
            })
            .collect();
        Sieve { asks_for_pieces: rows.iter().any(|row| row.pieces[0] != 0), rows }
    }

    /// The rows from `at` on.
    pub(crate) fn rest(&self, at: usize) -> &[Quick] {
        self.rows.get(at..).unwrap_or_default()
    }
}

impl Quick {
    #[inline]
    pub(crate) fn may_match(&self, text: &Text) -> bool {
        let has = |piece: u16| text.pieces[usize::from(piece) / 64] & (1 << (piece % 64)) != 0;
        text.head & self.head_mask == self.head
            && text.tail & self.tail_mask == self.tail
            && (!self.by_network
                || text.address.is_some_and(|address| address & self.network_mask == self.network))
            && self.pieces.iter().all(|piece| has(*piece))
    }
}

impl Text {
    pub(crate) fn new(text: &str, sieve: &Sieve) -> Text {
        let bytes = text.as_bytes();
        let (mut head, mut tail) = (0, 0);
        for (place, byte) in bytes.iter().take(8).enumerate() {
            head |= u64::from(byte.to_ascii_lowercase()) << (8 * place);
        }
        for (place, byte) in bytes.iter().rev().take(8).enumerate() {
            tail |= u64::from(byte.to_ascii_lowercase()) << (8 * place);
        }
        let mut found = [0u64; PIECE_BITS / 64];
        found[0] = 1;
        if sieve.asks_for_pieces {
            for piece in pieces(text) {
                found[usize::from(piece) / 64] |= 1 << (piece % 64);
            }
        }
        Text { head, tail, address: leading_address(text).map(u32::from), pieces: found }
    }
}

/// The numbers of all pieces of a text, letter case aside. Only ASCII: other letters have no fixed other case.
fn pieces(text: &str) -> impl Iterator<Item = u16> {
    text.as_bytes().windows(PIECE).filter(|piece| piece.is_ascii()).map(|piece| {
        let mut number = 0u32;
        for byte in piece {
            number = number << 8 | u32::from(byte.to_ascii_lowercase());
        }
        // Bit 0 is taken, so there is one number less.
        let mixed = number.wrapping_mul(0x9E37_79B1) >> 22;
        (mixed as u16).max(1)
    })
}
