//! Recipients who do not get a message after all: too large for their channel, or unknown where every address is accepted.

use sluice_testkit::{Sink, Site, Talk};
use sluice_tests::{Destination, SOON, configuration, hub};

/// A hub with a channel for small messages, one for all, and one for the mail of senders, which arrives at `sink`.
fn with(name: &str, incoming: &str, small: &str, sink: &Sink) -> Site {
    let destinations = [
        Destination { channel: "tcp_small", domain: "small.example", port: 1, keywords: small },
        Destination::held("tcp_any", "any.example", 1),
        Destination::direct("tcp_origin", "origin.example", sink.port()),
    ];
    let mut hub = hub(name, &destinations);
    hub.write("sluice.cnf", &configuration(incoming, &destinations));
    hub.start();
    hub
}

/// Sends a message of so many lines of 100 octets; the reply to its end.
fn send(client: &mut Talk, from: &str, to: &[&str], lines: usize) -> u16 {
    client.want(&format!("MAIL FROM:<{from}>"), 250);
    for recipient in to {
        client.want(&format!("RCPT TO:<{recipient}>"), 250);
    }
    client.want("DATA", 354);
    let line = format!("{}\r\n", "x".repeat(98));
    client.raw(format!("Subject: large\r\n\r\n{}.\r\n", line.repeat(lines)).as_bytes()).expect("sent");
    client.read().expect("an answer").code
}

#[test]
fn blocklimit_is_a_limit_of_the_destination() {
    let sink = Sink::start();
    let hub = with("blocklimit", "", "periodic blocklimit 2", &sink);
    let mut client = hub.talk();
    client.want("MAIL FROM:<me@origin.example> SIZE=2049", 250);
    let reply = client.want("RCPT TO:<fred@small.example>", 552);
    assert!(reply.text().contains("5.3.4") && reply.text().contains("2048"), "{reply}");
    client.want("RCPT TO:<fred@any.example>", 250);
    client.want("RSET", 250);
    client.want("MAIL FROM:<me@origin.example> SIZE=2048", 250);
    client.want("RCPT TO:<fred@small.example>", 250);
    client.want("RSET", 250);
    // Nobody said how large it is: only the end of the message tells.
    assert_eq!(send(&mut client, "me@origin.example", &["fred@small.example"], 30), 552);
    assert_eq!(hub.waiting(None), 0);
    assert_eq!(send(&mut client, "me@origin.example", &["fred@small.example"], 15), 250);
    hub.wait_for_waiting(Some("tcp_small"), 1, SOON);
    assert_eq!(send(&mut client, "me@origin.example", &["fred@small.example", "fred@any.example"], 30), 250);
    hub.wait_for_waiting(Some("tcp_any"), 1, SOON);
    assert_eq!(hub.waiting(Some("tcp_small")), 1, "the large one is not among them");
    let notice = &sink.wait(1, SOON)[0];
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert_eq!((notice.from.as_str(), notice.to[0].as_str()), ("", "me@origin.example"));
    assert!(text.contains("fred@small.example") && text.contains("5.3.4"), "{text}");
    assert!(!text.contains("fred@any.example"), "the other recipient has it: {text}");
    assert!(text.contains("Subject: large"), "the message is returned: {text}");
    client.quit();
}

#[test]
fn linelimit_counts_all_lines_and_noblocklimit_takes_a_limit_back() {
    let sink = Sink::start();
    let keywords = "periodic blocklimit 1 noblocklimit linelimit 12";
    let hub = with("linelimit", "", keywords, &sink);
    let mut client = hub.talk();
    // Our own Received: is not counted; two lines of the header are.
    assert_eq!(send(&mut client, "me@origin.example", &["fred@small.example"], 11), 552);
    assert_eq!(send(&mut client, "me@origin.example", &["fred@small.example"], 10), 250);
    hub.wait_for_waiting(Some("tcp_small"), 1, SOON);
    client.quit();
    let hub = with("nolinelimit", "", "periodic linelimit 12 nolinelimit", &sink);
    let mut client = hub.talk();
    assert_eq!(send(&mut client, "me@origin.example", &["fred@small.example"], 50), 250);
    client.quit();
}

#[test]
fn the_largest_limit_of_all_channels_is_announced() {
    let destinations = [Destination::held("tcp_any", "any.example", 1)];
    let mut hub = hub("announced", &destinations);
    let text = configuration("", &destinations).replace("\nl\n", "\ndefaults blocklimit 3\n\nl\n");
    hub.write("sluice.cnf", &text.replace("periodic", "periodic blocklimit 7"));
    hub.start();
    let (mut client, _) = Talk::open(hub.address()).expect("a connection");
    let offer = client.want("EHLO client.example", 250);
    assert!(offer.text().contains("SIZE 7168"), "{offer}");
    client.want("MAIL FROM:<me@origin.example> SIZE=7169", 552);
    client.quit();
}

#[test]
fn acceptalladdresses_lets_no_recipient_fail_and_tells_the_sender_later() {
    let sink = Sink::start();
    let hub = with("accept-all", "acceptalladdresses", "periodic blocklimit 2", &sink);
    let mut client = hub.talk();
    let to = ["x@nowhere.invalid", "fred@any.example", "fred@small.example"];
    assert_eq!(send(&mut client, "me@origin.example", &to, 30), 250);
    hub.wait_for_waiting(Some("tcp_any"), 1, SOON);
    let text = String::from_utf8_lossy(&sink.wait(1, SOON)[0].content).into_owned();
    assert!(text.contains("x@nowhere.invalid") && text.contains("5.1.2"), "{text}");
    assert!(text.contains("fred@small.example") && text.contains("5.3.4"), "{text}");
    // Nobody else is left: the notice is all that comes of it.
    assert_eq!(send(&mut client, "me@origin.example", &["y@nowhere.invalid"], 1), 250);
    let text = String::from_utf8_lossy(&sink.wait(2, SOON)[1].content).into_owned();
    assert!(text.contains("y@nowhere.invalid"), "{text}");
    // Even a declared size does not make RCPT fail.
    client.want("MAIL FROM:<me@origin.example> SIZE=5000", 250);
    client.want("RCPT TO:<fred@small.example>", 250);
    client.want("RSET", 250);
    // A notice is not answered with another one.
    assert_eq!(send(&mut client, "", &["z@nowhere.invalid"], 1), 250);
    client.want("MAIL FROM:<me@origin.example>", 250);
    client.want("RCPT TO:<not an address>", 501);
    client.want("VRFY x@nowhere.invalid", 550);
    client.quit();
    hub.wait_for_waiting(Some("tcp_origin"), 0, SOON);
    assert_eq!((hub.waiting(None), sink.wait(2, SOON).len()), (1, 2));
}

#[test]
fn acceptvalidaddresses_takes_it_back() {
    let sink = Sink::start();
    let hub = with("accept-valid", "acceptalladdresses acceptvalidaddresses", "periodic", &sink);
    let mut client = hub.talk();
    client.want("MAIL FROM:<me@origin.example>", 250);
    client.want("RCPT TO:<x@nowhere.invalid>", 550);
    client.quit();
}

#[test]
fn a_message_whose_sender_cannot_be_told_is_refused_instead() {
    let sink = Sink::start();
    let hub = with("no-way-back", "acceptalladdresses nosendpost", "periodic", &sink);
    let mut client = hub.talk();
    assert_eq!(send(&mut client, "me@unknown.invalid", &["x@nowhere.invalid"], 1), 550);
    assert_eq!(hub.waiting(None), 0);
    client.quit();
}
