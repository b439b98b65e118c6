//! Ten thousand messages for plugins that misbehave, while a channel beside them goes on; shared by what runs them in the hub
//! and what runs each in a process of its own.
//!
//! Every way of misbehaving has a channel of its own, and each message goes to all of them.

use crate::{Destination, SOON, arrived, hub};
use sluice_testkit::{Batch, Sink, Site, built, wait_for};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

/// Messages for the plugins that misbehave.
pub const FLOOD: usize = 10_000;
/// Messages for the good channel each time that it is looked at.
const GOOD: usize = 200;
/// Octets of each message.
const SIZE: usize = 600;

/// A hub with a channel for each way of misbehaving, and `tcp_next`, which passes mail on.
#[derive(Debug)]
pub struct Flood {
    /// The hub, running.
    pub hub: Site,
    modes: Vec<&'static str>,
    good: Sink,
    sent_good: usize,
}

fn channel(mode: &str) -> String {
    format!("tcp_{mode}")
}

/// A domain may have no `_`.
fn domain(mode: &str) -> String {
    format!("{}.example", mode.replace('_', "-"))
}

/// Memory of a hub's own, in octets: not the pages of files that it has mapped, which are the system's.
///
/// # Panics
/// When the hub does not run.
#[must_use]
pub fn own_memory(hub: &Site) -> u64 {
    let id = hub.id().expect("a hub that runs");
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number");
    kib * 1024
}

impl Flood {
    /// Starts it; `keywords` are those of the channels that misbehave.
    ///
    /// # Panics
    /// When the hub does not start.
    #[must_use]
    pub fn start(name: &str, modes: &[&'static str], keywords: &str) -> Flood {
        let good = Sink::start();
        let keywords = format!("logging {keywords}");
        let names: Vec<(String, String)> = modes.iter().map(|mode| (channel(mode), domain(mode))).collect();
        let mut destinations: Vec<Destination<'_>> = names
            .iter()
            .map(|(channel, domain)| Destination { channel, domain, port: 1, keywords: &keywords })
            .collect();
        destinations.push(Destination::direct("tcp_next", "next.example", good.port()));
        let mut hub = hub(name, &destinations);
        let plugin = built("libsluice_misbehaving.so");
        let mut plugins = String::new();
        for mode in modes {
            let _ = writeln!(plugins, "[CHANNEL={}]\nMASTER_PLUGIN={}", channel(mode), plugin.display());
            hub.write(&format!("{}_option", channel(mode)), &format!("MODE={mode}\nPAUSE=1500\n"));
        }
        hub.write("job_controller.cnf", &plugins);
        hub.write("option.dat", "SPOOL_DIR=../spool\nDELIVERY_DEADLINE=1s\n");
        hub.start();
        Flood { hub, modes: modes.to_vec(), good, sent_good: 0 }
    }

    /// Sends all of it, with mail for the good channel in the middle, which must come through while the flood is there.
    ///
    /// # Panics
    /// When a message is not taken, or the good channel does not go on.
    pub fn flood(&mut self) {
        let address = self.hub.address();
        let to: Vec<String> = self.modes.iter().map(|mode| format!("fred@{}", domain(mode))).collect();
        let send = move |first: usize, count: usize| {
            let batch = Batch { first, sessions: 4, size: SIZE, to, ..Batch::new(address, "nobody", count) };
            batch.send_all();
        };
        send.clone()(0, FLOOD / 2);
        std::thread::scope(|scope| {
            scope.spawn(move || send(FLOOD / 2, FLOOD / 2));
            self.the_other_goes_on();
        });
        self.the_other_goes_on();
    }

    /// The good channel delivers what is sent to it now, each message once.
    ///
    /// # Panics
    /// When it does not.
    pub fn the_other_goes_on(&mut self) {
        let first = self.sent_good;
        let batch = Batch { first, size: SIZE, ..Batch::new(self.hub.address(), "fred@next.example", GOOD) };
        batch.send_all();
        self.sent_good += GOOD;
        assert_eq!(arrived(&self.good, self.sent_good), (0..self.sent_good).collect::<Vec<_>>());
    }

    /// Memory of the hub's own, in bytes.
    ///
    /// # Panics
    /// When the hub does not run.
    #[must_use]
    pub fn memory(&self) -> u64 {
        own_memory(&self.hub)
    }

    /// The plugins behave from now on, and everything that was sent is delivered: nothing was lost.
    ///
    /// # Panics
    /// When that is not so.
    pub fn mend(&mut self) {
        for mode in &self.modes {
            self.hub.write(&format!("{}_option", channel(mode)), "MODE=delivers_all\n");
        }
        assert_eq!(self.hub.command(&["reload"]).code, 0);
        let channels: Vec<String> = self.modes.iter().map(|mode| format!("#{}", channel(mode))).collect();
        let trigger: Vec<&str> =
            std::iter::once("trigger").chain(channels.iter().map(String::as_str)).collect();
        let mut last = u64::MAX;
        loop {
            // What was deferred, or rests after failures, need not wait for its time. As long as it becomes less, it is
            // waited for.
            self.hub.command(&trigger);
            let before = last;
            wait_for("less mail waits", SOON, || {
                last = self.hub.waiting(None);
                last == 0 || last < before
            });
            if last == 0 {
                break;
            }
        }
        assert!(self.hub.runs());
        self.the_other_goes_on();
        self.hub.wait_for_waiting(None, 0, SOON);
    }

    /// By the mail log each message was delivered on each channel. Gives how many were delivered more than once.
    ///
    /// # Panics
    /// When one was not.
    #[must_use]
    pub fn account(&self) -> BTreeMap<&'static str, usize> {
        let log = self.hub.folder().join("spool/log/mail.log_current");
        let mut delivered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for line in fs::read_to_string(log).expect("the mail log").lines() {
            let mut words = line.split(' ').skip(2);
            let (Some(id), Some(channel), Some(code)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if code == "D" {
                delivered.entry(channel.to_owned()).or_default().insert(id.to_owned());
                *times.entry(channel.to_owned()).or_default() += 1;
            }
        }
        let mut twice = BTreeMap::new();
        for mode in &self.modes {
            let channel = channel(mode);
            let once = delivered.get(&channel).map_or(0, BTreeSet::len);
            assert_eq!(once, FLOOD, "messages that were delivered on {channel}");
            twice.insert(*mode, times[&channel] - once);
        }
        twice
    }
}
