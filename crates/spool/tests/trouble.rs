//! The spool when the world fails: full disks, failed syncs, other processes, other releases, callers in a hurry.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use sluice_spool::testing::{CrashStorage, Operation};
use sluice_spool::{
    Disk, Durability, EntryId, Health, Location, OpenError, Options, ReadError, SealError, Spool,
};
use support::{Random, body, bytes, commit, contents, open, open_on, remove, set_state, small, wait};

/// A spool on a disk that can be made to fail.
fn failing(folder: &Path) -> (Spool, CrashStorage) {
    let storage = CrashStorage::new(folder).unwrap();
    let (spool, _) = open_on(Arc::new(storage.clone())).unwrap();
    (spool, storage)
}

/// Waits for a condition, with a deadline.
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}

#[test]
fn a_failed_sync_refuses_the_batch_for_ever_and_the_next_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, storage) = failing(folder.path());
    let (good, good_at) = commit(&spool, b"good", &[b"1"]).unwrap();
    storage.fail(Operation::Sync, 0, 1, ErrorKind::Other);
    match commit(&spool, b"refused", &[b"2"]) {
        Err(SealError::Sync { path, .. }) => assert!(path.ends_with("segment-0000000001"), "{path:?}"),
        other => panic!("{other:?}"),
    }
    let (after, after_at) = commit(&spool, b"after", &[b"3"]).unwrap();
    assert_ne!(after_at.segment, good_at.segment, "the segment is not trusted again");
    assert_eq!(spool.health(), Health::Ok);
    assert_eq!(body(&spool.read(good_at).unwrap()), b"1");
    spool.close();
    // The refused message is whole in the file, and yet it must not come back: its sender was told to try again.
    let (spool, recovered) = open(folder.path());
    assert_eq!(contents(&spool, &recovered).keys().copied().collect::<Vec<_>>(), [good, after]);
    assert!(recovered.quarantined.is_empty());
}

#[test]
fn a_draft_that_lost_a_chunk_is_refused_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, storage) = failing(folder.path());
    let mut draft = spool.draft();
    wait(|done| draft.chunk(bytes(1, 500), done)).unwrap();
    storage.fail(Operation::Sync, 0, 1, ErrorKind::Other);
    commit(&spool, b"other", &[b""]).unwrap_err();
    let id = draft.id();
    match wait(|done| draft.commit(b"e".to_vec(), b"t".to_vec(), done)) {
        Err(SealError::Broken { id: broken }) => assert_eq!(broken, id),
        other => panic!("{other:?}"),
    }
    commit(&spool, b"next", &[&bytes(2, 500), b"t"]).unwrap();
}

#[test]
fn a_full_disk_refuses_new_mail_keeps_the_old_and_mends_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, storage) = failing(folder.path());
    let (old, old_at) = commit(&spool, b"old", &[&bytes(1, 2000)]).unwrap();
    storage.fail(Operation::Create, 0, u64::MAX, ErrorKind::StorageFull);
    let refused =
        (0..20).find_map(|n| commit(&spool, b"new", &[&bytes(n, 2000)]).err()).expect("it gets full");
    assert!(refused.is_full(), "{refused}");
    assert_eq!(spool.health(), Health::Full);
    assert_eq!(body(&spool.read(old_at).unwrap()), bytes(1, 2000));
    storage.mend();
    until("the spool notices by itself", || spool.health() == Health::Ok);
    let (new, _) = commit(&spool, b"new", &[&bytes(3, 2000)]).unwrap();
    spool.close();
    let (spool, recovered) = open(folder.path());
    let found = contents(&spool, &recovered);
    assert!(found.contains_key(&old) && found.contains_key(&new));
}

#[test]
fn on_a_disk_that_mail_has_filled_the_settled_go_and_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, storage) = failing(folder.path());
    let first: Vec<_> = (0..3).map(|n| commit(&spool, b"e", &[&bytes(n, 2000)]).unwrap()).collect();
    while names(folder.path(), "segment").len() < 2 {
        commit(&spool, b"e", &[&bytes(9, 2000)]).unwrap();
    }
    // From here on there is no room for any file, and so far nothing was settled.
    storage.fail(Operation::Create, 0, u64::MAX, ErrorKind::StorageFull);
    for (id, at) in first {
        remove(&spool, id, at).unwrap();
    }
    until("the first segment goes", || names(folder.path(), "segment") == ["segment-0000000002"]);
}

