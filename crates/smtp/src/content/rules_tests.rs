//! What content is held to besides its form: long lines, number of lines, unannounced octets, chunks.

use super::*;

/// Feeds the text and its end (`.` CR LF, or the end of the chunks) in every split up to 70 octets; all must agree.
fn received(rules: Rules, text: &[u8]) -> (String, Result<Summary, Fault>) {
    let whole = in_pieces(rules, text, text.len().max(1));
    for split in 1..text.len().min(70) {
        let again = in_pieces(rules, text, split);
        assert_eq!(again.1, whole.1, "split every {split}");
        if whole.1.is_ok() {
            assert_eq!(again.0, whole.0, "split every {split}");
        }
    }
    whole
}

fn in_pieces(rules: Rules, text: &[u8], split: usize) -> (String, Result<Summary, Fault>) {
    let (mut content, mut kept) = (Content::new(rules), Vec::new());
    for piece in text.chunks(split) {
        assert_eq!(content.feed(piece, &mut kept), Fed::More);
    }
    if rules.chunked {
        content.end_chunks(&mut kept);
    } else {
        assert_eq!(content.feed(b".\r\n", &mut kept), Fed::End(3));
    }
    let verdict = content.finish();
    if let Ok(summary) = verdict {
        let message = sluice_mail::wire::unstuff(&kept).collect::<Vec<_>>().concat();
        assert_eq!(
            (summary.stored, summary.size),
            (kept.len() as u64, message.len() as u64),
            "counted wrongly"
        );
        assert_eq!(summary.lines as usize, message.split(|octet| *octet == b'\n').count() - 1);
    }
    (String::from_utf8_lossy(&kept).into_owned(), verdict)
}

fn with(long_lines: LongLines) -> Rules {
    Rules { long_lines, ..Rules::default() }
}

/// The longest lines of a text, as lengths without the CR LF.
fn lengths(text: &str) -> Vec<usize> {
    text.split_terminator("\r\n").map(str::len).collect()
}

#[test]
fn truncatesmtplonglines_cuts_lines_off_and_keeps_the_rest() {
    let text = format!("Subject: a\r\n\r\n{}END\r\nshort\r\n.{}END\r\n", "x".repeat(998), "y".repeat(999));
    let (kept, verdict) = received(with(LongLines::Truncate), text.as_bytes());
    assert_eq!(kept, format!("Subject: a\r\n\r\n{}\r\nshort\r\n.{}\r\n", "x".repeat(998), "y".repeat(998)));
    assert!(verdict.unwrap().long_lines);
    // A line that is just short enough is left alone, a stuffed dot in front of it or not.
    let text = format!("{}\r\n..{}\r\n", "x".repeat(998), "y".repeat(997));
    let (kept, verdict) = received(with(LongLines::Truncate), text.as_bytes());
    assert_eq!((kept, verdict.unwrap().long_lines), (text, false));
}

#[test]
fn wrapsmtplonglines_breaks_in_front_of_a_blank() {
    let text = format!("\r\n{} {}\r\nshort\r\n", "x".repeat(900), "y".repeat(200));
    let (kept, verdict) = received(with(LongLines::Wrap), text.as_bytes());
    assert_eq!(kept, format!("\r\n{}\r\n {}\r\nshort\r\n", "x".repeat(900), "y".repeat(200)));
    assert!(verdict.unwrap().long_lines);
    let untouched = format!("\r\n{} y\r\n..dot\r\n. x\r\n", "x".repeat(996));
    let (kept, verdict) = received(with(LongLines::Wrap), untouched.as_bytes());
    // A dot that needed no stuffing is taken away with every other stuffed one: the line means the same without it.
    assert_eq!((kept, verdict.unwrap().long_lines), (untouched.replace("\r\n. x", "\r\n x"), false));
}

#[test]
fn wrapsmtplonglines_breaks_hard_where_there_is_no_blank() {
    let (kept, _) = received(with(LongLines::Wrap), format!("\r\n{}\r\n", "x".repeat(2500)).as_bytes());
    assert_eq!(lengths(&kept), [0, 998, 998, 504]);
    // A piece that begins with a dot is stuffed like any line.
    let text = format!("\r\n{}.{}\r\n", "x".repeat(998), "y".repeat(3));
    let (kept, _) = received(with(LongLines::Wrap), text.as_bytes());
    assert_eq!(kept, format!("\r\n{}\r\n..yyy\r\n", "x".repeat(998)));
}

