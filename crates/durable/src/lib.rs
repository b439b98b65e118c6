//! Files in folders that channels share with others: written so that they are whole or not there, taken in so that nobody is
//! deceived by what lies there.
//!
//! A file is written under a hidden name, synced, and moved to its own; then the folder is synced, and only after that is it
//! said to be there. Names that begin with a dot are therefore nobody's business: readers pass over them. As long as it is written it is
//! locked (flock(2)), so that [`tidy`] knows what a crash has left from what somebody is at work on.
//!
//! What is read lies in a folder that others write to. Only a regular file with one name is read: no link to a file that its
//! author could not read, no pipe that would never end; and no more of it than is asked for.
//!
//! # Invariants
//! No file is ever written into once it has its name: [`replace`] moves a whole one over it. A failure leaves nothing behind but, at worst, a file with a hidden name.
//! # Not here
//! What is in the files, and in which folders they lie: that is each plugin's own.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, renameat_with};

/// Files that are left over from a crash begin like this.
const HIDDEN: &str = ".part-";
/// Entries of a folder that are looked through for them.
const TIDY_MAX: usize = 100_000;

/// What the system refused, with the file that it was about.
#[derive(Debug)]
pub struct Trouble {
    /// What was wanted: `cannot write`.
    pub what: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Why not.
    pub error: io::Error,
}

impl Trouble {
    fn new(what: &'static str, path: &Path, error: io::Error) -> Trouble {
        Trouble { what, path: path.to_owned(), error }
    }

    /// Whether the disk, or what the account may have of it, is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether there is a file of that name already.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.error.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether the file is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.error.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}: {}", self.what, self.path.display(), self.error)
    }
}

impl std::error::Error for Trouble {}

/// Why a file in a shared folder is not read.
#[derive(Debug)]
pub enum Unread {
    /// It is a link, a folder, a pipe or the like, or has another name beside this one.
    Odd(&'static str),
    /// It has more octets than were asked for: so many.
    TooLarge(u64),
    /// The system refused.
    Failed(Trouble),
}

impl fmt::Display for Unread {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Odd(what) => to.write_str(what),
            Unread::TooLarge(octets) => write!(to, "it has {octets} octets, which is too many"),
            Unread::Failed(trouble) => trouble.fmt(to),
        }
    }
}

impl std::error::Error for Unread {}

/// Writes a file that is not there yet, readable and writable by its owner only, so that it is there for good when this returns.
///
/// # Errors
/// Nothing is there then. [`Trouble::is_taken`] when there is a file of that name.
pub fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Trouble> {
    place(path, fill, false)
}

/// The same, in the place of an older file of that name: whoever opens it finds one of the two, whole.
///
/// # Errors
/// The older file is there as it was.
pub fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Trouble> {
    place(path, fill, true)
}

fn place(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    over: bool,
) -> Result<(), Trouble> {
    let (hidden, file) =
        make_hidden(above(path)).map_err(|error| Trouble::new("cannot write", path, error))?;
    // The lock goes with the file, and the file not before it has its name.
    let written = fill_synced(&file, fill)
        .map_err(|error| Trouble::new("cannot write", path, error))
        .and_then(|()| if over { move_over(&hidden, path) } else { rename(&hidden, path) });
    if written.is_err() {
        // What is left behind has a hidden name and harms nobody.
        drop(fs::remove_file(&hidden));
    }
    written
}

/// How many hidden names this copy of the code has given. A process has several copies, each in a library of its own.
static COUNT: AtomicU64 = AtomicU64::new(0);

fn hidden_name(number: u64) -> String {
    // The address is that of this copy alone.
    format!("{HIDDEN}{}-{:x}-{number}", std::process::id(), std::ptr::from_ref(&COUNT).addr())
}

/// Whether a file has such a name: others may use the beginning of it for theirs.
fn is_hidden_name(name: &std::ffi::OsStr) -> bool {
    let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(HIDDEN)) else { return false };
    let mut parts = rest.split('-');
    let (process, copy, number) = (parts.next(), parts.next(), parts.next());
    process.is_some_and(|process| process.parse::<u32>().is_ok())
        && copy.is_some_and(|copy| u64::from_str_radix(copy, 16).is_ok())
        && number.is_some_and(|number| number.parse::<u64>().is_ok())
        && parts.next().is_none()
}

