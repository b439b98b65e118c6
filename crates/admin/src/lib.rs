//! The control socket: how an operator's command reaches the hub that runs.
//!
//! A hub listens on a Unix socket (`CONTROL_SOCKET`, by default `control.sock` in the spool folder). A client sends one
//! line of JSON, a [`Request`]; the hub answers with any number of [`Line::Data`] lines and exactly one closing line,
//! [`Line::End`] or [`Line::Fault`]. `docs/internals/control-protocol.md` has the wire form.
//!
//! # Who may ask
//! Whoever can open the socket: it is made with mode 0600, so that is the account the hub runs under, and root. Processes
//! of isolated plugins run under that account too, and are refused.
//! # Limits
//! A request is at most [`REQUEST_LIMIT`] octets and has to arrive within [`REQUEST_TIMEOUT`]; at most
//! [`CONNECTIONS_LIMIT`] clients are served at once. Those beyond wait in the listen queue.
//! # Not here
//! What the answers mean (`dispatch`), and how they are shown to a person (`sluice`). HTTP comes in a later release.
#![forbid(unsafe_code)]

pub mod client;
mod peer;
pub mod protocol;
mod reach;
pub mod server;

use std::time::Duration;

pub use client::{Client, ClientError};
pub use protocol::{Fault, FaultKind, Line, Request};
pub use reach::Reach;
pub use server::{BindError, Control, Server};

/// Longest request line, in octets. A selector is at most a domain name; this leaves room for lists of ids.
pub const REQUEST_LIMIT: usize = 64 * 1024;

/// How long a client may take to send its request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How many clients are served at the same time.
pub const CONNECTIONS_LIMIT: usize = 32;
