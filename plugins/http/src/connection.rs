//! One connection to a server, and what goes over it, with its clocks.
//!
//! # Answers that come early
//! A server may answer before it has the whole request (RFC 9110 section 15, RFC 9112 section 9.5). That it will not take it (413, 503)
//! counts at once, and the rest is not sent. That it has taken the message (2xx) says nothing of octets that it cannot have: they are sent all
//! the same, and the answer counts from when the last of them has been written. If they cannot be, it has not been delivered.
//!
//! # Not here
//! HTTP itself (hyper), what the answer means (`answer`), how long a connection is kept (`outbox`).

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use sluice_sdk::{Outcome, Status};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::address::Address;
use crate::answer::Answer;
use crate::settings::{Settings, Times};
use crate::written::{Fetched, Noted, Written};

/// Octets of an answer's body that are read: more than an outcome shows.
const SAID_MAX: usize = 4096;
/// How long the body of an answer may take: what it says is known by then.
const SAYING_TIME: Duration = Duration::from_secs(5);
/// The header of an answer, at most.
const HEADER_MAX: usize = 64 * 1024;
/// Fields of it, at most.
const FIELDS_MAX: usize = 100;
/// Chunks that wait for the socket, of 64 KiB at most.
const CHUNKS_MAX: usize = 2;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) status: Status,
    pub(crate) text: String,
    /// There was no connection: other messages need not try now.
    pub(crate) unreached: bool,
    /// The connection had served before, and was gone before anything of an answer came: another one may do.
    pub(crate) stale: bool,
}

impl Trouble {
    fn new(status: Status, text: String) -> Trouble {
        Trouble { status, text, unreached: false, stale: false }
    }

    fn unreached(status: Status, text: String) -> Trouble {
        Trouble { unreached: true, ..Trouble::new(status, text) }
    }

    fn late(what: &str, limit: Duration) -> Trouble {
        Trouble::new(Status::new(4, 4, 2), format!("{what} for {} s", limit.as_secs()))
    }

    /// The server says that it has taken what it cannot have.
    fn untaken(answer: &Response<Incoming>) -> Trouble {
        let code = answer.status().as_u16();
        let text = format!("the server said {code} before it had the whole message, and took no more of it");
        Trouble::new(Status::new(4, 4, 2), text)
    }

    /// What the operator has to see to (RFC 3463 X.3.5).
    pub(crate) fn refused(text: String) -> Trouble {
        Trouble::new(Status::new(4, 3, 5), text)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::deferred(self.status, self.text.clone())
    }
}

/// What comes of a request: the head of an answer.
type Answered = hyper::Result<Response<Incoming>>;

/// A stream to a server, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is free, or at work.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Fed>,
    address: Address,
    driver: JoinHandle<()>,
    written: Written,
    used: Instant,
    /// Requests that were sent over it.
    requests: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The socket goes with it, whatever the server still has to say.
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to one of the server's addresses.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(crate) async fn open(address: &Address, settings: &Settings) -> Result<Connection, Trouble> {
        let limit = settings.times.connect;
        match timeout(limit, Connection::open_untimed(address, settings)).await {
            Ok(opened) => opened,
            Err(_) => Err(Trouble::unreached(
                Status::new(4, 4, 1),
                format!("no connection to {} in {} s", address.authority, limit.as_secs()),
            )),
        }
    }

    async fn open_untimed(address: &Address, settings: &Settings) -> Result<Connection, Trouble> {
        let no_name = |why: String| {
            Trouble::unreached(Status::new(4, 4, 3), format!("looking up {}: {why}", address.host))
        };
        let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
        let found = found.map_err(|error| no_name(error.to_string()))?;
        let mut why = no_name("it has no address".to_owned());
        for place in found {
            let tcp = match TcpStream::connect(place).await {
                Ok(tcp) => tcp,
                Err(error) => {
                    let text = format!("no connection to {} at {place}: {error}", address.host);
                    why = Trouble::unreached(Status::new(4, 4, 1), text);
                    continue;
                }
            };
            // Requests are written in whole pieces anyway.
            let _ = tcp.set_nodelay(true);
            let stream: Box<dyn Stream> = match (address.tls, &settings.tls) {
                (false, _) => Box::new(tcp),
                (true, Some(config)) => {
                    // RFC 5248: X.7.5 is a failure of cryptography.
                    let no_tls = |why: String| {
                        let text = format!("no TLS with {}: {why}", address.authority);
                        Trouble::unreached(Status::new(4, 7, 5), text)
                    };
                    let name = ServerName::try_from(address.host.clone())
                        .map_err(|error| no_tls(error.to_string()))?;
                    let connector = TlsConnector::from(config.clone());
                    Box::new(connector.connect(name, tcp).await.map_err(|error| no_tls(error.to_string()))?)
                }
                (true, None) => {
                    let text = format!("no TLS was set up for {}", address.authority);
                    return Err(Trouble::unreached(Status::new(4, 3, 5), text));
                }
            };
            let (stream, written) = Noted::over(stream);
            let mut builder = http1::Builder::new();
            builder.max_buf_size(HEADER_MAX).max_headers(FIELDS_MAX);
            let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| {
                Trouble::unreached(
                    Status::new(4, 4, 1),
                    format!("no connection to {}: {error}", address.authority),
                )
            })?;
            let driver = tokio::spawn(async move {
                // What goes wrong is told to whoever waits for the answer.
                let _ = connection.await;
            });
            return Ok(Connection {
                sender,
                address: address.clone(),
                driver,
                written,
                used: Instant::now(),
                requests: 0,
            });
        }
        Err(why)
    }

    /// Whether it leads there, and is still open as far as is known.
    pub(crate) fn serves(&self, address: &Address) -> bool {
        self.address.is_same_place(address) && self.sender.is_ready()
    }

    /// When it last had something to do.
    pub(crate) fn used(&self) -> Instant {
        self.used
    }

    /// Posts a body. The answer comes with the connection, where that can be used again.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn post(
        mut self,
        path: &str,
        fields: HeaderMap,
        length: u64,
        chunks: impl Iterator<Item = Bytes>,
        times: &Times,
    ) -> Result<(Answer, Option<Connection>), Trouble> {
        let has_served = self.requests > 0;
        self.requests += 1;
        let (into, octets) = mpsc::channel(CHUNKS_MAX);
        let fetched = self.written.fetched.clone();
        let mut request = Request::new(Fed { octets, left: length, number: self.requests, fetched });
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path
            .parse()
            .map_err(|_| Trouble::refused(format!("`{}` is no path of a URL", path.escape_debug())))?;
        *request.headers_mut() = fields;
        let host =
            self.address.authority.parse().map_err(|_| {
                Trouble::refused(format!("`{}` cannot stand in `Host`", self.address.authority))
            })?;
        request.headers_mut().insert(header::HOST, host);
        let response = self.sender.send_request(request);
        let mut response = pin!(response);
        let answered = match feed(into, chunks, response.as_mut(), times.data).await? {
            Some(answered) => answered,
            None => match timeout(times.status, &mut response).await {
                Ok(answered) => answered,
                Err(_) => return Err(Trouble::late("there was no answer", times.status)),
            },
        };
        let answered = answered.map_err(|error| Trouble {
            stale: has_served && (error.is_canceled() || error.is_closed() || error.is_incomplete_message()),
            ..trouble_of(&error)
        })?;
        let was_written = match takes(&answered) {
            true => timeout(times.data, self.written.wait(self.requests)).await.unwrap_or(false),
            false => self.written.has(self.requests),
        };
        if takes(&answered) && !was_written {
            return Err(Trouble::untaken(&answered));
        }
        let (answer, is_read) = read(answered).await;
        self.used = Instant::now();
        let reusable =
            was_written && is_read && matches!(timeout(SAYING_TIME, self.sender.ready()).await, Ok(Ok(())));
        Ok((answer, reusable.then_some(self)))
    }
}

