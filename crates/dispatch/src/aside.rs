//! Work that the loop gives away because it takes its time: starting an instance, writing a checkpoint. Each piece gets a
//! thread of its own and reports back through the inbox.
//!
//! Handed in, so that a simulation can take the pieces up itself, late and in another order.

use std::io;

/// A piece of work.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// Who does it.
pub(crate) trait Aside: Send + Sync {
    /// Sees to it that it is done, and does not wait for that.
    ///
    /// # Errors
    /// Nobody can do it, and nobody will.
    fn begin(&self, name: String, work: Work) -> io::Result<()>;
}

/// A thread for each.
pub(crate) struct Threads;

impl Aside for Threads {
    fn begin(&self, name: String, work: Work) -> io::Result<()> {
        std::thread::Builder::new().name(name).spawn(work).map(drop)
    }
}
