//! Zeros ahead of the end of a segment, for those who wait for one sync after the other.
//!
//! A segment is reserved when it is begun, and the file system remembers of each of its blocks that nothing was written there yet. The sync of
//! the first write into a block has to change that, which takes a write to the file system's own journal: twice the time that the sync of a block needs that
//! was written before. One session that sends message after message, and waits for each, waits for nothing as long as for that. So when
//! a message comes alone, soon after another that came alone, zeros are written behind it, up to the next multiple of [`STRIDE`], and the messages
//! that follow find their blocks written.
//!
//! The price is that each octet is written twice, once as zero, in the place of what the file system would have written to its journal. That is for those who
//! come alone only: a group shares all of this.
//!
//! Nothing of it is in the format: what is not written yet reads as zero, whether it was written as zero or not at all. So a write of zeros that
//! fails is no trouble of anybody's.
//!
//! # Not here
//! The sync (`segments`).

use std::io::IoSlice;
use std::time::Duration;

use super::segments::PAGE;
use super::{OpenFile, Writer};
use crate::batch::Batch;

/// Zeros are written up to a multiple of this: a dozen messages of 4 KiB. What the first of them waits longer is a small part of what the others save.
const STRIDE: usize = 64 << 10;

/// How soon a message has to follow another.
const SOON: Duration = Duration::from_millis(20);

/// What is written ahead, a page at a time. Of a long write the file system's cache makes one folio, and all of that becomes dirty, and
/// counts as written, whenever a message is written into it.
static ZEROS: [u8; PAGE] = [0; PAGE];

impl Writer {
    /// Whether a batch is a message that came alone, soon after another; of which notice is taken.
    pub(super) fn follows_alone(&mut self, batch: &Batch) -> bool {
        if batch.commits.is_empty() {
            return false;
        }
        let gathering = &self.shared.gathering;
        let is_alone = batch.commits.len() == 1 && gathering.on_their_way() == 0 && gathering.arrived() == 0;
        let last = std::mem::replace(&mut self.alone_at, is_alone.then_some(self.now));
        is_alone && last.is_some_and(|at| self.now.saturating_duration_since(at) <= SOON)
    }
}

impl OpenFile {
    /// Writes zeros from the first page behind what is written to the end of its stride, unless that was written before.
    pub(super) fn write_ahead(&mut self) {
        if self.written <= self.laid {
            return;
        }
        let end = self.written.next_multiple_of(STRIDE).min(self.size);
        for page in (self.written.next_multiple_of(PAGE)..end).step_by(PAGE) {
            let zeros = &ZEROS[..PAGE.min(end - page)];
            if self.file.write_at(page as u64, &[IoSlice::new(zeros)]).is_err() {
                break;
            }
        }
        self.laid = end;
    }
}
