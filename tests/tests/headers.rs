//! What becomes of the header of a message on its way through the hub, in the copy for each channel.

use std::fmt::Write as _;

use sluice_testkit::{Arrived, Sink, Site, below_received, message};
use sluice_tests::SOON;

/// A hub with these rules and blocks for its channels; the port of a sink stands for `{0}`, `{1}` and so on.
fn site(name: &str, text: &str, sinks: &[&Sink]) -> Site {
    let site = Site::new(name);
    let mut text = text.to_owned();
    for (index, sink) in sinks.iter().enumerate() {
        text =
            text.replace(&format!("{{{index}}}"), &format!("nomx daemon [127.0.0.1] port {}", sink.port()));
    }
    site.write("sluice.cnf", &text);
    site
}

fn text(arrived: &Arrived) -> String {
    String::from_utf8_lossy(below_received(&arrived.content)).into_owned()
}

const NEAR_AND_FAR: &str = "hub.example     $U@hub.example
near            $U%near.example@TCP-NEAR
near.example    $U@near.example@TCP-NEAR
inside          $U%secret.example@TCP-NEAR$Qtcp_near
inside          $U%public.example@TCP-FAR
gone.example    $U@nowhere
.               $U%$H@TCP-FAR

l
hub.example

tcp_local smtp remotehost
TCP-DAEMON

tcp_near smtp {0}
TCP-NEAR near.hub.example

tcp_far smtp header_733 {1}
TCP-FAR
";

#[test]
fn each_channel_gets_the_header_that_its_rules_make() {
    let (near, far) = (Sink::start(), Sink::start());
    // Rules of the form A@B are for the channel's host; near.example has a template of its own.
    let rules = NEAR_AND_FAR
        .replace("near.example    $U@near.example@TCP-NEAR\n", "near.example    $U%$D@TCP-NEAR\n");
    let mut hub = site("headers", &rules, &[&near, &far]);
    hub.start();
    let mut client = hub.talk();
    let content = b"From: \"A. Sender\"\r\n <a@inside> (me)\r\nTO:ann@near,\r\n\tBert <b@far.example>, <@r.example:c@gone.example>\r\n\
        cc: root, <@x.example,@y.example:z@w.example>\r\nSubject: a@inside\r\n\r\nTo: ann@near\r\n..stuffed\r\n";
    let to = ["ann@near", "b@far.example", "c@near"];
    assert_eq!(client.deliver("sender@inside", &to, content).expect("an answer").code, 250);
    let at_near = near.wait(1, SOON).remove(0);
    assert_eq!(at_near.from, "sender@secret.example");
    assert_eq!(at_near.to, ["ann@near.example", "c@near.example"]);
    assert_eq!(
        text(&at_near),
        "From: \"A. Sender\"\r\n <a@secret.example> (me)\r\nTO:ann@near.example,\r\n\tBert <b@far.example>, <@r.example:c@gone.example>\r\n\
         cc: root@client.example, <@x.example,@y.example:z@w.example>\r\nSubject: a@inside\r\n\r\nTo: ann@near\r\n..stuffed\r\n"
    );
    let at_far = far.wait(1, SOON).remove(0);
    assert_eq!(at_far.from, "sender@public.example");
    assert_eq!(at_far.to, ["b@far.example"]);
    assert_eq!(
        text(&at_far),
        "From: \"A. Sender\"\r\n <a@public.example> (me)\r\nTO:ann@near.example,\r\n\tBert <b@far.example>, <c%gone.example@r.example>\r\n\
         cc: root@client.example, <z%w.example%y.example@x.example>\r\nSubject: a@inside\r\n\r\nTo: ann@near\r\n..stuffed\r\n"
    );
}

#[test]
fn a_header_that_nothing_changes_is_the_same_octet_for_octet_and_stored_once() {
    let (near, far) = (Sink::start(), Sink::start());
    let mut hub = site("headers-same", NEAR_AND_FAR, &[&near, &far]);
    hub.replace("sluice.cnf", "tcp_near smtp nomx", "tcp_near smtp periodic nomx");
    hub.replace("sluice.cnf", "tcp_far smtp header_733 nomx", "tcp_far smtp header_733 periodic nomx");
    hub.start();
    let mut client = hub.talk();
    let content = b"X-Odd : =?utf-8?q?x?=\r\nnot a field\r\nTo: (c) Ann  <\r\n a@b.example >,, d@e.example (\xe4)\r\nFrom: John Smith\r\n\
        Cc: \"unclosed\r\nReply-To:\r\n\r\nbody\r\n";
    assert_eq!(client.deliver("", &["x@near", "y@far.example"], content).expect("an answer").code, 250);
    let listed = hub.json(&["queue", "list"]);
    let mut ids: Vec<String> = listed.iter().map(|one| one["id"].to_string()).collect();
    ids.dedup();
    assert_eq!((listed.len(), ids.len()), (2, 1), "{listed:?}");
    for channel in ["#tcp_near", "#tcp_far"] {
        assert_eq!(hub.command(&["trigger", channel]).code, 0);
    }
    for sink in [&near, &far] {
        assert_eq!(below_received(&sink.wait(1, SOON)[0].content), content);
    }
}

