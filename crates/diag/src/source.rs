//! The texts that were read, and places in them.
//!
//! A place is a pair of byte offsets in one file ([`Span`]); lines and columns are worked out only when somebody wants
//! to read them. Offsets are kept in 32 bits: [`Sources::add`] cuts a longer text, which no configuration comes near.

use std::fmt;
use std::path::{Path, PathBuf};

/// Names one text in a [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

/// A stretch of one text, in byte offsets; `start == end` is a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The text it is in.
    pub source: SourceId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes from `start` up to `end`; an `end` before `start` makes a point.
    #[must_use]
    pub fn new(source: SourceId, start: u32, end: u32) -> Span {
        Span { source, start, end: end.max(start) }
    }

    /// The smallest span that holds both; the first alone when they stand in different files.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        if self.source != other.source {
            return self;
        }
        Span::new(self.source, self.start.min(other.start), self.end.max(other.end))
    }

    /// The point at which this span begins.
    #[must_use]
    pub fn begin(self) -> Span {
        Span { end: self.start, ..self }
    }
}

/// Line and column as people count them: from 1, the column in characters rather than bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.line, self.column)
    }
}

/// All texts of one reading, each once per time it was read, in the order of reading.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    texts: Vec<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    text: String,
    /// Offset at which each line begins; the first is always 0.
    lines: Vec<u32>,
}

impl Sources {
    /// An empty collection.
    #[must_use]
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Takes a text in. What lies beyond 4 GiB is cut off, since spans could not name it.
    pub fn add(&mut self, path: impl Into<PathBuf>, mut text: String) -> SourceId {
        let mut limit = text.len().min(u32::MAX as usize - 1);
        while !text.is_char_boundary(limit) {
            limit -= 1;
        }
        text.truncate(limit);
        let begins = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32 + 1);
        let lines = std::iter::once(0).chain(begins).collect();
        self.texts.push(Source { path: path.into(), text, lines });
        SourceId(self.texts.len() as u32 - 1)
    }

    /// The path under which the text was added.
    #[must_use]
    pub fn path(&self, id: SourceId) -> &Path {
        self.texts.get(id.0 as usize).map_or(Path::new(""), |source| &source.path)
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self, id: SourceId) -> &str {
        self.texts.get(id.0 as usize).map_or("", |source| &source.text)
    }

    /// The text a span covers; empty when the offsets do not fit it.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text(span.source).get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// Line and column at which a span begins.
    #[must_use]
    pub fn position(&self, span: Span) -> Position {
        self.position_of(span.source, span.start)
    }

    /// Line and column after the last character of a span.
    #[must_use]
    pub fn end_position(&self, span: Span) -> Position {
        self.position_of(span.source, span.end)
    }

    /// Line `number` (from 1) without its line end; empty when there is no such line.
    #[must_use]
    pub fn line(&self, id: SourceId, number: u32) -> &str {
        let Some(source) = self.texts.get(id.0 as usize) else { return "" };
        let Some(begin) = source.lines.get((number as usize).wrapping_sub(1)) else { return "" };
        source.text[*begin as usize..].lines().next().unwrap_or("")
    }

    /// Every text with its name, in the order of reading.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Path, &str)> {
        self.texts
            .iter()
            .enumerate()
            .map(|(index, source)| (SourceId(index as u32), source.path.as_path(), source.text.as_str()))
    }

    fn position_of(&self, id: SourceId, offset: u32) -> Position {
        let Some(source) = self.texts.get(id.0 as usize) else { return Position { line: 1, column: 1 } };
        let mut offset = (offset as usize).min(source.text.len());
        while !source.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = source.lines.partition_point(|begin| *begin as usize <= offset).max(1);
        let begin = source.lines[line - 1] as usize;
        let column = source.text[begin..offset].chars().count() + 1;
        Position { line: line as u32, column: column as u32 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str, offset: u32) -> String {
        let mut sources = Sources::new();
        let id = sources.add("f", text.to_owned());
        sources.position(Span::new(id, offset, offset)).to_string()
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        assert_eq!(at("", 0), "1:1");
        assert_eq!(at("ab\ncd", 0), "1:1");
        assert_eq!(at("ab\ncd", 2), "1:3");
        assert_eq!(at("ab\ncd", 3), "2:1");
        assert_eq!(at("ab\n", 3), "2:1");
    }

    #[test]
    fn columns_count_characters_and_never_split_one() {
        assert_eq!(at("é x", 3), "1:3");
        assert_eq!(at("é x", 1), "1:1");
        assert_eq!(at("x", 999), "1:2");
    }

    #[test]
    fn a_line_is_given_without_its_end() {
        let mut sources = Sources::new();
        let id = sources.add("f", "one\r\ntwo\n".to_owned());
        assert_eq!(sources.line(id, 1), "one");
        assert_eq!(sources.line(id, 2), "two");
        assert_eq!(sources.line(id, 3), "");
        assert_eq!(sources.line(id, 4), "");
        assert_eq!(sources.line(id, 0), "");
    }

    #[test]
    fn spans_of_two_files_do_not_mix() {
        let mut sources = Sources::new();
        let (one, two) = (sources.add("1", "abc".into()), sources.add("2", "abc".into()));
        assert_eq!(Span::new(one, 0, 1).to(Span::new(one, 2, 3)), Span::new(one, 0, 3));
        assert_eq!(Span::new(one, 0, 1).to(Span::new(two, 2, 3)), Span::new(one, 0, 1));
        assert_eq!(sources.slice(Span::new(two, 1, 3)), "bc");
        assert_eq!(sources.slice(Span::new(two, 1, 9)), "");
    }
}
