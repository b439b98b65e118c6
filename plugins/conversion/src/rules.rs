//! The entries of the file `conversions`, as the hub hands them over, and which of them is for a part.
//!
//! # Not here
//! The file itself, with its quotes and its mistakes (`config`).

use sluice_mail::mime::{self, parameters};

use crate::entity::Leaf;

/// One entry: parameters by their long names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule(Vec<(String, String)>);

/// What is asked about a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) message: &'a [u8],
    pub(crate) leaf: &'a Leaf,
}

impl Asked<'_> {
    fn header(&self) -> &[u8] {
        &self.message[self.leaf.header.clone()]
    }

    /// A field of the part's own header.
    pub(crate) fn field(&self, name: &str) -> String {
        mime::field(self.header(), name).unwrap_or_default()
    }

    /// What the part says of its encoding.
    pub(crate) fn encoding(&self) -> String {
        let said = mime::encoding(self.header());
        if said.is_empty() { "7bit".to_owned() } else { said }
    }

    /// The word in front of the parameters of Content-Disposition.
    pub(crate) fn disposition(&self) -> String {
        let field = self.field("content-disposition");
        field.split([';', '(']).next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

/// Reads what the hub says: a clause a line, an empty line behind each entry.
pub(crate) fn read(fact: &str) -> Vec<Rule> {
    let entry = |text: &str| {
        let clauses = text.lines().filter_map(|line| line.split_once('='));
        Rule(clauses.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    };
    fact.split("\n\n").filter(|text| !text.trim().is_empty()).map(entry).collect()
}

impl Rule {
    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number, nought where it is not written.
    pub(crate) fn number(&self, name: &str) -> u32 {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// The values of a parameter with numbers, and their numbers.
    pub(crate) fn numbered<'a>(&'a self, stem: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(stem)?, value.as_str())))
    }

    /// Whether it is for this part.
    pub(crate) fn is_for(&self, asked: &Asked<'_>) -> bool {
        let fits = |name: &str, text: &dyn Fn() -> String| {
            self.get(name).is_none_or(|pattern| matches(pattern, &text()))
        };
        let own = |text: &str| text.to_owned();
        fits("in-channel", &|| own(asked.from))
            && fits("out-channel", &|| own(asked.to))
            && fits("in-type", &|| own(&asked.leaf.kind.0))
            && fits("in-subtype", &|| own(&asked.leaf.kind.1))
            && fits("part-number", &|| own(&asked.leaf.number))
            && fits("in-encoding", &|| asked.encoding())
            && fits("in-disposition", &|| asked.disposition())
            && fits("in-description", &|| asked.field("content-description"))
            && self.get("in-subject").is_none_or(|pattern| matches(pattern, &asked.leaf.subject))
            && self.parameters_fit("in-parameter-", &asked.field("content-type"))
            && self.parameters_fit("in-dparameter-", &asked.field("content-disposition"))
    }

    fn parameters_fit(&self, stem: &str, field: &str) -> bool {
        self.numbered(&format!("{stem}name-")).all(|(number, name)| {
            let found =
                parameters(field).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            let default = || self.get(&format!("{stem}default-{number}")).map(str::to_owned);
            let pattern = self.get(&format!("{stem}value-{number}")).unwrap_or("*");
            found.or_else(default).is_some_and(|value| matches(pattern, &value))
        })
    }
}

/// Whether a pattern, with `*` for any characters and `%` for any one, fits a text. Case does not count.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.to_lowercase().chars().collect(), text.to_lowercase().chars().collect());
    let (mut at, mut in_text) = (0, 0);
    // Where to go on when what stands behind the last `*` does not fit: it takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, in_text));
                at += 1;
            }
            Some(wanted) if *wanted == '%' || *wanted == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    at = star + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Parts;

    const MESSAGE: &str = "Subject: Minutes of May\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n\
        --a\r\nContent-Type: application/octet-stream; name=\"Draft 1.PS\"\r\nContent-Disposition: Attachment; filename=draft.ps\r\n\
        Content-Description: the draft\r\nContent-Transfer-Encoding: Base64\r\n\r\nYQ==\r\n--a--\r\n";

    fn is_for(clauses: &str) -> bool {
        let parts = Parts::of(MESSAGE.as_bytes(), 9).unwrap();
        let rules = read(&format!("{clauses}\n\n"));
        assert_eq!(rules.len(), 1);
        let (message, leaf) = (MESSAGE.as_bytes(), &parts.leaves[0]);
        rules[0].is_for(&Asked { from: "tcp_local", to: "l", message, leaf })
    }

    #[test]
    fn every_condition_counts() {
        for (condition, good, bad) in [
            ("in-channel", "tcp_*", "tcp"),
            ("out-channel", "L", "tcp_*"),
            ("in-type", "app%ication", "text"),
            ("in-subtype", "octet-*", "octet-"),
            ("part-number", "1", "1.*"),
            ("in-encoding", "base64", "7bit"),
            ("in-disposition", "attachment", "inline"),
            ("in-description", "*draft*", "draft"),
            ("in-subject", "minutes*", "*draft*"),
        ] {
            assert!(is_for(&format!("{condition}={good}")), "{condition}");
            assert!(!is_for(&format!("{condition}={bad}")), "{condition}");
        }
    }

    #[test]
    fn parameters_must_be_there_or_have_a_default() {
        assert!(is_for("in-parameter-name-0=NAME\nin-parameter-value-0=*.ps"));
        assert!(!is_for("in-parameter-name-0=name\nin-parameter-value-0=*.doc"));
        assert!(is_for("in-parameter-name-0=name"));
        assert!(!is_for("in-parameter-name-0=charset"));
        assert!(is_for("in-parameter-name-7=charset\nin-parameter-default-7=x\nin-parameter-value-7=X"));
        assert!(is_for("in-dparameter-name-0=filename\nin-dparameter-value-0=draft.*"));
        assert!(!is_for("in-parameter-name-0=name\nin-dparameter-name-1=size"));
    }

    #[test]
    fn values_may_have_equals_signs() {
        let rules = read("in-type=*\ncommand=A=b; c d=e\n\nin-type=text\ndelete=1\n\n");
        assert_eq!(rules[0].get("command"), Some("A=b; c d=e"));
        assert_eq!((rules.len(), rules[1].number("delete"), rules[0].number("delete")), (2, 1, 0));
    }
}
