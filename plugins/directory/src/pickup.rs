//! Looking at the pick-up folder, and what becomes of each file.
//!
//! ```text
//! NAME.eml            put there by a program, under this name only when it is complete
//!   │ taken (locked, moved): nobody else has it, and it can be moved away again
//! .taken/NAME.eml     brought in ── the hub answers for every recipient ──► removed, or DONE_DIR
//!   │                            ── refused, or it cannot be read ────────► BAD_DIR, with NAME.eml.reason
//!   └ deferred: it waits here; `.taken/.answered-NAME.eml` tells who has been answered already
//! ```
//!
//! A file that cannot be moved is not brought in, so that a folder without the rights for that does not send its mail over and
//! over. Answers whose file has gone are removed before
//! another file of the name is moved. After a crash everything in `.taken` is tried again: what was brought in in the last moment comes in twice.
//!
//! A file is locked (flock(2)) from before it is moved until it is gone. Two workers, or two generations of the plugin, never have the
//! same one; and a program that holds a lock on what it writes is waited for.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sluice_durable::{Trouble, Unread};
use sluice_sdk::{CreateError, Level, Log, NotTaken, Outcome, Submission, Worker};

use crate::letter::{self, Letter};

/// Entries of the folder that are looked at in one go.
const NAMES_MAX: usize = 100_000;
/// How long files are taken before the host is asked again.
const TURN_MAX: Duration = Duration::from_secs(20);
/// Octets of a name: files of names made of it lie beside it, and 255 are all that a name may have.
const NAME_MAX: usize = 200;
/// What the names of files of answers begin with.
const ANSWERED: &str = ".answered-";
/// The most that a file of answers may hold.
const ANSWERED_MAX: u64 = 8 << 20;

/// Whether there is more to be done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    No,
    Yes,
    /// The worker's time is over.
    Gone,
}

/// The folder that mail is picked up from.
#[derive(Debug)]
pub(crate) struct Pickup {
    folder: PathBuf,
    taken: PathBuf,
    bad: PathBuf,
    done: Option<PathBuf>,
    suffix: String,
    min_age: Duration,
    sender: Option<String>,
    size_max: u64,
    retry: Duration,
    log: Log,
    /// Files that are not looked at before then, and what was last said of each.
    later: Mutex<HashMap<OsString, (Instant, String)>>,
}

/// What becomes of a file.
enum Fate {
    Done,
    /// Not now, and why.
    Later(String),
    Bad,
    /// Somebody else has it, or it has gone.
    Nothing,
    Gone,
}

impl Pickup {
    pub(crate) fn new(written: crate::Written, log: Log) -> Result<Option<Pickup>, CreateError> {
        let Some(folder) = written.pickup_dir else { return Ok(None) };
        let taken = folder.join(".taken");
        let bad = written.bad_dir.unwrap_or_else(|| folder.join("bad"));
        let done = written.done_dir;
        for one in [Some(&taken), Some(&bad), done.as_ref()].into_iter().flatten() {
            sluice_durable::make_folder(one).map_err(|trouble| CreateError::failed(trouble.to_string()))?;
        }
        Ok(Some(Pickup {
            folder,
            taken,
            bad,
            done,
            suffix: written.suffix.trim().to_owned(),
            min_age: written.min_age,
            sender: written.sender.map(|sender| sender.trim().to_owned()),
            size_max: written.file_size_max,
            retry: written.retry_interval,
            log,
            later: Mutex::new(HashMap::new()),
        }))
    }

    /// The folders that files are written into.
    pub(crate) fn folders(&self) -> [&Path; 2] {
        [&self.taken, &self.bad]
    }

    /// Takes in what lies in the folder.
    pub(crate) fn look(&self, worker: &Worker<'_>) -> More {
        let until = Instant::now() + TURN_MAX;
        for folder in [&self.taken, &self.folder] {
            let names = match sluice_durable::names(folder, NAMES_MAX) {
                Ok(names) => names,
                Err(trouble) => {
                    self.wait(OsStr::new("."), &trouble.to_string());
                    continue;
                }
            };
            for name in names {
                if !self.is_wanted(&name) || self.waits(&name) {
                    continue;
                }
                match self.take(worker, folder, &name) {
                    Fate::Done | Fate::Bad => self.forget(&name),
                    Fate::Later(why) => self.wait(&name, &why),
                    Fate::Nothing => {}
                    Fate::Gone => return More::Gone,
                }
                if Instant::now() >= until {
                    return More::Yes;
                }
            }
        }
        More::No
    }

    fn is_wanted(&self, name: &OsStr) -> bool {
        name.as_encoded_bytes().ends_with(self.suffix.as_bytes())
    }

    fn waits(&self, name: &OsStr) -> bool {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if later.len() > NAMES_MAX {
            later.clear();
        }
        later.get(name).is_some_and(|(until, _)| Instant::now() < *until)
    }

