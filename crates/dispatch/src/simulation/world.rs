//! The world around the hub, and what happens in it: a step is chosen by chance, done, and what must be true is looked at.

mod checks;
mod clients;
mod dying;
mod finale;
mod lives;
mod operators;
mod peering;
mod performing;
mod renewals;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_mail::{Envelope, Time};
use sluice_queue::Selector;
use sluice_spool::testing::{CrashStorage, Operation};
use sluice_spool::{EntryId, Health};
use tempfile::TempDir;

use super::chance::Chance;
use super::door::Wall;
use super::filters::Questions;
use super::hub::Hub;
use super::ledger::{Back, Ledger, by_itself};
use super::planted::Plant;
use super::scenery;
use crate::acts::{Act, Portion};
use crate::closed::Closing;
use crate::handle::CommitError;
use crate::order::ReleaseId;
use crate::run::Loop;
use checks::{check_core, check_jobs};
use clients::Session;
use dying::Company;
use operators::{Shut, is_meant};
use peering::Peers;
use renewals::Renewal;

/// Lines of the trace that are shown with a failure.
const TRACE_SHOWN: usize = 1200;
/// The window in which a crash delivers twice, where the disk works (`sluice_spool::Options::lazy_delay`).
const LAZY: Duration = Duration::from_millis(50);
/// In one of so many worlds processes die with several deliveries in hand, again and again.
const BUSY_WORLDS: usize = 8;
/// The time of the wall when a world begins.
const BEGUN: Time = Time(1_790_000_000_000);

/// Something that somebody waited for.
pub(super) enum Answer {
    /// A session has handed on a message whole, and waits for what becomes of it.
    Begun {
        session: u64,
        id: EntryId,
        envelope: Envelope,
        content: Vec<u8>,
    },
    Commit {
        session: u64,
        id: EntryId,
        result: Result<EntryId, CommitError>,
    },
    Act {
        number: usize,
        act: Act,
        id: EntryId,
        portion: Portion,
    },
    /// By its place among the snapshots.
    Closing {
        snapshot: usize,
        is_durable: bool,
    },
}

pub(super) type Answers = Arc<Mutex<Vec<Answer>>>;

#[derive(Debug, Clone, Copy)]
enum Step {
    Client,
    Verdict,
    Spool,
    Round,
    Desk,
    Work,
    Plugin,
    Peer,
    Order,
    Act,
    Closing,
    Reload,
    Renew,
    Time,
    Clock,
    Fault,
    Mend,
    CrashSoon,
    Crash,
    Restart,
}

pub(super) struct World {
    chance: Chance,
    /// By the wall clock, which somebody may set; and since the beginning, by one that nobody sets.
    now: Time,
    steady: Duration,
    wall: Wall,
    begun: Instant,
    folder: TempDir,
    storage: CrashStorage,
    hub: Option<Hub>,
    variant: usize,
    ledger: Ledger,
    sessions: Vec<Session>,
    peers: Peers,
    answers: Answers,
    /// What filters were asked, and have not answered.
    questions: Questions,
    /// What plugins have said since the dispatcher last took something in.
    said: Vec<Back>,
    /// What was asked for since then.
    asked: Vec<Selector>,
    /// What this life was asked for.
    covered: Vec<Selector>,
    acts: Vec<(Act, EntryId, Vec<u32>)>,
    closings: Vec<Closing>,
    has_reloaded: bool,
    /// Of processes that die, in this world.
    company: Company,
    renewal: Option<Renewal>,
    journal_syncs: u64,
    moved: u64,
    /// What is closed, as it was noted each time; the last one whose note was answered for; and what is in force.
    snapshots: Vec<Shut>,
    answered: usize,
    shut: Shut,
    numbers: u64,
    is_faulty: bool,
    is_good: bool,
    releases: Vec<ReleaseId>,
    /// The last release that was looked at, and the last one by a schedule.
    last_release: ReleaseId,
    planned: u64,
    /// Deliveries of each channel since less urgent mail had a turn before what is more urgent.
    in_order: BTreeMap<Arc<str>, u32>,
    trace: VecDeque<String>,
    hash: u64,
    tell: bool,
    plant: Option<Plant>,
}

/// The hub between two steps.
fn alive(hub: &Option<Hub>) -> &Hub {
    hub.as_ref().expect("a hub lives between the steps")
}

fn new_folder() -> TempDir {
    // Memory rather than disk, where there is such a folder: nothing here is about real disks.
    let shared = std::path::Path::new("/dev/shm");
    let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    folder.expect("a folder for a simulated disk")
}

