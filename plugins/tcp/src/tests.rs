//! The plugin's core against scripted servers on loopback and a name server of a few lines.

#![allow(clippy::unwrap_used)]

mod ahead;
mod dialled;
mod dialogues;
mod dns;
mod hops;
mod lmtp;
mod secure;
mod support;
