//! The clock of the machine is set: what was planned by the old time is planned anew.
//!
//! Somebody sets it, a machine begins with no idea of the time, a virtual one sleeps. Between two readings the wall clock is
//! compared with one that nobody sets ([`Clock::reading`](crate::Clock::reading)).
//!
//! * *Set back*: what waits for a time that was reckoned from the old one would wait for as long again. Services, schedules, pauses
//!   and patrols are planned from the new time, and no retry is further away than the longest wait that its channel has
//!   for it. What waits for a date (a sender's, an operator's `--for`) goes on waiting for it.
//! * *Set forward*: what is due now is due, once, as after a stop of that length; jobs and pools limit how much is tried at a time. But
//!   nothing is returned, and nobody warned, for an age that has come with the jump until [`AGES_WAIT`] has passed: a
//!   clock that was set wrong may be set right meanwhile, and mail that was returned is gone.
//!
//! # Not here
//! Activators (the binary), which watch the clock in the same way. Local time and its summer time are no jumps: all times are UTC.

use std::time::Duration;

use sluice_mail::Time;
use sluice_queue::{EntryKey, Placement, State};
use sluice_spool::Durability;

use crate::clock::{ClockWatch, Jump};
use crate::core::{Core, Deferrals, RunnerState};
use crate::lookout::Lookout;
use crate::sites::SitePlan;

/// How long ages are not acted upon after the clock was set forward.
const AGES_WAIT: Duration = Duration::from_secs(3600);
/// Entries looked at in one step of the loop: well under a millisecond.
const STEP: u32 = 4096;

/// What is known of the clock.
#[derive(Debug, Default)]
pub(crate) struct Jumps {
    watch: ClockWatch,
    /// No age counts before.
    ages_wait: Time,
    /// Where the walk over what waits is, after the clock was set back.
    cursor: Option<u32>,
}

impl Jumps {
    /// Whether ages count.
    pub(crate) fn ages_count(&self, now: Time) -> bool {
        now >= self.ages_wait
    }

    /// When there is something to do: at once, while entries are looked at.
    pub(crate) fn next_wake(&self) -> Option<Time> {
        self.cursor.map(|_| Time(0))
    }

    /// Nothing that waits is planned anew: a fault, which the simulation must find.
    #[cfg(test)]
    pub(crate) const fn forget_what_waits(&mut self) {
        self.cursor = None;
    }
}

impl Core {
    /// Compares a reading with the one before.
    pub(crate) fn watch_clock(&mut self, reading: (Time, Option<Duration>)) {
        let now = reading.0;
        match self.jumps.watch.look(reading) {
            None => {}
            Some(Jump::Back(by)) => self.set_back(by, now),
            Some(Jump::Forward(by)) => {
                tracing::warn!(
                    seconds = by.as_secs(),
                    "the clock was set forward, or the machine has slept; for an hour nothing is returned for its age"
                );
                self.jumps.ages_wait = now.plus(AGES_WAIT);
            }
        }
    }

    fn set_back(&mut self, by: Duration, now: Time) {
        tracing::warn!(seconds = by.as_secs(), "the clock was set back; what waits is planned anew");
        self.jumps.ages_wait = Time(0);
        self.jumps.cursor = Some(0);
        let options = &self.loaded.config.options;
        self.moments.kept = self.moments.kept.min(now);
        self.moments.next_service = self.moments.next_service.min(now.plus(options.post_interval));
        self.patrol.no_later_than(now.plus(options.return_interval));
        self.checkpoint.look_at(now);
        self.ebb.no_later_than(now);
        self.lookout = Lookout::starting(now);
        self.sites = SitePlan::of(&self.loaded.config);
        self.know_timed_channels();
        self.notices_waiting.no_later_than(now);
        self.queues.clock_set_back(now);
        for key in self.queues.channels() {
            let channel = &mut self.channels[key.index()];
            channel.pause_until = channel.pause_until.min(now);
            channel.deferrals = Deferrals::default();
            if let RunnerState::Failed(until) = &mut channel.runner {
                *until = (*until).min(now);
            }
            self.agenda.list(key);
        }
    }

    /// One step of the walk over what waits.
    pub(crate) fn walk_after_jump(&mut self, now: Time) {
        let Some(from) = self.jumps.cursor else { return };
        let mut ahead: Vec<EntryKey> = Vec::new();
        self.jumps.cursor = self.queues.walk(from, STEP, |key, entry, _| {
            if entry.state() == State::Delayed && entry.due().is_some_and(|due| due > now) {
                ahead.push(key);
            }
        });
        for key in ahead {
            let entry = self.queues.entry(key);
            let (message, due) = (entry.message, entry.due());
            let (channel, domain) = self.queues.queue_names(entry.queue);
            let Some(policy) = self.policy(channel) else { continue };
            let longest = now.plus(policy.longest_wait(entry.priority, entry.step));
            let queue = (&**self.queues.channel_name(channel), &**domain);
            let Some(due) = due else { continue };
            let sooner = self.not_beyond(due, longest, queue, self.queues.message(message).size, now);
            if sooner < due && self.queues.state(key) == State::Delayed {
                self.queues.put_back(key, Placement::At(sooner), now);
                self.write_state(message, Durability::Lazy, now);
            }
        }
    }

    /// The time that an entry waits for, but no later than `longest`, or than the window that opens next then.
    pub(crate) fn not_beyond(
        &self,
        due: Time,
        longest: Time,
        queue: (&str, &str),
        size: u64,
        now: Time,
    ) -> Time {
        if due <= longest {
            return due;
        }
        match self.within_window(queue, size, Placement::At(longest), Duration::ZERO, now) {
            Placement::At(sooner) => due.min(sooner),
            _ => due,
        }
    }
}
