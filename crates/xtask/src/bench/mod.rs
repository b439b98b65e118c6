//! `cargo xtask bench relay`: smtp-source → a relay → smtp-sink, once through Sluice and once through Postfix, in turns.
//!
//! Both relays take the same messages over loopback, make them durable on the same disk, and pass them to the same kind
//! of sink. The clock runs from the first connection until the sink has the last message. The processor time is that of
//! the relay alone, all its processes together. What is printed is the median of the runs.

mod language;
mod relays;
mod release;
mod usage;

use crate::cargo::{cargo, root, step, target};
use crate::peers;
use anyhow::{Context, Result, bail, ensure};
pub(crate) use language::{Language, language};
use relays::{Relay, start_postfix, start_sluice};
pub(crate) use release::{Release, release};
use serde_json::json;
use sluice_testkit::{Program, free_port, wait_until};
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use usage::cpu_seconds;

/// A run that takes longer than this is not a measurement any more.
const RUN_MAX: Duration = Duration::from_secs(600);

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

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Run {
    rate: f64,
    cpu_per_thousand: f64,
}

/// Both relays in turns, then the medians and their ratio.
pub(crate) fn relay(load: &Load) -> Result<()> {
    let root = root()?;
    ensure!(load.messages > 0 && load.runs > 0 && load.sessions > 0, "nothing to measure");
    peers::install(false)?;
    let (profile, built) = if load.dev { ("dev", "debug") } else { ("release", "release") };
    let packages = ["--package", "sluice", "--package", "sluice-tcp", "--package", "sluice-local"];
    let mut build = cargo(&root, &["build", "--profile", profile]);
    step(&format!("build ({profile} profile)"), build.args(packages), "read the compiler's words above")?;
    let sluice = target(&root, built).join("sluice");

    let base = load.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder =
        tempfile::Builder::new().prefix("sluice-bench-").tempdir_in(&base).context("no temporary folder")?;
    // Postfix's processes run under another account and must be able to get to their queue.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).context("cannot open the temporary folder")?;

    let sinks = [Sink::start(folder.path(), "sluice")?, Sink::start(folder.path(), "postfix")?];
    let mut relays = [
        start_sluice(&sluice, &folder.path().join("sluice"), sinks[0].port)?,
        start_postfix(&folder.path().join("postfix"), sinks[1].port)?,
    ];
    let mut runs: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for turn in 0..=load.runs {
        for (which, relay) in relays.iter_mut().enumerate() {
            // The first turn is small and not counted: processes are started, tables and caches are filled.
            let messages = if turn == 0 { load.messages / 10 + 1 } else { load.messages };
            let run = measure(relay, &sinks[which], load, messages)?;
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

/// One run of one relay.
fn measure(relay: &mut Relay, sink: &Sink, load: &Load, messages: u32) -> Result<Run> {
    let before = sink.count();
    let cpu_before = cpu_seconds(relay.root_process)?;
    let (sessions, count, size) = (load.sessions.to_string(), messages.to_string(), load.size.to_string());
    let server = format!("127.0.0.1:{}", relay.port);
    let mut source = Command::new("/usr/sbin/smtp-source");
    source.args([
        "-s",
        &sessions,
        "-m",
        &count,
        "-l",
        &size,
        "-f",
        "sender@origin.example",
        "-t",
        "fred@bench.example",
    ]);
    if load.reuse {
        source.arg("-d");
    }
    let started = Instant::now();
    let mut source = source.arg(&server).stdin(Stdio::null()).spawn().context("cannot start smtp-source")?;
    let wanted = before + u64::from(messages);
    let arrived = wait_until(RUN_MAX, || (sink.count() >= wanted).then(|| started.elapsed()));
    let sent = source.wait().context("smtp-source is lost")?;
    ensure!(sent.success(), "smtp-source through {} ended with {sent}\n{}", relay.name, relay.log_end());
    let Some(time) = arrived else {
        bail!("{} of {wanted} messages came through {}\n{}", sink.count(), relay.name, relay.log_end());
    };
    let cpu = cpu_seconds(relay.root_process)? - cpu_before;
    let messages = f64::from(messages);
    Ok(Run { rate: messages / time.as_secs_f64(), cpu_per_thousand: cpu * 1000.0 / messages })
}

/// smtp-sink, which only counts.
struct Sink {
    port: u16,
    counter: PathBuf,
    _program: Program,
}

impl Sink {
    fn start(folder: &Path, name: &str) -> Result<Sink> {
        let port = free_port();
        let counter = folder.join(format!("{name}.sink"));
        let address = format!("127.0.0.1:{port}");
        let mut arguments = vec!["-c"];
        // As root it insists on becoming somebody else.
        if fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0) {
            arguments.extend(["-u", "nobody"]);
        }
        arguments.extend([address.as_str(), "1000"]);
        let program = Program::start(Path::new("/usr/sbin/smtp-sink"), &arguments, &counter)
            .context("cannot start smtp-sink")?;
        listening(port, "smtp-sink")?;
        Ok(Sink { port, counter, _program: program })
    }

    /// How many messages it has, by the last of the counters that it writes: `sess=1 quit=1 mesg=1`.
    fn count(&self) -> u64 {
        use std::io::{Read, Seek, SeekFrom};
        let mut end = String::new();
        let read = fs::File::open(&self.counter).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(200)))?;
            file.read_to_string(&mut end)
        });
        // The last piece may be half written; the one before it is whole.
        let whole = end.rsplit_once('\r').map_or("", |(whole, _)| whole);
        let count = whole.rsplit_once("mesg=").and_then(|(_, digits)| digits.trim().parse().ok());
        read.ok().and(count).unwrap_or(0)
    }
}

/// Waits until something takes connections on the port.
fn listening(port: u16, what: &str) -> Result<()> {
    let up = wait_until(Duration::from_secs(30), || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    up.map(drop).with_context(|| format!("{what} does not listen on port {port}"))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(super::median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(super::median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}
