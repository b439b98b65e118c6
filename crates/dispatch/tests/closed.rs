//! Stopped channels and suspended domains: nothing is tried, mail waits, and a restart forgets neither.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sluice_dispatch::{Closing, ClosingDone, ClosingError, Matched, ask};
use support::{Act, HOUR, House, MINUTE, configuration};

fn close(house: &House, closing: Closing) -> Result<Vec<ClosingDone>, ClosingError> {
    ask(|done| house.handle().close(closing, done)).unwrap()
}

fn stop(house: &House, names: &[&str]) -> Result<Vec<ClosingDone>, ClosingError> {
    close(house, Closing::Stop(names.iter().map(|&name| name.to_owned()).collect()))
}

fn start(house: &House, names: &[&str]) -> Result<Vec<ClosingDone>, ClosingError> {
    close(house, Closing::Start(names.iter().map(|&name| name.to_owned()).collect()))
}

fn suspend(house: &House, domain: &str, time: Option<Duration>) -> ClosingDone {
    let below = domain.starts_with('@');
    let domain = domain.trim_start_matches('@').to_owned();
    let closing = Closing::Suspend { domain, below, time, reason: "they move".to_owned() };
    close(house, closing).unwrap().remove(0)
}

fn resume(house: &House, domain: &str) -> Result<Vec<ClosingDone>, ClosingError> {
    let below = domain.starts_with('@');
    close(house, Closing::Resume { domain: domain.trim_start_matches('@').to_owned(), below })
}

fn suspended(house: &House) -> Vec<String> {
    let rows = ask(|done| house.handle().suspensions(done)).unwrap();
    rows.iter().map(|row| format!("{} {}", row.name, row.messages)).collect()
}

#[test]
fn a_stopped_channel_leases_nothing_and_what_is_under_way_finishes() {
    let house = House::new();
    house.act("tcp_local", Act::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    let rows = stop(&house, &["tcp_local"]).unwrap();
    assert_eq!((rows[0].changed, rows[0].messages, rows[0].active), (true, 1, 1));
    house.act("tcp_local", Act::Deliver);
    house.send(&["tcp_local!b@there.example"]);
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&["tcp_local/there.example 1"]);
    house.pass(2 * HOUR);
    assert_eq!(house.take_got(), ["tcp_local a@there.example"]);
    assert_eq!(house.channel("tcp_local").status.to_string(), "stopped");
    assert!(!stop(&house, &["tcp_local"]).unwrap()[0].changed, "it is stopped already");
    start(&house, &["tcp_local"]).unwrap();
    assert_eq!(house.take_got(), ["tcp_local b@there.example"]);
    assert_eq!(house.channel("tcp_local").status.to_string(), "running");
}

#[test]
fn releases_and_services_leave_a_stopped_channel_and_say_so() {
    let house = House::with_keywords(&[("tcp_slow", "period 1")]);
    house.send(&["tcp_slow!a@slow.example"]);
    stop(&house, &["tcp_slow"]).unwrap();
    for selector in ["slow.example", "@slow.example", "#tcp_slow"] {
        for released in [house.etrn(selector), house.release(selector)] {
            assert_eq!((released.messages, released.matched), (0, Matched::Closed), "{selector}");
            assert_eq!(released.closed, ["channel tcp_slow is stopped"], "{selector}");
        }
    }
    house.pass(5 * HOUR);
    assert_eq!(house.take_got(), Vec::<String>::new());
    start(&house, &["tcp_slow"]).unwrap();
    assert_eq!(house.take_got(), Vec::<String>::new(), "it waits for a release, as before");
    house.release("#tcp_slow");
    assert_eq!(house.take_got(), ["tcp_slow a@slow.example"]);
}

#[test]
fn stops_survive_reload_restart_and_a_crash_at_once() {
    let mut house = House::new();
    stop(&house, &["tcp_local", "tcp_slow"]).unwrap();
    suspend(&house, "@far.example", None);
    house.send(&["tcp_local!a@there.example"]);
    house.copy_and_start_from_copy();
    house.reload(configuration(&[], ""));
    assert_eq!(house.channel("tcp_slow").status.to_string(), "stopped");
    assert_eq!(suspended(&house), ["@far.example 0"]);
    // Twice: the second time they come from the checkpoint that the first one wrote.
    house.restart();
    house.restart();
    assert_eq!(house.take_got(), Vec::<String>::new());
    start(&house, &["tcp_local"]).unwrap();
    assert_eq!(house.take_got(), ["tcp_local a@there.example"]);
    house.copy_and_start_from_copy();
    assert_ne!(house.channel("tcp_local").status.to_string(), "stopped");
    assert_eq!(house.channel("tcp_slow").status.to_string(), "stopped");
}

