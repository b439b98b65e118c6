//! Recovery: from a folder of files, after whatever happened, to the list of what is live.
//!
//! The newest good checkpoint, then the journals behind its cut, then the segments from its scan point. A torn end of a
//! journal or segment is what a crash leaves and is only mentioned; damage with good records behind it is copied to
//! quarantine, and reading goes on behind it.
//!
//! # Invariants
//! What was acknowledged is found, or named as damaged. Nothing is found that no client sent. Nothing is deleted here
//! but unfinished temporary files; opening the same folder twice gives the same answer.
//!
//! # Not here
//! What the entries mean, and when they are due: their owner decodes the states.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Mutex, RwLock};

use crate::books::Books;
use crate::checkpoint::{self, Begin, Checkpointer, LiveRow};
use crate::error::{OpenError, ReadError};
use crate::ids::{EntryId, Location};
use crate::journal::{self, Fact};
use crate::map::Map;
use crate::quarantine::{self, Damage};
use crate::record::{
    self, FILE_HEADER_LEN, FORMAT_VERSION, FileHeader, FileKind, Flaw, HeaderFlaw, Kind, Reader, Record,
    Stamp,
};
use crate::segment::{self, MessageHead, SegmentFile};
use crate::spool::{Counters, Options, Shared};
use crate::storage::{LockFailure, Storage};
use crate::stored;
use crate::writer::{Conditions, Start};

/// An entry that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its id.
    pub id: EntryId,
    /// Where its record is, for [`Spool::read`](crate::Spool::read).
    pub at: Location,
    /// The last state that reached the disk; `None` when there never was one: the message was accepted and its owner
    /// had not said anything about it yet.
    pub state: Option<Vec<u8>>,
    /// Length of the body.
    pub body_len: u64,
}

/// The end of a file that a crash cut off. Normal; for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub path: PathBuf,
    /// From where on it does not count.
    pub offset: u64,
    /// Bytes up to the last that is not zero.
    pub length: u64,
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// All live entries, sorted by id.
    pub entries: Vec<Live>,
    /// The owner's notes, oldest first.
    pub notes: Vec<Vec<u8>>,
    /// Damaged places. Each was copied to `quarantine/` unless it says otherwise.
    pub quarantined: Vec<Damage>,
    /// Ends that a crash cut off.
    pub torn: Vec<Torn>,
    /// Files that are not the spool's. They are left alone.
    pub foreign: Vec<PathBuf>,
    /// Whether the spool was made just now.
    pub fresh: bool,
    /// Number of the checkpoint that was used.
    pub checkpoint: Option<u32>,
    /// Bytes of journals that were replayed.
    pub journal_bytes: u64,
    /// Bytes of segments that were scanned.
    pub scanned_bytes: u64,
}

/// Recovers a folder and makes all that the writer needs.
pub(crate) fn recover(storage: &Arc<dyn Storage>, options: Options) -> Result<(Start, Recovered), OpenError> {
    let lock = storage.lock().map_err(|failure| {
        let path = storage.path("lock");
        match failure {
            LockFailure::Held(holder) => OpenError::InUse { path, holder },
            LockFailure::Io(source) => OpenError::Lock { path, source },
        }
    })?;
    let mut recovery = Recovery::list(Arc::clone(storage))?;
    recovery.check_versions()?;
    let spool_id = recovery.identity()?;
    recovery.spool_id = spool_id;
    recovery.leave_foreign_files();
    let base = recovery.checkpoint()?;
    let journals = recovery.map_journals(base.begin.journal)?;
    let facts = recovery.facts(&journals)?;
    let mut index = Index::new(base, &mut recovery.next);
    index.apply(&facts, &mut recovery.next);
    recovery.scan(&mut index)?;
    recovery.check_segments(&mut index);
    recovery.remove_temporaries();
    recovery.reserve_ids();
    Ok(recovery.finish(index, options, lock))
}

/// Numbers that must not be used again.
#[derive(Default)]
struct Next {
    id: u64,
    segment: u32,
    journal: u32,
    checkpoint: u32,
}

