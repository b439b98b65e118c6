//! What a sender wishes to be told about its message (DSN, RFC 3461): from the client to the next system, through aliases
//! and channels that bring mail in again, and into the notices that the hub writes.

use sluice_testkit::{Arrived, Manner, Sink, Site, Talk, watch};
use sluice_tests::{Destination, SOON, WHILE, configuration, hub};

const CONTENT: &[u8] = b"Subject: wishes\r\n\r\nbody line\r\n.\r\n";

/// A sink that offers DSN, or one that does not.
fn sink(dsn: bool) -> Sink {
    let sink = Sink::start();
    let mut keywords = vec!["PIPELINING".to_owned(), "SIZE".to_owned(), "8BITMIME".to_owned()];
    if dsn {
        keywords.push("DSN".to_owned());
    }
    sink.behave(Manner { keywords, ..Manner::default() });
    sink
}

/// Sends a message with these parameters behind MAIL and these recipients with theirs.
fn send(client: &mut Talk, mail: &str, recipients: &[&str]) {
    client.want(&format!("MAIL FROM:<a@origin.example>{mail}"), 250);
    for recipient in recipients {
        client.want(&format!("RCPT TO:{recipient}"), 250);
    }
    client.want("DATA", 354);
    client.raw(CONTENT).expect("sent");
    assert_eq!(client.read().expect("a reply").code, 250);
}

/// What the peer was told in commands that begin so.
fn commands(sink: &Sink, verb: &str) -> Vec<String> {
    sink.commands().into_iter().filter(|line| line.starts_with(verb)).collect()
}

fn fields(notice: &Arrived, name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned)).collect()
}

/// A hub that knows the sender's host and one more.
fn between(name: &str, origin: &Sink, next: &Sink) -> Site {
    let to = [
        Destination::direct("tcp_origin", "origin.example", origin.port()),
        Destination::direct("tcp_next", "next.example", next.port()),
    ];
    hub(name, &to)
}

#[test]
fn wishes_go_to_a_peer_that_offers_dsn_and_the_hub_says_nothing() {
    let (origin, next) = (sink(false), sink(true));
    let mut hub = between("wishes-passed", &origin, &next);
    hub.start();
    let mut client = hub.talk();
    assert!(client.want("EHLO client.example", 250).offers("DSN"));
    send(
        &mut client,
        " RET=HDRS ENVID=QQ+2B314159",
        &[
            "<b@next.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bx@old.example",
            "<c@next.example> NOTIFY=NEVER",
        ],
    );
    next.wait(1, SOON);
    let mail = commands(&next, "MAIL");
    assert!(mail[0].ends_with(" RET=HDRS ENVID=QQ+2B314159"), "{mail:?}");
    assert_eq!(
        commands(&next, "RCPT"),
        [
            "RCPT TO:<b@next.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bx@old.example",
            "RCPT TO:<c@next.example> NOTIFY=NEVER",
        ]
    );
    watch("the next system is to tell of the success", WHILE, || origin.count() == 0);
    // A message without wishes goes without parameters, and nothing of the last one sticks.
    next.clear();
    send(&mut client, "", &["<b@next.example>"]);
    next.wait(1, SOON);
    assert_eq!(commands(&next, "RCPT"), ["RCPT TO:<b@next.example>"]);
}

