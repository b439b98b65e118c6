//! Logins and certificates in the whole program: the password file and its command, what a login changes, and what is
//! said about files that cannot be used. TLS with clients of others is in `peers.rs`.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use sluice_sasl::Mechanism;
use sluice_testkit::{Sink, Site, below_received};
use sluice_tests::{SOON, log_in, password};

const CONFIGURATION: &str = "\
hub.example $U@hub.example
site.example $U%$D@SITE
. $U%$H$D@TCP-DAEMON

l
hub.example

tcp_local smtp mx maytlsserver maysaslserver saslswitchchannel tcp_auth disconnectbadauthlimit 2 allowetrn
TCP-DAEMON

tcp_auth smtp mx mustsaslserver recipientlimit 2
TCP-AUTH

tcp_site smtp nomx daemon [127.0.0.1] periodic
SITE
";

const MAPPINGS: &str = "\
FROM_ACCESS

  TCP|*|*|*|*|SMTP/*|MAIL|*|*|fred             $Y
  TCP|*|*|*|*|SMTP/*|MAIL|*|boss@site.example|*  $NLog$ in$ first

ORIG_SEND_ACCESS

  *|*|tcp_site|secret@site.example    $:ANot$ like$ that$N
";

fn site(name: &str) -> Site {
    let site = Site::new(name);
    site.write("sluice.cnf", CONFIGURATION);
    site.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\n");
    assert_eq!(password(&site, &["set", "fred", "--cram-md5"], "pencil").code, 0);
    site
}

#[test]
fn a_login_opens_the_way_and_moves_the_session() {
    let mut site = site("login");
    site.write("mappings", MAPPINGS);
    site.start();
    let mut talk = site.talk();
    let offers = talk.want("EHLO client.example", 250);
    assert!(offers.lines.contains(&"AUTH SCRAM-SHA-256 CRAM-MD5".to_owned()), "{offers}");
    assert!(!offers.offers("STARTTLS"), "there is no certificate: {offers}");
    let refused = talk.want("MAIL FROM:<boss@site.example>", 550);
    assert!(refused.text().contains("Log in first"), "{refused}");
    talk.want("MAIL FROM:<a@elsewhere.example>", 250);
    let refused = talk.want("RCPT TO:<b@elsewhere.example>", 550);
    assert!(refused.text().contains("relaying"), "{refused}");
    talk.want("RSET", 250);
    for mechanism in [Mechanism::ScramSha256, Mechanism::CramMd5] {
        let mut talk = site.talk();
        let reply = log_in(&mut talk, mechanism, "fred", "pencil");
        assert_eq!(reply.text(), "2.7.0 Authentication successful");
        talk.want("MAIL FROM:<boss@site.example> AUTH=<>", 250);
        talk.want("RCPT TO:<b@elsewhere.example>", 250);
        let refused = talk.want("RCPT TO:<secret@site.example>", 550);
        assert!(refused.text().contains("Not like that"), "the flag A is handed in: {refused}");
        talk.want("RCPT TO:<c@site.example>", 250);
        talk.want("RCPT TO:<d@site.example>", 452);
        talk.want("RSET", 250);
        let reply = talk.deliver("a@site.example", &["c@site.example"], b"Subject: x\r\n\r\n").unwrap();
        assert_eq!(reply.code, 250, "{reply}");
    }
    let waiting = site.json(&["queue", "list"]);
    assert_eq!(waiting.len(), 2);
    assert!(site.log().contains("logged in") && !site.log().contains("pencil"), "{}", site.log());
    site.stop();
}

#[test]
fn authrewrite_tells_the_login_in_the_header() {
    let sink = Sink::start();
    let mut site = site("authrewrite");
    let text = CONFIGURATION
        .replace("mustsaslserver", "mustsaslserver authrewrite 1")
        .replace("[127.0.0.1] periodic", &format!("[127.0.0.1] port {}", sink.port()));
    site.write("sluice.cnf", &text);
    site.start();
    let mut talk = site.talk();
    log_in(&mut talk, Mechanism::CramMd5, "fred", "pencil");
    for header in ["From: boss@site.example", "From: boss@site.example\r\nSender: me@site.example"] {
        let content = format!("{header}\r\n\r\nx\r\n");
        let reply = talk.deliver("a@site.example", &["c@site.example"], content.as_bytes()).unwrap();
        assert_eq!(reply.code, 250, "{reply}");
    }
    let mut seen: Vec<String> = sink
        .wait(2, SOON)
        .iter()
        .map(|arrived| String::from_utf8_lossy(below_received(&arrived.content)).into_owned())
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "From: boss@site.example\r\nSender: fred@hub.example\r\n\r\nx\r\n",
            "From: boss@site.example\r\nSender: me@site.example\r\n\r\nx\r\n",
        ]
    );
    site.stop();
}

#[test]
fn wrong_passwords_end_the_session_and_changes_need_only_a_reload() {
    let mut site = site("wrong-passwords");
    site.start();
    let mut talk = site.talk();
    let mut old = site.talk();
    assert_eq!(log_in(&mut talk, Mechanism::CramMd5, "fred", "pen").code, 535);
    let last = log_in(&mut talk, Mechanism::ScramSha256, "ginger", "pencil");
    assert_eq!(last.to_string(), "421 4.7.0 Too many failed logins, closing connection");
    assert!(talk.ask("NOOP").is_err());
    assert_eq!(password(&site, &["set", "ginger"], "rogers").code, 0);
    assert_eq!(password(&site, &["remove", "fred"], "").code, 0);
    assert_eq!(site.command(&["reload"]).code, 0);
    assert_eq!(log_in(&mut old, Mechanism::ScramSha256, "fred", "pencil").code, 535);
    assert_eq!(log_in(&mut old, Mechanism::ScramSha256, "ginger", "rogers").code, 235);
    let mut new = site.talk();
    let offers = new.want("EHLO client.example", 250);
    assert!(offers.lines.contains(&"AUTH SCRAM-SHA-256".to_owned()), "nobody has CRAM-MD5 now: {offers}");
    // A file that everybody may read is not taken, and what was in force stays.
    let file = site.configuration().join("passwords");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let refused = site.command(&["reload"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!((refused.out + &refused.err).contains("bad-password-file"));
    assert_eq!(log_in(&mut new, Mechanism::ScramSha256, "ginger", "rogers").code, 235);
    site.stop();
}

#[test]
fn mustsasl_lets_nothing_through_before() {
    let mut site = site("mustsasl");
    site.replace("sluice.cnf", "maysaslserver", "mustsaslserver");
    site.start();
    let mut talk = site.talk();
    for command in ["MAIL FROM:<a@site.example>", "ETRN site.example", "VRFY fred"] {
        let reply = talk.want(command, 530);
        assert_eq!(reply.text(), "5.7.0 No AUTH command has been given");
    }
    assert_eq!(log_in(&mut talk, Mechanism::ScramSha256, "fred", "pencil").code, 235);
    // The channel that the login leads to does not tell how much there is.
    talk.want("ETRN site.example", 250);
    talk.want("MAIL FROM:<a@site.example>", 250);
    talk.quit();
    site.stop();
}

#[test]
fn the_password_file_is_kept_with_care() {
    let site = site("password-file");
    let file = site.configuration().join("passwords");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(password(&site, &["set", "ginger"], "r\u{f6}gers").code, 0);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640, "the mode stays");
    let listed = site.command(&["password", "list"]);
    assert_eq!(listed.out, "fred  (CRAM-MD5 too)\nginger\n");
    let listed = site.json(&["password", "list"]);
    assert_eq!(listed[0]["name"], "fred");
    assert_eq!((&listed[0]["cram_md5"], &listed[1]["cram_md5"]), (&true.into(), &false.into()));
    assert_eq!(password(&site, &["check", "ginger"], "ro\u{308}gers").code, 0, "the same in another form");
    assert_eq!(password(&site, &["check", "ginger"], "rogers").code, 65);
    assert_eq!(password(&site, &["check", "nobody"], "x").code, 65);
    assert_eq!(password(&site, &["set", "fred"], "").code, 65);
    assert_eq!(password(&site, &["set", "two words"], "x").code, 64);
    assert_eq!(password(&site, &["remove", "nobody"], "").code, 65);
    assert_eq!(password(&site, &["set", "fred"], "other").code, 0);
    assert!(!fs::read_to_string(&file).unwrap().contains("CRAM-MD5"), "without --cram-md5 the secret goes");
    let elsewhere = site.folder().join("elsewhere");
    let option = elsewhere.to_string_lossy().into_owned();
    assert_eq!(password(&site, &["set", "fred", "--file", &option], "x").code, 0);
    assert_eq!(
        fs::read_dir(site.folder())
            .unwrap()
            .filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("elsewhere")
            })
            .count(),
        1,
        "nothing is left over"
    );
}

/// What `sluice check` says, code by code.
fn said(site: &Site) -> Vec<String> {
    let ran = site.command(&["check", "--format", "json"]);
    ran.json().iter().map(|line| line["code"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn check_looks_at_keys_and_passwords() {
    let site = site("check-keys");
    assert_eq!(said(&site), ["tls-without-certificate"]);
    site.replace("option.dat", "PASSWORD_FILE", "! PASSWORD_FILE");
    assert_eq!(said(&site), ["tls-without-certificate", "login-without-users"]);
    site.replace("option.dat", "! PASSWORD_FILE", "PASSWORD_FILE");
    site.write("dispatcher.cnf", "[SERVICE=SMTP]\nPORT=2525\nTLS_PORT=2465\n");
    assert_eq!(said(&site), ["tls-port-not-served"]);
    let made = rcgen::generate_simple_self_signed(vec!["hub.example".to_owned()]).unwrap();
    let key = site.configuration().join("server-priv.pem");
    site.write("server-pub.pem", &made.cert.pem());
    assert_eq!(said(&site), ["bad-certificate"], "there is no key");
    site.write("server-priv.pem", &made.signing_key.serialize_pem());
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(said(&site), ["bad-certificate"], "everybody may read the key");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(said(&site), Vec::<String>::new());
    site.write("dispatcher.cnf", "[SERVICE=SMTP]\nPORT=2525\nTLS_CERTIFICATE=mine.pem\n");
    assert_eq!(said(&site), ["bad-certificate"], "a file that was named must be there");
    site.write("mine.pem", &made.signing_key.serialize_pem());
    assert_eq!(said(&site), ["bad-certificate"]);
    let other = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
    site.write("mine.pem", &other.cert.pem());
    assert_eq!(said(&site), ["bad-certificate"], "the key of another");
    site.write("mine.pem", &made.cert.pem());
    assert_eq!(said(&site), Vec::<String>::new());
    site.write("passwords", "fred secret\n");
    assert_eq!(said(&site), ["bad-password-file"]);
    fs::remove_file(site.configuration().join("passwords")).unwrap();
    assert_eq!(said(&site), ["bad-password-file"]);
    site.write("option.dat", "SPOOL_DIR=../spool\n");
    assert_eq!(said(&site), ["login-without-users"]);
}
