//! Message content in every split: where it ends, what is kept, what is refused.

use super::*;

/// What was kept, what is left behind the end, and the verdict.
type Message = (Vec<u8>, Vec<u8>, Result<Summary, Fault>);

/// Feeds `bytes` in pieces of `split` octets; `None` when the message does not end in them.
fn receive(bytes: &[u8], split: usize, size_max: u64) -> Option<Message> {
    receive_by(Rules { size_max, ..Rules::default() }, bytes, split)
}

fn receive_by(rules: Rules, bytes: &[u8], split: usize) -> Option<Message> {
    let (mut content, mut kept) = (Content::new(rules), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + split);
        if let Fed::End(used) = content.feed(&bytes[at..end], &mut kept) {
            return Some((kept, bytes[at + used..].to_vec(), content.finish()));
        }
        at = end;
    }
    None
}

/// The same for every split; they must agree. How much was kept of a faulty message may differ.
fn received(bytes: &[u8]) -> Option<Message> {
    let of_use =
        |(kept, rest, verdict): Message| (if verdict.is_ok() { kept } else { Vec::new() }, rest, verdict);
    let whole = receive(bytes, bytes.len().max(1), 0).map(of_use);
    for split in 1..bytes.len().min(70) {
        let again = receive(bytes, split, 0).map(of_use);
        assert!(again == whole, "split every {split}: {:?}", String::from_utf8_lossy(bytes));
    }
    whole
}

#[test]
fn the_wire_form_is_kept_and_what_follows_is_left() {
    let (kept, rest, verdict) = received(b"Subject: a\r\n\r\n..dot\r\n..\r\n. x\r\n.\r\nQUIT\r\n").unwrap();
    assert_eq!(kept, b"Subject: a\r\n\r\n..dot\r\n..\r\n. x\r\n");
    assert_eq!(rest, b"QUIT\r\n");
    let summary = verdict.unwrap();
    assert_eq!((summary.stored, summary.size, summary.body_at), (30, 27, Some(14)));
}

#[test]
fn an_empty_message_has_no_octets() {
    let (kept, rest, verdict) = received(b".\r\nx").unwrap();
    assert_eq!((kept.as_slice(), rest.as_slice()), (&b""[..], &b"x"[..]));
    assert_eq!(verdict, Ok(Summary::default()));
}

#[test]
fn none_of_the_smuggling_sequences_ends_a_message() {
    let sequences: [&[u8]; 12] = [
        b"\n.\n",
        b"\n.\r\n",
        b"\n.\r",
        b"\r.\r",
        b"\r.\n",
        b"\r.\r\n",
        b"\r\n.\n",
        b"\r\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n.\r\r\n",
        b"\n\n.\r\n",
    ];
    for sequence in sequences {
        let inner = b"MAIL FROM:<evil@example.com>\r\n";
        let bytes = [b"Subject: a\r\n\r\nbody", sequence, inner, b"end\r\n.\r\nQUIT\r\n".as_slice()].concat();
        let (_, rest, verdict) = received(&bytes).unwrap();
        assert_eq!(rest, b"QUIT\r\n", "{sequence:?} ended the message");
        let expected = if sequence.contains(&0) { Fault::Nul } else { Fault::BareLineEnd };
        assert_eq!(verdict, Err(expected), "{sequence:?}");
    }
    // A doubled CR before the true end: the end counts, the message does not.
    let (_, rest, verdict) = received(b"a\r\r\n.\r\nQUIT\r\n").unwrap();
    assert_eq!((rest.as_slice(), verdict), (&b"QUIT\r\n"[..], Err(Fault::BareLineEnd)));
}

#[test]
fn a_line_may_have_a_thousand_octets_and_no_more() {
    let line = |octets: usize| [vec![b'x'; octets], b"\r\n.\r\n".to_vec()].concat();
    assert!(received(&line(998)).unwrap().2.is_ok());
    assert_eq!(received(&line(999)).unwrap().2, Err(Fault::LongLine));
    // The stuffed dot does not count.
    let stuffed = |octets: usize| [b"..".to_vec(), line(octets)].concat();
    assert!(received(&stuffed(997)).unwrap().2.is_ok());
    assert_eq!(received(&stuffed(998)).unwrap().2, Err(Fault::LongLine));
}

