//! The list of verbs: everything a contributor or a build machine does to this tree, in one place and in Rust.
//!
//! `cargo xtask check` is what has to pass before a change is finished; `cargo xtask test` needs more from the
//! machine (real mail programs); `cargo xtask demo` shows the thing working; `cargo xtask bench relay` measures it.
//!
//! # Not here
//! Nothing that ships. The verbs call cargo and apt-get as commands, and read everything else themselves.
#![forbid(unsafe_code)]
// This is a program for a person at a terminal: what it has to say goes there.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cargo;
mod check;
mod generated;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Everything one does to this tree
///
/// From a fresh clone: `cargo xtask demo --auto` shows a hub holding mail and releasing it; `cargo xtask check`
/// is what a change must pass; `cargo xtask test` runs the whole program against real mail programs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Format, clippy, tests of every crate, tidy: what a change must pass
    ///
    /// Every step that fails says which command repairs it. The tests of the whole program are not among these:
    /// they want real peers and have their own verb, `cargo xtask test`.
    Check,
    /// The rules of the house that no compiler knows
    ///
    /// Arrows between crates, homes of heavy dependencies and of unsafe code, module openings, names, lengths,
    /// links, paths of somebody's machine.
    Tidy,
    /// Write the generated files again: reference pages, the C header
    ///
    /// A test of the crate that owns the data compares each of them, so that none is ever stale.
    #[command(alias = "header")]
    Reference,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.verb {
        Verb::Check => check::run(),
        Verb::Tidy => check::tidy(),
        Verb::Reference => generated::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
