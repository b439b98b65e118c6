//! An address that is refused, and the words for it.

use sluice_mail::{Refusal, Status};

use crate::rewriter::DEFAULT_ERROR_TEXT;

/// Said where a database cannot be asked.
pub(crate) const UNAVAILABLE_TEXT: &str = "a database of this system is temporarily not available";

/// An address that goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The reason; [`DEFAULT_ERROR_TEXT`] unless a rule gave one.
    pub text: String,
    /// Its enhanced code.
    pub status: Status,
    /// The SMTP reply code, 550, 450 or 451.
    pub code: u16,
}

impl Rejected {
    pub(crate) fn new(text: impl Into<String>, status: Status) -> Rejected {
        Rejected { text: text.into(), status, code: if status.is_transient() { 450 } else { 550 } }
    }

    /// A database could not be asked (RFC 3463: 4.3.0, a temporary trouble of this system).
    #[must_use]
    pub fn unavailable() -> Rejected {
        Rejected { text: UNAVAILABLE_TEXT.to_owned(), status: Status::new(4, 3, 0), code: 451 }
    }

    /// What an SMTP client is told: `550 5.1.2 unknown host or domain: user@host`, or the rule's own reason with the
    /// address behind it.
    pub fn into_refusal(&self, address: &str) -> Refusal {
        let reason = if self.text == DEFAULT_ERROR_TEXT { "unknown host or domain" } else { &self.text };
        // One line, whatever a template or a look-up brought.
        let shown = address.chars().filter(|c| !c.is_control()).take(256);
        let text =
            reason.chars().filter(|c| !c.is_control()).chain(": ".chars()).chain(shown).collect::<String>();
        Refusal::new(self.code, self.status, text)
    }
}
