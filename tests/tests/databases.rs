//! Compiled databases while the hub has them mapped: what happens to mail when somebody harms the file, and after that.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;

use sluice_testkit::{Sink, message};
use sluice_tests::{Destination, SOON, hub};

#[test]
fn a_database_that_is_cut_short_makes_mail_wait_and_a_reload_takes_a_new_one() {
    let sink = Sink::start();
    let mut hub = hub("database-cut", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.write("alias.txt", "team   ann@next.example\n");
    let file = hub.configuration().join("alias.db");
    assert_eq!(hub.command(&["compile"]).code, 0);
    hub.start();
    let mut client = hub.talk();
    client.deliver("a@origin.example", &["team@hub.example"], &message(1, 200)).expect("an answer");
    assert_eq!(sink.wait(1, SOON)[0].to, ["ann@next.example"]);

    // A reload with another file in its place: the old one stays whole until then.
    hub.write("alias.txt", "team   bob@next.example\n");
    assert_eq!(hub.command(&["compile"]).code, 0);
    client.deliver("a@origin.example", &["team@hub.example"], &message(2, 200)).expect("an answer");
    assert_eq!(sink.wait(2, SOON)[1].to, ["ann@next.example"]);
    assert_eq!(hub.command(&["reload"]).code, 0);
    client.deliver("a@origin.example", &["team@hub.example"], &message(3, 200)).expect("an answer");
    assert_eq!(sink.wait(3, SOON)[2].to, ["bob@next.example"]);

    OpenOptions::new().write(true).open(&file).expect("the file").set_len(20).expect("cut short");
    client.want("MAIL FROM:<a@origin.example>", 250);
    // A name that is not in the database either: nobody can tell now.
    for name in ["team", "nobody", "team"] {
        let reply = client.want(&format!("RCPT TO:<{name}@hub.example>"), 451);
        assert!(reply.text().contains("temporarily not available"), "{}", reply.text());
    }
    // What does not ask for it goes on.
    client.want("RCPT TO:<joe@next.example>", 250);
    client.want("RSET", 250);
    let log = hub.log();
    assert_eq!(log.matches("has become shorter while it was in use").count(), 1, "{log}");
    assert!(log.contains("sluice compile"), "{log}");

    // As it is, it cannot be used; the text is.
    let said = hub.command(&["reload"]);
    assert_eq!(said.code, 0, "{said:?}");
    client.deliver("a@origin.example", &["team@hub.example"], &message(4, 200)).expect("an answer");
    assert_eq!(sink.wait(4, SOON)[3].to, ["bob@next.example"]);
    assert_eq!(hub.command(&["compile"]).code, 0);
    assert_eq!(hub.command(&["reload"]).code, 0);
    client.deliver("a@origin.example", &["team@hub.example"], &message(5, 200)).expect("an answer");
    assert_eq!(sink.wait(5, SOON)[4].to, ["bob@next.example"]);
    hub.stop();
}

#[test]
fn etrn_for_a_domain_that_a_lost_database_may_know_is_to_come_again() {
    let sink = Sink::start();
    let mut hub = hub("database-etrn", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.write("domain.txt", "far.example   $U%far.example@TCP_NEXT\n");
    let file = hub.configuration().join("domain.db");
    assert_eq!(hub.command(&["compile"]).code, 0);
    hub.start();
    let mut client = hub.talk();
    client.want("ETRN far.example", 251);
    client.want("ETRN elsewhere.test", 459);
    OpenOptions::new().write(true).open(&file).expect("the file").set_len(20).expect("cut short");
    for node in ["far.example", "@elsewhere.test", "elsewhere.test"] {
        client.want(&format!("ETRN {node}"), 458);
    }
    let said = hub.command(&["trigger", "far.example"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.err.contains("a database has come to harm"), "{said:?}");
    hub.stop();
}

#[test]
fn a_database_for_headers_and_access_that_is_harmed_lets_nothing_through() {
    let sink = Sink::start();
    let mut hub = hub("database-reverse", &[Destination::direct("tcp_next", "next.example", sink.port())]);
    hub.write("reverse.txt", "a@inside.example   a@public.example\n");
    assert_eq!(hub.command(&["compile"]).code, 0);
    hub.start();
    let mut client = hub.talk();
    client.deliver("a@inside.example", &["ann@next.example"], &message(1, 200)).expect("an answer");
    assert_eq!(sink.wait(1, SOON)[0].from, "a@public.example");
    let file = hub.configuration().join("reverse.db");
    OpenOptions::new().write(true).open(&file).expect("the file").set_len(20).expect("cut short");
    let answer = client.deliver("a@inside.example", &["ann@next.example"], &message(2, 200));
    let reply = answer.expect("an answer");
    assert_eq!(reply.code, 451, "{}", reply.text());
    assert_eq!(sink.wait(1, SOON).len(), 1, "what the world is not to see has not gone out");
    hub.stop();
}

#[test]
fn a_database_that_others_may_write_is_used_from_memory_and_check_says_so() {
    let hub = hub("database-mode", &[]);
    hub.write("general.txt", "key   value\n");
    assert_eq!(hub.command(&["compile"]).code, 0);
    let file = hub.configuration().join("general.db");
    let mode = || file.metadata().expect("the file").permissions().mode() & 0o777;
    assert_eq!(mode() & 0o022, 0, "{:o}", mode());
    let said = hub.command(&["check"]);
    assert!(!said.out.contains("database-not-mapped"), "{said:?}");
    std::fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("another mode");
    let said = hub.command(&["check"]);
    let text = format!("{}{}", said.out, said.err);
    assert!(text.contains("warning[database-not-mapped]") && text.contains("chmod go-w"), "{text}");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("another mode");
    // Damage behind the beginning is found by `check`, which reads all of it.
    let mut octets = std::fs::read(&file).expect("the file");
    let at = octets.windows(5).position(|five| five == b"value").expect("the value");
    octets[at] ^= 1;
    std::fs::write(&file, octets).expect("written");
    let said = hub.command(&["check"]);
    let text = format!("{}{}", said.out, said.err);
    assert!(text.contains("warning[bad-compiled-database]"), "{text}");
}
