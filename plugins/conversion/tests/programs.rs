//! What programs do to parts, and what is done about programs: the channel on a bench, with real programs.

use sluice_conversion::Conversion;
use sluice_mail::wire::unstuff;
use sluice_sdk::testing::{Bench, Mail, Report};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// What is between two parts.
const TWO: &str = "Subject: two\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"==b\"\r\n\r\npreamble\r\n\
    --==b\r\nContent-Type: text/plain; charset=us-ascii\r\nX-Mine: kept\r\n\r\nhello world\r\nsecond\r\n\
    --==b\r\nContent-Type: application/octet-stream; name=\"a b.bin\"\r\nContent-Transfer-Encoding: base64\r\n\
    Content-Disposition: attachment; filename=\"a b.bin\"\r\nContent-MD5: x\r\n\r\nAAECAwQ=\r\n--==b--\r\nepilogue\r\n";

/// The account that the tests run as: a root must be named.
fn user() -> String {
    let said = Command::new("id").arg("-un").output().expect("the program `id`");
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

fn bench(conversions: &str) -> Bench<Conversion> {
    Bench::<Conversion>::new()
        .fact("conversions", conversions)
        .fact("local_host", "hub.example")
        .option("user", user())
}

fn mail(message: &str) -> Mail {
    // The domain in the queue is what the hub has led it by.
    Mail::new("a@origin.example").to("fred@tcp_local:l").text(message)
}

/// Runs one message through, and gives what came in again in the place of it.
fn converted(conversions: &str, message: &str) -> String {
    let report = bench(conversions).mail(mail(message)).run();
    only(&report)
}

fn only(report: &Report) -> String {
    report.assert_clean();
    assert!(report.story().contains(" delivered "), "{} {:?}", report.story(), report.log);
    let [brought] = &report.submissions[..] else { panic!("{:?}", report.submissions) };
    assert!(brought.as_original && brought.again);
    let mut plain = Vec::new();
    unstuff(&brought.content).for_each(|piece| plain.extend_from_slice(piece));
    String::from_utf8(plain).expect("a text")
}

fn story(conversions: &str, message: &str) -> String {
    let report = bench(conversions).mail(mail(message)).run();
    report.assert_clean();
    assert!(report.submissions.is_empty(), "{:?}", report.submissions);
    report.story()
}

/// The message with something else in the place of a piece of it.
fn with(old: &str, new: &str) -> String {
    assert!(TWO.contains(old), "{old}");
    TWO.replace(old, new)
}

#[test]
fn a_text_part_is_replaced_and_every_other_octet_stays() {
    let rule = "in-channel=tcp_*\nout-channel=l\nin-type=text\nin-subtype=plain\ncommand=sed s/world/there/ < 'INPUT_FILE' > 'OUTPUT_FILE'\n\n";
    assert_eq!(converted(rule, TWO), with("hello world", "hello there"));
    for elsewhere in ["in-channel=l\n", "out-channel=tcp_*\n", "part-number=2\n"] {
        let rule = rule.replace("in-channel=tcp_*\nout-channel=l\n", elsewhere);
        assert_eq!(converted(&rule, TWO), TWO, "{elsewhere}");
    }
}

#[test]
fn a_program_that_copies_changes_nothing() {
    let rule = "in-type=*\nparameter-copy-0=*\ndparameter-copy-0=*\ncommand=cp $INPUT_FILE $OUTPUT_FILE\n\n";
    assert_eq!(converted(rule, TWO), TWO);
    let alone = "Subject: x\r\n\r\n.dots\r\n..\r\nend\r\n";
    assert_eq!(converted(rule, alone), alone);
}

#[test]
fn octets_are_decoded_for_the_program_and_encoded_behind_it() {
    let rule = "in-type=application\nout-type=image\nout-subtype=gif\ncommand=od -An -tx1 'INPUT_FILE' | tr -d ' \\n' > 'OUTPUT_FILE'; printf '\\377' >> 'OUTPUT_FILE'\n\n";
    let expected =
        with("Content-Type: application/octet-stream; name=\"a b.bin\"", "Content-Type: image/gif");
    let expected = expected.replace("Content-MD5: x\r\n", "").replace("AAECAwQ=", "MDAwMTAyMDMwNP8=");
    assert_eq!(converted(rule, TWO), expected);
    let keeping = rule.replace("out-type", "parameter-copy-0=NAME\nout-parameter-name-1=size\nout-parameter-value-1=9 \"k\"\nout-disposition=inline\ndparameter-copy-2=*\nout-description=made of 'INPUT-SUBTYPE'\nout-type");
    let text = converted(&keeping, TWO);
    assert!(
        text.contains("Content-Type: image/gif;\r\n\tname=\"a b.bin\";\r\n\tsize=\"9 \\\"k\\\"\"\r\n"),
        "{text}"
    );
    assert!(text.contains("Content-Disposition: inline;\r\n\tfilename=\"a b.bin\"\r\n"), "{text}");
    assert!(text.contains("Content-Description: made of octet-stream\r\n"), "{text}");
}

#[test]
fn the_first_entry_that_fits_counts() {
    let rules =
        "in-type=text\ncommand=echo one > $OUTPUT_FILE\n\nin-type=*\ncommand=echo two > $OUTPUT_FILE\n\n";
    let text = converted(rules, TWO);
    assert!(
        text.contains("\r\n\r\none\r\n\r\n--==b") && text.contains("\r\n\r\ndHdvCg==\r\n--==b"),
        "{text}"
    );
}

#[test]
fn parts_are_taken_out() {
    let (first, last) =
        (TWO.find("--==b\r\nContent-Type: text").unwrap(), TWO.find("--==b\r\nContent-Type: app").unwrap());
    let end = TWO.find("--==b--").unwrap();
    let without_first = format!("{}{}", &TWO[..first], &TWO[last..]);
    assert_eq!(converted("in-type=text\ndelete=1\n\n", TWO), without_first);
    let without_last = format!("{}{}", &TWO[..last], &TWO[end..]);
    assert_eq!(converted("in-type=application\ndelete=1\n\n", TWO), without_last);
    // One must be there; it has nothing in it.
    let none = converted("in-type=*\ndelete=1\n\n", TWO);
    let empty = "--==b\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\r\n--==b--\r\nepilogue\r\n";
    assert!(none.ends_with(empty) && none.matches("--==b").count() == 2, "{none}");
    assert_eq!(
        converted(
            "in-type=*\ndelete=1\n\n",
            "Subject: x\r\nContent-Type: image/gif\r\nMIME-Version: 1.0\r\n\r\nGIF89\r\n"
        ),
        "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    );
}

#[test]
fn a_program_says_by_its_options_what_is_to_be_done() {
    let rule = |status: &str| {
        format!(
            "in-type=application\noverride-option-file=1\ncommand=echo \"OUTPUT_DIAGNOSTIC='5.7.9 A virus'\" > $OUTPUT_OPTIONS; echo STATUS={status} >> $OUTPUT_OPTIONS; exit 3\n\n"
        )
    };
    assert_eq!(
        story(&rule("178029946"), TWO),
        "test-1 fred@tcp_local:l failed 5.7.9 part 2 (application/octet-stream): 5.7.9 A virus\n"
    );
    assert_eq!(
        story(&rule("0x0A9C86B3"), TWO),
        "test-1 fred@tcp_local:l delivered 2.0.0 a program has thrown it away\n"
    );
    assert!(story(&rule("178028698"), TWO).contains(" deferred 4.3.0 "));
    assert!(story(&rule("12345"), TWO).contains(" deferred 4.3.0 "));
    assert_eq!(converted(&rule("178030130"), TWO), TWO, "PMDF__FORCEASIS");
    assert!(!converted(&rule("178030178"), TWO).contains("octet-stream"), "PMDF__FORCEDELETE");
    let report = bench(&rule("178030250")).mail(mail(TWO)).run();
    assert!(only(&report) == TWO && report.submissions[0].on_hold, "PMDF__FORCEHOLD");
    let report = bench(&rule("178030098")).mail(mail(TWO)).run();
    assert_eq!(only(&report), TWO);
    assert_eq!(report.submissions[0].recipients[0].address, "postmaster@hub.example");
    // Without the parameter nobody looks at the file.
    let deaf = rule("178029946").replace("override-option-file=1\n", "");
    assert!(
        story(&deaf, TWO)
            .contains(" deferred 4.3.0 part 2 (application/octet-stream): the program ended with status 3")
    );
}

#[test]
fn a_program_gives_the_part_another_label() {
    let rule = "in-type=application\noverride-option-file=1\ncommand=cp $INPUT_FILE $OUTPUT_FILE; printf 'OUTPUT_TYPE=text\\nOUTPUT_SUBTYPE=\"x-mine\"\\nOUTPUT_ENCODING=quoted-printable\\nOUTPUT_DISPOSITION=inline\\nOUTPUT_DESCRIPTION=a\\n' > $OUTPUT_OPTIONS\n\n";
    let text = converted(rule, TWO);
    for line in [
        "Content-Type: text/x-mine\r\n",
        "Content-Disposition: inline\r\n",
        "Content-Description: a\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        "\r\n\r\n=00=01=02=03=04\r\n--",
    ] {
        assert!(text.contains(line), "{line} {text}");
    }
}

#[test]
fn fields_that_a_program_writes_are_fields_of_the_part_and_nothing_else() {
    let rule = "in-type=application\noverride-header-file=1\ncommand=cp $INPUT_FILE $OUTPUT_FILE; printf 'Content-Type: text/html;\\n charset=utf-8\\nBcc: victim@x.example\\nContent-Transfer-Encoding: 8bit\\nContent-A: b\\rX: y\\nContent-Id: <a@b>\\n\\nSubject: no\\n\\n--==b\\n' > $OUTPUT_HEADERS\n\n";
    let report = bench(rule).mail(mail(TWO)).run();
    let text = only(&report);
    let part = &text[text.rfind("--==b\r\n").unwrap()..];
    assert_eq!(
        part,
        "--==b\r\nContent-Type: text/html;\r\n charset=utf-8\r\nContent-Id: <a@b>\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQ=\r\n--==b--\r\nepilogue\r\n"
    );
    let said: String = report.log.iter().map(|line| line.text.as_str()).collect();
    assert!(said.contains("Bcc: victim@x.example") && said.contains("Content-A: b"), "{said}");
}

#[test]
fn a_program_knows_what_it_works_on() {
    let rule = "in-type=application\noriginal-header-file=1\nmessage-header-file=2\nparameter-symbol-0=NAME\ndparameter-symbol-0=FILENAME\nout-subtype=y\n\
        command=for v in INPUT_TYPE INPUT_SUBTYPE INPUT_ENCODING INPUT_DISPOSITION INPUT_DESCRIPTION INPUT_CHANNEL OUTPUT_CHANNEL OUTPUT_TYPE OUTPUT_SUBTYPE PART_NUMBER PART_SIZE ENVELOPE_FROM QUEUE_ID NAME FILENAME INPUT_PARAMETER_NAME_0 INPUT_PARAMETER_VALUE_0; do eval echo $v=\\\"\\$$v\\\"; done > $OUTPUT_FILE; echo ---; cat $MESSAGE_HEADERS >> $OUTPUT_FILE; cat $INPUT_HEADERS >> $OUTPUT_FILE\nout-mode=text\nout-encoding=none\n\n";
    let text = converted(rule, TWO);
    let expected = "INPUT_TYPE=application\r\nINPUT_SUBTYPE=octet-stream\r\nINPUT_ENCODING=base64\r\nINPUT_DISPOSITION=attachment\r\nINPUT_DESCRIPTION=\r\n\
        INPUT_CHANNEL=tcp_local\r\nOUTPUT_CHANNEL=l\r\nOUTPUT_TYPE=application\r\nOUTPUT_SUBTYPE=y\r\nPART_NUMBER=2\r\nPART_SIZE=5\r\nENVELOPE_FROM=a@origin.example\r\nQUEUE_ID=test-1\r\n\
        NAME=a b.bin\r\nFILENAME=a b.bin\r\nINPUT_PARAMETER_NAME_0=name\r\nINPUT_PARAMETER_VALUE_0=a b.bin\r\nSubject: two\r\n";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("\r\n\r\nContent-Type: application/octet-stream; name"), "{text}");
}

#[test]
fn what_a_message_says_is_never_a_command() {
    let evil = with("name=\"a b.bin\"", "name=\"$(touch pwned)`touch pwned`'; touch pwned #\\\"\"");
    let rule = "in-type=application\nparameter-symbol-0=NAME\nout-mode=text\nout-encoding=7bit\ncommand=printf %s 'NAME' > 'OUTPUT_FILE'; ls >> 'OUTPUT_FILE'\n\n";
    let text = converted(rule, &evil);
    assert!(text.contains("$(touch pwned)`touch pwned`'; touch pwned #\""), "{text}");
    assert!(text.contains("input\r\noutput\r\n") && !text.contains("\r\npwned"), "{text}");
}

#[test]
fn what_a_program_writes_is_private_whatever_its_mask() {
    let rule = "in-type=application\nout-mode=text\nout-encoding=7bit\n\
        command=umask 0; echo scratch > other; stat -c '%a %n' . other input > $OUTPUT_FILE; stat -c %a $OUTPUT_FILE >> $OUTPUT_FILE\n\n";
    let text = converted(rule, TWO);
    // Nobody else gets to the files, though the program has left them open to everybody; what the hub has written is its own anyway.
    for wanted in ["700 .\r\n", "666 other\r\n", "600 input\r\n", "\r\n666\r\n"] {
        assert!(text.contains(wanted), "{wanted:?}: {text}");
    }
}

#[test]
fn a_program_that_does_not_end_well_keeps_the_message_waiting() {
    for (command, why) in [
        ("exit 1", "4.3.0 part 1 (text/plain): the program ended with status 1"),
        (
            "echo no such font; exit 70",
            "4.3.0 part 1 (text/plain): the program ended with status 70: no such font",
        ),
        ("kill -9 $$", "4.3.0 part 1 (text/plain): the program was ended by signal 9"),
        ("true", "4.3.0 part 1 (text/plain): the program wrote no file OUTPUT_FILE"),
        ("/no/such/program", "4.3.5 part 1 (text/plain): the program ended with status 127"),
        ("mkdir $OUTPUT_FILE", "4.3.0 part 1 (text/plain): the file OUTPUT_FILE of the program is not read"),
        (
            "ln -s /etc/passwd $OUTPUT_FILE",
            "4.3.0 part 1 (text/plain): the file OUTPUT_FILE of the program is not read",
        ),
        ("mkfifo $OUTPUT_FILE", "4.3.0 part 1 (text/plain): the file OUTPUT_FILE of the program is not read"),
        ("exec yes", "4.3.0 part 1 (text/plain): the program printed more than 1048576 octets"),
    ] {
        let story = story(&format!("in-type=text\ncommand={command}\n\n"), TWO);
        assert!(story.starts_with(&format!("test-1 fred@tcp_local:l deferred {why}")), "{command}: {story}");
    }
}

#[test]
fn a_program_has_its_time_and_its_room() {
    let late =
        bench("in-type=text\ncommand=exec sleep 60\n\n").option("shell_timeout", "1").mail(mail(TWO)).run();
    assert!(
        late.story()
            .contains(" deferred 4.3.0 part 1 (text/plain): the program was not done within 1 seconds"),
        "{}",
        late.story()
    );
    let endless = bench("in-type=text\ncommand=exec cat /dev/zero > $OUTPUT_FILE\n\n")
        .option("file_max", "1000000")
        .mail(mail(TWO))
        .run();
    assert!(
        endless.story().contains(" deferred 4.3.0 part 1 (text/plain): the program was ended by signal 25"),
        "{}",
        endless.story()
    );
    let none = mail(TWO).time_left([Duration::from_secs(3)]);
    let none = bench("in-type=text\ncommand=true\n\n").mail(none).run();
    assert!(
        none.story().contains(" deferred 4.3.0 part 1 (text/plain): no time was left"),
        "{}",
        none.story()
    );
}

#[test]
fn nothing_is_left_behind() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().to_string_lossy().into_owned();
    for command in ["touch a; mkdir b; exit 0", "kill -9 $$", "cp $INPUT_FILE $OUTPUT_FILE"] {
        let bench = bench(&format!("in-type=*\ncommand={command}\n\n"));
        bench.option("work_dir", folder.as_str()).mail(mail(TWO)).run().assert_clean();
        assert_eq!(std::fs::read_dir(place.path()).expect("the folder").count(), 0, "{command}");
    }
    let report = bench("in-type=*\ncommand=true\n\n")
        .option("work_dir", format!("{folder}/not/there"))
        .mail(mail(TWO))
        .run();
    assert!(
        report.story().contains(" deferred 4.3.0 part 1 (text/plain): no folder in "),
        "{}",
        report.story()
    );
}

