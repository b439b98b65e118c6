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
    /// What the envelope of the channel gets: host names of the channel table replaced by their proper names, this
    /// system called as the channel calls it, and routes in the form of the channel (`822`, `733`, `uucp`).
    pub final_address: Address,
    /// The host the channel would connect for: the first host of the way of `final_address`.
    pub host: String,
}
