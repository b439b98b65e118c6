//! The index while it is put together: a checkpoint, and what the journals say since.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::entries::Entries;
use super::walk::{Found, Walk, header_flaw, whole};
use crate::checkpoint::{self, Begin};
use crate::found::FoundState;
use crate::ids::{EntryId, Location};
use crate::journal::Fact;
use crate::map::Map;
use crate::record::{FILE_HEADER_LEN, FileHeader, FileKind, Kind, Later, RECORD_HEADER_LEN, Reader, Stamp};

/// Numbers that must not be used again.
#[derive(Default)]
pub(super) struct Next {
    pub(super) id: u64,
    pub(super) segment: u32,
    pub(super) journal: u32,
    pub(super) checkpoint: u32,
}

impl Next {
    pub(super) fn saw_id(&mut self, id: EntryId) {
        self.id = self.id.max(id.0.saturating_add(1));
    }

    pub(super) fn saw_segment(&mut self, number: u32) {
        self.segment = self.segment.max(number.saturating_add(1));
    }
}

/// Where the index begins.
pub(super) struct Base {
    pub(super) begin: Begin,
    pub(super) entries: Entries,
    pub(super) notes: Vec<Vec<u8>>,
    /// States of the entries above are newer than what journals up to this number say.
    pub(super) states_as_of: u32,
}

/// A record of a journal, with its place.
pub(super) struct JournalFact<'a> {
    pub(super) journal: u32,
    pub(super) offset: usize,
    pub(super) fact: Fact<'a>,
}

pub(super) fn voids(facts: &[JournalFact<'_>], wanted: FileKind) -> HashMap<u32, usize> {
    let mut voids: HashMap<u32, usize> = HashMap::new();
    for fact in facts {
        if let Fact::Void { kind, number, from } = fact.fact
            && kind == wanted
        {
            let lowest = voids.entry(number).or_insert(usize::MAX);
            *lowest = (*lowest).min(from as usize);
        }
    }
    voids
}

impl Base {
    pub(super) fn empty() -> Base {
        let begin = Begin { journal: 0, scan: Location { segment: 0, offset: 0 }, next_id: 1 };
        Base { begin, entries: Entries::default(), notes: Vec::new(), states_as_of: 0 }
    }
}

/// About what an entry with its state takes in a checkpoint, rather less.
const USUAL_ENTRY: usize = 96;

/// Reads a checkpoint as far as it is good, and says what is not. The outer error is a record of a later release.
pub(super) fn read_checkpoint(
    map: &Arc<Map>,
    stamp: Stamp,
    later: Later,
) -> Result<(Base, Option<&'static str>), u16> {
    let mut base = Base::empty();
    let bytes = whole(map);
    let mut flaw = FileHeader::decode(FileKind::Checkpoint, bytes, later).err().map(header_flaw);
    base.entries.expect(bytes.len() / USUAL_ENTRY);
    let (mut begun, mut end) = (false, None);
    for found in Walk::new(bytes, stamp, FILE_HEADER_LEN, later) {
        let fits = match found {
            Found::Record(offset, record) => match record.kind {
                Kind::Begin => Begin::decode(record.head).map(|begin| {
                    base.begin = begin;
                    begun = true;
                }),
                Kind::Entry => checkpoint::decode_entry(record.head).map(|(id, row, state)| {
                    let start = offset + RECORD_HEADER_LEN;
                    let state =
                        state.map(|from| FoundState::mapped(map, start + from, record.head.len() - from));
                    base.entries.push(id, row, state);
                }),
                Kind::Note => {
                    base.notes.push(record.head.to_vec());
                    Some(())
                }
                Kind::End => {
                    let mut reader = Reader::new(record.head);
                    reader.u64().zip(reader.u64()).map(|counts| end = Some(counts))
                }
                _ => None,
            },
            Found::End(_) => Some(()),
            Found::Newer(version) => return Err(u16::from(version)),
            Found::Damage(..) | Found::Torn(_) => None,
        };
        if fits.is_none() {
            flaw = flaw.or(Some("a record of the checkpoint is damaged"));
        }
    }
    if !base.entries.sort() {
        flaw = flaw.or(Some("the checkpoint names an entry twice"));
    }
    if !begun || end != Some((base.entries.len() as u64, base.notes.len() as u64)) {
        flaw = flaw.or(Some("the checkpoint is not complete"));
    }
    Ok((base, flaw))
}

/// The index while it is put together.
pub(super) struct Index {
    pub(super) begin: Begin,
    pub(super) entries: Entries,
    pub(super) states_as_of: u32,
    /// States for entries that the scan will find, and where.
    pub(super) states: HashMap<EntryId, (Location, Vec<u8>)>,
    pub(super) removed: HashSet<EntryId>,
    pub(super) notes: Vec<Vec<u8>>,
    pub(super) void_segments: HashMap<u32, usize>,
}

impl Index {
    pub(super) fn new(base: Base, next: &mut Next) -> Index {
        next.id = next.id.max(base.begin.next_id);
        // Also when that segment is gone by now: a new one of its number would be scanned from the middle.
        next.saw_segment(base.begin.scan.segment);
        next.journal = next.journal.max(base.begin.journal.max(base.states_as_of).saturating_add(1));
        for live in base.entries.iter() {
            next.saw_id(live.id);
            next.saw_segment(live.at.segment);
        }
        Index {
            begin: base.begin,
            entries: base.entries,
            states_as_of: base.states_as_of,
            states: HashMap::new(),
            removed: HashSet::new(),
            notes: base.notes,
            void_segments: HashMap::new(),
        }
    }

    /// Replays the journals.
    pub(super) fn apply(&mut self, facts: &[JournalFact<'_>], next: &mut Next) {
        self.void_segments = voids(facts, FileKind::Segment);
        for JournalFact { journal, fact, .. } in facts {
            match fact {
                Fact::State { id, at, state } => {
                    next.saw_id(*id);
                    next.saw_segment(at.segment);
                    match self.entries.get_mut(*id) {
                        Some(live) if live.state.is_some() && *journal <= self.states_as_of => {}
                        Some(live) => live.state = Some(state.to_vec().into()),
                        None => {
                            self.states.insert(*id, (*at, state.to_vec()));
                        }
                    }
                }
                Fact::Removed { id, at } => {
                    next.saw_id(*id);
                    next.saw_segment(at.segment);
                    self.removed.insert(*id);
                    self.entries.remove(*id);
                    self.states.remove(id);
                }
                Fact::Note(note) => {
                    if *journal > self.states_as_of {
                        self.notes.push(note.to_vec());
                    }
                }
                Fact::Void { kind, number, .. } => {
                    if *kind == FileKind::Segment {
                        next.saw_segment(*number);
                    }
                }
                Fact::Reserve { mark } => next.id = next.id.max(*mark),
            }
        }
    }
}
