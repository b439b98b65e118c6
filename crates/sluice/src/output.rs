//! Standard output: rows as JSON lines, or as columns for people.
//!
//! A reader that goes away (`| head`) ends a command quietly. Not here: logging, which goes to standard error.

use std::io::{self, Write};

use serde_json::Value;

use crate::cli::Format;

/// Rows that a table in text waits for before it decides on its widths. What comes later is written at once, so that a list of
/// millions takes no memory; a cell that is too wide then pushes the rest of its row.
const ROWS_BEFORE_WIDTHS: usize = 1000;

/// Rows of one kind on their way to standard output.
#[derive(Debug)]
pub(crate) struct Table {
    format: Format,
    /// Decided, and the heading written.
    widths: Option<Vec<usize>>,
    /// Field names of the rows and the headings above them.
    columns: &'static [(&'static str, &'static str)],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these (field, heading) columns in text; JSON lines carry every field of a row.
    pub(crate) fn new(format: Format, columns: &'static [(&'static str, &'static str)]) -> Table {
        Table { format, widths: None, columns, rows: Vec::new() }
    }

    /// Takes a row: JSON is written at once, text waits for the widths of the others.
    pub(crate) fn row(&mut self, row: &Value) -> io::Result<()> {
        match self.format {
            Format::Json => line(&row.to_string()),
            Format::Text => {
                let cells: Vec<String> = self.columns.iter().map(|(field, _)| cell(&row[*field])).collect();
                if let Some(widths) = &self.widths {
                    return line(&padded(&cells, widths));
                }
                self.rows.push(cells);
                if self.rows.len() >= ROWS_BEFORE_WIDTHS { self.flush() } else { Ok(()) }
            }
        }
    }

    /// Writes what waits; `empty` stands for a table without rows.
    pub(crate) fn finish(mut self, empty: &str) -> io::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        match (&self.widths, self.rows.is_empty()) {
            (Some(_), _) => Ok(()),
            (None, true) => line(empty),
            (None, false) => self.flush(),
        }
    }

    /// Decides on the widths, and writes the heading and what waits.
    fn flush(&mut self) -> io::Result<()> {
        let heading = self.columns.iter().map(|(_, heading)| (*heading).to_owned()).collect::<Vec<_>>();
        let waiting = std::mem::take(&mut self.rows);
        let rows = std::iter::once(&heading).chain(&waiting);
        let width = |column: usize| rows.clone().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = (0..heading.len()).map(width).collect::<Vec<_>>();
        for row in rows {
            line(&padded(row, &widths))?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

/// A row in columns.
fn padded(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(&format!("{cell:<width$}  "));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Writes one line.
pub(crate) fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// A JSON value as people read it. Control characters, which a stranger may have put into an address, are escaped.
pub(crate) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_long_table_keeps_no_more_rows_than_its_widths_need() {
        let mut table = Table::new(Format::Text, &[("a", "A"), ("b", "B")]);
        for number in 0..3 * ROWS_BEFORE_WIDTHS {
            table.row(&json!({ "a": number, "b": "x" })).unwrap();
            assert!(table.rows.len() < ROWS_BEFORE_WIDTHS, "{number}");
        }
        assert_eq!(table.widths.as_deref(), Some(&[3, 1][..]));
        let cells = ["12345".to_owned(), "x".to_owned()];
        assert_eq!(padded(&cells, &[3, 1]), "12345  x");
        table.finish("nothing").unwrap();
    }

    #[test]
    fn cells_are_for_people() {
        assert_eq!(cell(&json!(null)), "-");
        assert_eq!(cell(&json!(["a", "b"])), "a, b");
        assert_eq!(cell(&json!(7)), "7");
        assert_eq!(cell(&json!("a\u{1b}[2Jb")), "a\\u{1b}[2Jb");
    }
}
