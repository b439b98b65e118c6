//! The value of an alias, taken apart: addresses, list files, parameters in brackets.
//!
//! # Not here
//! Whether an address is one, and what a parameter means (the parent).

use std::ops::Range;

/// A part of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'t> {
    Address(&'t str),
    /// `<file`.
    List(&'t str),
    /// `"<ldap:…>"`.
    Ldap,
    /// `[NAME] value`.
    Parameter {
        name: &'t str,
        value: &'t str,
        value_range: Range<usize>,
    },
    /// An address behind a list: not a member, but for errors, answers and warnings, by its place.
    Positional(&'t str),
    /// `[NAME` without its partner, up to the next blank.
    Open(&'t str),
    /// Nothing between two commas.
    Empty,
}

/// The parts of a value, each with the range it stands in; `offset` is that of the value in its line.
pub(super) fn items(value: &str, offset: usize) -> Vec<(Item<'_>, Range<usize>)> {
    let mut items = Vec::new();
    if value.trim().is_empty() {
        return items;
    }
    let mut behind_list = false;
    for piece in pieces(value) {
        let text = &value[piece.clone()];
        let start = offset + piece.start + (text.len() - text.trim_start().len());
        let text = text.trim();
        if behind_list && !text.is_empty() && !text.starts_with(['[', '<']) {
            items.push((Item::Positional(text), start..start + text.len()));
            continue;
        }
        behind_list |= text.starts_with('<');
        item(text, start, &mut items);
    }
    items
}

/// Splits at commas, but not inside quotes, and not those of a source route.
fn pieces(value: &str) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    let mut in_route = false;
    for (at, character) in value.char_indices() {
        let fresh = value[start..at].trim().is_empty();
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '@' if fresh => in_route = true,
            ':' => in_route = false,
            ',' if !in_route => {
                pieces.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(start..value.len());
    pieces
}

fn item<'t>(text: &'t str, start: usize, items: &mut Vec<(Item<'t>, Range<usize>)>) {
    let range = start..start + text.len();
    if text.is_empty() {
        return items.push((Item::Empty, range));
    }
    if text.starts_with('[') {
        return parameters(text, start, items);
    }
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(inner) = quoted.filter(|inner| inner.trim_start().starts_with('<')) {
        return items.extend(self::items(inner, start + 1));
    }
    if let Some(file) = text.strip_prefix('<') {
        if file.trim_start().get(..5).is_some_and(|head| head.eq_ignore_ascii_case("ldap:")) {
            return items.push((Item::Ldap, range));
        }
        // Parameters may follow without a comma.
        let end = parameter_start(file).unwrap_or(file.len());
        let name = unquoted(file[..end].trim().trim_end_matches('>').trim());
        items.push((Item::List(name), start..start + 1 + file[..end].trim_end().len()));
        if end < file.len() {
            let lead = file[end..].len() - file[end..].trim_start().len();
            parameters(file[end..].trim_start(), start + 1 + end + lead, items);
        }
        return;
    }
    // `Fred <fred@host>`
    if let Some(open) = text.find('<').filter(|_| text.ends_with('>')) {
        let inner = &text[open + 1..text.len() - 1];
        return items.push((Item::Address(inner.trim()), start + open + 1..start + text.len() - 1));
    }
    items.push((Item::Address(text), range));
}

/// `[NAME] value`, and more of them behind it.
fn parameters<'t>(text: &'t str, start: usize, items: &mut Vec<(Item<'t>, Range<usize>)>) {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let Some(close) = rest.find(']') else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            return items.push((Item::Open(&rest[..end]), start + at..start + at + end));
        };
        let behind = &rest[close + 1..];
        let end = close + 1 + parameter_start(behind).unwrap_or(behind.len());
        let name = rest[1..close].trim();
        let raw = &rest[close + 1..end];
        let value = raw.trim_start().trim_start_matches('=').trim();
        let value_at = if value.is_empty() {
            close + 1
        } else {
            close + 1 + (value.as_ptr() as usize - raw.as_ptr() as usize)
        };
        let value_range = start + at + value_at..start + at + value_at + value.len();
        let whole = start + at..start + at + rest[..end].trim_end().len();
        items.push((Item::Parameter { name, value: unquoted(value), value_range }, whole));
        at += end;
        at += text[at..].len() - text[at..].trim_start().len();
    }
}

/// Where a blank and then `[` begins another parameter, outside quotes.
fn parameter_start(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut after_blank = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '[' if !quoted && after_blank => return Some(at),
            _ => {}
        }
        after_blank = character.is_whitespace();
    }
    None
}

