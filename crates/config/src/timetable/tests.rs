//! Timetables: every form, every mistake, and the nights on which clocks are changed.
#![allow(clippy::unwrap_used)]
use super::*;
use jiff::Timestamp;

/// Central European time: a clock that is changed on the last Sundays of March and October.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn time(text: &str) -> Time {
    Time::from_secs(u64::try_from(text.parse::<Timestamp>().unwrap().as_second()).unwrap())
}

fn shown(time: Option<Time>) -> String {
    time.map_or("never".to_owned(), sluice_mail::rfc3339)
}

fn zone(rule: &str) -> Zone {
    if rule.is_empty() { Zone::utc() } else { Zone::from_rule(rule).unwrap() }
}

/// The next moments, in UTC.
fn moments(text: &str, rule: &str, after: &str, count: usize) -> Vec<String> {
    let timetable = Timetable::read(text, &zone(rule), "site").unwrap();
    let mut at = time(after);
    let mut found = Vec::new();
    for _ in 0..count {
        let next = timetable.next(at);
        found.push(shown(next));
        let Some(next) = next else { break };
        assert!(next > at, "{text} after {}", shown(Some(at)));
        at = next;
    }
    found
}

fn windows(text: &str, rule: &str) -> Windows {
    Windows::read(text, &zone(rule)).unwrap()
}

fn wrong(text: &str) -> String {
    let mistake = Timetable::read(text, &Zone::utc(), "site").unwrap_err();
    format!("{}: {}", &text[mistake.range], mistake.what)
}

fn wrong_window(text: &str) -> String {
    let mistake = Windows::read(text, &Zone::utc()).unwrap_err();
    format!("{}: {}", &text[mistake.range], mistake.what)
}

#[test]
fn cron_goes_by_the_wall() {
    assert_eq!(
        moments("30 6 * * mon-fri", BERLIN, "2026-11-27T12:00:00Z", 2),
        ["2026-11-30T05:30:00Z", "2026-12-01T05:30:00Z"]
    );
    assert_eq!(moments("@daily", "", "2026-11-27T12:00:00Z", 1), ["2026-11-28T00:00:00Z"]);
    assert_eq!(
        moments("0 0 29 2 *", "", "2026-11-27T12:00:00Z", 2),
        ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]
    );
}

#[test]
fn times_of_the_week() {
    assert_eq!(
        moments("mon-fri 06:00, 18:00, sat 09:00", "", "2026-11-27T18:00:00Z", 4),
        ["2026-11-28T09:00:00Z", "2026-11-30T06:00:00Z", "2026-11-30T18:00:00Z", "2026-12-01T06:00:00Z"]
    );
    assert_eq!(moments("06:00", BERLIN, "2026-07-01T00:00:00Z", 1), ["2026-07-01T04:00:00Z"]);
    assert_eq!(moments("sun 00:00", "", "2026-11-29T00:00:00Z", 1), ["2026-12-06T00:00:00Z"]);
}

#[test]
fn several_entries_add_up() {
    assert_eq!(
        moments("0 12 * * *; mon 06:00", "", "2026-11-29T13:00:00Z", 2),
        ["2026-11-30T06:00:00Z", "2026-11-30T12:00:00Z"]
    );
}

#[test]
fn a_schedule_within_windows_passes_over_what_is_outside() {
    let utc = Zone::utc();
    let within = |schedule: &str, text: &str, after: &str| {
        let timetable = Timetable::read(schedule, &utc, "site").unwrap();
        let windows = Windows::read(text, &utc).unwrap();
        shown(timetable.next_within(Some(&windows), time(after)))
    };
    assert_eq!(within("0 * * * *", "22:00-06:00", "2026-11-30T12:30:00Z"), "2026-11-30T22:00:00Z");
    assert_eq!(within("30 * * * *", "22:00-06:00", "2026-12-01T05:30:00Z"), "2026-12-01T22:30:00Z");
    assert_eq!(within("mon 12:00", "sat, sun", "2026-11-30T12:30:00Z"), "never");
}

#[test]
fn intervals_have_moments_of_their_own() {
    let after = time("2026-11-27T12:00:00Z");
    let of = |name| Timetable::read("every 30m", &Zone::utc(), name).unwrap().next(after).unwrap();
    assert_ne!(of("one"), of("two"));
    assert_eq!(of("one"), of("ONE"));
    let first = of("one");
    assert!(first > after && first <= after.plus(Duration::from_secs(1800)));
    let timetable = Timetable::read("PT30M", &Zone::utc(), "one").unwrap();
    assert_eq!(timetable.next(after), Some(first), "written otherwise, and meant the same");
    assert_eq!(timetable.next(first), Some(first.plus(Duration::from_secs(1800))));
    assert!(timetable.next(Time(0)).unwrap() > Time(0));
    assert_eq!(timetable.next(Time(u64::MAX)), None);
}

