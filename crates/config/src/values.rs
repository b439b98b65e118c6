//! Values as operators write them: integers with a base, sizes, lengths of time, ports.

use std::net::IpAddr;
use std::time::Duration;

/// A decimal integer with an optional sign.
pub(crate) fn decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// An integer as option files have it: decimal, or `b%v` for the value v in base b.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let Some((base, value)) = text.split_once('%') else { return decimal(text) };
    let base = u32::try_from(decimal(base)?).ok().filter(|base| (2..=36).contains(base))?;
    i64::from_str_radix(value, base).ok()
}

/// Bytes, with K, M or G behind the number if wanted (powers of 1024).
pub(crate) fn size(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let (number, shift) = [("K", 10), ("M", 20), ("G", 30)]
        .into_iter()
        .find_map(|(unit, shift)| Some((upper.strip_suffix(unit)?, shift)))
        .unwrap_or((&upper, 0));
    let number = u64::try_from(integer(number.trim_end())?).ok()?;
    number.checked_mul(1 << shift)
}

/// Seconds in a unit; a month counts 30 days and a year 365, as calendars do not matter to a queue.
fn seconds_in(unit: char, in_time: bool) -> Option<u64> {
    Some(match (unit.to_ascii_uppercase(), in_time) {
        ('S', true) => 1,
        ('M', true) => 60,
        ('H', true) => 3600,
        ('D', false) => 86_400,
        ('W', false) => 7 * 86_400,
        ('M', false) => 30 * 86_400,
        ('Y', false) => 365 * 86_400,
        _ => return None,
    })
}

/// The longest time that is taken: 100 years, far from every overflow.
const LONGEST_SECS: f64 = 100.0 * 365.0 * 86_400.0;

fn in_seconds(seconds: f64) -> Option<Duration> {
    (seconds.is_finite() && (0.0..=LONGEST_SECS).contains(&seconds)).then(|| Duration::from_secs_f64(seconds))
}

/// A number without sign or exponent, with a fraction if wanted.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b',');
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    (plain && begins).then(|| text.replace(',', ".").parse().ok()).flatten()
}

/// An ISO 8601 duration such as `PT30M` or `P1DT12H`, in either case.
pub(crate) fn iso_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix(['P', 'p'])?;
    let (mut total, mut in_time, mut any) = (0.0, false, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix(['T', 't']) {
            if in_time || time.is_empty() {
                return None;
            }
            (rest, in_time) = (time, true);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let unit = rest[end..].chars().next()?;
        total += number(&rest[..end])? * seconds_in(unit, in_time)? as f64;
        rest = &rest[end + 1..];
        any = true;
    }
    if any { in_seconds(total) } else { None }
}

/// A duration as our own options have it, and as operators type it: `90`, `30s`, `4h`, `1h30m`, `2d`, `500ms`, or ISO
/// 8601. `None` for anything else.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    if text.starts_with(['P', 'p']) {
        return iso_duration(text);
    }
    if let Some(seconds) = number(text) {
        return in_seconds(seconds);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let unit_length = rest[end..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - end);
        let unit = match rest[end..end + unit_length].to_ascii_lowercase().as_str() {
            "ms" => 0.001,
            "s" | "sec" | "secs" => 1.0,
            "m" | "min" | "mins" => 60.0,
            "h" | "hr" | "hrs" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            "w" | "week" | "weeks" => 7.0 * 86_400.0,
            _ => return None,
        };
        total += number(rest[..end].trim())? * unit;
        rest = rest[end + unit_length..].trim_start();
    }
    if text.is_empty() { None } else { in_seconds(total) }
}

/// Minutes with a fraction, as PMDF's channel options have times; `unit` is the length of one in seconds.
pub(crate) fn minutes(text: &str, unit: f64) -> Option<Duration> {
    in_seconds(number(text)? * unit)
}

/// The argument of `after`: seconds, an ISO 8601 duration, or a VMS delta time `[days ]hh:mm[:ss[.cc]]`.
pub(crate) fn seconds_or_time(text: &str) -> Option<Duration> {
    if let Some(seconds) = number(text) {
        return in_seconds(seconds);
    }
    if text.starts_with(['P', 'p']) {
        return iso_duration(text);
    }
    let (days, time) = text.split_once([' ', '-']).unwrap_or(("0", text));
    let mut parts = time.split(':');
    let (hours, minutes) = (number(parts.next()?)?, number(parts.next()?)?);
    let seconds = parts.next().map_or(Some(0.0), number)?;
    if parts.next().is_some() || hours >= 24.0 || minutes >= 60.0 || seconds >= 60.0 {
        return None;
    }
    in_seconds(number(days)? * 86_400.0 + hours * 3600.0 + minutes * 60.0 + seconds)
}

