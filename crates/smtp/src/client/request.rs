//! Commands outside all transactions whose answers are the caller's business: ETRN for a name, ATRN, RSET.
//!
//! One at a time: RFC 2920 section 3.1 lets a command of another extension be only the last of a group, so each waits
//! for its reply.
//!
//! # Not here
//! What the answers mean ([`crate::asker`]), and the ETRN that goes before mail ([`super::Manner::etrn`]).

use super::{Asked, Client, Phase, Wait, command};
use crate::reply::Reply;

/// A command that is no part of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// ETRN with this argument (RFC 1985).
    Etrn(&'a str),
    /// ATRN with these domains, joined by commas; none when empty (RFC 2645).
    Atrn(&'a str),
    /// RSET.
    Reset,
}

/// Why a connection came to its end, beside what [`super::Ending`] says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// TLS is demanded and not to be had.
    NoTls,
    /// A login is demanded and not to be had.
    NoLogin,
    /// The connection was lost or timed out.
    Lost,
    /// What the server says is no SMTP.
    Nonsense,
}

impl Client {
    /// Sends a command on a connection that is [`super::Step::Ready`]; on any other nothing is sent. When the
    /// connection is Ready again, [`Client::answer`] has the reply; 421 ends the connection instead.
    pub fn request(&mut self, request: Request<'_>) {
        if self.phase != Phase::Ready {
            return;
        }
        let (wait, line) = match request {
            Request::Etrn(node) => (Wait::Etrn, command("ETRN", node)),
            Request::Atrn("") => (Wait::Atrn, b"ATRN\r\n".to_vec()),
            Request::Atrn(domains) => (Wait::Atrn, command("ATRN", domains)),
            Request::Reset => (Wait::Reset, b"RSET\r\n".to_vec()),
        };
        self.answer = None;
        self.phase = Phase::Opening;
        self.ask(Asked::Request(wait), &line);
    }

    /// The reply to the last [`Client::request`], until the next one.
    pub fn answer(&self) -> Option<&Reply> {
        self.answer.as_ref()
    }

    /// Why the connection is over, where it was neither a reply of the server's nor our own will.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// Whether what is to be written belongs to a login, and is nobody else's business.
    pub fn is_logging_in(&self) -> bool {
        self.asked.back() == Some(&Asked::Auth)
    }

    pub(super) fn request_answered(&mut self, answer: &Reply) {
        self.answer = Some(answer.clone());
        self.phase = Phase::Ready;
    }
}
