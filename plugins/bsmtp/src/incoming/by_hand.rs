//! Batches that somebody has made by hand: a file that no manifest belongs to, known by its octets and when it was written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use sha2::{Digest, Sha256};
use sluice_durable::{Trouble, Unread};

use super::{BUFFER, Incoming};
use crate::outgoing::digits;

impl Incoming {
    /// Copies a batch that was made by hand to our own disk.
    pub(super) fn fetch_plain(&self, name: &str) -> Result<Option<String>, Trouble> {
        if name.chars().any(char::is_control) {
            self.wait(
                name,
                format!("`{}` is passed over: its name has control characters", name.escape_debug()),
            );
            return Ok(None);
        }
        let path = self.carrier.join(name);
        let opened = match sluice_durable::open(&path) {
            Ok((file, size)) if size <= self.limits.batch => Ok((file, size)),
            Ok((_, size)) => Err(Unread::TooLarge(size).to_string()),
            Err(Unread::Failed(trouble)) if trouble.is_missing() => return Ok(None),
            Err(Unread::Failed(trouble)) => return Err(trouble),
            Err(why) => Err(why.to_string()),
        };
        let (file, size) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.put_bad(&[name.to_owned()], &why)?;
                return Ok(None);
            }
        };
        let read = |error| Trouble { what: "cannot read", path: path.clone(), error };
        let id = id_by_hand(&file, size).map_err(read)?;
        if self.has_taken(&id) {
            self.clear(&[name.to_owned()])?;
            return Ok(None);
        }
        sluice_durable::replace(&self.file(&id, "manifest"), |out| writeln!(out, "by hand: {name}"))?;
        let copied = sluice_durable::write(&self.file(&id, "whole"), |out| {
            // The file that was looked at: another may have its name by now.
            let mut file = &file;
            file.seek(SeekFrom::Start(0))?;
            match io::copy(&mut file.take(size.saturating_add(1)), out)? == size {
                true => Ok(()),
                false => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} is being written"))),
            }
        });
        match copied {
            Err(trouble) if !trouble.is_taken() => Err(trouble),
            _ => Ok(Some(id)),
        }
    }
}

/// By what a batch that was made by hand is known: its first `size` octets, and when it was written.
pub(super) fn id_by_hand(file: &File, size: u64) -> io::Result<String> {
    let changed = file.metadata()?.mtime();
    let sum = sum_of(&mut file.take(size))?;
    Ok(format!("hand-{}-{changed}", &sum[..16]))
}

fn sum_of(file: &mut impl Read) -> io::Result<String> {
    let (mut sum, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digits(&sum.finalize())),
            count => sum.update(&buffer[..count]),
        }
    }
}
