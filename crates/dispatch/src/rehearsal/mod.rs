//! Callers and the loop under shuttle: a reload, questions, messages and a stop, in every order of their steps that chance comes upon.
//!
//! The loop is the program's own, as are the callers; the spool is the real one, whose writer takes its turns on threads of the story. The
//! clock stands still, and nobody is saved by a timeout. What is promised to callers is held against what they get. Some stories are told a
//! second time with a loop or a caller that does two steps in the wrong order, which must be found.
//!
//! # Not here
//! Instances of channels and what becomes of mail: the simulation has them. The bell on which the loop sleeps: `handoff` rehearses it.

pub(crate) mod doubles;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use shuttle::sync::Mutex;
use shuttle::thread;
use sluice_config::{MemoryFiles, Place};
use sluice_mail::{Envelope, Recipient, Time};
use sluice_queue::EntryView;
use sluice_rewrite::Rewriter;
use sluice_spool::testing::{CrashStorage, Steps};
use sluice_spool::{EntryId, Options, Storage};

use crate::aside::{Aside, Work};
use crate::clock::Clock;
use crate::core::Core;
use crate::event::{ChannelReport, Event, Loaded};
use crate::handle::{Busy, CommitError, Handle, ask};
use crate::order::ReleaseId;
use crate::policy::Policy;
use crate::renew::TriedOut;
use crate::run::{self, Assembled, Loop, Parts, WaysIn};
use crate::runner::{Instance, PluginInfo, Runner, Runners};
use doubles::{Rehearsal, step};

/// Orders of steps that are tried of each story, in each of two ways.
const RUNS: usize = 400;
/// The same of a story with a fault in it, which ends where the fault is found: chance finds the rarest of them once in some hundred
/// orders, and may not come upon it in `RUNS` of them.
const RUNS_WITH_A_FAULT: usize = 20 * RUNS;
/// More steps than any order of a story takes: somebody waits for ever.
const STEPS_MAX: usize = 100_000;
/// Mail of the stories goes here, and waits for somebody to ask.
const CHANNEL: &str = "tcp_local";

fn every_order(runs: usize, story: impl Fn() + Send + Sync + 'static) {
    let _goes_on = Rehearsal::begin();
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS_MAX);
    let story = Arc::new(story);
    let again = Arc::clone(&story);
    let by_chance = shuttle::scheduler::RandomScheduler::new(runs);
    shuttle::Runner::new(by_chance, config.clone()).run(move || again());
    // Somebody gets far while all others stand still.
    let by_rank = shuttle::scheduler::PctScheduler::new(3, runs);
    shuttle::Runner::new(by_rank, config).run(move || story());
}

/// One of the configurations: a channel has as many jobs as its number says, and another is named by the number.
fn loaded(number: usize) -> Arc<Loaded> {
    static ALL: OnceLock<Vec<Arc<Loaded>>> = OnceLock::new();
    let read = |number: usize| {
        let text = format!(
            "there.example $U%$D@TCP-DAEMON\n\nl\nhub.example\n\n{CHANNEL} smtp periodic maxjobs {number}\nTCP-DAEMON\n\n\
             tcp_{number} smtp periodic\nTCP-{number}\n\n"
        );
        let files = MemoryFiles::new().with("/house/sluice.cnf", text);
        let (config, _, diagnostics) = sluice_config::read(&files, &Place::Folder(PathBuf::from("/house")));
        let config = Arc::new(config.unwrap_or_else(|| panic!("{diagnostics:#?}")));
        let (rewriter, _) = Rewriter::compile(Arc::clone(&config));
        Arc::new(Loaded { config, rewriter: Arc::new(rewriter) })
    };
    Arc::clone(&ALL.get_or_init(|| (1..=3).map(read).collect())[number - 1])
}

/// The number of the configuration in force, as callers see it.
fn number(handle: &Handle) -> usize {
    let in_force = handle.loaded();
    (1..=3).find(|number| Arc::ptr_eq(&in_force, &loaded(*number))).expect("it is one of ours")
}

