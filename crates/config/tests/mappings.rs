//! The form of the mapping file.
#![allow(clippy::unwrap_used)]

mod support;
use sluice_config::{MemoryFiles, read_mappings};
use std::path::{Path, PathBuf};
use support::{diagnose, folder, good};

const MAIN: &str = ". $U%$H@TCP-DAEMON\n\nl\nh\n\ntcp_local smtp\nTCP-DAEMON\n";

fn with(text: &str) -> MemoryFiles {
    folder(&[("sluice.cnf", MAIN), ("mappings", text)])
}

fn said(text: &str) -> String {
    diagnose(&with(text))
}

/// Tables as `NAME: pattern = template, …`.
fn tables(files: &MemoryFiles) -> String {
    let config = good(files);
    let lines = config.mappings.iter().map(|table| {
        let entries = table.entries.iter().map(|entry| format!("{} = {}", entry.pattern, entry.template));
        format!("{}: {}", table.name, entries.collect::<Vec<_>>().join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn tables_entries_comments_and_continuation() {
    let text = "! comment\nA\n\n  a  1\n! between\n\tb$ c\t2$ 3\n  d \\\n  4\\\n5\n  lone\n\n\n! more\n\nB-2\n\nEMPTY\n";
    assert_eq!(said(text), "");
    assert_eq!(tables(&with(text)), "A: a = 1, b$ c = 2$ 3, d = 45, lone = \nB-2: \nEMPTY: ");
    let config = good(&with(text));
    assert!(config.mappings.table("b-2").is_some() && config.mappings.table("C").is_none());
}

#[test]
fn a_quoted_blank_at_the_end_belongs_to_the_template() {
    assert_eq!(tables(&with("A\n\n  a  x$ \n  b  x$$ \n  c  y$ ")), "A: a = x$ , b = x$$, c = y$ ");
}

#[test]
fn included_files_are_spliced_in() {
    let files =
        with("A\n\n  a  1\n<more\n  c  3\n").with(PathBuf::from(support::FOLDER).join("more"), "  b  2\n");
    assert_eq!(tables(&files), "A: a = 1, b = 2, c = 3");
}

#[test]
fn blank_lines_too_few_and_too_many() {
    assert_eq!(
        said("A\n  a  1\nB\n\n  b  2\n"),
        "mappings:1:1: warning[mapping-blank-line-missing]: there is no blank line below the table name `A`\n\
         help: put a blank line behind the name\n\
         mappings:3:1: warning[mapping-blank-line-missing]: there is no blank line in front of the table `B`\n\
         help: put a blank line in front of it; if it is an entry, put blanks in front"
    );
    assert_eq!(tables(&with("A\n  a  1\nB\n\n  b  2\n")), "A: a = 1\nB: b = 2");
    assert_eq!(
        said("A\n\n  a  1\n\n  b  2\n  c  3\n"),
        "mappings:5:3: error[mapping-entry-after-table]: an entry below the blank line that ended the table `A`\n\
         help: take the blank line above it out, or put a `!` in its first column"
    );
}

#[test]
fn lines_in_the_wrong_place() {
    assert_eq!(
        said("  a  1\n  b  2\n\nA\n\n  a  1\n"),
        "mappings:1:3: error[mapping-entry-outside-table]: an entry that belongs to no table\n\
         help: put the name of the table in column one above it, and a blank line in between"
    );
    assert_eq!(
        said("A\n\n  a  1\nTCP|*|25  $Y\n  b  2\n"),
        "mappings:4:1: error[mapping-entry-not-indented]: an entry must begin with a blank\n\
         help: put blanks in front of it; only table names stand in column one"
    );
    assert_eq!(
        said("A\n\n*  $Y\n"),
        "mappings:3:1: error[mapping-entry-not-indented]: an entry must begin with a blank\n\
         help: put blanks in front of it; only table names stand in column one"
    );
    assert_eq!(
        said("A extra words\n\n  a  1\n"),
        "mappings:1:3: error[mapping-words-behind-name]: `extra words` behind the table name `A`\n\
         help: the name of a table stands alone; entries follow below a blank line"
    );
    assert_eq!(
        said("Abc\n\n  a  1\n\naBC\n\n  b  2\n"),
        "mappings:5:1: error[mapping-duplicate-table]: duplicate mapping name found: `aBC`\n\
         note: mappings:1:1: the first is here\n\
         help: make one table of the two; the order of entries is their meaning"
    );
}

#[test]
fn parts_of_entries() {
    assert_eq!(
        said("A\n\n  a  $NNot here\n"),
        "mappings:3:11: warning[mapping-unquoted-blank]: a blank in a template without `$` in front of it\n\
         help: write `$` in front of each blank that belongs to the template"
    );
    let long = |pattern: usize, template: usize| {
        let text = format!("A\n\n  {}\\\n  {}\n", "a".repeat(pattern), "b".repeat(template));
        let files = MemoryFiles::new().with("mappings", text);
        let (_, sources, found) = read_mappings(&files, Path::new("mappings"));
        let own = found.iter().filter(|remark| remark.code.name == "mapping-part-too-long");
        own.map(|remark| format!("{} {}", sources.position(remark.span.unwrap()), remark.severity))
            .collect::<Vec<_>>()
    };
    assert!(long(250, 252).is_empty());
    assert_eq!(long(254, 10), ["3:3 warning"]);
    assert_eq!(long(257, 10), ["3:3 error"]);
    assert_eq!(long(10, 1024), ["4:3 warning"]);
    assert_eq!(long(10, 1025), ["4:3 error"]);
}

#[test]
fn a_missing_file_is_an_error_only_when_it_is_asked_for() {
    assert_eq!(diagnose(&folder(&[("sluice.cnf", MAIN)])), "");
    let (_, _, found) = read_mappings(&MemoryFiles::new(), Path::new("mappings"));
    assert_eq!(found[0].code.name, "cannot-read-file");
}
