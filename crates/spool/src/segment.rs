//! Segments: the files that hold messages, and the records in them.
//!
//! A message record has the envelope, the piece table and the last part of the body; earlier parts of a large body are
//! chunk records before it, perhaps in earlier segments. A [`SegmentFile`] is the reading side of one file; the writing
//! side is in `writer`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::ReadError;
use crate::ids::EntryId;
use crate::map::Map;
use crate::record::{self, FileKind, Kind, RECORD_HEADER_LEN, Reader, Record, Stamp};
use crate::storage::Storage;

/// Longest body of one record. Small enough that a piece is written in one go between two group commits, large enough
/// that a body of the usual limit (some tens of megabytes) has a short table.
pub(crate) const PIECE_MAX: usize = 1 << 20;

/// Fixed part of a message's head.
pub(crate) const MESSAGE_HEAD_LEN: usize = 24;
/// One line of the piece table.
pub(crate) const PIECE_LEN: usize = 16;
/// Head of a chunk.
pub(crate) const CHUNK_HEAD_LEN: usize = 16;

/// What is fetched in one go when a record is looked at: most are no longer.
const FETCHED_AT_ONCE: usize = 16 << 10;

/// Where one chunk of a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

/// The head of a message record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageHead<'a> {
    pub(crate) id: EntryId,
    /// Length of the whole body, pieces and tail.
    pub(crate) body_len: u64,
    table: &'a [u8],
    pub(crate) envelope: &'a [u8],
}

impl<'a> MessageHead<'a> {
    /// `None` when the lengths do not fit together.
    pub(crate) fn decode(head: &'a [u8]) -> Option<MessageHead<'a>> {
        let mut reader = Reader::new(head);
        let id = EntryId(reader.u64()?);
        let envelope_len = reader.u32()? as usize;
        let pieces = reader.u32()? as usize;
        let body_len = reader.u64()?;
        let table = reader.bytes(pieces.checked_mul(PIECE_LEN)?)?;
        let envelope = reader.rest();
        (envelope.len() == envelope_len).then_some(MessageHead { id, body_len, table, envelope })
    }

    /// The chunks of the body, in order.
    pub(crate) fn pieces(&self) -> impl ExactSizeIterator<Item = Piece> + 'a {
        self.table.chunks_exact(PIECE_LEN).map(|line| {
            let number = |at: usize| u32::from_le_bytes([line[at], line[at + 1], line[at + 2], line[at + 3]]);
            Piece { segment: number(0), offset: number(4), len: number(8), crc: number(12) }
        })
    }
}

/// Length of a message's head.
pub(crate) fn message_head_len(pieces: usize, envelope: usize) -> usize {
    MESSAGE_HEAD_LEN + pieces * PIECE_LEN + envelope
}

/// Appends the head of a message record.
pub(crate) fn encode_message_head(
    out: &mut Vec<u8>,
    id: EntryId,
    body_len: u64,
    pieces: &[Piece],
    envelope: &[u8],
) {
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&(envelope.len() as u32).to_le_bytes());
    out.extend_from_slice(&(pieces.len() as u32).to_le_bytes());
    out.extend_from_slice(&body_len.to_le_bytes());
    for piece in pieces {
        for number in [piece.segment, piece.offset, piece.len, piece.crc] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(envelope);
}

/// The head of a chunk record: whose, and which one.
pub(crate) fn chunk_head(id: EntryId, index: u32) -> [u8; CHUNK_HEAD_LEN] {
    let mut head = [0; CHUNK_HEAD_LEN];
    head[0..8].copy_from_slice(&id.0.to_le_bytes());
    head[8..12].copy_from_slice(&index.to_le_bytes());
    head
}

/// A filler: a chunk of nobody's, by which a group of records ends with its page.
pub(crate) const FILLER: EntryId = EntryId(0);

/// The shortest.
pub(crate) const FILLER_MIN: usize = RECORD_HEADER_LEN + CHUNK_HEAD_LEN;

/// Appends a filler that takes so many bytes, a multiple of eight.
pub(crate) fn encode_filler(out: &mut Vec<u8>, stamp: Stamp, len: usize) {
    let start = record::open(out, stamp);
    out.extend_from_slice(&chunk_head(FILLER, 0));
    let body = vec![0; len.saturating_sub(FILLER_MIN)];
    record::seal(out, start, stamp, Kind::Chunk, (body.len(), crc32c::crc32c(&body)));
    out.extend_from_slice(&body);
}

/// Whether a record is one.
pub(crate) fn is_filler(record: &Record<'_>) -> bool {
    record.kind == Kind::Chunk && decode_chunk(record.head).is_some_and(|(id, _)| id == FILLER)
}

