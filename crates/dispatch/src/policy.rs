//! What a channel's keywords mean to the dispatcher: one plain record per channel, made when a configuration is taken up.
//!
//! Everything that decides *when* a channel runs is here and in `schedule`; nothing else of the dispatcher looks at keywords.

use std::sync::Arc;
use std::time::Duration;

use sluice_config::{
    Channel, Config, Copies, Direction, Immediate, NoticeTerms, PerPriority, PostmasterCopies, Timetable,
    Windows,
};
use sluice_mail::{Priority, Time, TransferPriority};
use sluice_queue::{Placement, Then};

use crate::event::Ticket;
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
    /// When it is run beside the periodic services.
    pub(crate) timetable: Option<Arc<Timetable>>,
    /// When its mail is attempted without anybody asking; `None`: always.
    pub(crate) windows: Option<Arc<Windows>>,
    /// Priorities that the periodic service takes.
    pub(crate) periodic: Vec<Priority>,
    /// Least urgent priority that starts a job when it comes in.
    immediate: Priority,
    after: Duration,
    /// How long a date of the sender's is kept; `None` where none is.
    deferred: Option<Duration>,
    /// Octets beyond which a message counts as less urgent.
    priority_limits: PerPriority<Option<u64>>,
    pub(crate) service_all: bool,
    backoff: PerPriority<Vec<Duration>>,
    pub(crate) notices: PerPriority<Vec<Duration>>,
    pub(crate) max_jobs: u32,
    /// Entries and recipients that keep one job busy; more call for another (`filesperjob`, `addrsperjob`).
    pub(crate) per_job: Option<PerJob>,
    pub(crate) pool: String,
    /// Where priorities have pools of their own.
    pub(crate) priority_pools: Option<PerPriority<String>>,
    /// Entries of one message that are due together go in one transaction, of at most so many recipients (`multiple`).
    pub(crate) gathers: Option<u64>,
    /// Deliveries go where the queued host is rewritten to by then.
    pub(crate) connect_canonical: bool,
    pub(crate) thread_depth: usize,
    pub(crate) hold_limit: Option<u32>,
    /// Whatever comes waits for an operator (`hold`).
    pub(crate) holds: bool,
    pub(crate) block_etrn: bool,
    /// What happens to its messages is recorded.
    pub(crate) logging: bool,
    /// Lower case.
    pub(crate) fixed_peer: Option<String>,
    pub(crate) send_post: PostmasterCopies,
    pub(crate) warn_post: PostmasterCopies,
    pub(crate) notice_terms: NoticeTerms,
    /// Bits of `returnenvelope`.
    pub(crate) return_envelope: u32,
    /// What its plugin is started with; `None` when it has none.
    pub(crate) instance: Option<Instance>,
}

impl Policy {
    /// All channels, in their order.
    pub(crate) fn of_all(config: &Config) -> Vec<Self> {
        config.channels.iter().map(|channel| Self::of(channel, config)).collect()
    }

