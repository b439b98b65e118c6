//! An address taken apart: route, local part, host. They are kept apart and never flattened to text between steps.
//!
//! # Not here
//! Which host counts first and where the address goes (`rewrite`), angle brackets and ESMTP parameters (`smtp`),
//! display names and comments of header addresses.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A mail address: `@route,@route:local@host` with its parts apart (RFC 5321 section 4.1.2).
///
/// The case of every part is kept. Fields are public because rewriting builds addresses that are on purpose outside the
/// RFC's grammar; only [`Address::parse`] checks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Address {
    /// Hosts of the source route, first to visit first, without `@`.
    pub route: Vec<String>,
    /// The local part as written, with its quotes. Empty for the null path.
    pub local: String,
    /// Host name or `[literal]`; `None` when the address is a bare name.
    pub host: Option<String>,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Longer than [`Address::LENGTH_MAX`].
    #[error("the address is longer than {} octets", Address::LENGTH_MAX)]
    TooLong,
    /// A character that may not stand there unless it is quoted.
    #[error("{:?} may not stand in {place}", .character)]
    Character {
        /// The character.
        character: char,
        /// Where it stood, in words.
        place: &'static str,
    },
    /// A quoted string or domain literal without its end.
    #[error("{0} is not closed")]
    Unclosed(&'static str),
    /// Something follows the closing bracket of a domain literal.
    #[error("a domain literal ends with its bracket; something follows it")]
    AfterLiteral,
    /// No host after `@`, or an empty label (two dots, or one at an end).
    #[error("the host name is empty or has an empty label")]
    EmptyHost,
    /// A source route without its colon or with an element that does not begin with `@`.
    #[error("a source route has the form @host,@host: before the mailbox")]
    Route,
}

impl Address {
    /// Longest address that is read. RFC 5321 section 4.5.3.1 asks for 256 octets and wishes for no limit; PMDF stops
    /// at 252. Four times that is enough for every route seen and small enough for a stranger.
    pub const LENGTH_MAX: usize = 1024;

    /// An address without route.
    pub fn new(local: impl Into<String>, host: impl Into<String>) -> Address {
        Address { route: Vec::new(), local: local.into(), host: Some(host.into()) }
    }

    /// A written address without its source route: `@a,@b:u@c` becomes `u@c`, and everything else stays.
    pub fn without_route(text: &str) -> &str {
        let colon = text.starts_with('@').then(|| end_of_route(text)).flatten();
        colon.map_or(text, |colon| &text[colon + 1..])
    }

    /// The text that the local part stands for: a quoted one without its quotes and backslashes, which are not part of it
    /// (RFC 5321 section 4.1.2).
    pub fn local_text(&self) -> Cow<'_, str> {
        let Some(inner) = self.local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Cow::Borrowed(&self.local);
        };
        let mut text = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => text.extend(chars.next()),
                c => text.push(c),
            }
        }
        Cow::Owned(text)
    }

    /// The null path `<>`, or an address of no text.
    pub fn is_null(&self) -> bool {
        self.route.is_empty() && self.local.is_empty() && self.host.is_none()
    }

    /// Reads `@a,@b:local@host`, `local@host` or `local`, without angle brackets. The empty text is the null path;
    /// `@host` has an empty local part.
    ///
    /// `%` and `!` are ordinary characters here. UTF-8 is allowed (RFC 6531). A local part that is partly quoted,
    /// `a."b"`, becomes one quoted string, `"a.b"`, as Messaging Server 6 and later pass it on.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.len() > Address::LENGTH_MAX {
            return Err(AddressError::TooLong);
        }
        if let Some(character) = text.chars().find(|c| c.is_control()) {
            return Err(AddressError::Character { character, place: "an address" });
        }
        let (route, mailbox) = match text.starts_with('@').then(|| end_of_route(text)).flatten() {
            Some(colon) => (parse_route(&text[..colon])?, &text[colon + 1..]),
            None => (Vec::new(), text),
        };
        let at = local_end(mailbox)?;
        let local = join_quoted(&mailbox[..at]);
        let host = match mailbox[at..].strip_prefix('@') {
            Some(host) => Some(parse_host(host)?),
            None => None,
        };
        Ok(Address { route, local, host })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, host) in self.route.iter().enumerate() {
            write!(f, "{}@{host}", if index == 0 { "" } else { "," })?;
        }
        if !self.route.is_empty() {
            f.write_str(":")?;
        }
        f.write_str(&self.local)?;
        match &self.host {
            Some(host) => write!(f, "@{host}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        Address::parse(text)
    }
}

