//! Whatever a plugin does, every message it was given comes back once, and only its own channel suffers.
#![allow(clippy::unwrap_used)]

mod support;

use sluice_host::{HostEvent, Lease, Refusal, Setting, Spec};
use std::time::Duration;
use support::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

/// Offers one lease with two messages to a channel in this mood, and tells the story until the lease is done.
fn one_lease(mode: &str) -> String {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", mode, LONG));
    channel.offer(lease(1, &[&[0, 1], &[4]]));
    channel.until_leases_done(1);
    channel.story()
}

/// The same, until the failure is reported.
fn one_failure(mode: &str) -> String {
    failure_within(mode, |_| {})
}

/// The same, with limits that are short enough to be missed.
fn failure_within(mode: &str, limit: impl Fn(&mut Spec)) -> String {
    let (_folder, host, plugin) = misbehaving();
    let mut limits = spec("c", mode, LONG);
    limit(&mut limits);
    let mut channel = Running::start(&host, &plugin, limits);
    channel.offer(lease(1, &[&[0, 1], &[4]]));
    channel.until_failures(1);
    channel.until_leases_done(1);
    channel.story()
}

#[test]
fn a_good_mood_delivers() {
    assert_eq!(
        one_lease("delivers_all"),
        "message 10: 0 delivered 2.0.0 done, 1 delivered 2.0.0 done\nmessage 11: 4 delivered 2.0.0 done\nlease 1 done"
    );
}

#[test]
fn outcomes_come_through_as_they_are() {
    assert_eq!(
        one_lease("defers_all"),
        "message 10: 0 deferred 4.3.2 come back later, 1 deferred 4.3.2 come back later\n\
         message 11: 4 deferred 4.3.2 come back later\nlease 1 done"
    );
    assert_eq!(
        one_lease("fails_all"),
        "message 10: 0 failed 5.7.1 go away, 1 failed 5.7.1 go away\nmessage 11: 4 failed 5.7.1 go away\nlease 1 done"
    );
}

#[test]
fn a_panic_on_a_delivery_gives_everything_back() {
    assert_eq!(
        one_failure("panic_on_delivery"),
        "message 10: open [0, 1]\n\
         message 11: open [4] (WorkerEnded)\n\
         lease 1 done\n\
         failed: a worker panicked at plugins/misbehaving/src/lib.rs: a panic on Q10"
    );
}

#[test]
fn what_was_settled_before_a_panic_stays_settled_and_the_channel_goes_on() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "panic_once", LONG));
    channel.offer(lease(1, &[&[0, 1]]));
    channel.until_failures(1);
    channel.offer_after_rest(lease(2, &[&[1]]));
    channel.until_leases_done(2);
    assert_eq!(
        channel.story(),
        "message 10: 0 delivered 2.0.0 done open [1]\n\
         lease 1 done\n\
         failed: a worker panicked at plugins/misbehaving/src/lib.rs: a panic after the first recipient\n\
         message 20: 1 delivered 2.0.0 done\n\
         lease 2 done"
    );
}

#[test]
fn a_panic_between_deliveries_is_fenced_too() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "panic_in_run", LONG));
    channel.offer(lease(1, &[&[0]]));
    channel.until_failures(1);
    assert_eq!(
        channel.story(),
        "message 10: 0 delivered 2.0.0 done\nlease 1 done\n\
         failed: a worker panicked at plugins/misbehaving/src/lib.rs: a panic between deliveries"
    );
}

#[test]
fn a_panic_in_create_costs_a_rest() {
    assert_eq!(
        one_failure("panic_in_create"),
        "message 10: open [0, 1] (NotCreated)\nmessage 11: open [4] (NotCreated)\nlease 1 done\n\
         failed: it panicked at plugins/misbehaving/src/lib.rs: a panic in create, while it was created"
    );
}

#[test]
fn a_failing_create_is_tried_again_later_and_later() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "fail_in_create", LONG));
    for round in 1..=4 {
        channel.offer_after_rest(lease(round, &[&[0]]));
        channel.until_failures(round as usize);
    }
    let pauses: Vec<u128> = channel
        .seen
        .iter()
        .filter_map(|event| match event {
            HostEvent::WorkerFailed { pause, .. } => Some(pause.as_millis()),
            _ => None,
        })
        .collect();
    assert_eq!(pauses, [50, 100, 200, 200]);
    assert!(channel.story().ends_with("failed: it could not be created: the moon is in the wrong house"));
}

