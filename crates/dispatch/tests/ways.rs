//! Which way the mail of a release goes: as configured, to a target, down a turned connection.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_dispatch::{Order, Requester, Selector, Via, ask};
use support::{Act, HOUR, House, MINUTE, etrn_of};

fn target(text: &str) -> Via {
    Via::target(text).unwrap()
}

fn turned() -> Via {
    Via::turned("/run/turn".to_owned())
}

/// `address by next hop`, sorted, of all that was handed to channels, and forgotten.
fn ways(house: &House) -> Vec<String> {
    house.quiet();
    let mut lines: Vec<String> = house
        .got()
        .iter()
        .map(|got| format!("{} by {}", got.to.join(" "), got.next_hop.as_deref().unwrap_or("-")))
        .collect();
    lines.sort();
    house.take_got();
    lines
}

#[test]
fn a_target_belongs_to_the_run_and_to_what_joins_it() {
    let house = House::new();
    house.send(&["tcp_slow!one@slow.example"]);
    house.act("tcp_slow", Act::Keep);
    let released = house.etrn_via("slow.example", target("[192.0.2.7]:2525"));
    assert_eq!((released.messages, released.with.len()), (1, 0));
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    house.act("tcp_slow", Act::Deliver);
    house.send(&["tcp_slow!two@slow.example", "tcp_slow!three@other.slow.example"]);
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&["tcp_slow/other.slow.example 1"]);
    let hop = "[192.0.2.7]:2525";
    assert_eq!(
        ways(&house),
        [format!("one@slow.example by {hop}"), format!("two@slow.example by {hop}")],
        "and nothing of the rest of the message"
    );
    // The run is over: what comes later waits, and goes as the next order says.
    house.send(&["tcp_slow!four@slow.example"]);
    house.quiet();
    assert_eq!(ways(&house).len(), 0);
    house.etrn("@slow.example");
    house.wait_queue(&[]);
    assert_eq!(ways(&house), ["four@slow.example by -", "three@other.slow.example by -"]);
}

#[test]
fn several_selectors_are_one_release_counted_once() {
    let house = House::new();
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@mail.slow.example"]);
    house.send(&["tcp_slow!c@mail.slow.example"]);
    house.send(&["tcp_site!d@site.example"]);
    house.send(&["tcp_slow!e@others.slow.example"]);
    let released = house.etrn_via("slow.example mail.slow.example site.example nowhere.test", target("host"));
    assert_eq!((released.messages, released.covered.recipients), (3, 4));
    assert_eq!(released.channels, ["tcp_site", "tcp_slow"]);
    house.wait_queue(&["tcp_slow/others.slow.example 1"]);
    assert!(ways(&house).iter().all(|way| way.ends_with(" by host")));
}

#[test]
fn an_order_that_names_no_target_does_not_move_mail_away_from_one() {
    let house = House::with_keywords(&[("tcp_slow", "threaddepth 1 maxjobs 1")]);
    house.act("tcp_slow", Act::Keep);
    for n in 0..30 {
        house.send(&[&format!("tcp_slow!{n}@slow.example")]);
    }
    house.send(&["tcp_slow!x@mail.slow.example"]);
    let first = house.etrn_via("slow.example", target("one.example"));
    house.wait(|| house.kept() > 0, || "a delivery".to_owned());
    let joined = house.etrn("slow.example");
    assert_eq!((joined.messages, joined.with.as_slice()), (30, &[first.id][..]));
    let partly = house.etrn("@slow.example");
    assert_eq!((partly.messages, partly.with.as_slice()), (31, &[first.id][..]));
    // Another target is where the site is now.
    let moved = house.etrn_via("slow.example", target("two.example"));
    assert_eq!((moved.messages, moved.with.len()), (30, 0));
    house.act("tcp_slow", Act::Deliver);
    while house.kept() > 0 {
        house.finish_kept(&Act::Deliver);
    }
    house.wait_queue(&[]);
    let ways = ways(&house);
    assert_eq!(ways.iter().filter(|way| way.ends_with(" by -")).count(), 1, "{ways:?}");
    assert!(ways.contains(&"x@mail.slow.example by -".to_owned()));
    assert!(ways.iter().any(|way| way.ends_with(" by two.example")), "{ways:?}");
}