/// Where the colon of a source route stands; colons inside brackets (IPv6) do not count.
fn end_of_route(text: &str) -> Option<usize> {
    let mut in_literal = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => in_literal = true,
            b']' => in_literal = false,
            b'"' => return None,
            b':' if !in_literal => return Some(at),
            _ => {}
        }
    }
    None
}

fn parse_route(text: &str) -> Result<Vec<String>, AddressError> {
    let mut hosts = Vec::new();
    let mut rest = text;
    loop {
        let host = rest.strip_prefix('@').ok_or(AddressError::Route)?;
        let literal_end = if host.starts_with('[') { host.find(']').unwrap_or(host.len()) } else { 0 };
        let end = host[literal_end..].find(',').map_or(host.len(), |comma| literal_end + comma);
        hosts.push(parse_host(&host[..end])?);
        if end == host.len() {
            return Ok(hosts);
        }
        rest = &host[end + 1..];
    }
}

fn parse_host(host: &str) -> Result<String, AddressError> {
    if let Some(inside) = host.strip_prefix('[') {
        let end = inside.find(']').ok_or(AddressError::Unclosed("a domain literal"))?;
        if end + 1 != inside.len() {
            return Err(AddressError::AfterLiteral);
        }
        if let Some(character) =
            inside[..end].chars().find(|c| c.is_whitespace() || matches!(c, '[' | '\\' | '<' | '>'))
        {
            return Err(AddressError::Character { character, place: "a domain literal" });
        }
        return Ok(host.to_owned());
    }
    let illegal = |c: &char| {
        c.is_whitespace()
            || matches!(c, '@' | '<' | '>' | '(' | ')' | '[' | ']' | ',' | ';' | ':' | '\\' | '"')
    };
    if let Some(character) = host.chars().find(illegal) {
        return Err(AddressError::Character { character, place: "a host name" });
    }
    if host.split('.').any(str::is_empty) {
        return Err(AddressError::EmptyHost);
    }
    Ok(host.to_owned())
}

/// Checks the local part and gives the offset of the `@` behind it, or of the end.
fn local_end(mailbox: &str) -> Result<usize, AddressError> {
    let mut characters = mailbox.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '@' => return Ok(at),
            '"' => loop {
                match characters.next() {
                    Some((_, '"')) => break,
                    Some((_, '\\')) if characters.next().is_some() => {}
                    Some((_, '\\')) | None => return Err(AddressError::Unclosed("a quoted string")),
                    Some(_) => {}
                }
            },
            // A domain literal may stand in a local part: user%[192.0.2.1]@relay.
            '[' => loop {
                match characters.next() {
                    Some((_, ']')) => break,
                    Some((_, character))
                        if character.is_whitespace() || matches!(character, '<' | '>' | '"' | '\\') =>
                    {
                        return Err(AddressError::Character { character, place: "a domain literal" });
                    }
                    Some(_) => {}
                    None => return Err(AddressError::Unclosed("a domain literal")),
                }
            },
            ']' | '<' | '>' | '(' | ')' | ',' | ';' | ':' | '\\' => {
                return Err(AddressError::Character { character, place: "a local part unless it is quoted" });
            }
            _ if character.is_whitespace() => {
                return Err(AddressError::Character { character, place: "a local part unless it is quoted" });
            }
            _ => {}
        }
    }
    Ok(mailbox.len())
}

/// Makes each part between separators that is quoted in places one quoted string: `a."b"` is `"a.b"`.
fn join_quoted(local: &str) -> String {
    if !local.contains('"') {
        return local.to_owned();
    }
    let mut joined = String::with_capacity(local.len() + 2);
    let mut start = 0;
    let mut quoted = false;
    let mut in_literal = false;
    let mut escaped = false;
    for (at, byte) in local.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            // What separates hosts elsewhere is a part of a literal (and quotes do not stand in one).
            b'[' if !quoted => in_literal = true,
            _ if in_literal => in_literal = byte != b']',
            b'%' | b'!' if !quoted => {
                push_joined(&mut joined, &local[start..at]);
                joined.push(char::from(byte));
                start = at + 1;
            }
            _ => {}
        }
    }
    push_joined(&mut joined, &local[start..]);
    joined
}

fn push_joined(joined: &mut String, part: &str) {
    let whole = part.len() >= 2 && part.starts_with('"') && closing_quote(part) == Some(part.len() - 1);
    if whole || !part.contains('"') {
        joined.push_str(part);
        return;
    }
    joined.push('"');
    let mut escaped = false;
    for character in part.chars() {
        if character == '"' && !escaped {
            continue;
        }
        escaped = character == '\\' && !escaped;
        joined.push(character);
    }
    joined.push('"');
}

