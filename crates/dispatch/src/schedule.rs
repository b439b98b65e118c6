//! When channels run: periodic services, job slots, leases, and the life of channel instances.
//!
//! A *job* is a lease under way. A channel has at most `maxjobs`, a pool at most its `JOB_LIMIT`; what is above waits in
//! its queue, and nothing fails for being many. Channels take turns at a pool's slots.
//!
//! An instance is started when there is something for it to do, on a thread of its own, since a library may take its
//! time to load. One that cannot be started, or that has ended by itself, is tried again after a pause that doubles;
//! its mail waits, and `channel list` says why.

use std::sync::Arc;
use std::time::Duration;

use sluice_host::{Cause, HostEvent, StopReason};
use sluice_mail::{Outcome, Status, Time};
use sluice_queue::{ChannelKey, Collect, Placement};

use crate::core::{Core, InFlight, Lease, RunnerState};
use crate::desk::{Job, LeaseItem, LeaseJob};
use crate::event::Event;
use crate::policy::Schedule;
use crate::runner::{NotTaken, Runner};

/// Pause after an instance could not be started, or has ended; it doubles with each failure in a row.
const START_PAUSE: Duration = Duration::from_secs(5);
/// Longest such pause: an operator who has mended the plugin does not want to wait longer, nor to restart the hub.
const START_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Pause after so many workers hung that the host gave the instance up. Each try may cost threads that never come back.
const HUNG_PAUSE: Duration = Duration::from_secs(3600);
/// Pause after an instance took no more: it is full, or stopping.
const FULL_PAUSE: Duration = Duration::from_millis(200);

/// The periodic service.
impl Core {
    /// Holds the service when it is time: each channel that takes part in this one gets its waiting mail made due, and
    /// those that poll ask their peer whether or not there is mail.
    pub(crate) fn service(&mut self, now: Time) {
        if now < self.next_service || self.stopping.is_some() {
            return;
        }
        self.next_service = now.plus(self.loaded.config.options.post_interval);
        self.services += 1;
        tracing::debug!(service = self.services, "periodic service");
        for key in self.queues.channels() {
            let Some(policy) = self.policy(key) else { continue };
            if !policy.runs() || !self.services.is_multiple_of(u64::from(policy.period)) {
                continue;
            }
            let (schedule, polls) = (policy.schedule, policy.polls);
            let queues = self.queues.queues_of_channel(key);
            match schedule {
                Schedule::Periodic => self.queues.release(&queues, Collect::Channel(key), now),
                // Mail below the channel's `imm…` priority waits for this; retries may as well take part.
                Schedule::Immediate => self.queues.make_due(&queues, now),
                Schedule::Slave => {}
            }
            self.channels[key.index()].poll |= polls;
        }
    }
}

/// Leases.
impl Core {
    /// Takes leases as long as there are slots and due mail, one per channel and round.
    pub(crate) fn lease(&mut self, now: Time) {
        let keys: Vec<ChannelKey> = self.queues.channels().collect();
        if keys.is_empty() {
            return;
        }
        self.turn = (self.turn + 1) % keys.len();
        loop {
            let mut any = false;
            for offset in 0..keys.len() {
                any |= self.lease_one(keys[(self.turn + offset) % keys.len()], now);
            }
            if !any {
                return;
            }
        }
    }

    /// Takes a lease for a channel, or sees to it that it gets an instance. True when a lease was taken.
    fn lease_one(&mut self, key: ChannelKey, now: Time) -> bool {
        let channel = &self.channels[key.index()];
        let Some(policy) = channel.policy.as_ref().filter(|policy| policy.runs()) else { return false };
        if channel.jobs >= policy.max_jobs || channel.pause_until > now {
            return false;
        }
        if !channel.poll && !self.queues.has_ready(key) {
            return false;
        }
        let runner = match &channel.runner {
            RunnerState::Running(runner) => Arc::clone(runner),
            RunnerState::Starting => return false,
            RunnerState::Failed(until) if *until > now => return false,
            RunnerState::None | RunnerState::Failed(_) => {
                self.start_runner(key, now);
                return false;
            }
        };
        let (depth, pool) = (policy.thread_depth, policy.pool.clone());
        if self.pools.get(&pool).is_some_and(|pool| pool.jobs >= pool.limit) {
            return false;
        }
        let mut taken = Vec::new();
        let queue = self.queues.lease(key, depth, &mut taken, now);
        let poll = std::mem::take(&mut self.channels[key.index()].poll);
        let domain = match queue {
            Some(queue) => Arc::clone(self.queues.queue_names(queue).1),
            None if poll => Arc::from(""),
            None => return false,
        };
        let mut items = Vec::with_capacity(taken.len());
        let mut tokens = Vec::with_capacity(taken.len());
        for entry in taken {
            let token = self.number();
            let record = self.queues.entry(entry);
            let message = self.queues.message(record.message);
            let open = self.queues.open(entry).map(Into::into);
            items.push(LeaseItem { token, id: message.id, at: message.at, attempts: record.attempts, open });
            tokens.push(token);
            let early = record.due().is_none_or(|due| due > now);
            self.deliveries.insert(token, InFlight { entry, early });
        }
        let lease = self.number();
        self.channels[key.index()].jobs += 1;
        self.pools.entry(pool.clone()).or_default().jobs += 1;
        self.leases.insert(lease, Lease { channel: key, pool, poll, tokens });
        let channel = Arc::clone(self.queues.channel_name(key));
        let job = LeaseJob { lease, poll, runner, channel, domain, items, from: key };
        // The desk ends after the dispatcher; were it gone, the entries would stay leased until the next start.
        let _ = self.desk.send(Job::Lease(job));
        true
    }

