//! Files that are not what was written: flipped bits, zeros, cut off ends, files of others, files of later releases.
//!
//! Nothing panics, nothing wrong is handed out, what is not touched survives, and the damage is named.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use sluice_spool::testing::{CrashStorage, Operation};
use sluice_spool::{
    AsideError, Disk, Durability, EntryId, Fate, Later, Location, Look, OpenError, ReadError, Recovered,
    Spool,
};
use support::{Content, body, bytes, commit, contents, files, open, open_on, sample, set_state, wait};

/// Opens a damaged copy and returns how many messages are lost or unreadable. Panics when something wrong comes out, or
/// when something is lost without a word.
fn survey(
    files: &BTreeMap<String, Vec<u8>>,
    changed: &str,
    content: &[u8],
    expected: &BTreeMap<EntryId, Content>,
) -> usize {
    let folder = tempfile::tempdir().unwrap();
    for (name, original) in files {
        let content = if name == changed { content } else { original };
        fs::write(folder.path().join(name), content).unwrap();
    }
    let (spool, recovered) = open_on(Arc::new(CrashStorage::new(folder.path()).unwrap())).unwrap();
    let mut lost = expected.len();
    let mut unnamed = 0;
    for live in &recovered.entries {
        let Some((envelope, expected_body, state)) = expected.get(&live.id) else {
            // A removal was damaged: the message comes back, and the damage is named.
            assert!(is_named(&recovered), "{} came back without a word", live.id);
            continue;
        };
        match spool.read(live.at) {
            Ok(stored) => {
                assert_eq!((stored.envelope(), &body(&stored)), (&envelope[..], expected_body));
                lost -= 1;
            }
            Err(ReadError::Damaged { path, .. }) => assert!(path.ends_with(changed), "{path:?}"),
            Err(other) => panic!("{other}"),
        }
        unnamed += usize::from(live.state.as_deref() != state.as_deref());
    }
    let missing = expected.keys().filter(|id| !recovered.entries.iter().any(|live| live.id == **id)).count();
    assert!(missing + unnamed == 0 || is_named(&recovered), "{missing} messages, {unnamed} states");
    for damage in &recovered.quarantined {
        assert!(damage.path.ends_with(changed) || damage.entry.is_some(), "{damage:?}");
        assert!(damage.kept.as_ref().is_none_or(|copy| copy.exists()), "{damage:?}");
    }
    // And it goes on working, and a second start says the same.
    let (id, _) = commit(&spool, b"new", &[b"mail"]).unwrap();
    assert!(!expected.contains_key(&id));
    spool.close();
    let (_spool, again) = open_on(Arc::new(CrashStorage::new(folder.path()).unwrap())).unwrap();
    assert_eq!(again.entries.len(), recovered.entries.len() + 1);
    lost
}

fn is_named(recovered: &Recovered) -> bool {
    !recovered.quarantined.is_empty() || !recovered.torn.is_empty()
}

#[test]
fn one_flipped_bit_anywhere_costs_at_most_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    let files = files(folder.path());
    assert!(files.keys().filter(|name| name.starts_with("segment")).count() >= 2, "{:?}", files.keys());
    let mut surveyed = 0;
    for (name, content) in files.iter().filter(|(name, _)| *name != "lock") {
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // All of the headers, and every so often behind them: each kind of field is met somewhere.
        let places = (0..used.min(112)).chain((112..used).step_by(53));
        for place in places {
            let mut content = content.clone();
            content[place] ^= 1 << (place % 8);
            let lost = survey(&files, name, &content, &expected);
            assert!(lost <= 1, "{lost} messages lost by one bit at {place} of {name}");
            surveyed += 1;
        }
    }
    assert!(surveyed > 400, "{surveyed}");
}

/// Every file of a folder and of its quarantine but the lock, by its path in it.
fn all_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = files(folder);
    all.remove("lock");
    let aside = folder.join("quarantine");
    if aside.is_dir() {
        let kept = files(&aside).into_iter();
        all.extend(kept.map(|(name, content)| (format!("quarantine/{name}"), content)));
    }
    all
}

/// How often [`bits_that_flip_at_random_in_all_files_cost_no_more_than_they_say`] flips some; more by the variable of this name.
const FLIPS: u64 = 150;

