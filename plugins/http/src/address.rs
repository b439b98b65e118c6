//! Where requests go: the parts of a URL that a client needs.

use std::fmt;

use hyper::Uri;

/// Longest URL: what servers take.
const LENGTH_MAX: usize = 4096;

/// A URL that can be posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    /// Name or address, an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What stands in `Host`: with the port where that is not the usual one.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
}

impl Address {
    /// Reads `http://host[:port]/path?query` or the same with `https`.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow "it".
    pub(crate) fn read(text: &str) -> Result<Address, &'static str> {
        if text.len() > LENGTH_MAX {
            return Err("is longer than 4096 characters");
        }
        let uri: Uri = text.parse().map_err(|_| "is no URL")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("begins neither with `https://` nor with `http://`"),
        };
        let Some(authority) = uri.authority() else { return Err("names no host") };
        if authority.as_str().contains('@') {
            return Err("has a name or password in it; a secret belongs into HEADERS_FILE");
        }
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if bare.is_empty() {
            return Err("names no host");
        }
        let usual = if tls { 443 } else { 80 };
        let port = match (authority.port_u16(), authority.as_str().rsplit_once(':')) {
            (Some(0), _) => return Err("has the port 0"),
            (Some(port), _) => port,
            (None, Some((_, port))) if !port.is_empty() && !port.ends_with(']') => {
                return Err("has a port that is no number");
            }
            (None, _) => usual,
        };
        let authority = match port == usual {
            true => authority.host().to_owned(),
            false => format!("{}:{port}", authority.host()),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Address { tls, host: bare, port, authority, path: path.to_owned() })
    }

    /// Whether a connection to one serves the other.
    pub(crate) fn is_same_place(&self, other: &Address) -> bool {
        (self.tls, self.port) == (other.tls, other.port) && self.host.eq_ignore_ascii_case(&other.host)
    }

    /// Where a redirection leads: a URL, or a path on the same server.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow "it".
    pub(crate) fn follow(&self, location: &str) -> Result<Address, &'static str> {
        let next = match location.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => {
                Address { path: String::new(), ..self.clone() }.with_path(location)
            }
            _ => Address::read(location),
        }?;
        if self.tls && !next.tls {
            return Err("leads from https to http");
        }
        Ok(next)
    }

    fn with_path(self, path: &str) -> Result<Address, &'static str> {
        let scheme = if self.tls { "https" } else { "http" };
        Address::read(&format!("{scheme}://{}{path}", self.authority))
    }
}

impl fmt::Display for Address {
    /// Without the query, which may have a secret in it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        write!(out, "{scheme}://{}{path}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url() {
        let read = |text: &str| {
            let address = Address::read(text).unwrap();
            format!("{} {} {} {} {address}", address.host, address.port, address.authority, address.path)
        };
        assert_eq!(read("https://a.example"), "a.example 443 a.example / https://a.example/");
        assert_eq!(
            read("http://127.0.0.1:8080/hook?token=x"),
            "127.0.0.1 8080 127.0.0.1:8080 /hook?token=x http://127.0.0.1:8080/hook"
        );
        assert_eq!(read("http://[::1]:80/"), "::1 80 [::1] / http://[::1]/");
    }

    #[test]
    fn what_is_no_url_to_post_to() {
        for (text, why) in [
            ("ftp://a.example/", "begins neither"),
            ("/hook", "begins neither"),
            ("https://user:secret@a.example/", "has a name or password"),
            ("https://a.example:0/", "has the port 0"),
            ("https://a.example:99999/", "is no URL"),
            ("https:///hook", "is no URL"),
            ("https://a b/", "is no URL"),
            ("", "is no URL"),
        ] {
            let error = Address::read(text).unwrap_err();
            assert!(error.starts_with(why) || error == "has a port that is no number", "{text}: {error}");
        }
        assert!(Address::read(&format!("https://a.example/{}", "x".repeat(5000))).is_err());
    }

    #[test]
    fn redirections() {
        let here = Address::read("https://a.example:444/one?x=y").unwrap();
        let follow = |location: &str| {
            here.follow(location).map(|next| format!("{next} {}", next.is_same_place(&here)))
        };
        assert_eq!(follow("/two"), Ok("https://a.example:444/two true".to_owned()));
        assert_eq!(follow("https://b.example/two"), Ok("https://b.example/two false".to_owned()));
        assert_eq!(follow("http://a.example/two"), Err("leads from https to http"));
        assert!(follow("//b.example/two").is_err() && follow("two").is_err() && follow("").is_err());
    }
}
