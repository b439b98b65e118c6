//! Reading messages from the spool, for leases and for notices, so that the loop never waits for a disk.
//!
//! A lease of index entries becomes what an instance takes on the thread of the worker that has it: one thread less that a
//! message has to wake on its way. A failure becomes a notice at the *desk*, a thread of its own for all channels, which
//! commits it at the same front door as everybody's mail.
//!
//! # Failure
//! What cannot be read is reported and left where it is. Nothing here settles anything.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use sluice_config::waits_for_filter;
use sluice_host::Delivery;
use sluice_mail::notice::Action;
use sluice_mail::{Address, Envelope, Recipient};
use sluice_rewrite::{Context, Kind};
use sluice_spool::{EntryId, Location, Spool, Stored};

use crate::core::Owners;
use crate::event::{Event, Loaded};
use crate::notice::{self, NoticeJob, PROCESS_CHANNEL};
use crate::policy::Policy;
use crate::record::{Fact, Facts, Promised};
use crate::runner::StoredContent;
use crate::sync::Sender;

/// A lease as the index has it.
pub(crate) struct LeaseJob {
    pub(crate) channel: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) items: Vec<LeaseItem>,
    /// By which the domain is rewritten once more (`connectcanonical`).
    pub(crate) canonical: Option<Arc<Loaded>>,
    /// What stands for the null reverse-path there, where something does.
    pub(crate) null_sender: Option<NullSender>,
    /// Where it goes in place of where the channel is configured to.
    pub(crate) next_hop: Option<Arc<str>>,
    /// Another lease over the same connection follows.
    pub(crate) more_follows: bool,
}

/// One entry of it.
pub(crate) struct LeaseItem {
    pub(crate) token: u64,
    pub(crate) id: EntryId,
    pub(crate) at: Location,
    pub(crate) attempts: u16,
    /// A process has died with it in hand.
    pub(crate) is_suspect: bool,
    pub(crate) open: Option<Box<[u32]>>,
    /// Entries that share its delivery.
    pub(crate) with: Option<With>,
    /// To be told what records of it tell.
    pub(crate) record: Option<Promised>,
}

/// Entries of the same message and channel that go in one transaction with another.
pub(crate) struct With {
    pub(crate) shares: Vec<Share>,
    /// To be told whose each recipient is.
    pub(crate) owners: Owners,
}

/// One of them.
pub(crate) struct Share {
    pub(crate) domain: Arc<str>,
    pub(crate) open: Option<Box<[u32]>>,
}

/// Recipients of an envelope that belong to an entry and are still open, with their indexes. `open` is in order.
pub(crate) fn open_recipients<'a>(
    envelope: &'a Envelope,
    channel: &'a str,
    domain: &'a str,
    open: Option<&'a [u32]>,
) -> impl Iterator<Item = (u32, &'a Recipient)> {
    (0u32..).zip(&envelope.recipients).filter(move |(index, recipient)| {
        recipient.channel == channel
            && recipient.domain == domain
            && open.is_none_or(|open| open.binary_search(index).is_ok())
    })
}

/// An address that a channel gets in the place of the null reverse-path (`returnenvelope`; PMDF System Manager's Guide,
/// "Blank envelope return addresses"). The hub itself never does: in the spool a notice keeps its null sender, so no
/// notice is made about it, whatever becomes of it.
pub(crate) struct NullSender {
    address: String,
    /// Whose notices have it; `None` for all mail.
    notices_of: Option<Arc<Loaded>>,
}

impl NullSender {
    pub(crate) fn of(policy: &Policy, loaded: &Arc<Loaded>) -> Option<Self> {
        const NOTICES: u32 = 1;
        const ALL: u32 = 2;
        (policy.return_envelope & (NOTICES | ALL) != 0).then(|| Self {
            address: notice::postmaster(loaded, &policy.notice_terms),
            notices_of: (policy.return_envelope & ALL == 0).then(|| Arc::clone(loaded)),
        })
    }

    fn replace(&self, delivery: &mut Delivery) {
        let source = &delivery.source_channel;
        let counts = self.notices_of.as_ref().is_none_or(|loaded| notice::comes_from_us(loaded, source));
        if delivery.sender.is_empty() && counts {
            delivery.sender.clone_from(&self.address);
        }
    }
}

/// The host that mail for a domain goes to by the rules of now.
fn canonical(loaded: &Loaded, domain: &str) -> Option<Arc<str>> {
    let address =
        Address { route: Vec::new(), local: "postmaster".to_owned(), host: Some(domain.to_owned()) };
    let context =
        Context { kind: Kind::EnvelopeTo, source_channel: PROCESS_CHANNEL, destination_channel: None };
    let route = loaded.rewriter.route(&address, &context, None).ok()?;
    Some(route.host().to_lowercase().into())
}

