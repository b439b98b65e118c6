//! [`Stored`]: a message that was accepted, read without copying it.
//!
//! Its envelope and the pieces of its body are slices of mapped segments. It keeps those maps alive by itself: the entry
//! may be removed and the segment's name may go while it is held, and the bytes stay.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::ReadError;
use crate::ids::{EntryId, Location};
use crate::record::{self, Kind, RECORD_HEADER_LEN, Record};
use crate::segment::{MessageHead, Piece, SegmentFile, decode_chunk};
use crate::spool::Shared;
use crate::storage::Storage;

/// The segments by their numbers.
pub(crate) type Segments = RwLock<HashMap<u32, Arc<SegmentFile>>>;

/// A stored message. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stored {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: EntryId,
    body_len: u64,
    segment: Arc<SegmentFile>,
    envelope: Range<usize>,
    pieces: Vec<(Arc<SegmentFile>, Range<usize>)>,
}

impl Stored {
    /// The message's id.
    pub fn id(&self) -> EntryId {
        self.inner.id
    }

    /// The envelope as it was committed.
    pub fn envelope(&self) -> &[u8] {
        slice(&self.inner.segment, &self.inner.envelope)
    }

    /// The body in order, in pieces of any length but zero. An empty body has no pieces.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.inner.pieces.iter().map(|(segment, range)| slice(segment, range))
    }

    /// Where the pieces are: number and path of the segment, and the range in it. `None` where they are not all in files as
    /// they are: a segment that cannot be read whole is known by a copy of what could be read.
    pub fn places(&self) -> Option<impl ExactSizeIterator<Item = (u32, &Path, Range<usize>)> + Clone> {
        let all_are_mapped = self.inner.pieces.iter().all(|(segment, _)| segment.is_mapped());
        all_are_mapped.then(|| {
            let pieces = self.inner.pieces.iter();
            pieces.map(|(segment, range)| (segment.number(), segment.path(), range.clone()))
        })
    }

    /// Length of the body in bytes: the sum of the pieces.
    pub fn body_len(&self) -> u64 {
        self.inner.body_len
    }
}

fn slice<'a>(segment: &'a SegmentFile, range: &Range<usize>) -> &'a [u8] {
    segment.slice(range.start, range.end - range.start)
}

/// Reads and verifies the message that its owner knows by this location.
pub(crate) fn read(shared: &Shared, at: Location) -> Result<Stored, ReadError> {
    where_it_is(shared, at, |at| read_at(shared, at))
}

/// Reads what its owner knows by a location, wherever it is now.
pub(crate) fn where_it_is<T>(
    shared: &Shared,
    at: Location,
    mut read: impl FnMut(Location) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let place = || shared.moved.read().get(&at).copied().unwrap_or(at);
    let before = place();
    let result = read(before);
    // It may have been copied, and its segment removed, between the two looks.
    match place() {
        after if result.is_err() && after != before => read(after),
        _ => result,
    }
}

/// Reads and verifies the message that is at a location now.
pub(crate) fn read_at(shared: &Shared, at: Location) -> Result<Stored, ReadError> {
    read_from(&*shared.storage, &shared.segments, at)
}

/// The segment that a location is in.
pub(crate) fn segment_of(shared: &Shared, at: Location) -> Result<Arc<SegmentFile>, ReadError> {
    shared.segments.read().get(&at.segment).cloned().ok_or(ReadError::Missing { at })
}

/// Verifies the record at a location and gives its envelope, and nothing of its body: whoever looks through many messages
/// wants no bodies from the disk. `bytes` begins there; what stands before the body can be touched.
pub(crate) fn envelope_in(segment: &SegmentFile, at: Location, bytes: &[u8]) -> Result<Vec<u8>, ReadError> {
    let (_, head) = message_in(segment, at, bytes)?;
    Ok(head.envelope.to_vec())
}

/// The record at a location and its head, verified.
fn message_in<'a>(
    segment: &SegmentFile,
    at: Location,
    bytes: &'a [u8],
) -> Result<(Record<'a>, MessageHead<'a>), ReadError> {
    let damaged = |what: &str| damaged(segment, at.offset, what);
    if !(at.offset as usize).is_multiple_of(record::ALIGNMENT) {
        return Err(ReadError::Missing { at });
    }
    if bytes.len() < RECORD_HEADER_LEN {
        return Err(damaged("the segment ends before this place"));
    }
    let record = record::parse(bytes, segment.stamp()).map_err(|flaw| damaged(flaw.text()))?;
    match record.kind {
        Kind::Message => MessageHead::decode(record.head)
            .map(|head| (record, head))
            .ok_or_else(|| damaged("the lengths in the message do not fit")),
        _ => Err(ReadError::Missing { at }),
    }
}

