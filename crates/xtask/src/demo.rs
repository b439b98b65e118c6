//! `cargo xtask demo`: the dial-up sample, running: a hub that holds mail, and the site that gets it when it asks.
//!
//! Two processes on loopback, with everything they write in a temporary folder that goes when the demonstration ends.
//! Without `--auto` it prints what to type and waits for Ctrl-C; with it, it types by itself and checks what it sees.

use crate::cargo::{root, target};
use crate::letters;
use crate::whole::build;
use anyhow::{Context, Result, bail, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};
use sluice_testkit::{Program, Talk, free_port, maildir, wait_until};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The ports that are written in the sample. One that is taken is replaced in the copy.
const HUB_PORT: u16 = 10025;
const SITE_PORT: u16 = 10026;
const SHIP_PORT: u16 = 10027;

/// How long anything may take that should take a moment.
const SOON: Duration = Duration::from_secs(30);
/// How long is watched that held mail stays.
const HELD: Duration = Duration::from_secs(3);

/// The running pair.
struct Pair {
    sluice: PathBuf,
    folder: tempfile::TempDir,
    hub_address: SocketAddr,
    hub: Program,
    site: Program,
}

/// The demonstration.
pub(crate) fn run(auto: bool) -> Result<()> {
    let root = root()?;
    eprintln!("==> building everything (development profile)");
    build(&root)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot watch for Ctrl-C")?;
    }
    let mut pair = Pair::start(&root, &stop)?;
    let shown = if auto { pair.by_itself(&stop) } else { pair.by_hand(&stop) };
    if shown.is_err() {
        eprintln!("-- end of the hub's log\n{}", tail(&pair.hub.log()));
        eprintln!("-- end of the site's log\n{}", tail(&pair.site.log()));
    }
    println!("\nstopping both ...");
    let stopped = pair.stop();
    shown.and(stopped)
}

impl Pair {
    fn start(root: &Path, stop: &AtomicBool) -> Result<Pair> {
        let folder =
            tempfile::Builder::new().prefix("sluice-demo-").tempdir().context("no temporary folder")?;
        let [hub_port, site_port, ship_port] = [HUB_PORT, SITE_PORT, SHIP_PORT].map(free_or_other);
        for part in ["hub", "site"] {
            let from = root.join("samples/dialup").join(part);
            let to = folder.path().join(part);
            copy(&from, &to, &[(HUB_PORT, hub_port), (SITE_PORT, site_port), (SHIP_PORT, ship_port)])?;
        }
        let sluice = target(root, "debug").join("sluice");
        let program = |part: &str| {
            let arguments = ["run".into(), "--config".into(), folder.path().join(part).into_os_string()];
            Program::start(&sluice, &arguments, &folder.path().join(format!("{part}.log")))
                .with_context(|| format!("cannot start {}", sluice.display()))
        };
        let (hub, site) = (program("hub")?, program("site")?);
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (hub_address, site_address) = (address(hub_port), address(site_port));
        let mut pair = Pair { sluice: sluice.clone(), folder, hub_address, hub, site };
        for (name, address) in [("hub", hub_address), ("site", site_address)] {
            let up = wait_until(SOON, || {
                let ended =
                    pair.hub.ended().is_some() || pair.site.ended().is_some() || stop.load(Ordering::SeqCst);
                let greets = matches!(Talk::open(address), Ok((_, greeting)) if greeting.code == 220);
                (ended || greets).then_some(greets)
            });
            if up != Some(true) {
                bail!(
                    "the {name} does not listen\n-- hub\n{}\n-- site\n{}",
                    tail(&pair.hub.log()),
                    tail(&pair.site.log())
                );
            }
        }
        println!(
            "the hub listens on {hub_address} and the site on {site_address}; both live in {}",
            pair.folder.path().display()
        );
        Ok(pair)
    }

    fn inbox(&self) -> PathBuf {
        self.folder.path().join("site/mail/fred")
    }

