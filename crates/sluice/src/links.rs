//! Names of other programs that are links to this one, for habits: what is typed there becomes a command line of ours.
//!
//! Nothing is carried out here; the words are translated and then read like any other command line, so that each habit
//! has its long form, its help and its exit statuses. Options that begin with `--` are ours and are passed on: links read
//! the configuration in its usual place, or where `--config` says.

use std::ffi::OsString;
use std::path::Path;

/// Links whose name is that of the subcommand.
const SUBCOMMANDS: &[&str] = &["etrn"];

/// A command line of ours for what was typed. What is not called by the name of a link comes back as it is.
///
/// # Errors
/// A sentence for the person who typed it (exit status 64).
pub(crate) fn command_line(typed: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let name = typed.first().map(Path::new).and_then(Path::file_name).and_then(|name| name.to_str());
    let name = name.unwrap_or_default().to_owned();
    let rest = typed.iter().skip(1).cloned();
    match name.as_str() {
        "mailq" => Ok(ours(&["queue", "list", "--mailq"], rest.filter(|word| word != "-v"))),
        "sendmail" => sendmail(rest),
        name => match SUBCOMMANDS.iter().find(|link| **link == name) {
            Some(link) => Ok(ours(&[link], rest)),
            None => Ok(typed),
        },
    }
}

fn ours(words: &[&str], rest: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let words = std::iter::once("sluice").chain(words.iter().copied());
    words.map(OsString::from).chain(rest).collect()
}

/// `sendmail -bp` and the forms of `sendmail -q`.
fn sendmail(mut words: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, String> {
    let mut rest = Vec::new();
    let mut wish = None;
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "-bp" {
            wish = Some(vec!["queue".to_owned(), "list".to_owned(), "--mailq".to_owned()]);
        } else if let Some(what) = text.strip_prefix("-q") {
            let mut value = |sort: &str, glued: &str| -> Result<String, String> {
                if !glued.is_empty() {
                    return Ok(glued.to_owned());
                }
                let next = words.next().map(|word| word.to_string_lossy().into_owned());
                next.ok_or_else(|| format!("`-q{sort}` needs a value after it"))
            };
            wish = Some(run(what, &mut value)?);
        } else if text == "-v" {
            // It says nothing that is not said anyway.
        } else if text.starts_with("--") {
            // One of ours: it and its value are passed on.
            rest.push(word);
            if !text.contains('=') {
                rest.extend(words.next());
            }
        } else {
            return Err(format!(
                "as `sendmail` this program knows -bp, -q, -qR, -qI and -qS, not `{}`; mail comes in by SMTP",
                text.escape_debug()
            ));
        }
    }
    let Some(wish) = wish else {
        return Err(
            "as `sendmail` this program knows -bp, -q, -qR, -qI and -qS; mail comes in by SMTP".to_owned()
        );
    };
    Ok(ours(&wish.iter().map(String::as_str).collect::<Vec<_>>(), rest.into_iter()))
}

/// What `-q` with these letters behind it runs.
fn run(
    what: &str,
    value: &mut dyn FnMut(&str, &str) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut letters = what.chars();
    let glued = |letters: std::str::Chars<'_>| letters.as_str().to_owned();
    Ok(match letters.next() {
        None => words(&["queue", "retry", "--all", "--yes"]),
        // Release makes way for mail yet to come too, which is what somebody who runs a site's queue wants.
        Some('R') => match value("R", &glued(letters))? {
            address if address.contains('@') && !address.starts_with('@') => {
                words(&["queue", "retry", "--recipient", &address, "--yes"])
            }
            domain => words(&["trigger", &domain]),
        },
        Some('I') => words(&["queue", "retry", &value("I", &glued(letters))?]),
        Some('S') => words(&["queue", "retry", "--sender", &value("S", &glued(letters))?, "--yes"]),
        Some(_) => {
            return Err(format!(
                "`-q{}`: how often a queue is run is said in the configuration (`periodic`, `backoff`, POST_INTERVAL)",
                what.escape_debug()
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(typed: &str) -> String {
        match command_line(typed.split_whitespace().map(OsString::from).collect()) {
            Ok(words) => words.join(std::ffi::OsStr::new(" ")).to_string_lossy().into_owned(),
            Err(text) => format!("error: {text}"),
        }
    }

    #[test]
    fn links_become_command_lines() {
        for (typed, ours) in [
            ("sluice queue list", "sluice queue list"),
            ("/usr/lib/etrn -v hub", "sluice etrn -v hub"),
            ("etrn", "sluice etrn"),
            ("./sluice etrn hub", "./sluice etrn hub"),
            ("", ""),
            ("/usr/bin/mailq", "sluice queue list --mailq"),
            ("mailq -v --config /tmp/x", "sluice queue list --mailq --config /tmp/x"),
            ("/usr/sbin/sendmail -bp", "sluice queue list --mailq"),
            ("sendmail -bp -v --config=/tmp/x", "sluice queue list --mailq --config=/tmp/x"),
            ("sendmail -q", "sluice queue retry --all --yes"),
            ("sendmail --config /tmp/x -qRsite.example", "sluice trigger site.example --config /tmp/x"),
            ("sendmail -qR @site.example", "sluice trigger @site.example"),
            ("sendmail -qR a@site.example", "sluice queue retry --recipient a@site.example --yes"),
            ("sendmail -qI 0000000000000A41", "sluice queue retry 0000000000000A41"),
            ("sendmail -qSa@b.example", "sluice queue retry --sender a@b.example --yes"),
        ] {
            assert_eq!(say(typed), ours, "{typed}");
        }
    }

    #[test]
    fn what_a_link_does_not_know_is_said() {
        for (typed, what) in [
            ("sendmail", "error: as `sendmail` this program knows -bp"),
            ("sendmail -t", "not `-t`"),
            ("sendmail -bp fred@example.com", "not `fred@example.com`"),
            ("sendmail -qR", "error: `-qR` needs a value after it"),
            ("sendmail -q30m", "error: `-q30m`: how often"),
        ] {
            assert!(say(typed).contains(what), "{typed}: {}", say(typed));
        }
    }
}
