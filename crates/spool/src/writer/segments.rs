//! The writer's segments: planning records, making room, and the write and sync that accept a batch.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{NAMES_TRIED, OpenFile, Writer};
use crate::batch::{Batch, Committing};
use crate::checkpoint::LiveRow;
use crate::draft::{DraftState, Part};
use crate::error::SealError;
use crate::ids::Location;
use crate::record::{self, ALIGNMENT, FILE_HEADER_LEN, FORMAT_VERSION, FileHeader, FileKind, Kind, Stamp};
use crate::request::Transition;
use crate::segment::{self, CHUNK_HEAD_LEN, Piece, SegmentFile};
use crate::spool::FILE_SIZE_MIN;
use crate::storage::File;

/// On a full disk a segment is tried with the usual size divided by these. Not smaller: the last of the room is left to
/// journals and checkpoints, which empty the disk again.
const SEGMENT_DIVISORS: &[u64] = &[4, 16];

/// The same for journals, down to 64 KiB of the usual 16 MiB: a journal that is small is far better than none.
const JOURNAL_DIVISORS: &[u64] = &[4, 16, 256];

/// The name of a file that is there for its room only: a journal takes its place on a disk that is full. A start on such a disk
/// would else have nothing to write down in what was delivered, no segment would go, and the disk would stay full.
pub(crate) const SPARE_NAME: &str = "spare";

/// Its size; as a journal it notes the end of some thousand messages, which make room for more.
pub(crate) const SPARE_SIZE: u64 = 64 << 10;

/// The page of the file system's cache: what is written into one goes to the disk with all of it.
pub(super) const PAGE: usize = 4096;

/// A filler is at most such a part of the group that it ends. It saves what the page has before it, which else is written twice, and costs
/// as much room as it is long: for four messages of 4 KiB and more always less than it saves, for one mostly more.
const FILLER_SHARE: usize = 4;

/// How long a filler is to stand behind a batch: up to the end of the last page, which else goes to the disk once more with the next
/// group. Only where that is little beside the group: a filler takes room.
fn filler(open: &OpenFile, batch: &Batch) -> Option<usize> {
    let end = open.written + batch.len();
    let left = end.next_multiple_of(PAGE) - end;
    let is_little = left <= batch.len() / FILLER_SHARE && end + left <= open.size;
    (!batch.commits.is_empty() && left >= segment::FILLER_MIN && is_little).then_some(left)
}

impl Writer {
    /// Plans chunk records for the open segment.
    pub(super) fn append_chunks(
        &mut self,
        draft: &Arc<DraftState>,
        bytes: &Arc<Vec<u8>>,
        parts: &[Part],
    ) -> Result<(), SealError> {
        for part in parts {
            let len = record::record_len(CHUNK_HEAD_LEN, part.range.len());
            let (at, stamp) = self.room(len)?;
            let mut pieces = draft.pieces.lock();
            if pieces.broken {
                return Err(SealError::Broken { id: draft.id });
            }
            let index = pieces.written.len() as u32;
            self.batch.arena(|arena| {
                let start = record::open(arena, stamp);
                arena.extend_from_slice(&segment::chunk_head(draft.id, index));
                record::seal(arena, start, stamp, Kind::Chunk, (part.range.len(), part.crc));
            });
            self.batch.body(bytes, part.range.clone());
            self.batch
                .arena(|arena| arena.extend_from_slice(record::padding(CHUNK_HEAD_LEN, part.range.len())));
            let (segment, offset) = (at.segment, at.offset);
            pieces.written.push(Piece { segment, offset, len: part.range.len() as u32, crc: part.crc });
            pieces.body_len += part.range.len() as u64;
            if pieces.pins.last().is_none_or(|(pinned, _)| *pinned != segment) {
                pieces.pins.push((segment, self.books.pin(segment)));
            }
        }
        Ok(())
    }

    /// Plans a message record for the open segment.
    pub(super) fn append_message(
        &mut self,
        draft: &DraftState,
        envelope: &[u8],
        body: Option<(&Arc<Vec<u8>>, &Part)>,
    ) -> Result<LiveRow, SealError> {
        let (body_len, crc) = body.map_or((0, 0), |(_, part)| (part.range.len(), part.crc));
        let head_len = segment::message_head_len(draft.pieces.lock().written.len(), envelope.len());
        let (at, stamp) = self.room(record::record_len(head_len, body_len))?;
        // Looked at only now: making room may have sealed, and lost, the segment of its chunks.
        let pieces = draft.pieces.lock();
        if pieces.broken || pieces.written.iter().any(|piece| self.is_lost(piece)) {
            return Err(SealError::Broken { id: draft.id });
        }
        let total = pieces.body_len + body_len as u64;
        self.batch.arena(|arena| {
            let start = record::open(arena, stamp);
            segment::encode_message_head(arena, draft.id, total, &pieces.written, envelope);
            record::seal(arena, start, stamp, Kind::Message, (body_len, crc));
        });
        if let Some((bytes, part)) = body {
            self.batch.body(bytes, part.range.clone());
        }
        self.batch.arena(|arena| arena.extend_from_slice(record::padding(head_len, body_len)));
        let mut spread: Vec<u32> = pieces.pins.iter().map(|(segment, _)| *segment).collect();
        spread.retain(|segment| *segment != at.segment);
        spread.dedup();
        Ok(LiveRow { at, body_len: total, spread: spread.into() })
    }

