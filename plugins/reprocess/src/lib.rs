//! Channel plugin: brings mail in again, so that its addresses are rewritten and its aliases expanded once more.
//!
//! The channels `process`, `reprocess` and `hold` of PMDF and Messaging Server, and `directory`, which would ask a directory before a
//! message goes on: here it goes on as it is. Mail of `reprocess` appears to come from the channel
//! that it first came in by; mail of the others from the channel itself. Mail of `hold` gets here when an operator has released it.
//!
//! # Invariants
//! A recipient is settled only after the new message is durable for it, so a stop at any moment loses nothing; one between
//! the two makes a second copy. Mail that goes in circles gets one `Received:` field more each time, and the hub puts it on
//! hold when there are too many.
//! # Failure
//! A recipient who is refused is settled as failed, which makes a notice to the sender. While the hub takes nothing, what
//! is here waits.
//! # Not here
//! Rewriting, aliases and access tables: the hub does that when the message comes in. Putting pieces of messages
//! together, converting parts of them: the channels `defragment` and `conversion` have plugins of their own.
#![forbid(unsafe_code)]

use sluice_sdk::{
    Channel, Context, CreateError, Delivery, Level, Next, NotTaken, OptionSpec, OptionWord, Options, Outcome,
    RunError, Status, Submission, Worker,
};
use std::time::Duration;

/// How long a worker sits in one call for the next delivery. It changes nothing that can be seen.
const WAIT: Duration = Duration::from_secs(60);
/// How often mail is tried that the hub would not take.
const AGAIN: Duration = Duration::from_secs(1);
/// So much mail may wait in a worker for the hub.
const WAITING_MAX: usize = 32;

/// What the option file may say.
#[derive(Debug, Options)]
struct Written {
    /// Which channel the mail appears to come from when it comes in again: `original` for the one that it first came in by, `own`
    /// for this one. Without it, `original` for `reprocess` and `reprocess_*`, and `own` for all others.
    appears_from: Option<From>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, OptionWord)]
enum From {
    Original,
    Own,
}

/// A channel whose mail comes in again.
#[derive(Debug)]
pub struct Reprocess {
    /// It appears to come from the channel that it first came in by.
    as_original: bool,
}

impl Channel for Reprocess {
    const NAME: &'static str = "reprocess";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "brings mail in again: addresses are rewritten, aliases expanded";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let written: Written = context.options()?;
        let name = context.channel();
        let as_original = match written.appears_from {
            Some(from) => from == From::Original,
            None => name == "reprocess" || name.starts_with("reprocess_"),
        };
        Ok(Reprocess { as_original })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        let mut waiting: Vec<Delivery<'_>> = Vec::new();
        loop {
            let next = if waiting.len() < WAITING_MAX {
                worker.next(if waiting.is_empty() { WAIT } else { AGAIN })
            } else {
                std::thread::sleep(AGAIN);
                Next::Idle
            };
            match next {
                Next::Delivery(delivery) => waiting.extend(self.again(worker, delivery)),
                Next::Idle | Next::Poll => {
                    let deliveries = std::mem::take(&mut waiting);
                    waiting
                        .extend(deliveries.into_iter().filter_map(|delivery| self.again(worker, delivery)));
                }
                // What waits goes back as it was.
                Next::Stop => return Ok(()),
            }
        }
    }
}

impl Reprocess {
    /// Brings a message in again and settles it. It comes back when the hub takes nothing at the moment.
    fn again<'w>(&self, worker: &Worker<'_>, delivery: Delivery<'w>) -> Option<Delivery<'w>> {
        let mut submission = Submission::again(&delivery);
        if self.as_original {
            submission = submission.as_original();
        }
        for recipient in delivery.recipients() {
            submission = submission.to_again(&recipient);
        }
        match worker.enqueue(&submission) {
            Ok(answers) => {
                for (recipient, answer) in delivery.take_recipients().zip(answers) {
                    recipient.settle(answer);
                }
                None
            }
            Err(NotTaken::Closed) => {
                drop(submission);
                Some(delivery)
            }
            Err(error) => {
                drop(submission);
                let why = format!("it cannot be brought in again: {error}");
                delivery.log(Level::Error, &why);
                delivery.settle_all(&Outcome::deferred(Status::new(4, 3, 5), why));
                None
            }
        }
    }
}

sluice_sdk::export_channel!(Reprocess);
