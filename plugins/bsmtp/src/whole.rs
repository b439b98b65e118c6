//! The file of a batch: how far one that grows is whole (a crash may have left half a message at its end), what goes into it, and whether one that is
//! complete is cut as its manifest says.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use crate::manifest::Manifest;
use crate::outgoing::digits;
use crate::text::{self, Limits, Reader};
use sha2::{Digest, Sha256};

/// Room in which a batch is read.
const BUFFER: usize = 64 << 10;

/// How many whole messages a batch of ours has, and where the last of them ends.
pub(crate) fn whole_messages(file: &File) -> io::Result<(u64, u64)> {
    let limits = Limits { message: u64::MAX, batch: u64::MAX };
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER, file), limits);
    let (mut messages, mut end) = (0, None);
    loop {
        match reader.next() {
            Ok(Some(_)) => {
                messages += 1;
                end = Some(reader.position());
            }
            Err(text::Unreadable::Failed(error)) => return Err(error),
            // Behind the last message: its end, `QUIT`, or what a crash has left of another.
            Ok(None) | Err(text::Unreadable::Ends(..)) => {
                return Ok((messages, end.unwrap_or_else(|| reader.head())));
            }
            // No crash leaves that, and what stands behind it has been settled: nothing is cut off.
            Err(why @ text::Unreadable::Bad(..)) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, why.to_string()));
            }
        }
    }
}

/// Whether a manifest has the parts that a batch is cut into now.
pub(crate) fn is_cut_so(file: &File, size: u64, part_size: u64, manifest: &Manifest) -> io::Result<bool> {
    if manifest.parts.len() as u64 != size.div_ceil(part_size).max(1) {
        return Ok(false);
    }
    // As many parts, and perhaps others: the first tells.
    let (mut sum, mut first) = (Sha256::new(), file.take(part_size));
    io::copy(&mut first, &mut sum)?;
    Ok(manifest.parts.first().is_some_and(|(digits_of, _)| *digits_of == digits(&sum.finalize())))
}

/// Counts what goes to a file.
pub(crate) struct Counted<'f> {
    pub(crate) file: &'f File,
    pub(crate) octets: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let count = self.file.write(octets)?;
        self.octets += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(batch: &str) -> io::Result<(u64, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(batch.as_bytes()).unwrap();
        whole_messages(&file)
    }

    #[test]
    fn only_what_a_crash_has_left_is_cut_off() {
        let one = "EHLO h\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n";
        let whole = one.len() as u64;
        // A crash within the second message, after each of its octets.
        for count in 0..one.len() - 1 {
            assert_eq!(found(&format!("{one}{}", &one[..count])).unwrap(), (1, whole), "{count}");
        }
        assert_eq!(found("EHLO h\r\nMAIL").unwrap(), (0, 8));
        let long = format!("{one}MAIL FROM:<a@b>\r\nRCPT TO:<{}@d>\r\nDATA\r\n.\r\n", "x".repeat(600));
        for odd in [long, format!("{one}SOMETHING\r\n{one}"), format!("EHLO h\u{fc}\r\n{one}")] {
            assert_eq!(found(&odd).unwrap_err().kind(), io::ErrorKind::InvalidData, "{odd}");
        }
    }
}
