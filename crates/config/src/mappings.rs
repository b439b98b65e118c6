//! The mapping file: tables of entries, each a pattern and a template (PMDF System Manager's Guide, chapter 5, "The
//! mapping file"). What was written, with all that is wrong about its form.
//!
//! A table is a name in column one, a blank line, and entries that begin with a blank. As in the main file, one slip gives
//! one diagnostic: a line in the wrong place is reported once and read as what it was meant to be.
//!
//! # Not here
//! What patterns and templates mean (`rewrite::mapping`), and the logical lines (`lines`).

use crate::codes;
use crate::databases::{self, Databases};
use crate::files::Files;
use crate::grammar::{self, Word};
use crate::lines::{Line, Manner, Reader, Text, place};
use sluice_diag::{Diagnostic, Sources, Span};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Name of the mapping file in a configuration folder.
pub(crate) const MAPPING_FILE: &str = "mappings";
/// Characters of a pattern that all products read.
const PART_LENGTH_SAFE: usize = 252;
/// Characters of a pattern that any product reads (Messaging Server 6.3).
const PATTERN_LENGTH_MAX: usize = 256;
/// Characters of a template that any product reads (Messaging Server 6.3).
const TEMPLATE_LENGTH_MAX: usize = 1024;

/// Octets of the name of a table. No manual tells the limit behind "mapping name is too long"; the one of host names
/// leaves room for every name that is made of a channel's.
const NAME_LENGTH_MAX: usize = 128;

/// All mapping tables, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mappings {
    tables: Vec<MappingTable>,
    by_name: HashMap<String, usize>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingTable {
    /// The name as written; names are compared without case.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// The entries in the order in which they are tried.
    pub entries: Vec<MappingEntry>,
}

/// One entry as written, continuation lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingEntry {
    /// Up to the first blank that no `$` quotes.
    pub pattern: String,
    /// The rest of the line without the blanks around it; empty when there is none.
    pub template: String,
    /// Where the pattern stands.
    pub span: Span,
    /// Where the template stands; the end of the pattern when there is none.
    pub template_span: Span,
    /// Offset in the pattern and where that piece of it stands; empty when it is one piece.
    pub pattern_pieces: Vec<(usize, Span)>,
    /// Offset in the template and where that piece of it stands; empty when it is one piece.
    pub template_pieces: Vec<(usize, Span)>,
}

impl Mappings {
    /// The table of that name, case aside.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&MappingTable> {
        self.by_name.get(&name.to_lowercase()).and_then(|index| self.tables.get(*index))
    }

    /// The tables in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &MappingTable> {
        self.tables.iter()
    }

    /// Is there no table at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

impl MappingEntry {
    /// The place of the bytes `start..end` of the pattern.
    #[must_use]
    pub fn pattern_part(&self, start: usize, end: usize) -> Span {
        place(&self.pattern_pieces, self.span, start, end)
    }

    /// The place of the bytes `start..end` of the template.
    #[must_use]
    pub fn template_part(&self, start: usize, end: usize) -> Span {
        place(&self.template_pieces, self.template_span, start, end)
    }
}

/// Reads a mapping file and nothing else. Names of included files start from the folder it is in.
///
/// There is a result even where there are errors, for looking further; it is to be used only when none of the
/// diagnostics is an error.
#[must_use]
pub fn read_mappings(files: &dyn Files, path: &Path) -> (Mappings, Sources, Vec<Diagnostic>) {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut reader = reader(files, folder);
    let mappings = match reader.read(path) {
        Some(text) => tables(&text, &mut reader),
        None => Mappings::default(),
    };
    let Reader { sources, mut diagnostics, .. } = reader;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.source, span.start)));
    (mappings, sources, diagnostics)
}

/// As [`read_mappings`], with the text databases that stand beside the file; those of `others`, by name, come from files
/// of their own.
#[must_use]
pub fn read_mappings_and_databases(
    files: &dyn Files,
    path: &Path,
    others: &[(String, PathBuf)],
) -> (Mappings, Databases, Sources, Vec<Diagnostic>) {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut reader = reader(files, folder);
    let mappings = match reader.read(path) {
        Some(text) => tables(&text, &mut reader),
        None => Mappings::default(),
    };
    let mut read = databases::read_all(folder, &mut reader);
    for (name, file) in others {
        if let Some(database) = databases::read_text(file, &mut reader) {
            read.set(name, database);
        }
    }
    let Reader { sources, mut diagnostics, .. } = reader;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.source, span.start)));
    (mappings, read, sources, diagnostics)
}

