//! The spool: where a message is from its 250 until it is settled.
//!
//! It knows bytes and ids, not mail. A message is an *envelope* (opaque here) and a *body*; an [`EntryId`] names it for
//! ever and a [`Location`] finds it. What happens to it later, in the words of its owner, is a *state*: a small blob of
//! which the last one counts. When it is settled it is *removed*.
//!
//! # The promise
//! When the callback of [`Draft::commit`] says `Ok`, the record, all chunks of the body and the name of the file are on
//! the disk. That is the instant of acceptance, and the 250 after DATA (RFC 5321 section 4.2.5) may be sent. A crash may
//! bring a settled message back (the window is [`Options::lazy_delay`]); it never loses one, and it never forgets a
//! state whose callback said `Ok`.
//!
//! # The files
//! *Segments* hold messages, are written from start to end, and are removed whole. *Journals* hold what changed since
//! the last *checkpoint*, which holds the live index. `docs/internals/spool-format.md` draws every byte, names every
//! step and its order, and is compared with this code by a test.
//!
//! # Threads
//! One writer thread does all writing; everybody who waits is served with one write and one `fdatasync` (group commit).
//! Callbacks run there and must not block. Readers map segments and never meet the writer: they see only what is
//! already on the disk. A [`Stored`] message keeps its map alive by itself.
//!
//! # Failure
//! A full disk and a failed sync are answers ([`SealError`]) and a condition ([`Health`]), which goes away by itself
//! when the disk works again. Damage is copied to `quarantine/`, named, and never deleted ([`Damage`]). What was wrong
//! with a file says its path.
//!
//! # Limits
//! The file system must be local, keep what `fdatasync` and the sync of a folder promise, and know `flock`. Segments are
//! mapped: a disk that cannot read back a page, or a person who truncates a segment, costs the messages there, for what is
//! about to be touched is fetched first ([`Map::fetch`]). Only what goes bad between that and its last use ends the process
//! with `SIGBUS`; the next start finds everything else. What is left of a segment that is nearly empty and at rest is
//! copied forward.
//!
//! # Not here
//! Due times, holds, retries (`queue`, `dispatch`); what an envelope contains (`mail`).

#![deny(unsafe_code)]

mod allocator;
mod aside;
mod batch;
mod books;
mod brief;
mod checkpoint;
mod disk;
mod draft;
mod envelopes;
mod error;
#[cfg(test)]
mod format_test;
mod found;
mod gathering;
mod ids;
mod journal;
mod looking;
mod map;
mod quarantine;
mod record;
mod recovery;
mod request;
mod room;
mod segment;
mod spool;
mod storage;
mod stored;
pub mod testing;
mod writer;

pub use allocator::{be_moderate, give_back_pages};
pub use aside::{Aside, AsideError, AsideMessage, CameBack, Fate};
pub use brief::brief_list;
pub use checkpoint::Cut;
pub use disk::Disk;
pub use draft::Draft;
pub use envelopes::Envelopes;
pub use error::{CheckpointError, OpenError, ReadError, SealError};
pub use found::FoundState;
pub use ids::{EntryId, Location, NotAnEntryId};
pub use looking::{FileOf, Flaw, Look, Loss, SalvageError, Salvaged, SpoolFile, Standing, What};
pub use map::{Map, MappedFile, NotMapped};
pub use quarantine::Damage;
pub use record::Later;
pub use recovery::{Live, Recovered, Torn};
pub use room::{GivesBack, room_left};
pub use spool::{Done, Durability, FILE_SIZE_MAX, FILE_SIZE_MIN, Health, Options, Spool, Stats};
pub use storage::{File, Listed, LockFailure, LockGuard, Storage};
pub use stored::Stored;
