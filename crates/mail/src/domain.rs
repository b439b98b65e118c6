//! Domains by reversed labels, so that a domain and all that is under it are neighbours; and the two spellings of a name in
//! other letters than ASCII.

use std::borrow::Cow;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// A text with names in it, in lower case, and with each label in other letters as its A-label (RFC 5890): the spelling in which
/// the same domain is always the same text. Labels end where ASCII letters, digits and hyphens do, so that the text may be a pattern;
/// what is no label of a name is left in its letters. There are as many dots as before.
#[must_use]
pub fn a_labels(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        let is_lower = !text.bytes().any(|octet| octet.is_ascii_uppercase());
        return if is_lower { Cow::Borrowed(text) } else { Cow::Owned(text.to_ascii_lowercase()) };
    }
    each_label(text, |label| if label.is_ascii() { None } else { idna::domain_to_ascii(label).ok() })
}

/// An ASCII text with each A-label in its letters. `None` where there is none.
#[must_use]
pub fn u_labels(text: &str) -> Option<String> {
    if !text.is_ascii() || !text.to_ascii_lowercase().contains("xn--") {
        return None;
    }
    let letters = |label: &str| match idna::domain_to_unicode(label) {
        (letters, Ok(())) if !letters.is_ascii() => Some(letters),
        _ => None,
    };
    let spelled = each_label(text, letters).into_owned();
    (!spelled.is_ascii()).then_some(spelled)
}

/// Puts something in the place of labels, and the rest into lower case.
fn each_label(text: &str, spelled: impl Fn(&str) -> Option<String>) -> Cow<'_, str> {
    let is_of_label = |c: char| c.is_ascii_alphanumeric() || c == '-' || !c.is_ascii();
    let mut out = String::with_capacity(text.len() + 8);
    for piece in text.split_inclusive(|c| !is_of_label(c)) {
        let label = piece.trim_end_matches(|c| !is_of_label(c));
        // Some letters stand for a dot, which would make two labels of one.
        match spelled(label).filter(|spelled| !spelled.contains('.')) {
            Some(spelled) => out.push_str(&spelled),
            None => out.push_str(&label.to_lowercase()),
        }
        out.push_str(&piece[label.len()..]);
    }
    Cow::Owned(out)
}

/// A domain with its labels reversed and each ended by a dot: `site7.example.com` is `com.example.site7.`.
///
/// The order of these texts makes a domain and everything under it one contiguous range, which is how a release for a
/// subnet finds its queues without looking at others. A domain literal (`[192.0.2.1]`) is a single label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReversedDomain(Arc<str>);

impl ReversedDomain {
    /// Reverses a domain; case-blind, and blind to a trailing dot and to whether a name is written in Unicode or as
    /// its A-labels (RFC 5890).
    pub fn new(domain: &str) -> ReversedDomain {
        if domain.starts_with('[') {
            return ReversedDomain(format!("{}.", domain.to_ascii_lowercase()).into());
        }
        let lower = if domain.is_ascii() {
            domain.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase())
        };
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        let mut reversed = String::with_capacity(name.len() + 1);
        for label in name.rsplit('.') {
            reversed.push_str(label);
            reversed.push('.');
        }
        ReversedDomain(reversed.into())
    }

    /// The reversed text, `com.example.site7.`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain the right way round again, in lower case.
    pub fn to_domain(&self) -> String {
        let text = self.0.strip_suffix('.').unwrap_or(&self.0);
        if text.starts_with('[') {
            return text.to_owned();
        }
        text.rsplit('.').collect::<Vec<_>>().join(".")
    }

    /// Is this the other domain, or under it?
    pub fn is_within(&self, other: &ReversedDomain) -> bool {
        self.0.starts_with(&*other.0)
    }

    /// The range of all reversed domains that are this one or under it, for a `BTreeMap`'s `range`.
    pub fn subtree_range(&self) -> (Bound<ReversedDomain>, Bound<ReversedDomain>) {
        // `/` is the character after `.`, so the end lies right behind the last name that continues with a label.
        let mut end = self.0.to_string();
        end.pop();
        end.push('/');
        (Bound::Included(self.clone()), Bound::Excluded(ReversedDomain(end.into())))
    }
}

impl fmt::Display for ReversedDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_are_reversed_and_lower_case() {
        assert_eq!(ReversedDomain::new("Site7.Example.COM").as_str(), "com.example.site7.");
        assert_eq!(ReversedDomain::new("example.com.").as_str(), "com.example.");
        assert_eq!(ReversedDomain::new("[192.0.2.1]").as_str(), "[192.0.2.1].");
        assert_eq!(ReversedDomain::new("bücher.example").as_str(), "example.xn--bcher-kva.");
        assert_eq!(ReversedDomain::new("").as_str(), ".");
    }

    #[test]
    fn two_spellings_of_a_name() {
        for (text, spelled) in [
            ("site7.example", "site7.example"),
            ("Site7.EXAMPLE", "site7.example"),
            (".B\u{dc}cher.example", ".xn--bcher-kva.example"),
            ("*.s\u{fc}d.m\u{fc}nchen.example", "*.xn--sd-xka.xn--mnchen-3ya.example"),
            ("tag|b\u{fc}cher.example", "tag|xn--bcher-kva.example"),
            // A letter that stands for a dot, and letters that are in no name.
            ("a\u{3002}b\u{fc}.example", "a\u{3002}b\u{fc}.example"),
            ("\u{fffd}.example", "\u{fffd}.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(a_labels(text), spelled);
            assert_eq!(a_labels(text).matches('.').count(), text.matches('.').count());
        }
        assert_eq!(u_labels("www.xn--bcher-kva.Example").as_deref(), Some("www.b\u{fc}cher.example"));
        for none in ["site7.example", "b\u{fc}cher.example", "xn--.example", "xn--a\u{20ac}"] {
            assert_eq!(u_labels(none), None, "{none}");
        }
    }

    #[test]
    fn the_way_back() {
        for domain in ["site7.example.com", "localhost", "[192.0.2.1]", "[ipv6:2001:db8::1]"] {
            assert_eq!(ReversedDomain::new(domain).to_domain(), domain);
        }
    }

    #[test]
    fn a_subtree_is_one_range_without_strangers() {
        let all: BTreeSet<ReversedDomain> = [
            "example.com",
            "a.example.com",
            "b.a.example.com",
            "x-example.com",
            "examplex.com",
            "example-x.com",
            "example.comx",
            "com",
            "0.example.com",
            "-.example.com",
            "~.example.com",
        ]
        .into_iter()
        .map(ReversedDomain::new)
        .collect();
        let top = ReversedDomain::new("EXAMPLE.com");
        let found: BTreeSet<String> = all.range(top.subtree_range()).map(ReversedDomain::to_domain).collect();
        let within: BTreeSet<String> =
            all.iter().filter(|d| d.is_within(&top)).map(ReversedDomain::to_domain).collect();
        assert_eq!(found, within);
        assert_eq!(found.len(), 6, "{found:?}");
    }
}
