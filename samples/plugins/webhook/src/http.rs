//! One POST over HTTP/1.1 (RFC 9112), a connection each.
//!
//! # Failure
//! Whatever goes wrong is an error with a text for the notice; the time for the whole is bounded by an instant, and nothing that the
//! server sends makes us keep more than [`HEAD_MAX`] bytes.

use sluice_sdk::{OptionKind, OptionValue, Waits, Written};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Longest status line with the interim answers in front of it, in bytes.
const HEAD_MAX: usize = 8 * 1024;

/// `http://host:port/path`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    port: u16,
    path: String,
    /// As it stands in `Host:`.
    authority: String,
}

impl OptionValue for Target {
    const KIND: OptionKind = OptionKind::Text;

    fn read(written: &Written<'_>) -> Result<Target, String> {
        parse(written.text().trim())
            .ok_or_else(|| "`http://host:port/path`; the port may be left out".to_owned())
    }
}

fn parse(url: &str) -> Option<Target> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, behind) = inner.split_once(']')?;
            (host, behind.strip_prefix(':').or_else(|| behind.is_empty().then_some("80"))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "80")),
    };
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    // It all goes into a request line: no blanks, no control characters, nothing that is not ASCII.
    let good =
        !host.is_empty() && !authority.contains('@') && url.bytes().all(|byte| byte.is_ascii_graphic());
    let (host, path, authority) = (host.to_owned(), path.to_owned(), authority.to_owned());
    good.then_some(Target { host, port, path, authority })
}

/// What is posted.
pub(crate) struct Request<'a> {
    pub(crate) body: &'a str,
    pub(crate) token: Option<&'a str>,
    /// A message has the same each time.
    pub(crate) key: &'a str,
}

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// Posts it, and waits for the answer until `end`.
pub(crate) fn post(to: &Target, request: &Request<'_>, end: Instant, waits: &Waits) -> io::Result<Answer> {
    let mut stream = connect(to, end)?;
    let copy = stream.try_clone()?;
    let _wait = waits.enter(move || drop(copy.shutdown(Shutdown::Both)))?;
    let bearer = request.token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Idempotency-Key: {}\r\n{bearer}Connection: close\r\n\r\n",
        to.path,
        to.authority,
        request.body.len(),
        request.key,
    );
    stream.set_write_timeout(Some(left(end)?))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(request.body.as_bytes())?;
    read_answer(&mut stream, end)
}

fn connect(to: &Target, end: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", to.host));
    for address in (to.host.as_str(), to.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(end)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time that is left, or an error when there is none.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")) } else { Ok(left) }
}

/// The status line; interim answers (1xx) in front of it are passed over.
fn read_answer(stream: &mut TcpStream, end: Instant) -> io::Result<Answer> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        if let Some(answer) = status_line(&head)? {
            return Ok(answer);
        }
        if head.len() > HEAD_MAX {
            return Err(bad("the answer has no end of its first line"));
        }
        // The bound is for the whole, so a server that sends a byte now and then gains nothing.
        stream.set_read_timeout(Some(left(end)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(bad("the server hung up without an answer")),
            Ok(count) => head.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The final status line, when it is whole.
fn status_line(head: &[u8]) -> io::Result<Option<Answer>> {
    let mut rest = head;
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&rest[..end]);
        let mut words = line.splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        let code = words.next().and_then(|code| code.parse::<u16>().ok());
        let Some(code) = code.filter(|code| version.starts_with("HTTP/1.") && (100..=599).contains(code))
        else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what the server says is no HTTP"));
        };
        if code >= 200 {
            let reason =
                words.next().unwrap_or_default().chars().filter(|letter| !letter.is_control()).collect();
            return Ok(Some(Answer { code, reason }));
        }
        let Some(blank) = rest.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        rest = &rest[blank + 4..];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| parse(url).map(|to| (to.host, to.port, to.path, to.authority));
        let of = |host: &str, port, path: &str, authority: &str| {
            Some((host.to_owned(), port, path.to_owned(), authority.to_owned()))
        };
        assert_eq!(
            parts("http://chat.example/hook/1?x=2"),
            of("chat.example", 80, "/hook/1?x=2", "chat.example")
        );
        assert_eq!(parts("http://127.0.0.1:8065"), of("127.0.0.1", 8065, "/", "127.0.0.1:8065"));
        assert_eq!(parts("http://[::1]:80/x"), of("::1", 80, "/x", "[::1]:80"));
        for bad in [
            "",
            "chat.example",
            "https://chat.example/",
            "http://",
            "http:///x",
            "http://a:0/",
            "http://a:x/",
            "http://a:70000/",
            "http://a b/",
            "http://a/\r\nX: y",
            "http://u:p@a/",
            "http://[::1/x",
            "http://[::1]x",
        ] {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_final_status_line_counts() {
        let read = |head: &str| status_line(head.as_bytes());
        let answer = |code, reason: &str| Some(Answer { code, reason: reason.to_owned() });
        assert_eq!(read("HTTP/1.1 204 No Content\r\n").unwrap(), answer(204, "No Content"));
        assert_eq!(read("HTTP/1.0 500\r\n").unwrap(), answer(500, ""));
        assert_eq!(read("HTTP/1.1 200 OK").unwrap(), None);
        assert_eq!(read("HTTP/1.1 100 Continue\r\nX: y\r\n").unwrap(), None);
        assert_eq!(
            read("HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 429 Slow\u{7}\r\n").unwrap(),
            answer(429, "Slow")
        );
        for bad in ["SSH-2.0-x\r\n", "HTTP/1.1 99 x\r\n", "HTTP/1.1 600 x\r\n", "HTTP/2 200 x\r\n", "\r\n"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
