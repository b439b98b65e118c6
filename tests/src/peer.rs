//! Servers of other people, unpacked beside each other by `cargo xtask peers`: found, given users, started, ended.
//!
//! Not here: their configurations, which belong to the tests that want them.
// What a peer logged goes to the reader of a failure.
#![allow(clippy::print_stderr)]

use sluice_testkit::Program;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// Whom servers become that are started as root: nobody, who owns nothing on this machine.
const NOBODY: u32 = 65_534;

/// Where libraries of Debian's packages lie in a root.
const LIBRARIES: [&str; 3] = ["usr/lib/x86_64-linux-gnu", "usr/lib", "lib/x86_64-linux-gnu"];

/// Do the tests run as root?
#[must_use]
pub fn is_root() -> bool {
    user() == 0
}

/// Who runs the tests.
fn user() -> u32 {
    fs::metadata("/proc/self").map_or(NOBODY, |about| about.uid())
}

/// A server in a root of its own, with a folder of the test.
#[derive(Debug)]
pub struct Peer {
    root: PathBuf,
    folder: tempfile::TempDir,
    program: Option<Program>,
    logs: Vec<PathBuf>,
}

impl Peer {
    /// The server of an unpacked package, and a folder for its configuration and queue that belongs to
    /// [`Peer::user`].
    ///
    /// # Panics
    /// When it is not unpacked, with the command that does it.
    #[must_use]
    pub fn root(package: &str) -> Peer {
        let here = std::env::current_exe().expect("a running program has a path");
        let root =
            here.ancestors().map(|folder| folder.join("peers").join(package)).find(|root| root.is_dir());
        let root = root.unwrap_or_else(|| panic!("{package} is not unpacked: cargo xtask peers"));
        let folder = tempfile::Builder::new().prefix(&format!("sluice-{package}-")).tempdir();
        let mut peer =
            Peer { root, folder: folder.expect("a temporary folder"), program: None, logs: Vec::new() };
        if is_root() {
            // Whom the server becomes must be able to run its programs again, and our target folder may be closed to others.
            let copy = peer.folder.path().join("root");
            let copied = std::process::Command::new("cp").arg("-a").args([&peer.root, &copy]).status();
            assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", peer.root.display());
            peer.root = copy;
            chown(peer.folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may give away");
        }
        peer
    }

    /// The folder of this server: configuration, queue, log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of its root.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The number of the user that the server is to become, and of its group: who runs the tests, or nobody if that is root.
    #[must_use]
    pub fn user(&self) -> u32 {
        if is_root() { NOBODY } else { user() }
    }

    /// Makes a folder that belongs to [`Peer::user`].
    ///
    /// # Panics
    /// When it cannot.
    pub fn make(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).expect("a new folder");
        if is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may give away");
        }
        path
    }

    /// Starts a program of the root, as [`Peer::user`]. The names in `users` are users and groups for it, all of them with the number
    /// [`Peer::user`]. What it says is shown when the test fails, and so are the files `logs` of its folder.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self, program: &str, arguments: &[&str], users: &[&str], logs: &[&str]) {
        let (passwd, group) = (self.folder.path().join("passwd"), self.folder.path().join("group"));
        let hosts = self.folder.path().join("hosts");
        let number = self.user();
        let mut people = "root:x:0:0::/:/bin/sh\n".to_owned();
        let mut groups = "root:x:0:\n".to_owned();
        for name in users {
            people.push_str(&format!("{name}:x:{number}:{number}::/:/bin/sh\n"));
            groups.push_str(&format!("{name}:x:{number}:\n"));
        }
        fs::write(&passwd, people).expect("a new file");
        fs::write(&group, groups).expect("a new file");
        // Sendmail waits for a minute for a name with a dot, which the machine may not have.
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("the machine has a name");
        fs::write(&hosts, format!("127.0.0.1 peer.example {} localhost\n", machine.trim()))
            .expect("a new file");
        let libraries: Vec<PathBuf> = LIBRARIES.iter().map(|part| self.root.join(part)).collect();
        let libraries = std::env::join_paths(libraries).expect("paths without a colon");
        // setpriv and env become the program, so that the process that is started is the one that is ended.
        let mut line = Vec::new();
        if is_root() {
            line.push("/usr/bin/setpriv".to_owned());
            line.extend([
                format!("--reuid={number}"),
                format!("--regid={number}"),
                "--clear-groups".to_owned(),
            ]);
        }
        line.extend([
            "/usr/bin/env".to_owned(),
            format!("LD_LIBRARY_PATH={}", libraries.to_string_lossy()),
            "LD_PRELOAD=libnss_wrapper.so".to_owned(),
            format!("NSS_WRAPPER_PASSWD={}", passwd.display()),
            format!("NSS_WRAPPER_GROUP={}", group.display()),
            format!("NSS_WRAPPER_HOSTS={}", hosts.display()),
            self.file(program).to_string_lossy().into_owned(),
        ]);
        line.extend(arguments.iter().map(|one| (*one).to_owned()));
        let output = self.folder.path().join("output");
        self.logs = logs.iter().map(|log| self.folder.path().join(log)).collect();
        self.logs.push(output.clone());
        self.program = Some(Program::start(Path::new(&line[0]), &line[1..], &output).expect("it starts"));
    }

    /// Starts, for root, a program that knows its files by fixed paths: a shell script that has mounts of its own, puts in place
    /// what the program wants, and becomes it. `ROOT`, `FOLDER` and `LIBRARIES` are known to the script.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_apart(&mut self, script: &str, logs: &[&str]) {
        let libraries: Vec<PathBuf> = LIBRARIES.iter().map(|part| self.root.join(part)).collect();
        let libraries = std::env::join_paths(libraries).expect("paths without a colon");
        let line = [
            "--mount".to_owned(),
            "--propagation=private".to_owned(),
            "/usr/bin/env".to_owned(),
            format!("ROOT={}", self.root.display()),
            format!("FOLDER={}", self.folder.path().display()),
            format!("LIBRARIES={}", libraries.to_string_lossy()),
            "/bin/sh".to_owned(),
            "-e".to_owned(),
            "-c".to_owned(),
            script.to_owned(),
        ];
        let output = self.folder.path().join("output");
        self.logs = logs.iter().map(|log| self.folder.path().join(log)).collect();
        self.logs.push(output.clone());
        self.program =
            Some(Program::start(Path::new("/usr/bin/unshare"), &line, &output).expect("unshare starts"));
    }

    /// Has it ended, though nobody asked it to?
    pub fn ended(&mut self) -> bool {
        self.program.as_mut().is_none_or(|program| program.ended().is_some())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.program.take());
        if std::thread::panicking() {
            show(&self.logs);
        }
    }
}

/// Shows logs of a peer, for a test that fails.
pub fn show(logs: &[PathBuf]) {
    for log in logs {
        let text = fs::read(log).unwrap_or_default();
        eprintln!("-- {}\n{}", log.display(), String::from_utf8_lossy(&text));
    }
}
