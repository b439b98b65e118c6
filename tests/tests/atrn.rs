//! ATRN (RFC 2645): a site takes its mail over the connection that it has opened.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use sluice_sasl::Mechanism;
use sluice_testkit::{Manner, Sink, Site, Talk, message, watch};
use sluice_tests::{Destination, SOON, WHILE, arrived, configuration, log_in, password, send};

const SITES: &str = "[SITE=site7]\nDOMAINS=@site7.example\nLOGIN=fred\nTIER=turned\n\
                     [SITE=ship]\nDOMAINS=ship.example\nLOGIN=fred\nTIER=turned\n\
                     [SITE=other]\nDOMAINS=other.example\nLOGIN=ginger\nTIER=turned\n\
                     [SITE=static]\nDOMAINS=static.example\nLOGIN=fred\nTARGET=[192.0.2.1]\n";

/// A provider with mail for three sites, and its service ODMR. Nothing listens where the channel would connect to.
fn provider(name: &str) -> Site {
    let hub = Site::new(name);
    let held = [
        Destination::held("tcp_sites", "site7.example", 9),
        Destination::held("tcp_ship", "ship.example", 9),
        Destination::held("tcp_other", "other.example", 9),
        Destination::held("tcp_static", "static.example", 9),
    ];
    hub.write("sluice.cnf", &configuration("", &held));
    hub.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\n");
    hub.write("sites.cnf", SITES);
    let dispatcher = std::fs::read_to_string(hub.configuration().join("dispatcher.cnf")).unwrap();
    let odmr = sluice_testkit::free_port();
    hub.write(
        "dispatcher.cnf",
        &format!("{dispatcher}\n[SERVICE=ODMR]\nINTERFACE_ADDRESS=127.0.0.1\nPORT={odmr}\n"),
    );
    for user in ["fred", "ginger"] {
        assert_eq!(password(&hub, &["set", user, "--cram-md5"], "pencil").code, 0);
    }
    hub
}

