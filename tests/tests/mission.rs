//! Rows of the list of features (`tests/mission.tsv`) that no other story tells: what ETRN does for those who ask, and how.
#![allow(clippy::unwrap_used)]

use sluice_testkit::{
    Batch, Manner, NameServer, Record, Sink, Site, Talk, built, free_port, maildir, wait_for, wait_until,
};
use sluice_tests::{Destination, SOON, configuration, hub};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

#[test]
fn row_1_5_a_configuration_without_keywords_answers() {
    let sink = Sink::start();
    let mut hub = Site::new("r15");
    hub.write(
        "sluice.cnf",
        &configuration("", &[Destination::held("tcp_site", "site7.example", sink.port())]),
    );
    hub.start();
    Batch::new(hub.address(), "fred@site7.example", 2).send_all();
    let mut client = hub.talk();
    assert!(client.want("EHLO client.example", 250).offers("ETRN"));
    client.want("ETRN site7.example", 250);
    client.want("ETRN unknown.invalid", 459);
    sink.wait(2, SOON);
}

#[test]
fn row_1_10_the_program_explains_etrn() {
    let output = Command::new(built("sluice")).args(["help", "etrn"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    // The protocol, its forms and each of its answers; who may ask; how others are asked; the risk.
    let told = "RFC 1985 `ETRN example.com` `ETRN @example.com` TURN allowetrn silentetrn domainetrn disableetrn blocketrn sendetrn \
                ALLOW_ETRNS_PER_SESSION ETRN_PER_CLIENT `sites.cnf` `none` `static` `dynamic` `turned` ATRN `SCHEDULE` `WINDOW` Activators";
    let codes =
        [250, 251, 252, 253, 450, 451, 453, 458, 459, 501, 502, 503, 530].map(|code| format!("| {code} |"));
    let words = told.split_whitespace().map(str::to_owned).chain(codes);
    for word in words {
        assert!(text.contains(&word), "nothing about {word}:\n{text}");
    }
    assert!(!text.contains("]("), "a link that no terminal can follow:\n{text}");
}

#[test]
fn row_2_2_the_reply_and_quit_do_not_wait_for_the_mail() {
    let sink = Sink::start();
    // The site takes its time: greeting, EHLO, MAIL, RCPT and DATA come before the first message is through.
    sink.behave(Manner { pause: Duration::from_millis(700), ..Manner::default() });
    let mut hub = hub("r22", &[Destination::held("tcp_site", "site7.example", sink.port())]);
    hub.start();
    Batch::new(hub.address(), "fred@site7.example", 1).send_all();
    let mut client = hub.talk();
    client.want("ETRN site7.example", 253);
    assert_eq!(sink.count(), 0, "the reply waited for the delivery");
    client.want("QUIT", 221);
    assert_eq!(sink.count(), 0, "QUIT waited for the delivery");
    assert!(client.read().is_err(), "the session is over");
    // Nothing comes down the session that asked; the hub connects by itself.
    sink.wait(1, SOON);
    assert_eq!(sink.connections(), 1);
}

/// Makes of the site a hub called `us`, which takes mail for itself into mailboxes, holds mail for `them`, and asks them for its
/// own when it calls.
fn partner(site: &Site, us: &str, them: &Site, name: &str) {
    let port = them.address().port();
    site.write("l_option", "MAILDIR_ROOT=mail\n");
    site.write(
        "sluice.cnf",
        &format!(
            "{us} $U@{us}\n{name} $U%{name}@TCP-PARTNER\n\nl\n{us}\n\ntcp_local smtp nomx allowetrn\nTCP-DAEMON\n\n\
             tcp_partner smtp nomx daemon [127.0.0.1] port {port} periodic sendetrn {us}\nTCP-PARTNER\n"
        ),
    );
}

#[test]
fn row_2_3_mail_goes_both_ways_in_one_call() {
    let (mut east, mut west) = (Site::new("r23-east"), Site::new("r23-west"));
    partner(&east, "east.example", &west, "west.example");
    partner(&west, "west.example", &east, "east.example");
    east.start();
    west.start();
    Batch::new(east.address(), "anna@west.example", 3).send_all();
    Batch::new(west.address(), "fred@east.example", 4).send_all();
    assert_eq!((east.waiting(Some("tcp_partner")), west.waiting(Some("tcp_partner"))), (3, 4));

    // One call, from the east: its mail goes, and what waits for it comes.
    east.json(&["trigger", "#tcp_partner"]);
    let inbox = |site: &Site, user: &str| maildir(&site.configuration().join("mail").join(user)).len();
    wait_for("mail on both sides", SOON, || inbox(&west, "anna") == 3 && inbox(&east, "fred") == 4);
    east.wait_for_waiting(None, 0, SOON);
    west.wait_for_waiting(None, 0, SOON);
}

#[test]
fn row_2_8_the_outside_hears_no_channel_and_the_inside_does() {
    let (sink, inside) = (Sink::start(), free_port());
    let mut hub = Site::new("r28");
    let text = configuration("silentetrn", &[Destination::held("tcp_site", "site7.example", sink.port())]);
    hub.write("sluice.cnf", &format!("{text}\ntcp_inside smtp nomx allowetrn\nTCP-INSIDE\n"));
    let services = std::fs::read_to_string(hub.configuration().join("dispatcher.cnf")).unwrap();
    hub.write(
        "dispatcher.cnf",
        &format!(
            "{services}\n[SERVICE=INSIDE]\nPORT={inside}\nINTERFACE_ADDRESS=127.0.0.1\nPARAMETER=CHANNEL=tcp_inside\n"
        ),
    );
    hub.start();
    let mut outer = hub.talk();
    let mut inner = Talk::to(SocketAddr::from((Ipv4Addr::LOCALHOST, inside)));
    for form in ["site7.example", "@site7.example"] {
        let silent = outer.want(&format!("ETRN {form}"), 250);
        assert!(!silent.text().contains("tcp_site"), "the outside is told: {silent}");
        inner.want(&format!("ETRN {form}"), 251);
    }
    Batch::new(hub.address(), "fred@site7.example", 1).send_all();
    let silent = outer.want("ETRN #tcp_site", 250);
    assert!(!silent.text().contains("tcp_site"), "the outside is told: {silent}");
    sink.wait(1, SOON);
    hub.wait_for_waiting(None, 0, SOON);
    Batch::new(hub.address(), "fred@site7.example", 1).send_all();
    let told = inner.want("ETRN #tcp_site", 253);
    assert!(told.text().contains("tcp_site"), "the inside is not told: {told}");
    sink.wait(2, SOON);
}

#[test]
fn row_2_9_many_requests_of_one_site_do_not_delay_another() {
    let (greedy, modest) = (Sink::start(), Sink::start());
    // Every reply takes a while, so the greedy site's mail takes long; its requests come much faster.
    greedy.behave(Manner { pause: Duration::from_millis(300), ..Manner::default() });
    let mut hub = hub(
        "r29",
        &[
            Destination::held("tcp_greedy", "greedy.example", greedy.port()),
            Destination::held("tcp_modest", "modest.example", modest.port()),
        ],
    );
    hub.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=1000\n");
    hub.start();
    Batch { sessions: 4, ..Batch::new(hub.address(), "a@greedy.example", 200) }.send_all();
    Batch::new(hub.address(), "b@modest.example", 5).send_all();
    let mut asking = hub.talk();
    asking.raw("ETRN greedy.example\r\n".repeat(1000).as_bytes()).unwrap();
    for _ in 0..10 {
        asking.read().unwrap();
    }
    hub.talk().want("ETRN modest.example", 253);
    modest.wait(5, SOON);
    assert!(greedy.count() < 200, "the other site had to wait until all was through");
    // Each request has its own answer: accepted, or asked too often.
    for _ in 10..1000 {
        let reply = asking.read().unwrap();
        assert!((250..=253).contains(&reply.code) || reply.code == 458, "{reply}");
    }
    greedy.behave(Manner::default());
}

#[test]
fn row_5_13_without_a_login_mail_goes_to_the_mail_exchanger_whoever_asks() {
    const ZONE: &[(&str, Record)] = &[
        ("site7.example", Record::Exchange("mail.site7.example")),
        ("mail.site7.example", Record::Address([127, 0, 0, 9])),
    ];
    let names = NameServer::start(ZONE);
    let asks_from = Sink::start();
    // The exchanger has the same port as a server at the address that asks, so only the name service can tell them apart.
    let Some(exchanger) = listener([127, 0, 0, 9], asks_from.port()) else {
        panic!("127.0.0.9 cannot be bound, although all of 127/8 is this machine");
    };
    let mut hub = Site::new("r513");
    hub.write("sites.cnf", "[SITE=site7]\nDOMAINS=site7.example\n");
    hub.write(
        "sluice.cnf",
        &format!(
            "hub.example $U@hub.example\nsite7.example $U%$D@TCP-SITE\n\nl\nhub.example\n\ntcp_local smtp nomx\nTCP-DAEMON\n\n\
             tcp_site smtp mx periodic port {} nameservers 127.0.0.1\nTCP-SITE\n",
            asks_from.port()
        ),
    );
    hub.write("tcp_site_option", &format!("NAMESERVER_PORT={}\n", names.port()));
    hub.start();
    Batch::new(hub.address(), "fred@site7.example", 1).send_all();
    hub.talk().want("ETRN site7.example", 250);
    let called = wait_until(SOON, || exchanger.accept().ok());
    assert!(called.is_some(), "nobody called the mail exchanger\n{}", hub.report());
    assert_eq!(asks_from.connections(), 0, "the address that asked got a connection");
}

/// A listener that can be asked without waiting.
fn listener(address: [u8; 4], port: u16) -> Option<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::from(address), port)).ok()?;
    listener.set_nonblocking(true).ok()?;
    Some(listener)
}
