//! STARTTLS (RFC 3207) and AUTH (RFC 4954): what may be said before them, and the way through an exchange.
//!
//! # Not here
//! TLS itself (`smtpd`), the mechanisms (`sasl`), who the users are (the intake).

use sluice_sasl::{Mechanism, decode, encode};

use super::{Server, Step};
use crate::command::{Command, MailParams};
use crate::replies;
use crate::reply::Reply;

/// Whether something is done (channel keywords `no…`, `may…`, `must…` with `tls` and `sasl`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Demand {
    /// Neither offered nor accepted.
    #[default]
    No,
    /// Offered.
    May,
    /// Nothing goes without.
    Must,
}

/// What protects a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Safety {
    /// STARTTLS.
    pub tls: Demand,
    /// AUTH.
    pub auth: Demand,
    /// What AUTH offers; of these, PLAIN and LOGIN only under TLS.
    pub mechanisms: Vec<Mechanism>,
    /// Failed logins before 421 (channel keyword `disconnectbadauthlimit`); at least one.
    pub max_auth_failures: u32,
}

/// How far a session is protected.
#[derive(Debug, Default)]
pub(super) struct Guard {
    tls: bool,
    login: bool,
    /// The next line belongs to an exchange of this mechanism.
    exchange: Option<Mechanism>,
    failures: u32,
}

/// What an exchange came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchanged {
    /// The mechanism wants to send this.
    Challenge(Vec<u8>),
    /// The client is who it says.
    Accepted,
    /// It is not.
    Rejected,
    /// What it said is nothing of the mechanism.
    Malformed,
    /// It cannot be found out now.
    Unavailable,
}

impl Server {
    /// TLS is on from the first octet, or since STARTTLS. Whatever was known of the client is forgotten (RFC 3207
    /// section 4.2).
    pub fn secured(&mut self) {
        self.helo = None;
        (self.transaction, self.chunks) = (None, false);
        self.guard = Guard { tls: true, failures: self.guard.failures, ..Guard::default() };
    }

    /// TLS is on.
    pub fn is_secured(&self) -> bool {
        self.guard.tls
    }

    /// The client has logged in.
    pub(super) fn has_logged_in(&self) -> bool {
        self.guard.login
    }

    /// The next line belongs to an exchange of AUTH.
    pub fn is_in_exchange(&self) -> bool {
        self.guard.exchange.is_some()
    }

    /// Something came behind STARTTLS before its reply. It may be somebody else's, put there to be taken for something
    /// that was said under TLS.
    pub fn spoke_before_tls(&self) -> Reply {
        replies::spoke_before_tls()
    }

