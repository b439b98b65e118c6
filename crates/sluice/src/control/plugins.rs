//! Requests about one plugin.

use std::time::Duration;

use sluice_admin::protocol::{
    PluginChannel, PluginDetails, PluginOptionRow, PluginReloaded, ReloadedChannel,
};
use sluice_admin::{Fault, FaultKind};
use sluice_dispatch::{ChannelReport, NotRenewed, PluginInfo, ask};
use sluice_host::Host;

use super::{Rows, busy, put};
use crate::hub::{self, Hub};
use crate::plugins::{self, Unknown};

pub(super) fn show(hub: &Hub, plugin: &str, row: Rows<'_>) -> Result<(), Fault> {
    let config = hub.loaded().config.clone();
    let name = plugins::named(&config, plugin).map_err(|unknown| nobody(plugin, unknown))?;
    let host = hub::plugin_host(&config);
    let users = plugins::of_same_file(&host, &config, &name);
    let reports = ask(|done| hub.dispatcher().channels(done)).map_err(busy)?;
    let is_user = |report: &&ChannelReport| report.plugin.as_ref().is_some_and(|name| users.contains(name));
    let channels: Vec<PluginChannel> = reports.iter().filter(is_user).map(channel).collect();
    let info = if !channels.is_empty() && channels.iter().all(|channel| channel.isolated) {
        isolated(hub, &host, &name)
    } else {
        plugins::looked_at(&host, &name, Vec::new())
    };
    put(row, &details(info, channels));
    Ok(())
}

pub(super) fn reload(hub: &Hub, plugin: &str, drain: Option<Duration>, row: Rows<'_>) -> Result<(), Fault> {
    let name = plugins::named(&hub.loaded().config, plugin).map_err(|unknown| nobody(plugin, unknown))?;
    match plugins::reload(hub, &name, drain) {
        Ok(reloaded) => {
            let channel = |channel: sluice_dispatch::RenewedChannel| ReloadedChannel {
                channel: channel.channel,
                had_instance: channel.had_instance,
                draining: channel.draining,
            };
            put(
                row,
                &PluginReloaded {
                    plugin: name,
                    name: reloaded.renewed.name,
                    file: reloaded.renewed.file,
                    version: reloaded.renewed.version,
                    generation: reloaded.renewed.generation,
                    before: reloaded.before,
                    channels: reloaded.renewed.channels.into_iter().map(channel).collect(),
                    remarks: reloaded.remarks,
                },
            );
            Ok(())
        }
        Err(NotRenewed::Busy) => Err(Fault::new(FaultKind::Unavailable, NotRenewed::Busy.to_string())),
        Err(why) => {
            Err(Fault::new(FaultKind::Configuration, format!("{why}; what is in force stays in force")))
        }
    }
}

/// What is known of a plugin all of whose channels are isolated: what its processes have told. It is not loaded here to be looked at.
fn isolated(hub: &Hub, host: &Host, name: &str) -> PluginInfo {
    let (file, error) = match host.place(name) {
        Ok(place) => (place.display().to_string(), None),
        Err(error) => (String::new(), Some(format!("{:#}", anyhow::Error::new(error)))),
    };
    // The name that it gives itself need not be that of the configuration; the file is the same.
    match hub.dispatcher().plugins().into_iter().find(|info| info.isolated && info.file == file) {
        Some(told) => PluginInfo { name: name.to_owned(), ..told },
        None => PluginInfo { name: name.to_owned(), file, isolated: true, error, ..PluginInfo::default() },
    }
}

fn nobody(plugin: &str, Unknown { nearest }: Unknown) -> Fault {
    let message = format!("the configuration has no plugin `{plugin}`");
    Fault { kind: FaultKind::Unknown, message, nearest }
}

fn channel(report: &ChannelReport) -> PluginChannel {
    let instance = report.instance.unwrap_or_default();
    PluginChannel {
        channel: report.name.clone(),
        status: Some(report.status.to_string()),
        isolated: report.isolated,
        pid: report.process,
        generation: instance.generation,
        draining: report.draining,
        workers: instance.workers,
        jobs: report.jobs,
        max_jobs: report.max_jobs,
        hung: instance.hung,
        rest_secs: instance.rest.as_secs_f64(),
        failures: instance.failures,
        error: report.error.clone(),
    }
}

/// Everything about a plugin.
pub(crate) fn details(info: PluginInfo, channels: Vec<PluginChannel>) -> PluginDetails {
    let option = |option: sluice_host::PluginOption| PluginOptionRow {
        value: option.wanted(),
        required: option.required,
        option: option.name,
        default: option.default,
        help: option.help,
    };
    PluginDetails {
        plugin: info.name,
        file: info.file,
        version: info.version,
        description: info.description,
        abi: info.abi,
        generation: info.generation,
        generations: info.generations,
        options: info.options.into_iter().map(option).collect(),
        filter: info.filter,
        features: info.features,
        routines: info.routines,
        channels,
        error: info.error,
    }
}
