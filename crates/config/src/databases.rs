//! Text databases: a key, blanks, a value on each line, held as one sorted image.
//!
//! The image in memory is byte for byte the file that `sluice compile` writes (`docs/internals/database-format.md`), so
//! reading text and reading a compiled file end in the same place: [`Database::get`] looks into it, and nothing is
//! unpacked. A table of numbers, made when the image is taken, leads from the hash of a key to its entry: a search among
//! a million sorted keys would wait for memory forty times. Keys are compared without case; of two entries with one key the first counts.
//!
//! # Not here
//! What a value means: template text, addresses, patterns (`rewrite`). Writing files (the binary).

use crate::aliases::{Alias, names_files};
use crate::codes;
use crate::files::Files;
use crate::lines::{Line, Manner, Reader};
use foldhash::fast::FixedState;
use sluice_diag::{Diagnostic, Sources, Span};
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;

/// The databases that are looked for in the configuration folder, as `NAME.txt` and `NAME.db`.
pub const DATABASES: [&str; 5] = ["general", "domain", "alias", "reverse", "forward"];

/// Characters of a key or value that the products keep.
const PART_LENGTH_MAX: usize = 252;

const MAGIC: &[u8; 8] = b"SLUICEDB";
const VERSION: u32 = 1;
/// Magic, version, number of entries, number of sources, reserved, checksum.
const HEADER: usize = 32;
/// Offset and length of a key, offset and length of its value.
const ENTRY: usize = 16;
/// Offset and length of the name of a source.
const SOURCE: usize = 8;

/// One database. [`Database::default`] is an empty one.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    image: Box<[u8]>,
    /// Numbers of entries, each at the first free slot from the hash of its key on; [`FREE`] where there is none.
    slots: Box<[u32]>,
    /// Where the entries stand, in the order of their keys; empty for a database that was read from its compiled form.
    places: Box<[Span]>,
}

/// A slot without an entry.
const FREE: u32 = u32::MAX;

/// Why bytes are not a compiled database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseError {
    /// They begin differently, or end before the header does.
    NotADatabase,
    /// It is of another version, which is given.
    Version(u32),
    /// The checksum is not that of the content: the file is damaged or was cut short.
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
            DatabaseError::Checksum => f.write_str("its checksum is wrong: it is damaged or was cut short"),
            DatabaseError::Damaged => f.write_str("an entry in it is damaged"),
        }
    }
}

impl std::error::Error for DatabaseError {}

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

impl Database {
    /// A database of these entries; of equal keys the first counts.
    pub fn from_pairs<K: AsRef<str>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Database {
        let mut entries = BTreeMap::new();
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
        if image.len() < HEADER || &image[..8] != MAGIC {
            return Err(DatabaseError::NotADatabase);
        }
        let mut database = Database { image: image.into(), slots: Box::default(), places: Box::default() };
        let version = database.word(8);
        if version != VERSION {
            return Err(DatabaseError::Version(version));
        }
        if u64::from_le_bytes(array(&database.image[24..32])) != checksum(&database.image) {
            return Err(DatabaseError::Checksum);
        }
        let table = HEADER as u64
            + database.len() as u64 * ENTRY as u64
            + u64::from(database.word(16)) * SOURCE as u64;
        if table > database.image.len() as u64 {
            return Err(DatabaseError::Damaged);
        }
        let mut before: Option<&str> = None;
        for index in 0..database.len() {
            let at = HEADER + index * ENTRY;
            let (Some(key), Some(_)) = (database.text(at), database.text(at + 8)) else {
                return Err(DatabaseError::Damaged);
            };
            if before.is_some_and(|before| before >= key) {
                return Err(DatabaseError::Damaged);
            }
            before = Some(key);
        }
        if (0..database.word(16)).any(|index| database.text(database.source_at(index)).is_none()) {
            return Err(DatabaseError::Damaged);
        }
        database.slots = database.index();
        Ok(database)
    }