/// Whether a server says that it has taken a message.
fn takes(answer: &Response<Incoming>) -> bool {
    answer.status().is_success()
}

/// Hands a body on, piece by piece. Gives the answer that came meanwhile, which ends it if it does not say that the message is taken.
///
/// # Errors
/// Nothing is taken from us any more, for as long as this.
async fn feed(
    into: mpsc::Sender<Bytes>,
    chunks: impl Iterator<Item = Bytes>,
    mut response: Pin<&mut impl Future<Output = Answered>>,
    limit: Duration,
) -> Result<Option<Answered>, Trouble> {
    let mut early: Option<Answered> = None;
    for chunk in chunks {
        let room = loop {
            tokio::select! {
                biased;
                answered = &mut response, if early.is_none() => {
                    let goes_on = answered.as_ref().is_ok_and(takes);
                    early = Some(answered);
                    if !goes_on {
                        return Ok(early);
                    }
                }
                room = timeout(limit, into.reserve()) => match (room, &early) {
                    (Ok(Ok(room)), _) => break room,
                    // Nobody takes more: the answer says why.
                    (Ok(Err(_)), _) => return Ok(early),
                    (Err(_), Some(Ok(answer))) => return Err(Trouble::untaken(answer)),
                    (Err(_), _) => return Err(Trouble::late("the server took nothing", limit)),
                },
            }
        };
        room.send(chunk);
    }
    Ok(early)
}

fn trouble_of(error: &hyper::Error) -> Trouble {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    if error.is_parse() {
        return Trouble::new(Status::new(4, 5, 0), format!("the server does not speak HTTP: {text}"));
    }
    Trouble::new(Status::new(4, 4, 2), format!("connection lost before the answer: {text}"))
}

/// The answer as far as it is of interest, and whether that was all of it.
async fn read(response: Response<Incoming>) -> (Answer, bool) {
    let field = |name: header::HeaderName| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut answer = Answer {
        code: response.status().as_u16(),
        location: field(header::LOCATION),
        retry_after: field(header::RETRY_AFTER),
        said: Vec::new(),
    };
    let mut body = response.into_body();
    let reading = async {
        loop {
            match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let room = SAID_MAX - answer.said.len();
                    answer.said.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        return false;
                    }
                }
            }
        }
    };
    let is_read = timeout(SAYING_TIME, reading).await.unwrap_or(false);
    (answer, is_read)
}

/// A body that is fed while it goes out.
#[derive(Debug)]
pub(crate) struct Fed {
    octets: mpsc::Receiver<Bytes>,
    left: u64,
    /// Which request of its connection it belongs to.
    number: u64,
    fetched: Fetched,
}

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = std::task::ready!(self.octets.poll_recv(context));
        if let Some(chunk) = &chunk {
            self.left = self.left.saturating_sub(chunk.len() as u64);
            if self.left == 0 {
                self.fetched.note(self.number);
            }
        }
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
