//! Reading a message: without its dot-stuffing, or as it goes over the wire.
//!
//! Both readers lend what the host lends: nothing is copied until somebody asks for it in a buffer of his own.
//!
//! ```
//! # use sluice_sdk::Reader;
//! use std::io::BufRead;
//!
//! # let pieces = [b"Subject: x\r\n\r\n..dots\r\nlast".as_slice()];
//! # let reader = Reader::over(pieces);
//! // In a channel: `let reader = delivery.reader();`
//! let lines: Vec<String> = reader.lf_only().lines().collect::<Result<_, _>>()?;
//! assert_eq!(lines, ["Subject: x", "", ".dots", "last"]);
//! # Ok::<(), std::io::Error>(())
//! ```

use crate::Pieces;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};

/// The message as it was before it was sent over SMTP: one leading dot is taken from each line that starts with one
/// (RFC 5321 section 4.5.2). Line ends are CRLF, or LF alone when asked for.
///
/// It is cloned cheaply; a clone goes on where this one stands. Lines are what [`BufRead`] has for them; a line of
/// a stranger may be as long as the message.
#[derive(Clone, Debug)]
pub struct Reader<'d, P = Pieces<'d>> {
    pieces: P,
    rest: &'d [u8],
    at_line_start: bool,
    lf_only: bool,
}

impl<'d, P: Iterator<Item = &'d [u8]>> Reader<'d, P> {
    /// Reads a message in wire form, in pieces.
    pub fn over(pieces: impl IntoIterator<IntoIter = P>) -> Reader<'d, P> {
        Reader { pieces: pieces.into_iter(), rest: &[], at_line_start: true, lf_only: false }
    }

    /// Ends lines with LF alone, as files on Unix are kept.
    #[must_use]
    pub fn lf_only(mut self) -> Reader<'d, P> {
        self.lf_only = true;
        self
    }

    /// Writes what is left to `to`, and tells how many bytes that was.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn copy_to(&mut self, to: &mut impl Write) -> io::Result<u64> {
        copy(self, to)
    }

    /// What can be lent next: up to the end of a line, for a dot may stand behind it.
    fn run(&mut self) -> &'d [u8] {
        loop {
            while self.rest.is_empty() {
                match self.pieces.next() {
                    Some(piece) => self.rest = piece,
                    None => return &[],
                }
            }
            if self.at_line_start {
                self.at_line_start = false;
                if self.rest[0] == b'.' {
                    self.rest = &self.rest[1..];
                    continue;
                }
            }
            // Wire form has CR only in front of LF, so a CR is the first half of a line end.
            if self.lf_only && self.rest[0] == b'\r' {
                self.rest = &self.rest[1..];
                continue;
            }
            let lf_only = self.lf_only;
            let stop = self.rest.iter().position(|&byte| byte == b'\n' || lf_only && byte == b'\r');
            return match stop {
                Some(at) if self.rest[at] == b'\n' => &self.rest[..=at],
                Some(at) => &self.rest[..at],
                None => self.rest,
            };
        }
    }
}

impl<'d, P: Iterator<Item = &'d [u8]>> BufRead for Reader<'d, P> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.run())
    }

    fn consume(&mut self, amount: usize) {
        let (taken, rest) = self.rest.split_at(amount.min(self.rest.len()));
        self.rest = rest;
        if let Some(last) = taken.last() {
            self.at_line_start = *last == b'\n';
        }
    }
}

impl<'d, P: Iterator<Item = &'d [u8]>> Read for Reader<'d, P> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(gulp(self, into))
    }
}

/// The message in wire form: CRLF line ends, dots stuffed, without the closing dot line.
#[derive(Clone, Debug)]
pub struct WireReader<'d, P = Pieces<'d>> {
    first: P,
    pieces: P,
    rest: &'d [u8],
    position: u64,
    size: u64,
}

impl<'d, P: Iterator<Item = &'d [u8]> + Clone> WireReader<'d, P> {
    pub(crate) fn new(pieces: P, size: u64) -> WireReader<'d, P> {
        WireReader { first: pieces.clone(), pieces, rest: &[], position: 0, size }
    }

    /// Writes what is left to `to`, and tells how many bytes that was.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn copy_to(&mut self, to: &mut impl Write) -> io::Result<u64> {
        copy(self, to)
    }
}

