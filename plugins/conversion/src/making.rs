//! What a part becomes: its header, its body in an encoding that fits, and the message with it in its place.
//!
//! # Invariants
//! What programs and rules give is never more than it says: a text is one value of one field, a header has `Content-` fields only, and no line
//! of a body is taken for the boundary of a multipart around it. Whatever is not replaced keeps its octets.

use std::fmt::Write as _;
use std::ops::Range;

use sluice_mail::encoding::{base64, quoted_printable};
use sluice_mail::header;
use sluice_mail::mime::parameters;

use crate::entity::{Leaf, Parts};
use crate::rules::{Asked, Rule};
use crate::told::{Told, is_token};

/// Octets of a header line (RFC 5322 section 2.1.1), and of a line of a body that is not encoded.
const LINE_MAX: usize = 998;
/// Octets of a piece of a parameter.
const PIECE_MAX: usize = 700;

/// What a part is to become. `None` keeps what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Label {
    content_type: Option<String>,
    disposition: Option<String>,
    description: Option<String>,
    encoding: Option<String>,
    /// Type and subtype that it then has.
    pub(crate) kind: (String, String),
    /// What the program wrote is lines, not octets.
    pub(crate) is_text: bool,
    /// Somebody has said which of the two it is.
    has_mode: bool,
    /// A new description is left out, since it is not in ASCII.
    pub(crate) lost_description: bool,
    /// The program's own fields in the place of all that begin with `Content-`.
    fields: Option<Vec<String>>,
}

