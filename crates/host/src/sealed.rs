//! A plugin's file as it was at one time: the sealed copy of it, for whoever loads it here or in another process.
//!
//! What is in force of a place is a copy, and the library made of it where it is loaded in this process. Other processes are
//! lent the copy's descriptor, and load that ([`Host::load_lent`]): whatever the file has become, they have the octets that
//! are in force.
//!
//! # Invariants
//! Of what is in force, one copy is kept, however often it is asked for, and however many processes have it.
//! # Not here
//! Making the copy (`copy`), loading it (`load`), who is to have it (whoever runs other processes).

use crate::copy::{Copy, Identity};
use crate::generations::Line;
use crate::load::{Host, LoadError, Seen};
use crate::plugin::Plugin;
use parking_lot::Mutex;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// A copy of a plugin's file that nobody can change. It takes the size of what is loaded of it in memory, until it is dropped.
pub struct Sealed {
    pub(crate) file: PathBuf,
    pub(crate) line: Weak<Line>,
    pub(crate) copy: Arc<Copy>,
    /// Of the file: the last one that was seen to have these octets.
    identity: Mutex<Identity>,
}

impl Sealed {
    pub(crate) fn of(file: PathBuf, line: &Arc<Line>, identity: Identity, copy: Arc<Copy>) -> Sealed {
        Sealed { file, line: Arc::downgrade(line), copy, identity: Mutex::new(identity) }
    }

    /// Of no file, in no line.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Sealed {
        let nothing = File::open("/dev/null").unwrap();
        let identity = Mutex::new(Identity::of(&nothing.metadata().unwrap()));
        let copy = Arc::new(Copy::lent(nothing, "nothing").unwrap());
        Sealed { file: "played".into(), line: Weak::new(), copy, identity }
    }

    /// The file that it is a copy of, with every link followed.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What another process is to be lent. Its position means nothing.
    #[must_use]
    pub fn descriptor(&self) -> &File {
        self.copy.file()
    }

    /// What the file was like when it had these octets; of several times the last that is known.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen(self.identity())
    }

    pub(crate) fn identity(&self) -> Identity {
        *self.identity.lock()
    }

    /// The file is another one by now, or has another time, and has the same octets.
    pub(crate) fn see(&self, identity: Identity) {
        *self.identity.lock() = identity;
    }

    /// Whether both have the same octets.
    fn is_same(&self, other: &Sealed) -> bool {
        Arc::ptr_eq(&self.copy, &other.copy) || self.copy.is_same(&other.copy).unwrap_or(false)
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Sealed").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Host {
    /// A plugin for another process to load: the copy that is in force, also where its file has gone, or else one of what is in
    /// the file now. It is not loaded here, nor in force yet ([`hold`](Self::hold)).
    ///
    /// # Errors
    /// As in [`load`](Self::load), as far as that can be told without loading it.
    pub fn seal(&self, name: &str) -> Result<Arc<Sealed>, LoadError> {
        let line = self.line(name)?;
        match line.sealed_in_force() {
            Some(sealed) => Ok(sealed),
            None => self.seal_file(&line, None, ""),
        }
    }

    /// A copy of what is in a plugin's file now, for another process to load. If its octets are those that are in force, it
    /// is that copy.
    ///
    /// # Errors
    /// As in [`seal`](Self::seal).
    pub fn seal_next(&self, name: &str) -> Result<Arc<Sealed>, LoadError> {
        let line = self.line(name)?;
        self.seal_file(&line, line.sealed_in_force(), "")
    }

    /// Another process could load this: it is in force, if nothing is yet. The copy in force, if that has the same octets;
    /// `None` when other ones are in force by now.
    #[must_use]
    pub fn hold(&self, sealed: &Arc<Sealed>) -> Option<Arc<Sealed>> {
        let line = sealed.line.upgrade()?;
        let in_force = line.first_in_force(sealed);
        in_force.is_same(sealed).then_some(in_force)
    }

    /// From now on this copy is what [`seal`](Self::seal) gives, and what [`load`](Self::load) loads.
    pub fn put_sealed_in_force(&self, sealed: &Arc<Sealed>) {
        if let Some(line) = sealed.line.upgrade() {
            line.put_sealed_in_force(sealed);
        }
    }

    /// Loads what another process has sealed and lent, under the name of the file that it is a copy of. The file itself is not
    /// looked at.
    ///
    /// # Errors
    /// Why it is not loaded; nothing of the plugin was called.
    pub fn load_lent(&self, file: &Path, lent: File) -> Result<Arc<Plugin>, LoadError> {
        let failed = |source| LoadError::Copy { path: file.to_owned(), source };
        let identity = Identity::of(&lent.metadata().map_err(failed)?);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let copy = Arc::new(Copy::lent(lent, &name).map_err(failed)?);
        let line = self.line_at(file);
        let sealed = Arc::new(Sealed::of(file.to_owned(), &line, identity, copy));
        let mut generations = line.generations.lock();
        let plugin = self.load_sealed(&mut generations, &sealed)?;
        line.put_in_force(&plugin);
        Ok(plugin)
    }
}
