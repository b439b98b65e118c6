//! A plugin made anew while the hub runs: its file is loaded beside what is in force, and its channels get new instances.
//!
//! Nothing changes before everything has shown that it works. The new generation is loaded, an instance of each of the plugin's
//! channels is started and has made its channel with the settings that it will have; only then the loop changes them over, in
//! one step. Plugins with processes of their own are no exception: each new process has said that it has its channel. Where one of that fails the new instances are stopped, and the old ones have never noticed.
//!
//! An old instance drains: its workers finish what they hold, and what they have not looked at comes back and is due as
//! before, so that the new one has it at once. Both count as jobs of the channel until the old ones are done, so `maxjobs`
//! is never passed.
//!
//! # Invariants
//! Instances have numbers of their own, which are never used again: news of one that was given up, or is draining, is known as such.
//! # Not here
//! What a generation is and how it is loaded (`host`); a reload of the configuration (`reload`).

use std::sync::Arc;
use std::time::Duration;

use sluice_mail::Time;
use sluice_queue::ChannelKey;

use crate::core::{Core, RunnerState};
use crate::event::Event;
use crate::handle::{Busy, Handle, ask};
use crate::runner::{Instance, NextGeneration, Runner};

/// What a plugin's renewal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// The name that it gives itself.
    pub name: String,
    /// The generation that is in force now.
    pub generation: u32,
    /// The version that it says it has.
    pub version: String,
    /// The file it was loaded from.
    pub file: String,
    /// Its channels, in the order of their names.
    pub channels: Vec<RenewedChannel>,
}

/// A channel whose plugin was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewedChannel {
    /// Its name.
    pub channel: String,
    /// It had an instance, and has another one now. Else it gets one when it has something to do.
    pub had_instance: bool,
    /// Jobs of the old instance that go on until they are done.
    pub draining: u32,
}

/// Why everything stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRenewed {
    /// The dispatcher cannot be asked.
    #[error("the hub is busy, starting or stopping")]
    Busy,
    /// The file is not loaded.
    #[error("{0}")]
    NotLoaded(String),
    /// A channel cannot be made of it.
    #[error("channel {channel} cannot be started with {file}: {why}")]
    NotStarted {
        /// The first such channel.
        channel: String,
        /// The plugin's file.
        file: String,
        /// Why.
        why: String,
    },
}

impl From<Busy> for NotRenewed {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

/// An instance that is to be started beside the one in force.
pub(crate) struct Planned {
    key: ChannelKey,
    number: u64,
    instance: Instance,
}

/// An instance that has made its channel and has had no work yet.
pub(crate) struct Prepared {
    planned: Planned,
    runner: Arc<dyn Runner>,
}

impl Handle {
    /// Loads what is in the file of a plugin now, and has the channels that use it go over to that. `plugins` are the names by
    /// which the configuration has this plugin, and `in_hub` whether it has it for anything but isolated channels; `settings` gives what an instance is to be started with in place of what it
    /// was; `others` tries whatever else is made of the plugin, when the channels are ready and before anything changes; old instances get
    /// `drain` to finish what they hold. Waits until it is done, on the caller's thread; one at a
    /// time, and none while a configuration is being reloaded.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub fn renew(
        &self,
        plugins: &[String],
        in_hub: bool,
        settings: impl Fn(Instance) -> Instance,
        others: impl FnOnce(&NextGeneration) -> Result<(), NotRenewed>,
        drain: Duration,
    ) -> Result<Renewed, NotRenewed> {
        let Some(plugin) = plugins.first() else {
            return Err(NotRenewed::NotLoaded("the configuration has no such plugin".to_owned()));
        };
        let runners = &self.shared.runners;
        let next = runners.load_next(plugin, in_hub).map_err(NotRenewed::NotLoaded)?;
        let names = plugins.to_vec();
        let planned = ask(|done| self.tell(Event::PlanRenewal { plugins: names, done }))?;
        let prepared = self.prepare(planned, settings, others, &next)?;
        let (generation, name) = (next.generation, next.name.clone());
        let (version, file) = (next.version.clone(), next.file.clone());
        let channels = ask(|done| self.tell(Event::Renew { prepared, next, drain, done }))?;
        Ok(Renewed { name, generation, version, file, channels })
    }

