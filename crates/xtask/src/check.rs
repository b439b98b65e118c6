//! `cargo xtask check` and `cargo xtask tidy`.
//!
//! All steps run even when an early one fails: whoever repairs a change wants the whole list, not its first line.

use crate::cargo::{cargo, root, step};
use crate::tidy;
use anyhow::{Context, Result, bail};

/// The feature that brings in the tests against real peers; clippy reads those too.
pub(crate) const PEERS: &str = "sluice-tests/peers";

/// Format, clippy, tests of the crates, tidy.
pub(crate) fn run() -> Result<()> {
    let root = root()?;
    let steps = [
        step("format", &mut cargo(&root, &["fmt", "--all", "--check"]), "cargo fmt --all"),
        tidy(),
        step(
            "clippy",
            &mut cargo(
                &root,
                &["clippy", "--workspace", "--all-targets", "--features", PEERS, "--", "-D", "warnings"],
            ),
            "cargo clippy --workspace --all-targets --fix, then by hand what it cannot do",
        ),
        step(
            "tests of the crates",
            &mut cargo(&root, &["test", "--workspace", "--exclude", "sluice-tests"]),
            "read the failure above; a generated file that is not current: cargo xtask reference",
        ),
    ];
    let failed: Vec<String> =
        steps.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if failed.is_empty() {
        eprintln!("check: everything is fine; `cargo xtask test` runs the whole program");
        return Ok(());
    }
    bail!("{} of the steps failed\n{}", failed.len(), failed.join("\n"));
}

/// The rules of the house.
pub(crate) fn tidy() -> Result<()> {
    let root = root()?;
    eprintln!("==> tidy");
    let answer = cargo(&root, &["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .output()
        .context("cannot start cargo metadata")?;
    if !answer.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&answer.stderr));
    }
    let metadata = serde_json::from_slice(&answer.stdout).context("cargo metadata did not answer in JSON")?;
    let tree = tidy::Tree::read(&root)?;
    let found = tidy::everything(&tree, &metadata);
    for finding in &found {
        eprintln!("{finding}");
    }
    if !found.is_empty() {
        bail!("tidy: {} findings\n  to repair: each line above names the place and the way", found.len());
    }
    eprintln!("    tidy: fine ({} files)", tree.len());
    Ok(())
}
