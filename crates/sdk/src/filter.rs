//! Filters: plugins that look at a whole message before it is queued.
//!
//! The operator names the plugin by `SPAMFILTERn_LIBRARY` in `option.dat` and the mail that passes it by the channel keywords
//! `sourcespamfilterN` and `destinationspamfilterN`. Somebody waits for the verdict, usually a client behind its final dot.
//!
//! ```
//! #![forbid(unsafe_code)]
//! use sluice_sdk::{Context, CreateError, Filter, Filtered, Status, Verdict};
//!
//! /// Refuses messages whose subject is in capitals.
//! struct Quiet;
//!
//! impl Filter for Quiet {
//!     const NAME: &'static str = "quiet";
//!     const VERSION: &'static str = "1.0";
//!     const DESCRIPTION: &'static str = "refuses subjects in capitals";
//!
//!     fn create(_context: Context) -> Result<Self, CreateError> {
//!         Ok(Quiet)
//!     }
//!
//!     fn filter(&self, message: &mut Filtered<'_>) -> Verdict {
//!         match message.header().value("Subject") {
//!             Some(loud) if loud.len() > 10 && loud.to_uppercase() == loud => {
//!                 Verdict::refuse(550, Status::new(5, 7, 1), "please do not shout")
//!             }
//!             _ => {
//!                 let _ = message.add_field("X-Quiet", "yes");
//!                 Verdict::Accept
//!             }
//!         }
//!     }
//! }
//!
//! sluice_sdk::export_filter!(Quiet);
//! # fn main() {}
//! ```
//!
//! # Not here
//! The calls across the edge (`export::filtering`).

use crate::export::RawFiltered;
use crate::{
    Channel, Context, CreateError, Header, Level, Log, Next, OptionSpec, Reader, RunError, Status, Worker,
};
use std::time::Duration;

/// A filter: one value for each number under which the operator has named it. `filter` is called on several threads at once.
pub trait Filter: Send + Sync + Sized + 'static {
    /// Name of the plugin: lower-case letters, digits, `_` and `-`.
    const NAME: &'static str;
    /// Version of the plugin, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One line for the operator.
    const DESCRIPTION: &'static str;
    /// The options that the file named by `SPAMFILTERn_CONFIG_FILE` may set.
    const OPTIONS: &'static [OptionSpec] = &[];

    /// Makes the filter of its settings. Must not wait for the network.
    ///
    /// # Errors
    /// What is wrong with the settings, or what is missing at the moment.
    fn create(context: Context) -> Result<Self, CreateError>;

    /// Looks at a message, changes it, and says what becomes of it. Has the time that [`Filtered::remaining`] tells.
    fn filter(&self, message: &mut Filtered<'_>) -> Verdict;
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, with the changes that were made to it.
    Accept,
    /// It is not taken.
    Refuse {
        /// Reply code of SMTP: 4yz not now, 5yz never.
        code: u16,
        /// Its class agrees with the code.
        status: Status,
        /// For the client and the log.
        text: String,
    },
    /// It is taken, and waits for an operator.
    Hold {
        /// Why; kept with the message.
        reason: String,
    },
    /// It is taken, and thrown away.
    Discard,
    /// There is no verdict at the moment. The operator has said whether the message waits for one.
    Failed {
        /// What is missing.
        reason: String,
    },
}

impl Verdict {
    /// It is not taken: reply code, status and text.
    pub fn refuse(code: u16, status: Status, text: impl Into<String>) -> Verdict {
        Verdict::Refuse { code, status, text: text.into() }
    }

    /// It waits for an operator.
    pub fn hold(reason: impl Into<String>) -> Verdict {
        Verdict::Hold { reason: reason.into() }
    }

    /// There is no verdict at the moment.
    pub fn failed(reason: impl Into<String>) -> Verdict {
        Verdict::Failed { reason: reason.into() }
    }
}

/// Why a change was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotChanged {
    /// The time of this call has passed, and nobody listens any more.
    Gone,
    /// It cannot be: a name that is no field name, a value with control characters, text that is not ASCII in a message
    /// without SMTPUTF8, no address.
    Bad,
    /// There is no such recipient, or it was taken away before.
    NoRecipient,
    /// This call has made as many changes as it may.
    TooMany,
}

impl std::fmt::Display for NotChanged {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            NotChanged::Gone => "the time for the verdict has passed",
            NotChanged::Bad => "the change cannot be made",
            NotChanged::NoRecipient => "there is no such recipient",
            NotChanged::TooMany => "there are too many changes",
        })
    }
}

impl std::error::Error for NotChanged {}

/// Which of the fields with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// All of them. Of those that are replaced, the first stays.
    All,
    /// This one, counted from the top and from 1.
    Number(u32),
}

