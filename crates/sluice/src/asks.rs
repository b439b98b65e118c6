//! How often mail is asked for: ETRN and ATRN of one client, and for one node, whoever asks.
//!
//! A release is cheap, but not free, and its cost is others' time. The limits are far beyond what any site needs: they are
//! there for programs that have gone mad.
//!
//! # Not here
//! The limit of a session (ALLOW_ETRNS_PER_SESSION: `smtp`), and turns between sites (`dispatch`).

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use sluice_config::Options;

/// So many different clients or nodes are remembered before those that have rested are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Who has asked how often. Belongs to the hub and not to a configuration, so that a reload does not forget.
#[derive(Default)]
pub(crate) struct Asks {
    clients: Mutex<Option<Limit<IpAddr>>>,
    nodes: Mutex<Option<Limit<String>>>,
}

struct Limit<K: std::hash::Hash + Eq + Clone> {
    per_minute: u32,
    limiter: DefaultKeyedRateLimiter<K>,
}

impl Asks {
    /// Whether this request is one too many; it counts.
    pub(crate) fn admits(&self, options: &Options, client: IpAddr, node: &str) -> bool {
        let node = node.to_lowercase();
        admits(&self.clients, options.etrns_per_client, &client)
            && admits(&self.nodes, options.etrns_per_node, &node)
    }
}

fn admits<K: std::hash::Hash + Eq + Clone>(
    place: &Mutex<Option<Limit<K>>>,
    per_minute: u32,
    key: &K,
) -> bool {
    let Some(quota) = NonZeroU32::new(per_minute) else { return true };
    let mut place = place.lock();
    if place.as_ref().is_none_or(|limit| limit.per_minute != per_minute) {
        *place = Some(Limit { per_minute, limiter: RateLimiter::keyed(Quota::per_minute(quota)) });
    }
    let Some(Limit { limiter, .. }) = place.as_ref() else { return true };
    if limiter.len() > REMEMBERED_MAX {
        limiter.retain_recent();
    }
    limiter.check_key(key).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_and_a_node_have_limits_of_their_own() {
        let options = Options { etrns_per_client: 3, etrns_per_node: 2, ..Options::default() };
        let asks = Asks::default();
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert!(asks.admits(&options, one, "a.example"));
        assert!(asks.admits(&options, one, "A.example"));
        assert!(!asks.admits(&options, two, "a.EXAMPLE"), "the node was asked for often enough");
        assert!(asks.admits(&options, one, "b.example"));
        assert!(!asks.admits(&options, one, "c.example"), "the client has asked often enough");
        assert!(asks.admits(&options, two, "c.example"));
    }

    #[test]
    fn nought_is_no_limit_and_a_new_limit_counts_anew() {
        let asks = Asks::default();
        let client = IpAddr::from([192, 0, 2, 1]);
        let none = Options { etrns_per_client: 0, etrns_per_node: 0, ..Options::default() };
        assert!((0..10_000).all(|_| asks.admits(&none, client, "a.example")));
        let one = Options { etrns_per_client: 1, etrns_per_node: 0, ..Options::default() };
        assert!(asks.admits(&one, client, "a.example"));
        assert!(!asks.admits(&one, client, "a.example"));
        let two = Options { etrns_per_client: 2, etrns_per_node: 0, ..Options::default() };
        assert!(asks.admits(&two, client, "a.example"));
    }
}
