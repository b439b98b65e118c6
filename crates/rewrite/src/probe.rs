//! The order in which patterns are asked for a host, and what each kind of match leaves for `$H`, `$D` and `$L`.
//!
//! # Not here
//! The table itself and the rules behind a pattern (`rewriter`).

use std::borrow::Cow;

/// The parts of a host as a pattern divided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matched<'h> {
    /// A name: `$H` is what the pattern left open, `$D` what it spelled out (with its leading dot).
    Name { host: &'h str, domain: &'h str },
    /// A domain literal: the elements the pattern spelled out (with their dot), and the rest, `$L`.
    Literal { domain: &'h str, rest: &'h str },
}

impl<'h> Matched<'h> {
    /// Nothing spelled out: `.`, `$*`, `$%`, `$!`.
    pub(crate) fn open(host: &'h str) -> Matched<'h> {
        Matched::Name { host, domain: "" }
    }

    /// `$H`.
    pub(crate) fn host(&self) -> &'h str {
        match self {
            Matched::Name { host, .. } => host,
            Matched::Literal { .. } => "",
        }
    }

    /// `$D`.
    pub(crate) fn domain(&self) -> Cow<'h, str> {
        match self {
            Matched::Name { domain, .. } => Cow::Borrowed(domain),
            Matched::Literal { domain, .. } => Cow::Owned(format!("[{domain}]")),
        }
    }

    /// `$L`.
    pub(crate) fn literal(&self) -> &'h str {
        match self {
            Matched::Name { .. } => "",
            Matched::Literal { rest, .. } => rest,
        }
    }
}

/// Which probes can find anything, judged by all patterns there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Octets of the longest pattern, tag included.
    length_max: usize,
    /// Most asterisks that a pattern without tag begins with. A probe with more finds nothing.
    stars_max: usize,
}

impl Reach {
    /// Every probe: for showing them.
    pub(crate) const ALL: Reach = Reach { length_max: usize::MAX, stars_max: usize::MAX };

    /// Takes in a pattern, in lower case.
    pub(crate) fn add(&mut self, pattern: &str) {
        self.length_max = self.length_max.max(pattern.len());
        // `$*` counts too.
        let stars = pattern.trim_start_matches('$').split('.').take_while(|label| *label == "*").count();
        self.stars_max = self.stars_max.max(stars);
    }

    /// Takes in patterns without asterisks of up to this length.
    pub(crate) fn add_length(&mut self, length: usize) {
        self.length_max = self.length_max.max(length);
    }
}

/// Calls `ask` with each probe, from most to least specific, until it answers `Some`.
///
/// `host` is the host as it stands in the address, `lower` the same in lower case (the probe is made of that one, the
/// parts of the match of the other). Each probe has the tag in front. What is out of `reach` is not asked; `buffer` is
/// for probes that stand nowhere in the host.
pub(crate) fn probe<'h, T>(
    host: &'h str,
    lower: &str,
    tag: &str,
    reach: Reach,
    buffer: &mut String,
    mut ask: impl FnMut(&str, Matched<'h>) -> Option<T>,
) -> Option<T> {
    // Of tagged patterns it is not known where the tag ends.
    let stars_max = if tag.is_empty() { reach.stars_max } else { usize::MAX };
    let reach = Reach { stars_max, ..reach };
    let mut ask = |probe: &[&str], matched: Matched<'h>| {
        if tag.len() + probe.iter().map(|part| part.len()).sum::<usize>() > reach.length_max {
            return None;
        }
        if let (true, [probe]) = (tag.is_empty(), probe) {
            return ask(probe, matched);
        }
        buffer.clear();
        buffer.reserve(tag.len() + STARS_USUAL + lower.len());
        buffer.push_str(tag);
        buffer.extend(probe.iter().copied());
        ask(buffer, matched)
    };
    if reach.stars_max > 0
        && let Some(found) = ask(&["$*"], Matched::open(host))
    {
        return Some(found);
    }
    let inside = |text: &str| text.len() >= 2 && text.starts_with('[') && text.ends_with(']');
    let found = if inside(host) && inside(lower) {
        literal(&host[1..host.len() - 1], host, &lower[1..lower.len() - 1], &mut ask)
    } else {
        name(host, lower, reach, &mut ask)
    };
    found.or_else(|| ask(&["."], Matched::open(host)))
}

