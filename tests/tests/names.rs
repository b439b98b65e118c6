//! What the name service says of clients and of senders, and what keywords make of it.

use sluice_testkit::{NameServer, Record, Sink, Site, Talk};
use sluice_tests::{Destination, SOON, configuration, hub};

const ZONE: &[(&str, Record)] = &[
    ("mail.example", Record::Exchange("host.example")),
    ("host.example", Record::Address([192, 0, 2, 1])),
    ("broken.example", Record::Broken),
];

/// A hub whose incoming channel has these keywords and asks this name server; mail for `next.example` arrives at the sink.
fn with(name: &str, keywords: &str, names: &NameServer, sink: &Sink) -> Site {
    let destinations = [
        Destination::direct("tcp_next", "next.example", sink.port()),
        Destination { channel: "tcp_inside", domain: "inside.example", port: 1, keywords: "periodic" },
    ];
    let mut hub = hub(name, &destinations);
    let text = configuration(&format!("nameservers 127.0.0.1 {keywords}"), &destinations);
    hub.write("sluice.cnf", &format!("localhost $U%$D@TCP_INSIDE\n{text}"));
    hub.write("tcp_local_option", &format!("NAMESERVER_PORT={}\n", names.port()));
    hub.start();
    hub
}

/// Sends a message through a hub with these keywords. The first line of its `Received:`, and the line of the log that
/// tells of it. The client is at 127.0.0.1, whose name is `localhost` everywhere (RFC 6761 section 6.3).
fn received(name: &str, keywords: &str) -> (String, String) {
    let (names, sink) = (NameServer::start(ZONE), Sink::start());
    let hub = with(name, keywords, &names, &sink);
    let mut client = hub.talk();
    let reply =
        client.deliver("a@origin.example", &["b@next.example"], b"Subject: a\r\n\r\n").expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
    client.quit();
    let content = String::from_utf8_lossy(&sink.wait(1, SOON)[0].content).into_owned();
    let line = content.lines().find(|line| line.starts_with("Received: from")).expect("a trace").to_owned();
    let log = hub.log();
    let accepted = log.lines().find(|line| line.contains("message accepted")).expect("a line in the log");
    (line.trim_end().to_owned(), accepted.to_owned())
}

#[test]
fn received_has_name_and_number_as_the_keyword_says() {
    for (name, keywords, expected) in [
        ("ident-none", "identnone", "(localhost [127.0.0.1])"),
        ("ident-limited", "identnonelimited", "(localhost [127.0.0.1])"),
        ("ident-tcp", "identtcp", "(localhost [127.0.0.1])"),
        ("ident-symbolic", "identnonesymbolic", "(localhost)"),
        ("ident-checked", "identnone forwardcheckdelete", "(localhost [127.0.0.1])"),
        ("ident-numeric", "identnone identnonenumeric", "([127.0.0.1])"),
        ("ident-default", "", "([127.0.0.1])"),
    ] {
        let (line, _) = received(name, keywords);
        assert!(line.ends_with(expected), "{keywords}: {line}");
    }
}

#[test]
fn a_name_may_choose_the_channel_when_the_address_does_not() {
    for (name, keywords, switched) in [
        ("switch-name", "switchchannel identnone", true),
        ("switch-limited", "switchchannel identnonelimited", false),
        ("switch-numeric", "switchchannel identnonenumeric", false),
        ("switch-not", "noswitchchannel identnone", false),
    ] {
        let (_, accepted) = received(name, keywords);
        assert_eq!(accepted.contains("tcp_inside"), switched, "{keywords}: {accepted}");
    }
}

#[test]
fn mailfromdnsverify_wants_senders_that_exist() {
    let (names, sink) = (NameServer::start(ZONE), Sink::start());
    let hub = with("mailfrom", "mailfromdnsverify", &names, &sink);
    let mut client = hub.talk();
    let reply = client.want("MAIL FROM:<a@nowhere.example>", 550);
    assert!(reply.text().contains("5.1.8") && reply.text().contains("nowhere.example"), "{reply}");
    let reply = client.want("MAIL FROM:<a@broken.example>", 450);
    assert!(reply.text().contains("4.4.3"), "{reply}");
    for sender in ["a@mail.example", "a@host.example", "a@[127.0.0.1]", ""] {
        client.want(&format!("MAIL FROM:<{sender}>"), 250);
        client.want("RSET", 250);
    }
    // The octets that follow wait for the answer, as does everything in a pipelined group.
    client.raw(b"MAIL FROM:<a@nowhere.example>\r\nRCPT TO:<b@next.example>\r\nNOOP\r\n").expect("sent");
    let codes: Vec<u16> = (0..3).map(|_| client.read().expect("an answer").code).collect();
    assert_eq!(codes, [550, 503, 250]);
    client.quit();
    let hub = with("no-mailfrom", "mailfromdnsverify nomailfromdnsverify", &names, &sink);
    let mut client: Talk = hub.talk();
    client.want("MAIL FROM:<a@nowhere.example>", 250);
    client.quit();
}
