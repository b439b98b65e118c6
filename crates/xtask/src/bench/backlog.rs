//! The rows about releases out of a backlog, and the drain of a large one.
//!
//! Each asked site has a hundred messages; a message is delivered when it is complete at the sink, and the clock starts when
//! ETRN is sent. Beside a backlog of a million stands a second hub's worth of sites below one name, of which few have mail.

use super::filled::{Backlog, Hub, PATIENCE, configure, fill};
use super::kept::{Goal, Row};
use super::postfix_backlog::{self, Theirs};
use super::sinks::FastSink;
use super::table::Ground;
use super::{median, millis, soon};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_testkit::Talk;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// Messages for each site that asks.
pub(super) const EACH: usize = 100;
/// Messages that wait for others, in turn.
const OTHERS: [usize; 3] = [0, 10_000, 1_000_000];
/// Sites below the name of the row `subnet`, and those of them that have mail: one message each.
const SUBNET: usize = 10_000;
const WITH_MAIL: usize = 100;
/// Messages of the drain.
const DRAINED: usize = 100_000;

/// What a site saw that asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) reply: f64,
    pub(super) first: f64,
    pub(super) last: f64,
}

/// Asks for a site's mail, and waits until all of it is there.
pub(super) fn ask(talk: &mut Talk, sink: &FastSink, site: &str, codes: &[u16]) -> Result<Asked> {
    sink.note();
    let asked = Instant::now();
    let reply = talk.ask(&format!("ETRN {site}"))?;
    let answered = Instant::now();
    ensure!(codes.contains(&reply.code), "ETRN {site}: {reply}");
    let last = soon(PATIENCE, || sink.when(site, EACH)).with_context(|| format!("{site} lacks mail"))?;
    let first = sink.when(site, 1).unwrap_or(last);
    Ok(Asked { reply: millis(answered - asked), first: millis(first - asked), last: millis(last - asked) })
}

/// The middle of each figure.
fn middle(asked: &[Asked]) -> Asked {
    let of = |figure: fn(&Asked) -> f64| median(asked.iter().map(figure));
    Asked { reply: of(|asked| asked.reply), first: of(|asked| asked.first), last: of(|asked| asked.last) }
}

fn details(asked: &[Asked]) -> Value {
    let of = |figure: fn(&Asked) -> f64| asked.iter().map(figure).collect::<Vec<_>>();
    json!({
        "reply_ms": of(|asked| asked.reply), "first_ms": of(|asked| asked.first), "hundredth_ms": of(|asked| asked.last),
    })
}

pub(super) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let theirs = if ground.wants("etrn") || ground.wants("drain") {
        postfix_backlog::measure(ground)?
    } else {
        Theirs::default()
    };
    if ground.wants("etrn") {
        for others in OTHERS {
            rows.push(etrn(ground, others, theirs.asked(others))?);
        }
    }
    if ground.wants("subnet") {
        rows.push(subnet(ground)?);
    }
    if ground.wants("drain") {
        rows.push(drain(ground, &theirs)?);
    }
    Ok(rows)
}

fn etrn(ground: &Ground, others: usize, theirs: &[Asked]) -> Result<Row> {
    let others = ground.scaled(others);
    ground.says(&format!("etrn: {others} messages for others"));
    let folder = ground.folder.path().join(format!("etrn-{others}"));
    let sink = FastSink::start()?;
    // One more than is counted: the first one starts what has to be started.
    let asks = ground.runs as usize * 2 + 1;
    configure(&folder, sink.port(), 1, &["asked.example"])?;
    let groups = vec![format!("{EACH}*{asks}@asked.example")];
    fill(&folder, &Backlog { messages: others, domains: others / 10, channels: 1, groups, size: 0 })?;
    let hub = Hub::start(&ground.sluice, &folder)?;
    hub.settle()?;
    let mut talk = hub.talk()?;
    let mut asked = Vec::new();
    for site in 0..asks {
        let seen = ask(&mut talk, &sink, &format!("s{site}.asked.example"), &[253])?;
        if site > 0 {
            asked.push(seen);
        }
    }
    let Asked { reply, first, last } = middle(&asked);
    let shown = |seen: Asked| format!("{:.2}, {:.1}, {:.0} ms", seen.reply, seen.first, seen.last);
    hub.stop()?;
    // It may be gigabytes.
    fs::remove_dir_all(&folder).context("cannot remove a spool")?;
    Ok(Row {
        name: "etrn",
        what: format!("ETRN: reply, first, 100th; {others} for others"),
        sluice: shown(Asked { reply, first, last }),
        postfix: if theirs.is_empty() { String::new() } else { shown(middle(theirs)) },
        goals: vec![
            Goal::at_most(1.0, reply, "ms").named("reply ≤ 1 ms"),
            Goal::at_most(3.0, first, "ms").named("first ≤ 3 ms"),
            Goal::at_most(30.0, last, "ms").named("100th ≤ 30 ms"),
        ],
        limit: "round trips with the sink, 20 connections".to_owned(),
        details: json!({ "others": others, "sluice": details(&asked), "postfix": details(theirs) }),
    })
}

