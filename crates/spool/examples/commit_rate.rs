//! How many messages a second the spool accepts on this disk: `cargo run --release -p sluice-spool --example commit_rate
//! [SESSIONS] [MESSAGES] [BYTES] [FOLDER]`. Each session waits for its commit before it sends the next, as SMTP does.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::{Arc, mpsc};
use std::time::Instant;

use sluice_spool::{Disk, Durability, Options, Spool};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: usize| {
        arguments.get(place).map_or(default, |text| text.parse().expect("a number is expected"))
    };
    let (sessions, messages, bytes) = (number(0, 200), number(1, 20_000), number(2, 4096));
    let folder = arguments.get(3).map_or_else(|| std::env::temp_dir().join("sluice-commit-rate"), Into::into);
    let disk = Disk::open(&folder).unwrap();
    let (spool, recovered) = Spool::open(Arc::new(disk), Options::default()).unwrap();
    for live in &recovered.entries {
        spool.remove(live.id, live.at, Durability::Lazy, None);
    }
    let started = Instant::now();
    let (sender, receiver) = mpsc::channel();
    let begin = |spool: &Spool| {
        let (draft, sender) = (spool.draft(), sender.clone());
        let id = draft.id();
        draft.commit(vec![b'e'; 200], vec![b'b'; bytes], move |told| {
            let _ = sender.send((id, told));
        });
    };
    (0..sessions.min(messages)).for_each(|_| begin(&spool));
    for done in 1..=messages {
        let (id, told) = receiver.recv().unwrap();
        spool.remove(id, told.expect("the disk takes it"), Durability::Lazy, None);
        if done + sessions <= messages {
            begin(&spool);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let stats = spool.stats();
    println!(
        "{messages} messages of {bytes} bytes, {sessions} sessions: {:.0} messages/s, {:.0} per sync, in {}",
        messages as f64 / seconds,
        stats.commits as f64 / stats.syncs.max(1) as f64,
        folder.display()
    );
    spool.close();
}
