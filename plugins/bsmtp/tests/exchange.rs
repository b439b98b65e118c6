//! Batches between two channels on benches: what the one writes the other takes in, refuses, or is killed over.

use sluice_bsmtp::Bsmtp;
use sluice_sdk::testing::{Bench, Brought, Mail, Report};
use sluice_sdk::{Outcome, Status};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(86_400);
/// What tells the test program that it is to be killed over this message, in this folder.
const KILLED_IN: &str = "SLUICE_BSMTP_KILLED_IN";

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for name in ["to-ship", "to-hub"] {
        fs::create_dir(root.path().join(name)).expect("a folder");
    }
    root
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn writer(root: &Path) -> Bench<Bsmtp> {
    Bench::<Bsmtp>::new()
        .channel("bsout_ship")
        .fact("local_host", "hub.example")
        .option("out_dir", path(&root.join("to-ship")))
        .option("answer_dir", path(&root.join("to-hub")))
        .option("state_dir", path(&root.join("state")))
        .option("keep", "1")
        .option("batch_wait", "0")
}

fn reader(root: &Path) -> Bench<Bsmtp> {
    Bench::<Bsmtp>::new()
        .channel("bsin_ship")
        .fact("local_host", "ship.example")
        .option("in_dir", path(&root.join("to-ship")))
        .option("answer_dir", path(&root.join("to-hub")))
        .option("state_dir", path(&root.join("state")))
        .option("retry_interval", "1")
}

/// The message of that many octets.
fn mail(subject: &str, octets: usize) -> Mail {
    let body = "0123456789abcdef\r\n".repeat(octets.div_ceil(18));
    Mail::new("me@hub.example").to("fred@ship.example").text(format!("Subject: {subject}\r\n\r\n{body}"))
}

/// The name of each file, without those that begin with a dot.
fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

fn subjects(brought: &[Brought]) -> Vec<String> {
    let text = |one: &Brought| String::from_utf8_lossy(&one.content).into_owned();
    let subject =
        |text: String| text.lines().find_map(|line| Some(line.strip_prefix("Subject: ")?.to_owned()));
    brought.iter().map(text).filter_map(subject).collect()
}

fn said(report: &Report) -> String {
    report.log.iter().map(|line| format!("{}\n", line.text)).collect()
}

/// A message that holds a batch of three, and arrived then.
fn batch_by_mail(arrived: SystemTime) -> Mail {
    let message = |subject: &str| {
        format!(
            "MAIL FROM:<me@hub.example>\r\nRCPT TO:<fred@ship.example>\r\nDATA\r\nSubject: {subject}\r\n\r\nx\r\n.\r\n"
        )
    };
    let batch = ["one", "two", "three"].map(message).concat();
    let arrived_ms = arrived.duration_since(UNIX_EPOCH).expect("a time").as_millis();
    Mail::new("hub@hub.example")
        .to("batches@ship.example")
        .id("b1")
        .arrived_ms(u64::try_from(arrived_ms).expect("a time"))
        .text(format!("Content-Type: application/batch-SMTP\r\n\r\nEHLO hub.example\r\n{batch}QUIT\r\n"))
}

fn taking(brought: &Brought) -> Vec<Outcome> {
    brought.recipients.iter().map(|_| Outcome::delivered("queued")).collect()
}

/// Defers what has this subject.
fn deferring(bench: Bench<Bsmtp>, subject: &'static str) -> Bench<Bsmtp> {
    bench.answers(move |brought| match subjects(std::slice::from_ref(brought)) == [subject] {
        true => Ok(vec![Outcome::deferred(Status::new(4, 3, 1), "the disk is full")]),
        false => Ok(taking(brought)),
    })
}

