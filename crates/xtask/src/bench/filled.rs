//! A hub on a spool that was filled beforehand: how a backlog of a million messages is had in seconds.
//!
//! The spool is filled by the benchmark `backlog` of the crate `dispatch`, through the spool's own front door. What waits is on
//! `periodic` channels: it moves when it is asked for.

use super::leftovers::{self, Noted};
use super::usage::cpu_seconds;
use crate::cargo::{cargo, root, step};
use anyhow::{Context, Result, ensure};
use sluice_testkit::{Program, Talk, free_port, wait_until};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything here may take, the start included, before it is a failure and no measurement.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// Jobs at once, for channel and pool.
const JOBS: usize = 20;

/// What is put into a spool.
#[derive(Debug, Clone, Default)]
pub(super) struct Backlog {
    /// Messages for so many sites, spread over so many channels: `s17.c7.example` on `tcp_many7`.
    pub(super) messages: usize,
    pub(super) domains: usize,
    pub(super) channels: usize,
    /// More of them, on the first channel: `EACH*SITES@SUFFIX` is so many messages for each of `s0.SUFFIX`, `s1.SUFFIX` …
    pub(super) groups: Vec<String>,
    /// Octets of a body; 0: some hundred.
    pub(super) size: usize,
}

/// Fills the spool of a hub that is not running.
pub(super) fn fill(folder: &Path, backlog: &Backlog) -> Result<()> {
    let spool = folder.join("spool").to_string_lossy().into_owned();
    let numbers = [backlog.messages, backlog.domains.max(1), backlog.channels.max(1), backlog.size];
    let numbers = numbers.map(|number| number.to_string());
    let mut fill =
        cargo(&root()?, &["bench", "--quiet", "--package", "sluice-dispatch", "--bench", "backlog", "--"]);
    fill.arg(&spool).args(numbers).args(&backlog.groups);
    step("fill a spool", &mut fill, "is there room on the disk?")
}

/// A hub that holds mail for the sites of so many channels, and for those below the suffixes; one sink gets it all.
pub(super) fn configure(folder: &Path, sink: u16, channels: usize, suffixes: &[&str]) -> Result<()> {
    fs::create_dir_all(folder).context("cannot make a folder for Sluice")?;
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))
    };
    let mut text = String::from("hub.example $U@hub.example\n");
    for suffix in suffixes {
        writeln!(text, ".{suffix} $U%$H$D@TCP-MANY0")?;
    }
    for channel in 0..channels {
        writeln!(text, ".c{channel}.example $U%$H$D@TCP-MANY{channel}")?;
    }
    text.push_str("\nl\nhub.example\n\ntcp_local smtp nomx allowetrn\nTCP-DAEMON\n");
    for channel in 0..channels {
        write!(
            text,
            "\ntcp_many{channel} smtp nomx daemon [127.0.0.1] port {sink} periodic maxjobs {JOBS}\nTCP-MANY{channel}\n"
        )?;
    }
    write("sluice.cnf", &text)?;
    write("option.dat", "SPOOL_DIR=spool\n")?;
    write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=1000000\n")?;
    write("job_controller.cnf", &format!("[POOL=DEFAULT]\nJOB_LIMIT={JOBS}\n"))
}

/// A running hub.
pub(super) struct Hub {
    program: Program,
    address: SocketAddr,
    /// When it was started, and when it greeted.
    pub(super) begun: Instant,
    pub(super) greeted: Instant,
    log: PathBuf,
    _noted: Noted,
}

impl Hub {
    /// Starts a hub in its folder and waits for the greeting.
    pub(super) fn start(sluice: &Path, folder: &Path) -> Result<Hub> {
        let port = free_port();
        let service = format!(
            "[SERVICE=SMTP]\nPORT={port}\nINTERFACE_ADDRESS=127.0.0.1\nMAX_PROCS=10\nMAX_CONNS=1000\n\
             MAX_CONNS_PER_CLIENT=10000\n"
        );
        fs::write(folder.join("dispatcher.cnf"), service).context("cannot write dispatcher.cnf")?;
        let arguments =
            ["run".as_ref(), "--log".as_ref(), "warn".as_ref(), "--config".as_ref(), folder.as_os_str()];
        let log = folder.join("log");
        let begun = Instant::now();
        let program = Program::start(sluice, &arguments, &log).context("cannot start sluice")?;
        let noted = leftovers::process(program.id());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let greets =
            super::soon(PATIENCE, || Talk::open(address).ok().filter(|(_, greeting)| greeting.code == 220));
        ensure!(greets.is_some(), "the hub does not greet\n{}", fs::read_to_string(&log).unwrap_or_default());
        Ok(Hub { program, address, begun, greeted: Instant::now(), log, _noted: noted })
    }

    pub(super) fn id(&self) -> u32 {
        self.program.id()
    }

    /// Waits until the hub has nothing to do: its first checkpoint and its first look at every message are over.
    pub(super) fn settle(&self) -> Result<()> {
        let mut before = cpu_seconds(self.id())?;
        let quiet = wait_until(PATIENCE, || {
            std::thread::sleep(Duration::from_millis(500));
            let now = cpu_seconds(self.id()).ok()?;
            (std::mem::replace(&mut before, now) + 0.015 > now).then_some(())
        });
        quiet.context("the hub is never quiet")
    }

    /// A session that has said EHLO.
    pub(super) fn talk(&self) -> Result<Talk> {
        let (mut talk, _) = Talk::open(self.address).context("no session")?;
        talk.ask("EHLO site.example").context("no answer to EHLO")?;
        Ok(talk)
    }

    /// SIGTERM, and the end of it.
    pub(super) fn stop(mut self) -> Result<()> {
        let ended = self.program.terminate(Duration::from_secs(30));
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        ended.map(drop).with_context(|| format!("the hub does not stop\n{log}"))
    }

    /// SIGKILL.
    pub(super) fn kill(mut self) {
        self.program.kill();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.program.terminate(Duration::from_secs(30));
    }
}
