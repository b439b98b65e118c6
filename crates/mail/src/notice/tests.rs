//! Notices are taken apart again by a small reader of MIME: structure, fields, and the words for people.

use std::collections::BTreeMap;

use super::*;

fn example() -> Notice {
    Notice {
        reporting_mta: "hub.example.com".into(),
        sender: "anna@example.com".into(),
        postmaster: "postmaster@hub.example.com".into(),
        personal: String::new(),
        message_id: "<n1@hub.example.com>".into(),
        date: Time::from_secs(1_795_300_000),
        arrived: Time::from_secs(1_795_296_600),
        envelope_id: "QQ314159".into(),
        later: None,
        recipients: vec![Report {
            original: "Bert@site7.example".into(),
            origin: String::new(),
            final_address: "bert@mail.site7.example".into(),
            action: Action::Failed,
            status: Status::NO_SUCH_USER,
            diagnostic: "550 5.1.1 no such user".into(),
            peer: "mail.site7.example".into(),
            last_attempt: Some(Time::from_secs(1_795_299_000)),
            retry_until: None,
        }],
        returned: Returned::Header(b"From: anna@example.com\r\nSubject: hello\r\n".to_vec()),
    }
}

/// Fields (lower-cased names, unfolded) and body of a MIME entity.
fn entity(bytes: &[u8]) -> (BTreeMap<String, String>, Vec<u8>) {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").expect("an empty line after the header");
    let header = String::from_utf8(bytes[..end].to_vec()).unwrap().replace("\r\n ", " ");
    let mut fields = BTreeMap::new();
    for line in header.split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        let double = fields.insert(name.to_ascii_lowercase(), value.to_owned());
        assert_eq!(double, None, "{name} stands there twice");
    }
    (fields, bytes[end + 4..].to_vec())
}

struct Parsed {
    header: BTreeMap<String, String>,
    text: String,
    about_message: BTreeMap<String, String>,
    about_recipients: Vec<BTreeMap<String, String>>,
    returned_type: String,
    returned: Vec<u8>,
}

fn parse(bytes: &[u8]) -> Parsed {
    for line in bytes.split(|b| *b == b'\n') {
        assert!(line.is_empty() || line.ends_with(b"\r"), "a bare line feed");
        assert!(!line[..line.len().saturating_sub(1)].contains(&b'\r'), "a bare carriage return");
        assert!(line.len() <= 999, "a line of {} octets", line.len());
    }
    let (header, body) = entity(bytes);
    let kind = &header["content-type"];
    assert!(kind.starts_with("multipart/report; report-type=delivery-status; boundary=\""), "{kind}");
    let boundary = kind.split('"').nth(1).unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    let (inner, after) = body.split_once(&format!("\r\n--{boundary}--\r\n")).expect("the last delimiter");
    assert_eq!(after, "");
    let parts: Vec<&str> = inner.split(&format!("--{boundary}\r\n")).skip(1).collect();
    assert_eq!(parts.len(), 3);
    let (text_fields, text) = entity(parts[0].as_bytes());
    assert!(text_fields["content-type"].starts_with("text/plain"));
    let (status_fields, status) = entity(parts[1].as_bytes());
    assert_eq!(status_fields["content-type"], "message/delivery-status");
    let status = String::from_utf8(status).unwrap();
    let mut groups =
        status.trim_end().split("\r\n\r\n").map(|group| entity(format!("{group}\r\n\r\n").as_bytes()).0);
    let (returned_fields, returned) = entity(parts[2].as_bytes());
    Parsed {
        header,
        text: String::from_utf8(text).unwrap(),
        about_message: groups.next().unwrap(),
        about_recipients: groups.collect(),
        returned_type: returned_fields["content-type"].clone(),
        returned,
    }
}

