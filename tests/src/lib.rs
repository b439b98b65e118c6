//! Whole-program tests: the real binary, its real plugins, loopback, and real mail programs as peers.
//!
//! The tests are in `tests/`, one file per story; what they stand on (sites, sinks, clients) is `sluice-testkit`. Here
//! is the one configuration that most stories share: a hub that holds mail for some sites and passes on the rest.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod faults;
mod in_c;
mod ledger;
mod misbehave;
mod peer;
mod servers;

pub use faults::{Calls, Clock, Room};
pub use in_c::plugin_in_c;
pub use ledger::{Ledger, Line, Version};
pub use misbehave::{FLOOD, Flood, own_memory};
pub use peer::{Peer, is_root, show};
pub use servers::{DOMAIN, Duty, Server, greets};

use sluice_sasl::client::{Attempt, Credentials};
use sluice_sasl::{Mechanism, decode, encode};
use sluice_testkit::{Arrived, Batch, Ran, Reply, Sink, Site, Talk, built, number_of};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
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

/// `sluice password …` with a password on standard input.
///
/// # Panics
/// When the program cannot be run.
#[must_use]
pub fn password(site: &Site, arguments: &[&str], password: &str) -> Ran {
    let mut child = Command::new(built("sluice"))
        .arg("password")
        .args(arguments)
        .arg("--config")
        .arg(site.configuration())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses before it asks has closed its end.
    let _ = child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The last reply of an attempt to log in.
///
/// # Panics
/// When the connection fails, or what the server says is nothing of the mechanism.
pub fn log_in(talk: &mut Talk, mechanism: Mechanism, name: &str, password: &str) -> Reply {
    let mut attempt = Attempt::new(mechanism, Credentials::new(name, password).unwrap(), &[7; 18]);
    let initial = attempt.initial().map(|octets| format!(" {}", encode(&octets))).unwrap_or_default();
    let mut reply = talk.ask(&format!("AUTH {}{initial}", mechanism.name())).unwrap();
    while reply.code == 334 {
        let challenge = decode(reply.text().trim().as_bytes()).unwrap();
        reply = talk.ask(&encode(&attempt.answer(&challenge).unwrap())).unwrap();
    }
    assert_eq!(reply.code == 235, attempt.is_complete() && reply.code < 400, "{reply}");
    reply
}

/// Sends so many messages to an address, numbered from `first` on.
pub fn send(hub: &Site, to: &str, first: usize, count: usize) {
    Batch { first, ..Batch::new(hub.address(), to, count) }.send_all();
}

/// Waits until so many have arrived; their numbers, sorted.
pub fn arrived(sink: &Sink, count: usize) -> Vec<usize> {
    numbers(&sink.wait(count, SOON))
}
