//! The plugins of a configuration by their names, and how one of them is made anew.
//!
//! A new file is tried in a process of its own first: loading a library runs its initialisers, and a library that is broken inside
//! may end the process that loads it. Then the dispatcher loads it and changes the channels over, with the settings that
//! their option files have now.
//!
//! With `WATCH_PLUGINS=1` a thread looks at the files of the plugins that are loaded, or that processes of isolated channels have, and makes those anew that have
//! changed. It goes by their times and sizes, which is as good as being told by the kernel and works on every file
//! system; two looks that say the same mean that nobody writes to the file at the moment.
//!
//! # Not here
//! Loading (`host`), changing over (`dispatch`), the commands (`commands`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sluice_config::Config;
use sluice_diag::nearest;
use sluice_dispatch::{Instance, NextGeneration, NotRenewed, PluginInfo, Renewed, RenewedChannel};
use sluice_host::{FileState, Host, Seen};

use crate::exit::{Exit, Failure};
use crate::hub::{self, Hub};
use crate::load;
use crate::routines::is_named;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a process may take to try a file.
const TRIAL: Duration = Duration::from_secs(10);
/// How often is looked whether it has ended.
const TRIAL_LOOK: Duration = Duration::from_millis(5);
/// Most bytes of what it says that are passed on.
const SAID_MAX: usize = 4096;
/// How long is waited for it when the process has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What its command is called.
pub(crate) const TRIAL_COMMAND: &str = "try-load";

/// No plugin of the configuration is called so.
pub(crate) struct Unknown {
    /// What may have been meant.
    pub(crate) nearest: Vec<String>,
}

/// What making a plugin anew came to.
pub(crate) struct Reloaded {
    pub(crate) renewed: Renewed,
    /// The generation that was in force before; 0 when there was none.
    pub(crate) before: u32,
    /// What the operator should know.
    pub(crate) remarks: Vec<String>,
}

/// Every name by which the configuration has a plugin.
fn names(config: &Config) -> BTreeSet<&String> {
    let of_channels = config.channels.iter().filter_map(|channel| channel.plugin.as_ref());
    let filters = config.filters.iter().map(|filter| &filter.options.plugin);
    of_channels.chain(&config.options.routine_plugins).chain(filters).collect()
}

/// The name in the configuration of the plugin that somebody calls `asked`.
pub(crate) fn named(config: &Config, asked: &str) -> Result<String, Unknown> {
    let names = names(config);
    if let Some(name) = names.iter().find(|name| is_named(name, asked)) {
        return Ok((*name).clone());
    }
    // A file, written in another way.
    let same = |name: &&&String| name.contains('/') && same_file(Path::new(name), Path::new(asked));
    if let Some(name) = names.iter().find(same) {
        return Ok((*name).clone());
    }
    let near = nearest(asked, names.iter().map(|name| name.as_str()));
    Err(Unknown { nearest: near.into_iter().map(str::to_owned).collect() })
}

fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// All names by which the configuration has the plugin that it calls `name`, that one first.
pub(crate) fn of_same_file(host: &Host, config: &Config, name: &str) -> Vec<String> {
    let place = host.place(name).ok();
    let others = names(config)
        .into_iter()
        .filter(|other| *other != name && place.is_some() && host.place(other).ok() == place);
    std::iter::once(name.to_owned()).chain(others.cloned()).collect()
}

/// Whether the configuration has a plugin, under any of its names, for anything but isolated channels.
fn runs_in_hub(config: &Config, users: &[String]) -> bool {
    let inside = config.channels.iter().filter(|channel| !channel.settings.isolated);
    let of_channels = inside.filter_map(|channel| channel.plugin.as_ref());
    let filters = config.filters.iter().map(|filter| &filter.options.plugin);
    let mut others = of_channels.chain(&config.options.routine_plugins).chain(filters);
    others.any(|name| users.contains(name))
}

/// A plugin, loaded if it was not yet.
pub(crate) fn looked_at(host: &Host, name: &str, channels: Vec<String>) -> PluginInfo {
    match host.load(name) {
        Ok(plugin) => PluginInfo::of(&plugin, name, channels),
        Err(error) => {
            let error = anyhow::Error::new(error);
            PluginInfo {
                name: name.to_owned(),
                channels,
                error: Some(format!("{error:#}")),
                ..PluginInfo::default()
            }
        }
    }
}

