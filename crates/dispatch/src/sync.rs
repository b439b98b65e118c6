//! What callers and the loop share, and hand to each other by.
//!
//! In the program these are the atomics of the standard library, the swap of `arc-swap` and the queues of `handoff`, under their own names:
//! this module costs nothing. In the tests of this crate each of their steps is, while a rehearsal goes on, a place at which shuttle decides
//! by chance who goes on (`rehearsal`), and who sleeps is woken by nothing but its bell. In the simulation, which has one thread, they are
//! what they are in the program.

#[cfg(not(test))]
pub(crate) use {
    arc_swap::ArcSwap,
    crossbeam_channel::{Receiver as Awaited, bounded},
    sluice_handoff::{Bell, Receiver, Sender},
    std::sync::atomic::{AtomicBool, AtomicUsize},
};

#[cfg(test)]
pub(crate) use crate::rehearsal::doubles::{
    ArcSwap, AtomicBool, AtomicUsize, Awaited, Bell, Receiver, Sender, bounded,
};
