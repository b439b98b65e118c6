//! What a sender wishes to be told (RFC 3461), and what it is told.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_mail::{Envelope, LaterRelease, Notify, Recipient, RecipientWishes, Return, Wishes};
use support::{Act, Got, HOUR, House, MINUTE, configuration_with_options};

const SENDER: &str = "sender@there.example";
const POSTMASTER: &str = "postmaster@hub.example";

fn to(house: &House, whom: &str) -> Vec<Got> {
    house.got().into_iter().filter(|got| got.to.iter().any(|to| to == whom)).collect()
}

fn field<'a>(notice: &'a Got, name: &str) -> Vec<&'a str> {
    notice.content.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

/// A message for recipients with these values of NOTIFY, `-` for none.
fn envelope(house: &House, sender: &str, recipients: &[(&str, &str)]) -> Envelope {
    let recipient = |(address, notify): &(&str, &str)| Recipient {
        address: (*address).to_owned(),
        original: (*address).to_owned(),
        channel: "tcp_local".to_owned(),
        domain: "there.example".to_owned(),
        wishes: RecipientWishes {
            notify: Notify::parse(notify).unwrap_or_default(),
            original: format!("rfc822;of+2B{address}"),
        },
    };
    Envelope {
        sender: sender.to_owned(),
        arrived: house.clock_now(),
        source_channel: "tcp_local".to_owned(),
        wishes: Wishes { envelope_id: "QQ+2B314159".to_owned(), ..Wishes::default() },
        recipients: recipients.iter().map(recipient).collect(),
        ..Envelope::default()
    }
}

const CONTENT: &[u8] = b"Subject: test\r\n\r\nline one\r\n";

fn house(keywords: &str, acts: &[(&str, Act)]) -> House {
    let house = House::with(configuration_with_options(&[("tcp_local", keywords)], ""));
    for (address, act) in acts {
        house.act(address, act.clone());
    }
    house
}

/// What the sender is told when that has become of a recipient with this NOTIFY: one line for each notice.
fn told(notify: &str, act: Act) -> Vec<String> {
    let house = house("nosendpost", &[("a@there.example", act)]);
    house.submit_content(envelope(&house, SENDER, &[("a@there.example", notify)]), CONTENT.to_vec());
    house.wait_queue(&[]);
    to(&house, SENDER).iter().map(|notice| field(notice, "Action").join(" ")).collect()
}

#[test]
fn success_is_told_to_those_who_asked_and_by_whom_it_concerns() {
    let nothing: [String; 0] = [];
    assert_eq!(told("-", Act::Deliver), nothing);
    assert_eq!(told("FAILURE,DELAY", Act::Deliver), nothing);
    assert_eq!(told("NEVER", Act::Relay), nothing);
    assert_eq!(told("SUCCESS", Act::Deliver), ["delivered"]);
    assert_eq!(told("SUCCESS,FAILURE", Act::Relay), ["relayed"]);
    assert_eq!(told("SUCCESS", Act::PassOn), nothing, "the next system tells them");
}

#[test]
fn failures_are_told_unless_the_sender_asked_for_other_things() {
    let nothing: [String; 0] = [];
    assert_eq!(told("-", Act::Fail), ["failed"]);
    assert_eq!(told("FAILURE", Act::Fail), ["failed"]);
    assert_eq!(told("NEVER", Act::Fail), nothing);
    assert_eq!(told("SUCCESS,DELAY", Act::Fail), nothing);
}

#[test]
fn one_notice_tells_of_all_that_was_asked_for() {
    let acts = [
        ("a@there.example", Act::Relay),
        ("b@there.example", Act::Fail),
        ("c@there.example", Act::Fail),
        ("d@there.example", Act::Deliver),
    ];
    let house = house("sendpost", &acts);
    let all = [
        ("a@there.example", "SUCCESS"),
        ("b@there.example", "FAILURE"),
        ("c@there.example", "NEVER"),
        ("d@there.example", "FAILURE"),
    ];
    house.submit_content(envelope(&house, SENDER, &all), CONTENT.to_vec());
    house.wait_queue(&[]);
    let notices = to(&house, SENDER);
    assert_eq!(notices.len(), 1);
    assert_eq!(field(&notices[0], "Action"), ["relayed", "failed"]);
    let originals = ["rfc822; of+a@there.example", "rfc822; of+b@there.example"];
    assert_eq!(field(&notices[0], "Original-Recipient"), originals);
    assert_eq!(field(&notices[0], "Original-Envelope-Id"), ["QQ+314159"]);
    assert_eq!(to(&house, POSTMASTER).len(), 1, "something has failed");
    // Word of success alone is nothing to the postmaster.
    house.submit_content(envelope(&house, SENDER, &[("a@there.example", "SUCCESS")]), CONTENT.to_vec());
    house.wait_queue(&[]);
    assert_eq!((to(&house, SENDER).len(), to(&house, POSTMASTER).len()), (2, 1));
}

