//! From files that somebody has brought to messages.
//!
//! ```text
//! on the carrier                                        in the channel's own folder `in`
//! ship-00000017.manifest, and all that it names
//!   │ every part there and undamaged ── copied ──────►  ship-00000017.whole, .manifest
//!   │                                                     │ message by message (`work`): .record
//! removed, or DONE_DIR   ◄───────────────────────────── `taken` has a line: it is never taken again
//! ship-00000017.ack      ◄───────────────────────────── ship-00000017.ack.owed, until the carrier is there
//! ```
//!
//! A part that is missing or damaged is asked for by name (`.want`), and the batch waits; others go on. A number that is skipped is asked
//! for, too. A file that no manifest belongs to, `*.bsmtp` or `*.bsmtp.gz`, is a batch that somebody has made by hand: it is taken as it is.
//!
//! A batch is known by its number and its checksum: a site that has lost its state and begins with 1 again is heard.

mod answers;
mod by_hand;
mod by_mail;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sluice_durable::{Trouble, Unread};
use sluice_sdk::{CreateError, Level, Log, Worker};

use by_hand::id_by_hand;

use crate::More;
use crate::manifest::{self, Manifest};
use crate::outgoing::digits;
use crate::place::{self, Later, Place};
use crate::taken::Taken;
use crate::text::Limits;
use crate::work::{Fate, Work};

/// Entries of the folder that are looked at in one go.
const NAMES_MAX: usize = 100_000;
/// How long messages are brought in before the host is asked again: a hub that stops has promised to do so within ten seconds.
const TURN_MAX: Duration = Duration::from_secs(4);
/// Room in which files are copied.
const BUFFER: usize = 64 << 10;

/// What takes batches in.
#[derive(Debug)]
pub(crate) struct Incoming {
    carrier: PathBuf,
    answers: Option<PathBuf>,
    done: Option<PathBuf>,
    bad: PathBuf,
    place: Place,
    limits: Limits,
    retry: Duration,
    host: String,
    log: Log,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    later: Later,
    /// What `taken` has; read when it is needed first.
    taken: Option<Taken>,
    /// When records of batches that came by mail were looked at for their age.
    looked_at_records: Option<Instant>,
    /// What a crash has left half written on the carrier has been removed since it came.
    tidied: bool,
}

/// What a batch that lies in our own folder is.
#[derive(Debug)]
enum Source {
    Described(Manifest),
    /// Made by hand: the name of its file.
    ByHand(String),
}

impl Incoming {
    pub(crate) fn new(
        written: &crate::Written,
        place: &Place,
        host: &str,
        log: Log,
    ) -> Result<Option<Incoming>, CreateError> {
        let Some(carrier) = written.in_dir.clone() else { return Ok(None) };
        let place = place.below("in").map_err(|trouble| CreateError::failed(trouble.to_string()))?;
        Ok(Some(Incoming {
            answers: written.answer_dir.clone(),
            done: written.done_dir.clone(),
            bad: written.bad_dir.clone().unwrap_or_else(|| carrier.join("bad")),
            carrier,
            place,
            limits: Limits { message: written.message_size_max, batch: written.batch_size_max },
            retry: written.retry_interval,
            host: host.to_owned(),
            log,
            state: Mutex::default(),
        }))
    }

    /// Takes in what has been brought.
    pub(crate) fn look(&self, worker: &Worker<'_>) -> More {
        let _alone = match self.place.alone() {
            Ok(alone) => alone,
            Err(error) => {
                self.wait("lock", error.to_string());
                return More::No;
            }
        };
        let until = Instant::now() + TURN_MAX;
        match self.look_alone(worker, until) {
            Ok(more) => more,
            Err(trouble) => {
                self.wait("look", trouble.to_string());
                More::No
            }
        }
    }