/// Makes the plugin that the configuration calls `name` anew. What its channels hold in delivery gets `drain`, or the time
/// that deliveries have anyway. Waits until it is done.
///
/// # Errors
/// Why everything is as it was.
pub(crate) fn reload(hub: &Hub, name: &str, drain: Option<Duration>) -> Result<Reloaded, NotRenewed> {
    let result = hub.between_reloads(|configuration| {
        let loaded = hub.loaded();
        let config = &loaded.config;
        let host = hub::plugin_host(config);
        let place = host.place(name).map_err(|error| NotRenewed::NotLoaded(error.to_string()))?;
        let users = of_same_file(&host, config, name);
        let in_hub = runs_in_hub(config, &users);
        // A process of an isolated channel has a look at it, which is more of a trial.
        if in_hub {
            trial(&place).map_err(NotRenewed::NotLoaded)?;
        }
        let mut remarks = Vec::new();
        let fresh = load::read(configuration).loaded;
        if fresh.is_none() {
            remarks.push(
                "the configuration has mistakes by now (sluice check), so options are those that are in force"
                    .to_owned(),
            );
        }
        let settings = |instance: Instance| match &fresh {
            Some(fresh) => with_options_of(instance, &fresh.config),
            None => instance,
        };
        // Only a look: nothing is loaded for it.
        let in_force = host.loaded().into_iter().find(|plugin| plugin.place() == place);
        let before = in_force.map_or(0, |plugin| plugin.generation());
        let drain = drain.unwrap_or(config.options.delivery_deadline);
        let mut filters = Vec::new();
        let others = |next: &NextGeneration| {
            let Some(plugin) = &next.plugin else { return Ok(()) };
            let made = hub.filters().next(&users, plugin, fresh.as_ref().map(|fresh| &*fresh.config), config);
            let file = next.file.clone();
            filters = made.map_err(|(channel, why)| NotRenewed::NotStarted { channel, file, why })?;
            Ok(())
        };
        let mut renewed = hub.dispatcher().renew(&users, in_hub, settings, others, drain)?;
        let gone_over = hub.filters().put_in_force(filters);
        renewed.channels.extend(gone_over.into_iter().map(|channel| RenewedChannel {
            channel,
            had_instance: true,
            draining: 0,
        }));
        if renewed.generation == before {
            remarks.push(
                "its file is the one that was loaded before: only the channels were made anew".to_owned(),
            );
        }
        Ok(Reloaded { renewed, before, remarks })
    });
    match &result {
        Ok(done) => tracing::info!(
            plugin = name,
            generation = done.renewed.generation,
            before = done.before,
            version = done.renewed.version,
            "the plugin was made anew"
        ),
        Err(why) => {
            tracing::error!(plugin = name, %why, "the plugin is not made anew; what is in force stays in force");
        }
    }
    result
}

/// The same instance with the options that its channel's file has in another configuration, those for its own process included.
fn with_options_of(mut instance: Instance, config: &Config) -> Instance {
    let channel = config.channels.iter().find(|channel| channel.name == instance.channel);
    if let Some(fresh) = channel.and_then(|channel| Instance::of(channel, config)) {
        instance.options = fresh.options;
        // Whether it has a process of its own is a keyword, which a reload of the configuration changes.
        if instance.isolation.is_some() && fresh.isolation.is_some() {
            instance.isolation = fresh.isolation;
        }
    }
    instance
}

/// Loads a file in a process of its own, which may die of it.
fn trial(file: &Path) -> Result<(), String> {
    let file_name = file.display();
    let cannot = |error: std::io::Error| format!("plugin {file_name} cannot be tried: {error}");
    // The program as it was started, whatever lies at its path by now.
    let mut process = Command::new("/proc/self/exe")
        .args(["plugin", TRIAL_COMMAND])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let said = process.stderr.take().map(|from| LastWords::of(from, SAID_MAX));
    let end = Instant::now() + TRIAL;
    let status = loop {
        if let Some(status) = process.try_wait().map_err(cannot)? {
            break status;
        }
        if Instant::now() >= end {
            // Both fail only when it has just ended.
            let _ = process.kill();
            let _ = process.wait();
            return Err(format!("plugin {file_name} does not finish loading within {TRIAL:?}"));
        }
        thread::sleep(TRIAL_LOOK);
    };
    if status.success() {
        return Ok(());
    }
    let words = said.map(|said| said.within(LAST_WORDS)).unwrap_or_default();
    match status.code() {
        // Its own words name the file.
        Some(code) if code == Exit::Data as i32 => {
            let words = words.trim().strip_prefix("sluice: ").unwrap_or(words.trim());
            Err(words.to_owned())
        }
        _ => Err(format!("plugin {file_name} kills the process that loads it ({status})")),
    }
}

