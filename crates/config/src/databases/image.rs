//! One database as octets: the compiled form of `docs/internals/database-format.md`, made, checked and searched.
//!
//! A database that is read from text and one that `sluice compile` wrote have the same octets; nothing is unpacked. The
//! octets may belong to somebody else ([`Image`]), who maps them from a file: then only the beginning is looked at when the
//! database is opened, every entry carries its own check, and every place that the file names is looked up with `get`.
//!
//! # Failure
//! Octets that are not whole are refused when they are opened, as far as that looks; what is found later is an answer of its own
//! ([`Unavailable`]), so that nobody takes a damaged file for one without the key.
//!
//! # Not here
//! Reading text and choosing between text and compiled form (`databases`); maps and files (the binary).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sluice_diag::Span;

const MAGIC: &[u8; 8] = b"SLUICEDB";
const VERSION: u32 = 2;
/// Octets of the header; the slots follow.
const HEADER: usize = 64;
/// Where the sum of the header stands, the last word of it.
const HEADER_SUM: usize = 56;
/// A slot: the upper half of a key's hash, and the place of the record in units of [`UNIT`].
const SLOT: usize = 8;
/// Length of the key, length of the value, check; key and value follow.
const RECORD: usize = 12;
/// Records begin at multiples of this many octets, so that a place has room in 32 bits up to 16 GiB.
const UNIT: usize = 4;

/// Octets that somebody else keeps, and that may stop being whole: those of a mapped file.
pub trait Image: Send + Sync + fmt::Debug {
    /// The octets, always as many as the first time; `None` from the moment on when the file under them has become shorter.
    fn octets(&self) -> Option<&[u8]>;
}

/// One database. [`Database::default`] is an empty one.
pub struct Database {
    octets: Octets,
    shape: Shape,
    /// Where the entries stand, with the place of their records, in this order; empty for a database that was read from its
    /// compiled form.
    spans: Box<[(u32, Span)]>,
}

enum Octets {
    Own(Box<[u8]>),
    Of {
        image: Arc<dyn Image>,
        /// The sum in the header when it was opened: another one there means another file.
        sum: u64,
        /// Why it is not used any more, once that was seen; until the configuration is read again it stays so.
        shorter: AtomicBool,
        replaced: AtomicBool,
    },
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    entries: usize,
    sources: usize,
    slots: usize,
    /// Where the record of the first entry begins.
    first: usize,
    key_length_max: usize,
    /// Entries whose value holds `<` or `[`.
    with_brackets: usize,
}

/// Why octets are not a compiled database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseError {
    /// They begin differently, or end before the header does.
    NotADatabase,
    /// It is of another version, which is given.
    Version(u32),
    /// The file is not as long as its header says.
    Length,
    /// A checksum is not that of the content.
    Checksum,
    /// An entry points outside the file, is no text, or stands out of order.
    Damaged,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseError::NotADatabase => f.write_str("it is not a compiled database"),
            DatabaseError::Version(version) => {
                write!(f, "it has version {version}, and this program reads version {VERSION}")
            }
            DatabaseError::Length => {
                f.write_str("it is not as long as it says: it was cut short or added to")
            }
            DatabaseError::Checksum => f.write_str("a checksum in it is wrong: it is damaged"),
            DatabaseError::Damaged => f.write_str("an entry in it is damaged"),
        }
    }
}

impl std::error::Error for DatabaseError {}

/// A database was asked and could not answer. What was to be done with the answer has to wait: a key that is not found
/// is something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The file under the map has become shorter.
    Shorter,
    /// Other octets stand in the file: it was written over in place.
    Replaced,
    /// The entry that would be the answer is damaged, or one in front of it.
    Damaged,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unavailable::Shorter => "the file has become shorter while it was in use",
            Unavailable::Replaced => "the file was written over while it was in use",
            Unavailable::Damaged => "an entry in it is damaged",
        })
    }
}

impl std::error::Error for Unavailable {}

impl Default for Database {
    fn default() -> Database {
        Database::from_pairs::<&str, &str>([])
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("entries", &self.len()).finish_non_exhaustive()
    }
}

impl PartialEq for Database {
    fn eq(&self, other: &Database) -> bool {
        self.spans == other.spans && self.octets().is_ok() && self.octets() == other.octets()
    }
}

impl Eq for Database {}

