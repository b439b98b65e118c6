//! Listeners: bind, accept, count, stop.
//!
//! # Stopping
//! When the shutdown future is ready, listeners close at once. Sessions that wait for a command say 421; a message that
//! is being received or stored may come to its end within [`Settings::grace`]. Then what is left is cut off: such a
//! client has no 250, so it keeps its message.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::gate::parts::AtomicU32;
use crate::gate::{Crowded, Gate};
use crate::intake::{Connection, Intake};
use crate::session;

/// Connections that the kernel keeps ready while we accept others; a burst of a thousand clients fits.
const BACKLOG: i32 = 1024;
/// How long nothing is accepted after accepting failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What listens where, and for which channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name, for logs and [`Connection::service`].
    pub name: String,
    /// Addresses and ports. No address means all of them, IPv6 and IPv4; port 0 lets the system choose.
    pub listen: Vec<(Option<IpAddr>, u16)>,
    /// The same, for connections that begin with TLS.
    pub listen_tls: Vec<(Option<IpAddr>, u16)>,
    /// Source channel of what comes in here, lower case.
    pub channel: String,
    /// Connections at a time; 0 is no limit.
    pub max_connections: u32,
    /// Connections at a time from one address; 0 is no limit.
    pub max_connections_per_client: u32,
}

/// What concerns all services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our name, in the refusal of a connection that is one too many.
    pub host: String,
    /// Connections at a time, of all services together; 0 is no limit.
    pub max_connections: u32,
    /// How long messages on their way may take to finish when the server stops.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { host: "localhost".into(), max_connections: 10_000, grace: Duration::from_secs(5) }
    }
}

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address belongs to another program (or another of our own).
    #[error("service {service}: {address} is in use by another program; stop it or choose another PORT")]
    InUse {
        /// Name of the service.
        service: String,
        /// What it should listen on.
        address: SocketAddr,
    },
    /// Ports below 1024 belong to root.
    #[error(
        "service {service}: not permitted to listen on {address}; a port below 1024 needs root or CAP_NET_BIND_SERVICE"
    )]
    NotPermitted {
        /// Name of the service.
        service: String,
        /// What it should listen on.
        address: SocketAddr,
    },
    /// Anything else, such as an address that this machine does not have.
    #[error("service {service}: cannot listen on {address}")]
    Other {
        /// Name of the service.
        service: String,
        /// What it should listen on.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// Bound listeners, ready to run.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    listeners: Vec<Listener>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    implicit_tls: bool,
    service: Arc<str>,
    channel: Arc<str>,
    gate: Arc<Gate>,
}

impl Server {
    /// Opens all listeners. Nothing is accepted before [`Server::run`], so a failure turns no client away.
    pub async fn bind(services: Vec<Service>, settings: Settings) -> Result<Server, BindError> {
        let total = Arc::new(AtomicU32::new(0));
        let mut listeners = Vec::new();
        for service in services {
            let of_client_max = service.max_connections_per_client;
            let gate = Gate::new(
                Arc::clone(&total),
                settings.max_connections,
                service.max_connections,
                of_client_max,
            );
            let (name, channel): (Arc<str>, Arc<str>) = (service.name.into(), service.channel.into());
            let plain = service.listen.into_iter().map(|place| (place, false));
            let with_tls = service.listen_tls.into_iter().map(|place| (place, true));
            for ((address, port), implicit_tls) in plain.chain(with_tls) {
                let (socket, address) =
                    listen(address, port).map_err(|(address, e)| because(&name, address, e))?;
                let (service, channel, gate) = (Arc::clone(&name), Arc::clone(&channel), Arc::clone(&gate));
                listeners.push(Listener { socket, address, implicit_tls, service, channel, gate });
            }
        }
        Ok(Server { settings, listeners })
    }

    /// What is listened on, in the order of the services: service name and address.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.listeners.iter().map(|listener| (listener.service.to_string(), listener.address)).collect()
    }

    /// Serves until `shutdown` is ready and all sessions have ended or the grace time is over.
    pub async fn run(self, intake: Arc<dyn Intake>, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(false);
        let mut listeners = JoinSet::new();
        let settings = Arc::new(self.settings);
        for listener in self.listeners {
            listeners.spawn(accept(listener, Arc::clone(&settings), Arc::clone(&intake), stopping.clone()));
        }
        shutdown.await;
        stop.send_replace(true);
        while let Some(ended) = listeners.join_next().await {
            report(ended);
        }
    }
}

