//! A server that does as it is told, and a channel without a host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sluice_sdk::Outcome;

use crate::address::Address;
use crate::engine::Engine;
use crate::halt::Halt;
use crate::outbox::{Outbox, Shared};
pub(super) use crate::request::Mail;
use crate::request::To;
use crate::settings::{Format, Settings, Times};

/// No test waits longer than this for its peer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does, step by step, on one connection.
#[derive(Debug, Clone)]
pub(super) enum Do {
    /// Reads a request and notes it.
    Hear,
    /// Reads the head of a request only.
    HearHead,
    Say(&'static str),
    Speak(String),
    /// Says this again and again until nobody listens.
    Endless(&'static str),
    /// Milliseconds.
    Pause(u64),
    Close,
    /// Closes with a reset, as a crashed peer does.
    Reset,
    /// Waits until the client hangs up.
    UntilGone,
    /// Waits for the test.
    UntilTold,
    /// Reads the body of the request whose head was read, and notes both.
    HearBody,
}
pub(super) use Do::*;

/// A request as the server saw it.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    pub(super) line: String,
    fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Heard {
    /// The values of all fields of that name, joined.
    pub(super) fn field(&self, name: &str) -> String {
        let all: Vec<&str> =
            self.fields.iter().filter(|field| field.0 == name).map(|field| field.1.as_str()).collect();
        all.join(", ")
    }
}

/// A server on 127.0.0.1; connection n gets script n.
pub(super) struct Server {
    pub(super) port: u16,
    heard: Arc<Mutex<Vec<Vec<Heard>>>>,
    thread: Option<JoinHandle<()>>,
    teller: Sender<()>,
}

impl Server {
    pub(super) fn start(scripts: Vec<Vec<Do>>) -> Server {
        Server::start_over(scripts, |stream| Box::new(stream))
    }

    /// One whose connections are made of sockets in this way.
    pub(super) fn start_over(
        scripts: Vec<Vec<Do>>,
        over: impl Fn(TcpStream) -> Box<dyn Duplex> + Send + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(vec![Vec::new(); scripts.len()]));
        let noted = Arc::clone(&heard);
        let (teller, told) = channel();
        let thread = std::thread::spawn(move || {
            for (number, script) in scripts.into_iter().enumerate() {
                let (stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let socket = stream.try_clone().unwrap();
                play(over(stream), &socket, script, &told, |request| {
                    noted.lock().unwrap()[number].push(request);
                });
            }
        });
        Server { port, heard, thread: Some(thread), teller }
    }

    /// A channel that posts to it.
    pub(super) fn channel(&self) -> Shared {
        shared(&format!("http://127.0.0.1:{}/hook?x=y", self.port))
    }

    pub(super) fn tell(&self) {
        self.teller.send(()).unwrap();
    }

    /// What each connection heard, after all scripts have been played to their end.
    pub(super) fn heard(mut self) -> Vec<Vec<Heard>> {
        self.thread.take().unwrap().join().unwrap();
        let heard = self.heard.lock().unwrap();
        heard.clone()
    }
}

pub(super) trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

fn play(
    stream: Box<dyn Duplex>,
    socket: &TcpStream,
    script: Vec<Do>,
    told: &Receiver<()>,
    mut note: impl FnMut(Heard),
) {
    let mut stream = BufReader::new(stream);
    let mut begun = Heard::default();
    for step in script {
        match step {
            Hear => match head(&mut stream) {
                Some(mut request) => {
                    let length = request.field("content-length").parse().unwrap();
                    request.body = vec![0; length];
                    if stream.read_exact(&mut request.body).is_err() {
                        return;
                    }
                    note(request);
                }
                None => return,
            },
            HearHead => begun = head(&mut stream).unwrap_or_default(),
            HearBody => {
                let mut request = std::mem::take(&mut begun);
                request.body = vec![0; request.field("content-length").parse().unwrap()];
                if stream.read_exact(&mut request.body).is_err() {
                    return;
                }
                note(request);
            }
            Say(text) => drop(stream.get_mut().write_all(text.as_bytes())),
            Speak(text) => drop(stream.get_mut().write_all(text.as_bytes())),
            Endless(text) => {
                let text = text.repeat(1000);
                while stream.get_mut().write_all(text.as_bytes()).is_ok() {}
            }
            Pause(millis) => std::thread::sleep(Duration::from_millis(millis)),
            Close => {
                drop(socket.shutdown(Shutdown::Both));
                return;
            }
            // What was never read makes it one.
            Reset => return,
            UntilGone => drop(stream.read_to_end(&mut Vec::new())),
            UntilTold => drop(told.recv_timeout(PATIENCE)),
        }
    }
    let _ = stream.get_mut().flush();
}

fn head(stream: &mut impl BufRead) -> Option<Heard> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let field = |line: &String| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Some(Heard { line: lines[0].clone(), fields: lines[1..].iter().map(field).collect(), body: Vec::new() })
}

/// A channel that posts to this URL, with short times.
pub(super) fn shared(url: &str) -> Shared {
    let second = Duration::from_secs(1);
    Shared {
        settings: Settings {
            channel: "http_hook".to_owned(),
            hub: "hub.example".to_owned(),
            address: Address::read(url).unwrap(),
            format: Format::Message,
            headers: Vec::new(),
            key: None,
            recipients_max: 100,
            size_max: None,
            redirects_max: 0,
            tls: None,
            times: Times { connect: 10 * second, data: second, status: second, idle: 60 * second },
        },
        engine: Engine::start().unwrap(),
        random: rustls::crypto::aws_lc_rs::default_provider().secure_random,
        halt: Halt::default(),
        rest: Mutex::default(),
    }
}

/// A message of two lines.
pub(super) fn mail<'a>(recipients: &[&'a str]) -> Mail<'a> {
    Mail {
        id: "00000000000000a1",
        sender: "s@a.example",
        recipients: recipients.iter().map(|address| To { address, original: address }).collect(),
        pieces: &[b"Subject: x\r\n\r\nbody\r\n..dot\r\n"],
        arrived_ms: 1_796_054_400_000,
        attempts: 0,
    }
}

/// Posts and shows what came of it: `deferred 4.4.2 peer: text`.
pub(super) fn post(outbox: &mut Outbox<'_>, mail: &Mail<'_>) -> String {
    told(&outbox.post(mail, 7, Duration::from_secs(60)))
}

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
