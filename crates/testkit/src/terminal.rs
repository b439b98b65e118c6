//! A person at a terminal: a program whose standard input and standard error are a pseudo-terminal, and what is typed there.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::site::Ran;
use crate::wait::wait_until;

/// Ctrl-D at the beginning of a line: the end of the input.
pub const END_OF_INPUT: &str = "\u{4}";

/// Runs a program until it ends. When its terminal shows `question`, `answer` is typed, once. Standard output is no terminal, as
/// under `| less`; `err` of the answer is what the terminal has shown, what was typed included.
///
/// # Panics
/// When it cannot be started, or does not ask or end by the deadline.
pub fn answered(program: &mut Command, question: &str, answer: &str, deadline: Duration) -> Ran {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let terminal = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut child = program
        .stdin(terminal.try_clone().unwrap())
        .stderr(terminal.try_clone().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // What the command holds would keep the terminal open after the program has ended.
    program.stdin(Stdio::null()).stderr(Stdio::null());
    drop(terminal);
    let (mut keyboard, mut screen) = (File::from(master.try_clone().unwrap()), File::from(master));
    let shown = Arc::new(Mutex::new(Vec::new()));
    let reader = {
        let shown = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            // Reading ends with an error (EIO) when nobody has the other side any more.
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        })
    };
    let text = || String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    let mut ended = || child.try_wait().unwrap();
    let asked = wait_until(deadline, || (text().contains(question) || ended().is_some()).then_some(()));
    assert!(asked.is_some(), "nobody asked {question:?}: {}", text());
    if text().contains(question) {
        keyboard.write_all(answer.as_bytes()).unwrap();
    }
    if wait_until(deadline, &mut ended).is_none() {
        child.kill().unwrap();
        panic!("it does not end: {}", text());
    }
    let output = child.wait_with_output().unwrap();
    reader.join().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: text(),
    }
}