#[test]
fn what_cannot_be_taken_apart_passes_or_waits() {
    let rule = "in-type=*\ndelete=1\n\n";
    let bad = "Content-Type: multipart/mixed; boundary=x\r\n\r\n--y\r\n\r\na\r\n--y--\r\n";
    let many = format!(
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n{}--x--\r\n",
        "--x\r\n\r\na\r\n".repeat(10_000)
    );
    let mut deep = String::new();
    for level in 0..100 {
        deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}x\r\n\r\n--b{level}x\r\n"));
    }
    deep.push_str("\r\nin the middle\r\n");
    let odd = "Content-Type: application/x\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin\r\n";
    let command = "in-type=*\ncommand=true\n\n";
    for (conversions, message, why) in [
        (rule, bad, "its multipart 1 has no parts"),
        (rule, many.as_str(), "it has more than 1000 parts"),
        (rule, deep.as_str(), "it has parts within parts, more than 60 deep"),
        (command, odd, "nobody knows the encoding `x-uuencode` of part 1 (application/x)"),
    ] {
        let report = bench(conversions).mail(mail(message)).run();
        assert_eq!(only(&report), message, "{why}");
        assert!(
            report.log.iter().any(|line| line.text.ends_with(&format!(" as it is: {why}"))),
            "{:?}",
            report.log
        );
        let report = bench(conversions).option("unreadable", "wait").mail(mail(message)).run();
        assert_eq!(
            report.story(),
            format!("test-1 fred@tcp_local:l deferred 4.6.0 it is not taken apart: {why}\n")
        );
    }
    let report = bench(rule).option("max_size", "100").mail(mail(TWO)).run();
    assert_eq!(only(&report), TWO);
    // Ten thousand parts are converted where that is wanted.
    let report = bench("in-type=text\npart-number=10000\ndelete=1\n\n")
        .option("max_parts", "20000")
        .mail(mail(&many))
        .run();
    assert_eq!(only(&report).matches("--x\r\n").count(), 9_999);
}

