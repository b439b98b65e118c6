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
//! the segment as it was: what the spool has is then passed over. What came is noted before its owner is told of it, so that nothing
//! can be settled that nobody would know of. The list is on the disk before the messages are, and gets its name behind them: a full
//! disk stops both. Where even that fails, the spool that is open knows what came. Only who is stopped between the two and settles it after
//! the next start may be given it once more.
//!
//! # Who does it
//! A spool that is open, while everything else goes on ([`Spool::aside`], [`Spool::bring_back`]); or, where nobody works in the folder,
//! whoever looks at it ([`Look::bring_back`]), by opening it.
//!
//! # Not here
//! What the envelopes mean: their owner reads them. A message that comes back has no state, as if it had just come in.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::error::{OpenError, ReadError, SealError};
use crate::ids::{EntryId, Location};
use crate::journal::Fact;
use crate::looking::Look;
use crate::quarantine;
use crate::record::{FileKind, Kind, Later, Stamp};
use crate::recovery::walk::{Found, walk_file, whole};
use crate::segment::{MessageHead, SegmentFile};
use crate::spool::{Options, Spool};
use crate::storage::{Storage, map_whole};
use crate::stored::{self, Segments};

/// Messages that are written and noted together, and octets of their bodies: what is in memory at once.
const GROUP: usize = 1024;
const GROUP_OCTETS: u64 = 16 << 20;

/// How often, and after how long, a message is offered again to a spool that is busy with others.
const OFFERS: usize = 100;
const OFFER_AGAIN: Duration = Duration::from_millis(50);

/// What a segment has at the end of its name when all of it has been dealt with.
const DONE: &str = ".brought-back";

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
    /// Somebody else brings mail back at this moment.
    #[error("mail is being brought back already")]
    Busy,
    /// The spool was closed.
    #[error("the spool is closed")]
    Closed,
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

    /// Those that are still not whole.
    pub fn damaged(&self) -> impl Iterator<Item = &AsideMessage> {
        self.messages.iter().filter(|message| matches!(message.fate, Fate::Damaged(_)))
    }
}

/// A message that has come back: it is in the spool, and waits like a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameBack {
    /// Its id.
    pub id: EntryId,
    /// Where it is.
    pub at: Location,
    /// Its envelope.
    pub envelope: Vec<u8>,
    /// Length of its body.
    pub body_len: u64,
}

/// A spool as seen from its quarantine.
struct Surroundings<'a> {
    storage: &'a dyn Storage,
    spool_id: u64,
    later: Later,
    segments: &'a Segments,
}

