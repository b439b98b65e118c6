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
//! What a generation is and how it is loaded (`host`); a reload of the configuration (`reload`), of which there is here only how
//! the instances that it changes are tried out, and take over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sluice_host::Events;
use sluice_mail::Time;
use sluice_queue::ChannelKey;

use crate::core::{Core, RunnerState};
use crate::event::{Event, Loaded};
use crate::handle::{Busy, Handle, ask};
use crate::policy::Policy;
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
    pub(crate) key: ChannelKey,
    number: u64,
    instance: Instance,
}

/// An instance that has made its channel and has had no work yet.
pub(crate) struct Prepared {
    pub(crate) planned: Planned,
    runner: Arc<dyn Runner>,
}

/// An instance that could not be started, or has not made its channel.
pub(crate) struct NotMade {
    pub(crate) channel: String,
    /// As the configuration names it.
    plugin: String,
    pub(crate) why: String,
}

impl NotMade {
    fn of(instance: &Instance, why: String) -> NotMade {
        NotMade { channel: instance.channel.clone(), plugin: instance.plugin.clone(), why }
    }
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
        let with_settings = |one: Planned| Planned { instance: settings(one.instance), ..one };
        let planned = planned.into_iter().map(with_settings).collect();
        let start = |instance: &Instance, events| self.shared.runners.start_next(instance, events, next);
        let prepared = self.start_all(planned, start).map_err(|NotMade { channel, why, .. }| {
            let file = next.file.clone();
            NotRenewed::NotStarted { channel, file, why }
        })?;
        if let Err(why) = others(next) {
            prepared.iter().for_each(|one| one.runner.stop(Duration::ZERO));
            return Err(why);
        }
        Ok(prepared)
    }

    /// Starts what is planned, beside what is in force, and waits until all of it can work. Where one cannot, all are stopped, and it is
    /// told which one and why.
    pub(crate) fn start_all(
        &self,
        planned: Vec<Planned>,
        start: impl Fn(&Instance, Events) -> Result<Arc<dyn Runner>, String>,
    ) -> Result<Vec<Prepared>, NotMade> {
        let mut prepared: Vec<Prepared> = Vec::with_capacity(planned.len());
        let mut refused = None;
        for planned in planned {
            let (key, generation, inbox) = (planned.key, planned.number, self.shared.inbox.clone());
            let events = Arc::new(move |event| {
                let _ = inbox.send(Event::Host { channel: key, generation, event });
            });
            match start(&planned.instance, events) {
                Ok(runner) => prepared.push(Prepared { planned, runner }),
                Err(why) => {
                    refused = Some(NotMade::of(&planned.instance, why));
                    break;
                }
            }
        }
        // Those that have begun to make their channels do so at the same time; here each is waited for.
        let refused = refused.or_else(|| {
            let failed = |one: &Prepared| Some(NotMade::of(&one.planned.instance, one.runner.ready().err()?));
            prepared.iter().find_map(failed)
        });
        match refused {
            Some(refused) => {
                prepared.iter().for_each(|one| one.runner.stop(Duration::ZERO));
                Err(refused)
            }
            None => Ok(prepared),
        }
    }

    /// Starts the instances that a configuration changes, of the channels that have one that works, beside those in force, and
    /// waits until all of them can work. Waits on the caller's thread; one at a time, and none while a plugin is being renewed.
    ///
    /// # Errors
    /// Which channel could not be made, and why. Nothing has changed.
    pub fn try_out(&self, loaded: &Loaded) -> Result<TriedOut, NotRenewed> {
        let policies = Policy::of_all(&loaded.config);
        let instances = policies.into_iter().filter_map(|policy| policy.instance).collect();
        let planned = ask(|done| self.tell(Event::PlanReload { instances, done }))?;
        let start = |instance: &Instance, events| self.shared.runners.start(instance, events);
        let tried = self.start_all(planned, start).map_err(|NotMade { channel, plugin, why }| {
            NotRenewed::NotStarted { channel, file: plugin, why }
        })?;
        Ok(TriedOut(tried))
    }
}

/// Instances that a configuration is to have when it is in force: they have made their channels, and have had no work yet. Where
/// it is not put in force they end when this is dropped.
#[derive(Default)]
pub struct TriedOut(pub(crate) Vec<Prepared>);

impl std::fmt::Debug for TriedOut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channels = self.0.iter().map(|one| &one.planned.instance.channel);
        out.debug_list().entries(channels).finish()
    }
}

impl Core {
    /// Which of the instances of a new configuration are other ones than those that work, in the order of the channels' names. A
    /// channel that is in trouble is not asked: what is wrong with it may be mended by this very configuration, and it has nothing to lose.
    pub(crate) fn plan_reload(&mut self, instances: Vec<Instance>, now: Time) -> Vec<Planned> {
        let mut wanted: HashMap<String, Instance> =
            instances.into_iter().map(|instance| (instance.channel.clone(), instance)).collect();
        let mut planned = Vec::new();
        for key in self.queues.channels() {
            let Some(instance) = wanted.remove(&**self.queues.channel_name(key)) else { continue };
            let channel = &self.channels[key.index()];
            let works = matches!(channel.runner, RunnerState::Running(_))
                && channel.error.is_none()
                && channel.pause_until <= now;
            let known = channel.policy.as_ref().and_then(|policy| policy.instance.as_ref());
            if works && known.is_some_and(|known| *known != instance) {
                planned.push(Planned { key, number: self.number(), instance });
            }
        }
        planned.sort_by(|one, other| one.instance.channel.cmp(&other.instance.channel));
        planned
    }

    /// Has an instance that was tried out with a configuration take over, now that this is in force; `false` where there is no
    /// use for it any more.
    pub(crate) fn take_over(&mut self, tried: Prepared, drain: Duration, now: Time) -> bool {
        let Prepared { planned: Planned { key, number, instance }, runner } = tried;
        let policy = self.channels[key.index()].policy.as_ref();
        let is_wanted = policy.is_some_and(|policy| policy.instance.as_ref() == Some(&instance));
        let is_ready = runner.report().is_none_or(|report| !report.ended);
        if !is_wanted || !is_ready || self.stopping.is_some() {
            self.dismiss(key, number, runner);
            return false;
        }
        self.retire_runner(key, drain);
        let channel = &mut self.channels[key.index()];
        channel.generation = number;
        channel.runner = RunnerState::Running(runner);
        self.went_on(key, now);
        true
    }

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
