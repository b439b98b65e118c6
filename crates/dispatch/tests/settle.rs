//! What becomes of recipients: delivered, deferred, failed, told of, given up, held; and what a restart remembers.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sluice_dispatch::{ChannelStatus, CommitError};
use sluice_mail::{Envelope, Priority, Time, Wishes};
use support::{Act, Got, HOUR, House, MINUTE, configuration};

/// The notices that reached `whom`, and nothing else.
fn notices_to(house: &House, whom: &str) -> Vec<Got> {
    house
        .got()
        .into_iter()
        .filter(|got| got.sender.is_empty() && got.to.iter().any(|to| to == whom))
        .collect()
}

fn field<'a>(notice: &'a Got, name: &str) -> Vec<&'a str> {
    notice.content.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[test]
fn each_recipient_of_a_message_is_settled_by_itself() {
    let house = House::with_keywords(&[("tcp_local", "backoff PT5M nosendpost")]);
    house.act("late@there.example", Act::Defer);
    house.act("nobody@there.example", Act::Fail);
    house.send(&[
        "tcp_local!good@there.example",
        "tcp_local!late@there.example",
        "tcp_local!nobody@there.example",
    ]);
    // The message, the notice, and at once the message again for the one that was put off.
    house.wait_got(3);
    house.quiet();
    assert_eq!(house.queue(), ["tcp_local/there.example 1"]);
    assert_eq!(house.list()[0].open.as_deref(), Some(&[1][..]));
    let notices = notices_to(&house, "sender@there.example");
    assert_eq!(notices.len(), 1);
    assert_eq!(field(&notices[0], "Original-Recipient"), ["rfc822; nobody@there.example"]);
    assert_eq!(field(&notices[0], "Action"), ["failed"]);
    assert_eq!(field(&notices[0], "Status"), ["5.1.1"]);
    assert_eq!(field(&notices[0], "Diagnostic-Code"), ["smtp; 550 no such user"]);
    assert_eq!(field(&notices[0], "Subject")[1], "test", "the message is with it");
    house.take_got();
    house.act("late@there.example", Act::Deliver);
    house.pass(5 * MINUTE);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_local late@there.example"]);
}

#[test]
fn one_notice_tells_of_all_that_failed_in_an_attempt() {
    let house = House::with_keywords(&[("tcp_local", "nosendpost")]);
    house.act("a@there.example", Act::Fail);
    house.act("b@there.example", Act::Fail);
    house.send(&["tcp_local!a@there.example", "tcp_local!b@there.example"]);
    house.wait_queue(&[]);
    let notices = notices_to(&house, "sender@there.example");
    assert_eq!(notices.len(), 1);
    assert_eq!(field(&notices[0], "Final-Recipient"), ["rfc822; a@there.example", "rfc822; b@there.example"]);
}

#[test]
fn the_postmaster_gets_copies_as_the_channel_says() {
    // (keyword, sender, the sender is told, the postmaster is told)
    let cases = [
        ("sendpost", "sender@there.example", true, true),
        ("sendpost", "", false, true),
        ("copysendpost", "sender@there.example", true, true),
        ("copysendpost", "", false, false),
        ("errsendpost", "sender@there.example", true, false),
        ("errsendpost", "", false, true),
        ("nosendpost", "sender@there.example", true, false),
        ("nosendpost", "", false, false),
        ("errsendpost", "sender@nowhere.test", false, true),
    ];
    for (keyword, sender, told, postmaster) in cases {
        let house = House::with_keywords(&[("tcp_local", keyword)]);
        house.act("a@there.example", Act::Fail);
        house.send_as(sender, Priority::Normal, &["tcp_local!a@there.example"]);
        house.wait_queue(&[]);
        assert_eq!(notices_to(&house, sender).len(), usize::from(told), "{keyword} {sender}");
        let copies = notices_to(&house, "postmaster@hub.example").len();
        assert_eq!(copies, usize::from(postmaster), "{keyword} {sender}");
    }
}

#[test]
fn a_notice_that_fails_makes_no_notice() {
    let house = House::with_keywords(&[("tcp_local", "nosendpost")]);
    house.act("tcp_local", Act::Fail);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_queue(&[]);
    assert_eq!(house.got().len(), 2, "the message and its notice: {:#?}", house.got());
}

#[test]
fn a_message_whose_sender_cannot_be_told_is_held() {
    let mut house = House::with_keywords(&[("tcp_local", "nosendpost")]);
    house.act("a@there.example", Act::Fail);
    house.send_as("sender@nowhere.test", Priority::Normal, &["tcp_local!a@there.example"]);
    house.wait_queue(&["tcp_local/there.example 1 held 1"]);
    house.release("#tcp_local");
    house.pass(30 * HOUR);
    assert_eq!(house.queue(), ["tcp_local/there.example 1 held 1"]);
    house.restart();
    assert_eq!(house.queue(), ["tcp_local/there.example 1 held 1"], "nor does a restart let it go");
}

