//! Isolated channels with real plugins, whose story can be read as text. A child is this test program again.
#![allow(dead_code)] // Each test program uses its part.

use sluice_host::{Cause, Content, Delivery, Host, HostEvent, Lease, Place, Recipient, Setting, Spec};
use sluice_isolate::{Isolated, Limits, Program};
use sluice_mail::{Outcome, RecipientWishes};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes so long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const IS_CHILD: &str = "SLUICE_TEST_CHILD";

/// To be called by a test named `child`: where this program is a child, it does not return.
pub(crate) fn be_a_child() {
    if std::env::var_os(IS_CHILD).is_some() {
        sluice_isolate::run_child();
    }
}

/// This test program as a child.
pub(crate) fn program() -> Program {
    Program {
        path: "/proc/self/exe".into(),
        arguments: ["child", "--exact", "--nocapture", "--test-threads=1"].map(Into::into).to_vec(),
        environment: vec![(IS_CHILD.into(), "1".into())],
    }
}

/// The plugins' folder in this test run's target folder; they are built when they are not current.
fn built() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // target/<profile>/deps/<this test>
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.args(["build", "--quiet", "-p", "sluice-misbehaving", "--target-dir"]);
        cargo.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.file_name().is_some_and(|name| name == "release") {
            cargo.arg("--release");
        }
        let run = cargo.output().unwrap();
        assert!(run.status.success(), "the plugins do not build: {}", String::from_utf8_lossy(&run.stderr));
        profile.to_owned()
    })
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A channel under test.
pub(crate) struct Story {
    pub(crate) channel: Isolated,
    events: Receiver<HostEvent>,
    pub(crate) folder: tempfile::TempDir,
    content: Arc<InFile>,
    tokens: AtomicU64,
}

/// How it is to be.
pub(crate) struct How {
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) limits: Limits,
    pub(crate) change: fn(&mut Spec),
}

impl How {
    pub(crate) fn mode(mode: &str) -> How {
        How {
            settings: vec![("MODE", mode.to_owned()), ("PAUSE", "60000".to_owned())],
            limits: Limits::default(),
            change: |spec| spec.pause_first = Duration::from_millis(100),
        }
    }
}

impl Story {
    pub(crate) fn of(mode: &str) -> Story {
        Story::with(How::mode(mode))
    }

    pub(crate) fn with(how: How) -> Story {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libsluice_misbehaving.so");
        std::fs::copy(built().join("libsluice_misbehaving.so"), &file).unwrap();
        mode(&file, 0o755);
        Story::begin(folder, "misbehaving", how).unwrap()
    }

    /// With a plugin in C.
    pub(crate) fn in_c(fixture: &str, how: How) -> Story {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = folder.path().join("libsluice_c.so");
        let run = Command::new("cc")
            .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I"])
            .arg(root.join("../../include"))
            .arg(root.join("tests/fixtures").join(fixture))
            .arg("-o")
            .arg(&file)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        mode(&file, 0o755);
        Story::begin(folder, "c", how).unwrap()
    }

    pub(crate) fn begin(folder: tempfile::TempDir, plugin: &str, how: How) -> Result<Story, String> {
        let host = Host::new(vec![folder.path().to_owned()]);
        let (sender, events) = channel();
        let sink: sluice_host::Events = Arc::new(move |event| {
            let _ = sender.send(event); // Fails when the test is over.
        });
        let settings = how.settings.iter().map(|(name, value)| Setting::option(*name, value)).collect();
        let mut spec = Spec::new("tcp_bad", settings);
        (how.change)(&mut spec);
        let content = Arc::new(InFile::new(folder.path()));
        let channel = Isolated::start(&host, &program(), plugin, spec, how.limits, &sink)?;
        Ok(Story { channel, events, folder, content, tokens: AtomicU64::new(1) })
    }

    /// A delivery with two recipients, whose content lies in a file.
    pub(crate) fn delivery(&self, name: &str) -> Delivery {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        Delivery {
            token,
            id: format!("{name}-{token}"),
            sender: "someone@hub.example".to_owned(),
            source_channel: "tcp_local".to_owned(),
            domain: "site.example".into(),
            recipients: [0, 3]
                .map(|index| Recipient {
                    index,
                    address: format!("{name}@site.example"),
                    original: format!("{name}@site.example"),
                    wishes: RecipientWishes::default(),
                })
                .to_vec(),
            content: Arc::clone(&self.content) as Arc<dyn Content>,
            ..Delivery::blank()
        }
    }

