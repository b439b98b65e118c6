//! Keywords that say who shares an entry or a transaction, how urgent mail is, and when it may go; one rule a test.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_mail::{Envelope, LaterRelease, Priority, Recipient};
use sluice_queue::State;
use std::time::Duration;
use support::{Act, Got, HOUR, House, MINUTE, configuration};

/// Recipients of each delivery, in the order of the deliveries' first recipients.
fn transactions(got: &[Got]) -> Vec<String> {
    let mut lines: Vec<String> = got.iter().map(|got| got.to.join(" ")).collect();
    lines.sort();
    lines
}

const FOUR: [&str; 4] = [
    "tcp_local!a@there.example",
    "tcp_local!b@there.example",
    "tcp_local!c@also.there.example",
    "tcp_local!d@there.example",
];

#[test]
fn single_gives_each_recipient_an_entry_and_a_transaction() {
    let mut house = House::with_keywords(&[("tcp_local", "single backoff PT5M")]);
    house.act("b@there.example", Act::Defer);
    house.send(&FOUR);
    let got = house.wait_got(4);
    assert_eq!(
        transactions(&got),
        ["a@there.example", "b@there.example", "c@also.there.example", "d@there.example"]
    );
    house.wait_queue(&["tcp_local/there.example 1"]);
    house.restart();
    assert_eq!(house.queue(), ["tcp_local/there.example 1"], "a restart knows whose entry is left");
    house.take_got();
    house.act("b@there.example", Act::Deliver);
    house.pass(5 * MINUTE);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_local b@there.example"]);
}

#[test]
fn single_entries_are_the_same_after_a_restart_that_read_only_envelopes() {
    let mut house = House::with_keywords(&[("tcp_slow", "single")]);
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@slow.example"]);
    house.wait_queue(&["tcp_slow/slow.example 2"]);
    house.copy_and_start_from_copy();
    assert_eq!(house.queue(), ["tcp_slow/slow.example 2"]);
    assert_eq!(house.release("slow.example").messages, 1, "one message all the same");
    let got = house.wait_got(2);
    assert_eq!(transactions(&got), ["a@slow.example", "b@slow.example"]);
}

#[test]
fn single_sys_has_one_transaction_for_each_host() {
    for keywords in ["single_sys", ""] {
        let house = House::with_keywords(&[("tcp_local", keywords)]);
        house.send(&FOUR);
        let got = house.wait_got(2);
        assert_eq!(
            transactions(&got),
            ["a@there.example b@there.example d@there.example", "c@also.there.example"]
        );
    }
}

#[test]
fn multiple_has_one_transaction_for_all_recipients_of_a_channel_with_one_peer() {
    let to = ["tcp_site!a@site.example", "tcp_site!b@x.site.example", "tcp_site!c@site.example"];
    for (keywords, transaction_count) in [("multiple", 1), ("", 1), ("single_sys", 2), ("single", 3)] {
        let house = House::with_keywords(&[("tcp_site", keywords)]);
        house.send(&to);
        house.wait_queue(&[
            if keywords == "single" { "tcp_site/site.example 2" } else { "tcp_site/site.example 1" },
            "tcp_site/x.site.example 1",
        ]);
        house.release("#tcp_site");
        let got = house.wait_got(transaction_count);
        house.wait_queue(&[]);
        if transaction_count == 1 {
            assert_eq!(got[0].to, ["a@site.example", "b@x.site.example", "c@site.example"]);
        }
    }
}

#[test]
fn each_entry_of_a_shared_transaction_goes_by_what_was_said_of_its_recipients() {
    let house = House::with_keywords(&[("tcp_site", "multiple")]);
    house.act("c@site.example", Act::Defer);
    house.act("b@x.site.example", Act::Fail);
    let to = ["tcp_site!a@site.example", "tcp_site!b@x.site.example", "tcp_site!c@site.example"];
    house.send(&to);
    house.wait_queue(&["tcp_site/site.example 1", "tcp_site/x.site.example 1"]);
    house.release("#tcp_site");
    house.wait(
        || house.queue() == ["tcp_site/site.example 1"],
        || format!("one left, there are {:?}", house.queue()),
    );
    house.quiet();
    let notice = house.got().into_iter().find(|got| got.to == ["sender@there.example"]).unwrap();
    assert!(notice.content.contains("b@x.site.example") && !notice.content.contains("a@site.example"));
    house.act("c@site.example", Act::Deliver);
    house.take_got();
    house.release("#tcp_site");
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_site c@site.example"]);
}

