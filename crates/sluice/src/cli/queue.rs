//! Arguments of the queue commands: which entries are meant, and what is done to them.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::Common;
use super::closing::time;

/// What can be asked of the queues.
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Lists waiting messages, oldest first.
    ///
    /// A row is an entry: a message on one channel for one domain. Each JSON line has id, channel, domain, state, sender,
    /// recipients, bytes, arrived, attempts, due, deferred_at, last_error, peer, hold_reason
    /// and error. A list that is cut off by `--limit`
    /// goes on with `--cursor`, given the id of its last row.
    List(QueueList),
    /// Counts what waits, a line for each channel and destination domain.
    Summarize(QueueSummarize),
    /// Shows everything known of a message: envelope, where it waits, attempts, last error with the peer's words, due, expiry.
    ///
    /// The last error stays known after a restart. Exit status 65 when there is no such message.
    Show(QueueShow),
    /// Tells what happened to a message, also after it has left the hub.
    ///
    /// When it was accepted, from whom and by which channel; each attempt with the peer and its reply; who held, released,
    /// returned or deleted it; and where it is now, if it still waits. It is read from the mail log (`LOG_DIR`), which has what
    /// happens on channels with the keyword `logging`, and works without a hub that runs. Each JSON line has at, event, code,
    /// channel, source, sender, original, recipient, domain, blocks, peer, reply, by, reason, attempts and due, as far as they are
    /// known. Events: accepted, delivered, deferred, returned, warned, untold (the sender did not want to be told), hold, release,
    /// retry, delete, return; then waiting, active, deferred-until or held for where it is now, or gone when it is not in the queue
    /// any more (none of these when no hub could be asked). Exit status 65, and the reason, when nothing is known.
    History(QueueHistory),
    /// Writes the content of a message to standard output.
    ///
    /// Dots that SMTP doubles are single. Lines end in LF, with `--octets` in CRLF as they came. `--format json` writes a
    /// line for each stretch, one character for each octet. Exit status 65 when there is no such message.
    Read(QueueRead),
    /// Puts entries on hold: neither time, nor a release, ETRN, a restart or a reload moves them, until `sluice queue release`.
    ///
    /// Age limits leave held mail alone. What is in delivery at that moment is held if it comes back deferred.
    Hold(QueueAct),
    /// Lifts holds: each entry waits as if it had just come in, on a periodic channel until the next release.
    Release(QueueAct),
    /// Returns entries to their senders as undeliverable, with the reason in the notice.
    ///
    /// Answers when the notices are on the disk. What is in delivery at that moment is returned if it comes back deferred.
    /// A message without a sender (a notice) ends without one.
    Return(QueueAct),
    /// Deletes entries. Nobody is told; the log says who deleted what, and why.
    ///
    /// What is in delivery at that moment is deleted if it comes back deferred.
    Delete(QueueAct),
    /// Makes entries due now, on whatever channel they wait. What is on hold, or waits for a sender's date, stays.
    Retry(QueueAct),
}

/// Which entries.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Which {
    /// Ids, `DOMAIN`, `@DOMAIN`, `#CHANNEL`. Any of them; with options beside them, both must hold.
    #[arg(value_name = "ID|SELECTOR")]
    pub(crate) selectors: Vec<String>,
    /// On this channel. May be repeated, as all that name something.
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) channel: Vec<String>,
    /// For this domain; with `@`, for everything below it too.
    #[arg(long, value_name = "DOMAIN|@DOMAIN")]
    pub(crate) domain: Vec<String>,
    /// From this envelope sender: an address, a domain, `@DOMAIN`, a pattern with * and ?, or `<>` for notices.
    #[arg(long, value_name = "ADDRESS|DOMAIN|PATTERN")]
    pub(crate) sender: Vec<String>,
    /// With this recipient still to reach: an address, a domain, `@DOMAIN`, a pattern with * and ?. The entry is meant
    /// whole, with its other recipients; the count tells how many those are.
    #[arg(long, value_name = "ADDRESS|DOMAIN|PATTERN")]
    pub(crate) recipient: Vec<String>,
    /// Came in at least so long ago: 90s, 30m, 2h, 3d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) older_than: Option<Duration>,
    /// Came in less long ago.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) newer_than: Option<Duration>,
    /// Has more content than that: octets, or with K, M or G.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) larger_than: Option<u64>,
    /// Has less content.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) smaller_than: Option<u64>,
    /// Stands there.
    #[arg(long, value_name = "STATE", value_enum)]
    pub(crate) state: Vec<Standing>,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Standing {
    /// Waits for its time or a release.
    Waiting,
    /// In delivery.
    Active,
    /// Waits for a date of the sender's.
    Deferred,
    /// On hold.
    Held,
}

impl Which {
    /// Whether nothing at all narrows it.
    pub(crate) fn is_everything(&self) -> bool {
        let Self { selectors, channel, domain, sender, recipient, older_than, newer_than, .. } = self;
        let named = [selectors, channel, domain, sender, recipient];
        named.into_iter().all(Vec::is_empty)
            && [older_than, newer_than].into_iter().all(Option::is_none)
            && self.larger_than.is_none()
            && self.smaller_than.is_none()
            && self.state.is_empty()
    }
}

/// Arguments of `queue list`.
#[derive(Debug, Args)]
pub(crate) struct QueueList {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) which: Which,
    /// At most so many rows; a message is never cut in two.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: u64,
    /// Goes on behind the message with this id.
    #[arg(long, value_name = "ID")]
    pub(crate) cursor: Option<String>,
    /// Writes it in the manner of mailq: a message each, with its recipients, and a total at the end.
    #[arg(long, conflicts_with = "format")]
    pub(crate) mailq: bool,
}

/// Arguments of `queue summarize`.
#[derive(Debug, Args)]
pub(crate) struct QueueSummarize {
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `queue show`.
#[derive(Debug, Args)]
pub(crate) struct QueueShow {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The message's id.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Arguments of `queue history`.
#[derive(Debug, Args)]
pub(crate) struct QueueHistory {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The message's id, as in `queue list` and in the reply to its sender.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Arguments of `queue read`.
#[derive(Debug, Args)]
pub(crate) struct QueueRead {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The message's id.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The header only.
    #[arg(long)]
    pub(crate) headers: bool,
    /// Every octet as it is, CRLF included.
    #[arg(long, conflicts_with = "format")]
    pub(crate) octets: bool,
}

/// Arguments of the commands that do something to entries.
#[derive(Debug, Args)]
pub(crate) struct QueueAct {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) which: Which,
    /// Means everything there is.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only counts and lists what is meant.
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Does it without asking. Not needed for a single id.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why: for the log, and for the sender of what is returned.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
}

/// Octets that somebody types.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || "not a size such as 5000, 20K, 3M, 1G".to_owned();
    let unit = match text.chars().last().map(|last| last.to_ascii_uppercase()) {
        Some('K') => 1 << 10,
        Some('M') => 1 << 20,
        Some('G') => 1 << 30,
        _ => 1,
    };
    let digits = if unit == 1 { text } else { &text[..text.len() - 1] };
    let is_number = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    let number = is_number.then(|| digits.parse::<u64>().ok()).flatten();
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_what_is_none_is_said() {
        assert_eq!(size("5000"), Ok(5000));
        assert_eq!(size("20k"), Ok(20 << 10));
        assert_eq!(size("1G"), Ok(1 << 30));
        for wrong in ["", "K", "-1", "+1", "1.5M", "1T", "99999999999999999999", "99999999999999999G", "1é"]
        {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
