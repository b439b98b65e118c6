//! Dialogues: `S:` what the server says, a line of its own for each thing that we do; what came of it is the snapshot.
#![allow(clippy::unwrap_used)]

use insta::assert_snapshot;
use sluice_sasl::client::Credentials;

use super::*;
use crate::client::{Demand, Safety};

fn manner() -> Manner {
    Manner { name: "me.example".into(), peer: "hub".into(), ..Manner::default() }
}

fn etrn(names: &[&str]) -> Question {
    Question::Etrn(names.iter().map(|name| name.parse().unwrap()).collect())
}

fn atrn(names: &[&str]) -> Question {
    Question::Atrn(names.iter().map(|name| name.parse().unwrap()).collect())
}

/// The conversation with a server that answers each thing we say with the next of `replies`, `\n` between its lines;
/// then answers and end. An empty reply hangs up.
fn play(manner: Manner, question: Question, replies: &[&str]) -> String {
    let mut asker = Asker::new(manner, question);
    let mut replies = replies.iter();
    let mut seen = Vec::new();
    loop {
        match asker.step() {
            Step::Write => {
                seen.push(format!("C: {}", asker.output_shown()));
                asker.output_sent();
            }
            Step::Read(_) => match replies.next() {
                Some(&"") => asker.lost(&Loss::Closed),
                Some(reply) => asker.receive(format!("{}\r\n", reply.replace('\n', "\r\n")).as_bytes()),
                None => asker.lost(&Loss::TimedOut),
            },
            Step::StartTls => {
                seen.push("TLS".into());
                asker.secured();
            }
            Step::Turned => {
                seen.push("turned".into());
                break;
            }
            Step::Over => break,
        }
    }
    let answers = asker.answers();
    seen.extend(answers.iter().map(|a| format!("{}: {:?}, {}", a.name, a.meaning, a.reply)));
    seen.extend(asker.end().map(|end| format!("{end:?}")));
    seen.join("\n")
}

const HELLO: &str = "250-hub\n250 ETRN";

