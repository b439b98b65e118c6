//! The addresses in a header field such as `To:` (RFC 5322 section 3.4, with the obsolete forms of section 4.4), and where
//! each of them stands: what is changed in a field is the octets of an address and nothing else.
//!
//! A field is read whole or not at all. Groups, comments, quoted strings, folding, source routes with and without
//! brackets and octets above 127 are understood; an address inside that is none by our own rules ([`Address::parse`]) is
//! passed over, and the others in the field still count.
//!
//! # Invariants
//! No octets make this panic, and the places that it gives are inside the body, in order, and do not overlap.
//! # Not here
//! Display names and comments mean nothing here. What an address becomes is decided by `rewrite`.

use std::ops::Range;

use crate::Address;

/// An address as it stands in the body of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenAddress {
    /// Its meaning: comments and blanks between its parts left out.
    pub address: Address,
    /// From its first octet to behind its last one, brackets not counted.
    pub place: Range<usize>,
    local: Range<usize>,
    host: Option<Range<usize>>,
    bracketed: bool,
    /// Comments between its parts.
    comments: Vec<Range<usize>>,
}

/// Octets to put in the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// What goes.
    pub place: Range<usize>,
    /// What comes.
    pub text: Vec<u8>,
}

/// Why a field is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A comment, quoted string, domain literal, group or bracket without its end.
    #[error("{0} is not closed")]
    Unclosed(&'static str),
    /// An octet that has no business there.
    #[error("something unexpected at octet {0}")]
    Unexpected(usize),
    /// Several words that are neither a display name nor an address.
    #[error("words that are no address at octet {0}")]
    Words(usize),
}

impl WrittenAddress {
    /// What must be replaced by what, so that `new` stands there: no more than the part that differs. A route is given
    /// brackets where there are none; comments between the parts that go are put behind.
    pub fn replacement(&self, body: &[u8], new: &Address) -> Replacement {
        let old = &self.address;
        let (place, mut text) = match (&self.host, &new.host) {
            (Some(place), Some(host)) if old.route == new.route && old.local == new.local => {
                (place.clone(), host.clone().into_bytes())
            }
            (None, Some(host)) if old.route == new.route && old.local == new.local => {
                (self.local.end..self.local.end, format!("@{host}").into_bytes())
            }
            _ if old.route == new.route && old.host == new.host => {
                (self.local.clone(), new.local.clone().into_bytes())
            }
            _ if self.bracketed || new.route.is_empty() => (self.place.clone(), new.to_string().into_bytes()),
            _ => (self.place.clone(), format!("<{new}>").into_bytes()),
        };
        for comment in &self.comments {
            if place.start <= comment.start && comment.end <= place.end {
                text.push(b' ');
                text.extend_from_slice(&body[comment.clone()]);
            }
        }
        Replacement { place, text }
    }
}

/// Reads the body of an address field: what stands behind the colon, folded as it came.
pub fn addresses(body: &[u8]) -> Result<Vec<WrittenAddress>, FieldError> {
    Ok(Reader::read(body)?.found)
}

/// The elements of an address field: what stands between its commas, a group being one, with display names and comments
/// and without the blanks around it.
pub fn elements(body: &[u8]) -> Result<Vec<Range<usize>>, FieldError> {
    Ok(Reader::read(body)?.elements)
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    /// Comments met since the element began.
    comments: Vec<Range<usize>>,
    found: Vec<WrittenAddress>,
    elements: Vec<Range<usize>>,
}

/// A run of octets that belongs together.
#[derive(Debug, Clone)]
struct Token {
    place: Range<usize>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An atom, a quoted string or a domain literal.
    Word,
    Dot,
    At,
    Comma,
    Colon,
}

