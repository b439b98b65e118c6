//! Soaking: a real hub under load that is killed again and again, and a ledger outside of it.
//!
//! [`crash`] starts the program of this build on a spool of its own, lets several sessions send to channels of every kind, and
//! ends it with SIGKILL at moments that a seed decides: under load, while it starts and recovers, while it writes the checkpoint
//! of a start, while it reads its configuration again, while an operator holds mail or lets it go again. At the end everything is
//! opened, and what was acknowledged is compared with what arrived.
//!
//! # What is looked for
//! *Lost*: acknowledged, and it never came. *Invented*: it came and was never sent, was refused, or is another text. *Without
//! cause*: it came twice, and no kill shortly after the first explains that. *Moved*: it came, though it was on hold, its
//! domain suspended, or nobody had asked for it; or it is on hold, though it was released.
//!
//! # Not here
//! A machine that loses its power: the kernel keeps what a killed process has written. For that the tests of the spool
//! have `CrashStorage`.

mod chance;
mod ledger;
mod load;

use crate::process::built;
use crate::sink::{Manner, Sink};
use crate::site::Site;
use crate::wait::wait_until;
use chance::Chance;
pub use ledger::Account;
use ledger::{BACK, Ledger, REFUSED, numbered};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    /// How often the hub is killed.
    pub rounds: usize,
    /// What decides everything that chance decides; `None`: a new one, which is told.
    pub seed: Option<u64>,
}

/// The domains, each with a channel of its own.
mod lanes {
    /// Passed on at once.
    pub(super) const DIRECT: &str = "direct.example";
    /// Passed on at once, to a peer that defers, breaks off and refuses to greet.
    pub(super) const WEATHER: &str = "weather.example";
    /// Passed on at once, by a plugin in a process of its own.
    pub(super) const APART: &str = "apart.example";
    /// Waits until a session asks for it.
    pub(super) const ASKED: &str = "asked.example";
    /// Waits, and nobody asks.
    pub(super) const KEPT: &str = "kept.example";
    /// Would be passed on at once, but an operator has suspended the domain.
    pub(super) const SUSPENDED: &str = "suspended.example";
    /// Waits; some of it is put on hold, and then a session asks.
    pub(super) const HELD: &str = "held.example";
}

/// Sessions that send at the same time.
const SESSIONS: usize = 5;
/// How long the end may take: all that has piled up is delivered.
const END: Duration = Duration::from_secs(300);
/// How long a command may need that is asked of a busy hub.
const SOON: Duration = Duration::from_secs(60);

/// When the hub is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Load,
    Start,
    Greeting,
    Reload,
    Hold,
    Release,
}

impl Moment {
    fn choose(chance: &mut Chance) -> Moment {
        match chance.below(20) {
            0..=9 => Moment::Load,
            10..=12 => Moment::Start,
            13..=14 => Moment::Greeting,
            15 => Moment::Reload,
            16..=17 => Moment::Release,
            _ => Moment::Hold,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Moment::Load => "under load",
            Moment::Start => "while it started",
            Moment::Greeting => "at its first greeting",
            Moment::Reload => "while it read its configuration",
            Moment::Hold => "while mail was put on hold",
            Moment::Release => "while some of it was released",
        }
    }
}

/// The peers: one that takes everything, one in changing weather, and one that refuses every recipient.
struct Peers {
    good: Sink,
    weather: Sink,
    refusing: Sink,
}

impl Peers {
    fn start() -> Peers {
        let peers = Peers { good: Sink::start(), weather: Sink::start(), refusing: Sink::start() };
        let recipient = Some(("@".to_owned(), "550 5.1.1 no such user".to_owned()));
        peers.refusing.behave(Manner { recipient, ..Manner::default() });
        peers
    }

    /// Brings into the ledger what has come since.
    fn collect(&self, ledger: &mut Ledger) {
        ledger.arrived(self.good.take_arrived());
        ledger.arrived(self.weather.take_arrived());
        ledger.refused(&self.refusing.take_commands());
        drop((self.good.take_commands(), self.weather.take_commands()));
    }

