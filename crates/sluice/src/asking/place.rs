//! A server to ask: a host, and a port that is 25 unless somebody says otherwise.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The port of SMTP.
pub(crate) const SMTP_PORT: u16 = 25;

/// Host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// A name, or an address in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Server {
    /// The host as it is looked up: an address without its brackets.
    pub(crate) fn bare_host(&self) -> &str {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        bare.map_or(self.host.as_str(), |bare| bare.strip_prefix("IPv6:").unwrap_or(bare))
    }
}

impl FromStr for Server {
    type Err = String;

    /// `host`, `host:port`, `192.0.2.1:port`, `[address]`, `[address]:port`, or an IPv6 address by itself.
    fn from_str(text: &str) -> Result<Server, String> {
        let is_host = |host: &str| {
            host.parse::<IpAddr>().is_ok()
                || (!host.is_empty()
                    && host.len() <= 253
                    && !host.starts_with('-')
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')))
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (inner, behind) = rest.split_once(']').ok_or("the bracket is not closed")?;
            let address = inner.strip_prefix("IPv6:").unwrap_or(inner);
            if address.parse::<IpAddr>().is_err() {
                return Err(format!("[{inner}] is no address"));
            }
            let port = match behind {
                "" => None,
                _ => Some(behind.strip_prefix(':').ok_or("after the bracket comes `:` and a port")?),
            };
            (format!("[{inner}]"), port)
        } else if text.parse::<IpAddr>().is_ok() {
            (format!("[{text}]"), None)
        } else {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            if !is_host(host) {
                return Err("write a host name or an address, with `:port` behind it if need be".to_owned());
            }
            (host.to_owned(), port)
        };
        let port = match port {
            None => SMTP_PORT,
            Some(text) => match text.parse() {
                Ok(port @ 1..) if text.bytes().all(|byte| byte.is_ascii_digit()) => port,
                _ => return Err(format!("{text:?} is no port: a number from 1 to 65535")),
            },
        };
        Ok(Server { host, port })
    }
}

impl fmt::Display for Server {
    /// As it may be written; the port only where it is another than 25.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            SMTP_PORT => out.write_str(&self.host),
            port => write!(out, "{}:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers_are_read_and_written() {
        for (text, host, port, shown) in [
            ("hub.example", "hub.example", 25, "hub.example"),
            ("hub", "hub", 25, "hub"),
            ("hub.example:2525", "hub.example", 2525, "hub.example:2525"),
            ("192.0.2.1:2525", "192.0.2.1", 2525, "192.0.2.1:2525"),
            ("192.0.2.1", "192.0.2.1", 25, "[192.0.2.1]"),
            ("[192.0.2.1]:26", "192.0.2.1", 26, "[192.0.2.1]:26"),
            ("::1", "::1", 25, "[::1]"),
            ("[::1]:2525", "::1", 2525, "[::1]:2525"),
            ("[IPv6:::1]", "::1", 25, "[IPv6:::1]"),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!((server.bare_host(), server.port, server.to_string().as_str()), (host, port, shown));
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "",
            ":25",
            "hub:",
            "hub:0",
            "hub:+25",
            "hub:70000",
            "hub:smtp",
            "a b",
            "-v",
            "[::1",
            "[x]",
            "[::1]25",
            "a/b",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }
}
