//! A house for tests: the real dispatcher, spool, configuration and rewriting; a clock that is stepped; and channels that
//! do what the test says instead of plugins.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_config::{MemoryFiles, Place};
use sluice_dispatch::{
    ChannelReport, ChannelStatus, Clock, Closing, CommitError, Dispatcher, EntryView, Handle, Instance,
    Loaded, NotTaken, Order, Parts, Peer, PluginInfo, QueueSummary, Released, Requester, Runner, Runners,
    Via, ask,
};
use sluice_host::{Cause, Events, HostEvent, Lease, Offer, StopReason};
use sluice_mail::{Envelope, Handover, Outcome, Priority, Recipient, Status, Time, Wishes};
use sluice_rewrite::Rewriter;
use sluice_spool::{Disk, EntryId, OpenError, Options, Spool, Storage};

pub const HOUR: Duration = Duration::from_secs(3600);
pub const MINUTE: Duration = Duration::from_secs(60);
/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stands still until the test steps it.
pub struct Stepping(Mutex<Clocks>);

/// What the wall clock says, and what a clock says that nobody sets, in milliseconds.
struct Clocks {
    wall: u64,
    steady: u64,
    /// How often the loop has read them.
    readings: u64,
}

impl Stepping {
    fn at(wall: u64) -> Self {
        Self(Mutex::new(Clocks { wall, steady: 0, readings: 0 }))
    }

    fn pass(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap();
        let mut clocks = self.0.lock().unwrap();
        clocks.wall += milliseconds;
        clocks.steady += milliseconds;
    }

    fn set(&self, time: Time) {
        self.0.lock().unwrap().wall = time.0;
    }

    fn readings(&self) -> u64 {
        self.0.lock().unwrap().readings
    }
}

impl Clock for Stepping {
    fn now(&self) -> Time {
        Time(self.0.lock().unwrap().wall)
    }

    fn reading(&self) -> (Time, Option<Duration>) {
        let mut clocks = self.0.lock().unwrap();
        clocks.readings += 1;
        (Time(clocks.wall), Some(Duration::from_millis(clocks.steady)))
    }
}

/// What a channel of the test does with a recipient.
#[derive(Clone, Debug)]
pub enum Act {
    Deliver,
    /// The next system takes it, and makes no reports.
    Relay,
    /// The next system takes it, and the sender's wishes with it.
    PassOn,
    Defer,
    /// Deferred because nobody answers, which is our own finding.
    Unreachable,
    Fail,
    /// Says nothing.
    Forget,
    /// The worker dies with all that it holds.
    Die,
    /// Keeps the delivery until the test finishes it.
    Keep,
}

/// A delivery as a channel got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub channel: String,
    pub id: String,
    pub sender: String,
    pub domain: String,
    pub to: Vec<String>,
    pub attempts: u32,
    pub content: String,
    pub next_hop: Option<String>,
    pub more_follows: bool,
}

struct Kept {
    channel: String,
    lease: u64,
    token: u64,
    recipients: Vec<u32>,
    /// How many entries it was made of: one for each domain.
    entries: u64,
    events: Events,
}

#[derive(Default)]
struct Stage {
    /// By address, then by channel, then [`Act::Deliver`].
    acts: HashMap<String, Act>,
    got: Vec<Got>,
    kept: Vec<Kept>,
    leases_open: HashMap<u64, (usize, Events)>,
    /// Leases that were taken, and about which not all has been said yet that is said without the test.
    working: usize,
    polls: Vec<String>,
    started: Vec<Instance>,
    stopped: Vec<String>,
    refuse_start: Option<String>,
    /// By channel.
    refuse_start_of: HashMap<String, String>,
    refuse_lease: bool,
    untaken: usize,
    /// A start waits while this is set.
    hold_start: bool,
    most_leases: HashMap<String, usize>,
    open_by_channel: HashMap<String, usize>,
    /// Where leases of all channels are worked off, one after the other.
    thread: Option<std::sync::mpsc::Sender<(Actor, Offer)>>,
}

/// Stands in for all plugins.
#[derive(Clone, Default)]
pub struct Actors(Arc<Mutex<Stage>>);

#[derive(Clone)]
struct Actor {
    stage: Actors,
    channel: String,
    events: Events,
}

