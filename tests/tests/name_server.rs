//! Where a release goes is asked of a real name server, NSD, at each release: exchangers by preference, other names, and
//! addresses that change in between (rows 1.8b, 4.4, 5.4).
//!
//! The exchangers are sinks at several loopback addresses and one port. Connections are not kept for the next release
//! (`IDLE_TIME=0`): one that still stands leads where the name did when it was made. `cargo xtask peers` brings NSD.

use sluice_testkit::{Batch, Sink, free_port, wait_for, watch};
use sluice_tests::{Destination, Peer, SOON, WHILE, configuration, numbers};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

/// NSD with the zone `example`, read from a file that tests change.
struct Names {
    server: Peer,
    port: u16,
    serial: u32,
}

impl Names {
    fn start(records: &str) -> Names {
        let server = Peer::root("nsd");
        let port = free_port();
        let place = server.folder().display().to_string();
        let text = format!(
            "server:\n  ip-address: 127.0.0.1@{port}\n  port: {port}\n  server-count: 1\n  do-ip6: no\n  username: \"\"\n  \
             chroot: \"\"\n  zonesdir: \"{place}\"\n  database: \"\"\n  pidfile: \"{place}/pid\"\n  xfrdfile: \"\"\n  \
             xfrdir: \"{place}\"\n  zonelistfile: \"{place}/zones\"\n  logfile: \"{place}/log\"\n  rrl-ratelimit: 0\n\
             remote-control:\n  control-enable: no\nzone:\n  name: example\n  zonefile: zone\n"
        );
        let file = server.folder().join("nsd.conf");
        fs::write(&file, text).expect("a new file");
        let mut names = Names { server, port, serial: 0 };
        names.write(records);
        names.server.start(
            "usr/sbin/nsd",
            &["-d", "-c", &file.to_string_lossy()],
            &[],
            &["nsd.conf", "zone", "log"],
        );
        names.wait();
        names
    }

    /// The zone in its file: nothing is to be remembered, and the name `serial` tells which writing this is.
    fn write(&mut self, records: &str) {
        self.serial += 1;
        let text = format!(
            "$TTL 0\n@ SOA ns.example. host.example. {0} 60 60 60 0\n@ NS ns.example.\nns A 127.0.0.1\n\
             serial A 192.0.2.{0}\n{records}",
            self.serial
        );
        fs::write(self.server.folder().join("zone"), text).expect("the zone is written");
    }

    /// Changes the zone and waits until the server answers by it.
    fn change(&mut self, records: &str) {
        self.write(records);
        let pid =
            fs::read_to_string(self.server.folder().join("pid")).expect("NSD has written its process id");
        let told = Command::new("kill").args(["-HUP", pid.trim()]).status();
        assert!(told.is_ok_and(|status| status.success()), "NSD can be told");
        self.wait();
    }

    fn wait(&mut self) {
        let now = [192, 0, 2, u8::try_from(self.serial).expect("few changes")];
        let port = self.port;
        wait_for("NSD answers by the zone as it is", SOON, || {
            self.server.ended()
                || answer(port).is_some_and(|octets| octets.windows(4).any(|four| four == now))
        });
        assert!(!self.server.ended(), "NSD ended");
    }
}

/// What the server says of the address of `serial.example`, undecoded.
fn answer(port: u16) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let question = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x06serial\x07example\0\0\x01\0\x01";
    socket.send_to(question, (Ipv4Addr::LOCALHOST, port)).ok()?;
    let mut octets = vec![0; 1500];
    let length = socket.recv(&mut octets).ok()?;
    octets.truncate(length);
    Some(octets)
}

/// Two servers with one port, at 127.0.0.1 and 127.0.0.2.
fn two_sinks() -> (Sink, Sink) {
    let port = free_port();
    (Sink::listen(port), Sink::listen_at(Ipv4Addr::new(127, 0, 0, 2), port))
}

