//! Header option files, fields about the envelope, and long lists.
#![allow(clippy::unwrap_used)]
use std::path::PathBuf;

use sluice_config::{MemoryFiles, Place};

use super::*;

/// The header option file of a channel, as the configuration reads it.
fn options(text: &str) -> HeaderOptions {
    let files = MemoryFiles::new()
        .with("sluice.cnf", "a.example $U@a.example@TCP\n\nl\nhub.example\n\ntcp_a smtp headertrim\nTCP\n")
        .with("tcp_a_headers.opt", text);
    let (config, sources, diagnostics) =
        sluice_config::read(&files, &Place::File(PathBuf::from("sluice.cnf")));
    let said: Vec<String> = diagnostics.iter().map(|one| one.render(&sources)).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
    config.unwrap().channels.by_name("tcp_a").unwrap().header_options.clone().unwrap()
}

fn finished(finish: &Finish<'_>, header: &str) -> String {
    let out = finish.apply(header.replace('\n', "\r\n").as_bytes());
    String::from_utf8(out).unwrap().replace("\r\n", "\n")
}

fn trim(file: &str, header: &str) -> String {
    let options = options(file);
    finished(&Finish { options: Some(&options), ..Finish::default() }, header)
}

const HEADER: &str = "Received: from a\n by b\nReceived: from c\nFrom: x@y\nSubject: a long subject of many words\nX-Odd: 1\n\
    x-odd: 2\nnot a field\nTo: a@b\n";

#[test]
fn fields_that_nothing_is_said_about_stay() {
    assert!(Finish::default().is_idle());
    assert_eq!(finished(&Finish::default(), HEADER), HEADER);
    assert_eq!(trim("X-Other: MAXIMUM=-1\n", HEADER), HEADER);
    assert_eq!(
        trim("! nothing\nSubject: GROUP=1, MAXIMUM=5, MAXLINES=5, MAXCHARS=100, LINELENGTH=70\n", HEADER),
        HEADER
    );
}

#[test]
fn lines_are_taken_out_and_limited() {
    assert_eq!(
        trim("X-Odd: MAXIMUM=-1\nReceived: MAXIMUM=1\n", HEADER),
        "Received: from a\n by b\nFrom: x@y\nSubject: a long subject of many words\nnot a field\nTo: a@b\n"
    );
    assert_eq!(
        trim("received: MAXLINES=1\nX-Odd: MAXLINES=-1", HEADER),
        "Received: from a\nFrom: x@y\nSubject: a long subject of many words\nnot a field\nTo: a@b\n"
    );
    assert_eq!(trim("Received: MAXLINES=3\n", HEADER), HEADER);
    assert_eq!(
        trim("Subject: MAXCHARS=17\n", "Subject: a long subject of many words\n"),
        "Subject: a long s\n"
    );
    assert_eq!(trim("Subject: MAXCHARS=14\n", "Subject: a\n long subject\n"), "Subject: a\n lon\n");
    assert_eq!(trim("Subject: MAXCHARS=11\n", "Subject: a\u{e4}\u{e4}\n"), "Subject: a\n");
    assert_eq!(trim("Subject: MAXCHARS=2\n", "Subject: abc\n"), "Subject:\n");
}

#[test]
fn lines_are_added_and_filled_in() {
    assert_eq!(
        trim(
            "X-Odd: ADD=\"3\"\nFrom: FILL=\"nobody\"\nOrganization: FILL=\"Ex, \\\"Inc\\\"\"\nX-New: ADD=yes",
            HEADER
        ),
        HEADER.replace("x-odd: 2\n", "x-odd: 2\nX-Odd: 3\n") + "Organization: Ex, \"Inc\"\nX-New: yes\n"
    );
    // What was taken out may be filled in.
    assert_eq!(trim("From: MAXIMUM=-1, FILL=hub@b", "From: x@y\nTo: a@b\n"), "To: a@b\nFrom: hub@b\n");
}

#[test]
fn lines_are_renamed_moved_and_folded() {
    assert_eq!(
        trim("X-Odd: RELABEL=\"X-Even\"", "X-Odd: 1\nFrom: x@y\nX-ODD : 2\n"),
        "X-Even: 1\nFrom: x@y\nX-Even: 2\n"
    );
    assert_eq!(
        trim(
            "To: PRECEDENCE=-1\nReceived:\n  PRECEDENCE=5",
            "Received: r\nFrom: x@y\nReceived: s\nTo: a@b\n"
        ),
        "To: a@b\nFrom: x@y\nReceived: r\nReceived: s\n"
    );
    assert_eq!(
        trim("Subject: LINELENGTH=20", "Subject: a long subject of many words\n"),
        "Subject: a long\n subject of many\n words\n"
    );
    assert_eq!(trim("Subject: LINELENGTH=10", "Subject: averylongword\n"), "Subject: averylongword\n");
}