#[test]
fn one_unknown_channel_and_none_is_stopped() {
    let house = House::new();
    let error = stop(&house, &["tcp_local", "tcp_slwo"]).unwrap_err();
    assert_eq!(error.to_string(), "there is no channel `tcp_slwo`; nothing was changed");
    assert!(matches!(error, ClosingError::NoChannel { nearest, .. } if nearest[0] == "tcp_slow"));
    assert_eq!(house.channel("tcp_local").status.to_string(), "idle");
}

#[test]
fn nothing_is_tried_for_a_suspended_domain_whoever_asks() {
    let house = House::new();
    suspend(&house, "@there.example", None);
    suspend(&house, "slow.example", None);
    house.send(&["tcp_local!a@there.example", "tcp_local!b@sub.there.example", "tcp_local!c@other.example"]);
    house.send(&["tcp_slow!d@slow.example", "tcp_slow!e@sub.slow.example"]);
    assert_eq!(house.take_got(), ["tcp_local c@other.example"]);
    for selector in ["there.example", "@there.example", "sub.there.example", "slow.example"] {
        for released in [house.etrn(selector), house.release(selector)] {
            assert_eq!((released.messages, released.matched), (0, Matched::Closed), "{selector}");
        }
    }
    assert_eq!(house.release("sub.there.example").closed, ["@there.example is suspended"]);
    let released = house.release("@slow.example");
    assert_eq!((released.messages, released.matched), (1, Matched::Known));
    assert_eq!(released.closed, ["slow.example is suspended"]);
    assert_eq!(house.take_got(), ["tcp_slow e@sub.slow.example"]);
    house.pass(5 * HOUR);
    assert_eq!(house.take_got(), Vec::<String>::new());
    let row = house.summary().into_iter().find(|row| &*row.domain == "there.example").unwrap();
    assert_eq!((row.messages, row.suspended, row.ready, row.next_due), (1, 1, 0, None));
    assert_eq!(suspended(&house), ["slow.example 1", "@there.example 2"]);
    resume(&house, "@there.example").unwrap();
    assert_eq!(house.take_got(), ["tcp_local a@there.example", "tcp_local b@sub.there.example"]);
}

#[test]
fn a_message_for_several_domains_goes_on_to_those_that_are_open() {
    let house = House::with_keywords(&[("tcp_site", "multiple")]);
    suspend(&house, "a.site.example", None);
    house.send(&["tcp_site!x@a.site.example", "tcp_site!y@b.site.example"]);
    house.release("#tcp_site");
    assert_eq!(house.take_got(), ["tcp_site y@b.site.example"]);
    resume(&house, "a.site.example").unwrap();
    house.release("#tcp_site");
    assert_eq!(house.take_got(), ["tcp_site x@a.site.example"]);
}

#[test]
fn a_suspension_ends_by_its_time_also_while_the_hub_is_down() {
    let mut house = House::new();
    let row = suspend(&house, "there.example", Some(2 * HOUR));
    let suspension = row.suspension.unwrap();
    assert_eq!(suspension.until, Some(suspension.since.plus(2 * HOUR)));
    suspend(&house, "other.example", Some(3 * HOUR));
    house.send(&["tcp_local!a@there.example", "tcp_local!b@other.example"]);
    let due = |domain: &str| house.summary().into_iter().find(|row| &*row.domain == domain).unwrap().next_due;
    assert_eq!(due("there.example"), suspension.until);
    house.pass(2 * HOUR - MINUTE);
    assert_eq!(house.take_got(), Vec::<String>::new());
    house.pass(MINUTE);
    assert_eq!(house.take_got(), ["tcp_local a@there.example"]);
    house.stop();
    house.pass_while_stopped(HOUR);
    house.start();
    assert_eq!(house.take_got(), ["tcp_local b@other.example"]);
    assert_eq!(suspended(&house), Vec::<String>::new());
}

#[test]
fn resuming_what_is_not_suspended_names_what_is() {
    let house = House::new();
    suspend(&house, "@there.example", None);
    let nearest = |domain: &str| match resume(&house, domain).unwrap_err() {
        ClosingError::NotSuspended { name, nearest } => (name, nearest),
        other => panic!("{other}"),
    };
    assert_eq!(nearest("sub.there.example"), ("sub.there.example".into(), vec!["@there.example".into()]));
    assert_eq!(nearest("@theer.example").1, ["@there.example"]);
    assert!(nearest("elsewhere.test").1.is_empty());
}

#[test]
fn ages_count_while_the_way_is_closed() {
    let house = House::with_keywords(&[("tcp_local", "notices 1")]);
    house.send(&["tcp_local!a@there.example"]);
    house.take_got();
    suspend(&house, "other.example", None);
    house.send(&["tcp_local!b@other.example"]);
    house.wait_queue(&["tcp_local/other.example 1"]);
    house.pass(25 * HOUR);
    house.wait(
        || house.got().iter().any(|got| got.sender.is_empty()),
        || format!("a notice; {:?} {:?}", house.got(), house.queue()),
    );
}
