//! `sluice channel stop|start`, `sluice suspend`, `sluice resume`: asked of the running hub.

use serde_json::Value;
use sluice_admin::Request;

use crate::cli::closing::{ChannelNames, Resume, Suspend};
use crate::cli::{Common, Format};
use crate::commands::remote::ask;
use crate::exit::{Exit, Failure};
use crate::output::{Table, line};

/// `sluice channel stop`.
pub(crate) fn stop(names: &ChannelNames) -> Result<Exit, Failure> {
    let request = Request::ChannelStop { channels: lower(&names.names) };
    ask(&names.common, &request, |row| {
        told(&names.common, row, |name, changed, messages| {
            let active = match row["active"].as_u64().unwrap_or(0) {
                0 => String::new(),
                active => format!(", {active} in delivery"),
            };
            let word = if changed { "stopped" } else { "was stopped already" };
            format!("{name}: {word}; {messages}{active}")
        })
    })
}

/// `sluice channel start`.
pub(crate) fn start(names: &ChannelNames) -> Result<Exit, Failure> {
    let request = Request::ChannelStart { channels: lower(&names.names) };
    ask(&names.common, &request, |row| {
        told(&names.common, row, |name, changed, messages| {
            let word = if changed { "started" } else { "was not stopped" };
            format!("{name}: {word}; {messages}")
        })
    })
}

/// `sluice suspend`.
pub(crate) fn suspend(suspend: &Suspend) -> Result<Exit, Failure> {
    let Some(domain) = suspend.domain.clone() else { return list(&suspend.common) };
    let seconds = suspend.time.map(|time| time.as_secs());
    let request = Request::Suspend { domain, seconds, reason: suspend.reason.clone() };
    ask(&suspend.common, &request, |row| {
        told(&suspend.common, row, |name, _, messages| {
            let end =
                row["until"].as_str().map_or("until it is resumed".to_owned(), |end| format!("until {end}"));
            format!("{name}: suspended {end}; {messages}")
        })
    })
}

/// `sluice resume`.
pub(crate) fn resume(resume: &Resume) -> Result<Exit, Failure> {
    let request = Request::Resume { domain: resume.domain.clone() };
    ask(&resume.common, &request, |row| {
        told(&resume.common, row, |name, _, messages| format!("{name}: resumed; {messages}"))
    })
}

fn list(common: &Common) -> Result<Exit, Failure> {
    let mut table = Table::new(
        common.format,
        &[
            ("domain", "Domain"),
            ("messages", "Messages"),
            ("since", "Since"),
            ("until", "Until"),
            ("reason", "Reason"),
        ],
    );
    let exit = ask(common, &Request::SuspendList, |row| table.row(row))?;
    table.finish("nothing is suspended")?;
    Ok(exit)
}

fn lower(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_lowercase()).collect()
}

/// Writes a row: as it is, or in the words made of its name, whether anything changed, and what waits.
fn told(common: &Common, row: &Value, words: impl Fn(&str, bool, &str) -> String) -> std::io::Result<()> {
    if common.format == Format::Json {
        return line(&row.to_string());
    }
    let name = row["channel"].as_str().or(row["domain"].as_str()).unwrap_or("");
    let messages = match row["messages"].as_u64().unwrap_or(0) {
        0 => "nothing waits".to_owned(),
        1 => "1 message waits".to_owned(),
        messages => format!("{messages} messages wait"),
    };
    line(&words(name, row["changed"].as_bool().unwrap_or(true), &messages))
}