#[test]
fn defaults_and_other_stand_for_lines_that_are_not_named() {
    let header = "Received: r\nFrom: x@y\nX-A: 1\nX-B: 2\nSubject: s\n";
    assert_eq!(trim("Defaults: MAXIMUM=-1\nFrom: MAXIMUM=0\n", header), "From: x@y\n");
    assert_eq!(
        trim("Other: MAXIMUM=-1\nX-B: MAXLINES=2\n", header),
        "Received: r\nFrom: x@y\nX-B: 2\nSubject: s\n"
    );
    assert_eq!(trim("Other: MAXLINES=1\nDefaults: MAXIMUM=-1\n", header), "X-A: 1\nX-B: 2\n");
}

#[test]
fn the_envelope_is_told_in_fields() {
    let header = "Received: r\nReturn-path: <old@x>\nX-ENVELOPE-TO: old@x\nTo: a@b\n";
    let sender = Finish { return_path: Some("s@x"), ..Finish::default() };
    assert_eq!(finished(&sender, header), "Return-Path: <s@x>\nReceived: r\nX-ENVELOPE-TO: old@x\nTo: a@b\n");
    let sender = Finish { return_path: Some(""), ..Finish::default() };
    assert!(finished(&sender, header).starts_with("Return-Path: <>\n"));
    let removed = Finish { envelope_to: EnvelopeTo::Remove, ..Finish::default() };
    assert_eq!(finished(&removed, header), "Received: r\nReturn-path: <old@x>\nTo: a@b\n");
    let recipients: Vec<String> = (1..5).map(|number| format!("recipient{number}@host.example")).collect();
    let written = Finish { envelope_to: EnvelopeTo::Write(&recipients), ..Finish::default() };
    assert_eq!(
        finished(&written, header),
        "Received: r\nReturn-path: <old@x>\nTo: a@b\nX-Envelope-To: recipient1@host.example, recipient2@host.example,\n \
         recipient3@host.example, recipient4@host.example\n"
    );
}

#[test]
fn a_header_without_recipients_gets_what_the_policy_says() {
    for (header, has) in
        [("To: a\r\n", true), ("resent-bcc:\r\n", true), ("From: a\r\nX-To: b\r\n", false), ("", false)]
    {
        assert_eq!(has_recipients(header.as_bytes()), has, "{header}");
    }
    let recipients = ["a@b".to_owned(), "c@d".to_owned()];
    let added = |policy| match missing_recipients(policy, &recipients) {
        MissingRecipients::Add(text) => String::from_utf8(text).unwrap(),
        other => format!("{other:?}"),
    };
    assert_eq!([0, 1, 6, 7].map(added), ["Pass", "Pass", "Refuse", "Pass"]);
    assert_eq!(added(2), "To: a@b, c@d\r\n");
    assert_eq!(added(3), "Bcc: a@b, c@d\r\n");
    assert_eq!(added(4), "To: Recipients not specified: ;\r\n");
    assert_eq!(added(5), "Bcc: \r\n");
}

#[test]
fn the_address_of_a_login_becomes_the_sender() {
    let with = |header: &str, bits| {
        let changed = authenticated_sender(header.as_bytes(), bits, "fred@hub.example");
        changed.map(|octets| String::from_utf8(octets).unwrap())
    };
    let (plain, sent) = ("From: a@b\r\n", "From: a@b\r\nSENDER: old\r\n <o@b>\r\nTo: c@d\r\n");
    let resent = "Sender: o@b\r\nResent-From: a@b\r\n";
    assert_eq!([plain, sent, resent].map(|header| with(header, 0)), [None, None, None]);
    assert_eq!(with(plain, 1).unwrap(), "From: a@b\r\nSender: fred@hub.example\r\n");
    assert_eq!(with(sent, 1), None);
    assert_eq!(with(sent, 2).unwrap(), "From: a@b\r\nTo: c@d\r\nSender: fred@hub.example\r\n");
    assert_eq!(with(resent, 1).unwrap(), format!("{resent}Resent-Sender: fred@hub.example\r\n"));
    assert_eq!(with(resent, 3).unwrap(), format!("{resent}Resent-Sender: fred@hub.example\r\n"));
}

#[test]
fn long_lists_become_several_fields() {
    let addresses = |most| Finish { max_addresses: Some(most), ..Finish::default() };
    let octets = |most| Finish { max_octets: Some(most), ..Finish::default() };
    let header =
        "From: x@y\nTo: a@b, Carl\n <c@d>, g: e@f, h@i;, j@k\nSubject: a, b, c, d\nCc: \"open, b, c, d\n";
    assert_eq!(
        finished(&addresses(2), header),
        "From: x@y\nTo: a@b, Carl\n <c@d>\nTo: g: e@f, h@i;, j@k\nSubject: a, b, c, d\nCc: \"open, b, c, d\n"
    );
    assert_eq!(finished(&addresses(4), header), header);
    assert_eq!(finished(&octets(20), "TO:aaa@b, ccc@d,eee@f\n"), "TO: aaa@b, ccc@d\nTO: eee@f\n");
    let header = b"To: \"\xff\" <a@b>, \xfe <c@d>\r\n";
    assert_eq!(addresses(1).apply(header), b"To: \"\xff\" <a@b>\r\nTo: \xfe <c@d>\r\n");
    assert_eq!(finished(&octets(5), "To: aaa@b, ccc@d\n"), "To: aaa@b\nTo: ccc@d\n");
}
