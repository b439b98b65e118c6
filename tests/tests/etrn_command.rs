//! `sluice etrn`, and the link of that name: what etrn(8) promises, by rows of the list of features (3.x), and what it
//! adds. The server is a sink that is told how to behave, or a hub of ours.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sluice_testkit::{Batch, Manner, Ran, Sink, Site, built};
use sluice_tests::{Destination, SOON, hub};

const CONFIGURATION: &str = "\
site7.example $U@site7.example
.lab.site7.example $U@site7.example
shop.example $U@site7.example
*.wild.example $U@site7.example
away.example $U%$D@TCP-DAEMON
. $U%$H$D@TCP-DAEMON

l
site7.example

tcp_local smtp nomx disableetrn
TCP-DAEMON
";

/// A site that takes mail for three names, not started.
fn site(name: &str) -> Site {
    let site = Site::new(name);
    site.write("sluice.cnf", CONFIGURATION);
    site
}

fn etrn(site: &Site, arguments: &[&str]) -> Ran {
    site.command(&[&["etrn"], arguments].concat())
}

/// What a server was asked, in order.
fn asked(server: &Sink) -> Vec<String> {
    server.commands().into_iter().filter_map(|line| line.strip_prefix("ETRN ").map(str::to_owned)).collect()
}

fn place(server: &Sink) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// A server whose reply to ETRN is this.
fn answering(reply: &str) -> Sink {
    let server = Sink::start();
    server.behave(Manner { etrn: Some(reply.to_owned()), ..Manner::default() });
    server
}