#[test]
fn what_is_odd_in_a_message_does_not_keep_entries_from_its_other_parts() {
    let rules =
        "in-type=application\ndelete=1\n\nin-type=text\ncommand=tr h H < $INPUT_FILE > $OUTPUT_FILE\n\n";
    for (odd, why) in [
        (
            "Content-Type: text/plain\r\nContent-Transfer-Encoding: x-foo\r\n\r\nhoho",
            "nobody knows the encoding `x-foo` of part 3 (text/plain)",
        ),
        (
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==",
            "its message 3 is encoded",
        ),
        ("Content-Type: multipart/mixed\r\n\r\nhoho", "its multipart 3 has no boundary"),
        ("Content-Type: multipart/mixed; boundary=h\r\n\r\nhoho", "its multipart 3 has no parts"),
    ] {
        let message = with("--==b--", &format!("--==b\r\n{odd}\r\n--==b--"));
        let report = bench(rules).mail(mail(&message)).run();
        let text = only(&report);
        assert!(text.contains(odd) && text.contains("Hello") && !text.contains("octet-stream"), "{text}");
        let expected = format!("a part of it stays as it is: {why}");
        assert!(report.log.iter().any(|line| line.text == expected), "{:?}", report.log);
        let waits = bench(rules).option("unreadable", "wait").mail(mail(&message)).run().story();
        assert!(waits.ends_with(&format!(" deferred 4.6.0 it is not taken apart: {why}\n")), "{waits}");
    }
}

