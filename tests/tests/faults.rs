//! Disks that fill up and fail, files that come to harm, other releases and other processes: what a running hub makes of it.
//!
//! The table in `docs/internals/faults.md` names the test of each condition.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use sluice_testkit::{Batch, Fate, Manner, Sink, Site, wait_for, watch};
use sluice_tests::{Calls, Clock, Destination, Room, SOON, WHILE, hub, numbers};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

/// A hub that holds mail for a site, with the smallest segments.
fn holding(name: &str, sink: &Sink) -> Site {
    let hub = hub(name, &[Destination::held("tcp_dialup", "site7.example", sink.port())]);
    hub.write("option.dat", "SPOOL_DIR=../spool\nSEGMENT_SIZE=1M\nCONTROL_SOCKET=../control.sock\n");
    hub
}

/// Sends so many messages of a size; the numbers of those that were accepted, and what was said to the others.
fn send(hub: &Site, first: usize, count: usize, size: usize) -> (BTreeSet<usize>, Vec<String>) {
    let batch = Batch { first, size, sessions: 3, ..Batch::new(hub.address(), "fred@site7.example", count) };
    let mut accepted = BTreeSet::new();
    let mut refused = Vec::new();
    for (number, fate) in batch.send(&AtomicUsize::new(0)) {
        match fate {
            Fate::Accepted => drop(accepted.insert(number)),
            Fate::Refused(what) => refused.push(what),
            Fate::Unknown => panic!("the connection ended before the reply to {number}"),
        }
    }
    (accepted, refused)
}

fn all_accepted(hub: &Site, first: usize, count: usize, size: usize) -> BTreeSet<usize> {
    let (accepted, refused) = send(hub, first, count, size);
    assert_eq!(accepted.len(), count, "{refused:?}");
    accepted
}

/// `sluice status`: its exit code and its row.
fn status(hub: &Site) -> (i32, Value) {
    let ran = hub.command(&["status", "--format", "json"]);
    (ran.code, ran.json().pop().unwrap_or_default())
}

fn is_well(hub: &Site) -> bool {
    status(hub).0 == 0
}

/// How often the log has a text.
fn said(hub: &Site, text: &str) -> usize {
    hub.log().matches(text).count()
}

/// Releases what is held; what has arrived when nothing waits any more.
fn release(hub: &Site, sink: &Sink) -> BTreeSet<usize> {
    hub.talk().want("ETRN site7.example", 253);
    hub.wait_for_waiting(None, 0, SOON);
    let arrived = numbers(&sink.arrived());
    let once: BTreeSet<usize> = arrived.iter().copied().collect();
    assert_eq!(once.len(), arrived.len(), "something came twice");
    once
}

