//! How the reader gets at files: through a trait, so that this crate touches no disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A configuration folder with `sluice.cnf` (or `pmdf.cnf`, `imta.cnf`) in it.
    Folder(PathBuf),
    /// A main file of any name; its neighbours in the folder are used when they exist.
    File(PathBuf),
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