#[test]
fn what_the_parts_become_has_a_limit() {
    let parts = "--x\r\n\r\na\r\n".repeat(4);
    let message = format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{parts}--x--\r\n");
    let rule = "in-type=text\nout-mode=block\ncommand=head -c 1500 /dev/zero > $OUTPUT_FILE\n\n";
    let report = bench(rule).option("max_size", "2000").option("file_max", "2048").mail(mail(&message)).run();
    assert!(
        report.story().ends_with(
            " deferred 4.3.4 its parts have become more than 4096 octets, twice MAX_SIZE or FILE_MAX\n"
        ),
        "{}",
        report.story()
    );
    converted(rule, &message);
}

#[test]
fn a_message_has_its_time_also_without_programs() {
    let none = mail(TWO).time_left([Duration::from_secs(3)]);
    let story = bench("in-type=image\ndelete=1\n\n").mail(none).run().story();
    assert!(story.contains(" deferred 4.3.0 part 1 (text/plain): no time was left"), "{story}");
}

#[test]
fn a_variable_is_empty_where_the_part_has_no_such_parameter() {
    let rule = "in-type=text\nparameter-symbol-0=NAME\ncommand=printf %s x'NAME'y > $OUTPUT_FILE\n\n";
    assert!(converted(rule, TWO).contains("\r\n\r\nxy\r\n--==b"));
}

