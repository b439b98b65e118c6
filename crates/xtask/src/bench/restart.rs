//! The rows about a million messages that wait for a hundred thousand domains: how soon the hub is there again, and what
//! memory it takes.
//!
//! *Memory* is what is the process's own (`RssAnon` and `RssShmem`), without the pages of files that it has mapped: those are the
//! system's cache, which it takes back whenever it wants, and the hub's program text is shared. Idle is a hub that listens
//! and has not had a message.
//!
//! The clock of a *restart* runs from the start of the program. The greeting is that of a session that is tried each
//! millisecond; the first delivery is the first message that is complete at the sink, for a site that asks by ETRN as soon as it is
//! greeted. The hub before was stopped in one half of the starts and killed in the other.

use super::filled::{Backlog, Hub, PATIENCE, configure, fill};
use super::kept::{Goal, Row};
use super::sinks::FastSink;
use super::table::Ground;
use super::usage::{Memory, cpu_seconds, memory};
use super::{median, soon};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Instant;

const MESSAGES: usize = 1_000_000;
const DOMAINS: usize = 100_000;
/// Starts after a stop, and as many after a kill.
const STARTS: usize = 3;

pub(super) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if !ground.wants("restart") && !ground.wants("memory") {
        return Ok(rows);
    }
    let sink = FastSink::start()?;
    sink.note();
    let folder = ground.folder.path().join("restart");
    configure(&folder, sink.port(), 1, &[])?;
    let hub = Hub::start(&ground.sluice, &folder)?;
    hub.settle()?;
    let idle = memory(hub.id())?;
    hub.stop()?;
    let messages = ground.scaled(MESSAGES);
    let domains = ground.scaled(DOMAINS);
    ground.says(&format!("restart: {messages} messages for {domains} domains"));
    fill(&folder, &Backlog { messages, domains, channels: 1, ..Backlog::default() })?;
    // The first start reads every envelope: no hub has seen these messages. It writes what later ones read.
    let first = Hub::start(&ground.sluice, &folder)?;
    let unseen = (first.greeted - first.begun).as_secs_f64();
    let unseen_cpu = cpu_seconds(first.id())?;
    first.settle()?;
    let grown = memory(first.id())?;
    first.stop()?;
    let (mut greetings, mut deliveries) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut full = grown;
    for turn in 0..STARTS * 2 {
        let hub = Hub::start(&ground.sluice, &folder)?;
        let delivered = first_delivery(&hub, &sink, &format!("s{turn}.c0.example"))?;
        let which = turn % 2;
        greetings[which].push((hub.greeted - hub.begun).as_secs_f64());
        deliveries[which].push((delivered - hub.begun).as_secs_f64());
        ground.says(&format!(
            "restart {turn}: 220 after {:.2} s, first delivery after {:.2} s",
            (hub.greeted - hub.begun).as_secs_f64(),
            (delivered - hub.begun).as_secs_f64()
        ));
        hub.settle()?;
        full = memory(hub.id())?;
        if which == 0 { hub.kill() } else { hub.stop()? }
    }
    if ground.wants("restart") {
        rows.push(unread_row(messages, unseen, unseen_cpu));
        let all = |times: &[Vec<f64>; 2]| median(times.iter().flatten().copied());
        let (greeting, delivery) = (all(&greetings), all(&deliveries));
        rows.push(Row {
            name: "restart",
            what: format!("restart with {messages} queued"),
            sluice: format!("220 {greeting:.2} s; first {delivery:.2} s"),
            postfix: String::new(),
            goals: vec![
                Goal::at_most(1.0, greeting, "s").named("220 ≤ 1 s"),
                Goal::at_most(2.0, delivery, "s").named("first ≤ 2 s"),
            ],
            limit: format!(
                "the queues are put together before the greeting; after a stop {:.2} s, after a kill {:.2} s; {unseen:.2} s when \
                 every envelope has to be read",
                median(greetings[0].iter().copied()),
                median(greetings[1].iter().copied())
            ),
            details: json!({
                "greeting_s": { "after_stop": greetings[0], "after_kill": greetings[1], "all_envelopes_unread": unseen },
                "first_delivery_s": { "after_stop": deliveries[0], "after_kill": deliveries[1] },
            }),
        });
    }
    if ground.wants("memory") {
        rows.push(memory_row(messages, idle, grown, full));
    }
    Ok(rows)
}

fn first_delivery(hub: &Hub, sink: &FastSink, site: &str) -> Result<Instant> {
    sink.note();
    let mut talk = hub.talk()?;
    let reply = talk.ask(&format!("ETRN {site}"))?;
    ensure!(reply.code == 253, "ETRN {site}: {reply}");
    soon(PATIENCE, || sink.when(site, 1)).with_context(|| format!("nothing arrived for {site}"))
}

/// A hub that was killed before it had said anything about its messages: every segment is gone over, and every envelope read.
fn unread_row(messages: usize, greeting: f64, cpu: f64) -> Row {
    Row {
        name: "restart",
        what: format!("start with {messages} queued, of which every envelope has to be read"),
        sluice: format!("220 {greeting:.2} s; {cpu:.2} CPU s"),
        postfix: String::new(),
        goals: Vec::new(),
        limit: "checksums of all bodies, and a stretch of a segment fetched for about a thousand messages"
            .to_owned(),
        details: json!({ "greeting_s": greeting, "cpu_s": cpu, "messages": messages }),
    }
}

fn memory_row(messages: usize, idle: Memory, grown: Memory, full: Memory) -> Row {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let each = |memory: Memory| memory.own.saturating_sub(idle.own) as f64 / messages as f64;
    Row {
        name: "memory",
        what: "memory: idle; for each queued message".to_owned(),
        sluice: format!("{:.1} MiB; {:.0} bytes", mebibytes(idle.own), each(full)),
        postfix: String::new(),
        goals: vec![
            Goal::at_most(15.0, mebibytes(idle.own), "MiB").named("idle ≤ 15 MiB"),
            Goal::at_most(120.0, each(full), "bytes").named("≤ 120 bytes"),
        ],
        limit: format!(
            "own pages only; idle has {:.1} MiB of mapped files beside them, the program's text above all; {:.0} bytes each when all \
             envelopes were read",
            mebibytes(idle.files),
            each(grown)
        ),
        details: json!({
            "idle_own": idle.own, "idle_files": idle.files, "queued_own": full.own, "queued_files": full.files,
            "queued_own_after_reading_envelopes": grown.own, "messages": messages,
        }),
    }
}
