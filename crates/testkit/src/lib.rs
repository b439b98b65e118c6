//! Fixtures for whole-program tests: a site with its own folder and ports, a mail server that keeps what it gets, and
//! clients that say what they are told to say.
//!
//! Everything is on loopback, everything belongs to one test, and whatever is started is stopped by its process id
//! when the fixture goes. Tests wait for a condition with a deadline ([`wait_for`]), never for a while; the one thing
//! that cannot be waited for, that something does *not* happen, is watched for a short time ([`watch`]).
//!
//! A fixture panics where a test would: what it says names the site, its configuration and the end of its log.
//!
//! # Not here
//! Anything that ships, and any crate of the hub: the fixtures see it from outside, as a peer or an operator would.
#![forbid(unsafe_code)]
// Fixtures are the inside of tests: they stop at the first thing that is not as it should be, and say so aloud.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod content;
mod maildir;
pub mod misbehaviour;
mod names;
mod ports;
mod process;
mod sender;
mod sink;
mod site;
pub mod soak;
mod talk;
mod terminal;
mod wait;

pub use content::{below_received, message, number_of};
pub use maildir::maildir;
pub use names::{NameServer, Record};
pub use ports::free_port;
pub use process::{Program, built};
pub use sender::{Batch, Fate};
pub use sink::{Arrived, Manner, Sink};
pub use site::{Ran, Site};
pub use talk::{Reply, Talk};
pub use terminal::{END_OF_INPUT, answered};
pub use wait::{wait_for, wait_until, watch};
