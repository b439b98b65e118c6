//! SMTP listeners and sessions.
//!
//! A [`Server`](crate) binds the addresses it is given and runs one task per connection. Each session feeds bytes to
//! the state machine of `sluice_smtp` and carries out what it asks for; whatever needs the rest of the house goes
//! through [`Intake`].
#![forbid(unsafe_code)]

mod intake;

/// A client that sends less of a message than this within [`Limits::data_timeout`] is cut off: without it, one octet
/// every few minutes would hold a connection for ever. A line of 9600 bit/s brings twenty times as much.
pub const DATA_WINDOW_OCTETS: u64 = 16 * 1024;

pub use intake::{
    Admission, Body, Connection, Done, EtrnAnswer, EtrnPolicy, Incoming, Intake, Limits, MailParams, Session,
};
