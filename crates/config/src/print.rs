//! A configuration as text: what was understood of the main file, includes spliced in and `defaults` written out on each
//! channel.
//!
//! # Invariants
//! Reading the text gives the same rules and the same channels, and printing those gives the same text.
//! # Not here
//! The neighbours of the main file, and comments: they are not part of what was understood.

use crate::keyword::{Arguments, keyword};
use crate::model::{Channel, Config, Keyword, Rule};
use std::fmt::Write as _;

/// Columns after which a line of keywords goes on in the next.
const KEYWORDS_WIDTH: usize = 100;
/// Characters after which a rule goes on in the next line; the products read 252.
const RULE_WIDTH: usize = 240;
/// Where templates begin, unless the pattern is longer.
const TEMPLATE_COLUMN: usize = 24;

/// The rules and channel blocks of a configuration.
#[must_use]
pub fn print(config: &Config) -> String {
    let mut text = String::new();
    for rule in &config.rules {
        print_rule(rule, &mut text);
    }
    if config.rules.is_empty() {
        text.push_str("! no rewrite rules\n");
    }
    for channel in &config.channels {
        text.push('\n');
        print_channel(channel, &mut text);
    }
    text
}

fn print_rule(rule: &Rule, text: &mut String) {
    let line = format!("{:<TEMPLATE_COLUMN$} {}", rule.pattern, rule.template);
    let mut rest = line.as_str();
    while rest.chars().count() > RULE_WIDTH {
        // The next line must not begin like a comment or an include, and no blank may stand at the end of this one.
        let may_begin = |c: char| !c.is_whitespace() && !matches!(c, '!' | '<');
        let cut = rest
            .char_indices()
            .take(RULE_WIDTH)
            .zip(rest.char_indices().skip(1))
            .filter(|((_, before), (_, c))| may_begin(*c) && !before.is_whitespace() && *before != '\\')
            .last();
        let Some((_, (cut, _))) = cut.filter(|(_, (cut, _))| *cut > TEMPLATE_COLUMN) else { break };
        let _ = writeln!(text, "{}\\", &rest[..cut]);
        rest = &rest[cut..];
    }
    let _ = writeln!(text, "{rest}");
}

fn print_channel(channel: &Channel, text: &mut String) {
    let mut line = channel.name.clone();
    let words = channel.keywords.iter().map(print_keyword).chain(channel.groups.iter().cloned());
    for word in words {
        if line.chars().count() + word.chars().count() > KEYWORDS_WIDTH {
            let _ = writeln!(text, "{line} \\");
            line = "  ".to_owned();
        } else {
            line.push(' ');
        }
        line.push_str(&word);
    }
    let _ = writeln!(text, "{line}");
    match &channel.local_alias {
        Some(alias) => {
            let _ = writeln!(text, "{} {alias}", channel.official_host);
        }
        None => {
            let _ = writeln!(text, "{}", channel.official_host);
        }
    }
    for host in channel.hosts.iter().skip(1) {
        match &host.proper {
            Some(proper) if *proper != channel.official_host => {
                let _ = writeln!(text, "{} {proper}", host.name);
            }
            _ => {
                let _ = writeln!(text, "{}", host.name);
            }
        }
    }
}

fn print_keyword(written: &Keyword) -> String {
    let mut text = written.name().to_owned();
    for argument in &written.arguments {
        text.push(' ');
        // A second host without a dot would be taken for a keyword that is misspelt.
        let odd_host = written.info.arguments == Arguments::Hosts && !argument.contains('.');
        if odd_host || needs_quotes(argument) {
            let _ = write!(text, "\"{argument}\"");
        } else {
            text.push_str(argument);
        }
    }
    text
}

fn needs_quotes(argument: &str) -> bool {
    argument.is_empty()
        || argument.contains(char::is_whitespace)
        || argument.starts_with('!')
        || argument.ends_with('\\')
        || keyword(argument).is_some()
}
