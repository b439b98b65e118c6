//! Other people's servers are asked by our activators (row 6.4), and the etrn(8) of Debian's sendmail package asks us (row 3.15).
//!
//! Each server is a process of the test with its own configuration, queue and port, and is ended by its own id. Mail is held
//! by it because the customer's hub is not there, or because its configuration says so; no time of its own would bring it
//! within the test. `cargo xtask peers` brings the servers.

use sluice_testkit::{Batch, Program, Site, built, free_port, maildir, number_of, wait_for, watch};
use sluice_tests::{Destination, Peer, SOON, WHILE, hub, is_root, show};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How many messages a server keeps.
const MESSAGES: usize = 20;

fn greets(port: u16) -> bool {
    let greeting = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        Some(line)
    };
    greeting().is_some_and(|line| line.starts_with("220 "))
}

/// The hub of the site, not started, with an activator that asks the server on this port.
fn customer(name: &str, server: u16) -> Site {
    let site = Site::new(name);
    site.write(
        "sluice.cnf",
        "site7.example $U@site7.example\n. $U%$H$D@TCP-DAEMON\n\nl\nsite7.example\n\n\
         tcp_local smtp nomx disableetrn\nTCP-DAEMON\n",
    );
    site.write("l_option", "MAILDIR_ROOT=../mail\n");
    site.write(
        "sites.cnf",
        &format!("[ACTIVATOR=isp]\nSERVER=127.0.0.1\nPORT={server}\nTLS=no\nNAMES=site7.example\n"),
    );
    site
}

/// Hands the server its messages, from outside.
fn fill(server: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
    Batch::new(address, "fred@site7.example", MESSAGES).send_all();
}