fn odmr(hub: &Site) -> SocketAddr {
    let text = std::fs::read_to_string(hub.configuration().join("dispatcher.cnf")).unwrap();
    let port = text.rsplit("PORT=").next().unwrap().trim().parse().unwrap();
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn customer(hub: &Site, name: &str) -> Talk {
    let (mut talk, greeting) = Talk::open(odmr(hub)).unwrap();
    assert_eq!(greeting.code, 220);
    let offers = talk.want("EHLO site7.example", 250);
    assert!(offers.offers("ATRN") && offers.offers("AUTH") && !offers.offers("SIZE"), "{offers}");
    assert_eq!(log_in(&mut talk, Mechanism::CramMd5, name, "pencil").code, 235);
    talk
}

#[test]
fn row_6_1_exactly_the_requested_domains_come_over_the_same_connection() {
    let mut hub = provider("atrn");
    hub.start();
    send(&hub, "a@site7.example", 0, 20);
    send(&hub, "b@pc.site7.example", 20, 5);
    send(&hub, "c@ship.example", 25, 3);
    send(&hub, "d@other.example", 28, 1);
    let (mut stranger, _) = Talk::open(odmr(&hub)).unwrap();
    stranger.want("EHLO site7.example", 250);
    stranger.want("ATRN site7.example", 530);
    stranger.want("MAIL FROM:<>", 502);

    let mut talk = customer(&hub, "fred");
    // One that is another's, and nothing is sent.
    assert_eq!(
        talk.want("ATRN site7.example,other.example", 450).text(),
        "4.7.1 ATRN request refused: other.example is not yours to take"
    );
    talk.want("ATRN nowhere.example", 450);
    talk.want("ATRN static.example", 450);
    talk.want("ATRN @site7.example", 501);
    assert_eq!(talk.want("ATRN site7.example", 250).text(), "2.0.0 OK now reversing the connection");
    let here = Sink::start();
    here.take(talk.into_stream());
    assert_eq!(arrived(&here, 20), (0..20).collect::<Vec<_>>());
    watch("nothing else comes", WHILE, || here.count() == 20);
    assert_eq!(here.commands().last().map(String::as_str), Some("QUIT"));
    let commands = here.commands();
    assert!(
        commands.iter().all(|line| !line.starts_with("AUTH")
            && !line.starts_with("STARTTLS")
            && !line.starts_with("ETRN")),
        "{commands:?}"
    );

    // Without a domain: all that the login may have.
    let mut talk = customer(&hub, "fred");
    talk.want("ATRN pc.site7.example", 250);
    here.clear();
    here.take(talk.into_stream());
    assert_eq!(arrived(&here, 5), (20..25).collect::<Vec<_>>());
    hub.wait_for_waiting(Some("tcp_sites"), 0, SOON);
    let mut talk = customer(&hub, "fred");
    talk.want("ATRN", 250);
    here.clear();
    here.take(talk.into_stream());
    assert_eq!(arrived(&here, 3), (25..28).collect::<Vec<_>>());
    hub.wait_for_waiting(Some("tcp_ship"), 0, SOON);
    customer(&hub, "fred").want("ATRN", 453);
    assert_eq!(hub.waiting(Some("tcp_other")), 1);
    hub.stop();
}

#[test]
fn the_mail_of_all_channels_comes_in_one_session_channel_after_channel() {
    let mut hub = provider("atrn-channels");
    hub.start();
    send(&hub, "a@site7.example", 0, 7);
    send(&hub, "b@ship.example", 7, 30);
    send(&hub, "c@pc.site7.example", 37, 3);
    // A message for two of its domains, on two channels, comes for each.
    let mut sender = hub.talk();
    let both = sender.deliver("s@client.example", &["x@site7.example", "y@ship.example"], &message(40, 50));
    assert_eq!(both.unwrap().code, 250);
    send(&hub, "d@other.example", 41, 2);
    let here = Sink::start();
    let mut talk = customer(&hub, "fred");
    talk.want("ATRN", 250);
    here.take(talk.into_stream());
    let mut expected: Vec<usize> = (0..41).collect();
    expected.push(40);
    assert_eq!(arrived(&here, 42), expected);
    hub.wait_for_waiting(Some("tcp_sites"), 0, SOON);
    hub.wait_for_waiting(Some("tcp_ship"), 0, SOON);
    sluice_testkit::wait_until(SOON, || here.commands().iter().any(|line| line == "QUIT").then_some(()))
        .expect("the provider takes its leave");
    let commands = here.commands();
    let count = |verb: &str| commands.iter().filter(|line| line.starts_with(verb)).count();
    assert_eq!((here.connections(), count("QUIT")), (1, 1), "{commands:?}");
    assert_eq!(commands.last().map(String::as_str), Some("QUIT"));
    assert_eq!(count("EHLO"), 2, "one for each channel: {commands:?}");
    assert_eq!(count("AUTH") + count("STARTTLS"), 0);
    let domains: Vec<bool> = here.arrived().iter().map(|one| one.to[0].ends_with("@ship.example")).collect();
    assert_eq!(domains.chunk_by(|a, b| a == b).count(), 2, "{domains:?}");
    assert_eq!(hub.waiting(Some("tcp_other")), 2);
    let record = hub.json(&["release", "list"]).swap_remove(0);
    assert_eq!(record["delivered"]["recipients"], 42, "{record}");
    assert_eq!(record["end"], "everything was tried");
    hub.stop();
}

#[test]
fn a_customer_that_does_not_let_us_in_gets_its_mail_at_the_next_request() {
    let mut hub = provider("atrn-greeting");
    hub.start();
    send(&hub, "a@site7.example", 0, 2);
    send(&hub, "b@ship.example", 2, 2);
    for greeting in ["421 4.3.2 not now", "220-what\r\n221 now", "this is not SMTP"] {
        let here = Sink::start();
        here.behave(Manner { greeting: Some(greeting.to_owned()), ..Manner::default() });
        let mut talk = again(&hub);
        assert_eq!(talk.want("ATRN", 250).code, 250, "{greeting}");
        here.take(talk.into_stream());
        watch("nothing is lost", WHILE / 4, || hub.waiting(None) == 4);
    }
    let here = Sink::start();
    let mut talk = again(&hub);
    talk.want("ATRN", 250);
    here.take(talk.into_stream());
    assert_eq!(arrived(&here, 4), [0, 1, 2, 3]);
    hub.stop();
}

/// The customer `fred`, once his session before has ended.
fn again(hub: &Site) -> Talk {
    sluice_testkit::wait_until(SOON, || {
        let mut talk = customer(hub, "fred");
        // A domain of his without mail: 450 while a session is turned, 453 then.
        (talk.ask("ATRN nothing.site7.example").unwrap().code == 453).then_some(talk)
    })
    .expect("the session before has ended")
}

#[test]
fn one_turned_session_at_a_time() {
    let mut hub = provider("atrn-twice");
    hub.start();
    send(&hub, "a@site7.example", 0, 2);
    let mut first = customer(&hub, "fred");
    first.want("ATRN site7.example", 250);
    let second = customer(&hub, "fred").want("ATRN site7.example", 450);
    assert!(second.text().contains("another session is taking this mail"), "{second}");
    let here = Sink::start();
    here.take(first.into_stream());
    arrived(&here, 2);
    hub.wait_for_waiting(Some("tcp_sites"), 0, SOON);
    sluice_testkit::wait_until(SOON, || {
        let reply = customer(&hub, "fred").ask("ATRN site7.example").unwrap();
        (reply.code == 453).then_some(())
    })
    .expect("the site may turn another session");
    hub.stop();
}

#[test]
fn row_6_7_a_line_that_drops_at_any_step_loses_nothing_and_doubles_nothing() {
    let mut hub = provider("atrn-cut");
    hub.start();
    send(&hub, "a@site7.example", 0, 2);
    send(&hub, "b@ship.example", 2, 2);
    let here = Sink::start();
    let arrived_now = || -> Vec<usize> { sluice_tests::numbers(&here.arrived()) };
    let all_there = |step: &str| {
        sluice_testkit::wait_until(SOON, || {
            let (arrived, waiting) = (arrived_now(), hub.waiting(None) as usize);
            (arrived.len() + waiting == 4).then_some(())
        })
        .unwrap_or_else(|| panic!("lost or doubled at {step}: {:?}, {}", arrived_now(), hub.report()));
    };
    // After EHLO, MAIL, RCPT, DATA and so on, in one channel and in the other; the first before anything was said. Then at
    // the end of a message: it was not kept, so it comes again.
    here.behave(Manner { drop_at_end: true, ..Manner::default() });
    let mut talk = again(&hub);
    talk.want("ATRN", 250);
    here.take(talk.into_stream());
    sluice_testkit::wait_until(SOON, || here.commands().iter().any(|line| line == "DATA").then_some(()))
        .expect("a message to lose");
    all_there("the end of a message");
    let mut was_cut_in_the_second = false;
    for step in 1..40 {
        here.behave(Manner { cut_after: Some(step), ..Manner::default() });
        here.clear();
        send(&hub, "a@site7.example", 0, 2usize.saturating_sub(hub.waiting(Some("tcp_sites")) as usize));
        send(&hub, "b@ship.example", 2, 2usize.saturating_sub(hub.waiting(Some("tcp_ship")) as usize));
        assert_eq!(hub.waiting(None), 4);
        let mut talk = again(&hub);
        talk.want("ATRN", 250);
        here.take(talk.into_stream());
        let ended = || {
            let commands = here.commands();
            (commands.len() >= step || commands.last().is_some_and(|line| line == "QUIT")).then_some(commands)
        };
        let commands = sluice_testkit::wait_until(SOON, ended).expect("the cut, or the end");
        all_there(&format!("step {step}"));
        was_cut_in_the_second |= commands.iter().filter(|line| line.starts_with("EHLO")).count() == 2;
        if commands.len() < step {
            assert_eq!((here.count(), hub.waiting(None)), (4, 0), "whole in {} steps", commands.len());
            break;
        }
        assert!(step < 39, "it has no end: {commands:?}");
    }
    assert!(was_cut_in_the_second);
    hub.stop();
}

#[test]
fn a_customer_that_refuses_for_now_gets_the_mail_at_the_next_request() {
    let mut hub = provider("atrn-later");
    hub.start();
    send(&hub, "a@site7.example", 0, 1);
    let here = Sink::start();
    here.behave(Manner { end: Some("451 4.3.0 not now".to_owned()), ..Manner::default() });
    let mut talk = customer(&hub, "fred");
    talk.want("ATRN site7.example", 250);
    here.take(talk.into_stream());
    sluice_testkit::wait_until(SOON, || here.commands().iter().any(|line| line == "QUIT").then_some(()))
        .unwrap();
    here.behave(Manner::default());
    sluice_testkit::wait_until(SOON, || {
        let mut talk = customer(&hub, "fred");
        let turned = talk.ask("ATRN site7.example").unwrap().code == 250;
        turned.then(|| here.take(talk.into_stream()))
    })
    .expect("no back-off keeps it from the next request");
    assert_eq!(arrived(&here, 1), [0]);
    hub.stop();
}

#[test]
fn etrn_for_a_site_that_takes_its_mail_by_atrn_says_so() {
    let mut hub = provider("atrn-etrn");
    hub.replace("sluice.cnf", "tcp_local smtp nomx ", "tcp_local smtp nomx maysaslserver ");
    hub.start();
    let mut talk = hub.talk();
    assert_eq!(log_in(&mut talk, Mechanism::CramMd5, "fred", "pencil").code, 235);
    let reply = talk.want("ETRN site7.example", 459);
    assert!(reply.text().contains("its mail is taken by ATRN"), "{reply}");
    // This service does not offer it.
    talk.want("ATRN site7.example", 502);
    hub.stop();
}
