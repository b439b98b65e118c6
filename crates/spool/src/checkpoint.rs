//! Checkpoints: the live index written out, so that a start costs by what waits and not by what ever passed through.
//!
//! A [`Cut`] is the line a checkpoint stands for: the writer has closed its journal file there and told which entries
//! were live and how far segments are accounted for. The owner brings the states. Nothing that the spool knows to be
//! live is left out of a checkpoint: an entry that the owner does not list (its commit was just being announced) is
//! written without a state.
//!
//! The two newest checkpoints are kept, with the journals since the older one. When the newest turns out to be damaged,
//! the one before it and the journals give exactly the same index.

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::books::LiveRows;
use crate::error::CheckpointError;
use crate::ids::{EntryId, Location};
use crate::record::{self, FORMAT_VERSION, FileHeader, FileKind, Kind, Reader, Stamp};
use crate::spool::Shared;
use crate::storage::File;

/// Head of the first record.
pub(crate) const BEGIN_HEAD_LEN: usize = 24;
/// Fixed part of an entry's head.
pub(crate) const ENTRY_HEAD_LEN: usize = 32;
/// Head of the last record.
pub(crate) const END_HEAD_LEN: usize = 16;

/// Bytes gathered before they are written.
const WRITE_SIZE: usize = 1 << 20;

/// Checkpoints kept.
const KEPT: usize = 2;

/// The files of this kind that exist: their numbers and the last journal each makes superfluous, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Checkpointer {
    pub(crate) next: u32,
    pub(crate) valid: Vec<(u32, u32)>,
    /// Journals that the disk has not given back whole: they are moved aside and not removed.
    pub(crate) aside: HashSet<u32>,
}

/// What the first record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Journals up to this number are contained in the checkpoint.
    pub(crate) journal: u32,
    /// Messages from here on are not.
    pub(crate) scan: Location,
    /// No id from here on was handed out.
    pub(crate) next_id: u64,
}

impl Begin {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(BEGIN_HEAD_LEN);
        for value in [self.journal, self.scan.segment, self.scan.offset, 0] {
            head.extend_from_slice(&value.to_le_bytes());
        }
        head.extend_from_slice(&self.next_id.to_le_bytes());
        head
    }

    pub(crate) fn decode(head: &[u8]) -> Option<Begin> {
        let mut reader = Reader::new(head);
        let journal = reader.u32()?;
        let scan = Location { segment: reader.u32()?, offset: reader.u32()? };
        reader.u32()?;
        Some(Begin { journal, scan, next_id: reader.u64()? })
    }
}

/// A live entry, as the spool knows it without the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveRow {
    pub(crate) at: Location,
    pub(crate) body_len: u64,
    /// Other segments that hold chunks of the body.
    pub(crate) spread: Box<[u32]>,
}

/// The head of an entry record.
pub(crate) fn encode_entry(id: EntryId, row: &LiveRow, state: Option<&[u8]>) -> Vec<u8> {
    let state_bytes = state.unwrap_or(&[]);
    let mut head = Vec::with_capacity(ENTRY_HEAD_LEN + row.spread.len() * 4 + state_bytes.len());
    head.extend_from_slice(&id.0.to_le_bytes());
    head.extend_from_slice(&row.at.segment.to_le_bytes());
    head.extend_from_slice(&row.at.offset.to_le_bytes());
    head.extend_from_slice(&row.body_len.to_le_bytes());
    head.extend_from_slice(&(row.spread.len() as u32).to_le_bytes());
    head.extend_from_slice(&u32::from(state.is_some()).to_le_bytes());
    for segment in &row.spread {
        head.extend_from_slice(&segment.to_le_bytes());
    }
    head.extend_from_slice(state_bytes);
    head
}

/// The opposite; `None` when the layout does not fit. With a state comes where in the head it begins; it goes to the end.
pub(crate) fn decode_entry(head: &[u8]) -> Option<(EntryId, LiveRow, Option<usize>)> {
    let mut reader = Reader::new(head);
    let id = EntryId(reader.u64()?);
    let at = Location { segment: reader.u32()?, offset: reader.u32()? };
    let body_len = reader.u64()?;
    let count = reader.u32()? as usize;
    let has_state = reader.u32()? == 1;
    let table = reader.bytes(count.checked_mul(4)?)?;
    let spread = table.chunks_exact(4).map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]])).collect();
    Some((id, LiveRow { at, body_len, spread }, has_state.then_some(ENTRY_HEAD_LEN + table.len())))
}

/// The head of the last record: how many records of each kind came before it.
pub(crate) fn encode_end(entries: u64, notes: u64) -> [u8; END_HEAD_LEN] {
    let mut head = [0; END_HEAD_LEN];
    head[..8].copy_from_slice(&entries.to_le_bytes());
    head[8..].copy_from_slice(&notes.to_le_bytes());
    head
}

/// What the writer tells at a cut.
pub(crate) struct Line {
    pub(crate) begin: Begin,
    pub(crate) live: LiveRows,
    /// What the counter said at the cut.
    pub(crate) journal_bytes: u64,
}

/// The line a checkpoint stands for, drawn by [`Spool::cut`](crate::Spool::cut). Dropping it changes nothing.
pub struct Cut {
    shared: Arc<Shared>,
    line: Line,
}

impl Cut {
    pub(crate) fn new(shared: Arc<Shared>, line: Line) -> Cut {
        Cut { shared, line }
    }

