//! The rules of the house that no compiler knows.
//!
//! A rule is a function from what it looks at (the files, or cargo's own account of the packages) to findings.
//! Nothing is changed; every finding names the place and the way to repair it. Each rule has a test with a small tree
//! in which something is wrong, so that a rule that finds nothing any more is noticed.

mod arrows;
mod code;
mod links;
mod sources;
mod tree;

pub(crate) use tree::Tree;

use serde_json::Value;
use std::fmt;

/// Something that is not as the house has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path below the root.
    pub(crate) path: String,
    /// 1-based; 0 when it is about the file as a whole.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
    /// How it is repaired.
    pub(crate) repair: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, repair: impl Into<String>) -> Self {
        Finding { path: path.to_owned(), line, what: what.into(), repair: repair.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}\n  repair: {}", self.path, self.what, self.repair),
            line => write!(out, "{}:{line}: {}\n  repair: {}", self.path, self.what, self.repair),
        }
    }
}

/// All rules over all files, in the order of the paths.
pub(crate) fn everything(tree: &Tree, metadata: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    arrows::directions(metadata, &mut found);
    arrows::homes(metadata, &mut found);
    sources::unsafe_homes(tree, &mut found);
    sources::module_openings(tree, &mut found);
    sources::names(tree, &mut found);
    sources::unfinished(tree, &mut found);
    sources::lengths(tree, &mut found);
    sources::machine_paths(tree, &mut found);
    links::links(tree, &mut found);
    found.sort();
    found.dedup();
    found
}