    fn wait(&self, name: &OsStr, why: &str) {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        let said = later.insert(name.to_owned(), (Instant::now() + self.retry, why.to_owned()));
        // Said once, and again when it is another reason.
        if said.is_none_or(|(_, said)| said != why) {
            self.log.write(Level::Warn, &format!("{} waits: {why}", Path::new(name).display()));
        }
    }

    fn forget(&self, name: &OsStr) {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// One file: taken, brought in, put where it belongs.
    fn take(&self, worker: &Worker<'_>, folder: &Path, name: &OsStr) -> Fate {
        let path = folder.join(name);
        if name.len() > NAME_MAX && !path.is_dir() {
            return self.put_bad(&path, "its name is too long");
        }
        let (file, length) = match sluice_durable::open(&path) {
            Ok(opened) => opened,
            Err(Unread::Failed(trouble)) if trouble.is_missing() => return Fate::Nothing,
            Err(Unread::Failed(trouble)) => return Fate::Later(trouble.to_string()),
            // Folders belong to whoever made them: the one for bad files is among them.
            Err(Unread::Odd(_)) if path.symlink_metadata().is_ok_and(|about| about.is_dir()) => {
                return Fate::Nothing;
            }
            Err(why) => return self.put_bad(&path, &why.to_string()),
        };
        if folder == self.folder && !self.is_old_enough(&file) {
            return Fate::Nothing;
        }
        match sluice_durable::take(&file) {
            Ok(true) if sluice_durable::is_at(&file, &path) => {}
            Ok(_) => return Fate::Nothing,
            Err(error) => return Fate::Later(format!("it cannot be locked: {error}")),
        }
        let mine = self.taken.join(name);
        if folder == self.folder
            && let Some(why) = self.move_in(&path, &mine, &self.record(name))
        {
            return Fate::Later(why);
        }
        // A program may have put another file under the name between the two looks: what was moved then is not the one that is open.
        if !sluice_durable::is_at(&file, &mine) {
            return Fate::Nothing;
        }
        let letter = match sluice_durable::read_open(&file, length, &mine, self.size_max) {
            Ok(content) => match letter::read(&content, self.sender.as_deref()) {
                Ok(letter) => letter,
                Err(why) => return self.put_bad(&mine, &why),
            },
            Err(Unread::Failed(trouble)) => return Fate::Later(trouble.to_string()),
            Err(why) => return self.put_bad(&mine, &why.to_string()),
        };
        self.bring_in(worker, &mine, name, &letter)
    }

    /// Moves a file to those that are brought in. Gives why it has to wait.
    ///
    /// Answers beside no file are about one that has gone: a crash came between the two, or its worker is just about to remove them. They must
    /// not count for this file, whose recipients would be taken for answered, and this file's own must not be removed with them.
    fn move_in(&self, path: &Path, mine: &Path, record: &Path) -> Option<String> {
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        let other = || Some("another file of that name has not been brought in yet".to_owned());
        // In this order: answers are written while their file is there.
        if is_there(mine) {
            return other();
        }
        if is_there(record) {
            let why = "answers of another file of that name are removed first";
            return Some(
                sluice_durable::remove(record)
                    .map_or_else(|trouble| trouble.to_string(), |()| why.to_owned()),
            );
        }
        match sluice_durable::rename(path, mine) {
            Ok(()) => None,
            Err(trouble) if trouble.is_taken() => other(),
            Err(trouble) => Some(trouble.to_string()),
        }
    }

    /// Where it is written who has been answered for a file.
    fn record(&self, name: &OsStr) -> PathBuf {
        let mut record = OsString::from(ANSWERED);
        record.push(name);
        self.taken.join(record)
    }

    fn is_old_enough(&self, file: &File) -> bool {
        if self.min_age.is_zero() {
            return true;
        }
        let changed = file.metadata().and_then(|about| about.modified());
        // A file of the future is as old as it will get.
        changed.is_ok_and(|at| SystemTime::now().duration_since(at).map_or(true, |age| age >= self.min_age))
    }

    fn bring_in(&self, worker: &Worker<'_>, mine: &Path, name: &OsStr, letter: &Letter) -> Fate {
        let record = self.record(name);
        let mut answered = match Answered::read(&record) {
            Ok(answered) => answered,
            Err(why) => return Fate::Later(why),
        };
        let open: Vec<&String> = letter.recipients.iter().filter(|one| !answered.has(one)).collect();
        let mut submission = Submission::new(&letter.sender, [letter.content.as_slice()]);
        if !letter.sender.is_ascii() || open.iter().any(|one| !one.is_ascii()) {
            submission = submission.smtputf8();
        }
        for one in &open {
            submission = submission.to(one.as_str());
        }
        let answers = if open.is_empty() { Ok(Vec::new()) } else { worker.enqueue(&submission) };
        let answers = match answers {
            Ok(answers) => answers,
            Err(NotTaken::Gone) => return Fate::Gone,
            Err(NotTaken::Bad) => return self.put_bad(mine, &NotTaken::Bad.to_string()),
            Err(error) => return Fate::Later(error.to_string()),
        };
        let mut waiting = None;
        for (recipient, answer) in open.iter().zip(answers) {
            match answer {
                Outcome::Delivered { .. } => answered.0.push(((*recipient).clone(), None)),
                Outcome::Failed { status, text, .. } => {
                    answered.0.push(((*recipient).clone(), Some(format!("{status} {text}"))));
                }
                Outcome::Deferred { status, text, .. } => {
                    waiting = Some(format!("{recipient} is deferred: {status} {text}"));
                }
            }
        }
        if let Some(why) = waiting {
            return match answered.0.is_empty() {
                true => Fate::Later(why),
                false => match answered.write(&record) {
                    Ok(()) => Fate::Later(why),
                    Err(trouble) => Fate::Later(format!("{why}; {trouble}")),
                },
            };
        }
        let refused: Vec<String> =
            answered.0.iter().filter_map(|(to, why)| Some(format!("{to}: {}", why.as_deref()?))).collect();
        let fate = if refused.is_empty() {
            let size = letter.content.len();
            self.log.write(Level::Info, &format!("{} brought in, {size} octets", Path::new(name).display()));
            self.put_done(mine)
        } else {
            self.put_bad(
                mine,
                &format!(
                    "these recipients were refused, and only they did not get it:\n{}",
                    refused.join("\n")
                ),
            )
        };
        if !matches!(fate, Fate::Later(_)) {
            drop(sluice_durable::remove(&record));
        } else if let Err(trouble) = answered.write(&record) {
            self.log.write(Level::Error, &format!("{trouble}; the message may come in twice"));
        }
        fate
    }

    fn put_done(&self, path: &Path) -> Fate {
        let put = match &self.done {
            Some(folder) => sluice_durable::put_away(path, folder).map(|_| ()),
            None => sluice_durable::remove(path),
        };
        put.map_or_else(|trouble| Fate::Later(trouble.to_string()), |()| Fate::Done)
    }

    /// Puts a file among the bad ones, its reason beside it.
    fn put_bad(&self, path: &Path, why: &str) -> Fate {
        let new = match sluice_durable::put_away(path, &self.bad) {
            Ok(new) => new,
            Err(trouble) if trouble.is_missing() => return Fate::Nothing,
            Err(trouble) => return Fate::Later(format!("{why}; {trouble}")),
        };
        let mut beside = new.as_os_str().to_owned();
        if new.file_name().is_some_and(|name| name.len() + ".reason".len() > 255) {
            // The system takes no longer name.
            let name = new.file_name().unwrap_or_default().to_string_lossy();
            let short: String = name.chars().take(NAME_MAX / 4).collect();
            beside = new.with_file_name(short).into_os_string();
        }
        beside.push(".reason");
        let told = sluice_durable::replace(Path::new(&beside), |out| writeln!(out, "{why}"));
        if let Err(trouble) = told {
            self.log.write(Level::Warn, &trouble.to_string());
        }
        self.log.write(Level::Error, &format!("{} is not brought in: {why}", new.display()));
        Fate::Bad
    }
}

/// Who has been answered for a file that waits for others: nobody is sent a message twice because somebody else has to wait.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answered(Vec<(String, Option<String>)>);

impl Answered {
    fn has(&self, recipient: &str) -> bool {
        self.0.iter().any(|(one, _)| one == recipient)
    }

