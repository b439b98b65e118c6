//! An order to release: what, by whom, for which site, and which way its mail goes. And what is answered at once.
//!
//! # Not here
//! What a selector names (`release`), what becomes of the mail (`runs`).

use std::fmt;
use std::str::FromStr;

use sluice_mail::{NextHop, NextHopError};
use sluice_queue::{Count, Party, Selector};

/// Something to be released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What: all of it is one release. A site's domains are several selectors.
    pub selectors: Vec<Selector>,
    /// Who asks.
    pub requester: Requester,
    /// Which way its mail goes.
    pub via: Via,
    /// The site that it is for, by its name in the configuration.
    pub site: Option<String>,
}

impl Order {
    /// An order for one thing, to go as configured, for no site in particular.
    #[must_use]
    pub fn new(selector: Selector, requester: Requester) -> Self {
        Self { selectors: vec![selector], requester, via: Via::Channel, site: None }
    }

    /// For whom it is, where turns are taken: the site, or else the peer by its login or address. What an operator or a
    /// schedule releases beyond sites is nobody's in particular.
    pub(crate) fn party(&self) -> Option<Party> {
        let peer = self.requester.peer();
        let of_peer = |peer: &Peer| match &peer.login {
            Some(login) => format!("login {login}"),
            None => format!("address {}", peer.address),
        };
        let name = self.site.as_ref().map(|site| format!("site {site}")).or_else(|| peer.map(of_peer));
        name.map(Party::from)
    }
}

/// Which way the mail of a release goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// Where the configuration says.
    Channel,
    /// To this host or socket, over as many connections as the channel allows. A name is looked up for this release.
    Target(NextHop),
    /// Down a connection that the site has opened and turned: what is connected to is the socket of its bridge. One lease
    /// at a time, channel after channel; what cannot be delivered there waits as it did before.
    Turned(NextHop),
}

impl Via {
    /// To a host, host and port, address or socket in its written form.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn target(text: &str) -> Result<Self, NextHopError> {
        NextHop::from_str(text).map(Self::Target)
    }

    /// Down the connection behind a socket with this path.
    #[must_use]
    pub const fn turned(path: String) -> Self {
        Self::Turned(NextHop::Unix(path))
    }

    /// Where to, when not as configured.
    #[must_use]
    pub const fn next_hop(&self) -> Option<&NextHop> {
        match self {
            Self::Channel => None,
            Self::Target(hop) | Self::Turned(hop) => Some(hop),
        }
    }

    /// Whether it goes down a turned connection.
    #[must_use]
    pub const fn is_turned(&self) -> bool {
        matches!(self, Self::Turned(_))
    }
}

impl fmt::Display for Via {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel => out.write_str("as configured"),
            Self::Target(hop) => write!(out, "to {hop}"),
            Self::Turned(_) => out.write_str("down the turned connection"),
        }
    }
}

/// A peer that asks in an SMTP session. All of it is what the peer says, or may be; it is shown with escapes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// The channel its session is on; its rewrite rules apply.
    pub source_channel: String,
    /// Its address.
    pub address: String,
    /// What it calls itself.
    pub helo: String,
    /// As whom it has logged in.
    pub login: Option<String>,
    /// What it asked for, as it was written.
    pub argument: String,
}

/// Who asks for a release. Policy depends on it, and log and record tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requester {
    /// A peer, by ETRN.
    Etrn(Peer),
    /// A peer, by ATRN.
    Atrn(Peer),
    /// Somebody at the control socket.
    Operator,
    /// A timetable, or the periodic service.
    Schedule,
}

impl Requester {
    /// The peer, when it is one.
    #[must_use]
    pub const fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Etrn(peer) | Self::Atrn(peer) => Some(peer),
            Self::Operator | Self::Schedule => None,
        }
    }

    /// In one word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Etrn(_) => "etrn",
            Self::Atrn(_) => "atrn",
            Self::Operator => "operator",
            Self::Schedule => "schedule",
        }
    }
}

impl fmt::Display for Requester {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())?;
        let Some(peer) = self.peer() else { return Ok(()) };
        // A peer's own words are shown with escapes: they go into logs that people read in terminals.
        write!(out, " from {} ({}", peer.address.escape_debug(), peer.helo.escape_debug())?;
        if let Some(login) = &peer.login {
            write!(out, ", {}", login.escape_debug())?;
        }
        write!(out, ") on {}", peer.source_channel)
    }
}

/// Names a release, its run and its record. Grows with time, and is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseId(pub u64);

impl fmt::Display for ReleaseId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:012X}", self.0)
    }
}

impl FromStr for ReleaseId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// Whether what was named is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// It is ours to run, whether or not anything waits.
    Known,
    /// We know no such channel, domain or message.
    Unknown,
    /// Nobody can tell: a database that rules ask has come to harm, and without it nothing is known of the domain.
    Unanswered,
    /// It is only on channels that ETRN must not run (`blocketrn`).
    Blocked,
    /// It is ours, and an operator has closed all ways to it: channels are stopped, or the domain is suspended.
    Closed,
}

/// What a release has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Its id.
    pub id: ReleaseId,
    /// What was asked for.
    pub selectors: Vec<Selector>,
    /// Channels that run because of it, by name, in order.
    pub channels: Vec<String>,
    /// Messages with at least one recipient that it covers, each counted once, at that moment; those in delivery
    /// count, those on hold do not.
    pub messages: u64,
    /// The same with recipients and octets.
    pub covered: Count,
    /// Releases under way that all or part of it has joined.
    pub with: Vec<ReleaseId>,
    /// Whether what was named is there.
    pub matched: Matched,
    /// Similar names, when it is not there and an operator asked.
    pub nearest: Vec<String>,
    /// What keeps some of it back: `channel NAME is stopped`, `@example.com is suspended`.
    pub closed: Vec<String>,
}

/// Selectors as they are written, separated by blanks; a long list ends with how many more there are.
pub(crate) fn written(selectors: &[Selector]) -> String {
    const SHOWN_MAX: usize = 20;
    let mut text = selectors.iter().take(SHOWN_MAX).map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if let Some(more) = selectors.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