#[test]
fn while_it_rests_a_channel_says_for_how_long() {
    let (_folder, host, plugin) = misbehaving();
    let limits = Spec { pause_first: LONG, pause_max: LONG, ..spec("c", "panic_on_delivery", LONG) };
    let mut channel = Running::start(&host, &plugin, limits);
    channel.offer(lease(1, &[&[0]]));
    channel.until_failures(1);
    let error = channel.instance.offer(lease(2, &[&[0]])).unwrap_err();
    assert_eq!(error.offer.lease, 2);
    assert!(
        matches!(error.why, Refusal::Resting(rest) if rest > LONG / 2 && rest <= LONG),
        "{:?}",
        error.why
    );
}

#[test]
fn refused_settings_stop_the_channel() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "sulk", LONG));
    channel.offer(lease(1, &[&[0]]));
    channel.until_stopped();
    let story = channel.story();
    assert!(story.starts_with("message 10: open [0] (Stopping)\nlease 1 done\n"), "{story}");
    assert!(
        story
            .contains("stopped: its plugin refuses the settings: MODE is `sulk`; it must be one of panic_in")
    );
    assert_eq!(channel.instance.offer(lease(2, &[&[0]])).unwrap_err().why, Refusal::Stopped);
}

#[test]
fn trouble_with_the_settings_shows_without_mail() {
    let (_folder, host, plugin) = misbehaving();
    let settings = vec![Setting::option("PAUSE", "4000000")];
    let mut channel = Running::start(&host, &plugin, Spec::new("c", settings));
    channel.instance.prepare();
    channel.until_stopped();
    assert_eq!(
        channel.story(),
        "stopped: its plugin refuses the settings: option PAUSE is `4000000`; \
         it must be a whole number from 0 to 3600000; 0 left behind"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_before_the_plugin_sees_it() {
    let (_folder, host, plugin) = misbehaving();
    let settings = vec![Setting::option("FOR_SOMEONE_ELSE", "x"), Setting::option("pause", "soon")];
    let mut channel = Running::start(&host, &plugin, Spec::new("c", settings));
    channel.instance.prepare();
    channel.until_stopped();
    assert_eq!(
        channel.story(),
        "stopped: its plugin refuses the settings: option PAUSE of plugin misbehaving is `soon`; \
         it must be a whole number; 0 left behind"
    );
}

#[test]
fn limits_that_would_stop_all_work_or_the_clock_are_made_harmless() {
    let (_folder, host, plugin) = misbehaving();
    let limits = Spec {
        max_workers: 0,
        queue_bound: 0,
        held_max: 0,
        hung_max: 0,
        deadline: Duration::MAX,
        create_deadline: Duration::MAX,
        idle_exit: Duration::MAX,
        ..spec("c", "delivers_all", LONG)
    };
    let mut channel = Running::start(&host, &plugin, limits);
    channel.offer(lease(1, &[&[0]]));
    channel.until_leases_done(1);
    channel.instance.stop(Duration::MAX);
    channel.until_stopped();
    assert_eq!(
        channel.story(),
        "message 10: 0 delivered 2.0.0 done\nlease 1 done\nstopped: asked to stop; 0 left behind"
    );
}

#[test]
fn a_hanging_create_costs_only_its_channel() {
    assert_eq!(
        failure_within("hang_in_create", |limits| limits.create_deadline = SHORT),
        "message 10: open [0, 1] (NotCreated)\nmessage 11: open [4] (NotCreated)\nlease 1 done\n\
         failed: it was not created within 100ms"
    );
}

#[test]
fn a_channel_that_comes_too_late_is_destroyed_and_another_is_made() {
    let (_folder, host, plugin) = misbehaving();
    let limits = Spec { create_deadline: SHORT, ..spec("c", "hang_in_create", SHORT * 5) };
    let mut channel = Running::start(&host, &plugin, limits);
    channel.instance.prepare();
    channel.until_failures(1);
    channel.offer_after_rest(lease(1, &[&[0]]));
    channel.until_failures(2);
    channel.instance.stop(LONG);
    channel.until_stopped();
}

#[test]
fn a_hanging_delivery_is_taken_back_at_its_deadline() {
    assert_eq!(
        failure_within("hang", |limits| limits.deadline = SHORT * 2),
        "message 10: open [0, 1] (Hung)\nmessage 11: open [4] (Hung)\nlease 1 done\n\
         failed: a worker did not finish within 200ms"
    );
}

#[test]
fn a_leaked_delivery_is_taken_back_at_its_deadline() {
    let story = failure_within("leaks", |limits| limits.deadline = SHORT * 2);
    assert!(
        story.contains("message 10: open [0, 1] (Hung)\nmessage 11: open [4] (Hung)\nlease 1 done"),
        "{story}"
    );
}

#[test]
fn the_time_of_a_delivery_begins_when_the_one_before_it_is_done() {
    // All three together take twice as long as one may.
    let (_folder, host, plugin) = misbehaving();
    let limits = Spec { deadline: SHORT * 30, ..spec("c", "looks_ahead", SHORT * 20) };
    let mut channel = Running::start(&host, &plugin, limits);
    channel.offer(lease(1, &[&[0], &[0], &[0]]));
    channel.until_leases_done(1);
    let delivered = [10, 11, 12].map(|number| format!("message {number}: 0 delivered 2.0.0 done\n"));
    assert_eq!(channel.story(), format!("{}lease 1 done", delivered.concat()));
}

#[test]
fn a_worker_that_was_given_up_while_it_waited_gets_no_lease() {
    let (_folder, host, plugin) = misbehaving();
    let pause_first = Duration::from_millis(1);
    let limits = Spec { deadline: SHORT * 2, pause_first, ..spec("c", "leaks", LONG) };
    let mut channel = Running::start(&host, &plugin, limits);
    channel.offer(lease(1, &[&[0]]));
    channel.until_failures(1);
    channel.offer_after_rest(lease(2, &[&[0]]));
    // Another one has it, and fails in its turn.
    channel.until_failures(2);
}

#[test]
fn other_workers_go_on_while_one_hangs() {
    let (_folder, host, plugin) = misbehaving();
    let limits = Spec { max_workers: 2, deadline: SHORT * 20, ..spec("c", "hang_when_addressed", LONG) };
    let mut channel = Running::start(&host, &plugin, limits);
    let mut poisoned = lease(1, &[&[0]]);
    poisoned.deliveries[0].recipients[0].address = "hang@site.example".to_owned();
    channel.offer(poisoned);
    for number in 2..10 {
        channel.offer(lease(number, &[&[0]]));
    }
    channel.until_leases_done(9);
    channel.until_failures(1);
    let story = channel.story();
    assert!(story.contains("message 10: open [0] (Hung)"), "{story}");
    assert_eq!(story.matches("delivered 2.0.0 done").count(), 8, "{story}");
}

#[test]
fn a_channel_whose_workers_keep_hanging_is_stopped() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, Spec { deadline: SHORT, ..spec("c", "hang", LONG) });
    for round in 1..=3 {
        channel.offer_after_rest(lease(round, &[&[0]]));
        channel.until_leases_done(round as usize);
    }
    channel.until_stopped();
    assert!(
        channel
            .story()
            .ends_with("stopped: 3 of its workers hung; restart the hub to try again; 3 left behind")
    );
    assert_eq!(channel.instance.offer(lease(4, &[&[0]])).unwrap_err().why, Refusal::Stopped);
}

