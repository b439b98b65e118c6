//! The rows about mail that passes through, or comes in: smtp-source in front, a sink behind, Sluice and Postfix in turns.

use super::kept::{Goal, Row};
use super::median;
use super::relay::{self, Run, Shape, accepted_from_ours, accepted_per_second};
use super::relays::{Relay, Wanted, start_postfix, start_sluice};
use super::sinks::{FastSink, SmtpSink};
use super::table::Ground;
use anyhow::Result;
use serde_json::json;

/// A relay row.
struct Load {
    name: &'static str,
    what: &'static str,
    shape: Shape,
    /// Messages in a run of Sluice and of Postfix: runs should take about as long.
    messages: [u32; 2],
    target: f64,
}

const PLAIN: Shape = Shape { sessions: 20, size: 4096, reuse: false };

const LOADS: &[Load] = &[
    Load {
        name: "relay",
        what: "relay, 20 sessions, 4 KiB",
        shape: PLAIN,
        messages: [10_000, 2_500],
        target: 10.0,
    },
    Load {
        name: "kept",
        what: "  kept connections",
        shape: Shape { reuse: true, ..PLAIN },
        messages: [10_000, 2_500],
        target: 10.0,
    },
    Load {
        name: "1k",
        what: "  1 KiB",
        shape: Shape { size: 1024, ..PLAIN },
        messages: [10_000, 2_500],
        target: 8.0,
    },
    Load {
        name: "64k",
        what: "  64 KiB",
        shape: Shape { size: 65_536, ..PLAIN },
        messages: [4_000, 1_500],
        target: 6.0,
    },
    Load {
        name: "single",
        what: "  1 session",
        shape: Shape { sessions: 1, ..PLAIN },
        messages: [2_000, 600],
        target: 4.0,
    },
];

/// Messages of a run straight to a sink, and of one into a held channel.
const DIRECT: u32 = 10_000;
const ACCEPTED: [u32; 2] = [10_000, 2_500];
/// Messages of a run with the source of ours.
const PIPELINED: [u32; 2] = [20_000, 3_000];

pub(super) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let wants = |load: &&Load| ground.wants(load.name) || (load.name == "relay" && ground.wants("cpu"));
    let loads: Vec<&Load> = LOADS.iter().filter(wants).collect();
    let mut rows = Vec::new();
    // Each relay row says how far source and sink alone would come with the same messages.
    if ground.wants("direct") {
        let direct = direct(ground, PLAIN)?;
        rows.push(direct_row(ground, &direct)?);
    }
    if !loads.is_empty() || ground.wants("pipelined") {
        relays(ground, &loads, &mut rows)?;
    }
    if ground.wants("accept") {
        rows.push(accept(ground)?);
    }
    Ok(rows)
}

/// Messages a second from the source straight to the fast sink, run by run.
fn direct(ground: &Ground, shape: Shape) -> Result<Vec<f64>> {
    let sink = FastSink::start()?;
    let messages = count(ground, if shape.size > 8192 { DIRECT / 2 } else { DIRECT });
    (0..ground.runs).map(|_| accepted_per_second(sink.port(), shape, messages)).collect()
}

fn direct_row(ground: &Ground, ours: &[f64]) -> Result<Row> {
    ground.says("direct: source to sink");
    let theirs = SmtpSink::start(ground.folder.path(), "direct")?;
    let smtp_sink: Vec<f64> = (0..ground.runs)
        .map(|_| accepted_per_second(theirs.port, PLAIN, count(ground, DIRECT)))
        .collect::<Result<_>>()?;
    let (ours_median, theirs_median) = (median(ours.iter().copied()), median(smtp_sink.iter().copied()));
    Ok(Row {
        name: "direct",
        what: "source straight to the sink".to_owned(),
        sluice: format!("{ours_median:.0}/s"),
        postfix: format!("{theirs_median:.0}/s"),
        goals: Vec::new(),
        limit: "our sink on the left, smtp-sink on the right; smtp-source is one process".to_owned(),
        details: json!({ "our_sink": ours, "smtp_sink": smtp_sink }),
    })
}

