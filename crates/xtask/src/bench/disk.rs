//! The row about the disk: bytes written for each message from its acceptance until it is settled, and the room that is
//! taken when all are.
//!
//! Bytes written are those of the kernel's account of the hub (`write_bytes` of `/proc/PID/io`): pages, each counted when it
//! becomes dirty, so that a page that is written twice counts twice. Beside it stands what the spool says at its end that it has
//! written. *Idle* is a hub that has passed on some messages and rests: it has one open segment and one open journal.

use super::kept::{Goal, Row};
use super::relay::{self, Shape};
use super::relays::{Relay, Wanted, start_sluice};
use super::sinks::FastSink;
use super::table::Ground;
use super::usage::{bytes_written, room};
use anyhow::{Context, Result};
use serde_json::json;
use sluice_testkit::wait_until;
use std::time::Duration;

const SIZE: u32 = 4096;
/// Messages before the measurement, so that the files are begun.
const BEFORE: u32 = 200;
const MESSAGES: usize = 20_000;
const ALONE: usize = 1_000;
/// How long the hub may take to give back the room of what is settled.
const ROOM_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    if !ground.wants("disk") {
        return Ok(Vec::new());
    }
    let sink = FastSink::start()?;
    let folder = ground.folder.path().join("disk-sluice");
    let mut relay = start_sluice(&ground.sluice, &folder, sink.port(), Wanted::Relay)?;
    let spool = folder.join("spool");
    let mut sent = 0;
    let mut send = |relay: &Relay, sessions: u32, messages: u32| -> Result<f64> {
        let before = bytes_written(relay.root_process)?;
        let shape = Shape { sessions, size: SIZE, reuse: false };
        relay::measure(relay, &|| sink.count(), shape, messages)?;
        // The last settlements are written lazily.
        std::thread::sleep(Duration::from_secs(1));
        let written = bytes_written(relay.root_process)? - before;
        sent += u64::from(messages);
        Ok(written as f64 / f64::from(messages) / f64::from(SIZE))
    };
    send(&relay, 20, BEFORE)?;
    let idle = room(&spool)?;
    ground.says("disk: bytes written");
    let many = send(&relay, 20, u32::try_from(ground.scaled(MESSAGES))?)?;
    let alone = send(&relay, 1, u32::try_from(ground.scaled(ALONE))?)?;
    let back = wait_until(ROOM_WITHIN, || room(&spool).ok().filter(|room| *room <= idle));
    let after = back.map_or_else(|| room(&spool), Ok)?;
    relay.end()?;
    // The spool counts bytes of records, and the kernel the pages that they are on.
    let own = relay
        .logged("written")
        .zip(relay.logged("journalled"))
        .map(|(written, journalled)| written + journalled);
    let own = own.context("the hub did not say at its end what it has written")?;
    let own = own as f64 / sent as f64 / f64::from(SIZE);
    let group =
        relay.logged("commits").unwrap_or(0) as f64 / relay.logged("syncs").unwrap_or(0).max(1) as f64;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let folder = spool.display().to_string();
    let listed = std::fs::read_dir(&spool).with_context(|| folder.clone())?;
    let files: Vec<String> =
        listed.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    Ok(vec![Row {
        name: "disk",
        what: "disk: bytes per 4 KiB message; room after".to_owned(),
        sluice: format!("{many:.2} x; {:.0} MiB", mebibytes(after)),
        postfix: String::new(),
        goals: vec![
            Goal::at_most(1.3, many, "x its size"),
            Goal::at_most(1.0, after as f64 / idle as f64, "x").named("room as idle"),
        ],
        limit: format!(
            "records alone are {own:.2} x; the last page of a small group is written twice, and a group had {group:.1} messages; a single \
             session has {alone:.2} x"
        ),
        details: json!({
            "times_its_size_20_sessions": many, "times_its_size_1_session": alone,
            "times_its_size_by_its_own_count": own, "messages_for_each_sync": group,
            "room_idle": idle, "room_after": after, "files_after": files,
        }),
    }])
}