impl Database {
    /// A database of these entries; of equal keys the first counts.
    pub fn from_pairs<K: AsRef<str>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Database {
        let mut entries = Entries::new();
        for (key, value) in pairs {
            entries.entry(key.as_ref().to_lowercase()).or_insert((value.into(), None));
        }
        build(&entries, &[])
    }

    /// Takes a compiled database, checking all of it.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing of such a file is used.
    pub fn from_image(image: Vec<u8>) -> Result<Database, DatabaseError> {
        let shape = Shape::read(&image)?;
        let database = Database { octets: Octets::Own(image.into()), shape, spans: Box::default() };
        database.verify()?;
        Ok(database)
    }

    /// Takes a compiled database that somebody else keeps, and looks at the header and the slots only: what this costs
    /// hardly grows with the texts. [`Database::verify`] looks at the rest.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing of such a file is used.
    pub fn from_map(image: Arc<dyn Image>) -> Result<Database, DatabaseError> {
        let octets = image.octets().ok_or(DatabaseError::Length)?;
        let shape = Shape::read(octets)?;
        let sum = long(octets, HEADER_SUM).ok_or(DatabaseError::NotADatabase)?;
        let (shorter, replaced) = (AtomicBool::new(false), AtomicBool::new(false));
        let octets = Octets::Of { image, sum, shorter, replaced };
        Ok(Database { octets, shape, spans: Box::default() })
    }

    /// Looks at all of it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify(&self) -> Result<(), DatabaseError> {
        let octets = self.octets().map_err(|_| DatabaseError::Length)?;
        if Shape::read(octets)? != self.shape {
            return Err(DatabaseError::Damaged);
        }
        let Shape { entries, first, .. } = self.shape;
        let (mut at, mut before, mut longest, mut brackets) = (first, None, 0, 0);
        for _ in 0..entries {
            let record = Record::read(octets, at).ok_or(DatabaseError::Damaged)?;
            let key = record.key;
            let found = self.search(octets, key).map_err(|_| DatabaseError::Damaged)?;
            if before.is_some_and(|before| before >= key) || found.is_none_or(|found| found.place != at) {
                return Err(DatabaseError::Damaged);
            }
            (longest, brackets) =
                (longest.max(key.len()), brackets + usize::from(has_brackets(record.value)));
            (before, at) = (Some(key), record.end);
        }
        let whole = at == octets.len()
            && longest == self.shape.key_length_max
            && brackets == self.shape.with_brackets
            && self.sources().count() == self.shape.sources;
        if whole { Ok(()) } else { Err(DatabaseError::Damaged) }
    }

    /// The compiled form; empty when the file under it is no longer whole.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        self.octets().unwrap_or_default()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.entries
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a file that was seen to be no longer the one that was opened.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match &self.octets {
            Octets::Own(_) => false,
            Octets::Of { shorter, replaced, .. } => {
                shorter.load(Ordering::Relaxed) || replaced.load(Ordering::Relaxed)
            }
        }
    }

    /// The value of a key, case aside.
    ///
    /// # Errors
    /// [`Unavailable`] when that cannot be told now.
    pub fn get(&self, key: &str) -> Result<Option<&str>, Unavailable> {
        Ok(self.search(self.octets()?, &lower(key))?.map(|record| record.value))
    }

    /// All entries, keys in lower case, in the order of their keys; those in front of the damage, if there is any.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let octets = self.octets().unwrap_or_default();
        let mut at = self.shape.first;
        (0..self.len()).map_while(move |_| {
            let record = Record::read(octets, at)?;
            at = record.end;
            Some((record.key, record.value))
        })
    }

    /// The entries whose value holds `<` or `[`. Where there is none, nothing is read.
    pub fn with_brackets(&self) -> impl Iterator<Item = (&str, &str)> {
        let most = self.shape.with_brackets;
        let entries = (most > 0).then(|| self.iter()).into_iter().flatten();
        entries.filter(|(_, value)| has_brackets(value)).take(most)
    }

    /// Where the entry of a key stands, if the database was read from text.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Span> {
        let record = self.search(self.octets().ok()?, &lower(key)).ok()??;
        let found = self.spans.binary_search_by_key(&unit(record.place), |(place, _)| *place).ok()?;
        Some(self.spans[found].1)
    }

    /// The same entries, which no longer say where they stand: for a reader with other sources.
    #[must_use]
    pub fn without_places(self) -> Database {
        Database { spans: Box::default(), ..self }
    }

    /// Length of the longest key, in octets.
    #[must_use]
    pub fn key_length_max(&self) -> usize {
        self.shape.key_length_max
    }

    /// The files that were included into the text it was compiled from.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let octets = self.octets().unwrap_or_default();
        let mut at = HEADER + self.shape.slots * SLOT;
        (0..self.shape.sources).map_while(move |_| {
            let record = Record::read(octets, at)?;
            at = record.end;
            Some(record.key)
        })
    }

    /// The octets, if they are still those that were opened. Asked before each probe.
    fn octets(&self) -> Result<&[u8], Unavailable> {
        let (image, opened, shorter, replaced) = match &self.octets {
            Octets::Own(octets) => return Ok(octets),
            Octets::Of { image, sum, shorter, replaced } => (image, *sum, shorter, replaced),
        };
        // Once it was not whole it may be anything, also what looks whole again.
        if shorter.load(Ordering::Relaxed) {
            return Err(Unavailable::Shorter);
        }
        if replaced.load(Ordering::Relaxed) {
            return Err(Unavailable::Replaced);
        }
        let Some(octets) = image.octets() else {
            shorter.store(true, Ordering::Relaxed);
            return Err(Unavailable::Shorter);
        };
        if long(octets, HEADER_SUM) != Some(opened) {
            replaced.store(true, Ordering::Relaxed);
            return Err(Unavailable::Replaced);
        }
        Ok(octets)
    }

    /// The record of a key in lower case. At least half of the slots are free, and no more of them are looked at than
    /// there are, so every search ends.
    fn search<'o>(&self, octets: &'o [u8], key: &str) -> Result<Option<Record<'o>>, Unavailable> {
        let slots = self.shape.slots;
        let hash = sum(&[key.as_bytes()]);
        for step in 0..slots {
            let slot = (hash as usize).wrapping_add(step) & (slots - 1);
            let word = long(octets, HEADER + slot * SLOT).ok_or(Unavailable::Damaged)?;
            if word == 0 {
                return Ok(None);
            }
            if word >> 32 != hash >> 32 {
                continue;
            }
            let place = word as u32 as usize * UNIT;
            let record = Record::read(octets, place).ok_or(Unavailable::Damaged)?;
            if record.key == key {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

/// A key as the database has it. Only keys with capitals, or beyond ASCII, are written anew.
fn lower(key: &str) -> Cow<'_, str> {
    if key.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        Cow::Owned(key.to_lowercase())
    } else {
        Cow::Borrowed(key)
    }
}

