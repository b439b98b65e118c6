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
