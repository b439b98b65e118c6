//! The first host of an address: where it stands, how it is taken out, how something is put in its place.
//!
//! # Not here
//! What is done with that host (`rewriter`).

use std::borrow::Cow;
use std::fmt;

use sluice_mail::Address;

/// Where the first host of an address stood. The letters are those of the position controls `$S $A $P $X`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// First element of the source route.
    Route,
    /// Right of `@`.
    At,
    /// Right of the last single `%` of the local part.
    Percent,
    /// Left of the first `!` of the local part.
    Bang,
}

impl Position {
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Position::Route => "in the source route",
            Position::At => "right of @",
            Position::Percent => "right of %",
            Position::Bang => "left of !",
        })
    }
}

/// An address split at its first host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First<'a> {
    pub(crate) position: Position,
    pub(crate) host: &'a str,
    pub(crate) user: &'a str,
}

/// Finds the first host: source route, `@`, last single `%`, first `!`; the last two swap under `bangoverpercent`.
/// `None` for a bare name.
pub(crate) fn first_host(address: &Address, bang_over_percent: bool) -> Option<First<'_>> {
    if let Some(host) = address.route.first() {
        return Some(First { position: Position::Route, host, user: &address.local });
    }
    if let Some(host) = &address.host {
        return Some(First { position: Position::At, host, user: &address.local });
    }
    let local = address.local.as_str();
    let (percent, bang) = separators(local);
    let percent =
        percent.map(|at| First { position: Position::Percent, host: &local[at + 1..], user: &local[..at] });
    let bang = bang.map(|at| First { position: Position::Bang, host: &local[..at], user: &local[at + 1..] });
    if bang_over_percent { bang.or(percent) } else { percent.or(bang) }
}

/// The last single `%` and the first `!` outside quotes. One at either end of the local part separates nothing, and
/// `%%` never does.
fn separators(local: &str) -> (Option<usize>, Option<usize>) {
    let bytes = local.as_bytes();
    let (mut percent, mut bang) = (None, None);
    let mut quoted = false;
    let mut at = 0;
    while at < bytes.len() {
        let inside = at > 0 && at + 1 < bytes.len();
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'%' if !quoted && inside && bytes[at - 1] != b'%' && bytes[at + 1] != b'%' => percent = Some(at),
            b'!' if !quoted && inside && bang.is_none() => bang = Some(at),
            _ => {}
        }
        at += 1;
    }
    (percent, bang)
}

/// The address without its first host; `user` is what [`first_host`] split off.
pub(crate) fn remove(address: &mut Address, first: Position, bang_over_percent: bool) {
    match first {
        Position::Route => {
            address.route.remove(0);
        }
        Position::At => address.host = None,
        Position::Percent | Position::Bang => {
            if let Some(user) = first_host(address, bang_over_percent).map(|first| first.user.to_owned()) {
                address.local = user;
            }
        }
    }
}

/// Is there more to this address than the host at `first`? A bare name left by a route counts: it gets a host.
pub(crate) fn has_more(address: &Address, first: First<'_>) -> bool {
    match first.position {
        Position::Route => address.route.len() > 1 || address.host.is_some() || !address.local.is_empty(),
        Position::At | Position::Percent | Position::Bang => separators(first.user) != (None, None),
    }
}

/// Puts user and host in the place of what was extracted. In a route only the host counts; the user belongs to a
/// host further on.
pub(crate) fn put(address: &mut Cow<'_, Address>, position: Position, user: String, host: String) {
    match position {
        Position::Route => address.to_mut().route[0] = host,
        Position::At | Position::Percent | Position::Bang => {
            // Where no route stands in front, nothing of the address is left.
            *address = Cow::Owned(Address { route: Vec::new(), local: user, host: Some(host) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str, bang_over_percent: bool) -> Option<(String, Position, String)> {
        let address = Address::parse(text).unwrap();
        first_host(&address, bang_over_percent).map(|f| (f.host.to_owned(), f.position, f.user.to_owned()))
    }

    #[test]
    fn quotes_hide_separators() {
        assert_eq!(first(r#""a%b!c""#, false), None);
        assert_eq!(first(r#""a%b"%c"#, false).unwrap().0, "c");
        assert_eq!(first(r#""a\"%b"%c"#, false).unwrap().2, r#""a\"%b""#);
    }

    #[test]
    fn a_separator_at_an_end_separates_nothing() {
        for text in ["user%", "%host", "!user", "host!", "%%", "a%%b", "%", "!"] {
            assert_eq!(first(text, false), None, "{text}");
        }
    }

    #[test]
    fn removal_leaves_the_rest() {
        for (text, left) in [
            ("@local:u@far", "u@far"),
            ("u%far@local", "u%far"),
            ("a%b%c", "a%b"),
            ("far!u%x", "far!u"),
            ("far!u", "u"),
        ] {
            let mut address = Address::parse(text).unwrap();
            let position = first_host(&address, false).unwrap().position;
            remove(&mut address, position, false);
            assert_eq!(address.to_string(), left, "{text}");
        }
    }
}