/// The id and index in a chunk's head.
pub(crate) fn decode_chunk(head: &[u8]) -> Option<(EntryId, u32)> {
    if head.len() != CHUNK_HEAD_LEN {
        return None;
    }
    let mut reader = Reader::new(head);
    Some((EntryId(reader.u64()?), reader.u32()?))
}

/// One segment as its readers see it.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    number: u32,
    name: String,
    path: PathBuf,
    stamp: Stamp,
    /// Readers stay below; the writer stays at or above.
    end: AtomicUsize,
    map: OnceLock<Map>,
    /// Offsets of messages whose bodies were verified since the file was mapped.
    verified: Mutex<HashSet<u32>>,
}

impl SegmentFile {
    pub(crate) fn new(storage: &dyn Storage, spool_id: u64, number: u32, end: usize) -> SegmentFile {
        let name = FileKind::Segment.name(number);
        SegmentFile {
            number,
            path: storage.path(&name),
            name,
            stamp: Stamp::new(spool_id, FileKind::Segment, number),
            end: AtomicUsize::new(end),
            map: OnceLock::new(),
            verified: Mutex::new(HashSet::new()),
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Lets readers see what is now on the disk. Only the writer calls this, after the sync.
    pub(crate) fn publish(&self, end: usize) {
        self.end.store(end, Ordering::Release);
    }

    /// The bytes from an offset to the published end; nobody writes to them any more. The file is mapped at the first
    /// use, so that start-up maps nothing it does not look at.
    pub(crate) fn view(&self, storage: &dyn Storage, offset: usize) -> Result<&[u8], ReadError> {
        let map = match self.map.get() {
            Some(map) => map,
            None => {
                let map = storage
                    .map(&self.name)
                    .map_err(|source| ReadError::Map { path: self.path.clone(), source })?;
                self.map.get_or_init(|| map)
            }
        };
        let end = self.end.load(Ordering::Acquire).min(map.len());
        Ok(map.slice(offset.min(end)..end).unwrap_or(&[]))
    }

    /// The bytes from an offset on where a record begins, all of which can be touched now. What the disk does not give back,
    /// or somebody has cut off, is damage.
    pub(crate) fn record(&self, storage: &dyn Storage, offset: usize) -> Result<&[u8], ReadError> {
        self.fetched(storage, offset, record::length_said)
    }

    /// The same, and of the record only what stands before its body can be touched: no more is asked of the disk.
    pub(crate) fn record_head(&self, storage: &dyn Storage, offset: usize) -> Result<&[u8], ReadError> {
        self.fetched(storage, offset, record::head_length_said)
    }

    fn fetched(
        &self,
        storage: &dyn Storage,
        offset: usize,
        length: fn(&[u8]) -> usize,
    ) -> Result<&[u8], ReadError> {
        let bytes = self.view(storage, offset)?;
        let at_once = FETCHED_AT_ONCE.min(bytes.len());
        let mut fetched = at_once;
        if self.fetch(offset, at_once).is_err() {
            // What cannot be read may be another's.
            fetched = RECORD_HEADER_LEN.min(bytes.len());
            self.fetch(offset, fetched)?;
        }
        let len = length(bytes).min(bytes.len());
        if len > fetched {
            self.fetch(offset, len)?;
        }
        Ok(bytes)
    }

    /// Has a range brought into memory.
    pub(crate) fn fetch(&self, offset: usize, len: usize) -> Result<(), ReadError> {
        let Some(map) = self.map.get() else { return Ok(()) };
        map.fetch(offset..offset + len).map_err(|_| ReadError::Damaged {
            path: self.path.clone(),
            offset: offset as u64,
            what: "the disk does not give it back, or somebody has cut the file short".to_owned(),
        })
    }

    /// Takes a map that recovery has made; for nobody who has looked at the file already.
    pub(crate) fn give(&self, map: Map) {
        // Recovery gives it once, before there are readers.
        let _ = self.map.set(map);
    }

    /// What readers see is the file itself, and no copy of what could be read of it.
    pub(crate) fn is_mapped(&self) -> bool {
        self.map.get().is_some_and(Map::is_of_file)
    }

    /// A range that `view` has shown before.
    pub(crate) fn slice(&self, start: usize, len: usize) -> &[u8] {
        self.map.get().and_then(|map| map.slice(start..start + len)).unwrap_or(&[])
    }

    pub(crate) fn is_verified(&self, offset: u32) -> bool {
        self.verified.lock().contains(&offset)
    }

    pub(crate) fn set_verified(&self, offset: u32) {
        self.verified.lock().insert(offset);
    }

    /// Has the next reader of a message verify its body again.
    pub(crate) fn unverify(&self, offset: u32) {
        self.verified.lock().remove(&offset);
    }
}
