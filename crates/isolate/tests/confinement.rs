//! What a child may not, what it is lent, and what it says.
#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub)]
mod support;

use sluice_host::{Cause, Content, HostEvent};
use sluice_isolate::Limits;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{How, InFile, Story, be_a_child};

#[test]
fn child() {
    be_a_child();
}

#[test]
fn it_reaches_nothing_but_what_it_was_given() {
    // All children may write below /tmp, where somebody may build this.
    let built = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let outside = if built.starts_with("/tmp") { std::path::Path::new("/var/tmp") } else { built };
    let (place, own) = (tempfile::tempdir_in(outside).unwrap(), tempfile::tempdir_in(outside).unwrap());
    let mut how = How::mode("reaches_out");
    how.settings.push(("PLACE", place.path().display().to_string()));
    how.settings.push(("FOLDER", own.path().display().to_string()));
    let story = Story::with(how);
    let confined = &story.channel.plugin().confined;
    story.offer(1, vec![story.delivery("fred")]);
    let told = story.story(1).remove(0);
    assert!(told.contains("own done"), "{told}");
    assert!(own.path().join("reached").exists());
    if confined.contains("seccomp") && !confined.contains("no seccomp") {
        assert!(told.contains("root errno 1"), "{told}");
        assert!(told.contains("signal errno 1"), "{told}");
    }
    if confined.contains("landlock") && !confined.contains("no landlock") {
        assert!(told.contains("write permission denied"), "{told}");
        assert!(!place.path().join("reached").exists());
    } else {
        eprintln!("this kernel has no landlock, nothing was tried");
    }
    // The three standard ones, the socket and its double, the recorder, and the folder that is being read.
    let descriptors: usize = told
        .split(' ')
        .zip(told.split(' ').skip(1))
        .find(|(_, word)| word.starts_with("descriptors"))
        .unwrap()
        .0
        .parse()
        .unwrap();
    assert!(descriptors <= 8, "{told}");
}

#[test]
fn what_the_limits_add_may_be_written() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut how = How::mode("reaches_out");
    how.settings.push(("PLACE", place.path().display().to_string()));
    how.limits = Limits { write: vec![place.path().to_owned()], ..Limits::default() };
    let story = Story::with(how);
    story.offer(1, vec![story.delivery("fred")]);
    let told = story.story(1).remove(0);
    assert!(told.contains("write done"), "{told}");
}

#[test]
fn bodies_are_lent_from_the_file_or_from_a_sealed_copy() {
    let story = Story::with(How {
        settings: vec![("MODE", "settles_late".into()), ("PAUSE", "1".into())],
        ..How::mode("")
    });
    let mut loose = story.delivery("loose");
    loose.content = Arc::new(b"Subject: y\r\n\r\nBye.\r\n".to_vec());
    let mut empty = story.delivery("empty");
    empty.content = Arc::new(Vec::new()) as Arc<dyn Content>;
    story.offer(1, vec![story.delivery("placed"), loose, empty]);
    assert_eq!(story.story(3).len(), 3);
    // A segment that has no name any more is not lost with it.
    std::fs::remove_file(story.folder.path().join("segment")).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    story.offer(2, vec![story.delivery("unlinked")]);
    assert_eq!(story.story(1), ["4 of 2: 0 2.0.0 (done) not [3], last"]);
    assert_eq!(story.channel.children(), 1);
}

#[test]
fn a_body_is_read_where_the_file_is_mapped() {
    let story = Story::of("tells_where");
    story.offer(1, vec![story.delivery("fred")]);
    let told = story.story(1).remove(0);
    let address = told.split("at 0x").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
    let address = u64::from_str_radix(address, 16).unwrap();
    let pid = story.channel.process().unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let line = maps.lines().find(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let [from, to] = [range.0, range.1].map(|number| u64::from_str_radix(number, 16).unwrap());
        (from..to).contains(&address)
    });
    let line = line.expect("the address is mapped");
    assert!(line.contains("r--") && line.ends_with("/segment"), "{line}");
}

#[test]
fn a_flood_of_words_is_held_back_and_the_work_gets_done() {
    let story = Story::of("floods");
    let begun = Instant::now();
    story.offer(1, vec![story.delivery("fred")]);
    assert_eq!(story.story(1), ["1 of 1: 0 2.0.0 (done) 3 2.0.0 (done), last"]);
    assert!(begun.elapsed() < Duration::from_secs(50));
}

