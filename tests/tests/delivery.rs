//! What keywords of the outgoing channel do to a delivery, as the peer and the operator see it.

use sluice_testkit::{Manner, Sink, below_received};
use sluice_tests::{Destination, SOON, WHILE, configuration, hub};

const CONTENT: &[u8] = b"Subject: dots\r\n\r\n.one\r\n..two\r\n...\r\nend\r\n";

fn to(
    channel: &'static str,
    domain: &'static str,
    port: u16,
    keywords: &'static str,
) -> Destination<'static> {
    Destination { channel, domain, port, keywords }
}

#[test]
fn a_message_goes_from_hub_to_hub_in_one_chunk() {
    let sink = Sink::start();
    let mut second = hub("chunk-second", &[to("tcp_sink", "sink.example", sink.port(), "")]);
    second.start();
    let port = second.address().port();
    for (name, keywords, verb) in
        [("chunk-first", "master_debug", "> BDAT"), ("data-first", "master_debug nochunkingclient", "> DATA")]
    {
        let mut first = hub(name, &[to("tcp_second", "sink.example", port, keywords)]);
        first.start();
        let mut client = first.talk();
        let reply = client.deliver("a@origin.example", &["b@sink.example"], CONTENT).expect("an answer");
        assert_eq!(reply.code, 250, "{reply}");
        let arrived = sink.wait(1, SOON);
        let content = below_received(below_received(&arrived[0].content));
        assert_eq!(String::from_utf8_lossy(content), String::from_utf8_lossy(CONTENT));
        sink.clear();
        assert!(first.log().contains(verb), "{}", first.report());
        assert!(!second.log().contains("> MAIL"), "only where the keyword is");
    }
}

#[test]
fn a_hub_that_would_send_to_itself_returns_the_message() {
    let back = Sink::start();
    let destination = [to("tcp_back", "origin.example", back.port(), "")];
    let mut hub = hub("loop", &destination);
    let port = hub.address().port();
    let round = [destination[0], to("tcp_round", "round.example", port, "loopcheck")];
    hub.write("sluice.cnf", &configuration("", &round));
    hub.start();
    let mut client = hub.talk();
    let hello = client.want("EHLO client.example", 250);
    assert!(hello.offers("XLOOP"), "{hello}");
    let reply = client.deliver("a@origin.example", &["b@round.example"], CONTENT).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
    let notice = back.wait(1, SOON);
    let text = String::from_utf8_lossy(&notice[0].content).into_owned();
    assert!(text.contains("Status: 5.4.6"), "{text}");
    assert!(text.contains("SMTP client-server loop detected"), "{text}");
}

#[test]
fn recipients_share_a_transaction_as_the_channel_says() {
    for (keywords, transactions) in
        [("", 1), ("multiple", 1), ("single_sys", 2), ("single", 3), ("addrsperfile 2", 2)]
    {
        let sink = Sink::start();
        let name = format!("copies-{}", keywords.replace(' ', "-"));
        let mut hub =
            hub(&name, &[Destination { keywords, ..to("tcp_site", "site.example", sink.port(), "") }]);
        hub.start();
        let recipients = ["a@site.example", "b@other.site.example", "c@site.example"];
        let mut client = hub.talk();
        let reply = client.deliver("a@origin.example", &recipients, CONTENT).expect("an answer");
        assert_eq!(reply.code, 250, "{reply}");
        let arrived = sink.wait(transactions, SOON);
        let mut all: Vec<String> = arrived.iter().flat_map(|one| one.to.clone()).collect();
        all.sort();
        assert_eq!(all, ["a@site.example", "b@other.site.example", "c@site.example"], "{keywords}");
    }
}

