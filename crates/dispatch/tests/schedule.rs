//! When channels run, one rule a test.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_dispatch::ChannelStatus;
use sluice_mail::Priority;
use std::time::Duration;
use support::{Act, HOUR, House, MINUTE, configuration};

#[test]
fn an_immediate_channel_delivers_at_once() {
    let house = House::new();
    let id = house.send(&["tcp_local!a@there.example", "tcp_local!b@there.example"]);
    house.wait_queue(&[]);
    let got = house.wait_got(1);
    assert_eq!(got[0].to, ["a@there.example", "b@there.example"]);
    assert_eq!((got[0].id.as_str(), got[0].attempts), (id.to_string().as_str(), 0));
    assert_eq!(got[0].content, "Subject: test\r\n\r\nHello.\r\n");
    assert_eq!(house.channel("tcp_local").status, ChannelStatus::Running);
    assert_eq!(
        house.channel("tcp_site").status,
        ChannelStatus::Idle,
        "started only when there is something to do"
    );
}

#[test]
fn a_periodic_channel_waits_for_its_service() {
    let house = House::new();
    house.send(&["tcp_slow!a@slow.example"]);
    house.send_as("s@there.example", Priority::Urgent, &["tcp_slow!b@slow.example"]);
    house.pass(4 * HOUR - MINUTE);
    assert_eq!(house.take_got(), [""; 0]);
    assert_eq!(house.summary()[0].next_due, None);
    house.pass(MINUTE);
    house.wait_queue(&[]);
    let got = house.wait_got(2);
    assert_eq!(got[0].to, ["b@slow.example"], "urgent first");
}

#[test]
fn period_counts_services() {
    let house = House::with_keywords(&[("tcp_slow", "period 3")]);
    house.send(&["tcp_slow!a@slow.example"]);
    house.pass(4 * HOUR);
    house.pass(4 * HOUR);
    assert_eq!(house.take_got(), [""; 0]);
    house.pass(4 * HOUR);
    assert_eq!(house.wait_got(1)[0].to, ["a@slow.example"]);
}

#[test]
fn imm_keywords_say_what_starts_a_job() {
    let house = House::with_keywords(&[("tcp_local", "immurgent")]);
    house.send(&["tcp_local!normal@there.example"]);
    house.send_as("s@there.example", Priority::Urgent, &["tcp_local!urgent@there.example"]);
    house.wait_got(1);
    assert_eq!(house.take_got(), ["tcp_local urgent@there.example"]);
    assert_eq!(house.queue(), ["tcp_local/there.example 1"]);
    house.pass(4 * HOUR);
    house.wait_got(1);
    assert_eq!(house.take_got(), ["tcp_local normal@there.example"], "the rest waits for the service");

    let house = House::new();
    house.send_as("s@there.example", Priority::Nonurgent, &["tcp_local!a@there.example"]);
    assert_eq!(house.take_got(), [""; 0], "immnormal is the default");
    let house = House::with_keywords(&[("tcp_local", "immnonurgent")]);
    house.send_as("s@there.example", Priority::Nonurgent, &["tcp_local!a@there.example"]);
    house.wait_got(1);
}

#[test]
fn after_puts_the_start_off() {
    let house = House::with_keywords(&[("tcp_local", "after 90")]);
    house.send(&["tcp_local!a@there.example"]);
    house.pass(Duration::from_secs(89));
    assert_eq!(house.take_got(), [""; 0]);
    house.pass(Duration::from_secs(1));
    house.wait_got(1);
}

