//! The writer thread: the only one that writes segments and journals.
//!
//! It takes everything that waits, appends it with one `pwritev`, syncs once, and then answers everybody: group commit.
//! A slow disk makes larger groups, not longer queues.
//!
//! # What wakes it, what ends it
//! A request; the deadline of lazy transitions; the retry after a failed write. It ends with [`Message::Close`], after
//! making durable what was asked for before it.
//!
//! # Failure
//! After a failed write or sync nothing is known about what the file holds behind the last good sync, and asking again
//! proves nothing (the kernel forgets the failure with the pages). So the file is left as it is, everybody in the batch
//! is refused, a `Void` record says from where on it does not count, and a new file is begun. Journal lines that were in
//! a failed batch stay in memory and go into the new file.
//!
//! # Not here
//! What the batch looks like in memory (`batch`), which segments are still needed (`books`).

use std::collections::{HashMap, HashSet};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use crate::batch::{Batch, Committing};
use crate::books::Books;
use crate::checkpoint::{Begin, Line, LiveRow};
use crate::error::SealError;
use crate::ids::Location;
use crate::quarantine;
use crate::record::{self, FILE_HEADER_LEN, FORMAT_VERSION, FileHeader, FileKind, Kind, Stamp};
pub(crate) use crate::request::{Body, Message, Promise, Transition, Work};
use crate::segment::{self, CHUNK_HEAD_LEN, Piece, SegmentFile};
use crate::spool::{DraftState, Durability, Health, Part, Shared};
use crate::storage::{File, LockGuard};

/// Requests taken into one batch. Bounds the arena, and how long the first of a batch waits for the last.
const BATCH_REQUESTS_MAX: usize = 4096;

/// Bytes taken into one batch, for the same reason: about what a disk writes in some tens of milliseconds.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Names passed over when a new file meets one that is there already.
const NAMES_TRIED: u32 = 8;

/// How long the writer sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// What is wrong with the two kinds of files the writer writes.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    segment: Option<SealError>,
    journal: Option<SealError>,
}

