//! Channel plugin: mail as files in folders. What is queued to the channel is dropped into one folder, and what other programs put
//! into another is picked up and brought in.
//!
//! # Reading order
//! `letter`: from a file to an envelope and content. `pickup`: looking at the folder, and what becomes of each file.
//! `dropping`: from a delivery to a file.
//! # Invariants
//! A file is gone from the pick-up folder only when the hub answers for all of it, or it lies in the folder of bad ones beside its
//! reason. A message is settled only when its file is on the disk.
//! # Failure
//! A crash between the two brings a message in twice, or leaves its file as it was; it never loses one.
//! # Not here
//! PMDF's channel `directory`, which looks addresses up: `reprocess` passes its mail on.
#![forbid(unsafe_code)]

mod dropping;
mod letter;
mod pickup;

use std::path::PathBuf;
use std::time::Duration;

use sluice_sdk::{
    Channel, Context, CreateError, Delivery, Level, Next, OptionSpec, Options, Outcome, RunError, Status,
    Worker,
};

use dropping::{Dropping, Envelopes, LineEnd};
use pickup::{More, Pickup};

/// The options of the channel's option file.
#[derive(Debug, Options)]
struct Written {
    /// The folder that mail of the channel is dropped into. Without it the channel only brings mail in, and what is queued
    /// to it is returned. A relative path starts from the folder of the configuration.
    drop_dir: Option<PathBuf>,
    /// Where sender and recipients stand in what is dropped: `headers` for lines `X-Sender:` and `X-Receiver:` in front of
    /// the message, `sidecar` for a file of its own, with `.env` behind the name, `none` for nowhere.
    #[option(default = "headers")]
    envelope: Envelopes,
    /// How lines end in what is dropped: `lf`, or `crlf` as in mail on the wire.
    #[option(default = "lf")]
    line_end: LineEnd,
    /// The folder that programs put messages into. Without it nothing is picked up. A relative path starts from the folder
    /// of the configuration.
    pickup_dir: Option<PathBuf>,
    /// Where files go that cannot be brought in, each with a file `NAME.reason` beside it. Without it, the folder `bad` in
    /// PICKUP_DIR. It is on the same file system.
    bad_dir: Option<PathBuf>,
    /// Where files go that have been brought in. Without it they are removed. It is on the same file system as PICKUP_DIR.
    done_dir: Option<PathBuf>,
    /// How the names of files end that are picked up; others are left alone, and so are those that begin with a dot. Empty:
    /// all are.
    #[option(default = ".eml")]
    suffix: String,
    /// How long a file must have been unchanged before it is picked up. For programs that cannot write under
    /// another name and rename.
    #[option(default = 0, range = 0..=86_400)]
    min_age: Duration,
    /// Envelope sender of files that name none by `X-Sender:`; `<>` for none at all. Without it, the address in `Sender:`,
    /// or the first in `From:`.
    sender: Option<String>,
    /// Octets that a file to be picked up may have. Larger ones are bad.
    #[option(default = 104857600, range = 1..=2_147_483_648)]
    file_size_max: u64,
    /// How often the folder is looked at while the channel is awake. What wakes it is its schedule, the periodic
    /// service or an operator; it falls asleep after half a minute without work.
    #[option(default = 2, range = 1..=3600)]
    scan_interval: Duration,
    /// How long a file waits whose message the hub has deferred.
    #[option(default = 60, range = 1..=86_400)]
    retry_interval: Duration,
}

/// How long to wait for a delivery where no folder is looked at; the host wakes the wait by itself.
const WAIT: Duration = Duration::from_secs(600);

/// A channel of files.
#[derive(Debug)]
pub struct Directory {
    dropping: Option<Dropping>,
    pickup: Option<Pickup>,
    scan_interval: Duration,
}

impl Channel for Directory {
    const NAME: &'static str = "directory";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "mail as files in folders, dropped and picked up";
    const OPTIONS: &'static [OptionSpec] = Written::TABLE;

    fn create(context: Context) -> Result<Self, CreateError> {
        let written: Written = context.options()?;
        let scan_interval = written.scan_interval;
        let dropping = Dropping::new(&written)?;
        let log = context.logger();
        let dropped = written.drop_dir.clone();
        let pickup = Pickup::new(written, context.logger())?;
        if dropping.is_none() && pickup.is_none() {
            return Err(CreateError::refused("neither DROP_DIR nor PICKUP_DIR is set: name a folder"));
        }
        for folder in dropped.as_deref().into_iter().chain(pickup.iter().flat_map(Pickup::folders)) {
            if let Err(trouble) = sluice_durable::tidy(folder) {
                log.write(Level::Warn, &trouble.to_string());
            }
        }
        Ok(Directory { dropping, pickup, scan_interval })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        let mut wait = self.pickup.as_ref().map_or(WAIT, |_| Duration::ZERO);
        loop {
            match worker.next(wait) {
                Next::Delivery(delivery) => self.deliver(delivery),
                Next::Idle | Next::Poll => {
                    let Some(pickup) = &self.pickup else { continue };
                    wait = match pickup.look(worker) {
                        More::No => self.scan_interval,
                        // Whoever has mail for the channel, or wants it to stop, is heard first.
                        More::Yes => Duration::ZERO,
                        More::Gone => return Ok(()),
                    };
                }
                Next::Stop => return Ok(()),
            }
        }
    }
}

impl Directory {
    fn deliver(&self, delivery: Delivery<'_>) {
        let outcome = match &self.dropping {
            Some(dropping) => dropping.put(&delivery),
            None => Outcome::failed(Status::new(5, 3, 3), "this channel only brings mail in"),
        };
        delivery.settle_all(&outcome);
    }
}

sluice_sdk::export_channel!(Directory);
