//! Sluice, a store-and-forward mail hub.

fn main() {}
