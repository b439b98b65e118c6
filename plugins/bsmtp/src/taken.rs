//! Which batches have been taken in or refused: a file with a line for each, its name and its checksum, and `refused` behind those that were.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sluice_durable::Trouble;

use crate::manifest;

/// Batches that are remembered. Older ones would come in again if somebody brought them once more.
const TAKEN_MAX: usize = 20_000;

/// The file, and what it says.
#[derive(Debug)]
pub(crate) struct Taken {
    path: PathBuf,
    keys: HashSet<String>,
    /// The largest number of each link.
    last: HashMap<String, u64>,
}

impl Taken {
    /// Reads the file in this folder.
    pub(crate) fn read(folder: &Path) -> Result<Taken, Trouble> {
        let path = folder.join("taken");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Trouble { what: "cannot read", path, error }),
        };
        // A line without its end was being written at a crash: its batch is still here, and is finished once more.
        let whole = text.rfind('\n').map_or("", |at| &text[..=at]);
        let lines: Vec<&str> = whole.lines().collect();
        let kept = &lines[lines.len().saturating_sub(TAKEN_MAX)..];
        if kept.len() < lines.len() || whole.len() < text.len() {
            sluice_durable::replace(&path, |out| kept.iter().try_for_each(|line| writeln!(out, "{line}")))?;
        }
        let mut taken = Taken { path, keys: HashSet::new(), last: HashMap::new() };
        kept.iter().for_each(|line| taken.know(line));
        Ok(taken)
    }

    /// Writes a batch down, for good.
    pub(crate) fn add(&mut self, key: &str) -> Result<(), Trouble> {
        if self.has(key) {
            return Ok(());
        }
        let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path);
        let written = open.and_then(|mut file| {
            let before = file.metadata()?.len();
            let written = file.write_all(format!("{key}\n").as_bytes()).and_then(|()| file.sync_all());
            if written.is_err() {
                // Half a line would become one with the next.
                file.set_len(before)?;
            }
            written
        });
        written.map_err(|error| Trouble { what: "cannot write", path: self.path.clone(), error })?;
        sluice_durable::sync_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        self.know(key);
        Ok(())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// The largest number of a link.
    pub(crate) fn last_of(&self, link: &str) -> Option<u64> {
        self.last.get(link).copied()
    }

    fn know(&mut self, key: &str) {
        self.keys.insert(key.to_owned());
        let stem = key.split(' ').next().unwrap_or_default();
        if let Some((link, number, _)) = manifest::parts_of(&format!("{stem}.ack")) {
            let last = self.last.entry(link.to_owned()).or_default();
            *last = (*last).max(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_remembered() {
        let root = tempfile::tempdir().unwrap();
        let mut taken = Taken::read(root.path()).unwrap();
        taken.add("ship-00000002 aa").unwrap();
        taken.add("ship-00000001 bb").unwrap();
        taken.add("hand-0123456789abcdef-1700000000").unwrap();
        let mut file = OpenOptions::new().append(true).open(root.path().join("taken")).unwrap();
        // A crash in the middle of a line.
        file.write_all(b"ship-00000003 c").unwrap();
        let taken = Taken::read(root.path()).unwrap();
        assert!(
            taken.has("ship-00000001 bb") && !taken.has("ship-00000001 aa") && !taken.has("ship-00000003 c")
        );
        assert_eq!((taken.last_of("ship"), taken.last_of("boat")), (Some(2), None));
        assert!(fs::read_to_string(root.path().join("taken")).unwrap().ends_with("1700000000\n"));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let lines: String = (0..TAKEN_MAX + 10).map(|number| format!("x-{number:08} a\n")).collect();
        fs::write(root.path().join("taken"), lines).unwrap();
        let taken = Taken::read(root.path()).unwrap();
        assert!(!taken.has("x-00000009 a") && taken.has("x-00000010 a"));
        assert_eq!(fs::read_to_string(root.path().join("taken")).unwrap().lines().count(), TAKEN_MAX);
    }
}
