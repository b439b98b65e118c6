//! The letters of a notice: what may go into a field or a line of text, and how it is folded.

use std::fmt::Write as _;

/// RFC 5322 section 2.1.1: lines should be this long at most.
const LINE_LENGTH: usize = 78;
/// Longest value of a field: even without a place to fold it stays below the 998 octets a line may have.
const VALUE_LENGTH_MAX: usize = 900;

/// Text for people: control characters become blanks, runs of blanks one, and there is an end to it.
pub(super) fn plain(text: &str) -> String {
    let cleaned = text.split(|c: char| c.is_control() || c.is_whitespace() || is_direction(c));
    let mut plain = String::with_capacity(text.len());
    for word in cleaned.filter(|word| !word.is_empty()) {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
        if plain.len() > VALUE_LENGTH_MAX {
            break;
        }
    }
    cut(&mut plain);
    plain
}

/// Characters that turn the direction of writing can make a reply look like something else.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An address in a header field: no blanks, controls or angle brackets.
pub(super) fn address(text: &str) -> String {
    let mut address: String = text
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '<' | '>' | '\u{2028}' | '\u{2029}'))
        .collect();
    cut(&mut address);
    address
}

/// A display name (RFC 5322 section 3.2.5): as it is when it consists of atoms, else in quotes, and in encoded words
/// (RFC 2047) when it has letters outside ASCII.
pub(super) fn phrase(name: &str) -> String {
    let name = plain(name);
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    if name.contains("=?") || !name.is_ascii() {
        return encoded_words(&name);
    }
    if name.chars().all(is_atom) {
        return name;
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Encoded words of the form Q, none longer than the 75 octets that RFC 2047 section 2 allows.
fn encoded_words(text: &str) -> String {
    const START: &str = "=?utf-8?Q?";
    let mut words = vec![START.to_owned()];
    for character in text.chars() {
        let mut octets = String::new();
        match character {
            ' ' => octets.push('_'),
            letter if letter.is_ascii_alphanumeric() => octets.push(letter),
            other => {
                for byte in other.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(octets, "={byte:02X}");
                }
            }
        }
        match words.last_mut() {
            Some(word) if word.len() + octets.len() + 2 <= 75 => word.push_str(&octets),
            _ => words.push(format!("{START}{octets}")),
        }
    }
    words.iter().map(|word| format!("{word}?=")).collect::<Vec<_>>().join(" ")
}

/// As [`plain`], in ASCII: other characters as `\x{…}` (RFC 6533 section 3).
pub(super) fn ascii(text: &str) -> String {
    let plain = plain(text);
    if plain.is_ascii() {
        return plain;
    }
    let mut ascii = String::with_capacity(plain.len() * 2);
    for character in plain.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            let _ = write!(ascii, "\\x{{{:X}}}", u32::from(character));
        }
    }
    cut(&mut ascii);
    ascii
}

/// An address with its type (RFC 3464 section 2.1.2, RFC 6533 section 3).
pub(super) fn typed_address(address: &str) -> String {
    let kind = if address.is_ascii() { "rfc822" } else { "utf-8" };
    format!("{kind}; {}", ascii(address))
}

