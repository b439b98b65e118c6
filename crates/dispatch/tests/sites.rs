//! Sites: released by their schedules, kept within their windows, with ages of their own.
//!
//! The clock of these houses begins on a Monday at 14:13:20 UTC; the periodic service is held every four hours.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_dispatch::Via;
use sluice_mail::{Envelope, LaterRelease, Priority, Recipient, TransferPriority, Wishes};
use std::time::Duration;
use support::{Act, HOUR, House, MINUTE, configuration_with_sites};

fn house(sites: &str) -> House {
    House::with(configuration_with_sites(&[], sites))
}

#[test]
fn a_site_is_released_by_its_schedule() {
    let house = house("[SITE=slow]\nDOMAINS=@slow.example\nSCHEDULE=mon 15:00, 15:30\n");
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@deep.slow.example"]);
    house.wait_queue(&["tcp_slow/deep.slow.example 1", "tcp_slow/slow.example 1"]);
    house.pass(46 * MINUTE);
    assert_eq!(house.take_got(), [""; 0], "it is 14:59");
    house.pass(MINUTE);
    house.wait_queue(&[]);
    house.wait_got(2);
    house.take_got();
    house.send(&["tcp_slow!c@slow.example", "tcp_slow!d@odd.example"]);
    house.wait_queue(&["tcp_slow/odd.example 1", "tcp_slow/slow.example 1"]);
    house.pass(30 * MINUTE);
    house.wait_queue(&["tcp_slow/odd.example 1"]);
    assert_eq!(house.take_got(), ["tcp_slow c@slow.example"], "nobody else's mail");
}

#[test]
fn what_a_schedule_releases_goes_to_the_target() {
    let house = house(
        "[SITE=slow]\nDOMAINS=slow.example\nTARGET=192.0.2.7\nPORT=2525\nSCHEDULE=15:00\n[SITE=site]\nCHANNEL=tcp_site\nSCHEDULE=16:00\n",
    );
    house.send(&["tcp_slow!a@slow.example"]);
    house.send(&["tcp_site!b@site.example"]);
    house.wait_queue(&["tcp_site/site.example 1", "tcp_slow/slow.example 1"]);
    house.pass(47 * MINUTE);
    house.wait_queue(&["tcp_site/site.example 1"]);
    assert_eq!(house.wait_got(1)[0].next_hop.as_deref(), Some("[192.0.2.7]:2525"));
    house.take_got();
    house.pass(HOUR);
    house.wait_queue(&[]);
    assert_eq!(house.wait_got(1)[0].next_hop, None, "a channel to itself, and no target");
}

#[test]
fn outside_its_windows_nothing_of_a_site_goes_on_its_own() {
    let house = house("[SITE=there]\nDOMAINS=there.example\nWINDOW=22:00-23:00\n");
    house.send(&["tcp_local!a@there.example"]);
    house.send(&["tcp_local!b@deep.there.example"]);
    house.wait_queue(&["tcp_local/there.example 1"]);
    assert_eq!(house.take_got(), ["tcp_local b@deep.there.example"], "only the site's own domain waits");
    house.pass(4 * HOUR);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "nor does the periodic service take it");
    house.pass(4 * HOUR);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_local a@there.example"], "it is 22:13");
    house.send(&["tcp_local!c@there.example"]);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_local c@there.example"], "while it is open mail goes at once");
}

#[test]
fn a_retry_waits_for_the_window_too() {
    let house = house("[SITE=there]\nDOMAINS=there.example\nWINDOW=14:00-14:30, 20:00-21:00\n");
    house.act("a@there.example", Act::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_got(1);
    house.take_got();
    house.wait(|| house.summary().first().is_some_and(|queue| queue.active == 0), || "put back".to_owned());
    let due = house.summary()[0].next_due.unwrap();
    let opens = house.clock_now().plus(Duration::from_secs(5 * 3600 + 46 * 60 + 40));
    assert_eq!(due, opens, "20:00, whatever the back-off says");
}

#[test]
fn who_asks_gets_mail_at_any_time() {
    let house = house("[SITE=there]\nDOMAINS=there.example\nWINDOW=22:00-23:00\n");
    house.send(&["tcp_local!a@there.example"]);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0]);
    assert_eq!(house.etrn_via("there.example", Via::Channel).messages, 1);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_local a@there.example"]);
}

