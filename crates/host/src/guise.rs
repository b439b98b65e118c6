//! How the host shows itself to a plugin, for checks of how a plugin copes with other hubs.
//!
//! The contract grows by appending: structures say their size, lists their stride, and bits that nobody knows are passed over.
//! A plugin that was built against another header meets that only in another hub; here it does so at once.
//!
//! # Not here
//! Making the structures (`call`).

use sluice_abi as abi;

/// Which hub the plugin sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guise {
    /// The one that this is.
    #[default]
    Now,
    /// The first one: no `enqueue`, no features, deliveries that end where the first ones did. What is behind that leads nowhere.
    Older,
    /// One to come: every structure and stride is longer, and has flags, features and settings that nobody knows yet.
    Later,
}

/// What a later hub has behind a structure.
const UNKNOWN: u64 = 0xdead_beef_dead_beef;
/// Bits of flags and features that have no meaning yet.
pub(crate) const UNKNOWN_FLAGS: u32 = 0xff00_0000;
pub(crate) const UNKNOWN_FEATURES: u64 = 0xff00_0000_0000_0000;
/// A kind of setting that there is not.
pub(crate) const UNKNOWN_SETTING: u32 = 77;

/// A structure as a later hub has it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Later<T> {
    pub(crate) now: T,
    more: [u64; 6],
}

impl<T> Later<T> {
    pub(crate) const fn of(now: T) -> Later<T> {
        Later { now, more: [UNKNOWN; 6] }
    }

    /// The size that it says it has.
    pub(crate) const fn size() -> u32 {
        size_of::<Later<T>>() as u32
    }
}

/// Text that must not be looked at.
pub(crate) const NOWHERE: abi::Text = abi::Text { data: std::ptr::without_provenance(1), len: 1 };
