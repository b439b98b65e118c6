//! The password file: one line for each user (`docs/reference/password-file.md`).
//!
//! ```text
//! fred SCRAM-SHA-256$16384:c2FsdA==$stored-key:server-key CRAM-MD5$c2VjcmV0
//! ```
//!
//! Name, blanks, the SCRAM record in the form of RFC 5803, and perhaps the secret of CRAM-MD5 in base64.

use std::collections::BTreeMap;
use std::fmt;

use crate::crypto::{self, ITERATIONS_MAX, ITERATIONS_MIN, Key};
use crate::{NAME_OCTETS_MAX, decode, encode, prepare};

/// Iterations of a new record: some milliseconds of one processor, for us at each PLAIN and for the client at each SCRAM.
pub const ITERATIONS: u32 = 16_384;
/// Octets of salt of a new record.
pub const SALT_OCTETS: usize = 16;
/// Longest salt that a record may have.
const SALT_OCTETS_MAX: usize = 64;

const SCRAM: &str = "SCRAM-SHA-256$";
const CRAM: &str = "CRAM-MD5$";

/// What is known of a user. Neither shown nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub(crate) iterations: u32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
    pub(crate) cram: Option<Vec<u8>>,
}

impl fmt::Debug for User {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("User").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl User {
    /// A record for a password; `None` for one that cannot be one ([`prepare`]). `with_cram` keeps it for CRAM-MD5 too.
    #[must_use]
    pub fn new(password: &str, salt: [u8; SALT_OCTETS], iterations: u32, with_cram: bool) -> Option<User> {
        let password = prepare(password)?;
        let iterations = iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX);
        let (stored_key, server_key) = crypto::keys(&crypto::salted(password.as_bytes(), &salt, iterations));
        let cram = with_cram.then(|| password.into_bytes());
        Some(User { iterations, salt: salt.to_vec(), stored_key, server_key, cram })
    }

    /// Whether there is a secret for CRAM-MD5.
    #[must_use]
    pub fn has_cram(&self) -> bool {
        self.cram.is_some()
    }

    /// Whether this is the password. Takes as long as it takes.
    #[must_use]
    pub fn knows(&self, password: &str) -> bool {
        // What cannot be a password is judged like any other wrong one, so that it takes as long.
        let prepared = prepare(password);
        let octets = prepared.as_deref().unwrap_or("\0").as_bytes();
        let (stored_key, _) = crypto::keys(&crypto::salted(octets, &self.salt, self.iterations));
        crypto::same(&stored_key, &self.stored_key) && prepared.is_some()
    }

    fn read(words: &[&str]) -> Result<User, &'static str> {
        let [scram, rest @ ..] = words else { return Err("there is no record behind the name") };
        let scram = scram.strip_prefix(SCRAM).ok_or("the record does not begin with `SCRAM-SHA-256$`")?;
        let (head, keys) = scram.split_once('$').ok_or("the record has no second `$`")?;
        let (iterations, salt) = head.split_once(':').ok_or("no `:` between the iterations and the salt")?;
        let (stored, server) = keys.split_once(':').ok_or("no `:` between the two keys")?;
        let iterations =
            iterations.parse().ok().filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count));
        let key = |text: &str| decode(text.as_bytes()).and_then(|octets| Key::try_from(octets).ok());
        let cram = match rest {
            [] => None,
            [secret] => {
                let secret =
                    secret.strip_prefix(CRAM).ok_or("the third word does not begin with `CRAM-MD5$`")?;
                let secret = decode(secret.as_bytes()).filter(|octets| !octets.is_empty());
                Some(secret.ok_or("the secret of CRAM-MD5 is no base64")?)
            }
            _ => return Err("there are more than three words"),
        };
        let salt = decode(salt.as_bytes()).filter(|salt| (1..=SALT_OCTETS_MAX).contains(&salt.len()));
        Ok(User {
            iterations: iterations.ok_or("the number of iterations is none from 4096 to 5000000")?,
            salt: salt.ok_or("the salt is no base64 of 1 to 64 octets")?,
            stored_key: key(stored).ok_or("the first key is no base64 of 32 octets")?,
            server_key: key(server).ok_or("the second key is no base64 of 32 octets")?,
            cram,
        })
    }

    /// The words of the user's line behind the name.
    fn written(&self) -> String {
        let User { iterations, salt, stored_key, server_key, cram } = self;
        let cram = cram.as_ref().map(|secret| format!(" {CRAM}{}", encode(secret))).unwrap_or_default();
        let (salt, stored, server) = (encode(salt), encode(stored_key), encode(server_key));
        format!("{SCRAM}{iterations}:{salt}${stored}:{server}{cram}")
    }
}

/// A line that is no user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it. No part of the line is in it.
    pub what: &'static str,
}

/// All users of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    users: BTreeMap<String, User>,
    /// Makes the salts of those who do not exist: the same name gets the same salt each time, as a real one does.
    decoy: Key,
}

impl fmt::Debug for Users {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Users({})", self.users.len())
    }
}

impl Default for Users {
    fn default() -> Users {
        Users::read("").0
    }
}

