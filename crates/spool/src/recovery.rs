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

mod entries;
mod folder;
mod index;
mod set_aside;
pub(crate) mod walk;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use sluice_handoff::{Gathering, Patience};

use self::index::{Base, Index, JournalFact, Next, read_checkpoint, voids};
use self::walk::{Found, shortness, walk, walk_file, whole};
use crate::books::Books;
use crate::checkpoint::{Begin, Checkpointer, LiveRow};
use crate::error::{OpenError, ReadError};
use crate::found::FoundState;
use crate::ids::{EntryId, Location};
use crate::journal::Fact;
use crate::map::Map;
use crate::quarantine::{self, Damage};
use crate::record::{self, FILE_HEADER_LEN, FileKind, Kind, Later, Reader, Record, Stamp};
use crate::segment::{self, MessageHead, SegmentFile};
use crate::spool::{Counters, Options, Shared};
use crate::storage::{LockFailure, LockGuard, Storage};
use crate::stored::{self, Segments};
use crate::writer::{Conditions, Start};

/// What is looked at of the checkpoint before the newest.
const FETCHED_OF_OLDER: usize = 4096;

/// An entry that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its id.
    pub id: EntryId,
    /// Where its record is, for [`Spool::read`](crate::Spool::read).
    pub at: Location,
    /// The last state that reached the disk; `None` when there never was one: the message was accepted and its owner
    /// had not said anything about it yet.
    pub state: Option<FoundState>,
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
    let mut recovery = Recovery::list(Arc::clone(storage), Later::Refuse)?;
    let mut index = recovery.index()?;
    recovery.name_states_left(&mut index);
    recovery.remove_temporaries();
    recovery.reserve_ids();
    Ok(recovery.finish(index, options, lock))
}

/// What a start would find, for those who only look. The storage takes no writes.
pub(crate) fn look(storage: Arc<dyn Storage>, later: Later) -> Result<Looked, OpenError> {
    let mut recovery = Recovery::list(storage, later)?;
    let index = recovery.index()?;
    let (mut found, void) = (recovery.found, index.void_segments);
    found.notes = index.notes;
    found.entries = index.entries.into_list();
    let mut lost: Vec<(EntryId, Vec<u8>)> =
        index.states.into_iter().map(|(id, (_, state))| (id, state)).collect();
    lost.sort_unstable();
    Ok(Looked {
        spool_id: recovery.spool_id,
        segments: recovery.files,
        journals: recovery.journals,
        checkpoints: recovery.checkpoints,
        lengths: recovery.segments,
        void,
        next_id: recovery.next.id,
        found,
        lost,
    })
}

/// What [`look`] has found.
pub(crate) struct Looked {
    pub(crate) spool_id: u64,
    pub(crate) segments: Segments,
    /// The files of each kind with their lengths.
    pub(crate) lengths: BTreeMap<u32, u64>,
    pub(crate) journals: BTreeMap<u32, u64>,
    pub(crate) checkpoints: BTreeMap<u32, u64>,
    /// From where on segments do not count, because that was refused.
    pub(crate) void: HashMap<u32, usize>,
    pub(crate) next_id: u64,
    pub(crate) found: Recovered,
    /// Messages that have a state in a journal and are nowhere.
    pub(crate) lost: Vec<(EntryId, Vec<u8>)>,
}

struct Recovery {
    storage: Arc<dyn Storage>,
    later: Later,
    spool_id: u64,
    segments: BTreeMap<u32, u64>,
    journals: BTreeMap<u32, u64>,
    checkpoints: BTreeMap<u32, u64>,
    has_identity: bool,
    temporaries: Vec<String>,
    files: Segments,
    next: Next,
    reserved: u64,
    valid_checkpoints: Vec<(u32, u32)>,
    /// Segments whose damage could not be copied: they must stay.
    keep: HashSet<u32>,
    /// Segments and journals that the disk did not give back whole.
    aside: HashSet<u32>,
    journals_aside: HashSet<u32>,
    /// In which segments parts of bodies were found, by their message.
    parts: HashMap<EntryId, Vec<u32>>,
    found: Recovered,
}