/// A field with its parameters.
fn with_parameters(word: &str, given: &[(String, String)]) -> String {
    let mut value = word.to_owned();
    for (name, text) in given {
        // What has an asterisk is coded already.
        let is_short = name.contains('*') || text.len() <= PIECE_MAX;
        let written = match text {
            text if is_token(text) && is_short => format!("{name}={text}"),
            text if text.is_ascii() && is_short => {
                format!("{name}=\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            text => in_pieces(name.trim_end_matches('*'), text),
        };
        if written.split("\r\n").all(|line| line.len() < LINE_MAX - 20) {
            let _ = write!(value, ";\r\n\t{written}");
        }
    }
    value
}

/// A parameter whose text other characters are written in, in as many pieces as its length needs (RFC 2231 sections 3 and 4).
fn in_pieces(name: &str, text: &str) -> String {
    let mut pieces = vec![String::new()];
    for octet in text.bytes() {
        let unit = match octet.is_ascii_alphanumeric() || b"-._".contains(&octet) {
            true => char::from(octet).to_string(),
            false => format!("%{octet:02X}"),
        };
        match pieces.last_mut().filter(|piece| piece.len() + unit.len() <= PIECE_MAX) {
            Some(piece) => piece.push_str(&unit),
            None => pieces.push(unit),
        }
    }
    match &pieces[..] {
        [whole] => format!("{name}*=utf-8''{whole}"),
        _ => {
            let pieces = pieces.iter().enumerate().map(|(number, piece)| {
                let charset = if number == 0 { "utf-8''" } else { "" };
                format!("{name}*{number}*={charset}{piece}")
            });
            pieces.collect::<Vec<_>>().join(";\r\n\t")
        }
    }
}

/// The parameters that a field keeps, and those that it gets. `None`: all that it has, and no others.
fn parameters_of(
    rule: &Rule,
    field: &str,
    copy: &str,
    given: &str,
    filled: &dyn Fn(&str) -> String,
) -> Option<Vec<(String, String)>> {
    let copied: Vec<&str> = rule.numbered(copy).map(|(_, name)| name).collect();
    let mut fresh: Vec<(String, String)> = Vec::new();
    for (number, name) in rule.numbered(&format!("{given}name-")) {
        let value = rule.get(&format!("{given}value-{number}")).map(filled).unwrap_or_default();
        fresh.push((name.to_ascii_lowercase(), value));
    }
    let all = copied.contains(&"*");
    if all && fresh.is_empty() {
        return None;
    }
    let is_wanted = |name: &str| all || copied.iter().any(|one| one.eq_ignore_ascii_case(name));
    let kept = parameters(field).filter(|(name, _)| {
        is_wanted(name) && is_token(name) && !fresh.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    });
    let mut all: Vec<(String, String)> = kept.map(|(name, value)| (name.to_owned(), value)).collect();
    all.extend(fresh);
    Some(all)
}

impl Label {
    /// What the entry and the program say. `filled` puts values in the place of symbols.
    pub(crate) fn of(rule: &Rule, told: &Told, asked: &Asked<'_>, filled: &dyn Fn(&str) -> String) -> Label {
        let word = |name: &str| rule.get(name).map(filled).filter(|text| is_token(text));
        let said_kind = told.kind.clone().or_else(|| word("out-type"));
        let said_subtype = told.subtype.clone().or_else(|| word("out-subtype"));
        let (old_kind, old_subtype) = asked.leaf.kind.clone();
        let is_new = said_kind.is_some() || said_subtype.is_some();
        let kind = (
            said_kind.unwrap_or(old_kind).to_ascii_lowercase(),
            said_subtype.unwrap_or(old_subtype).to_ascii_lowercase(),
        );
        let has = |stem: &str| rule.numbered(stem).next().is_some();
        let field = asked.field("content-type");
        let content_type = (is_new || has("out-parameter-name-") || has("parameter-copy-")).then(|| {
            match parameters_of(rule, &field, "parameter-copy-", "out-parameter-", filled) {
                Some(all) => Some(all),
                None if is_new => Some(
                    parameters(&field)
                        .filter(|(name, _)| is_token(name))
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                ),
                None => None,
            }
        });
        let content_type =
            content_type.flatten().map(|all| with_parameters(&format!("{}/{}", kind.0, kind.1), &all));
        let disposition = Label::disposition(rule, told, asked, filled);
        let description = told.description.clone().or_else(|| rule.get("out-description").map(filled));
        let lost_description = description.as_ref().is_some_and(|text| !text.is_ascii());
        let description = description.filter(|text| text.is_ascii());
        let encoding =
            told.encoding.clone().or_else(|| word("out-encoding")).map(|name| name.to_ascii_lowercase());
        let mode = told.mode.clone().or_else(|| word("out-mode")).map(|name| name.to_ascii_lowercase());
        let has_mode = mode.is_some();
        let is_wide = is_wide(content_type.as_deref().unwrap_or(&field));
        let is_text = mode.map_or(kind.0 == "text" && !is_wide, |mode| mode == "text");
        // What has lines of its own, whatever the program says.
        let is_text = is_text || is_composite(&kind.0);
        Label {
            content_type,
            disposition,
            description,
            encoding,
            kind,
            is_text,
            has_mode,
            lost_description,
            fields: None,
        }
    }

    fn disposition(
        rule: &Rule,
        told: &Told,
        asked: &Asked<'_>,
        filled: &dyn Fn(&str) -> String,
    ) -> Option<String> {
        let said = rule.get("out-disposition").map(filled).filter(|text| is_token(text));
        let said = told.disposition.clone().or(said);
        let has = |stem: &str| rule.numbered(stem).next().is_some();
        if said.is_none() && !has("out-dparameter-name-") && !has("dparameter-copy-") {
            return None;
        }
        let field = asked.field("content-disposition");
        let old = asked.disposition();
        let all = parameters_of(rule, &field, "dparameter-copy-", "out-dparameter-", filled);
        if said.is_none() && (all.is_none() || (old.is_empty() && !has("out-dparameter-name-"))) {
            return None;
        }
        let all = all.unwrap_or_else(|| {
            parameters(&field)
                .filter(|(name, _)| is_token(name))
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        });
        let word = said.unwrap_or(if old.is_empty() { "attachment".to_owned() } else { old });
        is_token(&word).then(|| with_parameters(&word, &all))
    }

    /// Takes the fields that the program has written. Gives those that are no `Content-` fields, or cannot be fields.
    pub(crate) fn take_fields(&mut self, written: &[u8]) -> Vec<String> {
        let mut text = String::from_utf8_lossy(written).replace("\r\n", "\n").replace('\n', "\r\n");
        if !text.ends_with("\r\n") {
            text.push_str("\r\n");
        }
        let end = header::end(text.as_bytes()).unwrap_or(text.len());
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for field in header::fields(&text.as_bytes()[..end]) {
            let (name, whole) = (String::from_utf8_lossy(field.name), &text[field.place.clone()]);
            let name = name.to_ascii_lowercase();
            let fits = is_token(&name)
                && name.starts_with("content-")
                && whole.is_ascii()
                && whole.split("\r\n").all(|line| {
                    line.len() <= LINE_MAX
                        && !line.bytes().any(|octet| octet.is_ascii_control() && octet != b'\t')
                })
                && !text[field.body.clone()].trim().is_empty()
                && !whole[..whole.len() - 2].split("\r\n").any(|line| line.trim().is_empty());
            match fits {
                true if name == "content-transfer-encoding" || name == "content-length" => {}
                true => {
                    if name == "content-type" {
                        let said = sluice_mail::mime::ContentType::of(whole.as_bytes());
                        if let Some((kind, subtype)) = said.media.split_once('/') {
                            let was_text = self.kind.0 == "text";
                            self.kind = (kind.to_owned(), subtype.to_owned());
                            if was_text && kind == "text" && !self.has_mode {
                                self.is_text = !is_wide(&text[field.body.clone()]);
                            }
                            self.is_text |= is_composite(kind);
                        }
                    }
                    good.push(whole.to_owned());
                }
                false if bad.len() < 5 => bad.push(crate::told::bounded(whole, 80)),
                false => {}
            }
        }
        self.fields = Some(good);
        bad
    }

    /// Whether the part keeps its header.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.content_type.is_none()
            && self.disposition.is_none()
            && self.description.is_none()
            && self.encoding.is_none()
            && self.fields.is_none()
    }

    /// The part anew: its header with other labels, and the content in an encoding that fits.
    ///
    /// # Errors
    /// A multipart or a message, which may not be encoded, that would have to be.
    pub(crate) fn entity(
        &self,
        message: &[u8],
        leaf: &Leaf,
        content: Vec<u8>,
        boundaries: &[&str],
    ) -> Result<Vec<u8>, &'static str> {
        let content = if self.is_text { with_line_ends(&content) } else { content };
        let encoding = self.encoding_of(&content, boundaries)?;
        let old = &message[leaf.header.clone()];
        let old = old
            .strip_suffix(b"\r\n")
            .filter(|rest| rest.is_empty() || rest.ends_with(b"\r\n"))
            .unwrap_or(old);
        let mut out = Vec::with_capacity(old.len() + content.len() * 3 / 2);
        let put = |name: &str, value: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        };
        let replaced: [(&str, Option<&str>); 4] = [
            ("Content-Type", self.content_type.as_deref()),
            ("Content-Disposition", self.disposition.as_deref()),
            ("Content-Description", self.description.as_deref()),
            ("Content-Transfer-Encoding", Some(encoding)),
        ];
        let mut done = [false; 4];
        for field in header::fields(old) {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
            // They told of the content that was.
            let is_stale = is("Content-MD5") || is("Content-Length");
            let is_content = field.name.to_ascii_lowercase().starts_with(b"content-");
            if is_stale || (is_content && self.fields.is_some()) {
                continue;
            }
            let known = replaced.iter().position(|(name, value)| value.is_some() && is(name));
            match known.and_then(|index| Some((index, replaced[index].0, replaced[index].1?))) {
                Some((index, name, value)) => {
                    if !std::mem::replace(&mut done[index], true) {
                        put(name, value, &mut out);
                    }
                }
                None => out.extend_from_slice(&old[field.place]),
            }
        }
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        for field in self.fields.iter().flatten() {
            out.extend_from_slice(field.as_bytes());
        }
        for (index, (name, value)) in replaced.iter().enumerate() {
            let is_wanted = !done[index] && (self.fields.is_none() || index == 3);
            // What says nothing of its encoding is 7-bit.
            let is_said = index == 3 && *value == Some("7bit");
            if let Some(value) = value.filter(|_| is_wanted && !is_said) {
                put(name, value, &mut out);
            }
        }
        let is_top = leaf.header == leaf.message;
        if is_top && sluice_mail::mime::field(&out, "mime-version").is_none() {
            put("MIME-Version", "1.0", &mut out);
        }
        out.extend_from_slice(b"\r\n");
        match encoding {
            "base64" => {
                base64(&content, &mut out);
                if leaf.multipart.is_some() && out.ends_with(b"\r\n") {
                    // The end of the last line belongs to the boundary.
                    out.truncate(out.len() - 2);
                }
            }
            "quoted-printable" => quoted_printable(&content, &mut out),
            _ => out.extend_from_slice(&content),
        }
        Ok(out)
    }

    fn encoding_of(&self, content: &[u8], boundaries: &[&str]) -> Result<&'static str, &'static str> {
        let has_boundary = has_boundary(content, boundaries);
        // Its lines are others than those of the content.
        let can_be_quoted = || {
            let mut lines = Vec::new();
            quoted_printable(content, &mut lines);
            !self::has_boundary(&lines, boundaries)
        };
        let fits = !has_boundary && are_lines(content);
        let identity = if content.is_ascii() { "7bit" } else { "8bit" };
        if is_composite(&self.kind.0) {
            return fits
                .then_some(identity)
                .ok_or("a multipart or a message has lines that need an encoding");
        }
        Ok(match self.encoding.as_deref() {
            Some("base64") => "base64",
            Some("quoted-printable") if can_be_quoted() => "quoted-printable",
            Some("none" | "8bit") if fits => identity,
            Some("7bit") if fits && content.is_ascii() => identity,
            _ if has_boundary || !self.is_text => "base64",
            _ if fits && content.is_ascii() => identity,
            _ if can_be_quoted() => "quoted-printable",
            _ => "base64",
        })
    }
}

