//! From deliveries to batches on the carrier.
//!
//! ```text
//! in the channel's own folder                          on the carrier
//! 00000017.open      grows, synced before anybody is settled
//!   │ full, or no more mail waits
//! 00000017.bsmtp     complete
//!   │ packed, described
//! 00000017.packed + 00000017.manifest ── copied ──► ship-00000017.bsmtp.gz[.001 …], then ship-00000017.manifest
//!   │ KEEP=0: on the carrier; KEEP=1: `.ack` of the other site (00000017.sent: when it was copied last)
//!  gone               `last` has its number
//! ```
//!
//! Numbers have no gaps: the next one is one more than the largest of `last` and of the files. What is copied a second time has
//! the same octets, since nothing in it depends on when it is made.

mod answers;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use sluice_durable::Trouble;
use sluice_mail::{Notify, RecipientWishes, Return, Wishes};
use sluice_sdk::{Delivery, Handover, Level, Log, Outcome, Status};

use crate::manifest::{self, Manifest};
use crate::place::{self, Later, Place};
use crate::text::{self, Envelope, Flags};
use crate::whole::{Counted, is_cut_so, whole_messages};

/// Room in which files are read and written.
const BUFFER: usize = 64 << 10;

/// What writes batches.
#[derive(Debug)]
pub(crate) struct Outgoing {
    carrier: PathBuf,
    answers: Option<PathBuf>,
    link: String,
    host: String,
    place: Place,
    messages_max: u64,
    size_max: u64,
    part_size: u64,
    compress: bool,
    keep: bool,
    dsn: bool,
    resend: Duration,
    retry: Duration,
    log: Log,
    later: Mutex<Later>,
    wait: Duration,
    /// When a message was put into the batch last, in this instance.
    last_put: Mutex<Option<Instant>>,
    /// The batch that grows as this instance has left it: its number, its octets, its messages. Read and written under the lock of the folder.
    left: Mutex<Option<(u64, u64, u64)>>,
    /// What a crash has left half written on the carrier has been removed since it came.
    tidied: AtomicBool,
}

/// The batch that grows.
struct Open {
    number: u64,
    file: File,
    messages: u64,
    size: u64,
}

impl Outgoing {
    pub(crate) fn new(
        written: &crate::Written,
        link: String,
        place: &Place,
        host: &str,
        log: Log,
    ) -> Option<Outgoing> {
        Some(Outgoing {
            carrier: written.out_dir.clone()?,
            // Of a channel that takes batches, too, the folder is for the answers that it writes.
            answers: written.answer_dir.clone().filter(|_| written.in_dir.is_none()),
            link,
            host: host.to_owned(),
            place: place.clone(),
            messages_max: written.batch_messages,
            size_max: written.batch_size,
            part_size: written.part_size,
            compress: written.compress,
            keep: written.keep,
            dsn: written.dsn,
            resend: written.resend_interval,
            retry: written.retry_interval,
            log,
            later: Mutex::default(),
            wait: written.batch_wait,
            last_put: Mutex::default(),
            left: Mutex::default(),
            tidied: AtomicBool::new(false),
        })
    }

