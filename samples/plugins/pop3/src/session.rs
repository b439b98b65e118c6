//! A session with a POP3 server (RFC 1939), as its client.
//!
//! # Failure
//! Everything is an [`io::Error`] with words for the log; a line has at most [`LINE_MAX`] bytes and a list at most [`LIST_MAX`]
//! messages, whatever the server sends.

use sluice_sdk::{OptionKind, OptionValue, Wait, Waits, Written};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest line of an answer; RFC 1939 section 3 has 512 bytes.
const LINE_MAX: u64 = 4096;
/// Most messages that are fetched in one session.
const LIST_MAX: usize = 10_000;

/// `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    host: String,
    port: u16,
}

impl OptionValue for Server {
    const KIND: OptionKind = OptionKind::Text;

    fn read(written: &Written<'_>) -> Result<Server, String> {
        let text = written.text().trim();
        let (host, port) = text.rsplit_once(':').unwrap_or((text, "110"));
        let port = port.parse().ok().filter(|port| *port != 0u16);
        match port {
            Some(port) if !host.is_empty() && !host.contains(char::is_whitespace) => {
                Ok(Server { host: host.trim_matches(['[', ']']).to_owned(), port })
            }
            _ => Err("`host` or `host:port`".to_owned()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:{}", self.host, self.port)
    }
}

/// A session. It is over when this is dropped; without [`quit`](Self::quit) the server deletes nothing.
pub(crate) struct Session<'a> {
    stream: BufReader<TcpStream>,
    /// As long as it is there, a stop of the channel ends what the session waits for.
    _wait: Wait<'a>,
}

impl<'a> Session<'a> {
    /// Connects and hears the greeting.
    pub(crate) fn open(server: &Server, timeout: Duration, waits: &'a Waits) -> io::Result<Session<'a>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for address in (server.host.as_str(), server.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    let copy = stream.try_clone()?;
                    let wait = waits.enter(move || drop(copy.shutdown(Shutdown::Both)))?;
                    let mut session = Session { stream: BufReader::new(stream), _wait: wait };
                    session.answer("the greeting")?;
                    return Ok(session);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn log_in(&mut self, user: &str, password: &str) -> io::Result<()> {
        self.command(&format!("USER {user}"), "USER")?;
        // The password is in no message.
        self.command(&format!("PASS {password}"), "PASS")?;
        Ok(())
    }

    /// Number and size of each message.
    pub(crate) fn list(&mut self) -> io::Result<Vec<(u32, u64)>> {
        self.command("LIST", "LIST")?;
        let mut messages = Vec::new();
        loop {
            let line = self.line()?;
            if line == "." {
                return Ok(messages);
            }
            let mut words = line.split_whitespace();
            let row = (
                words.next().and_then(|word| word.parse().ok()),
                words.next().and_then(|word| word.parse().ok()),
            );
            let (Some(number), Some(size)) = row else {
                return Err(bad(&format!("a line of its list is {line:?}")));
            };
            if messages.len() < LIST_MAX {
                messages.push((number, size));
            }
        }
    }

    /// The content of a message, to be read to its end.
    pub(crate) fn retrieve(&mut self, number: u32) -> io::Result<Content<'_>> {
        self.command(&format!("RETR {number}"), "RETR")?;
        Ok(Content { stream: &mut self.stream, place: Place::LineStart, over: false })
    }

    /// Marks a message; it is deleted at [`quit`](Self::quit).
    pub(crate) fn delete(&mut self, number: u32) -> io::Result<()> {
        self.command(&format!("DELE {number}"), "DELE").map(drop)
    }

    pub(crate) fn quit(&mut self) -> io::Result<()> {
        self.command("QUIT", "QUIT").map(drop)
    }

    fn command(&mut self, line: &str, name: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.answer(name)
    }

    fn answer(&mut self, to: &str) -> io::Result<String> {
        let line = self.line()?;
        match line.strip_prefix("+OK") {
            Some(text) => Ok(text.trim().to_owned()),
            None => Err(bad(&format!("to {to} it says {:?}", line.chars().take(200).collect::<String>()))),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_MAX).read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()),
            Some(_) if line.len() as u64 + 1 >= LINE_MAX => Err(bad("a line of its answer is too long")),
            _ => Err(bad("it has hung up")),
        }
    }
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// The content of a message: without stuffed dots, up to the line with a single one (RFC 1939 section 3).
pub(crate) struct Content<'s> {
    stream: &'s mut BufReader<TcpStream>,
    place: Place,
    over: bool,
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    /// Behind a dot at the start of a line, which is not given out.
    AfterDot,
    /// Behind that dot and a CR.
    AfterDotCr,
    InLine,
}

impl Content<'_> {
    /// Reads what is left and forgets it, so that the session can go on.
    pub(crate) fn skip(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.len() < 2 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a buffer of less than two bytes"));
        }
        let mut filled = 0;
        while filled == 0 && !self.over {
            let lent = self.stream.fill_buf()?;
            if lent.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has hung up within a message"));
            }
            let mut used = 0;
            for &byte in lent {
                // Room for a CR that was kept back, and the byte itself.
                if filled + 2 > into.len() {
                    break;
                }
                used += 1;
                let before = self.place;
                self.place = match (before, byte) {
                    (Place::LineStart, b'.') => Place::AfterDot,
                    (Place::AfterDot, b'\r') => Place::AfterDotCr,
                    (Place::AfterDot | Place::AfterDotCr, b'\n') => {
                        self.over = true;
                        break;
                    }
                    (_, b'\n') => Place::LineStart,
                    _ => Place::InLine,
                };
                if before == Place::AfterDotCr {
                    into[filled] = b'\r';
                    filled += 1;
                }
                if matches!(self.place, Place::LineStart | Place::InLine) {
                    into[filled] = byte;
                    filled += 1;
                }
            }
            self.stream.consume(used);
        }
        Ok(filled)
    }
}
