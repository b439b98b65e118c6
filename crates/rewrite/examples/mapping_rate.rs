//! How many probes a second a table of a thousand entries answers: `cargo run --release --example mapping_rate`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use sluice_config::MemoryFiles;
use sluice_rewrite::NoLookups;
use sluice_rewrite::mapping::{Flags, MappingTables};

const ENTRIES: usize = 1000;
const PROBES: usize = 200_000;

fn main() {
    let mut file = String::from("HEADS\n\n");
    let mut tables = vec![("HEADS", Vec::new())];
    for number in 0..ENTRIES {
        let _ = writeln!(file, "  user{number}@*  $0$Y");
        tables[0].1.push(format!("user{number}@example.com"));
    }
    file.push_str("\nMIDDLES\n\n");
    tables.push(("MIDDLES", Vec::new()));
    for number in 0..ENTRIES {
        let _ = writeln!(file, "  tcp_*|*@site{number}.example.com|tcp_*|*  $NNo$ mail$ from$ site{number}");
        tables[1].1.push(format!("tcp_local|fred@site{number}.example.com|tcp_dialup|john@host.example.net"));
    }
    file.push_str("\nNETWORKS\n\n");
    tables.push(("NETWORKS", Vec::new()));
    for number in 0..ENTRIES {
        let _ = writeln!(file, "  $(10.{}.{}.0/24)  $Y", number / 256, number % 256);
        tables[2].1.push(format!("10.{}.{}.77", number / 256, number % 256));
    }
    let files = MemoryFiles::new().with("mappings", file);
    let (read, _, found) = sluice_config::read_mappings(&files, Path::new("mappings"));
    assert!(found.is_empty());
    let (compiled, found) = MappingTables::compile(&read);
    assert!(found.is_empty());
    for (table, inputs) in tables {
        let start = Instant::now();
        for probe in 0..PROBES {
            let input = &inputs[probe * 7 % inputs.len()];
            assert!(compiled.probe(table, input, Flags::NONE, &NoLookups).unwrap().matched());
        }
        let hits = PROBES as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        for probe in 0..PROBES {
            let input = ["nobody@nowhere.example", "tcp_local|x@y.example.com|l|z@example.com", "192.0.2.1"]
                [probe % 3];
            assert!(!compiled.probe(table, input, Flags::NONE, &NoLookups).unwrap().matched());
        }
        let misses = PROBES as f64 / start.elapsed().as_secs_f64();
        println!("{table}: {hits:.0} probes a second that match, {misses:.0} that do not");
    }
}
