//! Read-only maps of files. A [`Map`] is for segments, a [`MappedFile`] for files that others write (compiled databases).
//!
//! A [`Map`] never hands out the whole file as a slice, because the tail of a segment is still being written. It hands
//! out ranges, and the rest of the crate asks only for ranges that no writer touches any more.
//!
//! # Promises the `unsafe` rests on, and who keeps them
//! * *The file is never made shorter while it is mapped.* No operation of [`Storage`](crate::Storage) shortens a file;
//!   segments go by removing their name, which leaves the mapped pages in place (unlink(2)). The lock file keeps others who write
//!   out; who only looks at a spool does not take it, and writes nothing. Should somebody truncate a file by hand, readers see that
//!   before they touch it (below).
//! * *Bytes behind a slice do not change while the slice lives.* The writer only appends, at offsets at or above the
//!   published end of a segment, and readers stay below it (`SegmentFile::view`). Not so for who looks at a spool while another
//!   process writes to it (`looking`): he goes over the whole file, and at its end may see octets come. He copies them or compares
//!   checksums, and believes no length that was not checked against the slice.
//!
//! # The same for files of others
//! * *The file is not made shorter.* Nobody but root and the user of this process may write it, which [`MappedFile::open`] has
//!   looked at; those two replace it by another file of its name (`sluice compile`), and the old one then stays whole under
//!   the map. Should one of them cut it short all the same, [`MappedFile::octets`] sees that, and nothing is touched. What
//!   is left is the instant between that look and the last use of what it gave: it is for the same two not to do it.
//! * *Its octets do not change while a slice lives.* The same two see to it in the same way.
//!
//! # What cannot be read
//! A page that the disk cannot give back, or that is behind the end of a file that was cut short, ends the process with `SIGBUS`
//! when it is touched. So readers of spool files have the kernel fetch what they are about to touch ([`Map::fetch`],
//! MADV_POPULATE_READ of madvise(2), Linux 5.14), which answers with an error instead. What is left is a page that was fetched, is
//! dropped for want of memory before its last use, and cannot be read again. An older kernel does not know the call; there the
//! risk is what it was.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use memmap2::{Advice, Mmap, MmapOptions, MmapRaw};
use rustix::fs::OFlags;

/// A whole file, mapped for reading.
#[derive(Debug)]
pub struct Map {
    /// `None` for an empty file: mmap(2) refuses a length of zero.
    raw: Option<MmapRaw>,
    /// In place of a map: a copy of what could be read.
    salvaged: Vec<u8>,
    /// Behind the last block that could not be read; 0 when there was none.
    pub(crate) unread_end: usize,
}

/// What is read at a time of a file that cannot be read whole; a disk fails by blocks of this size or smaller ones.
const SALVAGE_BLOCK: usize = 4096;

