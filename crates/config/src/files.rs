//! How the reader gets at files: through a trait, so that this crate touches no disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::databases::{Database, DatabaseError};

/// A place that files are read from.
pub trait Files {
    /// The whole content of a file.
    ///
    /// # Errors
    /// As the place reports them; `NotFound` has the meaning "there is no such file".
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names (not paths) of what a folder holds, in any order.
    ///
    /// # Errors
    /// As the place reports them.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// When the content of a file last changed. A place that keeps no such times has an answer to nothing, and compiled
    /// databases are then not used.
    ///
    /// # Errors
    /// As the place reports them; `Unsupported` unless it keeps times.
    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        let _ = path;
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// A compiled database. Unless the place has a better way, the file is read whole and all of it is checked.
    ///
    /// # Errors
    /// [`CompiledError`]; the text of the database is read then.
    fn compiled(&self, path: &Path) -> Result<Compiled, CompiledError> {
        let octets = self.read(path).map_err(CompiledError::Read)?;
        let database = Database::from_image(octets).map_err(CompiledError::Unusable)?;
        Ok(Compiled { database: Arc::new(database), in_memory: None })
    }
}

/// A compiled database as a place gives it.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The database, which may be in use already.
    pub database: Arc<Database>,
    /// Why it was read into memory, by a place that would rather have mapped it.
    pub in_memory: Option<InMemory>,
}

/// Why a compiled database was not mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InMemory {
    /// The reason.
    pub text: String,
    /// What to do.
    pub help: String,
}

/// Why there is no compiled database where a file of that name is.
#[derive(Debug)]
pub enum CompiledError {
    /// It cannot be read.
    Read(io::Error),
    /// Its octets are not those of a compiled database.
    Unusable(DatabaseError),
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A configuration folder with `sluice.cnf` (or `pmdf.cnf`, `imta.cnf`) in it.
    Folder(PathBuf),
    /// A main file of any name; its neighbours in the folder are used when they exist.
    File(PathBuf),
}

/// What the files of a folder are called. Other systems write names in upper case, end them with a dot, and number their
/// versions: `PMDF.CNF`, `MAPPINGS.`, `option.dat;7`. All of these are the file whose plain name is asked for.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, (u32, String)>);

impl Names {
    pub(crate) fn of(files: &dyn Files, folder: &Path) -> Names {
        let mut names = files.list(folder).unwrap_or_default();
        names.sort_unstable();
        let mut known = BTreeMap::new();
        for name in names {
            let (plain, version) = plain_name(&name);
            // The name itself wins, then the newest version.
            let rank = if plain == name { u32::MAX } else { version };
            let slot = known.entry(plain).or_insert((rank, name.clone()));
            if rank > slot.0 {
                *slot = (rank, name);
            }
        }
        Names(known)
    }

    /// What the file is called here, if there is one.
    pub(crate) fn here(&self, name: &str) -> Option<&str> {
        self.0.get(&plain_name(name).0).map(|(_, here)| here.as_str())
    }
}

/// A name without what other systems add to it, and its version.
pub(crate) fn plain_name(name: &str) -> (String, u32) {
    let (base, version) = match name.rsplit_once(';') {
        Some((base, version)) => match version.parse() {
            Ok(version) => (base, version),
            Err(_) => (name, 0),
        },
        None => (name, 0),
    };
    (base.trim_end_matches('.').to_lowercase(), version)
}

/// Files that exist only in memory: for tests, and for asking "what if".
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    files: BTreeMap<PathBuf, Vec<u8>>,
    times: BTreeMap<PathBuf, SystemTime>,
}

impl MemoryFiles {
    /// No files.
    #[must_use]
    pub fn new() -> MemoryFiles {
        MemoryFiles::default()
    }

    /// Adds or replaces a file.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> MemoryFiles {
        self.files.insert(path.into(), content.into());
        self
    }

    /// Says when a file changed; without this it counts as unknown.
    #[must_use]
    pub fn changed_at(mut self, path: impl Into<PathBuf>, time: SystemTime) -> MemoryFiles {
        self.times.insert(path.into(), time);
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        if !self.files.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        self.times.get(path).copied().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let here = self.files.keys().filter(|path| path.parent() == Some(folder));
        Ok(here.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_systems_are_found() {
        let files = MemoryFiles::new()
            .with("c/PMDF.CNF;2", "")
            .with("c/PMDF.CNF;10", "")
            .with("c/MAPPINGS.", "")
            .with("c/Option.Dat", "")
            .with("c/option.dat", "")
            .with("c/a;b", "");
        let names = Names::of(&files, Path::new("c"));
        assert_eq!(names.here("pmdf.cnf"), Some("PMDF.CNF;10"));
        assert_eq!(names.here("mappings"), Some("MAPPINGS."));
        assert_eq!(names.here("option.dat"), Some("option.dat"));
        assert_eq!(names.here("a;b"), Some("a;b"));
        assert_eq!(names.here("aliases"), None);
    }
}
