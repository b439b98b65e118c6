//! The client that wants mail and brings none: it asks a server to send what it holds, by ETRN (RFC 1985) for one name
//! after the other, or by ATRN (RFC 2645) once. Without IO and without a clock.
//!
//! An [`Asker`] is driven as a [`Client`] is, whose greeting, STARTTLS and AUTH it uses; in place of transactions it has
//! a [`Question`]. Each name has its [`Answer`]; how the connection ended is its [`End`]. After [`Step::Turned`] the
//! connection belongs to whoever serves SMTP on it (RFC 2645 section 5.3): the server there waits for our 220.
//!
//! # Invariants
//! Each ETRN waits for the reply to the one before (RFC 2920 section 3.1). No name can end a command line or bring in a
//! second parameter. A connection on which anything came behind the reply that turns it is not turned: somebody else
//! may have put it there.
//! # Not here
//! Sockets and timeouts, when to ask again, and what happens on a turned connection.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::client::{self, Client, Loss, Manner, Request, Trouble, Wait};
use crate::reply::Reply;

/// Longest name that is sent. A domain has at most 253 octets (RFC 1035 section 2.3.4) and a command line 512.
pub const NAME_OCTETS_MAX: usize = 255;
/// Most octets of the domains of one ATRN: RFC 5321 section 4.5.3.1.4 gives a line 512 with its verb and CR LF.
pub const DOMAINS_OCTETS_MAX: usize = 500;
/// Text of a reply that is kept, in characters.
const REPLY_SHOWN_MAX: usize = 512;

/// A name to ask for, as the server's administrator gave it: a domain, `@` and a domain, or `#` and whatever the server
/// calls its queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Why a text is no name to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or nothing behind `@` or `#`.
    #[error("there is no name")]
    Empty,
    /// Longer than [`NAME_OCTETS_MAX`].
    #[error("it is longer than {NAME_OCTETS_MAX} octets")]
    TooLong,
    /// A blank or a control character.
    #[error("it is more than one word")]
    NotOneWord,
    /// A character beyond ASCII.
    #[error("it is not ASCII; write an international name in its `xn--` form")]
    NotAscii,
}

impl FromStr for Name {
    type Err = NameError;

    /// Whatever is one word of printable ASCII. The server judges the rest: names behind `#` are its own.
    fn from_str(text: &str) -> Result<Name, NameError> {
        if text.trim_start_matches(['@', '#']).is_empty() {
            Err(NameError::Empty)
        } else if text.len() > NAME_OCTETS_MAX {
            Err(NameError::TooLong)
        } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            Err(NameError::NotOneWord)
        } else if !text.is_ascii() {
            Err(NameError::NotAscii)
        } else {
            Ok(Name(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// ETRN for each of these, in this order.
    Etrn(Vec<Name>),
    /// ATRN for these domains, or, when there are none, for all that the login may have.
    Atrn(Vec<Name>),
}

/// What a server said about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name; for ATRN all of them, joined by commas.
    pub name: String,
    /// What it means.
    pub meaning: Meaning,
    /// The reply in one line.
    pub reply: String,
}

/// What a reply to ETRN or ATRN means. The text counts for nothing but the number in 253.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// 250: accepted, which says nothing about whether there is mail.
    Started,
    /// 251 to ETRN, 453 to ATRN: nothing waits.
    NothingWaits,
    /// 252: mail waits and is on its way.
    Pending,
    /// 253: so many messages.
    Counted(u64),
    /// 250 to ATRN: the roles are turned.
    Turned,
    /// 458 and other 4xx: not now.
    Later,
    /// 459, 450 to ATRN, and 5xx without another meaning: this server will not do it for us.
    Refused,
    /// 530: a login is needed.
    LoginNeeded,
    /// 501: the server cannot read the name.
    Malformed,
    /// 500 or 502: the server does not know the command, whatever it offered.
    Unsupported,
    /// 503, even after RSET.
    OutOfOrder,
}

impl Meaning {
    /// Whether the server does what it was asked for.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        use Meaning::{Counted, NothingWaits, Pending, Started, Turned};
        matches!(self, Started | NothingWaits | Pending | Counted(_) | Turned)
    }

