//! Walking the records of a file, across whatever is broken in it.

use crate::map::Map;
use crate::quarantine;
use crate::record::{self, FILE_HEADER_LEN, FileHeader, FileKind, Flaw, HeaderFlaw, Later, Record, Stamp};
use crate::segment;

/// What stands in a file, in order.
pub(crate) enum Found<'a> {
    Record(usize, Record<'a>),
    /// A stretch that is not understood, with good records behind it.
    Damage(std::ops::Range<usize>, &'static str),
    /// A stretch that is not understood at the end.
    Torn(std::ops::Range<usize>),
    /// A good record of a later version.
    Newer(u8),
    /// Nothing from here on.
    End(usize),
}

/// Walks a file from its header on. A header that is not good is damage when records follow it; else the crash came
/// while the file was begun.
pub(crate) fn walk_file(kind: FileKind, bytes: &[u8], stamp: Stamp, later: Later) -> Vec<Found<'_>> {
    let mut found = walk(bytes, stamp, FILE_HEADER_LEN, later);
    let end = bytes.len();
    match FileHeader::decode(kind, bytes, later) {
        Ok(_) => found.extend(shortness(kind, bytes, later)),
        Err(flaw) => {
            let header = 0..quarantine::trimmed(&bytes[..end.min(FILE_HEADER_LEN)]);
            let has_records = found.iter().any(|found| matches!(found, Found::Record(..)));
            let flaw =
                if has_records { Found::Damage(header, header_flaw(flaw)) } else { Found::Torn(header) };
            found.insert(0, flaw);
        }
    }
    found
}

/// Damage, when the file is shorter than its header says. Its length was reserved before its header was written, so this is not
/// what a crash does.
pub(super) fn shortness(kind: FileKind, bytes: &[u8], later: Later) -> Option<Found<'static>> {
    let end = bytes.len();
    let header = FileHeader::decode(kind, bytes, later).ok()?;
    ((end as u64) < header.size).then_some(Found::Damage(end..end, "the file is shorter than it was made"))
}

/// Walks the records from an offset on.
pub(crate) fn walk(bytes: &[u8], stamp: Stamp, from: usize, later: Later) -> Vec<Found<'_>> {
    Walk::new(bytes, stamp, from, later).collect()
}

/// The same step by step: a checkpoint may have millions of records.
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    stamp: Stamp,
    later: Later,
    offset: usize,
    /// What is left to be said at the end.
    last: Option<Found<'a>>,
    is_over: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8], stamp: Stamp, from: usize, later: Later) -> Walk<'a> {
        Walk { bytes, stamp, later, offset: from.min(bytes.len()), last: None, is_over: false }
    }

    /// Whether a filler stands there and nothing behind it.
    fn is_last_filler(&self, offset: usize) -> bool {
        let rest = &self.bytes[offset..];
        let filler = record::parse(rest, self.stamp).ok().filter(segment::is_filler);
        filler.is_some_and(|filler| {
            rest.get(filler.len()..).is_none_or(|behind| quarantine::trimmed(behind) == 0)
        })
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        if self.is_over {
            return self.last.take();
        }
        let (bytes, offset) = (self.bytes, self.offset);
        let flaw = match record::parse(&bytes[offset..], self.stamp) {
            Ok(record) => {
                self.offset = (offset + record.len()).min(bytes.len());
                return Some(Found::Record(offset, record));
            }
            Err(Flaw::Newer(version)) if self.later == Later::Refuse => {
                self.is_over = true;
                return Some(Found::Newer(version));
            }
            Err(flaw @ Flaw::Newer(_)) => {
                let end = (offset + record::len_of_unknown(&bytes[offset..])).min(bytes.len());
                self.offset = end;
                return Some(Found::Damage(offset..end, flaw.text()));
            }
            Err(flaw) => flaw,
        };
        let used = offset + quarantine::trimmed(&bytes[offset..]);
        if let Some(next) = record::resync(bytes, offset + record::ALIGNMENT..used, self.stamp) {
            if self.is_last_filler(next) {
                // It belongs to the group before it, and says no more of it than that it was being written.
                self.is_over = true;
                self.last = Some(Found::End(offset));
                return Some(Found::Torn(offset..next));
            }
            self.offset = next;
            return Some(Found::Damage(offset..next, flaw.text()));
        }
        self.is_over = true;
        if used > offset {
            self.last = Some(Found::End(offset));
            return Some(Found::Torn(offset..used));
        }
        Some(Found::End(offset))
    }
}

pub(crate) fn header_flaw(flaw: HeaderFlaw) -> &'static str {
    match flaw {
        HeaderFlaw::Blank => "the header of the file is blank",
        HeaderFlaw::Damaged => "the header of the file is damaged",
        HeaderFlaw::Newer(_) => "the file has a newer format",
    }
}

/// All bytes of a map. The caller is recovery, before there is a writer.
pub(crate) fn whole(map: &Map) -> &[u8] {
    map.slice(0..map.len()).unwrap_or(&[])
}
