//! Two hubs, ATRN between them: one keeps the mail of a site, the site's own hub collects it with an activator, by rows of
//! the list of features (6.3, 6.7).
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use sluice_testkit::{
    Batch, Program, Site, built, free_port, maildir, number_of, wait_for, wait_until, watch,
};
use sluice_tests::{Destination, SOON, WHILE, configuration, password};

/// Who is taken down with `kill -9`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Provider,
    Customer,
}

/// The hub that keeps the mail, and the port of its service ODMR. Nothing listens where the channel would connect to.
fn provider(name: &str, incoming: &str, user: &[&str]) -> (Site, u16) {
    let hub = Site::new(name);
    let held = [
        Destination::held("tcp_sites", "site7.example", 9),
        Destination::held("tcp_other", "other.example", 9),
    ];
    hub.write("sluice.cnf", &configuration(incoming, &held));
    hub.write("option.dat", "SPOOL_DIR=../spool\nPASSWORD_FILE=passwords\n");
    hub.write(
        "sites.cnf",
        "[SITE=site7]\nDOMAINS=site7.example\nLOGIN=fred\nTIER=turned\n\
         [SITE=other]\nDOMAINS=other.example\nLOGIN=ginger\nTIER=turned\n",
    );
    let odmr = free_port();
    let dispatcher = fs::read_to_string(hub.configuration().join("dispatcher.cnf")).unwrap();
    let service = format!("\n[SERVICE=ODMR]\nINTERFACE_ADDRESS=127.0.0.1\nPORT={odmr}\n");
    hub.write("dispatcher.cnf", &(dispatcher + &service));
    let set = password(&hub, &[&["set", "fred"], user].concat(), "pencil");
    assert_eq!(set.code, 0, "{}", set.err);
    (hub, odmr)
}

/// The hub of the site, which takes the mail of its domain in.
fn customer(name: &str, odmr: u16, tls: &str) -> Site {
    let hub = Site::new(name);
    hub.write(
        "sluice.cnf",
        "site7.example $U@site7.example\n. $U%$H$D@TCP-DAEMON\n\nl\nsite7.example\n\n\
         tcp_local smtp nomx disableetrn\nTCP-DAEMON\n",
    );
    hub.write("l_option", "MAILDIR_ROOT=../mail\n");
    let activator = format!(
        "[ACTIVATOR=isp]\nSERVER=127.0.0.1\nPORT={odmr}\nMETHOD=atrn\nTLS={tls}\nLOGIN=fred\nPASSWORD=pencil\n\
         NAMES=site7.example\n"
    );
    hub.write("sites.cnf", &activator);
    fs::set_permissions(hub.configuration().join("sites.cnf"), Permissions::from_mode(0o600)).unwrap();
    hub
}

fn send(hub: &Site, to: &str, first: usize, count: usize) {
    Batch { first, size: 8192, ..Batch::new(hub.address(), to, count) }.send_all();
}

