//! How messages are received under the keywords of a channel: what is refused, what is repaired, what is kept.
#![allow(missing_docs, clippy::unwrap_used, dead_code)]

#[allow(unreachable_pub)]
mod site;

use site::{Client, Fake, Site};
use sluice_smtpd::{LongLines, Reception};

fn with(change: impl FnOnce(&mut Reception)) -> Site {
    let mut fake = Fake::default();
    change(&mut fake.reception);
    Site::new(fake)
}

/// Sends a message with that content; the reply to its end.
fn deliver(client: &mut Client, params: &str, content: &str) -> String {
    client.hello();
    assert_eq!(client.say(&format!("MAIL FROM:<a@client.example>{params}")), "250 2.1.0 Sender OK");
    assert_eq!(client.say("RCPT TO:<b@site.example>"), "250 2.1.5 Recipient OK");
    assert!(client.say("DATA").starts_with("354 "));
    client.send(content);
    client.say(".")
}

/// The content of the last message, without our `Received:`.
fn last(site: &Site) -> String {
    let text = String::from_utf8(site.accepted().pop().unwrap().bytes).unwrap();
    let mut lines = text.split_inclusive("\r\n").skip(1).skip_while(|line| line.starts_with('\t'));
    lines.by_ref().collect()
}

#[test]
fn a_limit_on_lines_refuses_longer_messages() {
    let site = with(|reception| reception.max_lines = Some(4));
    let mut client = site.client();
    assert!(deliver(&mut client, "", "Subject: a\r\n\r\none\r\ntwo\r\n").starts_with("250 "));
    let reply = deliver(&mut client, "", "Subject: a\r\n\r\none\r\ntwo\r\nthree\r\n");
    assert_eq!(reply, "552 5.3.4 Message exceeds limit of 4 lines");
    assert_eq!(site.accepted().len(), 1);
}

#[test]
fn eightstrict_wants_8_bit_text_announced() {
    let site = with(|reception| reception.eight_bit_strict = true);
    let mut client = site.client();
    let text = "Subject: a\r\n\r\ngr\u{fc}n\r\n";
    assert_eq!(
        deliver(&mut client, "", text),
        "554 5.6.1 Message has 8-bit characters and came without BODY=8BITMIME"
    );
    assert!(deliver(&mut client, " BODY=8BITMIME", text).starts_with("250 "));
    assert!(deliver(&mut client, " SMTPUTF8", text).starts_with("250 "));
    assert!(deliver(&mut client, "", "Subject: a\r\n\r\ngreen\r\n").starts_with("250 "));
    // eightnegotiate and eightbit take it, whatever was said.
    let site = with(|_| {});
    assert!(deliver(&mut site.client(), "", text).starts_with("250 "));
}

#[test]
fn long_lines_are_refused_cut_or_broken() {
    let text = format!("Subject: a\r\n\r\n{} {}\r\n", "x".repeat(990), "y".repeat(90));
    let site = with(|reception| reception.long_lines = LongLines::Refuse);
    assert_eq!(
        deliver(&mut site.client(), "", &text),
        "554 5.6.0 Message has a line longer than 1000 octets"
    );
    let site = with(|reception| reception.long_lines = LongLines::Truncate);
    assert!(deliver(&mut site.client(), "", &text).starts_with("250 "));
    assert_eq!(last(&site), format!("Subject: a\r\n\r\n{} {}\r\n", "x".repeat(990), "y".repeat(7)));
    let site = with(|reception| reception.long_lines = LongLines::Wrap);
    assert!(deliver(&mut site.client(), "", &text).starts_with("250 "));
    assert_eq!(last(&site), format!("Subject: a\r\n\r\n{}\r\n {}\r\n", "x".repeat(990), "y".repeat(90)));
}

#[test]
fn noreceivedfor_does_not_name_the_recipient() {
    for (received_for, named) in [(true, true), (false, false)] {
        let site = with(|reception| reception.received_for = received_for);
        deliver(&mut site.client(), "", "Subject: a\r\n\r\n");
        let text = String::from_utf8(site.accepted().pop().unwrap().bytes).unwrap();
        assert_eq!(text.contains("for <b@site.example>"), named, "{text}");
    }
}
