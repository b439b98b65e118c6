//! The hub in front of a store of mailboxes: Dovecot's LMTP, over TCP and over a socket of this machine.

use sluice_testkit::{Program, Sink, Talk, below_received, free_port, maildir, wait_for, watch};
use sluice_tests::{SOON, WHILE, is_root, show};
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONTENT: &[u8] = b"Subject: dots\r\n\r\n.one\r\n..two\r\n...\r\nend\r\n";

/// Dovecot with two users of `site7.example`: `good`, and `full`, whose mailbox has room for ten octets.
struct Dovecot {
    master: Program,
    folder: tempfile::TempDir,
    port: u16,
}

impl Dovecot {
    fn start() -> Dovecot {
        let folder =
            tempfile::Builder::new().prefix("sluice-dovecot-").tempdir().expect("a temporary folder");
        let (place, port) = (folder.path(), free_port());
        fs::create_dir(place.join("mail")).expect("a new folder");
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let me = fs::metadata("/proc/self").expect("a running program has an owner");
        // As somebody else than root all of its parts run as whoever started it, and nothing is locked up.
        let (user, group, users) = if is_root() {
            let nobody =
                std::process::Command::new("chown").arg("nobody:nogroup").arg(place.join("mail")).status();
            assert!(nobody.is_ok_and(|status| status.success()), "root may give away");
            ("nobody".to_owned(), "nogroup".to_owned(), String::new())
        } else {
            let (user, group) = (name_of("/etc/passwd", me.uid()), name_of("/etc/group", me.gid()));
            let unlocked: String =
                ["anvil", "lmtp"].map(|name| format!("service {name} {{\n  chroot =\n}}\n")).concat();
            let users = format!(
                "default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\n{unlocked}"
            );
            (user, group, users)
        };
        let text = format!(
            "base_dir = {place}/run\nstate_dir = {place}/state\nlog_path = {place}/log\nprotocols = lmtp\n\
             listen = 127.0.0.1\nssl = no\nhostname = dovecot.example\nmail_location = maildir:{place}/mail/%n\n\
             first_valid_uid = 1\nmail_uid = {user}\nmail_gid = {group}\nmail_plugins = quota\n{users}\
             plugin {{\n  quota = count:User quota\n  quota_vsizes = yes\n}}\n\
             userdb {{\n  driver = passwd-file\n  args = {place}/users\n}}\n\
             passdb {{\n  driver = passwd-file\n  args = {place}/users\n}}\n\
             service lmtp {{\n  unix_listener {place}/lmtp {{\n    mode = 0666\n  }}\n\
             \x20 inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n",
            place = place.display(),
        );
        fs::write(place.join("dovecot.conf"), text).expect("a new file");
        fs::write(
            place.join("users"),
            "good@site7.example:{PLAIN}x::::::\nfull@site7.example:{PLAIN}x::::::userdb_quota_rule=*:bytes=10\n",
        )
        .expect("a new file");
        let arguments = ["-F".into(), "-c".into(), place.join("dovecot.conf").into_os_string()];
        let master = Program::start(Path::new("/usr/sbin/dovecot"), &arguments, &place.join("output"));
        let master = master.expect("dovecot; cargo xtask peers");
        let mut dovecot = Dovecot { master, folder, port };
        wait_for("Dovecot greets", SOON, || dovecot.master.ended().is_some() || dovecot.greets());
        assert!(dovecot.master.ended().is_none(), "Dovecot ended");
        dovecot
    }

    fn greets(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() && self.socket().exists() && {
            let greeted = Talk::open((Ipv4Addr::LOCALHOST, self.port));
            greeted.is_ok_and(|(_, reply)| reply.code == 220)
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("lmtp")
    }

    fn inbox(&self, user: &str) -> Vec<Vec<u8>> {
        maildir(&self.folder.path().join("mail").join(user))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its master ends all the others before itself.
        self.master.terminate(Duration::from_secs(10));
        if std::thread::panicking() {
            show(&[self.folder.path().join("log"), self.folder.path().join("output")]);
        }
    }
}

/// The name of a user or group.
fn name_of(file: &str, number: u32) -> String {
    let text = fs::read_to_string(file).expect("a list of users");
    let number = number.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(number.as_str()));
    line.and_then(|line| line.split(':').next()).unwrap_or("root").to_owned()
}

