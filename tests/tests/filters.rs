//! Filters see a message before it is queued: each verdict, changes, failures, and what the client is told.
//!
//! The filter is a fixture in C which does what the message says behind `X-Do-N:`.

use serde_json::Value;
use sluice_testkit::{Arrived, Reply, Sink, Site, wait_for, watch};
use sluice_tests::{Destination, SOON, WHILE, hub, is_root, plugin_in_c};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const FIXTURE: &str = "crates/host/tests/fixtures/filter.c";

/// A hub with two destinations, whose filters 1 and 2 are the fixture. `incoming` goes to `tcp_local`.
fn filtered(name: &str, incoming: &str, options: &str, to: &[Destination<'_>]) -> Site {
    let hub = hub(name, to);
    let plugin = plugin_in_c(FIXTURE, "filter", hub.folder());
    let mut text = String::from("SPOOL_DIR=../spool\n");
    for number in 1..=2 {
        let _ = writeln!(text, "SPAMFILTER{number}_LIBRARY={}", plugin.display());
    }
    hub.write("option.dat", &format!("{text}{options}"));
    hub.replace(
        "sluice.cnf",
        "tcp_local smtp nomx allowetrn",
        &format!("tcp_local smtp nomx allowetrn {incoming}"),
    );
    hub
}

fn order(orders: &[&str]) -> Vec<u8> {
    let mut text = String::from("Subject: old\r\n");
    for order in orders {
        let _ = write!(text, "X-Do-{order}\r\n");
    }
    text.push_str("\r\nbody\r\n.dot\r\n");
    text.into_bytes()
}

fn deliver(hub: &Site, to: &[&str], orders: &[&str]) -> Reply {
    hub.talk().deliver("a@origin.example", to, &order(orders)).expect("an answer")
}

fn field(arrived: &Arrived, name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&arrived.content).into_owned();
    let head = text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ").replace("\r\n\t", " ");
    let named = head.split("\r\n").filter_map(|line| line.strip_prefix(&format!("{name}: ")));
    named.map(str::to_owned).collect()
}

fn one(sink: &Sink) -> Arrived {
    let arrived = sink.wait(1, SOON);
    sink.clear();
    arrived[0].clone()
}

fn next(sink: &Sink) -> Destination<'_> {
    Destination::direct("tcp_next", "next.example", sink.port())
}

fn other(sink: &Sink) -> Destination<'_> {
    Destination::direct("tcp_other", "other.example", sink.port())
}

/// The two, with filter 1 for what goes to the first and filter 2 for what goes to the other.
fn each_with_a_filter<'a>(sink: &'a Sink, back: &'a Sink) -> [Destination<'a>; 2] {
    [
        Destination { keywords: "destinationspamfilter1", ..next(sink) },
        Destination { keywords: "destinationspamfilter2", ..other(back) },
    ]
}

#[test]
fn each_verdict_is_the_clients_answer_or_the_messages_fate() {
    let sink = Sink::start();
    let mut hub = filtered("filter-verdicts", "sourcespamfilter1", "", &[next(&sink)]);
    hub.start();
    let to = ["fred@next.example"];
    for (order, code, text) in [
        ("1: refuse no such thing here", 554, "5.7.9 no such thing here"),
        ("1: refuse-now come back", 450, "4.7.9 come back"),
        ("1: refuse-silently", 550, "5.7.1 refused by a filter"),
        ("1: fail no table", 451, "4.7.1 the message cannot be looked at now"),
        ("1: panic", 451, "4.7.1"),
        ("1: odd", 451, "4.7.1"),
    ] {
        let reply = deliver(&hub, &to, &[order]);
        assert_eq!(reply.code, code, "{order}: {reply}");
        assert!(reply.text().contains(text), "{order}: {reply}");
    }
    assert_eq!(deliver(&hub, &to, &["1: discard"]).code, 250);
    watch("nothing comes of all that", WHILE, || sink.count() == 0 && hub.waiting(None) == 0);
    for wanted in ["filter=1", "no table", "returned 77", "thrown away by a filter", "refused by a filter"] {
        assert!(hub.log().contains(wanted), "{wanted}: {}", hub.log());
    }
    // The message as it came, with nothing but the hub's own field more.
    assert_eq!(deliver(&hub, &to, &["1: nothing"]).code, 250);
    let arrived = one(&sink);
    assert!(arrived.content.ends_with(b"Subject: old\r\nX-Do-1: nothing\r\n\r\nbody\r\n.dot\r\n"));
    assert_eq!(field(&arrived, "Received").len(), 1);
    hub.stop();
}

#[test]
fn a_message_is_held_with_its_reason_and_changes() {
    let sink = Sink::start();
    let mut hub = filtered("filter-hold", "sourcespamfilter1", "", &[next(&sink)]);
    hub.start();
    let reply = deliver(&hub, &["fred@next.example"], &["1: hold looks odd to me"]);
    assert_eq!(reply.code, 250);
    let list = hub.json(&["queue", "list"]);
    let id = list[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(list[0]["state"], "held", "{list:?}");
    assert_eq!(list[0]["hold_reason"], "filter 1: looks odd to me", "{list:?}");
    for arguments in [&["queue", "list"][..], &["queue", "list", "--mailq"]] {
        let shown = hub.command(arguments).out;
        assert!(shown.contains("filter 1: looks odd to me"), "{shown}");
    }
    let shown = hub.command(&["queue", "show", &id]);
    assert!(shown.out.contains("filter 1: looks odd to me"), "{}", shown.out);
    // The reason survives, also a hub that is killed.
    hub.kill();
    hub.start();
    let shown: Vec<Value> = hub.json(&["queue", "show", &id]);
    assert_eq!(shown[0]["hold_reason"], "filter 1: looks odd to me", "{shown:?}");
    assert_eq!(hub.command(&["queue", "release", &id]).code, 0);
    assert_eq!(field(&one(&sink), "X-Held"), ["yes"]);
    hub.stop();
}

#[test]
fn headers_and_recipients_are_changed_and_the_next_filter_sees_it() {
    let (sink, far) = (Sink::start(), Sink::start());
    let to = [next(&sink), other(&far)];
    let mut hub = filtered(
        "filter-changes",
        "sourcespamfilter1 sourcespamfilter2optin virus,spam",
        "SPAMFILTER2_CONFIG_FILE=second.opt\n",
        &to,
    );
    hub.write("second.opt", "! comment\nTAG=second\n");
    hub.write("aliases", "team: kim@other.example, lee@other.example\n");
    hub.start();
    deliver(&hub, &["fred@next.example"], &["1: first top", "2: tell"]);
    let arrived = one(&sink);
    let text = String::from_utf8_lossy(&arrived.content).into_owned();
    let names: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with(['\t', ' ']))
        .map(|line| line.split(':').next().unwrap_or_default())
        .collect();
    assert_eq!(names[..5], ["Received", "X-First", "Subject", "X-Do-1", "X-Do-2"], "{text}");
    assert!(
        field(&arrived, "X-Told")[0].starts_with(
            "tag=second number=2 flags=0 from=tcp_local to= opt=virus,spam sender=a@origin.example client=127.0.0.1"
        ),
        "{text}"
    );
    assert!(field(&arrived, "X-Told")[0].ends_with("[0 fred@next.example tcp_next]"), "{text}");

    deliver(&hub, &["fred@next.example"], &["1: replace new", "2: remove X-Do-1"]);
    let arrived = one(&sink);
    assert_eq!((field(&arrived, "Subject"), field(&arrived, "X-Do-1").len()), (vec!["new".to_owned()], 0));

    // An alias is expanded, and the second filter is shown who it stands for.
    deliver(&hub, &["fred@next.example"], &["1: redirect team@hub.example", "2: tell"]);
    let arrived = one(&far);
    assert_eq!(arrived.to, ["kim@other.example", "lee@other.example"]);
    assert!(
        field(&arrived, "X-Told")[0]
            .contains("[0 kim@other.example tcp_other] [1 lee@other.example tcp_other]")
    );
    deliver(&hub, &["fred@next.example"], &["1: add kim@other.example"]);
    assert_eq!(
        (one(&sink).to, one(&far).to),
        (vec!["fred@next.example".to_owned()], vec!["kim@other.example".to_owned()])
    );
    // Whoever cannot be reached is not added; a message that nobody gets is thrown away.
    deliver(&hub, &["fred@next.example"], &["1: add kim@nowhere.invalid"]);
    assert_eq!(one(&sink).to, ["fred@next.example"]);
    assert!(hub.log().contains("a recipient that a filter adds is not taken"));
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: empty"]).code, 250);
    watch("it is thrown away", WHILE, || sink.count() + far.count() == 0 && hub.waiting(None) == 0);
    hub.stop();
}

