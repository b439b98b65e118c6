//! What the author of a channel plugin uses: a trait to implement and a macro that exports it.
//!
//! ```
//! #![forbid(unsafe_code)]
//! use std::time::Duration;
//! use sluice_sdk::{Channel, Context, CreateError, Next, RunError, Worker};
//!
//! /// Delivers everything to nowhere.
//! struct Drain;
//!
//! impl Channel for Drain {
//!     const NAME: &'static str = "drain";
//!     const VERSION: &'static str = "1.0";
//!     const DESCRIPTION: &'static str = "delivers everything to nowhere";
//!
//!     fn create(_context: Context) -> Result<Self, CreateError> {
//!         Ok(Drain)
//!     }
//!
//!     fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
//!         loop {
//!             match worker.next(Duration::from_secs(60)) {
//!                 Next::Delivery(delivery) => {
//!                     for recipient in delivery.take_recipients() {
//!                         recipient.delivered("gone");
//!                     }
//!                 }
//!                 Next::Idle | Next::Poll => {}
//!                 Next::Stop => return Ok(()),
//!             }
//!         }
//!     }
//! }
//!
//! sluice_sdk::export_channel!(Drain);
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` named `sluice_NAME`, so that the file is `libsluice_NAME.so`, and name it in a channel's
//! `MASTER_PLUGIN`.
//!
//! A plugin that looks at messages before they are queued implements [`Filter`] and is exported by [`export_filter!`].
//!
//! A channel may also bring mail in ([`Worker::enqueue`]), and have routines that rewrite rules call
//! ([`Channel::ROUTINES`]).
//!
//! # Invariants
//! A [`Delivery`] borrows the host's memory and cannot outlive `run`. Each recipient is settled at most once: a
//! [`Claim`] is given out once ([`Delivery::take_recipients`]) and used up by settling it. A delivery that is dropped goes back to the host, and what
//! is not settled in it is deferred, never lost.
//! # Failure
//! A panic in `create`, `run` or `stop` is caught here, reported to the host with its message, and costs the channel a
//! restart. Build plugins with `panic = "unwind"` (the default); with `panic = "abort"` a panic ends the whole hub.
//! # Not here
//! The contract itself (`abi`), loading and calling (`host`), and anything about a particular protocol.
#![deny(unsafe_code)]

// The derives name the crate from outside.
extern crate self as sluice_sdk;

mod channel;
mod context;
mod delivery;
pub mod export;
mod fence;
mod filter;
mod header;
pub mod options;
mod outcome;
mod reader;
mod reference;
mod submission;
pub mod testing;
mod waits;

pub use channel::{Channel, CreateError, OptionKind, OptionSpec, Routine, RunError};
pub use context::{Context, Level, Log, Setting, SettingKind};
pub use delivery::{Claim, Claims, Delivery, Next, Pieces, Priority, Recipient, Recipients, Worker};
pub use filter::{
    Filter, FilterOnly, Filtered, FilteredPieces, FilteredRecipient, NotChanged, Occurrence, Verdict,
};
pub use header::{FIELD_MAX, Field, Header};
pub use options::{OptionValue, Options, Written};
pub use outcome::{Handover, Outcome, Status};
pub use reader::{Reader, WireReader};
pub use reference::{OPTION_LIST_HEAD, option_list};
pub use sluice_sdk_derive::{OptionWord, Options};
pub use submission::{NotTaken, Submission, wire};
pub use waits::{Stopping, Wait, Waits};
