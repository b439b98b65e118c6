//! Moments of schedules that pass while no hub runs, as a whole: a site's, a channel's and an activator's are made up for once.
//!
//! Nobody waits here for hours: the spool of a hub that is stopped gets a note as `docs/internals/notes-format.md` draws it, which
//! says that schedules were kept until thirteen hours ago.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_spool::{Disk, Durability, Options, Spool};
use sluice_testkit::{Sink, Site, wait_for, watch};
use sluice_tests::{Clock, Destination, SOON, WHILE, arrived, hub, numbers, send};

const HOUR: u64 = 3_600_000;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The note of kind 3: schedules kept until then, the activator's too, and the next periodic service in an hour.
fn note(kept: u64, activator: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [kept, 0, now() + HOUR] {
        body.extend_from_slice(&number.to_le_bytes());
    }
    body.extend_from_slice(&1u32.to_le_bytes());
    body.extend_from_slice(&kept.to_le_bytes());
    body.extend_from_slice(&u16::try_from(activator.len()).unwrap().to_le_bytes());
    body.extend_from_slice(activator.as_bytes());
    let mut note = vec![1, 3, 0, 0];
    note.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    note.extend_from_slice(&body);
    note
}

/// As if the hub had been away for so long.
fn has_been_away(hub: &Site, hours: u64) {
    let storage = Arc::new(Disk::open(hub.folder().join("spool")).unwrap());
    let (spool, _) = Spool::open(storage, Options::default()).unwrap();
    let (sender, written) = std::sync::mpsc::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    spool.note(note(now() - hours * HOUR, "isp"), Durability::Sync, Some(done));
    written.recv_timeout(SOON).unwrap().unwrap();
    spool.close();
}

fn asked(server: &Sink) -> usize {
    server.commands().iter().filter(|line| line.starts_with("ETRN ")).count()
}

#[test]
fn a_site_a_channel_and_an_activator_make_up_for_one_missed_moment_each() {
    let (site7, office, server) = (Sink::start(), Sink::start(), Sink::start());
    let mut hub = hub(
        "missed",
        &[
            Destination::held("tcp_dialup", "site7.example", site7.port()),
            Destination::held("tcp_office", "office.example", office.port()),
        ],
    );
    let options = std::fs::read_to_string(hub.configuration().join("option.dat")).unwrap();
    hub.write("option.dat", &format!("{options}TIME_ZONE=UTC\n"));
    // Twelve hours ago or a little more, and not again for eleven.
    let daily = format!("0 {} * * *", (now() / HOUR + 12) % 24);
    let closed = format!("{0:02}:00-{0:02}:01", (now() / HOUR + 12) % 24);
    hub.write(
        "sites.cnf",
        &format!(
            "[SITE=seven]\nDOMAINS=site7.example\nSCHEDULE={daily}\n\
             [SITE=night]\nDOMAINS=night.site7.example\nSCHEDULE={daily}\nWINDOW={closed}\n\
             [ACTIVATOR=isp]\nSERVER=127.0.0.1\nPORT={}\nTLS=no\nNAMES=hub.example\nSCHEDULE={daily}\n",
            server.port()
        ),
    );
    hub.write("job_controller.cnf", &format!("[CHANNEL=tcp_office]\nSCHEDULE={daily}\n"));
    hub.start();
    send(&hub, "fred@site7.example", 0, 3);
    send(&hub, "fred@office.example", 10, 2);
    send(&hub, "fred@night.site7.example", 20, 1);
    hub.wait_for_waiting(None, 6, SOON);
    hub.stop();
    hub.start();
    let all_quiet = || site7.count() + office.count() + asked(&server) == 0;
    watch("nothing was missed by a hub that was away for a moment", WHILE, all_quiet);
    hub.stop();
    has_been_away(&hub, 13);
    hub.start();
    assert_eq!(arrived(&site7, 3), [0, 1, 2]);
    assert_eq!(arrived(&office, 2), [10, 11]);
    wait_for("the server is asked", SOON, || asked(&server) == 1);
    hub.wait_for_waiting(None, 1, SOON);
    // The hub has noted it itself, and so that a sudden end does not lose it.
    wait_for("the answer is known", SOON, || {
        hub.json(&["activator", "status"]).iter().any(|row| row["standing"] == "done")
    });
    send(&hub, "fred@site7.example", 30, 1);
    // What is answered here is on the disk, with all that was noted before.
    assert_eq!(hub.command(&["suspend", "nobodys.example"]).code, 0);
    hub.kill();
    hub.start();
    let once = || asked(&server) == 1 && numbers(&site7.arrived()) == [0, 1, 2];
    watch("no moment is made up for twice, and none where the window is closed", WHILE, once);
    hub.wait_for_waiting(None, 2, SOON);
    hub.stop();
}

/// Of two channels the one with `period 2` takes part in every second service, however often the hub is started anew between them.
#[test]
fn a_channel_with_a_period_is_served_by_every_nth_service() {
    let (each, second) = (Sink::start(), Sink::start());
    let mut hub = hub(
        "period",
        &[
            Destination::held("tcp_each", "each.example", each.port()),
            Destination {
                keywords: "periodic period 2",
                ..Destination::held("tcp_second", "second.example", second.port())
            },
        ],
    );
    let options = std::fs::read_to_string(hub.configuration().join("option.dat")).unwrap_or_default();
    hub.write("option.dat", &format!("{options}POST_INTERVAL=1h\n"));
    let clock = Clock::of(&mut hub);
    hub.start();
    for service in 1..=4 {
        send(&hub, "fred@each.example", service, 1);
        send(&hub, "fred@second.example", service, 1);
        hub.wait_for_waiting(Some("tcp_each"), 1, SOON);
        if service == 4 {
            hub.stop();
            hub.start();
        }
        // An hour and a minute later.
        clock.set(i64::try_from(service).unwrap() * 3660);
        assert_eq!(arrived(&each, service), (1..=service).collect::<Vec<_>>(), "service {service}");
        if service % 2 == 0 {
            assert_eq!(arrived(&second, service), (1..=service).collect::<Vec<_>>(), "service {service}");
        } else {
            watch("the other channel waits for the next service", WHILE, || {
                second.count() == service - 1 && hub.waiting(Some("tcp_second")) == 1
            });
        }
    }
    hub.stop();
}
