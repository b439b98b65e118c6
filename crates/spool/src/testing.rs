//! For tests of the spool and of its owners: [`CrashStorage`], a disk that counts, stops, tears, forgets and fills up, and
//! [`Steps`], a writer without a thread.
//!
//! It is a real folder (so that maps are real maps) with a model beside it of what would be on the disk if the power
//! went now: bytes only up to the last sync of their file, names only up to the last sync of the folder. After the test
//! has stopped it, [`CrashStorage::survivors`] writes into another folder what a machine would find at its next start.
//!
//! The model is stricter than any real disk: a sync that fails loses everything written since the last one for ever,
//! and syncing a file does not make its name durable.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::map::Map;
use crate::recovery::Recovered;
use crate::spool::{Options, Spool, Stepped, SteppedPlace};
use crate::storage::{File, Listed, LockFailure, LockGuard, Storage};

/// The writer of a spool that has no thread: it does nothing but in the turns that the test lets it take, at the times that
/// the test names. Callbacks run within them, on the test's thread. (And [`Spool::cut`] and [`Spool::close`], which wait for
/// the writer, take a turn by themselves.)
pub struct Steps(SteppedPlace);

impl Steps {
    /// Opens a spool whose writer is stepped, at a time.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: Options,
        now: Instant,
    ) -> Result<(Spool, Steps, Recovered), OpenError> {
        let (spool, stepped, recovered) = Spool::open_stepped(&storage, options, now)?;
        drop(storage);
        Ok((spool, Steps(stepped), recovered))
    }

    /// Lets the writer take what waits and do what is due.
    pub fn turn(&self, now: Instant) {
        Stepped::turn(&self.0, Some(now));
    }

    /// When the writer has something to do: at once when somebody waits for it. `None` also when the spool is closed.
    pub fn due(&self) -> Option<Instant> {
        self.0.lock().as_ref().and_then(Stepped::due)
    }
}

/// Bytes a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Bytes of a bad block.
const BLOCK: usize = 4096;

/// The operations that change something; each counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Storage::create`].
    Create,
    /// [`File::write_at`].
    Write,
    /// [`File::sync`] and [`Storage::sync_file`].
    Sync,
    /// [`Storage::sync_dir`].
    SyncDir,
    /// [`Storage::rename`].
    Rename,
    /// [`Storage::remove`].
    Remove,
}

/// What is lost when everything stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed: everything written is there, synced or not.
    Nothing,
    /// The power went: only what was synced is there.
    Unsynced,
    /// The power went while the disk was writing: of what was not synced, some sectors and some names made it, in any
    /// order. The number chooses which.
    Torn(u64),
}

/// A disk under test. Clones are the same disk.
#[derive(Clone)]
pub struct CrashStorage {
    disk: Disk,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    operations: u64,
    stop_at: Option<u64>,
    stopped: bool,
    faults: Vec<Fault>,
    /// Files with a block that cannot be read, and where.
    bad_blocks: BTreeMap<String, usize>,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
}

struct Fault {
    operation: Operation,
    skip: u64,
    times: u64,
    error: io::ErrorKind,
}

