//! Disks and clocks that fail when a test says so, for whole hubs.
//!
//! [`Calls`] makes system calls of a hub fail, [`Room`] gives it a spool on a small disk of its own, [`Clock`] sets its clock. The
//! first and the last are small C programs beside this file, built when they are wanted; the C compiler is there wherever Rust
//! links.

use sluice_testkit::{Program, Site, wait_for};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::SOON;

/// Builds a program of this folder into the site's folder.
fn compiled(site: &Site, name: &str, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/faults").join(format!("{name}.c"));
    let program = site.folder().join(name);
    let output =
        Command::new("cc").args(["-O1", "-o"]).arg(&program).args(flags).arg(&source).output().unwrap();
    assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    program
}

/// The system calls of a hub, which fail as told.
#[derive(Debug)]
pub struct Calls {
    control: PathBuf,
}

impl Calls {
    /// Of this hub, from its next start on.
    ///
    /// # Panics
    /// When the program that does it cannot be built.
    pub fn of(site: &mut Site) -> Calls {
        let program = compiled(site, "calls", &[]);
        let control = site.folder().join("calls.control");
        site.start_by([program, control.clone()]);
        Calls { control }
    }

    /// From now on these fail: `sync segment- EIO`, a line each. What may be written is at the top of `faults/calls.c`.
    ///
    /// # Panics
    /// When the file that tells it cannot be written.
    pub fn fail(&self, lines: &str) {
        // At once: a half-written file would be another fault.
        let beside = self.control.with_extension("new");
        fs::write(&beside, lines).unwrap();
        fs::rename(beside, &self.control).unwrap();
    }

    /// From now on nothing fails.
    pub fn mend(&self) {
        self.fail("");
    }
}

/// A disk of its own for the spool of a hub: a tmpfs in a namespace that lives as long as this does, over all starts of the hub.
#[derive(Debug)]
pub struct Room {
    keeper: Program,
    spool: PathBuf,
}

impl Room {
    /// With so many megabytes, for this hub, from its next start on. Its control socket is moved out, so that commands find it.
    ///
    /// # Panics
    /// When the machine does not let us have a namespace.
    pub fn of(site: &mut Site, megabytes: u32) -> Room {
        let spool = site.folder().join("spool");
        fs::create_dir_all(&spool).unwrap();
        let ready = site.folder().join("room.ready");
        let script = format!(
            "mount -t tmpfs -o size={megabytes}m,mode=0700 tmpfs '{}' && : > '{}' && exec sleep 86400",
            spool.display(),
            ready.display()
        );
        let words = ["--map-root-user", "--mount", "--propagation=private", "/bin/sh", "-c", &script];
        let log = site.folder().join("room.log");
        let mut keeper = Program::start(Path::new("/usr/bin/unshare"), &words, &log).unwrap();
        wait_for("the room is there (are user namespaces allowed here?)", SOON, || {
            assert!(keeper.ended().is_none(), "no namespace: {}", keeper.log());
            ready.exists()
        });
        let target = format!("--target={}", keeper.id());
        let enter = ["/usr/bin/nsenter", &target, "--user", "--mount", "--preserve-credentials"];
        site.start_by(enter.map(OsString::from));
        Room { keeper, spool }
    }

    /// The spool as seen from outside of the namespace.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        let inside = self.spool.strip_prefix("/").expect("temporary folders have whole paths");
        PathBuf::from(format!("/proc/{}/root", self.keeper.id())).join(inside)
    }

    /// Takes all room that is left, but for so many kilobytes.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn fill(&self, but_kilobytes: u64) {
        let ballast = self.spool().join("ballast");
        let mut dd = Command::new("dd");
        dd.arg("if=/dev/zero").arg(format!("of={}", ballast.display())).arg("bs=1k");
        // It ends when there is no more room, which is what is wanted.
        let _ = dd.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        let length = fs::metadata(&ballast).unwrap().len().saturating_sub(but_kilobytes * 1024);
        fs::File::options().write(true).open(&ballast).unwrap().set_len(length).unwrap();
    }

    /// Mounts it read-only, as an operator does, or so that it can be written again.
    ///
    /// # Panics
    /// When the system does not do it within [`SOON`]: somebody has a file of it open for writing.
    pub fn remount(&self, how: &str) {
        let target = format!("--target={}", self.keeper.id());
        let inside =
            ["/usr/bin/nsenter", &target, "--user", "--mount", "--preserve-credentials", "/bin/mount"];
        let step = format!("remount,{how}");
        // Who has just started may have a file open for a moment.
        wait_for(&step, SOON, || {
            let mut mount = Command::new(inside[0]);
            mount.args(&inside[1..]).args(["-o", &step]).arg(&self.spool).stderr(Stdio::null());
            mount.status().unwrap().success()
        });
    }

    /// Gives back what [`Room::fill`] took.
    ///
    /// # Panics
    /// When there is nothing to give back.
    pub fn make_room(&self) {
        fs::remove_file(self.spool().join("ballast")).unwrap();
    }
}

/// The wall clock of a hub.
#[derive(Debug)]
pub struct Clock {
    off: PathBuf,
}

impl Clock {
    /// Of this hub, from its next start on.
    ///
    /// # Panics
    /// When the library that does it cannot be built.
    pub fn of(site: &mut Site) -> Clock {
        let library = compiled(site, "clock", &["-shared", "-fPIC"]);
        let off = site.folder().join("clock.off");
        site.set_variable("CLOCK_OFF", &off.display().to_string());
        site.set_variable("LD_PRELOAD", &library.display().to_string());
        Clock { off }
    }

    /// Sets it so many seconds off the machine's.
    ///
    /// # Panics
    /// When the file that tells it cannot be written.
    pub fn set(&self, seconds: i64) {
        let beside = self.off.with_extension("new");
        fs::write(&beside, (seconds * 1000).to_string()).unwrap();
        fs::rename(beside, &self.off).unwrap();
    }
}
