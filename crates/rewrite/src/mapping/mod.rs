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

/// Compares one text with one pattern: the texts that its kept wildcards took (the first ten), or `None` for no match.
///
/// # Errors
/// A pattern with a mistake gives the places of the mistakes.
pub fn try_pattern(pattern: &str, text: &str) -> Result<Option<Vec<String>>, Vec<std::ops::Range<usize>>> {
    let (pattern, mistakes) = pattern::parse(pattern);
    if !mistakes.is_empty() {
        return Err(mistakes.into_iter().map(|mistake| mistake.place).collect());
    }
    let mut saved = pattern::Saved::default();
    let (matched, _) = pattern.matches(text, &mut saved, &mut pattern::Scratch::default());
    let taken =
        saved.iter().take(pattern.saved).map(|(from, to)| text[*from as usize..*to as usize].to_owned());
    Ok((matched == pattern::Matched::Yes).then(|| taken.collect()))
}
