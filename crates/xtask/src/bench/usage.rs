//! What a process has used: processor time with everything it started, memory, bytes written, room of its files.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The kernel counts in ticks; on every Linux that Rust runs on there are a hundred to the second as seen from programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is needed of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    ticks: u64,
}

/// User and system time of a process, of its living descendants, and of those of them that have ended and been waited
/// for. A daemon's children that ended under a living parent are in that parent's account.
pub(super) fn cpu_seconds(root: u32) -> Result<f64> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("no /proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between the listing and the reading.
        if let Some(stat) = fs::read_to_string(entry.path().join("stat")).ok().as_deref().and_then(parse) {
            all.insert(id, stat);
        }
    }
    let stat = all.get(&root).with_context(|| format!("process {root} is gone"))?;
    let mut ticks = stat.ticks;
    let mut above = vec![root];
    while let Some(parent) = above.pop() {
        for (id, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            ticks += stat.ticks;
            above.push(*id);
        }
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Memory of a process in bytes, by whose it is (`/proc/PID/status`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Its own: heap, stacks, written data.
    pub(super) own: u64,
    /// Pages of files that it has mapped: its program text, segments, databases. They are the system's cache, shared, and given
    /// back whenever somebody needs the room.
    pub(super) files: u64,
}

pub(super) fn memory(process: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the process is gone")?;
    let kib = |name: &str| -> Result<u64> {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        line.split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("{name}{line}"))
    };
    Ok(Memory { own: (kib("RssAnon:")? + kib("RssShmem:")?) << 10, files: kib("RssFile:")? << 10 })
}

/// Bytes that the process has made the disk write (`write_bytes` of `/proc/PID/io`): whole pages, counted when they become dirty.
pub(super) fn bytes_written(process: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{process}/io")).context("the process is gone")?;
    let number = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    number.and_then(|number| number.trim().parse().ok()).context("/proc/PID/io has no write_bytes")
}

/// Room that the files of a folder take on the disk.
pub(super) fn room(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        // A file may go between the listing and the look.
        if let Ok(about) = entry.and_then(|entry| entry.metadata()) {
            bytes += about.blocks() * 512;
        }
    }
    Ok(bytes)
}

/// proc(5): the fields behind the name, which stands in parentheses and may hold anything.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // state is field 3 of the manual page and 0 here: ppid 4, utime 14, stime 15, cutime 16, cstime 17.
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = parse("42 (a ) b) S 7 42 42 0 -1 4194304 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7").unwrap();
        assert_eq!((stat.parent, stat.ticks), (7, 127));
        assert!(parse("42 (cut").is_none());
    }

    #[test]
    fn our_own_memory_and_writes_are_told() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.own > 0 && memory.files > 0, "{memory:?}");
        let folder = tempfile::tempdir().unwrap();
        let before = (bytes_written(std::process::id()).unwrap(), room(folder.path()).unwrap());
        fs::write(folder.path().join("file"), vec![1; 1 << 20]).unwrap();
        fs::File::open(folder.path().join("file")).unwrap().sync_all().unwrap();
        assert!(room(folder.path()).unwrap() >= before.1 + (1 << 20));
        assert!(bytes_written(std::process::id()).unwrap() >= before.0);
    }

    #[test]
    fn our_own_time_is_counted() {
        let before = cpu_seconds(std::process::id()).unwrap();
        // A busy machine may give us a tick of time only after a while.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while cpu_seconds(std::process::id()).unwrap() <= before {
            assert!(std::time::Instant::now() < end, "a minute of work is not counted");
            std::hint::black_box((0..100_000).sum::<u64>());
        }
    }
}