/// Makes a file with a hidden name that nobody has: another writer may be at work on one that is there, or a crash has left it.
fn make_hidden(folder: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let path = folder.join(hidden_name(COUNT.fetch_add(1, Ordering::Relaxed)));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            // Whoever tidies up just now may have found it before it was locked.
            Ok(file) => match take(&file) {
                Ok(true) if is_at(&file, &path) => return Ok((path, file)),
                Ok(_) => {}
                // On a file system without locks nothing is tidied up either.
                Err(_) => return Ok((path, file)),
            },
        }
    }
}

fn fill_synced(file: &File, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, file);
    fill(&mut out)?;
    out.flush()?;
    file.sync_all()
}

/// Moves a file to a name that is free, and makes sure that it stays there.
///
/// # Errors
/// [`Trouble::is_taken`] when there is a file of that name; nothing has moved then. Any other may come after the move.
pub fn rename(from: &Path, to: &Path) -> Result<(), Trouble> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
        .map_err(|error| Trouble::new("cannot move a file to", to, error.into()))?;
    sync_both(from, to)
}

fn move_over(from: &Path, to: &Path) -> Result<(), Trouble> {
    fs::rename(from, to).map_err(|error| Trouble::new("cannot move a file to", to, error))?;
    sync_both(from, to)
}

fn sync_both(from: &Path, to: &Path) -> Result<(), Trouble> {
    sync_folder(above(to))?;
    if above(from) == above(to) { Ok(()) } else { sync_folder(above(from)) }
}

/// Removes a file, for good. One that is not there is no trouble.
///
/// # Errors
/// When the system refuses; the file may come back after a crash.
pub fn remove(path: &Path) -> Result<(), Trouble> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(above(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Trouble::new("cannot remove", path, error)),
    }
}

/// Makes a folder and those above it that are missing, for their owner only, each synced into the one above.
///
/// # Errors
/// When the system refuses, or something else has the name.
pub fn make_folder(folder: &Path) -> Result<(), Trouble> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = above(folder);
    if parent != folder {
        make_folder(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(error) => return Err(Trouble::new("cannot make the folder", folder, error)),
        Ok(()) => {}
    }
    sync_folder(parent)
}

/// Makes sure that the names in a folder are on the disk.
///
/// # Errors
/// When the system refuses.
pub fn sync_folder(folder: &Path) -> Result<(), Trouble> {
    let synced = File::open(folder).and_then(|open| open.sync_all());
    synced.map_err(|error| Trouble::new("cannot sync the folder", folder, error))
}

/// Opens a file of a shared folder: only a regular one with one name. Its length is that at the moment.
///
/// # Errors
/// Why it is not read.
pub fn open(path: &Path) -> Result<(File, u64), Unread> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::LOOP) => Unread::Odd("it is a link, and links are not followed"),
            _ => Unread::Failed(Trouble::new("cannot open", path, error)),
        }
    })?;
    let about =
        file.metadata().map_err(|error| Unread::Failed(Trouble::new("cannot look at", path, error)))?;
    if !about.is_file() {
        return Err(Unread::Odd("it is no regular file"));
    }
    if about.nlink() > 1 {
        return Err(Unread::Odd("it has another name beside this one, and may be somebody else's"));
    }
    Ok((file, about.len()))
}

/// Takes a file for its holder alone, for as long as it is open. `false` when somebody else has it, in this process or another.
///
/// # Errors
/// When the file system has no locks.
pub fn take(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an open file is the one that has this name now. Who had it before may have moved or removed it.
#[must_use]
pub fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => open.dev() == named.dev() && open.ino() == named.ino(),
        _ => false,
    }
}

/// Reads a file of a shared folder, of at most `most` octets.
///
/// # Errors
/// Why it is not read.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    let (file, length) = open(path)?;
    read_open(&file, length, path, most)
}