fn outcome(act: &Act) -> Option<Outcome> {
    let status = |class, subject, detail| Status { class, subject, detail };
    let (text, peer) = ("said so".to_owned(), "peer.example".to_owned());
    match act {
        Act::Deliver | Act::Relay | Act::PassOn => {
            let handover = match act {
                Act::Relay => Handover::Relayed,
                Act::PassOn => Handover::PassedOn,
                _ => Handover::Final,
            };
            Some(Outcome::Delivered { status: status(2, 0, 0), text, peer, handover })
        }
        Act::Defer => {
            Some(Outcome::Deferred { status: status(4, 2, 0), text: "450 not now".to_owned(), peer })
        }
        Act::Unreachable => {
            let text = "no answer".to_owned();
            Some(Outcome::Deferred { status: status(4, 4, 1), text, peer: String::new() })
        }
        Act::Fail => {
            Some(Outcome::Failed { status: status(5, 1, 1), text: "550 no such user".to_owned(), peer })
        }
        Act::Forget | Act::Die | Act::Keep => None,
    }
}

impl Runner for Actor {
    fn offer(&self, offer: Offer) -> Result<(), NotTaken> {
        let mut stage = self.stage.0.lock().unwrap();
        if stage.refuse_lease {
            return Err(NotTaken { why: "the test says so".to_owned(), pause: Duration::from_secs(1) });
        }
        // On another thread, as a real instance does.
        let thread = stage.thread.get_or_insert_with(|| {
            let (sender, receiver) = std::sync::mpsc::channel::<(Actor, Offer)>();
            std::thread::spawn(move || receiver.into_iter().for_each(|(actor, offer)| actor.work(offer)));
            sender
        });
        thread.send((self.clone(), offer)).unwrap();
        stage.working += 1;
        Ok(())
    }

    fn untaken(&self) -> usize {
        self.stage.0.lock().unwrap().untaken
    }

    fn stop(&self, _deadline: Duration) {
        self.stage.0.lock().unwrap().stopped.push(self.channel.clone());
        let channel = self.channel.as_str().into();
        let (events, reason) = (Arc::clone(&self.events), StopReason::Asked);
        // From another thread, as a real instance does.
        std::thread::spawn(move || events(HostEvent::Stopped { channel, reason, left_behind: 0 }));
    }
}

impl Actor {
    fn work(&self, offer: Offer) {
        let lease = Lease { lease: offer.lease, poll: offer.poll, deliveries: (offer.read)() };
        let mut news = Vec::new();
        {
            let mut stage = self.stage.0.lock().unwrap();
            if lease.poll {
                stage.polls.push(self.channel.clone());
            }
            let mut open = 0;
            for delivery in lease.deliveries {
                let mut content = Vec::new();
                delivery.content.pieces(&mut |piece| content.extend_from_slice(piece));
                stage.got.push(Got {
                    channel: self.channel.clone(),
                    id: delivery.id.clone(),
                    sender: delivery.sender.clone(),
                    domain: delivery.domain.to_string(),
                    to: delivery.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
                    attempts: delivery.attempts,
                    content: String::from_utf8(content).unwrap(),
                    next_hop: delivery.next_hop.as_deref().map(str::to_owned),
                    more_follows: delivery.more_follows,
                });
                let acts: Vec<(u32, Act)> = delivery
                    .recipients
                    .iter()
                    .map(|recipient| {
                        let act =
                            stage.acts.get(&recipient.address).or_else(|| stage.acts.get(&self.channel));
                        (recipient.index, act.cloned().unwrap_or(Act::Deliver))
                    })
                    .collect();
                if acts.iter().any(|(_, act)| matches!(act, Act::Keep)) {
                    open += 1;
                    let domains: HashSet<&str> =
                        delivery.recipients.iter().filter_map(|one| one.address.rsplit('@').next()).collect();
                    stage.kept.push(Kept {
                        channel: self.channel.clone(),
                        lease: lease.lease,
                        token: delivery.token,
                        recipients: acts.iter().map(|&(index, _)| index).collect(),
                        entries: domains.len() as u64,
                        events: Arc::clone(&self.events),
                    });
                    continue;
                }
                let died = acts.iter().any(|(_, act)| matches!(act, Act::Die));
                let mut outcomes = Vec::new();
                let mut unsettled = Vec::new();
                for (index, act) in acts {
                    match outcome(&act) {
                        Some(outcome) if !died => outcomes.push((index, outcome)),
                        _ => unsettled.push(index),
                    }
                }
                let cause = if died { Cause::WorkerEnded } else { Cause::Done };
                let (token, lease) = (delivery.token, lease.lease);
                news.push(HostEvent::Finished {
                    token,
                    lease,
                    outcomes,
                    unsettled,
                    cause,
                    lease_done: false,
                });
            }
            if open == 0 {
                match news.last_mut() {
                    Some(HostEvent::Finished { lease_done, .. }) => *lease_done = true,
                    _ => news.push(HostEvent::LeaseDone { lease: lease.lease }),
                }
            } else {
                stage.leases_open.insert(lease.lease, (open, Arc::clone(&self.events)));
                let now = stage.open_by_channel.entry(self.channel.clone()).or_default();
                *now += 1;
                let now = *now;
                let most = stage.most_leases.entry(self.channel.clone()).or_default();
                *most = now.max(*most);
            }
        }
        news.into_iter().for_each(|event| (self.events)(event));
        self.stage.0.lock().unwrap().working -= 1;
    }
}

