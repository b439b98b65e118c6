//! What the checks stand on: the plugin in this process, channels of it, deliveries for them, and the account of what came back.
//!
//! The plugin is loaded from its file itself, not from a copy, so that valgrind and debuggers find its names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_host::{
    Cause, Content, Delivery, FrontDoor, Guise, Host, HostEvent, Instance, Lease, Plugin, Recipient, Setting,
    Spec, Submission,
};
use sluice_mail::{Handover, Outcome, RecipientWishes, Status, Time};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::VALGRIND_SLOWER;
use crate::cli::PluginCheck;

/// What a check came to: a remark, which may be empty, or what is wrong.
pub(super) type Tried = Result<String, String>;

/// Most deliveries of one lease, as the dispatcher makes them.
const LEASE_MAX: usize = 100;
/// Worker threads, where a check does not say.
const WORKERS: u32 = 4;
/// How long is waited for the reason why nobody was settled.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// So many different complaints are told.
const COMPLAINTS_TOLD: usize = 3;

/// What the host complains of.
#[derive(Clone, Default)]
struct Complaints(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Complaints {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    let _ = write!(self.0, "{value:?}");
                }
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let of_filter = text.0.strip_prefix("a filter gives ").map(|rest| format!("it gives {rest}"));
        let of_channel = text.0.strip_prefix("the plugin is faulty: ").map(str::to_owned);
        if let Some(complaint) = of_channel.or(of_filter) {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() < 1000 {
                all.push(complaint);
            }
        }
    }
}

/// Takes all mail that the plugin brings in.
struct OpenDoor;

impl FrontDoor for OpenDoor {
    fn submit(&self, submission: &Submission<'_>) -> Option<Vec<Outcome>> {
        let taken = Outcome::Delivered {
            status: Status { class: 2, subject: 1, detail: 5 },
            text: "queued".to_owned(),
            peer: String::new(),
            handover: Handover::PassedOn,
        };
        Some(vec![taken; submission.recipients.len()])
    }
}

/// The plugin in this process.
pub(super) struct Stage {
    pub(super) host: Host,
    pub(super) plugin: Arc<Plugin>,
    pub(super) settings: Vec<Setting>,
    pub(super) full: bool,
    /// So many times fewer of what there are many of.
    pub(super) fewer: usize,
    pub(super) valgrind: bool,
    /// How long one delivery may take.
    pub(super) patience: Duration,
    complaints: Complaints,
}

impl Stage {
    /// Loads the plugin.
    pub(super) fn set(arguments: &PluginCheck, settings: Vec<Setting>) -> Result<Stage, String> {
        let complaints = Complaints::default();
        tracing_subscriber::registry().with(complaints.clone()).init();
        let host = Host::in_place(Vec::new());
        host.open_door(Arc::new(OpenDoor));
        let file = std::path::absolute(&arguments.file).map_err(|error| error.to_string())?;
        let plugin =
            host.load(&file.to_string_lossy()).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
        let slower = if arguments.valgrind { VALGRIND_SLOWER } else { 1 };
        let patience = Duration::from_secs(arguments.seconds) * slower;
        Ok(Stage {
            host,
            plugin,
            settings,
            full: arguments.full,
            fewer: arguments.fewer as usize,
            valgrind: arguments.valgrind,
            patience,
            complaints,
        })
    }

    /// So many of something, or fewer where each is slow.
    pub(super) const fn number(&self, usually: usize, full: usize) -> usize {
        let number = match (self.valgrind, self.full) {
            (true, _) => usually.div_ceil(VALGRIND_SLOWER as usize),
            (false, true) => full,
            (false, false) => usually,
        };
        number.div_ceil(self.fewer)
    }

    /// How a channel is run here.
    pub(super) fn spec(&self) -> Spec {
        let name = self.settings.iter().find(|one| one.name == "channel").map_or("check", |one| &one.value);
        let mut spec = Spec::new(name, self.settings.clone());
        spec.max_workers = WORKERS;
        spec.deadline = self.patience;
        spec.queue_bound = usize::MAX;
        if self.valgrind {
            spec.create_deadline *= VALGRIND_SLOWER;
        }
        spec
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel_with(self.spec())
    }

    pub(super) fn guised(&self, guise: Guise) -> Channel {
        self.channel_with(Spec { guise, ..self.spec() })
    }

    /// A channel that is run as `spec` says.
    pub(super) fn channel_with(&self, spec: Spec) -> Channel {
        let (sender, events) = channel();
        let sink = Arc::new(move |event| {
            // Fails only when the check is over.
            let _ = sender.send(event);
        });
        let patience = self.patience.max(spec.deadline);
        Channel {
            instance: Instance::start(&self.host, self.plugin.clone(), spec, sink),
            events,
            account: Account::default(),
            patience,
            next: 1,
        }
    }