#[test]
fn a_refused_batch_is_kept_by_its_writer_and_never_acknowledged() {
    let root = folder();
    let root = root.path();
    writer(root).mail(mail("one", 10)).run().assert_clean();
    writer(root).mail(mail("large", 5000)).run().assert_clean();
    // What the stick has is brought once, and a second time by somebody who has made a copy.
    let copy: Vec<(String, Vec<u8>)> = names(root.join("to-ship"))
        .into_iter()
        .map(|name| (name.clone(), fs::read(root.join("to-ship").join(name)).expect("a file")))
        .collect();
    let small = || reader(root).option("message_size_max", "1000");
    let report = small().polls(1).run();
    report.assert_clean();
    assert_eq!(subjects(&report.submissions), ["one"], "others go on");
    assert_eq!(names(root.join("to-hub")), ["ship-00000001.ack", "ship-00000002.refused"]);
    let bad = names(root.join("to-ship/bad"));
    assert!(bad.contains(&"ship-00000002.manifest".to_owned()), "{bad:?}");
    fs::remove_file(root.join("to-hub/ship-00000002.refused")).expect("the answer is lost");
    for (name, content) in &copy {
        fs::write(root.join("to-ship").join(name), content).expect("a file");
    }
    let report = small().polls(1).run();
    assert_eq!(subjects(&report.submissions), [""; 0], "{}", said(&report));
    assert_eq!(names(root.join("to-hub")), ["ship-00000001.ack", "ship-00000002.refused"]);
    // The writer hears it, tells the operator, and keeps what was refused.
    let report = writer(root).polls(1).run();
    report.assert_clean();
    let said = said(&report);
    assert!(said.contains("batch ship-00000001 has arrived"), "{said}");
    assert!(
        said.contains("batch ship-00000002 was refused by the other site: line 61: a message has more"),
        "{said}"
    );
    assert_eq!(names(root.join("state/bsout_ship/refused")), ["00000002.packed"]);
    assert_eq!(names(root.join("to-hub")), [""; 0]);
    // With another limit it goes in. Nobody asks for its number meanwhile.
    writer(root).mail(mail("three", 10)).run().assert_clean();
    for (name, content) in copy.iter().filter(|(name, _)| name.contains("00000002")) {
        fs::write(root.join("to-ship").join(name), content).expect("a file");
    }
    let report = reader(root).polls(1).run();
    assert_eq!(subjects(&report.submissions), ["large", "three"]);
    assert_eq!(names(root.join("to-hub")), ["ship-00000002.ack", "ship-00000003.ack"]);
}

#[test]
fn trouble_with_one_file_is_in_the_way_of_no_other() {
    let root = folder();
    let root = root.path();
    for subject in ["one", "two", "three"] {
        writer(root).mail(mail(subject, 10)).run().assert_clean();
    }
    // Answers cannot be written where folders of their names are, and a batch by hand is a folder.
    fs::create_dir_all(root.join("to-hub/ship-00000001.ack/full")).expect("a folder");
    fs::create_dir(root.join("to-ship/folder.bsmtp")).expect("a folder");
    // A part of the second is gone.
    fs::remove_file(root.join("to-ship/ship-00000002.bsmtp.gz")).expect("it is there");
    let report = reader(root).polls(1).run();
    assert_eq!(subjects(&report.submissions), ["one", "three"], "{}", said(&report));
    assert_eq!(
        names(root.join("to-hub")),
        ["ship-00000001.ack", "ship-00000002.want", "ship-00000003.ack"],
        "the first is the folder"
    );
    assert_eq!(names(root.join("state/bsin_ship/in")), ["ship-00000001.ack.owed", "taken"]);
    // On the writing side, a batch of its own that cannot be read any more.
    fs::write(root.join("state/bsout_ship/00000004.bsmtp"), "EHLO h\r\nnonsense\r\n").expect("a file");
    let report = writer(root).mail(mail("five", 10)).run();
    assert!(said(&report).contains("cannot read"), "{}", said(&report));
    assert!(names(root.join("to-ship")).contains(&"ship-00000005.manifest".to_owned()), "{}", said(&report));
}

