//! ATRN in a session, and the service ODMR, whose sessions are for nothing else (RFC 2645).
//!
//! The order of checks: offered at all, EHLO, no transaction, a login, a well-formed list. Whose domains they are and what
//! waits for them is the intake's business; that nothing has come behind the command is the session's, which has the octets.

use super::{Server, Step};
use crate::atrn::{AtrnPolicy, Domains};
use crate::command::Command;
use crate::replies;

impl Server {
    /// ATRN and its argument.
    pub(super) fn atrn<'l>(&mut self, argument: &'l str) -> Step<'l> {
        if self.policy.atrn == AtrnPolicy::No {
            return self.answered(replies::not_implemented("ATRN"));
        }
        if self.helo.is_none() {
            return self.answered(replies::hello_first());
        }
        if self.is_in_transaction() {
            return self.answered(replies::atrn_in_transaction());
        }
        if !self.has_logged_in() {
            return self.answered(replies::auth_required());
        }
        if argument.parse::<Domains>().is_err() {
            return self.answered(replies::atrn_syntax());
        }
        Step::Atrn(argument)
    }

    /// Something came behind ATRN before its reply: the answer in place of a turn.
    pub fn spoke_before_turn(&mut self) -> Step<'static> {
        self.answered(replies::spoke_before_turn())
    }

    /// The answer to a command that the service ODMR does not have. RFC 2645 section 4 allows EHLO, AUTH, ATRN and QUIT; what
    /// moves no mail is allowed besides.
    pub(super) fn not_in_odmr(&mut self, command: &Command<'_>) -> Option<Step<'static>> {
        if self.policy.atrn != AtrnPolicy::Only {
            return None;
        }
        let verb = match *command {
            Command::Mail { .. } => "MAIL",
            Command::Rcpt { .. } => "RCPT",
            Command::Data => "DATA",
            Command::Vrfy(_) => "VRFY",
            Command::Etrn(_) => "ETRN",
            // Its octets are there and belong to no message.
            Command::Bdat { octets, .. } => return Some(Step::Discard(octets, replies::atrn_only("BDAT"))),
            _ => return None,
        };
        Some(self.answered(replies::atrn_only(verb)))
    }
}