#[test]
fn a_description_that_is_no_ascii_is_left_out_and_that_is_said() {
    let rule = "in-type=text\nout-description=caf\u{e9}\ncommand=tr h H < $INPUT_FILE > $OUTPUT_FILE\n\n";
    let report = bench(rule).mail(mail(TWO)).run();
    assert_eq!(only(&report), with("hello", "Hello"));
    assert!(
        report.log.iter().any(|line| line.text.contains("no new Content-Description")),
        "{:?}",
        report.log
    );
}

#[test]
fn what_is_signed_is_left_alone_unless_that_is_said() {
    let signed = TWO.replace("multipart/mixed", "multipart/signed");
    assert_eq!(converted("in-type=*\ndelete=1\n\n", &signed), signed);
    let report = bench("in-type=text\ndelete=1\n\n").option("signed", "convert").mail(mail(&signed)).run();
    assert!(!only(&report).contains("hello"));
}

#[test]
fn a_body_is_never_taken_for_a_boundary() {
    let rule = "in-type=text\nout-encoding=none\ncommand=printf 'a\\n--==b--\\nb\\n' > $OUTPUT_FILE\n\n";
    let text = converted(rule, TWO);
    assert_eq!(text.matches("--==b--").count(), 1, "{text}");
    assert!(
        text.contains("Content-Transfer-Encoding: base64\r\n\r\nYQ0KLS09PWItLQ0KYg0K\r\n--==b"),
        "{text}"
    );
}

