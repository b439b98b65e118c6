//! What instances, workers and the watchdog hand over with.
//!
//! In the program these are the locks of parking_lot, the channels of crossbeam and the system's threads, under their own
//! names: this module costs nothing. In the tests of this crate they are those of shuttle, which runs one thread at a time and decides
//! at each of these places by chance who goes on (`rehearsal`): a wake-up that gets lost is found as a deadlock, with the order
//! of steps that led to it. There, the plugin is one that is played.
//!
//! # Not here
//! Threads that call routines and filters (`aside`), and what a callback remembers (`call`).

#[cfg(not(test))]
pub(crate) use {
    crate::call::{Created, create},
    crossbeam_channel as channel,
    parking_lot::{Condvar, Mutex, MutexGuard},
    std::sync::atomic::{AtomicBool, AtomicUsize},
    std::thread,
};

#[cfg(test)]
pub(crate) use {
    crate::rehearsal::doubles::{Condvar, Mutex, MutexGuard, channel},
    crate::rehearsal::{Created, create},
    shuttle::sync::atomic::{AtomicBool, AtomicUsize},
    shuttle::thread,
};
