//! SMTP without IO: commands, replies, server and client state machines.
//!
//! Bytes go in, in any split; values and bytes come out. [`line`] cuts command lines out of what a client sent,
//! [`command`] reads one line, [`server::Server`] keeps the order of a session and says what must be asked or answered
//! next, [`content`] receives a message up to its true end. [`reply`] writes replies and reads those of others,
//! [`replies`] names every reply this server has, [`etrn`] and [`atrn`] hold what is special about these two. [`client`] is the
//! other side of the connection, and [`asker`] the client that wants mail and brings none.
//! [`onlooker`] follows a dialogue of others.
//!
//! # Invariants
//! No byte sequence from outside causes a panic, and everything that grows has a limit. Only CR LF `.` CR LF ends a
//! message. Replies carry no control character, no line longer than 512 octets, and an enhanced code whose class is the
//! first digit of the reply code.
//! # Not here
//! Sockets, timers and limits on connections (`smtpd`), what an address means (`rewrite`), what becomes of a message.
#![forbid(unsafe_code)]

pub mod asker;
pub mod atrn;
pub mod client;
pub mod command;
pub mod content;
pub mod etrn;
pub mod line;
pub mod onlooker;
pub mod replies;
pub mod reply;
pub mod server;