#[test]
fn large_messages_are_changed_without_harm_to_their_body() {
    let sink = Sink::start();
    let mut hub = filtered("filter-large", "sourcespamfilter1", "", &[next(&sink)]);
    hub.start();
    let line = format!("{}\r\n", "x".repeat(76));
    for (orders, lines) in [(["1: last 1"], 40_000), (["1: nothing"], 40_000), (["1: last 1"], 3_300)] {
        let mut content = order(&orders);
        content.extend(line.repeat(lines).bytes());
        assert_eq!(
            hub.talk().deliver("a@origin.example", &["fred@next.example"], &content).expect("an answer").code,
            250
        );
        let arrived = one(&sink);
        assert!(arrived.content.ends_with(format!("body\r\n.dot\r\n{}", line.repeat(lines)).as_bytes()));
        assert_eq!(field(&arrived, "X-Last").len(), usize::from(orders[0].ends_with('1')));
    }
    hub.stop();
}

#[test]
fn hostile_filters_change_nothing_that_they_may_not() {
    let sink = Sink::start();
    let mut hub = filtered("filter-hostile", "sourcespamfilter1", "", &[next(&sink)]);
    hub.start();
    deliver(&hub, &["fred@next.example"], &["1: hostile"]);
    let arrived = one(&sink);
    assert_eq!(field(&arrived, "X-Hostile"), ["22222224222222222222322222"]);
    assert!(!String::from_utf8_lossy(&arrived.content).contains("Injected"));
    assert_eq!(arrived.to, ["fred@next.example"]);
    deliver(&hub, &["fred@next.example"], &["1: many"]);
    assert_eq!(field(&one(&sink), "X-Many").len(), 1000);
    assert!(hub.log().contains("1000 taken, 9000 too many"), "{}", hub.log());
    deliver(&hub, &["fred@next.example"], &["1: crowd next.example"]);
    let mut to: Vec<String> = Vec::new();
    wait_for("everybody", SOON, || {
        to.extend(sink.take_arrived().into_iter().flat_map(|one| one.to));
        to.len() == 101
    });
    hub.stop();
}

#[test]
fn a_filter_that_hangs_costs_a_temporary_refusal_and_nothing_else() {
    let sink = Sink::start();
    let mut hub = filtered("filter-hang", "sourcespamfilter1", "SPAMFILTER1_TIMEOUT=1\n", &[next(&sink)]);
    hub.start();
    let begun = Instant::now();
    let reply = deliver(&hub, &["fred@next.example"], &["1: late 2500"]);
    assert_eq!(reply.code, 451, "{reply}");
    assert!(begun.elapsed() < Duration::from_millis(2400), "{:?}", begun.elapsed());
    // Others are looked at meanwhile, on any number of connections.
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: last 1"]).code, 250);
    assert_eq!(field(&one(&sink), "X-Last"), ["1"]);
    wait_for("the late word", SOON, || hub.log().contains("late: gone"));
    assert!(hub.log().contains("it did not return within 1s"), "{}", hub.log());
    watch("nothing of the late message comes", WHILE, || sink.count() == 0);
    hub.stop();
}

