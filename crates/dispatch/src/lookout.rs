//! The lookout: channels that have something to do and get nothing done are named, with the reason.
//!
//! A peer that accepts connections and says nothing, a plugin that starts for ever, a lease that no worker takes: each
//! of these keeps mail where it is without an error anywhere. So every channel with something under way or due is looked at
//! now and then. If nothing of it has come back for [`QUIET_MAX`], the log says so and says why, and again after
//! twice the time, and so on; `channel list` says it for as long as it is so. That it goes on again is said too.
//!
//! Slow is not broken: a large message over a slow line may take an hour. The lookout tells and does nothing else, but for
//! one case: a channel that could run and that nobody looks at, which would be a mistake of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_mail::Time;
use sluice_queue::ChannelKey;

use crate::core::{Core, RunnerState};

/// How often the lookout looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a channel with something to do may be without any result before it is told of.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(30);
/// Longest time between two words about the same trouble.
const REPEAT_MAX: Duration = Duration::from_secs(3600);

/// What the lookout knows of a channel with something to do.
#[derive(Debug, Clone, Copy)]
struct Watched {
    /// When it last got something done, or had nothing to do.
    since: Time,
    /// For how long it is to be quiet before the next word.
    tell_after: Duration,
}

/// The channels that have something to do, and when something last came of it.
#[derive(Debug)]
pub(crate) struct Lookout {
    watched: BTreeMap<ChannelKey, Watched>,
    next: Time,
}

/// Why nothing happens.
enum Trouble {
    /// It may be as it should be: a slow peer, a long queue for the slots of a pool.
    Slow(String),
    /// It should not be.
    Stuck(String),
    /// Nothing stands in its way, and yet nobody looks at it.
    Forgotten,
}

impl Lookout {
    pub(crate) fn starting(now: Time) -> Self {
        Self { watched: BTreeMap::new(), next: now.plus(INTERVAL) }
    }

    pub(crate) const fn next(&self) -> Time {
        self.next
    }

    /// The channel has something to do; nothing new if that is known.
    pub(crate) fn watch(&mut self, key: ChannelKey, now: Time) {
        self.watched.entry(key).or_insert(Watched { since: now, tell_after: QUIET_MAX });
    }

    /// Something of the channel has come back. For how long it was in trouble that was told of.
    pub(crate) fn went_on(&mut self, key: ChannelKey, now: Time) -> Option<Duration> {
        let watched = self.watched.get_mut(&key)?;
        let was_told = watched.tell_after > QUIET_MAX;
        let quiet = now.since(watched.since);
        *watched = Watched { since: now, tell_after: QUIET_MAX };
        was_told.then_some(quiet)
    }
}

impl Core {
    /// Looks at the channels that have something to do, when it is time. Costs by those.
    pub(crate) fn look_out(&mut self, now: Time) {
        if now < self.lookout.next || self.stopping.is_some() {
            return;
        }
        self.lookout.next = now.plus(INTERVAL);
        let watched: Vec<(ChannelKey, Watched)> =
            self.lookout.watched.iter().map(|(&key, &watched)| (key, watched)).collect();
        for (key, watched) in watched {
            if !self.has_to_do(key) {
                self.lookout.watched.remove(&key);
                continue;
            }
            let quiet = now.since(watched.since);
            if quiet < watched.tell_after {
                continue;
            }
            let Some(trouble) = self.trouble(key, now) else { continue };
            let channel = self.queues.channel_name(key);
            let quiet_secs = quiet.as_secs();
            match trouble {
                Trouble::Slow(why) => {
                    tracing::info!(%channel, quiet_secs, why, "a channel has something to do and gets nothing done");
                }
                Trouble::Stuck(why) => {
                    tracing::warn!(%channel, quiet_secs, why, "a channel has something to do and gets nothing done");
                }
                Trouble::Forgotten => {
                    tracing::error!(%channel, quiet_secs, "a channel was forgotten; it is looked at again. Please report this");
                    self.agenda.list(key);
                }
            }
            if let Some(watched) = self.lookout.watched.get_mut(&key) {
                watched.tell_after = quiet.saturating_mul(2).min(quiet.saturating_add(REPEAT_MAX));
            }
        }
    }

    /// Something of the channel has come back: a delivery, a poll, an instance.
    pub(crate) fn went_on(&mut self, key: ChannelKey, now: Time) {
        if let Some(quiet) = self.lookout.went_on(key, now) {
            let channel = self.queues.channel_name(key);
            tracing::info!(%channel, quiet_secs = quiet.as_secs(), "a channel gets something done again");
        }
    }

    /// What `channel list` says of a channel that gets nothing done.
    pub(crate) fn stalled(&self, key: ChannelKey, now: Time) -> Option<String> {
        let watched = self.lookout.watched.get(&key)?;
        let quiet = now.since(watched.since);
        if quiet < QUIET_MAX || !self.has_to_do(key) {
            return None;
        }
        let why = match self.trouble(key, now)? {
            Trouble::Slow(why) | Trouble::Stuck(why) => why,
            Trouble::Forgotten => "it was forgotten".to_owned(),
        };
        Some(format!("nothing done for {} s: {why}", quiet.as_secs()))
    }

    /// Whether nothing stands in a channel's way, and yet nobody looks at it. Never so after a round of the loop.
    #[cfg(test)]
    pub(crate) fn is_forgotten(&self, key: ChannelKey, now: Time) -> bool {
        self.has_to_do(key) && matches!(self.trouble(key, now), Some(Trouble::Forgotten))
    }

    fn has_to_do(&self, key: ChannelKey) -> bool {
        let channel = &self.channels[key.index()];
        let runs = !self.is_stopped(key) && channel.policy.as_ref().is_some_and(crate::policy::Policy::runs);
        channel.jobs > 0
            || matches!(channel.runner, RunnerState::Starting)
            || runs && (channel.poll || self.queues.has_ready(key))
    }

    /// Why a channel with something to do gets nothing done; `None` where the log and the channel's state tell it already.
    fn trouble(&self, key: ChannelKey, now: Time) -> Option<Trouble> {
        let channel = &self.channels[key.index()];
        let jobs = channel.jobs;
        if jobs > 0 {
            let untaken = match &channel.runner {
                RunnerState::Running(runner) => runner.untaken(),
                _ => 0,
            };
            return Some(match untaken {
                0 => Trouble::Slow(format!("jobs under way: {jobs}, none of them with a result yet")),
                _ => {
                    Trouble::Stuck(format!("jobs that no worker of the plugin takes up: {untaken} of {jobs}"))
                }
            });
        }
        match &channel.runner {
            RunnerState::Starting => return Some(Trouble::Stuck("its instance is being started".to_owned())),
            RunnerState::Failed(until) if *until > now => return None,
            _ => {}
        }
        if channel.pause_until > now {
            let rest = channel.pause_until.since(now).as_secs();
            return Some(Trouble::Slow(format!("its plugin takes nothing for another {rest} s")));
        }
        if let Some(pool) = self.waits_for_pool(key) {
            return Some(Trouble::Slow(format!("all slots of pool {pool} are taken")));
        }
        Some(Trouble::Forgotten)
    }
}