#[test]
fn one_etrn_for_each_name_in_order_each_waiting_for_its_reply() {
    let question = etrn(&["a.example", "@b.example", "#queue", "d.example"]);
    let replies = [
        "220 hub ESMTP",
        HELLO,
        "250 2.0.0 OK, queuing for node a.example started",
        "251 OK, no messages waiting for node b.example",
        "252 OK, pending messages for node queue started",
        "253 OK, 12 pending messages for node d.example started",
        "221 bye",
    ];
    assert_snapshot!(play(manner(), question, &replies), @"
    C: EHLO me.example
    C: ETRN a.example
    C: ETRN @b.example
    C: ETRN #queue
    C: ETRN d.example
    C: QUIT
    a.example: Started, 250 2.0.0 OK, queuing for node a.example started
    @b.example: NothingWaits, 251 OK, no messages waiting for node b.example
    #queue: Pending, 252 OK, pending messages for node queue started
    d.example: Counted(12), 253 OK, 12 pending messages for node d.example started
    Answered
    ");
}

#[test]
fn refusals_keep_their_meaning_and_do_not_stop_the_other_names() {
    let question = etrn(&["a.x", "b.x", "c.x", "d.x", "e.x", "f.x", "g.x"]);
    let replies = [
        "220 hub",
        HELLO,
        "458 Unable to queue messages for node a.x",
        "459 Node b.x not allowed: no",
        "501 Syntax Error in Parameters",
        "530 5.7.0 log in",
        "253 OK, many pending messages",
        "299 fine",
        "554 5.7.1 go away",
        "221 bye",
    ];
    assert_snapshot!(play(manner(), question, &replies), @"
    C: EHLO me.example
    C: ETRN a.x
    C: ETRN b.x
    C: ETRN c.x
    C: ETRN d.x
    C: ETRN e.x
    C: ETRN f.x
    C: ETRN g.x
    C: QUIT
    a.x: Later, 458 Unable to queue messages for node a.x
    b.x: Refused, 459 Node b.x not allowed: no
    c.x: Malformed, 501 Syntax Error in Parameters
    d.x: LoginNeeded, 530 5.7.0 log in
    e.x: Pending, 253 OK, many pending messages
    f.x: Started, 299 fine
    g.x: Refused, 554 5.7.1 go away
    Answered
    ");
}

#[test]
fn a_server_without_the_extension_is_not_asked() {
    assert_snapshot!(play(manner(), etrn(&["a.x"]), &["220 hub", "250-hub\n250 SIZE", "221 bye"]), @"
    C: EHLO me.example
    C: QUIT
    NotOffered
    ");
    // RFC 1985 is an extension: a server that knows HELO only has none.
    assert_snapshot!(play(manner(), etrn(&["a.x"]), &["220 hub", "502 no", "250 hub", "221 bye"]), @"
    C: EHLO me.example
    C: HELO me.example
    C: QUIT
    NotOffered
    ");
    // Offered, and then not known: the other names are not asked.
    assert_snapshot!(play(manner(), etrn(&["a.x", "b.x"]), &["220 hub", HELLO, "502 off", "221 bye"]), @"
    C: EHLO me.example
    C: ETRN a.x
    C: QUIT
    a.x: Unsupported, 502 off
    NotOffered
    ");
}

#[test]
fn out_of_order_is_cured_by_rset_once() {
    let replies = ["220 hub", HELLO, "503 first RSET", "250 ok", "250 fine", "503 again", "221 bye"];
    assert_snapshot!(play(manner(), etrn(&["a.x", "b.x"]), &replies), @"
    C: EHLO me.example
    C: ETRN a.x
    C: RSET
    C: ETRN a.x
    C: ETRN b.x
    C: QUIT
    a.x: Started, 250 fine
    b.x: OutOfOrder, 503 again
    Answered
    ");
}

#[test]
fn a_connection_that_ends_early_says_how() {
    for replies in [
        &["554 no service"][..],
        &["421 too many"],
        &["220 hub", "421 closing"],
        &["220 hub", HELLO, "250 ok", "421 4.7.0 enough"],
        &["220 hub", HELLO, "250 ok", ""],
        &["220 hub", HELLO],
        &["HTTP/1.1 400"],
        &["220 hub", HELLO, "354 go on"],
        &["220 hub", HELLO, "250 ok\n250 and more"],
    ] {
        let played = play(manner(), etrn(&["a.x", "b.x"]), replies);
        let end = played.lines().last().unwrap();
        let expected = match replies {
            ["554 no service"] => "TurnedAway { reply: \"554 no service\", for_now: false }",
            ["421 too many"] => "TurnedAway { reply: \"421 too many\", for_now: true }",
            ["220 hub", "421 closing"] => "TurnedAway { reply: \"421 closing\", for_now: true }",
            [.., "421 4.7.0 enough"] => "TurnedAway { reply: \"421 4.7.0 enough\", for_now: true }",
            [.., ""] => "Lost(\"connection lost while waiting for the reply to ETRN\")",
            ["220 hub", _] => "Lost(\"timed out while waiting for the reply to ETRN\")",
            _ => "Nonsense(",
        };
        assert!(end.starts_with(expected), "{replies:?}: {played}");
    }
}

#[test]
fn tls_and_a_login_come_first_and_secrets_are_not_shown() {
    let safety = Safety {
        tls: Demand::Must,
        auth: Demand::Must,
        credentials: Credentials::new("fred", "pencil"),
        ..Safety::default()
    };
    let safe = Manner { safety, ..manner() };
    let replies = [
        "220 hub",
        "250-hub\n250-STARTTLS\n250 ETRN",
        "220 go",
        "250-hub\n250-AUTH PLAIN\n250 ETRN",
        "235 welcome",
        "253 OK, 1 pending messages for node a.x started",
        "221 bye",
    ];
    let played = play(safe.clone(), etrn(&["a.x"]), &replies);
    assert!(!played.contains("AGZyZWQAcGVuY2ls"), "{played}");
    assert_snapshot!(played, @"
    C: EHLO me.example
    C: STARTTLS
    TLS
    C: EHLO me.example
    C: AUTH PLAIN ***
    C: ETRN a.x
    C: QUIT
    a.x: Counted(1), 253 OK, 1 pending messages for node a.x started
    Answered
    ");
    let played = play(safe.clone(), etrn(&["a.x"]), &["220 hub", HELLO, "221 bye"]);
    assert!(played.contains("NoTls("), "{played}");
    let refused = ["220 hub", replies[1], "220 go", replies[3], "535 5.7.8 no", "221 bye"];
    let played = play(safe, etrn(&["a.x"]), &refused);
    assert!(played.contains("NoLogin(") && !played.contains("C: ETRN"), "{played}");
}

#[test]
fn atrn_turns_the_roles_or_says_why_not() {
    let hello = "250-hub\n250 ATRN";
    let turned = play(manner(), atrn(&["a.x", "b.x"]), &["220 hub", hello, "250 now reversing"]);
    assert_snapshot!(turned, @"
    C: EHLO me.example
    C: ATRN a.x,b.x
    turned
    a.x,b.x: Turned, 250 now reversing
    ");
    assert_snapshot!(play(manner(), atrn(&[]), &["220 hub", hello, "453 no mail", "221 bye"]), @"
    C: EHLO me.example
    C: ATRN
    C: QUIT
    : NothingWaits, 453 no mail
    Answered
    ");
    for (reply, meaning) in [
        ("450 refused", Meaning::Refused),
        ("451 not now", Meaning::Later),
        ("502 what", Meaning::Unsupported),
        ("530 log in", Meaning::LoginNeeded),
        ("501 what", Meaning::Malformed),
        ("421 closing", Meaning::Later),
    ] {
        let played = play(manner(), atrn(&["a.x"]), &["220 hub", hello, reply, "221 bye"]);
        let expected = if reply.starts_with("421") { "TurnedAway".into() } else { format!("{meaning:?}") };
        assert!(played.contains(&expected) && !played.contains("turned"), "{played}");
    }
    // ETRN alone is no ATRN.
    assert!(play(manner(), atrn(&["a.x"]), &["220 hub", HELLO, "221 bye"]).contains("NotOffered"));
}

#[test]
fn nothing_may_come_behind_the_reply_that_turns() {
    for behind in ["220 me", "EHLO provider.example", "2"] {
        let reply = format!("250 now reversing\n{behind}");
        let played = play(manner(), atrn(&["a.x"]), &["220 hub", "250-hub\n250 ATRN", &reply]);
        assert!(!played.contains("turned") && played.contains("Nonsense("), "{behind}: {played}");
    }
}

#[test]
fn what_is_no_name_is_refused_with_its_reason() {
    for (text, error) in [
        ("", NameError::Empty),
        ("@", NameError::Empty),
        ("#", NameError::Empty),
        ("a b", NameError::NotOneWord),
        ("a\r\nQUIT", NameError::NotOneWord),
        ("m\u{fc}ller.example", NameError::NotAscii),
        (&"x".repeat(256), NameError::TooLong),
    ] {
        assert_eq!(text.parse::<Name>(), Err(error), "{text:?}");
    }
    for text in ["a.example", "@example", "#uucp.7", "whatever", "[192.0.2.1]"] {
        assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
    }
}

#[test]
fn nothing_a_server_says_makes_it_panic() {
    // Every reply cut at every octet, and then the line is lost or goes on with something else.
    let said = b"220 hub\r\n250-hub\r\n250 ETRN\r\n253 OK, 7 pending\r\n250 x\r\n\xff\x00999 ???\r\n";
    for cut in 0..said.len() {
        for behind in [&b""[..], b"\r\n", b"421 x\r\n", b"\n\n\n", b"503 x\r\n503 y\r\n"] {
            let mut asker = Asker::new(manner(), etrn(&["a.x", "b.x"]));
            let mut rest = [&said[..cut], behind].concat();
            for _ in 0..400 {
                match asker.step() {
                    Step::Write => asker.output_sent(),
                    Step::Read(_) if rest.is_empty() => asker.lost(&Loss::Closed),
                    Step::Read(_) => asker.receive(&rest.drain(..1).collect::<Vec<_>>()),
                    Step::StartTls => asker.secured(),
                    Step::Turned => panic!("nobody asked for that"),
                    Step::Over => break,
                }
            }
            assert!(asker.end().is_some());
        }
    }
}