impl Next {
    fn saw_id(&mut self, id: EntryId) {
        self.id = self.id.max(id.0.saturating_add(1));
    }

    fn saw_segment(&mut self, number: u32) {
        self.segment = self.segment.max(number.saturating_add(1));
    }
}

struct Recovery {
    storage: Arc<dyn Storage>,
    spool_id: u64,
    segments: BTreeMap<u32, u64>,
    journals: BTreeMap<u32, u64>,
    checkpoints: BTreeMap<u32, u64>,
    has_identity: bool,
    temporaries: Vec<String>,
    files: RwLock<HashMap<u32, Arc<SegmentFile>>>,
    next: Next,
    reserved: u64,
    valid_checkpoints: Vec<(u32, u32)>,
    /// Segments whose damage could not be copied: they must stay.
    keep: HashSet<u32>,
    found: Recovered,
}

/// Where the index begins.
struct Base {
    begin: Begin,
    entries: HashMap<EntryId, (LiveRow, Option<Vec<u8>>)>,
    notes: Vec<Vec<u8>>,
    /// States of the entries above are newer than what journals up to this number say.
    states_as_of: u32,
}

/// A record of a journal, with its place.
struct JournalFact<'a> {
    journal: u32,
    offset: usize,
    fact: Fact<'a>,
}

impl Recovery {
    fn list(storage: Arc<dyn Storage>) -> Result<Recovery, OpenError> {
        let listed = storage.list().map_err(|source| OpenError::Read { path: storage.path(""), source })?;
        let mut recovery = Recovery {
            storage,
            spool_id: 0,
            segments: BTreeMap::new(),
            journals: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            has_identity: false,
            temporaries: Vec::new(),
            files: RwLock::new(HashMap::new()),
            next: Next { id: 1, segment: 1, journal: 1, checkpoint: 1 },
            reserved: 0,
            valid_checkpoints: Vec::new(),
            keep: HashSet::new(),
            found: Recovered::default(),
        };
        for file in listed {
            match FileKind::of_name(&file.name) {
                Some((FileKind::Segment, number)) => {
                    recovery.next.saw_segment(number);
                    recovery.segments.insert(number, file.len);
                }
                Some((FileKind::Journal, number)) => {
                    recovery.next.journal = recovery.next.journal.max(number.saturating_add(1));
                    recovery.journals.insert(number, file.len);
                }
                Some((FileKind::Checkpoint, number)) => {
                    recovery.next.checkpoint = recovery.next.checkpoint.max(number.saturating_add(1));
                    recovery.checkpoints.insert(number, file.len);
                }
                Some((FileKind::Identity, _)) | None => recovery.other(file.name),
            }
        }
        Ok(recovery)
    }

    /// A file that is neither segment, journal nor checkpoint.
    fn other(&mut self, name: String) {
        if name == FileKind::Identity.name(0) {
            self.has_identity = true;
        } else if let Some(stem) = name.strip_suffix(".new")
            && (stem == FileKind::Identity.name(0) || FileKind::of_name(stem).is_some())
        {
            self.temporaries.push(name);
        } else if name != "lock" {
            self.found.foreign.push(self.storage.path(&name));
        }
    }

    fn map(&self, name: &str) -> Result<Map, OpenError> {
        self.storage.map(name).map_err(|source| OpenError::Read { path: self.storage.path(name), source })
    }

    fn header(&self, kind: FileKind, number: u32) -> Result<Result<FileHeader, HeaderFlaw>, OpenError> {
        let map = self.map(&kind.name(number))?;
        Ok(FileHeader::decode(kind, whole(&map)))
    }

    /// All files of the three kinds.
    fn numbered(&self) -> impl Iterator<Item = (FileKind, u32)> {
        let of = |kind: FileKind, files: &BTreeMap<u32, u64>| {
            files.keys().rev().map(|number| (kind, *number)).collect::<Vec<_>>()
        };
        of(FileKind::Checkpoint, &self.checkpoints)
            .into_iter()
            .chain(of(FileKind::Journal, &self.journals))
            .chain(of(FileKind::Segment, &self.segments))
    }