#[test]
fn notices_ages_warn_and_then_end_it() {
    // RETURN_UNITS=1: hours.
    let house = House::with_keywords(&[("tcp_slow", "notices 2 5 8 nowarnpost nosendpost")]);
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@slow.example"]);
    house.act("tcp_slow", Act::Defer);
    let passed = |hours: u32, expected: usize| {
        house.pass(MINUTE);
        house.wait(
            || notices_to(&house, "sender@there.example").len() == expected,
            || format!("{expected} notices after {hours} hours, there are {:#?}", house.got()),
        );
    };
    house.pass(HOUR);
    passed(1, 0);
    house.pass(HOUR);
    passed(2, 1);
    passed(2, 1);
    // Two services at four hours each pass meanwhile, and change nothing.
    house.pass(3 * HOUR);
    passed(5, 2);
    let notices = notices_to(&house, "sender@there.example");
    for notice in &notices {
        assert_eq!(field(notice, "Action"), ["delayed", "delayed"]);
        assert_eq!(field(notice, "Status"), ["4.4.7", "4.4.7"]);
        assert_eq!(field(notice, "Will-Retry-Until").len(), 2);
    }
    assert_eq!(house.queue(), ["tcp_slow/slow.example 1"]);
    house.pass(3 * HOUR);
    house.wait_queue(&[]);
    passed(8, 3);
    let last = notices_to(&house, "sender@there.example").pop().unwrap();
    assert_eq!(field(&last, "Action"), ["failed", "failed"]);
    assert!(last.content.contains("could not be delivered within 8 hours"), "{}", last.content);
}

#[test]
fn ages_count_in_channels_that_nobody_runs_and_not_for_what_is_held() {
    let house = House::with_keywords(&[
        ("l", "notices 6 nosendpost"),
        ("tcp_called", "notices 6 nosendpost"),
        ("odd", "notices 6 nosendpost"),
        ("tcp_slow", "notices 6 nosendpost holdlimit 1"),
    ]);
    house.send(&["tcp_called!a@called.example"]);
    house.send(&["odd!a@odd.example"]);
    house.send(&["gone!a@gone.example"]);
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@slow.example"]);
    house.pass(6 * HOUR);
    house.pass(MINUTE);
    house.wait_queue(&["tcp_slow/slow.example 1 held 1"]);
    assert_eq!(notices_to(&house, "sender@there.example").len(), 3);
}