impl Map {
    /// A copy of all of a file that can be read, with zeros where it cannot. For files with bad places, of which a map would
    /// end the process.
    pub fn salvage(file: &File) -> io::Result<Map> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut salvaged = vec![0; length];
        let mut unread_end = 0;
        for (number, block) in salvaged.chunks_mut(SALVAGE_BLOCK).enumerate() {
            let offset = (number * SALVAGE_BLOCK) as u64;
            if file.read_exact_at(block, offset).is_err() {
                block.fill(0);
                unread_end = number * SALVAGE_BLOCK + block.len();
            }
        }
        Ok(Map { raw: None, salvaged, unread_end })
    }

    /// Maps a file as long as it is now. The file may be closed afterwards.
    pub fn of(file: &File) -> io::Result<Map> {
        if file.metadata()?.len() == 0 {
            return Ok(Map { raw: None, salvaged: Vec::new(), unread_end: 0 });
        }
        let raw = Some(MmapOptions::new().map_raw_read_only(file)?);
        Ok(Map { raw, salvaged: Vec::new(), unread_end: 0 })
    }

    /// It is a map, not a copy.
    pub(crate) fn is_of_file(&self) -> bool {
        self.raw.is_some()
    }

    /// Length of the file when it was mapped.
    pub fn len(&self) -> usize {
        self.raw.as_ref().map_or(self.salvaged.len(), MmapRaw::len)
    }

    /// Whether the file was empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Brings a range into memory, as far as it is inside the file as it was mapped. An error is what would have been a
    /// `SIGBUS`: the disk does not give it back, or the file is shorter than it was.
    pub fn fetch(&self, range: Range<usize>) -> io::Result<()> {
        let Some(raw) = &self.raw else { return Ok(()) };
        let range = range.start.min(raw.len())..range.end.min(raw.len());
        if range.is_empty() {
            return Ok(());
        }
        match raw.advise_range(Advice::PopulateRead, range.start, range.len()) {
            // The kernel does not know the call, and nothing can be said.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            answer => answer,
        }
    }

    /// The bytes of a range, or `None` when it reaches past the end of the file.
    ///
    /// Crate-private on purpose: the caller promises that nobody writes to this range any more (see the module's head).
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<&[u8]> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let Some(raw) = &self.raw else { return self.salvaged.get(range) };
        // SAFETY: the range was checked against the length of the mapping just above, and the mapping lives as long as
        // `self`, to which the slice is bound. The file under it is not made shorter (`Storage` has no such operation),
        // and the callers, `SegmentFile::view` and recovery, ask only for bytes below the published end of a file, where
        // the writer never writes again; what holds for `looking` is said in the module's head.
        Some(unsafe { std::slice::from_raw_parts(raw.as_ptr().add(range.start), range.end - range.start) })
    }
}

/// A file of somebody else's, mapped for reading and kept open, so that it can be seen whether it is still whole.
#[derive(Debug)]
pub struct MappedFile {
    file: File,
    /// `None` for an empty file.
    map: Option<Mmap>,
}

/// Why a file is not mapped.
#[derive(Debug, thiserror::Error)]
pub enum NotMapped {
    /// It cannot be opened, looked at or mapped.
    #[error("it cannot be mapped")]
    System(#[source] io::Error),
    /// It is a folder, a device, a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is somebody's who is neither root nor the user of this process; whose.
    #[error("it belongs to user {0}, who is neither root nor the user who runs this program")]
    Owner(u32),
    /// Others may write to it; its mode.
    #[error("its mode {0:04o} lets others write to it")]
    Writable(u32),
}

impl MappedFile {
    /// Maps a file as long as it is now, privately and for reading.
    ///
    /// # Errors
    /// [`NotMapped`]. One that others may write to is not mapped: they could end this program.
    pub fn open(path: &Path) -> Result<MappedFile, NotMapped> {
        // A pipe must not keep us waiting for somebody who writes.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(NotMapped::System)?;
        let found = file.metadata().map_err(NotMapped::System)?;
        if !found.is_file() {
            return Err(NotMapped::NotAFile);
        }
        if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
            return Err(NotMapped::Owner(found.uid()));
        }
        if found.mode() & 0o022 != 0 {
            return Err(NotMapped::Writable(found.mode() & 0o7777));
        }
        if found.len() == 0 {
            return Ok(MappedFile { file, map: None });
        }
        // SAFETY: root and the user of this process alone may write the file, as was seen just above, and both replace it
        // under its name instead of writing to it (see the module's head). `octets` looks at the length before each use.
        let map = unsafe { MmapOptions::new().map_copy_read_only(&file) }.map_err(NotMapped::System)?;
        Ok(MappedFile { file, map: Some(map) })
    }

