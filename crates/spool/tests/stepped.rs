//! A spool whose writer has no thread: what is asked for happens in the turns that a test takes, at the test's times.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_spool::testing::{CrashStorage, Loss, Operation, Steps};
use sluice_spool::{Durability, EntryId, Health, Location, Options, Spool, Storage};

fn open(disk: &CrashStorage, now: Instant) -> (Spool, Steps, usize) {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    // Nothing is moved, so that nothing else is due.
    let options =
        Options { segment_size: 64 << 10, journal_size: 8 << 10, rest: Duration::MAX, ..Options::default() };
    let (spool, steps, recovered) = Steps::open(storage, options, now).unwrap();
    (spool, steps, recovered.entries.len())
}

#[test]
fn nothing_happens_between_turns_and_what_is_lazy_waits_its_time() {
    let (folder, later) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let disk = CrashStorage::new(folder.path()).unwrap();
    let begun = Instant::now();
    let (spool, steps, _) = open(&disk, begun);
    let told = Arc::new(Mutex::new(Vec::new()));
    let draft = spool.draft();
    let id = draft.id();
    let teller = Arc::clone(&told);
    draft.commit(b"envelope".to_vec(), b"body".to_vec(), move |result| {
        teller.lock().unwrap().push(result.unwrap());
    });
    assert!(told.lock().unwrap().is_empty(), "the writer has had no turn");
    assert_eq!(steps.due(), Some(begun), "somebody waits");
    steps.turn(begun);
    let at = told.lock().unwrap()[0];
    assert_eq!(steps.due(), None);
    spool.set_state(id, at, b"state".to_vec(), Durability::Lazy, None);
    steps.turn(begun);
    let lazy = begun + Options::default().lazy_delay;
    assert_eq!(steps.due(), Some(lazy));
    steps.turn(lazy - Duration::from_millis(1));
    assert_eq!(spool.stats().transitions_waiting, 1);
    steps.turn(lazy);
    assert_eq!(spool.stats().transitions_waiting, 0);
    disk.survivors(Loss::Unsynced, later.path()).unwrap();
    let (_, _, found) = open(&CrashStorage::new(later.path()).unwrap(), begun);
    assert_eq!(found, 1);
}

#[test]
fn a_cut_and_a_close_take_the_turn_that_they_wait_for() {
    let folder = tempfile::tempdir().unwrap();
    let disk = CrashStorage::new(folder.path()).unwrap();
    let begun = Instant::now();
    let (spool, steps, _) = open(&disk, begun);
    spool.note(b"note".to_vec(), Durability::Lazy, None);
    let entries: [(EntryId, Location, Vec<u8>); 0] = [];
    spool.checkpoint(entries, [b"note"]).unwrap();
    spool.note(b"another".to_vec(), Durability::Lazy, None);
    spool.close();
    assert_eq!(steps.due(), None);
    let (_, _, recovered) = Steps::open(Arc::new(disk), Options::default(), begun).unwrap();
    assert_eq!(recovered.notes, [b"note".to_vec(), b"another".to_vec()]);
}

#[test]
fn what_failed_is_tried_again_when_its_time_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let disk = CrashStorage::new(folder.path()).unwrap();
    let begun = Instant::now();
    let (spool, steps, _) = open(&disk, begun);
    disk.fail(Operation::Sync, 0, u64::MAX, std::io::ErrorKind::StorageFull);
    spool.note(b"note".to_vec(), Durability::Sync, None);
    steps.turn(begun);
    assert_eq!(spool.health(), Health::Full);
    disk.mend();
    let again = begun + Options::default().retry_delay;
    steps.turn(again - Duration::from_millis(1));
    assert_eq!((spool.health(), steps.due()), (Health::Full, Some(again)));
    steps.turn(again);
    assert_eq!((spool.health(), steps.due()), (Health::Ok, None));
}

