//! The hostile fixture: a channel plugin that fails in every way that safe code can.
//!
//! What it does is chosen by its option `MODE`. It is never shipped; the host's tests and the tests of the whole
//! program load it to see that its failures cost its own channel and no mail.
//!
//! # Not here
//! Failures of the library itself (wrong version, missing symbol, null functions): tests compile those from C.
#![forbid(unsafe_code)]

use rustix::io::Errno;
use rustix::process::{Signal, chroot, getpid, getppid, kill_process, test_kill_process};
use sluice_sdk::{
    Channel, Context, CreateError, Delivery, Level, Log, Next, OptionKind, OptionSpec, Outcome, Routine,
    RunError, Status, Submission, Worker,
};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    PanicInCreate,
    FailInCreate,
    HangInCreate,
    AbortInCreate,
    PanicInRun,
    PanicOnDelivery,
    PanicOnce,
    PanicInDestroy,
    PanicWhenStopped,
    Hang,
    HangWhenAddressed,
    HangInStop,
    Slow,
    NeverSettles,
    SettlesTwice,
    SettlesWrongIndex,
    SettlesLate,
    LooksAtItsTime,
    LooksAhead,
    ReturnsEarly,
    ReturnsError,
    Leaks,
    Hoards,
    LogsGarbage,
    IgnoresStop,
    EnqueuesAgain,
    EnqueuesNonsense,
    EnqueuesHuge,
    EnqueuesLate,
    EnqueuesForever,
    DefersAll,
    FailsAll,
    DeliversAll,
    Aborts,
    AbortsWhenAddressed,
    HoardsAndAborts,
    Exits,
    Segfaults,
    Devours,
    Burns,
    Floods,
    ReachesOut,
    CommandsTheHub,
    TellsWhere,
}

const MODES: &[(&str, Mode)] = &[
    ("panic_in_create", Mode::PanicInCreate),
    ("fail_in_create", Mode::FailInCreate),
    ("hang_in_create", Mode::HangInCreate),
    ("abort_in_create", Mode::AbortInCreate),
    ("panic_in_run", Mode::PanicInRun),
    ("panic_on_delivery", Mode::PanicOnDelivery),
    ("panic_once", Mode::PanicOnce),
    ("panic_in_destroy", Mode::PanicInDestroy),
    ("panic_when_stopped", Mode::PanicWhenStopped),
    ("hang", Mode::Hang),
    ("hang_when_addressed", Mode::HangWhenAddressed),
    ("hang_in_stop", Mode::HangInStop),
    ("slow", Mode::Slow),
    ("never_settles", Mode::NeverSettles),
    ("settles_twice", Mode::SettlesTwice),
    ("settles_wrong_index", Mode::SettlesWrongIndex),
    ("settles_late", Mode::SettlesLate),
    ("looks_at_its_time", Mode::LooksAtItsTime),
    ("looks_ahead", Mode::LooksAhead),
    ("returns_early", Mode::ReturnsEarly),
    ("returns_error", Mode::ReturnsError),
    ("leaks", Mode::Leaks),
    ("hoards", Mode::Hoards),
    ("logs_garbage", Mode::LogsGarbage),
    ("ignores_stop", Mode::IgnoresStop),
    ("enqueues_again", Mode::EnqueuesAgain),
    ("enqueues_nonsense", Mode::EnqueuesNonsense),
    ("enqueues_huge", Mode::EnqueuesHuge),
    ("enqueues_late", Mode::EnqueuesLate),
    ("enqueues_forever", Mode::EnqueuesForever),
    ("defers_all", Mode::DefersAll),
    ("fails_all", Mode::FailsAll),
    ("delivers_all", Mode::DeliversAll),
    ("aborts", Mode::Aborts),
    ("aborts_when_addressed", Mode::AbortsWhenAddressed),
    ("hoards_and_aborts", Mode::HoardsAndAborts),
    ("exits", Mode::Exits),
    ("segfaults", Mode::Segfaults),
    ("devours", Mode::Devours),
    ("burns", Mode::Burns),
    ("floods", Mode::Floods),
    ("reaches_out", Mode::ReachesOut),
    ("commands_the_hub", Mode::CommandsTheHub),
    ("tells_where", Mode::TellsWhere),
];

/// A channel that misbehaves.
#[derive(Debug)]
pub struct Misbehaving {
    mode: Mode,
    pause: Duration,
    places: [PathBuf; 2],
    log: Log,
    /// How many workers of this channel have panicked on purpose.
    panicked: AtomicU32,
    /// Whether `stop` has been called, in the mode that waits for it.
    stopped: Mutex<bool>,
    stops: Condvar,
}

