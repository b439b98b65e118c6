//! The table of targets, row by row. Each row can be measured alone.
//!
//! Rows that share a preparation (a pair of running relays, a spool with a million messages) are measured together when
//! more than one of them is wanted.

use super::kept::{self, Row};
use super::{backlog, built, disk, folder, loads, restart};
use crate::peers;
use anyhow::{Result, ensure};
use std::path::PathBuf;
use std::time::Instant;
use tempfile::TempDir;

/// Every row, and what it is.
pub(super) const ROWS: &[(&str, &str)] = &[
    ("direct", "smtp-source straight to the sink, without a relay"),
    ("relay", "relay, 20 sessions, 4 KiB, a connection for each message"),
    ("cpu", "CPU seconds for 1,000 messages of the row relay"),
    ("kept", "relay on kept connections (smtp-source -d)"),
    ("pipelined", "relay from a source of ours: kept connections, commands sent together"),
    ("1k", "relay, 1 KiB"),
    ("64k", "relay, 64 KiB"),
    ("single", "relay, 1 session"),
    ("accept", "accept only, into a held channel"),
    ("etrn", "ETRN: reply, first and 100th delivery, with 0, 10,000 and 1,000,000 messages for others"),
    ("subnet", "ETRN @subnet over 10,000 sites of which 100 have mail"),
    ("restart", "restart with 1,000,000 queued: first 220, first delivery"),
    ("memory", "memory: idle, and for each of 1,000,000 queued messages"),
    ("disk", "bytes written for each 4 KiB message, and room when all are settled"),
    ("drain", "drain of 100,000 messages to one fast peer"),
];

/// What is measured, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Table {
    /// Only these rows, with commas between them: direct, relay, cpu, kept, pipelined, 1k, 64k, single, accept, etrn, subnet,
    /// restart, memory, disk, drain
    #[arg(long, value_delimiter = ',', value_name = "ROWS")]
    rows: Vec<String>,
    /// A tenth of all sizes and two runs, to try the benchmark itself; the results are shown and not kept
    #[arg(long)]
    small: bool,
    /// Runs of each measurement, Sluice and Postfix in turns; the median counts
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Where queues and spools are put; it should be on a real disk, and others must be able to enter it
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Measure the development build: to try the benchmark itself, the numbers mean nothing
    #[arg(long)]
    dev: bool,
}

/// What all measurements need.
pub(super) struct Ground {
    pub(super) sluice: PathBuf,
    pub(super) folder: TempDir,
    pub(super) runs: u32,
    pub(super) is_small: bool,
    rows: Vec<String>,
    begun: Instant,
}

impl Ground {
    pub(super) fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }

    /// Says where the benchmark is.
    pub(super) fn says(&self, text: &str) {
        eprintln!("[{:>4.0} s] {text}", self.begun.elapsed().as_secs_f64());
    }

    /// A tenth of it where all is small.
    pub(super) fn scaled(&self, number: usize) -> usize {
        if self.is_small { number / 10 } else { number }
    }
}

/// The rows that are wanted, in the order of the table.
pub(crate) fn table(options: &Table) -> Result<()> {
    for row in &options.rows {
        let is_known = ROWS.iter().any(|(name, _)| name == row);
        let names: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
        ensure!(is_known, "there is no row `{row}`; the rows are {}", names.join(", "));
    }
    ensure!(options.runs > 0, "nothing to measure");
    peers::install(false)?;
    let ground = Ground {
        sluice: built(if options.dev { "dev" } else { "release" })?,
        folder: folder(options.folder.as_deref())?,
        runs: if options.small { options.runs.min(2) } else { options.runs },
        is_small: options.small,
        rows: options.rows.clone(),
        begun: Instant::now(),
    };
    let mut rows: Vec<Row> = Vec::new();
    for measure in [loads::measure, disk::measure, restart::measure, backlog::measure] {
        rows.extend(measure(&ground)?);
    }
    let place = |row: &Row| ROWS.iter().position(|(name, _)| *name == row.name);
    rows.sort_by_key(place);
    let minutes = ground.begun.elapsed().as_secs_f64() / 60.0;
    let all = kept::as_json(&rows, ground.runs, ground.is_small || options.dev, minutes);
    if options.json {
        println!("{all:#}");
    } else {
        print!("{}", kept::shown(&rows));
    }
    let missed = rows.iter().flat_map(|row| &row.goals).filter(|goal| !goal.is_met).count();
    ground.says(&format!("done; {missed} targets are not met"));
    if !ground.is_small && !options.dev {
        ground.says(&format!("kept in {}", kept::keep(&all)?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_help_names_every_row() {
        #[derive(clap::Parser)]
        struct Whole {
            #[command(flatten)]
            _table: Table,
        }
        let help = Whole::command().render_long_help().to_string();
        for (name, _) in ROWS {
            assert!(help.contains(name), "{name} is not in the help");
        }
    }
}
