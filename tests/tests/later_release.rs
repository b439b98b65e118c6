//! Later release (FUTURERELEASE, RFC 4865): a client asks for it, and the message waits for its time in the queue.

use sluice_testkit::{Sink, Talk, watch};
use sluice_tests::{Destination, SOON, WHILE, hub};

fn send(client: &mut Talk, mail: &str, subject: &str) {
    client.want(&format!("MAIL FROM:<a@origin.example>{mail}"), 250);
    client.want("RCPT TO:<b@site.example>", 250);
    client.want("DATA", 354);
    client.raw(format!("Subject: {subject}\r\n\r\nHello.\r\n.\r\n").as_bytes()).expect("sent");
    assert_eq!(client.read().expect("a reply").code, 250);
}

#[test]
fn a_message_waits_for_the_release_that_its_client_asked_for() {
    let sink = Sink::start();
    // What the channel allows of dates in headers has no say.
    let site = Destination {
        keywords: "deferred 1",
        ..Destination::direct("tcp_site", "site.example", sink.port())
    };
    let mut hub = hub("later-release", &[site]);
    hub.replace("sluice.cnf", "\ntcp_local smtp", "\ntcp_local smtp futurerelease 9000000");
    hub.start();
    let mut client = hub.talk();
    let offered = client.want("EHLO client.example", 250);
    assert!(offered.offers("FUTURERELEASE"), "{offered}");
    client.want("MAIL FROM:<a@origin.example> HOLDFOR=9000001", 501);
    client.want("MAIL FROM:<a@origin.example> HOLDUNTIL=2360-12-31T12:00:00Z", 501);
    send(&mut client, " HOLDFOR=8999999", "later");
    send(&mut client, " HOLDFOR=1", "soon");
    send(&mut client, " HOLDUNTIL=2000-01-01T12:00:00Z", "past");
    let arrived = sink.wait(2, SOON);
    let text =
        |subject: &str| arrived.iter().any(|one| String::from_utf8_lossy(&one.content).contains(subject));
    assert!(text("Subject: soon") && text("Subject: past"), "{}", hub.report());
    let rows = hub.json(&["queue", "list"]);
    assert_eq!(rows.len(), 1, "{}", hub.report());
    assert_eq!(rows[0]["state"], "deferred");
    let due = rows[0]["due"].clone();
    hub.stop();
    hub.start();
    let rows = hub.json(&["queue", "list"]);
    assert_eq!((&rows[0]["state"], &rows[0]["due"]), (&"deferred".into(), &due), "{}", hub.report());
    watch("it is not its time", WHILE, || sink.count() == 2);
}

#[test]
fn a_channel_without_the_keyword_offers_nothing() {
    let sink = Sink::start();
    let mut hub = hub("no-later-release", &[Destination::direct("tcp_site", "site.example", sink.port())]);
    hub.start();
    let mut client = hub.talk();
    assert!(!client.want("EHLO client.example", 250).offers("FUTURERELEASE"));
    client.want("MAIL FROM:<a@origin.example> HOLDFOR=1", 555);
}
