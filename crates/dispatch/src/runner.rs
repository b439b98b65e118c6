//! What the dispatcher needs of whoever runs a channel: narrow enough that a test can stand in for a plugin.
//!
//! [`Runners::start`] brings a channel instance to life, on a thread of its own, since a plugin may take its time. The
//! instance then takes lease after lease and tells what happened through [`HostEvent`](sluice_host::HostEvent)s. The
//! real implementation is `plugins`, over the `host` crate.
//!
//! # Invariants
//! Each delivery that an instance has taken is finished exactly once, and each lease done exactly once, whatever becomes
//! of the plugin: that is how the dispatcher gets its entries and its job slots back.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sluice_config::{Channel, Config, Demand, Isolation};
use sluice_host::{Content, Events, Offer, Place, Plugin, PluginOption, Report, Sealed, Seen};
use sluice_spool::Stored;

use crate::conversions;
use crate::pieces;

/// What an instance of a channel is started with. Two that are equal need no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Channel name.
    pub channel: String,
    /// Plugin name, or a path when it has a `/`.
    pub plugin: String,
    /// Facts about the channel and the house: `channel`, `official_host`, `local_host`, `folder`, the folder of the
    /// configuration, where relative paths in option files start, `spool`, the folder of the spool, with `loopcheck` the
    /// [`loop_mark`], for `defragment` the limits of the channels that messages are cut for (`cut_limits`), and for `conversion` what
    /// is to be converted (`conversions`).
    pub facts: BTreeMap<String, String>,
    /// Channel keywords in force, with their arguments joined by one blank.
    pub keywords: BTreeMap<String, String>,
    /// The channel's option file, in its own order.
    pub options: Vec<(String, String)>,
    /// Worker threads: `maxjobs`.
    pub workers: u32,
    /// How long it may keep a delivery.
    pub deadline: Duration,
    /// `isolated`: what the process may have that the plugin runs in. `None`: it runs in the hub.
    pub isolation: Option<Isolation>,
}

impl Instance {
    /// What the configuration says; `None` for a channel without plugin.
    #[must_use]
    pub fn of(channel: &Channel, config: &Config) -> Option<Self> {
        let plugin = channel.plugin.clone()?;
        let local_host = match (&channel.server.banner_host, &channel.local_alias) {
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => config.channels.local().official_host.clone(),
        };
        let facts: [(&str, String); 5] = [
            ("spool", config.options.spool_dir.to_string_lossy().into_owned()),
            ("channel", channel.name.clone()),
            ("official_host", channel.official_host.clone()),
            ("local_host", local_host),
            ("folder", config.folder.to_string_lossy().into_owned()),
        ];
        let mut facts: BTreeMap<String, String> =
            facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut keywords: BTreeMap<String, String> =
            channel.keywords.iter().map(|keyword| (keyword.name().to_owned(), keyword.value())).collect();
        let demand = |demand| match demand {
            Demand::No => "no",
            Demand::May => "may",
            Demand::Must => "must",
        };
        // Several keywords have a say in each, and their order counts.
        facts.insert("tls_client".to_owned(), demand(channel.settings.tls_client).to_owned());
        facts.insert("sasl_client".to_owned(), demand(channel.settings.sasl_client).to_owned());
        if channel.defragments() {
            facts.insert("cut_limits".to_owned(), pieces::cut_limits(config));
        }
        if channel.converts() {
            facts.insert("conversions".to_owned(), conversions::entries(config));
        }
        if channel.has("loopcheck") {
            facts.insert("loop_mark".to_owned(), loop_mark().to_owned());
        }
        // `daemon router` means the official host; the plugin is told whom to call, not how it was written.
        if let Some(peer) = channel.fixed_peer() {
            keywords.insert("daemon".to_owned(), peer.to_owned());
        }
        Some(Self {
            channel: channel.name.clone(),
            plugin,
            facts,
            keywords,
            options: channel.option_file.iter().map(|line| (line.name.clone(), line.value.clone())).collect(),
            workers: channel.settings.max_jobs.max(1),
            deadline: config.options.delivery_deadline,
            isolation: channel.settings.isolated.then(|| channel.isolation.clone()),
        })
    }
}

/// What this hub is known by for as long as it runs: its server says it behind XLOOP, and its clients, where a channel has
/// `loopcheck`, give no mail to a server that says it. Made by chance, so that no copy of a configuration shares it.
#[must_use]
pub fn loop_mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    // Keys of the standard hasher are random for each process.
    MARK.get_or_init(|| format!("{:016X}", RandomState::new().build_hasher().finish()))
}

/// A channel instance that is alive.
pub trait Runner: Send + Sync {
    /// Takes a lease. Called from the dispatcher's thread: it does not wait, does not read the lease, and sends no event.
    ///
    /// # Errors
    /// It takes none now: its queue is full, it rests, or it is stopping. No event comes about the lease then.
    fn offer(&self, offer: Offer) -> Result<(), NotTaken>;
    /// How many leases it has taken that no worker of its has taken up yet.
    fn untaken(&self) -> usize;
    /// Process id of the plugin's own process, where it has one and it runs.
    fn process(&self) -> Option<u32> {
        None
    }
    /// Takes nothing more, lets its workers finish what they hold for at most so long, and ends. Does not wait.
    fn stop(&self, deadline: Duration);
    /// Waits until it can work, for as long as making a channel may take. Not called from the dispatcher's thread.
    ///
    /// # Errors
    /// Why it cannot.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    /// How it is at the moment, where that can be told.
    fn report(&self) -> Option<Report> {
        None
    }
}

