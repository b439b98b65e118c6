//! How notices are written, and what they hold of a message; one rule a test.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_mail::{Envelope, Priority, Recipient, Wishes};
use support::{Act, Got, HOUR, House, MINUTE, configuration_with_options};

const SENDER: &str = "sender@there.example";
const POSTMASTER: &str = "postmaster@hub.example";

/// What came to `whom` but the message of the test itself.
fn to(house: &House, whom: &str) -> Vec<Got> {
    house.got().into_iter().filter(|got| got.to.iter().any(|to| to == whom)).collect()
}

fn field<'a>(notice: &'a Got, name: &str) -> Vec<&'a str> {
    notice.content.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

/// A message of four lines, for a recipient that was written otherwise.
fn message(house: &House, sender: &str) -> (Envelope, Vec<u8>) {
    let recipient = Recipient {
        address: "inner.name@there.example".to_owned(),
        original: "a@there.example".to_owned(),
        channel: "tcp_local".to_owned(),
        domain: "there.example".to_owned(),
        ..Recipient::default()
    };
    let envelope = Envelope {
        sender: sender.to_owned(),
        arrived: house.clock_now(),
        source_channel: "tcp_local".to_owned(),
        priority: Priority::Normal,
        eight_bit: false,
        smtputf8: false,
        held: false,
        hold_reason: String::new(),
        deferred_until: None,
        wishes: Wishes::default(),
        recipients: vec![recipient],
    };
    (envelope, b"Subject: test\r\n\r\nline one\r\nline two\r\nline three\r\n".to_vec())
}

/// A house in which that message has failed.
fn failed(keywords: &str, options: &str) -> House {
    let house = House::with(configuration_with_options(&[("tcp_local", keywords)], options));
    house.act("inner.name@there.example", Act::Fail);
    let (envelope, content) = message(&house, SENDER);
    house.submit_content(envelope, content);
    house.wait_queue(&[]);
    house
}

/// A house in which it has been late for two hours.
fn late(keywords: &str, options: &str) -> House {
    let keywords = format!("notices 2 9 backoff PT8H {keywords}");
    let house = House::with(configuration_with_options(&[("tcp_local", &keywords)], options));
    house.act("inner.name@there.example", Act::Defer);
    let (envelope, content) = message(&house, SENDER);
    house.submit_content(envelope, content);
    house.wait_got(1);
    house.pass(2 * HOUR);
    house.pass(MINUTE);
    house.wait(|| !to(&house, SENDER).is_empty(), || format!("a warning, there are {:?}", house.got()));
    house
}

#[test]
fn returnpersonal_and_its_option_name_the_author() {
    for (keywords, options, name) in [
        ("", "", "Mail Delivery System"),
        ("", "RETURN_PERSONAL=The Hub", "The Hub"),
        ("returnpersonal \"Our, Desk\"", "RETURN_PERSONAL=The Hub", "\"Our, Desk\""),
        ("returnpersonal Desk noreturnpersonal", "RETURN_PERSONAL=The Hub", "The Hub"),
    ] {
        let house = failed(keywords, options);
        assert_eq!(field(&to(&house, SENDER)[0], "From"), [format!("{name} <{POSTMASTER}>")], "{keywords}");
    }
}

#[test]
fn suppressfinal_hides_what_became_of_an_address() {
    for (keywords, address) in [
        ("", "inner.name@there.example"),
        ("includefinal", "inner.name@there.example"),
        ("useintermediate", "inner.name@there.example"),
        ("suppressfinal includefinal", "inner.name@there.example"),
        ("suppressfinal", "a@there.example"),
    ] {
        let house = failed(keywords, "");
        let notice = &to(&house, SENDER)[0];
        assert_eq!(field(notice, "Original-Recipient"), ["rfc822; a@there.example"], "{keywords}");
        assert_eq!(field(notice, "Final-Recipient"), [format!("rfc822; {address}")], "{keywords}");
        assert_eq!(notice.content.contains("inner.name"), address.contains("inner"), "{keywords}");
    }
}

#[test]
fn postheadonly_gives_the_postmaster_the_header_and_the_sender_all() {
    for (keywords, whole, copies) in [
        ("sendpost", true, 1),
        ("sendpost postheadbody", true, 1),
        ("sendpost postheadonly", false, 1),
        ("nosendpost postheadonly", false, 0),
    ] {
        let house = failed(keywords, "");
        let told = to(&house, SENDER);
        assert_eq!(told.len(), 1, "{keywords}");
        assert!(told[0].content.contains("line three"), "{keywords}");
        let copy = to(&house, POSTMASTER);
        assert_eq!(copy.len(), copies, "{keywords}");
        for copy in copy {
            assert_eq!(copy.content.contains("line one"), whole, "{keywords}");
            assert_eq!(field(&copy, "Subject").last(), Some(&"test"), "{keywords}");
        }
    }
}

#[test]
fn postheadonly_holds_where_the_postmaster_is_told_alone() {
    let house = House::with_keywords(&[("tcp_local", "sendpost postheadonly")]);
    house.act("inner.name@there.example", Act::Fail);
    let (envelope, content) = message(&house, "");
    house.submit_content(envelope, content);
    house.wait_queue(&[]);
    let copies = to(&house, POSTMASTER);
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert!(!copies[0].content.contains("line one") && copies[0].content.contains("Subject: test"));
}

#[test]
fn content_return_block_limit_leaves_large_messages_out() {
    // The message has more than 40 octets, and fewer than 80.
    for (options, whole) in [
        ("", true),
        ("BLOCK_SIZE=40\nCONTENT_RETURN_BLOCK_LIMIT=2", true),
        ("BLOCK_SIZE=40\nCONTENT_RETURN_BLOCK_LIMIT=1", false),
        ("CONTENT_RETURN_BLOCK_LIMIT=0", false),
    ] {
        let house = failed("nosendpost", options);
        assert_eq!(to(&house, SENDER)[0].content.contains("line three"), whole, "{options}");
        let house = late("nosendpost nowarnpost", options);
        assert_eq!(to(&house, SENDER)[0].content.contains("line one"), whole, "{options}, a warning");
    }
}

