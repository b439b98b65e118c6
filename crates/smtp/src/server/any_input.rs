//! Whatever comes in, in whatever pieces: no panic, one reply for each command, the same conversation.

use super::dialogues::exchanged;
use super::*;
use crate::content::{Content, Fed, Rules};
use crate::line::{Line, LineReader};
use sluice_mail::{Recipient, Time};
use sluice_sasl::server::Exchange;

/// A session that is fed `bytes` in pieces of `split` octets. Returns all it says, and checks what must always hold.
fn session(bytes: &[u8], split: usize) -> Vec<u8> {
    let mut server = Server::new(Policy {
        host: "hub.example".into(),
        etrn: EtrnPolicy::Silent,
        etrn_per_session: 2,
        atrn: AtrnPolicy::No,
        max_message_size: 200,
        max_recipients: 2,
        max_errors: 6,
        quotas: Quotas { transactions: Some(3), disconnect_recipients: Some(5), ..Quotas::default() },
        chunking: true,
        accept_all: false,
        later_release: Some(86_400),
        priorities: Some(super::Priorities { required: false, is_known: false }),
        loop_mark: Some("0F0F"),
        safety: Safety {
            tls: Demand::May,
            auth: Demand::May,
            mechanisms: Mechanism::ALL.to_vec(),
            max_auth_failures: 3,
        },
    });
    let mut lines = LineReader::default();
    let (mut said, mut buffer, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut content: Option<Content> = None;
    // A message that comes in chunks, and what is still to be read of the present one.
    let mut chunks: Option<Content> = None;
    let mut expected: Option<(u64, Chunk)> = None;
    let mut exchange = None;
    let users = super::dialogues::users();
    for piece in bytes.chunks(split) {
        let used = if buffer.is_empty() { lines.arrived(piece) } else { 0 };
        buffer.extend_from_slice(&piece[used..]);
        loop {
            if expected.is_none() && !server.expects_chunks() {
                chunks = None;
            }
            if let Some(receiving) = &mut content {
                let fed = receiving.feed(&buffer, &mut kept);
                assert!(kept.len() <= 200 + crate::content::CONTENT_LINE_OCTETS_MAX as usize);
                let Fed::End(used) = fed else {
                    buffer.clear();
                    break;
                };
                buffer.drain(..used);
                kept.clear();
                let received = match receiving.finish() {
                    Ok(_) => Received::Safe("1".into()),
                    Err(fault) => Received::Faulty(fault),
                };
                content = None;
                if say(server.received(received), &mut said) {
                    return said;
                }
                continue;
            }
            if let Some((left, chunk)) = &mut expected {
                let here = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                if let (Chunk::Taken(..), Some(receiving)) = (&chunk, &mut chunks) {
                    receiving.feed(&buffer[..here], &mut kept);
                }
                buffer.drain(..here);
                *left -= here as u64;
                if *left > 0 {
                    break;
                }
                let step = match expected.take().unwrap().1 {
                    Chunk::Refused(reply) => Step::Reply(reply),
                    Chunk::Taken(octets, last) => {
                        let receiving = chunks.as_mut().unwrap();
                        if last {
                            receiving.end_chunks(&mut kept);
                        }
                        match receiving.finish() {
                            Err(fault) => server.received(Received::Faulty(fault)),
                            Ok(_) if last => server.received(Received::Safe("2".into())),
                            Ok(_) => server.chunk_taken(octets),
                        }
                    }
                };
                if say(step, &mut said) {
                    return said;
                }
                continue;
            }
            let (line, used) = lines.next(&buffer);
            let step = match line {
                Line::Incomplete => {
                    buffer.drain(..used);
                    break;
                }
                Line::TooLong => server.line_too_long(),
                Line::Complete(line) => server.line(line, Time::from_secs(1_795_296_600)),
            };
            let step = match step {
                Step::Sender { path, params } => server.sender(path, params, Ok(())),
                Step::Recipient { path, wishes } => {
                    assert!(!path.is_empty() && !path.contains(char::is_control));
                    server.recipient(path, wishes, Ok(vec![Recipient::default().into()]))
                }
                Step::Verify(_) => server.answered(replies::cannot_verify()),
                Step::Etrn(argument) => {
                    let node: Node = argument.parse().unwrap();
                    assert!(!server.is_in_transaction() && server.helo().is_some());
                    server.answered(Answers::new(EtrnPolicy::Silent, &node).unable())
                }
                Step::StartTls(reply) => {
                    assert!(server.helo().is_some() && !server.is_secured());
                    server.secured();
                    Step::Reply(reply)
                }
                Step::Authenticate(mechanism, response) => {
                    assert!(server.is_secured() || !mechanism.is_clear());
                    let exchange = exchange.insert(Exchange::new(mechanism, &[7; 18], "hub.example", 1));
                    server.exchanged(&exchanged(exchange.step(users, response.as_deref())))
                }
                Step::AuthResponse(response) => {
                    let exchange = exchange.as_mut().expect("an exchange that was begun");
                    server.exchanged(&exchanged(exchange.step(users, Some(&response))))
                }
                step => step,
            };
            if let Step::Content(_, transaction) = &step {
                assert!((1..=2).contains(&transaction.recipients.len()));
                content = Some(Content::new(Rules { size_max: 200, ..Rules::default() }));
            }
            let step = match step {
                Step::Chunk { octets, last, transaction } => {
                    assert_eq!(transaction.is_some(), chunks.is_none(), "one transaction for each message");
                    if transaction.is_some() {
                        kept.clear();
                        let rules = Rules { size_max: 200, chunked: true, ..Rules::default() };
                        chunks = Some(Content::new(rules));
                    }
                    expected = Some((octets, Chunk::Taken(octets, last)));
                    None
                }
                Step::Discard(octets, reply) => {
                    expected = Some((octets, Chunk::Refused(reply)));
                    None
                }
                step => Some(step),
            };
            let last = step.is_some_and(|step| say(step, &mut said));
            buffer.drain(..used);
            if last {
                return said;
            }
        }
    }
    said
}

/// What becomes of the octets behind BDAT.
enum Chunk {
    Taken(u64, bool),
    Refused(Reply),
}

/// Appends the reply; true when it was the last one.
fn say(step: Step<'_>, said: &mut Vec<u8>) -> bool {
    let (reply, last) = match step {
        Step::Reply(reply) | Step::Hello(reply) | Step::Content(reply, _) => (reply, false),
        Step::Close(reply) => (reply, true),
        step => panic!("{step:?} is no reply"),
    };
    let start = said.len();
    reply.write_to(said);
    for line in said[start..].split_inclusive(|octet| *octet == b'\n') {
        assert!(line.len() <= 512 && line.ends_with(b"\r\n") && line.is_ascii());
        assert!(!line[..line.len() - 2].iter().any(u8::is_ascii_control));
    }
    last
}

#[test]
fn any_input_in_any_split_gives_one_conversation() {
    let words: [&[u8]; 54] = [
        b"EHLO a.example",
        b"HELO b",
        b"MAIL FROM:<>",
        b"MAIL FROM:<a@b> SIZE=5",
        b"RCPT TO:<c@d>",
        b"RCPT TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2B@d",
        b"RCPT TO:<c@d> NOTIFY=+ ORCPT=;\xff",
        b"DATA",
        b"BDAT 5",
        b"BDAT 2 LAST",
        b"BDAT 0 LAST\r\n",
        b"BDAT 300\r\n",
        b"RSET",
        b"ETRN a.example",
        b"ETRN #q",
        b"ETRN",
        b"QUIT",
        b"NOOP",
        b"VRFY x",
        b"HELP",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b".\r\n",
        b"\r\n.\r\n",
        b" ",
        b"<",
        b">",
        b"\"",
        b"\\",
        b"[",
        b"]",
        b"@",
        b":",
        b"\0",
        b"\xff",
        "\u{fc}".as_bytes(),
        b" SMTPUTF8",
        b" BODY=8BITMIME",
        b" HOLDFOR=3600",
        b" MT-PRIORITY=7",
        b" MT-PRIORITY=-10",
        b" HOLDUNTIL=2026-11-21T22:00:00Z",
        b"=",
        b"GET / HTTP/1.1",
        b"STARTTLS",
        b"AUTH CRAM-MD5",
        b"AUTH SCRAM-SHA-256 biwsbj1mcmVkLHI9eA==",
        b"AHg=",
        b"*",
        &[b'x'; 300],
    ];
    // A small generator with a fixed start: every run tries the same inputs.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut codes = std::collections::BTreeSet::new();
    for round in 0..6000 {
        let mut bytes = Vec::new();
        // Half of the sessions begin well, so that the later states are reached.
        if round % 2 == 0 {
            bytes.extend_from_slice(b"EHLO a.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
        }
        for _ in 0..random(30) {
            bytes.extend_from_slice(words[random(words.len())]);
            if random(2) == 0 {
                bytes.extend_from_slice(b"\r\n");
            }
        }
        let whole = session(&bytes, bytes.len().max(1));
        for split in [1, 2, 7, 100] {
            assert_eq!(
                session(&bytes, split),
                whole,
                "split every {split}: {:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
        codes.extend(
            whole.split(|octet| *octet == b'\n').filter_map(|line| line.get(..3)).map(<[u8]>::to_vec),
        );
    }
    assert!(codes.len() >= 14, "the inputs reach too little: {codes:?}");
}
