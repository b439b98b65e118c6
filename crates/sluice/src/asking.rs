//! Asking a server for our mail: the socket under [`sluice_smtp::asker`], with its clocks.
//!
//! The first connection may need a minute, since it may be what makes a line be dialled: until [`Times::connect`] is
//! over, a network that is not there yet is tried again. A name is looked up at each errand and never remembered.
//!
//! # Not here
//! Which servers are asked when (`commands::etrn`, `at_start`), and what a turned connection is used for.

mod outcome;
mod own_listener;
mod place;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sluice_sasl::client::{Credentials, RANDOM_OCTETS};
use sluice_smtp::asker::{Answer, Asker, End, Question, Step};
use sluice_smtp::client::{Demand, Loss, Manner, Safety, Wait};
use sluice_smtpd::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use outcome::Standing;
pub(crate) use own_listener::{accepts_mail, listeners};
pub(crate) use place::Server;
pub(crate) use tls::{Trust, trust};

/// Pause between two attempts at a network that is not there yet.
const DIALLING_PAUSE: Duration = Duration::from_secs(2);
/// How long the reply to QUIT is worth.
const QUIT_TIME: Duration = Duration::from_secs(2);

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Never TLS.
    No,
    /// STARTTLS where it is offered.
    May,
    /// STARTTLS, or nothing is asked.
    Must,
    /// TLS before the first octet.
    Implicit,
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// For a connection, dialling included.
    pub(crate) connect: Duration,
    /// For each reply: RFC 5321 section 4.5.3.2 gives a server five minutes for most.
    pub(crate) reply: Duration,
    /// For the reply to ATRN: RFC 2645 section 5.2.1 gives ten minutes.
    pub(crate) atrn: Duration,
}

impl Default for Times {
    fn default() -> Times {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Times { connect: minutes(1), reply: minutes(5), atrn: minutes(10) }
    }
}

/// Whom to ask, and how.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    pub(crate) server: Server,
    pub(crate) question: Question,
    /// What we call ourselves in EHLO.
    pub(crate) name: String,
    pub(crate) protection: Protection,
    pub(crate) trust: Trust,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) times: Times,
}

