//! From a recipient's address to the folder of its mailbox.
//!
//! The local part of an address is a stranger's text that becomes part of a path. It is taken apart by the house's one
//! address parser, unquoted, and then must be a plain file name: one component, not hidden, without control characters.
//! Anything else is an address that cannot exist here (5.1.3), not something to be repaired.
//!
//! # Not here
//! Whether the folder exists (`maildir`).

use std::path::{Path, PathBuf};

use sluice_mail::Address;
use sluice_sdk::{CreateError, OptionKind, OptionValue, Written};

/// Longest name of a mailbox, in bytes. RFC 5321 section 4.5.3.1.1 has 64 for a local part; file systems have 255.
const NAME_MAX: usize = 200;

/// The folder of a mailbox as it is written: a path when its marks have been filled in.
#[derive(Debug)]
pub(crate) struct Pattern(pub(crate) String);

impl OptionValue for Pattern {
    const KIND: OptionKind = OptionKind::Path;

    fn read(written: &Written<'_>) -> Result<Pattern, String> {
        Ok(Pattern(written.text().to_owned()))
    }
}

/// Where mailboxes are, and how an address names one.
#[derive(Debug, Clone)]
pub(crate) struct Mailboxes {
    pattern: Vec<Part>,
    /// `user+detail` is delivered to `user`.
    pub(crate) strip_subaddress: bool,
    /// `Fred` and `fred` are one mailbox.
    pub(crate) fold_case: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    User,
    Domain,
}

/// The mailbox of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mailbox {
    /// For people.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

impl Mailboxes {
    /// `folder` is where a relative pattern starts: the folder of the configuration, as for every path written in it.
    pub(crate) fn new(
        pattern: &str,
        folder: &str,
        strip_subaddress: bool,
        fold_case: bool,
    ) -> Result<Mailboxes, CreateError> {
        let refused = |why: &str| {
            Err(CreateError::refused(format!("option MAILDIR_ROOT is `{}`; {why}", pattern.escape_debug())))
        };
        if pattern.is_empty() {
            return refused("it must name a folder");
        }
        let base = match Path::new(pattern).is_absolute() {
            true => String::new(),
            false if folder.is_empty() => {
                return refused("it must begin with `/`, as the folder of the configuration is not known");
            }
            false => format!("{}/", folder.trim_end_matches('/')),
        };
        if pattern.chars().any(char::is_control) {
            return refused("it must not contain control characters");
        }
        let mut parts = vec![Part::Text(base)];
        let mut chars = pattern.trim_end_matches('/').chars();
        while let Some(c) = chars.next() {
            let part = match c {
                '%' => match chars.next() {
                    Some('u') => Part::User,
                    Some('d') => Part::Domain,
                    Some('%') => Part::Text("%".into()),
                    _ => return refused("`%` must be followed by u (user), d (domain) or %"),
                },
                c => Part::Text(c.to_string()),
            };
            match (parts.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more)) => text.push_str(&more),
                (_, part) => parts.push(part),
            }
        }
        if !parts.contains(&Part::User) {
            // A root without a place for the user holds one folder for each.
            parts.push(Part::Text("/".into()));
            parts.push(Part::User);
        }
        Ok(Mailboxes { pattern: parts, strip_subaddress, fold_case })
    }

    /// The mailbox that an address names, or why it cannot name one.
    pub(crate) fn of(&self, address: &str) -> Result<Mailbox, String> {
        let address = Address::parse(address).map_err(|error| format!("this is no address: {error}"))?;
        if !address.route.is_empty() {
            return Err("the address has a source route and names no mailbox here".to_owned());
        }
        let mut name = address.local_text().into_owned();
        if self.strip_subaddress
            && let Some(at) = name.find('+')
        {
            name.truncate(at);
        }
        if self.fold_case {
            name = name.to_lowercase();
        }
        plain_name(&name)?;
        let mut domain = address.host.unwrap_or_default().to_lowercase();
        // The domain came through rewriting and is known; the rule for names holds for it all the same.
        if self.pattern.contains(&Part::Domain) {
            domain = domain.trim_matches(['[', ']']).to_owned();
            plain_name(&domain)?;
        }
        let mut folder = String::new();
        for part in &self.pattern {
            folder.push_str(match part {
                Part::Text(text) => text,
                Part::User => &name,
                Part::Domain => &domain,
            });
        }
        Ok(Mailbox { name, folder: PathBuf::from(folder) })
    }
}