/// The same, of a file that is open and had this length.
///
/// # Errors
/// Why it is not read.
pub fn read_open(file: &File, length: u64, path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    if length > most {
        return Err(Unread::TooLarge(length));
    }
    let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // It may grow while it is read.
    file.take(most.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|error| Unread::Failed(Trouble::new("cannot read", path, error)))?;
    match content.len() as u64 {
        length if length > most => Err(Unread::TooLarge(length)),
        _ => Ok(content),
    }
}

/// The names in a folder that are not hidden, of at most `most` entries that are looked at, in the order of their octets.
///
/// # Errors
/// When the system refuses.
pub fn names(folder: &Path, most: usize) -> Result<Vec<OsString>, Trouble> {
    let entries = fs::read_dir(folder).map_err(|error| Trouble::new("cannot list", folder, error))?;
    let mut names = Vec::new();
    for entry in entries.take(most) {
        let name = entry.map_err(|error| Trouble::new("cannot list", folder, error))?.file_name();
        if !is_hidden(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes what writers before a crash have left in a folder, among its first 100,000 entries. What anybody is writing just now, in this process
/// or another, is locked and stays. Gives how many files went. In a folder that is not there nothing was left.
///
/// # Errors
/// When the folder cannot be listed.
pub fn tidy(folder: &Path) -> Result<usize, Trouble> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Trouble::new("cannot list", folder, error)),
    };
    let is_left = |entry: &fs::DirEntry| is_hidden_name(&entry.file_name());
    let removed = entries.take(TIDY_MAX).flatten().filter(is_left).filter(|entry| {
        let path = entry.path();
        // A link, a pipe or what has no lock is not ours. What cannot be removed harms nobody.
        open(&path).is_ok_and(|(file, _)| {
            matches!(take(&file), Ok(true)) && is_at(&file, &path) && fs::remove_file(&path).is_ok()
        })
    });
    Ok(removed.count())
}

