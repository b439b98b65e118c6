//! What chance has found, told step by step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_host::{Cause, HostEvent};
use sluice_mail::{Envelope, Outcome, Priority, Recipient, Status, Time, Wishes};
use sluice_spool::testing::{CrashStorage, Loss};

use super::chance::Chance;
use super::hub::Hub;
use super::plugins::Plugins;
use super::scenery;
use crate::acts::{Act, Acting};
use crate::choose::Chosen;
use crate::event::Event;

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
