//! Real plugins in a folder of their own, and a channel whose story can be read as text.
#![allow(dead_code)] // Each test program uses its part.

use sluice_host::{Cause, Delivery, Host, HostEvent, Instance, Lease, Plugin, Recipient, Setting, Spec};
use sluice_mail::{Outcome, RecipientWishes, Time};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes so long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The plugins' folder in this test run's target folder; they are built when they are not current.
fn built() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // target/<profile>/deps/<this test>
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.args([
            "build",
            "--quiet",
            "-p",
            "sluice-misbehaving",
            "-p",
            "sluice-bitbucket",
            "--target-dir",
        ]);
        cargo.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.file_name().is_some_and(|name| name == "release") {
            cargo.arg("--release");
        }
        let run = cargo.output().unwrap();
        assert!(run.status.success(), "the plugins do not build: {}", String::from_utf8_lossy(&run.stderr));
        profile.to_owned()
    })
}

/// A folder with copies of the real plugins, with permissions that do not depend on this machine's umask.
pub(crate) fn plugin_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["misbehaving", "bitbucket"] {
        let file = format!("libsluice_{name}.so");
        std::fs::copy(built().join(&file), folder.path().join(&file)).unwrap();
        mode(&folder.path().join(&file), 0o755);
    }
    folder
}

pub(crate) fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Compiles a C file of `tests/fixtures` into a library, with macros defined.
pub(crate) fn compile(folder: &Path, fixture: &str, name: &str, defines: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = folder.join(format!("libsluice_{name}.so"));
    let run = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I"])
        .arg(root.join("../../include"))
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg(root.join("tests/fixtures").join(fixture))
        .arg("-o")
        .arg(&file)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    mode(&file, 0o755);
    file
}

pub(crate) fn misbehaving() -> (tempfile::TempDir, Host, Arc<Plugin>) {
    let folder = plugin_folder();
    let host = Host::new(vec![folder.path().to_owned()]);
    let plugin = host.load("misbehaving").unwrap();
    (folder, host, plugin)
}

/// A channel in a bad mood, with limits that a test can wait for.
pub(crate) fn spec(name: &str, mode: &str, pause: Duration) -> Spec {
    let settings = vec![
        Setting::fact("channel", name),
        Setting::keyword("smtp", ""),
        Setting::option("MODE", mode),
        Setting::option("PAUSE", pause.as_millis().to_string()),
    ];
    Spec {
        pause_first: Duration::from_millis(50),
        pause_max: Duration::from_millis(200),
        ..Spec::new(name, settings)
    }
}

/// One message with this number for these recipients.
pub(crate) fn delivery(number: u64, recipients: &[u32]) -> Delivery {
    let recipient = |index: &u32| Recipient {
        index: *index,
        address: format!("user{index}@site.example"),
        original: format!("User{index}@site.example"),
        wishes: RecipientWishes::default(),
    };
    Delivery {
        token: number,
        id: format!("Q{number}"),
        sender: "sender@hub.example".to_owned(),
        source_channel: "tcp_local".to_owned(),
        domain: "site.example".into(),
        recipients: recipients.iter().map(recipient).collect(),
        content: Arc::new(b"Subject: test\r\n\r\n..dot\r\n".to_vec()),
        arrived: Time(1_000),
        ..Delivery::blank()
    }
}

/// A lease with this number; its messages are numbered from ten times that.
pub(crate) fn lease(number: u64, messages: &[&[u32]]) -> Lease {
    let deliveries = (number * 10..).zip(messages).map(|(number, to)| delivery(number, to)).collect();
    Lease { lease: number, poll: false, deliveries }
}

/// A channel and what it has told so far.
pub(crate) struct Running {
    pub(crate) instance: Instance,
    events: Receiver<HostEvent>,
    pub(crate) seen: Vec<HostEvent>,
}

impl Running {
    pub(crate) fn start(host: &Host, plugin: &Arc<Plugin>, spec: Spec) -> Running {
        let (sender, events) = channel();
        let sink = Arc::new(move |event| {
            let _ = sender.send(event);
        });
        Running { instance: Instance::start(host, plugin.clone(), spec, sink), events, seen: Vec::new() }
    }