fn has_brackets(value: &str) -> bool {
    value.contains(['<', '['])
}

impl Shape {
    /// Reads and checks everything in front of the first entry.
    fn read(octets: &[u8]) -> Result<Shape, DatabaseError> {
        let number = |at| word(octets, at).ok_or(DatabaseError::NotADatabase);
        let longer = |at| long(octets, at).ok_or(DatabaseError::NotADatabase);
        if !octets.starts_with(MAGIC) {
            return Err(DatabaseError::NotADatabase);
        }
        let version = number(8)?;
        if version != VERSION {
            return Err(DatabaseError::Version(version));
        }
        let header = octets.get(..HEADER_SUM).ok_or(DatabaseError::NotADatabase)?;
        if longer(HEADER_SUM)? != sum(&[header]) {
            return Err(DatabaseError::Checksum);
        }
        if longer(24)? != octets.len() as u64 {
            return Err(DatabaseError::Length);
        }
        let shape = Shape {
            entries: number(12)? as usize,
            sources: number(16)? as usize,
            slots: number(20)? as usize,
            first: usize::try_from(longer(32)?).map_err(|_| DatabaseError::Damaged)?,
            key_length_max: number(40)? as usize,
            with_brackets: number(44)? as usize,
        };
        let slots_fit = if shape.entries == 0 {
            shape.slots == 0
        } else {
            shape.slots.is_power_of_two() && shape.slots / 2 >= shape.entries
        };
        let table = octets.get(HEADER..shape.first).ok_or(DatabaseError::Damaged)?;
        if !slots_fit || table.len() < shape.slots * SLOT {
            return Err(DatabaseError::Damaged);
        }
        if longer(48)? != sum(&[table]) {
            return Err(DatabaseError::Checksum);
        }
        Ok(shape)
    }
}

/// One entry, or the name of a source, whose value is empty.
struct Record<'o> {
    place: usize,
    key: &'o str,
    value: &'o str,
    /// Where the next one begins.
    end: usize,
}