#[test]
fn optional_filters_let_mail_pass_when_they_fail() {
    let sink = Sink::start();
    let options = "SPAMFILTER1_OPTIONAL=1\nSPAMFILTER1_TIMEOUT=1\nSPAMFILTER2_OPTIONAL=2\nSPAMFILTER2_CONFIG_FILE=second.opt\n";
    let mut hub = filtered("filter-optional", "sourcespamfilter1 sourcespamfilter2", options, &[next(&sink)]);
    hub.write("second.opt", "CREATE=refuses\n");
    hub.start();
    for order in ["1: fail no table", "1: panic", "1: hang 1500", "1: last 1"] {
        assert_eq!(deliver(&hub, &["fred@next.example"], &[order]).code, 250, "{order}");
        let arrived = one(&sink);
        // What a failed call has changed is not kept.
        assert!(field(&arrived, "X-Failed").is_empty());
        assert_eq!(field(&arrived, "X-Last").len(), usize::from(order.ends_with("last 1")));
    }
    assert!(hub.log().contains("it refuses the settings: it does not like them"), "{}", hub.log());
    // Settings that it likes, and it is there.
    hub.write("second.opt", "TAG=now\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    deliver(&hub, &["fred@next.example"], &["2: tell"]);
    assert!(field(&one(&sink), "X-Told")[0].starts_with("tag=now number=2"));
    hub.stop();
}

#[test]
fn a_destination_filter_is_about_its_copy_alone() {
    let (sink, far) = (Sink::start(), Sink::start());
    let to = [Destination { keywords: "destinationspamfilter1optin strict", ..next(&sink) }, other(&far)];
    let mut hub = filtered("filter-destination", "", "", &to);
    hub.start();
    let both = ["fred@next.example", "kim@other.example"];
    assert_eq!(deliver(&hub, &both, &["1: tell"]).code, 250);
    let (told, untold) = (one(&sink), one(&far));
    assert!(field(&told, "X-Told")[0].contains("to=tcp_next opt=strict"), "{told:?}");
    assert!(field(&told, "X-Told")[0].ends_with("[0 fred@next.example tcp_next]"));
    assert!(field(&untold, "X-Told").is_empty() && untold.to == ["kim@other.example"]);
    // Refused for all that are left: the client's answer. For one copy of two: a notice, and the other goes on.
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: refuse not here"]).code, 554);
    let reply = hub.talk().deliver("writer@other.example", &both, &order(&["1: refuse not here"]));
    assert_eq!(reply.expect("an answer").code, 250);
    let mut arrived = Vec::new();
    wait_for("the copy and the notice", SOON, || {
        arrived.extend(far.take_arrived());
        arrived.len() == 2
    });
    let notice = arrived.iter().find(|one| one.from.is_empty()).expect("a notice");
    assert_eq!(notice.to, ["writer@other.example"]);
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(
        text.contains("fred@next.example") && text.contains("not here") && text.contains("5.7.9"),
        "{text}"
    );
    hub.wait_for_waiting(None, 0, SOON);
    // For now: the whole message, of which nothing is queued.
    assert_eq!(deliver(&hub, &both, &["1: refuse-now later"]).code, 450);
    assert_eq!(deliver(&hub, &both, &["1: fail later"]).code, 451);
    watch("nothing of it comes", WHILE, || sink.count() + far.count() == 0 && hub.waiting(None) == 0);
    // Thrown away: the only copy; and the copy, and not the other.
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: discard"]).code, 250);
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: empty"]).code, 250);
    assert_eq!(deliver(&hub, &both, &["1: discard"]).code, 250);
    assert_eq!(one(&far).to, ["kim@other.example"]);
    // Held: the copy, and not the other.
    assert_eq!(deliver(&hub, &both, &["1: hold odd"]).code, 250);
    assert_eq!(one(&far).to, ["kim@other.example"]);
    assert_eq!((hub.waiting(Some("tcp_next")), sink.count()), (1, 0));
    hub.stop();
}

/// What arrives for `writer@back.example`: so many messages.
fn notices(sink: &Sink, count: usize) -> Vec<String> {
    let arrived = sink.wait(count, SOON);
    sink.clear();
    assert!(arrived.iter().all(|one| one.from.is_empty()), "{arrived:?}");
    arrived.iter().map(|one| String::from_utf8_lossy(&one.content).into_owned()).collect()
}

#[test]
fn who_gets_no_copy_is_told_of_whatever_filters_do_with_the_others() {
    let (sink, far, back) = (Sink::start(), Sink::start(), Sink::start());
    let to = [
        Destination { keywords: "destinationspamfilter1", ..next(&sink) },
        Destination { keywords: "destinationspamfilter2 blocklimit 2", ..other(&far) },
        Destination::direct("tcp_back", "back.example", back.port()),
    ];
    let mut hub = filtered("filter-told", "missingrecipientpolicy 5", "", &to);
    hub.start();
    let deliver = |orders: &[&str], more: usize| {
        let mut content = [b"To: all\r\n".to_vec(), order(orders)].concat();
        content.extend("too much for some\r\n".repeat(more).bytes());
        let both = ["fred@next.example", "kim@other.example"];
        let reply = hub.talk().deliver("writer@back.example", &both, &content).expect("an answer");
        assert_eq!(reply.code, 250, "{orders:?}: {reply}");
    };
    // Too large for one channel: the filter of the other changes its copy, or throws it away.
    for (order, copies) in [("1: last 1", 1), ("1: discard", 0)] {
        deliver(&[order], 200);
        let notice = &notices(&back, 1)[0];
        assert!(notice.contains("kim@other.example") && !notice.contains("fred@next"), "{order}: {notice}");
        assert_eq!(sink.wait(copies, SOON).len(), copies, "{order}");
        sink.clear();
    }
    // One copy is thrown away and the other refused: the notice tells what message that was.
    deliver(&["1: discard", "2: refuse not here"], 0);
    let notice = &notices(&back, 1)[0];
    assert!(notice.contains("not here") && notice.contains("Subject: old"), "{notice}");
    watch("nothing else comes", WHILE, || {
        sink.count() + far.count() + back.count() == 0 && hub.waiting(None) == 0
    });
    hub.stop();
}

#[test]
fn copies_are_held_for_different_reasons() {
    let (sink, far) = (Sink::start(), Sink::start());
    let mut hub = filtered("filter-reasons", "", "", &each_with_a_filter(&sink, &far));
    hub.start();
    let both = ["fred@next.example", "kim@other.example"];
    assert_eq!(deliver(&hub, &both, &["1: hold-as-is one", "2: hold-as-is two"]).code, 250);
    // Held for its way through the world by the hub, and for something else by a filter.
    let circle = "Received: from a by b; 1 Jan 2026 00:00:00 +0000\r\n".repeat(60);
    let content = [circle.into_bytes(), order(&["1: hold-as-is three"])].concat();
    let reply = hub.talk().deliver("a@origin.example", &both, &content).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
    let list = hub.json(&["queue", "list"]);
    let mut reasons = Vec::new();
    for one in &list {
        assert_eq!(one["state"], "held", "{list:?}");
        let shown = hub.json(&["queue", "show", one["id"].as_str().expect("an id")]);
        reasons
            .extend(shown.iter().map(|shown| shown["hold_reason"].as_str().unwrap_or_default().to_owned()));
    }
    reasons.sort_unstable();
    assert_eq!(reasons, ["", "filter 1: one", "filter 1: three", "filter 2: two"]);
    assert_eq!(sink.count() + far.count(), 0);
    hub.stop();
}

#[test]
fn filters_that_send_mail_to_each_other_come_to_an_end() {
    let (sink, far) = (Sink::start(), Sink::start());
    let mut hub = filtered("filter-circle", "", "", &each_with_a_filter(&sink, &far));
    hub.start();
    let circle = ["1: redirect kim@other.example", "2: redirect fred@next.example"];
    assert_eq!(deliver(&hub, &["fred@next.example"], &circle).code, 250);
    assert_eq!(one(&sink).to, ["fred@next.example"]);
    // What the first sends to the other channel is shown to the filter of that one.
    assert_eq!(
        deliver(&hub, &["fred@next.example"], &["1: redirect kim@other.example", "2: last 2"]).code,
        250
    );
    assert_eq!(field(&one(&far), "X-Last"), ["2"]);
    watch("it comes once", WHILE, || sink.count() + far.count() == 0 && hub.waiting(None) == 0);
    hub.stop();
}

#[test]
fn mail_that_a_plugin_brings_in_is_filtered_and_a_refusal_is_a_notice() {
    let sink = Sink::start();
    let mut hub = filtered("filter-inside", "sourcespamfilter2", "", &[next(&sink)]);
    let text = std::fs::read_to_string(hub.configuration().join("sluice.cnf")).expect("the file");
    let rules = "later.example $U%later.example@PROCESS-DAEMON$Nprocess\nlater.example $U%next.example@TCP_NEXT$Mprocess\n";
    hub.write("sluice.cnf", &format!("{rules}{text}\nprocess sourcespamfilter1\nPROCESS-DAEMON\n"));
    hub.start();
    // By the listener it passes filter 2, and by the channel that brings it in again filter 1.
    assert_eq!(deliver(&hub, &["fred@later.example"], &["1: tell"]).code, 250);
    let arrived = one(&sink);
    assert!(field(&arrived, "X-Told")[0].contains("flags=56 from=process"), "{arrived:?}");
    let reply =
        hub.talk().deliver("writer@next.example", &["fred@later.example"], &order(&["1: refuse not again"]));
    assert_eq!(reply.expect("an answer").code, 250);
    let notice = one(&sink);
    assert_eq!((notice.from.as_str(), notice.to), ("", vec!["writer@next.example".to_owned()]));
    assert!(String::from_utf8_lossy(&notice.content).contains("not again"));
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn filters_that_are_not_there_are_named_and_mail_waits_for_them() {
    let sink = Sink::start();
    let mut hub = filtered(
        "filter-missing",
        "sourcespamfilter1 sourcespamfilter2 sourcespamfilter3",
        "",
        &[next(&sink)],
    );
    hub.write(
        "option.dat",
        "SPOOL_DIR=../spool\nSPAMFILTER1_LIBRARY=bitbucket\nSPAMFILTER2_LIBRARY=nosuch\n",
    );
    let checked = hub.command(&["check"]);
    for wanted in [
        "filter-without-function",
        "filter 1: plugin bitbucket has no function `filter`",
        "filter-not-loaded",
        "there is no plugin nosuch",
        "no-such-filter",
        "there is no filter 3, mail passes as it is",
    ] {
        assert!(
            checked.out.contains(wanted) || checked.err.contains(wanted),
            "{wanted}: {} {}",
            checked.out,
            checked.err
        );
    }
    hub.write("option.dat", "SPAMFILTER2_LIBRARY=nosuch\nSPAMFILTER2_CONFIG_FILE=lost.opt\n");
    let checked = hub.command(&["check"]);
    assert!(checked.out.contains("cannot read the option file of filter 2"), "{}", checked.out);
    assert_ne!(checked.code, 0, "an option file that is named is needed");
    let plugin = hub.folder().join("libsluice_filter.so");
    hub.write("option.dat", &format!("SPOOL_DIR=../spool\nSPAMFILTER1_LIBRARY=nosuch\nSPAMFILTER2_LIBRARY={}\nSPAMFILTER2_CONFIG_FILE=good.opt\n", plugin.display()));
    hub.write("good.opt", "TAG=x\nTAGG=y\nLIMIT=high\n");
    let checked = hub.command(&["check"]);
    for wanted in
        ["plugin filter has no option TAGG", "did you mean `TAG`?", "option LIMIT of plugin filter is `high`"]
    {
        assert!(checked.out.contains(wanted), "{wanted}: {}", checked.out);
    }
    assert_eq!(checked.code, 0);
    hub.start();
    assert_eq!(deliver(&hub, &["fred@next.example"], &[]).code, 451);
    assert!(hub.log().contains("there is no plugin nosuch"), "{}", hub.log());
    // Filter 3 is switched off, as Messaging Server's book does it; the others are taken away.
    hub.write("option.dat", "SPOOL_DIR=../spool\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: refuse no"]).code, 250);
    assert_eq!(one(&sink).to, ["fred@next.example"]);
    hub.stop();
}