/// Whether a line would be taken for the boundary of a multipart.
fn has_boundary(lines: &[u8], boundaries: &[&str]) -> bool {
    lines
        .split(|octet| *octet == b'\n')
        .filter_map(|line| line.strip_prefix(b"--"))
        .any(|rest| boundaries.iter().any(|boundary| rest.starts_with(boundary.as_bytes())))
}

/// Whether the octets can go over the wire as they are.
fn are_lines(content: &[u8]) -> bool {
    let mut rest = content;
    loop {
        let (line, behind) = match rest.windows(2).position(|pair| pair == b"\r\n") {
            Some(at) => (&rest[..at], Some(&rest[at + 2..])),
            None => (rest, None),
        };
        if line.len() > LINE_MAX || line.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
            return false;
        }
        match behind {
            Some(behind) => rest = behind,
            None => return true,
        }
    }
}

/// Lines with CR LF at their ends, whatever they had.
fn with_line_ends(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 32);
    for &octet in content {
        if octet == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(octet);
    }
    out
}

/// Lines as programs of this system have them.
pub(crate) fn without_carriage_returns(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for &octet in content {
        if octet == b'\n' && out.last() == Some(&b'\r') {
            out.pop();
        }
        out.push(octet);
    }
    out
}

/// Whether a Content-Type tells of units of several octets, in which an octet that looks like a line end may be half of something else.
fn is_wide(field: &str) -> bool {
    let charset = parameters(field).find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    let charset = charset.map(|(_, value)| value.to_ascii_lowercase()).unwrap_or_default();
    let names = ["utf-16", "utf-32", "ucs-", "iso-10646-ucs"];
    names.iter().any(|wide| charset.starts_with(wide))
}

