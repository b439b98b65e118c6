//! What the other site is told: a batch that has arrived, was refused, or lacks something. Answers are owed in our own folder until the
//! carrier is there.

use std::collections::{HashMap, HashSet};
use std::fs;

use sluice_durable::Trouble;

use super::Incoming;
use crate::manifest;

/// Numbers that are asked for when more are missing.
const MISSING_MAX: u64 = 100;

impl Incoming {
    /// Writes an answer down that the other site is to get.
    pub(super) fn owe(&self, stem: &str, kind: &str, text: &str) -> Result<(), Trouble> {
        if self.answers.is_none() {
            return Ok(());
        }
        sluice_durable::replace(&self.file(stem, &format!("{kind}.owed")), |out| {
            out.write_all(text.as_bytes())
        })
    }

    /// Gives the answers that are owed, if there is somewhere to write them.
    pub(super) fn answer(&self) -> Result<(), Trouble> {
        let Some(folder) = self.answers.as_ref().filter(|folder| folder.is_dir()) else { return Ok(()) };
        for name in self.own("owed")? {
            let owed = self.file(&name, "owed");
            let read = |error| Trouble { what: "cannot read", path: owed.clone(), error };
            let given = fs::read(&owed).map_err(read).and_then(|text| {
                sluice_durable::replace(&folder.join(&name), |out| out.write_all(&text))?;
                sluice_durable::remove(&owed)
            });
            // Others are given: what is wrong may be what lies there under this name.
            match given {
                // What is in its way another time is said again.
                Ok(()) => self.forget(&name),
                Err(trouble) => drop(self.put_off(&name, &trouble)),
            }
        }
        Ok(())
    }

    /// Asks for numbers that were skipped: later batches of their link are here or have been taken.
    pub(super) fn ask_for_missing(&self, names: &[&str]) -> Result<(), Trouble> {
        let mut here: HashMap<&str, HashSet<u64>> = HashMap::new();
        for name in names {
            if let Some((link, number, ".manifest")) = manifest::parts_of(name) {
                here.entry(link).or_default().insert(number);
            }
        }
        for (link, numbers) in here {
            let first = numbers.iter().copied().min().unwrap_or(0);
            let last = self.last_of(link).unwrap_or(first);
            let most = numbers.iter().copied().max().unwrap_or(0);
            for number in (last + 1..most).take(usize::try_from(MISSING_MAX).unwrap_or(100)) {
                let stem = manifest::stem(link, number);
                if numbers.contains(&number) || self.waits(&stem) {
                    continue;
                }
                let manifest = format!("{stem}.manifest");
                if self.wait(&stem, format!("batch {stem} is missing, and later ones are here")) {
                    self.owe(&stem, "want", &format!("{manifest}\n"))?;
                }
            }
        }
        Ok(())
    }
}
