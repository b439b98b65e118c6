//! The names that a sendmail takes mail for, from its sendmail.cf: class `w` (Sendmail Installation and Operation Guide,
//! sections 5.3 "C and F — define classes" and 5.1.3).
//!
//! `Cw` lines have names, `Fw` lines name files with a name in each line. Macros that `D` lines define are put in. A
//! file of the form `|command` or with a map (`@`) is not read, and told: nothing is run here.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sluice_smtp::asker::Name;
use sluice_smtp::etrn::Node;

/// How deep macros may stand in macros.
const MACRO_DEPTH_MAX: usize = 16;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The names, in the order of the file; none twice.
    pub(crate) names: Vec<Name>,
    /// What could not be used, with its line.
    pub(crate) remarks: Vec<String>,
}

/// Reads the text of a sendmail.cf. `read` gives the text of a file that it names.
///
/// # Errors
/// A file that must be there and cannot be read; in words.
pub(crate) fn names(text: &str, read: impl Fn(&Path) -> std::io::Result<String>) -> Result<Found, String> {
    let (mut found, mut macros, mut seen) = (Found::default(), HashMap::new(), HashSet::new());
    for (number, line) in logical_lines(text) {
        let mut take = |found: &mut Found, word: &str, macros: &HashMap<String, String>| {
            let name = expanded(word, macros, 0);
            // `localhost` and other names without a domain mean something on this machine only.
            match name.parse() {
                Ok(Node::Host(_)) if seen.insert(name.to_ascii_lowercase()) => {
                    found.names.extend(name.parse().ok());
                }
                Ok(_) => {}
                Err(_) if name.contains('$') => {
                    found.remarks.push(format!("line {number}: {word}: the macro has no value in this file"));
                }
                Err(_) => {}
            }
        };
        match line.chars().next() {
            Some('D') => {
                let (name, value) = named(&line[1..]);
                macros.insert(name, value.trim().to_owned());
            }
            Some('C') => {
                let (class, value) = named(&line[1..]);
                if class == "w" {
                    value.split_ascii_whitespace().for_each(|word| take(&mut found, word, &macros));
                }
            }
            Some('F') => {
                let (class, value) = named(&line[1..]);
                if class != "w" {
                    continue;
                }
                let value = value.trim();
                let (optional, value) = match value.strip_prefix("-o") {
                    Some(value) => (true, value.trim_start()),
                    None => (false, value),
                };
                // Behind the file there may be a pattern of scanf(3); by default it takes the first word of a line.
                let file = value.split_ascii_whitespace().next().unwrap_or_default();
                if file.is_empty() || file.starts_with(['|', '@']) || file.contains('@') {
                    let what =
                        format!("line {number}: F{class}{value}: only files are read, no commands and maps");
                    found.remarks.push(what);
                    continue;
                }
                match read(Path::new(file)) {
                    Ok(text) => {
                        for line in text.lines() {
                            let line = line.split('#').next().unwrap_or_default();
                            if let Some(word) = line.split_ascii_whitespace().next() {
                                take(&mut found, word, &macros);
                            }
                        }
                    }
                    Err(_) if optional => {}
                    Err(error) => return Err(format!("line {number}: {file}: {error}")),
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Lines with those that begin with a blank joined to the one before, and their numbers; comments left out.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ => lines.push((number, line.to_owned())),
        }
    }
    lines
}

/// The name of a class or macro (`w` or `{w}`), and what follows it.
fn named(text: &str) -> (String, &str) {
    if let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (name.to_owned(), rest);
    }
    let length = text.chars().next().map_or(0, char::len_utf8);
    (text[..length].to_owned(), &text[length..])
}

/// A word with the values of its macros (`$m`, `${name}`) in their places; those without a value stay.
fn expanded(word: &str, macros: &HashMap<String, String>, depth: usize) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some((before, behind)) = rest.split_once('$') {
        text.push_str(before);
        let (name, after) = named(behind);
        match macros.get(&name) {
            Some(value) if depth < MACRO_DEPTH_MAX => text.push_str(&expanded(value, macros, depth + 1)),
            _ => {
                text.push('$');
                text.push_str(&behind[..behind.len() - after.len()]);
            }
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Error, ErrorKind};

    fn read(text: &str) -> (String, Vec<String>) {
        let files = |path: &Path| match path.to_str() {
            Some("/etc/mail/local-host-names") => {
                Ok("# names\nsite.example\n\n  lab.site.example  # a comment\nSITE.example\n".to_owned())
            }
            _ => Err(Error::from(ErrorKind::NotFound)),
        };
        match names(text, files) {
            Ok(found) => {
                let names: Vec<String> = found.names.iter().map(ToString::to_string).collect();
                (names.join(" "), found.remarks)
            }
            Err(why) => (format!("error: {why}"), Vec::new()),
        }
    }

    #[test]
    fn classes_files_and_macros() {
        assert_eq!(read("Cwlocalhost a.example b.example\nCPx.example\n").0, "a.example b.example");
        assert_eq!(read("C{w}a.example\nCw\n\tb.example\n#Cwno.example\n").0, "a.example b.example");
        assert_eq!(read("Fw/etc/mail/local-host-names\n").0, "site.example lab.site.example");
        assert_eq!(
            read("Fw/etc/mail/local-host-names %[^\\#]\nCwSite.Example\n").0,
            "site.example lab.site.example"
        );
        assert_eq!(read("Fw-o /etc/mail/other\nCwa.example\n").0, "a.example");
        assert_eq!(
            read("Dwmail\nDmexample.org\nDj$w.$m\nCw$j ${w}2.$m\n").0,
            "mail.example.org mail2.example.org"
        );
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        assert!(read("Fw/etc/mail/other\n").0.starts_with("error: line 1: /etc/mail/other: "));
        let (names, remarks) = read("Cwa.example $=m $k\nFw|/usr/bin/names\nFw@ldap:x\nFw\n");
        assert_eq!(names, "a.example");
        assert_eq!(remarks.len(), 5, "{remarks:?}");
        assert!(remarks[2].contains("line 2: ") && remarks[2].contains("no commands"), "{remarks:?}");
        // A macro that stands for itself ends.
        assert_eq!(read("Dj$j\nCw$j\n").0, "");
        assert_eq!(read("C\nF\nD\nD{\nC\u{e4}w\n").0, "");
    }
}