impl Surroundings<'_> {
    /// The segments in quarantine, by number.
    fn set_aside(&self) -> io::Result<Vec<u32>> {
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

    /// Reads a segment that was set aside. `there` says which of some messages, sorted by id, the spool has.
    fn aside(
        &self,
        number: u32,
        there: &dyn Fn(Vec<EntryId>) -> Result<HashSet<EntryId>, AsideError>,
    ) -> Result<Aside, AsideError> {
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
        let mut settled = quarantine::settled(self.storage, &file_name)
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
        let (map, flaw) = map_whole(self.storage, &name).map_err(|source| failed(&path, source))?;
        let stamp = Stamp::new(self.spool_id, FileKind::Segment, number);
        let mut is_whole = flaw.is_none();
        let was_unread = |offset: u32| unread.iter().any(|range| range.contains(&u64::from(offset)));
        // Where the parts of bodies are that may be missing.
        let mut holders: HashSet<u32> = HashSet::new();
        let overlaps = |range: &Range<usize>| {
            unread.iter().any(|one| (range.start as u64) < one.end && one.start < range.end as u64)
        };
        let found: Vec<(u32, EntryId, Vec<u8>, u64)> =
            walk_file(FileKind::Segment, whole(&map), stamp, self.later)
                .into_iter()
                .filter_map(|found| match found {
                    Found::Record(offset, record) if record.kind == Kind::Message => {
                        let head = MessageHead::decode(record.head)?;
                        let offset = u32::try_from(offset).ok()?;
                        if was_unread(offset) {
                            holders.extend(head.pieces().map(|piece| piece.segment));
                        }
                        Some((offset, head.id, head.envelope.to_vec(), head.body_len))
                    }
                    Found::Damage(range, _) => {
                        is_whole &= !overlaps(&range);
                        None
                    }
                    _ => None,
                })
                .collect();
        let mut ids: Vec<EntryId> = found.iter().map(|(_, id, ..)| *id).collect();
        ids.sort_unstable();
        let there = there(ids)?;
        holders.remove(&number);
        let segments = self.with_those_aside(&names, &holders);
        let file = SegmentFile::new(self.storage, self.spool_id, number, usize::MAX);
        file.give(map);
        segments.write().insert(number, Arc::new(file));
        let messages = found.into_iter().map(|(offset, id, envelope, body_len)| {
            let at = Location { segment: number, offset };
            let fate = match was_unread(offset) {
                _ if there.contains(&id) => Fate::There,
                _ if settled.contains(&id) => Fate::Settled,
                false => Fate::Gone,
                true => match stored::read_from(self.storage, &segments, at) {
                    Ok(_) => Fate::Missing,
                    Err(error) => Fate::Damaged(error.to_string()),
                },
            };
            AsideMessage { id, envelope, body_len, fate, at }
        });
        let messages: Vec<AsideMessage> = messages.collect();
        Ok(Aside { name: file_name, path, is_whole, has_unread_journal, segments, messages })
    }

    /// All segments in which parts of a body may be: those of the spool, and of those in quarantine the `holders`, also such as have
    /// been dealt with. What is in one that cannot be opened is damaged.
    fn with_those_aside(&self, quarantined: &[String], holders: &HashSet<u32>) -> Segments {
        let mut segments: HashMap<u32, Arc<SegmentFile>> = self.segments.read().clone();
        for name in quarantined {
            let number = segment_of(name.strip_suffix(DONE).unwrap_or(name));
            let Some(number) = number.filter(|number| holders.contains(number)) else { continue };
            // Mapped here and now: the name may change while something of it is still to be read.
            let Ok((map, _)) = map_whole(self.storage, &format!("quarantine/{name}")) else { continue };
            let file = SegmentFile::new(self.storage, self.spool_id, number, usize::MAX);
            file.give(map);
            segments.insert(number, Arc::new(file));
        }
        Segments::new(segments)
    }

    /// Adds what a journal says was settled. Whether some of it cannot be read.
    fn removed_in(&self, name: &str, number: u32, settled: &mut HashSet<EntryId>) -> io::Result<bool> {
        let (map, flaw) = map_whole(self.storage, name)?;
        let stamp = Stamp::new(self.spool_id, FileKind::Journal, number);
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
}

impl Look {
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            storage: &*self.storage,
            spool_id: self.looked.spool_id,
            later: self.later,
            segments: &self.looked.segments,
        }
    }

    /// The segments in quarantine, by number.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn set_aside(&self) -> io::Result<Vec<u32>> {
        self.surroundings().set_aside()
    }

    /// Reads a segment that was set aside.
    ///
    /// # Errors
    /// It is not there, or cannot be read at all.
    pub fn aside(&self, number: u32) -> Result<Aside, AsideError> {
        let entries = &self.looked.found.entries;
        let is_there = |id: &EntryId| entries.binary_search_by_key(id, |live| live.id).is_ok();
        self.surroundings().aside(number, &|ids| Ok(ids.into_iter().filter(is_there).collect()))
    }

    /// Brings back what is missing into the spool that was looked at. When that was all of it (`is_done`), the segment gets another
    /// name. How many messages came back.
    ///
    /// # Errors
    /// [`AsideError`]; the segment keeps its name, and it may be tried again.
    pub fn bring_back(self, aside: &Aside, is_done: bool, options: Options) -> Result<u64, AsideError> {
        let Look { disk, lock, .. } = self;
        // The spool takes it for itself.
        drop(lock);
        let (spool, _) = Spool::open(Arc::new(disk), options)?;
        let result = spool.bring_back(aside, is_done, &mut |_| {});
        spool.close();
        result
    }
}

