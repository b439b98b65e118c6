//! A source of our own, for what smtp-source is too slow for.
//!
//! smtp-source is one process that asks for one reply after the other. On a machine with two processors it reaches a few thousand
//! messages a second, whoever takes them, so that it measures itself once a hub is faster. This one keeps a connection for each
//! session, on a thread of its own, and sends the commands of a message together, as servers do among themselves (RFC 2920).

use super::relay::Shape;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends so many messages in all, and returns when the last is acknowledged.
pub(super) fn send(port: u16, shape: Shape, messages: u32, to: &str) -> Result<()> {
    let left = AtomicU32::new(messages);
    let commands = format!("MAIL FROM:<sender@origin.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    let content = content(shape.size);
    std::thread::scope(|scope| {
        let sessions: Vec<_> =
            (0..shape.sessions).map(|_| scope.spawn(|| session(port, &left, &commands, &content))).collect();
        for session in sessions {
            match session.join() {
                Ok(sent) => sent?,
                Err(_) => bail!("a session of the source ended by a panic"),
            }
        }
        Ok(())
    })
}

fn session(port: u16, left: &AtomicU32, commands: &str, content: &[u8]) -> Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("no connection")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    let mut reply = |code: &str| -> Result<()> {
        loop {
            line.clear();
            ensure!(reader.read_line(&mut line).context("no reply")? > 0, "the connection was closed");
            ensure!(line.starts_with(code), "{code} was expected: {}", line.trim_end());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    };
    reply("220")?;
    (&stream).write_all(b"EHLO source.example\r\n")?;
    reply("250")?;
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        (&stream).write_all(commands.as_bytes())?;
        for code in ["250", "250", "354"] {
            reply(code)?;
        }
        (&stream).write_all(content)?;
        reply("250")?;
    }
    (&stream).write_all(b"QUIT\r\n")?;
    reply("221")
}

/// A header, lines up to that size, and the dot.
fn content(size: u32) -> Vec<u8> {
    let mut content = b"From: <sender@origin.example>\r\nSubject: a message of a source\r\n\r\n".to_vec();
    while content.len() < size as usize {
        let rest = (size as usize - content.len()).clamp(3, 78);
        content.resize(content.len() + rest - 2, b'x');
        content.extend_from_slice(b"\r\n");
    }
    content.extend_from_slice(b".\r\n");
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sinks::FastSink;

    #[test]
    fn all_of_it_is_sent_by_few_connections() {
        let sink = FastSink::start().unwrap();
        let shape = Shape { sessions: 3, size: 1000, reuse: true };
        send(sink.port(), shape, 50, "a@b.example").unwrap();
        assert_eq!((sink.count(), sink.connections()), (50, 3));
        assert_eq!(content(1000).len(), 1003);
    }
}
