//! Taking up a configuration: at start, and again whenever the operator says so.
//!
//! Mail stays where it is. Channels that have gone keep theirs, and show as not configured. An instance whose settings have changed
//! finishes what it holds, while a new one takes over; one whose settings are the same goes on. Where a channel's instance works, the new
//! one was tried out before (`renew`), and takes over in this step; else it is started when there is something to do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sluice_config::Config;
use sluice_mail::Time;
use sluice_queue::{ChannelKey, Placement, QueueKey, State};

use crate::core::{Core, RunnerState};
use crate::event::Loaded;
use crate::order::Requester;
use crate::policy::{Policy, Schedule};
use crate::records::Kept;
use crate::renew::Prepared;
use crate::sites::SitePlan;

/// How many records of releases a configuration wants kept.
pub(crate) fn kept_records(config: &Config) -> Kept {
    let number = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let options = &config.options;
    Kept { newest: number(options.release_records), of_site: number(options.release_records_per_site) }
}

impl Core {
    /// Puts a configuration in force; `policies` are those of its channels, in their order, and `tried` the instances that were tried out for
    /// it.
    pub(crate) fn reload(
        &mut self,
        loaded: Arc<Loaded>,
        policies: Vec<Policy>,
        tried: Vec<Prepared>,
        now: Time,
    ) {
        let mut tried: HashMap<ChannelKey, Prepared> =
            tried.into_iter().map(|one| (one.planned.key, one)).collect();
        let config = Arc::clone(&loaded.config);
        self.loaded = Arc::clone(&loaded);
        self.shared.loaded.store(loaded);
        let keys: Vec<ChannelKey> = config.channels.iter().map(|one| self.channel(&one.name)).collect();
        let mut new = vec![None; self.channels.len()];
        for (key, policy) in keys.into_iter().zip(policies) {
            new[key.index()] = Some(policy);
        }
        for pool in self.pools.values_mut() {
            pool.limit = 0;
        }
        for pool in &config.pools {
            self.pools.entry(pool.name.clone()).or_default().limit = pool.job_limit.max(1);
        }
        // Whoever waits looks again whether it does, and where.
        self.freed.clear();
        for pool in self.pools.values_mut() {
            pool.send_away();
        }
        // What the schedules in force until now had to do is done, or is done now by the new ones.
        self.reckon_moments(now);
        let had_sizes = self.sites.has_sizes();
        self.sites = SitePlan::of(&config);
        for key in self.queues.channels() {
            let policy = new.get_mut(key.index()).and_then(Option::take);
            self.change(key, policy, tried.remove(&key), now);
            self.agenda.list(key);
        }
        self.know_channels();
        self.order_queues(had_sizes);
        self.know_timed_channels();
        self.queues.set_grace(config.options.release_grace);
        self.records.set_kept(kept_records(&config));
        // The next periodic service is not put off by a reload, but may come sooner.
        self.moments.next_service = self.moments.next_service.min(now.plus(config.options.post_interval));
    }

    /// Finds out once what releases and services ask of the channels each time.
    pub(crate) fn know_channels(&mut self) {
        self.peers.clear();
        let (mut pollers, mut operators, mut peers_etrn) = (Vec::new(), Vec::new(), Vec::new());
        for key in self.queues.channels() {
            let Some(policy) = self.policy(key) else { continue };
            if policy.polls {
                pollers.push(key);
            }
            if !self.is_stopped(key) && self.may_run(key, &Requester::Operator) {
                operators.push(key);
                if !policy.block_etrn && !self.is_local(key) {
                    peers_etrn.push(key);
                }
            }
            if let Some(peer) = policy.fixed_peer.clone() {
                self.peers.entry(peer).or_default().push(key);
            }
        }
        self.pollers = pollers;
        self.runnable = [operators.into(), peers_etrn.into()];
    }

    fn change(&mut self, key: ChannelKey, policy: Option<Policy>, tried: Option<Prepared>, now: Time) {
        let channel = &mut self.channels[key.index()];
        let old = std::mem::replace(&mut channel.policy, policy);
        let instance = |policy: &Option<Policy>| policy.as_ref().and_then(|policy| policy.instance.clone());
        let is_same = instance(&old) == instance(&channel.policy);
        let schedule = |policy: &Option<Policy>| policy.as_ref().map(|policy| policy.schedule);
        let becomes_immediate = schedule(&channel.policy) == Some(Schedule::Immediate)
            && schedule(&old) != Some(Schedule::Immediate);
        // Whatever was wrong may have been mended, here or in the plugin's file.
        channel.failures = 0;
        channel.pause_until = Time(0);
        if matches!(channel.runner, RunnerState::Failed(_)) {
            channel.runner = RunnerState::None;
        }
        if !is_same {
            channel.error = None;
        }
        let drain = self.loaded.config.options.delivery_deadline;
        let has_new = tried.is_some_and(|tried| self.take_over(tried, drain, now));
        if !is_same && !has_new {
            match self.channels[key.index()].runner {
                // The one being started has the old settings: it is stopped when it comes.
                RunnerState::Starting => {
                    let number = self.number();
                    let channel = &mut self.channels[key.index()];
                    channel.generation = number;
                    channel.runner = RunnerState::None;
                }
                _ => self.retire_runner(key, drain),
            }
        }
        if becomes_immediate && old.is_some() {
            // What waited for a release waits for nothing any more, or for its window. Both are in order.
            let all = self.queues.queues_of_channel(key);
            let mut open = all.clone();
            self.keep_open_windows(&mut open, now);
            self.queues.make_due(&open, now);
            if open.len() < all.len() {
                let closed = all.into_iter().filter(|queue| open.binary_search(queue).is_err()).collect();
                self.wait_for_windows(&closed, now);
            }
        }
    }

    /// Has what waits for a release in these queues wait for its window instead.
    fn wait_for_windows(&mut self, queues: &HashSet<QueueKey>, now: Time) {
        let mut waiting = Vec::new();
        self.queues.walk(0, u32::MAX, |key, entry, _| {
            if entry.due().is_none() && queues.contains(&entry.queue) {
                waiting.push(key);
            }
        });
        waiting.retain(|&key| self.queues.state(key) == State::Delayed);
        for key in waiting {
            let entry = self.queues.entry(key);
            let (channel, domain) = self.queues.queue_names(entry.queue);
            let queue = (&**self.queues.channel_name(channel), &**domain);
            let size = self.queues.message(entry.message).size;
            let placement = self.within_window(queue, size, Placement::Ready, Duration::ZERO, now);
            self.queues.put_back(key, placement, now);
        }
    }

    /// A release says that the channel is wanted: pauses end.
    pub(crate) fn wake_channel(&mut self, key: ChannelKey) {
        self.agenda.list(key);
        let channel = &mut self.channels[key.index()];
        if let RunnerState::Failed(until) = &mut channel.runner {
            *until = Time(0);
        }
    }
}