#[test]
fn a_failure_names_the_recipient_the_reason_and_the_end() {
    let parsed = parse(&example().build());
    assert_eq!(parsed.header["from"], "Mail Delivery System <postmaster@hub.example.com>");
    assert_eq!(parsed.header["to"], "<anna@example.com>");
    assert_eq!(parsed.header["subject"], "Your message could not be delivered");
    assert_eq!(parsed.header["auto-submitted"], "auto-replied");
    assert_eq!(parsed.header["message-id"], "<n1@hub.example.com>");
    assert_eq!(parsed.header["date"], "Sat, 21 Nov 2026 22:26:40 +0000");
    insta::assert_snapshot!(parsed.text.replace("\r\n", "\n"), @r"
    This is the mail system at hub.example.com.

    The message you sent, which arrived here on Sat, 21 Nov 2026 21:30:00
    +0000, could not be delivered to:

      <Bert@site7.example>
        which here means <bert@mail.site7.example>
        mail.site7.example answered: 550 5.1.1 no such user

    This is final: the message will not be tried again for them. If it
    matters, reach them another way, or correct the address and send the
    message again.

    The header of your message is attached, and a report for programs.
    For help, write to postmaster@hub.example.com.
    ");

    assert_eq!(parsed.about_message["reporting-mta"], "dns; hub.example.com");
    assert_eq!(parsed.about_message["original-envelope-id"], "QQ314159");
    assert_eq!(parsed.about_message["arrival-date"], "Sat, 21 Nov 2026 21:30:00 +0000");
    let recipient = &parsed.about_recipients[0];
    assert_eq!(recipient["original-recipient"], "rfc822; Bert@site7.example");
    assert_eq!(recipient["final-recipient"], "rfc822; bert@mail.site7.example");
    assert_eq!(recipient["action"], "failed");
    assert_eq!(recipient["status"], "5.1.1");
    assert_eq!(recipient["remote-mta"], "dns; mail.site7.example");
    assert_eq!(recipient["diagnostic-code"], "smtp; 550 5.1.1 no such user");
    assert_eq!(recipient["last-attempt-date"], "Sat, 21 Nov 2026 22:10:00 +0000");
    assert!(!recipient.contains_key("will-retry-until"));

    assert_eq!(parsed.returned_type, "text/rfc822-headers");
    assert_eq!(parsed.returned, b"From: anna@example.com\r\nSubject: hello\r\n");
}

#[test]
fn a_delay_says_until_when_it_is_tried() {
    let mut notice = example();
    notice.recipients[0] = Report {
        original: String::new(),
        action: Action::Delayed,
        status: Status::new(4, 4, 1),
        diagnostic: "the site has not called for its mail".into(),
        peer: String::new(),
        retry_until: Some(Time::from_secs(1_795_900_000)),
        ..notice.recipients[0].clone()
    };
    let parsed = parse(&notice.build());
    assert_eq!(parsed.header["subject"], "Your message has not been delivered yet");
    let recipient = &parsed.about_recipients[0];
    assert_eq!(recipient["action"], "delayed");
    assert_eq!(recipient["will-retry-until"], "Sat, 28 Nov 2026 21:06:40 +0000");
    assert_eq!(recipient["diagnostic-code"], "x-local; the site has not called for its mail");
    assert!(!recipient.contains_key("original-recipient"));
    assert!(!recipient.contains_key("remote-mta"));
    insta::assert_snapshot!(parsed.text.replace("\r\n", "\n"), @r"
    This is the mail system at hub.example.com.

    The message you sent, which arrived here on Sat, 21 Nov 2026 21:30:00
    +0000, has not been delivered yet to:

      <bert@mail.site7.example>
        the site has not called for its mail
        It will be tried until Sat, 28 Nov 2026 21:06:40 +0000.

    This is only a warning. You need not send the message again: it is kept
    here and will be tried again. If it cannot be delivered in the end, you
    will be told.

    The header of your message is attached, and a report for programs.
    For help, write to postmaster@hub.example.com.
    ");
}

#[test]
fn several_recipients_get_a_group_each() {
    let mut notice = example();
    for n in 0..3 {
        notice.recipients.push(Report { original: format!("u{n}@x"), ..notice.recipients[0].clone() });
    }
    let parsed = parse(&notice.build());
    assert_eq!(parsed.about_recipients.len(), 4);
    assert_eq!(parsed.about_recipients[3]["original-recipient"], "rfc822; u2@x");
}

#[test]
fn success_is_told_in_the_words_of_its_kind() {
    let mut notice = example();
    notice.later = Some(LaterRelease::Until(Time::from_secs(1_795_296_600)));
    notice.envelope_id = "QQ 314159".into();
    let told = |notice: &mut Notice, action, subject: &str, word: &str| {
        notice.recipients[0] = Report {
            origin: "rfc822; bert+x@old.example".into(),
            action,
            status: Status::new(2, 0, 0),
            ..notice.recipients[0].clone()
        };
        let parsed = parse(&notice.build());
        assert_eq!(parsed.header["subject"], subject);
        assert_eq!(parsed.about_recipients[0]["action"], word);
        assert_eq!(parsed.about_recipients[0]["original-recipient"], "rfc822; bert+x@old.example");
        assert_eq!(parsed.about_message["original-envelope-id"], "QQ 314159");
        assert_eq!(parsed.about_message["future-release-request"], "until;2026-11-21T21:30:00Z");
    };
    told(&mut notice, Action::Delivered, "Your message was delivered", "delivered");
    told(&mut notice, Action::Relayed, "Your message was relayed", "relayed");
    told(&mut notice, Action::Expanded, "Your message was passed on to several addresses", "expanded");
}

#[test]
fn nothing_from_outside_makes_a_field_or_a_line() {
    let evil = "x\r\nBcc: victim@example\r\n\r\n--=_notice\n\r.\r\n\0\u{b}y";
    let mut notice = example();
    notice.reporting_mta = evil.into();
    notice.sender = evil.into();
    notice.postmaster = evil.into();
    notice.message_id = evil.into();
    notice.envelope_id = evil.into();
    let report = &mut notice.recipients[0];
    for text in [&mut report.original, &mut report.final_address, &mut report.diagnostic, &mut report.peer] {
        *text = evil.into();
    }
    let built = notice.build();
    let parsed = parse(&built);
    assert!(!parsed.header.contains_key("bcc"));
    assert_eq!(parsed.about_recipients.len(), 1);
    assert!(!parsed.about_recipients[0].contains_key("bcc"));
    for line in built.split(|b| *b == b'\n') {
        assert!(!line.starts_with(b"Bcc:"));
        assert_ne!(line, b".\r");
    }
    assert!(!built.contains(&0));
}

#[test]
fn endless_text_is_cut() {
    let mut notice = example();
    notice.recipients[0].diagnostic = "y".repeat(100_000);
    notice.recipients[0].final_address = "z".repeat(100_000);
    notice.recipients[0].original = "blank ".repeat(100_000);
    assert!(notice.build().len() < 20_000);
    parse(&notice.build());
}

#[test]
fn letters_outside_ascii_are_encoded() {
    let mut notice = example();
    notice.recipients[0].original = "jürgen@bücher.example".into();
    notice.recipients[0].diagnostic = "550 kein Postfach für Jürgen".into();
    let built = notice.build();
    assert!(built.is_ascii());
    let parsed = parse(&built);
    assert_eq!(parsed.about_recipients[0]["original-recipient"], "utf-8; j\\x{FC}rgen@b\\x{FC}cher.example");
    assert_eq!(
        parsed.about_recipients[0]["diagnostic-code"],
        "smtp; 550 kein Postfach f\\x{FC}r J\\x{FC}rgen"
    );
    assert!(parsed.text.contains("j=C3=BCrgen"));
}

#[test]
fn the_delimiter_does_not_occur_in_what_is_returned() {
    let mut notice = example();
    let first = String::from_utf8(notice.build()).unwrap();
    let boundary = first.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    notice.returned =
        Returned::Message(format!("Subject: x\r\n\r\n--{boundary}--\r\n\r\n--{boundary}\r\n").into());
    let parsed = parse(&notice.build());
    assert_eq!(parsed.returned_type, "message/rfc822");
    assert!(parsed.returned.ends_with(format!("--{boundary}\r\n").as_bytes()));
}

#[test]
fn a_small_message_is_returned_whole_and_a_large_one_by_its_header() {
    let message = b"A: b\r\nC: d\r\n\r\nbody\r\n";
    let of = |limit| Returned::of(message.chunks(3), limit);
    assert_eq!(of(100), Returned::Message(message.to_vec()));
    assert_eq!(of(message.len()), Returned::Message(message.to_vec()));
    assert_eq!(of(message.len() - 1), Returned::Header(b"A: b\r\nC: d\r\n".to_vec()));
    assert_eq!(Returned::of([&b"\r\nbody"[..]], 3), Returned::Header(vec![]));
    let long = b"X: y\r\n".repeat(20_000);
    let Returned::Header(header) = Returned::of([&long[..]], 10) else {
        panic!("too long to be returned whole")
    };
    assert!(header.len() <= Returned::HEADER_SIZE_MAX && header.ends_with(b"\r\n"));
}

#[test]
fn eight_bit_originals_are_declared() {
    let mut notice = example();
    notice.returned = Returned::Message("Subject: é\r\n\r\né\r\n".into());
    let (header, _) = entity(&notice.build());
    assert_eq!(header["content-transfer-encoding"], "8bit");
}

#[test]
fn the_author_has_the_name_that_is_given() {
    let notice = Notice { personal: "Hub, Example".into(), ..example() };
    assert_eq!(parse(&notice.build()).header["from"], "\"Hub, Example\" <postmaster@hub.example.com>");
}

fn sampled(message: &str, lines: u32) -> (&'static str, String) {
    let (kind, octets) = match Returned::sample(message.as_bytes().chunks(7), lines) {
        Returned::Header(octets) => ("header", octets),
        Returned::Beginning(octets) => ("beginning", octets),
        Returned::Message(octets) => ("message", octets),
    };
    (kind, String::from_utf8(octets).unwrap())
}

#[test]
fn a_sample_is_the_header_and_the_first_lines() {
    let message = "Subject: x\r\n\r\none\r\ntwo\r\nthree\r\n";
    assert_eq!(sampled(message, 0), ("header", "Subject: x\r\n".into()));
    assert_eq!(sampled(message, 1), ("beginning", "Subject: x\r\n\r\none\r\n".into()));
    assert_eq!(sampled(message, 2), ("beginning", "Subject: x\r\n\r\none\r\ntwo\r\n".into()));
    assert_eq!(sampled(message, 3), ("message", message.into()));
    assert_eq!(sampled(message, u32::MAX), ("message", message.into()));
    assert_eq!(sampled("Subject: x\r\n", 5), ("message", "Subject: x\r\n".into()), "no body at all");
    assert_eq!(sampled("\r\nbody\r\nmore\r\n", 1), ("beginning", "\r\nbody\r\n".into()), "no header at all");
    assert_eq!(sampled("", 5), ("message", String::new()));
}

#[test]
fn a_sample_of_long_lines_and_of_a_long_header_has_an_end() {
    let long = format!("Subject: x\r\n\r\n{}", format!("{}\r\n", "x".repeat(990)).repeat(1000));
    let (kind, text) = sampled(&long, 500);
    assert_eq!(kind, "beginning");
    assert!(
        text.len() <= Returned::HEADER_SIZE_MAX + SAMPLE_SIZE_MAX && text.ends_with("\r\n"),
        "{}",
        text.len()
    );
    let header = format!("{}\r\nbody\r\n", "X-Long: yes\r\n".repeat(10_000));
    let (kind, text) = sampled(&header, 20);
    assert_eq!(kind, "header");
    assert!(text.len() <= Returned::HEADER_SIZE_MAX && text.ends_with("yes\r\n"));
}

#[test]
fn the_words_say_how_much_is_attached() {
    let beginning = Returned::Beginning(b"Subject: x\r\n\r\none\r\n".to_vec());
    let parsed = parse(&Notice { returned: beginning, ..example() }.build());
    assert_eq!(parsed.returned_type, "message/rfc822");
    assert!(parsed.text.contains("first lines of your message"), "{}", parsed.text);
}
