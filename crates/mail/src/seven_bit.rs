//! Content for a peer that does not take it as it is: without octets above 127 (RFC 6152 section 3), without long lines.
//!
//! Only what must change does: a part that holds such octets or lines is encoded, text as quoted-printable and anything
//! else as base64 (RFC 2045 section 6), and labelled so. Everything else keeps its bytes. A text that is no MIME message
//! yet becomes one.
//!
//! # Failure
//! What a new encoding would spoil is left alone, and the message cannot go: signed and encrypted parts (RFC 1847), 8-bit
//! text in headers, parts whose label says that they were encoded already.
//! # Not here
//! Dot-stuffing (`wire`), the conversation with the peer (the tcp plugin).

use std::borrow::Cow;
use std::ops::Range;

use crate::encoding::{base64, quoted_printable};
use crate::mime::{field, lines, parameter, split};

/// Parts within parts, at most: deeper ones come of no mail program.
const DEPTH_MAX: usize = 20;

/// What the peer does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Octets above 127.
    pub seven_bit: bool,
    /// Lines of more octets than this, without their CR LF.
    pub line_max: Option<usize>,
}

/// Why a message cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// RFC 1847: the encoding of what is signed must not change.
    #[error("a signed or encrypted part cannot be encoded without spoiling it")]
    Sealed,
    /// Only SMTPUTF8 has a place for it.
    #[error("the header has 8-bit text")]
    Header,
    /// The label of a part and its content contradict each other.
    #[error("a part that is labelled as encoded has 8-bit text or lines that are too long")]
    Mislabelled,
    /// No encoding but that of its parts is allowed there (RFC 2046 sections 5.1 and 5.2), and those were not found.
    #[error("a part that may not be encoded has 8-bit text or lines that are too long")]
    Composite,
    /// Parts within parts within parts.
    #[error("the message has too many parts within parts")]
    Deep,
}

/// The message (plain, not dot-stuffed) as the peer takes it; the same bytes where nothing needs to change.
///
/// # Errors
/// Why it cannot be had.
pub fn encoded(message: &[u8], needs: Needs) -> Result<Cow<'_, [u8]>, Unfit> {
    if !needs.met_by_not(message) {
        return Ok(Cow::Borrowed(message));
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 8);
    entity(message, needs, Place::Message, 0, &mut out)?;
    Ok(Cow::Owned(out))
}

impl Needs {
    /// Whether the content has something that the peer does not take.
    fn met_by_not(self, content: &[u8]) -> bool {
        (self.seven_bit && !content.is_ascii()) || self.has_long_line(content)
    }

    fn has_long_line(self, content: &[u8]) -> bool {
        let Some(most) = self.line_max else { return false };
        let mut start = 0;
        let ends = memchr::memchr_iter(b'\n', content).chain([content.len()]);
        for end in ends {
            let line = &content[start.min(end)..end];
            if line.strip_suffix(b"\r").unwrap_or(line).len() > most {
                return true;
            }
            start = end + 1;
        }
        false
    }
}

/// Where an entity stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Message,
    Part,
}