    /// All of it; `None` when the file is no longer as long as what was mapped. To be asked for before each use, and not
    /// to be held.
    pub fn octets(&self) -> Option<&[u8]> {
        let Some(map) = &self.map else { return Some(&[]) };
        let length = self.file.metadata().ok()?.len();
        (length >= map.len() as u64).then_some(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    /// A file with this mode and content in a folder of its own.
    fn written(content: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("general.db");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_that_is_cut_short_is_noticed_and_one_that_grows_is_not_minded() {
        let (_folder, path) = written(&[7; 10_000], 0o644);
        let mapped = MappedFile::open(&path).unwrap();
        assert_eq!(mapped.octets(), Some(&[7; 10_000][..]));
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(20_000).unwrap();
        assert_eq!(mapped.octets(), Some(&[7; 10_000][..]));
        for length in [9_999, 1, 0] {
            file.set_len(length).unwrap();
            assert_eq!(mapped.octets(), None, "{length}");
        }
        let mapped = MappedFile::open(&path).unwrap();
        assert_eq!(mapped.octets(), Some(&[][..]));
    }

    #[test]
    fn a_file_that_is_replaced_or_removed_stays_whole_under_its_map() {
        let (folder, path) = written(b"the old one", 0o600);
        let mapped = MappedFile::open(&path).unwrap();
        let beside = folder.path().join("new");
        std::fs::write(&beside, b"new").unwrap();
        std::fs::rename(&beside, &path).unwrap();
        assert_eq!(mapped.octets(), Some(&b"the old one"[..]));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mapped.octets(), Some(&b"the old one"[..]));
    }

    #[test]
    fn what_others_may_write_and_what_is_no_file_is_not_mapped() {
        for mode in [0o664, 0o646, 0o666] {
            let (_folder, path) = written(b"x", mode);
            let why = MappedFile::open(&path).unwrap_err();
            assert!(matches!(why, NotMapped::Writable(found) if found == mode), "{why}");
        }
        let (folder, path) = written(b"x", 0o644);
        assert!(matches!(MappedFile::open(folder.path()), Err(NotMapped::NotAFile)));
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(MappedFile::open(&pipe), Err(NotMapped::NotAFile)));
        assert!(matches!(MappedFile::open(&folder.path().join("none")), Err(NotMapped::System(_))));
        // Only root can give files away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            assert!(matches!(MappedFile::open(&path), Err(NotMapped::Owner(65_534))));
        }
    }

    #[test]
    fn a_map_gives_ranges_inside_the_file_only() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"segment").unwrap();
        let map = Map::of(&file).unwrap();
        assert_eq!(map.slice(3..7), Some(&b"ment"[..]));
        assert_eq!(map.slice(7..7), Some(&b""[..]));
        assert_eq!(map.slice(3..8), None);
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = 5..3;
        assert_eq!(map.slice(backwards), None);
    }

    #[test]
    fn a_copy_of_what_can_be_read_is_like_a_map() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        let map = Map::salvage(&file).unwrap();
        assert_eq!(map.len(), 10_000);
        assert_eq!(map.slice(0..10_000), Some(&[7; 10_000][..]));
        assert_eq!(map.slice(9_999..10_001), None);
        map.fetch(0..20_000).unwrap();
        assert!(Map::salvage(&tempfile::tempfile().unwrap()).unwrap().is_empty());
    }

    #[test]
    fn what_was_cut_off_under_a_map_is_an_error_and_not_the_end() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100_000).unwrap();
        let map = Map::of(&file).unwrap();
        map.fetch(0..100_000).unwrap();
        map.fetch(99_999..200_000).unwrap();
        file.set_len(50_000).unwrap();
        map.fetch(0..50_000).unwrap();
        for range in [49_000..60_000, 99_000..99_001, 60_000..100_000] {
            assert!(map.fetch(range.clone()).is_err(), "{range:?}");
        }
        file.set_len(100_000).unwrap();
        map.fetch(0..100_000).unwrap();
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        let map = Map::of(&tempfile::tempfile().unwrap()).unwrap();
        assert!(map.is_empty());
        map.fetch(0..10).unwrap();
        assert_eq!(map.slice(0..0), Some(&b""[..]));
        assert_eq!(map.slice(0..1), None);
    }
}
