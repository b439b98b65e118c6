//! Two hubs with a thin link between: large messages go over it in pieces, and are put together at the far side.

use sluice_testkit::{Batch, Sink, Site, below_received, message, number_of, wait_for, watch};
use sluice_tests::{Destination, SOON, WHILE, configuration, hub};
use std::collections::BTreeSet;
use std::fs;

/// One block is 1024 octets.
const BLOCKS: u64 = 64;
const LARGE: usize = 1024 * 1024;
const DEFRAGMENT: &str = "\ndefragment backoff PT1S\nDEFRAGMENT-DAEMON\n";

/// The hub at the far side: it puts together what goes to the sink.
fn far(name: &str, sink: &Sink, option_file: &str) -> Site {
    let to = [Destination {
        keywords: "defragment",
        ..Destination::direct("tcp_sink", "far.example", sink.port())
    }];
    let site = Site::new(name);
    site.write("sluice.cnf", &format!("{}{DEFRAGMENT}", configuration("", &to)));
    site.write("defragment_option", option_file);
    site
}

/// The hub at this side: what goes to `far.example` goes to that port in pieces.
fn near(name: &str, port: u16, keywords: &str) -> Site {
    let to = [Destination { keywords, ..Destination::direct("tcp_thin", "far.example", port) }];
    let site = Site::new(name);
    site.write("sluice.cnf", &format!("{}{DEFRAGMENT}", configuration("", &to)));
    let checked = site.command(&["check"]);
    assert!(
        checked.code == 0 && checked.out.ends_with("nothing to complain about\n"),
        "{}{}",
        checked.out,
        checked.err
    );
    site
}

fn large(near: &Site, first: usize, count: usize) {
    Batch { first, size: LARGE, ..Batch::new(near.address(), "fred@far.example", count) }.send_all();
}

/// The header's fields in any order, and the body.
fn parts(content: &[u8]) -> (BTreeSet<String>, Vec<u8>) {
    let text = String::from_utf8(below_received(content).to_vec()).expect("text");
    let (header, body) = text.split_once("\r\n\r\n").expect("an empty line");
    (header.replace("\r\n ", " ").lines().map(str::to_owned).collect(), body.as_bytes().to_vec())
}

fn without_received(content: &[u8]) -> (BTreeSet<String>, Vec<u8>) {
    let (header, body) = parts(content);
    (header.into_iter().filter(|field| !field.starts_with("Received:")).collect(), body)
}

#[test]
fn a_large_message_arrives_whole_and_equal() {
    let sink = Sink::start();
    let mut far = far("thin-far", &sink, "");
    far.start();
    let mut near = near("thin-near", far.address().port(), &format!("maxblocks {BLOCKS}"));
    near.start();
    large(&near, 1, 2);
    Batch { first: 7, ..Batch::new(near.address(), "fred@far.example", 1) }.send_all();
    let arrived = sink.wait(3, SOON);
    for one in &arrived {
        let number = number_of(&one.content).expect("a number");
        let size = if number == 7 { Batch::new(near.address(), "x@y", 1).size } else { LARGE };
        let (header, body) = without_received(&one.content);
        let (sent_header, sent_body) = without_received(&message(number, size));
        assert!(body == sent_body, "message {number} has another body");
        assert!(sent_header.is_subset(&header), "{sent_header:?} {header:?}");
        assert_eq!((one.from.as_str(), one.to.len()), ("sender@origin.example", 1));
    }
    near.wait_for_waiting(None, 0, SOON);
    far.wait_for_waiting(None, 0, SOON);
    watch("none arrives twice", WHILE, || sink.count() == 3);
    near.stop();
    far.stop();
}

#[test]
fn pieces_on_the_line_are_as_small_as_the_channel_wants() {
    let sink = Sink::start();
    let mut near = near("thin-pieces", sink.port(), "maxblocks 64 maxlines 700");
    near.start();
    large(&near, 1, 1);
    near.wait_for_waiting(None, 0, SOON);
    let pieces = sink.arrived();
    assert!(pieces.len() > 16, "{}", pieces.len());
    for piece in &pieces {
        let lines = piece.content.iter().filter(|octet| **octet == b'\n').count();
        assert!(
            piece.content.len() as u64 <= BLOCKS * 1024 && lines <= 700,
            "{} {lines}",
            piece.content.len()
        );
        let text = String::from_utf8_lossy(&piece.content);
        assert!(text.contains("Content-Type: message/partial; number="), "{text}");
        assert!(text.contains("\r\nSubject: "), "people see what it is: {text}");
    }
    near.stop();
}

