//! Looking at a spool without opening it: what is in its files, what is damaged, and what of it can be moved elsewhere.
//!
//! Recovery itself does the looking, on a folder that takes no writes, so that what is said here is what a start would find.
//! Beyond that every record and body of every file is checked, those of settled messages too.
//!
//! # Promises
//! The folder is not changed; [`Look::alone`] takes its lock, which is all. What is salvaged goes into another folder, which appears
//! whole or not at all. Only what is brought back from quarantine ([`Look::bring_back`]) goes into the folder itself, by an ordinary start.
//!
//! # Not here
//! What envelopes and states mean: their owners read them.

mod salvage;
mod untouched;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::salvage::{SalvageError, Salvaged};
use self::untouched::Untouched;
use crate::checkpoint::{self, Begin};
use crate::disk::Disk;
use crate::error::{OpenError, ReadError};
use crate::ids::{EntryId, Location};
use crate::journal::Fact;
use crate::map::Map;
use crate::quarantine::Damage;
use crate::record::{FILE_HEADER_LEN, FileKind, Kind, Later, Reader, Record, Stamp};
use crate::recovery::walk::{Found, walk_file, whole};
use crate::recovery::{self, Looked, Recovered, Torn};
use crate::segment::{MessageHead, SegmentFile, decode_chunk};
use crate::storage::{LockFailure, LockGuard, Storage, map_whole};
use crate::stored::{self, Stored, verify_body};

/// How often a folder is listed anew in which files go while it is looked at.
const LOOKS: usize = 5;

/// A spool folder that is looked at.
pub struct Look {
    pub(crate) disk: Disk,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) later: Later,
    pub(crate) looked: Looked,
    /// Nobody else works in the folder.
    pub(crate) lock: Option<LockGuard>,
}

/// The kinds of files that hold records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileOf {
    /// Messages and parts of messages.
    Segment,
    /// What changed since a checkpoint.
    Journal,
    /// The index of what was live.
    Checkpoint,
}

/// A file of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolFile {
    /// What it holds.
    pub kind: FileOf,
    /// Its number.
    pub number: u32,
    /// Its name in the folder.
    pub name: String,
    /// Its length, reserved room included.
    pub len: u64,
}

/// Something that stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it takes.
    pub len: u64,
    /// What it is.
    pub what: What<'a>,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A message.
    Message {
        /// Its id.
        id: EntryId,
        /// Its envelope.
        envelope: &'a [u8],
        /// Length of its whole body.
        body_len: u64,
        /// Where the earlier parts of the body are.
        parts: Vec<Location>,
        /// Whether the part of the body in this record is what was written.
        is_good: bool,
    },
    /// An earlier part of a body.
    Chunk {
        /// The message's id.
        id: EntryId,
        /// Which part.
        index: u32,
        /// How long it is.
        body_len: u64,
        /// Whether it is what was written.
        is_good: bool,
    },
    /// A state of a message.
    State {
        /// The message.
        id: EntryId,
        /// Where it is.
        at: Location,
        /// The state.
        state: &'a [u8],
    },
    /// A message was settled.
    Removed {
        /// The message.
        id: EntryId,
        /// Where it was.
        at: Location,
    },
    /// A note of the owner.
    Note(&'a [u8]),
    /// Part of a file does not count: it was refused.
    Void {
        /// The file.
        file: String,
        /// From where on.
        from: u32,
    },
    /// Ids below this may have been used.
    Reserve {
        /// The first that was not.
        mark: u64,
    },
    /// The beginning of a checkpoint.
    Begin {
        /// Journals up to this are contained.
        journal: u32,
        /// Messages from here on are not.
        scan: Location,
        /// Ids below this may have been used.
        next_id: u64,
    },
    /// A live message in a checkpoint.
    Entry {
        /// The message.
        id: EntryId,
        /// Where it is.
        at: Location,
        /// Length of its body.
        body_len: u64,
        /// Its state, if it had one.
        state: Option<&'a [u8]>,
    },
    /// The end of a checkpoint.
    End {
        /// Entries before it.
        entries: u64,
        /// Notes before it.
        notes: u64,
    },
    /// Bytes that are not understood; why.
    Damage(&'a str),
    /// The end of a file that a crash cut off.
    Torn,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where, how much, what, and whose.
    pub damage: Damage,
    /// The envelope of the message that cannot be read because of it, where that is readable.
    pub envelope: Option<Vec<u8>>,
    /// Whether the message still waits. Damage where nothing waits costs nothing.
    pub is_live: bool,
}

/// All that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Damage, by file and offset.
    pub flaws: Vec<Flaw>,
    /// Ends of files that are not understood and that no live message needs: as a crash leaves them, or the last records,
    /// damaged.
    pub torn: Vec<Torn>,
    /// Messages that have a state in a journal and are nowhere, with the state.
    pub lost: Vec<(EntryId, Vec<u8>)>,
}

