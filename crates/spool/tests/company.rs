//! Messages that come close together share a sync: where several did before, the first waits a moment for the others.
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

/// A hub that expects so many to come close together, because one fewer did, with another on his way.
fn used_to(company: usize, folder: &Path, moment: Duration) -> Hub {
    let hub = Hub::open(folder, moment);
    let other = hub.spool.draft();
    for count in 1..company {
        for draft in hub.drafts(count) {
            hub.commit(draft);
        }
        hub.accepts(count);
        assert_eq!(hub.spool.stats().syncs, BEFORE + count as u64);
    }
    drop(other);
    hub
}

/// They come together and share a sync, and not before the last of them is there.
fn share_a_sync(hub: &Hub, count: usize) {
    let before = hub.spool.stats().syncs;
    let mut drafts = hub.drafts(count);
    let last = drafts.pop().unwrap();
    for draft in drafts {
        hub.commit(draft);
    }
    hub.accepts_nothing_yet();
    hub.commit(last);
    hub.accepts(count);
    assert_eq!(hub.spool.stats().syncs, before + 1);
}

#[test]
fn where_several_have_come_together_as_many_are_waited_for_and_share_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let hub = used_to(3, folder.path(), MINUTE);
    share_a_sync(&hub, 3);
    share_a_sync(&hub, 3);
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
fn enough_wait_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let hub = used_to(ENOUGH, folder.path(), MINUTE);
    let others = hub.drafts(20);
    share_a_sync(&hub, ENOUGH);
    share_a_sync(&hub, ENOUGH);
    drop(others);
}

#[test]
fn the_moment_ends() {
    let folder = tempfile::tempdir().unwrap();
    let hub = used_to(2, folder.path(), Duration::from_secs(2));
    hub.commit(hub.spool.draft());
    hub.accepts_nothing_yet();
    hub.accepts(1);
    // It was for nothing, and is not tried again.
    hub.commit(hub.spool.draft());
    hub.accepts(1);
}

#[test]
fn what_cannot_wait_takes_those_along_who_do() {
    let folder = tempfile::tempdir().unwrap();
    let hub = used_to(3, folder.path(), MINUTE);
    hub.commit(hub.spool.draft());
    hub.accepts_nothing_yet();
    wait(|done| hub.spool.note(b"note".to_vec(), Durability::Sync, Some(done))).unwrap();
    hub.accepts(1);
    let mut long = hub.spool.draft();
    hub.commit(hub.spool.draft());
    hub.accepts_nothing_yet();
    wait(|done| long.chunk(b"part of a long body".to_vec(), done)).unwrap();
    hub.accepts(1);
}

#[test]
fn a_close_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let hub = used_to(2, folder.path(), MINUTE);
    hub.commit(hub.spool.draft());
    hub.accepts_nothing_yet();
    let Hub { spool, told, .. } = hub;
    spool.close();
    told.recv_timeout(SOON).unwrap().unwrap();
}
