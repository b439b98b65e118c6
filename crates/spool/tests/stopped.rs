//! The spool, stopped everywhere: after every single operation of a workload, with every kind of loss.
//!
//! The workload keeps a diary of what it asked for and what it was told. After the stop the diary is compared with what
//! a new start finds: everything acknowledged is there, nothing is there that was not asked for, states are right. What is
//! left of nearly empty segments is copied forward meanwhile, at every chance.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sluice_spool::testing::{CrashStorage, Loss};
use sluice_spool::{Durability, EntryId, Location, Recovered, SealError, Spool};
use support::{bytes, commit, contents, open_restless, remove, set_state, wait};

/// What was asked for about one message, and what was told.
#[derive(Default)]
struct Page {
    envelope: Vec<u8>,
    body: Vec<u8>,
    at: Option<Location>,
    /// States asked for, in order; those that were acknowledged.
    states: Vec<(Vec<u8>, bool)>,
    removal_asked: bool,
    removal_told: bool,
}

#[derive(Default)]
struct Diary {
    pages: BTreeMap<EntryId, Page>,
    notes: Vec<(Vec<u8>, bool)>,
}

impl Diary {
    fn commit(&mut self, spool: &Spool, envelope: &[u8], chunks: &[&[u8]]) -> EntryId {
        let mut draft = spool.draft();
        let id = draft.id();
        self.pages.insert(id, Page { envelope: envelope.into(), body: chunks.concat(), ..Page::default() });
        let (tail, chunks) = chunks.split_last().unwrap();
        for chunk in chunks {
            if wait(|done| draft.chunk(chunk.to_vec(), done)).is_err() {
                return id;
            }
        }
        let told = wait(|done| draft.commit(envelope.to_vec(), tail.to_vec(), done));
        self.pages.get_mut(&id).unwrap().at = told.ok();
        id
    }

    /// Several at once, so that they share a group commit.
    fn commit_group(&mut self, spool: &Spool, count: u8) {
        let (sender, receiver) = mpsc::channel();
        for n in 0..count {
            let draft = spool.draft();
            let (id, envelope, body) = (draft.id(), vec![b'g', n], bytes(n.into(), 300));
            self.pages.insert(id, Page { envelope: envelope.clone(), body: body.clone(), ..Page::default() });
            let sender = sender.clone();
            draft.commit(envelope, body, move |told| sender.send((id, told)).unwrap());
        }
        for _ in 0..count {
            let (id, told) = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
            self.pages.get_mut(&id).unwrap().at = told.ok();
        }
    }

    fn state(&mut self, spool: &Spool, id: EntryId, state: &[u8], durability: Durability) {
        let page = self.pages.get_mut(&id).unwrap();
        let Some(at) = page.at else { return };
        let told = match durability {
            Durability::Sync => set_state(spool, id, at, state).is_ok(),
            Durability::Lazy => {
                spool.set_state(id, at, state.to_vec(), durability, None);
                false
            }
        };
        page.states.push((state.to_vec(), told));
    }

    fn remove(&mut self, spool: &Spool, id: EntryId, durability: Durability) {
        let page = self.pages.get_mut(&id).unwrap();
        let Some(at) = page.at else { return };
        page.removal_asked = true;
        match durability {
            Durability::Sync => page.removal_told = remove(spool, id, at).is_ok(),
            Durability::Lazy => spool.remove(id, at, durability, None),
        }
    }

    fn note(&mut self, spool: &Spool, note: &[u8]) {
        let told = wait(|done| spool.note(note.to_vec(), Durability::Sync, Some(done))).is_ok();
        self.notes.push((note.to_vec(), told));
    }

    fn checkpoint(&self, spool: &Spool) -> bool {
        let entries = self.pages.iter().filter_map(|(id, page)| {
            let state = page.states.last()?.0.clone();
            // Also what was removed: the spool knows better and leaves it out.
            Some((*id, page.at?, state))
        });
        let notes = self.notes.iter().map(|(note, _)| note);
        spool.checkpoint(entries, notes).is_ok()
    }

