//! Reading a message without its dot-stuffing.

use crate::Pieces;
use std::io::{self, Read};

/// The message as it was before it was sent over SMTP: one leading dot is taken from each line that starts with one
/// (RFC 5321 section 4.5.2). Line ends are CRLF, or LF alone when asked for.
#[derive(Clone, Debug)]
pub struct Reader<'d, P = Pieces<'d>> {
    pieces: P,
    rest: &'d [u8],
    at_line_start: bool,
    lf_only: bool,
}

impl<'d, P: Iterator<Item = &'d [u8]>> Reader<'d, P> {
    pub(crate) fn new(pieces: P) -> Reader<'d, P> {
        Reader { pieces, rest: &[], at_line_start: true, lf_only: false }
    }

    /// Ends lines with LF alone, as files on Unix are kept.
    #[must_use]
    pub fn lf_only(mut self) -> Reader<'d, P> {
        self.lf_only = true;
        self
    }

    /// Is there a byte of the wire form left? Then `rest` begins with it.
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

impl<'d, P: Iterator<Item = &'d [u8]>> Read for Reader<'d, P> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `wire`, split into pieces of `piece` bytes, in gulps of `gulp` bytes.
    fn read(wire: &[u8], piece: usize, gulp: usize, lf_only: bool) -> String {
        let reader = Reader::new(wire.chunks(piece));
        let mut reader = if lf_only { reader.lf_only() } else { reader };
        let (mut text, mut buffer) = (Vec::new(), vec![0; gulp]);
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return String::from_utf8(text).unwrap(),
                count => text.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn one_dot_is_taken_from_each_line_that_begins_with_one_however_it_is_split() {
        let wire = b"..first\r\nnot.this\r\n..\r\n...two\r\n\r\n";
        for piece in 1..=wire.len() {
            for gulp in 1..=wire.len() {
                assert_eq!(
                    read(wire, piece, gulp, false),
                    ".first\r\nnot.this\r\n.\r\n..two\r\n\r\n",
                    "{piece}, {gulp}"
                );
                assert_eq!(
                    read(wire, piece, gulp, true),
                    ".first\nnot.this\n.\n..two\n\n",
                    "{piece}, {gulp}"
                );
            }
        }
    }

    #[test]
    fn an_empty_message_is_empty() {
        assert_eq!(read(b"", 1, 8, false), "");
    }
}