impl Channel for Misbehaving {
    const NAME: &'static str = "misbehaving";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DESCRIPTION: &'static str = "fails in every way; for tests only";
    const OPTIONS: &'static [OptionSpec] = &[
        OptionSpec::new(
            "MODE",
            OptionKind::Text,
            "How to misbehave, such as panic_on_delivery, hang or never_settles. An unknown one is refused with the list.",
        )
        .default_text("delivers_all"),
        OptionSpec::new("PAUSE", OptionKind::Integer, "Milliseconds that hanging and slow modes take.")
            .default_text("60000"),
        OptionSpec::new("PLACE", OptionKind::Text, "A folder that `reaches_out` tries to write to, and the control socket for `commands_the_hub`.")
            .default_text("/nowhere"),
        OptionSpec::new(
            "FOLDER",
            OptionKind::Path,
            "A folder of its own, to which `reaches_out` writes too.",
        ),
    ];

    const ROUTINES: &'static [Routine] = &[
        Routine { name: "panics", call: |argument| panic!("asked for {argument}") },
        Routine { name: "misses", call: |_| None },
        Routine { name: "upper", call: |argument| Some(argument.to_uppercase()) },
        Routine { name: "shouts", call: |argument| Some(argument.repeat(100_000)) },
        Routine { name: "forges", call: |_| Some("a\r\nRCPT TO:<b>".to_owned()) },
        Routine {
            name: "hangs",
            call: |argument| {
                thread::sleep(Duration::from_millis(argument.parse().unwrap_or(60_000)));
                Some("at last".to_owned())
            },
        },
    ];

    fn create(context: Context) -> Result<Self, CreateError> {
        let asked = context.option_text("MODE")?;
        let Some(&(_, mode)) = MODES.iter().find(|(name, _)| *name == asked) else {
            let names: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
            return Err(CreateError::refused(format!(
                "MODE is `{asked}`; it must be one of {}",
                names.join(", ")
            )));
        };
        let pause = Duration::from_millis(context.option_u64("PAUSE", 0..=3_600_000)?);
        match mode {
            Mode::PanicInCreate => panic!("a panic in create"),
            Mode::FailInCreate => return Err(CreateError::failed("the moon is in the wrong house")),
            Mode::HangInCreate => thread::sleep(pause),
            Mode::AbortInCreate => std::process::abort(),
            _ => {}
        }
        let places = ["PLACE", "FOLDER"].map(|name| context.option_text(name).unwrap_or_default().into());
        Ok(Misbehaving {
            mode,
            pause,
            places,
            log: context.logger(),
            panicked: AtomicU32::new(0),
            stopped: Mutex::default(),
            stops: Condvar::new(),
        })
    }

    fn run(&self, worker: &mut Worker<'_>) -> Result<(), RunError> {
        let mut hoard = Vec::new();
        loop {
            match worker.next(Duration::from_millis(100)) {
                Next::Delivery(delivery) => match self.mode {
                    Mode::ReturnsEarly => return Ok(()),
                    Mode::ReturnsError => return Err(RunError::new("no network today")),
                    Mode::Hoards | Mode::HoardsAndAborts => hoard.push(delivery),
                    Mode::LooksAhead => self.look_ahead(worker, delivery),
                    Mode::EnqueuesAgain => again(worker, &delivery),
                    Mode::EnqueuesNonsense => nonsense(worker, delivery),
                    Mode::EnqueuesHuge => huge(worker, delivery),
                    Mode::EnqueuesLate => {
                        thread::sleep(self.pause);
                        again(worker, &delivery);
                    }
                    Mode::EnqueuesForever => {
                        // Until it is told that its time is over.
                        let submission = Submission::again(&delivery).to("fred@site.example");
                        while worker.enqueue(&submission).is_ok() {}
                    }
                    _ => self.deliver(delivery),
                },
                Next::Idle if self.mode == Mode::PanicInRun => panic!("a panic between deliveries"),
                Next::Idle if self.mode == Mode::HoardsAndAborts && hoard.iter().any(is_deadly) => {
                    std::process::abort()
                }
                Next::Idle => {
                    for delivery in hoard.drain(..).rev() {
                        delivered(delivery);
                    }
                }
                Next::Poll => self.log.write(Level::Info, "polled"),
                Next::Stop if self.mode == Mode::IgnoresStop => thread::sleep(self.pause),
                Next::Stop if self.mode == Mode::PanicWhenStopped => panic!("a panic at the end"),
                Next::Stop => {
                    if self.mode == Mode::HangInStop {
                        self.wait_for_stop();
                    }
                    return Ok(());
                }
            }
        }
    }

    fn stop(&self) {
        if self.mode == Mode::HangInStop {
            *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.stops.notify_all();
            thread::sleep(self.pause);
        }
    }
}

