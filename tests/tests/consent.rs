//! The question before an act on many: what counts as yes, and what is no, at a terminal and without one.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use sluice_testkit::{Batch, END_OF_INPUT, Sink, Site, built};
use sluice_tests::{Destination, hub};

const HOLD: [&str; 4] = ["queue", "hold", "--sender", "boss@origin.example"];

fn with_mail(name: &str, sink: &Sink) -> Site {
    let mut hub = hub(name, &[Destination::held("tcp_dialup", "site7.example", sink.port())]);
    hub.start();
    for user in ["fred", "mary"] {
        let to = vec![format!("{user}@site7.example")];
        Batch { from: "boss@origin.example".into(), to, ..Batch::new(hub.address(), "", 1) }.send_all();
    }
    hub
}

fn held(hub: &Site) -> usize {
    hub.json(&["queue", "list", "--state", "held"]).len()
}

#[test]
fn only_yes_is_yes_at_a_terminal() {
    let sink = Sink::start();
    let hub = with_mail("consent", &sink);
    let long = format!("{}\n", "yes ".repeat(500));
    for answer in
        ["n\n", "no\n", "\n", "yess\n", "y es\n", "j\n", "1\n", "\u{1b}[A\n", "ÿ\n", END_OF_INPUT, &long]
    {
        let ran = hub.command_answered(&HOLD, "hold them? [y/N]", answer);
        assert_eq!(ran.code, 64, "{answer:?}: {}", ran.err);
        assert!(
            ran.err.contains("2 entries of 2 messages") && ran.err.contains("nothing was done"),
            "{answer:?}: {}",
            ran.err
        );
        assert_eq!((held(&hub), ran.out.as_str()), (0, ""), "{answer:?}");
    }
    for answer in ["y\n", "Y\n", "yes\n", " YES \n"] {
        let ran = hub.command_answered(&HOLD, "hold them? [y/N]", answer);
        assert_eq!(ran.code, 0, "{answer:?}: {}", ran.err);
        assert!(ran.out.contains("2 entries: held"), "{answer:?}: {}{}", ran.out, ran.err);
        assert_eq!(held(&hub), 2, "{answer:?}");
        hub.json(&["queue", "release", "--state", "held", "--yes"]);
    }
    // With --yes nobody is asked; with nothing to do neither.
    let ran = hub.command_answered(&[&HOLD[..], &["--yes"]].concat(), "[y/N]", "n\n");
    assert!(ran.code == 0 && !ran.err.contains("[y/N]"), "{}{}", ran.code, ran.err);
    let ran = hub.command_answered(&["queue", "hold", "--sender", "nobody@origin.example"], "[y/N]", "n\n");
    assert!(ran.code == 0 && ran.err.contains("nothing to do"), "{}{}", ran.code, ran.err);
}

#[test]
fn where_there_is_no_terminal_nothing_is_done_whatever_is_written() {
    let sink = Sink::start();
    let hub = with_mail("consent-none", &sink);
    let mut command = Command::new(built("sluice"));
    command.args(HOLD).arg("--config").arg(hub.configuration());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended before it could read this.
    let _ = child.stdin.take().unwrap().write_all(b"yes\n");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{err}");
    assert!(
        err.contains("2 entries of 2 messages") && err.contains("--yes is needed") && !err.contains("[y/N]"),
        "{err}"
    );
    assert_eq!((held(&hub), output.stdout.len()), (0, 0));
}
