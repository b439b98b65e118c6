//! `cargo xtask bench relay`: smtp-source → a relay → a sink, once through Sluice and once through Postfix, in turns.
//!
//! Both relays take the same messages over loopback, make them durable on the same disk, and pass them to the same kind
//! of sink. The clock runs from the first connection until the sink has the last message. The processor time is that of
//! the relay alone, all its processes together. What is printed is the median of the runs.

use super::relays::{Relay, Wanted, start_postfix, start_sluice};
use super::sinks::{FastSink, SmtpSink};
use super::sources;
use super::usage::cpu_seconds;
use super::{built, median, soon};
use crate::peers;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A run that takes longer than this is not a measurement any more.
const RUN_MAX: Duration = Duration::from_secs(300);
/// How long the relays have to write down what they have passed on, before their processor time is read.
const SETTLE: Duration = Duration::from_millis(200);
/// Where the source is.
const SOURCE: &str = "/usr/sbin/smtp-source";

/// What is sent, and how often.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Load {
    /// Messages in each run
    #[arg(long, default_value_t = 3000)]
    messages: u32,
    /// Sessions at the same time
    #[arg(long, default_value_t = 20)]
    sessions: u32,
    /// Size of a message in bytes
    #[arg(long, default_value_t = 4096)]
    size: u32,
    /// Runs of each relay; the median counts
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Keep each session open for many messages (smtp-source -d) instead of one connection for each
    #[arg(long)]
    reuse: bool,
    /// Send to smtp-sink instead of the sink of our own, which is faster
    #[arg(long)]
    smtp_sink: bool,
    /// Where queues and spools are put; it should be on a real disk, and others must be able to enter it
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Measure the development build: to try the benchmark itself, the numbers mean nothing
    #[arg(long)]
    dev: bool,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// How smtp-source sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) sessions: u32,
    pub(super) size: u32,
    /// Sessions are kept for many messages.
    pub(super) reuse: bool,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) rate: f64,
    pub(super) cpu_per_thousand: f64,
}

/// Both relays in turns, then the medians and their ratio.
pub(crate) fn relay(load: &Load) -> Result<()> {
    ensure!(load.messages > 0 && load.runs > 0 && load.sessions > 0, "nothing to measure");
    peers::install(false)?;
    let sluice = built(if load.dev { "dev" } else { "release" })?;
    let folder = super::folder(load.folder.as_deref())?;
    let sinks = if load.smtp_sink {
        [SmtpSink::start(folder.path(), "sluice")?, SmtpSink::start(folder.path(), "postfix")?]
            .map(AnySink::Theirs)
    } else {
        [FastSink::start()?, FastSink::start()?].map(AnySink::Ours)
    };
    let mut relays = [
        start_sluice(&sluice, &folder.path().join("sluice"), sinks[0].port(), Wanted::Relay)?,
        start_postfix(&folder.path().join("postfix"), sinks[1].port(), Wanted::Relay)?,
    ];
    let shape = Shape { sessions: load.sessions, size: load.size, reuse: load.reuse };
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for turn in 0..=load.runs {
        for (which, relay) in relays.iter_mut().enumerate() {
            // The first turn is small and not counted: processes are started, tables and caches are filled.
            let messages = if turn == 0 { load.messages / 10 + 1 } else { load.messages };
            let run = measure(relay, &|| sinks[which].count(), shape, messages)?;
            if turn > 0 {
                eprintln!(
                    "    {}, run {turn}: {:.0} messages/s, {:.2} CPU s per 1,000",
                    relay.name, run.rate, run.cpu_per_thousand
                );
                runs[which].push(run);
            }
        }
    }
    report(load, folder.path(), &relays, &runs);
    Ok(())
}

/// Either sink, for a comparison that lets one choose.
enum AnySink {
    Ours(FastSink),
    Theirs(SmtpSink),
}

impl AnySink {
    fn port(&self) -> u16 {
        match self {
            AnySink::Ours(sink) => sink.port(),
            AnySink::Theirs(sink) => sink.port,
        }
    }

    fn count(&self) -> u64 {
        match self {
            AnySink::Ours(sink) => sink.count(),
            AnySink::Theirs(sink) => sink.count(),
        }
    }
}

/// smtp-source, sending so many messages for this recipient to a port.
pub(super) fn source(port: u16, shape: Shape, messages: u32, to: &str) -> Command {
    let mut source = Command::new(SOURCE);
    let (sessions, count, size) = (shape.sessions.to_string(), messages.to_string(), shape.size.to_string());
    source.args(["-s", &sessions, "-m", &count, "-l", &size, "-f", "sender@origin.example", "-t", to]);
    if shape.reuse {
        source.arg("-d");
    }
    source.arg(format!("127.0.0.1:{port}")).stdin(Stdio::null());
    source
}

