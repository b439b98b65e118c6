//! Reads the mail log back: the records of one message, and how far the log reaches.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{self, NAMES, STAMP_LEN};

/// Octets of an id.
const ID_LEN: usize = 16;

/// A record of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When, as RFC 3339 has it.
    pub(crate) at: String,
    /// PMDF's code.
    pub(crate) code: String,
    /// The channel it came by, of code `E`.
    pub(crate) source: Option<String>,
    /// The channel it waits on, or leaves by.
    pub(crate) channel: String,
    /// Its size.
    pub(crate) blocks: u64,
    /// The envelope sender, empty for the null one.
    pub(crate) sender: String,
    /// The recipient as the client gave it.
    pub(crate) original: String,
    /// The recipient as it is used; of code `H` a domain with `@`.
    pub(crate) recipient: String,
    /// Who spoke, or acted.
    pub(crate) peer: Option<String>,
    /// What was said.
    pub(crate) text: Option<String>,
}

/// How far the log reaches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// When the oldest record is of.
    pub(crate) since: Option<String>,
    /// The highest id that any record has.
    pub(crate) highest: String,
    /// The lowest id that any record has. Messages before it have no records (any more).
    pub(crate) lowest: String,
}

/// A file that is there and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", .path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

/// The records of a message, oldest first, and how far the log reaches. `id` is sixteen digits in upper case.
pub(crate) fn records_of(folder: &Path, id: &str) -> Result<(Vec<Entry>, Reach), Unreadable> {
    let (mut entries, mut reach, mut seen) = (Vec::new(), Reach::default(), HashSet::new());
    // The day may turn meanwhile, which moves lines to an older file: all are open before the first is read, the youngest first.
    let mut open = Vec::new();
    for path in NAMES.map(|name| folder.join(name)).into_iter().rev() {
        match File::open(&path) {
            Ok(file) => open.push((path, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Unreadable { path, source }),
        }
    }
    for (path, file) in open.into_iter().rev() {
        let read = files::lines_of(file, |line| {
            let Some(found) = line.get(STAMP_LEN + 1..STAMP_LEN + 1 + ID_LEN) else { return true };
            if reach.since.is_none() {
                reach.since =
                    line.get(..STAMP_LEN).and_then(|time| files::as_rfc3339(std::str::from_utf8(time).ok()?));
            }
            if found.iter().all(u8::is_ascii_hexdigit) {
                if found > reach.highest.as_bytes() {
                    reach.highest = String::from_utf8_lossy(found).into_owned();
                }
                if reach.lowest.is_empty() || found < reach.lowest.as_bytes() {
                    reach.lowest = String::from_utf8_lossy(found).into_owned();
                }
            }
            // A turn of the day that was cut off leaves lines in two files.
            if found == id.as_bytes() && seen.insert(line.to_vec()) {
                entries.extend(parse(&String::from_utf8_lossy(line)));
            }
            true
        });
        read.map_err(|source| Unreadable { path, source })?;
    }
    Ok((entries, reach))
}

/// Reads a line about a message. `None` for what is none.
pub(crate) fn parse(line: &str) -> Option<Entry> {
    let at = files::as_rfc3339(line.get(..STAMP_LEN)?)?;
    let record = line.get(STAMP_LEN + ID_LEN + 2..)?;
    let (fields, text) = match record.split_once(" smtp;") {
        Some((fields, text)) => (fields, Some(plain(text))),
        None => (record, None),
    };
    let (fields, peer) = match fields.split_once(" dns;") {
        Some((fields, peer)) => (fields, Some(plain(peer))),
        None => (fields, None),
    };
    let is_code = |field: &str| field.len() <= 3 && field.bytes().all(|octet| octet.is_ascii_uppercase());
    let fields: Vec<&str> = fields.split(' ').collect();
    let (source, channel, code, rest) = match fields.as_slice() {
        [channel, code, rest @ ..] if is_code(code) => (None, channel, code, rest),
        [source, channel, code, rest @ ..] if is_code(code) => (Some(plain(source)), channel, code, rest),
        _ => return None,
    };
    let [blocks, sender, original, recipient] = rest else { return None };
    let address = |field: &str| if matches!(field, "<>" | "-") { String::new() } else { plain(field) };
    Some(Entry {
        at,
        code: (*code).to_owned(),
        source,
        channel: plain(channel),
        blocks: blocks.parse().ok()?,
        sender: address(sender),
        original: address(original.strip_prefix("rfc822;").unwrap_or(original)),
        recipient: address(recipient),
        peer,
        text,
    })
}

/// A field without the escapes that `char::escape_debug` has put in. What is no such escape stays.
fn plain(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let code = after.strip_prefix("u{").and_then(|code| code.split_once('}'));
        let known = code.and_then(|(digits, rest)| {
            Some((u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?, rest))
        });
        let mut others = after.chars();
        let (one, left) = match (known, others.next()) {
            (Some((one, left)), _) => (one, left),
            (None, Some('n')) => ('\n', others.as_str()),
            (None, Some('r')) => ('\r', others.as_str()),
            (None, Some('t')) => ('\t', others.as_str()),
            (None, Some('0')) => ('\0', others.as_str()),
            (None, Some(one @ ('\\' | '"' | '\''))) => (one, others.as_str()),
            _ => ('\\', after),
        };
        text.push(one);
        rest = left;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/internals/mail-log-format.md");

    fn page_lines() -> Vec<&'static str> {
        let block = PAGE.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
        block.expect("the page has an example").lines().collect()
    }

    #[test]
    fn the_lines_of_the_page_are_read() {
        let read: Vec<Entry> = page_lines().into_iter().map(|line| parse(line).expect(line)).collect();
        let common = Entry {
            channel: "tcp_dialup".into(),
            blocks: 2,
            sender: "fred@example.com".into(),
            original: "mary@site7.example".into(),
            recipient: "mary@site7.example".into(),
            ..Entry::default()
        };
        let expected = [
            Entry {
                at: "2026-12-02T09:15:07.042Z".into(),
                code: "E".into(),
                source: Some("tcp_local".into()),
                ..common.clone()
            },
            Entry {
                at: "2026-12-02T09:20:00.000Z".into(),
                code: "Q".into(),
                peer: Some("mx.site7.example".into()),
                text: Some("450 4.2.1 mailbox busy".into()),
                ..common.clone()
            },
            Entry {
                at: "2026-12-02T09:21:30.500Z".into(),
                code: "H".into(),
                sender: String::new(),
                original: String::new(),
                recipient: "@site7.example".into(),
                peer: Some("operator:root".into()),
                text: Some("hold: looking into it".into()),
                ..common
            },
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn the_page_has_every_code_that_is_written() {
        for code in ["E", "D", "Q", "Z", "R", "W", "K", "H", "I"] {
            assert!(PAGE.contains(&format!("| `{code}` |")), "{code}");
        }
        assert!(PAGE.contains("65,536") && super::super::LINES_WAITING == 65_536);
    }

    #[test]
    fn what_is_no_record_is_none() {
        let whole = page_lines()[1];
        for length in 0..whole.len() {
            if let Some(head) = whole.get(..length) {
                // A line cut off in its last fields may still say something; none may panic.
                let _ = parse(head);
            }
        }
        for line in [
            "",
            "02-Dec-2026 09:20:00.000",
            "02-Dec-2026 09:20:00.000 0000000000000A41 ",
            "02-Dec-2026 09:20:00.000 0000000000000A41 tcp_dialup Q two a@b rfc822;c@d c@d",
            "99-Dec-2026 09:20:00.000 0000000000000A41 tcp_dialup Q 2 a@b rfc822;c@d c@d",
            "02-Dec-2026 09:20:00.000 ---------------- tcp_local tcp_x +I TCP|1|2|3|4 SMTP/x y smtp;250 ok",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn escapes_are_undone() {
        for text in ["a b", "\"a\\b\"@c", "tab\tline\r\n\0\u{1b}", "ü", "it's"] {
            let written: String = text.escape_debug().collect::<String>().replace(' ', "\\u{20}");
            assert_eq!(plain(&written), text, "{written}");
        }
        for odd in ["\\", "\\u{}", "\\u{110000}", "\\x41", "a\\"] {
            assert_eq!(plain(odd), odd);
        }
    }

    #[test]
    fn a_message_is_found_in_all_files_once() {
        let folder = tempfile::tempdir().unwrap();
        let [accepted, deferred, held] = page_lines()[..] else { panic!("three lines") };
        let other = accepted.replace("0A41", "0B00");
        std::fs::write(folder.path().join(NAMES[0]), format!("{accepted}\n{other}\n")).unwrap();
        std::fs::write(
            folder.path().join(NAMES[1]),
            format!("{accepted}\nrubbish\n\u{0}{deferred}\n{deferred}\n"),
        )
        .unwrap();
        std::fs::write(folder.path().join(NAMES[2]), format!("{held}\n02-Dec-2026 09:1")).unwrap();
        let (entries, reach) = records_of(folder.path(), "0000000000000A41").unwrap();
        assert_eq!(entries.iter().map(|entry| entry.code.as_str()).collect::<String>(), "EQH");
        assert_eq!(
            reach,
            Reach {
                since: Some("2026-12-02T09:15:07.042Z".into()),
                highest: "0000000000000B00".into(),
                lowest: "0000000000000A41".into()
            }
        );
        let (none, reach) = records_of(&folder.path().join("not there"), "0000000000000A41").unwrap();
        assert_eq!((none.len(), reach), (0, Reach::default()));
    }
}
