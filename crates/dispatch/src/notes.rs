//! Notes: what the dispatcher keeps in the spool's journal that is about more than one message.
//!
//! A note is a frame (version, kind, length) around a body whose layout goes by the kind; `docs/internals/notes-format.md`
//! draws them, and a test here reads the example printed there. Each kind has a module of its own that knows its body:
//! [`crate::closed`] kind 1, [`crate::records`] kind 2, [`crate::moments`] kind 3.
//!
//! # A kind more
//! It gets its number in [`Kind`], a field in [`Found`], an arm in [`read`], and its part of [`Core::all_notes`], which is
//! what each checkpoint holds.
//! # Failure
//! Nothing here fails: what cannot be read is named in the log and passed over, what a later version wrote is kept as it is.

use sluice_spool::{Done, Durability};

use crate::closed::Closed;
use crate::core::Core;
use crate::moments::Moments;
use crate::records::FoundReleases;

/// First byte of every frame.
const VERSION: u8 = 1;
/// Version, kind, two bytes of zero, length.
const FRAME: usize = 8;

/// What a note is about, by its number in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Stopped channels and suspended domains; each note is the whole.
    Closed = 1,
    /// A release, whole or as far as it has come.
    Release = 2,
    /// What the clock has set going so far; each note is the whole.
    Moments = 3,
}

/// What the notes of an earlier run say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The last of kind 1.
    pub(crate) closed: Closed,
    /// Those of kind 2.
    pub(crate) releases: FoundReleases,
    /// The last of kind 3; `None`: nobody has kept any.
    pub(crate) moments: Option<Moments>,
    /// Whole frames of kinds and versions that this program does not know, oldest first.
    pub(crate) foreign: Vec<Vec<u8>>,
}

/// Why bytes are not a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoteError {
    #[error("it ends early")]
    Short,
    #[error("it has {0} bytes too many")]
    Long(usize),
    #[error("flags {0:#04x} mean nothing")]
    Flags(u8),
    #[error("a text in it is not UTF-8")]
    Text,
}

/// Puts a frame around a body.
pub(crate) fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME + body.len());
    out.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// Kind and body of a frame; `None` when another version wrote it.
fn unframe(note: &[u8]) -> Result<Option<(u8, &[u8])>, NoteError> {
    let mut bytes = Bytes(note);
    let [version, kind] = bytes.array()?;
    if version != VERSION {
        return Ok(None);
    }
    let [_, _] = bytes.array()?;
    let length = usize::try_from(bytes.u32()?).map_err(|_| NoteError::Short)?;
    let body = bytes.take(length)?;
    bytes.end()?;
    Ok(Some((kind, body)))
}

