//! Dialogues of LMTP (RFC 2033), as those of SMTP are written in `tests`.

#![allow(clippy::unwrap_used)]

use super::tests::{BASE, Case, case};
use super::*;

const OPENED: &str = "S: 220 store LMTP
    C: LHLO me.example
    S: 250-store
    S: 250 PIPELINING
    C: MAIL FROM:<s@a.example>
";

fn lmtp<'a>(recipients: &[&'a str]) -> Case<'a> {
    case(recipients).manner(|manner| manner.hello = Hello::Lhlo)
}

/// A dialogue from the first RCPT on.
fn plays(recipients: &[&str], rest: &str) {
    lmtp(recipients).plays(&format!("{OPENED}{rest}"));
}

#[test]
fn each_recipient_that_was_accepted_has_a_reply_of_its_own_after_the_dot() {
    plays(
        &["good@b", "nobody@b", "full@b"],
        "C: RCPT TO:<good@b>
         C: RCPT TO:<nobody@b>
         C: RCPT TO:<full@b>
         C: DATA
         S: 250 2.1.0 ok
         S: 250 2.1.5 ok
         S: 550 5.1.1 no such user
         S: 250 2.1.5 ok
         S: 354 go
         C: (message)
         S: 250 2.0.0 <good@b> saved
         S: 452 4.2.2 <full@b> quota exceeded
         = good@b delivered 2.0.0, mx: 250 2.0.0 <good@b> saved
         = nobody@b failed 5.1.1, mx: 550 5.1.1 no such user
         = full@b deferred 4.2.2, mx: 452 4.2.2 <full@b> quota exceeded
         C: QUIT
         S: 221 bye
         > 4.0.0 the connection was closed by us",
    );
}

#[test]
fn one_after_the_other_without_pipelining_and_over_one_connection() {
    let twice = lmtp(&["a@b", "c@b"]).then(&["d@b"]);
    twice.plays(
        "S: 220 store LMTP
         C: LHLO me.example
         S: 250 store
         C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<a@b>
         S: 250 ok
         C: RCPT TO:<c@b>
         S: 250 ok
         C: DATA
         S: 354 go
         C: (message)
         S: 250 ok a
         S: 550 no c
         = a@b delivered 2.0.0, mx: 250 ok a
         = c@b failed 5.0.0, mx: 550 no c
         C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<d@b>
         S: 250 ok
         C: DATA
         S: 354 go
         C: (message)
         S: 250 ok d
         = d@b delivered 2.0.0, mx: 250 ok d
         C: QUIT
         S: 221 bye
         > 4.0.0 the connection was closed by us",
    );
}

#[test]
fn what_was_said_of_one_recipient_stays_when_the_rest_is_lost() {
    for (mishap, why) in [
        ("! closed", "connection lost while waiting for the reply to the end of the message"),
        ("! late", "timed out while waiting for the reply to the end of the message"),
    ] {
        plays(
            &["a@b", "c@b"],
            &format!(
                "C: RCPT TO:<a@b>
                 C: RCPT TO:<c@b>
                 C: DATA
                 S: 250 ok
                 S: 250 ok
                 S: 250 ok
                 S: 354 go
                 C: (message)
                 S: 250 saved
                 {mishap}
                 = a@b delivered 2.0.0, mx: 250 saved
                 = c@b deferred 4.4.2, mx: {why}
                 > 4.4.2 {why}"
            ),
        );
    }
    plays(
        &["a@b", "c@b"],
        "C: RCPT TO:<a@b>
         C: RCPT TO:<c@b>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: (message)
         S: 250 saved
         S: 421 4.3.2 shutting down
         = a@b delivered 2.0.0, mx: 250 saved
         = c@b deferred 4.3.2, mx: 421 4.3.2 shutting down
         > 4.3.2 421 4.3.2 shutting down",
    );
}

#[test]
fn more_replies_than_recipients_end_the_connection() {
    plays(
        &["a@b"],
        "C: RCPT TO:<a@b>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 354 go
         C: (message)
         S: 250 saved
         = a@b delivered 2.0.0, mx: 250 saved
         ! 250 saved again
         > 4.5.0 protocol violation: the server speaks without being asked: 250 saved again",
    );
}

#[test]
fn nobody_is_left_and_the_server_takes_the_message_all_the_same() {
    plays(
        &["a@b"],
        "C: RCPT TO:<a@b>
         C: DATA
         S: 250 ok
         S: 550 5.1.1 unknown
         S: 503 5.5.1 no valid recipients
         = a@b failed 5.1.1, mx: 550 5.1.1 unknown
         C: QUIT
         S: 221 bye
         > 4.0.0 the connection was closed by us",
    );
    plays(
        &["a@b"],
        "C: RCPT TO:<a@b>
         C: DATA
         S: 250 ok
         S: 550 5.1.1 unknown
         S: 354 go
         = a@b failed 5.1.1, mx: 550 5.1.1 unknown
         > 4.5.0 protocol violation: DATA was accepted for no recipient: 354 go",
    );
    plays(
        &["a@b"],
        "C: RCPT TO:<a@b>
         C: DATA
         S: 550 5.7.1 not you
         S: 503 no
         S: 354 go
         = a@b failed 5.7.1, mx: 550 5.7.1 not you
         > 4.5.0 protocol violation: DATA was accepted for no recipient: 354 go",
    );
}

#[test]
fn a_server_that_speaks_no_lmtp_gets_nothing_and_the_mail_waits() {
    lmtp(&["a@b"]).plays(
        "S: 220 mx ESMTP
         C: LHLO me.example
         S: 500 5.5.2 Error: command not recognized
         > 4.5.1 the server does not know LHLO, so it does not speak LMTP: 500 5.5.2 Error: command not recognized (polite)",
    );
    lmtp(&["a@b"]).plays(
        "S: 220 mx LMTP
         C: LHLO me.example
         S: 550 5.7.1 you are nobody
         > 5.7.1 550 5.7.1 you are nobody (polite)",
    );
}

#[test]
fn no_chunks() {
    let case = lmtp(&["a@b"]).manner(|manner| manner.chunking = true).mail(Mail { chunk: Some(7), ..BASE });
    case.plays(
        "S: 220 store LMTP
         C: LHLO me.example
         S: 250-store
         S: 250 CHUNKING
         C: MAIL FROM:<s@a.example>
         S: 250 ok
         C: RCPT TO:<a@b>
         S: 250 ok
         C: DATA
         S: 354 go
         C: (message)
         S: 250 saved
         = a@b delivered 2.0.0, mx: 250 saved
         C: QUIT
         S: 221 bye
         > 4.0.0 the connection was closed by us",
    );
}

#[test]
fn a_mailbox_is_the_end_of_the_way() {
    let handover = |offer: &str| {
        let mut client = Client::new(Manner { hello: Hello::Lhlo, ..Manner::default() });
        let say = |client: &mut Client, text: &str| {
            client.output_sent();
            client.receive(text.as_bytes());
        };
        say(&mut client, "220 store\r\n");
        say(&mut client, &format!("250-store\r\n250 {offer}\r\n"));
        client.begin(&BASE, ["a@b"]);
        for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            say(&mut client, reply);
        }
        client.content_sent();
        say(&mut client, "250 saved\r\n");
        match client.step() {
            Step::Settled(Settled { verdicts, .. }) => match &verdicts[0].outcome {
                Outcome::Delivered { handover, .. } => *handover,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(handover("8BITMIME"), sluice_mail::Handover::Final);
    assert_eq!(handover("DSN"), sluice_mail::Handover::PassedOn);
}
