//! Mail that plugins bring in, and routines that rules call: what arrives at the door, and what a bad plugin costs.
#![allow(clippy::unwrap_used)]

mod support;

use parking_lot::Mutex;
use sluice_host::{FrontDoor, Host, Plugin, RoutineError, Setting, Spec, Submission};
use sluice_mail::{Handover, Outcome, Status};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;

/// A door that writes down what comes, and refuses whoever has `bad` in the address.
#[derive(Default)]
struct Book {
    lines: Mutex<Vec<String>>,
    pause: Duration,
}

impl FrontDoor for Book {
    fn submit(&self, submission: &Submission<'_>) -> Option<Vec<Outcome>> {
        std::thread::sleep(self.pause);
        let octets: usize = submission.pieces.iter().map(|piece| piece.len()).sum();
        let from = match (&submission.origin, submission.as_original) {
            (Some(origin), true) => format!("{} as {}", origin.id, origin.source_channel),
            (Some(origin), false) => origin.id.clone(),
            (None, _) => "itself".to_owned(),
        };
        let to: Vec<&str> = submission.recipients.iter().map(|one| one.address).collect();
        let line =
            format!("{} of {from}: {} to {to:?}, {octets} octets", submission.channel, submission.sender);
        self.lines.lock().push(line);
        let answer = |address: &str| match address.contains("bad") {
            true => Outcome::Failed {
                status: Status::new(5, 1, 2),
                text: format!("no {address}"),
                peer: String::new(),
            },
            false => Outcome::Delivered {
                status: Status::new(2, 1, 5),
                text: "queued".to_owned(),
                peer: String::new(),
                handover: Handover::Final,
            },
        };
        Some(submission.recipients.iter().map(|one| answer(one.address)).collect())
    }
}

fn with_door(mode: &str, pause: Duration, door: Option<Arc<Book>>, limit: impl Fn(&mut Spec)) -> String {
    let (_folder, host, plugin) = misbehaving();
    if let Some(door) = door {
        host.open_door(door);
    }
    let mut limits = spec("c", mode, pause);
    limit(&mut limits);
    let mut channel = Running::start(&host, &plugin, limits);
    channel.offer(lease(1, &[&[0, 1]]));
    channel.until_leases_done(1);
    channel.story()
}

#[test]
fn a_message_that_is_brought_in_again_is_settled_by_the_answers() {
    let book = Arc::new(Book::default());
    let story = with_door("enqueues_again", Duration::ZERO, Some(book.clone()), |_| {});
    assert_eq!(story, "message 10: 0 delivered 2.1.5 queued, 1 delivered 2.1.5 queued\nlease 1 done");
    let lines = book.lines.lock().clone();
    let to = "[\"user0@site.example\", \"user1@site.example\"]";
    assert_eq!(lines, [format!("c of Q10 as tcp_local: sender@hub.example to {to}, 24 octets")]);
}

#[test]
fn without_a_door_nothing_is_taken_and_nothing_is_lost() {
    let story = with_door("enqueues_again", Duration::ZERO, None, |_| {});
    assert_eq!(story, "message 10: open [0, 1]\nlease 1 done");
}

#[test]
fn what_is_no_message_is_refused_before_it_gets_to_the_door() {
    let book = Arc::new(Book::default());
    let story = with_door("enqueues_huge", Duration::ZERO, Some(book.clone()), |_| {});
    assert!(story.contains("delivered 2.0.0 Err(Bad) Err(Bad) Err(Bad)"), "{story}");
    assert!(book.lines.lock().is_empty());
}

#[test]
fn nonsense_goes_to_the_door_bounded_and_each_recipient_is_answered() {
    let book = Arc::new(Book::default());
    let story = with_door("enqueues_nonsense", Duration::ZERO, Some(book.clone()), |_| {});
    // Without recipients, and with a sender of 10,000 letters, it is bad; the address of 10,000 letters is refused alone.
    assert!(story.contains("Some(Bad) 2222252"), "{story}");
    assert!(story.contains("the submission is not usable"), "{story}");
    let lines = book.lines.lock();
    assert_eq!(lines.len(), 18, "three senders and six contents");
    assert!(lines.iter().all(|line| line.len() < 1000));
}

#[test]
fn after_its_time_a_worker_brings_nothing_in() {
    let book = Arc::new(Book::default());
    let short = |limits: &mut Spec| limits.deadline = Duration::from_millis(100);
    let story = with_door("enqueues_late", Duration::from_millis(600), Some(book.clone()), short);
    assert!(story.contains("message 10: open [0, 1] (Hung)"), "{story}");
    std::thread::sleep(Duration::from_millis(800));
    assert!(book.lines.lock().is_empty(), "{:?}", book.lines.lock());
}

#[test]
fn a_worker_that_never_stops_bringing_in_meets_its_deadline() {
    let book = Arc::new(Book { pause: Duration::from_millis(5), ..Book::default() });
    let short = |limits: &mut Spec| limits.deadline = Duration::from_millis(200);
    let story = with_door("enqueues_forever", Duration::ZERO, Some(book.clone()), short);
    assert!(story.contains("message 10: open [0, 1] (Hung)"), "{story}");
    eventually("it has stopped", || {
        let before = book.lines.lock().len();
        std::thread::sleep(Duration::from_millis(50));
        book.lines.lock().len() == before
    });
}

