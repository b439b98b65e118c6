//! Mapping tables: a text goes in, another text and some flags come out.
//!
//! The tables of the file `mappings` decide about connections, senders and recipients, change addresses, and answer
//! rewrite rules (`${table,text}`) and each other (`$|table;text|`). The language is that of the PMDF System Manager's
//! Guide, chapter 5 ("The mapping file"), with the additions of Messaging Server; the pages `tests/mapping-*.md` are
//! written to be read beside it.
//!
//! Patterns (`pattern`) and templates (`template`) are read once. A probe walks down the table (`table`), past the entries
//! that a glance rules out (`quick`); what can be said about entries when they are read is in `check`.
//!
//! # Failure
//! No match is an answer. A part of a template that fails (a look-up that finds nothing) makes its entry give the text as
//! it was. Mistakes are diagnostics.
//! # Not here
//! Reading the file (`config`), and what the callers of tables make of flags.

mod check;
mod codes;
mod pattern;
mod quick;
mod table;
mod template;

pub(crate) use check::no_such_table;
pub(crate) use codes::NO_SUCH_TABLE;
pub use codes::codes;
pub use table::{Answer, Flags, MappingTables};

/// A pattern by itself, for trying it out.
#[derive(Debug)]
pub struct LonePattern(pattern::Pattern);

/// A mistake in a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternMistake {
    /// Where it stands in the pattern, in octets.
    pub place: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: &'static str,
}

impl LonePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// All its mistakes.
    pub fn read(text: &str) -> Result<LonePattern, Vec<PatternMistake>> {
        let (pattern, mistakes) = pattern::parse(text);
        if mistakes.is_empty() {
            return Ok(LonePattern(pattern));
        }
        let said = mistakes.into_iter().map(|mistake| {
            let (_, message, help) = check::words(&mistake, text);
            PatternMistake { place: mistake.place, message, help }
        });
        Err(said.collect())
    }

    /// What it was read as: each element in words, with the number under which its text is kept.
    #[must_use]
    pub fn elements(&self) -> Vec<(String, Option<u8>)> {
        self.0.elements()
    }

    /// The texts that its kept wildcards take of a text (the first ten); `None` for no match.
    #[must_use]
    pub fn matches(&self, text: &str) -> Option<Vec<String>> {
        let mut saved = pattern::Saved::default();
        let (matched, _) = self.0.matches(text, &mut saved, &mut pattern::Scratch::default());
        let taken =
            saved.iter().take(self.0.saved).map(|(from, to)| text[*from as usize..*to as usize].to_owned());
        (matched == pattern::Matched::Yes).then(|| taken.collect())
    }
}