pub(super) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Vec<String> {
        items(value, 0)
            .into_iter()
            .map(|(item, range)| {
                let place = value.get(range).unwrap_or("outside");
                match item {
                    Item::Address(text) => format!("{text} at {place}"),
                    Item::List(file) => format!("list {file} at {place}"),
                    Item::Ldap => format!("ldap at {place}"),
                    Item::Parameter { name, value: text, value_range } => {
                        format!("{name}={text} at {place}, {}", value.get(value_range).unwrap_or("outside"))
                    }
                    Item::Positional(text) => format!("behind {text} at {place}"),
                    Item::Open(text) => format!("open {text} at {place}"),
                    Item::Empty => "empty".to_owned(),
                }
            })
            .collect()
    }

    #[test]
    fn values_are_taken_apart_at_commas() {
        assert_eq!(shown(" a@b , c"), ["a@b at a@b", "c at c"]);
        assert_eq!(
            shown(" \"a, b\"@c, @x,@y:u@z, d"),
            ["\"a, b\"@c at \"a, b\"@c", "@x,@y:u@z at @x,@y:u@z", "d at d"]
        );
        assert_eq!(shown("a,,b,"), ["a at a", "empty", "b at b", "empty"]);
        assert_eq!(shown("Fred Bloggs <fred@b>"), ["fred@b at fred@b"]);
        assert!(shown("  ").is_empty());
    }

    #[test]
    fn lists_and_parameters_are_told_from_addresses() {
        assert_eq!(shown("<list.txt"), ["list list.txt at <list.txt"]);
        assert_eq!(
            shown("<\"my list.txt\", [BLOCKLIMIT] 10,[ERROR_TEXT] \"no, you\""),
            [
                "list my list.txt at <\"my list.txt\"",
                "BLOCKLIMIT=10 at [BLOCKLIMIT] 10, 10",
                "ERROR_TEXT=no, you at [ERROR_TEXT] \"no, you\", \"no, you\""
            ]
        );
        assert_eq!(
            shown("<l [AUTH_LIST] a.txt [errors_to]=o@h"),
            [
                "list l at <l",
                "AUTH_LIST=a.txt at [AUTH_LIST] a.txt, a.txt",
                "errors_to=o@h at [errors_to]=o@h, o@h"
            ]
        );
        assert_eq!(shown("\"<l, [TAG] x\", b"), ["list l at <l", "TAG=x at [TAG] x, x", "b at b"]);
        assert_eq!(shown("\"<ldap:///o=x?mail?sub?(a=b)>\""), ["ldap at <ldap:///o=x?mail?sub?(a=b)>"]);
        assert_eq!(shown("[öpen"), ["open [öpen at [öpen"]);
        // What follows a list inside the same quotes belongs to it.
        assert_eq!(
            shown("a, <l, [TAG] x, o@h, *, e@h*"),
            [
                "a at a",
                "list l at <l",
                "TAG=x at [TAG] x, x",
                "behind o@h at o@h",
                "behind * at *",
                "behind e@h* at e@h*"
            ]
        );
        assert_eq!(shown("\"<l, o@h\", b"), ["list l at <l", "behind o@h at o@h", "b at b"]);
    }
}
