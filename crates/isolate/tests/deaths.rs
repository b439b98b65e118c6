//! What it costs when a child dies: a rest and a new child, and what was in its hands is named.
#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub)]
mod support;

use sluice_host::{HostEvent, Refusal};
use sluice_isolate::Limits;
use std::time::{Duration, Instant};
use support::{How, Story, be_a_child, short};

#[test]
fn child() {
    be_a_child();
}

#[test]
fn an_ordinary_channel_is_as_in_process() {
    let story = Story::of("delivers_all");
    assert_eq!(story.channel.plugin().plugin, "misbehaving");
    assert_eq!(story.channel.process(), None, "it has nothing to do");
    let deliveries = vec![story.delivery("fred"), story.delivery("jane")];
    story.offer(7, deliveries);
    let expected = ["1 of 7: 0 2.0.0 (done) 3 2.0.0 (done)", "2 of 7: 0 2.0.0 (done) 3 2.0.0 (done), last"];
    assert_eq!(story.story(2), expected);
    assert!(story.channel.process().is_some());
    assert_eq!(story.channel.queued(), 0);
    assert_eq!(story.end(), ["stopped: asked to stop, 0 left"]);
    assert_eq!(story.try_offer(8, vec![story.delivery("fred")]), Err(Refusal::Stopped));
}

#[test]
fn a_panic_is_fenced_in_the_child_which_goes_on() {
    let story = Story::of("panic_on_delivery");
    story.offer(1, vec![story.delivery("fred")]);
    let told = story.story(2);
    assert_eq!(told[0], "1 of 1: not [0, 3], last");
    assert!(told[1].contains("panicked"), "{told:?}");
    assert_eq!(story.channel.children(), 1);
    assert!(matches!(story.try_offer(2, vec![story.delivery("fred")]), Err(Refusal::Resting(_))));
    story.offer_soon(2, &[story.delivery("fred")]);
    assert_eq!(story.story(1), ["3 of 2: not [0, 3], last"]);
    assert_eq!(story.channel.children(), 1, "the same child");
}

#[test]
fn each_way_to_die_is_told_with_what_was_in_hand() {
    let ways = [
        ("aborts", "its process died of signal 6 (SIGABRT)"),
        ("segfaults", "its process died of signal 11 (SIGSEGV)"),
        ("exits", "its process ended by itself with status 3"),
    ];
    for (mode, how) in ways {
        let story = Story::of(mode);
        story.offer(1, vec![story.delivery("fred"), story.delivery("jane")]);
        let told = story.story(3);
        assert_eq!(
            told[..2],
            ["1 of 1: not [0, 3] crashed, alone true", "2 of 1: not [0, 3] Stopping, last"]
        );
        assert!(told[2].starts_with(how), "{told:?}");
        assert!(told[2].contains("it had in hand fred-1"), "{told:?}");
        assert!(told[2].contains("had been lent a delivery, the last was fred-1"), "{told:?}");
        assert!(
            matches!(story.try_offer(2, vec![story.delivery("fred")]), Err(Refusal::Resting(_))),
            "it rests"
        );
        // It is started again, and dies again.
        story.offer_soon(2, &[story.delivery("fred")]);
        assert_eq!(story.story(2)[0], "4 of 2: not [0, 3] crashed, alone true, last");
        assert_eq!(story.channel.children(), 2);
        assert_eq!(story.end(), ["stopped: asked to stop, 0 left"]);
    }
}

#[test]
fn the_rest_doubles_until_something_gets_done() {
    let story = Story::of("aborts_when_addressed");
    let mut pauses = Vec::new();
    for (lease, name) in (1..).zip(["abort", "abort", "abort", "fred", "abort"]) {
        story.offer_soon(lease, &[story.delivery(name)]);
        let first = story.next();
        if name == "abort" {
            match story.next() {
                HostEvent::WorkerFailed { pause, .. } => pauses.push(pause.as_millis()),
                other => panic!("{first:?} {other:?}"),
            }
        }
    }
    assert_eq!(pauses, [100, 200, 400, 100]);
}

