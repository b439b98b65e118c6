//! What a channel's keywords mean to the dispatcher: one plain record per channel, made when a configuration is taken up.
//!
//! Everything that decides *when* a channel runs is here and in `schedule`; nothing else of the dispatcher looks at keywords.

use std::time::Duration;

use sluice_config::{Channel, Config, Direction, Immediate, PerPriority, PostmasterCopies};
use sluice_mail::{Priority, Time};
use sluice_queue::Placement;

use crate::runner::Instance;

/// How a channel is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// When mail comes in, and again after the waits of `backoff`.
    Immediate,
    /// `periodic`: at the periodic service, on release, and when the operator says so.
    Periodic,
    /// `slave`: never by us.
    Slave,
}

/// A channel, as far as the dispatcher is concerned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    pub(crate) official_host: String,
    pub(crate) schedule: Schedule,
    /// The periodic service runs it even with nothing to send, so that the peer is asked for mail.
    pub(crate) polls: bool,
    /// An operator's `#channel` also asks the peer, whatever the schedule.
    pub(crate) asks: bool,
    pub(crate) period: u32,
    /// Least urgent priority that starts a job when it comes in.
    immediate: Priority,
    after: Duration,
    pub(crate) service_all: bool,
    backoff: PerPriority<Vec<Duration>>,
    pub(crate) notices: PerPriority<Vec<Duration>>,
    pub(crate) max_jobs: u32,
    pub(crate) pool: String,
    pub(crate) thread_depth: usize,
    pub(crate) hold_limit: Option<u32>,
    pub(crate) block_etrn: bool,
    /// Lower case.
    pub(crate) fixed_peer: Option<String>,
    pub(crate) send_post: PostmasterCopies,
    pub(crate) warn_post: PostmasterCopies,
    pub(crate) return_address: Option<String>,
    /// What its plugin is started with; `None` when it has none.
    pub(crate) instance: Option<Instance>,
}

impl Policy {
    pub(crate) fn of(channel: &Channel, config: &Config) -> Self {
        let settings = &channel.settings;
        let schedule = match settings.direction {
            Direction::Slave => Schedule::Slave,
            Direction::Master | Direction::Bidirectional if settings.periodic => Schedule::Periodic,
            Direction::Master | Direction::Bidirectional => Schedule::Immediate,
        };
        let asks =
            settings.send_etrn.is_some() && channel.fixed_peer().is_some() && schedule != Schedule::Slave;
        let master = settings.direction == Direction::Master;
        // A pool that no section of the job controller's file describes is the default one (the check warns of it).
        let pool = config.pool(&settings.pool).map_or(sluice_config::DEFAULT_POOL, |pool| &pool.name);
        Self {
            official_host: channel.official_host.clone(),
            schedule,
            polls: asks && (master || schedule == Schedule::Periodic),
            asks,
            period: settings.period.max(1),
            immediate: match settings.immediate {
                Immediate::Urgent => Priority::Urgent,
                Immediate::Normal => Priority::Normal,
                Immediate::Nonurgent => Priority::Nonurgent,
            },
            after: settings.after,
            service_all: settings.service_all,
            backoff: settings.backoff.clone(),
            notices: settings.notices.clone(),
            max_jobs: settings.max_jobs.max(1),
            pool: pool.to_owned(),
            thread_depth: settings.thread_depth.max(1) as usize,
            hold_limit: settings.hold_limit,
            block_etrn: settings.block_etrn,
            fixed_peer: channel.fixed_peer().map(str::to_lowercase),
            send_post: settings.send_post,
            warn_post: settings.warn_post,
            return_address: settings.return_address.clone(),
            instance: Instance::of(channel, config),
        }
    }

    /// There is something that could run it.
    pub(crate) fn runs(&self) -> bool {
        self.schedule != Schedule::Slave && self.instance.is_some()
    }

    /// Where mail of this priority waits when it comes in.
    pub(crate) fn at_enqueue(&self, priority: Priority, arrived: Time) -> Placement {
        if self.schedule != Schedule::Immediate || priority as u8 > self.immediate as u8 {
            return Placement::UntilReleased;
        }
        if self.after.is_zero() { Placement::Ready } else { Placement::At(arrived.plus(self.after)) }
    }

    /// Where it waits after an attempt that has failed for a passing reason, `step` retries having been used up.
    pub(crate) fn after_failure(&self, priority: Priority, step: u8, now: Time) -> Placement {
        if self.schedule != Schedule::Immediate {
            return Placement::UntilReleased;
        }
        let waits = by_priority(&self.backoff, priority);
        match waits.get(usize::from(step)).or(waits.last()) {
            Some(&wait) => Placement::At(now.plus(wait)),
            None => Placement::UntilReleased,
        }
    }
}

/// The value for a priority.
pub(crate) const fn by_priority<T>(values: &PerPriority<T>, priority: Priority) -> &T {
    match priority {
        Priority::Urgent => &values.urgent,
        Priority::Normal => &values.normal,
        Priority::Nonurgent => &values.nonurgent,
    }
}
