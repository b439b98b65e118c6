//! The page of the mission: each thing that a release of mail has to do, the test that shows it, and whether it works.
//!
//! `tests/mission.tsv` is the one place where that stands; `docs/reference/mission.md` is written from it. A row's first
//! digit says from which system the feature is known. A row `works` only where tests are named, and every test that is
//! named must be there; a row that does not work says why.
//!
//! # Not here
//! The tests themselves: this module looks for their names in the tree and does not run them.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The page, below the root.
const PAGE: &str = "docs/reference/mission.md";
/// The table, below the root.
const TABLE: &str = "tests/mission.tsv";

/// The systems that the rows come from, by their first digit.
const SYSTEMS: [&str; 6] = [
    "Triggering the transfer of messages (PMDF System Manager's Guide)",
    "ETRN on a mail firewall (PMDF)",
    "The command etrn(8) (Solaris)",
    "The ETRN tab (i-Mail)",
    "The command ETRN (Gordano Messaging Suite, NTMail)",
    "Beyond these systems",
];

/// One thing that has to work.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    /// `1.6a+`: the system, a number, and marks for what was added within it.
    number: &'a str,
    name: &'a str,
    behaviour: &'a str,
    /// `release::name` for a test in `tests/tests/release.rs`, otherwise `path/below/the/root.rs::name`.
    tests: Vec<&'a str>,
    by_hand: &'a str,
    /// `works`, `in part: REASON` or `not yet: REASON`.
    status: &'a str,
}

impl Row<'_> {
    /// What sorts rows: system, number, letter.
    fn place(&self) -> Option<(usize, usize, &str)> {
        let (system, rest) = self.number.split_once('.')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some((system.parse().ok()?, rest[..digits].parse().ok()?, rest[digits..].trim_end_matches('+')))
    }
}

/// Reads the table: a line for each row, tabs between the fields; lines that begin with `#` are remarks.
fn rows(text: &str) -> Result<Vec<Row<'_>>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, name, behaviour, tests, by_hand, status] = fields[..] else {
            bail!("{TABLE}:{}: {} fields in place of 6", number + 1, fields.len());
        };
        let row =
            Row { number: id, name, behaviour, tests: tests.split_whitespace().collect(), by_hand, status };
        let place = row.place().with_context(|| format!("{TABLE}:{}: {id:?} is no number", number + 1))?;
        if !(1..=SYSTEMS.len()).contains(&place.0) {
            bail!("{TABLE}:{}: there is no system {}", number + 1, place.0);
        }
        if let Some(last) = rows.last().and_then(Row::place) {
            let next =
                if last.0 == place.0 { place.1 == last.1 || place.1 == last.1 + 1 } else { place.1 == 1 };
            if place <= last || !next {
                bail!("{TABLE}:{}: {id} does not follow {}", number + 1, rows[rows.len() - 1].number);
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The file of a test, and its name.
fn test_of(test: &str) -> Option<(String, &str)> {
    let (file, name) = test.split_once("::")?;
    let path = if file.contains('/') { file.to_owned() } else { format!("tests/tests/{file}.rs") };
    Some((path, name))
}

/// Is there a function of that name behind an attribute that makes it a test?
fn is_test(source: &str, name: &str) -> bool {
    let mut attributes = Vec::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push(line);
        } else if line.starts_with(&format!("fn {name}(")) || line.starts_with(&format!("async fn {name}(")) {
            return attributes.iter().any(|one| *one == "#[test]" || one.starts_with("#[tokio::test"));
        } else if !line.starts_with("//") {
            attributes.clear();
        }
    }
    false
}

/// What is wrong with the rows, a line for each fault; `read` gives the text of a file below the root.
fn faults(rows: &[Row<'_>], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    for row in rows {
        let number = row.number;
        for test in &row.tests {
            let found = test_of(test)
                .is_some_and(|(path, name)| read(&path).is_some_and(|source| is_test(&source, name)));
            if !found {
                faults.push(format!("{number}: there is no test {test}"));
            }
        }
        let reason = ["in part: ", "not yet: "].iter().find_map(|start| row.status.strip_prefix(start));
        match (row.status, reason) {
            ("works", _) if row.tests.is_empty() => {
                faults.push(format!("{number}: works, and no test shows it"));
            }
            ("works", _) => {}
            (_, Some(reason)) if !reason.trim().is_empty() => {}
            _ => faults.push(format!("{number}: {:?} is neither `works` nor a reason", row.status)),
        }
        if row.behaviour.is_empty() || row.by_hand.is_empty() {
            faults.push(format!("{number}: behaviour or command is missing"));
        }
    }
    faults
}

