//! What can go wrong, one enum per thing that was wanted.
//!
//! The texts name the file; the chain (`source`) has the system's own words. What an error means to a mail client (452,
//! 451) is decided at the edge, not here.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::ids::{EntryId, Location};

/// Why bytes were not made durable. It is `Clone` because one failed sync is told to everybody in the batch.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SealError {
    /// The disk has no room for another file. What is queued stays; the spool tries again by itself.
    #[error("no room on the disk for {}", .path.display())]
    Full {
        /// The file that could not be begun or written.
        path: PathBuf,
    },
    /// Writing failed.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file that was being written.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The bytes were written but the disk did not confirm them: they count as lost.
    #[error("{} did not reach the disk", .path.display())]
    Sync {
        /// The file that is not trusted any more.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// An earlier piece of the same message was lost with a failed write or sync.
    #[error("an earlier part of message {id} did not reach the disk")]
    Broken {
        /// The draft.
        id: EntryId,
    },
    /// More waits for the writer than its queue takes. Nothing was written; try again later.
    #[error("the spool is busy")]
    Busy,
    /// The record can never fit: a segment or journal file of the configured size is too small for it.
    #[error("a record of {len} bytes is longer than the {limit} bytes a spool file takes")]
    TooLarge {
        /// Its length.
        len: u64,
        /// The longest possible.
        limit: u64,
    },
    /// The spool was closed.
    #[error("the spool is closed")]
    Closed,
}

impl SealError {
    /// Whether more room on the disk is what would help.
    pub fn is_full(&self) -> bool {
        matches!(self, SealError::Full { .. })
    }

    /// Sorts a failed write: no room, or worse.
    pub(crate) fn write(path: PathBuf, error: io::Error) -> SealError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SealError::Full { path },
            _ => SealError::Write { path, source: Arc::new(error) },
        }
    }

    /// Sorts a failed sync. A file system that allocates late says "no room" here.
    pub(crate) fn sync(path: PathBuf, error: io::Error) -> SealError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SealError::Full { path },
            _ => SealError::Sync { path, source: Arc::new(error) },
        }
    }
}

/// Why a stored message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are not what was written. They were copied to `quarantine/`; nothing was deleted.
    #[error("{} is damaged at offset {offset}: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// There is no such segment: it was removed because all in it was settled, or the location was never one.
    #[error("there is nothing at {at}")]
    Missing {
        /// What was asked for.
        at: Location,
    },
    /// The segment could not be mapped.
    #[error("cannot map {}", .path.display())]
    Map {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the spool was not opened. Each leaves the folder as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else works in this folder.
    #[error("the spool {} is in use by {}; stop it, or give this one another spool folder",
        .path.display(), .holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// Process id of the holder, when the lock file has it.
        holder: Option<u32>,
    },
    /// The lock file could not be made or opened.
    #[error("cannot lock the spool with {}; is the folder writable for this user?", .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A later release of this program wrote here. Nothing was touched.
    #[error("{} has format version {found}, this program knows versions up to {known}; run the newer program again, \
        or drain the spool with it first", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version known here.
        known: u16,
    },
    /// There are spool files, but neither the identity nor any file header can be read, so nothing in them can be
    /// verified. Nothing was touched.
    #[error("no file in {} says which spool this is; put back the file `identity`, or move the files away to start \
        with an empty spool", .path.display())]
    Unrecognised {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has no file of a spool.
    #[error("there is no spool in {}", .path.display())]
    NoSpool {
        /// The folder.
        path: PathBuf,
    },
    /// The folder or a file in it could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The sizes in [`Options`](crate::Options) cannot work.
    #[error("{what}")]
    Options {
        /// Which, and what would work.
        what: String,
    },
}

/// Why a checkpoint was not written. The one before it, and the journals since, are still in force.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another checkpoint is being written.
    #[error("another checkpoint is being written")]
    Running,
    /// The spool was closed.
    #[error("the spool is closed")]
    Closed,
    /// A file could not be written, synced or renamed.
    #[error("cannot write the checkpoint {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
