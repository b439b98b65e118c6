//! What templates may ask beyond the configuration: databases, numbered sequences and chance.
//!
//! The rules touch no disk and draw no lots themselves; whoever owns files and luck brings them in as a [`Lookups`].
//!
//! # Not here
//! Reading databases, and keeping numbers on disk.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sluice_config::Config;
pub use sluice_config::DATABASES;
use sluice_diag::Span;

/// Answers from outside the configuration. Called on the thread that rewrites; must not wait for a network.
pub trait Lookups: Send + Sync {
    /// The value of a key in one of [`DATABASES`], letter case of the key aside; `None` when it is not there.
    fn database(&self, name: &str, key: &str) -> Option<String>;

    /// How many look-ups of this thread could not be answered so far, though there may be an answer: a database has come to
    /// harm. Whoever sees this number grow while something is worked out takes the result for void and the address for one to
    /// be tried again later ([`Rejected::unavailable`](crate::Rejected::unavailable)), for a rule may have been passed over.
    fn unanswered(&self) -> u64 {
        0
    }

    /// Adds one to the number kept in a sequence file (PMDF System Manager's Guide, chapter 5, "sequence numbers") and
    /// gives the sum. `None` when there is no such file, or it holds no number. The name is as written in the
    /// configuration, never from a stranger.
    fn sequence(&self, file: &str) -> Option<u64> {
        let _ = file;
        None
    }

    /// The answer of a routine: `$[image,routine,argument]` (PMDF System Manager's Guide, chapter 2, "customer-supplied
    /// routine substitutions"). `None` when it has none, and when there is no such routine that may be called. Image and
    /// routine are as written in the configuration, never from a stranger; the argument may be.
    fn routine(&self, image: &str, routine: &str, argument: &str) -> Option<String> {
        let _ = (image, routine, argument);
        None
    }

    /// A random number from 0 up to 100, 100 itself excluded: a lot for `$?…?`.
    fn percent(&self) -> f64 {
        // The keys of a fresh `RandomState` are random; 53 bits are what a `f64` can hold.
        let bits = RandomState::new().hash_one(0u8) >> 11;
        bits as f64 / (1u64 << 53) as f64 * 100.0
    }
}

/// The text databases of the configuration, and no sequences. For looking at the rules: a database that has come to harm has
/// nothing here.
impl Lookups for Config {
    fn database(&self, name: &str, key: &str) -> Option<String> {
        self.databases.value(name, key).ok().flatten().map(str::to_owned)
    }
}

/// A routine that a template calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutineCall {
    /// The plugin, as written.
    pub image: String,
    /// The routine, as written.
    pub routine: String,
    /// Where the call stands.
    pub span: Span,
}

/// Image, routine and argument of the text between `$[` and `]`. The first two are written out: what a stranger sends must
/// not choose what is called.
pub(crate) fn routine_names(inside: &str) -> Option<(&str, &str, &str)> {
    let (image, rest) = inside.split_once(',')?;
    let (routine, argument) = rest.split_once(',').unwrap_or((rest, ""));
    let good = |name: &str| !name.is_empty() && !name.contains('$');
    (good(image.trim()) && good(routine.trim())).then_some((image.trim(), routine.trim(), argument))
}

/// The text databases of the configuration, no routines, and a note that one was asked for: what has failed for want of a
/// routine may yet be right.
pub(crate) struct RoutineWatch {
    config: Arc<Config>,
    seen: AtomicBool,
}

impl RoutineWatch {
    pub(crate) fn new(config: Arc<Config>) -> RoutineWatch {
        RoutineWatch { config, seen: AtomicBool::new(false) }
    }

    /// Has a routine been asked for since the last [`RoutineWatch::forget`]?
    pub(crate) fn has_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    pub(crate) fn forget(&self) {
        self.seen.store(false, Ordering::Relaxed);
    }
}

impl Lookups for RoutineWatch {
    fn database(&self, name: &str, key: &str) -> Option<String> {
        self.config.database(name, key)
    }

    fn routine(&self, _image: &str, _routine: &str, _argument: &str) -> Option<String> {
        self.seen.store(true, Ordering::Relaxed);
        None
    }
}

/// Nothing can be asked: every look-up fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLookups;

impl Lookups for NoLookups {
    fn database(&self, _name: &str, _key: &str) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routines_are_named_by_the_operator() {
        assert_eq!(routine_names("site, upper ,$U,x"), Some(("site", "upper", "$U,x")));
        assert_eq!(routine_names("/lib/site.so,upper"), Some(("/lib/site.so", "upper", "")));
        for bad in ["", "site", "site,", ",upper,x", "$U,upper,x", "site,$H,x"] {
            assert_eq!(routine_names(bad), None, "{bad}");
        }
    }

    #[test]
    fn lots_are_percentages_and_differ() {
        let lots: Vec<f64> = (0..64).map(|_| NoLookups.percent()).collect();
        assert!(lots.iter().all(|lot| (0.0..100.0).contains(lot)));
        assert!(lots.iter().any(|lot| *lot != lots[0]));
    }
}