#[test]
fn a_plugin_in_c_brings_mail_in_again() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "drain.c", "drain", &["BRINGS_IN"]);
    let host = Host::new(vec![folder.path().to_owned()]);
    let plugin = host.load("drain").unwrap();
    let book = Arc::new(Book::default());
    host.open_door(book.clone());
    let mut channel = Running::start(&host, &plugin, Spec::new("c", vec![Setting::fact("channel", "c")]));
    let mut offered = lease(1, &[&[0, 3]]);
    offered.deliveries[0].recipients[1].address = "bad@site.example".to_owned();
    channel.offer(offered);
    channel.until_leases_done(1);
    assert_eq!(
        channel.story(),
        "message 10: 0 delivered 2.1.5 queued, 3 failed 5.1.2 no bad@site.example\nlease 1 done"
    );
    assert_eq!(book.lines.lock().len(), 1);
}

fn in_c(defines: &[&str]) -> (tempfile::TempDir, Arc<Plugin>) {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "drain.c", "drain", defines);
    let plugin = Host::new(vec![folder.path().to_owned()]).load("drain").unwrap();
    (folder, plugin)
}

#[test]
fn a_routine_answers_or_misses() {
    let (_folder, _host, plugin) = misbehaving();
    assert_eq!(plugin.routines(), ["panics", "misses", "upper", "shouts", "forges", "hangs"]);
    assert_eq!(plugin.call("Upper", "fred"), Ok(Some("FRED".to_owned())));
    assert_eq!(plugin.call("misses", "fred"), Ok(None));
    let unknown = plugin.call("lower", "fred").unwrap_err();
    assert_eq!(unknown.to_string(), "plugin misbehaving has no routine lower");
    assert_eq!(plugin.call("upper", &"x".repeat(1 << 20)), Err(RoutineError::LongArgument));
    let (_folder, plugin) = in_c(&["ROUTINES=routines"]);
    assert_eq!(plugin.call("echo", "fred"), Ok(Some("fred".to_owned())));
    assert_eq!(plugin.call("echo", ""), Ok(None));
}

#[test]
fn a_bad_routine_is_a_miss_with_a_reason() {
    let (_folder, _host, plugin) = misbehaving();
    assert_eq!(plugin.call("panics", "x"), Err(RoutineError::Panicked));
    assert_eq!(plugin.call("shouts", "x"), Err(RoutineError::TooLong));
    assert_eq!(plugin.call("forges", "x"), Err(RoutineError::NotText));
    assert_eq!(plugin.call("upper", "still works"), Ok(Some("STILL WORKS".to_owned())));
    let (_folder, plugin) = in_c(&["ROUTINES=routines"]);
    assert_eq!(plugin.call("garbage", "x"), Err(RoutineError::NotText));
    assert_eq!(plugin.call("control", "x"), Err(RoutineError::NotText));
    assert_eq!(plugin.call("boasts", "x"), Err(RoutineError::TooLong));
    assert_eq!(plugin.call("odd", "x"), Err(RoutineError::Status(77)));
    assert!(matches!(plugin.call("denies", "x"), Err(RoutineError::Unknown { .. })));
}

#[test]
fn a_routine_that_hangs_is_given_up_and_after_four_nobody_waits_any_more() {
    let (_folder, _host, plugin) = misbehaving();
    let plugin = &plugin;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| plugin.call("hangs", "3000"))).collect();
        for call in calls {
            assert_eq!(call.join().unwrap(), Err(RoutineError::Hung));
        }
    });
    assert!(start.elapsed() < Duration::from_millis(2900), "{:?}", start.elapsed());
    assert_eq!(plugin.call("upper", "x"), Err(RoutineError::TooManyHung));
    // They come back, and so does the plugin.
    eventually("it is called again", || plugin.call("upper", "x") == Ok(Some("X".to_owned())));
}

#[test]
fn routines_that_cannot_be_are_refused_when_the_plugin_is_loaded() {
    let refused = |defines: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        compile(folder.path(), "drain.c", "drain", defines);
        Host::new(vec![folder.path().to_owned()]).load("drain").unwrap_err().to_string()
    };
    assert!(refused(&["ROUTINES=routines", "ROUTE=(0 ? route : 0)"]).contains("its function `route`"));
    assert!(refused(&["ROUTINES=routines", "ROUTINE_COUNT=257"]).contains("at most 256 routines"));
    assert!(refused(&["ROUTINES=(sizeof routines ? 0 : routines)"]).contains("routines is null"));
    assert!(refused(&["ROUTINES=routines", "LAST_ROUTINE=\"ECHO\""]).contains("ECHO for the second time"));
    assert!(refused(&["ROUTINES=routines", "LAST_ROUTINE=\"a,b\""]).contains("must be letters"));
    // A plugin that was built before there were routines has none.
    assert!(in_c(&[]).1.routines().is_empty());
}
