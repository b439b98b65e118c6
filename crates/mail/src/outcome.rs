//! What became of a recipient, and how a request of a client is turned down.

use std::fmt;

use crate::Status;

/// Who tells the sender about a recipient that was delivered, if anybody asked for that (RFC 3461 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handover {
    /// We: it is in its mailbox, or has left the world of mail.
    #[default]
    Final,
    /// We: the next system knows nothing of such notices, and this is the last that is known of it.
    Relayed,
    /// The next system, which has been told what the sender wants.
    PassedOn,
}

/// What one attempt did for one recipient. A failure is ordinary business, so this is a value and not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The next system has taken responsibility.
    Delivered {
        /// RFC 3463 code, class 2.
        status: Status,
        /// The remote reply with its code, or our own words.
        text: String,
        /// Who said so; empty when it was this system.
        peer: String,
        /// Who tells the sender.
        handover: Handover,
    },
    /// Not this time; another attempt may succeed.
    Deferred {
        /// RFC 3463 code, class 4.
        status: Status,
        /// The remote reply with its code, or our own words.
        text: String,
        /// Who said so; empty when it was this system.
        peer: String,
    },
    /// Never; the sender is told.
    Failed {
        /// RFC 3463 code, class 5 (or 4 when time ran out).
        status: Status,
        /// The remote reply with its code, or our own words.
        text: String,
        /// Who said so; empty when it was this system.
        peer: String,
    },
}

impl Outcome {
    /// The enhanced status code.
    pub fn status(&self) -> Status {
        let (Outcome::Delivered { status, .. }
        | Outcome::Deferred { status, .. }
        | Outcome::Failed { status, .. }) = self;
        *status
    }

    /// The reply or reason.
    pub fn text(&self) -> &str {
        let (Outcome::Delivered { text, .. } | Outcome::Deferred { text, .. } | Outcome::Failed { text, .. }) =
            self;
        text
    }

    /// Who said so; empty when it was this system.
    pub fn peer(&self) -> &str {
        let (Outcome::Delivered { peer, .. } | Outcome::Deferred { peer, .. } | Outcome::Failed { peer, .. }) =
            self;
        peer
    }

    /// Nothing more will be done for the recipient.
    pub fn is_final(&self) -> bool {
        !matches!(self, Outcome::Deferred { .. })
    }
}

/// An SMTP refusal: what the client is told instead of 250.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reply code, 4xx or 5xx.
    pub code: u16,
    /// The enhanced code that goes with it.
    pub status: Status,
    /// One line of text.
    pub text: String,
}

impl Refusal {
    /// A refusal with these parts.
    pub fn new(code: u16, status: Status, text: impl Into<String>) -> Refusal {
        Refusal { code, status, text: text.into() }
    }

    /// The client may try again later.
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }
}

impl fmt::Display for Refusal {
    /// As it is logged, and as it goes out when the text is one line: `550 5.1.2 unknown host or domain: a@b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.status, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_an_outcome_are_found_in_each_kind() {
        let outcome = Outcome::Failed {
            status: Status::NO_SUCH_USER,
            text: "550 no".into(),
            peer: "mx.example".into(),
        };
        assert_eq!(
            (outcome.status(), outcome.text(), outcome.peer()),
            (Status::NO_SUCH_USER, "550 no", "mx.example")
        );
        assert!(outcome.is_final());
        let later = Outcome::Deferred { status: Status::NOT_NOW, text: "busy".into(), peer: String::new() };
        assert!(!later.is_final());
        assert_eq!(later.text(), "busy");
    }

    #[test]
    fn a_refusal_is_one_line() {
        let refusal = Refusal::new(450, Status::new(4, 1, 2), "unknown host or domain: a@b");
        assert_eq!(refusal.to_string(), "450 4.1.2 unknown host or domain: a@b");
        assert!(refusal.is_temporary());
    }
}