#[test]
fn a_line_of_quoted_printable_is_never_taken_for_a_boundary() {
    // A long line is broken in front of a boundary, and letters become what a boundary may have in it.
    for (boundary, line) in [("b", format!("{}--b", "a".repeat(75))), ("=C3=A9", "--\u{e9}".to_owned())] {
        let body = format!(
            "\u{e9}\r\n{line}\r\nContent-Type: application/x-msdownload\r\nContent-Transfer-Encoding: base64\r\n\r\nTVo=\r\n"
        );
        let text = format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n--{boundary}--\r\n"
        );
        for encoding in ["", "out-encoding=quoted-printable\n"] {
            let rule = format!("in-type=text\n{encoding}command=tr x y < $INPUT_FILE > $OUTPUT_FILE\n\n");
            let made = converted(&rule, &text);
            assert_eq!(made.matches(&format!("\r\n--{boundary}")).count(), 2, "{made}");
            assert!(made.contains("Content-Transfer-Encoding: base64\r\n\r\nw6k"), "{made}");
        }
    }
}

#[test]
fn a_message_ends_with_a_line_end_whatever_its_program_writes() {
    let rule = "in-type=text\ncommand=printf %s x > 'OUTPUT_FILE'\n\n";
    assert_eq!(
        converted(rule, "Subject: x\r\n\r\nplain\r\n"),
        "Subject: x\r\nMIME-Version: 1.0\r\n\r\nx\r\n"
    );
    // Nothing closes the multipart.
    let cut =
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/gif\r\n\r\nGIF\r\n";
    let made = converted("in-type=image\ncommand=printf %s GIF89 > 'OUTPUT_FILE'\n\n", cut);
    assert!(made.ends_with("base64\r\n\r\nR0lGODk=\r\n"), "{made}");
}