#[test]
fn a_release_of_one_domain_leaves_the_others_of_a_shared_transaction() {
    let house = House::with_keywords(&[("tcp_site", "multiple")]);
    house.send(&["tcp_site!a@site.example", "tcp_site!b@x.site.example"]);
    house.wait_queue(&["tcp_site/site.example 1", "tcp_site/x.site.example 1"]);
    house.release("x.site.example");
    assert_eq!(house.wait_got(1)[0].to, ["b@x.site.example"]);
    assert_eq!(house.queue(), ["tcp_site/site.example 1"]);
}

#[test]
fn a_worker_that_dies_gives_back_all_entries_of_a_shared_transaction() {
    let house = House::with_keywords(&[("tcp_site", "multiple")]);
    house.act("b@x.site.example", Act::Die);
    house.send(&["tcp_site!a@site.example", "tcp_site!b@x.site.example"]);
    house.wait_queue(&["tcp_site/site.example 1", "tcp_site/x.site.example 1"]);
    house.release("#tcp_site");
    house.wait_got(1);
    house.quiet();
    assert_eq!(house.queue(), ["tcp_site/site.example 1", "tcp_site/x.site.example 1"]);
    assert!(house.list().iter().all(|entry| entry.attempts == 1));
}

#[test]
fn addrsperfile_bounds_the_recipients_of_an_entry() {
    let house = House::with_keywords(&[("tcp_local", "addrsperfile 2")]);
    house.send(&FOUR);
    let got = house.wait_got(3);
    assert_eq!(
        transactions(&got),
        ["a@there.example b@there.example", "c@also.there.example", "d@there.example"]
    );
    let house = House::with_keywords(&[("tcp_site", "multiple addrsperfile 2")]);
    house.send(&[
        "tcp_site!a@site.example",
        "tcp_site!b@site.example",
        "tcp_site!c@site.example",
        "tcp_site!d@x.site.example",
    ]);
    house.wait_queue(&["tcp_site/site.example 2", "tcp_site/x.site.example 1"]);
    house.release("#tcp_site");
    let got = house.wait_got(2);
    assert!(got.iter().all(|got| got.to.len() == 2), "{got:#?}");
}

#[test]
fn filesperjob_says_how_much_mail_calls_for_another_job() {
    for (keywords, jobs) in [
        ("maxjobs 9 filesperjob 4", 3),
        ("maxjobs 2 filesperjob 4", 2),
        ("maxjobs 9 filesperjob 100", 1),
        ("maxjobs 9 filesperjob 0", 1),
        ("maxjobs 9 filesperjob 100 addrsperjob 6", 4),
        ("maxjobs 9 addrsperjob 12", 2),
    ] {
        let house = House::with_keywords(&[("tcp_slow", &format!("{keywords} threaddepth 4"))]);
        house.act("tcp_slow", Act::Keep);
        for number in 0..12 {
            let two =
                [format!("tcp_slow!a{number}@slow.example"), format!("tcp_slow!b{number}@slow.example")];
            house.send(&[&two[0], &two[1]]);
        }
        house.wait_queue(&["tcp_slow/slow.example 12"]);
        house.release("#tcp_slow");
        house.wait(
            || house.open_leases() == jobs,
            || format!("{jobs} jobs with {keywords}, there are {}", house.open_leases()),
        );
        house.pass(Duration::from_secs(1));
        assert_eq!(house.open_leases(), jobs, "{keywords}");
        let mut ended = 0;
        while ended < 12 {
            house.wait(|| house.kept() > 0, || format!("{keywords}: {ended} ended, {:?}", house.queue()));
            house.finish_kept(&Act::Deliver);
            ended += 1;
        }
        house.wait_queue(&[]);
        assert!(house.most_leases("tcp_slow") <= jobs, "{keywords}");
    }
}

