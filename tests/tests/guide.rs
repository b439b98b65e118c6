//! Pages of the guide are followed to the letter: their files are written, their commands typed, and what comes is compared.
//!
//! A block whose first line is ```` ```text FILE ```` is a file (`rust` and `c` are, too). In a block of `console`, a line that begins with `$ ` is typed and the
//! lines below it are what the administrator sees: `…` stands for any text within a line, and alone on a line for any
//! lines. A command that ends in `&` goes on; one that asks what waits is asked again until it says what the page says.
//! Under `nc`, lines that begin with three digits come from the server and the others are typed. A command must succeed,
//! unless `$ echo $?` behind it shows another status. Ports (10000 and above) are the test's.
#![allow(clippy::unwrap_used)]

use sluice_testkit::{Program, Talk, built, free_port, wait_for, wait_until};
use sluice_tests::SOON;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs other than `sluice` that pages use; a shell runs them, for their quotes and jokers.
const TOOLS: &[&str] = &["cargo", "cat", "chmod", "ls", "make", "mkdir", "sed"];

/// A folder, in which a page is followed.
struct Reader {
    folder: tempfile::TempDir,
    /// Where the administrator is, who begins in the folder itself.
    place: PathBuf,
    ports: BTreeMap<String, u16>,
    hubs: BTreeMap<String, Program>,
}

impl Reader {
    /// The page's text with the test's ports in the place of its own.
    fn with_ports(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let length = rest[at..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - at);
            let digits = &rest[at..at + length];
            out.push_str(&rest[..at]);
            if length == 5 && digits.starts_with('1') {
                let port = *self.ports.entry(digits.to_owned()).or_insert_with(free_port);
                out.push_str(&port.to_string());
            } else {
                out.push_str(digits);
            }
            rest = &rest[at + length..];
        }
        out + rest
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// `sluice run --config FOLDER &`, until it greets on each of its ports.
    fn run(&mut self, words: &[&str]) {
        let name = words[words.iter().position(|word| *word == "--config").expect("a folder") + 1];
        let folder = self.place.join(name);
        let arguments = ["run".into(), "--config".into(), folder.clone().into_os_string()];
        let log = self.folder.path().join(format!("{name}.log"));
        let mut hub = Program::start(&built("sluice"), &arguments, &log).unwrap();
        let services = fs::read_to_string(folder.join("dispatcher.cnf")).unwrap();
        for port in services.lines().filter_map(|line| line.strip_prefix("PORT=")) {
            let port = port.trim().parse().unwrap();
            let greets = || matches!(Talk::open(Self::address(port)), Ok((_, reply)) if reply.code == 220);
            let up = wait_until(SOON, || {
                let ended = hub.ended().is_some();
                let greeted = greets();
                (ended || greeted).then_some(greeted)
            });
            assert!(up == Some(true), "{name} does not greet: {}", fs::read_to_string(&log).unwrap());
        }
        self.hubs.insert(name.to_owned(), hub);
    }

