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

/// Less than this is how clocks are, and is steered away by whoever keeps the time.
const JUMP: Duration = Duration::from_secs(60);

/// Somebody has set the clock, or the machine has slept; by so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// It is earlier now than it was.
    Back(Duration),
    /// It is later than it could be.
    Forward(Duration),
}

/// Compares the readings of a clock ([`Clock::reading`]), each with the one before.
#[derive(Debug, Default)]
pub struct ClockWatch {
    last: Option<(Time, Duration)>,
}

impl ClockWatch {
    /// What has happened to the clock since the last look. A minute is no jump.
    pub fn look(&mut self, (now, steady): (Time, Option<Duration>)) -> Option<Jump> {
        let steady = steady?;
        let (then, before) = self.last.replace((now, steady))?;
        let expected = then.plus(steady.saturating_sub(before));
        if now.plus(JUMP) < expected {
            Some(Jump::Back(expected.since(now)))
        } else if expected.plus(JUMP) < now {
            Some(Jump::Forward(now.since(expected)))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_seen_once_and_time_that_passes_is_none() {
        let secs = Duration::from_secs;
        let at = |wall, steady| (Time::from_secs(wall), Some(secs(steady)));
        let mut watch = ClockWatch::default();
        assert_eq!(watch.look(at(1_000_000, 5)), None, "the first look");
        assert_eq!(watch.look(at(1_003_600, 3605)), None, "an hour has passed");
        assert_eq!(watch.look(at(1_003_661, 3606)), None, "a minute");
        assert_eq!(watch.look(at(1_000_000, 3607)), Some(Jump::Back(secs(3662))));
        assert_eq!(watch.look(at(1_000_001, 3608)), None);
        assert_eq!(watch.look(at(1_000_102, 3609)), Some(Jump::Forward(secs(100))));
        assert_eq!(watch.look((Time::from_secs(1), None)), None, "there is no such clock");
    }
}
