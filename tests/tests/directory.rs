//! Mail as files: dropped into a folder, picked up from one.

use sluice_testkit::{Sink, Site, message, wait_for};
use sluice_tests::{Destination, SOON, configuration};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A hub that drops what is for `drop.example`, picks up, and sends what is for `next.example` to the sink.
fn hub(name: &str, sink: &Sink, drop_options: &str, pickup_options: &str) -> Site {
    let site = Site::new(name);
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let channels = "drop\nDROP-DAEMON\n\npickup periodic\nPICKUP-DAEMON\n";
    let text = format!("drop.example $U%$D@DROP-DAEMON\n{}\n{channels}", configuration("", &to));
    site.write("sluice.cnf", &text);
    site.write("drop_option", &format!("DROP_DIR=../dropped\n{drop_options}"));
    site.write(
        "pickup_option",
        &format!("PICKUP_DIR=../pickup\nSCAN_INTERVAL=1\nRETRY_INTERVAL=1\n{pickup_options}"),
    );
    site.write("job_controller.cnf", "[CHANNEL=pickup]\nSCHEDULE=every 1s\n");
    fs::create_dir(pickup(&site)).expect("a folder");
    site
}

fn pickup(site: &Site) -> PathBuf {
    site.folder().join("pickup")
}

/// Puts a file there as a program should: complete, by a rename.
fn put(site: &Site, name: &str, text: &str) {
    let part = pickup(site).join(format!(".{name}"));
    fs::write(&part, text).expect("a file");
    fs::rename(&part, pickup(site).join(name)).expect("a file");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[test]
fn a_file_whose_name_is_too_long_lies_with_the_bad_ones() {
    let sink = Sink::start();
    let mut site = hub("pickup-long", &sink, "", "");
    let name = format!("{}.eml", "x".repeat(246));
    put(&site, &name, "From: me@next.example\nTo: you@next.example\n\nx\n");
    site.start();
    let bad = pickup(&site).join("bad");
    let is_told = || names(&bad).iter().any(|name| name.ends_with(".reason"));
    wait_for("it lies there with its reason", SOON, is_told);
    let reason = names(&bad).into_iter().find(|name| name.ends_with(".reason")).expect("a reason");
    assert_eq!(
        (names(&bad).contains(&name), text(&bad.join(reason)).trim_end()),
        (true, "its name is too long")
    );
    site.stop();
}

#[test]
fn mail_is_dropped_with_its_envelope() {
    let sink = Sink::start();
    let mut site = hub("drop", &sink, "", "");
    let check = site.command(&["check"]);
    assert_eq!(check.code, 0, "{}", check.out);
    site.start();
    let to = ["scan@drop.example", "index@drop.example"];
    let content = b"Subject: x\r\n\r\nhello\r\n.dot\r\n";
    assert_eq!(site.talk().deliver("me@next.example", &to, content).expect("an answer").code, 250);
    site.wait_for_waiting(None, 0, SOON);
    let folder = site.folder().join("dropped");
    let found = names(&folder);
    assert!(found.len() == 1 && found[0].ends_with(".eml"), "{found:?}");
    let dropped = text(&folder.join(&found[0]));
    let envelope = "X-Sender: <me@next.example>\nX-Receiver: <scan@drop.example>\nX-Receiver: <index@drop.example>\nReceived: ";
    assert!(dropped.starts_with(envelope), "{dropped}");
    assert!(dropped.ends_with("\nSubject: x\n\nhello\n.dot\n"), "{dropped}");
    site.stop();
}

#[test]
fn what_was_dropped_can_be_picked_up_again() {
    let sink = Sink::start();
    let mut site = hub("drop-sidecar", &sink, "ENVELOPE=sidecar\nLINE_END=crlf\n", "DONE_DIR=../done\n");
    site.start();
    let content = message(3, 70_000);
    site.talk().deliver("", &["scan@drop.example"], &content).expect("an answer");
    site.wait_for_waiting(None, 0, SOON);
    let folder = site.folder().join("dropped");
    let found = names(&folder);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(text(&folder.join(&found[1])), "Sender: <>\r\nReceiver: <scan@drop.example>\r\n");
    let dropped = text(&folder.join(&found[0]));
    put(&site, "again.eml", &format!("X-Sender: <>\r\nX-Receiver: fred@next.example\r\n{dropped}"));
    let arrived = sink.wait(1, SOON).remove(0);
    assert_eq!((arrived.from.as_str(), arrived.to), ("", vec!["fred@next.example".to_owned()]));
    assert_eq!(sluice_testkit::number_of(&arrived.content), Some(3));
    wait_for("it is put away", SOON, || names(&site.folder().join("done")) == ["again.eml"]);
    assert_eq!(names(&pickup(&site)), [".taken", "bad"]);
    site.stop();
}

#[test]
fn files_are_brought_in_or_lie_with_the_bad_ones() {
    let sink = Sink::start();
    let mut site = hub("pickup", &sink, "", "FILE_SIZE_MAX=100000\n");
    put(
        &site,
        "a.eml",
        "From: Me <me@next.example>\nTo: ann@next.example, Bob <bob@next.example>\nBcc: eve@next.example\nSubject: hi\n\n.\n",
    );
    put(&site, "b.eml", "no header at all\n");
    put(
        &site,
        "c.eml",
        "X-Receiver: nobody@nowhere.invalid\nX-Receiver: kim@next.example\nFrom: me@next.example\n\nx\n",
    );
    put(
        &site,
        "d.eml",
        &format!("From: me@next.example\nTo: ann@next.example\n\n{}\n", "x\n".repeat(60_000)),
    );
    put(&site, "e.txt", "From: me@next.example\nTo: ann@next.example\n\n");
    // What a stranger may have put there to have it read by the hub.
    std::os::unix::fs::symlink("/etc/passwd", pickup(&site).join("f.eml")).expect("a link");
    site.start();
    let arrived = sink.wait(2, SOON);
    let first = arrived.iter().find(|one| one.to.len() == 3).expect("the one to three");
    assert_eq!(first.from, "me@next.example");
    assert_eq!(
        first.to.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(["ann@next.example", "bob@next.example", "eve@next.example"])
    );
    let content = String::from_utf8_lossy(&first.content).into_owned();
    assert!(!content.contains("eve@") && content.contains("Subject: hi\r\n\r\n"), "{content}");
    let bad = pickup(&site).join("bad");
    let all =
        ["b.eml", "b.eml.reason", "c.eml", "c.eml.reason", "d.eml", "d.eml.reason", "f.eml", "f.eml.reason"];
    wait_for("the bad ones lie there", SOON, || names(&bad) == all);
    assert!(
        text(&bad.join("b.eml.reason"))
            .starts_with("its header has a line that is no field: no header at all")
    );
    let reason = text(&bad.join("c.eml.reason"));
    assert!(reason.contains("nobody@nowhere.invalid: 5.1.2") && !reason.contains("kim@"), "{reason}");
    assert!(text(&bad.join("d.eml.reason")).contains("which is too many"));
    assert!(text(&bad.join("f.eml.reason")).contains("it is a link"));
    assert_eq!(names(&pickup(&site)), [".taken", "bad", "e.txt"]);
    assert_eq!(sink.count(), 2);
    site.stop();
}

#[test]
fn killed_again_and_again_it_loses_no_file() {
    let sink = Sink::start();
    let mut site = hub("pickup-kill", &sink, "", "");
    const FILES: usize = 400;
    for number in 0..FILES {
        let body = String::from_utf8_lossy(&message(number, 2000)).replace("\r\n", "\n");
        put(
            &site,
            &format!("{number:04}.eml"),
            &format!("X-Sender: me@next.example\nX-Receiver: fred@next.example\n{body}"),
        );
    }
    let mut kills = 0;
    for least in [60, 150, 260] {
        site.start();
        wait_for("some have come in", SOON, || FILES - left(&site) >= least);
        site.kill();
        kills += 1;
    }
    assert!(left(&site) > 0, "it was killed too late to prove anything");
    site.start();
    wait_for("all have come in", SOON, || left(&site) == 0);
    site.wait_for_waiting(None, 0, SOON);
    let numbers = sluice_tests::numbers(&sink.arrived());
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), FILES, "nothing is lost");
    // A kill doubles what was just being brought in, and what was just being sent on.
    assert!(names(&pickup(&site).join("bad")).is_empty() && kills == 3);
    let brought = site.log().matches("message accepted").count();
    assert!(brought <= FILES + kills * 8, "{brought} messages were brought in of {FILES}");
    site.stop();
}

