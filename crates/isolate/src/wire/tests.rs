//! Frames against the document that draws them, and against what is no frame.

use super::*;
use sluice_host::{Cause, Delivery, Failure, Recipient, Setting, Spec, StopReason};
use sluice_mail::{
    Handover, Notify, Outcome, Priority, RecipientWishes, Return, Status, Time, TransferPriority, Wishes,
};
use std::sync::Arc;
use std::time::Duration;

const PAGE: &str = include_str!("../../../../docs/internals/isolation.md");

fn outcomes() -> Vec<(u32, Outcome)> {
    let delivered = Outcome::Delivered {
        status: Status::new(2, 0, 0),
        text: "250 ok".into(),
        peer: "mx".into(),
        handover: Handover::Relayed,
    };
    let deferred =
        Outcome::Deferred { status: Status::new(4, 2, 2), text: "full!".into(), peer: String::new() };
    vec![(0, delivered), (3, deferred)]
}

fn finished() -> ToHub {
    ToHub::Finished { delivery: 12, cause: Cause::Done, outcomes: outcomes() }
}

/// One of each kind, with the name that the document gives it.
fn all() -> Vec<(&'static str, ToHub)> {
    let ready = Ready {
        plugin: "tcp".into(),
        version: "1.0".into(),
        description: "mail by TCP".into(),
        abi: 1,
        options: vec![("PORT".into(), false), ("FOLDER".into(), true)],
        confined: "landlock, seccomp".into(),
    };
    let failed =
        Outcome::Failed { status: Status::new(5, 1, 1), text: "no such user".into(), peer: "mx".into() };
    let wishes = RecipientWishes { notify: Notify::NEVER, original: "rfc822;a@b".into() };
    vec![
        ("READY", ToHub::Ready(VERSION, ready)),
        ("CANNOT", ToHub::Cannot("it is no library".into())),
        ("SETTLED", ToHub::Settled { delivery: 12, outcomes: vec![(1, failed)] }),
        ("FINISHED", finished()),
        ("LEASE_DONE", ToHub::LeaseDone(7)),
        (
            "FAILED",
            ToHub::Failed { failure: Failure::Hung(Duration::from_secs(3)), pause: Duration::from_secs(1) },
        ),
        ("STOPPED", ToHub::Stopped { reason: StopReason::Refused("no".into()), left_behind: 2 }),
        ("LOG", ToHub::Log { level: 2, id: "0123456789ABCDEF".into(), text: "careful".into() }),
        (
            "SUBMIT",
            ToHub::Submit {
                request: 5,
                eight_bit: true,
                smtputf8: false,
                as_original: true,
                on_hold: true,
                origin: Some("0123456789ABCDEF".into()),
                sender: "a@b".into(),
                returned: Some(Return::Headers),
                envelope_id: "QQ+2B1".into(),
            },
        ),
        ("RECIPIENTS", ToHub::Recipients(5, vec![("c@d".into(), String::new(), wishes)])),
        ("CONTENT", ToHub::Content(5, b"Subject: x\r\n".to_vec())),
        ("SUBMITTED", ToHub::Submitted(5)),
        ("REFUSED", ToHub::Refused(7)),
        ("CREATED", ToHub::Created(Err("the moon is in the wrong house".into()))),
    ]
}

fn written(frame: &ToHub) -> Vec<u8> {
    let mut octets = Vec::new();
    frame.write(&mut octets);
    octets
}

/// Kind and body of the one frame that these octets are.
fn taken(octets: &[u8]) -> (u8, Vec<u8>) {
    let mut frames = Frames::new(TO_CHILD_MAX);
    let mut rest = octets;
    loop {
        if let Some((kind, body)) = frames.next_frame().expect("a frame") {
            return (kind, body.to_vec());
        }
        let room = frames.room();
        let count = room.len().min(rest.len());
        assert!(count > 0, "a whole frame");
        room[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        frames.came(count);
    }
}

#[test]
fn the_document_shows_what_is_written() {
    let block = PAGE.split("```hex\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a hex block");
    let words = block.lines().flat_map(|line| line.split("   ").next().unwrap_or("").split_whitespace());
    let octets: Vec<u8> = words.map(|word| u8::from_str_radix(word, 16).expect("two digits")).collect();
    assert_eq!(written(&finished()), octets);
    let (kind, body) = taken(&octets);
    assert_eq!(ToHub::read(kind, &body), Ok(finished()));
}

#[test]
fn every_frame_has_the_number_of_the_document_and_is_read_as_it_was_written() {
    let table =
        PAGE.split("## Frames to the hub").nth(1).and_then(|rest| rest.split("## Example").next()).unwrap();
    for (name, frame) in all() {
        let (kind, body) = taken(&written(&frame));
        assert!(table.contains(&format!("| {kind} | {name} |")), "{name} is {kind}");
        assert_eq!(ToHub::read(kind, &body).as_ref(), Ok(&frame), "{name}");
    }
    assert_eq!(
        table.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()).count(),
        all().len()
    );
}