/// One recipient of a message that is filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilteredRecipient<'m> {
    /// What [`Filtered::withdraw`] wants.
    pub index: u32,
    /// The address that it goes to, without angle brackets.
    pub address: &'m str,
    /// The address as the message's submitter gave it.
    pub original: &'m str,
    /// The channel that it goes to.
    pub channel: &'m str,
    /// What the sender wants to be told (NOTIFY of RFC 3461), as in a delivery.
    pub notify: u8,
    /// Type and address where the message began (ORCPT), encoded; empty when they were not told.
    pub origin: &'m str,
}

/// A message before it is queued. Borrows the host's memory for one call of [`Filter::filter`].
#[derive(Debug)]
pub struct Filtered<'m> {
    raw: RawFiltered<'m>,
    log: Log,
}

impl<'m> Filtered<'m> {
    pub(crate) fn new(raw: RawFiltered<'m>, log: Log) -> Filtered<'m> {
        Filtered { raw, log }
    }

    /// Which filter this is, 1 to 8.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.raw.get().number
    }

    /// The message's queue id, for logs.
    #[must_use]
    pub fn id(&self) -> &str {
        self.raw.text(|message| &message.id)
    }

    /// The channel that it comes in by.
    #[must_use]
    pub fn source_channel(&self) -> &str {
        self.raw.text(|message| &message.source_channel)
    }

    /// The channel that the copy is for; `None` when the whole message is shown.
    #[must_use]
    pub fn destination_channel(&self) -> Option<&str> {
        Some(self.raw.text(|message| &message.destination_channel)).filter(|text| !text.is_empty())
    }

    /// The words behind the keyword that asked for the filter (`sourcespamfilter1optin`); `None` for one without words.
    #[must_use]
    pub fn opt_in(&self) -> Option<&str> {
        Some(self.raw.text(|message| &message.opt_in)).filter(|text| !text.is_empty())
    }

    /// Envelope sender without angle brackets; empty is the null reverse-path.
    #[must_use]
    pub fn sender(&self) -> &str {
        self.raw.text(|message| &message.sender)
    }

    /// The client's address; `None` when a channel brought the message in.
    #[must_use]
    pub fn client_address(&self) -> Option<std::net::IpAddr> {
        self.raw.text(|message| &message.client_address).parse().ok()
    }

    /// What the name service calls the client, if it was asked and knew.
    #[must_use]
    pub fn client_name(&self) -> Option<&str> {
        Some(self.raw.text(|message| &message.client_name)).filter(|text| !text.is_empty())
    }

    /// What the client calls itself. A stranger's text.
    #[must_use]
    pub fn helo(&self) -> &str {
        self.raw.text(|message| &message.helo)
    }

    /// The name that the client has logged in with.
    #[must_use]
    pub fn login(&self) -> Option<&str> {
        Some(self.raw.text(|message| &message.login)).filter(|text| !text.is_empty())
    }

