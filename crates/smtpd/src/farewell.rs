//! The end of a connection that the client may not have finished with.

use std::io;
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
/// not twice. Without it there are two.
pub(crate) fn last_words(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    drop(socket2::SockRef::from(stream).set_tcp_cork(true));
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
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
