//! [`Disk`]: the spool folder as real files, through rustix.
//!
//! Files are preallocated, so that a full disk is met when a segment is begun and not in the middle of a message, and so
//! that `fdatasync` need not write a new file length each time.

use std::fs;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

use crate::map::Map;
use crate::storage::{File, Listed, LockFailure, LockGuard, Storage};

/// Name of the lock file; it holds the process id of its owner as text.
const LOCK_NAME: &str = "lock";

/// How long the lock is waited for.
const LOCK_PATIENCE: Duration = Duration::from_millis(50);

/// Pieces of one `pwritev`: the limit of Linux (`UIO_MAXIOV`).
const PIECES_MAX: usize = 1024;

/// A spool folder on a local file system.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// The folder; made, with its parents, when it is not there. Files and folder are for their owner only: mail is private.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Disk> {
        use std::os::unix::fs::DirBuilderExt;
        let folder = folder.into();
        if !folder.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        }
        Ok(Disk { folder })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Disk {
    /// Who has the lock, without taking it: `None` for nobody, else the process id when the lock file has it.
    pub(crate) fn holder(&self) -> io::Result<Option<Option<u32>>> {
        let file = match fs::File::open(self.folder.join(LOCK_NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.take(32).read_to_string(&mut text);
                Ok(Some(text.trim().parse().ok()))
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Disk {
    /// The folder in which a name is to stand, where that is not the spool's own.
    fn make_folder(&self, name: &str) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        let Some((folder, _)) = name.split_once('/') else { return Ok(()) };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join(folder))
    }
}

/// Makes the entries of one folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let handle = fs::File::open(folder)?;
    rustix::fs::fsync(&handle).map_err(io::Error::from)
}

/// Reserves room, or gives the file its length where the file system cannot reserve.
fn reserve(file: &fs::File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            // File systems without reservation (some network and copy-on-write ones) still get a file of full length.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return file.set_len(size),
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Storage for Disk {
    fn lock(&self) -> Result<LockGuard, LockFailure> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.folder.join(LOCK_NAME);
        let writable = || {
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.open(&path).map_err(LockFailure::Io)
        };
        // The lock is held by a handle that only reads: one that writes would keep the disk from being mounted read-only for as long as
        // a hub runs. Where the system wants a handle that writes, as NFS does, it gets one.
        let mut number = writable()?;
        let reading = fs::File::open(&path).map_err(LockFailure::Io)?;
        let (file, mut locked) = match rustix::fs::flock(&reading, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::BADF) => {
                let file = number.try_clone().map_err(LockFailure::Io)?;
                let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
                (file, locked)
            }
            locked => (reading, locked),
        };
        // Somebody who only looks whether it is held has it for a moment.
        let until = Instant::now() + LOCK_PATIENCE;
        while locked == Err(Errno::WOULDBLOCK) && Instant::now() < until {
            std::thread::sleep(LOCK_PATIENCE / 10);
            locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // A lock file that cannot be read only costs us the number.
                let _ = file.take(32).read_to_string(&mut text);
                return Err(LockFailure::Held(text.trim().parse().ok()));
            }
            Err(errno) => return Err(LockFailure::Io(errno.into())),
        }
        number.set_len(0).map_err(LockFailure::Io)?;
        number.seek(SeekFrom::Start(0)).map_err(LockFailure::Io)?;
        writeln!(number, "{}", std::process::id()).map_err(LockFailure::Io)?;
        Ok(Box::new(file))
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn File>> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.folder.join(name);
        self.make_folder(name)?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = reserve(&file, size) {
            // A half-reserved file would only sit on the room that is missing.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Box::new(DiskFile { file }))
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                listed.push(Listed { name, len: metadata.len() });
            }
        }
        Ok(listed)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.make_folder(to)?;
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let quarantine = self.folder.join("quarantine");
        if quarantine.is_dir() {
            sync_folder(&quarantine)?;
        }
        sync_folder(&self.folder)
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        let file = fs::File::open(self.folder.join(name))?;
        DiskFile { file }.sync()
    }

    fn map(&self, name: &str) -> io::Result<Map> {
        Map::of(&fs::File::open(self.folder.join(name))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// One file, opened for writing.
struct DiskFile {
    file: fs::File,
}

impl File for DiskFile {
    fn write_at(&mut self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let mut offset = offset;
        for group in pieces.chunks(PIECES_MAX) {
            let total: usize = group.iter().map(|piece| piece.len()).sum();
            let mut written = 0;
            while written < total {
                let rest: Vec<IoSlice<'_>>;
                let pieces = if written == 0 {
                    group
                } else {
                    rest = remaining(group, written);
                    &rest
                };
                match rustix::io::pwritev(&self.file, pieces, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        written += count;
                        offset += count as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        loop {
            match rustix::fs::fdatasync(&self.file) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// The pieces without their first `skip` bytes.
fn remaining<'a>(pieces: &'a [IoSlice<'_>], skip: usize) -> Vec<IoSlice<'a>> {
    let mut skip = skip;
    let mut rest = Vec::with_capacity(pieces.len());
    for piece in pieces {
        if skip >= piece.len() {
            skip -= piece.len();
        } else {
            rest.push(IoSlice::new(&piece[skip..]));
            skip = 0;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_pieces_than_one_system_call_takes_are_all_written() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let bytes: Vec<[u8; 3]> = (0..2500u32).map(|n| [n as u8, (n >> 8) as u8, 7]).collect();
        let pieces: Vec<IoSlice<'_>> = bytes.iter().map(|piece| IoSlice::new(piece)).collect();
        disk.create("f", 0).unwrap().write_at(5, &pieces).unwrap();
        let read = fs::read(folder.path().join("f")).unwrap();
        assert_eq!(&read[..5], [0; 5]);
        assert_eq!(&read[5..], bytes.concat());
    }

    #[test]
    fn the_rest_of_the_pieces_begins_in_the_middle_of_one() {
        let pieces = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        let rest: Vec<u8> = remaining(&pieces, 3).iter().flat_map(|piece| piece.to_vec()).collect();
        assert_eq!(rest, b"de");
    }

    #[test]
    fn a_second_lock_names_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let guard = disk.lock().unwrap();
        match disk.lock() {
            Err(LockFailure::Held(Some(pid))) => assert_eq!(pid, std::process::id()),
            other => panic!("{:?}", other.map(|_| ())),
        }
        drop(guard);
        assert!(disk.lock().is_ok());
    }

    #[test]
    fn a_file_is_created_once_and_preallocated() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path().join("deep/er")).unwrap();
        disk.create("quarantine/x", 0).unwrap();
        disk.create("s", 8192).unwrap();
        assert_eq!(disk.list().unwrap(), [Listed { name: "s".into(), len: 8192 }]);
        assert_eq!(disk.create("s", 1).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        disk.sync_dir().unwrap();
    }
}