#[test]
fn long_messages_have_their_header_changed_in_every_copy() {
    let (near, far) = (Sink::start(), Sink::start());
    let mut hub = site("headers-long", NEAR_AND_FAR, &[&near, &far]);
    hub.start();
    let body = message(1, 900_000);
    let body = below_received(&body);
    let mut content = String::from("From: a@inside\r\nCc: ");
    for number in 0..300 {
        let _ = write!(content, "u{number}@near,\r\n ");
    }
    content.push_str("v@near\r\n");
    let mut content = content.into_bytes();
    content.extend_from_slice(body);
    let mut client = hub.talk();
    let reply = client.deliver("s@w.example", &["x@near", "y@far.example", "z@far.example"], &content);
    assert_eq!(reply.expect("an answer").code, 250);
    for (sink, domain) in [(&near, "secret.example"), (&far, "public.example")] {
        let got = sink.wait(1, SOON).remove(0);
        let expected = String::from_utf8_lossy(&content).replacen("@near", "@near.example", 301).replacen(
            "a@inside",
            &format!("a@{domain}"),
            1,
        );
        assert!(text(&got) == expected, "{}", &text(&got)[..600]);
    }
}

const DRESSED: &str = "hub.example     $U@hub.example
.               $U%$H@TCP-NEAR
far.example     $U%$D@TCP-FAR
one.example     $U%$D@TCP-ONE

l
hub.example

tcp_local smtp missingrecipientpolicy 2 headerread
TCP-DAEMON

tcp_near smtp addreturnpath maxheaderaddrs 2 {0}
TCP-NEAR

tcp_far smtp headertrim x_env_to {1}
TCP-FAR

tcp_one smtp single x_env_to {1}
TCP-ONE
";

/// All of the content, the text of `Received:` fields left out.
fn whole(arrived: &Arrived) -> String {
    let text = String::from_utf8_lossy(&arrived.content);
    let mut out = String::new();
    let mut trace = false;
    for line in text.split_inclusive("\r\n") {
        trace = line.starts_with("Received:") || (trace && line.starts_with([' ', '\t']));
        match (trace, line.starts_with("Received:")) {
            (true, true) => out.push_str("(received)\r\n"),
            (true, false) => {}
            (false, _) => out.push_str(line),
        }
    }
    out
}

#[test]
fn channels_add_take_away_and_split_header_lines() {
    let (near, far) = (Sink::start(), Sink::start());
    let mut hub = site("headers-dressed", DRESSED, &[&near, &far]);
    hub.write("tcp_local_read_headers.opt", "X-Secret: MAXIMUM=-1\nReceived: MAXIMUM=1\n");
    hub.write("tcp_far_headers.opt", "Subject: RELABEL=\"X-Subject\"\nOrganization: FILL=\"Example\"\n");
    hub.start();
    let mut client = hub.talk();
    let content =
        b"Received: from a\r\n by b\r\nReceived: from c\r\nX-Secret: 1\r\nSubject: hello\r\n\r\nbody\r\n";
    let to =
        ["ann@near.example", "bert@far.example", "carl@far.example", "dora@one.example", "ed@one.example"];
    assert_eq!(client.deliver("s@w.example", &to, content).expect("an answer").code, 250);
    let given =
        "To: ann@near.example, bert@far.example, carl@far.example, dora@one.example,\r\n ed@one.example\r\n";
    assert_eq!(
        whole(&near.wait(1, SOON)[0]),
        "Return-Path: <s@w.example>\r\n(received)\r\n(received)\r\nSubject: hello\r\nTo: ann@near.example, bert@far.example\r\n\
         To: carl@far.example, dora@one.example\r\nTo: ed@one.example\r\n\r\nbody\r\n"
    );
    let mut at_far = far.wait(3, SOON);
    at_far.sort_by(|one, other| one.to.cmp(&other.to));
    let recipients: Vec<String> = at_far.iter().map(|one| one.to.join(" ")).collect();
    assert_eq!(recipients, ["bert@far.example carl@far.example", "dora@one.example", "ed@one.example"]);
    assert_eq!(
        whole(&at_far[0]),
        format!(
            "(received)\r\n(received)\r\nX-Subject: hello\r\n{given}X-Envelope-To: bert@far.example, carl@far.example\r\n\
             Organization: Example\r\n\r\nbody\r\n"
        )
    );
    for (index, name) in [(1, "dora"), (2, "ed")] {
        assert_eq!(
            whole(&at_far[index]),
            format!(
                "(received)\r\n(received)\r\nSubject: hello\r\n{given}X-Envelope-To: {name}@one.example\r\n\r\nbody\r\n"
            )
        );
    }
}

