//! What the journal's records say: one head layout per kind.
//!
//! The journal is a row of files with the framing of `record`. It says what changed since a checkpoint; replaying it
//! twice gives the same result, because each record is a fact ("this is the state now") and not a step.

use crate::ids::{EntryId, Location};
use crate::record::{FileKind, Kind, Reader};

/// Entry ids are reserved in blocks: the journal says how far, and a restart begins behind the block. A million ids
/// cost nothing and half a block outlasts any delay of the journal.
pub(crate) const ID_BLOCK: u64 = 1 << 20;

/// Head of a state record before the state itself, and the whole head of a removal.
pub(crate) const ENTRY_HEAD_LEN: usize = 16;
/// Head of a void record.
pub(crate) const VOID_HEAD_LEN: usize = 16;
/// Head of a reservation.
pub(crate) const RESERVE_HEAD_LEN: usize = 8;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact<'a> {
    /// The state of an entry, replacing an earlier one.
    State { id: EntryId, at: Location, state: &'a [u8] },
    /// The entry is settled.
    Removed { id: EntryId, at: Location },
    /// The owner's own.
    Note(&'a [u8]),
    /// What stands at or behind `from` in a file was refused: its sync failed.
    Void { kind: FileKind, number: u32, from: u32 },
    /// Ids below this may have been used.
    Reserve { mark: u64 },
}

impl Fact<'_> {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Fact::State { .. } => Kind::State,
            Fact::Removed { .. } => Kind::Removed,
            Fact::Note(_) => Kind::Note,
            Fact::Void { .. } => Kind::Void,
            Fact::Reserve { .. } => Kind::Reserve,
        }
    }

    pub(crate) fn head_len(&self) -> usize {
        match self {
            Fact::State { state, .. } => ENTRY_HEAD_LEN + state.len(),
            Fact::Removed { .. } => ENTRY_HEAD_LEN,
            Fact::Note(note) => note.len(),
            Fact::Void { .. } => VOID_HEAD_LEN,
            Fact::Reserve { .. } => RESERVE_HEAD_LEN,
        }
    }

    /// Appends the head.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let entry = |out: &mut Vec<u8>, id: &EntryId, at: &Location| {
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&at.segment.to_le_bytes());
            out.extend_from_slice(&at.offset.to_le_bytes());
        };
        match self {
            Fact::State { id, at, state } => {
                entry(out, id, at);
                out.extend_from_slice(state);
            }
            Fact::Removed { id, at } => entry(out, id, at),
            Fact::Note(note) => out.extend_from_slice(note),
            Fact::Void { kind, number, from } => {
                let code: u32 = if *kind == FileKind::Segment { 1 } else { 2 };
                for value in [code, *number, *from, 0] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
            }
            Fact::Reserve { mark } => out.extend_from_slice(&mark.to_le_bytes()),
        }
    }

    /// `None` when the head does not have the layout of its kind, or the kind does not belong into a journal.
    pub(crate) fn decode(kind: Kind, head: &[u8]) -> Option<Fact<'_>> {
        let mut reader = Reader::new(head);
        let fact = match kind {
            Kind::State | Kind::Removed => {
                let id = EntryId(reader.u64()?);
                let at = Location { segment: reader.u32()?, offset: reader.u32()? };
                if kind == Kind::State {
                    return Some(Fact::State { id, at, state: reader.rest() });
                }
                Fact::Removed { id, at }
            }
            Kind::Note => return Some(Fact::Note(head)),
            Kind::Void => {
                let kind = match reader.u32()? {
                    1 => FileKind::Segment,
                    2 => FileKind::Journal,
                    _ => return None,
                };
                let fact = Fact::Void { kind, number: reader.u32()?, from: reader.u32()? };
                reader.u32()?;
                fact
            }
            Kind::Reserve => Fact::Reserve { mark: reader.u64()? },
            Kind::Message | Kind::Chunk | Kind::Begin | Kind::Entry | Kind::End => return None,
        };
        reader.rest().is_empty().then_some(fact)
    }
}
