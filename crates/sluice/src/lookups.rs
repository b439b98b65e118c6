//! What rules and mapping tables may ask of the outside: the databases of the configuration, routines of
//! plugins, and sequence files.
//!
//! A sequence file holds one number in digits, or nothing yet. It must exist: the operator makes it, so that a slip in a
//! template makes no files. Counting is safe between threads and processes (the file is locked meanwhile).

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_config::{Config, Databases};
use sluice_rewrite::Lookups;

use crate::routines::Routines;

/// Octets of a sequence file: twenty digits and some blanks.
const SEQUENCE_LENGTH_MAX: u64 = 64;

/// Databases, and the folder that names of sequence files start from.
pub(crate) struct Outside {
    databases: Arc<dyn Lookups>,
    folder: PathBuf,
    routines: Option<Routines>,
}

/// Databases that belong to no configuration.
struct Alone(Databases);

impl Lookups for Alone {
    fn database(&self, name: &str, key: &str) -> Option<String> {
        self.0.value(name, key).map(str::to_owned)
    }
}

impl Outside {
    /// What a configuration knows.
    pub(crate) fn new(config: Arc<Config>, routines: Routines) -> Outside {
        Outside { folder: config.folder.clone(), databases: config, routines: Some(routines) }
    }

    /// What is known with these databases, for files in this folder.
    pub(crate) fn of(databases: Databases, folder: &Path, routines: Option<Routines>) -> Outside {
        Outside { databases: Arc::new(Alone(databases)), folder: folder.to_owned(), routines }
    }
}

impl Lookups for Outside {
    fn database(&self, name: &str, key: &str) -> Option<String> {
        self.databases.database(name, key)
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