impl Runners for Actors {
    fn start(&self, instance: &Instance, events: Events) -> Result<Arc<dyn Runner>, String> {
        let until = Instant::now() + PATIENCE;
        while self.0.lock().unwrap().hold_start && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut stage = self.0.lock().unwrap();
        stage.started.push(instance.clone());
        let refused = stage.refuse_start_of.get(&*instance.channel).or(stage.refuse_start.as_ref());
        if let Some(why) = refused {
            return Err(why.clone());
        }
        Ok(Arc::new(Actor { stage: self.clone(), channel: instance.channel.clone(), events }))
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        Vec::new()
    }
}

pub const RULES: &str = "\
site.example $U%$D@TCP-SITE
.site.example $U%$H$D@TCP-SITE
peer.example $U%$D@TCP-SITE
slow.example $U%$D@TCP-SLOW
.slow.example $U%$H$D@TCP-SLOW
odd.example $U%$D@ODD-CHANNEL
called.example $U%$D@TCP-CALLED
there.example $U%$D@TCP-DAEMON
.there.example $U%$H$D@TCP-DAEMON
hub.example $U@hub.example
";

/// A local channel, an immediate one, one for a fixed peer, a periodic one without, a slave, and one without plugin.
/// `{x}` after a channel's name is replaced by what the test adds.
pub const CHANNELS: &str = "\
l {l}
hub.example

tcp_local smtp {tcp_local}
TCP-DAEMON

tcp_site smtp daemon peer.example periodic {tcp_site}
TCP-SITE

tcp_slow smtp periodic {tcp_slow}
TCP-SLOW

tcp_called smtp slave {tcp_called}
TCP-CALLED

odd {odd}
ODD-CHANNEL
";

/// A configuration in which `keywords` are added to channels.
pub fn configuration(keywords: &[(&str, &str)], jobs: &str) -> Arc<Loaded> {
    configuration_with(RULES, keywords, jobs)
}

/// The same with other rules.
pub fn configuration_with(rules: &str, keywords: &[(&str, &str)], jobs: &str) -> Arc<Loaded> {
    read(&format!("{rules}\n{}", channels_with(keywords)), jobs)
}

/// One with lines in `option.dat`.
pub fn configuration_with_options(keywords: &[(&str, &str)], options: &str) -> Arc<Loaded> {
    read_with_options(&format!("{RULES}\n{}", channels_with(keywords)), "", options)
}

fn channels_with(keywords: &[(&str, &str)]) -> String {
    let mut channels = CHANNELS.to_owned();
    for (channel, added) in keywords {
        channels = channels.replace(&format!("{{{channel}}}"), added);
    }
    for channel in ["l", "tcp_local", "tcp_site", "tcp_slow", "tcp_called", "odd"] {
        channels = channels.replace(&format!("{{{channel}}}"), "");
    }
    channels
}

