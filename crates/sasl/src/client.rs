//! The client's side of an exchange.

use std::fmt;

use crate::crypto::{self, ITERATIONS_MAX, ITERATIONS_MIN, Key};
use crate::{Mechanism, decode, encode, prepare};

/// Random octets that an attempt needs.
pub const RANDOM_OCTETS: usize = 18;
/// Longest challenge that is looked at.
const CHALLENGE_OCTETS_MAX: usize = 4096;

/// Who we are. The password is neither shown nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    name: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Credentials {
    /// `None` if one of them cannot be what it is to be ([`prepare`]).
    #[must_use]
    pub fn new(name: &str, password: &str) -> Option<Credentials> {
        Some(Credentials { name: prepare(name)?, password: prepare(password)? })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// One attempt to log in.
pub struct Attempt {
    credentials: Credentials,
    state: State,
}

enum State {
    Plain,
    LoginName,
    LoginPassword,
    Cram,
    ScramFirst { nonce: String },
    ScramFinal { nonce: String, bare: String },
    ScramProof { expected: Key },
    Done,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Attempt({:?})", self.credentials)
    }
}

/// The server's challenge is none, or the server does not know our password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonsense(pub &'static str);

impl Attempt {
    /// An attempt by this mechanism.
    #[must_use]
    pub fn new(mechanism: Mechanism, credentials: Credentials, random: &[u8; RANDOM_OCTETS]) -> Attempt {
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginName,
            Mechanism::CramMd5 => State::Cram,
            Mechanism::ScramSha256 => State::ScramFirst { nonce: encode(random) },
        };
        Attempt { credentials, state }
    }

    /// What goes with the command that begins it, for the mechanisms in which the client speaks first.
    pub fn initial(&mut self) -> Option<Vec<u8>> {
        match self.state {
            State::Plain | State::ScramFirst { .. } => self.answer(b"").ok(),
            _ => None,
        }
    }

    /// Whether all was said that the mechanism has, the server's proof included: only then is a success one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// The server is not to be trusted, or speaks another mechanism; the exchange must be given up.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Nonsense> {
        if challenge.len() > CHALLENGE_OCTETS_MAX {
            return Err(Nonsense("the server's challenge is too long"));
        }
        let Credentials { name, password } = &self.credentials;
        match std::mem::replace(&mut self.state, State::Done) {
            State::Plain => Ok(format!("\0{name}\0{password}").into_bytes()),
            State::LoginName => {
                self.state = State::LoginPassword;
                Ok(name.clone().into_bytes())
            }
            State::LoginPassword => Ok(password.clone().into_bytes()),
            State::Cram => {
                Ok(format!("{name} {}", crypto::cram(password.as_bytes(), challenge)).into_bytes())
            }
            State::ScramFirst { nonce } => {
                let bare = format!("n={},r={nonce}", name.replace('=', "=3D").replace(',', "=2C"));
                let first = format!("n,,{bare}").into_bytes();
                self.state = State::ScramFinal { nonce, bare };
                Ok(first)
            }
            State::ScramFinal { nonce, bare } => {
                let (answer, expected) = scram_final(password, &nonce, &bare, challenge)?;
                self.state = State::ScramProof { expected };
                Ok(answer)
            }
            State::ScramProof { expected } => {
                let proof = challenge.strip_prefix(b"v=").and_then(decode);
                if proof.is_some_and(|proof| crypto::same(&proof, &expected)) {
                    return Ok(Vec::new());
                }
                self.state = State::ScramProof { expected };
                Err(Nonsense("the server does not prove that it knows our password"))
            }
            State::Done => Err(Nonsense("the server asks for more than the mechanism has")),
        }
    }
}

/// The answer to `server-first-message` (RFC 5802 section 7), and what the server has to prove.
fn scram_final(
    password: &str,
    our_nonce: &str,
    bare: &str,
    challenge: &[u8],
) -> Result<(Vec<u8>, Key), Nonsense> {
    let nonsense = Nonsense("the server's challenge is none of SCRAM-SHA-256");
    let text = std::str::from_utf8(challenge).map_err(|_| nonsense)?;
    let mut attributes = text.split(',');
    let mut attribute = |prefix| attributes.next().and_then(|text| text.strip_prefix(prefix)).ok_or(nonsense);
    let (nonce, salt, iterations) = (attribute("r=")?, attribute("s=")?, attribute("i=")?);
    if !nonce.starts_with(our_nonce) || nonce.len() == our_nonce.len() {
        return Err(Nonsense("the server's challenge is not an answer to ours"));
    }
    let salt = decode(salt.as_bytes()).filter(|salt| !salt.is_empty()).ok_or(nonsense)?;
    let iterations: u32 = iterations.parse().map_err(|_| nonsense)?;
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
        return Err(Nonsense("the server asks for a number of iterations that is too small or too large"));
    }
    let salted = crypto::salted(password.as_bytes(), &salt, iterations);
    let (stored_key, server_key) = crypto::keys(&salted);
    let without_proof = format!("c={},r={nonce}", encode(b"n,,"));
    let said = [bare.as_bytes(), b",", challenge, b",", without_proof.as_bytes()];
    let client_key = crypto::hmac(&salted, &[b"Client Key"]);
    let proof = crypto::xor(&client_key, &crypto::hmac(&stored_key, &said));
    let expected = crypto::hmac(&server_key, &said);
    Ok((format!("{without_proof},p={}", encode(&proof)).into_bytes(), expected))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn attempt() -> Attempt {
        let state = State::ScramFirst { nonce: "rOprNGfwEbeRWgbNEkqO".into() };
        Attempt { credentials: Credentials::new("user", "pencil").unwrap(), state }
    }

    const CHALLENGE: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn the_example_of_rfc_7677() {
        let mut attempt = attempt();
        assert_eq!(attempt.initial().unwrap(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            String::from_utf8(attempt.answer(CHALLENGE.as_bytes()).unwrap()).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(!attempt.is_complete());
        assert!(attempt.answer(b"v=AAAA").is_err() && !attempt.is_complete());
        assert_eq!(attempt.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap(), b"");
        assert!(attempt.is_complete());
        assert!(attempt.answer(b"more").is_err());
    }

    #[test]
    fn a_server_that_is_none_gets_no_proof() {
        for (old, new) in [
            ("r=rO", "r=xO"),
            ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
            (",s=W22ZaJ0SNY7soEsUEjb6gQ==", ",s="),
            (",s=W22ZaJ0SNY7soEsUEjb6gQ==", ",s=*"),
            ("i=4096", "i=1"),
            ("i=4096", "i=999999999"),
            ("i=4096", "i=x"),
            (",i=4096", ""),
            ("r=rO", "e=other-error,r=rO"),
        ] {
            let mut attempt = attempt();
            attempt.initial();
            assert!(attempt.answer(CHALLENGE.replace(old, new).as_bytes()).is_err(), "{old} -> {new}");
        }
        assert!(attempt().answer(&[b'x'; 5000]).is_err());
    }

    #[test]
    fn passwords_are_not_shown() {
        let credentials = Credentials::new("user", "pencil").unwrap();
        assert!(!format!("{:?} {:?}", credentials, attempt()).contains("pencil"));
        assert_eq!(Credentials::new("", "x"), None);
    }
}
