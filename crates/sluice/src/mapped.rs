//! Compiled databases as mapped files: opened once, checked at their beginning, and shared by all configurations that use them.
//!
//! A file that has not changed is not opened anew at a reload, so its pages stay warm. One that others may write to is read into
//! memory instead of being mapped, and a diagnostic says so.
//!
//! # Not here
//! The map itself (`spool::map`), what the octets mean (`config`), writing them (`compile`).

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use sluice_config::{Compiled, CompiledError, Database, Image, InMemory};
use sluice_spool::{MappedFile, NotMapped};

/// A mapped file as the octets of a database.
#[derive(Debug)]
struct Octets(MappedFile);

impl Image for Octets {
    fn octets(&self) -> Option<&[u8]> {
        self.0.octets()
    }
}

/// What tells one content of a file from another: device, number, length, and the times of its last changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    number: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Stamp {
        Stamp {
            device: found.dev(),
            number: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// Databases by their files, each with what the file was like when it was opened.
type Open = HashMap<PathBuf, (Stamp, Weak<Database>)>;

/// The databases that are mapped, as long as a configuration has them.
static OPEN: LazyLock<Mutex<Open>> = LazyLock::new(Mutex::default);

/// The compiled database in a file.
pub(crate) fn compiled(path: &Path) -> Result<Compiled, CompiledError> {
    let stamp = Stamp::of(&std::fs::metadata(path).map_err(CompiledError::Read)?);
    let mut open = OPEN.lock();
    open.retain(|_, (_, database)| database.strong_count() > 0);
    if let Some((known, database)) = open.get(path)
        && *known == stamp
        && let Some(database) = database.upgrade()
        && !database.is_lost()
    {
        return Ok(Compiled { database, in_memory: None });
    }
    let why = match MappedFile::open(path) {
        Ok(mapped) => {
            let database = Database::from_map(Arc::new(Octets(mapped))).map_err(CompiledError::Unusable)?;
            let database = Arc::new(database);
            // Replaced since the first look, it is opened anew the next time.
            open.insert(path.to_owned(), (stamp, Arc::downgrade(&database)));
            return Ok(Compiled { database, in_memory: None });
        }
        Err(why) => why,
    };
    let shown = path.display();
    let (text, help) = match &why {
        NotMapped::NotAFile => return Err(CompiledError::Read(io::Error::other(why.to_string()))),
        NotMapped::System(error) => {
            (format!("{why}: {error}"), "make sure that the hub may read it".to_owned())
        }
        NotMapped::Owner(_) => {
            (why.to_string(), format!("chown root {shown}, or let the hub's user run `sluice compile`"))
        }
        NotMapped::Writable(_) => (why.to_string(), format!("chmod go-w {shown}")),
    };
    let octets = std::fs::read(path).map_err(CompiledError::Read)?;
    let database = Arc::new(Database::from_image(octets).map_err(CompiledError::Unusable)?);
    Ok(Compiled { database, in_memory: Some(InMemory { text, help }) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    impl Place {
        fn new(name: &str) -> Place {
            let folder = std::env::temp_dir().join(format!("sluice-mapped-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Place(folder)
        }

        fn put(&self, name: &str, pairs: &[(&str, &str)], mode: u32) -> PathBuf {
            let path = self.0.join(name);
            let beside = self.0.join("beside");
            std::fs::write(&beside, Database::from_pairs(pairs.iter().copied()).image()).unwrap();
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).unwrap();
            std::fs::rename(&beside, &path).unwrap();
            path
        }
    }

    #[test]
    fn a_file_that_has_not_changed_is_not_opened_anew_and_another_one_is() {
        let place = Place::new("again");
        let path = place.put("a.db", &[("k", "one")], 0o644);
        let first = compiled(&path).unwrap().database;
        assert!(Arc::ptr_eq(&first, &compiled(&path).unwrap().database));
        place.put("a.db", &[("k", "two")], 0o644);
        let second = compiled(&path).unwrap().database;
        assert_eq!((first.get("k"), second.get("k")), (Ok(Some("one")), Ok(Some("two"))));
        // Cut short and made whole again in place: what was seen to be lost is not taken up.
        std::fs::write(&path, b"SLUICEDB").unwrap();
        assert!(second.get("k").is_err() && second.is_lost());
        assert!(matches!(compiled(&path), Err(CompiledError::Unusable(_))));
        assert_eq!(first.get("k"), Ok(Some("one")), "the file that was replaced stays whole");
    }

    #[test]
    fn what_others_may_write_is_read_into_memory_and_the_reason_is_told() {
        let place = Place::new("others");
        let path = place.put("a.db", &[("k", "v")], 0o664);
        let Compiled { database, in_memory } = compiled(&path).unwrap();
        let why = in_memory.unwrap();
        assert!(why.text.contains("0664") && why.help.starts_with("chmod go-w "), "{why:?}");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(database.get("k"), Ok(Some("v")), "it is in memory");
        assert!(matches!(compiled(&place.0), Err(CompiledError::Read(_))), "a folder");
    }
}