fn relays(ground: &Ground, loads: &[&Load], rows: &mut Vec<Row>) -> Result<()> {
    let sinks = [FastSink::start()?, FastSink::start()?];
    let folder = ground.folder.path();
    let relays = [
        start_sluice(&ground.sluice, &folder.join("relay-sluice"), sinks[0].port(), Wanted::Relay)?,
        start_postfix(&folder.join("relay-postfix"), sinks[1].port(), Wanted::Relay)?,
    ];
    for load in loads {
        let direct = direct(ground, load.shape)?;
        let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
        for turn in 0..=ground.runs {
            for (which, relay) in relays.iter().enumerate() {
                // The first turn is small and not counted: processes are started, tables and caches are filled.
                let messages = count(ground, load.messages[which]);
                let messages = if turn == 0 { messages / 10 + 1 } else { messages };
                let run = relay::measure(relay, &|| sinks[which].count(), load.shape, messages)?;
                if turn > 0 {
                    ground.says(&format!(
                        "{} {turn}: {} {:.0}/s, {:.2} CPU s per 1,000",
                        load.name, relay.name, run.rate, run.cpu_per_thousand
                    ));
                    runs[which].push(run);
                }
            }
        }
        compare(ground, load, &runs, &direct, rows);
    }
    if ground.wants("pipelined") {
        rows.push(pipelined(ground, &relays, &sinks)?);
    }
    ground.says(&format!(
        "connections to the sinks: {} and {}",
        sinks[0].connections(),
        sinks[1].connections()
    ));
    Ok(())
}

/// Both relays between a source and a sink of ours: neither is the limit then.
fn pipelined(ground: &Ground, relays: &[Relay; 2], sinks: &[FastSink; 2]) -> Result<Row> {
    let shape = Shape { reuse: true, ..PLAIN };
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    let alone = FastSink::start()?;
    let direct: Vec<f64> = (0..ground.runs)
        .map(|_| accepted_from_ours(alone.port(), shape, count(ground, PIPELINED[0])))
        .collect::<Result<_>>()?;
    for turn in 0..=ground.runs {
        for (which, relay) in relays.iter().enumerate() {
            let messages = count(ground, PIPELINED[which]);
            let messages = if turn == 0 { messages / 10 + 1 } else { messages };
            let run = relay::measure_with_ours(relay, &|| sinks[which].count(), shape, messages)?;
            if turn > 0 {
                ground.says(&format!("pipelined {turn}: {} {:.0}/s", relay.name, run.rate));
                runs[which].push(run);
            }
        }
    }
    let [sluice, postfix] = [0, 1].map(|which| median(runs[which].iter().map(|run| run.rate)));
    let cpu = [0, 1].map(|which| median(runs[which].iter().map(|run| run.cpu_per_thousand)));
    let rates = |which: usize| runs[which].iter().map(|run| run.rate).collect::<Vec<_>>();
    Ok(Row {
        name: "pipelined",
        what: "  kept, a source of ours that pipelines".to_owned(),
        sluice: format!("{sluice:.0}/s"),
        postfix: format!("{postfix:.0}/s"),
        goals: vec![Goal::at_least(10.0, sluice / postfix).named("(≥ 10 x)")],
        limit: format!(
            "no target: what the hub does when smtp-source is not the limit; {:.3} and {:.3} CPU s per 1,000; direct {:.0}/s",
            cpu[0],
            cpu[1],
            median(direct.iter().copied())
        ),
        details: json!({ "sluice": rates(0), "postfix": rates(1), "direct": direct, "cpu_seconds_per_1000": cpu }),
    })
}

