//! Channel instances for real: plugins loaded by the `host` crate.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice_config::Isolation;
use sluice_host::{Events, Host, Offer, Report, Sealed, Setting, Spec};

use crate::desk::chain;
use crate::isolated::{Instance as Isolated, IsolatedChannels, not_taken};
use crate::runner::{Instance, NextGeneration, NotTaken, PluginInfo, Runner, Runners};

/// Starts plugins.
pub struct Plugins {
    host: Host,
    /// What channels asked for: plugin name, and why it could not be loaded.
    asked: Mutex<HashMap<String, Asked>>,
    isolated: IsolatedChannels,
}

#[derive(Default)]
struct Asked {
    channels: BTreeMap<String, ()>,
    place: PathBuf,
    error: Option<String>,
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Plugins").field("folders", &self.host.folders()).finish_non_exhaustive()
    }
}

impl Plugins {
    /// Plugins that this host finds. Of the folders `own`, the hub's, nothing is opened to a process of a plugin whose
    /// option names a path above them that is not there.
    #[must_use]
    pub fn new(host: Host, own: Vec<PathBuf>) -> Self {
        Self { host, asked: Mutex::new(HashMap::new()), isolated: IsolatedChannels::new(own) }
    }
}

struct Plugin(sluice_host::Instance);

impl Runner for Plugin {
    fn offer(&self, offer: Offer) -> Result<(), NotTaken> {
        self.0.offer(offer).map_err(|error| not_taken(error.why))
    }

    fn untaken(&self) -> usize {
        self.0.queued()
    }

    fn stop(&self, deadline: Duration) {
        self.0.stop(deadline);
    }

    fn ready(&self) -> Result<(), String> {
        self.0.create_now()
    }

    fn report(&self) -> Option<Report> {
        Some(self.0.report())
    }
}

impl Plugins {
    /// An instance of a plugin that is loaded.
    fn instance(&self, plugin: Arc<sluice_host::Plugin>, instance: &Instance, events: Events) -> Plugin {
        Plugin(sluice_host::Instance::start(&self.host, plugin, spec_of(instance), events))
    }

    /// An instance with a process of its own.
    fn isolated(
        &self,
        instance: &Instance,
        isolation: &Isolation,
        events: &Events,
        next: Option<&Arc<Sealed>>,
    ) -> Result<Isolated, String> {
        let plugin = &instance.plugin;
        self.isolated.start(&self.host, plugin, next, spec_of(instance), isolation, events)
    }
}

/// How the host is to run it.
fn spec_of(instance: &Instance) -> Spec {
    let facts = instance.facts.iter().map(|(name, value)| Setting::fact(name, value));
    let keywords = instance.keywords.iter().map(|(name, value)| Setting::keyword(name, value));
    let options = instance.options.iter().map(|(name, value)| Setting::option(name, value));
    let mut spec = Spec::new(&instance.channel, facts.chain(keywords).chain(options).collect());
    spec.max_workers = instance.workers;
    // One lease per job, and a poll that may come beside them.
    spec.queue_bound = instance.workers as usize + 1;
    spec.deadline = instance.deadline;
    spec
}

impl Runners for Plugins {
    fn start(&self, instance: &Instance, events: Events) -> Result<Arc<dyn Runner>, String> {
        if let Some(isolation) = &instance.isolation {
            return Ok(Arc::new(self.isolated(instance, isolation, &events, None)?));
        }
        let loaded = self.host.load(&instance.plugin);
        if let Ok(mut asked) = self.asked.lock() {
            let asked = asked.entry(instance.plugin.clone()).or_default();
            asked.channels.insert(instance.channel.clone(), ());
            asked.error = loaded.as_ref().err().map(|error| chain(error));
            asked.place = loaded.as_ref().map_or_else(|_| PathBuf::new(), |plugin| plugin.place());
        }
        let plugin = loaded.map_err(|error| chain(&error))?;
        Ok(Arc::new(self.instance(plugin, instance, events)))
    }

    fn load_next(&self, plugin: &str, in_hub: bool) -> Result<NextGeneration, String> {
        if !in_hub {
            return self.isolated.look(&self.host, plugin);
        }
        let plugin = self.host.load_next(plugin).map_err(|error| chain(&error))?;
        Ok(NextGeneration {
            name: plugin.name().to_owned(),
            generation: plugin.generation(),
            version: plugin.version().to_owned(),
            file: plugin.file().display().to_string(),
            sealed: Some(plugin.sealed().clone()),
            plugin: Some(plugin),
        })
    }

    fn start_next(
        &self,
        instance: &Instance,
        events: Events,
        next: &NextGeneration,
    ) -> Result<Arc<dyn Runner>, String> {
        if let Some(isolation) = &instance.isolation {
            let isolated = self.isolated(instance, isolation, &events, next.sealed.as_ref())?;
            isolated.prepare();
            return Ok(Arc::new(isolated));
        }
        let Some(plugin) = next.plugin.clone() else {
            return self.start(instance, events);
        };
        let instance = self.instance(plugin, instance, events);
        instance.0.prepare();
        Ok(Arc::new(instance))
    }

    fn put_in_force(&self, next: &NextGeneration) {
        if let Some(plugin) = &next.plugin {
            self.host.put_in_force(plugin);
        } else if let Some(sealed) = &next.sealed {
            self.host.put_sealed_in_force(sealed);
        }
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        let loaded = self.host.loaded();
        let Ok(asked) = self.asked.lock() else { return Vec::new() };
        let mut rows: Vec<PluginInfo> = loaded
            .iter()
            .map(|plugin| {
                let place = plugin.place();
                let users = asked.values().filter(|asked| asked.place == place);
                let mut channels: Vec<String> =
                    users.flat_map(|asked| asked.channels.keys().cloned()).collect();
                channels.sort_unstable();
                PluginInfo::of(plugin, plugin.name(), channels)
            })
            .collect();
        for (name, asked) in asked.iter().filter(|(_, asked)| asked.error.is_some()) {
            rows.push(PluginInfo {
                name: name.clone(),
                channels: asked.channels.keys().cloned().collect(),
                error: asked.error.clone(),
                ..PluginInfo::default()
            });
        }
        rows.extend(self.isolated.plugins());
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }
}
