//! What an isolated channel and the threads around a child share and hand over with, and the child's process.
//!
//! In the program these are the locks of parking_lot, the system's threads and a process with its socket, under their own names: this module
//! costs nothing. In the tests of this crate, while a rehearsal goes on, locks and threads are those of shuttle, and the process is one that
//! is played (`rehearsal`).

#[cfg(not(test))]
pub(crate) use {
    crate::process::{Handle, Process},
    crate::socket::send,
    crate::watch::watch,
    parking_lot::{Condvar, Mutex},
    std::thread,
};

#[cfg(test)]
pub(crate) use crate::rehearsal::doubles::{Condvar, Handle, Mutex, Process, send, thread, turn, watch};

/// Whose turn it is to tell what comes back.
#[cfg(not(test))]
pub(crate) fn turn(lock: &Mutex<()>) -> parking_lot::MutexGuard<'_, ()> {
    lock.lock()
}
