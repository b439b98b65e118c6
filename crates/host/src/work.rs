//! What a channel is given to do.

use sluice_mail::{Priority, RecipientWishes, Time, TransferPriority, Wishes};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The bytes of a message, wherever they are kept.
///
/// Shown piece by piece, in order, in wire form: CRLF line ends, dot-stuffed, without the closing dot line. The pieces
/// are lent to a plugin for as long as the `Arc` lives, so they must not depend on anything shorter.
pub trait Content: Send + Sync + 'static {
    /// Calls `take` for each piece.
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8]));

    /// Calls `take` for the place of each piece, where all of them lie in files that another process can be shown.
    /// `false`, and no call, where they do not.
    fn places<'a>(&'a self, _take: &mut dyn FnMut(Place<'a>)) -> bool {
        false
    }
}

/// A piece of content as a stretch of a file, whose octets do not change.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Names the file among those that are alive: the same number, the same file.
    pub file: u32,
    /// Where it is as long as it has a name.
    pub path: &'a Path,
    /// Where the piece begins, in octets.
    pub offset: u64,
    /// Its length in octets.
    pub length: u64,
}

impl Content for Vec<u8> {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        take(self);
    }
}

/// One message for some of its recipients, all of one destination.
#[derive(Clone)]
pub struct Delivery {
    /// The caller's name for this attempt; comes back in the events.
    pub token: u64,
    /// Queue id, for logs and for what is said to the peer.
    pub id: String,
    /// Envelope sender; empty is the null reverse-path.
    pub sender: String,
    /// Channel that the message came in by.
    pub source_channel: String,
    /// Destination domain of all recipients.
    pub domain: Arc<str>,
    /// Who it is for; each index once.
    pub recipients: Vec<Recipient>,
    /// The message.
    pub content: Arc<dyn Content>,
    /// How often delivery was tried before.
    pub attempts: u32,
    /// When it was accepted.
    pub arrived: Time,
    /// How urgent it is.
    pub priority: Priority,
    /// Content is not all seven-bit.
    pub eight_bit: bool,
    /// Needs SMTPUTF8.
    pub smtputf8: bool,
    /// What the sender wishes about notices.
    pub wishes: Wishes,
    /// More for the same destination follows soon, in another lease. Within a lease the host knows by itself.
    pub more_follows: bool,
    /// Where it goes in place of where the channel's settings say.
    pub next_hop: Option<Arc<str>>,
    /// A process has died with it in hand: a process of its own is given it alone. In process it makes no difference.
    pub suspect: bool,
}

/// One recipient of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Its index in the envelope, by which it is settled.
    pub index: u32,
    /// Address to use with the next hop.
    pub address: String,
    /// Address as the client gave it.
    pub original: String,
    /// What the sender wants to be told about it.
    pub wishes: RecipientWishes,
}

impl Delivery {
    /// A message from nobody to nobody, without content, that has just been accepted as far as anybody knows. Tests and measurements fill in what they are
    /// about, and do not change when a message gets another property.
    #[must_use]
    pub fn blank() -> Self {
        Self {
            token: 0,
            id: String::new(),
            sender: String::new(),
            source_channel: String::new(),
            domain: "".into(),
            recipients: Vec::new(),
            content: Arc::new(Vec::new()),
            attempts: 0,
            arrived: Time(0),
            priority: Priority::Normal,
            eight_bit: false,
            smtputf8: false,
            wishes: Wishes::default(),
            more_follows: false,
            next_hop: None,
            suspect: false,
        }
    }

    /// How soon it is to be transferred: what MAIL said, else what its header says.
    #[must_use]
    pub fn transfer_priority(&self) -> TransferPriority {
        self.wishes.priority.unwrap_or_else(|| self.priority.into())
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Delivery")
            .field("token", &self.token)
            .field("id", &self.id)
            .field("recipients", &self.recipients)
            .finish_non_exhaustive()
    }
}

/// A batch of deliveries for one destination. One worker gets all of it, one by one, so that it can keep its connection.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The caller's name for it; comes back in the events.
    pub lease: u64,
    /// Ask the peer for its mail first, also when there is nothing to deliver.
    pub poll: bool,
    /// What to deliver, in this order.
    pub deliveries: Vec<Delivery>,
}

/// A lease that has not been read yet. Reading a message may mean waiting for a disk, and is left to the worker that has
/// the lease: whoever offers one does not wait, and what was read is still warm where it is used.
pub struct Offer {
    /// The caller's name for it; comes back in the events.
    pub lease: u64,
    /// As in [`Lease`].
    pub poll: bool,
    /// Gives the deliveries, in their order. Called once, on a thread of the instance, unless the offer is refused.
    pub read: Box<dyn FnOnce() -> Vec<Delivery> + Send>,
}

impl Offer {
    pub(crate) fn read(self) -> Lease {
        Lease { lease: self.lease, poll: self.poll, deliveries: (self.read)() }
    }
}

impl From<Lease> for Offer {
    fn from(lease: Lease) -> Self {
        let Lease { lease, poll, deliveries } = lease;
        Offer { lease, poll, read: Box::new(|| deliveries) }
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Offer").field("lease", &self.lease).field("poll", &self.poll).finish_non_exhaustive()
    }
}
