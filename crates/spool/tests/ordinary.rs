//! The spool on an ordinary day: what goes in comes out, also after a restart.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use sluice_spool::{Disk, Durability, Health};
use support::{body, bytes, commit, contents, open, open_restless, remove, set_state};

#[test]
fn a_message_is_read_back_as_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, recovered) = open(folder.path());
    assert!(recovered.fresh && recovered.entries.is_empty());
    let large = bytes(1, 5000);
    for (envelope, chunks) in [
        (&b"env"[..], vec![&b"one"[..], &b"two"[..], &b""[..], &b"tail"[..]]),
        (b"", vec![]),
        (b"only an envelope", vec![b""]),
        (b"large", vec![&large[..], &large[..]]),
    ] {
        let (id, at) = commit(&spool, envelope, &chunks).unwrap();
        let stored = spool.read(at).unwrap();
        assert_eq!(stored.id(), id);
        assert_eq!(stored.envelope(), envelope);
        assert_eq!(body(&stored), chunks.concat());
    }
    assert_eq!(spool.health(), Health::Ok);
    assert_eq!(spool.stats().entries, 4);
}

#[test]
fn entries_states_and_notes_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (a, a_at) = commit(&spool, b"a", &[b"aa"]).unwrap();
    let (b, b_at) = commit(&spool, b"b", &[&bytes(2, 3000), b"bb"]).unwrap();
    let (c, c_at) = commit(&spool, b"c", &[]).unwrap();
    set_state(&spool, a, a_at, b"first").unwrap();
    spool.set_state(a, a_at, b"second".to_vec(), Durability::Lazy, None);
    spool.note(b"note 1".to_vec(), Durability::Lazy, None);
    spool.note(b"note 2".to_vec(), Durability::Sync, None);
    remove(&spool, c, c_at).unwrap();
    spool.close();

    let (spool, recovered) = open(folder.path());
    assert_eq!(recovered.notes, [b"note 1".to_vec(), b"note 2".to_vec()]);
    assert!(recovered.torn.is_empty() && recovered.quarantined.is_empty() && !recovered.fresh);
    let found = contents(&spool, &recovered);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [a, b]);
    assert_eq!(found[&a], (b"a".to_vec(), b"aa".to_vec(), Some(b"second".to_vec())));
    assert_eq!(found[&b].2, None);
    assert!(spool.draft().id() > c, "ids are not used again");
    assert_eq!(recovered.entries[1].at, b_at);
}

#[test]
fn a_checkpoint_replaces_journals_and_scanning() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let mut live = Vec::new();
    for n in 0..40u8 {
        let (id, at) = commit(&spool, &[n], &[&bytes(n.into(), 900)]).unwrap();
        set_state(&spool, id, at, &[n, 0]).unwrap();
        if n % 3 == 0 {
            remove(&spool, id, at).unwrap();
        } else {
            live.push((id, at, vec![n, 1]));
        }
    }
    assert!(spool.journal_bytes_since_checkpoint() > 1000);
    // The first entry is not listed, as if its owner had not heard of it: it stays, without a state.
    spool.checkpoint(live[1..].iter().cloned(), [b"kept"]).unwrap();
    assert_eq!(spool.journal_bytes_since_checkpoint(), 0);
    let (last, last_at, _) = live.pop().unwrap();
    remove(&spool, last, last_at).unwrap();
    spool.close();

    let (spool, recovered) = open(folder.path());
    assert_eq!(recovered.checkpoint, Some(1));
    assert!(recovered.scanned_bytes < 8192, "{recovered:?}");
    assert_eq!(recovered.notes, [b"kept".to_vec()]);
    let found = contents(&spool, &recovered);
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        live.iter().map(|(id, ..)| *id).collect::<Vec<_>>()
    );
    assert_eq!(found[&live[0].0].2, None);
    for (id, _, state) in &live[1..] {
        assert_eq!(found[id].2.as_ref(), Some(state));
    }
}

/// A message waits while all others of its segment go: it is moved, its owner goes on using the place he was told, and the room
/// comes back.
#[test]
fn a_message_that_waits_does_not_keep_the_room_of_those_that_have_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open_restless(Arc::new(Disk::open(folder.path()).unwrap())).unwrap();
    let long: Vec<&[u8]> = vec![b"part ", b"of ", b"a body"];
    let (waits, at) = commit(&spool, b"waits", &long).unwrap();
    set_state(&spool, waits, at, b"held").unwrap();
    let before = spool.read(at).unwrap();
    for turn in 0..40 {
        let filling = bytes(turn, 3000);
        let others: Vec<_> = (0..4).map(|_| commit(&spool, b"goes", &[&filling]).unwrap()).collect();
        for (id, at) in others {
            remove(&spool, id, at).unwrap();
        }
        assert_eq!(body(&spool.read(at).unwrap()), b"part of a body");
        assert!(spool.stats().segments <= 4, "after {turn}: {:?}", spool.stats());
    }
    assert!(spool.stats().forwarded >= 10, "{:?}", spool.stats());
    assert_eq!(body(&before), b"part of a body", "who reads keeps the old place");
    set_state(&spool, waits, at, b"still held").unwrap();
    spool.checkpoint([(waits, at, b"still held")], [b"note"]).unwrap();
    spool.close();

    let (spool, recovered) = open_restless(Arc::new(Disk::open(folder.path()).unwrap())).unwrap();
    assert!(recovered.quarantined.is_empty() && recovered.torn.is_empty());
    let state = Some(b"still held".to_vec());
    assert_eq!(contents(&spool, &recovered)[&waits], (b"waits".to_vec(), b"part of a body".to_vec(), state));
    remove(&spool, waits, recovered.entries[0].at).unwrap();
    assert_eq!((spool.stats().entries, spool.read(at).is_err()), (0, true));
}
