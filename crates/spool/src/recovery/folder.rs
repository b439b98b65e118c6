//! The folder before anything in it is believed: which files there are, whose they are, and which release wrote them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::io::IoSlice;
use std::sync::Arc;

use parking_lot::RwLock;

use super::index::Next;
use super::walk::whole;
use super::{Recovered, Recovery};
use crate::error::OpenError;
use crate::journal;
use crate::map::Map;
use crate::record::{FILE_HEADER_LEN, FORMAT_VERSION, FileHeader, FileKind, HeaderFlaw, Later};
use crate::segment::SegmentFile;
use crate::storage::{Storage, map_whole};
use crate::writer::segments::SPARE_NAME;

impl Recovery {
    pub(super) fn list(storage: Arc<dyn Storage>, later: Later) -> Result<Recovery, OpenError> {
        let listed = storage.list().map_err(|source| OpenError::Read { path: storage.path(""), source })?;
        let mut recovery = Recovery {
            storage,
            later,
            spool_id: 0,
            segments: BTreeMap::new(),
            journals: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            has_identity: false,
            temporaries: Vec::new(),
            files: RwLock::new(HashMap::new()),
            next: Next { id: 1, segment: 1, journal: 1, checkpoint: 1 },
            reserved: 0,
            valid_checkpoints: Vec::new(),
            keep: HashSet::new(),
            aside: HashSet::new(),
            journals_aside: HashSet::new(),
            parts: HashMap::new(),
            found: Recovered::default(),
        };
        for file in listed {
            match FileKind::of_name(&file.name) {
                Some((FileKind::Segment, number)) => {
                    recovery.next.saw_segment(number);
                    recovery.segments.insert(number, file.len);
                }
                Some((FileKind::Journal, number)) => {
                    recovery.next.journal = recovery.next.journal.max(number.saturating_add(1));
                    recovery.journals.insert(number, file.len);
                }
                Some((FileKind::Checkpoint, number)) => {
                    recovery.next.checkpoint = recovery.next.checkpoint.max(number.saturating_add(1));
                    recovery.checkpoints.insert(number, file.len);
                }
                Some((FileKind::Identity, _)) | None => recovery.other(file.name),
            }
        }
        Ok(recovery)
    }

    /// A file that is neither segment, journal nor checkpoint.
    pub(super) fn other(&mut self, name: String) {
        if name == FileKind::Identity.name(0) {
            self.has_identity = true;
        } else if let Some(stem) = name.strip_suffix(".new")
            && (stem == FileKind::Identity.name(0) || FileKind::of_name(stem).is_some())
        {
            self.temporaries.push(name);
        } else if name != "lock" && name != SPARE_NAME {
            self.found.foreign.push(self.storage.path(&name));
        }
    }

    /// A map of a file of which every byte can be touched: where the disk does not give all of it back, a copy of the rest.
    pub(super) fn map(&self, name: &str) -> Result<Map, OpenError> {
        self.map_and_flaw(name).map(|(map, _)| map)
    }

    /// The same, and whether the disk has kept something back.
    pub(super) fn map_and_flaw(&self, name: &str) -> Result<(Map, bool), OpenError> {
        let (map, flaw) = map_whole(&*self.storage, name)
            .map_err(|source| OpenError::Read { path: self.storage.path(name), source })?;
        if let Some(error) = &flaw {
            tracing::error!(%error, file = name, "the disk does not give back all of a file of the spool");
        }
        Ok((map, flaw.is_some()))
    }

    pub(super) fn header(
        &self,
        kind: FileKind,
        number: u32,
    ) -> Result<Result<FileHeader, HeaderFlaw>, OpenError> {
        let name = kind.name(number);
        let map = self
            .storage
            .map(&name)
            .map_err(|source| OpenError::Read { path: self.storage.path(&name), source })?;
        if map.fetch(0..FILE_HEADER_LEN).is_err() {
            return Ok(Err(HeaderFlaw::Damaged));
        }
        Ok(FileHeader::decode(
            kind,
            map.slice(0..FILE_HEADER_LEN.min(map.len())).unwrap_or_default(),
            self.later,
        ))
    }

