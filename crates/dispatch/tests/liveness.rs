//! Channels that get nothing done are named, channels that could run do, and looking for them costs by what has happened.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use sluice_dispatch::{ChannelStatus, Loaded};
use support::{Act, HOUR, House, MINUTE, read};

/// A house with so many channels, of which each has a site and a pool slot of its own.
fn wide(channels: usize, keywords: &str, jobs: &str) -> House {
    House::with(wide_configuration(channels, keywords, jobs))
}

fn wide_configuration(channels: usize, keywords: &str, jobs: &str) -> Arc<Loaded> {
    use std::fmt::Write;
    let mut text = String::new();
    for n in 0..channels {
        let _ = writeln!(text, "site{n}.example $U%$D@TCP-SITE{n}");
    }
    let _ = write!(
        text,
        "there.example $U%$D@TCP-DAEMON\nhub.example $U@hub.example\n\nl\nhub.example\n\ntcp_local smtp\nTCP-DAEMON\n"
    );
    for n in 0..channels {
        let _ = write!(text, "\ntcp_site{n} smtp daemon site{n}.example {keywords}\nTCP-SITE{n}\n");
    }
    read(&text, jobs)
}

#[test]
fn what_one_event_costs_does_not_grow_with_the_channels() {
    let looks = |channels: usize| {
        let house = wide(channels, "periodic pool wide", "[POOL=wide]\nJOB_LIMIT=1000\n");
        // Every channel has mail that waits for a release, and every tenth one mail that its plugin keeps.
        for n in 0..channels {
            house.send(&[&format!("tcp_site{n}!a@site{n}.example")]);
        }
        for n in (0..channels).step_by(10) {
            house.act(&format!("tcp_site{n}"), Act::Keep);
            house.release(&format!("#tcp_site{n}"));
        }
        house.wait(|| house.kept() == channels.div_ceil(10), || format!("{} are kept", house.kept()));
        house.summary();
        let before = house.handle().looks();
        for n in 1..10 {
            assert_eq!(house.etrn(&format!("site{n}.example")).messages, 1);
            house.send(&["tcp_local!a@there.example"]);
            let expected = channels.div_ceil(10) + 2 * n;
            house.wait(|| house.got().len() == expected, || format!("{expected} deliveries"));
        }
        house.summary();
        house.handle().looks() - before
    };
    let (few, many) = (looks(20), looks(400));
    assert!(few >= 18, "{few} looks for eighteen deliveries");
    // Leases may come back one by one or together, which makes for a few looks more or less.
    assert!(many <= few + 40, "{few} looks with 20 channels, {many} with 400");
}

#[test]
fn channels_without_a_slot_wait_in_line_and_none_is_passed_over() {
    let house = wide(5, "pool narrow threaddepth 1", "[POOL=narrow]\nJOB_LIMIT=1\n");
    // All instances are alive before the line is made.
    for n in 0..5 {
        house.send(&[&format!("tcp_site{n}!a@site{n}.example")]);
    }
    house.wait_queue(&[]);
    for n in 0..5 {
        house.act(&format!("tcp_site{n}"), Act::Keep);
    }
    for _ in 0..3 {
        for n in 0..5 {
            house.send(&[&format!("tcp_site{n}!a@site{n}.example")]);
        }
    }
    let order = turns(&house, 5, 15);
    house.wait_queue(&[]);
    assert_eq!(order, "01234".repeat(3));
}

/// The channels of the deliveries after the first `before`, by their numbers, each kept until the next has its turn.
fn turns(house: &House, before: usize, count: usize) -> String {
    let mut order = String::new();
    for turn in 1..=count {
        house.wait(|| house.got().len() == before + turn, || format!("turn {turn}, there are {order}"));
        assert_eq!(house.kept(), 1, "one slot, one job");
        order.push_str(house.got()[before + turn - 1].channel.trim_start_matches("tcp_site"));
        house.finish_kept(&Act::Deliver);
    }
    order
}

