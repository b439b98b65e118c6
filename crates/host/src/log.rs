//! Text from a plugin, made safe to show: bounded, one line, nothing a terminal would obey.

use std::fmt::Write;

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

#[cfg(test)]
mod tests {
    use super::*;

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
