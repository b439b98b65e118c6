//! The network of the simulation: lines whose octets are on their way until chance carries them on, in pieces cut anywhere, and
//! which may be cut at any moment.
//!
//! At one end of a line stands a real session (`sluice_smtpd`), which is polled when chance says so and sees a stream like any
//! other; at the other a client of the simulation. No time passes for a session that waits: none of its deadlines comes.
//!
//! # Not here
//! Who is at the ends: clients that bring mail in (`world::clients`), and the hub's own side towards its peers (`world::peers`).

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};

use sluice_mail::Refusal;
use sluice_smtpd::{Connection, Intake, serve_reversed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::chance::Chance;

/// What goes one way.
#[derive(Debug, Default)]
struct Way {
    under_way: VecDeque<u8>,
    arrived: VecDeque<u8>,
    /// Its sender has said that no more comes.
    has_ended: bool,
}

impl Way {
    /// Takes as much as there is room for.
    fn put(&mut self, octets: &[u8], room: usize) -> usize {
        let taken = octets.len().min(room.saturating_sub(self.under_way.len()));
        self.under_way.extend(&octets[..taken]);
        taken
    }

    fn carry(&mut self, most: usize) -> usize {
        let carried = most.min(self.under_way.len());
        self.arrived.extend(self.under_way.drain(..carried));
        carried
    }
}

#[derive(Debug, Default)]
struct Ways {
    to_server: Way,
    to_client: Way,
    /// What is under way is lost, and nothing more is taken.
    is_cut: bool,
    /// Octets that may be under way, in each direction.
    room: usize,
}

/// A connection, as its client has it.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<Mutex<Ways>>);

/// What a client reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Octets(Vec<u8>),
    /// The server has closed its side.
    End,
    /// The connection is gone.
    Lost,
}

impl Line {
    pub(super) fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Ways { room, ..Ways::default() })))
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.0.lock().expect("nobody panics with a line in hand")
    }

    /// Says as much of it as there is room for. `None`: the connection is gone.
    pub(super) fn say(&self, octets: &[u8]) -> Option<usize> {
        let mut ways = self.ways();
        let room = ways.room;
        if ways.is_cut { None } else { Some(ways.to_server.put(octets, room)) }
    }

    pub(super) fn hear(&self) -> Heard {
        let mut ways = self.ways();
        let is_cut = ways.is_cut;
        let Way { under_way, arrived, has_ended } = &mut ways.to_client;
        match arrived.is_empty() {
            false => Heard::Octets(arrived.drain(..).collect()),
            true if is_cut => Heard::Lost,
            true if *has_ended && under_way.is_empty() => Heard::End,
            true => Heard::Nothing,
        }
    }

    /// The client says no more.
    pub(super) fn hang_up(&self) {
        self.ways().to_server.has_ended = true;
    }

    /// Carries some octets on, one way. Whether there were any.
    pub(super) fn carry(&self, chance: &mut Chance) -> bool {
        let most = *chance.pick(&[1, 2, 7, 40, 200, 1460, usize::MAX, usize::MAX]);
        let mut ways = self.ways();
        let Ways { to_server, to_client, .. } = &mut *ways;
        let (first, second) = if chance.once_in(2) { (to_server, to_client) } else { (to_client, to_server) };
        first.carry(most) > 0 || second.carry(most) > 0
    }

    /// Cuts the connection. What has arrived can still be read.
    pub(super) fn cut(&self) {
        let mut ways = self.ways();
        ways.is_cut = true;
        ways.to_server.under_way.clear();
        ways.to_client.under_way.clear();
    }
}

/// The end of a line that a session has.
#[derive(Debug)]
struct ServerEnd(Line);

impl AsyncRead for ServerEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ways = self.0.ways();
        let is_cut = ways.is_cut;
        let Way { under_way, arrived, has_ended } = &mut ways.to_server;
        if !arrived.is_empty() {
            let taken = arrived.len().min(buffer.remaining());
            let octets: Vec<u8> = arrived.drain(..taken).collect();
            buffer.put_slice(&octets);
            return Poll::Ready(Ok(()));
        }
        match is_cut {
            true => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            false if *has_ended && under_way.is_empty() => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let mut ways = self.0.ways();
        if ways.is_cut || ways.to_client.has_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = ways.room;
        match ways.to_client.put(octets, room) {
            0 => Poll::Pending,
            taken => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.ways().to_client.has_ended = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        self.0.ways().to_client.has_ended = true;
    }
}

/// What sessions need to be told of time. Nobody turns it, so none passes.
fn timeless() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_current_thread().enable_time().build().expect("a runtime without threads")
    })
}

type Course = Pin<Box<dyn Future<Output = Result<(u64, io::Result<()>), Refusal>> + Send>>;

/// A session at the server's end of a line.
pub(super) struct Serving {
    course: Course,
    stop: watch::Sender<bool>,
}

impl Serving {
    /// Answers on a line, in front of a house.
    pub(super) fn of(line: &Line, intake: Arc<dyn Intake>) -> Self {
        let local = SocketAddr::from(([192, 0, 2, 1], 25));
        let connection = Connection {
            peer: SocketAddr::from(([192, 0, 2, 99], 4000)),
            local,
            service: "SMTP".into(),
            channel: "tcp_local".into(),
            implicit_tls: false,
            name: None,
        };
        let (stop, stopping) = watch::channel(false);
        let course = serve_reversed(Box::new(ServerEnd(line.clone())), connection, intake, stopping);
        Self { course: Box::pin(course), stop }
    }

    /// Lets it do what it can do. Whether it is over.
    pub(super) fn go_on(&mut self) -> bool {
        let _within = timeless().enter();
        self.course.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// The server stops.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Its deadlines leave the runtime with it.
        let _within = timeless().enter();
        self.course = Box::pin(std::future::pending());
    }
}
