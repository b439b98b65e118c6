//! `cargo xtask test`: everything built, the peers installed, all tests run.

use crate::cargo::{cargo, root, step};
use crate::check::PEERS;
use crate::{peers, private_roots};
use anyhow::Result;
use std::path::Path;

/// Builds the program and the plugins, which the whole-program tests start as they will be started by an operator.
pub(crate) fn build(root: &Path) -> Result<()> {
    step("build", &mut cargo(root, &["build", "--workspace"]), "read the compiler's words above")
}

/// Installs or unpacks the peers that are missing.
pub(crate) fn peers(root: &Path) -> Result<()> {
    // Installing brings apt-get's lists up to date; where nothing is to be installed they may be old or absent.
    peers::install(!private_roots::missing(root).is_empty())?;
    private_roots::unpack(root)
}

/// All tests, with the peers or without.
pub(crate) fn run(no_peers: bool) -> Result<()> {
    let root = root()?;
    if no_peers {
        eprintln!("==> peers: left out as asked; the tests against other people's programs are not run");
    } else {
        self::peers(&root)?;
    }
    build(&root)?;
    let mut tests = cargo(&root, &["test", "--workspace", "--no-fail-fast"]);
    if !no_peers {
        tests.args(["--features", PEERS]);
    }
    let fix = "read the failures above; a whole-program test prints its configuration, spool and log";
    step("all tests", &mut tests, fix)?;
    if no_peers {
        eprintln!("test: passed, without the peers; what they would have shown is not known");
    }
    Ok(())
}
