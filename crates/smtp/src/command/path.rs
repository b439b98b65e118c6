//! Finds the end of `<path>`, without taking it apart.
//!
//! What may stand inside: atoms, quoted strings, address literals, source routes, `%` and `!`. Refused: blanks and
//! angle brackets outside quotes, quotes and brackets that do not close.

/// Longest path, without its angle brackets. RFC 5321 section 4.5.3.1.3 demands 254; source routes need more.
pub const PATH_OCTETS_MAX: usize = 512;

/// Splits `<path> rest` into the path and the rest, which is empty or starts with a blank.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let mut octets = inner.bytes().enumerate();
    let (mut quoted, mut literal) = (false, false);
    let end = loop {
        let (at, octet) = octets.next()?;
        match octet {
            // A quoted pair (RFC 5321 section 4.1.2): the next octet has no meaning of its own.
            b'\\' if quoted => {
                octets.next()?;
            }
            b'"' if !literal => quoted = !quoted,
            _ if quoted => {}
            b'[' if !literal => literal = true,
            b']' if literal => literal = false,
            b'[' | b']' | b'<' | b' ' | b'\t' | b'\\' => return None,
            b'>' if literal => return None,
            b'>' => break at,
            _ => {}
        }
    };
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    let ends_well = rest.is_empty() || rest.starts_with([' ', '\t']);
    (ends_well && path.len() <= PATH_OCTETS_MAX && is_plausible(path)).then_some((path, rest))
}

/// An `@` with nothing before or behind it makes no address; a source route must have a colon.
fn is_plausible(path: &str) -> bool {
    if path.ends_with('@') || path.ends_with(':') {
        return false;
    }
    match path.strip_prefix('@') {
        Some(route) => route.contains(':'),
        None => true,
    }
}