#[test]
fn who_had_the_slot_stands_behind_those_whose_mail_came_before_its_job_ended() {
    // The loop is busy meanwhile, so that it finds arrivals and the end of the job in one batch; some others stand in line
    // already, or none.
    for (in_line, then, expected) in
        [("", "12340", "012340"), ("12", "340", "012340"), ("1234", "0", "012340")]
    {
        let house = wide(5, "pool narrow threaddepth 1", "[POOL=narrow]\nJOB_LIMIT=1\n");
        let send = |numbers: &str| {
            for n in numbers.chars() {
                house.send(&[&format!("tcp_site{n}!a@site{n}.example")]);
            }
        };
        send("01234");
        house.wait_queue(&[]);
        (0..5).for_each(|n| house.act(&format!("tcp_site{n}"), Act::Keep));
        send("0");
        house.wait(|| house.kept() == 1, || "the first has the slot".to_owned());
        send(in_line);
        house.summary();
        house.summary();
        let busy = house.occupy();
        send(then);
        house.finish_kept(&Act::Deliver);
        drop(busy);
        let order = format!("0{}", turns(&house, 6, 5));
        assert_eq!(order, expected, "{in_line:?} in line, then {then}");
        house.wait_queue(&[]);
    }
}

#[test]
fn a_wider_pool_is_used_at_once() {
    let narrow = "[POOL=narrow]\nJOB_LIMIT=1\n";
    let mut house = wide(4, "pool narrow", narrow);
    for n in 0..4 {
        house.act(&format!("tcp_site{n}"), Act::Keep);
        house.send(&[&format!("tcp_site{n}!a@site{n}.example")]);
    }
    house.wait(|| house.kept() == 1, || "the first".to_owned());
    house.reload(wide_configuration(4, "pool narrow", &narrow.replace('1', "3")));
    house.wait(|| house.kept() == 3, || format!("three, there are {}", house.kept()));
    house.finish_kept(&Act::Deliver);
    house.wait(|| house.got().len() == 4 && house.kept() == 3, || "the last".to_owned());
    (0..3).for_each(|_| house.finish_kept(&Act::Deliver));
    house.wait_queue(&[]);
}

#[test]
fn a_channel_whose_peer_says_nothing_is_named_and_the_word_goes_when_it_goes_on() {
    let house = House::new();
    house.act("tcp_local", Act::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    assert_eq!(house.channel("tcp_local").stalled, None);
    house.pass(Duration::from_secs(29));
    assert_eq!(house.channel("tcp_local").stalled, None, "not yet");
    house.pass(Duration::from_secs(33));
    assert_eq!(
        house.channel("tcp_local").stalled.as_deref(),
        Some("nothing done for 62 s: jobs under way: 1, none of them with a result yet")
    );
    house.untaken(1);
    assert_eq!(
        house.channel("tcp_local").stalled.as_deref(),
        Some("nothing done for 62 s: jobs that no worker of the plugin takes up: 1 of 1")
    );
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&[]);
    assert_eq!(house.channel("tcp_local").stalled, None);
}

#[test]
fn an_instance_that_starts_for_ever_is_named_and_its_mail_goes_when_it_has_started() {
    let house = House::new();
    house.hold_start(true);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.channel("tcp_local").status == ChannelStatus::Starting, || "a start".to_owned());
    house.pass(MINUTE);
    assert_eq!(
        house.channel("tcp_local").stalled.as_deref(),
        Some("nothing done for 60 s: its instance is being started")
    );
    house.hold_start(false);
    house.wait_got(1);
    house.wait_queue(&[]);
    assert_eq!(house.channel("tcp_local").stalled, None);
}

