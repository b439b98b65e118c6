//! Topics of `sluice help`: pages of the manual that explain a matter rather than a command.
//!
//! The text is the page in `docs/concepts/` itself, so that manual and help cannot differ. Only what a terminal cannot show is
//! taken out: the targets of links.
//!
//! # Not here
//! Help for commands, which comes from [`crate::cli`].

use std::ffi::OsString;

/// A page of the manual that the program carries with it.
pub(crate) struct Topic {
    /// The word behind `sluice help`.
    name: &'static str,
    /// The page, in Markdown.
    page: &'static str,
    /// Where to read on.
    further: &'static str,
}

const TOPICS: [Topic; 1] = [Topic {
    name: "etrn",
    page: include_str!("../../../docs/concepts/etrn.md"),
    further: "The command of that name: sluice etrn --help. One keyword: sluice explain silentetrn.",
}];

/// The topic that this command line asks for: `sluice help NAME` and nothing more.
pub(crate) fn asked_for(typed: &[OsString]) -> Option<&'static Topic> {
    let [_, help, name] = typed else { return None };
    TOPICS.iter().find(|topic| help == "help" && name == topic.name)
}

impl Topic {
    /// The page for a terminal.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", without_targets(self.page), self.further)
    }
}

/// `[text](target)` becomes `text`, outside of code.
fn without_targets(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    for (number, piece) in page.split('`').enumerate() {
        if number > 0 {
            out.push('`');
        }
        if number % 2 == 1 {
            out.push_str(piece);
            continue;
        }
        let mut rest = piece;
        while let Some(open) = rest.find('[') {
            let linked = rest[open..].find("](").map(|middle| open + middle);
            let target = linked.and_then(|middle| rest[middle..].find(')').map(|end| (middle, middle + end)));
            let Some((middle, end)) = target else { break };
            out.push_str(&rest[..open]);
            out.push_str(&rest[open + 1..middle]);
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lose_their_targets_and_code_keeps_its_brackets() {
        assert_eq!(
            without_targets("see [the page](a.md), and `[SITE=x](y)`."),
            "see the page, and `[SITE=x](y)`."
        );
        assert_eq!(without_targets("[open and `code`"), "[open and `code`");
        assert_eq!(without_targets("daemon [127.0.0.1]"), "daemon [127.0.0.1]");
    }

    #[test]
    fn only_help_and_the_name_of_a_topic_ask_for_it() {
        let asked = |line: &str| {
            let typed: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            asked_for(&typed).is_some()
        };
        assert!(asked("sluice help etrn"));
        for line in ["sluice etrn", "sluice help run", "sluice help etrn x", "sluice", "sluice etrn --help"] {
            assert!(!asked(line), "{line}");
        }
    }
}