/// The page.
fn page(rows: &[Row<'_>]) -> String {
    let works = rows.iter().filter(|row| row.status == "works").count();
    let mut page = format!(
        "# What a release has to do\n\n\
         Sluice does what the mail systems before it did for sites that are not always there, and some things more. Each row \
         is one behaviour, with the tests that show it and a way to see it by hand. {works} of {} work whole{}. Written from `{TABLE}`; a test sees to it that every test named here exists.\n\n\
         *By hand* is meant for the demonstration: `sluice run --config samples/dialup/hub` and `sluice run --config \
         samples/dialup/site` in two terminals, and `--config samples/dialup/hub` behind each command that has no other. A \
         test runs what stands there (`tests/tests/mission_by_hand.rs`). Mail for it comes from `cargo xtask send --to \
         fred@site7.example.net --count 3`. \"Say\" means a line in a session, `nc -C 127.0.0.1 10025`, after `EHLO me`. \
         Tests without a path are in `tests/tests/`; `cargo test -p sluice-tests --test FILE NAME` runs one.\n",
        rows.len(),
        if works == rows.len() { "" } else { "; the others say what is missing" }
    );
    let mut system = 0;
    for row in rows {
        let of = row.place().map_or(0, |(of, ..)| of);
        if of != system {
            system = of;
            let _ = write!(
                page,
                "\n## {system}. {}\n\n| # | Feature | Behaviour | Tests | By hand | Status |\n|---|---|---|---|---|---|\n",
                SYSTEMS[system - 1]
            );
        }
        let tests: Vec<String> = row.tests.iter().map(|test| format!("`{test}`")).collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} |",
            row.number,
            row.name,
            row.behaviour,
            if tests.is_empty() { "none".to_owned() } else { tests.join("<br>") },
            row.by_hand,
            row.status
        );
    }
    page
}

/// Writes the page, unless a row promises what is not there.
pub(crate) fn write(root: &Path) -> Result<()> {
    let table = root.join(TABLE);
    let text = fs::read_to_string(&table).with_context(|| format!("reading {}", table.display()))?;
    let rows = rows(&text)?;
    let faults = faults(&rows, |path| fs::read_to_string(root.join(path)).ok());
    if !faults.is_empty() {
        bail!("{TABLE}:\n{}", faults.join("\n"));
    }
    let path = root.join(PAGE);
    fs::write(&path, page(&rows)).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::root;

    #[test]
    fn the_page_is_what_the_table_says() {
        let root = root().unwrap();
        let text = fs::read_to_string(root.join(TABLE)).unwrap();
        let there = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
        assert!(there == page(&rows(&text).unwrap()), "write {PAGE} with `cargo xtask reference`");
    }

    #[test]
    fn every_test_that_is_named_exists_and_every_row_has_one_or_a_reason() {
        let root = root().unwrap();
        let text = fs::read_to_string(root.join(TABLE)).unwrap();
        let faults = faults(&rows(&text).unwrap(), |path| fs::read_to_string(root.join(path)).ok());
        assert!(faults.is_empty(), "{TABLE}:\n{}", faults.join("\n"));
    }

    #[test]
    fn a_test_that_carries_a_number_has_a_row() {
        let root = root().unwrap();
        let text = fs::read_to_string(root.join(TABLE)).unwrap();
        let rows = rows(&text).unwrap();
        for entry in fs::read_dir(root.join("tests/tests")).unwrap() {
            let path = entry.unwrap().path();
            let Ok(source) = fs::read_to_string(&path) else { continue };
            for name in source.lines().filter_map(|line| line.trim().strip_prefix("fn row_")) {
                let mut parts = name.split('_');
                let number = format!("{}.{}", parts.next().unwrap_or(""), parts.next().unwrap_or(""));
                assert!(
                    rows.iter().any(|row| row.number.trim_end_matches('+') == number),
                    "{}: fn row_{name}: there is no row {number}",
                    path.display()
                );
            }
        }
    }

    fn told(line: &str) -> String {
        let sources = |path: &str| {
            (path == "tests/tests/a.rs").then(|| {
                "#[test]\n// why\n#[cfg(unix)]\nfn one() {}\nfn two() {}\n#[tokio::test]\nasync fn three() {}".to_owned()
            })
        };
        match rows(line) {
            Ok(rows) => faults(&rows, sources).join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_with_a_row_is_told() {
        assert_eq!(told("1.1\tn\tb\ta::one a::three\tc\tworks"), "");
        assert_eq!(told("1.1\tn\tb\t\tc\tnot yet: nobody came"), "");
        assert_eq!(told("1.1\tn\tb\ta::two\tc\tworks"), "1.1: there is no test a::two");
        assert_eq!(told("1.1\tn\tb\tb::one\tc\tworks"), "1.1: there is no test b::one");
        assert_eq!(told("1.1\tn\tb\tone\tc\tworks"), "1.1: there is no test one");
        assert_eq!(told("1.1\tn\tb\t\tc\tworks"), "1.1: works, and no test shows it");
        assert_eq!(told("1.1\tn\tb\t\tc\tnot yet:  "), "1.1: \"not yet:  \" is neither `works` nor a reason");
        assert_eq!(told("1.1\tn\t\ta::one\tc\tworks"), "1.1: behaviour or command is missing");
    }

    #[test]
    fn rows_stand_in_order_and_none_is_left_out() {
        let row = |number: &str| format!("{number}\tn\tb\ta::one\tc\tworks");
        let table = |numbers: &[&str]| numbers.iter().map(|one| row(one)).collect::<Vec<_>>().join("\n");
        assert_eq!(told(&table(&["1.9", "1.10", "1.10a+", "2.1"])), "");
        assert!(told(&table(&["1.1", "1.3"])).ends_with("1.3 does not follow 1.1"));
        assert!(told(&table(&["1.2", "1.2"])).ends_with("1.2 does not follow 1.2"));
        assert!(told(&table(&["1.2", "2.2"])).ends_with("2.2 does not follow 1.2"));
        assert!(told(&table(&["7.1"])).ends_with("there is no system 7"));
        assert!(told(&table(&["x"])).ends_with("\"x\" is no number"));
        assert!(told("1.1\tn").ends_with("2 fields in place of 6"));
    }
}