/// One path component and no more.
fn plain_name(name: &str) -> Result<(), String> {
    let why = if name.is_empty() {
        "the name of a mailbox is empty"
    } else if name.len() > NAME_MAX {
        "the name of a mailbox is too long"
    } else if name.starts_with('.') {
        "the name of a mailbox does not begin with a dot"
    } else if name.contains(['/', '\\']) || name.chars().any(char::is_control) {
        "the name of a mailbox has no slashes and no control characters"
    } else {
        return Ok(());
    };
    Err(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(pattern: &str, address: &str) -> String {
        match Mailboxes::new(pattern, "/etc/100%", true, true).unwrap().of(address) {
            Ok(mailbox) => mailbox.folder.display().to_string(),
            Err(why) => format!("no: {why}"),
        }
    }

    #[test]
    fn addresses_name_folders() {
        for (pattern, address, expected) in [
            ("/m", "fred@site.example", "/m/fred"),
            ("/m/", "Fred+lists@site.example", "/m/fred"),
            ("/m/%u/Maildir", "fred@site.example", "/m/fred/Maildir"),
            ("/m/%d/%u", "fred@Site.Example", "/m/site.example/fred"),
            ("/m/100%%/%u", "fred@x", "/m/100%/fred"),
            ("/m", "\"fred flint\"@x", "/m/fred flint"),
            ("/m", "\"fr\\\"ed\"@x", "/m/fr\"ed"),
            ("/m", "%d%u@x", "/m/%d%u"),
            ("/m", "j\u{fc}rgen@x", "/m/j\u{fc}rgen"),
            ("/m", "fred", "/m/fred"),
            ("mail", "fred@x", "/etc/100%/mail/fred"),
            ("mail/%d/%u/in", "fred@x", "/etc/100%/mail/x/fred/in"),
        ] {
            assert_eq!(folder(pattern, address), expected, "{pattern} {address}");
        }
        let kept = Mailboxes::new("/m", "", false, false).unwrap();
        assert_eq!(kept.of("Fred+x@y").unwrap().folder, Path::new("/m/Fred+x"));
    }

    #[test]
    fn hostile_local_parts_name_nothing() {
        let long = format!("{}@x", "a".repeat(NAME_MAX + 1));
        for address in [
            "../../etc/passwd@x",
            "\"../../etc/passwd\"@x",
            "\"..\"@x",
            "\".\"@x",
            "\".ssh\"@x",
            "a/b@x",
            "\"a/b\"@x",
            "\"/etc/passwd\"@x",
            "\"a\\/b\"@x",
            "\"\\../x\"@x",
            "\"a\\\\b\"@x",
            "\"a\u{0}b\"@x",
            "\"a\nb\"@x",
            "\"a\u{85}b\"@x",
            "\"\"@x",
            "+x@x",
            "\"+..\"@x",
            "",
            "@a:b@c",
            "@a,@b:fred@c",
            &long,
        ] {
            let told = folder("/m", address);
            assert!(told.starts_with("no: "), "{address:?}: {told}");
        }
        // As a domain, too.
        for address in ["fred@..", "fred@[../x]", "fred"] {
            let told = folder("/m/%d/%u", address);
            assert!(told.starts_with("no: "), "{address:?}: {told}");
        }
    }

    #[test]
    fn a_pattern_that_is_wrong_is_refused() {
        for (pattern, why) in [
            ("var/mail", "must begin with `/`"),
            ("", "must name a folder"),
            ("/m/%x", "must be followed by"),
            ("/m/%", "must be followed by"),
            ("/m\n/%u", "control characters"),
        ] {
            let error = Mailboxes::new(pattern, "", true, true).unwrap_err().to_string();
            assert!(error.contains("MAILDIR_ROOT") && error.contains(why), "{pattern:?}: {error}");
        }
    }
}
