//! The plugins of `samples/plugins` in a real hub, with their sample configurations.
#![allow(clippy::unwrap_used)]

use sluice_testkit::{Site, built, wait_for};
use sluice_tests::SOON;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
