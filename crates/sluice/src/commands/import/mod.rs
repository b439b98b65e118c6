//! `sluice import`: a folder of PMDF or Messaging Server becomes a Sluice folder, and a report says what that means.
//!
//! The plan is made in memory from what was read ([`plan`]); writing it, and telling about it, is done here. Nothing
//! that exists is ever overwritten: when one file of the plan is there already, nothing is written at all.

mod edit;
mod finding;
mod plan;
mod survey;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow};

use crate::cli::Import;
use crate::exit::{Exit, ExitWith, Failure};
use crate::load::Disk;
use crate::output;
use finding::show;
use plan::{Plan, plan};

/// Makes the plan, writes it unless `--dry-run`, and reports.
pub(crate) fn import(import: &Import) -> Result<Exit, Failure> {
    let plan = plan(&Disk, import.product, &import.from, &import.to).exit_with(Exit::Data)?;
    if !import.dry_run {
        write(&plan, &import.to)?;
    }
    show(&plan, import)?;
    if plan.loads {
        return Ok(Exit::Ok);
    }
    crate::complain(
        "the configuration has errors that were there before; `sluice check` shows them with their lines",
    );
    Ok(Exit::Config)
}

/// Writes every file of the plan, or none.
fn write(plan: &Plan, folder: &Path) -> Result<(), Failure> {
    let there: Vec<&str> =
        plan.files.iter().map(|file| file.name.as_str()).filter(|name| folder.join(name).exists()).collect();
    if !there.is_empty() {
        let error = anyhow!(
            "{} holds {} already, and nothing is ever overwritten; name an empty folder",
            folder.display(),
            there.join(", ")
        );
        return Err(Failure::new(Exit::Data, error));
    }
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
        .exit_with(Exit::Data)?;
    for file in &plan.files {
        let path = folder.join(&file.name);
        let what = || format!("cannot write {}; what was written before it is complete", path.display());
        // `create_new`: a file that somebody made since the look above is not overwritten either.
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(what)
            .exit_with(Exit::Data)?;
        out.write_all(&file.bytes).and_then(|()| out.sync_all()).with_context(what).exit_with(Exit::Data)?;
    }
    Ok(())
}

/// Writes one line of the report.
fn say(text: &str) -> Result<(), Failure> {
    Ok(output::line(text)?)
}