    /// One word for programs and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Meaning::Started => "started",
            Meaning::NothingWaits => "nothing",
            Meaning::Pending | Meaning::Counted(_) => "pending",
            Meaning::Turned => "turned",
            Meaning::Later => "later",
            Meaning::Refused => "refused",
            Meaning::LoginNeeded => "login",
            Meaning::Malformed => "malformed",
            Meaning::Unsupported => "unsupported",
            Meaning::OutOfOrder => "order",
        }
    }

    fn of_etrn(reply: &Reply) -> Meaning {
        match reply.code {
            251 => Meaning::NothingWaits,
            252 => Meaning::Pending,
            253 => first_number(&reply.text()).map_or(Meaning::Pending, Meaning::Counted),
            200..=299 => Meaning::Started,
            459 => Meaning::Refused,
            _ => Meaning::of_refusal(reply.code),
        }
    }

    fn of_atrn(reply: &Reply) -> Meaning {
        match reply.code {
            200..=299 => Meaning::Turned,
            450 => Meaning::Refused,
            453 => Meaning::NothingWaits,
            _ => Meaning::of_refusal(reply.code),
        }
    }

    fn of_refusal(code: u16) -> Meaning {
        match code {
            500 | 502 => Meaning::Unsupported,
            501 => Meaning::Malformed,
            503 => Meaning::OutOfOrder,
            530 => Meaning::LoginNeeded,
            400..=499 => Meaning::Later,
            _ => Meaning::Refused,
        }
    }
}

/// The first word of digits in a text: `<n>` in `OK, <n> pending messages for node <x> started`.
fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().find_map(|word| word.parse().ok())
}

/// How the connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything was asked and answered.
    Answered,
    /// The server does not offer the command, or says that it does not know it.
    NotOffered,
    /// The server closed the session by a reply: in place of its greeting, to EHLO, or by 421.
    TurnedAway {
        /// The reply in one line.
        reply: String,
        /// 4xx: later may be different.
        for_now: bool,
    },
    /// TLS is demanded and not to be had.
    NoTls(String),
    /// A login is demanded and not to be had.
    NoLogin(String),
    /// The connection was lost or timed out; in words.
    Lost(String),
    /// What the server says is no SMTP.
    Nonsense(String),
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Write [`Asker::output`], then call [`Asker::output_sent`].
    Write,
    /// Read, and pass what came to [`Asker::receive`].
    Read(Wait),
    /// Turn on TLS, then call [`Asker::secured`]; or [`Asker::lost`] if that fails.
    StartTls,
    /// The roles are turned: serve SMTP on this connection, as it is, without another word here.
    Turned,
    /// Hang up.
    Over,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Asker {
    client: Client,
    question: Question,
    /// Names that were answered.
    answered: usize,
    answers: Vec<Answer>,
    /// What was sent last and has no answer yet.
    asked: Option<Sent>,
    /// RSET is the cure for 503, once.
    was_reset: bool,
    turned: bool,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Etrn,
    Atrn,
    Reset,
}

impl Asker {
    /// A connection that was just made. `manner.etrn` has no meaning here.
    #[must_use]
    pub fn new(manner: Manner, question: Question) -> Asker {
        let client = Client::new(Manner { etrn: None, ..manner });
        Asker {
            client,
            question,
            answered: 0,
            answers: Vec::new(),
            asked: None,
            was_reset: false,
            turned: false,
            end: None,
        }
    }

    /// What is to be done next.
    pub fn step(&mut self) -> Step {
        loop {
            match self.client.step() {
                client::Step::Write => return Step::Write,
                client::Step::Read(wait) => return Step::Read(wait),
                client::Step::StartTls => return Step::StartTls,
                client::Step::Over(ending) => {
                    let end = self.end_of(&ending.outcome);
                    self.end.get_or_insert(end);
                    if !ending.polite {
                        return Step::Over;
                    }
                    // QUIT, and the client is over for good.
                    self.client.quit();
                }
                client::Step::Ready if self.turned => return Step::Turned,
                client::Step::Ready => self.go_on(),
                // No transaction is ever begun here.
                client::Step::Content | client::Step::Settled(_) => return Step::Over,
            }
        }
    }