    /// Compares with what was found. Panics with the difference.
    fn check(&self, spool: &Spool, recovered: &Recovered) {
        let found = contents(spool, recovered);
        for (id, page) in &self.pages {
            let Some((envelope, body, state)) = found.get(id) else {
                assert!(page.at.is_none() || page.removal_asked, "{id} was acknowledged and is lost");
                continue;
            };
            assert!(!page.removal_told, "{id} was removed and is back");
            assert!((envelope, body) == (&page.envelope, &page.body), "{id} is not what was sent");
            let told = page.states.iter().rposition(|(_, told)| *told);
            match state {
                None => assert!(told.is_none(), "{id} lost its state"),
                Some(state) => {
                    let since = &page.states[told.unwrap_or(0)..];
                    assert!(
                        since.iter().any(|(asked, _)| asked == state),
                        "{id} has state {state:?}, not of {since:?}"
                    );
                }
            }
        }
        for id in found.keys() {
            assert!(self.pages.contains_key(id), "{id} was invented");
        }
        let mut asked = self.notes.iter();
        for note in &recovered.notes {
            let skipped = asked.by_ref().take_while(|(asked, _)| asked != note);
            assert!(!skipped.into_iter().any(|(_, told)| *told), "a note was lost before {note:?}");
        }
        assert!(!asked.any(|(_, told)| *told), "a note was lost");
    }
}

/// Small and large messages, chunks over several segments, groups, states, removals that empty segments or leave little in
/// them, drafts given up, notes, two checkpoints, a restart of the segment, and things in flight at the end.
fn workload(spool: &Spool) -> Diary {
    let mut diary = Diary::default();
    let a = diary.commit(spool, b"a", &[b"first"]);
    diary.state(spool, a, b"a1", Durability::Sync);
    let large = bytes(1, 3000);
    let b = diary.commit(spool, b"b", &[&large, &large, &large, &large, b"end"]);
    diary.note(spool, b"n1");
    drop(commit_nothing(spool));
    diary.commit_group(spool, 5);
    diary.state(spool, b, b"b1", Durability::Lazy);
    diary.state(spool, a, b"a2", Durability::Lazy);
    let c = diary.commit(spool, b"c", &[&large]);
    diary.remove(spool, b, Durability::Sync);
    diary.checkpoint(spool);
    diary.note(spool, b"n2");
    let d = diary.commit(spool, b"d", &[&large, &large]);
    diary.state(spool, d, b"d1", Durability::Sync);
    diary.remove(spool, c, Durability::Lazy);
    diary.commit_group(spool, 4);
    diary.state(spool, a, b"a3", Durability::Sync);
    diary.checkpoint(spool);
    diary.remove(spool, a, Durability::Sync);
    // Two small ones stay behind in a segment of large ones that go, and in the next one, to which they are copied.
    let goes = |diary: &mut Diary, count: usize| {
        let ids: Vec<_> = (0..count).map(|_| diary.commit(spool, b"h", &[&large])).collect();
        for id in ids {
            diary.remove(spool, id, Durability::Sync);
        }
    };
    goes(&mut diary, 2);
    let kept = [diary.commit(spool, b"f", &[b"small"]), diary.commit(spool, b"g", &[&large[..600], b"end"])];
    for _ in 0..2 {
        goes(&mut diary, 3);
        diary.state(spool, kept[1], b"g1", Durability::Sync);
    }
    diary.remove(spool, kept[0], Durability::Sync);
    let e = diary.commit(spool, b"e", &[b"", &large, b""]);
    diary.state(spool, e, b"e1", Durability::Sync);
    diary.checkpoint(spool);
    diary.note(spool, b"n3");
    diary.state(spool, e, b"e2", Durability::Lazy);
    diary.remove(spool, d, Durability::Lazy);
    diary
}

/// A draft with a chunk, given up.
fn commit_nothing(spool: &Spool) -> Result<(), SealError> {
    let mut draft = spool.draft();
    wait(|done| draft.chunk(bytes(9, 700), done))
}

/// Runs the workload until operation `stop`; the storage afterwards, the diary, and whether it came to the end.
fn run_until(stop: u64, folder: &Path) -> (CrashStorage, Diary, bool) {
    let storage = CrashStorage::stop_at(folder, stop).unwrap();
    let Ok((spool, _)) = open_restless(Arc::new(storage.clone())) else {
        return (storage, Diary::default(), false);
    };
    if storage.stopped() {
        return (storage, Diary::default(), false);
    }
    let diary = workload(&spool);
    let other = spool.clone();
    spool.close();
    let ended = !storage.stopped();
    assert!(!ended || other.stats().forwarded > 3, "hardly anything was copied forward: {:?}", other.stats());
    (storage, diary, ended)
}

