//! Times of the week: `mon-fri 06:00, 18:00` as moments ([`Week`]), `mon-fri 22:00-06:00` as windows ([`Windows`]).
//!
//! Both are lists of minutes of the week that goes from Monday to Sunday. Days come first and hold for the times behind
//! them; days behind a time begin anew; without days it is every day.

use super::{Mistake, SECONDS_MAX, Zone};
use sluice_mail::Time;
use std::ops::Range;

const DAY: u16 = 24 * 60;
const WEEK: u16 = 7 * DAY;
const DAYS: [(&str, &str); 7] = [
    ("mon", "monday"),
    ("tue", "tuesday"),
    ("wed", "wednesday"),
    ("thu", "thursday"),
    ("fri", "friday"),
    ("sat", "saturday"),
    ("sun", "sunday"),
];
/// Times, or windows, in one list.
const TIMES_MAX: usize = 1000;

/// Moments of the week, in minutes since Monday 00:00, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Week(Box<[u16]>);

impl Week {
    /// Reads days and times.
    pub(super) fn times(text: &str) -> Result<Week, Mistake> {
        let mut moments = Vec::new();
        let help = "write days and times with commas between them: `mon-fri 06:00, 18:00, sat 09:00`";
        for (days, time, range) in lists(text, help)? {
            let minute = minute(time).filter(|minute| *minute < DAY).ok_or_else(|| {
                let what = match time.contains('-') {
                    true => format!("`{}` is no moment", &text[range.clone()]),
                    false => format!("`{time}` is no time of day"),
                };
                Mistake::new(range, what, "write times of day from `00:00` to `23:59`")
            })?;
            moments.extend(days.iter().map(|day| day * DAY + minute));
        }
        moments.sort_unstable();
        moments.dedup();
        Ok(Week(moments.into()))
    }

    /// The first moment behind a time of the wall, in seconds of the wall.
    pub(super) fn next(&self, wall: i64) -> Option<i64> {
        let week = i64::from(WEEK) * 60;
        let into = into_week(wall);
        let behind = self.0.iter().map(|minute| i64::from(*minute) * 60).find(|second| *second > into);
        let next = match behind {
            Some(second) => second,
            None => i64::from(*self.0.first()?) * 60 + week,
        };
        wall.checked_add(next - into)
    }
}

/// Seconds since Monday 00:00 of a time of the wall. The first day of the epoch was a Thursday.
fn into_week(wall: i64) -> i64 {
    (wall + 3 * i64::from(DAY) * 60).rem_euclid(i64::from(WEEK) * 60)
}

/// When something may be done: stretches of the week by the clock of a [`Zone`].
///
/// A window that begins late and ends early (`mon 22:00-06:00`) belongs to the day on which it begins. A window inside the
/// hour that is missing on one night of the year does not open that night.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// Beginnings in minutes since Monday 00:00, and lengths in minutes; in order, apart from each other.
    spans: Box<[(u16, u16)]>,
    zone: Zone,
    text: Box<str>,
}

impl Windows {
    /// Reads windows: days and times of day, such as `mon-fri 22:00-06:00, sat, sun 00:00-24:00`.
    ///
    /// # Errors
    /// What is wrong, and the way out, in one sentence each.
    pub fn parse(text: &str, zone: &Zone) -> Result<Windows, String> {
        Windows::read(text, zone).map_err(|mistake| format!("{}; {}", mistake.what, mistake.help))
    }

    pub(crate) fn read(text: &str, zone: &Zone) -> Result<Windows, Mistake> {
        let help = "write days and times of day: `mon-fri 22:00-06:00, sat, sun 00:00-24:00`";
        let mut spans = Vec::new();
        for (days, time, range) in lists(text, help)? {
            let (begin, length) = stretch(time, &range, help)?;
            spans.extend(days.iter().map(|day| (day * DAY + begin, length)));
        }
        let spans = joined(&spans).into();
        Ok(Windows { spans, zone: zone.clone(), text: text.into() })
    }

    /// Is a window open at this moment?
    #[must_use]
    pub fn is_open(&self, at: Time) -> bool {
        seconds(at).is_some_and(|at| self.holds(self.zone.wall(at)))
    }

    /// The first moment from `at` on at which a window is open: `at` itself when one is.
    #[must_use]
    pub fn opens_after(&self, at: Time) -> Option<Time> {
        if self.is_open(at) {
            return Some(at);
        }
        self.first(at, &|wall| self.holds(wall), &|wall| {
            self.least_wait(wall, self.spans.iter().map(|(begin, _)| *begin))
        })
    }

