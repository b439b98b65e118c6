//! The bodies of the fuzz targets, run on the saved corpus and on changed copies of it: `fuzz/src/lib.rs` says what they assert.
//!
//! The changes come from a generator with a fixed seed, so that every run is the same.

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
mod bodies;

use bodies::{BODIES, Body, SPOOL};
use std::fs;
use std::path::{Path, PathBuf};

/// Changed copies that are tried for each parser.
const ROUNDS: usize = 1500;
/// The same for the spool, which writes files.
const SPOOL_ROUNDS: usize = 60;
/// Longest input; longer ones find nothing that these do not.
const LENGTH_MAX: usize = 2000;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file of the corpus"))).collect()
}

/// xorshift64*.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }

    /// A copy with a few changes: octets exchanged, taken out, put in, parts doubled or taken from another input.
    fn changed(&mut self, from: &[u8], all: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = from.to_vec();
        for _ in 0..=self.below(5) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(12)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                1 => drop(bytes.drain(at..end)),
                2 => bytes.insert(at, b" \t\n$%@!\\\"|*.[](){}:;=<>,0\r"[self.below(26)]),
                3 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                4 => {
                    let other = &all[self.below(all.len())].1;
                    let from = self.below(other.len() + 1);
                    let to = (from + self.below(40)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                _ => bytes.truncate(at.max(1)),
            }
        }
        bytes.truncate(LENGTH_MAX);
        bytes
    }
}

/// Runs a body on one input; a panic tells which input it was.
fn run(name: &str, body: Body, bytes: &[u8], what: &str) {
    let result = std::panic::catch_unwind(|| body(bytes));
    assert!(result.is_ok(), "{name} fails on {what}: {:?}", String::from_utf8_lossy(bytes));
}

fn replay(name: &str, body: Body, rounds: usize) {
    let all = corpus(name);
    assert!(all.len() >= 2, "the corpus of {name} has {} files", all.len());
    for (path, bytes) in &all {
        run(name, body, bytes, &path.display().to_string());
    }
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let mut numbers = Numbers(seed | 1);
    for round in 0..rounds {
        let from = &all[numbers.below(all.len())].1;
        let bytes = numbers.changed(from, &all);
        run(name, body, &bytes, &format!("round {round}"));
    }
}

macro_rules! parsers {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let name = stringify!($name);
            let (_, body) = BODIES.iter().find(|(other, _)| *other == name).expect("a body of that name");
            replay(name, *body, ROUNDS);
        })*

        #[test]
        fn every_parser_has_a_test_and_a_target() {
            let tested = [$(stringify!($name)),*];
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
            let manifest = fs::read_to_string(folder.join("../Cargo.toml")).expect("the manifest");
            for (name, _) in BODIES.iter().chain([&SPOOL]) {
                assert!(tested.contains(name) || *name == SPOOL.0, "{name} has no test");
                let target = fs::read_to_string(folder.join(format!("{name}.rs"))).expect("a target");
                assert!(target.contains(&format!("sluice_fuzz::{name}(")), "{target}");
                assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is not in the manifest");
            }
        }
    };
}

parsers! {
    main_file configuration_line template mappings pattern aliases options header address smtp_command smtp_content smtp_reply
    envelope control database isolated
}

#[test]
fn spool() {
    replay(SPOOL.0, SPOOL.1, SPOOL_ROUNDS);
}
