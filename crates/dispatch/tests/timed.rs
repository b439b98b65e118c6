//! Channels that run by the clock: `SCHEDULE` and `WINDOW` of `[CHANNEL=pattern]` sections.
//!
//! The clock of these houses begins on a Monday at 14:13:20 UTC; the periodic service is held every four hours.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_dispatch::{Acting, Filter};
use std::time::Duration;
use support::{Act, CHANNELS, HOUR, House, MINUTE, RULES, configuration_with_times, read_with_options};

fn house(jobs: &str) -> House {
    House::with(configuration_with_times(&[], jobs, ""))
}

#[test]
fn a_channel_is_run_by_its_schedule() {
    let house = house("[CHANNEL=tcp_s*]\nSCHEDULE=mon 15:00, 15:30\n[CHANNEL=tcp_site]\nSCHEDULE=15:10\n");
    house.send(&["tcp_slow!a@slow.example"]);
    house.send(&["tcp_site!b@site.example"]);
    house.wait_queue(&["tcp_site/site.example 1", "tcp_slow/slow.example 1"]);
    let at = |minutes: u64| Some(house.clock_now().plus(Duration::from_secs(minutes * 60 + 40)));
    assert_eq!(house.channel("tcp_slow").next_run, at(46));
    assert_eq!(house.channel("tcp_site").next_run, at(56), "the more exact pattern");
    assert_eq!(house.channel("tcp_local").next_run, None);
    house.pass(46 * MINUTE);
    assert_eq!(house.take_got(), [""; 0], "it is 14:59");
    house.pass(MINUTE);
    house.wait_queue(&["tcp_site/site.example 1"]);
    assert_eq!(house.take_got(), ["tcp_slow a@slow.example"]);
    house.send(&["tcp_slow!c@slow.example"]);
    house.wait_queue(&["tcp_site/site.example 1", "tcp_slow/slow.example 1"]);
    house.pass(10 * MINUTE);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    house.pass(20 * MINUTE);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_site b@site.example", "tcp_slow c@slow.example"]);
}