#[test]
fn what_is_cut_off_or_goes_on_is_no_frame() {
    for (name, frame) in all() {
        let (kind, body) = taken(&written(&frame));
        let is_open_ended = name == "CONTENT";
        for length in 0..body.len() {
            let read = ToHub::read(kind, &body[..length]);
            assert!(read.is_err() || is_open_ended, "{name} with {length} octets: {read:?}");
        }
        let longer = [&body[..], b"x"].concat();
        assert!(ToHub::read(kind, &longer).is_err() || is_open_ended, "{name}");
    }
    assert!(ToHub::read(0, b"").is_err() && ToHub::read(15, b"").is_err());
}

#[test]
fn a_channel_has_been_created_or_there_is_a_reason() {
    let (kind, body) = taken(&written(&ToHub::Created(Ok(()))));
    assert_eq!(ToHub::read(kind, &body), Ok(ToHub::Created(Ok(()))));
    for bad in [&[2, 0, 0, 0, 0][..], &[1, 1, 0, 0, 0, b'x']] {
        assert!(ToHub::read(kind, bad).is_err(), "{bad:?}");
    }
}

#[test]
fn room_follows_what_comes() {
    let mut frames = Frames::new(TO_HUB_MAX);
    let frame = [&[0, 1, 0, 0, 9, 0, 0, 0][..], &[7; 256]].concat();
    // Whole frames, as many as there is room for or one, and what room there was.
    let mut read = |fills: bool| {
        let room = frames.room();
        let size = room.len();
        // A frame that ends elsewhere than the room would be taken together with what comes next.
        let count = if fills { size } else { frame.len() };
        room[..count].iter_mut().zip(frame.iter().cycle()).for_each(|(to, from)| *to = *from);
        frames.came(count);
        while frames.next_frame().expect("frames").is_some() {}
        if fills {
            // The rest of the last one.
            let rest = (frame.len() - size % frame.len()) % frame.len();
            let room = frames.room();
            let from = frame.len() - rest;
            room[..rest].copy_from_slice(&frame[from..]);
            frames.came(rest);
            while frames.next_frame().expect("frames").is_some() {}
        }
        size
    };
    assert_eq!([(); 4].map(|()| read(false)), [16 << 10; 4], "who says little has little");
    let full = [(); 12].map(|()| read(true));
    assert!(full.iter().max() >= Some(&(128 << 10)), "{full:?}");
    assert!(full.iter().all(|size| *size <= 768 << 10), "{full:?}");
    let quiet = [(); 200].map(|()| read(false));
    assert_eq!(quiet[199], 16 << 10, "{quiet:?}");
}

#[test]
fn heads_that_are_none_are_found_at_once() {
    let put = |head: [u8; 8]| {
        let mut frames = Frames::new(TO_HUB_MAX);
        frames.room()[..8].copy_from_slice(&head);
        frames.came(8);
        frames.next_frame().map(|frame| frame.is_some())
    };
    assert_eq!(put([0, 0, 16, 0, 1, 0, 0, 0]), Ok(false), "as long as may be, and not there yet");
    assert_eq!(put([1, 0, 16, 0, 1, 0, 0, 0]), Err(Bad("a frame is longer than frames may be")));
    assert_eq!(put([0, 0, 0, 0, 1, 1, 0, 0]), Err(Bad("what should be the head of a frame is none")));
}

