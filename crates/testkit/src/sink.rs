//! A mail server that keeps what it gets and behaves as it is told.

use crate::wait::wait_until;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Argument of MAIL FROM, without angle brackets and parameters.
    pub from: String,
    /// Arguments of RCPT TO, likewise.
    pub to: Vec<String>,
    /// The name in EHLO or HELO.
    pub helo: String,
    /// The content: dot-stuffing undone, the final dot taken off, every other byte as it came.
    pub content: Vec<u8>,
    /// When its connection was made.
    pub connected: Instant,
    /// When the final dot had come, and no reply had been given.
    pub at: Instant,
}

/// How the server behaves; may be changed while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// A reply in place of the greeting, after which the connection is closed: `421 4.3.2 not now`.
    pub greeting: Option<String>,
    /// What the greeting says behind 220; `sink.example ESMTP` when there is nothing.
    pub banner: Option<String>,
    /// EHLO is not understood (502): a server of before 1993.
    pub no_ehlo: bool,
    /// EHLO keywords; the usual ones when empty.
    pub keywords: Vec<String>,
    /// Recipients that contain this text get this reply.
    pub recipient: Option<(String, String)>,
    /// The reply to the final dot, in place of 250: the message is not kept.
    pub end: Option<String>,
    /// The connection is dropped at the final dot, before any reply, and the message is not kept.
    pub drop_at_end: bool,
    /// Wait before every reply.
    pub pause: Duration,
    /// The reply to BDAT, once its octets are there; the message is not kept.
    pub chunk: Option<String>,
    /// The reply to ETRN; 250 when there is none.
    pub etrn: Option<String>,
    /// The connection is dropped when it has brought so many command lines, before any reply to the last.
    pub cut_after: Option<usize>,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    manner: Mutex<Manner>,
    arrived: Mutex<Vec<Arrived>>,
    heard: Mutex<HashMap<String, Instant>>,
    commands: Mutex<Vec<String>>,
    connections: AtomicUsize,
    stop: AtomicBool,
}

/// The server: listens until it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on a port of the kernel's choice.
    ///
    /// # Panics
    /// When it cannot.
    pub fn start() -> Sink {
        Sink::listen(0)
    }

    /// Listens on this port; 0 lets the kernel choose.
    ///
    /// # Panics
    /// When it cannot.
    pub fn listen(port: u16) -> Sink {
        Sink::listen_at(Ipv4Addr::LOCALHOST, port)
    }

    /// Listens at another loopback address: several servers of one port, as MX records want them.
    ///
    /// # Panics
    /// When it cannot.
    pub fn listen_at(address: Ipv4Addr, port: u16) -> Sink {
        let listener = TcpListener::bind((address, port)).expect("a loopback port can be bound");
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                ours.connections.fetch_add(1, Ordering::SeqCst);
                let ours = Arc::clone(&ours);
                // A session ends with its connection; how is of no interest to a sink.
                std::thread::spawn(move || drop(session(&stream, &ours)));
            }
        });
        Sink { address, shared, listener: Some(thread) }
    }

    /// Serves a connection that somebody else has made, in a thread of its own: for sessions that were turned round.
    pub fn take(&self, stream: TcpStream) {
        self.shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || drop(session(&stream, &shared)));
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on it behaves so.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Everything that has arrived so far.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.arrived.lock().unwrap().clone()
    }

    /// The same, taken out: what is asked for next has come since.
    #[must_use]
    pub fn take_arrived(&self) -> Vec<Arrived> {
        std::mem::take(&mut *self.shared.arrived.lock().unwrap())
    }

    /// Every command line since this was last asked, taken out.
    #[must_use]
    pub fn take_commands(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.commands.lock().unwrap())
    }

    /// How many messages have arrived.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.arrived.lock().unwrap().len()
    }

    /// How many connections were made.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Every command line of every session, in the order they came.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().unwrap().clone()
    }

    /// When the first recipient of this domain was named since the sink began, or forgot.
    #[must_use]
    pub fn heard_of(&self, domain: &str) -> Option<Instant> {
        self.shared.heard.lock().unwrap().get(domain).copied()
    }

    /// Forgets what has arrived and what was said.
    pub fn clear(&self) {
        self.shared.arrived.lock().unwrap().clear();
        self.shared.commands.lock().unwrap().clear();
        self.shared.heard.lock().unwrap().clear();
        self.shared.connections.store(0, Ordering::SeqCst);
    }

    /// Waits until exactly this many have arrived.
    ///
    /// # Panics
    /// When they have not by the deadline, or when more have.
    pub fn wait(&self, count: usize, deadline: Duration) -> Vec<Arrived> {
        let enough = wait_until(deadline, || (self.count() >= count).then_some(()));
        let arrived = self.arrived();
        assert!(enough.is_some(), "{} of {count} messages arrived within {deadline:?}", arrived.len());
        assert_eq!(arrived.len(), count, "more arrived than should have");
        arrived
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.listener.take() {
            let _ = thread.join();
        }
    }
}