type Ask<'a, 'h, T> = dyn FnMut(&[&str], Matched<'h>) -> Option<T> + 'a;

/// Octets of asterisks and dots that are ahead of most hosts.
const STARS_USUAL: usize = 16;

/// As many asterisks as a name can have labels (RFC 1035 section 2.3.4: 255 octets), with their dots. No pattern has more.
const STARS: &str = "*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.\
                     *.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.\
                     *.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.\
                     *.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*";

/// `a.b.c`, `*.b.c`, `.b.c`, `*.*.c`, `.c`, `*.*.*`.
fn name<'h, T>(host: &'h str, lower: &str, reach: Reach, ask: &mut Ask<'_, 'h, T>) -> Option<T> {
    if let Some(found) = ask(&[lower], Matched::Name { host: "", domain: host }) {
        return Some(found);
    }
    let (mut at, mut lower_at) = (0, 0);
    let mut labels = 0;
    loop {
        // Lower-casing neither makes nor takes away dots, so the n-th dot of both texts is the same one.
        let label_end = |text: &str, from: usize| text[from..].find('.').map(|dot| from + dot);
        let dots = label_end(host, at).zip(label_end(lower, lower_at));
        let (end, lower_end) = dots.unwrap_or((host.len(), lower.len()));
        let matched = Matched::Name { host: &host[..end], domain: &host[end..] };
        labels += 1;
        if labels <= reach.stars_max
            && let Some(stars) = STARS.get(..2 * labels - 1)
            && let Some(found) = ask(&[stars, &lower[lower_end..]], matched)
        {
            return Some(found);
        }
        dots?;
        if let Some(found) = ask(&[&lower[lower_end..]], matched) {
            return Some(found);
        }
        (at, lower_at) = (end + 1, lower_end + 1);
    }
}