/// The numbers of the messages in the customer's mailbox, sorted.
fn delivered(customer: &Site) -> Vec<usize> {
    let inbox = maildir(&customer.folder().join("mail/fred"));
    let mut numbers: Vec<usize> = inbox.iter().map(|content| number_of(content).unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn collect(customer: &Site) -> String {
    let ran = customer.command(&["activator", "run", "isp"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    ran.out
}

#[test]
fn row_6_3_the_activator_of_one_hub_collects_from_the_service_odmr_of_another() {
    let (mut provider, odmr) = provider("two-provider", "", &["--cram-md5"]);
    let mut customer = customer("two-customer", odmr, "no");
    provider.start();
    customer.start();
    // Nothing waits: that is an answer, and no trouble.
    assert!(collect(&customer).contains("453"));
    send(&provider, "fred@site7.example", 0, 30);
    send(&provider, "fred@other.example", 30, 1);
    watch("nothing comes before it is asked for", WHILE, || delivered(&customer).is_empty());
    let told = collect(&customer);
    assert!(told.contains("30 messages came"), "{told}");
    wait_for("all of it arrives", SOON, || delivered(&customer).len() >= 30);
    provider.wait_for_waiting(Some("tcp_sites"), 0, SOON);
    wait_for("the turned session has ended", SOON, || collect(&customer).contains("453"));
    watch("nothing arrives twice", WHILE, || delivered(&customer).len() == 30);
    assert_eq!(delivered(&customer), (0..30).collect::<Vec<_>>());
    assert_eq!(provider.waiting(Some("tcp_other")), 1, "another's mail stays");
    customer.stop();
    provider.stop();
}

#[test]
fn row_6_3_under_tls_with_a_login_by_scram() {
    // No secret is kept for CRAM-MD5: SCRAM is the only way in.
    let (mut provider, odmr) = provider("two-tls-provider", "maytlsserver", &[]);
    let mut customer = customer("two-tls-customer", odmr, "must");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = provider.configuration().join("server-pub.pem");
    let key = provider.configuration().join("server-priv.pem");
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    provider.start();
    send(&provider, "fred@site7.example", 0, 10);
    // A certificate that nobody vouches for gets no password, and so no mail is given.
    let strange = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let authorities = customer.folder().join("authorities.pem");
    fs::write(&authorities, strange.cert.pem()).unwrap();
    customer.set_variable("SSL_CERT_FILE", authorities.to_str().unwrap());
    customer.start();
    let ran = customer.command(&["activator", "run", "isp"]);
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("no TLS"), "{}", ran.out);
    assert_eq!(provider.waiting(Some("tcp_sites")), 10);
    fs::write(&authorities, made.cert.pem()).unwrap();
    let told = collect(&customer);
    assert!(told.contains("10 messages came"), "{told}");
    wait_for("all of it arrives", SOON, || delivered(&customer).len() >= 10);
    assert_eq!(delivered(&customer), (0..10).collect::<Vec<_>>());
    customer.stop();
    provider.stop();
}

/// How many messages are kept at each cut, and how many of them have come when it happens.
const KEPT: usize = 150;
const CUTS: [usize; 3] = [1, 5, 20];

/// Collections in which a hub is taken down once some messages have come; then it is started again and the rest is
/// collected. What was settled in the last moments before a cut may come again, since a spool writes its journal in batches;
/// nothing else may.
fn killed(victim: Victim) {
    let (mut provider, odmr) = provider("two-killed-provider", "", &["--cram-md5"]);
    let mut customer = customer("two-killed-customer", odmr, "no");
    provider.start();
    customer.start();
    let mut before = Vec::new();
    for (cut, come) in CUTS.into_iter().enumerate() {
        send(&provider, "fred@site7.example", cut * KEPT, KEPT);
        let configuration = customer.configuration().to_str().unwrap().to_owned();
        let arguments = ["activator", "run", "isp", "--config", &configuration];
        let log = customer.folder().join("run");
        let mut run = Program::start(&built("sluice"), &arguments, &log).unwrap();
        wait_for("some have come", SOON, || delivered(&customer).len() >= before.len() + come);
        match victim {
            Victim::Provider => provider.kill(),
            Victim::Customer => customer.kill(),
        }
        let status = run.wait(SOON).expect("the command ends");
        assert_eq!(status.code(), Some(75), "{}", run.log());
        match victim {
            Victim::Provider => provider.start(),
            Victim::Customer => customer.start(),
        }
        assert!(provider.waiting(Some("tcp_sites")) > 0, "the cut came too late to be one");
        // The provider may still be busy with the session that was cut.
        let all = wait_until(SOON, || {
            let ran = customer.command(&["activator", "run", "isp"]);
            (ran.code == 0 && provider.waiting(Some("tcp_sites")) == 0).then_some(())
        });
        assert!(all.is_some(), "cut {cut}: {}", provider.report());
        let expected = (cut + 1) * KEPT;
        wait_for("nothing is lost", SOON, || {
            let mut seen = delivered(&customer);
            seen.dedup();
            seen == (0..expected).collect::<Vec<_>>()
        });
        customer.wait_for_waiting(None, 0, SOON);
        let after = delivered(&customer);
        watch("no more comes", WHILE, || delivered(&customer).len() == after.len());
        let older: Vec<usize> = after.iter().copied().filter(|number| *number < cut * KEPT).collect();
        assert_eq!(older, before, "what was settled long before cut {cut} does not come again");
        // A customer that is killed may have lost both that it had answered and that it had delivered.
        let most = if victim == Victim::Customer { 3 } else { 2 };
        let more = after.windows(most + 1).find(|copies| copies.first() == copies.last());
        assert_eq!(more, None, "cut {cut}");
        before = after;
    }
    customer.stop();
    provider.stop();
}

#[test]
fn row_6_7_the_customer_is_killed_while_it_collects_and_nothing_is_lost() {
    killed(Victim::Customer);
}

#[test]
fn row_6_7_the_provider_is_killed_while_it_gives_and_nothing_is_lost() {
    killed(Victim::Provider);
}
