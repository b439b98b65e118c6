//! Where measured mail goes: `smtp-sink` of Postfix, and a sink of our own for what it is too slow for.
//!
//! `smtp-sink` is one process that handles one event after the other; it takes a little over five thousand messages a
//! second on the machines at hand, so that a hub that passes on more would be measured by its sink. [`FastSink`] has a
//! thread for each connection at a time, answers all that has come with one write, and looks at nothing but the ends of lines. Both
//! hubs of a comparison send to the same kind.
//!
//! # Not here
//! What `sluice_testkit::Sink` does: keep messages, and misbehave.

use super::listening;
use anyhow::{Context, Result};
use sluice_testkit::{Program, free_port};
use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a peer may be silent.
const SILENCE: Duration = Duration::from_secs(120);
/// Longest command line; a peer that sends a longer one is not a mail program.
const LINE_MAX: usize = 8192;
/// The answer to EHLO.
const HELLO: &str = "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES";
/// Bytes asked for with one read.
const READ: usize = 64 << 10;

/// smtp-sink, which only counts.
pub(super) struct SmtpSink {
    pub(super) port: u16,
    counter: PathBuf,
    _program: Program,
}

impl SmtpSink {
    pub(super) fn start(folder: &Path, name: &str) -> Result<SmtpSink> {
        let port = free_port();
        let counter = folder.join(format!("{name}.sink"));
        let address = format!("127.0.0.1:{port}");
        let mut arguments = vec!["-c"];
        // As root it insists on becoming somebody else.
        if fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0) {
            arguments.extend(["-u", "nobody"]);
        }
        arguments.extend([address.as_str(), "1000"]);
        let program = Program::start(Path::new("/usr/sbin/smtp-sink"), &arguments, &counter)
            .context("cannot start smtp-sink")?;
        listening(port, "smtp-sink")?;
        Ok(SmtpSink { port, counter, _program: program })
    }

    /// How many messages it has, by the last of the counters that it writes: `sess=1 quit=1 mesg=1`.
    pub(super) fn count(&self) -> u64 {
        use std::io::{Seek, SeekFrom};
        let mut end = String::new();
        let read = fs::File::open(&self.counter).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(200)))?;
            file.read_to_string(&mut end)
        });
        // The last piece may be half written; the one before it is whole.
        let whole = end.rsplit_once('\r').map_or("", |(whole, _)| whole);
        let count = whole.rsplit_once("mesg=").and_then(|(_, digits)| digits.trim().parse().ok());
        read.ok().and(count).unwrap_or(0)
    }
}

#[derive(Default)]
struct Shared {
    messages: AtomicU64,
    connections: AtomicU64,
    stop: AtomicBool,
    /// Only while somebody wants to know: when each message was complete, by the domain of its last recipient.
    noted: Mutex<Option<HashMap<String, Vec<Instant>>>>,
}

/// Takes everything, as fast as it comes.
pub(super) struct FastSink {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl FastSink {
    pub(super) fn start() -> Result<FastSink> {
        FastSink::listen(0)
    }