#[test]
fn when_a_piece_is_lost_the_others_go_on_as_they_are() {
    let (sink, pieces) = (Sink::start(), Sink::start());
    let mut near = near("thin-lost", pieces.port(), "maxblocks 256");
    near.start();
    large(&near, 1, 1);
    near.wait_for_waiting(None, 0, SOON);
    let all = pieces.arrived();
    assert!(all.len() > 3);
    let mut far = far("thin-lost-far", &sink, "RETENTION_TIME=2\n");
    far.start();
    for piece in &all[1..] {
        let mut client = far.talk();
        let reply =
            client.deliver("a@origin.example", &["fred@far.example"], &piece.content).expect("an answer");
        assert_eq!(reply.code, 250, "{reply}");
    }
    let arrived = sink.wait(all.len() - 1, SOON);
    for one in arrived {
        let (header, body) = without_received(&one.content);
        assert!(header.iter().any(|field| field.starts_with("Content-Type: message/partial;")), "{header:?}");
        assert!(all.iter().any(|piece| without_received(&piece.content) == (header.clone(), body.clone())));
    }
    far.wait_for_waiting(None, 0, SOON);
    let stored = far.folder().join("spool/defragment");
    wait_for("nothing is left", SOON, || {
        let names = fs::read_dir(&stored).expect("the folder is there").flatten();
        names.filter(|entry| entry.path().is_dir()).count() == 0
    });
    far.stop();
    near.stop();
}

#[test]
fn a_kill_in_the_middle_loses_nothing() {
    let sink = Sink::start();
    let mut far = far("thin-kill-far", &sink, "");
    far.start();
    let mut near = near("thin-kill", far.address().port(), &format!("maxblocks {BLOCKS} backoff PT1S"));
    near.start();
    large(&near, 1, 6);
    // Somewhere while pieces are made, sent and put together.
    let stored = far.folder().join("spool/defragment");
    wait_for("pieces wait", SOON, || {
        fs::read_dir(&stored).is_ok_and(|names| names.flatten().any(|entry| entry.path().is_dir()))
            || sink.count() > 0
    });
    near.kill();
    far.kill();
    far.start();
    near.start();
    wait_for("all arrive", SOON, || numbers(&sink) == (1..=6).collect());
    near.wait_for_waiting(None, 0, SOON);
    far.wait_for_waiting(None, 0, SOON);
    for one in sink.arrived() {
        let number = number_of(&one.content).expect("a number");
        assert!(
            without_received(&one.content).1 == without_received(&message(number, LARGE)).1,
            "message {number}"
        );
    }
    near.stop();
    far.stop();
}

fn numbers(sink: &Sink) -> BTreeSet<usize> {
    sink.arrived().iter().filter_map(|one| number_of(&one.content)).collect()
}

#[test]
fn keywords_without_the_channel_are_told() {
    let site = hub(
        "thin-check",
        &[Destination {
            keywords: "maxblocks 64 defragment",
            ..Destination::direct("tcp_thin", "far.example", 25)
        }],
    );
    let checked = site.command(&["check"]);
    let all = format!("{}{}", checked.out, checked.err);
    assert_eq!(all.matches("warning[no-defragment-channel]").count(), 1, "{all}");
    assert!(all.contains("`defragment` has no effect"), "{all}");
}

#[test]
fn what_contradicts_goes_on_as_it_is() {
    let sink = Sink::start();
    let mut far = far("thin-odd", &sink, "MAX_MESSAGES=2\nMAX_PIECES=5\n");
    far.start();
    let mut client = far.talk();
    let mut send = |id: &str, number: &str, total: &str| {
        let total = if total.is_empty() { String::new() } else { format!("; total={total}") };
        let text = format!(
            "Subject: {id} {number}\r\nContent-Type: message/partial; id=\"{id}\"; number={number}{total}\r\n\r\nX: y\r\n\r\n{number}\r\n"
        );
        let reply =
            client.deliver("a@origin.example", &["fred@far.example"], text.as_bytes()).expect("an answer");
        assert_eq!(reply.code, 250, "{reply}");
    };
    // Kept, and each of these for a reason of its own not: another total, a number that is too high, too many pieces, no number at all.
    send("one", "1", "3");
    let kept = || fs::read_dir(far.folder().join("spool/defragment")).is_ok_and(|names| names.count() > 0);
    wait_for("it is kept", SOON, kept);
    for (number, total) in [("2", "4"), ("4", ""), ("1", "4294967295"), ("0", "3"), ("x", "3")] {
        send("one", number, total);
    }
    assert_eq!(sink.wait(5, SOON).len(), 5);
    // A second id is kept, and a third one is too many.
    send("two", "1", "2");
    wait_for("it is kept", SOON, || {
        fs::read_dir(far.folder().join("spool/defragment"))
            .expect("the folder")
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count()
            == 2
    });
    send("three", "1", "2");
    assert_eq!(sink.wait(6, SOON).len(), 6);
    // The first one is not harmed.
    send("one", "3", "3");
    send("one", "2", "3");
    let whole = sink.wait(7, SOON);
    let text = String::from_utf8_lossy(&whole[6].content).into_owned();
    assert!(text.ends_with("\r\n\r\n1\r\nX: y\r\n\r\n2\r\nX: y\r\n\r\n3\r\n"), "{text}");
    far.stop();
}