    /// Refuses a folder that a later release wrote, before anything is touched.
    fn check_versions(&self) -> Result<(), OpenError> {
        let identity = self.has_identity.then_some((FileKind::Identity, 0));
        for (kind, number) in identity.into_iter().chain(self.numbered()) {
            if let Err(HeaderFlaw::Newer(found)) = self.header(kind, number)? {
                return Err(self.newer(&kind.name(number), found));
            }
        }
        Ok(())
    }

    fn newer(&self, name: &str, found: u16) -> OpenError {
        OpenError::Newer { path: self.storage.path(name), found, known: FORMAT_VERSION }
    }

    /// The spool's id: from the identity file, or else from any file that has a good header, or else a new one.
    fn identity(&mut self) -> Result<u64, OpenError> {
        if self.has_identity {
            match self.header(FileKind::Identity, 0)? {
                Ok(header) => {
                    // The identity has no content of its own; its size field is the mark of used ids.
                    self.next.id = self.next.id.max(header.size);
                    return Ok(header.spool_id);
                }
                Err(_) => {
                    let map = self.map(&FileKind::Identity.name(0))?;
                    self.damage(FileKind::Identity, 0, 0, whole(&map), "the identity is not readable", None);
                }
            }
        }
        let numbered: Vec<_> = self.numbered().collect();
        for (kind, number) in &numbered {
            if let Ok(header) = self.header(*kind, *number)?
                && header.number == *number
            {
                self.write_identity(header.spool_id, 0)?;
                return Ok(header.spool_id);
            }
        }
        if !numbered.is_empty() {
            return Err(OpenError::Unrecognised { path: self.storage.path("") });
        }
        self.found.fresh = true;
        // The standard library seeds its hashers from the system's random numbers.
        let spool_id = std::hash::RandomState::new().hash_one(std::process::id());
        self.write_identity(spool_id, 0)?;
        Ok(spool_id)
    }

    /// Replaces the identity file. Ids below the mark are never handed out again.
    fn write_identity(&mut self, spool_id: u64, mark: u64) -> Result<(), OpenError> {
        let kind = FileKind::Identity;
        let header = FileHeader { kind, version: FORMAT_VERSION, number: 0, spool_id, size: mark };
        let (name, temporary) = (kind.name(0), format!("{}.new", kind.name(0)));
        let leftover = self.temporaries.iter().position(|name| *name == temporary);
        if let Some(place) = leftover {
            self.temporaries.swap_remove(place);
        }
        let write = || {
            if leftover.is_some() {
                self.storage.remove(&temporary)?;
            }
            let mut file = self.storage.create(&temporary, 0)?;
            file.write_at(0, &[IoSlice::new(&header.encode())])?;
            file.sync()?;
            self.storage.rename(&temporary, &name)?;
            self.storage.sync_dir()
        };
        write().map_err(|source| OpenError::Write { path: self.storage.path(&name), source })
    }

    /// Sets files of another spool aside: their header is good and says so.
    fn leave_foreign_files(&mut self) {
        let numbered: Vec<_> = self.numbered().collect();
        for (kind, number) in numbered {
            let Ok(Ok(header)) = self.header(kind, number) else { continue };
            if header.spool_id != self.spool_id || header.number != number {
                self.found.foreign.push(self.storage.path(&kind.name(number)));
                match kind {
                    FileKind::Segment => self.segments.remove(&number),
                    FileKind::Journal => self.journals.remove(&number),
                    _ => self.checkpoints.remove(&number),
                };
            }
        }
        for number in self.segments.keys() {
            let file = SegmentFile::new(&*self.storage, self.spool_id, *number, usize::MAX);
            self.files.write().insert(*number, Arc::new(file));
        }
    }