#[test]
fn the_periodic_service_passes_a_closed_window_by() {
    let house = house("[SITE=slow]\nDOMAINS=slow.example\nWINDOW=22:00-23:00\n");
    house.send(&["tcp_slow!a@slow.example"]);
    house.send(&["tcp_slow!b@deep.slow.example"]);
    house.wait_queue(&["tcp_slow/deep.slow.example 1", "tcp_slow/slow.example 1"]);
    house.pass(4 * HOUR);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    house.pass(4 * HOUR);
    house.wait_queue(&[]);
}

#[test]
fn a_site_has_ages_of_its_own() {
    // The channel's are 3, 6, 9 and 12 hours.
    let sites = "[SITE=there]\nDOMAINS=slow.example\nNOTICES=20h\nLIFETIME=40h\nWINDOW=00:00-00:01\n";
    let house = House::with(configuration_with_sites(&[("l", "notices 3 6 9 12")], sites));
    house.send(&["tcp_slow!kept@slow.example"]);
    let waits =
        |domain: &str| house.queue().iter().any(|queue| queue.starts_with(&format!("tcp_slow/{domain} ")));
    house.send(&["tcp_called!ordinary@called.example"]);
    house.wait_queue(&["tcp_called/called.example 1", "tcp_slow/slow.example 1"]);
    house.pass(13 * HOUR);
    house.pass(MINUTE);
    house.wait(
        || !house.queue().iter().any(|queue| queue.starts_with("tcp_called/")),
        || "the ordinary one ends".to_owned(),
    );
    assert!(waits("slow.example"), "{:?}", house.queue());
    house.pass(26 * HOUR);
    house.pass(MINUTE);
    assert!(waits("slow.example"), "{:?}", house.queue());
    let told = |got: &support::Got| got.content.contains("kept@slow.example");
    house.wait(|| house.got().iter().any(told), || "a warning".to_owned());
    let warning = house.got().into_iter().find(told).unwrap().content;
    let words = warning.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected =
        "waits for a host that is not always connected; it is expected on Thu, 24 Sep 2026 00:00:00 +0000";
    assert!(words.contains(expected), "{warning}");
    house.pass(HOUR);
    house.pass(MINUTE);
    house.wait(|| !waits("slow.example"), || format!("{:?}", house.queue()));
}

#[test]
fn a_reload_takes_schedules_up_anew() {
    let mut house = house("[SITE=slow]\nDOMAINS=slow.example\nSCHEDULE=15:00\n");
    house.send(&["tcp_slow!a@slow.example"]);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    house.reload(configuration_with_sites(&[], "[SITE=slow]\nDOMAINS=slow.example\nSCHEDULE=15:30\n"));
    house.pass(47 * MINUTE);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "the old moment means nothing any more");
    house.pass(30 * MINUTE);
    house.wait_queue(&[]);
}

/// Row 2.4 of the mission, and a line that is dear by day: small messages go at every release, large ones in the window.
#[test]
fn large_messages_wait_for_the_window_whoever_asks() {
    for keep in [false, true] {
        let mut house =
            house("[SITE=slow]\nDOMAINS=slow.example\nWINDOW=22:00-23:00\nMAX_SIZE_IN_WINDOW=1K\n");
        house.send(&["tcp_slow!small@slow.example"]);
        house.submit_content(envelope(&house, "tcp_slow", "large@slow.example"), vec![b'x'; 2000]);
        house.wait_queue(&["tcp_slow/slow.example 2"]);
        assert_eq!(house.etrn_via("slow.example", Via::Channel).messages, 1, "what is promised is what goes");
        house.wait_queue(&["tcp_slow/slow.example 1"]);
        assert_eq!(house.take_got(), ["tcp_slow small@slow.example"]);
        if keep {
            house.restart();
        }
        house.pass(7 * HOUR);
        house.quiet();
        assert_eq!(house.take_got(), [""; 0], "it is 21:13");
        house.act("large@slow.example", Act::Defer);
        house.pass(HOUR);
        assert_eq!(
            house.wait_got(1)[0].to,
            ["large@slow.example"],
            "it goes when the window opens, restarted: {keep}"
        );
        house.take_got();
        house.wait(
            || house.summary().first().is_some_and(|queue| queue.active == 0),
            || "put back".to_owned(),
        );
        house.act("large@slow.example", Act::Deliver);
        house.pass(16 * MINUTE);
        house.wait_queue(&[]);
        // While it is open, what comes in goes at once.
        house.submit_content(envelope(&house, "tcp_slow", "large@slow.example"), vec![b'x'; 2000]);
        house.wait_queue(&[]);
    }
}