impl Users {
    /// Reads the text of a file. Lines that begin with `#` and empty ones are passed over.
    #[must_use]
    pub fn read(text: &str) -> (Users, Vec<Mistake>) {
        let (mut users, mut mistakes) = (BTreeMap::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, record @ ..] = words.as_slice() else { continue };
            if name.starts_with('#') {
                continue;
            }
            let read = match checked_name(name) {
                None => Err("the name cannot be one"),
                Some(name) if users.contains_key(&name) => Err("the name stands in the file twice"),
                Some(name) => User::read(record).map(|user| (name, user)),
            };
            match read {
                Ok((name, user)) => drop(users.insert(name, user)),
                Err(what) => mistakes.push(Mistake { line: index + 1, what }),
            }
        }
        let decoy = crypto::hash(text.as_bytes());
        (Users { users, decoy }, mistakes)
    }

    /// The names, sorted, with what is known of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    /// The user of that name, exactly so.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&User> {
        self.users.get(&prepare(name)?)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether somebody has a secret for CRAM-MD5; otherwise offering it would be a promise that nobody keeps.
    #[must_use]
    pub fn has_cram(&self) -> bool {
        self.users.values().any(User::has_cram)
    }

    /// A user, or one whom nobody can log in as, and whether it is a real one.
    pub(crate) fn or_decoy(&self, name: &str) -> (User, bool) {
        if let Some(user) = self.get(name) {
            return (user.clone(), true);
        }
        let salt = crypto::hmac(&self.decoy, &[b"salt", name.as_bytes()]);
        let key = crypto::hmac(&self.decoy, &[b"key", name.as_bytes()]);
        let user = User {
            iterations: self.users.values().next().map_or(ITERATIONS, |user| user.iterations),
            salt: salt[..SALT_OCTETS].to_vec(),
            stored_key: key,
            server_key: key,
            cram: Some(key.to_vec()),
        };
        (user, false)
    }
}

/// A name in its prepared form; `None` for what cannot stand in the file.
#[must_use]
pub fn checked_name(name: &str) -> Option<String> {
    let name = prepare(name)?;
    let fits = name.len() <= NAME_OCTETS_MAX && !name.starts_with('#') && !name.contains(char::is_whitespace);
    fits.then_some(name)
}

/// The text of a file with the line of one user replaced, added, or with `None` taken out. The other lines, remarks among
/// them, stay as they are. `None` if there was nothing to take out.
#[must_use]
pub fn changed(text: &str, name: &str, user: Option<&User>) -> Option<String> {
    let mut found = false;
    let mut out = String::with_capacity(text.len() + 200);
    for line in text.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if !first.starts_with('#') && prepare(first).as_deref() == Some(name) {
            if let (Some(user), false) = (user, found) {
                out.push_str(&format!("{name} {}\n", user.written()));
            }
            found = true;
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    match (user, found) {
        (None, false) => return None,
        (Some(user), false) => out.push_str(&format!("{name} {}\n", user.written())),
        _ => {}
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fred() -> User {
        User::new("pencil", *b"0123456789abcdef", 4096, true).unwrap()
    }

    #[test]
    fn a_record_is_written_and_read_again() {
        let text = changed("# ours\n\njim x\n", "fred", Some(&fred())).unwrap();
        assert!(
            text.starts_with("# ours\n\njim x\nfred SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"),
            "{text}"
        );
        let (users, mistakes) = Users::read(&text);
        assert_eq!(users.get("fred"), Some(&fred()));
        assert!(users.get("fred").unwrap().knows("pencil") && !users.get("fred").unwrap().knows("pencils"));
        assert_eq!(mistakes, [Mistake { line: 3, what: "the record does not begin with `SCRAM-SHA-256$`" }]);
        let changed_again = changed(&text, "fred", Some(&User { cram: None, ..fred() })).unwrap();
        assert_eq!(changed_again.lines().count(), 4);
        assert!(!Users::read(&changed_again).0.has_cram());
        assert_eq!(changed(&text, "fred", None).unwrap(), "# ours\n\njim x\n");
        assert_eq!(changed(&text, "ginger", None), None);
        assert!(!format!("{users:?} {:?}", fred()).contains("pencil"));
    }

    #[test]
    fn each_wrong_line_is_named() {
        let key = encode(&[7; 32]);
        let good = format!("SCRAM-SHA-256$4096:c2FsdA==${key}:{key}");
        assert_eq!(Users::read(&format!("fred {good}\n")).1, []);
        for (line, what) in [
            ("fred".to_owned(), "no record"),
            (format!("fred {}", good.replace("4096", "4095")), "iterations"),
            (format!("fred {}", good.replace("4096", "99999999")), "iterations"),
            (format!("fred {}", good.replace("c2FsdA==", "")), "salt"),
            (format!("fred {}", good.replace(&key, "c2FsdA==")), "first key"),
            (format!("fred SCRAM-SHA-256$4096:c2FsdA==${key}:x"), "second key"),
            (format!("fred SCRAM-SHA-256$4096:c2FsdA==${key}"), "two keys"),
            (format!("fred {good} secret"), "third word"),
            (format!("fred {good} CRAM-MD5$*"), "no base64"),
            (format!("fred {good} CRAM-MD5$c2FsdA== x"), "more than three"),
            (format!("fred {good}\nfred {good}"), "twice"),
            (format!("f\u{7}d {good}"), "cannot be one"),
        ] {
            let mistakes = Users::read(&line).1;
            assert_eq!(mistakes.len(), 1, "{line}");
            assert!(mistakes[0].what.contains(what), "{line}: {mistakes:?}");
        }
    }

    #[test]
    fn those_who_do_not_exist_look_the_same_each_time() {
        let text = changed("", "fred", Some(&fred())).unwrap();
        let users = Users::read(&text).0;
        let (one, real) = users.or_decoy("ginger");
        assert_eq!((one.clone(), false), users.or_decoy("ginger"));
        assert!(!real && one.salt.len() == SALT_OCTETS && one.iterations == 4096);
        assert_ne!(one.salt, users.or_decoy("gin").0.salt);
        assert!(users.or_decoy("fred").1);
    }
}
