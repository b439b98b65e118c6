//! STARTTLS (RFC 3207) and AUTH (RFC 4954) at the client's side: what happens between EHLO and the first MAIL.
//!
//! Who only *may* goes on without what the server does not have; who *must* does not, and the message waits: whatever a
//! server says about TLS or a login concerns us, and no recipient.

use sluice_mail::Status;
use sluice_sasl::client::{Attempt, Credentials, RANDOM_OCTETS};
use sluice_sasl::{Mechanism, decode, encode};

use super::verdict::{deferred, shown};
use super::{Asked, Client, Hello, Offers, Phase, Trouble};
use crate::reply::Reply;
pub use crate::server::Demand;

/// How a connection is to be protected.
#[derive(Debug, Clone, Default)]
pub struct Safety {
    /// STARTTLS (channel keywords `maytlsclient` and its kind).
    pub tls: Demand,
    /// TLS was on before the first octet.
    pub secured: bool,
    /// AUTH (channel keywords `maysaslclient` and its kind).
    pub auth: Demand,
    /// Who we are.
    pub credentials: Option<Credentials>,
    /// Octets that nobody can guess, for each connection others.
    pub random: [u8; RANDOM_OCTETS],
}

impl Client {
    /// TLS is on, after [`super::Step::StartTls`]: what the server said before counts no more.
    pub fn secured(&mut self) {
        if self.phase == Phase::Handshake {
            self.phase = Phase::Opening;
            self.is_secured = true;
            self.offers = Offers::default();
            let asked = if self.manner.hello == Hello::Helo { Asked::Helo } else { Asked::Ehlo };
            self.hello(asked);
        }
    }

    /// Why we are not logged in although we might have been, for the log.
    pub fn login_trouble(&self) -> Option<&str> {
        self.login_trouble.as_deref()
    }

    /// What comes first after EHLO or HELO was answered.
    pub(super) fn protect(&mut self) {
        let safety = &self.manner.safety;
        if !self.is_secured && safety.tls != Demand::No {
            if self.offers.starttls {
                return self.ask(Asked::StartTls, b"STARTTLS\r\n");
            }
            if safety.tls == Demand::Must {
                return self.unprotected(
                    Trouble::NoTls,
                    Status::new(4, 7, 10),
                    "TLS is demanded, and the server does not offer STARTTLS",
                );
            }
        }
        self.log_in();
    }

    /// The server's answer to STARTTLS.
    pub(super) fn tls_answered(&mut self, answer: &Reply) {
        if answer.is_success() {
            self.phase = Phase::Handshake;
        } else if self.manner.safety.tls == Demand::Must {
            let text = format!("TLS is demanded, and the server refused STARTTLS: {}", shown(answer));
            self.unprotected(Trouble::NoTls, Status::new(4, 7, 10), &text);
        } else {
            self.log_in();
        }
    }

    fn log_in(&mut self) {
        let safety = &self.manner.safety;
        let wanted = match (&safety.credentials, safety.auth) {
            (_, Demand::No) => return self.opened(),
            (None, _) => Err("there are no AUTH_USERNAME and AUTH_PASSWORD to log in with"),
            (Some(credentials), _) => {
                let usable = |mechanism: &Mechanism| {
                    self.offers.mechanisms[*mechanism as usize] && (self.is_secured || !mechanism.is_clear())
                };
                let found = Mechanism::ALL.into_iter().find(usable);
                found.map(|mechanism| (mechanism, credentials.clone())).ok_or(
                    "the server offers no way to log in that may be used here (PLAIN and LOGIN need TLS)",
                )
            }
        };
        let (mechanism, credentials) = match wanted {
            Ok(found) => found,
            Err(why) => return self.not_logged_in(why),
        };
        let mut attempt = Attempt::new(mechanism, credentials, &safety.random);
        let initial = attempt.initial().map(|octets| match octets.as_slice() {
            [] => " =".to_owned(),
            octets => format!(" {}", encode(octets)),
        });
        self.attempt = Some(attempt);
        let line = format!("AUTH {}{}\r\n", mechanism.name(), initial.unwrap_or_default());
        self.ask(Asked::Auth, line.as_bytes());
    }

    /// The server's answer to AUTH or to a line of its exchange.
    pub(super) fn auth_answered(&mut self, answer: &Reply) {
        let Some(mut attempt) = self.attempt.take() else {
            return self.not_logged_in(&format!("the login was given up: {}", shown(answer)));
        };
        if answer.code == 334 {
            let text = answer.lines.first().map_or("", |line| line.trim());
            let said = match decode(text.as_bytes()) {
                Some(challenge) => attempt.answer(&challenge).map_err(|nonsense| nonsense.0),
                None => Err("the server's challenge is no base64"),
            };
            match said {
                Ok(response) => {
                    self.attempt = Some(attempt);
                    self.ask(Asked::Auth, format!("{}\r\n", encode(&response)).as_bytes());
                }
                Err(why) => {
                    self.login_trouble = Some(why.to_owned());
                    // RFC 4954 section 4: the exchange is ended like this, and the server says 501.
                    self.ask(Asked::Auth, b"*\r\n");
                }
            }
            return;
        }
        if !answer.is_success() {
            return self.not_logged_in(&format!("the server refused the login: {}", shown(answer)));
        }
        if attempt.is_complete() {
            self.opened();
        } else {
            let text = "the server does not prove that it knows our password";
            self.unprotected(Trouble::NoLogin, Status::new(4, 7, 5), text);
        }
    }

    fn not_logged_in(&mut self, why: &str) {
        let text = self.login_trouble.take().unwrap_or_else(|| why.to_owned());
        if self.manner.safety.auth == Demand::Must {
            let text = format!("a login is demanded: {text}");
            return self.unprotected(Trouble::NoLogin, Status::new(4, 7, 0), &text);
        }
        self.login_trouble = Some(text);
        self.opened();
    }

    fn unprotected(&mut self, trouble: Trouble, status: Status, text: &str) {
        self.trouble.get_or_insert(trouble);
        let outcome = deferred(status, text, &self.manner.peer);
        self.over(outcome, true);
    }
}
