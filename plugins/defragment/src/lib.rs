//! Channel plugin: pieces of messages (`message/partial`, RFC 2046 section 5.2.2) become messages, and messages become pieces.
//!
//! PMDF's `defragment` channel. The hub leads pieces here that are for a channel with the keyword `defragment`, and large messages that
//! are for one with `maxblocks` or `maxlines`. What comes of them is brought in again as mail from this channel, and goes where it was
//! to go.
//!
//! # Reading order
//! `store`: where pieces wait. `joining` and `cutting`: the two ways. Here: what is done when.
//! # Invariants
//! A piece is settled when it is on the disk here, or when what came of it is on the hub's. A stop between the two makes a second
//! copy and loses nothing. What cannot be kept or cut goes on as it is.
//! # Failure
//! What the file system refuses is deferred. When RETENTION_TIME is over, pieces go on as they came.
//! # Not here
//! Which mail comes here (`dispatch`).
#![forbid(unsafe_code)]

mod cutting;
mod joining;
mod store;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sluice_mail::mime::{Partial, split};
use sluice_mail::wire::stuff;
use sluice_sdk::{
    Channel, Claim, Context, CreateError, Delivery, Level, Next, OptionSpec, Options, Outcome, Recipient,
    RunError, Status, Submission, Worker,
};

use store::{Put, Set, Store, To};

/// How often old sets are looked for.
const ROUND: Duration = Duration::from_secs(30);

/// What the hub puts in front of a piece that is brought in: its `Received:` field.
const TRACE_OCTETS: u64 = 512;
const TRACE_LINES: u64 = 4;

/// What the option file may say.
#[derive(Debug, Options)]
struct Written {
    /// Folder in which pieces wait for the others; from the configuration folder on. Not set: one with the channel's name in the
    /// hub's spool.
    folder: Option<PathBuf>,
    /// Seconds that pieces wait for the rest of their message, from the first on; then they go on as they came. PMDF's manual has half of
    /// the time after which senders are warned.
    #[option(default = 172_800, range = 1..=31_536_000)]
    retention_time: Duration,
    /// Messages of which pieces wait, at most. Pieces of more go on as they are.
    #[option(default = 1000, range = 1..=100_000)]
    max_messages: u32,
    /// Pieces of a message, at most. Those of one with more go on as they are.
    #[option(default = 999, range = 2..=9999)]
    max_pieces: u32,
    /// Octets of a message that is put together, at most. Pieces that would make a larger one go on as they are.
    #[option(default = 67_108_864, range = 1..)]
    max_size: u64,
    /// Octets of all pieces that wait, at most. More go on as they are.
    #[option(default = 1_073_741_824, range = 1..)]
    max_stored: u64,
}

/// A channel where pieces are put together and messages are cut.
#[derive(Debug)]
pub struct Defragment {
    store: Mutex<Store>,
    retention: Duration,
    /// Limits of the channels that messages are cut for.
    limits: BTreeMap<String, cutting::Limits>,
    host: String,
    /// When old sets were looked for.
    looked: Mutex<Option<Instant>>,
}

