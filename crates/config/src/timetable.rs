//! Timetables: when something is done ([`Timetable`]), and when it may be done ([`Windows`]).
//!
//! A timetable is a cron expression, an interval, times of the week, or several of these. All but intervals go by the
//! clock on the wall of a [`Zone`], which has an hour too few on one night of the year and an hour too many on another:
//! - what is due in the hour that is missing is done at its end, once;
//! - what is due in the hour that comes twice is done the first time, unless the cron expression is for every hour
//!   (`*` in the place of the hour): then it is done in both.
//!
//! Intervals do not begin when a hub starts but at fixed moments, so that a restart changes nothing and everybody works
//! out the same next time; each name has moments of its own, so that a thousand sites do not all go at once.
//!
//! # Invariants
//! `next(after)` is later than `after`. The same question has the same answer, whoever asks.
//! # Not here
//! The clock, and the files of time zones: both are handed in.

mod weekly;
mod zone;

pub use weekly::Windows;
pub use zone::Zone;

use crate::values;
use sluice_mail::Time;
use std::ops::Range;
use std::time::Duration;
use weekly::Week;

/// The shortest interval.
const INTERVAL_LEAST: Duration = Duration::from_secs(1);
/// The longest interval; what is rarer is a date, and for those there is cron.
const INTERVAL_MOST: Duration = Duration::from_secs(366 * 86_400);
/// Moments of a schedule that are compared with windows: more than a year of days has.
const MOMENTS_MAX: usize = 1000;
/// Entries in one timetable.
const ENTRIES_MAX: usize = 64;
/// Seconds after the epoch up to which moments are worked out: the year 9000, within all calendars used here.
pub(crate) const SECONDS_MAX: i64 = 221_845_392_000;

/// The moments at which something is done.
#[derive(Debug, Clone)]
pub struct Timetable {
    entries: Box<[Entry]>,
    zone: Zone,
    text: Box<str>,
    /// Of intervals, in milliseconds: how far their moments are from multiples of the interval.
    phase: u64,
}

impl PartialEq for Timetable {
    /// Two are the same when they were written alike and mean the same.
    fn eq(&self, other: &Timetable) -> bool {
        self.text == other.text && self.zone == other.zone && self.phase == other.phase
    }
}

#[derive(Debug, Clone)]
enum Entry {
    /// Read with the clock of the wall in the place of UTC, so that the crate needs no time zones.
    Cron {
        crontab: Box<cronexpr::Crontab>,
        every_hour: bool,
    },
    Every(Duration),
    Week(Week),
}

/// What is wrong with a text, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) range: Range<usize>,
    pub(crate) what: String,
    pub(crate) help: String,
    /// It can be read, and stands for nothing.
    pub(crate) never: bool,
}

