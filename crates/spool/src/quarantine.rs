//! Damage, moved aside and named.
//!
//! The damaged bytes are copied into `quarantine/`, with a text file beside them that says where they came from and what
//! is wrong. The original is not touched. Names are made from file and offset, so that damage that is found again after
//! a restart is not copied again.

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::ids::{EntryId, Location};
use crate::record::{self, Stamp};
use crate::spool::Shared;
use crate::storage::Storage;

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where the damage begins.
    pub offset: u64,
    /// How many bytes of the file are not understood.
    pub length: u64,
    /// What is wrong, in words.
    pub what: String,
    /// The entry that cannot be read because of it, when that is known.
    pub entry: Option<EntryId>,
    /// The copy in `quarantine/`; `None` when there was nothing to copy or it could not be written.
    pub kept: Option<PathBuf>,
}

/// Copies bytes into quarantine. The path is that of the copy; the flag says whether it is new. No bytes, no copy.
pub(crate) fn keep(
    storage: &dyn Storage,
    file: &str,
    offset: usize,
    bytes: &[u8],
    what: &str,
) -> io::Result<Option<(PathBuf, bool)>> {
    keep_from(storage, &storage.path(file), file, offset, bytes, what)
}

/// The same for bytes of a file that is elsewhere.
pub(crate) fn keep_from(
    storage: &dyn Storage,
    from: &Path,
    file: &str,
    offset: usize,
    bytes: &[u8],
    what: &str,
) -> io::Result<Option<(PathBuf, bool)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let name = format!("quarantine/{file}.{offset:010}.bytes");
    let copy = match storage.create(&name, 0) {
        Ok(copy) => copy,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Damage that has grown since: the copy of what came to it goes beside the first.
            let known = storage.map(&name)?.len();
            if 0 < known && known < bytes.len() {
                return keep_from(storage, from, file, offset + known, &bytes[known..], what);
            }
            return Ok(Some((storage.path(&name), false)));
        }
        Err(error) => return Err(error),
    };
    let report =
        format!("file: {}\noffset: {offset}\nlength: {}\nproblem: {what}\n", from.display(), bytes.len());
    let result = fill(copy, bytes).and_then(|()| {
        let text = storage.create(&format!("quarantine/{file}.{offset:010}.txt"), 0)?;
        fill(text, report.as_bytes())?;
        storage.sync_dir()
    });
    match result {
        Ok(()) => Ok(Some((storage.path(&name), true))),
        Err(error) => {
            // A half-written copy would look like a whole one next time.
            let _ = storage.remove(&name);
            let _ = storage.remove(&format!("quarantine/{file}.{offset:010}.txt"));
            Err(error)
        }
    }
}

fn fill(mut file: Box<dyn crate::storage::File>, bytes: &[u8]) -> io::Result<()> {
    file.write_at(0, &[IoSlice::new(bytes)])?;
    file.sync()
}

/// The name of the list of what had been settled when a segment was found to be kept back in part.
pub(crate) fn settled_name(segment: &str) -> String {
    format!("quarantine/{segment}.settled.txt")
}

/// Writes down which entries had been settled by then: of a segment that the disk does not give back whole, nobody can know later
/// which of its messages were dealt with. An older list stays part of it.
pub(crate) fn note_settled(storage: &dyn Storage, segment: &str, ids: &HashSet<EntryId>) -> io::Result<()> {
    prepare_settled(storage, segment, ids)?.put(storage)
}

/// A text that is on the disk whole, and counts when it has got its name.
pub(crate) struct Prepared {
    name: String,
}

impl Prepared {
    fn temporary(&self) -> String {
        format!("{}.new", self.name)
    }

    /// Gives it its name.
    pub(crate) fn put(self, storage: &dyn Storage) -> io::Result<()> {
        storage.rename(&self.temporary(), &self.name)?;
        storage.sync_dir()
    }
}

/// As [`note_settled`], but it does not count yet: what takes room is done.
pub(crate) fn prepare_settled(
    storage: &dyn Storage,
    segment: &str,
    ids: &HashSet<EntryId>,
) -> io::Result<Prepared> {
    let mut all: Vec<EntryId> = settled(storage, segment)?.unwrap_or_default().union(ids).copied().collect();
    all.sort_unstable();
    let text: String = all.iter().map(|id| format!("{id}\n")).collect();
    prepare(storage, settled_name(segment), &text)
}