impl Recovery {
    /// From the listed files to the index.
    fn index(&mut self) -> Result<Index, OpenError> {
        self.check_versions()?;
        self.spool_id = self.identity()?;
        self.leave_foreign_files();
        let base = self.checkpoint()?;
        let journals = self.map_journals(base.begin.journal)?;
        let facts = self.facts(&journals)?;
        let mut index = Index::new(base, &mut self.next);
        index.apply(&facts, &mut self.next);
        self.scan(&mut index)?;
        self.still_aside();
        self.note_settled(&index);
        self.check_segments(&mut index);
        Ok(index)
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
            let map = Arc::new(self.map(&FileKind::Checkpoint.name(*number))?);
            let stamp = Stamp::new(self.spool_id, FileKind::Checkpoint, *number);
            let (base, flaw) = read_checkpoint(&map, stamp, self.later)
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
        let name = FileKind::Checkpoint.name(*number);
        let map = self
            .storage
            .map(&name)
            .map_err(|source| OpenError::Read { path: self.storage.path(&name), source })?;
        let stamp = Stamp::new(self.spool_id, FileKind::Checkpoint, *number);
        // Its first record alone: it may be large.
        let first = FILE_HEADER_LEN..map.len().min(FETCHED_OF_OLDER);
        if map.fetch(0..first.end).is_ok()
            && let Some(bytes) = map.slice(first)
            && let Ok(record) = record::parse(bytes, stamp)
            && record.kind == Kind::Begin
            && let Some(begin) = Begin::decode(record.head)
        {
            self.valid_checkpoints.insert(0, (*number, begin.journal));
        }
        Ok(())
    }

    // ---- journals ----

