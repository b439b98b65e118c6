//! Where the dispatcher has the time from. Handed in, so that tests can let days pass.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sluice_mail::Time;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Time;

    /// Now, and at the same moment how long it has been by a clock that nobody sets; `None` where there is no such clock. By the two
    /// it is seen that somebody has set the first one.
    fn reading(&self) -> (Time, Option<Duration>) {
        (self.now(), None)
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn reading(&self) -> (Time, Option<Duration>) {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        (self.now(), Some(BEGAN.elapsed()))
    }
}
