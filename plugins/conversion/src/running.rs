//! One run of a program over one part: the folder with its files, its environment, and what it leaves behind.
//!
//! The line of the entry goes to `/bin/sh -c`. Nothing of a message is ever in that line: a symbol in single quotes, `'INPUT_FILE'`, becomes the
//! variable of that name in double quotes, and the variable has the value.
//!
//! # Failure
//! What the file system refuses, and every end of the program but a good one, is a [`Trouble`]: the message waits.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sluice_durable::Unread;
use sluice_programs::{Account, End, Job, Ran};
use sluice_sdk::{Level, Log};

use crate::told::{OPTIONS_MAX, Told};

/// Octets that a program may print.
const PRINTED_MAX: u64 = 1 << 20;
/// Octets of the file OUTPUT_HEADERS.
const HEADERS_MAX: u64 = 64 * 1024;
/// Octets of a value in the environment.
const VALUE_MAX: usize = 1000;
/// Names of folders that are tried.
const NAMES_MAX: u64 = 1000;
/// Beginning of the names of folders; the number of the process and a count follow.
const NAME: &str = "sluice-conversion-";
/// Only one thread of this process makes folders, or looks which are left.
static MAKING: Mutex<()> = Mutex::new(());
/// A block of `ulimit -f` (POSIX).
const BLOCK: u64 = 512;

/// What programs may do.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) account: Option<Account>,
    /// Where folders for runs are made.
    pub(crate) folder: PathBuf,
    pub(crate) time: Duration,
    /// Octets of a file that a program writes.
    pub(crate) file_max: u64,
    /// Who hears that a folder of a run cannot be removed.
    pub(crate) log: Option<Log>,
}

/// What goes to a program.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    pub(crate) command: &'a str,
    pub(crate) input: &'a [u8],
    pub(crate) part_header: Option<&'a [u8]>,
    pub(crate) message_header: Option<&'a [u8]>,
    pub(crate) variables: &'a [(String, String)],
    /// Whether OUTPUT_HEADERS and OUTPUT_OPTIONS are read.
    pub(crate) wants_headers: bool,
    pub(crate) wants_options: bool,
    /// What is left for the message.
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Left {
    /// `None` when it wrote no file, and may do without: its options say what is to be done.
    pub(crate) output: Option<Vec<u8>>,
    pub(crate) headers: Option<Vec<u8>>,
    pub(crate) told: Told,
    /// What it printed.
    pub(crate) said: String,
}

/// Why there is nothing to go on with.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// Of RFC 3463, behind 4.3.
    pub(crate) detail: u16,
    pub(crate) text: String,
}

impl Trouble {
    fn of_system(what: &str, error: &io::Error) -> Trouble {
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        Trouble { detail: u16::from(is_full), text: format!("{what}: {error}") }
    }
}

/// A folder that goes away with all that is in it.
struct Folder {
    outer: PathBuf,
    /// Where the program works.
    inner: PathBuf,
    /// Locked as long as somebody works there: the lock ends with the process, whatever ends it.
    _lock: File,
    log: Option<Log>,
}

