//! Looking at a spool changes nothing and finds every damage; what is readable can be moved into a new one.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sluice_spool::{EntryId, FileOf, Later, Look, Loss, OpenError, SalvageError, Salvaged, What};
use support::{Content, bytes, commit, contents, files, open, sample, set_state, small};

fn look(folder: &Path) -> Look {
    Look::at(folder, Later::Refuse).unwrap()
}

fn verify(folder: &Path) -> Loss {
    look(folder).verify(&mut |done, of| assert!(done <= of, "{done} of {of}")).unwrap()
}

fn salvage(folder: &Path, to: &Path, later: Later) -> Result<Salvaged, SalvageError> {
    let look = Look::alone(folder, later)?;
    let loss = look.verify(&mut |_, _| {})?;
    look.salvage(to, small(), &loss, &mut |done, of| assert!(done <= of))
}

/// Writes a copy of the files, with one changed.
fn copy(
    files: &BTreeMap<String, Vec<u8>>,
    changed: &str,
    change: impl FnOnce(&mut Vec<u8>),
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut change = Some(change);
    for (name, content) in files {
        let mut content = content.clone();
        if name == changed {
            change.take().unwrap()(&mut content);
        }
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn a_good_spool_has_no_flaw_and_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    let before = files(folder.path());
    let look = look(folder.path());
    assert_eq!(look.verify(&mut |_, _| {}).unwrap(), Loss::default());
    assert_eq!(look.holder().unwrap(), None);
    let ids: Vec<EntryId> = look.recovered().entries.iter().map(|live| live.id).collect();
    assert_eq!(ids, expected.keys().copied().collect::<Vec<_>>());
    // Every kind of record is told of.
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    for file in look.files() {
        look.records(&file, &mut |standing| {
            let name = match (file.kind, standing.what) {
                (FileOf::Segment, What::Message { is_good: true, .. }) => "message",
                (FileOf::Segment, What::Chunk { is_good: true, .. }) => "chunk",
                (FileOf::Journal, What::State { .. }) => "state",
                (FileOf::Journal, What::Removed { .. }) => "removed",
                (FileOf::Checkpoint, What::Begin { .. }) => "begin",
                (FileOf::Checkpoint, What::Entry { state: Some(_), .. }) => "entry",
                (FileOf::Checkpoint, What::Note(note)) => std::str::from_utf8(note).map_or("?", |_| "note"),
                (FileOf::Checkpoint, What::End { notes: 1, .. }) => "end",
                other => panic!("{other:?}"),
            };
            *told.entry(name).or_default() += 1;
            true
        })
        .unwrap();
    }
    assert_eq!(told["message"], 12);
    assert_eq!((told["chunk"], told["removed"], told["begin"], told["end"], told["note"]), (8, 1, 2, 2, 2));
    assert_eq!(files(folder.path()), before, "nothing is written");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before.len(), "nothing is made");
}

