//! A private copy of a library, which is what the dynamic linker is given.
//!
//! The linker maps a library and reads from its file for as long as the process lives. Whoever writes over that file (`cp`
//! does, a linker may) changes code that is being run, and the process dies of it; and asked for a path that it knows, the
//! linker hands out what it has, whatever the file is by now. So a library is opened once, what was opened is looked at,
//! and its bytes are copied into memory that has no other name (memfd_create(2)) and is sealed: nobody can change it, and
//! each copy is another file to the linker. The checks and the copy are of the same open file, so that nothing can be put
//! in its place in between.
//!
//! Only what is loaded is copied, not the debug information behind it. The copy shows as `memfd:libsluice_tcp.so#2` in
//! `/proc/PID/maps`, by the file's name and its generation, and is `/proc/PID/fd/N` for as long as the process lives. A copy
//! that was made for other processes has the name alone; they are lent its descriptor.
//!
//! # Not here
//! Who may have written the file (`permissions`), what the library has in it (`library`).

use crate::elf::{self, Extent};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of a library that are loaded.
const LIBRARY_MAX: u64 = 1 << 30;
/// Of what is no library, as much as the linker looks at to say so.
const HEAD_MAX: u64 = 4096;
/// How much is compared at once.
const CHUNK: usize = 64 * 1024;

