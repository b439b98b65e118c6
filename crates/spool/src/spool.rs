//! The handle: [`Spool`], which everybody holds.
//!
//! Nothing here touches a file. A call computes checksums, hands the request to the writer thread and returns; the
//! answer comes through a callback.
//!
//! # Callbacks
//! Every callback is called exactly once: with the result, or with [`SealError::Closed`] when the spool ends first.
//! Usually it runs on the writer thread, in the middle of group commit, so it must not wait for anything: send on a
//! channel with room, wake a task, return. A refusal that is known at once ([`SealError::Busy`], `Closed`,
//! `TooLarge`) is told on the caller's own thread, before the call returns.
//!
//! # Two queues
//! Drafts come from strangers and go through a bounded queue: when it is full the answer is `Busy`, never a wait.
//! Transitions come from the one owner of the queue, are a few dozen bytes each, and must not be refused; theirs is
//! unbounded. (Were it bounded, the owner could wait for the writer while the writer's callback waits for the owner.)

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use sluice_handoff::{Bell, Gathering, Patience, SendError, Sender};

use crate::checkpoint::{Checkpointer, Cut};
use crate::draft::{Draft, DraftState};
use crate::envelopes::{self, Envelopes};
use crate::error::{CheckpointError, OpenError, ReadError, SealError};
use crate::ids::{EntryId, Location};
use crate::recovery::{self, Recovered};
use crate::segment::{PIECE_MAX, SegmentFile};
use crate::storage::Storage;
use crate::stored::{self, Stored};
use crate::writer::{self, Message, Requests, Transition, Turn, Work, Writer};
use crate::{journal, record};

/// Told when something is durable, or that it is not.
pub type Done = Box<dyn FnOnce(Result<(), SealError>) + Send>;

/// Smallest segment or journal file: room for a header and something to say.
pub const FILE_SIZE_MIN: u64 = 4096;

/// Largest segment or journal file: offsets are 32 bits, and a whole file is mapped at once.
pub const FILE_SIZE_MAX: u64 = 1 << 30;

/// Sizes and delays of a spool. The default is what `sluice run` uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Length of a segment file, reserved when it is begun. Larger ones mean fewer files, and later return of room
    /// that one long-waiting message keeps; 64 MiB holds some ten thousand ordinary messages.
    pub segment_size: u64,
    /// Length of a journal file. A checkpoint drops whole files only.
    pub journal_size: u64,
    /// Longest time a lazy transition stays in memory only. This is the window in which a crash delivers twice.
    pub lazy_delay: Duration,
    /// How long after a failed write the writer tries by itself again.
    pub retry_delay: Duration,
    /// How long nothing of a segment must have been settled before what is left of it, when that is little, is copied
    /// forward. Most mail is settled within seconds, and a copy would be for nothing.
    pub rest: Duration,
    /// How long the first message of a group waits at most for others, so that they share its sync. It does so where several have come
    /// close together before; twenty sessions bring some five messages in that time. Who comes alone does not wait.
    pub company: Duration,
    /// Chunks and commits that may wait for the writer before the answer is [`SealError::Busy`]. A session has one of
    /// them under way at a time, so this is a number of sessions.
    pub queue_length: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_size: 64 << 20,
            journal_size: 16 << 20,
            lazy_delay: Duration::from_millis(50),
            retry_delay: Duration::from_secs(1),
            rest: Duration::from_secs(60),
            company: Duration::from_millis(1),
            queue_length: 16_384,
        }
    }
}

impl Options {
    /// Refuses sizes that cannot work.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        for (name, size) in [("segment", self.segment_size), ("journal", self.journal_size)] {
            if !(FILE_SIZE_MIN..=FILE_SIZE_MAX).contains(&size) || size % 8 != 0 {
                return Err(OpenError::Options {
                    what: format!(
                        "a {name} size of {size} bytes cannot be used; give a multiple of eight from \
                         {FILE_SIZE_MIN} to {FILE_SIZE_MAX}"
                    ),
                });
            }
        }
        if self.queue_length == 0 {
            return Err(OpenError::Options { what: "a queue length of 0 would accept nothing".to_owned() });
        }
        Ok(())
    }

    /// Longest piece of a body that is one record.
    pub(crate) fn piece_max(&self) -> usize {
        (PIECE_MAX.min(self.segment_size as usize / 4)) & !7
    }
}

