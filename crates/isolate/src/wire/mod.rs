//! Frames between a hub and the child that runs a plugin for it, as `docs/internals/isolation.md` draws them.
//!
//! What is read here may have been written by a plugin that has taken over its process: every length is compared with what is
//! there before it is believed, every list with its limit, and every number with what it may mean. Texts that are shown
//! are bounded and made one line while they are read.
//!
//! # Not here
//! Whether a frame fits to what was said before (`ledger`), and the socket (`socket`).

mod fields;
#[cfg(test)]
mod tests;
mod to_child;
mod to_hub;

pub use fields::{Bad, Frames};
pub(crate) use to_child::{Hello, LentDelivery, LentLease, Piece, ToChild, encode_lease};
pub(crate) use to_hub::write_finished;
pub use to_hub::{Ready, ToHub};

/// Version of the frames. Hub and child are the same program, so that another one means that the file was replaced.
pub(crate) const VERSION: u16 = 3;
/// Longest body of a frame to the child: a lease of messages with very many recipients.
pub(crate) const TO_CHILD_MAX: usize = 64 << 20;
/// Longest body of a frame to the hub: what a hostile child can have the hub keep of it.
pub const TO_HUB_MAX: usize = 1 << 20;
/// Most octets of a submission, which the hub has in memory until it is answered.
pub(crate) const SUBMISSION_MAX: usize = 128 << 20;