#[test]
fn bits_that_flip_at_random_in_all_files_cost_no_more_than_they_say() {
    // A spool with everything that there can be in one: of a segment and a journal the disk has kept something back, and they lie in
    // quarantine with copies, texts, list and mark; then two checkpoints, journals, chunks, several segments.
    let made = tempfile::tempdir().unwrap();
    let aside = set_aside(made.path(), true);
    let expected = sample(made.path());
    let whole = all_files(made.path());
    for kind in [
        "identity",
        "segment-",
        "journal-",
        "checkpoint-",
        "spare",
        "quarantine/segment-0000000001.settled.txt",
    ] {
        assert!(whole.keys().any(|name| name.starts_with(kind)), "{kind}: {:?}", whole.keys());
    }
    let rounds = std::env::var("FLIPS").map_or(FLIPS, |rounds| rounds.parse().unwrap());
    let (mut lost_in_all, mut harmless) = (0, 0);
    for seed in 0..rounds {
        let mut random = support::Random(seed);
        let mut content = whole.clone();
        let mut flipped = Vec::new();
        // Few or many; in any file, and as likely in a small one as in a large one.
        let most = 1 << random.below(6);
        for _ in 0..=random.below(most) {
            let name = whole.keys().nth(random.below(whole.len() as u64) as usize).unwrap();
            let octets = content.get_mut(name).unwrap();
            let used = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
            if used > 0 {
                let place = random.below(used as u64) as usize;
                octets[place] ^= 1 << random.below(8);
                flipped.push((name.clone(), place));
            }
        }
        let told = format!("seed {seed}: {flipped:?}");
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("quarantine")).unwrap();
        for (name, octets) in &content {
            fs::write(folder.path().join(name), octets).unwrap();
        }
        // Whoever only looks finds the same, and panics as little.
        if let Ok(look) = Look::at(folder.path(), Later::Refuse) {
            look.verify(&mut |_, _| {}).unwrap();
        }
        let (spool, recovered) = match open_on(Arc::new(CrashStorage::new(folder.path()).unwrap())) {
            Ok(opened) => opened,
            // All that says whose the files are is gone.
            Err(OpenError::Unrecognised { .. }) => continue,
            Err(error) => panic!("{told}: {error}"),
        };
        let mut good = 0;
        for live in &recovered.entries {
            let Some((envelope, sent, _)) = expected.get(&live.id) else {
                // Settled, and the word of that is damaged: it is another one of those that were sent.
                assert!(live.id < spool.draft().id() && is_named(&recovered), "{told}: {} is new", live.id);
                continue;
            };
            match spool.read(live.at) {
                Ok(stored) => {
                    assert!(
                        stored.envelope() == &envelope[..] && body(&stored) == *sent,
                        "{told}: {}",
                        live.id
                    );
                    good += 1;
                }
                // Named now, as it was not looked at before.
                Err(ReadError::Damaged { .. }) => {}
                Err(error) => panic!("{told}: {}: {error}", live.id),
            }
        }
        let found = |id: &EntryId| recovered.entries.iter().any(|live| live.id == *id);
        let missing: Vec<&EntryId> = expected.keys().filter(|id| !found(id)).collect();
        assert!(missing.is_empty() || is_named(&recovered), "{told}: {missing:?} without a word");
        assert!(good + flipped.len() >= expected.len(), "{told}: {good} of {} are good", expected.len());
        lost_in_all += expected.len() - good;
        harmless += usize::from(good == expected.len());
        // What is in quarantine is none of the mail that is there, and nothing that nobody sent.
        match spool.aside(1) {
            Ok(found) => {
                let of_it = |message: &sluice_spool::AsideMessage| aside.contains(&message.id);
                assert!(found.missing().all(of_it), "{told}");
                let count = found.missing().count() as u64;
                let mut came = 0;
                let outcome = spool.bring_back(&found, false, &mut |_| came += 1);
                assert!(outcome.is_ok_and(|outcome| outcome == count) && came == count, "{told}");
            }
            Err(error) => assert!(matches!(error, AsideError::NoList(_)), "{told}: {error}"),
        }
        // And it goes on.
        let (new, _) = commit(&spool, b"new", &[b"mail"]).unwrap();
        spool.close();
        let (_spool, again) = open_on(Arc::new(CrashStorage::new(folder.path()).unwrap())).unwrap();
        assert!(again.entries.iter().any(|live| live.id == new), "{told}");
    }
    assert!(lost_in_all > 0 && harmless > 0, "{lost_in_all} lost, {harmless} rounds without a loss");
}

#[test]
fn files_cut_off_anywhere_or_emptied_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    let files = files(folder.path());
    for (name, content) in files.iter().filter(|(name, _)| *name != "lock" && *name != "identity") {
        for len in [0, 1, 39, 40, 41, 63, 64, 100, 1000, 4000] {
            let len = len.min(content.len() / 2);
            survey(&files, name, &content[..len], &expected);
            let mut zeroed = content.clone();
            zeroed[..len].fill(0);
            survey(&files, name, &zeroed, &expected);
        }
    }
    survey(&files, "identity", b"", &expected);
    survey(&files, "identity", &[0xFF; 40], &expected);
}

#[test]
fn a_stretch_of_rubbish_costs_only_what_it_covers() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    let files = files(folder.path());
    for (name, content) in files.iter().filter(|(name, _)| name.starts_with("segment")) {
        for start in (0..content.len() - 600).step_by(523) {
            let mut content = content.clone();
            content[start..start + 600].copy_from_slice(&bytes(start as u64, 600));
            let lost = survey(&files, name, &content, &expected);
            assert!(lost <= 4, "{lost} messages lost by 600 bytes at {start} of {name}");
        }
    }
}