#[test]
fn every_flipped_bit_is_found_where_it_is_and_what_is_readable_moves() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    let files_before = files(folder.path());
    let mut moved_whole = 0;
    for (name, content) in files_before.iter().filter(|(name, _)| *name != "lock") {
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for place in (0..used.min(80)).step_by(7).chain((80..used).step_by(701)) {
            let copy = copy(&files_before, name, |content| content[place] ^= 1 << (place % 8));
            let before = files(copy.path());
            let look = look(copy.path());
            let loss = look.verify(&mut |_, _| {}).unwrap();
            let torn = &loss.torn;
            let named = loss.flaws.iter().any(|flaw| flaw.damage.path.ends_with(name))
                || torn.iter().any(|torn| torn.path.ends_with(name));
            // What no checksum covers is padding, and bytes that have to be zero.
            let is_covered = place >= 40 || !(10..12).contains(&place) && !(32..36).contains(&place);
            let is_padding = {
                let mut is_padding = name != "identity";
                for file in look.files().iter().filter(|file| file.name == **name) {
                    look.records(file, &mut |one| {
                        let range = one.offset..one.offset + one.len;
                        is_padding &= !range.contains(&(place as u64))
                            || !matches!(one.what, What::Damage(_) | What::Torn);
                        true
                    })
                    .unwrap();
                }
                is_padding
            };
            assert!(named || is_padding || !is_covered, "byte {place} of {name}: {loss:?}");
            drop(look);
            let to = copy.path().join("new");
            let salvaged = salvage(copy.path(), &to, Later::Refuse).unwrap();
            let after = files(copy.path());
            assert!(
                before.iter().all(|(name, content)| name == "lock" || after[name] == *content),
                "the old one is as it was"
            );
            let (spool, recovered) = open(&to);
            assert!(recovered.quarantined.is_empty() && recovered.torn.is_empty(), "{recovered:?}");
            let found = contents(&spool, &recovered);
            assert_eq!(found.len() as u64, salvaged.messages);
            let lost = lost(&expected, &found);
            assert!(lost <= 1, "byte {place} of {name}: {lost} lost");
            moved_whole += u64::from(lost == 0);
            if lost > 0 {
                assert!(
                    !salvaged.quarantined.is_empty() && salvaged.quarantined.iter().all(|copy| copy.exists()),
                    "{salvaged:?}"
                );
            }
            // Ids go on behind those that were used.
            let (id, _) = commit(&spool, b"new", &[b"mail"]).unwrap();
            assert!(expected.keys().all(|known| *known < id), "{id}");
        }
    }
    assert!(moved_whole > 20, "{moved_whole}");
}

/// How many messages are not there as they were. Their states may be older or gone where journals are damaged.
fn lost(expected: &BTreeMap<EntryId, Content>, found: &BTreeMap<EntryId, Content>) -> usize {
    let is_there = |id: &EntryId, (envelope, body, _): &Content| {
        found.get(id).is_some_and(|(found, known, _)| (found, known) == (envelope, body))
    };
    expected.iter().filter(|(id, content)| !is_there(id, content)).count()
}

#[test]
fn a_damaged_message_is_named_with_its_envelope_and_live_ones_are_told_from_settled_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (settled, settled_at) = commit(&spool, b"of the settled one", &[&bytes(1, 500)]).unwrap();
    let (live, live_at) = commit(&spool, b"of the live one", &[&bytes(2, 500)]).unwrap();
    let (parted, _) = commit(&spool, b"of the parted one", &[&bytes(3, 900), b"tail"]).unwrap();
    let (last, _) = commit(&spool, b"of the last one", &[b"x"]).unwrap();
    support::remove(&spool, settled, settled_at).unwrap();
    spool.checkpoint(std::iter::empty::<(EntryId, _, &[u8])>(), [b"note"]).unwrap();
    spool.close();
    let path = folder.path().join("segment-0000000001");
    let mut content = fs::read(&path).unwrap();
    content[settled_at.offset as usize + 200] ^= 1;
    content[live_at.offset as usize + 200] ^= 1;
    let place = content.windows(20).position(|window| *window == bytes(3, 900)[..20]).unwrap();
    content[place] ^= 1;
    fs::write(&path, content).unwrap();
    let loss = verify(folder.path());
    let told: Vec<(Option<EntryId>, bool, &[u8])> = loss
        .flaws
        .iter()
        .map(|flaw| (flaw.damage.entry, flaw.is_live, flaw.envelope.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            (Some(settled), false, &b"of the settled one"[..]),
            (Some(live), true, b"of the live one"),
            (Some(parted), true, b"of the parted one"),
        ]
    );
    assert_eq!(loss.flaws[1].damage.offset, u64::from(live_at.offset));
    let to = folder.path().join("new");
    let salvaged = salvage(folder.path(), &to, Later::Refuse).unwrap();
    let unreadable: Vec<EntryId> = salvaged.unreadable.iter().map(|(id, _)| *id).collect();
    assert_eq!((salvaged.messages, unreadable), (1, vec![live, parted]));
    assert_eq!(salvaged.quarantined.len(), 3);
    let report = fs::read_to_string(salvaged.quarantined[0].with_extension("txt")).unwrap();
    assert!(report.contains(&format!("file: {}", path.display())), "{report}");
    let (spool, recovered) = open(&to);
    assert_eq!(contents(&spool, &recovered).keys().copied().collect::<Vec<_>>(), [last]);
    assert_eq!(recovered.notes, [b"note".to_vec()]);
}

