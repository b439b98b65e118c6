//! One logical line, taken apart by the pest rule of its kind.
//!
//! Results are byte ranges of the line, which [`crate::lines::Line::span`] turns into places in files.
//!
//! A large configuration is nearly all rewrite rules, each of which is asked for its words twice. In a line of plain
//! text ([`is_plain`]) words are what stands between blanks, whatever rule of the grammar reads them, and there they
//! are taken without pest. All other lines, and all other kinds of lines, go through pest. The tests read every line
//! both ways.

use pest::Parser as _;
use pest::iterators::Pair;
use std::ops::Range;

mod generated {
    #![allow(missing_docs, unreachable_pub)]
    /// The parser that pest makes of `grammar.pest`.
    #[derive(pest_derive::Parser)]
    #[grammar = "grammar.pest"]
    pub struct Lines;
}
use generated::{Lines, Rule};

/// A word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its text, quotes taken off.
    pub(crate) text: String,
    /// Where it stands in the line, quotes included.
    pub(crate) range: Range<usize>,
    pub(crate) quoting: Quoting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quoting {
    Bare,
    Quoted,
    /// Begins with a quote that has no partner.
    Open,
}

impl Word {
    fn bare(pair: &Pair<'_, Rule>) -> Word {
        Word { text: pair.as_str().to_owned(), range: range(pair), quoting: Quoting::Bare }
    }

    fn plain(text: &str, range: Range<usize>) -> Word {
        Word { text: text[range.clone()].to_owned(), range, quoting: Quoting::Bare }
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.quoting == Quoting::Bare
    }
}

fn range(pair: &Pair<'_, Rule>) -> Range<usize> {
    let span = pair.as_span();
    span.start()..span.end()
}

/// Whether a line has only printable ASCII characters, blanks and tabs, and no quote that could hold blanks together.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t') || (byte.is_ascii_graphic() && byte != b'"'))
}

/// In a plain line the word at or behind `from`, up to the next blank: what the grammar calls `pattern` and `word`.
fn plain_word(text: &str, from: usize) -> Option<Range<usize>> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let bytes = text.as_bytes();
    let begin = from + bytes[from..].iter().position(|byte| !blank(byte))?;
    let length = bytes[begin..].iter().position(blank);
    Some(begin..length.map_or(text.len(), |length| begin + length))
}

/// The first two words of a line, as far as a look without pest can tell; `None` for a line that is not plain.
pub(crate) fn first_words(text: &str) -> Option<(Option<&str>, Option<&str>)> {
    if !is_plain(text) {
        return None;
    }
    let first = plain_word(text, 0);
    let second = first.clone().and_then(|first| plain_word(text, first.end));
    Some((first.map(|range| &text[range]), second.map(|range| &text[range])))
}

/// The pieces of the line that the rule names, in order; empty when it does not match.
fn pieces(rule: Rule, text: &str) -> Vec<Pair<'_, Rule>> {
    let Ok(mut pairs) = Lines::parse(rule, text) else { return Vec::new() };
    let Some(line) = pairs.next() else { return Vec::new() };
    line.into_inner().filter(|pair| pair.as_rule() != Rule::EOI).collect()
}

/// Pattern, and template unless it is missing.
pub(crate) fn rule_line(text: &str) -> Option<(Word, Option<Word>)> {
    if !is_plain(text) {
        return rule_line_by_grammar(text);
    }
    let pattern = plain_word(text, 0)?;
    // The template is everything from the first word behind the pattern to the end of the line.
    let template = plain_word(text, pattern.end).map(|first| first.start..text.len());
    Some((Word::plain(text, pattern), template.map(|template| Word::plain(text, template))))
}

fn rule_line_by_grammar(text: &str) -> Option<(Word, Option<Word>)> {
    let pieces = pieces(Rule::rule_line, text);
    Some((Word::bare(pieces.first()?), pieces.get(1).map(Word::bare)))
}

/// The words of a channel line, the name first.
pub(crate) fn channel_line(text: &str) -> Vec<Word> {
    if !is_plain(text) {
        return channel_line_by_grammar(text);
    }
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(word) = plain_word(text, at) {
        at = word.end;
        words.push(Word::plain(text, word));
    }
    words
}

fn channel_line_by_grammar(text: &str) -> Vec<Word> {
    let words = pieces(Rule::channel_line, text).into_iter().map(|pair| {
        let range = range(&pair);
        match pair.as_rule() {
            Rule::quoted => {
                let inner = pair.into_inner().next().map_or("", |inner| inner.as_str());
                Word { text: inner.to_owned(), range, quoting: Quoting::Quoted }
            }
            Rule::open => Word { text: pair.as_str().to_owned(), range, quoting: Quoting::Open },
            _ => Word::bare(&pair),
        }
    });
    words.collect()
}

