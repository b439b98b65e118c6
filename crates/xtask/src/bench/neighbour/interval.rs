//! What a number of turns says of the true fall: its median, and an interval by rank.
//!
//! How turns scatter is not known, and on a machine that is used by others it is not evenly. That half of them are above the true median
//! holds whatever they are like, so between the one that is so many places from the least, and the one as many from the most, it lies
//! with a probability that is counted by coins. Where turns are added until something is decided, it is looked at several times, and the
//! probability of being wrong once is larger than that of one look.

use super::TARGET_PERCENT;

/// How often the true median may be outside of the interval.
const OUTSIDE: f64 = 0.05;

/// Percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) least: f64,
    pub(super) middle: f64,
    pub(super) most: f64,
}

/// Whether the fall is less than the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Holds,
    DoesNotHold,
    NotDecided,
}

impl Verdict {
    pub(super) const fn said(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::NotDecided => "not decided",
        }
    }
}

impl Interval {
    /// Of so few that no interval is sure enough, it is without ends.
    pub(super) fn of(mut falls: Vec<f64>) -> Interval {
        falls.sort_by(f64::total_cmp);
        let middle = crate::bench::median(falls.iter().copied());
        let Some(away) = places_away(falls.len()) else {
            return Interval { least: f64::NEG_INFINITY, middle, most: f64::INFINITY };
        };
        Interval { least: falls[away], middle, most: falls[falls.len() - 1 - away] }
    }

    pub(super) fn less(self, other: f64) -> Interval {
        Interval { least: self.least - other, middle: self.middle - other, most: self.most - other }
    }

    pub(super) fn verdict(self) -> Verdict {
        if self.most < TARGET_PERCENT {
            Verdict::Holds
        } else if self.least > TARGET_PERCENT {
            Verdict::DoesNotHold
        } else {
            Verdict::NotDecided
        }
    }

    pub(super) fn ends(self) -> String {
        if self.least.is_finite() { format!("{:.1} to {:.1}", self.least, self.most) } else { String::new() }
    }
}

/// The ends of the interval are so many places from the least and the most of so many.
fn places_away(count: usize) -> Option<usize> {
    // Both sides together: the probability that at most so many of the coins fall on one side.
    let mut all = 2.0_f64.powi(1 - i32::try_from(count).ok()?);
    let (mut outside, mut away) = (0.0, None);
    for place in 0..count / 2 {
        outside += all;
        if outside > OUTSIDE {
            break;
        }
        away = Some(place);
        #[allow(clippy::cast_precision_loss)] // some dozens
        let (left, taken) = ((count - place) as f64, (place + 1) as f64);
        all *= left / taken;
    }
    away
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_where_the_tables_of_the_sign_test_have_them() {
        // Places from the end, for 95 %: tables count them from one.
        for (count, place) in [
            (1, None),
            (5, None),
            (6, Some(0)),
            (8, Some(0)),
            (9, Some(1)),
            (12, Some(2)),
            (15, Some(3)),
            (20, Some(5)),
            (25, Some(7)),
        ] {
            assert_eq!(places_away(count), place, "{count}");
        }
    }

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let of = |falls: &[f64]| Interval::of(falls.to_vec()).verdict();
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0, 5.0, 9.9]), Verdict::Holds);
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0, 5.0, 10.1]), Verdict::NotDecided);
        assert_eq!(of(&[10.1, 12.0, 13.0, 14.0, 15.0, 30.0]), Verdict::DoesNotHold);
        assert_eq!(of(&[1.0, 1.0, 1.0]), Verdict::NotDecided, "three turns say nothing");
        // One that is far out among nine says nothing against the others.
        assert_eq!(of(&[-50.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 80.0]), Verdict::Holds);
        let interval = Interval::of(vec![12.0; 6]).less(5.0);
        assert_eq!((interval.middle, interval.verdict()), (7.0, Verdict::Holds));
    }
}
