//! Copies of mail that are kept, and the mail that goes on as it was.

use sluice_testkit::{Sink, Site, below_received, message, number_of, wait_for};
use sluice_tests::{Destination, SOON, configuration};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A hub that keeps what is for `next.example` before it sends it to the sink.
fn hub(name: &str, sink: &Sink, options: &str) -> Site {
    let site = Site::new(name);
    let rules = "next.example $U%$D@ARCHIVE-DAEMON$1N\n.next.example $U%$H$D@ARCHIVE-DAEMON$1N\n";
    let to = [
        Destination::direct("tcp_next", "next.example", sink.port()),
        Destination::direct("tcp_keeper", "keeper.example", sink.port()),
    ];
    site.write(
        "sluice.cnf",
        &format!("{rules}{}\narchive backoff pt1s\nARCHIVE-DAEMON\n", configuration("", &to)),
    );
    site.write("archive_option", options);
    site
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[test]
fn a_message_is_kept_once_and_goes_on_as_it_was() {
    let sink = Sink::start();
    let mut site = hub("archive", &sink, "ARCHIVE_DIR=../kept/%Y/%m/%d\n");
    let check = site.command(&["check"]);
    assert_eq!(check.code, 0, "{}", check.out);
    site.start();
    let content = message(4, 30_000);
    // Two domains make two deliveries of one message.
    let to = ["ann@next.example", "bob@next.example", "kim@deep.next.example"];
    assert_eq!(site.talk().deliver("me@origin.example", &to, &content).expect("an answer").code, 250);
    wait_for("all have it", SOON, || sink.arrived().iter().map(|one| one.to.len()).sum::<usize>() == 3);
    site.wait_for_waiting(None, 0, SOON);
    for one in sink.arrived() {
        assert_eq!(one.from, "me@origin.example");
        assert_eq!(below_received(&one.content), content, "the mail itself is not touched");
    }
    let kept = files(&site.folder().join("kept"));
    assert_eq!(kept.len(), 2, "{kept:?}");
    let below = kept[0].strip_prefix(site.folder().join("kept")).expect("below it").components().count();
    assert_eq!(below, 4, "year, month, day, file: {kept:?}");
    let text = read(&kept[0]).replace('\n', "\r\n");
    assert!(kept[0].to_string_lossy().ends_with(".eml"), "{kept:?}");
    assert_eq!(below_received(text.as_bytes()), content);
    let record = read(&kept[1]);
    assert!(record.contains("sender: <me@origin.example>\n"), "{record}");
    for recipient in to {
        assert!(record.contains(&format!("recipient: <{recipient}>\n")), "{record}");
    }
    site.stop();
}

#[test]
fn rules_decide_by_sender_and_recipient() {
    let sink = Sink::start();
    let mut site = hub("archive-rules", &sink, "RULES=archive.rules\nARCHIVE_DIR=../kept/rest\n");
    let rules = "! who is kept where\n*@quiet.example * -\n* legal@* archive@keeper.example, ../kept/legal\n";
    site.write("archive.rules", rules);
    site.start();
    let send = |number, from: &str, to: &str| {
        site.talk().deliver(from, &[to], &message(number, 500)).expect("an answer");
    };
    send(1, "me@quiet.example", "ann@next.example");
    send(2, "me@origin.example", "Legal@next.example");
    send(3, "me@origin.example", "ann@next.example");
    let arrived = sink.wait(4, SOON);
    site.wait_for_waiting(None, 0, SOON);
    let copy = arrived.iter().find(|one| one.to == ["archive@keeper.example"]).expect("a copy");
    assert_eq!((copy.from.as_str(), number_of(&copy.content)), ("", Some(2)));
    let numbers: BTreeSet<_> = arrived
        .iter()
        .filter(|one| one.to[0].ends_with("@next.example"))
        .filter_map(|one| number_of(&one.content))
        .collect();
    assert_eq!(numbers, BTreeSet::from([1, 2, 3]));
    let kept = |name: &str| -> Vec<Option<usize>> {
        let all = files(&site.folder().join("kept").join(name));
        let messages = all.iter().filter(|path| path.to_string_lossy().ends_with(".eml"));
        messages.map(|path| number_of(read(path).replace('\n', "\r\n").as_bytes())).collect()
    };
    assert_eq!((kept("legal"), kept("rest")), (vec![Some(2)], vec![Some(3)]));
    site.stop();
}

#[test]
fn mail_does_not_go_on_without_its_copy() {
    let sink = Sink::start();
    let mut site = hub("archive-full", &sink, "ARCHIVE_DIR=../kept\n");
    // A file where the folder should be.
    fs::write(site.folder().join("kept"), "in the way").expect("a file");
    site.start();
    site.talk().deliver("me@origin.example", &["ann@next.example"], &message(1, 500)).expect("an answer");
    wait_for("it waits and says why", SOON, || {
        let rows = site.json(&["queue", "list"]);
        rows.iter()
            .any(|row| row["last_error"].as_str().is_some_and(|error| error.contains("no copy can be kept")))
    });
    assert_eq!(sink.count(), 0);
    fs::remove_file(site.folder().join("kept")).expect("it was there");
    assert_eq!(sluice_tests::arrived(&sink, 1), [1]);
    assert_eq!(files(&site.folder().join("kept")).len(), 2);
    site.stop();
}

#[test]
fn copies_behind_an_alias_end_here() {
    let sink = Sink::start();
    let mut site = hub("archive-ends", &sink, "ARCHIVE_DIR=../kept\nTHEN=ends\n");
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let rules = "keep.example $U%$D@ARCHIVE-DAEMON\n";
    site.write("sluice.cnf", &format!("{rules}{}\narchive\nARCHIVE-DAEMON\n", configuration("", &to)));
    site.write("aliases", "boss: boss@next.example, copy@keep.example\n");
    site.start();
    site.talk().deliver("me@origin.example", &["boss@hub.example"], &message(9, 500)).expect("an answer");
    assert_eq!(sluice_tests::arrived(&sink, 1), [9]);
    site.wait_for_waiting(None, 0, SOON);
    assert_eq!(sink.count(), 1);
    assert_eq!(files(&site.folder().join("kept")).len(), 2);
    site.stop();
}

#[test]
fn a_copy_that_was_sent_is_not_sent_again_while_another_waits() {
    let sink = Sink::start();
    let mut site = hub("archive-once", &sink, "RULES=archive.rules\n");
    site.write("archive.rules", "* * good@keeper.example, nobody@nowhere.invalid\n");
    site.start();
    let sent = site.talk().deliver("me@origin.example", &["ann@next.example"], &message(1, 300));
    assert_eq!(sent.expect("an answer").code, 250);
    wait_for("it has been tried four times", SOON, || {
        site.json(&["queue", "list"]).iter().any(|row| row["attempts"].as_u64() >= Some(4))
    });
    let copies = sink.arrived().iter().filter(|one| one.to == ["good@keeper.example"]).count();
    assert_eq!(copies, 1, "the other address is refused, and the mail waits for it");
    site.stop();
}
