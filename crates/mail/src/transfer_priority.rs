//! How soon a message is to be transferred: the number of RFC 6710, and its relation to the three words of RFC 2156.
//!
//! The number orders mail: of what may go, the higher goes first. The words decide what the keywords of a channel are about
//! (`urgentbackoff`, `nonurgentblocklimit` and others). Each number is of one word, and each word stands for one number,
//! as in the profile MIXER of RFC 6710: urgent is 4, normal 0, non-urgent -4.
//!
//! # Not here
//! Who may ask for which number (`smtpd`), and the order itself (`queue`).

use std::fmt;
use std::num::NonZeroU8;

use crate::Priority;

/// A priority of RFC 6710: -9 to 9, the higher the sooner; 0 where nothing was said. Kept as 1 to 19: an `Option` of what holds one is
/// then no larger, and queues hold many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferPriority(NonZeroU8);

const ABOVE_ZERO: i8 = 10;

impl TransferPriority {
    /// Of a message about which nothing was said.
    pub const NORMAL: TransferPriority = Self::known(0);
    /// Lowest.
    pub const MIN: TransferPriority = Self::known(-9);
    /// Highest.
    pub const MAX: TransferPriority = Self::known(9);

    const fn known(number: i8) -> Self {
        match NonZeroU8::new((number + ABOVE_ZERO).cast_unsigned()) {
            Some(kept) => Self(kept),
            None => panic!("-10 is no priority"),
        }
    }

    /// The priority with this number.
    #[must_use]
    pub const fn new(number: i8) -> Option<Self> {
        match number {
            -9..=9 => Some(Self::known(number)),
            _ => None,
        }
    }

    /// The value of `MT-PRIORITY=` (RFC 6710 section 3): one digit, with `-` before it unless it is 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match *text.as_bytes() {
            [digit @ b'0'..=b'9'] => Self::new((digit - b'0').cast_signed()),
            [b'-', digit @ b'1'..=b'9'] => Self::new(-(digit - b'0').cast_signed()),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i8 {
        self.0.get().cast_signed() - ABOVE_ZERO
    }

    /// Its place among all, counted from 0 for the highest: what is sorted by.
    #[must_use]
    pub const fn level(self) -> u8 {
        (9 - self.number()).cast_unsigned()
    }

    /// The priority at that place.
    #[must_use]
    pub const fn at_level(level: u8) -> Option<Self> {
        match level {
            0..=18 => Self::new(9 - level.cast_signed()),
            _ => None,
        }
    }

    /// The word that it counts as where a channel tells only three apart. What is between two words is normal: keywords
    /// for urgent and non-urgent mail are about mail that was called so.
    #[must_use]
    pub const fn class(self) -> Priority {
        match self.number() {
            4.. => Priority::Urgent,
            -3..=3 => Priority::Normal,
            _ => Priority::Nonurgent,
        }
    }
}

impl From<Priority> for TransferPriority {
    fn from(word: Priority) -> Self {
        Self::known(match word {
            Priority::Urgent => 4,
            Priority::Normal => 0,
            Priority::Nonurgent => -4,
        })
    }
}

impl Default for TransferPriority {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// As behind `MT-PRIORITY=`.
impl fmt::Display for TransferPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_digit_with_or_without_a_minus() {
        for number in -9..=9 {
            let read = TransferPriority::parse(&number.to_string());
            assert_eq!(read.map(TransferPriority::number), Some(number));
            assert_eq!(read.map(|read| read.to_string()), Some(number.to_string()));
        }
        for bad in ["", "-", "-0", "+1", "10", "-10", "01", " 1", "1 ", "x", "\u{663}", "--1", "1.5"] {
            assert_eq!(TransferPriority::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn levels_count_from_the_highest() {
        for level in 0..19 {
            let priority = TransferPriority::at_level(level).unwrap();
            assert_eq!(priority.level(), level);
            assert_eq!(i16::from(priority.number()), 9 - i16::from(level));
        }
        assert_eq!(TransferPriority::at_level(19), None);
        assert_eq!((TransferPriority::new(10), TransferPriority::new(-10)), (None, None));
        assert!(
            TransferPriority::MIN < TransferPriority::NORMAL
                && TransferPriority::NORMAL < TransferPriority::MAX
        );
        assert_eq!(size_of::<Option<TransferPriority>>(), 1);
    }

    #[test]
    fn words_and_numbers_go_in_one_order() {
        let classes: Vec<u8> =
            (-9..=9).map(|number| TransferPriority::new(number).unwrap().class() as u8).collect();
        assert_eq!(classes, [2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
        for word in [Priority::Urgent, Priority::Normal, Priority::Nonurgent] {
            assert_eq!(TransferPriority::from(word).class(), word);
        }
        assert_eq!(TransferPriority::default(), TransferPriority::from(Priority::default()));
    }
}