impl Spool {
    fn surroundings(&self) -> Surroundings<'_> {
        let shared = self.shared();
        Surroundings {
            storage: &*shared.storage,
            spool_id: shared.spool_id,
            later: Later::Refuse,
            segments: &shared.segments,
        }
    }

    /// The segments in quarantine, by number.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn set_aside(&self) -> io::Result<Vec<u32>> {
        self.surroundings().set_aside()
    }

    /// Reads a segment that was set aside, on the caller's thread. The writer is asked, a segment at a time, what the spool has.
    ///
    /// # Errors
    /// It is not there, or cannot be read at all; or the spool is closed.
    pub fn aside(&self, number: u32) -> Result<Aside, AsideError> {
        self.surroundings().aside(number, &|ids| self.have(ids).ok_or(AsideError::Closed))
    }

    /// Brings back what is missing, under the ids that the messages had, and tells `each`, on the caller's thread, of what is in the spool
    /// again: noted as settled where it came from, and not known to anybody else yet. When that was all of it (`is_done`), the
    /// segment gets another name. How many messages came back.
    ///
    /// # Errors
    /// [`AsideError`]; the segment keeps its name, and it may be tried again. Of what came before that, `each` was told.
    pub fn bring_back(
        &self,
        aside: &Aside,
        is_done: bool,
        each: &mut dyn FnMut(CameBack),
    ) -> Result<u64, AsideError> {
        let shared = self.shared();
        let Some(mut unnoted) = shared.bringing_back.try_lock() else { return Err(AsideError::Busy) };
        let disk = |source| AsideError::Disk { path: aside.path.clone(), source };
        // Somebody may have brought it back since it was looked at.
        let settled = quarantine::settled(&*shared.storage, &aside.name).map_err(disk)?.unwrap_or_default();
        let missing = aside.missing().filter(|message| !settled.contains(&message.id));
        let missing: Vec<&AsideMessage> = missing.filter(|message| !unnoted.contains(&message.id)).collect();
        let mut missing = missing.into_iter().peekable();
        let mut count = 0;
        while missing.peek().is_some() {
            let mut group = Vec::new();
            let mut octets = 0;
            while group.len() < GROUP && octets < GROUP_OCTETS {
                let Some(message) = missing.next() else { break };
                octets += message.body_len;
                group.push(message);
            }
            let prepare =
                |ids: &HashSet<EntryId>| quarantine::prepare_settled(&*shared.storage, &aside.name, ids);
            // A disk that has no room for this is to say so before anything has come.
            let list = prepare(&group.iter().map(|message| message.id).collect()).map_err(disk)?;
            let (came, outcome) = self.bring_back_group(aside, &group);
            count += came.len() as u64;
            let ids: HashSet<EntryId> = came.iter().map(|came| came.id).collect();
            let list = if came.len() == group.len() { Ok(list) } else { prepare(&ids) };
            // Before anybody can settle it.
            let noted = list.and_then(|list| list.put(&*shared.storage)).map_err(disk);
            if noted.is_err() {
                unnoted.extend(ids);
            }
            came.into_iter().for_each(&mut *each);
            outcome.and(noted)?;
        }
        // Whoever was quicker has given it its other name.
        if is_done && aside.path.exists() {
            let name = format!("quarantine/{}", aside.name);
            shared.storage.rename(&name, &format!("{name}{DONE}")).map_err(disk)?;
            shared.storage.sync_dir().map_err(disk)?;
        }
        Ok(count)
    }

    /// Writes some messages in one go. Those that came are told also where one did not.
    fn bring_back_group(
        &self,
        aside: &Aside,
        group: &[&AsideMessage],
    ) -> (Vec<CameBack>, Result<(), AsideError>) {
        let mut outcome = Ok(());
        let mut written = Vec::new();
        for message in group {
            match self.offer(aside, message) {
                Ok(answer) => written.push((message, answer)),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let mut came = Vec::new();
        for (message, answer) in written {
            match answer.recv().unwrap_or(Err(SealError::Closed)) {
                Ok(at) => came.push(CameBack {
                    id: message.id,
                    at,
                    envelope: message.envelope.clone(),
                    body_len: message.body_len,
                }),
                Err(source) => outcome = outcome.and(Err(AsideError::Write { id: message.id, source })),
            }
        }
        (came, outcome)
    }

    /// Offers a message to the writer, again for a while where that is busy with others.
    fn offer(
        &self,
        aside: &Aside,
        message: &AsideMessage,
    ) -> Result<mpsc::Receiver<Result<Location, SealError>>, AsideError> {
        for _ in 0..OFFERS {
            // Read again, right before it is touched: somebody may have thought about it for an hour.
            let stored = stored::read_from(&*self.shared().storage, &aside.segments, message.at)
                .map_err(|source| AsideError::Read { id: message.id, source })?;
            let body = stored.pieces().collect::<Vec<_>>().concat();
            let (sender, receiver) = mpsc::sync_channel(1);
            self.draft_of(message.id).commit(message.envelope.clone(), body, move |result| {
                // The receiver waits until it is told.
                let _ = sender.send(result);
            });
            // A queue that is full says so before the call returns.
            match receiver.try_recv() {
                Ok(Err(SealError::Busy)) => std::thread::sleep(OFFER_AGAIN),
                Ok(told) => {
                    let (sender, receiver) = mpsc::sync_channel(1);
                    let _ = sender.send(told);
                    return Ok(receiver);
                }
                Err(_) => return Ok(receiver),
            }
        }
        Err(AsideError::Write { id: message.id, source: SealError::Busy })
    }
}

/// The number of a segment by its whole name.
fn segment_of(name: &str) -> Option<u32> {
    FileKind::of_name(name).filter(|(kind, _)| *kind == FileKind::Segment).map(|(_, number)| number)
}
