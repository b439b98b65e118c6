//! Questions of the checks to lists of names: is there a channel of this kind, and which name was probably meant.
//!
//! Both would cost by the length of the list for each rule that asks. The first is answered from the sorted names, the
//! second once for each word, and for so many words only: whoever has thousands of names wrong has one mistake, not
//! thousands of slips.

use std::collections::HashMap;

use sluice_config::Config;
use sluice_diag::nearest;

use crate::glob::Glob;

/// Names that are compared with words, all words together.
const COMPARED_MAX: usize = 1_000_000;

/// The names of all channels.
pub(crate) struct ChannelNames<'c> {
    /// In lower case, sorted. Channel names are lower case, except where they are a mistake.
    sorted: Vec<Box<str>>,
    config: &'c Config,
    answers: HashMap<Box<str>, bool>,
    guesses: Guesses<'c>,
}

impl<'c> ChannelNames<'c> {
    pub(crate) fn new(config: &'c Config) -> ChannelNames<'c> {
        let mut sorted: Vec<Box<str>> =
            config.channels.iter().map(|channel| channel.name.to_ascii_lowercase().into()).collect();
        sorted.sort_unstable();
        ChannelNames { sorted, config, answers: HashMap::new(), guesses: Guesses::default() }
    }

    /// Does the name, or pattern for names, fit a channel?
    pub(crate) fn has(&mut self, name: &Glob) -> bool {
        let text = name.as_str();
        let Some(open) = text.find(['*', '%']) else {
            return self.sorted.binary_search_by(|other| (**other).cmp(text)).is_ok();
        };
        if let Some(answer) = self.answers.get(text) {
            return *answer;
        }
        let begin = &text[..open];
        let from = self.sorted.partition_point(|other| &**other < begin);
        let mut same_begin = self.sorted[from..].iter().take_while(|other| other.starts_with(begin));
        let answer = same_begin.any(|other| name.matches(other));
        self.answers.insert(text.into(), answer);
        answer
    }

    /// The channel that was probably meant.
    pub(crate) fn near(&mut self, word: &str) -> Option<&'c str> {
        let config = self.config;
        self.guesses.nearest(word, || config.channels.iter().map(|channel| channel.name.as_str()))
    }
}

/// Guesses made so far.
#[derive(Default)]
pub(crate) struct Guesses<'c> {
    made: HashMap<Box<str>, Option<&'c str>>,
    compared: usize,
}

impl<'c> Guesses<'c> {
    /// The name that is nearest to the word; none when all the comparing that is allowed has been done.
    pub(crate) fn nearest<I: Iterator<Item = &'c str>>(
        &mut self,
        word: &str,
        names: impl FnOnce() -> I,
    ) -> Option<&'c str> {
        if let Some(made) = self.made.get(word) {
            return *made;
        }
        if self.compared > COMPARED_MAX {
            return None;
        }
        let compared = &mut self.compared;
        let made = nearest(word, names().inspect(|_| *compared += 1));
        self.made.insert(word.into(), made);
        made
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_patterns_find_their_channels() {
        let text = "a $U@h\n\nl\nh\n\ntcp_local smtp\nT\n\ntcp_site smtp\nS\n";
        let (config, ..) = sluice_config::read_text(text);
        let config = config.unwrap();
        let mut names = ChannelNames::new(&config);
        for (name, there) in [
            ("l", true),
            ("L", true),
            ("TCP_local", true),
            ("tcp_%ite", true),
            ("tcp_*", true),
            ("*site", true),
            ("tcp_x*", false),
            ("tcp", false),
            ("", false),
            ("%", true),
            ("%%", false),
        ] {
            // The second answer is from memory.
            assert_eq!([names.has(&Glob::new(name)), names.has(&Glob::new(name))], [there; 2], "{name}");
        }
        assert_eq!(names.near("tcp_locla"), Some("tcp_local"));
    }

    #[test]
    fn guessing_ends() {
        let names: Vec<String> = (0..1000).map(|number| format!("name{number}")).collect();
        let mut guesses = Guesses::default();
        let mut asked = 0;
        for word in 0..5000 {
            guesses.nearest(&format!("nane{word}"), || {
                asked += 1;
                names.iter().map(String::as_str)
            });
        }
        assert!((1000..=1002).contains(&asked), "{asked}");
        assert_eq!(guesses.nearest("nane7", || names.iter().map(String::as_str)), Some("name7"));
    }
}