#[test]
fn a_broken_header_line_stays_one_field() {
    let text = format!(
        "X-Long: {}\r\nReceived: {} {}\r\nDate: now\r\n\r\n",
        "x".repeat(1500),
        "a".repeat(600),
        "b".repeat(600)
    );
    let (kept, verdict) = received(with(LongLines::Wrap), text.as_bytes());
    let (header, body) = kept.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "");
    let fields: Vec<&str> = header.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])).collect();
    assert_eq!(fields.len(), 3, "{fields:?}");
    assert!(lengths(&kept).iter().all(|length| *length <= 998));
    let summary = verdict.unwrap();
    assert_eq!((summary.received_lines, summary.dated), (1, true));
}

#[test]
fn wrapped_lines_count_towards_the_size_at_once() {
    let rules = Rules { size_max: 3000, ..with(LongLines::Wrap) };
    let (mut content, mut kept) = (Content::new(rules), Vec::new());
    for _ in 0..1000 {
        content.feed(&[b'x'; 1000], &mut kept);
    }
    assert_eq!(content.fault(), Some(Fault::TooLarge(3000)));
    assert!(kept.len() < 6000, "{} octets were kept of a line without end", kept.len());
    let rules = Rules { size_max: 3000, ..with(LongLines::Truncate) };
    let (mut content, mut kept) = (Content::new(rules), Vec::new());
    for _ in 0..1000 {
        content.feed(&[b'x'; 1000], &mut kept);
    }
    assert_eq!((content.fault(), kept.len()), (None, 998), "what is cut off does not count");
}

#[test]
fn linelimit_counts_header_and_body() {
    let rules = |lines| Rules { lines_max: Some(lines), ..Rules::default() };
    let text = b"Subject: a\r\n\r\none\r\ntwo\r\n";
    assert_eq!(received(rules(4), text).1.unwrap().lines, 4);
    assert_eq!(received(rules(3), text).1, Err(Fault::TooManyLines(3)));
}

#[test]
fn eightstrict_refuses_what_nobody_announced() {
    let rules = Rules { seven_bit: true, ..Rules::default() };
    assert_eq!(received(rules, "gr\u{fc}n\r\n".as_bytes()).1, Err(Fault::EightBit));
    assert!(received(rules, b"green\r\n").1.is_ok());
}

#[test]
fn chunks_come_into_wire_form() {
    let rules = Rules { chunked: true, ..Rules::default() };
    let (kept, verdict) = received(rules, b"Subject: a\r\n\r\n.\r\n..x\r\n.y\r\nlast");
    assert_eq!(kept, "Subject: a\r\n\r\n..\r\n...x\r\n..y\r\nlast\r\n");
    assert_eq!(verdict.unwrap().body_at, Some(14));
    assert_eq!(received(rules, b"").0, "");
    for (text, fault) in [
        (&b"a\nb\r\n"[..], Fault::BareLineEnd),
        (b"a\rb\r\n", Fault::BareLineEnd),
        (b"a\r\nb\r", Fault::BareLineEnd),
        (b"a\0b\r\n", Fault::Nul),
    ] {
        assert_eq!(received(rules, text).1, Err(fault), "{text:?}");
    }
    assert_eq!(received(rules, &[b'x'; 999]).1, Err(Fault::LongLine));
    let wrapped = Rules { chunked: true, ..with(LongLines::Wrap) };
    assert_eq!(received(wrapped, b".x\r\n.").0, "..x\r\n..\r\n");
}

#[test]
fn what_a_submission_lacks_is_seen() {
    let summary = |text: &[u8]| received(Rules::default(), text).1.unwrap();
    let found = summary(b"DATE: x\r\nMessage-Id: <a@b>\r\n\r\n");
    assert!(found.dated && found.identified);
    let found = summary(b"Subject: a\r\n\r\nDate: x\r\nMessage-Id: <a@b>\r\n");
    assert!(!found.dated && !found.identified);
}