/// Reads what the spool has found, oldest first.
pub(crate) fn read(notes: Vec<Vec<u8>>) -> Found {
    let mut found = Found::default();
    for (number, note) in notes.into_iter().enumerate() {
        let result = match unframe(&note) {
            Ok(Some((kind, body))) if kind == Kind::Closed as u8 => {
                Closed::decode(body).map(|closed| found.closed = closed)
            }
            Ok(Some((kind, body))) if kind == Kind::Release as u8 => found.releases.add(body),
            Ok(Some((kind, body))) if kind == Kind::Moments as u8 => {
                Moments::decode(body).map(|moments| found.moments = Some(moments))
            }
            Ok(_) => {
                found.foreign.push(note);
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::error!(number, %error, "a note of the dispatcher is damaged; it is passed over");
        }
    }
    found
}

impl Core {
    /// Takes up what an earlier run has noted.
    pub(crate) fn take_up(&mut self, found: Found, now: sluice_mail::Time) {
        if !found.foreign.is_empty() {
            tracing::warn!(
                notes = found.foreign.len(),
                "the spool has notes of a later version; they are kept as they are"
            );
        }
        self.foreign_notes = found.foreign;
        self.close_as_found(found.closed, now);
        self.found_releases = found.releases;
        self.go_on_from(found.moments, now);
    }

    /// All notes that count now: what a checkpoint holds.
    pub(crate) fn all_notes(&self) -> Vec<Vec<u8>> {
        let mut notes =
            vec![frame(Kind::Closed, &self.closed.encode()), frame(Kind::Moments, &self.moments.encode())];
        notes.extend(self.records.bodies().map(|body| frame(Kind::Release, body)));
        notes.extend(self.live_records().map(|record| frame(Kind::Release, &record.encode())));
        notes.extend(self.foreign_notes.iter().cloned());
        notes
    }

    /// Journals a note. `done` comes on the spool's thread.
    pub(crate) fn write_note(&self, kind: Kind, body: &[u8], durability: Durability, done: Option<Done>) {
        self.spool.note(frame(kind, body), durability, done);
    }
}

/// Bytes that are taken apart from the front.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], NoteError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(NoteError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], NoteError> {
        self.take(N)?.try_into().map_err(|_| NoteError::Short)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, NoteError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, NoteError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, NoteError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn text(&mut self, count: u16) -> Result<String, NoteError> {
        let bytes = self.take(usize::from(count))?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| NoteError::Text)
    }

    pub(crate) fn end(&self) -> Result<(), NoteError> {
        if self.0.is_empty() { Ok(()) } else { Err(NoteError::Long(self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use sluice_mail::Time;

    use super::*;
    use crate::closed::Suspension;

    fn example() -> Closed {
        let mut closed = Closed::default();
        closed.stop("tcp_local", Time(1_790_000_000_000));
        closed.suspend(Suspension {
            domain: "example.com".into(),
            below: true,
            since: Time(1_790_000_000_000),
            until: Some(Time(1_790_007_200_000)),
            reason: "server move".into(),
        });
        closed
    }

    /// The example as it is printed in the document: hexadecimal bytes between the fences of the first `hex` block.
    fn printed() -> Vec<u8> {
        let page = include_str!("../../../docs/internals/notes-format.md");
        let block = page.split("```hex\n").nth(1).and_then(|rest| rest.split("```").next());
        let lines = block.expect("the page has a hex block").lines();
        let bytes = lines.flat_map(|line| line.split("  ").next().unwrap_or("").split_whitespace());
        bytes.map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits")).collect()
    }

    #[test]
    fn the_document_shows_what_is_written() {
        let ours = frame(Kind::Closed, &example().encode());
        assert_eq!(ours, printed(), "ours: {ours:02x?}");
        assert_eq!(read(vec![printed()]), Found { closed: example(), ..Found::default() });
    }

    #[test]
    fn the_last_snapshot_counts_and_a_damaged_one_does_not() {
        let first = frame(Kind::Closed, &example().encode());
        let empty = frame(Kind::Closed, &Closed::default().encode());
        assert_eq!(read(vec![first.clone(), empty.clone()]).closed, Closed::default());
        assert_eq!(read(vec![empty, first.clone()]).closed, example());
        for length in 0..first.len() {
            let found = read(vec![first.clone(), first[..length].to_vec()]);
            assert_eq!(found, Found { closed: example(), ..Found::default() }, "{length} bytes");
        }
        let with = |at: usize, value: u8| {
            let mut bytes = first.clone();
            bytes[at] = value;
            unframe(&bytes).map(|inside| inside.map(|(_, body)| Closed::decode(body).err()))
        };
        let (channels, name, flags) = (FRAME, FRAME + 4 + 10, FRAME + 4 + 19);
        assert_eq!(with(4, 0x42), Err(NoteError::Long(1)));
        assert_eq!(with(channels, 9), Ok(Some(Some(NoteError::Short))));
        assert_eq!(with(flags, 2), Ok(Some(Some(NoteError::Flags(2)))));
        assert_eq!(with(name, 0xff), Ok(Some(Some(NoteError::Text))));
        let mut long = example().encode();
        long.push(0);
        assert_eq!(Closed::decode(&long), Err(NoteError::Long(1)));
    }

    #[test]
    fn what_a_later_version_wrote_is_kept_as_it_is() {
        let kind = [1, 77, 0, 0, 3, 0, 0, 0, b'a', b'b', b'c'].to_vec();
        let version = [2, 1, 9].to_vec();
        let ours = frame(Kind::Closed, &example().encode());
        let found = read(vec![kind.clone(), ours, version.clone()]);
        assert_eq!(found, Found { closed: example(), foreign: vec![kind, version], ..Found::default() });
    }
}
