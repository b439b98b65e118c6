//! Everything that can happen to the dispatcher, and what it is asked and answers.
//!
//! One closed enum, handled by one loop. Answers go through callbacks that run on the dispatcher's thread: they hand
//! over and return, they never wait.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_config::Config;
use sluice_host::{HostEvent, Report};
use sluice_mail::{Time, TransferPriority};
use sluice_queue::{ChannelKey, EntryView, Selector};
use sluice_rewrite::Rewriter;
use sluice_spool::{CheckpointError, Cut, EntryId, Location};

use crate::acts::{Acting, Portion};
use crate::choose::{Chosen, Filter, Page};
use crate::closed::{Closing, ClosingDone, ClosingError};
use crate::details::Details;
use crate::last_error::Deferral;
use crate::order::{Order, ReleaseId, Released};
use crate::policy::{Policy, Schedule};
use crate::records::ReleaseRecord;
use crate::renew::{Planned, Prepared, RenewedChannel};
use crate::reports::SummaryPage;
use crate::runner::{Instance, NextGeneration, Runner};

/// A configuration with its rules compiled: what everybody works from until the next reload.
#[derive(Debug)]
pub struct Loaded {
    /// The snapshot.
    pub config: Arc<Config>,
    /// Its rewrite rules.
    pub rewriter: Arc<Rewriter>,
}

/// Recipients of an accepted message that have one channel and domain, and one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Channel name.
    pub channel: String,
    /// Destination domain.
    pub domain: String,
    /// How many recipients.
    pub recipients: u32,
    /// Which of the envelope's they are, when that is not all with the channel and domain.
    pub open: Option<Box<[u32]>>,
}

/// A message that the spool has made durable: what the index needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its id.
    pub id: EntryId,
    /// Where the spool keeps it.
    pub at: Location,
    /// Octets of content.
    pub size: u64,
    /// When it was accepted.
    pub arrived: Time,
    /// How urgent it is.
    pub priority: TransferPriority,
    /// Accepted on hold.
    pub held: bool,
    /// Why a filter holds it; empty where none does.
    pub hold_reason: Box<str>,
    /// When the sender wants it delivered at the earliest.
    pub deferred_until: Option<Time>,
    /// That date was promised to the client (RFC 4865): no channel has a say in it, and `arrived` is moved there.
    pub promised: bool,
    /// For how long at most the channel it came by lets it be deferred, where that has a say.
    pub deferred_source: Option<Duration>,
    /// Where its recipients go.
    pub parts: Vec<Part>,
}

/// A channel as `channel list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelReport {
    /// Its name.
    pub name: String,
    /// Its official host; empty when it is not configured.
    pub official_host: String,
    /// Its plugin.
    pub plugin: Option<String>,
    /// The plugin has a process of its own (`isolated`).
    pub isolated: bool,
    /// The id of that process, while there is one.
    pub process: Option<u32>,
    /// How its instance is.
    pub status: ChannelStatus,
    /// Messages in its queues (a message for several domains counts in each).
    pub messages: u64,
    /// Jobs under way.
    pub jobs: u32,
    /// Most jobs at once.
    pub max_jobs: u32,
    /// The pool they count in.
    pub pool: String,
    /// How it is started; `None` when it is not configured.
    pub schedule: Option<Schedule>,
    /// What went wrong with its plugin last.
    pub error: Option<String>,
    /// Since when an operator has it stopped.
    pub stopped_since: Option<Time>,
    /// When it runs next without anybody asking, where its `SCHEDULE` or closed `WINDOW` decides that.
    pub next_run: Option<Time>,
    /// How its instance is, where it has one.
    pub instance: Option<Report>,
    /// Old instances that finish what they hold.
    pub draining: usize,
    /// Why it gets nothing done although it has something to do, when that has been so for half a minute.
    pub stalled: Option<String>,
}

/// How a channel's instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelStatus {
    /// Nothing to do; started when there is.
    Idle,
    /// Being started.
    Starting,
    /// Alive.
    Running,
    /// It ended or could not be started, and will be started again.
    Failed,
    /// There is no plugin for it: its mail waits.
    NoPlugin,
    /// It is in no configuration any more; its mail waits.
    NotConfigured,
    /// An operator has stopped it, or the hub is stopping: nothing of it is begun.
    Stopped,
}

