//! A hub that has had very much mail is as small afterwards as it was before.

use sluice_testkit::{Batch, Sink, wait_until};
use sluice_tests::{Destination, SOON, hub, own_memory};

/// Messages, and sites that each of them is for: as many entries as both together.
const MESSAGES: usize = 5000;
const SITES: usize = 30;
/// What may be left beside what there was: ends of arenas that the allocator keeps, and a thread or two that have been busy since.
const LEFT_MAX: u64 = 5 << 20;

#[test]
fn memory_of_mail_that_waited_comes_back_when_it_has_gone() {
    let sink = Sink::start();
    let mut hub = hub("memory", &[Destination::held("tcp_sites", "sites.example", sink.port())]);
    hub.start();
    let send = |count: usize, sites: usize| {
        let to = (0..sites).map(|site| format!("fred@site{site}.sites.example")).collect();
        Batch { sessions: 4, size: 600, to, ..Batch::new(hub.address(), "nobody", count) }.send_all();
    };
    let delete = || {
        let ran = hub.command(&["queue", "delete", "--yes", "#tcp_sites"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        hub.wait_for_waiting(None, 0, SOON);
    };
    // All that there will be is there once.
    send(50, 1);
    delete();
    let before = own_memory(&hub);
    send(MESSAGES, SITES);
    hub.wait_for_waiting(None, (MESSAGES * SITES) as u64, SOON);
    let full = own_memory(&hub);
    assert!(full > before + LEFT_MAX * 3 / 2, "{before} before, {full} with it: too little to tell by");
    delete();
    let mut after = u64::MAX;
    let is_back = wait_until(SOON, || {
        after = after.min(own_memory(&hub));
        (after < before + LEFT_MAX).then_some(())
    });
    assert!(is_back.is_some(), "{before} octets before, {full} with all of it, {after} when it has gone");
    hub.stop();
}
