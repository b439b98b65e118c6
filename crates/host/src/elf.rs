//! Whether a library's file is whole, looked at before the dynamic linker is asked.
//!
//! The linker maps what the program headers promise (elf(5)) and does not compare that with the length of the file. A
//! file that was cut short, by a full disk or a copy that is still under way, then ends the process with `SIGBUS` in the
//! middle of `dlopen`; no panic fence helps against that.
//!
//! # Not here
//! Anything else about the file: what is no ELF file, or one for another machine, is left to the linker, which refuses
//! it in words. A file with wrong bytes inside cannot be recognised.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const HEADER_LEN: usize = 64;
const PROGRAM_HEADER_LEN: usize = 56;
const CLASS_64: u8 = 2;
const DATA_LITTLE: u8 = 1;
const DATA_BIG: u8 = 2;
const OWN_DATA: u8 = if cfg!(target_endian = "little") { DATA_LITTLE } else { DATA_BIG };
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_PROPERTY: u32 = 0x6474_e553;

/// How much of a file the linker would load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It is no library for this machine, which the linker says in words.
    NoLibrary,
    /// The file is shorter than its headers say.
    Short { needed: u64, has: u64 },
    /// So many bytes from its beginning; what is behind them is not loaded.
    Whole { needed: u64 },
}

pub(crate) fn extent(file: &File) -> io::Result<Extent> {
    let has = file.metadata()?.len();
    let mut header = [0; HEADER_LEN];
    if has < HEADER_LEN as u64 {
        // The linker reads this much before it maps anything, and refuses it in words.
        return Ok(Extent::NoLibrary);
    }
    file.read_exact_at(&mut header, 0)?;
    if !header.starts_with(b"\x7fELF") || header[4] != CLASS_64 || header[5] != OWN_DATA {
        return Ok(Extent::NoLibrary);
    }
    let (start, count) = (u64_at(&header, 32), u64::from(u16_at(&header, 56)));
    if usize::from(u16_at(&header, 54)) != PROGRAM_HEADER_LEN {
        return Ok(Extent::NoLibrary);
    }
    let mut needed = start.saturating_add(count * PROGRAM_HEADER_LEN as u64).max(HEADER_LEN as u64);
    if needed > has {
        return Ok(Extent::Short { needed, has });
    }
    for at in 0..count {
        let mut segment = [0; PROGRAM_HEADER_LEN];
        file.read_exact_at(&mut segment, start + at * PROGRAM_HEADER_LEN as u64)?;
        // Notes and the like lie within what is loaded; if they do not, they are read from the file all the same.
        if matches!(u32_at(&segment, 0), PT_LOAD | PT_DYNAMIC | PT_NOTE | PT_PROPERTY) {
            needed = needed.max(u64_at(&segment, 8).saturating_add(u64_at(&segment, 32)));
        }
    }
    Ok(if needed > has { Extent::Short { needed, has } } else { Extent::Whole { needed } })
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut found = [0; N];
    found.copy_from_slice(&bytes[at..at + N]);
    found
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent_of(bytes: &[u8]) -> Extent {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.so");
        std::fs::write(&path, bytes).unwrap();
        extent(&File::open(&path).unwrap()).unwrap()
    }

    /// The test program itself is an ELF file with everything in it.
    #[test]
    fn a_file_is_whole_or_says_how_much_is_missing() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let Extent::Whole { needed: all } = extent_of(&program) else { panic!("it runs") };
        assert!(all <= program.len() as u64);
        assert_eq!(extent_of(&program[..usize::try_from(all).unwrap()]), Extent::Whole { needed: all });
        for len in [HEADER_LEN, 100, 40_000, program.len() / 10] {
            let Extent::Short { needed, has } = extent_of(&program[..len]) else { panic!("cut at {len}") };
            assert_eq!(has, len as u64);
            assert!(needed > has && needed <= program.len() as u64, "{needed}");
        }
    }

    #[test]
    fn what_is_no_library_is_left_to_the_linker() {
        let mut other_class = b"\x7fELF\x01\x01\x01".to_vec();
        other_class.resize(200, 0xff);
        for text in [&b""[..], b"hello", &[0; 100], &other_class] {
            assert_eq!(extent_of(text), Extent::NoLibrary);
        }
        let mut absurd = b"\x7fELF\x02".to_vec();
        absurd.push(OWN_DATA);
        absurd.resize(HEADER_LEN, 0xff);
        absurd[54..56].copy_from_slice(&(PROGRAM_HEADER_LEN as u16).to_ne_bytes());
        assert_eq!(extent_of(&absurd), Extent::Short { needed: u64::MAX, has: HEADER_LEN as u64 });
    }
}