/// The hub comes up and asks: all of it comes, once.
fn collects(customer: &mut Site, answer: &str) {
    customer.start();
    let inbox = customer.folder().join("mail/fred");
    watch("nothing comes before it is asked for", WHILE, || maildir(&inbox).is_empty());
    let ran = customer.command(&["activator", "run", "isp"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(answer), "{}", ran.out);
    wait_for("all of it comes", SOON, || maildir(&inbox).len() >= MESSAGES);
    watch("none comes twice", WHILE, || maildir(&inbox).len() == MESSAGES);
    let mut numbers: Vec<usize> = maildir(&inbox).iter().filter_map(|content| number_of(content)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>());
    customer.stop();
}

#[test]
fn row_6_4_exim_is_asked() {
    let mut exim = Peer::root("exim4-daemon-heavy");
    let (port, user) = (free_port(), exim.user());
    let mut customer = customer("asks-exim", port);
    let (spool, log) = (exim.make("spool"), exim.make("log"));
    let configuration = exim.folder().join("exim.conf");
    let path = configuration.to_string_lossy().into_owned();
    // Exim begins itself anew for the queue run, by its path, and needs the libraries and users of its root again. What a client
    // has said is tainted and may stand in no command, so that the name stands there as it is, and the rule lets only it ask.
    let text = format!(
        "primary_hostname = exim.example\nexim_user = {user}\nexim_group = {user}\nexim_path = {program}\n\
         keep_environment = ^LD_ : ^NSS_\nspool_directory = {spool}\nlog_file_path = {log}/%s\n\
         pid_file_path = {spool}/pid\ndaemon_smtp_ports = {port}\nlocal_interfaces = 127.0.0.1\ntls_advertise_hosts =\n\
         host_lookup =\nrfc1413_hosts =\nacl_smtp_rcpt = accept\nacl_smtp_data = accept\n\
         acl_smtp_etrn = etrn\nsmtp_etrn_command = {program} -C {path} -R site7.example\nprod_requires_admin = false\n\
         queue_smtp_domains = site7.example\n\n\
         begin acl\netrn:\n  accept condition = ${{if eqi{{$smtp_command_argument}}{{site7.example}}}}\n\n\
         begin routers\nall:\n  driver = manualroute\n  route_list = * 127.0.0.1\n  transport = site\n  self = send\n\n\
         begin transports\nsite:\n  driver = smtp\n  port = {site}\n  allow_localhost\n  hosts_avoid_tls = *\n",
        program = exim.file("usr/sbin/exim4").display(),
        spool = spool.display(),
        log = log.display(),
        site = customer.address().port(),
    );
    fs::write(&configuration, text).expect("a new file");
    exim.start(
        "usr/sbin/exim4",
        &["-C", &path, "-bdf"],
        &["Debian-exim"],
        &["exim.conf", "log/main", "log/panic"],
    );
    wait_for("Exim greets", SOON, || exim.ended() || greets(port));
    assert!(!exim.ended(), "Exim ended");
    fill(port);
    collects(&mut customer, "250 OK");
}

/// A Postfix of the test beside whatever the machine has, which relays to the site on a port.
struct Postfix {
    master: Program,
    folder: tempfile::TempDir,
}

impl Postfix {
    fn start(port: u16, site: u16) -> Postfix {
        let folder =
            tempfile::Builder::new().prefix("sluice-postfix-").tempdir().expect("a temporary folder");
        let place = folder.path();
        for part in ["conf", "queue", "data"] {
            fs::create_dir(place.join(part)).expect("a new folder");
        }
        let done = Command::new("chown").arg("postfix").arg(place.join("data")).status();
        assert!(done.is_ok_and(|status| status.success()), "postfix owns data; cargo xtask peers");
        // Its processes are other users than root, and go through the folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(place, open).expect("the folder is ours");
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {place}/queue\ndata_directory = {place}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\nmyhostname = postfix.example\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nmaillog_file = {place}/log\nmaillog_file_prefixes = {place}\n\
             smtp_dns_support_level = disabled\nsmtp_host_lookup = native\nsmtpd_peername_lookup = no\n\
             local_header_rewrite_clients =\nrelay_domains = site7.example\nrelay_recipient_maps =\n\
             relay_transport = smtp:[127.0.0.1]:{site}\nfast_flush_domains = $relay_domains\n\
             smtpd_etrn_restrictions = permit_mynetworks, reject\nminimal_backoff_time = 1h\nqueue_run_delay = 1h\n\
             alias_maps =\nalias_database =\nlocal_recipient_maps =\n",
            place = place.display(),
        );
        fs::write(place.join("conf/main.cf"), main).expect("a new file");
        let services = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\npickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\n\
             qmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
             defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nproxymap unix - - n - - proxymap\n\
             flush unix n - n 1000? 0 flush\nerror unix - - n - - error\nretry unix - - n - - error\n\
             smtp unix - - n - - smtp\nanvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\n\
             postlog unix-dgram n - n - 1 postlogd\n"
        );
        fs::write(place.join("conf/master.cf"), services).expect("a new file");
        let configuration = place.join("conf");
        // Makes the folders of the queue, each with its owner.
        let check = Command::new("/usr/sbin/postfix").arg("-c").arg(&configuration).arg("check").output();
        let check = check.expect("postfix; cargo xtask peers");
        assert!(check.status.success(), "postfix check: {}", String::from_utf8_lossy(&check.stderr));
        let master = Program::start(
            Path::new("/usr/lib/postfix/sbin/master"),
            &["-c".as_ref(), configuration.as_os_str(), "-d".as_ref()],
            &place.join("output"),
        );
        Postfix { master: master.expect("Postfix's master"), folder }
    }

    /// How many messages it has put off, by its log.
    fn put_off(&self) -> usize {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).matches("status=deferred").count()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Its master ends all the others before itself.
        self.master.terminate(Duration::from_secs(10));
        if std::thread::panicking() {
            show(&[self.folder.path().join("log"), self.folder.path().join("output")]);
        }
    }
}

#[test]
fn row_6_4_postfix_is_asked() {
    if !is_root() {
        eprintln!("left out: Postfix's master starts for root only, and these tests run as somebody else");
        return;
    }
    let port = free_port();
    let mut customer = customer("asks-postfix", port);
    let mut postfix = Postfix::start(port, customer.address().port());
    wait_for("Postfix greets", SOON, || postfix.master.ended().is_some() || greets(port));
    assert!(postfix.master.ended().is_none(), "Postfix's master ended");
    fill(port);
    // The site is away; and from now on Postfix would wait for an hour.
    wait_for("all of it is put off", SOON, || postfix.put_off() >= MESSAGES);
    collects(&mut customer, "250 Queuing started");
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