/// Whether the content of a part is lines.
pub(crate) fn is_lines(asked: &Asked<'_>) -> bool {
    asked.leaf.kind.0 == "text" && !is_wide(&asked.field("content-type"))
}

/// Whether something of this type may not be encoded (RFC 2045 section 6.4).
fn is_composite(kind: &str) -> bool {
    matches!(kind, "multipart" | "message")
}

/// What a part is replaced by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Made {
    Entity(Vec<u8>),
    Gone,
}

/// The message with these parts in the place of its own; numbers are those of leaves, in order.
pub(crate) fn message(message: &[u8], parts: &Parts, made: &[(usize, Made)]) -> Vec<u8> {
    let mut left: Vec<usize> = parts.multiparts.iter().map(|multipart| multipart.count).collect();
    let mut places: Vec<(Range<usize>, &[u8])> = Vec::with_capacity(made.len());
    let mut empty: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    for (index, made) in made {
        let leaf = &parts.leaves[*index];
        match made {
            Made::Entity(entity) => places.push((leaf.header.start..leaf.body.end, entity)),
            Made::Gone => match leaf.multipart {
                Some(multipart) if left[multipart] > 1 && leaf.header != leaf.message => {
                    left[multipart] -= 1;
                    places.push((with_delimiter(message, leaf), b""));
                }
                _ => empty.push((leaf.header.start..leaf.body.end, emptied(message, leaf))),
            },
        }
    }
    places.extend(empty.iter().map(|(place, entity)| (place.clone(), entity.as_slice())));
    places.sort_by_key(|(place, _)| place.start);
    let mut out = Vec::with_capacity(message.len());
    let mut at = 0;
    for (place, entity) in places {
        out.extend_from_slice(&message[at..place.start.max(at)]);
        if !entity.is_empty() && !out.is_empty() && !out.ends_with(b"\r\n") {
            // The message was cut off behind a delimiter.
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(entity);
        if !entity.is_empty() && message[place.end..].starts_with(b"--") && !out.ends_with(b"\r\n") {
            // There was nothing between two delimiters.
            out.extend_from_slice(b"\r\n");
        }
        at = place.end.max(at);
    }
    out.extend_from_slice(&message[at..]);
    if !out.ends_with(b"\r\n") {
        // A message in wire form ends with a line end, whatever its last part has.
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A part with the delimiter line in front of it and the line end in front of the next one.
fn with_delimiter(message: &[u8], leaf: &Leaf) -> Range<usize> {
    let in_front =
        message[..leaf.header.start].strip_suffix(b"\r\n").unwrap_or(&message[..leaf.header.start]);
    let start = in_front.windows(2).rposition(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
    let end = match message[leaf.body.end..].starts_with(b"\r\n") {
        true => leaf.body.end + 2,
        false => leaf.body.end,
    };
    start..end
}

/// A part that must be there, with nothing in it: an empty text.
fn emptied(message: &[u8], leaf: &Leaf) -> Vec<u8> {
    let old = &message[leaf.header.clone()];
    let mut out = Vec::new();
    for field in header::fields(old) {
        let is_content = field.name.to_ascii_lowercase().starts_with(b"content-");
        if !is_content && field.name != b"" {
            out.extend_from_slice(&old[field.place]);
        }
    }
    out.extend_from_slice(b"Content-Type: text/plain; charset=us-ascii\r\n\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*, so that every run is the same.
    fn below(state: &mut u64, limit: usize) -> usize {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }

    const MESSAGE: &[u8] = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\npre\r\n--a\r\n\r\none\r\n--a\r\n\
        Content-Type: multipart/digest; boundary=\"b\"\r\n\r\n--b\r\n\r\nSubject: y\r\n\r\ntwo\r\n--b--\r\n\r\n--a\r\n\
        Content-Type: message/rfc822\r\n\r\nContent-Type: image/gif; name=\"x\"\r\nContent-Transfer-Encoding: base64\r\n\r\nYWJj\r\n--a--\r\npost\r\n";

    #[test]
    fn parameters_of_any_length_are_kept() {
        for (text, coded) in [
            ("\u{44f}.txt".to_owned(), "%D1%8F.txt".to_owned()),
            ("\u{44f}".repeat(700), "%D1%8F".repeat(700)),
            ("a".repeat(3000), "a".repeat(3000)),
        ] {
            let field = with_parameters("attachment", &[("filename".to_owned(), text)]);
            let lines: Vec<&str> = field.split(";\r\n\t").skip(1).collect();
            assert!(!lines.is_empty() && lines.iter().all(|line| line.len() < LINE_MAX), "{field}");
            let (names, values): (Vec<&str>, Vec<&str>) =
                lines.iter().filter_map(|line| line.split_once('=')).unzip();
            assert_eq!(values.concat(), format!("utf-8''{coded}"));
            let numbered = |(at, name): (usize, &&str)| *name == format!("filename*{at}*");
            assert!(names == ["filename*"] || names.iter().enumerate().all(numbered), "{names:?}");
        }
    }

    #[test]
    fn whatever_a_message_is_made_of_it_is_put_together_again() {
        let mut state = 0x9E37_79B9_7F4A_7C15;
        let pieces: [&[u8]; 10] = [
            b"\r\n",
            b"--a",
            b"--b",
            b"--",
            b"\n",
            b"\r",
            b": ",
            b"Content-Type: multipart/x; boundary=a\r\n",
            b"\xff",
            b"\0",
        ];
        for _ in 0..8_000 {
            let mut octets = MESSAGE.to_vec();
            for _ in 0..=below(&mut state, 4) {
                let at = below(&mut state, octets.len() + 1);
                let end = (at + below(&mut state, 30)).min(octets.len());
                match below(&mut state, 3) {
                    0 => drop(octets.drain(at..end)),
                    1 => drop(octets.splice(at..at, pieces[below(&mut state, pieces.len())].iter().copied())),
                    _ => octets.truncate(at),
                }
            }
            let Ok(parts) = Parts::of(&octets, 100) else { continue };
            let line_end: &[u8] = if octets.ends_with(b"\r\n") { b"" } else { b"\r\n" };
            let whole = [&octets[..], line_end].concat();
            assert_eq!(message(&octets, &parts, &[]), whole);
            let same: Vec<(usize, Made)> = parts
                .leaves
                .iter()
                .map(|leaf| Made::Entity(octets[leaf.header.start..leaf.body.end].to_vec()))
                .enumerate()
                .collect();
            assert_eq!(message(&octets, &parts, &same), whole);
            let gone: Vec<(usize, Made)> = (0..parts.leaves.len()).map(|index| (index, Made::Gone)).collect();
            let left = message(&octets, &parts, &gone);
            assert!(
                Parts::of(&left, 200).is_ok_and(|left| left
                    .leaves
                    .iter()
                    .all(|leaf| leaf.body.is_empty() || leaf.kind.1 == "plain")),
                "{}",
                left.escape_ascii()
            );
            let label =
                Label { is_text: true, kind: ("text".to_owned(), "plain".to_owned()), ..Label::default() };
            for (index, leaf) in parts.leaves.iter().enumerate() {
                let boundaries = parts.boundaries(leaf);
                let entity =
                    label.entity(&octets, leaf, b"--a\n--b--\nnew \xe9\n".to_vec(), &boundaries).unwrap();
                let anew = message(&octets, &parts, &[(index, Made::Entity(entity))]);
                assert_eq!(
                    Parts::of(&anew, 200).map(|anew| anew.leaves.len()),
                    Ok(parts.leaves.len()),
                    "{}",
                    anew.escape_ascii()
                );
            }
        }
    }
}
