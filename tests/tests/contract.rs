//! The contract with plugins, seen from outside: one of its first version still delivers, and one that brings mail in is polled.

use sluice_testkit::{Sink, Site, wait_for, watch};
use sluice_tests::{Destination, SOON, WHILE, hub, plugin_in_c};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first version of the contract: its header, a plugin, and the library that was built of both.
fn first(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/host/tests/fixtures/first").join(file)
}

/// Mail that goes through this library is all there.
fn delivers(name: &str, library: &Path) {
    let mut hub = hub(name, &[Destination::direct("tcp_old", "old.example", 1)]);
    let kept = hub.folder().join("kept");
    hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_old]\nMASTER_PLUGIN={}\n", library.display()));
    hub.write("tcp_old_option", &format!("FILE={}\n", kept.display()));
    hub.start();
    let to = ["fred@old.example", "kim@old.example"];
    let reply = hub.talk().deliver("a@origin.example", &to, b"Subject: old friends\r\n\r\n.dot\r\n");
    assert_eq!(reply.expect("an answer").code, 250);
    hub.wait_for_waiting(None, 0, SOON);
    let text = fs::read_to_string(&kept).expect("what was kept");
    assert!(
        text.contains("a@origin.example to fred@old.example\r\n") && text.contains("to kim@old.example\r\n"),
        "{text}"
    );
    assert!(text.ends_with("Subject: old friends\r\n\r\n..dot\r\n"), "{text}");
    assert!(hub.log().contains("kept by a plugin of the first version"), "{}", hub.log());
    hub.stop();
}

/// The library was built once, on x86-64, and is never built again.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_library_built_for_the_first_version_still_delivers() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libsluice_first.so");
    fs::copy(first("libsluice_first.so"), &library).expect("a copy");
    fs::set_permissions(&library, Permissions::from_mode(0o755)).expect("its mode");
    delivers("first-library", &library);
}

#[test]
fn the_source_of_that_library_delivers_with_the_header_of_then_and_of_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include");
    for (name, include) in [("then", first("")), ("now", now)] {
        // A header beside the source would be found first: the source is compiled elsewhere.
        let source = folder.path().join(format!("{name}.c"));
        fs::copy(first("plugin.c"), &source).expect("a copy");
        let library = folder.path().join(format!("libsluice_{name}.so"));
        let output = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Werror", "-fPIC", "-shared", "-I"])
            .arg(&include)
            .arg(&source)
            .arg("-o")
            .arg(&library)
            .output()
            .expect("a compiler");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        fs::set_permissions(&library, Permissions::from_mode(0o755)).expect("its mode");
        delivers(&format!("first-{name}"), &library);
    }
}

/// A hub with channels of the polled plugin: `asked`, with these keywords, and `silent`, which is `slave`.
fn polled(name: &str, keywords: &str, options: &str, section: &str, sink: &Sink) -> Site {
    let hub = hub(name, &[Destination::direct("tcp_next", "next.example", sink.port())]);
    let plugin = plugin_in_c("crates/host/tests/fixtures/poller.c", "poller", hub.folder());
    let text = fs::read_to_string(hub.configuration().join("sluice.cnf")).expect("the file");
    hub.write(
        "sluice.cnf",
        &format!("{text}\nasked {keywords}\nASKED-DAEMON\n\nsilent slave\nSILENT-DAEMON\n"),
    );
    hub.write("option.dat", &format!("SPOOL_DIR=../spool\n{options}"));
    let plugin = plugin.display();
    hub.write(
        "job_controller.cnf",
        &format!(
            "[CHANNEL=asked]\nMASTER_PLUGIN={plugin}\n{section}\n[CHANNEL=silent]\nMASTER_PLUGIN={plugin}\n"
        ),
    );
    hub
}

/// How often a poll of this channel has brought its message.
fn polls(sink: &Sink, channel: &str) -> usize {
    let subject = format!("Subject: polled {channel}\r\n");
    let all = sink.arrived();
    all.iter().filter(|one| String::from_utf8_lossy(&one.content).contains(&subject)).count()
}

#[test]
fn the_periodic_service_polls_a_channel_without_mail() {
    let sink = Sink::start();
    let mut hub = polled("poll-service", "periodic", "POST_INTERVAL=1s\n", "", &sink);
    hub.start();
    wait_for("three polls", SOON, || polls(&sink, "asked") >= 3);
    assert_eq!(polls(&sink, "silent"), 0, "nobody runs a slave");
    let arrived = sink.arrived();
    assert_eq!(
        (arrived[0].from.as_str(), &arrived[0].to[..]),
        ("remote@far.example", &["fred@next.example".to_owned()][..])
    );
    hub.stop();
}

#[test]
fn an_order_polls_once_and_without_it_nobody_is_asked_before_the_service() {
    let sink = Sink::start();
    let mut hub = polled("poll-order", "periodic", "POST_INTERVAL=1h\n", "", &sink);
    hub.start();
    watch("nobody asks by himself", WHILE, || sink.count() == 0);
    for number in 1..=2 {
        hub.json(&["trigger", "#asked"]);
        wait_for("the poll", SOON, || polls(&sink, "asked") == number);
    }
    watch("one poll for each order", WHILE, || polls(&sink, "asked") == 2);
    hub.stop();
}

#[test]
fn a_channel_with_a_schedule_is_polled_at_its_times() {
    let sink = Sink::start();
    let mut hub = polled("poll-schedule", "periodic", "POST_INTERVAL=1h\n", "SCHEDULE=every 1s\n", &sink);
    hub.start();
    wait_for("two polls", SOON, || polls(&sink, "asked") >= 2);
    hub.stop();
}
