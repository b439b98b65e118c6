//! Channel instances whose plugins run in processes of their own (`isolated`), by the `isolate` crate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sluice_config::Isolation;
use sluice_host::{Events, Host, Offer, OptionKind, PluginOption, Refusal, Sealed, Spec};
use sluice_isolate::{Isolated, Limits, Program};

use crate::desk::chain;
use crate::runner::{NextGeneration, NotTaken, PluginInfo, Runner};

/// An instance of one.
pub(crate) struct Instance(Arc<Isolated>);

impl Instance {
    /// Starts its process and makes its channel there now.
    pub(crate) fn prepare(&self) {
        self.0.prepare();
    }
}

impl Runner for Instance {
    fn offer(&self, offer: Offer) -> Result<(), NotTaken> {
        self.0.offer(offer).map_err(|error| not_taken(error.why))
    }

    fn untaken(&self) -> usize {
        self.0.queued()
    }

    fn process(&self) -> Option<u32> {
        self.0.process()
    }

    fn stop(&self, deadline: Duration) {
        self.0.stop(deadline);
    }

    fn ready(&self) -> Result<(), String> {
        self.0.create_now()
    }
}

/// Why a lease was not taken, in the dispatcher's words.
pub(crate) fn not_taken(why: Refusal) -> NotTaken {
    match why {
        Refusal::Full => NotTaken { why: "its queue is full".to_owned(), pause: Duration::ZERO },
        Refusal::Resting(pause) => NotTaken { why: "it rests after a failure".to_owned(), pause },
        Refusal::Stopped => NotTaken { why: "it is stopping".to_owned(), pause: Duration::ZERO },
    }
}

/// An option as far as the process has told of it.
fn option((name, is_path): &(String, bool)) -> PluginOption {
    let kind = if *is_path { OptionKind::Path } else { OptionKind::Text };
    let (name, help) = (name.clone(), String::new());
    PluginOption { name, kind, range: None, required: false, default: None, help }
}

/// Those that were started, by channel; of several generations the newest.
pub(crate) struct IsolatedChannels {
    all: Mutex<BTreeMap<String, Started>>,
    /// Folders of the hub's own.
    own: Vec<PathBuf>,
}

#[derive(Default)]
struct Started {
    /// The plugin as the configuration names it.
    plugin: String,
    /// Those that may be alive, the newest last: one that is tried at a renewal and refused leaves the one before in force.
    isolated: Vec<Weak<Isolated>>,
    /// How often the channel was started.
    generation: u32,
}

/// The newest that is alive.
fn newest<T>(all: &[Weak<T>]) -> Option<Arc<T>> {
    all.iter().rev().find_map(Weak::upgrade)
}

impl IsolatedChannels {
    pub(crate) fn new(own: Vec<PathBuf>) -> Self {
        Self { all: Mutex::default(), own }
    }

    /// Starts one, with the `next` copy of the plugin or what is in force; where nothing is, that is what is in its file now.
    /// Waits until a first process has looked at the plugin.
    ///
    /// # Errors
    /// The whole reason in one line.
    pub(crate) fn start(
        &self,
        host: &Host,
        plugin: &str,
        next: Option<&Arc<Sealed>>,
        spec: Spec,
        isolation: &Isolation,
        events: &Events,
    ) -> Result<Instance, String> {
        let limits = Limits {
            memory: isolation.memory,
            cpu_percent: isolation.cpu_percent,
            read: isolation.read.clone(),
            write: isolation.write.clone(),
            own: self.own.clone(),
        };
        let channel = spec.channel.clone();
        let program = Program::this_one();
        let isolated = Arc::new(match next {
            Some(next) => Isolated::start_next(host, &program, next, spec, limits, events)?,
            None => Isolated::start(host, &program, plugin, spec, limits, events)?,
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let started = all.entry(channel).or_default();
        plugin.clone_into(&mut started.plugin);
        started.isolated.retain(|one| one.strong_count() > 0);
        started.isolated.push(Arc::downgrade(&isolated));
        started.generation += 1;
        Ok(Instance(isolated))
    }

    /// Has a process look at the file of a plugin.
    ///
    /// # Errors
    /// The whole reason in one line why it cannot be run.
    pub(crate) fn look(&self, host: &Host, plugin: &str) -> Result<NextGeneration, String> {
        let generation = {
            let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            let users = all.values().filter(|started| started.plugin == plugin);
            users.map(|started| started.generation).max().unwrap_or(0) + 1
        };
        let sealed = host.seal_next(plugin).map_err(|error| chain(&error))?;
        let ready = Isolated::look(host, &Program::this_one(), &sealed)?;
        Ok(NextGeneration {
            name: ready.plugin,
            generation,
            version: ready.version,
            file: sealed.file().display().to_string(),
            plugin: None,
            sealed: Some(sealed),
        })
    }

    /// The plugins that run so, each with its channels, and with the processes that there are.
    pub(crate) fn plugins(&self) -> Vec<PluginInfo> {
        let mut rows: Vec<PluginInfo> = Vec::new();
        let channels = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for (channel, started) in channels.iter() {
            let Some(isolated) = newest(&started.isolated) else { continue };
            let (plugin, file) = (isolated.plugin(), isolated.sealed().file().display().to_string());
            let found = rows.iter().position(|row| row.file == file && row.version == plugin.version);
            let at = found.unwrap_or_else(|| {
                rows.push(PluginInfo {
                    name: plugin.plugin.clone(),
                    file,
                    version: plugin.version.clone(),
                    generation: started.generation,
                    generations: 1,
                    abi: plugin.abi,
                    description: plugin.description.clone(),
                    options: plugin.options.iter().map(option).collect(),
                    isolated: true,
                    ..PluginInfo::default()
                });
                rows.len() - 1
            });
            rows[at].channels.push(channel.clone());
            rows[at].opened.push(isolated.sealed().seen());
            rows[at].processes.extend(isolated.process().map(|pid| (channel.clone(), pid)));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_tried_and_refused_hides_nothing() {
        let (in_force, refused) = (Arc::new(1), Arc::new(2));
        let all = [Arc::downgrade(&in_force), Arc::downgrade(&refused)];
        assert_eq!(newest(&all).as_deref(), Some(&2));
        drop(refused);
        assert_eq!(newest(&all).as_deref(), Some(&1));
        drop(in_force);
        assert_eq!(newest(&all), None);
    }
}
