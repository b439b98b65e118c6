//! The parts of a message: which there are, where they stand, and what they are called.
//!
//! What the manuals call a part here has octets of its own: neither a multipart nor a message, but what is in them. Numbers are those of IMAP (RFC 3501
//! section 6.4.5): `1` is the whole of a message without parts, `2.1` the first part of the second, or of the message that the
//! second part is.
//!
//! # Invariants
//! No octets make anything here panic, nor use more memory than a multiple of the message; parts within parts, and parts, have limits.

use std::ops::Range;
use std::rc::Rc;

use sluice_mail::mime::{ContentType, encoding, field, parts, split};

/// Parts within parts, at most.
const DEPTH_MAX: usize = 60;

/// A part with octets of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) number: String,
    /// Header and body.
    pub(crate) header: Range<usize>,
    pub(crate) body: Range<usize>,
    /// Type and subtype in lower case.
    pub(crate) kind: (String, String),
    /// The header of the message that it is in, and what that says of its subject.
    pub(crate) message: Range<usize>,
    pub(crate) subject: Rc<str>,
    /// Which multipart it is a part of.
    pub(crate) multipart: Option<usize>,
    /// It is signed or encrypted: what it is made into will not be.
    pub(crate) is_sealed: bool,
}

/// A multipart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Multipart {
    pub(crate) boundary: String,
    /// Which multipart it is in, through messages too.
    pub(crate) inside: Option<usize>,
    /// How many parts it has.
    pub(crate) count: usize,
}

/// The parts of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) multiparts: Vec<Multipart>,
    /// Why something in it stays as it is, whatever entries there are: the first such thing.
    pub(crate) odd: Option<String>,
}

/// Why a message cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) String);

/// Where an entity stands in its message.
struct Place {
    number: String,
    /// In front of the numbers of its parts.
    prefix: String,
    message: Range<usize>,
    subject: Rc<str>,
    multipart: Option<usize>,
    is_sealed: bool,
    /// What it is where it does not say it.
    default: &'static str,
    depth: usize,
}

impl Parts {
    /// Takes a message apart into at most so many parts.
    pub(crate) fn of(message: &[u8], most: usize) -> Result<Parts, Unreadable> {
        let mut walk = Walk { message, most, seen: 0, found: Parts::default() };
        let header = split(message).0;
        let place = Place {
            number: "1".to_owned(),
            prefix: String::new(),
            message: 0..header.len(),
            subject: subject(header),
            multipart: None,
            is_sealed: false,
            default: "text/plain",
            depth: 0,
        };
        walk.entity(0..message.len(), place)?;
        Ok(walk.found)
    }

    /// The boundaries of all multiparts around a part.
    pub(crate) fn boundaries(&self, leaf: &Leaf) -> Vec<&str> {
        let mut found = Vec::new();
        let mut next = leaf.multipart;
        while let Some(multipart) = next.and_then(|index| self.multiparts.get(index)) {
            found.push(multipart.boundary.as_str());
            next = multipart.inside;
        }
        found
    }
}

struct Walk<'a> {
    message: &'a [u8],
    most: usize,
    /// Parts of all kinds.
    seen: usize,
    found: Parts,
}

fn subject(header: &[u8]) -> Rc<str> {
    field(header, "subject").unwrap_or_default().into()
}

