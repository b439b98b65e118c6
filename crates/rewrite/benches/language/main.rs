//! What `cargo xtask bench language` measures in this process: reading, rewriting, mapping. One measurement for each call,
//! so that the memory that is shown is that of nothing else.
//!
//! ```text
//! cargo bench -p sluice-rewrite --bench language -- write FOLDER SHAPE RULES CHANNELS
//! cargo bench -p sluice-rewrite --bench language -- read FOLDER
//! cargo bench -p sluice-rewrite --bench language -- rewrite FOLDER RULES CHANNELS
//! cargo bench -p sluice-rewrite --bench language -- map KIND ENTRIES
//! ```
//! Each prints one line of JSON. Times are of one thread, and of the wall.
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
    let started = Instant::now();
    let (config, sources, diagnostics) = sluice_config::read(&Disk, &Place::Folder(folder.to_owned()));
    let reading = started.elapsed();
    if let Some(first) = diagnostics.first() {
        return Err(format!("{} remarks, the first: {}", diagnostics.len(), first.render(&sources)));
    }
    let config = Arc::new(config.ok_or("no configuration")?);
    let started = Instant::now();
    let (rewriter, found) = Rewriter::compile(Arc::clone(&config));
    let compiling = started.elapsed();
    if let Some(first) = found.first() {
        return Err(format!("{} remarks, the first: {}", found.len(), first.render(&sources)));
    }
    let line = format!(
        "{{\"rules\":{},\"channels\":{},\"read_seconds\":{:.4},\"compile_seconds\":{:.4},\"peak_kib\":{}}}",
        config.rules.len(),
        config.channels.len(),
        reading.as_secs_f64(),
        compiling.as_secs_f64(),
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

/// The best rate, in operations a second, of some rounds of at least a fifth of a second each: other work of the machine
/// only ever slows one down.
fn best_rate(mut round: impl FnMut() -> usize) -> f64 {
    round();
    let rates = (0..7).map(|_| {
        let started = Instant::now();
        let mut count = 0;
        while started.elapsed().as_millis() < 200 {
            count += round();
        }
        count as f64 / started.elapsed().as_secs_f64()
    });
    rates.fold(0.0, f64::max)
}