impl Mistake {
    fn new(range: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Mistake {
        Mistake { range, what: what.into(), help: help.into(), never: false }
    }

    fn never(range: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Mistake {
        Mistake { never: true, ..Mistake::new(range, what, help) }
    }
}

/// How a timetable is written, for whoever wrote it otherwise.
const WANTED: &str = "write a cron expression (`0 6 * * mon-fri`), an interval (`every 30m`), or times (`mon-fri 06:00, 18:00`)";

impl Timetable {
    /// Reads one: entries with `;` between them, each a cron expression, an interval, or times of the week.
    ///
    /// `name` is whose it is: intervals of different names have different moments.
    ///
    /// # Errors
    /// What is wrong, and the way out, in one sentence each.
    pub fn parse(text: &str, zone: &Zone, name: &str) -> Result<Timetable, String> {
        Timetable::read(text, zone, name).map_err(|mistake| format!("{}; {}", mistake.what, mistake.help))
    }

    pub(crate) fn read(text: &str, zone: &Zone, name: &str) -> Result<Timetable, Mistake> {
        let mut entries = Vec::new();
        let mut at = 0;
        for part in text.split(';') {
            let begin = at + (part.len() - part.trim_start().len());
            at += part.len() + 1;
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            if entries.len() == ENTRIES_MAX {
                let range = begin..begin + part.len();
                let what = format!("more than {ENTRIES_MAX} entries in one timetable");
                return Err(Mistake::new(range, what, "say the same with fewer"));
            }
            let entry = entry(part).map_err(|mistake| Mistake {
                range: mistake.range.start + begin..mistake.range.end + begin,
                ..mistake
            })?;
            entries.push(entry);
        }
        if entries.is_empty() {
            return Err(Mistake::new(0..text.len(), "there is no time in it", WANTED));
        }
        let phase = phase_of(name);
        Ok(Timetable { entries: entries.into(), zone: zone.clone(), text: text.into(), phase })
    }

    /// The first moment later than `after`. `None` when there is none in the years that are looked at, which are four.
    #[must_use]
    pub fn next(&self, after: Time) -> Option<Time> {
        self.entries.iter().filter_map(|entry| self.next_of(entry, after)).min()
    }

    /// As [`Timetable::next`], the first moment at which a window is open too. `None` when none of the next thousand moments is
    /// in a window.
    #[must_use]
    pub fn next_within(&self, windows: Option<&Windows>, after: Time) -> Option<Time> {
        let Some(windows) = windows else { return self.next(after) };
        let mut at = after;
        for _ in 0..MOMENTS_MAX {
            at = self.next(at)?;
            if windows.is_open(at) {
                return Some(at);
            }
            // Straight to the next window, of whose first moment the schedule may be one.
            at = at.max(windows.opens_after(at)?.minus(Duration::from_millis(1)));
        }
        None
    }

    fn next_of(&self, entry: &Entry, after: Time) -> Option<Time> {
        let of_wall = |moments: &dyn Fn(i64) -> Option<i64>, twice| {
            let after = i64::try_from(after.secs()).ok().filter(|after| *after < SECONDS_MAX)?;
            let next = self.zone.next(after, twice, moments)?;
            Some(Time::from_secs(u64::try_from(next).ok()?))
        };
        match entry {
            Entry::Every(interval) => {
                let step = u64::try_from(interval.as_millis()).ok().filter(|step| *step > 0)?;
                let phase = self.phase % step;
                let before = after.0.checked_sub(phase).map(|elapsed| elapsed / step);
                let next = before
                    .map_or(Some(phase), |count| count.checked_add(1)?.checked_mul(step)?.checked_add(phase));
                next.map(Time)
            }
            Entry::Cron { crontab, every_hour } => of_wall(
                &|wall| {
                    let after = cronexpr::MakeTimestamp::from_second(wall).ok()?;
                    Some(crontab.find_next(after).ok()?.timestamp().as_second())
                },
                *every_hour,
            ),
            Entry::Week(week) => of_wall(&|wall| week.next(wall), false),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The zone whose clock it goes by.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Whether some entry is an interval: then the moments depend on the name that it was read for.
    pub(crate) fn has_interval(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Every(_)))
    }
}

/// The same for a name on every machine and in every release (FNV-1a over its octets in lower case).
fn phase_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Within a year, so that the first moments are not in the far future.
    hash % (366 * 86_400_000)
}

fn entry(text: &str) -> Result<Entry, Mistake> {
    let whole = 0..text.len();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if let Some(shorthand) = text.strip_prefix('@') {
        let expression = match shorthand.to_ascii_lowercase().as_str() {
            "hourly" => "0 * * * *",
            "daily" | "midnight" => "0 0 * * *",
            "weekly" => "0 0 * * 0",
            "monthly" => "0 0 1 * *",
            "yearly" | "annually" => "0 0 1 1 *",
            _ => {
                let help = "there are `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`";
                return Err(Mistake::new(whole, format!("`{text}` is no time"), help));
            }
        };
        return cron(expression);
    }
    if let Some(first) = words.first()
        && first.eq_ignore_ascii_case("every")
        && words.len() > 1
    {
        let begin = text.len() - text[first.len()..].trim_start().len();
        return interval(&text[begin..], begin);
    }
    if text.contains(':') {
        return Ok(Entry::Week(Week::times(text)?));
    }
    if words.len() == 5 || words.iter().any(|word| word.contains('*')) {
        return cron(text);
    }
    let begins_with_digit = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if words.len() <= 2 && (begins_with_digit || text.starts_with(['P', 'p'])) {
        return interval(text, 0);
    }
    Err(Mistake::new(whole, format!("`{text}` is no time"), WANTED))
}

fn interval(text: &str, begin: usize) -> Result<Entry, Mistake> {
    let range = begin..begin + text.len();
    let help = "write a time with its unit, such as `every 30m`, `every 1h 30m` or `PT30M`";
    let bare = text.bytes().all(|octet| octet.is_ascii_digit());
    let Some(interval) = values::duration(text).filter(|_| !bare) else {
        return Err(Mistake::new(range, format!("`{text}` is no length of time"), help));
    };
    if interval < INTERVAL_LEAST || interval > INTERVAL_MOST {
        let what = format!("`{text}` is no interval: it is shorter than a second or longer than a year");
        return Err(Mistake::new(range, what, help));
    }
    Ok(Entry::Every(interval))
}

/// A cron expression: minute, hour, day of the month, month, day of the week.
fn cron(text: &str) -> Result<Entry, Mistake> {
    const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];
    let mut options = cronexpr::ParseOptions::default();
    options.fallback_timezone_option = cronexpr::FallbackTimezoneOption::UTC;
    let mut places = Vec::new();
    for word in text.split_ascii_whitespace() {
        let begin = word.as_ptr() as usize - text.as_ptr() as usize;
        places.push(begin..begin + word.len());
    }
    let fields: Vec<&str> = places.iter().map(|place| &text[place.clone()]).collect();
    if fields.len() != FIELDS.len() {
        let what = format!("a cron expression has five fields, and this has {}", fields.len());
        let help = "write minute, hour, day of the month, month and day of the week: `30 6 * * mon-fri`";
        let place = places.get(5).map_or(0..text.len(), |extra| extra.start..text.len());
        return Err(Mistake::new(place, what, help));
    }
    for (index, field) in fields.iter().enumerate() {
        let mut alone = ["*"; 5];
        alone[index] = field;
        if let Err(error) = cronexpr::parse_crontab_with(&alone.join(" "), options) {
            let error = error.to_string();
            // The crate draws a caret under the place; what stands behind it is the reason.
            let reason = error.rsplit_once("^ ").map_or(error.as_str(), |(_, reason)| reason);
            let what = format!("the {} of the cron expression cannot be `{field}`: {reason}", FIELDS[index]);
            let help =
                "a field is `*`, a number, a range `1-5`, a step `*/10`, or a list of these with commas";
            return Err(Mistake::new(places[index].clone(), what, help));
        }
    }
    let whole = fields.join(" ");
    let crontab = cronexpr::parse_crontab_with(&whole, options).map_err(|error| {
        let error = error.to_string();
        let reason = error.rsplit_once("^ ").map_or(error.as_str(), |(_, reason)| reason).to_owned();
        Mistake::new(0..text.len(), format!("`{text}` is no cron expression: {reason}"), WANTED)
    })?;
    // From a leap year on, so that the 29th of February is found.
    let found = cronexpr::MakeTimestamp::from_second(1_704_067_200).ok().map(|from| crontab.find_next(from));
    if !matches!(found, Some(Ok(_))) {
        let what = format!("`{text}` never happens: no date is like that");
        return Err(Mistake::never(0..text.len(), what, "look at the day of the month and the month"));
    }
    Ok(Entry::Cron { crontab: Box::new(crontab), every_hour: fields[1].starts_with('*') })
}

#[cfg(test)]
mod tests;
