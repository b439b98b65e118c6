//! Deliveries for which the hub has named another place.

use std::net::{IpAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::support::*;
use crate::message::Message;
use crate::names::{Answer, Exchange, Names};
use crate::outbox::Outbox;

/// Every name has an MX record that leads astray, and the address 127.0.0.1.
#[derive(Debug, Default)]
struct Astray(Arc<Mutex<Vec<String>>>);

impl Names for Astray {
    fn exchanges(&self, domain: &str) -> Answer<Exchange> {
        self.0.lock().unwrap().push(format!("mx {domain}"));
        Answer::Found(vec![Exchange { preference: 10, host: "mail.elsewhere.example".to_owned() }])
    }

    fn addresses(&self, host: &str) -> Answer<IpAddr> {
        self.0.lock().unwrap().push(format!("a {host}"));
        match host {
            "gone.example" => Answer::NoSuchName,
            _ => Answer::Found(vec!["127.0.0.1".parse().unwrap()]),
        }
    }
}

fn by<'a>(hop: &'a str, to: &'a str) -> Message<'a> {
    Message { next_hop: Some(hop), ..message(&[to]) }
}

#[test]
fn a_named_host_is_called_at_its_port_by_its_addresses_and_looked_up_each_time() {
    let session = || vec![[greeting(), one_message(), vec![Hear, Say("221 bye")]].concat()];
    let (one, two) = (Peer::start(session()), Peer::start(session()));
    let asked = Arc::new(Mutex::new(Vec::new()));
    // The channel's own port leads nowhere.
    let shared = channel(1, &[("IDLE_TIME", "0")], Some(Box::new(Astray(Arc::clone(&asked)))));
    let mut outbox = Outbox::new(&shared);
    let named = format!("Host.Example:{}", one.port);
    let delivered = |host: &str| format!("delivered 2.0.0 {host}: 250 2.0.0 done");
    assert_eq!(deliver(&mut outbox, &by(&named, "r@b")), [delivered("host.example")]);
    let literal = format!("[127.0.0.1]:{}", two.port);
    assert_eq!(deliver(&mut outbox, &by(&literal, "r@b")), [delivered("[127.0.0.1]")]);
    assert_eq!(*asked.lock().unwrap(), ["a host.example"], "no MX record, and no look-up of an address");
    let dead = deliver(&mut outbox, &by(&format!("mx:host.example:{}", one.port), "r@b"));
    assert!(dead[0].starts_with("deferred 4.4.1 mail.elsewhere.example"), "{dead:?}");
    assert_eq!(
        asked.lock().unwrap()[1..],
        ["mx host.example", "a mail.elsewhere.example"],
        "it was asked for"
    );
    let gone = deliver(&mut outbox, &by("gone.example", "r@b"));
    assert_eq!(gone, ["deferred 4.1.2 : gone.example does not exist in the DNS"], "it may come back");
    assert_eq!((one.heard().len(), two.heard().len()), (1, 1));
}

#[test]
fn connections_serve_the_place_that_they_were_made_for_and_no_other() {
    let session = |count: usize| {
        let messages = std::iter::repeat_n(one_message(), count).flatten().collect();
        vec![[greeting(), messages, vec![Hear, Say("221 bye")]].concat()]
    };
    let (configured, named) = (Peer::start(session(2)), Peer::start(session(2)));
    let shared = channel(configured.port, &[("daemon", "[127.0.0.1]")], None);
    let mut outbox = Outbox::new(&shared);
    let hop = format!("127.0.0.1:{}", named.port);
    for turn in ["a@b", "b@b"] {
        assert!(deliver(&mut outbox, &message(&[turn]))[0].starts_with("delivered"));
        assert!(deliver(&mut outbox, &by(&hop, &format!("{turn}.hop")))[0].starts_with("delivered"));
    }
    shared.pool.close_idle(std::time::Duration::ZERO);
    let (configured, named) = (configured.heard(), named.heard());
    assert!(configured[0].contains("<a@b>") && configured[0].contains("<b@b>"), "{configured:?}");
    assert!(!configured[0].contains(".hop"), "{configured:?}");
    assert!(named[0].contains("<a@b.hop>") && named[0].contains("<b@b.hop>"), "{named:?}");
}

#[test]
fn what_a_channel_remembers_of_a_dead_host_keeps_nobody_from_a_named_one() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let shared = channel(port, &[("daemon", "[127.0.0.1]"), ("ipbackoff", "PT1H")], None);
    let mut outbox = Outbox::new(&shared);
    assert!(deliver(&mut outbox, &message(&["r@b"]))[0].starts_with("deferred 4.4.1"));
    let listener = std::net::TcpListener::bind(("127.0.0.1", port));
    let Ok(listener) = listener else { return };
    let accepted = std::thread::spawn(move || listener.accept().map(drop).is_ok());
    let mut next = by("127.0.0.1", "r@b");
    next.lease = 2;
    assert!(!deliver(&mut outbox, &next)[0].contains("no connection"), "it was tried");
    assert!(accepted.join().unwrap());
}