#[test]
fn what_a_crash_has_left_half_written_is_removed() {
    let root = folder();
    let root = root.path();
    let left = [
        "to-ship/.part-1-a-1",
        "to-hub/.part-1-a-1",
        "state/bsin_ship/in/.part-1-a-2",
        "state/bsin_ship/in/mail-1-2.batch",
        "state/bsin_ship/in/hand-1-2.manifest",
    ];
    fs::create_dir_all(root.join("state/bsin_ship/in")).expect("a folder");
    left.iter().for_each(|name| fs::write(root.join(name), "half").expect("a file"));
    writer(root).polls(1).run().assert_clean();
    reader(root).polls(1).run().assert_clean();
    let still: Vec<_> = left.iter().filter(|name| root.join(name).exists()).collect();
    assert!(still.is_empty(), "{still:?}");
}

#[test]
fn a_batch_by_mail_goes_on_where_it_was_and_leaves_nothing() {
    let root = folder();
    let root = root.path();
    let now = SystemTime::now();
    let state = || names(root.join("state/bsin_ship/in"));
    let report = deferring(reader(root), "two").mail(batch_by_mail(now)).run();
    report.assert_clean();
    assert!(
        report.story().contains(" deferred 4.3.0 message 2: fred@ship.example is deferred"),
        "{}",
        report.story()
    );
    assert_eq!(state().len(), 1, "the record alone, {:?}", state());
    let report = reader(root).mail(batch_by_mail(now)).run();
    report.assert_clean();
    assert_eq!(subjects(&report.submissions), ["two", "three"]);
    assert_eq!(state(), ["taken"]);
    // It was settled, and the hub did not come to write that down.
    let report = reader(root).mail(batch_by_mail(now)).run();
    assert!(report.submissions.is_empty() && report.story().contains(" delivered "), "{}", report.story());
}

#[test]
fn limits_that_are_lowered_do_not_give_half_a_batch_back() {
    let root = folder();
    let root = root.path();
    let now = SystemTime::now();
    deferring(reader(root), "two").mail(batch_by_mail(now)).run().assert_clean();
    let report = reader(root)
        .option("message_size_max", "10")
        .option("batch_size_max", "10")
        .mail(batch_by_mail(now))
        .run();
    report.assert_clean();
    assert_eq!(subjects(&report.submissions), ["two", "three"], "{}", report.story());
}

/// Not a test by itself: what [`a_batch_by_mail_survives_a_kill`] runs in a process of its own, and kills.
#[test]
fn a_process_to_be_killed() {
    let Some(root) = std::env::var_os(KILLED_IN).map(PathBuf::from) else { return };
    let noted = root.join("brought");
    let _ = reader(&root)
        .answers(move |brought| {
            let [subject] = &subjects(std::slice::from_ref(brought))[..] else { return Ok(taking(brought)) };
            // The hub has it, and the channel does not know yet.
            let known = fs::read_to_string(&noted).unwrap_or_default();
            fs::write(&noted, format!("{known}{subject} ")).expect("a note");
            if subject == "two" {
                let killed = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
                assert!(killed.is_ok(), "{killed:?}");
                std::thread::sleep(Duration::from_secs(60));
            }
            Ok(taking(brought))
        })
        .mail(batch_by_mail(UNIX_EPOCH + 20_000 * DAY))
        .run();
}

#[test]
fn a_batch_by_mail_survives_a_kill() {
    let root = folder();
    let root = root.path();
    let mut killed = Command::new(std::env::current_exe().expect("this program"));
    killed.args(["--exact", "a_process_to_be_killed"]).env(KILLED_IN, root);
    let ended = killed.output().expect("a process");
    assert!(!ended.status.success());
    assert_eq!(fs::read_to_string(root.join("brought")).expect("a note"), "one two ");
    let report = reader(root).mail(batch_by_mail(UNIX_EPOCH + 20_000 * DAY)).run();
    report.assert_clean();
    assert_eq!(subjects(&report.submissions), ["two", "three"], "one message comes in twice, and no other");
    assert_eq!(names(root.join("state/bsin_ship/in")), ["taken"]);
}