pub fn read(text: &str, jobs: &str) -> Arc<Loaded> {
    read_with_options(text, jobs, "")
}

/// Channels with keywords, sections of the job controller's file, and sites. Times are UTC.
pub fn configuration_with_times(keywords: &[(&str, &str)], jobs: &str, sites: &str) -> Arc<Loaded> {
    let text = format!("{RULES}\n{}", channels_with(keywords));
    read_files(&text, jobs, "TIME_ZONE=UTC\n", MemoryFiles::new().with("/house/sites.cnf", sites))
}

/// Channels with keywords, and sites. Times are UTC.
pub fn configuration_with_sites(keywords: &[(&str, &str)], sites: &str) -> Arc<Loaded> {
    configuration_with_times(keywords, "", sites)
}

/// The same with further lines in `option.dat`.
pub fn read_with_options(text: &str, jobs: &str, options: &str) -> Arc<Loaded> {
    read_files(text, jobs, options, MemoryFiles::new())
}

fn read_files(text: &str, jobs: &str, options: &str, files: MemoryFiles) -> Arc<Loaded> {
    let files = files
        .with("/house/sluice.cnf", text)
        .with(
            "/house/option.dat",
            format!("POST_INTERVAL=14400\nRETURN_UNITS=1\nRETURN_INTERVAL=60\n{options}"),
        )
        .with("/house/job_controller.cnf", jobs);
    let (config, _, diagnostics) = sluice_config::read(&files, &Place::Folder(PathBuf::from("/house")));
    let config = Arc::new(config.unwrap_or_else(|| panic!("{diagnostics:#?}")));
    let (rewriter, _) = Rewriter::compile(Arc::clone(&config));
    Arc::new(Loaded { config, rewriter: Arc::new(rewriter) })
}

/// A peer that asks for something.
pub fn etrn_of(argument: &str) -> Requester {
    Requester::Etrn(Peer {
        source_channel: "tcp_local".to_owned(),
        address: "192.0.2.1".to_owned(),
        helo: "site.example".to_owned(),
        login: None,
        argument: argument.to_owned(),
    })
}

pub struct House {
    folder: tempfile::TempDir,
    options: Options,
    /// In place of the folder.
    storage: Option<Arc<dyn Storage>>,
    pub clock: Arc<Stepping>,
    pub actors: Actors,
    loaded: Arc<Loaded>,
    handle: Option<Handle>,
}

impl House {
    pub fn new() -> Self {
        Self::with(configuration(&[], ""))
    }

    /// A house in which keywords are added to channels.
    pub fn with_keywords(keywords: &[(&str, &str)]) -> Self {
        Self::with(configuration(keywords, ""))
    }

    pub fn with(loaded: Arc<Loaded>) -> Self {
        let options = Options { segment_size: 1 << 20, journal_size: 1 << 20, ..Options::default() };
        Self::in_folder(tempfile::tempdir().unwrap(), loaded, options)
    }

    /// A house on a spool that may be there already.
    pub fn in_folder(folder: tempfile::TempDir, loaded: Arc<Loaded>, options: Options) -> Self {
        let mut house = Self {
            folder,
            options,
            storage: None,
            clock: Arc::new(Stepping::at(1_790_000_000_000)),
            actors: Actors::default(),
            loaded,
            handle: None,
        };
        house.start();
        house
    }

    /// A house whose spool is on a disk of the test's, which may have stopped before all is open: then there is none. What its
    /// channels do is said before, since what is due goes at once.
    pub fn on(
        loaded: Arc<Loaded>,
        storage: Arc<dyn Storage>,
        now: Time,
        acts: &[(&str, Act)],
    ) -> Option<Self> {
        let mut house = Self {
            folder: tempfile::tempdir().unwrap(),
            options: Options { segment_size: 1 << 20, journal_size: 1 << 20, ..Options::default() },
            storage: Some(storage),
            clock: Arc::new(Stepping::at(now.0)),
            actors: Actors::default(),
            loaded,
            handle: None,
        };
        acts.iter().for_each(|(whom, act)| house.act(whom, act.clone()));
        house.try_start().is_ok().then_some(house)
    }

    pub fn clock_now(&self) -> Time {
        self.clock.now()
    }

