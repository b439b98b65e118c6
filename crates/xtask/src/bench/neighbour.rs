//! What a plugin that misbehaves costs the channel beside it (`cargo xtask bench plugin`).
//!
//! One hub for the plugins in its own process, another for the isolated ones. Each has a channel for every way of misbehaving, all of
//! them stopped while ten thousand messages come in, each of which goes to all of them. Then one channel at a time is
//! started, and stopped, in turns: how many messages a second a good channel delivers meanwhile, and how many without it; at the
//! end beside all of them at once. So the same mail waits in both halves of a turn, and the difference is the plugin's.
//!
//! Then everything is counted: by the mail log, and by what waits, no message may be missing on any channel.

use super::leftovers::{self, Noted};
use super::{built, listening, median, soon};
use crate::cargo::{cargo, root, step};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sluice_testkit::misbehaviour::{IN_PROCESS, ISOLATED_ONLY};
use sluice_testkit::{Batch, Sink, free_port, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most by which the rate of the good channel may fall.
const TARGET_PERCENT: f64 = 10.0;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Messages for each channel that misbehaves.
    pub(super) bad: usize,
    /// Messages for the good channel in a turn.
    pub(super) good: usize,
    /// Turns for each way of misbehaving.
    pub(super) turns: usize,
}

/// Measures and shows.
pub(super) fn neighbour(profile: &str, size: Size) -> Result<Value> {
    let root = root()?;
    let sluice = built(profile)?;
    let mut build = cargo(&root, &["build", "--profile", profile, "--package", "sluice-misbehaving"]);
    step("build of the plugin that misbehaves", &mut build, "read the compiler's words above")?;
    let isolated = [&IN_PROCESS[..], &ISOLATED_ONLY[..]].concat();
    let begun = Instant::now();
    let mut halves = Vec::new();
    for (modes, is_isolated) in [(&IN_PROCESS[..], false), (&isolated[..], true)] {
        halves.push(half(&sluice, modes, is_isolated, size)?);
    }
    let took = begun.elapsed().as_secs_f64();
    println!("took {took:.0} s ({profile} profile)");
    Ok(json!({
        "profile": profile, "messages": size.bad, "good_messages_in_a_turn": size.good, "turns": size.turns,
        "target_fall_percent": TARGET_PERCENT, "took_seconds": took.round(), "halves": halves,
    }))
}

/// Median messages a second of the good channel, alone and beside what misbehaves.
struct Rates {
    alone: f64,
    beside: f64,
}

impl Rates {
    fn fall(&self) -> f64 {
        (1.0 - self.beside / self.alone) * 100.0
    }
}

