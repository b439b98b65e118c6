//! Time zones: what the clock on the wall says, and what happens on the nights on which it is changed.
//!
//! A zone is made from a rule or from the content of a file; whoever has files hands the content in.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Changes of the clock that are looked at before giving up: more than four years have anywhere.
const STRETCHES_MAX: usize = 64;

/// A time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Zone {
        Zone::utc()
    }
}

/// Time between two changes of the clock, in seconds.
struct Stretch {
    /// The wall is so far ahead of UTC.
    offset: i64,
    /// When it began, and how far the wall was ahead before.
    begin: Option<(i64, i64)>,
    /// When it ends, and how far the wall is ahead from then on.
    end: Option<(i64, i64)>,
}

impl Zone {
    /// Universal time, whose clock is never changed.
    #[must_use]
    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }

    /// A zone by its rule in the manner of the variable `TZ` (POSIX): `CET-1CEST,M3.5.0,M10.5.0/3`.
    #[must_use]
    pub fn from_rule(rule: &str) -> Option<Zone> {
        TimeZone::posix(rule).ok().map(Zone)
    }

    /// A zone from the content of its file (RFC 9636), such as `/usr/share/zoneinfo/Europe/Berlin`.
    #[must_use]
    pub fn from_file(name: &str, content: &[u8]) -> Option<Zone> {
        TimeZone::tzif(name, content).ok().map(Zone)
    }

    /// What the clock on the wall says at a moment, in seconds since midnight of 1 January 1970 by that clock.
    pub(super) fn wall(&self, at: i64) -> i64 {
        at.saturating_add(self.offset(at))
    }

    /// How many seconds the wall is ahead of UTC at a moment.
    fn offset(&self, at: i64) -> i64 {
        Timestamp::from_second(at).map_or(0, |at| i64::from(self.0.to_offset(at).seconds()))
    }

    fn stretch(&self, at: i64) -> Stretch {
        let offset = self.offset(at);
        let after = |at: i64| Timestamp::from_second(at).ok();
        // The crate gives changes before a moment, without the moment itself.
        let begin = after(at.saturating_add(1)).and_then(|at| self.0.preceding(at).next());
        let end = after(at).and_then(|at| self.0.following(at).next());
        Stretch {
            offset,
            begin: begin.map(|change| {
                let at = change.timestamp().as_second();
                (at, self.offset(at.saturating_sub(1)))
            }),
            end: end.map(|change| (change.timestamp().as_second(), i64::from(change.offset().seconds()))),
        }
    }

    /// The first moment after `after` (seconds since the epoch) that the wall knows as one of `moments`: a function
    /// that gives, for a time of the wall, the first moment behind it. `twice`: what falls into an hour that comes
    /// twice happens twice, and what falls into an hour that is missing does not happen.
    pub(super) fn next(&self, after: i64, twice: bool, moments: &dyn Fn(i64) -> Option<i64>) -> Option<i64> {
        let mut stretch = self.stretch(after);
        let mut wall = after.checked_add(stretch.offset)?;
        for _ in 0..STRETCHES_MAX {
            if let Some((begin, before)) = stretch.begin
                && !twice
                && before > stretch.offset
            {
                // The hour that the wall shows again is over for those who go by it once.
                wall = wall.max(begin + before - 1);
            }
            let moment = moments(wall)?;
            let Some((end, ahead)) = stretch.end else { return Some(moment - stretch.offset) };
            if moment - stretch.offset < end {
                return Some(moment - stretch.offset);
            }
            if !twice && moment < end + ahead {
                // The wall never shows it: it happens when the hour that is missing would be over.
                return Some(end);
            }
            wall = end + ahead - 1;
            stretch = self.stretch(end);
        }
        None
    }

    /// The first moment from `from` on at which `is` holds of the wall, where `change` gives, for a time of the wall
    /// at which it does not hold, the next at which it does if the clock is left alone.
    pub(super) fn first(
        &self,
        from: i64,
        is: &dyn Fn(i64) -> bool,
        change: &dyn Fn(i64) -> Option<i64>,
    ) -> Option<i64> {
        let mut at = from;
        for _ in 0..STRETCHES_MAX {
            let stretch = self.stretch(at);
            let wall = at.checked_add(stretch.offset)?;
            if is(wall) {
                return Some(at);
            }
            let moment = change(wall)?;
            match stretch.end {
                Some((end, _)) if moment - stretch.offset >= end => at = end,
                _ => return Some(moment - stretch.offset),
            }
        }
        None
    }
}
