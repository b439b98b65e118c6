//! Running a program: what it reads, what it prints, how long it may take, and how it ends.
//!
//! One thread serves a run. It waits for the program's standard input, its output and its end at once, so that a program which
//! does not read, does not stop printing, or leaves a child behind that holds its output, holds up nobody. A program is the leader of
//! a process group of its own; what is ended by force is ended with its group. Whatever happens the program is waited for, so
//! that none stays behind as a zombie.
//!
//! # Not here
//! What its end means for the recipient: the plugins.

use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::account::Account;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// Between the two when the hub is stopping, which it has promised to do within ten seconds.
const GRACE_STOPPING: Duration = Duration::from_secs(2);
/// So long a program may go on when the hub is told to stop.
const STOP_MAX: Duration = Duration::from_secs(4);
/// Lines, and octets of them, that are told on.
const LINES_MAX: usize = 5;
const TEXT_MAX: usize = 800;
/// How long a program that SIGKILL does not end at once (it waits for a disk, say) is waited for here.
const DEAD_MAX: Duration = Duration::from_secs(2);
/// The longest wait in which nobody looks whether the hub is stopping.
const LOOK: Duration = Duration::from_millis(250);
/// Of what is printed, so much is kept.
const KEPT_MAX: usize = 4096;
/// Octets that are handed over at once.
const CHUNK: usize = 64 << 10;

/// What is to be run.
#[derive(Debug)]
pub struct Job<'a> {
    /// The program and its arguments; not empty.
    pub words: &'a [OsString],
    /// Its whole environment.
    pub variables: &'a [(&'a str, OsString)],
    /// By whose rights, if not by the hub's.
    pub account: Option<&'a Account>,
    /// The folder that it starts in.
    pub folder: &'a Path,
    /// How long it may take.
    pub time: Duration,
    /// Octets that it may print.
    pub output_max: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// The beginning of what it printed.
    pub output: Vec<u8>,
}

/// How a program ended.
#[derive(Debug)]
pub enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By a signal that was not ours.
    Signal(i32),
    /// It was ended: not done in this time.
    Late(Duration),
    /// It was ended: it printed more than so much.
    Endless(u64),
    /// It was ended: the hub is stopping.
    Stopped,
    /// It cannot be started.
    NotStarted(io::Error),
    /// The system did not let us wait for it; it was ended.
    Lost(io::Error),
}

impl Ran {
    /// The first lines that it printed, as one line of a bounded length: for logs and notices.
    #[must_use]
    pub fn said(&self) -> String {
        first_lines(&self.output)
    }
}

/// The first lines that were printed, as one line.
fn first_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES_MAX);
    let mut said = lines.collect::<Vec<_>>().join("; ");
    if said.len() > TEXT_MAX {
        said.truncate(said.floor_char_boundary(TEXT_MAX));
        said.push('…');
    }
    said
}

/// Runs a program with `message` as its standard input, until it ends or has to be ended.
pub fn run(job: &Job<'_>, message: &mut dyn Read, stopping: &AtomicBool) -> Ran {
    let Started { child, stdin, output } = match start(job) {
        Ok(started) => started,
        Err(error) => return Ran { end: End::NotStarted(error), output: Vec::new() },
    };
    let mut watch = Watch {
        // The kernel gives no process the id 0, and none beyond this type.
        group: Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)),
        stdin: Some(stdin),
        child: Some(child),
        feed: Feed { ready: Vec::new(), taken: 0 },
        output: Some(output),
        kept: Vec::new(),
        printed: 0,
        forced: None,
    };
    let end = watch.until_end(job, message, stopping);
    Ran { end, output: watch.kept }
}

/// A program, and our ends of its pipes.
struct Started {
    child: Child,
    stdin: PipeWriter,
    output: PipeReader,
}

fn start(job: &Job<'_>) -> io::Result<Started> {
    let (output, writer) = io::pipe()?;
    let (reader, stdin) = io::pipe()?;
    // Before there is a program: one that cannot be watched must not run. Each end is a thing of its own, and the program's ends wait as usual.
    do_not_block(output.as_fd())?;
    do_not_block(stdin.as_fd())?;
    let mut command = Command::new(&job.words[0]);
    command
        .args(&job.words[1..])
        .env_clear()
        .envs(job.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(job.folder)
        .stdin(reader)
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    if let Some(account) = job.account.filter(|account| account.changes) {
        // The standard library gives up all other groups, too, when it changes the user.
        command.uid(account.uid).gid(account.gid);
    }
    let child = command.spawn()?;
    // The command still holds the program's ends; with them neither input nor output would ever end.
    drop(command);
    Ok(Started { child, stdin, output })
}

fn do_not_block(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fcntl_setfl(file, fcntl_getfl(file)? | OFlags::NONBLOCK)?)
}