#[test]
fn whether_a_part_is_lines_is_what_its_new_label_says() {
    // What is only copied stays, whatever the entry says of its mode.
    let copied = "in-type=text\nout-mode=block\ncommand=cp $INPUT_FILE $OUTPUT_FILE\n\n";
    assert_eq!(converted(copied, TWO), TWO);
    let alone = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nab\r\n";
    let to_wide = [
        "in-type=text\nout-parameter-name-0=charset\nout-parameter-value-0=utf-16le\ncommand=printf 'a\\0\\n\\0' > $OUTPUT_FILE\n\n",
        "in-type=text\noverride-header-file=1\ncommand=printf 'Content-Type: text/plain; charset=utf-16le\\n' > $OUTPUT_HEADERS; printf 'a\\0\\n\\0' > $OUTPUT_FILE\n\n",
    ];
    for rule in to_wide {
        assert!(converted(rule, alone).ends_with("base64\r\n\r\nYQAKAA==\r\n"), "{rule}");
    }
    let wide = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-16le\r\nContent-Transfer-Encoding: base64\r\n\r\nYQAKAA==\r\n";
    for rule in to_wide.map(|rule| rule.replace("utf-16le", "utf-8").replace("a\\0\\n\\0", "a\\nb\\n")) {
        let made = converted(&rule, wide);
        assert!(!made.contains("base64") && made.ends_with("\r\n\r\na\r\nb\r\n"), "{made}");
    }
}

#[test]
fn texts_get_the_encoding_that_they_need() {
    let alone = "Subject: x\r\n\r\nplain\r\n";
    for (command, expected) in [
        (
            "printf 'caf\\303\\251\\n' > $OUTPUT_FILE",
            "Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\r\ncaf=C3=A9\r\n",
        ),
        (
            "printf 'two\\r\\nlines\\n.\\n' > $OUTPUT_FILE",
            "Subject: x\r\nMIME-Version: 1.0\r\n\r\ntwo\r\nlines\r\n.\r\n",
        ),
        (": > $OUTPUT_FILE", "Subject: x\r\nMIME-Version: 1.0\r\n\r\n"),
    ] {
        assert_eq!(converted(&format!("in-type=text\ncommand={command}\n\n"), alone), expected);
    }
    let eight = "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n";
    let text =
        converted("in-type=text\nout-encoding=8bit\ncommand=tr f F < $INPUT_FILE > $OUTPUT_FILE\n\n", eight);
    assert!(text.ends_with("Content-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n\r\ncaFé\r\n"), "{text}");
}

#[test]
fn a_part_may_become_several() {
    let rule = "in-type=application\noverride-header-file=1\ncommand=printf 'Content-Type: multipart/mixed; boundary=in\\n' > $OUTPUT_HEADERS; printf -- '--in\\n\\none\\n--in--\\n' > $OUTPUT_FILE\n\n";
    let text = converted(rule, TWO);
    assert!(text.contains("--==b\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\none\r\n--in--\r\n\r\n--==b--"), "{text}");
    let long = rule.replace("none\\n", "n%01000d\\n");
    let story = story(&long, TWO);
    assert!(
        story.contains(
            "deferred 4.3.0 part 2 (application/octet-stream): what the program wrote cannot go on"
        ),
        "{story}"
    );
}

#[test]
fn a_text_in_wide_characters_keeps_its_octets() {
    let wide = "Subject: x\r\nContent-Type: text/plain; charset=UTF-16LE\r\nContent-Transfer-Encoding: base64\r\n\r\nCgoNCg==\r\n";
    let rule = "in-type=text\ncommand=cp $INPUT_FILE $OUTPUT_FILE; wc -c < $INPUT_FILE\n\n";
    let report = bench(rule).mail(mail(wide)).run();
    assert_eq!(only(&report), wide);
    assert!(report.log.iter().any(|line| line.text.ends_with("says: 4")), "{:?}", report.log);
}

#[test]
fn mail_that_rules_have_sent_here_goes_on_as_from_the_channel() {
    let mail = Mail::new("a@origin.example").to("fred@site.example").text(TWO);
    let report =
        bench("in-type=text\ndelete=1\n\nin-channel=tcp_*\nin-type=*\ndelete=1\n\n").mail(mail).run();
    report.assert_clean();
    assert!(!report.submissions[0].as_original);
    let literal = Mail::new("a@origin.example").to("fred@[IPv6:::1]").text(TWO);
    let literal = bench("in-type=text\ndelete=1\n\n").mail(literal).run();
    assert!(!literal.submissions[0].as_original, "an address in brackets is no way");
    let text = String::from_utf8_lossy(&report.submissions[0].content).into_owned();
    assert!(!text.contains("hello") && text.contains("octet-stream"), "{text}");
}

