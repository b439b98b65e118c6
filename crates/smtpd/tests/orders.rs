//! What the intake orders beside its replies: delays, fields, discarding.
#![allow(missing_docs, clippy::unwrap_used)]

#[allow(unreachable_pub, dead_code)]
mod site;

use std::time::{Duration, Instant};

use site::{Client, Fake, Site};

/// The delay that the intake orders.
const DELAY: Duration = Duration::from_millis(300);

fn slow(client: &mut Client, line: &str, reply: &str) {
    let start = Instant::now();
    let said = client.say(line);
    assert!(said.starts_with(reply), "{line}: {said}");
    assert!(start.elapsed() >= DELAY, "{line} is answered after {:?}", start.elapsed());
}

/// Commands that must not wait: all of them together take less than one delay.
fn fast(client: &mut Client, lines: &[(&str, &str)]) {
    let start = Instant::now();
    for (line, reply) in lines {
        let said = client.say(line);
        assert!(said.starts_with(reply), "{line}: {said}");
    }
    assert!(start.elapsed() < DELAY, "{lines:?} take {:?}", start.elapsed());
}

#[test]
fn a_delay_for_each_command_lasts_as_long_as_the_transaction() {
    let site = Site::new(Fake::default());
    let mut client = site.client();
    client.hello();
    slow(&mut client, "MAIL FROM:<slow@x>", "250");
    slow(&mut client, "NOOP", "250");
    slow(&mut client, "RCPT TO:<b@site.example>", "250");
    slow(&mut client, "RSET", "250");
    fast(&mut client, &[("NOOP", "250"), ("MAIL FROM:<a@x>", "250"), ("RCPT TO:<b@x>", "250")]);
    slow(&mut client, "RCPT TO:<slow@x>", "250");
    fast(&mut client, &[("RCPT TO:<c@x>", "250")]);
    slow(&mut client, "RCPT TO:<slow-unknown@x>", "550");
    slow(&mut client, "DATA", "354");
    fast(&mut client, &[("text\r\n.", "250"), ("MAIL FROM:<a@x>", "250")]);
}

#[test]
fn a_refusal_waits_too() {
    let site = Site::new(Fake::default());
    let mut client = site.client();
    client.hello();
    slow(&mut client, "MAIL FROM:<refused-slowly@x>", "550");
    fast(&mut client, &[("MAIL FROM:<a@x>", "250")]);
}

#[test]
fn a_long_delay_holds_up_neither_the_others_nor_the_stop() {
    let mut site = Site::new(Fake::default());
    let mut clients: Vec<Client> = (0..50).map(|_| site.client()).collect();
    for client in &mut clients {
        client.hello();
        client.say("MAIL FROM:<a@x>");
        client.send("RCPT TO:<for-ever@x>\r\n");
    }
    let mut other = site.client();
    other.hello();
    fast(&mut other, &[("MAIL FROM:<a@x>", "250"), ("RCPT TO:<b@x>", "250"), ("QUIT", "221")]);
    let start = Instant::now();
    site.stopped();
    assert!(start.elapsed() < Duration::from_secs(5), "the stop took {:?}", start.elapsed());
}

#[test]
fn fields_stand_below_our_own_and_belong_to_one_message() {
    let site = Site::new(Fake::default());
    let mut client = site.client();
    client.hello();
    for (from, to) in [("marked@x", "marked@x"), ("a@x", "b@x")] {
        client.say(&format!("MAIL FROM:<{from}>"));
        client.say(&format!("RCPT TO:<{to}>"));
        client.say("DATA");
        assert!(client.say("Subject: x\r\n\r\ntext\r\n.").starts_with("250"));
    }
    let bytes: Vec<String> =
        site.accepted().into_iter().map(|message| String::from_utf8(message.bytes).unwrap()).collect();
    assert!(bytes[0].starts_with("Received:"));
    assert!(
        bytes[0].ends_with(" +0000\r\nX-Mark: from\r\nX-Mark: to\r\nSubject: x\r\n\r\ntext\r\n"),
        "{}",
        bytes[0]
    );
    assert!(!bytes[1].contains("X-Mark"), "{}", bytes[1]);
}

#[test]
fn a_discarded_message_is_accepted_and_gone_for_all() {
    let site = Site::new(Fake::default());
    let mut client = site.client();
    client.hello();
    for line in ["MAIL FROM:<a@x>", "RCPT TO:<b@x>", "RCPT TO:<discarded@x>", "RCPT TO:<c@x>"] {
        assert!(client.say(line).starts_with("250"));
    }
    client.say("DATA");
    assert!(client.say("text\r\n.").starts_with("250 2.6.0"));
    assert!(site.accepted().is_empty());
    client.say("MAIL FROM:<a@x>");
    client.say("RCPT TO:<b@x>");
    client.say("DATA");
    assert!(client.say("text\r\n.").starts_with("250 2.6.0"));
    assert_eq!(site.accepted().len(), 1, "the next message is another one");
}