/// What is heard of an errand while it goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard<'a> {
    /// Something happened to the connection.
    Event(&'a str),
    /// What we said, without what is secret.
    Sent(&'a str),
    /// What the server said.
    Received(&'a [u8]),
}

/// What an errand came to.
pub(crate) struct Report {
    /// What the server said to each name that was asked for.
    pub(crate) answers: Vec<Answer>,
    pub(crate) ended: Ended,
    /// Where the server was reached, and our end of that connection.
    pub(crate) ends: Option<(SocketAddr, SocketAddr)>,
}

/// How it ended.
pub(crate) enum Ended {
    /// There was no connection; in words.
    NoConnection(String),
    /// The conversation ended so.
    Said(End),
    /// ATRN was accepted: whoever takes the connection serves SMTP on it, beginning with the greeting.
    Turned(Box<dyn Stream>),
}

/// Runs an errand. `hear` is told what happens.
pub(crate) async fn ask(errand: &Errand, hear: &mut (dyn FnMut(Heard<'_>) + Send)) -> Report {
    match attempt(errand, errand.protection, hear).await {
        Err(failed) if errand.protection == Protection::May && failed.handshake => {
            // Mail in clear is what the operator asked for in that case. A password is not: PLAIN and LOGIN need TLS.
            hear(Heard::Event("no TLS with this server; once more without"));
            attempt(errand, Protection::No, hear).await.unwrap_or_else(|failed| failed.report)
        }
        Err(failed) => failed.report,
        Ok(report) => report,
    }
}

/// An errand that came to nothing because of the connection.
struct Failed {
    report: Report,
    /// It was TLS that did not come about.
    handshake: bool,
}

async fn attempt(
    errand: &Errand,
    protection: Protection,
    hear: &mut (dyn FnMut(Heard<'_>) + Send),
) -> Result<Report, Failed> {
    let (stream, peer) = match connect(errand, hear).await {
        Ok(connected) => connected,
        Err(why) => {
            let ended = Ended::NoConnection(format!("no connection to {}: {why}", errand.server));
            return Err(Failed {
                report: Report { answers: Vec::new(), ended, ends: None },
                handshake: false,
            });
        }
    };
    // Replies are small and each is waited for; without it commands would wait too.
    let _ = stream.set_nodelay(true);
    let ends = stream.local_addr().ok().map(|local| (peer, local));
    let mut stream: Box<dyn Stream> = Box::new(stream);
    let mut asker = Asker::new(manner(errand, protection), errand.question.clone());
    let mut no_handshake = false;
    if protection == Protection::Implicit {
        match tls::begin(errand, stream).await {
            Ok(secured) => {
                hear(Heard::Event("TLS is on"));
                stream = secured;
            }
            Err(loss) => {
                let ended = Ended::Said(End::NoTls(words(&loss)));
                let report = Report { answers: Vec::new(), ended, ends };
                return Err(Failed { report, handshake: true });
            }
        }
    }
    let (mut replies, mut since) = (0, Instant::now());
    let end = loop {
        if asker.replies() != replies {
            (replies, since) = (asker.replies(), Instant::now());
        }
        match asker.step() {
            Step::Write => {
                hear(Heard::Sent(&asker.output_shown()));
                let written = timeout(errand.times.reply, write(&mut stream, asker.output())).await;
                match written {
                    Ok(Ok(())) => asker.output_sent(),
                    Ok(Err(error)) => asker.lost(&Loss::Failed(error.to_string())),
                    Err(_) => asker.lost(&Loss::TimedOut),
                }
                since = Instant::now();
            }
            Step::Read(wait) => {
                let mut octets = [0; 4096];
                let until = since + limit(wait, &errand.times);
                match tokio::time::timeout_at(until, stream.read(&mut octets)).await {
                    Ok(Ok(0)) => asker.lost(&Loss::Closed),
                    Ok(Ok(count)) => {
                        hear(Heard::Received(&octets[..count]));
                        asker.receive(&octets[..count]);
                    }
                    Ok(Err(error)) => asker.lost(&Loss::Failed(error.to_string())),
                    Err(_) => asker.lost(&Loss::TimedOut),
                }
            }
            Step::StartTls => {
                match tls::begin(errand, stream).await {
                    Ok(secured) => {
                        hear(Heard::Event("TLS is on"));
                        stream = secured;
                        asker.secured();
                    }
                    Err(loss) => {
                        hear(Heard::Event(&words(&loss)));
                        no_handshake = true;
                        asker.lost(&loss);
                        // The connection went with the handshake.
                        stream = Box::new(tokio::io::empty());
                    }
                }
                since = Instant::now();
            }
            Step::Turned => {
                let answers = asker.answers().to_vec();
                return Ok(Report { answers, ended: Ended::Turned(stream), ends });
            }
            Step::Over => break asker.end().cloned(),
        }
    };
    let _ = timeout(QUIT_TIME, stream.shutdown()).await;
    let end = end.unwrap_or_else(|| End::Nonsense("the conversation ended without a reason".to_owned()));
    let end = match (no_handshake, end) {
        (true, End::Lost(why)) => End::NoTls(why),
        (_, end) => end,
    };
    let report = Report { answers: asker.answers().to_vec(), ended: Ended::Said(end), ends };
    if no_handshake { Err(Failed { report, handshake: true }) } else { Ok(report) }
}

async fn write(stream: &mut Box<dyn Stream>, octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await
}

fn limit(wait: Wait, times: &Times) -> Duration {
    match wait {
        Wait::Atrn => times.atrn,
        Wait::Quit => QUIT_TIME,
        _ => times.reply,
    }
}

fn words(loss: &Loss) -> String {
    match loss {
        Loss::Failed(why) => why.clone(),
        Loss::TimedOut => "the TLS handshake takes too long".to_owned(),
        Loss::Closed | Loss::Stopping => "the connection was closed".to_owned(),
    }
}

fn manner(errand: &Errand, protection: Protection) -> Manner {
    let mut random = [0; RANDOM_OCTETS];
    // Without a nonce of our own nothing is proved.
    let credentials = errand.credentials.clone().filter(|_| getrandom::fill(&mut random).is_ok());
    let safety = Safety {
        tls: match protection {
            Protection::Must => Demand::Must,
            Protection::May => Demand::May,
            Protection::No | Protection::Implicit => Demand::No,
        },
        secured: protection == Protection::Implicit,
        // Whoever gives a login wants it used: what is released depends on it.
        auth: if errand.credentials.is_some() { Demand::Must } else { Demand::No },
        credentials,
        random,
    };
    let peer = errand.server.host.clone();
    Manner { name: errand.name.clone(), peer, safety, ..Manner::default() }
}

/// Connects to one of the server's addresses within the time that dialling may take.
async fn connect(
    errand: &Errand,
    hear: &mut (dyn FnMut(Heard<'_>) + Send),
) -> Result<(TcpStream, SocketAddr), String> {
    let end = Instant::now() + errand.times.connect;
    loop {
        let (why, again) = match tokio::time::timeout_at(end, connect_once(&errand.server, end, hear)).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(failed)) => failed,
            Err(_) => ("nobody answers".to_owned(), false),
        };
        if !again || Instant::now() + DIALLING_PAUSE >= end {
            return Err(why);
        }
        hear(Heard::Event(&format!("{why}; the line may be being dialled, once more")));
        sleep(DIALLING_PAUSE).await;
    }
}

/// One attempt at each address. The failure says whether a line that comes up may change it.
async fn connect_once(
    server: &Server,
    end: Instant,
    hear: &mut (dyn FnMut(Heard<'_>) + Send),
) -> Result<(TcpStream, SocketAddr), (String, bool)> {
    let found = tokio::net::lookup_host((server.bare_host(), server.port)).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            // The C library's words (gai_strerror) for a name that does not exist; anything else may pass.
            let text = error.to_string();
            let for_good = ["not known", "No address associated"].iter().any(|part| text.contains(part));
            return Err((format!("the name cannot be looked up: {text}"), !for_good));
        }
    };
    let mut last = ("the name has no address".to_owned(), false);
    let count = u32::try_from(addresses.len().max(1)).unwrap_or(1);
    for (tried, address) in (0u32..).zip(addresses) {
        hear(Heard::Event(&format!("connecting to {} at {address}", server.host)));
        let left = end.saturating_duration_since(Instant::now());
        // The time that is left is shared among the addresses that are left.
        let share = left / (count - tried).max(1);
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => {
                use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable};
                let no_way = matches!(error.kind(), HostUnreachable | NetworkDown | NetworkUnreachable);
                (format!("{address}: {error}"), no_way)
            }
            Err(_) => (format!("{address}: nobody answers"), false),
        };
    }
    Err(last)
}