#[test]
fn a_hub_that_is_root_has_to_name_an_account_for_programs_alone() {
    let with = |conversions: &str| {
        Bench::<Conversion>::new().fact("conversions", conversions).mail(mail(TWO)).run().created
    };
    assert_eq!(with("in-type=*\ndelete=1\n\n"), sluice_sdk::testing::Ended::Well);
    if user() == "root" {
        let refused = with("in-type=*\ncommand=true\n\n");
        assert!(
            matches!(refused, sluice_sdk::testing::Ended::Refused(ref text) if text.contains("USER")),
            "{refused:?}"
        );
    }
}

#[test]
fn what_is_uuencoded_is_passed_as_it_is() {
    let file = "begin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\n";
    // Within a text it is text.
    let text = format!("Subject: x\r\n\r\nsee:\r\n\r\n{file}");
    let rule =
        "in-type=*\ncommand=grep -c '^begin 644 cat.txt$' 'INPUT_FILE'; cp 'INPUT_FILE' 'OUTPUT_FILE'\n\n";
    let report = bench(rule).mail(mail(&text)).run();
    assert_eq!(only(&report), text);
    assert!(report.log.iter().any(|line| line.text.ends_with("says: 1")), "{:?}", report.log);
    // As the encoding of a part it is one that nobody knows.
    let part = format!(
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n{file}--==b\r\n\
         Content-Type: application/octet-stream"
    );
    let whole = with("Content-Type: application/octet-stream", &part);
    let upper = "in-type=*\ncommand=tr a-z A-Z < 'INPUT_FILE' > 'OUTPUT_FILE'\n\n";
    let report = bench(upper).mail(mail(&whole)).run();
    let made = only(&report);
    assert!(made.contains(file) && made.contains("HELLO WORLD"), "{made}");
    assert!(report.log.iter().any(|line| line.text.contains("`x-uuencode`")), "{:?}", report.log);
    let report = bench(upper).option("unreadable", "wait").mail(mail(&whole)).run();
    assert!(report.story().contains("deferred 4.6.0"), "{}", report.story());
}

#[test]
fn programs_of_a_hub_that_is_root_run_as_the_account_that_is_named() {
    if user() != "root" {
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    // Others must come through, as they do in /tmp.
    fs::set_permissions(place.path(), Permissions::from_mode(0o711)).expect("its mode");
    let rule = "in-type=text\ncommand=id -un; id -G; pwd; cat /etc/shadow; stat -c '%U %a' . 'INPUT_FILE' | paste -s -d, ; tr a-z A-Z < 'INPUT_FILE' > 'OUTPUT_FILE'\n\n";
    let report = bench(rule)
        .option("user", "nobody")
        .option("work_dir", place.path().to_str().expect("a path"))
        .mail(mail(TWO))
        .run();
    assert!(only(&report).contains("HELLO WORLD"));
    let says = report.log.iter().find_map(|line| line.text.split_once(" says: ")).expect("what it says").1;
    assert!(says.starts_with("nobody; ") && says.contains("/work; "), "{says}");
    let words: Vec<&str> = says.split("; ").collect();
    assert!(!words[1].split(' ').any(|group| group == "0"), "no group of root's is left: {says}");
    assert!(says.contains("/etc/shadow: Permission denied"), "{says}");
    assert!(says.contains("nobody 700,nobody 600"), "{says}");
    assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 0, "what belongs to others goes, too");
}

#[test]
fn a_folder_of_a_run_that_cannot_be_removed_is_told_of() {
    let place = tempfile::tempdir().expect("a folder");
    let work = place.path().join("work");
    fs::create_dir(&work).expect("a folder");
    let gone = place.path().join("gone");
    // The program takes away the folder in which its own one is.
    let rule = format!(
        "in-type=text\ncommand=tr a-z A-Z < 'INPUT_FILE' > 'OUTPUT_FILE'; mv {} {}; mkdir -m 0 {}\n\n",
        work.display(),
        gone.display(),
        work.display()
    );
    let report = bench(&rule).option("work_dir", work.to_str().expect("a path")).mail(mail(TWO)).run();
    let told = report.log.iter().any(|line| {
        line.text.starts_with("the folder of a run, ") && line.text.contains("cannot be removed")
    });
    assert!(told, "{:?}", report.log);
}