#[test]
fn a_damaged_message_is_named_when_it_is_read_and_copied_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (_, good_at) = commit(&spool, b"e", &[&bytes(1, 500)]).unwrap();
    let (id, at) = commit(&spool, b"e", &[&bytes(2, 500)]).unwrap();
    let path = folder.path().join("segment-0000000001");
    let mut content = fs::read(&path).unwrap();
    let place = at.offset as usize + 300;
    content[place] ^= 4;
    // In place, as a bad sector would: the file keeps its length under the maps.
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&content[place..=place], place as u64).unwrap();
    for _ in 0..2 {
        match spool.read(at) {
            Err(ReadError::Damaged { path: named, offset, what }) => {
                assert_eq!((named, offset), (path.clone(), u64::from(at.offset)));
                assert!(what.contains("checksum of the body"), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }
    spool.read(good_at).unwrap();
    wait(|done| spool.note(Vec::new(), Durability::Sync, Some(done))).unwrap();
    assert_eq!(spool.stats().quarantined, 1, "the same damage is copied once");
    let name = format!("quarantine/segment-0000000001.{:010}", at.offset);
    let copy = fs::read(folder.path().join(format!("{name}.bytes"))).unwrap();
    assert_eq!(copy, content[at.offset as usize..at.offset as usize + copy.len()]);
    assert!(copy.len() > 500);
    let report = fs::read_to_string(folder.path().join(format!("{name}.txt"))).unwrap();
    assert!(report.contains("segment-0000000001") && report.contains("checksum"), "{report}");
    spool.close();
    let (_spool, recovered) = open(folder.path());
    assert_eq!(recovered.entries.len(), 1);
    assert!(recovered.torn.len() + recovered.quarantined.len() == 1, "{recovered:?}");
    assert!(!recovered.entries.iter().any(|live| live.id == id));
}

#[test]
fn envelopes_are_read_in_any_order_also_long_ones_and_what_is_cut_off_meanwhile_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let options = sluice_spool::Options { segment_size: 4 << 20, ..support::small() };
    let (spool, _) = Spool::open(Arc::new(Disk::open(folder.path()).unwrap()), options).unwrap();
    let envelope = |n: usize| bytes(n as u64, if n % 50 == 7 { 40_000 } else { 20 + n });
    let commit_one = |n: usize| commit(&spool, &envelope(n), &[&bytes(n as u64, n * 37)]).unwrap().1;
    let places: Vec<Location> = (0..200).map(commit_one).collect();
    let mut reader = spool.envelopes();
    let orders: [Vec<usize>; 3] =
        [(0..200).collect(), (0..200).rev().collect(), (0..200).map(|n| n * 77 % 200).collect()];
    for n in orders.into_iter().flatten() {
        assert_eq!(reader.read(places[n]).unwrap(), envelope(n), "{n}");
    }
    let nowhere = Location { segment: 9, offset: 40 };
    assert!(matches!(reader.read(nowhere), Err(ReadError::Missing { .. })));
    assert_eq!(reader.read(places[0]).unwrap(), envelope(0));
    // What was fetched is not counted on for long.
    let path = folder.path().join("segment-0000000001");
    let cut = u64::from(places[100].offset);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    let is_there = |n: usize| u64::from(places[n].offset) < cut / 4096 * 4096;
    let found: Vec<bool> = (0..200).map(|n| reader.read(places[n]).is_ok()).collect();
    assert!((0..99).all(|n| found[n] || !is_there(n)), "{found:?}");
    assert!(found[110..].iter().all(|found| !found), "{found:?}");
}

#[test]
fn a_segment_that_is_cut_short_under_a_running_spool_costs_only_what_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let options = sluice_spool::Options { segment_size: 256 << 10, ..support::small() };
    let disk = Arc::new(Disk::open(folder.path()).unwrap());
    let (spool, _) = Spool::open(disk, options.clone()).unwrap();
    // The last one is longer than what is fetched in one go, and cut in its middle.
    let sizes = [6000, 6000, 6000, 6000, 100_000];
    let sent: Vec<(EntryId, Location)> =
        (0..).zip(sizes).map(|(n, size)| commit(&spool, b"e", &[&bytes(n, size)]).unwrap()).collect();
    let whole = |n: usize| body(&spool.read(sent[n].1).unwrap()) == bytes(n as u64, sizes[n]);
    assert!(whole(0) && whole(4), "mapped, and looked at once");
    let path = folder.path().join("segment-0000000001");
    let cut = |length: u64| fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
    for length in [60_000, 20_000, 16_384, 4096] {
        cut(length);
        let mut reader = spool.envelopes();
        for (n, (_, at)) in sent.iter().enumerate() {
            let end = u64::from(at.offset) + sizes[n] as u64 + 100;
            // The same, by whoever reads many: what lies behind the cut is no reason not to find what lies before it.
            let read = reader.read(*at);
            assert_eq!(
                read.is_ok(),
                spool.read_envelope(*at).is_ok(),
                "{n} of a file cut to {length}: {read:?}"
            );
            // Its envelope stands at its beginning, and is looked for without its body.
            if let Err(error) = spool.read_envelope(*at) {
                assert!(u64::from(at.offset) + 100 > length, "{n} of a file cut to {length}: {error}");
            }
            if end < length {
                assert!(whole(n), "{n} of a file cut to {length}");
            } else if end > length + 4096 {
                let error = spool.read(*at).unwrap_err();
                let damaged =
                    matches!(&error, ReadError::Damaged { what, .. } if what.contains("cut the file short"));
                assert!(damaged, "{n} of a file cut to {length}: {error}");
            }
        }
    }
    // It goes on: what comes is taken, also behind the hole.
    let (new, new_at) = commit(&spool, b"new", &[&bytes(9, 3000)]).unwrap();
    assert_eq!(body(&spool.read(new_at).unwrap()), bytes(9, 3000));
    spool.close();
    let (spool, recovered) = Spool::open(Arc::new(Disk::open(folder.path()).unwrap()), options).unwrap();
    assert!(is_named(&recovered), "{recovered:?}");
    assert!(contents(&spool, &recovered).contains_key(&new));
}

#[test]
fn a_body_full_of_records_is_never_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (victim, victim_at) = commit(&spool, b"victim", &[b"body"]).unwrap();
    spool.close();
    // A stranger who has seen a whole segment of another spool sends it as a message, at every alignment.
    let strange = tempfile::tempdir().unwrap();
    let (other, _) = open(strange.path());
    commit(&other, b"forged", &[b"forged"]).unwrap();
    other.close();
    let forged = fs::read(strange.path().join("segment-0000000001")).unwrap();
    let (spool, _) = open(folder.path());
    for shift in 0..8 {
        let mail = [&b"12345678"[..shift], &forged[..400]].concat();
        commit(&spool, b"carrier", &[&mail]).unwrap();
    }
    spool.close();
    let path = folder.path().join("segment-0000000002");
    let mut content = fs::read(&path).unwrap();
    // Every carrier's header is damaged, so that recovery looks for records in the bodies.
    let starts: Vec<usize> =
        content.windows(7).enumerate().filter(|(_, w)| *w == b"carrier").map(|(at, _)| at).collect();
    assert_eq!(starts.len(), 8);
    for start in starts {
        content[start] = b'C';
    }
    fs::write(&path, content).unwrap();
    let (spool, recovered) = open(folder.path());
    assert_eq!(contents(&spool, &recovered).keys().copied().collect::<Vec<_>>(), [victim]);
    assert_eq!(recovered.entries[0].at, victim_at);
    assert!(is_named(&recovered));
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (id, _) = commit(&spool, b"e", &[b"b"]).unwrap();
    spool.close();
    let strange = tempfile::tempdir().unwrap();
    let (other, _) = open(strange.path());
    commit(&other, b"forged", &[b"forged"]).unwrap();
    other.close();
    let strange_segment = fs::read(strange.path().join("segment-0000000001")).unwrap();
    let foreign = ["README", "segment-7", "segment-0000000009x", "journal-", "control.sock.new"];
    for name in foreign {
        fs::write(folder.path().join(name), b"not ours").unwrap();
    }
    fs::write(folder.path().join("segment-0000000005"), &strange_segment).unwrap();
    fs::create_dir(folder.path().join("segment-0000000006")).unwrap();
    fs::write(folder.path().join("checkpoint-0000000003.new"), b"half").unwrap();
    let (spool, recovered) = open(folder.path());
    assert_eq!(recovered.entries.iter().map(|live| live.id).collect::<Vec<_>>(), [id]);
    assert_eq!(recovered.foreign.len(), foreign.len() + 1, "{:?}", recovered.foreign);
    assert!(recovered.quarantined.is_empty() && recovered.torn.is_empty());
    let (_, at) = commit(&spool, b"e", &[b"b"]).unwrap();
    assert!(at.segment > 5, "numbers of foreign files are not used");
    spool.close();
    for name in foreign {
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"not ours");
    }
    assert_eq!(fs::read(folder.path().join("segment-0000000005")).unwrap(), strange_segment);
    assert!(!folder.path().join("checkpoint-0000000003.new").exists());
}

fn refused(folder: &Path) -> OpenError {
    Spool::open(Arc::new(Disk::open(folder).unwrap()), support::small()).err().expect("it is refused")
}

