//! `sluice queue history`: what happened to one message, from the mail log and from the running hub.
//!
//! The log is read here, so that it works without a hub; where the message is now only the hub knows.

use serde_json::{Map, Value, json};
use sluice_admin::{Client, ClientError, FaultKind, Request};
use sluice_spool::EntryId;

use crate::cli::queue::QueueHistory;
use crate::cli::{Common, Format};
use crate::exit::{Exit, ExitWith, Failure};
use crate::load;
use crate::mail_log::reading::{Entry, Reach, records_of};
use crate::output::{cell, line};

/// What the hub knows of the message now.
enum Now {
    /// It waits, as `queue show` has it.
    Waits(Value),
    /// It is not in the queue.
    Gone,
    /// Nobody could be asked; why.
    Unknown(String),
}

/// `sluice queue history`.
pub(crate) fn history(history: &QueueHistory) -> Result<Exit, Failure> {
    let common = &history.common;
    let typed = history.id.strip_prefix("id:").unwrap_or(&history.id);
    let Ok(id) = typed.parse::<EntryId>() else {
        crate::complain(&format!(
            "`{}` is not a queue id; `sluice queue list` shows them",
            history.id.escape_debug()
        ));
        return Ok(Exit::Usage);
    };
    let id = id.to_string();
    let folder = load::log_dir(common)?;
    let (records, reach) = records_of(&folder, &id).exit_with(Exit::Temporary)?;
    let now = ask(common, &id)?;
    let mut rows: Vec<Value> = records.iter().map(row).collect();
    if let Now::Waits(shown) = &now {
        if !records.iter().any(|record| record.code == "E") {
            rows.splice(0..0, accepted(shown));
        }
        rows.extend(standing(shown));
    }
    for row in &rows {
        match common.format {
            Format::Json => line(&row.to_string())?,
            Format::Text => line(&in_words(row))?,
        }
    }
    match now {
        Now::Unknown(why) => crate::complain(&format!("where it is now is not known: {why}")),
        Now::Gone if !rows.is_empty() => match common.format {
            Format::Json => line(&json!({ "event": "gone" }).to_string())?,
            Format::Text => line("it is not in the queue any more")?,
        },
        Now::Gone | Now::Waits(_) => {}
    }
    if rows.is_empty() {
        let why = why_nothing(common, &id, &reach);
        if common.format == Format::Json {
            line(&json!({ "error": why }).to_string())?;
        }
        crate::complain(&format!("nothing is known of message {id}: {why}"));
        return Ok(Exit::Data);
    }
    Ok(Exit::Ok)
}

fn ask(common: &Common, id: &str) -> Result<Now, Failure> {
    let client = match Client::connect(&load::control_socket(common)?) {
        Ok(client) => client,
        Err(error) => return Ok(Now::Unknown(format!("{:#}", anyhow::Error::from(error)))),
    };
    let mut shown = Value::Null;
    Ok(match client.call(&Request::QueueShow { id: id.to_owned() }, |row| shown = row) {
        Ok(()) => Now::Waits(shown),
        Err(ClientError::Refused(fault)) if fault.kind == FaultKind::Unknown => Now::Gone,
        Err(error) => Now::Unknown(format!("{:#}", anyhow::Error::from(error))),
    })
}

/// Why there is nothing to tell, as far as it can be known.
fn why_nothing(common: &Common, id: &str, reach: &Reach) -> String {
    let logged = load::read(&common.config).loaded.map(|loaded| {
        let all = loaded.config.channels.iter();
        (all.clone().filter(|channel| channel.settings.logging).count(), all.count())
    });
    let keyword = match logged {
        Some((0, _)) => " (no channel has it now; `defaults logging` gives it to all)".to_owned(),
        Some((some, all)) if some < all => format!(" ({some} of {all} channels have it now)"),
        _ => String::new(),
    };
    match &reach.since {
        None => format!("there is no mail log; it is kept for channels with the keyword `logging`{keyword}"),
        Some(since) if id < reach.lowest.as_str() => {
            format!(
                "it is older than the mail log, which begins at {since}; its records, if there were any, were removed"
            )
        }
        Some(_) if id > reach.highest.as_str() => format!(
            "the highest id in the mail log is {}; either this one was never given, or its channels do not have the keyword `logging`{keyword}",
            reach.highest
        ),
        Some(since) => format!(
            "the mail log, which begins at {since}, has no record of it; its channels did not have the keyword `logging`{keyword}, or it was never accepted"
        ),
    }
}

fn event(code: &str) -> &str {
    match code {
        "E" => "accepted",
        "D" => "delivered",
        "Q" | "Z" => "deferred",
        "R" => "returned",
        "W" => "warned",
        "K" => "untold",
        other => other,
    }
}

