//! What the runs of activators, their clock, operators and incoming mail share.
//!
//! In the program these are the locks of parking_lot and the atomics of the standard library. In the tests each step is, while a rehearsal
//! goes on, a place at which shuttle decides by chance who goes on (`rehearsal`).

#[cfg(not(test))]
pub(super) use {parking_lot::Mutex, std::sync::atomic::AtomicUsize};

#[cfg(test)]
pub(super) use super::rehearsal::doubles::{AtomicUsize, Mutex};
