//! Dialogues with BDAT (RFC 3030): each line with the octets that the client sends right behind it.

use insta::assert_snapshot;

use super::dialogues::{policy, with};
use super::later_dialogues::NOW;
use super::*;
use crate::content::{Content, Rules};
use sluice_mail::Recipient;

fn chunking() -> Policy {
    with(|policy| policy.chunking = true)
}

/// The conversation. Octets behind BDAT are shown with their message when it is complete.
fn dialogue(policy: &Policy, client: &[(&str, &str)]) -> String {
    let mut server = Server::new(policy.clone());
    let mut said = String::new();
    let rules = Rules { size_max: policy.max_message_size, chunked: true, ..Rules::default() };
    let (mut content, mut kept) = (Content::new(rules), Vec::new());
    for (line, octets) in client {
        said.push_str(&format!("> {line}\n"));
        let step = match server.line(line.as_bytes(), NOW) {
            Step::Sender { path, params } => server.sender(path, params, Ok(())),
            Step::Recipient { path, wishes } => {
                let unknown = format!("unknown host or domain: {path}");
                let answer = match path.contains("unknown") {
                    true => Err(Refusal::new(550, sluice_mail::Status::NO_SUCH_HOST, unknown)),
                    false => Ok(vec![Recipient::default().into()]),
                };
                server.recipient(path, wishes, answer)
            }
            Step::Chunk { octets: count, last, transaction } => {
                assert_eq!(count, octets.len() as u64, "the test sends what it says");
                if transaction.is_some() {
                    (content, kept) = (Content::new(rules), Vec::new());
                }
                content.feed(octets.as_bytes(), &mut kept);
                if last {
                    content.end_chunks(&mut kept);
                }
                match content.fault() {
                    Some(fault) => server.received(Received::Faulty(fault)),
                    None if last => {
                        said.push_str(&format!("({:?})\n", String::from_utf8_lossy(&kept)));
                        server.received(Received::Safe("0A7F".into()))
                    }
                    None => server.chunk_taken(count),
                }
            }
            Step::Discard(count, reply) => {
                assert_eq!(count, octets.len() as u64, "the test sends what it says");
                Step::Reply(reply)
            }
            step => step,
        };
        let (Step::Reply(reply) | Step::Hello(reply) | Step::Close(reply) | Step::Content(reply, _)) = &step
        else {
            panic!("{step:?}");
        };
        said.push_str(&String::from_utf8(reply.to_bytes()).unwrap());
        if matches!(step, Step::Close(_)) {
            said.push_str("(closed)\n");
            break;
        }
    }
    said.replace('\r', "")
}

const BEGIN: [(&str, &str); 3] =
    [("EHLO c.example", ""), ("MAIL FROM:<a@c.example>", ""), ("RCPT TO:<b@site.example>", "")];

fn after_rcpt(policy: &Policy, client: &[(&str, &str)]) -> String {
    let said = dialogue(policy, &[&BEGIN, client].concat());
    said.split_once("> RCPT TO:<b@site.example>\n250 2.1.5 Recipient OK\n").unwrap().1.to_owned()
}