fn reader<'a>(files: &'a dyn Files, folder: &'a Path) -> Reader<'a> {
    Reader::new(files, folder, Manner::ORDINARY)
}

/// What the lines so far have come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No table yet, or lines that belong to none have been reported.
    Outside,
    /// The name of a table, and no blank line yet.
    Named,
    /// Entries may come.
    Open,
    /// Entries have come.
    Entries,
    /// A blank line behind entries: the table is finished.
    Ended,
    /// As `Ended`, and entries behind it have been reported.
    EndedReported,
}

/// The tables that the lines make.
pub(crate) fn tables(text: &Text, reader: &mut Reader<'_>) -> Mappings {
    let mut tables =
        Tables { reader, found: Mappings::default(), state: State::Outside, outside_said: false };
    for line in &text.lines {
        tables.line(line);
    }
    tables.found
}

struct Tables<'r, 'f> {
    reader: &'r mut Reader<'f>,
    found: Mappings,
    state: State,
    /// Entries in front of the first table have been reported.
    outside_said: bool,
}

impl Tables<'_, '_> {
    fn line(&mut self, line: &Line) {
        if line.is_blank() {
            self.state = match self.state {
                State::Named => State::Open,
                State::Entries => State::Ended,
                other => other,
            };
        } else if line.text.starts_with([' ', '\t', '\x0B', '\x0C']) {
            self.indented(line);
        } else {
            self.column_one(line);
        }
    }

    /// A line that begins with a blank is an entry, wherever it stands.
    fn indented(&mut self, line: &Line) {
        match self.state {
            State::Outside => {
                if !std::mem::replace(&mut self.outside_said, true) {
                    let remark =
                        Diagnostic::new(&codes::MAPPING_ENTRY_OUTSIDE, "an entry that belongs to no table");
                    self.reader.push(remark.at(line.whole()).help(
                        "put the name of the table in column one above it, and a blank line in between",
                    ));
                }
                return;
            }
            State::Named => {
                if let Some(table) = self.found.tables.last() {
                    let message = format!("there is no blank line below the table name `{}`", table.name);
                    let remark = Diagnostic::new(&codes::MAPPING_BLANK_LINE_MISSING, message).at(table.span);
                    self.reader.push(remark.help("put a blank line behind the name"));
                }
                self.state = State::Entries;
            }
            State::Ended => {
                let name = self.found.tables.last().map_or("", |table| table.name.as_str());
                let message = format!("an entry below the blank line that ended the table `{name}`");
                let remark = Diagnostic::new(&codes::MAPPING_ENTRY_AFTER_TABLE, message).at(line.whole());
                self.reader
                    .push(remark.help("take the blank line above it out, or put a `!` in its first column"));
                self.state = State::EndedReported;
            }
            State::Open => self.state = State::Entries,
            State::Entries | State::EndedReported => {}
        }
        if let Some(entry) = self.entry(line)
            && let Some(table) = self.found.tables.last_mut()
        {
            table.entries.push(entry);
        }
    }

    fn column_one(&mut self, line: &Line) {
        let Some((name, rest)) = grammar::mapping_head(&line.text) else { return };
        let is_name = name.text.starts_with(|first: char| first.is_alphabetic());
        let among_entries = matches!(self.state, State::Named | State::Open | State::Entries);
        if rest.is_some() || !is_name {
            // Somebody forgot the blank in front of an entry, or meant a name and wrote too much.
            let looks_like_entry = !is_name || (among_entries && rest.is_some());
            if looks_like_entry {
                let message = "an entry must begin with a blank".to_owned();
                let remark = Diagnostic::new(&codes::MAPPING_ENTRY_NOT_INDENTED, message).at(line.whole());
                self.reader
                    .push(remark.help("put blanks in front of it; only table names stand in column one"));
                if among_entries {
                    self.state = State::Entries;
                    if let Some(entry) = self.entry(line)
                        && let Some(table) = self.found.tables.last_mut()
                    {
                        table.entries.push(entry);
                    }
                }
                return;
            }
            if let Some(rest) = rest {
                let message = format!("`{}` behind the table name `{}`", rest.text, name.text);
                let remark =
                    Diagnostic::new(&codes::MAPPING_WORDS_BEHIND_NAME, message).at(line.span(&rest.range));
                self.reader
                    .push(remark.help("the name of a table stands alone; entries follow below a blank line"));
            }
        } else if self.state == State::Entries {
            let message = format!("there is no blank line in front of the table `{}`", name.text);
            let remark =
                Diagnostic::new(&codes::MAPPING_BLANK_LINE_MISSING, message).at(line.span(&name.range));
            self.reader
                .push(remark.help("put a blank line in front of it; if it is an entry, put blanks in front"));
        }
        self.table(line, &name);
    }

