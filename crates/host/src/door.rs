//! The door by which plugins bring mail in.
//!
//! The host reads what a plugin hands over and bounds it; what a submission means, and whether it is durable, is known
//! behind the [`FrontDoor`], of which the host knows nothing else.
//!
//! # Not here
//! Rewriting, access tables, the spool: whoever opens the door has them.

use sluice_mail::{Outcome, Priority, RecipientWishes, Time, Wishes};
use std::sync::Arc;

/// Most recipients of one submission: as many as one alias may stand for.
pub(crate) const RECIPIENTS_MAX: usize = 100_000;
/// Most pieces of one submission.
pub(crate) const PIECES_MAX: usize = 1 << 20;
/// Most octets of one submission; what the hub itself takes is usually far less.
pub(crate) const OCTETS_MAX: usize = 1 << 32;
/// Longest address in octets that is looked at.
pub(crate) const ADDRESS_MAX: usize = 4096;

/// Where mail from plugins goes in.
pub trait FrontDoor: Send + Sync + 'static {
    /// Takes a message, and waits until it is durable or refused: one outcome for each recipient, in their order.
    /// `Delivered` means that it is durable for this recipient, so that its source may be settled. `None` when nothing is
    /// taken at the moment. Called on a thread that may wait.
    fn submit(&self, submission: &Submission<'_>) -> Option<Vec<Outcome>>;
}

/// A message that a plugin brings in. Its texts and content are untrusted.
#[derive(Clone, Debug)]
pub struct Submission<'a> {
    /// The channel whose worker brings it.
    pub channel: &'a str,
    /// The message that it comes of, if it is one that the worker was given.
    pub origin: Option<Origin>,
    /// It is to appear as if it came from the source channel of its origin. Never without an origin.
    pub as_original: bool,
    /// Envelope sender; empty is the null reverse-path.
    pub sender: &'a str,
    /// What the sender wishes about the message. What was wished with its origin goes before it.
    pub wishes: Wishes,
    /// At least one.
    pub recipients: &'a [Submitted<'a>],
    /// The content, in wire form if the plugin keeps its promise.
    pub pieces: &'a [&'a [u8]],
    /// It is not all seven-bit.
    pub eight_bit: bool,
    /// It needs SMTPUTF8.
    pub smtputf8: bool,
    /// It is on hold from the moment it comes in.
    pub on_hold: bool,
}

/// One recipient of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted<'a> {
    /// Its address.
    pub address: &'a str,
    /// The address that notices name.
    pub original: &'a str,
    /// What the sender wants to be told about it.
    pub wishes: RecipientWishes,
}

/// What a submission takes over from the message it comes of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its queue id.
    pub id: String,
    /// The channel it came in by.
    pub source_channel: String,
    /// The queue of the channel in which it waited: a host in lower case, or what its channel's mail waits for.
    pub domain: Arc<str>,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was accepted.
    pub arrived: Time,
    /// What its sender wishes about notices.
    pub wishes: Wishes,
}
