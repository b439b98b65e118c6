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

use crossbeam_channel::Sender;
use sluice_config::PostmasterCopies;
use sluice_mail::notice::{Action, Notice, Report, Returned};
use sluice_mail::wire::{self, Unstuffer};
use sluice_mail::{Address, Envelope, Outcome, Priority, Recipient, Status, Time};
use sluice_queue::EntryView;
use sluice_rewrite::{Context, Kind as AddressKind, Route};
use sluice_spool::{EntryId, Spool};

use crate::desk::{self, open_recipients};
use crate::event::{Event, Loaded, NoticeEnd};
use crate::ticket::ticket;

/// The source channel of mail that the house itself makes.
pub(crate) const PROCESS_CHANNEL: &str = "process";

/// A message up to this size is returned whole, of a larger one only the header: notices go through the mailboxes of
/// people who may not have written the message at all.
pub const RETURNED_WHOLE_MAX: usize = 64 * 1024;
/// RFC 3463 X.4.7, class 4: delivery time is running out.
const STILL_TRIED: Status = Status { class: 4, subject: 4, detail: 7 };

/// What is to be told.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// These recipients have failed.
    Failed(Vec<(u32, Outcome)>),
    /// All open recipients of the entry have failed, for the same reason.
    AllFailed(Outcome),
    /// None has failed yet: they are late, and will be given up at that time.
    Delayed { give_up: Time },
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
    pub(crate) return_address: Option<String>,
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
        let id = draft.id();
        let (envelope, content) = match self.compose(id, spool) {
            Ok(made) => made,
            Err(end) => return tell(end),
        };
        let bytes = envelope.encode();
        let size = content.len() as u64;
        let (arrivals, loaded) = (arrivals.clone(), Arc::clone(&self.loaded));
        draft.commit(bytes, content, move |result| {
            let end = match result {
                Ok(at) => NoticeEnd::Committed(ticket(id, at, size, envelope, &loaded.config)),
                Err(error) => NoticeEnd::NotNow(desk::chain(&error)),
            };
            let _ = arrivals.send(Event::Notice { number, end });
        });
    }

    fn compose(&self, id: EntryId, spool: &Spool) -> Result<(Envelope, Vec<u8>), NoticeEnd> {
        let (stored, envelope) = desk::read(spool, self.entry.at).map_err(NoticeEnd::Unreadable)?;
        let mut unstuffer = Unstuffer::new();
        let pieces = stored.pieces().flat_map(|piece| unstuffer.piece(piece));
        self.write(id, Returned::of(pieces, RETURNED_WHOLE_MAX), &envelope)
    }

    /// The notice and its envelope. `returned` is of the message whose envelope this is.
    pub(crate) fn write(
        &self,
        id: EntryId,
        returned: Returned,
        envelope: &Envelope,
    ) -> Result<(Envelope, Vec<u8>), NoticeEnd> {
        let recipients = self.recipients(&envelope.sender)?;
        let told = recipients.first().map_or("", |recipient| &recipient.original);
        let wire = wire::stuff(&self.notice(id, returned, envelope, told).build());
        let notice = Envelope {
            sender: String::new(),
            arrived: self.now,
            source_channel: PROCESS_CHANNEL.to_owned(),
            priority: Priority::Normal,
            eight_bit: !wire.is_ascii(),
            smtputf8: recipients.iter().any(|recipient| !recipient.address.is_ascii()),
            held: false,
            deferred_until: None,
            recipients,
        };
        Ok((notice, wire))
    }

    /// The facts, for the one who writes them down.
    fn notice(&self, id: EntryId, returned: Returned, envelope: &Envelope, told: &str) -> Notice {
        let local_host = self.local_host();
        let configured =
            self.return_address.clone().or_else(|| self.loaded.config.options.return_address.clone());
        Notice {
            reporting_mta: local_host.to_owned(),
            sender: told.to_owned(),
            postmaster: configured.unwrap_or_else(|| format!("postmaster@{local_host}")),
            message_id: format!("{id}.{}@{local_host}", self.now.0),
            date: self.now,
            arrived: envelope.arrived,
            envelope_id: String::new(),
            recipients: self.reports(envelope),
            returned,
        }
    }

    fn reports(&self, envelope: &Envelope) -> Vec<Report> {
        let entry = &self.entry;
        let of_entry = open_recipients(envelope, &entry.channel, &entry.domain, entry.open.as_deref());
        let report = |recipient: &Recipient, action, status, text: &str, peer: &str| Report {
            original: recipient.original.clone(),
            final_address: recipient.address.clone(),
            action,
            status,
            diagnostic: text.to_owned(),
            peer: peer.to_owned(),
            last_attempt: None,
            retry_until: None,
        };
        match &self.news {
            News::Failed(failed) => {
                let known = failed.iter().filter_map(|(index, outcome)| {
                    let recipient = envelope.recipients.get(usize::try_from(*index).ok()?)?;
                    let tried = Some(self.now);
                    let base =
                        report(recipient, Action::Failed, outcome.status(), outcome.text(), outcome.peer());
                    Some(Report { last_attempt: tried, ..base })
                });
                known.collect()
            }
            News::AllFailed(outcome) => of_entry
                .map(|(_, recipient)| {
                    report(recipient, Action::Failed, outcome.status(), outcome.text(), outcome.peer())
                })
                .collect(),
            News::Delayed { give_up } => of_entry
                .map(|(_, recipient)| {
                    let base = report(recipient, Action::Delayed, STILL_TRIED, "", "");
                    Report { retry_until: Some(*give_up), ..base }
                })
                .collect(),
        }
    }

    /// Who gets it: never nobody.
    fn recipients(&self, sender: &str) -> Result<Vec<Recipient>, NoticeEnd> {
        use PostmasterCopies::{Always, Never, OnError, UnlessNullSender};
        let postmaster = format!("postmaster@{}", self.local_host());
        let mut recipients = Vec::new();
        let mut trouble = None;
        if !sender.is_empty() {
            match self.route(sender) {
                Ok(found) => recipients.extend(found),
                Err(why) => trouble = Some(format!("no way to the sender {sender:?}: {why}")),
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
                    let found: Vec<Recipient> = found.into_iter().filter(is_new).collect();
                    recipients.extend(found);
                }
                Err(why) if recipients.is_empty() => {
                    let also = trouble.map(|trouble| format!("{trouble}; ")).unwrap_or_default();
                    return Err(NoticeEnd::NoRoute(format!("{also}no way to {postmaster}: {why}")));
                }
                Err(why) => tracing::warn!(%postmaster, why, "no copy of a notice to the postmaster"),
            }
        }
        match (recipients.is_empty(), trouble) {
            (false, _) => Ok(recipients),
            (true, Some(trouble)) => Err(NoticeEnd::NoRoute(trouble)),
            (true, None) => Err(NoticeEnd::NobodyToTell),
        }
    }

    /// Whom an address stands for: the postmaster may be an alias, and so may a sender here.
    fn route(&self, address: &str) -> Result<Vec<Recipient>, String> {
        let parsed = Address::parse(address).map_err(|error| error.to_string())?;
        let context = Context {
            kind: AddressKind::EnvelopeTo,
            source_channel: PROCESS_CHANNEL,
            destination_channel: None,
        };
        let expansion = self.loaded.rewriter.expand(&parsed, "", &context, None);
        let expansion = expansion.map_err(|rejected| rejected.text)?;
        let recipient = |route: Route| Recipient {
            address: route.final_address().to_string(),
            original: address.to_owned(),
            domain: route.host().to_lowercase(),
            channel: route.channel,
        };
        Ok(expansion.recipients.into_iter().map(|expanded| recipient(expanded.route)).collect())
    }

    /// The name that the house calls itself by.
    pub(crate) fn local_host(&self) -> &str {
        &self.loaded.config.channels.local().official_host
    }
}