#[test]
fn a_record_of_long_ago_goes_and_its_batch_does_not_begin_anew() {
    let root = folder();
    let root = root.path();
    let now = SystemTime::now();
    let state = root.join("state/bsin_ship/in");
    let (old, young) = (now - 100 * DAY, now - 80 * DAY);
    let begin = |arrived| deferring(reader(root), "two").mail(batch_by_mail(arrived)).run().assert_clean();
    begin(old);
    begin(young);
    begin(now);
    assert_eq!(names(&state).len(), 3);
    // Tried yesterday: however old the message is, it is on its way.
    reader(root).polls(1).run().assert_clean();
    assert_eq!(names(&state).len(), 3);
    for name in names(&state) {
        let file = fs::OpenOptions::new().append(true).open(state.join(name)).expect("a record");
        file.set_modified(now - 95 * DAY).expect("a time");
    }
    let report = reader(root).polls(1).run();
    report.assert_clean();
    assert_eq!(names(&state).len(), 3, "two records, and the bound: {:?}", names(&state));
    let report = reader(root).mail(batch_by_mail(old)).run();
    report.assert_clean();
    assert!(report.story().contains(" failed 5.4.7 it was not tried for 90 days"), "{}", report.story());
    assert!(report.submissions.is_empty(), "nothing comes in twice");
    let report = reader(root).mail(batch_by_mail(young)).mail(batch_by_mail(now).id("b2")).run();
    assert_eq!(subjects(&report.submissions), ["two", "three", "one", "two", "three"]);
    // A crash between the bound and the record: it is known how far the batch is, and it goes on.
    begin(old + DAY);
    let bound = (old + 2 * DAY).duration_since(UNIX_EPOCH).expect("a time").as_millis();
    fs::write(state.join("mail-before"), format!("{bound}\n")).expect("a file");
    let report = reader(root).mail(batch_by_mail(old + DAY)).run();
    assert_eq!(subjects(&report.submissions), ["two", "three"]);
}

#[test]
fn a_batch_of_a_link_with_the_name_of_a_message_keeps_its_record() {
    let root = folder();
    let root = root.path();
    let mails = ["one", "two", "three"].map(|subject| mail(subject, 10));
    writer(root).option("link", "mail-2").mails(mails).run().assert_clean();
    let report = deferring(reader(root), "two").polls(1).run();
    assert_eq!(subjects(&report.submissions), ["one", "two"]);
    let record = root.join("state/bsin_ship/in/mail-2-00000001.record");
    let file = fs::OpenOptions::new().append(true).open(record).expect("a record");
    file.set_modified(SystemTime::now() - 95 * DAY).expect("a time");
    let report = reader(root).polls(1).run();
    report.assert_clean();
    assert_eq!(subjects(&report.submissions), ["two", "three"], "nothing comes in twice");
}

/// Text of a batch with a message.
fn by_hand(subject: &str) -> String {
    format!(
        "EHLO hub.example\r\nMAIL FROM:<me@hub.example>\r\nRCPT TO:<fred@ship.example>\r\nDATA\r\nSubject: {subject}\r\n\r\nx\r\n.\r\nQUIT\r\n"
    )
}

/// A batch by hand that was copied from the carrier, and not looked through before a kill.
fn copied(root: &Path, number: u32, name: &str, text: &str) {
    let state = root.join("state/bsin_ship/in");
    fs::create_dir_all(&state).expect("a folder");
    fs::write(state.join(format!("hand-{number:016}-1.manifest")), format!("by hand: {name}\n"))
        .expect("a file");
    fs::write(state.join(format!("hand-{number:016}-1.whole")), text).expect("a file");
}