impl<'a> Reader<'a> {
    fn read(body: &'a [u8]) -> Result<Reader<'a>, FieldError> {
        let mut reader =
            Reader { body, at: 0, comments: Vec::new(), found: Vec::new(), elements: Vec::new() };
        reader.list()?;
        Ok(reader)
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    /// Elements up to the end of the field, groups among them.
    fn list(&mut self) -> Result<(), FieldError> {
        let mut in_group = false;
        // Where the element begins that is not ended: its comments belong to it.
        let mut start = 0;
        loop {
            self.blanks()?;
            match self.peek() {
                None if in_group => return Err(FieldError::Unclosed("a group")),
                None => return Ok(()),
                Some(b',') => {
                    self.at += 1;
                    if !in_group {
                        start = self.at;
                    }
                }
                Some(b';') if in_group => {
                    self.at += 1;
                    in_group = false;
                    self.end_of_element(false)?;
                    self.end_element(start);
                }
                Some(_) => {
                    if self.element(in_group)? {
                        in_group = true;
                    } else if !in_group {
                        self.end_element(start);
                    }
                }
            }
        }
    }

    fn end_element(&mut self, start: usize) {
        let element = &self.body[start..self.at];
        let start = start + (element.len() - element.trim_ascii_start().len());
        self.elements.push(start..start + element.trim_ascii().len());
    }

    /// One mailbox, or the name of a group up to its colon: true for that.
    fn element(&mut self, in_group: bool) -> Result<bool, FieldError> {
        self.comments.clear();
        let bare_route = self.peek() == Some(b'@');
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            self.blanks()?;
            match self.peek() {
                Some(b'<') => {
                    self.at += 1;
                    self.comments.clear();
                    self.bracketed()?;
                    self.end_of_element(in_group)?;
                    return Ok(false);
                }
                Some(b':') if !bare_route => {
                    if in_group || tokens.is_empty() || tokens.iter().any(|token| token.kind == Kind::At) {
                        return Err(FieldError::Unexpected(self.at));
                    }
                    self.at += 1;
                    return Ok(true);
                }
                // The commas of a route stand before its colon.
                Some(b',') if bare_route && !tokens.iter().any(|token| token.kind == Kind::Colon) => {
                    let token = self.token()?;
                    tokens.push(token);
                }
                None | Some(b',' | b';') => {
                    if self.peek() == Some(b';') && !in_group {
                        return Err(FieldError::Unexpected(self.at));
                    }
                    self.address(&tokens, false)?;
                    return Ok(false);
                }
                Some(_) => {
                    let token = self.token()?;
                    tokens.push(token);
                }
            }
        }
    }

    /// What stands between `<` and `>`.
    fn bracketed(&mut self) -> Result<(), FieldError> {
        let mut tokens = Vec::new();
        loop {
            self.blanks()?;
            match self.peek() {
                None => return Err(FieldError::Unclosed("an angle bracket")),
                Some(b'>') => {
                    self.at += 1;
                    return if tokens.is_empty() { Ok(()) } else { self.address(&tokens, true) };
                }
                Some(_) => {
                    let token = self.token()?;
                    tokens.push(token);
                }
            }
        }
    }

    /// Behind an element may only stand what separates it from the next.
    fn end_of_element(&mut self, in_group: bool) -> Result<(), FieldError> {
        self.blanks()?;
        match self.peek() {
            None | Some(b',') => Ok(()),
            Some(b';') if in_group => Ok(()),
            Some(_) => Err(FieldError::Unexpected(self.at)),
        }
    }

    /// Makes an address of tokens. Words that stand apart are none; what our own rules do not take is passed over.
    fn address(&mut self, tokens: &[Token], bracketed: bool) -> Result<(), FieldError> {
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            return Err(FieldError::Unexpected(self.at));
        };
        for pair in tokens.windows(2) {
            let both_words = pair[0].kind == Kind::Word && pair[1].kind == Kind::Word;
            if both_words && pair[0].place.end != pair[1].place.start {
                return Err(FieldError::Words(pair[1].place.start));
            }
        }
        let place = first.place.start..last.place.end;
        let text: Vec<u8> =
            tokens.iter().flat_map(|token| &self.body[token.place.clone()]).copied().collect();
        let Some(address) = String::from_utf8(text).ok().and_then(|text| Address::parse(&text).ok()) else {
            return Ok(());
        };
        let behind_route =
            tokens.iter().position(|token| token.kind == Kind::Colon).map_or(0, |colon| colon + 1);
        let mailbox = &tokens[behind_route..];
        let at = mailbox.iter().position(|token| token.kind == Kind::At).unwrap_or(mailbox.len());
        let span = |tokens: &[Token]| match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => Some(first.place.start..last.place.end),
            _ => None,
        };
        let Some(local) = span(&mailbox[..at]) else { return Ok(()) };
        let host = mailbox.get(at + 1..).and_then(span);
        let within = |comment: &&Range<usize>| place.start <= comment.start && comment.end <= place.end;
        let comments = self.comments.iter().filter(within).cloned().collect();
        self.found.push(WrittenAddress { address, place, local, host, bracketed, comments });
        Ok(())
    }

    /// The next token; the caller has skipped blanks and comments.
    fn token(&mut self) -> Result<Token, FieldError> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'.') => Kind::Dot,
            Some(b'@') => Kind::At,
            Some(b',') => Kind::Comma,
            Some(b':') => Kind::Colon,
            Some(b'"') => {
                self.enclosed(b'"', "a quoted string")?;
                return Ok(Token { place: start..self.at, kind: Kind::Word });
            }
            Some(b'[') => {
                self.enclosed(b']', "a domain literal")?;
                return Ok(Token { place: start..self.at, kind: Kind::Word });
            }
            _ => {
                while self.peek().is_some_and(is_atom) {
                    self.at += 1;
                }
                if self.at == start {
                    return Err(FieldError::Unexpected(start));
                }
                return Ok(Token { place: start..self.at, kind: Kind::Word });
            }
        };
        self.at += 1;
        Ok(Token { place: start..self.at, kind })
    }

    /// Goes behind `end`, from the octet that opens; a backslash takes the next octet with it.
    fn enclosed(&mut self, end: u8, what: &'static str) -> Result<(), FieldError> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(FieldError::Unclosed(what)),
                Some(b'\\') => self.at += 2,
                Some(octet) => {
                    self.at += 1;
                    if octet == end {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Skips blanks, line ends and comments. Comments are nested and noted.
    fn blanks(&mut self) -> Result<(), FieldError> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'(') => {
                    let start = self.at;
                    let mut depth = 0u32;
                    loop {
                        match self.peek() {
                            None => return Err(FieldError::Unclosed("a comment")),
                            Some(b'\\') => self.at += 1,
                            Some(b'(') => depth += 1,
                            Some(b')') => depth -= 1,
                            Some(_) => {}
                        }
                        self.at += 1;
                        if depth == 0 {
                            break;
                        }
                    }
                    self.comments.push(start..self.at);
                }
                _ => return Ok(()),
            }
        }
    }
}

/// What an atom is made of (RFC 5322 section 3.2.3), and every octet above 127.
fn is_atom(octet: u8) -> bool {
    octet > b' ' && octet != 0x7f && !b"()<>[]:;@\\,.\"".contains(&octet)
}

#[cfg(test)]
#[path = "field/tests.rs"]
mod tests;