    pub(crate) fn of(channel: &Channel, config: &Config) -> Self {
        let settings = &channel.settings;
        let schedule = match settings.direction {
            // What an operator has released goes, whatever else is written: `hold slave` is customary.
            _ if channel.holds() => Schedule::Immediate,
            Direction::Slave => Schedule::Slave,
            Direction::Master | Direction::Bidirectional if settings.periodic => Schedule::Periodic,
            Direction::Master | Direction::Bidirectional => Schedule::Immediate,
        };
        // SMTP asks its peer by ETRN; any other plugin is what PMDF calls a slave program, if it brings mail in at all.
        let has_peer = settings.send_etrn.is_some() && channel.fixed_peer().is_some();
        let brings = channel.plugin.as_deref().is_some_and(|plugin| plugin != "tcp");
        let asks = (has_peer || brings) && schedule != Schedule::Slave;
        let master = settings.direction == Direction::Master;
        // A pool that no section of the job controller's file describes is the default one (the check warns of it).
        let pool_of = |name: &str| config.pool(name).map_or(sluice_config::DEFAULT_POOL, |pool| &pool.name);
        let pool = pool_of(&settings.pool);
        let own = |name: &Option<String>| pool_of(name.as_deref().unwrap_or(pool)).to_owned();
        let own_pools = &settings.priority_pools;
        let priority_pools = PerPriority {
            urgent: own(&own_pools.urgent),
            normal: own(&own_pools.normal),
            nonurgent: own(&own_pools.nonurgent),
        };
        let has_own = PRIORITIES.iter().any(|&priority| by_priority(own_pools, priority).is_some());
        let (least, most) = settings.periodic_priorities;
        let one_target = !channel.is_smtp() || channel.fixed_peer().is_some();
        let gathers = settings.copies == Copies::Multiple && one_target;
        Self {
            official_host: channel.official_host.clone(),
            schedule,
            polls: asks && (master || schedule == Schedule::Periodic),
            asks,
            period: settings.period.max(1),
            timetable: channel.schedule.clone(),
            windows: channel.windows.clone(),
            periodic: PRIORITIES.into_iter().filter(|one| (most..=least).contains(one)).collect(),
            immediate: match settings.immediate {
                Immediate::Urgent => Priority::Urgent,
                Immediate::Normal => Priority::Normal,
                Immediate::Nonurgent => Priority::Nonurgent,
            },
            after: settings.after,
            deferred: settings.deferred_destination,
            priority_limits: settings.priority_limits,
            service_all: settings.service_all,
            backoff: settings.backoff.clone(),
            notices: settings.notices.clone(),
            max_jobs: settings.max_jobs.max(1),
            per_job: PerJob::of(settings.files_per_job, settings.addrs_per_job),
            pool: pool.to_owned(),
            priority_pools: has_own.then_some(priority_pools),
            gathers: gathers.then_some(settings.addrs_per_file.map_or(u64::MAX, u64::from)),
            connect_canonical: settings.connect_canonical,
            thread_depth: settings.thread_depth.max(1) as usize,
            hold_limit: settings.hold_limit,
            holds: channel.holds(),
            block_etrn: settings.block_etrn,
            logging: settings.logging,
            fixed_peer: channel.fixed_peer().map(str::to_lowercase),
            send_post: settings.send_post,
            warn_post: settings.warn_post,
            notice_terms: settings.notice_terms.clone(),
            return_envelope: settings.return_envelope,
            instance: Instance::of(channel, config),
        }
    }

    /// There is something that could run it.
    pub(crate) fn runs(&self) -> bool {
        self.schedule != Schedule::Slave && self.instance.is_some()
    }

    /// How urgent a message of this size is here (PMDF System Manager's Guide 2.3.4.10): each limit that it is beyond takes
    /// it one step down. The last step, below nonurgent, is the `true`: nothing but the periodic service takes it.
    /// What stays in its class keeps its number.
    pub(crate) fn urgency(&self, priority: TransferPriority, size: u64) -> (TransferPriority, bool) {
        let is_beyond =
            |priority| by_priority(&self.priority_limits, priority).is_some_and(|limit| size > limit);
        let mut class = priority.class();
        if class == Priority::Urgent && is_beyond(Priority::Urgent) {
            class = Priority::Normal;
        }
        if class == Priority::Normal && is_beyond(Priority::Normal) {
            class = Priority::Nonurgent;
        }
        let priority = if class == priority.class() { priority } else { class.into() };
        (priority, class == Priority::Nonurgent && is_beyond(Priority::Nonurgent))
    }