fn entity(bytes: &[u8], needs: Needs, place: Place, depth: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
    if depth > DEPTH_MAX {
        return Err(Unfit::Deep);
    }
    let (header, body) = split(bytes);
    if needs.seven_bit && !header.is_ascii() {
        return Err(Unfit::Header);
    }
    if !needs.met_by_not(body) {
        // Long header lines are for the next relay to judge; they are folded by whoever makes them.
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let kind = field(header, "content-type").unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let label = field(header, "content-transfer-encoding").unwrap_or_default();
    let label = label.split(['(', ';']).next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(label.as_str(), "" | "7bit" | "8bit" | "binary") {
        return Err(Unfit::Mislabelled);
    }
    match media.as_str() {
        "multipart/signed" | "multipart/encrypted" => return Err(Unfit::Sealed),
        "message/rfc822" | "message/global" => {
            relabelled(header, "7bit", out);
            return entity(body, needs, Place::Message, depth + 1, out);
        }
        _ if media.starts_with("multipart/") => {
            let boundary = parameter(&kind, "boundary").ok_or(Unfit::Composite)?;
            relabelled(header, "7bit", out);
            return multipart(body, &boundary, needs, depth, out);
        }
        _ if media.starts_with("message/") => return Err(Unfit::Composite),
        _ => {}
    }
    let is_text = media.is_empty() || media.starts_with("text/") || !media.contains('/');
    let encoding = if is_text { "quoted-printable" } else { "base64" };
    let mut added = String::new();
    if place == Place::Message && field(header, "mime-version").is_none() {
        added.push_str("MIME-Version: 1.0\r\n");
    }
    if media.is_empty() {
        // RFC 1428 section 3 for what is of no known character set.
        let charset = match std::str::from_utf8(body) {
            Ok(text) if text.is_ascii() => "us-ascii",
            Ok(_) => "utf-8",
            Err(_) => "unknown-8bit",
        };
        added.push_str(&format!("Content-Type: text/plain; charset={charset}\r\n"));
    }
    relabelled_with(header, encoding, &added, out);
    if is_text {
        quoted_printable(body, out);
    } else {
        base64(body, out);
    }
    Ok(())
}

/// The parts between the delimiter lines (RFC 2046 section 5.1.1). What stands before the first and behind the last means
/// nothing; its 8-bit octets become question marks.
fn multipart(
    body: &[u8],
    boundary: &str,
    needs: Needs,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut found = false;
    let mut inside = false;
    let mut start = 0;
    for Range { start: from, end: to } in lines(body) {
        let line = body[from..to].trim_ascii_end();
        let Some(rest) = line.strip_prefix(delimiter.as_slice()) else { continue };
        if !rest.is_empty() && rest != b"--" {
            continue;
        }
        // The CR LF in front of a delimiter is part of it.
        let end = if from >= start + 2 { from - 2 } else { start };
        between(&body[start..end], inside, needs, depth, out)?;
        out.extend_from_slice(&body[end..to]);
        (start, inside, found) = (to, rest.is_empty(), true);
    }
    if !found {
        return Err(Unfit::Composite);
    }
    between(&body[start..], inside, needs, depth, out)
}

fn between(piece: &[u8], is_part: bool, needs: Needs, depth: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
    if is_part {
        return entity(piece, needs, Place::Part, depth + 1, out);
    }
    out.extend(piece.iter().map(|octet| if needs.seven_bit && !octet.is_ascii() { b'?' } else { *octet }));
    Ok(())
}

/// The fields of a header: each with its continuation lines and its end.
fn fields(header: &[u8]) -> Vec<&[u8]> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for Range { start: from, end: to } in lines(header) {
        match found.last_mut() {
            Some(last) if matches!(header[from], b' ' | b'\t') => last.1 = to,
            _ => found.push((from, to)),
        }
    }
    found.into_iter().map(|(from, to)| &header[from..to]).collect()
}

fn is_named(field: &[u8], name: &str) -> bool {
    let colon = field.iter().position(|octet| *octet == b':');
    colon.is_some_and(|colon| field[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()))
}

fn relabelled(header: &[u8], encoding: &str, out: &mut Vec<u8>) {
    // What was never labelled was 7-bit by default, and is so again.
    if field(header, "content-transfer-encoding").is_none() {
        out.extend_from_slice(header);
    } else {
        relabelled_with(header, encoding, "", out);
    }
}

/// The header with another label, and with lines added in front of the empty line.
fn relabelled_with(header: &[u8], encoding: &str, added: &str, out: &mut Vec<u8>) {
    for field in fields(header) {
        if field != b"\r\n" && !is_named(field, "content-transfer-encoding") {
            out.extend_from_slice(field);
        }
    }
    out.extend_from_slice(added.as_bytes());
    out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n\r\n").as_bytes());
}

#[cfg(test)]
#[path = "seven_bit/tests.rs"]
mod tests;
