//! Many messages at once, with an account of which were acknowledged.

use crate::content::message;
use crate::talk::{Talk, stuffed};
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a message of a batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// 250 to the final dot: the server has promised.
    Accepted,
    /// Any other reply.
    Refused(String),
    /// The connection ended before the reply: either may be true.
    Unknown,
}

/// Messages to send: numbers `first` to `first + count - 1`, over several sessions at the same time.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where to.
    pub server: SocketAddr,
    /// Reverse-path.
    pub from: String,
    /// Recipients of every message.
    pub to: Vec<String>,
    /// Number of the first message.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Sessions at the same time.
    pub sessions: usize,
    /// Size of each in bytes, roughly.
    pub size: usize,
}

impl Batch {
    /// A batch to one recipient over one session, of small messages.
    pub fn new(server: SocketAddr, to: &str, count: usize) -> Batch {
        let from = "sender@origin.example".to_owned();
        Batch { server, from, to: vec![to.to_owned()], first: 0, count, sessions: 1, size: 1024 }
    }

    /// Sends them, commands pipelined (RFC 2920), and tells what became of each. `tally` counts acknowledgements as
    /// they come, for whoever wants to do something in the middle. A session whose connection fails ends; the
    /// messages that nobody got round to are not in the answer.
    pub fn send(&self, tally: &AtomicUsize) -> Vec<(usize, Fate)> {
        let next = AtomicUsize::new(self.first);
        let fates = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.sessions.max(1) {
                scope.spawn(|| self.session(&next, tally, &fates));
            }
        });
        let mut fates = fates.into_inner().unwrap();
        fates.sort_by_key(|(number, _)| *number);
        fates
    }

    /// As [`Batch::send`], and every message must be acknowledged.
    ///
    /// # Panics
    /// When one is not.
    pub fn send_all(&self) {
        let fates = self.send(&AtomicUsize::new(0));
        let accepted = fates.iter().filter(|(_, fate)| *fate == Fate::Accepted).count();
        let other = fates.iter().find(|(_, fate)| *fate != Fate::Accepted);
        assert_eq!(accepted, self.count, "not all were accepted, for example {other:?}");
    }

    fn session(&self, next: &AtomicUsize, tally: &AtomicUsize, fates: &Mutex<Vec<(usize, Fate)>>) {
        let Ok((mut talk, _)) = Talk::open(self.server) else { return };
        if talk.ask("EHLO batch.example").is_err() {
            return;
        }
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.first + self.count {
                return talk.quit();
            }
            let fate = self.one(&mut talk, number);
            let gone = fate.is_err();
            let fate = fate.unwrap_or(Fate::Unknown);
            if fate == Fate::Accepted {
                tally.fetch_add(1, Ordering::SeqCst);
            }
            fates.lock().unwrap().push((number, fate));
            if gone {
                return;
            }
        }
    }

    fn one(&self, talk: &mut Talk, number: usize) -> io::Result<Fate> {
        let mut group = format!("MAIL FROM:<{}>\r\n", self.from);
        for to in &self.to {
            group.push_str(&format!("RCPT TO:<{to}>\r\n"));
        }
        group.push_str("DATA\r\n");
        talk.raw(group.as_bytes())?;
        let mut refused = None;
        for _ in 0..=self.to.len() {
            let reply = talk.read()?;
            if reply.code != 250 {
                refused = Some(reply.to_string());
            }
        }
        let data = talk.read()?;
        if data.code != 354 {
            talk.ask("RSET")?;
            return Ok(Fate::Refused(refused.unwrap_or_else(|| data.to_string())));
        }
        let mut wire = stuffed(&message(number, self.size));
        wire.extend(b".\r\n");
        talk.raw(&wire)?;
        let last = talk.read()?;
        Ok(if last.code == 250 { Fate::Accepted } else { Fate::Refused(last.to_string()) })
    }
}