#[test]
fn a_channel_that_has_nothing_due_is_not_named() {
    let house = House::new();
    house.send(&["tcp_slow!a@slow.example"]);
    house.act("tcp_local", Act::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_got(1);
    house.pass(10 * MINUTE);
    for name in ["tcp_slow", "tcp_local"] {
        assert_eq!(house.channel(name).stalled, None, "{name}");
    }
}

#[test]
fn mail_that_waits_for_a_slot_says_so() {
    let house = wide(2, "pool narrow", "[POOL=narrow]\nJOB_LIMIT=1\n");
    house.act("tcp_site0", Act::Keep);
    house.send(&["tcp_site0!a@site0.example"]);
    house.wait(|| house.kept() == 1, || "the first".to_owned());
    house.send(&["tcp_site1!a@site1.example"]);
    house.wait(|| house.channel("tcp_site1").status == ChannelStatus::Running, || "an instance".to_owned());
    house.pass(MINUTE);
    assert_eq!(
        house.channel("tcp_site1").stalled.as_deref(),
        Some("nothing done for 60 s: all slots of pool narrow are taken")
    );
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&[]);
}

#[test]
fn many_instances_start_at_once_and_each_gets_its_first_lease() {
    // Mail comes in while instances start, before, and after: none may be left without a look.
    for round in 0..5u64 {
        let house = wide(60, "", "");
        for n in 0..60 {
            house.send(&[&format!("tcp_site{n}!a@site{n}.example")]);
            std::thread::sleep(Duration::from_micros((n as u64 * 37 * (round + 1)) % 300));
        }
        house.wait_queue(&[]);
        assert_eq!(house.got().len(), 60);
    }
}

#[test]
fn a_refusal_of_a_lease_is_a_pause_and_no_end() {
    let house = House::new();
    house.refuse_lease(true);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.channel("tcp_local").status == ChannelStatus::Running, || "running".to_owned());
    for _ in 0..5 {
        house.pass(Duration::from_secs(2));
    }
    assert!(house.got().is_empty());
    house.refuse_lease(false);
    house.pass(Duration::from_secs(2));
    assert_eq!(house.got().len(), 1, "its pause is over");
    house.pass(HOUR);
    house.wait_queue(&[]);
}

#[test]
fn a_plugin_that_says_nothing_of_anybody_rests_and_its_mail_waits() {
    let house = wide(2, "threaddepth 1 maxjobs 2", "");
    house.act("tcp_site0", Act::Forget);
    for _ in 0..200 {
        house.send(&["tcp_site0!a@site0.example"]);
    }
    let given = || house.got().iter().filter(|got| got.channel == "tcp_site0").count();
    let rests = || {
        let is_so = || {
            let before = given();
            house.summary().iter().all(|row| row.active == 0) && given() == before
        };
        house.wait(is_so, || format!("{:?}", house.summary()));
    };
    // So many are in order; what was leased with the last of them comes back too. Between two leases nothing is active either, so that
    // the channel's own word is waited for.
    let says_so = || house.channel("tcp_site0").error.is_some_and(|error| error.contains("without a word"));
    house.wait(says_so, || format!("{:?}, {} were given", house.channel("tcp_site0"), given()));
    rests();
    assert!((10..=12).contains(&given()), "{}", given());
    assert!(says_so(), "what came back in the rest does not say that all is well");
    // One or two for each rest, which are of 1, 2, 4 … seconds.
    for (number, seconds) in [(1, 1), (2, 2), (3, 4)] {
        let before = given();
        house.pass(Duration::from_secs(seconds));
        house.wait(|| given() > before, || format!("{} were given", given()));
        rests();
        assert!(given() <= 12 + 2 * number, "{} after {number} rests", given());
    }
    // Nobody else waits for that.
    house.send(&["tcp_site1!a@site1.example"]);
    house.wait(|| house.got().iter().any(|got| got.channel == "tcp_site1"), || "a delivery".to_owned());
    // When it speaks it goes on at once, whatever it says.
    house.act("tcp_site0", Act::Defer);
    house.pass(Duration::from_secs(8));
    house.wait(|| given() >= 200, || format!("{} were given", given()));
    assert_eq!(house.channel("tcp_site0").error, None);
}
