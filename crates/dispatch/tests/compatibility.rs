//! Spools that earlier versions have written are read, and what was in them is there.
//!
//! `crates/spool/tests/fixtures/spool-VERSION` is a spool as that version left it after a crash: segments with a body in several
//! parts, journals, checkpoints, envelopes, states and notes. Its bytes never change. How the next one is added is told in
//! `docs/internals/spool-format.md`.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_dispatch::{Act, Acting, Closing, Filter, Standing, ask};
use sluice_mail::{
    Envelope, LaterRelease, Notify, Recipient, RecipientWishes, Return, Time, TransferPriority, Wishes,
};
use sluice_queue::Selector;
use sluice_spool::{EntryId, Later, Look, Options};
use support::{Act as Does, HOUR, House, configuration};

/// A file of a spool that is kept: name, length, CRC-32C.
type Kept = (&'static str, u64, u32);

/// The spools that are kept, and their files.
const KEPT: &[(&str, &[Kept])] = &[
    (
        "spool-0.1",
        &[
            ("checkpoint-0000000002", 720, 0x7afa038e),
            ("checkpoint-0000000003", 776, 0xb021577b),
            ("identity", 40, 0x48674bc7),
            ("journal-0000000003", 8192, 0x06066655),
            ("journal-0000000004", 8192, 0xd07ed636),
            ("segment-0000000001", 16384, 0xca82549d),
            ("segment-0000000002", 16384, 0x5f7f3ce1),
        ],
    ),
    (
        "spool-0.1-b",
        &[
            ("checkpoint-0000000002", 720, 0xfeabf030),
            ("checkpoint-0000000003", 720, 0x02c788c4),
            ("identity", 40, 0x48674bc7),
            ("journal-0000000002", 8192, 0xb14d2a4c),
            ("segment-0000000002", 16384, 0xe1c06e53),
            ("segment-0000000003", 16384, 0xbb98d414),
            ("segment-0000000004", 16384, 0xa0ebe6c8),
            ("spare", 8192, 0x90444623),
        ],
    ),
    (
        "spool-0.1-c",
        &[
            ("checkpoint-0000000002", 720, 0x1087ad24),
            ("checkpoint-0000000003", 720, 0xecebd5d0),
            ("identity", 40, 0x48674bc7),
            ("journal-0000000002", 8192, 0x5b3fe437),
            ("segment-0000000002", 16384, 0x10cae116),
            ("segment-0000000004", 16384, 0xbbcc5c5b),
            ("spare", 8192, 0x90444623),
        ],
    ),
];

/// Small files, so that a spool of a few messages has several.
fn small() -> Options {
    Options {
        segment_size: 16 << 10,
        journal_size: 8 << 10,
        rest: Duration::from_millis(20),
        ..Options::default()
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../spool/tests/fixtures")
}

fn files(folder: &Path) -> Vec<(String, u64, u32)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), bytes.len() as u64, crc32c(&bytes))
        })
        .collect();
    files.sort();
    files
}

/// CRC-32C (Castagnoli), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 },
        )
    })
}

/// The content of the large message: three parts in segments of this size.
fn large() -> Vec<u8> {
    let line = |number: u32| format!("line {number:05} of a body that does not fit into one record\r\n");
    let lines: String = (0..180).map(line).collect();
    format!("Subject: large\r\n\r\n{lines}").into_bytes()
}

fn act(house: &House, act: Act, domain: &str) {
    let filter = Filter { domains: vec![Selector::Host(domain.into())], ..Filter::default() };
    let chosen = house.handle().choose(filter, &mut |_, _| true).unwrap().entries;
    let acting = Acting { act, by: "root".to_owned(), reason: "to be looked at".to_owned() };
    house.handle().act(acting, &chosen, &mut |_, _| true).unwrap();
}

fn plain(house: &House, address: &str) -> Envelope {
    let domain = address.split_once('@').unwrap().1;
    Envelope {
        sender: "sender@there.example".to_owned(),
        arrived: house.clock_now(),
        source_channel: "tcp_local".to_owned(),
        priority: sluice_mail::Priority::Normal,
        eight_bit: false,
        smtputf8: false,
        held: false,
        hold_reason: String::new(),
        deferred_until: None,
        wishes: Wishes::default(),
        recipients: vec![Recipient {
            address: address.to_owned(),
            original: address.to_owned(),
            channel: "tcp_slow".to_owned(),
            domain: domain.to_owned(),
            ..Recipient::default()
        }],
    }
}

