//! Requests and answers of the control socket, as they are written in JSON.
//!
//! Field names are the contract that scripts use: the command line prints the same objects with `--format json`.
//! Not here: sockets. Times are RFC 3339 in UTC, sizes are octets, `null` says that there is nothing to tell.

mod plugin;
mod queue;
mod spool;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use plugin::{PluginChannel, PluginDetails, PluginOptionRow, PluginReloaded, ReloadedChannel};
pub use queue::{
    Act, ActRow, ContentRow, CountRow, Filter, MessageEntry, MessageRecipient, MessageRow, Progress,
};
pub use spool::{AsideRow, AsideSegmentRow, BroughtBackRow};

/// What an operator asks of the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Makes what waits under a selector due now; answers one [`Triggered`].
    Trigger {
        /// `example.com`, `@example.com`, `#tcp_dialup` or `id:…`.
        selector: String,
    },
    /// A line has come up: releases the sites that are marked for that (`ON_LINK_UP`), one [`LinkUpRow`] each.
    LinkUp {
        /// Only these sites, by name; all that are marked when empty.
        names: Vec<String>,
    },
    /// The waiting entries, one [`EntryRow`] each, oldest first.
    QueueList {
        /// Only what this selector names; everything when left out.
        selector: Option<String>,
        /// Only these.
        #[serde(default)]
        filter: Filter,
        /// At most so many rows, and those that the last message has beyond.
        limit: u64,
    },
    /// How much a filter means; answers one [`CountRow`].
    QueueCount {
        /// Which.
        filter: Filter,
    },
    /// Everything known of a message; answers one [`MessageRow`].
    QueueShow {
        /// Its id.
        id: String,
    },
    /// The content of a message, a [`ContentRow`] each stretch.
    QueueRead {
        /// Its id.
        id: String,
        /// The header only.
        headers: bool,
    },
    /// Does something to entries; answers one [`ActRow`] when it is on the disk.
    QueueAct {
        /// What.
        act: Act,
        /// To which. An empty filter means all there are.
        filter: Filter,
        /// Who wants it, for the log.
        by: String,
        /// Why, for the log and for the sender of what is returned.
        reason: String,
    },
    /// One [`SummaryRow`] for each channel and destination domain with mail.
    QueueSummarize,
    /// One [`ChannelRow`] for each channel of the configuration, and for those that only have mail left.
    ChannelList,
    /// Stops channels; a [`ChannelClosing`] each.
    ChannelStop {
        /// Their names, lower case.
        channels: Vec<String>,
    },
    /// Starts channels that were stopped; a [`ChannelClosing`] each.
    ChannelStart {
        /// Their names, lower case.
        channels: Vec<String>,
    },
    /// Has nothing tried for a domain; answers one [`SuspensionRow`].
    Suspend {
        /// `example.com`, or `@example.com` with everything below it.
        domain: String,
        /// For how long; `null`: until it is resumed.
        seconds: Option<u64>,
        /// Why, in the operator's words.
        reason: String,
    },
    /// Ends a suspension; answers one [`SuspensionRow`], of what was.
    Resume {
        /// As it was suspended.
        domain: String,
    },
    /// One [`SuspensionRow`] for each suspension in force.
    SuspendList,
    /// One [`PluginRow`] for each plugin that is loaded.
    PluginList,
    /// Everything known of a plugin; answers one [`PluginDetails`].
    PluginShow {
        /// Its name in the configuration, or the one in its file's name.
        plugin: String,
    },
    /// Loads what is in a plugin's file now, beside what is in force, and has its channels go over to that; answers one
    /// [`PluginReloaded`], and a fault when everything is as it was.
    PluginReload {
        /// As for `plugin-show`.
        plugin: String,
        /// How long what is in delivery may take; DELIVERY_DEADLINE when left out.
        drain_secs: Option<u64>,
    },
    /// How the activators are doing, one [`ActivatorRow`] each.
    ActivatorStatus,
    /// Has an activator ask its server now; answers its [`ActivatorRow`] as it is then. The run is over when `runs` has grown.
    ActivatorRun {
        /// Its name.
        name: String,
    },
    /// A line has come up: activators with ON_LINK_UP ask their servers; answers `{"activator":…}` for each.
    ActivatorLinkUp,
    /// One [`ReleaseRow`] for each release, the newest first.
    ReleaseList {
        /// Only those of this site, its last ten at most; all when left out.
        site: Option<String>,
        /// At most so many rows.
        limit: u64,
    },
    /// One [`ReleaseRow`].
    ReleaseShow {
        /// Its id.
        id: String,
    },
    /// A [`ReleaseRow`] whenever it has changed, at least every ten seconds, until the release is over.
    ReleaseFollow {
        /// Its id; the newest release that is under way, or the newest there is, when left out.
        id: Option<String>,
    },
    /// What segments in quarantine have: an [`AsideRow`] for each message, and an [`AsideSegmentRow`] behind those of a segment.
    SpoolAside {
        /// Only that segment; all that are in quarantine when left out.
        segment: Option<u32>,
    },
    /// Brings back what they have and nobody else; answers one [`BroughtBackRow`], and [`Progress`] before it.
    SpoolBringBack {
        /// As for `spool-aside`.
        segment: Option<u32>,
        /// Who wants it, for the log.
        by: String,
    },
    /// Reads the configuration again; answers its diagnostics, and a fault when the old one stays.
    Reload,
    /// How the hub is doing, at least that it is there; answers one [`HubRow`].
    Ping,
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// A row of the answer.
    Data(Value),
    /// The answer is complete.
    End {},
    /// The answer ends here because of this.
    Fault(Fault),
}