#[test]
fn a_message_beyond_the_limit_of_its_priority_counts_as_less_urgent() {
    // The test's message is larger than 0 blocks and smaller than one.
    for (keywords, priority, goes) in [
        ("immurgent urgentblocklimit 1", Priority::Urgent, true),
        ("immurgent urgentblocklimit 0", Priority::Urgent, false),
        ("immnormal urgentblocklimit 0", Priority::Urgent, true),
        ("immnormal urgentblocklimit 0 normalblocklimit 0", Priority::Urgent, false),
        ("immnormal normalblocklimit 0", Priority::Normal, false),
        ("immnonurgent normalblocklimit 0", Priority::Normal, true),
        ("immnonurgent nonurgentblocklimit 0", Priority::Nonurgent, false),
        ("immnonurgent normalblocklimit 0 nonurgentblocklimit 0", Priority::Normal, false),
        ("immnonurgent nonurgentblocklimit 0", Priority::Normal, true),
    ] {
        let house = House::with_keywords(&[("tcp_local", keywords)]);
        house.send_as("s@there.example", priority, &["tcp_local!a@there.example"]);
        if goes {
            house.wait_got(1);
        } else {
            house.wait_queue(&["tcp_local/there.example 1"]);
            assert_eq!(house.take_got(), [""; 0], "{keywords}");
            house.pass(4 * HOUR);
            house.wait_got(1);
        }
    }
}

