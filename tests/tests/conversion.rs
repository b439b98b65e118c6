//! Parts of messages that programs convert on their way, and mail that waits for programs that fail.

use sluice_testkit::{Sink, Site, below_received, wait_for, watch};
use sluice_tests::{Destination, SOON, WHILE, configuration, is_root};
use std::fs;

const TABLE: &str = "CONVERSIONS\n\n  IN-CHAN=tcp_local;OUT-CHAN=tcp_next;CONVERT  Yes\n";
const TEXT: &str = "From: <me@origin.example>\r\nSubject: text\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"==\"\r\n\r\n\
    --==\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n\
    --==\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQ=\r\n--==--\r\n";

/// A hub that converts what goes to `next.example`, and not what goes to `other.example`.
fn hub(name: &str, sink: &Sink, keywords: &str, conversions: &str, options: &str) -> Site {
    let site = Site::new(name);
    let to = [
        Destination::direct("tcp_next", "next.example", sink.port()),
        Destination::direct("tcp_other", "other.example", sink.port()),
    ];
    let channel = format!("\nconversion backoff pt1s {keywords}\nCONVERSION-DAEMON\n");
    site.write("sluice.cnf", &format!("{}{channel}", configuration("", &to)));
    site.write("mappings", TABLE);
    site.write("conversions", conversions);
    let user = if is_root() { "USER=root\n" } else { "" };
    site.write("conversion_option", &format!("{user}{options}"));
    site
}

fn send(site: &Site, to: &[&str], content: &str) {
    let reply = site.talk().deliver("me@origin.example", to, content.as_bytes()).expect("an answer");
    assert_eq!(reply.code, 250, "{reply}");
}

fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(below_received(content)).into_owned()
}

const ICONV: &str = "in-chan=tcp_*; out-chan=tcp_next; in-type=text; in-subtype=plain;\n  \
    in-parameter-name-0=charset; in-parameter-value-0=iso-8859-1;\n  \
    out-parameter-name-0=charset; out-parameter-value-0=utf-8; out-encoding=8bit;\n  \
    command=\"iconv -f iso-8859-1 -t utf-8 'INPUT_FILE' > 'OUTPUT_FILE'\"\n\n\
    in-type=application; out-subtype=gzip;\n  command=\"gzip -cn 'INPUT_FILE' > 'OUTPUT_FILE'\"\n";

#[test]
fn parts_are_converted_on_their_way_to_one_channel_and_not_to_another() {
    let sink = Sink::start();
    let mut site = hub("conversion", &sink, "", ICONV, "");
    let check = site.command(&["check"]);
    assert!(
        check.code == 0 && check.out.ends_with("nothing to complain about\n"),
        "{}{}",
        check.out,
        check.err
    );
    site.start();
    send(&site, &["ann@next.example", "bob@other.example", "kim@deep.next.example"], TEXT);
    wait_for("all have it", SOON, || sink.arrived().iter().map(|one| one.to.len()).sum::<usize>() == 3);
    site.wait_for_waiting(None, 0, SOON);
    for one in sink.arrived() {
        assert_eq!(one.from, "me@origin.example");
        let content = text(&one.content);
        if one.to == ["bob@other.example"] {
            assert_eq!(content, TEXT);
            continue;
        }
        assert!(content.contains("Content-Type: text/plain;\r\n\tcharset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncafé\r\n--=="), "{content}");
        assert!(
            content
                .contains("Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\nH4sI"),
            "{content}"
        );
        let received = String::from_utf8_lossy(&one.content).matches("Received: ").count();
        assert_eq!(received, 2, "it went over the channel once: {}", String::from_utf8_lossy(&one.content));
    }
    watch("none arrives twice", WHILE, || sink.arrived().iter().map(|one| one.to.len()).sum::<usize>() == 3);
    site.stop();
}