/// A line that may go down at any moment: what is urgent goes first, and of that the smallest.
#[test]
fn a_site_that_keeps_large_mail_gets_the_urgent_and_small_first() {
    let with = "[SITE=slow]\nDOMAINS=slow.example\nWINDOW=22:00-23:00\nMAX_SIZE_IN_WINDOW=100K\n";
    let without = "[SITE=slow]\nDOMAINS=slow.example\nWINDOW=22:00-23:00\n";
    let mail =
        [("a", 0, 9000), ("b", 0, 300), ("c", -6, 10), ("d", 7, 20_000), ("e", 7, 500), ("f", 0, 2000)];
    let order = |house: &House| {
        let order: Vec<_> = house.got().iter().map(|got| got.to[0][..1].to_owned()).collect();
        house.take_got();
        order.concat()
    };
    let fill = |house: &House| {
        for (name, number, size) in mail {
            let mut envelope = envelope(house, "tcp_slow", &format!("{name}@slow.example"));
            envelope.wishes.priority = TransferPriority::new(number);
            house.submit_content(envelope, vec![b'x'; size]);
        }
        house.wait_queue(&["tcp_slow/slow.example 6"]);
    };
    let release = |house: &House| {
        assert_eq!(house.etrn_via("slow.example", Via::Channel).messages, 6);
        house.wait_queue(&[]);
        order(house)
    };
    let mut house = house(with);
    fill(&house);
    // Without a state: from the envelopes.
    house.copy_and_start_from_copy();
    assert_eq!(release(&house), "edbfac");
    for how in ["restart", "reload", "back"] {
        fill(&house);
        match how {
            // From the states of a checkpoint, which have the priority.
            "restart" => house.restart(),
            "reload" => house.reload(configuration_with_sites(&[], without)),
            _ => house.reload(configuration_with_sites(&[], with)),
        }
        let expected = if how == "reload" { "deabfc" } else { "edbfac" };
        assert_eq!(release(&house), expected, "{how}");
    }
}

#[test]
fn a_large_message_that_found_no_turn_while_the_window_was_open_waits_for_the_next() {
    let sites = "[SITE=slow]\nDOMAINS=slow.example\nWINDOW=22:00-23:00\nMAX_SIZE_IN_WINDOW=1K\n";
    let mut house = House::with(configuration_with_sites(&[("tcp_slow", "maxjobs 1")], sites));
    house.act("first@slow.example", Act::Keep);
    house.submit_content(envelope(&house, "tcp_slow", "first@slow.example"), vec![b'x'; 2000]);
    house.pass(8 * HOUR);
    house.wait(|| house.kept() == 1, || "the window is open: under way".to_owned());
    house.submit_content(envelope(&house, "tcp_slow", "later@slow.example"), vec![b'x'; 2000]);
    house.wait_queue(&["tcp_slow/slow.example 2 active 1"]);
    house.pass(HOUR);
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    assert_eq!(house.take_got(), ["tcp_slow first@slow.example"], "it is 23:13");
    assert_eq!(house.etrn_via("slow.example", Via::Channel).messages, 0, "nor does it go for a request");
    house.restart();
    house.pass(22 * HOUR);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0]);
    house.pass(HOUR);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_slow later@slow.example"], "it is 22:13 of the next day");
}