/// The first name, the second if there is one, and all that follows if anything does.
pub(crate) fn host_line(text: &str) -> Option<(Word, Option<Word>, Option<Word>)> {
    if !is_plain(text) {
        return host_line_by_grammar(text);
    }
    let first = plain_word(text, 0)?;
    let second = plain_word(text, first.end);
    let extra = second.as_ref().and_then(|second| plain_word(text, second.end));
    let word = |range: Range<usize>| Word::plain(text, range);
    let extra = extra.map(|extra| word(extra.start..text.len()));
    Some((word(first), second.map(word), extra))
}

fn host_line_by_grammar(text: &str) -> Option<(Word, Option<Word>, Option<Word>)> {
    let pieces = pieces(Rule::host_line, text);
    let second = pieces.get(1).filter(|pair| pair.as_rule() == Rule::host);
    let extra = pieces.iter().find(|pair| pair.as_rule() == Rule::extra);
    Some((Word::bare(pieces.first()?), second.map(Word::bare), extra.map(Word::bare)))
}

/// Name and value of an option.
pub(crate) fn option_line(text: &str) -> Option<(Word, Word)> {
    if !is_ascii_text(text) {
        return option_line_by_grammar(text);
    }
    let begin = skip_blanks(text, 0);
    let end = begin + text[begin..].find(['=', '[', ' ', '\t'])?;
    let equals = skip_blanks(text, end);
    if begin == end || !text[equals..].starts_with('=') {
        return None;
    }
    let value = skip_blanks(text, equals + 1);
    Some((Word::plain(text, begin..end), Word::plain(text, value..text.len())))
}

/// Whether a line has only printable ASCII characters, blanks and tabs.
fn is_ascii_text(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t') || byte.is_ascii_graphic())
}

/// The place of the first character at or behind `from` that is no blank.
fn skip_blanks(text: &str, from: usize) -> usize {
    text.len() - text[from..].trim_start_matches([' ', '\t']).len()
}

fn option_line_by_grammar(text: &str) -> Option<(Word, Word)> {
    let pieces = pieces(Rule::option_line, text);
    Some((Word::bare(pieces.first()?), Word::bare(pieces.get(1)?)))
}

/// The name of a mapping table, and all that follows if anything does.
pub(crate) fn mapping_head(text: &str) -> Option<(Word, Option<Word>)> {
    let pieces = pieces(Rule::mapping_head, text);
    Some((Word::bare(pieces.first()?), pieces.get(1).map(Word::bare)))
}

/// Pattern of an entry of a mapping table, and template unless there is none.
pub(crate) fn mapping_entry(text: &str) -> Option<(Word, Option<Word>)> {
    let pieces = pieces(Rule::mapping_entry, text);
    Some((Word::bare(pieces.first()?), pieces.get(1).map(Word::bare)))
}

/// Kind and name of a section.
pub(crate) fn section_line(text: &str) -> Option<(Word, Word)> {
    if !is_ascii_text(text) {
        return section_line_by_grammar(text);
    }
    let open = skip_blanks(text, 0);
    text[open..].strip_prefix('[')?;
    let kind = skip_blanks(text, open + 1);
    let kind_end = kind + text[kind..].find(['=', ']', ' ', '\t'])?;
    let equals = skip_blanks(text, kind_end);
    text[equals..].strip_prefix('=')?;
    let name = skip_blanks(text, equals + 1);
    let name_end = name + text[name..].find([']', ' ', '\t'])?;
    let close = skip_blanks(text, name_end);
    let rest = text[close..].strip_prefix(']')?;
    let fine = kind < kind_end && name < name_end && skip_blanks(rest, 0) == rest.len();
    fine.then(|| (Word::plain(text, kind..kind_end), Word::plain(text, name..name_end)))
}

