//! Releases: each form takes exactly what it names.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_dispatch::Matched;
use support::{Act, HOUR, House, MINUTE};

/// Mail for a site, a host under it, one that only looks like it, and several at once.
fn filled() -> House {
    let house = House::new();
    house.send(&["tcp_slow!one@slow.example"]);
    house.send(&["tcp_slow!two@mail.slow.example"]);
    house.send(&["tcp_slow!three@notslow.example"]);
    house.send(&[
        "tcp_slow!four@slow.example",
        "tcp_slow!five@mail.slow.example",
        "tcp_site!six@site.example",
    ]);
    house.quiet();
    assert_eq!(house.got().len(), 0);
    house
}

#[test]
fn host_takes_exactly_that_domain() {
    let house = filled();
    let released = house.etrn("SLOW.example");
    assert_eq!((released.messages, released.matched), (2, Matched::Known));
    assert_eq!(released.channels, ["tcp_slow"]);
    house.wait_got(2);
    assert_eq!(house.take_got(), ["tcp_slow four@slow.example", "tcp_slow one@slow.example"]);
    let left = ["tcp_site/site.example 1", "tcp_slow/mail.slow.example 2", "tcp_slow/notslow.example 1"];
    house.wait_queue(&left);
}

#[test]
fn subnet_takes_the_domain_and_what_is_below_and_counts_messages_once() {
    let house = filled();
    let released = house.etrn("@slow.example");
    assert_eq!(
        (released.messages, released.matched),
        (3, Matched::Known),
        "the message for both counts once"
    );
    house.wait_got(4);
    house.wait_queue(&["tcp_site/site.example 1", "tcp_slow/notslow.example 1"]);
}

#[test]
fn channel_takes_all_of_it() {
    let house = filled();
    let released = house.etrn("#tcp_slow");
    assert_eq!((released.messages, released.channels), (4, vec!["tcp_slow".to_owned()]));
    house.wait_queue(&["tcp_site/site.example 1"]);
    assert_eq!(house.take_got().len(), 5);
}

#[test]
fn message_takes_all_of_one() {
    let house = filled();
    let id = house.list().iter().find(|entry| &*entry.domain == "site.example").unwrap().id;
    let released = house.release(&format!("id:{id}"));
    assert_eq!((released.messages, released.channels.len()), (1, 2));
    house.wait_got(3);
    house.wait_queue(&[
        "tcp_slow/mail.slow.example 1",
        "tcp_slow/notslow.example 1",
        "tcp_slow/slow.example 1",
    ]);
    assert_eq!(house.release(&format!("id:{id}")).matched, Matched::Unknown, "it is gone");
}

#[test]
fn the_name_of_a_fixed_peer_stands_for_all_its_channel() {
    let house = House::new();
    house.send(&["tcp_site!a@site.example"]);
    house.send(&["tcp_site!b@deep.site.example"]);
    house.send(&["tcp_site!c@elsewhere.example"]);
    let released = house.etrn("peer.example");
    assert_eq!((released.messages, released.channels), (3, vec!["tcp_site".to_owned()]));
    house.wait_queue(&[]);
    house.send(&["tcp_site!e@site.example"]);
    house.send(&["tcp_site!f@deep.site.example"]);
    house.quiet();
    house.take_got();
    assert_eq!(house.etrn("site.example").messages, 1, "but a domain of it only for itself");
    house.wait_got(1);
    assert_eq!(house.take_got(), ["tcp_site e@site.example"]);
}

#[test]
fn nothing_waiting_is_known_and_unknown_names_are_not() {
    let house = House::new();
    for known in ["slow.example", "peer.example", "@example", "#tcp_slow", "any.slow.example"] {
        let released = house.etrn(known);
        assert_eq!((released.messages, released.matched), (0, Matched::Known), "{known}");
    }
    for unknown in ["nowhere.test", "@nowhere.test", "#tcp_nowhere", "id:42"] {
        let released = house.etrn(unknown);
        assert_eq!((released.messages, released.matched), (0, Matched::Unknown), "{unknown}");
        assert_eq!(released.nearest, [""; 0], "a stranger is told nothing");
    }
    assert_eq!(house.release("#tcp_sloww").nearest[0], "#tcp_slow");
    house.quiet();
    assert!(house.started().is_empty(), "a release of nothing costs no connection");
}

