//! `sluice queue …`: lists, one message in full, its content, and acts on many. All of it is asked of the running hub.
//!
//! An act on more than one id is counted first; the count goes to standard error, and somebody has to say yes.

use std::io::{self, Write};

use serde_json::Value;
use sluice_admin::Request;
use sluice_admin::protocol::{Act, Filter};

use crate::cli::queue::{QueueAct, QueueList, QueueRead, QueueShow, Standing, Which};
use crate::cli::{Common, Format};
use crate::commands::remote;
use crate::consent;
use crate::exit::{Exit, Failure};
use crate::output::{Table, cell, line};

/// Digits of a queue id.
const ID_DIGITS: usize = 16;
/// Rows that a dry run lists at most: the count says how many there are.
const DRY_RUN_MAX: u64 = 1000;
/// What mailq shows at most.
const MAILQ_MAX: u64 = 1_000_000;

const COLUMNS: &[(&str, &str)] = &[
    ("id", "Id"),
    ("channel", "Channel"),
    ("domain", "Domain"),
    ("state", "State"),
    ("bytes", "Bytes"),
    ("transfer_priority", "Priority"),
    ("arrived", "Arrived"),
    ("attempts", "Attempts"),
    ("due", "Due"),
    ("sender", "Sender"),
    ("recipients", "Recipients"),
    ("last_error", "Last error"),
    ("hold_reason", "Held by"),
    ("error", "Error"),
];

/// Asks, and tells on standard error how far the hub is when that takes long.
fn ask(
    common: &Common,
    request: &Request,
    mut row: impl FnMut(&Value) -> io::Result<()>,
) -> Result<Exit, Failure> {
    remote::ask(common, request, |value| match (value["progress"].as_u64(), value["of"].as_u64()) {
        (Some(progress), Some(of)) => {
            crate::complain(&format!("{progress} of {of} entries"));
            Ok(())
        }
        _ => row(value),
    })
}

/// `sluice queue list`.
pub(crate) fn list(list: &QueueList) -> Result<Exit, Failure> {
    let mut filter = filter(&list.which);
    filter.after.clone_from(&list.cursor);
    if list.mailq {
        return mailq(&list.common, filter);
    }
    let mut table = Table::new(list.common.format, COLUMNS);
    let request = Request::QueueList { selector: None, filter, limit: list.limit };
    let exit = ask(&list.common, &request, |row| table.row(row))?;
    if exit == Exit::Ok {
        table.finish("nothing waits")?;
    }
    Ok(exit)
}

/// The queue in the manner of mailq: a message each, its recipients below it, a total at the end.
fn mailq(common: &Common, filter: Filter) -> Result<Exit, Failure> {
    let request = Request::QueueList { selector: None, filter, limit: MAILQ_MAX };
    let (mut last, mut messages, mut bytes) = (String::new(), 0u64, 0u64);
    let exit = ask(common, &request, |row| {
        let id = row["id"].as_str().unwrap_or("");
        if id != last {
            if last.is_empty() {
                line("-Queue ID-------- --Size-- ----Arrival Time---- -Sender/Recipient-------")?;
            } else {
                line("")?;
            }
            let size = row["bytes"].as_u64().unwrap_or(0);
            let mark = match row["state"].as_str() {
                Some("active") => '*',
                Some("held") => '!',
                _ => ' ',
            };
            let sender = match row["sender"].as_str() {
                Some("") | None => "MAILER-DAEMON".to_owned(),
                Some(_) => cell(&row["sender"]),
            };
            line(&format!("{id}{mark} {size:>8} {:<20} {sender}", cell(&row["arrived"])))?;
            last = id.to_owned();
            messages += 1;
            bytes += size;
        }
        for why in
            [&row["hold_reason"], &row["last_error"], &row["error"]].into_iter().filter(|why| why.is_string())
        {
            line(&format!("{:>46}({})", "", cell(why)))?;
        }
        for recipient in row["recipients"].as_array().into_iter().flatten() {
            line(&format!("{:>47}{}", "", cell(recipient)))?;
        }
        Ok(())
    })?;
    if exit == Exit::Ok {
        line(&match messages {
            0 => "Mail queue is empty".to_owned(),
            1 => format!("-- {} Kbytes in 1 Request.", bytes.div_ceil(1024)),
            _ => format!("-- {} Kbytes in {messages} Requests.", bytes.div_ceil(1024)),
        })?;
    }
    Ok(exit)
}

/// `sluice queue show`.
pub(crate) fn show(show: &QueueShow) -> Result<Exit, Failure> {
    ask(&show.common, &Request::QueueShow { id: show.id.clone() }, |row| match show.common.format {
        Format::Json => line(&row.to_string()),
        Format::Text => in_words(row),
    })
}

