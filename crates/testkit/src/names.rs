//! A name server of a few lines, for tests on loopback.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const A: u16 = 1;
const PTR: u16 = 12;
const CNAME: u16 = 5;
const MX: u16 = 15;

/// What is known of a name.
#[derive(Debug, Clone, Copy)]
pub enum Record {
    /// An address.
    Address([u8; 4]),
    /// The name of an address; the name that has it is of the form `1.2.0.192.in-addr.arpa`.
    Name(&'static str),
    /// Another name (CNAME).
    Alias(&'static str),
    /// A mail exchanger.
    Exchange(&'static str),
    /// The server cannot say.
    Broken,
}

/// Answers until it is dropped. Names that no record has do not exist.
#[derive(Debug)]
pub struct NameServer {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// A server that knows these records.
    ///
    /// # Panics
    /// When there is no port to be had.
    #[must_use]
    pub fn start(records: &'static [(&'static str, Record)]) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        let port = socket.local_addr().expect("an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut octets = [0; 1500];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut octets) else { continue };
                if let Some(reply) = answer(&octets[..length], records) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        NameServer { port, stop, thread: Some(thread) }
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let mut bytes = vec![u8::try_from(label.len()).expect("a short label")];
        bytes.extend_from_slice(label.as_bytes());
        bytes
    });
    labels.chain([0]).collect()
}

/// The answer to a query (RFC 1035 section 4.1): the records of that kind, or that there is no such name.
fn answer(query: &[u8], records: &[(&str, Record)]) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    while *query.get(at)? != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..end)?).to_ascii_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let question = query.get(12..at + 5)?;
    let name = labels.join(".");
    let known: Vec<Record> =
        records.iter().filter(|(of, _)| *of == name).map(|(_, record)| *record).collect();
    let found: Vec<Vec<u8>> = known
        .iter()
        .filter_map(|record| match record {
            Record::Address(address) if kind == A => Some(address.to_vec()),
            Record::Name(name) if kind == PTR => Some(encoded(name)),
            Record::Alias(name) if kind == CNAME => Some(encoded(name)),
            Record::Exchange(host) if kind == MX => Some([&[0, 10][..], &encoded(host)].concat()),
            _ => None,
        })
        .collect();
    let code = match known.iter().any(|record| matches!(record, Record::Broken)) {
        true => 2,
        false => 3 * u8::from(known.is_empty()),
    };
    let mut reply = query.get(..2)?.to_vec();
    reply.extend([0x85, 0x80 | code, 0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    reply.extend_from_slice(question);
    for data in found {
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60]);
        reply.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        reply.extend(data);
    }
    Some(reply)
}