    /// The compiled form.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.word(12) as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key, case aside.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        if key.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
            return self.find(&key.to_lowercase()).map(|index| self.entry(index).1);
        }
        self.find(key).map(|index| self.entry(index).1)
    }

    /// All entries, keys in lower case, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// Where the entry of a key stands, if the database was read from text.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<Span> {
        self.places.get(self.find(&key.to_lowercase())?).copied()
    }

    /// The same entries, which no longer say where they stand: for a reader with other sources.
    #[must_use]
    pub fn without_places(self) -> Database {
        Database { places: Box::default(), ..self }
    }

    /// Length of the longest key, in octets.
    #[must_use]
    pub fn key_length_max(&self) -> usize {
        self.iter().map(|(key, _)| key.len()).max().unwrap_or(0)
    }

    /// The files that were included into the text it was compiled from.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        (0..self.word(16)).filter_map(|index| self.text(self.source_at(index)))
    }

    /// The number of the entry with this key.
    fn find(&self, key: &str) -> Option<usize> {
        let mut slot = Self::first_slot(key, self.slots.len());
        loop {
            match *self.slots.get(slot)? {
                FREE => return None,
                number if self.entry(number as usize).0 == key => return Some(number as usize),
                _ => slot = (slot + 1) % self.slots.len(),
            }
        }
    }

    /// The slots for all entries: at most half of them are taken, so that every search ends.
    fn index(&self) -> Box<[u32]> {
        let count = self.len();
        let mut slots = vec![FREE; if count == 0 { 0 } else { (2 * count).next_power_of_two() }];
        for number in 0..count {
            let mut slot = Self::first_slot(self.entry(number).0, slots.len());
            while slots[slot] != FREE {
                slot = (slot + 1) % slots.len();
            }
            slots[slot] = number as u32;
        }
        slots.into()
    }

    /// Where the search for a key begins. The keys are the operator's, so the hash needs no secret.
    fn first_slot(key: &str, slots: usize) -> usize {
        (FixedState::default().hash_one(key) % slots.max(1) as u64) as usize
    }

    /// Checked when the image was taken, so that the empty text never stands in here.
    fn entry(&self, index: usize) -> (&str, &str) {
        let at = HEADER + index * ENTRY;
        (self.text(at).unwrap_or_default(), self.text(at + 8).unwrap_or_default())
    }

    fn source_at(&self, index: u32) -> usize {
        HEADER + self.len() * ENTRY + index as usize * SOURCE
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(array(&self.image[at..at + 4]))
    }

    /// The text that the offset and length at `at` name.
    fn text(&self, at: usize) -> Option<&str> {
        let start = self.word(at) as usize;
        let end = start.checked_add(self.word(at + 4) as usize)?;
        std::str::from_utf8(self.image.get(start..end)?).ok()
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// FNV-1a over eight octets at a time, with 64 bits, of everything but the checksum itself: against damage, not against
/// malice.
fn checksum(image: &[u8]) -> u64 {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    for part in [&image[..24], &image[HEADER..]] {
        for chunk in part.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
            sum ^= sum >> 32;
        }
    }
    sum ^ image.len() as u64
}

type Entries = BTreeMap<String, (String, Option<Span>)>;

fn build(entries: &Entries, sources: &[String]) -> Database {
    let size = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut image = Vec::new();
    image.extend_from_slice(MAGIC);
    for word in [VERSION, entries.len() as u32, sources.len() as u32, 0, 0, 0] {
        image.extend_from_slice(&word.to_le_bytes());
    }
    let mut at = (HEADER + entries.len() * ENTRY + sources.len() * SOURCE) as u32;
    let texts = || entries.iter().flat_map(|(key, (value, _))| [key, value]).chain(sources);
    for text in texts() {
        image.extend_from_slice(&at.to_le_bytes());
        image.extend_from_slice(&size(text).to_le_bytes());
        at = at.saturating_add(size(text));
    }
    for text in texts() {
        image.extend_from_slice(text.as_bytes());
    }
    let sum = checksum(&image);
    image[24..32].copy_from_slice(&sum.to_le_bytes());
    let places: Option<Box<[Span]>> = entries.values().map(|(_, span)| *span).collect();
    let mut database =
        Database { image: image.into(), slots: Box::default(), places: places.unwrap_or_default() };
    database.slots = database.index();
    database
}

/// The databases of a configuration, by name. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Databases {
    by_name: HashMap<String, Arc<Database>>,
}

