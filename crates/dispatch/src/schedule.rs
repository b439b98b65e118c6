//! When channels run: periodic services, job slots, leases, and the life of channel instances.
//!
//! A *job* is a lease under way. A channel has at most `maxjobs`, a pool at most its `JOB_LIMIT`; what is above waits in
//! its queue, and nothing fails for being many. Channels take turns at a pool's slots: whoever finds none free waits in
//! line, and whoever had one goes to the end of it. Who asks for mail goes before: once, whatever number of channels it
//! is on.
//!
//! An instance is started when there is something for it to do, on a thread of its own, since a library may take its
//! time to load. One that cannot be started, or that has ended by itself, is tried again after a pause that doubles;
//! its mail waits, and `channel list` says why.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sluice_config::{PerPriority, waits_for_filter};
use sluice_host::Offer;
use sluice_mail::{Priority, Time};
use sluice_queue::{ChannelKey, Collect, EntryKey, Selector};

use crate::core::{Core, InFlight, Lease, Others, Owners, Pool, RunnerState, Taken};
use crate::desk::{LeaseItem, LeaseJob, NullSender, Share, With};
use crate::event::Event;
use crate::order::{Order, Requester, Via};
use crate::policy::{PRIORITIES, PerJob, Schedule, by_priority};
use crate::record::Promised;
use crate::runner::{NotTaken, Runner};
use crate::runs::Way;

/// Pause after an instance could not be started, or has ended; it doubles with each failure in a row.
const START_PAUSE: Duration = Duration::from_secs(5);
/// Longest such pause: an operator who has mended the plugin does not want to wait longer, nor to restart the hub.
const START_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Pause after an instance took no more: it is full, or stopping.
const FULL_PAUSE: Duration = Duration::from_millis(200);

/// A pool that would do for a job, and the priorities that share it where they have pools of their own.
type WantedPool = (Option<Vec<Priority>>, String);

/// Why a channel is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The service that is held for all channels.
    PeriodicService,
    /// A moment of its own `SCHEDULE`, which is not for the mail of sites that have one.
    OwnSchedule,
}

/// The periodic service.
impl Core {
    /// Holds the service when it is time: each channel that takes part in this one gets its waiting mail made due, and
    /// those that poll ask their peer whether or not there is mail.
    pub(crate) fn service(&mut self, now: Time) {
        if now < self.moments.next_service || self.stopping.is_some() {
            return;
        }
        self.moments.next_service = now.plus(self.loaded.config.options.post_interval);
        self.moments.services += 1;
        tracing::debug!(service = self.moments.services, "periodic service");
        let mut keys: Vec<ChannelKey> =
            self.queues.occupied_channels().chain(self.pollers.iter().copied()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let Some(policy) = self.policy(key) else { continue };
            if self.moments.services.is_multiple_of(u64::from(policy.period)) {
                self.serve(key, Turn::PeriodicService, now);
            }
        }
        self.note_moments(now);
    }

    /// Makes the channel's waiting mail due, as far as windows are open, and has its peer asked if the channel polls.
    pub(crate) fn serve(&mut self, key: ChannelKey, turn: Turn, now: Time) {
        let Some(policy) = self.policy(key).filter(|policy| policy.runs()) else { return };
        if self.is_stopped(key) {
            return;
        }
        let is_open = policy.windows.as_ref().is_none_or(|windows| windows.is_open(now));
        let (schedule, polls) = (policy.schedule, policy.polls && is_open);
        let some = (policy.periodic.len() < PRIORITIES.len()).then(|| policy.periodic.clone());
        let mut queues = self.queues.queues_of_channel(key);
        self.keep_open_windows(&mut queues, now);
        if turn == Turn::OwnSchedule {
            self.keep_without_schedule(&mut queues);
        }
        match schedule {
            Schedule::Periodic | Schedule::Immediate if some.is_some() => {
                self.queues.make_due_of(&queues, &some.unwrap_or_default(), now);
            }
            Schedule::Periodic => {
                let id = self.next_release(now);
                let covered = self.queues.count(&queues);
                let with = self.begin_run(id, &Via::Channel, None, &queues, vec![Collect::Channel(key)], now);
                if covered.messages > 0 {
                    // A service that finds nothing is not worth a record.
                    let name = self.queues.channel_name(key).to_string();
                    let order = Order::new(Selector::Channel(name), Requester::Schedule);
                    self.begin_record(id, &order, covered, &with, now);
                }
            }
            // Mail below the channel's `imm…` priority waits for this; retries may as well take part.
            Schedule::Immediate => self.queues.make_due(&queues, now),
            Schedule::Slave => {}
        }
        if polls {
            self.poll(key);
        }
    }
}