    /// The path of the program as one would type it in the workspace.
    fn typed(&self) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        self.sluice.strip_prefix(&here).unwrap_or(&self.sluice).display().to_string()
    }

    fn by_hand(&mut self, stop: &AtomicBool) -> Result<()> {
        let (sluice, hub) = (self.typed(), self.folder.path().join("hub"));
        let (hub, inbox) = (hub.display(), self.inbox());
        let (address, port) = (self.hub_address, self.hub_address.port());
        println!(
            "
In another terminal, in this folder:

  send mail to the site that is away, and to a ship that is at sea
    cargo xtask send --server {address} --to fred@site7.example.net --count 3
    cargo xtask send --server {address} --to captain@ship.example.org
    swaks --server 127.0.0.1 --port {port} --to fred@site7.example.net     (if you have swaks)

  see it wait
    {sluice} queue summarize --config {hub}
    {sluice} queue list --config {hub}

  release it: as the site would, or as the operator
    cargo xtask etrn --server {address} site7.example.net                  (or @example.net, or '#tcp_dialup')
    {sluice} trigger --config {hub} site7.example.net

  see it arrive
    ls {}

Ctrl-C here stops both.",
            inbox.join("new").display()
        );
        while !stop.load(Ordering::SeqCst) {
            if self.hub.ended().is_some() || self.site.ended().is_some() {
                bail!("one of the two ended by itself");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn by_itself(&mut self, stop: &AtomicBool) -> Result<()> {
        let carry_on = || ensure_not(stop);
        println!("\n1. three messages for the site that is away, one for a ship at sea");
        for (to, count) in [("fred@site7.example.net", 3), ("captain@ship.example.org", 1)] {
            for reply in letters::send(self.hub_address, "sender@origin.example", to, count, 4096)? {
                println!("   {to}: {reply}");
            }
        }
        println!("\n2. they wait, and nothing arrives");
        self.shows(&["queue", "summarize"], &["tcp_dialup", "tcp_ship"])?;
        let early = wait_until(HELD, || {
            (!maildir(&self.inbox()).is_empty() || stop.load(Ordering::SeqCst)).then_some(())
        });
        carry_on()?;
        ensure!(early.is_none(), "mail arrived before it was asked for");
        println!("   {HELD:?} later the site's maildir is still empty");

        println!("\n3. the site says ETRN");
        println!("   ETRN site7.example.net: {}", letters::etrn(self.hub_address, "site7.example.net")?);
        self.arrives(3, stop)?;

        println!("\n4. the ship's mail is still where it was");
        self.shows(&["queue", "summarize"], &["tcp_ship"])?;

        println!("\n5. one more message, and this time the operator opens the gate");
        letters::send(self.hub_address, "sender@origin.example", "ginger@site7.example.net", 1, 1024)?;
        self.shows(&["trigger", "#tcp_dialup"], &["tcp_dialup"])?;
        let ginger = self.folder.path().join("site/mail/ginger");
        let there =
            wait_until(SOON, || (maildir(&ginger).len() == 1 || stop.load(Ordering::SeqCst)).then_some(()));
        carry_on()?;
        ensure!(there.is_some(), "the message for ginger did not arrive");
        println!("   arrived in {}", ginger.display());
        Ok(())
    }

    /// Waits until so many messages are in fred's maildir, and shows them.
    fn arrives(&self, count: usize, stop: &AtomicBool) -> Result<()> {
        let inbox = self.inbox();
        let there = wait_until(SOON, || {
            (maildir(&inbox).len() >= count || stop.load(Ordering::SeqCst)).then_some(())
        });
        ensure_not(stop)?;
        let messages = maildir(&inbox);
        ensure!(there.is_some() && messages.len() == count, "{} of {count} messages arrived", messages.len());
        println!("   arrived in {}:", inbox.display());
        for message in messages {
            let text = String::from_utf8_lossy(&message).into_owned();
            let subject = text.lines().find(|line| line.starts_with("Subject:")).unwrap_or("no subject");
            println!("   {subject} ({} bytes)", message.len());
        }
        Ok(())
    }

    /// Runs a command on the hub, shows its output, and wants these words in it.
    fn shows(&self, arguments: &[&str], words: &[&str]) -> Result<()> {
        println!("   $ sluice {}", arguments.join(" "));
        let output = Command::new(&self.sluice)
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("hub"))
            .output()
            .context("cannot start sluice")?;
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        for line in text.lines() {
            println!("   {line}");
        }
        ensure!(output.status.success(), "sluice {} ended with {}", arguments.join(" "), output.status);
        for word in words {
            ensure!(text.contains(word), "sluice {} does not show {word}", arguments.join(" "));
        }
        Ok(())
    }

    /// Both must stop by themselves within the ten seconds that `sluice run` promises.
    fn stop(&mut self) -> Result<()> {
        for (name, program) in [("hub", &mut self.hub), ("site", &mut self.site)] {
            match program.terminate(Duration::from_secs(10)) {
                Some(status) if status.success() => println!("the {name} has stopped"),
                Some(status) => bail!("the {name} stopped with {status}\n{}", tail(&program.log())),
                None => bail!("the {name} did not stop within ten seconds\n{}", tail(&program.log())),
            }
        }
        Ok(())
    }
}

fn ensure_not(stop: &AtomicBool) -> Result<()> {
    ensure!(!stop.load(Ordering::SeqCst), "stopped by Ctrl-C");
    Ok(())
}

/// The port itself, or another one when somebody listens there.
fn free_or_other(port: u16) -> u16 {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => port,
        Err(_) => {
            let other = free_port();
            println!("port {port} is taken on this machine; the copy of the sample uses {other}");
            other
        }
    }
}

/// Copies a configuration, with other ports where they had to be changed.
fn copy(from: &Path, to: &Path, ports: &[(u16, u16)]) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        let mut text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (written, used) in ports {
            text = text.replace(&written.to_string(), &used.to_string());
        }
        fs::write(to.join(name), text).with_context(|| format!("cannot write into {}", to.display()))?;
    }
    Ok(())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