/// Why a request could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What sort of trouble; the command line's exit status follows from it.
    pub kind: FaultKind,
    /// For a person, lower case, without a full stop.
    pub message: String,
    /// Names that may have been meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<String>,
}

/// The sorts of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The request does not make sense; the same request will fail again (exit 64).
    Malformed,
    /// A channel, domain or message that is not there (exit 65).
    Unknown,
    /// The configuration was refused (exit 78).
    Configuration,
    /// Not now: the hub is starting, stopping or unwell (exit 75).
    Unavailable,
}

impl Fault {
    /// A fault without suggestions.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into(), nearest: Vec::new() }
    }
}

/// What a trigger set in motion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggered {
    /// The selector as it was understood.
    pub selector: String,
    /// Channels that run because of it.
    pub channels: Vec<String>,
    /// Messages it covers, each counted once, also those in delivery already.
    pub messages: u64,
    /// What keeps some of it back: `channel NAME is stopped`, `@example.com is suspended`.
    pub closed: Vec<String>,
    /// Id of its record.
    #[serde(default)]
    pub release: String,
}

/// A release, and what has come of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRow {
    /// Its id.
    pub id: String,
    /// `running` or `ended`.
    pub state: String,
    /// When it was asked for.
    pub asked: String,
    /// How: `etrn`, `atrn`, `operator`, `schedule`.
    pub by: String,
    /// The site it was for.
    pub site: Option<String>,
    /// As whom the peer had logged in.
    pub login: Option<String>,
    /// The peer's address.
    pub address: Option<String>,
    /// What it called itself, escaped.
    pub helo: Option<String>,
    /// The channel of its session.
    pub channel: Option<String>,
    /// What it asked for, as it was typed, escaped.
    pub argument: Option<String>,
    /// What was released, as selectors.
    pub covers: String,
    /// Which way the mail went.
    pub way: String,
    /// All that was covered when it was asked for: the number in the reply.
    pub promised: SumRow,
    /// The part of it that other releases, or deliveries under way by another connection, count.
    pub elsewhere: SumRow,
    /// Ids of those releases.
    pub with: Vec<String>,
    /// What came in later and went with it.
    pub joined: SumRow,
    /// Not tried yet.
    pub waiting: SumRow,
    /// Somebody else answers for it now.
    pub delivered: SumRow,
    /// Tried, and put off.
    pub deferred: SumRow,
    /// Failed for good.
    pub bounced: SumRow,
    /// Not tried, and not going to be by this release.
    pub left_over: SumRow,
    /// What was said last of a recipient that was put off or failed.
    pub last_text: Option<String>,
    /// When it was over.
    pub ended: Option<String>,
    /// Why.
    pub end: Option<String>,
}

/// How many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SumRow {
    /// Messages, each counted once.
    pub messages: u64,
    /// Recipients.
    pub recipients: u64,
    /// Octets of content of these messages.
    pub bytes: u64,
}

/// A site that was released because a line has come up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkUpRow {
    /// The site's name.
    pub site: String,
    /// Channels that run because of it.
    pub channels: Vec<String>,
    /// Messages it covers, each counted once.
    pub messages: u64,
}

/// What waits for one destination domain on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// The channel's name.
    pub channel: String,
    /// The destination domain, in lower case.
    pub domain: String,
    /// Messages with at least one recipient here.
    pub messages: u64,
    /// Their sizes added up, in octets.
    pub bytes: u64,
    /// When the oldest of them came in.
    pub oldest: Option<String>,
    /// How many of them are on hold.
    pub held: u64,
    /// How many of them are not tried because the domain is suspended.
    pub suspended: u64,
    /// How many of them a channel is working on.
    pub active: u64,
    /// When the next attempt is due; `null` when only a release or the periodic service will start one.
    pub next_due: Option<String>,
}