impl Conditions {
    pub(crate) fn health(&self) -> Health {
        match self.segment.as_ref().or(self.journal.as_ref()) {
            None => Health::Ok,
            Some(SealError::Full { .. }) => Health::Full,
            Some(error) => Health::Failing { what: chain(error) },
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What recovery hands to the writer.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lock: LockGuard,
    pub(crate) books: Books,
    pub(crate) next_segment: u32,
    pub(crate) next_journal: u32,
}

/// A segment or journal file that is being written.
struct OpenFile {
    number: u32,
    file: Box<dyn File>,
    stamp: Stamp,
    size: usize,
    /// Where the next record goes.
    written: usize,
    /// Up to here it is on the disk.
    synced: usize,
}

struct Writer {
    shared: Arc<Shared>,
    books: Books,
    batch: Batch,
    segment: Option<OpenFile>,
    journal: Option<OpenFile>,
    next_segment: u32,
    next_journal: u32,
    /// Transitions that are not on the disk, in order.
    pending: Vec<Transition>,
    /// Segments that were left after a failure, and from where on they do not count.
    abandoned: HashMap<u32, usize>,
    /// Why no segment could be begun, until the next try.
    refused_segment: Option<SealError>,
    /// Something in `pending` wants the disk now.
    urgent: bool,
    lazy_deadline: Option<Instant>,
    retry_at: Option<Instant>,
    // Last, so that the lock goes after the files.
    _lock: LockGuard,
}

/// The body of the thread.
pub(crate) fn run(start: Start, work: &Receiver<Work>, own: &Receiver<Message>) {
    let mut writer = Writer {
        shared: start.shared,
        books: start.books,
        batch: Batch::default(),
        segment: None,
        journal: None,
        next_segment: start.next_segment,
        next_journal: start.next_journal,
        pending: Vec::new(),
        abandoned: HashMap::new(),
        refused_segment: None,
        urgent: false,
        lazy_deadline: None,
        retry_at: None,
        _lock: start.lock,
    };
    writer.reap();
    writer.serve(work, own);
}

impl Writer {
    fn serve(&mut self, work: &Receiver<Work>, own: &Receiver<Message>) {
        loop {
            let timeout = self.timeout();
            let mut closing = false;
            select! {
                recv(own) -> message => match message {
                    Ok(message) => closing |= self.take_message(message),
                    Err(_) => closing = true,
                },
                recv(work) -> request => match request {
                    Ok(request) => self.take_work(request),
                    Err(_) => closing = true,
                },
                default(timeout) => {}
            }
            let mut taken = 1;
            while taken < BATCH_REQUESTS_MAX && self.batch.len() < BATCH_BYTES_MAX {
                // The owner's first: a cut or a removal should not wait behind strangers.
                if let Ok(message) = own.try_recv() {
                    closing |= self.take_message(message);
                } else if let Ok(request) = work.try_recv() {
                    self.take_work(request);
                } else {
                    break;
                }
                taken += 1;
            }
            if closing {
                self.close(work, own);
                return;
            }
            self.finish_batch();
        }
    }

    /// Writes what was taken, and whatever is due.
    fn finish_batch(&mut self) {
        self.flush_segment(false);
        let now = Instant::now();
        let lazy_due = self.lazy_deadline.is_some_and(|deadline| deadline <= now);
        if self.urgent || lazy_due {
            self.flush_journal();
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.probe();
        }
        let waiting = self.pending.len() as u64;
        self.shared.counters.transitions_waiting.store(waiting, Ordering::Relaxed);
    }

    fn timeout(&self) -> Duration {
        let due = self.lazy_deadline.into_iter().chain(self.retry_at).min();
        due.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Takes what was asked for before the close, makes it durable, and refuses the rest by dropping it.
    fn close(&mut self, work: &Receiver<Work>, own: &Receiver<Message>) {
        while let Ok(message) = own.try_recv() {
            self.take_message(message);
        }
        while let Ok(request) = work.try_recv() {
            self.take_work(request);
        }
        self.flush_segment(false);
        self.retry_at = None;
        if !self.flush_journal() {
            tracing::error!(
                transitions = self.pending.len(),
                "the spool closes while its journal cannot be written; what was settled last will be delivered again"
            );
        }
    }

    // ---- requests ----

    /// True for a close.
    fn take_message(&mut self, message: Message) -> bool {
        match message {
            Message::Transition(transition) => self.take_transition(transition),
            Message::Cut(reply) => {
                let line = self.cut();
                // The asker may have gone; then nothing was promised to anybody.
                let _ = reply.send(line);
            }
            Message::Damaged { at, what } => quarantine::keep_damaged(&self.shared, at, &what),
            Message::Close => return true,
        }
        false
    }

    fn take_transition(&mut self, mut transition: Transition) {
        let known = match &transition.body {
            Body::State { id, at, .. } => self.books.has(*id, *at),
            Body::Removed { id, at } => self.books.remove(*id, *at),
            _ => true,
        };
        if !known {
            // Settled before. Its removal may still wait in `pending`, so the answer waits with it.
            transition.body = Body::Nothing;
        }
        self.shared.counters.entries.store(self.books.entries() as u64, Ordering::Relaxed);
        match transition.durability {
            Durability::Sync => self.urgent = true,
            Durability::Lazy => {
                self.lazy_deadline.get_or_insert_with(|| Instant::now() + self.shared.options.lazy_delay);
            }
        }
        self.pending.push(transition);
    }

    fn take_work(&mut self, work: Work) {
        match work {
            Work::Chunk { draft, bytes, parts, done } => {
                match self.append_chunks(&draft, &Arc::new(bytes), &parts) {
                    Ok(()) => self.batch.chunks.push(done),
                    Err(error) => {
                        draft.pieces.lock().broken = true;
                        done.keep(Err(error));
                    }
                }
            }
            Work::Commit { draft, envelope, tail, parts, chunked, done } => {
                let tail = Arc::new(tail);
                let result = if chunked {
                    self.append_chunks(&draft, &tail, &parts)
                        .and_then(|()| self.append_message(&draft, &envelope, None))
                } else {
                    let body = parts.first().map(|part| (&tail, part));
                    self.append_message(&draft, &envelope, body)
                };
                match result {
                    Ok(row) => self.batch.commits.push(Committing { draft, row, done }),
                    Err(error) => {
                        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                        done.keep(Err(error));
                    }
                }
            }
        }
    }

    // ---- segments ----

    /// Plans chunk records for the open segment.
    fn append_chunks(
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
    fn append_message(
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
        let size = self.shared.options.segment_size as usize;
        let limit = size - FILE_HEADER_LEN;
        if len > limit {
            return Err(SealError::TooLarge { len: len as u64, limit: limit as u64 });
        }
        if self.segment.as_ref().is_some_and(|open| open.written + self.batch.len() + len > size) {
            self.flush_segment(true);
            self.segment = None;
        }
        let planned = self.batch.len();
        let open = match &self.segment {
            Some(open) => open,
            None => self.open_segment()?,
        };
        let offset = (open.written + planned) as u32;
        Ok((Location { segment: open.number, offset }, open.stamp))
    }

    fn open_segment(&mut self) -> Result<&OpenFile, SealError> {
        if let Some(error) = &self.refused_segment {
            // Asking a full disk once per message helps nobody; `probe` asks once per retry delay.
            return Err(error.clone());
        }
        match self.begin_file(FileKind::Segment) {
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

    /// Begins the next segment or journal.
    fn begin_file(&mut self, kind: FileKind) -> Result<OpenFile, SealError> {
        let options = &self.shared.options;
        let (next, size) = match kind {
            FileKind::Segment => (&mut self.next_segment, options.segment_size),
            _ => (&mut self.next_journal, options.journal_size),
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
        let (written, synced) = (FILE_HEADER_LEN, FILE_HEADER_LEN);
        Ok(OpenFile { number, file, stamp, size: size as usize, written, synced })
    }

    /// Writes the batch; syncs when a message is in it, or when the segment is to be sealed. A sealed segment is on the
    /// disk to its end, so that later only the open one can hold anything that is not.
    fn flush_segment(&mut self, seal: bool) {
        let mut batch = std::mem::take(&mut self.batch);
        let Some(open) = &mut self.segment else {
            // No segment, so no bytes; but somebody may wait for an empty chunk.
            for done in batch.chunks.drain(..) {
                done.keep(Ok(()));
            }
            self.batch = batch;
            return;
        };
        let kind = FileKind::Segment;
        let path = self.shared.storage.path(&kind.name(open.number));
        let mut result = Ok(());
        if !batch.is_empty() {
            let write = open.file.write_at(open.written as u64, &batch.io_slices());
            result = write.map_err(|error| SealError::write(path.clone(), error));
            if result.is_ok() {
                open.written += batch.len();
                self.shared.counters.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
        }
        let sync = (seal || !batch.commits.is_empty()) && open.written > open.synced;
        if sync && result.is_ok() {
            result = open.file.sync().map_err(|error| SealError::sync(path, error));
            if result.is_ok() {
                open.synced = open.written;
                self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
            }
        }
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

    // ---- journal ----

    /// Brings the pending transitions to the disk. True when none is left.
    fn flush_journal(&mut self) -> bool {
        self.urgent = false;
        self.lazy_deadline = None;
        if let Err(error) = self.write_pending() {
            self.condition(FileKind::Journal, Some(error.clone()));
            for transition in &mut self.pending {
                transition.tell(Err(error.clone()));
            }
            self.compact_pending();
            return false;
        }
        self.condition(FileKind::Journal, None);
        self.reap();
        true
    }

    fn write_pending(&mut self) -> Result<(), SealError> {
        if self.retry_at.is_some()
            && let Some(error) = self.shared.health.lock().journal.clone()
        {
            return Err(error);
        }
        while !self.pending.is_empty() {
            let count = self.write_some_pending()?;
            for transition in self.pending.drain(..count) {
                transition.finish(Ok(()));
            }
        }
        Ok(())
    }

    /// As many transitions as fit into the open journal file, in one write and one sync. Returns how many.
    fn write_some_pending(&mut self) -> Result<usize, SealError> {
        if self.journal.is_none() && self.pending.iter().any(|transition| transition.record_len() > 0) {
            self.journal = Some(self.begin_file(FileKind::Journal)?);
        }
        let Some(open) = &mut self.journal else {
            return Ok(self.pending.len());
        };
        let mut buffer = Vec::new();
        let mut count = 0;
        for transition in &self.pending {
            if open.written + buffer.len() + transition.record_len() > open.size {
                break;
            }
            if let Some(fact) = transition.fact() {
                let start = record::open(&mut buffer, open.stamp);
                fact.encode(&mut buffer);
                record::seal(&mut buffer, start, open.stamp, fact.kind(), (0, 0));
                buffer.extend_from_slice(record::padding(fact.head_len(), 0));
            }
            count += 1;
        }
        if count < self.pending.len() && count == 0 {
            // Full. What does not fit into an empty file was refused when it was asked for.
            self.journal = None;
            return Ok(0);
        }
        if buffer.is_empty() {
            return Ok(count);
        }
        let path = self.shared.storage.path(&FileKind::Journal.name(open.number));
        let result = open
            .file
            .write_at(open.written as u64, &[IoSlice::new(&buffer)])
            .map_err(|error| SealError::write(path.clone(), error))
            .and_then(|()| open.file.sync().map_err(|error| SealError::sync(path, error)));
        if let Err(error) = result {
            let void = Transition::void(FileKind::Journal, open.number, open.synced as u32);
            self.pending.insert(0, void);
            self.journal = None;
            return Err(error);
        }
        open.written += buffer.len();
        open.synced = open.written;
        let counters = &self.shared.counters;
        counters.journal_syncs.fetch_add(1, Ordering::Relaxed);
        counters.journal_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(count)
    }

    /// Keeps only the last word on each entry, so that a disk that stays full costs memory by the number of entries and
    /// not by the number of attempts.
    fn compact_pending(&mut self) {
        let mut said = HashSet::new();
        let mut kept: Vec<Transition> = Vec::with_capacity(self.pending.len());
        for transition in self.pending.drain(..).rev() {
            let superseded = transition.entry().is_some_and(|id| !said.insert(id));
            if !superseded && transition.record_len() > 0 {
                kept.push(transition);
            }
        }
        kept.reverse();
        self.pending = kept;
    }

    /// Removes segments that nobody needs. Only called when no removal is waiting for the disk: a segment must not be
    /// gone while a crash could still bring back an entry in it.
    fn reap(&mut self) {
        if !self.pending.is_empty() {
            return;
        }
        let current = self.segment.as_ref().map(|open| open.number);
        for number in self.books.unneeded(current) {
            let name = FileKind::Segment.name(number);
            match self.shared.storage.remove(&name) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%error, segment = name, "cannot remove a settled segment; trying again later");
                    continue;
                }
            }
            self.shared.segments.write().remove(&number);
            self.books.close(number);
        }
    }

    /// Closes the journal file and says what is live at this point.
    fn cut(&mut self) -> Line {
        self.flush_segment(false);
        // When the journal cannot be written now, its transitions stay pending and go into a file behind the cut.
        self.flush_journal();
        self.journal = None;
        let scan = match &self.segment {
            Some(open) => Location { segment: open.number, offset: open.synced as u32 },
            None => Location { segment: self.next_segment, offset: FILE_HEADER_LEN as u32 },
        };
        let shared = &self.shared;
        let reserved = shared.reserved_id.load(Ordering::Relaxed);
        let next_id = shared.next_id.load(Ordering::Relaxed).max(reserved);
        let begin = Begin { journal: self.next_journal.saturating_sub(1), scan, next_id };
        let journal_bytes = shared.counters.journal_bytes.load(Ordering::Relaxed);
        Line { begin, live: self.books.rows(), journal_bytes }
    }

    // ---- trouble ----

    /// Tries again what failed.
    fn probe(&mut self) {
        self.retry_at = None;
        self.refused_segment = None;
        if !self.pending.is_empty() {
            self.flush_journal();
        }
        let failing = self.shared.health.lock().segment.is_some();
        if failing && self.segment.is_none() {
            // The result is in the condition.
            let _ = self.open_segment();
        }
    }

    /// Notes how a kind of file is doing, and says so once when it changes.
    fn condition(&mut self, kind: FileKind, error: Option<SealError>) {
        let mut conditions = self.shared.health.lock();
        let before = conditions.health();
        let failed = error.is_some();
        match kind {
            FileKind::Segment => conditions.segment = error,
            _ => conditions.journal = error,
        }
        let after = conditions.health();
        drop(conditions);
        if failed {
            self.retry_at.get_or_insert_with(|| Instant::now() + self.shared.options.retry_delay);
        }
        match (&before, &after) {
            (Health::Ok, Health::Ok) => {}
            (_, Health::Ok) => tracing::info!("the spool can be written again"),
            (Health::Ok, Health::Full) => {
                tracing::error!("the disk of the spool is full; new mail is refused");
            }
            (Health::Ok, Health::Failing { what }) => tracing::error!(what, "the spool cannot be written"),
            _ => {}
        }
    }
}