/// Files that have not been brought in.
fn left(site: &Site) -> usize {
    let count = |folder: &Path| {
        names(folder).iter().filter(|name| name.ends_with(".eml") && !name.starts_with('.')).count()
    };
    count(&pickup(site)) + count(&pickup(site).join(".taken"))
}

/// Adds to a file that a program is still writing.
fn add(path: &Path, text: &str) -> fs::File {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("it is written");
    file
}

/// Sees that the folder has been looked at since: by another file, which has gone in.
fn looked(site: &Site, sink: &Sink, name: &str) {
    let before = sink.count();
    let path = pickup(site).join(format!(".{name}"));
    add(&path, &format!("From: me@next.example\nTo: you@next.example\nSubject: {name}\n\nx\n"))
        .set_modified(SystemTime::now() - Duration::from_secs(7200))
        .expect("a time");
    fs::rename(&path, pickup(site).join(name)).expect("a file");
    let arrived = sink.wait(before + 1, SOON);
    let last = String::from_utf8_lossy(&arrived.last().expect("it").content).into_owned();
    assert!(last.contains(&format!("Subject: {name}\r\n")), "another came first: {last}");
}

#[test]
fn a_file_that_is_still_being_written_is_not_taken() {
    let (head, rest) = ("From: me@next.example\nTo: you@next.example\nSubject: half\n\nfirst\n", "last\n");
    let sink = Sink::start();
    let mut site = hub("pickup-half", &sink, "", "");
    site.start();
    let at = |name: &str| pickup(&site).join(name);
    // Under a name that begins with a dot, under one that ends otherwise, and under its own with a lock on it.
    for (part, name, is_locked) in
        [(".half.eml", "half.eml", false), ("other.part", "other.eml", false), ("mine.eml", "mine.eml", true)]
    {
        let file = fs::File::create(at(part)).expect("a file");
        if is_locked {
            file.lock().expect("a lock");
        }
        add(&at(part), head);
        looked(&site, &sink, &format!("beside-{name}"));
        looked(&site, &sink, &format!("again-{name}"));
        assert_eq!(text(&at(part)), head, "it lies where it was");
        add(&at(part), rest);
        let before = sink.count();
        if part != name {
            fs::rename(at(part), at(name)).expect("a file");
        }
        drop(file);
        let arrived = sink.wait(before + 1, SOON);
        let whole = String::from_utf8_lossy(&arrived.last().expect("it").content).into_owned();
        assert!(whole.contains("Subject: half\r\n") && whole.ends_with("\r\nfirst\r\nlast\r\n"), "{whole}");
    }
    site.stop();
}

#[test]
fn a_file_that_was_changed_lately_is_not_taken_where_the_operator_says_so() {
    let sink = Sink::start();
    let mut site = hub("pickup-age", &sink, "", "MIN_AGE=3600\n");
    site.start();
    let path = pickup(&site).join("grows.eml");
    add(&path, "From: me@next.example\nTo: you@next.example\nSubject: half\n\nfirst\n");
    looked(&site, &sink, "one.eml");
    add(&path, "last\n");
    looked(&site, &sink, "two.eml");
    assert!(path.exists());
    // An hour and a second later.
    add(&path, "").set_modified(SystemTime::now() - Duration::from_secs(3601)).expect("a time");
    let arrived = sink.wait(3, SOON);
    let whole = String::from_utf8_lossy(&arrived.last().expect("it").content).into_owned();
    assert!(whole.ends_with("\r\nfirst\r\nlast\r\n"), "{whole}");
    site.stop();
}
