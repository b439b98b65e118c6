//! Records of releases as the control socket answers them.
//!
//! Not here: the records (`sluice_dispatch`), the words for people (`commands::release`).

use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_admin::protocol::{ReleaseRow, SumRow};
use sluice_admin::{Fault, FaultKind};
use sluice_dispatch::{Busy, Count, Handle, ReleaseId, ReleaseRecord, ask};
use sluice_mail::rfc3339;

/// Most rows of one listing.
const LIST_LIMIT_MAX: u64 = 100_000;
/// How often a release that somebody follows is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A row at least so often, so that the reader knows that the hub is there.
const WORD_EVERY: Duration = Duration::from_secs(10);

type Rows<'a> = &'a mut dyn FnMut(Value) -> bool;

/// Answers `release-list`.
pub(crate) fn list(hub: &Handle, site: Option<String>, limit: u64, row: Rows<'_>) -> Result<(), Fault> {
    let limit = limit.min(LIST_LIMIT_MAX) as usize;
    for record in ask(|done| hub.releases(site, limit, done)).map_err(busy)? {
        if !put(row, &record) {
            break;
        }
    }
    Ok(())
}

/// Answers `release-show`.
pub(crate) fn show(hub: &Handle, id: &str, row: Rows<'_>) -> Result<(), Fault> {
    put(row, &find(hub, read(id)?)?);
    Ok(())
}

/// Answers `release-follow`.
pub(crate) fn follow(hub: &Handle, id: Option<&str>, row: Rows<'_>) -> Result<(), Fault> {
    let id = match id {
        Some(id) => read(id)?,
        None => {
            let newest = ask(|done| hub.releases(None, LIST_LIMIT_MAX as usize, done)).map_err(busy)?;
            let under_way = newest.iter().find(|record| record.ended.is_none());
            let found = under_way.or(newest.first());
            found.map(|record| record.id).ok_or_else(|| {
                Fault::new(FaultKind::Unknown, "there has been no release yet; `sluice trigger` makes one")
            })?
        }
    };
    let mut record = find(hub, id)?;
    let mut told = Instant::now();
    if !put(row, &record) {
        return Ok(());
    }
    while record.ended.is_none() {
        std::thread::sleep(LOOK_EVERY);
        let now = find(hub, id)?;
        if now != record || told.elapsed() >= WORD_EVERY {
            told = Instant::now();
            if !put(row, &now) {
                return Ok(());
            }
        }
        record = now;
    }
    Ok(())
}

fn read(id: &str) -> Result<ReleaseId, Fault> {
    let bad =
        |_| Fault::new(FaultKind::Malformed, format!("`{}` is not the id of a release", id.escape_debug()));
    id.parse().map_err(bad)
}

fn find(hub: &Handle, id: ReleaseId) -> Result<ReleaseRecord, Fault> {
    let record = ask(|done| hub.release_record(id, done)).map_err(busy)?;
    record.ok_or_else(|| {
        let what =
            format!("there is no record of a release {id}; `sluice release list` shows those there are");
        Fault::new(FaultKind::Unknown, what)
    })
}

fn busy(busy: Busy) -> Fault {
    Fault::new(FaultKind::Unavailable, busy.to_string())
}

fn put(row: Rows<'_>, record: &ReleaseRecord) -> bool {
    row(serde_json::to_value(row_of(record)).unwrap_or_default())
}

fn row_of(record: &ReleaseRecord) -> ReleaseRow {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let count =
        |count: Count| SumRow { messages: count.messages, recipients: count.recipients, bytes: count.bytes };
    let tally = &record.tally;
    ReleaseRow {
        id: record.id.to_string(),
        state: if record.ended.is_some() { "ended" } else { "running" }.to_owned(),
        asked: rfc3339(record.asked),
        by: record.by.clone(),
        site: text(&record.site),
        login: text(&record.login),
        address: text(&record.address),
        helo: text(&record.helo),
        channel: text(&record.channel),
        argument: text(&record.argument),
        covers: record.covers.clone(),
        way: record.way.clone(),
        promised: count(record.promised),
        elsewhere: count(record.elsewhere),
        with: record.with.iter().map(ToString::to_string).collect(),
        joined: count(tally.joined),
        waiting: count(tally.waiting),
        delivered: count(tally.delivered),
        deferred: count(tally.deferred),
        bounced: count(tally.bounced),
        left_over: count(tally.left),
        last_text: text(&record.last_text),
        ended: record.ended.map(|(at, _)| rfc3339(at)),
        end: record.ended.map(|(_, why)| why.to_string()),
    }
}
