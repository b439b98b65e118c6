//! Every release leaves a record that both sides can trust (row 6.8).

use serde_json::Value;
use sluice_testkit::{Batch, Manner, Sink, Site, wait_for};
use sluice_tests::{Destination, SOON, hub, numbers};
use std::collections::BTreeSet;
use std::time::Duration;

fn messages(record: &Value, field: &str) -> u64 {
    record[field]["messages"].as_u64().expect("a count of messages")
}

fn sum(record: &Value) -> u64 {
    ["waiting", "delivered", "deferred", "bounced", "left_over"]
        .map(|field| messages(record, field))
        .iter()
        .sum()
}

/// The newest record by somebody's ETRN.
fn newest(site: &Site) -> Value {
    let records = site.json(&["release", "list"]);
    records.into_iter().find(|record| record["by"] == "etrn").expect("a record of the ETRN")
}

fn ended(site: &Site) -> Value {
    wait_for("the release is over", SOON, || newest(site)["state"] == "ended");
    newest(site)
}

#[test]
fn row_6_8_the_record_is_what_the_far_side_got_also_when_the_hub_is_killed_in_the_middle() {
    let sink = Sink::start();
    let mut hub = hub("record-kill", &[Destination::held("tcp_dialup", "site7.example", sink.port())]);
    hub.start();
    Batch { sessions: 5, ..Batch::new(hub.address(), "fred@site7.example", 1000) }.send_all();
    sink.behave(Manner { pause: Duration::from_millis(2), ..Manner::default() });
    let reply = hub.talk().want("ETRN site7.example", 253);
    assert!(reply.text().contains(" 1000 pending messages"), "{}", reply.text());
    wait_for("the release is under way", SOON, || sink.count() > 150);
    hub.kill();
    // What is on its way in the sockets still arrives.
    let mut at_kill = sink.count();
    wait_for("the sink is quiet", SOON, || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sink.count();
        std::mem::replace(&mut at_kill, now) == now
    });
    hub.start();
    let record = newest(&hub);
    assert_eq!(record["state"], "ended", "{record}");
    assert!(record["end"].as_str().is_some_and(|why| why.contains("suddenly")), "{record}");
    assert_eq!((messages(&record, "promised"), messages(&record, "joined")), (1000, 0), "{record}");
    assert_eq!(sum(&record), 1000, "{record}");
    let (delivered, left) = (messages(&record, "delivered"), messages(&record, "left_over"));
    assert_eq!(
        hub.waiting(Some("tcp_dialup")),
        1000 - delivered,
        "what was counted is gone, and nothing else"
    );
    assert!(delivered > 0 && left > 0, "{record}");
    assert!(delivered <= at_kill as u64, "{record}: {at_kill} had arrived");
    sink.behave(Manner::default());
    let reply = hub.talk().want("ETRN site7.example", 253);
    assert!(reply.text().contains(&format!(" {} pending messages", 1000 - delivered)), "{}", reply.text());
    let second = ended(&hub);
    assert_eq!(messages(&second, "delivered"), 1000 - delivered, "{second}");
    let arrived = sink.arrived();
    assert_eq!(numbers(&arrived).into_iter().collect::<BTreeSet<_>>().len(), 1000);
    assert_eq!(
        arrived.len() as u64,
        at_kill as u64 + messages(&second, "delivered"),
        "each delivery is in a record"
    );
    hub.wait_for_waiting(None, 0, SOON);
    // An orderly restart keeps both as they are.
    hub.stop();
    hub.start();
    let id = |record: &Value| record["id"].as_str().expect("an id").to_owned();
    for before in [&record, &second] {
        assert_eq!(hub.json(&["release", "show", &id(before)]), std::slice::from_ref(before));
    }
    hub.stop();
}

#[test]
fn row_6_8_an_operator_lists_shows_and_follows_releases() {
    let sink = Sink::start();
    let mut hub = hub("record-read", &[Destination::held("tcp_dialup", "site7.example", sink.port())]);
    hub.start();
    let none = hub.command(&["release", "list"]);
    assert_eq!((none.code, none.out.trim()), (0, "no releases"));
    assert_eq!(hub.command(&["release", "follow"]).code, 65);
    for (id, status, word) in [("00000000BEEF", 65, "no record"), ("x\u{1b}[2J", 64, "not the id")] {
        let ran = hub.command(&["release", "show", id]);
        assert_eq!(ran.code, status, "{}", ran.err);
        assert!(ran.err.contains(word) && !ran.err.contains('\u{1b}'), "{}", ran.err);
    }
    Batch::new(hub.address(), "fred@site7.example", 20).send_all();
    sink.behave(Manner { pause: Duration::from_millis(50), ..Manner::default() });
    let triggered = hub.json(&["trigger", "@site7.example"]).remove(0);
    let id = triggered["release"].as_str().expect("an id").to_owned();
    let followed = hub.json(&["release", "follow", &id]);
    assert!(followed.len() > 1, "more than the end: {followed:#?}");
    assert!(followed.iter().all(|record| sum(record) == 20), "at any moment: {followed:#?}");
    let last = followed.last().expect("a row");
    assert_eq!((messages(last, "delivered"), &last["by"]), (20, &Value::from("operator")), "{last}");
    assert_eq!(last["covers"], "@site7.example");
    let shown = hub.command(&["release", "show", &id]);
    assert!(shown.out.contains("20 messages, 20 recipients"), "{}", shown.out);
    let table = hub.command(&["release", "list"]);
    assert!(table.out.contains(&id) && table.out.contains("Left over"), "{}", table.out);
    hub.stop();
}
