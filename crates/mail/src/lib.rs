//! Addresses, envelopes, outcomes and status codes: the facts every other part of the house agrees on.
//!
//! Everything here is plain data with the conversions that belong to it: an [`Address`] and its written form, an
//! [`Envelope`] and its bytes, a [`Status`] and its three numbers. [`notice`] turns given facts into a delivery status
//! notification; [`header`] and [`field`] find the addresses in a message, and [`mime`] its parts; [`header_edit`] changes its fields; [`wire`] knows about the dots of RFC 5321 section 4.5.2.
//!
//! # Invariants
//! Nothing here reads a clock, a file or the environment; the time is always handed in. Nothing here panics on bytes
//! or text that came from outside.
//! # Not here
//! What an address *means* (`rewrite`), SMTP commands and replies (`smtp`), where envelopes are kept (`spool`).
#![forbid(unsafe_code)]

mod address;
mod domain;
pub mod encoding;
mod envelope;
pub mod field;
pub mod header;
pub mod header_edit;
pub mod mime;
mod next_hop;
pub mod notice;
mod outcome;
pub mod seven_bit;
mod status;
mod time;
mod transfer_priority;
pub mod wire;
pub mod wishes;

pub use address::{Address, AddressError};
pub use domain::{ReversedDomain, a_labels, u_labels};
pub use envelope::{Envelope, EnvelopeError, Priority, Recipient};
pub use next_hop::{Host, NextHop, NextHopError};
pub use outcome::{Handover, Outcome, Refusal};
pub use status::{Status, StatusError};
pub use time::{Time, header_date, rfc3339, rfc3339_time, rfc5322_date};
pub use transfer_priority::TransferPriority;
pub use wishes::{LaterRelease, Notify, RecipientWishes, Return, Wishes};