    fn look_alone(&self, worker: &Worker<'_>, until: Instant) -> Result<More, Trouble> {
        self.begin()?;
        // What was begun goes first: it needs no carrier.
        for name in self.own("whole")? {
            match self.go_on(worker, &name, until).unwrap_or_else(|trouble| self.put_off(&name, &trouble)) {
                More::No => {}
                more => return Ok(more),
            }
        }
        self.answer()?;
        if !self.carrier.is_dir() {
            self.state().tidied = false;
            self.wait(
                "carrier",
                format!("the carrier is not there: {} is no folder", self.carrier.display()),
            );
            return Ok(More::No);
        }
        self.forget("carrier");
        if !std::mem::replace(&mut self.state().tidied, true) {
            place::tidy([Some(&*self.bad), self.answers.as_deref()], self.log);
        }
        let names = sluice_durable::names(&self.carrier, NAMES_MAX)?;
        let names: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
        // Before later ones are taken: the largest number that was taken tells then what was skipped.
        self.ask_for_missing(&names)?;
        for name in &names {
            if self.waits(name) {
                continue;
            }
            match self.take(worker, name, until).unwrap_or_else(|trouble| self.put_off(name, &trouble)) {
                More::No => {}
                more => return Ok(more),
            }
            if Instant::now() >= until {
                return Ok(More::Yes);
            }
        }
        self.answer()?;
        Ok(More::No)
    }

    /// What one name on the carrier calls for.
    fn take(&self, worker: &Worker<'_>, name: &str, until: Instant) -> Result<More, Trouble> {
        let lower = name.to_ascii_lowercase();
        let id = match manifest::parts_of(name) {
            Some((_, _, ".manifest")) => self.fetch(name)?,
            None if lower.ends_with(".bsmtp") || lower.ends_with(".bsmtp.gz") => self.fetch_plain(name)?,
            _ => None,
        };
        id.map_or(Ok(More::No), |id| self.go_on(worker, &id, until))
    }

    /// A batch with which something is wrong waits, and others go on.
    fn put_off(&self, name: &str, trouble: &Trouble) -> More {
        self.wait(name, format!("{name} waits: {trouble}"));
        More::No
    }

