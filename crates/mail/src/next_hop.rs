//! Where mail is sent in place of where its channel says: the text that an order, a site and the plugin interface share.
//!
//! `host`, `host:port`, `[address]`, `[address]:port`, each with `mx:` in front when the MX records of the host are to be
//! asked, or `unix:/path` for a stream socket on this machine.
//!
//! # Not here
//! Looking a name up, connecting (the plugins).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest domain name (RFC 1035, section 2.3.4).
const HOST_LENGTH_MAX: usize = 253;
/// Longest path of a socket that systems take (108 octets on Linux with the closing NUL, 104 elsewhere).
const PATH_LENGTH_MAX: usize = 103;

/// A place to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// A host of the network.
    Host {
        /// Its name in lower case, or its address.
        host: Host,
        /// The port; `None`: the one that the channel uses.
        port: Option<u16>,
        /// Its MX records say where, and not its own addresses.
        mx: bool,
    },
    /// A stream socket of this machine, by its absolute path.
    Unix(String),
}

/// A host as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// To be looked up each time.
    Name(String),
    /// As it is.
    Address(IpAddr),
}

/// Why a text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NextHopError {
    /// Nothing at all, or nothing after a prefix.
    #[error("there is no host in `{0}`; write `host`, `host:port`, `[address]:port` or `unix:/path`")]
    Empty(String),
    /// A host name with something that names do not have.
    #[error("`{0}` is not a host name or an address in brackets")]
    Host(String),
    /// The text after the colon.
    #[error("`{0}` is not a port from 1 to 65535")]
    Port(String),
    /// `mx:` before an address.
    #[error("an address has no MX records: write `{0}` without `mx:`")]
    AddressWithMx(String),
    /// A path that cannot be a socket's.
    #[error(
        "`{0}` is not an absolute path of a socket of at most {PATH_LENGTH_MAX} characters without control characters"
    )]
    Path(String),
}

impl FromStr for NextHop {
    type Err = NextHopError;

    fn from_str(text: &str) -> Result<Self, NextHopError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path =
                path.starts_with('/') && path.len() <= PATH_LENGTH_MAX && !path.contains(char::is_control);
            return if is_path {
                Ok(Self::Unix(path.to_owned()))
            } else {
                Err(NextHopError::Path(path.chars().take(PATH_LENGTH_MAX).collect()))
            };
        }
        let (mx, rest) = match text.strip_prefix("mx:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(literal) => {
                let (inner, after) =
                    literal.split_once(']').ok_or_else(|| NextHopError::Host(shown(rest)))?;
                let port = match after {
                    "" => None,
                    after => Some(after.strip_prefix(':').ok_or_else(|| NextHopError::Host(shown(rest)))?),
                };
                (Host::Address(address(inner).ok_or_else(|| NextHopError::Host(shown(rest)))?), port)
            }
            None => {
                let (host, port) = match rest.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (rest, None),
                };
                if host.is_empty() {
                    return Err(NextHopError::Empty(shown(text)));
                }
                (name(host)?, port)
            }
        };
        if mx && matches!(host, Host::Address(_)) {
            return Err(NextHopError::AddressWithMx(shown(rest)));
        }
        let number = |port: &str| {
            let digits = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
            let port_number = port.parse::<u16>().ok().filter(|&number| digits && number > 0);
            port_number.ok_or_else(|| NextHopError::Port(shown(port)))
        };
        Ok(Self::Host { host, port: port.map(number).transpose()?, mx })
    }
}

/// An address as it stands in brackets, with the tag of RFC 5321 section 4.1.3 or without.
fn address(inner: &str) -> Option<IpAddr> {
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => inner.parse().ok(),
    }
}

fn name(host: &str) -> Result<Host, NextHopError> {
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let bare = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // A name whose last label is a number is an address that is none.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = bare.len() <= HOST_LENGTH_MAX
        && bare.split('.').all(is_label)
        && !bare.rsplit('.').next().is_some_and(is_number);
    if is_name { Ok(Host::Name(bare.to_ascii_lowercase())) } else { Err(NextHopError::Host(shown(host))) }
}

/// What was written, short enough for a message.
fn shown(text: &str) -> String {
    text.escape_debug().take(HOST_LENGTH_MAX).collect()
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Address(address) => write!(out, "[{address}]"),
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{path}"),
            Self::Host { host, port, mx } => {
                write!(out, "{}{host}", if *mx { "mx:" } else { "" })?;
                port.map_or(Ok(()), |port| write!(out, ":{port}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match text.parse::<NextHop>() {
            Ok(hop) => {
                assert_eq!(hop.to_string().parse(), Ok(hop.clone()), "written and read back");
                hop.to_string()
            }
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn each_form_is_read_and_written_back() {
        for (text, shown) in [
            ("Site.Example", "site.example"),
            ("site.example.", "site.example"),
            ("localhost:2525", "localhost:2525"),
            ("mx:site.example", "mx:site.example"),
            ("mx:site.example:26", "mx:site.example:26"),
            ("192.0.2.7", "[192.0.2.7]"),
            ("192.0.2.7:25", "[192.0.2.7]:25"),
            ("[192.0.2.7]:2525", "[192.0.2.7]:2525"),
            ("[IPv6:2001:DB8::1]", "[2001:db8::1]"),
            ("[2001:db8::1]:25", "[2001:db8::1]:25"),
            ("unix:/run/sluice/turn-1", "unix:/run/sluice/turn-1"),
        ] {
            assert_eq!(read(text), shown, "{text}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, word) in [
            ("", "no host"),
            (":25", "no host"),
            ("mx:", "no host"),
            ("host:", "not a port"),
            ("host:0", "not a port"),
            ("host:65536", "not a port"),
            ("host:+25", "not a port"),
            ("host:smtp", "not a port"),
            ("2001:db8::1", "not a host name or an address in brackets"),
            ("[192.0.2.7", "not a host name"),
            ("[192.0.2.300]", "not a host name"),
            ("[192.0.2.7]25", "not a host name"),
            ("192.0.2.300", "not a host name"),
            ("a b", "not a host name"),
            ("a..b", "not a host name"),
            ("a\r\nRCPT", "not a host name"),
            ("h\u{e9}", "not a host name"),
            ("mx:[192.0.2.7]", "no MX records"),
            ("unix:", "not an absolute path"),
            ("unix:run/x", "not an absolute path"),
            ("unix:/run/\u{0}x", "not an absolute path"),
        ] {
            assert!(read(text).contains(word), "{text:?} gave {}", read(text));
        }
        assert!(read(&format!("unix:/{}", "x".repeat(103))).contains("not an absolute path"));
        assert!(read(&"a.".repeat(130)).contains("not a host name"));
    }
}
