//! Sample filter: refuses messages by a list of words and by the names of attachments, and marks those that it has seen.
//!
//! Only the first [`LOOK_MAX`] octets are looked at, as they stand: nothing is decoded, so that a word in base64 is not seen. What
//! cannot be read as text is passed over.
//!
//! # Not here
//! Which mail is shown to it: the operator says so (`sourcespamfilter1`).
#![forbid(unsafe_code)]

use sluice_sdk::{Context, CreateError, Filter, Filtered, Occurrence, OptionSpec, Options, Status, Verdict};
use std::io::Read;

/// So much of a message is looked at.
const LOOK_MAX: u64 = 1 << 20;

/// The field that is added. What a sender has written there himself is taken out.
const FIELD: &str = "X-Words";

/// The filter: its options, in lower case.
#[derive(Debug, Options)]
pub struct Words {
    /// Words that a message may not have, separated by commas. Letter case does not count.
    #[option(default = "")]
    words: String,
    /// Endings of attachments' names that a message may not have, separated by commas, such as `.exe, .scr`.
    #[option(default = "")]
    attachments: String,
    /// 1 puts a message on hold where it would be refused.
    hold: bool,
}

/// What a list in an option means.
fn list(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(',').map(|one| one.trim().to_lowercase()).filter(|one| !one.is_empty())
}

/// Names of attachments in a line of a header: what stands behind `name=`.
fn attachments(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("name=").map(|(at, _)| {
        let behind = line[at + "name=".len()..].trim_start();
        match behind.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default(),
            None => behind.split([';', ' ', '\t', '\r', '\n']).next().unwrap_or_default(),
        }
    })
}

impl Words {
    /// What is wrong with a text.
    fn against(&self, text: &str) -> Option<String> {
        let text = text.to_lowercase();
        if let Some(word) = list(&self.words).find(|word| text.contains(word.as_str())) {
            return Some(format!("mail with the word {word} is not taken"));
        }
        let endings: Vec<String> = list(&self.attachments).collect();
        let bad = text
            .lines()
            .flat_map(attachments)
            .find(|name| endings.iter().any(|end| name.ends_with(end.as_str())));
        bad.map(|name| format!("attachments such as {} are not taken", name.escape_default()))
    }
}

impl Filter for Words {
    const NAME: &'static str = "words";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "refuses mail by words and names of attachments";
    const OPTIONS: &'static [OptionSpec] = Self::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        context.options()
    }

    fn filter(&self, message: &mut Filtered<'_>) -> Verdict {
        let mut octets = Vec::new();
        if let Err(error) = message.reader().take(LOOK_MAX).read_to_end(&mut octets) {
            return Verdict::failed(format!("the message cannot be read: {error}"));
        }
        match self.against(&String::from_utf8_lossy(&octets)) {
            Some(why) if self.hold => Verdict::hold(why),
            Some(why) => Verdict::refuse(550, Status::new(5, 7, 1), why),
            None => {
                let marked = message
                    .remove_field(FIELD, Occurrence::All)
                    .and_then(|()| message.add_field_first(FIELD, "looked at"));
                match marked {
                    Ok(()) => Verdict::Accept,
                    Err(why) => Verdict::failed(format!("the message cannot be marked: {why}")),
                }
            }
        }
    }
}

sluice_sdk::export_filter!(Words);

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Words {
        Words { words: "Lottery, free  money".to_owned(), attachments: ".exe,.scr".to_owned(), hold: false }
    }

    #[test]
    fn words_are_found_in_any_case() {
        assert_eq!(
            filter().against("You won the LOTTERY"),
            Some("mail with the word lottery is not taken".to_owned())
        );
        assert_eq!(filter().against("free money"), None, "a word is taken as it is written, blanks included");
        let nothing = Words { words: " , ".to_owned(), attachments: String::new(), hold: false };
        assert_eq!(nothing.against("anything"), None);
    }

    #[test]
    fn attachments_are_known_by_their_names() {
        for line in [
            "Content-Disposition: attachment; filename=\"Invoice.EXE\"",
            "Content-Type: application/octet-stream; name=invoice.exe; x=y",
            " filename=\"in voice.exe\"",
        ] {
            assert!(filter().against(line).is_some_and(|why| why.contains("voice.exe")), "{line}");
        }
        for line in ["filename=\"invoice.exe.txt\"", "name=", "filename=\"", "the file is invoice.exe"] {
            assert_eq!(filter().against(line), None, "{line}");
        }
    }
}
