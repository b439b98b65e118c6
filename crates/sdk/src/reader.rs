//! Reading a message without its dot-stuffing.

use crate::Pieces;
use std::io::{self, Read};

/// The message as it was before it was sent over SMTP: one leading dot is taken from each line that starts with one
/// (RFC 5321 section 4.5.2). Line ends are CRLF, or LF alone when asked for.
#[derive(Clone, Debug)]
pub struct Reader<'d> {
    pieces: Pieces<'d>,
    rest: &'d [u8],
    at_line_start: bool,
    lf_only: bool,
}

impl<'d> Reader<'d> {
    pub(crate) fn new(pieces: Pieces<'d>) -> Reader<'d> {
        Reader { pieces, rest: &[], at_line_start: true, lf_only: false }
    }

    /// Ends lines with LF alone, as files on Unix are kept.
    #[must_use]
    pub fn lf_only(mut self) -> Reader<'d> {
        self.lf_only = true;
        self
    }

    /// The next byte of the wire form that would be read, without taking it.
    fn refill(&mut self) -> bool {
        while self.rest.is_empty() {
            match self.pieces.next() {
                Some(piece) => self.rest = piece,
                None => return false,
            }
        }
        true
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() && self.refill() {
            if self.at_line_start {
                self.at_line_start = false;
                if self.rest[0] == b'.' {
                    self.rest = &self.rest[1..];
                    continue;
                }
            }
            // A run without any byte that needs a decision is copied at once.
            let room = into.len() - filled;
            let window = &self.rest[..self.rest.len().min(room)];
            let run = window.iter().position(|&byte| byte == b'\n' || byte == b'\r').unwrap_or(window.len());
            if run > 0 {
                into[filled..filled + run].copy_from_slice(&self.rest[..run]);
                self.rest = &self.rest[run..];
                filled += run;
                continue;
            }
            let byte = self.rest[0];
            self.rest = &self.rest[1..];
            self.at_line_start = byte == b'\n';
            // Wire form has CR only in front of LF, so a CR is the first half of a line end.
            if byte == b'\r' && self.lf_only {
                continue;
            }
            into[filled] = byte;
            filled += 1;
        }
        Ok(filled)
    }
}