    /// The first moment from `at` on at which no window is open: `at` itself when none is. `None`: never.
    #[must_use]
    pub fn closes_after(&self, at: Time) -> Option<Time> {
        if !self.is_open(at) {
            return Some(at);
        }
        if self.spans.iter().any(|(_, length)| *length >= WEEK) {
            return None;
        }
        self.first(at, &|wall| !self.holds(wall), &|wall| {
            self.least_wait(wall, self.spans.iter().map(|(begin, length)| (begin + length) % WEEK))
        })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn first(&self, at: Time, is: &dyn Fn(i64) -> bool, change: &dyn Fn(i64) -> Option<i64>) -> Option<Time> {
        let found = self.zone.first(seconds(at)?, is, change)?;
        Some(Time::from_secs(u64::try_from(found).ok()?))
    }

    fn holds(&self, wall: i64) -> bool {
        let minute = u16::try_from(into_week(wall) / 60).unwrap_or(0);
        self.spans.iter().any(|(begin, length)| (minute + WEEK - begin) % WEEK < *length)
    }

    /// The nearest of some minutes of the week behind a time of the wall, in seconds of the wall.
    fn least_wait(&self, wall: i64, minutes: impl Iterator<Item = u16>) -> Option<i64> {
        let (week, into) = (i64::from(WEEK) * 60, into_week(wall));
        let wait = |minute: u16| match (i64::from(minute) * 60 - into).rem_euclid(week) {
            0 => week,
            wait => wait,
        };
        wall.checked_add(minutes.map(wait).min()?)
    }
}

fn seconds(at: Time) -> Option<i64> {
    i64::try_from(at.secs()).ok().filter(|at| *at < SECONDS_MAX)
}

/// Windows that touch or overlap made one.
fn joined(spans: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut open = vec![false; usize::from(WEEK)];
    for (begin, length) in spans {
        for minute in 0..(*length).min(WEEK) {
            open[usize::from((begin + minute) % WEEK)] = true;
        }
    }
    let before = |minute: usize| open[(minute + open.len() - 1) % open.len()];
    let mut joined = Vec::new();
    for (minute, _) in open.iter().enumerate().filter(|(minute, is)| **is && !before(*minute)) {
        let length = (1..open.len()).find(|length| !open[(minute + length) % open.len()]);
        joined.push((minute as u16, length.unwrap_or(open.len()) as u16));
    }
    // Open all the time: no minute is the first.
    if joined.is_empty() && open[0] {
        joined.push((0, WEEK));
    }
    joined
}

/// `22:00-06:00`: minute of the day and length in minutes.
fn stretch(text: &str, range: &Range<usize>, help: &str) -> Result<(u16, u16), Mistake> {
    let wrong = |what: String, help: &str| Mistake::new(range.clone(), what, help);
    let Some((from, to)) = text.split_once('-') else {
        return Err(wrong(format!("`{text}` has no end"), "write from when to when: `22:00-06:00`"));
    };
    let (Some(begin), Some(end)) = (minute(from).filter(|begin| *begin < DAY), minute(to)) else {
        return Err(wrong(format!("`{text}` is no time of day"), help));
    };
    if begin == end {
        let what = format!("`{text}` ends when it begins, so it never opens");
        let help = "for the whole day write `00:00-24:00`, or the days without times";
        return Err(Mistake::never(range.clone(), what, help));
    }
    Ok((begin, if end > begin { end - begin } else { end + DAY - begin }))
}

/// `HH:MM` up to `24:00`, in minutes.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let number = |text: &str, digits: Range<usize>| {
        let fine = digits.contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
        fine.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours, 1..3)?, number(minutes, 2..3)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY).then_some(minute)
}

/// Days, and a time with its place.
type Listed<'a> = (Vec<u16>, &'a str, Range<usize>);

/// Takes a list of days and times apart. Days without a time are whole days, written as the time `00:00-24:00`.
fn lists<'a>(text: &'a str, help: &str) -> Result<Vec<Listed<'a>>, Mistake> {
    let mut listed: Vec<Listed<'a>> = Vec::new();
    let mut days: Vec<u16> = Vec::new();
    let mut days_range = 0..0;
    let mut had_time = true;
    for (word, range) in words(text) {
        if listed.len() > TIMES_MAX {
            return Err(Mistake::new(range, format!("more than {TIMES_MAX} times in one list"), help));
        }
        if word.as_bytes()[0].is_ascii_digit() {
            let of = if days.is_empty() { (0..7).collect() } else { days.clone() };
            listed.push((of, word, range));
            had_time = true;
            continue;
        }
        let Some(found) = day_range(word) else {
            let what = format!("`{word}` is no day of the week");
            return Err(Mistake::new(range, what, "days are mon, tue, wed, thu, fri, sat and sun"));
        };
        if had_time {
            days.clear();
            days_range = range.clone();
            had_time = false;
        }
        days.extend(found);
        days_range.end = range.end;
    }
    if !had_time {
        listed.push((days, "00:00-24:00", days_range));
    }
    if listed.is_empty() {
        return Err(Mistake::new(0..text.len(), "there is no time in it", help));
    }
    Ok(listed)
}

/// The words of a list. Blanks around the hyphen of a range belong to it.
fn words(text: &str) -> Vec<(&str, Range<usize>)> {
    let separates = |c: char| c.is_whitespace() || matches!(c, ',' | ';');
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(skip) = text[at..].find(|c: char| !separates(c)) {
        let begin = at + skip;
        at = text[begin..].find(separates).map_or(text.len(), |length| begin + length);
        let goes_on = text[begin..].starts_with('-')
            || found.last().is_some_and(|before| text[..before.end].ends_with('-'));
        match found.last_mut() {
            Some(before) if goes_on => before.end = at,
            _ => found.push(begin..at),
        }
    }
    found.into_iter().map(|range| (&text[range.clone()], range)).collect()
}

fn day_range(word: &str) -> Option<Vec<u16>> {
    let day = |word: &str| {
        let lower = word.trim().to_ascii_lowercase();
        DAYS.iter().position(|(short, long)| lower == *short || lower == *long)
    };
    match word.to_ascii_lowercase().as_str() {
        "daily" | "everyday" => return Some((0..7).collect()),
        "weekdays" => return Some((0..5).collect()),
        "weekend" | "weekends" => return Some(vec![5, 6]),
        _ => {}
    }
    let Some((from, to)) = word.split_once('-') else { return Some(vec![day(word)? as u16]) };
    let (from, to) = (day(from)?, day(to)?);
    let length = (to + 7 - from) % 7;
    Some((0..=length).map(|step| ((from + step) % 7) as u16).collect())
}