#[test]
fn nothing_is_stored_after_a_fault_and_the_end_is_still_found() {
    let bytes = [b"a\nb".to_vec(), b"0123456789\r\n".repeat(1000), b".\r\n".to_vec()].concat();
    let (kept, rest, verdict) = receive(&bytes, 100, 0).unwrap();
    assert_eq!((kept.as_slice(), rest.len(), verdict), (&b"a"[..], 0, Err(Fault::BareLineEnd)));
}

#[test]
fn the_size_limit_counts_the_message_without_its_dots() {
    let bytes = b"..345678\r\n12345678\r\n.\r\n";
    assert!(receive(bytes, 5, 19).unwrap().2.is_ok());
    assert_eq!(receive(bytes, 5, 18).unwrap().2, Err(Fault::TooLarge(18)));
    let huge = [b"0123456789\r\n".repeat(1000), b".\r\n".to_vec()].concat();
    let (kept, _, verdict) = receive(&huge, 1000, 100).unwrap();
    assert!(kept.len() <= 120, "{} octets kept of a message that is too large", kept.len());
    assert_eq!(verdict, Err(Fault::TooLarge(100)));
}

#[test]
fn header_fields_are_read_in_the_header_only() {
    let text = "RECEIVED: from a\r\n\tby b\r\nReceived : odd\r\nX-Received: no\r\n Received: folded\r\n\
        priority:  Non-Urgent \r\nPriority: urgent\r\n\r\nReceived: body\r\n.\r\n";
    let summary = received(text.as_bytes()).unwrap().2.unwrap();
    assert_eq!((summary.received_lines, summary.priority), (2, Priority::Nonurgent));
    assert_eq!(summary.body_at, Some(text.find("Received: body").unwrap() as u64));
    let summary = received(b"Priority: urgent\r\n.\r\n").unwrap().2.unwrap();
    assert_eq!((summary.priority, summary.body_at), (Priority::Urgent, None));
    let summary = received(b"Priority: whenever\r\n\r\n.\r\n").unwrap().2.unwrap();
    assert_eq!(summary.priority, Priority::Normal);
}

#[test]
fn the_first_date_of_deferred_delivery_is_read() {
    let date =
        |text: &str| received(format!("{text}\r\n\r\n.\r\n").as_bytes()).unwrap().2.unwrap().deferred_until;
    let evening = Some(sluice_mail::Time::from_secs(1_795_296_600));
    assert_eq!(date("Subject: x\r\nDeferred-Delivery: Sat, 21 Nov 2026 22:30:00 +0100"), evening);
    assert_eq!(date("deferred-delivery : 21 Nov 26 21:30 GMT"), evening);
    let several = "Deferred-Delivery: some day\r\nDeferred-Delivery: 21 Nov 2026 21:30:00 Z\r\nDeferred-Delivery: 1 Jan 2027 00:00 Z";
    assert_eq!(date(several), evening, "the first that is a date");
    assert_eq!(date("Deferred-Delivery: when I am gone"), None);
    assert_eq!(date("\r\nDeferred-Delivery: 21 Nov 2026 21:30:00 Z"), None, "that is the body");
}

#[test]
fn octets_above_127_are_noticed() {
    assert!(!received(b"plain\r\n.\r\n").unwrap().2.unwrap().eight_bit);
    assert!(received("ü\r\n.\r\n".as_bytes()).unwrap().2.unwrap().eight_bit);
}

#[test]
fn octets_behind_the_end_do_not_count_as_content() {
    let (mut content, mut kept) = (Content::new(Rules::default()), Vec::new());
    let fed = content.feed("a\r\n.\r\nMAIL FROM:<ü@example.com>\r\n".as_bytes(), &mut kept);
    assert_eq!(fed, Fed::End(6));
    assert!(!content.finish().unwrap().eight_bit, "8-bit octets of the next command were counted");
}

