//! Rows about one plugin: what it is, what it does at the moment, and what came of making it anew.

use serde::{Deserialize, Serialize};

/// Everything known of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginDetails {
    /// The name that the configuration uses.
    pub plugin: String,
    /// The shared library it came from.
    pub file: String,
    /// Its own version.
    pub version: String,
    /// What it says of itself.
    pub description: String,
    /// The version of the contract that it was built for.
    pub abi: u32,
    /// Which loading of its file is in force, from 1 on; 0 when none is.
    pub generation: u32,
    /// How many loadings are in memory, where they stay.
    pub generations: usize,
    /// The options it takes.
    pub options: Vec<PluginOptionRow>,
    /// It sees messages before they are queued.
    pub filter: bool,
    /// What of the contract it says that it uses, by name: `enqueue`, `poll`, …
    pub features: Vec<String>,
    /// The routines that rules and tables may call.
    pub routines: Vec<String>,
    /// The channels that use it.
    pub channels: Vec<PluginChannel>,
    /// Why it cannot be loaded; most fields above are then empty.
    pub error: Option<String>,
}

/// One option of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginOptionRow {
    /// Its name.
    pub option: String,
    /// What its value must be, with its bounds.
    pub value: String,
    /// A channel cannot do without it.
    pub required: bool,
    /// What an absent line means.
    pub default: Option<String>,
    /// For the operator.
    pub help: String,
}

/// What a plugin does for one channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginChannel {
    /// Its name.
    pub channel: String,
    /// As in `channel-list`; `null` without a running hub.
    pub status: Option<String>,
    /// The plugin has a process of its own for it.
    #[serde(default)]
    pub isolated: bool,
    /// The id of that process, while there is one.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The generation that it runs; 0 when it has no instance.
    pub generation: u32,
    /// Old instances that finish what they hold.
    pub draining: usize,
    /// Worker threads.
    pub workers: usize,
    /// Jobs under way.
    pub jobs: u32,
    /// Most jobs at once.
    pub max_jobs: u32,
    /// Threads that were given up and have not come back.
    pub hung: u32,
    /// Seconds for which it rests after a failure.
    pub rest_secs: f64,
    /// Failures since its instance was made.
    pub failures: u64,
    /// What went wrong last.
    pub error: Option<String>,
}

/// A plugin that was made anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginReloaded {
    /// The name that the configuration uses, which may be a path.
    pub plugin: String,
    /// The name that the plugin gives itself.
    pub name: String,
    /// The shared library it came from.
    pub file: String,
    /// Its own version.
    pub version: String,
    /// The generation that is in force now.
    pub generation: u32,
    /// The one that was before; the same when the file was the same.
    pub before: u32,
    /// Its channels.
    pub channels: Vec<ReloadedChannel>,
    /// What the operator should know of it.
    pub remarks: Vec<String>,
}

/// A channel whose plugin was made anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadedChannel {
    /// Its name.
    pub channel: String,
    /// It had an instance, and has another one now.
    pub had_instance: bool,
    /// Jobs of the old instance that go on until they are done.
    pub draining: u32,
}
