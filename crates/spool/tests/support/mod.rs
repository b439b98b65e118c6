//! What the tests of the spool share: calls that wait for their answer, and messages that can be recognised.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use sluice_spool::{
    Disk, Durability, EntryId, Location, OpenError, Options, Recovered, SealError, Spool, Storage, Stored,
};

/// Small files, so that a few messages fill several, and short delays.
pub fn small() -> Options {
    Options {
        segment_size: 8192,
        journal_size: 4096,
        lazy_delay: Duration::from_millis(1),
        retry_delay: Duration::from_millis(2),
        rest: Duration::from_secs(60),
        company: Duration::from_micros(500),
        queue_length: 64,
    }
}

pub fn open(folder: &Path) -> (Spool, Recovered) {
    open_on(Arc::new(Disk::open(folder).unwrap())).unwrap()
}

pub fn open_on(storage: Arc<dyn Storage>) -> Result<(Spool, Recovered), OpenError> {
    Spool::open(storage, small())
}

/// The same, and what is left of a segment is copied forward at once.
#[allow(dead_code)] // Not every test moves anything.
pub fn open_restless(storage: Arc<dyn Storage>) -> Result<(Spool, Recovered), OpenError> {
    Spool::open(storage, Options { rest: Duration::ZERO, ..small() })
}

/// Waits for the one answer of a callback.
pub fn wait<T: Send + 'static>(
    call: impl FnOnce(Box<dyn FnOnce(Result<T, SealError>) + Send>),
) -> Result<T, SealError> {
    let (sender, receiver) = mpsc::channel();
    call(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv_timeout(Duration::from_secs(20)).expect("the callback is called")
}

/// Commits a message whose body comes in the given chunks, the last being the tail.
pub fn commit(spool: &Spool, envelope: &[u8], chunks: &[&[u8]]) -> Result<(EntryId, Location), SealError> {
    let mut draft = spool.draft();
    let id = draft.id();
    let (tail, chunks) = chunks.split_last().map_or((&[][..], &[][..]), |(tail, rest)| (*tail, rest));
    for chunk in chunks {
        wait(|done| draft.chunk(chunk.to_vec(), done))?;
    }
    wait(|done| draft.commit(envelope.to_vec(), tail.to_vec(), done)).map(|at| (id, at))
}

pub fn set_state(spool: &Spool, id: EntryId, at: Location, state: &[u8]) -> Result<(), SealError> {
    wait(|done| spool.set_state(id, at, state.to_vec(), Durability::Sync, Some(done)))
}

pub fn remove(spool: &Spool, id: EntryId, at: Location) -> Result<(), SealError> {
    wait(|done| spool.remove(id, at, Durability::Sync, Some(done)))
}

pub fn body(stored: &Stored) -> Vec<u8> {
    let body = stored.pieces().collect::<Vec<_>>().concat();
    assert_eq!(body.len() as u64, stored.body_len());
    body
}

/// Reproducible bytes of any length.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// A small generator (xorshift64*), so that every run of a test is the same.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Envelope, body, state.
pub type Content = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// Everything recovered, read: id to envelope, body and state.
pub fn contents(spool: &Spool, recovered: &Recovered) -> BTreeMap<EntryId, Content> {
    let mut contents = BTreeMap::new();
    for live in &recovered.entries {
        let stored = spool.read(live.at).unwrap_or_else(|error| panic!("{}: {error}", live.id));
        assert_eq!((stored.id(), stored.body_len()), (live.id, live.body_len));
        contents.insert(
            live.id,
            (stored.envelope().to_vec(), body(&stored), live.state.as_deref().map(<[u8]>::to_vec)),
        );
    }
    contents
}

/// A spool with two checkpoints, journals, chunks, several segments; closed.
pub fn sample(folder: &Path) -> BTreeMap<EntryId, Content> {
    let (spool, _) = open(folder);
    let mut expected = BTreeMap::new();
    let mut places = Vec::new();
    for n in 0..12u64 {
        let (large, tail) = (bytes(n, 700), bytes(n + 100, 300));
        let chunks: &[&[u8]] = if n % 3 == 0 { &[&large, &large, &tail] } else { &[&tail] };
        let envelope = vec![n as u8; 30];
        let (id, at) = commit(&spool, &envelope, chunks).unwrap();
        set_state(&spool, id, at, &[n as u8, 1]).unwrap();
        expected.insert(id, (envelope, chunks.concat(), Some(vec![n as u8, 1])));
        places.push((id, at, vec![n as u8, 1]));
        if n == 4 || n == 8 {
            let notes = [b"a note"];
            spool.checkpoint(places.iter().cloned(), notes).unwrap();
        }
        if n == 9 {
            let (gone, gone_at, _) = places.remove(3);
            remove(&spool, gone, gone_at).unwrap();
            expected.remove(&gone);
        }
    }
    spool.close();
    expected
}

/// The files of a folder.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let listed = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = listed.filter(|entry| entry.path().is_file());
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}
