//! MIME as far as messages are taken apart and put together here: the label of an entity, its parts, and pieces of messages
//! (RFC 2045, RFC 2046).
//!
//! Places are ranges of the octets that were given, so that what is not changed stays as it was.
//!
//! # Invariants
//! No octets make anything here panic.
//! # Not here
//! Encodings of bodies ([`crate::encoding`]), texts and charsets.

use std::ops::Range;

use crate::header;

/// Longest `id` of a piece: a line's length.
const PARTIAL_ID_MAX: usize = 998;

/// Header and body of an entity; the empty line between them belongs to the header.
pub fn split(entity: &[u8]) -> (&[u8], &[u8]) {
    if entity.starts_with(b"\r\n") {
        return entity.split_at(2);
    }
    let end = memchr::memmem::find(entity, b"\r\n\r\n").map_or(entity.len(), |at| at + 4);
    entity.split_at(end)
}

/// Where each line begins, and where the next one does.
pub fn lines(octets: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= octets.len() {
            return None;
        }
        let end = memchr::memmem::find(&octets[start..], b"\r\n").map_or(octets.len(), |at| start + at + 2);
        let line = start..end;
        start = end;
        Some(line)
    })
}

/// The value of the first field of that name, unfolded and without blanks around it.
pub fn field(header: &[u8], name: &str) -> Option<String> {
    let field = header::fields(header).find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(String::from_utf8_lossy(&header[field.body]).replace("\r\n", "").trim().to_owned())
}

/// What `Content-Transfer-Encoding` says, in lower case; empty when it says nothing.
pub fn encoding(header: &[u8]) -> String {
    let value = field(header, "content-transfer-encoding").unwrap_or_default();
    value.split(['(', ';']).next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The label of an entity: `Content-Type` (RFC 2045 section 5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentType {
    /// Type and subtype in lower case, such as `text/plain`; empty when there is no label.
    pub media: String,
    /// All of the field's value.
    pub value: String,
}

impl ContentType {
    /// The label in a header.
    pub fn of(header: &[u8]) -> ContentType {
        let value = field(header, "content-type").unwrap_or_default();
        let media = value.split([';', '(']).next().unwrap_or_default();
        let media: String = media.chars().filter(|letter| !letter.is_whitespace()).collect();
        ContentType { media: media.to_ascii_lowercase(), value }
    }

    /// A parameter, quoted or not; the name without regard to letter case. An empty one is none.
    pub fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.value, name)
    }
}

/// A parameter behind the first `;` of a field's value (RFC 2045 section 5.1).
pub fn parameter(value: &str, name: &str) -> Option<String> {
    parameters(value)
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, text)| text)
        .filter(|text| !text.is_empty())
}

/// All parameters behind the first `;` of a field's value, up to one that cannot be read.
pub fn parameters(value: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = value.find(';').map(|at| &value[at + 1..]);
    std::iter::from_fn(move || {
        let (key, behind) = rest.take()?.split_once('=')?;
        let behind = behind.trim_start();
        let (text, after) = match behind.strip_prefix('"') {
            Some(quoted) => {
                let mut text = String::new();
                let mut letters = quoted.char_indices();
                let end = loop {
                    match letters.next()? {
                        (_, '\\') => text.extend(letters.next().map(|(_, letter)| letter)),
                        (at, '"') => break at + 1,
                        (_, letter) => text.push(letter),
                    }
                };
                (text, &quoted[end..])
            }
            None => {
                let end = behind.find([';', ' ', '\t', '(']).unwrap_or(behind.len());
                (behind[..end].to_owned(), &behind[end..])
            }
        };
        rest = after.find(';').map(|at| &after[at + 1..]);
        Some((key.trim(), text))
    })
}

/// The parts of a multipart body, each with its header: what stands between its delimiter lines (RFC 2046 section 5.1.1). `None`
/// when there is no delimiter. A part whose end is missing ends with the body.
pub fn parts(body: &[u8], boundary: &str) -> Option<Vec<Range<usize>>> {
    let mut found = Vec::new();
    let mut start = None;
    let mut any = false;
    for line in lines(body) {
        let Some(is_last) = delimiter(&body[line.clone()], boundary) else { continue };
        any = true;
        if let Some(start) = start.take() {
            // The CR LF in front of a delimiter is part of it.
            found.push(start..line.start.saturating_sub(2).max(start));
        }
        if is_last {
            return Some(found);
        }
        start = Some(line.end);
    }
    if let Some(start) = start {
        found.push(start..body.len());
    }
    any.then_some(found)
}

