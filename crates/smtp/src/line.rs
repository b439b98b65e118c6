//! Cuts command lines out of what a client sent.
//!
//! A command ends in CR LF, in LF alone (some clients, among them the etrn(8) of sendmail, send that) or in CR alone, as
//! the channel's keyword says (PMDF System Manager's Guide, "smtp"). A line that is longer than any command may be is swallowed up to its end and reported once.
//!
//! # Not here
//! Message content, where LF alone ends nothing (`content`).

use memchr::{memchr, memchr2, memmem};

/// Longest line without its end: AUTH and the lines of its exchange may have 12288 octets with CR LF (RFC 4954 section
/// 4); all other commands have less.
pub const AUTH_OCTETS_MAX: usize = 12_286;

/// What the front of the input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'b> {
    /// No whole line yet: read more. All input has been looked at and must be offered again.
    Incomplete,
    /// A line without its end.
    Complete(&'b [u8]),
    /// A line longer than [`AUTH_OCTETS_MAX`] has come to its end.
    TooLong,
}

/// What ends a command line (`smtp_crlf` and its relatives).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ends {
    /// `smtp`, `smtp_crorlf`: CR, LF, or CR LF.
    #[default]
    CrOrLf,
    /// `smtp_crlf`: CR LF and nothing else.
    Crlf,
    /// `smtp_cr`: CR, with or without LF behind it.
    Cr,
    /// `smtp_lf`: LF, with or without CR in front of it.
    Lf,
}

/// Remembers between calls whether an over-long line is being swallowed, and whether an LF may still belong to the last
/// line.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineReader {
    ends: Ends,
    swallowing: bool,
    after_cr: bool,
}

impl LineReader {
    /// Lines that end like this.
    pub fn new(ends: Ends) -> LineReader {
        LineReader { ends, ..LineReader::default() }
    }

    /// To be called when octets have arrived, whatever they are. Returns how many of them are used up: an LF that belongs to
    /// the line before, which was taken when its CR was there.
    pub fn arrived(&mut self, input: &[u8]) -> usize {
        match input.first() {
            Some(octet) if std::mem::take(&mut self.after_cr) => usize::from(*octet == b'\n'),
            _ => 0,
        }
    }

    /// The last line ended in a CR whose LF may still be on its way.
    pub fn expects_lf(&self) -> bool {
        self.after_cr
    }

    /// Looks at the front of `input`. Returns what is there and how many octets of it are used up.
    pub fn next<'b>(&mut self, input: &'b [u8]) -> (Line<'b>, usize) {
        match self.end(input) {
            Some((_, used)) if self.swallowing => {
                self.swallowing = false;
                (Line::TooLong, used)
            }
            Some((length, used)) => {
                let line =
                    if length > AUTH_OCTETS_MAX { Line::TooLong } else { Line::Complete(&input[..length]) };
                (line, used)
            }
            None if self.swallowing || input.len() > AUTH_OCTETS_MAX + 1 => {
                self.swallowing = true;
                // A CR at the end may be half of what ends the line.
                let kept = usize::from(self.ends == Ends::Crlf && input.last() == Some(&b'\r'));
                (Line::Incomplete, input.len() - kept)
            }
            None => (Line::Incomplete, 0),
        }
    }

    /// The end of the first line: its length, and the length with what ends it.
    fn end(&mut self, input: &[u8]) -> Option<(usize, usize)> {
        let before_lf = |at: usize| at - usize::from(at > 0 && input[at - 1] == b'\r');
        match self.ends {
            Ends::Lf => memchr(b'\n', input).map(|at| (before_lf(at), at + 1)),
            Ends::Crlf => memmem::find(input, b"\r\n").map(|at| (at, at + 2)),
            Ends::CrOrLf | Ends::Cr => {
                let at = match self.ends {
                    Ends::Cr => memchr(b'\r', input)?,
                    _ => memchr2(b'\r', b'\n', input)?,
                };
                let lf_follows = input[at] == b'\r' && input.get(at + 1) == Some(&b'\n');
                // Whoever ends lines in CR alone sends nothing behind it before we answer.
                self.after_cr = input[at] == b'\r' && at + 1 == input.len();
                Some((at, at + 1 + usize::from(lf_follows)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of `bytes`, fed in pieces of `split` octets.
    fn lines_that_end(ends: Ends, bytes: &[u8], split: usize) -> Vec<String> {
        let (mut reader, mut buffer, mut found) = (LineReader::new(ends), Vec::new(), Vec::new());
        for piece in bytes.chunks(split) {
            let used = if buffer.is_empty() { reader.arrived(piece) } else { 0 };
            buffer.extend_from_slice(&piece[used..]);
            assert!(buffer.len() <= AUTH_OCTETS_MAX + 2 + split, "the buffer grows without limit");
            loop {
                let (line, used) = reader.next(&buffer);
                match line {
                    Line::Complete(line) => found.push(String::from_utf8_lossy(line).into_owned()),
                    Line::TooLong => found.push("(too long)".into()),
                    Line::Incomplete => {}
                }
                let done = line == Line::Incomplete;
                buffer.drain(..used);
                if done {
                    break;
                }
            }
        }
        found
    }

    fn lines(bytes: &[u8], split: usize) -> Vec<String> {
        lines_that_end(Ends::default(), bytes, split)
    }

    #[test]
    fn lines_end_as_the_channel_says_and_splits_do_not_matter() {
        let bytes = b"ehlo a\r\netrn b\nNOOP\rRSET\r\n\r\n\nQUIT";
        for (ends, expected) in [
            (Ends::CrOrLf, vec!["ehlo a", "etrn b", "NOOP", "RSET", "", ""]),
            (Ends::Crlf, vec!["ehlo a", "etrn b\nNOOP\rRSET", ""]),
            (Ends::Lf, vec!["ehlo a", "etrn b", "NOOP\rRSET", "", ""]),
            (Ends::Cr, vec!["ehlo a", "etrn b\nNOOP", "RSET", ""]),
        ] {
            for split in 1..=bytes.len() {
                assert_eq!(lines_that_end(ends, bytes, split), expected, "{ends:?}, split every {split}");
            }
        }
    }

    #[test]
    fn a_line_that_ends_in_cr_is_there_at_once() {
        for ends in [Ends::CrOrLf, Ends::Cr] {
            let mut reader = LineReader::new(ends);
            assert_eq!(reader.next(b"DATA\r"), (Line::Complete(b"DATA"), 5));
            // The LF that comes late belongs to it, and is not taken for content.
            assert_eq!(reader.arrived(b"\nx"), 1);
            assert_eq!(reader.arrived(b"\n"), 0);
            assert_eq!(reader.next(b"DATA\r"), (Line::Complete(b"DATA"), 5));
            assert_eq!(reader.arrived(b"x"), 0);
        }
    }

    #[test]
    fn an_over_long_line_is_reported_once_and_the_next_one_is_read() {
        let fits = "x".repeat(AUTH_OCTETS_MAX);
        for length in [AUTH_OCTETS_MAX + 1, AUTH_OCTETS_MAX + 2, 3 * AUTH_OCTETS_MAX] {
            for end in ["\n", "\r\n", "\r"] {
                let bytes = format!("{}{end}{fits}{end}NOOP{end}", "y".repeat(length));
                for split in [7, 1000, 5000, 100_000] {
                    assert_eq!(
                        lines(bytes.as_bytes(), split),
                        ["(too long)", &fits, "NOOP"],
                        "{length} {split}"
                    );
                }
            }
        }
    }
}
