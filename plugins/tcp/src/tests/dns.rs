//! The resolver against a name server of a few lines.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::support::*;
use crate::outbox::Outbox;

/// Answers MX and A questions from a zone written in the code below.
struct NameServer {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One record: type and data.
enum Record {
    Mx(u16, &'static str),
    A([u8; 4]),
}

/// What is known of a name: records, or a response code (RFC 1035 section 4.1.1).
fn zone(name: &str) -> Result<Vec<Record>, u8> {
    const SERVFAIL: u8 = 2;
    const NXDOMAIN: u8 = 3;
    Ok(match name {
        "site.example" => {
            vec![Record::Mx(20, "mx2.example"), Record::Mx(10, "mx1.example"), Record::Mx(30, "mx3.example")]
        }
        "mx1.example" => vec![Record::A([127, 0, 0, 77])],
        "mx2.example" => vec![Record::A([127, 0, 0, 1])],
        "mx3.example" => vec![Record::A([127, 0, 0, 78])],
        "bare.example" => vec![Record::A([127, 0, 0, 1])],
        "null.example" => vec![Record::Mx(0, "")],
        "empty.example" => vec![],
        "lame.example" => vec![Record::Mx(10, "gone.example"), Record::Mx(20, "empty.example")],
        "half.example" => vec![Record::Mx(10, "gone.example"), Record::Mx(20, "broken.example")],
        "broken.example" => return Err(SERVFAIL),
        _ => return Err(NXDOMAIN),
    })
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    while *query.get(at)? != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..end)?).to_ascii_lowercase());
        at = end;
    }
    let question_end = at + 5;
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let found = zone(&labels.join("."));
    let code = found.as_ref().err().copied().unwrap_or(0);
    let mut records = Vec::new();
    let mut count = 0_u16;
    for record in found.unwrap_or_default() {
        let (is, data) = match record {
            Record::Mx(preference, host) => {
                (15_u16, [preference.to_be_bytes().to_vec(), encoded(host)].concat())
            }
            Record::A(address) => (1, address.to_vec()),
        };
        if is == kind {
            count += 1;
            records.extend_from_slice(&[0xc0, 12]);
            records.extend_from_slice(&is.to_be_bytes());
            records.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            records.extend_from_slice(&(data.len() as u16).to_be_bytes());
            records.extend_from_slice(&data);
        }
    }
    let mut reply = query[..2].to_vec();
    reply.extend_from_slice(&[0x85, 0x80 | code, 0, 1]);
    reply.extend_from_slice(&count.to_be_bytes());
    // A negative answer carries an SOA (RFC 2308), or it would look like a referral.
    let negative = count == 0 && (code == 0 || code == 3);
    reply.extend_from_slice(&[0, u8::from(negative), 0, 0]);
    reply.extend_from_slice(query.get(12..question_end)?);
    reply.extend_from_slice(&records);
    if negative {
        let soa = [
            encoded("ns.example"),
            encoded("root.example"),
            [1_u32, 60, 60, 60, 1].map(u32::to_be_bytes).concat(),
        ]
        .concat();
        reply.extend_from_slice(&encoded("example"));
        reply.extend_from_slice(&[0, 6, 0, 1, 0, 0, 0, 1]);
        reply.extend_from_slice(&(soa.len() as u16).to_be_bytes());
        reply.extend_from_slice(&soa);
    }
    Some(reply)
}

impl NameServer {
    fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut query = [0; 1500];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((count, from)) = socket.recv_from(&mut query)
                        && let Some(reply) = answer(&query[..count])
                    {
                        socket.send_to(&reply, from).unwrap();
                    }
                }
            }
        });
        NameServer { port, stop, thread: Some(thread) }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn delivered_to(domain: &'static str, port: u16, given: &[(&str, &str)]) -> String {
    let server = NameServer::start();
    let ns_port = server.port.to_string();
    let mut pairs = vec![("nameservers", "127.0.0.1"), ("NAMESERVER_PORT", ns_port.as_str())];
    pairs.extend_from_slice(given);
    let shared = channel(port, &pairs, None);
    let mut one = message(&["r@b"]);
    one.domain = domain;
    deliver(&mut Outbox::new(&shared), &one).remove(0)
}

#[test]
fn mail_goes_to_the_best_mail_host_that_answers() {
    for (domain, given, by) in [
        // mx1 has the better preference and nobody listens there; mx3 is never asked.
        ("site.example", &[("mx", "")][..], "mx2.example"),
        ("bare.example", &[("mx", "")], "bare.example"),
        ("bare.example", &[("nomx", "")], "bare.example"),
        ("anything.example", &[("daemon", "site.example")], "mx2.example"),
        (
            "anything.example",
            &[("daemon", "router"), ("official_host", "bare.example"), ("nomx", "")],
            "bare.example",
        ),
        ("broken.example", &[("lastresort", "bare.example")], "bare.example"),
    ] {
        let peer = Peer::start(vec![[greeting(), one_message()].concat()]);
        assert_eq!(
            delivered_to(domain, peer.port, given),
            format!("delivered 2.0.0 {by}: 250 2.0.0 done"),
            "{domain}"
        );
        peer.heard();
    }
}

#[test]
fn what_the_dns_says_decides_between_waiting_and_failing() {
    for (domain, given, settled) in [
        ("gone.example", &[][..], "failed 5.1.2 : gone.example does not exist in the DNS"),
        ("gone.example", &[("nomx", "")], "failed 5.1.2 : gone.example does not exist in the DNS"),
        ("null.example", &[], "failed 5.1.10 : null.example does not accept mail: its MX record says so"),
        ("empty.example", &[], "failed 5.4.4 : empty.example has no address and no MX record"),
        ("lame.example", &[], "failed 5.4.4 : gone.example, a mail host of lame.example, has no address"),
        ("half.example", &[], "deferred 4.4.3 : looking up broken.example: "),
        ("broken.example", &[], "deferred 4.4.3 : looking up broken.example: "),
        (
            "x.example",
            &[("daemon", "gone.example")],
            "deferred 4.1.2 : gone.example does not exist in the DNS",
        ),
        ("x.example", &[("daemon", "null.example")], "deferred 4.1.10 : null.example does not accept mail"),
        ("..", &[], "failed 5.1.2 : .. does not exist in the DNS"),
    ] {
        let told = delivered_to(domain, 1, given);
        assert!(told.starts_with(settled), "{domain}: {told}");
    }
}

#[test]
fn a_stopping_channel_does_not_wait_for_the_name_server() {
    // Bound, and never answering.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let shared = channel(1, &[("nameservers", "127.0.0.1"), ("NAMESERVER_PORT", port.as_str())], None);
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| deliver(&mut Outbox::new(&shared), &message(&["r@b"])));
        std::thread::sleep(Duration::from_millis(200));
        let begun = std::time::Instant::now();
        shared.halt.stop();
        assert_eq!(
            stuck.join().unwrap(),
            ["deferred 4.4.3 : looking up site.example: the channel is stopping"]
        );
        assert!(begun.elapsed() < Duration::from_secs(2));
    });
}