/// Leases.
impl Core {
    /// Takes leases as long as there are slots and due mail, one per channel and turn. Looks at channels in which something
    /// has happened, and at no other.
    pub(crate) fn lease(&mut self, now: Time) {
        let mut looks = 0;
        loop {
            self.list_stirred();
            let (key, slot) = match self.agenda.take() {
                Some(key) => (key, None),
                None => match self.next_at_a_slot() {
                    Some((key, pool)) => (key, Some(pool)),
                    None => break,
                },
            };
            looks += 1;
            if self.lease_one(key, slot.as_deref(), now) {
                self.agenda.list(key);
            }
        }
        self.shared.looks.fetch_add(looks, Ordering::Relaxed);
    }

    /// Lists the channels in which mail has become ready, in that order.
    fn list_stirred(&mut self) {
        for key in self.queues.take_stirred() {
            self.agenda.list(key);
        }
    }

    /// A channel that waits for a slot of a pool where one has become free.
    fn next_at_a_slot(&mut self) -> Option<(ChannelKey, String)> {
        while let Some(name) = self.freed.last() {
            if let Some(key) = self.pools.get_mut(name).and_then(Pool::next) {
                return Some((key, name.clone()));
            }
            self.freed.pop();
        }
        None
    }

    /// The peer of the channel is to be asked for mail.
    pub(crate) fn poll(&mut self, key: ChannelKey) {
        self.channels[key.index()].poll = true;
        self.agenda.list(key);
    }