impl<'o> Record<'o> {
    /// `None` for what is damaged: outside the file, no text, or not what its check says.
    fn read(octets: &'o [u8], place: usize) -> Option<Record<'o>> {
        let lengths = octets.get(place..place.checked_add(8)?)?;
        let key_start = place.checked_add(RECORD)?;
        let value_start = key_start.checked_add(word(octets, place)? as usize)?;
        let value_end = value_start.checked_add(word(octets, place + 4)? as usize)?;
        let end = value_end.checked_next_multiple_of(UNIT)?;
        let texts = octets.get(key_start..value_end)?;
        let filling = octets.get(value_end..end)?;
        if word(octets, place + 8)? != sum(&[lengths, texts]) as u32
            || filling.iter().any(|octet| *octet != 0)
        {
            return None;
        }
        let (key, value) = texts.split_at_checked(value_start - key_start)?;
        Some(Record {
            place,
            key: std::str::from_utf8(key).ok()?,
            value: std::str::from_utf8(value).ok()?,
            end,
        })
    }

    fn write(key: &str, value: &str, image: &mut Vec<u8>) {
        let size = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
        let lengths = [size(key), size(value)].concat();
        let texts = [key.as_bytes(), value.as_bytes()].concat();
        image.extend_from_slice(&lengths);
        image.extend_from_slice(&(sum(&[&lengths, &texts]) as u32).to_le_bytes());
        image.extend_from_slice(&texts);
        image.resize(image.len().next_multiple_of(UNIT), 0);
    }
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    let found = octets.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(found.try_into().ok()?))
}

fn long(octets: &[u8], at: usize) -> Option<u64> {
    let found = octets.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(found.try_into().ok()?))
}

/// A place in units; one beyond 16 GiB leads nowhere, and is then found to be damaged.
fn unit(place: usize) -> u32 {
    u32::try_from(place / UNIT).unwrap_or(u32::MAX)
}

/// The one sum of the format, for checks and for slots: against damage, not against malice. Keys are the operator's.
fn sum(parts: &[&[u8]]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (mut sum, mut length) = (0xcbf2_9ce4_8422_2325_u64, 0_u64);
    let stir = |sum: u64, word: u64| {
        let product = (sum ^ word).wrapping_mul(FACTOR);
        product ^ (product >> 32)
    };
    for part in parts {
        length += part.len() as u64;
        let (words, rest) = part.as_chunks::<8>();
        for word in words {
            sum = stir(sum, u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            sum = stir(sum, u64::from_le_bytes(word));
        }
    }
    stir(sum, length)
}

/// What a database is made of: by key, the value and where it stands.
pub(super) type Entries = BTreeMap<String, (String, Option<Span>)>;

pub(super) fn build(entries: &Entries, sources: &[String]) -> Database {
    let count = entries.len();
    let slots = if count == 0 { 0 } else { (2 * count).next_power_of_two() };
    let mut image = vec![0; HEADER + slots * SLOT];
    for source in sources {
        Record::write(source, "", &mut image);
    }
    let first = image.len();
    let mut spans = Vec::new();
    let (mut longest, mut brackets) = (0, 0);
    for (key, (value, span)) in entries {
        let place = unit(image.len());
        longest = longest.max(key.len());
        brackets += usize::from(has_brackets(value));
        spans.extend(span.map(|span| (place, span)));
        let hash = sum(&[key.as_bytes()]);
        let mut slot = hash as usize & (slots - 1);
        while long(&image, HEADER + slot * SLOT).is_some_and(|word| word != 0) {
            slot = (slot + 1) & (slots - 1);
        }
        let at = HEADER + slot * SLOT;
        image[at..at + SLOT].copy_from_slice(&(hash >> 32 << 32 | u64::from(place)).to_le_bytes());
        Record::write(key, value, &mut image);
    }
    let shape = Shape {
        entries: count,
        sources: sources.len(),
        slots,
        first,
        key_length_max: longest,
        with_brackets: brackets,
    };
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    for word in [VERSION, count as u32, sources.len() as u32, slots as u32] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    header.extend_from_slice(&(image.len() as u64).to_le_bytes());
    header.extend_from_slice(&(first as u64).to_le_bytes());
    for word in [longest as u32, brackets as u32] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    header.extend_from_slice(&sum(&[&image[HEADER..first]]).to_le_bytes());
    let sum = sum(&[&header]);
    header.extend_from_slice(&sum.to_le_bytes());
    image[..HEADER].copy_from_slice(&header);
    Database { octets: Octets::Own(image.into()), shape, spans: spans.into() }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
