//! The end of a connection that the client may not have finished with.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tls::Wire;

/// Before closing on a client that is still sending, so much and for so long is read: a close with input unread would
/// reset the connection, and the client might never see our last reply.
const LINGER_OCTETS_MAX: usize = 256 * 1024;
/// For so long at most.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// What is written from here on goes out with the close that follows, in one segment (TCP_CORK of tcp(7)): the client is woken once and
/// not twice. Without it there are two. `false`, and nothing is held back, when the client has sent more than we have read: the close
/// would reset the connection, and what was held back would be lost.
pub(crate) fn last_words(stream: &TcpStream) -> bool {
    let socket = socket2::SockRef::from(stream);
    let is_quiet = !socket.peek(&mut [MaybeUninit::uninit()]).is_ok_and(|octets| octets > 0);
    #[cfg(target_os = "linux")]
    if is_quiet {
        drop(socket.set_tcp_cork(true));
    }
    is_quiet
}

/// Closes our side and reads what is still coming, briefly.
pub(crate) async fn linger(stream: &mut Wire) {
    let drain = async {
        stream.shutdown().await?;
        let mut left = LINGER_OCTETS_MAX;
        let mut octets = [0; 1024];
        while left > 0 {
            match stream.read(&mut octets).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn nothing_is_held_back_from_who_has_said_more_than_was_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(last_words(&stream));
        client.write_all(b"and another thing\r\n").await.unwrap();
        stream.readable().await.unwrap();
        assert!(!last_words(&stream));
    }
}
