//! `cargo xtask bench plugin`: what it costs to give a delivery to a plugin, in process and isolated, and what one that misbehaves
//! costs the channel beside it.
//!
//! * *edge*: the example `plugin_cost` of the crate `isolate`, in the release profile: a direct call, the call of a plugin in
//!   process, and the isolated one, for leases of 1, 10 and 100 messages; one message at a time; and whether bodies are lent or copied.
//! * *neighbour*: ten thousand messages for `misbehaving` in each of its ways, beside a good channel ([`super::neighbour`]).
//!
//! Results go to `benches/results/plugin.json`, with the machine and the versions. What is not measured this time stays there.

use super::language::machine;
use super::neighbour::{Size, neighbour};
use crate::cargo::{cargo, root, step, target};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Turns beside a way of misbehaving of which nothing is decided, at most.
const TURNS_MAX: usize = 40;
/// For each way of misbehaving, on the average: fifty of them in a quarter of an hour.
const TIME: Duration = Duration::from_secs(15);
/// Longer than idle threads stay, and than workers that hang are waited for.
const REST: Duration = Duration::from_secs(40);

const RESULTS: &str = "benches/results/plugin.json";

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PluginOptions {
    /// Only what a call costs
    #[arg(long)]
    edge: bool,
    /// Only what a plugin that misbehaves costs the channel beside it
    #[arg(long, conflicts_with = "edge")]
    neighbour: bool,
    /// A look only: fewer messages and turns beside what misbehaves. The results are shown and not kept
    #[arg(long)]
    small: bool,
    /// Only beside this way of misbehaving, such as `hang`; may be repeated. The results are shown and not kept
    #[arg(long, value_name = "MODE", conflicts_with = "edge")]
    mode: Vec<String>,
    /// Turns beside each way of misbehaving, at least: more where nothing is decided, as long as there is time
    #[arg(long, value_name = "N", default_value_t = 6)]
    turns: usize,
    /// The profile of the hub in which a plugin misbehaves
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Measures, shows and keeps.
pub(crate) fn plugin(options: &PluginOptions) -> Result<()> {
    let root = root()?;
    let path = root.join(RESULTS);
    let mut all = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{RESULTS} is no JSON"))?,
        Err(_) => json!({}),
    };
    let is_part = options.neighbour || !options.mode.is_empty();
    if !is_part {
        all["edge"] = json!({ "machine": machine(), "rows": edge(&root)? });
    }
    if !options.edge {
        let size = match options.small {
            true => Size {
                bad: 500,
                good: 300,
                turns: 1,
                turns_max: 1,
                time: Duration::ZERO,
                rest: Duration::from_secs(5),
            },
            false => Size {
                bad: 10_000,
                good: 3000,
                turns: options.turns.max(1),
                turns_max: options.turns.max(TURNS_MAX),
                time: TIME,
                rest: REST,
            },
        };
        let mut measured = neighbour(&options.profile, size, &options.mode)?;
        measured["machine"] = machine();
        all["neighbour"] = measured;
    }
    if options.small || !options.mode.is_empty() {
        return Ok(());
    }
    let pretty = serde_json::to_string_pretty(&all).context("results are JSON")?;
    fs::write(&path, pretty + "\n").with_context(|| format!("cannot write {RESULTS}"))?;
    println!("kept in {RESULTS}");
    Ok(())
}

fn edge(root: &Path) -> Result<Value> {
    let packages = ["--package", "sluice-bitbucket", "--package", "sluice-misbehaving"];
    let mut build = cargo(root, &["build", "--release"]);
    step("build of the plugins", build.args(packages), "read the compiler's words above")?;
    let example =
        ["run", "--quiet", "--release", "--package", "sluice-isolate", "--example", "plugin_cost", "--"];
    let mut run = cargo(root, &example);
    let output = run.arg(target(root, "release")).output().context("cannot run the example")?;
    ensure!(output.status.success(), "the example failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    println!("messages a lease     direct  in process       edge    isolated   a second");
    for row in rows.iter().filter(|row| row["batch"].is_u64()) {
        let number = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "{:>16} {:>7.0} ns {:>8.0} ns {:>7.0} ns {:>8.0} ns {:>10.0}",
            number("batch"),
            number("direct_ns"),
            number("in_process_ns"),
            number("edge_ns"),
            number("isolated_ns"),
            number("isolated_per_second")
        );
    }
    rows.iter().filter(|row| !row["batch"].is_u64()).for_each(|row| println!("{row}"));
    Ok(Value::Array(rows))
}
