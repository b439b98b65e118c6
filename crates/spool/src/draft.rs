//! [`Draft`]: a message that is being received, from its first octet until it is handed to the writer or given up.
//!
//! While it is there it counts as on its way, and the writer may wait for it (`gathering`).
//!
//! # Not here
//! Its id and the queues (`spool`), its records (`writer`).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use sluice_handoff::TrySendError;

use crate::error::SealError;
use crate::ids::{EntryId, Location};
use crate::segment::Piece;
use crate::spool::Spool;
use crate::writer::{Promise, Work};

/// One stretch of a body that becomes one record, with its checksum.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) range: Range<usize>,
    pub(crate) crc: u32,
}

/// Cuts bytes into records. The checksums are made here, on the thread that brought the bytes.
pub(crate) fn parts(bytes: &[u8], longest: usize) -> Vec<Part> {
    let mut parts = Vec::with_capacity(bytes.len().div_ceil(longest));
    let mut start = 0;
    for piece in bytes.chunks(longest) {
        parts.push(Part { range: start..start + piece.len(), crc: crc32c::crc32c(piece) });
        start += piece.len();
    }
    parts
}

/// What the writer knows of a draft.
pub(crate) struct DraftState {
    pub(crate) id: EntryId,
    pub(crate) pieces: Mutex<DraftPieces>,
}

/// The chunks written so far. Each pin keeps a segment from being removed under the draft.
#[derive(Default)]
pub(crate) struct DraftPieces {
    pub(crate) written: Vec<Piece>,
    pub(crate) pins: Vec<(u32, Arc<()>)>,
    pub(crate) body_len: u64,
    pub(crate) broken: bool,
}

/// A message that is being received. Dropping it gives the message up: what was written of it is nobody's from then on, and its room is
/// given back with that of its segments.
pub struct Draft {
    way: Way,
    state: Arc<DraftState>,
}

/// What is being received, from its beginning until it has been handed over or given up.
struct Way {
    spool: Spool,
    /// Parts of it were sent to the writer, who is told when it is given up.
    begun: Option<Arc<DraftState>>,
}

impl Way {
    fn begins(spool: Spool) -> Way {
        spool.shared().gathering.begins();
        Way { spool, begun: None }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(draft) = self.begun.take() {
            self.spool.gives_up(draft);
        }
        self.spool.shared().gathering.ends();
    }
}

impl Draft {
    /// Begins to receive a message.
    pub(crate) fn begin(spool: Spool, id: EntryId) -> Draft {
        let state = DraftState { id, pieces: Mutex::new(DraftPieces::default()) };
        Draft { way: Way::begins(spool), state: Arc::new(state) }
    }

    /// The id the message will have.
    pub fn id(&self) -> EntryId {
        self.state.id
    }

    /// Appends to the body. `done` comes when the bytes are written (not yet synced): the moment to read more from the
    /// client, so that a large body is never in memory as a whole.
    pub fn chunk(&mut self, bytes: Vec<u8>, done: impl FnOnce(Result<(), SealError>) + Send + 'static) {
        let parts = parts(&bytes, self.way.spool.shared().options.piece_max());
        let done = Promise::new(Box::new(done));
        let chunk = Work::Chunk { draft: Arc::clone(&self.state), bytes, parts, done };
        self.way.begun = Some(Arc::clone(&self.state));
        let spool = &self.way.spool;
        spool.is_sent(spool.work().try_send(chunk));
        spool.hurry();
    }

    /// Ends the message: `envelope` and the rest of the body (`tail`) become its record.
    ///
    /// `done` with `Ok` is *the instant of acceptance*: record, chunks and the name of the segment are on the disk.
    pub fn commit(
        self,
        envelope: Vec<u8>,
        tail: Vec<u8>,
        done: impl FnOnce(Result<Location, SealError>) + Send + 'static,
    ) {
        let Draft { mut way, state: draft } = self;
        // From here on the writer knows by himself what becomes of it.
        way.begun = None;
        let longest = way.spool.shared().options.piece_max();
        let chunked = tail.len() > longest;
        let parts = parts(&tail, longest);
        let done = Promise::new(Box::new(done));
        way.spool.commit(Work::Commit { draft, envelope, tail, parts, chunked, done });
        // Behind the commit, so that there is no moment at which nobody knows of it.
        drop(way);
    }
}

impl Spool {
    /// Hands a message over. A writer that waits for others as well is left asleep.
    fn commit(&self, work: Work) {
        let sent = self.work().try_send_gathered(work, &self.shared().gathering);
        self.is_sent(sent);
    }

    fn is_sent(&self, sent: Result<(), TrySendError<Work>>) {
        match sent {
            Ok(()) => {}
            Err(TrySendError::Full(work)) => {
                work.draft().pieces.lock().broken = true;
                if let Work::Commit { draft, .. } = &work {
                    self.gives_up(Arc::clone(draft));
                }
                self.shared().counters.refused.fetch_add(1, Ordering::Relaxed);
                work.refuse(SealError::Busy);
            }
            Err(TrySendError::Disconnected(work)) => work.refuse(SealError::Closed),
        }
    }
}