#[test]
fn retries_go_by_the_backoff_list_and_its_last_wait_repeats() {
    let house = House::with_keywords(&[("tcp_local", "backoff PT5M PT20M")]);
    house.act("tcp_local", Act::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_got(1);
    for (wait, attempts) in [(5, 1), (20, 2), (20, 3)] {
        house.quiet();
        house.pass(MINUTE * (wait - 1));
        house.quiet();
        assert_eq!(house.got().len(), attempts as usize, "not before {wait} minutes");
        house.pass(MINUTE);
        let got = house.wait_got(attempts as usize + 1);
        assert_eq!(got.last().unwrap().attempts, attempts);
    }
    house.act("tcp_local", Act::Deliver);
    house.quiet();
    house.pass(20 * MINUTE);
    house.wait_queue(&[]);
}

#[test]
fn a_priority_has_its_own_backoff() {
    let house = House::with_keywords(&[("tcp_local", "immnonurgent backoff PT5M urgentbackoff PT1M")]);
    house.act("tcp_local", Act::Defer);
    house.send_as("s@there.example", Priority::Urgent, &["tcp_local!u@there.example"]);
    house.send(&["tcp_local!n@there.example"]);
    house.wait_got(2);
    house.take_got();
    house.pass(MINUTE);
    house.wait_got(1);
    assert_eq!(house.take_got(), ["tcp_local u@there.example"]);
}

#[test]
fn a_periodic_channel_has_no_retries_of_its_own() {
    let house = House::new();
    house.act("tcp_slow", Act::Defer);
    house.send(&["tcp_slow!a@slow.example"]);
    house.release("slow.example");
    house.wait_got(1);
    house.quiet();
    house.pass(3 * HOUR);
    assert_eq!(house.take_got().len(), 1);
    house.pass(HOUR);
    house.wait_got(1);
}

#[test]
fn a_slave_channel_is_never_run() {
    let house = House::new();
    house.send(&["tcp_called!a@called.example"]);
    house.pass(9 * HOUR);
    let released = house.release("#tcp_called");
    assert_eq!((released.messages, released.channels.len()), (0, 0));
    assert_eq!(house.take_got(), [""; 0]);
    assert_eq!(house.queue(), ["tcp_called/called.example 1"]);
}

#[test]
fn a_channel_without_plugin_keeps_its_mail_and_says_so() {
    let house = House::new();
    house.send(&["odd!a@odd.example"]);
    house.send(&["gone!a@gone.example"]);
    house.pass(9 * HOUR);
    assert_eq!(house.channel("odd").status, ChannelStatus::NoPlugin);
    assert_eq!(house.channel("odd").messages, 1);
    assert_eq!(house.channel("gone").status, ChannelStatus::NotConfigured);
    assert_eq!(house.queue(), ["gone/gone.example 1", "odd/odd.example 1"]);
}

#[test]
fn a_periodic_channel_that_asks_polls_with_nothing_to_send() {
    let house =
        House::with_keywords(&[("tcp_site", "sendetrn hub.example"), ("tcp_slow", "sendetrn hub.example")]);
    house.pass(4 * HOUR);
    house.wait(|| house.polls() == ["tcp_site"], || format!("a poll, there are {:?}", house.polls()));
    // The slow one has no fixed peer: there is nobody to ask.
    house.release("#tcp_site");
    house.wait(
        || house.polls().len() == 2,
        || format!("a poll by the operator, there are {:?}", house.polls()),
    );
    assert_eq!(house.etrn("#tcp_site").messages, 0);
    house.quiet();
    assert_eq!(house.polls().len(), 2, "a peer's ETRN costs no connection");
    assert_eq!(house.channel("tcp_site").jobs, 0);
}

#[test]
fn serviceall_takes_along_what_waits_in_the_channel() {
    for (keyword, expected) in [("serviceall", 2), ("noserviceall", 1)] {
        let house = House::with_keywords(&[("tcp_local", &format!("{keyword} backoff PT1H"))]);
        house.act("tcp_local", Act::Defer);
        house.send(&["tcp_local!old@there.example"]);
        house.wait_got(1);
        house.take_got();
        house.send(&["tcp_local!new@also.there.example"]);
        house.wait_got(expected);
    }
}

#[test]
fn maxjobs_and_threaddepth_bound_what_a_channel_has_under_way() {
    let house = House::with_keywords(&[("tcp_local", "maxjobs 2 threaddepth 3")]);
    house.act("tcp_local", Act::Keep);
    for number in 0..10 {
        house.send(&[&format!("tcp_local!u{number}@there.example")]);
    }
    house.wait(|| house.open_leases() == 2, || format!("two jobs, there are {}", house.open_leases()));
    house.summary();
    assert_eq!(house.channel("tcp_local").jobs, 2);
    let mut ended = 0;
    while ended < 10 {
        house.wait(|| house.kept() > 0, || format!("something kept, {ended} ended: {:?}", house.queue()));
        house.finish_kept(&Act::Deliver);
        ended += 1;
    }
    house.wait_queue(&[]);
    assert_eq!(house.most_leases("tcp_local"), 2);
    assert_eq!(house.channel("tcp_local").jobs, 0);
}

#[test]
fn a_pool_bounds_its_channels_together() {
    let jobs = "[POOL=NARROW]\nJOB_LIMIT=1\n";
    let house =
        House::with(configuration(&[("tcp_local", "pool NARROW"), ("tcp_slow", "pool NARROW")], jobs));
    house.act("tcp_local", Act::Keep);
    house.act("tcp_slow", Act::Keep);
    house.send(&["tcp_local!a@there.example", "tcp_slow!b@slow.example"]);
    house.wait(|| house.kept() == 1, || "one job".to_owned());
    house.release("#tcp_slow");
    house.pass(Duration::from_secs(5));
    assert_eq!(house.kept(), 1, "the pool is full");
    house.finish_kept(&Act::Deliver);
    house.wait(|| house.kept() == 1, || "the other channel's job".to_owned());
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&[]);
}