    /// All files of the three kinds.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (FileKind, u32)> {
        let of = |kind: FileKind, files: &BTreeMap<u32, u64>| {
            files.keys().rev().map(|number| (kind, *number)).collect::<Vec<_>>()
        };
        of(FileKind::Checkpoint, &self.checkpoints)
            .into_iter()
            .chain(of(FileKind::Journal, &self.journals))
            .chain(of(FileKind::Segment, &self.segments))
    }

    /// Refuses a folder that a later release wrote, before anything is touched.
    pub(super) fn check_versions(&self) -> Result<(), OpenError> {
        let identity = self.has_identity.then_some((FileKind::Identity, 0));
        for (kind, number) in identity.into_iter().chain(self.numbered()) {
            if let Err(HeaderFlaw::Newer(found)) = self.header(kind, number)? {
                return Err(self.newer(&kind.name(number), found));
            }
        }
        Ok(())
    }

    pub(super) fn newer(&self, name: &str, found: u16) -> OpenError {
        OpenError::Newer { path: self.storage.path(name), found, known: FORMAT_VERSION }
    }

    /// The spool's id: from the identity file, or else from any file that has a good header, or else a new one.
    pub(super) fn identity(&mut self) -> Result<u64, OpenError> {
        if self.has_identity {
            match self.header(FileKind::Identity, 0)? {
                Ok(header) => {
                    // The identity has no content of its own; its size field is the mark of used ids.
                    self.next.id = self.next.id.max(header.size);
                    return Ok(header.spool_id);
                }
                Err(_) => {
                    let map = self.map(&FileKind::Identity.name(0))?;
                    self.damage(FileKind::Identity, 0, 0, whole(&map), "the identity is not readable", None);
                }
            }
        }
        let numbered: Vec<_> = self.numbered().collect();
        for (kind, number) in &numbered {
            if let Ok(header) = self.header(*kind, *number)?
                && header.number == *number
            {
                self.write_identity(header.spool_id, 0)?;
                return Ok(header.spool_id);
            }
        }
        if !numbered.is_empty() {
            return Err(OpenError::Unrecognised { path: self.storage.path("") });
        }
        self.found.fresh = true;
        // The standard library seeds its hashers from the system's random numbers.
        let spool_id = std::hash::RandomState::new().hash_one(std::process::id());
        self.write_identity(spool_id, 0)?;
        Ok(spool_id)
    }

    /// Replaces the identity file. Ids below the mark are never handed out again.
    pub(super) fn write_identity(&mut self, spool_id: u64, mark: u64) -> Result<(), OpenError> {
        let kind = FileKind::Identity;
        let header = FileHeader { kind, version: FORMAT_VERSION, number: 0, spool_id, size: mark };
        let (name, temporary) = (kind.name(0), format!("{}.new", kind.name(0)));
        let leftover = self.temporaries.iter().position(|name| *name == temporary);
        if let Some(place) = leftover {
            self.temporaries.swap_remove(place);
        }
        let write = || {
            if leftover.is_some() {
                self.storage.remove(&temporary)?;
            }
            let mut file = self.storage.create(&temporary, 0)?;
            file.write_at(0, &[IoSlice::new(&header.encode())])?;
            file.sync()?;
            self.storage.rename(&temporary, &name)?;
            self.storage.sync_dir()
        };
        write().map_err(|source| OpenError::Write { path: self.storage.path(&name), source })
    }

    /// Sets files of another spool aside: their header is good and says so.
    pub(super) fn leave_foreign_files(&mut self) {
        let numbered: Vec<_> = self.numbered().collect();
        for (kind, number) in numbered {
            let Ok(Ok(header)) = self.header(kind, number) else { continue };
            if header.spool_id != self.spool_id || header.number != number {
                self.found.foreign.push(self.storage.path(&kind.name(number)));
                match kind {
                    FileKind::Segment => self.segments.remove(&number),
                    FileKind::Journal => self.journals.remove(&number),
                    _ => self.checkpoints.remove(&number),
                };
            }
        }
        for number in self.segments.keys() {
            let file = SegmentFile::new(&*self.storage, self.spool_id, *number, usize::MAX);
            self.files.write().insert(*number, Arc::new(file));
        }
    }

    /// Unfinished files of ours; nothing refers to them.
    pub(super) fn remove_temporaries(&self) {
        for name in &self.temporaries {
            if let Err(error) = self.storage.remove(name)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, file = name, "cannot remove an unfinished file");
            }
        }
    }

    /// Reserves the first block of ids of this run. On a disk that takes nothing the spool opens all the same, so that
    /// what waits can be delivered; the journal then takes the reservation when it can.
    pub(super) fn reserve_ids(&mut self) {
        let mark = self.next.id.saturating_add(journal::ID_BLOCK);
        match self.write_identity(self.spool_id, mark) {
            Ok(()) => self.reserved = mark,
            Err(error) => {
                tracing::warn!(%error, "cannot reserve entry ids");
                self.reserved = self.next.id;
            }
        }
    }
}