impl World {
    /// `tell` shows each step as it is done; with a fault planted, it must be found.
    pub(super) fn new(seed: u64, tell: bool, plant: Option<Plant>) -> Self {
        let now = BEGUN;
        let folder = new_folder();
        let storage = CrashStorage::new(folder.path()).expect("an empty disk");
        let mut chance = Chance::new(seed);
        let variant = chance.below(scenery::variants());
        let mut world = Self {
            chance,
            now,
            steady: Duration::ZERO,
            wall: Arc::new(AtomicU64::new(now.0)),
            begun: Instant::now(),
            folder,
            storage,
            hub: None,
            variant,
            ledger: Ledger::default(),
            sessions: Vec::new(),
            peers: Peers::new(plant),
            answers: Answers::default(),
            questions: Questions::default(),
            said: Vec::new(),
            asked: Vec::new(),
            covered: Vec::new(),
            acts: Vec::new(),
            closings: Vec::new(),
            has_reloaded: false,
            company: Company::Seldom,
            renewal: None,
            journal_syncs: 0,
            moved: 0,
            snapshots: vec![Shut::default()],
            answered: 0,
            shut: Shut::default(),
            numbers: 0,
            is_faulty: false,
            is_good: false,
            releases: Vec::new(),
            last_release: ReleaseId(0),
            planned: 0,
            in_order: BTreeMap::new(),
            trace: VecDeque::new(),
            hash: 0xCBF2_9CE4_8422_2325,
            tell,
            plant,
        };
        world.start();
        world
    }

    pub(super) fn trace(self) -> (u64, VecDeque<String>) {
        (self.hash, self.trace)
    }

    pub(super) fn end_of_trace(&self) -> String {
        self.trace.iter().map(|line| format!("  {line}\n")).collect()
    }

    #[allow(clippy::print_stderr)] // Somebody who runs one seed again wants to read it.
    fn note(&mut self, line: impl AsRef<str>) {
        // The disk has another name each time.
        let line = line.as_ref().replace(&*self.folder.path().to_string_lossy(), "");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        let line = format!("{} {line}", self.steady.as_millis());
        if self.tell {
            eprintln!("{line}");
        }
        self.trace.push_back(line);
        if self.trace.len() > TRACE_SHOWN {
            self.trace.pop_front();
        }
    }

    const fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn instant(&self) -> Instant {
        self.begun + self.steady
    }

    fn hub(&mut self) -> &mut Hub {
        self.hub.as_mut().expect("a hub lives between the steps")
    }

    pub(super) fn run(&mut self) {
        let steps = 100 + self.chance.below(250);
        // What is rare differs from seed to seed, so that some are quiet and some are not.
        let rare = |chance: &mut Chance, most: usize| chance.below(most + 1);
        let weights = [
            (26, Step::Client),
            (8, Step::Verdict),
            (18, Step::Spool),
            (30, Step::Round),
            (18, Step::Desk),
            (6, Step::Work),
            (34, Step::Plugin),
            (16, Step::Peer),
            (rare(&mut self.chance, 6), Step::Order),
            (rare(&mut self.chance, 8), Step::Act),
            (rare(&mut self.chance, 4), Step::Closing),
            (rare(&mut self.chance, 2), Step::Reload),
            (rare(&mut self.chance, 3), Step::Renew),
            (12, Step::Time),
            (rare(&mut self.chance, 1), Step::Clock),
            (rare(&mut self.chance, 2), Step::Fault),
            (3, Step::Mend),
            (rare(&mut self.chance, 1), Step::CrashSoon),
            (rare(&mut self.chance, 1), Step::Crash),
            (rare(&mut self.chance, 1), Step::Restart),
        ];
        if self.chance.once_in(BUSY_WORLDS) {
            self.company = Company::Mostly;
        }
        for _ in 0..steps {
            match self.chance.weighed(&weights) {
                Step::Client => self.client(),
                Step::Verdict => {
                    self.verdict();
                }
                Step::Spool => self.spool(),
                Step::Round => {
                    self.round();
                }
                Step::Desk => {
                    self.desk();
                }
                Step::Work => self.work(),
                Step::Plugin => {
                    self.perform();
                }
                Step::Peer => self.peer(),
                Step::Order => self.order(),
                Step::Act => self.act(),
                Step::Closing => self.closing(),
                Step::Reload => self.reload(),
                Step::Renew => self.renew(),
                Step::Time => self.time(),
                Step::Clock => self.set_clock(),
                Step::Fault => self.fault(),
                Step::Mend => self.mend(),
                Step::CrashSoon => self.storage.stop_after(self.chance.below(40) as u64),
                Step::Crash => self.crash(),
                Step::Restart => self.restart(),
            }
            if self.storage.stopped() {
                self.crash();
            }
        }
        self.finale();
    }

