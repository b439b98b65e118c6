//! Whether there is a channel in a process is said before it gets anything to do, and with which words there is none.
#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub)]
mod support;

use std::time::{Duration, Instant};
use support::{How, Story, be_a_child};

#[test]
fn child() {
    be_a_child();
}

fn created(mode: &str) -> (Story, Result<(), String>) {
    let mut how = How::mode(mode);
    how.change = |spec| {
        spec.create_deadline = Duration::from_millis(700);
        // Longer than anything here takes: there is one failure.
        spec.pause_first = Duration::from_secs(50);
    };
    let story = Story::with(how);
    let result = story.channel.create_now();
    (story, result)
}

#[test]
fn one_that_has_its_channel_says_so_and_works() {
    let (story, result) = created("delivers_all");
    assert_eq!(result, Ok(()));
    let pid = story.channel.process();
    assert!(pid.is_some());
    assert_eq!(story.channel.create_now(), Ok(()), "asked again, it is the same channel");
    story.offer(1, vec![story.delivery("fred")]);
    assert_eq!(story.story(1), ["1 of 1: 0 2.0.0 (done) 3 2.0.0 (done), last"]);
    assert_eq!((story.channel.process(), story.channel.children()), (pid, 1));
    assert_eq!(story.end(), ["stopped: asked to stop, 0 left"]);
    assert_eq!(story.channel.create_now(), Err("asked to stop".to_owned()));
}

#[test]
fn each_way_to_have_none_is_told_in_its_words() {
    for (mode, words) in [
        ("fail_in_create", "the moon is in the wrong house"),
        ("panic_in_create", "a panic in create"),
        ("hang_in_create", "it was not created within 700ms"),
        ("abort_in_create", "its process died of signal 6 (SIGABRT)"),
        ("no_such_mode", "its plugin refuses the settings: MODE is `no_such_mode`"),
    ] {
        let begun = Instant::now();
        let (story, result) = created(mode);
        let why = result.expect_err(mode);
        assert!(why.contains(words), "{mode}: {why}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{mode} is waited for no longer than it must be");
        // Asked again it is the same answer, or a rest, and no second try.
        let again = story.channel.create_now().expect_err(mode);
        assert!(again == why || again.contains("it rests"), "{mode}: {again}");
        assert!(story.channel.children() <= 1, "{mode}");
    }
}

#[test]
fn of_one_that_died_when_it_had_its_channel_the_words_are_kept() {
    let (story, result) = created("delivers_all");
    assert_eq!(result, Ok(()));
    let pid = story.channel.process().unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    let until = Instant::now() + Duration::from_secs(15);
    while story.channel.process().is_some() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let why = story.channel.create_now().expect_err("it rests");
    assert!(why.contains("its process died of signal 9 (SIGKILL)"), "{why}");
    assert_eq!(story.channel.children(), 1, "and is not started again before its rest is over");
}

#[test]
fn a_process_that_stands_still_is_not_waited_for_without_end() {
    let mut how = How::mode("hang_in_create");
    how.change = |spec| spec.create_deadline = Duration::from_secs(2);
    let story = Story::with(how);
    story.channel.prepare();
    let begun = Instant::now();
    let pid = loop {
        match story.channel.process() {
            Some(pid) => break pid,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let stopped = std::process::Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
    assert!(stopped.success());
    let why = story.channel.create_now().expect_err("nobody can have said anything");
    assert!(why.contains("has not said within 17s whether there is a channel"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(40));
    // It is ended with its instance, standing or not.
    story.channel.stop(Duration::ZERO);
    let told = loop {
        let event = support::short(&story.next());
        if event.starts_with("stopped") {
            break event;
        }
    };
    assert!(told.contains("asked to stop"), "{told}");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn what_was_opened_is_known_by_its_file() {
    let (story, _) = created("delivers_all");
    let file = story.channel.sealed().file().to_owned();
    let opened = Some(story.channel.sealed().seen());
    assert_eq!(opened, sluice_host::Seen::of(&file));
    // The same octets in another file: it may be another one.
    let beside = file.with_extension("new");
    std::fs::copy(&file, &beside).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    assert_eq!(Some(story.channel.sealed().seen()), opened);
    assert_ne!(sluice_host::Seen::of(&file), opened);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(sluice_host::Seen::of(&file), None);
}
