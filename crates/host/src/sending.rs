//! What is on its way to the caller and in no list any more, so that an instance does not say that it has stopped before it is told of.
//!
//! # Not here
//! The events themselves, and the lists they are taken from.

use crate::sync::AtomicUsize;
use std::sync::atomic::Ordering;

/// How many have taken something out of a list and not told of it yet.
#[derive(Default)]
pub(crate) struct Sending(AtomicUsize);

/// While somebody has this, the instance does not say that it has stopped.
pub(crate) struct Sends<'a>(&'a AtomicUsize);

impl Sending {
    /// Something is taken out of a list now, and told of before this is dropped. Called under the lock of the list.
    pub(crate) fn begin(&self) -> Sends<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Sends(&self.0)
    }

    /// Is anything on its way?
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Sends<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