impl Folder {
    /// Makes one that nobody else can look into, or put anything in the place of.
    fn make(bounds: &Bounds) -> io::Result<Folder> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let strange = bounds.account.as_ref().filter(|account| account.changes);
        // Who works inside must be able to go through, and cannot rename what belongs to the hub.
        let mode = if strange.is_some() { 0o711 } else { 0o700 };
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..NAMES_MAX {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let outer = bounds.folder.join(format!("{NAME}{}-{number}", std::process::id()));
            match DirBuilder::new().mode(mode).create(&outer) {
                Ok(()) => {
                    let lock = File::open(&outer)?;
                    // A file system without locks, or another hub that looks for what is left just now: then the next steps fail.
                    let _ = lock.try_lock();
                    let folder = Folder { inner: outer.join("work"), outer, _lock: lock, log: bounds.log };
                    // Whatever the mask of the process has taken away.
                    fs::set_permissions(&folder.outer, Permissions::from_mode(mode))?;
                    DirBuilder::new().mode(0o700).create(&folder.inner)?;
                    if let Some(account) = strange {
                        chown(&folder.inner, Some(account.uid), Some(account.gid))?;
                    }
                    return Ok(folder);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn write(&self, name: &str, content: &[u8], account: Option<&Account>) -> io::Result<PathBuf> {
        let path = self.inner.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content)?;
        if let Some(account) = account.filter(|account| account.changes) {
            std::os::unix::fs::fchown(&file, Some(account.uid), Some(account.gid))?;
        }
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Err(error) = fs::remove_dir_all(&self.outer) else { return };
        // It holds parts of somebody's message. The next start of the channel tries once more.
        if let Some(log) = self.log {
            let text = format!("the folder of a run, {}, cannot be removed: {error}", self.outer.display());
            log.write(Level::Error, &text);
        }
    }
}

/// Removes the folders of runs that have ended with their hub. Those that nobody holds are meant, of the account that the hub is.
pub(crate) fn remove_left(place: &Path, log: impl Fn(&str)) {
    // What is made now belongs to this account.
    let probe =
        Bounds { account: None, folder: place.to_owned(), time: Duration::ZERO, file_max: 0, log: None };
    let Ok(own) = Folder::make(&probe) else { return };
    let Ok(owner) = fs::metadata(&own.outer).map(|folder| folder.uid()) else { return };
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let numbers = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split_once('-'));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        let is_name = numbers.is_some_and(|(process, count)| is_number(process) && is_number(count));
        let is_own = || entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == owner);
        if !is_name || !is_own() {
            continue;
        }
        let Ok(folder) = File::open(entry.path()) else { continue };
        if folder.try_lock().is_err() {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            Ok(()) => log(&format!(
                "{} was left by a run that ended with its hub, and is removed",
                entry.path().display()
            )),
            Err(error) => {
                log(&format!("{} was left by a run and cannot be removed: {error}", entry.path().display()));
            }
        }
    }
}

/// The line with symbols in single quotes as variables of the shell.
pub(crate) fn with_variables(command: &str, is_known: impl Fn(&str) -> bool) -> String {
    replaced(command, |name| is_known(name).then(|| format!("\"${{{name}}}\"")))
}