#[derive(Default)]
struct Inode {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

enum NameChange {
    Link(String, usize),
    Unlink(String),
    Rename(String, String, usize),
}

/// What the world lets an operation do.
enum Fate {
    Done,
    /// Half of it happens, then the error.
    Half(io::Error),
}

impl World {
    fn fate(&mut self, operation: Operation) -> Fate {
        if self.stopped {
            return Fate::Half(stopped());
        }
        if self.stop_at == Some(self.operations) {
            self.stopped = true;
            return Fate::Half(stopped());
        }
        self.operations += 1;
        for fault in &mut self.faults {
            if fault.operation != operation || fault.times == 0 {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else {
                fault.times -= 1;
                return Fate::Half(fault.error.into());
            }
        }
        Fate::Done
    }

    fn sync(&mut self, inode: usize) {
        let inode = &mut self.inodes[inode];
        for change in inode.unsynced.drain(..) {
            change.apply(&mut inode.durable);
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine stopped")
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Length(length) => content.resize(*length, 0),
            Change::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Unlink(name) => {
                names.remove(name);
            }
            NameChange::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl CrashStorage {
    /// A disk in a folder. What is in the folder counts as synced.
    pub fn new(folder: impl Into<PathBuf>) -> io::Result<CrashStorage> {
        let disk = Disk::open(folder)?;
        let mut world = World::default();
        for file in disk.list()? {
            let durable = fs::read(disk.path(&file.name))?;
            world.names.insert(file.name, world.inodes.len());
            world.inodes.push(Inode { durable, unsynced: Vec::new() });
        }
        world.durable_names = world.names.clone();
        Ok(CrashStorage { disk, world: Arc::new(Mutex::new(world)) })
    }

    /// The same, but everything ends with the operation of this number (from 0): half of it happens, and every later
    /// one fails.
    pub fn stop_at(folder: impl Into<PathBuf>, operation: u64) -> io::Result<CrashStorage> {
        let storage = CrashStorage::new(folder)?;
        storage.world.lock().stop_at = Some(operation);
        Ok(storage)
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.world.lock().operations
    }

    /// Whether the end has come.
    pub fn stopped(&self) -> bool {
        self.world.lock().stopped
    }

    /// Ends everything now.
    pub fn stop(&self) {
        self.world.lock().stopped = true;
    }

    /// Ends everything with the operation of this number, counted from now (0 is the next one), as
    /// [`CrashStorage::stop_at`] does.
    pub fn stop_after(&self, operations: u64) {
        let mut world = self.world.lock();
        world.stop_at = Some(world.operations + operations);
    }

    /// Lets it go on after a stop: only the process was killed. What was not synced is still in memory, and still not on
    /// the disk.
    pub fn restart(&self) {
        let mut world = self.world.lock();
        world.stopped = false;
        world.stop_at = None;
    }

    /// Lets operations of one kind fail: after `skip` good ones, `times` in a row (`u64::MAX` until [`Self::mend`]).
    /// `StorageFull` is a full disk. A failing write writes half, a failing sync loses what was not synced.
    pub fn fail(&self, operation: Operation, skip: u64, times: u64, error: io::ErrorKind) {
        self.world.lock().faults.push(Fault { operation, skip, times, error });
    }

    /// From now on the disk does not give back the block of a file in which this offset is: who touches it in a map that is made
    /// from now on gets a `SIGBUS`.
    pub fn bad_block(&self, name: &str, offset: usize) {
        self.world.lock().bad_blocks.insert(name.to_owned(), offset / BLOCK * BLOCK);
    }

    /// Takes all faults away.
    pub fn mend(&self) {
        let mut world = self.world.lock();
        world.faults.clear();
        world.bad_blocks.clear();
    }

    /// A file without a name that has this content.
    fn nameless(&self, content: &[u8]) -> io::Result<fs::File> {
        let path = self.disk.path("nameless");
        fs::write(&path, content)?;
        let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }

    /// Writes into an empty folder what the next start would find.
    pub fn survivors(&self, loss: Loss, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let world = self.world.lock();
        let mut names = world.durable_names.clone();
        let mut chance = Chance(0);
        match loss {
            Loss::Nothing => names = world.names.clone(),
            Loss::Unsynced => {}
            Loss::Torn(seed) => {
                chance.0 = seed;
                for change in &world.name_changes {
                    if chance.next().is_multiple_of(2) {
                        change.apply(&mut names);
                    }
                }
            }
        }
        for (name, number) in &names {
            let inode = &world.inodes[*number];
            let mut content = inode.durable.clone();
            match loss {
                // A file that lost bytes with a failed sync still shows them to those who read it.
                Loss::Nothing => content = fs::read(self.disk.path(name))?,
                Loss::Unsynced => {}
                Loss::Torn(_) => {
                    for change in &inode.unsynced {
                        change.tear(&mut chance, &mut content);
                    }
                }
            }
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, content)?;
        }
        Ok(())
    }

    fn named(&self, world: &mut World, name: &str) -> usize {
        if let Some(inode) = world.names.get(name) {
            return *inode;
        }
        world.inodes.push(Inode::default());
        world.inodes.len() - 1
    }
}

impl Change {
    /// Some sectors of it.
    fn tear(&self, chance: &mut Chance, content: &mut Vec<u8>) {
        match self {
            Change::Length(_) => {
                if chance.next().is_multiple_of(2) {
                    self.apply(content);
                }
            }
            Change::Bytes(offset, bytes) => {
                let mut start = 0;
                while start < bytes.len() {
                    let sector_end = ((offset + start) / SECTOR + 1) * SECTOR - offset;
                    let end = sector_end.min(bytes.len());
                    if chance.next().is_multiple_of(2) {
                        Change::Bytes(offset + start, bytes[start..end].to_vec()).apply(content);
                    }
                    start = end;
                }
            }
        }
    }
}

/// splitmix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}

impl Storage for CrashStorage {
    fn lock(&self) -> Result<LockGuard, LockFailure> {
        self.disk.lock()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn File>> {
        let mut world = self.world.lock();
        match world.fate(Operation::Create) {
            Fate::Half(error) => Err(error),
            Fate::Done => {
                let inner = self.disk.create(name, size)?;
                let number = world.inodes.len();
                let unsynced = vec![Change::Length(size as usize)];
                world.inodes.push(Inode { durable: Vec::new(), unsynced });
                world.names.insert(name.to_owned(), number);
                world.name_changes.push(NameChange::Link(name.to_owned(), number));
                Ok(Box::new(CrashFile { inner, inode: number, world: Arc::clone(&self.world) }))
            }
        }
    }

    /// By name, so that what happens is the same each time.
    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = self.disk.list()?;
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        if let Fate::Half(error) = world.fate(Operation::Rename) {
            return Err(error);
        }
        // Some file systems sync a file that replaces another; without one to replace the tests need not wait for that.
        let _ = self.disk.remove(to);
        self.disk.rename(from, to)?;
        let inode = self.named(&mut world, from);
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), inode);
        change.apply(&mut world.names);
        world.name_changes.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        if let Fate::Half(error) = world.fate(Operation::Remove) {
            return Err(error);
        }
        self.disk.remove(name)?;
        world.names.remove(name);
        world.name_changes.push(NameChange::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = self.world.lock();
        if let Fate::Half(error) = world.fate(Operation::SyncDir) {
            return Err(error);
        }
        world.durable_names = world.names.clone();
        world.name_changes.clear();
        Ok(())
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        let mut world = self.world.lock();
        let inode = self.named(&mut world, name);
        if let Fate::Half(error) = world.fate(Operation::Sync) {
            world.inodes[inode].unsynced.clear();
            return Err(error);
        }
        world.sync(inode);
        Ok(())
    }

    /// A bad block is made of a file that is cut off before it, and so is all that is behind it.
    fn map(&self, name: &str) -> io::Result<Map> {
        let Some(bad) = self.world.lock().bad_blocks.get(name).copied() else { return self.disk.map(name) };
        let file = self.nameless(&fs::read(self.disk.path(name))?)?;
        let map = Map::of(&file)?;
        file.set_len(bad as u64)?;
        Ok(map)
    }

    fn salvage(&self, name: &str) -> io::Result<Map> {
        let mut content = fs::read(self.disk.path(name))?;
        if let Some(bad) = self.world.lock().bad_blocks.get(name) {
            let end = content.len().min(bad + BLOCK);
            content[*bad..end].fill(0);
            let mut map = Map::salvage(&self.nameless(&content)?)?;
            map.unread_end = end;
            return Ok(map);
        }
        Map::salvage(&self.nameless(&content)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

struct CrashFile {
    inner: Box<dyn File>,
    inode: usize,
    world: Arc<Mutex<World>>,
}

impl File for CrashFile {
    fn write_at(&mut self, offset: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let mut world = self.world.lock();
        let was_stopped = world.stopped;
        let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let fate = world.fate(Operation::Write);
        if let Fate::Half(_) = &fate {
            bytes.truncate(if was_stopped { 0 } else { bytes.len() / 2 });
        }
        if !bytes.is_empty() {
            self.inner.write_at(offset, &[IoSlice::new(&bytes)])?;
            world.inodes[self.inode].unsynced.push(Change::Bytes(offset as usize, bytes));
        }
        match fate {
            Fate::Done => Ok(()),
            Fate::Half(error) => Err(error),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.world.lock();
        let was_stopped = world.stopped;
        match world.fate(Operation::Sync) {
            Fate::Done => {
                world.sync(self.inode);
                Ok(())
            }
            Fate::Half(error) => {
                // When it is the machine that stops, some of the bytes may still have made it; after a failure that
                // the machine survives, they are gone from memory as well.
                if !was_stopped && !world.stopped {
                    world.inodes[self.inode].unsynced.clear();
                }
                Err(error)
            }
        }
    }
}
