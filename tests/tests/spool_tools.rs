//! `sluice spool`: a damaged spool is looked at, and what is left of it goes on in a new one.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sluice_testkit::{Batch, Ran, Sink, Site};
use sluice_tests::{Destination, SOON, hub};

/// A stopped hub with three messages for a held site, one of them on hold, and their ids.
fn stopped(name: &str, sink: &Sink) -> (Site, Vec<String>) {
    let mut hub = hub(name, &[Destination::held("tcp_dialup", "site7.example", sink.port())]);
    hub.start();
    for user in ["fred", "mary", "pat"] {
        let to = vec![format!("{user}@site7.example")];
        Batch { from: "boss@origin.example".into(), to, ..Batch::new(hub.address(), "", 1) }.send_all();
    }
    let rows = hub.json(&["queue", "list"]);
    let ids: Vec<String> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    hub.json(&["queue", "hold", &ids[2]]);
    hub.stop();
    (hub, ids)
}

fn spool(hub: &Site) -> PathBuf {
    hub.folder().join("spool")
}

/// Where a message stands, by what the dump says.
fn place(hub: &Site, id: &str) -> (PathBuf, usize, usize) {
    let rows = hub.command(&["spool", "dump", id]).json();
    let row = rows.iter().find(|row| row["record"] == "message").unwrap();
    let number = |field: &str| usize::try_from(row[field].as_u64().unwrap()).unwrap();
    (spool(hub).join(row["file"].as_str().unwrap()), number("offset"), number("length"))
}

/// Flips a bit in the last bytes of a message's body.
fn damage(hub: &Site, id: &str) -> (PathBuf, usize) {
    let (path, offset, length) = place(hub, id);
    let mut bytes = fs::read(&path).unwrap();
    bytes[offset + length - 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    (path, offset)
}

fn listing(folder: &Path) -> Vec<(String, u64, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file() && entry.file_name() != "lock")
        .map(|entry| {
            let bytes = fs::read(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), bytes.len() as u64, bytes)
        })
        .collect();
    files.sort();
    files
}

fn want(ran: &Ran, code: i32, parts: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    for part in parts {
        assert!(ran.out.contains(part) || ran.err.contains(part), "no {part:?} in\n{}{}", ran.out, ran.err);
    }
}

#[test]
fn a_whole_spool_is_counted_and_dumped() {
    let sink = Sink::start();
    let (mut hub, ids) = stopped("spool-whole", &sink);
    let before = listing(&spool(&hub));
    want(&hub.command(&["spool", "verify"]), 0, &["3 messages: all whole"]);
    let rows = hub.json(&["spool", "stat"]);
    let total = &rows[0];
    assert_eq!(
        (&total["messages"], &total["unreadable"], &total["quarantined"]),
        (&3.into(), &0.into(), &0.into())
    );
    let number = |field: &str| total[field].as_u64().unwrap();
    // Beside what lives there is the head of the segment, and what fills up the last page of each group.
    assert_eq!(number("used_bytes"), number("live_bytes") + number("settled_bytes"), "{total}");
    let beside = 40 + number("live_bytes") / 8;
    assert!((40..=beside).contains(&number("settled_bytes")), "nothing is settled: {total}");
    assert!(number("live_bytes") > number("content_bytes") && total["oldest"].is_string(), "{total}");
    assert_eq!((&rows[1]["channel"], &rows[1]["recipients"]), (&"tcp_dialup".into(), &3.into()));
    let rows = hub.command(&["spool", "dump", &ids[2], "--envelope"]).json();
    let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
    assert_eq!(of("message")[0]["envelope"]["recipients"][0]["address"], "pat@site7.example");
    let state = |row: &Value| row["state"]["entries"][0]["held"].clone();
    assert!(of("state").iter().chain(&of("entry")).any(|row| state(row) == true), "{rows:?}");
    let body = hub.command(&["spool", "dump", &ids[0], "--body"]);
    assert!(
        body.code == 0 && body.out.starts_with("Received: ") && body.out.ends_with("\r\n"),
        "{:?}",
        body.out
    );
    assert_eq!(hub.command(&["spool", "dump", "0000000000FFFFFF"]).code, 65);
    assert_eq!(hub.command(&["spool", "dump", "--segment", "99"]).code, 65);
    assert_eq!(hub.command(&["spool", "dump", "frob"]).code, 64);
    assert_eq!(listing(&spool(&hub)), before, "nobody has written");
    // While a hub works in it, looking warns and moving is refused.
    hub.start();
    want(&hub.command(&["spool", "verify"]), 0, &["works in this spool"]);
    let to = hub.folder().join("new");
    want(
        &hub.command(&["spool", "recover", "--yes", "--to", to.to_str().unwrap()]),
        75,
        &["in use by process"],
    );
    assert!(!to.exists());
}