/// One run of one relay: until the sink, which counts so, has the last message.
pub(super) fn measure(relay: &Relay, count: &dyn Fn() -> u64, shape: Shape, messages: u32) -> Result<Run> {
    let before = count();
    let cpu_before = cpu_seconds(relay.root_process)?;
    let started = Instant::now();
    let mut source = source(relay.port, shape, messages, "fred@bench.example")
        .spawn()
        .context("cannot start smtp-source")?;
    let wanted = before + u64::from(messages);
    let arrived = soon(RUN_MAX, || (count() >= wanted).then(|| started.elapsed()));
    if arrived.is_none() {
        let _ = source.kill();
    }
    let sent = source.wait().context("smtp-source is lost")?;
    let Some(time) = arrived else {
        bail!("{} of {wanted} messages came through {}\n{}", count(), relay.name, relay.log_end());
    };
    ensure!(sent.success(), "smtp-source through {} ended with {sent}\n{}", relay.name, relay.log_end());
    std::thread::sleep(SETTLE);
    let cpu = cpu_seconds(relay.root_process)? - cpu_before;
    let messages = f64::from(messages);
    Ok(Run { rate: messages / time.as_secs_f64(), cpu_per_thousand: cpu * 1000.0 / messages })
}

/// The same with the source of ours, which is faster.
pub(super) fn measure_with_ours(
    relay: &Relay,
    count: &dyn Fn() -> u64,
    shape: Shape,
    messages: u32,
) -> Result<Run> {
    let wanted = count() + u64::from(messages);
    let cpu_before = cpu_seconds(relay.root_process)?;
    let started = Instant::now();
    sources::send(relay.port, shape, messages, "fred@bench.example")
        .with_context(|| format!("sending to {}\n{}", relay.name, relay.log_end()))?;
    let arrived = soon(RUN_MAX, || (count() >= wanted).then(|| started.elapsed()));
    let Some(time) = arrived else {
        bail!("{} of {wanted} messages came through {}\n{}", count(), relay.name, relay.log_end());
    };
    std::thread::sleep(SETTLE);
    let cpu = cpu_seconds(relay.root_process)? - cpu_before;
    let messages = f64::from(messages);
    Ok(Run { rate: messages / time.as_secs_f64(), cpu_per_thousand: cpu * 1000.0 / messages })
}

/// How many messages a second something on a port takes from the source of ours.
pub(super) fn accepted_from_ours(port: u16, shape: Shape, messages: u32) -> Result<f64> {
    let started = Instant::now();
    sources::send(port, shape, messages, "fred@bench.example")?;
    Ok(f64::from(messages) / started.elapsed().as_secs_f64())
}

/// How many messages a second something on a port takes: from the first connection until the last is acknowledged.
pub(super) fn accepted_per_second(port: u16, shape: Shape, messages: u32) -> Result<f64> {
    let started = Instant::now();
    let sent =
        source(port, shape, messages, "fred@bench.example").status().context("cannot start smtp-source")?;
    let time = started.elapsed();
    ensure!(sent.success(), "smtp-source ended with {sent}");
    Ok(f64::from(messages) / time.as_secs_f64())
}

fn report(load: &Load, folder: &Path, relays: &[Relay; 2], runs: &[Vec<Run>; 2]) {
    let medians = [0, 1].map(|which| Run {
        rate: median(runs[which].iter().map(|run| run.rate)),
        cpu_per_thousand: median(runs[which].iter().map(|run| run.cpu_per_thousand)),
    });
    let ratio = medians[0].rate / medians[1].rate;
    let cpu_ratio = medians[1].cpu_per_thousand / medians[0].cpu_per_thousand;
    if load.json {
        let of = |which: usize| {
            let each: Vec<_> = runs[which]
                .iter()
                .map(|run| json!({ "messages_per_second": run.rate, "cpu_seconds_per_1000": run.cpu_per_thousand }))
                .collect();
            json!({
                "relay": relays[which].name,
                "messages_per_second": medians[which].rate,
                "cpu_seconds_per_1000": medians[which].cpu_per_thousand,
                "runs": each,
            })
        };
        let all = json!({
            "messages": load.messages, "sessions": load.sessions, "size": load.size, "reuse": load.reuse,
            "relays": [of(0), of(1)], "rate_ratio": ratio, "cpu_ratio": cpu_ratio,
        });
        println!("{all}");
        return;
    }
    println!(
        "relay, {} messages of {} bytes, {} sessions, {}, medians of {} runs, queues in {}",
        load.messages,
        load.size,
        load.sessions,
        if load.reuse { "sessions kept open" } else { "a connection for each message" },
        load.runs,
        folder.parent().unwrap_or(folder).display()
    );
    for (relay, run) in relays.iter().zip(medians) {
        println!(
            "  {:8} {:8.0} messages/s {:8.2} CPU seconds per 1,000 messages",
            relay.name, run.rate, run.cpu_per_thousand
        );
    }
    println!(
        "  Sluice passes on {ratio:.2} times as many messages a second, with 1/{cpu_ratio:.2} of the CPU time each"
    );
}