#[test]
fn row_1_8b_and_5_4_exchangers_by_preference_other_names_and_new_addresses_at_each_release() {
    let (one, two) = two_sinks();
    let exchangers =
        "site7 MX 20 second\nsite7 MX 10 first\nsecond A 127.0.0.1\nalso CNAME site7\nplain A 127.0.0.2\n";
    let mut names = Names::start(&format!("{exchangers}first A 127.0.0.2\n"));
    let mut hub = sluice_testkit::Site::new("exchangers");
    let port = one.port();
    // No `daemon`: the recipient's domain says where the mail goes.
    hub.write(
        "sluice.cnf",
        &format!(
            "hub.example $U@hub.example\nsite7.example $U%$D@TCP-DIALUP\nalso.example $U%$D@TCP-DIALUP\n\
             plain.example $U%$D@TCP-DIALUP\n\nl\nhub.example\n\ntcp_local smtp nomx allowetrn\nTCP-DAEMON\n\n\
             tcp_dialup smtp mx periodic nameservers 127.0.0.1 port {port}\nTCP-DIALUP\n"
        ),
    );
    hub.write("tcp_local_option", "ALLOW_ETRNS_PER_SESSION=100\n");
    hub.write("tcp_dialup_option", &format!("NAMESERVER_PORT={}\nIDLE_TIME=0\n", names.port));
    hub.start();
    let send = |hub: &sluice_testkit::Site, to: &str, first| {
        Batch { first, ..Batch::new(hub.address(), to, 3) }.send_all();
    };

    // The lower preference first, although it stands second.
    send(&hub, "a@site7.example", 0);
    hub.talk().want("ETRN site7.example", 253);
    assert_eq!(numbers(&two.wait(3, SOON)), [0, 1, 2]);
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!(one.count(), 0);

    // Nobody is at its new address, so that the next exchanger gets the mail; a stale address would give it to `two`.
    names.change(&format!("{exchangers}first A 127.0.0.3\n"));
    send(&hub, "a@site7.example", 3);
    hub.talk().want("ETRN site7.example", 253);
    assert_eq!(numbers(&one.wait(3, SOON)), [3, 4, 5]);
    hub.wait_for_waiting(None, 0, SOON);
    assert_eq!(two.count(), 3);

    // Another name has the exchangers of the name that it stands for, and a name without exchangers is its own.
    names.change(&format!("{exchangers}first A 127.0.0.2\n"));
    for (to, first, there) in [("a@also.example", 6, 6), ("a@plain.example", 9, 9)] {
        send(&hub, to, first);
        hub.talk().want(&format!("ETRN {}", &to[2..]), 253);
        assert_eq!(numbers(&two.wait(there, SOON))[there - 3..], [first, first + 1, first + 2]);
        hub.wait_for_waiting(None, 0, SOON);
    }
    assert_eq!(one.count(), 3);
    hub.stop();
}

#[test]
fn row_4_4_the_name_of_a_sites_target_is_looked_up_at_each_release() {
    let (one, two) = two_sinks();
    let mut names = Names::start("dynamic A 127.0.0.1\n");
    let mut hub = sluice_testkit::Site::new("dynamic");
    // Nothing listens where the channel would connect to by itself.
    let held = [Destination {
        keywords: "periodic nameservers 127.0.0.1",
        ..Destination::held("tcp_ship", "ship.example", 9)
    }];
    hub.write("sluice.cnf", &configuration("allowetrn", &held));
    hub.write("tcp_ship_option", &format!("NAMESERVER_PORT={}\nIDLE_TIME=0\n", names.port));
    hub.write(
        "sites.cnf",
        &format!("[SITE=ship]\nDOMAINS=ship.example\nTARGET=dynamic.example\nPORT={}\n", one.port()),
    );
    hub.start();
    for (round, (there, elsewhere)) in [(&one, &two), (&two, &one), (&one, &two)].into_iter().enumerate() {
        if round > 0 {
            names.change(&format!("dynamic A 127.0.0.{}\n", 1 + round % 2));
        }
        one.clear();
        two.clear();
        let first = round * 3;
        Batch { first, ..Batch::new(hub.address(), "a@ship.example", 3) }.send_all();
        hub.talk().want("ETRN ship.example", 253);
        assert_eq!(numbers(&there.wait(3, SOON)), [first, first + 1, first + 2]);
        hub.wait_for_waiting(None, 0, SOON);
        watch("nothing goes to where it was", WHILE / 4, || elsewhere.count() == 0);
    }
    hub.stop();
}
