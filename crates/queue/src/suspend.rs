//! Suspensions: domains for which no lease takes anything, in whatever channel and however due it is.
//!
//! Entries keep their shelves and their due times; only the way out is closed. What becomes due meanwhile is ready when
//! the suspension ends. Who suspends, why, and for how long is the caller's to know.

use std::collections::HashSet;

use sluice_mail::{ReversedDomain, Time};

use crate::index::{QueueKey, Queues};

/// The domains that are suspended.
#[derive(Debug, Default)]
pub(crate) struct Suspended {
    exact: HashSet<ReversedDomain>,
    /// With everything below them, as reversed text that ends in a dot.
    roots: HashSet<String>,
}

impl Suspended {
    pub(crate) fn covers(&self, domain: &str) -> bool {
        if self.exact.is_empty() && self.roots.is_empty() {
            return false;
        }
        let domain = ReversedDomain::new(domain);
        if self.exact.contains(&domain) {
            return true;
        }
        let text = domain.as_str();
        !self.roots.is_empty() && text.match_indices('.').any(|(dot, _)| self.roots.contains(&text[..=dot]))
    }
}

impl Queues {
    /// Suspends these domains (`true`: with everything below them) and no others.
    pub fn set_suspended(&mut self, domains: impl IntoIterator<Item = (ReversedDomain, bool)>, now: Time) {
        let mut suspended = Suspended::default();
        for (domain, below) in domains {
            if below {
                suspended.roots.insert(domain.as_str().to_owned());
            } else {
                suspended.exact.insert(domain);
            }
        }
        self.suspended = suspended;
        let changes = |(key, queue): (u32, &crate::queue::Queue)| {
            (queue.is_suspended != self.suspended.covers(&queue.domain)).then_some(QueueKey(key))
        };
        let changed: Vec<QueueKey> = self.queues.iter().filter_map(changes).collect();
        for key in changed {
            if let Some(queue) = self.queues.get_mut(key.0) {
                queue.is_suspended = !queue.is_suspended;
            }
            // A queue that may be leased from again has to stand in its ring.
            self.touch(key, now);
        }
    }

    /// Whether no lease takes anything from this queue.
    #[must_use]
    pub fn is_suspended(&self, key: QueueKey) -> bool {
        self.queues.get(key.0).is_some_and(|queue| queue.is_suspended)
    }

    /// Entries in these queues, and how many of them are under a lease.
    #[must_use]
    pub fn totals(&self, queues: &[QueueKey]) -> (u64, u64) {
        let found = queues.iter().filter_map(|key| self.queues.get(key.0));
        found.fold((0, 0), |sum, queue| (sum.0 + queue.entries(), sum.1 + queue.leased.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_covers_itself_and_what_is_below_and_nothing_that_only_looks_like_it() {
        let mut suspended = Suspended::default();
        suspended.roots.insert(ReversedDomain::new("example.com").as_str().to_owned());
        suspended.exact.insert(ReversedDomain::new("site.example"));
        suspended.exact.insert(ReversedDomain::new("[192.0.2.7]"));
        for (domain, is_covered) in [
            ("example.com", true),
            ("a.b.EXAMPLE.com", true),
            ("badexample.com", false),
            ("com", false),
            ("site.example", true),
            ("a.site.example", false),
            ("[192.0.2.7]", true),
            ("[192.0.2.70]", false),
        ] {
            assert_eq!(suspended.covers(domain), is_covered, "{domain}");
        }
    }
}
