//! Whole-program tests: the real binary, its real plugins, loopback, and real mail programs as peers.
//!
//! The tests are in `tests/`, one file per story. What they stand on (sites, sinks, clients) is `sluice-testkit`.
#![forbid(unsafe_code)]