fn section_line_by_grammar(text: &str) -> Option<(Word, Word)> {
    let pieces = pieces(Rule::section_line, text);
    Some((Word::bare(pieces.first()?), Word::bare(pieces.get(1)?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(text: &str) -> String {
        let shown = channel_line(text).into_iter().map(|word| format!("{:?}:{}", word.quoting, word.text));
        shown.collect::<Vec<_>>().join(" | ")
    }

    fn both_ways_agree(text: &str) {
        assert_eq!(rule_line(text), rule_line_by_grammar(text), "{text:?} as a rule");
        assert_eq!(channel_line(text), channel_line_by_grammar(text), "{text:?} as a channel line");
        assert_eq!(host_line(text), host_line_by_grammar(text), "{text:?} as a line of hosts");
        assert_eq!(option_line(text), option_line_by_grammar(text), "{text:?} as an option");
        assert_eq!(section_line(text), section_line_by_grammar(text), "{text:?} as a section");
        if let Some((first, second)) = first_words(text) {
            let words = channel_line_by_grammar(text);
            assert!(words.iter().all(Word::is_bare), "{text:?}");
            let word = |index: usize| words.get(index).map(|word| word.text.as_str());
            assert_eq!((first, second), (word(0), word(1)), "{text:?}");
        }
    }

    /// All lines of up to five characters, with one character of each kind that the grammar knows.
    #[test]
    fn plain_lines_are_read_as_the_grammar_reads_them() {
        let kinds = ['a', ' ', '\t', '"', '$', '!', '\r', 'é'];
        let mut lines = vec![String::new()];
        for _ in 0..5 {
            for line in &lines {
                both_ways_agree(line);
            }
            let longer = lines.iter().flat_map(|line| kinds.iter().map(move |kind| format!("{line}{kind}")));
            lines = longer.collect();
        }
        for line in &lines {
            both_ways_agree(line);
        }
    }

    /// All lines of up to seven characters of those that options and sections are made of.
    #[test]
    fn options_and_sections_are_read_as_the_grammar_reads_them() {
        let kinds = ['a', ' ', '=', '[', ']', '"'];
        let mut lines = vec![String::new()];
        for _ in 0..7 {
            let longer = lines.iter().flat_map(|line| kinds.iter().map(move |kind| format!("{line}{kind}")));
            lines = longer.collect();
            for line in &lines {
                assert_eq!(option_line(line), option_line_by_grammar(line), "{line:?} as an option");
                assert_eq!(section_line(line), section_line_by_grammar(line), "{line:?} as a section");
            }
        }
    }

    /// Every line of the samples, as each of the kinds.
    #[test]
    fn the_lines_of_real_files_are_read_as_the_grammar_reads_them() {
        let mut folders =
            vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples"))];
        let mut lines = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                for line in String::from_utf8_lossy(&std::fs::read(path).unwrap()).lines() {
                    both_ways_agree(line.trim_end());
                    lines += 1;
                }
            }
        }
        assert!(lines > 100, "only {lines} lines of samples");
    }

    #[test]
    fn quotes_hold_blanks_and_keep_case() {
        assert_eq!(words("l smtp"), "Bare:l | Bare:smtp");
        assert_eq!(
            words("l description \"Our Own\tmail\" mx"),
            "Bare:l | Bare:description | Quoted:Our Own\tmail | Bare:mx"
        );
        assert_eq!(words("l user \"\""), "Bare:l | Bare:user | Quoted:");
        assert_eq!(words("l user \"abc def"), "Bare:l | Bare:user | Open:\"abc def");
        assert_eq!(words("l user \"abc\"def"), "Bare:l | Bare:user | Open:\"abc\"def");
        assert_eq!(words("l user a\"b c"), "Bare:l | Bare:user | Bare:a\"b | Bare:c");
    }

    #[test]
    fn a_template_may_hold_blanks() {
        let (pattern, template) = rule_line("  .   $?Unrecognized address; ask us").unwrap();
        assert_eq!(pattern.text, ".");
        assert_eq!(template.unwrap().text, "$?Unrecognized address; ask us");
        assert_eq!(rule_line("a").unwrap().1, None);
    }

    #[test]
    fn host_lines_have_two_names_at_most() {
        let (first, second, extra) = host_line("a b c d").unwrap();
        assert_eq!((first.text.as_str(), second.unwrap().text.as_str()), ("a", "b"));
        let extra = extra.unwrap();
        assert_eq!((extra.text.as_str(), extra.range), ("c d", 4..7));
        assert_eq!(host_line("a").unwrap().1, None);
    }

    #[test]
    fn options_and_sections() {
        let (name, value) = option_line(" SPOOL_DIR = /var/a b").unwrap();
        assert_eq!((name.text.as_str(), value.text.as_str()), ("SPOOL_DIR", "/var/a b"));
        assert_eq!(option_line("X=").unwrap().1.text, "");
        assert_eq!(option_line("no equals sign"), None);
        assert_eq!(option_line("two words=1"), None);
        let (kind, name) = section_line("[CHANNEL=tcp_*]").unwrap();
        assert_eq!((kind.text.as_str(), name.text.as_str(), name.range), ("CHANNEL", "tcp_*", 9..14));
        assert_eq!(section_line("[CHANNEL]"), None);
        assert_eq!(section_line("[A=b"), None);
    }
}
