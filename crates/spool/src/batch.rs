//! What one group commit writes, gathered without copying bodies.
//!
//! Headers, heads and padding are encoded into one arena that is used again and again; bodies stay in the buffers they
//! arrived in. One list of slices over both goes to `pwritev`.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::checkpoint::LiveRow;
use crate::draft::DraftState;
use crate::error::SealError;
use crate::ids::Location;
use crate::request::Promise;

enum Slice {
    Arena(Range<usize>),
    Body(Arc<Vec<u8>>, Range<usize>),
}

/// A message that is accepted when the batch is on the disk.
pub(crate) struct Committing {
    /// Held until then: its pins keep the segments of its chunks.
    pub(crate) draft: Arc<DraftState>,
    pub(crate) row: LiveRow,
    pub(crate) done: Promise<Location>,
}

/// Records for the open segment, and who waits for them.
#[derive(Default)]
pub(crate) struct Batch {
    arena: Vec<u8>,
    slices: Vec<Slice>,
    len: usize,
    /// Told after the write.
    pub(crate) chunks: Vec<Promise<()>>,
    /// Told after the sync.
    pub(crate) commits: Vec<Committing>,
    /// It is synced though nobody waits for a commit.
    pub(crate) must_sync: bool,
}

impl Batch {
    /// Bytes to be written.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes are to be written. Somebody may wait all the same, for an empty chunk.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is nothing to do for anybody.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && self.chunks.is_empty() && self.commits.is_empty()
    }

    /// Appends what `encode` writes.
    pub(crate) fn arena(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        encode(&mut self.arena);
        let end = self.arena.len();
        self.len += end - start;
        match self.slices.last_mut() {
            Some(Slice::Arena(range)) if range.end == start => range.end = end,
            _ => self.slices.push(Slice::Arena(start..end)),
        }
    }

    /// Appends a stretch of somebody's buffer.
    pub(crate) fn body(&mut self, bytes: &Arc<Vec<u8>>, range: Range<usize>) {
        if !range.is_empty() {
            self.len += range.len();
            self.slices.push(Slice::Body(Arc::clone(bytes), range));
        }
    }

    /// All of it, for one `pwritev`.
    pub(crate) fn io_slices(&self) -> Vec<IoSlice<'_>> {
        let bytes = self.slices.iter().map(|slice| match slice {
            Slice::Arena(range) => &self.arena[range.clone()],
            Slice::Body(bytes, range) => &bytes[range.clone()],
        });
        bytes.map(IoSlice::new).collect()
    }

    /// Forgets the bytes (they were written, or never will be) and keeps the arena's memory.
    pub(crate) fn clear_bytes(&mut self) {
        self.arena.clear();
        self.slices.clear();
        self.len = 0;
    }

    /// Tells everybody that it failed.
    pub(crate) fn refuse_all(&mut self, error: &SealError, refused: &AtomicU64) {
        refused.fetch_add(self.commits.len() as u64, Ordering::Relaxed);
        for done in self.chunks.drain(..) {
            done.keep(Err(error.clone()));
        }
        for committing in self.commits.drain(..) {
            committing.done.keep(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arena_and_bodies_come_out_in_order() {
        let mut batch = Batch::default();
        let body = Arc::new(b"0123456789".to_vec());
        batch.arena(|arena| arena.extend_from_slice(b"a"));
        batch.arena(|arena| arena.extend_from_slice(b"b"));
        batch.body(&body, 2..4);
        batch.body(&body, 4..4);
        batch.arena(|arena| arena.extend_from_slice(b"c"));
        let slices: Vec<Vec<u8>> = batch.io_slices().iter().map(|slice| slice.to_vec()).collect();
        assert_eq!(slices, [b"ab".to_vec(), b"23".to_vec(), b"c".to_vec()]);
        assert_eq!(batch.len(), 5);
        batch.clear_bytes();
        assert!(batch.is_empty() && batch.io_slices().is_empty());
    }
}
