//! What a channel tells about its work and about itself.

use sluice_mail::Outcome;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where events go. Called from worker threads and from the host's own, never with a lock held that
/// [`Instance`](crate::Instance)'s methods want, and never from within such a method. It may wait, at the cost of the
/// worker that waits with it; while one of the host's own threads waits, hung workers are noticed later.
pub type Events = Arc<dyn Fn(HostEvent) + Send + Sync>;

/// One thing that happened. Tokens and leases are those of the deliveries that were offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// The delivery is back.
    Finished {
        /// The delivery.
        token: u64,
        /// The batch it was in.
        lease: u64,
        /// What the plugin said of its recipients, made safe to show; each index at most once.
        outcomes: Vec<(u32, Outcome)>,
        /// Recipients that nobody said anything about: still to be delivered.
        unsettled: Vec<u32>,
        /// Why it is back.
        cause: Cause,
        /// It was the last of its batch, and this says so too: no [`HostEvent::LeaseDone`] follows. Most batches end so,
        /// and whoever reads the events is woken once for both.
        lease_done: bool,
    },
    /// All deliveries of the batch are back, and its poll is over. The last event about it: a job slot is free.
    LeaseDone {
        /// The batch.
        lease: u64,
    },
    /// Something went wrong with the plugin; the channel goes on, perhaps after a pause.
    WorkerFailed {
        /// Name of the channel.
        channel: Arc<str>,
        /// What went wrong.
        failure: Failure,
        /// How long no new worker is started.
        pause: Duration,
    },
    /// The instance has ended. The last event of all.
    Stopped {
        /// Name of the channel.
        channel: Arc<str>,
        /// Why.
        reason: StopReason,
        /// Threads that would not come back and were left alone.
        left_behind: u32,
    },
}

impl HostEvent {
    /// The batch whose end it tells of.
    #[must_use]
    pub fn lease_done(&self) -> Option<u64> {
        match self {
            HostEvent::LeaseDone { lease } | HostEvent::Finished { lease, lease_done: true, .. } => {
                Some(*lease)
            }
            _ => None,
        }
    }
}

/// Why a delivery is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The plugin is done with it. What it did not settle is deferred.
    Done,
    /// The worker that held it, or was to get it, panicked or returned. Not the message's fault, as far as one can know.
    WorkerEnded,
    /// The worker that held it, or was to get it, missed its deadline.
    Hung,
    /// The channel could not be created.
    NotCreated,
    /// The channel is stopping.
    Stopping,
    /// The process that had been lent it died before it was finished. `alone` says that it had no other, so that no other
    /// message can be the reason; `how` is the end of a sentence that begins with the process.
    Crashed {
        /// No other delivery was in its hands.
        alone: bool,
        /// As in "died of signal 11 (SIGSEGV)".
        how: Arc<str>,
    },
    /// The delivery itself is not usable: it has no recipient, or one index twice. The caller's mistake.
    Unusable,
}

impl fmt::Display for Cause {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Cause::Done => "the channel said nothing about this recipient",
            Cause::WorkerEnded => "the channel's worker ended unexpectedly",
            Cause::Hung => "the channel's worker did not finish in time",
            Cause::NotCreated => "the channel could not be started",
            Cause::Stopping => "the channel was stopped",
            Cause::Crashed { how, .. } => {
                return write!(to, "the channel's process {how} while it had this message");
            }
            Cause::Unusable => "the delivery has no recipient, or one of them twice",
        })
    }
}

/// What went wrong with a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `create` could not; it is tried again.
    CreateFailed(String),
    /// `create` panicked; it is tried again.
    CreatePanicked(String),
    /// `create` did not come back in time.
    CreateHung(Duration),
    /// A worker panicked.
    Panicked(String),
    /// A worker returned although nobody had told it to.
    Returned {
        /// What `run` returned.
        status: i32,
        /// Its reason, if it gave one.
        text: String,
    },
    /// A worker did not finish a delivery, or did not ask for the next one, in time.
    Hung(Duration),
    /// The machine gave us no thread.
    NoThread(String),
    /// The process that ran the plugin died, or had to be ended: how, and what it did last.
    Died(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::CreateFailed(text) => write!(to, "it could not be created: {text}"),
            Failure::CreatePanicked(text) => write!(to, "it {text}, while it was created"),
            Failure::CreateHung(limit) => write!(to, "it was not created within {limit:?}"),
            Failure::Panicked(text) => write!(to, "a worker {text}"),
            Failure::Returned { status, text } if text.is_empty() => {
                write!(to, "a worker returned status {status} without being told to stop")
            }
            Failure::Returned { text, .. } => write!(to, "a worker gave up: {text}"),
            Failure::Hung(limit) => write!(to, "a worker did not finish within {limit:?}"),
            Failure::NoThread(text) => write!(to, "no thread could be started: {text}"),
            Failure::Died(text) => write!(to, "its process {text}"),
        }
    }
}

/// Why an instance has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It was asked to.
    Asked,
    /// The plugin refused the channel's settings: the operator has to change them.
    Refused(String),
    /// Too many workers hung; the channel needs the operator.
    TooManyHung(u32),
}

impl fmt::Display for StopReason {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Asked => to.write_str("asked to stop"),
            StopReason::Refused(text) => write!(to, "its plugin refuses the settings: {text}"),
            StopReason::TooManyHung(count) => {
                write!(to, "{count} of its workers hung; restart the hub to try again")
            }
        }
    }
}
