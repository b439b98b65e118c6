//! What a message costs the whole hub, counted and not timed: system calls, syncs, instructions, allocations.
//!
//! A hub passes on messages that come one after the other, each on a connection of its own, in about 4 KiB. A count belongs to the
//! build and the message and hardly to the machine, so it can be compared where a time cannot. The development build is
//! counted, because that is what all tests are run with; instructions of a release build are about a tenth.
//!
//! Each allowance is what was counted when it was last set, and a quarter more, since threads meet in another order each time.
//! Who makes the hub cheaper sets it lower, and who has a good reason to make it dearer sets it higher; both say so in
//! `docs/internals/performance.md`.
//!
//! strace and valgrind are needed: `cargo xtask test` installs them, and then they must be there. Without that feature a
//! test that cannot count says so and counts nothing.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use sluice_testkit::{Program, Sink, Site, Talk, built, message, wait_until};
use sluice_tests::{Destination, SOON, configuration};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// System calls for a message that do something, from its connection until it is settled.
const CALLS_MAX: f64 = 37.0;
/// Those with which threads wait and wake each other. How many there are is a matter of who comes first; this notices
/// when somebody spins.
const WAITS_MAX: f64 = 120.0;
const WAITS: [&str; 5] = ["futex", "sched_yield", "epoll_wait", "restart_syscall", "clock_nanosleep"];
/// `fdatasync` for a message: its own, and a share of those of the journal, which is written lazily.
const SYNCS_MAX: f64 = 2.0;
/// Instructions of the development build.
const INSTRUCTIONS_MAX: f64 = 1_400_000.0;
/// Calls of malloc, calloc, realloc and posix_memalign.
const ALLOCATIONS_MAX: f64 = 270.0;

const STRACE: &str = "/usr/bin/strace";
const VALGRIND: &str = "/usr/bin/valgrind";
/// Messages that are not counted: plugins are started, connections made, files begun.
const BEFORE: usize = 10;
const COUNTED: usize = 100;

/// Whether the program is there; where it has to be, its absence is a failure.
fn is_there(program: &str) -> bool {
    let there = Path::new(program).is_file();
    assert!(there || !cfg!(feature = "peers"), "{program} is not there: cargo xtask peers installs it");
    if !there {
        eprintln!("NOT COUNTED: {program} is not there; cargo xtask peers installs it");
    }
    there
}

/// A hub that passes everything on to the sink.
fn hub(name: &str, sink: &Sink) -> Site {
    let hub = Site::new(name);
    hub.write(
        "sluice.cnf",
        &configuration("", &[Destination::direct("tcp_out", "out.example", sink.port())]),
    );
    hub
}

/// Sends messages one after the other, and waits until all have arrived and are written down as settled.
fn pass_on(hub: &Site, sink: &Sink, count: usize) {
    let wanted = sink.count() + count;
    for number in 0..count {
        let mut talk = Talk::to(hub.address());
        let reply = talk.deliver("a@origin.example", &["b@out.example"], &message(number, 4000)).unwrap();
        assert_eq!(reply.code, 250, "{reply}");
        talk.quit();
    }
    let arrived = wait_until(SOON, || (sink.count() == wanted).then_some(()));
    assert!(arrived.is_some(), "{} of {wanted} messages arrived\n{}", sink.count(), hub.report());
    // Transitions are written within fifty milliseconds. Waiting itself costs next to nothing that is counted.
    std::thread::sleep(Duration::from_millis(300));
}

/// The process of a hub: it says it in the lock of its spool.
fn process_of(hub: &Site) -> String {
    fs::read_to_string(hub.folder().join("spool/lock")).unwrap().trim().to_owned()
}

/// Fails when it is more than is allowed, and says what it is in any case.
fn compare(what: &str, counted: f64, allowed: f64) {
    eprintln!("{what} for each message: {counted:.1}; allowed are {allowed}");
    assert!(counted <= allowed, "{what} for each message: {counted:.1}, and only {allowed} are allowed");
    assert!(
        counted > allowed / 3.0,
        "{what} for each message: {counted:.1}; the allowance of {allowed} watches nothing any more"
    );
}

#[test]
fn system_calls_and_syncs_of_a_message_are_as_many_as_they_were() {
    if !is_there(STRACE) {
        return;
    }
    let sink = Sink::start();
    let mut hub = hub("calls", &sink);
    hub.start();
    pass_on(&hub, &sink, BEFORE);
    let (process, table) = (process_of(&hub), hub.folder().join("calls"));
    let log = hub.folder().join("strace.log");
    let arguments = ["-f", "-c", "-o", table.to_str().unwrap(), "-p", &process];
    let mut strace = Program::start(Path::new(STRACE), &arguments, &log).unwrap();
    let traced = wait_until(SOON, || all_traced(&process).then_some(()));
    assert!(traced.is_some(), "strace cannot look at the hub: {}", strace.log());
    pass_on(&hub, &sink, COUNTED);
    // It lets the hub go and writes its table.
    assert!(strace.terminate(SOON).is_some(), "strace does not end");
    let calls = table_of(&fs::read_to_string(&table).unwrap());
    let each = |calls: u64| calls as f64 / COUNTED as f64;
    eprintln!("system calls for {COUNTED} messages: {calls:?}");
    let (waits, work): (Vec<_>, Vec<_>) = calls.iter().partition(|(name, _)| WAITS.contains(&name.as_str()));
    compare("system calls that do something", each(work.iter().map(|(_, calls)| **calls).sum()), CALLS_MAX);
    let waits = each(waits.iter().map(|(_, calls)| **calls).sum());
    assert!(
        waits <= WAITS_MAX,
        "{waits:.1} system calls for waiting for each message, and only {WAITS_MAX} are allowed"
    );
    let syncs = ["fdatasync", "fsync"].iter().filter_map(|name| calls.get(*name)).sum();
    compare("syncs", each(syncs), SYNCS_MAX);
    assert!(each(syncs) >= 1.0, "a message was acknowledged that was not synced");
}

