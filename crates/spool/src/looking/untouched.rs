//! A folder that is read and never written: what recovery would write is dropped, what it would remove stays.

use std::io::{self, IoSlice};
use std::path::PathBuf;

use crate::disk::Disk;
use crate::map::Map;
use crate::storage::{File, Listed, LockFailure, LockGuard, Storage};

/// The folder, seen through a window.
pub(super) struct Untouched(pub(super) Disk);

/// Takes everything and keeps nothing.
struct Nowhere;

impl File for Nowhere {
    fn write_at(&mut self, _: u64, _: &[IoSlice<'_>]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Untouched {
    fn lock(&self) -> Result<LockGuard, LockFailure> {
        Ok(Box::new(()))
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Nowhere))
    }

    fn list(&self) -> io::Result<Vec<Listed>> {
        self.0.list()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_file(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, name: &str) -> io::Result<Map> {
        self.0.map(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}
