//! Headers of messages that are enclosed in a message (RFC 2046 section 5.2.1), for channels with `inner`.
//!
//! # Invariants
//! The places are in order, do not overlap, and lie within the octets. No octets make this panic, and the work is bounded by
//! [`DEPTH_MAX`] times their number.
//! # Not here
//! Decoding: an enclosed message that is encoded is left alone, as RFC 2046 forbids it to be.

use std::ops::Range;

use sluice_mail::header;

use super::HEADER_OCTETS_MAX;

/// How deep parts are looked into.
const DEPTH_MAX: u32 = 8;
/// So many enclosed headers are looked at.
const HEADERS_MAX: usize = 100;

/// What a part is made of, as far as it matters here.
enum Content {
    Message,
    Multipart { boundary: Vec<u8>, digest: bool },
    Other,
}

/// Where the headers of enclosed messages stand, in the beginning of a message or in all of it. `header` is the length of
/// the message's own header, without the empty line.
pub fn enclosed_headers(octets: &[u8], header: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if header <= octets.len() {
        look_into(octets, 0..header, octets.len(), false, DEPTH_MAX, &mut found);
    }
    found
}

/// Looks at the entity whose header stands at `header` and that ends at `end`. `digest`: it is a message unless it says
/// otherwise (RFC 2046 section 5.1.5).
fn look_into(
    octets: &[u8],
    header: Range<usize>,
    end: usize,
    digest: bool,
    depth: u32,
    found: &mut Vec<Range<usize>>,
) {
    let body = header.end + 2;
    if depth == 0 || body > end || found.len() >= HEADERS_MAX {
        return;
    }
    match content(&octets[header], digest) {
        Content::Other => {}
        Content::Message => {
            let Some(length) = header::end(&octets[body..end]) else { return };
            if length <= HEADER_OCTETS_MAX {
                found.push(body..body + length);
                look_into(octets, body..body + length, end, false, depth - 1, found);
            }
        }
        Content::Multipart { boundary, digest } => {
            for part in parts(octets, body..end, &boundary) {
                if let Some(length) = header::end(&octets[part.clone()]) {
                    look_into(octets, part.start..part.start + length, part.end, digest, depth - 1, found);
                }
            }
        }
    }
}

/// The parts between lines that begin with two hyphens and the boundary. The last one may be without its end.
fn parts(octets: &[u8], body: Range<usize>, boundary: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut begun = None;
    let mut line = body.start;
    while line < body.end {
        let length = octets[line..body.end].iter().position(|octet| *octet == b'\n');
        let next = length.map_or(body.end, |length| line + length + 1);
        let delimiter = octets[line..next].strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary));
        if let Some(rest) = delimiter {
            let last = rest.starts_with(b"--");
            if last || rest.trim_ascii().is_empty() {
                parts.extend(begun.take().map(|start| start..line));
                if last {
                    return parts;
                }
                begun = Some(next);
            }
        }
        line = next;
    }
    parts.extend(begun.map(|start| start..body.end));
    parts
}

