//! Whether the body of a request has been written: all of it, to the system.
//!
//! Whoever sends a request hears what comes back, and not how far what goes out has come. So the stream beneath takes note: a
//! writer flushes what lies beneath it when it has nothing left to write itself (hyper does so at the end of each of its rounds),
//! and the first flush that succeeds after the last octets of a body were fetched is the one that has them behind it. TLS hands its records on
//! in the same flush.
//!
//! # Not here
//! Whether the server has read it: what lies in the buffers of two systems is known by its answer alone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// How many bodies have been fetched as a whole, on one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fetched(Arc<AtomicU64>);

impl Fetched {
    /// The last octets of the body with this number, from 1 on, are being fetched.
    pub(crate) fn note(&self, number: u64) {
        self.0.store(number, Ordering::Release);
    }
}

/// How many bodies have been written as a whole, on one connection.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) fetched: Fetched,
    written: watch::Receiver<u64>,
}

impl Written {
    /// Whether that body has been written.
    pub(crate) fn has(&self, number: u64) -> bool {
        *self.written.borrow() >= number
    }

    /// Ends when that body has been written: `true`; or when the connection is gone before: `false`.
    pub(crate) async fn wait(&mut self, number: u64) -> bool {
        self.written.wait_for(|written| *written >= number).await.is_ok()
    }
}

/// A stream that takes note of its flushes.
#[derive(Debug)]
pub(crate) struct Noted<S> {
    stream: S,
    fetched: Fetched,
    written: watch::Sender<u64>,
}

impl<S> Noted<S> {
    pub(crate) fn over(stream: S) -> (Noted<S>, Written) {
        let (sender, written) = watch::channel(0);
        let fetched = Fetched::default();
        (Noted { stream, fetched: fetched.clone(), written: sender }, Written { fetched, written })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        let fetched = self.fetched.0.load(Ordering::Acquire);
        self.written.send_if_modified(|written| std::mem::replace(written, fetched) != fetched);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