    /// Copies a batch to our own disk. Gives its name there if it is to be brought in now.
    fn fetch(&self, name: &str) -> Result<Option<String>, Trouble> {
        let path = self.carrier.join(name);
        let text = match sluice_durable::read(&path, manifest::SIZE_MAX) {
            Ok(text) => text,
            Err(Unread::Failed(trouble)) if trouble.is_missing() => return Ok(None),
            Err(Unread::Failed(trouble)) => return Err(trouble),
            Err(why) => {
                self.put_bad(&[name.to_owned()], &why.to_string())?;
                return Ok(None);
            }
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let manifest = match Manifest::parse(&text, name) {
            Ok(manifest) => manifest,
            Err(why) => {
                self.put_bad(&[name.to_owned()], &why)?;
                return Ok(None);
            }
        };
        let stem = manifest::stem(&manifest.link, manifest.number);
        if self.has_taken(&key(&manifest)) {
            // Its answer was lost, or it was brought twice.
            self.owe(&stem, "ack", &ack(&manifest))?;
            self.clear(&carrier_names(&manifest))?;
            return Ok(None);
        }
        if self.file(&stem, "whole").exists() {
            return Ok(None);
        }
        let mut lacks = Vec::new();
        let mut size = 0u64;
        let mut whole = Sha256::new();
        let copied = sluice_durable::write(&self.file(&stem, "whole"), |out| {
            for (sum, part) in &manifest.parts {
                match self.copy_part(part, sum, &mut whole, out, &mut size) {
                    Ok(true) => {}
                    Ok(false) => lacks.push(part.clone()),
                    Err(error) => return Err(error),
                }
                if size > self.limits.batch {
                    return Err(io::Error::other("too large"));
                }
            }
            match lacks.is_empty() {
                true => sluice_durable::replace(&self.file(&stem, "manifest"), |out| {
                    out.write_all(text.as_bytes())
                })
                .map_err(|trouble| trouble.error),
                false => Err(io::Error::other("parts are missing")),
            }
        });
        if size > self.limits.batch {
            let why = format!("it has more than {} octets", self.limits.batch);
            self.remember_refused(&key(&manifest))?;
            self.refuse(&manifest, &why)?;
            return Ok(None);
        }
        if !lacks.is_empty() {
            let what = lacks.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            let why = format!("batch {stem} waits: missing or damaged: {what}");
            if self.wait(name, why) {
                self.owe(&stem, "want", &format!("# whole: {}\n{}\n", manifest.whole, lacks.join("\n")))?;
            }
            return Ok(None);
        }
        copied?;
        if digits(&whole.finalize()) != manifest.whole {
            sluice_durable::remove(&self.file(&stem, "whole"))?;
            self.remember_refused(&key(&manifest))?;
            self.refuse(&manifest, "its parts are right, and together they are not what the manifest says")?;
            return Ok(None);
        }
        Ok(Some(stem))
    }

    /// Copies a part. `false`: it is missing, or not what it should be.
    fn copy_part(
        &self,
        part: &str,
        sum: &str,
        whole: &mut Sha256,
        out: &mut dyn Write,
        size: &mut u64,
    ) -> io::Result<bool> {
        let mut file = match sluice_durable::open(&self.carrier.join(part)) {
            Ok((file, _)) => file,
            Err(Unread::Failed(trouble)) if !trouble.is_missing() => return Err(trouble.error),
            Err(_) => return Ok(false),
        };
        let (mut found, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
        loop {
            // A medium that cannot be read there has a damaged part.
            let count = match file.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(false),
            };
            if count == 0 || *size > self.limits.batch {
                break;
            }
            *size += count as u64;
            found.update(&buffer[..count]);
            whole.update(&buffer[..count]);
            out.write_all(&buffer[..count])?;
        }
        Ok(digits(&found.finalize()) == sum)
    }

    /// Brings in a batch that lies in our own folder, and puts everything where it belongs.
    fn go_on(&self, worker: &Worker<'_>, id: &str, until: Instant) -> Result<More, Trouble> {
        if self.waits(id) {
            return Ok(More::No);
        }
        let source = match self.source(id) {
            Ok(source) => source,
            Err(why) => {
                self.wait(id, format!("batch {id} waits: {why}"));
                return Ok(More::No);
            }
        };
        let whole = self.file(id, "whole");
        let fate = if self.has_taken(&source.key(id)) {
            // A stop came between the last message and the cleaning up.
            Fate::Done
        } else {
            let work = Work {
                batch: &whole,
                record: self.file(id, "record"),
                name: id,
                messages: match &source {
                    Source::Described(manifest) => Some(manifest.messages),
                    Source::ByHand(_) => None,
                },
                limits: self.limits,
                host: &self.host,
                log: self.log,
            };
            work.go_on(worker, until)
        };
        match fate {
            Fate::Done => {
                self.remember(&source.key(id))?;
                if let Source::Described(manifest) = &source {
                    self.owe(id, "ack", &ack(manifest))?;
                }
                // Another batch of that name, which nobody has read, may have come meanwhile.
                if self.is_on_carrier(&source, id) {
                    self.clear(&source.carrier_names())?;
                }
                self.log.write(Level::Info, &format!("batch {} has been brought in", source.name(id)));
            }
            Fate::Bad(why) => {
                // As above: what nobody has read is not put among the bad ones for the reason of another.
                let is_there = self.is_on_carrier(&source, id);
                self.remember_refused(&source.key(id))?;
                if let Source::Described(manifest) = &source {
                    self.owe_refusal(manifest, &why)?;
                }
                let names = source.carrier_names();
                match is_there {
                    true => self.put_bad(&names, &why)?,
                    false => self.say_bad(&names, &why),
                }
                self.remove_own(id)?;
            }
            Fate::Later(why) => {
                self.wait(id, format!("batch {} waits: {why}", source.name(id)));
                return Ok(More::No);
            }
            Fate::More => return Ok(More::Yes),
            Fate::Gone => return Ok(More::Gone),
        }
        self.forget(id);
        self.remove_own(id)?;
        self.answer()?;
        Ok(if Instant::now() >= until { More::Yes } else { More::No })
    }

    /// Removes our own files of a batch.
    fn remove_own(&self, id: &str) -> Result<(), Trouble> {
        for kind in ["record", "whole", "manifest"] {
            sluice_durable::remove(&self.file(id, kind))?;
        }
        Ok(())
    }

    fn source(&self, id: &str) -> Result<Source, String> {
        let path = self.file(id, "manifest");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if let Some(name) = text.strip_prefix("by hand: ") {
            return Ok(Source::ByHand(name.trim_end_matches('\n').to_owned()));
        }
        Manifest::parse(&text, &format!("{id}.manifest")).map(Source::Described)
    }

    /// Whether what the carrier has by that name is this batch.
    fn is_on_carrier(&self, source: &Source, id: &str) -> bool {
        match source {
            Source::Described(manifest) => {
                let name = format!("{id}.manifest");
                let text = sluice_durable::read(&self.carrier.join(&name), manifest::SIZE_MAX);
                text.is_ok_and(|text| {
                    let there = Manifest::parse(&String::from_utf8_lossy(&text), &name);
                    there.is_ok_and(|there| there.whole == manifest.whole)
                })
            }
            Source::ByHand(name) => {
                let opened = sluice_durable::open(&self.carrier.join(name));
                opened.is_ok_and(|(file, size)| {
                    size <= self.limits.batch && id_by_hand(&file, size).is_ok_and(|there| there == id)
                })
            }
        }
    }

    /// Refuses a batch: its files go to the bad ones, and the other site is told.
    fn refuse(&self, manifest: &Manifest, why: &str) -> Result<(), Trouble> {
        self.owe_refusal(manifest, why)?;
        self.put_bad(&carrier_names(manifest), why)
    }

    fn owe_refusal(&self, manifest: &Manifest, why: &str) -> Result<(), Trouble> {
        let stem = manifest::stem(&manifest.link, manifest.number);
        let whole = &manifest.whole;
        self.owe(&stem, "refused", &format!("# whole: {whole}\n{}\n", why.replace(char::is_control, " ")))
    }

    /// Puts files of the carrier among the bad ones, the reason beside the first.
    fn put_bad(&self, names: &[String], why: &str) -> Result<(), Trouble> {
        let mut told = false;
        // Where no carrier is, no folder is made in its place.
        let there = self.carrier.is_dir();
        for name in names.iter().filter(|_| there) {
            let new = match sluice_durable::put_away(&self.carrier.join(name), &self.bad) {
                Ok(new) => new,
                Err(trouble) if trouble.is_missing() => continue,
                Err(trouble) => return Err(trouble),
            };
            if !told {
                told = true;
                let mut beside = new.as_os_str().to_owned();
                beside.push(".reason");
                sluice_durable::replace(Path::new(&beside), |out| writeln!(out, "{why}"))?;
            }
        }
        self.say_bad(names, why);
        Ok(())
    }

    fn say_bad(&self, names: &[String], why: &str) {
        let first = names.first().map_or("", String::as_str);
        self.log.write(Level::Error, &format!("{first} is not taken in: {why}"));
    }

    /// Takes files from the carrier whose batch has been taken in.
    fn clear(&self, names: &[String]) -> Result<(), Trouble> {
        if !self.carrier.is_dir() {
            // It has gone already; when it comes back its batches are known.
            return Ok(());
        }
        // The manifest last: as long as it is there, the rest is found again.
        for name in names.iter().rev() {
            let path = self.carrier.join(name);
            let cleared = match &self.done {
                Some(folder) => sluice_durable::put_away(&path, folder).map(|_| ()),
                None => sluice_durable::remove(&path),
            };
            match cleared {
                Err(trouble) if !trouble.is_missing() => return Err(trouble),
                _ => {}
            }
        }
        Ok(())
    }

    /// Names in our own folder that end like this, without the end.
    fn own(&self, kind: &str) -> Result<Vec<String>, Trouble> {
        let suffix = format!(".{kind}");
        let names = sluice_durable::names(self.place.folder(), usize::MAX)?;
        Ok(names.iter().filter_map(|name| Some(name.to_str()?.strip_suffix(&suffix)?.to_owned())).collect())
    }

    fn file(&self, id: &str, kind: &str) -> PathBuf {
        self.place.folder().join(format!("{id}.{kind}"))
    }

    /// What comes before anything else, for who is alone in the folder: what is known is read, and what a crash has left is removed.
    fn begin(&self) -> Result<(), Trouble> {
        if self.state().taken.is_none() {
            let taken = Taken::read(self.place.folder())?;
            self.remove_leftovers()?;
            self.state().taken = Some(taken);
        }
        self.remove_old_records()
    }

    /// Nobody is at work on these: a batch that was copied out of a message, and a manifest whose batch did not come after it.
    fn remove_leftovers(&self) -> Result<(), Trouble> {
        for id in self.own("batch")? {
            sluice_durable::remove(&self.file(&id, "batch"))?;
        }
        for id in self.own("manifest")?.iter().filter(|id| !self.file(id, "whole").exists()) {
            sluice_durable::remove(&self.file(id, "manifest"))?;
        }
        Ok(())
    }

    fn remember(&self, key: &str) -> Result<(), Trouble> {
        match &mut self.state().taken {
            Some(taken) => taken.add(key),
            None => Ok(()),
        }
    }

    /// Writes down that a batch was refused: its number is not asked for again, and it does not count as taken. When it is brought once
    /// more it is looked at once more; the limits may be others by then.
    fn remember_refused(&self, key: &str) -> Result<(), Trouble> {
        self.remember(&format!("{key} refused"))
    }

    fn has_taken(&self, key: &str) -> bool {
        self.state().taken.as_ref().is_some_and(|taken| taken.has(key))
    }

    fn last_of(&self, link: &str) -> Option<u64> {
        self.state().taken.as_ref()?.last_of(link)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self, name: &str) -> bool {
        self.state().later.waits(name)
    }

    /// Puts something off. `true` when the reason is new, and has been said.
    fn wait(&self, name: &str, why: String) -> bool {
        let said = self.state().later.wait(name, self.retry, why);
        if let Some(why) = &said {
            self.log.write(Level::Warn, why);
        }
        said.is_some()
    }

    fn forget(&self, name: &str) {
        self.state().later.forget(name);
    }
}

impl Source {
    fn key(&self, id: &str) -> String {
        match self {
            Source::Described(manifest) => key(manifest),
            Source::ByHand(_) => id.to_owned(),
        }
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        match self {
            Source::Described(_) => id,
            Source::ByHand(name) => name,
        }
    }

    fn carrier_names(&self) -> Vec<String> {
        match self {
            Source::Described(manifest) => carrier_names(manifest),
            Source::ByHand(name) => vec![name.clone()],
        }
    }
}

/// By what a batch is known.
fn key(manifest: &Manifest) -> String {
    format!("{} {}", manifest::stem(&manifest.link, manifest.number), manifest.whole)
}

/// The files of a batch, its manifest first.
fn carrier_names(manifest: &Manifest) -> Vec<String> {
    let first = format!("{}.manifest", manifest::stem(&manifest.link, manifest.number));
    std::iter::once(first).chain(manifest.parts.iter().map(|(_, name)| name.clone())).collect()
}

fn ack(manifest: &Manifest) -> String {
    format!("# whole: {}\n{} messages\n", manifest.whole, manifest.messages)
}
