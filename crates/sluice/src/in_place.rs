//! Changing a file of the configuration in place: whole or not at all.
//!
//! The file is replaced by a rename, so that a hub that reads it never sees half of it; who changes a file of the same
//! folder at the same time waits. An existing file keeps owner and mode. Not here: what is changed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context as _;

use crate::exit::{Exit, ExitWith, Failure};

/// How a new file comes to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum New<'a> {
    /// It belongs to whoever makes it and can be read by nobody else.
    Private,
    /// It has the owner and group of another file, and its group may read it.
    Like(&'a Path),
}

/// Replaces the file by what `change` makes of its text (empty where there is no file); false when that is nothing.
///
/// # Errors
/// [`Exit::Data`] when the file cannot be read or written, and what `change` gives.
pub(crate) fn change(
    path: &Path,
    new: New<'_>,
    change: impl FnOnce(&str) -> Result<Option<String>, Failure>,
) -> Result<bool, Failure> {
    let in_file = || format!("cannot change {}", path.display());
    // A link stays one, and what it points to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let lock = File::open(folder).with_context(in_file).exit_with(Exit::Data)?;
    // Held until the end: two who change the file one after the other both have their way.
    lock.lock().with_context(in_file)?;
    let (text, existing) = match fs::read_to_string(path) {
        Ok(text) => (text, Some(fs::metadata(path).with_context(in_file)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), None),
        Err(error) => return Err(error).with_context(in_file).exit_with(Exit::Data),
    };
    let Some(text) = change(&text)? else { return Ok(false) };
    let like = match (existing, new) {
        (Some(existing), _) => Some((existing.uid(), existing.gid(), existing.mode() & 0o777)),
        (None, New::Like(other)) => fs::metadata(other).ok().map(|other| (other.uid(), other.gid(), 0o640)),
        (None, New::Private) => None,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    // What a run that was stopped has left.
    let _ = fs::remove_file(&beside);
    let written =
        write(&beside, &text, like).and_then(|()| fs::rename(&beside, path)).and_then(|()| lock.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.with_context(in_file).exit_with(Exit::Data)?;
    Ok(true)
}

/// Writes a file that nobody else sees until it has its owner, group and mode.
fn write(path: &Path, text: &str, like: Option<(u32, u32, u32)>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    if let Some((owner, group, mode)) = like {
        // Whoever may read the file now, the hub's account above all, may read it afterwards.
        if (owner, group) != (file.metadata()?.uid(), file.metadata()?.gid()) {
            std::os::unix::fs::chown(path, Some(owner), Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.sync_all()
}
