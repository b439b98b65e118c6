//! Messages that are being received at the same time share a sync: the first waits a moment for the others.
//!
//! The moment is a minute here, so that whatever is answered was answered for another reason.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use sluice_spool::{Disk, Draft, Durability, Location, Options, SealError, Spool};
use support::{small, wait};

/// Long enough for an answer that comes.
const SOON: Duration = Duration::from_secs(20);
/// Long enough for a writer that does not wait to have synced.
const MOMENT: Duration = Duration::from_millis(100);
/// As many as are a group in any case.
const ENOUGH: usize = 8;
/// Syncs of a spool that is open.
const BEFORE: u64 = 1;
const MINUTE: Duration = Duration::from_secs(60);

type Told = Result<Location, SealError>;

struct Hub {
    spool: Spool,
    tell: Sender<Told>,
    told: Receiver<Told>,
}

impl Hub {
    fn open(folder: &Path, company: Duration) -> Hub {
        let options = Options { segment_size: 1 << 20, company, ..small() };
        let (spool, _) = Spool::open(std::sync::Arc::new(Disk::open(folder).unwrap()), options).unwrap();
        let (tell, told) = mpsc::channel();
        let hub = Hub { spool, tell, told };
        // The writer is there, and takes no more at its first turn.
        hub.commit(hub.spool.draft());
        hub.accepts(1);
        hub
    }

    fn drafts(&self, count: usize) -> Vec<Draft> {
        (0..count).map(|_| self.spool.draft()).collect()
    }

    fn commit(&self, draft: Draft) {
        let tell = self.tell.clone();
        draft.commit(b"envelope".to_vec(), b"body".to_vec(), move |told| tell.send(told).unwrap());
    }

    /// So many are told that they are accepted.
    fn accepts(&self, count: usize) {
        for _ in 0..count {
            self.told.recv_timeout(SOON).expect("somebody is left waiting").unwrap();
        }
    }

    fn accepts_nothing_yet(&self) {
        let told = self.told.recv_timeout(MOMENT);
        assert!(matches!(told, Err(RecvTimeoutError::Timeout)), "{told:?}");
    }
}

#[test]
fn those_who_are_on_their_way_are_waited_for_and_share_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), MINUTE);
    let mut drafts = hub.drafts(3);
    let last = drafts.pop().unwrap();
    for draft in drafts {
        hub.commit(draft);
    }
    hub.accepts_nothing_yet();
    hub.commit(last);
    hub.accepts(3);
    assert_eq!(hub.spool.stats().syncs, BEFORE + 1);
}

#[test]
fn one_who_comes_alone_waits_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), MINUTE);
    for draft in 1..=3 {
        hub.commit(hub.spool.draft());
        hub.accepts(1);
        assert_eq!(hub.spool.stats().syncs, BEFORE + draft);
    }
}

#[test]
fn one_who_gives_up_is_waited_for_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), MINUTE);
    let [first, second] = [hub.spool.draft(), hub.spool.draft()];
    hub.commit(first);
    hub.accepts_nothing_yet();
    drop(second);
    hub.accepts(1);
}

#[test]
fn enough_wait_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), MINUTE);
    let slow = hub.spool.draft();
    let mut drafts = hub.drafts(ENOUGH);
    let last = drafts.pop().unwrap();
    for draft in drafts {
        hub.commit(draft);
    }
    hub.accepts_nothing_yet();
    hub.commit(last);
    hub.accepts(ENOUGH);
    assert_eq!(hub.spool.stats().syncs, BEFORE + 1);
    drop(slow);
}

#[test]
fn the_moment_ends() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), 2 * MOMENT);
    let [first, slow] = [hub.spool.draft(), hub.spool.draft()];
    hub.commit(first);
    hub.accepts_nothing_yet();
    hub.accepts(1);
    drop(slow);
}

#[test]
fn what_cannot_wait_takes_those_along_who_do() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), MINUTE);
    let [first, second, mut long] = [hub.spool.draft(), hub.spool.draft(), hub.spool.draft()];
    hub.commit(first);
    hub.accepts_nothing_yet();
    wait(|done| hub.spool.note(b"note".to_vec(), Durability::Sync, Some(done))).unwrap();
    hub.accepts(1);
    hub.commit(second);
    hub.accepts_nothing_yet();
    wait(|done| long.chunk(b"part of a long body".to_vec(), done)).unwrap();
    hub.accepts(1);
}

#[test]
fn a_close_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), MINUTE);
    let [first, second] = [hub.spool.draft(), hub.spool.draft()];
    hub.commit(first);
    hub.accepts_nothing_yet();
    let Hub { spool, told, .. } = hub;
    spool.close();
    told.recv_timeout(SOON).unwrap().unwrap();
    drop(second);
}
