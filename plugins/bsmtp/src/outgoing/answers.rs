//! What the other site says of batches that were written: it has one, refuses it, or lacks something of it.

use sluice_durable::{Trouble, Unread};
use sluice_sdk::Level;

use super::Outgoing;
use crate::manifest::{self, Manifest};

/// Names in a folder of answers that are looked at.
const NAMES_MAX: usize = 100_000;
/// Octets of an answer.
const ANSWER_MAX: u64 = 1 << 20;

impl Outgoing {
    /// What the other site has to say about batches.
    pub(super) fn read_answers(&self) {
        let Some(folder) = self.answers.as_ref().filter(|folder| folder.is_dir()) else { return };
        let names = match sluice_durable::names(folder, NAMES_MAX) {
            Ok(names) => names,
            Err(trouble) => return self.say("answers", trouble.to_string()),
        };
        for name in names.iter().filter_map(|name| name.to_str()) {
            let Some((link, number, kind)) = manifest::parts_of(name) else { continue };
            if link != self.link || !matches!(kind, ".ack" | ".want" | ".refused") {
                continue;
            }
            let path = folder.join(name);
            let heard = match sluice_durable::read(&path, ANSWER_MAX) {
                // Half a file, perhaps: a carrier may still be writing it.
                Ok(text) if kind != ".want" && !text.starts_with(b"# whole: ") => {
                    self.say(name, format!("{name} is passed over: it does not say which batch it is about"));
                    continue;
                }
                Ok(text) => self.hear(number, kind, &String::from_utf8_lossy(&text)),
                Err(Unread::Failed(trouble)) => Err(trouble),
                Err(why) => {
                    self.say(name, format!("{name} is passed over: {why}"));
                    continue;
                }
            };
            // What was heard is done, so that hearing it again changes nothing.
            match heard.and_then(|()| sluice_durable::remove(&path)) {
                Ok(()) => self.forget(name),
                Err(trouble) => self.say(name, trouble.to_string()),
            }
        }
    }

    fn hear(&self, number: u64, kind: &str, answer: &str) -> Result<(), Trouble> {
        let stem = manifest::stem(&self.link, number);
        if !self.file(number, "manifest").exists() {
            if kind == ".want" {
                let text = format!(
                    "parts of batch {stem} are asked for, and it is not kept any more (KEEP=1 keeps batches)"
                );
                self.log.write(Level::Error, &text);
            }
            return Ok(());
        }
        let manifest = self.manifest_text(number)?;
        let about = answer.lines().find_map(|line| line.strip_prefix("# whole: "));
        if about.is_some_and(|whole| !manifest.contains(&format!("# whole: {whole}\n"))) {
            let text =
                format!("an answer to batch {stem} is about another one of that number, and is passed over");
            self.log.write(Level::Warn, &text);
            return Ok(());
        }
        match kind {
            ".ack" => {
                self.log.write(Level::Info, &format!("batch {stem} has arrived"));
                self.clear_carrier(&manifest, &stem);
                self.drop_batch(number)
            }
            ".want" => {
                let lacks = answer
                    .lines()
                    .filter(|line| !line.starts_with('#'))
                    .take(5)
                    .collect::<Vec<_>>()
                    .join(", ");
                self.log.write(Level::Warn, &format!("batch {stem} is written again; it lacked {lacks}"));
                sluice_durable::remove(&self.file(number, "sent"))
            }
            _ => {
                let why = answer
                    .lines()
                    .filter(|line| !line.starts_with('#'))
                    .take(3)
                    .collect::<Vec<_>>()
                    .join(" ");
                let text = format!(
                    "batch {stem} was refused by the other site: {why}; it is kept in {}/refused",
                    self.place.folder().display()
                );
                self.log.write(Level::Error, &text);
                let refused = self.place.folder().join("refused");
                match sluice_durable::put_away(&self.file(number, "packed"), &refused) {
                    Err(trouble) if !trouble.is_missing() => return Err(trouble),
                    // Where there is none it lies there already: a crash came before the rest.
                    _ => {}
                }
                self.clear_carrier(&manifest, &stem);
                self.drop_batch(number)
            }
        }
    }

    /// Takes a batch from the carrier that nobody needs any more. What cannot be removed harms nobody.
    fn clear_carrier(&self, manifest: &str, stem: &str) {
        let name = format!("{stem}.manifest");
        let parts = Manifest::parse(manifest, &name).map(|manifest| manifest.parts).unwrap_or_default();
        for part in std::iter::once(name.as_str()).chain(parts.iter().map(|(_, part)| part.as_str())) {
            drop(sluice_durable::remove(&self.carrier.join(part)));
        }
    }
}