    fn read(path: &Path) -> Result<Answered, String> {
        match sluice_durable::read(path, ANSWERED_MAX) {
            Ok(text) => Ok(Answered::parse(&String::from_utf8_lossy(&text))),
            Err(Unread::Failed(trouble)) if trouble.is_missing() => Ok(Answered::default()),
            Err(why) => Err(why.to_string()),
        }
    }

    fn parse(text: &str) -> Answered {
        let line = |line: &str| match line.split_once('\t') {
            Some((to, why)) => (to.to_owned(), Some(why.to_owned())),
            None => (line.to_owned(), None),
        };
        Answered(text.lines().map(line).collect())
    }

    fn write(&self, path: &Path) -> Result<(), Trouble> {
        sluice_durable::replace(path, |out| {
            self.0.iter().try_for_each(|(to, why)| match why {
                Some(why) => writeln!(out, "{to}\t{}", why.replace(char::is_control, " ")),
                None => writeln!(out, "{to}"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_written_and_read_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".answered-x.eml");
        assert_eq!(Answered::read(&path).unwrap(), Answered::default());
        let some =
            Answered(vec![("a@b".to_owned(), None), ("c@d".to_owned(), Some("5.1.1 no\nsuch".to_owned()))]);
        some.write(&path).unwrap();
        let read = Answered::read(&path).unwrap();
        assert!(read.has("a@b") && read.has("c@d") && !read.has("e@f"));
        assert_eq!(read.0[1].1.as_deref(), Some("5.1.1 no such"));
    }
}