    fn spool(&mut self) {
        let instant = self.instant();
        let hub = self.hub.as_mut().expect("a hub lives between the steps");
        let was_healthy = hub.core.spool.health() == Health::Ok;
        hub.steps.turn(instant);
        let is_healthy = was_healthy && hub.core.spool.health() == Health::Ok;
        let stats = hub.core.spool.stats();
        let waiting = stats.transitions_waiting;
        let has_moved = std::mem::replace(&mut self.moved, stats.forwarded) < stats.forwarded;
        // A checkpoint's cut has brought to the disk what waited before it.
        if std::mem::replace(&mut self.journal_syncs, stats.journal_syncs) != stats.journal_syncs {
            self.ledger.volatile_since = None;
        }
        if waiting == 0 && !self.storage.stopped() {
            self.ledger.all_is_durable();
        } else if self.ledger.is_volatile && !self.storage.stopped() {
            // The writer is woken by each request, so the time counts from its first turn.
            let age = self.steady - *self.ledger.volatile_since.get_or_insert(self.steady);
            let is_well = is_healthy && !self.is_faulty;
            assert!(
                !is_well || age < LAZY,
                "{waiting} settlements wait for the disk, the oldest for {age:?}"
            );
        }
        if has_moved {
            self.note("moved what was left of a segment");
        }
        self.take_answers();
    }

    fn take_answers(&mut self) {
        let answers = std::mem::take(&mut *self.answers.lock().expect("no panic within"));
        for answer in answers {
            match answer {
                Answer::Begun { session, id, envelope, content } => {
                    self.begun(session, id, envelope, content);
                }
                Answer::Commit { session, id, result } => match result {
                    Ok(_) => self.is_safe(session, id),
                    Err(error) => self.note(format!("client {session}: {}", crate::desk::chain(&error))),
                },
                Answer::Act { number, act, id, portion } => self.acted(number, act, id, &portion),
                Answer::Closing { snapshot, is_durable } => {
                    if is_durable {
                        self.answered = self.answered.max(snapshot);
                    }
                }
            }
        }
    }

    /// A round of the loop, and what must be true after it.
    fn round(&mut self) -> Loop {
        let now = self.now;
        let under_way = self.under_way();
        let hub = self.hub.as_mut().expect("a hub lives between the steps");
        let services = hub.core.moments.services;
        let taken = hub.take_in((now, self.steady));
        for back in std::mem::take(&mut self.said) {
            self.ledger.settled(&back, &hub.core, now);
        }
        for (act, id, indexes) in std::mem::take(&mut self.acts) {
            for index in indexes {
                let recipient = self.ledger.recipient(id, index);
                match act {
                    Act::Retry => recipient.not_before = Time(0),
                    // As new mail.
                    Act::Release => {
                        recipient.date = Time(0);
                        let itself = by_itself(&hub.core, (&recipient.channel, &recipient.domain), now);
                        recipient.not_before = recipient.not_before.min(itself);
                    }
                    _ => {}
                }
            }
        }
        for closing in std::mem::take(&mut self.closings) {
            self.shut.apply(&closing, now);
        }
        self.shut = self.shut.clone().at(now);
        if taken > 0 {
            self.note(format!("take in {taken}"));
        }
        if self.ledger.has_set_aside() {
            self.note("the third process has died of it");
        }
        self.take_answers();
        let hub = self.hub.as_mut().expect("a hub lives between the steps");
        let tokens = hub.core.next_number;
        let end = hub.go_on((now, self.steady));
        let served = hub.core.moments.services > services;
        let mut has_planned = false;
        if hub.core.last_release != self.last_release {
            self.last_release = hub.core.last_release;
            let records = hub.core.list_releases(None, usize::MAX);
            let planned = records.iter().filter(|one| one.by == "schedule" && one.id.0 > self.planned);
            if let Some(last) = planned.map(|one| one.id.0).max() {
                self.planned = last;
                self.asked.push(Selector::Subnet(scenery::PLANNED_DOMAIN.to_owned()));
                has_planned = true;
            }
        }
        if has_planned {
            self.note("a site is released by its schedule");
        }
        let hub = alive(&self.hub);
        for selector in std::mem::take(&mut self.asked) {
            self.ledger.excuse(|id, recipient| is_meant(&selector, id, recipient));
            self.covered.push(selector);
        }
        if served {
            let core = &hub.core;
            self.ledger.excuse(|_, recipient| {
                let policy = core.queues.known_channel(&recipient.channel).and_then(|key| core.policy(key));
                let site = core.loaded.config.sites.owner(&recipient.channel, &recipient.domain);
                let windows = site.and_then(|site| site.windows.as_ref());
                let windows = windows.or(policy.and_then(|policy| policy.windows.as_ref()));
                windows.is_none_or(|windows| windows.is_open(now))
            });
        }
        if std::mem::take(&mut self.has_reloaded) {
            // A channel may have become one that tries by itself.
            let core = &alive(&self.hub).core;
            self.ledger.reloaded(core, now);
        }
        self.excuse_newcomers(&under_way);
        self.check_leases(tokens);
        let hub = alive(&self.hub);
        self.ledger.check(hub, now);
        check_core(&hub.core, now);
        check_jobs(hub);
        end
    }