impl Loss {
    /// Messages that wait and cannot be read, each once.
    #[must_use]
    pub fn messages(&self) -> usize {
        let damaged = self.flaws.iter().filter(|flaw| flaw.is_live).filter_map(|flaw| flaw.damage.entry);
        damaged.chain(self.lost.iter().map(|(id, _)| *id)).collect::<HashSet<EntryId>>().len()
    }

    /// Whether records of segments are damaged so that nobody can say whose they were: messages may have been among them.
    #[must_use]
    pub fn may_hide_messages(&self) -> bool {
        self.flaws.iter().map(|flaw| &flaw.damage).any(|damage| {
            let name = damage.path.file_name().and_then(|name| name.to_str());
            let is_segment =
                name.and_then(FileKind::of_name).is_some_and(|(kind, _)| kind == FileKind::Segment);
            is_segment
                && damage.entry.is_none()
                && damage.length > 0
                && damage.offset >= FILE_HEADER_LEN as u64
        })
    }
}

impl Look {
    /// Looks into a folder.
    ///
    /// # Errors
    /// As [`Spool::open`](crate::Spool::open), short of what only writing can meet; [`OpenError::NoSpool`] where there is none.
    pub fn at(folder: &Path, later: Later) -> Result<Look, OpenError> {
        // Whoever works in the folder may take away a file between the list and the look.
        let is_gone = |error: &OpenError| matches!(error, OpenError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
        for _ in 1..LOOKS {
            match Look::once(folder, later) {
                Err(error) if is_gone(&error) && folder.exists() => {}
                looked => return looked,
            }
        }
        Look::once(folder, later)
    }

    fn once(folder: &Path, later: Later) -> Result<Look, OpenError> {
        let path = folder.to_owned();
        let is_of_spool =
            |name: &str| FileKind::of_name(name).is_some() || name == FileKind::Identity.name(0);
        let listed = fs::read_dir(folder).map_err(|source| OpenError::Read { path: path.clone(), source })?;
        let mut names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        if !names.any(|name| is_of_spool(&name)) {
            return Err(OpenError::NoSpool { path });
        }
        let disk = Disk::open(folder).map_err(|source| OpenError::Read { path, source })?;
        let storage: Arc<dyn Storage> = Arc::new(Untouched(disk.clone()));
        let mut looked = recovery::look(Arc::clone(&storage), later)?;
        for damage in &mut looked.found.quarantined {
            damage.kept = damage.kept.take().filter(|copy| copy.exists());
        }
        Ok(Look { disk, storage, later, looked, lock: None })
    }

    /// The same, and keeps others out of the folder. One that cannot be written is nobody else's either.
    ///
    /// # Errors
    /// As [`Look::at`], and [`OpenError::InUse`].
    pub fn alone(folder: &Path, later: Later) -> Result<Look, OpenError> {
        let held = |holder| OpenError::InUse { path: folder.to_owned(), holder };
        let open =
            || Disk::open(folder).map_err(|source| OpenError::Read { path: folder.to_owned(), source });
        // Before all of it is read for nothing.
        if folder.is_dir()
            && let Ok(Some(holder)) = open()?.holder()
        {
            return Err(held(holder));
        }
        // A folder that is no spool shall get no lock file.
        Look::at(folder, later)?;
        let disk = open()?;
        let lock = match disk.lock() {
            Ok(guard) => Some(guard),
            Err(LockFailure::Held(holder)) => return Err(held(holder)),
            Err(LockFailure::Io(_)) => match disk.holder() {
                Ok(Some(holder)) => return Err(held(holder)),
                _ => None,
            },
        };
        Ok(Look { lock, ..Look::at(folder, later)? })
    }

    /// Who works in the folder: `None` for nobody, else the process id when it is known.
    ///
    /// # Errors
    /// The lock file cannot be read.
    pub fn holder(&self) -> std::io::Result<Option<Option<u32>>> {
        self.disk.holder()
    }

    /// What a start would find.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.looked.found
    }

