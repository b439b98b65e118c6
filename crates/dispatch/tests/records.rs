//! Records of releases: what was promised and what came of it add up, whatever happens, and over restarts.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sluice_dispatch::{Count, End, Order, ReleaseId, ReleaseRecord, Released, Requester, Selector, Via, ask};
use support::{Act, HOUR, House, MINUTE, configuration, configuration_with_options};

fn record(house: &House, id: ReleaseId) -> ReleaseRecord {
    let record = ask(|done| house.handle().release_record(id, done)).unwrap();
    record.unwrap_or_else(|| panic!("no record of {id}"))
}

/// The record when the release is over.
fn over(house: &House, released: &Released) -> ReleaseRecord {
    house.wait(
        || {
            house.summary();
            record(house, released.id).ended.is_some()
        },
        || format!("the end of {:#?}", record(house, released.id)),
    );
    let record = record(house, released.id);
    assert!(record.is_balanced(), "{record:#?}");
    record
}

/// `delivered deferred bounced left`, messages/recipients.
fn sums(record: &ReleaseRecord) -> String {
    let one = |count: Count| format!("{}/{}", count.messages, count.recipients);
    let tally = &record.tally;
    format!("{} {} {} {}", one(tally.delivered), one(tally.deferred), one(tally.bounced), one(tally.left))
}

#[test]
fn each_recipient_and_each_message_is_in_one_place() {
    let house = House::new();
    house.act("later@slow.example", Act::Defer);
    house.act("never@slow.example", Act::Fail);
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@slow.example"]);
    house.send(&["tcp_slow!c@slow.example", "tcp_slow!later@slow.example"]);
    house.send(&["tcp_slow!d@slow.example", "tcp_slow!never@slow.example"]);
    house.send(&["tcp_slow!later@slow.example", "tcp_slow!never@slow.example", "tcp_slow!e@slow.example"]);
    let released = house.etrn_via("slow.example", Via::target("host.example").unwrap());
    let record = over(&house, &released);
    assert_eq!((record.promised.messages, record.promised.recipients), (4, 9));
    assert_eq!(sums(&record), "1/5 2/2 1/2 0/0");
    assert_eq!(record.ended.unwrap().1, End::Done);
    assert_eq!((record.by.as_str(), record.site.as_str()), ("etrn", "site"));
    assert_eq!((record.address.as_str(), record.argument.as_str()), ("192.0.2.1", "site"));
    assert_eq!((record.covers.as_str(), record.way.as_str()), ("slow.example", "to host.example"));
    assert!(record.last_text.contains("said so") || record.last_text.contains("no"), "{}", record.last_text);
    assert_eq!(record.tally.delivered.bytes, 25, "of one message; octets go with messages");
    // What was put off is promised again by the next one, and nothing else is.
    house.act("later@slow.example", Act::Deliver);
    let again = over(&house, &house.etrn("slow.example"));
    assert_eq!((again.promised.messages, again.promised.recipients), (2, 2));
    assert_eq!(sums(&again), "2/2 0/0 0/0 0/0");
    let nothing = over(&house, &house.etrn("slow.example"));
    assert_eq!((nothing.promised, nothing.ended.unwrap().1), (Count::default(), End::Nothing));
    let of_site = ask(|done| house.handle().releases(Some("site".to_owned()), 10, done)).unwrap();
    assert_eq!(of_site.iter().map(|one| one.id).collect::<Vec<_>>(), [released.id]);
    let all = ask(|done| house.handle().releases(None, 10, done)).unwrap();
    assert_eq!(all.iter().map(|one| one.id).collect::<Vec<_>>(), [nothing.id, again.id, released.id]);
}

#[test]
fn what_joins_is_counted_and_who_joins_points_to_the_first() {
    let house = House::with_keywords(&[("tcp_slow", "threaddepth 1 maxjobs 1")]);
    house.act("tcp_slow", Act::Keep);
    house.send(&["tcp_slow!a@slow.example"]);
    let first = house.etrn("slow.example");
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    house.send(&["tcp_slow!b@slow.example", "tcp_site!x@site.example"]);
    let second = house.etrn("slow.example");
    let joined = over(&house, &second);
    assert_eq!((joined.with.as_slice(), joined.ended.unwrap().1), (&[first.id][..], End::Joined));
    assert_eq!((joined.promised.messages, joined.elsewhere.messages), (2, 2));
    // Whoever waits for the second waits for the first.
    let (told, ended) = std::sync::mpsc::channel();
    house.handle().when_released(second.id, move |record| told.send(record).unwrap()).unwrap();
    house.summary();
    assert!(ended.try_recv().is_err());
    house.finish_kept(&Act::Deliver);
    house.wait(|| house.kept() == 1, || "the other delivery".to_owned());
    house.finish_kept(&Act::Deliver);
    let record = over(&house, &first);
    assert_eq!((record.tally.promised.messages, record.tally.joined.messages), (1, 1));
    assert_eq!(sums(&record), "2/2 0/0 0/0 0/0");
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)).unwrap(), Some(record));
    let (told, ended) = std::sync::mpsc::channel();
    house.handle().when_released(ReleaseId(1), move |record| told.send(record).unwrap()).unwrap();
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)).unwrap(), None);
}