/// One message for a user, for somebody who does not exist, and for one whose mailbox is full: each gets what the store said of it.
fn three_recipients(name: &str, dovecot: &Dovecot, keywords: &str, option_file: &str) {
    let back = Sink::start();
    let mut hub = sluice_testkit::Site::new(name);
    hub.write(
        "sluice.cnf",
        &format!(
            "hub.example $U@hub.example\nsite7.example $U%$D@STORE\norigin.example $U%$D@TCP-BACK\n\n\
             l\nhub.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n\n\
             tcp_lmtpcs {keywords} master_debug\nSTORE\n\n\
             tcp_back smtp nomx daemon [127.0.0.1] port {}\nTCP-BACK\n",
            back.port()
        ),
    );
    if !option_file.is_empty() {
        hub.write("tcp_lmtpcs_option", option_file);
    }
    let checked = hub.command(&["check"]);
    assert!(
        checked.code == 0 && checked.out.ends_with("nothing to complain about\n"),
        "{}{}",
        checked.out,
        checked.err
    );
    hub.start();
    let recipients = ["good@site7.example", "nobody@site7.example", "full@site7.example"];
    let mut client = hub.talk();
    let reply = client.deliver("a@origin.example", &recipients, CONTENT).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
    wait_for("it is in the mailbox", SOON, || !dovecot.inbox("good").is_empty());
    let notices = back.wait(1, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    let inbox = dovecot.inbox("good");
    assert_eq!(inbox.len(), 1, "{}", hub.report());
    let got = String::from_utf8_lossy(&inbox[0]).replace("\r\n", "\n");
    assert!(got.starts_with("Return-Path: <a@origin.example>\n"), "{got}");
    let (_, behind) = got.split_once("\nReceived: from ").expect("our own line");
    let behind = format!("Received: from {behind}");
    assert!(
        below_received(behind.as_bytes()).starts_with(b"Subject: dots\n\n.one\n..two\n...\nend\n"),
        "{got}"
    );
    assert!(dovecot.inbox("full").is_empty(), "a mailbox without room");
    // What cannot be delivered is in one notice.
    let notice: String =
        notices.iter().map(|one| String::from_utf8_lossy(&one.content).into_owned()).collect();
    for (recipient, status) in [("nobody@site7.example", "5.1.1"), ("full@site7.example", "5.2.2")] {
        let (_, report) =
            notice.split_once(&format!("Final-Recipient: rfc822; {recipient}")).unwrap_or_else(|| {
                panic!("nothing about {recipient}: {notice}");
            });
        assert!(
            report[..report.len().min(200)].contains(&format!("Status: {status}")),
            "{recipient}: {notice}"
        );
    }
    assert!(!notice.contains("good@site7.example\r\nAction"), "{notice}");
    let log = hub.log();
    assert_eq!(log.matches("> LHLO").count(), 1, "{}", hub.report());
    assert_eq!(log.matches("> MAIL").count(), 1, "one transaction: {}", hub.report());
    hub.stop();
}

#[test]
fn recipients_of_one_transaction_have_outcomes_of_their_own() {
    let dovecot = Dovecot::start();
    let keywords = format!("lmtp nomx daemon [127.0.0.1] port {}", dovecot.port);
    three_recipients("lmtp-tcp", &dovecot, &keywords, "");
}

#[test]
fn a_socket_of_this_machine_does_as_well() {
    let dovecot = Dovecot::start();
    let option = format!("SOCKET={}\n", dovecot.socket().display());
    three_recipients("lmtp-socket", &dovecot, "lmtp", &option);
}

#[test]
fn mail_waits_while_the_store_is_away_and_arrives_when_it_is_back() {
    let mut dovecot = Dovecot::start();
    let mut hub = sluice_testkit::Site::new("lmtp-away");
    hub.write(
        "sluice.cnf",
        "hub.example $U@hub.example\nsite7.example $U%$D@STORE\n\nl\nhub.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n\n\
         tcp_lmtpcs lmtp backoff PT1S\nSTORE\n",
    );
    hub.write("tcp_lmtpcs_option", &format!("SOCKET={}\n", dovecot.socket().display()));
    // Its processes go with it, and its socket stays.
    dovecot.master.terminate(Duration::from_secs(10));
    hub.start();
    let mut client = hub.talk();
    let reply = client.deliver("a@origin.example", &["good@site7.example"], CONTENT).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
    watch("it waits", WHILE, || hub.waiting(Some("tcp_lmtpcs")) == 1);
    let arguments = ["-F".into(), "-c".into(), dovecot.folder.path().join("dovecot.conf").into_os_string()];
    let output = dovecot.folder.path().join("output");
    dovecot.master =
        Program::start(Path::new("/usr/sbin/dovecot"), &arguments, &output).expect("it starts again");
    wait_for("it is in the mailbox", SOON, || dovecot.inbox("good").len() == 1);
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!(dovecot.inbox("good").len(), 1, "{}", dovecot.log());
    hub.stop();
}