    /// Reads a message, everything verified.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, at: Location) -> Result<Stored, ReadError> {
        stored::read_from(&*self.storage, &self.looked.segments, at)
    }

    /// The files that hold records, in the order in which they were begun.
    #[must_use]
    pub fn files(&self) -> Vec<SpoolFile> {
        let of = |kind: FileOf, files: &std::collections::BTreeMap<u32, u64>| {
            let file = |(&number, &len): (&u32, &u64)| SpoolFile {
                kind,
                number,
                name: kind_of(kind).name(number),
                len,
            };
            files.iter().map(file).collect::<Vec<_>>()
        };
        [
            of(FileOf::Segment, &self.looked.lengths),
            of(FileOf::Journal, &self.looked.journals),
            of(FileOf::Checkpoint, &self.looked.checkpoints),
        ]
        .concat()
    }

    fn map(&self, file: &SpoolFile) -> Result<Map, OpenError> {
        let source = |source| OpenError::Read { path: self.storage.path(&file.name), source };
        map_whole(&*self.storage, &file.name).map(|(map, _)| map).map_err(source)
    }

    /// Everything that stands in a file, in order; `each` says whether to go on. The last value of the walk is the offset
    /// behind the last record.
    ///
    /// # Errors
    /// [`OpenError::Read`], and [`OpenError::Newer`] for a record of a later release unless those are passed over.
    pub fn records(
        &self,
        file: &SpoolFile,
        each: &mut dyn FnMut(Standing<'_>) -> bool,
    ) -> Result<u64, OpenError> {
        let map = match self.map(file) {
            // Nobody needs it any more, or it would be damage: the live messages are looked at one by one.
            Err(OpenError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(0);
            }
            map => map?,
        };
        let (bytes, kind) = (whole(&map), kind_of(file.kind));
        let stamp = Stamp::new(self.looked.spool_id, kind, file.number);
        let mut used = 0;
        for found in walk_file(kind, bytes, stamp, self.later) {
            let (range, what) = match found {
                Found::Record(offset, record) => {
                    let what = self.what(kind, &record, &bytes[offset..]);
                    (offset..offset + record.len(), what)
                }
                Found::Damage(range, what) => (range, What::Damage(what)),
                Found::Torn(range) => (range, What::Torn),
                Found::Newer(found) => {
                    let path = self.storage.path(&file.name);
                    let known = crate::record::FORMAT_VERSION;
                    return Err(OpenError::Newer { path, found: u16::from(found), known });
                }
                Found::End(_) => continue,
            };
            used = used.max(range.end as u64);
            let standing = Standing { offset: range.start as u64, len: range.len() as u64, what };
            if !each(standing) {
                break;
            }
        }
        Ok(used)
    }

    /// `bytes` begins with the record.
    fn what<'a>(&self, kind: FileKind, record: &Record<'a>, bytes: &'a [u8]) -> What<'a> {
        let misplaced = What::Damage("a record that belongs elsewhere");
        let is_good = || verify_body(bytes, record).is_ok();
        match (kind, record.kind) {
            (FileKind::Segment, Kind::Message) => match MessageHead::decode(record.head) {
                Some(head) => What::Message {
                    id: head.id,
                    envelope: head.envelope,
                    body_len: head.body_len,
                    parts: head
                        .pieces()
                        .map(|piece| Location { segment: piece.segment, offset: piece.offset })
                        .collect(),
                    is_good: is_good(),
                },
                None => What::Damage("the lengths in the message do not fit"),
            },
            (FileKind::Segment, Kind::Chunk) => match decode_chunk(record.head) {
                Some((id, index)) => {
                    What::Chunk { id, index, body_len: record.body_len as u64, is_good: is_good() }
                }
                None => misplaced,
            },
            (FileKind::Journal, _) => match Fact::decode(record.kind, record.head) {
                Some(Fact::State { id, at, state }) => What::State { id, at, state },
                Some(Fact::Removed { id, at }) => What::Removed { id, at },
                Some(Fact::Note(note)) => What::Note(note),
                Some(Fact::Void { kind, number, from }) => What::Void { file: kind.name(number), from },
                Some(Fact::Reserve { mark }) => What::Reserve { mark },
                None => misplaced,
            },
            (FileKind::Checkpoint, Kind::Begin) => Begin::decode(record.head).map_or(misplaced, |begin| {
                What::Begin { journal: begin.journal, scan: begin.scan, next_id: begin.next_id }
            }),
            (FileKind::Checkpoint, Kind::Entry) => {
                checkpoint::decode_entry(record.head).map_or(misplaced, |(id, row, state)| What::Entry {
                    id,
                    at: row.at,
                    body_len: row.body_len,
                    state: state.map(|from| &record.head[from..]),
                })
            }
            (FileKind::Checkpoint, Kind::Note) => What::Note(record.head),
            (FileKind::Checkpoint, Kind::End) => {
                let mut reader = Reader::new(record.head);
                let counts = reader.u64().zip(reader.u64());
                counts.map_or(misplaced, |(entries, notes)| What::End { entries, notes })
            }
            _ => misplaced,
        }
    }

    /// Checks every record and body of every file, and that every live message can be read. `looked` is told how many bytes of
    /// how many were gone through.
    ///
    /// # Errors
    /// As [`Look::records`].
    pub fn verify(&self, looked: &mut dyn FnMut(u64, u64)) -> Result<Loss, OpenError> {
        let files = self.files();
        let total: u64 = files.iter().map(|file| file.len).sum::<u64>() + self.bodies();
        let mut known: HashSet<(PathBuf, u64)> = HashSet::new();
        let mut damages = self.looked.found.quarantined.clone();
        known.extend(damages.iter().map(|damage| (damage.path.clone(), damage.offset)));
        let mut torn = self.looked.found.torn.clone();
        known.extend(torn.iter().map(|torn| (torn.path.clone(), torn.offset)));
        let mut seen = 0;
        for file in &files {
            let path = self.storage.path(&file.name);
            let void = match file.kind {
                FileOf::Segment => self.looked.void.get(&file.number).copied(),
                _ => None,
            };
            let void = void.map_or(u64::MAX, |void| void as u64);
            self.records(file, &mut |standing| {
                let (offset, length) = (standing.offset, standing.len);
                let (what, entry) = match standing.what {
                    What::Torn => {
                        if offset < void && known.insert((path.clone(), offset)) {
                            torn.push(Torn { path: path.clone(), offset, length });
                        }
                        return true;
                    }
                    What::Damage(what) => (what, None),
                    What::Message { id, is_good: false, .. } | What::Chunk { id, is_good: false, .. } => {
                        ("the checksum of the body does not fit", Some(id))
                    }
                    _ => return true,
                };
                if offset < void && known.insert((path.clone(), offset)) {
                    let what = what.to_owned();
                    damages.push(Damage { path: path.clone(), offset, length, what, entry, kept: None });
                }
                true
            })?;
            seen += file.len;
            looked(seen, total);
        }
        let mut unreadable = HashSet::new();
        for live in &self.looked.found.entries {
            if let Err(error) = self.read(live.at).map(drop).or_else(|error| self.unless_settled(error)) {
                unreadable.insert(live.id);
                self.blame(&mut damages, &mut torn, live.id, live.at, &error);
            }
            seen += live.body_len;
            looked(seen, total);
        }
        // What recovery could not read of a message was not settled, and is not among the entries.
        let mut waiting = unreadable;
        waiting.extend(self.looked.found.quarantined.iter().filter_map(|damage| damage.entry));
        damages.sort_by(|a, b| (&a.path, a.offset, a.entry).cmp(&(&b.path, b.offset, b.entry)));
        let mut flaws: Vec<Flaw> = damages
            .into_iter()
            .map(|damage| Flaw {
                envelope: self.envelope_at(&damage),
                is_live: damage.entry.is_some_and(|id| waiting.contains(&id)),
                damage,
            })
            .collect();
        flaws.dedup_by(|b, a| {
            (&a.damage.path, a.damage.offset, a.damage.entry)
                == (&b.damage.path, b.damage.offset, b.damage.entry)
        });
        torn.sort_by(|a, b| (&a.path, a.offset).cmp(&(&b.path, b.offset)));
        Ok(Loss { flaws, torn, lost: self.looked.lost.clone() })
    }

    /// While somebody works in the folder, a message may be settled and its segment go.
    fn unless_settled(&self, error: ReadError) -> Result<(), ReadError> {
        match &error {
            ReadError::Map { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound && !matches!(self.holder(), Ok(None)) =>
            {
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn bodies(&self) -> u64 {
        self.looked.found.entries.iter().map(|live| live.body_len).sum()
    }

    /// Finds the damage that keeps a live message from being read, and writes the message's id to it.
    fn blame(
        &self,
        damages: &mut Vec<Damage>,
        torn: &mut Vec<Torn>,
        id: EntryId,
        at: Location,
        error: &ReadError,
    ) {
        let (path, offset, what) = match error {
            ReadError::Damaged { path, offset, what } => (path.clone(), *offset, what.clone()),
            ReadError::Map { path, .. } => (path.clone(), u64::from(at.offset), error.to_string()),
            ReadError::Missing { .. } => {
                let path = self.storage.path(&FileKind::Segment.name(at.segment));
                (path, u64::from(at.offset), "the message is not where it was".to_owned())
            }
        };
        let covers = |damage: &&mut Damage| {
            let end = damage.offset + damage.length.max(1);
            damage.path == path && (damage.offset..end).contains(&offset)
        };
        match damages.iter_mut().find(covers) {
            Some(damage) if damage.entry.is_none() => damage.entry = Some(id),
            Some(damage) if damage.entry == Some(id) => {}
            Some(damage) => {
                let other = Damage { entry: Some(id), ..damage.clone() };
                damages.push(other);
            }
            None => {
                // An end that a message stands in is no end that a crash has cut off.
                let covers = |torn: &Torn| {
                    torn.path == path && (torn.offset..torn.offset + torn.length).contains(&offset)
                };
                let (offset, length) = match torn.iter().position(covers) {
                    Some(at) => {
                        let torn = torn.remove(at);
                        (torn.offset, torn.length)
                    }
                    None => (offset, 0),
                };
                damages.push(Damage { path, offset, length, what, entry: Some(id), kept: None });
            }
        }
    }

    /// The envelope in a record whose body is damaged, or of the message that the damage is about.
    fn envelope_at(&self, damage: &Damage) -> Option<Vec<u8>> {
        let segment = self.segment_at(&damage.path)?;
        let bytes = segment.record_head(&*self.storage, usize::try_from(damage.offset).ok()?).ok()?;
        let own =
            crate::record::parse(bytes, segment.stamp()).ok().filter(|record| record.kind == Kind::Message);
        if let Some(head) = own.and_then(|record| MessageHead::decode(record.head)) {
            return Some(head.envelope.to_vec());
        }
        // A part of a body: its message's record is elsewhere, and may be good.
        let live = self.looked.found.entries.iter().find(|live| Some(live.id) == damage.entry)?;
        let segment = self.looked.segments.read().get(&live.at.segment).cloned()?;
        let bytes = segment.record_head(&*self.storage, live.at.offset as usize).ok()?;
        let record = crate::record::parse(bytes, segment.stamp()).ok()?;
        MessageHead::decode(record.head).filter(|head| head.id == live.id).map(|head| head.envelope.to_vec())
    }

    fn segment_at(&self, path: &Path) -> Option<Arc<SegmentFile>> {
        self.looked.segments.read().values().find(|segment| segment.path() == path).cloned()
    }
}

impl std::fmt::Debug for Look {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Look")
            .field("folder", &self.disk.folder())
            .field("alone", &self.lock.is_some())
            .finish_non_exhaustive()
    }
}

fn kind_of(kind: FileOf) -> FileKind {
    match kind {
        FileOf::Segment => FileKind::Segment,
        FileOf::Journal => FileKind::Journal,
        FileOf::Checkpoint => FileKind::Checkpoint,
    }
}