/// All modes in one hub.
fn half(sluice: &Path, modes: &[&str], is_isolated: bool, size: Size) -> Result<Value> {
    let sink = Sink::start();
    let folder = super::folder(None)?;
    let hub = Hub::start(sluice, folder.path(), sink.port(), modes, is_isolated)?;
    let all: Vec<String> = modes.iter().map(|mode| channel(mode)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    hub.order("stop", &all)?;
    hub.rate(&sink, size.good)?;
    let memory_before = hub.memory()?;
    let to = modes.iter().map(|mode| format!("fred@{}", domain(mode))).collect();
    Batch { sessions: 4, size: 600, to, ..Batch::new(hub.address, "nobody", size.bad) }.send_all();

    let place = if is_isolated { "isolated" } else { "in process" };
    println!("{place:<24} alone/s beside/s   fall   MiB before, after");
    let mut rows = Vec::new();
    for mode in modes {
        let (before, rates) = (hub.memory()?, hub.turns(&sink, &[&channel(mode)], size)?);
        let after = hub.memory()?;
        println!("{mode:<24} {} {:>9.1} {:>6.1}", shown(&rates), mib(before), mib(after));
        rows.push(json!({
            "mode": mode, "alone": rates.alone.round(), "beside": rates.beside.round(), "fall_percent": tenth(rates.fall()),
            "memory_kib": { "before": before, "after": after },
        }));
    }
    let rates = hub.turns(&sink, &all, size)?;
    println!("{:<24} {}", "all of them at once", shown(&rates));
    let counts = hub.counts(modes, size.bad)?;
    let memory_full = hub.memory()?;
    let selected: Vec<String> = all.iter().map(|channel| format!("#{channel}")).collect();
    let selected: Vec<&str> = selected.iter().map(String::as_str).collect();
    hub.run(&[&["queue", "delete", "--yes"], &selected[..]].concat())?;
    let empty = wait_until(PATIENCE, || hub.waiting().ok().filter(BTreeMap::is_empty));
    let memory_after = hub.memory()?;
    for (row, count) in rows.iter_mut().zip(&counts) {
        row["delivered"] = count.delivered.into();
        row["returned"] = count.returned.into();
        row["waiting"] = count.waiting.into();
        row["held"] = count.held.into();
        row["lost"] = count.lost.into();
    }
    let sum = |field: fn(&Counts) -> usize| counts.iter().map(field).sum::<usize>();
    println!(
        "of {}: {} delivered, {} returned, {} wait ({} of them held), {} lost; {:.1} MiB before, {:.1} with what waited, {:.1} without it",
        modes.len() * size.bad,
        sum(|one| one.delivered),
        sum(|one| one.returned),
        sum(|one| one.waiting),
        sum(|one| one.held),
        sum(|one| one.lost),
        mib(memory_before),
        mib(memory_full),
        mib(memory_after)
    );
    Ok(json!({
        "isolated": is_isolated, "modes": rows, "lost": sum(|one| one.lost), "emptied": empty.is_some(),
        "all_at_once": { "alone": rates.alone.round(), "beside": rates.beside.round(), "fall_percent": tenth(rates.fall()) },
        "memory_kib": { "before": memory_before, "with_what_waits": memory_full, "after": memory_after },
    }))
}

fn channel(mode: &str) -> String {
    format!("tcp_{mode}")
}

/// A domain may have no `_`.
fn domain(mode: &str) -> String {
    format!("{}.example", mode.replace('_', "-"))
}

fn shown(rates: &Rates) -> String {
    let mark = if rates.fall() < TARGET_PERCENT { ' ' } else { '!' };
    format!("{:>7.0} {:>8.0} {:>5.1}%{mark}", rates.alone, rates.beside, rates.fall())
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[allow(clippy::cast_precision_loss)] // KiB of a process
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// What became of the messages of a channel.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    delivered: usize,
    returned: usize,
    waiting: usize,
    held: usize,
    lost: usize,
}

/// A hub that ends with its value.
struct Hub {
    child: Child,
    _noted: Noted,
    address: SocketAddr,
    folder: PathBuf,
    sluice: PathBuf,
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Hub {
    fn start(sluice: &Path, folder: &Path, sink: u16, modes: &[&str], is_isolated: bool) -> Result<Hub> {
        let port = free_port();
        let write = |name: &str, text: String| {
            fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))
        };
        let plugin = sluice.with_file_name("libsluice_misbehaving.so");
        let isolated = if is_isolated { " isolated" } else { "" };
        let mut rules = "hub.example $U@hub.example\ngood.example $U%$D@TCP_GOOD\n".to_owned();
        let mut blocks = format!(
            "l\nhub.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n\n\
             tcp_good smtp nomx daemon [127.0.0.1] port {sink} maxjobs 4\nTCP_GOOD\n"
        );
        let mut plugins = String::new();
        for mode in modes {
            let (channel, domain) = (channel(mode), domain(mode));
            let host = channel.to_uppercase();
            let _ = writeln!(rules, "{domain} $U%$D@{host}");
            let _ = writeln!(blocks, "\n{channel} smtp nomx logging{isolated} maxjobs 2\n{host}");
            let _ = writeln!(plugins, "[CHANNEL={channel}]\nMASTER_PLUGIN={}", plugin.display());
            let limits = if is_isolated { "ISOLATED_MEMORY=128M\n" } else { "" };
            write(&format!("{channel}_option"), format!("MODE={mode}\nPAUSE=1500\n{limits}"))?;
        }
        write("sluice.cnf", format!("{rules}\n{blocks}"))?;
        write("option.dat", "SPOOL_DIR=spool\nDELIVERY_DEADLINE=1s\n".to_owned())?;
        let service = "INTERFACE_ADDRESS=127.0.0.1\nPARAMETER=CHANNEL=tcp_local\n";
        write("dispatcher.cnf", format!("[SERVICE=SMTP]\nPORT={port}\n{service}"))?;
        write("job_controller.cnf", plugins)?;
        let log = fs::File::create(folder.join("log")).context("no log for the hub")?;
        let child = Command::new(sluice)
            .args(["run", "--config"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the hub")?;
        let noted = leftovers::process(child.id());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let hub = Hub { child, _noted: noted, address, folder: folder.to_owned(), sluice: sluice.to_owned() };
        let up = listening(port, "the hub");
        up.with_context(|| fs::read_to_string(folder.join("log")).unwrap_or_default())?;
        Ok(hub)
    }

    /// Runs a command of the operator's; what it says.
    fn run(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(&self.sluice)
            .args(words)
            .args(["--format", "json", "--config"])
            .arg(&self.folder)
            .output()
            .context("cannot ask the hub")?;
        let told = || format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), told());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn order(&self, what: &str, channels: &[&str]) -> Result<()> {
        self.run(&[&["channel", what], channels].concat()).map(drop)
    }

    /// Memory of the hub, files that are mapped included, in KiB.
    fn memory(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("the hub is gone: a plugin has ended it")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).context("the hub has ended")
    }

    /// Messages a second that come through the good channel.
    #[allow(clippy::cast_precision_loss)] // some thousands
    fn rate(&self, sink: &Sink, good: usize) -> Result<f64> {
        sink.clear();
        let begun = Instant::now();
        Batch { sessions: 4, size: 600, ..Batch::new(self.address, "fred@good.example", good) }.send_all();
        let all = soon(PATIENCE, || (sink.count() >= good).then_some(()));
        all.context("the good channel does not get its mail")?;
        Ok(good as f64 / begun.elapsed().as_secs_f64())
    }

    /// In turns without these channels and with them.
    fn turns(&self, sink: &Sink, channels: &[&str], size: Size) -> Result<Rates> {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..size.turns {
            alone.push(self.rate(sink, size.good)?);
            self.order("start", channels)?;
            beside.push(self.rate(sink, size.good)?);
            self.order("stop", channels)?;
        }
        Ok(Rates { alone: median(alone.into_iter()), beside: median(beside.into_iter()) })
    }

    /// What waits: for each channel the messages, and how many of them are held.
    fn waiting(&self) -> Result<BTreeMap<String, (usize, usize)>> {
        let mut waiting: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for line in self.run(&["queue", "summarize"])?.lines() {
            let row: Value = serde_json::from_str(line).context("a row of the summary")?;
            let number = |field: &str| row[field].as_u64().and_then(|number| usize::try_from(number).ok());
            let Some(name) = row["channel"].as_str() else { bail!("a summary without a channel: {row}") };
            let sums = waiting.entry(name.to_owned()).or_default();
            sums.0 += number("messages").context("a summary without a number")?;
            sums.1 += number("held").unwrap_or(0);
        }
        Ok(waiting)
    }

    /// What has become of the messages, when nothing is on its way any more.
    fn counts(&self, modes: &[&str], bad: usize) -> Result<Vec<Counts>> {
        let look = || -> Result<Vec<Counts>> {
            let waiting = self.waiting()?;
            let log = fs::read_to_string(self.folder.join("spool/log/mail.log_current")).unwrap_or_default();
            let ended = ended(&log);
            let counts = modes.iter().map(|mode| {
                let channel = channel(mode);
                let (waiting, held) = waiting.get(&channel).copied().unwrap_or_default();
                let of = |code: &str| ended.get(&(channel.as_str(), code)).map_or(0, BTreeSet::len);
                let (delivered, returned) = (of("D"), of("R"));
                let lost = bad.saturating_sub(delivered + returned + waiting);
                Counts { delivered, returned, waiting, held, lost }
            });
            Ok(counts.collect())
        };
        // The mail log is written behind the mail.
        let none_lost = || look().ok().filter(|counts| counts.iter().all(|one| one.lost == 0));
        wait_until(Duration::from_secs(10), none_lost).map_or_else(look, Ok)
    }
}

/// Ids of messages by channel and code of the mail log's lines.
fn ended(log: &str) -> BTreeMap<(&str, &str), BTreeSet<&str>> {
    let mut ended: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for line in log.lines() {
        let mut words = line.split(' ').skip(2);
        if let (Some(id), Some(channel), Some(code)) = (words.next(), words.next(), words.next()) {
            ended.entry((channel, code)).or_default().insert(id);
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::ended;

    #[test]
    fn a_message_that_is_delivered_twice_counts_once() {
        let log = "02-Dec-2026 09:15:07.042 00A1 tcp_hang D 1 a@b rfc822;c@d\n\
                   02-Dec-2026 09:15:07.043 00A1 tcp_hang D 1 a@b rfc822;c@d\n\
                   02-Dec-2026 09:15:07.044 00A2 tcp_hang Q 1 a@b rfc822;c@d smtp;later\n\
                   02-Dec-2026 09:15:07.045 00A1 tcp_leaks R 1 a@b rfc822;c@d\n";
        let ended = ended(log);
        assert_eq!(ended[&("tcp_hang", "D")].len(), 1);
        assert_eq!(ended[&("tcp_leaks", "R")].len(), 1);
        assert_eq!(ended.get(&("tcp_leaks", "D")), None);
    }
}
