//! The writer moves what is left of nearly empty segments into the open one, so that a message that waits long does not keep the
//! room of thousands that have gone.
//!
//! A copy is a message like any other: the same id, envelope and body, in a new place. It is written, synced and noted in one step
//! of this thread, between two batches; so there is never a copy of what was settled before it. What becomes of the old segment is
//! decided as always: it goes when nobody needs it, which is after the copies are durable. A crash in between leaves both, and
//! the later one counts.
//!
//! # How much, and when
//! A segment counts as nearly empty when at most one part in four of its length is live and nothing in it was settled for
//! a while (`Options::rest`); before that its messages may be about to go by themselves. So at most a third of what is
//! given back is written for it. A segment in which nothing was settled since it was begun is not looked at, and one of which
//! more turns out to be live than the books knew stays where it is, so no copy is copied again for nothing. A step copies about a mebibyte, and the batches of sessions come in between.
//!
//! # Failure
//! A copy that cannot be written is given up, as a message is refused; the original stays. A segment with something that
//! cannot be read stays as it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Writer;
use crate::checkpoint::LiveRow;
use crate::draft::{DraftPieces, DraftState, parts};
use crate::error::SealError;
use crate::ids::{EntryId, Location};
use crate::stored::{self, Stored};

/// A segment is nearly empty when at most one part in so many is live.
const SHARE: u64 = 4;
/// Octets of envelopes and bodies that are copied between two batches.
const STEP: usize = 1 << 20;

/// What is being moved, and when the next look is due.
#[derive(Default)]
pub(super) struct Forward {
    /// `None`: nothing was settled since the last look.
    look_at: Option<Instant>,
    /// When something was last settled.
    settled: Option<Instant>,
    segment: u32,
    /// What may be written for that segment, and what was: envelopes, of which the books know nothing, are counted here.
    limit: u64,
    spent: u64,
    left: VecDeque<(EntryId, Location)>,
    /// A message of which some parts were copied.
    begun: Option<Copying>,
}

struct Copying {
    draft: Arc<DraftState>,
    from: Location,
    stored: Stored,
    /// Pieces of its body that were copied.
    pieces: usize,
}

impl Forward {
    /// From the start on, for what an earlier run has left.
    pub(super) fn starting(now: Instant, rest: Duration) -> Forward {
        Forward { look_at: now.checked_add(rest), ..Forward::default() }
    }

    /// An entry was settled: when all is at rest there may be something to do.
    pub(super) fn settled(&mut self, now: Instant, rest: Duration) {
        self.settled = Some(now);
        if self.look_at.is_none() {
            self.look_at = now.checked_add(rest);
        }
    }

    /// When the next step is due. While the disk is in trouble none is.
    pub(super) fn due(&self, retry_at: Option<Instant>) -> Option<Instant> {
        self.look_at.filter(|_| retry_at.is_none())
    }

    fn is_busy(&self) -> bool {
        self.begun.is_some() || !self.left.is_empty()
    }
}

impl Writer {
    /// One step, if one is due.
    pub(super) fn step_forward(&mut self, now: Instant) {
        if self.forward.look_at.is_none_or(|at| at > now) || self.retry_at.is_some() {
            return;
        }
        let rest = self.shared.options.rest;
        if !self.forward.is_busy() && !self.choose_sparse(now) {
            // What was settled a moment ago is looked at when it has been at rest.
            let settled = self.forward.settled.take().and_then(|at| at.checked_add(rest));
            self.forward.look_at = settled.filter(|at| *at > now);
            return;
        }
        if let Err(error) = self.copy_some() {
            tracing::debug!(%error, segment = self.forward.segment, "what is left of a segment was not copied");
            if matches!(error, SealError::TooLarge { .. }) {
                // Segments were larger when it came.
                self.books.stays(self.forward.segment);
            }
            self.forward.left.clear();
            self.forward.begun = None;
            // Nobody waits for this: not at once again.
            self.forward.look_at = now.checked_add(rest.max(self.shared.options.retry_delay));
        }
    }

    fn choose_sparse(&mut self, now: Instant) -> bool {
        let current = self.segment.as_ref().map(|open| open.number);
        let options = &self.shared.options;
        // On a full disk segments are smaller, and so are those that the copies go to.
        let size = self.segment.as_ref().map_or(options.segment_size, |open| open.size as u64);
        let limit = size / SHARE;
        let Some((segment, entries)) = self.books.sparse(current, limit, options.rest, now) else {
            return false;
        };
        tracing::debug!(segment, messages = entries.len(), "copying forward what is left of a segment");
        self.forward.segment = segment;
        self.forward.limit = limit;
        self.forward.spent = 0;
        self.forward.left = entries.into();
        true
    }

