//! Which mail is kept where.
//!
//! ```text
//! ! sender          recipient          where
//! *@spam.example    *                  -
//! *                 *@legal.example    archive@keeper.example, /var/archive/legal/%Y
//! boss@*            *                  boss/%Y/%m
//! ```
//!
//! One rule a line; the first whose two patterns match decides. `*` stands for any text, and letter case does not count; the null sender is
//! `<>`. Where: a folder (with a slash in it), an address (with an `@`), several of them with commas between, or `-` for nowhere. Mail that no rule
//! matches goes into ARCHIVE_DIR.

use std::path::{Path, PathBuf};

/// The most rules of a file.
const RULES_MAX: usize = 100_000;

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A folder, with `%Y`, `%m` and `%d` still in it.
    Folder(PathBuf),
    Address(String),
}

/// All rules of a channel.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    otherwise: Vec<Target>,
}

#[derive(Debug)]
struct Rule {
    sender: String,
    recipient: String,
    targets: Vec<Target>,
}

impl Rules {
    pub(crate) fn all_into(folder: Option<PathBuf>) -> Rules {
        Rules { rules: Vec::new(), otherwise: folder.map(Target::Folder).into_iter().collect() }
    }

    /// Reads a file of rules. Relative folders start from `folder`.
    pub(crate) fn read(text: &str, folder: &Path, otherwise: Option<PathBuf>) -> Result<Rules, String> {
        let mut rules = Rules::all_into(otherwise);
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with(['!', '#']) {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}", number + 1);
            let mut words = line.split_whitespace();
            let (Some(sender), Some(recipient)) = (words.next(), words.next()) else {
                return Err(wrong(
                    "write a pattern for the sender, one for the recipient, and where copies go",
                ));
            };
            let rest = words.collect::<Vec<_>>().join(" ");
            let mut targets = Vec::new();
            for word in rest.split(',').map(str::trim).filter(|_| rest != "-") {
                targets.push(if word.contains('@') {
                    if sluice_mail::Address::parse(word).is_err() {
                        return Err(wrong(&format!("`{word}` is no address")));
                    }
                    Target::Address(word.to_owned())
                } else if word.contains('/') {
                    Target::Folder(folder.join(word))
                } else {
                    let why = format!("`{word}` is neither a folder, with a slash, nor an address, nor `-`");
                    return Err(wrong(&why));
                });
            }
            if rules.rules.len() >= RULES_MAX {
                return Err(wrong(&format!("there are more than {RULES_MAX} rules")));
            }
            let pattern = |word: &str| word.to_lowercase();
            rules.rules.push(Rule { sender: pattern(sender), recipient: pattern(recipient), targets });
        }
        Ok(rules)
    }

    /// Where copies of a message from this sender to this recipient go.
    pub(crate) fn targets(&self, sender: &str, recipient: &str) -> &[Target] {
        let sender = if sender.is_empty() { "<>".to_owned() } else { sender.to_lowercase() };
        let recipient = recipient.to_lowercase();
        let decides = |rule: &&Rule| matches(&rule.sender, &sender) && matches(&rule.recipient, &recipient);
        self.rules.iter().find(decides).map_or(&self.otherwise, |rule| &rule.targets)
    }
}

/// Whether a text is what a pattern with `*` stands for. Takes time by the product of the two lengths at worst, and no memory.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // Where the last star was, and how much of the text it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(octet) if *octet == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|octet| *octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let text = "! a comment\n*@spam.example * -\n\n* *@Legal.Example keeper@k.example, /var/legal/%Y\n<> * bounces/all\n";
        let rules = Rules::read(text, Path::new("/etc/sluice"), Some("/var/all".into())).unwrap();
        let told = |sender, recipient| {
            let word = |target: &Target| match target {
                Target::Folder(folder) => folder.display().to_string(),
                Target::Address(address) => address.clone(),
            };
            rules.targets(sender, recipient).iter().map(word).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told("x@spam.example", "a@legal.example"), "");
        assert_eq!(told("x@y", "A@LEGAL.example"), "keeper@k.example /var/legal/%Y");
        assert_eq!(told("", "a@b"), "/etc/sluice/bounces/all");
        assert_eq!(told("x@y", "a@b"), "/var/all");
    }

    #[test]
    fn a_rule_that_is_wrong_is_told_with_its_line() {
        let told = |text| Rules::read(text, Path::new("/"), None).unwrap_err();
        assert!(told("! x\n* *@b\n").starts_with("line 2: `` is neither"));
        assert!(told("*\n").starts_with("line 1: write a pattern"));
        assert!(told("* * somewhere\n").starts_with("line 1: `somewhere` is neither"));
        assert!(told("* * a@b@c d\n").starts_with("line 1: `a@b@c d` is no address"));
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a@b", true),
            ("a@*", "a@b.c", true),
            ("*@b", "a@b.b", false),
            ("*b*", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "", true),
            ("", "a", false),
            ("**", "a", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let stars = "a*".repeat(60);
        assert!(!matches(&stars, &"a".repeat(59)));
    }
}