/// Sites of which few have mail; each is configured.
fn sites(folder: &Path, count: usize) -> Result<()> {
    let mut text = String::new();
    for site in 0..count {
        writeln!(text, "[SITE=s{site}]\nDOMAINS=s{site}.subnet.example\nCHANNEL=tcp_many0\n")?;
    }
    fs::write(folder.join("sites.cnf"), text).context("cannot write sites.cnf")
}

fn subnet(ground: &Ground) -> Result<Row> {
    let count = ground.scaled(SUBNET);
    ground.says(&format!("subnet: {count} sites"));
    let sink = FastSink::start()?;
    let mut firsts = Vec::new();
    let mut replies = Vec::new();
    for run in 0..ground.runs {
        let folder = ground.folder.path().join(format!("subnet-{run}"));
        configure(&folder, sink.port(), 1, &["subnet.example", "first.example"])?;
        sites(&folder, count)?;
        let groups = vec![format!("1*{WITH_MAIL}@subnet.example"), "1*1@first.example".to_owned()];
        fill(&folder, &Backlog { groups, ..Backlog::default() })?;
        let hub = Hub::start(&ground.sluice, &folder)?;
        hub.settle()?;
        let mut talk = hub.talk()?;
        // The first delivery of a hub starts the plugin.
        let first = sink.count() + 1;
        talk.ask("ETRN s0.first.example")?;
        soon(PATIENCE, || (sink.count() == first).then_some(()))
            .context("the first message did not arrive")?;
        sink.note();
        let before = sink.count();
        let asked = Instant::now();
        let reply = talk.ask("ETRN @subnet.example")?;
        replies.push(millis(asked.elapsed()));
        ensure!(reply.code == 253, "ETRN @subnet.example: {reply}");
        let all = soon(PATIENCE, || (sink.count() == before + WITH_MAIL as u64).then_some(()));
        all.context("not all of the mail arrived")?;
        firsts.push(millis(sink.first().context("nothing arrived")? - asked));
        hub.stop()?;
    }
    let first = median(firsts.iter().copied());
    Ok(Row {
        name: "subnet",
        what: format!("ETRN @subnet, {count} sites, {WITH_MAIL} with mail"),
        sluice: format!("first {first:.1} ms"),
        postfix: String::new(),
        goals: vec![Goal::at_most(5.0, first, "ms").named("first ≤ 5 ms")],
        limit: format!(
            "the sites of the name are found by a range of reversed names; the reply takes {:.2} ms",
            median(replies.iter().copied())
        ),
        details: json!({ "first_ms": firsts, "reply_ms": replies }),
    })
}

fn drain(ground: &Ground, theirs: &Theirs) -> Result<Row> {
    let messages = ground.scaled(DRAINED);
    let sink = FastSink::start()?;
    let mut rates = Vec::new();
    // A drain takes long enough to be a good measure by itself.
    for run in 0..ground.runs.min(3) {
        let folder = ground.folder.path().join(format!("drain-{run}"));
        configure(&folder, sink.port(), 1, &["drain.example"])?;
        let groups = vec![format!("{messages}*1@drain.example")];
        fill(&folder, &Backlog { groups, size: 4096, ..Backlog::default() })?;
        let hub = Hub::start(&ground.sluice, &folder)?;
        hub.settle()?;
        let mut talk = hub.talk()?;
        let wanted = sink.count() + messages as u64;
        let asked = Instant::now();
        let reply = talk.ask("ETRN s0.drain.example")?;
        ensure!(reply.code == 253, "ETRN s0.drain.example: {reply}");
        let time = soon(PATIENCE, || (sink.count() >= wanted).then(|| asked.elapsed()));
        let time = time.context("not all of the mail arrived")?;
        rates.push(messages as f64 / time.as_secs_f64());
        ground.says(&format!("drain {run}: sluice {:.0}/s", messages as f64 / time.as_secs_f64()));
        hub.stop()?;
        fs::remove_dir_all(&folder).context("cannot remove a spool")?;
    }
    let (rate, their_rate) = (median(rates.iter().copied()), median(theirs.drains.iter().copied()));
    Ok(Row {
        name: "drain",
        what: format!("drain of {messages} messages"),
        sluice: format!("{rate:.0}/s"),
        postfix: format!("{their_rate:.0}/s"),
        goals: vec![Goal::at_least(5.0, rate / their_rate)],
        limit: format!("one peer, 20 connections; Postfix had {} messages to drain", theirs.drained),
        details: json!({ "sluice": rates, "postfix": theirs.drains, "postfix_messages": theirs.drained }),
    })
}