#[test]
fn row_3_1_and_3_3_names_are_asked_in_order_in_one_session() {
    let server = Sink::start();
    let ran = etrn(&site("etrn-names"), &[&place(&server), "b.example", "@a.example", "#queue7"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let session = ["EHLO site7.example", "ETRN b.example", "ETRN @a.example", "ETRN #queue7", "QUIT"];
    assert_eq!(server.commands(), session);
    assert_eq!(server.connections(), 1);
}

#[test]
fn row_2_1_the_server_works_for_the_name_on_the_command_line() {
    let far = Sink::start();
    let mut hub = hub("etrn-server", &[Destination::held("tcp_dialup", "site7.example", far.port())]);
    hub.start();
    Batch::new(hub.address(), "fred@site7.example", 3).send_all();
    let ran = etrn(&hub, &["-v", &hub.address().to_string(), "site7.example"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("\n253 2.0.0 OK, 3 pending messages for node site7.example started"),
        "{}",
        ran.out
    );
    far.wait(3, SOON);
}

#[test]
fn row_3_2_without_names_each_name_that_we_take_mail_for() {
    let server = Sink::start();
    let mut site = site("etrn-own");
    site.start();
    let ran = etrn(&site, &[&place(&server)]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    assert_eq!(asked(&server), ["site7.example", "@lab.site7.example", "shop.example"]);
}

#[test]
fn row_3_4_with_b_the_server_is_not_contacted_when_our_listener_is_off() {
    let server = Sink::start();
    let mut site = site("etrn-b");
    let begun = Instant::now();
    let ran = etrn(&site, &["-b", "--wait", "3", &place(&server), "a.example"]);
    assert_eq!(ran.code, 71, "{}", ran.err);
    assert!(ran.err.contains("our own listener does not accept mail"), "{}", ran.err);
    assert_eq!(server.connections(), 0);
    // A few tries with pauses.
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());

    // One that comes up in the meantime is waited for.
    let waiting = Command::new(built("sluice"))
        .args(["etrn", "-b", "--wait", "60", &place(&server), "a.example", "--config"])
        .arg(site.configuration())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    site.start();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(asked(&server), ["a.example"]);
    let ran = etrn(&site, &["-b", &place(&server), "a.example"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn row_3_5_the_same_check_without_b_when_there_are_no_names() {
    let server = Sink::start();
    let site = site("etrn-auto");
    let ran = etrn(&site, &["--wait", "1", &place(&server)]);
    assert_eq!(ran.code, 71, "{}", ran.err);
    assert_eq!(server.connections(), 0);
    // With names, nothing is checked.
    assert_eq!(etrn(&site, &[&place(&server), "a.example"]).code, 0);
}

#[test]
fn row_3_4_a_listener_that_refuses_does_not_count() {
    let (server, own) = (Sink::start(), Sink::start());
    own.behave(Manner { greeting: Some("421 4.3.2 not now".to_owned()), ..Manner::default() });
    let site = site("etrn-refusing");
    site.write(
        "dispatcher.cnf",
        &format!("[SERVICE=SMTP]\nPORT={}\nINTERFACE_ADDRESS=127.0.0.1\n", own.port()),
    );
    let ran = etrn(&site, &["-b", "--wait", "1", &place(&server), "a.example"]);
    assert_eq!(ran.code, 71);
    assert!(ran.err.contains("421 4.3.2 not now"), "{}", ran.err);
    assert_eq!(server.connections(), 0);
}

#[test]
fn row_3_6_v_shows_the_conversation() {
    let server = answering("250 2.0.0 OK, queuing for node a.example started");
    let ran = etrn(&site("etrn-v"), &["-v", &place(&server), "a.example"]);
    assert_eq!(ran.code, 0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[1], "220 sink.example ESMTP");
    for line in [
        ">>> EHLO site7.example",
        "250-ETRN",
        ">>> ETRN a.example",
        "250 2.0.0 OK, queuing for node a.example started",
    ] {
        assert!(lines.contains(&line), "{line}\n{}", ran.out);
    }
    assert_eq!(ran.err, "");
}

#[test]
fn row_3_7_it_works_without_an_environment() {
    let server = Sink::start();
    let mut site = site("etrn-env");
    site.start();
    let output = Command::new(built("sluice"))
        .args(["etrn", &place(&server), "--config"])
        .arg(site.configuration())
        .env_clear()
        .current_dir("/")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(asked(&server).len(), 3);
}

#[test]
fn row_3_1_a_link_named_etrn_is_the_command() {
    let server = Sink::start();
    let site = site("etrn-link");
    let link = site.folder().join("etrn");
    symlink(built("sluice"), &link).unwrap();
    let output = Command::new(&link)
        .args(["-v", &place(&server), "a.example", "b.example"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(asked(&server), ["a.example", "b.example"]);
    let help = Command::new(&link).arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("SERVER-HOST"));
}

#[test]
fn row_3_14_a_server_without_etrn_is_named_and_has_its_own_status() {
    let server = Sink::start();
    server.behave(Manner { keywords: vec!["SIZE".to_owned()], ..Manner::default() });
    let ran = etrn(&site("etrn-none"), &[&place(&server), "a.example"]);
    assert_eq!(ran.code, 69);
    assert_eq!(ran.err, format!("sluice: {} does not offer ETRN\n", place(&server)));
    assert!(asked(&server).is_empty());
    server.behave(Manner { no_ehlo: true, ..Manner::default() });
    assert_eq!(etrn(&site("etrn-helo"), &[&place(&server), "a.example"]).code, 69);
}

#[test]
fn row_3_16_names_from_a_sendmail_cf() {
    let server = Sink::start();
    let mut site = site("etrn-cf");
    let hosts = site.folder().join("local-host-names");
    fs::write(&hosts, "# ours\nfile.example\n").unwrap();
    let cf = site.folder().join("sendmail.cf");
    let text = format!("Dmexample\nCwlocalhost one.$m\nFw{}\nFw|/bin/names\n", hosts.display());
    fs::write(&cf, text).unwrap();
    site.start();
    let ran = etrn(&site, &["--sendmail-cf", cf.to_str().unwrap(), &place(&server)]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("line 4: ") && ran.err.contains("no commands"), "{}", ran.err);
    assert_eq!(asked(&server), ["one.example", "file.example"]);
    let missing = etrn(&site, &["--sendmail-cf", "/no/such/file", &place(&server)]);
    assert_eq!(missing.code, 65, "{}", missing.err);
    fs::write(&cf, "Cwlocalhost\n").unwrap();
    let none = etrn(&site, &["--sendmail-cf", cf.to_str().unwrap(), &place(&server)]);
    assert_eq!(none.code, 78, "{}", none.err);
}

#[test]
fn each_outcome_has_its_status() {
    let site = site("etrn-status");
    for (reply, status) in [
        ("250 fine", 0),
        ("251 nothing", 0),
        ("252 something", 0),
        ("253 OK, 7 pending messages", 0),
        ("458 Unable", 75),
        ("451 no", 75),
        ("421 closing", 75),
        ("459 Node not allowed", 77),
        ("530 5.7.0 log in", 77),
        ("554 no", 77),
        ("501 what", 65),
        ("500 what", 69),
        ("502 off", 69),
        ("503 RSET", 76),
        ("nonsense", 76),
    ] {
        let server = answering(reply);
        let ran = etrn(&site, &[&place(&server), "a.example"]);
        assert_eq!(ran.code, status, "{reply}: {}", ran.err);
        assert_eq!(ran.err.is_empty(), status == 0, "{reply}: {}", ran.err);
        assert!(ran.out.is_empty());
    }
    let refusing = Sink::start();
    refusing.behave(Manner { greeting: Some("554 no service".to_owned()), ..Manner::default() });
    assert_eq!(etrn(&site, &[&place(&refusing), "a.example"]).code, 77);
    let free = sluice_testkit::free_port();
    let ran = etrn(&site, &[&format!("127.0.0.1:{free}"), "a.example"]);
    assert_eq!(ran.code, 68, "{}", ran.err);
    let ran = etrn(&site, &["--wait", "2", "no-such-host.invalid", "a.example"]);
    assert_eq!(ran.code, 68, "{}", ran.err);
}

#[test]
fn what_each_name_got_in_json() {
    let server = answering("253 2.0.0 OK, 12 pending messages for node a.example started");
    let rows = site("etrn-json").json(&["etrn", &place(&server), "a.example"]);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0]["name"].as_str(), rows[0]["messages"].as_u64()), (Some("a.example"), Some(12)));
    assert_eq!(rows[0]["answer"], "pending");
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_sent() {
    let server = Sink::start();
    let site = site("etrn-wrong");
    let open = site.folder().join("open");
    fs::write(&open, "pencil\n").unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    let (place, open) = (place(&server), open.to_str().unwrap().to_owned());
    for (arguments, status, word) in [
        (&[][..], 64, "SERVER-HOST"),
        (&["hub:smtp", "a.example"], 64, "no port"),
        (&[&place, "a b"], 64, "more than one word"),
        (&[&place, "a\r\nQUIT"], 64, "more than one word"),
        (&[&place, "@"], 64, "no name"),
        (&[&place, "m\u{fc}ller.example"], 64, "xn--"),
        (&["-x", &place, "a.example"], 64, "-x"),
        (&["--wait", "0", &place, "a.example"], 64, "--wait"),
        (&["--login", "fred", &place, "a.example"], 64, "--password-file"),
        (&["--login", "fred", "--password-file", &open, &place, "a.example"], 65, "chmod 600"),
        (&["--login", "fred", "--password-file", "/no/such", &place, "a.example"], 65, "/no/such"),
        (&["--tls", "must", "--tls-ca", "/no/such", &place, "a.example"], 65, "/no/such"),
    ] {
        let ran = etrn(&site, arguments);
        assert_eq!(ran.code, status, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(word), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(server.connections(), 0);
    // TLS is demanded, and not offered.
    let ran = etrn(&site, &["--tls", "must", "--tls-anybody", &place, "a.example"]);
    assert_eq!(ran.code, 77, "{}", ran.err);
    assert!(asked(&server).is_empty());
}

/// A hub with a certificate and users.
fn with_logins(name: &str) -> Site {
    let site = Site::new(name);
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    site.write("server-pub.pem", &cert.pem());
    site.write("server-priv.pem", &signing_key.serialize_pem());
    fs::set_permissions(site.configuration().join("server-priv.pem"), Permissions::from_mode(0o600)).unwrap();
    site.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\n");
    let text = "hub.example $U@hub.example\nsite.example $U%$D@SITE\n\nl\nhub.example\n\n\
                tcp_local smtp nomx maytlsserver mustsaslserver allowetrn\nTCP-DAEMON\n\n\
                tcp_site smtp nomx daemon [127.0.0.1] periodic\nSITE\n";
    site.write("sluice.cnf", text);
    site
}

#[test]
fn tls_and_logins() {
    let mut hub = with_logins("etrn-login");
    let secret = hub.folder().join("secret");
    fs::write(&secret, "pencil\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let mut set = Command::new(built("sluice"))
        .args(["password", "set", "site", "--config"])
        .arg(hub.configuration())
        .stdin(fs::File::open(&secret).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(set.wait().unwrap().success());
    hub.start();
    let (server, secret) = (hub.address().to_string(), secret.to_str().unwrap().to_owned());
    let authority = hub.configuration().join("server-pub.pem").to_str().unwrap().to_owned();
    let login = ["--login", "site", "--password-file", &secret];
    let run = |more: &[&str]| etrn(&hub, &[&["-v"], more, &[&server, "site.example"]].concat());

    let ran = run(&[&login[..], &["--tls", "must", "--tls-ca", &authority]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("TLS is on") && ran.out.contains("\n251 "), "{}", ran.out);
    assert!(!ran.out.contains("pencil") && ran.out.contains(">>> AUTH SCRAM-SHA-256 ***\n"), "{}", ran.out);
    // Any certificate, if we say so; an unknown one is not believed where a password is at stake.
    assert_eq!(run(&[&login[..], &["--tls", "must", "--tls-anybody"]].concat()).code, 0);
    let ran = run(&[&login[..], &["--tls", "must"]].concat());
    assert_eq!(ran.code, 77, "{}", ran.err);
    assert!(!ran.out.contains(">>> AUTH"), "{}", ran.out);
    // Without the login.
    let ran = run(&[]);
    assert_eq!(ran.code, 77, "{}{}", ran.out, ran.err);
    // A wrong one.
    fs::write(&secret, "pen\n").unwrap();
    let ran = run(&[&login[..], &["--tls", "may", "--tls-ca", &authority]].concat());
    assert_eq!(ran.code, 77, "{}", ran.err);
    assert!(ran.err.contains("refused the login"), "{}", ran.err);
}