#[test]
fn one_that_burns_is_held_to_its_share_and_ended_at_its_deadline() {
    let story = Story::with(How {
        limits: Limits { cpu_percent: Some(10), ..Limits::default() },
        change: |spec| {
            spec.deadline = Duration::from_secs(4);
            spec.pause_first = Duration::from_millis(50);
        },
        ..How::mode("burns")
    });
    story.offer(1, vec![story.delivery("fred")]);
    while story.channel.process().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = story.channel.process().unwrap();
    let mut used = 0;
    let told = loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some((_, rest)) = stat.rsplit_once(')') {
            let ticks: Vec<u64> =
                rest.split_ascii_whitespace().skip(11).take(2).filter_map(|one| one.parse().ok()).collect();
            used = used.max(ticks.iter().sum());
        }
        if used == 0 || story.channel.process() == Some(pid) {
            std::thread::sleep(Duration::from_millis(20));
            if let Some(event) = story.try_next() {
                break event;
            }
        }
    };
    assert!(matches!(&told, HostEvent::Finished { cause: Cause::Hung, .. }), "{told:?}");
    // A tenth of some four seconds, and two tenths that it had saved; a hundred ticks are a second.
    assert!(used < 150, "{used} ticks");
}

#[test]
fn it_gets_no_name_space_of_its_own_and_starts_processes_all_the_same() {
    let story = Story::in_c("escapes.c", How::mode("clones"));
    let confined = story.channel.plugin().confined.clone();
    let mut delivery = story.delivery("fred");
    delivery.recipients.truncate(1);
    story.offer(1, vec![delivery]);
    let told = story.story(1).remove(0);
    assert!(told.contains("plain 0,"), "{told}");
    if confined.contains("no seccomp") {
        eprintln!("this kernel has no seccomp, nothing was tried");
    } else {
        // EPERM for each of them.
        assert!(told.contains("spaces 1 1 1 1 1 1 1 1."), "{told}");
    }
}

#[test]
fn a_program_that_outlives_its_starter_holds_nobody_up_and_ends_with_it() {
    let mut how = How::mode("grandchild");
    let place = tempfile::tempdir().unwrap();
    let number = place.path().join("number");
    how.settings.push(("PLACE", number.display().to_string()));
    how.limits = Limits { write: vec![place.path().to_owned()], ..Limits::default() };
    let story = Story::in_c("escapes.c", how);
    let mut delivery = story.delivery("fred");
    delivery.recipients.truncate(1);
    story.offer(1, vec![delivery]);
    // It writes to the same standard output without end, and yet the death is told.
    let told = story.story(2);
    assert!(told[1].starts_with("its process died of signal 9 (SIGKILL)"), "{told:?}");
    let number = std::fs::read_to_string(number).unwrap();
    assert!(number.trim().parse().is_ok_and(|number: u32| number > 1), "{number:?}");
    let is_there = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", number.trim())).unwrap_or_default();
        // One that nobody has waited for yet runs no more.
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let begun = Instant::now();
    while is_there() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{number} goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(story.end(), ["stopped: asked to stop, 0 left"]);
}

#[test]
fn a_file_that_has_gone_keeps_no_room_however_busy_the_child_is() {
    let story = Story::with(How {
        settings: vec![("MODE", "slow".into()), ("PAUSE", "20".into())],
        ..How::mode("slow")
    });
    let other = Arc::new(InFile::named(story.folder.path(), "other", 2));
    let mut first = story.delivery("fred");
    first.content = Arc::clone(&other) as Arc<dyn Content>;
    story.offer(1, vec![first]);
    story.story(1);
    let maps = |story: &Story| {
        let pid = story.channel.process().unwrap();
        std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap()
    };
    assert!(maps(&story).contains("/other\n"));
    std::fs::remove_file(&other.path).unwrap();
    // One delivery comes back, and another goes there: there is no second in which nothing happens.
    let begun = Instant::now();
    (2..5).for_each(|lease| story.offer(lease, vec![story.delivery("fred")]));
    for lease in 5.. {
        story.story(1);
        if !maps(&story).contains("/other (deleted)") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it is still mapped");
        story.offer(lease, vec![story.delivery("fred")]);
    }
    assert_eq!(story.channel.children(), 1);
}
