//! Files that a child was sent: segments, each once, and memfds for content that lies in none.
//!
//! The hub keeps no descriptor: it opens a segment, sends it, and remembers its number. A segment whose name is gone is
//! forgotten, so that the child does not keep its room on the disk.

use crate::wire::Piece;
use rustix::fs::{MemfdFlags, SealFlags};
use sluice_host::{Content, Place};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

/// Most segments that a child has at a time. Above it the one that was sent first is forgotten, and sent again when it is needed.
const SEGMENTS_MAX: usize = 64;

/// What a child is to be sent before a lease, in order.
pub(crate) enum Shipment {
    /// A file under a key, and its length.
    File(u32, u64, File),
    /// The key is not named any more, after this lease.
    Forget(u32),
}

/// What one child has.
#[derive(Default)]
pub(crate) struct Files {
    segments: HashMap<u32, Sent>,
    last: u32,
}

struct Sent {
    key: u32,
    length: u64,
    path: PathBuf,
}

impl Files {
    fn key(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// The places of a content, as the child will know them, once it has what is to be sent before and forgotten after.
    pub(crate) fn pieces(
        &mut self,
        content: &dyn Content,
        before: &mut Vec<Shipment>,
        after: &mut Vec<Shipment>,
    ) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut is_lost = false;
        let is_placed = content.places(&mut |place| match self.place(place, before, after) {
            Some(piece) => pieces.push(piece),
            None => is_lost = true,
        });
        if is_placed && !is_lost {
            return Ok(pieces);
        }
        // In no file, or in one that has no name any more.
        let (file, length) = sealed(content)?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let key = self.key();
        before.push(Shipment::File(key, length, file));
        after.push(Shipment::Forget(key));
        Ok(vec![Piece { key, offset: 0, length }])
    }

    fn place(
        &mut self,
        place: Place<'_>,
        before: &mut Vec<Shipment>,
        after: &mut Vec<Shipment>,
    ) -> Option<Piece> {
        let Place { file: number, path, offset, length } = place;
        let end = offset.checked_add(length)?;
        let key = match self.segments.get(&number) {
            Some(sent) if sent.path == path && end <= sent.length => sent.key,
            _ => {
                let file = File::open(path).ok()?;
                let is = file.metadata().ok()?.len();
                if end > is {
                    return None;
                }
                let key = self.key();
                let sent = Sent { key, length: is, path: path.to_owned() };
                if let Some(old) = self.segments.insert(number, sent) {
                    after.push(Shipment::Forget(old.key));
                }
                if self.segments.len() > SEGMENTS_MAX
                    && let Some(first) =
                        self.segments.iter().min_by_key(|(_, sent)| sent.key).map(|(number, _)| *number)
                    && let Some(old) = self.segments.remove(&first)
                {
                    after.push(Shipment::Forget(old.key));
                }
                before.push(Shipment::File(key, is, file));
                key
            }
        };
        Some(Piece { key, offset, length })
    }

    /// Keys of segments that have no name any more.
    pub(crate) fn gone(&mut self) -> Vec<u32> {
        let mut gone = Vec::new();
        self.segments.retain(|_, sent| {
            let is_there = sent.path.exists();
            if !is_there {
                gone.push(sent.key);
            }
            is_there
        });
        gone
    }
}

/// A copy of a content that nobody can change any more, and its length.
fn sealed(content: &dyn Content) -> io::Result<(File, u64)> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create(c"sluice-content", flags)?);
    let (mut length, mut failed) = (0, None);
    content.pieces(&mut |piece| {
        if failed.is_none() {
            failed = file.write_all(piece).err();
            length += piece.len() as u64;
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok((file, length))
}
