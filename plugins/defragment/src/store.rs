//! Where pieces wait for the others: a folder for each message, made so that a piece that was taken survives a crash.
//!
//! `docs/internals/defragment-store.md` has the format. A set is the pieces with one id, of one sender, for the same recipients in one
//! domain. Nothing but counts is kept in memory: what is in the folder is what there is.
//!
//! # Failure
//! An error of the file system is the caller's to defer by; what was half written is removed at the next start. What cannot be read is
//! left where it is and named.
//! # Not here
//! What is done with a whole message (`lib`), and its octets (`joining`).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sluice_mail::mime::{Partial, split};

/// The version of what is written.
const VERSION: u32 = 1;
const SET: &str = "set.json";
const PIECE: &str = "piece";
const DONE: &str = "done";
/// What was not ended yet has this behind its name.
const UNFINISHED: &str = "new";
/// Where sets go that nobody takes.
const REFUSED: &str = "refused";

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Sets.
    pub(crate) sets: usize,
    /// Pieces of a message.
    pub(crate) pieces: u32,
    /// Octets of a message.
    pub(crate) octets: u64,
    /// Octets of all.
    pub(crate) stored: u64,
}

/// A recipient of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct To {
    pub(crate) address: String,
    pub(crate) original: String,
    pub(crate) notify: u8,
    pub(crate) origin: String,
}

/// What the pieces of a set have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Set {
    version: u32,
    pub(crate) id: String,
    pub(crate) sender: String,
    pub(crate) smtputf8: bool,
    /// When the first piece came, in seconds since 1970.
    pub(crate) since: u64,
    pub(crate) recipients: Vec<To>,
}

/// A message that was put together: which octets of which piece are known for repetitions.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    version: u32,
    until: u64,
    /// Hashes of the bodies, in order.
    pieces: Vec<String>,
}

impl Set {
    pub(crate) fn new(id: &str, sender: &str, smtputf8: bool, mut recipients: Vec<To>, now: u64) -> Set {
        recipients.sort();
        Set {
            version: VERSION,
            id: id.to_owned(),
            sender: sender.to_owned(),
            smtputf8,
            since: now,
            recipients,
        }
    }

    /// The name of its folder.
    fn name(&self) -> String {
        let mut hash = Sha256::new();
        let addresses = self.recipients.iter().map(|to| to.address.as_str());
        for part in [self.id.as_str(), &self.sender].into_iter().chain(addresses) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hex(&hash.finalize()[..16])
    }
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It waits.
    Kept,
    /// It has been here before.
    Known,
    /// It belongs to a message that has gone.
    Gone,
    /// It is not kept, for this reason, and nothing has changed.
    Not(&'static str),
}

/// A piece that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    number: u32,
    total: Option<u32>,
    path: PathBuf,
}

/// The folder of the sets.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    limits: Limits,
    sets: usize,
    stored: u64,
}

