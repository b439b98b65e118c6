//! Channel plugin: keeps copies of mail, in folders or by sending them to an address, and lets the mail itself go on.
//!
//! Mail comes to the channel by rewrite rules, on its way to where it belongs, and comes in again when its copies are safe, as from the
//! channel `reprocess`. Or only copies come to it, behind an alias; then they end here.
//!
//! # Reading order
//! `rules`: which mail is kept where. `keeping`: a copy in a folder.
//! # Invariants
//! A recipient is settled, and the mail goes on, only when every copy that the rules want is on the disk or in the hub's queue. The mail itself
//! is not changed but for the `Received:` field that it gets whenever it comes in.
//! # Failure
//! A copy that cannot be made now defers the mail. A crash makes no second copy in a folder; it may send one twice.
//! # Not here
//! Which mail comes to this channel, and where it goes from here: rewrite rules say both.
#![forbid(unsafe_code)]

mod keeping;
mod rules;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_sdk::{
    Channel, Context, CreateError, Delivery, Level, Next, NotTaken, OptionSpec, OptionWord, Options, Outcome,
    RunError, Status, Submission, Worker,
};

use keeping::Keeping;
use rules::{Rules, Target};

/// The channel's option file.
#[derive(Debug, Options)]
struct Written {
    /// The folder for copies of mail that no rule of RULES speaks about. `%Y`, `%m` and `%d` stand for year, month and day of its arrival
    /// (UTC). Without it such mail is not kept. A relative path starts from the folder of the configuration.
    archive_dir: Option<PathBuf>,
    /// A file of rules: a pattern for the sender, one for the recipient, and where copies go. Without it everything goes into
    /// ARCHIVE_DIR.
    rules: Option<PathBuf>,
    /// What becomes of the mail itself: `on`, it comes in again and goes where it belongs; `ends`, it was a copy and ends here.
    #[option(default = "on")]
    then: Then,
}

/// What becomes of the mail itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, OptionWord)]
enum Then {
    On,
    Ends,
}

/// How long a worker sits in one call for the next delivery. It changes nothing that can be seen.
const WAIT: Duration = Duration::from_secs(60);

/// Copies that are remembered. When there are more, all are forgotten, and some may be sent twice.
const SENT_MAX: usize = 100_000;

/// A channel that keeps copies.
#[derive(Debug)]
pub struct Archive {
    rules: Rules,
    keeping: Keeping,
    then: Then,
    /// Records of envelopes are read and written again, by one worker at a time.
    turn: Mutex<()>,
    /// Copies that were sent of deliveries that have to wait, by delivery and address: a delivery that is made again sends them not again.
    sent: Mutex<HashSet<(String, String)>>,
}

