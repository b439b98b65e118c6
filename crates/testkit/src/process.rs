//! Programs under test: found, started with a log, stopped by their own id.

use crate::wait::wait_until;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A file that the workspace builds: the program, or a plugin's library, beside the test executable.
///
/// # Panics
/// When it is not there, with the command that builds it.
pub fn built(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a running program has a path");
    // Tests are in target/PROFILE/deps, programs in target/PROFILE.
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built: cargo build --workspace (or cargo xtask test)"))
}

/// A running program, in a process group of its own so that Ctrl-C at the terminal reaches only who started it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program; what it says on both streams goes to the end of `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn start<S: AsRef<OsStr>>(program: &Path, arguments: &[S], log: &Path) -> io::Result<Program> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()?;
        Ok(Program { child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        wait_until(deadline, || self.ended())
    }

    /// SIGTERM, then waits; `None` when it is still there at the deadline (it is not killed then).
    pub fn terminate(&mut self, deadline: Duration) -> Option<ExitStatus> {
        self.signal(rustix::process::Signal::TERM);
        self.wait(deadline)
    }

    /// SIGHUP: for a daemon, read the configuration again.
    pub fn hang_up(&mut self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// SIGKILL, as a power cut would do it.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already, which is what was asked for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Everything it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn signal(&mut self, signal: rustix::process::Signal) {
        // A child that has ended and been waited for has no process id any more: somebody else may have it.
        if self.ended().is_none()
            && let Some(id) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(id, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.terminate(Duration::from_secs(2)).is_none() {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_stopped_and_its_words_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "echo begun; trap 'echo told; exit 3' TERM; while :; do sleep 0.01; done";
        let mut program = Program::start(Path::new("/bin/sh"), &["-c", script], &log).unwrap();
        assert!(
            wait_until(Duration::from_secs(10), || program.log().contains("begun").then_some(())).is_some()
        );
        assert!(program.ended().is_none());
        let status = program.terminate(Duration::from_secs(10)).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(program.log().contains("told"), "{}", program.log());
    }
}
