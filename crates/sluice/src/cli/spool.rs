//! Arguments of `sluice spool`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Common;

/// What can be done with a spool folder.
#[derive(Debug, Subcommand)]
pub(crate) enum Spool {
    /// Reads every file, checks every record and body, and names each damage: file, offset, and the message that it costs.
    ///
    /// Sender and recipients are told where they can be read. Ends of files that a crash has cut off are normal and told apart.
    /// While a hub works in the folder it goes on with a warning: what is being written may look damaged. Exit status 0 when
    /// all is whole; 65 when something is damaged, was written by a later release, or there is no spool; 75 when a file cannot
    /// be read.
    Verify(SpoolVerify),
    /// Tells what a spool takes and what waits in it: files, live and settled bytes, messages by channel, ages.
    Stat(SpoolStat),
    /// Writes the records of a spool's files as JSON lines: all of them, those of one file, or those about one message.
    ///
    /// Each line has file, offset, length, record, and what that kind of record holds. Exit status 65 when the message or file is
    /// not there.
    Dump(SpoolDump),
    /// Moves everything that can be read into a new spool folder.
    ///
    /// Messages keep their ids, holds, attempts and due times. What is damaged is copied into the new folder's quarantine, and
    /// named. The old folder stays as it is, and no hub may work in it. Records of a later release are passed over, so that a spool
    /// which this release refuses can be read as far as it is understood. A message whose settlement was lost is moved too:
    /// it may be delivered a second time. Asks first; exit status 0 when everything was moved, 65 when something was not.
    Recover(SpoolRecover),
    /// Brings back into the spool what segments in quarantine have and nobody else.
    ///
    /// A segment of which the disk does not give back everything at a start is not removed when nobody needs it any more, but moved to
    /// `quarantine/segment-N`. When the disk gives back more of it, or a better copy was put in its place, this says of each message in
    /// it what comes of it. A message is brought back, under its id and waiting like a new one, when it could not be read at
    /// that start, is whole now, had not been settled, and is not in the spool. The segment then gets another name, so that
    /// nothing comes twice. Where a hub works in the folder it does all this itself, and goes on with the mail meanwhile. Asks first; exit
    /// status 65 when a message is still damaged, there is no such segment, or its list of what had been settled is missing; 75 when
    /// the spool cannot be written, or whoever works in the folder does not answer.
    BringBack(SpoolBringBack),
}

/// Arguments of `spool verify`.
#[derive(Debug, Args)]
pub(crate) struct SpoolVerify {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `spool stat`.
#[derive(Debug, Args)]
pub(crate) struct SpoolStat {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `spool dump`.
#[derive(Debug, Args)]
pub(crate) struct SpoolDump {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Only what is about this message.
    #[arg(value_name = "ID", conflicts_with_all = ["segment", "journal", "checkpoint"])]
    pub(crate) id: Option<String>,
    /// Only that segment.
    #[arg(long, value_name = "N", conflicts_with_all = ["journal", "checkpoint"])]
    pub(crate) segment: Option<u32>,
    /// Only that journal.
    #[arg(long, value_name = "N", conflicts_with = "checkpoint")]
    pub(crate) journal: Option<u32>,
    /// Only that checkpoint.
    #[arg(long, value_name = "N")]
    pub(crate) checkpoint: Option<u32>,
    /// With the envelope of each message.
    #[arg(long, conflicts_with = "body")]
    pub(crate) envelope: bool,
    /// Nothing but the octets of the message's content, as they are stored: lines end in CRLF, leading dots are doubled.
    #[arg(long, requires = "id")]
    pub(crate) body: bool,
}

/// Arguments of `spool bring-back`.
#[derive(Debug, Args)]
pub(crate) struct SpoolBringBack {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Only that segment; otherwise all that are in quarantine.
    #[arg(value_name = "N")]
    pub(crate) segment: Option<u32>,
    /// Only says what would be brought back, and what not.
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Does it without asking.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Arguments of `spool recover`.
#[derive(Debug, Args)]
pub(crate) struct SpoolRecover {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The new folder, which must not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Only says what would be moved, and what not.
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Does it without asking.
    #[arg(long)]
    pub(crate) yes: bool,
}