    /// Puts messages into the batch, and settles them when they are on the disk.
    pub(crate) fn put(&self, deliveries: Vec<Delivery<'_>>) {
        let settle = |deliveries: Vec<Delivery<'_>>, outcome: &Outcome| {
            deliveries.into_iter().for_each(|delivery| delivery.settle_all(outcome));
        };
        if !self.carrier.is_dir() {
            let text = format!("the carrier is not there: {} is no folder", self.carrier.display());
            return settle(deliveries, &Outcome::deferred(Status::new(4, 4, 1), text));
        }
        // What the reader of a batch refuses must not come between others: the whole batch would be refused for it.
        let (mut left, odd): (Vec<_>, Vec<_>) =
            deliveries.into_iter().partition(|delivery| self.envelope(delivery).fits());
        let text = "an address of it cannot stand in a batch";
        settle(odd, &Outcome::failed(Status::new(5, 1, 3), text));
        while !left.is_empty() {
            let some = self.place.alone().map_err(|error| error.to_string()).and_then(|_alone| {
                let some = self.put_some(&left).map_err(|trouble| trouble.to_string());
                // Before another worker looks whether the batch has waited long enough.
                *self.last_put.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                some
            });
            match some {
                Ok((number, count)) => {
                    let batch = manifest::stem(&self.link, number);
                    // Whoever is told what the sender wishes answers for that, too.
                    let handover = if self.dsn { Handover::PassedOn } else { Handover::Relayed };
                    let outcome = Outcome::delivered(format!("in batch {batch}")).handed_over(handover);
                    let rest = left.split_off(count.max(1).min(left.len()));
                    settle(left, &outcome);
                    left = rest;
                }
                Err(text) => return settle(left, &Outcome::deferred(Status::new(4, 3, 0), text)),
            }
        }
    }

    /// The envelope of a message as it stands in a batch.
    fn envelope(&self, delivery: &Delivery<'_>) -> Envelope {
        let flags = Flags { eight_bit: delivery.eight_bit(), smtputf8: delivery.smtputf8() };
        let mut wishes = Wishes::default();
        if self.dsn {
            wishes.returned = Return::from_number(delivery.returned()).flatten();
            delivery.envelope_id().clone_into(&mut wishes.envelope_id);
        }
        let to = delivery.recipients().map(|to| {
            let mut wishes = RecipientWishes::default();
            if self.dsn {
                wishes.notify = Notify::from_bits(to.notify).unwrap_or_default();
                to.origin.clone_into(&mut wishes.original);
            }
            (to.address.to_owned(), wishes)
        });
        Envelope::new(delivery.sender(), flags, &wishes, to)
    }

    /// Puts as many as fit into the batch. Gives its number and how many they were, at least one.
    fn put_some(&self, deliveries: &[Delivery<'_>]) -> Result<(u64, usize), Trouble> {
        let mut open = self.open()?;
        *self.left() = None;
        let before = (open.messages, open.size);
        let path = self.file(open.number, "open");
        let (mut count, mut out) =
            (0, BufWriter::with_capacity(BUFFER, Counted { file: &open.file, octets: 0 }));
        let written = (|| {
            for delivery in deliveries {
                let size = before.1 + out.get_ref().octets + out.buffer().len() as u64;
                let full = before.0 + count as u64 >= self.messages_max || size >= self.size_max;
                if full && count > 0 {
                    break;
                }
                text::write_message(&mut out, &self.envelope(delivery), delivery.pieces())?;
                count += 1;
            }
            out.flush()?;
            out.get_ref().file.sync_data()
        })();
        let octets = out.get_ref().octets;
        drop(out.into_parts());
        if let Err(error) = written {
            // Half a message must not stay in front of whole ones. If this fails too, the next look finds the end of the last whole one.
            let _ = open.file.set_len(before.1).and_then(|()| open.file.sync_data());
            return Err(Trouble { what: "cannot write", path, error });
        }
        open.messages += count as u64;
        open.size += octets;
        if open.messages >= self.messages_max || open.size >= self.size_max {
            let number = open.number;
            // What is in it is safe; if this fails, the next look tries again.
            if let Err(trouble) = self.close(&open) {
                self.say("close", trouble.to_string());
            }
            return Ok((number, count));
        }
        *self.left() = Some((open.number, open.size, open.messages));
        Ok((open.number, count))
    }

    fn left(&self) -> std::sync::MutexGuard<'_, Option<(u64, u64, u64)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch that grows, or a new one.
    fn open(&self) -> Result<Open, Trouble> {
        let numbers = self.numbers()?;
        if let Some((number, _)) = numbers.iter().find(|(_, kind)| kind == "open") {
            return self.recover(*number);
        }
        let number = numbers.iter().map(|(number, _)| *number).max().unwrap_or(0).max(self.last()?) + 1;
        let path = self.file(number, "open");
        sluice_durable::write(&path, |out| text::write_head(out, &self.host))?;
        self.recover(number)
    }

    /// Opens a batch that grows, and cuts off what a crash has left behind the last whole message.
    fn recover(&self, number: u64) -> Result<Open, Trouble> {
        let path = self.file(number, "open");
        let trouble = |what| move |error| Trouble { what, path: self.file(number, "open"), error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(trouble("cannot open"))?;
        let size = file.metadata().map_err(trouble("cannot look at"))?.len();
        // What this instance has left needs no second look, which would cost by all that is in the batch.
        let (messages, end) = match *self.left() {
            Some((known, octets, messages)) if (known, octets) == (number, size) => (messages, octets),
            _ => whole_messages(&file).map_err(trouble("cannot read"))?,
        };
        if end < size {
            file.set_len(end).and_then(|()| file.sync_all()).map_err(trouble("cannot cut"))?;
        }
        file.seek(SeekFrom::End(0)).map_err(trouble("cannot read"))?;
        Ok(Open { number, file, messages, size: end })
    }

    /// Ends a batch: from now on nothing is added to it.
    fn close(&self, open: &Open) -> Result<(), Trouble> {
        let path = self.file(open.number, "open");
        let mut file = &open.file;
        let ended = text::write_end(&mut file).and_then(|()| open.file.sync_all());
        ended.map_err(|error| Trouble { what: "cannot write", path: path.clone(), error })?;
        sluice_durable::rename(&path, &self.file(open.number, "bsmtp"))
    }

    /// Completes the batch that has grown, if it has messages and has waited long enough, or `now`; copies to the carrier what is not
    /// there yet; reads answers.
    pub(crate) fn look(&self, now: bool) {
        let alone = match self.place.alone() {
            Ok(alone) => alone,
            Err(error) => return self.say("lock", error.to_string()),
        };
        let last = *self.last_put.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = now || last.is_none_or(|at| at.elapsed() >= self.wait);
        if let Err(trouble) = self.look_alone(waited) {
            self.say("look", trouble.to_string());
        }
        drop(alone);
    }

    fn look_alone(&self, waited: bool) -> Result<(), Trouble> {
        let numbers = self.numbers()?;
        if let Some((number, _)) = numbers.iter().find(|(_, kind)| kind == "open").filter(|_| waited) {
            let open = self.recover(*number)?;
            if open.messages > 0 {
                self.close(&open)?;
            }
        }
        for (number, _) in self.numbers()?.iter().filter(|(_, kind)| kind == "bsmtp") {
            // Others go on: what is wrong with one may be its own file.
            match self.pack(*number) {
                Ok(()) => self.forget(&format!("batch {number}")),
                Err(trouble) => self.say(&format!("batch {number}"), trouble.to_string()),
            }
        }
        self.read_answers();
        if !self.carrier.is_dir() {
            self.tidied.store(false, Ordering::Relaxed);
            if self.numbers()?.iter().any(|(_, kind)| kind == "packed") {
                self.say(
                    "carrier",
                    format!("batches wait for the carrier: {} is no folder", self.carrier.display()),
                );
            }
            return Ok(());
        }
        self.forget("carrier");
        if !self.tidied.swap(true, Ordering::Relaxed) {
            place::tidy([Some(&*self.carrier), self.answers.as_deref()], self.log);
        }
        for (number, _) in self.numbers()?.iter().filter(|(_, kind)| kind == "packed") {
            if self.is_due(*number) {
                match self.copy(*number) {
                    Ok(()) => self.forget(&format!("batch {number}")),
                    Err(trouble) => self.say(&format!("batch {number}"), trouble.to_string()),
                }
            }
        }
        Ok(())
    }

    /// Compresses a complete batch and describes it.
    fn pack(&self, number: u64) -> Result<(), Trouble> {
        let plain = self.file(number, "bsmtp");
        let read = |error| Trouble { what: "cannot read", path: plain.clone(), error };
        let file = File::open(&plain).map_err(read)?;
        let (messages, _) = whole_messages(&file).map_err(read)?;
        let packed = self.file(number, "packed");
        sluice_durable::replace(&packed, |out| {
            let mut from = File::open(&plain)?;
            if !self.compress {
                return io::copy(&mut from, out).map(|_| ());
            }
            // No time and no name in it: packed again, it has the same octets.
            let mut gzip = GzBuilder::new().write(out, Compression::default());
            io::copy(&mut from, &mut gzip)?;
            gzip.finish().map(|_| ())
        })?;
        let manifest = self.describe(number, messages, &packed)?;
        sluice_durable::replace(&self.file(number, "manifest"), |out| {
            out.write_all(manifest.text().as_bytes())
        })?;
        sluice_durable::remove(&plain)
    }

    fn describe(&self, number: u64, messages: u64, packed: &Path) -> Result<Manifest, Trouble> {
        let read = |error| Trouble { what: "cannot read", path: packed.to_owned(), error };
        let mut file = File::open(packed).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        let suffix = if self.compress { ".bsmtp.gz" } else { ".bsmtp" };
        let name = format!("{}{suffix}", manifest::stem(&self.link, number));
        let part_size = self.part_size_of(size);
        let cut = size > part_size;
        let (mut whole, mut parts, mut buffer) = (Sha256::new(), Vec::new(), vec![0; BUFFER]);
        loop {
            let (mut sum, mut taken) = (Sha256::new(), 0u64);
            while taken < part_size {
                let most = usize::try_from(part_size - taken).unwrap_or(BUFFER).min(BUFFER);
                let count = file.read(&mut buffer[..most]).map_err(read)?;
                if count == 0 {
                    break;
                }
                whole.update(&buffer[..count]);
                sum.update(&buffer[..count]);
                taken += count as u64;
            }
            if taken == 0 && !parts.is_empty() {
                break;
            }
            let part = if cut { format!("{name}.{:03}", parts.len() + 1) } else { name.clone() };
            parts.push((digits(&sum.finalize()), part));
            if taken < part_size {
                break;
            }
        }
        Ok(Manifest { link: self.link.clone(), number, messages, whole: digits(&whole.finalize()), parts })
    }

    /// Octets of one part of a batch of this size. A batch of a million parts would be of no use to anybody.
    fn part_size_of(&self, size: u64) -> u64 {
        let least = size.div_ceil(manifest::PARTS_MAX as u64);
        if self.part_size == 0 { u64::MAX } else { self.part_size.max(least) }
    }

    /// Whether a batch is to be copied to the carrier: it never was, or it was long ago and is not there any more.
    fn is_due(&self, number: u64) -> bool {
        let sent = fs::metadata(self.file(number, "sent")).and_then(|about| about.modified());
        let Ok(sent) = sent else { return true };
        let ago = SystemTime::now().duration_since(sent).unwrap_or_default();
        let there = self.carrier.join(format!("{}.manifest", manifest::stem(&self.link, number)));
        ago >= self.resend && !there.exists()
    }

    /// Copies a batch to the carrier, its manifest last.
    fn copy(&self, number: u64) -> Result<(), Trouble> {
        let text = self.manifest_text(number)?;
        let name = format!("{}.manifest", manifest::stem(&self.link, number));
        let packed = self.file(number, "packed");
        let read = |error| Trouble { what: "cannot read", path: packed.clone(), error };
        let mut file = File::open(&packed).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        let part_size = self.part_size_of(size);
        let known = match Manifest::parse(&text, &name) {
            Ok(manifest) if is_cut_so(&file, size, part_size, &manifest).map_err(read)? => Ok(manifest),
            Ok(_) => Err("PART_SIZE is another one now".to_owned()),
            // Our own file is damaged, or the link was renamed.
            Err(why) => Err(why),
        };
        let manifest = match known {
            Ok(manifest) => manifest,
            Err(why) => {
                self.log
                    .write(Level::Warn, &format!("the manifest of batch {number} is written again: {why}"));
                let messages = text.lines().find_map(|line| line.strip_prefix("# messages: ")?.parse().ok());
                let manifest = self.describe(number, messages.unwrap_or(0), &packed)?;
                // It is the same batch by its sum, and answers to it are compared with this.
                sluice_durable::replace(&self.file(number, "manifest"), |out| {
                    out.write_all(manifest.text().as_bytes())
                })?;
                manifest
            }
        };
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        for (sum, part) in &manifest.parts {
            let path = self.carrier.join(part);
            let mut found = Sha256::new();
            sluice_durable::replace(&path, |out| {
                let (mut left, mut buffer) = (part_size, vec![0; BUFFER]);
                while left > 0 {
                    let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
                    let count = file.read(&mut buffer[..most])?;
                    if count == 0 {
                        break;
                    }
                    found.update(&buffer[..count]);
                    out.write_all(&buffer[..count])?;
                    left -= count as u64;
                }
                Ok(())
            })?;
            if digits(&found.finalize()) != *sum {
                let error = io::Error::new(io::ErrorKind::InvalidData, "it is not what its manifest says");
                return Err(Trouble { what: "cannot copy", path: packed.clone(), error });
            }
        }
        sluice_durable::replace(&self.carrier.join(&name), |out| out.write_all(manifest.text().as_bytes()))?;
        let (messages, parts) = (manifest.messages, manifest.parts.len());
        let stem = manifest::stem(&self.link, number);
        self.log.write(Level::Info, &format!("batch {stem} written: {messages} messages, {parts} files"));
        if self.keep {
            return sluice_durable::replace(&self.file(number, "sent"), |_| Ok(()));
        }
        self.drop_batch(number)
    }

    /// Forgets a batch: it is on the carrier, or has arrived.
    fn drop_batch(&self, number: u64) -> Result<(), Trouble> {
        let last = self.last()?.max(number);
        sluice_durable::replace(&self.place.folder().join("last"), |out| writeln!(out, "{last}"))?;
        for kind in ["packed", "sent", "manifest"] {
            sluice_durable::remove(&self.file(number, kind))?;
        }
        Ok(())
    }

    fn manifest_text(&self, number: u64) -> Result<String, Trouble> {
        let path = self.file(number, "manifest");
        fs::read_to_string(&path).map_err(|error| Trouble { what: "cannot read", path, error })
    }

    /// Number and kind of each file of a batch in the channel's folder.
    fn numbers(&self) -> Result<Vec<(u64, String)>, Trouble> {
        let names = sluice_durable::names(self.place.folder(), usize::MAX)?;
        let read = |name: &std::ffi::OsString| {
            let (number, kind) = name.to_str()?.split_once('.')?;
            Some((number.parse().ok()?, kind.to_owned()))
        };
        Ok(names.iter().filter_map(read).collect())
    }

    /// The largest number that was forgotten.
    fn last(&self) -> Result<u64, Trouble> {
        let path = self.place.folder().join("last");
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let error =
                    io::Error::new(io::ErrorKind::InvalidData, "it must hold the number of the last batch");
                Trouble { what: "cannot read", path, error }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Trouble { what: "cannot read", path, error }),
        }
    }

    fn file(&self, number: u64, kind: &str) -> PathBuf {
        self.place.folder().join(format!("{number:08}.{kind}"))
    }

    fn forget(&self, about: &str) {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).forget(about);
    }

    fn say(&self, about: &str, why: String) {
        let said = self.later.lock().unwrap_or_else(PoisonError::into_inner).wait(about, self.retry, why);
        if let Some(why) = said {
            self.log.write(Level::Warn, &why);
        }
    }
}

/// Octets as hexadecimal digits.
pub(crate) fn digits(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