    /// When it came, milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn arrived_ms(&self) -> u64 {
        self.raw.get().arrived_ms
    }

    /// The message is not pure seven-bit text (RFC 6152).
    #[must_use]
    pub fn eight_bit(&self) -> bool {
        self.raw.has(sluice_abi::MESSAGE_EIGHT_BIT)
    }

    /// The message needs SMTPUTF8 (RFC 6531): values of fields may be UTF-8.
    #[must_use]
    pub fn smtputf8(&self) -> bool {
        self.raw.has(sluice_abi::MESSAGE_SMTPUTF8)
    }

    /// It came over a line that TLS protects.
    #[must_use]
    pub fn over_tls(&self) -> bool {
        self.raw.has(sluice_abi::MESSAGE_TLS)
    }

    /// The client is known by its address or its login, and no stranger.
    #[must_use]
    pub fn from_known_client(&self) -> bool {
        self.raw.has(sluice_abi::MESSAGE_KNOWN)
    }

    /// A channel brought it in, and no client.
    #[must_use]
    pub fn from_channel(&self) -> bool {
        self.raw.has(sluice_abi::MESSAGE_FROM_CHANNEL)
    }

    /// A channel brought it in again, after it had come in before.
    #[must_use]
    pub fn again(&self) -> bool {
        self.raw.has(sluice_abi::MESSAGE_AGAIN)
    }

    /// The recipients, also those that have been withdrawn in this call.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = FilteredRecipient<'_>> {
        (0..self.raw.get().recipient_count).map(|position| self.raw.recipient(position))
    }

    /// The message in wire form, as it came: CRLF line ends, dot-stuffed, without the closing dot line. The hub's own
    /// `Received:` is the first field. Changes that were made in this call are not in it.
    #[must_use]
    pub fn pieces(&self) -> FilteredPieces<'_> {
        FilteredPieces { raw: &self.raw, position: 0 }
    }

    /// Reads the message without its dot-stuffing.
    #[must_use]
    pub fn reader(&self) -> Reader<'_, FilteredPieces<'_>> {
        Reader::over(self.pieces())
    }

    /// The fields of its header, as it came.
    #[must_use]
    pub fn header(&self) -> Header<'_, FilteredPieces<'_>> {
        Header::of(self.reader())
    }

    /// Length of the wire form.
    #[must_use]
    pub fn body_size(&self) -> u64 {
        self.raw.get().body_size
    }

    /// Time that is left for the verdict; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.raw.remaining()
    }

    /// A new field on top of the header, directly below the hub's own `Received:`.
    ///
    /// # Errors
    /// Why it was not added.
    pub fn add_field_first(&mut self, name: &str, value: &str) -> Result<(), NotChanged> {
        self.raw.edit(sluice_abi::EDIT_ADD_FIRST, 0, name, Some(value))
    }

    /// A new field at the end of the header.
    ///
    /// # Errors
    /// Why it was not added.
    pub fn add_field(&mut self, name: &str, value: &str) -> Result<(), NotChanged> {
        self.raw.edit(sluice_abi::EDIT_ADD_LAST, 0, name, Some(value))
    }

    /// Gives fields another value. One that is not there is put at the end.
    ///
    /// # Errors
    /// Why it was not changed.
    pub fn replace_field(&mut self, name: &str, which: Occurrence, value: &str) -> Result<(), NotChanged> {
        self.raw.edit(sluice_abi::EDIT_REPLACE, which.number(), name, Some(value))
    }

    /// Takes fields away. One that is not there is gone already.
    ///
    /// # Errors
    /// Why they were not removed.
    pub fn remove_field(&mut self, name: &str, which: Occurrence) -> Result<(), NotChanged> {
        self.raw.edit(sluice_abi::EDIT_REMOVE, which.number(), name, None)
    }

    /// Sends the message to this address too; it is rewritten, and aliases are expanded.
    ///
    /// # Errors
    /// Why it is not sent there. Whether the address is good is found out after the call.
    pub fn add_recipient(&mut self, address: &str) -> Result<(), NotChanged> {
        self.raw.add_recipient(address)
    }

    /// Takes a recipient away. Nobody is told of it.
    ///
    /// # Errors
    /// Why it is still there.
    pub fn withdraw(&mut self, index: u32) -> Result<(), NotChanged> {
        self.raw.withdraw(index)
    }

    /// Sends the message to these addresses in the place of all its recipients.
    ///
    /// # Errors
    /// The first change that was not made. The message may then have some of the old recipients and of the new: do not accept it.
    pub fn redirect<'a>(&mut self, to: impl IntoIterator<Item = &'a str>) -> Result<(), NotChanged> {
        let old: Vec<u32> = self.recipients().map(|recipient| recipient.index).collect();
        to.into_iter().try_for_each(|address| self.add_recipient(address))?;
        old.into_iter().try_for_each(|index| match self.withdraw(index) {
            Err(NotChanged::NoRecipient) => Ok(()), // Withdrawn before.
            other => other,
        })
    }

    /// Writes a line about this message to the host's log.
    pub fn log(&self, level: Level, text: &str) {
        self.log.raw.write(level, Some(self.id()), text);
    }
}

/// The pieces of a message that is filtered, in order.
#[derive(Clone, Debug)]
pub struct FilteredPieces<'m> {
    raw: &'m RawFiltered<'m>,
    position: usize,
}

impl<'m> Iterator for FilteredPieces<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        let piece = self.raw.piece(self.position)?;
        self.position += 1;
        Some(piece)
    }
}

impl Occurrence {
    fn number(self) -> u32 {
        match self {
            Occurrence::All => 0,
            Occurrence::Number(number) => number,
        }
    }
}

/// A filter as the channel that the contract wants besides: it delivers nothing. For [`export_filter!`](crate::export_filter).
#[doc(hidden)]
#[derive(Debug)]
pub struct FilterOnly<F>(pub(crate) F);

impl<F: Filter> Channel for FilterOnly<F> {
    const NAME: &'static str = F::NAME;
    const VERSION: &'static str = F::VERSION;
    const DESCRIPTION: &'static str = F::DESCRIPTION;
    const OPTIONS: &'static [OptionSpec] = F::OPTIONS;

    fn create(context: Context) -> Result<Self, CreateError> {
        F::create(context).map(FilterOnly)
    }

    /// Who names a filter as the plugin of a channel gets his mail deferred, and is told why.
    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        loop {
            match worker.next(Duration::from_secs(60)) {
                Next::Delivery(delivery) => {
                    let text = "the plugin of this channel is a filter and delivers nothing";
                    delivery.settle_all(&crate::Outcome::deferred(Status::new(4, 3, 5), text));
                }
                Next::Idle | Next::Poll => {}
                Next::Stop => return Ok(()),
            }
        }
    }
}
