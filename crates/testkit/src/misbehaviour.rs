//! The ways in which the plugin `misbehaving` misbehaves at the cost of nobody but its own channel.
//!
//! Not those that refuse mail for good or bring mail in: they are other questions, and have tests of their own.

/// What one in the hub's own process may do: it costs its mail time, and nothing else.
pub const IN_PROCESS: [&str; 18] = [
    "panic_in_create",
    "fail_in_create",
    "hang_in_create",
    "panic_in_run",
    "panic_on_delivery",
    "panic_once",
    "panic_in_destroy",
    "hang",
    "hang_in_stop",
    "never_settles",
    "settles_twice",
    "settles_wrong_index",
    "settles_late",
    "returns_early",
    "returns_error",
    "leaks",
    "hoards",
    "ignores_stop",
];

/// What only one in a process of its own may do besides: it ends the process, or takes all that there is.
pub const ISOLATED_ONLY: [&str; 6] = ["aborts", "segfaults", "exits", "devours", "burns", "floods"];
