//! `sluice release`: what releases have come to, told by the running hub.
//!
//! Not here: the answers (`crate::releases`).

use std::fmt::Write;

use serde_json::{Value, json};
use sluice_admin::Request;

use super::remote::ask;
use crate::cli::{Common, Format};
use crate::exit::{Exit, Failure};
use crate::output::{Table, line};

/// Text for an operator: columns and their headings.
const COLUMNS: [(&str, &str); 12] = [
    ("id", "Id"),
    ("asked", "Asked"),
    ("by", "By"),
    ("site", "Site"),
    ("covers", "Covers"),
    ("state", "State"),
    ("promised", "Promised"),
    ("joined", "Joined"),
    ("delivered", "Delivered"),
    ("deferred", "Deferred"),
    ("bounced", "Bounced"),
    ("left_over", "Left over"),
];

/// `sluice release list`.
pub(crate) fn list(common: &Common, site: Option<&str>, limit: u64) -> Result<Exit, Failure> {
    let request = Request::ReleaseList { site: site.map(str::to_owned), limit };
    if common.format == Format::Json {
        return ask(common, &request, |row| line(&row.to_string()));
    }
    let mut table = Table::new(common.format, &COLUMNS);
    let exit = ask(common, &request, |row| {
        let mut row = row.clone();
        for (field, _) in COLUMNS {
            if row[field].is_object() {
                row[field] = json!(row[field]["messages"]);
            }
        }
        table.row(&row)
    })?;
    table.finish("no releases")?;
    Ok(exit)
}

/// `sluice release show`.
pub(crate) fn show(common: &Common, id: &str) -> Result<Exit, Failure> {
    ask(common, &Request::ReleaseShow { id: id.to_owned() }, |row| match common.format {
        Format::Json => line(&row.to_string()),
        Format::Text => line(&whole(row)),
    })
}

/// `sluice release follow`.
pub(crate) fn follow(common: &Common, id: Option<&str>) -> Result<Exit, Failure> {
    let mut last = Value::Null;
    ask(common, &Request::ReleaseFollow { id: id.map(str::to_owned) }, |row| {
        if common.format == Format::Json {
            return line(&row.to_string());
        }
        if *row == last {
            return Ok(());
        }
        last = row.clone();
        line(&if row["state"] == "ended" { whole(row) } else { progress(row) })
    })
}

fn progress(row: &Value) -> String {
    let of = |field: &str| row[field]["messages"].as_u64().unwrap_or(0);
    format!(
        "{}: {} waiting, {} delivered, {} deferred, {} bounced",
        row["id"].as_str().unwrap_or(""),
        of("waiting"),
        of("delivered"),
        of("deferred"),
        of("bounced")
    )
}

/// All of a record, a line for each thing that there is to tell.
fn whole(row: &Value) -> String {
    let mut text = format!("release {}", row["id"].as_str().unwrap_or(""));
    let fields = [
        ("asked", "asked"),
        ("by", "by"),
        ("site", "site"),
        ("login", "login"),
        ("address", "from"),
        ("helo", "calls itself"),
        ("channel", "session on"),
        ("argument", "argument"),
        ("covers", "covers"),
        ("way", "way"),
    ];
    for (field, word) in fields {
        if let Some(value) = row[field].as_str() {
            let _ = write!(text, "\n  {word:<13} {value}");
        }
    }
    let counts = [
        ("promised", "promised"),
        ("elsewhere", "elsewhere"),
        ("joined", "joined"),
        ("waiting", "waiting"),
        ("delivered", "delivered"),
        ("deferred", "deferred"),
        ("bounced", "bounced"),
        ("left_over", "left over"),
    ];
    for (field, word) in counts {
        let of = |what: &str| row[field][what].as_u64().unwrap_or(0);
        if of("recipients") > 0 || matches!(field, "promised" | "delivered" | "left_over") {
            let (messages, recipients, bytes) = (of("messages"), of("recipients"), of("bytes"));
            let _ =
                write!(text, "\n  {word:<13} {messages} messages, {recipients} recipients, {bytes} octets");
        }
    }
    let with: Vec<&str> = row["with"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !with.is_empty() {
        let _ = write!(text, "\n  {:<13} {}", "with", with.join(" "));
    }
    for (field, word) in [("last_text", "last word"), ("ended", "ended"), ("end", "because")] {
        if let Some(value) = row[field].as_str() {
            let _ = write!(text, "\n  {word:<13} {value}");
        }
    }
    text
}
