//! What has arrived in a maildir.

use std::fs;
use std::path::Path;

/// The messages in `new` and `cur` of a maildir, in the order of their file names; none when it does not exist yet.
#[must_use]
pub fn maildir(folder: &Path) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for part in ["new", "cur"] {
        let Ok(entries) = fs::read_dir(folder.join(part)) else { continue };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        messages.extend(paths.iter().filter_map(|path| fs::read(path).ok()));
    }
    messages
}
