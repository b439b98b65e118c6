//! What an address is rewritten for, and where it turns out to go: the question to the rewriter and its answer.
//!
//! # Not here
//! Finding the answer (`rewriter`), and the refusal that it may be (`rejected`).

use std::fmt;

use sluice_mail::Address;

/// What an address is for: in the envelope or in the header, pointing forward (to whom) or backward (from whom).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An envelope recipient.
    EnvelopeTo,
    /// The envelope sender.
    EnvelopeFrom,
    /// `To`, `Cc`, `Bcc`, `Resent-To` and so on.
    HeaderTo,
    /// `From`, `Sender`, `Reply-To` and so on.
    HeaderFrom,
}

impl Kind {
    /// In the envelope (`$E`), not the header (`$B`).
    pub const fn is_envelope(self) -> bool {
        matches!(self, Kind::EnvelopeTo | Kind::EnvelopeFrom)
    }

    /// Pointing forward (`$F`), not backward (`$R`).
    pub const fn is_forward(self) -> bool {
        matches!(self, Kind::EnvelopeTo | Kind::HeaderTo)
    }

    /// The name scripts use: `envelope-to` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::EnvelopeTo => "envelope-to",
            Kind::EnvelopeFrom => "envelope-from",
            Kind::HeaderTo => "header-to",
            Kind::HeaderFrom => "header-from",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        [Kind::EnvelopeTo, Kind::EnvelopeFrom, Kind::HeaderTo, Kind::HeaderFrom]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Under what circumstances an address is rewritten.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What the address is for.
    pub kind: Kind,
    /// Name of the channel doing the rewriting: the one the message comes from.
    pub source_channel: &'a str,
    /// Name of the channel the copy goes to, when it is known. Not looked at for envelope recipients, which decide it.
    pub destination_channel: Option<&'a str>,
}

/// Where an address goes, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The address after rewriting.
    pub address: Address,
    /// Name of the channel.
    pub channel: String,
    /// The host by which the channel was found.
    pub routing_system: String,
    /// What the channel gets, where that is not what `address` says: for nearly all mail it is, and nothing is copied.
    last: Option<Box<Last>>,
}

/// The address and the host that a channel gets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Last {
    address: Address,
    host: String,
}

impl Route {
    /// A route whose channel gets the address as it is; there is a host in it.
    pub(crate) fn plain(address: Address, channel: String, routing_system: String) -> Route {
        debug_assert!(way_host(&address).is_some());
        Route { address, channel, routing_system, last: None }
    }

    /// A route whose channel gets another address, or another host than the first of its way.
    pub(crate) fn changed(
        address: Address,
        channel: String,
        routing_system: String,
        final_address: Address,
        host: String,
    ) -> Route {
        let same = final_address == address && way_host(&address).is_some_and(|first| *first == host);
        let last = (!same).then(|| Box::new(Last { address: final_address, host }));
        Route { address, channel, routing_system, last }
    }

    /// The same way for another address, of which the channel gets every letter.
    pub(crate) fn with_address(self, address: Address) -> Route {
        let host = self.host().to_owned();
        Route::changed(address.clone(), self.channel, self.routing_system, address, host)
    }

    /// What the envelope of the channel gets: host names of the channel table replaced by their proper names, this
    /// system called as the channel calls it, and routes in the form of the channel (`822`, `733`, `uucp`).
    pub fn final_address(&self) -> &Address {
        self.last.as_ref().map_or(&self.address, |last| &last.address)
    }

    /// The host the channel would connect for: the first host of the way of the final address.
    pub fn host(&self) -> &str {
        match &self.last {
            Some(last) => &last.host,
            None => way_host(&self.address).map_or("", String::as_str),
        }
    }
}

/// The first host of the way to an address.
pub(crate) fn way_host(address: &Address) -> Option<&String> {
    address.route.first().or(address.host.as_ref())
}