/// The number of the configuration that the loop goes by, from what it says of its channels: names come from the configuration, jobs from
/// the policies.
fn number_told(reports: &[ChannelReport]) -> usize {
    let jobs = |report: &ChannelReport| usize::try_from(report.max_jobs).expect("they are few");
    let of_policies = reports.iter().find(|report| report.name == CHANNEL).map(jobs);
    let named = |number: &usize| reports.iter().any(|report| report.name == format!("tcp_{number}"));
    let of_names: Vec<usize> = (1..=3).filter(named).collect();
    assert_eq!(
        of_names,
        Vec::from_iter(of_policies),
        "the policies are those of the configuration: {reports:#?}"
    );
    of_names[0]
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        Time(1_800_000_000_000)
    }
}

struct Nobody;

impl Runners for Nobody {
    fn start(&self, _: &Instance, _: sluice_host::Events) -> Result<Arc<dyn Runner>, String> {
        Err("nobody is there".to_owned())
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        Vec::new()
    }
}

impl Aside for Nobody {
    fn begin(&self, _: String, work: Work) -> std::io::Result<()> {
        work();
        Ok(())
    }
}

/// The spool's writer, whose turns are taken by whoever wants one.
struct Spools {
    steps: Steps,
    /// Had during a turn, and by whoever waits for the writer to the end of one.
    turns: Mutex<()>,
}

impl Spools {
    fn turn(&self) {
        let _turn = self.turns.lock();
        self.steps.turn(Instant::now());
    }

    /// The writer takes nothing more.
    fn is_closed(&self) -> bool {
        let _turn = self.turns.lock();
        self.steps.due().is_none()
    }
}

/// A hub that runs, and its loop.
struct House {
    handle: Handle,
    spool: Arc<Spools>,
    storage: CrashStorage,
    ends: thread::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// How the loop's thread spends its life; the last is called when it has ended.
type Life = fn(Core, WaysIn, &Spools, &mut dyn FnMut());

/// As the program does it.
fn lives(mut core: Core, ways_in: WaysIn, spool: &Spools, ended: &mut dyn FnMut()) {
    run::run(&mut core, &ways_in, &Still);
    let turn = spool.turns.lock();
    core.end(Still.now());
    drop(turn);
    ended();
    drop(ways_in);
}

/// The program's loop with another way of taking things in.
fn lives_with(mut core: Core, ways_in: &WaysIn, spool: &Spools, take_in: fn(&mut Core, &WaysIn)) {
    while core.go_on(Still.now()) == Loop::GoesOn {
        ways_in.bell.wait(Duration::from_secs(1), || ways_in.arrivals.is_empty() && ways_in.inbox.is_empty());
        take_in(&mut core, ways_in);
    }
    let _turn = spool.turns.lock();
    core.end(Still.now());
}

impl House {
    fn new(life: Life) -> Self {
        let shared = std::path::Path::new("/dev/shm");
        let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        let folder = folder.expect("there is room");
        let storage = CrashStorage::new(folder.path().join("spool")).expect("it can be made");
        let options = Options { segment_size: 16 << 10, journal_size: 8 << 10, ..Options::default() };
        let disk: Arc<dyn Storage> = Arc::new(storage.clone());
        let (spool, steps, _) = Steps::open(disk, options, Instant::now()).expect("it is new");
        let parts = Parts {
            loaded: loaded(1),
            spool,
            entries: Vec::new(),
            notes: Vec::new(),
            runners: Arc::new(Nobody),
            clock: Arc::new(Still),
        };
        let Assembled { mut core, ways_in, ended, handle, .. } = Assembled::of(parts, Arc::new(Nobody));
        // The checkpoint that follows each start waits for the writer: it is made, and is the last, before anybody has a turn in hand.
        core.go_on(Still.now());
        core.take_in(&ways_in, Still.now());
        core.checkpoint.is_the_last();
        let spool = Arc::new(Spools { steps, turns: Mutex::new(()) });
        let writer = Arc::clone(&spool);
        let ends = thread::spawn(move || {
            let mut ended = Some(ended);
            life(core, ways_in, &writer, &mut || drop(ended.take()));
        });
        Self { handle, spool, storage, ends, _folder: folder }
    }