#[test]
fn a_spool_of_a_later_release_is_refused_and_not_touched() {
    for name in ["identity", "segment-0000000001", "journal-0000000001"] {
        let folder = tempfile::tempdir().unwrap();
        let (spool, _) = open(folder.path());
        let (id, at) = commit(&spool, b"e", &[b"b"]).unwrap();
        set_state(&spool, id, at, b"s").unwrap();
        spool.close();
        let path = folder.path().join(name);
        let mut content = fs::read(&path).unwrap();
        content[8] = 2;
        let crc = crc32c::crc32c(&content[..36]);
        content[36..40].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, content).unwrap();
        let before = files(folder.path());
        let error = refused(folder.path());
        assert!(
            matches!(&error, OpenError::Newer { path: named, found: 2, known: 1 } if *named == path),
            "{error}"
        );
        assert!(error.to_string().contains("version 2"), "{error}");
        assert_eq!(files(folder.path()), before);
    }
}

#[test]
fn a_spool_that_cannot_be_recognised_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    commit(&spool, b"e", &[b"b"]).unwrap();
    spool.close();
    for name in ["identity", "journal-0000000001"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let segment = folder.path().join("segment-0000000001");
    let good = fs::read(&segment).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    fs::write(&segment, bad).unwrap();
    assert!(matches!(refused(folder.path()), OpenError::Unrecognised { .. }));
    fs::write(&segment, good).unwrap();
    assert_eq!(open(folder.path()).1.entries.len(), 1, "one good header is enough");
}

#[test]
fn a_damaged_checkpoint_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    let newest = folder.path().join("checkpoint-0000000002");
    let mut content = fs::read(&newest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&newest, content).unwrap();
    let (spool, recovered) = open(folder.path());
    assert_eq!(recovered.checkpoint, Some(1));
    assert_eq!(contents(&spool, &recovered), expected);
    assert_eq!(recovered.notes, [b"a note".to_vec()]);
}

#[test]
fn with_no_checkpoint_left_every_message_is_still_found() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    for name in ["checkpoint-0000000001", "checkpoint-0000000002"] {
        let path = folder.path().join(name);
        let mut content = fs::read(&path).unwrap();
        content[60] ^= 1;
        fs::write(&path, content).unwrap();
    }
    let (spool, recovered) = open(folder.path());
    let found = contents(&spool, &recovered);
    for (id, content) in &expected {
        assert_eq!(found.get(id), Some(content), "{id}");
    }
    assert_eq!(recovered.quarantined.len(), 2);
}

#[test]
fn a_missing_segment_is_named_with_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    let expected = sample(folder.path());
    fs::remove_file(folder.path().join("segment-0000000001")).unwrap();
    let (spool, recovered) = open(folder.path());
    let missing: Vec<EntryId> = recovered.quarantined.iter().filter_map(|damage| damage.entry).collect();
    assert!(!missing.is_empty());
    let found = contents(&spool, &recovered);
    for id in expected.keys() {
        assert!(found.contains_key(id) != missing.contains(id), "{id}");
    }
}

#[test]
fn what_a_disk_keeps_back_at_a_start_is_set_aside_whole_and_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    commit(&spool, b"e", &[&bytes(1, 1000)]).unwrap();
    commit(&spool, b"e", &[&bytes(2, 2000)]).unwrap();
    let (_, at) = commit(&spool, b"e", &[&bytes(3, 1500)]).unwrap();
    let (behind, _) = commit(&spool, b"e", &[&bytes(4, 3000)]).unwrap();
    spool.close();
    let name = "segment-0000000001";
    let before = fs::read(folder.path().join(name)).unwrap();
    assert!(
        (4096 - 1500..4096).contains(&at.offset) && before.len() == 8192,
        "it goes into the second block"
    );
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.bad_block(name, 4096);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    assert!(is_named(&recovered), "{recovered:?}");
    let found = contents(&spool, &recovered);
    assert_eq!(found.len(), 2 + usize::from(found.contains_key(&behind)), "what is before it is read");
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    spool.close();
    assert!(!folder.path().join(name).exists(), "nobody needs it");
    let aside = folder.path().join("quarantine").join(name);
    assert!(fs::read(aside).unwrap() == before, "and what the disk kept back is still there");
    assert!(open(folder.path()).1.entries.is_empty());
}

/// A spool of which a start found one block of the only segment to be bad, and which nobody needed any more: the messages, in
/// their order, and whether the third, which the disk kept back, had been settled before.
fn set_aside(folder: &Path, is_settled: bool) -> Vec<EntryId> {
    let (spool, _) = open(folder);
    let bodies = [1000, 2000, 1500, 3000].map(|length| bytes(length, usize::try_from(length).unwrap()));
    let messages: Vec<(EntryId, Location)> =
        bodies.iter().map(|body| commit(&spool, b"e", &[body]).unwrap()).collect();
    if is_settled {
        support::remove(&spool, messages[2].0, messages[2].1).unwrap();
    }
    spool.close();
    let storage = CrashStorage::new(folder).unwrap();
    storage.bad_block("segment-0000000001", 4096);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    assert!(recovered.entries.iter().all(|live| live.id != messages[2].0), "it could be read");
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    spool.close();
    messages.into_iter().map(|(id, _)| id).collect()
}

/// What is said of the messages of the segment in quarantine.
fn fates(folder: &Path) -> Vec<(EntryId, Fate)> {
    let look = Look::alone(folder, Later::Refuse).unwrap();
    assert_eq!(look.set_aside().unwrap(), [1]);
    look.aside(1).unwrap().messages.into_iter().map(|message| (message.id, message.fate)).collect()
}

