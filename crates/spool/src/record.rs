//! Framing: the header of every file and of every record, and how to find records again behind damage.
//!
//! A record has two parts. The *head* is what the spool understands; it is verified each time it is looked at. The
//! *body* is opaque bytes with a checksum of their own, so that a large body can be verified once and then only mapped.
//!
//! Mark and checksum depend on the spool's secret id and on the file. Otherwise a stranger could send a message whose
//! body looks like records, and damage in front of it would let recovery believe them; and records of one file could be
//! taken for records of another.
//!
//! `docs/internals/spool-format.md` draws all this; a test compares.

/// Length of the header of every file.
pub(crate) const FILE_HEADER_LEN: usize = 40;
/// Length of the header of every record.
pub(crate) const RECORD_HEADER_LEN: usize = 24;
/// Records begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// The version of files and records this program writes, and the newest it reads.
pub(crate) const FORMAT_VERSION: u16 = 1;

const _: () =
    assert!(FILE_HEADER_LEN.is_multiple_of(ALIGNMENT) && RECORD_HEADER_LEN.is_multiple_of(ALIGNMENT));

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileKind {
    Identity,
    Segment,
    Journal,
    Checkpoint,
}

impl FileKind {
    pub(crate) const fn magic(self) -> [u8; 8] {
        match self {
            FileKind::Identity => *b"SLIDENTY",
            FileKind::Segment => *b"SLSEGMNT",
            FileKind::Journal => *b"SLJOURNL",
            FileKind::Checkpoint => *b"SLCHKPNT",
        }
    }

    /// The name of a file of this kind.
    pub(crate) fn name(self, number: u32) -> String {
        match self {
            FileKind::Identity => "identity".to_owned(),
            FileKind::Segment => format!("segment-{number:010}"),
            FileKind::Journal => format!("journal-{number:010}"),
            FileKind::Checkpoint => format!("checkpoint-{number:010}"),
        }
    }

    /// The kind and number in a file's name; `None` when it is none of ours.
    pub(crate) fn of_name(name: &str) -> Option<(FileKind, u32)> {
        let (word, number) = name.split_once('-')?;
        let kind = match word {
            "segment" => FileKind::Segment,
            "journal" => FileKind::Journal,
            "checkpoint" => FileKind::Checkpoint,
            _ => return None,
        };
        let number: u32 = number.parse().ok()?;
        // Only the spelling we write: `segment-7` beside `segment-0000000007` would be two files with one number.
        (kind.name(number) == name).then_some((kind, number))
    }
}

/// The first bytes of every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) kind: FileKind,
    pub(crate) version: u16,
    pub(crate) number: u32,
    pub(crate) spool_id: u64,
    /// Reserved length; 0 for files that grow.
    pub(crate) size: u64,
}

/// What becomes of what a later release has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// It is an error. Who writes must not go on with what it does not understand.
    Refuse,
    /// Headers of files keep their layout, so the rest is read; records that are not known are passed over and named. For
    /// those who only look.
    PassOver,
}

/// Why a file header was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    /// All zero or too short: the file was begun but nothing reached the disk.
    Blank,
    /// Not what the checksum or the magic says.
    Damaged,
    /// Written by a later release.
    Newer(u16),
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut bytes = [0; FILE_HEADER_LEN];
        bytes[0..8].copy_from_slice(&self.kind.magic());
        bytes[8..10].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.spool_id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.size.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(kind: FileKind, bytes: &[u8], later: Later) -> Result<FileHeader, HeaderFlaw> {
        let Some(bytes) = bytes.get(..FILE_HEADER_LEN) else { return Err(HeaderFlaw::Blank) };
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(HeaderFlaw::Blank);
        }
        if bytes[0..8] != kind.magic() || u32_at(bytes, 36) != Some(crc32c::crc32c(&bytes[..36])) {
            return Err(HeaderFlaw::Damaged);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version > FORMAT_VERSION && later == Later::Refuse {
            return Err(HeaderFlaw::Newer(version));
        }
        let mut reader = Reader::new(&bytes[12..36]);
        let (Some(number), Some(spool_id), Some(size)) = (reader.u32(), reader.u64(), reader.u64()) else {
            return Err(HeaderFlaw::Damaged);
        };
        Ok(FileHeader { kind, version, number, spool_id, size })
    }
}

/// What marks the records of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    mark: u32,
    seed: u32,
}