    /// Takes a lease for a channel, or sees to it that it gets an instance. True when a lease was taken. Where the channel
    /// cannot have one, it is looked at again when what stands in its way has gone. `slot` is the pool in which it has
    /// waited for its turn, which has come.
    fn lease_one(&mut self, key: ChannelKey, slot: Option<&str>, now: Time) -> bool {
        self.queues.tidy_rings(key);
        let channel = &self.channels[key.index()];
        let Some(policy) = channel.policy.as_ref().filter(|policy| policy.runs()) else { return false };
        if self.is_stopped(key) || (!channel.poll && !self.queues.has_ready(key)) {
            return false;
        }
        self.lookout.watch(key, now);
        if channel.jobs >= policy.max_jobs {
            return false;
        }
        if channel.pause_until > now {
            self.agenda.list_at(key, channel.pause_until);
            return false;
        }
        let runner = match &channel.runner {
            RunnerState::Running(runner) => Arc::clone(runner),
            RunnerState::Starting => return false,
            RunnerState::Failed(until) if *until > now => {
                self.agenda.list_at(key, *until);
                return false;
            }
            RunnerState::None | RunnerState::Failed(_) => {
                self.start_runner(key, now);
                return false;
            }
        };
        let (mut depth, gathers, canonical) = (policy.thread_depth, policy.gathers, policy.connect_canonical);
        let logging = policy.logging;
        let null_sender = NullSender::of(policy, &self.loaded);
        if let Some(per_job) = policy.per_job {
            if !self.has_work_for_another(key, per_job) {
                return false;
            }
            depth = depth.min(self.share_of_one(key, per_job));
        }
        let Some((only, pool)) = self.free_pool(key, slot) else { return false };
        let mut taken = Vec::new();
        let queue = self.queues.lease(key, only.as_deref(), depth, &mut taken, now);
        let way = queue.map(|queue| self.way_of(queue)).unwrap_or_default();
        if self.put_back_large(&mut taken, &way, now) {
            return true;
        }
        // Nobody is asked for mail down a connection that he has turned.
        let poll = way.turned.is_none() && std::mem::take(&mut self.channels[key.index()].poll);
        let domain = match queue {
            Some(queue) => Arc::clone(self.queues.queue_names(queue).1),
            None if poll => Arc::from(""),
            None => return false,
        };
        let mut items = Vec::with_capacity(taken.len());
        let mut tokens = Vec::with_capacity(taken.len());
        let mut recipients = 0;
        for entry in taken {
            let token = self.number();
            let others = gathers.and_then(|most| self.gather(entry, most, &way, now));
            let record = self.queues.entry(entry);
            let message = self.queues.message(record.message);
            let open = self.queues.open(entry).map(Into::into);
            let (id, at, attempts) = (message.id, message.at, record.attempts);
            let record = logging.then(Promised::default);
            let delivery = InFlight {
                entry: self.taken(entry, now),
                record: record.clone(),
                wanted: Vec::new(),
                others,
                turned: way.turned,
            };
            recipients += delivery.all().map(|taken| self.recipients_of(taken.entry)).sum::<u64>();
            let with = delivery.others.as_deref().map(|others| self.shares(others));
            let is_suspect = delivery.all().any(|taken| self.crashes.of(taken.entry) > 0);
            items.push(LeaseItem { token, id, at, attempts, is_suspect, open, with, record });
            tokens.push(token);
            self.deliveries.insert(token, delivery);
        }
        let lease = self.number();
        let channel = &mut self.channels[key.index()];
        channel.jobs += 1;
        channel.recipients_leased += recipients;
        self.pools.entry(pool.clone()).or_default().jobs += 1;
        let Way { next_hop, turned } = way;
        let more = turned.is_some_and(|run| self.queues.run_has_ready(run.0, Some(key)));
        self.leases.insert(lease, Lease { channel: key, pool, poll, tokens, recipients, turned });
        let channel = Arc::clone(self.queues.channel_name(key));
        let canonical = canonical.then(|| Arc::clone(&self.loaded));
        let job = LeaseJob { channel, domain, items, canonical, null_sender, next_hop, more_follows: more };
        let reader = self.reader.clone();
        let offer = Offer { lease, poll, read: Box::new(move || reader.deliveries(job)) };
        if let Err(not_taken) = runner.offer(offer) {
            self.lease_returned(lease, not_taken, key, now);
        }
        true
    }

    /// Whether there is more than the jobs of the channel have to do (`filesperjob`, `addrsperjob`). The first job needs
    /// no more than its first message.
    fn has_work_for_another(&self, key: ChannelKey, per_job: PerJob) -> bool {
        let channel = &self.channels[key.index()];
        let (entries, recipients) = per_job.enough_for(channel.jobs);
        if channel.jobs == 0 {
            return true;
        }
        let leased = (self.queues.leased(key) as u64, channel.recipients_leased);
        let left = (entries.saturating_sub(leased.0), recipients.saturating_sub(leased.1));
        let ready = self.queues.count_ready(key, left);
        ready.0 > left.0 || ready.1 > left.1
    }

    /// How many entries are one job's share, so that there is something left for the next.
    fn share_of_one(&self, key: ChannelKey, per_job: PerJob) -> usize {
        let share = per_job.share();
        let (entries, recipients) = self.queues.count_ready(key, share);
        // The count stops behind the first entry that is too much.
        let is_beyond = entries > share.0 || recipients > share.1;
        usize::try_from(entries - u64::from(is_beyond)).unwrap_or(usize::MAX).max(1)
    }

