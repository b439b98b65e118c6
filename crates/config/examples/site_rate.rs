//! How long a hundred thousand sites take to read, and how much memory they keep: `cargo run --release --example site_rate`.
#![allow(clippy::print_stdout)]

use sluice_config::{MemoryFiles, Place, read};
use std::fmt::Write as _;
use std::time::Instant;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn main() {
    let main = ". $U%$H@TAG\n\nl\nhub.example.com\n\ntcp_local smtp mx\nTAG\n";
    let mut sites = String::new();
    for number in 0..100_000 {
        let _ = writeln!(
            sites,
            "[SITE=site{number}]\nDOMAINS=site{number}.example.com\nQUEUE_NAME=q{number}\nLOGIN=login{number}\nCHANNEL=tcp_local\nTIER=dynamic\n"
        );
    }
    let files = MemoryFiles::new().with("c/sluice.cnf", main).with("c/sites.cnf", sites);
    let place = Place::Folder("c".into());
    let before = resident_kib();
    let begin = Instant::now();
    let (config, sources, _) = read(&files, &place);
    let took = begin.elapsed();
    drop(sources);
    let kept = resident_kib().saturating_sub(before);
    let Some(config) = config else { return };
    let begin = Instant::now();
    let found = (0..100_000)
        .filter(|number| config.sites.by_domain(&format!("site{number}.example.com")).is_some())
        .count();
    println!(
        "{} sites read in {took:?}, {kept} KiB kept; {found} domains found in {:?}",
        config.sites.len(),
        begin.elapsed()
    );
}