    /// Starts what is planned, beside what is in force, and waits until all of it can work. Where one cannot, all are stopped.
    pub(crate) fn prepare(
        &self,
        planned: Vec<Planned>,
        settings: impl Fn(Instance) -> Instance,
        others: impl FnOnce(&NextGeneration) -> Result<(), NotRenewed>,
        next: &NextGeneration,
    ) -> Result<Vec<Prepared>, NotRenewed> {
        let mut prepared = Vec::with_capacity(planned.len());
        let mut refused = None;
        for mut planned in planned {
            planned.instance = settings(planned.instance);
            let (key, generation, inbox) = (planned.key, planned.number, self.shared.inbox.clone());
            let events = Arc::new(move |event| {
                let _ = inbox.send(Event::Host { channel: key, generation, event });
            });
            match self.shared.runners.start_next(&planned.instance, events, next) {
                Ok(runner) => prepared.push(Prepared { planned, runner }),
                Err(why) => {
                    refused = Some((planned.instance.channel, why));
                    break;
                }
            }
        }
        // They make their channels at the same time; here each is waited for.
        let failed =
            prepared.iter().find_map(|one| Some((one.channel().to_owned(), one.runner.ready().err()?)));
        let tried = match refused.or(failed) {
            Some((channel, why)) => Err(NotRenewed::NotStarted { channel, file: next.file.clone(), why }),
            None => others(next),
        };
        if let Err(why) = tried {
            prepared.iter().for_each(|one| one.runner.stop(Duration::ZERO));
            return Err(why);
        }
        Ok(prepared)
    }
}

impl Prepared {
    fn channel(&self) -> &str {
        &self.planned.instance.channel
    }
}

impl Core {
    /// The instances that the channels of a plugin need, in the order of the channels' names.
    pub(crate) fn plan_renewal(&mut self, plugins: &[String]) -> Vec<Planned> {
        let mut planned = Vec::new();
        for key in self.queues.channels() {
            let Some(instance) = self.policy(key).and_then(|policy| policy.instance.clone()) else {
                continue;
            };
            if plugins.contains(&instance.plugin) {
                planned.push(Planned { key, number: self.number(), instance });
            }
        }
        planned.sort_by(|one, other| one.instance.channel.cmp(&other.instance.channel));
        planned
    }

    /// Changes channels over to instances that are ready.
    pub(crate) fn renew(
        &mut self,
        prepared: Vec<Prepared>,
        next: &NextGeneration,
        drain: Duration,
        now: Time,
    ) -> Vec<RenewedChannel> {
        self.shared.runners.put_in_force(next);
        let mut done = Vec::with_capacity(prepared.len());
        for Prepared { planned: Planned { key, number, instance }, runner } in prepared {
            let name = instance.channel.clone();
            let channel = &mut self.channels[key.index()];
            let (had_instance, jobs) =
                (matches!(channel.runner, RunnerState::Running(_) | RunnerState::Starting), channel.jobs);
            let policy = channel.policy.as_mut().filter(|policy| {
                policy.instance.as_ref().is_some_and(|known| known.plugin == instance.plugin)
            });
            let is_ready = runner.report().is_none_or(|report| !report.ended);
            let Some(policy) = policy.filter(|_| self.stopping.is_none() && is_ready) else {
                // It has another plugin by now, or the hub is stopping, or it has ended before it began.
                self.dismiss(key, number, runner);
                continue;
            };
            policy.instance = Some(instance);
            // Whatever was wrong may have been mended.
            channel.failures = 0;
            channel.pause_until = Time(0);
            channel.error = None;
            self.retire_runner(key, drain);
            let channel = &mut self.channels[key.index()];
            if had_instance {
                channel.generation = number;
                channel.runner = RunnerState::Running(runner);
                self.went_on(key, now);
            } else {
                channel.runner = RunnerState::None;
                self.dismiss(key, number, runner);
            }
            self.agenda.list(key);
            let draining = if had_instance { jobs } else { 0 };
            tracing::info!(
                channel = name,
                generation = next.generation,
                draining,
                "the channel's plugin was made anew"
            );
            done.push(RenewedChannel { channel: name, had_instance, draining });
        }
        done
    }

    /// Ends an instance that is not needed.
    fn dismiss(&mut self, key: ChannelKey, number: u64, runner: Arc<dyn Runner>) {
        runner.stop(Duration::ZERO);
        self.draining.insert((key, number), runner);
    }
}