/// One session, until QUIT or the end of the connection.
fn session(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let connected = Instant::now();
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    let mut say = |text: &str| {
        let pause = shared.manner.lock().unwrap().pause;
        std::thread::sleep(pause);
        writer.write_all(format!("{text}\r\n").as_bytes())
    };
    let manner = || shared.manner.lock().unwrap().clone();
    if let Some(refusal) = manner().greeting {
        return say(&refusal);
    }
    let banner = manner().banner;
    say(&format!("220 {}", banner.as_deref().unwrap_or("sink.example ESMTP")))?;
    let (mut helo, mut from, mut to) = (String::new(), None, Vec::new());
    for number in 1.. {
        let mut line = String::new();
        if (&mut reader).take(4096).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        shared.commands.lock().unwrap().push(line.clone());
        let manner = manner();
        if manner.cut_after == Some(number) {
            return Ok(());
        }
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" if manner.no_ehlo => say("502 5.5.1 what is EHLO")?,
            "EHLO" => {
                helo = line[4..].trim().to_owned();
                let usual = ["PIPELINING", "SIZE 104857600", "8BITMIME", "SMTPUTF8", "ETRN"];
                let usual = usual.map(str::to_owned).to_vec();
                let keywords = if manner.keywords.is_empty() { usual } else { manner.keywords };
                let mut lines = vec!["250-sink.example".to_owned()];
                lines.extend(keywords.iter().map(|keyword| format!("250-{keyword}")));
                lines.push("250 ENHANCEDSTATUSCODES".to_owned());
                say(&lines.join("\r\n"))?;
            }
            "HELO" => {
                helo = line[4..].trim().to_owned();
                say("250 sink.example")?;
            }
            "MAIL" => {
                from = Some(path(&line));
                to.clear();
                say("250 2.1.0 ok")?;
            }
            "RCPT" => match &manner.recipient {
                Some((part, reply)) if line.contains(part.as_str()) => say(reply)?,
                _ => {
                    to.push(path(&line));
                    if let Some((_, domain)) = to[to.len() - 1].rsplit_once('@') {
                        let mut heard = shared.heard.lock().unwrap();
                        heard.entry(domain.to_owned()).or_insert_with(Instant::now);
                    }
                    say("250 2.1.5 ok")?;
                }
            },
            "DATA" if to.is_empty() || from.is_none() => say("554 5.5.1 no valid recipients")?,
            "DATA" => {
                say("354 go ahead")?;
                let content = content(&mut reader)?;
                if manner.drop_at_end {
                    return Ok(());
                }
                let from = from.take().unwrap_or_default();
                let (to, helo, at) = (std::mem::take(&mut to), helo.clone(), Instant::now());
                let message = Arrived { from, to, helo, content, connected, at };
                if let Some(refusal) = &manner.end {
                    say(refusal)?;
                } else {
                    // Kept before the reply: who has seen the 250 can count on finding it.
                    shared.arrived.lock().unwrap().push(message);
                    say("250 2.0.0 kept")?;
                }
            }
            "BDAT" if manner.chunk.is_some() => {
                let octets = line.split(' ').nth(1).and_then(|octets| octets.parse().ok()).unwrap_or(0);
                io::copy(&mut (&mut reader).take(octets), &mut io::sink())?;
                say(manner.chunk.as_deref().unwrap_or_default())?;
            }
            "RSET" => {
                from = None;
                to.clear();
                say("250 2.0.0 ok")?;
            }
            "ETRN" => say(manner.etrn.as_deref().unwrap_or("250 2.0.0 ok, queuing"))?,
            "NOOP" => say("250 2.0.0 ok")?,
            "QUIT" => return say("221 2.0.0 bye"),
            _ => say("500 5.5.1 what is that")?,
        }
    }
    Ok(())
}

/// What stands between the angle brackets.
fn path(line: &str) -> String {
    let open = line.find('<').map_or(line.len(), |at| at + 1);
    let close = line.rfind('>').unwrap_or(line.len()).max(open);
    line[open..close].to_owned()
}

/// Everything up to the lone dot; stuffing undone.
fn content(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(content);
        }
        content.extend(line.strip_prefix(b".").unwrap_or(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Talk, message, number_of};

    #[test]
    fn what_is_sent_arrives_byte_for_byte() {
        let sink = Sink::start();
        let content = message(3, 4000);
        let mut talk = Talk::to(sink.address());
        let reply = talk.deliver("a@b.example", &["c@d.example", "e@d.example"], &content).unwrap();
        assert_eq!(reply.code, 250);
        talk.quit();
        let arrived = sink.wait(1, Duration::from_secs(5));
        assert_eq!(arrived[0].content, content);
        assert_eq!((arrived[0].from.as_str(), arrived[0].to.len()), ("a@b.example", 2));
    }

    #[test]
    fn a_batch_over_several_sessions_is_complete() {
        let sink = Sink::start();
        Batch { sessions: 4, first: 10, ..Batch::new(sink.address(), "c@d.example", 40) }.send_all();
        let mut numbers: Vec<_> = sink.arrived().iter().filter_map(|one| number_of(&one.content)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (10..50).collect::<Vec<_>>());
    }

    #[test]
    fn it_behaves_as_it_is_told() {
        let sink = Sink::start();
        let refuse = Some(("x@".to_owned(), "550 5.1.1 no such".to_owned()));
        sink.behave(Manner {
            recipient: refuse,
            end: Some("451 4.3.0 later".to_owned()),
            ..Manner::default()
        });
        let mut talk = Talk::to(sink.address());
        assert_eq!(talk.deliver("a@b", &["x@d"], b"x\r\n").unwrap().code, 550);
        talk.want("RSET", 250);
        assert_eq!(talk.deliver("a@b", &["y@d"], b"x\r\n").unwrap().code, 451);
        sink.behave(Manner { drop_at_end: true, ..Manner::default() });
        assert!(talk.deliver("a@b", &["y@d"], b"x\r\n").is_err());
        sink.behave(Manner { greeting: Some("421 4.3.2 closed".to_owned()), ..Manner::default() });
        assert_eq!(Talk::open(sink.address()).unwrap().1.code, 421);
        assert_eq!(sink.count(), 0);
    }
}
