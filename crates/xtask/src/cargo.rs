//! Running commands, above all cargo: one way to start them, name them and say what repairs them.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the workspace.
///
/// Cargo says where this package lies when it runs us; compiled-in paths would be those of another machine.
pub(crate) fn root() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.context("start me as `cargo xtask VERB`: cargo tells me where the workspace is")?;
    match package.ancestors().nth(2) {
        Some(root) if root.join("Cargo.toml").is_file() => Ok(root.to_owned()),
        _ => bail!("{} is not two folders below the workspace", package.display()),
    }
}

/// A cargo command in the workspace, with the cargo that started us.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root).args(arguments).stdin(Stdio::null());
    command
}

/// Where cargo puts what it builds, by profile folder (`debug`, `release`).
pub(crate) fn target(root: &Path, profile: &str) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root.join(folder).join(profile),
        None => root.join("target").join(profile),
    }
}

/// One step of a verb: shown, run, and when it fails, explained.
pub(crate) fn step(title: &str, command: &mut Command, fix: &str) -> Result<()> {
    eprintln!("==> {title}");
    let started = std::time::Instant::now();
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{title}: failed ({status})\n  to repair: {fix}");
    }
    eprintln!("    {title}: fine ({:.0?})", started.elapsed());
    Ok(())
}
