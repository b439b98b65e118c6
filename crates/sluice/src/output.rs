//! Standard output: rows as JSON lines, or as columns for people.
//!
//! A reader that goes away (`| head`) ends a command quietly. Not here: logging, which goes to standard error.

use std::io::{self, Write};

use serde_json::Value;

use crate::cli::Format;

/// Rows of one kind on their way to standard output.
#[derive(Debug)]
pub(crate) struct Table {
    format: Format,
    /// Field names of the rows and the headings above them.
    columns: &'static [(&'static str, &'static str)],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these (field, heading) columns in text; JSON lines carry every field of a row.
    pub(crate) fn new(format: Format, columns: &'static [(&'static str, &'static str)]) -> Table {
        Table { format, columns, rows: Vec::new() }
    }

    /// Takes a row: JSON is written at once, text waits for the widths of the others.
    pub(crate) fn row(&mut self, row: &Value) -> io::Result<()> {
        match self.format {
            Format::Json => line(&row.to_string()),
            Format::Text => {
                self.rows.push(self.columns.iter().map(|(field, _)| cell(&row[*field])).collect());
                Ok(())
            }
        }
    }

    /// Writes what waits; `empty` stands for a table without rows.
    pub(crate) fn finish(self, empty: &str) -> io::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        if self.rows.is_empty() {
            return line(empty);
        }
        let heading = self.columns.iter().map(|(_, heading)| (*heading).to_owned()).collect::<Vec<_>>();
        let rows = std::iter::once(&heading).chain(&self.rows);
        let width = |column: usize| rows.clone().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = (0..heading.len()).map(width).collect::<Vec<_>>();
        for row in rows {
            let mut text = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                text.push_str(&format!("{cell:<width$}  "));
            }
            line(text.trim_end())?;
        }
        Ok(())
    }
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
    fn cells_are_for_people() {
        assert_eq!(cell(&json!(null)), "-");
        assert_eq!(cell(&json!(["a", "b"])), "a, b");
        assert_eq!(cell(&json!(7)), "7");
        assert_eq!(cell(&json!("a\u{1b}[2Jb")), "a\\u{1b}[2Jb");
    }
}
