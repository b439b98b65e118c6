//! The dispatcher as the rest of the house sees it: a cheap handle that any thread may use.
//!
//! # Two ways in
//! *Arrivals* come from the spool's writer thread, which must never wait. So a commit takes a *permit* first, and there
//! are as many places in that channel as permits: when there is none left the commit is refused, busy. Everything else
//! comes through the *inbox*. It is bounded; what comes from outside is refused when it is full ([`Busy`]), workers wait.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sluice_handoff::TrySendError;
use sluice_mail::{Envelope, EnvelopeError, Recipient, Refusal, Status, Time};
use sluice_queue::{EntryView, QueueSummary, Selector};
use sluice_spool::{CameBack, EntryId, Health, ReadError, SealError, Spool, Stats};

use crate::closed::{Closing, ClosingDone, ClosingError};
use crate::conversions;
use crate::event::{Answer, ChannelReport, Event, Loaded, Question};
use crate::order::{Order, ReleaseId, Released};
use crate::pieces::{self, Head};
use crate::policy::Policy;
use crate::record;
use crate::records::ReleaseRecord;
use crate::renew::TriedOut;
use crate::runner::{PluginInfo, Runners};
use crate::sync::{ArcSwap, AtomicBool, AtomicUsize, Awaited, Sender, bounded};
use crate::ticket::{divert, lines_in, ticket};

/// Commits that may be between the spool and the index. Each session has one at most, so this is above any sensible
/// number of connections.
pub(crate) const PERMITS: usize = 8192;
/// Notices that the dispatcher itself may have under way; they need no permit but a place.
pub(crate) const NOTICES: usize = 256;
/// Events that may wait in the inbox.
pub(crate) const INBOX: usize = 4096;

/// How often somebody who brings mail back looks whether there is room for a message.
const PERMIT_LOOK: Duration = Duration::from_millis(5);

/// The dispatcher has more to do than it can take note of. Try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the dispatcher is busy or stopping")]
pub struct Busy;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Too many commits under way.
    #[error("too many messages are being accepted at once")]
    Busy,
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Stopping,
    /// No recipient in the envelope: there would be nothing to do.
    #[error("the envelope has no recipients")]
    NoRecipients,
    /// The table `CONVERSIONS` asks a database that does not answer.
    #[error("the table CONVERSIONS asks a database that does not answer")]
    Unanswered,
    /// The spool did not take it.
    #[error("the spool did not take the message")]
    Seal(#[from] SealError),
}

impl CommitError {
    /// What the client is told: the codes of RFC 5321 section 4.2.3 and RFC 3463. No path and no system error.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let status = |class, subject, detail| Status { class, subject, detail };
        match self {
            Self::Busy | Self::Seal(SealError::Busy) => {
                Refusal::new(451, status(4, 3, 2), "too busy to take the message, try again")
            }
            Self::Stopping | Self::Seal(SealError::Closed) => {
                Refusal::new(421, status(4, 3, 2), "system is shutting down, try again")
            }
            Self::Unanswered => Refusal::new(451, status(4, 3, 0), "a database does not answer, try again"),
            Self::NoRecipients => Refusal::new(554, status(5, 5, 1), "no valid recipients"),
            Self::Seal(SealError::Full { .. }) => {
                Refusal::new(452, status(4, 3, 1), "insufficient system storage, try again")
            }
            Self::Seal(SealError::TooLarge { .. }) => {
                Refusal::new(552, status(5, 3, 4), "message too big for system")
            }
            Self::Seal(_) => Refusal::new(451, status(4, 3, 0), "cannot store the message, try again"),
        }
    }
}

