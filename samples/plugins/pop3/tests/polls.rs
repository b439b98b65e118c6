//! The poller against a POP3 server of the test, which counts what is deleted.
#![allow(clippy::unwrap_used)]

use sluice_pop3::Pop3;
use sluice_sdk::testing::{Bench, Ended, Mail, Report};
use sluice_sdk::{NotTaken, Outcome, Status};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

/// How the server behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    NoLogin,
    /// Hangs up in the middle of the second message.
    CutsOff,
    /// Sends a list that is none.
    BadList,
    /// Sends more than it has said.
    Lies,
}

/// One session: what is left in the mailbox afterwards.
fn session(stream: TcpStream, manner: Manner, mut mailbox: Vec<String>) -> Vec<String> {
    let mut out = stream.try_clone().unwrap();
    let mut say = |text: &str| out.write_all(text.as_bytes()).is_ok();
    say("+OK ready\r\n");
    let mut marked = Vec::new();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        let number = || line[5..].parse::<usize>().unwrap() - 1;
        match &line[..4] {
            "USER" => say("+OK\r\n"),
            "PASS" if manner == Manner::NoLogin || line != "PASS s3cret" => say("-ERR who are you\r\n"),
            "PASS" => say("+OK\r\n"),
            "LIST" if manner == Manner::BadList => say("+OK\r\none big\r\n.\r\n"),
            "LIST" => {
                let size = |text: &String| if manner == Manner::Lies { 5 } else { text.len() };
                let rows =
                    mailbox.iter().enumerate().map(|(at, text)| format!("{} {}\r\n", at + 1, size(text)));
                say(&format!("+OK\r\n{}.\r\n", rows.collect::<String>()))
            }
            "RETR" if manner == Manner::CutsOff && number() == 1 => {
                say("+OK\r\nSubject: ha");
                return mailbox;
            }
            "RETR" => {
                let stuffed = format!("\r\n{}", mailbox[number()]).replace("\r\n.", "\r\n..");
                say(&format!("+OK\r\n{}.\r\n", &stuffed[2..]))
            }
            "DELE" => {
                marked.push(number());
                say("+OK\r\n")
            }
            "QUIT" => {
                say("+OK\r\n");
                marked.sort_unstable();
                marked.iter().rev().for_each(|at| drop(mailbox.remove(*at)));
                return mailbox;
            }
            _ => say("-ERR what\r\n"),
        };
    }
    mailbox
}

fn server(manner: Manner, mailbox: Vec<String>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, std::thread::spawn(move || session(listener.accept().unwrap().0, manner, mailbox)))
}

fn mailbox() -> Vec<String> {
    vec![
        "Subject: one\r\n\r\n.dotted\r\n..\r\n.x\r\n".to_owned(),
        "Subject: two\r\n\r\n\u{e4}\r\n".to_owned(),
        "Subject: refused\r\n\r\n".to_owned(),
    ]
}

fn bench(port: u16, test: &str) -> Bench<Pop3> {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::write(&file, "s3cret\n").unwrap();
    Bench::new()
        .option("SERVER", format!("127.0.0.1:{port}"))
        .option("USER", "fred")
        .option("PASSWORD_FILE", file.display().to_string())
        .option("RECIPIENT", "fred@site.example")
        .polls(1)
        .answers(|brought| {
            let refused = brought.content.starts_with(b"Subject: refused");
            let refusal = Outcome::failed(Status::new(5, 7, 1), "not that one");
            Ok(vec![if refused { refusal } else { Outcome::delivered("queued") }])
        })
}

