//! The narrow door to the disk: everything the spool asks of a file system, and nothing else.
//!
//! Two implementations exist: [`Disk`](crate::Disk), a folder of real files, and
//! [`CrashStorage`](crate::testing::CrashStorage), which counts, stops, tears and forgets. The spool is written against
//! this trait so that each of its promises can be tested by ending the world after every single operation.
//!
//! # Promises an implementation keeps
//! * Written bytes can be read and mapped at once; they are durable only after [`File::sync`] returned `Ok`.
//! * A created, renamed or removed name is durable only after [`Storage::sync_dir`] returned `Ok`.
//! * After a failed `sync` nothing is known about the bytes written since the last good one. The spool does not ask again.
//!
//! # Not here
//! What the bytes mean (`record`, `segment`, `journal`, `checkpoint`), and when they are written (`writer`).

use std::any::Any;
use std::io::{self, IoSlice};
use std::path::PathBuf;

use crate::map::Map;

/// One file as the folder lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name inside the spool folder.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// Why the spool folder could not be locked.
#[derive(Debug)]
pub enum LockFailure {
    /// Another process (or another spool in this one) has it; its process id when the lock file says so.
    Held(Option<u32>),
    /// The lock file could not be opened or written.
    Io(io::Error),
}

/// The lock on a folder; it is given back when this is dropped.
pub type LockGuard = Box<dyn Any + Send + Sync>;

/// A folder of files. Names are flat, except that `quarantine/` may stand in front of one.
pub trait Storage: Send + Sync + 'static {
    /// Takes the folder for this process alone.
    fn lock(&self) -> Result<LockGuard, LockFailure>;

    /// Makes a file that must not exist yet and reserves `size` bytes for it, which read as zero.
    /// When there is no room the file is gone again and the error is `StorageFull`.
    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn File>>;

    /// The files of the folder, in no order. Folders are not listed.
    fn list(&self) -> io::Result<Vec<Listed>>;

    /// Gives a file another name, replacing what had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a name away. Maps of the file stay good.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Brings a file that somebody wrote before, and did not sync, to the disk.
    fn sync_file(&self, name: &str) -> io::Result<()>;

    /// Maps a whole file for reading. Bytes written later appear in the map.
    fn map(&self, name: &str) -> io::Result<Map>;

    /// A copy of what can be read of a file that has bad places, with zeros for the rest.
    fn salvage(&self, name: &str) -> io::Result<Map> {
        Map::salvage(&std::fs::File::open(self.path(name))?)
    }

    /// Where the file is, for messages to people.
    fn path(&self, name: &str) -> PathBuf;
}

/// An open file that is written at offsets.
pub trait File: Send {
    /// Writes all the pieces, one after the other, beginning at `offset`.
    fn write_at(&mut self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()>;

    /// Brings what was written to the disk (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
}

/// A map of a file of which every byte can be touched. Where the disk does not give all of it back it is a copy of the rest, with
/// zeros for what is missing, and what the disk said comes with it.
pub(crate) fn map_whole(storage: &dyn Storage, name: &str) -> io::Result<(Map, Option<io::Error>)> {
    let map = storage.map(name)?;
    match map.fetch(0..map.len()) {
        Ok(()) => Ok((map, None)),
        Err(error) => Ok((storage.salvage(name)?, Some(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CrashStorage;

    #[test]
    fn of_a_file_with_a_bad_block_the_rest_can_be_touched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), [7; 10_000]).unwrap();
        let disk = CrashStorage::new(folder.path()).unwrap();
        let (map, flaw) = map_whole(&disk, "file").unwrap();
        assert!(flaw.is_none() && map.slice(0..10_000).unwrap() == [7; 10_000]);
        disk.bad_block("file", 5000);
        let (map, flaw) = map_whole(&disk, "file").unwrap();
        assert!(flaw.is_some());
        let expected = [vec![7; 4096], vec![0; 4096], vec![7; 10_000 - 8192]].concat();
        assert!(map.slice(0..10_000).unwrap() == expected);
        assert!(map_whole(&disk, "none").is_err());
    }
}
