//! Dialogues in which the envelope of a message goes with the message before it.

use super::transaction::{GROUP_BYTES_MAX, GROUP_RECIPIENTS_MAX};
use super::*;
use crate::client::tests::{BASE, Case, case};

/// As far as the message at hand, with what goes behind it.
const BEGIN: &str = "S: 220 mx
     C: EHLO me.example
     S: 250-mx
     S: 250 PIPELINING
     C: MAIL FROM:<s@a.example>
     C: RCPT TO:<r@b>
     C: DATA
     S: 250 ok
     S: 250 ok
     S: 354 go
     C: (message)
     C: MAIL FROM:<s@a.example>
     C: RCPT TO:<q@b>
     C: DATA
";

const FIRST: &str = "S: 250 one\n= r@b delivered 2.0.0, mx: 250 one\n";
const END: &str = "C: QUIT\nS: 221 bye\n> 4.0.0 the connection was closed by us";

fn two() -> Case<'static> {
    case(&["r@b"]).then(&["q@b"]).ahead()
}

fn plays(parts: &[&str]) {
    two().plays(&format!("{BEGIN}{}", parts.concat()));
}

#[test]
fn each_message_takes_one_turn() {
    two().then(&["r@b", "p@b"]).plays(&format!(
        "{BEGIN}{FIRST}S: 250 ok
         S: 250 ok
         S: 354 go
         C: (message)
         C: MAIL FROM:<s@a.example>
         C: RCPT TO:<r@b>
         C: RCPT TO:<p@b>
         C: DATA
         S: 250 two
         = q@b delivered 2.0.0, mx: 250 two
         S: 250 ok
         S: 550 5.1.1 unknown
         S: 250 ok
         S: 354 go
         C: (message)
         S: 250 three
         = r@b failed 5.1.1, mx: 550 5.1.1 unknown
         = p@b delivered 2.0.0, mx: 250 three
         {END}"
    ));
}

#[test]
fn what_becomes_of_the_first_message_is_nothing_to_the_second() {
    let second =
        "S: 250 ok\nS: 250 ok\nS: 354 go\nC: (message)\nS: 250 two\n= q@b delivered 2.0.0, mx: 250 two\n";
    plays(&["S: 451 4.3.0 later\n= r@b deferred 4.3.0, mx: 451 4.3.0 later\n", second, END]);
    plays(&["S: 554 5.6.0 no\n= r@b failed 5.6.0, mx: 554 5.6.0 no\n", second, END]);
}

#[test]
fn a_second_message_that_nobody_wants_leaves_the_connection_free() {
    // The server refuses DATA, as it should.
    plays(&[
        FIRST,
        "S: 250 ok\nS: 550 5.1.1 unknown\nS: 503 5.5.1 nobody\n= q@b failed 5.1.1, mx: 550 5.1.1 unknown\n",
        END,
    ]);
    // It does not, and gets an empty message.
    plays(&[
        FIRST,
        "S: 250 ok\nS: 550 5.1.1 unknown\nS: 354 go\nC: .\nS: 554 5.5.1 nobody\n= q@b failed 5.1.1, mx: 550 5.1.1 unknown\n",
        END,
    ]);
    plays(&[
        FIRST,
        "S: 452 4.3.1 full\nS: 503 5.5.1 no MAIL\nS: 503 5.5.1 no MAIL\n= q@b deferred 4.3.1, mx: 452 4.3.1 full\n",
        END,
    ]);
}

#[test]
fn a_message_whose_envelope_was_never_looked_at_goes_over_another_connection() {
    let lost = |what: &str| format!("= q@b deferred 4.4.2, mx: {what}\n= stale\n> 4.4.2 {what}");
    let closed = lost("connection lost while waiting for the reply to MAIL");
    plays(&[FIRST, "! closed\n", &closed]);
    let text = "connection lost while waiting for the reply to the end of the message";
    plays(&["! closed\n", &format!("= r@b deferred 4.4.2, mx: {text}\n"), &lost(text)]);
    let text = "connection lost while sending the message: broken pipe";
    plays(&["! cut\n", &format!("= r@b deferred 4.4.2, mx: {text}\n"), &lost(text)]);
    let gone = "421 4.3.2 enough";
    let stale = format!("= q@b deferred 4.3.2, mx: {gone}\n= stale\n> 4.3.2 {gone}");
    plays(&[FIRST, "S: 421 4.3.2 enough\n", &stale]);
    plays(&["S: 421 4.3.2 enough\n= r@b deferred 4.3.2, mx: 421 4.3.2 enough\n", &stale]);
}

