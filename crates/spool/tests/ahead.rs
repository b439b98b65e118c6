//! Behind a message that comes alone, soon after another that did, zeros are written up to the next 64 KiB, so that the syncs of those that
//! follow find their blocks written. Nothing else is written ahead.
#![allow(clippy::unwrap_used)]

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_spool::testing::{CrashStorage, Loss, Operation, Steps};
use sluice_spool::{
    Disk, File, Health, Later, Listed, LockFailure, LockGuard, Look, Map, Options, SealError, Spool, Storage,
};

const STRIDE: usize = 64 << 10;
/// Soon enough to follow, and too late.
const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_millis(21);

/// A disk that notes what is written into segments: where, and how much.
struct Noting<S> {
    disk: S,
    writes: Writes,
}

type Writes = Arc<Mutex<Vec<(usize, usize)>>>;

struct NotingFile(Box<dyn File>, Writes);

impl File for NotingFile {
    fn write_at(&mut self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        self.1.lock().unwrap().push((offset as usize, len));
        self.0.write_at(offset, pieces)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

impl<S: Storage> Storage for Noting<S> {
    fn lock(&self) -> Result<LockGuard, LockFailure> {
        self.disk.lock()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn File>> {
        let file = self.disk.create(name, size)?;
        Ok(match name {
            name if name.starts_with("segment") => Box::new(NotingFile(file, Arc::clone(&self.writes))),
            _ => file,
        })
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        self.disk.sync_file(name)
    }

    fn map(&self, name: &str) -> io::Result<Map> {
        self.disk.map(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

struct Hub {
    spool: Spool,
    steps: Steps,
    writes: Writes,
    now: Instant,
}

impl Hub {
    fn open(disk: impl Storage, segment_size: u64) -> Hub {
        let writes = Writes::default();
        let storage = Noting { disk, writes: Arc::clone(&writes) };
        let options = Options { segment_size, rest: Duration::MAX, ..Options::default() };
        let now = Instant::now();
        let (spool, steps, _) = Steps::open(Arc::new(storage), options, now).unwrap();
        Hub { spool, steps, writes, now }
    }

    /// So many messages of so many octets each are handed over, and the writer has its turn this much later. How many were accepted.
    fn accepts(&mut self, after: Duration, messages: usize, octets: usize) -> usize {
        let told = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..messages {
            let told = Arc::clone(&told);
            let done = move |result: Result<_, SealError>| told.lock().unwrap().extend(result.ok());
            self.spool.draft().commit(b"envelope".to_vec(), vec![b'b'; octets], done);
        }
        self.now += after;
        self.steps.turn(self.now);
        told.lock().unwrap().len()
    }

    /// The same, and what was written beside records: zeros.
    fn zeros(&mut self, after: Duration, messages: usize, octets: usize) -> usize {
        let before = (self.spool.stats().written as usize, self.writes.lock().unwrap().len());
        assert_eq!(self.accepts(after, messages, octets), messages);
        let writes = self.writes.lock().unwrap();
        let written: usize = writes[before.1..].iter().filter(|(at, _)| *at > 0).map(|(_, len)| len).sum();
        written - (self.spool.stats().written as usize - before.0)
    }

    /// Where the last write ended.
    fn end(&self) -> usize {
        self.writes.lock().unwrap().last().map(|(at, len)| at + len).unwrap()
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn disk(folder: &Path) -> Disk {
    Disk::open(folder).unwrap()
}

#[test]
fn who_sends_one_message_after_another_finds_blocks_that_were_written() {
    let folder = folder();
    let mut hub = Hub::open(disk(folder.path()), 1 << 20);
    assert_eq!(hub.zeros(SOON, 1, 4096), 0, "it may stay alone");
    let mut strides = 0;
    for message in 0..60 {
        let zeros = hub.zeros(SOON, 1, 4096);
        if zeros > 0 {
            strides += 1;
            assert!(zeros < STRIDE && hub.end().is_multiple_of(STRIDE), "{message}: {zeros}");
        } else {
            assert!(hub.end() < strides * STRIDE, "{message}: behind what was written ahead");
        }
    }
    assert_eq!(strides, (hub.spool.stats().written as usize).div_ceil(STRIDE));
    hub.spool.close();
    let look = Look::at(folder.path(), Later::Refuse).unwrap();
    let loss = look.verify(&mut |_, _| {}).unwrap();
    assert!(loss.flaws.is_empty() && loss.torn.is_empty() && look.recovered().torn.is_empty(), "{loss:?}");
    assert_eq!(look.recovered().entries.len(), 61);
}

#[test]
fn nothing_is_written_ahead_of_groups_of_rare_mail_or_of_those_who_have_company() {
    let folder = folder();
    let mut hub = Hub::open(disk(folder.path()), 1 << 20);
    for _ in 0..3 {
        assert_eq!(hub.zeros(LATE, 1, 4096), 0, "mail that comes rarely");
    }
    for _ in 0..3 {
        assert_eq!(hub.zeros(Duration::ZERO, 2, 4096), 0, "a group");
    }
    assert_eq!(hub.zeros(Duration::ZERO, 1, 4096), 0, "one behind a group");
    let other = hub.spool.draft();
    assert_eq!(hub.zeros(Duration::ZERO, 1, 4096), 0, "another is on its way");
    drop(other);
    assert_eq!(hub.zeros(Duration::ZERO, 1, 4096), 0, "one behind one that had company");
    assert!(hub.zeros(Duration::ZERO, 1, 4096) > 0);
}

#[test]
fn nothing_is_written_behind_the_end_of_a_segment() {
    let folder = folder();
    let mut hub = Hub::open(disk(folder.path()), 40_000);
    hub.zeros(SOON, 1, 4096);
    assert!(hub.zeros(SOON, 1, 4096) > 0);
    assert_eq!(hub.end(), 40_000);
    while hub.spool.stats().segments == 1 {
        let zeros = hub.zeros(SOON, 1, 4096);
        assert!(zeros == 0 || hub.spool.stats().segments == 2, "{zeros}");
        assert!(hub.end() <= 40_000);
    }
    hub.spool.close();
    assert_eq!(std::fs::metadata(folder.path().join("segment-0000000001")).unwrap().len(), 40_000);
}

#[test]
fn zeros_that_cannot_be_written_are_no_trouble() {
    let folder = folder();
    let crash = CrashStorage::new(folder.path()).unwrap();
    let mut hub = Hub::open(crash.clone(), 1 << 20);
    hub.zeros(SOON, 1, 4096);
    // The message is written, and then no page of zeros.
    crash.fail(Operation::Write, 1, 1, io::ErrorKind::StorageFull);
    let before = crash.operations();
    assert_eq!(hub.accepts(SOON, 1, 4096), 1);
    assert_eq!((crash.operations() - before, hub.spool.health()), (3, Health::Ok));
}

#[test]
fn a_crash_at_any_moment_leaves_what_was_accepted_and_no_damage() {
    let options = || Options { segment_size: 40_000, journal_size: 4096, ..Options::default() };
    let mut stop = 0;
    loop {
        let folder = folder();
        let crash = CrashStorage::stop_at(folder.path().join("spool"), stop).unwrap();
        let mut accepted = 0;
        let storage: Arc<dyn Storage> = Arc::new(crash.clone());
        let now = Instant::now();
        if let Ok((spool, steps, _)) = Steps::open(storage, options(), now) {
            let mut hub = Hub { spool, steps, writes: Writes::default(), now };
            accepted = (0..12).map(|_| hub.accepts(Duration::from_millis(1), 1, 4096)).sum();
        }
        let is_over = !crash.stopped();
        crash.stop();
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Torn(stop), Loss::Torn(stop + 1000)] {
            let later = tempfile::tempdir().unwrap();
            crash.survivors(loss, later.path()).unwrap();
            let (spool, recovered) =
                Spool::open(Arc::new(Disk::open(later.path()).unwrap()), options()).unwrap();
            let found = recovered.entries.len();
            assert!((accepted..=accepted + 1).contains(&found), "{found} of {accepted}, operation {stop}");
            // A segment of which not even the length came to the disk is short, and nothing was in it.
            let damaged: Vec<_> = recovered.quarantined.iter().filter(|damage| damage.length > 0).collect();
            assert!(damaged.is_empty(), "{damaged:?}, operation {stop}");
            spool.close();
        }
        if is_over {
            assert_eq!(accepted, 12);
            break;
        }
        stop += 1;
    }
    assert!(stop > 40, "{stop}");
}