fn lines(report: &Report) -> Vec<&str> {
    report.log.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn what_the_hub_answers_for_is_deleted_and_the_rest_stays() {
    let (port, server) = server(Manner::Good, mailbox());
    let report = bench(port, "good").run();
    report.assert_clean();
    assert_eq!(server.join().unwrap(), ["Subject: refused\r\n\r\n"]);
    assert_eq!(
        lines(&report),
        [
            "message 3 is refused and left on the server: 5.7.1 not that one",
            "2 messages brought in, 1 left on the server"
        ]
    );
    let first = &report.submissions[0];
    assert_eq!(first.content, b"Subject: one\r\n\r\n..dotted\r\n...\r\n..x\r\n", "in the form of the wire");
    assert_eq!((first.sender.as_str(), first.recipients[0].address.as_str()), ("", "fred@site.example"));
    assert!(!first.eight_bit && report.submissions[1].eight_bit);
}

#[test]
fn a_hub_that_takes_nothing_has_nothing_deleted() {
    let (port, server) = server(Manner::Good, mailbox());
    let report = bench(port, "closed").answers(|_| Err(NotTaken::Closed)).run();
    report.assert_clean();
    assert_eq!(server.join().unwrap(), mailbox());
    assert_eq!(report.submissions.len(), 1, "the rest is for another time");

    let (port, server) = self::server(Manner::Good, mailbox());
    let full = Outcome::deferred(Status::new(4, 3, 1), "the disk is full");
    let report = bench(port, "full").answers(move |_| Ok(vec![full.clone()])).run();
    report.assert_clean();
    assert_eq!(server.join().unwrap(), mailbox());
}

#[test]
fn a_session_that_breaks_off_deletes_nothing() {
    let (port, server) = server(Manner::CutsOff, mailbox());
    let report = bench(port, "cut").run();
    report.assert_clean();
    assert_eq!(server.join().unwrap(), mailbox(), "what was brought in comes once more; nothing is lost");
    assert_eq!(lines(&report), [format!("127.0.0.1:{port}: it has hung up within a message")]);
}

#[test]
fn trouble_with_the_server_is_told_and_over() {
    for (manner, says) in [
        (Manner::NoLogin, "to PASS it says \"-ERR who are you\""),
        (Manner::BadList, "a line of its list is \"one big\""),
    ] {
        let (port, server) = server(manner, mailbox());
        let report = bench(port, "trouble").run();
        report.assert_clean();
        assert_eq!(lines(&report), [format!("127.0.0.1:{port}: {says}")]);
        assert_eq!(server.join().unwrap(), mailbox());
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let report = bench(free, "trouble").run();
    report.assert_clean();
    assert!(lines(&report)[0].contains("onnection refused"), "{:?}", report.log);
}

#[test]
fn what_is_too_long_is_left_whatever_the_server_says() {
    let long = format!("Subject: long\r\n\r\n{}", "x\r\n".repeat(1000));
    let (port, server) = server(Manner::Good, vec![long.clone(), "Subject: short\r\n\r\n".to_owned()]);
    let report = bench(port, "long").option("MOST", "1000").run();
    assert_eq!(server.join().unwrap(), std::slice::from_ref(&long));
    assert!(lines(&report)[0].ends_with(" bytes and is left on the server"), "{:?}", report.log);

    let (port, server) = self::server(Manner::Lies, vec![long.clone(), "Subject: short\r\n\r\n".to_owned()]);
    let report = bench(port, "lies").option("MOST", "1000").run();
    report.assert_clean();
    assert_eq!(server.join().unwrap(), [long]);
    assert_eq!(lines(&report)[0], "message 1 is a message of more than 1000 bytes and is left on the server");
}

#[test]
fn mail_to_it_fails_and_wrong_options_are_refused() {
    let mail = Mail::new("a@b").to("c@d").text("Subject: x\n\n");
    let (port, _server) = server(Manner::Good, Vec::new());
    let report = bench(port, "to").polls(0).mail(mail).run();
    assert_eq!(report.story(), "test-1 c@d failed 5.3.2 this channel only brings mail in\n");
    let refused = |bench: Bench<Pop3>| match bench.run().created {
        Ended::Refused(text) => text,
        other => panic!("{other:?}"),
    };
    let wrong = bench(0, "wrong");
    assert_eq!(refused(wrong), "option SERVER is `127.0.0.1:0`; it must be `host` or `host:port`");
    let wrong = bench(1, "wrong").option("USER", "fred\rQUIT");
    assert!(refused(wrong).starts_with("USER and the first line of PASSWORD_FILE "));
    let wrong = bench(1, "wrong").option("PASSWORD_FILE", "/nowhere/password");
    assert!(refused(wrong).starts_with("PASSWORD_FILE /nowhere/password: "));
}
