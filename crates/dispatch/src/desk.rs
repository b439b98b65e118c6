//! The desk: the thread that reads messages from the spool, for leases and for notices, so that the loop never waits
//! for a disk.
//!
//! It turns a lease of index entries into what an instance takes, and a failure into a notice that is committed at the
//! same front door as everybody's mail. One desk serves all channels: what it reads is mostly still in memory.
//!
//! # Failure
//! What cannot be read is reported and left where it is. Nothing here settles anything.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use sluice_host::{Delivery, Lease};
use sluice_mail::{Envelope, Recipient};
use sluice_queue::ChannelKey;
use sluice_spool::{EntryId, Location, Spool, Stored};

use crate::event::Event;
use crate::notice::NoticeJob;
use crate::runner::{Runner, StoredContent};

/// Something to read.
pub(crate) enum Job {
    /// Deliveries for an instance.
    Lease(LeaseJob),
    /// A notice to its sender.
    Notice(Box<NoticeJob>),
}

/// A lease as the index has it.
pub(crate) struct LeaseJob {
    pub(crate) lease: u64,
    pub(crate) poll: bool,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) channel: Arc<str>,
    pub(crate) domain: Arc<str>,
    pub(crate) items: Vec<LeaseItem>,
    /// For events about it.
    pub(crate) from: ChannelKey,
}

/// One entry of it.
pub(crate) struct LeaseItem {
    pub(crate) token: u64,
    pub(crate) id: EntryId,
    pub(crate) at: Location,
    pub(crate) attempts: u16,
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
    pub(crate) inbox: Sender<Event>,
    pub(crate) arrivals: Sender<Event>,
}

impl Desk {
    /// Works until the dispatcher drops its end of the queue.
    pub(crate) fn run(&self, jobs: &Receiver<Job>) {
        for job in jobs {
            match job {
                Job::Lease(job) => self.lease(job),
                Job::Notice(job) => job.run(&self.spool, &self.arrivals),
            }
        }
    }

    fn lease(&self, job: LeaseJob) {
        let mut deliveries = Vec::with_capacity(job.items.len());
        for item in job.items {
            match self.delivery(&item, &job.channel, &job.domain) {
                Ok(delivery) => deliveries.push(delivery),
                Err(what) => {
                    // Fails only when the dispatcher has gone.
                    let _ = self.inbox.send(Event::Unreadable { token: item.token, what });
                }
            }
        }
        let lease = Lease { lease: job.lease, poll: job.poll, deliveries };
        let returned = if lease.deliveries.is_empty() && !lease.poll {
            Some(None)
        } else {
            job.runner.offer(lease).err().map(Some)
        };
        if let Some(not_taken) = returned {
            let _ = self.inbox.send(Event::Returned { lease: job.lease, not_taken, from: job.from });
        }
    }

    fn delivery(&self, item: &LeaseItem, channel: &str, domain: &Arc<str>) -> Result<Delivery, String> {
        let (stored, envelope) = read(&self.spool, item.at)?;
        let open = open_recipients(&envelope, channel, domain, item.open.as_deref());
        let recipients: Vec<_> = open
            .map(|(index, recipient)| sluice_host::Recipient {
                index,
                address: recipient.address.clone(),
                original: recipient.original.clone(),
            })
            .collect();
        if recipients.is_empty() {
            return Err(format!("its envelope has no recipient for {domain} on {channel}"));
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
            more_follows: false,
        })
    }
}
