//! The queue commands as an operator types them: on the real program, with kill -9 in the middle.
#![allow(clippy::unwrap_used)]

use sluice_testkit::{Batch, Manner, Ran, Sink, Site, built, wait_for, watch};
use sluice_tests::{Destination, SOON, WHILE, hub};
use std::process::{Command, Stdio};

/// A hub with mail for two held sites.
fn held(name: &str, sink: &Sink) -> Site {
    let mut hub = hub(
        name,
        &[
            Destination::held("tcp_dialup", "site7.example", sink.port()),
            Destination::held("tcp_ship", "ship.example", sink.port()),
        ],
    );
    hub.start();
    hub
}

fn send(hub: &Site, from: &str, to: &[&str]) {
    let to = to.iter().map(|&to| to.to_owned()).collect();
    Batch { from: from.to_owned(), to, ..Batch::new(hub.address(), "", 1) }.send_all();
}

fn ids(hub: &Site, arguments: &[&str]) -> Vec<String> {
    let rows = hub.json(&[&["queue", "list"], arguments].concat());
    rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

fn ok(ran: &Ran) -> &Ran {
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    ran
}

#[test]
fn a_stopped_channel_stays_stopped_after_kill_9_and_etrn_is_told_458() {
    let sink = Sink::start();
    let mut hub = held("stopped", &sink);
    send(&hub, "a@origin.example", &["fred@site7.example"]);
    let row = hub.json(&["channel", "stop", "TCP_dialup"]).remove(0);
    assert_eq!((&row["changed"], &row["messages"]), (&true.into(), &1.into()), "{row}");
    hub.kill();
    hub.start();
    let mut client = hub.talk();
    client.want("ETRN site7.example", 458);
    client.want("ETRN #tcp_dialup", 458);
    client.quit();
    let ran = hub.command(&["trigger", "site7.example"]);
    assert!(ran.out.contains("channel tcp_dialup is stopped"), "{}{}", ran.out, ran.err);
    let rows = hub.json(&["channel", "list"]);
    let row = rows.iter().find(|row| row["channel"] == "tcp_dialup").expect("the channel");
    assert_eq!(row["status"], "stopped");
    assert!(row["stopped_since"].is_string(), "{row}");
    ok(&hub.command(&["reload"]));
    watch("nothing leaves", WHILE, || sink.connections() == 0);
    ok(&hub.command(&["channel", "start", "tcp_dialup"]));
    ok(&hub.command(&["trigger", "site7.example"]));
    sink.wait(1, SOON);
}

#[test]
fn a_suspension_survives_kill_9_and_ends_by_its_time() {
    let sink = Sink::start();
    let mut hub = held("suspended", &sink);
    send(&hub, "a@origin.example", &["fred@site7.example", "fred@pc.site7.example", "captain@ship.example"]);
    ok(&hub.command(&["suspend", "@site7.example", "--for", "1h", "--reason", "moving"]));
    ok(&hub.command(&["suspend", "ship.example", "--for", "20s"]));
    hub.kill();
    hub.start();
    let rows = hub.json(&["suspend", "--list"]);
    let row = rows.iter().find(|row| row["domain"] == "@site7.example").expect("the suspension");
    assert_eq!((&row["reason"], &row["messages"]), (&"moving".into(), &2.into()), "{row}");
    assert!(row["until"].is_string(), "{row}");
    let mut client = hub.talk();
    client.want("ETRN pc.site7.example", 458);
    client.want("ETRN @site7.example", 458);
    client.quit();
    let rows = hub.json(&["queue", "summarize"]);
    let row = rows.iter().find(|row| row["domain"] == "site7.example").expect("the queue");
    assert_eq!(row["suspended"], 1, "{row}");
    // The short one ends by itself.
    wait_for("a suspension ends", SOON, || hub.json(&["suspend", "--list"]).len() == 1);
    hub.json(&["trigger", "ship.example"]);
    sink.wait(1, SOON);
    ok(&hub.command(&["resume", "@site7.example"]));
    hub.json(&["trigger", "@site7.example"]);
    // One transaction for both names of the site.
    sink.wait(2, SOON);
}

#[test]
fn bulk_acts_are_counted_asked_for_and_survive_kill_9() {
    let sink = Sink::start();
    let mut hub = held("bulk", &sink);
    for number in 0..3 {
        send(&hub, "boss@origin.example", &[&format!("u{number}@site7.example")]);
    }
    send(&hub, "other@origin.example", &["fred@site7.example", "mary@site7.example"]);
    let bulk = ["queue", "hold", "--sender", "boss@origin.example"];
    let ran = hub.command(&bulk);
    assert_eq!(ran.code, 64, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("3 entries of 3 messages") && ran.err.contains("--yes"), "{}", ran.err);
    let ran = hub.command(&[&bulk[..], &["--dry-run"]].concat());
    assert!(
        ok(&ran).err.contains("nothing was done") && ran.out.lines().count() == 4,
        "{}{}",
        ran.out,
        ran.err
    );
    assert!(hub.json(&["queue", "list", "--state", "held"]).is_empty());
    let row = hub.json(&[&bulk[..], &["--yes"]].concat()).remove(0);
    assert_eq!((&row["entries"], &row["done"]), (&3.into(), &3.into()), "{row}");
    hub.kill();
    hub.start();
    assert_eq!(ids(&hub, &["--state", "held"]).len(), 3);
    hub.json(&["trigger", "site7.example"]);
    sink.wait(1, SOON);
    watch("what is held stays", WHILE, || sink.count() == 1);
    // One is returned and one deleted, each by its id; kill -9 after each answer.
    let ids = ids(&hub, &["--state", "held"]);
    ok(&hub.command(&["queue", "delete", &ids[0], "--reason", "not wanted"]));
    hub.kill();
    hub.start();
    assert_eq!(hub.waiting(Some("tcp_dialup")), 2);
    assert!(hub.log().contains("not wanted"), "the log says why");
    ok(&hub.command(&["queue", "release", &ids[1]]));
    hub.kill();
    hub.start();
    let row = hub.json(&["queue", "list", &ids[1]]).remove(0);
    assert_eq!(row["state"], "waiting");
    ok(&hub.command(&["queue", "retry", &ids[1]]));
    sink.wait(2, SOON);
    hub.wait_for_waiting(Some("tcp_dialup"), 1, SOON);
}

#[test]
fn a_return_makes_one_notice_with_the_reason() {
    let (site, home) = (Sink::start(), Sink::start());
    let mut hub = hub(
        "returned",
        &[
            Destination::held("tcp_dialup", "site7.example", site.port()),
            Destination::direct("tcp_home", "origin.example", home.port()),
        ],
    );
    hub.start();
    send(&hub, "boss@origin.example", &["fred@site7.example", "mary@site7.example"]);
    let ran = hub.command(&[
        "queue",
        "return",
        "--recipient",
        "mary@site7.example",
        "--reason",
        "the mailbox is closed",
        "--yes",
    ]);
    assert!(ok(&ran).err.contains("1 other recipients in the same entries"), "{}", ran.err);
    assert!(ran.out.contains("1 entry: returned"), "{}", ran.out);
    hub.kill();
    hub.start();
    home.wait(1, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    // The kill may have had the notice delivered twice; it is one notice.
    let mut notices = home.arrived();
    notices.dedup_by(|a, b| {
        sluice_testkit::below_received(&a.content) == sluice_testkit::below_received(&b.content)
    });
    assert_eq!(notices.len(), 1, "{notices:?}");
    let text = String::from_utf8_lossy(&notices[0].content).into_owned();
    assert!(text.contains("the mailbox is closed") && text.contains("mary@site7.example"), "{text}");
    assert_eq!(site.connections(), 0);
}

#[test]
fn show_and_read_tell_everything_of_a_message() {
    let sink = Sink::start();
    sink.behave(Manner {
        recipient: Some(("mary".to_owned(), "450 4.2.1 mailbox busy, says the peer".to_owned())),
        ..Manner::default()
    });
    let mut hub = held("show", &sink);
    let mut client = hub.talk();
    let content = b"Subject: dots\r\n\r\n.one\r\n..two\r\nlast\r\n";
    client.deliver("boss@origin.example", &["mary@site7.example", "fred@site7.example"], content).unwrap();
    client.quit();
    let id = ids(&hub, &[]).remove(0);
    hub.json(&["trigger", "site7.example"]);
    sink.wait(1, SOON);
    wait_for("the deferral is known", SOON, || {
        hub.json(&["queue", "show", &id])[0]["entries"][0]["last_error"].is_string()
    });
    let shown = hub.json(&["queue", "show", &id]).remove(0);
    let entry = &shown["entries"][0];
    assert!(entry["last_error"].as_str().unwrap().contains("mailbox busy, says the peer"), "{shown}");
    assert_eq!((&entry["attempts"], &entry["plugin"]), (&1.into(), &"tcp".into()), "{shown}");
    // A restart forgets neither why, nor when, nor who said so; the list has it too.
    let said = |row: &serde_json::Value| {
        ["deferred_at", "last_error", "peer"].map(|field| row[field].as_str().expect(field).to_owned())
    };
    let before = said(entry);
    assert_eq!(said(&hub.json(&["queue", "list"])[0]), before);
    // A deferral is written down within 50 ms, or with what is made safe next.
    ok(&hub.command(&["suspend", "elsewhere.example"]));
    hub.kill();
    hub.start();
    assert_eq!(said(&hub.json(&["queue", "show", &id])[0]["entries"][0]), before);
    assert_eq!(said(&hub.json(&["queue", "list"])[0]), before);
    let listed = hub.command(&["queue", "list", "--mailq"]);
    assert!(ok(&listed).out.contains("mailbox busy, says the peer)"), "{}", listed.out);
    assert!(entry["expires"].is_string(), "{shown}");
    assert_eq!(shown["sender"], "boss@origin.example");
    let states: Vec<_> = shown["recipients"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["waiting", "settled"], "{shown}");
    let text = hub.command(&["queue", "show", &id]);
    assert!(
        ok(&text).out.contains("mailbox busy") && text.out.contains("fred@site7.example"),
        "{}",
        text.out
    );
    let read = hub.command(&["queue", "read", &id]);
    assert!(ok(&read).out.ends_with("\n\n.one\n..two\nlast\n"), "{:?}", read.out);
    let octets = hub.command(&["queue", "read", &id, "--octets"]);
    assert!(ok(&octets).out.ends_with("\r\n\r\n.one\r\n..two\r\nlast\r\n"), "{:?}", octets.out);
    let headers = hub.command(&["queue", "read", &id, "--headers"]);
    assert!(
        ok(&headers).out.contains("Subject: dots\n") && !headers.out.contains(".one"),
        "{:?}",
        headers.out
    );
}

#[test]
fn lists_come_in_pages_that_never_cut_a_message() {
    let sink = Sink::start();
    let hub = held("pages", &sink);
    for _ in 0..3 {
        send(&hub, "a@origin.example", &["fred@site7.example", "captain@ship.example"]);
    }
    let all = ids(&hub, &[]);
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted(), "oldest first: {all:?}");
    let first = ids(&hub, &["--limit", "1"]);
    assert_eq!(first, all[..2], "a message whole");
    assert_eq!(ids(&hub, &["--limit", "3", "--cursor", &first[1]]), all[2..]);
    assert!(ids(&hub, &["--cursor", &all[5]]).is_empty());
}

#[test]
fn wrong_arguments_are_named_and_change_nothing() {
    let sink = Sink::start();
    let hub = held("wrong", &sink);
    send(&hub, "a@origin.example", &["fred@site7.example"]);
    for (command, code, what) in [
        (&["queue", "hold"][..], 64, "say which"),
        (&["queue", "delete", "site7.example", "--all", "--yes"], 64, "--all"),
        (&["queue", "delete", "--all", "--yes", "--dry-run"], 64, "--dry-run"),
        (&["queue", "hold", "00000000FFFFFFFF"], 65, "there is no message 00000000FFFFFFFF"),
        (&["queue", "show", "00000000FFFFFFFF"], 65, "there is no message"),
        (&["queue", "show", "fred"], 64, "`fred` is not a queue id"),
        (&["queue", "read", "x\u{1b}[2J"], 64, "is not a queue id"),
        (&["queue", "list", "--sender", "a b"], 64, "`a b` is no address"),
        (&["queue", "list", "--recipient", "@"], 64, "`@` is no address"),
        (&["queue", "list", "--domain", "#tcp_ship"], 64, "`#tcp_ship` is no domain"),
        (&["queue", "list", "--domain", "a..b"], 64, "empty label"),
        (&["queue", "list", "--older-than", "soon"], 64, "not a time"),
        (&["queue", "list", "--larger-than", "much"], 64, "not a size"),
        (&["queue", "list", "--state", "asleep"], 64, "asleep"),
        (&["queue", "list", "--cursor", "x1"], 64, "`x1` is not a queue id"),
        (&["queue", "hold", "--all", "--yes", "--reason", "two\nlines"], 64, "one line"),
        (&["queue", "return", "--all", "--yes", "--reason", "schön"], 64, "ASCII"),
        (&["channel", "stop", "tcp_dailup"], 65, "tcp_dialup"),
        (&["channel", "stop", "tcp_ship", "tcp_nil"], 65, "nothing was changed"),
        (&["channel", "stop"], 64, "NAME"),
        (&["suspend"], 64, "DOMAIN"),
        (&["suspend", "#tcp_ship"], 64, "channel stop"),
        (&["suspend", "a..b"], 64, "empty label"),
        (&["suspend", "ship.example", "--for", "0s"], 64, "less than a second"),
        (&["suspend", "ship.example", "--for", "600w"], 64, "or until it is resumed"),
        (&["suspend", "ship.example", "--reason", "a\tb"], 64, "control characters"),
        (&["resume", "ship.example"], 65, "`ship.example` is not suspended"),
    ] {
        let ran = hub.command(command);
        assert_eq!(ran.code, code, "{command:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(what), "{command:?}: {}{}", ran.out, ran.err);
        assert!(!ran.err.contains('\u{1b}'), "{command:?} writes to the terminal what it was given");
    }
    assert_eq!(hub.json(&["queue", "list", "--state", "waiting"]).len(), 1, "nothing was changed");
    assert!(hub.json(&["suspend", "--list"]).is_empty());
    assert!(hub.json(&["channel", "list"]).iter().all(|row| row["status"] != "stopped"));
}

/// Runs the program by the name of a link to it.
fn by_name(hub: &Site, name: &str, arguments: &[&str]) -> Ran {
    let link = hub.folder().join(name);
    if !link.exists() {
        std::os::unix::fs::symlink(built("sluice"), &link).unwrap();
    }
    let output = Command::new(link)
        .arg("--config")
        .arg(hub.configuration())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn mailq_and_sendmail_do_what_fingers_expect() {
    let sink = Sink::start();
    let hub = held("links", &sink);
    assert_eq!(ok(&by_name(&hub, "mailq", &[])).out, "Mail queue is empty\n");
    send(&hub, "a@origin.example", &["fred@site7.example", "captain@ship.example"]);
    send(&hub, "b@origin.example", &["mary@site7.example"]);
    send(&hub, "c@origin.example", &["jack@ship.example"]);
    send(&hub, "d@origin.example", &["jill@ship.example"]);
    let listed = by_name(&hub, "mailq", &[]);
    assert!(ok(&listed).out.trim_end().ends_with("Kbytes in 4 Requests."), "{}", listed.out);
    for address in ["a@origin.example", "fred@site7.example", "captain@ship.example"] {
        assert!(listed.out.contains(address), "{address}: {}", listed.out);
    }
    assert_eq!(by_name(&hub, "sendmail", &["-bp"]).out, listed.out);
    let id = ids(&hub, &["--sender", "c@origin.example"]).remove(0);
    ok(&by_name(&hub, "sendmail", &["-qI", &id]));
    sink.wait(1, SOON);
    ok(&by_name(&hub, "sendmail", &["-qS", "d@origin.example"]));
    sink.wait(2, SOON);
    ok(&by_name(&hub, "sendmail", &["-qRsite7.example"]));
    sink.wait(4, SOON);
    ok(&by_name(&hub, "sendmail", &["-q"]));
    sink.wait(5, SOON);
    let wrong = by_name(&hub, "sendmail", &["-t"]);
    assert_eq!(wrong.code, 64, "{}{}", wrong.out, wrong.err);
}

#[test]
fn the_commands_of_the_guide_work_as_they_stand() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/queue.md")).unwrap();
    let sink = Sink::start();
    let hub = held("guide", &sink);
    send(&hub, "boss@origin.example", &["fred@site7.example"]);
    send(&hub, "boss@origin.example", &["mary@site7.example"]);
    send(&hub, "other@origin.example", &["pat@pc.site7.example"]);
    let id = ids(&hub, &["--recipient", "fred@site7.example"]).remove(0);
    let blocks = page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    wait_for("a second passes", SOON, || !hub.json(&["queue", "list", "--older-than", "1s"]).is_empty());
    let mut commands = 0;
    for command in blocks.flat_map(str::lines) {
        let typed = command.strip_prefix("$ sluice ").expect("a command of ours");
        let mut words: Vec<String> = Vec::new();
        for (number, part) in typed.split('"').enumerate() {
            if number % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(|word| word.replace("ID", &id)));
            }
        }
        let ran = hub.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{command}: {}{}\n{}", ran.out, ran.err, hub.report());
        commands += 1;
        // After a retry the message leaves; the page goes on with the others.
        if typed.starts_with("queue retry") {
            sink.wait(1, SOON);
        }
    }
    assert!(commands > 15, "{commands} commands were found");
}
