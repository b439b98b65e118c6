//! Runs the pages in `tests/mapping`: prose for operators, with mapping files and what tables make of texts.
//!
//! Blocks that set the scene: `mappings` (a whole mapping file), `general` (the general database, key and value on a
//! line). Blocks that ask:
//!
//! * `answers TABLE`, with `flags=AB` (flags handed in) and `lot=30` (what chance gives) behind it when they matter:
//!   `text → output; flags YN`, `(empty)` for an empty output, or `text → no match`.
//! * `match PATTERN`: `text → 0 = …, 1 = …`, `text → match` for a pattern without wildcards, or `text → no match`.
//! * `remarks`: what is said about the entries when they are read, as `line:column code: message`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_config::MemoryFiles;
use sluice_rewrite::Lookups;
use sluice_rewrite::mapping::{Answer, LonePattern, MappingTables};

#[derive(Default)]
struct Outside {
    general: Vec<(String, String)>,
    lot: f64,
    number: AtomicU64,
}

impl Lookups for Outside {
    fn database(&self, name: &str, key: &str) -> Option<String> {
        assert_eq!(name, "general");
        let found = self.general.iter().find(|(known, _)| known.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value.clone())
    }

    fn sequence(&self, file: &str) -> Option<u64> {
        (file == "counter").then(|| self.number.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn percent(&self) -> f64 {
        self.lot
    }
}

fn shown(answer: &Answer) -> String {
    let Some(output) = &answer.output else {
        assert_eq!(answer.flags.to_string(), "", "flags come from entries that match");
        return "no match".to_owned();
    };
    let output = if output.is_empty() { "(empty)" } else { output };
    match answer.flags.to_string().as_str() {
        "" => output.to_owned(),
        flags => format!("{output}; flags {flags}"),
    }
}

fn page(path: &Path) -> (usize, Vec<String>) {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let mut outside = Outside::default();
    let (mut tables, mut remarks) = (MappingTables::default(), Vec::new());
    let (mut compared, mut wrong) = (0, Vec::new());
    let mut compare = |line: usize, what: &str, found: &str, expected: &str| {
        compared += 1;
        if found != expected {
            wrong.push(format!("{name}:{line}: {what}\n  expected  {expected}\n  found     {found}"));
        }
    };
    let mut lines = text.lines().enumerate();
    while let Some((fence, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let block: Vec<(usize, &str)> = lines
            .by_ref()
            .take_while(|(_, line)| *line != "```")
            .map(|(number, line)| (number + 1, line))
            .collect();
        let rows = || block.iter().filter(|(_, line)| !line.trim().is_empty());
        let questions = || {
            rows().map(|(number, line)| {
                let (text, expected) =
                    line.split_once('→').unwrap_or_else(|| panic!("{name}:{number}: no arrow"));
                (*number, text.trim(), expected.trim())
            })
        };
        let (kind, rest) = kind.split_once(' ').unwrap_or((kind, ""));
        match kind {
            "mappings" => {
                let plain: String = block.iter().map(|(_, line)| format!("{line}\n")).collect();
                let files = MemoryFiles::new().with("mappings", plain);
                let (read, sources, found) = sluice_config::read_mappings(&files, Path::new("mappings"));
                let (compiled, more) = MappingTables::compile(&read);
                tables = compiled;
                remarks = found
                    .iter()
                    .chain(&more)
                    .map(|remark| {
                        let position = sources.position(remark.span.expect("a remark has a place"));
                        format!("{position} {}: {}", remark.code.name, remark.message)
                    })
                    .collect();
                outside.number.store(0, Ordering::Relaxed);
            }
            "general" => {
                outside.general = rows()
                    .map(|(_, line)| line.split_once(' ').unwrap())
                    .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
                    .collect();
            }
            "answers" => {
                let mut words = rest.split_whitespace();
                let table = words.next().expect("a table");
                let mut flags = "";
                outside.lot = 0.0;
                for word in words {
                    match word.split_once('=') {
                        Some(("flags", letters)) => flags = letters,
                        Some(("lot", lot)) => outside.lot = lot.parse().unwrap(),
                        _ => panic!("{name}:{}: {word}", fence + 1),
                    }
                }
                for (number, text, expected) in questions() {
                    let text = if text == "(empty)" { "" } else { text };
                    let answer = tables.probe(table, text, flags.chars().collect(), &outside);
                    let answer = answer.unwrap_or_else(|| panic!("{name}:{}: no table {table}", fence + 1));
                    compare(number, text, &shown(&answer), expected);
                }
            }
            "match" => {
                for (number, text, expected) in questions() {
                    let text = if text == "(empty)" { "" } else { text };
                    let found = match LonePattern::read(rest).map(|pattern| pattern.matches(text)) {
                        Err(mistakes) => format!("mistakes: {mistakes:?}"),
                        Ok(None) => "no match".to_owned(),
                        Ok(Some(taken)) if taken.is_empty() => "match".to_owned(),
                        Ok(Some(taken)) => {
                            let taken = taken.iter().enumerate().map(|(n, text)| format!("{n} = {text}"));
                            taken.collect::<Vec<_>>().join(", ")
                        }
                    };
                    compare(number, &format!("{rest} with {text}"), found.trim(), expected);
                }
            }
            "remarks" => {
                let expected: Vec<&str> = rows().map(|(_, line)| *line).collect();
                compare(fence + 1, "remarks", &remarks.join("\n"), &expected.join("\n"));
            }
            other => panic!("{name}:{}: a block of unknown kind {other:?}", fence + 1),
        }
    }
    (compared, wrong)
}

#[test]
fn every_page_says_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mapping");
    let mut pages: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() >= 13, "some pages are missing: {pages:?}");
    let mut wrong = Vec::new();
    for path in pages {
        let (compared, mut in_page) = page(&path);
        assert!(compared > 0, "{} compares nothing", path.display());
        wrong.append(&mut in_page);
    }
    assert!(wrong.is_empty(), "{} differences\n\n{}", wrong.len(), wrong.join("\n\n"));
}