#[test]
fn a_scanner_refuses_a_message_and_its_sender_hears_why() {
    let sink = Sink::start();
    // As clamscan says it: 0 clean, 1 found, 2 trouble.
    let scanner = "in-type=*; override-option-file=1;\n  command=\"./scan 'INPUT_FILE'; case $? in 0) cp 'INPUT_FILE' 'OUTPUT_FILE';; \
        1) echo OUTPUT_DIAGNOSTIC='5.7.1 Eicar found' > 'OUTPUT_OPTIONS'; echo STATUS=178029946 >> 'OUTPUT_OPTIONS';; *) exit 75;; esac\"\n";
    let mut site = hub("conversion-scan", &sink, "", "in-type=*; delete=1\n", "");
    let script = site.folder().join("scan.sh");
    site.write("conversions", &scanner.replace("./scan", &format!("/bin/sh {}", script.display())));
    fs::write(&script, "grep -q EICAR \"$1\" && exit 1\ngrep -q BROKEN \"$1\" && exit 2\nexit 0\n")
        .expect("a script");
    site.start();
    send(&site, &["ann@next.example"], TEXT);
    let one = &sink.wait(1, SOON)[0];
    assert_eq!(text(&one.content), TEXT, "what is clean is not touched");
    site.write("aliases", "me: me@other.example\n");
    let bad = TEXT.replace("caf=E9", "EICAR");
    let reply =
        site.talk().deliver("me@other.example", &["ann@next.example"], bad.as_bytes()).expect("an answer");
    assert_eq!(reply.code, 250);
    let arrived = sink.wait(2, SOON);
    let notice = arrived.iter().find(|one| one.from.is_empty()).expect("a notice");
    let said = String::from_utf8_lossy(&notice.content);
    assert!(
        notice.to == ["me@other.example"] && said.contains("Eicar found") && said.contains("5.7.1"),
        "{said}"
    );
    // A scanner that fails lets nothing pass.
    send(&site, &["ann@next.example"], &TEXT.replace("caf=E9", "BROKEN"));
    site.wait_for_waiting(None, 1, SOON);
    watch("it waits", WHILE, || sink.count() == 2);
    fs::write(&script, "exit 0\n").expect("a script");
    assert!(text(&sink.wait(3, SOON)[2].content).contains("BROKEN"));
    site.wait_for_waiting(None, 0, SOON);
    site.stop();
}

#[test]
fn a_hub_that_is_killed_while_a_program_runs_loses_nothing() {
    let sink = Sink::start();
    let mut site = hub("conversion-killed", &sink, "", "in-type=*; delete=1\n", "");
    let (mark, go) = (site.folder().join("runs"), site.folder().join("go"));
    let command = format!(
        "touch {}; while [ ! -e {} ] && [ -e 'INPUT_FILE' ]; do sleep 0.1; done; cp 'INPUT_FILE' 'OUTPUT_FILE'",
        mark.display(),
        go.display()
    );
    site.write("conversions", &format!("in-type=text; out-description=seen; command=\"{command}\"\n"));
    site.start();
    send(&site, &["ann@next.example"], TEXT);
    wait_for("the program runs", SOON, || mark.exists());
    site.kill();
    fs::write(&go, "").expect("a file");
    site.start();
    let arrived = sink.wait(1, SOON);
    assert!(text(&arrived[0].content).contains("Content-Description: seen\r\n"));
    site.wait_for_waiting(None, 0, SOON);
    watch("once", WHILE, || sink.count() == 1);
    site.stop();
}

#[test]
fn what_a_program_holds_is_converted_when_an_operator_releases_it() {
    let sink = Sink::start();
    let mut site = hub("conversion-hold", &sink, "", "in-type=*; delete=1\n", "");
    let fine = site.folder().join("fine");
    let command = format!(
        "[ -e {} ] && date > 'OUTPUT_FILE' || echo STATUS=178030250 > 'OUTPUT_OPTIONS'",
        fine.display()
    );
    let entry =
        format!("in-type=text; override-option-file=1; out-description=seen; command=\"{command}\"\n");
    site.write("conversions", &entry);
    site.start();
    send(&site, &["ann@next.example"], TEXT);
    let held = || site.json(&["queue", "list", "--state", "held"]);
    wait_for("it is on hold", SOON, || held().len() == 1);
    assert_eq!(held()[0]["channel"], "conversion", "{:?}", held());
    watch("it stays there", WHILE, || sink.count() == 0 && held().len() == 1);
    fs::write(&fine, "").expect("a file");
    let released = site.command(&["queue", "release", "#conversion", "--yes"]);
    assert_eq!(released.code, 0, "{}{}", released.out, released.err);
    assert!(text(&sink.wait(1, SOON)[0].content).contains("Content-Description: seen\r\n"));
    site.wait_for_waiting(None, 0, SOON);
    site.stop();
}

