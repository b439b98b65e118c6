//! A server that does as it is told, and a worker without a host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sluice_mail::Wishes;
use sluice_sdk::Outcome;

use crate::halt::Halt;
use crate::memory::Rests;
use crate::message::Message;
use crate::names::{self, Answer, Exchange, Names};
use crate::outbox::{Outbox, Shared};
use crate::pool::Pool;
use crate::settings::{Settings, tests::Given};

/// No test waits longer than this for its peer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener whose queue is full, and the connections that fill it: whoever else connects gets no answer.
pub(super) fn silent() -> (TcpListener, Vec<TcpStream>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let guard = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let listener = socket.listen(0).unwrap().into_std().unwrap();
    drop(guard);
    listener.set_nonblocking(false).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        queued.push(stream);
    }
    (listener, queued)
}

/// What the server does, step by step, on one connection.
#[derive(Debug, Clone)]
pub(super) enum Do {
    /// Sends this and CR LF.
    Say(&'static str),
    /// Sends these bytes.
    Bytes(Vec<u8>),
    /// Reads a line and notes it.
    Hear,
    /// Reads and notes lines up to the lone dot.
    Message,
    /// Reads this many bytes and no more.
    Swallow(usize),
    Pause(Duration),
    /// Waits until the client hangs up.
    UntilGone,
    /// Closes with a reset, as a crashed peer does.
    Reset,
}
pub(super) use Do::{Bytes, Hear, Message as Take, Pause, Reset, Say, Swallow, UntilGone};

/// A server on an ephemeral port of 127.0.0.1; connection n gets script n.
pub(super) struct Peer {
    pub(super) port: u16,
    heard: Arc<Mutex<Vec<Vec<String>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(super) fn start(scripts: Vec<Vec<Do>>) -> Peer {
        Peer::serve(TcpListener::bind("127.0.0.1:0").unwrap(), scripts, || {})
    }

    /// One that takes no connection until a while has passed: the system leaves each try unanswered until then, as if the line
    /// were not up yet. What has filled its queue meanwhile is hung up on.
    pub(super) fn start_later(after: Duration, scripts: Vec<Vec<Do>>) -> Peer {
        let (listener, queued) = silent();
        let behind = listener.try_clone().unwrap();
        Peer::serve(listener, scripts, move || {
            std::thread::sleep(after);
            for _ in queued {
                drop(behind.accept().unwrap());
            }
        })
    }

    fn serve(listener: TcpListener, scripts: Vec<Vec<Do>>, first: impl FnOnce() + Send + 'static) -> Peer {
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(vec![Vec::new(); scripts.len()]));
        let thread = std::thread::spawn({
            let heard = Arc::clone(&heard);
            move || {
                first();
                let mut open = Vec::new();
                for (number, script) in scripts.into_iter().enumerate() {
                    let (stream, _) = listener.accept().unwrap();
                    let heard = Arc::clone(&heard);
                    open.push(std::thread::spawn(move || {
                        play(stream, script, |line| heard.lock().unwrap()[number].push(line));
                    }));
                }
                // The listener is gone from here on: one connection more is refused.
                drop(listener);
                open.into_iter().for_each(|one| one.join().unwrap());
            }
        });
        Peer { port, heard, thread: Some(thread) }
    }

    /// What each connection heard, after all scripts have been played to their end.
    pub(super) fn heard(mut self) -> Vec<String> {
        self.thread.take().unwrap().join().unwrap();
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|lines| lines.join("|")).collect()
    }
}

pub(super) fn play(stream: TcpStream, script: Vec<Do>, mut note: impl FnMut(String)) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = || -> Option<String> {
        let mut bytes = Vec::new();
        reader.read_until(b'\n', &mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.strip_suffix("\r\n").map(str::to_owned)
    };
    for step in script {
        match step {
            Say(text) => drop(writer.write_all(format!("{text}\r\n").as_bytes())),
            Bytes(bytes) => drop(writer.write_all(&bytes)),
            Hear => match line() {
                Some(line) => note(line),
                None => return note("(gone)".into()),
            },
            Take => loop {
                match line() {
                    Some(dot) if dot == "." => break note(".".into()),
                    Some(line) => note(line),
                    None => return note("(gone)".into()),
                }
            },
            Swallow(count) => {
                let mut raw = writer.try_clone().unwrap();
                drop(raw.read_exact(&mut vec![0; count]));
            }
            Pause(time) => std::thread::sleep(time),
            UntilGone => while line().is_some() {},
            Reset => {
                // Closing a socket with unread input sends a reset.
                std::thread::sleep(Duration::from_millis(50));
                return;
            }
        }
    }
    drop(writer.shutdown(Shutdown::Both));
}

