//! Rewrite rules: an address and a direction become a route or a refusal.
//!
//! The rules of a configuration are compiled once ([`Rewriter::compile`]); each address then asks a hash table for the
//! patterns that could match its first host, from the most to the least specific, and runs the templates of the first
//! that has any. The language and the algorithm are those of the PMDF System Manager's Guide, chapter 2 (rewrite rules),
//! with the additions of Messaging Server's rules; the tests in `tests/*.md` are written to be read beside it.
//!
//! # Invariants
//! Rewriting ends: an `A%B` template repeats at most [`REPEATS_MAX`] times, every other turn takes a host away, and no
//! part grows beyond the longest address. Nothing panics on an address, a rule or any byte of them.
//! # Failure
//! Mistakes in rules are diagnostics, and a rule with a mistake never applies. An address that goes nowhere is a
//! [`Rejected`], which is ordinary business. A header address that is rejected stays as it was; only envelope addresses
//! turn mail away, and that is the caller's to do.
//! # Not here
//! Reading the configuration, databases and aliases (`config`); where the octets of a header are kept and sent.
#![forbid(unsafe_code)]

mod alias;
mod check;
mod circumstances;
mod codes;
mod destinations;
mod direct;
mod evaluate;
mod forwarding;
mod glob;
mod guess;
pub mod header;
mod known;
mod look;
mod lookups;
pub mod mapping;
mod place;
mod probe;
mod rejected;
mod reversal;
mod rewriter;
mod table;
mod template;
mod trace;

pub use alias::{AliasStep, EXPANSION_MAX, Expanded, Expansion, NOT_ALLOWED_TEXT};
pub use codes::codes;
pub use evaluate::Failure;
pub use forwarding::Forwarded;
pub use look::Seen;
pub use lookups::{DATABASES, Lookups, NoLookups, RoutineCall};
pub use place::Position;
pub use rejected::Rejected;
pub use reversal::{Moment, Reversal};
pub use rewriter::{Context, DEFAULT_ERROR_TEXT, Kind, REPEATS_MAX, Rewriter, Route};
pub use trace::{RuleText, Step, Trace};