#[test]
fn a_worker_that_dies_gives_its_deliveries_back() {
    let house = House::with_keywords(&[("tcp_local", "backoff PT5M")]);
    house.act("poison@there.example", Act::Die);
    house.send(&["tcp_local!poison@there.example"]);
    house.wait_got(1);
    house.quiet();
    let entry = &house.list()[0];
    assert_eq!(entry.attempts, 1, "counted, so that a message that kills workers does not do it all day");
    assert!(entry.due.is_some());
    house.act("poison@there.example", Act::Deliver);
    house.pass(5 * MINUTE);
    house.wait_queue(&[]);
}

#[test]
fn recipients_that_a_worker_forgets_are_tried_again() {
    let house = House::with_keywords(&[("tcp_local", "backoff PT5M")]);
    house.act("forgotten@there.example", Act::Forget);
    house.send(&["tcp_local!kept@there.example", "tcp_local!forgotten@there.example"]);
    house.wait_got(1);
    house.take_got();
    house.act("forgotten@there.example", Act::Deliver);
    house.pass(5 * MINUTE);
    house.wait_got(1);
    assert_eq!(house.take_got(), ["tcp_local forgotten@there.example"], "the other one has it already");
}

#[test]
fn an_instance_that_cannot_be_started_is_tried_again_after_a_pause() {
    let house = House::new();
    house.refuse_start(Some("no such file"));
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.channel("tcp_local").status == ChannelStatus::Failed, || "failed".to_owned());
    assert_eq!(house.channel("tcp_local").error.as_deref(), Some("no such file"));
    assert_eq!(house.queue(), ["tcp_local/there.example 1"]);
    house.refuse_start(None);
    house.pass(Duration::from_secs(4));
    assert_eq!(house.channel("tcp_local").status, ChannelStatus::Failed);
    house.pass(Duration::from_secs(1));
    house.wait_queue(&[]);
    assert_eq!(house.channel("tcp_local").error, None);
    assert_eq!(house.got()[0].attempts, 0, "no attempt was made while there was no plugin");
}

#[test]
fn a_lease_that_no_instance_takes_is_offered_again() {
    let house = House::new();
    house.refuse_lease(true);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| !house.started().is_empty(), || "an instance".to_owned());
    house.wait(
        || house.channel("tcp_local").jobs == 0 && house.queue() == ["tcp_local/there.example 1"],
        || "back".to_owned(),
    );
    house.refuse_lease(false);
    house.pass(Duration::from_secs(2));
    house.wait_queue(&[]);
    assert_eq!(house.got()[0].attempts, 0);
}

#[test]
fn an_instance_that_keeps_ending_is_started_less_and_less_often() {
    let house = House::new();
    house.act("tcp_local", Act::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    for (round, pause) in [5, 10, 20].into_iter().enumerate() {
        house.end_instance();
        house.wait(|| house.channel("tcp_local").status == ChannelStatus::Failed, || "failed".to_owned());
        house.refuse_lease(false);
        let why = house.channel("tcp_local").error.unwrap();
        assert_eq!(why, "its plugin refuses the settings: the test says so");
        house.pass(Duration::from_secs(pause - 1));
        assert_eq!(house.channel("tcp_local").status, ChannelStatus::Failed, "round {round}");
        house.pass(Duration::from_secs(1));
        house.wait(|| house.kept() == 1, || format!("a delivery in round {round}"));
    }
    assert_eq!(house.list()[0].attempts, 0);
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&[]);
    assert_eq!(house.channel("tcp_local").error, None);
}

#[test]
fn a_delivery_that_comes_back_without_a_word_is_held() {
    let house = House::new();
    house.act("tcp_local", Act::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    house.forget_kept_recipients();
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&["tcp_local/there.example 1 held 1"]);
}