#[test]
fn of_several_in_hand_each_is_suspected_and_then_tried_alone() {
    let story = Story::of("hoards_and_aborts");
    story.offer(1, vec![story.delivery("fred"), story.delivery("abort"), story.delivery("jane")]);
    let told = story.story(4);
    let expected = [
        "not [0, 3] crashed, alone false",
        "not [0, 3] crashed, alone false",
        "not [0, 3] crashed, alone false, last",
    ];
    let ends: Vec<&str> =
        told[..3].iter().filter_map(|text| text.split_once(": ")).map(|(_, end)| end).collect();
    assert_eq!(ends, expected);
    // Suspects in one lease, with one in front that is none: each has the child for itself.
    let mut again: Vec<_> = ["fred", "jane", "abort", "kate"].map(|name| story.delivery(name)).to_vec();
    again[1..].iter_mut().for_each(|delivery| delivery.suspect = true);
    story.offer_soon(2, &again);
    let told = story.story(5);
    let expected = [
        "4 of 2: 0 2.0.0 (done) 3 2.0.0 (done)",
        "5 of 2: 0 2.0.0 (done) 3 2.0.0 (done)",
        // What had not gone to the child is back before the dead one is buried.
        "6 of 2: not [0, 3] crashed, alone true, last",
        "7 of 2: not [0, 3] Stopping",
    ];
    let mut sorted = told.clone();
    sorted.sort();
    assert_eq!(sorted[..4], expected);
    assert!(sorted[4].contains("it had in hand abort-6"), "{told:?}");
}

#[test]
fn a_child_that_takes_too_much_memory_is_ended() {
    // By the limit that the kernel holds it to, and, where that is out of reach, by the hub that looks.
    let how =
        |memory| How { limits: Limits { memory: Some(memory), ..Limits::default() }, ..How::mode("devours") };
    let story = Story::with(how(100 << 20));
    story.offer(1, vec![story.delivery("fred")]);
    let told = story.story(2);
    assert_eq!(told[0], "1 of 1: not [0, 3] crashed, alone true, last");
    assert!(
        told[1].starts_with("its process died of signal 6") || told[1].contains("MiB of memory"),
        "{told:?}"
    );
    story.end();
}

#[test]
fn a_worker_that_hangs_costs_the_child_but_not_what_others_do() {
    let story = Story::with(How {
        change: |spec| {
            spec.deadline = Duration::from_millis(500);
            spec.max_workers = 2;
            spec.pause_first = Duration::from_millis(50);
        },
        ..How::mode("hang_when_addressed")
    });
    story.offer(1, vec![story.delivery("hang")]);
    let told = story.story(2);
    assert_eq!(told[0], "1 of 1: not [0, 3] Hung, last");
    assert!(told[1].contains("did not finish within 500ms"), "{told:?}");
    let begun = Instant::now();
    story.offer_soon(2, &[story.delivery("fred")]);
    assert_eq!(story.story(1), ["2 of 2: 0 2.0.0 (done) 3 2.0.0 (done), last"]);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(story.channel.children(), 2, "a new one, without the thread that hangs");
}

#[test]
fn a_worker_that_hangs_breaks_off_nobody_and_the_child_goes_on() {
    let mut how = How::mode("hang_when_addressed");
    let place = tempfile::tempdir().unwrap();
    how.settings.push(("PLACE", place.path().display().to_string()));
    how.change = |spec| {
        spec.deadline = Duration::from_secs(10);
        spec.max_workers = 3;
        spec.pause_first = Duration::from_millis(50);
    };
    let story = Story::with(how);
    story.offer(1, vec![story.delivery("hang")]);
    // Later, so that its own time is not over when that of the other is, nor for seconds after that: a busy machine needs them.
    std::thread::sleep(Duration::from_secs(6));
    story.offer(2, vec![story.delivery("wait")]);
    let told = story.story(2);
    assert_eq!(told[0], "1 of 1: not [0, 3] Hung, last");
    // There is work for the child although it will be replaced, and what it has begun it may finish.
    story.offer_soon(3, &[story.delivery("fred")]);
    assert_eq!(story.story(1), ["3 of 3: 0 2.0.0 (done) 3 2.0.0 (done), last"]);
    std::fs::write(place.path().join("go-on"), "").unwrap();
    assert_eq!(story.story(1), ["2 of 2: 0 2.0.0 (done) 3 2.0.0 (done), last"]);
    assert_eq!(story.channel.children(), 1);
    // Then it has nothing to do, and the next delivery is for a new one.
    assert_eq!(offer_until_done(&story, 4, "fred"), "4 of 4: 0 2.0.0 (done) 3 2.0.0 (done), last");
    assert_eq!(story.channel.children(), 2);
}

