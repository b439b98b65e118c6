//! Text from a plugin, made safe to show: bounded, one line, nothing a terminal would obey; and how much of it there may be.

use std::fmt::Write;
use std::time::{Duration, Instant};

/// Longest log line of a plugin, in bytes.
pub const LINE_MAX: usize = 2048;
/// Longest text of an outcome, in bytes: RFC 5321 section 4.5.3.1.5 allows 512 for a reply line, and replies have several.
pub const OUTCOME_MAX: usize = 2048;
/// Longest reason for a failure, in bytes.
pub const REASON_MAX: usize = 1024;
/// Longest peer name or message id, in bytes: a domain has at most 255 (RFC 5321 section 4.5.3.1.2).
pub const NAME_MAX: usize = 255;

/// One line: line ends become a blank, other control characters and direction marks are written as escapes, and what is
/// longer than `most` bytes is cut with an ellipsis.
pub fn one_line(bytes: &[u8], most: usize) -> String {
    // Nearly all text is like this, and it is copied for every recipient.
    if let Ok(text) = std::str::from_utf8(bytes)
        && bytes.len() <= most
        && bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
    {
        return text.trim_end().to_owned();
    }
    let cut = bytes.len() > most;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    let mut line = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' | '\t' => line.push(' '),
            // U+2028 and U+2029 end lines too; the others turn the direction of what follows.
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(line, "{}", character.escape_unicode());
            }
            _ if character.is_control() => {
                let _ = write!(line, "{}", character.escape_default());
            }
            _ => line.push(character),
        }
        if line.len() >= most {
            break;
        }
    }
    let line = line.trim_end();
    match cut {
        true => format!("{line}…"),
        false => line.to_owned(),
    }
}

/// Lines of one plugin on one channel in a second; those beyond are counted. An operator reads no more, and each costs the
/// hub a write.
pub const LINES_MAX: u32 = 200;
const LINES_TIME: Duration = Duration::from_secs(1);

/// How many lines there may be in a second: [`LINES_MAX`], if nothing else is said.
#[derive(Debug)]
pub struct Lines {
    most: u32,
    since: Instant,
    told: u32,
    untold: u32,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines::of(LINES_MAX)
    }
}

impl Lines {
    /// With `most` in a second.
    pub fn of(most: u32) -> Lines {
        Lines { most, since: Instant::now(), told: 0, untold: 0 }
    }

    /// Whether one more is told; and how many were not, when their time is over.
    pub fn one_more(&mut self) -> (bool, u32) {
        let untold = self.over();
        let is_told = self.told < self.most;
        if is_told {
            self.told += 1;
        } else {
            self.untold += 1;
        }
        (is_told, untold)
    }

    /// How many were not told, when their time is over.
    pub fn over(&mut self) -> u32 {
        if self.since.elapsed() < LINES_TIME {
            return 0;
        }
        (self.since, self.told) = (Instant::now(), 0);
        self.rest()
    }

    /// Whether there are some that were not told, and of which nobody has spoken.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        self.untold > 0
    }

    /// How many were not told, whether or not their time is over: there will be no more.
    pub fn rest(&mut self) -> u32 {
        std::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let mut lines = Lines::default();
        let told = (0..500).filter(|_| lines.one_more().0).count();
        assert_eq!((told, lines.over()), (LINES_MAX as usize, 0));
        lines.since -= Duration::from_secs(2);
        assert_eq!(lines.one_more(), (true, 300));
        assert_eq!(lines.one_more(), (true, 0));
        assert_eq!((0..LINES_MAX).filter(|_| lines.one_more().0).count(), 198);
        assert_eq!((lines.rest(), lines.rest()), (2, 0), "at the end");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(one_line(b"red \x1b[31m\0 text", 100), r"red \u{1b}[31m\u{0} text");
        assert_eq!(one_line("\u{9b}31m \u{202e}txt".as_bytes(), 100), r"\u{9b}31m \u{202e}txt");
    }

    #[test]
    fn several_lines_become_one() {
        assert_eq!(one_line(b"250 fine  ", 100), "250 fine");
        assert_eq!(one_line(b"550-no\r\n550 really\tno\n", 100), "550-no 550 really no");
    }

    #[test]
    fn long_and_broken_text_is_cut_and_mended() {
        assert_eq!(one_line(&[b'a'; 50], 10), "aaaaaaaaaa…");
        assert_eq!(one_line("äöü".as_bytes(), 3), "ä\u{fffd}…");
        assert_eq!(one_line(b"\xff\xfe", 10), "\u{fffd}\u{fffd}");
        assert!(one_line(&[0; 5000], LINE_MAX).len() < LINE_MAX + 20);
    }
}
