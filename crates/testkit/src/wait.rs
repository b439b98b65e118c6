//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long between two looks. Short, because most conditions come true within a few milliseconds.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is something, and gives it; `None` when the deadline has passed.
pub fn wait_until<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits for a condition.
///
/// # Panics
/// When it is not so by the deadline: `what` says what was waited for.
pub fn wait_for(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let so = wait_until(deadline, || condition().then_some(()));
    assert!(so.is_some(), "waited {deadline:?} in vain: {what}");
}

/// Watches that something stays as it is for a while: the one case in which nothing can be waited for.
///
/// # Panics
/// When it is not so at any look: `what` says what should have stayed.
pub fn watch(what: &str, time: Duration, mut still: impl FnMut() -> bool) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(still(), "did not stay so: {what}");
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_ends_the_wait() {
        assert_eq!(wait_until::<()>(Duration::from_millis(20), || None), None);
        let mut looks = 0;
        let found = wait_until(Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, Some(3));
    }

    #[test]
    #[should_panic(expected = "did not stay so: calm")]
    fn a_watch_notices() {
        let mut looks = 0;
        watch("calm", Duration::from_secs(5), || {
            looks += 1;
            looks < 3
        });
    }
}
