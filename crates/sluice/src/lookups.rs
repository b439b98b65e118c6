//! What rules and mapping tables may ask of the outside: the databases of the configuration, routines of
//! plugins, and sequence files.
//!
//! A sequence file holds one number in digits, or nothing yet. It must exist: the operator makes it, so that a slip in a
//! template makes no files. Counting is safe between threads and processes (the file is locked meanwhile).
//!
//! A compiled database that comes to harm while it is in use answers nothing any more. That is counted for each thread
//! ([`Lookups::unanswered`]), so that whatever was worked out meanwhile is taken for void ([`answered`]), and logged once.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sluice_config::{Config, DATABASES, Databases, Unavailable};
use sluice_dispatch::Loaded;
use sluice_mail::{Refusal, Status};
use sluice_rewrite::{Lookups, Rejected};

use crate::routines::Routines;

/// Octets of a sequence file: twenty digits and some blanks.
const SEQUENCE_LENGTH_MAX: u64 = 64;

thread_local! {
    /// Look-ups of this thread that could not be answered.
    static UNANSWERED: Cell<u64> = const { Cell::new(0) };
}

/// Databases, and the folder that names of sequence files start from.
pub(crate) struct Outside {
    databases: Databases,
    folder: PathBuf,
    routines: Option<Routines>,
    /// Of which databases the log has been told that they cannot be asked; in the order of [`DATABASES`].
    told: [AtomicBool; DATABASES.len()],
}

/// What `work` comes to, unless a database could not be asked meanwhile: then it is to be tried again later.
pub(crate) fn answered<T>(loaded: &Loaded, work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    let lookups = loaded.rewriter.lookups();
    let before = lookups.unanswered();
    let result = work();
    if lookups.unanswered() == before { result } else { Err(unavailable()) }
}

/// What a client is told when a database cannot be asked.
pub(crate) fn unavailable() -> Refusal {
    let Rejected { text, status, code } = Rejected::unavailable();
    Refusal::new(code, status, text)
}

/// The same in place of a greeting, where no other code ends a session (RFC 5321 section 3.8).
pub(crate) fn closed_for_now() -> Refusal {
    Refusal::new(421, Status::new(4, 3, 0), unavailable().text)
}

impl Outside {
    /// What a configuration knows.
    pub(crate) fn new(config: &Config, routines: Routines) -> Outside {
        Outside::of(config.databases.clone(), &config.folder, Some(routines))
    }

    /// What is known with these databases, for files in this folder.
    pub(crate) fn of(databases: Databases, folder: &Path, routines: Option<Routines>) -> Outside {
        Outside { databases, folder: folder.to_owned(), routines, told: Default::default() }
    }

    fn note(&self, name: &str, why: Unavailable) {
        UNANSWERED.set(UNANSWERED.get().wrapping_add(1));
        let told = DATABASES.iter().zip(&self.told).find(|(known, _)| **known == name);
        if told.is_none_or(|(_, told)| !told.swap(true, Ordering::Relaxed)) {
            let file = self.folder.join(format!("{name}.db"));
            tracing::error!(
                file = %file.display(),
                "{why}; what asks for it is told to come again later. Run `sluice compile`, then `sluice reload`; do not write over \
                 a compiled database or cut it short, but put another file in its place"
            );
        }
    }
}

impl Lookups for Outside {
    fn database(&self, name: &str, key: &str) -> Option<String> {
        match self.databases.value(name, key) {
            Ok(value) => value.map(str::to_owned),
            Err(why) => {
                self.note(name, why);
                None
            }
        }
    }

    fn unanswered(&self) -> u64 {
        UNANSWERED.get()
    }

    fn routine(&self, image: &str, routine: &str, argument: &str) -> Option<String> {
        self.routines.as_ref()?.call(image, routine, argument)
    }

    fn sequence(&self, file: &str) -> Option<u64> {
        let path = self.folder.join(file);
        match count(&path) {
            Ok(number) => Some(number),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a sequence file cannot be counted up");
                None
            }
        }
    }
}

/// Adds one to the number in a file.
fn count(path: &Path) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.lock()?;
    let mut text = String::new();
    (&mut file).take(SEQUENCE_LENGTH_MAX).read_to_string(&mut text)?;
    let number = match text.trim() {
        "" => 0,
        digits => digits.parse::<u64>().map_err(|_| io::Error::other("it does not hold a number"))?,
    };
    let next = number.wrapping_add(1);
    let line = format!("{next}\n");
    file.rewind()?;
    file.write_all(line.as_bytes())?;
    file.set_len(line.len() as u64)?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sequences_count_in_files_that_exist() {
        let folder = std::env::temp_dir().join(format!("sluice-sequence-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("empty"), "").unwrap();
        std::fs::write(folder.join("nine"), "9\n").unwrap();
        std::fs::write(folder.join("words"), "nine\n").unwrap();
        let outside = Outside::of(Databases::default(), &folder, None);
        assert_eq!((outside.sequence("empty"), outside.sequence("empty")), (Some(1), Some(2)));
        assert_eq!(outside.sequence("nine"), Some(10));
        assert_eq!(std::fs::read_to_string(folder.join("nine")).unwrap(), "10\n");
        assert_eq!(outside.sequence("words"), None);
        assert_eq!(std::fs::read_to_string(folder.join("words")).unwrap(), "nine\n");
        assert_eq!(outside.sequence("missing"), None);
        assert!(!folder.join("missing").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