#[test]
fn any_octets_in_any_split_give_one_verdict() {
    // A small generator with a fixed start: every run tries the same ten thousand texts.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let pieces: [&[u8]; 10] =
        [b"\r", b"\n", b".", b"\r\n", b"\r\n.\r\n", b"\0", b"x", b"Received:", b"\xff", b"\r\n.."];
    for _ in 0..10_000 {
        let bytes: Vec<u8> = (0..random(12)).flat_map(|_| pieces[random(pieces.len())]).copied().collect();
        let whole = receive(&bytes, bytes.len().max(1), 0);
        let expected_end = find_end(&bytes);
        assert_eq!(whole.as_ref().map(|(_, rest, _)| bytes.len() - rest.len()), expected_end, "{bytes:?}");
        for split in [1, 2, 3, 5] {
            let again = receive(&bytes, split, 0);
            assert_eq!(
                again.as_ref().map(|found| (&found.1, &found.2)),
                whole.as_ref().map(|found| (&found.1, &found.2))
            );
            if whole.as_ref().is_some_and(|found| found.2.is_ok()) {
                assert_eq!(again, whole, "split every {split}: {bytes:?}");
            }
        }
        if let Some((kept, _, Ok(summary))) = whole {
            let end = expected_end.unwrap() - 3;
            assert_eq!(kept, bytes[..end], "the wire form changed");
            assert_eq!(summary.stored, end as u64);
        }
    }
}

/// The end of a message by its definition: behind the first CR LF `.` CR LF, the start counting as behind a CR LF.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let with_start = [b"\r\n", bytes].concat();
    with_start.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 3)
}

#[test]
fn lines_taken_whole_are_judged_as_those_taken_apart() {
    let long = "x".repeat(LINE_TEXT_MAX);
    let too_long = "x".repeat(LINE_TEXT_MAX + 1);
    let lines = [
        "",
        "plain",
        "..stuffed",
        "k\u{f6}ln",
        "a\rb",
        "a\nb",
        "a\0b",
        "ends in CR\r",
        &long,
        &too_long,
        "last",
    ];
    let rules = [
        Rules::default(),
        Rules { seven_bit: true, ..Rules::default() },
        Rules { size_max: 60, ..Rules::default() },
        Rules { size_max: 27, ..Rules::default() },
        Rules { lines_max: Some(5), ..Rules::default() },
        Rules { long_lines: LongLines::Truncate, ..Rules::default() },
        Rules { long_lines: LongLines::Wrap, ..Rules::default() },
    ];
    // Every body of three of these lines behind a header.
    for number in 0..lines.len().pow(3) {
        let [first, second, third] = [number, number / lines.len(), number / lines.len() / lines.len()];
        let body = [first, second, third].map(|at| lines[at % lines.len()]).join("\r\n");
        let message = format!("Subject: a\r\n\r\n{body}\r\nend\r\n.\r\nQUIT\r\n");
        for rules in rules {
            let of_use = |(kept, rest, verdict): Message| (verdict.is_ok().then_some(kept), rest, verdict);
            let apart = receive_by(rules, message.as_bytes(), 1).map(of_use);
            let whole = receive_by(rules, message.as_bytes(), message.len()).map(of_use);
            assert!(whole == apart, "{rules:?}: {message:?}: {whole:?}, {apart:?}");
        }
    }
}

#[test]
fn lines_before_one_that_may_not_be_eight_bit_are_looked_at_once() {
    let lines = b"plain\r\n".repeat(1000);
    let body = [&lines, b"\xfc\r\n".as_slice(), &lines].concat();
    let mut content = Content::new(Rules { seven_bit: true, ..Rules::default() });
    let mut kept = Vec::new();
    content.feed(b"Subject: a\r\n\r\n", &mut kept);
    // What is not taken here is looked at again after each line.
    assert_eq!(content.plain_lines(&body), lines);
    let (_, rest, verdict) = receive_by(
        Rules { seven_bit: true, ..Rules::default() },
        &[b"Subject: a\r\n\r\n", body.as_slice(), b".\r\nQUIT\r\n"].concat(),
        usize::MAX >> 1,
    )
    .unwrap();
    assert_eq!((rest.as_slice(), verdict), (b"QUIT\r\n".as_slice(), Err(Fault::EightBit)));
}