#[test]
fn a_recipient_that_a_filter_adds_is_held_to_the_limits_of_its_channel() {
    let (sink, far) = (Sink::start(), Sink::start());
    let to = [next(&sink), Destination { keywords: "linelimit 20", ..other(&far) }];
    let mut hub = filtered("filter-limits", "sourcespamfilter1", "", &to);
    hub.start();
    let deliver = |lines: usize| {
        let mut content = order(&["1: add kim@other.example"]);
        content.extend("one more\r\n".repeat(lines).bytes());
        let reply = hub.talk().deliver("a@origin.example", &["fred@next.example"], &content);
        assert_eq!(reply.expect("an answer").code, 250);
        one(&sink)
    };
    // Two of the header, the empty line, and two of the body are there already.
    deliver(15);
    assert_eq!(one(&far).to, ["kim@other.example"]);
    assert_eq!(deliver(16).to, ["fred@next.example"]);
    let said = "a recipient that a filter adds is not taken";
    let log = hub.log();
    let line = log.lines().find(|line| line.contains(said)).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("kim@other.example") && line.contains("20 lines"), "{line}");
    watch("nothing comes of it", WHILE, || far.count() == 0 && hub.waiting(None) == 0);
    hub.stop();
}

#[test]
fn copies_that_differ_are_stored_all_or_not_at_all() {
    let (sink, far) = (Sink::start(), Sink::start());
    let keywords = "missingrecipientpolicy 6";
    let mut hub = filtered("filter-whole", keywords, "", &each_with_a_filter(&sink, &far));
    hub.start();
    let both = ["fred@next.example", "kim@other.example"];
    // One copy loses the field without which the hub takes no message: whichever of the two is stored first, nothing is.
    for lines in [0, 20_000] {
        for orders in [["1: remove To", "2: nothing"], ["1: nothing", "2: remove To"]] {
            let mut content = [b"To: all\r\n".to_vec(), order(&orders)].concat();
            content.extend("some words more\r\n".repeat(lines).bytes());
            let reply = hub.talk().deliver("a@origin.example", &both, &content).expect("an answer");
            assert_eq!(reply.code, 554, "{orders:?}: {reply}");
        }
    }
    watch("nothing of it comes", WHILE, || sink.count() + far.count() == 0 && hub.waiting(None) == 0);
    // Large ones come whole, each with its own header.
    let mut content = [b"To: all\r\n".to_vec(), order(&["1: last 1", "2: last 2"])].concat();
    content.extend("some words more\r\n".repeat(20_000).bytes());
    assert_eq!(hub.talk().deliver("a@origin.example", &both, &content).expect("an answer").code, 250);
    for (sink, value) in [(&sink, "1"), (&far, "2")] {
        let arrived = one(sink);
        assert_eq!(field(&arrived, "X-Last"), [value]);
        let body = "some words more\r\n".repeat(20_000);
        assert!(arrived.content.ends_with(format!("body\r\n.dot\r\n{body}").as_bytes()));
    }
    hub.stop();
}