/// Why a message that has come back is not in the queue. It is in the spool.
#[derive(Debug, thiserror::Error)]
pub enum TakeBackError {
    /// Its envelope says nothing that we understand.
    #[error("its envelope is not understood")]
    Envelope(#[from] EnvelopeError),
    /// The next start finds it.
    #[error("the hub is stopping")]
    Stopping,
}

pub(crate) struct Shared {
    pub(crate) loaded: ArcSwap<Loaded>,
    pub(crate) permits: AtomicUsize,
    pub(crate) looks: AtomicU64,
    pub(crate) stopping: AtomicBool,
    pub(crate) arrivals: Sender<Event>,
    pub(crate) inbox: Sender<Event>,
    pub(crate) spool: Spool,
    pub(crate) runners: Arc<dyn Runners>,
    /// Up to when an earlier run has kept the moments of activators.
    pub(crate) activators_kept: std::sync::Mutex<BTreeMap<String, Time>>,
    pub(crate) thread: std::sync::Mutex<Option<JoinHandle<()>>>,
    /// Closed when the dispatcher's thread has ended: what callers of [`Handle::stop`] wait for.
    pub(crate) ended: Awaited<()>,
}

/// The dispatcher. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// A message that is being received. Dropping it gives it up.
pub struct Draft {
    draft: sluice_spool::Draft,
    size: u64,
    lines: u64,
    /// Its beginning, where any channel wants to know whether it is a piece of a message.
    head: Option<Head>,
    /// The channel that brings it in, whatever it says that it comes from.
    brought_by: Option<String>,
}

impl fmt::Debug for Draft {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Draft").field("id", &self.id()).field("size", &self.size).finish()
    }
}

impl Draft {
    /// The id that the message will have: for `Received:` and for the reply.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.draft.id()
    }

    /// A channel brings it in: mail that comes from where parts are converted is not converted again.
    #[must_use]
    pub fn brought_by(mut self, channel: &str) -> Draft {
        self.brought_by = Some(channel.to_owned());
        self
    }

    /// Appends to the content (wire form). `done` says when to bring more.
    pub fn chunk(&mut self, bytes: Vec<u8>, done: impl FnOnce(Result<(), CommitError>) + Send + 'static) {
        self.size += bytes.len() as u64;
        self.lines += lines_in(&bytes);
        if let Some(head) = &mut self.head {
            head.take(&bytes);
        }
        self.draft.chunk(bytes, |result| done(result.map_err(CommitError::Seal)));
    }
}

impl Handle {
    /// How the disk of the spool is doing, and the spool's counters. Asks nobody, so it answers also when all else is slow.
    #[must_use]
    pub fn spool_health(&self) -> (Health, Stats) {
        (self.shared.spool.health(), self.shared.spool.stats())
    }

    /// The configuration in force.
    #[must_use]
    pub fn loaded(&self) -> Arc<Loaded> {
        self.shared.loaded.load_full()
    }

    /// The spool underneath, for its health and its counters.
    #[must_use]
    pub fn spool(&self) -> &Spool {
        &self.shared.spool
    }

    /// Begins a message.
    #[must_use]
    pub fn draft(&self) -> Draft {
        let head = Head::wanted(&self.shared.loaded.load().config).then(Head::default);
        Draft { draft: self.shared.spool.draft(), size: 0, lines: 0, head, brought_by: None }
    }

    /// Whether the table `CONVERSIONS` can be asked about these now. For a message of several copies, before the first is committed: a copy
    /// behind a refusal is doubled when its sender comes again. `by` is the channel that brings the message in, where one does.
    ///
    /// # Errors
    /// [`CommitError::Unanswered`].
    pub fn can_lead(&self, envelopes: &[Envelope], by: Option<&str>) -> Result<(), CommitError> {
        let loaded = self.shared.loaded.load_full();
        envelopes.iter().try_for_each(|envelope| {
            conversions::lead(&mut envelope.clone(), by, false, &loaded).map_err(|_| CommitError::Unanswered)
        })
    }