#[test]
fn a_file_that_nobody_has_read_is_not_among_the_bad_ones_for_another_of_its_name() {
    let root = folder();
    let root = root.path();
    copied(root, 1, "report.bsmtp", "EHLO hub.example\r\nnonsense\r\n");
    // Whoever made it has seen it, and put another one there.
    fs::write(root.join("to-ship/report.bsmtp"), by_hand("mended")).expect("a file");
    let report = reader(root).polls(1).run();
    report.assert_clean();
    assert_eq!(subjects(&report.submissions), ["mended"], "{}", said(&report));
    assert!(said(&report).contains("report.bsmtp is not taken in: "), "{}", said(&report));
    assert_eq!(names(root.join("to-ship")), [""; 0]);
}

#[test]
fn a_refusal_is_heard_to_its_end_when_a_crash_came_in_its_middle() {
    let root = folder();
    let root = root.path();
    writer(root).mail(mail("one", 10)).run().assert_clean();
    let state = root.join("state/bsout_ship");
    let manifest = fs::read_to_string(state.join("00000001.manifest")).expect("a manifest");
    let whole = manifest.lines().find(|line| line.starts_with("# whole: ")).expect("its sum");
    fs::create_dir(state.join("refused")).expect("a folder");
    fs::rename(state.join("00000001.packed"), state.join("refused/00000001.packed")).expect("it is there");
    fs::write(root.join("to-hub/ship-00000001.refused"), format!("{whole}\nit is too large\n"))
        .expect("a file");
    let report = writer(root).polls(1).run();
    report.assert_clean();
    assert_eq!(names(root.join("to-hub")), [""; 0], "{}", said(&report));
    assert_eq!(names(&state), ["last", "refused"]);
    assert_eq!(names(state.join("refused")), ["00000001.packed"]);
    assert_eq!(names(root.join("to-ship")), [""; 0]);
}

#[test]
fn what_a_crash_has_left_on_a_carrier_goes_when_the_carrier_comes() {
    let root = tempfile::tempdir().expect("a folder");
    let root = root.path();
    let left = ["to-ship/bad/.part-1-a-1", "to-hub/.part-1-a-1"].map(|name| root.join(name));
    copied(root, 1, "report.bsmtp", &by_hand("one"));
    let put = left.clone();
    let report = reader(root)
        .answers(move |brought| {
            // The channel has started without it.
            for file in &put {
                assert!(!file.exists());
                fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
                fs::write(file, "half").expect("a file");
            }
            Ok(taking(brought))
        })
        .polls(1)
        .run();
    report.assert_clean();
    assert_eq!(subjects(&report.submissions), ["one"]);
    let still: Vec<_> = left.iter().filter(|file| file.exists()).collect();
    assert!(still.is_empty() && root.join("to-hub").exists(), "{still:?}");
}

#[test]
fn what_is_in_the_way_of_an_answer_a_second_time_is_said_a_second_time() {
    let root = folder();
    let root = root.path();
    for number in 1..=3 {
        copied(root, number, &format!("{number}.bsmtp"), &by_hand("one"));
    }
    let owed = root.join("state/bsin_ship/in/ship-00000009.ack.owed");
    let in_its_way = root.join("to-hub/ship-00000009.ack/full");
    let turn = AtomicU32::new(0);
    let report = reader(root)
        .answers(move |brought| {
            // Behind each batch answers are given: they fail, go well, and fail once more.
            if turn.fetch_add(1, Ordering::Relaxed) == 1 {
                fs::remove_dir_all(in_its_way.parent().expect("a folder")).expect("it is there");
            } else {
                let _ = fs::remove_file(in_its_way.parent().expect("a folder"));
                fs::create_dir_all(&in_its_way).expect("a folder");
                fs::write(&owed, "# whole: x\n").expect("a file");
            }
            Ok(taking(brought))
        })
        .polls(1)
        .run();
    let said = said(&report);
    assert_eq!(said.matches("ship-00000009.ack waits: ").count(), 2, "{said}");
}
