//! Whole-program tests: the real binary, its real plugins, loopback, and real mail programs as peers.
//!
//! The tests are in `tests/`, one file per story; what they stand on (sites, sinks, clients) is `sluice-testkit`. Here
//! is the one configuration that most stories share: a hub that holds mail for some sites and passes on the rest.
#![forbid(unsafe_code)]

use sluice_testkit::{Arrived, Site, number_of};
use std::fmt::Write;
use std::time::Duration;

/// How long anything may take that should take a moment. The machine may be building something else meanwhile.
pub const SOON: Duration = Duration::from_secs(60);

/// How long is watched that nothing happens.
pub const WHILE: Duration = Duration::from_secs(2);

/// A destination of the shared hub.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// The channel, `tcp_` included.
    pub channel: &'a str,
    /// The domain that goes there, with everything under it.
    pub domain: &'a str,
    /// The port of the peer on loopback.
    pub port: u16,
    /// More keywords: `periodic` holds the mail.
    pub keywords: &'a str,
}

impl<'a> Destination<'a> {
    /// A site whose mail is held until it is released.
    #[must_use]
    pub fn held(channel: &'a str, domain: &'a str, port: u16) -> Self {
        Destination { channel, domain, port, keywords: "periodic" }
    }

    /// A site whose mail is sent on at once.
    #[must_use]
    pub fn direct(channel: &'a str, domain: &'a str, port: u16) -> Self {
        Destination { channel, domain, port, keywords: "" }
    }
}

/// The text of `sluice.cnf` for a hub `hub.example` with these destinations; the incoming channel gets `incoming`.
#[must_use]
pub fn configuration(incoming: &str, destinations: &[Destination<'_>]) -> String {
    let mut text = String::from("hub.example $U@hub.example\n");
    for to in destinations {
        let official = to.channel.to_uppercase();
        let _ = writeln!(text, "{} $U%$D@{official}\n.{} $U%$H$D@{official}", to.domain, to.domain);
    }
    let _ = write!(text, "\nl\nhub.example\n\ntcp_local smtp nomx {incoming}\nTCP-DAEMON\n");
    for to in destinations {
        let Destination { channel, port, keywords, .. } = to;
        let official = channel.to_uppercase();
        let _ = write!(text, "\n{channel} smtp nomx daemon [127.0.0.1] port {port} {keywords}\n{official}\n");
    }
    text
}

/// A site with that configuration, not started. `allowetrn` is set on its incoming channel, so that answers count.
#[must_use]
pub fn hub(name: &str, destinations: &[Destination<'_>]) -> Site {
    let site = Site::new(name);
    site.write("sluice.cnf", &configuration("allowetrn", destinations));
    site.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=100\n");
    site
}

/// The numbers of the messages, sorted.
///
/// # Panics
/// When one carries none: it is not one of those that were sent.
#[must_use]
pub fn numbers(arrived: &[Arrived]) -> Vec<usize> {
    let mut numbers: Vec<usize> =
        arrived.iter().map(|one| number_of(&one.content).expect("a message with a number")).collect();
    numbers.sort_unstable();
    numbers
}