#[test]
fn chunking_is_offered_and_a_message_comes_in_chunks() {
    assert_snapshot!(dialogue(&chunking(), &[
        ("HELP", ""),
        BEGIN[0],
        BEGIN[1],
        BEGIN[2],
        ("BDAT 12", "Subject: a\r\n"),
        ("bdat 0", ""),
        ("NOOP", ""),
        ("BDAT 9 last", "\r\n.dot\r\nx"),
        ("MAIL FROM:<a@c.example>", ""),
        ("RCPT TO:<b@site.example>", ""),
        ("BDAT 3 LAST", "x\r\n"),
        ("MAIL FROM:<a@c.example>", ""),
        ("RCPT TO:<b@site.example>", ""),
        ("BDAT 0 LAST", ""),
    ]), @r#"
    > HELP
    214-2.0.0 Commands: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY ETRN HELP QUIT
    214 2.0.0 See RFC 5321; for ETRN see RFC 1985
    > EHLO c.example
    250-hub.example Hello c.example
    250-PIPELINING
    250-8BITMIME
    250-SMTPUTF8
    250-ENHANCEDSTATUSCODES
    250-DSN
    250-CHUNKING
    250-SIZE 1000
    250-ETRN
    250 HELP
    > MAIL FROM:<a@c.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > BDAT 12
    250 2.0.0 12 octets received
    > bdat 0
    250 2.0.0 0 octets received
    > NOOP
    250 2.0.0 OK
    > BDAT 9 last
    ("Subject: a\r\n\r\n..dot\r\nx\r\n")
    250 2.6.0 Message accepted, id 0A7F
    > MAIL FROM:<a@c.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > BDAT 3 LAST
    ("x\r\n")
    250 2.6.0 Message accepted, id 0A7F
    > MAIL FROM:<a@c.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > BDAT 0 LAST
    ("")
    250 2.6.0 Message accepted, id 0A7F
    "#);
}

#[test]
fn chunks_and_data_do_not_mix() {
    assert_snapshot!(after_rcpt(&chunking(), &[
        ("BDAT 3", "x\r\n"),
        ("MAIL FROM:<a@c.example>", ""),
        ("RCPT TO:<b@site.example>", ""),
        ("DATA", ""),
        ("ETRN site.example", ""),
        ("VRFY", ""),
        ("BDAT 3 LAST", "y\r\n"),
    ]), @r#"
    > BDAT 3
    250 2.0.0 3 octets received
    > MAIL FROM:<a@c.example>
    503 5.5.1 Message content has begun: send BDAT or RSET
    > RCPT TO:<b@site.example>
    503 5.5.1 Message content has begun: send BDAT or RSET
    > DATA
    503 5.5.1 Message content has begun: send BDAT or RSET
    > ETRN site.example
    503 5.5.1 Message content has begun: send BDAT or RSET
    > VRFY
    501 5.5.4 VRFY needs an argument
    > BDAT 3 LAST
    ("x\r\ny\r\n")
    250 2.6.0 Message accepted, id 0A7F
    "#);
}

#[test]
fn rset_and_ehlo_forget_the_chunks() {
    assert_snapshot!(after_rcpt(&chunking(), &[
        ("BDAT 3", "x\r\n"),
        ("RSET", ""),
        ("BDAT 3 LAST", "y\r\n"),
        ("MAIL FROM:<a@c.example>", ""),
        ("RCPT TO:<b@site.example>", ""),
        ("BDAT 3", "x\r\n"),
        ("HELO c.example", ""),
        ("MAIL FROM:<a@c.example>", ""),
        ("RCPT TO:<b@site.example>", ""),
        ("BDAT 3 LAST", "z\r\n"),
    ]), @r#"
    > BDAT 3
    250 2.0.0 3 octets received
    > RSET
    250 2.0.0 Reset, no transaction
    > BDAT 3 LAST
    503 5.5.1 Send MAIL first
    > MAIL FROM:<a@c.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > BDAT 3
    250 2.0.0 3 octets received
    > HELO c.example
    250 hub.example Hello c.example
    > MAIL FROM:<a@c.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > BDAT 3 LAST
    ("z\r\n")
    250 2.6.0 Message accepted, id 0A7F
    "#);
}

#[test]
fn octets_of_a_refused_bdat_are_read_all_the_same() {
    assert_snapshot!(dialogue(&chunking(), &[
        ("BDAT 6 LAST", "NOOP\r\n"),
        ("HELO c.example", ""),
        ("BDAT 6 LAST", "NOOP\r\n"),
        ("MAIL FROM:<a@c.example>", ""),
        ("BDAT 6", "NOOP\r\n"),
        ("RCPT TO:<b@unknown.example>", ""),
        ("BDAT 6", "NOOP\r\n"),
        ("BDAT 6 LAST", "NOOP\r\n"),
        ("RCPT TO:<b@site.example>", ""),
        ("BDAT 3 LAST", "x\r\n"),
    ]), @r#"
    > BDAT 6 LAST
    503 5.5.1 Send EHLO or HELO first
    > HELO c.example
    250 hub.example Hello c.example
    > BDAT 6 LAST
    503 5.5.1 Send MAIL first
    > MAIL FROM:<a@c.example>
    250 2.1.0 Sender OK
    > BDAT 6
    503 5.5.1 Send RCPT first
    > RCPT TO:<b@unknown.example>
    550 5.1.2 unknown host or domain: b@unknown.example
    > BDAT 6
    554 5.5.1 No valid recipients
    > BDAT 6 LAST
    554 5.5.1 No valid recipients
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > BDAT 3 LAST
    ("x\r\n")
    250 2.6.0 Message accepted, id 0A7F
    "#);
}

#[test]
fn a_faulty_chunk_ends_the_message() {
    assert_snapshot!(after_rcpt(&chunking(), &[
        ("BDAT 3", "x\r\n"),
        ("BDAT 4", "a\nb\r"),
        ("BDAT 3 LAST", "y\r\n"),
        ("MAIL FROM:<a@c.example>", ""),
        ("RCPT TO:<b@site.example>", ""),
        ("BDAT 3 LAST", "x\r\n"),
    ]), @r#"
    > BDAT 3
    250 2.0.0 3 octets received
    > BDAT 4
    554 5.6.0 Message has CR or LF alone; lines end in CRLF
    > BDAT 3 LAST
    503 5.5.1 Send MAIL first
    > MAIL FROM:<a@c.example>
    250 2.1.0 Sender OK
    > RCPT TO:<b@site.example>
    250 2.1.5 Recipient OK
    > BDAT 3 LAST
    ("x\r\n")
    250 2.6.0 Message accepted, id 0A7F
    "#);
}

#[test]
fn a_chunk_of_unknown_size_is_a_syntax_error() {
    for line in [
        "BDAT",
        "BDAT LAST",
        "BDAT -1",
        "BDAT +1",
        "BDAT 1x",
        "BDAT 1 FIRST",
        "BDAT 1 LAST now",
        "BDAT 99999999999999999999",
        "BDAT 000000000000000000001",
    ] {
        let said = after_rcpt(&chunking(), &[(line, "")]);
        assert!(said.trim_end().ends_with("501 5.5.4 Syntax: BDAT octets [LAST]"), "{said}");
    }
}

#[test]
fn nochunkingserver_does_not_know_bdat() {
    let said = after_rcpt(&policy(), &[("BDAT 3 LAST", ""), ("HELP", "")]);
    assert!(said.contains("\n502 5.5.1 BDAT not implemented\n"), "{said}");
    assert!(!said.contains(" BDAT RSET"), "{said}");
}
