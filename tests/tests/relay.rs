//! What is taken in and passed on at once, and what is refused at the door.

use sluice_testkit::{Batch, Manner, Sink, Talk, message};
use sluice_tests::{Destination, SOON, hub};

#[test]
fn nobody_relays_through_a_hub_that_was_not_told_so() {
    let mut hub = hub("open", &[Destination::held("tcp_dialup", "site7.example", 1)]);
    hub.replace("sluice.cnf", "\nl\n", ". $U%$H@TCP-DAEMON\n\nl\n");
    hub.start();
    let mut client = hub.talk();
    client.want("MAIL FROM:<spam@elsewhere.example>", 250);
    client.want("RCPT TO:<victim@far-away.example>", 550);
    client.want("RCPT TO:<fred@site7.example>", 250);
}

#[test]
fn an_unknown_destination_is_refused_at_rcpt() {
    let mut hub = hub("unknown", &[Destination::held("tcp_dialup", "site7.example", 1)]);
    hub.start();
    let mut client = hub.talk();
    client.want("MAIL FROM:<a@origin.example>", 250);
    let reply = client.want("RCPT TO:<x@nowhere.invalid>", 550);
    assert!(reply.text().starts_with("5.1.2 "), "{reply}");
    client.want("DATA", 554);
}

#[test]
fn only_a_proper_end_ends_a_message() {
    let sink = Sink::start();
    let mut hub = hub("smuggle", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.start();
    let smuggled: [&[u8]; 6] = [
        b"x\n.\nMAIL FROM:<evil@e.example>\r\nx",
        b"x\r.\rMAIL FROM:<evil@e.example>\r\nx",
        b"x\r\n.\nMAIL FROM:<evil@e.example>\r\nx",
        b"x\n.\r\nMAIL FROM:<evil@e.example>\r\nx",
        b"x\r\n.\rMAIL FROM:<evil@e.example>\r\nx",
        b"nul \0 here",
    ];
    for content in smuggled {
        let mut client = hub.talk();
        client.want("MAIL FROM:<a@origin.example>", 250);
        client.want("RCPT TO:<fred@next.example>", 250);
        client.want("DATA", 354);
        client.raw(&[content, b"\r\n.\r\nNOOP\r\n"].concat()).expect("sent");
        let reply = client.read().expect("an answer");
        let shown = String::from_utf8_lossy(content);
        assert!((500..600).contains(&reply.code), "{shown:?} was answered with {reply}");
        // One answer for the content, and none for what was hidden in it.
        assert_eq!(client.read().expect("an answer").code, 250, "{shown:?}");
        client.want("QUIT", 221);
    }
    let mut client = hub.talk();
    let reply =
        client.deliver("a@origin.example", &["fred@next.example"], &message(1, 2000)).expect("an answer");
    assert_eq!(reply.code, 250);
    assert_eq!(sink.wait(1, SOON).len(), 1);
}

#[test]
fn a_large_message_passes_whole_and_a_too_large_one_is_refused() {
    let sink = Sink::start();
    let mut hub = hub("large", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.write("option.dat", "SPOOL_DIR=../spool\nMAX_MESSAGE_SIZE=12M\n");
    hub.start();
    let content = message(1, 10 << 20);
    let mut client = hub.talk();
    let reply = client.deliver("a@origin.example", &["fred@next.example"], &content).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
    let arrived = sink.wait(1, SOON);
    assert!(
        sluice_testkit::below_received(&arrived[0].content) == content,
        "ten megabytes did not arrive as sent"
    );
    client.want("MAIL FROM:<a@origin.example> SIZE=99999999", 552);
    let too_large = message(2, 13 << 20);
    let reply = client.deliver("a@origin.example", &["fred@next.example"], &too_large);
    assert!(reply.map_or(true, |reply| reply.code == 552), "a message over the limit was taken");
}

#[test]
fn a_peer_without_ehlo_is_served_with_helo() {
    let sink = Sink::start();
    sink.behave(Manner { no_ehlo: true, ..Manner::default() });
    let mut hub = hub("helo", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.start();
    Batch::new(hub.address(), "fred@next.example", 2).send_all();
    sink.wait(2, SOON);
    assert!(sink.commands().iter().any(|line| line.starts_with("HELO ")));
}

#[test]
fn a_channel_with_sendetrn_asks_before_it_sends() {
    let sink = Sink::start();
    let to = Destination {
        keywords: "sendetrn hub.example",
        ..Destination::direct("tcp_next", "next.example", sink.port())
    };
    let mut hub = hub("sendetrn", &[to]);
    hub.start();
    Batch::new(hub.address(), "fred@next.example", 1).send_all();
    sink.wait(1, SOON);
    let commands = sink.commands();
    let etrn = commands.iter().position(|line| line == "ETRN hub.example");
    let mail = commands.iter().position(|line| line.starts_with("MAIL"));
    assert!(etrn.is_some() && etrn < mail, "{commands:?}");
}

#[test]
fn a_pipelined_group_is_answered_in_order() {
    let mut hub = hub("pipelining", &[Destination::held("tcp_dialup", "site7.example", 1)]);
    hub.start();
    let (mut client, _) = Talk::open(hub.address()).expect("a greeting");
    client
        .raw(b"EHLO c.example\r\nETRN site7.example\r\nNOOP\r\nWHAT\r\nETRN nowhere.invalid\r\nQUIT\r\n")
        .expect("sent");
    let codes: Vec<u16> = std::iter::from_fn(|| client.read().ok()).map(|reply| reply.code).collect();
    assert_eq!(codes, [250, 251, 250, 500, 459, 221]);
}
