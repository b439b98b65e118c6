//! What was loaded from one place, generation by generation.
//!
//! A generation is one loading of the file that was there at the time. It stays in memory for as long as the process
//! lives, whatever becomes of it: one that the handshake refused, too, because the linker keeps it. One of them is in
//! force: it is what channels are started with. The next one is loaded beside it, and is in force when whoever asked for
//! it says so, which is when it has shown that it can be used. What is in force is a copy of the file first; where only other
//! processes load that, there is no generation of it here.
//!
//! # Invariants
//! A file whose bytes are those of the newest generation is not loaded again: trying it again and again costs nothing. A plugin
//! that is in force was loaded from the copy that is in force.
//! # Not here
//! Finding and trusting the file (`load`), the copy that is loaded (`copy`), which channel runs which generation
//! (whoever started it).

use crate::library::Unfit;
use crate::plugin::Plugin;
use crate::sealed::Sealed;
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
    in_force: Mutex<InForce>,
}

#[derive(Default)]
struct InForce {
    /// What is loaded in this process; `None` when nobody has asked for that yet.
    plugin: Option<Arc<Plugin>>,
    sealed: Option<Arc<Sealed>>,
}

/// One loading.
pub(crate) struct Generation {
    /// What it was loaded from.
    pub(crate) sealed: Arc<Sealed>,
    pub(crate) result: Result<Arc<Plugin>, Unfit>,
}

impl Line {
    pub(crate) fn new(place: PathBuf) -> Line {
        Line { place, generations: Mutex::default(), in_force: Mutex::default() }
    }

    /// What channels are started with; `None` when nothing from there could be used yet.
    pub(crate) fn in_force(&self) -> Option<Arc<Plugin>> {
        self.in_force.lock().plugin.clone()
    }

    /// The copy that it is made of, or that other processes have.
    pub(crate) fn sealed_in_force(&self) -> Option<Arc<Sealed>> {
        self.in_force.lock().sealed.clone()
    }

    pub(crate) fn put_in_force(&self, plugin: &Arc<Plugin>) {
        *self.in_force.lock() = InForce { plugin: Some(plugin.clone()), sealed: Some(plugin.sealed.clone()) };
    }

    /// The plugin of it is loaded when it is asked for.
    pub(crate) fn put_sealed_in_force(&self, sealed: &Arc<Sealed>) {
        let mut in_force = self.in_force.lock();
        in_force.sealed = Some(sealed.clone());
        in_force.plugin =
            in_force.plugin.take().filter(|known| Arc::ptr_eq(&known.sealed.copy, &sealed.copy));
    }

    /// What is in force, which is this when nothing was.
    pub(crate) fn first_in_force(&self, sealed: &Arc<Sealed>) -> Arc<Sealed> {
        self.in_force.lock().sealed.get_or_insert_with(|| sealed.clone()).clone()
    }
}
