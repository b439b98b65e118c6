//! The server's side of an exchange.

use crate::crypto::{self, Key};
use crate::users::{User, Users};
use crate::{Mechanism, NAME_OCTETS_MAX, PASSWORD_OCTETS_MAX, encode, prepare};

/// Random octets that an exchange needs.
pub const RANDOM_OCTETS: usize = 18;
/// Longest message of a client that is looked at.
const MESSAGE_OCTETS_MAX: usize = 4096;
/// Longest nonce of a client; real ones have twenty to fifty octets. The challenge that repeats it must fit into one line.
const NONCE_OCTETS_MAX: usize = 128;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this and hand in what the client answers.
    Challenge(Vec<u8>),
    /// The client is who it says.
    Accepted(String),
    /// It is not; or it wants to act for another one, which nobody may here.
    Rejected,
    /// It does not speak the mechanism.
    Malformed,
}

/// One attempt of a client to log in.
pub struct Exchange {
    state: State,
}

enum State {
    Plain,
    LoginName,
    LoginPassword(String),
    Cram {
        challenge: Vec<u8>,
        asked: bool,
    },
    ScramFirst {
        nonce: String,
    },
    ScramFinal(Box<ScramFinal>),
    /// The client has been told that we know its password, and says that it has seen it.
    ScramEnd(String),
    Over,
}

struct ScramFinal {
    name: String,
    user: User,
    real: bool,
    /// Both nonces.
    nonce: String,
    /// The header that the client repeats in base64 (RFC 5802 section 7, `channel-binding`).
    header: String,
    /// What has been said so far: client-first-message-bare and server-first-message, with a comma between.
    said: String,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Exchange")
    }
}

impl Exchange {
    /// A new exchange. `host` is our name; it stands in the challenge of CRAM-MD5 with the time, which makes it unlike
    /// all others (RFC 2195 section 2).
    #[must_use]
    pub fn new(mechanism: Mechanism, random: &[u8; RANDOM_OCTETS], host: &str, now_secs: u64) -> Exchange {
        let nonce = encode(random);
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginName,
            Mechanism::CramMd5 => {
                let word: String = nonce.chars().filter(char::is_ascii_alphanumeric).collect();
                State::Cram { challenge: format!("<{word}.{now_secs}@{host}>").into_bytes(), asked: false }
            }
            Mechanism::ScramSha256 => State::ScramFirst { nonce },
        };
        Exchange { state }
    }

    /// Takes what the client said: nothing at the start if it gave no initial response. Takes some milliseconds where a
    /// password is checked. After anything but a challenge the exchange is over.
    pub fn step(&mut self, users: &Users, said: Option<&[u8]>) -> Step {
        if said.is_some_and(|said| said.len() > MESSAGE_OCTETS_MAX) {
            self.state = State::Over;
            return Step::Malformed;
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => match said {
                None => self.ask(State::Plain, b""),
                Some(said) => plain(users, said),
            },
            State::LoginName => match said {
                None => self.ask(State::LoginName, b"Username:"),
                Some(said) => match std::str::from_utf8(said) {
                    Ok(name) if name.len() <= NAME_OCTETS_MAX => {
                        self.ask(State::LoginPassword(name.to_owned()), b"Password:")
                    }
                    _ => Step::Malformed,
                },
            },
            State::LoginPassword(name) => match said.map(std::str::from_utf8) {
                Some(Ok(password)) => password_of(users, &name, password),
                _ => Step::Malformed,
            },
            // RFC 4954 section 4: the server speaks first, so an initial response is a mistake.
            State::Cram { challenge, asked: false } => match said {
                None => self.ask(State::Cram { challenge: challenge.clone(), asked: true }, &challenge),
                Some(_) => Step::Malformed,
            },
            State::Cram { challenge, asked: true } => cram(users, &challenge, said.unwrap_or_default()),
            State::ScramFirst { nonce } => match said {
                None => self.ask(State::ScramFirst { nonce }, b""),
                Some(said) => match scram_first(users, &nonce, said) {
                    Some((first, challenge)) => {
                        self.ask(State::ScramFinal(Box::new(first)), challenge.as_bytes())
                    }
                    None => Step::Malformed,
                },
            },
            State::ScramFinal(first) => match scram_final(&first, said.unwrap_or_default()) {
                Ok(proof) => self.ask(State::ScramEnd(first.name), proof.as_bytes()),
                Err(step) => step,
            },
            State::ScramEnd(name) if said.unwrap_or_default().is_empty() => Step::Accepted(name),
            State::ScramEnd(_) | State::Over => Step::Malformed,
        }
    }

    fn ask(&mut self, next: State, challenge: &[u8]) -> Step {
        self.state = next;
        Step::Challenge(challenge.to_vec())
    }
}

/// RFC 4616: `[authzid] NUL authcid NUL passwd`.
fn plain(users: &Users, said: &[u8]) -> Step {
    let Ok(said) = std::str::from_utf8(said) else { return Step::Malformed };
    let parts: Vec<&str> = said.split('\0').collect();
    let [acts_for, name, password] = parts.as_slice() else { return Step::Malformed };
    if name.is_empty() || password.is_empty() {
        return Step::Malformed;
    }
    match password_of(users, name, password) {
        Step::Accepted(login) if !acts_for.is_empty() && prepare(acts_for).as_ref() != Some(&login) => {
            Step::Rejected
        }
        step => step,
    }
}