impl Stamp {
    pub(crate) fn new(spool_id: u64, kind: FileKind, number: u32) -> Stamp {
        let mut seed = crc32c::crc32c(&spool_id.to_le_bytes());
        seed = crc32c::crc32c_append(seed, &kind.magic());
        seed = crc32c::crc32c_append(seed, &number.to_le_bytes());
        // The lowest bit is set so that zeros, the content of an unwritten file, are never a mark.
        Stamp { mark: (spool_id >> 32) as u32 | 1, seed }
    }
}

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Message = 1,
    Chunk = 2,
    State = 16,
    Removed = 17,
    Note = 18,
    Void = 19,
    Reserve = 20,
    Begin = 32,
    Entry = 33,
    End = 34,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        const ALL: [Kind; 10] = [
            Kind::Message,
            Kind::Chunk,
            Kind::State,
            Kind::Removed,
            Kind::Note,
            Kind::Void,
            Kind::Reserve,
            Kind::Begin,
            Kind::Entry,
            Kind::End,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Version of the records of this program.
pub(crate) const RECORD_VERSION: u8 = 1;

/// The length a record takes in its file, padding included.
pub(crate) fn record_len(head: usize, body: usize) -> usize {
    (RECORD_HEADER_LEN + head + body).next_multiple_of(ALIGNMENT)
}

/// Begins a record; the head is appended next. Returns where it began, for [`seal`].
pub(crate) fn open(out: &mut Vec<u8>, stamp: Stamp) -> usize {
    let start = out.len();
    out.extend_from_slice(&stamp.mark.to_le_bytes());
    out.extend_from_slice(&[0; RECORD_HEADER_LEN - 4]);
    start
}

/// Ends the head of a record: fills in the header. The body, of this length and checksum, and [`padding`] follow.
pub(crate) fn seal(out: &mut [u8], start: usize, stamp: Stamp, kind: Kind, body: (usize, u32)) {
    let record = &mut out[start..];
    // Both lengths are bounded by the size of a file, which is below 4 GiB.
    let head_len = (record.len() - RECORD_HEADER_LEN) as u32;
    record[8..12].copy_from_slice(&head_len.to_le_bytes());
    record[12..16].copy_from_slice(&(body.0 as u32).to_le_bytes());
    record[16..20].copy_from_slice(&body.1.to_le_bytes());
    record[20..24].copy_from_slice(&[kind as u8, RECORD_VERSION, 0, 0]);
    let crc = crc32c::crc32c_append(stamp.seed, &record[8..]);
    record[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Appends a whole record without a body.
pub(crate) fn write_record(out: &mut Vec<u8>, stamp: Stamp, kind: Kind, head: &[u8]) {
    let start = open(out, stamp);
    out.extend_from_slice(head);
    seal(out, start, stamp, kind, (0, 0));
    out.extend_from_slice(padding(head.len(), 0));
}

/// The zeros between a record and the next.
pub(crate) fn padding(head: usize, body: usize) -> &'static [u8] {
    const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
    &ZEROS[..record_len(head, body) - RECORD_HEADER_LEN - head - body]
}

/// A record whose head was verified. Its body was not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) head: &'a [u8],
    /// Where the body begins, counted from the start of the record.
    pub(crate) body_start: usize,
    pub(crate) body_len: usize,
    pub(crate) body_crc: u32,
}

impl Record<'_> {
    /// Length in the file.
    pub(crate) fn len(&self) -> usize {
        record_len(self.head.len(), self.body_len)
    }
}

/// Why there is no record at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Zeros, or no room for a header: nothing was written here.
    Blank,
    /// Another mark than this file's.
    Mark,
    /// The lengths reach past the end of the file.
    Length,
    /// The checksum of the head does not fit.
    Checksum,
    /// A good record of a kind or version that is not known here: a later release wrote it.
    Newer(u8),
}

impl Flaw {
    /// For reports.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Flaw::Blank => "zeros where a record was expected",
            Flaw::Mark => "no record begins here",
            Flaw::Length => "the record reaches past the end of the file",
            Flaw::Checksum => "the checksum of the record does not fit",
            Flaw::Newer(_) => "a record of an unknown kind or version",
        }
    }
}

/// Looks at the record that begins at the start of `bytes`, which may go on behind it.
pub(crate) fn parse(bytes: &[u8], stamp: Stamp) -> Result<Record<'_>, Flaw> {
    let Some(header) = bytes.get(..RECORD_HEADER_LEN) else { return Err(Flaw::Blank) };
    if header.iter().all(|byte| *byte == 0) {
        return Err(Flaw::Blank);
    }
    let mut reader = Reader::new(header);
    let (Some(mark), Some(crc), Some(head_len), Some(body_len), Some(body_crc)) =
        (reader.u32(), reader.u32(), reader.u32(), reader.u32(), reader.u32())
    else {
        return Err(Flaw::Blank);
    };
    if mark != stamp.mark {
        return Err(Flaw::Mark);
    }
    let (head_len, body_len) = (head_len as usize, body_len as usize);
    let body_start = RECORD_HEADER_LEN + head_len;
    if body_start + body_len > bytes.len() {
        return Err(Flaw::Length);
    }
    if crc32c::crc32c_append(stamp.seed, &bytes[8..body_start]) != crc {
        return Err(Flaw::Checksum);
    }
    let (kind, version) = (header[20], header[21]);
    let Some(kind) = Kind::from_byte(kind).filter(|_| version == RECORD_VERSION) else {
        return Err(Flaw::Newer(version));
    };
    Ok(Record { kind, head: &bytes[RECORD_HEADER_LEN..body_start], body_start, body_len, body_crc })
}

/// Length of a good record that is not known here.
pub(crate) fn len_of_unknown(bytes: &[u8]) -> usize {
    let length = |at: usize| u32_at(bytes, at).unwrap_or(0) as usize;
    record_len(length(8), length(12)).min(bytes.len())
}

/// How long the record is that begins here, if its header is to be believed.
pub(crate) fn length_said(bytes: &[u8]) -> usize {
    let part = |at| u32_at(bytes, at).unwrap_or(0) as usize;
    RECORD_HEADER_LEN + part(8) + part(12)
}

/// How long that record is before its body.
pub(crate) fn head_length_said(bytes: &[u8]) -> usize {
    RECORD_HEADER_LEN + u32_at(bytes, 8).unwrap_or(0) as usize
}

/// The next offset in the range where a good record begins, for going on behind damage.
pub(crate) fn resync(bytes: &[u8], range: std::ops::Range<usize>, stamp: Stamp) -> Option<usize> {
    // The mark first: it tells most places apart without computing a checksum.
    let begins = |offset: &usize| {
        u32_at(bytes, *offset) == Some(stamp.mark)
            && matches!(parse(&bytes[*offset..], stamp), Ok(_) | Err(Flaw::Newer(_)))
    };
    (range.start.next_multiple_of(ALIGNMENT)..range.end).step_by(ALIGNMENT).find(begins)
}

/// The 32 bits at an offset.
fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Reader::new(bytes.get(offset..)?).u32()
}

/// Takes little-endian numbers from the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}
