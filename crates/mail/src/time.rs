//! Points in time, and their written form in message headers.
//!
//! # Not here
//! The clock: whoever needs "now" is handed a [`Time`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, in UTC.
///
/// Milliseconds because retry times below a second matter in tests and nowhere else; 64 bits because they are written
/// to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The given number of whole seconds after the epoch.
    pub const fn from_secs(secs: u64) -> Time {
        Time(secs.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// This time moved into the future; stays at the end of time instead of overflowing.
    pub fn plus(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This time moved into the past; stays at the epoch instead of going below it.
    pub fn minus(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is before it (clocks are set back sometimes).
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(0).plus(since_epoch)
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date as RFC 5322 section 3.3 writes it in a header field, in UTC: `Sat, 21 Nov 2026 21:30:00 +0000`.
///
/// A time after the year 9999 is written as the last one that has a four-digit year.
pub fn rfc5322_date(time: Time) -> String {
    let secs = i64::try_from(time.secs()).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_second(secs).unwrap_or(jiff::Timestamp::MAX);
    let at = jiff::tz::Offset::UTC.to_datetime(timestamp);
    let day = DAYS[usize::from(at.weekday().to_monday_zero_offset().unsigned_abs())];
    let month = MONTHS[usize::from(at.month().unsigned_abs()) - 1];
    let mut date = String::with_capacity(DATE_OCTETS);
    date.push_str(day);
    date.push_str(", ");
    push_two_digits(&mut date, at.day().unsigned_abs());
    date.push(' ');
    date.push_str(month);
    date.push(' ');
    let year = at.year().unsigned_abs();
    // Below 10,000, so that both halves are two digits.
    push_two_digits(&mut date, u8::try_from(year / 100).unwrap_or(99));
    push_two_digits(&mut date, u8::try_from(year % 100).unwrap_or(99));
    for (before, part) in [(' ', at.hour()), (':', at.minute()), (':', at.second())] {
        date.push(before);
        push_two_digits(&mut date, part.unsigned_abs());
    }
    date.push_str(" +0000");
    date
}

/// Length of a date as [`rfc5322_date`] writes it: each message has one, so that it is not left to the formatter.
const DATE_OCTETS: usize = "Sat, 21 Nov 2026 21:30:00 +0000".len();

fn push_two_digits(text: &mut String, number: u8) {
    text.push(char::from(b'0' + number / 10 % 10));
    text.push(char::from(b'0' + number % 10));
}

/// The time that a date in a header field stands for: RFC 5322 section 3.3 with its obsolete forms (two-digit years, zones
/// by name), which are those of RFC 822 that RFC 2156 has in `Deferred-Delivery:`. Comments and folding are passed over.
/// `None` for anything else, and for a time before 1970.
pub fn header_date(text: &str) -> Option<Time> {
    let text = without_comments(text)?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let plain = words.join(" ");
    let written =
        jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(&plain).ok()?;
    Some(Time(u64::try_from(written.as_millisecond()).ok()?))
}

/// The text without its comments in parentheses (RFC 5322 section 3.2.2), which may be nested. `None` where one is not
/// closed.
fn without_comments(text: &str) -> Option<String> {
    let (mut depth, mut quoted) = (0u32, false);
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            _ if quoted => quoted = false,
            '\\' if depth > 0 => quoted = true,
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            other if depth == 0 => plain.push(other),
            _ => {}
        }
    }
    (depth == 0).then_some(plain)
}

/// The time as RFC 3339 writes it, in UTC and whole seconds: `2026-11-21T21:30:00Z`. For logs, rows and JSON.
///
/// A time after the year 9999 is written as the last one that has a four-digit year.
pub fn rfc3339(time: Time) -> String {
    let secs = i64::try_from(time.secs()).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_second(secs).unwrap_or(jiff::Timestamp::MAX);
    timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The time that a date of RFC 3339 (section 5.6, `date-time`) stands for: with a zone, with or without a fraction of a second.
/// `None` for anything else, for a time before 1970 and for one in the last days of the year 9999 and later.
pub fn rfc3339_time(text: &str) -> Option<Time> {
    let (day_and_time, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(before) => (before, None),
        None => {
            text.split_at_checked(text.len().checked_sub(6)?).map(|(before, zone)| (before, Some(zone)))?
        }
    };
    let fits = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(octet, wanted)| match wanted {
                b'0' => octet.is_ascii_digit(),
                b'+' => octet == b'+' || octet == b'-',
                wanted => octet.eq_ignore_ascii_case(&wanted),
            })
    };
    let (whole, fraction) = day_and_time.split_once('.').unwrap_or((day_and_time, "0"));
    let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    if !fits(whole, "0000-00-00T00:00:00") || !is_fraction || !zone.is_none_or(|zone| fits(zone, "+00:00")) {
        return None;
    }
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    Some(Time(u64::try_from(timestamp.as_millisecond()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_utc_with_english_names() {
        assert_eq!(rfc5322_date(Time(0)), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc5322_date(Time::from_secs(1_795_296_600)), "Sat, 21 Nov 2026 21:30:00 +0000");
    }

    #[test]
    fn dates_of_rfc_3339_are_read_with_their_zone() {
        for (text, time) in [
            ("2026-11-21T21:30:00Z", Some(Time::from_secs(1_795_296_600))),
            ("2026-11-21t21:30:00z", Some(Time::from_secs(1_795_296_600))),
            ("2026-11-21T22:30:00+01:00", Some(Time::from_secs(1_795_296_600))),
            ("2026-11-21T16:30:00.25-05:00", Some(Time(1_795_296_600_250))),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-21T21:30:00", None),
            ("2026-11-21 21:30:00Z", None),
            ("2026-11-21T21:30Z", None),
            ("2026-13-21T21:30:00Z", None),
            ("2026-11-21T21:30:00.Z", None),
            ("2026-11-21T21:30:00.1234567890Z", None),
            ("2026-11-21T21:30:00+0100", None),
            ("2026-11-21T21:30:00Z[UTC]", None),
            ("+002026-11-21T21:30:00Z", None),
            ("2026-11-21T21:30:0\u{e4}\u{e4}\u{e4}\u{e4}", None),
            ("Z", None),
            ("", None),
        ] {
            assert_eq!(rfc3339_time(text), time, "{text}");
        }
    }

    #[test]
    fn dates_of_headers_are_read_in_all_their_forms() {
        let evening = Some(Time::from_secs(1_795_296_600));
        for text in [
            "Sat, 21 Nov 2026 21:30:00 +0000",
            "21 Nov 2026 21:30:00 +0000",
            "21 Nov 2026 21:30 GMT",
            "  Sat,  21 Nov 26 22:30:00 +0100 ",
            "Sat, 21 Nov 2026 16:30:00 EST",
            "Sat, 21 Nov 2026 21:30:00 +0000 (UTC (or so))",
            "Fri, 21 Nov 2026 21:30:00 +0000",
            "(to be sent) 21 Nov 2026 21:30:00 UT",
        ] {
            assert_eq!(header_date(text), evening, "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "31 Feb 2026 21:30:00 +0000",
            "21 Nov 2026",
            "21 Nov 2026 25:30:00 +0000",
            "21 Nov 1926 21:30:00 +0000",
            "21 Nov 2026 21:30:00 +0000 (",
            "21 Nov 2026 21:30:00 +0000 )",
            "21 Nov 2026 21:30:00 +0000 and more",
            "2026-11-21T21:30:00Z",
        ] {
            assert_eq!(header_date(text), None, "{text}");
        }
    }

    #[test]
    fn rows_have_sortable_times() {
        assert_eq!(rfc3339(Time::from_secs(1_795_296_600)), "2026-11-21T21:30:00Z");
        assert!(rfc3339(Time(u64::MAX)).starts_with("9999-12-"));
    }

    #[test]
    fn a_date_beyond_the_calendar_is_written_as_its_last_day() {
        assert!(rfc5322_date(Time(u64::MAX)).contains(" Dec 9999 "));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time(u64::MAX).plus(Duration::MAX), Time(u64::MAX));
        assert_eq!(Time(5).minus(Duration::from_secs(1)), Time(0));
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
        assert_eq!(Time::from_secs(3).since(Time(500)), Duration::from_millis(2500));
        assert_eq!(Time::from_secs(u64::MAX), Time(u64::MAX));
        assert_eq!(Time(1999).secs(), 1);
    }
}