    fn table(&mut self, line: &Line, name: &Word) {
        let span = line.span(&name.range);
        self.state = State::Named;
        let length = name.text.len();
        if length > NAME_LENGTH_MAX {
            let message = format!("mapping name is too long: {length} octets, more than {NAME_LENGTH_MAX}");
            let remark = Diagnostic::new(&codes::MAPPING_NAME_TOO_LONG, message).at(span);
            self.reader.push(remark.help("shorten it; if it is an entry, put blanks in front"));
        }
        let index = self.found.tables.len();
        if let Some(first) = self.found.table(&name.text) {
            let message = format!("duplicate mapping name found: `{}`", name.text);
            let remark = Diagnostic::new(&codes::MAPPING_DUPLICATE_TABLE, message).at(span);
            let remark = remark.note(first.span, "the first is here");
            self.reader.push(remark.help("make one table of the two; the order of entries is their meaning"));
        } else {
            self.found.by_name.insert(name.text.to_lowercase(), index);
        }
        self.found.tables.push(MappingTable { name: name.text.clone(), span, entries: Vec::new() });
    }

    fn entry(&mut self, line: &Line) -> Option<MappingEntry> {
        let text = self.with_quoted_end(line);
        let (pattern, template) = grammar::mapping_entry(&text)?;
        let template = template.unwrap_or_else(|| Word {
            text: String::new(),
            range: pattern.range.end..pattern.range.end,
            quoting: grammar::Quoting::Bare,
        });
        self.lengths(line, &pattern, PATTERN_LENGTH_MAX, "pattern");
        self.lengths(line, &template, TEMPLATE_LENGTH_MAX, "template");
        if let Some(at) = unquoted_blank(&template.text) {
            let at = template.range.start + at;
            let message = "a blank in a template without `$` in front of it";
            let remark =
                Diagnostic::new(&codes::MAPPING_UNQUOTED_BLANK, message).at(line.span(&(at..at + 1)));
            self.reader.push(remark.help("write `$` in front of each blank that belongs to the template"));
        }
        Some(MappingEntry {
            span: line.span(&pattern.range),
            template_span: line.span(&template.range),
            pattern_pieces: line.pieces_of(&pattern.range),
            template_pieces: line.pieces_of(&template.range),
            pattern: pattern.text,
            template: template.text,
        })
    }

    /// The line; with the blank at its end if a `$` quotes that.
    fn with_quoted_end(&self, line: &Line) -> String {
        let mut text = line.text.clone();
        let dollars = text.bytes().rev().take_while(|byte| *byte == b'$').count();
        if dollars % 2 == 1 {
            let span = line.span(&(text.len() - 1..text.len()));
            let behind = self.reader.sources.text(span.source).get(span.end as usize..);
            text.extend(
                behind.and_then(|text| text.chars().next()).filter(|next| matches!(next, ' ' | '\t')),
            );
        }
        text
    }

    fn lengths(&mut self, line: &Line, part: &Word, most: usize, what: &str) {
        let length = part.text.chars().count();
        if length <= PART_LENGTH_SAFE {
            return;
        }
        let message = format!("a {what} of {length} characters");
        let remark = Diagnostic::new(&codes::MAPPING_TOO_LONG, message).at(line.span(&part.range));
        self.reader.push(if length > most {
            remark.help(format!(
                "{most} are the limit; make two entries of it, or call another table with `$|`"
            ))
        } else {
            let remark = remark.severity(sluice_diag::Severity::Warning);
            remark.help(format!("it works here; older products read {PART_LENGTH_SAFE} characters"))
        });
    }
}

/// Offset of the first blank that no `$` quotes.
fn unquoted_blank(template: &str) -> Option<usize> {
    let bytes = template.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'$' => at += 1,
            b' ' | b'\t' => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}
