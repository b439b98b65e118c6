//! Channels that run by the clock: the `SCHEDULE` of their section, beside the periodic services.
//!
//! Each moment does for one channel what a periodic service does, whatever `period` says: its waiting mail becomes due, and its peer is
//! asked for mail where the channel polls. Moments are those within the channel's `WINDOW`. One is planned ahead for each channel, in
//! steps, as those of sites are; of those that passed while no hub ran one is made up for (`moments`).
//!
//! # Not here
//! What a service does (`schedule`), and windows (`sites`): mail of a site that has a schedule or windows of its own goes by those.

use std::collections::BTreeSet;

use sluice_mail::{Time, rfc5322_date};
use sluice_queue::{ChannelKey, QueueKey};

use crate::core::Core;
use crate::moments::{LATE, PlanState};
use crate::policy::Schedule;
use crate::schedule::Turn;

/// Schedules that are planned in one step of the loop.
const PLANNED_MAX: usize = 256;
/// Channels that are run in one step of the loop.
const RUN_MAX: usize = 64;

/// The channels with a schedule.
#[derive(Debug, Default)]
pub(crate) struct TimedChannels {
    /// The next moment of each.
    next: BTreeSet<(Time, ChannelKey)>,
    /// Those whose next moment is still to be found out.
    unplanned: Vec<ChannelKey>,
}

impl TimedChannels {
    pub(crate) fn kept(&self) -> PlanState {
        PlanState { is_planned: self.unplanned.is_empty(), next: self.next.first().map(|(at, _)| *at) }
    }

    /// When there is something to do; at once while there are schedules to plan.
    pub(crate) fn next_wake(&self) -> Option<Time> {
        if self.unplanned.is_empty() { self.next.first().map(|(at, _)| *at) } else { Some(Time(0)) }
    }
}

impl Core {
    /// Forgets all moments, and takes the schedules of the configuration in force.
    pub(crate) fn know_timed_channels(&mut self) {
        let has_schedule =
            |key: &ChannelKey| self.policy(*key).is_some_and(|policy| policy.timetable.is_some());
        let unplanned = self.queues.channels().filter(has_schedule).collect();
        self.timed = TimedChannels { next: BTreeSet::new(), unplanned };
    }

    /// Runs the channels whose moment has come, and finds out the next one of each.
    pub(crate) fn run_timed_channels(&mut self, now: Time) {
        if self.stopping.is_some() {
            return;
        }
        for _ in 0..PLANNED_MAX {
            let Some(key) = self.timed.unplanned.pop() else { break };
            self.plan_channel(key, self.moments.kept.min(now));
        }
        let mut taken = false;
        for _ in 0..RUN_MAX {
            let Some((at, key)) = self.timed.next.pop_first() else { break };
            if at > now {
                self.timed.next.insert((at, key));
                break;
            }
            taken = true;
            let windows = self.policy(key).and_then(|policy| policy.windows.as_ref());
            // A moment that is made up for may find the window closed.
            if windows.is_none_or(|windows| windows.is_open(now)) {
                let channel = &**self.queues.channel_name(key);
                if at.plus(LATE) < now {
                    tracing::info!(channel, at = %rfc5322_date(at), "a moment of its schedule was missed: run now");
                } else {
                    tracing::debug!(channel, "run by its schedule");
                }
                self.serve(key, Turn::OwnSchedule, now);
            }
            self.plan_channel(key, now);
        }
        if taken {
            self.note_moments(now);
        }
    }

    fn plan_channel(&mut self, key: ChannelKey, after: Time) {
        if let Some(next) = self.next_moment(key, after) {
            self.timed.next.insert((next, key));
        }
    }

    fn next_moment(&self, key: ChannelKey, now: Time) -> Option<Time> {
        let policy = self.policy(key)?;
        policy.timetable.as_ref()?.next_within(policy.windows.as_deref(), now)
    }

    /// When the channel runs next without anybody asking, as far as a schedule or a closed window decides that.
    pub(crate) fn next_run(&self, key: ChannelKey, now: Time) -> Option<Time> {
        let policy = self.policy(key).filter(|policy| policy.runs())?;
        if self.is_stopped(key) {
            return None;
        }
        let opens = || {
            let windows = policy.windows.as_deref().filter(|windows| !windows.is_open(now))?;
            windows.opens_after(now)
        };
        // A window that opens sets nothing going in a channel that waits for services.
        let opens = if policy.schedule == Schedule::Immediate { opens() } else { None };
        self.next_moment(key, now).into_iter().chain(opens).min()
    }

    /// Leaves the queues whose site has no schedule of its own.
    pub(crate) fn keep_without_schedule(&self, queues: &mut Vec<QueueKey>) {
        queues.retain(|&queue| {
            let (key, domain) = self.queues.queue_names(queue);
            let site = self.site_of(self.queues.channel_name(key), domain);
            site.is_none_or(|site| site.schedule.is_none())
        });
    }
}