    /// Ends a message: `tail` is the rest of its content. `done` with `Ok` means that it is on the disk and in the
    /// queue, and that we answer for it. Runs on the spool's thread: hand over and return.
    pub fn commit(
        &self,
        draft: Draft,
        envelope: Envelope,
        tail: Vec<u8>,
        done: impl FnOnce(Result<EntryId, CommitError>) + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        if shared.stopping.load(Ordering::Acquire) {
            return done(Err(CommitError::Stopping));
        }
        if envelope.recipients.is_empty() {
            return done(Err(CommitError::NoRecipients));
        }
        let take = |permits: usize| permits.checked_sub(1);
        if shared.permits.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err() {
            return done(Err(CommitError::Busy));
        }
        let loaded = shared.loaded.load_full();
        let mut envelope = envelope;
        let Draft { draft, size, lines, head, brought_by } = draft;
        let size = size + tail.len() as u64;
        let all_lines = || lines + lines_in(&tail);
        divert(&mut envelope, size, all_lines, &loaded.config);
        let is_piece = head.is_some_and(|mut head| {
            head.take(&tail);
            head.is_piece()
        });
        if is_piece {
            pieces::lead_piece(&mut envelope, &loaded.config);
        }
        if conversions::lead(&mut envelope, brought_by.as_deref(), is_piece, &loaded).is_err() {
            shared.permits.fetch_add(1, Ordering::AcqRel);
            return done(Err(CommitError::Unanswered));
        }
        if !is_piece {
            pieces::lead_large(&mut envelope, size, all_lines, &loaded.config);
        }
        let bytes = envelope.encode();
        let records = record::queued(&envelope, size, &loaded.config);
        let id = draft.id();
        draft.commit(bytes, tail, move |result| match result {
            Ok(at) => {
                records.iter().for_each(|line| record::write(id, line));
                // The place in the channel goes with the permit, which the dispatcher gives back. If it has ended, the
                // message is safe all the same: the next start finds it.
                let ticket = ticket(id, at, size, envelope, &loaded.config);
                let _ = shared.arrivals.send_quietly(Event::Accepted(ticket));
                // Who waits for the answer wakes before the dispatcher: a client alone sends nothing more until it has it.
                done(Ok(id));
                shared.arrivals.ring();
            }
            Err(error) => {
                shared.permits.fetch_add(1, Ordering::AcqRel);
                done(Err(CommitError::Seal(error)));
            }
        });
    }

    /// Takes a whole message that comes from inside the house. `content` is wire form.
    pub fn submit(
        &self,
        envelope: Envelope,
        content: Vec<u8>,
        done: impl FnOnce(Result<EntryId, CommitError>) + Send + 'static,
    ) {
        let draft = self.draft();
        self.commit(draft, envelope, content, done);
    }

    /// Puts a message into the queue that the spool has brought back from quarantine: it waits like one that has just come. Waits for
    /// room: for threads that may wait.
    ///
    /// # Errors
    /// Its envelope is not understood, or the hub is stopping. The message is in the spool, and the next start looks at it again.
    pub fn take_back(&self, came: &CameBack) -> Result<(), TakeBackError> {
        let shared = &self.shared;
        let envelope = Envelope::decode(&came.envelope)?;
        let take = |permits: usize| permits.checked_sub(1);
        while shared.permits.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err() {
            if shared.stopping.load(Ordering::Acquire) {
                return Err(TakeBackError::Stopping);
            }
            std::thread::sleep(PERMIT_LOOK);
        }
        let ticket = ticket(came.id, came.at, came.body_len, envelope, &shared.loaded.load_full().config);
        shared.arrivals.send(Event::Accepted(ticket)).map_err(|_| TakeBackError::Stopping)
    }

    /// Makes what waits under the order's selectors due now. `done` runs on the dispatcher's thread.
    ///
    /// # Errors
    /// [`Busy`] when the dispatcher cannot take note of it; `done` is then not called.
    pub fn release(&self, order: Order, done: impl FnOnce(Released) + Send + 'static) -> Result<(), Busy> {
        self.tell(Event::Release { order, done: Box::new(done) })
    }