/// Opens what is left, compares, and sees that the spool works again and gives no id twice.
fn check(folder: &Path, clean: bool, diary: &Diary) {
    // The same kind of disk, not stopped: it does not wait for the real one.
    let open = |folder| open_restless(Arc::new(CrashStorage::new(folder).unwrap())).unwrap();
    let (spool, recovered) = open(folder);
    if clean {
        assert!(recovered.quarantined.is_empty(), "a crash is not damage: {:?}", recovered.quarantined);
    }
    diary.check(&spool, &recovered);
    let (id, _) = commit(&spool, b"after", &[&bytes(3, 2500), b"x"]).unwrap();
    assert!(!diary.pages.contains_key(&id), "{id} is used a second time");
    spool.close();
    let (spool, again) = open(folder);
    let ids = |recovered: &Recovered| recovered.entries.iter().map(|live| live.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), [ids(&recovered), vec![id]].concat());
    assert_eq!(again.notes, recovered.notes);
    diary.check(
        &spool,
        &Recovered { entries: again.entries[..again.entries.len() - 1].to_vec(), ..again.clone() },
    );
}

fn stop_everywhere(losses: impl Fn(u64) -> Vec<Loss>) {
    let mut stop = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let (storage, diary, ended) = run_until(stop, folder.path());
        for loss in losses(stop) {
            let rest = tempfile::tempdir().unwrap();
            storage.survivors(loss, rest.path()).unwrap();
            let result =
                std::panic::catch_unwind(|| check(rest.path(), !matches!(loss, Loss::Torn(_)), &diary));
            assert!(result.is_ok(), "stopped at operation {stop}, loss {loss:?}");
        }
        if ended {
            assert!(stop > 60, "the workload has only {stop} operations");
            return;
        }
        stop += 1;
    }
}

#[test]
fn killed_everywhere_nothing_acknowledged_is_lost() {
    stop_everywhere(|_| vec![Loss::Nothing]);
}

#[test]
fn without_power_everywhere_nothing_acknowledged_is_lost() {
    stop_everywhere(|_| vec![Loss::Unsynced]);
}

#[test]
fn torn_everywhere_nothing_acknowledged_is_lost() {
    stop_everywhere(|stop| (0..6).map(|seed| Loss::Torn(stop * 100 + seed)).collect());
}

/// The start after the crash is stopped everywhere too, and then starts again.
#[test]
fn a_recovery_that_is_stopped_is_done_again() {
    for stop in (5..95).step_by(9) {
        let folder = tempfile::tempdir().unwrap();
        let (storage, diary, _) = run_until(stop, folder.path());
        let rest = tempfile::tempdir().unwrap();
        storage.survivors(Loss::Torn(stop), rest.path()).unwrap();
        for second in 0.. {
            let copy = tempfile::tempdir().unwrap();
            storage.survivors(Loss::Torn(stop), copy.path()).unwrap();
            let storage = CrashStorage::stop_at(copy.path(), second).unwrap();
            if let Ok((spool, _)) = open_restless(Arc::new(storage.clone())) {
                diary.checkpoint(&spool);
                spool.close();
            }
            for loss in [Loss::Nothing, Loss::Unsynced, Loss::Torn(second)] {
                let rest = tempfile::tempdir().unwrap();
                storage.survivors(loss, rest.path()).unwrap();
                let result = std::panic::catch_unwind(|| check(rest.path(), false, &diary));
                assert!(result.is_ok(), "stopped at {stop} and again at {second}, loss {loss:?}");
            }
            if !storage.stopped() {
                break;
            }
        }
    }
}

/// First only the process dies, and the next one acts on what is in memory but not on the disk; then the power goes.
#[test]
fn killed_and_then_without_power_nothing_acknowledged_is_lost() {
    for stop in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let (storage, mut diary, ended) = run_until(stop, folder.path());
        storage.restart();
        let (spool, recovered) = open_restless(Arc::new(storage.clone())).unwrap();
        diary.check(&spool, &recovered);
        diary.commit(&spool, b"between", &[&bytes(4, 3000), b"."]);
        spool.close();
        storage.stop();
        for loss in [Loss::Unsynced, Loss::Torn(stop)] {
            let rest = tempfile::tempdir().unwrap();
            storage.survivors(loss, rest.path()).unwrap();
            let clean = loss == Loss::Unsynced;
            let result = std::panic::catch_unwind(|| check(rest.path(), clean, &diary));
            assert!(result.is_ok(), "stopped at operation {stop}, then loss {loss:?}");
        }
        if ended {
            break;
        }
    }
}
