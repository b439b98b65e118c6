//! What operators do to entries: each act, on what stands where, and what a restart knows of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sluice_dispatch::{Act, Acting, Chosen, Filter, Standing, Tally, ask};
use sluice_mail::Priority;
use sluice_queue::Selector;
use support::{Act as Does, HOUR, House};

fn choose(house: &House, filter: Filter) -> Vec<Chosen> {
    let choice = house.handle().choose(filter, &mut |_, _| true).unwrap();
    assert_eq!(choice.unreadable, 0);
    choice.entries
}

fn all(house: &House) -> Vec<Chosen> {
    choose(house, Filter::default())
}

fn act(house: &House, act: Act, chosen: &[Chosen]) -> Tally {
    let acting = Acting { act, by: "the test".to_owned(), reason: "no longer wanted".to_owned() };
    house.handle().act(acting, chosen, &mut |_, _| true).unwrap()
}

fn done(count: u64) -> Tally {
    Tally { done: count, ..Tally::default() }
}

/// Addresses of what was chosen, by the envelopes.
fn who(house: &House, filter: Filter) -> Vec<String> {
    let chosen = choose(house, filter);
    let views = house.handle().views(&chosen).unwrap();
    views.into_iter().flatten().flat_map(|view| house.handle().details(&view).unwrap().unwrap().1).collect()
}