#[test]
fn records_survive_a_stop_and_a_crash_and_count_what_the_journal_has() {
    let mut house = House::with_keywords(&[("tcp_slow", "threaddepth 1 maxjobs 1")]);
    for n in 0..6 {
        house.send(&[&format!("tcp_slow!{n}@slow.example")]);
    }
    house.act("0@slow.example", Act::Deliver);
    house.act("1@slow.example", Act::Fail);
    house.act("2@slow.example", Act::Defer);
    house.act("3@slow.example", Act::Keep);
    let done = over(&house, &house.etrn("#tcp_site"));
    let released = house.etrn_via("slow.example", Via::Channel);
    house.wait(|| house.kept() == 1, || "the fourth".to_owned());
    house.wait(|| record(&house, released.id).tally.bounced.messages == 1, || "the notice".to_owned());
    assert_eq!(sums(&record(&house, released.id)), "1/1 1/1 1/1 0/0");
    // Longer than the journal's delay: all of it is on the disk.
    std::thread::sleep(Duration::from_millis(300));
    house.actors = support::Actors::default();
    house.copy_and_start_from_copy();
    let after = record(&house, released.id);
    assert_eq!(after.ended.unwrap().1, End::Interrupted);
    assert_eq!(sums(&after), "1/1 1/1 1/1 3/3");
    assert!(after.is_balanced());
    assert_eq!(record(&house, done.id), done);
    assert_eq!(house.queue().iter().find(|row| row.contains("slow")).unwrap(), "tcp_slow/slow.example 4");
    // Ids go on from where they were, and an orderly stop says so.
    house.act("tcp_slow", Act::Keep);
    let next = house.etrn("slow.example");
    assert!(next.id > released.id);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    house.restart_with(configuration(&[("tcp_slow", "threaddepth 1 maxjobs 1")], ""));
    let stopped = record(&house, next.id);
    assert_eq!((sums(&stopped).as_str(), stopped.ended.unwrap().1), ("0/0 0/0 0/0 4/4", End::Stopped));
    assert_eq!(record(&house, released.id), after);
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn the_count_is_exact_over_random_queues() {
    for seed in 0..12 {
        let mut chance = Chance(seed);
        let house = House::with_keywords(&[("tcp_slow", "holdlimit 4"), ("tcp_site", "holdlimit 4")]);
        let domains = ["slow.example", "a.slow.example", "b.slow.example"];
        let (mut expected, mut recipients) = (0, 0);
        for message in 0..30 {
            let mut to = Vec::new();
            for one in 0..=chance.below(5) {
                let domain = domains[chance.below(3) as usize];
                to.push(match chance.below(4) {
                    0 => format!("tcp_site!{message}-{one}@site.example"),
                    _ => format!("tcp_slow!{message}-{one}@{domain}"),
                });
            }
            for address in &to {
                let address = address.split_once('!').unwrap().1;
                match chance.below(5) {
                    0 => house.act(address, Act::Defer),
                    1 => house.act(address, Act::Fail),
                    _ => {}
                }
            }
            house.send(&to.iter().map(String::as_str).collect::<Vec<_>>());
            let slow = to.iter().filter(|address| address.starts_with("tcp_slow")).count();
            // More than the channel's holdlimit: on hold, and not promised.
            if (1..=4).contains(&slow) {
                expected += 1;
                recipients += slow as u64;
            }
        }
        let released = house.etrn("@slow.example");
        assert_eq!((released.messages, released.covered.recipients), (expected, recipients), "seed {seed}");
        let record = over(&house, &released);
        // Notices go to the local host and are no part of it.
        let tried: u64 =
            house.got().iter().filter(|got| got.channel == "tcp_slow").map(|got| got.to.len() as u64).sum();
        let tally = record.tally;
        let told = tally.delivered.recipients + tally.deferred.recipients + tally.bounced.recipients;
        assert_eq!((tried, told), (recipients, recipients), "seed {seed}: {record:#?}");
        assert_eq!(tally.left, Count::default());
        let mut messages = tally.delivered.messages;
        messages += tally.deferred.messages + tally.bounced.messages;
        assert_eq!(messages, expected, "seed {seed}");
        house.pass(HOUR);
    }
}

#[test]
fn a_channel_that_cannot_start_ends_its_part_of_a_release_and_keeps_its_mail() {
    for via in [Via::Channel, Via::turned("/run/turn".to_owned())] {
        let house = House::new();
        house.send(&["tcp_slow!a@slow.example", "tcp_site!c@site.example"]);
        house.send(&["tcp_site!b@site.example"]);
        house.refuse_start_of("tcp_site", "no such file");
        let released = house.etrn_via("slow.example site.example", via.clone());
        let record = over(&house, &released);
        assert_eq!(record.promised.messages, 2, "{via}");
        assert_eq!(sums(&record), "0/1 0/0 0/0 2/2", "{via}");
        assert_eq!(record.ended.unwrap().1, End::CannotStart);
        assert_eq!(record.last_text, "channel tcp_site: no such file");
        house.wait_queue(&["tcp_site/site.example 2"]);
        // The plugin is mended; held mail waits to be asked for.
        house.let_start();
        house.pass(HOUR);
        house.wait_queue(&["tcp_site/site.example 2"]);
        let again = over(&house, &house.etrn("site.example"));
        assert_eq!((sums(&again).as_str(), again.ended.unwrap().1), ("2/2 0/0 0/0 0/0", End::Done), "{via}");
        house.wait_queue(&[]);
    }
}

#[test]
fn a_release_that_begins_while_a_channel_sits_out_a_pause_does_not_wait_for_it() {
    let house = House::new();
    house.send(&["tcp_site!a@site.example"]);
    house.refuse_start_of("tcp_site", "no such file");
    over(&house, &house.etrn("site.example"));
    let starts = house.started().len();
    for via in [Via::Channel, Via::turned("/run/turn".to_owned())] {
        let record = over(&house, &house.etrn_via("site.example", via.clone()));
        assert_eq!((sums(&record).as_str(), record.ended.unwrap().1), ("0/0 0/0 0/0 1/1", End::CannotStart));
        assert_eq!(record.last_text, "channel tcp_site: no such file", "{via}");
    }
    assert_eq!(house.started().len(), starts, "nobody but an operator cuts the pause short");
    house.let_start();
    let record = over(&house, &house.release("site.example"));
    assert_eq!((sums(&record).as_str(), record.ended.unwrap().1), ("1/1 0/0 0/0 0/0", End::Done));
}

#[test]
fn a_run_that_has_nothing_left_on_a_channel_is_not_ended_by_its_failure() {
    let house = House::with(configuration_with_options(&[], "RELEASE_GRACE=60\n"));
    house.send(&["tcp_site!a@site.example"]);
    let all_gone = house.etrn("site.example");
    house.wait_queue(&[]);
    house.act("tcp_site", Act::Keep);
    house.send(&["tcp_site!b@other.example"]);
    let under_way = house.release("other.example");
    house.wait(|| house.kept() == 1, || "its delivery".to_owned());
    house.send(&["tcp_site!c@other.example"]);
    house.end_instance();
    house.quiet();
    house.pass(2 * MINUTE);
    let record = over(&house, &all_gone);
    assert_eq!((sums(&record).as_str(), record.ended.unwrap().1), ("1/1 0/0 0/0 0/0", End::Done));
    assert_eq!(record.last_text, "");
    assert_eq!(over(&house, &under_way).ended.unwrap().1, End::CannotStart);
}

#[test]
fn one_message_that_cannot_go_ends_its_release_too() {
    let house = House::new();
    let id = house.send(&["tcp_site!a@site.example"]);
    house.refuse_start_of("tcp_site", "no such file");
    let order = Order::new(Selector::Message(id), Requester::Operator);
    let record = over(&house, &house.order(order));
    assert_eq!((sums(&record).as_str(), record.ended.unwrap().1), ("0/0 0/0 0/0 1/1", End::CannotStart));
    house.wait_queue(&["tcp_site/site.example 1"]);
}

#[test]
fn as_many_records_are_kept_as_the_options_say() {
    let mut house = House::with(configuration_with_options(&[], "RELEASE_RECORDS=3\n"));
    let newest = |house: &House| -> Vec<ReleaseId> {
        let all = ask(|done| house.handle().releases(None, 100, done)).unwrap();
        all.iter().map(|one| one.id).collect()
    };
    let mut ids: Vec<ReleaseId> = (0..5).map(|_| over(&house, &house.etrn("slow.example")).id).collect();
    ids.reverse();
    assert_eq!(newest(&house), ids[..3]);
    house.restart();
    assert_eq!(newest(&house), ids[..3], "a start finds no more");
    house.reload(configuration_with_options(&[], "RELEASE_RECORDS=1\n"));
    house.summary();
    assert_eq!(newest(&house), ids[..1]);
}