#[test]
fn a_start_on_a_full_disk_has_room_kept_to_write_down_what_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, storage) = failing(folder.path());
    let sent: Vec<_> = (0..20).map(|n| commit(&spool, b"e", &[&bytes(n, 2000)]).unwrap()).collect();
    spool.close();
    assert_eq!(names(folder.path(), "spare"), ["spare"]);
    // With the smallest files there is one size of a journal only, and it finds no room.
    let (spool, recovered) = open_on(Arc::new(storage.clone())).unwrap();
    assert!(recovered.foreign.is_empty(), "{:?}", recovered.foreign);
    assert_eq!(recovered.entries.len(), 20);
    storage.fail(Operation::Create, 0, 1, ErrorKind::StorageFull);
    for (id, at) in sent {
        remove(&spool, id, at).unwrap();
    }
    until("all segments go", || names(folder.path(), "segment").is_empty());
    assert_eq!(spool.health(), Health::Ok);
    // There is room again, and some is kept.
    for n in 0..20 {
        let (id, at) = commit(&spool, b"e", &[&bytes(n, 2000)]).unwrap();
        for state in 0..10 {
            set_state(&spool, id, at, &[state; 100]).unwrap();
        }
    }
    assert_eq!(names(folder.path(), "spare"), ["spare"]);
}

#[test]
fn a_segment_that_is_gone_is_named_by_the_states_of_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let sent: Vec<_> = (0..8).map(|n| commit(&spool, b"e", &[&bytes(n, 3000)]).unwrap()).collect();
    for (id, at) in &sent {
        set_state(&spool, *id, *at, b"s").unwrap();
    }
    let first = sent[0].1.segment;
    let (gone, there): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(_, at)| at.segment == first);
    // One of them is settled, and no loss.
    remove(&spool, gone[0].0, gone[0].1).unwrap();
    spool.close();
    std::fs::remove_file(folder.path().join(format!("segment-{first:010}"))).unwrap();
    let (spool, recovered) = open(folder.path());
    let ids = |list: &[(EntryId, Location)]| list.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    let named: Vec<EntryId> = recovered.quarantined.iter().filter_map(|damage| damage.entry).collect();
    assert_eq!(named, ids(&gone[1..]), "{:?}", recovered.quarantined);
    assert_eq!(contents(&spool, &recovered).into_keys().collect::<Vec<_>>(), ids(&there));
}

#[test]
fn where_the_usual_file_finds_no_room_a_smaller_one_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let storage = CrashStorage::new(folder.path()).unwrap();
    let options = Options { segment_size: 128 << 10, journal_size: 64 << 10, ..small() };
    let (spool, _) = Spool::open(Arc::new(storage.clone()), options.clone()).unwrap();
    // The usual journal and the next smaller one, then (the fault behind sees only what the first lets pass: the smallest
    // journal, and the room that is kept for another) the usual segment.
    storage.fail(Operation::Create, 0, 2, ErrorKind::StorageFull);
    storage.fail(Operation::Create, 2, 1, ErrorKind::StorageFull);
    let (id, at) = commit(&spool, b"e", &[&bytes(1, 2000)]).unwrap();
    set_state(&spool, id, at, b"s").unwrap();
    assert_eq!(spool.health(), Health::Ok);
    let len = |kind| {
        let name = names(folder.path(), kind).pop().unwrap();
        std::fs::metadata(folder.path().join(name)).unwrap().len()
    };
    assert_eq!((len("journal"), len("segment")), (4 << 10, 32 << 10));
    // A state that the small journal has no room for finds another file.
    set_state(&spool, id, at, &bytes(2, 20_000)).unwrap();
    assert_eq!(len("journal"), 64 << 10);
    spool.close();
    let (spool, recovered) = Spool::open(Arc::new(storage), options).unwrap();
    assert!(recovered.quarantined.is_empty());
    assert_eq!(contents(&spool, &recovered)[&id], (b"e".to_vec(), bytes(1, 2000), Some(bytes(2, 20_000))));
}