#[test]
fn what_the_disk_gives_back_later_is_brought_back_once() {
    let folder = tempfile::tempdir().unwrap();
    let ids = set_aside(folder.path(), false);
    let before = fates(folder.path());
    assert_eq!(before.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    assert_eq!([&before[0].1, &before[1].1, &before[2].1], [&Fate::Settled, &Fate::Settled, &Fate::Missing]);
    let look = Look::alone(folder.path(), Later::Refuse).unwrap();
    let aside = look.aside(1).unwrap();
    let missing = aside.missing().count() as u64;
    assert_eq!(look.bring_back(&aside, true, support::small()).unwrap(), missing);
    let (spool, recovered) = open(folder.path());
    let found = contents(&spool, &recovered);
    assert_eq!(found.len() as u64, missing);
    assert!(found[&ids[2]].1 == bytes(1500, 1500), "it is what was sent");
    spool.close();
    let look = Look::alone(folder.path(), Later::Refuse).unwrap();
    assert!(look.set_aside().unwrap().is_empty(), "nothing comes twice");
    assert!(matches!(look.aside(1), Err(AsideError::NotThere(_))));
}

/// What a version leaves when the disk has kept back a block of a segment and one of a journal: list, mark, copies and their texts, and both files.
const QUARANTINE_OF: &[(&str, &[(&str, u32)])] = &[(
    "quarantine-0.1",
    &[
        ("checkpoint-0000000001", 0xb319a29d),
        ("checkpoint-0000000002", 0x43da26c1),
        ("identity", 0x48674bc7),
        ("quarantine/journal-0000000001", 0xea6058d9),
        ("quarantine/journal-0000000001.kept-back.txt", 0xe34703c6),
        ("quarantine/segment-0000000001", 0xf11864b1),
        ("quarantine/segment-0000000001.0000003152.bytes", 0x0c126aab),
        ("quarantine/segment-0000000001.0000003152.txt", 0x6150eb4b),
        ("quarantine/segment-0000000001.0000004704.bytes", 0xbb12bc37),
        ("quarantine/segment-0000000001.0000004704.txt", 0x80ce5a89),
        ("quarantine/segment-0000000001.settled.txt", 0xb8a9030c),
        ("spare", 0x98f94189),
    ],
)];

/// Such a spool, as this version leaves it; the third message is the one that can be brought back.
fn set_aside_with_a_journal(folder: &Path) {
    let (spool, _) = open(folder);
    let bodies = [1000, 2000, 1500, 3000].map(|length| bytes(length, usize::try_from(length).unwrap()));
    let sent = bodies.map(|body| commit(&spool, b"e", &[&body]).unwrap());
    // Settled, and said so in the journal that the disk keeps back.
    support::remove(&spool, sent[3].0, sent[3].1).unwrap();
    spool.close();
    let storage = CrashStorage::new(folder).unwrap();
    storage.bad_block("segment-0000000001", 4096);
    storage.bad_block("journal-0000000001", 0);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    for _ in 0..2 {
        spool.checkpoint(Vec::<(EntryId, Location, Vec<u8>)>::new(), Vec::<Vec<u8>>::new()).unwrap();
    }
    spool.close();
}

/// Brings back from a copy of it what there is to be brought back.
fn is_brought_back(folder: &Path) {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("quarantine")).unwrap();
    for (name, content) in all_files(folder) {
        fs::write(copy.path().join(name), content).unwrap();
    }
    let (spool, _) = open(copy.path());
    let found = spool.aside(1).unwrap();
    assert!(found.is_whole && !found.has_unread_journal);
    let fates: Vec<(u64, Fate)> = found.messages.iter().map(|one| (one.id.0, one.fate.clone())).collect();
    assert_eq!(fates, [(1, Fate::Settled), (2, Fate::Settled), (3, Fate::Missing), (4, Fate::Settled)]);
    let mut came = Vec::new();
    spool.bring_back(&found, true, &mut |one| came.push(one)).unwrap();
    assert_eq!(came.len(), 1);
    assert!(body(&spool.read(came[0].at).unwrap()) == bytes(1500, 1500));
}

#[test]
fn what_an_earlier_version_has_set_aside_is_brought_back() {
    let made = tempfile::tempdir().unwrap();
    set_aside_with_a_journal(made.path());
    is_brought_back(made.path());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quarantines");
    if let Some(name) = std::env::var_os("NEW_QUARANTINE_FIXTURE") {
        let to = kept.join(name);
        fs::create_dir_all(to.join("quarantine")).unwrap();
        for (name, content) in all_files(made.path()) {
            // A fixture is never written again.
            assert!(!to.join(&name).exists(), "{name}");
            fs::write(to.join(&name), &content).unwrap();
            println!("(\"{name}\", {:#010x}),", crc32c::crc32c(&content));
        }
    }
    for (version, expected) in QUARANTINE_OF {
        let all = all_files(&kept.join(version));
        let all: Vec<(&str, u32)> =
            all.iter().map(|(name, content)| (name.as_str(), crc32c::crc32c(content))).collect();
        assert_eq!(all, *expected, "{version} was changed; put it back");
        is_brought_back(&kept.join(version));
    }
}

#[test]
fn what_had_been_settled_is_not_brought_back_though_everybody_else_has_forgotten_that() {
    let folder = tempfile::tempdir().unwrap();
    let ids = set_aside(folder.path(), true);
    // Two checkpoints, and the journal that had its removal is gone.
    for _ in 0..2 {
        let (spool, _) = open(folder.path());
        spool.checkpoint(Vec::<(EntryId, Location, Vec<u8>)>::new(), Vec::<Vec<u8>>::new()).unwrap();
        spool.close();
    }
    let fates = fates(folder.path());
    assert!(fates.contains(&(ids[2], Fate::Settled)), "{fates:?}");
}

#[test]
fn what_is_in_the_spool_already_stays_there_once_and_what_is_still_damaged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ids = set_aside(folder.path(), false);
    let path = folder.path().join("quarantine").join("segment-0000000001");
    let whole = fs::read(&path).unwrap();
    // Brought back, and the segment is there again, as from a copy.
    let look = Look::alone(folder.path(), Later::Refuse).unwrap();
    let aside = look.aside(1).unwrap();
    look.bring_back(&aside, true, support::small()).unwrap();
    fs::write(&path, &whole).unwrap();
    assert!(fates(folder.path()).contains(&(ids[2], Fate::There)));
    // And the other way: its last octets are wrong.
    let folder = tempfile::tempdir().unwrap();
    let ids = set_aside(folder.path(), false);
    let path = folder.path().join("quarantine").join("segment-0000000001");
    let mut damaged = fs::read(&path).unwrap();
    damaged[4100] ^= 1;
    fs::write(&path, damaged).unwrap();
    let fates = fates(folder.path());
    assert!(fates.iter().any(|(id, fate)| *id == ids[2] && matches!(fate, Fate::Damaged(_))), "{fates:?}");
}

