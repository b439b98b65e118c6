//! SMTP listeners and sessions.
//!
//! A [`Server`] binds the addresses it is given and runs one task per connection. Each session feeds bytes to the state
//! machine of `sluice_smtp` and carries out what it asks for; whatever needs the rest of the house goes through
//! [`Intake`]. Replies to pipelined commands leave in one write.
//!
//! # Invariants
//! 250 after DATA is sent only after the intake has said that the message is safe. A message is never wholly in memory:
//! beyond [`CHUNK_OCTETS`] it is handed on in pieces, and nothing more is read before a piece is taken. No file is
//! touched and no lock is held across an `await`. No password is looked at on a thread of the runtime.
//! # Failure
//! A client that goes away, is slow or breaks rules costs its own connection. A session that panics is logged; its
//! connection closes and no other notices.
//! # Not here
//! The order of commands and the words of replies (`smtp`), routing and storing (behind [`Intake`]).
#![forbid(unsafe_code)]

mod asked;
mod delivery;
mod farewell;
mod gate;
pub mod inside;
mod intake;
mod log;
mod protection;
mod refusals;
mod reversed;
mod server;
mod session;
mod tls;
mod trace;
mod turn;

/// A client that sends less of a message than this within [`Limits::data_timeout`] is cut off: without it, one octet
/// every few minutes would hold a connection for ever. A line of 9600 bit/s brings twenty times as much.
pub const DATA_WINDOW_OCTETS: u64 = 16 * 1024;

/// A message is handed to [`Incoming::chunk`] in pieces of about this size; what is left at its end goes to
/// [`Incoming::commit`]. So a session holds at most two of them: one on its way, one being filled.
pub const CHUNK_OCTETS: usize = 256 * 1024;

/// So much of a message is read and thrown away after it has been refused, so that the client gets to read why. A
/// client that goes on is cut off.
pub const SWALLOW_OCTETS_MAX: u64 = 64 << 20;

/// Longest wait before a reply that [`Orders`] may ask for, whatever they say: clients give up after five minutes (RFC
/// 5321 section 4.5.3.2), and a session that waits holds a connection.
pub const DELAY_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// Time for the name service to answer about a client or a sender. Who has no working name service must not wait long for
/// every greeting.
pub const LOOKUP_TIME: std::time::Duration = std::time::Duration::from_secs(5);

pub use intake::{
    Accepted, Admission, AtrnPolicy, Body, ClientName, Connection, Done, Ends, EtrnAnswer, EtrnPolicy,
    ExpandLater, Expanded, Incoming, Intake, Limits, Login, LongLines, Lookup, MailParams, Orders, Origin,
    Parcel, Quotas, Reception, Refused, Session, Transaction,
};
pub use log::TARGET as SLAVE_DEBUG;
pub use reversed::{Stream, serve_reversed};
pub use sluice_sasl::Mechanism;
pub use sluice_sasl::users::Users;
pub use sluice_smtp::server::{Demand, Safety};
pub use tls::{CertificateError, Certificates, Tls};
pub use turn::{AtrnAnswer, Course, Turned};

pub use server::{BindError, Server, Service, Settings};
