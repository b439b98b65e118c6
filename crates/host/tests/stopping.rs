//! Stopping a channel, and the account of messages when everything happens at once.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_host::{Cause, HostEvent, Instance, Refusal, Spec};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use support::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

#[test]
fn what_is_held_is_finished_and_what_waits_is_given_back() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "slow", SHORT * 20));
    channel.offer(lease(1, &[&[0], &[1]]));
    eventually("the lease to be taken", || channel.instance.queued() == 0);
    thread::sleep(SHORT);
    channel.offer(lease(2, &[&[0]]));
    channel.instance.stop(LONG);
    channel.until_stopped();
    assert_eq!(
        channel.story(),
        "message 20: open [0] (Stopping)\nlease 2 done\nmessage 11: open [1] (Stopping)\n\
         message 10: 0 delivered 2.0.0 done\nlease 1 done\nstopped: asked to stop; 0 left behind"
    );
    assert_eq!(channel.instance.offer(lease(3, &[&[0]])).unwrap_err().why, Refusal::Stopped);
}

#[test]
fn a_worker_that_does_not_stop_is_left_behind() {
    for mode in ["ignores_stop", "hang"] {
        let (_folder, host, plugin) = misbehaving();
        let mut channel = Running::start(&host, &plugin, spec("c", mode, LONG));
        channel.offer(lease(1, &[&[0]]));
        if mode == "ignores_stop" {
            channel.until_leases_done(1);
        } else {
            eventually("the lease to be taken", || channel.instance.queued() == 0);
            thread::sleep(SHORT * 3);
        }
        channel.instance.stop(SHORT);
        channel.until_stopped();
        let story = channel.story();
        assert!(story.ends_with("stopped: asked to stop; 1 left behind"), "{mode}: {story}");
        assert_eq!(story.matches("message 10").count(), 1, "{mode}: {story}");
    }
}

#[test]
fn a_later_stop_leaves_less_time_and_never_more() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "hang", LONG * 2));
    channel.offer(lease(1, &[&[0]]));
    eventually("the lease to be taken", || channel.instance.queued() == 0);
    let begun = std::time::Instant::now();
    channel.instance.stop(LONG);
    thread::sleep(SHORT);
    channel.instance.stop(SHORT);
    channel.instance.stop(LONG * 2);
    channel.until_stopped();
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    assert!(channel.story().ends_with("stopped: asked to stop; 1 left behind"), "{}", channel.story());
}

#[test]
fn what_a_worker_dies_of_is_told_also_when_it_was_to_end_anyway() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "panic_when_stopped", LONG));
    channel.offer(lease(1, &[&[0]]));
    channel.until_leases_done(1);
    channel.instance.stop(LONG);
    channel.until_stopped();
    assert_eq!(
        channel.story(),
        "message 10: 0 delivered 2.0.0 done\nlease 1 done\n\
         failed: a worker panicked at plugins/misbehaving/src/lib.rs: a panic at the end\n\
         stopped: asked to stop; 0 left behind"
    );
}

#[test]
fn a_hanging_stop_and_a_panic_in_destroy_do_not_hold_up_the_end() {
    for mode in ["hang_in_stop", "panic_in_destroy"] {
        let (_folder, host, plugin) = misbehaving();
        let mut channel = Running::start(&host, &plugin, spec("c", mode, LONG));
        channel.offer(lease(1, &[&[0]]));
        channel.until_leases_done(1);
        channel.instance.stop(LONG);
        channel.until_stopped();
        assert!(
            channel.story().ends_with("stopped: asked to stop; 0 left behind"),
            "{mode}: {}",
            channel.story()
        );
    }
}

#[test]
fn stopping_what_never_ran_and_stopping_twice() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "delivers_all", LONG));
    channel.instance.stop(LONG);
    channel.instance.stop(LONG);
    channel.until_stopped();
    assert_eq!(channel.story(), "stopped: asked to stop; 0 left behind");
    channel.quiet_for(SHORT);
}

/// Four threads offer as fast as they can, to a channel that is stopped in the middle of it.
#[test]
fn every_message_comes_back_once_when_everything_happens_at_once() {
    for mode in ["delivers_all", "never_settles", "panic_once", "panic_on_delivery", "returns_early"] {
        let (_folder, host, plugin) = misbehaving();
        let limits = Spec {
            max_workers: 4,
            queue_bound: 16,
            pause_first: Duration::from_millis(1),
            pause_max: Duration::from_millis(3),
            idle_exit: Duration::from_millis(2),
            ..spec("c", mode, LONG)
        };
        let (sender, events) = channel();
        let sink = Arc::new(move |event| {
            let _ = sender.send(event);
        });
        let instance = Instance::start(&host, plugin, limits, sink);
        let (next, taken, enough) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !enough.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        match instance.offer(lease(number, &[&[0, 1], &[2]])) {
                            Ok(()) => drop(taken.fetch_add(1, Ordering::Relaxed)),
                            Err(_) => thread::sleep(Duration::from_micros(200)),
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(300));
            instance.stop(LONG);
            thread::sleep(Duration::from_millis(20));
            enough.store(true, Ordering::Relaxed);
        });
        let mut seen = Vec::new();
        while !matches!(seen.last(), Some(HostEvent::Stopped { .. })) {
            seen.push(events.recv_timeout(LONG).unwrap());
        }
        let taken = usize::try_from(taken.into_inner()).unwrap();
        let times = times_finished(&seen);
        assert!(taken > 0, "{mode}");
        assert_eq!(times.len(), taken * 2, "{mode}: each message of each lease came back");
        assert!(
            times.values().all(|&times| times == 1),
            "{mode}: {:?}",
            times.iter().find(|(_, times)| **times != 1)
        );
        let leases = seen.iter().filter(|event| event.lease_done().is_some()).count();
        assert_eq!(leases, taken, "{mode}");
        each_recipient_once(&seen);
    }
}

fn each_recipient_once(seen: &[HostEvent]) {
    for event in seen {
        let HostEvent::Finished { token, outcomes, unsettled, cause, .. } = event else { continue };
        let mut all: Vec<u32> =
            outcomes.iter().map(|(index, _)| *index).chain(unsettled.iter().copied()).collect();
        all.sort_unstable();
        let wanted: &[u32] = if token % 10 == 0 { &[0, 1] } else { &[2] };
        assert_eq!(all, wanted, "message {token}");
        assert!(*cause != Cause::Unusable);
    }
}

#[test]
fn whether_a_channel_can_be_created_is_known_before_it_gets_anything() {
    let (_folder, host, plugin) = misbehaving();
    let made = |mode: &str| {
        let spec =
            Spec { create_deadline: Duration::from_millis(200), ..spec(mode, mode, Duration::from_secs(2)) };
        let mut channel = Running::start(&host, &plugin, spec);
        let result = channel.instance.create_now();
        channel.instance.stop(Duration::ZERO);
        channel.until_stopped();
        (result, channel.instance.report().failures)
    };
    assert_eq!(made("delivers_all"), (Ok(()), 0));
    let refused = |mode: &str, what: &str, failures: u64| {
        let (result, failed) = made(mode);
        assert_eq!(failed, failures, "{mode}");
        let why = result.unwrap_err();
        assert!(why.contains(what), "{why}");
    };
    refused("no_such_mode", "its plugin refuses the settings: MODE is `no_such_mode`", 0);
    refused("fail_in_create", "the moon is in the wrong house", 1);
    refused("panic_in_create", "a panic in create", 1);
    refused("hang_in_create", "not created within 200ms", 1);
}
