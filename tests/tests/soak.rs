//! A short run of what `cargo xtask soak crash` does at length.

use sluice_testkit::soak::{Crash, crash};

#[test]
fn twenty_hubs_killed_at_random_moments_lose_and_invent_nothing() {
    let account = crash(&Crash { rounds: 20, seed: None }, &mut |line| println!("{line}"));
    println!("{account}");
    assert!(account.is_good(), "{account}");
    // A run in which nothing happened would show nothing.
    assert!(account.acknowledged > 500 && account.kills == 20, "{account}");
}
