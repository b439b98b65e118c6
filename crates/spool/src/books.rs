//! Which segments are still needed, and by whom.
//!
//! A segment is needed while a live entry has its record in it, while a live entry has a chunk of its body in it, or
//! while a draft has written a chunk to it. Only the writer thread has the books, so there is no lock. An entry costs a
//! line in a hash map (some thirty bytes); states are the owner's and are not here.
//!
//! Not here: *when* a segment may go. It goes only after the removals are durable (`writer`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::checkpoint::LiveRow;
use crate::ids::{EntryId, Location};

#[derive(Default)]
struct Book {
    entries: HashMap<EntryId, Line>,
    /// Entries with chunks here and their record elsewhere.
    refs: usize,
    /// Cloned by drafts with chunks here.
    pin: Arc<()>,
}

struct Line {
    offset: u32,
    body_len: u64,
}

/// The books of all segments.
#[derive(Default)]
pub(crate) struct Books {
    segments: BTreeMap<u32, Book>,
    /// Other segments of the few entries that have chunks.
    spread: HashMap<EntryId, Box<[u32]>>,
    entries: usize,
}

impl Books {
    /// Opens the book of a segment file that exists.
    pub(crate) fn open(&mut self, segment: u32) {
        self.segments.entry(segment).or_default();
    }

    /// Keeps a segment for good: damage in it could not be copied anywhere else.
    pub(crate) fn keep(&mut self, segment: u32) {
        self.segments.entry(segment).or_default().refs += 1;
    }

    /// Notes a live entry.
    pub(crate) fn insert(&mut self, id: EntryId, row: &LiveRow) {
        let line = Line { offset: row.at.offset, body_len: row.body_len };
        let book = self.segments.entry(row.at.segment).or_default();
        if book.entries.insert(id, line).is_some() {
            return;
        }
        self.entries += 1;
        if !row.spread.is_empty() {
            for segment in &row.spread {
                self.segments.entry(*segment).or_default().refs += 1;
            }
            self.spread.insert(id, row.spread.clone());
        }
    }

    /// Whether an entry is live and there.
    pub(crate) fn has(&self, id: EntryId, at: Location) -> bool {
        self.segments.get(&at.segment).is_some_and(|book| book.entries.contains_key(&id))
    }

    /// Strikes an entry out. False when it was not live.
    pub(crate) fn remove(&mut self, id: EntryId, at: Location) -> bool {
        let Some(book) = self.segments.get_mut(&at.segment) else { return false };
        if book.entries.remove(&id).is_none() {
            return false;
        }
        self.entries -= 1;
        for segment in self.spread.remove(&id).unwrap_or_default() {
            if let Some(book) = self.segments.get_mut(&segment) {
                book.refs = book.refs.saturating_sub(1);
            }
        }
        true
    }

    /// A pin that keeps a segment while somebody holds it.
    pub(crate) fn pin(&mut self, segment: u32) -> Arc<()> {
        Arc::clone(&self.segments.entry(segment).or_default().pin)
    }

    /// Segments that nobody needs, but for the one being written.
    pub(crate) fn unneeded(&self, current: Option<u32>) -> Vec<u32> {
        let unneeded = self.segments.iter().filter(|(number, book)| {
            Some(**number) != current
                && book.entries.is_empty()
                && book.refs == 0
                && Arc::strong_count(&book.pin) == 1
        });
        unneeded.map(|(number, _)| *number).collect()
    }

    /// Closes the book of a segment that was removed.
    pub(crate) fn close(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }

    /// Number of live entries.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// A copy of all lines, for a checkpoint.
    pub(crate) fn rows(&self) -> HashMap<EntryId, LiveRow> {
        let mut rows = HashMap::with_capacity(self.entries);
        for (segment, book) in &self.segments {
            for (id, line) in &book.entries {
                let at = Location { segment: *segment, offset: line.offset };
                let spread = self.spread.get(id).cloned().unwrap_or_default();
                rows.insert(*id, LiveRow { at, body_len: line.body_len, spread });
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(segment: u32, spread: &[u32]) -> LiveRow {
        LiveRow { at: Location { segment, offset: 40 }, body_len: 1, spread: spread.into() }
    }

    #[test]
    fn a_segment_is_needed_by_records_chunks_and_drafts() {
        let mut books = Books::default();
        for segment in 1..=4 {
            books.open(segment);
        }
        books.insert(EntryId(7), &row(2, &[1]));
        let pin = books.pin(3);
        assert_eq!(books.unneeded(None), [4]);
        assert_eq!(books.unneeded(Some(4)), [0; 0]);
        drop(pin);
        assert!(books.remove(EntryId(7), row(2, &[]).at));
        assert_eq!(books.unneeded(Some(4)), [1, 2, 3]);
    }

    #[test]
    fn an_entry_counts_once_and_is_removed_once() {
        let mut books = Books::default();
        books.insert(EntryId(7), &row(2, &[1]));
        books.insert(EntryId(7), &row(2, &[1]));
        books.insert(EntryId(8), &row(2, &[1]));
        assert_eq!(books.entries(), 2);
        assert!(books.remove(EntryId(7), row(2, &[]).at));
        assert!(!books.remove(EntryId(7), row(2, &[]).at));
        assert!(!books.remove(EntryId(8), row(1, &[]).at), "it is not in that segment");
        assert_eq!(books.unneeded(None), [0; 0]);
        assert_eq!(books.rows()[&EntryId(8)], row(2, &[1]));
    }
}
