//! Channels whose plugins run in a process of their own (`isolated`).
//!
//! An [`Isolated`] is to its caller what an [`Instance`](sluice_host::Instance) is: it takes offers, tells of them by
//! [`HostEvent`](sluice_host::HostEvent)s, and stops. Behind it a child runs an ordinary instance with the plugin; the two talk as
//! `docs/internals/isolation.md` says, and message bodies do not go between them, but descriptors of the files they lie in.
//! The child is the same program, which calls [`run_child`] when it is started with [`ARGUMENT`].
//!
//! # Invariants
//! Those of the host: every delivery that was taken ends in exactly one `Finished`, every lease in one end, the instance in
//! one `Stopped`, whatever becomes of the child. Nothing that the child says is believed before it is compared with what it
//! was given.
//! # Failure
//! A child that dies, or has to be ended, costs a rest and a new child. What it had in hand is told of as
//! [`Cause::Crashed`](sluice_host::Cause::Crashed), the rest goes back untouched.
//! # Not here
//! Counting what a message has cost, and holding it (`dispatch`); the plugin's own contract (`host`, `abi`).
#![deny(unsafe_code)]

mod child;
mod child_process;
mod confine;
mod files;
mod instance;
mod ledger;
mod life;
mod log;
mod process;
mod raw;
mod reader;
#[cfg(test)]
mod rehearsal;
mod socket;
mod sync;
mod watch;
pub mod wire;

pub use child::{ARGUMENT, run_child};
pub use instance::{Isolated, Limits, Program};