    fn change_weather(&self, stop: &AtomicBool, mut chance: Chance) {
        while !stop.load(Ordering::SeqCst) {
            let pause = Duration::from_millis(chance.below(3) as u64);
            let manner = match chance.below(6) {
                0 => Manner { end: Some("451 4.3.0 not now".to_owned()), pause, ..Manner::default() },
                1 => Manner { drop_at_end: true, ..Manner::default() },
                2 => Manner { greeting: Some("421 4.3.2 closed".to_owned()), ..Manner::default() },
                _ => Manner { pause, ..Manner::default() },
            };
            self.weather.behave(manner);
            std::thread::sleep(chance.moment(200));
        }
        self.weather.behave(Manner::default());
    }
}

struct Run {
    site: Site,
    peers: Peers,
    ledger: Ledger,
    chance: Chance,
    next: AtomicUsize,
    /// Numbers that an operator's command has put on hold, and when it had said so.
    held: BTreeMap<usize, Instant>,
    /// Numbers that another command has released after that, and has said so.
    released: BTreeSet<usize>,
    moved: Vec<String>,
}

/// Runs it. `say` is told the seed and how every round went.
///
/// # Panics
/// When the hub does not start or a command fails that must not: that is told with the hub's log.
pub fn crash(options: &Crash, say: &mut dyn FnMut(&str)) -> Account {
    let seed = options.seed.unwrap_or_else(Chance::seed);
    say(&format!("soak: seed {seed}, {} rounds (the same again: --seed {seed})", options.rounds));
    let mut run = Run::begin(seed);
    let began = Instant::now();
    for round in 1..=options.rounds {
        let moment = Moment::choose(&mut run.chance);
        run.round(moment);
        let (acknowledged, arrived) = run.ledger.so_far();
        say(&format!(
            "round {round:3} of {}: killed {}; {acknowledged} acknowledged, {arrived} arrived, {} on hold; {:.0?}",
            options.rounds,
            moment.words(),
            run.held.len(),
            began.elapsed()
        ));
    }
    say("the last start: everything is opened");
    run.end()
}

impl Run {
    fn begin(seed: u64) -> Run {
        let peers = Peers::start();
        let mut site = Site::new("soak");
        site.write("sluice.cnf", &configuration(&peers));
        // The smallest segments, so that many are begun and removed.
        site.write("option.dat", "SPOOL_DIR=../spool\nSEGMENT_SIZE=1M\n");
        site.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=100\n");
        site.start();
        let suspended = site.command(&["suspend", lanes::SUSPENDED]);
        assert_eq!(suspended.code, 0, "{}", suspended.err);
        site.kill();
        Run {
            site,
            peers,
            ledger: Ledger::default(),
            chance: Chance::of(seed),
            next: AtomicUsize::new(1),
            held: BTreeMap::new(),
            released: BTreeSet::new(),
            moved: Vec::new(),
        }
    }

