//! What a database holds, and that damage anywhere is found.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicUsize;

use super::*;

fn sample() -> Database {
    Database::from_pairs([
        ("Zwei", "2"),
        ("eins", "1"),
        ("eins", "one"),
        ("drei.Ärger", "3"),
        ("leer", ""),
        ("liste", "<members.txt"),
    ])
}

/// Octets that may become fewer, as a mapped file can.
#[derive(Debug)]
struct Kept {
    octets: Vec<u8>,
    length: AtomicUsize,
}

impl Image for Kept {
    fn octets(&self) -> Option<&[u8]> {
        (self.length.load(Ordering::Relaxed) >= self.octets.len()).then_some(&self.octets)
    }
}

fn kept(octets: &[u8]) -> Arc<Kept> {
    Arc::new(Kept { octets: octets.to_vec(), length: AtomicUsize::new(octets.len()) })
}

#[test]
fn keys_are_found_without_case_and_the_first_of_two_counts() {
    let database = sample();
    assert_eq!(database.len(), 5);
    for (key, value) in [("eins", "1"), ("EINS", "1"), ("zwei", "2"), ("DREI.ÄRGER", "3"), ("leer", "")] {
        assert_eq!(database.get(key), Ok(Some(value)), "{key}");
    }
    assert_eq!(database.get("ein"), Ok(None));
    assert_eq!(database.get(""), Ok(None));
    assert_eq!(Database::default().get("x"), Ok(None));
    assert_eq!(database.key_length_max(), "drei.ärger".len());
    assert_eq!(database.with_brackets().collect::<Vec<_>>(), [("liste", "<members.txt")]);
}