    /// What the host has complained of so far, as a finding.
    pub(super) fn complaints(&self) -> Result<(), String> {
        let all = self.complaints.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told: Vec<String> = Vec::new();
        for one in all.iter() {
            if told.len() < COMPLAINTS_TOLD && !told.contains(one) {
                told.push(one.clone());
            }
        }
        if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
    }

    /// Gives a channel these deliveries and judges what comes back: each is settled, for each recipient, and nothing else is
    /// said. Ends the channel.
    pub(super) fn delivers(&self, channel: Channel, deliveries: Vec<Delivery>) -> Tried {
        let mut channel = channel;
        channel.offer(deliveries);
        channel.wait_for_all()?;
        // A worker that returns gives back what it held first. That it was not to return is told only while nobody stops the
        // channel, and worth more than that; what a worker dies of is told then, too.
        if !channel.account.unsettled.is_empty() {
            channel.until(LAST_WORDS, |account| !account.failures.is_empty());
        }
        let ended = channel.end();
        if channel.account.failures.is_empty() {
            ended?;
            self.complaints()?;
        }
        channel.account.verdict()
    }
}

/// What came back.
#[derive(Default)]
pub(super) struct Account {
    /// Deliveries that were given, with the number of their recipients.
    given: BTreeMap<u64, usize>,
    /// In the order in which they came back.
    pub(super) back: Vec<u64>,
    leases: usize,
    pub(super) leases_done: usize,
    /// Delivered, deferred, failed.
    outcomes: [usize; 3],
    first_words: [String; 3],
    /// Recipients of whom nothing was said, by what they came back for.
    pub(super) unsettled: BTreeMap<String, usize>,
    pub(super) failures: Vec<String>,
    pub(super) stopped: Option<(String, u32)>,
}

impl Account {
    fn take(&mut self, event: HostEvent) {
        match event {
            HostEvent::Finished { token, outcomes, unsettled, cause, lease_done, .. } => {
                self.back.push(token);
                self.leases_done += usize::from(lease_done);
                for (_, outcome) in outcomes {
                    let at = match outcome {
                        Outcome::Delivered { .. } => 0,
                        Outcome::Deferred { .. } => 1,
                        Outcome::Failed { .. } => 2,
                    };
                    self.outcomes[at] += 1;
                    if self.first_words[at].is_empty() {
                        self.first_words[at] = outcome.text().to_owned();
                    }
                }
                if !unsettled.is_empty() {
                    let why = match cause {
                        Cause::Done => "it finished deliveries without a word about".to_owned(),
                        other => format!("({other}) nothing was said about"),
                    };
                    *self.unsettled.entry(why).or_default() += unsettled.len();
                }
            }
            HostEvent::LeaseDone { .. } => self.leases_done += 1,
            HostEvent::WorkerFailed { failure, .. } => self.failures.push(failure.to_string()),
            HostEvent::Stopped { reason, left_behind, .. } => {
                self.stopped = Some((reason.to_string(), left_behind));
            }
            // News about the process of a channel, which has none here.
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }

    fn is_complete(&self) -> bool {
        self.back.len() >= self.given.len() && self.leases_done >= self.leases
    }

    /// What the outcomes were, or what was wrong.
    pub(super) fn verdict(&self) -> Tried {
        if let Some(failure) = self.failures.first() {
            return Err(format!("{failure} ({} in all)", self.failures.len()));
        }
        if let Some((why, count)) = self.unsettled.iter().next() {
            return Err(format!("{why} {count} recipients"));
        }
        let told: Vec<String> = ["delivered", "deferred", "failed"]
            .iter()
            .zip(self.outcomes)
            .zip(&self.first_words)
            .filter(|((_, count), _)| *count > 0)
            .map(|((word, count), text)| match *word {
                "delivered" => format!("{count} delivered"),
                word => format!("{count} {word} ({text})"),
            })
            .collect();
        Ok(told.join(", "))
    }
}

/// A channel of the plugin.
pub(super) struct Channel {
    pub(super) instance: Instance,
    events: Receiver<HostEvent>,
    pub(super) account: Account,
    patience: Duration,
    next: u64,
}

impl Channel {
    /// Gives it deliveries, in leases of at most a hundred. They get numbers.
    pub(super) fn offer(&mut self, deliveries: Vec<Delivery>) {
        let mut deliveries = deliveries.into_iter().peekable();
        while deliveries.peek().is_some() {
            let batch: Vec<Delivery> = deliveries.by_ref().take(LEASE_MAX).collect();
            self.lease(batch, false);
        }
    }