#[test]
fn transitions_wait_in_memory_while_the_journal_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, storage) = failing(folder.path());
    let (a, a_at) = commit(&spool, b"a", &[b"a"]).unwrap();
    let (b, b_at) = commit(&spool, b"b", &[b"b"]).unwrap();
    set_state(&spool, a, a_at, b"before").unwrap();
    storage.fail(Operation::Sync, 0, u64::MAX, ErrorKind::Other);
    assert!(matches!(set_state(&spool, a, a_at, b"meanwhile 1"), Err(SealError::Sync { .. })));
    assert!(matches!(spool.health(), Health::Failing { what } if what.contains("journal-0000000001")));
    for n in 0..100u8 {
        let _ = set_state(&spool, a, a_at, &[n]);
    }
    spool.note(b"noted".to_vec(), Durability::Lazy, None);
    let _ = remove(&spool, b, b_at);
    let waiting = spool.stats().transitions_waiting;
    assert!(waiting < 50, "{waiting}: only the last word on an entry is kept");
    assert_eq!(names(folder.path(), "segment").len(), 1, "nothing goes while removals are not durable");
    storage.mend();
    until("the journal works again", || spool.health() == Health::Ok);
    spool.close();
    let (spool, recovered) = open(folder.path());
    let found = contents(&spool, &recovered);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [a]);
    assert_eq!(found[&a].2, Some(vec![99]));
    assert_eq!(recovered.notes, [b"noted".to_vec()], "once, though it was written to several journals");
}

#[test]
fn a_note_whose_sync_failed_comes_back_once() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, storage) = failing(folder.path());
    let note = |text: &[u8]| wait(|done| spool.note(text.to_vec(), Durability::Sync, Some(done)));
    note(b"before").unwrap();
    storage.fail(Operation::Sync, 0, 1, ErrorKind::Other);
    note(b"written twice").unwrap_err();
    until("the journal works again", || spool.health() == Health::Ok);
    note(b"after").unwrap();
    spool.close();
    assert_eq!(names(folder.path(), "journal").len(), 2);
    let (_spool, recovered) = open(folder.path());
    assert_eq!(recovered.notes, [b"before".to_vec(), b"written twice".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_checkpoint_that_fails_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, storage) = failing(folder.path());
    let (id, at) = commit(&spool, b"a", &[b"a"]).unwrap();
    set_state(&spool, id, at, b"s").unwrap();
    for operation in [Operation::Create, Operation::Write, Operation::Rename] {
        let journalled = spool.journal_bytes_since_checkpoint();
        storage.fail(operation, 0, 1, ErrorKind::StorageFull);
        spool.checkpoint([(id, at, b"s")], [b""; 0]).unwrap_err();
        assert_eq!(spool.journal_bytes_since_checkpoint(), journalled);
    }
    assert!(names(folder.path(), "checkpoint").is_empty());
    spool.checkpoint([(id, at, b"s")], [b""; 0]).unwrap();
    let cut = spool.cut().unwrap();
    assert!(spool.cut().is_err(), "one at a time");
    drop(cut);
    spool.cut().unwrap();
}

#[test]
fn checkpoints_drop_old_journals_and_segments_drop_when_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let mut entries = Vec::new();
    for round in 0..6 {
        for n in 0..10 {
            let (id, at) = commit(&spool, b"e", &[&bytes(n, 2000)]).unwrap();
            set_state(&spool, id, at, &bytes(n, 300)).unwrap();
            entries.push((id, at));
        }
        spool.checkpoint(entries.iter().map(|(id, at)| (*id, *at, [round])), [b""; 0]).unwrap();
    }
    assert_eq!(names(folder.path(), "checkpoint").len(), 2);
    assert!(names(folder.path(), "journal").len() <= 2, "{:?}", names(folder.path(), "journal"));
    assert!(names(folder.path(), "segment").len() >= 15);
    let stored = spool.read(entries[0].1).unwrap();
    for (id, at) in &entries {
        remove(&spool, *id, *at).unwrap();
    }
    until("settled segments go", || names(folder.path(), "segment").len() == 1);
    assert_eq!(body(&stored), bytes(0, 2000), "a message that is held stays readable");
    assert!(matches!(spool.read(entries[0].1), Err(ReadError::Missing { .. })));
}

#[test]
fn a_segment_stays_for_a_draft_and_for_chunks_of_a_live_message() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let mut draft = spool.draft();
    wait(|done| draft.chunk(bytes(1, 1500), done)).unwrap();
    for n in 0..10 {
        let (id, at) = commit(&spool, b"e", &[&bytes(n, 2000)]).unwrap();
        remove(&spool, id, at).unwrap();
    }
    assert!(names(folder.path(), "segment").contains(&"segment-0000000001".to_owned()));
    let id = draft.id();
    let at = wait(|done| draft.commit(b"late".to_vec(), b"!".to_vec(), done)).unwrap();
    assert!(at.segment > 1);
    let (other, other_at) = commit(&spool, b"e", &[b""]).unwrap();
    remove(&spool, other, other_at).unwrap();
    assert_eq!(body(&spool.read(at).unwrap()), [bytes(1, 1500), b"!".to_vec()].concat());
    spool.checkpoint([(id, at, b"s")], [b""; 0]).unwrap();
    spool.close();
    let (spool, recovered) = open(folder.path());
    assert_eq!(contents(&spool, &recovered)[&id].1.len(), 1501);
    remove(&spool, id, at).unwrap();
    until("all segments go", || names(folder.path(), "segment").is_empty());
}

