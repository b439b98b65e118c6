//! Batches that come as messages (RFC 2442). The message is settled when all of its batch has been brought in.
//!
//! The batch is copied out of the message into the channel's own folder for as long as a delivery lasts. Its record stays there under a name
//! of the message, so that a delivery that is made again goes on where the last one was.
//!
//! # How long a record stays
//! Nobody says so when a message with half of its batch brought in is returned, deleted, or given away. Its record stays for [`RECORD_AGE_MAX`] after
//! the last line in it, and then goes. If the message is there all the same, say, because it was on hold, it must not begin anew: `mail-before`
//! has the time behind the latest arrival of those whose record has gone, and a message that arrived before it and has no record goes back to
//! its sender.

use std::fs;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sluice_durable::Trouble;
use sluice_sdk::{Delivery, Level, Outcome, Status, Worker};

use super::{Incoming, TURN_MAX};
use crate::work::{Fate, Work};
use crate::wrapped;

/// What must be left of the host's time for a delivery for its batch to go on.
const LEFT_MIN: Duration = Duration::from_secs(30);
/// How long a record stays that nobody goes on with: longer than messages wait anywhere.
const RECORD_AGE_MAX: Duration = Duration::from_secs(90 * 86_400);
/// How often records are looked at for their age.
const LOOK_INTERVAL: Duration = Duration::from_secs(86_400);
/// What the names of files begin with that belong to batches which came by mail; but a link can have such a name, too.
const PREFIX: &str = "mail-";

impl Incoming {
    /// Takes in the batch that a message holds (RFC 2442), until `stopping`.
    pub(crate) fn deliver(
        &self,
        worker: &Worker<'_>,
        delivery: &Delivery<'_>,
        stopping: &AtomicBool,
    ) -> Outcome {
        let later = |text: String| Outcome::deferred(Status::new(4, 3, 0), text);
        let _alone = match self.place.alone() {
            Ok(alone) => alone,
            Err(error) => return later(error.to_string()),
        };
        let id = format!("{PREFIX}{:013}-{}", delivery.arrived_ms(), delivery.id());
        match self.deliver_alone(worker, delivery, &id, stopping) {
            Ok(outcome) => outcome,
            Err(trouble) => later(trouble.to_string()),
        }
    }

    fn deliver_alone(
        &self,
        worker: &Worker<'_>,
        delivery: &Delivery<'_>,
        id: &str,
        stopping: &AtomicBool,
    ) -> Result<Outcome, Trouble> {
        self.begin()?;
        // Not `.whole`: what lies in our folder is looked at without a delivery, too.
        let batch = self.file(id, "batch");
        if !self.has_taken(id) {
            let is_begun = self.file(id, "record").exists();
            if !is_begun && delivery.arrived_ms() < self.mail_before()? {
                let days = RECORD_AGE_MAX.as_secs() / 86_400;
                let why = format!(
                    "it was not tried for {days} days: how far its batch has been brought in is not known any more"
                );
                return Ok(Outcome::failed(Status::new(5, 4, 7), why));
            }
            if !is_begun && delivery.body_size() > self.limits.batch {
                let why = format!("it has more than {} octets", self.limits.batch);
                return Ok(Outcome::failed(Status::new(5, 3, 4), why));
            }
            let mut message = Vec::new();
            // It is in memory already, and reading from there does not fail.
            let _ = delivery.reader().read_to_end(&mut message);
            match wrapped::batch_of(&message) {
                // One that is there was left by a crash.
                Ok(text) => sluice_durable::replace(&batch, |out| out.write_all(&text))?,
                Err(why) => return Ok(Outcome::failed(Status::new(5, 6, 1), why)),
            }
            drop(message);
            let work = Work {
                batch: &batch,
                record: self.file(id, "record"),
                name: delivery.id(),
                messages: None,
                limits: self.limits,
                host: &self.host,
                log: self.log,
            };
            let fate = loop {
                match work.go_on(worker, Instant::now() + TURN_MAX) {
                    Fate::More if !stopping.load(Ordering::Relaxed) && delivery.remaining() > LEFT_MIN => {}
                    fate => break fate,
                }
            };
            // The message has it, and the record fits it.
            sluice_durable::remove(&batch)?;
            match fate {
                Fate::Done => self.remember(id)?,
                Fate::Bad(why) => {
                    sluice_durable::remove(&self.file(id, "record"))?;
                    return Ok(Outcome::failed(Status::new(5, 6, 0), format!("the batch in it: {why}")));
                }
                Fate::Later(why) => return Ok(Outcome::deferred(Status::new(4, 3, 0), why)),
                Fate::More | Fate::Gone => {
                    return Ok(Outcome::deferred(Status::new(4, 3, 2), "the batch in it is not done yet"));
                }
            }
        }
        sluice_durable::remove(&self.file(id, "record"))?;
        Ok(Outcome::delivered("its batch has been brought in"))
    }

    /// Removes records whose messages will not come again. For who is alone in the folder.
    pub(super) fn remove_old_records(&self) -> Result<(), Trouble> {
        {
            let mut state = self.state();
            if state.looked_at_records.is_some_and(|at| at.elapsed() < LOOK_INTERVAL) {
                return Ok(());
            }
            state.looked_at_records = Some(Instant::now());
        }
        let Some(limit) = SystemTime::now().checked_sub(RECORD_AGE_MAX) else { return Ok(()) };
        let limit_ms = limit.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut old = Vec::new();
        for id in self.own("record")? {
            let Some(arrived_ms) = arrived_of(&id) else { continue };
            // A batch from the carrier, of a link of such a name: it goes on, however long it has waited.
            if self.file(&id, "whole").exists() {
                continue;
            }
            // By both clocks: one that was set wrongly for a while must not put the bound into the future.
            let written = fs::metadata(self.file(&id, "record")).and_then(|about| about.modified());
            if u128::from(arrived_ms) < limit_ms && written.is_ok_and(|at| at < limit) {
                old.push((arrived_ms, id));
            }
        }
        let Some(latest) = old.iter().map(|(arrived_ms, _)| *arrived_ms).max() else { return Ok(()) };
        // First: a record must not be gone while its message may still begin anew.
        if latest >= self.mail_before()? {
            let path = self.place.folder().join("mail-before");
            sluice_durable::replace(&path, |out| writeln!(out, "{}", latest + 1))?;
        }
        for (_, id) in old {
            self.log.write(
                Level::Info,
                &format!("the record of {id} is removed: its message has not come for long"),
            );
            sluice_durable::remove(&self.file(&id, "record"))?;
        }
        Ok(())
    }

    /// Messages that arrived before that time, in milliseconds since 1970, do not begin: their record may have been removed.
    fn mail_before(&self) -> Result<u64, Trouble> {
        let path = self.place.folder().join("mail-before");
        let trouble = |error| Trouble { what: "cannot read", path: path.clone(), error };
        match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| trouble(io::Error::new(io::ErrorKind::InvalidData, "it has no number in it"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(trouble(error)),
        }
    }
}

/// When the message arrived whose batch has this name.
fn arrived_of(id: &str) -> Option<u64> {
    id.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}