/// Offers a delivery until somebody has done with it. What comes while an old child is let go may come back, untouched.
fn offer_until_done(story: &Story, lease: u64, to: &str) -> String {
    let delivery = story.delivery(to);
    loop {
        story.offer_soon(lease, std::slice::from_ref(&delivery));
        let told = story.story(1).remove(0);
        if !told.contains("Stopping") {
            return told;
        }
        assert_eq!(story.story(1), [format!("{lease} done")]);
    }
}

#[test]
fn workers_that_hang_while_another_works_leave_the_channel_working() {
    let mut how = How::mode("hang_when_addressed");
    let place = tempfile::tempdir().unwrap();
    how.settings.push(("PLACE", place.path().display().to_string()));
    how.change = |spec| {
        spec.deadline = Duration::from_secs(10);
        spec.max_workers = 5;
        spec.pause_first = Duration::from_millis(50);
    };
    let story = Story::with(how);
    (1..=3).for_each(|lease| story.offer(lease, vec![story.delivery("hang")]));
    // Later, so that its own time is not over when that of the others is.
    std::thread::sleep(Duration::from_secs(6));
    story.offer(4, vec![story.delivery("wait")]);
    let told = story.story(6);
    assert_eq!(told.iter().filter(|told| told.ends_with("Hung, last")).count(), 3, "{told:?}");
    // As many as would have ended it, and the child takes more.
    story.offer_soon(5, &[story.delivery("fred")]);
    assert_eq!(story.story(1), ["5 of 5: 0 2.0.0 (done) 3 2.0.0 (done), last"]);
    assert_eq!(story.channel.children(), 1);
    std::fs::write(place.path().join("go-on"), "").unwrap();
    assert_eq!(story.story(1), ["4 of 4: 0 2.0.0 (done) 3 2.0.0 (done), last"]);
    assert_eq!(offer_until_done(&story, 6, "fred"), "6 of 6: 0 2.0.0 (done) 3 2.0.0 (done), last");
    assert_eq!(story.channel.children(), 2, "a new one, without the threads that hang");
}

#[test]
fn a_child_with_many_that_hang_is_replaced_although_it_has_work_without_end() {
    let mut how = How::mode("hang_when_addressed");
    how.change = |spec| {
        spec.deadline = Duration::from_secs(2);
        spec.max_workers = 8;
        (spec.pause_first, spec.pause_max) = (Duration::from_millis(1), Duration::from_millis(5));
    };
    let story = Story::with(how);
    let begun = Instant::now();
    let (mut offered, mut back, mut hung, mut leases) = (0_u64, std::collections::HashSet::new(), 0, 0);
    for lease in 1..=7 {
        story.offer(lease, vec![story.delivery("hang")]);
        (offered, leases) = (offered + 1, lease);
    }
    // It always has something to do, until there is another one that gets something done.
    let mut done_by_the_next = 0;
    while done_by_the_next < 10 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} children", story.channel.children());
        loop {
            let deliveries: Vec<_> = (0..50).map(|_| story.delivery("fred")).collect();
            if story.try_offer(leases + 1, deliveries).is_err() {
                // Tokens that were never given away.
                break;
            }
            (offered, leases) = (offered + 50, leases + 1);
        }
        if story.channel.children() < 2 {
            assert!(offered > back.len() as u64, "it was not let go for having nothing to do");
        }
        let replaced = story.channel.children() == 2;
        while let Some(event) = story.try_next() {
            match event {
                HostEvent::Finished { token, ref outcomes, ref cause, .. } => {
                    assert!(back.insert(token), "{token} came back twice");
                    hung += u32::from(*cause == sluice_host::Cause::Hung);
                    done_by_the_next += u32::from(replaced && !outcomes.is_empty());
                }
                HostEvent::WorkerFailed { failure, .. } => {
                    assert!(matches!(failure, sluice_host::Failure::Hung(_)), "{failure}");
                }
                HostEvent::LeaseDone { .. } => {}
                HostEvent::Stopped { .. } => panic!("the channel goes on"),
            }
        }
    }
    assert_eq!((hung, story.channel.children()), (7, 2));
    story.channel.stop(Duration::from_secs(30));
    loop {
        match story.next() {
            HostEvent::Finished { token, .. } => assert!(back.insert(token), "{token} came back twice"),
            HostEvent::Stopped { .. } => break,
            _ => {}
        }
    }
    assert_eq!(back.len() as u64, offered, "each came back");
}

