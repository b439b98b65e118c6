//! Edits of the text of `sites.cnf`: sections are added, changed and taken out, and everything else stays as it is,
//! comments, order and line ends included.
//!
//! # Not here
//! Whether the result is right (`config` reads it before anybody writes it), and the disk.

use sluice_config::SiteSection;

/// Options with their new lines, in the order in which they are written; an option without lines is taken out.
pub(crate) type Changes<'a> = [(&'a str, Vec<String>)];

/// A text, line by line, ends included.
struct Lines<'a> {
    lines: Vec<&'a str>,
    end: &'static str,
}

/// Where a section stands, in lines: its head, and the line behind its last option.
struct Place {
    head: usize,
    end: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let end = if lines.first().is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" };
        Lines { lines, end }
    }

    /// The line without its end.
    fn content(&self, index: usize) -> &'a str {
        let line = self.lines[index];
        let line = line.strip_suffix('\n').unwrap_or(line);
        line.strip_suffix('\r').unwrap_or(line)
    }

    /// The line behind a line and those that continue it. Comments in between belong to it.
    fn behind(&self, mut index: usize) -> usize {
        while index < self.lines.len() {
            let content = self.content(index);
            index += 1;
            if content.starts_with('!') || content.ends_with('\\') {
                continue;
            }
            break;
        }
        index
    }

    fn find(&self, section: SiteSection, name: &str) -> Option<Place> {
        let mut found: Option<Place> = None;
        let mut at = 0;
        while at < self.lines.len() {
            let content = self.content(at);
            let next = if content.starts_with('!') { at + 1 } else { self.behind(at) };
            if content.trim_start().starts_with('[') {
                if found.is_some() {
                    break;
                }
                if head_of(content).is_some_and(|(kind, own)| {
                    kind.eq_ignore_ascii_case(section.as_str()) && own.eq_ignore_ascii_case(name)
                }) {
                    found = Some(Place { head: at, end: next });
                }
            } else if let Some(place) = &mut found
                && !content.trim().is_empty()
                && !content.starts_with('!')
            {
                // Comments and blank lines behind the last option may be about what follows.
                place.end = next;
            }
            at = next;
        }
        found
    }

    fn join(&self, from: usize, to: usize) -> String {
        self.lines[from..to].concat()
    }
}

/// Kind and name of a line `[KIND=name]`.
fn head_of(line: &str) -> Option<(&str, &str)> {
    let inside = line.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (kind, name) = inside.split_once('=')?;
    Some((kind.trim(), name.trim()))
}

/// The name of the option that a line sets.
fn option_of(line: &str) -> Option<&str> {
    line.split_once('=').map(|(name, _)| name.trim())
}

/// Whether the text has the section itself; one in an included file is not its own.
pub(crate) fn has(text: &str, section: SiteSection, name: &str) -> bool {
    Lines::of(text).find(section, name).is_some()
}

/// The text with one more section at its end.
pub(crate) fn added(text: &str, section: SiteSection, name: &str, changes: &Changes<'_>) -> String {
    let lines = Lines::of(text);
    let mut new = text.to_owned();
    if !new.is_empty() && !new.ends_with('\n') {
        new.push_str(lines.end);
    }
    if lines.lines.last().is_some_and(|last| !last.trim().is_empty()) {
        new.push_str(lines.end);
    }
    new.push_str(&format!("[{}={name}]{}", section.as_str(), lines.end));
    new.push_str(&written(changes, lines.end));
    new
}

/// The text without the section: its head, its options, and the comments between them. `None`: there is no such section.
pub(crate) fn removed(text: &str, section: SiteSection, name: &str) -> Option<String> {
    let lines = Lines::of(text);
    let place = lines.find(section, name)?;
    let mut end = place.end;
    let blank = |index: usize| lines.content(index).trim().is_empty();
    // Of the blank lines around it only those in front stay.
    let before_is_blank = place.head == 0 || blank(place.head - 1);
    while before_is_blank && end < lines.lines.len() && blank(end) {
        end += 1;
    }
    // Of a section at the end of the file, those in front go too.
    let mut begin = place.head;
    while end == lines.lines.len() && begin > 0 && blank(begin - 1) {
        begin -= 1;
    }
    Some(lines.join(0, begin) + &lines.join(end, lines.lines.len()))
}

