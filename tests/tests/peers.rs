//! The hub between other people's mail programs: fetchmail, swaks, Postfix's source and sink, aiosmtpd.
//!
//! These tests need Debian's packages postfix, swaks, fetchmail and python3-aiosmtpd; `cargo xtask test` installs
//! them, and `cargo xtask test --no-peers` leaves this file out.

use sluice_testkit::{Program, Sink, below_received, free_port, maildir, message, wait_for};
use sluice_tests::{Destination, SOON, WHILE, hub, numbers};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// Runs a peer to its end.
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; cargo xtask test installs the peers"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A folder that goes with the test.
fn folder(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("sluice-{name}-")).tempdir().expect("a temporary folder")
}

/// Waits until the peer greets: a peer that listens may still be busy with something else.
fn greets(port: u16) {
    let greeted = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        std::io::Result::Ok(line.starts_with("220 "))
    };
    wait_for("the peer greets", SOON, || greeted().unwrap_or(false));
}

/// smtp-sink of Postfix; it writes each message to a file of the folder.
fn smtp_sink(folder: &Path, port: u16) -> Program {
    let address = format!("127.0.0.1:{port}");
    let dump = folder.join("dump");
    fs::create_dir(&dump).expect("a new folder");
    let template = format!("{}/%M.", dump.display());
    let mut arguments = vec!["-d", &template];
    // As root it insists on becoming somebody else, who must be able to write here. Ourselves is root's own choice.
    let root = fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0);
    if root {
        arguments.extend(["-u", "root"]);
    }
    arguments.extend([address.as_str(), "100"]);
    let program = Program::start(Path::new("/usr/sbin/smtp-sink"), &arguments, &folder.join("sink.log"))
        .expect("smtp-sink; cargo xtask test installs the peers");
    greets(port);
    program
}

fn dumped(folder: &Path) -> usize {
    let files = fs::read_dir(folder.join("dump")).map(|entries| entries.flatten().map(|entry| entry.path()));
    // A message is there when smtp-sink has written its last line.
    files
        .map_or(0, |paths| paths.filter(|path| fs::metadata(path).is_ok_and(|about| about.len() > 0)).count())
}

#[test]
fn fetchmail_collects_what_swaks_and_smtp_source_sent() {
    let here = folder("fetchmail");
    let (site_port, ship_port) = (free_port(), free_port());
    let sink = smtp_sink(here.path(), site_port);
    let mut hub = hub(
        "fetchmail",
        &[
            Destination::held("tcp_dialup", "site7.example", site_port),
            Destination::held("tcp_ship", "ship.example", ship_port),
        ],
    );
    hub.start();
    let (port, server) = (hub.address().port().to_string(), hub.address().to_string());
    let source = [
        "-s",
        "10",
        "-m",
        "199",
        "-l",
        "4096",
        "-f",
        "a@origin.example",
        "-t",
        "fred@site7.example",
        &server,
    ];
    run("/usr/sbin/smtp-source", &source);
    run(
        "swaks",
        &[
            "--server",
            "127.0.0.1",
            "--port",
            &port,
            "--from",
            "a@origin.example",
            "--to",
            "fred@site7.example",
        ],
    );
    run(
        "swaks",
        &["--server", "127.0.0.1", "--port", &port, "--from", "a@origin.example", "--to", "x@ship.example"],
    );
    assert_eq!(hub.waiting(Some("tcp_dialup")), 200);
    sluice_testkit::watch("nothing arrives before it is asked for", WHILE, || dumped(here.path()) == 0);

    let rc = here.path().join("fetchmailrc");
    fs::write(&rc, "").expect("a new file");
    let set = Command::new("chmod").arg("600").arg(&rc).status();
    assert!(set.is_ok_and(|status| status.success()));
    let rc = rc.to_string_lossy().into_owned();
    run(
        "fetchmail",
        &[
            "-f",
            &rc,
            "--nodetach",
            "--nosyslog",
            "--pidfile",
            &format!("{rc}.pid"),
            "--protocol",
            "ETRN",
            "--service",
            &port,
            "--fetchdomains",
            "site7.example",
            "127.0.0.1",
        ],
    );
    wait_for("all two hundred arrive", SOON, || dumped(here.path()) == 200);
    hub.wait_for_waiting(Some("tcp_dialup"), 0, SOON);
    assert_eq!(hub.waiting(Some("tcp_ship")), 1, "the unrelated site's mail stays");
    hub.stop();
    drop(sink);
}

/// Runs aiosmtpd as `python3 -m aiosmtpd` does, but for one thing: it asks nobody for the machine's own name. It would ask at
/// each connection, with the one thread that does everything; where the machine's name is not in its host table and the name
/// server is silent, that takes ten seconds each time, during which nobody is greeted and nothing is received.
const AIOSMTPD: &str = "import socket; socket.getfqdn = lambda name='': 'aiosmtpd.example'
from aiosmtpd.main import main; main()";

