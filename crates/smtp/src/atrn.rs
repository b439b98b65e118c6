//! ATRN (RFC 2645): the argument, and where the command is offered.
//!
//! ATRN turns a session round: the client, who has logged in, names domains, and after 250 the server sends it their mail
//! over the same connection, as a client does. Unlike ETRN there is no `@` and no `#`.
//!
//! # Not here
//! Which domains a login may take and what waits for them (the intake), the order of checks in a session (`server`), the
//! session once it is turned.

use std::str::FromStr;

use crate::etrn::is_domain;

/// Most domains that one ATRN may name. The length of a command line sets a limit as well; this one is a promise to those
/// who look each of them up.
pub const DOMAINS_MAX: usize = 100;

/// The domains that ATRN names, in lower case, each once; none are all that the login may take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Domains(pub Vec<String>);

/// The argument of ATRN is no list of domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of domains, separated by commas")]
pub struct DomainsError;

impl FromStr for Domains {
    type Err = DomainsError;

    /// `domain *("," domain)`, each with at least two labels (RFC 2645 section 5.2.1).
    fn from_str(text: &str) -> Result<Domains, DomainsError> {
        let mut domains = Vec::new();
        if text.is_empty() {
            return Ok(Domains(domains));
        }
        for name in text.split(',') {
            if !is_domain(name) || domains.len() == DOMAINS_MAX {
                return Err(DomainsError);
            }
            let name = name.to_ascii_lowercase();
            if !domains.contains(&name) {
                domains.push(name);
            }
        }
        Ok(Domains(domains))
    }
}

/// Whether a session may be turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtrnPolicy {
    /// Not offered, 502.
    #[default]
    No,
    /// Offered beside everything else.
    Offered,
    /// The service `odmr` (RFC 2645 section 4): a client logs in and asks for its mail. It brings none.
    Only,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, DomainsError> {
        text.parse::<Domains>().map(|domains| domains.0.join(" "))
    }

    #[test]
    fn domains_are_separated_by_commas() {
        assert_eq!(read("").as_deref(), Ok(""));
        assert_eq!(read("Site7.Example").as_deref(), Ok("site7.example"));
        assert_eq!(read("a.example,b.example,A.example").as_deref(), Ok("a.example b.example"));
    }

    #[test]
    fn whatever_else_is_no_list() {
        for text in [
            ",",
            "a.example,",
            ",a.example",
            "a.example, b.example",
            "a.example b.example",
            "@a.example",
            "#queue",
            "example",
            "a..example",
            "[192.0.2.1]",
            "-a.example",
        ] {
            assert_eq!(read(text), Err(DomainsError), "{text}");
        }
        let many = vec!["a.example"; DOMAINS_MAX + 1].join(",");
        assert!(read(&many).is_ok(), "the same domain again is not one more");
        let many: Vec<String> = (0..=DOMAINS_MAX).map(|number| format!("d{number}.example")).collect();
        assert_eq!(read(&many.join(",")), Err(DomainsError));
    }
}