/// Opens one listener. On failure says for which address.
fn listen(address: Option<IpAddr>, port: u16) -> Result<(TcpListener, SocketAddr), (SocketAddr, io::Error)> {
    let Some(address) = address else {
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        return match open(all) {
            // A machine without IPv6 has only the other family.
            Err(error)
                if error.kind() != io::ErrorKind::AddrInUse
                    && error.kind() != io::ErrorKind::PermissionDenied =>
            {
                let all = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
                open(all).map_err(|error| (all, error))
            }
            opened => opened.map_err(|error| (all, error)),
        };
    };
    let address = SocketAddr::from((address, port));
    open(address).map_err(|error| (address, error))
}

fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait until the connections of the last run are forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Replies are written whole; waiting for more to fill a packet only costs the client time. Accepted sockets have it
    // from the listener (tcp(7)), which spares a call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn because(service: &str, address: SocketAddr, source: io::Error) -> BindError {
    let service = service.to_owned();
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { service, address },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { service, address },
        _ => BindError::Other { service, address, source },
    }
}

/// Accepts connections until `stopping`, then waits for the sessions. Woken by a connection, an ended session or the stop.
async fn accept(
    listener: Listener,
    settings: Arc<Settings>,
    intake: Arc<dyn Intake>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                report(ended);
                continue;
            }
            accepted = listener.socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(service = %listener.service, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let place = match listener.gate.enter(peer.ip()) {
            Ok(place) => place,
            Err(crowded) => {
                tracing::warn!(service = %listener.service, %peer, ?crowded, "connection refused: too many");
                let reply = match crowded {
                    Crowded::Here => replies::too_many_connections(&settings.host),
                    Crowded::Client => replies::too_many_connections_of_client(&settings.host),
                };
                // Nothing can be said before a handshake, which would cost more than the place that is not there.
                if !listener.implicit_tls {
                    turn_away(stream, &reply);
                }
                continue;
            }
        };
        // Where the listener has one address, so have its connections.
        let local = match listener.address.ip().is_unspecified() {
            true => stream.local_addr().unwrap_or(listener.address),
            false => listener.address,
        };
        let connection = Connection {
            peer,
            local: SocketAddr::new(local.ip().to_canonical(), local.port()),
            service: Arc::clone(&listener.service),
            channel: Arc::clone(&listener.channel),
            implicit_tls: listener.implicit_tls,
            name: None,
        };
        let (intake, stopping) = (Arc::clone(&intake), stopping.clone());
        // A session is many thousand octets, and a task is moved a dozen times until it runs, and once more when it has ended.
        sessions.spawn(Box::pin(async move {
            session::serve(stream, connection, intake, stopping).await;
            drop(place);
        }));
    }
    drop(listener);
    let all_ended = async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(settings.grace, all_ended).await.is_err() {
        tracing::warn!(sessions = sessions.len(), "sessions cut off: the time to finish is over");
        sessions.shutdown().await;
    }
}

/// Says why and closes, without waiting: a client that is one too many must not cost a task.
fn turn_away(stream: TcpStream, reply: &Reply) {
    if let Ok(mut stream) = stream.into_std() {
        // The first octets of a connection always fit into the send buffer; if not, the close says enough.
        let _ = stream.write(&reply.to_bytes());
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "an SMTP session panicked; its connection was closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_small_replies_at_once() {
        for address in [Ipv4Addr::LOCALHOST.into(), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let Ok((listener, address)) = listen(Some(address), 0) else {
                assert!(address.is_ipv6(), "a machine without IPv6 has IPv4");
                continue;
            };
            let client = TcpStream::connect(address);
            let (accepted, client) = tokio::join!(listener.accept(), client);
            assert!(accepted.unwrap().0.nodelay().unwrap());
            drop(client.unwrap());
        }
    }
}