impl Store {
    /// Opens the folder, and makes it where there is none.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn open(folder: &Path, limits: Limits) -> io::Result<Store> {
        fs::create_dir_all(folder)?;
        let mut store = Store { folder: folder.to_owned(), limits, sets: 0, stored: 0 };
        for path in listed(folder)? {
            if has_end(&path, UNFINISHED) {
                remove(&path)?;
                continue;
            }
            if !is_set(&path) {
                continue;
            }
            for inside in listed(&path)?.iter().filter(|inside| has_end(inside, UNFINISHED)) {
                remove(inside)?;
            }
            for piece in pieces_in(&path)? {
                store.stored += fs::metadata(&piece.path)?.len();
            }
            store.sets += 1;
        }
        Ok(store)
    }

    /// Keeps a piece: it is on the disk afterwards. `piece` is the whole message that it came in, plain.
    ///
    /// # Errors
    /// Those of the file system; the piece is not kept then.
    pub(crate) fn put(&mut self, set: &Set, says: &Partial, piece: &[u8], now: u64) -> io::Result<Put> {
        let name = set.name();
        let folder = self.folder.join(&name);
        if self.was_done(&name, says.number, piece, now)? {
            return Ok(Put::Gone);
        }
        let there = folder.is_dir();
        let pieces = if there { pieces_in(&folder)? } else { Vec::new() };
        if let Some(known) = pieces.iter().find(|known| known.number == says.number) {
            let same = split(&fs::read(&known.path)?).1 == split(piece).1
                && known.total.is_none_or(|total| says.total.is_none_or(|other| other == total));
            return Ok(if same { Put::Known } else { Put::Not("another piece has its number") });
        }
        let total = pieces.iter().find_map(|known| known.total).or(says.total);
        let highest = pieces.iter().map(|known| known.number).chain([says.number]).max().unwrap_or(0);
        let size: u64 =
            pieces.iter().map(|known| fs::metadata(&known.path).map_or(0, |about| about.len())).sum();
        let why = match () {
            () if says.total.is_some() && says.total != total => {
                Some("the pieces do not agree on how many there are")
            }
            () if total.is_some_and(|total| highest > total) => {
                Some("its number is higher than there are pieces")
            }
            () if highest > self.limits.pieces || total.is_some_and(|total| total > self.limits.pieces) => {
                Some("the message has more pieces than MAX_PIECES")
            }
            () if size + piece.len() as u64 > self.limits.octets => {
                Some("the message is larger than MAX_SIZE")
            }
            () if self.stored + piece.len() as u64 > self.limits.stored => {
                Some("more than MAX_STORED octets wait already")
            }
            () if !there && self.sets >= self.limits.sets => {
                Some("pieces of MAX_MESSAGES messages wait already")
            }
            () => None,
        };
        if let Some(why) = why {
            return Ok(Put::Not(why));
        }
        if !there {
            let made = self.folder.join(format!("{name}.{UNFINISHED}"));
            if made.exists() {
                remove(&made)?;
            }
            fs::create_dir(&made)?;
            write(&made.join(SET), &json(set)?)?;
            sync(&made)?;
            fs::rename(&made, &folder)?;
            sync(&self.folder)?;
            self.sets += 1;
        }
        let file = format!("{:04}-{}.{PIECE}", says.number, says.total.unwrap_or(0));
        write_by_name(&folder, &file, piece)?;
        self.stored += piece.len() as u64;
        Ok(Put::Kept)
    }

    /// All pieces of a set in order, if they are there.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn whole(&self, set: &Set) -> io::Result<Option<Vec<Vec<u8>>>> {
        let folder = self.folder.join(set.name());
        if !folder.is_dir() {
            return Ok(None);
        }
        let pieces = pieces_in(&folder)?;
        let Some(total) = pieces.iter().find_map(|piece| piece.total) else { return Ok(None) };
        let all = pieces.len() as u64 == u64::from(total)
            && (1..=total).zip(&pieces).all(|(number, piece)| number == piece.number);
        if !all {
            return Ok(None);
        }
        pieces.iter().map(|piece| fs::read(&piece.path)).collect::<io::Result<Vec<_>>>().map(Some)
    }

    /// How many pieces of a set are there, and of how many, as far as is known.
    pub(crate) fn progress(&self, set: &Set) -> (usize, Option<u32>) {
        let pieces = pieces_in(&self.folder.join(set.name())).unwrap_or_default();
        (pieces.len(), pieces.iter().find_map(|piece| piece.total))
    }

    /// The message has gone: its pieces are removed, and known for repetitions until then.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn done(&mut self, set: &Set, pieces: &[Vec<u8>], until: u64) -> io::Result<()> {
        let hashes = pieces.iter().map(|piece| body_hash(piece)).collect();
        let done = Done { version: VERSION, until, pieces: hashes };
        write_by_name(&self.folder, &format!("{}.{DONE}", set.name()), &json(&done)?)?;
        self.remove(&self.folder.join(set.name()))
    }

    /// Only these recipients are left of a set: it goes on as theirs.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn narrow(&mut self, set: &Set, left: Vec<To>) -> io::Result<()> {
        let narrowed = Set { recipients: left, ..set.clone() };
        let (from, to) = (self.folder.join(set.name()), self.folder.join(narrowed.name()));
        write_by_name(&from, SET, &json(&narrowed)?)?;
        if to.exists() {
            self.remove(&to)?;
        }
        fs::rename(from, to)?;
        sync(&self.folder)
    }

    /// Sets whose first piece came before then, with their folders. Those that cannot be read are named in `troubles`.
    pub(crate) fn older(&self, then: u64, troubles: &mut Vec<String>) -> Vec<(PathBuf, Set)> {
        let mut found = Vec::new();
        for path in listed(&self.folder).unwrap_or_default() {
            if !is_set(&path) {
                continue;
            }
            let read =
                fs::read(path.join(SET)).and_then(|octets| Ok(serde_json::from_slice::<Set>(&octets)?));
            match read {
                Ok(set) if set.version != VERSION => {
                    troubles.push(format!("{}: it is of version {}", path.display(), set.version));
                }
                Ok(set) if set.since < then => found.push((path, set)),
                Ok(_) => {}
                Err(error) => troubles.push(format!("{}: {error}", path.display())),
            }
        }
        found
    }

    /// The files of the pieces in the folder of a set, in order.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn pieces(folder: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(pieces_in(folder)?.into_iter().map(|piece| piece.path).collect())
    }

    /// Removes one piece of a set, and the set with its last one.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn remove_piece(&mut self, folder: &Path, piece: &Path) -> io::Result<()> {
        let size = fs::metadata(piece)?.len();
        fs::remove_file(piece)?;
        self.stored = self.stored.saturating_sub(size);
        if pieces_in(folder)?.is_empty() { self.remove(folder) } else { sync(folder) }
    }

    /// Moves a set aside that nobody takes; its new place.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn set_aside(&mut self, folder: &Path, since: u64) -> io::Result<PathBuf> {
        let refused = self.folder.join(REFUSED);
        fs::create_dir_all(&refused)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let to = refused.join(format!("{name}-{since}"));
        fs::rename(folder, &to)?;
        self.sets = self.sets.saturating_sub(1);
        sync(&refused)?;
        sync(&self.folder)?;
        Ok(to)
    }

    /// Forgets repetitions of what went before then.
    pub(crate) fn forget(&self, now: u64) {
        for path in listed(&self.folder).unwrap_or_default() {
            if has_end(&path, DONE) && read_done(&path).is_none_or(|done| done.until < now) {
                // It is tried again with the next round.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn was_done(&self, name: &str, number: u32, piece: &[u8], now: u64) -> io::Result<bool> {
        let path = self.folder.join(format!("{name}.{DONE}"));
        let Some(done) = read_done(&path) else { return Ok(false) };
        if done.until < now {
            fs::remove_file(path)?;
            return Ok(false);
        }
        Ok(done.pieces.get(number as usize - 1).is_some_and(|hash| *hash == body_hash(piece)))
    }

    fn remove(&mut self, folder: &Path) -> io::Result<()> {
        let size: u64 = pieces_in(folder)?
            .iter()
            .map(|piece| fs::metadata(&piece.path).map_or(0, |about| about.len()))
            .sum();
        // Under another name first, so that a crash leaves no half of a set.
        let gone = folder.with_extension(UNFINISHED);
        fs::rename(folder, &gone)?;
        sync(&self.folder)?;
        self.sets = self.sets.saturating_sub(1);
        self.stored = self.stored.saturating_sub(size);
        fs::remove_dir_all(gone)
    }
}

fn body_hash(piece: &[u8]) -> String {
    hex(&Sha256::digest(split(piece).1))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn json<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn read_done(path: &Path) -> Option<Done> {
    let done: Done = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (done.version == VERSION).then_some(done)
}

fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn has_end(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|extension| extension == end)
}

/// The folder of a set has its hash for a name.
fn is_set(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 32 && name.bytes().all(|octet| octet.is_ascii_hexdigit()) && path.is_dir()
}

fn pieces_in(folder: &Path) -> io::Result<Vec<Piece>> {
    let mut pieces: Vec<Piece> = listed(folder)?
        .into_iter()
        .filter(|path| has_end(path, PIECE))
        .filter_map(|path| {
            let (number, total) = path.file_stem()?.to_str()?.split_once('-')?;
            let total: u32 = total.parse().ok()?;
            Some(Piece { number: number.parse().ok()?, total: (total > 0).then_some(total), path })
        })
        .collect();
    pieces.sort_by_key(|piece| piece.number);
    Ok(pieces)
}

fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(octets)?;
    file.sync_all()
}

