//! What scripts and operators rely on: exit codes, JSON fields, reload.

use sluice_testkit::{Batch, Manner, Sink, wait_for};
use sluice_tests::{Destination, SOON, configuration, hub};
use std::time::Duration;

#[test]
fn trigger_releases_like_etrn_and_names_what_it_did() {
    let sink = Sink::start();
    let held = Destination::held("tcp_dialup", "site7.example", sink.port());
    let mut hub = hub("trigger", &[held]);
    hub.start();
    Batch::new(hub.address(), "fred@site7.example", 3).send_all();
    Batch { first: 3, ..Batch::new(hub.address(), "fred@pc.site7.example", 2) }.send_all();
    let answer = hub.json(&["trigger", "site7.example"]);
    assert_eq!(answer.len(), 1, "{answer:?}");
    assert_eq!(answer[0]["selector"], "site7.example");
    assert_eq!(answer[0]["channels"], serde_json::json!(["tcp_dialup"]));
    assert_eq!(answer[0]["messages"], 3);
    sink.wait(3, SOON);
    let answer = hub.json(&["trigger", "#tcp_dialup"]);
    assert_eq!(answer[0]["messages"], 2);
    sink.wait(5, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!(hub.json(&["trigger", "@site7.example"])[0]["messages"], 0, "known, and nothing waits");
}

#[test]
fn trigger_of_something_unknown_says_what_is_near() {
    let mut hub = hub("trigger-unknown", &[Destination::held("tcp_dialup", "site7.example", 1)]);
    hub.start();
    for (selector, near) in [("#tcp_dailup", "tcp_dialup"), ("site8.example", "site7.example")] {
        let ran = hub.command(&["trigger", selector]);
        assert_eq!(ran.code, 65, "{selector}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(near) || ran.out.contains(near), "{selector}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn the_log_says_why_mail_stays_and_says_it_once_for_many() {
    let sink = Sink::start();
    sink.behave(Manner { greeting: Some("421 4.3.2 not today".to_owned()), ..Manner::default() });
    let mut hub = hub("why", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.start();
    Batch { sessions: 2, ..Batch::new(hub.address(), "fred@next.example", 30) }.send_all();
    let tries = || {
        let rows = hub.json(&["queue", "list"]);
        rows.iter().filter(|row| row["attempts"].as_u64() == Some(1)).count()
    };
    wait_for("every message to be tried", SOON, || tries() == 30);
    let log = hub.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains(" deferred ")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("channel=tcp_next") && told[0].contains("not today"), "{}", told[0]);
    let rows = hub.json(&["channel", "list"]);
    let row = rows.iter().find(|row| row["channel"] == "tcp_next").expect("a row for the channel");
    assert!(row["stalled"].is_null(), "it waits for its time: {row}");
}

#[test]
fn channels_run_by_their_schedules_and_wait_for_their_windows() {
    let sink = Sink::start();
    let destinations = [
        Destination::held("tcp_clock", "clock.example", sink.port()),
        Destination::direct("tcp_window", "window.example", sink.port()),
    ];
    let mut hub = hub("timed", &destinations);
    // The day before yesterday has a window; now none is open, whatever the zone.
    let days = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let closed = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"][usize::try_from((days + 5) % 7).unwrap()];
    hub.write(
        "job_controller.cnf",
        &format!("[CHANNEL=tcp_clock]\nSCHEDULE=every 1s\n[CHANNEL=tcp_window]\nWINDOW={closed}\n"),
    );
    hub.start();
    Batch::new(hub.address(), "fred@window.example", 2).send_all();
    Batch::new(hub.address(), "fred@clock.example", 3).send_all();
    sink.wait(3, SOON);
    assert_eq!(hub.waiting(Some("tcp_window")), 2, "nothing of it is attempted");
    let rows = hub.json(&["channel", "list"]);
    for name in ["tcp_clock", "tcp_window"] {
        let row = rows.iter().find(|row| row["channel"] == name).expect("a row for the channel");
        assert!(row["next_run"].is_string(), "{row}");
    }
    let shown = &hub.json(&["test", "channel", "tcp_clock"])[0];
    assert_eq!(shown["schedule"], "every 1s", "{shown}");
    assert!(shown["next_run"].is_string(), "{shown}");
    let told = hub.command(&["test", "channel", "tcp_window"]).out;
    assert!(told.contains(&format!("only in the channel's window, `{closed}`")), "{told}");
    assert_eq!(hub.command(&["trigger", "#tcp_window"]).code, 0);
    sink.wait(5, SOON);
}

#[test]
fn commands_without_a_hub_fail_for_now_and_usage_errors_for_good() {
    let site = hub("no-hub", &[]);
    for command in
        [&["trigger", "site7.example"][..], &["queue", "summarize"], &["queue", "list"], &["reload"]]
    {
        let ran = site.command(command);
        assert_eq!(ran.code, 75, "{command:?}: {}{}", ran.out, ran.err);
        assert!(!ran.err.is_empty(), "{command:?} says nothing");
    }
    assert_eq!(site.command(&["queue", "summarise"]).code, 64);
    assert_eq!(site.command(&["trigger"]).code, 64);
}

#[test]
fn summaries_and_lists_have_their_fields() {
    let mut hub = hub("fields", &[Destination::held("tcp_dialup", "site7.example", 1)]);
    hub.start();
    Batch { size: 2000, ..Batch::new(hub.address(), "fred@site7.example", 4) }.send_all();
    Batch { size: 2000, ..Batch::new(hub.address(), "fred@pc.site7.example", 1) }.send_all();
    let rows = hub.json(&["queue", "summarize"]);
    assert_eq!(rows.len(), 2, "one row for each channel and domain: {rows:?}");
    let row = rows.iter().find(|row| row["domain"] == "site7.example").expect("a row for the domain");
    assert_eq!(row["channel"], "tcp_dialup");
    assert_eq!(row["messages"], 4);
    assert_eq!(row["held"], 0);
    assert_eq!(row["active"], 0);
    assert!(row["bytes"].as_u64().is_some_and(|bytes| (4000..20_000).contains(&bytes)), "{row}");
    for field in ["oldest", "next_due"] {
        assert!(row.get(field).is_some(), "no {field}: {row}");
    }
    let listed = hub.json(&["queue", "list"]);
    assert_eq!(listed.len(), 5, "{listed:?}");
    let channels = hub.json(&["channel", "list"]);
    for name in ["l", "tcp_local", "tcp_dialup"] {
        assert!(channels.iter().any(|row| row["channel"] == name), "{name} is not among {channels:?}");
    }
    let plugins = hub.json(&["plugin", "list"]);
    let tcp = plugins.iter().find(|row| row["plugin"] == "tcp").expect("the plugin of the tcp channels");
    assert!(tcp["file"].as_str().is_some_and(|file| file.ends_with("libsluice_tcp.so")), "{tcp}");
}

#[test]
fn a_reload_takes_the_new_configuration_or_keeps_the_old_one() {
    let sink = Sink::start();
    let held = Destination::held("tcp_dialup", "site7.example", sink.port());
    let new = Destination::held("tcp_ship", "ship.example", sink.port());
    let mut hub = hub("reload", &[held]);
    hub.start();
    let accepts = |address: &str| {
        let mut client = hub.talk();
        client.want("MAIL FROM:<a@origin.example>", 250);
        let code = client.ask(&format!("RCPT TO:<{address}>")).expect("an answer").code;
        client.quit();
        code == 250
    };
    assert!(accepts("fred@site7.example"));
    assert!(!accepts("captain@ship.example"));

    hub.write("sluice.cnf", &configuration("allowetrn", &[held, new]));
    let ran = hub.command(&["reload"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(accepts("captain@ship.example"), "the new rule is in force");

    let wrong = configuration("allowetrn nologgin", &[held]);
    hub.write("sluice.cnf", &wrong);
    let ran = hub.command(&["reload"]);
    assert_eq!(ran.code, 78, "{}{}", ran.out, ran.err);
    assert!(format!("{}{}", ran.out, ran.err).contains("nologgin"), "{}{}", ran.out, ran.err);
    assert!(accepts("captain@ship.example"), "the old configuration stays in force");
}

#[test]
fn sighup_reloads_too() {
    let held = Destination::held("tcp_dialup", "site7.example", 1);
    let new = Destination::held("tcp_ship", "ship.example", 1);
    let mut hub = hub("sighup", &[held]);
    hub.start();
    hub.write("sluice.cnf", &configuration("allowetrn", &[held, new]));
    hub.hang_up();
    wait_for("the new rule is in force", SOON, || {
        let mut client = hub.talk();
        client.want("MAIL FROM:<a@origin.example>", 250);
        client.ask("RCPT TO:<captain@ship.example>").is_ok_and(|reply| reply.code == 250)
    });
    assert!(hub.runs());
}

#[test]
fn a_periodic_channel_runs_at_its_interval() {
    let sink = Sink::start();
    let mut hub = hub("periodic", &[Destination::held("tcp_dialup", "site7.example", sink.port())]);
    hub.write("option.dat", "SPOOL_DIR=../spool\nPOST_INTERVAL=3s\n");
    hub.start();
    Batch::new(hub.address(), "fred@site7.example", 2).send_all();
    sink.wait(2, Duration::from_secs(30));
}

#[test]
fn help_teaches() {
    let site = hub("help", &[]);
    for command in
        [&["run"][..], &["check"], &["test", "rewrite"], &["trigger"], &["queue", "summarize"], &["reload"]]
    {
        let output = std::process::Command::new(sluice_testkit::built("sluice"))
            .args(command)
            .arg("--help")
            .output()
            .expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("--config"), "{command:?}: {text}");
        assert!(text.lines().count() > 8, "{command:?} is terse:\n{text}");
    }
    drop(site);
}

#[test]
fn a_message_that_cannot_be_read_is_listed_with_the_reason() {
    let mut hub = hub("unreadable", &[Destination::held("tcp_site", "site.example", 1)]);
    hub.start();
    Batch::new(hub.address(), "fred@site.example", 2).send_all();
    let rows = hub.json(&["queue", "list"]);
    assert!(rows.len() == 2 && rows.iter().all(|row| row["error"].is_null()), "{rows:?}");
    let segment = hub.folder().join("spool/segment-0000000001");
    let mut content = std::fs::read(&segment).expect("the segment");
    let address = b"fred@site.example";
    let at = content.windows(address.len()).position(|bytes| bytes == address).expect("the first envelope");
    content[at] ^= 1;
    std::fs::write(&segment, content).expect("our own spool");
    let rows = hub.json(&["queue", "list"]);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[0]["error"].as_str().is_some_and(|error| error.contains("damaged")), "{rows:?}");
    assert!(rows[1]["error"].is_null());
    hub.stop();
}