#[test]
fn a_journal_that_the_disk_keeps_back_is_set_aside_and_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (id, at) = commit(&spool, b"e", &[b"body"]).unwrap();
    for number in 0..30 {
        support::set_state(&spool, id, at, &bytes(number, 100)).unwrap();
    }
    spool.close();
    let name = "journal-0000000001";
    let before = fs::read(folder.path().join(name)).unwrap();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.bad_block(name, 0);
    let (spool, _) = open_on(Arc::new(storage)).unwrap();
    spool.checkpoint(Vec::<(EntryId, Location, Vec<u8>)>::new(), Vec::<Vec<u8>>::new()).unwrap();
    spool.checkpoint(Vec::<(EntryId, Location, Vec<u8>)>::new(), Vec::<Vec<u8>>::new()).unwrap();
    spool.close();
    assert!(!folder.path().join(name).exists(), "a checkpoint has what is known of it");
    assert!(fs::read(folder.path().join("quarantine").join(name)).unwrap() == before);
}

#[test]
fn what_the_disk_keeps_back_at_the_very_end_leaves_its_place_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let sizes = [4096 - 64, 100, 200];
    let messages: Vec<EntryId> =
        sizes.iter().map(|size| commit(&spool, b"e", &[&bytes(*size as u64, *size)]).unwrap().0).collect();
    spool.close();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.bad_block("segment-0000000001", 4096);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    spool.close();
    let fates = fates(folder.path());
    for id in &messages[1..] {
        assert!(fates.contains(&(*id, Fate::Missing)), "{id}: {fates:?}");
    }
}

#[test]
fn a_segment_goes_aside_also_when_the_next_start_could_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let bodies = [1000, 2000, 1500, 3000].map(|length| bytes(length, usize::try_from(length).unwrap()));
    let messages: Vec<EntryId> = bodies.iter().map(|body| commit(&spool, b"e", &[body]).unwrap().0).collect();
    spool.close();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.bad_block("segment-0000000001", 4096);
    let (spool, _) = open_on(Arc::new(storage)).unwrap();
    spool.close();
    // The disk gives all of it back by now, and each message is settled.
    let (spool, recovered) = open(folder.path());
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    spool.close();
    let fates = fates(folder.path());
    assert_eq!(fates.len(), messages.len());
    for (id, fate) in fates {
        let had = recovered.entries.iter().any(|live| live.id == id);
        assert_eq!(fate, if had { Fate::Settled } else { Fate::Missing }, "{id}");
    }
}

#[test]
fn a_segment_without_its_list_and_one_that_is_still_unread_are_told_from_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    let _ids = set_aside(folder.path(), false);
    let aside = folder.path().join("quarantine").join("segment-0000000001");
    let look = Look::alone(folder.path(), Later::Refuse).unwrap();
    assert!(look.aside(1).unwrap().is_whole);
    // The head of the record is wrong, so that it is not even known that a message is there.
    let mut octets = fs::read(&aside).unwrap();
    octets[3100..4500].fill(0xff);
    fs::write(&aside, &octets).unwrap();
    assert!(!look.aside(1).unwrap().is_whole);
    let copied = fs::read_dir(folder.path().join("quarantine")).unwrap();
    let copies: Vec<_> = copied.map(|one| one.unwrap().file_name()).collect();
    assert!(copies.iter().any(|name| name.to_string_lossy().ends_with(".bytes")), "{copies:?}");
    fs::remove_file(aside.with_extension("settled.txt")).unwrap();
    assert!(matches!(look.aside(1), Err(AsideError::NoList(_))));
}

/// The files of the folder that are segments.
fn segments_in(folder: &Path) -> Vec<String> {
    files(folder).into_keys().filter(|name| name.starts_with("segment")).collect()
}

/// A message of three parts in the first two segments, with its record at the end of the second, and one behind it that is whole.
fn spread(folder: &Path) -> (EntryId, Location) {
    let (spool, _) = open(folder);
    let parts: Vec<Vec<u8>> = (0..4).map(|n| bytes(n, 2000)).collect();
    commit(&spool, b"first", &[&bytes(9, 2000)]).unwrap();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let sent = commit(&spool, b"spread", &parts).unwrap();
    commit(&spool, b"last", &[&bytes(8, 100)]).unwrap();
    assert_eq!(sent.1.segment, 2, "{:?}", sent.1);
    spool.close();
    sent
}

#[test]
fn a_body_that_is_spread_over_segments_goes_aside_and_comes_back_with_all_its_parts() {
    // The disk keeps back a part, or the record that says where the parts are.
    for (name, is_record) in [("segment-0000000001", false), ("segment-0000000002", true)] {
        let folder = tempfile::tempdir().unwrap();
        let (id, at) = spread(folder.path());
        let offset = if is_record { at.offset as usize } else { 4096 };
        let storage = CrashStorage::new(folder.path()).unwrap();
        storage.bad_block(name, offset);
        let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
        assert!(!recovered.entries.iter().any(|live| live.id == id), "{name}: it could be read");
        for live in &recovered.entries {
            support::remove(&spool, live.id, live.at).unwrap();
        }
        spool.close();
        assert!(segments_in(folder.path()).is_empty(), "{name}: {:?}", segments_in(folder.path()));
        // Whole again, and in whichever order they are brought back.
        let look = || Look::alone(folder.path(), Later::Refuse).unwrap();
        assert_eq!(look().set_aside().unwrap(), [1, 2], "{name}");
        let first = look();
        let aside = first.aside(1).unwrap();
        first.bring_back(&aside, true, support::small()).unwrap();
        let second = look();
        let aside = second.aside(2).unwrap();
        let fates: Vec<_> = aside.messages.iter().map(|one| (one.id, &one.fate)).collect();
        assert!(fates.contains(&(id, &Fate::Missing)), "{name}: {fates:?}");
        second.bring_back(&aside, true, support::small()).unwrap();
        let (spool, recovered) = open(folder.path());
        let whole: Vec<u8> = (0..4).flat_map(|n| bytes(n, 2000)).collect();
        assert!(contents(&spool, &recovered)[&id].1 == whole, "{name}");
    }
}

#[test]
fn what_was_refused_is_not_copied_beside_what_the_disk_keeps_back() {
    let folder = tempfile::tempdir().unwrap();
    let storage = CrashStorage::new(folder.path()).unwrap();
    let (spool, _) = open_on(Arc::new(storage.clone())).unwrap();
    commit(&spool, b"e", &[&bytes(1, 2000)]).unwrap();
    commit(&spool, b"e", &[&bytes(2, 2000)]).unwrap();
    let (kept_back, at) = commit(&spool, b"e", &[&bytes(3, 500)]).unwrap();
    assert!(at.offset >= 4096 && at.segment == 1, "{at:?}");
    storage.fail(Operation::Sync, 0, 1, std::io::ErrorKind::Other);
    let mut draft = Some(spool.draft());
    let refused = draft.as_ref().unwrap().id();
    let draft = draft.take().unwrap();
    wait(|done| draft.commit(b"e".to_vec(), bytes(4, 500), done)).unwrap_err();
    // Said in the journal, and elsewhere nothing of it.
    wait(|done| spool.note(Vec::new(), Durability::Sync, Some(done))).unwrap();
    spool.close();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.bad_block("segment-0000000001", 4096);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    spool.close();
    let fates = fates(folder.path());
    assert!(fates.contains(&(kept_back, Fate::Missing)), "{fates:?}");
    assert!(fates.contains(&(refused, Fate::Gone)), "its octets are in the file, and nobody's: {fates:?}");
}

