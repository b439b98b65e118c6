//! Mapping tables: how many probes a second, by where the entry stands that matches.

use std::fmt::Write as _;
use std::hint::black_box;

use sluice_config::read_mappings;
use sluice_rewrite::NoLookups;
use sluice_rewrite::mapping::{Flags, MappingTables};

use crate::rate;

/// Different texts for each measurement.
const TEXTS: usize = 10_000;

/// Entry `number` of a kind of table, a text that it alone matches, and one that nothing matches.
fn entry(kind: &str, number: usize, salt: usize) -> Option<(String, String, String)> {
    Some(match kind {
        "text" => (
            format!("user{number}@host{number}.example.com $Yyes"),
            format!("user{number}@host{number}.example.com"),
            format!("user{number}@none{salt}.example.com"),
        ),
        "wildcard" => (
            format!("*@*.dom{number}.example.com $Y$0"),
            format!("user{salt}@mail{salt}.dom{number}.example.com"),
            format!("user{salt}@mail{salt}.none{number}.example.com"),
        ),
        "network" => {
            let (high, low) = (number / 256, number % 256);
            (
                format!("$(10.{high}.{low}.0/24) $Y"),
                format!("10.{high}.{low}.{}", salt % 256),
                format!("192.0.{low}.{}", salt % 256),
            )
        }
        "access" => (
            format!("tcp_local|*@dom{number}.example.com|*|* $N$0"),
            format!("tcp_local|user{salt}@dom{number}.example.com|tcp_local|someone{salt}@far.example"),
            format!("tcp_local|user{salt}@none{number}.example.com|tcp_local|someone{salt}@far.example"),
        ),
        _ => return None,
    })
}

/// Prints the rates of a table of a kind: the first entry, the last, any, none.
pub(crate) fn measure(kind: &str, entries: usize) -> Result<(), String> {
    let mut file = "TABLE\n\n".to_owned();
    for number in 0..entries {
        let (line, ..) = entry(kind, number, 0).ok_or_else(|| format!("no such kind of table: {kind}"))?;
        _ = writeln!(file, "  {line}");
    }
    let files = sluice_config::MemoryFiles::new().with("mappings", file);
    let (mappings, sources, remarks) = read_mappings(&files, std::path::Path::new("mappings"));
    if let Some(first) = remarks.first() {
        return Err(first.render(&sources));
    }
    let (tables, remarks) = MappingTables::compile(&mappings);
    if let Some(first) = remarks.first() {
        return Err(first.render(&sources));
    }
    let mut shown = vec![format!("\"kind\":\"{kind}\",\"entries\":{entries}")];
    for (name, place) in [("first", Some(0)), ("last", Some(entries - 1)), ("any", None), ("none", None)] {
        let text = |salt: usize| {
            let number = place.unwrap_or(salt.wrapping_mul(7_919) % entries);
            let (_, hit, miss) = entry(kind, number, salt).expect("the kind is known by now");
            if name == "none" { miss } else { hit }
        };
        let texts: Vec<String> = (0..TEXTS).map(text).collect();
        for text in &texts {
            let answer = tables.probe("TABLE", text, Flags::NONE, &NoLookups).ok_or("no table")?;
            if answer.matched() == (name == "none") {
                return Err(format!("{text}: {answer:?}"));
            }
        }
        let found = rate(|| {
            for text in &texts {
                black_box(tables.probe("TABLE", black_box(text), Flags::NONE, &NoLookups));
            }
            texts.len()
        })?;
        shown.push(format!("\"{name}\":{found:.0}"));
    }
    println!("{{{}}}", shown.join(","));
    Ok(())
}