fn prepare(storage: &dyn Storage, name: String, text: &str) -> io::Result<Prepared> {
    let prepared = Prepared { name };
    match storage.remove(&prepared.temporary()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fill(storage.create(&prepared.temporary(), 0)?, text.as_bytes())?;
    Ok(prepared)
}

/// The mark of a journal that the disk did not give back whole.
fn mark_name(journal: &str) -> String {
    format!("quarantine/{journal}.kept-back.txt")
}

/// Leaves a mark that a journal was not read whole, so that a later start has it set aside as well.
pub(crate) fn mark_journal(storage: &dyn Storage, journal: &str) -> io::Result<()> {
    if storage.path(&mark_name(journal)).exists() {
        return Ok(());
    }
    prepare(storage, mark_name(journal), "the disk did not give back all of this journal\n")?.put(storage)
}

/// Whether a start has left word that a segment or journal is to be set aside.
pub(crate) fn goes_aside(storage: &dyn Storage, file: &str) -> bool {
    storage.path(&settled_name(file)).exists() || storage.path(&mark_name(file)).exists()
}

/// What such a list has; `None` where there is none.
pub(crate) fn settled(storage: &dyn Storage, segment: &str) -> io::Result<Option<HashSet<EntryId>>> {
    let map = match storage.map(&settled_name(segment)) {
        Ok(map) => map,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    map.fetch(0..map.len())?;
    let text = String::from_utf8_lossy(map.slice(0..map.len()).unwrap_or_default());
    Ok(Some(text.lines().filter_map(|line| line.parse().ok()).collect()))
}

/// How many bytes of damage there are at the start of `bytes`: the whole record when its head is good, else up to the
/// next good record or the last byte that is not zero.
pub(crate) fn extent(bytes: &[u8], stamp: Stamp) -> usize {
    if let Ok(record) = record::parse(bytes, stamp) {
        return record.len().min(bytes.len());
    }
    let used = trimmed(bytes);
    record::resync(bytes, record::ALIGNMENT..used, stamp).unwrap_or(used)
}

/// Length without the zeros at the end. Blocks of zeros are passed over whole: the end of a fresh segment is millions of
/// them.
pub(crate) fn trimmed(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut len = bytes.len();
    while len >= ZEROS.len() && bytes[len - ZEROS.len()..len] == ZEROS {
        len -= ZEROS.len();
    }
    bytes[..len].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Keeps what a reader found damaged.
pub(crate) fn keep_damaged(shared: &Shared, at: Location, what: &str) {
    let Some(segment) = shared.segments.read().get(&at.segment).cloned() else { return };
    let offset = at.offset as usize;
    let bytes = segment.record(&*shared.storage, offset).and_then(|bytes| {
        // Where no record begins, the damage may reach as far as the segment.
        if record::parse(bytes, segment.stamp()).is_err() {
            segment.fetch(offset, bytes.len())?;
        }
        Ok(bytes)
    });
    let kept = bytes.map_err(io::Error::other).and_then(|bytes| {
        let bytes = &bytes[..extent(bytes, segment.stamp())];
        keep(&*shared.storage, segment.name(), offset, bytes, what)
    });
    match kept {
        Ok(Some((path, true))) => {
            shared.counters.quarantined.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(copy = %path.display(), "the damaged bytes were copied to quarantine");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the damaged bytes could not be copied to quarantine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_that_grows_is_copied_as_far_as_it_reaches_now() {
        let folder = tempfile::tempdir().unwrap();
        let disk = crate::testing::CrashStorage::new(folder.path()).unwrap();
        let bytes: Vec<u8> = (1..=100).collect();
        for length in [30, 20, 30, 70, 100, 100] {
            keep(&disk, "segment-0000000001", 8, &bytes[..length], "why").unwrap();
        }
        let copy = |offset: usize| {
            let name = format!("quarantine/segment-0000000001.{offset:010}.bytes");
            std::fs::read(folder.path().join(name)).unwrap()
        };
        assert_eq!([copy(8), copy(38), copy(78)].concat(), bytes);
    }

    #[test]
    fn zeros_at_the_end_are_not_counted() {
        for len in [0, 1, 7, 4095, 4096, 4097, 12_288] {
            let mut bytes = vec![7; len];
            assert_eq!(trimmed(&bytes), len);
            for zeros in [1, 4095, 4096, 9000] {
                bytes.resize(len + zeros, 0);
                assert_eq!(trimmed(&bytes), len, "{len} bytes and {zeros} zeros");
            }
        }
    }
}
