//! When the pages of what has gone are given back to the system: at the ebb, which is when much less waits than did, and no more is
//! going.
//!
//! What waits is known by tables of the index, which give their room back to the allocator; that the allocator gives it back to the
//! system is asked for here. The call takes its time, so it has a thread of its own, comes at most once a minute, and waits until
//! the drain, the delete or whatever takes the mail away has nearly come to its end.
//!
//! It is asked for once more a minute later: threads that had work with it end when they have had none for a while, and what the allocator
//! keeps for a thread goes with the thread, not before.
//!
//! Not here: how it is done (`spool::give_back_pages`), and room within tables (`spool::GivesBack`).

use std::time::Duration;

use sluice_mail::Time;

use crate::core::Core;

/// Entries that must have gone at least: some hundred kilobytes.
const GONE_MIN: usize = 5000;
/// For so long their number must have stayed about the same.
const CALM: Duration = Duration::from_secs(2);
/// About the same: so many are not an ebb that goes on.
const FEW: usize = 1000;
/// Not sooner after the last time.
const PAUSE: Duration = Duration::from_secs(60);

/// How the number of entries goes.
#[derive(Debug)]
pub(crate) struct Ebb {
    /// The most since pages were last given back.
    most: usize,
    /// When it is looked whether it is calm, and how many there were when that was decided.
    look: Option<(Time, usize)>,
    /// When pages are given back once more, and how many there were at the ebb.
    again: Option<(Time, usize)>,
    not_before: Time,
}

impl Ebb {
    pub(crate) const fn starting(now: Time) -> Self {
        Self { most: 0, look: None, again: None, not_before: now }
    }

    /// There are so many entries now. Whether pages are to be given back.
    fn is_calm(&mut self, entries: usize, now: Time) -> bool {
        self.most = self.most.max(entries);
        if entries > self.most / 2 || self.most - entries < GONE_MIN {
            self.look = None;
            let after = self.again.take_if(|(time, _)| *time <= now);
            // Where much has come in since, there will be another ebb.
            return after.is_some_and(|(_, left)| entries < left + GONE_MIN);
        }
        self.again = None;
        let (time, before) = match self.look {
            Some((time, _)) if now < time => return false,
            Some(look) => look,
            None => (now, usize::MAX),
        };
        if before.abs_diff(entries) >= FEW || time < self.not_before {
            self.look = Some((now.plus(CALM).max(self.not_before), entries));
            return false;
        }
        (self.most, self.look, self.not_before) = (entries, None, now.plus(PAUSE));
        self.again = Some((self.not_before, entries));
        true
    }

    pub(crate) fn next_wake(&self) -> Option<Time> {
        self.look.or(self.again).map(|(time, _)| time)
    }

    /// The clock was set back.
    pub(crate) fn no_later_than(&mut self, time: Time) {
        self.not_before = self.not_before.min(time);
        self.look = self.look.map(|(at, entries)| (at.min(time.plus(CALM)), entries));
        self.again = self.again.map(|(at, entries)| (at.min(time.plus(PAUSE)), entries));
    }
}

impl Core {
    /// Gives back pages when it is calm after much has gone.
    pub(crate) fn give_back_pages(&mut self, now: Time) {
        if self.stopping.is_some() || !self.ebb.is_calm(self.queues.entries_total(), now) {
            return;
        }
        let work = || {
            let begun = std::time::Instant::now();
            let had_any = sluice_spool::give_back_pages();
            let took = begun.elapsed().as_millis();
            tracing::debug!(had_any, took, "pages of what has gone were given back to the system");
        };
        if let Err(error) = self.aside.begin("memory".to_owned(), Box::new(work)) {
            tracing::debug!(%error, "no thread to give pages back on; that is done after the next ebb");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time(1_790_000_000_000);

    /// Tells it the number of entries, by tenths of a second from a time on, and returns when it was calm, in those.
    fn calm(ebb: &mut Ebb, from: u64, numbers: impl IntoIterator<Item = usize>) -> Vec<u64> {
        let all = (from..).zip(numbers);
        all.filter(|(tenth, entries)| ebb.is_calm(*entries, Time(START.0 + tenth * 100)))
            .map(|(tenth, _)| tenth)
            .collect()
    }

    #[test]
    fn pages_go_back_once_the_drain_has_ended() {
        let mut ebb = Ebb::starting(START);
        let flood = (0..100).map(|one| one * 2000);
        let drain = (0..100).rev().map(|one| one * 2000);
        let rest = std::iter::repeat_n(0, 100);
        let times = calm(&mut ebb, 0, flood.chain(drain).chain(rest));
        assert_eq!(times.len(), 1, "{times:?}");
        assert!((219..=241).contains(&times[0]), "two to four seconds behind the end: {times:?}");
        // Once more when threads have ended, and then no more.
        let wake = ebb.next_wake().expect("a second time");
        assert_eq!(wake, Time(START.0 + times[0] * 100).plus(PAUSE));
        assert!(!ebb.is_calm(0, Time(wake.0 - 1)) && ebb.is_calm(0, wake));
        assert_eq!((ebb.is_calm(0, wake), ebb.next_wake()), (false, None));
    }

    #[test]
    fn what_comes_and_goes_or_is_little_is_no_ebb() {
        let mut ebb = Ebb::starting(START);
        assert_eq!(calm(&mut ebb, 0, (0..300).map(|one| (one % 7) * 600)), Vec::<u64>::new());
        let mut ebb = Ebb::starting(START);
        let half = std::iter::once(20_000).chain(std::iter::repeat_n(10_001, 100));
        assert_eq!(calm(&mut ebb, 0, half), Vec::<u64>::new());
    }

    #[test]
    fn a_second_ebb_waits_for_its_minute_and_is_not_forgotten() {
        let mut ebb = Ebb::starting(START);
        let tide = || std::iter::once(50_000).chain(std::iter::repeat_n(0, 99));
        let times = calm(&mut ebb, 0, tide().chain(tide()).chain(std::iter::repeat_n(0, 700)));
        assert_eq!(times.len(), 2, "{times:?}");
        assert!(times[1] >= times[0] + 600 && times[1] <= times[0] + 645, "{times:?}");
        // Not again where much has come in meanwhile, and nobody is woken for it for ever.
        let wake = ebb.next_wake().expect("a second time");
        assert_eq!((ebb.is_calm(GONE_MIN, wake), ebb.next_wake()), (false, None));
        // Whoever sleeps until he is woken is woken for it.
        let mut ebb = Ebb::starting(START);
        assert!(!ebb.is_calm(50_000, START) && !ebb.is_calm(10, START));
        let wake = ebb.next_wake().expect("a look");
        assert!(ebb.is_calm(10, wake));
        // A clock that is set back does not put it off.
        assert!(!ebb.is_calm(50_000, wake) && !ebb.is_calm(10, wake));
        let back = Time(START.0 - 3_600_000);
        ebb.no_later_than(back);
        assert!(ebb.is_calm(10, back.plus(CALM)));
    }
}
