//! What instances of channels tell: deliveries that are back, leases that are done, workers that have failed, the end.
//!
//! Not here: what becomes of each recipient (`settle`), when instances are started and given leases (`schedule`).

use std::sync::Arc;
use std::time::Duration;

use sluice_host::{Cause, HostEvent, StopReason};
use sluice_mail::{Outcome, Status, Time};
use sluice_queue::{ChannelKey, Placement};

use crate::core::{Core, InFlight, RunnerState};

/// Pause after so many workers hung that the host gave the instance up. Each try may cost threads that never come back.
const HUNG_PAUSE: Duration = Duration::from_secs(3600);

impl Core {
    /// An instance tells what happened.
    pub(crate) fn host_event(&mut self, key: ChannelKey, generation: u64, event: HostEvent, now: Time) {
        match event {
            HostEvent::Finished { token, lease, outcomes, unsettled, cause, lease_done } => {
                self.went_on(key, now);
                let channel = &mut self.channels[key.index()];
                if cause == Cause::Done && channel.generation == generation {
                    // Only work that was done says that all is well: a plugin may start and then refuse its settings.
                    channel.failures = 0;
                    if outcomes.is_empty() {
                        self.said_nothing(key, now);
                    } else {
                        channel.error = None;
                        channel.mute.spoke();
                    }
                }
                self.delivery_finished(token, outcomes, unsettled, &cause, now);
                if lease_done {
                    self.lease_done(lease, now);
                }
            }
            HostEvent::LeaseDone { lease } => {
                self.went_on(key, now);
                self.lease_done(lease, now);
            }
            HostEvent::WorkerFailed { failure, pause, .. } => {
                let name = Arc::clone(self.queues.channel_name(key));
                tracing::warn!(channel = %name, %failure, ?pause, "a channel's plugin failed; its deliveries are back in the queue");
                let channel = &mut self.channels[key.index()];
                // An old one may fail while it is being stopped, which is no reason for the next one to rest.
                let lives = matches!(channel.runner, RunnerState::Running(_) | RunnerState::Starting);
                if channel.generation == generation && lives {
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
                    self.agenda.list(key);
                    return;
                }
                let pause = matches!(reason, StopReason::TooManyHung(_)).then_some(HUNG_PAUSE);
                tracing::error!(channel = %name, %reason, "channel stopped; its mail waits");
                self.failed(key, reason.to_string(), pause, now);
            }
        }
    }

    /// A plugin has given a delivery back, and said nothing of anybody.
    fn said_nothing(&mut self, key: ChannelKey, now: Time) {
        let channel = &mut self.channels[key.index()];
        // What comes back while it rests does not say that all is well again.
        if channel.pause_until <= now {
            channel.error = None;
        }
        let Some(rest) = channel.mute.said_nothing(channel.pause_until, now) else { return };
        channel.pause_until = now.plus(rest);
        let error = "its plugin gives deliveries back without a word about any recipient";
        channel.error = Some(error.to_owned());
        let name = self.queues.channel_name(key);
        tracing::warn!(channel = %name, rest_secs = rest.as_secs(), "a channel rests: {error}");
    }

    /// All of a lease has come back.
    fn lease_done(&mut self, lease: u64, now: Time) {
        // The host has told of each delivery before this; one that it has not would stay leased for ever.
        let lease = self.free_slot(lease);
        for token in lease.iter().flat_map(|lease| &lease.tokens) {
            if let Some(delivery) = self.deliveries.remove(token) {
                tracing::error!(
                    token,
                    "a lease is done but one of its deliveries was not told of; it is due again"
                );
                self.put_back_untried(&delivery, now);
            }
        }
        if let Some(lease) = lease {
            self.turned_lease_over(&lease, now);
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
        if *cause == Cause::Done {
            // It has been through the plugin's hands, and nobody died of it.
            delivery.all().for_each(|taken| self.crashes.forget(taken.entry));
        }
        match cause {
            // Nobody has looked at it: as if it had not been leased.
            Cause::NotCreated | Cause::Stopping if outcomes.is_empty() => {
                self.put_back_untried(&delivery, now);
            }
            Cause::Crashed { alone, how } => self.crashed(&delivery, outcomes, unsettled, (*alone, how), now),
            Cause::Unusable => self.hold_all(&delivery, &cause.to_string(), now),
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
            self.hold_all(&delivery, what, now);
        }
    }

    pub(crate) fn hold_all(&mut self, delivery: &InFlight, why: &str, now: Time) {
        delivery.all().for_each(|taken| self.hold(taken.entry, why, now));
    }

    /// Nobody has tried it: it is due as before.
    pub(crate) fn put_back_untried(&mut self, delivery: &InFlight, now: Time) {
        for taken in delivery.all() {
            if !self.grant_wish(taken.entry, now) {
                self.queues.put_back(taken.entry, Placement::Ready, now);
            }
        }
    }
}