    /// Copies up to [`STEP`] octets. Whole messages become durable and count at once.
    fn copy_some(&mut self) -> Result<(), SealError> {
        let mut octets = 0;
        let mut whole: Vec<(Copying, LiveRow)> = Vec::new();
        let mut result = Ok(());
        while octets < STEP {
            if self.forward.spent + octets as u64 > self.forward.limit {
                // Far more is live than the books can tell. Copied whole, the copy would be as full, and be copied again.
                self.books.stays(self.forward.segment);
                self.forward.left.clear();
            }
            let Some(mut copying) = self.forward.begun.take().or_else(|| self.next_to_copy()) else { break };
            match self.copy_pieces(&mut copying, &mut octets) {
                Ok(Some(row)) => {
                    octets += copying.stored.envelope().len();
                    whole.push((copying, row));
                }
                Ok(None) => {
                    self.forward.begun = Some(copying);
                    break;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.forward.spent += octets as u64;
        self.finish_copies(whole)?;
        result
    }

    /// The next entry of the segment that is still live, read and verified.
    fn next_to_copy(&mut self) -> Option<Copying> {
        while let Some((id, from)) = self.forward.left.pop_front() {
            if !self.books.has_now(id, from) {
                continue;
            }
            // A copy gets a checksum of its own: what is copied is compared with the old one now, whoever did so before.
            if let Some(segment) = self.shared.segments.read().get(&from.segment) {
                segment.unverify(from.offset);
            }
            match stored::read_at(&self.shared, from) {
                Ok(stored) => {
                    let draft = Arc::new(DraftState { id, pieces: Mutex::new(DraftPieces::default()) });
                    return Some(Copying { draft, from, stored, pieces: 0 });
                }
                Err(error) => {
                    tracing::error!(%error, %id, "a message cannot be read; its segment stays");
                    self.books.stays(self.forward.segment);
                    self.forward.left.clear();
                }
            }
        }
        None
    }

    /// Appends parts of a body, and at its end the message. `None` when more is left than this step takes.
    fn copy_pieces(
        &mut self,
        copying: &mut Copying,
        octets: &mut usize,
    ) -> Result<Option<LiveRow>, SealError> {
        let longest = self.shared.options.piece_max();
        let stored = copying.stored.clone();
        let count = stored.pieces().len();
        for piece in stored.pieces().skip(copying.pieces) {
            let bytes = Arc::new(piece.to_vec());
            *octets += bytes.len();
            let parts = parts(&bytes, longest);
            if copying.pieces + 1 == count && parts.len() <= 1 {
                // Settled while its parts were copied: they are nobody's.
                if !self.books.has_now(copying.draft.id, copying.from) {
                    return Err(SealError::Broken { id: copying.draft.id });
                }
                let body = parts.first().map(|part| (&bytes, part));
                return self.append_message(&copying.draft, stored.envelope(), body).map(Some);
            }
            self.append_chunks(&copying.draft, &bytes, &parts)?;
            copying.pieces += 1;
            if *octets >= STEP && copying.pieces < count {
                return Ok(None);
            }
        }
        if !self.books.has_now(copying.draft.id, copying.from) {
            return Err(SealError::Broken { id: copying.draft.id });
        }
        self.append_message(&copying.draft, stored.envelope(), None).map(Some)
    }

    /// The instant at which copies count: they are durable, and nothing was settled since they were begun to be written,
    /// because this thread has taken no request meanwhile.
    fn finish_copies(&mut self, whole: Vec<(Copying, LiveRow)>) -> Result<(), SealError> {
        if whole.is_empty() {
            self.flush_segment(false);
            return Ok(());
        }
        self.flush_copies();
        let mut lost = None;
        for (copying, row) in whole {
            let id = copying.draft.id;
            if !self.is_durable(row.at) {
                lost.get_or_insert(id);
                continue;
            }
            if let Some(origin) = self.books.moved(id, copying.from, &row) {
                // Readers look here before they look into the segments, and once more when they find nothing there.
                self.shared.moved.write().insert(origin, row.at);
                self.shared.counters.forwarded.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.reap();
        lost.map_or(Ok(()), |id| Err(SealError::Broken { id }))
    }

    /// Whether a record that was appended is on the disk.
    fn is_durable(&self, at: Location) -> bool {
        if let Some(end) = self.abandoned.get(&at.segment) {
            return (at.offset as usize) < *end;
        }
        match &self.segment {
            Some(open) if open.number == at.segment => (at.offset as usize) < open.synced,
            // Sealed, which means synced to its end.
            _ => self.shared.segments.read().contains_key(&at.segment),
        }
    }

    /// Writes and syncs what was appended, whoever is told.
    fn flush_copies(&mut self) {
        self.batch.must_sync = true;
        self.flush_segment(false);
        self.batch.must_sync = false;
    }
}
