//! The socket under a connection: to another host, or to a program of this machine; and how it comes about.
//!
//! # Not here
//! TLS over it (`tls`), what is said over it (`connection`), which address it goes to (`targets`).

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use crate::halt::Halt;
use crate::settings::Settings;
use crate::targets::Place;

/// A blocking stream socket.
#[derive(Debug)]
pub(crate) enum Socket {
    /// To another host.
    Tcp(TcpStream),
    /// To whoever listens at a path.
    Unix(UnixStream),
}

impl Socket {
    /// Connects to a place within the time; a stopping channel does not wait.
    pub(crate) fn open(
        place: &Place,
        settings: &Settings,
        limit: Duration,
        runtime: &Runtime,
        halt: &Halt,
    ) -> Result<Socket, NoSocket> {
        match place {
            Place::Net(address) => {
                runtime.block_on(connect(*address, settings, limit, halt)).map(Socket::Tcp)
            }
            Place::Unix(path) => UnixStream::connect(path)
                .map(Socket::Unix)
                .map_err(|error| NoSocket { why: error.to_string(), no_route: false }),
        }
    }

    pub(crate) fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_nonblocking(on),
            Socket::Unix(socket) => socket.set_nonblocking(on),
        }
    }

    pub(crate) fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_read_timeout(time),
            Socket::Unix(socket) => socket.set_read_timeout(time),
        }
    }

    pub(crate) fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.set_write_timeout(time),
            Socket::Unix(socket) => socket.set_write_timeout(time),
        }
    }

    /// Acknowledges what has come without waiting for more. Without it everything is only slower.
    pub(crate) fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::TcpStreamExt;
            if let Socket::Tcp(socket) = self {
                drop(socket.set_quickack(true));
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(octets),
            Socket::Unix(socket) => socket.read(octets),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(octets),
            Socket::Unix(socket) => socket.write(octets),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write_vectored(slices),
            Socket::Unix(socket) => socket.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.flush(),
            Socket::Unix(socket) => socket.flush(),
        }
    }
}

/// Why there is no socket.
#[derive(Debug)]
pub(crate) struct NoSocket {
    pub(crate) why: String,
    /// No way leads there from here, which a line that is coming up will change.
    pub(crate) no_route: bool,
}

impl NoSocket {
    /// The line that the address is reached by may be down, or about to come up: our own machine has no way there, or the router
    /// at the line's end says so (ICMP comes as the same errors).
    fn of(error: &io::Error) -> NoSocket {
        use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable};
        let no_route = matches!(error.kind(), NetworkUnreachable | HostUnreachable | NetworkDown);
        NoSocket { why: error.to_string(), no_route }
    }
}

/// Connects within the time, from the address set; a stopping channel does not wait.
async fn connect(
    address: SocketAddr,
    settings: &Settings,
    limit: Duration,
    halt: &Halt,
) -> Result<TcpStream, NoSocket> {
    let failed = |error: io::Error| NoSocket::of(&error);
    let without = |why: String| NoSocket { why, no_route: false };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(failed)?;
    if let Some(interface) = settings.interface {
        if interface.is_ipv4() != address.is_ipv4() {
            return Err(without(format!(
                "the channel's `interfaceaddress` {interface} is of the other kind of address"
            )));
        }
        socket.bind(SocketAddr::new(interface, 0)).map_err(|error| NoSocket {
            why: format!("cannot use the channel's `interfaceaddress` {interface}: {error}"),
            // The address of a line that is dialled is there when the line is.
            no_route: error.kind() == io::ErrorKind::AddrNotAvailable,
        })?;
    }
    let stream = tokio::select! {
        connected = tokio::time::timeout(limit, socket.connect(address)) => match connected {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => return Err(without(format!("no answer in {} s", limit.as_secs_f32()))),
        },
        () = halt.told() => return Err(without("the channel is stopping".to_owned())),
    };
    let stream = stream.into_std().map_err(failed)?;
    stream.set_nonblocking(false).map_err(failed)?;
    // Commands and the ends of messages go out at once; everything is written in whole groups anyway.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}
