//! Ten thousand messages for a plugin that misbehaves in every way that one in the hub's own process may.

use sluice_testkit::misbehaviour::IN_PROCESS;
use sluice_tests::Flood;

/// How much more memory than before the hub may have when everything is over: what its allocator keeps of the time when all of it
/// waited. Right behind the last message that is 13 to 21 MiB, the more the busier the machine is, and some seconds later, when
/// pages in the middle have gone back, 7 to 10. Twice the most that was seen.
const MEMORY_LEFT: u64 = 40 << 20;

#[test]
fn ten_thousand_messages_to_plugins_that_misbehave_are_kept_and_others_go_on() {
    let mut flood = Flood::start("misbehaving", &IN_PROCESS, "maxjobs 2");
    flood.the_other_goes_on();
    let before = flood.memory();
    flood.flood();
    flood.mend();
    let after = flood.memory();
    assert!(after < before + MEMORY_LEFT, "memory: {before} before, {after} after");
    let twice = flood.account();
    // A delivery that a worker was still at when it was taken away, or that was half done, may go twice: never many.
    for (mode, count) in &twice {
        assert!(*count <= 100, "{mode}: {count} messages twice");
    }
    flood.hub.stop();
}
