//! [`Stored`]: a message that was accepted, read without copying it.
//!
//! Its envelope and the pieces of its body are slices of mapped segments. It keeps those maps alive by itself: the entry
//! may be removed and the segment's name may go while it is held, and the bytes stay.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::ReadError;
use crate::ids::{EntryId, Location};
use crate::record::{self, Kind, RECORD_HEADER_LEN, Record};
use crate::segment::{MessageHead, Piece, SegmentFile, decode_chunk};
use crate::spool::Shared;
use crate::storage::Storage;

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

/// Reads and verifies the record and the envelope of the message that its owner knows at a location, and nothing of its body:
/// whoever looks through many messages wants no bodies from the disk.
pub(crate) fn read_envelope(shared: &Shared, at: Location) -> Result<Vec<u8>, ReadError> {
    where_it_is(shared, at, |at| envelope_at(shared, at))
}

fn where_it_is<T>(
    shared: &Shared,
    at: Location,
    read: impl Fn(Location) -> Result<T, ReadError>,
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

fn envelope_at(shared: &Shared, at: Location) -> Result<Vec<u8>, ReadError> {
    let segment = shared.segments.read().get(&at.segment).cloned().ok_or(ReadError::Missing { at })?;
    let offset = at.offset as usize;
    let bytes = segment.record_head(&*shared.storage, offset)?;
    let damaged = |what: &str| damaged(&segment, at.offset, what);
    if !offset.is_multiple_of(record::ALIGNMENT) {
        return Err(ReadError::Missing { at });
    }
    if bytes.len() < RECORD_HEADER_LEN {
        return Err(damaged("the segment ends before this place"));
    }
    let record = record::parse(bytes, segment.stamp()).map_err(|flaw| damaged(flaw.text()))?;
    match record.kind {
        Kind::Message => MessageHead::decode(record.head)
            .map(|head| head.envelope.to_vec())
            .ok_or_else(|| damaged("the lengths in the message do not fit")),
        _ => Err(ReadError::Missing { at }),
    }
}

/// The same before there is a spool: recovery uses it to verify what it finds.
pub(crate) fn read_from(
    storage: &dyn Storage,
    segments: &RwLock<HashMap<u32, Arc<SegmentFile>>>,
    at: Location,
) -> Result<Stored, ReadError> {
    let find = |number: u32| segments.read().get(&number).cloned();
    let segment = find(at.segment).ok_or(ReadError::Missing { at })?;
    let offset = at.offset as usize;
    let bytes = segment.record(storage, offset)?;
    let damaged = |what: &str| damaged(&segment, at.offset, what);
    if !offset.is_multiple_of(record::ALIGNMENT) {
        return Err(ReadError::Missing { at });
    }
    if bytes.len() < RECORD_HEADER_LEN {
        return Err(damaged("the segment ends before this place"));
    }
    let record = record::parse(bytes, segment.stamp()).map_err(|flaw| damaged(flaw.text()))?;
    let head = match record.kind {
        Kind::Message => MessageHead::decode(record.head)
            .ok_or_else(|| damaged("the lengths in the message do not fit"))?,
        _ => return Err(ReadError::Missing { at }),
    };
    let table = head.pieces();
    let mut body_len = record.body_len as u64;
    let mut pieces = Vec::with_capacity(table.len() + 1);
    let verified = segment.is_verified(at.offset);
    for (index, piece) in table.enumerate() {
        let holder = find(piece.segment).ok_or_else(|| {
            damaged(&format!("segment {}, which has a part of the body, is gone", piece.segment))
        })?;
        let range = chunk(storage, &holder, head.id, index, piece, !verified)?;
        body_len += u64::from(piece.len);
        if piece.len > 0 {
            pieces.push((holder, range));
        }
    }
    if body_len != head.body_len {
        return Err(damaged("the parts of the body do not add up"));
    }
    if !verified {
        verify_body(bytes, &record).map_err(damaged)?;
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