#[test]
fn other_entries_count_when_the_configuration_is_read_again() {
    let sink = Sink::start();
    let mut site = hub("conversion-reload", &sink, "", "in-type=text; delete=1\n", "");
    site.start();
    send(&site, &["ann@next.example"], TEXT);
    assert!(!text(&sink.wait(1, SOON)[0].content).contains("caf"));
    site.write("conversions", "in-type=application; delete=1\n");
    let reloaded = site.command(&["reload"]);
    assert_eq!(reloaded.code, 0, "{}{}", reloaded.out, reloaded.err);
    send(&site, &["ann@next.example"], TEXT);
    let content = text(&sink.wait(2, SOON)[1].content);
    assert!(content.contains("caf") && !content.contains("octet-stream"), "{content}");
    site.wait_for_waiting(None, 0, SOON);
    site.stop();
}

#[test]
fn large_mail_is_cut_when_it_has_been_converted() {
    let sink = Sink::start();
    let site = Site::new("conversion-cut");
    let to = [Destination {
        keywords: "maxblocks 16",
        ..Destination::direct("tcp_next", "next.example", sink.port())
    }];
    let channels = "\nconversion backoff pt1s\nCONVERSION-DAEMON\n\ndefragment\nDEFRAGMENT-DAEMON\n";
    site.write("sluice.cnf", &format!("{}{channels}", configuration("", &to)));
    // Pieces come from `defragment`, and are not led here again.
    site.write("mappings", "CONVERSIONS\n\n  * Yes\n");
    site.write("conversions", "in-type=application; delete=1\n");
    let mut site = site;
    site.start();
    let large = TEXT.replace("caf=E9", &"a line of text\r\n".repeat(4000));
    send(&site, &["ann@next.example"], &large);
    wait_for("it arrives", SOON, || sink.count() > 3);
    site.wait_for_waiting(None, 0, SOON);
    let pieces = sink.arrived();
    let small = TEXT.replace("AAECAwQ=", &format!("{}\r\n", "AAAA".repeat(19)).repeat(1000));
    send(&site, &["ann@next.example"], &small);
    wait_for("it arrives in one piece", SOON, || {
        sink.arrived().last().is_some_and(|one| text(&one.content).contains("caf=E9"))
    });
    for piece in &pieces {
        let content = String::from_utf8_lossy(&piece.content).into_owned();
        assert!(content.contains("message/partial") && !content.contains("AAECAwQ="), "{content}");
    }
    site.wait_for_waiting(None, 0, SOON);
    site.stop();
}

#[test]
fn the_table_chooses_among_channels_that_convert() {
    let sink = Sink::start();
    let mut site = hub("conversion-two", &sink, "", "in-type=text; delete=1\n", "");
    let table = "CONVERSIONS\n\n  *OUT-CHAN=tcp_next;*  Yes,Channel=conversion_late\n  *OUT-CHAN=tcp_other;*  Channel=nowhere\n";
    site.write("mappings", table);
    let checked = site.command(&["check"]);
    let both = format!("{}{}", checked.out, checked.err);
    assert_eq!(both.matches("warning[bad-conversion-answer]").count(), 2, "{both}");
    site.replace("sluice.cnf", "\nconversion ", "\nconversion_late periodic\nCONVERSION-LATE\n\nconversion ");
    site.write("conversion_late_option", if is_root() { "USER=root\n" } else { "" });
    site.start();
    send(&site, &["ann@next.example", "bob@other.example"], TEXT);
    let first = sink.wait(1, SOON);
    assert!(first[0].to == ["bob@other.example"] && !text(&first[0].content).contains("caf"));
    site.wait_for_waiting(None, 1, SOON);
    let waits = site.json(&["queue", "list"]);
    assert_eq!(
        (&waits[0]["channel"], &waits[0]["domain"]),
        (&"conversion_late".into(), &"tcp_local:tcp_next".into())
    );
    assert_eq!(site.command(&["trigger", "#conversion_late"]).code, 0);
    assert!(!text(&sink.wait(2, SOON)[1].content).contains("caf"));
    site.wait_for_waiting(None, 0, SOON);
    site.stop();
}