    /// Listens on this port; 0 lets the kernel choose.
    pub(super) fn listen(port: u16) -> Result<FastSink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("no port for the sink")?;
        let address = listener.local_addr().context("the sink has no address")?;
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let (streams, waiting) = mpsc::channel::<TcpStream>();
            let waiting = Arc::new(Mutex::new(waiting));
            let idle = Arc::new(AtomicUsize::new(0));
            for stream in listener.incoming() {
                if ours.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                ours.connections.fetch_add(1, Ordering::Relaxed);
                // One that has had its session and waits for the next; else a new one.
                let take = |threads: usize| threads.checked_sub(1);
                if idle.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok() {
                    let _ = streams.send(stream);
                    continue;
                }
                let (ours, waiting, idle) = (Arc::clone(&ours), Arc::clone(&waiting), Arc::clone(&idle));
                let sessions = move || {
                    let mut next = Some(stream);
                    while let Some(stream) = next {
                        // A session ends with its connection; how is of no interest to a sink.
                        drop(Session::new(stream, &ours).run());
                        idle.fetch_add(1, Ordering::AcqRel);
                        // Until the listener ends.
                        next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
                    }
                };
                let _ = std::thread::Builder::new().stack_size(256 << 10).spawn(sessions);
            }
        });
        Ok(FastSink { address, shared, listener: Some(thread) })
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many messages it has taken.
    pub(super) fn count(&self) -> u64 {
        self.shared.messages.load(Ordering::Acquire)
    }

    /// How many connections it has had.
    pub(super) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// From now on it notes when messages are complete; what it has noted before is forgotten.
    pub(super) fn note(&self) {
        *self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(HashMap::new());
    }

    /// When the message of this number (from 1) of this domain was complete.
    pub(super) fn when(&self, domain: &str, number: usize) -> Option<Instant> {
        let noted = self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.as_ref()?.get(domain)?.get(number - 1).copied()
    }

    /// When the first message of any domain was complete.
    pub(super) fn first(&self) -> Option<Instant> {
        let noted = self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.as_ref()?.values().filter_map(|times| times.first()).min().copied()
    }
}

impl Drop for FastSink {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.listener.take() {
            let _ = thread.join();
        }
    }
}

/// One connection.
struct Session<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    /// What has come and is not used up: `input[from..to]`. What is behind it has been used before.
    input: Vec<u8>,
    from: usize,
    to: usize,
    replies: Vec<u8>,
    domain: String,
}