fn content(header: &[u8], digest: bool) -> Content {
    let mut kind = if digest { Content::Message } else { Content::Other };
    for found in header::fields(header) {
        let body = &header[found.body];
        if found.name.eq_ignore_ascii_case(b"content-type") {
            kind = content_type(body);
        }
        let encoded = || {
            let value = body.trim_ascii();
            !["7bit", "8bit", "binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain.as_bytes()))
        };
        if found.name.eq_ignore_ascii_case(b"content-transfer-encoding") && encoded() {
            return Content::Other;
        }
    }
    kind
}

fn content_type(body: &[u8]) -> Content {
    let mut words = body.split(|octet| *octet == b';');
    let kind = words.next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if kind == b"message/rfc822" || kind == b"message/global" {
        return Content::Message;
    }
    if !kind.starts_with(b"multipart/") {
        return Content::Other;
    }
    let boundary = parameter(body, b"boundary").filter(|boundary| !boundary.is_empty());
    boundary.map_or(Content::Other, |boundary| Content::Multipart {
        boundary,
        digest: kind == b"multipart/digest",
    })
}

/// The value of a parameter: a token, or a quoted string without its quotes.
fn parameter(body: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0;
    let mut quoted = false;
    while at < body.len() {
        match body[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                let rest = body[at + 1..].trim_ascii_start();
                let value = rest
                    .get(..name.len())
                    .filter(|word| word.eq_ignore_ascii_case(name))
                    .and_then(|_| rest[name.len()..].trim_ascii_start().strip_prefix(b"="));
                if let Some(value) = value {
                    return Some(unquoted(value.trim_ascii_start()));
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inside) = value.strip_prefix(b"\"") else {
        let end = value.iter().position(|octet| octet.is_ascii_whitespace() || matches!(octet, b';' | b'('));
        return value[..end.unwrap_or(value.len())].to_vec();
    };
    let mut out = Vec::new();
    let mut octets = inside.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => break,
            b'\\' => out.extend(octets.next()),
            b'\r' | b'\n' => {}
            octet => out.push(*octet),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The enclosed headers, a bar between them.
    fn enclosed(message: &str) -> String {
        let wire = message.replace('\n', "\r\n");
        let header = header::end(wire.as_bytes()).unwrap_or(wire.len());
        let found = enclosed_headers(wire.as_bytes(), header);
        found.into_iter().map(|place| wire[place].replace("\r\n", "\n")).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn messages_in_messages_are_found() {
        assert_eq!(enclosed("Content-Type: text/plain\n\nTo: a\n\nb\n"), "");
        assert_eq!(
            enclosed("content-type : MESSAGE/RFC822; x=y\n\nTo: a\nFrom: b\n\nc\n"),
            "To: a\nFrom: b\n"
        );
        assert_eq!(
            enclosed("Content-Type: message/rfc822\n\nTo: a\nContent-Type: message/rfc822\n\nTo: b\n\nc\n"),
            "To: a\nContent-Type: message/rfc822\n|To: b\n"
        );
        assert_eq!(
            enclosed("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nTo: a\n\nb\n"),
            ""
        );
        assert_eq!(
            enclosed("Content-Type: message/rfc822\nContent-Transfer-Encoding: 8BIT\n\nTo: a\n\nb\n"),
            "To: a\n"
        );
        // Its end has not come.
        assert_eq!(enclosed("Content-Type: message/rfc822\n\nTo: a\n"), "");
    }

    #[test]
    fn parts_are_looked_into() {
        let mixed = "Content-Type: multipart/mixed; charset=\"x; boundary=no\";\n\tBoundary = \"a b\\\"c\"\n\npreamble\n--a b\"c\n\
            Content-Type: text/plain\n\nTo: not this\n--a b\"cd\n--a b\"c  \nContent-Type: message/rfc822\n\nTo: x\n\nbody\n--a b\"c\n\
            Content-Type: multipart/digest; boundary=d\n\n--d\n\nTo: y\n\nbody\n--d\nContent-Type: text/plain\n\nTo: no\n\n--d\n\nTo: z\n\n\
            --d--\n--a b\"c--\n--a b\"c\nContent-Type: message/rfc822\n\nTo: behind the end\n\n";
        assert_eq!(enclosed(mixed), "To: x\n|To: y\n|To: z\n");
        assert_eq!(
            enclosed("Content-Type: multipart/mixed\n\n--\nContent-Type: message/rfc822\n\nTo: x\n\n"),
            ""
        );
        // The last part without its end, and a header without its end.
        assert_eq!(
            enclosed(
                "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nTo: x\n\ny"
            ),
            "To: x\n"
        );
        assert_eq!(
            enclosed("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n"),
            ""
        );
    }

    #[test]
    fn depth_and_number_are_limited() {
        let deep = "Content-Type: message/rfc822\n\n".repeat(50) + "To: a\n\n";
        assert_eq!(enclosed(&deep).matches('|').count() + 1, DEPTH_MAX as usize);
        let wide =
            "Content-Type: multipart/digest; boundary=b\n\n".to_owned() + &"--b\n\nTo: a\n\nx\n".repeat(300);
        assert_eq!(enclosed(&wide).matches('|').count() + 1, HEADERS_MAX);
        assert_eq!(enclosed_headers(b"Content-Type: message/rfc822\r\n", 30), Vec::<Range<usize>>::new());
        assert_eq!(enclosed_headers(b"", 5), Vec::<Range<usize>>::new());
    }
}
