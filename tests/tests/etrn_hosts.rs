//! `ETRN_HOSTS`: servers that are asked when the service starts (rows 3.8 to 3.12 of the list of features).
#![allow(clippy::unwrap_used)]

use std::fs;

use sluice_testkit::{Manner, Sink, Site, wait_for, watch};
use sluice_tests::{SOON, WHILE};

const CONFIGURATION: &str = "\
site7.example $U@site7.example
shop.example $U@site7.example
. $U%$H$D@TCP-DAEMON

l
site7.example

tcp_local smtp nomx disableetrn
TCP-DAEMON
";

/// A site that starts with these servers to ask.
fn started(name: &str, options: &str) -> Site {
    let mut site = Site::new(name);
    site.write("sluice.cnf", CONFIGURATION);
    site.write("option.dat", &format!("SPOOL_DIR=../spool\n{options}\n"));
    site.start();
    site
}

fn asked(server: &Sink) -> Vec<String> {
    server.commands().into_iter().filter_map(|line| line.strip_prefix("ETRN ").map(str::to_owned)).collect()
}

fn wait_for_asked(server: &Sink, names: &[&str]) {
    wait_for("the ETRNs", SOON, || asked(server).len() >= names.len());
    assert_eq!(asked(server), names);
}

#[test]
fn row_3_8_and_3_11_servers_are_asked_when_the_service_starts() {
    let (one, two) = (Sink::start(), Sink::start());
    let text =
        format!("ETRN_HOSTS=\"127.0.0.1:{}:c1.example,@c2.example 127.0.0.1:{}:#q\"", one.port(), two.port());
    let site = started("hosts", &text);
    wait_for_asked(&one, &["c1.example", "@c2.example"]);
    wait_for_asked(&two, &["#q"]);
    wait_for("the log", SOON, || site.log().matches("ETRN_HOSTS: asked").count() == 2);
    assert_eq!((one.connections(), two.connections()), (1, 1));
    // Once, and not at a reload.
    assert_eq!(site.command(&["reload"]).code, 0);
    watch("nobody is asked again", WHILE, || one.connections() == 1);
}

#[test]
fn row_3_9_tabs_blanks_and_no_clients() {
    let (one, two) = (Sink::start(), Sink::start());
    let text = format!("ETRN_HOSTS=\" \t127.0.0.1:{}:c1.example \t  127.0.0.1:{} \"", one.port(), two.port());
    let _site = started("hosts-blanks", &text);
    wait_for_asked(&one, &["c1.example"]);
    wait_for_asked(&two, &["site7.example", "shop.example"]);
}

#[test]
fn row_3_10_one_client_to_two_servers() {
    let (one, two) = (Sink::start(), Sink::start());
    let text = format!("ETRN_HOSTS=127.0.0.1:{}:c.example 127.0.0.1:{}:c.example", one.port(), two.port());
    let _site = started("hosts-two", &text);
    wait_for_asked(&one, &["c.example"]);
    wait_for_asked(&two, &["c.example"]);
}

#[test]
fn row_3_12_a_server_alone_is_asked_for_every_name_of_ours() {
    let (one, two) = (Sink::start(), Sink::start());
    let text = format!("ETRN_HOSTS=127.0.0.1:{} 127.0.0.1:{}", one.port(), two.port());
    let _site = started("hosts-own", &text);
    for server in [&one, &two] {
        wait_for_asked(server, &["site7.example", "shop.example"]);
    }
}

#[test]
fn row_3_14_a_server_without_etrn_is_named_and_the_others_are_asked() {
    let (without, other) = (Sink::start(), Sink::start());
    without.behave(Manner { keywords: vec!["SIZE".to_owned()], ..Manner::default() });
    let dead = sluice_testkit::free_port();
    let text = format!(
        "ETRN_HOSTS=127.0.0.1:{dead}:c.example 127.0.0.1:{}:c.example 127.0.0.1:{}:c.example",
        without.port(),
        other.port()
    );
    let site = started("hosts-without", &text);
    wait_for_asked(&other, &["c.example"]);
    wait_for("the log", SOON, || site.log().matches("ETRN_HOSTS: asked in vain").count() == 2);
    assert!(site.log().contains("does not offer ETRN") && site.log().contains("no connection to"));
    assert!(asked(&without).is_empty());
}

#[test]
fn row_3_8_a_file_of_the_system() {
    let server = Sink::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sendmail");
    fs::write(&file, format!("MODE=-bd\nETRN_HOSTS=\"127.0.0.1:{}:c.example\"\n", server.port())).unwrap();
    let _site = started("hosts-file", &format!("ETRN_HOSTS_FILE={}", file.display()));
    wait_for_asked(&server, &["c.example"]);
}

#[test]
fn a_malformed_group_is_told_with_its_column() {
    let site = Site::new("hosts-bad");
    site.write("sluice.cnf", CONFIGURATION);
    site.write("option.dat", "SPOOL_DIR=../spool\nETRN_HOSTS=\"s1:c.example s2:a.b,,c.d\"\n");
    let check = site.command(&["check"]);
    assert_eq!(check.code, 78);
    let told = format!("{}{}", check.out, check.err);
    assert!(told.contains("option.dat:2:33: error[bad-etrn-hosts]: a name is missing"), "{told}");
}