impl Walk<'_> {
    /// What is in there stays as it is. The rest of the message is worked on: else one odd part would keep programs from all others.
    fn odd(&mut self, why: String) -> Result<(), Unreadable> {
        self.found.odd.get_or_insert(why);
        Ok(())
    }

    fn entity(&mut self, range: Range<usize>, place: Place) -> Result<(), Unreadable> {
        if place.depth > DEPTH_MAX {
            return self.odd(format!("it has parts within parts, more than {DEPTH_MAX} deep"));
        }
        self.seen += 1;
        if self.seen > self.most {
            return Err(Unreadable(format!("it has more than {} parts", self.most)));
        }
        let (header, body) = split(&self.message[range.clone()]);
        let middle = range.start + header.len();
        let label = ContentType::of(header);
        let media = match label.media.split_once('/') {
            Some((kind, subtype)) if !kind.is_empty() && !subtype.is_empty() => label.media.as_str(),
            // RFC 2045 section 5.2: what has no label, or one that cannot be read.
            _ => place.default,
        };
        let (kind, subtype) = media.split_once('/').unwrap_or(("text", "plain"));
        let is_plain = matches!(encoding(header).as_str(), "" | "7bit" | "8bit" | "binary");
        // Where a header has no end there is no message behind it.
        let has_end = header == b"\r\n" || header.ends_with(b"\r\n\r\n");
        match kind {
            "multipart" => {
                let Some(boundary) = label.parameter("boundary") else {
                    return self.odd(format!("its multipart {} has no boundary", place.number));
                };
                let Some(parts) = parts(body, &boundary).filter(|_| is_plain) else {
                    return self.odd(format!("its multipart {} has no parts", place.number));
                };
                let index = self.found.multiparts.len();
                self.found.multiparts.push(Multipart {
                    boundary,
                    inside: place.multipart,
                    count: parts.len(),
                });
                let is_sealed = place.is_sealed || matches!(subtype, "signed" | "encrypted");
                let default = if subtype == "digest" { "message/rfc822" } else { "text/plain" };
                for (count, part) in (1_usize..).zip(parts) {
                    let number = format!("{}{count}", place.prefix);
                    let inner = Place {
                        prefix: format!("{number}."),
                        number,
                        message: place.message.clone(),
                        subject: Rc::clone(&place.subject),
                        multipart: Some(index),
                        is_sealed,
                        default,
                        depth: place.depth + 1,
                    };
                    self.entity(middle + part.start..middle + part.end, inner)?;
                }
                Ok(())
            }
            "message" if matches!(subtype, "rfc822" | "global") && is_plain && has_end => {
                let header = split(body).0;
                let place = Place {
                    number: format!("{}.1", place.number),
                    prefix: format!("{}.", place.number),
                    message: middle..middle + header.len(),
                    subject: subject(header),
                    default: "text/plain",
                    depth: place.depth + 1,
                    ..place
                };
                self.entity(middle..range.end, place)
            }
            "message" if matches!(subtype, "rfc822" | "global") && has_end => {
                self.odd(format!("its message {} is encoded", place.number))
            }
            // Reports, pieces, references: nothing that a program could make something else of.
            "message" => Ok(()),
            _ => {
                self.found.leaves.push(Leaf {
                    number: place.number,
                    header: range.start..middle,
                    body: middle..range.end,
                    kind: (kind.to_owned(), subtype.to_owned()),
                    message: place.message,
                    subject: place.subject,
                    multipart: place.multipart,
                    is_sealed: place.is_sealed,
                });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> String {
        let message = message.replace('\n', "\r\n");
        match Parts::of(message.as_bytes(), 100) {
            Err(Unreadable(why)) => why,
            Ok(parts) => {
                let told = parts.leaves.iter().map(|leaf| {
                    let body = &message[leaf.body.clone()];
                    let sealed = if leaf.is_sealed { " sealed" } else { "" };
                    format!("{} {}/{}{sealed} {body:?}", leaf.number, leaf.kind.0, leaf.kind.1)
                });
                told.chain(parts.odd.clone()).collect::<Vec<_>>().join("\n")
            }
        }
    }

    #[test]
    fn a_message_without_parts_is_one() {
        assert_eq!(told("Subject: x\n\nhello\n"), "1 text/plain \"hello\\r\\n\"");
        assert_eq!(told("Content-Type: Image/GIF; a=b\n\nx"), "1 image/gif \"x\"");
        assert_eq!(told("Content-Type: what\n\n"), "1 text/plain \"\"");
        assert_eq!(told(""), "1 text/plain \"\"");
    }

    #[test]
    fn numbers_are_those_of_imap() {
        let message = "Content-Type: multipart/mixed; boundary=a\n\n\
            --a\n\none\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\ntwo\n--b\nContent-Type: text/html\n\nthree\n--b--\n\
            --a\nContent-Type: message/rfc822\n\nSubject: in\n\nfour\n\
            --a\nContent-Type: message/rfc822\n\nContent-Type: multipart/signed; boundary=c\n\n--c\n\nfive\n--c\n\nsix\n--c--\n\n--a--\n";
        assert_eq!(
            told(message),
            "1 text/plain \"one\"\n2.1 text/plain \"two\"\n2.2 text/html \"three\"\n3.1 text/plain \"four\"\n\
             4.1 text/plain sealed \"five\"\n4.2 text/plain sealed \"six\""
        );
    }

    #[test]
    fn parts_that_are_reports_or_pieces_are_none() {
        let message = "Content-Type: multipart/report; boundary=a\n\n--a\n\none\n--a\nContent-Type: message/delivery-status\n\nx\n--a\n\
            Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nYQ==\n--a--\n";
        assert_eq!(told(message), "1 text/plain \"one\"\nits message 3 is encoded");
        let uncut =
            message.replace("message/delivery", "multipart/mixed; x=y; n=delivery").replace("base64", "8bit");
        assert_eq!(
            told(&uncut),
            "1 text/plain \"one\"\n3.1 text/plain \"\"\nits multipart 2 has no boundary"
        );
        let digest = "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: y\n\none\n--a--\n";
        assert_eq!(told(digest), "1.1 text/plain \"one\"");
    }

    #[test]
    fn what_cannot_be_taken_apart_says_why() {
        assert_eq!(told("Content-Type: multipart/mixed\n\nx"), "its multipart 1 has no boundary");
        assert_eq!(
            told("Content-Type: multipart/mixed; boundary=a\n\n--b\nx"),
            "its multipart 1 has no parts"
        );
        let many = format!("Content-Type: multipart/mixed; boundary=a\n\n{}", "--a\n\nx\n".repeat(100));
        assert_eq!(told(&many), "it has more than 100 parts");
        let mut deep = String::new();
        for level in 0..=DEPTH_MAX {
            deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}x\n\n--b{level}x\n"));
        }
        assert_eq!(told(&deep), "it has parts within parts, more than 60 deep");
    }

    #[test]
    fn boundaries_are_those_of_all_around() {
        let message = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--a--\r\n";
        let parts = Parts::of(message, 9).unwrap();
        assert_eq!(parts.boundaries(&parts.leaves[0]), ["b", "a"]);
        assert_eq!(parts.multiparts.iter().map(|one| one.count).collect::<Vec<_>>(), [1, 1]);
    }
}