#[test]
fn many_keys_are_found_and_stand_in_their_order() {
    let pairs: Vec<(String, String)> = (0..5000).map(|n| (format!("k{n:05}"), format!("v{n}"))).collect();
    let database = Database::from_pairs(pairs.clone());
    database.verify().unwrap();
    for (key, value) in &pairs {
        assert_eq!(database.get(key), Ok(Some(value.as_str())));
        assert_eq!(database.get(&format!("{key}x")), Ok(None));
    }
    assert!(database.iter().eq(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
}

#[test]
fn the_compiled_form_is_read_back_and_every_damage_is_found() {
    let database = sample();
    let image = database.image().to_vec();
    assert_eq!(Database::from_image(image.clone()).unwrap(), database);
    for at in 0..image.len() {
        for bit in 0..8 {
            let mut damaged = image.clone();
            damaged[at] ^= 1 << bit;
            assert!(Database::from_image(damaged).is_err(), "octet {at}, bit {bit}");
        }
        assert!(Database::from_image(image[..at].to_vec()).is_err(), "cut at {at}");
    }
    let longer = [&image[..], &[0; 4]].concat();
    assert_eq!(Database::from_image(longer), Err(DatabaseError::Length));
}

#[test]
fn a_mapped_file_that_is_damaged_never_answers_wrongly() {
    let database = sample();
    let image = database.image();
    let (mut refused, mut unavailable) = (0, 0);
    for at in 0..image.len() {
        let mut damaged = image.to_vec();
        damaged[at] ^= 0x10;
        let Ok(opened) = Database::from_map(kept(&damaged)) else {
            refused += 1;
            continue;
        };
        assert!(opened.verify().is_err(), "octet {at}");
        for key in ["zwei", "eins", "drei.ärger", "leer", "liste", "nichts"] {
            match opened.get(key) {
                Err(Unavailable::Damaged) => unavailable += 1,
                answer => assert_eq!(answer, database.get(key), "octet {at}, {key}"),
            }
        }
        assert!(opened.iter().count() < database.len(), "octet {at}");
    }
    assert!(refused >= HEADER && unavailable >= 5 * RECORD, "{refused} {unavailable}");
}

#[test]
fn a_mapped_file_that_becomes_shorter_is_left_alone_for_good() {
    let image = kept(sample().image());
    let database = Database::from_map(image.clone()).unwrap();
    assert_eq!(database.get("eins"), Ok(Some("1")));
    image.length.store(image.octets.len() - 1, Ordering::Relaxed);
    assert_eq!(database.get("eins"), Err(Unavailable::Shorter));
    assert!(database.is_lost());
    assert_eq!(database.iter().count(), 0);
    image.length.store(image.octets.len(), Ordering::Relaxed);
    assert_eq!(
        database.get("eins"),
        Err(Unavailable::Shorter),
        "what was cut and grew again is something else"
    );
    let short = kept(sample().image());
    short.length.store(0, Ordering::Relaxed);
    assert_eq!(Database::from_map(short).unwrap_err(), DatabaseError::Length);
}

#[test]
fn a_file_of_another_version_says_so() {
    let mut image = sample().image().to_vec();
    image[8] = 9;
    assert_eq!(Database::from_image(image), Err(DatabaseError::Version(9)));
    assert_eq!(Database::from_image(b"text".to_vec()), Err(DatabaseError::NotADatabase));
    assert_eq!(Database::from_image(b"SLUICEDB".to_vec()), Err(DatabaseError::NotADatabase));
}

/// With sums that are right again.
fn sealed(mut image: Vec<u8>) -> Vec<u8> {
    let first = long(&image, 32).unwrap() as usize;
    if let Some(table) = image.get(HEADER..first) {
        let table = sum(&[table]);
        image[48..56].copy_from_slice(&table.to_le_bytes());
    }
    let header = sum(&[&image[..HEADER_SUM]]);
    image[HEADER_SUM..HEADER].copy_from_slice(&header.to_le_bytes());
    image
}

#[test]
fn what_points_outside_or_stands_out_of_order_is_refused_even_with_good_sums() {
    let good = Database::from_pairs([("a", "1"), ("b", "2")]).image().to_vec();
    assert!(Database::from_image(sealed(good.clone())).is_ok());
    let first = long(&good, 32).unwrap() as usize;
    let mut swapped = good.clone();
    let (one, two) = (good[first..first + 16].to_vec(), good[first + 16..first + 32].to_vec());
    swapped[first..first + 16].copy_from_slice(&two);
    swapped[first + 16..first + 32].copy_from_slice(&one);
    assert_eq!(Database::from_image(sealed(swapped)), Err(DatabaseError::Damaged));
    for (at, what) in [(12, "entries"), (16, "sources"), (20, "slots"), (40, "longest key"), (44, "brackets")]
    {
        let mut many = good.clone();
        many[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
        assert_eq!(Database::from_image(sealed(many)), Err(DatabaseError::Damaged), "{what}");
    }
    for place in [0, 63, u64::MAX, good.len() as u64 + 1] {
        let mut far = good.clone();
        far[32..40].copy_from_slice(&place.to_le_bytes());
        assert_eq!(Database::from_image(sealed(far)), Err(DatabaseError::Damaged), "{place}");
    }
    // A slot that leads nowhere, with the hash of a key: asked for, it is no answer.
    for place in [0_u32, 1, 15, u32::MAX] {
        let mut astray = good.clone();
        for slot in 0..4 {
            let at = HEADER + slot * SLOT;
            if long(&astray, at) != Some(0) {
                astray[at..at + 4].copy_from_slice(&place.to_le_bytes());
            }
        }
        let opened = Database::from_map(kept(&sealed(astray))).unwrap();
        assert!(opened.verify().is_err());
        assert_eq!(opened.get("a"), Err(Unavailable::Damaged), "{place}");
        assert_eq!(opened.get("c"), Ok(None));
    }
}

#[test]
fn the_sum_is_the_one_of_the_document() {
    assert_eq!(sum(&[]), sum(&[b""]));
    assert_eq!(sum(&[b"eins"]), 0x8d6d6fbc4e75980c);
    assert_eq!(sum(&[b"user0000042@example.com"]), 0x496c5debf1758395);
}
