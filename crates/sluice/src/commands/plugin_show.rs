//! `sluice plugin show`: everything about one plugin.

use anyhow::anyhow;
use serde_json::Value;
use sluice_admin::protocol::PluginChannel;
use sluice_admin::{Client, Request};
use sluice_host::Host;

use crate::cli::{Common, Format, PluginShow};
use crate::commands::remote::ask;
use crate::control::details;
use crate::exit::{Exit, Failure};
use crate::hub::plugin_folders;
use crate::load;
use crate::output::line;
use crate::plugins::{self, Unknown};

/// Shows a plugin, by what the running hub knows or else by its file.
pub(crate) fn plugin_show(show: &PluginShow) -> Result<Exit, Failure> {
    let common = &show.common;
    let socket = load::control_socket(common)?;
    if Client::connect(&socket).is_ok() {
        let request = Request::PluginShow { plugin: show.name.clone() };
        return ask(common, &request, |row| print(common, row));
    }
    let (loaded, _) = load::read_or_fail(&common.config)?;
    let config = &loaded.config;
    let name = plugins::named(config, &show.name).map_err(|Unknown { nearest }| {
        let near = nearest.first().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Failure::new(Exit::Data, anyhow!("the configuration has no plugin `{}`{near}", show.name))
    })?;
    let host = Host::new(plugin_folders(config));
    let users = plugins::of_same_file(&host, config, &name);
    let channels = config
        .channels
        .iter()
        .filter(|channel| channel.plugin.as_ref().is_some_and(|plugin| users.contains(plugin)));
    let channels = channels.map(|channel| PluginChannel {
        channel: channel.name.clone(),
        isolated: channel.settings.isolated,
        max_jobs: channel.settings.max_jobs,
        ..PluginChannel::default()
    });
    let row = details(plugins::looked_at(&host, &name, Vec::new()), channels.collect());
    let failed = row.error.is_some();
    print(common, &serde_json::to_value(row)?)?;
    Ok(if failed { Exit::Config } else { Exit::Ok })
}

fn print(common: &Common, row: &Value) -> std::io::Result<()> {
    if common.format == Format::Json {
        return line(&row.to_string());
    }
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    line(&format!("plugin       {}", text("plugin")))?;
    if let Some(error) = row["error"].as_str() {
        line(&format!("error        {error}"))?;
    } else {
        line(&format!("description  {}", text("description")))?;
        line(&format!("file         {}", text("file")))?;
        line(&format!("version      {}", text("version")))?;
        line(&format!("contract     ABI version {}", row["abi"]))?;
        if row["generation"] == 0 {
            line("generation   none: it has a process of its own as soon as there is something to do")?;
        } else {
            line(&format!("generation   {} ({} in memory)", row["generation"], row["generations"]))?;
        }
        let list = |field: &str| {
            let names: Vec<&str> =
                row[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        line(&format!("filter       {}", if row["filter"] == true { "yes" } else { "no" }))?;
        line(&format!("features     {}", list("features")))?;
        line(&format!("routines     {}", list("routines")))?;
    }
    for channel in row["channels"].as_array().into_iter().flatten() {
        line(&format!("channel      {}", state(channel)))?;
    }
    for option in row["options"].as_array().into_iter().flatten() {
        let text = |field: &str| option[field].as_str().unwrap_or_default();
        let default = option["default"].as_str().map_or_else(String::new, |default| match default {
            "" => "; empty if absent".to_owned(),
            default => format!("; {default} if absent"),
        });
        let default = if option["required"] == true { "; must be there".to_owned() } else { default };
        line(&format!("option       {}: {}{default}", text("option"), text("value")))?;
        line(&format!("             {}", text("help")))?;
    }
    Ok(())
}

/// A channel in one line.
fn state(channel: &Value) -> String {
    let name = channel["channel"].as_str().unwrap_or_default();
    let number = |field: &str| channel[field].as_u64().unwrap_or(0);
    let Some(status) = channel["status"].as_str() else {
        return format!("{name}{}", if channel["isolated"] == true { ": isolated" } else { "" });
    };
    let mut text = format!("{name}: {status}, {} of {} jobs", number("jobs"), number("max_jobs"));
    match channel["pid"].as_u64() {
        Some(pid) => text.push_str(&format!(", in process {pid}")),
        None if channel["isolated"] == true => text.push_str(", isolated"),
        None => {}
    }
    if number("generation") > 0 {
        text.push_str(&format!(", generation {}, {} workers", number("generation"), number("workers")));
    }
    for (field, what) in [("hung", "hang"), ("failures", "failures"), ("draining", "old instances finishing")]
    {
        if number(field) > 0 {
            text.push_str(&format!(", {} {what}", number(field)));
        }
    }
    if channel["rest_secs"].as_f64().unwrap_or(0.0) > 0.0 {
        text.push_str(&format!(", rests for {:.0} s", channel["rest_secs"].as_f64().unwrap_or(0.0).ceil()));
    }
    if let Some(error) = channel["error"].as_str() {
        text.push_str(&format!("; {error}"));
    }
    text
}
