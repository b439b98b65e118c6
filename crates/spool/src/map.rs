//! Read-only maps of segment files: the only `unsafe` of this crate.
//!
//! A [`Map`] never hands out the whole file as a slice, because the tail of a segment is still being written. It hands
//! out ranges, and the rest of the crate asks only for ranges that no writer touches any more.
//!
//! # Promises the `unsafe` rests on, and who keeps them
//! * *The file is never made shorter while it is mapped.* No operation of [`Storage`](crate::Storage) shortens a file;
//!   segments go by removing their name, which leaves the mapped pages in place (unlink(2)). The lock file keeps other
//!   processes of ours out; somebody who truncates spool files by hand gets a `SIGBUS`, as with any mapped file.
//! * *Bytes behind a slice do not change while the slice lives.* The writer only appends, at offsets at or above the
//!   published end of a segment, and readers stay below it (`SegmentFile::view`).
//!
//! A disk that fails to read a mapped page also ends in `SIGBUS`; there is no way to get an `EIO` from a map.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{MmapOptions, MmapRaw};

/// A whole file, mapped for reading.
#[derive(Debug)]
pub struct Map {
    /// `None` for an empty file: mmap(2) refuses a length of zero.
    raw: Option<MmapRaw>,
}

impl Map {
    /// Maps a file as long as it is now. The file may be closed afterwards.
    pub fn of(file: &File) -> io::Result<Map> {
        if file.metadata()?.len() == 0 {
            return Ok(Map { raw: None });
        }
        Ok(Map { raw: Some(MmapOptions::new().map_raw_read_only(file)?) })
    }

    /// Length of the file when it was mapped.
    pub fn len(&self) -> usize {
        self.raw.as_ref().map_or(0, MmapRaw::len)
    }

    /// Whether the file was empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a range, or `None` when it reaches past the end of the file.
    ///
    /// Crate-private on purpose: the caller promises that nobody writes to this range any more (see the module's head).
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<&[u8]> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let Some(raw) = &self.raw else { return Some(&[]) };
        // SAFETY: the range was checked against the length of the mapping just above, and the mapping lives as long as
        // `self`, to which the slice is bound. The file under it is not made shorter (`Storage` has no such operation,
        // the spool lock keeps other processes out), and the callers, `SegmentFile::view` and recovery, ask only for
        // bytes below the published end of a file, where the writer never writes again.
        Some(unsafe { std::slice::from_raw_parts(raw.as_ptr().add(range.start), range.end - range.start) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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
    fn an_empty_file_is_an_empty_map() {
        let map = Map::of(&tempfile::tempfile().unwrap()).unwrap();
        assert!(map.is_empty());
        assert_eq!(map.slice(0..0), Some(&b""[..]));
        assert_eq!(map.slice(0..1), None);
    }
}