/// A program that runs.
struct Watch {
    /// `None` when it has been waited for.
    child: Option<Child>,
    group: Option<Pid>,
    stdin: Option<PipeWriter>,
    feed: Feed,
    output: Option<PipeReader>,
    kept: Vec<u8>,
    printed: u64,
    /// Why it is being ended by force, and when the next signal is due.
    forced: Option<Forced>,
}

struct Forced {
    end: End,
    next: Instant,
    killed: bool,
}

/// What waits to be read by the program.
struct Feed {
    ready: Vec<u8>,
    taken: usize,
}

/// What a look at the three ends has shown.
#[derive(Default)]
struct Seen {
    writable: bool,
    readable: bool,
    ended: bool,
}

impl Watch {
    fn until_end(&mut self, job: &Job<'_>, message: &mut dyn Read, stopping: &AtomicBool) -> End {
        let pidfd = match self.group.map(|group| pidfd_open(group, PidfdFlags::empty())) {
            Some(Ok(pidfd)) => pidfd,
            other => {
                let error =
                    other.and_then(Result::err).map_or_else(|| io::ErrorKind::Other.into(), io::Error::from);
                return self.lost(error);
            }
        };
        let mut deadline = Instant::now() + job.time;
        let mut told = false;
        loop {
            let now = Instant::now();
            if !told && stopping.load(Ordering::Relaxed) {
                told = true;
                if now + STOP_MAX < deadline {
                    deadline = now + STOP_MAX;
                }
            }
            match &mut self.forced {
                Some(forced) if now >= forced.next && forced.killed => return self.give_up(),
                Some(forced) if now >= forced.next => {
                    forced.killed = true;
                    forced.next = now + DEAD_MAX;
                    self.signal(Signal::KILL);
                }
                None if now >= deadline && told => self.force(End::Stopped, now + GRACE_STOPPING),
                None if now >= deadline => self.force(End::Late(job.time), now + GRACE),
                None if self.printed > job.output_max => {
                    self.force(End::Endless(job.output_max), now + GRACE);
                }
                _ => {}
            }
            let next = self.forced.as_ref().map_or(deadline, |forced| forced.next);
            let seen = match self.look(&pidfd, next.saturating_duration_since(now).min(LOOK)) {
                Ok(seen) => seen,
                Err(error) => return self.lost(error),
            };
            if seen.writable {
                self.write(message);
            }
            if seen.readable {
                self.read();
            }
            if seen.ended {
                return self.ended();
            }
        }
    }

    fn look(&self, pidfd: &OwnedFd, wait: Duration) -> io::Result<Seen> {
        let mut files = vec![PollFd::new(pidfd, PollFlags::IN)];
        let stdin = self.stdin.as_ref().map(|stdin| {
            files.push(PollFd::new(stdin, PollFlags::OUT));
            files.len() - 1
        });
        let output = self.output.as_ref().map(|output| {
            files.push(PollFd::new(output, PollFlags::IN));
            files.len() - 1
        });
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos().min(999_999_999).try_into().unwrap_or(0) };
        match poll(&mut files, Some(&wait)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Seen::default()),
            Err(error) => return Err(error.into()),
        }
        let any = |index: Option<usize>| index.is_some_and(|index| !files[index].revents().is_empty());
        Ok(Seen { ended: any(Some(0)), writable: any(stdin), readable: any(output) })
    }

    /// Gives the program what it takes now; at the end of the message its input is closed.
    fn write(&mut self, message: &mut dyn Read) {
        let Some(stdin) = &mut self.stdin else { return };
        // A program that has closed its input does not want the rest: its exit code will tell what it means by that.
        if !self.feed.give(stdin, message).unwrap_or(false) {
            self.stdin = None;
        }
    }

    /// Takes what has been printed.
    fn read(&mut self) {
        let Some(output) = &mut self.output else { return };
        let mut buffer = [0; 8192];
        match output.read(&mut buffer) {
            Ok(0) => self.output = None,
            Ok(count) => {
                self.printed += count as u64;
                let room = KEPT_MAX - self.kept.len();
                self.kept.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.output = None,
        }
    }

    fn force(&mut self, end: End, next: Instant) {
        self.forced = Some(Forced { end, next, killed: false });
        self.signal(Signal::TERM);
    }

    /// To the whole process group. The leader has not been waited for, so its number is still its own.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // There may be nobody left, which is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    /// The program has ended. Children that it has left behind are not waited for.
    fn ended(&mut self) -> End {
        if self.forced.is_some() {
            self.signal(Signal::KILL);
        }
        for _ in 0..KEPT_MAX / 512 {
            if self.output.is_none() || self.kept.len() == KEPT_MAX {
                break;
            }
            let before = self.printed;
            self.read();
            if self.printed == before {
                break;
            }
        }
        self.stdin = None;
        let status = self.child.take().map(|mut child| child.wait());
        match (self.forced.take(), status) {
            (Some(forced), _) => forced.end,
            (None, Some(Ok(status))) => of_status(status),
            (None, Some(Err(error))) => End::Lost(error),
            (None, None) => End::Signal(0),
        }
    }

    fn lost(&mut self, error: io::Error) -> End {
        self.signal(Signal::KILL);
        self.leave();
        End::Lost(error)
    }

    /// Even SIGKILL has not ended it: it waits inside the kernel.
    fn give_up(&mut self) -> End {
        self.leave();
        self.forced.take().map_or(End::Stopped, |forced| forced.end)
    }

    /// A thread waits for the program from now on, so that it does not become a zombie.
    fn leave(&mut self) {
        if let Some(mut child) = self.child.take() {
            let waiting = std::thread::Builder::new().name(format!("program-{}", child.id()));
            // Without a thread it is a zombie until the hub ends; nothing else is wrong with it.
            drop(waiting.spawn(move || child.wait()));
        }
    }
}