#[test]
fn less_urgent_by_size_also_means_its_backoff_and_its_turn() {
    let house = House::with_keywords(&[(
        "tcp_local",
        "immnonurgent normalblocklimit 0 normalbackoff PT1M nonurgentbackoff PT9M",
    )]);
    house.act("tcp_local", Act::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.wait_got(1);
    house.take_got();
    house.pass(8 * MINUTE);
    assert_eq!(house.take_got(), [""; 0]);
    house.pass(MINUTE);
    house.wait_got(1);
}

#[test]
fn the_periodic_service_takes_the_priorities_that_the_channel_says() {
    let all = [Priority::Urgent, Priority::Normal, Priority::Nonurgent];
    for (keywords, expected) in [
        ("minperiodicurgent", "u"),
        ("minperiodicnormal", "nu"),
        ("minperiodicnonurgent", "lnu"),
        ("maxperiodicnonurgent", "l"),
        ("maxperiodicnormal", "ln"),
        ("maxperiodicurgent", "lnu"),
        ("minperiodicnormal maxperiodicnormal", "n"),
    ] {
        let house = House::with_keywords(&[("tcp_slow", keywords)]);
        for (priority, name) in all.into_iter().zip(["u", "n", "l"]) {
            house.send_as("s@there.example", priority, &[&format!("tcp_slow!{name}@slow.example")]);
        }
        house.wait_queue(&["tcp_slow/slow.example 3"]);
        house.pass(4 * HOUR);
        let got = house.wait_got(expected.len());
        let mut names: Vec<char> = got.iter().map(|got| got.to[0].chars().next().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names.into_iter().collect::<String>(), expected, "{keywords}");
        house.release("#tcp_slow");
        house.wait_queue(&[]);
    }
}

#[test]
fn a_priority_may_have_a_pool_of_its_own() {
    let jobs = "[POOL=FAST]\nJOB_LIMIT=4\n[POOL=NARROW]\nJOB_LIMIT=1\n";
    let keywords = "immnonurgent threaddepth 1 queue FAST nonurgentqueue NARROW maxjobs 9";
    let house = House::with(configuration(&[("tcp_local", keywords)], jobs));
    house.act("tcp_local", Act::Keep);
    for number in 0..3 {
        let to = format!("tcp_local!slow{number}@there.example");
        house.send_as("s@there.example", Priority::Nonurgent, &[&to]);
    }
    house.wait(|| house.kept() == 1, || "one nonurgent job".to_owned());
    house.pass(Duration::from_secs(1));
    assert_eq!(house.kept(), 1, "its pool is narrow");
    for number in 0..3 {
        house.send(&[&format!("tcp_local!fast{number}@there.example")]);
    }
    house.wait(|| house.kept() == 4, || format!("the others' jobs, there are {}", house.kept()));
    house.act("tcp_local", Act::Deliver);
    while house.kept() > 0 {
        house.finish_kept(&Act::Deliver);
    }
    house.wait_queue(&[]);
    assert_eq!(house.most_leases("tcp_local"), 4);
}

#[test]
fn priorities_that_share_a_pool_beside_one_with_its_own_do_not_wait_for_ever() {
    let jobs = "[POOL=FAST]\nJOB_LIMIT=1\n";
    let keywords = "immnonurgent threaddepth 1 maxjobs 1 urgentqueue FAST";
    let house = House::with(configuration(&[("tcp_local", keywords)], jobs));
    house.act("tcp_local", Act::Keep);
    house.send(&["tcp_local!normal@there.example"]);
    house.wait(|| house.kept() == 1, || "the first job".to_owned());
    house.act("tcp_local", Act::Deliver);
    for number in 1..40 {
        house.send(&[&format!("tcp_local!normal{number}@there.example")]);
    }
    house.send_as("s@there.example", Priority::Nonurgent, &["tcp_local!less@there.example"]);
    house.send_as("s@there.example", Priority::Urgent, &["tcp_local!more@there.example"]);
    house.finish_kept(&Act::Deliver);
    house.wait_queue(&[]);
    let got = house.got();
    let place = |name: &str| got.iter().position(|got| got.to[0].starts_with(name)).unwrap();
    assert_eq!(place("more"), 1, "its own pool has a slot");
    assert!(place("less") < 20, "it was number {}", place("less"));
}

fn send_for(house: &House, source: &str, to: &str, wait: Duration) {
    house.submit(envelope_for(house, source, to, wait));
}

/// A message with a date of the sender's.
fn envelope_for(house: &House, source: &str, to: &str, wait: Duration) -> Envelope {
    let (channel, address) = to.split_once('!').unwrap();
    let now = house.clock_now();
    Envelope {
        sender: "sender@there.example".to_owned(),
        arrived: now,
        source_channel: source.to_owned(),
        deferred_until: Some(now.plus(wait)),
        recipients: vec![Recipient {
            address: address.to_owned(),
            original: address.to_owned(),
            channel: channel.to_owned(),
            domain: address.rsplit_once('@').unwrap().1.to_owned(),
            ..Recipient::default()
        }],
        ..Envelope::default()
    }
}

#[test]
fn a_date_of_the_senders_is_kept_where_the_channels_say_so() {
    for (to, from, hours) in [
        ("nodeferred", "", 0),
        ("", "", 0),
        ("deferred", "", 10),
        ("deferred 7200", "", 2),
        ("deferreddestination", "", 10),
        ("deferreddestination 10800", "", 3),
        ("deferreddestination nodeferreddestination", "", 0),
        ("", "deferredsource", 10),
        ("", "deferredsource 3600", 1),
        ("deferreddestination 10800", "deferredsource 7200", 2),
        ("deferred 3600", "deferredsource nodeferredsource", 1),
    ] {
        let house = House::with_keywords(&[("tcp_local", to), ("tcp_slow", from)]);
        send_for(&house, "tcp_slow", "tcp_local!a@there.example", 10 * HOUR);
        if hours == 0 {
            house.wait_got(1);
            continue;
        }
        house.wait_queue(&["tcp_local/there.example 1"]);
        house.pass(hours * HOUR - MINUTE);
        house.release("there.example");
        assert_eq!(house.take_got(), [""; 0], "{to}/{from}: no release moves it either");
        assert_eq!(house.list()[0].state, State::Deferred);
        house.pass(MINUTE);
        house.wait_got(1);
    }
}

#[test]
fn a_release_that_was_promised_is_shortened_by_no_channel() {
    let mut house = House::with_keywords(&[("tcp_local", "deferred 3600"), ("tcp_slow", "")]);
    let now = house.clock_now();
    let mut envelope = envelope_for(&house, "tcp_slow", "tcp_local!a@there.example", 10 * HOUR);
    envelope.wishes.later = Some(LaterRelease::For(36_000));
    house.submit(envelope);
    // A date in the header of a message whose client asked for another one.
    let mut envelope = envelope_for(&house, "tcp_slow", "tcp_local!b@there.example", 10 * HOUR);
    envelope.wishes.later = Some(LaterRelease::Until(now));
    house.submit(envelope);
    house.wait_queue(&["tcp_local/there.example 2"]);
    house.pass(HOUR);
    assert_eq!(house.wait_got(1).len(), 1);
    house.restart();
    house.pass(9 * HOUR - MINUTE);
    assert_eq!(house.list()[0].state, State::Deferred);
    assert_eq!(house.got().len(), 1);
    house.pass(MINUTE);
    house.wait_got(2);
}

#[test]
fn deferred_mail_of_a_periodic_channel_then_waits_for_its_service() {
    let mut house = House::with_keywords(&[("tcp_slow", "deferred")]);
    send_for(&house, "tcp_local", "tcp_slow!a@slow.example", 2 * HOUR);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    house.restart();
    assert_eq!(house.list()[0].state, State::Deferred, "a restart keeps the date");
    house.pass(2 * HOUR);
    assert_eq!(house.list()[0].state, State::Delayed);
    assert_eq!(house.take_got(), [""; 0]);
    house.pass(2 * HOUR);
    house.wait_got(1);
}

#[test]
fn deferred_mail_is_returned_when_it_grows_too_old_for_its_date() {
    // Ages are in hours in these tests.
    let house = House::with_keywords(&[("tcp_local", "deferred notices 2 nosendpost")]);
    send_for(&house, "tcp_local", "tcp_local!a@there.example", 10 * HOUR);
    house.wait_queue(&["tcp_local/there.example 1"]);
    house.pass(3 * HOUR);
    house.wait_queue(&[]);
    assert_eq!(house.take_got(), ["tcp_local sender@there.example"], "only the notice");
}

#[test]
fn alternatechannel_takes_what_is_too_much() {
    for (keywords, channel) in [
        ("", "tcp_local"),
        ("alternatechannel tcp_site", "tcp_local"),
        ("alternatechannel tcp_site alternateblocklimit 1", "tcp_local"),
        ("alternatechannel tcp_site alternateblocklimit 0", "tcp_site"),
        ("alternatechannel tcp_site alternatelinelimit 3", "tcp_local"),
        ("alternatechannel tcp_site alternatelinelimit 2", "tcp_site"),
        ("alternatechannel tcp_site alternaterecipientlimit 2", "tcp_local"),
        ("alternatechannel tcp_site alternaterecipientlimit 1", "tcp_site"),
        ("alternatechannel tcp_gone alternaterecipientlimit 1", "tcp_local"),
        ("alternaterecipientlimit 1", "tcp_local"),
    ] {
        let house = House::with_keywords(&[("tcp_local", keywords)]);
        house.send(&["tcp_local!a@there.example", "tcp_local!b@there.example"]);
        if channel == "tcp_site" {
            house.wait_queue(&["tcp_site/there.example 1"]);
            house.release("#tcp_site");
        }
        let got = house.wait_got(1);
        assert_eq!(got[0].channel, channel, "{keywords}");
    }
}

#[test]
fn connectcanonical_asks_the_rules_again_where_to_connect() {
    for (keywords, domain) in
        [("", "slow.example"), ("connectalias", "slow.example"), ("connectcanonical", "new.example")]
    {
        let mut house = House::with_keywords(&[("tcp_slow", keywords)]);
        house.send(&["tcp_slow!a@slow.example"]);
        house.wait_queue(&["tcp_slow/slow.example 1"]);
        let rules = support::RULES.replace("\nslow.example $U%$D@", "\nslow.example $U%new.example@");
        house.reload(support::configuration_with(&rules, &[("tcp_slow", keywords)], ""));
        house.release("#tcp_slow");
        assert_eq!(house.wait_got(1)[0].domain, domain, "{keywords}");
    }
}