/// Whether a line is a delimiter with this boundary; if so, whether it is the last one.
fn delimiter(line: &[u8], boundary: &str) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary.as_bytes())?;
    match rest.trim_ascii_end() {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

/// What a piece of a message says of itself: `message/partial` (RFC 2046 section 5.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// The same in all pieces of a message, and in no other message of the sender.
    pub id: String,
    /// From 1 on.
    pub number: u32,
    /// How many there are; the last piece has it, others may.
    pub total: Option<u32>,
}

impl Partial {
    /// What the header of a message says; `None` when it is no piece, or cannot be one.
    pub fn of(header: &[u8]) -> Option<Partial> {
        let label = ContentType::of(header);
        if label.media != "message/partial" {
            return None;
        }
        let number = |name: &str| {
            let text = label.parameter(name)?;
            let digits = text.bytes().all(|octet| octet.is_ascii_digit());
            digits.then(|| text.parse::<u32>().unwrap_or(u32::MAX))
        };
        let total = match label.parameter("total") {
            None => None,
            Some(_) => Some(number("total")?),
        };
        let (id, number) = (label.parameter("id")?, number("number")?);
        let fits = number >= 1 && total.is_none_or(|total| number <= total) && id.len() <= PARTIAL_ID_MAX;
        fits.then_some(Partial { id, number, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let label = ContentType::of(
            b"A: b\r\ncontent-type: Text / PLAIN (what)\r\n ; charset=\"a\\\"b\"; x=y (z)\r\n\r\n",
        );
        assert_eq!(label.media, "text/plain");
        assert_eq!(label.parameter("CharSet").as_deref(), Some("a\"b"));
        assert_eq!((label.parameter("x").as_deref(), label.parameter("z")), (Some("y"), None));
        assert_eq!(ContentType::of(b"A: b\r\n\r\n"), ContentType::default());
        assert_eq!(encoding(b"Content-Transfer-Encoding: BASE64 (x)\r\n\r\n"), "base64");
        let all: Vec<_> = parameters("a/b; c=d; e=\"f;g\"; h").collect();
        assert_eq!(all, [("c", "d".to_owned()), ("e", "f;g".to_owned())]);
    }

    #[test]
    fn the_parts_of_a_body() {
        let texts = |body: &[u8]| {
            let parts = parts(body, "b")?;
            Some(
                parts
                    .into_iter()
                    .map(|part| String::from_utf8_lossy(&body[part]).into_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let body =
            b"before\r\n--b \r\nA: b\r\n\r\none\r\n--bb\r\n\r\n--b\r\ntwo\r\n--b--\r\nafter\r\n--b\r\n";
        assert_eq!(texts(body).unwrap(), ["A: b\r\n\r\none\r\n--bb\r\n", "two"]);
        assert_eq!(texts(b"--b\r\n--b\r\nx").unwrap(), ["", "x"]);
        assert_eq!(texts(b"--b--\r\n").unwrap().len(), 0);
        assert_eq!(texts(b"nothing\r\n"), None);
    }

    #[test]
    fn pieces() {
        let of =
            |value: &str| Partial::of(format!("Content-Type: message/partial; {value}\r\n\r\n").as_bytes());
        assert_eq!(
            of("id=\"a b@c\"; number=2; total=3"),
            Some(Partial { id: "a b@c".into(), number: 2, total: Some(3) })
        );
        assert_eq!(of("number=1;\r\n id=x").unwrap().total, None);
        for bad in [
            "number=1",
            "id=x",
            "id=x; number=0",
            "id=x; number=4; total=3",
            "id=x; number=one",
            "id=x; number=-1",
            "id=x; number=1; total=many",
            "id=x; number=99999999999999; total=3",
            "id=\"\"; number=1",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(Partial::of(b"Content-Type: message/rfc822; id=x; number=1\r\n\r\n"), None);
        assert_eq!(of(&format!("id={}; number=1", "x".repeat(2000))), None);
    }
}
