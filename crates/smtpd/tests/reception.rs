//! How messages are received under the keywords of a channel: what is refused, what is repaired, what is kept.
#![allow(missing_docs, clippy::unwrap_used, dead_code)]

#[allow(unreachable_pub)]
mod site;

use std::sync::atomic::Ordering;
use std::time::Duration;

use site::{Addressee, Client, Fake, Manner, Site, addressee, until};
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

fn begin_chunks(client: &mut Client) {
    client.hello();
    assert_eq!(client.say("MAIL FROM:<a@client.example>"), "250 2.1.0 Sender OK");
    assert_eq!(client.say("RCPT TO:<b@site.example>"), "250 2.1.5 Recipient OK");
}

#[test]
fn a_message_in_chunks_arrives_in_wire_form() {
    let site = with(|_| {});
    let mut client = site.client();
    begin_chunks(&mut client);
    client.send("BDAT 12\r\nSubject: a\r\n");
    assert_eq!(client.reply(), "250 2.0.0 12 octets received");
    // Octets that come late, and the next command in one piece with the last of them.
    client.send("BDAT 10 LAST\r\n\r\n.d");
    std::thread::sleep(Duration::from_millis(50));
    client.send("ot\r\nxyNOOP\r\n");
    assert_eq!(client.reply(), "250 2.6.0 Message accepted, id 00000001");
    assert_eq!(client.reply(), "250 2.0.0 OK");
    assert_eq!(last(&site), "Subject: a\r\n\r\n..dot\r\nxy\r\n");
    assert!(!site.accepted()[0].envelope.eight_bit);
}

#[test]
fn a_whole_transaction_with_chunks_may_be_pipelined() {
    let site = with(|_| {});
    let mut client = site.client();
    let large = "0123456789abcd\r\n".repeat(60_000);
    let text = format!(
        "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@site.example>\r\nBDAT {}\r\n{large}BDAT 3\r\nx\r\n\
         BDAT 0 LAST\r\nQUIT\r\n",
        large.len()
    );
    let replies = client.all_replies_to(text.as_bytes());
    let codes: Vec<&str> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["250", "250", "250", "250", "250", "250", "221"], "{replies:?}");
    let accepted = site.accepted().remove(0);
    assert!(accepted.bytes.ends_with(format!("{large}x\r\n").as_bytes()));
    assert!(accepted.chunks.len() > 1, "a large message is handed on in pieces");
}