#[test]
fn a_date_of_the_senders_is_kept() {
    let sink = Sink::start();
    let mut hub = hub("deferred", &[to("tcp_site", "site.example", sink.port(), "deferred")]);
    hub.start();
    let mut client = hub.talk();
    for (date, code) in [("Fri, 31 Dec 2360 12:00:00 +0100", 250), ("Sat, 01 Jan 2000 12:00 EST", 250)] {
        let content = format!("Deferred-Delivery: {date}\r\nSubject: {date}\r\n\r\nHello.\r\n");
        let reply = client.deliver("a@origin.example", &["b@site.example"], content.as_bytes());
        assert_eq!(reply.expect("an answer").code, code);
    }
    let arrived = sink.wait(1, SOON);
    assert!(String::from_utf8_lossy(&arrived[0].content).contains("Subject: Sat, 01 Jan 2000"));
    let rows = hub.json(&["queue", "list"]);
    assert_eq!(rows.len(), 1, "{}", hub.report());
    assert_eq!(rows[0]["state"], "deferred");
    assert!(rows[0]["due"].as_str().expect("a date").starts_with("2360-12-31T11:00:00"), "{}", rows[0]);
    let ran = hub.command(&["trigger", "site.example"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    std::thread::sleep(WHILE);
    assert_eq!(sink.count(), 1, "no release moves it");
}

#[test]
fn a_channel_with_logging_leaves_a_record_of_each_recipient() {
    let sink = Sink::start();
    let recipient = Some(("bad@".to_owned(), "550 5.1.1 no such user".to_owned()));
    sink.behave(Manner { recipient, ..Manner::default() });
    let told = to("tcp_told", "told.example", sink.port(), "logging");
    let quiet = to("tcp_quiet", "quiet.example", sink.port(), "nologging");
    let mut hub = hub("logging", &[told, quiet, to("tcp_back", "origin.example", sink.port(), "")]);
    hub.start();
    let mut client = hub.talk();
    let recipients = ["good@told.example", "bad@told.example", "good@quiet.example"];
    let reply = client.deliver("a@origin.example", &recipients, CONTENT).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
    // Two messages and a notice.
    sink.wait(3, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    let log = hub.log();
    for record in [
        "tcp_local tcp_told E 1 a@origin.example rfc822;good@told.example good@told.example",
        "tcp_local tcp_told E 1 a@origin.example rfc822;bad@told.example bad@told.example",
        "tcp_told D 1 a@origin.example rfc822;good@told.example good@told.example dns;[127.0.0.1] smtp;250",
        "tcp_told R 1 a@origin.example rfc822;bad@told.example bad@told.example dns;[127.0.0.1] smtp;550 5.1.1 no such user",
    ] {
        assert!(log.contains(record), "no {record:?} in\n{log}");
    }
    assert!(!log.contains("rfc822;good@quiet.example"), "{log}");
}

#[test]
fn the_client_greets_as_its_channel_says() {
    for (keywords, banner, no_ehlo, greetings) in [
        ("", "sink.example ready", false, &["EHLO"][..]),
        ("ehlo", "sink.example ready", false, &["EHLO"]),
        ("ehlo", "sink.example ready", true, &["EHLO", "HELO"]),
        ("checkehlo", "sink.example ESMTP ready", false, &["EHLO"]),
        ("checkehlo", "sink.example ESMTP ready", true, &["EHLO", "HELO"]),
        ("checkehlo", "sink.example ready", false, &["HELO"]),
        ("noehlo", "sink.example ESMTP ready", false, &["HELO"]),
    ] {
        let sink = Sink::start();
        sink.behave(Manner { banner: Some(banner.to_owned()), no_ehlo, ..Manner::default() });
        let mut hub = hub("greets", &[to("tcp_site", "site.example", sink.port(), keywords)]);
        hub.start();
        let reply = hub.talk().deliver("a@origin.example", &["b@site.example"], CONTENT).expect("an answer");
        assert_eq!(reply.code, 250, "{reply}");
        sink.wait(1, SOON);
        let said = sink.commands();
        let verbs: Vec<&str> =
            said.iter().filter_map(|line| line.get(..4)).filter(|verb| verb.ends_with("LO")).collect();
        assert_eq!(verbs, greetings, "{keywords} to {banner}: {said:?}");
        // Who was greeted with HELO has offered nothing, and is asked for nothing.
        let mail = said.iter().find(|line| line.starts_with("MAIL")).expect("a sender");
        let parameters = mail.split_whitespace().count() > 2;
        assert_eq!(parameters, greetings == ["EHLO"], "{mail}");
    }
}