/// Moves a file into a folder, under its own name or, where that is taken, with a number behind it. Gives the new path.
///
/// # Errors
/// When the system refuses.
pub fn put_away(path: &Path, folder: &Path) -> Result<PathBuf, Trouble> {
    let name = path.file_name().unwrap_or(OsStr::new("file"));
    make_folder(folder)?;
    for number in 0..10_000 {
        let mut new = name.to_owned();
        if number > 0 {
            new.push(format!(".{number}"));
        }
        let new = folder.join(new);
        match rename(path, &new) {
            Ok(()) => return Ok(new),
            Err(trouble) if trouble.is_taken() => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Err(Trouble::new("there are too many files of one name for", path, io::ErrorKind::AlreadyExists.into()))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// The folder that a path is in.
fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn listing(folder: &Path) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn a_file_is_written_whole_and_never_over_another() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        write(&path, |out| out.write_all(b"one")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let trouble = write(&path, |out| out.write_all(b"two")).unwrap_err();
        assert!(trouble.is_taken(), "{trouble}");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, |out| out.write_all(b"two")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(listing(root.path()), ["a"]);
    }

    #[test]
    fn a_hidden_name_that_somebody_has_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let next = COUNT.load(Ordering::Relaxed);
        // Other tests of this process take names, too.
        let theirs: Vec<PathBuf> =
            (next..next + 200).map(|number| root.path().join(hidden_name(number))).collect();
        theirs.iter().for_each(|path| fs::write(path, "theirs").unwrap());
        write(&root.path().join("a"), |out| out.write_all(b"mine")).unwrap();
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"mine");
        assert!(theirs.iter().all(|path| fs::read(path).is_ok_and(|text| text == b"theirs")));
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let trouble = write(&path, |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(trouble.unwrap_err().is_full());
        assert_eq!(listing(root.path()), [""; 0]);
        assert!(write(&root.path().join("no/a"), |_| Ok(())).unwrap_err().is_missing());
    }

    #[test]
    fn only_plain_files_are_read_and_not_too_much_of_them() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("plain"), "12345").unwrap();
        assert_eq!(read(&at("plain"), 5).unwrap(), b"12345");
        assert!(matches!(read(&at("plain"), 4), Err(Unread::TooLarge(5))));
        symlink("/etc/passwd", at("link")).unwrap();
        assert!(matches!(read(&at("link"), 1 << 20), Err(Unread::Odd(why)) if why.contains("link")));
        fs::create_dir(at("folder")).unwrap();
        assert!(matches!(read(&at("folder"), 1), Err(Unread::Odd("it is no regular file"))));
        fs::hard_link(at("plain"), at("second")).unwrap();
        assert!(matches!(read(&at("second"), 5), Err(Unread::Odd(why)) if why.contains("another name")));
        assert!(matches!(read(&at("absent"), 5), Err(Unread::Failed(trouble)) if trouble.is_missing()));
        // Nobody writes to this pipe, and nobody waits for it.
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        assert!(matches!(read(&at("pipe"), 5), Err(Unread::Odd("it is no regular file"))));
    }

    #[test]
    fn a_file_is_taken_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "").unwrap();
        let (first, _) = open(&path).unwrap();
        let (second, _) = open(&path).unwrap();
        assert!(take(&first).unwrap() && !take(&second).unwrap());
        rename(&path, &root.path().join("b")).unwrap();
        drop(first);
        // It is free, and not what it was opened as.
        assert!(take(&second).unwrap() && !is_at(&second, &path) && is_at(&second, &root.path().join("b")));
    }

    #[test]
    fn hidden_names_are_passed_over_and_left_ones_removed() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b", "a", ".hidden", ".part-1-a-1", ".part-report.zip"] {
            fs::write(root.path().join(name), "").unwrap();
        }
        symlink("a", root.path().join(".part-link")).unwrap();
        assert_eq!(names(root.path(), 100).unwrap(), ["a", "b"]);
        assert_eq!(tidy(root.path()).unwrap(), 1);
        assert_eq!(listing(root.path()), [".hidden", ".part-link", ".part-report.zip", "a", "b"]);
        assert_eq!(tidy(&root.path().join("none")).unwrap(), 0);
        assert!(tidy(&root.path().join("a")).unwrap_err().to_string().starts_with("cannot list"));
    }

    #[test]
    fn what_is_being_written_is_no_leftover() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("a"), |out| {
            out.write_all(b"one")?;
            assert_eq!(tidy(root.path()).unwrap(), 0, "it has a writer");
            out.write_all(b" two")
        })
        .unwrap();
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"one two");
        let (path, file) = make_hidden(root.path()).unwrap();
        assert_eq!(tidy(root.path()).unwrap(), 0);
        drop(file);
        assert_eq!(tidy(root.path()).unwrap(), 1);
        assert!(!path.exists());
    }

    #[test]
    fn writers_and_who_tidies_up_do_not_hinder_each_other() {
        let root = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|writer| {
                    let folder = root.path();
                    scope.spawn(move || {
                        for number in 0..200 {
                            let path = folder.join(format!("{writer}-{number}"));
                            write(&path, |out| out.write_all(b"text")).unwrap();
                        }
                    })
                })
                .collect();
            // It may find a file that is not locked yet. Its writer makes another then.
            while writers.iter().any(|writer| !writer.is_finished()) {
                tidy(root.path()).unwrap();
            }
        });
        assert_eq!(listing(root.path()).len(), 400);
    }

    #[test]
    fn what_is_put_away_keeps_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let away = root.path().join("deep/away");
        for round in ["one", "two", "three"] {
            fs::write(root.path().join("x"), round).unwrap();
            put_away(&root.path().join("x"), &away).unwrap();
        }
        assert_eq!(listing(&away), ["x", "x.1", "x.2"]);
        assert_eq!(fs::read(away.join("x.2")).unwrap(), b"three");
        assert!(put_away(&root.path().join("x"), &away).unwrap_err().is_missing());
        remove(&away.join("x.2")).unwrap();
        remove(&away.join("x.2")).unwrap();
    }
}
