//! Channel plugin: batches of mail as files, for sites that no wire goes to. What is queued to the channel is written into numbered
//! batches in a folder that somebody carries away (a stick, a radio's outbox, a UUCP spool), and batches that somebody brings are taken in.
//!
//! # Reading order
//! `text`: a batch as text. `manifest`: what a batch consists of. `place`: the channel's own folder, and its lock. `outgoing`: from
//! deliveries to files, over `whole`, how far a batch is whole. `incoming`: from files to messages, with `taken`, what is never taken again, `work`, one batch from beginning to end, `told`, notices, and `wrapped`,
//! batches that come by mail.
//! # Invariants
//! A recipient is settled when its message is in a batch on our own disk. A batch is taken in when all of it has been seen to be whole, and
//! copied to our own disk; how far its messages have been brought in is written down after each.
//! # Failure
//! A carrier that is not there defers what is to be written to it. Files that make no sense lie in the folder of bad ones beside their
//! reason. A crash doubles at most the messages that were just being written, and the one that was just being brought in.
//! # Not here
//! Who carries the files.
#![forbid(unsafe_code)]

mod incoming;
mod manifest;
mod outgoing;
mod place;
mod taken;
mod text;
mod told;
mod whole;
mod work;
mod wrapped;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluice_sdk::{Channel, Context, CreateError, Delivery, Next, OptionSpec, Options, RunError, Worker};

use incoming::Incoming;
use outgoing::Outgoing;
use place::Place;

/// The channel's option file.
#[derive(Debug, Options)]
struct Written {
    /// The folder on the carrier that batches are written into. It is never made: where it is not there, the carrier is away, and
    /// mail waits. Without it the channel writes none, and what is queued to it must hold a batch itself.
    out_dir: Option<PathBuf>,
    /// The folder that batches are taken from. Without it none are.
    in_dir: Option<PathBuf>,
    /// Of a channel that writes batches: where the other site's answers (`.ack`, `.want`, `.refused`) are found. Of one that takes
    /// batches: where its answers are written; without it none are.
    answer_dir: Option<PathBuf>,
    /// The folder, on a disk of this machine, for what the channel must not forget: batches that are not complete or not
    /// acknowledged, and how far others have been brought in. Each channel has a folder of its name in it.
    #[option(default = "/var/lib/sluice/bsmtp")]
    state_dir: PathBuf,
    /// The name of the link, which the names of its batches begin with: small letters, digits, `-`, `_` and `.`. Without it, what stands
    /// behind `bsout_` in the name of the channel. Each link into a folder needs a name of its own.
    link: Option<String>,
    /// Messages in one batch.
    #[option(default = 1000, range = 1..=1_000_000)]
    batch_messages: u64,
    /// Octets, uncompressed, from which on a batch takes no further message.
    #[option(default = 52428800, range = 1..=1_099_511_627_776)]
    batch_size: u64,
    /// How long a batch waits for more messages when no more are queued.
    #[option(default = 2, range = 0..=20)]
    batch_wait: Duration,
    /// Octets of one file: a larger batch is cut into parts, for a carrier that takes no larger ones. 0: batches are not cut.
    #[option(default = 0)]
    part_size: u64,
    /// 1: batches are compressed with gzip. 0: they are plain text.
    #[option(default = true)]
    compress: bool,
    /// 1: a batch is kept until the other site has acknowledged it, in ANSWER_DIR, and what it lacks is written again. 0: a
    /// batch is forgotten when it is on the carrier.
    keep: bool,
    /// 1: what senders wish to be told (RET, ENVID, NOTIFY and ORCPT of RFC 3461) is written into batches, for a reader that answers for it then,
    /// such as this program. 0: it stays here, and who asked is told that the mail has been passed on. What a batch says of it is always taken in.
    dsn: bool,
    /// With KEEP=1: after how long a batch that is neither acknowledged nor in OUT_DIR any more is written again.
    #[option(default = 86400, range = 1..=31_536_000)]
    resend_interval: Duration,
    /// Where files of batches go that have been taken in. Without it they are removed.
    done_dir: Option<PathBuf>,
    /// Where files go that cannot be taken in, each with a file `NAME.reason` beside it. Without it, the folder `bad` in IN_DIR.
    bad_dir: Option<PathBuf>,
    /// Octets that a message of a batch may have.
    #[option(default = 104857600, range = 1..=2_147_483_648)]
    message_size_max: u64,
    /// Octets that a batch may have when it is taken in, uncompressed. A small file can hold a very large batch.
    #[option(default = 1073741824, range = 1..=1_099_511_627_776)]
    batch_size_max: u64,
    /// How often folders are looked at while the channel is awake. What wakes it is its schedule, the periodic service or an operator;
    /// it falls asleep after half a minute without work.
    #[option(default = 5, range = 1..=3600)]
    scan_interval: Duration,
    /// How long a batch waits that lacks something, or whose messages the hub has deferred.
    #[option(default = 60, range = 1..=86_400)]
    retry_interval: Duration,
}