impl Databases {
    /// The database of that name, case aside; `None` when there is no file for it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Database> {
        self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase())).map(Arc::as_ref)
    }

    /// Puts a database in, in the place of one of that name.
    pub fn set(&mut self, name: &str, database: Database) {
        self.by_name.insert(name.to_lowercase(), Arc::new(database));
    }

    /// Takes the database of that name out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// The value of a key in the database of that name.
    #[must_use]
    pub fn value(&self, name: &str, key: &str) -> Option<&str> {
        self.get(name)?.get(key)
    }
}

/// Reads one text database, whether or not there is a compiled one. `folder` is where the names of included files start
/// from. There is none when there is no such file.
#[must_use]
pub fn read_database(
    files: &dyn Files,
    folder: &Path,
    text: &Path,
) -> (Option<Database>, Sources, Vec<Diagnostic>) {
    let mut reader = Reader::new(files, folder, Manner::DATABASE);
    let database = read_text(text, &mut reader);
    (database, reader.sources, reader.diagnostics)
}

/// Reads the databases that stand beside the main file.
pub(crate) fn read_all(folder: &Path, reader: &mut Reader<'_>) -> Databases {
    let mut databases = Databases::default();
    for name in DATABASES {
        let text = reader.here(&folder.join(format!("{name}.txt")));
        let compiled = folder.join(format!("{name}.db"));
        if let Some(database) = read_compiled(&text, &compiled, reader).or_else(|| read_text(&text, reader)) {
            databases.set(name, database);
        }
    }
    databases
}

/// The compiled form, if it is whole and newer than the text and all that the text includes, or if there is no text.
fn read_compiled(text: &Path, compiled: &Path, reader: &mut Reader<'_>) -> Option<Database> {
    let compiled_at = reader.files.modified(compiled).ok()?;
    let is_older = |path: &Path, reader: &Reader<'_>| match reader.files.modified(path) {
        Ok(changed) => changed < compiled_at,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_older(text, reader) {
        return None;
    }
    let complain = |message: String, reader: &mut Reader<'_>| {
        let source = reader.sources.add(compiled, String::new());
        let remark = Diagnostic::new(&codes::BAD_COMPILED_DATABASE, message).at(Span::new(source, 0, 0));
        reader.push(remark.help("`sluice compile` writes it anew; until then the text is read"));
    };
    let image = match reader.files.read(compiled) {
        Ok(image) => image,
        Err(error) => {
            complain(format!("cannot read {}: {error}", compiled.display()), reader);
            return None;
        }
    };
    match Database::from_image(image) {
        Ok(database) => {
            let current = database.sources().all(|source| is_older(Path::new(source), reader));
            current.then_some(database)
        }
        Err(error) => {
            complain(format!("{} is not used: {error}", compiled.display()), reader);
            None
        }
    }
}

/// Reads a database from its text; `None` when there is no such file.
pub(crate) fn read_text(path: &Path, reader: &mut Reader<'_>) -> Option<Database> {
    let text = reader.read_optional_as(path, Manner::DATABASE)?;
    let is_alias = path.file_stem().is_some_and(|stem| stem == "alias");
    let mut entries = Entries::new();
    for line in text.lines.iter().filter(|line| !line.is_blank()) {
        entry(line, is_alias, &mut entries, reader);
    }
    let mut sources: Vec<String> = Vec::new();
    for line in &text.lines {
        let source = line.whole().source;
        let name = reader.sources.path(source).display().to_string();
        if source != text.source && !sources.contains(&name) {
            sources.push(name);
        }
    }
    Some(build(&entries, &sources))
}