    fn desk(&mut self) -> bool {
        if !self.hub().read() {
            return false;
        }
        let offered = std::mem::take(&mut self.hub().plugins.stage().offered);
        for (channel, delivery) in offered {
            let to: Vec<&str> = delivery.recipients.iter().map(|one| one.address.as_str()).collect();
            self.note(format!("offer {} on {channel} to {}", delivery.id, to.join(" ")));
            self.ledger.offered(&channel, &delivery);
        }
        true
    }

    fn work(&mut self) {
        let count = self.hub().pile_len();
        if count > 0 {
            let which = self.chance.below(count);
            let name = self.hub().work(which);
            self.note(name);
        }
    }

    fn time(&mut self) {
        let (from, to) = self.chance.weighed(&[
            (40, (1, 60)),
            (25, (200, 5_000)),
            (20, (10_000, 400_000)),
            (10, (600_000, 3_600_000)),
            (3, (3_600_000, 14_400_000)),
        ]);
        let millis = (from + self.chance.below(to - from)) as u64;
        self.pass(Duration::from_millis(millis));
    }

    /// Time passes, by both clocks.
    fn pass(&mut self, time: Duration) {
        self.steady += time;
        self.now = self.now.plus(time);
        self.wall.store(self.now.0, Ordering::Relaxed);
    }

    /// Somebody sets the clock of the wall.
    fn set_clock(&mut self) {
        let by = Duration::from_secs(*self.chance.pick(&[30, 300, 7_200, 100_000]));
        let before = self.now;
        let is_back = self.chance.once_in(2);
        self.set_clock_to(if is_back { before.minus(by) } else { before.plus(by) });
    }

    /// Somebody sets it right again, unless it is ahead: what waits for a date would wait for days.
    fn set_clock_right(&mut self) {
        let right = BEGUN.plus(self.steady);
        if self.now < right {
            self.set_clock_to(right);
        }
    }

    fn set_clock_to(&mut self, to: Time) {
        // Nobody has been told of what was said until now at another time than that.
        self.round();
        let before = std::mem::replace(&mut self.now, to);
        let is_back = to < before;
        let by = to.since(before) + before.since(to);
        self.wall.store(self.now.0, Ordering::Relaxed);
        self.note(format!("the clock is set {} by {by:?}", if is_back { "back" } else { "forward" }));
        if is_back {
            // What has ended by itself may have been noted as ended, and by the new time it has not.
            let ended: Vec<Shut> =
                self.snapshots[self.answered..].iter().map(|one| one.clone().at(before)).collect();
            self.snapshots.extend(ended);
            self.snapshots.push(self.shut.clone());
        }
        let core = &alive(&self.hub).core;
        self.ledger.clock_set(core, before, self.now);
        self.round();
    }

    fn fault(&mut self) {
        let operation = *self.chance.pick(&[
            Operation::Write,
            Operation::Sync,
            Operation::Create,
            Operation::SyncDir,
            Operation::Rename,
            Operation::Remove,
        ]);
        let error =
            *self.chance.pick(&[std::io::ErrorKind::StorageFull, std::io::ErrorKind::PermissionDenied]);
        let times = *self.chance.pick(&[1, 2, 5, u64::MAX]);
        let skip = self.chance.below(4) as u64;
        self.note(format!("fault {operation:?} {error:?} after {skip}, {times} times"));
        self.storage.fail(operation, skip, times, error);
        self.is_faulty = true;
    }

    fn mend(&mut self) {
        if std::mem::take(&mut self.is_faulty) {
            self.note("mend");
            self.storage.mend();
        }
    }
}