    /// The pool that the channel's next job takes a slot of, and the priorities that the job is for where priorities have
    /// pools of their own. `None` when there is no free slot for anything that is due, or others wait for it: the channel
    /// then stands in line at each pool that would do.
    fn free_pool(&mut self, key: ChannelKey, slot: Option<&str>) -> Option<WantedPool> {
        let wanted = self.wanted_pools(key);
        let is_free = |(_, name): &&WantedPool| {
            let Some(pool) = self.pools.get(name) else { return true };
            pool.jobs < pool.limit && (!pool.has_line() || slot == Some(name.as_str()))
        };
        if let Some(found) = wanted.iter().find(is_free) {
            return Some(found.clone());
        }
        let (party, is_new) = self.queues.next_party(key);
        for (_, name) in wanted {
            if let Some(pool) = self.pools.get_mut(&name) {
                pool.wait(key, party, is_new);
            }
        }
        None
    }

    /// The pools that would do for the channel's next job, best first, each once.
    fn wanted_pools(&self, key: ChannelKey) -> Vec<WantedPool> {
        let Some(policy) = self.policy(key) else { return Vec::new() };
        let due = |pools: &PerPriority<String>| {
            let mut wanted: Vec<WantedPool> = Vec::new();
            for priority in PRIORITIES.into_iter().filter(|&one| self.queues.has_ready_of(key, one)) {
                let name = by_priority(pools, priority);
                match wanted.iter_mut().find(|(_, other)| other == name) {
                    Some((shared, _)) => shared.get_or_insert_default().push(priority),
                    None => wanted.push((Some(vec![priority]), name.clone())),
                }
            }
            wanted
        };
        match policy.priority_pools.as_ref().map(due) {
            Some(due) if !due.is_empty() => due,
            // One pool for all, or nothing is due and the peer is to be asked for mail.
            _ => vec![(None, policy.pool.clone())],
        }
    }

    /// The pool at which the channel stands in line.
    pub(crate) fn waits_for_pool(&self, key: ChannelKey) -> Option<String> {
        let wanted = self.wanted_pools(key).into_iter().map(|(_, name)| name);
        wanted.into_iter().find(|name| self.pools.get(name).is_some_and(|pool| pool.is_waiting(key)))
    }

    /// Takes the other entries of the message on the channel that are due, to go in the same transaction.
    fn gather(&mut self, entry: EntryKey, most: u64, way: &Way, now: Time) -> Option<Box<Others>> {
        // Mail that waits for a filter comes in by itself: its queue says for which.
        let waits = |entry: EntryKey| {
            let (channel, domain) = self.queues.queue_names(self.queues.entry(entry).queue);
            waits_for_filter(self.queues.channel_name(channel), domain)
        };
        if waits(entry) {
            return None;
        }
        let mut siblings = self.queues.due_siblings(entry);
        siblings.retain(|&other| !waits(other));
        siblings.retain(|&other| self.way_of(self.queues.entry(other).queue) == *way);
        siblings.retain(|&other| self.too_large_now(other, now).is_none());
        let mut recipients = self.recipients_of(entry);
        let mut entries = Vec::new();
        for sibling in siblings {
            let more = self.recipients_of(sibling);
            if recipients.saturating_add(more) > most {
                continue;
            }
            recipients += more;
            self.queues.take(sibling, now);
            entries.push(self.taken(sibling, now));
        }
        (!entries.is_empty()).then(|| Box::new(Others { entries, owners: Owners::default() }))
    }

    fn taken(&self, entry: EntryKey, now: Time) -> Taken {
        Taken { entry, early: self.queues.entry(entry).due().is_none_or(|due| due > now) }
    }

    fn recipients_of(&self, entry: EntryKey) -> u64 {
        u64::from(self.queues.entry(entry).recipients.max(1))
    }