    /// Copies damage to quarantine and notes it.
    fn damage(
        &mut self,
        kind: FileKind,
        number: u32,
        offset: usize,
        bytes: &[u8],
        what: &str,
        entry: Option<EntryId>,
    ) {
        let name = kind.name(number);
        let kept = match quarantine::keep(&*self.storage, &name, offset, bytes, what) {
            Ok(kept) => kept.map(|(path, _)| path),
            Err(error) => {
                tracing::error!(%error, file = name, offset, "damaged bytes could not be copied to quarantine");
                if kind == FileKind::Segment {
                    self.keep.insert(number);
                }
                None
            }
        };
        let path = self.storage.path(&name);
        let (offset, length) = (offset as u64, bytes.len() as u64);
        self.found.quarantined.push(Damage { path, offset, length, what: what.to_owned(), entry, kept });
    }

    // ---- checkpoints ----

    /// The newest good checkpoint. When there is none but there were some, what can be read of the newest.
    fn checkpoint(&mut self) -> Result<Base, OpenError> {
        let mut salvaged = None;
        let numbers: Vec<u32> = self.checkpoints.keys().rev().copied().collect();
        for (place, number) in numbers.iter().enumerate() {
            let map = self.map(&FileKind::Checkpoint.name(*number))?;
            let stamp = Stamp::new(self.spool_id, FileKind::Checkpoint, *number);
            let (base, flaw) = read_checkpoint(whole(&map), stamp)
                .map_err(|found| self.newer(&FileKind::Checkpoint.name(*number), found))?;
            let Some(flaw) = flaw else {
                self.valid_checkpoints.push((*number, base.begin.journal));
                self.found.checkpoint = Some(*number);
                self.note_older_checkpoint(numbers.get(place + 1))?;
                return Ok(base);
            };
            self.damage(FileKind::Checkpoint, *number, 0, whole(&map), flaw, None);
            salvaged.get_or_insert(base);
        }
        let mut base = salvaged.unwrap_or_else(Base::empty);
        // Everything is looked at again. An entry whose removal is only in a lost checkpoint comes back: rather twice
        // than never.
        base.states_as_of = base.begin.journal;
        base.begin.journal = 0;
        base.begin.scan = Location { segment: 0, offset: 0 };
        Ok(base)
    }

    /// The second newest is kept to fall back to, so its journals are still needed.
    fn note_older_checkpoint(&mut self, number: Option<&u32>) -> Result<(), OpenError> {
        let Some(number) = number else { return Ok(()) };
        let map = self.map(&FileKind::Checkpoint.name(*number))?;
        let stamp = Stamp::new(self.spool_id, FileKind::Checkpoint, *number);
        if let Some(bytes) = whole(&map).get(FILE_HEADER_LEN..)
            && let Ok(record) = record::parse(bytes, stamp)
            && record.kind == Kind::Begin
            && let Some(begin) = Begin::decode(record.head)
        {
            self.valid_checkpoints.insert(0, (*number, begin.journal));
        }
        Ok(())
    }

    // ---- journals ----

    fn map_journals(&self, behind: u32) -> Result<Vec<(u32, Map)>, OpenError> {
        let mut maps = Vec::new();
        for number in self.journals.keys().copied().filter(|number| *number > behind) {
            let name = FileKind::Journal.name(number);
            // What a killed process wrote may be in memory only; what we act on must not vanish later.
            self.storage
                .sync_file(&name)
                .map_err(|source| OpenError::Write { path: self.storage.path(&name), source })?;
            maps.push((number, self.map(&name)?));
        }
        Ok(maps)
    }