    /// TLS cannot be had now: the answer to [`Step::StartTls`] in place of its reply.
    pub fn tls_unavailable(&mut self) -> Step<'static> {
        self.answered(replies::tls_unavailable())
    }

    /// Why a command may not be carried out yet.
    pub(super) fn withheld(&self, command: &Command<'_>) -> Option<Reply> {
        // BDAT comes with octets that are to be read away; without MAIL it is refused all the same.
        let free = matches!(
            command,
            Command::Helo(_)
                | Command::Ehlo(_)
                | Command::Noop
                | Command::StartTls
                | Command::Bdat { .. }
                | Command::Quit
        );
        if self.policy.safety.tls == Demand::Must && !self.guard.tls && !free {
            return Some(replies::tls_required());
        }
        let verify = matches!(command, Command::Vrfy(_));
        if verify { self.login_missing() } else { None }
    }

    /// The refusal of what needs a login, when there was none.
    pub(super) fn login_missing(&self) -> Option<Reply> {
        let missing = self.policy.safety.auth == Demand::Must && !self.guard.login;
        missing.then(replies::auth_required)
    }

    /// The refusal of `AUTH=` where AUTH is not offered. Where it is, the parameter is taken and has no effect: nobody's
    /// word for somebody else counts here (RFC 4954 section 5).
    pub(super) fn auth_parameter(&self, params: &MailParams) -> Option<Reply> {
        let refused = params.auth && self.policy.safety.auth == Demand::No;
        refused.then(|| replies::unknown_parameter("AUTH"))
    }

    /// The lines of EHLO about all this.
    pub(super) fn with_protection(&self, mut reply: Reply) -> Reply {
        if self.policy.safety.tls != Demand::No && !self.guard.tls {
            reply = reply.and("STARTTLS");
        }
        let names: Vec<&str> = self.offered().map(Mechanism::name).collect();
        if names.is_empty() { reply } else { reply.and(format!("AUTH {}", names.join(" "))) }
    }

    /// The verbs for HELP, with a blank in front.
    pub(super) fn protecting_verbs(&self) -> &'static str {
        let Safety { tls, auth, .. } = &self.policy.safety;
        match (*tls != Demand::No, *auth != Demand::No) {
            (true, true) => " STARTTLS AUTH",
            (true, false) => " STARTTLS",
            (false, true) => " AUTH",
            (false, false) => "",
        }
    }

    fn offered(&self) -> impl Iterator<Item = Mechanism> {
        let safety = &self.policy.safety;
        // Before the TLS that the channel demands, AUTH would be refused.
        let closed = safety.auth == Demand::No || safety.tls == Demand::Must && !self.guard.tls;
        safety
            .mechanisms
            .iter()
            .copied()
            .filter(move |mechanism| !closed && (self.guard.tls || !mechanism.is_clear()))
    }

    pub(super) fn start_tls(&mut self) -> Step<'static> {
        if self.policy.safety.tls == Demand::No {
            return self.answered(replies::not_implemented("STARTTLS"));
        }
        if self.guard.tls {
            return self.answered(replies::tls_already());
        }
        if self.helo.is_none() {
            return self.answered(replies::hello_first());
        }
        Step::StartTls(replies::start_tls())
    }

    pub(super) fn auth(&mut self, mechanism: &str, response: Option<&str>) -> Step<'static> {
        if self.policy.safety.auth == Demand::No {
            return self.answered(replies::not_implemented("AUTH"));
        }
        // RFC 4954 section 4: after EHLO only, once, and not inside a transaction.
        if !self.helo.as_ref().is_some_and(|helo| helo.extended) {
            return self.answered(replies::hello_first());
        }
        if self.guard.login {
            return self.answered(replies::auth_already());
        }
        if self.is_in_transaction() {
            return self.answered(replies::auth_in_transaction());
        }
        let known = Mechanism::by_name(mechanism)
            .filter(|mechanism| self.policy.safety.mechanisms.contains(mechanism));
        let Some(mechanism) = known else {
            return self.answered(replies::auth_unknown_mechanism());
        };
        if mechanism.is_clear() && !self.guard.tls {
            return self.answered(replies::auth_needs_tls());
        }
        // RFC 4954 section 4: a lone equals sign is an initial response of no octets.
        let response = match response {
            Some("=") => Some(Some(Vec::new())),
            Some(text) => decode(text.as_bytes()).map(Some),
            None => Some(None),
        };
        match response {
            None => self.answered(replies::auth_not_base64()),
            Some(response) => {
                self.guard.exchange = Some(mechanism);
                Step::Authenticate(mechanism, response)
            }
        }
    }

    /// A line within an exchange.
    pub(super) fn exchange_line(&mut self, line: &[u8]) -> Step<'static> {
        if line == b"*" {
            self.guard.exchange = None;
            return self.answered(replies::auth_cancelled());
        }
        match decode(line) {
            Some(response) => Step::AuthResponse(response),
            None => {
                self.guard.exchange = None;
                self.answered(replies::auth_not_base64())
            }
        }
    }

    /// The line of an exchange was too long.
    pub(super) fn exchange_line_too_long(&mut self) -> Step<'static> {
        self.guard.exchange = None;
        self.answered(replies::auth_line_too_long())
    }

    /// The answer to [`Step::Authenticate`] and [`Step::AuthResponse`].
    pub fn exchanged(&mut self, exchanged: &Exchanged) -> Step<'static> {
        let Some(mechanism) = self.guard.exchange else {
            return self.answered(replies::auth_unavailable());
        };
        if let Exchanged::Challenge(challenge) = exchanged {
            return Step::Reply(replies::auth_challenge(&encode(challenge)));
        }
        self.guard.exchange = None;
        match exchanged {
            Exchanged::Accepted => {
                self.guard.login = true;
                Step::Reply(replies::authenticated())
            }
            Exchanged::Rejected => {
                self.guard.failures += 1;
                match self.guard.failures >= self.policy.safety.max_auth_failures.max(1) {
                    true => Step::Close(replies::too_many_auth_failures()),
                    false => Step::Reply(replies::auth_failed()),
                }
            }
            Exchanged::Unavailable => self.answered(replies::auth_unavailable()),
            Exchanged::Malformed | Exchanged::Challenge(_) => {
                self.answered(replies::auth_malformed(mechanism.name()))
            }
        }
    }
}