#[test]
fn a_peer_without_dsn_is_told_nothing_and_the_sender_hears_that_it_was_relayed() {
    let (origin, next) = (sink(true), sink(false));
    let mut hub = between("wishes-relayed", &origin, &next);
    hub.start();
    let mut client = hub.talk();
    send(
        &mut client,
        " RET=FULL ENVID=QQ+2B314159",
        &[
            "<b@next.example> NOTIFY=SUCCESS ORCPT=rfc822;b+2Bx@old.example",
            "<c@next.example> NOTIFY=FAILURE",
        ],
    );
    next.wait(1, SOON);
    assert!(commands(&next, "MAIL").iter().all(|line| !line.contains("RET") && !line.contains("ENVID")));
    assert_eq!(commands(&next, "RCPT"), ["RCPT TO:<b@next.example>", "RCPT TO:<c@next.example>"]);
    let notice = &origin.wait(1, SOON)[0];
    assert_eq!((notice.from.as_str(), fields(notice, "Action")), ("", vec!["relayed".to_owned()]));
    assert_eq!(fields(notice, "Original-Envelope-Id"), ["QQ+314159"]);
    assert_eq!(fields(notice, "Original-Recipient"), ["rfc822; b+x@old.example"]);
    assert_eq!(fields(notice, "Final-Recipient"), ["rfc822; b@next.example"]);
    assert!(!String::from_utf8_lossy(&notice.content).contains("body line"), "its header is enough");
    // About a notice nobody is ever told.
    assert_eq!(commands(&origin, "RCPT"), ["RCPT TO:<a@origin.example> NOTIFY=NEVER"]);
}

#[test]
fn who_did_not_want_to_hear_of_failures_does_not() {
    let (origin, next) = (sink(false), sink(false));
    let refuse = Some(("gone".to_owned(), "550 5.1.1 no such user".to_owned()));
    next.behave(Manner { recipient: refuse, ..Manner::default() });
    let mut hub = between("wishes-never", &origin, &next);
    hub.replace("sluice.cnf", "\ntcp_next smtp", "\ntcp_next smtp nosendpost logging");
    hub.start();
    let mut client = hub.talk();
    send(
        &mut client,
        " RET=HDRS",
        &["<gone1@next.example> NOTIFY=NEVER", "<gone2@next.example> NOTIFY=FAILURE"],
    );
    let notice = &origin.wait(1, SOON)[0];
    assert_eq!(fields(notice, "Final-Recipient"), ["rfc822; gone2@next.example"]);
    assert!(!String::from_utf8_lossy(&notice.content).contains("body line"), "RET=HDRS");
    hub.wait_for_waiting(None, 0, SOON);
    let log = hub.log();
    assert!(log.contains("tcp_next K 1 a@origin.example rfc822;gone1@next.example"), "{}", hub.report());
    assert!(log.contains("tcp_next R 1 a@origin.example rfc822;gone2@next.example"), "{}", hub.report());
}

#[test]
fn an_alias_is_expanded_with_a_notice_and_a_list_is_where_the_message_went() {
    let (origin, next) = (sink(false), sink(true));
    let mut hub = between("wishes-alias", &origin, &next);
    hub.write("members.txt", "ann@next.example\nbob@next.example\n");
    hub.write(
        "aliases",
        "one: only@next.example\nsales: joe@next.example, kim@next.example\n\
         list: <members.txt, [ENVELOPE_FROM] owner@hub.example\n",
    );
    hub.start();
    let mut client = hub.talk();
    let to = "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;";
    let recipients = [
        format!("<one@hub.example> {to}one@old.example"),
        format!("<sales@hub.example> {to}sales@old.example"),
        format!("<list@hub.example> {to}list@old.example"),
    ];
    send(&mut client, " ENVID=X1", &recipients.each_ref().map(String::as_str));
    next.wait(2, SOON);
    let mut said = commands(&next, "RCPT");
    said.sort();
    assert_eq!(
        said,
        [
            "RCPT TO:<ann@next.example>",
            "RCPT TO:<bob@next.example>",
            "RCPT TO:<joe@next.example> NOTIFY=DELAY ORCPT=rfc822;sales@old.example",
            "RCPT TO:<kim@next.example> NOTIFY=DELAY ORCPT=rfc822;sales@old.example",
            "RCPT TO:<only@next.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;one@old.example",
        ]
    );
    let of_list = commands(&next, "MAIL").into_iter().find(|line| line.contains("owner@"));
    assert!(of_list.as_ref().is_some_and(|line| !line.contains("ENVID")), "{of_list:?}");
    let notice = &origin.wait(1, SOON)[0];
    assert_eq!(fields(notice, "Action"), ["expanded", "delivered"]);
    assert_eq!(fields(notice, "Original-Envelope-Id"), ["X1"]);
    let names = ["rfc822; sales@old.example", "rfc822; list@old.example"];
    assert_eq!(fields(notice, "Original-Recipient"), names);
}