#[test]
fn a_notice_is_not_made_too_large_for_the_channel_of_the_sender() {
    for (keywords, whole) in [("blocklimit 2", true), ("blocklimit 1", false)] {
        let house = failed(&format!("nosendpost {keywords}"), "BLOCK_SIZE=40");
        assert_eq!(to(&house, SENDER)[0].content.contains("line three"), whole, "{keywords}");
    }
}

#[test]
fn lines_to_return_is_how_much_a_warning_holds() {
    for (options, first, third) in [
        ("", true, true),
        ("LINES_TO_RETURN=3", true, true),
        ("LINES_TO_RETURN=2", true, false),
        ("LINES_TO_RETURN=0", false, false),
    ] {
        let house = late("nowarnpost", options);
        let warning = &to(&house, SENDER)[0];
        assert_eq!(field(warning, "Action"), ["delayed"]);
        let holds = (warning.content.contains("line one"), warning.content.contains("line three"));
        assert_eq!(holds, (first, third), "{options}");
        let house = failed("nosendpost", options);
        assert!(to(&house, SENDER)[0].content.contains("line three"), "{options}: what is returned is whole");
    }
}

#[test]
fn returnenvelope_gives_notices_a_sender_on_the_way_out() {
    // (keywords, options, sender of a notice, sender of somebody else's)
    for (keywords, options, ours, other) in [
        ("", "", "", ""),
        ("returnenvelope 0", "RETURN_ENVELOPE=1", "", ""),
        ("returnenvelope 1", "", POSTMASTER, ""),
        ("", "RETURN_ENVELOPE=1", POSTMASTER, ""),
        ("returnenvelope 2", "", POSTMASTER, POSTMASTER),
        ("returnenvelope 3 returnaddress desk@hub.example", "", "desk@hub.example", "desk@hub.example"),
        ("returnenvelope 1 notificationchannel tcp_site", "", POSTMASTER, ""),
        ("returnenvelope 4", "", "", ""),
    ] {
        let house = failed(&format!("nosendpost {keywords}"), options);
        assert_eq!(to(&house, SENDER)[0].sender, ours, "{keywords} {options}");
        house.take_got();
        house.send_as("", Priority::Normal, &["tcp_local!b@there.example"]);
        assert_eq!(house.wait_got(1)[0].sender, other, "{keywords} {options}");
        house.take_got();
        house.send_as("c@hub.example", Priority::Normal, &["tcp_local!b@there.example"]);
        assert_eq!(house.wait_got(1)[0].sender, "c@hub.example", "what has a sender keeps it");
    }
}

#[test]
fn a_notice_that_fails_makes_no_notice_whatever_it_was_sent_as() {
    let house = House::with_keywords(&[("tcp_local", "nosendpost returnenvelope 3")]);
    house.act("tcp_local", Act::Fail);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_queue(&[]);
    assert_eq!(house.got().len(), 2, "the message and its notice: {:#?}", house.got());
}

#[test]
fn notificationchannel_is_where_notices_come_from() {
    let rules = format!("there.example $U%$D@TCP-SLOW$Mtcp_site\n{}", support::RULES);
    for (keywords, channel) in [
        ("", "tcp_local"),
        ("notificationchannel tcp_site", "tcp_slow"),
        ("notificationchannel tcp_gone", "tcp_local"),
    ] {
        let keywords = format!("nosendpost {keywords}");
        let house = House::with(support::configuration_with(&rules, &[("tcp_local", &keywords)], ""));
        house.act("a@there.example", Act::Fail);
        house.send(&["tcp_local!a@there.example"]);
        house.wait(
            || house.list().iter().all(|entry| &*entry.channel == "tcp_slow"),
            || format!("the failed message to be gone, {:?}", house.queue()),
        );
        house.release("#tcp_slow");
        house.quiet();
        assert_eq!(to(&house, SENDER)[0].channel, channel, "{keywords}");
    }
}

#[test]
fn each_priority_has_its_ages_and_only_the_last_ends_it() {
    // RETURN_UNITS=1: hours. The general keyword stands first, as it sets all three.
    let keywords = "notices 2 4 6 urgentnotices 1 2 nonurgentnotices 5 nowarnpost nosendpost";
    // (priority, whole hours after which a notice is there and what it says)
    for (priority, expected) in [
        (Priority::Urgent, "1 delayed, 2 failed"),
        (Priority::Normal, "2 delayed, 4 delayed, 6 failed"),
        (Priority::Nonurgent, "5 failed"),
    ] {
        let house = House::with_keywords(&[("tcp_slow", keywords)]);
        house.act("tcp_slow", Act::Defer);
        house.send_as(SENDER, priority, &["tcp_slow!a@slow.example"]);
        let mut seen = Vec::new();
        house.pass(MINUTE);
        for hours in 1..=7 {
            house.pass(HOUR);
            let due = expected.split(", ").filter(|one| one[..1].parse::<u32>().unwrap() <= hours).count();
            house.wait(
                || to(&house, SENDER).len() >= due,
                || format!("{due} notices after {hours} hours, there are {:?}", house.got()),
            );
            house.quiet();
            let notices = to(&house, SENDER);
            seen.extend(
                notices[seen.len()..].iter().map(|one| format!("{hours} {}", field(one, "Action")[0])),
            );
        }
        assert_eq!(seen.join(", "), expected, "{priority:?}");
        house.wait_queue(&[]);
    }
}