#[test]
fn a_message_in_parts_is_counted_as_long_as_all_of_them_can_be_read() {
    let sink = Sink::start();
    let mut hub = hub("spool-parts", &[Destination::held("tcp_dialup", "site7.example", sink.port())]);
    hub.start();
    Batch { size: 3 << 20, ..Batch::new(hub.address(), "fred@site7.example", 1) }.send_all();
    Batch::new(hub.address(), "mary@site7.example", 1).send_all();
    hub.stop();
    let counted = || {
        let rows = hub.json(&["spool", "stat"]);
        let of = |row: usize, field: &str| rows[row][field].as_u64().unwrap();
        (
            of(0, "messages"),
            of(0, "unreadable"),
            of(1, "messages"),
            of(1, "recipients"),
            of(1, "content_bytes"),
        )
    };
    let (messages, unreadable, of_channel, recipients, bytes) = counted();
    assert_eq!((messages, unreadable, of_channel, recipients), (2, 0, 2, 2));
    assert!(bytes > 3 << 20, "{bytes}");
    let rows = hub.command(&["spool", "dump"]).json();
    let part = rows.iter().find(|row| row["record"] == "chunk").unwrap_or_else(|| panic!("{rows:?}"));
    let number = |field: &str| usize::try_from(part[field].as_u64().unwrap()).unwrap();
    let path = spool(&hub).join(part["file"].as_str().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[number("offset") + number("length") - 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (messages, unreadable, of_channel, recipients, bytes) = counted();
    assert_eq!((messages, unreadable, of_channel, recipients), (2, 1, 1, 1));
    assert!(bytes < 1 << 20, "{bytes}");
}

#[test]
fn what_is_left_of_a_damaged_spool_goes_on_in_a_new_one() {
    let sink = Sink::start();
    let (mut hub, ids) = stopped("spool-damaged", &sink);
    let (path, offset) = damage(&hub, &ids[1]);
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let text = hub.command(&["spool", "verify"]);
    want(
        &text,
        65,
        &[
            &name,
            &format!(" bytes at {offset}"),
            &ids[1],
            "which waits",
            "from boss@origin.example to mary@site7.example",
        ],
    );
    let rows = hub.command(&["spool", "verify", "--format", "json"]).json();
    let row = &rows[0];
    assert_eq!(
        (&row["finding"], &row["offset"], &row["waits"]),
        (&"damage".into(), &offset.into(), &true.into()),
        "{rows:?}"
    );
    assert_eq!(hub.command(&["spool", "dump", &ids[1], "--body"]).code, 65);
    assert_eq!(hub.json(&["spool", "stat"])[0]["unreadable"], 1);
    let before = listing(&spool(&hub));
    let to = hub.folder().join("new");
    let recover = ["spool", "recover", "--to", to.to_str().unwrap()];
    want(
        &hub.command(&[&recover[..], &["--dry-run"]].concat()),
        65,
        &["2 messages can be moved, 1 cannot", "nothing was done"],
    );
    want(&hub.command(&recover), 64, &["--yes is needed"]);
    let ran = hub.command_answered(&recover, "[y/N]", "n\n");
    want(&ran, 64, &["nothing was done"]);
    assert!(!to.exists());
    let ran = hub.command_answered(&recover, "[y/N]", "y\n");
    want(&ran, 65, &[&format!("not moved: message {}", ids[1]), "2 messages are in"]);
    assert_eq!(listing(&spool(&hub)), before, "the old one is as it was");
    want(&hub.command(&[&recover[..], &["--yes"]].concat()), 64, &["is there already"]);
    let copies: Vec<_> =
        fs::read_dir(to.join("quarantine")).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(copies.len(), 2, "{copies:?}");
    // The hub goes on with the new one: the hold stands, ids are as they were, and what waited is delivered.
    hub.replace("option.dat", "SPOOL_DIR=../spool", "SPOOL_DIR=../new");
    want(&hub.command(&["spool", "verify"]), 0, &["2 messages: all whole"]);
    hub.start();
    let rows = hub.json(&["queue", "list"]);
    let shown: Vec<_> =
        rows.iter().map(|row| (row["id"].as_str().unwrap(), row["state"].as_str().unwrap())).collect();
    assert_eq!(shown, [(ids[0].as_str(), "waiting"), (&ids[2], "held")]);
    hub.json(&["trigger", "site7.example"]);
    sink.wait(1, SOON);
    hub.wait_for_waiting(None, 1, SOON);
}

#[test]
fn what_is_no_spool_or_of_a_later_release_is_said() {
    let sink = Sink::start();
    let (hub, _) = stopped("spool-later", &sink);
    let nowhere = hub.folder().join("nowhere");
    let empty = hub.folder().join("empty");
    fs::create_dir(&empty).unwrap();
    for command in ["verify", "stat", "dump"] {
        let ran = hub.command(&["spool", command, "--spool", empty.to_str().unwrap()]);
        want(&ran, 65, &["there is no spool in"]);
        want(&hub.command(&["spool", command, "--spool", nowhere.to_str().unwrap()]), 75, &["cannot read"]);
    }
    assert!(!nowhere.exists() && fs::read_dir(&empty).unwrap().count() == 0);
    // A record of a later release: refused by those who must understand all, passed over by those who save what they can.
    for (name, _, mut bytes) in listing(&spool(&hub)) {
        if name.starts_with("segment") || name.starts_with("journal") || name == "identity" {
            bytes[8] = 9;
            let crc = crc32c(&bytes[..36]);
            bytes[36..40].copy_from_slice(&crc.to_le_bytes());
            fs::write(spool(&hub).join(name), bytes).unwrap();
        }
    }
    want(&hub.command(&["spool", "verify"]), 65, &["format version 9"]);
    let to = hub.folder().join("new");
    want(
        &hub.command(&["spool", "recover", "--yes", "--to", to.to_str().unwrap()]),
        0,
        &["3 messages are in"],
    );
    want(&hub.command(&["spool", "verify", "--spool", to.to_str().unwrap()]), 0, &["3 messages: all whole"]);
}

/// CRC-32C (Castagnoli), bit by bit: the tests look at files from outside.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 },
        )
    })
}

#[test]
fn the_commands_of_the_guide_work_as_they_stand() {
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/damaged-spool.md")).unwrap();
    let sink = Sink::start();
    let (hub, ids) = stopped("spool-guide", &sink);
    damage(&hub, &ids[1]);
    let new = hub.folder().join("new");
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut commands = 0;
    for command in blocks.flat_map(str::lines) {
        let typed = command.strip_prefix("$ sluice ").expect("a command of ours");
        let words = typed.split(' ').map(|word| match word {
            "ID" => ids[0].as_str(),
            "NEW" => new.to_str().unwrap(),
            word => word,
        });
        let ran = hub.command(&words.collect::<Vec<_>>());
        // There is a damage, and these say so.
        let code = if typed == "spool verify" || typed.starts_with("spool recover") { 65 } else { 0 };
        assert_eq!(ran.code, code, "{command}: {}{}", ran.out, ran.err);
        commands += 1;
    }
    assert_eq!(commands, 10);
}
