//! The spool against a plain map: random days with fixed seeds, so that a failure can be repeated.
//!
//! Every so often the process "is killed" or closes, the spool is opened again, and must be equal to the map.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use sluice_spool::testing::{CrashStorage, Loss, Operation};
use sluice_spool::{Durability, EntryId, Location, Spool};
use support::{Content, Random, body, bytes, commit, contents, open_on, open_restless, remove, set_state};

struct Model {
    random: Random,
    entries: BTreeMap<EntryId, (Location, Content)>,
    notes: Vec<Vec<u8>>,
    highest: EntryId,
    /// Nobody but the checkpoint writes then, so that a fault meets it.
    is_restful: bool,
    checkpoints_failed: usize,
    /// Messages whose body is in several records.
    long: usize,
}

impl Model {
    fn pick(&mut self) -> Option<EntryId> {
        let count = self.entries.len() as u64;
        (count > 0).then(|| *self.entries.keys().nth(self.random.below(count) as usize).unwrap())
    }

    fn step(&mut self, spool: &Spool, storage: &CrashStorage) {
        match self.random.below(12) {
            0..=3 => self.commit(spool),
            4..=6 => {
                let Some(id) = self.pick() else { return };
                let state = bytes(self.random.next(), self.random.below(200) as usize);
                let (at, content) = self.entries.get_mut(&id).unwrap();
                set_state(spool, id, *at, &state).unwrap();
                content.2 = Some(state);
            }
            7..=8 => {
                let Some(id) = self.pick() else { return };
                let (at, _) = self.entries.remove(&id).unwrap();
                remove(spool, id, at).unwrap();
            }
            9 => {
                let note = bytes(self.random.next(), self.random.below(100) as usize);
                self.notes.push(note.clone());
                support::wait(|done| spool.note(note, Durability::Sync, Some(done))).unwrap();
            }
            10 => {
                let Some(id) = self.pick() else { return };
                let (at, content) = &self.entries[&id];
                let stored = spool.read(*at).unwrap();
                assert_eq!(
                    (stored.id(), stored.envelope(), &body(&stored)),
                    (id, &content.0[..], &content.1)
                );
            }
            _ if self.random.below(4) == 0 => {
                self.checkpoint(spool, storage);
            }
            _ => {}
        }
    }

    fn checkpoint(&mut self, spool: &Spool, storage: &CrashStorage) {
        // Oldest notes are forgotten, as an owner does with old release records.
        let kept = self.notes[self.notes.len() - self.notes.len() / 2..].to_vec();
        let states =
            self.entries.iter().filter_map(|(id, (at, content))| Some((*id, *at, content.2.clone()?)));
        let faults = [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename];
        let fault = faults.get(self.random.below(8) as usize).filter(|_| self.is_restful);
        if let Some(operation) = fault {
            storage.fail(*operation, 0, 1, ErrorKind::StorageFull);
        }
        let written = spool.checkpoint(states, &kept);
        storage.mend();
        assert_eq!(written.is_err(), fault.is_some(), "{written:?}");
        match fault {
            // The one before, with the notes as they were, is in force.
            Some(_) => self.checkpoints_failed += 1,
            None => self.notes = kept,
        }
    }

    fn commit(&mut self, spool: &Spool) {
        let envelope = bytes(self.random.next(), self.random.below(300) as usize);
        let chunks: Vec<Vec<u8>> = (0..self.random.below(4))
            .map(|_| {
                let longest = if self.random.below(8) == 0 { 9000 } else { 900 };
                bytes(self.random.next(), self.random.below(longest) as usize)
            })
            .collect();
        let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let (id, at) = commit(spool, &envelope, &slices).unwrap();
        assert!(id > self.highest, "{id} after {}", self.highest);
        // A record takes a quarter of a segment at most.
        self.long += usize::from(chunks.iter().any(|chunk| chunk.len() > 2048) || chunks.len() > 1);
        self.highest = id;
        self.entries.insert(id, (at, (envelope, chunks.concat(), None)));
    }
}

/// How many checkpoints failed, and how many messages were long.
fn days(seed: u64, moves: bool) -> (usize, usize) {
    let random = Random(seed);
    let (entries, notes) = (BTreeMap::new(), Vec::new());
    let mut model = Model {
        random,
        entries,
        notes,
        highest: EntryId(0),
        is_restful: !moves,
        checkpoints_failed: 0,
        long: 0,
    };
    let mut folder = tempfile::tempdir().unwrap();
    for day in 0..12 {
        let storage = CrashStorage::new(folder.path()).unwrap();
        let open = if moves { open_restless } else { open_on };
        let (spool, recovered) = open(Arc::new(storage.clone())).unwrap();
        let expected: BTreeMap<EntryId, Content> =
            model.entries.iter().map(|(id, (_, content))| (*id, content.clone())).collect();
        assert!(contents(&spool, &recovered) == expected, "seed {seed}, day {day}");
        assert_eq!(recovered.notes, model.notes, "seed {seed}, day {day}");
        assert!(recovered.quarantined.is_empty(), "seed {seed}, day {day}: {:?}", recovered.quarantined);
        for live in &recovered.entries {
            let known = &mut model.entries.get_mut(&live.id).unwrap().0;
            assert!(moves || *known == live.at, "seed {seed}, day {day}");
            *known = live.at;
        }
        assert_eq!(spool.stats().entries, expected.len() as u64);
        for _ in 0..model.random.below(60) {
            model.step(&spool, &storage);
        }
        // Everything was waited for, so how the day ends makes no difference.
        let loss = [Loss::Nothing, Loss::Unsynced][model.random.below(2) as usize];
        if model.random.below(2) == 0 {
            spool.close();
        } else {
            storage.stop();
        }
        let next = tempfile::tempdir().unwrap();
        storage.survivors(loss, next.path()).unwrap();
        folder = next;
    }
    (model.checkpoints_failed, model.long)
}

#[test]
fn random_days_end_as_the_map_says() {
    let days = |seed| days(seed, false);
    let (failed, long) = (1..=20).map(days).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(failed > 20 && long > 200, "{failed} checkpoints failed, {long} messages were long");
}

#[test]
fn what_is_copied_forward_all_the_time_is_what_the_map_says() {
    for seed in 101..=140 {
        days(seed, true);
    }
}