#[test]
fn a_retry_after_the_last_age_is_the_last() {
    let house = House::with_keywords(&[("tcp_local", "backoff PT1H notices 2 nosendpost")]);
    house.act("a@there.example", Act::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    house.pass(3 * HOUR);
    assert_eq!(house.queue(), ["tcp_local/there.example 1 active 1"], "what is under way is left alone");
    house.finish_kept(&Act::Defer);
    house.wait_queue(&[]);
    assert_eq!(notices_to(&house, "sender@there.example").len(), 1);
}

#[test]
fn a_restart_keeps_attempts_due_times_settled_recipients_and_holds() {
    let mut house = House::with_keywords(&[("tcp_local", "backoff PT5M PT1H"), ("tcp_slow", "holdlimit 1")]);
    house.act("late@there.example", Act::Defer);
    house.send(&["tcp_local!good@there.example", "tcp_local!late@there.example"]);
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@slow.example"]);
    house.send(&["tcp_site!untouched@site.example", "tcp_slow!also@mail.slow.example"]);
    house.wait_got(2);
    house.take_got();
    let before = house.list();
    let queue = house.queue();
    assert_eq!(
        queue,
        [
            "tcp_local/there.example 1",
            "tcp_site/site.example 1",
            "tcp_slow/mail.slow.example 1",
            "tcp_slow/slow.example 1 held 1"
        ]
    );
    for _ in 0..2 {
        house.restart();
        assert_eq!(house.queue(), queue);
        assert_eq!(house.list(), before);
    }
    house.act("late@there.example", Act::Deliver);
    house.pass(5 * MINUTE);
    house.wait_got(1);
    assert_eq!(house.got()[0].attempts, 2);
    assert_eq!(
        house.take_got(),
        ["tcp_local late@there.example"],
        "the one that has it gets it no second time"
    );
    // The limit is gone from the configuration; the hold stays.
    house.restart_with(configuration(&[], ""));
    house.release("#tcp_slow");
    house.wait_queue(&["tcp_site/site.example 1", "tcp_slow/slow.example 1 held 1"]);
}

#[test]
fn a_stop_with_deliveries_under_way_loses_none() {
    let mut house = House::new();
    house.act("a@there.example", Act::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    let started = std::time::Instant::now();
    house.stop();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(house.stopped(), ["tcp_local"]);
    house.act("a@there.example", Act::Deliver);
    house.start();
    house.wait_queue(&[]);
    assert_eq!(house.got().len(), 2);
}

#[test]
fn a_stop_waits_for_a_delivery_that_ends_in_time() {
    let mut house = House::new();
    house.act("a@there.example", Act::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    std::thread::scope(|scope| {
        let handle = house.handle().clone();
        let stopping = scope.spawn(move || handle.stop(Duration::from_secs(10)));
        house.wait(|| house.stopped() == ["tcp_local"], || "the instance to be told".to_owned());
        house.finish_kept(&Act::Deliver);
        stopping.join().unwrap();
    });
    house.start_again();
    assert_eq!(house.queue(), [""; 0]);
    assert_eq!(house.got().len(), 1);
}

#[test]
fn after_a_stop_nothing_is_taken() {
    let house = House::new();
    let handle = house.handle().clone();
    handle.stop(Duration::from_secs(5));
    let envelope = Envelope {
        hold_reason: String::new(),
        sender: String::new(),
        arrived: Time(0),
        source_channel: String::new(),
        priority: Priority::Normal,
        eight_bit: false,
        smtputf8: false,
        held: false,
        deferred_until: None,
        wishes: Wishes::default(),
        recipients: Vec::new(),
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    handle.submit(envelope, Vec::new(), move |result| sender.send(result).unwrap());
    let error = receiver.recv_timeout(Duration::from_secs(5)).unwrap().unwrap_err();
    assert!(matches!(error, CommitError::Stopping));
    assert_eq!(error.refusal().code, 421);
    assert!(handle.summarize().is_err());
    handle.stop(Duration::from_secs(5));
}

#[test]
fn a_message_for_nobody_is_refused() {
    let house = House::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let envelope = Envelope {
        hold_reason: String::new(),
        sender: "s@there.example".to_owned(),
        arrived: Time(0),
        source_channel: "tcp_local".to_owned(),
        priority: Priority::Normal,
        eight_bit: false,
        smtputf8: false,
        held: false,
        deferred_until: None,
        wishes: Wishes::default(),
        recipients: Vec::new(),
    };
    house.handle().submit(envelope, b"x\r\n".to_vec(), move |result| sender.send(result).unwrap());
    let error = receiver.recv_timeout(Duration::from_secs(5)).unwrap().unwrap_err();
    assert!(matches!(error, CommitError::NoRecipients));
}

#[test]
fn a_reload_restarts_what_changed_and_keeps_the_mail_of_what_is_gone() {
    let mut house = House::with_keywords(&[("tcp_slow", "port 2525")]);
    house.send(&["tcp_local!a@there.example"]);
    house.send(&["tcp_slow!a@slow.example"]);
    house.release("#tcp_slow");
    house.wait_queue(&[]);
    house.reload(configuration(&[("tcp_slow", "port 2526")], ""));
    house.wait(
        || house.stopped() == ["tcp_slow"],
        || format!("the changed one to stop, {:?}", house.stopped()),
    );
    assert_eq!(house.channel("tcp_local").status, ChannelStatus::Running, "the other one goes on");
    house.pass(MINUTE);
    house.send(&["tcp_slow!b@slow.example"]);
    house.release("#tcp_slow");
    house.wait_queue(&[]);
    let ports: Vec<_> =
        house.started().iter().filter_map(|instance| instance.keywords.get("port").cloned()).collect();
    assert_eq!(ports, ["2525", "2526"]);

    house.pass(MINUTE);
    house.send(&["tcp_site!c@site.example"]);
    let text = "there.example $U%$D@TCP-DAEMON\n\nl\nhub.example\n\ntcp_local smtp\nTCP-DAEMON\n";
    house.reload(support::read(text, ""));
    assert_eq!(house.channel("tcp_site").status, ChannelStatus::NotConfigured);
    assert_eq!(house.release("#tcp_site").messages, 0);
    assert_eq!(house.queue(), ["tcp_site/site.example 1"]);
    house.reload(configuration(&[], ""));
    assert_eq!(house.release("#tcp_site").messages, 1);
    house.wait_queue(&[]);
}

#[test]
fn a_channel_that_becomes_immediate_lets_its_mail_go() {
    let mut house = House::new();
    house.send(&["tcp_site!a@site.example"]);
    let text =
        "site.example $U%$D@TCP-SITE\n\nl\nhub.example\n\ntcp_site smtp daemon peer.example\nTCP-SITE\n";
    house.reload(support::read(text, ""));
    house.wait_queue(&[]);
}

#[test]
fn what_cannot_be_read_is_held_and_the_rest_goes_on() {
    let mut house = House::new();
    house.send(&["tcp_slow!first@slow.example"]);
    house.send(&["tcp_slow!second@slow.example"]);
    house.stop();
    house.damage("first@slow.example");
    house.start();
    house.release("slow.example");
    house.wait(|| !house.got().is_empty(), || "the other one".to_owned());
    house.quiet();
    assert_eq!(house.take_got(), ["tcp_slow second@slow.example"]);
    assert_eq!(house.queue(), ["tcp_slow/slow.example 1 held 1"]);
}

#[test]
fn several_instances_of_mail_in_flight_at_a_crash_come_back() {
    // A crash is a spool whose lock is let go without a word from the dispatcher: the handle is forgotten, and the next
    // house reads what the disk has.
    let mut house = House::new();
    for number in 0..50 {
        house.send(&[&format!("tcp_slow!u{number}@slow.example")]);
    }
    house.copy_and_start_from_copy();
    assert_eq!(house.queue(), ["tcp_slow/slow.example 50"]);
    house.release("slow.example");
    house.wait_queue(&[]);
    assert_eq!(house.take_got().len(), 50);
}
