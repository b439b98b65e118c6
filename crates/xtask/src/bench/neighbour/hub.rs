//! A hub with a channel for each way of misbehaving, beside a good one.

use crate::bench::leftovers::{self, Noted};
use crate::bench::relay::Shape;
use crate::bench::sinks::FastSink;
use crate::bench::usage::cpu_seconds;
use crate::bench::{listening, soon, sources};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sluice_testkit::free_port;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Processor time in one look, in seconds, below which nothing is under way: a tick and a half.
const QUIET: f64 = 0.015;
const QUIET_LOOK: Duration = Duration::from_millis(100);

/// The channel for a mode.
pub(super) fn channel(mode: &str) -> String {
    format!("tcp_{mode}")
}

/// Its domain, which may have no `_`.
pub(super) fn domain(mode: &str) -> String {
    format!("{}.example", mode.replace('_', "-"))
}

/// Memory of the hub without what isolated plugins have, in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Its own, and not the pages of files that it has mapped, which are the system's.
    pub(super) own: u64,
}

impl Memory {
    pub(super) fn larger(self, other: Memory) -> Memory {
        Memory { own: self.own.max(other.own) }
    }

    #[allow(clippy::cast_precision_loss)] // KiB of a process
    pub(super) fn own_mib(self) -> f64 {
        self.own as f64 / 1024.0
    }
}

/// Octets that a delivery of `leaks` keeps for ever, at most: its recipient and what belongs to it.
const LEAK: u64 = 512;
/// What the allocator may keep, in KiB: a mebibyte at the end of each of two arenas for each processor (`spool::allocator`), and one for
/// what the hub has met since.
pub(super) fn besides() -> u64 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    (2 * processors + 1) << 10
}

/// KiB by which one look differs from another when all is the same.
const SCATTER: u64 = 1 << 10;

/// KiB that a thread has beside its stack: what it reads into, and what the allocator keeps for it alone.
const BESIDE_STACK: u64 = 64;

/// The end of a sentence that begins with the memory.
pub(super) const fn said(comes_back: bool) -> &'static str {
    if comes_back { "returns" } else { "does not return" }
}

/// What is left behind by design, in KiB: threads that were not there before, with their stacks, for nobody can end one that hangs in a
/// plugin; and what a plugin has lost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Left {
    threads: usize,
    stacks: u64,
    leaked: u64,
}

impl Left {
    pub(super) fn comes_back(&self, before: Memory, now: Memory) -> bool {
        now.own <= before.own + self.of_threads() + self.leaked + besides()
    }

    /// Whether there is more `now` than there was when that much was left behind.
    pub(super) fn grew(&self, then: Memory, left: Left, now: Memory) -> bool {
        now.own
            > then.own
                + self.of_threads().saturating_sub(left.of_threads())
                + self.leaked.saturating_sub(left.leaked)
                + SCATTER
    }

    const fn of_threads(&self) -> u64 {
        self.stacks + self.threads as u64 * BESIDE_STACK
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "threads": self.threads, "stacks": self.stacks, "of_threads": self.of_threads(), "leaked": self.leaked,
        })
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Left { threads, stacks, leaked } = self;
        let beside = self.of_threads() - stacks;
        write!(
            to,
            "{threads} threads that were not there before, with {stacks} KiB of stacks and {beside} KiB beside them; at most {leaked} KiB lost by `leaks`"
        )
    }
}

/// A hub that ends with its value.
pub(super) struct Hub {
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
    pub(super) fn start(
        sluice: &Path,
        folder: &Path,
        sink: u16,
        modes: &[&str],
        is_isolated: bool,
    ) -> Result<Hub> {
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

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its mail log has; empty when there is none yet.
    pub(super) fn mail_log(&self) -> String {
        fs::read_to_string(self.folder.join("spool/log/mail.log_current")).unwrap_or_default()
    }

    /// Runs a command of the operator's; what it says.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
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

    /// The same, by rows.
    pub(super) fn rows(&self, words: &[&str]) -> Result<Vec<Value>> {
        let said = self.run(words)?;
        said.lines().map(|line| serde_json::from_str(line).context("a row of an answer")).collect()
    }

    pub(super) fn order(&self, what: &str, channels: &[&str]) -> Result<()> {
        self.run(&[&["channel", what], channels].concat()).map(drop)
    }

    pub(super) fn memory(&self) -> Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("the hub is gone: a plugin has ended it")?;
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let own = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Ok(Memory { own: own.context("the hub has ended")? })
    }

