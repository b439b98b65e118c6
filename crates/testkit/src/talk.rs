//! A client that says what it is told to say.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long an answer may take. Far more than anything on loopback needs, and less than a test run's patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text of each line, without code and separator.
    pub lines: Vec<String>,
}

impl Reply {
    /// The texts in one line.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// Is there a line that begins with this word? For EHLO keywords.
    #[must_use]
    pub fn offers(&self, keyword: &str) -> bool {
        self.lines.iter().any(|line| line.split(' ').next() == Some(keyword))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.code, self.lines.join(" | "))
    }
}

/// What a session goes over.
enum Wire {
    Plain(TcpStream),
    Other(Box<dyn Stream>),
}

/// Whatever octets go both ways over: a connection under TLS.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

impl fmt::Debug for Wire {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if matches!(self, Wire::Plain(_)) { "Plain" } else { "Other" })
    }
}

impl Read for Wire {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(octets),
            Wire::Other(stream) => stream.read(octets),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(octets),
            Wire::Other(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Other(stream) => stream.flush(),
        }
    }
}

/// An SMTP session; it knows lines and replies, nothing of what they mean.
#[derive(Debug)]
pub struct Talk {
    wire: BufReader<Wire>,
}

impl Talk {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// When there is no connection or no greeting.
    pub fn open(server: impl ToSocketAddrs) -> io::Result<(Talk, Reply)> {
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut talk = Talk { wire: BufReader::new(Wire::Plain(stream)) };
        let greeting = talk.read()?;
        Ok((talk, greeting))
    }

    /// A session that goes on over something else: TLS over the connection that [`Talk::into_stream`] gave.
    pub fn over(stream: impl Read + Write + Send + 'static) -> Talk {
        Talk { wire: BufReader::new(Wire::Other(Box::new(stream))) }
    }

    /// Connects, wants 220, and says EHLO.
    ///
    /// # Panics
    /// When any of it is refused.
    pub fn to(server: SocketAddr) -> Talk {
        let (mut talk, greeting) =
            Talk::open(server).unwrap_or_else(|error| panic!("no SMTP at {server}: {error}"));
        assert_eq!(greeting.code, 220, "{greeting}");
        talk.want("EHLO client.example", 250);
        talk
    }

    /// One reply, of however many lines.
    ///
    /// # Errors
    /// When the connection ends, or what comes is not a reply.
    pub fn read(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.wire.read_line(&mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            let text = line.trim_end_matches("\r\n");
            let code = text.get(..3).and_then(|digits| digits.parse().ok());
            let (Some(code), true) = (code, line.ends_with("\r\n")) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("not a reply line: {line:?}"),
                ));
            };
            lines.push(text.get(4..).unwrap_or_default().to_owned());
            if text.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wire = self.wire.get_mut();
        wire.write_all(bytes)?;
        wire.flush()
    }

    /// One command and its reply.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn ask(&mut self, line: &str) -> io::Result<Reply> {
        self.raw(format!("{line}\r\n").as_bytes())?;
        self.read()
    }

    /// One command, and the reply's code must be this one.
    ///
    /// # Panics
    /// When it is another, or the connection fails.
    pub fn want(&mut self, line: &str, code: u16) -> Reply {
        let reply = self.ask(line).unwrap_or_else(|error| panic!("no answer to {line:?}: {error}"));
        assert_eq!(reply.code, code, "to {line:?} the server said {reply}");
        reply
    }

    /// A whole transaction; the content is in wire lines and is dot-stuffed here. Gives the reply to the final dot, or
    /// the first refusal.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn deliver(&mut self, from: &str, to: &[&str], content: &[u8]) -> io::Result<Reply> {
        let mut commands = vec![format!("MAIL FROM:<{from}>")];
        commands.extend(to.iter().map(|address| format!("RCPT TO:<{address}>")));
        for command in commands {
            let reply = self.ask(&command)?;
            if reply.code != 250 {
                return Ok(reply);
            }
        }
        self.content(content)
    }

    /// DATA and the content of a transaction that has its recipients. Gives the reply to the final dot, or the refusal of DATA.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn content(&mut self, content: &[u8]) -> io::Result<Reply> {
        let reply = self.ask("DATA")?;
        if reply.code != 354 {
            return Ok(reply);
        }
        let mut wire = stuffed(content);
        wire.extend(b".\r\n");
        self.raw(&wire)?;
        self.read()
    }

    /// The connection, to be used for something else. What has been read ahead is lost, so nothing may have been.
    ///
    /// # Panics
    /// When something has, or the session is not over a socket.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        assert!(self.wire.buffer().is_empty(), "the server has said more than was read");
        match self.wire.into_inner() {
            Wire::Plain(stream) => stream,
            Wire::Other(_) => panic!("the session is not over a socket of its own"),
        }
    }

    /// QUIT, and the end of the connection. Errors are of no interest any more.
    pub fn quit(mut self) {
        let _ = self.ask("QUIT");
    }
}

/// Wire lines with a dot put before every dot that begins one (RFC 5321, 4.5.2).
pub(crate) fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 16);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend(line);
    }
    out
}