#[test]
fn what_names_no_place_defers_and_says_so() {
    let shared = channel(1, &[], None);
    for (hop, word) in
        [("host:smtp", "not a port"), ("unix:relative", "not an absolute path"), ("[::1", "`[::1`")]
    {
        let told = deliver(&mut Outbox::new(&shared), &by(hop, "r@b"));
        assert!(told[0].starts_with("deferred 4.3.5 : the next hop: ") && told[0].contains(word), "{told:?}");
    }
}

/// A server behind a socket of this machine; connection n gets script n.
pub(super) fn at_socket(path: &Path, scripts: Vec<Vec<Do>>) -> JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        for script in scripts {
            let stream = TcpStream::from(OwnedFd::from(listener.accept().unwrap().0));
            let mut heard = Vec::new();
            play(stream, script, |line| heard.push(line));
            all.push(heard.join("|"));
        }
        all
    })
}

#[test]
fn over_a_socket_of_this_machine_there_is_no_tls_no_login_and_no_etrn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("turned");
    let offers = vec![
        Say("220 site ESMTP"),
        Hear,
        Say("250-site"),
        Say("250-STARTTLS"),
        Say("250-AUTH PLAIN CRAM-MD5"),
        Say("250-ETRN"),
        Say("250 PIPELINING"),
    ];
    let script = [offers, one_message(), one_message(), vec![Hear, Say("221 bye")]].concat();
    let peer = at_socket(&path, vec![script]);
    let given = [
        ("sendetrn", "hub.example"),
        ("tls_client", "may"),
        ("sasl_client", "may"),
        ("AUTH_USERNAME", "hub"),
        ("AUTH_PASSWORD", "secret"),
        ("IDLE_TIME", "3600"),
    ];
    let shared = channel(1, &given, None);
    let hop = format!("unix:{}", path.display());
    let mut outbox = Outbox::new(&shared);
    let first = Message { more_follows: true, ..by(&hop, "one@b") };
    assert_eq!(deliver(&mut outbox, &first), ["delivered 2.0.0 site.example: 250 2.0.0 done"]);
    assert_eq!(deliver(&mut outbox, &by(&hop, "two@b")).len(), 1);
    // The server's script ends with our QUIT, which therefore came at once and not after the idle time.
    let heard = peer.join().unwrap();
    let mail = |to: &str| format!("MAIL FROM:<s@a.example>|RCPT TO:<{to}@b>|DATA|Subject: x||body|..dot|.");
    assert_eq!(heard, [format!("EHLO hub.example|{}|{}|QUIT", mail("one"), mail("two"))]);
    std::fs::remove_file(&path).unwrap();
    let gone = deliver(&mut outbox, &by(&hop, "three@b"));
    assert!(
        gone[0].starts_with("deferred 4.4.1 site.example: no connection to site.example at "),
        "{gone:?}"
    );
}
