//! Names in other letters (RFC 5890): mail is queued under them as they were written, and asked for by their A-labels.
//!
//! ETRN takes ASCII. RFC 6531 lets MAIL, RCPT, VRFY and EXPN have UTF-8 in a session and no other command; ETRN (RFC 1985) is older and says
//! nothing, so that U-labels are a syntax error (501) before and after a transaction with SMTPUTF8. The domain
//! that is meant is the same in either spelling, and an operator may use both.
#![allow(clippy::unwrap_used)]

use sluice_testkit::{Sink, Site, Talk, message, watch};
use sluice_tests::{Destination, SOON, WHILE, arrived, configuration};

/// `bücher.example` is routed by its letters and `münchen.example` by its A-label; each with all below it.
fn hub(name: &str, port: u16, sites: &str) -> Site {
    let hub = Site::new(name);
    let held = [
        Destination::held("tcp_books", "bücher.example", port),
        Destination::held("tcp_city", "xn--mnchen-3ya.example", port),
    ];
    hub.write("sluice.cnf", &configuration("allowetrn", &held));
    hub.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=100\n");
    hub.write("sites.cnf", sites);
    hub
}

/// Sends a message with a number to an address, with SMTPUTF8 where the address wants it.
fn send(talk: &mut Talk, number: usize, to: &str) {
    let parameter = if to.is_ascii() { "" } else { " SMTPUTF8" };
    talk.want(&format!("MAIL FROM:<anna@origin.example>{parameter}"), 250);
    talk.want(&format!("RCPT TO:<{to}>"), 250);
    let reply = talk.content(&message(number, 200)).unwrap();
    assert_eq!(reply.code, 250, "{reply}");
}

/// Both spellings of a domain and of one below it, numbered from 0.
const SPELLINGS: [(&str, [&str; 2], [&str; 2]); 2] = [
    (
        "xn--bcher-kva.example",
        ["fred@bücher.example", "fred@xn--bcher-kva.example"],
        ["eva@lesen.bücher.example", "eva@lesen.xn--bcher-kva.example"],
    ),
    (
        "xn--mnchen-3ya.example",
        ["fred@münchen.example", "fred@xn--mnchen-3ya.example"],
        ["eva@süd.münchen.example", "eva@xn--sd-xka.xn--mnchen-3ya.example"],
    ),
];

#[test]
fn a_labels_find_mail_in_either_spelling_and_u_labels_are_no_argument_of_etrn() {
    let sink = Sink::start();
    let mut hub = hub("a-labels", sink.port(), "");
    hub.start();
    let mut talk = hub.talk();
    let mut count = 0;
    for (a_label, exact, below) in SPELLINGS {
        for (at, to) in exact.iter().chain(&below).enumerate() {
            send(&mut talk, count + at, to);
        }
        hub.wait_for_waiting(None, 4, SOON);
        let letters = exact[0].trim_start_matches("fred@");
        for refused in [letters.to_owned(), format!("@{letters}")] {
            // The session has used SMTPUTF8, which changes nothing for ETRN.
            let reply = talk.want(&format!("ETRN {refused}"), 501);
            assert!(reply.text().starts_with("5.5.4 "), "{reply}");
        }
        watch("nothing has moved", WHILE, || sink.count() == count);
        let reply = talk.want(&format!("ETRN {a_label}"), 253);
        assert!(reply.text().contains("2 pending"), "{reply}");
        assert_eq!(arrived(&sink, count + 2), (0..count + 2).collect::<Vec<_>>());
        let reply = talk.want(&format!("ETRN @{}", a_label.to_uppercase()), 253);
        assert!(reply.text().contains("2 pending"), "{reply}");
        count += 4;
        assert_eq!(arrived(&sink, count), (0..count).collect::<Vec<_>>());
        hub.wait_for_waiting(None, 0, SOON);
    }
    hub.stop();
}

#[test]
fn an_operator_may_write_either_spelling() {
    let sink = Sink::start();
    let mut hub = hub("u-labels", sink.port(), "");
    hub.start();
    let mut talk = hub.talk();
    let mut count = 0;
    for (a_label, exact, below) in SPELLINGS {
        let letters = exact[0].trim_start_matches("fred@");
        for (domain, to) in [(letters, exact), (a_label, exact), (letters, below), (a_label, below)] {
            let selector = if to == below { format!("@{domain}") } else { domain.to_owned() };
            for (at, to) in to.iter().enumerate() {
                send(&mut talk, count + at, to);
            }
            let ran = hub.json(&["trigger", &selector]);
            assert_eq!(ran[0]["messages"], 2, "{selector}: {ran:?}");
            count += 2;
            assert_eq!(arrived(&sink, count).len(), count, "{selector}");
            hub.wait_for_waiting(None, 0, SOON);
        }
        // The other commands mean the same by it.
        send(&mut talk, count, exact[0]);
        send(&mut talk, count + 1, exact[1]);
        for domain in [letters, a_label] {
            assert_eq!(hub.command(&["suspend", domain]).code, 0);
            talk.want(&format!("ETRN {a_label}"), 458);
            assert_eq!(hub.command(&["resume", if domain == letters { a_label } else { letters }]).code, 0);
        }
        talk.want(&format!("ETRN {a_label}"), 253);
        count += 2;
        assert_eq!(arrived(&sink, count).len(), count);
    }
    hub.stop();
}

#[test]
fn a_site_may_be_written_in_its_letters() {
    let sink = Sink::start();
    let sites =
        "[SITE=books]\nDOMAINS=@bücher.example\nCOVERS=site\n[SITE=city]\nDOMAINS=xn--mnchen-3ya.example\n";
    let mut hub = hub("u-sites", sink.port(), sites);
    hub.start();
    let mut talk = hub.talk();
    for (at, to) in SPELLINGS[0].1.iter().chain(&SPELLINGS[0].2).chain(&SPELLINGS[1].1).enumerate() {
        send(&mut talk, at, to);
    }
    hub.wait_for_waiting(None, 6, SOON);
    talk.want("ETRN lesen.xn--bcher-kva.example", 253);
    assert_eq!(arrived(&sink, 4), [0, 1, 2, 3]);
    talk.want("ETRN xn--mnchen-3ya.example", 253);
    assert_eq!(arrived(&sink, 6), [0, 1, 2, 3, 4, 5]);
    let shown = hub.json(&["site", "show", "books"]);
    assert!(shown[0].to_string().contains("xn--bcher-kva.example"), "{shown:?}");
    hub.stop();
}

#[test]
fn our_own_client_asks_for_the_a_labels_of_our_names() {
    let server = Sink::start();
    let site = Site::new("u-client");
    site.write(
        "sluice.cnf",
        "bücher.example $U@bücher.example\nxn--mnchen-3ya.example $U@bücher.example\n\nl\nbücher.example\n\n\
         tcp_local smtp nomx\nTCP-DAEMON\n",
    );
    let place = format!("127.0.0.1:{}", server.port());
    let asked = || -> Vec<String> {
        let commands = server.commands();
        commands.iter().filter_map(|line| line.strip_prefix("ETRN ").map(str::to_owned)).collect()
    };
    let mut site = site;
    site.start();
    let ran = site.command(&["etrn", &place]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(asked(), ["xn--bcher-kva.example", "xn--mnchen-3ya.example"]);
    // What a server is asked for by name goes over the wire as it was written, and so has to be ASCII.
    let ran = site.command(&["etrn", &place, "münchen.example"]);
    assert!(ran.code == 64 && ran.err.contains("`xn--` form"), "{ran:?}");
    assert_eq!(asked().len(), 2);
    site.stop();
}
