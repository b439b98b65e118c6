//! Makes `docs/man/sluice-channel.7` of `docs/internals/abi.md`.
//!
//! The page is written in a small part of Markdown: headings, paragraphs, lists, tables, blocks of text, `code` and links. A
//! table becomes a list, because the cells are sentences. What this reader does not know, it refuses.

use std::fmt::Write;

const HEAD: &str = "\
.\\\" Made from docs/internals/abi.md; do not change it here.
.TH SLUICE-CHANNEL 7 \"\" Sluice \"Sluice Manual\"
.SH NAME
sluice\\-channel \\- the contract between the hub and a channel plugin
.SH SYNOPSIS
.B #include <sluice.h>
.PP
.B extern const sluice_plugin_table sluice_plugin;
.SH DESCRIPTION
";

const FOOT: &str = "\
.SH FILES
.I include/sluice.h
is the header;
.I docs/internals/abi.md
is this page.
.SH SEE ALSO
.BR dlopen (3)
";

/// The whole page.
pub(crate) fn generate(document: &str) -> String {
    let mut out = HEAD.to_owned();
    let mut lines = document.lines().peekable();
    let mut paragraph = String::new();
    while let Some(line) = lines.next() {
        let is_text = !line.is_empty()
            && !line.starts_with(['#', '|'])
            && !line.starts_with("```")
            && !line.starts_with("- ");
        if is_text {
            paragraph.push_str(line.trim());
            paragraph.push(' ');
            continue;
        }
        flush(&mut out, &mut paragraph);
        if let Some(name) = line.strip_prefix("### ") {
            writeln!(out, ".SS {}", inline(name)).unwrap();
        } else if let Some(name) = line.strip_prefix("## ") {
            writeln!(out, ".SH {}", inline(name).to_uppercase()).unwrap();
        } else if line.starts_with("```") {
            out.push_str(".PP\n.nf\n");
            for line in lines.by_ref().take_while(|line| !line.starts_with("```")) {
                writeln!(out, "{}", guarded(&escaped(line))).unwrap();
            }
            out.push_str(".fi\n");
        } else if let Some(first) = line.strip_prefix("- ") {
            let mut item = first.to_owned();
            while let Some(more) = lines.next_if(|line| line.starts_with("  ")) {
                item = format!("{item} {}", more.trim());
            }
            writeln!(out, ".IP \\(bu 2\n{}", guarded(&inline(&item))).unwrap();
        } else if line.starts_with('|') {
            let mut rows = vec![cells(line)];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(cells(row));
            }
            table(&mut out, &rows);
        }
    }
    flush(&mut out, &mut paragraph);
    out.push_str(FOOT);
    out
}

fn flush(out: &mut String, paragraph: &mut String) {
    let text = std::mem::take(paragraph);
    if !text.trim().is_empty() {
        writeln!(out, ".PP\n{}", guarded(&inline(text.trim()))).unwrap();
    }
}

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

/// Each row under its name, which is the first cell, or the field of a structure.
fn table(out: &mut String, rows: &[Vec<&str>]) {
    let [head, rule, rows @ ..] = rows else { panic!("a table without rows") };
    assert!(rule.iter().all(|cell| cell.chars().all(|c| c == '-')), "a table without a rule: {rule:?}");
    let named = head.iter().position(|cell| *cell == "Field").unwrap_or(0);
    for row in rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
        writeln!(out, ".TP\n{}", guarded(&inline(row[named]))).unwrap();
        let others: Vec<usize> = (0..row.len()).filter(|at| *at != named && !row[*at].is_empty()).collect();
        let said: Vec<String> = others
            .iter()
            .map(|&at| match others.len() {
                1 => row[at].to_owned(),
                _ => format!("{}: {}", head[at].to_lowercase(), row[at]),
            })
            .collect();
        writeln!(out, "{}", guarded(&inline(&said.join("; ")))).unwrap();
    }
}

/// `code` in bold, links as their words.
fn inline(text: &str) -> String {
    let mut out = String::new();
    // A link may have code in it.
    for (number, part) in without_links(text).split('`').enumerate() {
        match number % 2 {
            0 => out.push_str(&escaped(part)),
            _ => write!(out, "\\fB{}\\fR", escaped(part)).unwrap(),
        }
    }
    out
}

fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let (front, words) = before.rsplit_once('[').expect("a link");
        let (_, behind) = after.split_once(')').expect("the end of a link");
        out.push_str(front);
        out.push_str(words);
        rest = behind;
    }
    out + rest
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '→' => out.push_str("\\(->"),
            '×' => out.push_str("\\(mu"),
            '…' => out.push_str("..."),
            '│' => out.push('|'),
            '─' => out.push_str("\\-"),
            '►' => out.push('>'),
            '◄' => out.push('<'),
            plain if plain.is_ascii() => out.push(plain),
            other => panic!("the manual page has no way to write {other:?}"),
        }
    }
    out
}

/// A line that begins with a dot or a quote would be an order.
fn guarded(text: &str) -> String {
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text.to_owned(),
    }
}
