//! Isolated channels under shuttle: offers, creations, stops and deaths of processes in every order of their steps that chance comes upon.
//!
//! The channel, its thread, the start and the end of a child, the reader and the ledger are the program's; the process and who watches it
//! are played. No time passes: a wake-up that is lost is a deadlock. Some stories are told a second time with a mistake that must be found.
//!
//! # Not here
//! Deadlines of whatever kind, answers to mail that a child brings in, renewals of several channels, and children that lie.

pub(crate) mod doubles;
mod played;

use crate::instance::{Isolated, Shared};
use crate::life::Life;
use doubles::{Condvar, Mistake, Mutex, Rehearsal};
use shuttle::rand::{Rng, thread_rng};
use sluice_host::{Delivery, Events, Failure, HostEvent, Lease, Recipient};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Orders of steps that are tried for each story.
const RUNS: usize = 1000;
/// The same of a story with a mistake in it, which ends where that is found.
const RUNS_WITH_A_MISTAKE: usize = 30 * RUNS;
/// More steps than any order of a story takes.
const STEPS_MAX: usize = 100_000;
const DELIVERIES: u64 = 2;
const LEASES: u64 = 3;

fn below(most: usize) -> usize {
    thread_rng().gen_range(0..most)
}

/// True once in so many times.
fn once_in(times: u32) -> bool {
    thread_rng().gen_range(0..times) == 0
}

fn delivery(token: u64) -> Delivery {
    let address = "a@there.example".to_owned();
    let recipients =
        vec![Recipient { index: 0, original: address.clone(), address, wishes: Default::default() }];
    // One that may have killed a process goes alone, so that leases go in parts.
    Delivery { token, id: token.to_string(), recipients, suspect: once_in(2), ..Delivery::blank() }
}

/// What has come, and who waits for it.
struct Told {
    events: Mutex<Vec<HostEvent>>,
    changed: Condvar,
}

impl Told {
    fn wait(&self, is_enough: impl Fn(&[HostEvent]) -> bool) {
        let mut events = self.events.lock();
        while !is_enough(&events) {
            self.changed.wait(&mut events);
        }
    }
}

fn done(events: &[HostEvent]) -> usize {
    events.iter().filter(|event| event.lease_done().is_some()).count()
}

/// One channel in one order of steps.
fn story(stops_early: bool) {
    let told = Arc::new(Told { events: Mutex::new(Vec::new()), changed: Condvar::new() });
    let teller = Arc::clone(&told);
    let events: Events = Arc::new(move |event| {
        teller.events.lock().push(event);
        teller.changed.notify_all();
    });
    let shared = Arc::new(Shared::of_a_story(events));
    let life = Life::of(Arc::clone(&shared));
    shuttle::thread::spawn(move || life.live());
    let channel = Arc::new(Isolated::of(Arc::clone(&shared)));
    let creating = Arc::clone(&channel);
    let creates = shuttle::thread::spawn(move || creating.create_now());
    let stops = stops_early.then(|| {
        let stopping = Arc::clone(&channel);
        let stop = move || {
            // Most of the time when there is something to stop.
            (0..below(150)).for_each(|_| shuttle::thread::yield_now());
            stopping.stop(Duration::from_secs(3600));
        };
        shuttle::thread::Builder::new().name("stops".to_owned()).spawn(stop).expect("there is room")
    });
    let offer = |lease: &u64| {
        let deliveries = (0..DELIVERIES).map(|number| delivery(lease * 10 + number)).collect();
        channel.offer(Lease { lease: *lease, poll: once_in(4), deliveries }).is_ok()
    };
    let taken: Vec<u64> = (1..=LEASES).filter(offer).collect();
    match stops {
        Some(stops) => stops.join().expect("a stop does not panic"),
        None => {
            assert_eq!(taken.len() as u64, LEASES, "nothing is full, nobody rests, and nobody stops");
            told.wait(|events| done(events) == taken.len());
            // Whoever waits for a creation hears of it, or why there is none.
            let _ = creates.join().expect("who waits does not panic");
            channel.stop(Duration::from_secs(3600));
        }
    }
    told.wait(|events| events.iter().any(|event| matches!(event, HostEvent::Stopped { .. })));
    drop(channel);
    check(&told.events.lock(), &taken);
    let state = shared.state.lock();
    assert!(state.ledger.is_empty() && state.queue.is_empty() && state.leases == 0, "nothing is left");
}

fn check(events: &[HostEvent], taken: &[u64]) {
    let mut left: BTreeMap<u64, u64> = taken.iter().map(|&lease| (lease, DELIVERIES)).collect();
    let mut finished = Vec::new();
    for (place, event) in events.iter().enumerate() {
        match event {
            HostEvent::Finished { token, lease, .. } => {
                assert!(!finished.contains(token), "delivery {token} is finished twice: {events:#?}");
                finished.push(*token);
                let left = left.get_mut(lease);
                *left.unwrap_or_else(|| panic!("lease {lease} is not open: {events:#?}")) -= 1;
            }
            HostEvent::WorkerFailed { failure: Failure::Died(how), .. } => {
                assert!(!how.contains("it spoke"), "an honest child is not believed: {how}");
            }
            HostEvent::LeaseDone { .. } | HostEvent::WorkerFailed { .. } => {}
            HostEvent::Stopped { .. } => {
                assert_eq!(place + 1, events.len(), "the end is not last: {events:#?}");
            }
        }
        if let Some(lease) = event.lease_done() {
            assert_eq!(left.remove(&lease), Some(0), "lease {lease} is done: {events:#?}");
        }
    }
    assert!(left.is_empty(), "leases {left:?} were taken and never done: {events:#?}");
}

fn rehearse(mistake: Option<Mistake>, stops_early: bool) {
    let _goes_on = Rehearsal::begin(mistake);
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS_MAX);
    let runs = if mistake.is_some() { RUNS_WITH_A_MISTAKE } else { RUNS };
    let by_chance = shuttle::scheduler::RandomScheduler::new(runs);
    shuttle::Runner::new(by_chance, config).run(move || story(stops_early));
}

#[test]
fn whatever_dies_when_each_lease_comes_back_once() {
    rehearse(None, false);
}

#[test]
fn a_stop_amid_all_that_ends_and_gives_everything_back() {
    rehearse(None, true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn who_hears_a_word_or_a_death_and_wakes_nobody_is_found_out() {
    rehearse(Some(Mistake::WhoHearsWakesNobody), false);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_stop_that_wakes_nobody_is_found_out() {
    rehearse(Some(Mistake::StopWakesNobody), true);
}

// It shows as an end that is not the last word, a lease that is done early, or one that is counted twice: whichever comes first.
#[test]
#[should_panic]
fn an_end_that_does_not_wait_for_the_rest_is_found_out() {
    rehearse(Some(Mistake::RestIsNotWaitedFor), true);
}

#[test]
#[should_panic(expected = "is done")]
fn what_is_told_out_of_turn_is_found_out() {
    rehearse(Some(Mistake::ToldOutOfTurn), true);
}
