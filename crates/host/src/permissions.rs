//! Who may have written a plugin: nobody but root and the user who runs the hub.
//!
//! A library is code that runs with all of the hub's rights, so whoever can change the file, or put another in its
//! place, is the hub. The folder counts too, because who can write it can rename.
//!
//! # Not here
//! Folders further up: an installation that gives those away has no secrets left to keep from its own users.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// `Some` says what is wrong and what to type.
pub(crate) fn unsafe_because(
    path: &Path,
    file: &Metadata,
    folder: &Metadata,
    user: u32,
) -> Option<(String, String)> {
    let shown = path.display();
    let parent = path.parent().unwrap_or(Path::new("/"));
    if file.uid() != 0 && file.uid() != user {
        let why =
            format!("it belongs to user {}, not to root or to user {user} who runs the hub", file.uid());
        return Some((why, format!("chown root {shown}")));
    }
    if let Some(who) = writable_by(file) {
        let why = format!("its mode {:04o} lets {who} write it", file.mode() & 0o7777);
        return Some((why, format!("chmod go-w {shown}")));
    }
    if folder.uid() != 0 && folder.uid() != user {
        let why = format!(
            "its folder {} belongs to user {}, not to root or to user {user} who runs the hub",
            parent.display(),
            folder.uid()
        );
        return Some((why, format!("chown root {}", parent.display())));
    }
    if let Some(who) = writable_by(folder).filter(|_| folder.mode() & STICKY == 0) {
        let why = format!(
            "the mode {:04o} of its folder {} lets {who} replace it",
            folder.mode() & 0o7777,
            parent.display()
        );
        return Some((why, format!("chmod go-w {}", parent.display())));
    }
    None
}

fn writable_by(what: &Metadata) -> Option<&'static str> {
    match what.mode() & (GROUP_WRITE | OTHERS_WRITE) {
        0 => None,
        GROUP_WRITE => Some("the group"),
        OTHERS_WRITE => Some("everybody"),
        _ => Some("the group and everybody"),
    }
}

/// The effective user of this process, as the kernel tells it (proc(5), `Uid:` has real, effective, saved, file system).
pub(crate) fn effective_user() -> io::Result<u32> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status has no effective user"))
}