#[test]
fn recipients_that_go_different_ways_are_not_in_one_transaction() {
    let keywords = "multiple daemon peer.slow.example maxjobs 1 threaddepth 1";
    let house = House::with_keywords(&[("tcp_slow", keywords)]);
    let both = ["tcp_slow!a@slow.example", "tcp_slow!b@mail.slow.example"];
    for (hop, expected) in [
        (
            target("one.example"),
            &["a@slow.example by one.example", "b@mail.slow.example by -", "x@busy.example by -"][..],
        ),
        (Via::Channel, &["a@slow.example b@mail.slow.example by -", "x@busy.example by -"]),
    ] {
        house.act("x@busy.example", Act::Keep);
        house.send(&["tcp_slow!x@busy.example"]);
        house.etrn("busy.example");
        house.wait(|| house.kept() == 1, || "the only job to be busy".to_owned());
        house.send(&both);
        house.etrn_via("slow.example", hop);
        house.etrn("mail.slow.example");
        house.finish_kept(&Act::Deliver);
        house.wait_queue(&[]);
        assert_eq!(ways(&house), expected);
    }
}

#[test]
fn a_turned_run_has_one_job_over_all_its_queues_and_says_when_nothing_follows() {
    let house = House::with_keywords(&[("tcp_slow", "maxjobs 8 threaddepth 2")]);
    for n in 0..5 {
        house.send(&[&format!("tcp_slow!{n}@slow.example")]);
        house.send(&[&format!("tcp_slow!{n}@mail.slow.example")]);
    }
    house.send(&["tcp_site!not@site.example"]);
    house.act("tcp_slow", Act::Keep);
    let released = house.etrn_via("@slow.example", turned());
    assert_eq!((released.messages, released.channels.as_slice()), (10, &["tcp_slow".to_owned()][..]));
    for done in 0..10 {
        house.wait(|| house.kept() > 0, || format!("delivery {done}"));
        assert_eq!(house.most_leases("tcp_slow"), 1);
        house.finish_kept(&Act::Deliver);
    }
    house.wait_queue(&["tcp_site/site.example 1"]);
    let got = house.got();
    assert!(got.iter().all(|one| one.next_hop.as_deref() == Some("unix:/run/turn")));
    // Every lease but the last ends with the word that more follows.
    let more = got.iter().filter(|one| one.more_follows).count();
    assert!(!got[9].more_follows && more >= 4, "{got:#?}");
}

#[test]
fn a_turned_run_takes_the_mail_of_all_channels_one_after_the_other() {
    let house = House::with_keywords(&[("tcp_slow", "threaddepth 2"), ("tcp_site", "threaddepth 2")]);
    for n in 0..5 {
        house.send(&[&format!("tcp_slow!{n}@slow.example")]);
        house.send(&[&format!("tcp_site!{n}@site.example")]);
    }
    // One message in both counts once.
    house.send(&["tcp_slow!both@slow.example", "tcp_site!both@site.example"]);
    house.act("tcp_slow", Act::Keep);
    house.act("tcp_site", Act::Keep);
    let released = house.etrn_via("slow.example site.example", turned());
    assert_eq!((released.messages, released.covered.recipients), (11, 12));
    assert_eq!(released.channels, ["tcp_site", "tcp_slow"]);
    for done in 0..12 {
        house.wait(|| house.kept() > 0, || format!("delivery {done}"));
        assert_eq!(house.open_leases(), 1, "never two at a time");
        house.finish_kept(&Act::Deliver);
    }
    house.wait_queue(&[]);
    let got = house.got();
    assert!(got.iter().all(|one| one.next_hop.as_deref() == Some("unix:/run/turn")));
    let is_slow: Vec<bool> = got.iter().map(|one| one.to[0].ends_with("@slow.example")).collect();
    assert_eq!(is_slow.chunk_by(|a, b| a == b).count(), 2, "one channel, and then the other: {got:#?}");
    // The last one of each channel is told that nothing follows.
    let last: Vec<usize> = (0..12).filter(|&at| at == 11 || is_slow[at] != is_slow[at + 1]).collect();
    assert!(last.iter().all(|&at| !got[at].more_follows), "{got:#?}");
    let record = ask(|done| house.handle().release_record(released.id, done)).unwrap().unwrap();
    assert_eq!(record.tally.delivered.recipients, 12);
}

