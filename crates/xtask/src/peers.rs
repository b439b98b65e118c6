//! Other people's mail programs, which the whole-program tests and the benchmark talk to.

use crate::cargo::step;
use anyhow::{Result, bail};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// A peer: what proves that it is there, and the Debian package that brings it.
struct Peer {
    package: &'static str,
    /// A program and its arguments that succeed when the peer is there; nothing is run without arguments, the file
    /// only has to exist.
    program: &'static str,
    arguments: &'static [&'static str],
}

const PEERS: &[Peer] = &[
    Peer { package: "postfix", program: "/usr/sbin/smtp-source", arguments: &[] },
    Peer { package: "swaks", program: "/usr/bin/swaks", arguments: &[] },
    Peer { package: "fetchmail", program: "/usr/bin/fetchmail", arguments: &[] },
    Peer { package: "python3-aiosmtpd", program: "/usr/bin/python3", arguments: &["-c", "import aiosmtpd"] },
    Peer { package: "dovecot-lmtpd", program: "/usr/lib/dovecot/lmtp", arguments: &[] },
    // No mail programs: they count what a message costs the hub.
    Peer { package: "strace", program: "/usr/bin/strace", arguments: &[] },
    Peer { package: "valgrind", program: "/usr/bin/valgrind", arguments: &[] },
    // The header for plugins is compiled by each of them, and the manual page set.
    Peer { package: "g++", program: "/usr/bin/g++", arguments: &[] },
    Peer { package: "clang", program: "/usr/bin/clang++", arguments: &[] },
    Peer { package: "groff", program: "/usr/bin/groff", arguments: &[] },
];

/// Debian asks this script before it starts a service; 101 means no. Ours is there only while packages are installed,
/// so that a Postfix that nobody asked for does not take port 25.
const POLICY: &str = "/usr/sbin/policy-rc.d";

impl Peer {
    fn is_there(&self) -> bool {
        if self.arguments.is_empty() {
            return Path::new(self.program).is_file();
        }
        let mut command = Command::new(self.program);
        command.args(self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Installs the peers that are missing, by apt-get, as root or with a sudo that does not ask. With `lists`, apt-get's lists
/// are brought up to date even if none is missing, where that is allowed.
pub(crate) fn install(lists: bool) -> Result<()> {
    let missing: Vec<&str> = PEERS.iter().filter(|peer| !peer.is_there()).map(|peer| peer.package).collect();
    if missing.is_empty() {
        eprintln!(
            "==> peers: all there ({})",
            PEERS.iter().map(|peer| peer.package).collect::<Vec<_>>().join(", ")
        );
        if lists {
            // Old lists may do; whoever downloads by them says what is wrong otherwise.
            let mut update = Command::new("apt-get");
            let _ = update.args(["-q", "update"]).stdin(Stdio::null()).stdout(Stdio::null()).status();
        }
        return Ok(());
    }
    let by_hand =
        format!("apt-get install {}, or leave the peers out: cargo xtask test --no-peers", missing.join(" "));
    let root = fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0);
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    if !root && !sudo.is_ok_and(|status| status.success()) {
        bail!(
            "these peers are missing, and I am neither root nor may use sudo: {}\n  to repair: {by_hand}",
            missing.join(", ")
        );
    }
    let as_root = |program: &str| {
        let mut command = Command::new(if root { program } else { "sudo" });
        if !root {
            command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", program]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        command
    };
    let policy = ServicePolicy::refuse_starts(root);
    // Postfix is wanted for its programs. With no configuration of its own it never runs by itself.
    preseed(&mut as_root("debconf-set-selections"));
    let apt = ["-q", "-y", "--no-install-recommends", "install"];
    let installed = step(
        "apt-get update",
        as_root("apt-get").args(["-q", "update"]),
        "look at the network and the mirrors",
    )
    .and_then(|()| {
        step(
            &format!("apt-get install {}", missing.join(" ")),
            as_root("apt-get").args(apt).args(&missing),
            &by_hand,
        )
    });
    drop(policy);
    installed?;
    let still: Vec<&str> = PEERS.iter().filter(|peer| !peer.is_there()).map(|peer| peer.package).collect();
    if !still.is_empty() {
        bail!("installed, and still not there: {}", still.join(", "));
    }
    Ok(())
}

/// Answers Postfix's question before it is asked. Without debconf there is no question.
fn preseed(command: &mut Command) {
    let Ok(mut child) = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn() else { return };
    if let Some(mut input) = child.stdin.take() {
        let _ = std::io::Write::write_all(
            &mut input,
            b"postfix postfix/main_mailer_type select No configuration\n",
        );
    }
    let _ = child.wait();
}

/// While this lives, no package starts a service. A policy that the machine has already is left alone.
struct ServicePolicy {
    ours: bool,
}

impl ServicePolicy {
    fn refuse_starts(root: bool) -> ServicePolicy {
        if !root || Path::new(POLICY).exists() {
            return ServicePolicy { ours: false };
        }
        let written = fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)));
        ServicePolicy { ours: written.is_ok() }
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
