//! Encodings of bodies (RFC 2045 section 6): made, and undone.
//!
//! What is undone was written by others: what does not belong there is passed over, as the section asks, and nothing is refused but an
//! encoding that nobody here knows.
//!
//! # Not here
//! Which part needs an encoding ([`crate::seven_bit`]).

use std::borrow::Cow;
use std::ops::Range;

use crate::mime::lines;

/// Characters of a line of quoted-printable and base64 (sections 6.7 and 6.8).
pub(crate) const LINE_MAX: usize = 76;

/// What an encoded body stands for. `encoding` in lower case, as [`crate::mime::encoding`] gives it. `None` for one that is not known.
#[must_use]
pub fn decoded<'a>(body: &'a [u8], encoding: &str) -> Option<Cow<'a, [u8]>> {
    match encoding {
        "" | "7bit" | "8bit" | "binary" => Some(Cow::Borrowed(body)),
        "base64" => Some(Cow::Owned(of_base64(body))),
        "quoted-printable" => Some(Cow::Owned(of_quoted_printable(body))),
        _ => None,
    }
}

fn of_base64(body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(body.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for &letter in body {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                // The end of what was encoded; some programs put several encoded texts behind each other.
                count = 0;
                continue;
            }
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count & 0xff) as u8);
        }
    }
    octets
}

fn of_quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(body.len());
    for Range { start, end } in lines(body) {
        let line = &body[start..end];
        let (line, line_end) = match line.strip_suffix(b"\r\n") {
            Some(line) => (line, &b"\r\n"[..]),
            None => (line, &b""[..]),
        };
        // Blanks at the end of a line were put there on the way.
        let mut rest = line.trim_ascii_end();
        let is_soft = rest.ends_with(b"=");
        if is_soft {
            rest = &rest[..rest.len() - 1];
        }
        while let Some((&octet, behind)) = rest.split_first() {
            let pair = (octet == b'=').then(|| hexadecimal(behind)).flatten();
            match pair {
                Some(octet) => {
                    octets.push(octet);
                    rest = &behind[2..];
                }
                None => {
                    octets.push(octet);
                    rest = behind;
                }
            }
        }
        if !is_soft {
            octets.extend_from_slice(line_end);
        }
    }
    octets
}

fn hexadecimal(text: &[u8]) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let value = digit(*text.first()?)? * 16 + digit(*text.get(1)?)?;
    u8::try_from(value).ok()
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A text with CR LF at the ends of its lines as quoted-printable (section 6.7).
pub fn quoted_printable(text: &[u8], out: &mut Vec<u8>) {
    for Range { start: from, end: to } in lines(text) {
        let line = &text[from..to];
        let (line, end) = match line.strip_suffix(b"\r\n") {
            Some(line) => (line, &b"\r\n"[..]),
            None => (line, &b""[..]),
        };
        let mut width = 0;
        for (at, &octet) in line.iter().enumerate() {
            let is_last = at + 1 == line.len();
            let is_plain =
                matches!(octet, b'!'..=b'<' | b'>'..=b'~') || (matches!(octet, b' ' | b'\t') && !is_last);
            let takes = if is_plain { 1 } else { 3 };
            // One place is kept for the `=` of a soft line break.
            if width + takes > LINE_MAX - usize::from(!is_last) {
                out.extend_from_slice(b"=\r\n");
                width = 0;
            }
            if is_plain {
                out.push(octet);
            } else {
                out.extend_from_slice(&[b'=', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
            }
            width += takes;
        }
        out.extend_from_slice(end);
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Octets as base64 (section 6.8), each line with its CR LF.
pub fn base64(octets: &[u8], out: &mut Vec<u8>) {
    for line in octets.chunks(LINE_MAX / 4 * 3) {
        for group in line.chunks(3) {
            let [a, b, c] = [group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)];
            let bits = u32::from_be_bytes([0, a, b, c]);
            for place in 0..4 {
                let letter = BASE64[(bits >> (18 - 6 * place) & 63) as usize];
                out.push(if place <= group.len() { letter } else { b'=' });
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(body: &str, encoding: &str) -> String {
        decoded(body.as_bytes(), encoding).unwrap().escape_ascii().to_string()
    }

    #[test]
    fn what_is_made_is_undone() {
        let mut octets: Vec<u8> = (0..=255).collect();
        octets.extend_from_slice(b"=3D \t\r\nx \r\n\r\n=");
        for length in [0, 1, 2, 3, 57, 58, octets.len()] {
            let mut made = Vec::new();
            base64(&octets[..length], &mut made);
            assert_eq!(decoded(&made, "base64").unwrap(), &octets[..length]);
        }
        let mut made = Vec::new();
        quoted_printable(&octets, &mut made);
        assert!(lines(&made).all(|line| line.len() <= LINE_MAX + 2));
        assert_eq!(decoded(&made, "quoted-printable").unwrap(), octets);
    }

    #[test]
    fn what_does_not_belong_there_is_passed_over() {
        assert_eq!(undone("aGk=\r\naGk=\r\n", "base64"), "hihi");
        assert_eq!(undone("a G!k", "base64"), "hi");
        assert_eq!(undone("aGk", "base64"), "hi");
        assert_eq!(undone("a", "base64"), "");
        assert_eq!(undone("a=  \r\nb=zz=4", "quoted-printable"), "ab=zz=4");
        assert_eq!(undone("a=e4 \r\n=", "quoted-printable"), "a\\xe4\\r\\n");
        assert_eq!(undone("a=", "8bit"), "a=");
        assert_eq!(decoded(b"x", "x-uuencode"), None);
    }
}
