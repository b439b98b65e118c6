//! Segments that a start has set aside, because the disk kept back some of them: what it gives back by now is brought into the
//! spool again.
//!
//! Such a segment still has all that was ever written to it, and most of that has gone its way: it was settled, or copied forward. What
//! may be missing is what could not be read at that start. Its place is known by the copies of damaged bytes beside the segment, and
//! those among it that had been settled before are in the list that the start has left (`quarantine::note_settled`). A message is
//! brought back when it stands in such a place, is whole now, is not among those, and is not in the spool.
//!
//! # Failure
//! When all of it is on the disk the segment gets another name, so that nothing is brought back twice. What came back of a
//! segment that is still damaged in part is noted beside it as settled, which it is for this purpose. A crash before that leaves
//! the segment as it was: what the spool has is then passed over.
//!
//! # Not here
//! What the envelopes mean: their owner reads them. A message that comes back has no state, as if it had just come in.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use super::Look;
use crate::error::{OpenError, ReadError, SealError};
use crate::ids::{EntryId, Location};
use crate::journal::Fact;
use crate::quarantine;
use crate::record::{FileKind, Kind, Stamp};
use crate::recovery::walk::{Found, walk_file, whole};
use crate::segment::{MessageHead, SegmentFile};
use crate::spool::{Options, Spool};
use crate::storage::map_whole;
use crate::stored::{self, Segments};

/// A segment in quarantine, and what of it is of interest.
pub struct Aside {
    name: String,
    /// Where it is.
    pub path: PathBuf,
    /// All that a start could not read is understood now. Else more messages may be in it than are named here.
    pub is_whole: bool,
    /// A journal in quarantine still cannot be read whole: settled mail may be among what is missing.
    pub has_unread_journal: bool,
    segments: Segments,
    /// Its messages, by their place.
    pub messages: Vec<AsideMessage>,
}

/// A message in such a segment.
pub struct AsideMessage {
    /// Its id.
    pub id: EntryId,
    /// Its envelope.
    pub envelope: Vec<u8>,
    /// Length of its body.
    pub body_len: u64,
    /// What may be done about it.
    pub fate: Fate,
    at: Location,
}

/// What may be done about a message in a segment that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is whole, nobody has it, and nobody has dealt with it: it can be brought back.
    Missing,
    /// The spool has it.
    There,
    /// The spool had it, or it was settled.
    Settled,
    /// It could be read when the segment was set aside, and has gone its way since.
    Gone,
    /// It is still not whole; why.
    Damaged(String),
}

