//! Limits that keywords and options set on the clients of a channel, as a client sees them.

use sluice_testkit::{Site, Talk};
use sluice_tests::{Destination, configuration, hub};

/// A hub whose incoming channel has these keywords, and these options in its file. Mail for `site.example` waits.
fn with(name: &str, keywords: &str, options: &str) -> Site {
    let waiting = [Destination::held("tcp_site", "site.example", 1)];
    let mut hub = hub(name, &waiting);
    hub.write("sluice.cnf", &configuration(keywords, &waiting));
    hub.write("tcp_local_option", options);
    hub.start();
    hub
}

fn message(client: &mut Talk, content: &str) -> u16 {
    client.want("MAIL FROM:<a@origin.example>", 250);
    client.want("RCPT TO:<b@site.example>", 250);
    client.want("DATA", 354);
    client.raw(format!("{content}.\r\n").as_bytes()).expect("sent");
    client.read().expect("an answer").code
}

#[test]
fn keywords_limit_recipients_rejects_and_messages() {
    let keywords = "recipientlimit 3 recipientcutoff 4 deferralrejectlimit 2 transactionlimit 2";
    let hub = with("quota-keywords", keywords, "");
    let mut client = hub.talk();
    client.want("MAIL FROM:<a@origin.example>", 250);
    client.want("RCPT TO:<a@site.example>", 250);
    client.want("RCPT TO:<b@site.example>", 250);
    client.want("RCPT TO:<c@site.example>", 250);
    client.want("RCPT TO:<d@site.example>", 452);
    client.want("RCPT TO:<e@site.example>", 452);
    client.want("DATA", 451);
    assert_eq!(message(&mut client, "one\r\n"), 250);
    assert_eq!(message(&mut client, "two\r\n"), 250);
    client.want("MAIL FROM:<a@origin.example>", 450);
    client.want("NOOP", 250);
    client.quit();
    let mut client = hub.talk();
    client.want("MAIL FROM:<a@origin.example>", 250);
    client.want("RCPT TO:<a@nowhere.invalid>", 550);
    client.want("RCPT TO:<b@nowhere.invalid>", 550);
    client.want("RCPT TO:<a@site.example>", 450);
    client.quit();
    assert_eq!(hub.waiting(None), 2);
}

#[test]
fn options_of_the_channel_file_limit_the_same() {
    let options = "ALLOW_RECIPIENTS_PER_TRANSACTION=3\nREJECT_RECIPIENTS_PER_TRANSACTION=4\n\
        ALLOW_REJECTIONS_BEFORE_DEFERRAL=2\nALLOW_TRANSACTIONS_PER_SESSION=1\nHIDE_VERIFY=1\n";
    let hub = with("quota-options", "transactionlimit 5", options);
    let mut client = hub.talk();
    assert_eq!(message(&mut client, "one\r\n"), 250);
    client.want("MAIL FROM:<a@origin.example>", 450);
    client.want("VRFY <b@site.example>", 252);
    client.want("VRFY <b@nowhere.invalid>", 252);
    client.quit();
    let mut client = hub.talk();
    client.want("MAIL FROM:<a@origin.example>", 250);
    for (recipient, code) in [
        ("a@site.example", 250),
        ("a@nowhere.invalid", 550),
        ("b@nowhere.invalid", 550),
        ("b@site.example", 450),
        ("c@site.example", 450),
    ] {
        client.want(&format!("RCPT TO:<{recipient}>"), code);
    }
    client.want("DATA", 451);
    client.quit();
}

#[test]
fn keywords_end_sessions() {
    let hub = with(
        "hang-up",
        "disconnecttransactionlimit 1 disconnectrecipientlimit 3 disconnectrejectlimit 2 disconnectcommandlimit 9",
        "",
    );
    let mut client = hub.talk();
    assert_eq!(message(&mut client, "one\r\n"), 250);
    client.want("NOOP", 250);
    client.want("MAIL FROM:<a@origin.example>", 421);
    assert!(client.read().is_err(), "the connection is closed");
    let mut client = hub.talk();
    client.want("MAIL FROM:<a@origin.example>", 250);
    for local in ["a", "b", "c", "d"] {
        client.want(&format!("RCPT TO:<{local}@site.example>"), 250);
    }
    client.want("RSET", 421);
    let mut client = hub.talk();
    client.want("MAIL FROM:<a@origin.example>", 250);
    client.want("RCPT TO:<a@nowhere.invalid>", 550);
    client.want("RCPT TO:<a@nowhere.invalid>", 550);
    client.want("RCPT TO:<a@nowhere.invalid>", 550);
    client.want("RSET", 421);
    let mut client = hub.talk();
    // EHLO was said already.
    for _ in 0..8 {
        client.want("NOOP", 250);
    }
    client.want("NOOP", 421);
}