/// A message for a person.
fn in_words(row: &Value) -> io::Result<()> {
    let put = |name: &str, value: &Value| match cell(value).as_str() {
        "-" => Ok(()),
        text => line(&format!("{name:<14} {text}")),
    };
    line(&format!("{:<14} {}", "message", cell(&row["id"])))?;
    let sender = if row["sender"] == "" { "<>".to_owned() } else { cell(&row["sender"]) };
    line(&format!("{:<14} {sender}", "sender"))?;
    for (name, field) in [
        ("came by", "source_channel"),
        ("arrived", "arrived"),
        ("octets", "bytes"),
        ("priority", "priority"),
        ("MT-PRIORITY", "transfer_priority"),
        ("not before", "deferred_until"),
        ("held by", "hold_reason"),
        ("error", "error"),
    ] {
        put(name, &row[field])?;
    }
    for entry in row["entries"].as_array().into_iter().flatten() {
        line("")?;
        let (channel, domain) = (cell(&entry["channel"]), cell(&entry["domain"]));
        line(&format!("on {channel} for {domain}: {}", cell(&entry["state"])))?;
        for (name, field) in [
            ("  attempts", "attempts"),
            ("  due", "due"),
            ("  expires", "expires"),
            ("  kept back", "closed"),
            ("  to come", "noted"),
            ("  deferred at", "deferred_at"),
            ("  last error", "last_error"),
            ("  said by", "peer"),
            ("  always to", "fixed_peer"),
            ("  schedule", "schedule"),
            ("  plugin", "plugin"),
        ] {
            put(name, &entry[field])?;
        }
    }
    line("")?;
    for recipient in row["recipients"].as_array().into_iter().flatten() {
        let (address, original) = (cell(&recipient["address"]), cell(&recipient["original"]));
        let given = if original == address { String::new() } else { format!(" (given as {original})") };
        let (channel, state) = (cell(&recipient["channel"]), cell(&recipient["state"]));
        line(&format!("to {address}{given} on {channel}: {state}"))?;
    }
    Ok(())
}

/// `sluice queue read`.
pub(crate) fn read(read: &QueueRead) -> Result<Exit, Failure> {
    let request = Request::QueueRead { id: read.id.clone(), headers: read.headers };
    let mut out = io::stdout().lock();
    // A CR at the end of a stretch: the LF that belongs to it may begin the next one.
    let mut carried = false;
    let exit = ask(&read.common, &request, |row| {
        if read.common.format == Format::Json {
            return writeln!(out, "{row}");
        }
        let text = row["octets"].as_str().unwrap_or("");
        // The hub sends a character for each octet.
        let octets = text.chars().map(|one| u8::try_from(u32::from(one)).unwrap_or(b'?'));
        if read.octets {
            return out.write_all(&octets.collect::<Vec<_>>());
        }
        let mut lines = Vec::with_capacity(text.len());
        for octet in octets {
            if std::mem::take(&mut carried) && octet != b'\n' {
                lines.push(b'\r');
            }
            match octet {
                b'\r' => carried = true,
                octet => lines.push(octet),
            }
        }
        out.write_all(&lines)
    })?;
    out.flush()?;
    Ok(exit)
}

/// `sluice queue hold`, `release`, `return`, `delete`, `retry`.
pub(crate) fn act(act: Act, with: &QueueAct) -> Result<Exit, Failure> {
    let common = &with.common;
    if with.which.is_everything() != with.all {
        crate::complain(if with.all {
            "`--all` means everything; leave it out, or the rest"
        } else {
            "say which: ids, a selector, an option such as --sender; or --all"
        });
        return Ok(Exit::Usage);
    }
    let mut filter = filter(&with.which);
    if !is_one_id(&with.which) || with.dry_run {
        let mut count = Value::Null;
        let exit = ask(common, &Request::QueueCount { filter: filter.clone() }, |row| {
            count = row.clone();
            Ok(())
        })?;
        if exit != Exit::Ok {
            return Ok(exit);
        }
        let counted = counted(&count);
        if with.dry_run {
            return dry_run(common, filter, &count, &counted);
        }
        if count["entries"] == 0 {
            crate::complain(&format!("{counted}; nothing to do"));
            return Ok(Exit::Ok);
        }
        let (question, otherwise) = (format!("{counted}\n{} them?", name(act)), refused(act, &counted));
        if !with.yes && !consent::given(&question, &otherwise)? {
            return Ok(Exit::Usage);
        }
        // What comes in from now on was in no count.
        filter.up_to = count["newest"].as_str().map(str::to_owned);
        if with.yes {
            crate::complain(&counted);
        }
    }
    let request = Request::QueueAct { act, filter, by: who(), reason: with.reason.clone() };
    ask(common, &request, |row| match common.format {
        Format::Json => line(&row.to_string()),
        Format::Text => line(&done(act, row)),
    })
}

