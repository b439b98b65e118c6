//! What cannot be had without `unsafe`: slices of mapped files, and descriptors by their number. The only `unsafe` of this crate.
//!
//! # Promises it rests on, and who keeps them
//! * *A file is not made shorter while it is mapped, and what a slice shows of it does not change.* The hub sends segments, of
//!   which it names only stretches that are written and synced, and never shortens (`spool::map` says the same of them), and
//!   memfds that it has sealed. Should a file be cut short all the same, it is the child that dies of it.
//! * *A descriptor that is closed by its number is nobody's.* It is done once, by a child that has nothing yet but its socket.
#![allow(unsafe_code)]

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

/// A file that the hub has sent, mapped for reading.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// `None` for an empty file.
    raw: Option<MmapRaw>,
}

impl Mapped {
    pub(crate) fn of(file: &File, length: u64) -> io::Result<Mapped> {
        let is = file.metadata()?.len();
        if is < length {
            return Err(io::Error::other("the file is shorter than the hub has said"));
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let raw = match length {
            0 => None,
            _ => Some(MmapOptions::new().len(length).map_raw_read_only(file)?),
        };
        Ok(Mapped { raw })
    }

    pub(crate) fn len(&self) -> usize {
        self.raw.as_ref().map_or(0, MmapRaw::len)
    }

    /// The octets of a range; nothing of one that reaches past the end.
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        let Some(raw) = &self.raw else { return &[] };
        if range.start > range.end || range.end > raw.len() {
            return &[];
        }
        // SAFETY: the range was compared with the length of the map just above, and the map lives as long as `self`, to which
        // the slice is bound. What is behind it does not change and is not cut off: the hub's promise (see the module's head).
        unsafe { std::slice::from_raw_parts(raw.as_ptr().add(range.start), range.end - range.start) }
    }
}

/// Closes every descriptor above the standard ones but one.
pub(crate) fn close_inherited(but: &impl AsRawFd) -> io::Result<()> {
    let but = but.as_raw_fd();
    // Read to the end before anything is closed: the folder itself is one of them, and is closed when it was read.
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2 && *number != but)
        .collect();
    for number in numbers {
        // The folder's own is gone by now.
        if std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
            continue;
        }
        // SAFETY: called once, at the beginning of a child, before it has opened anything that it keeps but its socket, which is left out:
        // whatever has such a number was inherited, and no value of this process stands for it.
        unsafe { rustix::io::close(number) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn ranges_inside_the_file_are_shown_and_no_others() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        let mapped = Mapped::of(&file, 7).unwrap();
        assert_eq!((mapped.slice(3..7), mapped.slice(0..0), mapped.len()), (&b"tent"[..], &b""[..], 7));
        assert_eq!(mapped.slice(3..8), b"");
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = 5..3;
        assert_eq!(mapped.slice(backwards), b"");
        assert!(Mapped::of(&file, 8).is_err(), "longer than it is");
        let empty = Mapped::of(&tempfile::tempfile().unwrap(), 0).unwrap();
        assert_eq!(empty.slice(0..0), b"");
    }
}