/// One message in one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// The queue id, as in `Received:` and in the log.
    pub id: String,
    /// The channel's name.
    pub channel: String,
    /// The destination domain.
    pub domain: String,
    /// `waiting`, `active`, `deferred` (until a date of the sender's) or `held`.
    pub state: String,
    /// The envelope sender; empty for notices.
    pub sender: String,
    /// The recipients that are still to be reached here.
    pub recipients: Vec<String>,
    /// Octets of content.
    pub bytes: u64,
    /// How soon it is to be transferred, -9 to 9 (RFC 6710): the higher the sooner.
    pub transfer_priority: i8,
    /// When it came in.
    pub arrived: String,
    /// Attempts made.
    pub attempts: u32,
    /// When the next attempt is due; `null` as in [`SummaryRow::next_due`].
    pub due: Option<String>,
    /// When it was deferred last.
    pub deferred_at: Option<String>,
    /// Why, with its status code: the peer's words, or ours.
    pub last_error: Option<String>,
    /// Who said so; `null` when nobody was reached.
    pub peer: Option<String>,
    /// Why it is held, where a filter or the hub has said so: `null` for what an operator has put on hold, and for what waits.
    #[serde(default)]
    pub hold_reason: Option<String>,
    /// Why the message cannot be read from the spool; sender and recipients are then not known.
    pub error: Option<String>,
}

/// A server that is asked for our mail, and how that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivatorRow {
    /// The activator's name.
    pub activator: String,
    /// Whom it asks.
    pub server: String,
    /// At which port.
    pub port: u16,
    /// `etrn` or `atrn`.
    pub method: String,
    /// It is asking now.
    pub running: bool,
    /// How often it has asked since the hub was started.
    pub runs: u64,
    /// When it last asked, since the hub was started; `null` when it has not.
    pub last_run: Option<String>,
    /// What came of it: `done`, `later` (it may work soon) or `refused` (somebody must change something).
    pub standing: Option<String>,
    /// What the server said, or why it was not asked.
    pub answer: Option<String>,
    /// When it asks next; `null` when only a person or a link that comes up makes it.
    pub next_run: Option<String>,
    /// Until when mail that the server promised is waited for.
    pub waits_until: Option<String>,
    /// What somebody should look at.
    pub alert: Option<String>,
}

/// One channel and how it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRow {
    /// The channel's name.
    pub channel: String,
    /// Its official host name; empty for a channel that only has mail left.
    pub official_host: String,
    /// The plugin that runs it.
    pub plugin: Option<String>,
    /// The plugin has a process of its own.
    #[serde(default)]
    pub isolated: bool,
    /// The id of that process, while there is one.
    #[serde(default)]
    pub pid: Option<u32>,
    /// `idle`, `running`, `stopped`, `failed`, `no plugin` or `not configured`.
    pub status: String,
    /// How it starts: `immediate`, `periodic`, `slave`.
    pub schedule: String,
    /// Messages in its queues.
    pub messages: u64,
    /// Jobs at work now.
    pub jobs: u32,
    /// Most jobs at once (`maxjobs`).
    pub max_jobs: u32,
    /// The pool its jobs count in.
    pub pool: String,
    /// What last went wrong with the plugin.
    pub error: Option<String>,
    /// When it runs next without anybody asking, where its `SCHEDULE` or closed `WINDOW` decides that.
    #[serde(default)]
    pub next_run: Option<String>,
    /// Why it gets nothing done although it has something to do, when that has been so for half a minute.
    #[serde(default)]
    pub stalled: Option<String>,
    /// Since when an operator has it stopped.
    pub stopped_since: Option<String>,
}

/// A channel that was stopped or started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelClosing {
    /// The channel's name.
    pub channel: String,
    /// Whether it is stopped now.
    pub stopped: bool,
    /// Whether that is new.
    pub changed: bool,
    /// Messages in its queues.
    pub messages: u64,
    /// Messages in delivery, which go on.
    pub active: u64,
}

/// A domain for which nothing is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspensionRow {
    /// `example.com`, or `@example.com` with everything below it.
    pub domain: String,
    /// When it was suspended.
    pub since: String,
    /// When it ends by itself; `null`: when it is resumed.
    pub until: Option<String>,
    /// Why; may be empty.
    pub reason: String,
    /// Messages that wait for it.
    pub messages: u64,
    /// Messages in delivery, which go on.
    pub active: u64,
}