/// Commits a message in one turn.
fn sent(spool: &Spool, steps: &Steps, now: Instant, envelope: usize, body: usize) -> (EntryId, Location) {
    let draft = spool.draft();
    let id = draft.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    draft.commit(vec![1; envelope], vec![2; body], move |told| sender.send(told).unwrap());
    steps.turn(now);
    (id, receiver.try_recv().unwrap().unwrap())
}

const REST: Duration = Duration::from_secs(60);

fn open_copying(disk: &CrashStorage, now: Instant) -> (Spool, Steps) {
    let options = Options { segment_size: 256 << 10, rest: REST, ..Options::default() };
    let (spool, steps, _) = Steps::open(Arc::new(disk.clone()), options, now).unwrap();
    (spool, steps)
}

#[test]
fn small_segments_of_a_full_disk_are_not_copied_from_one_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let disk = CrashStorage::new(folder.path()).unwrap();
    let mut now = Instant::now();
    let (spool, steps) = open_copying(&disk, now);
    // A journal and the room for one are made first; then only the smallest size has room, each time.
    (2..60).for_each(|skip| disk.fail(Operation::Create, skip, 2, std::io::ErrorKind::StorageFull));
    let all: Vec<_> = (0..14).map(|_| sent(&spool, &steps, now, 20, 3500)).collect();
    assert_eq!(all.last().unwrap().1.segment - all[0].1.segment, 9, "each takes three numbers");
    let look = |now: &mut Instant| {
        for _ in 0..10 {
            *now += REST;
            steps.turn(*now);
        }
        spool.stats().forwarded
    };
    assert_eq!(look(&mut now), 0, "all of it is needed");
    spool.remove(all[0].0, all[0].1, Durability::Sync, None);
    steps.turn(now);
    assert_eq!(look(&mut now), 0, "three of four are");
    for (id, at) in &all[1..3] {
        spool.remove(*id, *at, Durability::Sync, None);
    }
    steps.turn(now);
    assert_eq!(look(&mut now), 1, "the last of four gives back three times what it takes");
}

#[test]
fn a_segment_full_of_envelopes_is_not_taken_for_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let disk = CrashStorage::new(folder.path()).unwrap();
    let mut now = Instant::now();
    let (spool, steps) = open_copying(&disk, now);
    let all: Vec<_> = (0..70).map(|_| sent(&spool, &steps, now, 4000, 100)).collect();
    for (id, at) in &all[..3] {
        spool.remove(*id, *at, Durability::Sync, None);
        for _ in 0..10 {
            now += REST;
            steps.turn(now);
        }
        // One part in four of a segment of 256 KiB.
        assert!((1..=17).contains(&spool.stats().forwarded), "{:?}", spool.stats());
    }
}

#[test]
fn what_was_read_before_and_is_damaged_since_is_not_copied_as_good() {
    use std::os::unix::fs::FileExt;
    let folder = tempfile::tempdir().unwrap();
    let disk = CrashStorage::new(folder.path()).unwrap();
    let begun = Instant::now();
    let (spool, steps) = open_copying(&disk, begun);
    let (goes, goes_at) = sent(&spool, &steps, begun, 20, 200_000);
    let (_, at) = sent(&spool, &steps, begun, 20, 1000);
    // It is in the way of the next one, so that another segment is begun.
    sent(&spool, &steps, begun, 20, 100_000);
    assert_eq!(spool.read(at).unwrap().body_len(), 1000);
    let file =
        std::fs::OpenOptions::new().write(true).open(folder.path().join("segment-0000000001")).unwrap();
    file.write_all_at(&[9], u64::from(at.offset) + 500).unwrap();
    spool.remove(goes, goes_at, Durability::Sync, None);
    steps.turn(begun);
    steps.turn(begun + REST * 2);
    assert_eq!(spool.stats().forwarded, 0);
    assert!(matches!(spool.read(at), Err(sluice_spool::ReadError::Damaged { .. })));
}
