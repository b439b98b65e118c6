//! `sluice compile`: text databases become files that are read quickly.
//!
//! A file is written under another name, synced and renamed; the rename is the instant at which it is there.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context as _;
use sluice_config::{DATABASES, Database};
use sluice_diag::{Severity, errors_in};

use crate::cli::{Compile, Format};
use crate::exit::{Exit, ExitWith, Failure};
use crate::{load, output, report};

/// Compiles every text database of a configuration.
pub(crate) fn compile(compile: &Compile) -> Result<Exit, Failure> {
    let folder = load::folder(&compile.common.config);
    let (mut found, mut failed) = (0, false);
    for name in DATABASES {
        let text = folder.join(format!("{name}.txt"));
        let (database, sources, diagnostics) = sluice_config::read_database(&load::Disk, &folder, &text);
        for diagnostic in diagnostics.iter().filter(|found| found.severity != Severity::Info) {
            crate::complain(&report::to_text(diagnostic, &sources));
        }
        let Some(database) = database else { continue };
        found += 1;
        if errors_in(&diagnostics) {
            failed = true;
            continue;
        }
        let compiled = folder.join(format!("{name}.db"));
        write(&compiled, &database)
            .with_context(|| format!("cannot write {}", compiled.display()))
            .exit_with(Exit::Data)?;
        let (entries, octets) = (database.len(), database.image().len());
        output::line(&match compile.common.format {
            Format::Text => format!("{}: {entries} entries, {octets} octets", compiled.display()),
            Format::Json => serde_json::json!({
                "database": name,
                "file": compiled.display().to_string(),
                "entries": entries,
                "octets": octets,
            })
            .to_string(),
        })?;
    }
    if found == 0 {
        let error = anyhow::anyhow!("there is no text database in {}", folder.display());
        return Err(Failure::new(Exit::Data, error));
    }
    Ok(if failed { Exit::Config } else { Exit::Ok })
}

/// Never writes to the file of that name: a hub that has mapped it keeps it whole until it takes the new one.
fn write(path: &Path, database: &Database) -> std::io::Result<()> {
    let beside = path.with_extension(format!("db.{}", std::process::id()));
    // What a run that was killed has left.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody else may write to it, whatever the umask, or the hub would not map it.
    let created = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside);
    let written = created.and_then(|mut file| {
        file.write_all(database.image())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // Nobody reads it; what is told is why it could not be written.
        let _ = fs::remove_file(&beside);
        return written;
    }
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