/// Puts another library in the place of the fixture's, made of its text with these words changed.
fn replace_plugin(hub: &Site, changes: &[(&str, &str)]) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = std::fs::read_to_string(root.join(FIXTURE)).expect("the fixture");
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    let source = hub.folder().join("filter.c");
    std::fs::write(&source, text).expect("a new file");
    let _ = plugin_in_c(source.to_str().expect("a path"), "filter", hub.folder());
}

#[test]
fn a_filter_goes_over_to_a_new_file_that_it_can_be_made_of() {
    let sink = Sink::start();
    let options = "SPAMFILTER1_CONFIG_FILE=first.opt\n";
    let mut hub = filtered("filter-reload", "sourcespamfilter1 sourcespamfilter2", options, &[next(&sink)]);
    hub.write("first.opt", "TAG=one\nCALLS=calls\n");
    hub.start();
    let told = |order: &str| {
        assert_eq!(deliver(&hub, &["fred@next.example"], &[order]).code, 250);
        let arrived = one(&sink);
        (field(&arrived, "X-Told"), field(&arrived, "X-Told-Anew"))
    };
    assert!(told("1: tell").0[0].starts_with("tag=one number=1"));
    // A relative path starts from the folder of the configuration.
    let calls = || std::fs::read(hub.configuration().join("calls")).map_or(0, |calls| calls.len());
    assert_eq!(calls(), 1);
    // What cannot be made of it is said, and everything stays as it was.
    hub.write("first.opt", "TAG=two\nCALLS=calls\n");
    replace_plugin(
        &hub,
        &[(
            "    *channel = filter;\n",
            "    (void)channel;\n    free(filter);\n    return SLUICE_STATUS_FAILED;\n",
        )],
    );
    let refused = hub.command(&["plugin", "reload", "filter"]);
    assert_eq!(refused.code, 78, "{}{}", refused.out, refused.err);
    let file = hub.folder().join("libsluice_filter.so");
    let first = format!("spamfilter1 cannot be started with {}: ", file.display());
    for wanted in [&*first, "what is in force stays in force"] {
        assert!(refused.err.contains(wanted), "{wanted}: {}", refused.err);
    }
    assert!(told("1: tell").0[0].starts_with("tag=one number=1"));
    assert_eq!(calls(), 2, "it was tried once");
    // The filters of both numbers go over, with the option files of now.
    replace_plugin(&hub, &[("\"X-Told\"", "\"X-Told-Anew\"")]);
    let row = hub.json(&["plugin", "reload", "filter"]);
    let over: Vec<&str> = row[0]["channels"]
        .as_array()
        .expect("channels")
        .iter()
        .filter_map(|one| one["channel"].as_str())
        .collect();
    assert_eq!(over, ["spamfilter1", "spamfilter2"], "{row:?}");
    let (old, new) = told("1: tell");
    assert!(old.is_empty() && new[0].starts_with("tag=two number=1"), "{new:?}");
    assert!(told("2: tell").1[0].starts_with("tag= number=2"));
    assert_eq!(calls(), 3);
    // A list of plugins has it, with what it is for; also while no hub runs.
    let is_listed = |hub: &Site| {
        let rows = hub.json(&["plugin", "list"]);
        let row = rows.iter().find(|row| row["plugin"].as_str().is_some_and(|name| name.contains("filter")));
        row.map(|row| row["channels"].clone())
    };
    assert_eq!(is_listed(&hub), Some(serde_json::json!(["spamfilter1", "spamfilter2"])));
    hub.stop();
    assert_eq!(is_listed(&hub), Some(serde_json::json!(["spamfilter1", "spamfilter2"])));
}

#[test]
fn an_option_that_a_filter_needs_is_asked_for() {
    let hub = filtered("filter-needs", "sourcespamfilter1", "", &[]);
    replace_plugin(&hub, &[("#define TAG_FLAGS 0", "#define TAG_FLAGS SLUICE_OPTION_FLAG_REQUIRED")]);
    let checked = hub.command(&["check"]);
    for wanted in
        ["filter-missing-option", "option TAG is not set and has no default", "SPAMFILTER1_CONFIG_FILE"]
    {
        assert!(checked.out.contains(wanted), "{wanted}: {}", checked.out);
    }
    let options = std::fs::read_to_string(hub.configuration().join("option.dat")).expect("the file");
    hub.write(
        "option.dat",
        &format!("{options}SPAMFILTER1_CONFIG_FILE=one.opt\nSPAMFILTER2_CONFIG_FILE=one.opt\n"),
    );
    hub.write("one.opt", "LIMIT=1\n");
    let checked = hub.command(&["check"]).out;
    assert!(checked.contains("write `TAG=…` into one.opt"), "{checked}");
    hub.write("one.opt", "TAG=x\n");
    assert!(!hub.command(&["check"]).out.contains("filter-missing-option"));
}

