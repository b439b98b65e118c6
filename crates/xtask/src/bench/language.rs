//! `cargo xtask bench language`: the configuration language at the sizes of the largest sites: reading, rewriting, mapping tables,
//! `sluice check` as a whole, and a reload while sessions send mail.
//!
//! What can be measured in one process is measured by the benchmark `language` of the crate `rewrite`, in a process for each
//! measurement; the rest here, with the program itself. Results go to `benches/language.json`, with the machine and the
//! versions; `docs/internals/performance.md` says how to read them.

use super::listening;
use crate::cargo::{cargo, root, step, target};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sluice_testkit::{Program, Talk, free_port};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where the results are kept.
const RESULTS: &str = "benches/language.json";
/// Shapes of 100,000 rules, each with its channels.
const SHAPES: [(&str, usize); 10] = [
    ("mixed", 10_000),
    ("hosts", 10_000),
    ("domains", 10_000),
    ("stars", 10_000),
    ("controls", 10_000),
    ("tagged", 10_000),
    ("includes", 10_000),
    ("long", 10_000),
    ("names", 10_000),
    ("channels", 100_000),
];
/// Sessions that send while the configuration is taken into force.
const SESSIONS: usize = 4;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Language {
    /// A tenth of all sizes, to try the benchmark itself; the results are shown and not kept
    #[arg(long)]
    small: bool,
}

/// All measurements, one after the other.
pub(crate) fn language(options: &Language) -> Result<()> {
    let root = root()?;
    let packages = ["--package", "sluice", "--package", "sluice-tcp", "--package", "sluice-bitbucket"];
    let mut build = cargo(&root, &["build", "--release"]);
    step("build (release profile)", build.args(packages), "read the compiler's words above")?;
    let bench = Bench::build(&root)?;
    let sluice = target(&root, "release").join("sluice");
    let folder =
        tempfile::Builder::new().prefix("sluice-language-").tempdir().context("no temporary folder")?;
    let scale = if options.small { 10 } else { 1 };

    let mut reading = Vec::new();
    for (shape, channels) in SHAPES {
        let place = bench.folder(folder.path(), shape, 100_000 / scale, channels / scale)?;
        reading.push(with(bench.run(&["read", text(&place)?])?, "shape", shape));
    }
    let million = bench.folder(folder.path(), "mixed", 1_000_000 / scale, 10_000 / scale)?;
    reading.push(with(bench.run(&["read", text(&million)?])?, "shape", "mixed"));
    for line in &reading {
        println!("read     {line}");
    }
    let mut rewriting = Vec::new();
    for (rules, channels) in
        [(100, 20), (100_000 / scale, 10_000 / scale), (1_000_000 / scale, 10_000 / scale)]
    {
        let place = bench.folder(folder.path(), "mixed", rules, channels)?;
        let rates = bench.run(&["rewrite", text(&place)?, &rules.to_string(), &channels.to_string()])?;
        println!("rewrite  {rates}");
        rewriting.push(rates);
    }
    let mut mapping = Vec::new();
    for kind in ["text", "wildcard", "network", "access"] {
        let rates = bench.run(&["map", kind, "1000"])?;
        println!("map      {rates}");
        mapping.push(rates);
    }
    let large = bench.folder(folder.path(), "mixed", 100_000 / scale, 10_000 / scale)?;
    let check = check(&sluice, &large)?;
    println!("check    {check}");
    let reload = reload(&sluice, &large)?;
    println!("reload   {reload}");
    let all = json!({
        "machine": machine(), "reading": reading, "rewriting": rewriting, "mapping": mapping, "check": check, "reload": reload,
    });
    if !options.small {
        let path = root.join(RESULTS);
        fs::create_dir_all(root.join("benches")).context("cannot make the folder benches")?;
        let pretty = serde_json::to_string_pretty(&all).context("results are JSON")?;
        fs::write(&path, pretty + "\n").with_context(|| format!("cannot write {RESULTS}"))?;
        println!("kept in {RESULTS}");
    }
    Ok(())
}

/// The benchmark of the crate `rewrite`.
struct Bench(PathBuf);

impl Bench {
    fn build(root: &Path) -> Result<Bench> {
        let arguments = [
            "bench",
            "--package",
            "sluice-rewrite",
            "--bench",
            "language",
            "--no-run",
            "--message-format=json",
        ];
        let output =
            cargo(root, &arguments).stderr(Stdio::inherit()).output().context("cannot start cargo")?;
        ensure!(output.status.success(), "the benchmark of sluice-rewrite does not build");
        let messages = String::from_utf8_lossy(&output.stdout).into_owned();
        let of_bench = |message: &Value| message["target"]["name"] == "language";
        let found =
            messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(of_bench);
        let program =
            found.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
        Ok(Bench(program.context("cargo names no program for the benchmark of sluice-rewrite")?))
    }

