//! What `cargo xtask bench language` measures in this process: reading, rewriting, mapping. One measurement for each call,
//! so that the memory that is shown is that of nothing else.
//!
//! ```text
//! cargo bench -p sluice-rewrite --bench language -- write FOLDER SHAPE RULES CHANNELS
//! cargo bench -p sluice-rewrite --bench language -- read FOLDER
//! cargo bench -p sluice-rewrite --bench language -- rewrite FOLDER RULES CHANNELS
//! cargo bench -p sluice-rewrite --bench language -- map KIND ENTRIES
//! ```
//! Each prints one line of JSON. Times are the processor's for this one thread, so that other work of the machine does not
//! count; where the wall's is shown too, it says so.
//!
//! # Not here
//! Building, running the program itself, and the report: all that is `xtask`'s.
#![forbid(unsafe_code)]
// What it has to say is its output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod mapping;
mod rewriting;
mod texts;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use sluice_config::{Files, Place};
use sluice_rewrite::Rewriter;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<usize>().ok().filter(|number| *number > 1);
    let done = match words[..] {
        ["write", folder, shape, rules, channels] => match (number(rules), number(channels)) {
            (Some(rules), Some(channels)) => texts::write(Path::new(folder), shape, rules, channels),
            _ => Err("RULES and CHANNELS are numbers above 1".to_owned()),
        },
        ["read", folder] => read(Path::new(folder)).map(|(_, line)| println!("{line}")),
        ["rewrite", folder, rules, channels] => match (number(rules), number(channels)) {
            (Some(rules), Some(channels)) => read(Path::new(folder))
                .and_then(|(rewriter, _)| rewriting::measure(&rewriter, rules, channels)),
            _ => Err("RULES and CHANNELS are numbers above 1".to_owned()),
        },
        ["map", kind, entries] => match number(entries) {
            Some(entries) => mapping::measure(kind, entries),
            None => Err("ENTRIES is a number above 1".to_owned()),
        },
        _ => Err("write FOLDER SHAPE RULES CHANNELS | read FOLDER | rewrite FOLDER RULES CHANNELS | map KIND ENTRIES"
            .to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("language: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The files as they lie on the disk.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// Reads, checks and compiles a folder.
fn read(folder: &Path) -> Result<(Rewriter, String), String> {
    let (started, processor) = (Instant::now(), processor_seconds()?);
    let (config, sources, diagnostics) = sluice_config::read(&Disk, &Place::Folder(folder.to_owned()));
    let reading = processor_seconds()? - processor;
    if let Some(first) = diagnostics.first() {
        return Err(format!("{} remarks, the first: {}", diagnostics.len(), first.render(&sources)));
    }
    let config = Arc::new(config.ok_or("no configuration")?);
    let processor = processor_seconds()?;
    let (rewriter, found) = Rewriter::compile(Arc::clone(&config));
    let compiling = processor_seconds()? - processor;
    let wall = started.elapsed();
    if let Some(first) = found.first() {
        return Err(format!("{} remarks, the first: {}", found.len(), first.render(&sources)));
    }
    let line = format!(
        "{{\"rules\":{},\"channels\":{},\"read_seconds\":{:.3},\"compile_seconds\":{:.3},\"wall_seconds\":{:.3},\"peak_kib\":{}}}",
        config.rules.len(),
        config.channels.len(),
        reading,
        compiling,
        wall.as_secs_f64(),
        peak_kib().ok_or("no /proc/self/status")?
    );
    Ok((rewriter, line))
}

/// The most memory that this process has had at a time.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the processor has spent on this thread (Linux, Documentation/scheduler/sched-stats.rst).
fn processor_seconds() -> Result<f64, String> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").map_err(|error| error.to_string())?;
    let nanoseconds: Option<f64> = text.split_whitespace().next().and_then(|word| word.parse().ok());
    nanoseconds.map(|nanoseconds| nanoseconds / 1e9).ok_or("no times in schedstat".to_owned())
}

/// The median rate, in operations a second, of some rounds of at least a third of a second each.
fn rate(mut round: impl FnMut() -> usize) -> Result<f64, String> {
    round();
    let mut rates = Vec::new();
    for _ in 0..5 {
        let started = processor_seconds()?;
        let mut count = 0;
        let spent = loop {
            count += round();
            let spent = processor_seconds()? - started;
            if spent > 0.33 {
                break spent;
            }
        };
        rates.push(count as f64 / spent);
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}