#[test]
fn disconnectbadcommandlimit_counts_commands_that_make_no_sense() {
    let hub = with("bad-commands", "disconnectbadcommandlimit 2", "");
    let mut client = hub.talk();
    client.want("FROB", 500);
    client.want("NOOP", 250);
    client.want("FROB", 421);
}

#[test]
fn sizes_are_announced_and_enforced() {
    let hub = with("sizes", "sourceblocklimit 4", "");
    let (mut client, _) = Talk::open(hub.address()).expect("a connection");
    let offer = client.want("EHLO client.example", 250);
    assert!(offer.text().contains("SIZE 4096"), "{offer}");
    client.want("MAIL FROM:<a@origin.example> SIZE=4097", 552);
    assert_eq!(message(&mut client, &"x\r\n".repeat(1300)), 250);
    assert_eq!(message(&mut client, &"x\r\n".repeat(1400)), 552);
    client.quit();
    let mut hub = hub;
    hub.stop();
    hub.write("option.dat", "SPOOL_DIR=../spool\nBLOCK_SIZE=512\nBLOCK_LIMIT=3\nLINE_LIMIT=10\n");
    hub.start();
    let (mut client, _) = Talk::open(hub.address()).expect("a connection");
    let offer = client.want("EHLO client.example", 250);
    assert!(offer.text().contains("SIZE 1536"), "{offer}");
    assert_eq!(message(&mut client, &"x\r\n".repeat(10)), 250);
    assert_eq!(message(&mut client, &"x\r\n".repeat(11)), 552);
    let reply = client.want("VRFY <b@site.example>", 250);
    assert!(reply.text().contains("<b@site.example>"), "{reply}");
    client.want("VRFY b@nowhere.invalid", 550);
    client.quit();
}

#[test]
fn what_keywords_say_of_content_holds() {
    let long = format!("Subject: a\r\n\r\n{}\r\n", "x".repeat(1200));
    let eight_bit = "Subject: a\r\n\r\ngr\u{fc}n\r\n";
    for (name, keywords, long_line, unannounced) in [
        ("content-plain", "", 554, 250),
        ("content-truncate", "truncatesmtplonglines", 250, 250),
        ("content-wrap", "wrapsmtplonglines eightbit", 250, 250),
        ("content-reject", "rejectsmtplonglines eightstrict noreceivedfor", 554, 554),
    ] {
        let hub = with(name, keywords, "");
        let mut client = hub.talk();
        assert_eq!(message(&mut client, &long), long_line, "{keywords}");
        assert_eq!(message(&mut client, eight_bit), unannounced, "{keywords}");
        client.quit();
    }
}

#[test]
fn chunking_is_offered_unless_nochunkingserver_says_no() {
    for (name, keywords, code) in [("chunking", "", 250), ("no-chunking", "nochunkingserver", 502)] {
        let hub = with(name, keywords, "");
        let (mut client, _) = Talk::open(hub.address()).expect("a connection");
        let offer = client.want("EHLO client.example", 250);
        assert_eq!(offer.offers("CHUNKING"), code == 250, "{offer}");
        client.want("MAIL FROM:<a@origin.example>", 250);
        client.want("RCPT TO:<b@site.example>", 250);
        assert_eq!(client.ask("BDAT 0 LAST").expect("an answer").code, code);
        assert_eq!(hub.waiting(None), u64::from(code == 250));
        client.quit();
    }
}

#[test]
fn slave_debug_logs_commands_and_replies_of_its_channel() {
    for (name, keywords, told) in
        [("debug", "slave_debug", true), ("no-debug", "slave_debug noslave_debug", false)]
    {
        let hub = with(name, keywords, "");
        let mut client = hub.talk();
        client.want("NOOP something to find", 250);
        client.ask("AUTH PLAIN c2VjcmV0").expect("an answer");
        client.quit();
        let log = hub.log();
        assert_eq!(log.contains("NOOP something to find"), told, "{log}");
        assert_eq!(log.contains("221 2.0.0"), told, "{log}");
        assert!(!log.contains("c2VjcmV0"), "{log}");
    }
}

#[test]
fn submit_and_line_ends_act_by_keyword() {
    let hub = with("submit", "smtp_crlf submit noreceivedfrom", "");
    let mut client = hub.talk();
    assert_eq!(message(&mut client, "Subject: a\r\n\r\n"), 250);
    client.want("NOOP\nNOOP", 500);
    client.quit();
    let listed = hub.json(&["queue", "list"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
}
