//! `sendetrn` and the channel block of a dial-up partner, by rows of the list of features (1.7 to 1.9).
#![allow(clippy::unwrap_used)]

use sluice_testkit::{Batch, Manner, NameServer, Record, Sink, Site, watch};
use sluice_tests::{Destination, SOON, WHILE, hub};

/// The channel block of the manual, with a host and port of the test.
fn dial_up(name: &str, host: &str, port: u16, asked: &str) -> Site {
    let site = Site::new(name);
    let text = format!(
        "host1.example $U@host1.example\nother.example $U%other.example@TCP-DIALUP\nmore.example $U%more.example@TCP-DIALUP\n\n\
         l\nhost1.example\n\n\
         tcp_local smtp mx allowetrn\nTCP-DAEMON\n\n\
         tcp_dialup smtp mx daemon {host} \\\n    periodic sendetrn {asked} port {port}\nTCP-DIALUP\n"
    );
    site.write("sluice.cnf", &text);
    site
}

fn asked(peer: &Sink) -> Vec<String> {
    peer.commands().into_iter().filter(|line| line.starts_with("ETRN")).collect()
}

#[test]
fn row_1_7_etrn_once_after_ehlo_and_before_the_first_mail() {
    for name in ["host1.example", "@host1.example", "#queue7"] {
        let peer = Sink::start();
        let mut site = dial_up("r17", "[127.0.0.1]", peer.port(), name);
        site.start();
        Batch::new(site.address(), "fred@other.example", 3).send_all();
        assert_eq!(site.command(&["trigger", "#tcp_dialup"]).code, 0);
        peer.wait(3, SOON);
        let commands = peer.commands();
        assert_eq!(commands[..2], ["EHLO host1.example".to_owned(), format!("ETRN {name}")], "{commands:?}");
        assert!(commands[2].starts_with("MAIL "), "{commands:?}");
        assert_eq!(asked(&peer).len(), peer.connections());
    }
}

#[test]
fn row_1_7_only_if_etrn_is_offered_and_no_answer_fails_a_delivery() {
    let without = Manner { keywords: vec!["PIPELINING".to_owned()], ..Manner::default() };
    let answer = |text: &str| Manner { etrn: Some(text.to_owned()), ..Manner::default() };
    for (manner, times) in [
        (without, 0),
        (answer("459 4.7.1 not you"), 1),
        (answer("500 what"), 1),
        (answer("458 4.3.0 not now"), 1),
        // Servers that answer so have closed, or are to be left; the mail goes all the same.
        (answer("421 4.7.0 too much"), 1),
        (answer("nonsense"), 1),
    ] {
        let peer = Sink::start();
        peer.behave(manner.clone());
        let mut site = dial_up("r17-answers", "[127.0.0.1]", peer.port(), "host1.example");
        site.start();
        Batch::new(site.address(), "fred@other.example", 1).send_all();
        assert_eq!(site.command(&["trigger", "#tcp_dialup"]).code, 0);
        peer.wait(1, SOON);
        assert_eq!(asked(&peer).len(), times, "{manner:?}");
        site.wait_for_waiting(None, 0, SOON);
    }
}