    /// A session typed by hand, with what has come and what was typed.
    fn talk(port: u16, lines: &[&str]) -> String {
        let (mut talk, greeting) = Talk::open(Self::address(port)).unwrap();
        let mut seen = Vec::new();
        let mut show = |reply: &sluice_testkit::Reply| {
            for (number, line) in reply.lines.iter().enumerate() {
                let mark = if number + 1 == reply.lines.len() { ' ' } else { '-' };
                seen.push(format!("{}{mark}{line}", reply.code));
            }
        };
        show(&greeting);
        let from_server = |line: &&str| line.len() > 3 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit);
        let mut content = false;
        for line in lines.iter().filter(|line| !from_server(line) && **line != "…") {
            talk.raw(format!("{line}\r\n").as_bytes()).unwrap();
            content = content && *line != ".";
            if !content {
                let reply = talk.read().unwrap();
                show(&reply);
                content = reply.code == 354;
            }
        }
        seen.join("\n")
    }

    /// A command to its end: what it printed, and its status.
    fn command(&self, line: &str) -> (String, i32) {
        if let Some(folder) = line.strip_prefix("ls ").and_then(|rest| rest.strip_suffix(" | wc -l")) {
            let entries = fs::read_dir(self.place.join(folder)).map_or(0, Iterator::count);
            return (entries.to_string(), 0);
        }
        if TOOLS.iter().any(|tool| line.split_whitespace().next() == Some(tool)) {
            return self.tool(line);
        }
        let (input, line) = match line.strip_prefix("echo ").and_then(|rest| rest.split_once(" | ")) {
            Some((input, line)) => (format!("{input}\n"), line),
            None => (String::new(), line),
        };
        let mut words = Vec::new();
        for (number, part) in line.split('\'').enumerate() {
            if number % 2 == 1 {
                words.push(part);
            } else {
                words.extend(part.split_whitespace());
            }
        }
        assert_eq!(words[0], "sluice", "{line}: a command that this test does not know");
        let mut child = Command::new(built("sluice"))
            .args(&words[1..])
            .current_dir(&self.place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing has closed its end.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (text, output.status.code().unwrap_or(-1))
    }

    /// A command of another program.
    fn tool(&self, line: &str) -> (String, i32) {
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.place)
            .env("CARGO_NET_OFFLINE", "true")
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (text, output.status.code().unwrap_or(-1))
    }

    /// What `sluice plugin new` has made listens on a port of the page, and so of the test.
    fn move_ports(&mut self) {
        for entry in fs::read_dir(&self.place).unwrap().flatten() {
            let file = entry.path().join("sample/dispatcher.cnf");
            if let Ok(text) = fs::read_to_string(&file) {
                fs::write(&file, self.with_ports(&text)).unwrap();
            }
        }
    }

    /// A file that the page shows.
    fn file(&self, name: &str, text: &str) {
        let path = self.place.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{text}\n")).unwrap();
        if name.ends_with("password") {
            let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
            fs::set_permissions(&path, mode).unwrap();
        }
    }

    /// A block of `console`.
    fn console(&mut self, block: &str) {
        let mut status = 0;
        let typed: Vec<&str> = block.strip_prefix("$ ").expect("a command first").split("\n$ ").collect();
        for (number, one) in typed.iter().enumerate() {
            let mut lines = one.lines();
            let line = lines.next().unwrap();
            let wanted: Vec<&str> = lines.collect();
            if line == "echo $?" {
                assert_eq!(wanted, [status.to_string()], "the status of `{}`", typed[number - 1]);
                continue;
            }
            if let Some(folder) = line.strip_prefix("cd ") {
                self.place = self.place.join(folder).canonicalize().unwrap();
                status = 0;
                continue;
            }
            if let Some(command) = line.strip_suffix(" &") {
                self.run(&command.split_whitespace().collect::<Vec<_>>());
                continue;
            }
            let shown = if let Some(port) = line.strip_prefix("nc -C 127.0.0.1 ") {
                status = 0;
                Self::talk(port.parse().unwrap(), &wanted)
            } else if ["queue summarize", "ls ", "cat ", "site show"].iter().any(|start| line.contains(start))
            {
                let mut last = String::new();
                let came = wait_until(SOON, || {
                    (last, status) = self.command(line);
                    is_like(&wanted, &last).then_some(())
                });
                assert!(came.is_some(), "`{line}` shows\n{last}\nand not\n{}", wanted.join("\n"));
                last
            } else {
                let (text, code) = self.command(line);
                status = code;
                text
            };
            let logs: String = ["hub", "ship", "site", "company", "north"]
                .iter()
                .filter_map(|name| fs::read_to_string(self.folder.path().join(format!("{name}.log"))).ok())
                .collect();
            assert!(
                is_like(&wanted, &shown),
                "`{line}` shows\n{shown}\nand not\n{}\n{logs}",
                wanted.join("\n")
            );
            if line.starts_with("sluice plugin new") {
                self.move_ports();
            }
            let asked = typed.get(number + 1).is_some_and(|next| next.starts_with("echo $?"));
            assert!(asked || status == 0, "`{line}` ended with {status}:\n{shown}");
        }
    }
}

