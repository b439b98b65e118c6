//! What a batch consists of, as a file that goes with it.
//!
//! ```text
//! # sluice batch 1
//! # link: ship
//! # number: 17
//! # messages: 12
//! # whole: 1f3a…
//! 9c0d…  ship-00000017.bsmtp.gz.001
//! 77b2…  ship-00000017.bsmtp.gz.002
//! ```
//!
//! The lines without `#` are those of sha256sum(1), so that `sha256sum -c` checks a batch and `cat` joins it. A batch is there when its
//! manifest and all files in it are; the manifest is written last.
//!
//! A manifest was written by a stranger: names in it are taken only if they are those that a batch of this link and number has.
//! docs/internals/batch-format.md has the whole.

use std::fmt::Write as _;

/// Octets of a manifest, and files of a batch.
pub(crate) const SIZE_MAX: u64 = 2 << 20;
pub(crate) const PARTS_MAX: usize = 10_000;
/// The first line.
const HEAD: &str = "# sluice batch 1";
/// Longest name of a link.
const LINK_MAX: usize = 40;

/// The manifest of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) link: String,
    pub(crate) number: u64,
    pub(crate) messages: u64,
    /// SHA-256 of all parts together, in hexadecimal digits.
    pub(crate) whole: String,
    /// SHA-256 and name of each part, in their order.
    pub(crate) parts: Vec<(String, String)>,
}

/// Whether this can be the name of a link, which becomes part of names of files.
pub(crate) fn is_link(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= LINK_MAX && name.chars().all(plain) && !name.starts_with(['.', '-'])
}

/// The name that all files of a batch begin with.
pub(crate) fn stem(link: &str, number: u64) -> String {
    format!("{link}-{number:08}")
}

/// Link and number of a file of a batch, with what stands behind them.
pub(crate) fn parts_of(name: &str) -> Option<(&str, u64, &str)> {
    let at = name.find(".bsmtp").or_else(|| name.rfind('.'))?;
    let (stem, rest) = name.split_at(at);
    let (link, number) = stem.rsplit_once('-')?;
    let digits = number.len() >= 8 && number.len() <= 19 && number.bytes().all(|byte| byte.is_ascii_digit());
    (digits && is_link(link)).then_some((link, number.parse().ok()?, rest))
}

impl Manifest {
    /// Its text.
    pub(crate) fn text(&self) -> String {
        let Manifest { link, number, messages, whole, parts } = self;
        let mut text =
            format!("{HEAD}\n# link: {link}\n# number: {number}\n# messages: {messages}\n# whole: {whole}\n");
        for (sum, name) in parts {
            let _ = writeln!(text, "{sum}  {name}");
        }
        text
    }

    /// Reads a manifest that has this file name.
    pub(crate) fn parse(text: &str, file_name: &str) -> Result<Manifest, String> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(format!("its first line is not `{HEAD}`"));
        }
        let (mut link, mut number, mut messages, mut whole) = (None, None, None, None);
        let mut parts = Vec::new();
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let shown = || line.chars().take(80).collect::<String>().escape_debug().to_string();
            if let Some(rest) = line.strip_prefix("# ") {
                // Facts of later versions are passed over.
                match rest.split_once(": ") {
                    Some(("link", value)) if is_link(value) => link = Some(value.to_owned()),
                    Some(("number", value)) => number = value.parse().ok(),
                    Some(("messages", value)) => messages = value.parse().ok(),
                    Some(("whole", value)) if is_sum(value) => whole = Some(value.to_owned()),
                    _ => {}
                }
                continue;
            }
            match line.split_once("  ") {
                Some((sum, name)) if is_sum(sum) => parts.push((sum.to_owned(), name.to_owned())),
                _ => return Err(format!("`{}` is no checksum with a name", shown())),
            }
            if parts.len() > PARTS_MAX {
                return Err(format!("it has more than {PARTS_MAX} parts"));
            }
        }
        let (Some(link), Some(number), Some(messages), Some(whole)) = (link, number, messages, whole) else {
            return Err("it lacks one of link, number, messages and whole".to_owned());
        };
        let stem = stem(&link, number);
        if file_name != format!("{stem}.manifest") {
            return Err(format!("it is that of {stem}"));
        }
        if parts.is_empty() {
            return Err("it names no file".to_owned());
        }
        for (index, (_, name)) in parts.iter().enumerate() {
            let plain = name
                .strip_prefix(&format!("{stem}.bsmtp"))
                .map(|rest| rest.strip_prefix(".gz").unwrap_or(rest));
            let good = match plain {
                Some("") => parts.len() == 1,
                Some(rest) => rest == format!(".{:03}", index + 1),
                None => false,
            };
            if !good {
                return Err(format!("`{}` is not the name of its part {}", name.escape_debug(), index + 1));
            }
        }
        Ok(Manifest { link, number, messages, whole, parts })
    }
}

fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(parts: &[&str]) -> Manifest {
        let sum = "0a".repeat(32);
        Manifest {
            link: "ship".to_owned(),
            number: 17,
            messages: 12,
            whole: sum.clone(),
            parts: parts.iter().map(|part| (sum.clone(), (*part).to_owned())).collect(),
        }
    }

    fn said(manifest: &Manifest) -> String {
        Manifest::parse(&manifest.text(), "ship-00000017.manifest")
            .map_or_else(|why| why, |_| "good".to_owned())
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let one = manifest(&["ship-00000017.bsmtp.gz"]);
        assert_eq!(Manifest::parse(&one.text(), "ship-00000017.manifest").unwrap(), one);
        let two = manifest(&["ship-00000017.bsmtp.001", "ship-00000017.bsmtp.002"]);
        assert_eq!(Manifest::parse(&two.text(), "ship-00000017.manifest").unwrap(), two);
        assert_eq!(
            Manifest::parse(&one.text(), "ship-00000018.manifest").unwrap_err(),
            "it is that of ship-00000017"
        );
    }

    #[test]
    fn names_that_are_not_its_own_are_refused() {
        for name in [
            "/etc/passwd",
            "../ship-00000017.bsmtp",
            "ship-00000017.bsmtp/../x",
            "ship-00000018.bsmtp",
            "ship-00000017.bsmtp.002",
            "ship-00000017.bsmtp.gz.gz",
            "",
        ] {
            assert!(said(&manifest(&[name])).contains("is not the name of its part 1"), "{name}");
        }
        assert_eq!(said(&manifest(&[])), "it names no file");
        let twice = ["ship-00000017.bsmtp", "ship-00000017.bsmtp"];
        assert!(said(&manifest(&twice)).contains("is not the name of its part 1"));
        let garbage = "# sluice batch 1\nnothing\n";
        assert_eq!(Manifest::parse(garbage, "x").unwrap_err(), "`nothing` is no checksum with a name");
        assert!(Manifest::parse("", "x").unwrap_err().contains("its first line"));
    }

    #[test]
    fn names_of_files_tell_link_and_number() {
        assert_eq!(parts_of("ship-00000017.bsmtp.gz.001"), Some(("ship", 17, ".bsmtp.gz.001")));
        assert_eq!(parts_of("a-b.c-123456789.ack"), Some(("a-b.c", 123_456_789, ".ack")));
        for name in
            ["ship-17.bsmtp", "ship.bsmtp", "-00000001.ack", "../x-00000001.ack", "Ship-00000001.ack", "x"]
        {
            assert_eq!(parts_of(name), None, "{name}");
        }
        assert!(is_link("ship") && !is_link("") && !is_link("../x") && !is_link(".x") && !is_link("a b"));
    }
}
