//! A child as a process: how it is started, and how it ended.
// In the tests of this crate processes are played (`rehearsal`).
#![cfg_attr(test, allow(dead_code))]

use crate::instance::Program;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_send_buffer_size, set_socket_timeout,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What the socket may hold in each direction; the system may give less.
const BUFFER: usize = 1 << 20;

/// How long one call may take to write to a child: one that reads nothing for so long is as good as dead.
const SEND: Duration = Duration::from_secs(60);

/// Variables that a child has of the hub's: what the linker, the C library and people who debug need.
const ENVIRONMENT: &[&str] =
    &["PATH", "HOME", "TZ", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LD_LIBRARY_PATH", "RUST_BACKTRACE"];

/// A child that runs, or has died and was not waited for.
pub(crate) struct Process {
    child: Child,
    pub(crate) handle: Arc<Handle>,
    /// What it writes to its standard output and error.
    pub(crate) output: Option<PipeReader>,
}

/// What several threads need of it.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) pid: u32,
    pub(crate) socket: UnixStream,
    pub(crate) pidfd: OwnedFd,
}

impl Process {
    /// Starts one. It lives no longer than the thread that calls this (`PR_SET_PDEATHSIG`).
    pub(crate) fn start(program: &Program) -> io::Result<Process> {
        let (ours, theirs) = UnixStream::pair()?;
        for socket in [&ours, &theirs] {
            // What the system gives by itself will do.
            let _ = set_socket_send_buffer_size(socket, BUFFER);
            let _ = set_socket_recv_buffer_size(socket, BUFFER);
        }
        set_socket_timeout(&ours, Timeout::Send, Some(SEND))?;
        let (output, theirs_too) = io::pipe()?;
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env_clear();
        command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(program.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(OwnedFd::from(theirs)).stdout(theirs_too.try_clone()?).stderr(Stdio::from(theirs_too));
        let mut child = command.spawn()?;
        let pid = child.id();
        let opened = Pid::from_raw(pid.cast_signed())
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let pidfd = match opened {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error.into());
            }
        };
        let handle = Arc::new(Handle { pid, socket: ours, pidfd });
        Ok(Process { child, handle, output: Some(output) })
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.handle.kill();
        let _ = self.child.wait();
    }
}

impl Handle {
    /// Ends it, if it has not ended.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Whether it has ended, or does so in this time.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
        let mut place = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut place, Some(&time)).is_ok_and(|count| count > 0)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // Fails when it has ended.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }
}

/// How a process ended, for a sentence that begins with it.
pub(crate) fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let core = if status.core_dumped() { ", with a core file" } else { "" };
            format!("died of signal {signal} ({}){core}", name_of(signal))
        }
        (None, Some(code)) => format!("ended by itself with status {code}"),
        (None, None) => "ended, and nobody knows how".to_owned(),
    }
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGSYS => "SIGSYS",
        _ => "another one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt::socket_timeout;

    #[test]
    fn one_that_reads_nothing_is_not_written_to_for_ever() {
        let sleeps = Program { path: "sleep".into(), arguments: vec!["60".into()], environment: Vec::new() };
        let process = Process::start(&sleeps).unwrap();
        let socket = &process.handle.socket;
        assert_eq!(socket_timeout(socket, Timeout::Send), Ok(Some(SEND)));
        set_socket_timeout(socket, Timeout::Send, Some(Duration::from_millis(50))).unwrap();
        assert!(crate::socket::send(socket, &vec![0; 16 << 20], &[]).is_err());
    }
}
