//! `sluice plugin reload`: the running hub takes in what is in a plugin's file now.
//!
//! Not here: how (`crate::plugins`).

use sluice_admin::Request;

use crate::cli::{Format, PluginReload};
use crate::commands::remote::ask;
use crate::exit::{Exit, Failure};
use crate::output::line;

/// Has the hub make a plugin anew.
pub(crate) fn plugin_reload(reload: &PluginReload) -> Result<Exit, Failure> {
    let request = Request::PluginReload { plugin: reload.name.clone(), drain_secs: reload.drain };
    ask(&reload.common, &request, |row| {
        if reload.common.format == Format::Json {
            return line(&row.to_string());
        }
        let text = |field: &str| row[field].as_str().unwrap_or_default();
        let (before, now) = (row["before"].as_u64().unwrap_or(0), row["generation"].as_u64().unwrap_or(0));
        let was =
            if before == 0 || before == now { String::new() } else { format!(" in the place of {before}") };
        line(&format!(
            "{}: generation {now}{was}, version {}, from {}",
            row["name"].as_str().unwrap_or(text("plugin")),
            text("version"),
            text("file")
        ))?;
        for channel in row["channels"].as_array().into_iter().flatten() {
            let name = channel["channel"].as_str().unwrap_or_default();
            let draining = channel["draining"].as_u64().unwrap_or(0);
            line(&match (channel["had_instance"].as_bool(), draining) {
                (Some(true), 0) => format!("  {name}: has gone over"),
                (Some(true), 1) => format!("  {name}: has gone over; 1 job of the old generation goes on"),
                (Some(true), jobs) => {
                    format!("  {name}: has gone over; {jobs} jobs of the old generation go on")
                }
                _ => format!("  {name}: was not running"),
            })?;
        }
        for remark in row["remarks"].as_array().into_iter().flatten().filter_map(|remark| remark.as_str()) {
            line(&format!("  {remark}"))?;
        }
        Ok(())
    })
}