#[test]
fn octets_behind_a_refused_bdat_are_no_commands() {
    let site = with(|_| {});
    let mut client = site.client();
    let hidden = "RSET\r\nQUIT\r\n".repeat(5000);
    client.send(&format!("EHLO c.example\r\nBDAT {} LAST\r\n{hidden}NOOP\r\n", hidden.len()));
    assert!(client.reply().starts_with("250 "));
    assert_eq!(client.reply(), "503 5.5.1 Send MAIL first");
    assert_eq!(client.reply(), "250 2.0.0 OK");
    begin_chunks(&mut client);
    client.send("BDAT 4\r\na\nb\rBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
    assert_eq!(client.reply(), "554 5.6.0 Message has CR or LF alone; lines end in CRLF");
    assert_eq!(client.reply(), "503 5.5.1 Send MAIL first");
    assert_eq!(client.reply(), "250 2.0.0 OK");
    assert!(site.accepted().is_empty());
}

#[test]
fn chunks_without_an_end_leave_nothing_behind() {
    let site = with(|_| {});
    let mut client = site.client();
    begin_chunks(&mut client);
    client.send("BDAT 3\r\nx\r\n");
    assert!(client.reply().starts_with("250 "));
    assert_eq!(site.fake.drafts.load(Ordering::SeqCst), 1);
    assert_eq!(client.say("RSET"), "250 2.0.0 Reset, no transaction");
    until("the draft has gone", || site.fake.drafts.load(Ordering::SeqCst) == 0);
    begin_chunks(&mut client);
    client.send("BDAT 30\r\nx\r\n");
    drop(client);
    until("the draft has gone", || site.fake.drafts.load(Ordering::SeqCst) == 0);
    assert!(site.accepted().is_empty());
}

#[test]
fn a_chunk_that_does_not_come_costs_the_connection() {
    let mut fake = Fake::default();
    fake.limits.data_timeout = Duration::from_millis(200);
    let site = Site::new(fake);
    let mut client = site.client();
    begin_chunks(&mut client);
    client.send("BDAT 30\r\nx\r\n");
    assert!(client.reply().starts_with("421 4.4.2 "));
    assert_eq!(client.reply(), "(closed)");
}

#[test]
fn a_full_store_refuses_the_chunk_that_it_learns_of() {
    let mut fake = Fake::default();
    fake.on_commit = Manner::Full;
    let site = Site::new(fake);
    let mut client = site.client();
    begin_chunks(&mut client);
    client.send("BDAT 3 LAST\r\nx\r\n");
    assert_eq!(client.reply(), "452 4.3.1 Insufficient storage, try again later");
    assert_eq!(client.say("NOOP"), "250 2.0.0 OK");
}

#[test]
fn nochunkingserver_offers_nothing() {
    let site = with(|reception| reception.chunking = false);
    let mut client = site.client();
    assert!(!client.say("EHLO c.example").contains("CHUNKING"));
    assert_eq!(client.say("BDAT 0 LAST"), "502 5.5.1 BDAT not implemented");
}

#[test]
fn a_recipient_whose_channel_takes_less_is_refused_as_early_as_possible() {
    let site = with(|_| {});
    let mut client = site.client();
    client.hello();
    assert!(client.say("MAIL FROM:<a@client.example> SIZE=21").starts_with("250 "));
    assert_eq!(
        client.say("RCPT TO:<size-20@site.example>"),
        "552 5.3.4 Message size exceeds limit of 20 octets for this recipient"
    );
    assert!(client.say("RCPT TO:<size-21@site.example>").starts_with("250 "));
    client.say("RSET");
    let mut deliver = |recipients: &[&str], content: &str| {
        client.say("MAIL FROM:<a@client.example>");
        for recipient in recipients {
            assert!(client.say(&format!("RCPT TO:<{recipient}>")).starts_with("250 "));
        }
        client.say("DATA");
        client.send(content);
        client.say(".")
    };
    let reply = deliver(&["size-20@site.example", "size-10@site.example"], "123456789012345678901\r\n");
    assert_eq!(reply, "552 5.3.4 Message exceeds limit of 10 octets for its recipients");
    assert!(site.accepted().is_empty());
    let reply = deliver(&["size-20@site.example", "b@site.example"], "123456789012345678901\r\n");
    assert!(reply.starts_with("250 "), "{reply}");
    let recipients = &site.accepted()[0].envelope.recipients;
    assert_eq!(recipients.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), ["b@site.example"]);
    let refused = site.fake.refused.lock().unwrap().remove(0);
    assert_eq!(
        (refused.sender.as_str(), refused.recipient.original.as_str()),
        ("a@client.example", "size-20@site.example")
    );
    assert_eq!(refused.refusal.code, 552);
}

#[test]
fn lines_too_many_for_every_recipient_refuse_the_message() {
    let mut fake = Fake::default();
    fake.list = vec![Addressee { lines_max: Some(2), ..addressee("b@site.example").into() }];
    let site = Site::new(fake);
    let mut client = site.client();
    client.hello();
    for (content, expected) in [
        ("1\r\n2\r\n3\r\n", "552 5.3.4 Message exceeds limit of 2 lines for its recipients"),
        ("1\r\n2\r\n", "250 2.6.0 Message accepted, id 00000002"),
    ] {
        client.say("MAIL FROM:<a@client.example>");
        client.say("RCPT TO:<list@site.example>");
        client.say("DATA");
        client.send(content);
        assert_eq!(client.say("."), expected);
    }
}