    /// The end of a story in which nobody stops the hub.
    fn ends(self) {
        self.handle.stop(Duration::from_secs(3600));
        self.ends.join().expect("the loop does not panic");
    }
}

/// One who brings a message, and waits for the word about it.
fn bring(handle: &Handle, spool: &Arc<Spools>) -> Result<EntryId, CommitError> {
    let recipient = Recipient {
        address: "a@there.example".to_owned(),
        channel: CHANNEL.to_owned(),
        domain: "there.example".to_owned(),
        ..Recipient::default()
    };
    let envelope = Envelope { arrived: Still.now(), recipients: vec![recipient], ..Envelope::default() };
    let (told, word) = shuttle::sync::mpsc::channel();
    handle.submit(envelope, b"Subject: it\r\n\r\n".to_vec(), move |result| {
        // Nobody waits with the end of a story in hand.
        let _ = told.send(result);
        step();
    });
    let spool = Arc::clone(spool);
    drop(thread::spawn(move || spool.turn()));
    word.recv().expect("each commit has its word")
}

fn waits(handle: &Handle) -> Result<Vec<EntryView>, Busy> {
    ask(|done| handle.list(None, 100, done))
}

/// Somebody reloads twice while others ask and bring mail. `reload` is how it is asked for.
fn reload_amid(runs: usize, life: Life, reload: fn(&Handle, usize)) {
    every_order(runs, move || {
        let house = House::new(life);
        let (one, other) = (house.handle.clone(), house.handle.clone());
        let spool = Arc::clone(&house.spool);
        let reloads = thread::spawn(move || {
            for number in [2, 3] {
                reload(&one, number);
            }
        });
        let brings = thread::spawn(move || bring_and_look(&other, &spool));
        for _ in 0..2 {
            let before = number(&house.handle);
            let told = ask(|done| house.handle.channels(done)).expect("it is not busy");
            let (told, after) = (number_told(&told), number(&house.handle));
            assert!(before <= told && told <= after, "{before} in force, {told} told, {after} in force");
        }
        reloads.join().expect("a reload does not panic");
        brings.join().expect("one who brings mail does not panic");
        assert_eq!(waits(&house.handle).map(|waiting| waiting.len()), Ok(1));
        let permits = house.handle.shared.permits.load(Ordering::Acquire);
        assert_eq!(permits, crate::handle::PERMITS, "all permits are back");
        house.ends();
    });
}

/// As the program does it.
fn reload(handle: &Handle, to: usize) {
    ask(|done| handle.reload(loaded(to), TriedOut::default(), move || done(()))).expect("it is not busy");
    assert_eq!(number(handle), to, "a reload is over when everybody goes by it");
}

#[test]
fn whoever_asks_during_a_reload_hears_of_one_configuration() {
    reload_amid(RUNS, lives, reload);
}

#[test]
#[should_panic(expected = "in force")]
fn one_who_stores_the_configuration_before_the_loop_goes_by_it_is_found_out() {
    reload_amid(RUNS_WITH_A_FAULT, lives, |handle, to| {
        handle.shared.loaded.store(loaded(to));
        reload(handle, to);
    });
}

#[test]
#[should_panic(expected = "a reload is over when everybody goes by it")]
fn a_loop_that_says_that_a_reload_is_over_before_it_is_is_found_out() {
    reload_amid(
        RUNS_WITH_A_FAULT,
        |core, ways_in, spool, _| {
            lives_with(core, &ways_in, spool, |core, ways_in| {
                while let Ok(arrival) = ways_in.arrivals.try_recv() {
                    core.handle(arrival, Still.now());
                }
                match ways_in.inbox.try_recv() {
                    Ok(Event::Reload { loaded, policies, tried, done }) => {
                        done(());
                        step();
                        core.reload(loaded, policies, tried, Still.now());
                    }
                    Ok(event) => core.handle(event, Still.now()),
                    Err(_) => {}
                }
            });
        },
        reload,
    );
}

#[test]
#[should_panic(expected = "the policies are those of the configuration")]
fn policies_of_another_configuration_are_found_out() {
    reload_amid(RUNS_WITH_A_FAULT, lives, |handle, to| {
        let reload = |done: crate::event::Answer<()>| {
            let policies = Policy::of_all(&handle.loaded().config);
            handle.tell(Event::Reload { loaded: loaded(to), policies, tried: Vec::new(), done })
        };
        ask(reload).expect("it is not busy");
    });
}

/// One who brings a message sees it in the queue as soon as it is acknowledged.
fn bring_and_look(handle: &Handle, spool: &Arc<Spools>) {
    let id = bring(handle, spool).expect("there is room");
    let waiting = waits(handle).expect("it is not busy");
    assert!(
        waiting.iter().any(|entry| entry.id == id),
        "{id:?} was acknowledged, and is not seen: {waiting:?}"
    );
}

/// Somebody brings mail and looks for it, while others tell the loop this and that.
fn bring_amid(runs: usize, life: Life) {
    every_order(runs, move || {
        let house = House::new(life);
        let (telling, bringing, spool) =
            (house.handle.clone(), house.handle.clone(), Arc::clone(&house.spool));
        let tells = thread::spawn(move || {
            for _ in 0..4 {
                telling.end_release(ReleaseId(1)).expect("it is not busy");
            }
        });
        let brings = thread::spawn(move || bring_and_look(&bringing, &spool));
        tells.join().expect("one who tells something does not panic");
        brings.join().expect("one who brings mail does not panic");
        house.ends();
    });
}

#[test]
fn who_was_told_that_a_message_is_safe_sees_it_in_the_queue() {
    bring_amid(RUNS, lives);
}

#[test]
#[should_panic(expected = "was acknowledged, and is not seen")]
fn a_loop_that_looks_for_arrivals_only_before_it_takes_questions_is_found_out() {
    bring_amid(RUNS_WITH_A_FAULT, |core, ways_in, spool, _| {
        lives_with(core, &ways_in, spool, |core, ways_in| {
            while let Ok(arrival) = ways_in.arrivals.try_recv() {
                core.handle(arrival, Still.now());
            }
            while let Ok(event) = ways_in.inbox.try_recv() {
                core.handle(event, Still.now());
            }
        });
    });
}

/// Somebody stops the hub while others ask, reload and bring mail.
fn stop_amid(runs: usize, life: Life) {
    every_order(runs, move || {
        let house = House::new(life);
        let (asking, bringing, stopping) = (house.handle.clone(), house.handle.clone(), house.handle.clone());
        let (spool, closing) = (Arc::clone(&house.spool), Arc::clone(&house.spool));
        let has_stopped = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = Arc::clone(&has_stopped);
        let asks = thread::spawn(move || {
            for _ in 0..2 {
                let has_stopped = Arc::clone(&has_stopped);
                let asked = ask(|done| {
                    asking.channels(move |reports| {
                        assert!(!has_stopped.load(Ordering::SeqCst), "an answer comes after the end");
                        done(reports);
                    })
                });
                if let Ok(reports) = asked {
                    number_told(&reports);
                }
            }
        });
        let brings = thread::spawn(move || bring(&bringing, &spool));
        let stops = thread::spawn(move || {
            stopping.stop(Duration::from_secs(3600));
            stopped.store(true, Ordering::SeqCst);
            assert!(closing.is_closed(), "a stop is over when all is written down");
            assert!(waits(&stopping).is_err(), "nobody answers any more");
            assert!(matches!(bring(&stopping, &closing), Err(CommitError::Stopping)));
        });
        asks.join().expect("one who asks does not panic");
        let brought = brings.join().expect("one who brings mail does not panic");
        stops.join().expect("a stop does not panic");
        house.ends.join().expect("the loop does not panic");
        drop((house.handle, house.spool));
        let disk: Arc<dyn Storage> = Arc::new(house.storage);
        let (_spool, _, found) =
            Steps::open(disk, Options::default(), Instant::now()).expect("it was closed in order");
        let found: Vec<EntryId> = found.entries.iter().map(|entry| entry.id).collect();
        assert_eq!(found, Vec::from_iter(brought.ok()), "what was acknowledged is there, and nothing else");
    });
}

#[test]
fn whoever_asks_during_a_stop_is_answered_or_hears_that_nobody_answers() {
    stop_amid(RUNS, lives);
}

#[test]
#[should_panic(expected = "a stop is over when all is written down")]
fn a_loop_that_says_that_it_has_ended_before_all_is_written_down_is_found_out() {
    stop_amid(RUNS_WITH_A_FAULT, |mut core, ways_in, spool, ended| {
        run::run(&mut core, &ways_in, &Still);
        ended();
        step();
        let _turn = spool.turns.lock();
        core.end(Still.now());
    });
}

#[test]
#[should_panic(expected = "exceeded max_steps")]
fn a_loop_that_ends_and_keeps_what_it_was_asked_is_found_out() {
    stop_amid(RUNS_WITH_A_FAULT, |core, ways_in, spool, ended| {
        let ways_in = std::mem::ManuallyDrop::new(ways_in);
        let mut core = core;
        run::run(&mut core, &ways_in, &Still);
        let turn = spool.turns.lock();
        core.end(Still.now());
        drop(turn);
        ended();
    });
}
