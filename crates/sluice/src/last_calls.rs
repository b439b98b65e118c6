//! What the plugins in this process did last: a file beside the control socket, for the start after one that had no stop.
//!
//! A plugin in the hub's own process can end the hub: by a signal, by `abort` or `exit`. No mail is lost by that, but the log
//! of the next start is where somebody will look for the reason. `docs/internals/isolation.md` has the layout.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use sluice_host::{Call, Recorder};

/// Name of the file. It is not the spool's: as long as the hub has it mapped, the file system that it is on cannot be mounted read-only.
const NAME: &str = "last-calls";

/// Says what the plugins of the last hub did when it ended without stopping, and begins to record those of this one. Without a
/// recorder the hub runs as well; nobody is told then.
pub(crate) fn begin(socket: &Path) -> Option<Arc<Recorder>> {
    let path = socket.with_file_name(NAME);
    let begun = open(&path).and_then(|file| {
        tell(&file);
        Recorder::begin(&file)
    });
    match begun {
        Ok(recorder) => Some(recorder),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "what plugins do last is not recorded");
            None
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    // Others may have rights in that folder: what they have put there, or linked to, is not written to.
    let (about, named) = (file.metadata()?, std::fs::symlink_metadata(path)?);
    let is_named = (about.dev(), about.ino()) == (named.dev(), named.ino());
    let is_ours = is_named && about.is_file() && about.nlink() == 1;
    if is_ours && about.uid() == std::fs::metadata("/proc/self")?.uid() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a file of our own"))
    }
}

fn tell(file: &File) {
    let Some((pid, calls)) = Recorder::read(file) else { return };
    let in_plugins = calls.iter().filter(|call| call.call != Call::Waits || !call.held.is_empty());
    for call in in_plugins {
        let id = Some(call.id.as_str()).filter(|id| !id.is_empty());
        tracing::warn!(
            channel = call.channel,
            plugin = call.plugin,
            id,
            in_hand = call.held.len(),
            pid,
            "the hub ended without a stop; a worker of this plugin {}",
            call.call.words()
        );
    }
}
