//! The list of verbs: everything a contributor or a build machine does to this tree, in one place and in Rust.
//!
//! `cargo xtask check` is what has to pass before a change is finished; `cargo xtask test` needs more from the
//! machine (real mail programs); `cargo xtask demo` shows the thing working; `cargo xtask bench` measures it.
//!
//! # Not here
//! Nothing that ships. The verbs call cargo and apt-get as commands, and read everything else themselves.
#![forbid(unsafe_code)]
// This is a program for a person at a terminal: what it has to say goes there.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod cargo;
mod check;
mod demo;
mod generated;
mod letters;
mod mission;
mod peers;
mod private_roots;
mod soak;
mod tidy;
mod whole;

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
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
    /// Everything the tests need, and all tests
    ///
    /// Installs the Debian packages of the mail programs that the whole-program tests talk to (postfix, swaks,
    /// fetchmail, python3-aiosmtpd, dovecot-lmtpd; no service is started), and strace and valgrind, by which costs are counted, unpacks others beside each other (exim, sendmail, opensmtpd, nsd), builds the workspace, and runs the tests of the crates and
    /// those of the whole program. A peer that cannot be installed is a failure.
    Test {
        /// Do without the other mail programs, and say so
        #[arg(long)]
        no_peers: bool,
    },
    /// The other mail programs that the tests want, and nothing else
    ///
    /// What `test` does before it builds: for those who then run single tests with `--features sluice-tests/peers`.
    Peers,
    /// The dial-up sample, running: a hub that holds mail, and the site that gets it when it asks
    ///
    /// Starts both on loopback and prints what to type to send a message, see it wait, release it and see it arrive.
    /// Ctrl-C stops them cleanly. Everything they write is in a temporary folder.
    Demo {
        /// Type by itself: show each step, and fail if something is not as it should be
        #[arg(long)]
        auto: bool,
    },
    /// Send messages to a mail server, for the demonstration
    Send {
        /// The mail server
        #[arg(long, default_value = "127.0.0.1:10025")]
        server: SocketAddr,
        /// The sender's address
        #[arg(long, default_value = "sender@origin.example")]
        from: String,
        /// The recipient's address
        #[arg(long)]
        to: String,
        /// How many messages
        #[arg(long, default_value_t = 1)]
        count: usize,
        /// Bytes in each, roughly
        #[arg(long, default_value_t = 4096)]
        size: usize,
    },
    /// Ask a mail server to release what it holds, for the demonstration
    Etrn {
        /// The mail server
        #[arg(long, default_value = "127.0.0.1:10025")]
        server: SocketAddr,
        /// `DOMAIN`, `@DOMAIN` or `#CHANNEL`
        argument: String,
    },
    /// Measure, beside the programs that people use today
    ///
    /// Without a part, the table of targets: Sluice and Postfix in turns, five times, medians and ratios; about a
    /// quarter of an hour. The results, with machine, versions and load, are kept in `benches/results/`. Needs root, for
    /// private Postfixes.
    Bench(bench::Bench),
    /// Wear the program out, and see that it keeps what it has promised
    #[command(subcommand)]
    Soak(Soak),
}

#[derive(Debug, Subcommand)]
enum Soak {
    /// A hub under load, killed with SIGKILL at random moments, against a ledger outside of it
    ///
    /// Prints what was acknowledged and delivered, what was lost or invented (must be nothing), and what came twice and
    /// whether the window in which a crash delivers twice explains it. 200 rounds take some minutes.
    Crash(soak::Crashes),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.verb {
        Verb::Check => check::run(),
        Verb::Tidy => check::tidy(),
        Verb::Reference => generated::run(),
        Verb::Test { no_peers } => whole::run(no_peers),
        Verb::Peers => cargo::root().and_then(|root| whole::peers(&root)),
        Verb::Demo { auto } => demo::run(auto),
        Verb::Send { server, from, to, count, size } => letters::send(server, &from, &to, count, size)
            .map(|replies| replies.iter().for_each(|reply| println!("{reply}"))),
        Verb::Etrn { server, argument } => letters::etrn(server, &argument).map(|reply| println!("{reply}")),
        Verb::Bench(options) => bench::bench(&options),
        Verb::Soak(Soak::Crash(options)) => soak::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
