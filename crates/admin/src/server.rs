//! The answering side of the control socket.
//!
//! Each client is read by a task; the request itself is carried out on a blocking thread, because answers may read the
//! spool. Rows go through a bounded channel, so a client that does not read holds up only its own request.
//! Not here: what a request means; [`Control`] is the seam.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::peer;
use crate::reach::Reach;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::protocol::{Fault, FaultKind, Line, Request};
use crate::{CONNECTIONS_LIMIT, REQUEST_LIMIT, REQUEST_TIMEOUT};

/// Rows that may wait for a slow reader.
const ROWS_AHEAD: usize = 256;

/// How long a client may leave a row unread before it is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often clients that are refused are told of.
const REFUSALS_TOLD: Duration = Duration::from_secs(60);

/// So many clients that are refused are heard out, each for so long: with its question unread, the close would reset the connection.
/// Others find it closed.
const REFUSED_MAX: usize = 8;
const REFUSED_TIME: Duration = Duration::from_secs(1);

/// The hub, as the control socket sees it.
pub trait Control: Send + Sync + 'static {
    /// Carries out a request; called on a thread that may block. Each row of the answer is handed to `row`, which says
    /// `false` when the client has gone and the rest is not wanted.
    ///
    /// # Errors
    /// The fault that closes the answer.
    fn call(&self, request: Request, row: &mut dyn FnMut(Value) -> bool) -> Result<(), Fault>;
}

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another hub answers on it.
    #[error("another hub answers on {}", .path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket has the name.
    #[error("{} is there and is not a socket", .path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on {}", .path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound control socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Makes the socket at `path`, mode 0600. A socket that a dead hub left behind is replaced.
    ///
    /// # Errors
    /// [`BindError`]; a live hub's socket and files that are no sockets are left alone.
    pub fn bind(path: &Path) -> Result<Server, BindError> {
        let listen = |source| BindError::Listen { path: path.to_owned(), source };
        match std::fs::symlink_metadata(path) {
            Ok(found) => {
                use std::os::unix::fs::FileTypeExt;
                if !found.file_type().is_socket() {
                    return Err(BindError::NotASocket { path: path.to_owned() });
                }
                let reach = Reach::new(path).map_err(listen)?;
                if std::os::unix::net::UnixStream::connect(reach.path()).is_ok() {
                    return Err(BindError::Taken { path: path.to_owned() });
                }
                std::fs::remove_file(path).map_err(listen)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(listen(error)),
        }
        let reach = Reach::new(path).map_err(listen)?;
        let listener = UnixListener::bind(reach.path()).map_err(listen)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(listen)?;
        Ok(Server { listener, path: path.to_owned() })
    }

    /// Serves clients until the task is dropped.
    pub async fn run(self, control: Arc<dyn Control>) {
        self.run_refusing(peer::refusal, control).await;
    }

    /// Whoever `refusal` has a reason against is told of it and gets no place: not one that waits is held up by them.
    async fn run_refusing(
        self,
        refusal: impl Fn(&UnixStream) -> Option<&'static str>,
        control: Arc<dyn Control>,
    ) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
        let refused = Arc::new(Semaphore::new(REFUSED_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(why) = refusal(&stream) {
                        tell_refusal(why);
                        let mut line = Vec::new();
                        put(&mut line, &Line::Fault(Fault::new(FaultKind::Malformed, why)));
                        // It fits into an empty socket, so nobody waits; and whoever has gone needs no answer.
                        let _ = stream.try_write(&line);
                        if let Ok(place) = Arc::clone(&refused).try_acquire_owned() {
                            tokio::spawn(hear_out(stream, place));
                        }
                        continue;
                    }
                    let control = Arc::clone(&control);
                    tokio::spawn(async move {
                        if let Err(error) = serve(stream, control).await {
                            tracing::debug!(%error, "a control client went away");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: wait for one to come free instead of spinning.
                    tracing::warn!(%error, "cannot accept a control client");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A socket that stays behind is harmless: the next start finds nobody on it and replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, control: Arc<dyn Control>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut text = Vec::new();
    let mut limited = BufReader::new(read).take(REQUEST_LIMIT as u64 + 1);
    let arrived = tokio::time::timeout(REQUEST_TIMEOUT, limited.read_until(b'\n', &mut text)).await;
    let request = match arrived {
        Err(_) => Err(Fault::new(FaultKind::Malformed, "the request took too long to arrive")),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(0)) => return Ok(()),
        Ok(Ok(_)) if text.len() > REQUEST_LIMIT => {
            Err(Fault::new(FaultKind::Malformed, format!("a request is at most {REQUEST_LIMIT} octets")))
        }
        Ok(Ok(_)) => serde_json::from_slice::<Request>(&text)
            .map_err(|error| Fault::new(FaultKind::Malformed, format!("cannot read the request: {error}"))),
    };
    let (rows, mut answer) = mpsc::channel::<Line>(ROWS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let done = request.and_then(|request| {
            control.call(request, &mut |value| rows.blocking_send(Line::Data(value)).is_ok())
        });
        let closing = match done {
            Ok(()) => Line::End {},
            Err(fault) => Line::Fault(fault),
        };
        // The client may have gone; then nobody wants the closing line either.
        let _ = rows.blocking_send(closing);
    });
    let mut out = Vec::new();
    while let Some(line) = answer.recv().await {
        out.clear();
        put(&mut out, &line);
        while out.len() < 32 * 1024 {
            let Ok(line) = answer.try_recv() else { break };
            put(&mut out, &line);
        }
        tokio::time::timeout(WRITE_TIMEOUT, write.write_all(&out)).await??;
    }
    write.shutdown().await
}

/// Reads the question of a client that has its answer.
async fn hear_out(stream: UnixStream, place: OwnedSemaphorePermit) {
    let mut question = BufReader::new(stream).take(REQUEST_LIMIT as u64 + 1);
    let _ = tokio::time::timeout(REFUSED_TIME, question.read_until(b'\n', &mut Vec::new())).await;
    drop(place);
}

/// Says so in the log, once in a minute: whoever does that may do it again and again.
fn tell_refusal(why: &str) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= REFUSALS_TOLD) {
        *last = Some(Instant::now());
        tracing::warn!(why, "a client of the control socket is refused");
    }
}

fn put(out: &mut Vec<u8>, line: &Line) {
    serde_json::to_writer(&mut *out, line).expect("a line is strings and numbers, and a Vec takes all");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, ClientError};
    use serde_json::json;
    use std::io::{Read, Write};

    struct Echo;
    impl Control for Echo {
        fn call(&self, request: Request, row: &mut dyn FnMut(Value) -> bool) -> Result<(), Fault> {
            match request {
                Request::Ping => {
                    for n in 0..1000 {
                        assert!(row(json!({ "n": n })), "the client reads on");
                    }
                    Ok(())
                }
                Request::Trigger { selector } => Err(Fault {
                    kind: FaultKind::Unknown,
                    message: format!("no channel {selector}"),
                    nearest: vec!["tcp_dialup".into()],
                }),
                _ => Err(Fault::new(FaultKind::Unavailable, "not in this test")),
            }
        }
    }

    fn running(test: impl FnOnce(&Path) + Send + 'static) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::bind(&path).unwrap();
            let task = tokio::spawn(server.run(Arc::new(Echo)));
            let there = path.clone();
            tokio::task::spawn_blocking(move || test(&there)).await.unwrap();
            task.abort();
        });
    }

    #[test]
    fn rows_come_in_order_and_then_the_end() {
        running(|path| {
            let mut seen = 0;
            Client::connect(path)
                .unwrap()
                .call(&Request::Ping, |row| {
                    assert_eq!(row["n"], seen);
                    seen += 1;
                })
                .unwrap();
            assert_eq!(seen, 1000);
        });
    }

    #[test]
    fn a_fault_keeps_its_kind_and_its_suggestions() {
        running(|path| {
            let request = Request::Trigger { selector: "#tcp_dailup".into() };
            let error = Client::connect(path).unwrap().call(&request, |_| ()).unwrap_err();
            let ClientError::Refused(fault) = error else { panic!("{error}") };
            assert_eq!(fault.kind, FaultKind::Unknown);
            assert_eq!(fault.nearest, ["tcp_dialup"]);
        });
    }

    #[test]
    fn what_is_no_request_is_answered_with_a_fault() {
        running(|path| {
            for wrong in [&b"hello\n"[..], b"{\"request\":\"format-the-disk\"}\n", b"\xff\xfe\n", b"[[[[[[\n"]
            {
                let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
                stream.write_all(wrong).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                assert!(answer.starts_with("{\"fault\":{\"kind\":\"malformed\""), "{answer}");
            }
        });
    }

    #[test]
    fn a_request_without_end_is_cut_off() {
        running(|path| {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            let _ = stream.write_all(&vec![b'x'; REQUEST_LIMIT + 1]);
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.contains("at most 65536 octets"), "{answer}");
        });
    }

    #[test]
    fn who_is_refused_takes_nobodys_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let seen = std::sync::atomic::AtomicUsize::new(0);
            let refusal = move |_: &UnixStream| {
                let before = seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                (before <= CONNECTIONS_LIMIT).then_some("not for you")
            };
            let server = Server::bind(&path).unwrap();
            let task = tokio::spawn(server.run_refusing(refusal, Arc::new(Echo)));
            let asked = tokio::task::spawn_blocking(move || {
                let begun = Instant::now();
                // They say nothing, and stay.
                let silent: Vec<_> = (0..=CONNECTIONS_LIMIT)
                    .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
                    .collect();
                Client::connect(&path).unwrap().call(&Request::Ping, |_| ()).unwrap();
                assert!(begun.elapsed() < REQUEST_TIMEOUT, "nobody waits behind them");
                for mut stream in silent {
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    assert!(answer.contains("not for you"), "{answer}");
                }
            });
            asked.await.unwrap();
            task.abort();
        });
    }

    #[test]
    fn a_second_hub_is_refused_and_a_dead_ones_socket_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let first = Server::bind(&path).unwrap();
            assert!(matches!(Server::bind(&path), Err(BindError::Taken { .. })));
            drop(first);
            assert!(!path.exists());
            std::fs::write(&path, "mail").unwrap();
            assert!(matches!(Server::bind(&path), Err(BindError::NotASocket { .. })));
            assert_eq!(std::fs::read(&path).unwrap(), b"mail");
        });
    }
}