    /// Writes the checkpoint: to a new file, synced, then renamed, then the folder synced; only then are the files that
    /// it replaces removed.
    ///
    /// `entries` must list every entry that has a state, with its state at the cut or any later one. What was removed
    /// meanwhile may be listed, it is left out. `notes` replace all notes given before the cut.
    pub fn write<S: AsRef<[u8]>, N: AsRef<[u8]>>(
        mut self,
        entries: impl IntoIterator<Item = (EntryId, Location, S)>,
        notes: impl IntoIterator<Item = N>,
    ) -> Result<(), CheckpointError> {
        let number = {
            let mut checkpointer = self.shared.checkpointer.lock();
            let number = checkpointer.next;
            checkpointer.next = number.saturating_add(1);
            number
        };
        let name = FileKind::Checkpoint.name(number);
        let temporary = format!("{name}.new");
        let result = self.write_file(&temporary, number, entries, notes).and_then(|()| {
            self.shared.storage.rename(&temporary, &name)?;
            self.shared.storage.sync_dir()
        });
        if let Err(source) = result {
            // Best effort: recovery removes what stays.
            let _ = self.shared.storage.remove(&temporary);
            return Err(CheckpointError::Write { path: self.shared.storage.path(&name), source });
        }
        self.shared.counters.journal_bytes.fetch_sub(self.line.journal_bytes, Ordering::Relaxed);
        self.drop_superseded(number);
        Ok(())
    }

    fn write_file<S: AsRef<[u8]>, N: AsRef<[u8]>>(
        &mut self,
        temporary: &str,
        number: u32,
        entries: impl IntoIterator<Item = (EntryId, Location, S)>,
        notes: impl IntoIterator<Item = N>,
    ) -> io::Result<()> {
        let spool_id = self.shared.spool_id;
        let header =
            FileHeader { kind: FileKind::Checkpoint, version: FORMAT_VERSION, number, spool_id, size: 0 };
        let stamp = Stamp::new(spool_id, FileKind::Checkpoint, number);
        let file = self.shared.storage.create(temporary, 0)?;
        let mut out = Output { file, offset: 0, buffer: header.encode().to_vec(), stamp };
        out.record(Kind::Begin, &self.line.begin.encode())?;
        let (mut entry_count, mut note_count) = (0, 0);
        for (id, _, state) in entries {
            if let Some(row) = self.line.live.take(id) {
                out.record(Kind::Entry, &encode_entry(id, &row, Some(state.as_ref())))?;
                entry_count += 1;
            }
        }
        for (id, row) in self.line.live.rest() {
            out.record(Kind::Entry, &encode_entry(id, &row, None))?;
            entry_count += 1;
        }
        for note in notes {
            out.record(Kind::Note, note.as_ref())?;
            note_count += 1;
        }
        out.record(Kind::End, &encode_end(entry_count, note_count))?;
        out.finish()
    }

    /// Removes checkpoints but the two newest, and the journals that the older of them contains.
    fn drop_superseded(&self, number: u32) {
        let storage = &self.shared.storage;
        let (oldest, journal) = {
            let mut checkpointer = self.shared.checkpointer.lock();
            checkpointer.valid.push((number, self.line.begin.journal));
            let surplus = checkpointer.valid.len().saturating_sub(KEPT);
            checkpointer.valid.drain(..surplus);
            checkpointer.valid.first().copied().unwrap_or((number, 0))
        };
        // The very first checkpoint has none before it to fall back to, so its journals stay as well.
        let journal = if self.shared.checkpointer.lock().valid.len() < KEPT { 0 } else { journal };
        let listed = match storage.list() {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "cannot list the spool folder; old journals stay until the next checkpoint");
                return;
            }
        };
        let mut has_moved = false;
        for file in listed {
            let kind = FileKind::of_name(&file.name);
            let superseded = match kind {
                Some((FileKind::Checkpoint, n)) => n < oldest,
                Some((FileKind::Journal, n)) => n <= journal,
                _ => false,
            };
            if !superseded {
                continue;
            }
            let goes_aside = match kind {
                Some((FileKind::Journal, number)) => self.shared.checkpointer.lock().aside.contains(&number),
                _ => false,
            };
            let gone = match goes_aside {
                // What the disk keeps back of it may say which messages were settled.
                true => storage.rename(&file.name, &format!("quarantine/{}", file.name)),
                false => storage.remove(&file.name),
            };
            has_moved |= goes_aside && gone.is_ok();
            if let Err(error) = gone {
                tracing::warn!(%error, file = file.name, "cannot remove a file that is not needed any more");
            }
        }
        if has_moved && let Err(error) = storage.sync_dir() {
            tracing::warn!(%error, "a journal that was moved into quarantine may be back after a crash");
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.shared.checkpoint_running.store(false, Ordering::Release);
    }
}

/// A file that is written from start to end.
struct Output {
    file: Box<dyn File>,
    offset: u64,
    buffer: Vec<u8>,
    stamp: Stamp,
}

impl Output {
    fn record(&mut self, kind: Kind, head: &[u8]) -> io::Result<()> {
        record::write_record(&mut self.buffer, self.stamp, kind, head);
        if self.buffer.len() >= WRITE_SIZE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.offset, &[IoSlice::new(&self.buffer)])?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()
    }
}