/// Whether a tracer has all threads of a process.
fn all_traced(process: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_none_or(|tracer| tracer.trim() != "0")
    })
}

/// What `strace -c` has counted: names in the last column, calls in the fourth.
fn table_of(text: &str) -> BTreeMap<String, u64> {
    let rows = text.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let calls = columns.get(3)?.parse().ok()?;
        let name = columns.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), calls))
    });
    rows.collect()
}

#[test]
fn instructions_and_allocations_of_a_message_are_as_many_as_they_were() {
    if !is_there(VALGRIND) {
        return;
    }
    let sink = Sink::start();
    let hub = hub("instructions", &sink);
    let out = hub.folder().join("callgrind");
    let arguments: Vec<PathBuf> = [
        "--tool=callgrind".into(),
        "--instr-atstart=no".into(),
        format!("--callgrind-out-file={}", out.display()).into(),
        format!("--vgdb-prefix={}", hub.folder().join("vgdb").display()).into(),
        built("sluice"),
        "run".into(),
        "--config".into(),
        hub.configuration(),
    ]
    .into();
    let mut valgrind = Program::start(Path::new(VALGRIND), &arguments, &hub.folder().join("log")).unwrap();
    let greets = wait_until(SOON, || Talk::open(hub.address()).ok());
    assert!(greets.is_some(), "the hub does not greet under valgrind\n{}", hub.report());
    pass_on(&hub, &sink, BEFORE);
    count(&hub, valgrind.id(), "on");
    pass_on(&hub, &sink, COUNTED);
    count(&hub, valgrind.id(), "off");
    assert!(valgrind.terminate(SOON).is_some(), "the hub does not end under valgrind");
    let profile = Profile::read(&fs::read_to_string(&out).unwrap());
    let each = |count: u64| count as f64 / COUNTED as f64;
    eprintln!(
        "for {COUNTED} messages: {} instructions, {} allocations",
        profile.instructions, profile.allocations
    );
    compare("instructions", each(profile.instructions), INSTRUCTIONS_MAX);
    compare("allocations", each(profile.allocations), ALLOCATIONS_MAX);
}

/// Lets callgrind begin or cease to count.
fn count(hub: &Site, process: u32, how: &str) {
    let mut command = Command::new("/usr/bin/callgrind_control");
    command.arg(format!("--vgdb-prefix={}", hub.folder().join("vgdb").display()));
    let said = command.args(["-i", how, &process.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("OK"), "{text}{}", String::from_utf8_lossy(&said.stderr));
}

/// What is needed of a profile that callgrind has written.
struct Profile {
    instructions: u64,
    allocations: u64,
}

impl Profile {
    /// Names are written out where they come first, `cfn=(12) malloc`, and numbered from then on; a line `calls=3 …` follows
    /// the name of what was called.
    fn read(text: &str) -> Profile {
        let mut names: HashMap<&str, &str> = HashMap::new();
        let (mut called, mut allocations, mut instructions) = ("", 0, 0);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
                let (number, written) = name.split_once(' ').unwrap_or((name, ""));
                if !written.is_empty() {
                    names.insert(number, written);
                }
                called = names.get(number).copied().unwrap_or_default();
            } else if let Some(calls) = line.strip_prefix("calls=") {
                let count: u64 = calls.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                if ["malloc", "calloc", "realloc", "posix_memalign"].contains(&called) {
                    allocations += count;
                }
            } else if let Some(total) = line.strip_prefix("totals: ") {
                instructions = total.trim().parse().unwrap_or(0);
            }
        }
        Profile { instructions, allocations }
    }
}

#[test]
fn tables_and_profiles_are_read() {
    let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                 ------ ----------- ----------- --------- --------- ----------------\n \
                 60.00    0.000030           3        10         2 futex\n \
                 40.00    0.000020           2         5           fdatasync\n\
                 ------ ----------- ----------- --------- --------- ----------------\n\
                 100.00    0.000050           3        15         2 total\n";
    let expected = BTreeMap::from([("futex".to_owned(), 10), ("fdatasync".to_owned(), 5)]);
    assert_eq!(table_of(table), expected);
    let profile = "fn=(1) main\n10 3\ncfn=(2) malloc\ncalls=3 0\n10 9\nfn=(2)\n20 9\nfn=(3) other\ncfn=(2)\ncalls=4 0\n1 1\ntotals: 99\n";
    let profile = Profile::read(profile);
    assert_eq!((profile.instructions, profile.allocations), (99, 7));
}