#[test]
fn a_second_opener_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let error = open_on(Arc::new(Disk::open(folder.path()).unwrap())).err().unwrap();
    let text = error.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(matches!(error, OpenError::InUse { .. }));
    let clone = spool.clone();
    spool.close();
    open(folder.path());
    assert!(matches!(commit(&clone, b"e", &[b""]), Err(SealError::Closed)));
    assert!(matches!(clone.cut().err(), Some(sluice_spool::CheckpointError::Closed)));
}

#[test]
fn a_folder_that_cannot_be_locked_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lock")).unwrap();
    let error = open_on(Arc::new(Disk::open(folder.path()).unwrap())).err().unwrap();
    assert!(matches!(error, OpenError::Lock { .. }), "{error}");
    assert!(Disk::open(folder.path().join("lock/../lock")).is_ok());
    std::fs::write(folder.path().join("file"), b"").unwrap();
    assert!(Disk::open(folder.path().join("file")).is_err());
}

#[test]
fn a_disk_that_takes_nothing_still_gives_out_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (id, at) = commit(&spool, b"e", &[b"b"]).unwrap();
    spool.close();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.fail(Operation::Create, 0, u64::MAX, ErrorKind::StorageFull);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    assert_eq!(recovered.entries.len(), 1);
    assert_eq!(spool.read(at).unwrap().id(), id);
    assert!(commit(&spool, b"e", &[b"b"]).unwrap_err().is_full());
}

#[test]
fn sizes_that_cannot_work_are_refused_with_those_that_can() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(Disk::open(folder.path()).unwrap());
    for options in [
        Options { segment_size: 1000, ..small() },
        Options { segment_size: 8193, ..small() },
        Options { journal_size: 1 << 40, ..small() },
        Options { queue_length: 0, ..small() },
    ] {
        let error = Spool::open(Arc::clone(&storage) as _, options).err().unwrap();
        assert!(matches!(error, OpenError::Options { .. }), "{error}");
    }
    assert!(names(folder.path(), "").is_empty(), "nothing was touched");
}

#[test]
fn what_can_never_fit_is_refused_as_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let too_large = commit(&spool, &bytes(1, 9000), &[b"b"]);
    assert!(matches!(too_large, Err(SealError::TooLarge { limit: 8152, .. })), "{too_large:?}");
    let (id, at) = commit(&spool, &bytes(1, 7000), &[&bytes(2, 30_000)]).unwrap();
    assert_eq!(body(&spool.read(at).unwrap()), bytes(2, 30_000));
    let too_large = set_state(&spool, id, at, &bytes(1, 5000));
    assert!(matches!(too_large, Err(SealError::TooLarge { .. })), "{too_large:?}");
    set_state(&spool, id, at, &bytes(1, 4000)).unwrap();
}