/// On hold from the beginning, with all that MAIL can say of it.
fn urgent(house: &House) -> Envelope {
    Envelope {
        held: true,
        wishes: Wishes {
            returned: Some(Return::Headers),
            envelope_id: "id7".to_owned(),
            later: Some(LaterRelease::For(3600)),
            priority: TransferPriority::new(6),
        },
        deferred_until: Some(house.clock_now().plus(HOUR)),
        ..plain(house, "urgent@urgent.example")
    }
}

/// What this version leaves of some mail when it is killed.
fn written() -> House {
    let mut house = House::in_folder(
        tempfile::tempdir().unwrap(),
        configuration(&[("tcp_slow", "deferred")], ""),
        small(),
    );
    house.act("tcp_local", Does::Defer);
    house.act("later@there.example", Does::Defer);
    house.act("now@there.example", Does::Deliver);
    // Two of three are put off, and a copy waits for a release.
    house.send(&[
        "tcp_local!now@there.example",
        "tcp_local!later@there.example",
        "tcp_local!last@there.example",
        "tcp_slow!pat@slow.example",
    ]);
    // What was put off while another got it is tried once more at once.
    house.wait(|| house.got().len() == 2 && house.open_leases() == 0, || format!("{}", house.got().len()));
    house.send(&["tcp_slow!held@held.example"]);
    act(&house, Act::Hold, "held.example");
    // One that is over, and its release.
    house.send(&["tcp_slow!gone@gone.example"]);
    house.etrn("gone.example");
    house.wait(
        || !house.queue().iter().any(|row| row.contains("gone.example")),
        || format!("{:?}", house.queue()),
    );
    house.restart();
    // All below is in no checkpoint.
    let recipient = |address: &str| Recipient {
        address: address.to_owned(),
        original: "given@alias.example".to_owned(),
        channel: "tcp_slow".to_owned(),
        domain: "slow.example".to_owned(),
        wishes: RecipientWishes { notify: Notify::FAILURE, original: "rfc822;old@alias.example".to_owned() },
    };
    let envelope = Envelope {
        hold_reason: String::new(),
        sender: String::new(),
        arrived: house.clock_now(),
        source_channel: "tcp_local".to_owned(),
        priority: sluice_mail::Priority::Urgent,
        eight_bit: true,
        smtputf8: true,
        held: false,
        deferred_until: Some(house.clock_now().plus(9 * HOUR)),
        wishes: Wishes { envelope_id: "QQ+2B1".to_owned(), ..Wishes::default() },
        recipients: vec![recipient("wünsch@slow.example")],
    };
    house.submit_content(envelope, large());
    let stop = Closing::Stop(vec!["tcp_called".to_owned()]);
    ask(|done| house.handle().close(stop, done)).unwrap().unwrap();
    let suspend = Closing::Suspend {
        domain: "away.example".to_owned(),
        below: true,
        time: None,
        reason: "they move".to_owned(),
    };
    ask(|done| house.handle().close(suspend, done)).unwrap().unwrap();
    house.send(&["tcp_slow!last@slow.example"]);
    // One that a filter has put on hold, and says why.
    let filtered = Envelope {
        held: true,
        hold_reason: "the filter has its doubts".to_owned(),
        ..plain(&house, "filtered@filtered.example")
    };
    house.submit_content(filtered, b"Subject: filtered\r\n\r\n".to_vec());
    // What is left of a segment is copied forward: the large ones go, and with them most of where the urgent one is.
    house.submit_content(plain(&house, "first@moved.example"), large());
    let urgent = house.submit_content(urgent(&house), b"Subject: urgent\r\n\r\n".to_vec());
    let place = |house: &House| {
        let look = Look::at(house.folder(), Later::Refuse).ok()?;
        look.recovered().entries.iter().find(|live| live.id == urgent).map(|live| live.at)
    };
    let first = place(&house).unwrap();
    house.submit_content(plain(&house, "second@moved.example"), large());
    house.etrn("moved.example");
    house.wait(
        || !house.queue().iter().any(|row| row.contains("moved.example")),
        || format!("{:?}", house.queue()),
    );
    house.wait(
        || place(&house).is_some_and(|at| at != first),
        || format!("{:?}", house.handle().spool().stats()),
    );
    house.sync_journal();
    house
}

