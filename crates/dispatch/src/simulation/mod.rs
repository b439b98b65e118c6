//! The whole hub in a deterministic simulation: one thread, a clock that is stepped and set, a disk that crashes, tears and fills up,
//! a network that cuts what is said anywhere and lines at any moment, plugins that do whatever plugins may do, and operators who do
//! whatever they like, all of it by chance from a seed.
//!
//! Everything from the listener's session to the words that are said to a peer is the real thing: sessions (`smtpd`), dispatcher, desk,
//! index, spool with its recovery, and the client's side of SMTP. What
//! is simulated is who does its steps and when: what a line carries, what a session gets to do, the turns of the spool's writer, the rounds of the loop, the jobs of the
//! desk, starts of instances and checkpoints each happen when chance says so, which covers what threads could do in between.
//!
//! After each step the index is held against a ledger that knows what was promised (`ledger`). A run ends with all peers
//! well, and everything must drain, each of it within a time that does not depend on the clock of the wall.
//!
//! What the simulation would overlook it would pass over in silence, so faults are planted, and each must be found (`planted`).
//!
//! `SLUICE_SEED=n cargo test -p sluice-dispatch simulation` runs one seed again, with its whole trace;
//! `SLUICE_SEEDS=n` runs so many, from `SLUICE_FIRST_SEED` on; all that fail are named, each with its last steps.
//!
//! # Not here
//! Sockets and deadlines of sessions, TLS and logins (`smtpd`), aliases, access tables and headers (the program's own intake), real
//! plugins, filters, processes and threads (`host`, `isolate`, the program), activators (the program).

mod chance;
mod door;
mod filters;
mod hub;
mod ledger;
mod network;
mod peers;
mod planted;
mod plugins;
mod scenery;
mod stories;
mod world;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use planted::Plant;
use world::World;

/// Seeds of one run of the tests.
const SEEDS: u64 = 2000;
/// Threads that share them: each seed has its own world.
const THREADS: usize = 2;
/// Seeds that fail before a run of the tests gives up.
const ENOUGH: usize = 10;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs a seed to its end. The hash of its trace, and the end of that.
fn run(seed: u64, tell: bool) -> (u64, VecDeque<String>) {
    run_with(seed, tell, None)
}

fn run_with(seed: u64, tell: bool, plant: Option<Plant>) -> (u64, VecDeque<String>) {
    let mut world = World::new(seed, tell, plant);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = result {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let trace = world.end_of_trace();
        // What is under way is in any state: dropping it may panic once more and hide what was found.
        std::mem::forget(world);
        panic!("SLUICE_SEED={seed}: {said}\nits last steps:\n{trace}");
    }
    world.trace()
}

#[test]
fn whatever_happens_no_mail_is_lost_invented_or_moved_out_of_turn() {
    if let Some(seed) = from_environment("SLUICE_SEED") {
        run(seed, true);
        return;
    }
    let first = from_environment("SLUICE_FIRST_SEED").unwrap_or(0);
    let end = first + from_environment("SLUICE_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || failed.lock().expect("nobody panics with it").len() >= ENOUGH {
                        return;
                    }
                    // What was wrong has been printed where it was seen; other seeds may find something else.
                    if catch_unwind(|| run(seed, false)).is_err() {
                        failed.lock().expect("nobody panics with it").push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("nobody panics with it");
    failed.sort_unstable();
    assert!(failed.is_empty(), "SLUICE_SEED=n shows each of these seeds again, with its trace: {failed:?}");
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 0..20 {
        let (once, again) = (run(seed, false), run(seed, false));
        let differ = once.1.iter().zip(&again.1).position(|(a, b)| a != b);
        let at = differ.unwrap_or(once.1.len().min(again.1.len()));
        assert_eq!(once.0, again.0, "seed {seed}, line {at}: {:?} and {:?}", once.1.get(at), again.1.get(at));
    }
    assert_ne!(run(1, false).0, run(2, false).0);
}

#[test]
fn what_may_happen_does_happen_within_five_hundred_seeds() {
    let mut missing = vec![
        "250 ",
        "safe ",
        "the line is cut",
        "gives up: 4",
        "HOLDFOR",
        "will Redirect",
        "will Mark",
        "a verdict",
        "the filter refuses it",
        "the filter has failed",
        " and [EntryId",
        "MT-PRIORITY",
        "a peer takes",
        "a peer refuses",
        "PassedOn",
        "the clock is set back",
        "the clock is set forward",
        "a site is released by its schedule",
        "gives up",
        "Hang on",
        "Die on",
        "Untried on",
        "has stopped",
        "as configured",
        "to [192.0.2.7]:2525",
        "down the turned connection",
        "reload",
        "fault",
        "checkpoint",
        "moved what was left",
        "crash",
        "Unsynced",
        "Torn",
        "stopped while starting",
        " notices",
        "made anew for",
        "it stays as it was",
        "in hand, alone",
        "the third process has died of it",
        "in hand, among others",
        "hold",
        "delete",
        "return",
        "Suspend",
        "Stop([",
    ];
    for seed in 0..500 {
        let (_, trace) = run(seed, false);
        missing.retain(|what| !trace.iter().any(|line| line.contains(what)));
        if missing.is_empty() {
            return;
        }
    }
    panic!("{missing:?} has not happened");
}
