//! Mail that is given to programs: what they read, what becomes of their ends, and what they cannot do to the hub.

use sluice_testkit::{Sink, Site, wait_for};
use sluice_tests::{Destination, SOON, configuration, is_root};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const RULES: &str = "pipe.example $U%pipe.example@PIPE-DAEMON\n";
const CHANNEL: &str = "pipe single backoff pt10m\nPIPE-DAEMON\n";

/// A hub with a pipe channel whose option file has these lines, and a way back to senders at `next.example`.
fn hub(name: &str, options: &str, sink: &Sink) -> Site {
    let site = Site::new(name);
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    site.write("sluice.cnf", &format!("{RULES}{}\n{CHANNEL}", configuration("", &to)));
    site.write("pipe_option", &format!("USER={}\n{options}", account()));
    site
}

/// Who runs the tests.
fn account() -> String {
    let output = Command::new("id").arg("-un").output().expect("id(1)");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A program of the test, in the folder of its site.
fn script(site: &Site, name: &str, text: &str) -> PathBuf {
    let path = site.folder().join(name);
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script");
    path
}

fn deliver(site: &Site, from: &str, to: &str, content: &str) {
    let reply = site.talk().deliver(from, &[to], content.as_bytes()).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[test]
fn programs_get_the_message_and_what_belongs_to_it() {
    let sink = Sink::start();
    let mut site = hub("pipe", "", &sink);
    // A program in Python, which is what many of them are.
    let program = script(
        &site,
        "take",
        "#!/usr/bin/env python3\nimport os, sys\nbody = sys.stdin.buffer.read()\nwhere = sys.argv[1]\n\
         with open(where + '/part', 'wb') as out:\n    out.write(repr(sys.argv[2:]).encode() + b'\\n')\n    out.write(repr(sorted(os.environ.items())).encode() + b'\\n' + body)\n\
         os.rename(where + '/part', where + '/whole')\nprint('taken')\n",
    );
    let folder = site.folder().to_owned();
    let (run, into) = (program.display(), folder.display());
    let line = format!(
        "USER={}\nFROM_LINE=1\ngripes@pipe.example={run} {into} 'two words' --user=%s %a %o %f\nPIPE.EXAMPLE={run} {into} %s\n",
        account(),
    );
    site.write("pipe_option", &line);
    site.write("aliases", "gripes: Gripes@pipe.example\n");
    let check = site.command(&["check"]);
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    assert!(!check.out.contains("not an option"), "{}", check.out);
    site.start();
    deliver(
        &site,
        "me@next.example",
        "gripes@hub.example",
        "Subject: x\r\n\r\nhello\r\n.dot\r\nFrom here\r\n",
    );
    let whole = folder.join("whole");
    wait_for("the program has run", SOON, || whole.exists());
    let text = read(&whole);
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(
            "['two words', '--user=Gripes', 'Gripes@pipe.example', 'gripes@hub.example', 'me@next.example']"
        )
    );
    let environment = lines.next().unwrap_or_default();
    assert!(environment.contains("('RECIPIENT', 'Gripes@pipe.example')"), "{environment}");
    assert!(
        environment.contains("('SENDER', 'me@next.example')") && !environment.contains("CARGO"),
        "{environment}"
    );
    assert!(lines.next().is_some_and(|line| line.starts_with("From me@next.example ")), "{text}");
    assert!(text.ends_with("\nSubject: x\n\nhello\n.dot\nFrom here\n"), "{text}");
    site.wait_for_waiting(None, 0, SOON);
    fs::remove_file(&whole).expect("it was there");
    // A local part is one word, whatever stands in it.
    let to = r#""x; touch /tmp/hurt $(id) `id` 'a' \"b\" %s"@pipe.example"#;
    deliver(&site, "me@next.example", to, "Subject: y\r\n\r\n");
    wait_for("the program has run", SOON, || whole.exists());
    let first = read(&whole).lines().next().unwrap_or_default().to_owned();
    assert_eq!(first, r#"['x; touch /tmp/hurt $(id) `id` \'a\' "b" %s']"#);
    site.wait_for_waiting(None, 0, SOON);
    // One that would be an option is refused, and the sender is told.
    deliver(&site, "me@next.example", "-rf@pipe.example", "Subject: z\r\n\r\n");
    let notice = sink.wait(1, SOON).remove(0);
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains("5.1.3") && text.contains("begins with `-`"), "{text}");
    site.stop();
}

#[test]
fn exit_codes_deliver_defer_and_return() {
    let sink = Sink::start();
    let mut site = hub("pipe-exits", "", &sink);
    // The local part is the code.
    let program =
        script(&site, "code", "#!/bin/sh\ncat >/dev/null\necho \"I say $1\"\necho and more >&2\nexit $1\n");
    site.write("pipe_option", &format!("USER={}\nCOMMAND={} %s\n", account(), program.display()));
    site.start();
    for code in ["0", "75", "67"] {
        deliver(&site, "me@next.example", &format!("{code}@pipe.example"), "Subject: x\r\n\r\nhello\r\n");
    }
    let notice = sink.wait(1, SOON).remove(0);
    // Long lines of a notice are folded.
    let text = String::from_utf8_lossy(&notice.content).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["67@pipe.example", "5.1.1", "exit status 67 (EX_NOUSER): I say 67; and more"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    site.wait_for_waiting(None, 1, SOON);
    let rows = site.json(&["queue", "list"]);
    let row = rows.iter().find(|row| row["last_error"].is_string()).expect("what waits says why");
    let error = row["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("exit status 75 (EX_TEMPFAIL): I say 75; and more"), "{row}");
    site.stop();
}

#[test]
fn a_program_that_hangs_is_ended_and_leaves_no_zombie() {
    let sink = Sink::start();
    let mut site = hub("pipe-late", "", &sink);
    let pid = site.folder().join("pid");
    let program =
        script(&site, "hang", "#!/bin/sh\necho $$ > \"$1\"\ntrap '' TERM\nwhile :; do sleep 1; done\n");
    let options =
        format!("USER={}\nSHELL_TIMEOUT=1\nCOMMAND={} {}\n", account(), program.display(), pid.display());
    site.write("pipe_option", &options);
    site.start();
    let hub = site.id().expect("it runs");
    deliver(&site, "me@next.example", "x@pipe.example", "Subject: x\r\n\r\nhello\r\n");
    wait_for("it is deferred", SOON, || {
        let rows = site.json(&["queue", "list"]);
        rows.iter().any(|row| {
            row["last_error"].as_str().is_some_and(|error| error.contains("not done within 1 seconds"))
        })
    });
    let program = read(&pid).trim().to_owned();
    assert!(!Path::new("/proc").join(&program).exists(), "{program} is still there");
    let children = fs::read_to_string(format!("/proc/{hub}/task/{hub}/children")).unwrap_or_default();
    assert_eq!(children, "");
    site.stop();
}

#[test]
fn a_hub_that_stops_does_not_wait_for_a_program_and_loses_nothing() {
    let sink = Sink::start();
    let mut site = hub("pipe-stop", "", &sink);
    let began = site.folder().join("began");
    let program = script(&site, "slow", "#!/bin/sh\ntouch \"$1\"\nexec sleep 600\n");
    let options = format!("USER={}\nCOMMAND={} {}\n", account(), program.display(), began.display());
    site.write("pipe_option", &options);
    site.start();
    deliver(&site, "me@next.example", "x@pipe.example", "Subject: x\r\n\r\nhello\r\n");
    wait_for("it runs", SOON, || began.exists());
    // This asserts the ten seconds that are promised.
    site.stop();
    let program = script(&site, "slow", "#!/bin/sh\ncat > \"$1.whole\"\n");
    assert!(program.exists());
    site.start();
    let ran = site.command(&["queue", "retry", "--all", "--yes"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    site.wait_for_waiting(None, 0, SOON);
    assert!(read(&site.folder().join("began.whole")).ends_with("\nhello\n"));
    site.stop();
}

#[test]
fn programs_run_as_somebody_else_where_the_hub_is_root() {
    let sink = Sink::start();
    let mut site = hub("pipe-user", "", &sink);
    if is_root() {
        // Without an account the channel does not start.
        site.write("pipe_option", "COMMAND=/bin/true\n");
        site.start();
        deliver(&site, "me@next.example", "x@pipe.example", "Subject: x\r\n\r\nhello\r\n");
        wait_for("it is said", SOON, || site.log().contains("programs are not to: name an account"));
        site.stop();
        let folder = site.folder().join("open");
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("a folder");
        fs::set_permissions(site.folder(), fs::Permissions::from_mode(0o755)).expect("a folder");
        let line = format!(
            "USER=nobody\nUSE_SHELL=1\nCOMMAND=id > {0}/part && mv {0}/part {0}/id\n",
            folder.display()
        );
        site.write("pipe_option", &line);
        site.start();
        wait_for("it has run", SOON, || folder.join("id").exists());
        let id = read(&folder.join("id"));
        assert!(id.starts_with("uid=65534(nobody)") && !id.contains("root"), "{id}");
        site.wait_for_waiting(None, 0, SOON);
    } else {
        site.write("pipe_option", "USER=root\nCOMMAND=/bin/true\n");
        site.start();
        deliver(&site, "me@next.example", "x@pipe.example", "Subject: x\r\n\r\nhello\r\n");
        wait_for("it is said", SOON, || site.log().contains("programs cannot run as `root`"));
    }
    site.stop();
}

#[cfg(feature = "peers")]
#[test]
fn procmail_delivers_and_says_no() {
    let peer = sluice_tests::Peer::root("procmail");
    let procmail = peer.file("usr/bin/procmail");
    let sink = Sink::start();
    let mut site = hub("pipe-procmail", "", &sink);
    let inbox = site.folder().join("inbox/");
    fs::create_dir(&inbox).expect("a folder");
    // A trailing slash makes it a maildir; EXITCODE is what procmail says to us.
    let rc = site.folder().join("rc");
    let text =
        format!("DEFAULT={}\n:0\n* ^Subject: refuse\n{{\n  EXITCODE=77\n  HOST\n}}\n", inbox.display());
    fs::write(&rc, text).expect("a file");
    fs::set_permissions(&rc, fs::Permissions::from_mode(0o644)).expect("a file");
    let line = format!("USER={}\nCOMMAND={} {}\n", account(), procmail.display(), rc.display());
    site.write("pipe_option", &line);
    site.start();
    deliver(&site, "me@next.example", "fred@pipe.example", "Subject: take\r\n\r\nhello\r\n");
    deliver(&site, "me@next.example", "fred@pipe.example", "Subject: refuse\r\n\r\nhello\r\n");
    let notice = sink.wait(1, SOON).remove(0);
    let text = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(text.contains("5.7.0") && text.contains("EX_NOPERM"), "{text}");
    site.wait_for_waiting(None, 0, SOON);
    let new: Vec<_> = fs::read_dir(inbox.join("new")).expect("a maildir").flatten().collect();
    assert_eq!(new.len(), 1);
    assert!(read(&new[0].path()).ends_with("\nhello\n"));
    site.stop();
}
