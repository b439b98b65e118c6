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
use std::path::Path;

const HEADER_LEN: usize = 64;
const PROGRAM_HEADER_LEN: usize = 56;
const CLASS_64: u8 = 2;
const DATA_LITTLE: u8 = 1;
const DATA_BIG: u8 = 2;
const OWN_DATA: u8 = if cfg!(target_endian = "little") { DATA_LITTLE } else { DATA_BIG };
const PT_LOAD: u32 = 1;

/// The length the file needs and does not have, with the one it has: `Some((needed, has))`.
pub(crate) fn cut_short(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let file = File::open(path)?;
    let has = file.metadata()?.len();
    let missing = |needed: u64| (needed > has).then_some((needed, has));
    let mut header = [0; HEADER_LEN];
    if has < HEADER_LEN as u64 {
        // The linker reads this much before it maps anything, and refuses it in words.
        return Ok(None);
    }
    file.read_exact_at(&mut header, 0)?;
    if !header.starts_with(b"\x7fELF") || header[4] != CLASS_64 || header[5] != OWN_DATA {
        return Ok(None);
    }
    let (start, count) = (u64_at(&header, 32), u64::from(u16_at(&header, 56)));
    if usize::from(u16_at(&header, 54)) != PROGRAM_HEADER_LEN {
        return Ok(None);
    }
    let end = start.saturating_add(count * PROGRAM_HEADER_LEN as u64);
    if let Some(short) = missing(end) {
        return Ok(Some(short));
    }
    let mut needed = 0;
    for at in 0..count {
        let mut segment = [0; PROGRAM_HEADER_LEN];
        file.read_exact_at(&mut segment, start + at * PROGRAM_HEADER_LEN as u64)?;
        if u32_at(&segment, 0) == PT_LOAD {
            needed = needed.max(u64_at(&segment, 8).saturating_add(u64_at(&segment, 32)));
        }
    }
    Ok(missing(needed))
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

    /// The test program itself is an ELF file with everything in it.
    #[test]
    fn a_file_is_whole_or_says_how_much_is_missing() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.so");
        let cut = |len: usize| {
            std::fs::write(&path, &program[..len]).unwrap();
            cut_short(&path).unwrap()
        };
        assert_eq!(cut(program.len()), None);
        for len in [HEADER_LEN, 100, 40_000, program.len() / 10] {
            let (needed, has) = cut(len).expect("it is cut short");
            assert_eq!(has, len as u64);
            assert!(needed > has && needed <= program.len() as u64, "{needed}");
        }
    }

    #[test]
    fn what_is_no_library_is_left_to_the_linker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.so");
        let mut other_class = b"\x7fELF\x01\x01\x01".to_vec();
        other_class.resize(200, 0xff);
        for text in [&b""[..], b"hello", &[0; 100], &other_class] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(cut_short(&path).unwrap(), None);
        }
        let mut absurd = b"\x7fELF\x02".to_vec();
        absurd.push(OWN_DATA);
        absurd.resize(HEADER_LEN, 0xff);
        absurd[54..56].copy_from_slice(&(PROGRAM_HEADER_LEN as u16).to_ne_bytes());
        std::fs::write(&path, &absurd).unwrap();
        assert_eq!(cut_short(&path).unwrap(), Some((u64::MAX, HEADER_LEN as u64)));
    }
}
