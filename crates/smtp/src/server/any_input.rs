//! Whatever comes in, in whatever pieces: no panic, one reply for each command, the same conversation.

use super::*;
use crate::content::{Content, Fed, Rules};
use crate::line::{Line, LineReader};

/// A session that is fed `bytes` in pieces of `split` octets. Returns all it says, and checks what must always hold.
fn session(bytes: &[u8], split: usize) -> Vec<u8> {
    let mut server = Server::new(Policy {
        host: "hub.example".into(),
        etrn: EtrnPolicy::Silent,
        etrn_per_session: 2,
        max_message_size: 200,
        max_recipients: 2,
        max_errors: 6,
        quotas: Quotas { transactions: Some(3), disconnect_recipients: Some(5), ..Quotas::default() },
    });
    let mut lines = LineReader::default();
    let (mut said, mut buffer, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut content: Option<Content> = None;
    for piece in bytes.chunks(split) {
        buffer.extend_from_slice(piece);
        loop {
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
            let (line, used) = lines.next(&buffer);
            let step = match line {
                Line::Incomplete => {
                    buffer.drain(..used);
                    break;
                }
                Line::TooLong => server.line_too_long(),
                Line::Complete(line) => server.line(line),
            };
            let step = match step {
                Step::Sender { path, params } => server.sender(path, params, Ok(())),
                Step::Recipient { path } => {
                    assert!(!path.is_empty() && !path.contains(char::is_control));
                    server.recipient(Ok(vec![Recipient::default().into()]))
                }
                Step::Verify(_) => server.answered(replies::cannot_verify()),
                Step::Etrn(argument) => {
                    let node: Node = argument.parse().unwrap();
                    assert!(!server.is_in_transaction() && server.helo().is_some());
                    server.answered(Answers::new(EtrnPolicy::Silent, &node).unable())
                }
                step => step,
            };
            if let Step::Content(_, transaction) = &step {
                assert!((1..=2).contains(&transaction.recipients.len()));
                content = Some(Content::new(Rules { size_max: 200, ..Rules::default() }));
            }
            let last = say(step, &mut said);
            buffer.drain(..used);
            if last {
                return said;
            }
        }
    }
    said
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
    let words: [&[u8]; 40] = [
        b"EHLO a.example",
        b"HELO b",
        b"MAIL FROM:<>",
        b"MAIL FROM:<a@b> SIZE=5",
        b"RCPT TO:<c@d>",
        b"DATA",
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
        b"=",
        b"GET / HTTP/1.1",
        b"STARTTLS",
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
