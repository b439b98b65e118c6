//! Priorities (MT-PRIORITY, RFC 6710) as a whole: who may ask for which, in which order mail goes to a site whose line may go down
//! at any moment, and what the next server and the readers of notices hear of it.
#![allow(clippy::unwrap_used)]

use std::time::{SystemTime, UNIX_EPOCH};

use sluice_sasl::Mechanism;
use sluice_testkit::{Manner, Reply, Sink, Site, Talk, watch};
use sluice_tests::{Destination, SOON, WHILE, configuration, log_in, password};

const OFFERS: &str = "allowetrn mtprioritiesallowed maysaslserver";

fn house(name: &str, destinations: &[Destination<'_>]) -> Site {
    let hub = Site::new(name);
    hub.write("sluice.cnf", &configuration(OFFERS, destinations));
    hub.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\nTIME_ZONE=UTC\n");
    assert_eq!(password(&hub, &["set", "purser", "--cram-md5"], "pencil").code, 0);
    hub
}

/// A client that has logged in.
fn purser(hub: &Site) -> Talk {
    let mut talk = hub.talk();
    assert!(talk.want("EHLO purser.example", 250).offers("MT-PRIORITY"));
    assert_eq!(log_in(&mut talk, Mechanism::CramMd5, "purser", "pencil").code, 235);
    talk
}

/// Sends a message of about that size; its subject is its name. The last reply.
fn send(talk: &mut Talk, to: &str, name: &str, priority: &str, octets: usize) -> Reply {
    talk.want(&format!("MAIL FROM:<a@origin.example>{priority}"), 250);
    talk.want(&format!("RCPT TO:<{to}>"), 250);
    talk.want("DATA", 354);
    let lines = "0123456789012345678901234567890123456789012345678\r\n".repeat(octets / 51);
    talk.raw(format!("Subject: {name}\r\n\r\n{lines}.\r\n").as_bytes()).unwrap();
    let reply = talk.read().unwrap();
    assert_eq!(reply.code, 250, "{reply}");
    reply
}

/// The subjects of what has arrived, in its order.
fn subjects(sink: &Sink) -> Vec<String> {
    let subject = |content: &[u8]| {
        let text = String::from_utf8_lossy(content).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned()
    };
    sink.arrived().iter().map(|one| subject(&one.content)).collect()
}

fn mail_lines(sink: &Sink) -> Vec<String> {
    let lines = sink.commands().into_iter().filter(|line| line.starts_with("MAIL "));
    lines.map(|line| line.split(" SIZE=").next().unwrap().to_owned() + tail(&line)).collect()
}

/// What MAIL says of the priority.
fn tail(line: &str) -> &str {
    line.find(" MT-PRIORITY=").map_or("", |at| &line[at..])
}

#[test]
fn a_ship_gets_the_urgent_and_small_first_and_the_large_waits_for_the_cheap_window() {
    let ship = Sink::start();
    ship.behave(Manner {
        keywords: ["PIPELINING", "8BITMIME", "SIZE 0", "MT-PRIORITY MIXER"].map(str::to_owned).to_vec(),
        ..Manner::default()
    });
    let keywords = "periodic maxjobs 1 threaddepth 2";
    let mut hub = house(
        "priorities-ship",
        &[Destination { keywords, ..Destination::held("tcp_ship", "ship.example", ship.port()) }],
    );
    // Closed for hours, whenever this runs.
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600 % 24;
    let window = format!("{0:02}:00-{0:02}:30", (hour + 12) % 24);
    hub.write(
        "sites.cnf",
        &format!("[SITE=ship]\nDOMAINS=ship.example\nWINDOW={window}\nMAX_SIZE_IN_WINDOW=20K\n"),
    );
    hub.start();
    let to = "captain@ship.example";
    let mut client = purser(&hub);
    send(&mut client, to, "plain-8000", "", 8000);
    send(&mut client, to, "plain-300", "", 300);
    send(&mut client, to, "late", " MT-PRIORITY=-6", 100);
    send(&mut client, to, "urgent-9000", " MT-PRIORITY=7", 9000);
    send(&mut client, to, "film", " MT-PRIORITY=9", 40_000);
    send(&mut client, to, "urgent-500", " MT-PRIORITY=7", 500);
    let mut stranger = hub.talk();
    stranger.want("EHLO stranger.example", 250);
    let told = stranger.want("MAIL FROM:<x@y.example> MT-PRIORITY=9", 250);
    assert!(told.text().starts_with("2.3.6 0 "), "{told}");
    stranger.want("RSET", 250);
    let told = send(&mut stranger, to, "stranger", " MT-PRIORITY=9", 100);
    assert!(told.text().starts_with("2.3.6 0 "), "{told}");
    stranger.want("MAIL FROM:<x@y.example> MT-PRIORITY=12", 501);
    let order = ["urgent-500", "urgent-9000", "stranger", "plain-300", "plain-8000", "late"];
    let priorities = |hub: &Site| -> Vec<i64> {
        let rows = hub.json(&["queue", "list", "--state", "waiting"]);
        rows.iter().map(|row| row["transfer_priority"].as_i64().unwrap()).collect()
    };
    assert_eq!(priorities(&hub).iter().sum::<i64>(), 7 + 7 - 6, "{}", hub.report());
    // Once with a checkpoint, which has the states, and once without, from the envelopes and the journal.
    hub.stop();
    hub.start();
    hub.kill();
    hub.start();
    assert_eq!(priorities(&hub).iter().sum::<i64>(), 7 + 7 - 6, "{}", hub.report());
    watch("nobody has asked", WHILE, || ship.count() == 0);
    let mut asks = hub.talk();
    asks.want("EHLO ship.example", 250);
    let told = asks.want("ETRN ship.example", 253);
    assert!(told.text().contains(" 6 pending"), "the film is not promised: {told}");
    ship.wait(6, SOON);
    assert_eq!(subjects(&ship), order, "{}", hub.report());
    assert_eq!(
        mail_lines(&ship),
        [
            "MAIL FROM:<a@origin.example> MT-PRIORITY=7",
            "MAIL FROM:<a@origin.example> MT-PRIORITY=7",
            "MAIL FROM:<a@origin.example> MT-PRIORITY=0",
            "MAIL FROM:<a@origin.example>",
            "MAIL FROM:<a@origin.example>",
            "MAIL FROM:<a@origin.example> MT-PRIORITY=-6",
        ]
    );
    let first = String::from_utf8_lossy(&ship.arrived()[0].content).into_owned();
    assert!(first.contains("priority 7;"), "{first}");
    hub.wait_for_waiting(Some("tcp_ship"), 1, SOON);
    let rows = hub.json(&["queue", "list"]);
    assert_eq!((&rows[0]["state"], &rows[0]["transfer_priority"]), (&"deferred".into(), &9.into()));
    let shown = hub.json(&["queue", "show", rows[0]["id"].as_str().unwrap()]);
    assert_eq!((&shown[0]["priority"], &shown[0]["transfer_priority"]), (&"urgent".into(), &9.into()));
    watch("nor does the film go", WHILE, || ship.count() == 6);
}

#[test]
fn a_notice_goes_as_soon_as_what_it_is_about_and_only_those_who_offer_it_are_told() {
    let (far, plain, origin) = (Sink::start(), Sink::start(), Sink::start());
    let keywords: Vec<String> = ["PIPELINING", "SIZE", "MT-PRIORITY"].map(str::to_owned).to_vec();
    far.behave(Manner {
        keywords: keywords.clone(),
        recipient: Some(("nobody".to_owned(), "550 5.1.1 nobody of that name".to_owned())),
        ..Manner::default()
    });
    origin.behave(Manner { keywords, ..Manner::default() });
    let silent = Destination {
        keywords: "nomtpriorities",
        ..Destination::direct("tcp_silent", "silent.example", far.port())
    };
    let mut hub = house(
        "priorities-notice",
        &[
            Destination::direct("tcp_far", "far.example", far.port()),
            Destination::direct("tcp_plain", "plain.example", plain.port()),
            Destination::direct("tcp_origin", "origin.example", origin.port()),
            silent,
        ],
    );
    hub.start();
    let mut client = purser(&hub);
    send(&mut client, "b@plain.example", "not offered", " MT-PRIORITY=5", 100);
    plain.wait(1, SOON);
    assert_eq!(mail_lines(&plain), ["MAIL FROM:<a@origin.example>"]);
    send(&mut client, "b@silent.example", "not passed on", " MT-PRIORITY=5", 100);
    far.wait(1, SOON);
    assert_eq!(mail_lines(&far), ["MAIL FROM:<a@origin.example>"]);
    send(&mut client, "nobody@far.example", "refused", " MT-PRIORITY=5", 100);
    origin.wait(1, SOON);
    assert_eq!(mail_lines(&far)[1], "MAIL FROM:<a@origin.example> MT-PRIORITY=5");
    assert_eq!(mail_lines(&origin), ["MAIL FROM:<> MT-PRIORITY=5"], "{}", hub.report());
}
