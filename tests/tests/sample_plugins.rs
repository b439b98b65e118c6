//! The plugins of `samples/plugins` in a real hub, with their sample configurations.
#![allow(clippy::unwrap_used)]

use sluice_testkit::{Site, built, maildir, wait_for};
use sluice_tests::SOON;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// `O_NONBLOCK` of Linux: a FIFO is opened for reading although nobody writes.
const NONBLOCK: i32 = 0o4000;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/plugins").join(name).join("sample")
}

/// A hub with the configuration of a sample, whose server is on a port of the test.
fn hub(name: &str, file: &str, port: &str, ours: u16) -> Site {
    // The library is found beside the program.
    built(&format!("libsluice_{name}.so"));
    let hub = Site::copy_of(name, &sample(name));
    hub.replace(file, port, &ours.to_string());
    hub
}

#[test]
fn the_webhook_tells_the_room_and_waits_while_nobody_is_there() {
    // Bound and closed: the chat is down at first.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut hub = hub("webhook", "webhook_option", "10065", port);
    hub.start();
    hub.talk()
        .deliver("ann@hub.example", &["lunch@room.example"], b"Subject: at noon\r\n\r\nIn the yard.\r\n")
        .unwrap();
    wait_for("the log says that nobody is there", SOON, || hub.log().contains("onnection refused"));
    assert_eq!(hub.waiting(Some("webhook")), 1, "it waits");

    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        while !read.ends_with(b"\"}") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8(read).unwrap()
    });
    hub.json(&["trigger", "#webhook"]);
    hub.wait_for_waiting(Some("webhook"), 0, SOON);
    let request = server.join().unwrap();
    assert!(request.starts_with("POST /hooks/lunch HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(r#"{"text":"ann@hub.example: at noon\nIn the yard."}"#), "{request}");
    hub.stop();
}

#[test]
fn the_filter_refuses_by_words_and_attachments_and_marks_what_it_lets_pass() {
    built("libsluice_words.so");
    let mut hub = Site::copy_of("words", &sample("words"));
    hub.write(
        "option.dat",
        "SPOOL_DIR=../spool\nSPAMFILTER1_LIBRARY=words\nSPAMFILTER1_CONFIG_FILE=words.opt\n",
    );
    hub.start();
    let send = |content: &str| {
        let reply =
            hub.talk().deliver("a@origin.example", &["fred@hub.example"], content.as_bytes()).unwrap();
        (reply.code, reply.text())
    };
    let (code, text) = send("Subject: You won the LOTTERY\r\n\r\nhello\r\n");
    assert!(code == 550 && text.contains("5.7.1 mail with the word lottery is not taken"), "{code} {text}");
    let (code, text) = send("Content-Type: application/octet-stream;\r\n name=\"Game.EXE\"\r\n\r\nTVqQ\r\n");
    assert!(code == 550 && text.contains("attachments such as game.exe"), "{code} {text}");
    assert_eq!(send("X-Words: trust me\r\nSubject: hello\r\n\r\nhello\r\n").0, 250);
    let mailbox = hub.configuration().join("mail/fred");
    wait_for("the message", SOON, || maildir(&mailbox).len() == 1);
    let text = String::from_utf8(maildir(&mailbox).remove(0)).unwrap();
    assert_eq!(text.matches("X-Words: ").count(), 1, "{text}");
    assert!(text.contains("X-Words: looked at\n"), "{text}");
    // Where the operator says so, it is held.
    hub.replace("words.opt", "WORDS", "HOLD=1\nWORDS");
    assert_eq!(hub.command(&["reload"]).code, 0);
    assert_eq!(
        hub.talk().deliver("a@origin.example", &["fred@hub.example"], b"\r\nlottery\r\n").unwrap().code,
        250
    );
    hub.wait_for_waiting(Some("l"), 1, SOON);
    hub.stop();
}

/// A copy of the C sample, in which `make` has made this.
fn made(arguments: &[&str]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let from = sample("fifo").with_file_name("");
    for name in ["Makefile", "fifo.c", "driver.c"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include");
    let output = Command::new("make")
        .current_dir(folder.path())
        .arg(format!("INCLUDE={}", include.display()))
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    (folder, text)
}

#[test]
fn the_channel_in_c_leaks_nothing_and_misuses_no_memory() {
    let has_valgrind =
        Command::new("valgrind").arg("--version").output().is_ok_and(|run| run.status.success());
    let valgrind: &[&str] = if has_valgrind { &["VALGRIND=valgrind"] } else { &[] };
    if !has_valgrind {
        println!("valgrind is not installed: the driver runs without it");
    }
    let (_folder, text) = made(&[&["check"], valgrind].concat());
    assert!(text.contains("fifo: all is well"), "{text}");
}

#[test]
fn the_channel_in_c_writes_frames_to_a_line_that_is_slow_and_not_always_there() {
    let (folder, _) = made(&[]);
    let library = folder.path().join("libsluice_fifo.so");
    std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = folder.path().join("line");
    assert!(Command::new("mkfifo").arg(&line).status().unwrap().success());
    let mut hub = Site::new("fifo");
    hub.write(
        "sluice.cnf",
        "far.example $U%far.example@FIFO-DAEMON\n\nl\nhub.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n\n\
         fifo maxjobs 1\nFIFO-DAEMON\n",
    );
    hub.write("job_controller.cnf", &format!("[CHANNEL=fifo]\nMASTER_PLUGIN={}\n", library.display()));
    hub.write("fifo_option", &format!("DEVICE={}\nTIMEOUT=60\n", line.display()));
    let checked = hub.command(&["check"]);
    assert_eq!(checked.code, 0, "{}", checked.out);
    hub.start();
    let body = "0123456789\r\n".repeat(30_000);
    let content = format!("Subject: by radio\r\n\r\n{body}");
    hub.talk()
        .deliver("ann@hub.example", &["fred@far.example", "kim@far.example"], content.as_bytes())
        .unwrap();
    // Nobody is at the other end: it waits.
    wait_for("an attempt", SOON, || {
        hub.command(&["queue", "list"]).out.contains("nobody is at the other end")
    });
    // A reader that stalls, and a hub that stops meanwhile: nothing is lost, and the hub does not wait for the line.
    let reader = std::fs::File::options().read(true).custom_flags(NONBLOCK).open(&line).unwrap();
    hub.json(&["trigger", "#fifo"]);
    wait_for("it to be written", SOON, || hub.json(&["queue", "list"])[0]["state"] == "active");
    let begun = Instant::now();
    hub.stop();
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    drop(reader);
    // A reader that takes its time gets one whole frame.
    hub.start();
    let read = std::thread::spawn({
        move || {
            let mut all = Vec::new();
            let mut file = std::fs::File::open(&line).unwrap();
            let mut portion = [0; 999];
            loop {
                match file.read(&mut portion).unwrap() {
                    0 => return String::from_utf8(all).unwrap(),
                    count => all.extend_from_slice(&portion[..count]),
                }
            }
        }
    });
    wait_for("it to be delivered", SOON, || {
        hub.json(&["trigger", "#fifo"]);
        hub.waiting(None) == 0
    });
    let frame = read.join().unwrap();
    let (head, rest) = frame.split_once("\r\n\r\n").unwrap();
    let lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines[1..], ["FROM ann@hub.example", "TO fred@far.example", "TO kim@far.example"], "{head}");
    assert_eq!(lines[0], format!("MESSAGE 0000000000000001 {}", rest.len()));
    assert!(rest.starts_with("Received: ") && rest.ends_with(&body));
    hub.stop();
}

/// A POP3 server that serves sessions until its mailbox is empty.
fn pop3(mailbox: Arc<Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while !mailbox.lock().unwrap().is_empty() {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut marked = 0;
            stream.write_all(b"+OK\r\n").unwrap();
            for line in lines.map_while(Result::ok) {
                let mut mailbox = mailbox.lock().unwrap();
                let answer = match line.split(' ').collect::<Vec<_>>().as_slice() {
                    ["LIST"] => {
                        let row = |(at, text): (usize, &String)| format!("{} {}\r\n", at + 1, text.len());
                        format!("+OK\r\n{}.\r\n", mailbox.iter().enumerate().map(row).collect::<String>())
                    }
                    ["RETR", number] => {
                        format!("+OK\r\n{}.\r\n", mailbox[number.parse::<usize>().unwrap() - 1])
                    }
                    ["DELE", _] => {
                        marked += 1;
                        "+OK\r\n".to_owned()
                    }
                    ["QUIT"] => {
                        mailbox.drain(..marked);
                        "+OK\r\n".to_owned()
                    }
                    _ => "+OK\r\n".to_owned(),
                };
                if stream.write_all(answer.as_bytes()).is_err() || line == "QUIT" {
                    break;
                }
            }
        }
    });
    port
}

#[test]
fn the_poller_empties_its_mailbox_into_the_hub() {
    let letters = (1..=5).map(|number| format!("Subject: letter {number}\r\n\r\nText.\r\n")).collect();
    let mailbox = Arc::new(Mutex::new(letters));
    let port = pop3(Arc::clone(&mailbox));
    let mut hub = hub("pop3", "pop3_option", "10110", port);
    hub.start();
    hub.json(&["trigger", "#pop3"]);
    let inbox = hub.configuration().join("mail/fred");
    wait_for("the letters of the mailbox", SOON, || maildir(&inbox).len() == 5);
    wait_for("the mailbox is empty", SOON, || mailbox.lock().unwrap().is_empty());
    let first = maildir(&inbox).remove(0);
    let text = String::from_utf8_lossy(&first).into_owned();
    assert!(text.contains("Subject: letter "), "{text}");
    hub.stop();
}