fn cut(text: &mut String) {
    if text.len() > VALUE_LENGTH_MAX {
        let end = (0..=VALUE_LENGTH_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

/// Octets with every line ended by CR LF, the last one too. What came by SMTP is so already.
pub(super) fn with_line_ends(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes[at..].iter().position(|b| matches!(b, b'\r' | b'\n')).map_or(bytes.len(), |n| at + n);
        out.extend_from_slice(&bytes[at..end]);
        out.extend_from_slice(b"\r\n");
        at = end + if bytes[end..].starts_with(b"\r\n") { 2 } else { 1 };
    }
    out
}

/// The message being written.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Writer {
        Writer(Vec::with_capacity(capacity))
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn line(&mut self, line: &str) {
        debug_assert!(!line.contains(['\r', '\n']), "a line holds no line end: {line:?}");
        self.raw(line.as_bytes());
        self.raw(b"\r\n");
    }

    /// A header field, folded at blanks. The value is cleaned by the caller; a control character that got this far
    /// is left out.
    pub(super) fn field(&mut self, name: &str, value: &str) {
        let mut column = name.len() + 1;
        self.raw(name.as_bytes());
        self.raw(b":");
        for word in value.split(' ').filter(|word| !word.is_empty()) {
            if column + 1 + word.len() > LINE_LENGTH && column > name.len() + 1 {
                self.raw(b"\r\n");
                column = 0;
            }
            self.raw(b" ");
            self.0.extend(word.bytes().filter(|b| !b.is_ascii_control()));
            column += 1 + word.len();
        }
        self.raw(b"\r\n");
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Text for people, wrapped.
#[derive(Default)]
pub(super) struct Words(String);

impl Words {
    /// Adds a paragraph line; what does not fit goes on below, indented as it began.
    pub(super) fn line(&mut self, line: &str) {
        let indent = &line[..line.len() - line.trim_start_matches(' ').len()];
        let mut column = 0;
        for word in line.split(' ').filter(|word| !word.is_empty()) {
            let width = word.chars().count();
            if column == 0 || column + 1 + width > LINE_LENGTH - 4 {
                if column > 0 {
                    self.0.push_str("\r\n");
                }
                self.0.push_str(indent);
                column = indent.len();
            } else {
                self.0.push(' ');
                column += 1;
            }
            self.0.push_str(word);
            column += width;
        }
        self.0.push_str("\r\n");
    }

    /// The fields and body of the text part. Letters outside ASCII travel as quoted-printable.
    pub(super) fn write_part(self, out: &mut Writer) {
        if self.0.is_ascii() {
            out.field("Content-Type", "text/plain; charset=us-ascii");
            out.line("");
            out.raw(self.0.as_bytes());
            return;
        }
        out.field("Content-Type", "text/plain; charset=utf-8");
        out.field("Content-Transfer-Encoding", "quoted-printable");
        out.line("");
        for line in self.0.lines() {
            out.raw(&quoted_printable(line));
            out.raw(b"\r\n");
        }
    }
}

/// One line in quoted-printable (RFC 2045 section 6.7), with soft line ends.
fn quoted_printable(line: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() * 2);
    let mut column = 0;
    for (at, byte) in line.bytes().enumerate() {
        let last = at + 1 == line.len();
        let plain = matches!(byte, b'!'..=b'~') && byte != b'=' || byte == b' ' && !last;
        let width = if plain { 1 } else { 3 };
        if column + width > 75 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if plain {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("={byte:02X}").as_bytes());
        }
        column += width;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_become_blanks_in_text_and_vanish_from_addresses() {
        assert_eq!(plain(" a\r\nBcc: x\t\u{202e}b\0 "), "a Bcc: x b");
        assert_eq!(address("a\r\n@b>"), "a@b");
        assert_eq!(ascii("né\r\n"), "n\\x{E9}");
    }

    #[test]
    fn display_names_are_atoms_quoted_or_encoded() {
        assert_eq!(phrase("Mail & Co"), "Mail & Co");
        assert_eq!(phrase("The \"hub\", at\r\nours"), r#""The \"hub\", at ours""#);
        assert_eq!(phrase("Postamt Köln"), "=?utf-8?Q?Postamt_K=C3=B6ln?=");
        assert_eq!(phrase("a =?x?= b"), "=?utf-8?Q?a_=3D=3Fx=3F=3D_b?=");
        let long = phrase(&"é".repeat(100));
        assert!(long.split(' ').count() > 1 && long.split(' ').all(|word| word.len() <= 75), "{long}");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert!(plain(&"é".repeat(2000)).len() <= VALUE_LENGTH_MAX);
        assert!(ascii(&"é".repeat(2000)).len() <= VALUE_LENGTH_MAX);
    }

    #[test]
    fn line_ends_are_made_whole() {
        assert_eq!(with_line_ends(b"a\nb\rc\r\n\r\nd"), b"a\r\nb\r\nc\r\n\r\nd\r\n");
        assert_eq!(with_line_ends(b""), b"");
    }

    #[test]
    fn quoted_printable_has_short_lines() {
        let line = quoted_printable(&"é=".repeat(60));
        assert!(line.split(|b| *b == b'\n').all(|line| line.len() <= 77));
        assert_eq!(quoted_printable("a b "), b"a b=20");
    }
}
