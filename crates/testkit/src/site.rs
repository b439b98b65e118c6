//! A site: a configuration in a folder of its own, and the hub that runs on it.

use crate::ports::free_port;
use crate::process::{Program, built};
use crate::talk::Talk;
use crate::terminal::answered;
use crate::wait::wait_until;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// Time in which a hub must have begun to listen, recovery included. The machine may be busy with other tests.
const START: Duration = Duration::from_secs(60);
/// Time in which a hub must have stopped after SIGTERM: what the program promises.
const STOP: Duration = Duration::from_secs(10);

/// How a command of the program ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code; -1 when it was killed.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output as JSON lines.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[must_use]
    pub fn json(&self) -> Vec<Value> {
        let read =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}\n{}", self.err));
        self.out.lines().filter(|line| !line.trim().is_empty()).map(read).collect()
    }
}

/// A configuration folder, a spool, a port, and perhaps a running hub.
///
/// Dropping it stops the hub. When that happens because a test fails, the configuration, the spool's listing and the
/// end of the log are printed.
#[derive(Debug)]
pub struct Site {
    name: String,
    folder: tempfile::TempDir,
    port: u16,
    /// `NAME=value` for the hub, beside what the test itself has.
    variables: Vec<String>,
    /// A program with arguments that starts the hub in turn, and becomes it.
    launcher: Vec<OsString>,
    hub: Option<Program>,
}

