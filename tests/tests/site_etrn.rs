//! ETRN for sites (`sites.cnf`): who may ask by what name, where the mail then goes, and what is told.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use sluice_sasl::Mechanism;
use sluice_testkit::{NameServer, Record, Sink, Site, Talk, watch};
use sluice_tests::{Destination, SOON, WHILE, arrived, configuration, log_in, password, send};

/// A hub that holds mail for `site7.example` and below, and for `ship.example`; `incoming` are keywords of its listener's
/// channel. Fred and Ginger can log in.
fn hub(name: &str, incoming: &str, port: u16, sites: &str) -> Site {
    let hub = Site::new(name);
    let held = [
        Destination::held("tcp_sites", "site7.example", port),
        Destination::held("tcp_ship", "ship.example", port),
    ];
    hub.write("sluice.cnf", &configuration(&format!("maysaslserver {incoming}"), &held));
    hub.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\n");
    hub.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=100\n");
    hub.write("sites.cnf", sites);
    for user in ["fred", "ginger"] {
        assert_eq!(password(&hub, &["set", user, "--cram-md5"], "pencil").code, 0);
    }
    hub
}

fn logged_in(hub: &Site, name: &str) -> Talk {
    let mut talk = hub.talk();
    assert_eq!(log_in(&mut talk, Mechanism::CramMd5, name, "pencil").code, 235);
    talk
}

#[test]
fn row_5_16_a_protected_queue_moves_for_its_login_only() {
    let sink = Sink::start();
    let mut hub = hub(
        "protected",
        "allowetrn",
        sink.port(),
        "[SITE=site7]\nDOMAINS=@site7.example\nQUEUE_NAME=q7\nLOGIN=fred\n",
    );
    hub.start();
    send(&hub, "a@site7.example", 0, 3);
    send(&hub, "b@pc.site7.example", 3, 2);
    send(&hub, "c@ship.example", 5, 1);
    let mut stranger = hub.talk();
    for form in ["site7.example", "@site7.example", "pc.site7.example", "#q7", "site7"] {
        let reply = stranger.ask(&format!("ETRN {form}")).unwrap();
        let code = if form == "site7" { 501 } else { 530 };
        assert_eq!(reply.code, code, "{form}: {reply}");
    }
    // Names that cover the site as well as others leave the site's mail alone.
    stranger.want("ETRN #tcp_sites", 251);
    stranger.want("ETRN #tcp_ship", 253);
    assert_eq!(arrived(&sink, 1), [5]);
    let mut talk = hub.talk();
    assert_eq!(log_in(&mut talk, Mechanism::CramMd5, "fred", "pen").code, 535);
    talk.want("ETRN site7.example", 530);
    let mut other = logged_in(&hub, "ginger");
    other.want("ETRN site7.example", 459);
    other.want("ETRN #q7", 459);
    watch("nothing has moved", WHILE, || sink.count() == 1);
    assert_eq!(hub.waiting(Some("tcp_sites")), 5);

    let mut owner = logged_in(&hub, "fred");
    let reply = owner.want("ETRN site7.example", 253);
    assert!(reply.text().contains("OK, 3 pending messages for node site7.example started"), "{reply}");
    assert_eq!(arrived(&sink, 4), [0, 1, 2, 5]);
    // By the name of the queue the rest, which is the site's too.
    owner.want("ETRN q7", 253);
    assert_eq!(arrived(&sink, 6), [0, 1, 2, 3, 4, 5]);
    // What has arrived there is not yet settled here.
    hub.wait_for_waiting(None, 0, SOON);
    owner.want("ETRN #q7", 251);
    hub.stop();
}

#[test]
fn row_4_6_a_queue_name_is_asked_for_with_and_without_its_sign() {
    let sink = Sink::start();
    let mut hub = hub(
        "queue-name",
        "silentetrn",
        sink.port(),
        "[SITE=branch]\nDOMAINS=site7.example, @lab.site7.example\nQUEUE_NAME=branch-7\n",
    );
    hub.start();
    send(&hub, "a@site7.example", 0, 1);
    send(&hub, "b@x.lab.site7.example", 1, 1);
    send(&hub, "c@other.site7.example", 2, 1);
    let mut talk = hub.talk();
    talk.want("ETRN branch-8", 501);
    talk.want("ETRN #branch-8", 459);
    let reply = talk.want("ETRN #branch-7", 250);
    assert!(!reply.text().contains("branch-7"), "a quiet channel repeats no queue: {reply}");
    assert_eq!(arrived(&sink, 2), [0, 1]);
    send(&hub, "a@site7.example", 3, 1);
    talk.want("ETRN Branch-7", 250);
    assert_eq!(arrived(&sink, 3), [0, 1, 3]);
    watch("what is not the site's waits", WHILE, || sink.count() == 3);
    hub.stop();
}

