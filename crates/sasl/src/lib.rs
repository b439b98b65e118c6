//! Logins without IO: SASL mechanisms (RFC 4422) on both sides, and the records that they are checked against.
//!
//! [`users`] reads the password file, [`server::Exchange`] judges a client, [`client::Attempt`] answers a server. Bytes
//! go in and come out without base64, which is the protocol's business; [`encode`] and [`decode`] do it. Random octets
//! and the time are handed in.
//!
//! # Invariants
//! Passwords are never kept: a record has the keys of SCRAM (RFC 5802), from which neither the password nor a way to log
//! in can be had, and the secret of CRAM-MD5 only where the operator asked for it, as that is as good as the password.
//! Secrets are compared in constant time. A name that does not exist costs as much as one that does, and looks the same.
//! # Failure
//! Whatever a stranger sends is an answer, never a panic; what is too long is refused before anything is computed.
//! # Not here
//! Which mechanisms are offered when, and how often one may try (`smtp`, `smtpd`). Files and terminals (`sluice`).
#![forbid(unsafe_code)]

pub mod client;
mod crypto;
pub mod server;
pub mod users;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub use crypto::{ITERATIONS_MAX, ITERATIONS_MIN};

/// Padding is written and demanded (RFC 4648 section 3.2; RFC 4954 section 4 has no other form).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Longest user name in octets. A mail address fits.
pub const NAME_OCTETS_MAX: usize = 320;
/// Longest password in octets. PBKDF2 hashes it first, so this only bounds what is prepared.
pub const PASSWORD_OCTETS_MAX: usize = 1024;

/// The mechanisms that there are, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// SCRAM-SHA-256 (RFC 7677): a challenge; neither side learns the password from the other.
    ScramSha256,
    /// CRAM-MD5 (RFC 2195): a challenge; the server has to know a secret that is as good as the password.
    CramMd5,
    /// PLAIN (RFC 4616): name and password in clear.
    Plain,
    /// LOGIN: the same in two steps, older than the standards.
    Login,
}

impl Mechanism {
    /// All of them, the strongest first.
    pub const ALL: [Mechanism; 4] =
        [Mechanism::ScramSha256, Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login];

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// The mechanism of that name, case aside.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether whoever listens learns the password: it is to be used under TLS only.
    #[must_use]
    pub fn is_clear(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login)
    }
}

/// Base64 in one line.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    BASE64.encode(octets)
}

/// The octets of base64 without anything around it; `None` for anything else.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// A name or password in the form in which they are compared (SASLprep, RFC 4013). `None` for what can be neither:
/// nothing, control characters, characters without meaning, too much.
#[must_use]
pub fn prepare(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > PASSWORD_OCTETS_MAX {
        return None;
    }
    let prepared = stringprep::saslprep(text).ok()?;
    (!prepared.is_empty()).then(|| prepared.into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(encode(b"fred"), "ZnJlZA==");
        assert_eq!(decode(b"ZnJlZA==").as_deref(), Some(&b"fred"[..]));
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
        for wrong in
            [&b"ZnJlZA"[..], b"ZnJlZA=", b"ZnJlZA== ", b"Zn JlZA==", b"*", b"=", b"ZnJlZB==", b"\xff"]
        {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn names_and_passwords_are_prepared() {
        assert_eq!(prepare("I\u{ad}X").as_deref(), Some("IX"));
        assert_eq!(prepare("\u{2168}").as_deref(), Some("IX"));
        for wrong in ["", "\u{7}", "\u{627}\u{31}", "\u{ad}"] {
            assert_eq!(prepare(wrong), None, "{wrong:?}");
        }
        assert_eq!(prepare(&"x".repeat(PASSWORD_OCTETS_MAX + 1)), None);
    }

    #[test]
    fn mechanisms_are_found_in_any_case() {
        assert_eq!(Mechanism::by_name("scram-sha-256"), Some(Mechanism::ScramSha256));
        assert_eq!(Mechanism::by_name("SCRAM-SHA-256-PLUS"), None);
        assert_eq!(Mechanism::by_name(""), None);
    }
}
