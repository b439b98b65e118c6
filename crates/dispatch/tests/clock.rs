//! The clock of the machine is set: nothing stops for hours, nothing comes in a storm, nothing is returned for a jump.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sluice_dispatch::{End, ask};
use support::{Act, HOUR, House, MINUTE, configuration_with_options, configuration_with_times};

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A house whose direct channel tries again after ten minutes, then each hour, and returns after some weeks.
fn house() -> House {
    House::with_keywords(&[
        ("tcp_local", "backoff PT10M PT1H notices 100 200 400"),
        ("tcp_site", "notices 100 200 400"),
    ])
}

#[test]
fn set_back_for_a_day_a_retry_comes_when_it_would_have_come() {
    let house = house();
    house.act("fred@there.example", Act::Defer);
    house.send(&["tcp_local!fred@there.example"]);
    house.wait_got(1);
    house.quiet();
    house.set_clock(house.clock_now().minus(DAY));
    house.quiet();
    assert_eq!(house.got().len(), 1, "it is not tried at once");
    house.pass(9 * MINUTE);
    house.quiet();
    assert_eq!(house.got().len(), 1, "nor earlier than it was to be");
    house.pass(2 * MINUTE);
    house.wait_got(2);
    // From here on as ever.
    house.quiet();
    house.pass(61 * MINUTE);
    house.wait_got(3);
}

#[test]
fn a_start_with_the_clock_right_again_does_not_wait_for_the_wrong_one() {
    let mut house = house();
    house.set_clock(house.clock_now().plus(YEAR));
    house.act("fred@there.example", Act::Defer);
    house.send(&["tcp_local!fred@there.example"]);
    house.wait_got(1);
    house.quiet();
    house.stop();
    house.set_clock_while_stopped(house.clock_now().minus(YEAR));
    house.start();
    house.quiet();
    assert_eq!(house.got().len(), 1);
    house.pass(11 * MINUTE);
    house.wait_got(2);
}

#[test]
fn set_back_during_an_attempt_that_takes_no_step_a_retry_comes_by_its_schedule() {
    let house = house();
    house.act("fred@there.example", Act::Defer);
    house.send(&["tcp_local!fred@there.example"]);
    house.wait_got(1);
    house.quiet();
    house.act("fred@there.example", Act::Keep);
    house.release("there.example");
    house.wait(|| house.kept() == 1, || "the attempt before its time".to_owned());
    house.set_clock(house.clock_now().minus(DAY));
    house.summary();
    house.finish_kept(&Act::Unreachable);
    house.quiet();
    let so_far = house.got().len();
    house.act("fred@there.example", Act::Deliver);
    house.pass(HOUR + MINUTE);
    house.wait_got(so_far + 1);
    house.wait_queue(&[]);
}

#[test]
fn set_back_a_release_that_is_idle_collects_no_longer_than_its_grace() {
    let house = House::with(configuration_with_options(&[], "RELEASE_GRACE=60\n"));
    house.send(&["tcp_site!a@site.example"]);
    let released = house.etrn("site.example");
    house.wait_queue(&[]);
    house.set_clock(house.clock_now().minus(DAY));
    house.summary();
    house.pass(2 * MINUTE);
    house.summary();
    let record = ask(|done| house.handle().release_record(released.id, done)).unwrap().unwrap();
    assert_eq!(record.ended.map(|(_, end)| end), Some(End::Done));
}

#[test]
fn set_back_services_and_schedules_go_on() {
    let house = House::with(configuration_with_times(
        &[("tcp_local", "backoff PT10M")],
        "[CHANNEL=tcp_slow]\nSCHEDULE=every 30m\n",
        "[SITE=one]\nDOMAINS=site.example\nSCHEDULE=every 1h\n",
    ));
    house.pass(5 * MINUTE);
    house.set_clock(house.clock_now().minus(30 * DAY));
    house.send(&["tcp_slow!a@slow.example"]);
    house.send(&["tcp_site!b@site.example"]);
    house.quiet();
    assert!(house.got().is_empty(), "{:?}", house.got());
    for _ in 0..13 {
        house.pass(5 * MINUTE);
    }
    assert_eq!(house.take_got(), ["tcp_site b@site.example", "tcp_slow a@slow.example"]);
    // The periodic service, every four hours, does what the other two do.
    house.set_clock(house.clock_now().minus(DAY));
    house.send(&["tcp_slow!c@slow.example"]);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    house.pass(HOUR);
    assert_eq!(house.take_got(), ["tcp_slow c@slow.example"], "{:?}", house.summary());
}

/// How often each recipient was tried, and how many notices there were.
fn tried(house: &House) -> (usize, usize, usize) {
    house.quiet();
    let got = house.got();
    let of = |address: &str| got.iter().filter(|one| one.to == [address]).count();
    (of("fred@there.example"), of("b@site.example"), got.iter().filter(|one| one.sender.is_empty()).count())
}

#[test]
fn set_forward_for_a_year_and_right_again_nothing_is_returned() {
    let house = house();
    house.act("fred@there.example", Act::Defer);
    house.act("b@site.example", Act::Defer);
    house.send(&["tcp_local!fred@there.example"]);
    house.send(&["tcp_site!b@site.example"]);
    house.wait_queue(&["tcp_local/there.example 1", "tcp_site/site.example 1"]);
    assert_eq!(tried(&house), (1, 0, 0));
    let right = house.clock_now();
    house.set_clock(right.plus(YEAR));
    // What is due now is tried once, and no storm comes; ages do not count yet.
    assert_eq!(tried(&house), (2, 1, 0));
    for _ in 0..5 {
        house.pass(10 * MINUTE);
    }
    assert_eq!(tried(&house), (2, 1, 0), "the next retry is an hour away");
    // Set right, it goes on as if nothing had been.
    house.set_clock(right.plus(HOUR));
    for _ in 0..7 {
        house.pass(10 * MINUTE);
    }
    assert_eq!(tried(&house), (3, 1, 0));
    for _ in 0..18 {
        house.pass(10 * MINUTE);
    }
    assert_eq!(tried(&house), (6, 2, 0), "each hour, and by the periodic service");
    assert_eq!(house.queue(), ["tcp_local/there.example 1", "tcp_site/site.example 1"]);
}

#[test]
fn a_jump_that_stays_counts_after_an_hour() {
    let house = house();
    house.act("b@site.example", Act::Defer);
    house.send(&["tcp_site!b@site.example"]);
    house.wait_queue(&["tcp_site/site.example 1"]);
    house.set_clock(house.clock_now().plus(YEAR));
    assert_eq!(tried(&house), (0, 1, 0));
    house.pass(59 * MINUTE);
    assert_eq!(tried(&house).2, 0);
    // The patrol comes every hour.
    house.pass(HOUR);
    house.wait(|| tried(&house).2 >= 1, || format!("the notice; {:#?}", house.got()));
}

#[test]
fn small_corrections_are_no_jumps() {
    let house = house();
    house.act("fred@there.example", Act::Defer);
    house.send(&["tcp_local!fred@there.example"]);
    house.wait_got(1);
    house.quiet();
    for _ in 0..3 {
        house.set_clock(house.clock_now().minus(Duration::from_secs(50)));
        house.set_clock(house.clock_now().plus(Duration::from_secs(50)));
    }
    house.pass(9 * MINUTE);
    house.quiet();
    assert_eq!(house.got().len(), 1);
    house.pass(2 * MINUTE);
    house.wait_got(2);
}