/// Is this what the page shows? Blanks count as one.
fn is_like(wanted: &[&str], shown: &str) -> bool {
    fn line_is_like(wanted: &str, line: &str) -> bool {
        let mut rest = line;
        let mut parts = wanted.split('…');
        let first = parts.next().unwrap_or_default();
        let Some(behind) = rest.strip_prefix(first) else { return false };
        rest = behind;
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
    fn lines_are_like(wanted: &[String], lines: &[String]) -> bool {
        match wanted.split_first() {
            None => lines.is_empty(),
            Some((first, rest)) if first == "…" => {
                (0..=lines.len()).any(|skipped| lines_are_like(rest, &lines[skipped..]))
            }
            Some((first, rest)) => lines
                .split_first()
                .is_some_and(|(line, behind)| line_is_like(first, line) && lines_are_like(rest, behind)),
        }
    }
    let single = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = shown.lines().map(single).filter(|line| !line.is_empty()).collect();
    // What is typed in a session is not printed by it.
    let in_session = lines.first().is_some_and(|line| line.starts_with("220 ")) && !shown.contains(">>>");
    let wanted: Vec<String> = wanted
        .iter()
        .map(|line| single(line))
        .filter(|line| !line.is_empty())
        .filter(|line| {
            !in_session
                || line == "…"
                || line.len() > 3 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit)
        })
        .collect();
    lines_are_like(&wanted, &lines)
}

/// Follows the page; `folder` is left as it is then.
fn follow(page: &str) -> Reader {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let folder = tempfile::Builder::new().prefix("sluice-guide-").tempdir().unwrap();
    let place = folder.path().to_owned();
    let mut reader = Reader { folder, place, ports: BTreeMap::new(), hubs: BTreeMap::new() };
    let text = reader.with_ports(&text);
    let mut blocks = 0;
    for fenced in text.split("\n```").skip(1).step_by(2) {
        let (info, body) = fenced.split_once('\n').unwrap();
        match info.split_once(' ') {
            Some(("text" | "rust" | "c", file)) => reader.file(file, body),
            None if info == "console" => {
                reader.console(body);
                blocks += 1;
            }
            _ => panic!("{page}: a block of {info:?}"),
        }
    }
    assert!(blocks > 2, "{page}: {blocks} blocks of commands");
    reader
}

#[test]
fn a_dial_up_site() {
    let reader = follow("dial-up-site.md");
    let inbox = reader.folder.path().join("site/mail/fred");
    wait_for("the mail of the page", SOON, || sluice_testkit::maildir(&inbox).len() == 2);
}

#[test]
fn a_ship() {
    let reader = follow("ship.md");
    let inbox = reader.folder.path().join("ship/mail/captain");
    wait_for("the mail of the page", SOON, || sluice_testkit::maildir(&inbox).len() == 1);
}

#[test]
fn a_site_with_no_wire() {
    let reader = follow("no-wire.md");
    let inbox = reader.folder.path().join("ship/mail/captain");
    wait_for("the mail of the page", SOON, || sluice_testkit::maildir(&inbox).len() == 1);
}

#[test]
fn many_sites_of_one_company() {
    let reader = follow("many-sites.md");
    let inbox = reader.folder.path().join("north/mail/fred");
    wait_for("the mail of the page", SOON, || sluice_testkit::maildir(&inbox).len() == 1);
}

/// The hour of somebody who has never seen the hub: a channel in Rust and one in C.
#[test]
fn a_channel_of_ones_own() {
    let reader = follow("writing-a-channel.md");
    let room = fs::read_to_string(reader.folder.path().join("chat/room")).unwrap();
    assert_eq!(room.lines().count(), 2, "{room}");
}

#[test]
fn what_a_page_shows_is_compared() {
    let like = |wanted: &str, shown: &str| is_like(&wanted.lines().collect::<Vec<_>>(), shown);
    assert!(like("a  b", "a b\n"));
    assert!(!like("a b", "a c"));
    assert!(like("a … c", "a b c") && !like("a … c", "a b d"));
    assert!(like("a\n…\nd", "a\nb\nc\nd") && !like("a\n…\ne", "a\nb"));
    assert!(!like("", "something"));
    assert!(!like("a\nb", "a"));
}
