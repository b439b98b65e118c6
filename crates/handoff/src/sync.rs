//! What bells are made of.
//!
//! In the program these are the locks, atomics and threads of the standard library and the channels of crossbeam, under their own
//! names: this module costs nothing. In the tests of this crate they are those of shuttle, which runs one thread at a time and decides
//! at each step by chance who goes on (`rehearsal`). No time passes there: whoever is parked stays so until somebody wakes it, so that
//! a wake-up that gets lost is found as a deadlock.

#[cfg(not(test))]
pub(crate) use {
    crossbeam_channel as channel,
    std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    std::sync::{Mutex, PoisonError},
    std::thread,
};

#[cfg(test)]
pub(crate) use {
    crate::rehearsal::doubles::{channel, thread},
    shuttle::sync::Mutex,
    shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    std::sync::PoisonError,
};