/// Deliveries that are held until the disk has all of them. The host lends a worker 64 at once.
const GROUP_MAX: usize = 32;

/// A channel of batches.
#[derive(Debug)]
pub struct Bsmtp {
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
    batch_wait: Duration,
    scan_interval: Duration,
    stopping: AtomicBool,
}

/// Whether there is more to be done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    No,
    Yes,
    /// The worker's time is over.
    Gone,
}

impl Channel for Bsmtp {
    const NAME: &'static str = "bsmtp";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "batches of mail as files, for sites with no wire";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let written: Written = context.options()?;
        let host = context.setting("local_host").unwrap_or("localhost").to_owned();
        if written.out_dir.is_none() && written.in_dir.is_none() {
            return Err(CreateError::refused("neither OUT_DIR nor IN_DIR is set: name a folder"));
        }
        let place = Place::new(written.state_dir.join(context.channel()))
            .map_err(|trouble| CreateError::failed(trouble.to_string()))?;
        let channel = context.channel();
        let link = written.link.clone();
        let link = link.unwrap_or_else(|| channel.strip_prefix("bsout_").unwrap_or(channel).to_owned());
        if written.out_dir.is_some() && !manifest::is_link(&link) {
            let text = format!(
                "`{link}` is no name for a link: write LINK= with small letters, digits, `-`, `_` and `.`"
            );
            return Err(CreateError::refused(text));
        }
        if written.out_dir.is_some() && !text::greets(&host) {
            let text =
                format!("`{host}` is no name that a batch can begin with: it is that of the local channel");
            return Err(CreateError::refused(text));
        }
        if written.keep && written.answer_dir.is_none() {
            return Err(CreateError::refused("KEEP=1 needs ANSWER_DIR, where acknowledgements are found"));
        }
        if written.keep && written.in_dir.is_some() {
            return Err(CreateError::refused(
                "with KEEP=1 a channel cannot have IN_DIR, too: its ANSWER_DIR would be for both directions; make two channels",
            ));
        }
        let bsmtp = Bsmtp {
            batch_wait: written.batch_wait,
            scan_interval: written.scan_interval,
            stopping: AtomicBool::new(false),
            outgoing: Outgoing::new(&written, link, &place, &host, context.logger()),
            incoming: Incoming::new(&written, &place, &host, context.logger())?,
        };
        // Those on the carrier have their turn when it is there.
        let own = [place.folder().to_owned(), place.folder().join("in")];
        place::tidy(own.iter().map(|folder| Some(folder.as_path())), context.logger());
        Ok(bsmtp)
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        let mut held: Vec<Delivery<'_>> = Vec::new();
        let mut wait = Duration::ZERO;
        loop {
            match worker.next(wait) {
                Next::Delivery(delivery) => {
                    held.push(delivery);
                    wait = Duration::ZERO;
                    if held.len() >= GROUP_MAX {
                        self.put(worker, &mut held);
                    }
                }
                Next::Idle | Next::Poll if !held.is_empty() => {
                    self.put(worker, &mut held);
                    // What is complete by then is written, and what is not waits for the next look.
                    wait = self.batch_wait.min(self.scan_interval);
                }
                Next::Idle | Next::Poll => {
                    if let Some(outgoing) = &self.outgoing {
                        outgoing.look(false);
                    }
                    wait = match self.incoming.as_ref().map_or(More::No, |incoming| incoming.look(worker)) {
                        More::No => self.scan_interval,
                        More::Yes => Duration::ZERO,
                        More::Gone => return Ok(()),
                    };
                }
                Next::Stop => {
                    self.put(worker, &mut held);
                    if let Some(outgoing) = &self.outgoing {
                        outgoing.look(true);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Bsmtp {
    /// Puts messages into the batch, and settles them. A channel that only takes batches in takes them from messages, too.
    fn put(&self, worker: &Worker<'_>, held: &mut Vec<Delivery<'_>>) {
        match (&self.outgoing, &self.incoming) {
            (Some(outgoing), _) => outgoing.put(std::mem::take(held)),
            (None, Some(incoming)) => {
                for delivery in held.drain(..) {
                    let outcome = incoming.deliver(worker, &delivery, &self.stopping);
                    delivery.settle_all(&outcome);
                }
            }
            // `create` refuses that.
            (None, None) => held.clear(),
        }
    }
}

sluice_sdk::export_channel!(Bsmtp);
