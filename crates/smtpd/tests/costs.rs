//! What a session and a message in it cost, counted in allocations: the part of their speed that does not depend on the
//! machine. What the house behind the intake costs is not in here.
#![allow(missing_docs, clippy::unwrap_used)]

#[allow(unreachable_pub, dead_code)]
mod site;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use site::{Door, Fake};
use sluice_smtpd::{Connection, serve_reversed};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// A client that has everything said before it is asked: each read gets one piece of it.
#[derive(Debug)]
struct Script {
    pieces: std::vec::IntoIter<Vec<u8>>,
    heard: Vec<u8>,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.pieces.next() {
            assert!(piece.len() <= buffer.remaining(), "a piece fits into one read");
            buffer.put_slice(&piece);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Allocations of a session in which so many messages of so many lines come, each command in a read of its own.
fn session(messages: usize, lines: usize) -> u64 {
    let mut body = b"Subject: a\r\nFrom: s@origin.example\r\n\r\n".to_vec();
    for _ in 0..lines {
        body.extend_from_slice(
            b"A line of seventy-two octets, as they are in most of the messages there\r\n",
        );
    }
    body.extend_from_slice(b".\r\n");
    let mut said: Vec<Vec<u8>> = vec![b"EHLO client.example\r\n".to_vec()];
    for _ in 0..messages {
        said.extend([
            b"MAIL FROM:<s@origin.example>\r\n".to_vec(),
            b"RCPT TO:<fred@site.example>\r\n".to_vec(),
            b"DATA\r\n".to_vec(),
            body.clone(),
        ]);
    }
    said.push(b"QUIT\r\n".to_vec());
    let fake = Arc::new(Fake::default());
    let heard = Vec::with_capacity(1 << 16);
    let script = Script { pieces: said.into_iter(), heard };
    let here = SocketAddr::from(([127, 0, 0, 1], 25));
    let connection = Connection {
        peer: here,
        local: here,
        service: "SMTP".into(),
        channel: "tcp_local".into(),
        implicit_tls: false,
        name: None,
    };
    let (_stop, stopping) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let intake = Arc::new(Door(Arc::clone(&fake)));
    let mut ended = None;
    let counted = allocation_counter::measure(|| {
        ended = Some(runtime.block_on(serve_reversed(Box::new(script), connection, intake, stopping)));
    });
    let (accepted, how) = ended.unwrap().unwrap();
    how.unwrap();
    assert_eq!(accepted, messages as u64);
    assert_eq!(fake.accepted.lock().unwrap().len(), messages);
    counted.count_total
}

/// What a session may cost without a message, and a message, those of the intake in memory counted in. They came to 22 and 49
/// when this was written.
const SESSION_MAX: u64 = 24;
const MESSAGE_MAX: u64 = 52;

#[test]
fn a_session_and_each_message_in_it_cost_so_many_allocations() {
    // What is made once for the process is made here.
    session(1, 1);
    let (none, few, many) = (session(0, 0), session(100, 50), session(200, 50));
    let each = (many - few) / 100;
    assert!(none <= SESSION_MAX, "a session without mail: {none} allocations, more than {SESSION_MAX}");
    assert!(each <= MESSAGE_MAX, "a message: {each} allocations, more than {MESSAGE_MAX}");
    assert!(each >= 10, "{each} allocations cannot make a message: who counts?");
}

#[test]
fn more_lines_cost_no_more_allocations() {
    session(1, 1);
    let short = session(20, 10);
    let long = session(20, 90);
    assert!(long <= short + 20, "{long} allocations for messages of ninety lines, {short} for those of ten");
}
