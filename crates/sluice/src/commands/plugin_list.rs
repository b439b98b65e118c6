//! `sluice plugin list`: which plugins the configuration uses, and whether they load.
//!
//! The running hub knows best, of the plugins that it has loaded. Of the others, or without a hub, the files are loaded here in the same way, which runs none of their code
//! but what the system's loader runs.

use std::collections::BTreeMap;

use sluice_admin::protocol::PluginRow;
use sluice_admin::{Client, Request};
use sluice_dispatch::PluginInfo;
use sluice_host::Host;

use crate::cli::Common;
use crate::control::plugin_row;
use crate::exit::{Exit, Failure};
use crate::hub::plugin_folders;
use crate::output::Table;
use crate::{commands, filters, load, plugins};

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
        let mut rows: Vec<PluginRow> = Vec::new();
        let exit = commands::remote::ask(common, &Request::PluginList, |row| {
            rows.push(serde_json::from_value(row.clone())?);
            Ok(())
        })?;
        // The hub loads a plugin when its channel first has something to do; the others are looked at here. If the files
        // have mistakes by now, what the hub said is all that can be said.
        for plugin in looked_at(common).unwrap_or_default() {
            add(&mut rows, plugin_row(plugin));
        }
        for row in rows {
            table.row(&serde_json::to_value(row)?)?;
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

/// Adds a plugin with those of its channels that have had nothing to do yet. When they have, they get what is in force in the hub, if that has
/// loaded the file already.
fn add(rows: &mut Vec<PluginRow>, mut plugin: PluginRow) {
    // What has routines alone has no channel to be known by.
    let has_channels = !plugin.channels.is_empty();
    plugin.channels.retain(|channel| rows.iter().all(|row| !row.channels.contains(channel)));
    let is_same = |row: &&mut PluginRow| {
        row.error.is_none() && row.file == plugin.file && row.isolated == plugin.isolated
    };
    if let Some(row) = rows.iter_mut().find(is_same) {
        row.channels.append(&mut plugin.channels);
        row.channels.sort_unstable();
    } else if !has_channels || !plugin.channels.is_empty() {
        rows.push(plugin);
    }
}

/// Loads every plugin that the configuration uses: for channels, for filters, which are named like channels, and for routines.
fn looked_at(common: &Common) -> Result<Vec<PluginInfo>, Failure> {
    let (loaded, _) = load::read_or_fail(&common.config)?;
    let host = Host::new(plugin_folders(&loaded.config));
    let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for channel in &loaded.config.channels {
        if let Some(plugin) = &channel.plugin {
            users.entry(plugin).or_default().push(channel.name.clone());
        }
    }
    for filter in &loaded.config.filters {
        users.entry(&filter.options.plugin).or_default().push(filters::name_of(filter.options.number));
    }
    for plugin in &loaded.config.options.routine_plugins {
        users.entry(plugin).or_default();
    }
    let looked_at = |(name, channels): (&str, Vec<String>)| {
        let is_isolated = |user: &String| {
            loaded.config.channels.by_name(user).is_some_and(|channel| channel.settings.isolated)
        };
        let of_routines = loaded.config.options.routine_plugins.iter().any(|plugin| plugin == name);
        let isolated = !of_routines && channels.iter().all(is_isolated);
        PluginInfo { isolated, ..plugins::looked_at(&host, name, channels) }
    };
    Ok(users.into_iter().map(looked_at).collect())
}