#[test]
fn no_copy_is_taken_while_the_table_cannot_be_asked_about_another() {
    let sink = Sink::start();
    let mut site = hub("conversion-unasked", &sink, "", "in-type=text; delete=1\n", "");
    // Their headers differ, so they are stored by themselves.
    site.replace("sluice.cnf", "\ntcp_other smtp ", "\ntcp_other addreturnpath smtp ");
    site.write("mappings", "CONVERSIONS\n\n  IN-CHAN=*;OUT-CHAN=tcp_next;CONVERT  ${over}\n");
    site.write("general.txt", "over   Yes\n");
    assert_eq!(site.command(&["compile"]).code, 0);
    site.start();
    let both = ["bob@other.example", "ann@next.example"];
    send(&site, &both, TEXT);
    let arrived = sink.wait(2, SOON);
    assert_eq!(arrived.iter().filter(|one| text(&one.content).contains("caf")).count(), 1);
    let file = site.configuration().join("general.db");
    fs::File::options().write(true).open(&file).expect("the file").set_len(20).expect("cut short");
    let reply = site.talk().deliver("me@origin.example", &both, TEXT.as_bytes()).expect("an answer");
    assert_eq!(reply.code, 451, "{reply}");
    watch("none has it while the client is to come again", WHILE, || sink.count() == 2);
    site.wait_for_waiting(None, 0, SOON);
    send(&site, &both[..1], TEXT);
    sink.wait(3, SOON);
    site.stop();
}

#[test]
fn a_notice_with_a_message_that_was_refused_is_converted_too() {
    let sink = Sink::start();
    let rules = "in-chan=tcp_*; in-type=text; override-option-file=1;\n  command=\"echo STATUS=178029946 > 'OUTPUT_OPTIONS'\"\n\n\
        in-chan=process; in-type=application; delete=1\n";
    let mut site = hub("conversion-notice", &sink, "", rules, "");
    let table = "CONVERSIONS\n\n  IN-CHAN=tcp_local;OUT-CHAN=tcp_other;CONVERT  Yes\n  IN-CHAN=process;OUT-CHAN=tcp_next;CONVERT  Yes\n";
    site.write("mappings", table);
    site.start();
    for sender in ["me@next.example", "me@other.example"] {
        let reply = site.talk().deliver(sender, &["bob@other.example"], TEXT.as_bytes()).expect("an answer");
        assert_eq!(reply.code, 250, "{reply}");
    }
    let arrived = sink.wait(2, SOON);
    for notice in &arrived {
        let said = text(&notice.content);
        let is_whole = notice.to == ["me@other.example"];
        assert!(notice.from.is_empty() && said.contains("caf=E9"), "{said}");
        assert_eq!(said.contains("AAECAwQ="), is_whole, "{said}");
    }
    site.wait_for_waiting(None, 0, SOON);
    site.stop();
}

#[test]
fn an_isolated_channel_converts_too() {
    let sink = Sink::start();
    let mut site = hub("conversion-isolated", &sink, "isolated", ICONV, "");
    site.start();
    send(&site, &["ann@next.example"], TEXT);
    let arrived = sink.wait(1, SOON);
    let content = text(&arrived[0].content);
    assert!(content.contains("café") && content.contains("application/gzip"), "{content}");
    site.wait_for_waiting(None, 0, SOON);
    site.stop();
}

#[test]
fn every_mistake_is_shown_with_its_line() {
    let sink = Sink::start();
    let site = hub(
        "conversion-mistakes",
        &sink,
        "",
        "in-type=text; delete=2\n\ntype=x; delete=1\nin-type=a; in-type=b; delete=1\n",
        "",
    );
    let check = site.command(&["check"]);
    let all = format!("{}{}", check.out, check.err);
    assert_ne!(check.code, 0, "{all}");
    for expected in [
        "error[bad-conversion]: `delete` cannot be `2`",
        "conversions:1:22",
        "conversions:3:1",
        "warning[conversion-without-effect]",
        "conversions:4:12",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
}