#[test]
fn a_list_is_no_longer_than_what_is_there() {
    // Settled, with four thousand million outcomes in no octets at all.
    let body = [&12_u64.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
    assert_eq!(ToHub::read(3, &body), Err(Bad("a list is longer than its frame")));
}

#[test]
fn outcomes_that_mean_nothing_are_refused_and_classes_are_made_to_agree() {
    let octets = written(&finished());
    let (kind, body) = taken(&octets);
    let with = |at: usize, value: u8| {
        let mut body = body.clone();
        body[at] = value;
        ToHub::read(kind, &body)
    };
    // Kind, class and handover of the first outcome stand at 17; subject at 21.
    for (at, value) in [(17, 0), (17, 4), (18, 3), (19, 3), (20, 1), (22, 4), (8, 9)] {
        assert!(with(at, value).is_err(), "{at} {value}");
    }
    match with(18, 5) {
        Ok(ToHub::Finished { outcomes, .. }) => assert_eq!(outcomes[0].1.status().class, 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_are_bounded_and_one_line() {
    let log =
        ToHub::Log { level: 1, id: "i".repeat(1000), text: format!("a\r\nb \u{1b}[2J {}", "x".repeat(5000)) };
    let (kind, body) = taken(&written(&log));
    match ToHub::read(kind, &body) {
        Ok(ToHub::Log { id, text, .. }) => {
            assert!(id.len() < 300 && text.len() < 2100 && text.starts_with(r"a b \u{1b}[2J"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_goes_to_the_child_is_read_as_it_was_written() {
    let delivery = Delivery {
        token: 3,
        id: "0123456789ABCDEF".into(),
        sender: "a@b".into(),
        source_channel: String::new(),
        domain: "d.example".into(),
        recipients: vec![Recipient {
            index: 4,
            address: "c@d.example".into(),
            original: "C@d.example".into(),
            wishes: RecipientWishes { notify: Notify::DELAY, original: "rfc822;c@d".into() },
        }],
        content: Arc::new(Vec::new()),
        attempts: 2,
        arrived: Time(1_790_000_000_000),
        priority: Priority::Urgent,
        eight_bit: true,
        smtputf8: true,
        wishes: Wishes {
            returned: Some(Return::Headers),
            envelope_id: "id".into(),
            later: None,
            priority: TransferPriority::new(-3),
        },
        more_follows: true,
        next_hop: Some("unix:/x".into()),
        suspect: false,
    };
    let pieces = vec![Piece { key: 1, offset: 6, length: 9 }, Piece { key: 2, offset: 0, length: 1 << 40 }];
    let mut spec = Spec::new(
        "tcp_local",
        vec![Setting::option("A", "b"), Setting::keyword("c", ""), Setting::fact("d", "e")],
    );
    spec.deadline = Duration::from_millis(1234);
    spec.queue_bound = 99;
    let hello = Hello {
        version: VERSION,
        level: 3,
        looks: true,
        hub: 77,
        memory: 1 << 30,
        file: "/lib/x.so".into(),
        read: vec!["/a".into(), "/b".into()],
        write: vec!["/c".into()],
        spec,
    };
    let answers = outcomes().into_iter().map(|(_, outcome)| outcome).collect();
    let lent = LentDelivery { delivery, pieces };
    let frames = [
        ("HELLO", ToChild::Hello(Box::new(hello))),
        ("SEGMENT", ToChild::Segment { key: 1, length: 1 << 33 }),
        ("FORGET", ToChild::Forget(1)),
        ("LEASE", ToChild::Lease(LentLease { lease: 8, poll: true, deliveries: vec![lent] })),
        ("ANSWER", ToChild::Answer(5, Some(answers))),
        ("ANSWER", ToChild::Answer(6, None)),
        ("STOP", ToChild::Stop(Duration::from_secs(10))),
        ("PREPARE", ToChild::Prepare),
    ];
    let table = PAGE
        .split("## Frames to the child")
        .nth(1)
        .and_then(|rest| rest.split("## Frames to the hub").next())
        .unwrap();
    for (name, frame) in frames {
        let mut octets = Vec::new();
        frame.write(&mut octets);
        let (kind, body) = taken(&octets);
        assert!(table.contains(&format!("| {kind} | {name} |")), "{name} is {kind}");
        let read = ToChild::read(kind, &body).unwrap_or_else(|bad| panic!("{name}: {bad}"));
        let mut again = Vec::new();
        read.write(&mut again);
        assert_eq!(octets, again, "{name}");
        for length in 0..body.len() {
            assert!(ToChild::read(kind, &body[..length]).is_err(), "{name} with {length} octets");
        }
    }
}