#[test]
fn a_late_word_is_ignored_and_what_was_lent_stays_readable() {
    let (_folder, host, plugin) = misbehaving();
    let limits = Spec { deadline: SHORT, ..spec("c", "settles_late", SHORT * 4) };
    let mut channel = Running::start(&host, &plugin, limits);
    channel.offer(lease(1, &[&[0]]));
    channel.until_failures(1);
    assert!(channel.story().starts_with("message 10: open [0] (Hung)\nlease 1 done"));
    // The thread comes back, says its late word, reads its message, is told to stop, and nothing is heard of it.
    channel.quiet_for(SHORT * 15);
    channel.instance.stop(LONG);
    channel.until_stopped();
    assert!(channel.story().ends_with("stopped: asked to stop; 0 left behind"), "{}", channel.story());
}

#[test]
fn forgetting_to_settle_defers() {
    assert_eq!(one_lease("never_settles"), "message 10: open [0, 1]\nmessage 11: open [4]\nlease 1 done");
}

#[test]
fn settling_twice_changes_nothing() {
    assert_eq!(one_lease("settles_twice"), one_lease("delivers_all"));
}

#[test]
fn settling_strangers_and_impossible_codes_is_refused() {
    assert_eq!(
        one_lease("settles_wrong_index"),
        "message 10: open [0, 1]\nmessage 11: open [4]\nlease 1 done"
    );
}

