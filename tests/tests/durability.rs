//! What was acknowledged is delivered, whatever happens to the process.

use sluice_testkit::{Batch, Fate, Sink, Site, wait_for};
use sluice_tests::{Destination, SOON, hub, numbers};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sends 2,000 messages over ten sessions and kills the hub when `at` of them are acknowledged. Gives the numbers of
/// those that were.
fn send_and_kill(hub: &mut Site, to: &str, at: usize) -> BTreeSet<usize> {
    let batch = Batch { sessions: 10, size: 3500, ..Batch::new(hub.address(), to, 2000) };
    let tally = AtomicUsize::new(0);
    let fates = std::thread::scope(|scope| {
        let sender = scope.spawn(|| batch.send(&tally));
        wait_for("enough messages are acknowledged", SOON, || tally.load(Ordering::SeqCst) >= at);
        hub.kill();
        sender.join().expect("the sender does not panic")
    });
    let accepted: BTreeSet<usize> =
        fates.iter().filter(|(_, fate)| *fate == Fate::Accepted).map(|(number, _)| *number).collect();
    assert!(accepted.len() >= at, "{} were acknowledged", accepted.len());
    assert!(accepted.len() < 2000, "the hub was killed too late to prove anything");
    accepted
}

#[test]
fn killed_while_it_takes_and_passes_on_two_thousand_messages() {
    let sink = Sink::start();
    let mut hub = hub("kill-direct", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.start();
    let accepted = send_and_kill(&mut hub, "fred@next.example", 600);
    hub.start();
    let arrived = || numbers(&sink.arrived()).into_iter().collect::<BTreeSet<_>>();
    wait_for("every acknowledged message is delivered", SOON, || arrived().is_superset(&accepted));
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn killed_twice_while_it_holds_mail() {
    let sink = Sink::start();
    let mut hub = hub("kill-held", &[Destination::held("tcp_dialup", "site7.example", sink.port())]);
    hub.start();
    let accepted = send_and_kill(&mut hub, "fred@site7.example", 900);
    hub.start();
    assert_eq!(sink.connections(), 0, "a restart is no reason to call a site that is away");
    assert!(hub.waiting(Some("tcp_dialup")) >= accepted.len() as u64);
    hub.talk().want("ETRN site7.example", 253);
    wait_for("the release has begun", SOON, || sink.count() > 50);
    hub.kill();
    hub.start();
    hub.talk().want("ETRN site7.example", 253);
    let arrived = || numbers(&sink.arrived()).into_iter().collect::<BTreeSet<_>>();
    wait_for("every acknowledged message is delivered", SOON, || arrived().is_superset(&accepted));
    hub.wait_for_waiting(None, 0, SOON);
}

#[test]
fn stopped_in_the_middle_it_stops_in_time_and_keeps_everything() {
    let sink = Sink::start();
    // A slow peer, so that deliveries are under way when the hub is told to stop.
    sink.behave(sluice_testkit::Manner { pause: std::time::Duration::from_millis(20), ..Default::default() });
    let mut hub = hub("stop", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.start();
    Batch { sessions: 5, ..Batch::new(hub.address(), "fred@next.example", 200) }.send_all();
    hub.stop();
    let before = sink.count();
    assert!(before < 200, "the peer was too fast to prove anything");
    sink.behave(sluice_testkit::Manner::default());
    hub.start();
    let arrived = || numbers(&sink.arrived()).into_iter().collect::<BTreeSet<_>>().len();
    wait_for("everything is delivered", SOON, || arrived() == 200);
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn a_second_hub_on_the_same_spool_is_refused() {
    let mut first = hub("lock", &[]);
    first.start();
    let mut second = hub("lock-second", &[]);
    let spool = first.folder().join("spool");
    second.write("option.dat", &format!("SPOOL_DIR={}\n", spool.display()));
    second.spawn();
    let status = second.wait_for_end();
    assert!(!status.success(), "two hubs on one spool");
    assert!(
        second.log().contains(&spool.display().to_string()),
        "the message names the spool:\n{}",
        second.log()
    );
    first.talk().want("NOOP", 250);
    first.stop();
}
