//! Requests about entries of the queue: which are meant, what is told of them, what is done to them.

use serde::{Deserialize, Serialize};

/// Which entries are meant. Within a list any of them will do, between fields all must hold; what is left out says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// `example.com`, `@example.com`, `#tcp_dialup`, `id:…`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<String>,
    /// Names of channels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// `example.com`, or `@example.com` with everything below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// Ids of messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Envelope senders: `user@example.com`, `example.com`, `@example.com`, a pattern with `*` and `?`, or `<>`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub senders: Vec<String>,
    /// Open recipients, in the same forms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Accepted at least so many seconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than: Option<u64>,
    /// Accepted less than so many seconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<u64>,
    /// More octets of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// Fewer octets of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
    /// `waiting`, `active`, `deferred`, `held`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<String>,
    /// Messages with a higher id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Messages with no higher id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<String>,
}

/// What can be done to entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Neither time nor release moves them.
    Hold,
    /// Lifts a hold.
    Release,
    /// Back to their senders as undeliverable.
    Return,
    /// Gone without a word.
    Delete,
    /// Due now.
    Retry,
}

/// How much a filter means.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountRow {
    /// Entries: a message counts once for each channel and domain.
    pub entries: u64,
    /// Messages.
    pub messages: u64,
    /// Octets of their content.
    pub bytes: u64,
    /// Entries in delivery.
    pub active: u64,
    /// Entries on hold.
    pub held: u64,
    /// Recipients that the filter does not name and that share an entry with one that it names.
    pub others: u64,
    /// Entries that cannot be read, so that nobody knows whether they are meant. They are not counted above.
    pub unreadable: u64,
    /// The highest id among them, for [`Filter::up_to`].
    pub newest: Option<String>,
}

/// What became of the entries of an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActRow {
    /// The act.
    pub act: Act,
    /// Entries that were meant.
    pub entries: u64,
    /// Done.
    pub done: u64,
    /// It was so before.
    pub unchanged: u64,
    /// In delivery: held, deleted or returned if they come back deferred. A retry finds them being tried.
    pub active: u64,
    /// On hold, which a retry does not lift.
    pub held: u64,
    /// Of those done by a retry: due, and not tried, since the channel is stopped or the domain suspended.
    pub closed: u64,
    /// Gone meanwhile.
    pub gone: u64,
    /// On hold instead of returned, because no notice could be made.
    pub failed: u64,
    /// Entries that cannot be read, so that nobody knows whether they are meant. Nothing was done to them.
    pub unreadable: u64,
}

/// Everything known of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// The queue id.
    pub id: String,
    /// The envelope sender; empty for notices.
    pub sender: String,
    /// The channel it came by.
    pub source_channel: String,
    /// When it came in.
    pub arrived: String,
    /// Octets of content.
    pub bytes: u64,
    /// `urgent`, `normal`, `nonurgent`.
    pub priority: String,
    /// The same as the number of RFC 6710, -9 to 9: what MAIL said, else 4, 0 or -4 for those words.
    pub transfer_priority: i8,
    /// The sender's date, where it gave one.
    pub deferred_until: Option<String>,
    /// Why a filter has put it on hold when it came; `null` when none has, or when it is on hold no more.
    #[serde(default)]
    pub hold_reason: Option<String>,
    /// Where it waits.
    pub entries: Vec<MessageEntry>,
    /// Everybody it is for.
    pub recipients: Vec<MessageRecipient>,
    /// Why the message cannot be read from the spool; what only the envelope knows is then empty.
    pub error: Option<String>,
}

/// One of a message's entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEntry {
    /// The channel it is routed to.
    pub channel: String,
    /// The destination domain.
    pub domain: String,
    /// `waiting`, `active`, `deferred`, `held`.
    pub state: String,
    /// Attempts made.
    pub attempts: u32,
    /// When the next one is due; `null` when only a release or the periodic service starts one.
    pub due: Option<String>,
    /// When it is given up.
    pub expires: Option<String>,
    /// Notices of delay that were sent.
    pub notices_sent: u32,
    /// When it was deferred last.
    pub deferred_at: Option<String>,
    /// Why, with its status code: the peer's words, or ours.
    pub last_error: Option<String>,
    /// Who said so; `null` when nobody was reached.
    pub peer: Option<String>,
    /// What keeps it back: `channel NAME is stopped`, `example.com is suspended`.
    pub closed: Vec<String>,
    /// An act that is carried out if it comes back from its delivery.
    pub noted: Option<String>,
    /// How the channel starts; empty when no configuration has it.
    pub schedule: String,
    /// The plugin that carries it.
    pub plugin: Option<String>,
    /// The host that the channel always connects to.
    pub fixed_peer: Option<String>,
}

/// One of a message's recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecipient {
    /// As it is routed.
    pub address: String,
    /// As it was given.
    pub original: String,
    /// The channel.
    pub channel: String,
    /// The destination domain.
    pub domain: String,
    /// The state of its entry; `settled` when it was delivered, returned or deleted.
    pub state: String,
}

/// A stretch of a message's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRow {
    /// One character for each octet, U+0000 to U+00FF: content need not be UTF-8. Lines end in CRLF, dots are unstuffed.
    pub octets: String,
}

/// How far the hub has come with a request that takes long. Not part of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Entries dealt with.
    pub progress: u64,
    /// Of so many.
    pub of: u64,
}