#[test]
fn aiosmtpd_receives() {
    let here = folder("aiosmtpd");
    let port = free_port();
    let inbox = here.path().join("inbox");
    let inbox_name = inbox.to_string_lossy();
    let arguments = [
        "-c",
        AIOSMTPD,
        "-n",
        "-l",
        &format!("127.0.0.1:{port}"),
        "-c",
        "aiosmtpd.handlers.Mailbox",
        &inbox_name,
    ];
    let server = Program::start(Path::new("/usr/bin/python3"), &arguments, &here.path().join("log"));
    let server = server.expect("python3 with aiosmtpd; cargo xtask test installs the peers");
    greets(port);
    // Every step of the deliveries is in the log, which is what a failure prints.
    let next =
        Destination { keywords: "master_debug", ..Destination::direct("tcp_next", "next.example", port) };
    let mut hub = hub("aiosmtpd", &[next]);
    hub.start();
    sluice_testkit::Batch {
        sessions: 4,
        ..sluice_testkit::Batch::new(hub.address(), "fred@next.example", 50)
    }
    .send_all();
    wait_for("fifty messages arrive", SOON, || maildir(&inbox).len() == 50);
    hub.wait_for_waiting(None, 0, SOON);
    hub.stop();
    drop(server);
}

#[test]
fn swaks_sends_and_what_arrives_is_what_it_sent() {
    let sink = Sink::start();
    let mut hub = hub("swaks", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.start();
    let here = folder("swaks");
    let data = here.path().join("message");
    // swaks reads lines with LF and sends them with CRLF, and stuffs dots itself.
    let text = String::from_utf8(message(9, 4096)).expect("text").replace("\r\n", "\n");
    fs::write(&data, &text).expect("a new file");
    run(
        "swaks",
        &[
            "--server",
            "127.0.0.1",
            "--port",
            &hub.address().port().to_string(),
            "--from",
            "a@origin.example",
            "--to",
            "fred@next.example,ginger@next.example",
            "--pipeline",
            "--data",
            &data.to_string_lossy(),
        ],
    );
    let arrived = sink.wait(1, SOON);
    assert_eq!(numbers(&arrived), [9]);
    assert_eq!(arrived[0].to, ["fred@next.example", "ginger@next.example"]);
    let got = below_received(&arrived[0].content);
    // swaks ends the data with an empty line of its own.
    assert_eq!(
        String::from_utf8_lossy(got).trim_end(),
        String::from_utf8_lossy(&message(9, 4096)).trim_end()
    );
}

#[test]
fn row_6_2_fetchmail_collects_by_odmr() {
    let (sink, odmr) = (Sink::start(), free_port());
    let mut hub = hub(
        "odmr",
        &[
            Destination::held("tcp_ship", "ship.example", free_port()),
            Destination::held("tcp_other", "other.example", free_port()),
        ],
    );
    hub.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\n");
    hub.write("sites.cnf", "[SITE=ship]\nDOMAINS=ship.example\nLOGIN=ship\nTIER=turned\n");
    let services = fs::read_to_string(hub.configuration().join("dispatcher.cnf")).expect("the services");
    hub.write(
        "dispatcher.cnf",
        &format!("{services}\n[SERVICE=ODMR]\nPORT={odmr}\nINTERFACE_ADDRESS=127.0.0.1\n"),
    );
    assert_eq!(sluice_tests::password(&hub, &["set", "ship", "--cram-md5"], "albatross").code, 0);
    hub.start();
    sluice_testkit::Batch::new(hub.address(), "captain@ship.example", 5).send_all();
    sluice_testkit::Batch { first: 5, ..sluice_testkit::Batch::new(hub.address(), "x@other.example", 1) }
        .send_all();
    let here = folder("odmr");
    let rc = here.path().join("fetchmailrc");
    let text = format!(
        "poll 127.0.0.1 protocol ODMR service {odmr} timeout 60 user \"ship\" password \"albatross\" sslproto \"\" \
         fetchdomains ship.example smtphost \"127.0.0.1/{}\"\n",
        sink.port()
    );
    fs::write(&rc, text).expect("a new file");
    let set = Command::new("chmod").arg("600").arg(&rc).status();
    assert!(set.is_ok_and(|status| status.success()));
    let rc = rc.to_string_lossy().into_owned();
    let pid = format!("{rc}.pid");
    run("fetchmail", &["-f", &rc, "--nodetach", "--nosyslog", "--pidfile", &pid]);
    assert_eq!(numbers(&sink.wait(5, SOON)), [0, 1, 2, 3, 4]);
    hub.wait_for_waiting(Some("tcp_ship"), 0, SOON);
    assert_eq!(hub.waiting(Some("tcp_other")), 1, "the mail of another site stays");
}