#[test]
fn a_segment_whose_list_cannot_be_written_stays_where_it_is() {
    let mut without_list = 0;
    for step in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let (spool, _) = open(folder.path());
        for (n, length) in [(1, 1000), (2, 2000), (3, 1500), (4, 3000)] {
            commit(&spool, b"e", &[&bytes(n, length)]).unwrap();
        }
        spool.close();
        let storage = CrashStorage::new(folder.path()).unwrap();
        storage.bad_block("segment-0000000001", 4096);
        // Copies of what is damaged are made first, each with its text, and then the list.
        storage.fail(Operation::Create, step, 1, std::io::ErrorKind::PermissionDenied);
        let (spool, recovered) = open_on(Arc::new(storage.clone())).unwrap();
        let aside = folder.path().join("quarantine");
        let has_list = aside.join("segment-0000000001.settled.txt").exists();
        storage.mend();
        for live in &recovered.entries {
            support::remove(&spool, live.id, live.at).unwrap();
        }
        spool.close();
        if !has_list {
            without_list += 1;
            assert!(!aside.join("segment-0000000001").exists(), "{step}");
            assert_eq!(
                segments_in(folder.path()),
                ["segment-0000000001"],
                "{step}: it is there, though not needed"
            );
        }
    }
    assert_eq!(without_list, 1, "one of the steps is the list");
}

#[test]
fn a_removal_in_a_journal_that_went_aside_counts_when_the_journal_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let messages: Vec<(EntryId, Location)> = [(1, 1000), (2, 2000), (3, 1500), (4, 3000)]
        .into_iter()
        .map(|(n, length)| commit(&spool, b"e", &[&bytes(n, length)]).unwrap())
        .collect();
    support::remove(&spool, messages[2].0, messages[2].1).unwrap();
    spool.close();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.bad_block("segment-0000000001", 4096);
    storage.bad_block("journal-0000000001", 0);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    for _ in 0..2 {
        spool.checkpoint(Vec::<(EntryId, Location, Vec<u8>)>::new(), Vec::<Vec<u8>>::new()).unwrap();
    }
    spool.close();
    let aside = folder.path().join("quarantine");
    let list = fs::read_to_string(aside.join("segment-0000000001.settled.txt")).unwrap();
    assert!(!list.contains(&messages[2].0.to_string()), "the start did not know of it");
    assert!(aside.join("journal-0000000001").exists());
    let known = fates(folder.path());
    assert!(known.contains(&(messages[2].0, Fate::Settled)), "{known:?}");
    // One that still cannot be read is mentioned.
    let mut octets = fs::read(aside.join("journal-0000000001")).unwrap();
    octets[50] ^= 1;
    fs::write(aside.join("journal-0000000001"), octets).unwrap();
    let look = Look::alone(folder.path(), Later::Refuse).unwrap();
    assert!(look.aside(1).unwrap().has_unread_journal);
}

#[test]
fn what_came_back_before_something_failed_does_not_come_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let sent: Vec<(EntryId, Location)> = [(1, 2000), (2, 1990), (3, 40), (4, 3500)]
        .into_iter()
        .map(|(n, length)| commit(&spool, b"e", &[&bytes(n, length)]).unwrap())
        .collect();
    spool.close();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.bad_block("segment-0000000001", 0);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    let aside = folder.path().join("quarantine/segment-0000000001");
    until("nobody needs it", || aside.exists());
    let whole = fs::read(&aside).unwrap();
    let found = spool.aside(1).unwrap();
    let missing: Vec<EntryId> = found.missing().map(|message| message.id).collect();
    assert!(missing.len() >= 2, "{missing:?} of {sent:?}");
    // The last one cannot be read any more when its turn comes: what is behind the first page was cut off.
    let file = fs::OpenOptions::new().write(true).open(&aside).unwrap();
    file.set_len(4096).unwrap();
    let mut came = Vec::new();
    let error = spool.bring_back(&found, true, &mut |one| came.push((one.id, one.at))).unwrap_err();
    assert!(matches!(error, AsideError::Read { .. }), "{error}");
    assert!(!came.is_empty() && came.len() < missing.len(), "{came:?} of {missing:?}");
    for (id, at) in &came {
        support::remove(&spool, *id, *at).unwrap();
    }
    assert!(aside.exists(), "it has its name, and may be tried again");
    fs::write(&aside, &whole).unwrap();
    let again: Vec<EntryId> = spool.aside(1).unwrap().missing().map(|message| message.id).collect();
    assert_eq!(again, missing[came.len()..], "those that came are settled");
    spool.close();
}

#[test]
fn a_spool_that_is_open_brings_mail_back_by_itself_while_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let ids = set_aside(folder.path(), false);
    let (spool, _) = open(folder.path());
    let before = commit(&spool, b"before", &[b"mail"]).unwrap();
    assert_eq!(spool.set_aside().unwrap(), [1]);
    let aside = spool.aside(1).unwrap();
    let missing: Vec<EntryId> = aside.missing().map(|message| message.id).collect();
    assert!(missing.contains(&ids[2]), "{missing:?}");
    // Somebody else is quicker: what was looked at before is brought back once all the same.
    let other = spool.aside(1).unwrap();
    let mut came = Vec::new();
    let count = spool.bring_back(&aside, false, &mut |one| came.push(one)).unwrap();
    assert_eq!(
        (count as usize, came.iter().map(|one| one.id).collect::<Vec<_>>()),
        (missing.len(), missing.clone())
    );
    assert_eq!(spool.bring_back(&other, true, &mut |one| panic!("{one:?}")).unwrap(), 0);
    assert!(spool.set_aside().unwrap().is_empty());
    let third = came.iter().find(|one| one.id == ids[2]).unwrap();
    let stored = spool.read(third.at).unwrap();
    assert_eq!((stored.envelope(), body(&stored)), (&b"e"[..], bytes(1500, 1500)));
    assert_eq!((third.envelope.as_slice(), third.body_len), (&b"e"[..], 1500));
    let after = commit(&spool, b"after", &[b"mail"]).unwrap();
    // What it has is known segment by segment.
    let mut all: Vec<EntryId> = missing.iter().copied().chain([before.0, after.0]).collect();
    all.sort_unstable();
    spool.close();
    let (_spool, recovered) = open(folder.path());
    assert_eq!(recovered.entries.iter().map(|live| live.id).collect::<Vec<_>>(), all);
}