impl Drop for Misbehaving {
    fn drop(&mut self) {
        assert!(self.mode != Mode::PanicInDestroy, "a panic in destroy");
    }
}

impl Misbehaving {
    /// `stop` is called only while there are workers, and one that goes at once is often gone before.
    fn wait_for_stop(&self) {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.stops.wait_timeout_while(stopped, self.pause, |stopped| !*stopped);
    }

    fn deliver(&self, delivery: Delivery<'_>) {
        let first = delivery.recipients().next().map_or(0, |recipient| recipient.index);
        let done = Outcome::delivered("done");
        match self.mode {
            Mode::PanicOnDelivery => panic!("a panic on {}", delivery.id()),
            Mode::PanicOnce if self.panicked.fetch_add(1, Ordering::Relaxed) == 0 => {
                // Half done: the first recipient has been settled, the others have not.
                if let Some(recipient) = delivery.take_recipients().next() {
                    recipient.settle(done);
                }
                panic!("a panic after the first recipient");
            }
            Mode::Hang => thread::sleep(self.pause),
            Mode::HangWhenAddressed if delivery.recipients().any(|one| one.address.contains("hang")) => {
                thread::sleep(self.pause);
            }
            Mode::HangWhenAddressed if delivery.recipients().any(|one| one.address.contains("wait")) => {
                // Until somebody says so.
                while !self.places[0].join("go-on").exists() {
                    thread::sleep(Duration::from_millis(5));
                }
                delivered(delivery);
            }
            Mode::Slow => {
                thread::sleep(self.pause);
                delivered(delivery);
            }
            Mode::NeverSettles => {}
            Mode::SettlesTwice => {
                delivery.settle_unguarded(first, &done);
                delivery
                    .settle_unguarded(first, &Outcome::failed(Status::new(5, 0, 0), "on second thoughts"));
                delivered_rest(delivery);
            }
            Mode::SettlesWrongIndex => {
                delivery.settle_unguarded(u32::MAX, &done);
                delivery.settle_unguarded(first, &Outcome::deferred(Status::new(9, 0, 0), "no such class"));
                delivery
                    .settle_unguarded(first, &Outcome::deferred(Status::new(4, 0, 1000), "no such detail"));
            }
            Mode::SettlesLate => {
                thread::sleep(self.pause);
                delivery.settle_unguarded(first, &done);
                // What was lent is still readable although it was taken away long ago.
                let size: usize = delivery.pieces().map(<[u8]>::len).sum();
                delivery.log(Level::Info, &format!("late, after reading {size} bytes"));
            }
            Mode::LooksAtItsTime => {
                let text = format!("{} seconds left", delivery.remaining().as_secs());
                delivery.settle_all(&Outcome::delivered(text));
            }
            Mode::Leaks => std::mem::forget(delivery),
            Mode::LogsGarbage => {
                let garbage = "\u{1b}[2J\r\nfake line\0\u{202e}".repeat(1000);
                delivery.log(Level::Warn, &garbage);
                let peer = "p".repeat(5000);
                delivery.settle_all(&Outcome::delivered(garbage).from_peer(peer));
            }
            Mode::DefersAll => {
                delivery.settle_all(&Outcome::deferred(Status::new(4, 3, 2), "come back later"));
            }
            Mode::Aborts => std::process::abort(),
            Mode::AbortsWhenAddressed if is_deadly(&delivery) => std::process::abort(),
            Mode::Exits => std::process::exit(3),
            // The first one may only take the handler of the standard library away.
            Mode::Segfaults => loop {
                let _ = kill_process(getpid(), Signal::SEGV);
            },
            Mode::Devours => {
                let mut devoured = Vec::new();
                loop {
                    devoured.push(vec![1_u8; 1 << 20]);
                }
            }
            Mode::Burns => loop {
                std::hint::spin_loop();
            },
            Mode::Floods => {
                let line = "and another thing ".repeat(100);
                (0..20_000).for_each(|_| delivery.log(Level::Warn, &line));
                delivered(delivery);
            }
            Mode::ReachesOut => self.reach_out(delivery),
            Mode::CommandsTheHub => {
                let told = command(&self.places[0]).unwrap_or_else(|error| error.to_string());
                delivery.settle_all(&Outcome::deferred(Status::new(4, 0, 0), told));
            }
            Mode::TellsWhere => {
                let first = delivery.pieces().next().unwrap_or_default();
                let told = format!("{} at {:p}", delivery.body_size(), first.as_ptr());
                delivery.settle_all(&Outcome::delivered(told));
            }
            Mode::FailsAll => delivery.settle_all(&Outcome::failed(Status::new(5, 7, 1), "go away")),
            _ => delivered(delivery),
        }
    }
}