/// Writes a file under another name, and gives it its own when it is whole.
fn write_by_name(folder: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    let unfinished = folder.join(format!("{name}.{UNFINISHED}"));
    let written = write(&unfinished, octets).and_then(|()| fs::rename(&unfinished, folder.join(name)));
    if let Err(error) = written {
        // On a full disk it would keep the room that it has.
        let _ = fs::remove_file(unfinished);
        return Err(error);
    }
    sync(folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { sets: 2, pieces: 5, octets: 1000, stored: 1500 };

    fn set(id: &str) -> Set {
        let to = To { address: "r@b".into(), original: "r@b".into(), notify: 0, origin: String::new() };
        Set::new(id, "s@a", false, vec![to], 100)
    }

    fn says(number: u32, total: u32) -> Partial {
        Partial { id: "x".into(), number, total: (total > 0).then_some(total) }
    }

    fn piece(text: &str) -> Vec<u8> {
        format!("Received: {}\r\n\r\n{text}", text.len()).into_bytes()
    }

    fn put(store: &mut Store, id: &str, number: u32, total: u32, text: &str) -> Put {
        store.put(&set(id), &says(number, total), &piece(text), 100).unwrap()
    }

    #[test]
    fn pieces_come_in_any_order_and_more_than_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), LIMITS).unwrap();
        assert_eq!(put(&mut store, "x", 3, 3, "three"), Put::Kept);
        assert_eq!(put(&mut store, "x", 1, 0, "one"), Put::Kept);
        assert_eq!(put(&mut store, "x", 1, 0, "one"), Put::Known);
        assert_eq!(store.whole(&set("x")).unwrap(), None);
        assert_eq!(store.progress(&set("x")), (2, Some(3)));
        // As after a crash.
        let mut store = Store::open(folder.path(), LIMITS).unwrap();
        assert_eq!(put(&mut store, "x", 2, 3, "two"), Put::Kept);
        let whole = store.whole(&set("x")).unwrap().unwrap();
        assert_eq!(whole, [piece("one"), piece("two"), piece("three")]);
        store.done(&set("x"), &whole, 200).unwrap();
        assert_eq!(put(&mut store, "x", 2, 3, "two"), Put::Gone);
        assert_eq!(
            put(&mut store, "x", 2, 3, "another"),
            Put::Kept,
            "an id that is used again loses nothing"
        );
        assert_eq!((store.sets, store.stored), (1, piece("another").len() as u64));
        store.forget(201);
        assert_eq!(put(&mut store, "x", 1, 3, "one"), Put::Kept);
    }

    #[test]
    fn what_contradicts_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), LIMITS).unwrap();
        assert_eq!(put(&mut store, "x", 2, 3, "two"), Put::Kept);
        for (number, total, text) in [(2, 3, "other"), (1, 4, "one"), (4, 0, "four"), (2, 4, "two")] {
            assert!(matches!(put(&mut store, "x", number, total, text), Put::Not(_)), "{number} of {total}");
        }
        // The other way round: the highest was there before the total.
        assert_eq!(put(&mut store, "y", 5, 0, "five"), Put::Kept);
        assert!(matches!(put(&mut store, "y", 1, 3, "one"), Put::Not(_)));
    }

    #[test]
    fn limits() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), LIMITS).unwrap();
        let long = "y".repeat(600);
        for (id, number, total, text, result) in [
            ("x", 6, 0, "six", Put::Not("the message has more pieces than MAX_PIECES")),
            ("x", 1, 4_000_000_000, "one", Put::Not("the message has more pieces than MAX_PIECES")),
            ("x", 1, 0, &long, Put::Kept),
            ("x", 2, 0, &long, Put::Not("the message is larger than MAX_SIZE")),
            ("y", 1, 0, &long, Put::Kept),
            ("z", 1, 0, "z", Put::Not("pieces of MAX_MESSAGES messages wait already")),
        ] {
            assert_eq!(put(&mut store, id, number, total, text), result, "{id} {number}");
        }
        let mut store = Store::open(folder.path(), Limits { sets: 9, ..LIMITS }).unwrap();
        assert_eq!(put(&mut store, "z", 1, 0, &long), Put::Not("more than MAX_STORED octets wait already"));
    }

    #[test]
    fn sets_are_of_one_sender_and_the_same_recipients() {
        let to = |address: &str| To {
            address: address.into(),
            original: String::new(),
            notify: 0,
            origin: String::new(),
        };
        let name = |sender: &str, all: &[&str]| {
            Set::new("x", sender, false, all.iter().map(|one| to(one)).collect(), 1).name()
        };
        assert_eq!(name("s", &["a", "b"]), name("s", &["b", "a"]));
        assert_ne!(name("s", &["a"]), name("s", &["a", "b"]));
        assert_ne!(name("s", &["ab"]), name("s", &["a", "b"]));
        assert_ne!(name("s", &["a"]), name("t", &["a"]));
    }

    #[test]
    fn old_sets_and_what_is_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), LIMITS).unwrap();
        put(&mut store, "x", 2, 3, "two");
        put(&mut store, "x", 1, 3, "one");
        let mut troubles = Vec::new();
        assert_eq!(store.older(100, &mut troubles).len(), 0);
        let found = store.older(101, &mut troubles);
        let (place, old) = &found[0];
        assert_eq!(*old, set("x"));
        let pieces = Store::pieces(place).unwrap();
        assert_eq!(pieces.len(), 2);
        store.remove_piece(place, &pieces[0]).unwrap();
        assert!(place.is_dir());
        store.remove_piece(place, &pieces[1]).unwrap();
        assert!(!place.exists() && (store.sets, store.stored) == (0, 0));
        put(&mut store, "y", 1, 0, "one");
        let (place, old) = store.older(101, &mut troubles).remove(0);
        fs::write(place.join("0002-0.piece.new"), "half").unwrap();
        fs::create_dir(folder.path().join("0123456789abcdef0123456789abcdef.new")).unwrap();
        fs::create_dir(folder.path().join("0123456789abcdef0123456789abcdef")).unwrap();
        let mut store = Store::open(folder.path(), LIMITS).unwrap();
        assert_eq!((Store::pieces(&place).unwrap().len(), store.sets), (1, 2));
        assert_eq!(store.older(101, &mut troubles).len(), 1);
        assert!(troubles[0].contains("0123456789abcdef"), "{troubles:?}");
        let aside = store.set_aside(&place, old.since).unwrap();
        assert!(aside.join("set.json").is_file() && aside.starts_with(folder.path().join("refused")));
    }

    #[test]
    fn a_set_goes_on_with_fewer_recipients() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), LIMITS).unwrap();
        let to = |address: &str| To {
            address: address.into(),
            original: String::new(),
            notify: 0,
            origin: String::new(),
        };
        let both = Set::new("x", "s", false, vec![to("a"), to("b")], 1);
        store.put(&both, &says(1, 2), &piece("one"), 1).unwrap();
        store.narrow(&both, vec![to("b")]).unwrap();
        let one = Set::new("x", "s", false, vec![to("b")], 1);
        assert_eq!(store.progress(&one), (1, Some(2)));
        assert_eq!(store.put(&one, &says(1, 2), &piece("one"), 1).unwrap(), Put::Known);
        assert_eq!(store.put(&one, &says(2, 2), &piece("two"), 1).unwrap(), Put::Kept);
        assert_eq!(store.whole(&one).unwrap().unwrap().len(), 2);
    }
}