    /// The session behind a release that goes down a turned connection is over: what is left waits as before. Any other
    /// release ends by itself, and this does nothing to it.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn end_release(&self, id: ReleaseId) -> Result<(), Busy> {
        self.tell(Event::EndRelease(id))
    }

    /// Up to when an earlier run of the hub has kept the moments of its activators, by their names, as it was last told with
    /// [`Handle::keep_activators`].
    #[must_use]
    pub fn activators_kept(&self) -> BTreeMap<String, Time> {
        self.shared.activators_kept.lock().map(|kept| kept.clone()).unwrap_or_default()
    }

    /// Up to when the moments of each activator have been kept, all of them: written down for the next run.
    ///
    /// # Errors
    /// [`Busy`]: nothing is written.
    pub fn keep_activators(&self, kept: BTreeMap<String, Time>) -> Result<(), Busy> {
        self.tell(Event::ActivatorsKept(kept))
    }

    /// Records of releases, the newest first, those under way included; of one site, if it is named: then as many of its
    /// last ones as are kept for each site (RELEASE_RECORDS_PER_SITE).
    ///
    /// # Errors
    /// [`Busy`]; `done` is then not called.
    pub fn releases(
        &self,
        site: Option<String>,
        limit: usize,
        done: impl FnOnce(Vec<ReleaseRecord>) + Send + 'static,
    ) -> Result<(), Busy> {
        self.tell(Event::Ask(Question::Releases { site, limit, done: Box::new(done) }))
    }

    /// The record of a release as it is now; `None` when there is none (any more).
    ///
    /// # Errors
    /// [`Busy`]; `done` is then not called.
    pub fn release_record(
        &self,
        id: ReleaseId,
        done: impl FnOnce(Option<ReleaseRecord>) + Send + 'static,
    ) -> Result<(), Busy> {
        self.tell(Event::Ask(Question::Release(id, Box::new(done))))
    }

    /// Waits for the end of a release without keeping a thread: `done` is called with its record when it is over, at once
    /// if it is. `None` when there is no such record. A release that has joined others is over when the first of them is.
    /// When the hub stops, `done` may be dropped instead.
    ///
    /// # Errors
    /// [`Busy`]; `done` is then not called.
    pub fn when_released(
        &self,
        id: ReleaseId,
        done: impl FnOnce(Option<ReleaseRecord>) + Send + 'static,
    ) -> Result<(), Busy> {
        self.tell(Event::AwaitRelease(id, Box::new(done)))
    }

    /// What waits, by channel and domain. Waits for the loop, which goes on with its work between steps: for threads that may wait.
    ///
    /// # Errors
    /// [`Busy`] when the dispatcher cannot take note of a question.
    pub fn summarize(&self) -> Result<Vec<QueueSummary>, Busy> {
        let mut queues = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            let page = ask(|done| self.tell(Event::Ask(Question::Summarize { from, done })))?;
            queues.extend(page.queues);
            next = page.next;
        }
        Ok(queues)
    }

    /// Up to `limit` entries. They come without what only the envelope knows; [`Handle::details`] reads that, and
    /// belongs on the caller's thread.
    ///
    /// # Errors
    /// [`Busy`]; `done` is then not called.
    pub fn list(
        &self,
        selector: Option<Selector>,
        limit: usize,
        done: impl FnOnce(Vec<EntryView>) + Send + 'static,
    ) -> Result<(), Busy> {
        self.tell(Event::Ask(Question::List { selector, limit, done: Box::new(done) }))
    }

    /// Sender and open recipients of an entry, read from the spool. `None` when the message has gone meanwhile.
    ///
    /// # Errors
    /// Why the message cannot be read. It is in the queue all the same.
    pub fn details(&self, entry: &EntryView) -> Result<Option<(String, Vec<String>)>, String> {
        let Some(envelope) = self.envelope(entry)? else { return Ok(None) };
        let addresses = self.open(&envelope, entry).map(|recipient| recipient.address.clone()).collect();
        Ok(Some((envelope.sender, addresses)))
    }

    /// The envelope of an entry's message, read from the spool. `None` when the message has gone meanwhile.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn envelope(&self, entry: &EntryView) -> Result<Option<Envelope>, String> {
        match self.shared.spool.read_envelope(entry.at) {
            Ok(bytes) => Envelope::decode(&bytes).map(Some).map_err(|error| error.to_string()),
            Err(ReadError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The recipients of an envelope that an entry still has to reach.
    pub fn open<'a>(
        &self,
        envelope: &'a Envelope,
        entry: &'a EntryView,
    ) -> impl Iterator<Item = &'a Recipient> {
        let open =
            crate::desk::open_recipients(envelope, &entry.channel, &entry.domain, entry.open.as_deref());
        open.map(|(_, recipient)| recipient)
    }

    /// The channels and how they are.
    ///
    /// # Errors
    /// [`Busy`]; `done` is then not called.
    pub fn channels(&self, done: impl FnOnce(Vec<ChannelReport>) + Send + 'static) -> Result<(), Busy> {
        self.tell(Event::Ask(Question::Channels(Box::new(done))))
    }

    /// Stops or starts channels, suspends or resumes a domain. `done` comes when that is in force and on the disk, with a
    /// row for each channel or domain; it runs on the spool's thread or the dispatcher's.
    ///
    /// # Errors
    /// [`Busy`]; `done` is then not called.
    pub fn close(
        &self,
        closing: Closing,
        done: impl FnOnce(Result<Vec<ClosingDone>, ClosingError>) + Send + 'static,
    ) -> Result<(), Busy> {
        self.tell(Event::Close { closing, done: Box::new(done) })
    }

    /// The suspensions in force, ordered by reversed domain.
    ///
    /// # Errors
    /// [`Busy`]; `done` is then not called.
    pub fn suspensions(&self, done: impl FnOnce(Vec<ClosingDone>) + Send + 'static) -> Result<(), Busy> {
        self.tell(Event::Ask(Question::Suspensions(Box::new(done))))
    }

    /// How often a channel was looked at for a lease, since the start: what the loop costs beside its events.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.shared.looks.load(Ordering::Relaxed)
    }

    /// The plugins that are loaded.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginInfo> {
        self.shared.runners.plugins()
    }

    /// Puts another configuration in force, with the instances that were [tried out](Handle::try_out) for it. `done` comes when everything goes by the new one. Whoever wants neither the
    /// dispatcher nor a session to free the old one keeps it ([`Handle::loaded`]) until nobody else has it.
    ///
    /// # Errors
    /// [`Busy`]; the old one then stays.
    pub fn reload(
        &self,
        loaded: Arc<Loaded>,
        TriedOut(tried): TriedOut,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), Busy> {
        let policies = Policy::of_all(&loaded.config);
        self.tell(Event::Reload { loaded, policies, tried, done: Box::new(move |()| done()) })
    }

    /// Ends the dispatcher: no new mail is taken, no new delivery begun, those under way are waited for, and everything
    /// is written down. Returns when that is done; `deadline` is for the deliveries. Later calls only wait.
    pub fn stop(&self, deadline: Duration) {
        if !self.shared.stopping.swap(true, Ordering::AcqRel) {
            // The loop drains the inbox, so this waits for no more than a batch.
            let _ = self.shared.inbox.send(Event::Stop { until: Instant::now() + deadline });
        }
        let _ = self.shared.ended.recv();
        let thread = self.shared.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the dispatcher ended by a panic");
        }
    }

    pub(crate) fn tell(&self, event: Event) -> Result<(), Busy> {
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err(Busy);
        }
        self.shared.inbox.try_send(event).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Busy,
        })
    }
}

/// Waits for the answer to a question asked of a [`Handle`]: `ask(|done| handle.suspensions(done))`. For threads that
/// may wait; never on the dispatcher's own.
///
/// # Errors
/// [`Busy`] when it could not be asked, or the dispatcher ended before it answered.
pub fn ask<T: Send + 'static>(question: impl FnOnce(Answer<T>) -> Result<(), Busy>) -> Result<T, Busy> {
    let (sender, receiver) = bounded(1);
    question(Box::new(move |answer| {
        let _ = sender.send(answer);
    }))?;
    receiver.recv().map_err(|_| Busy)
}