/// The same as [`filtered`], with a channel on which mail can wait for filters.
fn filtered_with_reprocess(name: &str, incoming: &str, options: &str, to: &[Destination<'_>]) -> Site {
    let hub = filtered(name, incoming, options, to);
    hub.replace("sluice.cnf", "tcp_local smtp", "reprocess backoff pt1h\nREPROCESS-DAEMON\n\ntcp_local smtp");
    hub
}

/// The one message that waits: its channel, its queue and what was said last.
fn waits(hub: &Site) -> (String, String, String) {
    let rows = hub.json(&["queue", "list"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let text = |name: &str| rows[0][name].as_str().unwrap_or_default().to_owned();
    (text("channel"), text("domain"), text("last_error"))
}

/// It was brought in again, and its filter was not there.
fn waits_for(hub: &Site, queue: &str) {
    wait_for("it was tried again", SOON, || waits(hub).2.contains("the message cannot be looked at now"));
    let (channel, domain, _) = waits(hub);
    assert_eq!((&*channel, &*domain), ("reprocess", queue));
}

#[test]
fn each_value_of_optional_is_what_becomes_of_mail_without_a_verdict() {
    let sink = Sink::start();
    for (value, code, passes) in
        [(-2, 451, false), (0, 451, false), (1, 250, true), (2, 250, true), (3, 250, false), (4, 250, false)]
    {
        let name = format!("filter-optional{value}");
        let options = format!("SPAMFILTER1_OPTIONAL={value}\n");
        let mut hub = filtered_with_reprocess(&name, "sourcespamfilter1", &options, &[next(&sink)]);
        assert_eq!(hub.command(&["check"]).code, 0);
        hub.start();
        let reply = deliver(&hub, &["fred@next.example"], &["1: fail no table"]);
        assert_eq!(reply.code, code, "{value}: {reply}");
        assert!(hub.log().contains("a filter has no verdict"), "it is told in each case ({value})");
        if passes {
            assert_eq!(one(&sink).to, ["fred@next.example"]);
        } else if code == 250 {
            waits_for(&hub, "sourcespamfilter1:tcp_local");
        } else {
            assert_eq!(hub.waiting(None), 0);
        }
        assert_eq!(sink.count(), 0);
        hub.stop();
    }
}

#[test]
fn mail_waits_for_a_filter_of_its_source_and_is_shown_to_it_and_those_behind_it() {
    let sink = Sink::start();
    let back = Sink::start();
    let options = "SPAMFILTER2_OPTIONAL=3\nSPAMFILTER2_CONFIG_FILE=second.opt\n";
    let to = [next(&sink), Destination::direct("tcp_back", "back.example", back.port())];
    let mut hub =
        filtered_with_reprocess("filter-waits", "sourcespamfilter1 sourcespamfilter2", options, &to);
    // As `defaults` would have it: what waits is not shown to the filter of the channel on which it waits.
    hub.replace("sluice.cnf", "reprocess backoff", "reprocess destinationspamfilter2 backoff");
    hub.write("second.opt", "CREATE=refuses\n");
    hub.start();
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: first top", "2: tell"]).code, 250);
    waits_for(&hub, "sourcespamfilter2:tcp_local");
    assert!(
        hub.log().contains("has no verdict; the message waits on the channel reprocess"),
        "{}",
        hub.log()
    );
    // It is known after an end without a stop.
    hub.kill();
    hub.start();
    hub.json(&["trigger", "#reprocess"]);
    waits_for(&hub, "sourcespamfilter2:tcp_local");
    assert_eq!(sink.count(), 0);
    hub.write("second.opt", "TAG=mended\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    let arrived = one(&sink);
    assert_eq!(arrived.to, ["fred@next.example"]);
    assert_eq!((arrived.from.as_str(), field(&arrived, "X-First").len()), ("a@origin.example", 1));
    let told = field(&arrived, "X-Told");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("tag=mended number=2") && told[0].contains("from=tcp_local to= "),
        "{told:?}"
    );
    hub.wait_for_waiting(None, 0, SOON);

    // A refusal that comes late is a notice to the sender, and nobody gets the message.
    hub.write("second.opt", "CREATE=refuses\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    let reply =
        hub.talk().deliver("writer@back.example", &["fred@next.example"], &order(&["2: refuse not here"]));
    assert_eq!(reply.expect("an answer").code, 250);
    waits_for(&hub, "sourcespamfilter2:tcp_local");
    hub.write("second.opt", "TAG=mended\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    let notice = notices(&back, 1).remove(0);
    assert!(notice.contains("fred@next.example") && notice.contains("not here"), "{notice}");
    assert_eq!(sink.count(), 0);

    // A filter that is switched off is waited for no longer.
    hub.write("second.opt", "CREATE=refuses\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    assert_eq!(deliver(&hub, &["fred@next.example"], &[]).code, 250);
    waits_for(&hub, "sourcespamfilter2:tcp_local");
    hub.write("option.dat", "SPOOL_DIR=../spool\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    assert_eq!(one(&sink).to, ["fred@next.example"]);
    hub.stop();
}

#[test]
fn a_copy_waits_for_a_filter_of_its_destination_and_the_others_go_on() {
    let (sink, far) = (Sink::start(), Sink::start());
    let to = [
        Destination { keywords: "destinationspamfilter1 destinationspamfilter2", ..next(&sink) },
        other(&far),
    ];
    let options = "SPAMFILTER2_OPTIONAL=4\nSPAMFILTER2_CONFIG_FILE=second.opt\n";
    let mut hub = filtered_with_reprocess("filter-copy-waits", "", options, &to);
    hub.write("second.opt", "CREATE=refuses\n");
    hub.start();
    let both = ["fred@next.example", "kim@other.example"];
    assert_eq!(deliver(&hub, &both, &["1: first top", "2: tell"]).code, 250);
    let untold = one(&far);
    assert!(untold.to == ["kim@other.example"] && field(&untold, "X-First").is_empty(), "{untold:?}");
    waits_for(&hub, "destinationspamfilter2:tcp_next");
    hub.write("second.opt", "TAG=mended\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    let arrived = one(&sink);
    assert_eq!(
        (arrived.to.clone(), field(&arrived, "X-First").len()),
        (vec!["fred@next.example".to_owned()], 1)
    );
    assert!(field(&arrived, "X-Told")[0].contains("to=tcp_next"), "{arrived:?}");
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!((sink.count(), far.count()), (0, 0), "none twice");
    hub.stop();
}

#[test]
fn copies_that_wait_for_different_filters_do_not_wait_for_each_other() {
    let (sink, far) = (Sink::start(), Sink::start());
    let options = "SPAMFILTER1_OPTIONAL=3\nSPAMFILTER1_CONFIG_FILE=first.opt\n\
                   SPAMFILTER2_OPTIONAL=3\nSPAMFILTER2_CONFIG_FILE=second.opt\n";
    let to = each_with_a_filter(&sink, &far);
    let mut hub = filtered_with_reprocess("filter-each-waits", "", options, &to);
    hub.write("first.opt", "CREATE=refuses\n");
    hub.write("second.opt", "CREATE=refuses\n");
    hub.start();
    let both = ["fred@next.example", "kim@other.example"];
    assert_eq!(deliver(&hub, &both, &["1: tell", "2: tell"]).code, 250);
    let queues = |hub: &Site| {
        let rows = hub.json(&["queue", "list"]);
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let tried = rows.iter().filter(|row| text(row, "last_error").contains("cannot be looked at now"));
        let mut queues: Vec<String> = tried.map(|row| text(row, "domain")).collect();
        queues.sort_unstable();
        queues
    };
    let (one_queue, other_queue) = ("destinationspamfilter1:tcp_next", "destinationspamfilter2:tcp_other");
    wait_for("both were tried again", SOON, || queues(&hub) == [one_queue, other_queue]);
    // Both are due, and one of them goes.
    hub.write("second.opt", "TAG=mended\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    let arrived = one(&far);
    assert_eq!(arrived.to, ["kim@other.example"]);
    assert!(field(&arrived, "X-Told")[0].contains("number=2"), "{arrived:?}");
    waits_for(&hub, one_queue);
    hub.write("first.opt", "TAG=mended\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    // What it waits for is enough of a name for an operator, and is none for a client.
    hub.talk().want(&format!("ETRN {one_queue}"), 501);
    watch("it goes on waiting", WHILE, || sink.count() == 0);
    hub.json(&["trigger", one_queue]);
    let arrived = one(&sink);
    assert_eq!(arrived.to, ["fred@next.example"]);
    assert!(field(&arrived, "X-Told")[0].contains("number=1"), "{arrived:?}");
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!((sink.count(), far.count()), (0, 0), "none twice");
    hub.stop();
}

#[test]
fn mail_that_waits_for_a_filter_passes_it_whatever_reprocess_makes_of_its_host_or_source() {
    // Names of hosts are asked of the rules again, and one of them takes anything; or the mail appears to come from `reprocess`, whose filters are
    // not those that it has waited for.
    for (name, incoming, keywords, rule, appears, queue) in [
        (
            "canonical",
            "sourcespamfilter1",
            "connectcanonical",
            ". $U%smart.example@TCP_NEXT\n",
            "",
            "sourcespamfilter1:tcp_local",
        ),
        (
            "own",
            "sourcespamfilter1",
            "sourcespamfilter2",
            "",
            "APPEARS_FROM=own\n",
            "sourcespamfilter1:tcp_local",
        ),
        ("own-copy", "", "sourcespamfilter2", "", "APPEARS_FROM=own\n", "destinationspamfilter1:tcp_next"),
    ] {
        let sink = Sink::start();
        let asks = if incoming.is_empty() { "destinationspamfilter1" } else { "" };
        let to = [Destination { keywords: asks, ..next(&sink) }];
        let options = "SPAMFILTER1_OPTIONAL=3\nSPAMFILTER1_CONFIG_FILE=first.opt\n";
        let mut hub = filtered_with_reprocess(&format!("filter-waits-{name}"), incoming, options, &to);
        hub.replace("sluice.cnf", "reprocess backoff", &format!("reprocess {keywords} backoff"));
        hub.replace(
            "sluice.cnf",
            "hub.example $U@hub.example\n",
            &format!("hub.example $U@hub.example\n{rule}"),
        );
        hub.write("reprocess_option", appears);
        hub.write("first.opt", "CREATE=refuses\n");
        hub.start();
        assert_eq!(deliver(&hub, &["fred@next.example"], &["1: tell", "2: first top"]).code, 250);
        waits_for(&hub, queue);
        assert_eq!(sink.count(), 0, "{name}");
        hub.write("first.opt", "TAG=mended\n");
        assert_eq!(hub.command(&["reload"]).code, 0);
        hub.json(&["trigger", "#reprocess"]);
        let arrived = one(&sink);
        assert!(field(&arrived, "X-Told")[0].starts_with("tag=mended number=1"), "{name}: {arrived:?}");
        assert!(field(&arrived, "X-First").is_empty(), "{name}: filter 2 is not one that it has waited for");
        hub.stop();
    }
}

#[test]
fn mail_waits_on_when_the_channel_whose_filter_it_waits_for_has_gone() {
    let sink = Sink::start();
    let options = "SPAMFILTER1_OPTIONAL=3\nSPAMFILTER1_CONFIG_FILE=first.opt\n";
    let mut hub = filtered_with_reprocess("filter-source-gone", "switchchannel", options, &[next(&sink)]);
    let inside = "tcp_inside smtp nomx allowswitchchannel sourcespamfilter1\nINSIDE-DAEMON\n";
    let text = std::fs::read_to_string(hub.configuration().join("sluice.cnf")).expect("the file");
    hub.write("sluice.cnf", &text.replacen("\nl\n", "[] $U%[$L]@INSIDE-DAEMON\n\nl\n", 1));
    hub.write(
        "sluice.cnf",
        &format!(
            "{}\n{inside}",
            std::fs::read_to_string(hub.configuration().join("sluice.cnf")).expect("the file")
        ),
    );
    hub.write("first.opt", "CREATE=refuses\n");
    hub.start();
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: tell"]).code, 250);
    waits_for(&hub, "sourcespamfilter1:tcp_inside");
    // Its filter would be there, and nobody can say any more that the channel asked for it.
    hub.write("first.opt", "TAG=mended\n");
    hub.replace("sluice.cnf", "tcp_inside smtp", "tcp_within smtp");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    wait_for("it says why", SOON, || waits(&hub).2.contains("there is no such channel any more"));
    assert_eq!(sink.count(), 0);
    // The name is there again: it is shown to the filter.
    hub.replace("sluice.cnf", "tcp_within smtp", "tcp_inside smtp");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    assert!(field(&one(&sink), "X-Told")[0].starts_with("tag=mended number=1"));
    // Or an operator lets it pass without.
    hub.write("first.opt", "CREATE=refuses\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: tell"]).code, 250);
    waits_for(&hub, "sourcespamfilter1:tcp_inside");
    hub.replace("sluice.cnf", "tcp_inside smtp", "tcp_within smtp");
    hub.replace("option.dat", "SPAMFILTER1_OPTIONAL=3", "SPAMFILTER1_OPTIONAL=1");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    assert!(field(&one(&sink), "X-Told").is_empty());
    hub.stop();
}

#[test]
fn where_no_mail_can_wait_it_is_refused_for_now_and_the_configuration_says_so() {
    let sink = Sink::start();
    let mut hub =
        filtered("filter-nowhere-to-wait", "sourcespamfilter1", "SPAMFILTER1_OPTIONAL=3\n", &[next(&sink)]);
    let checked = hub.command(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.out);
    for wanted in ["filter-cannot-wait", "there is no channel `reprocess`", "SPAMFILTER1_OPTIONAL=0"] {
        assert!(checked.out.contains(wanted), "{wanted}: {}", checked.out);
    }
    hub.start();
    assert_eq!(deliver(&hub, &["fred@next.example"], &["1: panic"]).code, 451);
    assert_eq!(hub.waiting(None), 0);
    assert!(hub.log().contains("has no verdict; the message is refused for now"), "{}", hub.log());
    hub.stop();
    // A value that there is not.
    for value in ["-1", "5", "often"] {
        hub.replace("option.dat", "SPAMFILTER1_OPTIONAL=3", &format!("SPAMFILTER1_OPTIONAL={value}"));
        let checked = hub.command(&["check"]);
        let wanted = format!("`{value}` is no value for `SPAMFILTER1_OPTIONAL` (-2, 0, 1, 2, 3 or 4)");
        assert!(checked.out.contains(&wanted) && checked.code != 0, "{}", checked.out);
        hub.replace("option.dat", &format!("SPAMFILTER1_OPTIONAL={value}"), "SPAMFILTER1_OPTIONAL=3");
    }
}

/// A channel that converts, and what it needs to run its programs here.
fn with_conversion(hub: &Site, table: &str) {
    hub.replace(
        "sluice.cnf",
        "tcp_local smtp",
        "conversion backoff pt1s\nCONVERSION-DAEMON\n\ntcp_local smtp",
    );
    hub.write("mappings", &format!("CONVERSIONS\n\n  {table}\n"));
    hub.write("conversions", "in-type=application; delete=1\n");
    hub.write("conversion_option", if is_root() { "USER=root\n" } else { "" });
}

#[test]
fn mail_that_waits_for_a_filter_is_converted_when_the_filter_has_seen_it() {
    let sink = Sink::start();
    let options = "SPAMFILTER1_OPTIONAL=3\nSPAMFILTER1_CONFIG_FILE=first.opt\n";
    let mut hub = filtered_with_reprocess(
        "filter-before-conversion",
        "sourcespamfilter1",
        options,
        &[Destination { keywords: "maxblocks 1", ..next(&sink) }],
    );
    // Whatever comes from anywhere, for anywhere, what waits for a filter too; and it would be cut and sent elsewhere.
    with_conversion(&hub, "* Yes");
    hub.replace(
        "sluice.cnf",
        "reprocess backoff pt1h",
        "defragment\nDEFRAGMENT-DAEMON\n\nreprocess maxblocks 1 alternatechannel tcp_next alternateblocklimit 1 backoff pt1h",
    );
    hub.write("first.opt", "CREATE=refuses\n");
    hub.start();
    let mut content = order(&["1: refuse not here"]);
    content.extend(format!("{}\r\n", "x".repeat(76)).repeat(50).bytes());
    let reply = hub.talk().deliver("writer@next.example", &["fred@next.example"], &content);
    assert_eq!(reply.expect("an answer").code, 250);
    waits_for(&hub, "sourcespamfilter1:tcp_local");
    assert_eq!(sink.count(), 0, "it has gone past nobody");
    hub.write("first.opt", "TAG=mended\n");
    assert_eq!(hub.command(&["reload"]).code, 0);
    hub.json(&["trigger", "#reprocess"]);
    // The filter has its word: all that comes is the notice, in one piece or several.
    wait_for("the notice", SOON, || sink.count() > 0);
    hub.wait_for_waiting(None, 0, SOON);
    assert!(sink.arrived().iter().all(|one| one.from.is_empty() && one.to == ["writer@next.example"]));
    hub.stop();
}

#[test]
fn nothing_is_queued_behind_filters_while_conversions_cannot_be_asked() {
    let (sink, far) = (Sink::start(), Sink::start());
    let to = each_with_a_filter(&sink, &far);
    let mut hub = filtered("filter-lost-database", "", "", &to);
    with_conversion(&hub, "IN-CHAN=*;OUT-CHAN=tcp_other;CONVERT  ${over}");
    hub.write("general.txt", "over   Yes\n");
    assert_eq!(hub.command(&["compile"]).code, 0);
    hub.start();
    let both = ["fred@next.example", "kim@other.example"];
    let file = hub.configuration().join("general.db");
    std::fs::File::options().write(true).open(&file).expect("the file").set_len(20).expect("cut short");
    // One copy, and copies of which each has a header of its own.
    for (to, orders) in [
        (&both[1..], &["2: nothing"][..]),
        (&both[1..], &["2: first top"]),
        (&both[..], &["1: nothing"]),
        (&both[..], &["1: first top", "2: last 1"]),
        (&both[..], &["1: hold odd", "2: last 1"]),
    ] {
        let reply = deliver(&hub, to, orders);
        assert_eq!(reply.code, 451, "{orders:?}: {reply}");
    }
    watch("nothing of it is queued", WHILE, || sink.count() + far.count() == 0 && hub.waiting(None) == 0);
    // Filters have spoken before that table is asked.
    let reply = deliver(&hub, &both[1..], &["2: refuse not here"]);
    assert!(reply.code == 554 && reply.text().contains("not here"), "{reply}");
    assert_eq!(deliver(&hub, &both[1..], &["2: discard"]).code, 250);
    // What the table is not asked about goes on, and all of it when the database is whole.
    assert_eq!(deliver(&hub, &both[..1], &["1: first top"]).code, 250);
    assert_eq!(field(&one(&sink), "X-First").len(), 1);
    assert_eq!(hub.command(&["compile"]).code, 0);
    assert_eq!(hub.command(&["reload"]).code, 0);
    assert_eq!(deliver(&hub, &both, &["1: first top", "2: last 1"]).code, 250);
    assert_eq!(field(&one(&sink), "X-First").len(), 1);
    // As it came, and as it was converted: the filter has seen it twice.
    assert_eq!(field(&one(&far), "X-Last"), ["1", "1"]);
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn access_tables_speak_before_filters() {
    let sink = Sink::start();
    let mut hub = filtered("filter-after-tables", "sourcespamfilter1", "", &[next(&sink)]);
    hub.write(
        "mappings",
        "ORIG_SEND_ACCESS\n\n  *|*|*|fred@next.example  $NNot$ him\n\nFROM_ACCESS\n\n  *|MAIL|*|bad@origin.example|*  $NNot$ you\n",
    );
    assert_eq!(hub.command(&["check"]).code, 0);
    hub.start();
    // The filter would say something else, and is not asked.
    let mut client = hub.talk();
    let reply = client.want("MAIL FROM:<bad@origin.example>", 550);
    assert!(reply.text().contains("Not you"), "{reply}");
    client.want("MAIL FROM:<a@origin.example>", 250);
    let reply = client.want("RCPT TO:<fred@next.example>", 550);
    assert!(reply.text().contains("Not him"), "{reply}");
    client.want("RSET", 250);
    // It sees whom the tables have let through, and adds nobody whom they would not.
    client.want("MAIL FROM:<a@origin.example>", 250);
    client.want("RCPT TO:<fred@next.example>", 550);
    client.want("RCPT TO:<ann@next.example>", 250);
    assert_eq!(client.content(&order(&["1: tell"])).expect("an answer").code, 250);
    let told = field(&one(&sink), "X-Told");
    assert!(told[0].ends_with("[0 ann@next.example tcp_next]"), "{told:?}");
    assert_eq!(deliver(&hub, &["ann@next.example"], &["1: add fred@next.example"]).code, 250);
    assert_eq!(one(&sink).to, ["ann@next.example"]);
    assert!(hub.log().contains("a recipient that a filter adds is not taken"), "{}", hub.log());
    hub.stop();
}
