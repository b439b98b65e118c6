//! The writer's journal: transitions that wait, and how they reach the disk however often it fails.

use std::collections::HashSet;
use std::io::IoSlice;
use std::sync::atomic::Ordering;

use super::Writer;
use crate::error::SealError;
use crate::record::{self, FileKind};
use crate::request::Transition;

impl Writer {
    /// Brings the pending transitions to the disk. True when none is left.
    pub(super) fn flush_journal(&mut self) -> bool {
        self.urgent = false;
        self.lazy_deadline = None;
        // From here on a lazy transition wakes the writer again. What came before has been taken or is in the queue,
        // which is looked at before the writer sleeps.
        self.shared.patience.ends();
        if let Err(error) = self.write_pending() {
            self.condition(FileKind::Journal, Some(error.clone()));
            for transition in &mut self.pending {
                transition.tell(Err(error.clone()));
            }
            self.compact_pending();
            return false;
        }
        self.condition(FileKind::Journal, None);
        self.reap();
        true
    }

    fn write_pending(&mut self) -> Result<(), SealError> {
        if self.retry_at.is_some()
            && let Some(error) = self.shared.health.lock().journal.clone()
        {
            return Err(error);
        }
        while !self.pending.is_empty() {
            let count = self.write_some_pending()?;
            for transition in self.pending.drain(..count) {
                transition.finish(Ok(()));
            }
        }
        Ok(())
    }

    /// As many transitions as fit into the open journal file, in one write and one sync. Returns how many.
    fn write_some_pending(&mut self) -> Result<usize, SealError> {
        if self.journal.is_none() {
            // Whatever its size, the first one fits, so every file that is begun takes us on.
            let first = self.pending.iter().map(Transition::record_len).find(|len| *len > 0);
            if let Some(len) = first {
                self.journal = Some(self.begin_file(FileKind::Journal, len)?);
            }
        }
        let Some(open) = &mut self.journal else {
            return Ok(self.pending.len());
        };
        let mut buffer = Vec::new();
        let mut count = 0;
        for transition in &self.pending {
            if open.written + buffer.len() + transition.record_len() > open.size {
                break;
            }
            if let Some(fact) = transition.fact() {
                let start = record::open(&mut buffer, open.stamp);
                fact.encode(&mut buffer);
                record::seal(&mut buffer, start, open.stamp, fact.kind(), (0, 0));
                buffer.extend_from_slice(record::padding(fact.head_len(), 0));
            }
            count += 1;
        }
        if count < self.pending.len() && count == 0 {
            // Full. What does not fit into an empty file was refused when it was asked for.
            self.journal = None;
            return Ok(0);
        }
        if buffer.is_empty() {
            return Ok(count);
        }
        let path = self.shared.storage.path(&FileKind::Journal.name(open.number));
        let result = open
            .file
            .write_at(open.written as u64, &[IoSlice::new(&buffer)])
            .map_err(|error| SealError::write(path.clone(), error))
            .and_then(|()| open.file.sync().map_err(|error| SealError::sync(path, error)));
        if let Err(error) = result {
            let void = Transition::void(FileKind::Journal, open.number, open.synced as u32);
            self.pending.insert(0, void);
            self.journal = None;
            return Err(error);
        }
        open.written += buffer.len();
        open.synced = open.written;
        let counters = &self.shared.counters;
        counters.journal_syncs.fetch_add(1, Ordering::Relaxed);
        counters.journalled.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        counters.journal_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(count)
    }

    /// Keeps only the last word on each entry, so that a disk that stays full costs memory by the number of entries and
    /// not by the number of attempts.
    fn compact_pending(&mut self) {
        let mut said = HashSet::new();
        let mut kept: Vec<Transition> = Vec::with_capacity(self.pending.len());
        for transition in self.pending.drain(..).rev() {
            let superseded = transition.entry().is_some_and(|id| !said.insert(id));
            if !superseded && transition.record_len() > 0 {
                kept.push(transition);
            }
        }
        kept.reverse();
        self.pending = kept;
    }
}