#[test]
fn a_state_without_its_message_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (gone, at) = commit(&spool, b"e", &[&bytes(1, 300)]).unwrap();
    set_state(&spool, gone, at, b"its state").unwrap();
    let (_, behind) = commit(&spool, b"e", &[&bytes(2, 300)]).unwrap();
    spool.close();
    let path = folder.path().join("segment-0000000001");
    let mut content = fs::read(&path).unwrap();
    content[at.offset as usize..behind.offset as usize].fill(0xEE);
    fs::write(&path, content).unwrap();
    let loss = verify(folder.path());
    assert_eq!(loss.lost, [(gone, b"its state".to_vec())]);
    assert_eq!(loss.flaws.len(), 1);
    assert_eq!(loss.flaws[0].damage.offset, u64::from(at.offset));
}

#[test]
fn what_a_later_release_wrote_is_refused_or_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    for name in files(folder.path()).keys().filter(|name| *name != "lock") {
        let path = folder.path().join(name);
        let mut content = fs::read(&path).unwrap();
        content[8] = 2;
        let crc = crc32c::crc32c(&content[..36]);
        content[36..40].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, content).unwrap();
    }
    let error = Look::at(folder.path(), Later::Refuse).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error}");
    let to = folder.path().join("new");
    let salvaged = salvage(folder.path(), &to, Later::PassOver).unwrap();
    assert_eq!(salvaged.messages, expected.len() as u64);
    let (spool, recovered) = open(&to);
    assert_eq!(contents(&spool, &recovered), expected);
}

#[test]
fn nothing_is_moved_onto_something_or_out_of_a_spool_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    commit(&spool, b"e", &[b"b"]).unwrap();
    assert_eq!(look(folder.path()).holder().unwrap(), Some(Some(std::process::id())));
    let to = folder.path().join("new");
    let error = salvage(folder.path(), &to, Later::Refuse).unwrap_err();
    assert!(matches!(error, SalvageError::Open(OpenError::InUse { .. })), "{error}");
    assert!(!to.exists());
    spool.close();
    fs::create_dir(&to).unwrap();
    let error = salvage(folder.path(), &to, Later::Refuse).unwrap_err();
    assert!(matches!(&error, SalvageError::Exists(path) if *path == to), "{error}");
    let unfinished = folder.path().join("other.unfinished");
    fs::write(&unfinished, "somebody's").unwrap();
    let error = salvage(folder.path(), &folder.path().join("other"), Later::Refuse).unwrap_err();
    assert!(matches!(&error, SalvageError::Exists(path) if *path == unfinished), "{error}");
    assert_eq!(fs::read(&unfinished).unwrap(), b"somebody's");
    let empty = tempfile::tempdir().unwrap();
    for folder in [empty.path(), &empty.path().join("not there")] {
        assert!(matches!(
            Look::at(folder, Later::Refuse),
            Err(OpenError::NoSpool { .. } | OpenError::Read { .. })
        ));
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn what_a_start_could_not_read_waits_and_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (lost, at) = commit(&spool, b"of the lost one", &[&bytes(1, 500)]).unwrap();
    set_state(&spool, lost, at, b"state").unwrap();
    commit(&spool, b"e", &[&bytes(2, 500)]).unwrap();
    spool.close();
    let path = folder.path().join("segment-0000000001");
    let mut content = fs::read(&path).unwrap();
    content[at.offset as usize + 200] ^= 1;
    fs::write(&path, &content).unwrap();
    let loss = verify(folder.path());
    assert!(loss.flaws.iter().all(|flaw| flaw.is_live && flaw.damage.entry == Some(lost)), "{loss:?}");
    assert_eq!((loss.messages(), loss.may_hide_messages()), (1, false), "{loss:?}");
    // Now the record itself: nobody can say whose it is.
    content[at.offset as usize + 30] ^= 1;
    fs::write(&path, &content).unwrap();
    let loss = verify(folder.path());
    assert_eq!((loss.messages(), loss.may_hide_messages()), (1, true), "{loss:?}");
}
