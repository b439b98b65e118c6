//! fetchmail as the site that collects: by ODMR (RFC 2645) with a login, and by ETRN for several names.
//!
//! fetchmail hands the mail of a turned connection to a server of its own side, here a sink.

use sluice_testkit::{Batch, Sink, Site, below_received, free_port, message, number_of, watch};
use sluice_tests::{Destination, SOON, WHILE, configuration, numbers, password};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// Runs fetchmail to its end with this line in its control file.
fn fetchmail(line: &str) -> Output {
    let here = tempfile::Builder::new().prefix("sluice-fetchmail-").tempdir().expect("a temporary folder");
    let file = here.path().join("fetchmailrc");
    fs::write(&file, format!("{line}\n")).expect("a new file");
    // It reads no file that others may read: there may be a password in it, as there is here.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
    let pid = here.path().join("pid");
    let output = Command::new("/usr/bin/fetchmail")
        .arg("-f")
        .arg(&file)
        .args(["-v", "--nodetach", "--nosyslog", "--pidfile"])
        .arg(&pid)
        // Where it remembers what it has seen, and whose settings it would read.
        .env("HOME", here.path())
        .output();
    output.expect("fetchmail; cargo xtask peers")
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn send(hub: &Site, to: &str, first: usize, count: usize) {
    Batch { first, size: 4096, ..Batch::new(hub.address(), to, count) }.send_all();
}

#[test]
fn row_6_2_fetchmail_collects_by_odmr_exactly_what_is_its_logins() {
    // Nothing listens where the channels would connect to.
    let mut hub = Site::new("odmr");
    let held = [
        // A rule for the name itself goes before the one for all below another.
        Destination::held("tcp_far", "far.site7.example", 9),
        Destination::held("tcp_sites", "site7.example", 9),
        Destination::held("tcp_other", "other.example", 9),
    ];
    hub.write("sluice.cnf", &configuration("", &held));
    hub.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\n");
    hub.write(
        "sites.cnf",
        "[SITE=site7]\nDOMAINS=@site7.example\nLOGIN=fred\nTIER=turned\n\
         [SITE=other]\nDOMAINS=other.example\nLOGIN=ginger\nTIER=turned\n",
    );
    let odmr = free_port();
    let dispatcher = fs::read_to_string(hub.configuration().join("dispatcher.cnf")).expect("its services");
    hub.write(
        "dispatcher.cnf",
        &format!("{dispatcher}\n[SERVICE=ODMR]\nINTERFACE_ADDRESS=127.0.0.1\nPORT={odmr}\n"),
    );
    for user in ["fred", "ginger"] {
        assert_eq!(password(&hub, &["set", user, "--cram-md5"], "pencil").code, 0);
    }
    hub.start();
    send(&hub, "a@site7.example", 0, 20);
    send(&hub, "a@far.site7.example", 20, 10);
    send(&hub, "b@other.example", 30, 5);
    assert_eq!(hub.waiting(Some("tcp_far")), 10);
    let sink = Sink::start();
    let poll = |user: &str, password: &str, domain: &str| {
        fetchmail(&format!(
            "poll 127.0.0.1 protocol ODMR service {odmr} username \"{user}\" password \"{password}\" \
             fetchdomains {domain} smtphost 127.0.0.1/{}",
            sink.port()
        ))
    };
    // Neither a wrong password nor another's login moves anything, and fetchmail knows.
    for refused in [
        poll("fred", "pen", "site7.example"),
        poll("ginger", "pencil", "site7.example"),
        poll("fred", "pencil", "other.example"),
    ] {
        assert!(!refused.status.success(), "{}", said(&refused));
    }
    assert_eq!((sink.count(), hub.waiting(None)), (0, 35));

    let collected = poll("fred", "pencil", "site7.example far.site7.example");
    assert_eq!(collected.status.code(), Some(0), "{}", said(&collected));
    let arrived = sink.wait(30, SOON);
    assert_eq!(numbers(&arrived), (0..30).collect::<Vec<_>>());
    for one in &arrived {
        let number = number_of(&one.content).expect("a number");
        assert_eq!(one.to, [if number < 20 { "a@site7.example" } else { "a@far.site7.example" }]);
        assert!(below_received(&one.content) == message(number, 4096), "message {number} is not as it was");
    }
    hub.wait_for_waiting(Some("tcp_sites"), 0, SOON);
    hub.wait_for_waiting(Some("tcp_far"), 0, SOON);
    watch("nothing of others comes", WHILE, || sink.count() == 30);
    assert_eq!(hub.waiting(Some("tcp_other")), 5);

    // For one that finds nothing (453) fetchmail ends well, and says so.
    let nothing = poll("fred", "pencil", "site7.example");
    assert!(nothing.status.success() && said(&nothing).contains("You have no mail"), "{}", said(&nothing));
    assert_eq!(sink.count(), 30);
    hub.stop();
}

#[test]
fn row_5_19_fetchmail_stops_at_a_name_without_mail_unless_one_name_stands_for_the_site() {
    for (covers, arrives) in [("name", false), ("site", true)] {
        let sink = Sink::start();
        let mut hub = Site::new("fetchmail-covers");
        let held = [
            Destination::held("tcp_quiet", "quiet.example", sink.port()),
            Destination::held("tcp_sites", "site7.example", sink.port()),
        ];
        hub.write("sluice.cnf", &configuration("allowetrn", &held));
        hub.write(
            "sites.cnf",
            &format!("[SITE=site7]\nDOMAINS=quiet.example, site7.example\nCOVERS={covers}\n"),
        );
        hub.start();
        send(&hub, "a@site7.example", 0, 3);
        let port = hub.address().port();
        let asked = fetchmail(&format!(
            "poll 127.0.0.1 protocol ETRN service {port} fetchdomains quiet.example site7.example"
        ));
        if arrives {
            assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
            assert_eq!(numbers(&sink.wait(3, SOON)), [0, 1, 2]);
            hub.wait_for_waiting(None, 0, SOON);
        } else {
            watch("fetchmail did not get to the second name", WHILE, || sink.count() == 0);
            assert_eq!(hub.waiting(None), 3, "{}", said(&asked));
        }
        hub.stop();
    }
}