    /// One life of the hub.
    fn round(&mut self, moment: Moment) {
        self.ledger.begins();
        if moment == Moment::Start {
            self.site.spawn();
            std::thread::sleep(self.chance.moment(250));
            self.kill();
            return;
        }
        self.site.start();
        if moment == Moment::Greeting {
            std::thread::sleep(self.chance.moment(60));
            self.kill();
            return;
        }
        let stop = AtomicBool::new(false);
        let server = self.site.address();
        let mut letters = Vec::new();
        std::thread::scope(|scope| {
            let mut sessions = Vec::new();
            for _ in 0..SESSIONS {
                let chance = self.chance.branch();
                sessions.push(scope.spawn(|| load::send(server, &self.next, &stop, chance)));
            }
            let chance = self.chance.branch();
            scope.spawn(|| load::ask(server, &stop, chance));
            let mut released = self.chance.branch();
            let chance = self.chance.branch();
            scope.spawn(|| self.peers.change_weather(&stop, chance));
            std::thread::sleep(Duration::from_millis(50) + self.chance.moment(850));
            match moment {
                Moment::Reload => {
                    self.site.hang_up();
                    std::thread::sleep(self.chance.moment(60));
                }
                Moment::Hold => {
                    put_on_hold(&self.site, &mut self.held);
                    // What was released before may be among it, or among what the next command reaches.
                    self.released.clear();
                    // This one is cut off in the middle, and promises nothing.
                    let mut command = Command::new(built("sluice"));
                    let place = self.site.configuration();
                    command.args(["queue", "hold", "--domain", lanes::HELD, "--yes", "--config"]).arg(place);
                    scope.spawn(move || command.stdin(Stdio::null()).output());
                    std::thread::sleep(self.chance.moment(60));
                }
                Moment::Release => {
                    let most = 1 + released.below(3);
                    let_go(&self.site, most, &mut self.held, &mut self.released);
                    std::thread::sleep(self.chance.moment(60));
                }
                _ => {}
            }
            self.site.kill();
            self.ledger.killed();
            stop.store(true, Ordering::SeqCst);
            for session in sessions {
                letters.extend(session.join().expect("a session does not panic"));
            }
        });
        self.ledger.sent(letters);
        self.look();
    }

    fn kill(&mut self) {
        self.site.kill();
        self.ledger.killed();
        self.look();
    }

    /// Takes in what has arrived, and sees that what must stay has stayed.
    fn look(&mut self) {
        self.peers.collect(&mut self.ledger);
        let came = self.ledger.came_after(lanes::HELD, &self.held);
        self.moved.extend(came.iter().map(|number| format!("number {number} is on hold and came")));
        for (domain, why) in
            [(lanes::KEPT, "nobody asked for it"), (lanes::SUSPENDED, "its domain is suspended")]
        {
            let came = self.ledger.came_for(domain);
            self.moved.extend(came.iter().map(|number| format!("number {number} came, and {why}")));
        }
        // Each is said once, also where it is seen again at every look.
        self.moved.sort_unstable();
        self.moved.dedup();
    }

    /// Opens everything, waits until nothing is left, and draws the line.
    fn end(mut self) -> Account {
        self.peers.weather.behave(Manner::default());
        self.ledger.begins();
        self.site.start();
        let waits = numbers_that_wait(&self.site, lanes::HELD, &["--state", "held"]);
        self.look();
        let gone = self.held.keys().filter(|number| !waits.contains(number));
        self.moved.extend(gone.map(|number| format!("number {number} was on hold and is no more")));
        let kept = self.released.intersection(&waits);
        self.moved.extend(kept.map(|number| format!("number {number} was released and is on hold")));
        for domain in [lanes::KEPT, lanes::SUSPENDED] {
            let waits = numbers_that_wait(&self.site, domain, &[]);
            let gone = self.ledger.acknowledged_for(domain);
            self.moved.extend(
                gone.difference(&waits).map(|number| format!("number {number} does not wait for {domain}")),
            );
        }
        let suspended = self.site.json(&["suspend", "--list"]);
        if !suspended.iter().any(|row| row["domain"] == lanes::SUSPENDED) {
            self.moved.push(format!("{} is suspended no more", lanes::SUSPENDED));
        }
        let resumed = self.site.command(&["resume", lanes::SUSPENDED]);
        assert!(suspended.is_empty() || resumed.code == 0, "{}", resumed.err);
        let released = self.site.command(&["queue", "release", "--all", "--yes"]);
        assert_eq!(released.code, 0, "{}", released.err);
        let mut asked = Instant::now();
        let done = wait_until(END, || {
            // What a crash has put off, or the weather, waits for its next time.
            if asked.elapsed() > Duration::from_secs(2) {
                asked = Instant::now();
                let _ = self.site.command(&["queue", "retry", "--all", "--yes"]);
            }
            std::thread::sleep(Duration::from_millis(100));
            self.peers.collect(&mut self.ledger);
            (self.site.waiting(None) == 0).then_some(())
        });
        // The hub writes down what was delivered when the sink has it already; the other way about nothing is left.
        self.peers.collect(&mut self.ledger);
        if done.is_none() || !self.ledger.is_complete() {
            eprintln!("{}", self.site.report());
        }
        self.site.stop();
        self.ledger.account(self.moved)
    }
}

