//! `cargo xtask bench plugin`: what it costs to give a delivery to a plugin, in process and isolated.
//!
//! The example `plugin_cost` of the crate `isolate`, in the release profile: a direct call, the call of a plugin in process, and the
//! isolated one, for leases of 1, 10 and 100 messages; one message at a time; and whether bodies are lent or copied.
//!
//! Results go to `benches/results/plugin.json`, with the machine and the versions.

use super::language::machine;
use crate::cargo::{cargo, root, step, target};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;

const RESULTS: &str = "benches/results/plugin.json";

/// Measures, shows and keeps.
pub(crate) fn plugin() -> Result<()> {
    let root = root()?;
    let packages = ["--package", "sluice-bitbucket", "--package", "sluice-misbehaving"];
    let mut build = cargo(&root, &["build", "--release"]);
    step("build of the plugins", build.args(packages), "read the compiler's words above")?;
    let example =
        ["run", "--quiet", "--release", "--package", "sluice-isolate", "--example", "plugin_cost", "--"];
    let mut run = cargo(&root, &example);
    let output = run.arg(target(&root, "release")).output().context("cannot run the example")?;
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
    let all = json!({ "machine": machine(), "edge": rows });
    let pretty = serde_json::to_string_pretty(&all).context("results are JSON")?;
    fs::write(root.join(RESULTS), pretty + "\n").with_context(|| format!("cannot write {RESULTS}"))?;
    println!("kept in {RESULTS}");
    Ok(())
}
