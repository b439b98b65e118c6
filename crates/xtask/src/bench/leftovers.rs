//! What an interrupted measurement would leave behind: hubs that run on, a Postfix in the background, gigabytes of spool.
//!
//! Whoever starts something that outlives a crash of ours says so here and takes it back when it is gone. At SIGINT or SIGTERM
//! everything that is still noted is ended, by its process id or by its own command, and the process with it.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, PartialEq, Eq)]
enum Leftover {
    Process(u32),
    /// The folder with its configuration.
    Postfix(PathBuf),
    Folder(PathBuf),
}

static LEFT: Mutex<Vec<Leftover>> = Mutex::new(Vec::new());

/// From now on a signal ends what is noted.
pub(super) fn watch() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for Ctrl-C")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Whoever read this may have been interrupted as well, and then there is nobody to say it to.
            drop(writeln!(std::io::stderr(), "xtask: interrupted; ending what was started"));
            for left in LEFT.lock().unwrap_or_else(PoisonError::into_inner).drain(..).rev() {
                left.end();
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// A process that is ended by its id.
pub(super) fn process(id: u32) -> Noted {
    Noted::note(Leftover::Process(id))
}

/// A Postfix with this folder of configuration.
pub(super) fn postfix(configuration: &Path) -> Noted {
    Noted::note(Leftover::Postfix(configuration.to_owned()))
}

/// A temporary folder. Who made it removes it in the ordinary case.
pub(super) fn folder(path: &Path) {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(Leftover::Folder(path.to_owned()));
}

/// Something that runs; dropping this says that it has ended.
#[derive(Debug)]
pub(super) struct Noted(Option<Leftover>);

impl Noted {
    fn note(left: Leftover) -> Noted {
        let same = match &left {
            Leftover::Process(id) => Leftover::Process(*id),
            Leftover::Postfix(path) => Leftover::Postfix(path.clone()),
            Leftover::Folder(path) => Leftover::Folder(path.clone()),
        };
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(left);
        Noted(Some(same))
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(gone) = self.0.take() {
            LEFT.lock().unwrap_or_else(PoisonError::into_inner).retain(|left| *left != gone);
        }
    }
}

impl Leftover {
    fn end(&self) {
        let quiet = |command: &mut Command| {
            drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
        };
        match self {
            // At once: what it has in its spool is thrown away with the folder.
            Leftover::Process(id) => quiet(Command::new("kill").args(["-KILL", &id.to_string()])),
            Leftover::Postfix(configuration) => {
                quiet(Command::new("/usr/sbin/postfix").arg("-c").arg(configuration).arg("abort"));
            }
            Leftover::Folder(path) => drop(fs::remove_dir_all(path)),
        }
    }
}