/// Puts the mail of a domain on hold, and notes which numbers are so when the command has answered.
fn put_on_hold(site: &Site, held: &mut BTreeMap<usize, Instant>) {
    let done = wait_until(SOON, || {
        let ran = site.command(&["queue", "hold", "--domain", lanes::HELD, "--yes"]);
        // Status 65: there was none.
        [0, 65].contains(&ran.code).then_some(())
    });
    assert!(done.is_some(), "mail cannot be put on hold\n{}", site.report());
    let now = Instant::now();
    for number in numbers_that_wait(site, lanes::HELD, &["--state", "held"]) {
        held.entry(number).or_insert(now);
    }
}

/// Releases some of what is on hold. What the command has said is so from then on: it may come, and is on hold no more.
fn let_go(site: &Site, most: usize, held: &mut BTreeMap<usize, Instant>, released: &mut BTreeSet<usize>) {
    let rows =
        site.json(&["queue", "list", "--domain", lanes::HELD, "--state", "held", "--limit", "1000000"]);
    let known = rows.iter().filter_map(|row| {
        let number = row["sender"].as_str().and_then(numbered).map(|(number, _)| number)?;
        Some((number, row["id"].as_str()?.to_owned()))
    });
    let chosen: Vec<(usize, String)> =
        known.filter(|(number, _)| held.contains_key(number)).take(most).collect();
    for (number, id) in chosen {
        // From the moment on at which it is asked for nobody knows any more, until the answer has come.
        held.remove(&number);
        if site.command(&["queue", "release", &id]).code == 0 {
            released.insert(number);
        }
    }
}

/// The numbers of what waits for a domain.
fn numbers_that_wait(site: &Site, domain: &str, more: &[&str]) -> BTreeSet<usize> {
    let list = ["queue", "list", "--domain", domain, "--limit", "1000000"];
    let rows = site.json(&[&list[..], more].concat());
    let number =
        |row: &serde_json::Value| row["sender"].as_str().and_then(numbered).map(|(number, _)| number);
    rows.iter().filter_map(number).collect()
}

fn configuration(peers: &Peers) -> String {
    let (good, weather, refusing) = (peers.good.port(), peers.weather.port(), peers.refusing.port());
    let channels = [
        (lanes::DIRECT, good, ""),
        (lanes::WEATHER, weather, "backoff PT1S"),
        (lanes::APART, good, "isolated"),
        (lanes::ASKED, good, "periodic"),
        (lanes::KEPT, good, "periodic"),
        (lanes::SUSPENDED, good, ""),
        (lanes::HELD, good, "periodic"),
        (REFUSED, refusing, "nosendpost"),
        (BACK, good, ""),
    ];
    let name = |domain: &str| domain.split('.').next().unwrap_or_default().to_owned();
    let mut text = "hub.example $U@hub.example\n".to_owned();
    for (domain, ..) in channels {
        text.push_str(&format!("{domain} $U%$D@TCP-{}\n", name(domain).to_uppercase()));
    }
    text.push_str("\nl\nhub.example\n\ntcp_local smtp nomx allowetrn\nTCP-DAEMON\n");
    for (domain, port, keywords) in channels {
        let name = name(domain);
        text.push_str(&format!(
            "\ntcp_{name} smtp nomx daemon [127.0.0.1] port {port} {keywords}\nTCP-{}\n",
            name.to_uppercase()
        ));
    }
    text
}