    /// What the reader needs to know of the entries that share a delivery.
    fn shares(&self, others: &Others) -> With {
        let share = |taken: &Taken| {
            let domain = Arc::clone(self.queues.queue_names(self.queues.entry(taken.entry).queue).1);
            Share { domain, open: self.queues.open(taken.entry).map(Into::into) }
        };
        With { shares: others.entries.iter().map(share).collect(), owners: Arc::clone(&others.owners) }
    }

    pub(crate) fn free_slot(&mut self, lease: u64) -> Option<Lease> {
        let mut lease = self.leases.remove(&lease)?;
        // One batch of events may hold the end of this job and, before it, the arrival of mail for others: who had the slot
        // stands behind them, or it would have the next one too.
        self.list_stirred();
        self.agenda.list(lease.channel);
        let channel = &mut self.channels[lease.channel.index()];
        channel.recipients_leased = channel.recipients_leased.saturating_sub(lease.recipients);
        let jobs = &mut channel.jobs;
        *jobs = jobs.saturating_sub(1);
        if let Some(pool) = self.pools.get_mut(&lease.pool) {
            pool.jobs = pool.jobs.saturating_sub(1);
            self.freed.push(std::mem::take(&mut lease.pool));
        }
        Some(lease)
    }

    /// A lease that no instance took: its entries are due as before.
    pub(crate) fn lease_returned(
        &mut self,
        lease: u64,
        NotTaken { why, pause }: NotTaken,
        from: ChannelKey,
        now: Time,
    ) {
        let Some(lease) = self.free_slot(lease) else { return };
        for token in &lease.tokens {
            if let Some(delivery) = self.deliveries.remove(token) {
                self.put_back_untried(&delivery, now);
            }
        }
        if let Some(run) = lease.turned {
            // Nobody has touched the connection: the run goes on.
            self.queues.end_turn(run.0, now);
        }
        tracing::debug!(channel = %self.queues.channel_name(from), why, ?pause, "an instance did not take a lease");
        let channel = &mut self.channels[from.index()];
        channel.pause_until = channel.pause_until.max(now.plus(pause.max(FULL_PAUSE)));
        channel.poll |= lease.poll;
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
        let generation = self.number();
        let channel = &mut self.channels[key.index()];
        channel.generation = generation;
        channel.runner = RunnerState::Starting;
        let (runners, inbox) = (Arc::clone(&self.shared.runners), self.inbox.clone());
        let work = move || {
            let events_to = inbox.clone();
            let events = Arc::new(move |event| {
                // Fails only when the dispatcher has gone; the journal then says what is still open.
                let _ = events_to.send(Event::Host { channel: key, generation, event });
            });
            let result = runners.start(&instance, events);
            let _ = inbox.send(Event::Started { channel: key, generation, result });
        };
        if let Err(error) = self.aside.begin(format!("start-{name}"), Box::new(work)) {
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
        self.agenda.list(key);
        if result.is_ok() {
            self.went_on(key, now);
        }
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

    pub(crate) fn failed(&mut self, key: ChannelKey, why: String, pause: Option<Duration>, now: Time) {
        let channel = &mut self.channels[key.index()];
        let doubled = START_PAUSE.saturating_mul(1 << channel.failures.min(16)).min(START_PAUSE_MAX);
        channel.failures = channel.failures.saturating_add(1);
        channel.runner = RunnerState::Failed(now.plus(pause.unwrap_or(doubled)));
        self.leave_runs(key, &why, now);
        self.channels[key.index()].error = Some(why);
        self.agenda.list(key);
    }

    /// Ends a channel's instance, if there is one; what its workers hold they may finish within the deadline.
    pub(crate) fn retire_runner(&mut self, key: ChannelKey, deadline: Duration) {
        self.agenda.list(key);
        let channel = &mut self.channels[key.index()];
        if let RunnerState::Running(runner) = std::mem::replace(&mut channel.runner, RunnerState::None) {
            runner.stop(deadline);
            self.draining.insert((key, channel.generation), runner);
        }
    }
}
