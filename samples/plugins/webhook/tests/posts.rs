//! The channel against a server that says what the test wants.
#![allow(clippy::unwrap_used)]

use sluice_sdk::Outcome;
use sluice_sdk::testing::{Bench, Ended, Mail, Report};
use sluice_webhook::Webhook;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A server for one connection: it reads a whole request, says `answer`, and tells what it has read.
fn server(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let count = stream.read(&mut buffer).unwrap_or(0);
            read.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&read).into_owned();
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                body.len() >= length.parse::<usize>().unwrap()
            });
            if whole || count == 0 {
                let _ = stream.write_all(answer.as_bytes());
                return text;
            }
        }
    });
    (port, thread)
}

fn mail() -> Mail {
    Mail::new("ann@hub.example")
        .to("room@chat.example")
        .to("hall@chat.example")
        .id("000A")
        .text("Subject: lunch\n at \"noon\"\n\n.In the yard.\n")
}

fn post(answer: &'static str) -> (Report, String) {
    let (port, thread) = server(answer);
    let bench = Bench::<Webhook>::new().option("URL", format!("http://127.0.0.1:{port}/hook"));
    let report = bench.mail(mail()).run();
    (report, thread.join().unwrap())
}

#[test]
fn a_message_is_posted_once_for_all_recipients() {
    let (report, request) = post("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    report.assert_clean();
    assert_eq!(
        report.story(),
        "000A room@chat.example delivered 2.0.0 200 OK\n000A hall@chat.example delivered 2.0.0 200 OK\n"
    );
    assert!(request.starts_with("POST /hook HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
    assert!(
        request.contains("\r\nIdempotency-Key: 000A\r\n") && !request.contains("Authorization"),
        "{request}"
    );
    let body = request.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(body, r#"{"text":"ann@hub.example: lunch at \"noon\"\n.In the yard."}"#);
}

#[test]
fn what_the_server_says_decides() {
    for (answer, wanted) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", "delivered 2.0.0 204 No Content"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\n\r\n", "deferred 4.3.0 429 Too Many"),
        ("HTTP/1.1 503 Later\r\n\r\n", "deferred 4.3.0 503 Later"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "failed 5.7.1 404 Not Found"),
        ("HTTP/1.1 301 Moved\r\nLocation: http://else.example/\r\n\r\n", "failed 5.7.1 301 Moved"),
        ("220 mail.example ESMTP\r\n", "deferred 4.4.2 what the server says is no HTTP"),
        ("", "deferred 4.4.2 the server hung up without an answer"),
    ] {
        let (report, _) = post(answer);
        report.assert_clean();
        let first = report.story().lines().next().unwrap().to_owned();
        assert_eq!(first, format!("000A room@chat.example {wanted}"), "{answer:?}");
    }
}

#[test]
fn nobody_there_and_nobody_answering_are_tried_again() {
    // Bound, and closed again: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{free}/");
    let report = Bench::<Webhook>::new().option("URL", url).mail(mail()).run();
    assert!(
        matches!(report.outcome("room@chat.example"), Some(Outcome::Deferred { .. })),
        "{}",
        report.story()
    );

    // Connections are taken by the system, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let report = Bench::<Webhook>::new().option("URL", &url).option("TIMEOUT", "1").mail(mail()).run();
    assert!(report.story().contains("deferred 4.4.2 no answer in time"), "{}", report.story());

    // A stop ends the wait at once, not after half a minute.
    let started = Instant::now();
    let report = Bench::<Webhook>::new().option("URL", &url).mail(mail().stop_meanwhile()).run();
    report.assert_clean();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(report.story().contains("deferred 4.4.2 "), "{}", report.story());
}

#[test]
fn options_are_checked() {
    let refused = |bench: Bench<Webhook>| match bench.run().created {
        Ended::Refused(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Bench::new()), "option URL is not set and has no default");
    let wrong = Bench::new().option("URL", "https://chat.example/");
    assert_eq!(
        refused(wrong),
        "option URL is `https://chat.example/`; it must be `http://host:port/path`; the port may be left out"
    );
    let missing = Bench::new().option("URL", "http://a/").option("TOKEN_FILE", "/nowhere/token");
    assert!(refused(missing).starts_with("TOKEN_FILE /nowhere/token: "));
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("token");
    std::fs::write(&file, "two words\n").unwrap();
    let wrong = Bench::new().option("URL", "http://a/").option("TOKEN_FILE", file.display().to_string());
    assert!(refused(wrong).ends_with("its first line must be a word of ASCII, of at most 1024 bytes"));
}

#[test]
fn the_secret_goes_along() {
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("secret");
    std::fs::write(&file, "s3cret\nnot this\n").unwrap();
    let (port, thread) = server("HTTP/1.1 200 OK\r\n\r\n");
    let report = Bench::<Webhook>::new()
        .option("URL", format!("http://127.0.0.1:{port}"))
        .option("TOKEN_FILE", file.display().to_string())
        .option("EXCERPT", "0")
        .mail(mail())
        .run();
    report.assert_clean();
    let request = thread.join().unwrap();
    assert!(request.contains("\r\nAuthorization: Bearer s3cret\r\n"), "{request}");
    assert!(request.ends_with(r#"{"text":"ann@hub.example: lunch at \"noon\""}"#), "{request}");
}