fn envelope(house: &House, channel: &str, address: &str) -> Envelope {
    let recipient = Recipient {
        address: address.to_owned(),
        original: address.to_owned(),
        channel: channel.to_owned(),
        domain: address.rsplit('@').next().unwrap().to_owned(),
        ..Recipient::default()
    };
    Envelope {
        hold_reason: String::new(),
        sender: "sender@there.example".to_owned(),
        arrived: house.clock_now(),
        source_channel: "tcp_local".to_owned(),
        priority: Priority::Normal,
        eight_bit: false,
        smtputf8: false,
        held: false,
        deferred_until: None,
        wishes: Wishes::default(),
        recipients: vec![recipient],
    }
}

/// A message whose sender wants it delivered so long from now at the earliest.
fn send_dated(house: &House, channel: &str, address: &str, wait: Duration) {
    let now = house.clock_now();
    house.submit(Envelope { deferred_until: Some(now.plus(wait)), ..envelope(house, channel, address) });
}

#[test]
fn a_date_of_the_senders_is_the_earliest_time_and_no_window() {
    let sites = "[SITE=there]\nDOMAINS=there.example\nWINDOW=22:00-23:00\n";
    for restarts in ["never", "before the date", "behind the date", "behind the window"] {
        let mut house = House::with(configuration_with_sites(&[("tcp_local", "deferred")], sites));
        let restart_if = |house: &mut House, when: &str| {
            if restarts == when {
                house.restart();
            }
        };
        send_dated(&house, "tcp_local", "a@there.example", HOUR);
        send_dated(&house, "tcp_local", "b@there.example", 8 * HOUR);
        send_dated(&house, "tcp_local", "c@there.example", 12 * HOUR);
        house.wait_queue(&["tcp_local/there.example 3"]);
        restart_if(&mut house, "before the date");
        // No request moves what is for later.
        assert_eq!(house.etrn_via("there.example", Via::Channel).messages, 0);
        house.quiet();
        house.pass(2 * HOUR);
        restart_if(&mut house, "behind the date");
        house.pass(5 * HOUR + 46 * MINUTE);
        house.quiet();
        assert_eq!(house.take_got(), [""; 0], "{restarts}: it is 21:59, and the date of one has passed");
        if restarts == "behind the window" {
            house.stop();
            house.pass_while_stopped(2 * HOUR);
            house.start_again();
            house.quiet();
            assert_eq!(house.take_got(), [""; 0], "the window came and went while no hub ran");
            house.pass(22 * HOUR + MINUTE);
            house.wait_queue(&[]);
            continue;
        }
        house.pass(MINUTE);
        house.wait_got(1);
        assert_eq!(house.take_got(), ["tcp_local a@there.example"], "{restarts}: the window opens");
        house.pass(15 * MINUTE);
        house.wait_got(1);
        assert_eq!(house.take_got(), ["tcp_local b@there.example"], "its date is within the window");
        house.pass(5 * HOUR);
        house.quiet();
        assert_eq!(house.take_got(), [""; 0], "its date has come, and the window has closed");
        // Now it waits for the window alone, and who asks gets mail at any time.
        assert_eq!(house.etrn_via("there.example", Via::Channel).messages, 1);
        house.wait_queue(&[]);
        assert_eq!(house.take_got(), ["tcp_local c@there.example"]);
    }
}

#[test]
fn a_promised_date_that_has_passed_when_the_message_is_there_opens_no_window() {
    let house = house("[SITE=there]\nDOMAINS=there.example\nWINDOW=22:00-23:00\n");
    let now = house.clock_now();
    for date in [now, now.minus(HOUR)] {
        let wishes = Wishes { later: Some(LaterRelease::Until(date)), ..Wishes::default() };
        let plain = envelope(&house, "tcp_local", "a@there.example");
        house.submit(Envelope { deferred_until: Some(date), wishes, ..plain });
    }
    house.wait_queue(&["tcp_local/there.example 2"]);
    house.quiet();
    assert_eq!(house.take_got(), [""; 0], "it is 14:13");
    house.pass(8 * HOUR);
    house.wait_queue(&[]);
    house.wait_got(2);
}
