//! The reference page of the rewrite rules: its diagnostics are those of the table, and its sequences are known.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_diag::Severity;
use sluice_rewrite::{Rewriter, codes};

const HEADING: &str = "\n## Diagnostics\n";

fn page() -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/rewrite-rules.md");
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn every_diagnostic_is_explained_and_no_other() {
    let mut explained = String::new();
    for code in codes() {
        let _ = write!(
            explained,
            "\n### {}\n\n*{}*: {}\n\n{}\n",
            code.name, code.severity, code.summary, code.explanation
        );
    }
    let (path, page) = page();
    let (before, after) = page.split_once(HEADING).expect("the page has a section for diagnostics");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, format!("{before}{HEADING}{explained}")).unwrap();
        return;
    }
    assert!(
        after == explained,
        "docs/reference/rewrite-rules.md is not what the table says; write it with \
         `UPDATE_REFERENCE=1 cargo test -p sluice-rewrite`"
    );
}

#[test]
fn names_of_diagnostics_are_used_once() {
    let mut names: Vec<&str> = codes().iter().map(|code| code.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(names.iter().all(|name| name.starts_with("rewrite-")));
}

#[test]
fn every_sequence_on_the_page_is_read() {
    let (_, page) = page();
    let mut seen = 0;
    for row in page.lines().filter(|row| row.starts_with("| `$") && !row.starts_with("| `$*` | anything")) {
        let first_cell = row.split(" | ").next().unwrap();
        for sequence in first_cell.split('`').skip(1).step_by(2) {
            let text = format!("a $U%$D{sequence}@TCP\nb $U%$D@TCP$Y\n\nl\nlocal\n\nchannel smtp\nTCP\n");
            let (config, _, diagnostics) = sluice_config::read_text(&text);
            let config = config.unwrap_or_else(|| panic!("{sequence}: {diagnostics:?}"));
            let (_, diagnostics) = Rewriter::compile(Arc::new(config));
            let errors: Vec<_> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
            assert_eq!(errors.len(), 1, "{sequence}: {errors:?}, where only `$Y` is a mistake");
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} sequences found on the page");
}

#[test]
fn the_page_on_mapping_tables_explains_its_diagnostics() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/mappings.md");
    let mut explained = String::new();
    for code in sluice_rewrite::mapping::codes() {
        let (name, severity, summary) = (code.name, code.severity, code.summary);
        let _ = write!(explained, "\n### {name}\n\n*{severity}*: {summary}\n\n{}\n", code.explanation);
    }
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, after) = page.split_once(HEADING).expect("the page has a section for diagnostics");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, format!("{before}{HEADING}{explained}")).unwrap();
        return;
    }
    assert!(after == explained, "write it with `UPDATE_REFERENCE=1 cargo test -p sluice-rewrite`");
}
