//! Notices: telling the sender that a message could not be delivered, or is late.
//!
//! A notice is made at the desk, from the message as it stands in the spool, and goes in at the front door like any
//! mail: routed by the rewrite rules with source channel `process`, committed to the spool, queued. Its sender is the
//! null reverse-path, so that no notice is ever sent about a notice (RFC 5321, section 4.5.5; RFC 3464, section 2).
//!
//! # Order
//! The caller settles the failed recipients only after [`NoticeEnd::Committed`]: a stop in between makes a second notice,
//! never a loss nobody hears of.
//!
//! # Who is told
//! The sender; and the postmaster by `sendpost` and its relatives (for notices of delay `warnpost` and its). A sender
//! that no rule routes gets nothing: then the postmaster is told in their place, unless `nosendpost` says never.

use std::sync::Arc;

use sluice_config::{Channel, NoticeTerms, PostmasterCopies};
use sluice_mail::notice::{Action, Notice, Report, Returned};
use sluice_mail::wire::{self, Unstuffer};
use sluice_mail::{
    Address, Envelope, Notify, Outcome, Priority, Recipient, RecipientWishes, Return, Status, Time, Wishes,
    wishes,
};
use sluice_queue::EntryView;
use sluice_rewrite::{Context, Kind as AddressKind, Rejected, Route};
use sluice_spool::{EntryId, Spool};

use crate::conversions;
use crate::desk::{self, open_recipients};
use crate::event::{Event, Loaded, NoticeEnd};
use crate::handle::CommitError;
use crate::record;
use crate::sync::Sender;
use crate::ticket::ticket;

/// The source channel of mail that the house itself makes.
pub(crate) const PROCESS_CHANNEL: &str = "process";

/// Where CONTENT_RETURN_BLOCK_LIMIT does not say otherwise, a message up to this size is returned whole, of a larger one only
/// the header: notices go through the mailboxes of people who may not have written the message at all.
pub const RETURNED_WHOLE_MAX: usize = 64 * 1024;
/// No larger message is returned whole, whatever the option says: a notice is put together in memory.
const RETURNED_MOST: usize = 4 << 20;
/// RFC 3463 X.4.7, class 4: delivery time is running out.
const STILL_TRIED: Status = Status { class: 4, subject: 4, detail: 7 };

/// What is to be told.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Something has become of these recipients that the sender may want to know.
    Settled(Vec<Told>),
    /// All open recipients of the entry have failed, for the same reason.
    AllFailed(Outcome),
    /// None has failed yet: they are late, and will be given up at that time. What is known of when they go is empty where
    /// nothing is.
    Delayed { give_up: Time, expected: String },
}

impl News {
    /// Nothing has gone wrong.
    pub(crate) fn is_good(&self) -> bool {
        match self {
            Self::Settled(told) => told.iter().all(|one| one.action != Action::Failed),
            Self::AllFailed(_) | Self::Delayed { .. } => false,
        }
    }
}

/// What has become of one recipient.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Its index in the envelope.
    pub(crate) index: u32,
    pub(crate) action: Action,
    pub(crate) outcome: Outcome,
}

/// Who of those that are to be told a notice is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Sender and postmaster get the same.
    Everybody,
    /// The postmaster's copy is another one (`postheadonly`), and this is it. It comes first: the entry is settled by the
    /// notice to the sender.
    Postmaster,
    /// The sender, after [`Audience::Postmaster`]; or the postmaster in their place.
    Sender,
}

impl Audience {
    /// Whom the first notice is for.
    pub(crate) const fn first(terms: &NoticeTerms) -> Self {
        if terms.post_head_only { Self::Postmaster } else { Self::Everybody }
    }

    /// Whom the next one is for, if there is one.
    pub(crate) const fn next(self) -> Option<Self> {
        match self {
            Self::Postmaster => Some(Self::Sender),
            Self::Everybody | Self::Sender => None,
        }
    }
}

