//! Cuts command lines out of what a client sent.
//!
//! A command ends in CR LF, or in LF alone: some clients, among them the etrn(8) of sendmail, send that. A line that is
//! longer than any command may be is swallowed up to its end and reported once.
//!
//! # Not here
//! Message content, where LF alone ends nothing (`content`).

use memchr::memchr;

/// Longest command line without its end. MAIL and RCPT may need it (a path of 512 octets and parameters of the
/// extensions to come); all other verbs have less.
pub const COMMAND_OCTETS_MAX: usize = 2048;

/// What the front of the input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'b> {
    /// No whole line yet: read more. All input has been looked at and must be offered again.
    Incomplete,
    /// A line without its end.
    Complete(&'b [u8]),
    /// A line longer than [`COMMAND_OCTETS_MAX`] has come to its end.
    TooLong,
}

/// Remembers between calls whether an over-long line is being swallowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineReader {
    swallowing: bool,
}

impl LineReader {
    /// Looks at the front of `input`. Returns what is there and how many octets of it are used up.
    pub fn next<'b>(&mut self, input: &'b [u8]) -> (Line<'b>, usize) {
        match memchr(b'\n', input) {
            Some(_) if self.swallowing => {
                self.swallowing = false;
                let end = memchr(b'\n', input).map_or(input.len(), |end| end + 1);
                (Line::TooLong, end)
            }
            Some(end) => {
                let line = &input[..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let line = if line.len() > COMMAND_OCTETS_MAX { Line::TooLong } else { Line::Complete(line) };
                (line, end + 1)
            }
            None if self.swallowing || input.len() > COMMAND_OCTETS_MAX + 1 => {
                self.swallowing = true;
                (Line::Incomplete, input.len())
            }
            None => (Line::Incomplete, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of `bytes`, fed in pieces of `split` octets.
    fn lines(bytes: &[u8], split: usize) -> Vec<String> {
        let (mut reader, mut buffer, mut found) = (LineReader::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(split) {
            buffer.extend_from_slice(piece);
            assert!(buffer.len() <= COMMAND_OCTETS_MAX + 2 + split, "the buffer grows without limit");
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

    #[test]
    fn lines_end_in_crlf_or_lf_and_splits_do_not_matter() {
        let bytes = b"ehlo a\netrn b\r\n\r\n\nNOOP\r\r\nQUIT";
        for split in 1..=bytes.len() {
            assert_eq!(lines(bytes, split), ["ehlo a", "etrn b", "", "", "NOOP\r"], "split every {split}");
        }
    }

    #[test]
    fn an_over_long_line_is_reported_once_and_the_next_one_is_read() {
        let fits = "x".repeat(COMMAND_OCTETS_MAX);
        for length in [COMMAND_OCTETS_MAX + 1, COMMAND_OCTETS_MAX + 2, 3 * COMMAND_OCTETS_MAX] {
            for end in ["\n", "\r\n"] {
                let bytes = format!("{}{end}{fits}{end}NOOP{end}", "y".repeat(length));
                for split in [1, 7, 1000, 5000, 100_000] {
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
