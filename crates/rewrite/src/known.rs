//! Which domains the configuration speaks of, for questions about a whole subtree.

use std::ops::Bound;

use sluice_config::Config;
use sluice_mail::ReversedDomain;

/// The domains of rule patterns and channel hosts, reversed and sorted.
#[derive(Debug)]
pub(crate) struct Known(Vec<ReversedDomain>);

impl Known {
    pub(crate) fn new(config: &Config) -> Known {
        let patterns = config.rules.iter().filter_map(|rule| domain_of(&rule.pattern));
        let hosts = config.channels.iter().flat_map(|channel| &channel.hosts).map(|host| host.name.as_str());
        let database = config.databases.get("domain").into_iter().flat_map(|database| database.iter());
        let database = database.filter_map(|(pattern, _)| domain_of(pattern));
        let mut all: Vec<_> = patterns.chain(hosts).chain(database).map(ReversedDomain::new).collect();
        all.sort_unstable();
        all.dedup();
        Known(all)
    }

    pub(crate) fn under(&self, domain: &str) -> bool {
        let (Bound::Included(start), Bound::Excluded(end)) = ReversedDomain::new(domain).subtree_range()
        else {
            return false;
        };
        let at = self.0.partition_point(|known| *known < start);
        self.0.get(at).is_some_and(|known| *known < end)
    }
}

/// The domain a pattern is about: without tag, leading asterisks and dot. None for patterns that are about any host.
fn domain_of(pattern: &str) -> Option<&str> {
    let pattern = pattern.rsplit('|').next().unwrap_or(pattern);
    if pattern.starts_with(['$', '[']) {
        return pattern.starts_with('[').then_some(pattern).filter(|p| !p.contains('*') && *p != "[]");
    }
    let domain = pattern.trim_start_matches("*.").trim_start_matches('.');
    (!domain.is_empty() && domain != "*").then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_their_domain() {
        for (pattern, domain) in [
            ("a.b", Some("a.b")),
            (".a.b", Some("a.b")),
            ("*.*.a.b", Some("a.b")),
            ("tag|.a", Some("a")),
            (".", None),
            ("*", None),
            ("*.*", None),
            ("$*", None),
            ("x|$%", None),
            ("[]", None),
            ("[1.2.3.4]", Some("[1.2.3.4]")),
            ("[*.*.*.*]", None),
        ] {
            assert_eq!(domain_of(pattern), domain, "{pattern}");
        }
    }
}
