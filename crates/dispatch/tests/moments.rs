//! Moments of schedules and periodic services that pass while no hub runs: one of them is made up for at the next start.
//!
//! The clock of these houses begins on a Monday at 14:13:20 UTC; the periodic service is held every four hours.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_dispatch::Loaded;
use std::sync::Arc;
use support::{HOUR, House, MINUTE, configuration_with_times};

fn times(jobs: &str, sites: &str) -> Arc<Loaded> {
    configuration_with_times(&[], jobs, sites)
}

/// A house is stopped for a while.
fn is_away(house: &mut House, time: Duration) {
    house.stop();
    house.pass_while_stopped(time);
    house.start();
}

#[test]
fn a_site_that_missed_its_moment_is_released_at_the_next_start_and_once() {
    let mut house = House::with(times("", "[SITE=slow]\nDOMAINS=slow.example\nSCHEDULE=15:00\n"));
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@other.slow.example"]);
    house.wait_queue(&["tcp_slow/other.slow.example 1", "tcp_slow/slow.example 1"]);
    is_away(&mut house, 46 * MINUTE);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "it is 14:59, nothing was missed");
    is_away(&mut house, 2 * MINUTE);
    house.wait_queue(&["tcp_slow/other.slow.example 1"]);
    assert_eq!(house.take_got(), ["tcp_slow a@slow.example"], "15:01, and nobody else's mail");
    house.send(&["tcp_slow!c@slow.example"]);
    is_away(&mut house, HOUR);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "the moment of today has been made up for");
    house.send(&["tcp_slow!d@slow.example"]);
    for _ in 0..23 {
        house.pass(HOUR);
    }
    assert!(house.take_got().contains(&"tcp_slow c@slow.example".to_owned()), "the next one comes of itself");
}

#[test]
fn a_moment_that_was_kept_is_not_kept_again() {
    for sudden in [false, true] {
        let mut house = House::with(times("", "[SITE=slow]\nDOMAINS=slow.example\nSCHEDULE=15:00\n"));
        house.pass(47 * MINUTE);
        house.summary();
        house.send(&["tcp_slow!a@slow.example"]);
        if sudden {
            house.sync_journal();
            house.copy_and_start_from_copy();
        } else {
            house.restart();
        }
        house.quiet();
        assert_eq!(house.take_got(), [""; 0], "sudden end: {sudden}");
    }
}

#[test]
fn where_the_window_has_closed_meanwhile_the_next_moment_comes() {
    let mut house = House::with(times(
        "[CHANNEL=tcp_site]\nSCHEDULE=15:00\nWINDOW=14:30-16:00\n",
        "[SITE=slow]\nDOMAINS=slow.example\nSCHEDULE=15:00\nWINDOW=14:30-16:00\n",
    ));
    house.send(&["tcp_slow!a@slow.example"]);
    house.send(&["tcp_site!b@site.example"]);
    is_away(&mut house, 2 * HOUR);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "it is 16:13");
    house.pass(22 * HOUR + 47 * MINUTE);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_site b@site.example", "tcp_slow a@slow.example"], "it is 15:00");
}

#[test]
fn a_channel_that_missed_moments_is_run_once_for_all_of_them() {
    let jobs = "[CHANNEL=tcp_site]\nSCHEDULE=every 5m\n";
    let mut house = House::with(configuration_with_times(&[("tcp_site", "sendetrn hub.example")], jobs, ""));
    house.send(&["tcp_site!a@site.example"]);
    is_away(&mut house, 3 * HOUR);
    house.wait_queue(&[]);
    house.wait(|| house.polls() == ["tcp_site"], || format!("a poll: {:?}", house.polls()));
    house.quiet();
    assert_eq!(house.polls(), ["tcp_site"], "and not one for each five minutes");
    house.pass(5 * MINUTE);
    house.wait(|| house.polls().len() == 2, || format!("the next: {:?}", house.polls()));
}

#[test]
fn what_a_machine_slept_through_is_made_up_for_too() {
    let house =
        House::with(times("", "[SITE=slow]\nDOMAINS=slow.example\nSCHEDULE=15:00\nWINDOW=09:00-18:00\n"));
    house.send(&["tcp_slow!a@slow.example"]);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    house.pass(2 * HOUR);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_slow a@slow.example"]);
}

#[test]
fn a_service_that_was_missed_is_held_at_the_start_and_services_are_counted_on() {
    // Every second one of those that are held every four hours.
    let mut house = House::with(configuration_with_times(&[("tcp_slow", "period 2")], "", ""));
    house.send(&["tcp_slow!a@slow.example"]);
    house.send(&["tcp_site!b@site.example"]);
    is_away(&mut house, 5 * HOUR);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    assert_eq!(house.take_got(), ["tcp_site b@site.example"], "the first service, an hour late");
    for _ in 0..3 {
        is_away(&mut house, HOUR);
    }
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "a restart does not put a service off, nor bring it");
    is_away(&mut house, HOUR);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_slow a@slow.example"], "the second one");
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_schedules() {
    let mut house = House::with(times("", "[SITE=slow]\nDOMAINS=slow.example\nSCHEDULE=every 1h\n"));
    house.pass(1000 * HOUR);
    house.stop();
    house.set_back(999 * HOUR);
    house.start();
    house.send(&["tcp_slow!a@slow.example"]);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0]);
    house.pass(HOUR);
    house.wait_queue(&[]);
}

#[test]
fn what_is_said_of_activators_is_given_back_after_any_end() {
    let mut house = House::with(times("", ""));
    assert_eq!(house.handle().activators_kept(), BTreeMap::new());
    let kept =
        BTreeMap::from([("isp".to_owned(), house.clock_now()), ("other".to_owned(), sluice_mail::Time(5))]);
    house.handle().keep_activators(kept.clone()).unwrap();
    house.summary();
    house.restart();
    assert_eq!(house.handle().activators_kept(), kept);
    let fewer = BTreeMap::from([("other".to_owned(), house.clock_now())]);
    house.handle().keep_activators(fewer.clone()).unwrap();
    house.summary();
    house.sync_journal();
    house.copy_and_start_from_copy();
    assert_eq!(house.handle().activators_kept(), fewer);
}
