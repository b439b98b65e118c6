//! `sluice plugin list`: which plugins the configuration uses, and whether they load.
//!
//! The running hub knows best, of the plugins that it has loaded. Of the others, or without a hub, the files are loaded here in the same way, which runs none of their code
//! but what the system's loader runs.

use std::collections::{BTreeMap, BTreeSet};

use sluice_admin::{Client, Request};
use sluice_dispatch::PluginInfo;
use sluice_host::Host;

use crate::cli::Common;
use crate::control::plugin_row;
use crate::exit::{Exit, Failure};
use crate::hub::plugin_folders;
use crate::output::Table;
use crate::{commands, load, plugins};

/// Lists the plugins.
pub(crate) fn plugin_list(common: &Common) -> Result<Exit, Failure> {
    let mut table = Table::new(
        common.format,
        &[
            ("plugin", "Plugin"),
            ("generation", "Generation"),
            ("version", "Version"),
            ("abi", "ABI"),
            ("channels", "Channels"),
            ("pids", "Processes"),
            ("file", "File"),
            ("error", "Error"),
            ("options", "Options"),
        ],
    );
    let socket = load::control_socket(common)?;
    let exit = if Client::connect(&socket).is_ok() {
        let mut seen = BTreeSet::new();
        let exit = commands::remote::ask(common, &Request::PluginList, |row| {
            let channels = row["channels"].as_array().into_iter().flatten();
            seen.extend(channels.filter_map(|channel| channel.as_str().map(str::to_owned)));
            table.row(row)
        })?;
        // The hub loads a plugin when its channel first has something to do; the others are looked at here. If the files
        // have mistakes by now, what the hub said is all that can be said.
        for plugin in looked_at(common).unwrap_or_default() {
            if !plugin.channels.iter().all(|channel| seen.contains(channel)) {
                table.row(&serde_json::to_value(plugin_row(plugin))?)?;
            }
        }
        exit
    } else {
        for plugin in looked_at(common)? {
            let row = serde_json::to_value(plugin_row(plugin))?;
            table.row(&row)?;
        }
        Exit::Ok
    };
    table.finish("the configuration uses no plugins")?;
    Ok(exit)
}

/// Loads every plugin that a channel of the configuration uses.
fn looked_at(common: &Common) -> Result<Vec<PluginInfo>, Failure> {
    let (loaded, _) = load::read_or_fail(&common.config)?;
    let host = Host::new(plugin_folders(&loaded.config));
    let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for channel in &loaded.config.channels {
        if let Some(plugin) = &channel.plugin {
            users.entry(plugin).or_default().push(channel.name.clone());
        }
    }
    let looked_at = |(name, channels): (&str, Vec<String>)| {
        let mut users = loaded.config.channels.iter().filter(|channel| channels.contains(&channel.name));
        let isolated = users.all(|channel| channel.settings.isolated);
        PluginInfo { isolated, ..plugins::looked_at(&host, name, channels) }
    };
    Ok(users.into_iter().map(looked_at).collect())
}