impl Channel for Defragment {
    const NAME: &'static str = "defragment";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "puts pieces of messages together, and cuts messages into pieces";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let written: Written = context.options()?;
        let folder = match (written.folder, context.setting("spool")) {
            (Some(folder), _) => folder,
            (None, Some(spool)) if !spool.is_empty() => Path::new(spool).join(context.channel()),
            _ => {
                return Err(CreateError::refused(
                    "option FOLDER is not set, and the hub does not say where its spool is",
                ));
            }
        };
        let limits = store::Limits {
            sets: written.max_messages as usize,
            pieces: written.max_pieces,
            octets: written.max_size,
            stored: written.max_stored,
        };
        let store = Store::open(&folder, limits)
            .map_err(|error| CreateError::failed(format!("{}: {error}", folder.display())))?;
        Ok(Defragment {
            store: Mutex::new(store),
            retention: written.retention_time,
            limits: cut_limits(context.setting("cut_limits").unwrap_or_default()),
            host: context
                .setting("local_host")
                .filter(|name| !name.is_empty())
                .unwrap_or("localhost")
                .to_owned(),
            looked: Mutex::default(),
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            self.look(worker);
            match worker.next(ROUND.min(self.retention)) {
                Next::Delivery(delivery) => self.deliver(worker, &delivery),
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }
}

/// `channel octets lines`, one behind the other, as the hub says it.
fn cut_limits(fact: &str) -> BTreeMap<String, cutting::Limits> {
    let words: Vec<&str> = fact.split_ascii_whitespace().collect();
    let one = |words: &[&str]| {
        let [name, octets, lines] = words else { return None };
        Some((
            (*name).to_owned(),
            cutting::Limits { octets: octets.parse().ok()?, lines: lines.parse().ok()? },
        ))
    };
    words.chunks(3).filter_map(one).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Defragment {
    /// A panic in another worker leaves counts that are a little off, which the next start mends.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, worker: &Worker<'_>, delivery: &Delivery<'_>) {
        let mut message = Vec::new();
        // Reading from memory does not fail.
        let _ = delivery.reader().read_to_end(&mut message);
        // The hub keeps those for one domain, or one channel to cut for, together; a batch may have several.
        let mut by_domain: BTreeMap<&str, Vec<Claim<'_>>> = BTreeMap::new();
        for recipient in delivery.take_recipients() {
            by_domain.entry(recipient.domain).or_default().push(recipient);
        }
        for (domain, claims) in by_domain {
            let recipients: Vec<Recipient<'_>> = claims.iter().map(|claim| **claim).collect();
            let outcomes = match (Partial::of(split(&message).0), self.limits.get(domain)) {
                (Some(says), _) => self.keep(worker, delivery, &says, &message, &recipients),
                (None, Some(limits)) => self.cut(worker, delivery, &message, *limits, &recipients),
                (None, None) => bring_in(worker, Submission::again(delivery), &recipients),
            };
            for (claim, outcome) in claims.into_iter().zip(outcomes) {
                claim.settle(outcome);
            }
        }
    }

    /// A piece waits for the others, or its message is whole.
    fn keep(
        &self,
        worker: &Worker<'_>,
        delivery: &Delivery<'_>,
        says: &Partial,
        piece: &[u8],
        recipients: &[Recipient<'_>],
    ) -> Vec<Outcome> {
        let all: Vec<To> = recipients.iter().map(to_of).collect();
        let set = Set::new(&says.id, delivery.sender(), delivery.smtputf8(), all, now());
        let mut store = self.store();
        let alike = |outcome: Outcome| vec![outcome; recipients.len()];
        let put = match store.put(&set, says, piece, now()) {
            Ok(put) => put,
            Err(error) => return alike(no_room(&error)),
        };
        match put {
            Put::Gone => {
                return alike(Outcome::passed_on(
                    "a repetition: its message has been put together and has gone",
                ));
            }
            Put::Not(why) => {
                delivery.log(Level::Warn, &format!("a piece of {:?} goes on as it is: {why}", set.id));
                drop(store);
                return bring_in(worker, Submission::again(delivery), recipients);
            }
            Put::Kept | Put::Known => {}
        }
        let pieces = match store.whole(&set) {
            Ok(Some(pieces)) => pieces,
            Ok(None) => {
                let (here, total) = store.progress(&set);
                let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                // Who sent it is told of the message, not of its pieces.
                return alike(Outcome::passed_on(format!(
                    "piece {} waits for the others: {here}{of} are here",
                    says.number
                )));
            }
            Err(error) => return alike(no_room(&error)),
        };
        let whole = stuff(&joining::joined(&pieces));
        let outcomes = bring_in(worker, Submission::again(delivery).with_content(whole), recipients);
        let left: Vec<To> = recipients
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| is_deferred(outcome))
            .map(|(one, _)| to_of(one))
            .collect();
        let ended = match left.len() {
            0 => store.done(&set, &pieces, now() + self.retention.as_secs()),
            count if count == recipients.len() => Ok(()),
            _ => store.narrow(&set, left),
        };
        if let Err(error) = ended {
            // It would only come a second time.
            delivery
                .log(Level::Error, &format!("pieces of a message that has gone cannot be removed: {error}"));
        }
        outcomes
    }

    /// A message goes on in pieces that its channel takes.
    fn cut(
        &self,
        worker: &Worker<'_>,
        delivery: &Delivery<'_>,
        message: &[u8],
        limits: cutting::Limits,
        recipients: &[Recipient<'_>],
    ) -> Vec<Outcome> {
        let id = format!("{}.{:x}", delivery.id(), delivery.arrived_ms());
        let limits = cutting::Limits {
            octets: limits.octets.saturating_sub(if limits.octets == 0 { 0 } else { TRACE_OCTETS }),
            lines: limits.lines.saturating_sub(if limits.lines == 0 { 0 } else { TRACE_LINES }),
        };
        let pieces = match cutting::pieces(message, limits, &id, &self.host) {
            Ok(pieces) => pieces,
            Err(why) => {
                delivery.log(Level::Warn, &format!("it goes whole: {why}"));
                return bring_in(worker, Submission::again(delivery), recipients);
            }
        };
        let mut outcomes: Vec<Outcome> = Vec::new();
        for piece in pieces {
            outcomes = bring_in(worker, Submission::again(delivery).with_content(stuff(&piece)), recipients);
            // The same pieces come once more, and are known for that at the other end.
            if outcomes.iter().any(is_deferred) {
                let text = "a piece could not be brought in; all of them will be once more";
                return vec![Outcome::deferred(Status::new(4, 3, 0), text); recipients.len()];
            }
        }
        outcomes
    }

    /// Looks for sets whose time is over, once a round.
    fn look(&self, worker: &Worker<'_>) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|at| at.elapsed() < ROUND.min(self.retention)) {
                return;
            }
            *looked = Some(Instant::now());
        }
        let mut store = self.store();
        store.forget(now());
        let mut troubles = Vec::new();
        let old = store.older(now().saturating_sub(self.retention.as_secs()), &mut troubles);
        troubles
            .iter()
            .for_each(|trouble| worker.log(Level::Error, &format!("pieces cannot be read: {trouble}")));
        for (folder, set) in old {
            if let Err(why) = send_on(worker, &mut store, &folder, &set) {
                return worker.log(Level::Warn, &format!("pieces of {:?} cannot go on now: {why}", set.id));
            }
        }
    }
}

/// The pieces of a set go on as they came. An error says why they do not for now.
fn send_on(worker: &Worker<'_>, store: &mut Store, folder: &Path, set: &Set) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let pieces = Store::pieces(folder).map_err(failed)?;
    worker.log(
        Level::Warn,
        &format!(
            "{} pieces of {:?} go on as they are: the others did not come in time",
            pieces.len(),
            set.id
        ),
    );
    let recipients: Vec<Recipient<'_>> = set.recipients.iter().map(recipient_of).collect();
    for file in pieces {
        let piece = std::fs::read(&file).map_err(failed)?;
        let wire = stuff(&piece);
        let mut submission = Submission::new(set.sender.as_str(), [wire.as_slice()]);
        if set.smtputf8 {
            submission = submission.smtputf8();
        }
        let outcomes = bring_in(worker, submission, &recipients);
        if outcomes.iter().all(is_deferred) {
            return Err(outcomes.first().map(|outcome| outcome.text().to_owned()).unwrap_or_default());
        }
        if outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Delivered { .. })) {
            // Nobody hears of a refusal here but the operator.
            let aside = store.set_aside(folder, set.since).map_err(failed)?;
            let why = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Delivered { .. }));
            let why = why.map(|outcome| outcome.text().to_owned()).unwrap_or_default();
            worker.log(
                Level::Error,
                &format!("pieces are in {}, since they were refused: {why}", aside.display()),
            );
            return Ok(());
        }
        store.remove_piece(folder, &file).map_err(failed)?;
    }
    Ok(())
}

