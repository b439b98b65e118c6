//! Moving everything readable of a spool into a new one.
//!
//! Messages keep their ids, states and notes go with them, and what is damaged is copied into the new folder's quarantine. The new
//! spool is written beside its place by the ordinary writer, and gets its name when all of it is on the disk.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use super::{Look, Loss};
use crate::disk::Disk;
use crate::error::{CheckpointError, OpenError, SealError};
use crate::ids::{EntryId, Location};
use crate::quarantine;
use crate::record::FileKind;
use crate::recovery::walk::whole;
use crate::spool::{Options, Spool};
use crate::storage::map_whole;

/// Messages that wait for the disk at once: enough for one sync to serve many, and no more in memory than some large ones.
const UNDER_WAY: usize = 256;
/// The same in bytes.
const BYTES_UNDER_WAY: u64 = 64 << 20;

/// What was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Messages.
    pub messages: u64,
    /// Octets of their bodies.
    pub bytes: u64,
    /// Notes of the owner.
    pub notes: u64,
    /// Live messages that could not be read, and why. What the disk gave back of their bytes is in quarantine.
    pub unreadable: Vec<(EntryId, String)>,
    /// Copies of damaged bytes.
    pub quarantined: Vec<PathBuf>,
}

/// Why nothing was moved. The folder that was to be made is not there.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// The place is taken.
    #[error("{} is there already; give a folder that does not exist", .0.display())]
    Exists(PathBuf),
    /// The new spool could not be made or opened.
    #[error("cannot make the new spool")]
    Open(#[from] OpenError),
    /// A message could not be written.
    #[error("cannot write message {id} into the new spool")]
    Write {
        /// The message.
        id: EntryId,
        /// Why.
        source: SealError,
    },
    /// The index of the new spool could not be written.
    #[error("cannot finish the new spool")]
    Finish(#[from] CheckpointError),
    /// A file or folder could not be written.
    #[error("cannot write {}", .path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Look {
    /// Moves everything readable into a new spool at `to`, which must not exist. `moved` is told how many messages of how many
    /// were moved. This folder is not changed; who wants that of others too uses [`Look::alone`].
    ///
    /// # Errors
    /// [`SalvageError`].
    pub fn salvage(
        &self,
        to: &Path,
        options: Options,
        loss: &Loss,
        moved: &mut dyn FnMut(u64, u64),
    ) -> Result<Salvaged, SalvageError> {
        if to.symlink_metadata().is_ok() {
            return Err(SalvageError::Exists(to.to_owned()));
        }
        let mut unfinished = to.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        if unfinished.symlink_metadata().is_ok() {
            return Err(SalvageError::Exists(unfinished));
        }
        let salvaged = self.write_into(&unfinished, options, loss, moved).and_then(|salvaged| {
            let disk = |source| SalvageError::Disk { path: to.to_owned(), source };
            fs::rename(&unfinished, to).map_err(disk)?;
            let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
            fs::File::open(parent.unwrap_or(Path::new(".")))
                .and_then(|folder| folder.sync_all())
                .map_err(disk)?;
            Ok(salvaged)
        });
        let mut salvaged = salvaged.inspect_err(|_| {
            // Made here a moment ago, and of no use to anybody.
            let _ = fs::remove_dir_all(&unfinished);
        })?;
        for copy in &mut salvaged.quarantined {
            if let Ok(rest) = copy.strip_prefix(&unfinished) {
                *copy = to.join(rest);
            }
        }
        Ok(salvaged)
    }

    fn write_into(
        &self,
        folder: &Path,
        options: Options,
        loss: &Loss,
        moved: &mut dyn FnMut(u64, u64),
    ) -> Result<Salvaged, SalvageError> {
        let disk =
            Disk::open(folder).map_err(|source| SalvageError::Disk { path: folder.to_owned(), source })?;
        let mut salvaged = Salvaged::default();
        self.keep_damage(&disk, loss, &mut salvaged)?;
        let (spool, _) = Spool::open(Arc::new(disk), options)?;
        spool.begin_ids_at(self.looked.next_id);
        let entries = &self.looked.found.entries;
        let total = entries.len() as u64;
        let mut rows: Vec<(EntryId, Location, &[u8])> = Vec::with_capacity(entries.len());
        let mut under_way = VecDeque::new();
        let mut bytes_under_way = 0;
        for (count, live) in (1..).zip(entries) {
            match self.read(live.at) {
                Ok(stored) => {
                    let body = stored.pieces().collect::<Vec<_>>().concat();
                    let (sender, receiver) = mpsc::sync_channel(1);
                    spool.draft_of(live.id).commit(stored.envelope().to_vec(), body, move |result| {
                        // The receiver stands in `under_way` until it has heard.
                        let _ = sender.send(result);
                    });
                    salvaged.messages += 1;
                    salvaged.bytes += live.body_len;
                    bytes_under_way += live.body_len;
                    under_way.push_back((live, receiver));
                }
                Err(error) => salvaged.unreadable.push((live.id, error.to_string())),
            }
            while under_way.len() >= UNDER_WAY
                || bytes_under_way > BYTES_UNDER_WAY
                || (count == total && !under_way.is_empty())
            {
                let Some((live, receiver)) = under_way.pop_front() else { break };
                let result = receiver.recv().unwrap_or(Err(SealError::Closed));
                let at = result.map_err(|source| SalvageError::Write { id: live.id, source })?;
                bytes_under_way -= live.body_len;
                rows.extend(live.state.as_deref().map(|state| (live.id, at, state)));
            }
            moved(count, total);
        }
        let notes = &self.looked.found.notes;
        spool.checkpoint(rows, notes)?;
        salvaged.notes = notes.len() as u64;
        spool.close();
        Ok(salvaged)
    }

    /// Copies what is damaged into the new quarantine: all that recovery has named, and all that looking has.
    fn keep_damage(&self, disk: &Disk, loss: &Loss, salvaged: &mut Salvaged) -> Result<(), SalvageError> {
        let torn = loss.torn.iter().map(|torn| {
            (
                &torn.path,
                torn.offset,
                torn.length,
                "the end of the file, cut off by a crash; or its last records, damaged",
            )
        });
        let flaws = loss.flaws.iter().map(|flaw| {
            (&flaw.damage.path, flaw.damage.offset, flaw.damage.length, flaw.damage.what.as_str())
        });
        for (path, offset, length, what) in flaws.chain(torn) {
            let failed = |source| SalvageError::Disk { path: path.clone(), source };
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let is_ours = FileKind::of_name(name).is_some() || name == FileKind::Identity.name(0);
            if !is_ours || length == 0 || !path.exists() {
                continue;
            }
            let (map, _) = map_whole(&*self.storage, name).map_err(failed)?;
            let whole = whole(&map);
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
            let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(whole.len());
            let kept = quarantine::keep_from(disk, path, name, start, &whole[start..end], what);
            if let Some((copy, true)) = kept.map_err(failed)? {
                salvaged.quarantined.push(copy);
            }
        }
        Ok(())
    }
}
