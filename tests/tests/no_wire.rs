//! Mail for sites that no wire goes to: batches as files, carried there and back.

use sluice_testkit::{Arrived, Batch, Fate, Manner, Sink, Site, Talk, number_of, wait_for, watch};
use sluice_tests::{Destination, SOON, WHILE, configuration, numbers};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What has been settled is written down within 50 ms, if the machine has time for it.
const UNSETTLED: Duration = Duration::from_millis(500);

/// A folder that both sites see: `to-ship` and `to-hub` on it are the carrier.
fn carrier() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("sluice-carrier-").tempdir().expect("a folder");
    for name in ["to-ship", "to-hub"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    folder
}

/// A site that writes batches for `ship.example`.
fn writer(name: &str, carrier: &Path, keywords: &str, options: &str, sink: &Sink) -> Site {
    let site = Site::new(name);
    let to = [Destination::direct("tcp_next", "next.example", sink.port())];
    let channel = format!("bsout_ship {keywords}\nBSOUT-SHIP\n");
    site.write(
        "sluice.cnf",
        &format!("ship.example $U%$D@BSOUT-SHIP\n{}\n{channel}", configuration("", &to)),
    );
    let (out, answers) = (carrier.join("to-ship"), carrier.join("to-hub"));
    // What is released at once is one batch, however busy the machine is.
    let wait = if keywords.is_empty() { 1 } else { 5 };
    let text = format!(
        "OUT_DIR={}\nANSWER_DIR={}\nSTATE_DIR=../state\nSCAN_INTERVAL=1\nRETRY_INTERVAL=1\nBATCH_WAIT={wait}\n{options}",
        out.display(),
        answers.display()
    );
    site.write("bsout_ship_option", &text);
    site.write("job_controller.cnf", "[CHANNEL=bsout_ship]\nSCHEDULE=every 1s\n");
    site
}

