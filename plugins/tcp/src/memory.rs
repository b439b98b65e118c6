//! What is remembered of hosts: within a batch, so that a dead peer costs one attempt, and beyond it (`ipbackoff`).
//!
//! A *batch* is a lease of the host's. Its memory ends with it, and ten seconds after the last host that failed: a release makes a new
//! batch, and somebody who says ETRN is there now, whatever was true before. What is remembered is the channel's choice
//! (`cacheeverything` and its kind; PMDF System Manager's Guide 2.3.4.13).
//!
//! # Not here
//! Connections that are kept (`pool`).

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sluice_sdk::Outcome;

/// Longest memory for an address that could not be reached.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
/// Addresses whose rests are kept. Beyond it those that are over go; a channel that knows so many dead hosts at a time
/// can do without more.
const RESTS_MAX: usize = 10_000;

/// What a batch remembers of hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum HostCache {
    /// `cacheeverything`: a host that does not answer is not asked again, unless it has answered before: then the first
    /// failure is forgiven.
    #[default]
    Everything,
    /// `cachefailures`: a host that does not answer is not asked again.
    Failures,
    /// `nocache`, and `cachesuccesses`, which knows nothing that would keep anybody from trying.
    Nothing,
}

/// One worker's memory for its batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    lease: u64,
    since: Option<Instant>,
    failed: HashMap<SocketAddr, Outcome>,
    reached: HashSet<SocketAddr>,
}

impl Batch {
    /// Forgets what belongs to another batch, or to another time.
    pub(crate) fn begin(&mut self, lease: u64) {
        if lease != self.lease || self.since.is_some_and(|since| since.elapsed() >= REMEMBERED_FOR) {
            *self = Batch { lease, ..Batch::default() };
        }
    }

    /// Why an address is not worth another attempt.
    pub(crate) fn known(&self, address: SocketAddr) -> Option<Outcome> {
        self.failed.get(&address).cloned()
    }

    pub(crate) fn failed(&mut self, cache: HostCache, address: SocketAddr, why: Outcome) {
        let is_forgiven = self.reached.remove(&address) && cache == HostCache::Everything;
        if cache != HostCache::Nothing && !is_forgiven {
            // A host that is silent takes longer to fail than this memory lasts: it lasts from the last failure on.
            self.since = Some(Instant::now());
            self.failed.insert(address, why);
        }
    }

    pub(crate) fn reached(&mut self, cache: HostCache, address: SocketAddr) {
        if cache == HostCache::Everything {
            self.since.get_or_insert_with(Instant::now);
            self.reached.insert(address);
        }
    }
}

/// Addresses that rest after trouble with connections to them (`ipbackoff`), for all workers of the channel.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    /// The waits, the last of which repeats. Empty: nobody rests.
    waits: Vec<Duration>,
    of: Mutex<HashMap<SocketAddr, Rest>>,
}

#[derive(Debug)]
struct Rest {
    /// Failures in a row.
    failures: usize,
    until: Instant,
    why: Outcome,
}

impl Rests {
    pub(crate) fn new(waits: Vec<Duration>) -> Rests {
        Rests { waits, of: Mutex::default() }
    }

    /// Why the address is left alone now.
    pub(crate) fn known(&self, address: SocketAddr) -> Option<Outcome> {
        if self.waits.is_empty() {
            return None;
        }
        let rests = self.lock();
        rests.get(&address).filter(|rest| rest.until > Instant::now()).map(|rest| rest.why.clone())
    }

    pub(crate) fn failed(&self, address: SocketAddr, why: &Outcome) {
        let Some(&last) = self.waits.last() else { return };
        let mut rests = self.lock();
        let now = Instant::now();
        if rests.len() >= RESTS_MAX {
            rests.retain(|_, rest| rest.until > now);
        }
        let failures = rests.get(&address).map_or(0, |rest| rest.failures);
        if rests.len() >= RESTS_MAX && failures == 0 {
            return;
        }
        let wait = self.waits.get(failures).copied().unwrap_or(last);
        rests.insert(address, Rest { failures: failures + 1, until: now + wait, why: why.clone() });
    }

    pub(crate) fn reached(&self, address: SocketAddr) {
        if !self.waits.is_empty() {
            self.lock().remove(&address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Rest>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_sdk::Status;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 25))
    }

    fn trouble() -> Outcome {
        Outcome::deferred(Status::new(4, 4, 1), "no answer")
    }

    #[test]
    fn what_a_batch_remembers_is_the_channels_choice() {
        for (cache, first, after_success) in [
            (HostCache::Everything, true, false),
            (HostCache::Failures, true, true),
            (HostCache::Nothing, false, false),
        ] {
            let mut batch = Batch::default();
            batch.begin(7);
            batch.failed(cache, address(1), trouble());
            batch.reached(cache, address(2));
            batch.failed(cache, address(2), trouble());
            assert_eq!(batch.known(address(1)).is_some(), first, "{cache:?}");
            assert_eq!(batch.known(address(2)).is_some(), after_success, "{cache:?}");
            batch.failed(cache, address(2), trouble());
            assert_eq!(batch.known(address(2)).is_some(), first, "{cache:?}: one failure is forgiven");
            batch.begin(7);
            assert_eq!(batch.known(address(1)).is_some(), first);
            batch.begin(8);
            assert_eq!(batch.known(address(1)), None, "another batch");
        }
    }

    #[test]
    fn a_failure_that_took_long_is_remembered_from_its_end() {
        let long_ago = || Instant::now().checked_sub(REMEMBERED_FOR);
        let mut batch = Batch::default();
        batch.begin(7);
        batch.failed(HostCache::Everything, address(1), trouble());
        batch.since = long_ago();
        batch.failed(HostCache::Everything, address(2), trouble());
        batch.begin(7);
        assert!(batch.known(address(1)).is_some() && batch.known(address(2)).is_some());
        batch.since = long_ago();
        batch.begin(7);
        assert_eq!((batch.known(address(1)), batch.known(address(2))), (None, None));
    }

    #[test]
    fn rests_grow_with_failures_in_a_row_and_end_with_a_success() {
        let rests = Rests::new(vec![Duration::ZERO, Duration::from_secs(3600)]);
        rests.failed(address(1), &trouble());
        assert_eq!(rests.known(address(1)), None, "the first wait is over at once");
        rests.failed(address(1), &trouble());
        assert_eq!(rests.known(address(1)), Some(trouble()));
        assert_eq!(rests.known(address(2)), None);
        rests.failed(address(1), &trouble());
        assert!(rests.known(address(1)).is_some(), "the last wait repeats");
        rests.reached(address(1));
        assert_eq!(rests.known(address(1)), None);
        let none = Rests::default();
        none.failed(address(1), &trouble());
        assert_eq!(none.known(address(1)), None, "nobody rests where the channel does not say so");
    }

    #[test]
    fn no_more_rests_are_kept_than_there_is_room_for() {
        let rests = Rests::new(vec![Duration::from_secs(3600)]);
        for port in 0..=RESTS_MAX {
            rests.failed(SocketAddr::from(([192, 0, 2, 1], u16::try_from(port).unwrap())), &trouble());
        }
        assert_eq!(rests.lock().len(), RESTS_MAX);
    }
}