/// Brings a message in: an outcome for each recipient.
fn bring_in(worker: &Worker<'_>, submission: Submission<'_>, recipients: &[Recipient<'_>]) -> Vec<Outcome> {
    let mut submission = submission;
    for recipient in recipients {
        submission = submission.to_again(recipient);
    }
    worker.enqueue(&submission).unwrap_or_else(|why| vec![Outcome::from(why); recipients.len()])
}

fn to_of(recipient: &Recipient<'_>) -> To {
    To {
        address: recipient.address.to_owned(),
        original: recipient.original.to_owned(),
        notify: recipient.notify,
        origin: recipient.origin.to_owned(),
    }
}

fn recipient_of(to: &To) -> Recipient<'_> {
    Recipient {
        index: 0,
        address: &to.address,
        original: &to.original,
        domain: "",
        notify: to.notify,
        origin: &to.origin,
    }
}

fn is_deferred(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Deferred { .. })
}

fn no_room(error: &io::Error) -> Outcome {
    let status = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Status::new(4, 3, 1),
        _ => Status::new(4, 3, 0),
    };
    Outcome::deferred(status, format!("a piece cannot be kept: {error}"))
}

sluice_sdk::export_channel!(Defragment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_threes() {
        let limits = cut_limits("tcp_thin 65536 0 tcp_radio 0 100");
        assert_eq!(limits["tcp_thin"], cutting::Limits { octets: 65536, lines: 0 });
        assert_eq!(limits["tcp_radio"], cutting::Limits { octets: 0, lines: 100 });
        assert_eq!(cut_limits("tcp_thin x 0 y").len() + cut_limits("").len(), 0);
    }
}