fn entry(line: &Line, is_alias: bool, entries: &mut Entries, reader: &mut Reader<'_>) {
    let start = line.text.len() - line.text.trim_start().len();
    let rest = &line.text[start..];
    let key_end = start + rest.find([' ', '\t']).unwrap_or(rest.len());
    let key = &line.text[start..key_end];
    let span = line.span(&(start..key_end));
    let value = line.text[key_end..].trim();
    if key.starts_with('!') {
        let remark = Diagnostic::new(&codes::MISPLACED_COMMENT, "`!` makes a comment only in column one");
        reader.push(remark.at(line.whole()).help("take out the blanks in front of it"));
        return;
    }
    if value.is_empty() {
        let message = format!("the entry `{key}` has no value");
        let remark = Diagnostic::new(&codes::DATABASE_ENTRY_WITHOUT_VALUE, message).at(span);
        reader.push(remark.help("write the value behind the key, with a blank in between"));
        return;
    }
    let value_start = line.text.len() - line.text[key_end..].trim_start().len();
    for (what, part, range) in [("key", key, start..key_end), ("value", value, value_start..line.text.len())]
    {
        let length = part.chars().count();
        if length > PART_LENGTH_MAX {
            let message = format!(
                "the {what} of a database entry has {length} characters, more than {PART_LENGTH_MAX}"
            );
            let remark = Diagnostic::new(&codes::DATABASE_ENTRY_TOO_LONG, message).at(line.span(&range));
            reader.push(remark.help("the products keep 252; it works here"));
        }
    }
    // What an entry says about files is read with the alias file.
    if is_alias && !names_files(value) {
        for why in Alias::from_value(key, value).1 {
            let message = format!("bad equivalence for alias `{key}`: {why}");
            reader.push(
                Diagnostic::new(&codes::BAD_ALIAS_ADDRESS, message)
                    .at(line.span(&(value_start..line.text.len()))),
            );
        }
    }
    match entries.entry(key.to_lowercase()) {
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert((value.to_owned(), Some(span)));
        }
        std::collections::btree_map::Entry::Occupied(first) => {
            let message = format!("the key `{key}` is there twice; the first entry counts");
            let mut remark = Diagnostic::new(&codes::DUPLICATE_DATABASE_KEY, message).at(span);
            if let Some(first) = first.get().1 {
                remark = remark.note(first, "the first is here");
            }
            reader.push(remark.help("take one of the two out"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> Database {
        Database::from_pairs([
            ("Zwei", "2"),
            ("eins", "1"),
            ("eins", "one"),
            ("drei.Ärger", "3"),
            ("leer", ""),
        ])
    }

    #[test]
    fn keys_are_found_without_case_and_the_first_of_two_counts() {
        let database = sample();
        assert_eq!(database.len(), 4);
        for (key, value) in [("eins", "1"), ("EINS", "1"), ("zwei", "2"), ("DREI.ÄRGER", "3"), ("leer", "")]
        {
            assert_eq!(database.get(key), Some(value), "{key}");
        }
        assert_eq!(database.get("ein"), None);
        assert_eq!(database.get(""), None);
        assert_eq!(Database::default().get("x"), None);
    }

    #[test]
    fn the_compiled_form_is_read_back_and_every_damage_is_found() {
        let database = sample();
        let image = database.image().to_vec();
        assert_eq!(Database::from_image(image.clone()).unwrap(), database);
        for at in 0..image.len() {
            let mut damaged = image.clone();
            damaged[at] ^= 0x40;
            assert!(Database::from_image(damaged).is_err(), "octet {at}");
            assert!(Database::from_image(image[..at].to_vec()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_of_another_version_says_so() {
        let mut image = sample().image().to_vec();
        image[8] = 9;
        assert_eq!(Database::from_image(image), Err(DatabaseError::Version(9)));
        assert_eq!(Database::from_image(b"text".to_vec()), Err(DatabaseError::NotADatabase));
    }

    #[test]
    fn entries_out_of_order_or_out_of_bounds_are_refused_even_with_a_good_checksum() {
        let good = Database::from_pairs([("a", "1"), ("b", "2")]).image().to_vec();
        let sealed = |mut image: Vec<u8>| {
            let sum = checksum(&image);
            image[24..32].copy_from_slice(&sum.to_le_bytes());
            Database::from_image(image)
        };
        let mut swapped = good.clone();
        let (first, second) = (good[32..48].to_vec(), good[48..64].to_vec());
        swapped[32..48].copy_from_slice(&second);
        swapped[48..64].copy_from_slice(&first);
        assert_eq!(sealed(swapped), Err(DatabaseError::Damaged));
        let mut far = good.clone();
        far[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(sealed(far), Err(DatabaseError::Damaged));
        let mut many = good;
        many[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(sealed(many), Err(DatabaseError::Damaged));
    }
}
