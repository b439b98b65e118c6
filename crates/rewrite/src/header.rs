//! The addresses of a message's header on their way through: which fields hold addresses, what becomes of each in the copy
//! for a channel, and how the header is put together again.
//!
//! The header is read once ([`HeaderAddresses::read`]). For each channel that gets a copy, [`Rewriter::edit_header`] gives
//! the changes; equal changes make equal headers, so copies may share one. Octets that are not part of a changed address
//! stay as they came: folding, comments, display names, the case of field names.
//!
//! # Invariants
//! No change, no edit. A line is not made longer than RFC 5322 section 2.1.1 allows: it is folded in front of the address, and
//! if that is not enough the address stays as it was. An ASCII address is never made into one that is not.
//! # Failure
//! There is none: a field that cannot be read, an address that no rule knows, and what is beyond the limits stay as they are.
//! # Not here
//! The envelope (`Rewriter::route`), and what one address becomes (`look`).

mod finish;
mod inner;

use std::ops::Range;

use sluice_mail::field::{self, WrittenAddress};
use sluice_mail::{Address, header};

use crate::rewriter::{Context, Kind, Rewriter};

pub use inner::enclosed_headers;

pub use finish::{
    EnvelopeTo, Finish, MissingRecipients, authenticated_sender, has_recipients, missing_recipients,
};

/// So much of a header is read; the rest is passed on as it is. Headers of honest mail have a few thousand octets.
pub const HEADER_OCTETS_MAX: usize = 128 * 1024;
/// So many addresses of one message are rewritten; the others are passed on as they are.
pub const HEADER_ADDRESSES_MAX: usize = 2000;
/// Longest line without its line end (RFC 5322 section 2.1.1).
const LINE_OCTETS_MAX: usize = 998;

/// Fields that point forward: to those who get the message.
const FORWARD: [&str; 7] = ["To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc", "Apparently-To"];
/// Fields that point backward: to where it comes from, and where answers and reports go (RFC 5322 section 3.6, RFC 8098
/// section 2.1; the last ones are older than their RFCs).
const BACKWARD: [&str; 13] = [
    "From",
    "Sender",
    "Reply-To",
    "Resent-From",
    "Resent-Sender",
    "Resent-Reply-To",
    "Return-Path",
    "Disposition-Notification-To",
    "Return-Receipt-To",
    "Read-Receipt-To",
    "Delivery-Receipt-To",
    "Errors-To",
    "Warnings-To",
];

/// What the addresses in a field of that name are; `None` for a field that holds none.
pub fn kind_of_field(name: &[u8]) -> Option<Kind> {
    let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
    if FORWARD.iter().any(is) {
        return Some(Kind::HeaderTo);
    }
    BACKWARD.iter().any(is).then_some(Kind::HeaderFrom)
}

/// The addresses of a header, and where they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderAddresses {
    fields: Vec<AddressField>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AddressField {
    kind: Kind,
    place: Range<usize>,
    body: Range<usize>,
    addresses: Vec<WrittenAddress>,
}

impl HeaderAddresses {
    /// Reads a header in wire form, given without the empty line at its end. Fields of more than `field_octets_max` octets
    /// are passed over (`maxprocchars`).
    pub fn read(header: &[u8], field_octets_max: Option<usize>) -> HeaderAddresses {
        let mut read = HeaderAddresses::default();
        let mut room = HEADER_ADDRESSES_MAX;
        for found in header::fields(header) {
            if found.place.end > HEADER_OCTETS_MAX || room == 0 {
                break;
            }
            let Some(kind) = kind_of_field(found.name) else { continue };
            if field_octets_max.is_some_and(|most| found.body.len() > most) {
                continue;
            }
            let Ok(mut addresses) = field::addresses(&header[found.body.clone()]) else { continue };
            addresses.truncate(room);
            room -= addresses.len();
            if !addresses.is_empty() {
                read.fields.push(AddressField { kind, place: found.place, body: found.body, addresses });
            }
        }
        read
    }

