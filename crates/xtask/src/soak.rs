//! `cargo xtask soak crash`: the program under load, killed again and again, against a ledger outside of it.
//!
//! What is done and what is looked for is in `sluice_testkit::soak`; a test runs the same with fewer rounds.

use crate::cargo::{cargo, root, step};
use anyhow::{Result, bail};
use sluice_testkit::soak::{Crash, crash};

/// How long, and with what chance.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Crashes {
    /// How often the hub is killed
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Decides everything that chance decides; a run prints its own
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds the program, runs it and kills it.
pub(crate) fn run(options: &Crashes) -> Result<()> {
    let root = root()?;
    let packages = ["--package", "sluice", "--package", "sluice-tcp", "--package", "sluice-local"];
    let mut build = cargo(&root, &["build"]);
    step("build", build.args(packages), "read the compiler's words above")?;
    let account =
        crash(&Crash { rounds: options.rounds, seed: options.seed }, &mut |line| eprintln!("{line}"));
    println!("{account}");
    if !account.is_good() {
        bail!("what was promised was not kept; the seed and the rounds are above");
    }
    Ok(())
}
