//! The writer thread: the only one that writes segments and journals.
//!
//! It takes everything that waits, appends it with one `pwritev`, syncs once, and then answers everybody: group commit.
//! A slow disk makes larger groups, not longer queues.
//!
//! # What wakes it, what ends it
//! A request; the deadline of lazy transitions; the retry after a failed write. Of several lazy transitions only the first
//! wakes it ([`Shared::patience`]): the others have time until its deadline. It ends with [`Message::Close`], after
//! making durable what was asked for before it. Each time it wakes it takes one *turn*; tests take the turns themselves
//! ([`crate::testing::Steps`]), at times of their own, and then there is no thread.
//!
//! # Failure
//! After a failed write or sync nothing is known about what the file holds behind the last good sync, and asking again
//! proves nothing (the kernel forgets the failure with the pages). So the file is left as it is, everybody in the batch
//! is refused, a `Void` record says from where on it does not count, and a new file is begun. Journal lines that were in
//! a failed batch stay in memory and go into the new file.
//!
//! # Not here
//! How records are appended (`segments`), transitions written (`journals`) and nearly empty segments given up (`forward`),
//! which are parts of this module; what the
//! batch looks like in memory (`batch`); which segments are still needed (`books`).

mod ahead;
mod forward;
mod journals;
pub(crate) mod segments;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sluice_handoff::{Bell, Receiver};

use self::forward::Forward;
use crate::batch::{Batch, Committing};
use crate::books::Books;
use crate::checkpoint::{Begin, Line};
use crate::draft::DraftState;
use crate::error::SealError;
use crate::gathering::Company;
use crate::ids::{EntryId, Location};
use crate::quarantine;
use crate::record::{FILE_HEADER_LEN, FileKind, Stamp};
pub(crate) use crate::request::{Body, Message, Promise, Transition, Work};
use crate::spool::{Durability, Health, Shared};
use crate::storage::{File, LockGuard};

/// Requests taken into one batch. Bounds the arena, and how long the first of a batch waits for the last.
const BATCH_REQUESTS_MAX: usize = 4096;

/// Bytes taken into one batch, for the same reason: about what a disk writes in some tens of milliseconds.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Names passed over when a new file meets one that is there already.
const NAMES_TRIED: u32 = 8;

/// How often the log is told of a disk that works and fails in turns.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

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
    /// Up to here something was written, if only zeros.
    laid: usize,
}

pub(crate) struct Writer {
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
    forward: Forward,
    /// A draft that had written parts was given up in this turn.
    has_given_up: bool,
    /// When a message was written that came alone, if that was the last.
    alone_at: Option<Instant>,
    /// Room for a journal is known to be kept.
    has_spare: bool,
    /// What the log has of the disk, and when it was last told of trouble.
    told: Health,
    trouble_told: Option<Instant>,
    /// When this turn began.
    now: Instant,
    // Last, so that the lock goes after the files.
    _lock: LockGuard,
}

/// Where the writer takes its requests from.
pub(crate) struct Requests {
    pub(crate) work: Receiver<Work>,
    pub(crate) own: Receiver<Message>,
    /// Rung when there is something in either.
    pub(crate) bell: Arc<Bell>,
}

impl Requests {
    /// Whether nothing is asked for.
    pub(crate) fn are_none(&self) -> bool {
        self.own.is_empty() && self.work.is_empty()
    }
}

/// The body of the thread.
pub(crate) fn run(start: Start, requests: &Requests) {
    let mut writer = Writer::new(start, Instant::now());
    let mut company = Company::default();
    while writer.turn(requests, Instant::now()) == Turn::More {
        // Where several come close together, all of them are slept for at once.
        let mut has_gathered = company.expected() > 1;
        if has_gathered {
            writer.gather(requests, &company);
        }
        if requests.are_none() {
            if has_gathered {
                company.nobody_came();
            }
            requests.bell.wait(writer.timeout(), || requests.are_none());
            has_gathered = false;
        }
        let gathering = &writer.shared.gathering;
        if !has_gathered && (1..company.expected()).contains(&gathering.arrived()) {
            writer.gather(requests, &company);
        }
        if gathering.arrived() > 0 {
            company.came(gathering.arrived(), gathering.on_their_way());
        }
    }
}

/// Whether the writer goes on after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    More,
    Last,
}

