//! Words of the file: lists, domains, hosts.

use crate::values;
use sluice_mail::ReversedDomain;
use std::ops::Range;

/// Octets in a domain name, and in a label of it (RFC 1035 section 2.3.4).
const DOMAIN_LENGTH_MAX: usize = 253;
const LABEL_LENGTH_MAX: usize = 63;

/// A word and where it stands.
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    pub(super) range: Range<usize>,
}

/// Words with blanks or commas between them.
pub(super) fn words(text: &str) -> impl Iterator<Item = Found<'_>> {
    let separates = |c: char| c.is_whitespace() || c == ',';
    let mut at = 0;
    std::iter::from_fn(move || {
        let begin = at + text[at..].find(|c: char| !separates(c))?;
        at = text[begin..].find(separates).map_or(text.len(), |length| begin + length);
        Some(Found { text: &text[begin..at], range: begin..at })
    })
}

/// A domain in lower case and as A-labels, or an address in brackets. `None`: neither.
pub(super) fn domain(text: &str) -> Option<Box<str>> {
    if text.starts_with('[') {
        return literal(text);
    }
    if text.ends_with("..") {
        return None;
    }
    let domain = ReversedDomain::new(text).to_domain();
    let label = |label: &str| {
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        !label.is_empty()
            && label.len() <= LABEL_LENGTH_MAX
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let fine = domain.len() <= DOMAIN_LENGTH_MAX && domain.split('.').all(label);
    fine.then(|| domain.into())
}

/// A host name as written, or an address in brackets; an address without brackets gets them.
pub(super) fn host(text: &str) -> Option<Box<str>> {
    if text.starts_with('[') || text.parse::<std::net::IpAddr>().is_ok() {
        return literal(text);
    }
    domain(text)
}

/// An address as SMTP writes it (RFC 5321 section 4.1.3).
fn literal(text: &str) -> Option<Box<str>> {
    match values::address(text)? {
        std::net::IpAddr::V4(address) => Some(format!("[{address}]").into()),
        std::net::IpAddr::V6(address) => Some(format!("[IPv6:{address}]").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_domains() {
        assert_eq!(domain("Site7.Example.COM.").as_deref(), Some("site7.example.com"));
        assert_eq!(domain("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(host("192.0.2.7").as_deref(), Some("[192.0.2.7]"));
        assert_eq!(host("[ipv6:2001:DB8::7]").as_deref(), Some("[IPv6:2001:db8::7]"));
        assert_eq!(host("localhost").as_deref(), Some("localhost"));
        let long = format!("{}.example", "a".repeat(64));
        for wrong in
            ["", ".", "a..b", "-a.example", "a_b.example", "a b", "a/b", "[192.0.2", "[a]", "a..", &long]
        {
            assert_eq!(domain(wrong), None, "{wrong}");
        }
    }
}
