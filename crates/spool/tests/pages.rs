//! Pages that are not in use any more are the system's again. A process of its own, and one test: what others do at the same time
//! would be counted with it.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use sluice_spool::{brief_list, give_back_pages};

/// This process's own memory, in KiB.
fn own() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[test]
fn what_is_not_in_use_any_more_goes_back() {
    large_lists_that_live_briefly();
    what_lies_between_things_in_use();
}

fn large_lists_that_live_briefly() {
    let before = own();
    for _ in 0..3 {
        let mut list = brief_list::<u64>(3 << 20);
        list.extend(0..3 << 20);
        assert!(own() >= before + (20 << 10), "24 MiB are in use");
        drop(list);
        assert!(own() < before + (12 << 10), "they were given back");
    }
}

/// Small pieces, of which the last stays, so that no end of an arena is free.
fn what_lies_between_things_in_use() {
    let mut pieces: Vec<Box<[u8; 1000]>> = (0..40_000).map(|_| Box::new([7; 1000])).collect();
    let full = own();
    pieces.drain(..39_999);
    assert!(give_back_pages());
    let after = own();
    assert!(after + (30 << 10) < full, "{full} KiB with 40 MB in use, {after} without");
    assert_eq!(pieces[0][999], 7);
}
