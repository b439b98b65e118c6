//! From a path on the command line to a compiled configuration.
//!
//! The files are read here because the rules below do no IO. Not here: what they mean (`config`, `rewrite`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_config::{Files, Place};
use sluice_diag::{Diagnostic, Severity, Sources, errors_in};
use sluice_dispatch::Loaded;
use sluice_rewrite::Rewriter;

use crate::exit::{Exit, Failure};
use crate::report;

/// The one error about a rule that depends on which channels there are.
const UNKNOWN_CHANNEL: &str = "rewrite-unknown-channel";

/// The file system as `config` sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            // A name that is no text cannot be one of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// What reading a configuration gave.
pub(crate) struct Reading {
    /// The configuration and its compiled rules; `None` when there are errors.
    pub(crate) loaded: Option<Loaded>,
    /// The texts that the diagnostics point into.
    pub(crate) sources: Sources,
    /// Everything that was noticed, in the order of the files.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads and compiles the configuration at `path`, a folder or a lone `sluice.cnf`.
pub(crate) fn read(path: &Path) -> Reading {
    let (config, sources, mut diagnostics) = sluice_config::read_with_errors(&Disk, &place(path));
    let mut loaded = None;
    if let Some(config) = config {
        let config = Arc::new(config);
        let (rewriter, mut found) = Rewriter::compile(Arc::clone(&config));
        if errors_in(&diagnostics) {
            // Parts of the channel table are missing: what is said of rules because of that would only mislead.
            found.retain(|remark| remark.severity == Severity::Error && remark.code.name != UNKNOWN_CHANNEL);
        }
        diagnostics.extend(found);
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.source, span.start)));
        if !errors_in(&diagnostics) {
            loaded = Some(Loaded { config, rewriter: Arc::new(rewriter) });
        }
    }
    Reading { loaded, sources, diagnostics }
}

/// Reads a configuration for a command that cannot work without: what is wrong is shown on standard error.
///
/// # Errors
/// [`Exit::Config`] when there are errors.
pub(crate) fn read_or_fail(path: &Path) -> Result<(Loaded, Sources), Failure> {
    let reading = read(path);
    if let Some(loaded) = reading.loaded {
        return Ok((loaded, reading.sources));
    }
    for diagnostic in &reading.diagnostics {
        crate::complain(&report::to_text(diagnostic, &reading.sources));
    }
    let tally = report::tally(&reading.diagnostics);
    Err(Failure::new(Exit::Config, anyhow::anyhow!("{} cannot be used: {tally}", path.display())))
}

/// The control socket of the hub that runs with the configuration at `path`. Only `option.dat` is looked at, so that a
/// mistake elsewhere does not keep an operator from a hub that still runs with what it read before.
pub(crate) fn control_socket(path: &Path) -> Result<PathBuf, Failure> {
    let (options, sources, diagnostics) = sluice_config::read_options(&Disk, &place(path));
    if errors_in(&diagnostics) {
        for diagnostic in &diagnostics {
            crate::complain(&report::to_text(diagnostic, &sources));
        }
        let error = anyhow::anyhow!("cannot tell where the control socket is");
        return Err(Failure::new(Exit::Config, error));
    }
    Ok(options.control_socket)
}

/// A folder, or a lone file; what is not there is taken for a folder, and reading it then says that it is missing.
fn place(path: &Path) -> Place {
    if path.is_file() { Place::File(path.to_owned()) } else { Place::Folder(path.to_owned()) }
}
