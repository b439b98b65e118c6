//! Mail that comes in again: the channels `process` and `reprocess`, and expansion that is put off.

use sluice_testkit::{Arrived, Batch, Fate, Sink, Site, below_received, message, wait_for};
use sluice_tests::{Destination, SOON, configuration, numbers};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The shared hub with rules in front of its own, and more channels behind.
fn hub(name: &str, incoming: &str, rules: &str, channels: &str, to: &[Destination<'_>]) -> Site {
    let site = Site::new(name);
    let text = format!("{rules}{}\n{channels}", configuration(incoming, to));
    site.write("sluice.cnf", &text);
    site
}

const REPROCESS: &str = "reprocess\nREPROCESS-DAEMON\n";

fn received(one: &Arrived) -> usize {
    let text = String::from_utf8_lossy(&one.content).into_owned();
    text.lines().take_while(|line| !line.is_empty()).filter(|line| line.starts_with("Received:")).count()
}

#[test]
fn reprocess_hides_itself_and_process_does_not() {
    let sink = Sink::start();
    // What comes in again is told by its source channel, and by $1M.
    let rules = "later.example $U%later.example@REPROCESS-DAEMON$1N\n\
                 later.example $U%again.next.example@TCP_NEXT$1M$Mtcp_local\n\
                 own.example $U%own.example@PROCESS-DAEMON$Nprocess\n\
                 own.example $U%process.next.example@TCP_NEXT$Mprocess\n";
    let channels = format!("{REPROCESS}\nprocess\nPROCESS-DAEMON\n");
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let mut hub = hub("reprocess", "", rules, &channels, &to);
    hub.start();
    let content = message(1, 5000);
    let mut client = hub.talk();
    let reply = client.deliver("a@origin.example", &["fred@later.example", "kim@own.example"], &content);
    assert_eq!(reply.expect("an answer").code, 250);
    let arrived = sink.wait(2, SOON);
    let mut to: Vec<&str> = arrived.iter().flat_map(|one| &one.to).map(String::as_str).collect();
    to.sort_unstable();
    assert_eq!(to, ["fred@again.next.example", "kim@process.next.example"]);
    for one in &arrived {
        assert_eq!(one.from, "a@origin.example");
        assert_eq!(received(one), 2, "one field each time: {}", String::from_utf8_lossy(&one.content));
        assert!(one.content.ends_with(below_received(&content)) || below_received(&one.content) == content);
    }
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn who_is_refused_the_second_time_makes_a_notice_and_the_others_get_theirs() {
    let sink = Sink::start();
    let rules =
        "later.example $U%$D@REPROCESS-DAEMON$1N\nlater.example $U%gone.invalid@nowhere$1M$Mtcp_local\n";
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let mut hub = hub("reprocess-refused", "", rules, REPROCESS, &to);
    hub.write("aliases", "sales: ann@next.example, fred@later.example\n");
    hub.start();
    let to = ["sales@hub.example"];
    hub.talk().deliver("writer@next.example", &to, &message(7, 900)).expect("an answer");
    let arrived = sink.wait(2, SOON);
    let notice = arrived.iter().find(|one| one.from.is_empty()).expect("a notice to the sender");
    assert_eq!(notice.to[0], "writer@next.example");
    let text = String::from_utf8_lossy(&notice.content);
    assert!(text.contains("fred@later.example") && text.contains("5.1.2"), "{text}");
    assert!(arrived.iter().any(|one| one.to == ["ann@next.example"]));
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn a_list_at_the_domain_of_the_process_channel_is_expanded_when_it_comes_in_again() {
    let sink = Sink::start();
    // As PMDF's generator writes them, and as its manual builds a list ("Basic Mailing List Example").
    let rules = "process $U%process.hub.example@PROCESS-DAEMON\n\
                 process.hub.example $U%process.hub.example@PROCESS-DAEMON\n";
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let mut hub = hub("process-list", "", rules, "process\nPROCESS-DAEMON\n", &to);
    hub.write(
        "aliases",
        "staff: stafflist@process\nstafflist: <staff.dis, [ENVELOPE_FROM] owner@next.example\n",
    );
    hub.write("staff.dis", "ann@next.example\nbob@next.example\n");
    hub.start();
    hub.talk().deliver("writer@next.example", &["staff@hub.example"], &message(9, 700)).expect("an answer");
    let arrived = sink.wait(1, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    let arrived = if arrived.len() > 1 { arrived } else { sink.wait(1, SOON) };
    let to: BTreeSet<&str> = arrived.iter().flat_map(|one| &one.to).map(String::as_str).collect();
    assert_eq!(to, BTreeSet::from(["ann@next.example", "bob@next.example"]));
    assert!(arrived.iter().all(|one| one.from == "owner@next.example" && received(one) == 2));
    hub.stop();
}

#[test]
fn mail_that_goes_in_circles_ends_on_hold() {
    let rules = "loop.example $U%loop.example@REPROCESS-DAEMON\n";
    let mut hub = hub("reprocess-loop", "", rules, REPROCESS, &[]);
    hub.write("option.dat", "SPOOL_DIR=../spool\nMAX_RECEIVED_LINES=5\n");
    hub.start();
    hub.talk().deliver("a@origin.example", &["fred@loop.example"], &message(1, 300)).expect("an answer");
    wait_for("it is held", SOON, || hub.log().contains("held: it goes in circles"));
    assert_eq!(hub.waiting(Some("reprocess")), 1);
    let brought = hub.log().matches("message brought in").count();
    assert!((5..=7).contains(&brought), "brought in {brought} times");
    hub.stop();
}

#[test]
fn a_message_for_many_is_accepted_whole_and_expanded_later() {
    let sink = Sink::start();
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let mut hub = hub("expandlimit", "expandlimit 2", "", REPROCESS, &to);
    let mut list = String::new();
    for member in 0..5000 {
        let _ = writeln!(list, "member{member}@next.example");
    }
    hub.write("members.txt", &list);
    hub.write("aliases", "list: <members.txt\nboss: owner@next.example\n");
    hub.start();
    let mut client = hub.talk();
    // Two are expanded while the client waits.
    client
        .deliver("a@origin.example", &["boss@hub.example", "x@next.example"], &message(1, 300))
        .expect("an answer");
    sink.wait(1, SOON);
    assert!(!hub.log().contains("message brought in"));
    sink.clear();
    // Three are not; a recipient who goes nowhere is refused at once all the same.
    client.want("MAIL FROM:<a@origin.example>", 250);
    client.want("RCPT TO:<list@hub.example>", 250);
    client.want("RCPT TO:<x@no.such.invalid>", 550);
    client.want("RCPT TO:<boss@hub.example>", 250);
    client.want("RCPT TO:<kim@next.example>", 250);
    client.want("DATA", 354);
    client.raw(b"Subject: to many\r\n\r\nhello\r\n.\r\n").expect("sent");
    assert_eq!(client.read().expect("a reply").code, 250);
    let everybody = || sink.arrived().iter().flat_map(|one| one.to.clone()).collect::<Vec<_>>();
    wait_for("all members have it", SOON, || everybody().len() >= 5002);
    let all = everybody();
    assert_eq!(all.len(), 5002, "nobody gets two copies");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 5002);
    assert!(all.contains(&"owner@next.example".to_owned()));
    assert!(hub.log().contains("message brought in"));
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}

#[test]
fn killed_while_mail_comes_in_again_it_loses_nothing() {
    let sink = Sink::start();
    let rules = "later.example $U%$D@REPROCESS-DAEMON$1N\nlater.example $U%next.example@TCP_NEXT$1M\n";
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let mut hub = hub("reprocess-kill", "", rules, REPROCESS, &to);
    hub.start();
    let batch = Batch { sessions: 8, size: 3000, ..Batch::new(hub.address(), "fred@later.example", 1500) };
    let tally = AtomicUsize::new(0);
    let fates = std::thread::scope(|scope| {
        let sender = scope.spawn(|| batch.send(&tally));
        wait_for("enough is acknowledged and some of it has come in again", SOON, || {
            tally.load(Ordering::SeqCst) >= 400 && hub.log().contains("message brought in")
        });
        hub.kill();
        sender.join().expect("the sender does not panic")
    });
    let accepted: BTreeSet<usize> =
        fates.iter().filter(|(_, fate)| *fate == Fate::Accepted).map(|(number, _)| *number).collect();
    assert!(accepted.len() < 1500, "the hub was killed too late to prove anything");
    // Once more, in the middle of what is left.
    hub.start();
    wait_for("the rest has begun to come in again", SOON, || sink.count() > 50);
    hub.kill();
    hub.start();
    let arrived = || numbers(&sink.arrived()).into_iter().collect::<BTreeSet<_>>();
    wait_for("every acknowledged message is delivered", SOON, || arrived().is_superset(&accepted));
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
}