/// A message and its envelope.
pub(crate) fn read(spool: &Spool, at: Location) -> Result<(Stored, Envelope), String> {
    let stored = spool.read(at).map_err(|error| chain(&error))?;
    let envelope = Envelope::decode(stored.envelope()).map_err(|error| chain(&error))?;
    Ok((stored, envelope))
}

/// An error and what it came from, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// What the desk works with.
pub(crate) struct Desk {
    pub(crate) spool: Spool,
    pub(crate) arrivals: Sender<Event>,
}

impl Desk {
    /// Works until the dispatcher drops its end of the queue.
    pub(crate) fn run(&self, jobs: &Receiver<Box<NoticeJob>>) {
        for job in jobs {
            self.take(job);
        }
    }

    /// Makes one notice.
    #[allow(clippy::boxed_local)] // It comes as it stood in the queue.
    pub(crate) fn take(&self, job: Box<NoticeJob>) {
        job.run(&self.spool, &self.arrivals);
    }
}

/// What leases are read with.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) spool: Spool,
    pub(crate) inbox: Sender<Event>,
}

impl Reader {
    /// The deliveries of a lease.
    pub(crate) fn deliveries(&self, job: LeaseJob) -> Vec<Delivery> {
        let mut deliveries = Vec::with_capacity(job.items.len());
        // What mail waits for is no host, and has to reach whoever brings it in again as it stands.
        let waits = waits_for_filter(&job.channel, &job.domain);
        let target = job.canonical.filter(|_| !waits).and_then(|loaded| canonical(&loaded, &job.domain));
        for item in job.items {
            match self.delivery(&item, &job.channel, &job.domain) {
                Ok(mut delivery) => {
                    if let Some(target) = &target {
                        delivery.domain = Arc::clone(target);
                    }
                    if let Some(null_sender) = &job.null_sender {
                        null_sender.replace(&mut delivery);
                    }
                    delivery.next_hop.clone_from(&job.next_hop);
                    deliveries.push(delivery);
                }
                Err(what) => {
                    // Fails only when the dispatcher has gone.
                    let _ = self.inbox.send(Event::Unreadable { token: item.token, what });
                }
            }
        }
        if let Some(last) = deliveries.last_mut() {
            last.more_follows = job.more_follows;
        }
        deliveries
    }

    fn delivery(&self, item: &LeaseItem, channel: &str, domain: &Arc<str>) -> Result<Delivery, String> {
        let (stored, envelope) = read(&self.spool, item.at)?;
        let open = open_recipients(&envelope, channel, domain, item.open.as_deref());
        let given = |(index, recipient): (u32, &Recipient)| sluice_host::Recipient {
            index,
            address: recipient.address.clone(),
            original: recipient.original.clone(),
            wishes: recipient.wishes.clone(),
        };
        let mut recipients: Vec<_> = open.map(given).collect();
        if recipients.is_empty() {
            return Err(format!("its envelope has no recipient for {domain} on {channel}"));
        }
        if let Some(With { shares, owners }) = &item.with {
            let mut owned: Vec<(u32, usize)> = recipients.iter().map(|one| (one.index, 0)).collect();
            for (owner, Share { domain, open }) in (1..).zip(shares) {
                let open = open_recipients(&envelope, channel, domain, open.as_deref());
                let from = recipients.len();
                recipients.extend(open.map(given));
                owned.extend(recipients[from..].iter().map(|one| (one.index, owner)));
            }
            // In the order in which the sender gave them.
            recipients.sort_unstable_by_key(|one| one.index);
            owned.sort_unstable();
            // It is empty: a delivery is made once.
            let _ = owners.set(owned);
        }
        if !envelope.sender.is_empty() {
            let wants = |one: &&sluice_host::Recipient| one.wishes.notify.wants(Action::Delivered);
            let wanted: Vec<u32> = recipients.iter().filter(wants).map(|one| one.index).collect();
            if !wanted.is_empty() {
                // Fails only when the dispatcher has gone.
                let _ = self.inbox.send(Event::Wanted { token: item.token, recipients: wanted });
            }
        }
        if let Some(record) = &item.record {
            let told = recipients.iter().map(|one| Fact {
                index: one.index,
                original: one.original.clone(),
                active: one.address.clone(),
                notify: one.wishes.notify,
            });
            let _ = record.set(Facts { sender: envelope.sender.clone(), recipients: told.collect() });
        }
        Ok(Delivery {
            token: item.token,
            id: item.id.to_string(),
            sender: envelope.sender,
            source_channel: envelope.source_channel,
            domain: Arc::clone(domain),
            recipients,
            content: Arc::new(StoredContent(stored)),
            attempts: u32::from(item.attempts),
            arrived: envelope.arrived,
            priority: envelope.priority,
            eight_bit: envelope.eight_bit,
            smtputf8: envelope.smtputf8,
            wishes: envelope.wishes,
            more_follows: false,
            next_hop: None,
            suspect: item.is_suspect,
        })
    }
}