#[test]
fn row_4_12_mail_goes_to_the_target_and_not_where_the_channel_says() {
    let (channel, target) = (Sink::start(), Sink::start());
    let sites = format!("[SITE=a]\nDOMAINS=site7.example\nTARGET=[127.0.0.1]\nPORT={}\n", target.port());
    let mut hub = hub("target", "silentetrn", channel.port(), &sites);
    hub.start();
    send(&hub, "a@site7.example", 0, 2);
    send(&hub, "b@pc.site7.example", 2, 1);
    let mut talk = hub.talk();
    // The client connects from the site's configured address: it has a claim to know.
    assert!(
        talk.want("ETRN site7.example", 253).text().contains("2 pending"),
        "it is the site's own address"
    );
    assert_eq!(arrived(&target, 2), [0, 1]);
    talk.want("ETRN pc.site7.example", 250);
    assert_eq!(arrived(&channel, 1), [2]);
    hub.stop();
}

#[test]
fn row_5_15_mail_goes_to_the_address_that_a_safe_login_came_from() {
    let (channel, here) = (Sink::start(), Sink::start());
    let sites = format!("[SITE=a]\nDOMAINS=site7.example\nLOGIN=fred\nTIER=dynamic\nPORT={}\n", here.port());
    let mut hub = hub("dynamic", "silentetrn", channel.port(), &sites);
    hub.start();
    send(&hub, "a@site7.example", 0, 4);
    hub.talk().want("ETRN site7.example", 530);
    logged_in(&hub, "fred").want("ETRN site7.example", 253);
    assert_eq!(arrived(&here, 4), [0, 1, 2, 3]);
    assert_eq!(channel.connections(), 0);
    hub.stop();
}

/// The session goes on under TLS, with a server whose certificate is the one given.
fn secured(mut talk: Talk, certificate: &rcgen::Certificate) -> Talk {
    talk.want("STARTTLS", 220);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().unwrap();
    let tls = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut talk = Talk::over(rustls::StreamOwned::new(tls, talk.into_stream()));
    talk.want("EHLO client.example", 250);
    talk
}