fn password_of(users: &Users, name: &str, password: &str) -> Step {
    if name.len() > NAME_OCTETS_MAX || password.len() > PASSWORD_OCTETS_MAX {
        return Step::Malformed;
    }
    let (user, real) = users.or_decoy(name);
    // Both are looked at in any case: the time must not tell which one was wrong.
    let knows = user.knows(password);
    match prepare(name) {
        Some(name) if real & knows => Step::Accepted(name),
        _ => Step::Rejected,
    }
}

/// RFC 2195: the name, a blank, and the digest.
fn cram(users: &Users, challenge: &[u8], said: &[u8]) -> Step {
    let Some((name, digest)) = std::str::from_utf8(said).ok().and_then(|said| said.rsplit_once(' ')) else {
        return Step::Malformed;
    };
    if name.len() > NAME_OCTETS_MAX || digest.len() != 32 {
        return Step::Malformed;
    }
    let (user, real) = users.or_decoy(name);
    let (secret, has_secret) = match &user.cram {
        Some(secret) => (secret.as_slice(), true),
        None => (user.server_key.as_slice(), false),
    };
    let right =
        crypto::same(crypto::cram(secret, challenge).as_bytes(), digest.to_ascii_lowercase().as_bytes());
    match prepare(name) {
        Some(name) if real & has_secret & right => Step::Accepted(name),
        _ => Step::Rejected,
    }
}

/// RFC 5802 section 7, `client-first-message`: `n,[a=authzid],n=name,r=nonce[,extensions]`.
fn scram_first(users: &Users, our_nonce: &str, said: &[u8]) -> Option<(ScramFinal, String)> {
    let said = std::str::from_utf8(said).ok()?;
    let mut parts = said.splitn(3, ',');
    let (binding, acts_for, bare) = (parts.next()?, parts.next()?, parts.next()?);
    // `y`: the client could bind to TLS and believes that we cannot, which is so. `p=` binds, which we never offered.
    if binding != "n" && binding != "y" {
        return None;
    }
    let header = &said[..said.len() - bare.len()];
    let mut attributes = bare.split(',');
    // An extension in front that we do not know must not be passed over (RFC 5802 section 5.1, `m`).
    let name = unescaped(attributes.next()?.strip_prefix("n=")?)?;
    let nonce = attributes.next()?.strip_prefix("r=")?;
    let is_nonce = !nonce.is_empty() && nonce.len() <= NONCE_OCTETS_MAX;
    if !is_nonce || !nonce.bytes().all(|octet| octet.is_ascii_graphic()) || name.len() > NAME_OCTETS_MAX {
        return None;
    }
    let name = prepare(&name)?;
    if !acts_for.is_empty() {
        let acts_for = unescaped(acts_for.strip_prefix("a=")?)?;
        if prepare(&acts_for).as_ref() != Some(&name) {
            return None;
        }
    }
    let (user, real) = users.or_decoy(&name);
    let nonce = format!("{nonce}{our_nonce}");
    let challenge = format!("r={nonce},s={},i={}", encode(&user.salt), user.iterations);
    let said = format!("{bare},{challenge}");
    Some((ScramFinal { name, user, real, nonce, header: header.to_owned(), said }, challenge))
}

/// RFC 5802 section 7, `client-final-message`: `c=header,r=nonce[,extensions],p=proof`. Gives `server-final-message`.
fn scram_final(first: &ScramFinal, said: &[u8]) -> Result<String, Step> {
    let parts = std::str::from_utf8(said).ok().and_then(|said| said.rsplit_once(",p="));
    let (without_proof, proof) = parts.ok_or(Step::Malformed)?;
    let proof = crate::decode(proof.as_bytes()).and_then(|octets| Key::try_from(octets).ok());
    let proof = proof.ok_or(Step::Malformed)?;
    let mut attributes = without_proof.split(',');
    let binding = attributes.next().and_then(|text| text.strip_prefix("c=")).ok_or(Step::Malformed)?;
    let nonce = attributes.next().and_then(|text| text.strip_prefix("r=")).ok_or(Step::Malformed)?;
    if binding != encode(first.header.as_bytes()) || nonce != first.nonce {
        return Err(Step::Rejected);
    }
    let said = [first.said.as_bytes(), b",", without_proof.as_bytes()];
    let signature = crypto::hmac(&first.user.stored_key, &said);
    let client_key = crypto::xor(&proof, &signature);
    let right = crypto::same(&crypto::hash(&client_key), &first.user.stored_key);
    if right & first.real {
        Ok(format!("v={}", encode(&crypto::hmac(&first.user.server_key, &said))))
    } else {
        Err(Step::Rejected)
    }
}

/// `=2C` and `=3D` are comma and equals sign; an equals sign in front of anything else is a mistake (RFC 5802 section
/// 5.1).
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (character, rest) = match part.get(..2)? {
            "2C" => (',', &part[2..]),
            "3D" => ('=', &part[2..]),
            _ => return None,
        };
        out.push(character);
        out.push_str(rest);
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
#[path = "server/tests.rs"]
mod tests;