    fn run(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(&self.0).args(arguments).output().context("cannot start the benchmark")?;
        if !output.status.success() {
            bail!("{}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("{}: no JSON", arguments.join(" ")))
    }

    /// A folder with a configuration of that shape, written unless it is there.
    fn folder(&self, above: &Path, shape: &str, rules: usize, channels: usize) -> Result<PathBuf> {
        let folder = above.join(format!("{shape}-{rules}"));
        if !folder.exists() {
            fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            let (rules, channels) = (rules.to_string(), channels.to_string());
            let arguments = ["write", text(&folder)?, shape, &rules, &channels];
            let output =
                Command::new(&self.0).args(arguments).output().context("cannot start the benchmark")?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(folder)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the temporary folder has a name that is no text")
}

fn with(mut object: Value, name: &str, value: &str) -> Value {
    object[name] = value.into();
    object
}

/// `sluice check` from its start to its end. Its memory is looked at each millisecond, until the process is gone.
fn check(sluice: &Path, folder: &Path) -> Result<Value> {
    let mut seconds = Vec::new();
    let mut peak = 0;
    for _ in 0..5 {
        let started = Instant::now();
        let mut command = Command::new(sluice);
        command.arg("check").arg("--config").arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().context("cannot start sluice")?;
        let status = loop {
            peak = peak.max(peak_kib(child.id()).unwrap_or(0));
            match child.try_wait().context("sluice check is lost")? {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        ensure!(status.success(), "sluice check ended with {status}");
        seconds.push(started.elapsed().as_secs_f64());
    }
    let median = super::median(seconds.into_iter());
    Ok(json!({ "wall_seconds": rounded(median), "peak_kib": peak }))
}

fn peak_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// A hub with this configuration, sessions that send all the time, and reloads. The longest wait for any reply, with
/// and without a reload at the same time.
fn reload(sluice: &Path, folder: &Path) -> Result<Value> {
    let port = free_port();
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))
    };
    write("dispatcher.cnf", &format!("[SERVICE=SMTP]\nPORT={port}\nINTERFACE_ADDRESS=127.0.0.1\n"))?;
    let main = fs::read_to_string(folder.join("sluice.cnf")).context("the configuration is gone")?;
    let main = format!("kept.example $U%$D@bitbucket-daemon\n{main}\nbitbucket\nbitbucket-daemon\n");
    write("sluice.cnf", &main)?;
    let log = folder.join("log");
    let arguments =
        ["run".as_ref(), "--log".as_ref(), "warn".as_ref(), "--config".as_ref(), folder.as_os_str()];
    let mut hub = Program::start(sluice, &arguments, &log).context("cannot start sluice")?;
    listening(port, "sluice").with_context(|| hub.log())?;
    let alone = replies_while(port, || {
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    })?;
    let mut times = Vec::new();
    let during = replies_while(port, || {
        for _ in 0..5 {
            let started = Instant::now();
            let status =
                Command::new(sluice).arg("reload").arg("--config").arg(folder).stdout(Stdio::null()).status();
            ensure!(status.context("cannot start sluice")?.success(), "the configuration was not taken");
            times.push(started.elapsed().as_secs_f64());
        }
        Ok(())
    })?;
    let peak = peak_kib(hub.id());
    hub.terminate(Duration::from_secs(20)).context("the hub does not stop")?;
    Ok(json!({
        "sessions": SESSIONS,
        "reload_wall_seconds": rounded(super::median(times.into_iter())),
        "without": alone.shown(),
        "during": during.shown(),
        "longest_ratio": rounded(during.at(1.0) / alone.at(1.0)),
        "hub_peak_kib": peak,
    }))
}

/// How long each reply was waited for, in seconds, sorted.
struct Waits(Vec<f64>);

impl Waits {
    fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share) as usize).copied().unwrap_or(0.0)
    }

    fn shown(&self) -> Value {
        let milliseconds = |share| rounded(self.at(share) * 1000.0);
        json!({
            "replies": self.0.len(), "median_ms": milliseconds(0.5), "p99_ms": milliseconds(0.99), "longest_ms": milliseconds(1.0),
        })
    }
}

/// The waits of sessions that send while something is done. Each keeps its connection; any error is one of the benchmark.
fn replies_while(port: u16, act: impl FnOnce() -> Result<()>) -> Result<Waits> {
    let stop = AtomicBool::new(false);
    let (acted, waits) = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(|| session(port, &stop))).collect();
        let acted = act();
        stop.store(true, Ordering::Relaxed);
        let waits: Vec<_> = sessions.into_iter().map(|session| session.join()).collect();
        (acted, waits)
    });
    acted?;
    let mut all = Vec::new();
    for session in waits {
        match session {
            Ok(waits) => all.extend(waits?),
            Err(_) => bail!("a session ended in the middle"),
        }
    }
    all.sort_by(f64::total_cmp);
    Ok(Waits(all))
}

fn session(port: u16, stop: &AtomicBool) -> Result<Vec<f64>> {
    let (mut talk, greeting) = Talk::open(("127.0.0.1", port)).context("no connection")?;
    ensure!(greeting.code == 220, "{greeting}");
    let mut waits = Vec::new();
    let lines = [
        ("EHLO client.example", 250),
        ("MAIL FROM:<a@origin.example>", 250),
        ("RCPT TO:<fred@kept.example>", 250),
        ("DATA", 354),
        ("Subject: a message\r\n\r\nof a few octets\r\n.", 250),
    ];
    let mut next = 0;
    while !(stop.load(Ordering::Relaxed) && next == 1) {
        let (line, code) = lines[next];
        let started = Instant::now();
        let reply = talk.ask(line).context("a session was dropped")?;
        waits.push(started.elapsed().as_secs_f64());
        ensure!(reply.code == code, "{line}: {reply}");
        // Behind the greeting one transaction follows the other.
        next = if next + 1 == lines.len() { 1 } else { next + 1 };
    }
    talk.quit();
    Ok(waits)
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// What the results belong to.
pub(super) fn machine() -> Value {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches(['\t', ':', ' ']));
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "processor": model,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "system": said("uname", "-sr"),
        "compiler": said("rustc", "--version"),
        "sluice": env!("CARGO_PKG_VERSION"),
        "load_at_the_end": load.split(' ').next(),
    })
}