/// When a transition is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// With the next batch, within [`Options::lazy_delay`]. A crash before that forgets the transition, so what it
    /// settled is delivered a second time. For the results of deliveries.
    Lazy,
    /// At once; the callback comes after `fdatasync`. For what a person was told, such as a hold.
    Sync,
}

/// How the disk is doing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Health {
    /// The last write succeeded.
    #[default]
    Ok,
    /// The disk is full: new mail is refused, what is queued stays.
    Full,
    /// The last write or sync failed.
    Failing {
        /// The error with its chain, for the log and the health page.
        what: String,
    },
}

/// Counters since the spool was opened, and sizes as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages committed.
    pub commits: u64,
    /// Messages refused, for whatever reason.
    pub refused: u64,
    /// Times the segment was synced. `commits / syncs` is the mean size of a group commit.
    pub syncs: u64,
    /// Times the journal was synced.
    pub journal_syncs: u64,
    /// Bytes written to segments.
    pub written: u64,
    /// Entries that are not removed.
    pub entries: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes journalled since the last checkpoint.
    pub journal_bytes: u64,
    /// Bytes written to journals.
    pub journalled: u64,
    /// Messages that were copied out of nearly empty segments.
    pub forwarded: u64,
    /// Transitions that are in memory only, waiting for the next batch or for the disk to work again.
    pub transitions_waiting: u64,
    /// Damaged places that were found and copied to `quarantine/`, at recovery and since.
    pub quarantined: u64,
}

/// What the handles, the readers and the writer thread share.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) spool_id: u64,
    pub(crate) segments: RwLock<HashMap<u32, Arc<SegmentFile>>>,
    /// Where messages are now that were copied out of the segment that their owner knows.
    pub(crate) moved: RwLock<HashMap<Location, Location>>,
    pub(crate) health: Mutex<writer::Conditions>,
    pub(crate) counters: Counters,
    pub(crate) next_id: AtomicU64,
    pub(crate) reserved_id: AtomicU64,
    /// The writer has lazy transitions, and wakes for all that wait at their deadline.
    pub(crate) patience: Patience,
    /// Messages that are being received, for which the writer may wait.
    pub(crate) gathering: Gathering,
    pub(crate) checkpointer: Mutex<Checkpointer>,
    pub(crate) checkpoint_running: AtomicBool,
    /// Held by who brings mail back from quarantine: one at a time. What came back and could not be noted where it came from.
    pub(crate) bringing_back: Mutex<HashSet<EntryId>>,
}

/// [`Stats`] as it is counted.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) journal_syncs: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
    pub(crate) journalled: AtomicU64,
    pub(crate) forwarded: AtomicU64,
    pub(crate) transitions_waiting: AtomicU64,
    pub(crate) quarantined: AtomicU64,
}

/// One store of messages; cheap to clone. The last clone that goes away closes it.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    work: Sender<Work>,
    own: Sender<Message>,
    hands: Hands,
}

/// Who takes the writer's turns.
enum Hands {
    /// A thread of its own.
    Thread(Mutex<Option<JoinHandle<()>>>),
    /// Whoever tests the spool; there is none behind the last turn. See [`crate::testing::Steps`].
    Steps(SteppedPlace),
}

/// Where a writer without a thread is while it lives.
pub(crate) type SteppedPlace = Arc<Mutex<Option<Stepped>>>;

/// A writer without a thread.
pub(crate) struct Stepped {
    writer: Writer,
    requests: Requests,
    /// What time it is for the writer.
    now: Instant,
}