impl Channel for Archive {
    const NAME: &'static str = "archive";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "keeps copies of mail, and lets the mail go on";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let written: Written = context.options()?;
        let folder = PathBuf::from(context.setting("folder").unwrap_or_default());
        let rules = match &written.rules {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    CreateError::failed(format!("cannot read {}: {error}", path.display()))
                })?;
                let mistake = |why| CreateError::refused(format!("{}: {why}", path.display()));
                Rules::read(&text, &folder, written.archive_dir).map_err(mistake)?
            }
            None if written.archive_dir.is_none() => {
                return Err(CreateError::refused(
                    "neither ARCHIVE_DIR nor RULES is set: nothing would be kept",
                ));
            }
            None => Rules::all_into(written.archive_dir),
        };
        Ok(Archive {
            rules,
            keeping: Keeping::default(),
            then: written.then,
            turn: Mutex::new(()),
            sent: Mutex::default(),
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(WAIT) {
                Next::Delivery(delivery) => self.deliver(worker, &delivery),
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }
}

impl Archive {
    fn deliver(&self, worker: &Worker<'_>, delivery: &Delivery<'_>) {
        if let Err(outcome) = self.keep(worker, delivery) {
            for recipient in delivery.take_recipients() {
                recipient.settle(outcome.clone());
            }
            return;
        }
        let waits = self.go_on(worker, delivery);
        if !waits {
            let key = key(delivery);
            self.sent().retain(|(sent, _)| *sent != key);
        }
    }

    /// The mail itself, when its copies are safe. Whether any of it has to wait.
    fn go_on(&self, worker: &Worker<'_>, delivery: &Delivery<'_>) -> bool {
        if self.then == Then::Ends {
            for recipient in delivery.take_recipients() {
                recipient.delivered("archived");
            }
            return false;
        }
        let mut submission = Submission::again(delivery).as_original();
        for recipient in delivery.recipients() {
            submission = submission.to_again(&recipient);
        }
        match worker.enqueue(&submission) {
            Ok(answers) => {
                let waits = answers.iter().any(|answer| matches!(answer, Outcome::Deferred { .. }));
                for (recipient, answer) in delivery.take_recipients().zip(answers) {
                    recipient.settle(answer);
                }
                waits
            }
            Err(error) => {
                let outcome = Outcome::deferred(Status::new(4, 3, 2), error.to_string());
                if error != NotTaken::Closed {
                    delivery.log(Level::Error, &format!("it cannot be brought in again: {error}"));
                }
                for recipient in delivery.take_recipients() {
                    recipient.settle(outcome.clone());
                }
                true
            }
        }
    }

    /// Makes the copies that the rules want, each once for all recipients that it is about.
    fn keep(&self, worker: &Worker<'_>, delivery: &Delivery<'_>) -> Result<(), Outcome> {
        let mut wanted: Vec<(&Target, Vec<&str>)> = Vec::new();
        for recipient in delivery.recipients() {
            for target in self.rules.targets(delivery.sender(), recipient.address) {
                match wanted.iter_mut().find(|(known, _)| *known == target) {
                    Some((_, recipients)) => recipients.push(recipient.address),
                    None => wanted.push((target, vec![recipient.address])),
                }
            }
        }
        // Folders first: a copy that is sent twice is worse than one that is looked at twice.
        wanted.sort_by_key(|(target, _)| matches!(target, Target::Address(_)));
        for (target, recipients) in wanted {
            match target {
                Target::Folder(pattern) => {
                    let _alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
                    self.keeping.put(delivery, pattern, &recipients).map_err(|trouble| {
                        let detail = if trouble.is_full() { 1 } else { 0 };
                        Outcome::deferred(
                            Status::new(4, 3, detail),
                            format!("no copy can be kept: {trouble}"),
                        )
                    })?;
                }
                Target::Address(address) => {
                    let copy = (key(delivery), address.clone());
                    if !self.sent().contains(&copy) {
                        send_copy(worker, delivery, address)?;
                        let mut sent = self.sent();
                        if sent.len() >= SENT_MAX {
                            sent.clear();
                        }
                        sent.insert(copy);
                    }
                }
            }
        }
        Ok(())
    }

    fn sent(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what a delivery is known when it is made again.
fn key(delivery: &Delivery<'_>) -> String {
    format!("{}-{}-{}", delivery.arrived_ms(), delivery.id(), delivery.domain())
}

/// Sends a copy, with the null reverse-path: what becomes of it is not the sender's business.
fn send_copy(worker: &Worker<'_>, delivery: &Delivery<'_>, address: &str) -> Result<(), Outcome> {
    let later = |text: String| {
        Outcome::deferred(Status::new(4, 3, 0), format!("no copy can be sent to {address}: {text}"))
    };
    let mut copy = Submission::new("", delivery.pieces()).to(address);
    if delivery.smtputf8() || !address.is_ascii() {
        copy = copy.smtputf8();
    }
    let answers = worker.enqueue(&copy).map_err(|error| later(error.to_string()))?;
    match answers.first() {
        Some(Outcome::Delivered { .. }) => Ok(()),
        // An address that does not exist is the operator's mistake: the mail waits until it is mended.
        Some(answer) => Err(later(format!("{} {}", answer.status(), answer.text()))),
        None => Err(later("the hub gave no answer".to_owned())),
    }
}

sluice_sdk::export_channel!(Archive);