/// A record as a row: what is not known of it is left out.
fn row(entry: &Entry) -> Value {
    let mut row = Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            row.insert(name.to_owned(), value.into());
        }
    };
    put("at", Some(&entry.at));
    put("code", Some(&entry.code));
    put("channel", Some(&entry.channel));
    if entry.code == "H" {
        let text = entry.text.as_deref().unwrap_or_default();
        let (act, reason) = text.split_once(": ").map_or((text, None), |(act, why)| (act, Some(why)));
        put("event", Some(act));
        put("domain", Some(entry.recipient.trim_start_matches('@')));
        put("by", entry.peer.as_deref());
        put("reason", reason);
    } else {
        put("event", Some(event(&entry.code)));
        put("source", entry.source.as_deref());
        put("sender", Some(&entry.sender));
        put("original", Some(&entry.original));
        put("recipient", Some(&entry.recipient));
        put("peer", entry.peer.as_deref());
        put("reply", entry.text.as_deref());
    }
    row.insert("blocks".to_owned(), entry.blocks.into());
    Value::Object(row)
}

/// The acceptance of a message that waits and has no record, as the queue knows it.
fn accepted(shown: &Value) -> Vec<Value> {
    let recipients = shown["recipients"].as_array().into_iter().flatten();
    recipients
        .map(|recipient| {
            json!({
                "at": shown["arrived"], "event": "accepted", "source": shown["source_channel"],
                "channel": recipient["channel"], "sender": shown["sender"], "original": recipient["original"],
                "recipient": recipient["address"],
            })
        })
        .collect()
}

/// Where a message is now, a row for each of its entries.
fn standing(shown: &Value) -> Vec<Value> {
    let entries = shown["entries"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let mut row = json!({
                "event": match entry["state"].as_str() {
                    Some("deferred") => "deferred-until",
                    Some(state) => state,
                    None => "waiting",
                },
                "channel": entry["channel"], "domain": entry["domain"], "attempts": entry["attempts"],
            });
            for (name, field) in
                [("due", "due"), ("at", "deferred_at"), ("reply", "last_error"), ("peer", "peer")]
            {
                if !entry[field].is_null() {
                    row[name] = entry[field].clone();
                }
            }
            row
        })
        .collect()
}

/// A row for a person.
fn in_words(row: &Value) -> String {
    let has = |field: &str| !row[field].is_null();
    let text = |field: &str| cell(&row[field]);
    let address = |field: &str| match row[field].as_str() {
        Some("") => "<>".to_owned(),
        _ => text(field),
    };
    let event = row["event"].as_str().unwrap_or_default();
    let said = match (has("peer"), has("reply")) {
        (true, true) => format!(": {} said: {}", text("peer"), text("reply")),
        (false, true) => format!(": {}", text("reply")),
        (true, false) => format!(": {}", text("peer")),
        (false, false) => String::new(),
    };
    let at = if has("code") || event == "accepted" { text("at") } else { "now".to_owned() };
    let what = match event {
        "accepted" => {
            let given = if row["original"] == row["recipient"] {
                String::new()
            } else {
                format!(" (given as {})", address("original"))
            };
            format!(
                "accepted from {} by {} for {}{given} on {}",
                address("sender"),
                text("source"),
                address("recipient"),
                text("channel")
            )
        }
        "delivered" => format!("delivered to {} by {}{said}", address("recipient"), text("channel")),
        "deferred" => format!("put off for {} on {}{said}", address("recipient"), text("channel")),
        "returned" => {
            format!("given up for {} on {}, the sender is told{said}", address("recipient"), text("channel"))
        }
        "untold" => format!(
            "for {} on {}, the sender did not want to be told{said}",
            address("recipient"),
            text("channel")
        ),
        "warned" => {
            format!("the sender is told of the delay for {} on {}", address("recipient"), text("channel"))
        }
        "waiting" | "active" | "deferred-until" | "held" => {
            let due = match event {
                "active" => "in delivery".to_owned(),
                "held" => "on hold".to_owned(),
                _ if has("due") => format!("waits until {}", text("due")),
                _ => "waits for a release".to_owned(),
            };
            let last =
                if has("reply") { format!("; put off at {}{said}", text("at")) } else { String::new() };
            format!(
                "{due} on {} for {}, attempts {}{last}",
                text("channel"),
                text("domain"),
                text("attempts")
            )
        }
        act => {
            let by = text("by");
            let by = by.strip_prefix("operator:").map_or(by.clone(), |name| format!("operator {name}"));
            let why = if has("reason") { format!(": {}", text("reason")) } else { String::new() };
            format!("{act} on {} for {} by {by}{why}", text("channel"), text("domain"))
        }
    };
    format!("{at:<24}  {what}")
}
