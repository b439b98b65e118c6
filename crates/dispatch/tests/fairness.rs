//! Whoever asks for mail gets the first of it soon, however much others have asked for before.
//!
//! What is counted is deliveries, not time: on a channel with one job, and a far side that takes 20 messages a second, 20
//! deliveries are the second within which the first of it has to go.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;

use sluice_dispatch::{Order, Peer, Released, Requester, Selector};
use support::{Act, House, read};

/// Deliveries of others that may go first.
const A_SECOND: usize = 20;

/// A peer at this address asks for a domain.
fn ask(house: &House, address: &str, domain: &str) -> Released {
    let peer = Peer {
        source_channel: "tcp_local".to_owned(),
        address: address.to_owned(),
        helo: "site.example".to_owned(),
        login: None,
        argument: domain.to_owned(),
    };
    house.order(Order::new(Selector::Host(domain.to_owned()), Requester::Etrn(peer)))
}

/// Lets deliveries go, one after the other, until one for this domain is under way: how many went before it.
fn before(house: &House, domain: &str) -> usize {
    let from = house.got().len();
    for count in 0.. {
        house.wait(|| house.kept() > 0, || format!("delivery {count}"));
        if house.got()[from..].iter().any(|got| got.domain == domain) {
            return count;
        }
        house.finish_kept(&Act::Deliver);
    }
    unreachable!()
}

fn send(house: &House, count: usize, recipients: &[&str]) {
    for _ in 0..count {
        house.send(recipients);
    }
}

#[test]
fn a_site_with_a_thousand_domains_does_not_keep_another_waiting() {
    for (leases, by_schedule) in [(0, false), (7, false), (150, false), (7, true)] {
        let house = House::with_keywords(&[("tcp_slow", "maxjobs 1")]);
        let domains: Vec<String> = (0..1000).map(|number| format!("s{number}.slow.example")).collect();
        let recipients: Vec<String> = domains.iter().map(|domain| format!("tcp_slow!a@{domain}")).collect();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        send(&house, 3, &recipients);
        send(&house, 50, &["tcp_slow!b@other.slow.example"]);
        house.act("tcp_slow", Act::Keep);
        if by_schedule {
            assert_eq!(house.release("#tcp_slow").messages, 53);
        }
        for domain in &domains {
            assert_eq!(ask(&house, "192.0.2.1", domain).messages, 3);
        }
        for _ in 0..leases {
            house.wait(|| house.kept() > 0, || "a delivery under way".to_owned());
            house.finish_kept(&Act::Deliver);
        }
        assert!(ask(&house, "192.0.2.2", "other.slow.example").messages > 0);
        let before = before(&house, "other.slow.example");
        assert!(before <= A_SECOND, "{leases}, {by_schedule}: {before} deliveries went before it");
    }
}

#[test]
fn a_site_with_many_channels_does_not_keep_one_of_the_same_pool_waiting() {
    const CHANNELS: usize = 100;
    let mut text = String::new();
    for n in 0..=CHANNELS {
        let _ = writeln!(text, "site{n}.example $U%$D@TCP-SITE{n}");
    }
    text.push_str("hub.example $U@hub.example\n\nl\nhub.example\n\ntcp_local smtp\nTCP-DAEMON\n");
    for n in 0..=CHANNELS {
        let _ = write!(text, "\ntcp_site{n} smtp daemon site{n}.example periodic pool narrow\nTCP-SITE{n}\n");
    }
    let house = House::with(read(&text, "[POOL=narrow]\nJOB_LIMIT=1\n"));
    for n in 0..=CHANNELS {
        send(&house, 12, &[&format!("tcp_site{n}!a@site{n}.example")]);
    }
    (0..=CHANNELS).for_each(|n| house.act(&format!("tcp_site{n}"), Act::Keep));
    let last = format!("site{CHANNELS}.example");
    // Its plugin runs already: how long that takes is not what is counted.
    send(&house, 1, &[&format!("tcp_site{CHANNELS}!first@{last}")]);
    assert_eq!(ask(&house, "192.0.2.2", &last).messages, 13);
    for _ in 0..13 {
        house.wait(|| house.kept() > 0, || "a delivery under way".to_owned());
        house.finish_kept(&Act::Deliver);
    }
    // The release is over, or what comes now would go with it.
    house.quiet();
    send(&house, 12, &[&format!("tcp_site{CHANNELS}!a@{last}")]);
    for n in 0..CHANNELS {
        ask(&house, "192.0.2.1", &format!("site{n}.example"));
    }
    for _ in 0..15 {
        house.wait(|| house.kept() > 0, || "a delivery under way".to_owned());
        house.finish_kept(&Act::Deliver);
    }
    assert_eq!(ask(&house, "192.0.2.2", &last).messages, 12);
    let before = before(&house, &last);
    assert!(before <= A_SECOND, "{before} deliveries went before it");
}
