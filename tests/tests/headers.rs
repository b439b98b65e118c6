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