#[test]
fn a_turned_run_does_not_take_what_is_in_delivery_elsewhere_nor_let_itself_be_moved() {
    let house = House::with_keywords(&[("tcp_slow", "threaddepth 1 maxjobs 1")]);
    house.act("tcp_slow", Act::Keep);
    house.send(&["tcp_slow!elsewhere@slow.example"]);
    house.etrn("slow.example");
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    house.send(&["tcp_slow!mine@slow.example"]);
    let mine = house.etrn_via("slow.example", turned());
    assert_eq!((mine.messages, mine.with.len()), (2, 0), "what is in delivery counts as waiting");
    for via in [Via::Channel, target("other.example"), Via::turned("/run/second".to_owned())] {
        let joined = house.etrn_via("slow.example", via);
        assert_eq!(joined.with, [mine.id]);
    }
    house.finish_kept(&Act::Defer);
    house.wait(|| house.kept() == 1, || "the turned delivery".to_owned());
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    assert_eq!(ways(&house), ["elsewhere@slow.example by -", "mine@slow.example by unix:/run/turn"]);
}

#[test]
fn what_a_turned_connection_leaves_waits_as_before() {
    for act in [Act::Defer, Act::Unreachable] {
        let house = House::with_keywords(&[("tcp_local", "backoff PT1H PT2H PT4H threaddepth 1 maxjobs 4")]);
        house.act("tcp_local", Act::Defer);
        for n in 0..3 {
            house.send(&[&format!("tcp_local!{n}@there.example")]);
        }
        house.wait_got(3);
        house.take_got();
        house.pass(HOUR / 2);
        house.act("tcp_local", act.clone());
        house.etrn_via("there.example", turned());
        let tried = if matches!(act, Act::Defer) { 3 } else { 1 };
        house.wait_got(tried);
        house.quiet();
        assert_eq!(house.got().len(), tried, "{act:?}: a broken connection is not opened a second time");
        house.take_got();
        // Half an hour is left of the first wait, and the second one is what follows it.
        house.act("tcp_local", Act::Defer);
        house.pass(HOUR / 2 - MINUTE);
        assert_eq!(ways(&house).len(), 0);
        house.pass(2 * MINUTE);
        house.wait_got(3);
        assert!(ways(&house).iter().all(|way| way.ends_with(" by -")));
        house.pass(HOUR + MINUTE);
        assert_eq!(ways(&house).len(), 0, "{act:?}: two hours follow the one");
    }
}

#[test]
fn a_session_that_ends_ends_its_release() {
    let house = House::with_keywords(&[("tcp_slow", "threaddepth 1")]);
    house.act("tcp_slow", Act::Keep);
    house.send(&["tcp_slow!a@slow.example"]);
    house.send(&["tcp_slow!b@slow.example"]);
    let released = house.etrn_via("slow.example", turned());
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    house.send(&["tcp_slow!late@slow.example"]);
    house.handle().end_release(released.id).unwrap();
    house.act("tcp_slow", Act::Deliver);
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&["tcp_slow/slow.example 2"]);
    house.pass(HOUR);
    assert_eq!(ways(&house), ["a@slow.example by unix:/run/turn"], "the others wait for the next request");
    let again = house.etrn_via("slow.example", turned());
    assert!(again.id > released.id && again.with.is_empty());
    house.wait_queue(&[]);
}

#[test]
fn one_message_by_its_id_joins_what_is_on_its_way() {
    let house = House::new();
    house.act("tcp_slow", Act::Keep);
    let id = house.send(&["tcp_slow!a@slow.example", "tcp_site!b@site.example"]);
    let first = house.etrn_via("slow.example", target("one.example"));
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    let both = house.order(Order::new(Selector::Message(id), Requester::Operator));
    assert_eq!((both.messages, both.covered.recipients, both.with.as_slice()), (1, 2, &[first.id][..]));
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&[]);
    assert_eq!(ways(&house), ["a@slow.example by one.example", "b@site.example by -"]);
}

#[test]
fn an_order_for_nothing_is_for_nothing() {
    let house = House::new();
    let nothing = Order { selectors: Vec::new(), requester: etrn_of(""), via: Via::Channel, site: None };
    let released = house.order(nothing);
    assert_eq!((released.messages, released.matched), (0, sluice_dispatch::Matched::Unknown));
}
