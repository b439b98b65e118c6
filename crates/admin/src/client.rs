//! The asking side of the control socket: one request, its rows, done. Blocking, because a command has nothing else to do.
//!
//! Not here: what to do with the rows, and the exit status (`sluice`).

use crate::reach::Reach;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::protocol::{Fault, Line, Request};

/// How long the hub may take for the next line of an answer. A listing of a large queue is read from disk as it goes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to a running hub.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why no answer was had.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no hub is running here: nothing answers on {}", .path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is there and this account may not use it.
    #[error("this account may not use {}; the hub's own account and root may", .path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the hub on {} broke off its answer", .path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The hub said something that this version does not understand.
    #[error("the hub on {} speaks another version of the control protocol", .path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What could not be read.
        source: serde_json::Error,
    },
    /// The hub refused.
    #[error("{}", .0.message)]
    Refused(Fault),
}

impl Client {
    /// Connects to the hub that listens on `path`.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] or [`ClientError::Forbidden`].
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let connected = Reach::new(path).and_then(|reach| UnixStream::connect(reach.path()));
        let opened = connected.and_then(|stream| {
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => Ok(Client { path: path.to_owned(), stream: BufReader::new(stream) }),
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(ClientError::Forbidden { path: path.to_owned(), source })
            }
            Err(source) => Err(ClientError::NotRunning { path: path.to_owned(), source }),
        }
    }

    /// Sends one request and hands each row of the answer to `row` as it comes.
    ///
    /// # Errors
    /// Every variant but the two of [`Client::connect`].
    pub fn call(mut self, request: &Request, mut row: impl FnMut(Value)) -> Result<(), ClientError> {
        let broken = |source| ClientError::Broken { path: self.path.clone(), source };
        let mut text = serde_json::to_string(request).expect("a request is strings and numbers");
        text.push('\n');
        match self.stream.get_mut().write_all(text.as_bytes()) {
            // Whoever is refused is told so without a question, and may find the door closed: why is there to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(broken)?,
        }
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line).map_err(broken)? == 0 {
                return Err(broken(io::ErrorKind::UnexpectedEof.into()));
            }
            match serde_json::from_str(&line) {
                Ok(Line::Data(value)) => row(value),
                Ok(Line::End {}) => return Ok(()),
                Ok(Line::Fault(fault)) => return Err(ClientError::Refused(fault)),
                Err(source) => return Err(ClientError::Foreign { path: self.path.clone(), source }),
            }
        }
    }
}