    pub(crate) fn offer(&self, lease: u64, deliveries: Vec<Delivery>) {
        self.try_offer(lease, deliveries).unwrap();
    }

    pub(crate) fn try_offer(
        &self,
        lease: u64,
        deliveries: Vec<Delivery>,
    ) -> Result<(), sluice_host::Refusal> {
        self.channel.offer(Lease { lease, poll: false, deliveries }).map_err(|error| error.why)
    }

    /// The same, as soon as it is taken.
    pub(crate) fn offer_soon(&self, lease: u64, deliveries: &[Delivery]) {
        let begun = Instant::now();
        while let Err(why) = self.try_offer(lease, deliveries.to_vec()) {
            assert!(begun.elapsed() < PATIENCE, "{why:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn next(&self) -> HostEvent {
        match self.events.recv_timeout(PATIENCE) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => panic!("nothing happens"),
            Err(RecvTimeoutError::Disconnected) => panic!("nothing will happen any more"),
        }
    }

    pub(crate) fn try_next(&self) -> Option<HostEvent> {
        self.events.try_recv().ok()
    }

    /// The next events in words, so many of them.
    pub(crate) fn story(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| short(&self.next())).collect()
    }

    /// Events until the end, which is asked for.
    pub(crate) fn end(&self) -> Vec<String> {
        self.channel.stop(PATIENCE);
        let mut story = Vec::new();
        loop {
            let event = self.next();
            story.push(short(&event));
            if matches!(event, HostEvent::Stopped { .. }) {
                return story;
            }
        }
    }
}

/// An event in short.
pub(crate) fn short(event: &HostEvent) -> String {
    match event {
        HostEvent::Finished { token, lease, outcomes, unsettled, cause, lease_done } => {
            let mut words: Vec<String> =
                outcomes.iter().map(|(index, outcome)| outcome_in_short(*index, outcome)).collect();
            words.extend((!unsettled.is_empty()).then(|| format!("not {unsettled:?}")));
            match cause {
                Cause::Done => {}
                Cause::Crashed { alone, .. } => words.push(format!("crashed, alone {alone}")),
                cause => words.push(format!("{cause:?}")),
            }
            let end = if *lease_done { ", last" } else { "" };
            format!("{token} of {lease}: {}{end}", words.join(" "))
        }
        HostEvent::LeaseDone { lease } => format!("{lease} done"),
        HostEvent::WorkerFailed { failure, .. } => format!("{failure}"),
        HostEvent::Stopped { reason, left_behind, .. } => format!("stopped: {reason}, {left_behind} left"),
    }
}

fn outcome_in_short(index: u32, outcome: &Outcome) -> String {
    format!("{index} {} ({})", outcome.status(), outcome.text())
}

/// Content that lies in a file, with something of others around it.
pub(crate) struct InFile {
    number: u32,
    pub(crate) path: PathBuf,
    octets: Vec<u8>,
}

impl InFile {
    pub(crate) const TEXT: &'static [u8] = b"Subject: x\r\n\r\nHello.\r\n";

    fn new(folder: &Path) -> InFile {
        InFile::named(folder, "segment", 1)
    }

    pub(crate) fn named(folder: &Path, name: &str, number: u32) -> InFile {
        let path = folder.join(name);
        let mut octets = b"before".to_vec();
        octets.extend_from_slice(Self::TEXT);
        octets.extend_from_slice(b"after");
        File::create_new(&path).unwrap().write_all(&octets).unwrap();
        InFile { number, path, octets }
    }
}

impl Content for InFile {
    fn pieces<'a>(&'a self, take: &mut dyn FnMut(&'a [u8])) {
        let (one, other) = self.octets[6..6 + Self::TEXT.len()].split_at(9);
        take(one);
        take(other);
    }

    fn places<'a>(&'a self, take: &mut dyn FnMut(Place<'a>)) -> bool {
        let place = |offset, length| Place { file: self.number, path: &self.path, offset, length };
        take(place(6, 9));
        take(place(15, Self::TEXT.len() as u64 - 9));
        true
    }
}
