//! Other people's servers are asked for mail by an activator and by a channel with `sendetrn` (row 6.4), and the etrn(8) of Debian's
//! sendmail package asks us (row 3.15).
//!
//! Mail is held by a server because the customer's hub is not there, or because its configuration says so; no time of its own
//! would bring it within the test.

use sluice_testkit::{Batch, Site, built, maildir, number_of, wait_for, watch};
use sluice_tests::{DOMAIN, Destination, Duty, Peer, SOON, Server, WHILE, hub, is_root};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

/// How many messages a server keeps each time.
const MESSAGES: usize = 20;

/// A hub, not started, that takes the mail of [`DOMAIN`].
fn customer(name: &str) -> Site {
    let site = Site::new(name);
    site.write("l_option", "MAILDIR_ROOT=../mail\n");
    site
}

/// The server keeps mail twice, and the hub comes up and asks twice: by an activator, and by a channel that has nothing to send.
/// All of it comes, once. `is_kept` says when the server has taken care of as many messages in all.
fn asks(customer: &mut Site, server: &Server, answer: &str, is_kept: impl Fn(usize) -> bool) {
    let port = server.port();
    customer.write(
        "sluice.cnf",
        &format!(
            "{DOMAIN} $U@{DOMAIN}\nisp.example $U%isp.example@TCP-ISP\n. $U%$H$D@TCP-DAEMON\n\nl\n{DOMAIN}\n\n\
             tcp_local smtp nomx disableetrn\nTCP-DAEMON\n\n\
             tcp_isp smtp nomx daemon [127.0.0.1] port {port} periodic sendetrn {DOMAIN}\nTCP-ISP\n"
        ),
    );
    customer.write(
        "sites.cnf",
        &format!("[ACTIVATOR=isp]\nSERVER=127.0.0.1\nPORT={port}\nTLS=no\nNAMES={DOMAIN}\n"),
    );
    let inbox = customer.folder().join("mail/fred");
    for (turn, command) in
        [["activator", "run", "isp"].as_slice(), &["trigger", "#tcp_isp"]].iter().enumerate()
    {
        let (before, after) = (turn * MESSAGES, (turn + 1) * MESSAGES);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Batch { first: before, ..Batch::new(address, &format!("fred@{DOMAIN}"), MESSAGES) }.send_all();
        wait_for("the server keeps all of it", SOON, || is_kept(after));
        customer.start();
        watch("nothing comes before it is asked for", WHILE, || maildir(&inbox).len() == before);
        let ran = customer.command(command);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        if turn == 0 {
            assert!(ran.out.contains(answer), "{}", ran.out);
        }
        wait_for("all of it comes", SOON, || maildir(&inbox).len() >= after);
        watch("none comes twice", WHILE, || maildir(&inbox).len() == after);
        customer.stop();
    }
    let mut numbers: Vec<usize> = maildir(&inbox).iter().filter_map(|content| number_of(content)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..2 * MESSAGES).collect::<Vec<_>>());
}

#[test]
fn row_6_4_exim_is_asked() {
    let mut customer = customer("asks-exim");
    let exim = Server::exim(Duty::Keep(customer.address().port()));
    asks(&mut customer, &exim, "250 OK", |_| true);
}

#[test]
fn row_6_4_postfix_is_asked() {
    if !is_root() {
        eprintln!("left out: Postfix's master starts for root only, and these tests run as somebody else");
        return;
    }
    let mut customer = customer("asks-postfix");
    let postfix = Server::postfix(Duty::Keep(customer.address().port()));
    // The site is away; and from now on Postfix would wait for an hour.
    let is_kept = |messages: usize| postfix.logged("status=deferred") >= messages;
    asks(&mut customer, &postfix, "250 Queuing started", is_kept);
}

#[test]
fn row_6_4_sendmail_is_asked() {
    let mut customer = customer("asks-sendmail");
    let sendmail = Server::sendmail(Duty::Keep(customer.address().port()));
    asks(&mut customer, &sendmail, "250 2.0.0 Queuing for node site7.example started", |_| true);
}

/// What is run where nobody else has port 25: the hub, and etrn(8), which knows no other port.
const ALONE: &str = r#"
ip link set lo up || exit 98
"$SLUICE" run --config "$CONFIGURATION" 2>"$LOG" &
hub=$!
tries=0
until grep -q listening "$LOG"; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { kill "$hub"; exit 97; }
    sleep 0.1
done
timeout 60 perl "$ETRN" -b -v localhost site7.example other.invalid
code=$?
kill "$hub"
wait "$hub" || exit 96
exit "$code"
"#;

#[test]
fn row_3_15_etrn_of_the_sendmail_package_unmodified_asks_us() {
    let alone = Command::new("unshare").args(["-rn", "ip", "link", "set", "lo", "up"]).output();
    if !alone.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!(
            "left out: etrn(8) knows port 25 only, and a network of our own is not to be had here: {alone:?}"
        );
        return;
    }
    let sendmail = Peer::root("sendmail-base");
    let mut hub = hub("etrn-8", &[Destination::held("tcp_dialup", "site7.example", 9)]);
    hub.start();
    Batch::new(hub.address(), "fred@site7.example", 3).send_all();
    hub.stop();
    hub.write("dispatcher.cnf", "[SERVICE=SMTP]\nPORT=25\nINTERFACE_ADDRESS=127.0.0.1\n");
    let log = hub.folder().join("alone");
    fs::write(&log, "").expect("a new file");
    let output = Command::new("unshare")
        .args(["-rn", "sh", "-c", ALONE])
        .env("SLUICE", built("sluice"))
        .env("CONFIGURATION", hub.configuration())
        .env("LOG", &log)
        .env("ETRN", sendmail.file("usr/sbin/etrn"))
        .output()
        .expect("unshare starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let logged = fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(output.status.code(), Some(0), "{said}\n{logged}");
    for wanted in [
        "ETRN supported",
        "253 2.0.0 OK, 3 pending messages for node site7.example",
        "459 4.5.4 ",
        "221 2.0.0 ",
    ] {
        assert!(said.contains(wanted), "{wanted}:\n{said}\n{logged}");
    }
}