#[test]
fn any_location_may_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (_, at) = commit(&spool, b"e", &[&bytes(1, 900), b"t"]).unwrap();
    for offset in (0..9000).chain([u32::MAX, u32::MAX - 7]) {
        let asked = Location { offset, ..at };
        match spool.read(asked) {
            Ok(_) => assert_eq!(asked, at),
            Err(ReadError::Missing { .. } | ReadError::Damaged { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(matches!(spool.read(Location { segment: 99, ..at }), Err(ReadError::Missing { .. })));
}

#[test]
fn transitions_of_what_is_not_there_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (id, at) = commit(&spool, b"e", &[b"b"]).unwrap();
    let elsewhere = Location { segment: 77, offset: 40 };
    remove(&spool, id, elsewhere).unwrap();
    remove(&spool, EntryId(999), at).unwrap();
    set_state(&spool, EntryId(999), at, b"s").unwrap();
    set_state(&spool, id, at, b"s").unwrap();
    spool.close();
    let (spool, recovered) = open(folder.path());
    assert_eq!(contents(&spool, &recovered)[&id].2, Some(b"s".to_vec()));
    remove(&spool, id, at).unwrap();
    remove(&spool, id, at).unwrap();
    set_state(&spool, id, at, b"too late").unwrap();
    spool.close();
    assert!(open(folder.path()).1.entries.is_empty());
}

/// Keeps the writer in a callback until the sender is dropped.
fn hold_up(spool: &Spool) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (here, arrived) = mpsc::channel();
    spool.note(
        Vec::new(),
        Durability::Sync,
        Some(Box::new(move |_| {
            here.send(()).unwrap();
            let _ = held.recv();
        })),
    );
    arrived.recv_timeout(Duration::from_secs(20)).unwrap();
    release
}

#[test]
fn all_that_waits_is_one_group_with_one_sync() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    commit(&spool, b"opens the segment", &[b""]).unwrap();
    let before = spool.stats();
    let release = hold_up(&spool);
    let (sender, receiver) = mpsc::channel();
    for n in 0..50u8 {
        let sender = sender.clone();
        spool.draft().commit(vec![n], vec![n; 20], move |told| sender.send(told).unwrap());
    }
    drop(release);
    for _ in 0..50 {
        receiver.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    }
    let after = spool.stats();
    assert_eq!((after.commits - before.commits, after.syncs - before.syncs), (50, 1));
}

#[test]
fn a_full_queue_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let release = hold_up(&spool);
    let (sender, receiver) = mpsc::channel();
    for n in 0..100u8 {
        let sender = sender.clone();
        spool.draft().commit(vec![n], Vec::new(), move |told| sender.send(told).unwrap());
    }
    drop(release);
    let told: Vec<_> = (0..100).map(|_| receiver.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 64);
    assert_eq!(told.iter().filter(|told| matches!(told, Err(SealError::Busy))).count(), 36);
}

#[test]
fn a_callback_that_panics_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    spool.draft().commit(b"e".to_vec(), Vec::new(), |_| panic!("on purpose"));
    commit(&spool, b"e", &[b""]).unwrap();
    assert_eq!(spool.stats().commits, 2);
}

#[test]
fn every_callback_is_called_also_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(5);
    for _ in 0..20 {
        let (spool, _) = open(folder.path());
        let (sender, receiver) = mpsc::channel();
        let clone = spool.clone();
        let count = 30 + random.below(30);
        let thread = std::thread::spawn(move || {
            for _ in 0..count {
                let told = sender.clone();
                clone.draft().commit(Vec::new(), Vec::new(), move |_| told.send(()).unwrap());
                let told = sender.clone();
                clone.note(Vec::new(), Durability::Lazy, Some(Box::new(move |_| told.send(()).unwrap())));
            }
        });
        spool.close();
        thread.join().unwrap();
        for _ in 0..count * 2 {
            receiver.recv_timeout(Duration::from_secs(20)).expect("each callback is called");
        }
        assert!(receiver.recv_timeout(Duration::from_secs(1)).is_err(), "and only once");
    }
}

#[test]
fn the_last_handle_may_go_in_a_callback() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (sender, receiver) = mpsc::channel();
    let inside = spool.clone();
    spool.draft().commit(b"e".to_vec(), Vec::new(), move |told| {
        drop(inside);
        sender.send(told).unwrap();
    });
    drop(spool);
    receiver.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    until("the lock is given back", || open_on(Arc::new(Disk::open(folder.path()).unwrap())).is_ok());
}

#[test]
fn ids_are_never_given_twice_even_when_nothing_came_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut last = EntryId(0);
    for _ in 0..4 {
        let (spool, _) = open(folder.path());
        for _ in 0..3 {
            let id = spool.draft().id();
            assert!(id > last);
            last = id;
        }
        drop(spool);
    }
}

#[test]
fn the_room_for_a_journal_is_not_given_up_for_what_does_not_fit_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { segment_size: 1 << 20, journal_size: 1 << 20, ..small() };
    let (spool, _) = Spool::open(Arc::new(Disk::open(folder.path()).unwrap()), options.clone()).unwrap();
    let (id, at) = commit(&spool, b"e", &[b"b"]).unwrap();
    spool.close();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.fail(Operation::Create, 0, u64::MAX, ErrorKind::StorageFull);
    let (spool, _) = Spool::open(Arc::new(storage), options).unwrap();
    spool.set_state(id, at, bytes(1, 70_000), Durability::Sync, None);
    until("the journal finds no room", || spool.health() == Health::Full);
    assert_eq!(names(folder.path(), "spare"), ["spare"]);
}