    /// The facts of all journals in order, without those that were refused.
    fn facts<'a>(&mut self, journals: &'a [(u32, Map)]) -> Result<Vec<JournalFact<'a>>, OpenError> {
        let mut facts = Vec::new();
        let mut flaws = Vec::new();
        for (number, map) in journals {
            let bytes = whole(map);
            let stamp = Stamp::new(self.spool_id, FileKind::Journal, *number);
            for found in walk_file(FileKind::Journal, bytes, stamp) {
                match found {
                    Found::Record(offset, record) => match Fact::decode(record.kind, record.head) {
                        Some(fact) => facts.push(JournalFact { journal: *number, offset, fact }),
                        None => flaws.push((
                            *number,
                            Found::Damage(offset..offset + record.len(), "a record that belongs elsewhere"),
                        )),
                    },
                    Found::Newer(found) => {
                        return Err(self.newer(&FileKind::Journal.name(*number), u16::from(found)));
                    }
                    Found::End(end) => self.found.journal_bytes += (end - FILE_HEADER_LEN.min(end)) as u64,
                    flaw => flaws.push((*number, flaw)),
                }
            }
        }
        let voids: HashMap<u32, usize> = voids(&facts, FileKind::Journal);
        let is_void = |journal: u32, offset: usize| voids.get(&journal).is_some_and(|from| offset >= *from);
        facts.retain(|fact| !is_void(fact.journal, fact.offset));
        for (number, flaw) in flaws {
            let bytes = journals.iter().find(|(n, _)| *n == number).map_or(&[][..], |(_, map)| whole(map));
            match flaw {
                Found::Damage(range, what) if !is_void(number, range.start) => {
                    self.damage(FileKind::Journal, number, range.start, &bytes[range], what, None);
                }
                Found::Torn(range) if !is_void(number, range.start) => {
                    self.torn(FileKind::Journal, number, range.start, &bytes[range]);
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    /// A torn end. It is copied too: a damaged last record and a cut off one look the same.
    fn torn(&mut self, kind: FileKind, number: u32, offset: usize, bytes: &[u8]) {
        let name = kind.name(number);
        let what = "the end of the file, cut off by a crash; or its last records, damaged";
        if let Err(error) = quarantine::keep(&*self.storage, &name, offset, bytes, what) {
            tracing::warn!(%error, file = name, offset, "the torn end of a file could not be copied to quarantine");
            if kind == FileKind::Segment {
                self.keep.insert(number);
            }
        }
        let path = self.storage.path(&name);
        self.found.torn.push(Torn { path, offset: offset as u64, length: bytes.len() as u64 });
    }

    // ---- segments ----

    /// Finds the messages behind the scan point.
    fn scan(&mut self, index: &mut Index) -> Result<(), OpenError> {
        let scan = index.begin.scan;
        let numbers: Vec<u32> = self.segments.range(scan.segment..).map(|(number, _)| *number).collect();
        let mut bad: Vec<(Location, EntryId, String)> = Vec::new();
        let mut last_good = None;
        for number in &numbers {
            let name = FileKind::Segment.name(*number);
            self.storage
                .sync_file(&name)
                .map_err(|source| OpenError::Write { path: self.storage.path(&name), source })?;
            let file = self.files.read().get(number).cloned();
            let Some(file) = file else { continue };
            let bytes = file.view(&*self.storage, 0).map_err(|error| open_error(error, &file))?;
            let (start, walked) = if *number == scan.segment {
                let start = FILE_HEADER_LEN.max(scan.offset as usize);
                (start, walk(bytes, file.stamp(), start))
            } else {
                (FILE_HEADER_LEN, walk_file(FileKind::Segment, bytes, file.stamp()))
            };
            let void = index.void_segments.get(number).copied().unwrap_or(usize::MAX);
            for found in walked {
                match found {
                    Found::Record(offset, _) if offset >= void => {}
                    Found::Record(offset, record) => {
                        let at = Location { segment: *number, offset: offset as u32 };
                        match self.scanned(at, &record, index) {
                            Ok(()) => last_good = Some(at),
                            Err((id, what)) => bad.push((at, id, what)),
                        }
                    }
                    Found::Newer(found) => return Err(self.newer(&name, u16::from(found))),
                    Found::End(end) => self.found.scanned_bytes += (end - start.min(end)) as u64,
                    Found::Damage(range, what) if range.start < void => {
                        self.damage(FileKind::Segment, *number, range.start, &bytes[range], what, None);
                    }
                    Found::Torn(range) if range.start < void => {
                        self.torn(FileKind::Segment, *number, range.start, &bytes[range]);
                    }
                    Found::Damage(..) | Found::Torn(_) => {}
                }
            }
        }
        for (at, id, what) in bad {
            let Some(file) = self.files.read().get(&at.segment).cloned() else { continue };
            let offset = at.offset as usize;
            let bytes = file.view(&*self.storage, offset).map_err(|error| open_error(error, &file))?;
            let bytes = &bytes[..quarantine::extent(bytes, file.stamp())];
            if last_good.is_some_and(|good| good > at) {
                self.damage(FileKind::Segment, at.segment, offset, bytes, &what, Some(id));
            } else {
                // Nothing good behind it: the crash came while it was being written.
                self.torn(FileKind::Segment, at.segment, offset, bytes);
            }
        }
        Ok(())
    }

    /// Takes one good record of a segment into the index. The error names a message whose body is not good.
    fn scanned(
        &mut self,
        at: Location,
        record: &Record<'_>,
        index: &mut Index,
    ) -> Result<(), (EntryId, String)> {
        if record.kind == Kind::Chunk {
            if let Some((id, _)) = segment::decode_chunk(record.head) {
                self.next.saw_id(id);
            }
            return Ok(());
        }
        let head = (record.kind == Kind::Message).then(|| MessageHead::decode(record.head)).flatten();
        let Some(head) = head else {
            let id = Reader::new(record.head).u64().unwrap_or(0);
            return Err((EntryId(id), "a record that belongs elsewhere".to_owned()));
        };
        self.next.saw_id(head.id);
        if index.removed.contains(&head.id) || index.entries.contains_key(&head.id) {
            return Ok(());
        }
        let stored = stored::read_from(&*self.storage, &self.files, at);
        let stored = stored.map_err(|error| (head.id, error.to_string()))?;
        let mut spread: Vec<u32> = head.pieces().map(|piece| piece.segment).collect();
        spread.retain(|number| *number != at.segment);
        spread.dedup();
        let row = LiveRow { at, body_len: stored.body_len(), spread: spread.into() };
        let state = index.states.remove(&head.id);
        index.entries.insert(head.id, (row, state));
        Ok(())
    }

    /// Names the entries of the checkpoint whose segments are not there any more.
    fn check_segments(&mut self, index: &mut Index) {
        let mut missing = Vec::new();
        index.entries.retain(|id, (row, _)| {
            let gone = std::iter::once(&row.at.segment)
                .chain(&row.spread)
                .find(|number| !self.segments.contains_key(number))
                .copied();
            missing.extend(gone.map(|number| (*id, row.at, number)));
            gone.is_none()
        });
        missing.sort_unstable();
        for (id, at, number) in missing {
            self.found.quarantined.push(Damage {
                path: self.storage.path(&FileKind::Segment.name(number)),
                offset: if number == at.segment { u64::from(at.offset) } else { 0 },
                length: 0,
                what: format!("the segment is gone, and with it message {id}"),
                entry: Some(id),
                kept: None,
            });
        }
    }

    /// Unfinished files of ours; nothing refers to them.
    fn remove_temporaries(&self) {
        for name in &self.temporaries {
            if let Err(error) = self.storage.remove(name)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, file = name, "cannot remove an unfinished file");
            }
        }
    }

    /// Reserves the first block of ids of this run. On a disk that takes nothing the spool opens all the same, so that
    /// what waits can be delivered; the journal then takes the reservation when it can.
    fn reserve_ids(&mut self) {
        let mark = self.next.id.saturating_add(journal::ID_BLOCK);
        match self.write_identity(self.spool_id, mark) {
            Ok(()) => self.reserved = mark,
            Err(error) => {
                tracing::warn!(%error, "cannot reserve entry ids");
                self.reserved = self.next.id;
            }
        }
    }

    fn finish(self, index: Index, options: Options, lock: crate::storage::LockGuard) -> (Start, Recovered) {
        let mut books = Books::default();
        for number in self.segments.keys() {
            books.open(*number);
        }
        for number in &self.keep {
            books.keep(*number);
        }
        let mut found = self.found;
        found.notes = index.notes;
        found.entries.reserve(index.entries.len());
        for (id, (row, state)) in index.entries {
            books.insert(id, &row);
            found.entries.push(Live { id, at: row.at, state, body_len: row.body_len });
        }
        found.entries.sort_unstable_by_key(|entry| entry.id);
        let counters = Counters::default();
        counters.entries.store(found.entries.len() as u64, std::sync::atomic::Ordering::Relaxed);
        counters.journal_bytes.store(found.journal_bytes, std::sync::atomic::Ordering::Relaxed);
        counters.quarantined.store(found.quarantined.len() as u64, std::sync::atomic::Ordering::Relaxed);
        let shared = Shared {
            storage: self.storage,
            options,
            spool_id: self.spool_id,
            segments: self.files,
            health: Mutex::new(Conditions::default()),
            counters,
            next_id: AtomicU64::new(self.next.id),
            reserved_id: AtomicU64::new(self.reserved),
            checkpointer: Mutex::new(Checkpointer {
                next: self.next.checkpoint,
                valid: self.valid_checkpoints,
            }),
            checkpoint_running: AtomicBool::new(false),
        };
        let (next_segment, next_journal) = (self.next.segment, self.next.journal);
        (Start { shared: Arc::new(shared), lock, books, next_segment, next_journal }, found)
    }
}