fn of_status(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (None, signal) => End::Signal(signal.unwrap_or(0)),
    }
}

impl Feed {
    /// Writes as much as is taken without waiting. `false` when there is nothing more to give.
    fn give(&mut self, stdin: &mut PipeWriter, message: &mut dyn Read) -> io::Result<bool> {
        loop {
            if self.taken == self.ready.len() {
                self.taken = 0;
                self.ready.resize(CHUNK, 0);
                let count = message.read(&mut self.ready)?;
                self.ready.truncate(count);
                if count == 0 {
                    return Ok(false);
                }
            }
            match stdin.write(&self.ready[self.taken..]) {
                Ok(count) => self.taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static IDLE: AtomicBool = AtomicBool::new(false);

    /// Runs a line of the shell with these limits and this input.
    fn shell(line: &str, time: Duration, output_max: u64, mut input: &[u8]) -> Ran {
        let words: Vec<OsString> = ["/bin/sh", "-c", line].map(OsString::from).to_vec();
        let variables = [("PATH", OsString::from("/usr/bin:/bin"))];
        let job = Job {
            words: &words,
            variables: &variables,
            account: None,
            folder: Path::new("/"),
            time,
            output_max,
        };
        run(&job, &mut input, &IDLE)
    }

    const LONG: Duration = Duration::from_secs(60);

    fn said(ran: &Ran) -> String {
        String::from_utf8_lossy(&ran.output).into_owned()
    }

    #[test]
    fn a_program_reads_the_message_and_is_heard() {
        let large = vec![b'x'; 3 << 20];
        let ran = shell("wc -c; echo oops >&2", LONG, u64::MAX, &large);
        assert!(matches!(ran.end, End::Exit(0)), "{ran:?}");
        assert_eq!(said(&ran).split_whitespace().collect::<Vec<_>>(), ["3145728", "oops"]);
        assert!(matches!(shell("exit 67", LONG, u64::MAX, &large).end, End::Exit(67)));
        assert!(matches!(shell("kill -9 $$", LONG, u64::MAX, b"").end, End::Signal(9)));
    }

    #[test]
    fn a_program_that_does_not_read_is_judged_by_its_exit_code() {
        let large = vec![b'x'; 3 << 20];
        assert!(matches!(shell("exec <&-; sleep 0.2; exit 0", LONG, u64::MAX, &large).end, End::Exit(0)));
        assert!(matches!(shell("exit 0", LONG, u64::MAX, &large).end, End::Exit(0)));
    }

    #[test]
    fn a_program_that_takes_too_long_goes_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alive");
        // The shell ignores SIGTERM, and so does what it has started.
        let line = format!("trap '' TERM; (while :; do date > {0}; sleep 0.1; done) & wait", file.display());
        let begun = Instant::now();
        let ran = shell(&line, Duration::from_secs(1), u64::MAX, b"");
        assert!(matches!(ran.end, End::Late(_)), "{ran:?}");
        assert!(begun.elapsed() >= Duration::from_secs(1));
        // Nobody writes the file any more.
        drop(std::fs::remove_file(&file));
        std::thread::sleep(Duration::from_millis(500));
        assert!(!file.exists());
    }

    #[test]
    fn a_program_that_prints_without_end_is_ended_and_not_kept() {
        let ran = shell("exec yes", LONG, 100_000, b"");
        assert!(matches!(ran.end, End::Endless(100_000)), "{:?}", ran.end);
        assert_eq!(ran.output.len(), KEPT_MAX);
        let ran = shell("yes | head -c 1000000", LONG, u64::MAX, b"");
        assert!(matches!(ran.end, End::Exit(0)) && ran.output.len() == KEPT_MAX);
    }

    #[test]
    fn a_child_that_is_left_behind_holds_up_nobody() {
        let begun = Instant::now();
        let ran = shell("echo done; sleep 30 & exit 0", LONG, u64::MAX, b"");
        assert!(matches!(ran.end, End::Exit(0)), "{ran:?}");
        assert_eq!(said(&ran), "done\n");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    /// What tells this program that it is the one with few files, and where a program would leave its mark.
    const FEW_FILES: &str = "SLUICE_PROGRAMS_FEW_FILES";

    /// Not a test by itself: what the next one runs in a process of its own.
    #[test]
    fn a_process_with_few_files() {
        let Some(mark) = std::env::var_os(FEW_FILES) else { return };
        let mut files = Vec::new();
        let full = loop {
            match std::fs::File::open("/dev/null") {
                Ok(file) => files.push(file),
                Err(error) => break error,
            }
        };
        let line = format!("echo ran > {}", Path::new(&mark).display());
        // Nothing, one pipe, two, and what else a start needs: whatever is missing, the program does not run unwatched.
        for free in 0..12 {
            let ran = shell(&line, LONG, u64::MAX, b"");
            let has_run = Path::new(&mark).exists();
            match ran.end {
                End::NotStarted(error) => {
                    assert_eq!((error.raw_os_error(), has_run), (full.raw_os_error(), false), "{free}");
                }
                // It was started, and there was none left to watch it by: it is killed, and somebody hears of it.
                End::Lost(error) => assert_eq!(error.raw_os_error(), full.raw_os_error(), "{free}"),
                End::Exit(0) => {
                    assert!(has_run && free >= 4, "{free}");
                    return;
                }
                end => panic!("{free}: {end:?}"),
            }
            drop(std::fs::remove_file(&mark));
            files.pop();
        }
        panic!("it never ran");
    }

    #[test]
    fn a_program_whose_pipes_cannot_be_made_is_not_started_and_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let line = "ulimit -n 40; exec \"$0\" --exact run::tests::a_process_with_few_files --test-threads=1";
        let ended = Command::new("/bin/sh")
            .args(["-c", line])
            .arg(std::env::current_exe().unwrap())
            .env(FEW_FILES, folder.path().join("mark"))
            .output()
            .unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"), "{ended:?}");
    }

    #[test]
    fn a_stop_of_the_hub_ends_a_program() {
        let stopping = AtomicBool::new(true);
        let words: Vec<OsString> = ["/bin/sleep", "60"].map(OsString::from).to_vec();
        let job = Job {
            words: &words,
            variables: &[],
            account: None,
            folder: Path::new("/"),
            time: LONG,
            output_max: 1,
        };
        let begun = Instant::now();
        assert!(matches!(run(&job, &mut &b""[..], &stopping).end, End::Stopped));
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let words = [OsString::from("/no/such/program")];
        let job = Job {
            words: &words,
            variables: &[],
            account: None,
            folder: Path::new("/"),
            time: LONG,
            output_max: 1,
        };
        let ran = run(&job, &mut &b""[..], &IDLE);
        assert!(matches!(ran.end, End::NotStarted(error) if error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn nothing_but_the_three_ends_is_inherited() {
        let _open = std::fs::File::open("/etc/passwd").unwrap();
        // Whatever the tests themselves were started with is inherited by all; what was opened since is not.
        let ran = shell("for f in /proc/self/fd/*; do readlink $f; done", LONG, u64::MAX, b"");
        let open = said(&ran);
        assert!(open.contains("pipe:") && !open.contains("/etc/passwd") && !open.contains("pidfd"), "{open}");
        let ran = shell("env", LONG, u64::MAX, b"");
        let names: Vec<String> =
            said(&ran).lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
        assert!(
            names.iter().all(|name| ["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(&name.as_str())),
            "{names:?}"
        );
    }

    #[test]
    fn what_is_told_on_has_a_limit() {
        let lines: String = (0..100).map(|line| format!("line {line}\r\n")).collect();
        assert_eq!(first_lines(lines.as_bytes()), "line 0; line 1; line 2; line 3; line 4");
        let long = first_lines("\u{e9}".repeat(2000).as_bytes());
        assert!(long.len() <= TEXT_MAX + 3 && long.ends_with('…'), "{}", long.len());
        assert_eq!(first_lines(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
