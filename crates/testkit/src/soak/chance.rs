//! Chance that can be repeated: everything that a run decides comes out of its seed.

use std::time::Duration;

/// splitmix64: small, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The chance of this seed.
    pub(crate) const fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    /// A seed for a run that was given none.
    pub(crate) fn seed() -> u64 {
        use std::hash::BuildHasher;
        // The standard library seeds its hashers from the system's random numbers. Short, because somebody types it.
        std::hash::RandomState::new().hash_one(std::process::id()) % 1_000_000
    }

    /// A chance of its own, for a thread.
    pub(crate) fn branch(&mut self) -> Chance {
        Chance(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// From 0 to `limit - 1`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// A time shorter than so many milliseconds, to the microsecond.
    pub(crate) fn moment(&mut self, milliseconds: usize) -> Duration {
        Duration::from_micros(self.below(milliseconds * 1000) as u64)
    }
}
