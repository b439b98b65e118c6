//! What chance has found, told step by step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sluice_host::{Cause, HostEvent};
use sluice_mail::{Envelope, LaterRelease, Outcome, Priority, Recipient, Status, Time, Wishes};
use sluice_queue::State;
use sluice_spool::EntryId;
use sluice_spool::testing::{CrashStorage, Loss};

use super::chance::Chance;
use super::hub::Hub;
use super::plugins::Plugins;
use super::scenery;
use crate::acts::{Act, Acting};
use crate::choose::Chosen;
use crate::event::{Event, Question};
use crate::journal::COPIED;
use crate::run::Loop;

const NOW: Time = Time(1_790_000_000_000);

fn start(storage: &CrashStorage, instant: Instant) -> Hub {
    let plugins = Plugins::new(Chance::new(0), false);
    match Hub::start(storage, scenery::loaded(0), plugins, NOW, instant) {
        Ok((hub, _)) => hub,
        Err(error) => panic!("{error}"),
    }
}

/// Everybody but plugins does what there is to do.
fn pump(hub: &mut Hub, instant: Instant) {
    for _ in 0..5 {
        hub.steps.turn(instant);
        hub.take_in((NOW, Duration::ZERO));
        hub.go_on((NOW, Duration::ZERO));
        while hub.read() {}
        while hub.pile_len() > 0 {
            hub.work(0);
        }
    }
}

fn envelope() -> Envelope {
    let address = "a@there.example".to_owned();
    let (channel, domain) = ("tcp_local".to_owned(), "there.example".to_owned());
    Envelope {
        hold_reason: String::new(),
        sender: "b@there.example".to_owned(),
        arrived: NOW,
        source_channel: "tcp_local".to_owned(),
        priority: Priority::Normal,
        eight_bit: false,
        smtputf8: false,
        held: false,
        deferred_until: None,
        wishes: Wishes::default(),
        recipients: vec![Recipient {
            original: address.clone(),
            address,
            channel,
            domain,
            ..Recipient::default()
        }],
    }
}

#[test]
fn what_is_to_be_returned_keeps_its_attempts_when_a_crash_comes_before_the_notice() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let storage = CrashStorage::new(folders[0].path()).expect("a disk");
    let begun = Instant::now();
    let mut hub = start(&storage, begun);
    hub.handle.submit(envelope(), b"Subject: test\r\n\r\n".to_vec(), |result| assert!(result.is_ok()));
    pump(&mut hub, begun);
    let lease = hub.plugins.stage().instances[0].leases.remove(0);
    // An operator wants it returned while it is being tried, and it is put off.
    let mut chosen = Vec::new();
    hub.core.queues.walk(0, u32::MAX, |key, _, message| chosen.push(Chosen { id: message.id, key }));
    let acting = Acting { act: Act::Return, by: "somebody".to_owned(), reason: String::new() };
    let act = Event::Act { acting: Arc::new(acting), chosen, done: Box::new(|_| ()) };
    assert!(hub.handle.tell(act).is_ok());
    let status = Status { class: 4, subject: 2, detail: 0 };
    let deferred = Outcome::Deferred { status, text: "not now".to_owned(), peer: "peer.example".to_owned() };
    let events = Arc::clone(&hub.plugins.stage().instances[0].events);
    events(HostEvent::Finished {
        token: lease.deliveries[0].token,
        lease: lease.lease,
        outcomes: vec![(0, deferred)],
        unsettled: Vec::new(),
        cause: Cause::Done,
        lease_done: false,
    });
    hub.take_in((NOW, Duration::ZERO));
    // Long enough for what is lazy; and the notice is not made.
    hub.steps.turn(begun);
    hub.steps.turn(begun + Duration::from_secs(1));
    assert!(storage.survivors(Loss::Unsynced, folders[1].path()).is_ok());
    let hub = start(&CrashStorage::new(folders[1].path()).expect("a disk"), begun);
    let mut attempts = Vec::new();
    hub.core.queues.walk(0, u32::MAX, |_, entry, _| attempts.push(entry.attempts));
    assert_eq!(attempts, [1]);
}