    /// Whether there is any address.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Changes to a header, from its beginning to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct HeaderEdits {
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl HeaderEdits {
    /// Whether the header stays as it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Writes the header as it is after the changes.
    pub fn apply(&self, header: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        for (place, text) in &self.edits {
            out.extend_from_slice(&header[at..place.start]);
            out.extend_from_slice(text);
            at = place.end;
        }
        out.extend_from_slice(&header[at..]);
    }

    /// Takes in the changes of another header, which stands so many octets further on than these begin.
    pub fn append(&mut self, other: HeaderEdits, offset: usize) {
        let moved = |(place, text): (Range<usize>, Vec<u8>)| (place.start + offset..place.end + offset, text);
        self.edits.extend(other.edits.into_iter().map(moved));
    }

    /// How many octets longer the header becomes.
    pub fn growth(&self) -> usize {
        self.edits.iter().map(|(_, text)| text.len()).sum()
    }
}

/// The changes to a header, and what the operator should be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EditedHeader {
    /// The changes.
    pub edits: HeaderEdits,
    /// Texts that reversal gave for addresses and that are none; they were not used.
    pub bad_reversals: Vec<String>,
}

impl Rewriter {
    /// What becomes of the addresses of a header in the copy for a channel. `context.kind` is not looked at. When `late`
    /// says so, the rest stays as it is.
    pub fn edit_header(
        &self,
        header: &[u8],
        addresses: &HeaderAddresses,
        context: &Context<'_>,
        client: Option<&str>,
        late: &dyn Fn() -> bool,
    ) -> EditedHeader {
        let mut edited = EditedHeader::default();
        for field in &addresses.fields {
            let context = Context { kind: field.kind, ..*context };
            let mut lines =
                Lines { header, field, line: field.place.start, growth: 0, edits: &mut edited.edits.edits };
            for written in &field.addresses {
                if late() {
                    return edited;
                }
                let seen = self.seen_in_copy(&written.address, &context, client);
                edited.bad_reversals.extend(seen.bad_reversal);
                if seen.address != written.address && may_stand(&written.address, &seen.address) {
                    lines.change(written, &seen.address);
                }
            }
        }
        edited
    }
}

/// Rules may make anything, and in envelopes they may on purpose. In a header an address must be one, or the field around
/// it could no longer be read; and it must not need more than the header had.
fn may_stand(old: &Address, new: &Address) -> bool {
    let text = new.to_string();
    let read = field::addresses(text.as_bytes());
    read.is_ok_and(|read| matches!(read.as_slice(), [only] if only.address == *new))
        && (text.is_ascii() || !old.to_string().is_ascii())
}

/// Changes within one field, with an eye on the length of its lines.
struct Lines<'a> {
    header: &'a [u8],
    field: &'a AddressField,
    /// Where the line at hand begins.
    line: usize,
    /// How much longer that line has become, up to the last change.
    growth: isize,
    edits: &'a mut Vec<(Range<usize>, Vec<u8>)>,
}

impl Lines<'_> {
    fn change(&mut self, written: &WrittenAddress, new: &Address) {
        let base = self.field.body.start;
        let change = written.replacement(&self.header[self.field.body.clone()], new);
        let place = base + change.place.start..base + change.place.end;
        let address = base + written.place.start;
        let line = self.header[..address].iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        if line != self.line {
            (self.line, self.growth) = (line, 0);
        }
        let rest = &self.header[place.end..];
        let end = place.end + rest.iter().position(|octet| *octet == b'\r').unwrap_or(rest.len());
        let longer = change.text.len() as isize - place.len() as isize;
        if (end - line) as isize + self.growth + longer <= LINE_OCTETS_MAX as isize {
            self.growth += longer;
            self.edits.push((place, change.text));
            return;
        }
        let folded = (end - address) as isize + 1 + longer;
        let alone = self.header[line..address].trim_ascii().is_empty();
        if alone || folded > LINE_OCTETS_MAX as isize {
            return;
        }
        self.growth = longer + 1 - (address - line) as isize;
        if place.start == address {
            self.edits.push((place, [&b"\r\n "[..], &change.text].concat()));
        } else {
            self.edits.push((address..address, b"\r\n ".to_vec()));
            self.edits.push((place, change.text));
        }
    }
}

#[cfg(test)]
#[path = "header/tests.rs"]
mod tests;
