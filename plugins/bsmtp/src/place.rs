//! The channel's own folder, on a disk of this machine, and the lock that keeps a second generation of the plugin out of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sluice_durable::Trouble;
use sluice_sdk::{Level, Log};

/// How long one generation waits for another to let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    folder: PathBuf,
    /// Workers of one instance wait for each other here.
    turn: Arc<Mutex<()>>,
}

/// Nobody else is in the folder while this lives.
#[derive(Debug)]
pub(crate) struct Alone<'p> {
    _turn: MutexGuard<'p, ()>,
    /// Closing it lets go.
    _lock: File,
}

impl Place {
    pub(crate) fn new(folder: PathBuf) -> Result<Place, Trouble> {
        sluice_durable::make_folder(&folder)?;
        Ok(Place { folder, turn: Arc::default() })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder in it.
    pub(crate) fn below(&self, name: &str) -> Result<Place, Trouble> {
        Place::new(self.folder.join(name))
    }

    /// Waits until nobody else is in it.
    pub(crate) fn alone(&self) -> io::Result<Alone<'_>> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(".lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        let until = Instant::now() + PATIENCE;
        while !sluice_durable::take(&file)? {
            if Instant::now() >= until {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "another generation of the plugin is at work",
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Alone { _turn: turn, _lock: file })
    }
}

/// Removes what a crash has left half written in these folders. Those that are not there have nothing to be removed.
pub(crate) fn tidy<'p>(folders: impl IntoIterator<Item = Option<&'p Path>>, log: Log) {
    for folder in folders.into_iter().flatten() {
        if let Err(trouble) = sluice_durable::tidy(folder) {
            log.write(Level::Warn, &trouble.to_string());
        }
    }
}

/// How often something is tried: not again before its time, and said once for each reason.
#[derive(Debug, Default)]
pub(crate) struct Later(std::collections::HashMap<String, (Instant, String)>);

impl Later {
    /// Whether its time has not come.
    pub(crate) fn waits(&mut self, name: &str) -> bool {
        if self.0.len() > 100_000 {
            self.0.clear();
        }
        self.0.get(name).is_some_and(|(until, _)| Instant::now() < *until)
    }

    /// Puts it off. Gives the reason where it has not been said yet.
    pub(crate) fn wait(&mut self, name: &str, pause: Duration, why: String) -> Option<String> {
        let said = self.0.insert(name.to_owned(), (Instant::now() + pause, why.clone()));
        said.is_none_or(|(_, said)| said != why).then_some(why)
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}