#[test]
fn row_5_14_a_clear_password_under_tls_moves_mail_to_the_configured_address() {
    // What the request came from is 127.0.0.1, and somebody listens there at the port of the targets too.
    let (channel, target) = (Sink::start(), Sink::listen_at(Ipv4Addr::new(127, 0, 0, 2), 0));
    let asker = Sink::listen(target.port());
    let port = target.port();
    let sites = format!(
        "[SITE=fixed]\nDOMAINS=site7.example\nLOGIN=fred\nTIER=static\nTARGET=[127.0.0.2]\nPORT={port}\n\
         [SITE=where]\nDOMAINS=pc.site7.example\nLOGIN=fred\n\
         [SITE=moving]\nDOMAINS=ship.example\nLOGIN=fred\nTIER=dynamic\nPORT={port}\n"
    );
    let mut hub = hub("clear", "silentetrn maytlsserver", channel.port(), &sites);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    hub.write("server-pub.pem", &made.cert.pem());
    hub.write("server-priv.pem", &made.signing_key.serialize_pem());
    let key = hub.configuration().join("server-priv.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    hub.start();
    send(&hub, "a@site7.example", 0, 3);
    send(&hub, "b@pc.site7.example", 3, 2);
    send(&hub, "c@ship.example", 5, 2);
    // Without TLS a password is not taken, not even the right one, and nothing moves.
    let mut talk = hub.talk();
    let offers = talk.want("EHLO client.example", 250);
    let auth = offers.lines.iter().find(|line| line.starts_with("AUTH ")).unwrap();
    assert!(!auth.contains("PLAIN") && !auth.contains("LOGIN"), "{offers}");
    for mechanism in [Mechanism::Plain, Mechanism::Login] {
        let reply = log_in(&mut talk, mechanism, "fred", "pencil");
        assert_eq!(reply.code, 538, "{reply}");
    }
    for node in ["site7.example", "pc.site7.example", "ship.example"] {
        talk.want(&format!("ETRN {node}"), 530);
    }
    // Under TLS a wrong one moves nothing either.
    let mut talk = secured(hub.talk(), &made.cert);
    assert_eq!(log_in(&mut talk, Mechanism::Plain, "fred", "pen").code, 535);
    talk.want("ETRN site7.example", 530);
    watch("nothing has moved", WHILE, || channel.count() + target.count() + asker.count() == 0);

    let mut talk = secured(hub.talk(), &made.cert);
    assert_eq!(log_in(&mut talk, Mechanism::Plain, "fred", "pencil").code, 235);
    talk.want("ETRN site7.example", 253);
    assert_eq!(arrived(&target, 3), [0, 1, 2], "to the configured address");
    talk.want("ETRN pc.site7.example", 253);
    assert_eq!(arrived(&channel, 2), [3, 4], "without one, where the channel takes it");
    assert_eq!(asker.connections(), 0, "and not to where the request came from");
    // With the higher tier TLS makes a clear password as good as a challenge.
    talk.want("ETRN ship.example", 253);
    assert_eq!(arrived(&asker, 2), [5, 6]);
    assert_eq!((target.count(), channel.count()), (3, 2));
    hub.stop();
}

#[test]
fn row_5_8_a_site_may_be_told_that_mail_waits_and_not_how_much() {
    let sink = Sink::start();
    let sites = "[SITE=a]\nDOMAINS=site7.example\nLOGIN=fred\nCOUNTS=some\n\
                 [SITE=b]\nDOMAINS=ship.example\nLOGIN=fred\nCOUNTS=no\n";
    let mut hub = hub("counts", "silentetrn", sink.port(), sites);
    hub.start();
    send(&hub, "a@site7.example", 0, 2);
    let mut talk = logged_in(&hub, "fred");
    let reply = talk.want("ETRN site7.example", 252);
    assert_eq!(reply.text(), "2.0.0 OK, pending messages for node site7.example started");
    arrived(&sink, 2);
    hub.wait_for_waiting(Some("tcp_sites"), 0, SOON);
    talk.want("ETRN site7.example", 251);
    talk.want("ETRN ship.example", 250);
    hub.stop();
}

#[test]
fn covers_site_releases_all_for_one_name() {
    let sink = Sink::start();
    let sites = "[SITE=a]\nDOMAINS=site7.example, pc.site7.example, ship.example\nCOVERS=site\nLOGIN=fred\n";
    let mut hub = hub("covers", "silentetrn", sink.port(), sites);
    hub.start();
    send(&hub, "a@ship.example", 0, 2);
    // fetchmail goes no further than the first name for which nothing waits.
    let reply = logged_in(&hub, "fred").want("ETRN site7.example", 253);
    assert!(reply.text().contains("2 pending"), "{reply}");
    assert_eq!(arrived(&sink, 2), [0, 1]);
    hub.stop();
}

#[test]
fn an_at_sign_before_a_public_suffix_is_refused() {
    let sink = Sink::start();
    let mut hub = hub("public", "allowetrn", sink.port(), "");
    hub.start();
    let mut talk = hub.talk();
    let reply = talk.want("ETRN @co.uk", 459);
    assert_eq!(reply.text(), "4.7.1 Node @co.uk not allowed: everybody's domains are below it");
    talk.want("ETRN @site7.example", 251);
    hub.stop();
}

#[test]
fn a_domain_above_releases_nobodys_mail_but_its_own() {
    let sink = Sink::start();
    let sites = "[SITE=above]\nDOMAINS=@site7.example\nLOGIN=fred\n[SITE=below]\nDOMAINS=pc.site7.example\nLOGIN=ginger\n";
    let mut hub = hub("above", "allowetrn", sink.port(), sites);
    hub.start();
    send(&hub, "a@site7.example", 0, 1);
    send(&hub, "b@pc.site7.example", 1, 1);
    send(&hub, "c@mac.site7.example", 2, 1);
    let reply = logged_in(&hub, "fred").want("ETRN @site7.example", 253);
    assert!(reply.text().contains("2 pending"), "{reply}");
    assert_eq!(arrived(&sink, 2), [0, 2]);
    watch("the other site's mail waits", WHILE, || sink.count() == 2);
    logged_in(&hub, "fred").want("ETRN pc.site7.example", 459);
    logged_in(&hub, "ginger").want("ETRN pc.site7.example", 253);
    assert_eq!(arrived(&sink, 3), [0, 1, 2]);
    hub.stop();
}

#[test]
fn row_5_4_a_node_may_be_an_alias() {
    const ZONE: &[(&str, Record)] = &[
        ("mail.provider.example", Record::Alias("site7.example")),
        ("nowhere.example", Record::Alias("nobody.invalid")),
    ];
    let names = NameServer::start(ZONE);
    let sink = Sink::start();
    let mut hub = hub("alias", "allowetrn nameservers 127.0.0.1", sink.port(), "");
    let options = format!("ALLOW_ETRNS_PER_SESSION=100\nNAMESERVER_PORT={}\n", names.port());
    hub.write("tcp_local_option", &options);
    hub.start();
    send(&hub, "a@site7.example", 0, 2);
    let mut talk = hub.talk();
    talk.want("ETRN unknown.invalid", 459);
    talk.want("ETRN nowhere.example", 459);
    let reply = talk.want("ETRN mail.provider.example", 253);
    assert!(reply.text().contains("2 pending messages for node mail.provider.example"), "{reply}");
    assert_eq!(arrived(&sink, 2), [0, 1]);
    hub.stop();
}

#[test]
fn an_etrn_leaves_a_record_of_the_connection_log() {
    let sink = Sink::start();
    let mut hub = hub("record", "allowetrn", sink.port(), "");
    hub.start();
    send(&hub, "a@site7.example", 0, 1);
    hub.talk().want("ETRN site7.example", 253);
    let log = hub.log();
    let record = log.lines().find(|line| line.contains(" +I ")).unwrap_or_else(|| panic!("no record: {log}"));
    assert!(record.contains("tcp_local tcp_sites +I TCP|127.0.0.1|"), "{record}");
    assert!(record.contains("SMTP/client.example site7.example smtp;253 2.0.0 OK, 1 pending"), "{record}");
    hub.write("tcp_local_option", "LOG_CONNECTION=3\n");
    hub.command(&["reload"]);
    sink.wait(1, SOON);
    hub.wait_for_waiting(Some("tcp_sites"), 0, SOON);
    hub.talk().want("ETRN site7.example", 251);
    assert_eq!(hub.log().matches(" +I ").count(), 1);
    hub.stop();
}

#[test]
fn who_asks_too_often_is_told_to_come_later() {
    let sink = Sink::start();
    let mut hub = hub("too-often", "allowetrn", sink.port(), "");
    hub.write("option.dat", "SPOOL_DIR=../spool\nETRN_PER_NODE=2\n");
    hub.replace("sluice.cnf", "maysaslserver ", "");
    hub.start();
    let mut talk = hub.talk();
    talk.want("ETRN site7.example", 251);
    talk.want("ETRN SITE7.example", 251);
    let reply = talk.want("ETRN site7.example", 458);
    assert_eq!(reply.text(), "4.7.1 Node site7.example was asked for too often, try again later");
    talk.want("ETRN ship.example", 251);
    hub.stop();
}

#[test]
fn a_login_may_ask_for_as_many_nodes_as_it_owns() {
    let sink = Sink::start();
    let domains: Vec<String> = (0..12).map(|number| format!("d{number}.site7.example")).collect();
    let sites = format!("[SITE=a]\nDOMAINS={}\nLOGIN=fred\n", domains.join(", "));
    let mut hub = hub("many-nodes", "silentetrn", sink.port(), &sites);
    hub.write("tcp_local_option", "");
    hub.start();
    let mut owner = logged_in(&hub, "fred");
    for domain in &domains {
        owner.want(&format!("ETRN {domain}"), 251);
    }
    owner.want("ETRN d0.site7.example", 458);
    let mut other = logged_in(&hub, "ginger");
    for _ in 0..8 {
        other.want("ETRN d0.site7.example", 459);
    }
    other.want("ETRN d0.site7.example", 458);
    hub.stop();
}

#[test]
fn row_6_8_a_site_reads_its_own_records() {
    let sink = Sink::start();
    let sites =
        "[SITE=site7]\nDOMAINS=site7.example\nLOGIN=fred\n[SITE=ship]\nDOMAINS=ship.example\nLOGIN=ginger\n";
    let mut hub = hub("own-records", "silentetrn", sink.port(), sites);
    hub.start();
    send(&hub, "a@site7.example", 0, 3);
    hub.talk().want("HELP RELEASES", 530);
    let mut owner = logged_in(&hub, "fred");
    assert_eq!(owner.want("HELP RELEASES", 214).text(), "2.0.0 No release of site7 yet");
    owner.want("ETRN site7.example", 253);
    arrived(&sink, 3);
    hub.wait_for_waiting(Some("tcp_sites"), 0, SOON);
    let told = sluice_testkit::wait_until(SOON, || {
        let reply = owner.want("HELP RELEASES", 214);
        reply.text().contains("everything was tried").then_some(reply)
    })
    .expect("the release is over");
    assert_eq!(told.lines[0], "2.0.0 Releases of site7, the newest first");
    assert_eq!(told.lines.len(), 2, "{told}");
    let line = &told.lines[1];
    assert!(
        line.contains(" etrn site7.example: 3 messages promised; recipients: 3 delivered, 0 deferred, 0 returned, 0 left;"),
        "{line}"
    );
    // Another login is told of its own site only.
    assert_eq!(logged_in(&hub, "ginger").want("HELP RELEASES", 214).text(), "2.0.0 No release of ship yet");
    hub.stop();
}