    pub(crate) fn offer(&self, lease: Lease) {
        self.instance.offer(lease).unwrap();
    }

    /// Waits until the events fulfil `wanted`.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&[HostEvent]) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !wanted(&self.seen) {
            match self.events.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
                Ok(event) => self.seen.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("waited in vain for {what}; so far:\n{}", self.story())
                }
            }
        }
    }

    pub(crate) fn until_leases_done(&mut self, count: usize) {
        let done = |event: &&HostEvent| event.lease_done().is_some();
        self.until("leases to be done", |seen| seen.iter().filter(done).count() >= count);
    }

    pub(crate) fn until_failures(&mut self, count: usize) {
        let failed = |event: &&HostEvent| matches!(event, HostEvent::WorkerFailed { .. });
        self.until("failures", |seen| seen.iter().filter(failed).count() >= count);
    }

    pub(crate) fn until_stopped(&mut self) {
        self.until("the end", |seen| matches!(seen.last(), Some(HostEvent::Stopped { .. })));
    }

    /// Waits until an offer is not refused because of a rest.
    pub(crate) fn offer_after_rest(&self, lease: Lease) {
        let mut offer = sluice_host::Offer::from(lease);
        let give_up = Instant::now() + PATIENCE;
        while let Err(error) = self.instance.offer(offer) {
            assert!(matches!(error.why, sluice_host::Refusal::Resting(_)), "{:?}", error.why);
            assert!(Instant::now() < give_up, "the rest does not end");
            offer = error.offer;
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn story(&self) -> String {
        story(&self.seen)
    }

    /// Nothing more is told within this time.
    pub(crate) fn quiet_for(&mut self, time: Duration) {
        if let Ok(event) = self.events.recv_timeout(time) {
            panic!("one event too many: {event:?}, after\n{}", self.story());
        }
    }
}

/// Events as lines, without what differs from run to run.
pub(crate) fn story(events: &[HostEvent]) -> String {
    let lines: Vec<String> = events.iter().map(line).collect();
    lines.join("\n")
}

fn line(event: &HostEvent) -> String {
    match event {
        HostEvent::Finished { token, lease, outcomes, unsettled, cause, lease_done } => {
            let settled: Vec<String> =
                outcomes.iter().map(|(index, outcome)| format!(" {index} {}", said(outcome))).collect();
            let open = if unsettled.is_empty() { String::new() } else { format!(" open {unsettled:?}") };
            let cause = if *cause == Cause::Done { String::new() } else { format!(" ({cause:?})") };
            let done = if *lease_done { format!("\nlease {lease} done") } else { String::new() };
            format!("message {token}:{}{open}{cause}{done}", settled.join(","))
        }
        HostEvent::LeaseDone { lease } => format!("lease {lease} done"),
        HostEvent::WorkerFailed { failure, .. } => format!("failed: {}", without_line(&failure.to_string())),
        HostEvent::Stopped { reason, left_behind, .. } => {
            format!("stopped: {reason}; {left_behind} left behind")
        }
    }
}

fn said(outcome: &Outcome) -> String {
    let word = match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Deferred { .. } => "deferred",
        Outcome::Failed { .. } => "failed",
    };
    format!("{word} {} {}", outcome.status(), outcome.text())
}

/// `lib.rs:12:5` becomes `lib.rs`.
fn without_line(text: &str) -> String {
    match text.split_once("lib.rs:") {
        None => text.to_owned(),
        Some((before, after)) => {
            let after = after.trim_start_matches(|one: char| one.is_ascii_digit() || one == ':');
            format!("{before}lib.rs: {}", after.trim_start())
        }
    }
}

/// How often each message was reported back.
pub(crate) fn times_finished(events: &[HostEvent]) -> BTreeMap<u64, usize> {
    let mut times = BTreeMap::new();
    for event in events {
        if let HostEvent::Finished { token, .. } = event {
            *times.entry(*token).or_default() += 1;
        }
    }
    times
}

/// Waits for a condition.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