#[test]
fn a_later_stop_leaves_a_child_less_time() {
    let story = Story::of("hang");
    story.offer(1, vec![story.delivery("fred")]);
    while story.channel.process().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    story.channel.stop(Duration::from_secs(300));
    std::thread::sleep(Duration::from_millis(300));
    story.channel.stop(Duration::from_millis(300));
    let told = story.story(2);
    assert_eq!(told[0], "1 of 1: not [0, 3] Stopping, last", "{told:?}");
    assert!(told[1].starts_with("stopped: asked to stop"), "{told:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn settings_that_the_plugin_refuses_end_the_channel() {
    let story = Story::of("no_such_mode");
    story.offer(1, vec![story.delivery("fred")]);
    let told = story.story(2);
    assert_eq!(told[0], "1 of 1: not [0, 3] Stopping, last");
    assert!(
        told[1].starts_with("stopped: its plugin refuses the settings: MODE is `no_such_mode`"),
        "{told:?}"
    );
}

#[test]
fn a_file_that_is_no_plugin_is_not_started() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libsluice_none.so"), "text").unwrap();
    let why = Story::begin(folder, "none", How::mode("x")).err().unwrap();
    assert!(why.contains("libsluice_none.so is not a shared library"), "{why}");
    let why = Story::begin(tempfile::tempdir().unwrap(), "none", How::mode("x")).err().unwrap();
    assert!(why.starts_with("there is no plugin none"), "{why}");
}

#[test]
fn the_next_process_has_the_plugin_of_the_one_that_died() {
    let story = Story::of("delivers_all");
    let file = story.channel.sealed().file().to_owned();
    let rubbish = || std::fs::write(&file, "rubbish").unwrap();
    let gone = || std::fs::remove_file(&file).unwrap();
    let nothing = || ();
    for (lease, change) in [(1, &nothing as &dyn Fn()), (2, &rubbish), (3, &gone)] {
        change();
        let delivery = story.delivery("fred");
        story.offer_soon(lease, &[delivery]);
        let told = story.story(1).remove(0);
        assert!(told.ends_with("0 2.0.0 (done) 3 2.0.0 (done), last"), "{told}");
        let pid = story.channel.process().unwrap();
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
        let told = story.story(1).remove(0);
        assert!(told.starts_with("its process died of signal 9"), "{told}");
    }
    assert_eq!(story.channel.children(), 3);
}

#[test]
fn what_is_done_to_its_descriptors_costs_the_child() {
    for (mode, how) in [
        ("closes", "its process "),
        ("scribbles", "its process was ended: a frame is longer than frames may be"),
        ("forges", "its process was ended: it spoke of a delivery that it has not"),
    ] {
        let story = Story::in_c("hands_on_descriptors.c", How::mode(mode));
        let mut delivery = story.delivery("fred");
        delivery.recipients.truncate(1);
        story.offer(1, vec![delivery]);
        // Perhaps it had said that the delivery is done before it was found out.
        let mut told = vec![short(&story.next())];
        told.push(short(&story.next()));
        assert!(told[1].starts_with(how), "{mode}: {told:?}");
        assert!(told[0].ends_with(", last"), "{told:?}");
        assert_eq!(story.end(), ["stopped: asked to stop, 0 left"]);
    }
}

#[test]
fn a_killed_child_and_a_stop_in_the_middle_lose_nothing() {
    let story = Story::with(How {
        settings: vec![("MODE", "slow".into()), ("PAUSE", "50".into())],
        ..How::mode("slow")
    });
    let deliveries: Vec<_> = (0..20).map(|_| story.delivery("fred")).collect();
    story.offer(1, deliveries);
    let first = story.story(2);
    assert!(first.iter().all(|text| text.contains("(done)")), "{first:?}");
    let pid = story.channel.process().unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    let mut rest = story.story(19);
    let failed = rest.iter().position(|text| text.starts_with("its process died of signal 9 (SIGKILL)"));
    rest.remove(failed.expect("its death is told"));
    let crashed = rest.iter().filter(|text| text.contains("crashed, alone true")).count();
    let untouched = rest.iter().filter(|text| text.contains("Stopping")).count();
    let done = rest.iter().filter(|text| text.contains("(done)")).count();
    // It may have been between two.
    assert!(crashed <= 1, "{rest:?}");
    assert_eq!((crashed + untouched + done, rest.len()), (18, 18), "{rest:?}");
    // A stop gives back what waits, and lets the worker finish what it has.
    let deliveries: Vec<_> = (0..20).map(|_| story.delivery("fred")).collect();
    story.offer_soon(2, &deliveries);
    story.story(1);
    let told = story.end();
    assert_eq!(told.last().unwrap(), "stopped: asked to stop, 0 left");
    assert_eq!(told.len(), 20, "{told:?}");
}