/// What a process says on its standard error, read while it runs, so that it need not wait.
pub(crate) struct LastWords {
    said: Arc<Mutex<Vec<u8>>>,
    /// Ends when nobody has that end open any more.
    over: mpsc::Receiver<()>,
}

impl LastWords {
    /// Reads on a thread, and keeps up to `most` octets.
    pub(crate) fn of(mut from: ChildStderr, most: usize) -> LastWords {
        let said = Arc::new(Mutex::new(Vec::new()));
        let (is_over, over) = mpsc::channel();
        let kept = said.clone();
        // Without a thread nothing is told, and the process may wait for a reader until its time is over.
        let _ = thread::Builder::new().name("last-words".to_owned()).spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let mut said = kept.lock();
                let room = most - said.len();
                said.extend_from_slice(&buffer[..count.min(room)]);
            }
            drop(is_over);
        });
        LastWords { said, over }
    }

    /// The words of a process that has ended. A program that it has started may have its standard error open for longer: what has been said
    /// within `time` is all then.
    pub(crate) fn within(&self, time: Duration) -> String {
        // Nothing is ever sent: this is the end, or the time has passed.
        let _ = self.over.recv_timeout(time);
        String::from_utf8_lossy(&self.said.lock()).into_owned()
    }
}

/// `sluice plugin try-load FILE`: what [`trial`] starts.
pub(crate) fn try_load(file: &Path) -> Result<Exit, Failure> {
    let file = std::path::absolute(file)?;
    let loaded = Host::new(Vec::new()).load(&file.to_string_lossy());
    loaded.map(|_| Exit::Ok).map_err(|error| Failure::new(Exit::Data, error))
}

/// Looks at the files of plugins until the hub is gone, when the configuration in force wants that.
pub(crate) fn watch(hub: &Arc<Hub>) {
    let hub = Arc::downgrade(hub);
    let started = thread::Builder::new().name("plugin-watch".to_owned()).spawn(move || look_on(&hub));
    if let Err(error) = started {
        tracing::error!(%error, "no thread looks at the files of plugins; WATCH_PLUGINS has no effect");
    }
}

/// Files of plugins that are other ones by now than what is loaded, or what processes of isolated channels have.
fn changed(hub: &Hub, host: &Host, config: &Config) -> BTreeMap<PathBuf, Seen> {
    let loaded = host.loaded();
    let in_hub = loaded.iter().filter_map(|plugin| match host.has_changed(plugin) {
        Some(FileState::Changed(now)) => Some((plugin.place(), now)),
        _ => None,
    });
    let mut changed: BTreeMap<PathBuf, Seen> = in_hub.collect();
    for info in hub.dispatcher().plugins().into_iter().filter(|info| info.isolated) {
        for (channel, opened) in info.channels.iter().zip(info.opened) {
            // The file's own path is not asked: the name in the configuration may be a link, which leads elsewhere by now.
            let name = config.channels.by_name(channel).and_then(|channel| channel.plugin.as_ref());
            let place = name.and_then(|name| host.place(name).ok());
            if let Some(place) = place
                && let Some(now) = Seen::of(&place)
                && opened != now
            {
                changed.insert(place, now);
            }
        }
    }
    changed
}

/// Ended by the hub going away, which is noticed at the next look.
fn look_on(hub: &Weak<Hub>) {
    // What changed files looked like: at the last look, and when they were tried last.
    let mut seen: HashMap<PathBuf, Seen> = HashMap::new();
    let mut tried: HashMap<PathBuf, Seen> = HashMap::new();
    loop {
        thread::sleep(LOOK);
        let Some(hub) = hub.upgrade() else { return };
        let config = hub.loaded().config.clone();
        if !config.options.watch_plugins {
            continue;
        }
        let host = hub::plugin_host(&config);
        let changed = changed(&hub, &host, &config);
        seen.retain(|place, _| changed.contains_key(place));
        for (place, now) in changed {
            let settled = seen.insert(place.clone(), now) == Some(now);
            if !settled || tried.get(&place) == Some(&now) {
                continue;
            }
            tried.insert(place.clone(), now);
            let name = names(&config).into_iter().find(|name| host.place(name).is_ok_and(|one| one == place));
            if let Some(name) = name {
                tracing::info!(plugin = %name, file = %place.display(), "the file of a plugin has changed");
                // What came of it is in the log. A hub that was busy is asked again at the next look.
                if let Err(NotRenewed::Busy) = reload(&hub, name, None) {
                    tried.remove(&place);
                }
            }
        }
    }
}
