//! What the room is told, as JSON.

use sluice_sdk::Delivery;
use std::fmt::Write;
use std::io::{BufRead, Read};

/// So much of a message is looked at for the excerpt, in bytes: a stranger's line may be as long as the message.
const LOOKED_AT: u64 = 256 * 1024;

/// `{"text":"…"}` with sender, subject and the beginning of the text.
pub(crate) fn body(delivery: &Delivery<'_>, excerpt: usize) -> String {
    let sender = if delivery.sender().is_empty() { "(a notice)" } else { delivery.sender() };
    let subject = delivery.header().value("Subject").unwrap_or_default();
    let mut text = format!("{sender}: {subject}");
    let begins = beginning(delivery, excerpt);
    if !begins.is_empty() {
        text.push('\n');
        text += &begins;
    }
    format!("{{\"text\":{}}}", quoted(&text))
}

/// The first characters behind the header, as they stand; what is encoded there stays encoded.
fn beginning(delivery: &Delivery<'_>, most: usize) -> String {
    let mut lines = delivery.reader().lf_only().take(LOOKED_AT);
    let mut line = Vec::new();
    // The header ends with a blank line.
    while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) && line != b"\n" {
        line.clear();
    }
    // A character has at most four bytes.
    let mut text = Vec::new();
    let _ = lines.take(4 * most as u64).read_to_end(&mut text);
    String::from_utf8_lossy(&text).chars().take(most).collect::<String>().trim().to_owned()
}

/// A text as JSON has it (RFC 8259 section 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            control if (control as u32) < 0x20 => {
                let _ = write!(quoted, "\\u{:04x}", control as u32);
            }
            plain => quoted.push(plain),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted() {
        assert_eq!(quoted("a\"b\\c\nd\te\u{7f}\u{e9}"), "\"a\\\"b\\\\c\\nd\\u0009e\u{7f}\u{e9}\"");
    }
}