impl Stepped {
    /// One turn, at a time or at that of the last one. Within a callback, which the writer runs in the middle of one, there
    /// is nothing to do.
    pub(crate) fn turn(place: &Mutex<Option<Stepped>>, now: Option<Instant>) {
        let Some(mut place) = place.try_lock() else { return };
        let Some(stepped) = &mut *place else { return };
        stepped.now = now.unwrap_or(stepped.now);
        if stepped.writer.turn(&stepped.requests, stepped.now) == Turn::Last {
            *place = None;
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        if self.requests.are_none() { self.writer.due() } else { Some(self.now) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.send(Message::Close);
        self.join();
    }
}

impl Inner {
    /// Asks for something that does not wait.
    fn send(&self, message: Message) -> Result<(), SendError<Message>> {
        self.own.send_quietly(message)?;
        self.hurry();
        Ok(())
    }

    /// What was just put into a queue does not wait for messages that may come close together.
    fn hurry(&self) {
        self.shared.gathering.hurries();
        self.own.ring();
    }

    /// Waits for the writer to end, unless this *is* the writer (a callback held the last handle).
    fn join(&self) {
        match &self.hands {
            Hands::Thread(thread) => {
                if let Some(thread) = thread.lock().take()
                    && thread.thread().id() != std::thread::current().id()
                    && thread.join().is_err()
                {
                    tracing::error!("the spool writer ended by a panic");
                }
            }
            Hands::Steps(writer) => Stepped::turn(writer, None),
        }
    }

    /// Before somebody waits for an answer of the writer: where it has no thread, it takes its turn now.
    fn attend(&self) {
        if let Hands::Steps(writer) = &self.hands {
            Stepped::turn(writer, None);
        }
    }
}

/// A spool whose writer has not begun yet.
struct Opened {
    start: writer::Start,
    requests: Requests,
    work: Sender<Work>,
    own: Sender<Message>,
    recovered: Recovered,
}

impl Opened {
    fn open(storage: &Arc<dyn Storage>, options: Options) -> Result<Opened, OpenError> {
        options.check()?;
        let (start, recovered) = recovery::recover(storage, options)?;
        let bell = Bell::new();
        let (work, work_receiver) = bell.bounded(start.shared.options.queue_length);
        let (own, own_receiver) = bell.unbounded();
        let requests = Requests { work: work_receiver, own: own_receiver, bell };
        Ok(Opened { start, requests, work, own, recovered })
    }
}

impl Spool {
    /// Takes the folder, recovers what is in it, and starts the writer thread.
    ///
    /// The entries and notes are handed back once; the spool itself remembers only where live entries are. The owner
    /// should write a checkpoint soon after, so that the next start is quick.
    #[allow(clippy::needless_pass_by_value)] // The spool shares the storage with its caller; that is what an `Arc` says.
    pub fn open(storage: Arc<dyn Storage>, options: Options) -> Result<(Spool, Recovered), OpenError> {
        let Opened { start, requests, work, own, recovered } = Opened::open(&storage, options)?;
        let shared = Arc::clone(&start.shared);
        let path = shared.storage.path("");
        let thread = std::thread::Builder::new()
            .name("spool-writer".to_owned())
            .spawn(move || writer::run(start, &requests))
            .map_err(|source| OpenError::Write { path, source })?;
        let hands = Hands::Thread(Mutex::new(Some(thread)));
        Ok((Spool { inner: Arc::new(Inner { shared, work, own, hands }) }, recovered))
    }

    /// The same without a thread; the writer is the caller's to step.
    pub(crate) fn open_stepped(
        storage: &Arc<dyn Storage>,
        options: Options,
        now: Instant,
    ) -> Result<(Spool, SteppedPlace, Recovered), OpenError> {
        let Opened { start, requests, work, own, recovered } = Opened::open(storage, options)?;
        let shared = Arc::clone(&start.shared);
        let stepped = Stepped { writer: Writer::new(start, now), requests, now };
        let stepped = Arc::new(Mutex::new(Some(stepped)));
        let hands = Hands::Steps(Arc::clone(&stepped));
        Ok((Spool { inner: Arc::new(Inner { shared, work, own, hands }) }, stepped, recovered))
    }

    /// Begins a message and gives it its id. Costs no disk access; a draft that is dropped leaves no entry.
    pub fn draft(&self) -> Draft {
        let shared = &self.inner.shared;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let reserved = shared.reserved_id.load(Ordering::Relaxed);
        // Half a block ahead of need, so that the mark is on the disk long before the ids behind it are used.
        if id + journal::ID_BLOCK / 2 >= reserved {
            let mark = id + journal::ID_BLOCK;
            if shared
                .reserved_id
                .compare_exchange(reserved, mark, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                let _ = self.inner.send(Message::Transition(Transition::reserve(mark)));
            }
        }
        self.draft_of(EntryId(id))
    }

    /// Begins a message that has its id already, from a spool whose messages are moved into this one.
    pub(crate) fn draft_of(&self, id: EntryId) -> Draft {
        Draft::begin(self.clone(), id)
    }

    /// Ids below this are somebody else's from now on.
    pub(crate) fn begin_ids_at(&self, next: u64) {
        let shared = &self.inner.shared;
        shared.next_id.fetch_max(next, Ordering::Relaxed);
        let mark = next.saturating_add(journal::ID_BLOCK);
        shared.reserved_id.fetch_max(mark, Ordering::Relaxed);
        let _ = self.inner.send(Message::Transition(Transition::reserve(mark)));
    }

    /// Reads a message: its envelope at once, its body as slices of the mapped segment.
    ///
    /// The record and the envelope are verified every time, the body the first time it is read in this process. What
    /// does not verify is copied to `quarantine/` and reported; the entry stays until it is removed.
    pub fn read(&self, at: Location) -> Result<Stored, ReadError> {
        self.report(at, stored::read(&self.inner.shared, at))
    }

    /// Reads the envelope of a message, verified, and nothing of its body.
    pub fn read_envelope(&self, at: Location) -> Result<Vec<u8>, ReadError> {
        self.report(at, envelopes::envelope(&self.inner.shared, at))
    }

    /// Reads the envelopes of many messages one after the other, which costs less than as many calls of
    /// [`Spool::read_envelope`] when they are asked for in the order of their places.
    pub fn envelopes(&self) -> Envelopes<'_> {
        Envelopes::new(self)
    }

    /// Tells the writer that a message is not going to be.
    pub(crate) fn gives_up(&self, draft: Arc<DraftState>) {
        let _ = self.inner.own.send(Message::GivenUp(draft));
    }

    /// See [`Inner::hurry`].
    pub(crate) fn hurry(&self) {
        self.inner.hurry();
    }

    /// The queue of drafts.
    pub(crate) fn work(&self) -> &Sender<Work> {
        &self.inner.work
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Has damage that a reader has met copied aside.
    pub(crate) fn report<T>(&self, at: Location, result: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Err(ReadError::Damaged { path, offset, what }) = &result {
            tracing::error!(path = %path.display(), offset, what, "a stored message is damaged");
            let report = Message::Damaged { at: self.damaged_at(at, path, *offset), what: what.clone() };
            let _ = self.inner.send(report);
        }
        result
    }

    /// A damaged chunk may be in another segment than its message.
    fn damaged_at(&self, asked: Location, path: &std::path::Path, offset: u64) -> Location {
        let segments = self.inner.shared.segments.read();
        let segment =
            segments.values().find(|segment| segment.path() == path).map_or(asked.segment, |s| s.number());
        Location { segment, offset: u32::try_from(offset).unwrap_or(asked.offset) }
    }

    /// Replaces the state of an entry; the last writer wins.
    ///
    /// The callback's `Err` means "not on the disk *yet*": the transition is kept and written as soon as the disk takes
    /// it again. Only [`SealError::TooLarge`] and [`SealError::Closed`] are final.
    pub fn set_state(
        &self,
        id: EntryId,
        at: Location,
        state: Vec<u8>,
        durability: Durability,
        done: Option<Done>,
    ) {
        self.transition(Transition::state(id, at, state, durability, done));
    }

    /// The entry is settled whole. When nothing else in its segments is live, they are removed, after the removal is
    /// durable. Removing what is already removed does nothing.
    pub fn remove(&self, id: EntryId, at: Location, durability: Durability, done: Option<Done>) {
        self.transition(Transition::remove(id, at, durability, done));
    }

    /// Journals a record of the owner that belongs to no entry. Notes come back at recovery in the order they were
    /// given, until a checkpoint replaces them.
    pub fn note(&self, note: Vec<u8>, durability: Durability, done: Option<Done>) {
        self.transition(Transition::note(note, durability, done));
    }

    fn transition(&self, transition: Transition) {
        let len = transition.record_len() as u64;
        let limit = self.inner.shared.options.journal_size - record::FILE_HEADER_LEN as u64;
        if len > limit {
            tracing::error!(len, limit, "a transition is too long for the journal");
            transition.finish(Err(SealError::TooLarge { len, limit }));
            return;
        }
        let lazy = transition.durability == Durability::Lazy;
        // When the writer has ended, the unsent transition is dropped, and dropping it tells its owner `Closed`.
        let message = Message::Transition(transition);
        let _ = match lazy {
            true => self.inner.own.send_in_time(message, &self.inner.shared.patience),
            false => self.inner.send(message),
        };
    }

    /// Bytes journalled since the last checkpoint: the measure of what the next start has to replay.
    pub fn journal_bytes_since_checkpoint(&self) -> u64 {
        self.inner.shared.counters.journal_bytes.load(Ordering::Relaxed)
    }

    /// Writes a checkpoint: [`Spool::cut`] and [`Cut::write`] in one, on the caller's thread.
    pub fn checkpoint<S: AsRef<[u8]>, N: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (EntryId, Location, S)>,
        notes: impl IntoIterator<Item = N>,
    ) -> Result<(), CheckpointError> {
        self.cut()?.write(entries, notes)
    }

    /// Draws the line that a checkpoint stands for: all transitions asked for before this call are behind it.
    ///
    /// It waits for the writer, which takes one batch. The owner may then take a copy of its index and let another
    /// thread write it with [`Cut::write`], while it goes on.
    pub fn cut(&self) -> Result<Cut, CheckpointError> {
        let shared = &self.inner.shared;
        if shared.checkpoint_running.swap(true, Ordering::Acquire) {
            return Err(CheckpointError::Running);
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let asked = self.inner.send(Message::Cut(sender));
        self.inner.attend();
        let cut = asked.ok().and_then(|()| receiver.recv().ok());
        match cut {
            Some(line) => Ok(Cut::new(Arc::clone(shared), line)),
            None => {
                shared.checkpoint_running.store(false, Ordering::Release);
                Err(CheckpointError::Closed)
            }
        }
    }

    /// Which of some entries are live. Waits for the writer, which looks through one segment at a time, between its batches. `None`: the
    /// spool is closed.
    pub(crate) fn have(&self, ids: Vec<EntryId>) -> Option<HashSet<EntryId>> {
        debug_assert!(ids.is_sorted());
        let ids: Arc<[EntryId]> = ids.into();
        let mut have = HashSet::new();
        let mut behind = 0;
        // An entry that is moved meanwhile goes into a segment of a higher number, which is still to come.
        loop {
            let (reply, answer) = crossbeam_channel::bounded(1);
            self.inner.send(Message::Have { ids: Arc::clone(&ids), behind, reply }).ok()?;
            self.inner.attend();
            let Some((segment, found)) = answer.recv().ok()? else { return Some(have) };
            have.extend(found);
            behind = segment;
        }
    }

    /// How the disk is doing. A spool that is not `Ok` tries by itself and becomes `Ok` again without a restart.
    pub fn health(&self) -> Health {
        self.inner.shared.health.lock().health()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let counters = &self.inner.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            commits: get(&counters.commits),
            refused: get(&counters.refused),
            syncs: get(&counters.syncs),
            journal_syncs: get(&counters.journal_syncs),
            written: get(&counters.written),
            entries: get(&counters.entries),
            segments: self.inner.shared.segments.read().len() as u64,
            journal_bytes: get(&counters.journal_bytes),
            journalled: get(&counters.journalled),
            forwarded: get(&counters.forwarded),
            transitions_waiting: get(&counters.transitions_waiting),
            quarantined: get(&counters.quarantined),
        }
    }

    /// Makes durable what waits, ends the writer thread and gives the lock back. Other clones get `Closed` from now on;
    /// messages that were read stay readable as long as they are held.
    pub fn close(self) {
        let _ = self.inner.send(Message::Close);
        self.inner.join();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::Disk;

    #[test]
    fn a_commit_that_the_writer_did_not_take_is_told_when_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(Disk::open(folder.path()).unwrap());
        let (spool, writer, _) = Spool::open_stepped(&storage, Options::default(), Instant::now()).unwrap();
        let (tell, told) = mpsc::channel();
        spool
            .draft()
            .commit(b"envelope".to_vec(), b"body".to_vec(), move |result| tell.send(result).unwrap());
        assert!(told.try_recv().is_err(), "it lies in the queue");
        // The writer ends without another turn, and somebody who might commit more is still there.
        drop(writer.lock().take());
        assert!(matches!(told.try_recv(), Ok(Err(SealError::Closed))));
        drop(spool);
    }
}