#[test]
fn row_1_8_the_block_of_the_manual_is_parsed_checked_and_shown_back() {
    let site = dial_up("r18", "intermittent.some.where.com", 25, "host1.example");
    let check = site.command(&["check"]);
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    let row = &site.json(&["test", "channel", "tcp_dialup"])[0];
    assert_eq!(row["official_host"], "TCP-DIALUP");
    let keywords: Vec<(String, String)> = row["keywords"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].as_str().unwrap_or("").to_owned()))
        .collect();
    for (name, value) in [
        // 1.8a, 1.8b, 1.8c, 1.8d and what asks.
        ("smtp", ""),
        ("mx", ""),
        ("daemon", "intermittent.some.where.com"),
        ("periodic", ""),
        ("sendetrn", "host1.example"),
    ] {
        assert!(keywords.contains(&(name.to_owned(), value.to_owned())), "{name}: {keywords:?}");
    }
    let print = site.command(&["check", "--print"]).out;
    let block = print.split("\n\n").find(|block| block.contains("tcp_dialup smtp")).unwrap();
    assert!(
        block.contains("daemon intermittent.some.where.com") && block.contains("sendetrn host1.example"),
        "{print}"
    );
    assert!(block.trim_end().lines().any(|line| line.starts_with("TCP-DIALUP")), "{print}");
    // A word that is wrong is found in its line, continued or not.
    site.replace("sluice.cnf", "sendetrn host1.example", "sendetrn");
    site.replace("sluice.cnf", "    periodic", "    peridic");
    let wrong = site.command(&["check"]);
    assert_eq!(wrong.code, 78);
    assert!(wrong.out.contains("did you mean `periodic`") || wrong.err.contains("did you mean `periodic`"));
}

#[test]
fn row_1_8b_mx_records_of_the_peer_are_used() {
    const ZONE: &[(&str, Record)] = &[
        ("intermittent.example", Record::Exchange("dial.example")),
        ("dial.example", Record::Address([127, 0, 0, 1])),
    ];
    let (peer, names) = (Sink::start(), NameServer::start(ZONE));
    let mut site =
        dial_up("r18b", "intermittent.example", peer.port(), "host1.example nameservers 127.0.0.1");
    site.write("tcp_dialup_option", &format!("NAMESERVER_PORT={}\n", names.port()));
    site.start();
    Batch::new(site.address(), "fred@other.example", 1).send_all();
    assert_eq!(site.command(&["trigger", "#tcp_dialup"]).code, 0);
    peer.wait(1, SOON);
    assert_eq!(asked(&peer), ["ETRN host1.example"]);
}

#[test]
fn row_1_8c_and_1_8d_all_mail_goes_to_the_peer_and_only_when_it_is_time() {
    let peer = Sink::start();
    let mut site = dial_up("r18cd", "[127.0.0.1]", peer.port(), "host1.example");
    site.start();
    for to in ["fred@other.example", "anna@more.example"] {
        Batch::new(site.address(), to, 1).send_all();
    }
    watch("nothing is attempted on arrival", WHILE, || peer.connections() == 0);
    assert_eq!(site.command(&["trigger", "#tcp_dialup"]).code, 0);
    let arrived = peer.wait(2, SOON);
    let mut to: Vec<&str> = arrived.iter().map(|one| one.to[0].as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["anna@more.example", "fred@other.example"]);
}

#[test]
fn row_1_8e_a_periodic_channel_asks_though_its_queue_is_empty() {
    let peer = Sink::start();
    let mut site = dial_up("r18e", "[127.0.0.1]", peer.port(), "host1.example");
    site.write("option.dat", "SPOOL_DIR=../spool\nPOST_INTERVAL=1s\n");
    site.start();
    sluice_testkit::wait_for("two polls", SOON, || asked(&peer).len() >= 2);
    assert!(peer.commands().iter().all(|line| !line.starts_with("MAIL")), "{:?}", peer.commands());
    assert_eq!(peer.commands()[..2], ["EHLO host1.example", "ETRN host1.example"]);
}

#[test]
fn row_1_9_one_configuration_serves_etrn_and_sends_it() {
    let (customer, provider) = (Sink::start(), Sink::start());
    let mut both = hub(
        "r19",
        &[
            Destination::held("tcp_site", "site7.example", customer.port()),
            Destination {
                keywords: "sendetrn hub.example",
                ..Destination::direct("tcp_up", "up.example", provider.port())
            },
        ],
    );
    both.start();
    Batch::new(both.address(), "fred@site7.example", 2).send_all();
    Batch::new(both.address(), "fred@up.example", 1).send_all();
    provider.wait(1, SOON);
    assert_eq!(asked(&provider)[0], "ETRN hub.example");
    both.talk().want("ETRN site7.example", 253);
    customer.wait(2, SOON);
    assert!(asked(&customer).is_empty());
}