    fn map_journals(&mut self, behind: u32) -> Result<Vec<(u32, Map)>, OpenError> {
        let mut maps = Vec::new();
        let numbers: Vec<u32> = self.journals.keys().copied().filter(|number| *number > behind).collect();
        for number in numbers {
            let name = FileKind::Journal.name(number);
            // What a killed process wrote may be in memory only; what we act on must not vanish later.
            self.storage
                .sync_file(&name)
                .map_err(|source| OpenError::Write { path: self.storage.path(&name), source })?;
            let (map, has_flaw) = self.map_and_flaw(&name)?;
            if has_flaw {
                self.journals_aside.insert(number);
            }
            maps.push((number, map));
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
            for found in walk_file(FileKind::Journal, bytes, stamp, self.later) {
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
        let mut bad: Vec<(Location, Option<EntryId>, String)> = Vec::new();
        let mut last_good: HashMap<u32, u32> = HashMap::new();
        for number in &numbers {
            let name = FileKind::Segment.name(*number);
            self.storage
                .sync_file(&name)
                .map_err(|source| OpenError::Write { path: self.storage.path(&name), source })?;
            let file = self.files.read().get(number).cloned();
            let Some(file) = file else { continue };
            let (map, has_flaw) = self.map_and_flaw(&name)?;
            if has_flaw {
                // What the disk keeps back today it may give back another day.
                self.aside.insert(*number);
            }
            let unread_end = map.unread_end;
            file.give(map);
            let bytes = file.view(&*self.storage, 0).map_err(|error| open_error(error, &file))?;
            let (start, walked) = if *number == scan.segment {
                let start = FILE_HEADER_LEN.max(scan.offset as usize);
                let mut found = walk(bytes, file.stamp(), start, self.later);
                found.extend(shortness(FileKind::Segment, bytes, self.later));
                (start, found)
            } else {
                (FILE_HEADER_LEN, walk_file(FileKind::Segment, bytes, file.stamp(), self.later))
            };
            let void = index.void_segments.get(number).copied().unwrap_or(usize::MAX);
            // What ends in a block that was not read may have had more records there than the zeros in its place show.
            let unread_until = |end: usize| end.max(unread_end).min(void).min(bytes.len());
            let mut is_torn = false;
            for found in walked {
                match found {
                    Found::Record(offset, _) if offset >= void => {}
                    // What stands behind is what says whether something is damaged; a filler says nothing.
                    Found::Record(_, record) if segment::is_filler(&record) => {}
                    Found::Record(offset, record) => {
                        let at = Location { segment: *number, offset: offset as u32 };
                        match self.scanned(at, &record, &bytes[offset..], &file, index) {
                            Ok(()) => {
                                last_good.insert(*number, at.offset);
                            }
                            Err((id, what)) => {
                                self.keep_parts(*number, &record);
                                bad.push((at, id, what));
                            }
                        }
                    }
                    Found::Newer(found) => return Err(self.newer(&name, u16::from(found))),
                    Found::End(end) => {
                        self.found.scanned_bytes += (end - start.min(end)) as u64;
                        let until = unread_until(end);
                        if !is_torn && end < until && end < unread_end {
                            self.torn(FileKind::Segment, *number, end, &bytes[end..until]);
                        }
                    }
                    Found::Damage(range, what) if range.start < void => {
                        // What was refused is nobody's, also when it comes back.
                        let range = range.start..range.end.min(void);
                        self.damage(FileKind::Segment, *number, range.start, &bytes[range], what, None);
                    }
                    Found::Torn(range) if range.start < void => {
                        is_torn = true;
                        let range = range.start..unread_until(range.end);
                        self.torn(FileKind::Segment, *number, range.start, &bytes[range]);
                    }
                    Found::Damage(..) | Found::Torn(_) => {}
                }
            }
        }
        self.keep_parts_of_unread(index);
        // What was copied forward later is whole there: its old record may stand beside others, without the chunks that were
        // in a segment that has gone.
        bad.retain(|(_, id, _)| id.is_none_or(|id| index.entries.get(id).is_none()));
        for (at, id, what) in bad {
            let Some(file) = self.files.read().get(&at.segment).cloned() else { continue };
            let offset = at.offset as usize;
            let bytes = file.view(&*self.storage, offset).map_err(|error| open_error(error, &file))?;
            let bytes = &bytes[..quarantine::extent(bytes, file.stamp())];
            if last_good.get(&at.segment).is_some_and(|good| *good > at.offset) {
                if let Some(id) = id {
                    index.states.remove(&id);
                }
                self.damage(FileKind::Segment, at.segment, offset, bytes, &what, id);
            } else {
                // Nothing good behind it in its segment: the crash came while it was being written. (Later segments say
                // nothing: each start begins a new one.)
                self.torn(FileKind::Segment, at.segment, offset, bytes);
            }
        }
        Ok(())
    }

    /// Takes one good record of a segment that was fetched whole into the index; `bytes` begins where it begins. The error names a message whose body is not good; it names none when
    /// the message is there all the same, because this was a copy of it.
    fn scanned(
        &mut self,
        at: Location,
        record: &Record<'_>,
        bytes: &[u8],
        file: &SegmentFile,
        index: &mut Index,
    ) -> Result<(), (Option<EntryId>, String)> {
        if record.kind == Kind::Chunk {
            if let Some((id, _)) = segment::decode_chunk(record.head) {
                self.next.saw_id(id);
                // They are walked in order.
                let segments = self.parts.entry(id).or_default();
                if segments.last() != Some(&at.segment) {
                    segments.push(at.segment);
                }
            }
            return Ok(());
        }
        let head = (record.kind == Kind::Message).then(|| MessageHead::decode(record.head)).flatten();
        let Some(head) = head else {
            let id = Reader::new(record.head).u64().unwrap_or(0);
            return Err((Some(EntryId(id)), "a record that belongs elsewhere".to_owned()));
        };
        self.next.saw_id(head.id);
        let known = index.entries.get(head.id).map(|live| live.at);
        if index.removed.contains(&head.id) || known == Some(at) {
            return Ok(());
        }
        // One that is known already was copied here, out of a segment that had little left. The later place counts: the
        // earlier segment may go, or has gone.
        let has_known = known.is_some() && {
            let mut segments =
                index.entries.spread(head.id).iter().copied().chain(known.map(|at| at.segment));
            segments.all(|number| self.segments.contains_key(&number))
        };
        stored::verify(&*self.storage, &self.files, file, (at, record, &head), bytes)
            .map_err(|error| ((!has_known).then_some(head.id), error.to_string()))?;
        let mut spread: Vec<u32> = head.pieces().map(|piece| piece.segment).collect();
        spread.retain(|number| *number != at.segment);
        spread.dedup();
        let row = LiveRow { at, body_len: head.body_len, spread: spread.into() };
        let state = match index.entries.remove(head.id) {
            Some(live) => live.state,
            None => index.states.remove(&head.id).map(|(_, state)| FoundState::from(state)),
        };
        index.entries.insert(head.id, row, state);
        Ok(())
    }

    /// Names the entries of the checkpoint whose segments are not there any more.
    fn check_segments(&mut self, index: &mut Index) {
        let mut missing = Vec::new();
        for live in index.entries.iter() {
            let mut segments =
                std::iter::once(live.at.segment).chain(index.entries.spread(live.id).iter().copied());
            let gone = segments.find(|number| !self.segments.contains_key(number));
            missing.extend(gone.map(|number| (live.id, live.at, number)));
        }
        missing.sort_unstable();
        for (id, at, number) in missing {
            index.entries.remove(id);
            self.missing(id, at, number);
        }
    }

    /// Names the entries of which only a state is left. One that was settled has its removal behind its state, and is not among them.
    fn name_states_left(&mut self, index: &mut Index) {
        let left = index.states.drain().map(|(id, (at, _))| (id, at, at.segment));
        let mut missing: Vec<(EntryId, Location, u32)> = left.collect();
        missing.sort_unstable();
        for (id, at, number) in missing {
            self.missing(id, at, number);
        }
    }

    fn missing(&mut self, id: EntryId, at: Location, number: u32) {
        let what = match self.segments.contains_key(&number) {
            false => format!("the segment is gone, and with it message {id}"),
            true => format!("message {id} was here, is not settled, and cannot be found"),
        };
        self.found.quarantined.push(Damage {
            path: self.storage.path(&FileKind::Segment.name(number)),
            offset: if number == at.segment { u64::from(at.offset) } else { 0 },
            length: 0,
            what,
            entry: Some(id),
            kept: None,
        });
    }

    fn finish(self, index: Index, options: Options, lock: LockGuard) -> (Start, Recovered) {
        let mut books = Books::default();
        for number in self.segments.keys() {
            books.open(*number);
        }
        for number in &self.keep {
            books.keep(*number);
        }
        for number in &self.aside {
            books.set_aside(*number);
        }
        let mut found = self.found;
        found.notes = index.notes;
        for live in index.entries.iter() {
            let spread = index.entries.spread(live.id).into();
            books.insert(live.id, &LiveRow { at: live.at, body_len: live.body_len, spread });
        }
        books.sort();
        found.entries = index.entries.into_list();
        let counters = Counters::default();
        counters.entries.store(found.entries.len() as u64, Ordering::Relaxed);
        counters.journal_bytes.store(found.journal_bytes, Ordering::Relaxed);
        counters.quarantined.store(found.quarantined.len() as u64, Ordering::Relaxed);
        let shared = Shared {
            storage: self.storage,
            options,
            spool_id: self.spool_id,
            segments: self.files,
            moved: RwLock::new(HashMap::new()),
            health: Mutex::new(Conditions::default()),
            counters,
            next_id: AtomicU64::new(self.next.id),
            reserved_id: AtomicU64::new(self.reserved),
            checkpointer: Mutex::new(Checkpointer {
                next: self.next.checkpoint,
                valid: self.valid_checkpoints,
                aside: self.journals_aside,
            }),
            patience: Patience::default(),
            gathering: Gathering::default(),
            checkpoint_running: AtomicBool::new(false),
            bringing_back: Mutex::default(),
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