/// A site that takes them in, and passes mail on to the sink.
fn reader(name: &str, carrier: &Path, options: &str, sink: &Sink) -> Site {
    let site = Site::new(name);
    let to = [
        Destination::direct("tcp_next", "ship.example", sink.port()),
        Destination::direct("tcp_back", "next.example", sink.port()),
    ];
    let channel = "bsin_hub periodic\nBSIN-HUB\n";
    site.write("sluice.cnf", &format!("{}\n{channel}", configuration("", &to)));
    let text = format!(
        "IN_DIR={}\nANSWER_DIR={}\nSTATE_DIR=../state\nSCAN_INTERVAL=1\nRETRY_INTERVAL=1\n{options}",
        carrier.join("to-ship").display(),
        carrier.join("to-hub").display()
    );
    site.write("bsin_hub_option", &text);
    site.write("job_controller.cnf", "[CHANNEL=bsin_hub]\nSCHEDULE=every 1s\n");
    site
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn send(site: &Site, first: usize, count: usize) {
    sluice_tests::send(site, "fred@ship.example", first, count);
}

/// Lets so many messages wait, and has them written into one batch.
fn write_batch(hub: &Site, first: usize, count: usize) {
    send(hub, first, count);
    hub.wait_for_waiting(Some("bsout_ship"), count as u64, SOON);
    assert_eq!(hub.command(&["trigger", "#bsout_ship"]).code, 0);
    hub.wait_for_waiting(None, 0, SOON);
}

/// Runs a line of the shell, which must succeed.
fn shell(line: &str, folder: &Path) -> String {
    let output = Command::new("/bin/sh").args(["-c", line]).current_dir(folder).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_batch_is_written_when_it_is_time_and_ordinary_tools_read_it() {
    let (sink, carrier) = (Sink::start(), carrier());
    let mut hub = writer("batch-write", carrier.path(), "periodic", "PART_SIZE=200\n", &sink);
    hub.write("job_controller.cnf", "");
    let check = hub.command(&["check"]);
    assert_eq!(check.code, 0, "{}", check.out);
    hub.start();
    send(&hub, 0, 20);
    let to_ship = carrier.path().join("to-ship");
    hub.wait_for_waiting(Some("bsout_ship"), 20, SOON);
    assert_eq!(names(&to_ship), [""; 0], "nobody has said that the stick is there");
    assert_eq!(hub.command(&["trigger", "#bsout_ship"]).code, 0);
    let manifest = to_ship.join("ship-00000001.manifest");
    wait_for("the batch is written", SOON, || manifest.exists());
    hub.wait_for_waiting(None, 0, SOON);
    let parts = names(&to_ship).len() - 1;
    assert!(parts > 1, "{:?}", names(&to_ship));
    assert!(read(&manifest).contains("# messages: 20\n"), "{}", read(&manifest));
    assert_eq!(shell("sha256sum -c --quiet ship-00000001.manifest", &to_ship), "");
    let text = shell("cat ship-00000001.bsmtp.gz.* | zcat", &to_ship);
    assert!(text.starts_with("EHLO hub.example\r\nMAIL FROM:<") && text.ends_with("\r\n.\r\nQUIT\r\n"));
    assert_eq!(text.matches("\r\nRCPT TO:<fred@ship.example>\r\nDATA\r\n").count(), 20);
    // It is on the carrier, and nothing is kept.
    let state = hub.folder().join("state/bsout_ship");
    wait_for("nothing is kept", SOON, || names(&state) == ["last"]);
    // The next one has the next number, after a restart too.
    hub.stop();
    hub.start();
    send(&hub, 20, 1);
    hub.wait_for_waiting(Some("bsout_ship"), 1, SOON);
    hub.command(&["trigger", "#bsout_ship"]);
    wait_for("the second is written", SOON, || to_ship.join("ship-00000002.manifest").exists());
    // Without the stick mail waits where it is.
    fs::rename(&to_ship, carrier.path().join("away")).expect("it is taken away");
    send(&hub, 21, 1);
    hub.command(&["trigger", "#bsout_ship"]);
    wait_for("it is said", SOON, || {
        hub.json(&["queue", "list"]).iter().any(|row| {
            row["last_error"].as_str().is_some_and(|error| error.contains("the carrier is not there"))
        })
    });
    hub.stop();
}

#[test]
fn two_hubs_that_are_killed_exchange_a_thousand_messages() {
    const MESSAGES: usize = 1000;
    let (sink, carrier) = (Sink::start(), carrier());
    let options = "KEEP=1\nBATCH_MESSAGES=60\nPART_SIZE=4096\n";
    let mut hub = writer("no-wire-hub", carrier.path(), "", options, &sink);
    let mut ship = reader("no-wire-ship", carrier.path(), "", &sink);
    hub.start();
    ship.start();
    let (mut accepted, mut next, mut kills) = (BTreeSet::new(), 0, 0);
    // What was being written (a batch at most) or brought in (one) when somebody was killed, and what his spool had not yet written down as settled:
    // of the hub, what it had taken in this round; of the ship, what it had sent on just before.
    let mut may_come_twice = 0;
    while accepted.len() < MESSAGES {
        // Each round one of the two is killed in the middle of its work.
        let round = 170.min(MESSAGES - accepted.len());
        let batch = Batch {
            first: next,
            sessions: 4,
            size: 1500,
            ..Batch::new(hub.address(), "fred@ship.example", round)
        };
        let (tally, before) = (AtomicUsize::new(0), sink.count());
        let fates = std::thread::scope(|scope| {
            let sender = scope.spawn(|| batch.send(&tally));
            if kills < 6 {
                wait_for("it is at work", SOON, || {
                    tally.load(Ordering::SeqCst) >= round / 2 || sender.is_finished()
                });
                if kills % 2 == 0 {
                    hub.kill();
                    may_come_twice += 60 + tally.load(Ordering::SeqCst);
                } else {
                    wait_for("it takes batches in", SOON, || sink.count() > before || sender.is_finished());
                    let just_before = Instant::now() - UNSETTLED;
                    ship.kill();
                    may_come_twice += 1 + sink.arrived().iter().filter(|one| one.at > just_before).count();
                }
                kills += 1;
            }
            sender.join().expect("the sender does not panic")
        });
        accepted.extend(fates.iter().filter(|(_, fate)| *fate == Fate::Accepted).map(|(number, _)| *number));
        next += round;
        if !hub.runs() {
            hub.start();
        }
        if !ship.runs() {
            ship.start();
        }
    }
    assert!(kills == 6, "{kills} kills");
    let arrived = || sink.arrived().iter().filter_map(|one| number_of(&one.content)).collect::<BTreeSet<_>>();
    wait_for("every message that was accepted has arrived", SOON * 2, || arrived().is_superset(&accepted));
    hub.wait_for_waiting(None, 0, SOON);
    ship.wait_for_waiting(None, 0, SOON);
    let state = hub.folder().join("state/bsout_ship");
    wait_for("everything is acknowledged", SOON, || names(&state) == ["last"]);
    wait_for("the carrier is empty", SOON, || {
        names(&carrier.path().join("to-ship")).is_empty() && names(&carrier.path().join("to-hub")).is_empty()
    });
    let all = numbers(&sink.arrived());
    let twice = all.len() - all.iter().collect::<BTreeSet<_>>().len();
    assert!(twice <= may_come_twice, "{twice} came twice in {kills} kills, {may_come_twice} had a cause");
    let strangers = all.iter().filter(|number| **number >= next).count();
    assert_eq!(strangers, 0);
    // No number was left out, and none was refused.
    let last: u64 = read(&state.join("last")).trim().parse().expect("a number");
    assert!(last as usize >= accepted.len() / 60, "{last}");
    assert!(
        !hub.log().contains("refused by the other site") && !ship.log().contains("is not taken in"),
        "{}",
        ship.log()
    );
    hub.stop();
    ship.stop();
}

#[test]
fn what_is_lost_or_damaged_on_the_way_is_asked_for_and_sent_again() {
    let (sink, there, here) = (Sink::start(), carrier(), carrier());
    let mut hub =
        writer("no-wire-lossy", here.path(), "periodic", "KEEP=1\nCOMPRESS=0\nPART_SIZE=4000\n", &sink);
    let mut ship = reader("no-wire-lossy-ship", there.path(), "", &sink);
    hub.write("job_controller.cnf", "");
    hub.start();
    ship.start();
    write_batch(&hub, 0, 30);
    let (out, brought) = (here.path().join("to-ship"), there.path().join("to-ship"));
    wait_for("the batch is written", SOON, || out.join("ship-00000001.manifest").exists());
    let parts: Vec<String> = names(&out).into_iter().filter(|name| name.contains(".bsmtp.")).collect();
    assert!(parts.len() > 3, "{parts:?}");
    // The carrier loses one part and spoils another.
    for name in names(&out) {
        fs::copy(out.join(&name), brought.join(&name)).expect("a copy");
    }
    fs::remove_file(brought.join(&parts[0])).expect("it was there");
    let mut spoiled = fs::read(brought.join(&parts[2])).expect("a part");
    spoiled[7] ^= 1;
    fs::write(brought.join(&parts[2]), spoiled).expect("a part");
    let want = there.path().join("to-hub/ship-00000001.want");
    wait_for("they are asked for", SOON, || want.exists());
    let asked = read(&want);
    assert!(asked.contains(&parts[0]) && asked.contains(&parts[2]) && !asked.contains(&parts[1]), "{asked}");
    assert!(ship.log().contains("missing or damaged"), "{}", ship.log());
    assert_eq!(sink.count(), 0);
    // The question goes back, by which time the stick has nothing on it any more.
    for name in names(&out) {
        fs::remove_file(out.join(name)).expect("it was there");
    }
    fs::copy(&want, here.path().join("to-hub/part")).expect("a copy");
    fs::rename(here.path().join("to-hub/part"), here.path().join("to-hub/ship-00000001.want"))
        .expect("a copy");
    assert_eq!(hub.command(&["trigger", "#bsout_ship"]).code, 0);
    wait_for("it is written again", SOON, || out.join("ship-00000001.manifest").exists());
    assert!(hub.log().contains("batch ship-00000001 is written again; it lacked"), "{}", hub.log());
    for name in names(&out) {
        fs::copy(out.join(&name), brought.join(format!(".{name}"))).expect("a copy");
        fs::rename(brought.join(format!(".{name}")), brought.join(&name)).expect("a copy");
    }
    assert_eq!(sluice_tests::arrived(&sink, 30), (0..30).collect::<Vec<_>>());
    // The acknowledgement goes back, and the batch is forgotten.
    let ack = there.path().join("to-hub/ship-00000001.ack");
    wait_for("it is acknowledged", SOON, || ack.exists());
    let state = hub.folder().join("state/bsout_ship");
    // Half copied, it says nothing.
    fs::write(here.path().join("to-hub/ship-00000001.ack"), "").expect("a file");
    assert_eq!(hub.command(&["trigger", "#bsout_ship"]).code, 0);
    wait_for("it is passed over", SOON, || hub.log().contains("ship-00000001.ack is passed over"));
    assert!(names(&state).contains(&"00000001.packed".to_owned()), "{:?}", names(&state));
    fs::copy(&ack, here.path().join("to-hub/ship-00000001.ack")).expect("a copy");
    assert_eq!(hub.command(&["trigger", "#bsout_ship"]).code, 0);
    wait_for("it is forgotten", SOON, || names(&state) == ["last"]);
    assert_eq!(names(&out), [""; 0]);
    // Brought once more, it is known.
    let twice = sink.count();
    assert_eq!(twice, 30);
    hub.stop();
    ship.stop();
}

/// A session as people write it, for these recipients.
fn by_hand(to: &[&str], body: &str) -> String {
    let recipients: String = to.iter().map(|one| format!("RCPT TO:<{one}>\n")).collect();
    format!("HELO typewriter\nMAIL FROM:<me@next.example>\n{recipients}DATA\n{body}\n.\nQUIT\n")
}

fn bring(carrier: &Path, name: &str, content: &[u8]) {
    let folder = carrier.join("to-ship");
    fs::write(folder.join(format!(".{name}")), content).expect("a file");
    fs::rename(folder.join(format!(".{name}")), folder.join(name)).expect("a file");
}

#[test]
fn a_batch_made_by_hand_goes_in_and_who_is_refused_makes_a_notice() {
    let (sink, carrier) = (Sink::start(), carrier());
    let mut ship = reader("no-wire-hand", carrier.path(), "DONE_DIR=../done\n", &sink);
    ship.start();
    let text = by_hand(&["fred@ship.example", "nobody@nowhere.invalid"], "Subject: by hand\n\nhello\n..dot");
    bring(carrier.path(), "letter.bsmtp", text.as_bytes());
    let arrived = sink.wait(2, SOON);
    let find =
        |test: &dyn Fn(&Arrived) -> bool| arrived.iter().find(|one| test(one)).expect("it has arrived");
    let letter = find(&|one| one.to == ["fred@ship.example"]);
    assert_eq!(letter.from, "me@next.example");
    let content = String::from_utf8_lossy(&letter.content).into_owned();
    assert!(
        content.contains("Subject: by hand\r\n\r\nhello\r\n") && content.ends_with(".dot\r\n"),
        "{content}"
    );
    let notice = find(&|one| one.from.is_empty());
    assert_eq!(notice.to, ["me@next.example"]);
    let content = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(content.contains("nobody@nowhere.invalid") && content.contains("5.1.2"), "{content}");
    wait_for("it is put away", SOON, || names(&ship.folder().join("done")) == ["letter.bsmtp"]);
    // Compressed, with CRLF.
    let folder = ship.folder().to_owned();
    fs::write(
        folder.join("plain"),
        by_hand(&["ann@ship.example"], "Subject: two\r\n\r\nx\r").replace('\n', "\r\n").replace("\r\r", "\r"),
    )
    .expect("a file");
    shell("gzip -c plain > packed", &folder);
    bring(carrier.path(), "LETTER.BSMTP.GZ", &fs::read(folder.join("packed")).expect("a file"));
    let arrived = sink.wait(3, SOON);
    assert!(arrived.iter().any(|one| one.to == ["ann@ship.example"]), "{arrived:?}");
    ship.stop();
}

#[test]
fn what_makes_no_sense_has_no_effect_and_lies_with_the_bad_ones() {
    let (sink, carrier) = (Sink::start(), carrier());
    let options = "BATCH_SIZE_MAX=1000000\nMESSAGE_SIZE_MAX=500000\n";
    let mut ship = reader("no-wire-bad", carrier.path(), options, &sink);
    let good = by_hand(&["fred@ship.example"], "Subject: x\n\nx");
    let half =
        format!("{}MAIL FROM:<a@b>\nRCPT TO:<fred@ship.example>\nDATA\nhalf", good.replace("QUIT\n", ""));
    bring(carrier.path(), "half.bsmtp", half.as_bytes());
    bring(carrier.path(), "line.bsmtp", &[good.replace("QUIT\n", "").as_bytes(), &[b'x'; 200_000]].concat());
    bring(carrier.path(), "web.bsmtp", b"GET / HTTP/1.1\n");
    // Ten thousand octets that become a hundred million.
    let folder = ship.folder().to_owned();
    shell("(printf 'NOOP\\n'; head -c 100000000 /dev/zero | tr '\\0' '\\n') | gzip -9 > bomb", &folder);
    bring(carrier.path(), "bomb.bsmtp.gz", &fs::read(folder.join("bomb")).expect("a file"));
    bring(carrier.path(), "torn.bsmtp.gz", &fs::read(folder.join("bomb")).expect("a file")[..3000]);
    let sum = "0".repeat(64);
    let hostile = format!(
        "# sluice batch 1\n# link: x\n# number: 3\n# messages: 1\n# whole: {sum}\n{sum}  ../../etc/passwd\n"
    );
    bring(carrier.path(), "x-00000003.manifest", hostile.as_bytes());
    std::os::unix::fs::symlink("/etc/passwd", carrier.path().join("to-ship/link.bsmtp")).expect("a link");
    ship.start();
    let bad = carrier.path().join("to-ship/bad");
    let reasons = || names(&bad).into_iter().filter(|name| name.ends_with(".reason")).count();
    wait_for("all lie there", SOON, || reasons() == 7);
    for (name, reason) in [
        ("half.bsmtp", "the batch ends within a line"),
        ("line.bsmtp", "it has more than 65536 octets"),
        ("web.bsmtp", "line 1: `GET / HTTP/1.1` is no command"),
        ("bomb.bsmtp.gz", "the batch has more than 1000000 octets"),
        ("torn.bsmtp.gz", "the batch has more than 1000000 octets"),
        ("x-00000003.manifest", "`../../etc/passwd` is not the name of its part 1"),
        ("link.bsmtp", "it is a link"),
    ] {
        let told = read(&bad.join(format!("{name}.reason")));
        assert!(told.contains(reason) && !told.is_empty(), "{name}: {told}");
    }
    assert_eq!(sink.count(), 0, "half of a batch has no effect");
    // What is right goes in all the same.
    bring(carrier.path(), "good.bsmtp", good.as_bytes());
    sink.wait(1, SOON);
    ship.stop();
}

/// Brings a batch of one message into a folder, described as a site describes it.
fn describe(folder: &Path, number: u64, subject: &str, end: &str) {
    let text = by_hand(&["fred@ship.example"], &format!("Subject: {subject}\n\nx"));
    let stem = format!("ship-{number:08}");
    let part = format!("{stem}.bsmtp");
    fs::write(folder.join(format!("{stem}.{end}")), &text).expect("a file");
    let sum = shell(&format!("sha256sum < {stem}.{end}"), folder);
    let sum = sum.split(' ').next().expect("a sum");
    let head = format!("# sluice batch 1\n# link: ship\n# number: {number}\n# messages: 1\n");
    fs::write(folder.join(format!("{stem}.manifest")), format!("{head}# whole: {sum}\n{sum}  {part}\n"))
        .expect("a file");
}

#[test]
fn a_number_that_was_skipped_is_asked_for_and_a_batch_of_a_known_number_is_not_lost() {
    let (sink, carrier) = (Sink::start(), carrier());
    let mut ship = reader("no-wire-skipped", carrier.path(), "", &sink);
    let brought = carrier.path().join("to-ship");
    describe(&brought, 1, "one anew", "bsmtp");
    describe(&brought, 3, "three", "bsmtp");
    // An older batch of the number 1 still lies in the channel's own folder: the other site has begun anew.
    let own = ship.folder().join("state/bsin_hub/in");
    fs::create_dir_all(&own).expect("a folder");
    describe(&own, 1, "one of old", "whole");
    ship.start();
    let arrived = sink.wait(3, SOON);
    let mut subjects: Vec<String> = arrived
        .iter()
        .flat_map(|one| String::from_utf8_lossy(&one.content).lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.starts_with("Subject:"))
        .collect();
    subjects.sort();
    assert_eq!(subjects, ["Subject: one anew", "Subject: one of old", "Subject: three"]);
    let want = carrier.path().join("to-hub/ship-00000002.want");
    wait_for("the second is asked for", SOON, || read(&want) == "ship-00000002.manifest\n");
    ship.stop();
}

#[test]
fn a_batch_that_comes_by_mail_goes_in() {
    let (sink, carrier) = (Sink::start(), carrier());
    let mut ship = reader("no-wire-mail", carrier.path(), "", &sink);
    let text = fs::read_to_string(ship.configuration().join("sluice.cnf")).expect("a file");
    ship.write(
        "sluice.cnf",
        &format!("batches.example $U%$D@BSIN-HUB\n{}", text.replace("bsin_hub periodic", "bsin_hub")),
    );
    ship.start();
    let batch = by_hand(&["fred@ship.example"], "Subject: by mail\n\nhello").replace('\n', "\r\n");
    let head = "Subject: a batch\r\nContent-Type: application/batch-SMTP\r\n\r\n";
    let reply = ship.talk().deliver(
        "them@next.example",
        &["bsmtp@batches.example"],
        format!("{head}{batch}").as_bytes(),
    );
    assert_eq!(reply.expect("an answer").code, 250);
    let arrived = sink.wait(1, SOON).remove(0);
    assert_eq!(
        (arrived.from.as_str(), arrived.to),
        ("me@next.example", vec!["fred@ship.example".to_owned()])
    );
    assert!(String::from_utf8_lossy(&arrived.content).ends_with("Subject: by mail\r\n\r\nhello\r\n"));
    ship.wait_for_waiting(None, 0, SOON);
    // What holds no batch goes back.
    ship.talk()
        .deliver("them@next.example", &["bsmtp@batches.example"], b"Subject: hi\r\n\r\nhi\r\n")
        .expect("an answer");
    let notice = sink.wait(2, SOON).into_iter().find(|one| one.from.is_empty()).expect("a notice");
    assert!(String::from_utf8_lossy(&notice.content).contains("5.6.1"));
    assert_eq!(names(&ship.folder().join("state/bsin_hub/in")), ["taken"]);
    ship.stop();
}

#[cfg(feature = "peers")]
#[test]
fn exim_reads_a_batch_of_ours_in_its_batch_mode() {
    let (sink, carrier) = (Sink::start(), carrier());
    let mut hub = writer("batch-exim", carrier.path(), "periodic", "", &sink);
    hub.write("job_controller.cnf", "");
    hub.start();
    write_batch(&hub, 0, 12);
    let to_ship = carrier.path().join("to-ship");
    wait_for("the batch is written", SOON, || to_ship.join("ship-00000001.manifest").exists());
    hub.stop();
    let mut exim = sluice_tests::Peer::root("exim4-daemon-heavy");
    let (spool, log, inbox, user) = (exim.make("spool"), exim.make("log"), exim.make("inbox"), exim.user());
    let program = exim.file("usr/sbin/exim4");
    let conf = exim.folder().join("exim.conf");
    let text = format!(
        "primary_hostname = exim.example\nexim_user = {user}\nexim_group = {user}\nexim_path = {}\nkeep_environment = ^LD_ : ^NSS_\n\
         spool_directory = {}\nlog_file_path = {}/%s\ntls_advertise_hosts =\nhost_lookup =\nacl_not_smtp = accept\nacl_smtp_rcpt = accept\n\
         acl_smtp_data = accept\nqueue_only = false\nsmtp_accept_queue_per_connection = 0\n\nbegin acl\n\nbegin routers\nall:\n  driver = accept\n  transport = out\n\n\
         begin transports\nout:\n  driver = appendfile\n  directory = {}\n  maildir_format\n  user = {user}\n  group = {user}\n",
        program.display(),
        spool.display(),
        log.display(),
        inbox.display()
    );
    fs::write(&conf, text).expect("a file");
    shell(
        &format!("zcat ship-00000001.bsmtp.gz > {0}/batch; chmod 644 {0}/batch", exim.folder().display()),
        &to_ship,
    );
    let line = format!(
        "exec {} -C {} -odf -bS < {}/batch",
        program.display(),
        conf.display(),
        exim.folder().display()
    );
    exim.start("/bin/sh", &["-c", &line], &["Debian-exim"], &["log/main", "log/panic"]);
    wait_for("all are delivered", SOON, || names(&inbox.join("new")).len() == 12);
    let found: BTreeSet<usize> = names(&inbox.join("new"))
        .iter()
        .filter_map(|name| number_of(read(&inbox.join("new").join(name)).replace('\n', "\r\n").as_bytes()))
        .collect();
    assert_eq!(found, (0..12).collect());
}

#[cfg(feature = "peers")]
#[test]
fn postfix_reads_a_batch_of_ours_with_sendmail_bs() {
    use sluice_tests::{DOMAIN, Duty, Server, is_root};
    if !is_root() {
        // Postfix's master starts for root only; Exim has read a batch.
        return;
    }
    let (sink, carrier) = (Sink::start(), carrier());
    let mut hub = writer("batch-postfix", carrier.path(), "periodic", "", &sink);
    hub.write("job_controller.cnf", "");
    hub.replace("sluice.cnf", "ship.example $U%$D@BSOUT-SHIP", &format!("{DOMAIN} $U%$D@BSOUT-SHIP"));
    hub.start();
    sluice_tests::send(&hub, &format!("fred@{DOMAIN}"), 0, 12);
    hub.wait_for_waiting(Some("bsout_ship"), 12, SOON);
    assert_eq!(hub.command(&["trigger", "#bsout_ship"]).code, 0);
    let to_ship = carrier.path().join("to-ship");
    wait_for("the batch is written", SOON, || to_ship.join("ship-00000001.manifest").exists());
    hub.stop();
    let batch = hub.folder().join("batch");
    shell(&format!("zcat ship-00000001.bsmtp.gz > {}", batch.display()), &to_ship);
    let postfix = Server::postfix(Duty::Deliver(None));
    let said = postfix.read_session(&batch);
    assert_eq!(said.matches("250 2.0.0 Ok: queued").count(), 12, "{said}");
    wait_for("all are delivered", SOON * 2, || sluice_testkit::maildir(postfix.inbox()).len() == 12);
}

#[test]
fn a_server_reads_a_batch_of_ours_as_a_session() {
    // The text of a batch is what a client says: another hub takes it as it is, and says yes to each line.
    let (sink, carrier) = (Sink::start(), carrier());
    let mut hub = writer("batch-session", carrier.path(), "periodic", "COMPRESS=0\n", &sink);
    hub.write("job_controller.cnf", "");
    hub.start();
    write_batch(&hub, 0, 5);
    let batch = carrier.path().join("to-ship/ship-00000001.bsmtp");
    wait_for("the batch is written", SOON, || carrier.path().join("to-ship/ship-00000001.manifest").exists());
    hub.stop();
    let mut other = reader("batch-session-other", carrier.path(), "", &sink);
    other.write("job_controller.cnf", "");
    other.start();
    let (mut talk, _) = Talk::open(other.address()).expect("a session");
    talk.raw(&fs::read(&batch).expect("a batch")).expect("sent");
    let mut codes = Vec::new();
    while let Ok(reply) = talk.read() {
        codes.push(reply.code);
    }
    let one = [250, 250, 354, 250];
    let expected: Vec<u16> = std::iter::once(250).chain(one.repeat(5)).chain([221]).collect();
    assert_eq!(codes, expected);
    assert_eq!(sluice_tests::arrived(&sink, 5), (0..5).collect::<Vec<_>>());
    other.stop();
}

/// A sink whose server offers DSN.
fn sink_with_dsn() -> Sink {
    let sink = Sink::start();
    let keywords = ["PIPELINING", "8BITMIME", "DSN"].map(str::to_owned).to_vec();
    sink.behave(Manner { keywords, ..Manner::default() });
    sink
}

/// What the sink's server was told behind this word.
fn told(sink: &Sink, word: &str) -> Vec<String> {
    sink.commands().into_iter().filter(|line| line.starts_with(word)).collect()
}

/// A message of somebody who wants to be told of everything.
fn send_with_wishes(hub: &Site, recipients: &[&str]) {
    let mut talk = hub.talk();
    talk.want("EHLO client.example", 250);
    talk.want("MAIL FROM:<me@next.example> RET=HDRS ENVID=QQ+2B31", 250);
    for to in recipients {
        talk.want(&format!("RCPT TO:{to}"), 250);
    }
    talk.want("DATA", 354);
    talk.want("Subject: with wishes\r\n\r\nbody line\r\n.", 250);
}

#[test]
fn what_a_sender_wishes_goes_with_the_batch_where_the_other_site_answers_for_it() {
    let (sink, carrier) = (sink_with_dsn(), carrier());
    let mut hub = writer("no-wire-dsn", carrier.path(), "periodic", "DSN=1\n", &sink);
    let mut ship = reader("no-wire-dsn-ship", carrier.path(), "", &sink);
    hub.start();
    send_with_wishes(
        &hub,
        &[
            "<fred@ship.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;fred@old.example",
            "<ann@ship.example> NOTIFY=NEVER",
        ],
    );
    hub.wait_for_waiting(Some("bsout_ship"), 1, SOON);
    wait_for("the batch is written", SOON, || carrier.path().join("to-ship/ship-00000001.manifest").exists());
    hub.wait_for_waiting(None, 0, SOON);
    let text = shell("zcat ship-00000001.bsmtp.gz", &carrier.path().join("to-ship"));
    assert!(text.contains("MAIL FROM:<me@next.example> RET=HDRS ENVID=QQ+2B31\r\n"), "{text}");
    assert!(
        text.contains("<fred@ship.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;fred@old.example\r\n"),
        "{text}"
    );
    // The ship hands it all on, and nobody has told the sender anything.
    ship.start();
    let arrived = sink.wait(1, SOON);
    assert_eq!(arrived[0].to.len(), 2, "{arrived:?}");
    assert!(told(&sink, "MAIL")[0].ends_with(" RET=HDRS ENVID=QQ+2B31"), "{:?}", told(&sink, "MAIL"));
    let recipients = told(&sink, "RCPT");
    for wanted in [
        "<fred@ship.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;fred@old.example",
        "<ann@ship.example> NOTIFY=NEVER",
    ] {
        assert!(recipients.iter().any(|line| line.contains(wanted)), "{wanted}: {recipients:?}");
    }
    watch("nobody else is told of it", WHILE, || sink.count() == 1);
    hub.stop();
    ship.stop();
}

#[test]
fn without_the_option_wishes_stay_and_the_sender_hears_that_its_mail_was_passed_on() {
    let (sink, carrier) = (Sink::start(), carrier());
    let mut hub = writer("no-wire-plain", carrier.path(), "periodic", "", &sink);
    hub.start();
    send_with_wishes(&hub, &["<fred@ship.example> NOTIFY=SUCCESS ORCPT=rfc822;fred@old.example"]);
    let notice = &sink.wait(1, SOON)[0];
    assert_eq!((notice.from.as_str(), &notice.to[..]), ("", &["me@next.example".to_owned()][..]));
    let content = String::from_utf8_lossy(&notice.content).into_owned();
    assert!(content.contains("Action: relayed") && content.contains("fred@old.example"), "{content}");
    let manifest = carrier.path().join("to-ship/ship-00000001.manifest");
    wait_for("the batch is written", SOON, || manifest.exists());
    let text = shell("zcat ship-00000001.bsmtp.gz", &carrier.path().join("to-ship"));
    assert!(
        text.contains("MAIL FROM:<me@next.example>\r\nRCPT TO:<fred@ship.example>\r\nDATA\r\n"),
        "{text}"
    );
    hub.stop();
}

#[test]
fn who_is_refused_on_the_way_in_is_told_of_as_the_sender_wished() {
    let (sink, carrier) = (Sink::start(), carrier());
    let mut ship = reader("no-wire-refused", carrier.path(), "", &sink);
    ship.start();
    let text = "HELO typewriter\nMAIL FROM:<me@next.example> RET=HDRS ENVID=QQ+2B31 HOLDFOR=60\n\
                RCPT TO:<one@nowhere.invalid> NOTIFY=FAILURE ORCPT=rfc822;uno+2B1@old.example\n\
                RCPT TO:<two@nowhere.invalid> NOTIFY=NEVER\nDATA\nSubject: x\n\nbody line\n.\nQUIT\n";
    bring(carrier.path(), "letter.bsmtp", text.as_bytes());
    let notice = &sink.wait(1, SOON)[0];
    let content = String::from_utf8_lossy(&notice.content).into_owned();
    for wanted in ["one@nowhere.invalid", "Original-Envelope-Id: QQ+31", "rfc822; uno+1@old.example"] {
        assert!(content.contains(wanted), "{wanted}: {content}");
    }
    assert!(!content.contains("two@nowhere.invalid") && !content.contains("body line"), "{content}");
    ship.stop();
}

#[test]
fn a_batch_that_is_kept_is_cut_anew_when_parts_have_another_size() {
    let (sink, carrier) = (Sink::start(), carrier());
    let mut hub = writer("no-wire-parts", carrier.path(), "periodic", "KEEP=1\nPART_SIZE=300\n", &sink);
    hub.start();
    let to_ship = carrier.path().join("to-ship");
    write_batch(&hub, 0, 20);
    wait_for("the batch is written", SOON, || to_ship.join("ship-00000001.manifest").exists());
    let whole = |text: &str| text.lines().find(|line| line.starts_with("# whole: ")).map(str::to_owned);
    let before = read(&to_ship.join("ship-00000001.manifest"));
    hub.stop();
    // The stick is lost, and the next one takes smaller files only.
    fs::remove_dir_all(&to_ship).expect("it is lost");
    fs::create_dir(&to_ship).expect("another one");
    let options = read(&hub.configuration().join("bsout_ship_option"));
    hub.write(
        "bsout_ship_option",
        &format!("{}RESEND_INTERVAL=1\n", options.replace("PART_SIZE=300", "PART_SIZE=170")),
    );
    hub.start();
    write_batch(&hub, 20, 1);
    for number in 1..=2 {
        let manifest = to_ship.join(format!("ship-{number:08}.manifest"));
        wait_for("it is there, and those behind it", SOON, || manifest.exists());
        shell(&format!("sha256sum -c --quiet ship-{number:08}.manifest"), &to_ship);
    }
    let after = read(&to_ship.join("ship-00000001.manifest"));
    assert!(after.lines().count() > before.lines().count(), "{before}{after}");
    assert_eq!(whole(&after), whole(&before), "it is the same batch");
    let sizes = fs::read_dir(&to_ship)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.metadata().expect("a file").len());
    assert!(!hub.log().contains("it is not what its manifest says"), "{}", hub.log());
    assert!(sizes.max().is_some_and(|size| size <= 2048), "parts and manifests are small");
    // The other site has it: it is not kept any more, however it was cut.
    let mut ship = reader("no-wire-parts-ship", carrier.path(), "", &sink);
    ship.start();
    assert_eq!(numbers(&sink.wait(21, SOON)).len(), 21);
    let state = hub.folder().join("state/bsout_ship");
    wait_for("both are acknowledged", SOON, || names(&state) == ["last"]);
    hub.stop();
    ship.stop();
}