/// The postmaster's address in notices on these terms.
pub(crate) fn postmaster(loaded: &Loaded, terms: &NoticeTerms) -> String {
    let configured = terms.address.as_ref().or(loaded.config.options.return_address.as_ref());
    configured
        .cloned()
        .unwrap_or_else(|| format!("postmaster@{}", loaded.config.channels.local().official_host))
}

/// The channel that notices on these terms come from: the one of `notificationchannel` if it exists, else `process`
/// (Messaging Server Administration Guide, "Process channel overrides").
fn source_channel<'a>(loaded: &'a Loaded, terms: &NoticeTerms) -> &'a str {
    let named = terms.channel.as_ref().and_then(|name| loaded.config.channels.by_name(name));
    named.map_or(PROCESS_CHANNEL, |channel| &channel.name)
}

/// Whether notices come from that channel.
pub(crate) fn comes_from_us(loaded: &Loaded, source: &str) -> bool {
    let is_named = |channel: &Channel| channel.settings.notice_terms.channel.as_deref() == Some(source);
    source == PROCESS_CHANNEL || loaded.config.channels.iter().any(is_named)
}

/// A notice to be made.
pub(crate) struct NoticeJob {
    /// By which its end is reported.
    pub(crate) number: u64,
    pub(crate) entry: EntryView,
    pub(crate) news: News,
    pub(crate) now: Time,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) copies: PostmasterCopies,
    pub(crate) terms: NoticeTerms,
    pub(crate) audience: Audience,
}

/// Who is told.
struct Addressees {
    sender: Vec<Recipient>,
    postmaster: Vec<Recipient>,
}

impl NoticeJob {
    /// Makes it and commits it. One [`Event::Notice`] comes of it, whatever happens.
    pub(crate) fn run(self, spool: &Spool, arrivals: &Sender<Event>) {
        let number = self.number;
        let tell = |end: NoticeEnd| {
            // Fails only when the dispatcher has gone; the recipients are then still open in the journal.
            let _ = arrivals.send(Event::Notice { number, end });
        };
        let draft = spool.draft();
        let (id, about) = (draft.id(), self.entry.id);
        let mut records = Vec::new();
        let (mut envelope, content) = match self.compose(id, spool, &mut records) {
            Ok(made) => made,
            Err(end) => {
                if matches!(end, NoticeEnd::NotWanted) {
                    records.iter().for_each(|line| record::write(about, line));
                }
                return tell(end);
            }
        };
        // It has what was in the message, and goes past no program either.
        if conversions::lead(&mut envelope, None, false, &self.loaded).is_err() {
            return tell(NoticeEnd::NotNow(CommitError::Unanswered.to_string()));
        }
        let bytes = envelope.encode();
        let size = content.len() as u64;
        let (arrivals, loaded) = (arrivals.clone(), Arc::clone(&self.loaded));
        draft.commit(bytes, content, move |result| {
            let end = match result {
                Ok(at) => {
                    records.iter().for_each(|line| record::write(about, line));
                    NoticeEnd::Committed(ticket(id, at, size, envelope, &loaded.config))
                }
                Err(error) => NoticeEnd::NotNow(desk::chain(&error)),
            };
            let _ = arrivals.send(Event::Notice { number, end });
        });
    }

    fn compose(
        &self,
        id: EntryId,
        spool: &Spool,
        records: &mut Vec<String>,
    ) -> Result<(Envelope, Vec<u8>), NoticeEnd> {
        let (stored, envelope) = desk::read(spool, self.entry.at).map_err(NoticeEnd::Unreadable)?;
        *records = self.records(&envelope);
        let mut unstuffer = Unstuffer::new();
        let pieces = stored.pieces().flat_map(|piece| unstuffer.piece(piece));
        self.write(id, pieces, RETURNED_MOST, &envelope)
    }