    fn free_slot(&mut self, lease: u64) -> Option<Lease> {
        let lease = self.leases.remove(&lease)?;
        let jobs = &mut self.channels[lease.channel.index()].jobs;
        *jobs = jobs.saturating_sub(1);
        if let Some(pool) = self.pools.get_mut(&lease.pool) {
            pool.jobs = pool.jobs.saturating_sub(1);
        }
        Some(lease)
    }

    /// A lease that no instance took: its entries are due as before.
    pub(crate) fn lease_returned(
        &mut self,
        lease: u64,
        not_taken: Option<NotTaken>,
        from: ChannelKey,
        now: Time,
    ) {
        let Some(lease) = self.free_slot(lease) else { return };
        for token in lease.tokens {
            if let Some(delivery) = self.deliveries.remove(&token) {
                self.queues.put_back(delivery.entry, Placement::Ready, now);
            }
        }
        if let Some(NotTaken { why, pause }) = not_taken {
            tracing::debug!(channel = %self.queues.channel_name(from), why, ?pause, "an instance did not take a lease");
            let channel = &mut self.channels[from.index()];
            channel.pause_until = channel.pause_until.max(now.plus(pause.max(FULL_PAUSE)));
            channel.poll |= lease.poll;
        }
    }
}

/// Instances.
impl Core {
    fn start_runner(&mut self, key: ChannelKey, now: Time) {
        let name = Arc::clone(self.queues.channel_name(key));
        let channel = &mut self.channels[key.index()];
        let Some(instance) = channel.policy.as_ref().and_then(|policy| policy.instance.clone()) else {
            return;
        };
        channel.generation += 1;
        channel.runner = RunnerState::Starting;
        let generation = channel.generation;
        let (runners, inbox) = (Arc::clone(&self.shared.runners), self.inbox.clone());
        let thread = std::thread::Builder::new().name(format!("start-{name}")).spawn(move || {
            let events_to = inbox.clone();
            let events = Arc::new(move |event| {
                // Fails only when the dispatcher has gone; the journal then says what is still open.
                let _ = events_to.send(Event::Host { channel: key, generation, event });
            });
            let result = runners.start(&instance, events);
            let _ = inbox.send(Event::Started { channel: key, generation, result });
        });
        if let Err(error) = thread {
            self.started(key, generation, Err(format!("no thread to start it on: {error}")), now);
        }
    }

    /// An instance is alive, or could not be started.
    pub(crate) fn started(
        &mut self,
        key: ChannelKey,
        generation: u64,
        result: Result<Arc<dyn Runner>, String>,
        now: Time,
    ) {
        let name = Arc::clone(self.queues.channel_name(key));
        let channel = &mut self.channels[key.index()];
        let is_current = channel.generation == generation && matches!(channel.runner, RunnerState::Starting);
        match result {
            Ok(runner) if is_current && self.stopping.is_none() => {
                tracing::debug!(channel = %name, generation, "channel instance started");
                channel.runner = RunnerState::Running(runner);
            }
            Ok(runner) => {
                let deadline = self.loaded.config.options.delivery_deadline;
                if is_current {
                    channel.runner = RunnerState::None;
                }
                runner.stop(deadline);
                self.draining.insert((key, generation), runner);
            }
            Err(why) if is_current => {
                tracing::error!(channel = %name, why, "channel cannot be started; its mail waits");
                self.failed(key, why, None, now);
            }
            Err(_) => {}
        }
    }