impl<'d, P: Iterator<Item = &'d [u8]> + Clone> BufRead for WireReader<'d, P> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest.is_empty() {
            match self.pieces.next() {
                Some(piece) => self.rest = piece,
                None => break,
            }
        }
        Ok(self.rest)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.rest.len());
        self.rest = &self.rest[amount..];
        self.position += amount as u64;
    }
}

impl<'d, P: Iterator<Item = &'d [u8]> + Clone> Read for WireReader<'d, P> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(gulp(self, into))
    }
}

/// Goes over the pieces and reads none of them. A place behind the end is read as the end.
impl<'d, P: Iterator<Item = &'d [u8]> + Clone> Seek for WireReader<'d, P> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let Some(position) = position else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a place in front of the message"));
        };
        self.pieces = self.first.clone();
        self.rest = &[];
        self.position = position;
        let mut skip = position;
        for piece in self.pieces.by_ref() {
            match usize::try_from(skip).ok().filter(|skip| *skip < piece.len()) {
                Some(skip) => {
                    self.rest = &piece[skip..];
                    break;
                }
                None => skip -= piece.len() as u64,
            }
        }
        Ok(position)
    }
}

/// Fills as much as there is; what these readers lend cannot fail.
fn gulp(from: &mut impl BufRead, into: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < into.len() {
        let Ok(run) = from.fill_buf() else { break };
        if run.is_empty() {
            break;
        }
        let count = run.len().min(into.len() - filled);
        into[filled..filled + count].copy_from_slice(&run[..count]);
        from.consume(count);
        filled += count;
    }
    filled
}

fn copy(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<u64> {
    let mut written = 0;
    loop {
        let run = from.fill_buf()?;
        if run.is_empty() {
            return Ok(written);
        }
        to.write_all(run)?;
        let count = run.len();
        from.consume(count);
        written += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `wire`, split into pieces of `piece` bytes, in gulps of `gulp` bytes.
    fn read(wire: &[u8], piece: usize, gulp: usize, lf_only: bool) -> String {
        let reader = Reader::over(wire.chunks(piece));
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

    #[test]
    fn lines_are_lent_and_written_without_their_dots() {
        let wire = b"..first\r\nnot.this\r\n..\r\nlast";
        for piece in 1..=wire.len() {
            let mut out = Vec::new();
            let count = Reader::over(wire.chunks(piece)).copy_to(&mut out).unwrap();
            assert_eq!((out.as_slice(), count), (b".first\r\nnot.this\r\n.\r\nlast".as_slice(), 25));
            let lines: Vec<_> =
                Reader::over(wire.chunks(piece)).lf_only().lines().map(|line| line.unwrap()).collect();
            assert_eq!(lines, [".first", "not.this", ".", "last"], "{piece}");
            // A line that is taken up in parts does not lose a dot in its middle.
            let mut reader = Reader::over(wire.chunks(piece));
            let mut seen = Vec::new();
            while let Some(&byte) = reader.fill_buf().unwrap().first() {
                seen.push(byte);
                reader.consume(1);
            }
            assert_eq!(seen, out);
        }
    }

    #[test]
    fn the_wire_form_is_read_from_any_place() {
        let wire = b"..first\r\nsecond\r\n";
        for piece in 1..=wire.len() {
            let mut reader = WireReader::new(wire.chunks(piece), wire.len() as u64);
            for at in 0..=wire.len() + 2 {
                let mut rest = Vec::new();
                assert_eq!(reader.seek(SeekFrom::Start(at as u64)).unwrap(), at as u64);
                reader.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, &wire[at.min(wire.len())..], "{piece} {at}");
            }
            assert_eq!(reader.seek(SeekFrom::End(-8)).unwrap(), 9);
            assert_eq!(reader.seek(SeekFrom::Current(1)).unwrap(), 10);
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            assert_eq!((byte[0], reader.stream_position().unwrap()), (b'e', 11));
            assert!(reader.seek(SeekFrom::Current(-12)).is_err());
            let mut out = Vec::new();
            assert_eq!(reader.copy_to(&mut out).unwrap(), 6);
        }
    }
}