    /// The notice and its envelope. The pieces are of the message whose envelope this is; at most `known` octets of it are
    /// there.
    pub(crate) fn write<'a>(
        &self,
        id: EntryId,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        known: usize,
        envelope: &Envelope,
    ) -> Result<(Envelope, Vec<u8>), NoticeEnd> {
        let reports = self.reports(envelope);
        if reports.is_empty() {
            return Err(NoticeEnd::NotWanted);
        }
        let Addressees { sender, postmaster } = self.recipients(&envelope.sender)?;
        let header_only = self.terms.post_head_only && sender.is_empty();
        let (recipients, header_only) = match self.audience {
            Audience::Everybody => ([sender, postmaster].concat(), header_only),
            Audience::Sender if sender.is_empty() => (postmaster, header_only),
            Audience::Sender => (sender, false),
            // Nothing of its own: the other notice is for the same people.
            Audience::Postmaster if sender.is_empty() || postmaster.is_empty() => {
                return Err(NoticeEnd::NobodyToTell);
            }
            Audience::Postmaster => (postmaster, true),
        };
        let returned = match header_only {
            true => Returned::of(pieces, 0),
            false => self.returned(pieces, known, &recipients, envelope.wishes.returned),
        };
        let told = recipients.first().map_or("", |recipient| &recipient.original);
        let wire = wire::stuff(&self.notice(id, returned, envelope, reports, told).build());
        let mut recipients = recipients;
        for recipient in &mut recipients {
            // Nobody is told about notices, here or anywhere (RFC 3464 section 2).
            recipient.wishes.notify = Notify::NEVER;
        }
        let notice = Envelope {
            sender: String::new(),
            arrived: self.now,
            source_channel: source_channel(&self.loaded, &self.terms).to_owned(),
            priority: Priority::Normal,
            eight_bit: !wire.is_ascii(),
            smtputf8: recipients.iter().any(|recipient| !recipient.address.is_ascii()),
            held: false,
            hold_reason: String::new(),
            deferred_until: None,
            // A notice goes as soon as the message that it is about (RFC 6710).
            wishes: Wishes { priority: envelope.wishes.priority, ..Wishes::default() },
            recipients,
        };
        Ok((notice, wire))
    }

    /// What these recipients get of the message: its header if the sender wanted no more, else all of it unless it is too large for CONTENT_RETURN_BLOCK_LIMIT or for the
    /// channel of one of them; with a warning only the first LINES_TO_RETURN lines.
    fn returned<'a>(
        &self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        known: usize,
        recipients: &[Recipient],
        wished: Option<Return>,
    ) -> Returned {
        // RFC 3461 section 4.3: what RET says is about failures; word of success never needs the body.
        if wished == Some(Return::Headers) || self.news.is_good() {
            return Returned::of(pieces, 0);
        }
        let config = &self.loaded.config;
        let of_channel = |to: &Recipient| config.channels.by_name(&to.channel)?.settings.block_limit;
        let limits = recipients.iter().filter_map(of_channel).chain(config.options.content_return_limit);
        let limit = limits.min().map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let size = usize::try_from(self.entry.size).unwrap_or(usize::MAX);
        match self.news {
            News::Delayed { .. } if limit.is_none_or(|limit| size <= limit) => {
                Returned::sample(pieces, config.options.lines_to_return)
            }
            News::Delayed { .. } => Returned::of(pieces, 0),
            _ => Returned::of(pieces, limit.unwrap_or(RETURNED_WHOLE_MAX).min(known).min(RETURNED_MOST)),
        }
    }

    /// The facts, for the one who writes them down.
    fn notice(
        &self,
        id: EntryId,
        returned: Returned,
        envelope: &Envelope,
        recipients: Vec<Report>,
        told: &str,
    ) -> Notice {
        let local_host = self.local_host();
        let personal = self.terms.personal.as_ref().or(self.loaded.config.options.return_personal.as_ref());
        Notice {
            reporting_mta: local_host.to_owned(),
            sender: told.to_owned(),
            postmaster: postmaster(&self.loaded, &self.terms),
            personal: personal.cloned().unwrap_or_default(),
            message_id: format!("{id}.{}@{local_host}", self.now.0),
            date: self.now,
            arrived: envelope.arrived,
            envelope_id: wishes::xtext_decoded(&envelope.wishes.envelope_id).unwrap_or_default(),
            later: envelope.wishes.later,
            recipients,
            returned,
        }
    }

    /// The records of what happens here and of nothing that a worker has said, where the channel has `logging`.
    fn records(&self, envelope: &Envelope) -> Vec<String> {
        let (entry, config) = (&self.entry, &self.loaded.config);
        let logs = config.channels.by_name(&entry.channel).is_some_and(|channel| channel.settings.logging);
        let (action, outcome) = match &self.news {
            News::AllFailed(outcome) => (Action::Failed, Some(outcome)),
            News::Delayed { .. } => (Action::Delayed, None),
            News::Settled(_) => return Vec::new(),
        };
        if !logs || self.audience == Audience::Postmaster {
            return Vec::new();
        }
        let blocks = record::blocks(entry.size, config);
        open_recipients(envelope, &entry.channel, &entry.domain, entry.open.as_deref())
            .map(|(_, recipient)| {
                record::told(&entry.channel, blocks, &envelope.sender, recipient, action, outcome)
            })
            .collect()
    }

    /// What the sender is to be told of each recipient, as far as it wants to. What comes back to a null sender concerns the
    /// postmaster, who has no wishes.
    fn reports(&self, envelope: &Envelope) -> Vec<Report> {
        let wants = |recipient: &Recipient, action| {
            envelope.sender.is_empty() || recipient.wishes.notify.wants(action)
        };
        let entry = &self.entry;
        let of_entry = open_recipients(envelope, &entry.channel, &entry.domain, entry.open.as_deref());
        let hides = |recipient: &Recipient| self.terms.suppress_final && !recipient.original.is_empty();
        let report = |recipient: &Recipient, action, status, text: &str, peer: &str| Report {
            original: recipient.original.clone(),
            origin: match recipient.wishes.decoded() {
                Some((kind, address)) => format!("{kind}; {address}"),
                None => String::new(),
            },
            // RFC 3464 section 2.3.2 wants the field all the same.
            final_address: match hides(recipient) {
                true => recipient.original.clone(),
                false => recipient.address.clone(),
            },
            action,
            status,
            diagnostic: match hides(recipient) {
                true => without(text, &recipient.address, &recipient.original),
                false => text.to_owned(),
            },
            peer: peer.to_owned(),
            last_attempt: None,
            retry_until: None,
        };
        match &self.news {
            News::Settled(told) => {
                let known = told.iter().filter_map(|Told { index, action, outcome }| {
                    let recipient = envelope.recipients.get(usize::try_from(*index).ok()?)?;
                    let base = wants(recipient, *action).then(|| {
                        report(recipient, *action, outcome.status(), outcome.text(), outcome.peer())
                    })?;
                    let tried = (*action != Action::Expanded).then_some(self.now);
                    Some(Report { last_attempt: tried, ..base })
                });
                known.collect()
            }
            News::AllFailed(outcome) => of_entry
                .filter(|(_, recipient)| wants(recipient, Action::Failed))
                .map(|(_, recipient)| {
                    report(recipient, Action::Failed, outcome.status(), outcome.text(), outcome.peer())
                })
                .collect(),
            News::Delayed { give_up, expected } => of_entry
                .filter(|(_, recipient)| wants(recipient, Action::Delayed))
                .map(|(_, recipient)| {
                    let base = report(recipient, Action::Delayed, STILL_TRIED, expected, "");
                    Report { retry_until: Some(*give_up), ..base }
                })
                .collect(),
        }
    }

    /// Who gets it: never nobody.
    fn recipients(&self, sender: &str) -> Result<Addressees, NoticeEnd> {
        use PostmasterCopies::{Always, Never, OnError, UnlessNullSender};
        let postmaster = format!("postmaster@{}", self.local_host());
        let mut recipients = Vec::new();
        let mut copies = Vec::new();
        let mut trouble = None;
        if !sender.is_empty() {
            match self.route(sender) {
                Ok(found) => recipients.extend(found),
                Err(NoWay::NotNow(why)) => return Err(NoticeEnd::NotNow(why)),
                Err(NoWay::Never(why)) => trouble = Some(format!("no way to the sender {sender:?}: {why}")),
            }
        }
        let copy = match (self.copies, sender.is_empty(), trouble.is_some()) {
            (Always, ..) | (OnError, true, _) | (OnError | UnlessNullSender, _, true) => true,
            (UnlessNullSender, null, false) => !null,
            (OnError, false, false) | (Never, ..) => false,
        };
        // A delay that the sender cannot be told of is nobody else's business.
        let is_delay = matches!(self.news, News::Delayed { .. });
        if copy && !(is_delay && recipients.is_empty() && self.copies != Always) {
            match self.route(&postmaster) {
                Ok(found) => {
                    let is_new =
                        |one: &Recipient| recipients.iter().all(|other| other.address != one.address);
                    copies = found.into_iter().filter(is_new).collect();
                }
                Err(NoWay::NotNow(why)) => return Err(NoticeEnd::NotNow(why)),
                Err(NoWay::Never(why)) if recipients.is_empty() => {
                    let also = trouble.map(|trouble| format!("{trouble}; ")).unwrap_or_default();
                    return Err(NoticeEnd::NoRoute(format!("{also}no way to {postmaster}: {why}")));
                }
                Err(NoWay::Never(why)) => {
                    tracing::warn!(%postmaster, why, "no copy of a notice to the postmaster");
                }
            }
        }
        match (recipients.is_empty() && copies.is_empty(), trouble) {
            (false, _) => Ok(Addressees { sender: recipients, postmaster: copies }),
            (true, Some(trouble)) => Err(NoticeEnd::NoRoute(trouble)),
            (true, None) => Err(NoticeEnd::NobodyToTell),
        }
    }

    /// Whom an address stands for: the postmaster may be an alias, and so may a sender here.
    fn route(&self, address: &str) -> Result<Vec<Recipient>, NoWay> {
        let parsed = Address::parse(address).map_err(|error| NoWay::Never(error.to_string()))?;
        let context = Context {
            kind: AddressKind::EnvelopeTo,
            source_channel: source_channel(&self.loaded, &self.terms),
            destination_channel: None,
        };
        let expansion = self.loaded.rewriter.expand(&parsed, "", &context, None);
        let expansion = expansion.map_err(|rejected| {
            let is_now = rejected == Rejected::unavailable();
            if is_now { NoWay::NotNow(rejected.text) } else { NoWay::Never(rejected.text) }
        })?;
        let recipient = |route: Route| Recipient {
            address: route.final_address().to_string(),
            original: address.to_owned(),
            domain: route.host().to_lowercase(),
            channel: route.channel,
            wishes: RecipientWishes::default(),
        };
        Ok(expansion.recipients.into_iter().map(|expanded| recipient(expanded.route)).collect())
    }

    /// The name that the house calls itself by.
    pub(crate) fn local_host(&self) -> &str {
        &self.loaded.config.channels.local().official_host
    }
}

/// Why an address of a notice leads nowhere, in words.
enum NoWay {
    /// A database cannot be asked at the moment.
    NotNow(String),
    Never(String),
}

/// A text with one address in the place of another, whatever its case: a remote system repeats what it was given.
fn without(text: &str, hidden: &str, shown: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    if !hidden.is_empty() {
        // Only ASCII letters change, so places in both are the same.
        for (at, found) in lower.match_indices(&hidden.to_ascii_lowercase()) {
            out.push_str(&text[rest..at]);
            out.push_str(shown);
            rest = at + found.len();
        }
    }
    out.push_str(&text[rest..]);
    out
}