#[test]
fn nothing_is_told_about_notices_whatever_was_asked() {
    let house = house("nosendpost", &[("a@there.example", Act::Deliver)]);
    house.submit_content(envelope(&house, "", &[("a@there.example", "SUCCESS")]), CONTENT.to_vec());
    house.wait_queue(&[]);
    assert_eq!(house.got().len(), 1);
}

#[test]
fn a_bounced_notice_comes_to_the_postmaster_although_it_says_never() {
    let house = house("sendpost", &[("a@there.example", Act::Fail)]);
    house.submit_content(envelope(&house, "", &[("a@there.example", "NEVER")]), CONTENT.to_vec());
    house.wait_queue(&[]);
    assert_eq!(to(&house, POSTMASTER).len(), 1);
}

#[test]
fn the_end_of_the_last_age_is_told_to_those_who_want_to_hear_of_failures() {
    let house = house("notices 2 9 backoff PT20H nosendpost nowarnpost", &[("tcp_local", Act::Defer)]);
    let all = [("a@there.example", "NEVER"), ("b@there.example", "DELAY"), ("c@there.example", "FAILURE")];
    house.act(SENDER, Act::Deliver);
    house.submit_content(envelope(&house, SENDER, &all), CONTENT.to_vec());
    house.wait_got(1);
    house.pass(2 * HOUR);
    house.pass(MINUTE);
    house.wait(|| to(&house, SENDER).len() == 1, || format!("a warning: {:?}", house.got()));
    assert_eq!(field(&to(&house, SENDER)[0], "Original-Recipient"), ["rfc822; of+b@there.example"]);
    house.pass(7 * HOUR);
    house.pass(MINUTE);
    house.wait(|| to(&house, SENDER).len() == 2, || format!("the end: {:?}", house.got()));
    assert_eq!(field(&to(&house, SENDER)[1], "Original-Recipient"), ["rfc822; of+c@there.example"]);
    house.wait_queue(&[]);
}

#[test]
fn the_sender_says_how_much_comes_back() {
    for (returned, act, notify, whole) in [
        (None, Act::Fail, "-", true),
        (Some(Return::Full), Act::Fail, "-", true),
        (Some(Return::Headers), Act::Fail, "-", false),
        (Some(Return::Full), Act::Deliver, "SUCCESS", false),
    ] {
        let house = house("nosendpost", &[("a@there.example", act)]);
        let mut envelope = envelope(&house, SENDER, &[("a@there.example", notify)]);
        envelope.wishes.returned = returned;
        house.submit_content(envelope, CONTENT.to_vec());
        house.wait_queue(&[]);
        let notice = &to(&house, SENDER)[0];
        assert_eq!(notice.content.contains("line one"), whole, "{returned:?}");
        assert!(notice.content.contains("Subject: test"));
    }
}

#[test]
fn what_some_got_and_others_not_is_tried_once_more_at_once() {
    let acts = [("a@there.example", Act::Deliver), ("b@there.example", Act::Defer)];
    let house = house("backoff PT1H nosendpost", &acts);
    let both = [("a@there.example", "-"), ("b@there.example", "-")];
    house.submit_content(envelope(&house, SENDER, &both), CONTENT.to_vec());
    house.wait_got(2);
    let got = house.got();
    assert_eq!((got[0].to.len(), got[1].to.as_slice()), (2, &["b@there.example".to_owned()][..]));
    // The second attempt has brought nothing: now it waits.
    house.pass(MINUTE);
    assert_eq!(house.got().len(), 2);
    house.pass(HOUR);
    house.wait_got(3);
}

#[test]
fn nobody_is_warned_of_a_delay_that_was_asked_for() {
    let day = 24 * HOUR;
    let house = house("nosendpost nowarnpost notices 24 48", &[("a@there.example", Act::Defer)]);
    let mut envelope = envelope(&house, SENDER, &[("a@there.example", "")]);
    envelope.deferred_until = Some(envelope.arrived.plus(3 * day));
    envelope.wishes.later = Some(LaterRelease::For(3 * 86_400));
    house.submit_content(envelope, CONTENT.to_vec());
    house.wait_queue(&["tcp_local/there.example 1"]);
    for _ in 0..5 {
        house.pass(day / 2);
    }
    assert_eq!(to(&house, SENDER).len(), 0, "it is held and not late");
    house.pass(day / 2);
    house.wait(|| house.list()[0].attempts > 0, || "an attempt after its release".to_owned());
    house.pass(day + HOUR);
    house.wait(|| !to(&house, SENDER).is_empty(), || "a warning".to_owned());
    let notice = &to(&house, SENDER)[0];
    assert_eq!(field(notice, "Action"), ["delayed"], "{}", notice.content);
    assert_eq!(field(notice, "Future-Release-Request"), ["for;259200"]);
}