/// A name service for tests that are not about names: everything is here.
#[derive(Debug)]
pub(super) struct Here(pub(super) Vec<&'static str>);

impl Names for Here {
    fn exchanges(&self, _domain: &str) -> Answer<Exchange> {
        Answer::Nothing
    }

    fn addresses(&self, _host: &str) -> Answer<IpAddr> {
        Answer::Found(self.0.iter().map(|text| text.parse().unwrap()).collect())
    }
}

/// A channel without a host. Times are in seconds.
pub(super) fn channel(port: u16, given: &[(&str, &str)], names: Option<Box<dyn Names>>) -> Shared {
    let port = port.to_string();
    let mut pairs = vec![("port", port.as_str()), ("local_host", "hub.example"), ("TIMEOUT_MULTIPLIER", "1")];
    pairs.extend_from_slice(given);
    for (name, value) in [("CONNECT_TIME", "5"), ("IDLE_TIME", "5"), ("STATUS_RECEIVE_TIME", "10")] {
        if !given.iter().any(|pair| pair.0 == name) {
            pairs.push((name, value));
        }
    }
    let settings = Settings::read(&Given::of(&pairs)).unwrap();
    let runtime =
        Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    let halt = Arc::new(Halt::default());
    Shared {
        names: names.unwrap_or_else(|| names::service(&settings, &runtime, &halt)),
        pool: Pool::new(settings.connections_max),
        rests: Rests::new(settings.ip_backoff.clone()),
        settings,
        runtime,
        halt,
        no_line_until: std::sync::Mutex::default(),
        log: Arc::new(|_, _| {}),
    }
}

static NO_WISHES: Wishes = Wishes { returned: None, envelope_id: String::new(), later: None, priority: None };

/// A message of one line.
pub(super) fn message<'a>(recipients: &[&'a str]) -> Message<'a> {
    Message {
        id: "1",
        lease: 1,
        domain: "site.example",
        sender: "s@a.example",
        recipients: recipients.to_vec(),
        wishes: &NO_WISHES,
        of_recipients: &[],
        pieces: vec![b"Subject: x\r\n\r\nbody\r\n..dot\r\n"],
        size: 27,
        eight_bit: false,
        smtputf8: false,
        next_hop: None,
        more_follows: false,
        time_left: Duration::from_secs(1800),
        ours: &|| true,
    }
}

/// Delivers and shows what was settled, in the order of the recipients.
pub(super) fn deliver(outbox: &mut Outbox<'_>, message: &Message<'_>) -> Vec<String> {
    deliver_before(outbox, message, None)
}

/// The same, with the message that is delivered next.
pub(super) fn deliver_before(
    outbox: &mut Outbox<'_>,
    message: &Message<'_>,
    next: Option<&Message<'_>>,
) -> Vec<String> {
    let mut settled: Vec<Option<String>> = vec![None; message.recipients.len()];
    outbox.deliver(message, next, &mut |recipient, outcome| {
        let before = settled[recipient].replace(told(&outcome));
        assert_eq!(before, None, "settled twice");
    });
    settled.into_iter().map(|one| one.expect("every recipient is settled")).collect()
}

/// `deferred 4.4.2 mx: text`.
pub(super) fn told(outcome: &Outcome) -> String {
    let kind = match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Deferred { .. } => "deferred",
        Outcome::Failed { .. } => "failed",
    };
    let (Outcome::Delivered { status, text, peer, .. }
    | Outcome::Deferred { status, text, peer }
    | Outcome::Failed { status, text, peer }) = outcome;
    format!("{kind} {status} {peer}: {text}")
}

/// The server's part of one message with PIPELINING, after the greeting.
pub(super) fn one_message() -> Vec<Do> {
    vec![Hear, Hear, Hear, Say("250 ok"), Say("250 ok"), Say("354 go"), Take, Say("250 2.0.0 done")]
}

/// Banner and EHLO with PIPELINING.
pub(super) fn greeting() -> Vec<Do> {
    vec![
        Say("220 mx ESMTP"),
        Hear,
        Say("250-mx"),
        Say("250-SIZE"),
        Say("250-8BITMIME"),
        Say("250 PIPELINING"),
    ]
}
