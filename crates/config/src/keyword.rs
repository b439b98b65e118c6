//! The table of channel keywords: every word that may stand on the first line of a channel block.
//!
//! The table is made by `build.rs` from `data/keywords.tsv`; sources are the keyword lists of the PMDF System Manager's
//! Guide (chapter 2) and of the Sun and Oracle Messaging Server books. All of them parse; [`Status`] says which of them
//! do something in this release.

/// One keyword.
#[derive(Debug, PartialEq, Eq)]
pub struct KeywordInfo {
    /// The word, lower case.
    pub name: &'static str,
    /// What follows it.
    pub arguments: Arguments,
    /// Keywords of one group set the same thing: the rightmost wins. `None`: the keyword stands for itself.
    pub group: Option<&'static str>,
    /// Whether its effect is there when no keyword of its group is written.
    pub default: bool,
    /// Whose word it is.
    pub origin: Origin,
    /// The part of the hub that it is about, as a heading.
    pub area: &'static str,
    /// 1 matters to a hub, 2 is useful, 3 is for other products and accepted without effect.
    pub importance: u8,
    /// What this release makes of it.
    pub status: Status,
    /// What it does, in one line.
    pub meaning: &'static str,
    /// What is missing, where the status is not [`Status::Acts`]; empty when there is nothing to add.
    pub note: &'static str,
}

impl KeywordInfo {
    /// The name of what the keyword sets: its group, or itself.
    #[must_use]
    pub fn sets(&self) -> &'static str {
        self.group.unwrap_or(self.name)
    }
}

/// What follows a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    /// Nothing.
    None,
    /// A decimal integer in a range.
    Integer {
        /// The least that is allowed.
        least: i64,
        /// The most.
        most: i64,
    },
    /// An integer, or nothing.
    OptionalInteger,
    /// One to five increasing integers, the list ends at the first word that is none.
    Integers,
    /// One to eight ISO 8601 durations, the list ends at the first word that is none.
    Durations,
    /// Seconds, an ISO 8601 duration, or a time as in `0 00:30:00`.
    Seconds,
    /// A host name or address literal.
    Host,
    /// One host, or two.
    Hosts,
    /// A host, or a word that stands for the channel's official host (`router`).
    Peer,
    /// A text, quoted when it holds blanks.
    Text {
        /// The longest, in characters.
        most: usize,
    },
    /// A name without blanks.
    Name {
        /// The longest, in characters.
        most: usize,
    },
    /// A URL, or a pattern that becomes one.
    Url {
        /// The longest, in characters.
        most: usize,
    },
    /// A mail address.
    Mailbox,
    /// The name of a channel.
    Channel,
    /// The name of a character set.
    Charset,
    /// A language tag.
    Language,
    /// One character, or its decimal code.
    Character,
    /// An IP address.
    Address,
    /// One or more IP addresses.
    Addresses,
}

impl Arguments {
    /// How the argument is named in help and reference.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Arguments::None => String::new(),
            Arguments::Integer { least: i64::MIN..=0, most: 2_147_483_647.. } => "integer".to_owned(),
            Arguments::Integer { least, most: 2_147_483_647.. } => format!("integer from {least}"),
            Arguments::Integer { least, most } => format!("integer {least}–{most}"),
            Arguments::OptionalInteger => "[integer]".to_owned(),
            Arguments::Integers => "1–5 increasing integers".to_owned(),
            Arguments::Durations => "1–8 durations".to_owned(),
            Arguments::Seconds => "seconds or time".to_owned(),
            Arguments::Host => "host".to_owned(),
            Arguments::Hosts => "host [host]".to_owned(),
            Arguments::Peer => "host or word".to_owned(),
            Arguments::Text { .. } => "text".to_owned(),
            Arguments::Name { .. } => "name".to_owned(),
            Arguments::Url { .. } => "URL".to_owned(),
            Arguments::Mailbox => "mail address".to_owned(),
            Arguments::Channel => "channel".to_owned(),
            Arguments::Charset => "character set".to_owned(),
            Arguments::Language => "language".to_owned(),
            Arguments::Character => "character".to_owned(),
            Arguments::Address => "IP address".to_owned(),
            Arguments::Addresses => "IP addresses".to_owned(),
        }
    }
}

/// Whose word a keyword is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// PMDF.
    Pmdf,
    /// Sun, iPlanet or Oracle Messaging Server.
    Oracle,
    /// Both.
    Both,
    /// Nobody else's.
    Ours,
}

/// What this release makes of a keyword or an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All that it says.
    Acts,
    /// Some of it; the note says what is missing.
    Partly,
    /// It is read, checked and kept, and changes nothing.
    Recognised,
}

impl Status {
    /// `acts`, `partly` or `recognised`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Acts => "acts",
            Status::Partly => "partly",
            Status::Recognised => "recognised",
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/keywords.rs"));

/// Characters of a keyword that count; what follows is ignored (PMDF System Manager's Guide, chapter 2).
pub(crate) const SIGNIFICANT: usize = 32;

/// Every keyword, in the order of their names.
#[must_use]
pub fn keywords() -> &'static [KeywordInfo] {
    KEYWORDS
}

/// The keyword that a word is: case aside, and only its first 32 characters count.
#[must_use]
pub fn keyword(word: &str) -> Option<&'static KeywordInfo> {
    let significant = || word.chars().take(SIGNIFICANT).map(|c| c.to_ascii_lowercase());
    // Characters are in the same order as their bytes, in which the table is sorted.
    let index = KEYWORDS.binary_search_by(|info| info.name.chars().cmp(significant())).ok()?;
    KEYWORDS.get(index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn case_and_what_follows_32_characters_do_not_count() {
        assert_eq!(keyword("PerioDic").unwrap().name, "periodic");
        let long = "parameterformatminimizeencoding";
        assert_eq!(keyword(long).unwrap().name, long);
        assert_eq!(keyword(&format!("{long}x")), None);
        assert_eq!(keyword(&"é".repeat(40)), None);
        assert_eq!(keyword(""), None);
    }

    #[test]
    fn each_group_has_at_most_one_default() {
        for info in keywords().iter().filter(|info| info.default) {
            let others = keywords().iter().filter(|other| other.default && other.sets() == info.sets());
            assert_eq!(others.count(), 1, "{}", info.name);
        }
    }

    #[test]
    fn what_does_not_act_whole_says_why() {
        for info in keywords().iter().filter(|info| info.status != Status::Acts) {
            assert!(!info.note.is_empty(), "{}", info.name);
        }
        assert_eq!(keywords().len(), 459);
    }
}
