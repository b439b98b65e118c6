//! Postfix with a backlog, as far as it can: sites that ask by ETRN (its flush daemon), and a drain.
//!
//! Mail comes in while nobody listens where it should go, and is deferred; for the sites that will ask, the flush daemon notes
//! where it is. Then the sink begins to listen. Nothing is tried again by itself within the hour.

use super::backlog::{Asked, EACH, ask};
use super::filled::PATIENCE;
use super::relay::{Shape, source};
use super::relays::{Relay, Wanted, start_postfix};
use super::sinks::FastSink;
use super::soon;
use super::table::Ground;
use anyhow::{Context, Result, ensure};
use sluice_testkit::{Talk, free_port, wait_until};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The larger backlog: a larger one takes Postfix minutes to take in and to drain.
const OTHERS: usize = 10_000;

/// What Postfix did.
#[derive(Debug, Default)]
pub(super) struct Theirs {
    asked: Vec<(usize, Vec<Asked>)>,
    pub(super) drains: Vec<f64>,
    /// Messages of the drain.
    pub(super) drained: usize,
}

impl Theirs {
    /// What its sites saw beside so many messages for others.
    pub(super) fn asked(&self, others: usize) -> &[Asked] {
        self.asked.iter().find(|(count, _)| *count == others).map_or(&[], |(_, asked)| asked)
    }
}

pub(super) fn measure(ground: &Ground) -> Result<Theirs> {
    let mut theirs = Theirs::default();
    for others in [0, OTHERS] {
        let messages = ground.scaled(others);
        ground.says(&format!("etrn: Postfix with {messages} messages for others"));
        let sites: Vec<String> = (0..=ground.runs).map(|site| format!("s{site}.asked.example")).collect();
        let port = free_port();
        let folder = ground.folder.path().join(format!("etrn-postfix-{messages}"));
        let postfix = start_postfix(&folder, port, Wanted::Asked(&sites))?;
        for site in &sites {
            send(&postfix, &format!("fred@{site}"), EACH)?;
        }
        if messages > 0 {
            send(&postfix, "fred@other.example", messages)?;
        }
        deferred(&postfix, sites.len() * EACH + messages)?;
        let sink = FastSink::listen(port)?;
        let (mut talk, _) = Talk::open(SocketAddr::from((Ipv4Addr::LOCALHOST, postfix.port)))?;
        talk.ask("EHLO site.example")?;
        let mut asked = Vec::new();
        for (number, site) in sites.iter().enumerate() {
            let seen = ask(&mut talk, &sink, site, &[250, 251, 252, 253])?;
            // The first one starts what has to be started.
            if number > 0 {
                asked.push(seen);
            }
        }
        theirs.asked.push((others, asked));
        if messages > 0 && ground.wants("drain") {
            let wanted = sink.count() + messages as u64;
            let begun = Instant::now();
            let mut flush = Command::new("/usr/sbin/postfix");
            flush.arg("-c").arg(postfix.folder.join("conf")).arg("flush").stdin(Stdio::null());
            ensure!(flush.status().context("cannot start postfix")?.success(), "postfix flush failed");
            let time = soon(PATIENCE, || (sink.count() >= wanted).then(|| begun.elapsed()));
            let time = time.with_context(|| format!("Postfix did not drain\n{}", postfix.log_end()))?;
            theirs.drains.push(messages as f64 / time.as_secs_f64());
            theirs.drained = messages;
            ground.says(&format!("drain: postfix {:.0}/s", messages as f64 / time.as_secs_f64()));
        }
    }
    Ok(theirs)
}

fn send(postfix: &Relay, to: &str, messages: usize) -> Result<()> {
    let shape = Shape { sessions: 20, size: 4096, reuse: true };
    let sent = source(postfix.port, shape, u32::try_from(messages)?, to)
        .status()
        .context("cannot start smtp-source")?;
    ensure!(sent.success(), "smtp-source ended with {sent}\n{}", postfix.log_end());
    Ok(())
}

/// Waits until all of it has been tried and deferred, and the flush daemon has heard of it.
fn deferred(postfix: &Relay, count: usize) -> Result<()> {
    let queue = postfix.folder.join("queue");
    let mut seen = 0;
    let all = wait_until(PATIENCE, || {
        std::thread::sleep(Duration::from_millis(200));
        seen = files(&queue.join("deferred"));
        let under_way = files(&queue.join("incoming")) + files(&queue.join("active"));
        (seen >= count && under_way == 0).then_some(())
    });
    all.with_context(|| format!("Postfix has deferred {seen} of {count} messages\n{}", postfix.log_end()))
}

/// Files in a folder and below it.
fn files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        Ok(_) => 1,
        Err(_) => 0,
    };
    entries.flatten().map(count).sum()
}