/// Who waits, by id, and whether it is on hold.
fn waiting(hub: &Hub) -> BTreeMap<EntryId, bool> {
    let mut all = BTreeMap::new();
    hub.core.queues.walk(0, u32::MAX, |key, _, message| {
        all.insert(message.id, hub.core.queues.state(key) == State::Held);
    });
    all
}

fn act(hub: &mut Hub, act: Act, chosen: Vec<Chosen>) {
    let acting = Acting { act, by: "somebody".to_owned(), reason: String::new() };
    assert!(hub.handle.tell(Event::Act { acting: Arc::new(acting), chosen, done: Box::new(|_| ()) }).is_ok());
    hub.take_in((NOW, Duration::ZERO));
}

#[test]
fn what_is_being_returned_comes_back_on_hold_or_to_its_date_when_a_crash_comes_before_the_notice() {
    let until = NOW.plus(Duration::from_secs(7200));
    let later = Some(LaterRelease::For(7200));
    let wishes = Wishes { later, ..Wishes::default() };
    let dated = Envelope { deferred_until: Some(until), wishes, ..envelope() };
    let held = Envelope { held: true, ..envelope() };
    // What is done with the other part, so that the state of the message is written meanwhile.
    for (mut one, state, other) in [(held, State::Held, Act::Release), (dated, State::Deferred, Act::Hold)] {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let storage = CrashStorage::new(folders[0].path()).expect("a disk");
        let begun = Instant::now();
        let mut hub = start(&storage, begun);
        let (channel, domain) = ("tcp_site".to_owned(), "site.example".to_owned());
        one.recipients.push(Recipient { channel, domain, ..one.recipients[0].clone() });
        hub.handle.submit(one, b"Subject: test\r\n\r\n".to_vec(), |result| assert!(result.is_ok()));
        pump(&mut hub, begun);
        let mut chosen = BTreeMap::new();
        hub.core.queues.walk(0, u32::MAX, |key, entry, message| {
            let domain = hub.core.queues.queue_names(entry.queue).1.to_string();
            assert_eq!(hub.core.queues.state(key), state);
            chosen.insert(domain, Chosen { id: message.id, key });
        });
        act(&mut hub, Act::Return, vec![chosen["there.example"]]);
        act(&mut hub, other, vec![chosen["site.example"]]);
        // And the notice is not made.
        hub.steps.turn(begun);
        assert!(storage.survivors(Loss::Unsynced, folders[1].path()).is_ok());
        let hub = start(&CrashStorage::new(folders[1].path()).expect("a disk"), begun);
        let mut found = Vec::new();
        hub.core.queues.walk(0, u32::MAX, |key, entry, _| {
            if &**hub.core.queues.queue_names(entry.queue).1 == "there.example" {
                found.push((hub.core.queues.state(key), entry.due()));
            }
        });
        assert_eq!(found, [(state, (state == State::Deferred).then_some(until))], "{other:?}");
    }
}