impl Site {
    /// A site with an `option.dat` and a listener on a port of its own; `sluice.cnf` is the test's.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn new(name: &str) -> Site {
        let folder = tempfile::Builder::new().prefix(&format!("sluice-{name}-")).tempdir().unwrap();
        let port = free_port();
        let site = Site {
            name: name.to_owned(),
            folder,
            port,
            variables: Vec::new(),
            launcher: Vec::new(),
            hub: None,
        };
        fs::create_dir(site.configuration()).unwrap();
        site.write("option.dat", "SPOOL_DIR=../spool\n");
        site.write("dispatcher.cnf", &format!("[SERVICE=SMTP]\nPORT={port}\nINTERFACE_ADDRESS=127.0.0.1\n"));
        site
    }

    /// A site whose configuration is a copy of a folder; its listener is moved to a port of the test.
    ///
    /// # Panics
    /// When the folder cannot be copied.
    pub fn copy_of(name: &str, sample: &Path) -> Site {
        let site = Site::new(name);
        for entry in fs::read_dir(sample).unwrap_or_else(|error| panic!("{}: {error}", sample.display())) {
            let entry = entry.unwrap();
            let file = entry.file_name();
            if entry.file_type().unwrap().is_file() && file != "dispatcher.cnf" && file != "option.dat" {
                fs::copy(entry.path(), site.configuration().join(file)).unwrap();
            }
        }
        site
    }

    /// The configuration folder.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// The site's own folder: configuration, spool, log, and whatever the test puts there.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of the configuration.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.configuration().join(file), text).unwrap();
    }

    /// Replaces text in a file of the configuration.
    ///
    /// # Panics
    /// When the text is not there: the test is out of step with what it changes.
    pub fn replace(&self, file: &str, old: &str, new: &str) {
        let path = self.configuration().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{file} of {} does not contain {old:?}:\n{text}", self.name);
        fs::write(path, text.replace(old, new)).unwrap();
    }

    /// A variable of the environment that the hub is started with from now on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.retain(|one| one.split('=').next() != Some(name));
        self.variables.push(format!("{name}={value}"));
    }

    /// From now on the hub is started by this program, which is given the hub's program and arguments behind its own, and becomes it
    /// by execve(2): so that its process id stays that of the hub.
    pub fn start_by<S: Into<OsString>>(&mut self, launcher: impl IntoIterator<Item = S>) {
        self.launcher = launcher.into_iter().map(Into::into).collect();
    }

    /// The process id of the hub.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.hub.as_ref().map(Program::id)
    }

    /// Where the hub listens for SMTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Starts the hub and waits until it greets.
    ///
    /// # Panics
    /// When it does not, or ends.
    pub fn start(&mut self) {
        self.spawn();
        let greeted = wait_until(START, || {
            let ended = self.hub.as_mut().and_then(Program::ended);
            let greeted = matches!(Talk::open(self.address()), Ok((_, greeting)) if greeting.code == 220);
            (ended.is_some() || greeted).then_some(greeted)
        });
        assert!(greeted == Some(true), "the hub of {} does not greet on {}", self.name, self.address());
    }

    /// Starts the hub and waits for nothing: for tests in which it refuses.
    ///
    /// # Panics
    /// When the program cannot be started at all.
    pub fn spawn(&mut self) {
        assert!(self.hub.is_none(), "{} runs already", self.name);
        let mut arguments: Vec<OsString> = self.variables.iter().map(OsString::from).collect();
        arguments.extend(self.launcher.iter().cloned());
        arguments.push(built("sluice").into_os_string());
        arguments.extend(["run".into(), "--config".into(), self.configuration().into_os_string()]);
        // env becomes the program, so that the process that is started is the hub.
        self.hub = Some(Program::start(Path::new("/usr/bin/env"), &arguments, &self.log_file()).unwrap());
    }

    /// Waits until the hub ends by itself.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut hub = self.hub.take().expect("a hub that was started");
        hub.wait(START).unwrap_or_else(|| panic!("the hub of {} does not end", self.name))
    }

    /// SIGTERM; the hub must be gone within the ten seconds that it promises, with exit code 0.
    ///
    /// # Panics
    /// When it is not.
    pub fn stop(&mut self) {
        let mut hub = self.hub.take().expect("a hub that was started");
        let status = hub.terminate(STOP);
        let status =
            status.unwrap_or_else(|| panic!("{} did not stop within {STOP:?}\n{}", self.name, self.report()));
        assert_eq!(status.code(), Some(0), "{} stopped with {status}\n{}", self.name, self.report());
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When the hub was not started.
    pub fn kill(&mut self) {
        self.hub.take().expect("a hub that was started").kill();
    }

    /// SIGHUP.
    ///
    /// # Panics
    /// When the hub was not started.
    pub fn hang_up(&mut self) {
        self.hub.as_mut().expect("a hub that was started").hang_up();
    }

    /// Is the hub still there?
    pub fn runs(&mut self) -> bool {
        self.hub.as_mut().is_some_and(|hub| hub.ended().is_none())
    }

    /// A session with the hub, greeted and EHLO said.
    #[must_use]
    pub fn talk(&self) -> Talk {
        Talk::to(self.address())
    }

    /// Everything the hub logged, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// Runs a command of the program on this site's configuration: `site.command(&["queue", "list"])`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn command(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(built("sluice"))
            .args(arguments)
            .arg("--config")
            .arg(self.configuration())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, typed at a terminal by a person who answers a question with `answer`.
    ///
    /// # Panics
    /// When the program cannot be started, does not ask, or does not end.
    pub fn command_answered(&self, arguments: &[&str], question: &str, answer: &str) -> Ran {
        let mut command = Command::new(built("sluice"));
        command.args(arguments).arg("--config").arg(self.configuration());
        answered(&mut command, question, answer, START)
    }

    /// The same with `--format json`; it must succeed.
    ///
    /// # Panics
    /// When it does not, or does not print JSON lines.
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.command(&[arguments, &["--format", "json"]].concat());
        assert_eq!(ran.code, 0, "sluice {} failed: {}{}", arguments.join(" "), ran.out, ran.err);
        ran.json()
    }

    /// How many messages wait, by what `queue summarize` says; of one channel, or of all.
    ///
    /// # Panics
    /// When the command fails.
    pub fn waiting(&self, channel: Option<&str>) -> u64 {
        let rows = self.json(&["queue", "summarize"]);
        let ours = rows.iter().filter(|row| channel.is_none() || row["channel"].as_str() == channel);
        ours.filter_map(|row| row["messages"].as_u64()).sum()
    }

    /// Waits until so many messages wait.
    ///
    /// # Panics
    /// When they do not by the deadline.
    pub fn wait_for_waiting(&self, channel: Option<&str>, messages: u64, deadline: Duration) {
        let mut last = 0;
        let so = wait_until(deadline, || {
            last = self.waiting(channel);
            (last == messages).then_some(())
        });
        assert!(so.is_some(), "{last} messages wait in {channel:?}, not {messages}");
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Configuration, spool listing, end of the log.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = format!("== site {} in {}\n", self.name, self.folder.path().display());
        for path in listing(&self.configuration()) {
            text.push_str(&format!("-- {}\n", path.display()));
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()));
        }
        text.push_str("-- spool\n");
        for path in listing(&self.folder.path().join("spool")) {
            let size = fs::metadata(&path).map_or(0, |about| about.len());
            text.push_str(&format!("{size:>12} {}\n", path.display()));
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        text.push_str("-- end of the log\n");
        text.push_str(&lines[lines.len().saturating_sub(60)..].join("\n"));
        text.push('\n');
        text
    }
}

/// All files below a folder.
fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(listing(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.report());
        }
    }
}