impl Misbehaving {
    /// One after the other, but each while the next is in hand already.
    fn look_ahead<'w>(&self, worker: &mut Worker<'w>, first: Delivery<'w>) {
        let mut at_hand = Some(first);
        while let Some(delivery) = at_hand {
            at_hand = match worker.next(Duration::ZERO) {
                Next::Delivery(next) => Some(next),
                Next::Idle | Next::Poll | Next::Stop => None,
            };
            thread::sleep(self.pause);
            delivered(delivery);
        }
    }

    /// Tries what only a process that is confined may not, and tells what came of it.
    fn reach_out(&self, delivery: Delivery<'_>) {
        let said = |result: Result<(), String>| result.err().unwrap_or_else(|| "done".to_owned());
        let write = |folder: &Path| {
            said(std::fs::write(folder.join("reached"), "x").map_err(|error| error.kind().to_string()))
        };
        let mut told =
            vec![format!("write {}", write(&self.places[0])), format!("own {}", write(&self.places[1]))];
        let number = |error: Errno| format!("errno {}", error.raw_os_error());
        // The signal that does nothing but ask whether another might be sent.
        let parent = getppid().map_or(Ok(()), test_kill_process).map_err(number);
        told.push(format!("signal {}", said(parent)));
        told.push(format!("root {}", said(chroot("/").map_err(number))));
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        told.push(format!("{descriptors} descriptors"));
        delivery.settle_all(&Outcome::delivered(told.join(", ")));
    }
}

/// What a hub answers, at its control socket, to somebody who wants to stop a channel.
fn command(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"{\"request\":\"channel-stop\",\"channels\":[\"tcp_next\"]}\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map(|_| answer)
}

/// It is addressed to somebody for whom a plugin dies.
fn is_deadly(delivery: &Delivery<'_>) -> bool {
    delivery.recipients().any(|recipient| recipient.address.contains("abort"))
}

/// As the channel `reprocess` does it.
fn again(worker: &Worker<'_>, delivery: &Delivery<'_>) {
    let mut submission = Submission::again(delivery).as_original();
    for recipient in delivery.recipients() {
        submission = submission.to_original(recipient.address, recipient.original);
    }
    match worker.enqueue(&submission) {
        Ok(answers) => {
            for (recipient, answer) in delivery.take_recipients().zip(answers) {
                recipient.settle(answer);
            }
        }
        Err(error) => delivery.log(Level::Warn, &format!("not taken: {error}")),
    }
}

/// Senders, recipients and content that are none, and then what came of it.
fn nonsense(worker: &Worker<'_>, delivery: Delivery<'_>) {
    let long = "x".repeat(10_000);
    let addresses = ["", "no-at-sign\r\nDATA", "a@", "@b", "\u{0}@\u{0}", &long, "fred@site.example"];
    let contents: [&[u8]; 6] = [
        b"",
        b"no line end",
        b"bare\nline",
        b"nul\0\r\n",
        b".\r\nRCPT TO:<x@y>\r\n",
        b"Subject: good\r\n\r\n",
    ];
    let mut told = Vec::new();
    for sender in ["", "sender@hub.example", "<>", &long] {
        for content in contents {
            let mut submission = Submission::new(sender, [content]);
            told.push(format!("{:?}", worker.enqueue(&submission).err()));
            for address in addresses {
                submission = submission.to(address);
            }
            told.push(match worker.enqueue(&submission) {
                Ok(answers) => answers.iter().map(|answer| answer.status().class.to_string()).collect(),
                Err(error) => error.to_string(),
            });
        }
    }
    told.dedup();
    delivery.settle_all(&Outcome::delivered(told.join(" ")));
}

/// More recipients and more content than anybody takes.
fn huge(worker: &Worker<'_>, delivery: Delivery<'_>) {
    let mut many = Submission::new("sender@hub.example", []);
    for _ in 0..100_001 {
        many = many.to("fred@site.example");
    }
    // Whoever looks whether it is ASCII sees with the first octet that it is not, and need not read four gigabytes.
    let megabyte = vec![0xff; 1 << 20];
    let large = Submission::new("sender@hub.example", std::iter::repeat_n(megabyte.as_slice(), 4097));
    let pieces = Submission::new("sender@hub.example", std::iter::repeat_n(b"x".as_slice(), (1 << 20) + 1));
    let told = [many, large.to("fred@site.example"), pieces.to("fred@site.example")]
        .map(|submission| format!("{:?}", worker.enqueue(&submission)));
    delivery.settle_all(&Outcome::delivered(told.join(" ")));
}

fn delivered(delivery: Delivery<'_>) {
    delivery.settle_all(&Outcome::delivered("done"));
}

fn delivered_rest(delivery: Delivery<'_>) {
    let _settled_unguarded = delivery.take_recipients().next();
    delivered(delivery);
}

sluice_sdk::export_channel!(Misbehaving);