/// Where the quoted string that opens `part` ends.
fn closing_quote(part: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in part.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Vec<String>, String, Option<String>) {
        let address = Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        (address.route, address.local, address.host)
    }

    #[test]
    fn the_parts_are_kept_apart() {
        assert_eq!(parts("user@a.b"), (vec![], "user".into(), Some("a.b".into())));
        assert_eq!(parts("user"), (vec![], "user".into(), None));
        assert_eq!(parts(""), (vec![], String::new(), None));
        assert_eq!(parts("@a.b"), (vec![], String::new(), Some("a.b".into())));
        assert_eq!(
            parts("@a,@[0.1.2.3]:u%x!y@b"),
            (vec!["a".into(), "[0.1.2.3]".into()], "u%x!y".into(), Some("b".into()))
        );
        assert_eq!(
            parts("@[IPv6:2001:db8::1]:u@[IPv6:::1]"),
            (vec!["[IPv6:2001:db8::1]".into()], "u".into(), Some("[IPv6:::1]".into()))
        );
        assert_eq!(parts("u%[1.2.3.4]"), (vec![], "u%[1.2.3.4]".into(), None));
        assert_eq!(parts("@a:user"), (vec!["a".into()], "user".into(), None));
    }

    #[test]
    fn a_route_is_taken_off() {
        for (text, left) in [
            ("@a,@b:u@c", "u@c"),
            ("@[IPv6:::1]:u@c", "u@c"),
            ("@a:\"x:y\"@c", "\"x:y\"@c"),
            ("u@c", "u@c"),
            ("@c", "@c"),
            ("\"@a:u\"@c", "\"@a:u\"@c"),
            ("", ""),
        ] {
            assert_eq!(Address::without_route(text), left);
        }
    }

    #[test]
    fn a_local_part_is_read_as_the_text_it_stands_for() {
        let text = |address: &str| Address::parse(address).unwrap().local_text().into_owned();
        assert_eq!(text("ann@b.example"), "ann");
        assert_eq!(text(r#""ann lee"@b.example"#), "ann lee");
        assert_eq!(text(r#""a\"b\\c"@b.example"#), r#"a"b\c"#);
    }

    #[test]
    fn quoted_text_is_opaque() {
        assert_eq!(parts(r#""a b@c"@d"#), (vec![], r#""a b@c""#.into(), Some("d".into())));
        assert_eq!(parts(r#""a\"@"@d"#), (vec![], r#""a\"@""#.into(), Some("d".into())));
        assert_eq!(parts(r#"":"@d"#), (vec![], r#"":""#.into(), Some("d".into())));
        assert_eq!(parts(r#"""@[1.2.3.4]"#), (vec![], r#""""#.into(), Some("[1.2.3.4]".into())));
    }

    #[test]
    fn a_partly_quoted_local_part_becomes_one_quoted_string() {
        assert_eq!(parts(r#"a."b"@h"#).1, r#""a.b""#);
        assert_eq!(parts(r#""a"."b\"c".d@h"#).1, r#""a.b\"c.d""#);
        assert_eq!(parts(r#"a."b"%x@h"#).1, r#""a.b"%x"#);
        assert_eq!(parts(r#""a b"[x!y]"#).1, r#""a b[x!y]""#);
        assert_eq!(parts(r#""a b"[x!y]!z"#).1, r#""a b[x!y]"!z"#);
        assert_eq!(parts(r#"x!"a b"%y@h"#).1, r#"x!"a b"%y"#);
    }

    #[test]
    fn what_is_read_is_written_back() {
        for text in [
            "user@a",
            "user",
            "",
            "@a:u@b",
            "@a,@b,@[1.2.3.4]:u%x@c",
            r#""a b"@c"#,
            "ü@bücher.example",
            "u%[1.2.3.4]@x",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "<u@a>",
            "u@",
            "u@a..b",
            "u@.a",
            "u@a.",
            "u@a b",
            "u v@a",
            "u@a@b",
            "u@[1.2",
            "u@[1.2]x",
            "\"u@a",
            "\"u\\",
            "u\r\n@a",
            "u@a\0",
            "@a,b:u@c",
            "@a,:u@c",
            "@:u@c",
            "@",
            "u@[a b]",
            "u)@a",
            "u\\@a",
            "u@a,b",
            "u%[x",
            "u]@a",
            "u@a\u{85}b",
            "@a,@:u@b",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?} was read as {:?}", Address::parse(text));
        }
        assert_eq!(Address::parse(&"a".repeat(1025)), Err(AddressError::TooLong));
    }
}