    /// Its threads.
    pub(super) fn threads(&self) -> Result<Vec<u32>> {
        let folder = fs::read_dir(format!("/proc/{}/task", self.child.id())).context("the hub has ended")?;
        Ok(folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// What is there that was not with those threads.
    pub(super) fn left(&self, before: &[u32], leaked: u64) -> Result<Left> {
        let id = self.child.id();
        let new: Vec<u32> = self.threads()?.into_iter().filter(|thread| !before.contains(thread)).collect();
        let maps = fs::read_to_string(format!("/proc/{id}/smaps")).context("the hub has ended")?;
        // A thread that waits says where its stack is: the last number but one. One that runs does not, and is soon over.
        let places = new.iter().filter_map(|thread| {
            let call = fs::read_to_string(format!("/proc/{id}/task/{thread}/syscall")).ok()?;
            hexadecimal(call.split_whitespace().rev().nth(1)?)
        });
        let stacks = places.filter_map(|place| own_of_mapping(&maps, place)).sum();
        Ok(Left { threads: new.len(), stacks, leaked })
    }

    /// What the plugin that loses deliveries has lost at most, in KiB, by its attempts.
    pub(super) fn leaked(&self) -> Result<u64> {
        let Ok(said) = self.run(&["queue", "list", "--channel", &channel("leaks"), "--limit", "100000"])
        else {
            return Ok(0);
        };
        let row = |line: &str| -> Result<u64> {
            let row: Value = serde_json::from_str(line).context("a row of an answer")?;
            Ok(row["attempts"].as_u64().unwrap_or(0))
        };
        Ok((said.lines().map(row).sum::<Result<u64>>()? * LEAK) >> 10)
    }

    /// Waits until nothing is under way: neither the hub nor a process of its does anything.
    pub(super) fn be_quiet(&self, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        let mut before = cpu_seconds(self.child.id())?;
        loop {
            std::thread::sleep(QUIET_LOOK);
            // A process that has just ended takes its time with it, until it has been waited for.
            let now = cpu_seconds(self.child.id())?;
            if now >= before && now - before < QUIET {
                return Ok(());
            }
            before = now;
            if Instant::now() >= end {
                bail!("the hub does not come to rest");
            }
        }
    }

    /// Messages a second that come through the good channel.
    pub(super) fn rate(&self, sink: &FastSink, good: u32) -> Result<f64> {
        let wanted = sink.count() + u64::from(good);
        let shape = Shape { sessions: 4, size: 600, reuse: true };
        let begun = Instant::now();
        sources::send(self.address.port(), shape, good, "fred@good.example")?;
        let all = soon(super::PATIENCE, || (sink.count() >= wanted).then_some(()));
        all.context("the good channel does not get its mail")?;
        Ok(f64::from(good) / begun.elapsed().as_secs_f64())
    }

    /// How many messages wait in a channel.
    pub(super) fn waiting_in(&self, channel: &str) -> Result<usize> {
        let rows = self.rows(&["queue", "summarize"])?;
        let of = rows.iter().filter(|row| row["channel"] == channel);
        let count = of.filter_map(|row| row["messages"].as_u64()).sum::<u64>();
        usize::try_from(count).context("a count of messages")
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> Result<u64> {
        let rows = self.rows(&["queue", "summarize"])?;
        Ok(rows.iter().filter_map(|row| row["messages"].as_u64()).sum())
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

/// KiB of the process's own in the mapping that has this address, by `/proc/PID/smaps`.
fn own_of_mapping(maps: &str, address: u64) -> Option<u64> {
    let mut is_there = false;
    for line in maps.lines() {
        let range = line.split_whitespace().next().and_then(|range| range.split_once('-'));
        if let Some((from, to)) = range.and_then(|(from, to)| Some((hexadecimal(from)?, hexadecimal(to)?))) {
            is_there = (from..to).contains(&address);
        } else if is_there && let Some(size) = line.strip_prefix("Anonymous:") {
            return size.split_whitespace().next()?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_but_for_what_is_left_by_design() {
        let (before, left) = (Memory { own: 1000 }, Left { threads: 1, stacks: 100, leaked: 10 });
        let edge = 1000 + 100 + 64 + 10 + besides();
        assert!(
            left.comes_back(before, Memory { own: edge })
                && !left.comes_back(before, Memory { own: edge + 1 })
        );
    }

    #[test]
    fn memory_grows_where_there_is_more_than_threads_and_plugins_account_for() {
        let (then, first) = (Memory { own: 1000 }, Left { threads: 1, stacks: 100, leaked: 10 });
        let second = Left { threads: 2, stacks: 150, leaked: 30 };
        let edge = 1000 + 50 + 64 + 20 + SCATTER;
        assert!(
            !second.grew(then, first, Memory { own: edge })
                && second.grew(then, first, Memory { own: edge + 1 })
        );
        assert!(!first.grew(then, second, Memory { own: 1000 + SCATTER }), "fewer threads allow no more");
    }

    #[test]
    fn a_stack_is_the_mapping_that_an_address_is_in() {
        let maps = "7f0000000000-7f0000001000 ---p 00000000 00:00 0\nSize: 4 kB\nAnonymous: 0 kB\n\
                    7f0000001000-7f0000201000 rw-p 00000000 00:00 0 \nRss: 16 kB\nAnonymous: 12 kB\n\
                    7f0000201000-7f0000301000 r--p 00000000 08:01 7 /lib/x\nAnonymous: 8 kB\n";
        assert_eq!(own_of_mapping(maps, 0x7f00_0020_0ff0), Some(12));
        assert_eq!(own_of_mapping(maps, 0x7f00_0020_1000), Some(8));
        assert_eq!(own_of_mapping(maps, 1), None);
    }
}