    pub fn handle(&self) -> &Handle {
        self.handle.as_ref().unwrap()
    }

    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|error| panic!("{error:?}"));
    }

    pub fn try_start(&mut self) -> Result<(), OpenError> {
        let folder = || Arc::new(Disk::open(self.folder.path()).unwrap()) as Arc<dyn Storage>;
        let storage = self.storage.clone().unwrap_or_else(folder);
        let (spool, recovered) = Spool::open(storage, self.options.clone())?;
        let parts = Parts {
            loaded: Arc::clone(&self.loaded),
            spool,
            entries: recovered.entries,
            notes: recovered.notes,
            runners: Arc::new(self.actors.clone()),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        };
        self.handle = Some(Dispatcher::start(parts).unwrap());
        Ok(())
    }

    pub fn stop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.stop(Duration::from_secs(5));
        }
    }

    /// After the dispatcher was stopped by its handle.
    pub fn start_again(&mut self) {
        self.handle = None;
        self.start();
    }

    /// Goes on with a copy of what the disk has now, as after a crash.
    pub fn copy_and_start_from_copy(&mut self) {
        // A checkpoint that gets its name meanwhile would be in neither list; then the copy is begun anew.
        let copy = loop {
            let copy = tempfile::tempdir().unwrap();
            match copy_folder(self.folder.path(), copy.path()) {
                Ok(()) => break copy,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
            }
        };
        self.stop();
        self.folder = copy;
        self.start();
    }

    /// Where its spool is.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Copies the spool as it is on the disk now, as after a crash.
    pub fn copy_to(&self, to: &std::path::Path) {
        copy_folder(self.folder.path(), to).unwrap();
    }

    /// Spoils the record of a message in the spool, found by a text of its envelope. Only while stopped.
    pub fn damage(&self, text: &str) {
        let mut spoiled = 0;
        for path in files_under(self.folder.path()) {
            let mut bytes = std::fs::read(&path).unwrap();
            let places: Vec<usize> = bytes
                .windows(text.len())
                .enumerate()
                .filter(|(_, w)| *w == text.as_bytes())
                .map(|(at, _)| at)
                .collect();
            for at in places {
                bytes[at] ^= 0x20;
                spoiled += 1;
            }
            std::fs::write(&path, bytes).unwrap();
        }
        assert!(spoiled > 0, "{text} is not in the spool");
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub fn restart_with(&mut self, loaded: Arc<Loaded>) {
        self.loaded = loaded;
        self.restart();
    }

    pub fn reload(&mut self, loaded: Arc<Loaded>) {
        self.loaded = Arc::clone(&loaded);
        let tried = self.handle().try_out(&loaded).unwrap();
        ask(|done| self.handle().reload(loaded, tried, move || done(()))).unwrap();
    }

    /// Lets time pass, from when all is done that was to be done before until all is done that it has set going.
    pub fn pass(&self, time: Duration) {
        self.settle();
        self.clock.pass(time);
        self.settle();
    }

    /// The same in the middle of whatever is going on.
    pub fn pass_meanwhile(&self, time: Duration) {
        self.clock.pass(time);
        self.round();
    }

    /// Somebody sets the clock, when all is done that was to be done before.
    pub fn set_clock(&self, time: Time) {
        self.settle();
        self.clock.set(time);
        self.settle();
    }

    /// What is due at this time is ready when this returns, and what may start has been started once.
    fn round(&self) {
        // Each round of the loop reads the clock before it starts things, and again where something has come in. So of the next
        // two readings one at least is followed by a start, which is over when there is a third.
        let before = self.clock.readings();
        let is_over = || {
            self.summary();
            self.clock.readings() >= before + 3
        };
        self.wait(is_over, || "a round of the loop".to_owned());
    }

    /// Waits until nothing is on its way but what the test keeps, and nothing starts that could. What cannot start, for whatever
    /// reason, is not waited for: a round of the loop has not started it.
    pub fn settle(&self) {
        let is_settled = || {
            let Some(before) = self.done_when_still() else { return false };
            // Were there something that may start, this would start it, and it would be on its way or done at the next look.
            self.round();
            self.done_when_still() == Some(before)
        };
        let what = || format!("all to be done, but {:?}, kept {}", self.summary(), self.kept());
        self.wait(is_settled, what);
    }

    /// How much has been done so far; `None` while something is on its way that the test does not keep.
    fn done_when_still(&self) -> Option<[usize; 5]> {
        let channels = ask(|done| self.handle().channels(done)).unwrap();
        let active: u64 = self.summary().iter().map(|row| row.active).sum();
        let stage = self.actors.0.lock().unwrap();
        let is_busy = |channel: &ChannelReport| {
            let kept = stage.open_by_channel.get(&channel.name).copied().unwrap_or(0);
            let is_starting = channel.status == ChannelStatus::Starting && !stage.hold_start;
            channel.jobs as usize > kept || channel.draining > 0 || is_starting
        };
        // What is active without a job is a notice that is being made.
        let kept: u64 = stage.kept.iter().map(|kept| kept.entries).sum();
        let is_still = stage.working == 0 && active <= kept && !channels.iter().any(is_busy);
        let (started, stopped) = (stage.started.len(), stage.stopped.len());
        is_still.then(|| [stage.got.len(), stage.polls.len(), started, stopped, stage.kept.len()])
    }

    /// The same while no dispatcher runs.
    pub fn set_clock_while_stopped(&self, time: Time) {
        self.clock.set(time);
    }

    /// Lets time pass while no dispatcher runs.
    pub fn pass_while_stopped(&self, time: Duration) {
        self.clock.pass(time);
    }

    /// Sets the clock back while no dispatcher runs.
    pub fn set_back(&self, time: Duration) {
        self.clock.set(self.clock_now().minus(time));
    }

    /// What has been journalled until now is on the disk: a note that is waited for comes after it.
    pub fn sync_journal(&self) {
        let domain = "nobodys.example".to_owned();
        let (time, reason) = (None, String::new());
        for closing in [
            Closing::Suspend { domain: domain.clone(), below: false, time, reason },
            Closing::Resume { domain, below: false },
        ] {
            ask(|done| self.handle().close(closing, done)).unwrap().unwrap();
        }
    }

    /// The loop takes no event until what is returned is dropped.
    pub fn occupy(&self) -> std::sync::mpsc::Sender<()> {
        let (there, arrived) = std::sync::mpsc::channel();
        let (until, over) = std::sync::mpsc::channel::<()>();
        let wait = move |_| {
            let _ = there.send(());
            let _ = over.recv_timeout(PATIENCE);
        };
        self.handle().suspensions(wait).unwrap();
        arrived.recv_timeout(PATIENCE).unwrap();
        until
    }

    pub fn act(&self, whom: &str, act: Act) {
        self.actors.0.lock().unwrap().acts.insert(whom.to_owned(), act);
    }

    /// Sends a message to `recipients`, given as `channel!user@domain`.
    pub fn send(&self, recipients: &[&str]) -> EntryId {
        self.send_as("sender@there.example", Priority::Normal, recipients)
    }

    pub fn send_as(&self, sender: &str, priority: Priority, recipients: &[&str]) -> EntryId {
        self.submit(self.envelope(sender, priority, recipients))
    }

    pub fn envelope(&self, sender: &str, priority: Priority, recipients: &[&str]) -> Envelope {
        let recipients = recipients
            .iter()
            .map(|text| {
                let (channel, address) = text.split_once('!').unwrap();
                let domain = address.rsplit_once('@').unwrap().1;
                Recipient {
                    address: address.to_owned(),
                    original: address.to_owned(),
                    channel: channel.to_owned(),
                    domain: domain.to_owned(),
                    ..Recipient::default()
                }
            })
            .collect();
        Envelope {
            sender: sender.to_owned(),
            arrived: self.clock.now(),
            source_channel: "tcp_local".to_owned(),
            priority,
            eight_bit: false,
            smtputf8: false,
            held: false,
            hold_reason: String::new(),
            deferred_until: None,
            wishes: Wishes::default(),
            recipients,
        }
    }

    pub fn submit(&self, envelope: Envelope) -> EntryId {
        self.submit_content(envelope, b"Subject: test\r\n\r\nHello.\r\n".to_vec())
    }

    pub fn submit_content(&self, envelope: Envelope, content: Vec<u8>) -> EntryId {
        self.try_submit(envelope, content).unwrap()
    }

    pub fn try_submit(&self, envelope: Envelope, content: Vec<u8>) -> Result<EntryId, CommitError> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.handle().submit(envelope, content, move |result| sender.send(result).unwrap());
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    pub fn summary(&self) -> Vec<QueueSummary> {
        let mut rows = self.handle().summarize().unwrap();
        rows.sort_by(|a, b| (&a.channel, &a.domain).cmp(&(&b.channel, &b.domain)));
        rows
    }

    /// `channel/domain messages [held n] [active n]`, a line each.
    pub fn queue(&self) -> Vec<String> {
        let row = |row: &QueueSummary| {
            let mut line = format!("{}/{} {}", row.channel, row.domain, row.messages);
            for (name, count) in [("held", row.held), ("active", row.active)] {
                if count > 0 {
                    line.push_str(&format!(" {name} {count}"));
                }
            }
            line
        };
        self.summary().iter().map(row).collect()
    }

    pub fn list(&self) -> Vec<EntryView> {
        ask(|done| self.handle().list(None, 1000, done)).unwrap()
    }

    pub fn channel(&self, name: &str) -> ChannelReport {
        let rows = ask(|done| self.handle().channels(done)).unwrap();
        rows.into_iter().find(|row| row.name == name).unwrap()
    }

    pub fn release(&self, selector: &str) -> Released {
        self.release_by(selector, Requester::Operator)
    }

    pub fn etrn(&self, selector: &str) -> Released {
        self.release_by(selector, etrn_of(selector))
    }

    fn release_by(&self, selector: &str, requester: Requester) -> Released {
        self.order(Order::new(selector.parse().unwrap(), requester))
    }

    /// A site's order for one or more things, separated by blanks, to go some other way than configured.
    pub fn etrn_via(&self, selectors: &str, via: Via) -> Released {
        let selectors = selectors.split(' ').map(|one| one.parse().unwrap()).collect();
        let requester = etrn_of("site");
        self.order(Order { selectors, requester, via, site: Some("site".to_owned()) })
    }

    pub fn order(&self, order: Order) -> Released {
        ask(|done| self.handle().release(order, done)).unwrap()
    }

    /// Waits until the queue is as given.
    pub fn wait_queue(&self, expected: &[&str]) {
        self.wait(|| self.queue() == expected, || format!("queue {expected:?}, it is {:?}", self.queue()));
    }

    pub fn wait_got(&self, count: usize) -> Vec<Got> {
        self.wait(
            || {
                self.got().len() >= count
                    && self.summary().iter().all(|row| row.active == 0 || self.kept() > 0)
            },
            || format!("{count} deliveries, there are {:#?}; {:?}", self.got(), self.queue()),
        );
        assert_eq!(self.got().len(), count, "{:#?}", self.got());
        self.got()
    }

    pub fn wait(&self, condition: impl Fn() -> bool, what: impl Fn() -> String) {
        let until = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < until, "waited for {}", what());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Nothing is under way, and nothing will be without time or an event.
    pub fn quiet(&self) {
        self.settle();
        self.wait(
            || {
                let before = self.got().len();
                let rows = self.summary();
                let busy = rows.iter().any(|row| row.active > 0);
                let waits = |row: &QueueSummary| {
                    let channel = self.channel(&row.channel);
                    row.ready > 0
                        && matches!(channel.status.to_string().as_str(), "idle" | "starting" | "running")
                };
                !busy && !rows.iter().any(waits) && before == self.got().len()
            },
            || format!("quiet, but {:?}", self.summary()),
        );
    }

    pub fn got(&self) -> Vec<Got> {
        self.actors.0.lock().unwrap().got.clone()
    }

    /// Everything that was delivered, or tried: `channel address…`, sorted, and forgotten.
    pub fn take_got(&self) -> Vec<String> {
        self.quiet();
        let mut stage = self.actors.0.lock().unwrap();
        let mut lines: Vec<String> =
            stage.got.drain(..).map(|got| format!("{} {}", got.channel, got.to.join(" "))).collect();
        lines.sort();
        lines
    }

    pub fn kept(&self) -> usize {
        self.actors.0.lock().unwrap().kept.len()
    }

    pub fn most_leases(&self, channel: &str) -> usize {
        self.actors.0.lock().unwrap().most_leases.get(channel).copied().unwrap_or(0)
    }

    pub fn open_leases(&self) -> usize {
        self.actors.0.lock().unwrap().leases_open.len()
    }

    pub fn polls(&self) -> Vec<String> {
        self.actors.0.lock().unwrap().polls.clone()
    }

    pub fn started(&self) -> Vec<Instance> {
        self.actors.0.lock().unwrap().started.clone()
    }

    pub fn stopped(&self) -> Vec<String> {
        self.actors.0.lock().unwrap().stopped.clone()
    }

    pub fn refuse_start(&self, why: Option<&str>) {
        self.actors.0.lock().unwrap().refuse_start = why.map(str::to_owned);
    }

    pub fn refuse_start_of(&self, channel: &str, why: &str) {
        self.actors.0.lock().unwrap().refuse_start_of.insert(channel.to_owned(), why.to_owned());
    }

    pub fn let_start(&self) {
        let mut stage = self.actors.0.lock().unwrap();
        stage.refuse_start = None;
        stage.refuse_start_of.clear();
    }

    pub fn refuse_lease(&self, refuse: bool) {
        self.actors.0.lock().unwrap().refuse_lease = refuse;
    }

    /// What instances say of leases that no worker has taken up.
    pub fn untaken(&self, leases: usize) {
        self.actors.0.lock().unwrap().untaken = leases;
    }

    /// While it is so, no instance comes to life.
    pub fn hold_start(&self, hold: bool) {
        self.actors.0.lock().unwrap().hold_start = hold;
    }

    /// The instance that has a kept delivery gives it back untried and ends, because its plugin wants other settings.
    pub fn end_instance(&self) {
        let kept = {
            let mut stage = self.actors.0.lock().unwrap();
            // As an instance that is ending does.
            stage.refuse_lease = true;
            let kept = stage.kept.remove(0);
            stage.leases_open.remove(&kept.lease);
            *stage.open_by_channel.get_mut(&kept.channel).unwrap() -= 1;
            kept
        };
        let (token, lease, unsettled) = (kept.token, kept.lease, kept.recipients);
        let cause = Cause::NotCreated;
        (kept.events)(HostEvent::Finished {
            token,
            lease,
            outcomes: Vec::new(),
            unsettled,
            cause,
            lease_done: false,
        });
        (kept.events)(HostEvent::LeaseDone { lease });
        let reason = StopReason::Refused("the test says so".to_owned());
        (kept.events)(HostEvent::Stopped { channel: kept.channel.as_str().into(), reason, left_behind: 0 });
    }

    /// Makes the kept deliveries come back with no recipient at all.
    pub fn forget_kept_recipients(&self) {
        self.actors.0.lock().unwrap().kept.iter_mut().for_each(|kept| kept.recipients.clear());
    }

    /// Ends one kept delivery.
    pub fn finish_kept(&self, act: &Act) {
        let (news, events) = {
            let mut stage = self.actors.0.lock().unwrap();
            let kept = stage.kept.remove(0);
            let mut outcomes = Vec::new();
            let mut unsettled = Vec::new();
            for index in kept.recipients {
                match outcome(act) {
                    Some(outcome) => outcomes.push((index, outcome)),
                    None => unsettled.push(index),
                }
            }
            let cause = if matches!(act, Act::Die) { Cause::Hung } else { Cause::Done };
            let mut news = vec![HostEvent::Finished {
                token: kept.token,
                lease: kept.lease,
                outcomes,
                unsettled,
                cause,
                lease_done: false,
            }];
            let left = stage.leases_open.get_mut(&kept.lease).unwrap();
            left.0 -= 1;
            if left.0 == 0 {
                stage.leases_open.remove(&kept.lease);
                *stage.open_by_channel.get_mut(&kept.channel).unwrap() -= 1;
                news.push(HostEvent::LeaseDone { lease: kept.lease });
            }
            (news, kept.events)
        };
        news.into_iter().for_each(|event| events(event));
    }
}

fn files_under(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect()
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    for path in files_under(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap())?;
        std::fs::copy(&path, target)?;
    }
    Ok(())
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop();
    }
}