fn compare(ground: &Ground, load: &Load, runs: &[Vec<Run>; 2], direct: &[f64], rows: &mut Vec<Row>) {
    let medians = [0, 1].map(|which| Run {
        rate: median(runs[which].iter().map(|run| run.rate)),
        cpu_per_thousand: median(runs[which].iter().map(|run| run.cpu_per_thousand)),
    });
    let [sluice, postfix] = medians;
    let alone = median(direct.iter().copied());
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let busy = |run: Run| run.rate * run.cpu_per_thousand / 1000.0;
    let each = |which: usize| {
        let of = |run: &Run| json!({ "messages_per_second": run.rate, "cpu_seconds_per_1000": run.cpu_per_thousand });
        runs[which].iter().map(of).collect::<Vec<_>>()
    };
    if ground.wants(load.name) {
        let mut goals = vec![Goal::at_least(load.target, sluice.rate / postfix.rate)];
        let mut limit = format!(
            "direct {alone:.0}/s; of {processors} processors the hub has {:.2}, Postfix {:.2}; source and sink the rest",
            busy(sluice),
            busy(postfix)
        );
        if load.name == "relay" {
            goals.push(Goal::at_least(0.7, sluice.rate / alone).named("≥ 0.7 x direct"));
        }
        if load.shape.sessions == 1 {
            limit = "one message at a time: each waits for its sync".to_owned() + "; " + &limit;
        }
        rows.push(Row {
            name: load.name,
            what: load.what.to_owned(),
            sluice: format!("{:.0}/s", sluice.rate),
            postfix: format!("{:.0}/s", postfix.rate),
            goals,
            limit,
            details: json!({ "sluice": each(0), "postfix": each(1), "direct": direct, "messages": load.messages }),
        });
    }
    if load.name == "relay" && ground.wants("cpu") {
        let share = sluice.cpu_per_thousand / postfix.cpu_per_thousand;
        rows.push(Row {
            name: "cpu",
            what: "CPU s per 1,000 messages".to_owned(),
            sluice: format!("{:.3}", sluice.cpu_per_thousand),
            postfix: format!("{:.3}", postfix.cpu_per_thousand),
            goals: vec![Goal::at_most(1.0 / 15.0, share, "x").named("≤ 1/15")],
            limit: format!("1/{:.1}; most of it is the kernel's: sockets, syncs", 1.0 / share),
            details: json!({ "sluice": each(0), "postfix": each(1) }),
        });
    }
}

fn accept(ground: &Ground) -> Result<Row> {
    // Nothing is sent there: what is accepted stays.
    let sink = FastSink::start()?;
    let folder = ground.folder.path();
    let relays = [
        start_sluice(&ground.sluice, &folder.join("accept-sluice"), sink.port(), Wanted::Held)?,
        start_postfix(&folder.join("accept-postfix"), sink.port(), Wanted::Held)?,
    ];
    let mut rates: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for turn in 0..=ground.runs {
        for (which, relay) in relays.iter().enumerate() {
            let messages = count(ground, ACCEPTED[which]);
            let messages = if turn == 0 { messages / 10 + 1 } else { messages };
            let rate = accepted_per_second(relay.port, PLAIN, messages)?;
            if turn > 0 {
                ground.says(&format!("accept {turn}: {} {rate:.0}/s", relay.name));
                rates[which].push(rate);
            }
        }
    }
    let mut ours: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..ground.runs {
        for (which, relay) in relays.iter().enumerate() {
            let shape = Shape { reuse: true, ..PLAIN };
            ours[which].push(accepted_from_ours(relay.port, shape, count(ground, ACCEPTED[which]))?);
        }
    }
    anyhow::ensure!(sink.count() == 0, "{} messages were passed on that should have been held", sink.count());
    let direct = direct(ground, PLAIN)?;
    let [sluice, postfix] = [0, 1].map(|which| median(rates[which].iter().copied()));
    let [ours_sluice, ours_postfix] = [0, 1].map(|which| median(ours[which].iter().copied()));
    Ok(Row {
        name: "accept",
        what: "accept only (held channel)".to_owned(),
        sluice: format!("{sluice:.0}/s"),
        postfix: format!("{postfix:.0}/s"),
        goals: vec![Goal::at_least(15.0, sluice / postfix)],
        limit: format!(
            "smtp-source alone: {:.0}/s to a sink that only counts; a source of ours that pipelines: {ours_sluice:.0}/s and \
             {ours_postfix:.0}/s, {:.1} x",
            median(direct.iter().copied()),
            ours_sluice / ours_postfix
        ),
        details: json!({
            "sluice": rates[0], "postfix": rates[1], "direct": direct, "sluice_pipelined": ours[0], "postfix_pipelined": ours[1],
        }),
    })
}

/// A tenth of it where all is small.
fn count(ground: &Ground, messages: u32) -> u32 {
    if ground.is_small { messages / 10 } else { messages }
}
