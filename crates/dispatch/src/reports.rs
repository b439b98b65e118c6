//! What operators see: listings and the state of the channels.

use std::collections::HashMap;
use std::sync::Arc;

use sluice_mail::Time;
use sluice_queue::{EntryView, QueueSummary, Selector};

use crate::core::{Core, RunnerState};
use crate::event::{ChannelReport, ChannelStatus};

/// Queues that the loop looks at in one step: a millisecond or less.
pub(crate) const SUMMARY_STEP: u32 = 2048;

/// One step's worth of queues.
pub(crate) struct SummaryPage {
    pub(crate) queues: Vec<QueueSummary>,
    /// Where to go on.
    pub(crate) next: Option<u32>,
}

impl Core {
    /// Up to `limit` entries that the selector names, all if there is none. A `domain` names its own queues here, not a
    /// fixed peer's whole channel: that would be a surprise in a listing.
    pub(crate) fn list(&self, selector: Option<&Selector>, limit: usize) -> Vec<EntryView> {
        let queues = match selector {
            None => self.queues.all_queues(),
            Some(Selector::Host(domain)) => self.queues.queues_of_domain(domain),
            Some(Selector::Subnet(domain)) => self.queues.queues_of_subnet(domain),
            Some(Selector::Channel(name)) => self
                .queues
                .known_channel(name)
                .map(|key| self.queues.queues_of_channel(key))
                .unwrap_or_default(),
            Some(Selector::Message(id)) => {
                let mut list = self.queues.list_message(*id);
                list.truncate(limit);
                return list;
            }
        };
        self.queues.list(&queues, limit)
    }

    /// What waits, a step from place `from` on. Where a suspension keeps mail that is due, its end is the time of the next attempt.
    pub(crate) fn summaries(&self, from: u32) -> SummaryPage {
        let with_end = |mut queue: QueueSummary| {
            if queue.suspended > 0 {
                let end = self.closed.suspension_of(&queue.domain).and_then(|one| one.until);
                queue.next_due = end.map(|end| queue.next_due.map_or(end, |due| due.max(end)));
            }
            queue
        };
        let (queues, next) = self.queues.summaries_from(from, SUMMARY_STEP);
        SummaryPage { queues: queues.into_iter().map(with_end).collect(), next }
    }

    /// The channels of the configuration in its order, then those that only have mail left.
    pub(crate) fn channel_reports(&self, now: Time) -> Vec<ChannelReport> {
        let mut messages: HashMap<Arc<str>, u64> = HashMap::new();
        for (channel, count) in self.queues.queue_lengths().filter(|(_, count)| *count > 0) {
            match messages.get_mut(channel) {
                Some(messages) => *messages += count,
                None => drop(messages.insert(Arc::clone(channel), count)),
            }
        }
        let configured = self.loaded.config.channels.iter().map(|channel| channel.name.as_str());
        let mut names: Vec<&str> = configured.collect();
        let mut left: Vec<&str> = messages
            .keys()
            .map(|name| &**name)
            .filter(|name| self.loaded.config.channels.by_name(name).is_none())
            .collect();
        left.sort_unstable();
        names.extend(left);
        let count = |name: &str| messages.get(name).copied().unwrap_or(0);
        names.into_iter().map(|name| self.report(name, count(name), now)).collect()
    }

    fn report(&self, name: &str, messages: u64, now: Time) -> ChannelReport {
        let key = self.queues.known_channel(name).filter(|key| key.index() < self.channels.len());
        let channel = key.map(|key| &self.channels[key.index()]);
        let policy = channel.and_then(|channel| channel.policy.as_ref());
        let status = match (channel, policy) {
            (None, _) | (_, None) => ChannelStatus::NotConfigured,
            (_, Some(policy)) if policy.instance.is_none() => ChannelStatus::NoPlugin,
            _ if self.stopping.is_some() || self.closed.is_stopped(name) => ChannelStatus::Stopped,
            (Some(channel), _) => match channel.runner {
                RunnerState::None => ChannelStatus::Idle,
                RunnerState::Starting => ChannelStatus::Starting,
                RunnerState::Running(_) => ChannelStatus::Running,
                RunnerState::Failed(_) => ChannelStatus::Failed,
            },
        };
        ChannelReport {
            name: name.to_owned(),
            official_host: policy.map(|policy| policy.official_host.clone()).unwrap_or_default(),
            plugin: policy
                .and_then(|policy| policy.instance.as_ref())
                .map(|instance| instance.plugin.clone()),
            isolated: policy
                .and_then(|policy| policy.instance.as_ref())
                .is_some_and(|instance| instance.isolation.is_some()),
            process: channel.and_then(|channel| match &channel.runner {
                RunnerState::Running(runner) => runner.process(),
                _ => None,
            }),
            status,
            messages,
            jobs: channel.map_or(0, |channel| channel.jobs),
            max_jobs: policy.map_or(0, |policy| policy.max_jobs),
            pool: policy.map(|policy| policy.pool.clone()).unwrap_or_default(),
            schedule: policy.map(|policy| policy.schedule),
            error: channel.and_then(|channel| channel.error.clone()),
            stopped_since: self.closed.stopped_since(name),
            next_run: key.and_then(|key| self.next_run(key, now)),
            instance: channel.and_then(|channel| match &channel.runner {
                RunnerState::Running(runner) => runner.report(),
                _ => None,
            }),
            draining: key.map_or(0, |key| self.draining.keys().filter(|(of, _)| *of == key).count()),
            stalled: key.and_then(|key| self.stalled(key, now)),
        }
    }
}