#[test]
fn a_message_without_recipient_fields_can_be_refused() {
    let (near, far) = (Sink::start(), Sink::start());
    let mut hub = site("headers-refused", DRESSED, &[&near, &far]);
    hub.replace("sluice.cnf", "missingrecipientpolicy 2 headerread", "");
    hub.replace("sluice.cnf", "headertrim", "");
    hub.write("option.dat", "SPOOL_DIR=../spool\nMISSING_RECIPIENT_POLICY=6\n");
    hub.start();
    let mut client = hub.talk();
    let to = ["ann@near.example", "bert@far.example"];
    let long = [b"Subject: x\r\n".as_slice(), below_received(&message(1, 900_000))].concat();
    for content in [&b"Subject: x\r\n\r\nbody\r\n"[..], b"\r\nTo: ann@near.example\r\n"] {
        let reply = client.deliver("s@w.example", &to, content).expect("an answer");
        assert_eq!(
            (reply.code, reply.text().as_str()),
            (554, "5.6.0 the message has no To, Cc or Bcc field")
        );
    }
    assert_eq!(hub.waiting(None), 0);
    assert_eq!(client.deliver("s@w.example", &to, b"Cc:\r\n\r\nbody\r\n").expect("an answer").code, 250);
    near.wait(1, SOON);
    let mut header = String::from_utf8_lossy(&long).into_owned();
    header = header.replace("To: ", "X-To: ");
    assert_eq!(client.deliver("s@w.example", &to, header.as_bytes()).expect("an answer").code, 554);
    assert_eq!(near.count(), 1);
}

#[test]
fn enclosed_headers_are_rewritten_where_the_channel_says_inner() {
    let (near, far) = (Sink::start(), Sink::start());
    let mut hub = site("headers-inner", NEAR_AND_FAR, &[&near, &far]);
    hub.replace("sluice.cnf", "tcp_near smtp", "tcp_near smtp inner");
    hub.start();
    let mut client = hub.talk();
    let content = "From: a@inside\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nTo: ann@near\r\n--b\r\n\
        Content-Type: message/rfc822\r\n\r\nFrom: x@inside\r\nTo: ann@near,\r\n bert@near\r\n\r\nTo: ann@near\r\n--b\r\n\r\nTo: ann@near\r\n--b--\r\n";
    let to = ["c@near", "d@far.example"];
    assert_eq!(client.deliver("s@w.example", &to, content.as_bytes()).expect("an answer").code, 250);
    let outer = |domain: &str| content.replacen("a@inside", &format!("a@{domain}"), 1);
    assert_eq!(text(&far.wait(1, SOON)[0]), outer("public.example"));
    let inner = "From: x@secret.example\r\nTo: ann@near.example,\r\n bert@near.example\r\n";
    let inner = outer("secret.example").replace("From: x@inside\r\nTo: ann@near,\r\n bert@near\r\n", inner);
    assert_eq!(text(&near.wait(1, SOON)[0]), inner);
}

#[test]
fn the_rewriting_test_shows_addresses_as_the_copy_has_them() {
    let (near, far) = (Sink::start(), Sink::start());
    let hub = site("headers-test", NEAR_AND_FAR, &[&near, &far]);
    for (kind, destination, address, expected) in [
        ("header-to", "tcp_near", "root@hub.example", "root@near.hub.example"),
        ("header-from", "tcp_far", "@a.example,@b.example:u@inside", "u%inside%b.example@a.example"),
        ("envelope-from", "tcp_far", "@a.example,@b.example:u@inside", "@a.example,@b.example:u@inside"),
        ("header-from", "tcp_near", "u@inside", "u@secret.example"),
        ("header-from", "tcp_far", "u@inside", "u@public.example"),
    ] {
        let asked = ["test", "rewrite", "--kind", kind, "--destination-channel", destination, address];
        assert_eq!(hub.json(&asked)[0]["final_address"], expected, "{kind} {destination} {address}");
    }
}