fn dry_run(common: &Common, filter: Filter, count: &Value, counted: &str) -> Result<Exit, Failure> {
    let mut table = Table::new(common.format, COLUMNS);
    let request = Request::QueueList { selector: None, filter, limit: DRY_RUN_MAX };
    let exit = ask(common, &request, |row| table.row(row))?;
    match common.format {
        Format::Json => line(&count.to_string())?,
        Format::Text if count["entries"] != 0 => table.finish("")?,
        Format::Text => {}
    }
    crate::complain(&format!("{counted}; nothing was done"));
    Ok(exit)
}

/// What is said where there is nobody to ask.
fn refused(act: Act, counted: &str) -> String {
    format!("{counted}; nothing was done: --yes is needed to {} them, --dry-run lists them", name(act))
}

fn counted(count: &Value) -> String {
    let number = |field: &str| count[field].as_u64().unwrap_or(0);
    let some = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let mut text = format!(
        "{} of {}, {} octets",
        some(number("entries"), "entry", "entries"),
        some(number("messages"), "message", "messages"),
        number("bytes"),
    );
    for (field, words) in [
        ("active", "in delivery"),
        ("held", "on hold"),
        ("others", "other recipients in the same entries"),
        ("unreadable", "cannot be read and are left alone"),
    ] {
        if number(field) > 0 {
            text.push_str(&format!("; {} {words}", number(field)));
        }
    }
    text
}

fn done(act: Act, row: &Value) -> String {
    let number = |field: &str| row[field].as_u64().unwrap_or(0);
    let word = match act {
        Act::Hold => "held",
        Act::Release => "released",
        Act::Return => "returned",
        Act::Delete => "deleted",
        Act::Retry => "due now",
    };
    let mut text =
        format!("{} {}: {word}", number("done"), if number("done") == 1 { "entry" } else { "entries" });
    let active = match act {
        Act::Hold | Act::Return | Act::Delete => format!("in delivery: {word} if deferred"),
        Act::Release | Act::Retry => "in delivery".to_owned(),
    };
    for (field, words) in [
        ("active", active.as_str()),
        ("unchanged", "unchanged"),
        ("held", "on hold"),
        ("closed", "of them not tried: channel stopped or domain suspended"),
        ("gone", "gone meanwhile"),
        ("failed", "on hold instead, no notice could be made"),
        ("unreadable", "cannot be read and were left alone"),
    ] {
        if number(field) > 0 {
            text.push_str(&format!("; {} {words}", number(field)));
        }
    }
    text
}

fn name(act: Act) -> &'static str {
    match act {
        Act::Hold => "hold",
        Act::Release => "release",
        Act::Return => "return",
        Act::Delete => "delete",
        Act::Retry => "retry",
    }
}

/// The person at the terminal, as the log shall name them. Whoever can open the socket may do everything, so this is for
/// finding out later and not for permission.
pub(crate) fn who() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|name| !name.is_empty());
    variable("SUDO_USER").or_else(|| variable("USER")).or_else(|| variable("LOGNAME")).unwrap_or_default()
}

fn is_id(text: &str) -> bool {
    let bare = text.strip_prefix("id:").unwrap_or(text);
    bare.len() == ID_DIGITS && bare.bytes().all(|octet| octet.is_ascii_hexdigit())
}

/// Whether exactly one message is named, by its id and nothing else.
fn is_one_id(which: &Which) -> bool {
    let rest = Which { selectors: Vec::new(), ..which.clone() };
    which.selectors.len() == 1 && is_id(&which.selectors[0]) && rest.is_everything()
}

fn filter(which: &Which) -> Filter {
    let selector = |text: &String| {
        if is_id(text) {
            format!("id:{}", text.trim_start_matches("id:").to_uppercase())
        } else {
            text.clone()
        }
    };
    let state = |state: &Standing| match state {
        Standing::Waiting => "waiting",
        Standing::Active => "active",
        Standing::Deferred => "deferred",
        Standing::Held => "held",
    };
    Filter {
        selectors: which.selectors.iter().map(selector).collect(),
        channels: which.channel.clone(),
        domains: which.domain.clone(),
        ids: Vec::new(),
        senders: which.sender.clone(),
        recipients: which.recipient.clone(),
        older_than: which.older_than.map(|time| time.as_secs()),
        newer_than: which.newer_than.map(|time| time.as_secs()),
        larger_than: which.larger_than,
        smaller_than: which.smaller_than,
        states: which.state.iter().map(|one| state(one).to_owned()).collect(),
        after: None,
        up_to: None,
    }
}