/// A generation of a plugin that has been loaded and is not in force yet.
#[derive(Debug, Clone)]
pub struct NextGeneration {
    /// The name that the plugin gives itself.
    pub name: String,
    /// Its number, from 1 on.
    pub generation: u32,
    /// The version that it says it has.
    pub version: String,
    /// The file it was loaded from.
    pub file: String,
    /// The plugin itself, where it lives in this process.
    pub plugin: Option<Arc<Plugin>>,
    /// The copy of its file, for channels with a process of their own; the plugin was made of the same one.
    pub sealed: Option<Arc<Sealed>>,
}

/// A lease was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Why, for the log.
    pub why: String,
    /// How long to wait before the next offer, where the instance knows that.
    pub pause: Duration,
}

/// A plugin as `plugin list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PluginInfo {
    /// The name in the configuration.
    pub name: String,
    /// The file it was loaded from.
    pub file: String,
    /// Its version.
    pub version: String,
    /// Which loading of its file it is, from 1 on; 0 when it is not loaded.
    pub generation: u32,
    /// How many generations are in memory.
    pub generations: usize,
    /// Version of the contract.
    pub abi: u32,
    /// What it says it is.
    pub description: String,
    /// Its options.
    pub options: Vec<PluginOption>,
    /// It sees messages before they are queued.
    pub filter: bool,
    /// What it says that it does, beside what its functions tell.
    pub features: Vec<String>,
    /// Names of the routines that rules may call.
    pub routines: Vec<String>,
    /// Channels whose instances are alive or were asked for.
    pub channels: Vec<String>,
    /// It was loaded for channels with `isolated`, and not into this process.
    pub isolated: bool,
    /// Of those the ones that have a process of their own now, with its id.
    pub processes: Vec<(String, u32)>,
    /// What its file was like when it had the octets that the processes of each of those channels have, in their order. Empty for one that lives in
    /// this process.
    pub opened: Vec<Seen>,
    /// Why it is not loaded.
    pub error: Option<String>,
}

impl PluginInfo {
    /// What a loaded plugin says of itself, under the name by which it was asked for.
    #[must_use]
    pub fn of(plugin: &sluice_host::Plugin, name: &str, channels: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            file: plugin.file().display().to_string(),
            version: plugin.version().to_owned(),
            generation: plugin.generation(),
            generations: plugin.generations(),
            abi: plugin.abi_version(),
            description: plugin.description().to_owned(),
            options: plugin.options().to_vec(),
            filter: plugin.has_filter(),
            features: plugin.features(),
            routines: plugin.routines().to_vec(),
            channels,
            isolated: false,
            processes: Vec::new(),
            opened: Vec::new(),
            error: None,
        }
    }
}

/// Starts channel instances.
pub trait Runners: Send + Sync + 'static {
    /// Brings one to life. May take its time: it is called on a thread of its own.
    ///
    /// # Errors
    /// The whole reason in one line, for the log and for `channel list`.
    fn start(&self, instance: &Instance, events: Events) -> Result<Arc<dyn Runner>, String>;
    /// Loads what is in the file of a plugin now, beside what is loaded; where it is not to run `in_hub`, a process of its own
    /// has a look at it. Nothing is started with it yet. May take its time.
    ///
    /// # Errors
    /// The whole reason in one line; everything is as it was.
    fn load_next(&self, plugin: &str, in_hub: bool) -> Result<NextGeneration, String> {
        let _ = in_hub;
        Err(format!("the plugin {plugin} cannot be loaded anew here"))
    }
    /// [`Runners::start`] with a generation that is not in force yet. It begins to make its channel at once.
    ///
    /// # Errors
    /// As there.
    fn start_next(
        &self,
        instance: &Instance,
        events: Events,
        next: &NextGeneration,
    ) -> Result<Arc<dyn Runner>, String> {
        let _ = next;
        self.start(instance, events)
    }
    /// From now on instances are started with this generation. Called from the dispatcher's thread: it does not wait.
    fn put_in_force(&self, next: &NextGeneration) {
        let _ = next;
    }
    /// What is loaded.
    fn plugins(&self) -> Vec<PluginInfo>;
}

/// A message of the spool, as the host lends it to plugins.
pub(crate) struct StoredContent(pub(crate) Stored);

impl Content for StoredContent {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        self.0.pieces().for_each(take);
    }

    fn places<'a>(&'a self, take: &mut dyn FnMut(Place<'a>)) -> bool {
        let Some(places) = self.0.places() else { return false };
        for (file, path, range) in places {
            take(Place { file, path, offset: range.start as u64, length: (range.end - range.start) as u64 });
        }
        true
    }
}