    /// Where a new message waits, and how urgent it is.
    pub(crate) fn at_enqueue(&self, ticket: &Ticket) -> (Placement, TransferPriority) {
        let (priority, is_second_class) = self.urgency(ticket.priority, ticket.size);
        let starts = self.starts_job(priority) && !is_second_class;
        if let Some(until) = self.deferral(ticket) {
            return (
                Placement::Deferred { until, then: self.after_deferral(priority, ticket.size) },
                priority,
            );
        }
        let placement = match starts {
            false => Placement::UntilReleased,
            true if self.after.is_zero() => Placement::Ready,
            true => Placement::At(ticket.arrived.plus(self.after)),
        };
        (placement, priority)
    }

    fn starts_job(&self, priority: TransferPriority) -> bool {
        self.schedule == Schedule::Immediate && priority.class() <= self.immediate
    }

    /// What becomes of mail whose date has come.
    pub(crate) fn after_deferral(&self, priority: TransferPriority, size: u64) -> Then {
        let (priority, is_second_class) = self.urgency(priority, size);
        if self.starts_job(priority) && !is_second_class { Then::Ready } else { Then::UntilReleased }
    }

    /// The date that a message waits for, where this channel or the one it came by keeps such dates. The shorter of
    /// their limits counts.
    fn deferral(&self, ticket: &Ticket) -> Option<Time> {
        let date = ticket.deferred_until?;
        if ticket.promised {
            return Some(date);
        }
        let limit = [self.deferred, ticket.deferred_source].into_iter().flatten().min()?;
        let until = date.min(ticket.arrived.plus(limit));
        (until > ticket.arrived).then_some(until)
    }

    /// The longest time from now that it may have to wait for its next attempt, `step` retries having been planned.
    pub(crate) fn longest_wait(&self, priority: TransferPriority, step: u8) -> Duration {
        let waits = by_priority(&self.backoff, priority.class());
        let planned = waits.get(usize::from(step.saturating_sub(1))).or(waits.last());
        planned.copied().unwrap_or_default().max(self.after)
    }

    /// Where it waits after an attempt that has failed for a passing reason, `step` retries having been used up.
    pub(crate) fn after_failure(&self, priority: TransferPriority, step: u8, now: Time) -> Placement {
        if self.schedule != Schedule::Immediate {
            return Placement::UntilReleased;
        }
        let waits = by_priority(&self.backoff, priority.class());
        match waits.get(usize::from(step)).or(waits.last()) {
            Some(&wait) => Placement::At(now.plus(wait)),
            None => Placement::UntilReleased,
        }
    }
}

/// How much keeps one job busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PerJob {
    /// `filesperjob`; `None`: their number calls for no second job.
    entries: Option<u64>,
    /// `addrsperjob`.
    recipients: Option<u64>,
}

impl PerJob {
    /// `None` when neither keyword is there; then jobs are as many as there is work for.
    fn of(files: Option<u32>, addresses: Option<u32>) -> Option<Self> {
        let per = |value: Option<u32>| value.filter(|value| *value > 0).map(u64::from);
        (files.is_some() || addresses.is_some())
            .then(|| Self { entries: per(files), recipients: per(addresses) })
    }

    /// Entries and recipients that so many jobs have enough to do with. More of either calls for another job: the
    /// larger of the two numbers of jobs counts (PMDF System Manager's Guide 2.3.4.14).
    pub(crate) fn enough_for(&self, jobs: u32) -> (u64, u64) {
        let enough = |per: Option<u64>| per.map_or(u64::MAX, |per| per.saturating_mul(u64::from(jobs)));
        (enough(self.entries), enough(self.recipients))
    }

    /// Entries and recipients of one job, without an end where they do not count.
    pub(crate) fn share(&self) -> (u64, u64) {
        self.enough_for(1)
    }
}

/// Most urgent first.
pub(crate) const PRIORITIES: [Priority; 3] = [Priority::Urgent, Priority::Normal, Priority::Nonurgent];

/// The value for a priority.
pub(crate) const fn by_priority<T>(values: &PerPriority<T>, priority: Priority) -> &T {
    match priority {
        Priority::Urgent => &values.urgent,
        Priority::Normal => &values.normal,
        Priority::Nonurgent => &values.nonurgent,
    }
}
