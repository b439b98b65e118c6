//! Batches that come as messages (RFC 2442). The message is settled when all of its batch has been brought in.
//!
//! The batch is copied out of the message into the channel's own folder, under a name of the message, so that a delivery that is made again
//! goes on where the last one was.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_durable::Trouble;
use sluice_sdk::{Delivery, Outcome, Status, Worker};

use super::{Incoming, TURN_MAX};
use crate::work::{Fate, Work};
use crate::wrapped;

/// What must be left of the host's time for a delivery for its batch to go on.
const LEFT_MIN: Duration = Duration::from_secs(30);

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
        let id = format!("mail-{:013}-{}", delivery.arrived_ms(), delivery.id());
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
        self.read_taken()?;
        // Not `.whole`: what lies in our folder is looked at without a delivery, too.
        let batch = self.file(id, "batch");
        if !self.has_taken(id) {
            if !batch.exists() {
                if delivery.body_size() > self.limits.batch {
                    let why = format!("it has more than {} octets", self.limits.batch);
                    return Ok(Outcome::failed(Status::new(5, 3, 4), why));
                }
                let mut message = Vec::new();
                // It is in memory already, and reading from there does not fail.
                let _ = delivery.reader().read_to_end(&mut message);
                match wrapped::batch_of(&message) {
                    Ok(text) => sluice_durable::write(&batch, |out| out.write_all(&text))?,
                    Err(why) => return Ok(Outcome::failed(Status::new(5, 6, 1), why)),
                }
            }
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
            match fate {
                Fate::Done => self.remember(id)?,
                Fate::Bad(why) => {
                    self.clean(id)?;
                    return Ok(Outcome::failed(Status::new(5, 6, 0), format!("the batch in it: {why}")));
                }
                Fate::Later(why) => return Ok(Outcome::deferred(Status::new(4, 3, 0), why)),
                Fate::More | Fate::Gone => {
                    return Ok(Outcome::deferred(Status::new(4, 3, 2), "the batch in it is not done yet"));
                }
            }
        }
        self.clean(id)?;
        Ok(Outcome::delivered("its batch has been brought in"))
    }

    /// Removes what belongs to a batch that came by mail.
    fn clean(&self, id: &str) -> Result<(), Trouble> {
        ["record", "batch"].iter().try_for_each(|kind| sluice_durable::remove(&self.file(id, kind)))
    }
}
