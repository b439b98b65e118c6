//! `cargo xtask bench`: Sluice beside the programs that people use today, and against its own targets.
//!
//! Without a part it measures the whole table of targets (`table`), each row of which can be asked for alone. The parts
//! are measurements of their own with more options or more figures: `relay`, `release`, `language`.

mod backlog;
mod disk;
mod filled;
mod kept;
mod language;
mod leftovers;
mod loads;
mod neighbour;
mod plugin;
mod postfix_backlog;
mod relay;
mod relays;
mod release;
mod restart;
mod sinks;
mod sources;
mod table;
mod usage;

use crate::cargo::{cargo, root, step, target};
use anyhow::{Context, Result};
use language::{Language, language};
use relay::{Load, relay};
use release::{Release, release};
use sluice_testkit::wait_until;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use table::{Table, table};
use tempfile::TempDir;

/// What is measured: the whole table, or a part.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    table: Table,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Part {
    /// smtp-source → relay → sink, through Sluice and through Postfix in turns
    ///
    /// Prints messages per second from the first connection until the sink has the last message, and CPU seconds per
    /// 1,000 messages of all of the relay's processes. Needs root, for a private Postfix.
    Relay(Load),
    /// Large configurations: reading, rewriting, mapping tables, `sluice check`, a reload under load
    ///
    /// Up to 1,000,000 rewrite rules, in several shapes. Keeps the results, with the machine and the versions, in
    /// `benches/language.json`. Takes some minutes.
    Language(Language),
    /// A backlog of 1,000,000 messages for 100,000 sites: what an ETRN costs, and how soon mail leaves after it
    ///
    /// Alone, a thousand sites at once, and beside a site that asks a thousand times. Keeps the results in
    /// `benches/release.json`.
    Release(Release),
    /// What it costs to give a delivery to a plugin, and what one that misbehaves costs the channel beside it
    ///
    /// By a direct call, in process and isolated: nanoseconds for each message, messages a second, and whether bodies are lent.
    /// Ten thousand messages for a plugin in every way of misbehaving: the rate of a good channel with it and without it, in turns,
    /// what was lost, and the memory of the hub. Keeps the results in `benches/results/plugin.json`. Takes some minutes after
    /// the build.
    Plugin(plugin::PluginOptions),
}

/// Runs what was asked for. Whatever was started ends with it, also when it is interrupted.
pub(crate) fn bench(bench: &Bench) -> Result<()> {
    leftovers::watch()?;
    match &bench.part {
        None => table(&bench.table),
        Some(Part::Relay(load)) => relay(load),
        Some(Part::Language(options)) => language(options),
        Some(Part::Release(options)) => release(options),
        Some(Part::Plugin(options)) => plugin::plugin(options),
    }
}

/// Builds the program and the plugins that are measured; the path of the program.
fn built(profile: &str) -> Result<PathBuf> {
    let root = root()?;
    let packages = [
        "--package",
        "sluice",
        "--package",
        "sluice-tcp",
        "--package",
        "sluice-local",
        "--package",
        "sluice-bitbucket",
    ];
    let mut build = cargo(&root, &["build", "--profile", profile]);
    step(&format!("build ({profile} profile)"), build.args(packages), "read the compiler's words above")?;
    Ok(target(&root, if profile == "dev" { "debug" } else { profile }).join("sluice"))
}

/// A temporary folder for queues and spools. Postfix's processes run under another account and must be able to enter it.
fn folder(above: Option<&Path>) -> Result<TempDir> {
    let base = above.map_or_else(std::env::temp_dir, Path::to_owned);
    let folder =
        tempfile::Builder::new().prefix("sluice-bench-").tempdir_in(&base).context("no temporary folder")?;
    leftovers::folder(folder.path());
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))
        .context("cannot open the temporary folder")?;
    Ok(folder)
}

/// Waits until something takes connections on the port.
fn listening(port: u16, what: &str) -> Result<()> {
    let up = wait_until(Duration::from_secs(30), || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    up.map(drop).with_context(|| format!("{what} does not listen on port {port}"))
}

/// As [`wait_until`], looking each millisecond: for what is timed.
fn soon<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The one in the middle; not a number when there is none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(super::median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(super::median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(super::median(std::iter::empty()).is_nan());
    }
}
