//! The spool on an ordinary day: what goes in comes out, also after a restart.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use sluice_spool::{Disk, Durability, Health, Later, Look, Options, Spool};
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

#[test]
fn a_group_ends_with_its_page_where_little_of_it_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { segment_size: 4 << 20, ..support::small() };
    let open = || Spool::open(Arc::new(Disk::open(folder.path()).unwrap()), options.clone()).unwrap();
    let (spool, _) = open();
    let (mut end, mut filled) = (40, 0);
    let mut sent = Vec::new();
    for n in 0..60u64 {
        let size = 3000 + (n as usize * 977) % 20_000;
        let (id, at) = commit(&spool, b"env", &[&bytes(n, size)]).unwrap();
        assert_eq!(at.offset as usize, end, "{n}");
        sent.push((id, at));
        // Header 24, head 24, envelope 3.
        let len = (51 + size).next_multiple_of(8);
        let left = (end + len).next_multiple_of(4096) - (end + len);
        let is_filled = left >= 40 && left * 4 <= len;
        filled += usize::from(is_filled);
        end += len + if is_filled { left } else { 0 };
    }
    assert!((25..55).contains(&filled), "{filled}");
    assert_eq!(spool.stats().written as usize, end - 40);
    drop(spool);
    let look = Look::at(folder.path(), Later::Refuse).unwrap();
    let loss = look.verify(&mut |_, _| {}).unwrap();
    assert!(loss.flaws.is_empty() && loss.torn.is_empty() && look.recovered().torn.is_empty(), "{loss:?}");
    // The last group was cut off: what of it is left is a torn end, and no damage, also when its filler came to the disk.
    let path = folder.path().join("segment-0000000001");
    let mut content = std::fs::read(&path).unwrap();
    let is_filler_behind = |place: usize| {
        let next = sent.get(place + 1).map_or(end, |(_, at)| at.offset as usize);
        next % 4096 == 0
    };
    let last = (0..sent.len()).rev().find(|place| is_filler_behind(*place)).unwrap();
    let from = sent[last].1.offset as usize;
    let behind = sent.get(last + 1).map_or(end, |(_, at)| at.offset as usize);
    content[behind..].fill(0);
    for place in [from, from + 40, from + 60] {
        let mut torn = content.clone();
        torn[place..place + 8].fill(0xAA);
        std::fs::write(&path, torn).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()) {
            if file.file_name().unwrap().to_string_lossy().starts_with("checkpoint") {
                std::fs::remove_file(file).unwrap();
            }
        }
        let look = Look::at(folder.path(), Later::Refuse).unwrap();
        let found = look.recovered();
        assert_eq!((found.entries.len(), found.torn.len()), (last, 1), "{:?}", found.quarantined);
        assert!(found.quarantined.is_empty(), "{:?}", found.quarantined);
    }
}