/// The message with a priority and other wishes, on hold from the beginning.
fn is_urgent_read(house: &House, name: &str) {
    let list = house.list();
    let urgent = list.iter().find(|view| *view.domain == *"urgent.example").expect(name);
    assert_eq!(
        (urgent.priority, Standing::from(urgent.state)),
        (TransferPriority::new(6).unwrap(), Standing::Held)
    );
    let envelope = house.handle().envelope(urgent).unwrap().unwrap();
    let wishes = Wishes {
        returned: Some(Return::Headers),
        envelope_id: "id7".to_owned(),
        later: Some(LaterRelease::For(3600)),
        priority: TransferPriority::new(6),
    };
    assert_eq!((envelope.wishes, envelope.held), (wishes, true), "{name}");
    let stored = house.handle().spool().read(urgent.at).unwrap();
    assert_eq!(stored.pieces().collect::<Vec<_>>().concat(), b"Subject: urgent\r\n\r\n", "{name}");
    assert!(urgent.at.segment > 2, "{name}: it was copied forward: {:?}", urgent.at);
}

/// Starts this version on a copy of the folder and looks for everything that [`written`] has left.
fn is_read(folder: &Path, name: &str) {
    let copy = tempfile::tempdir().unwrap();
    for (file, _, _) in files(folder) {
        fs::copy(folder.join(&file), copy.path().join(&file)).unwrap();
    }
    let loss = Look::at(copy.path(), Later::Refuse).unwrap().verify(&mut |_, _| {}).unwrap();
    assert!(loss.flaws.is_empty() && loss.lost.is_empty(), "{name}: {loss:?}");
    let house = House::in_folder(copy, configuration(&[("tcp_slow", "deferred")], ""), small());
    let begun = Time(1_790_000_000_000);
    // What the first fixture has not: a priority and other wishes of MAIL, and a message that was copied forward.
    let has_more = name != "spool-0.1";
    let mut queue =
        vec!["tcp_local/there.example 1", "tcp_slow/held.example 1 held 1", "tcp_slow/slow.example 3"];
    queue.extend(has_more.then_some("tcp_slow/urgent.example 1 held 1"));
    // What the second has not: a reason for a hold.
    let has_reason = has_more && name != "spool-0.1-b";
    if has_reason {
        queue.insert(1, "tcp_slow/filtered.example 1 held 1");
    }
    assert_eq!(house.queue(), queue, "{name}");
    if has_reason {
        let list = house.list();
        let filtered = list.iter().find(|view| *view.domain == *"filtered.example").expect(name);
        let envelope = house.handle().envelope(filtered).unwrap().unwrap();
        assert_eq!(
            (envelope.held, envelope.hold_reason.as_str()),
            (true, "the filter has its doubts"),
            "{name}"
        );
    }
    if has_more {
        is_urgent_read(&house, name);
    }
    let list = house.list();
    let row = |domain: &str, state: Standing| {
        let found = list.iter().filter(|view| *view.domain == *domain && Standing::from(view.state) == state);
        found.cloned().collect::<Vec<_>>()
    };
    // What was delivered to one is open for two, tried twice, and says why.
    let there = row("there.example", Standing::Waiting).remove(0);
    assert_eq!((there.id, there.attempts, there.arrived), (EntryId(1), 2, begun), "{name}");
    let (sender, open) = house.handle().details(&there).unwrap().unwrap();
    assert_eq!(
        (sender.as_str(), open),
        ("sender@there.example", vec!["later@there.example".into(), "last@there.example".into()])
    );
    assert!(there.due.is_some_and(|due| due > begun), "{there:?}");
    let details = house.handle().show(there.id).unwrap();
    let error = details.iter().find_map(|entry| entry.error.as_ref()).expect(name);
    assert_eq!(
        (error.0, error.1.text.as_str(), error.1.peer.as_str()),
        (begun, "450 not now", "peer.example"),
        "{name}"
    );
    // What the sender wants later, with everything else that an envelope has; and its body, octet by octet.
    let later = row("slow.example", Standing::Deferred).remove(0);
    let envelope = house.handle().envelope(&later).unwrap().unwrap();
    assert_eq!(
        (later.due, envelope.deferred_until),
        (Some(begun.plus(9 * HOUR)), Some(begun.plus(9 * HOUR))),
        "{name}"
    );
    assert_eq!((envelope.sender.as_str(), envelope.wishes.envelope_id.as_str()), ("", "QQ+2B1"), "{name}");
    assert!(
        envelope.eight_bit && envelope.smtputf8 && envelope.priority == sluice_mail::Priority::Urgent,
        "{name}"
    );
    let recipient = &envelope.recipients[0];
    assert_eq!(
        (recipient.address.as_str(), recipient.original.as_str()),
        ("wünsch@slow.example", "given@alias.example")
    );
    assert_eq!(
        (recipient.wishes.notify, recipient.wishes.original.as_str()),
        (Notify::FAILURE, "rfc822;old@alias.example")
    );
    let stored = house.handle().spool().read(later.at).unwrap();
    assert_eq!(stored.pieces().collect::<Vec<_>>().concat(), large(), "{name}");
    assert!(stored.pieces().len() >= 3, "{name}");
    // Notes: what is closed, and the record of a release.
    assert_eq!(house.channel("tcp_called").status.to_string(), "stopped", "{name}");
    let suspended = ask(|done| house.handle().suspensions(done)).unwrap();
    let suspended: Vec<_> = suspended
        .iter()
        .map(|row| (row.name.as_str(), row.suspension.as_ref().map_or("", |one| one.reason.as_str())))
        .collect();
    assert_eq!(suspended, [("@away.example", "they move")], "{name}");
    let releases = ask(|done| house.handle().releases(None, 10, done)).unwrap();
    let known: Vec<_> =
        releases.iter().map(|one| (one.covers.as_str(), one.tally.delivered.messages)).collect();
    let expected = [("moved.example", 2), ("gone.example", 1)];
    assert_eq!(known, expected[usize::from(!has_more)..], "{name}");
    // And it goes on: new ids are new, and mail that waited is delivered.
    let last = list.iter().map(|view| view.id).max().unwrap();
    assert!(house.send(&["tcp_slow!new@slow.example"]) > last, "{name}");
    house.pass(Duration::from_millis(1));
    house.etrn("slow.example");
    house.wait(|| house.got().len() >= 3, || format!("{name}: {:?}", house.queue()));
    assert!(
        house.queue().contains(&"tcp_slow/held.example 1 held 1".to_owned()),
        "{name}: {:?}",
        house.queue()
    );
}

