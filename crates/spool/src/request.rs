//! What the handles ask of the writer thread, and the promises to answer.
//!
//! Not here: what the writer does with it (`writer`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::checkpoint::Line;
use crate::draft::{DraftState, Part};
use crate::error::SealError;
use crate::ids::{EntryId, Location};
use crate::journal::Fact;
use crate::record::{self, FileKind};
use crate::spool::{Done, Durability};

/// A callback that is called exactly once: by [`Promise::keep`], or with `Closed` when the promise is dropped.
pub(crate) struct Promise<T>(Option<Callback<T>>);

type Callback<T> = Box<dyn FnOnce(Result<T, SealError>) + Send>;

impl<T> Promise<T> {
    pub(crate) fn new(callback: Callback<T>) -> Promise<T> {
        Promise(Some(callback))
    }

    /// Tells the result.
    pub(crate) fn keep(mut self, result: Result<T, SealError>) {
        self.call(result);
    }

    fn call(&mut self, result: Result<T, SealError>) {
        if let Some(callback) = self.0.take() {
            // A panic of one caller's code must not take the spool from all the others.
            if catch_unwind(AssertUnwindSafe(|| callback(result))).is_err() {
                tracing::error!(
                    "a spool callback panicked; its message is on the disk or was refused all the same"
                );
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.call(Err(SealError::Closed));
    }
}

/// Requests of drafts: the bounded queue.
pub(crate) enum Work {
    /// Bytes of a body, already cut into records.
    Chunk { draft: Arc<DraftState>, bytes: Vec<u8>, parts: Vec<Part>, done: Promise<()> },
    /// The end of a message. `chunked`: the tail is too long to stand in the message record.
    Commit {
        draft: Arc<DraftState>,
        envelope: Vec<u8>,
        tail: Vec<u8>,
        parts: Vec<Part>,
        chunked: bool,
        done: Promise<Location>,
    },
}

impl Work {
    pub(crate) fn draft(&self) -> &DraftState {
        match self {
            Work::Chunk { draft, .. } | Work::Commit { draft, .. } => draft,
        }
    }

    pub(crate) fn refuse(self, error: SealError) {
        match self {
            Work::Chunk { done, .. } => done.keep(Err(error)),
            Work::Commit { done, .. } => done.keep(Err(error)),
        }
    }
}

/// Requests of the owner: the unbounded queue.
pub(crate) enum Message {
    Transition(Transition),
    /// Close the journal file and tell what is live.
    Cut(Sender<Line>),
    /// Which of these, sorted, are live in the next segment behind a number; the answer is `None` behind the last segment.
    Have {
        ids: Arc<[EntryId]>,
        behind: u32,
        reply: Sender<Option<(u32, Vec<EntryId>)>>,
    },
    /// A draft that has written parts of a body was given up.
    GivenUp(Arc<DraftState>),
    /// A reader found damage.
    Damaged {
        at: Location,
        what: String,
    },
    Close,
}

/// One line for the journal, waiting.
pub(crate) struct Transition {
    pub(crate) body: Body,
    pub(crate) durability: Durability,
    done: Option<Promise<()>>,
}

/// What a transition says; it owns what a [`Fact`] borrows.
pub(crate) enum Body {
    State {
        id: EntryId,
        at: Location,
        state: Vec<u8>,
    },
    Removed {
        id: EntryId,
        at: Location,
    },
    Note(Vec<u8>),
    Void {
        kind: FileKind,
        number: u32,
        from: u32,
    },
    Reserve {
        mark: u64,
    },
    /// Says nothing, but is answered in its turn: for an entry that was already removed.
    Nothing,
}

impl Transition {
    fn new(body: Body, durability: Durability, done: Option<Done>) -> Transition {
        Transition { body, durability, done: done.map(Promise::new) }
    }

    pub(crate) fn state(
        id: EntryId,
        at: Location,
        state: Vec<u8>,
        durability: Durability,
        done: Option<Done>,
    ) -> Transition {
        Transition::new(Body::State { id, at, state }, durability, done)
    }

    pub(crate) fn remove(
        id: EntryId,
        at: Location,
        durability: Durability,
        done: Option<Done>,
    ) -> Transition {
        Transition::new(Body::Removed { id, at }, durability, done)
    }

    pub(crate) fn note(note: Vec<u8>, durability: Durability, done: Option<Done>) -> Transition {
        Transition::new(Body::Note(note), durability, done)
    }

    pub(crate) fn reserve(mark: u64) -> Transition {
        Transition::new(Body::Reserve { mark }, Durability::Lazy, None)
    }

    pub(crate) fn void(kind: FileKind, number: u32, from: u32) -> Transition {
        Transition::new(Body::Void { kind, number, from }, Durability::Sync, None)
    }

    pub(crate) fn fact(&self) -> Option<Fact<'_>> {
        Some(match &self.body {
            Body::State { id, at, state } => Fact::State { id: *id, at: *at, state },
            Body::Removed { id, at } => Fact::Removed { id: *id, at: *at },
            Body::Note(note) => Fact::Note(note),
            Body::Void { kind, number, from } => Fact::Void { kind: *kind, number: *number, from: *from },
            Body::Reserve { mark } => Fact::Reserve { mark: *mark },
            Body::Nothing => return None,
        })
    }

    /// Bytes it takes in a journal file.
    pub(crate) fn record_len(&self) -> usize {
        self.fact().map_or(0, |fact| record::record_len(fact.head_len(), 0))
    }

    /// The entry it is about, when it is about one.
    pub(crate) fn entry(&self) -> Option<EntryId> {
        match &self.body {
            Body::State { id, .. } | Body::Removed { id, .. } => Some(*id),
            _ => None,
        }
    }

    pub(crate) fn finish(mut self, result: Result<(), SealError>) {
        self.tell(result);
    }

    /// Answers; the transition itself goes on waiting.
    pub(crate) fn tell(&mut self, result: Result<(), SealError>) {
        if let Some(promise) = self.done.take() {
            promise.keep(result);
        }
    }
}