#[test]
fn blocketrn_stops_peers_and_not_operators() {
    let house = House::with_keywords(&[("tcp_slow", "blocketrn")]);
    house.send(&["tcp_slow!a@slow.example", "tcp_site!b@site.example"]);
    for named in ["slow.example", "@slow.example", "#tcp_slow"] {
        let released = house.etrn(named);
        assert_eq!((released.messages, released.matched), (0, Matched::Blocked), "{named}");
        assert_eq!(released.channels, [""; 0]);
    }
    let released = house.etrn("@example");
    assert_eq!(
        (released.messages, released.matched),
        (1, Matched::Known),
        "only the part that is not blocked"
    );
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    assert_eq!(house.release("slow.example").messages, 1);
    house.wait_queue(&[]);
}

#[test]
fn etrn_does_not_run_the_local_channel() {
    let house = House::with_keywords(&[("l", "periodic")]);
    house.send(&["l!a@hub.example"]);
    let released = house.etrn("hub.example");
    assert_eq!((released.messages, released.matched), (0, Matched::Known));
    assert_eq!(house.queue(), ["l/hub.example 1"]);
    assert_eq!(house.release("#l").messages, 1);
    house.wait_queue(&[]);
}

#[test]
fn a_release_overrides_the_retry_time_but_not_a_hold() {
    let house = House::with_keywords(&[("tcp_local", "backoff PT1H holdlimit 1")]);
    house.act("tcp_local", Act::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.send(&["tcp_local!b@there.example", "tcp_local!c@there.example"]);
    house.wait_got(1);
    house.quiet();
    assert_eq!(house.queue(), ["tcp_local/there.example 2 held 1"]);
    let released = house.release("there.example");
    assert_eq!(released.messages, 1, "what is on hold is not promised");
    house.wait_got(2);
    house.quiet();
    assert_eq!(house.queue(), ["tcp_local/there.example 2 held 1"]);
}

#[test]
fn a_release_that_finds_nobody_at_home_leaves_the_schedule() {
    let house = House::with_keywords(&[("tcp_local", "backoff PT10M PT1H PT2H")]);
    house.act("tcp_local", Act::Unreachable);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_got(1);
    house.quiet();
    let due = house.list()[0].due;
    assert_eq!(due.map(|due| due.since(house.list()[0].arrived)), Some(10 * MINUTE));
    for attempt in 2..5 {
        assert_eq!(house.release("there.example").messages, 1);
        house.wait_got(attempt);
        house.quiet();
        assert_eq!(house.list()[0].due, due, "a dead ETRN does not push the schedule out");
    }
    house.pass(10 * MINUTE);
    house.wait_got(5);
    house.quiet();
    assert_eq!(house.list()[0].due.map(|due| due.since(house.list()[0].arrived)), Some(10 * MINUTE + HOUR));
}

#[test]
fn a_second_release_joins_the_first() {
    let house = House::with_keywords(&[("tcp_slow", "maxjobs 1")]);
    house.act("tcp_slow", Act::Keep);
    house.send(&["tcp_slow!a@slow.example"]);
    assert_eq!(house.etrn("slow.example").messages, 1);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    assert_eq!(house.etrn("slow.example").messages, 1, "what is under way counts");
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&[]);
    assert_eq!(house.got().len(), 1, "and is not sent twice");
}

#[test]
fn mail_that_comes_during_a_release_goes_with_it() {
    let house = House::new();
    house.act("tcp_slow", Act::Keep);
    house.send(&["tcp_slow!a@slow.example"]);
    house.etrn("slow.example");
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    house.send(&["tcp_slow!b@slow.example"]);
    house.wait(|| house.kept() == 2, || "the one that came meanwhile".to_owned());
    house.finish_kept(&Act::Deliver);
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&[]);
    house.act("tcp_slow", Act::Deliver);
    house.send(&["tcp_slow!c@slow.example"]);
    house.quiet();
    assert_eq!(house.queue(), ["tcp_slow/slow.example 1"], "the release is over");
}

#[test]
fn what_fails_under_a_release_waits_for_the_next() {
    let house = House::new();
    house.act("tcp_slow", Act::Unreachable);
    house.send(&["tcp_slow!a@slow.example"]);
    house.etrn("slow.example");
    house.wait_got(1);
    house.quiet();
    house.pass(HOUR);
    assert_eq!(house.got().len(), 1);
    house.act("tcp_slow", Act::Deliver);
    house.etrn("slow.example");
    house.wait_queue(&[]);
}