    /// Gives it one lease. One that is refused counts as not given: the channel has ended, and that is told by the end.
    pub(super) fn lease(&mut self, mut deliveries: Vec<Delivery>, poll: bool) {
        for delivery in &mut deliveries {
            delivery.token = self.next;
            self.next += 1;
        }
        let given: Vec<(u64, usize)> =
            deliveries.iter().map(|one| (one.token, one.recipients.len())).collect();
        let lease = Lease { lease: self.next, poll, deliveries };
        let end = Instant::now() + self.patience;
        let mut offer = sluice_host::Offer::from(lease);
        loop {
            match self.instance.offer(offer) {
                Ok(()) => {
                    self.account.given.extend(given);
                    self.account.leases += 1;
                    return;
                }
                Err(error) if Instant::now() < end && !matches!(error.why, sluice_host::Refusal::Stopped) => {
                    // It rests; what it failed of is in the account.
                    offer = error.offer;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return self.account.failures.push(format!("it takes no more: {}", error.why)),
            }
        }
    }

    /// Takes in what has been told, until `done`; `false` when it is not by the time.
    pub(super) fn until(&mut self, within: Duration, done: impl Fn(&Account) -> bool) -> bool {
        let mut end = Instant::now() + within;
        while !done(&self.account) {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.account.take(event);
                    // Whatever comes back gives the next one its time.
                    end = end.max(Instant::now() + within);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// Waits until everything has come back.
    pub(super) fn wait_for_all(&mut self) -> Result<(), String> {
        // The host takes away what is held for longer than `patience`, and tells so.
        if self.until(self.patience * 3, |account| account.is_complete() || account.stopped.is_some()) {
            return match &self.account.stopped {
                Some((reason, _)) => Err(format!("the channel has stopped: {reason}{}", self.failed())),
                None => Ok(()),
            };
        }
        let (back, given) = (self.account.back.len(), self.account.given.len());
        Err(format!("{back} of {given} deliveries came back{}", self.failed()))
    }

    fn failed(&self) -> String {
        self.account.failures.first().map(|failure| format!("; {failure}")).unwrap_or_default()
    }

    /// Stops it, and finds out whether it ends as it should.
    pub(super) fn end(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        self.instance.stop(self.patience);
        if !self.until(self.patience * 2, |account| account.stopped.is_some()) {
            return Err(format!("it did not end within {} s of a stop", begun.elapsed().as_secs()));
        }
        match &self.account.stopped {
            Some((_, left)) if *left > 0 => Err(format!(
                "{left} of its workers did not come back within {} s of a stop",
                self.patience.as_secs()
            )),
            _ => Ok(()),
        }
    }
}

/// Pieces of a message.
pub(super) struct Pieces(pub(super) Vec<Vec<u8>>);

impl Content for Pieces {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        self.0.iter().for_each(|piece| take(piece));
    }
}

/// A small message for these addresses.
pub(super) fn delivery(number: usize, addresses: &[&str]) -> Delivery {
    let content = format!(
        "From: <sender@origin.example>\r\nTo: whom it concerns\r\nSubject: number {number}\r\n\
         Message-ID: <{number}@check.example>\r\n\r\nA line.\r\n..a line with a dot\r\n"
    );
    with_content(number, addresses, Arc::new(content.into_bytes()))
}

/// The same with a content.
pub(super) fn with_content(number: usize, addresses: &[&str], content: Arc<dyn Content>) -> Delivery {
    let recipient = |(index, address): (usize, &&str)| Recipient {
        // Ascending, with gaps: a plugin must not count by itself.
        index: u32::try_from(index * 3 + 1).unwrap_or(u32::MAX),
        address: (*address).to_owned(),
        original: (*address).to_owned(),
        wishes: RecipientWishes::default(),
    };
    Delivery {
        token: 0,
        id: format!("{number:012X}"),
        sender: "sender@origin.example".to_owned(),
        source_channel: "tcp_local".to_owned(),
        domain: "check.example".into(),
        recipients: addresses.iter().enumerate().map(recipient).collect(),
        content,
        arrived: Time::from(std::time::SystemTime::now()),
        ..Delivery::blank()
    }
}

/// What this process has at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) threads: usize,
    pub(super) files: usize,
    /// Memory of its own, in KiB.
    pub(super) memory: u64,
}

impl Held {
    pub(super) fn now() -> Held {
        let count = |folder: &str| fs::read_dir(folder).map_or(0, Iterator::count);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let memory = memory.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        Held { threads: count("/proc/self/task"), files: count("/proc/self/fd"), memory }
    }

    /// As it is when threads that have been told to end have ended; at most `limit` threads are waited for.
    pub(super) fn settled(limit: usize) -> Held {
        let end = Instant::now() + Duration::from_secs(3);
        loop {
            let now = Held::now();
            if now.threads <= limit || Instant::now() >= end {
                return now;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// That nothing is left of what was done between the two.
pub(super) fn compare(before: Held, after: Held) -> Tried {
    if after.threads > before.threads {
        return Err(format!("threads are left: {} before, {} after", before.threads, after.threads));
    }
    if after.files > before.files {
        return Err(format!("files stay open: {} before, {} after", before.files, after.files));
    }
    Ok(String::new())
}