#[test]
fn a_checkpoint_is_copied_in_steps_between_which_the_loop_has_time_for_others() {
    const MESSAGES: usize = COPIED as usize * 2 + 1;
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let storage = CrashStorage::new(folders[0].path()).expect("a disk");
    let begun = Instant::now();
    let mut hub = start(&storage, begun);
    for number in 0..MESSAGES {
        let one = Envelope { held: true, ..envelope() };
        hub.handle.submit(one, b"Subject: test\r\n\r\n".to_vec(), |result| assert!(result.is_ok()));
        if number % 64 == 0 {
            pump(&mut hub, begun);
        }
    }
    pump(&mut hub, begun);
    assert_eq!(waiting(&hub).len(), MESSAGES);
    drop(hub);
    // After each start one is written.
    let mut hub = start(&storage, begun);
    hub.go_on((NOW, Duration::ZERO));
    assert_eq!((hub.pile_len(), hub.core.copying.is_some()), (1, false), "the journal is to be cut");
    assert_eq!(hub.work(0), "checkpoint");
    hub.take_in((NOW, Duration::ZERO));
    let mut chosen = Vec::new();
    hub.core.queues.walk(0, u32::MAX, |key, _, message| chosen.push(Chosen { id: message.id, key }));
    let (first, last) = (chosen[0], chosen[MESSAGES - 1]);
    let mut rounds = 0;
    while hub.core.copying.is_some() {
        assert!(hub.core.next_wake() <= NOW, "the loop does not sleep over it");
        hub.go_on((NOW, Duration::ZERO));
        rounds += 1;
        assert!(rounds < 100, "it has no end");
        if rounds == 1 {
            // What has been copied changes, what has not been copied goes, and something comes.
            act(&mut hub, Act::Release, vec![first]);
            act(&mut hub, Act::Delete, vec![chosen[1], last]);
            hub.handle.submit(envelope(), b"Subject: new\r\n\r\n".to_vec(), |result| assert!(result.is_ok()));
            hub.steps.turn(begun);
            let answered = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&answered);
            let done = Box::new(move |channels: Vec<_>| counted.store(channels.len(), Ordering::Relaxed));
            assert!(hub.handle.tell(Event::Ask(Question::Channels(done))).is_ok());
            hub.take_in((NOW, Duration::ZERO));
            assert!(answered.load(Ordering::Relaxed) > 0, "others are answered meanwhile");
        }
    }
    assert_eq!(rounds, 3, "{MESSAGES} messages, {COPIED} in each round");
    pump(&mut hub, begun);
    hub.steps.turn(begun + Duration::from_secs(1));
    let there = waiting(&hub);
    assert_eq!(there.len(), MESSAGES - 1, "two have gone, and one has come");
    assert!(!there[&first.id] && !there.contains_key(&last.id));
    // What a crash leaves is the same, whether the checkpoint is the newest or not.
    assert!(storage.survivors(Loss::Unsynced, folders[1].path()).is_ok());
    let files = std::fs::read_dir(folders[1].path()).expect("a folder");
    let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    assert!(names.filter(|name| name.starts_with("checkpoint-")).count() > 0);
    let found = waiting(&start(&CrashStorage::new(folders[1].path()).expect("a disk"), begun));
    assert_eq!(found, there);
}

#[test]
fn a_hub_that_stops_in_the_middle_of_a_copy_writes_its_last_checkpoint() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let storage = CrashStorage::new(folders[0].path()).expect("a disk");
    let begun = Instant::now();
    let mut hub = start(&storage, begun);
    for number in 0..=COPIED {
        let one = Envelope { held: true, ..envelope() };
        hub.handle.submit(one, b"Subject: test\r\n\r\n".to_vec(), |result| assert!(result.is_ok()));
        if number % 64 == 0 {
            pump(&mut hub, begun);
        }
    }
    pump(&mut hub, begun);
    drop(hub);
    let mut hub = start(&storage, begun);
    hub.go_on((NOW, Duration::ZERO));
    hub.work(0);
    hub.take_in((NOW, Duration::ZERO));
    hub.go_on((NOW, Duration::ZERO));
    assert!(hub.core.copying.is_some(), "one step of two was made");
    assert!(hub.handle.tell(Event::Stop { until: Instant::now() + Duration::from_secs(60) }).is_ok());
    hub.take_in((NOW, Duration::ZERO));
    assert!(hub.go_on((NOW, Duration::ZERO)) == Loop::Ends, "nothing is waited for");
    let newest = |folder: &std::path::Path| {
        let files = std::fs::read_dir(folder).expect("a folder");
        let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("checkpoint-")).max()
    };
    let before = newest(folders[0].path());
    hub.end(NOW);
    assert!(newest(folders[0].path()) > before, "{before:?}");
    assert_eq!(waiting(&start(&storage, begun)).len(), COPIED as usize + 1);
}
