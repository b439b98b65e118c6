//! One logical line, taken apart by the pest rule of its kind.
//!
//! Results are byte ranges of the line, which [`crate::lines::Line::span`] turns into places in files.

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

    pub(crate) fn is_bare(&self) -> bool {
        self.quoting == Quoting::Bare
    }
}

fn range(pair: &Pair<'_, Rule>) -> Range<usize> {
    let span = pair.as_span();
    span.start()..span.end()
}

/// The pieces of the line that the rule names, in order; empty when it does not match.
fn pieces(rule: Rule, text: &str) -> Vec<Pair<'_, Rule>> {
    let Ok(mut pairs) = Lines::parse(rule, text) else { return Vec::new() };
    let Some(line) = pairs.next() else { return Vec::new() };
    line.into_inner().filter(|pair| pair.as_rule() != Rule::EOI).collect()
}

/// Pattern, and template unless it is missing.
pub(crate) fn rule_line(text: &str) -> Option<(Word, Option<Word>)> {
    let pieces = pieces(Rule::rule_line, text);
    Some((Word::bare(pieces.first()?), pieces.get(1).map(Word::bare)))
}

/// The words of a channel line, the name first.
pub(crate) fn channel_line(text: &str) -> Vec<Word> {
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
    let pieces = pieces(Rule::host_line, text);
    let second = pieces.get(1).filter(|pair| pair.as_rule() == Rule::host);
    let extra = pieces.iter().find(|pair| pair.as_rule() == Rule::extra);
    Some((Word::bare(pieces.first()?), second.map(Word::bare), extra.map(Word::bare)))
}

/// Name and value of an option.
pub(crate) fn option_line(text: &str) -> Option<(Word, Word)> {
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
