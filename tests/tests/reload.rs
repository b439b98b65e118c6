//! A large configuration is taken into force while sessions send mail: nobody notices.
//!
//! How long it takes is measured by `cargo xtask bench language`; nothing here depends on the clock.

use sluice_testkit::{Site, Talk, message, wait_for};
use sluice_tests::SOON;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Sessions that stay open over all reloads.
const SESSIONS: usize = 4;
/// Reloads, and messages that each session sends at least between two of them.
const RELOADS: usize = 4;
/// Rules, and a tenth of it channels: enough that sessions send many messages while it is read.
const RULES: usize = 4000;

/// Mail for `kept.example` is thrown away; the other rules and channels are there to be read. Generation `turn` has one host
/// that the others do not have.
fn configuration(turn: usize) -> String {
    let mut text = format!(
        "hub.example $U@hub.example\nkept.example $U%$D@BITBUCKET-DAEMON\nturn{turn}.example $U%$D@BITBUCKET-DAEMON\n"
    );
    for number in 0..RULES {
        _ = writeln!(text, "host{number}.example.com $U%$D@DAEMON-{}", number % (RULES / 10));
    }
    text.push_str("\nl\nhub.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n\nbitbucket\nBITBUCKET-DAEMON\n\n");
    for number in 0..RULES / 10 {
        _ = write!(text, "tcp_c{number} smtp nomx periodic\nDAEMON-{number}\n\n");
    }
    text
}

/// What one session does until it is told to stop: the same transaction over one connection. Gives how many were taken.
fn send(site: &Site, number: usize, stop: &AtomicBool, taken: &AtomicUsize) {
    let mut talk = Talk::to(site.address());
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let content = message(number * 1_000_000 + count, 500);
        let reply = talk.deliver("a@origin.example", &["fred@kept.example"], &content);
        let reply = reply.unwrap_or_else(|error| panic!("session {number} lost at message {count}: {error}"));
        assert_eq!(reply.code, 250, "session {number}, message {count}: {reply}");
        // A host of the large part is looked for as well: it is in every generation.
        talk.want("MAIL FROM:<a@origin.example>", 250);
        talk.want(&format!("RCPT TO:<fred@host{}.example.com>", count % RULES), 250);
        talk.want("RSET", 250);
        count += 1;
        taken.fetch_add(1, Ordering::Relaxed);
    }
    talk.quit();
}

/// Ends the sessions, also when the test fails in the middle.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn accepts(site: &Site, address: &str) -> bool {
    let mut talk = Talk::to(site.address());
    talk.want("MAIL FROM:<a@origin.example>", 250);
    let code = talk.ask(&format!("RCPT TO:<{address}>")).expect("an answer").code;
    talk.quit();
    code == 250
}

#[test]
fn a_reload_under_load_drops_no_session_and_refuses_nothing() {
    let mut site = Site::new("reload-under-load");
    site.write("sluice.cnf", &configuration(0));
    site.start();
    let (stop, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let site = &site;
        let end = Stop(&stop);
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|number| {
                scope.spawn({
                    let (stop, taken) = (&stop, &taken);
                    move || send(site, number, stop, taken)
                })
            })
            .collect();
        let failed = || sessions.iter().any(std::thread::ScopedJoinHandle::is_finished);
        for turn in 1..=RELOADS {
            let before = taken.load(Ordering::Relaxed);
            wait_for("sessions go on sending", SOON, || {
                failed() || taken.load(Ordering::Relaxed) >= before + 2 * SESSIONS
            });
            if failed() {
                break;
            }
            site.write("sluice.cnf", &configuration(turn));
            let ran = site.command(&["reload"]);
            assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
            assert!(accepts(site, &format!("fred@turn{turn}.example")), "generation {turn} is in force");
            assert!(
                !accepts(site, &format!("fred@turn{}.example", turn - 1)),
                "generation {} is not",
                turn - 1
            );
        }
        drop(end);
        for session in sessions {
            session.join().expect("a session that nothing happened to");
        }
    });
    assert!(site.runs(), "the hub is still there");
    assert!(taken.load(Ordering::Relaxed) >= RELOADS * 2 * SESSIONS);
    site.wait_for_waiting(None, 0, SOON);
}