impl fmt::Display for ChannelStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::NoPlugin => "no plugin",
            Self::NotConfigured => "not configured",
            Self::Stopped => "stopped",
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Immediate => "immediate",
            Self::Periodic => "periodic",
            Self::Slave => "slave",
        })
    }
}

/// A callback for an answer.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// A question about the queue.
pub(crate) enum Question {
    Summarize { from: u32, done: Answer<SummaryPage> },
    List { selector: Option<Selector>, limit: usize, done: Answer<Vec<EntryView>> },
    Channels(Answer<Vec<ChannelReport>>),
    Releases { site: Option<String>, limit: usize, done: Answer<Vec<ReleaseRecord>> },
    Release(ReleaseId, Answer<Option<ReleaseRecord>>),
    Suspensions(Answer<Vec<ClosingDone>>),
}

/// What may become of a notice.
#[derive(Debug)]
pub(crate) enum NoticeEnd {
    /// It is durable; this is its ticket.
    Committed(Ticket),
    /// The sender does not want to hear of it.
    NotWanted,
    /// There is nobody to tell (the message is itself a notice) and nothing was to be sent.
    NobodyToTell,
    /// There is somebody, but no way to them.
    NoRoute(String),
    /// Not now: the spool does not take it.
    NotNow(String),
    /// The message itself cannot be read.
    Unreadable(String),
}

/// Everything that can happen.
pub(crate) enum Event {
    /// The spool has made a message durable.
    Accepted(Ticket),
    /// A notice has been dealt with.
    Notice { number: u64, end: NoticeEnd },
    /// Somebody opens the gate.
    Release { order: Order, done: Answer<Released> },
    /// The session behind a turned release is over.
    EndRelease(ReleaseId),
    /// Somebody wants to be told when a release is over.
    AwaitRelease(ReleaseId, Answer<Option<ReleaseRecord>>),
    /// An operator closes or opens a channel or a domain.
    Close { closing: Closing, done: Answer<Result<Vec<ClosingDone>, ClosingError>> },
    /// An operator chooses entries, one step.
    Choose { filter: Arc<Filter>, from: u32, done: Answer<Page> },
    /// What chosen entries are.
    Views { chosen: Vec<Chosen>, done: Answer<Vec<Option<EntryView>>> },
    /// Why chosen entries were deferred last.
    LastErrors { chosen: Vec<Chosen>, done: Answer<Vec<Option<Deferral>>> },
    /// Everything about the entries of a message.
    Details { id: EntryId, done: Answer<Vec<Details>> },
    /// An operator acts on chosen entries.
    Act { acting: Arc<Acting>, chosen: Vec<Chosen>, done: Answer<Portion> },
    /// An instance tells what happened.
    Host { channel: ChannelKey, generation: u64, event: HostEvent },
    /// A message could not be read from the spool.
    Unreadable { token: u64, what: String },
    /// The sender wants to hear when these recipients of a delivery have been delivered. Sent before a worker gets it.
    Wanted { token: u64, recipients: Vec<u32> },
    /// An instance is alive, or could not be started.
    Started { channel: ChannelKey, generation: u64, result: Result<Arc<dyn Runner>, String> },
    /// Somebody wants to know.
    Ask(Question),
    /// A new configuration, and what each of its channels is to the dispatcher, in their order: found out beforehand, so
    /// that the loop has little to do.
    Reload { loaded: Arc<Loaded>, policies: Vec<Policy>, tried: Vec<Prepared>, done: Answer<()> },
    /// A configuration is to have these instances: which of them take the place of others?
    PlanReload { instances: Vec<Instance>, done: Answer<Vec<Planned>> },
    /// A plugin is to be made anew: which instances does that need?
    PlanRenewal { plugins: Vec<String>, done: Answer<Vec<Planned>> },
    /// These instances are ready to take the place of those that there are.
    Renew {
        prepared: Vec<Prepared>,
        next: NextGeneration,
        drain: Duration,
        done: Answer<Vec<RenewedChannel>>,
    },
    /// The journal has been cut for a checkpoint, or not.
    Cut(Result<Cut, CheckpointError>),
    /// A checkpoint has been written, or not.
    Checkpointed(Result<(), String>),
    /// Up to when the moments of each activator have been kept.
    ActivatorsKept(BTreeMap<String, Time>),
    /// The end is near.
    Stop { until: Instant },
}