impl Writer {
    pub(crate) fn new(start: Start, now: Instant) -> Writer {
        let forward = Forward::starting(now, start.shared.options.rest);
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
            forward,
            has_given_up: false,
            alone_at: None,
            has_spare: false,
            told: Health::Ok,
            trouble_told: None,
            now,
            _lock: start.lock,
        };
        writer.books.found_at(now);
        writer.reap();
        writer
    }

    /// Takes what waits, and does what is due.
    pub(crate) fn turn(&mut self, requests: &Requests, now: Instant) -> Turn {
        let Requests { work, own, .. } = requests;
        self.now = now;
        self.shared.gathering.attends();
        let mut closing = false;
        let mut taken = 0;
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
            return Turn::Last;
        }
        self.finish_batch();
        Turn::More
    }

    /// Writes what was taken, and whatever is due.
    fn finish_batch(&mut self) {
        self.flush_segment(false);
        let now = self.now;
        let lazy_due = self.lazy_deadline.is_some_and(|deadline| deadline <= now);
        if self.urgent || lazy_due {
            self.flush_journal();
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.probe();
        }
        if std::mem::take(&mut self.has_given_up) {
            // Else what clients begin and never end would keep its room until something is settled.
            self.reap();
        }
        self.step_forward(now);
        let waiting = self.pending.len() as u64;
        self.shared.counters.transitions_waiting.store(waiting, Ordering::Relaxed);
    }

    /// Sleeps until as many have arrived as are expected, or a moment has passed.
    fn gather(&self, requests: &Requests, company: &Company) {
        let time = self.shared.options.company.min(self.timeout());
        self.shared.gathering.wait(&requests.bell, time, company.expected());
    }

    fn timeout(&self) -> Duration {
        self.due().map_or(IDLE, |at| at.saturating_duration_since(Instant::now()))
    }

    /// When there is something to do without a request.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.lazy_deadline.into_iter().chain(self.retry_at).chain(self.forward.due(self.retry_at)).min()
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
            Message::Have { ids, behind, reply } => {
                // The asker may have gone.
                let _ = reply.send(self.books.have_behind(behind, &ids));
            }
            Message::GivenUp(draft) => self.give_up(&draft),
            Message::Damaged { at, what } => quarantine::keep_damaged(&self.shared, at, &what),
            Message::Close => return true,
        }
        false
    }

    /// A message that is not going to be: its parts are nobody's, and what of it still waits is not written.
    fn give_up(&mut self, draft: &DraftState) {
        let mut pieces = draft.pieces.lock();
        pieces.broken = true;
        let pins = std::mem::take(&mut pieces.pins);
        drop(pieces);
        if pins.is_empty() {
            return;
        }
        self.books.given_up(pins.iter().map(|(segment, _)| *segment), self.now);
        self.forward.settled(self.now, self.shared.options.rest);
        self.has_given_up = true;
    }

    fn take_transition(&mut self, mut transition: Transition) {
        let known = match &transition.body {
            Body::State { id, at, .. } => self.books.has(*id, *at),
            Body::Removed { id, at } => self.take_removal(*id, *at),
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
                self.lazy_deadline.get_or_insert(self.now + self.shared.options.lazy_delay);
                self.shared.patience.begins();
            }
        }
        self.pending.push(transition);
    }

    fn take_removal(&mut self, id: EntryId, at: Location) -> bool {
        let now = self.now;
        let was_live = self.books.remove(id, at, now);
        if was_live {
            self.forward.settled(now, self.shared.options.rest);
            if !self.shared.moved.read().is_empty() {
                self.shared.moved.write().remove(&at);
            }
        }
        was_live
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
                self.shared.gathering.is_taken();
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
                        self.give_up(&draft);
                        done.keep(Err(error));
                    }
                }
            }
        }
    }

    /// Removes segments that nobody needs. Only called when no removal is waiting for the disk: a segment must not be
    /// gone while a crash could still bring back an entry in it.
    fn reap(&mut self) {
        if !self.pending.is_empty() {
            return;
        }
        let current = self.segment.as_ref().map(|open| open.number);
        let mut has_moved = false;
        for number in self.books.unneeded(current) {
            let name = FileKind::Segment.name(number);
            let storage = &self.shared.storage;
            let goes_aside = self.books.goes_aside(number);
            let gone = match goes_aside {
                true => storage.rename(&name, &format!("quarantine/{name}")),
                false => storage.remove(&name),
            };
            match gone {
                Ok(()) => has_moved |= goes_aside,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%error, segment = name, "cannot remove a settled segment; trying again later");
                    continue;
                }
            }
            self.shared.segments.write().remove(&number);
            self.books.close(number);
        }
        // Without this a crash may leave it where it was, or, of two folders, in neither.
        if has_moved && let Err(error) = self.shared.storage.sync_dir() {
            tracing::warn!(%error, "a segment that was moved into quarantine may be back after a crash");
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
            let _ = self.open_segment(0);
        }
    }

    /// Notes how a kind of file is doing, and says so when it changes: once, and not again for a disk that fails now and then.
    fn condition(&mut self, kind: FileKind, error: Option<SealError>) {
        let mut conditions = self.shared.health.lock();
        let failed = error.is_some();
        match kind {
            FileKind::Segment => conditions.segment = error,
            _ => conditions.journal = error,
        }
        let after = conditions.health();
        drop(conditions);
        if failed {
            self.retry_at.get_or_insert(self.now + self.shared.options.retry_delay);
        }
        self.tell(&after);
    }

    /// Says in the log how the disk is when that is another thing than what was said last. A disk that fails now and then is told of
    /// once in a while; one that goes on failing is told of in any case.
    fn tell(&mut self, health: &Health) {
        let same = std::mem::discriminant(health) == std::mem::discriminant(&self.told);
        let soon = self.trouble_told.is_some_and(|at| self.now.saturating_duration_since(at) < TOLD_AGAIN);
        if same || (*health != Health::Ok && soon) {
            return;
        }
        match health {
            Health::Ok => tracing::info!("the spool can be written again"),
            Health::Full => tracing::error!("the disk of the spool is full; new mail is refused"),
            Health::Failing { what } => {
                tracing::error!(what, "the spool cannot be written; new mail is refused");
            }
        }
        if *health != Health::Ok {
            self.trouble_told = Some(self.now);
        }
        self.told = health.clone();
    }
}