fn open_error(error: ReadError, file: &SegmentFile) -> OpenError {
    let path = file.path().to_owned();
    match error {
        ReadError::Map { source, .. } => OpenError::Read { path, source },
        other => OpenError::Read { path, source: std::io::Error::other(other) },
    }
}

fn header_flaw(flaw: HeaderFlaw) -> &'static str {
    match flaw {
        HeaderFlaw::Blank => "the header of the file is blank",
        HeaderFlaw::Damaged => "the header of the file is damaged",
        HeaderFlaw::Newer(_) => "the file has a newer format",
    }
}

/// All bytes of a map. The caller is recovery, before there is a writer.
fn whole(map: &Map) -> &[u8] {
    map.slice(0..map.len()).unwrap_or(&[])
}

fn voids(facts: &[JournalFact<'_>], wanted: FileKind) -> HashMap<u32, usize> {
    let mut voids: HashMap<u32, usize> = HashMap::new();
    for fact in facts {
        if let Fact::Void { kind, number, from } = fact.fact
            && kind == wanted
        {
            let lowest = voids.entry(number).or_insert(usize::MAX);
            *lowest = (*lowest).min(from as usize);
        }
    }
    voids
}

impl Base {
    fn empty() -> Base {
        let begin = Begin { journal: 0, scan: Location { segment: 0, offset: 0 }, next_id: 1 };
        Base { begin, entries: HashMap::new(), notes: Vec::new(), states_as_of: 0 }
    }
}

/// Reads a checkpoint as far as it is good, and says what is not. The outer error is a record of a later release.
fn read_checkpoint(bytes: &[u8], stamp: Stamp) -> Result<(Base, Option<&'static str>), u16> {
    let mut base = Base::empty();
    let mut flaw = FileHeader::decode(FileKind::Checkpoint, bytes).err().map(header_flaw);
    let (mut begun, mut end) = (false, None);
    for found in walk(bytes, stamp, FILE_HEADER_LEN) {
        let fits = match found {
            Found::Record(_, record) => match record.kind {
                Kind::Begin => Begin::decode(record.head).map(|begin| {
                    base.begin = begin;
                    begun = true;
                }),
                Kind::Entry => checkpoint::decode_entry(record.head).map(|(id, row, state)| {
                    base.entries.insert(id, (row, state));
                }),
                Kind::Note => {
                    base.notes.push(record.head.to_vec());
                    Some(())
                }
                Kind::End => {
                    let mut reader = Reader::new(record.head);
                    reader.u64().zip(reader.u64()).map(|counts| end = Some(counts))
                }
                _ => None,
            },
            Found::End(_) => Some(()),
            Found::Newer(version) => return Err(u16::from(version)),
            Found::Damage(..) | Found::Torn(_) => None,
        };
        if fits.is_none() {
            flaw = flaw.or(Some("a record of the checkpoint is damaged"));
        }
    }
    if !begun || end != Some((base.entries.len() as u64, base.notes.len() as u64)) {
        flaw = flaw.or(Some("the checkpoint is not complete"));
    }
    Ok((base, flaw))
}

/// The index while it is put together.
struct Index {
    begin: Begin,
    entries: HashMap<EntryId, (LiveRow, Option<Vec<u8>>)>,
    states_as_of: u32,
    /// States for entries that the scan will find.
    states: HashMap<EntryId, Vec<u8>>,
    removed: HashSet<EntryId>,
    notes: Vec<Vec<u8>>,
    void_segments: HashMap<u32, usize>,
}

impl Index {
    fn new(base: Base, next: &mut Next) -> Index {
        next.id = next.id.max(base.begin.next_id);
        // Also when that segment is gone by now: a new one of its number would be scanned from the middle.
        next.saw_segment(base.begin.scan.segment);
        next.journal = next.journal.max(base.begin.journal.max(base.states_as_of).saturating_add(1));
        for (id, (row, _)) in &base.entries {
            next.saw_id(*id);
            next.saw_segment(row.at.segment);
        }
        Index {
            begin: base.begin,
            entries: base.entries,
            states_as_of: base.states_as_of,
            states: HashMap::new(),
            removed: HashSet::new(),
            notes: base.notes,
            void_segments: HashMap::new(),
        }
    }

    /// Replays the journals.
    fn apply(&mut self, facts: &[JournalFact<'_>], next: &mut Next) {
        self.void_segments = voids(facts, FileKind::Segment);
        for JournalFact { journal, fact, .. } in facts {
            match fact {
                Fact::State { id, at, state } => {
                    next.saw_id(*id);
                    next.saw_segment(at.segment);
                    match self.entries.get_mut(id) {
                        Some((_, kept)) if kept.is_some() && *journal <= self.states_as_of => {}
                        Some((_, kept)) => *kept = Some(state.to_vec()),
                        None => {
                            self.states.insert(*id, state.to_vec());
                        }
                    }
                }
                Fact::Removed { id, at } => {
                    next.saw_id(*id);
                    next.saw_segment(at.segment);
                    self.removed.insert(*id);
                    self.entries.remove(id);
                    self.states.remove(id);
                }
                Fact::Note(note) => {
                    if *journal > self.states_as_of {
                        self.notes.push(note.to_vec());
                    }
                }
                Fact::Void { kind, number, .. } => {
                    if *kind == FileKind::Segment {
                        next.saw_segment(*number);
                    }
                }
                Fact::Reserve { mark } => next.id = next.id.max(*mark),
            }
        }
    }
}

/// What stands in a file, in order.
enum Found<'a> {
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
fn walk_file(kind: FileKind, bytes: &[u8], stamp: Stamp) -> Vec<Found<'_>> {
    let mut found = walk(bytes, stamp, FILE_HEADER_LEN);
    let end = bytes.len();
    match FileHeader::decode(kind, bytes) {
        // Its length was reserved before its header was written, so this is not what a crash does.
        Ok(header) if (end as u64) < header.size => {
            found.push(Found::Damage(end..end, "the file is shorter than it was made"));
        }
        Ok(_) => {}
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

/// Walks the records from an offset on.
fn walk(bytes: &[u8], stamp: Stamp, from: usize) -> Vec<Found<'_>> {
    let mut found = Vec::new();
    let mut offset = from.min(bytes.len());
    loop {
        let flaw = match record::parse(&bytes[offset..], stamp) {
            Ok(record) => {
                let len = record.len();
                found.push(Found::Record(offset, record));
                offset = (offset + len).min(bytes.len());
                continue;
            }
            Err(Flaw::Newer(version)) => {
                found.push(Found::Newer(version));
                return found;
            }
            Err(flaw) => flaw,
        };
        match record::resync(bytes, offset + record::ALIGNMENT, stamp) {
            Some(next) => {
                found.push(Found::Damage(offset..next, flaw.text()));
                offset = next;
            }
            None => {
                let torn = quarantine::trimmed(&bytes[offset..]);
                if torn > 0 {
                    found.push(Found::Torn(offset..offset + torn));
                }
                found.push(Found::End(offset));
                return found;
            }
        }
    }
}