/// The text with options of the section changed, each where it stood, new ones behind the last. `None`: there is no such
/// section.
pub(crate) fn changed(text: &str, section: SiteSection, name: &str, changes: &Changes<'_>) -> Option<String> {
    let lines = Lines::of(text);
    let place = lines.find(section, name)?;
    let mut new = lines.join(0, place.head + 1);
    let mut done: Vec<&str> = Vec::new();
    let mut at = place.head + 1;
    while at < place.end {
        let content = lines.content(at);
        let next = if content.starts_with('!') { at + 1 } else { lines.behind(at) };
        let own = option_of(content).filter(|_| !content.starts_with('!'));
        match changes.iter().find(|(option, _)| own.is_some_and(|own| own.eq_ignore_ascii_case(option))) {
            Some((option, values)) if !done.contains(option) => {
                done.push(option);
                new.push_str(&written(&[(option, values.clone())], lines.end));
            }
            Some(_) => {}
            None => new.push_str(&lines.join(at, next)),
        }
        at = next;
    }
    let rest: Vec<_> = changes.iter().filter(|(option, _)| !done.contains(option)).cloned().collect();
    if !new.ends_with('\n') {
        new.push_str(lines.end);
    }
    new.push_str(&written(&rest, lines.end));
    new.push_str(&lines.join(place.end, lines.lines.len()));
    Some(new)
}

fn written(changes: &Changes<'_>, end: &str) -> String {
    let lines = changes.iter().flat_map(|(option, values)| values.iter().map(move |value| (option, value)));
    lines.map(|(option, value)| format!("{option}={value}{end}")).collect()
}

/// The lines that differ, each with `-` or `+` in front.
pub(crate) fn difference(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let left = old.len().min(new.len()) - same;
    let same_behind =
        old.iter().rev().zip(new.iter().rev()).take(left).take_while(|(old, new)| old == new).count();
    let gone = old[same..old.len() - same_behind].iter().map(|line| format!("-{line}"));
    let come = new[same..new.len() - same_behind].iter().map(|line| format!("+{line}"));
    gone.chain(come).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use SiteSection::{Activator, Site};

    const FILE: &str = "! our sites\n\n[SITE=one]\n! the first\nDOMAINS=one.example,\\\n  two.example\nPORT=25\n\n! the second\n[Site = Two]\nDOMAINS=x.example\n\n[ACTIVATOR=one]\nSERVER=a.example\n! the end\n";

    fn lines(option: &'static str, values: &[&str]) -> (&'static str, Vec<String>) {
        (option, values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn a_new_section_stands_at_the_end() {
        assert_eq!(
            added("", Site, "a", &[lines("DOMAINS", &["a.example"])]),
            "[SITE=a]\nDOMAINS=a.example\n"
        );
        assert_eq!(added("! x", Site, "a", &[]), "! x\n\n[SITE=a]\n");
        assert_eq!(
            added("! x\r\n\r\n", Activator, "a", &[lines("PORT", &["1"])]),
            "! x\r\n\r\n[ACTIVATOR=a]\r\nPORT=1\r\n"
        );
        assert!(added(FILE, Site, "a", &[]).starts_with(FILE));
    }

    #[test]
    fn a_section_goes_and_comments_around_it_stay() {
        let without = removed(FILE, Site, "ONE").unwrap();
        assert_eq!(
            without,
            "! our sites\n\n! the second\n[Site = Two]\nDOMAINS=x.example\n\n[ACTIVATOR=one]\nSERVER=a.example\n! the end\n"
        );
        let without = removed(FILE, Site, "two").unwrap();
        assert!(without.contains("PORT=25\n\n! the second\n\n[ACTIVATOR=one]"), "{without}");
        assert!(removed(FILE, Activator, "one").unwrap().ends_with("x.example\n\n! the end\n"));
        assert_eq!(removed(FILE, Activator, "two"), None);
        let more = added(FILE, Site, "three", &[lines("PORT", &["1"])]);
        assert_eq!(removed(&more, Site, "three").unwrap(), FILE);
        assert_eq!(removed("[SITE=a]\n\n", Site, "a").unwrap(), "");
    }

    #[test]
    fn options_change_where_they_stand() {
        let new = changed(
            FILE,
            Site,
            "one",
            &[lines("DOMAINS", &["a.example", "b.example"]), lines("LOGIN", &["me"])],
        );
        assert_eq!(
            new.unwrap(),
            FILE.replace(
                "DOMAINS=one.example,\\\n  two.example\nPORT=25\n",
                "DOMAINS=a.example\nDOMAINS=b.example\nPORT=25\nLOGIN=me\n"
            )
        );
        assert_eq!(changed(FILE, Site, "one", &[lines("PORT", &[])]).unwrap(), FILE.replace("PORT=25\n", ""));
        assert_eq!(changed("[SITE=a]", Site, "a", &[lines("PORT", &["1"])]).unwrap(), "[SITE=a]\nPORT=1\n");
        assert_eq!(changed(FILE, Site, "three", &[]), None);
    }

    #[test]
    fn what_differs_is_shown() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\ny\nc\n"), ["-b", "+x", "+y"]);
        assert_eq!(difference("", "a\n"), ["+a"]);
        assert_eq!(difference("a\na\n", "a\n"), ["-a"]);
    }
}