/// An IP address, in brackets or not.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let bare = match bare.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => &bare[5..],
        _ => bare,
    };
    bare.parse().ok()
}

/// `25`, or `[127.0.0.1]25`.
pub(crate) fn port(text: &str) -> Option<(Option<IpAddr>, u16)> {
    let (host, number) = match text.strip_prefix('[') {
        None => (None, text),
        Some(rest) => {
            let (host, number) = rest.split_once(']')?;
            (Some(address(host)?), number.strip_prefix(':').unwrap_or(number))
        }
    };
    let number = u16::try_from(integer(number.trim())?).ok().filter(|number| *number > 0)?;
    Some((host, number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn secs(found: Option<Duration>) -> Option<f64> {
        found.map(|duration| duration.as_secs_f64())
    }

    #[test]
    fn integers_with_a_base() {
        assert_eq!(integer("10"), Some(10));
        assert_eq!(integer("16%ff"), Some(255));
        assert_eq!(integer("8%17"), Some(15));
        assert_eq!(integer("2%102"), None);
        assert_eq!(integer("1%0"), None);
        assert_eq!(integer("%5"), None);
        assert_eq!(integer("-3"), Some(-3));
        assert_eq!(integer("+3"), Some(3));
        assert_eq!(integer("3 "), None);
        assert_eq!(integer("99999999999999999999"), None);
        assert_eq!(decimal("16%ff"), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(size("10"), Some(10));
        assert_eq!(size("64M"), Some(64 << 20));
        assert_eq!(size("1k"), Some(1024));
        assert_eq!(size("-1"), None);
        assert_eq!(size("99999999999G"), None);
        assert_eq!(size("M"), None);
    }

    #[test]
    fn iso_durations_in_either_case() {
        assert_eq!(secs(iso_duration("PT30M")), Some(1800.0));
        assert_eq!(secs(iso_duration("pt1h30m")), Some(5400.0));
        assert_eq!(secs(iso_duration("P1D")), Some(86_400.0));
        assert_eq!(secs(iso_duration("P1M")), Some(30.0 * 86_400.0));
        assert_eq!(secs(iso_duration("P1DT0.5H")), Some(88_200.0));
        assert_eq!(secs(iso_duration("P2W")), Some(14.0 * 86_400.0));
        for wrong in ["P", "PT", "P1", "PT5", "P1H", "PT1D", "30M", "PT-1M", "PT1MT1M", "P1DT", "PT1é", ""] {
            assert_eq!(iso_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_with_units() {
        assert_eq!(secs(duration("30s")), Some(30.0));
        assert_eq!(secs(duration("4h")), Some(14_400.0));
        assert_eq!(secs(duration("1h 30m")), Some(5400.0));
        assert_eq!(secs(duration("500ms")), Some(0.5));
        assert_eq!(secs(duration("90")), Some(90.0));
        assert_eq!(secs(duration("PT4H")), Some(14_400.0));
        for wrong in ["", "h", "4x", "4h5", "-1s", "1e9s", "99999999999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn seconds_or_vms_times() {
        assert_eq!(secs(seconds_or_time("90")), Some(90.0));
        assert_eq!(secs(seconds_or_time("0 00:30:00")), Some(1800.0));
        assert_eq!(secs(seconds_or_time("1-02:00")), Some(93_600.0));
        assert_eq!(secs(seconds_or_time("PT5M")), Some(300.0));
        assert_eq!(seconds_or_time("25:00"), None);
        assert_eq!(seconds_or_time("noon"), None);
    }

    #[test]
    fn ports() {
        assert_eq!(port("25"), Some((None, 25)));
        assert_eq!(port("[127.0.0.1]2525"), Some((Some("127.0.0.1".parse().unwrap()), 2525)));
        assert_eq!(port("[::1]:2525"), Some((Some("::1".parse().unwrap()), 2525)));
        assert_eq!(port("0"), None);
        assert_eq!(port("70000"), None);
        assert_eq!(port("[host]25"), None);
        assert_eq!(port("[127.0.0.1"), None);
        assert_eq!(address("[IPv6:::1]"), Some("::1".parse().unwrap()));
    }
}
