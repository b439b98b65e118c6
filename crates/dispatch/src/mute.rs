//! Plugins that say nothing: deliveries come back, one after the other, and nobody is settled.
//!
//! What is not settled is deferred, so that nothing is lost by forgetting. A plugin that forgets all of it is broken, and would go
//! through a backlog as fast as the hub can write down what was deferred, at the cost of all other channels. So a channel
//! whose plugin has been mute for a while rests, longer each time, as it does after a failure; one word of the plugin's about anybody ends that.
//!
//! # Not here
//! Plugins that fail, hang or die: the host has them rest. Those that defer everything do say so, and are right.

use std::time::Duration;

use sluice_mail::Time;

/// So many deliveries in a row may come back without a word.
const MUTE_MAX: u32 = 10;
/// The first rest; it doubles with each one in a row.
const REST_FIRST: Duration = Duration::from_secs(1);
/// The longest.
const REST_MAX: Duration = Duration::from_secs(60);

/// How mute a channel's plugin is.
#[derive(Debug, Default)]
pub(crate) struct Mute {
    in_a_row: u32,
    rests: u32,
}

impl Mute {
    /// It has spoken.
    pub(crate) fn spoke(&mut self) {
        *self = Self::default();
    }

    /// A delivery has come back without a word, while the channel rests until `rests_until`: how long it is to rest from now on.
    pub(crate) fn said_nothing(&mut self, rests_until: Time, now: Time) -> Option<Duration> {
        self.in_a_row = self.in_a_row.saturating_add(1);
        // What was leased before the rest comes back in it.
        if self.in_a_row < MUTE_MAX || rests_until > now {
            return None;
        }
        let rest = REST_FIRST.saturating_mul(1 << self.rests.min(16)).min(REST_MAX);
        self.rests += 1;
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_until_it_speaks() {
        let mut mute = Mute::default();
        let (mut now, mut until) = (Time(1_000), Time(0));
        let mut rests = |mute: &mut Mute, deliveries: u32| -> Vec<u64> {
            let one = |_| {
                let rest = mute.said_nothing(until, now)?;
                until = now.plus(rest);
                // The next one comes back when the rest is over.
                now = until;
                Some(rest.as_secs())
            };
            (0..deliveries).filter_map(one).collect()
        };
        assert_eq!(rests(&mut mute, MUTE_MAX - 1), [] as [u64; 0]);
        assert_eq!(rests(&mut mute, 8), [1, 2, 4, 8, 16, 32, 60, 60]);
        mute.spoke();
        assert_eq!(rests(&mut mute, MUTE_MAX), [1]);
    }

    #[test]
    fn what_comes_back_during_a_rest_makes_it_no_longer() {
        let mut mute = Mute::default();
        let now = Time(1_000);
        let first = (0..MUTE_MAX).find_map(|_| mute.said_nothing(Time(0), now));
        assert_eq!(first, Some(REST_FIRST));
        assert_eq!((0..100).find_map(|_| mute.said_nothing(now.plus(REST_FIRST), now)), None);
        assert_eq!(mute.said_nothing(now, now), Some(2 * REST_FIRST));
    }
}