/// A text with other texts in the place of symbols in single quotes; `-` in a name counts as `_`.
pub(crate) fn replaced(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\'') {
        let (front, behind) = (&rest[..at], &rest[at + 1..]);
        out.push_str(front);
        let symbol = behind.find('\'').and_then(|end| {
            let name = &behind[..end];
            let is_name = !name.is_empty()
                && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-'));
            let new = is_name.then(|| value(&name.replace('-', "_")))??;
            Some((new, &behind[end + 1..]))
        });
        match symbol {
            Some((new, after)) => {
                out.push_str(&new);
                rest = after;
            }
            None => {
                out.push('\'');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

/// A value that the environment can have.
pub(crate) fn clean(value: &str) -> String {
    crate::told::bounded(value, VALUE_MAX)
}

/// Runs a program over a part.
pub(crate) fn run(given: &Given<'_>, bounds: &Bounds, stopping: &AtomicBool) -> Result<Left, Trouble> {
    let no_file = |error: io::Error| Trouble::of_system("a file for the program cannot be written", &error);
    let folder = Folder::make(bounds)
        .map_err(|error| Trouble::of_system(&format!("no folder in {}", bounds.folder.display()), &error))?;
    let account = bounds.account.as_ref();
    let mut variables: Vec<(&str, OsString)> = sluice_programs::environment(account);
    variables.push(("TMPDIR", folder.inner.clone().into()));
    variables.push(("INPUT_FILE", folder.write("input", given.input, account).map_err(no_file)?.into()));
    for (name, file, content) in [
        ("INPUT_HEADERS", "input.headers", given.part_header),
        ("MESSAGE_HEADERS", "message.headers", given.message_header),
    ] {
        if let Some(content) = content {
            variables.push((name, folder.write(file, content, account).map_err(no_file)?.into()));
        }
    }
    let [output, headers, options] =
        ["output", "output.headers", "output.options"].map(|name| folder.inner.join(name));
    for (name, path) in [("OUTPUT_FILE", &output), ("OUTPUT_HEADERS", &headers), ("OUTPUT_OPTIONS", &options)]
    {
        variables.push((name, path.clone().into()));
    }
    for (name, value) in given.variables {
        variables.push((name, OsString::from(clean(value))));
    }
    let known: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    let command = with_variables(given.command, |name| known.contains(&name));
    let blocks = bounds.file_max.div_ceil(BLOCK);
    let line = format!("ulimit -f {blocks} 2>/dev/null\n{command}");
    let words = [OsString::from("/bin/sh"), OsString::from("-c"), OsString::from(line)];
    let job = Job {
        words: &words,
        variables: &variables,
        account,
        folder: &folder.inner,
        time: bounds.time.min(given.time),
        output_max: PRINTED_MAX,
    };
    let ran = sluice_programs::run(&job, &mut io::empty(), stopping);
    ended(given, &ran, bounds.file_max, &output, &headers, &options)
}

/// What the program has left, if it ended as it should.
fn ended(
    given: &Given<'_>,
    ran: &Ran,
    most: u64,
    output: &Path,
    headers: &Path,
    options: &Path,
) -> Result<Left, Trouble> {
    let said = ran.said();
    let trouble = |detail: u16, what: String| {
        let text = if said.is_empty() { what } else { format!("{what}: {said}") };
        Err(Trouble { detail, text })
    };
    let code = match &ran.end {
        End::Exit(code) => *code,
        End::Signal(signal) => return trouble(0, format!("the program was ended by signal {signal}")),
        End::Late(limit) => {
            return trouble(0, format!("the program was not done within {} seconds", limit.as_secs()));
        }
        End::Endless(limit) => return trouble(0, format!("the program printed more than {limit} octets")),
        End::Stopped => return trouble(2, "the program was ended because the hub is stopping".to_owned()),
        End::NotStarted(error) => return trouble(5, format!("the program cannot be started: {error}")),
        End::Lost(error) => return trouble(0, format!("the program cannot be watched: {error}")),
    };
    let file = |path: &Path, name: &str, most: u64| match sluice_durable::read(path, most) {
        Ok(content) => Ok(Some(content)),
        Err(Unread::Failed(error)) if error.is_missing() => Ok(None),
        Err(error) => {
            Err(Trouble { detail: 0, text: format!("the file {name} of the program is not read: {error}") })
        }
    };
    let told = match given.wants_options {
        true => file(options, "OUTPUT_OPTIONS", OPTIONS_MAX)?.map(|text| Told::read(&text)),
        false => None,
    };
    let told = told.unwrap_or_default();
    if told.status.is_none() && code != 0 {
        let detail = if matches!(code, 126 | 127) { 5 } else { 0 };
        return trouble(detail, format!("the program ended with status {code}"));
    }
    let output = file(output, "OUTPUT_FILE", most)?;
    let headers = if given.wants_headers { file(headers, "OUTPUT_HEADERS", HEADERS_MAX)? } else { None };
    Ok(Left { output, headers, told, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_become_variables_and_other_quotes_stay() {
        let known = |name: &str| ["INPUT_FILE", "NAME"].contains(&name);
        for (command, line) in [
            ("cp 'INPUT_FILE' 'INPUT-FILE' x", "cp \"${INPUT_FILE}\" \"${INPUT_FILE}\" x"),
            ("sed 's/a/b/' < 'NAME'", "sed 's/a/b/' < \"${NAME}\""),
            ("echo 'OTHER' '' 'a b' it's", "echo 'OTHER' '' 'a b' it's"),
            ("echo $NAME 'NAME", "echo $NAME 'NAME"),
        ] {
            assert_eq!(with_variables(command, known), line);
        }
    }

    #[test]
    fn a_folder_goes_away_with_what_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            account: None,
            folder: place.path().to_owned(),
            time: Duration::from_secs(60),
            file_max: 1000,
            log: None,
        };
        for (name, file) in [("sluice-conversion-1-0", "x"), ("sluice-conversion-x", "y"), ("other", "z")] {
            fs::create_dir_all(place.path().join(name).join("work")).unwrap();
            fs::write(place.path().join(name).join("work").join(file), "x").unwrap();
        }
        let folder = Folder::make(&bounds).unwrap();
        remove_left(place.path(), |_| ());
        let mut left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|one| one.unwrap().path()).collect();
        left.sort();
        let mut kept = ["other", "sluice-conversion-x"].map(|name| place.path().join(name)).to_vec();
        kept.iter().for_each(|path| fs::remove_dir_all(path).unwrap());
        kept.push(folder.outer.clone());
        kept.sort();
        assert_eq!(left, kept, "a run that is under way, and what is none, stay");
        folder.write("input", b"x", None).unwrap();
        assert!(folder.write("input", b"y", None).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        drop(folder);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
