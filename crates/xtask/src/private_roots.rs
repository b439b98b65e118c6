//! Mail and name servers that are unpacked and not installed: several MTAs of one machine would be installed over one another.
//!
//! Each has a root of its own, `target/peers/PACKAGE`, with the packages that apt-get would install for it here. No script of
//! a package is run and no file of the machine is changed, so that neither root's rights nor a free place at `/usr/sbin/sendmail`
//! are needed. The tests start such a program with the libraries of its root and a list of users of their own
//! (`sluice_tests::Peer`).
//!
//! # Not here
//! Peers that live well with each other; they are installed (`peers`).

use crate::cargo;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A root: the package that it is named after, and the file that shows that it is complete.
struct Private {
    package: &'static str,
    program: &'static str,
}

const ROOTS: &[Private] = &[
    Private { package: "exim4-daemon-heavy", program: "usr/sbin/exim4" },
    Private { package: "sendmail-bin", program: "usr/libexec/sendmail/sendmail" },
    Private { package: "opensmtpd", program: "usr/sbin/smtpd" },
    Private { package: "nsd", program: "usr/sbin/nsd" },
    // A program that messages are given to.
    Private { package: "procmail", program: "usr/bin/procmail" },
    // For its etrn(8), a script.
    Private { package: "sendmail-base", program: "usr/sbin/etrn" },
];

/// In every root: it gives a program users and groups that the machine does not have.
const USERS: &str = "libnss-wrapper";

/// Where libraries of Debian's packages lie in a root.
const LIBRARIES: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "usr/lib", "lib/x86_64-linux-gnu"];

/// What the tests have no use for.
const UNUSED: [&str; 4] = ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian"];

impl Private {
    fn folder(&self, root: &Path) -> PathBuf {
        cargo::target(root, "peers").join(self.package)
    }

    /// The root is moved to its place when it is complete, and its program finds all its libraries.
    fn is_there(&self, root: &Path) -> bool {
        let folder = self.folder(root);
        // A script needs no libraries.
        if fs::read(folder.join(self.program)).is_ok_and(|content| content.starts_with(b"#!")) {
            return true;
        }
        let libraries: Vec<PathBuf> = LIBRARIES.iter().map(|part| folder.join(part)).collect();
        let Ok(path) = std::env::join_paths(libraries) else { return false };
        let output = Command::new("ldd").arg(folder.join(self.program)).env("LD_LIBRARY_PATH", path).output();
        output.is_ok_and(|output| {
            output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("not found")
        })
    }

    fn unpack(&self, root: &Path) -> Result<()> {
        let by_hand = format!(
            "apt-get update as root, then this again; or leave the peers out: cargo xtask test --no-peers (wanted: {})",
            self.package
        );
        let folder = self.folder(root);
        let parent = folder.parent().context("target/peers has a parent")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let work = parent.join(format!("{}.{}", self.package, std::process::id()));
        let done = self.unpack_into(&work, &by_hand).and_then(|()| {
            // An older one lacked something that the machine had then and has no more.
            let _ = fs::remove_dir_all(&folder);
            fs::rename(work.join("root"), &folder)
                .with_context(|| format!("cannot make {}", folder.display()))
        });
        let _ = fs::remove_dir_all(&work);
        done
    }

    fn unpack_into(&self, work: &Path, by_hand: &str) -> Result<()> {
        let (packages, root) = (work.join("packages"), work.join("root"));
        fs::create_dir_all(&packages).with_context(|| format!("cannot make {}", packages.display()))?;
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let mut download = Command::new("apt-get");
        download.current_dir(&packages).args(["-q", "download", USERS]).args(needed(self.package)?);
        cargo::step(&format!("apt-get download {}", self.package), &mut download, by_hand)?;
        for entry in fs::read_dir(&packages)?.flatten() {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(entry.path()).arg(&root);
            if !unpack.status().context("cannot start dpkg-deb")?.success() {
                bail!("{} cannot be unpacked\n  to repair: {by_hand}", entry.path().display());
            }
        }
        for unused in UNUSED {
            let _ = fs::remove_dir_all(root.join(unused));
        }
        lower(&root)
    }
}

/// The packages that apt-get would install here for this one, itself included. Nothing is installed.
fn needed(package: &str) -> Result<Vec<String>> {
    let mut command = Command::new("apt-get");
    command.args(["-q", "--simulate", "--no-install-recommends", "--reinstall", "install", package]);
    let output = command.stdin(Stdio::null()).output().context("cannot start apt-get")?;
    if !output.status.success() {
        bail!(
            "apt-get does not know how to install {package}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

/// Takes the rights of other users from all programs: what is unpacked as root keeps its set-user-id bits.
fn lower(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten()
    {
        let about = entry.metadata()?;
        if about.is_dir() {
            lower(&entry.path())?;
        } else if about.is_file() && about.permissions().mode() & 0o6000 != 0 {
            fs::set_permissions(
                entry.path(),
                fs::Permissions::from_mode(about.permissions().mode() & 0o1777),
            )?;
        }
    }
    Ok(())
}

/// The roots that are not there.
pub(crate) fn missing(root: &Path) -> Vec<&'static str> {
    ROOTS.iter().filter(|one| !one.is_there(root)).map(|one| one.package).collect()
}

/// Unpacks the roots that are missing.
pub(crate) fn unpack(root: &Path) -> Result<()> {
    for one in ROOTS.iter().filter(|one| !one.is_there(root)) {
        one.unpack(root)?;
        if !one.is_there(root) {
            bail!("{} is unpacked, and its program {} still lacks something", one.package, one.program);
        }
    }
    let names: Vec<&str> = ROOTS.iter().map(|one| one.package).collect();
    eprintln!("==> peers in roots of their own: {}", names.join(", "));
    Ok(())
}