/// The same before there is a spool, and for who looks at one.
pub(crate) fn read_from(
    storage: &dyn Storage,
    segments: &Segments,
    at: Location,
) -> Result<Stored, ReadError> {
    let segment = segments.read().get(&at.segment).cloned().ok_or(ReadError::Missing { at })?;
    let offset = at.offset as usize;
    let bytes = segment.record(storage, offset)?;
    let (record, head) = message_in(&segment, at, bytes)?;
    let is_verified = segment.is_verified(at.offset);
    let mut pieces = Vec::with_capacity(head.pieces().len() + 1);
    chunks(storage, segments, &segment, (at, &record, &head), !is_verified, &mut pieces)?;
    if !is_verified {
        verify_body(bytes, &record).map_err(|what| damaged(&segment, at.offset, what))?;
        segment.set_verified(at.offset);
    }
    if record.body_len > 0 {
        let start = offset + record.body_start;
        pieces.push((Arc::clone(&segment), start..start + record.body_len));
    }
    let envelope_end = offset + record.body_start;
    let envelope = envelope_end - head.envelope.len()..envelope_end;
    let (id, body_len) = (head.id, head.body_len);
    Ok(Stored { inner: Arc::new(Inner { id, body_len, segment, envelope, pieces }) })
}

/// Verifies a message whose whole segment has been fetched just now, and remembers nothing: recovery goes over all of them, and
/// whoever reads one later verifies it by himself. `bytes` begins where its record begins.
pub(crate) fn verify(
    storage: &dyn Storage,
    segments: &Segments,
    segment: &SegmentFile,
    message: (Location, &Record<'_>, &MessageHead<'_>),
    bytes: &[u8],
) -> Result<(), ReadError> {
    chunks(storage, segments, segment, message, true, &mut Vec::new())?;
    let (at, record, _) = message;
    verify_body(bytes, record).map_err(|what| damaged(segment, at.offset, what))
}

/// Finds the chunks of a body, and compares the sum of all its parts.
fn chunks(
    storage: &dyn Storage,
    segments: &Segments,
    segment: &SegmentFile,
    (at, record, head): (Location, &Record<'_>, &MessageHead<'_>),
    verify: bool,
    pieces: &mut Vec<(Arc<SegmentFile>, Range<usize>)>,
) -> Result<(), ReadError> {
    let damaged = |what: &str| damaged(segment, at.offset, what);
    let mut body_len = record.body_len as u64;
    for (index, piece) in head.pieces().enumerate() {
        let holder = segments.read().get(&piece.segment).cloned().ok_or_else(|| {
            damaged(&format!("segment {}, which has a part of the body, is gone", piece.segment))
        })?;
        let range = chunk(storage, &holder, head.id, index, piece, verify)?;
        body_len += u64::from(piece.len);
        if piece.len > 0 {
            pieces.push((holder, range));
        }
    }
    if body_len != head.body_len {
        return Err(damaged("the parts of the body do not add up"));
    }
    Ok(())
}

/// Where the bytes of a chunk are, when the chunk is the one the table means.
fn chunk(
    storage: &dyn Storage,
    segment: &SegmentFile,
    id: EntryId,
    index: usize,
    piece: Piece,
    verify: bool,
) -> Result<Range<usize>, ReadError> {
    let damaged = |what: &str| damaged(segment, piece.offset, what);
    let bytes = segment.record(storage, piece.offset as usize)?;
    let record = record::parse(bytes, segment.stamp()).map_err(|flaw| damaged(flaw.text()))?;
    let owner = decode_chunk(record.head).filter(|_| record.kind == Kind::Chunk);
    if owner != Some((id, index as u32))
        || (record.body_len as u32, record.body_crc) != (piece.len, piece.crc)
    {
        return Err(damaged("another part of a message is here than its table says"));
    }
    if verify {
        verify_body(bytes, &record).map_err(damaged)?;
    }
    let start = piece.offset as usize + record.body_start;
    Ok(start..start + record.body_len)
}

/// Compares a record's body with its checksum. `bytes` begins where the record begins.
pub(crate) fn verify_body(bytes: &[u8], record: &Record<'_>) -> Result<(), &'static str> {
    let body = &bytes[record.body_start..record.body_start + record.body_len];
    if crc32c::crc32c(body) == record.body_crc {
        Ok(())
    } else {
        Err("the checksum of the body does not fit")
    }
}

fn damaged(segment: &SegmentFile, offset: u32, what: &str) -> ReadError {
    ReadError::Damaged { path: segment.path().to_owned(), offset: u64::from(offset), what: what.to_owned() }
}
