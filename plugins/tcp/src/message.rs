//! A message as a worker hands it on, and what its envelope says.
//!
//! # Not here
//! How it goes over the wire (`connection`), and what is done to content that the peer does not take (`fitting`).

use std::time::Duration;

use sluice_mail::{Address, RecipientWishes, Wishes};
use sluice_smtp::client::{Mail, To};

/// A message as the worker hands it over.
#[derive(Clone)]
pub(crate) struct Message<'a> {
    /// Its queue id, as the host lends it.
    pub(crate) id: &'a str,
    /// The batch it came in.
    pub(crate) lease: u64,
    /// Destination domain of all recipients.
    pub(crate) domain: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) recipients: Vec<&'a str>,
    /// What the sender wishes about notices.
    pub(crate) wishes: &'a Wishes,
    /// What it wants to be told about recipients, in their order; none where it said nothing about any.
    pub(crate) of_recipients: &'a [RecipientWishes],
    /// Wire form.
    pub(crate) pieces: Vec<&'a [u8]>,
    pub(crate) size: u64,
    pub(crate) eight_bit: bool,
    pub(crate) smtputf8: bool,
    /// Where it goes in place of where the channel would take it.
    pub(crate) next_hop: Option<&'a str>,
    /// Another message for the same place follows.
    pub(crate) more_follows: bool,
    /// How long the host leaves the message to us.
    pub(crate) time_left: Duration,
    /// Whether the host still leaves the message to us. When it has given it to another worker, ours must not go out too.
    pub(crate) ours: &'a dyn Fn() -> bool,
}

impl Message<'_> {
    /// What MAIL says of it.
    pub(crate) fn mail(&self, chunk: Option<u64>) -> Mail<'_> {
        Mail {
            sender: self.sender,
            size: Some(self.size),
            eight_bit: self.eight_bit,
            smtputf8: self.smtputf8,
            chunk,
            wishes: Some(self.wishes),
        }
    }

    /// What RCPT says of the recipient at a place.
    pub(crate) fn to(&self, at: usize, remove_route: bool) -> To<'_> {
        To {
            address: match self.recipients[at] {
                address if remove_route => Address::without_route(address),
                address => address,
            },
            wishes: self.of_recipients.get(at),
        }
    }
}