#[test]
fn a_schedule_tries_deferred_mail_of_an_immediate_channel_again() {
    let house = House::with(configuration_with_times(
        &[("tcp_local", "backoff P1D")],
        "[CHANNEL=tcp_local]\nSCHEDULE=15:00\n",
        "",
    ));
    house.act("a@there.example", Act::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_got(1);
    house.take_got();
    house.act("a@there.example", Act::Deliver);
    house.pass(46 * MINUTE);
    house.wait_queue(&["tcp_local/there.example 1"]);
    house.pass(MINUTE);
    house.wait_queue(&[]);
}

#[test]
fn a_schedule_asks_the_peer_for_mail_though_nothing_waits() {
    let jobs = "[CHANNEL=tcp_site]\nSCHEDULE=every 24h; 15:00; 21:00\nWINDOW=14:00-16:00\n";
    let house = House::with(configuration_with_times(&[("tcp_site", "sendetrn hub.example")], jobs, ""));
    house.quiet();
    assert_eq!(house.polls(), [""; 0]);
    house.pass(47 * MINUTE);
    house.wait(|| house.polls() == ["tcp_site"], || format!("a poll: {:?}", house.polls()));
    // 18:13 and 22:13: two periodic services, and a moment of the schedule, none of them in the window.
    house.pass(4 * HOUR);
    house.pass(4 * HOUR);
    house.quiet();
    assert_eq!(house.polls(), ["tcp_site"], "a closed window keeps from asking");
}

#[test]
fn outside_its_window_nothing_of_a_channel_goes_on_its_own() {
    let house = house(
        "[CHANNEL=tcp_local]\nWINDOW=22:00-23:00\n[CHANNEL=tcp_slow]\nWINDOW=22:00-23:00\nSCHEDULE=15:00\n",
    );
    house.send(&["tcp_local!a@there.example"]);
    house.send(&["tcp_slow!b@slow.example"]);
    house.send(&["tcp_local!asked@deep.there.example"]);
    let both = ["tcp_local/deep.there.example 1", "tcp_local/there.example 1", "tcp_slow/slow.example 1"];
    house.wait_queue(&both);
    let opens = house.clock_now().plus(Duration::from_secs(7 * 3600 + 46 * 60 + 40));
    assert_eq!(house.channel("tcp_local").next_run, Some(opens), "22:00");
    assert_eq!(house.channel("tcp_slow").next_run, None, "no moment of its schedule is in its window");
    house.pass(4 * HOUR);
    house.quiet();
    house.wait_queue(&both);
    assert_eq!(house.take_got(), [""; 0], "neither the schedule nor the periodic service takes it");
    assert_eq!(house.etrn("deep.there.example").messages, 1);
    house.wait_queue(&["tcp_local/there.example 1", "tcp_slow/slow.example 1"]);
    assert_eq!(house.take_got(), ["tcp_local asked@deep.there.example"], "who asks gets mail at any time");
    house.pass(4 * HOUR);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_local a@there.example", "tcp_slow b@slow.example"], "it is 22:13");
    house.send(&["tcp_local!c@there.example"]);
    house.wait_queue(&[]);
}

#[test]
fn an_operator_releases_outside_the_window_and_a_retry_waits_for_it() {
    let house = house("[CHANNEL=tcp_local]\nWINDOW=20:00-21:00\n");
    house.act("a@there.example", Act::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_queue(&["tcp_local/there.example 1"]);
    house.release("#tcp_local");
    house.wait_got(1);
    house.wait(|| house.summary().first().is_some_and(|queue| queue.active == 0), || "put back".to_owned());
    let opens = house.clock_now().plus(Duration::from_secs(5 * 3600 + 46 * 60 + 40));
    assert_eq!(house.summary()[0].next_due, Some(opens), "20:00, whatever the back-off says");
}

#[test]
fn times_of_a_site_win_over_those_of_its_channel() {
    let jobs = "[CHANNEL=tcp_*]\nSCHEDULE=15:00\nWINDOW=14:30-17:00\n";
    let sites = "[SITE=own]\nDOMAINS=slow.example\nSCHEDULE=17:30\n[SITE=open]\nDOMAINS=there.example\nWINDOW=14:00-14:20\n";
    let house = House::with(configuration_with_times(&[], jobs, sites));
    house.send(&["tcp_local!a@there.example"]);
    house.wait_got(1);
    assert_eq!(
        house.take_got(),
        ["tcp_local a@there.example"],
        "the site's window is open, the channel's is not"
    );
    house.send(&["tcp_slow!b@slow.example"]);
    house.send(&["tcp_slow!c@deep.slow.example"]);
    house.wait_queue(&["tcp_slow/deep.slow.example 1", "tcp_slow/slow.example 1"]);
    house.pass(47 * MINUTE);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    assert_eq!(house.take_got(), ["tcp_slow c@deep.slow.example"], "the site has a schedule of its own");
    house.pass(2 * HOUR);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "it is 17:00");
    house.pass(30 * MINUTE);
    house.wait_queue(&[]);
    assert_eq!(
        house.take_got(),
        ["tcp_slow b@slow.example"],
        "the channel's window does not hold a site's schedule"
    );
}

#[test]
fn a_reload_takes_schedules_of_channels_up_anew() {
    let mut house = house("[CHANNEL=tcp_slow]\nSCHEDULE=15:00\n");
    house.send(&["tcp_slow!a@slow.example"]);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    house.reload(configuration_with_times(&[], "[CHANNEL=tcp_slow]\nSCHEDULE=15:30\n", ""));
    house.pass(47 * MINUTE);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "the old moment means nothing any more");
    house.pass(30 * MINUTE);
    house.wait_queue(&[]);
}

#[test]
fn a_hold_that_is_lifted_while_the_window_is_closed_waits_for_it() {
    let mut house = house("[CHANNEL=tcp_local]\nWINDOW=16:00-17:00\n");
    house.send(&["tcp_local!a@there.example"]);
    house.wait_queue(&["tcp_local/there.example 1"]);
    for act in [sluice_dispatch::Act::Hold, sluice_dispatch::Act::Release] {
        let chosen = house.handle().choose(Filter::default(), &mut |_, _| true).unwrap().entries;
        let acting = Acting { act, by: "the test".to_owned(), reason: String::new() };
        assert_eq!(house.handle().act(acting, &chosen, &mut |_, _| true).unwrap().done, 1);
    }
    assert_eq!(house.take_got(), [""; 0], "it is 14:13");
    house.restart();
    assert_eq!(house.take_got(), [""; 0], "and after a restart");
    house.pass(2 * HOUR);
    house.wait_queue(&[]);
}

#[test]
fn a_channel_that_a_reload_makes_immediate_waits_for_its_window() {
    let jobs = "[CHANNEL=tcp_slow]\nWINDOW=16:00-17:00\n";
    let mut house = house(jobs);
    house.send(&["tcp_slow!a@slow.example"]);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    let (before, _) = CHANNELS.split_once("odd ").unwrap();
    let channels = before.replace("tcp_slow smtp periodic", "tcp_slow smtp");
    let channels = channels.split(['{', '}']).step_by(2).collect::<String>();
    let rules = RULES.replace("odd.example $U%$D@ODD-CHANNEL\n", "");
    house.reload(read_with_options(&format!("{rules}\n{channels}"), jobs, "TIME_ZONE=UTC\n"));
    assert_eq!(house.take_got(), [""; 0], "it is 14:13");
    house.pass(2 * HOUR);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_slow a@slow.example"]);
}
