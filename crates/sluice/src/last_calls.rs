//! What the plugins in this process did last: a file in the spool folder, for the start after one that had no stop.
//!
//! A plugin in the hub's own process can end the hub: by a signal, by `abort` or `exit`. No mail is lost by that, but the log
//! of the next start is where somebody will look for the reason. `docs/internals/isolation.md` has the layout.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use sluice_host::{Call, Recorder};

/// Name of the file in the spool folder.
const NAME: &str = "last-calls";

/// Says what the plugins of the last hub did when it ended without stopping, and begins to record those of this one. Without a
/// recorder the hub runs as well; nobody is told then.
pub(crate) fn begin(spool: &Path) -> Option<Arc<Recorder>> {
    let path = spool.join(NAME);
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
    // The folder is ours alone, so this is our own file or none.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
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