#[test]
fn returning_early_gives_everything_back() {
    assert_eq!(
        one_failure("returns_early"),
        "message 10: open [0, 1]\nmessage 11: open [4] (WorkerEnded)\nlease 1 done\n\
         failed: a worker returned status 0 without being told to stop"
    );
    assert!(one_failure("returns_error").ends_with("failed: a worker gave up: no network today"));
}

#[test]
fn a_plugin_may_hold_several_and_settle_out_of_order() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, Spec { held_max: 3, ..spec("c", "hoards", LONG) });
    channel.offer(lease(1, &[&[0], &[0], &[0], &[0]]));
    channel.until_leases_done(1);
    let order: Vec<u64> = channel
        .seen
        .iter()
        .filter_map(|event| if let HostEvent::Finished { token, .. } = event { Some(*token) } else { None })
        .collect();
    // No more than three at once, last one first, then the fourth.
    assert_eq!(order, [12, 11, 10, 13]);
}

#[test]
fn garbage_is_bounded_and_made_harmless() {
    let story = one_lease("logs_garbage");
    assert!(!story.contains('\u{1b}') && !story.contains('\u{202e}') && !story.contains('\r'), "{story}");
    assert_eq!(story.lines().count(), 3, "{story}");
    assert!(story.len() < 3 * 2100, "{} bytes", story.len());
}

#[test]
fn a_full_queue_is_an_answer() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, Spec { queue_bound: 2, ..spec("c", "slow", SHORT) });
    let mut taken = 0;
    let refused =
        (1..).map(|number| channel.instance.offer(lease(number, &[&[0]]))).find_map(|offer| match offer {
            Ok(()) => {
                taken += 1;
                None
            }
            Err(error) => Some(error),
        });
    let refused = refused.unwrap();
    assert_eq!((refused.why, refused.offer.lease), (Refusal::Full, taken + 1));
    channel.until_leases_done(taken as usize);
}

#[test]
fn an_unusable_delivery_comes_back_as_our_own_mistake() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "delivers_all", LONG));
    channel.offer(lease(1, &[&[], &[3, 3], &[9, 2]]));
    channel.offer(lease(2, &[]));
    channel.until_leases_done(2);
    assert_eq!(
        channel.story(),
        "message 10: (Unusable)\nmessage 11: open [3, 3] (Unusable)\n\
         message 12: 2 delivered 2.0.0 done, 9 delivered 2.0.0 done\nlease 1 done\nlease 2 done"
    );
}

#[test]
fn a_poll_is_over_when_the_plugin_asks_for_the_next_thing() {
    let (_folder, host, plugin) = misbehaving();
    let mut channel = Running::start(&host, &plugin, spec("c", "delivers_all", LONG));
    channel.offer(Lease { lease: 1, poll: true, deliveries: Vec::new() });
    channel.until_leases_done(1);
    channel.offer(Lease { poll: true, ..lease(2, &[&[0]]) });
    channel.until_leases_done(2);
    assert_eq!(channel.story(), "lease 1 done\nmessage 20: 0 delivered 2.0.0 done\nlease 2 done");
}

#[test]
fn idle_workers_are_let_go_and_come_back_with_work() {
    let (_folder, host, plugin) = misbehaving();
    let limits = Spec { idle_exit: SHORT, max_workers: 4, ..spec("c", "delivers_all", LONG) };
    let mut channel = Running::start(&host, &plugin, limits);
    for round in 0..3 {
        channel.offer(lease(round, &[&[0]]));
        channel.until_leases_done(round as usize + 1);
        eventually("the workers to go", || channel.instance.workers() == 0);
    }
    channel.instance.stop(LONG);
    channel.until_stopped();
    assert!(channel.story().ends_with("stopped: asked to stop; 0 left behind"));
}

#[test]
fn many_channels_without_work_have_no_threads() {
    let (_folder, host, plugin) = misbehaving();
    let channels: Vec<Running> = (0..1000)
        .map(|number| Running::start(&host, &plugin, spec(&format!("idle_{number}"), "delivers_all", LONG)))
        .collect();
    assert!(channels.iter().all(|channel| channel.instance.workers() == 0));
}