#[test]
fn what_comes_back_while_nothing_can_be_noted_does_not_come_twice() {
    let full = std::io::ErrorKind::StorageFull;
    for (operation, comes) in [(Operation::Create, 0), (Operation::Sync, 0), (Operation::Rename, 1)] {
        let folder = tempfile::tempdir().unwrap();
        set_aside(folder.path(), false);
        let storage = CrashStorage::new(folder.path()).unwrap();
        let (spool, _) = open_on(Arc::new(storage.clone())).unwrap();
        // The segment that is written has room.
        commit(&spool, b"before", &[b"mail"]).unwrap();
        let found = spool.aside(1).unwrap();
        let all = found.missing().count();
        let bring_back = || {
            let mut came = Vec::new();
            let outcome = spool.bring_back(&found, false, &mut |one| came.push((one.id, one.at)));
            for (id, at) in &came {
                support::remove(&spool, *id, *at).unwrap();
            }
            (came.len(), outcome)
        };
        storage.fail(operation, 0, 1, full);
        let (came, outcome) = bring_back();
        assert!(matches!(outcome, Err(AsideError::Disk { .. })), "{operation:?}: {outcome:?}");
        assert_eq!(came, comes * all, "{operation:?}");
        storage.mend();
        assert_eq!(bring_back().0, all - came, "{operation:?}");
        assert_eq!(bring_back().0, 0, "{operation:?}");
        spool.close();
    }
}

#[test]
fn a_segment_that_cannot_be_opened_is_in_the_way_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    set_aside(folder.path(), false);
    fs::create_dir(folder.path().join("quarantine/segment-0000000099")).unwrap();
    let look = Look::alone(folder.path(), Later::Refuse).unwrap();
    assert_eq!(look.set_aside().unwrap(), [1, 99]);
    assert!(look.aside(1).unwrap().missing().next().is_some());
    assert!(look.aside(99).is_err());
}

#[test]
fn what_was_copied_forward_before_does_not_come_back_from_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = support::open_restless(Arc::new(Disk::open(folder.path()).unwrap())).unwrap();
    let (id, _) = commit(&spool, b"waits", &[&bytes(1, 300)]).unwrap();
    let others: Vec<(EntryId, Location)> =
        (2..5).map(|n| commit(&spool, b"e", &[&bytes(n, 2000)]).unwrap()).collect();
    commit(&spool, b"e", &[&bytes(5, 3000)]).unwrap();
    let segment = folder.path().join("segment-0000000001");
    let before = fs::read(&segment).unwrap();
    for (id, at) in others {
        support::remove(&spool, id, at).unwrap();
    }
    until("it is copied forward", || segments_in(folder.path()) == ["segment-0000000002"]);
    spool.close();
    // Stopped before the segment was gone, and from then on the disk keeps back its first block.
    fs::write(&segment, before).unwrap();
    let storage = CrashStorage::new(folder.path()).unwrap();
    storage.bad_block("segment-0000000001", 0);
    let (spool, recovered) = open_on(Arc::new(storage)).unwrap();
    assert!(recovered.entries.iter().any(|live| live.id == id && live.at.segment == 2));
    for live in &recovered.entries {
        support::remove(&spool, live.id, live.at).unwrap();
    }
    until("nobody needs it", || folder.path().join("quarantine/segment-0000000001").exists());
    // Everybody else forgets that it is settled.
    for _ in 0..2 {
        spool.checkpoint(Vec::<(EntryId, Location, Vec<u8>)>::new(), Vec::<Vec<u8>>::new()).unwrap();
    }
    spool.close();
    let fates = fates(folder.path());
    assert!(fates.contains(&(id, Fate::Settled)), "{fates:?}");
}

/// Waits until a condition holds.
fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{what}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn what_clients_begin_and_never_end_keeps_no_more_than_the_open_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let given_up = |count: u64| {
        let mut draft = spool.draft();
        for n in 0..count {
            wait(|done| draft.chunk(bytes(n, 2000), done)).unwrap();
        }
    };
    for _ in 0..10 {
        // Each takes three segments, and nothing is ever settled.
        given_up(10);
        until("the room is given back", || segments_in(folder.path()).len() <= 1);
    }
    // One that goes on in several segments keeps them until it ends.
    let mut draft = spool.draft();
    for n in 0..10 {
        wait(|done| draft.chunk(bytes(n, 2000), done)).unwrap();
    }
    given_up(10);
    let (id, at) = {
        let id = draft.id();
        (id, wait(|done| draft.commit(b"whole".to_vec(), b"tail".to_vec(), done)).unwrap())
    };
    let whole: Vec<u8> = (0..10).flat_map(|n| bytes(n, 2000)).chain(*b"tail").collect();
    assert!(body(&spool.read(at).unwrap()) == whole);
    spool.close();
    let (spool, recovered) = open(folder.path());
    assert_eq!(contents(&spool, &recovered).keys().copied().collect::<Vec<_>>(), [id]);
}

#[test]
fn a_message_that_waits_does_not_keep_the_room_of_what_was_given_up_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = support::open_restless(Arc::new(Disk::open(folder.path()).unwrap())).unwrap();
    let (id, at) = commit(&spool, b"waits", &[&bytes(1, 300)]).unwrap();
    let mut draft = spool.draft();
    for n in 0..6 {
        wait(|done| draft.chunk(bytes(n, 2000), done)).unwrap();
    }
    assert_eq!(segments_in(folder.path()).len(), 2);
    drop(draft);
    until("what waits is copied forward", || segments_in(folder.path()) == ["segment-0000000002"]);
    assert!(body(&spool.read(at).unwrap()) == bytes(1, 300), "and its owner finds it");
    spool.close();
    assert_eq!(open(folder.path()).1.entries.iter().map(|live| live.id).collect::<Vec<_>>(), [id]);
}