#[test]
fn a_full_disk_refuses_new_mail_delivers_the_old_and_mends_by_itself() {
    let sink = Sink::start();
    let mut hub = holding("full", &sink);
    let _room = Room::of(&mut hub, 12);
    hub.start();
    let (mut accepted, refused) = send(&hub, 0, 700, 20_000);
    assert!(accepted.len() > 200 && refused.len() > 20, "{} and {}", accepted.len(), refused.len());
    assert!(refused.iter().all(|what| what.starts_with("452 4.3.1")), "{refused:?}");
    let (code, row) = status(&hub);
    assert_eq!((code, &row["spool"]), (75, &Value::from("full")), "{row}");
    let list = hub.command(&["channel", "list"]);
    assert!(list.code == 0 && list.err.contains("the disk of the spool is full"), "{}{}", list.out, list.err);
    assert_eq!(said(&hub, "the disk of the spool is full"), 1, "{}", hub.log());
    // A start on the full disk finds everything.
    hub.kill();
    hub.start();
    assert_eq!(hub.waiting(None), accepted.len() as u64);
    let (_, refused) = send(&hub, 1000, 30, 20_000);
    assert_eq!(refused.len(), 30, "{refused:?}");
    assert!(refused.iter().all(|what| what.starts_with("452 4.3.1")), "{refused:?}");
    // What is delivered makes room.
    assert_eq!(release(&hub, &sink), accepted);
    wait_for("the disk is well again", SOON, || is_well(&hub));
    accepted.extend(all_accepted(&hub, 2000, 50, 20_000));
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

#[test]
fn a_disk_that_somebody_else_fills_is_full_until_there_is_room() {
    let sink = Sink::start();
    let mut hub = holding("filled", &sink);
    let room = Room::of(&mut hub, 40);
    hub.start();
    let mut accepted = all_accepted(&hub, 0, 20, 5000);
    room.fill(8);
    let (more, refused) = send(&hub, 100, 300, 20_000);
    accepted.extend(more);
    assert!(!refused.is_empty() && refused.iter().all(|what| what.starts_with("452 4.3.1")), "{refused:?}");
    assert_eq!(status(&hub).1["spool"], "full");
    room.make_room();
    wait_for("the disk is well again", SOON, || is_well(&hub));
    accepted.extend(all_accepted(&hub, 1000, 20, 20_000));
    hub.kill();
    hub.start();
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

/// What is failed, what clients are told meanwhile, and how the disk shows.
const FAILING: [(&str, &str, &str); 9] = [
    ("sync segment- EIO", "451 4.3.0", "failing"),
    ("sync segment- EDQUOT", "452 4.3.1", "full"),
    ("write segment- EIO", "451 4.3.0", "failing"),
    ("write segment- torn", "451 4.3.0", "failing"),
    ("write segment- ENOSPC", "452 4.3.1", "full"),
    ("write segment- EDQUOT", "452 4.3.1", "full"),
    // Everything: as when the system has mounted the disk read-only because of an error.
    (
        "write * EROFS\nsync segment- EROFS\ncreate spool/ EROFS\nreserve * EROFS\nrename spool/ EROFS\nremove spool/ EROFS",
        "451 4.3.0",
        "failing",
    ),
    ("sync * EIO", "451 4.3.0", "failing"),
    ("write segment- EIO\nreserve * ENOSPC", "451 4.3.0", "full"),
];

#[test]
fn while_the_disk_fails_mail_is_refused_for_now_and_nothing_refused_ever_comes() {
    let sink = Sink::start();
    let mut hub = holding("failing", &sink);
    let calls = Calls::of(&mut hub);
    hub.start();
    let mut accepted = BTreeSet::new();
    for (turn, (fault, reply, shown)) in FAILING.into_iter().enumerate() {
        let first = turn * 1000;
        accepted.extend(all_accepted(&hub, first, 10, 3000));
        calls.fail(fault);
        let (none, refused) = send(&hub, first + 100, 30, 3000);
        assert!(none.is_empty(), "{fault}: {none:?} were accepted");
        // The first may be told what has failed, and the others that no file can be begun.
        assert!(refused.iter().any(|what| what.starts_with(reply)), "{fault}: {refused:?}");
        assert!(
            refused.iter().all(|what| what.starts_with("451 4.3.0") || what.starts_with("452 4.3.1")),
            "{fault}: {refused:?}"
        );
        let (code, row) = status(&hub);
        assert_eq!((code, row["spool"].as_str()), (75, Some(shown)), "{fault}: {row}");
        assert_eq!(hub.waiting(None), accepted.len() as u64, "{fault}: what is queued stays");
        if turn % 2 == 1 {
            hub.kill();
            calls.mend();
            hub.start();
        } else {
            calls.mend();
            wait_for("the disk is well again", SOON, || is_well(&hub));
        }
        accepted.extend(all_accepted(&hub, first + 200, 10, 3000));
    }
    let told = said(&hub, "the spool cannot be written") + said(&hub, "the disk of the spool is full");
    assert!(told <= FAILING.len(), "said {told} times:\n{}", hub.log());
    hub.kill();
    hub.start();
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

#[test]
fn a_disk_that_is_mounted_read_only_under_a_running_hub_is_well_when_it_can_be_written_again() {
    let sink = Sink::start();
    let mut hub = holding("read-only", &sink);
    let room = Room::of(&mut hub, 40);
    hub.start();
    let mut accepted = all_accepted(&hub, 0, 20, 5000);
    // Nothing is open for writing after a start, and only then does the system mount read-only what is in use.
    hub.stop();
    hub.start();
    room.remount("ro");
    let (none, refused) = send(&hub, 100, 20, 5000);
    assert!(none.is_empty(), "{none:?} were accepted");
    assert!(refused.iter().all(|what| what.starts_with("451 4.3.0")), "{refused:?}");
    let (code, row) = status(&hub);
    assert_eq!((code, &row["spool"]), (75, &Value::from("failing")), "{row}");
    assert_eq!(said(&hub, "the spool cannot be written"), 1, "{}", hub.log());
    // Deliveries go on, and are written down when that is possible.
    hub.talk().want("ETRN site7.example", 253);
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!(numbers(&sink.arrived()).into_iter().collect::<BTreeSet<usize>>(), accepted);
    wait_for("what was delivered waits to be written down", SOON, || {
        status(&hub).1["unwritten"].as_u64().is_some_and(|count| count >= 20)
    });
    room.remount("rw");
    wait_for("the disk is well again", SOON, || is_well(&hub));
    accepted.extend(all_accepted(&hub, 200, 20, 5000));
    hub.kill();
    hub.start();
    assert_eq!(hub.waiting(None), 20, "what was delivered meanwhile stays delivered");
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

#[test]
fn short_writes_are_finished() {
    let sink = Sink::start();
    let mut hub = holding("short", &sink);
    let calls = Calls::of(&mut hub);
    hub.start();
    calls.fail("write * short");
    let mut accepted = all_accepted(&hub, 0, 40, 10_000);
    accepted.extend(all_accepted(&hub, 100, 2, 600_000));
    hub.kill();
    hub.start();
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

#[test]
fn while_the_journal_fails_deliveries_go_on_and_are_written_down_later() {
    let sink = Sink::start();
    let mut hub = holding("journal", &sink);
    let calls = Calls::of(&mut hub);
    hub.start();
    let mut accepted = all_accepted(&hub, 0, 50, 3000);
    calls.fail("write journal- EIO\ncreate journal- EIO");
    assert_eq!(release(&hub, &sink), accepted);
    wait_for("it is noticed", SOON, || status(&hub).1["spool"] == "failing");
    let row = status(&hub).1;
    assert!(row["unwritten"].as_u64() > Some(0), "{row}");
    calls.mend();
    wait_for("the disk is well again", SOON, || is_well(&hub) && status(&hub).1["unwritten"] == 0);
    assert_eq!(said(&hub, "the spool cannot be written"), 1);
    hub.kill();
    hub.start();
    assert_eq!(hub.waiting(None), 0, "what was settled is settled");
    accepted.extend(all_accepted(&hub, 100, 5, 3000));
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

fn files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .collect();
    files.sort();
    files
}

/// Waits until nothing moves any more: what is held is held, the rest has gone.
fn delivered_but_held(hub: &Site) -> u64 {
    hub.talk().want("ETRN site7.example", 253);
    let mut held = 0;
    wait_for("what can go has gone", SOON, || {
        let rows = hub.json(&["queue", "summarize"]);
        let sum = |field: &str| rows.iter().filter_map(|row| row[field].as_u64()).sum::<u64>();
        held = sum("held");
        sum("messages") == held
    });
    held
}

#[test]
fn a_message_that_the_disk_does_not_give_back_is_held_and_the_hub_goes_on() {
    let sink = Sink::start();
    let mut hub = holding("unread", &sink);
    let calls = Calls::of(&mut hub);
    hub.start();
    let accepted = all_accepted(&hub, 0, 100, 20_000);
    calls.fail("fetch segment-0000000001 EFAULT");
    let held = delivered_but_held(&hub);
    assert!(held > 10 && held < 90, "{held}");
    assert!(said(&hub, "the disk does not give it back") as u64 >= held, "{}", hub.log());
    assert!(hub.runs());
    // An operator who has looked after the disk lets them go.
    calls.mend();
    assert_eq!(hub.command(&["queue", "release", "--all", "--yes"]).code, 0);
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

#[test]
fn a_disk_with_bad_places_costs_a_start_only_what_is_in_them() {
    let sink = Sink::start();
    let mut hub = holding("bad-place", &sink);
    let calls = Calls::of(&mut hub);
    hub.start();
    let accepted = all_accepted(&hub, 0, 60, 20_000);
    hub.kill();
    calls.fail("fetch segment-0000000001 EFAULT\nread segment-0000000001 EIO");
    hub.start();
    calls.mend();
    assert!(said(&hub, "the disk does not give back all of a file of the spool") > 0, "{}", hub.log());
    let arrived = {
        delivered_but_held(&hub);
        numbers(&sink.arrived()).into_iter().collect::<BTreeSet<_>>()
    };
    assert!(!arrived.is_empty() && arrived.is_subset(&accepted) && arrived != accepted, "{arrived:?}");
    hub.stop();
}

#[test]
fn a_segment_that_is_cut_short_or_removed_under_a_running_hub_costs_only_what_was_in_it() {
    for cut in [Some(500_000), Some(5000), None] {
        let sink = Sink::start();
        let mut hub = holding("cut", &sink);
        hub.start();
        let mut accepted = all_accepted(&hub, 0, 120, 20_000);
        let segment = files(&hub.folder().join("spool"), "segment-").remove(0);
        match cut {
            Some(length) => fs::File::options().write(true).open(&segment).unwrap().set_len(length).unwrap(),
            None => fs::remove_file(&segment).unwrap(),
        }
        let held = delivered_but_held(&hub);
        assert!(held > 0 && held < 70, "{cut:?}: {held} are held");
        assert!(hub.log().contains("segment-0000000001"), "{}", hub.log());
        let arrived: BTreeSet<usize> = numbers(&sink.arrived()).into_iter().collect();
        assert_eq!(arrived.len() as u64 + held, 120, "{cut:?}");
        // The hub has lived on, and a start names what is lost.
        accepted.extend(all_accepted(&hub, 1000, 10, 20_000));
        hub.kill();
        let before = hub.log().len();
        hub.start();
        assert!(hub.log()[before..].contains("segment-0000000001"), "{}", hub.log());
        delivered_but_held(&hub);
        let arrived: BTreeSet<usize> = numbers(&sink.arrived()).into_iter().collect();
        assert!(arrived.is_subset(&accepted) && arrived.len() >= 60 + 10, "{cut:?}: {arrived:?}");
        assert!((1000..1010).all(|number| arrived.contains(&number)), "{cut:?}: {arrived:?}");
        hub.stop();
    }
}

#[test]
fn a_segment_in_quarantine_is_brought_back_by_command_and_its_mail_goes_once() {
    let sink = Sink::start();
    let mut hub = holding("brought-back", &sink);
    hub.start();
    let accepted = all_accepted(&hub, 0, 12, 3000);
    hub.stop();
    // As a start leaves it that could read none of it.
    let spool = hub.folder().join("spool");
    let segment = files(&spool, "segment-").remove(0);
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    let aside = spool.join("quarantine");
    fs::create_dir_all(&aside).unwrap();
    fs::rename(&segment, aside.join(&name)).unwrap();
    fs::copy(aside.join(&name), aside.join(format!("{name}.0000000000.bytes"))).unwrap();
    let list = aside.join(format!("{name}.settled.txt"));
    let without = hub.command(&["spool", "bring-back", "--dry-run"]);
    assert!(without.code == 65 && without.err.contains("settled.txt is not there"), "{}", without.err);
    fs::write(&list, "").unwrap();
    let look = hub.command(&["spool", "bring-back", "--dry-run", "--format", "json"]);
    let rows = look.json();
    assert!(look.code == 0 && rows.len() == 12, "{}{}", look.out, look.err);
    assert!(rows.iter().all(|row| row["fate"] == "missing" && row["recipients"][0] == "fred@site7.example"));
    assert_eq!(hub.command(&["spool", "bring-back", "77"]).code, 65, "there is no such segment");
    // One without a list is in the way of no other.
    let stranger = aside.join("segment-0000000000");
    fs::copy(aside.join(&name), &stranger).unwrap();
    let look = hub.command(&["spool", "bring-back", "--dry-run", "--format", "json"]);
    assert!(look.code == 65 && look.out.matches("missing").count() == 12, "{}{}", look.out, look.err);
    let done = hub.command(&["spool", "bring-back", "--yes"]);
    fs::remove_file(&stranger).unwrap();
    assert!(
        done.code == 65
            && done.err.contains("segment-0000000000.settled.txt is not there")
            && done.err.contains("12 messages are in the spool again"),
        "{}{}",
        done.out,
        done.err
    );
    let again = hub.command(&["spool", "bring-back", "--yes"]);
    assert!(again.code == 0 && again.err.contains("no segment in quarantine"), "{}", again.err);
    hub.start();
    assert_eq!(hub.waiting(None), 12);
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

#[test]
fn a_running_hub_brings_mail_back_itself_and_goes_on() {
    let sink = Sink::start();
    let mut hub = holding("brought-back-running", &sink);
    let calls = Calls::of(&mut hub);
    hub.start();
    // One that is too large for a record, among small ones.
    let mut accepted = all_accepted(&hub, 0, 30, 3000);
    accepted.extend(all_accepted(&hub, 100, 1, 700_000));
    accepted.extend(all_accepted(&hub, 200, 30, 3000));
    // In no checkpoint.
    hub.kill();
    // A start cannot read any of it, and so the segments lie in quarantine.
    calls.fail("fetch segment- EFAULT\nread segment- EIO");
    hub.start();
    calls.mend();
    assert_eq!(hub.waiting(None), 0, "it could be read");
    let aside = hub.folder().join("spool/quarantine");
    let has_gone_aside = || {
        let whole = |path: &PathBuf| path.extension().is_none();
        files(&aside, "segment-").iter().any(whole)
            && files(&hub.folder().join("spool"), "segment-").len() <= 1
    };
    all_accepted(&hub, 1000, 5, 3000);
    assert_eq!(release(&hub, &sink).len(), 5);
    wait_for("nobody needs them", SOON, has_gone_aside);
    sink.clear();
    let ask = |words: &[&str]| hub.command(&[&["spool", "bring-back"], words].concat());
    assert_eq!(ask(&["77"]).code, 65, "there is no such segment");
    assert_eq!(ask(&[]).code, 64, "nobody has said yes");
    let look = ask(&["--dry-run", "--format", "json"]);
    let missing = look.json().iter().filter(|row| row["fate"] == "missing").count();
    assert!(look.code == 0 && missing == 61, "{missing}: {}", look.err);
    assert!(look.err.contains("61 messages can be brought back"), "{}", look.err);
    // One without a list, which comes first, is in the way of no other.
    let (stranger, other) = (aside.join("segment-0000000000"), files(&aside, "segment-"));
    fs::copy(other.iter().find(|path| path.extension().is_none()).unwrap(), &stranger).unwrap();
    let look = ask(&["--dry-run", "--format", "json"]);
    assert!(look.code == 65 && look.err.contains("61 messages can be brought back"), "{}", look.err);
    // Two at once, while mail comes and goes.
    let (first, second, more) = std::thread::scope(|scope| {
        let one = scope.spawn(|| ask(&["--yes"]));
        let other = scope.spawn(|| ask(&["--yes"]));
        let more = all_accepted(&hub, 2000, 40, 3000);
        (one.join().unwrap(), other.join().unwrap(), more)
    });
    // Who comes second finds nothing left, or is told that somebody is at it; both are told of what has no list.
    let said = [&first, &second].map(|ran| format!("{} {}", ran.code, ran.err));
    assert!([&first, &second].iter().all(|ran| ran.code == 65), "{said:?}");
    assert!(said.concat().contains("messages are in the spool again"), "{said:?}");
    fs::remove_file(&stranger).unwrap();
    let again = ask(&["--yes"]);
    assert!(again.code == 0, "{}", again.err);
    assert_eq!(hub.waiting(None), 61 + 40);
    assert!(ask(&[]).err.contains("no segment in quarantine"));
    // It is on the disk, and each goes once.
    hub.kill();
    hub.start();
    accepted.extend(more);
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

#[test]
fn one_flipped_bit_in_any_file_costs_at_most_one_message() {
    let sink = Sink::start();
    let mut hub = holding("flip", &sink);
    hub.start();
    let mut accepted = all_accepted(&hub, 0, 40, 20_000);
    // A second start writes a checkpoint of what waits, and what comes then is in a journal and a segment.
    hub.stop();
    hub.start();
    let checkpoint = || !files(&hub.folder().join("spool"), "checkpoint-").is_empty();
    wait_for("a checkpoint is written", SOON, checkpoint);
    accepted.extend(all_accepted(&hub, 100, 20, 20_000));
    assert_eq!(hub.command(&["queue", "hold", "site7.example", "--yes"]).code, 0);
    assert_eq!(hub.command(&["queue", "release", "site7.example", "--yes"]).code, 0);
    hub.kill();
    let spool = hub.folder().join("spool");
    let whole: Vec<(PathBuf, Vec<u8>)> = files(&spool, "")
        .into_iter()
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    let kinds = ["identity", "segment-", "journal-", "checkpoint-"];
    let mut flipped = 0;
    for (path, content) in &whole {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !kinds.iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // The header, the first record, and two places behind.
        let places = [21, 50, used / 3, used / 2 + 3];
        for place in places.into_iter().filter(|place| *place < used) {
            fs::remove_dir_all(&spool).unwrap();
            fs::create_dir(&spool).unwrap();
            for (path, content) in &whole {
                fs::write(path, content).unwrap();
            }
            let mut changed = content.clone();
            changed[place] ^= 1 << (place % 8);
            fs::write(path, changed).unwrap();
            sink.clear();
            let before = hub.log().len();
            hub.start();
            delivered_but_held(&hub);
            let arrived: BTreeSet<usize> = numbers(&sink.arrived()).into_iter().collect();
            hub.stop();
            assert!(arrived.is_subset(&accepted), "{name} at {place}: {arrived:?}");
            assert!(arrived.len() + 1 >= accepted.len(), "{name} at {place}: {} came", arrived.len());
            let log = &hub.log()[before..];
            assert!(arrived.len() == accepted.len() || log.contains(&name), "{name} at {place}:\n{log}");
            flipped += 1;
        }
    }
    assert!(flipped > 10, "{flipped} bits were flipped");
}

#[test]
fn files_that_are_cut_off_at_any_length_cost_only_what_was_cut_off() {
    let sink = Sink::start();
    let mut hub = holding("cut-off", &sink);
    hub.start();
    let mut accepted = all_accepted(&hub, 0, 20, 3000);
    hub.stop();
    hub.start();
    let spool = hub.folder().join("spool");
    wait_for("a checkpoint is written", SOON, || !files(&spool, "checkpoint-").is_empty());
    accepted.extend(all_accepted(&hub, 100, 10, 3000));
    assert_eq!(hub.command(&["queue", "hold", "site7.example", "--yes"]).code, 0);
    assert_eq!(hub.command(&["queue", "release", "site7.example", "--yes"]).code, 0);
    hub.kill();
    let whole: Vec<(PathBuf, Vec<u8>)> = files(&spool, "")
        .into_iter()
        .filter(|path| path.is_file() && !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    for kind in ["identity", "segment-", "journal-", "checkpoint-"] {
        // The last of its kind: what is in it is nowhere else.
        let (path, content) = whole
            .iter()
            .rfind(|(path, _)| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind)))
            .unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // Nothing, within the first field, within the header, the header alone, within the first record, and within and before the last.
        for length in [0, 5, 39, 40, 57, used / 2, used.saturating_sub(1)] {
            let length = length.min(used.saturating_sub(1));
            fs::remove_dir_all(&spool).unwrap();
            fs::create_dir(&spool).unwrap();
            for (path, content) in &whole {
                fs::write(path, content).unwrap();
            }
            fs::write(path, &content[..length]).unwrap();
            sink.clear();
            let before = hub.log().len();
            hub.start();
            // Of a journal that ends between the two, the hold is known and its end is not.
            if delivered_but_held(&hub) > 0 {
                assert_eq!(hub.command(&["queue", "release", "--all", "--yes"]).code, 0);
                assert_eq!(delivered_but_held(&hub), 0);
            }
            let arrived: BTreeSet<usize> = numbers(&sink.arrived()).into_iter().collect();
            hub.stop();
            assert!(arrived.is_subset(&accepted), "{name} cut to {length}: {arrived:?}");
            let least = if kind == "segment-" { 20 } else { accepted.len() };
            assert!(arrived.len() >= least, "{name} cut to {length}: {} came", arrived.len());
            let log = &hub.log()[before..];
            assert!(arrived.len() == accepted.len() || log.contains(&name), "{name} cut to {length}:\n{log}");
        }
    }
}

/// CRC-32C, bit by bit: it is over forty bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn a_spool_of_a_later_release_is_refused_by_name_and_not_touched() {
    let sink = Sink::start();
    let mut hub = holding("newer", &sink);
    hub.start();
    let mut accepted = all_accepted(&hub, 0, 10, 3000);
    hub.stop();
    hub.start();
    let spool = hub.folder().join("spool");
    wait_for("a checkpoint is written", SOON, || !files(&spool, "checkpoint-").is_empty());
    accepted.extend(all_accepted(&hub, 100, 5, 3000));
    hub.kill();
    for kind in ["identity", "segment-", "journal-", "checkpoint-"] {
        let path = files(&spool, kind).remove(0);
        let good = fs::read(&path).unwrap();
        let mut newer = good.clone();
        newer[8] = 2;
        let crc = crc32c(&newer[..36]);
        newer[36..40].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, newer).unwrap();
        let content = || -> Vec<(PathBuf, Vec<u8>)> {
            // Who has it locked stands in `lock`, and is somebody else each time.
            let kept = files(&spool, "").into_iter().filter(|path| path.is_file() && !path.ends_with("lock"));
            kept.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
        };
        let (before, said_before) = (content(), hub.log().len());
        hub.spawn();
        assert_eq!(hub.wait_for_end().code(), Some(75), "{kind}");
        let log = hub.log()[said_before..].to_owned();
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(log.contains(&*name) && log.contains("version 2"), "{kind}:\n{log}");
        assert!(content() == before, "{kind}: something was changed");
        fs::write(&path, good).unwrap();
    }
    hub.start();
    assert_eq!(release(&hub, &sink), accepted);
    hub.stop();
}

#[test]
fn a_clock_that_is_set_stops_nothing_and_returns_nothing() {
    const DAY: i64 = 86_400;
    let sink = Sink::start();
    let later = Manner { end: Some("451 4.3.0 not now".to_owned()), ..Manner::default() };
    sink.behave(later);
    let to = Destination {
        keywords: "backoff PT2S",
        ..Destination::direct("tcp_next", "site7.example", sink.port())
    };
    let mut hub = hub("clock", &[to]);
    let clock = Clock::of(&mut hub);
    hub.start();
    let accepted = all_accepted(&hub, 0, 5, 2000);
    let tries = || sink.commands().iter().filter(|line| line.starts_with("MAIL")).count();
    wait_for("each is tried", SOON, || tries() >= 5);
    for off in [-DAY, 400 * DAY, 0] {
        clock.set(off);
        let before = tries();
        wait_for("they are tried on", SOON, || tries() >= before + 10);
        watch("nothing is returned, and no storm of tries comes", WHILE, || {
            hub.waiting(None) == 5 && tries() < before + 100
        });
    }
    assert_eq!(
        (said(&hub, "the clock was set back"), said(&hub, "the clock was set forward")),
        (2, 1),
        "{}",
        hub.log()
    );
    sink.behave(Manner::default());
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!(numbers(&sink.arrived()).into_iter().collect::<BTreeSet<_>>(), accepted);
    hub.stop();
}