    /// Whether a chunk was in a batch that failed.
    fn is_lost(&self, piece: &Piece) -> bool {
        self.abandoned.get(&piece.segment).is_some_and(|end| piece.offset as usize >= *end)
    }

    /// Sees to it that `len` bytes fit into the open segment, and says where they will stand.
    fn room(&mut self, len: usize) -> Result<(Location, Stamp), SealError> {
        let limit = self.shared.options.segment_size as usize - FILE_HEADER_LEN;
        if len > limit {
            return Err(SealError::TooLarge { len: len as u64, limit: limit as u64 });
        }
        if self.segment.as_ref().is_some_and(|open| open.written + self.batch.len() + len > open.size) {
            self.flush_segment(true);
            self.segment = None;
        }
        let planned = self.batch.len();
        let open = match &self.segment {
            Some(open) => open,
            None => self.open_segment(len)?,
        };
        let offset = (open.written + planned) as u32;
        Ok((Location { segment: open.number, offset }, open.stamp))
    }

    /// Begins a segment in which a record of `len` bytes fits.
    pub(super) fn open_segment(&mut self, len: usize) -> Result<&OpenFile, SealError> {
        if let Some(error) = &self.refused_segment {
            // Asking a full disk once per message helps nobody; `probe` asks once per retry delay.
            return Err(error.clone());
        }
        match self.keep_journal().and_then(|()| self.begin_file(FileKind::Segment, len)) {
            Ok(open) => {
                let shared = &self.shared;
                let number = open.number;
                let file = SegmentFile::new(&*shared.storage, shared.spool_id, number, FILE_HEADER_LEN);
                shared.segments.write().insert(number, Arc::new(file));
                self.books.open(number);
                self.condition(FileKind::Segment, None);
                Ok(self.segment.insert(open))
            }
            Err(error) => {
                self.refused_segment = Some(error.clone());
                self.condition(FileKind::Segment, Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Begins a journal when none is open, before a segment may take the room: on a disk that mail has filled, what is
    /// settled can be written down, and so the segments go and make room again.
    fn keep_journal(&mut self) -> Result<(), SealError> {
        if self.journal.is_none() {
            self.journal = Some(self.begin_file(FileKind::Journal, 0)?);
        }
        Ok(())
    }

    /// Begins the next segment or journal, with room for a record of `len` bytes; a smaller one than usual when the
    /// disk has no room for that.
    pub(super) fn begin_file(&mut self, kind: FileKind, len: usize) -> Result<OpenFile, SealError> {
        let usual = self.usual_size(kind);
        let divisors = match kind {
            FileKind::Segment => SEGMENT_DIVISORS,
            _ => JOURNAL_DIVISORS,
        };
        let mut result = self.begin_file_of(kind, usual);
        for divisor in divisors {
            let size = (usual / divisor) & !(ALIGNMENT as u64 - 1);
            let full = matches!(&result, Err(SealError::Full { .. }));
            if !full || size < FILE_SIZE_MIN.max((FILE_HEADER_LEN + len) as u64) {
                break;
            }
            result = self.begin_file_of(kind, size);
        }
        if kind == FileKind::Journal {
            match &result {
                // What would not fit into it does not get it.
                Err(SealError::Full { .. })
                    if (FILE_HEADER_LEN + len) as u64 <= SPARE_SIZE.min(usual)
                        && self.shared.storage.remove(SPARE_NAME).is_ok() =>
                {
                    self.has_spare = false;
                    tracing::warn!("the disk is full; the room that is kept for a journal is used");
                    result = self.begin_file_of(kind, SPARE_SIZE.min(usual));
                }
                Ok(_) if !self.has_spare => self.keep_spare(),
                _ => {}
            }
        }
        result
    }

    /// Keeps room for a journal. Not having it is no trouble yet.
    fn keep_spare(&mut self) {
        let made = self.shared.storage.create(SPARE_NAME, SPARE_SIZE.min(self.shared.options.journal_size));
        self.has_spare = match made {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::AlreadyExists,
        };
    }

    fn usual_size(&self, kind: FileKind) -> u64 {
        match kind {
            FileKind::Segment => self.shared.options.segment_size,
            _ => self.shared.options.journal_size,
        }
    }

    fn begin_file_of(&mut self, kind: FileKind, size: u64) -> Result<OpenFile, SealError> {
        let next = match kind {
            FileKind::Segment => &mut self.next_segment,
            _ => &mut self.next_journal,
        };
        let first = *next;
        // A number is used once, also when the file could not be made: half a file of that name may be there. And
        // somebody may have put something else there meanwhile, so a few names are tried.
        let last = first.saturating_add(NAMES_TRIED);
        let mut number = first;
        let mut created = self.shared.storage.create(&kind.name(number), size);
        while number < last
            && created.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists)
        {
            number += 1;
            created = self.shared.storage.create(&kind.name(number), size);
        }
        *next = number.saturating_add(1);
        self.open_file(kind, number, size, created)
    }

    /// Gives a new file its header, and makes both durable, name and all.
    fn open_file(
        &self,
        kind: FileKind,
        number: u32,
        size: u64,
        created: std::io::Result<Box<dyn File>>,
    ) -> Result<OpenFile, SealError> {
        let storage = &self.shared.storage;
        let spool_id = self.shared.spool_id;
        let name = kind.name(number);
        let path = storage.path(&name);
        let mut file = created.map_err(|error| SealError::write(path.clone(), error))?;
        let header = FileHeader { kind, version: FORMAT_VERSION, number, spool_id, size }.encode();
        let result = file
            .write_at(0, &[IoSlice::new(&header)])
            .map_err(|error| SealError::write(path.clone(), error))
            .and_then(|()| file.sync().map_err(|error| SealError::sync(path.clone(), error)))
            .and_then(|()| storage.sync_dir().map_err(|error| SealError::sync(path.clone(), error)));
        if let Err(error) = result {
            // Nothing is in it; what stays is removed at the next start.
            let _ = storage.remove(&name);
            return Err(error);
        }
        let stamp = Stamp::new(spool_id, kind, number);
        let (written, synced, laid) = (FILE_HEADER_LEN, FILE_HEADER_LEN, FILE_HEADER_LEN);
        Ok(OpenFile { number, file, stamp, size: size as usize, written, synced, laid })
    }

    /// Writes the batch; syncs when a message is in it, or when the segment is to be sealed. A sealed segment is on the
    /// disk to its end, so that later only the open one can hold anything that is not.
    pub(super) fn flush_segment(&mut self, seal: bool) {
        if self.batch.is_idle() && !seal {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let Some(open) = &self.segment else {
            // No segment, so no bytes; but somebody may wait for an empty chunk.
            for done in batch.chunks.drain(..) {
                done.keep(Ok(()));
            }
            self.batch = batch;
            return;
        };
        if let Some(len) = filler(open, &batch) {
            batch.arena(|arena| segment::encode_filler(arena, open.stamp, len));
        }
        let expects_more = self.follows_alone(&batch) && !seal;
        let result = self.write_segment(&batch, expects_more, seal);
        batch.clear_bytes();
        match result {
            Ok(()) => self.accept(&mut batch),
            Err(error) => {
                self.abandon_segment(&error);
                batch.refuse_all(&error, &self.shared.counters.refused);
            }
        }
        // Callbacks may not call back into the writer, so nothing was planned meanwhile.
        self.batch = batch;
    }

    /// Writes and syncs what [`Writer::flush_segment`] says, into the open segment; where more is expected of the same kind, with zeros ahead.
    fn write_segment(&mut self, batch: &Batch, expects_more: bool, seal: bool) -> Result<(), SealError> {
        let Some(open) = &mut self.segment else { return Ok(()) };
        let (storage, number) = (&self.shared.storage, open.number);
        let path = || storage.path(&FileKind::Segment.name(number));
        if !batch.is_empty() {
            open.file
                .write_at(open.written as u64, &batch.io_slices())
                .map_err(|error| SealError::write(path(), error))?;
            open.written += batch.len();
            if expects_more {
                open.write_ahead();
            }
            open.laid = open.laid.max(open.written);
            self.shared.counters.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        let must_sync = seal || batch.must_sync || !batch.commits.is_empty();
        if must_sync && open.written > open.synced {
            open.file.sync().map_err(|error| SealError::sync(path(), error))?;
            open.synced = open.written;
            self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The instant: what the batch promised is true now.
    fn accept(&mut self, batch: &mut Batch) {
        for done in batch.chunks.drain(..) {
            done.keep(Ok(()));
        }
        let Some(open) = &self.segment else { return };
        if let Some(file) = self.shared.segments.read().get(&open.number) {
            file.publish(open.synced);
        }
        for Committing { draft, row, .. } in &batch.commits {
            self.books.insert(draft.id, row);
        }
        if !batch.commits.is_empty() {
            self.condition(FileKind::Segment, None);
            self.shared.counters.commits.fetch_add(batch.commits.len() as u64, Ordering::Relaxed);
            self.shared.counters.entries.store(self.books.entries() as u64, Ordering::Relaxed);
        }
        for Committing { row, done, .. } in batch.commits.drain(..) {
            done.keep(Ok(row.at));
        }
    }

    /// Leaves the open segment for good.
    fn abandon_segment(&mut self, error: &SealError) {
        if let Some(open) = self.segment.take() {
            self.abandoned.insert(open.number, open.synced);
            self.pending.push(Transition::void(FileKind::Segment, open.number, open.synced as u32));
            self.urgent = true;
        }
        self.condition(FileKind::Segment, Some(error.clone()));
    }
}
