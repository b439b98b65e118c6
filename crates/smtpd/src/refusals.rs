//! What the log has of messages that were received and could not be kept: a disk that is full refuses thousands, all for one reason.
//!
//! The first of each reason is told at once, and the same reason again after a minute at the earliest, with how many there were in
//! between. Those stand at level debug, one by one.
//!
//! # Not here
//! The reason itself, which whoever refuses puts into the log.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_mail::Refusal;

/// How often the same is told.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// What was told last.
#[derive(Debug)]
pub(crate) struct Refusals {
    told: Mutex<Option<(Instant, Refusal)>>,
    untold: Mutex<u64>,
}

impl Refusals {
    /// Nothing was told yet.
    pub(crate) const fn new() -> Refusals {
        Refusals { told: Mutex::new(None), untold: Mutex::new(0) }
    }

    /// Tells of one, or counts it.
    pub(crate) fn tell(&self, id: &dyn Display, refusal: &Refusal) {
        match self.before(refusal, Instant::now()) {
            Some(others_before) => tracing::warn!(%id, %refusal, others_before, "message not accepted"),
            None => tracing::debug!(%id, %refusal, "message not accepted"),
        }
    }

    /// How many were not told before this one, when this one is to be told.
    fn before(&self, refusal: &Refusal, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(at, last): &(Instant, Refusal)| last == refusal && now.duration_since(*at) < TOLD_AGAIN;
        if told.as_ref().is_some_and(same) {
            *untold += 1;
            return None;
        }
        *told = Some((now, refusal.clone()));
        Some(std::mem::take(&mut *untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_mail::Status;

    #[test]
    fn one_reason_is_told_once_in_a_while_with_how_many_there_were() {
        let refusal = |code| Refusal::new(code, Status { class: 4, subject: 3, detail: 1 }, "no room");
        let refusals = Refusals::new();
        let begin = Instant::now();
        assert_eq!(refusals.before(&refusal(452), begin), Some(0));
        for second in 1..60 {
            assert_eq!(refusals.before(&refusal(452), begin + Duration::from_secs(second)), None);
        }
        assert_eq!(refusals.before(&refusal(452), begin + TOLD_AGAIN), Some(59));
        assert_eq!(
            refusals.before(&refusal(451), begin + TOLD_AGAIN),
            Some(0),
            "another reason is told at once"
        );
    }
}