/// What tells whether a file is the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(crate) fn of(file: &Metadata) -> Identity {
        Identity {
            device: file.dev(),
            inode: file.ino(),
            len: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// A file that was opened, and is looked at before anything of it is used.
pub(crate) struct Opened {
    file: File,
    /// Where it lies, with every link followed: of the open file, whatever the name leads to by now.
    pub(crate) path: PathBuf,
    pub(crate) about: Metadata,
}

impl Opened {
    /// Opens a file without waiting for anybody, should it be a pipe.
    pub(crate) fn open(path: &Path) -> io::Result<Opened> {
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let about = file.metadata()?;
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(Opened { file, path, about })
    }

    /// Copies what the linker would load, `name` being what the copy is called.
    pub(crate) fn copy(&self, name: &str) -> io::Result<Copied> {
        let len = match elf::extent(&self.file)? {
            Extent::Short { needed, has } => return Ok(Copied::Short { needed, has }),
            Extent::Whole { needed } if needed > LIBRARY_MAX => return Ok(Copied::TooLarge(needed)),
            Extent::Whole { needed } => needed,
            Extent::NoLibrary => self.about.len().min(HEAD_MAX),
        };
        let mut copy = memory_file(name)?;
        let copied = io::copy(&mut (&self.file).take(len), &mut copy)?;
        // Somebody writes to it: what was read may be half of one and half of the other.
        if Identity::of(&self.file.metadata()?) != Identity::of(&self.about) || copied != len {
            return Ok(Copied::Changing);
        }
        // The headers of the copy are those that the linker goes by.
        if let Extent::Short { needed, has } = elf::extent(&copy)? {
            return Ok(Copied::Short { needed, has });
        }
        seal(&copy)?;
        Ok(Copied::Whole(Copy { file: copy, len }))
    }
}

/// What came of copying.
pub(crate) enum Copied {
    Whole(Copy),
    /// The file ends before the library does.
    Short {
        needed: u64,
        has: u64,
    },
    /// It was written to meanwhile.
    Changing,
    /// So many bytes are to be loaded.
    TooLarge(u64),
}

/// A sealed copy. Once it has been loaded it must never be closed: the linker knows libraries by their paths, and another
/// file would get the number of this one, and with it this library.
pub(crate) struct Copy {
    file: File,
    len: u64,
}

impl Copy {
    /// A copy that another process has made, sealed and lent.
    pub(crate) fn lent(lent: File, name: &str) -> io::Result<Copy> {
        let len = lent.metadata()?.len();
        let copy = Copy { file: lent, len };
        // Any process of the same user may have changed its mode; the descriptor can be read from all the same.
        match File::open(copy.path()) {
            Ok(_) => Ok(copy),
            Err(_) => copy.again(name),
        }
    }

    /// Another copy of the same octets.
    fn again(&self, name: &str) -> io::Result<Copy> {
        let mut copy = memory_file(name)?;
        self.chunks(|chunk| copy.write_all(chunk))?;
        seal(&copy)?;
        Ok(Copy { file: copy, len: self.len })
    }

    /// The octets from the beginning, some at a time. The file has a position, which others may share.
    fn chunks(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut room = vec![0; CHUNK];
        let mut at = 0;
        while at < self.len {
            let count = CHUNK.min(usize::try_from(self.len - at).unwrap_or(CHUNK));
            self.file.read_exact_at(&mut room[..count], at)?;
            take(&room[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The path that the linker is given.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Whether both have the same bytes.
    pub(crate) fn is_same(&self, other: &Copy) -> io::Result<bool> {
        if self.len != other.len {
            return Ok(false);
        }
        let mut theirs = vec![0; CHUNK];
        let (mut at, mut is_same) = (0, true);
        self.chunks(|ours| {
            if is_same {
                let theirs = &mut theirs[..ours.len()];
                other.file.read_exact_at(theirs, at)?;
                at += ours.len() as u64;
                is_same = ours == theirs;
            }
            Ok(())
        })?;
        Ok(is_same)
    }

    /// Whether it has these bytes somewhere.
    pub(crate) fn contains(&self, text: &[u8]) -> bool {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, 0).is_ok() && bytes.windows(text.len()).any(|part| part == text)
    }
}

/// Nobody can change it any more.
fn seal(copy: &File) -> io::Result<()> {
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    Ok(rustix::fs::fcntl_add_seals(copy, seals)?)
}

/// An empty file in memory. It needs no right to be executed, and a kernel may be told to give out none that has it
/// (`vm.memfd_noexec`); older kernels do not know the word for that.
fn memory_file(name: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Longer names are refused (memfd_create(2): 249 bytes).
    let name: String = name.chars().filter(|one| *one != '\0').take(60).collect();
    let made = rustix::fs::memfd_create(name.as_str(), flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| rustix::fs::memfd_create(name.as_str(), flags))?;
    Ok(File::from(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Opened {
        Opened::open(&std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_copy_has_what_is_loaded_and_cannot_be_changed() {
        let opened = program();
        let Copied::Whole(mut copy) = opened.copy("test").unwrap() else { panic!("a whole program") };
        assert!(copy.len > 0 && copy.len <= opened.about.len());
        let mut start = [0; 4];
        copy.file.read_exact_at(&mut start, 0).unwrap();
        assert_eq!(&start, b"\x7fELF");
        assert!(copy.file.write(b"x").is_err(), "it is sealed");
        assert!(copy.file.set_len(0).is_err(), "and cannot be cut");
        let Copied::Whole(again) = program().copy("test").unwrap() else { panic!("a whole program") };
        assert!(copy.is_same(&again).unwrap());
        assert_ne!(copy.path(), again.path());
        assert!(copy.contains(b"\x7fELF"));
        let mut other = copy.again("again").unwrap();
        assert!(other.is_same(&copy).unwrap() && other.path() != copy.path());
        assert!(other.file.write(b"x").is_err(), "it is sealed, too");
        let lent = Copy::lent(other.file.try_clone().unwrap(), "lent").unwrap();
        assert!(lent.is_same(&copy).unwrap());
        let absent: Vec<u8> = (0..=255).rev().flat_map(|byte| [byte; 3]).collect();
        assert!(!copy.contains(&absent));
    }

    #[test]
    fn a_file_that_is_written_to_meanwhile_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.so");
        fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        let opened = Opened::open(&path).unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"more").unwrap();
        assert!(matches!(opened.copy("test").unwrap(), Copied::Changing));
        file.set_len(1000).unwrap();
        assert!(matches!(opened.copy("test").unwrap(), Copied::Short { has: 1000, .. }));
    }

    #[test]
    fn a_pipe_is_opened_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(!Opened::open(&path).unwrap().about.is_file());
    }
}
