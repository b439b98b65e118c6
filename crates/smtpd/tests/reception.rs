//! How messages are received under the keywords of a channel: what is refused, what is repaired, what is kept.
#![allow(missing_docs, clippy::unwrap_used, dead_code)]

#[allow(unreachable_pub, dead_code)]
mod site;

use std::sync::atomic::Ordering;
use std::time::Duration;

use site::{Addressee, Client, Fake, Manner, Site, addressee, until};
use sluice_smtpd::{Ends, LongLines, Reception};

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
    let warned = "X-Sluice-Warning: Lines longer than SMTP allows were";
    let cut = format!("{warned} cut off.\r\nSubject: a\r\n\r\n{} {}\r\n", "x".repeat(990), "y".repeat(7));
    assert_eq!(last(&site), cut);
    let site = with(|reception| reception.long_lines = LongLines::Wrap);
    assert!(deliver(&mut site.client(), "", &text).starts_with("250 "));
    let broken = format!("Subject: a\r\n\r\n{}\r\n {}\r\n", "x".repeat(990), "y".repeat(90));
    assert_eq!(last(&site), format!("{warned} broken.\r\n{broken}"));
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

#[test]
fn submit_completes_the_header() {
    let site = with(|reception| reception.submit = true);
    let mut client = site.client();
    assert!(deliver(&mut client, "", "Subject: a\r\n\r\nDate: in the body\r\n").starts_with("250 "));
    let text = last(&site);
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "Date: in the body\r\n");
    let lines: Vec<&str> = header.split("\r\n").collect();
    assert!(lines[0].starts_with("Date: ") && lines[0].ends_with(" +0000"), "{header}");
    assert!(
        lines[1].starts_with("Message-ID: <00000001.") && lines[1].ends_with("@hub.example>"),
        "{header}"
    );
    assert_eq!(lines[2..], ["Subject: a"]);
    let whole = "DATE: now\r\nmessage-id: <x@y>\r\n\r\nx\r\n";
    assert!(deliver(&mut client, "", whole).starts_with("250 "));
    assert_eq!(last(&site), whole);
    // A large message has its beginning handed on before its end is known.
    let large = format!("Subject: a\r\n\r\n{}", "0123456789abcd\r\n".repeat(40_000));
    assert!(deliver(&mut client, "", &large).starts_with("250 "));
    let text = last(&site);
    assert!(text.starts_with("Date: ") && text.ends_with(&large));
    // Without the keyword nothing is put in.
    let site = with(|_| {});
    deliver(&mut site.client(), "", "Subject: a\r\n\r\n");
    assert_eq!(last(&site), "Subject: a\r\n\r\n");
}

#[test]
fn a_large_message_with_a_late_long_line_keeps_its_form() {
    let site = with(|reception| reception.long_lines = LongLines::Truncate);
    let large = format!("Subject: a\r\n\r\n{}{}\r\n", "0123456789abcd\r\n".repeat(40_000), "x".repeat(1200));
    assert!(deliver(&mut site.client(), "", &large).starts_with("250 "));
    let text = last(&site);
    assert!(text.starts_with("Subject: a\r\n"), "the field comes too late for the beginning");
    assert!(text.ends_with(&format!("\n{}\r\n", "x".repeat(998))));
}

#[test]
fn received_names_the_sender_where_a_copy_has_another() {
    for (received_from, named) in [(true, true), (false, false)] {
        let mut fake = Fake::default();
        fake.reception.received_from = received_from;
        let sender = Some("owner@site.example".to_owned());
        fake.list = vec![Addressee { sender, ..addressee("b@site.example").into() }];
        let site = Site::new(fake);
        let mut client = site.client();
        client.hello();
        client.say("MAIL FROM:<me@client.example>");
        client.say("RCPT TO:<list@site.example>");
        client.say("DATA");
        assert!(client.say(".").starts_with("250 "));
        let text = String::from_utf8(site.accepted().remove(0).bytes).unwrap();
        assert_eq!(text.contains("(original mail from me@client.example)"), named, "{text}");
    }
    let site = with(|_| {});
    deliver(&mut site.client(), "", "Subject: a\r\n\r\n");
    let text = String::from_utf8(site.accepted().remove(0).bytes).unwrap();
    assert!(!text.contains("original mail"), "the sender is that of the envelope: {text}");
}

#[test]
fn command_lines_end_as_the_channel_says() {
    let message = |client: &mut Client, end: &str| {
        for (line, reply) in [
            ("EHLO c.example", "250 "),
            ("MAIL FROM:<a@c.example>", "250 "),
            ("RCPT TO:<b@site.example>", "250 "),
            ("DATA", "354 "),
            ("Subject: a\r\n\r\n.", "250 "),
            ("QUIT", "221 "),
        ] {
            let end = if line.contains(' ') && line.contains('\r') { "\r\n" } else { end };
            client.send(&format!("{line}{end}"));
            let said = client.reply();
            assert!(said.starts_with(reply), "{line:?} with {end:?}: {said}");
        }
    };
    for (line_ends, ends) in [
        (Ends::CrOrLf, &["\r\n", "\n", "\r"][..]),
        (Ends::Cr, &["\r\n", "\r"]),
        (Ends::Lf, &["\r\n", "\n"]),
        (Ends::Crlf, &["\r\n"]),
    ] {
        for end in ends {
            let site = with(|reception| reception.line_ends = line_ends);
            message(&mut site.client(), end);
            assert_eq!(site.accepted().len(), 1, "{line_ends:?} {end:?}");
        }
    }
    let site = with(|reception| reception.line_ends = Ends::Crlf);
    assert_eq!(site.client().say("NOOP\nNOOP"), "500 5.5.2 Illegal character in command line");
}

#[test]
fn an_lf_that_comes_late_is_no_content() {
    let site = with(|_| {});
    let mut client = site.client();
    begin_chunks(&mut client);
    client.send("DATA\r");
    assert!(client.reply().starts_with("354 "));
    client.send("\nSubject: a\r\n\r\n.\r\n");
    assert!(client.reply().starts_with("250 "));
    assert_eq!(last(&site), "Subject: a\r\n\r\n");
}

#[test]
fn a_name_service_that_does_not_answer_is_not_waited_for_long() {
    let mut fake = Fake::default();
    fake.limits.lookup_timeout = Duration::from_millis(50);
    let site = Site::new(fake);
    let mut client = site.client();
    client.hello();
    assert_eq!(
        client.say("MAIL FROM:<a@silent.example>"),
        "450 4.4.3 The domain of the sender could not be looked up, try again later"
    );
    assert_eq!(client.say("MAIL FROM:<a@client.example>"), "250 2.1.0 Sender OK");
}