/// `[a.b.c.d]`, `[a.b.c.]`, `[a.b.]`, `[a.]`, `[]`, `[*.*.*.*]`.
fn literal<'h, T>(inside: &'h str, whole: &'h str, lower: &str, ask: &mut Ask<'_, 'h, T>) -> Option<T> {
    if let Some(found) = ask(&["[", lower, "]"], Matched::Name { host: "", domain: whole }) {
        return Some(found);
    }
    if inside.is_empty() {
        return ask(&["[*]"], Matched::Literal { domain: "", rest: "" });
    }
    // The end of the part still spelled out, in both texts; each turn drops one element from the right.
    let before = |text: &str, end: usize| text[..end].rfind('.');
    let (mut end, mut lower_end) = (inside.len(), lower.len());
    while let Some((dot, lower_dot)) = before(inside, end).zip(before(lower, lower_end)) {
        let matched = Matched::Literal { domain: &inside[..=dot], rest: &inside[dot + 1..] };
        if let Some(found) = ask(&["[", &lower[..=lower_dot], "]"], matched) {
            return Some(found);
        }
        (end, lower_end) = (dot, lower_dot);
    }
    let rest = Matched::Literal { domain: "", rest: inside };
    if let Some(found) = ask(&["[]"], rest) {
        return Some(found);
    }
    let stars = vec!["*"; inside.split('.').count()].join(".");
    ask(&["[", &stars, "]"], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(host: &str) -> Vec<String> {
        let mut seen = Vec::new();
        let none: Option<()> =
            probe(host, &host.to_lowercase(), "", Reach::ALL, &mut String::new(), |key, _| {
                seen.push(key.to_owned());
                None
            });
        assert_eq!(none, None);
        assert_eq!(seen.remove(0), "$*");
        seen
    }

    /// `$H`, `$D` and `$L` when this probe is the one that matches.
    fn parts(host: &str, pattern: &str) -> (String, String, String) {
        probe(host, &host.to_lowercase(), "", Reach::ALL, &mut String::new(), |key, matched| {
            (key == pattern)
                .then(|| (matched.host().into(), matched.domain().into(), matched.literal().into()))
        })
        .unwrap_or_else(|| panic!("{pattern} is not probed for {host}"))
    }

    #[test]
    fn a_name_is_probed_from_exact_to_anything() {
        assert_eq!(
            probes("SC.cs.example.com"),
            [
                "sc.cs.example.com",
                "*.cs.example.com",
                ".cs.example.com",
                "*.*.example.com",
                ".example.com",
                "*.*.*.com",
                ".com",
                "*.*.*.*",
                "."
            ]
        );
        assert_eq!(probes("foo"), ["foo", "*", "."]);
        assert_eq!(probes("sc.cs"), ["sc.cs", "*.cs", ".cs", "*.*", "."]);
    }

    #[test]
    fn a_literal_loses_elements_from_the_right() {
        assert_eq!(probes("[1.2.3.4]"), ["[1.2.3.4]", "[1.2.3.]", "[1.2.]", "[1.]", "[]", "[*.*.*.*]", "."]);
        assert_eq!(probes("[IPv6:::1]"), ["[ipv6:::1]", "[]", "[*]", "."]);
        assert_eq!(probes("[]"), ["[]", "[*]", "."]);
    }

    #[test]
    fn every_kind_of_match_has_its_host_domain_and_literal() {
        let table = [
            ("A.b.C", "a.b.c", "", "A.b.C", ""),
            ("x.A.b.c", ".b.c", "x.A", ".b.c", ""),
            ("a.B.c", ".b.c", "a", ".B.c", ""),
            ("a.b.c", "*.b.c", "a", ".b.c", ""),
            ("a.b.c", "*.*.c", "a.b", ".c", ""),
            ("a", "*", "a", "", ""),
            ("a.b", "*.*", "a.b", "", ""),
            ("a.b", ".", "a.b", "", ""),
            ("a.b", "$*", "a.b", "", ""),
            ("[1.2.3.4]", "[1.2.3.4]", "", "[1.2.3.4]", ""),
            ("[1.2.3.4]", "[1.2.]", "", "[1.2.]", "3.4"),
            ("[1.2.3.4]", "[]", "", "[]", "1.2.3.4"),
            ("[1.2.3.4]", "[*.*.*.*]", "", "[]", "1.2.3.4"),
            ("[1.2.3.4]", ".", "[1.2.3.4]", "", ""),
            ("[IPv6:::1]", "[]", "", "[]", "IPv6:::1"),
        ];
        for (host, pattern, h, d, l) in table {
            assert_eq!(parts(host, pattern), (h.into(), d.into(), l.into()), "{host} by {pattern}");
        }
    }

    #[test]
    fn odd_hosts_end_too() {
        for host in ["", ".", "..", ".a", "a.", "a..b", "[", "]", "[]", "[.]", "[..]", "İ.İ", "*", "a%%b"] {
            assert_eq!(probes(host).last().map(String::as_str), Some("."), "{host:?}");
        }
    }

    #[test]
    fn probes_longer_than_any_pattern_are_not_asked() {
        let mut longest = 0;
        let host = "label.".repeat(200) + "end";
        let reach = Reach { length_max: 20, ..Reach::ALL };
        let _: Option<()> = probe(&host, &host, "tag|", reach, &mut String::new(), |key, _| {
            assert!(key.starts_with("tag|"), "{key}");
            longest = longest.max(key.len());
            None
        });
        assert!((4..=20).contains(&longest), "{longest}");
    }

    /// One for each label, and one for all hosts: what an address costs must not grow with anything else.
    #[test]
    fn a_host_is_asked_for_once_for_each_label_and_once_for_all() {
        let asked = |patterns: &[&str], host: &str| {
            let mut reach = Reach::default();
            patterns.iter().for_each(|pattern| reach.add(pattern));
            let mut asked = 0;
            let _: Option<()> = probe(host, host, "", reach, &mut String::new(), |_, _| {
                asked += 1;
                None
            });
            asked
        };
        let usual = ["a-rather-long-name.example.com", ".example.com", "."];
        for (host, probes) in
            [("example.com", 3), ("mail.example.com", 4), ("a.b.c.d.e.f", 7), ("[1.2.3.4]", 7)]
        {
            assert_eq!(asked(&usual, host), probes, "{host}");
        }
        // As many asterisks as some pattern has, and no more; `$*` is asked when there is any pattern with asterisks.
        assert_eq!(asked(&["*.example.com", "a.long.name.that.fits"], "a.b.c.d"), 5 + 1 + 1);
        // Not for longer names than any pattern has.
        assert_eq!(asked(&["example.com"], &("label.".repeat(100) + "example")), 2);
        assert_eq!(asked(&[], "a.b.c"), 0);
    }

    /// What is left out by the reach of some patterns could not have found one of them.
    #[test]
    fn probes_out_of_reach_find_nothing() {
        let hosts = ["a.b.c", "*.b.c", "*.*.c", "a", "*", "[1.2.3.4]", "a.*.c", "$*", "", "a..c", "tag|a.b"];
        let patterns =
            ["a.b.c", "*.b.c", ".c", "*.*.c", "*", "*.*.*", "$*", ".", "[*.*.*.*]", "[1.2.]", "tag|*.b"];
        for first in patterns {
            for second in patterns {
                let mut reach = Reach::default();
                reach.add(first);
                reach.add(second);
                for (host, tag) in hosts.iter().flat_map(|host| ["", "tag|"].map(|tag| (host, tag))) {
                    let found = |reach| {
                        let mut found = Vec::new();
                        let _: Option<()> = probe(host, host, tag, reach, &mut String::new(), |key, _| {
                            if key == first || key == second {
                                found.push(key.to_owned());
                            }
                            None
                        });
                        found
                    };
                    assert_eq!(found(reach), found(Reach::ALL), "{tag}{host} with {first} and {second}");
                }
            }
        }
    }
}