/// Why nothing was brought back, or not all.
#[derive(Debug, thiserror::Error)]
pub enum AsideError {
    /// There is no such segment in quarantine.
    #[error("{} is not there", .0.display())]
    NotThere(PathBuf),
    /// Nothing says which of its messages had been settled.
    #[error("{} is not there, which says what had been settled: its mail might go a second time", .0.display())]
    NoList(PathBuf),
    /// The spool could not be opened.
    #[error("cannot open the spool")]
    Open(#[from] OpenError),
    /// A file or folder could not be read or written.
    #[error("cannot read or write {}", .path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A message that was whole cannot be read any more. Those before it are in the spool.
    #[error("cannot read message {id} any more")]
    Read {
        /// The message.
        id: EntryId,
        /// Why.
        source: ReadError,
    },
    /// A message could not be written. Those before it are in the spool.
    #[error("cannot write message {id} into the spool")]
    Write {
        /// The message.
        id: EntryId,
        /// Why.
        source: SealError,
    },
}

impl Aside {
    /// Those that can be brought back.
    pub fn missing(&self) -> impl Iterator<Item = &AsideMessage> {
        self.messages.iter().filter(|message| message.fate == Fate::Missing)
    }
}

impl Look {
    /// The segments in quarantine, by number.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn set_aside(&self) -> io::Result<Vec<u32>> {
        let mut numbers: Vec<u32> = self.quarantined()?.iter().filter_map(|name| segment_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The names of all files in quarantine.
    fn quarantined(&self) -> io::Result<Vec<String>> {
        match fs::read_dir(self.storage.path("quarantine")) {
            Ok(listed) => listed.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads a segment that was set aside.
    ///
    /// # Errors
    /// It is not there, or cannot be read at all.
    pub fn aside(&self, number: u32) -> Result<Aside, AsideError> {
        let file_name = FileKind::Segment.name(number);
        let name = format!("quarantine/{file_name}");
        let path = self.storage.path(&name);
        let failed = |path: &PathBuf, source: io::Error| AsideError::Disk { path: path.clone(), source };
        if !path.exists() {
            return Err(AsideError::NotThere(path));
        }
        let folder = self.storage.path("quarantine");
        let names = self.quarantined().map_err(|source| failed(&folder, source))?;
        let mut unread: Vec<Range<u64>> = Vec::new();
        for copy in &names {
            let offset =
                copy.strip_prefix(&format!("{file_name}.")).and_then(|rest| rest.strip_suffix(".bytes"));
            if let Some(offset) = offset.and_then(|offset| offset.parse::<u64>().ok()) {
                let length = fs::metadata(folder.join(copy))
                    .map_err(|source| failed(&folder.join(copy), source))?
                    .len();
                unread.push(offset..offset + length);
            }
        }
        let list = self.storage.path(&quarantine::settled_name(&file_name));
        let mut settled = quarantine::settled(&*self.storage, &file_name)
            .map_err(|source| failed(&list, source))?
            .ok_or(AsideError::NoList(list))?;
        let mut has_unread_journal = false;
        for journal in &names {
            let Some((FileKind::Journal, number)) = FileKind::of_name(journal) else { continue };
            let journal = format!("quarantine/{journal}");
            has_unread_journal |= self
                .removed_in(&journal, number, &mut settled)
                .map_err(|source| failed(&self.storage.path(&journal), source))?;
        }
        let there: HashSet<EntryId> = self.looked.found.entries.iter().map(|live| live.id).collect();
        let (map, flaw) = map_whole(&*self.storage, &name).map_err(|source| failed(&path, source))?;
        let stamp = Stamp::new(self.looked.spool_id, FileKind::Segment, number);
        let mut is_whole = flaw.is_none();
        let overlaps = |range: &Range<usize>| {
            unread.iter().any(|one| (range.start as u64) < one.end && one.start < range.end as u64)
        };
        let found: Vec<(u32, EntryId, Vec<u8>, u64)> =
            walk_file(FileKind::Segment, whole(&map), stamp, self.later)
                .into_iter()
                .filter_map(|found| match found {
                    Found::Record(offset, record) if record.kind == Kind::Message => {
                        let head = MessageHead::decode(record.head)?;
                        Some((u32::try_from(offset).ok()?, head.id, head.envelope.to_vec(), head.body_len))
                    }
                    Found::Damage(range, _) => {
                        is_whole &= !overlaps(&range);
                        None
                    }
                    _ => None,
                })
                .collect();
        // Earlier parts of a body may be in other segments.
        let segments: HashMap<u32, Arc<SegmentFile>> = self.looked.segments.read().clone();
        let segments = Segments::new(segments);
        let file = SegmentFile::new(&*self.storage, self.looked.spool_id, number, usize::MAX);
        file.give(map);
        segments.write().insert(number, Arc::new(file));
        let messages = found.into_iter().map(|(offset, id, envelope, body_len)| {
            let at = Location { segment: number, offset };
            let stored = stored::read_from(&*self.storage, &segments, at);
            let was_unread = unread.iter().any(|range| range.contains(&u64::from(offset)));
            let fate = match stored {
                _ if there.contains(&id) => Fate::There,
                _ if settled.contains(&id) => Fate::Settled,
                _ if !was_unread => Fate::Gone,
                Ok(_) => Fate::Missing,
                Err(error) => Fate::Damaged(error.to_string()),
            };
            AsideMessage { id, envelope, body_len, fate, at }
        });
        let messages: Vec<AsideMessage> = messages.collect();
        Ok(Aside { name: file_name, path, is_whole, has_unread_journal, segments, messages })
    }

    /// Adds what a journal says was settled. Whether some of it cannot be read.
    fn removed_in(&self, name: &str, number: u32, settled: &mut HashSet<EntryId>) -> io::Result<bool> {
        let (map, flaw) = map_whole(&*self.storage, name)?;
        let stamp = Stamp::new(self.looked.spool_id, FileKind::Journal, number);
        let mut has_flaw = flaw.is_some();
        for found in walk_file(FileKind::Journal, whole(&map), stamp, self.later) {
            match found {
                Found::Record(_, record) => {
                    if let Some(Fact::Removed { id, .. }) = Fact::decode(record.kind, record.head) {
                        settled.insert(id);
                    }
                }
                Found::End(_) => {}
                Found::Damage(..) | Found::Torn(_) | Found::Newer(_) => has_flaw = true,
            }
        }
        Ok(has_flaw)
    }

    /// Brings back what is missing into the spool that was looked at. When that was all of it (`is_done`), the segment gets another
    /// name. How many messages came back.
    ///
    /// # Errors
    /// [`AsideError`]; the segment keeps its name, and it may be tried again.
    pub fn bring_back(self, aside: &Aside, is_done: bool, options: Options) -> Result<u64, AsideError> {
        let Look { disk, storage, lock, .. } = self;
        // The spool takes it for itself.
        drop(lock);
        let spool_disk = disk;
        let disk = |source| AsideError::Disk { path: aside.path.clone(), source };
        let (spool, _) = Spool::open(Arc::new(spool_disk.clone()), options)?;
        let mut came = HashSet::new();
        let mut outcome = Ok(());
        for message in aside.missing() {
            // Read again, right before it is touched: somebody may have thought about it for an hour.
            let stored = match stored::read_from(&*storage, &aside.segments, message.at) {
                Ok(stored) => stored,
                Err(source) => {
                    outcome = Err(AsideError::Read { id: message.id, source });
                    break;
                }
            };
            let body = stored.pieces().collect::<Vec<_>>().concat();
            let (sender, receiver) = mpsc::sync_channel(1);
            spool.draft_of(message.id).commit(message.envelope.clone(), body, move |result| {
                // The receiver waits just below.
                let _ = sender.send(result);
            });
            let result = receiver.recv().unwrap_or(Err(SealError::Closed));
            if let Err(source) = result {
                outcome = Err(AsideError::Write { id: message.id, source });
                break;
            }
            came.insert(message.id);
        }
        spool.close();
        // Before anything else can fail: what came may be settled before the segment is looked at again.
        let noted = quarantine::note_settled(&spool_disk, &aside.name, &came).map_err(disk);
        outcome.and(noted)?;
        let count = came.len() as u64;
        if !is_done {
            return Ok(count);
        }
        let mut done = aside.path.clone().into_os_string();
        done.push(".brought-back");
        fs::rename(&aside.path, &done).map_err(disk)?;
        fs::File::open(storage.path("quarantine")).and_then(|folder| folder.sync_all()).map_err(disk)?;
        Ok(count)
    }
}

/// The number of a segment by its whole name.
fn segment_of(name: &str) -> Option<u32> {
    FileKind::of_name(name).filter(|(kind, _)| *kind == FileKind::Segment).map(|(_, number)| number)
}
