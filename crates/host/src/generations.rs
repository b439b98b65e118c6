//! What was loaded from one place, generation by generation.
//!
//! A generation is one loading of the file that was there at the time. It stays in memory for as long as the process
//! lives, whatever becomes of it: one that the handshake refused, too, because the linker keeps it. One of them is in
//! force: it is what channels are started with. The next one is loaded beside it, and is in force when whoever asked for
//! it says so, which is when it has shown that it can be used.
//!
//! # Invariants
//! A file whose bytes are those of the newest generation is not loaded again: trying it again and again costs nothing.
//! # Not here
//! Finding and trusting the file (`load`), the copy that is loaded (`copy`), which channel runs which generation
//! (whoever started it).

use crate::copy::{Copy, Identity};
use crate::library::Unfit;
use crate::plugin::Plugin;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// From so many generations of one plugin on, each new one is warned of: they add up in memory until the hub is started
/// anew, by the size of the library, its own memory, and one open file each.
pub(crate) const GENERATIONS_WARN: usize = 20;

/// All generations from one place.
pub(crate) struct Line {
    /// Where the file was found, by the name that it was asked for; links are followed each time anew.
    pub(crate) place: PathBuf,
    /// Locked while one is being loaded.
    pub(crate) generations: Mutex<Vec<Generation>>,
    in_force: Mutex<Option<Arc<Plugin>>>,
}

/// One loading.
pub(crate) struct Generation {
    pub(crate) identity: Identity,
    /// What the linker has mapped, and knows by the number of its descriptor: never closed, like the library. `None` where
    /// it was given the file itself.
    pub(crate) copy: Option<&'static Copy>,
    pub(crate) result: Result<Arc<Plugin>, Unfit>,
}

impl Line {
    pub(crate) fn new(place: PathBuf) -> Line {
        Line { place, generations: Mutex::default(), in_force: Mutex::default() }
    }

    /// What channels are started with; `None` when nothing from there could be used yet.
    pub(crate) fn in_force(&self) -> Option<Arc<Plugin>> {
        self.in_force.lock().clone()
    }

    pub(crate) fn put_in_force(&self, plugin: &Arc<Plugin>) {
        *self.in_force.lock() = Some(plugin.clone());
    }
}