#[test]
fn wishes_come_through_a_channel_that_brings_mail_in_again() {
    let (origin, next) = (sink(false), sink(true));
    let to = [
        Destination::direct("tcp_origin", "origin.example", origin.port()),
        Destination::direct("tcp_next", "next.example", next.port()),
    ];
    let mut hub = Site::new("wishes-again");
    let text = configuration("expandlimit 1", &to);
    hub.write("sluice.cnf", &format!("{text}\nreprocess\nREPROCESS-DAEMON\n"));
    hub.write("aliases", "sales: joe@next.example, kim@next.example\n");
    hub.start();
    let mut client = hub.talk();
    let recipients = [
        "<sales@hub.example> NOTIFY=SUCCESS ORCPT=rfc822;sales@old.example",
        "<b@next.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@old.example",
    ];
    send(&mut client, " RET=FULL ENVID=X2", &recipients);
    next.wait(1, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    assert!(hub.log().contains("message brought in"), "{}", hub.report());
    assert!(commands(&next, "MAIL")[0].ends_with(" RET=FULL ENVID=X2"), "{:?}", commands(&next, "MAIL"));
    let mut said = commands(&next, "RCPT");
    said.sort();
    assert_eq!(
        said,
        [
            "RCPT TO:<b@next.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@old.example",
            "RCPT TO:<joe@next.example> NOTIFY=NEVER ORCPT=rfc822;sales@old.example",
            "RCPT TO:<kim@next.example> NOTIFY=NEVER ORCPT=rfc822;sales@old.example",
        ]
    );
    let notices = origin.wait(1, SOON);
    assert_eq!(fields(&notices[0], "Action"), ["expanded"]);
    watch("there is one notice, and no word of the way through our own channel", WHILE, || {
        origin.count() == 1
    });
}

#[test]
fn two_hubs_and_a_mailbox_make_one_notice_of_success() {
    let origin = sink(false);
    let mut last = Site::new("wishes-last");
    let to = [Destination::direct("tcp_origin", "origin.example", origin.port())];
    let text = configuration("", &to);
    last.write("sluice.cnf", &text.replace("hub.example", "last.example"));
    let boxes = last.folder().join("mail");
    std::fs::create_dir_all(&boxes).expect("a folder");
    last.write("l_option", &format!("MAILDIR_ROOT={}\n", boxes.display()));
    last.start();
    let port = last.address().port();
    let to = [to[0], Destination::direct("tcp_last", "last.example", port)];
    let mut first = hub("wishes-first", &to);
    first.start();
    let mut client = first.talk();
    send(&mut client, " ENVID=X3", &["<fred@last.example> NOTIFY=SUCCESS"]);
    let notice = &origin.wait(1, SOON)[0];
    assert_eq!(
        (fields(notice, "Action"), fields(notice, "Original-Envelope-Id")),
        (vec!["delivered".into()], vec!["X3".into()]),
        "{}",
        last.report()
    );
    assert_eq!(fields(notice, "Reporting-MTA"), ["dns; last.example"]);
    watch("nothing else is told", WHILE, || origin.count() == 1);
}

#[test]
fn a_peer_that_refuses_bdat_gets_the_message_by_data_in_the_same_session() {
    let next = Sink::start();
    let keywords = vec!["PIPELINING".to_owned(), "CHUNKING".to_owned()];
    let chunk = Some("502 5.5.1 not implemented".to_owned());
    next.behave(Manner { keywords, chunk, ..Manner::default() });
    let mut hub = hub("no-bdat", &[Destination::direct("tcp_next", "next.example", next.port())]);
    hub.start();
    let mut client = hub.talk();
    send(&mut client, "", &["<b@next.example>"]);
    let arrived = next.wait(1, SOON);
    assert!(arrived[0].content.ends_with(b"body line\r\n"));
    assert_eq!((commands(&next, "BDAT").len(), commands(&next, "DATA").len(), next.connections()), (1, 1, 1));
}
