//! The list of verbs.

fn main() {}