    fn failed(&mut self, key: ChannelKey, why: String, pause: Option<Duration>, now: Time) {
        let channel = &mut self.channels[key.index()];
        let doubled = START_PAUSE.saturating_mul(1 << channel.failures.min(16)).min(START_PAUSE_MAX);
        channel.failures = channel.failures.saturating_add(1);
        channel.runner = RunnerState::Failed(now.plus(pause.unwrap_or(doubled)));
        channel.error = Some(why);
    }

    /// Ends a channel's instance, if there is one; what its workers hold they may finish within the deadline.
    pub(crate) fn retire_runner(&mut self, key: ChannelKey, deadline: Duration) {
        let channel = &mut self.channels[key.index()];
        if let RunnerState::Running(runner) = std::mem::replace(&mut channel.runner, RunnerState::None) {
            runner.stop(deadline);
            self.draining.insert((key, channel.generation), runner);
        }
    }

    /// An instance tells what happened.
    pub(crate) fn host_event(&mut self, key: ChannelKey, generation: u64, event: HostEvent, now: Time) {
        match event {
            HostEvent::Finished { token, outcomes, unsettled, cause, .. } => {
                let channel = &mut self.channels[key.index()];
                if cause == Cause::Done && channel.generation == generation {
                    // Only work that was done says that all is well: a plugin may start and then refuse its settings.
                    channel.failures = 0;
                    channel.error = None;
                }
                self.delivery_finished(token, outcomes, unsettled, &cause, now);
            }
            HostEvent::LeaseDone { lease } => {
                // The host has told of each delivery before this; one that it has not would stay leased for ever.
                for token in self.free_slot(lease).map(|lease| lease.tokens).unwrap_or_default() {
                    if let Some(delivery) = self.deliveries.remove(&token) {
                        tracing::error!(
                            token,
                            "a lease is done but one of its deliveries was not told of; it is due again"
                        );
                        self.queues.put_back(delivery.entry, Placement::Ready, now);
                    }
                }
            }
            HostEvent::WorkerFailed { failure, pause, .. } => {
                let name = Arc::clone(self.queues.channel_name(key));
                tracing::warn!(channel = %name, %failure, ?pause, "a channel's plugin failed; its deliveries are back in the queue");
                let channel = &mut self.channels[key.index()];
                if channel.generation == generation {
                    channel.error = Some(failure.to_string());
                    channel.pause_until = channel.pause_until.max(now.plus(pause));
                }
            }
            HostEvent::Stopped { reason, left_behind, .. } => {
                let name = Arc::clone(self.queues.channel_name(key));
                if left_behind > 0 {
                    tracing::warn!(channel = %name, left_behind, "threads of a channel did not come back");
                }
                self.draining.remove(&(key, generation));
                let channel = &mut self.channels[key.index()];
                let was_running = matches!(channel.runner, RunnerState::Running(_));
                // An instance may end while it is still being announced.
                let was_starting = matches!(channel.runner, RunnerState::Starting);
                if channel.generation != generation || !(was_running || was_starting) {
                    return;
                }
                if reason == StopReason::Asked {
                    channel.runner = RunnerState::None;
                    return;
                }
                let pause = matches!(reason, StopReason::TooManyHung(_)).then_some(HUNG_PAUSE);
                tracing::error!(channel = %name, %reason, "channel stopped; its mail waits");
                self.failed(key, reason.to_string(), pause, now);
            }
        }
    }

    fn delivery_finished(
        &mut self,
        token: u64,
        mut outcomes: Vec<(u32, Outcome)>,
        unsettled: Vec<u32>,
        cause: &Cause,
        now: Time,
    ) {
        let Some(delivery) = self.deliveries.remove(&token) else { return };
        match cause {
            // Nobody has looked at it: as if it had not been leased.
            Cause::NotCreated | Cause::Stopping if outcomes.is_empty() => {
                self.queues.put_back(delivery.entry, Placement::Ready, now);
            }
            Cause::Unusable => self.hold(delivery.entry, &cause.to_string(), now),
            _ => {
                // What nobody said anything of has been tried all the same: if it is this message that the plugin cannot
                // bear, the next one shall have its turn first.
                let status = Status { class: 4, subject: 3, detail: 0 };
                let deferred = |index| {
                    (index, Outcome::Deferred { status, text: cause.to_string(), peer: String::new() })
                };
                outcomes.extend(unsettled.into_iter().map(deferred));
                self.settle(&delivery, outcomes, now);
            }
        }
    }

    /// The stored message cannot be read: it is put on hold, with everything else of it that comes up later.
    pub(crate) fn unreadable(&mut self, token: u64, what: &str, now: Time) {
        if let Some(delivery) = self.deliveries.remove(&token) {
            self.hold(delivery.entry, what, now);
        }
    }
}