#[test]
fn a_message_whose_envelope_was_taken_is_not_sent_again_at_once() {
    plays(&[
        FIRST,
        "S: 250 ok
         ! closed
         = q@b deferred 4.4.2, mx: connection lost while waiting for the reply to RCPT
         > 4.4.2 connection lost while waiting for the reply to RCPT",
    ]);
}

/// The envelope of the second message is sent when the first is over.
fn comes_later(case: &Case<'_>, script: &str) {
    let (before, after) = script.split_once("(message)").unwrap();
    let reply = after.lines().nth(1).unwrap().trim();
    assert!(reply.starts_with("S: 250 "), "{reply}: nothing goes with the message {before}");
    case.plays(script);
}

#[test]
fn nothing_goes_ahead_that_may_not() {
    let later = |offers: &str, commands: &str, second: &str| {
        let commands = |to: &str| commands.replace("WHO", to);
        format!(
            "S: 220 mx
             C: EHLO me.example
             {offers}
             {}
             C: (message)
             {FIRST}{}
             C: (message)
             S: 250 two
             = {second} delivered 2.0.0, mx: 250 two
             {END}",
            commands("r@b"),
            commands(second)
        )
    };
    let single = "C: MAIL FROM:<s@a.example>\nS: 250 ok\nC: RCPT TO:<WHO>\nS: 250 ok\nC: DATA\nS: 354 go";
    let grouped = "C: MAIL FROM:<s@a.example>\nC: RCPT TO:<WHO>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go";
    let pipelining = "S: 250-mx\nS: 250 PIPELINING";
    comes_later(&two(), &later("S: 250 mx", single, "q@b"));
    let group_of_two =
        "C: MAIL FROM:<s@a.example>\nC: RCPT TO:<WHO>\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go";
    let two_at_most = two().manner(|manner| manner.streaming = Some(2));
    comes_later(&two_at_most, &later(pipelining, group_of_two, "q@b"));
    // A chunk is no message behind DATA.
    let chunks = two().manner(|manner| manner.chunking = true);
    comes_later(&chunks, &later("S: 250-mx\nS: 250-PIPELINING\nS: 250 CHUNKING", grouped, "q@b"));
}

#[test]
fn an_envelope_that_is_not_one_group_waits_for_its_turn() {
    let mut client = Client::new(Manner { name: "me".into(), ..Manner::default() });
    client.receive(b"220 mx\r\n");
    client.output_sent();
    client.receive(b"250-mx\r\n250 PIPELINING\r\n");
    let first = |client: &mut Client| {
        client.begin(&BASE, ["r@b"]);
        client.output_sent();
        client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n");
        assert_eq!(client.step(), Step::Content);
    };
    first(&mut client);
    let many: Vec<String> = (0..=GROUP_RECIPIENTS_MAX).map(|number| format!("{number}@b")).collect();
    let long = format!("{}@b", "x".repeat(800));
    let longs = vec![long.as_str(); GROUP_BYTES_MAX / 800 + 1];
    for recipients in
        [many.iter().map(String::as_str).collect(), longs, vec!["r@b\r\nRSET"], vec!["\u{e9}@b"], vec![]]
    {
        assert!(!client.begin_next(&BASE, recipients.iter().copied()), "{recipients:?}");
        assert!(!client.has_begun_next());
        assert_eq!(client.envelope_ahead().concat(), b"");
    }
    assert!(!client.begin_next(&Mail { eight_bit: true, ..BASE }, ["r@b"]), "8BITMIME is not offered");
    assert!(client.begin_next(&BASE, many[1..].iter().map(String::as_str)));
    assert!(!client.begin_next(&BASE, ["r@b"]), "one at a time");
    assert_eq!(client.transactions(), 2);
}

#[test]
fn somebody_who_is_left_over_goes_first() {
    case(&["r@b", "p@b"]).then(&["q@b"]).ahead().plays(
        "S: 220 mx
         C: EHLO me.example
         S: 250-mx
         S: 250 PIPELINING
         C: MAIL FROM:<s@a.example>
         C: RCPT TO:<r@b>
         C: RCPT TO:<p@b>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 452 4.5.3 too many
         S: 354 go
         C: (message)
         S: 250 one
         = r@b delivered 2.0.0, mx: 250 one
         = p@b deferred 4.5.3, mx: 452 4.5.3 too many (surplus)
         C: MAIL FROM:<s@a.example>
         C: RCPT TO:<q@b>
         C: DATA
         ! closed
         = q@b deferred 4.4.2, mx: connection lost while waiting for the reply to MAIL
         = stale
         > 4.4.2 connection lost while waiting for the reply to MAIL",
    );
}