impl<'a> Session<'a> {
    fn new(stream: TcpStream, shared: &'a Shared) -> Session<'a> {
        let (input, replies, domain) = (Vec::new(), Vec::new(), String::new());
        Session { stream, shared, input, from: 0, to: 0, replies, domain }
    }

    fn run(mut self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(SILENCE))?;
        self.stream.set_nodelay(true)?;
        self.say("220 sink.example ESMTP");
        loop {
            let line = self.line()?;
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.say(HELLO),
                "HELO" => self.say("250 sink.example"),
                "RCPT" => {
                    let path = line.rsplit_once('@').map_or("", |(_, domain)| domain);
                    self.domain.clear();
                    self.domain.push_str(path.split('>').next().unwrap_or_default());
                    self.say("250 2.1.5 ok");
                }
                "DATA" => {
                    self.say("354 go ahead");
                    self.content()?;
                    let mut noted = self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(noted) = noted.as_mut() {
                        match noted.get_mut(&self.domain) {
                            Some(times) => times.push(Instant::now()),
                            None => drop(noted.insert(self.domain.clone(), vec![Instant::now()])),
                        }
                    }
                    drop(noted);
                    self.shared.messages.fetch_add(1, Ordering::Release);
                    self.say("250 2.0.0 kept");
                }
                "QUIT" => {
                    self.say("221 2.0.0 bye");
                    return self.stream.write_all(&self.replies);
                }
                _ => self.say("250 2.0.0 ok"),
            }
        }
    }

    fn say(&mut self, text: &str) {
        self.replies.extend_from_slice(text.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    /// The next command, without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut searched = 0;
        loop {
            if let Some(end) =
                self.input[self.from + searched..self.to].iter().position(|byte| *byte == b'\n')
            {
                let end = self.from + searched + end;
                let line = String::from_utf8_lossy(&self.input[self.from..end]).trim_end().to_owned();
                self.from = end + 1;
                return Ok(line);
            }
            searched = self.to - self.from;
            if searched > LINE_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.more()?;
        }
    }

    /// Reads past the lone dot. What was read before its last four octets is dropped at once.
    fn content(&mut self) -> io::Result<()> {
        const END: &[u8] = b"\r\n.\r\n";
        let mut is_start = true;
        loop {
            let rest = &self.input[self.from..self.to];
            // A message without a line ends with the dot alone.
            if is_start && rest.starts_with(&END[2..]) {
                self.from += 3;
                return Ok(());
            }
            // A dot at the start of a line that is not the end is stuffed, so this is looked for without the lines.
            if let Some(behind) = behind_end(rest, END) {
                self.from += behind;
                return Ok(());
            }
            is_start &= rest.len() < END.len();
            self.from = self.to - rest.len().min(END.len() - 1);
            self.more()?;
        }
    }

    /// Says what there is to say and waits for more.
    fn more(&mut self) -> io::Result<()> {
        if !self.replies.is_empty() {
            self.stream.write_all(&self.replies)?;
            self.replies.clear();
        }
        self.input.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.input.len() < self.to + READ {
            self.input.resize(self.to + READ, 0);
        }
        let read = self.stream.read(&mut self.input[self.to..])?;
        self.to += read;
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// Where what follows the end of a content begins, when the end is there. Looks at the dots alone: one is in the end.
fn behind_end(content: &[u8], end: &[u8]) -> Option<usize> {
    let mut rest = content;
    loop {
        rest.skip_until(b'.').ok()?;
        let behind_dot = content.len() - rest.len();
        let start = behind_dot.checked_sub(3);
        if start.is_some_and(|start| content[start..].starts_with(end)) {
            return Some(behind_dot + 2);
        }
        if rest.is_empty() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_testkit::{Talk, wait_until};

    #[test]
    fn messages_are_counted_and_their_times_kept_by_domain() {
        let sink = FastSink::start().unwrap();
        sink.note();
        let mut talk = Talk::to(SocketAddr::from((Ipv4Addr::LOCALHOST, sink.port())));
        for (to, content) in
            [("a@one.example", "x\r\n..\r\n.y\r\n"), ("b@two.example", ""), ("c@one.example", "z\r\n")]
        {
            assert_eq!(talk.deliver("s@o.example", &[to], content.as_bytes()).unwrap().code, 250);
        }
        talk.quit();
        assert_eq!((sink.count(), sink.connections()), (3, 1));
        assert!(sink.when("one.example", 2).unwrap() > sink.when("two.example", 1).unwrap());
        assert!(sink.when("two.example", 2).is_none());
        assert_eq!(sink.first(), sink.when("one.example", 1));
    }

    #[test]
    fn the_end_of_a_content_is_found_among_other_dots() {
        let end = b"\r\n.\r\n";
        for (content, behind) in [
            (&b"a.b\r\n..\r\n.\r\nQUIT"[..], Some(12)),
            (b"\r\n.\r\n", Some(5)),
            (b"\r\n.\r", None),
            (b".\r\n", None),
            (b"a\r\n.x\r\n", None),
            (b"", None),
            (b"no dot", None),
            (b"\r\n.", None),
        ] {
            assert_eq!(behind_end(content, end), behind, "{content:?}");
        }
    }

    #[test]
    fn connections_one_after_the_other_and_at_the_same_time_are_all_served() {
        let sink = FastSink::start().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, sink.port()));
        let deliver = |talk: &mut Talk| {
            assert_eq!(talk.deliver("s@o.example", &["a@b.example"], b"x\r\n").unwrap().code, 250);
        };
        for _ in 0..20 {
            let mut talks: Vec<Talk> = (0..4).map(|_| Talk::to(address)).collect();
            talks.iter_mut().rev().for_each(deliver);
            for talk in talks {
                talk.quit();
            }
        }
        assert_eq!((sink.count(), sink.connections()), (80, 80));
    }

    #[test]
    fn commands_that_come_together_and_content_that_comes_in_bits_are_understood() {
        let sink = FastSink::start().unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, sink.port())).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n").unwrap();
        for bit in [&b"line\r"[..], b"\n", b".", b"\r", b"\nQUIT\r\n"] {
            stream.write_all(bit).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.ends_with("354 go ahead\r\n250 2.0.0 kept\r\n221 2.0.0 bye\r\n"), "{said}");
        assert!(wait_until(Duration::from_secs(10), || (sink.count() == 1).then_some(())).is_some());
    }
}