/// One loaded plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRow {
    /// The name that the configuration uses.
    pub plugin: String,
    /// The shared library it came from.
    pub file: String,
    /// Which loading of that file is in force, from 1 on; 0 when none is.
    #[serde(default)]
    pub generation: u32,
    /// Its own version.
    pub version: String,
    /// The version of the contract that it was built for.
    pub abi: u32,
    /// What it says of itself.
    pub description: String,
    /// Names of the options it takes.
    pub options: Vec<String>,
    /// Channels that use it.
    pub channels: Vec<String>,
    /// It has processes of its own, one for each of these channels.
    #[serde(default)]
    pub isolated: bool,
    /// Ids of those that there are now.
    #[serde(default)]
    pub pids: Vec<u32>,
    /// Why it could not be loaded; the fields above are then empty.
    pub error: Option<String>,
}

/// The hub itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubRow {
    /// Sluice's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// How the disk of its spool is doing: `ok`, `full` (new mail is refused), `failing` (what is written does not arrive).
    #[serde(default)]
    pub spool: String,
    /// What the system said, while it fails.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Messages in the spool.
    #[serde(default)]
    pub messages: u64,
    /// What was settled, held or released and is in memory only, until the disk takes it.
    #[serde(default)]
    pub unwritten: u64,
    /// Damaged places that were found in the spool and copied to its folder `quarantine`, since the hub was started.
    #[serde(default)]
    pub damaged: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/internals/control-protocol.md");

    fn fields(row: impl Serialize) -> Vec<String> {
        let Value::Object(object) = serde_json::to_value(row).unwrap() else { panic!("a row is an object") };
        object.keys().cloned().collect()
    }

    #[test]
    fn the_page_shows_every_request_and_the_fields_of_its_rows() {
        let text = String::new;
        let closing =
            || ChannelClosing { channel: text(), stopped: true, changed: true, messages: 0, active: 0 };
        let only = |state: &str| Filter { states: vec![state.to_owned()], ..Filter::default() };
        let suspension = || SuspensionRow {
            domain: text(),
            since: text(),
            until: None,
            reason: text(),
            messages: 0,
            active: 0,
        };
        let rows = [
            (Request::QueueCount { filter: only("active") }, fields(CountRow::default())),
            (
                Request::QueueShow { id: "0000000000000A41".into() },
                fields(MessageRow {
                    id: text(),
                    sender: text(),
                    source_channel: text(),
                    arrived: text(),
                    bytes: 0,
                    priority: text(),
                    transfer_priority: 0,
                    deferred_until: None,
                    hold_reason: None,
                    entries: Vec::new(),
                    recipients: Vec::new(),
                    error: None,
                }),
            ),
            (
                Request::QueueRead { id: "0000000000000A41".into(), headers: false },
                fields(ContentRow { octets: text() }),
            ),
            (
                Request::QueueAct {
                    act: Act::Hold,
                    filter: only("waiting"),
                    by: "root".into(),
                    reason: "looking into it".into(),
                },
                fields(ActRow {
                    act: Act::Hold,
                    entries: 0,
                    done: 0,
                    unchanged: 0,
                    active: 0,
                    held: 0,
                    closed: 0,
                    gone: 0,
                    failed: 0,
                    unreadable: 0,
                }),
            ),
            (Request::ChannelStop { channels: vec!["tcp_local".into()] }, fields(closing())),
            (Request::ChannelStart { channels: vec!["tcp_local".into()] }, fields(closing())),
            (
                Request::Suspend {
                    domain: "@example.com".into(),
                    seconds: Some(7200),
                    reason: "moving".into(),
                },
                fields(suspension()),
            ),
            (Request::Resume { domain: "@example.com".into() }, fields(suspension())),
            (Request::SuspendList, fields(suspension())),
            (
                Request::Trigger { selector: "@example.com".into() },
                fields(Triggered {
                    selector: text(),
                    channels: Vec::new(),
                    messages: 0,
                    closed: Vec::new(),
                    release: text(),
                }),
            ),
            (
                Request::LinkUp { names: vec!["site7".into()] },
                fields(LinkUpRow { site: text(), channels: Vec::new(), messages: 0 }),
            ),
            (
                Request::QueueList { selector: None, filter: Filter::default(), limit: 1000 },
                fields(EntryRow {
                    hold_reason: None,
                    id: text(),
                    channel: text(),
                    domain: text(),
                    state: text(),
                    sender: text(),
                    recipients: Vec::new(),
                    bytes: 0,
                    transfer_priority: 0,
                    arrived: text(),
                    attempts: 0,
                    due: None,
                    deferred_at: None,
                    last_error: None,
                    peer: None,
                    error: None,
                }),
            ),
            (
                Request::QueueSummarize,
                fields(SummaryRow {
                    channel: text(),
                    domain: text(),
                    messages: 0,
                    bytes: 0,
                    oldest: None,
                    held: 0,
                    suspended: 0,
                    active: 0,
                    next_due: None,
                }),
            ),
            (
                Request::ChannelList,
                fields(ChannelRow {
                    channel: text(),
                    official_host: text(),
                    plugin: None,
                    isolated: false,
                    pid: None,
                    status: text(),
                    schedule: text(),
                    messages: 0,
                    jobs: 0,
                    max_jobs: 0,
                    pool: text(),
                    error: None,
                    next_run: None,
                    stalled: None,
                    stopped_since: None,
                }),
            ),
            (
                Request::PluginShow { plugin: "tcp".into() },
                [
                    fields(PluginDetails::default()),
                    fields(PluginOptionRow::default()),
                    fields(PluginChannel::default()),
                ]
                .concat(),
            ),
            (
                Request::PluginReload { plugin: "tcp".into(), drain_secs: None },
                [fields(PluginReloaded::default()), fields(ReloadedChannel::default())].concat(),
            ),
            (
                Request::PluginList,
                fields(PluginRow {
                    plugin: text(),
                    generation: 0,
                    file: text(),
                    version: text(),
                    abi: 0,
                    description: text(),
                    options: Vec::new(),
                    channels: Vec::new(),
                    isolated: false,
                    pids: Vec::new(),
                    error: None,
                }),
            ),
            (Request::ReleaseList { site: None, limit: 20 }, fields(ReleaseRow::default())),
            (Request::ReleaseShow { id: "01A0C4506C01".into() }, Vec::new()),
            (Request::ReleaseFollow { id: None }, Vec::new()),
            (
                Request::SpoolAside { segment: None },
                [fields(AsideRow::default()), fields(AsideSegmentRow::default())].concat(),
            ),
            (
                Request::SpoolBringBack { segment: Some(7), by: "root".into() },
                fields(BroughtBackRow::default()),
            ),
            (Request::Reload, Vec::new()),
            (
                Request::Ping,
                fields(HubRow {
                    version: text(),
                    pid: 0,
                    spool: text(),
                    trouble: None,
                    messages: 0,
                    unwritten: 0,
                    damaged: 0,
                }),
            ),
        ];
        for (request, fields) in rows {
            let written = serde_json::to_string(&request).unwrap();
            let row = PAGE
                .lines()
                .find(|line| line.contains(&format!("`{written}`")))
                .unwrap_or_else(|| panic!("the page has no row for {written}"));
            for field in fields {
                assert!(row.contains(&format!("`{field}`")), "{written}: the page lacks {field}");
            }
        }
    }

    #[test]
    fn the_page_shows_every_field_of_a_filter_and_of_a_message() {
        let text = || "x".to_owned();
        let filter = Filter {
            selectors: vec![text()],
            channels: vec![text()],
            domains: vec![text()],
            ids: vec![text()],
            senders: vec![text()],
            recipients: vec![text()],
            older_than: Some(1),
            newer_than: Some(1),
            larger_than: Some(1),
            smaller_than: Some(1),
            states: vec![text()],
            after: Some(text()),
            up_to: Some(text()),
        };
        let entry = MessageEntry {
            channel: text(),
            domain: text(),
            state: text(),
            attempts: 0,
            due: None,
            expires: None,
            notices_sent: 0,
            deferred_at: None,
            last_error: None,
            peer: None,
            closed: Vec::new(),
            noted: None,
            schedule: text(),
            plugin: None,
            fixed_peer: None,
        };
        let recipient = MessageRecipient {
            address: text(),
            original: text(),
            channel: text(),
            domain: text(),
            state: text(),
        };
        for field in
            [fields(filter), fields(entry), fields(recipient), fields(Progress { progress: 0, of: 0 })]
                .concat()
        {
            assert!(PAGE.contains(&format!("`{field}`")), "the page lacks {field}");
        }
    }

    #[test]
    fn the_page_shows_every_kind_of_fault() {
        for kind in
            [FaultKind::Malformed, FaultKind::Unknown, FaultKind::Configuration, FaultKind::Unavailable]
        {
            let written = serde_json::to_string(&kind).unwrap();
            assert!(PAGE.contains(&format!("| `{}` |", written.trim_matches('"'))), "{written}");
        }
    }
}