    /// The bytes to write.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.client.output()
    }

    /// [`Asker::output`] as it may be shown: without what a login says.
    #[must_use]
    pub fn output_shown(&self) -> String {
        let text = String::from_utf8_lossy(self.output());
        let text = text.trim_end();
        if !self.client.is_logging_in() {
            return text.to_owned();
        }
        match text.split(' ').collect::<Vec<_>>().as_slice() {
            ["AUTH", mechanism] => format!("AUTH {mechanism}"),
            ["AUTH", mechanism, ..] => format!("AUTH {mechanism} ***"),
            _ => "***".to_owned(),
        }
    }

    /// [`Asker::output`] has been written.
    pub fn output_sent(&mut self) {
        self.client.output_sent();
    }

    /// Takes what the server sent.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.client.receive(bytes);
        // At once, as what came behind the reply has already been looked at.
        self.look();
    }

    /// TLS is on.
    pub fn secured(&mut self) {
        self.client.secured();
    }

    /// The connection is gone, or given up.
    pub fn lost(&mut self, loss: &Loss) {
        self.client.lost(loss);
    }

    /// Replies that came so far; whoever limits the time for a reply measures from the moment this last changed.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.client.replies()
    }

    /// The answers so far, in the order of the question.
    #[must_use]
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// How it ended; `None` while it goes on, and on a turned connection.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Sends the next command, or QUIT.
    fn go_on(&mut self) {
        let offers = self.client.offers();
        match &self.question {
            _ if self.end.is_some() => self.client.quit(),
            Question::Etrn(_) if !offers.etrn => self.finish(End::NotOffered),
            Question::Atrn(_) if !offers.atrn => self.finish(End::NotOffered),
            Question::Etrn(names) => match names.get(self.answered) {
                Some(name) => {
                    self.asked = Some(Sent::Etrn);
                    self.client.request(Request::Etrn(&name.0));
                }
                None => self.finish(End::Answered),
            },
            Question::Atrn(_) if self.answered > 0 => self.finish(End::Answered),
            Question::Atrn(_) => {
                self.asked = Some(Sent::Atrn);
                let domains = self.subject();
                self.client.request(Request::Atrn(&domains));
            }
        }
    }

    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.client.quit();
    }

    /// What the command at hand is about.
    fn subject(&self) -> String {
        match &self.question {
            Question::Etrn(names) => names.get(self.answered).map(|name| name.0.clone()).unwrap_or_default(),
            Question::Atrn(names) => names.iter().map(|name| name.0.as_str()).collect::<Vec<_>>().join(","),
        }
    }

    /// Takes the answer to what was sent, once it is there.
    fn look(&mut self) {
        let (Some(asked), Some(reply)) = (self.asked, self.client.answer()) else { return };
        let (code, text) = (reply.code, shown(reply));
        let meaning = match asked {
            Sent::Etrn => Meaning::of_etrn(reply),
            Sent::Atrn => Meaning::of_atrn(reply),
            // Whatever RSET got, the command is tried once more.
            Sent::Reset => {
                self.asked = None;
                return;
            }
        };
        if code == 503 && !self.was_reset && self.client.trouble().is_none() {
            self.was_reset = true;
            self.asked = Some(Sent::Reset);
            return self.client.request(Request::Reset);
        }
        self.asked = None;
        // Something came behind the reply: the connection is no good, and was not turned.
        if meaning == Meaning::Turned {
            if self.client.trouble().is_some() {
                return;
            }
            self.turned = true;
        }
        self.answers.push(Answer { name: self.subject(), meaning, reply: text });
        self.answered += 1;
        if meaning == Meaning::Unsupported {
            // RFC 1985 section 5.3: no other name will fare better.
            self.end.get_or_insert(End::NotOffered);
        }
    }

    fn end_of(&self, outcome: &sluice_mail::Outcome) -> End {
        let text = outcome.text().to_owned();
        match self.client.trouble() {
            Some(Trouble::NoTls) => End::NoTls(text),
            Some(Trouble::NoLogin) => End::NoLogin(text),
            Some(Trouble::Lost) => End::Lost(text),
            Some(Trouble::Nonsense) => End::Nonsense(text),
            None => End::TurnedAway { reply: text, for_now: outcome.status().class != 5 },
        }
    }
}

/// A reply in one bounded line without control characters.
fn shown(reply: &Reply) -> String {
    reply.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).take(REPLY_SHOWN_MAX).collect()
}
