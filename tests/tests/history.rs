//! `sluice queue history`: what happened to a message, while it waits and after it has gone, and why nothing is known.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use serde_json::Value;
use sluice_testkit::{Batch, Manner, Sink, Site, wait_for};
use sluice_tests::{Destination, SOON, hub};

fn held_with(name: &str, sink: &Sink, keywords: &str) -> Site {
    let held = Destination::held("tcp_dialup", "site7.example", sink.port());
    let keywords = format!("{} {keywords}", held.keywords);
    let mut hub = hub(name, &[Destination { keywords: &keywords, ..held }]);
    hub.start();
    hub
}

fn send(hub: &Site, to: &[&str]) -> String {
    let to = to.iter().map(|&to| to.to_owned()).collect();
    Batch { from: "boss@origin.example".to_owned(), to, ..Batch::new(hub.address(), "", 1) }.send_all();
    let rows = hub.json(&["queue", "list"]);
    rows.last().unwrap()["id"].as_str().unwrap().to_owned()
}

fn events(hub: &Site, id: &str) -> Vec<String> {
    hub.json(&["queue", "history", id]).iter().map(|row| row["event"].as_str().unwrap().to_owned()).collect()
}

fn log_file(hub: &Site, name: &str) -> PathBuf {
    hub.folder().join("spool").join("log").join(name)
}

#[test]
fn a_message_is_followed_from_acceptance_to_delivery_across_kill_9() {
    let sink = Sink::start();
    sink.behave(Manner {
        recipient: Some(("mary@".to_owned(), "450 4.2.1 mailbox busy".to_owned())),
        ..Manner::default()
    });
    let mut hub = held_with("history", &sink, "logging");
    let id = send(&hub, &["mary@site7.example", "fred@site7.example"]);
    assert_eq!(events(&hub, &id), ["accepted", "accepted", "waiting"]);
    hub.json(&["trigger", "site7.example"]);
    wait_for("an attempt is in the history", SOON, || events(&hub, &id).contains(&"deferred".to_owned()));
    assert_eq!(hub.command(&["queue", "hold", &id, "--reason", "look into it"]).code, 0);
    wait_for("the hold is in the history", SOON, || events(&hub, &id).contains(&"hold".to_owned()));
    // What was told stays told.
    hub.kill();
    let rows = hub.json(&["queue", "history", &id]);
    let found = |event: &str| {
        rows.iter().find(|row| row["event"] == event).unwrap_or_else(|| panic!("{event}: {rows:?}"))
    };
    let row = found("accepted");
    assert_eq!(
        [&row["sender"], &row["source"], &row["channel"], &row["recipient"]],
        ["boss@origin.example", "tcp_local", "tcp_dialup", "mary@site7.example"]
    );
    let row = found("deferred");
    assert_eq!([&row["code"], &row["recipient"]], ["Z", "mary@site7.example"]);
    assert!(row["reply"].as_str().unwrap().contains("mailbox busy") && row["peer"].is_string(), "{row}");
    assert_eq!(found("delivered")["recipient"], "fred@site7.example");
    let row = found("hold");
    assert_eq!([&row["domain"], &row["reason"]], ["site7.example", "look into it"]);
    assert!(row["by"].as_str().unwrap().starts_with("operator:"), "{row}");
    // Times go up, and are RFC 3339.
    let times: Vec<&str> = rows.iter().map(|row| row["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && times.iter().all(|at| at.ends_with('Z') && at.contains('T')), "{times:?}");
    let text = hub.command(&["queue", "history", &id]);
    assert_eq!(text.code, 0, "{}", text.err);
    assert!(text.err.contains("where it is now is not known"), "{}", text.err);
    for part in [
        "accepted from boss@origin.example by tcp_local",
        "mailbox busy",
        "hold on tcp_dialup for site7.example by operator",
    ] {
        assert!(text.out.contains(part), "no {part:?} in\n{}", text.out);
    }
    // It goes in the end, and is known still, also when its day is over.
    sink.behave(Manner::default());
    hub.start();
    assert_eq!(events(&hub, &id).last().unwrap(), "held");
    assert_eq!(hub.command(&["queue", "release", &id]).code, 0);
    hub.json(&["trigger", "site7.example"]);
    hub.wait_for_waiting(None, 0, SOON);
    wait_for("the delivery is in the history", SOON, || {
        events(&hub, &id).ends_with(&["delivered".to_owned(), "gone".to_owned()])
    });
    hub.stop();
    std::fs::rename(log_file(&hub, "mail.log_current"), log_file(&hub, "mail.log")).unwrap();
    hub.start();
    let text = hub.command(&["queue", "history", &id]);
    assert!(
        text.out.contains("delivered to mary@site7.example")
            && text.out.contains("not in the queue any more"),
        "{}",
        text.out
    );
    assert!(events(&hub, &id).contains(&"release".to_owned()));
}

#[test]
fn when_nothing_is_known_the_reason_is_said() {
    let sink = Sink::start();
    let mut hub = held_with("history-none", &sink, "nologging");
    let id = send(&hub, &["fred@site7.example"]);
    // What waits is known without a log.
    let rows = hub.json(&["queue", "history", &id]);
    let events: Vec<&Value> = rows.iter().map(|row| &row["event"]).collect();
    assert_eq!(events, ["accepted", "waiting"]);
    assert_eq!(rows[0]["sender"], "boss@origin.example");
    assert!(!hub.folder().join("spool").join("log").exists(), "no channel has records");
    let nothing = |hub: &Site, id: &str, why: &[&str]| {
        let ran = hub.command(&["queue", "history", id]);
        assert_eq!(ran.code, 65, "{}{}", ran.out, ran.err);
        for part in why {
            assert!(ran.err.contains(part), "no {part:?} in {}", ran.err);
        }
    };
    assert_eq!(hub.command(&["queue", "delete", &id]).code, 0);
    nothing(&hub, &id, &["nothing is known of message", "there is no mail log", "no channel has it now"]);
    hub.stop();
    let folder = hub.folder().join("spool").join("log");
    std::fs::create_dir(&folder).unwrap();
    let record = "02-Dec-2026 09:15:07.042 00000000FFFFFFF0 tcp_local tcp_x E 2 a@b rfc822;c@d c@d\n";
    std::fs::write(log_file(&hub, "mail.log_current"), record).unwrap();
    nothing(&hub, &id, &["older than the mail log, which begins at 2026-12-02T09:15:07.042Z"]);
    nothing(&hub, "00000000FFFFFFF1", &["the highest id in the mail log is 00000000FFFFFFF0"]);
    std::fs::write(log_file(&hub, "mail.log"), record.replace("FFFFFFF0", "00000001")).unwrap();
    nothing(&hub, "00000000FFFFFFE0", &["has no record of it"]);
    let ran = hub.command(&["queue", "history", "frob"]);
    assert_eq!(ran.code, 64, "{}", ran.err);
    // A log that cannot be read is said, and is no empty one.
    std::fs::remove_file(log_file(&hub, "mail.log")).unwrap();
    std::fs::create_dir(log_file(&hub, "mail.log")).unwrap();
    let ran = hub.command(&["queue", "history", &id]);
    assert!(ran.code == 75 && ran.err.contains("mail.log"), "{}{}", ran.code, ran.err);
}