#[test]
fn a_hold_is_lifted_by_nothing_but_its_release() {
    let mut house = House::new();
    house.act("tcp_local", Does::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.send(&["tcp_slow!b@slow.example"]);
    house.take_got();
    assert_eq!(act(&house, Act::Hold, &all(&house)), done(2));
    assert_eq!(act(&house, Act::Hold, &all(&house)), Tally { unchanged: 2, ..Tally::default() });
    house.act("tcp_local", Does::Deliver);
    house.copy_and_start_from_copy();
    house.wait_queue(&["tcp_local/there.example 1 held 1", "tcp_slow/slow.example 1 held 1"]);
    house.etrn("slow.example");
    house.release("#tcp_local");
    house.pass(10 * HOUR);
    house.restart();
    assert_eq!(act(&house, Act::Retry, &all(&house)), Tally { held: 2, ..Tally::default() });
    assert_eq!(house.take_got(), Vec::<String>::new());
    assert_eq!(act(&house, Act::Release, &all(&house)), done(2));
    assert_eq!(
        house.take_got(),
        ["tcp_local a@there.example"],
        "the other one waits to be asked for, as before"
    );
    house.copy_and_start_from_copy();
    house.etrn("slow.example");
    assert!(house.take_got().contains(&"tcp_slow b@slow.example".to_owned()));
}

#[test]
fn what_is_deleted_is_gone_and_nobody_is_told() {
    let mut house = House::new();
    let id = house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@sub.slow.example"]);
    let one = Filter { domains: vec![Selector::Host("slow.example".into())], ..Filter::default() };
    assert_eq!(act(&house, Act::Delete, &choose(&house, one)), done(1));
    house.copy_and_start_from_copy();
    assert_eq!(who(&house, Filter::default()), ["b@sub.slow.example"]);
    let chosen = all(&house);
    assert_eq!(act(&house, Act::Delete, &chosen), done(1));
    assert_eq!(act(&house, Act::Delete, &chosen), Tally { gone: 1, ..Tally::default() });
    house.copy_and_start_from_copy();
    assert!(house.list().is_empty());
    assert!(house.handle().show(id).unwrap().is_empty());
    assert_eq!(house.take_got(), Vec::<String>::new());
}

#[test]
fn what_is_returned_is_told_of_once_also_when_held_and_after_a_crash() {
    let mut house = House::new();
    house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@slow.example"]);
    house.wait_queue(&["tcp_slow/slow.example 1"]);
    act(&house, Act::Hold, &all(&house));
    assert_eq!(act(&house, Act::Return, &all(&house)), done(1));
    house.wait_queue(&[]);
    house.copy_and_start_from_copy();
    house.wait_queue(&[]);
    let got = house.got();
    let notices: Vec<_> = got.iter().filter(|got| got.content.contains("no longer wanted")).collect();
    assert!(notices.iter().any(|one| one.to == ["sender@there.example"]), "{got:#?}");
    assert!(notices.iter().all(|one| one.id == notices[0].id), "one notice: {got:#?}");
    assert!(notices[0].content.contains("a@slow.example") && notices[0].content.contains("b@slow.example"));
    assert!(notices[0].content.contains("Action: failed"));
}

#[test]
fn a_retry_makes_due_what_waits_for_its_time_or_a_release() {
    let house = House::new();
    house.act("tcp_local", Does::Defer);
    house.send(&["tcp_local!a@there.example"]);
    house.send(&["tcp_slow!b@slow.example"]);
    house.take_got();
    assert_eq!(act(&house, Act::Retry, &all(&house)), done(2));
    assert_eq!(house.take_got(), ["tcp_local a@there.example", "tcp_slow b@slow.example"]);
}

#[test]
fn what_is_in_delivery_is_told_apart_and_taken_when_it_comes_back() {
    for (kind, left) in
        [(Act::Hold, &["tcp_local/there.example 1 held 1"][..]), (Act::Delete, &[]), (Act::Return, &[])]
    {
        let house = House::new();
        house.act("a@there.example", Does::Keep);
        house.send(&["tcp_local!a@there.example"]);
        house.wait(|| house.kept() == 1, || "a delivery".to_owned());
        assert_eq!(act(&house, kind, &all(&house)), Tally { active: 1, ..Tally::default() });
        assert_eq!(house.handle().show(all(&house)[0].id).unwrap()[0].noted, Some(kind.name()));
        house.finish_kept(&Does::Defer);
        house.wait_queue(left);
        let mut notices: Vec<_> = house.got().into_iter().filter(|got| got.sender.is_empty()).collect();
        // It is delivered to the sender and to the postmaster.
        notices.dedup_by_key(|notice| notice.id.clone());
        assert_eq!(notices.len(), usize::from(kind == Act::Return), "{kind:?}");
    }
}

#[test]
fn what_was_noted_is_forgotten_when_the_delivery_succeeds() {
    let house = House::new();
    house.act("a@there.example", Does::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    act(&house, Act::Hold, &all(&house));
    house.finish_kept(&Does::Deliver);
    house.wait_queue(&[]);
    // The number is used again, and what it is now is no longer meant.
    house.act("b@there.example", Does::Defer);
    house.send(&["tcp_local!b@there.example"]);
    house.wait_got(2);
    house.wait_queue(&["tcp_local/there.example 1"]);
}

#[test]
fn a_delivery_that_nobody_tried_is_taken_too() {
    let house = House::new();
    house.act("a@there.example", Does::Keep);
    house.send(&["tcp_local!a@there.example"]);
    house.wait(|| house.kept() == 1, || "a delivery".to_owned());
    act(&house, Act::Hold, &all(&house));
    house.end_instance();
    house.wait_queue(&["tcp_local/there.example 1 held 1"]);
}

#[test]
fn filters_combine() {
    let house = House::new();
    house.send_as("x@one.example", Priority::Normal, &["tcp_slow!a@slow.example"]);
    house.send_as(
        "y@two.example",
        Priority::Normal,
        &["tcp_slow!b@sub.slow.example", "tcp_site!c@site.example"],
    );
    house.pass(3 * HOUR);
    house.send_as("", Priority::Normal, &["tcp_slow!d@slow.example"]);
    house.wait_queue(&["tcp_site/site.example 1", "tcp_slow/slow.example 2", "tcp_slow/sub.slow.example 1"]);
    let filter = Filter::default;
    let boxes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let subnet = vec![Selector::Subnet("slow.example".into())];
    for (what, filter, expected) in [
        ("all", filter(), &["a@slow.example", "b@sub.slow.example", "c@site.example", "d@slow.example"][..]),
        ("channel", Filter { channels: vec!["tcp_site".into()], ..filter() }, &["c@site.example"]),
        (
            "subnet",
            Filter { domains: subnet.clone(), ..filter() },
            &["a@slow.example", "b@sub.slow.example", "d@slow.example"],
        ),
        (
            "host",
            Filter { selectors: vec![Selector::Host("sub.slow.example".into())], ..filter() },
            &["b@sub.slow.example"],
        ),
        (
            "sender",
            Filter { senders: boxes(&["x@one.example", "<>"]), ..filter() },
            &["a@slow.example", "d@slow.example"],
        ),
        (
            "sender's domain",
            Filter { senders: boxes(&["two.example"]), ..filter() },
            &["b@sub.slow.example", "c@site.example"],
        ),
        (
            "recipient",
            Filter { recipients: boxes(&["b@sub.slow.example"]), ..filter() },
            &["b@sub.slow.example"],
        ),
        (
            "pattern",
            Filter { recipients: boxes(&["?@*slow*"]), senders: boxes(&["*@*"]), ..filter() },
            &["a@slow.example", "b@sub.slow.example"],
        ),
        (
            "older",
            Filter { older_than: Some(2 * HOUR), domains: subnet, ..filter() },
            &["a@slow.example", "b@sub.slow.example"],
        ),
        ("newer", Filter { newer_than: Some(2 * HOUR), ..filter() }, &["d@slow.example"]),
        ("larger", Filter { larger_than: Some(1_000_000), ..filter() }, &[]),
        ("held", Filter { states: vec![Standing::Held], ..filter() }, &[]),
        (
            "waiting",
            Filter { states: vec![Standing::Waiting], channels: vec!["tcp_site".into()], ..filter() },
            &["c@site.example"],
        ),
    ] {
        let mut found = who(&house, filter);
        found.sort_unstable();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn show_tells_why_an_entry_waits_and_until_when() {
    let house = House::with_keywords(&[("tcp_local", "notices 10 20")]);
    house.act("tcp_local", Does::Defer);
    let id = house.send(&["tcp_local!a@there.example"]);
    house.take_got();
    let shown = house.handle().show(id).unwrap();
    assert_eq!(shown.len(), 1);
    let (when, error) = shown[0].error.clone().unwrap();
    assert_eq!((error.text.as_str(), error.peer.as_str()), ("450 not now", "peer.example"));
    assert_eq!(when, house.clock_now());
    assert_eq!(shown[0].expires, Some(shown[0].view.arrived.plus(20 * HOUR)));
    assert_eq!((shown[0].view.attempts, shown[0].plugin.as_deref()), (1, Some("tcp")));
    assert!(shown[0].view.due.is_some_and(|due| due > when));
}

#[test]
fn an_act_on_many_leaves_time_for_mail() {
    let house = House::new();
    for _ in 0..1500 {
        house.send(&["tcp_slow!a@slow.example"]);
    }
    let mut portions = Vec::new();
    let acting = Acting { act: Act::Hold, by: String::new(), reason: String::new() };
    let chosen = all(&house);
    let tally = house.handle().act(acting, &chosen, &mut |acted, of| {
        portions.push((acted, of));
        true
    });
    assert_eq!(tally.unwrap(), done(1500));
    assert_eq!(portions, [(512, 1500), (1024, 1500), (1500, 1500)]);
    house.wait_queue(&["tcp_slow/slow.example 1500 held 1500"]);
    house.pass(Duration::from_secs(1));
}

#[test]
fn why_an_entry_was_deferred_last_survives_a_crash_and_a_checkpoint() {
    let mut house = House::new();
    house.act("tcp_local", Does::Defer);
    house.act("b@far.example", Does::Unreachable);
    let id = house.send(&["tcp_local!a@there.example", "tcp_local!b@far.example", "tcp_slow!c@slow.example"]);
    let deferred_at = house.clock_now();
    house.wait(|| all(&house).len() == 3 && why(&house, id).len() == 2, || format!("{:?}", why(&house, id)));
    let expected = [
        "far.example: 4.4.1 no answer, by nobody".to_owned(),
        "there.example: 4.2.0 450 not now, by peer.example".to_owned(),
    ];
    assert_eq!(why(&house, id), expected);
    // An act is on the disk when it is answered, and with it what was asked for before.
    let slow = Filter { domains: vec![Selector::Host("slow.example".into())], ..Filter::default() };
    assert_eq!(act(&house, Act::Hold, &choose(&house, slow)), done(1));
    // From the journal; then from the checkpoint that a stop writes, twice.
    house.copy_and_start_from_copy();
    assert_eq!(why(&house, id), expected);
    house.pass(Duration::from_millis(7));
    for _ in 0..2 {
        house.restart();
        assert_eq!(why(&house, id), expected);
    }
    let errors = house.handle().last_errors(&all(&house)).unwrap();
    assert_eq!(errors.iter().flatten().map(|(at, _)| *at).collect::<Vec<_>>(), [deferred_at; 2]);
    // What is delivered in the end takes it along.
    house.act("tcp_local", Does::Deliver);
    act(&house, Act::Retry, &all(&house));
    house.wait(|| why(&house, id).len() == 1, || format!("{:?}", why(&house, id)));
    house.restart();
    assert_eq!(why(&house, id), expected[..1]);
}

#[test]
fn a_page_reads_no_more_envelopes_than_it_shows() {
    let house = House::new();
    for _ in 0..1200 {
        house.send(&["tcp_slow!a@slow.example", "tcp_slow!b@sub.slow.example"]);
    }
    let filter = || Filter { senders: vec!["sender@there.example".parse().unwrap()], ..Filter::default() };
    let mut read = 0;
    let choice = house.handle().choose_first(11, filter(), &mut |seen, _| {
        read = seen;
        true
    });
    let entries = choice.unwrap().entries;
    assert!(read < 1000 && entries.len() > 11 && entries.len() < 1000, "{read}, {}", entries.len());
    assert_eq!(entries[10].id, entries[11].id, "the message of the last one is whole");
    assert_eq!(choose(&house, filter()).len(), 2400);
    assert_eq!(house.handle().choose_first(0, filter(), &mut |_, _| true).unwrap().unreadable, 0);
    // Without envelopes the same page comes of the index alone, however many there are.
    let all = choose(&house, Filter::default());
    for (most, expected) in [(0, 0), (1, 2), (2, 2), (11, 12), (2399, 2400), (9999, 2400)] {
        let page = house.handle().choose_first(most, Filter::default(), &mut |_, _| true).unwrap().entries;
        assert_eq!(page, all[..expected], "{most}");
    }
}

#[test]
fn a_summary_of_more_queues_than_one_step_takes_is_whole() {
    let house = House::new();
    let domains: Vec<String> = (0..2500).map(|n| format!("tcp_slow!a@s{n}.example")).collect();
    for group in domains.chunks(50) {
        house.send(&group.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let rows = house.handle().summarize().unwrap();
    assert_eq!((rows.len(), rows.iter().map(|row| row.messages).sum::<u64>()), (2500, 2500));
    let channel = ask(|done| house.handle().channels(done)).unwrap();
    assert!(channel.iter().any(|row| row.name == "tcp_slow" && row.messages == 2500));
}

/// The last errors of a message's entries.
fn why(house: &House, id: sluice_spool::EntryId) -> Vec<String> {
    let details = house.handle().show(id).unwrap();
    let known = details.iter().filter_map(|entry| {
        let (_, error) = entry.error.as_ref()?;
        let peer = if error.peer.is_empty() { "nobody" } else { &error.peer };
        Some(format!("{}: {} {}, by {peer}", entry.view.domain, error.status, error.text))
    });
    known.collect()
}