#[test]
fn what_is_due_in_the_missing_hour_is_done_at_its_end() {
    // On 28 March 2027 the clock goes from 02:00 to 03:00, which is 01:00 in UTC.
    let night = "2027-03-27T12:00:00Z";
    assert_eq!(moments("30 2 * * *", BERLIN, night, 2), ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]);
    assert_eq!(moments("02:15, 02:45", BERLIN, night, 2), ["2027-03-28T01:00:00Z", "2027-03-29T00:15:00Z"]);
    assert_eq!(
        moments("30 * * * *", BERLIN, "2027-03-27T23:45:00Z", 3),
        ["2027-03-28T00:30:00Z", "2027-03-28T01:30:00Z", "2027-03-28T02:30:00Z"]
    );
}

#[test]
fn what_is_due_in_the_double_hour_is_done_once() {
    // On 31 October 2027 the clock goes from 03:00 to 02:00, which is 01:00 in UTC.
    let night = "2027-10-30T12:00:00Z";
    assert_eq!(moments("30 2 * * *", BERLIN, night, 2), ["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]);
    assert_eq!(
        moments("02:15, 02:45, 03:00", BERLIN, night, 4),
        ["2027-10-31T00:15:00Z", "2027-10-31T00:45:00Z", "2027-10-31T02:00:00Z", "2027-11-01T01:15:00Z"]
    );
    assert_eq!(
        moments("30 * * * *", BERLIN, "2027-10-30T23:45:00Z", 3),
        ["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z", "2027-10-31T02:30:00Z"]
    );
    // Asked in the middle of the hour that comes again.
    assert_eq!(moments("30 2 * * *", BERLIN, "2027-10-31T01:10:00Z", 1), ["2027-11-01T01:30:00Z"]);
}

#[test]
fn windows_go_over_midnight_and_over_the_week() {
    let night = windows("mon-fri 22:00-06:00, sat, sun 08:00-12:00", "");
    for (at, open) in [
        ("2026-11-30T21:59:59Z", false),
        ("2026-11-30T22:00:00Z", true),
        ("2026-12-01T05:59:59Z", true),
        ("2026-12-01T06:00:00Z", false),
        ("2026-12-05T05:00:00Z", true),
        ("2026-12-05T08:30:00Z", true),
        ("2026-12-05T12:00:00Z", false),
        ("2026-12-06T08:00:00Z", true),
    ] {
        assert_eq!(night.is_open(time(at)), open, "{at}");
    }
    assert_eq!(shown(night.opens_after(time("2026-11-30T12:00:00Z"))), "2026-11-30T22:00:00Z");
    assert_eq!(shown(night.opens_after(time("2026-11-30T23:00:00Z"))), "2026-11-30T23:00:00Z");
    assert_eq!(shown(night.closes_after(time("2026-11-30T23:00:00Z"))), "2026-12-01T06:00:00Z");
    assert_eq!(shown(night.opens_after(time("2026-12-06T12:00:00Z"))), "2026-12-07T22:00:00Z");
    let sunday = windows("sun 20:00-04:00", "");
    assert!(sunday.is_open(time("2026-11-30T03:00:00Z")));
    assert!(!sunday.is_open(time("2026-11-30T04:00:00Z")));
}

#[test]
fn days_without_times_are_whole_and_windows_that_touch_are_one() {
    let weekend = windows("fri 18:00-24:00, weekend 00:00-24:00, mon 00:00-06:00", "");
    assert_eq!(shown(weekend.closes_after(time("2026-11-27T18:00:00Z"))), "2026-11-30T06:00:00Z");
    let always = windows("daily", "");
    assert!(always.is_open(Time(0)));
    assert_eq!(always.closes_after(Time(0)), None);
    assert_eq!(
        windows("fri-mon 10:00-11:00", "").opens_after(time("2026-12-01T00:00:00Z")),
        Some(time("2026-12-04T10:00:00Z"))
    );
}

#[test]
fn windows_on_the_nights_on_which_the_clock_is_changed() {
    let early = windows("02:30-05:00", BERLIN);
    // 02:30 is not there: the window is open when the missing hour is over.
    assert_eq!(shown(early.opens_after(time("2027-03-27T23:00:00Z"))), "2027-03-28T01:00:00Z");
    assert_eq!(shown(early.closes_after(time("2027-03-28T01:00:00Z"))), "2027-03-28T03:00:00Z");
    let inside = windows("02:00-03:00", BERLIN);
    assert_eq!(shown(inside.opens_after(time("2027-03-27T23:00:00Z"))), "2027-03-29T00:00:00Z");
    // In the hour that comes twice it is open twice as long.
    assert_eq!(shown(inside.opens_after(time("2027-10-30T12:00:00Z"))), "2027-10-31T00:00:00Z");
    assert_eq!(shown(inside.closes_after(time("2027-10-31T00:00:00Z"))), "2027-10-31T02:00:00Z");
}

/// Every moment of two nights of change, compared with what a look at the wall for each minute finds.
#[test]
fn windows_agree_with_a_walk_through_the_minutes() {
    let minute = Duration::from_secs(60);
    for text in
        ["02:30-05:00", "01:30-02:10", "sun 02:59-03:01", "23:00-02:30, 02:40-02:50", "sat 22:00-03:00"]
    {
        let windows = windows(text, BERLIN);
        for begin in ["2027-03-27T20:00:00Z", "2027-10-30T20:00:00Z"] {
            let begin = time(begin);
            for step in (0..600).step_by(7) {
                let at = begin.plus(minute * step);
                let walk = |open| {
                    (0..20_000).map(|far| at.plus(minute * far)).find(|at| windows.is_open(*at) == open)
                };
                assert_eq!(windows.opens_after(at), walk(true), "{text} opens after {}", shown(Some(at)));
                assert_eq!(windows.closes_after(at), walk(false), "{text} closes after {}", shown(Some(at)));
            }
        }
    }
}

#[test]
fn mistakes_have_a_place_and_a_reason() {
    insta::assert_snapshot!(
        ["", "soon", "every", "every 30", "every 0s", "every 500d", "@noon", "0 25 * * *", "0 5 * *", "0 5 * * * *",
         "5 4 * * fun", "0 0 31 2 *", "mon 25:00", "mon 06:00, fre 07:00", "mon 06:00-07:00", "06:00, tue", "1 2 3 4 5; nonsense"]
        .map(wrong)
        .join("\n"),
        @r"
        : there is no time in it
        soon: `soon` is no time
        every: `every` is no time
        30: `30` is no length of time
        0s: `0s` is no interval: it is shorter than a second or longer than a year
        500d: `500d` is no interval: it is shorter than a second or longer than a year
        @noon: `@noon` is no time
        25: the hour of the cron expression cannot be `25`: value must be in range 0..=23; found 25
        0 5 * *: a cron expression has five fields, and this has 4
        *: a cron expression has five fields, and this has 6
        fun: the day of the week of the cron expression cannot be `fun`: malformed expression
        0 0 31 2 *: `0 0 31 2 *` never happens: no date is like that
        25:00: `25:00` is no time of day
        fre: `fre` is no day of the week
        06:00-07:00: `06:00-07:00` is no moment
        tue: `tue` is no moment
        nonsense: `nonsense` is no time
        "
    );
    insta::assert_snapshot!(
        ["", "mon-fri", "22:00", "mon 22:00-22:00", "mon 22:00-25:00", "funday 10:00-11:00", "mon-fun 10:00-11:00", "10-12"]
        .map(|text| if text == "mon-fri" { "fine".to_owned() } else { wrong_window(text) })
        .join("\n"),
        @r"
        : there is no time in it
        fine
        22:00: `22:00` has no end
        22:00-22:00: `22:00-22:00` ends when it begins, so it never opens
        22:00-25:00: `22:00-25:00` is no time of day
        funday: `funday` is no day of the week
        mon-fun: `mon-fun` is no day of the week
        10-12: `10-12` is no time of day
        "
    );
}

#[test]
fn any_text_is_read_without_panic() {
    let words =
        ["*", "mon", "-", "22:00", ":", ",", ";", "every", "30m", "@", "é", "/", "5", "24:00", "#", "L", " "];
    let mut state = 1u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..state % 7 + 1 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(words[(state >> 33) as usize % words.len()]);
            if state & 8 == 0 {
                text.push(' ');
            }
        }
        match Timetable::read(&text, &Zone::utc(), "x") {
            Ok(timetable) => assert!(timetable.next(Time(0)).is_some(), "{text}"),
            Err(mistake) => assert!(text.get(mistake.range).is_some(), "{text}"),
        }
        if let Err(mistake) = Windows::read(&text, &Zone::utc()) {
            assert!(text.get(mistake.range).is_some(), "{text}");
        }
    }
}