#[test]
fn what_this_version_writes_it_reads_and_a_new_fixture_is_made_of_it() {
    let copy = tempfile::tempdir().unwrap();
    let house = written();
    house.copy_to(copy.path());
    drop(house);
    fs::remove_file(copy.path().join("lock")).unwrap();
    is_read(copy.path(), "this version");
    let Some(name) = std::env::var_os("NEW_SPOOL_FIXTURE") else { return };
    let to = fixtures().join(name);
    fs::create_dir_all(fixtures()).unwrap();
    fs::create_dir(&to).expect("a fixture is never written again");
    for (file, length, crc) in files(copy.path()) {
        fs::copy(copy.path().join(&file), to.join(&file)).unwrap();
        println!("(\"{file}\", {length}, {crc:#010x}),");
    }
}

#[test]
fn what_earlier_versions_wrote_is_read() {
    assert!(!KEPT.is_empty());
    for (name, _) in KEPT {
        is_read(&fixtures().join(name), name);
    }
}

#[test]
fn fixtures_are_as_they_were_written() {
    let kept: Vec<&str> = KEPT.iter().map(|(name, _)| *name).collect();
    let mut there: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, kept, "each has its row in KEPT");
    for (name, expected) in KEPT {
        let expected: Vec<_> =
            expected.iter().map(|&(file, length, crc)| (file.to_owned(), length, crc)).collect();
        assert_eq!(files(&fixtures().join(name)), expected, "{name} was changed; put it back");
    }
}
