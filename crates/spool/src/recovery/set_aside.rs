//! Which files go aside when nobody needs them any more, because the disk kept back some of them, and what is written down beside
//! them.
//!
//! Not here: moving them (`writer`, `checkpoint`), and bringing back what is in them (`aside`).

use std::collections::HashSet;

use super::Recovery;
use super::index::Index;
use crate::ids::EntryId;
use crate::quarantine;
use crate::record::{FileKind, Kind, Record};
use crate::segment::{MessageHead, SegmentFile};

impl Recovery {
    /// A message is not whole. When that is because the disk keeps back a part of its body that is elsewhere, all segments that have any of
    /// it go aside together, for none is of use without the others.
    pub(super) fn keep_parts(&mut self, number: u32, record: &Record<'_>) {
        let head = (record.kind == Kind::Message).then(|| MessageHead::decode(record.head)).flatten();
        let Some(head) = head else { return };
        let is_kept_back = head.pieces().any(|piece| {
            let holder = self.files.read().get(&piece.segment).cloned();
            let cannot_be_read =
                |file: &SegmentFile| file.record(&*self.storage, piece.offset as usize).is_err();
            self.aside.contains(&piece.segment) || holder.is_some_and(|file| cannot_be_read(&file))
        });
        if is_kept_back {
            self.aside.extend(head.pieces().map(|piece| piece.segment).chain([number]));
        }
    }

    /// Parts of bodies whose messages are nowhere: the records of these may be what the disk keeps back.
    pub(super) fn keep_parts_of_unread(&mut self, index: &Index) {
        // A record comes behind its parts.
        let Some(last) = self.aside.iter().max().copied() else { return };
        for (id, segments) in std::mem::take(&mut self.parts) {
            if index.entries.get(id).is_none() && !index.removed.contains(&id) {
                self.aside.extend(segments.into_iter().filter(|number| *number <= last));
            }
        }
    }

    /// What an earlier start could not read whole goes aside though this one could: the list or the mark in quarantine says so.
    pub(super) fn still_aside(&mut self) {
        let has_mark =
            |kind: FileKind, number: &u32| quarantine::goes_aside(&*self.storage, &kind.name(*number));
        self.aside.extend(self.segments.keys().filter(|number| has_mark(FileKind::Segment, number)));
        self.journals_aside.extend(self.journals.keys().filter(|number| has_mark(FileKind::Journal, number)));
    }

    /// Leaves word of what was settled beside segments that will be set aside, and of what is known of them: the segment goes only
    /// when that is settled too. Without that word the segment stays where it is.
    pub(super) fn note_settled(&mut self, index: &Index) {
        for number in &self.aside {
            let name = FileKind::Segment.name(*number);
            // A copy is in a later segment, and its original is what the disk may keep back.
            let known = index.entries.iter().filter(|live| live.at.segment >= *number).map(|live| live.id);
            let ids: HashSet<EntryId> = index.removed.iter().copied().chain(known).collect();
            if let Err(error) = quarantine::note_settled(&*self.storage, &name, &ids) {
                tracing::error!(%error, file = name, "cannot write down which of its messages were settled");
                self.keep.insert(*number);
            }
        }
        for number in &self.journals_aside {
            let name = FileKind::Journal.name(*number);
            if let Err(error) = quarantine::mark_journal(&*self.storage, &name) {
                tracing::error!(%error, file = name, "cannot write down that it could not be read whole");
            }
        }
    }
}
