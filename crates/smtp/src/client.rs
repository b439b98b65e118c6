//! The client's side of one SMTP connection, without IO and without a clock.
//!
//! A [`Client`] is told what came from the server ([`Client::receive`]) or that the connection is gone
//! ([`Client::lost`]), and says in [`Client::step`] what is to be done next: write, read, send the message, take the
//! results. Whoever has the socket decides how long each [`Wait`] may last. Message bytes never pass through here; they
//! are in wire form already (RFC 5321 section 4.5.2) and [`terminator`] closes them.
//!
//! The commands of a transaction go out in groups where PIPELINING is offered (RFC 2920), one by one where not. RSET is
//! sent only where the server may still hold a transaction, in the same group as the next MAIL. The envelope of the next
//! message may go with the message at hand ([`Client::begin_next`]).
//!
//! With a store of mailboxes it speaks LMTP (RFC 2033, [`Hello::Lhlo`]): the same dialogue, but that a message has as many
//! replies as recipients, each with a verdict of its own.
//!
//! # Invariants
//! Each reply is matched with the command it answers; a reply that nobody asked for ends the connection, since every
//! later match would be off by one and a refusal could be read as an acceptance.
//! Each recipient of a transaction gets exactly one [`Verdict`], whatever happens to the connection.
//! No byte of an address can end a command line or begin another parameter.
//! # Failure
//! What the server refuses and what happens to the line are outcomes, not errors. Nothing a server sends makes this
//! panic or grow beyond fixed bounds.
//! # Not here
//! Choosing the peer, timeouts, sockets, TLS itself, trying again elsewhere (the tcp plugin).

mod ahead;
mod guard;
mod offers;
mod request;
mod transaction;
mod verdict;

#[cfg(test)]
mod ahead_tests;
#[cfg(test)]
mod guard_tests;
#[cfg(test)]
mod lmtp_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use sluice_mail::{Outcome, RecipientWishes, Status, Wishes};

use crate::reply::{Reply, ReplyReader};

use ahead::Ahead;
pub use guard::{Demand, Safety};
pub use offers::Offers;
pub use request::{Request, Trouble};
use sluice_sasl::client::Attempt;
use transaction::Transaction;
pub use verdict::{Ending, Settled, Verdict};
use verdict::{deferred, failed, outcome_of, shown};

/// How to behave on a connection.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Our name in EHLO.
    pub name: String,
    /// The peer's name as it shall stand in outcomes.
    pub peer: String,
    /// EHLO or HELO.
    pub hello: Hello,
    /// Send this name in ETRN before the first transaction, if the server offers it (channel keyword `sendetrn`).
    pub etrn: Option<String>,
    /// The peer takes 8-bit content whether it offers 8BITMIME or not (channel keyword `eightbit`).
    pub eight_bit: bool,
    /// How far commands are sent ahead of the replies (channel keyword `streaming`), in place of what is negotiated: 0 not
    /// at all, 1 groups of RCPT, 2 MAIL with them, 3 RSET too; and DATA where PIPELINING is offered beside 3.
    pub streaming: Option<u8>,
    /// Messages go in one chunk (BDAT, RFC 3030) where the server offers CHUNKING and [`Mail::chunk`] is known. Never in LMTP:
    /// there one reply to a command that nobody knows would be taken for that of the first recipient.
    pub chunking: bool,
    /// What our own server says behind XLOOP (channel keyword `loopcheck`): a server that says it is us, and gets nothing.
    pub mark: Option<String>,
    /// TLS and a login.
    pub safety: Safety,
}

/// Which greeting the client uses (channel keywords `ehlo`, `checkehlo`, `noehlo`, `lmtp`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hello {
    /// EHLO, and HELO if that is refused.
    #[default]
    Ehlo,
    /// EHLO if the server's banner says ESMTP, else HELO.
    IfAnnounced,
    /// HELO only.
    Helo,
    /// LHLO: the peer is a mailbox store, and speaks LMTP (RFC 2033).
    Lhlo,
}

/// What MAIL says about a message.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// Reverse-path without angle brackets; empty is the null one.
    pub sender: &'a str,
    /// Size of the message in bytes, for SIZE (RFC 1870).
    pub size: Option<u64>,
    /// The content is not 7-bit.
    pub eight_bit: bool,
    /// The message needs SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// Octets of the message without stuffed dots, for BDAT.
    pub chunk: Option<u64>,
    /// What the sender wishes about notices and priority; said where DSN and MT-PRIORITY are offered.
    pub wishes: Option<&'a Wishes>,
}

/// What RCPT says.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The address, without angle brackets.
    pub address: &'a str,
    /// What the sender wants to be told about it.
    pub wishes: Option<&'a RecipientWishes>,
}

impl<'a> From<&'a str> for To<'a> {
    fn from(address: &'a str) -> To<'a> {
        To { address, wishes: None }
    }
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Write [`Client::output`], then call [`Client::output_sent`].
    Write,
    /// Read, and pass what came to [`Client::receive`].
    Read(Wait),
    /// Turn on TLS, then call [`Client::secured`]; or [`Client::lost`] if that fails.
    StartTls,
    /// The connection stands and is free for [`Client::begin`] or [`Client::quit`].
    Ready,
    /// Write the message, its [`terminator`] and [`Client::envelope_ahead`], or [`Client::chunk`] and the message with its stuffing taken off when
    /// there is one; then call [`Client::content_sent`].
    Content,
    /// The transaction is over; the connection is Ready or Over.
    Settled(Settled),
    /// Nothing more can be done with this connection.
    Over(Ending),
}

/// What a read waits for; each has its own least timeout in RFC 5321 section 4.5.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The server's banner: 5 minutes.
    Greeting,
    /// The reply to EHLO or HELO.
    Hello,
    /// The reply to ETRN.
    Etrn,
    /// The reply to ATRN: 10 minutes (RFC 2645 section 5.2.1).
    Atrn,
    /// The reply to STARTTLS.
    StartTls,
    /// The reply to AUTH or a line of its exchange.
    Auth,
    /// The reply to RSET.
    Reset,
    /// The reply to MAIL: 5 minutes.
    Mail,
    /// The reply to a RCPT: 5 minutes.
    Rcpt,
    /// The reply to DATA: 2 minutes.
    Data,
    /// The reply to the message's final dot: 10 minutes.
    Dot,
    /// The reply to QUIT.
    Quit,
}

impl Wait {
    /// In words, for outcomes: `connection lost while waiting for ...`.
    fn what(self) -> &'static str {
        match self {
            Wait::Greeting => "the greeting",
            Wait::Hello => "the reply to EHLO",
            Wait::Etrn => "the reply to ETRN",
            Wait::Atrn => "the reply to ATRN",
            Wait::StartTls => "the reply to STARTTLS",
            Wait::Auth => "the reply to AUTH",
            Wait::Reset => "the reply to RSET",
            Wait::Mail => "the reply to MAIL",
            Wait::Rcpt => "the reply to RCPT",
            Wait::Data => "the reply to DATA",
            Wait::Dot => "the reply to the end of the message",
            Wait::Quit => "the reply to QUIT",
        }
    }
}

/// How a connection was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The peer closed it.
    Closed,
    /// The time for this step is over.
    TimedOut,
    /// The system reported an error.
    Failed(String),
    /// We are stopping and do not wait any longer.
    Stopping,
}

/// A command that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    Greeting,
    Ehlo,
    Helo,
    Etrn,
    /// A command outside all transactions, whose answer is the caller's business.
    Request(Wait),
    StartTls,
    Auth,
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    /// The end of a message; `false` when no recipient was left and the message was not sent.
    Dot(bool),
    /// In LMTP: what became of this recipient (RFC 2033 section 4.2).
    DotOf(usize),
    Quit,
}

impl Asked {
    fn wait(self) -> Wait {
        match self {
            Asked::Greeting => Wait::Greeting,
            Asked::Ehlo | Asked::Helo => Wait::Hello,
            Asked::Etrn => Wait::Etrn,
            Asked::Request(wait) => wait,
            Asked::StartTls => Wait::StartTls,
            Asked::Auth => Wait::Auth,
            Asked::Reset => Wait::Reset,
            Asked::Mail => Wait::Mail,
            Asked::Rcpt(_) => Wait::Rcpt,
            Asked::Data => Wait::Data,
            Asked::Dot(_) | Asked::DotOf(_) => Wait::Dot,
            Asked::Quit => Wait::Quit,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Opening,
    /// STARTTLS was accepted.
    Handshake,
    Ready,
    Envelope,
    Content,
    Dot,
    Closing,
    Over(Ending),
}

/// The state of one connection.
#[derive(Debug)]
pub struct Client {
    manner: Manner,
    phase: Phase,
    reader: ReplyReader,
    output: Vec<u8>,
    asked: VecDeque<Asked>,
    offers: Offers,
    is_secured: bool,
    attempt: Option<Attempt>,
    login_trouble: Option<String>,
    etrn_reply: Option<String>,
    ended_at_etrn: bool,
    answer: Option<Reply>,
    trouble: Option<Trouble>,
    replies: u64,
    transaction: Transaction,
    ahead: Ahead,
    /// Transactions that are over and not yet told of: the one at hand, and one whose envelope went ahead.
    settled: VecDeque<Settled>,
    /// Transactions that were begun here, the one at hand included.
    begun: u32,
    needs_reset: bool,
}

/// What closes a message on the wire, given the message's last bytes (fewer than two only when it is that short).
///
/// A message in wire form ends with CRLF or is empty (RFC 5321 section 4.1.1.4), and then the answer is a lone dot
/// line. For anything else the line is ended first, so that the dot can never become part of a line.
pub fn terminator(last: &[u8]) -> &'static [u8] {
    if last.is_empty() || last.ends_with(b"\r\n") { b".\r\n" } else { b"\r\n.\r\n" }
}

impl Client {
    /// A connection that was just made; the server speaks first.
    pub fn new(manner: Manner) -> Client {
        let is_secured = manner.safety.secured;
        Client {
            manner,
            phase: Phase::Opening,
            reader: ReplyReader::new(),
            output: Vec::new(),
            asked: VecDeque::from([Asked::Greeting]),
            offers: Offers::default(),
            is_secured,
            attempt: None,
            login_trouble: None,
            etrn_reply: None,
            ended_at_etrn: false,
            answer: None,
            trouble: None,
            replies: 0,
            transaction: Transaction::default(),
            ahead: Ahead::default(),
            settled: VecDeque::new(),
            begun: 0,
            needs_reset: false,
        }
    }

    /// What the server offers; all off until it has been greeted.
    pub fn offers(&self) -> Offers {
        self.offers
    }

    /// Whether a message may go as one chunk: it is wanted and offered.
    pub fn takes_chunks(&self) -> bool {
        self.manner.chunking && self.offers.chunking && !self.speaks_lmtp()
    }

    fn speaks_lmtp(&self) -> bool {
        self.manner.hello == Hello::Lhlo
    }

    /// Transactions that were begun on this connection.
    pub fn transactions(&self) -> u32 {
        self.begun
    }

    /// Replies that came so far. Whoever limits the time for a reply measures from the moment this last changed.
    pub fn replies(&self) -> u64 {
        self.replies
    }

    /// The reply to ETRN in one line, once it came. `None` when ETRN was not wanted or not offered.
    pub fn etrn_reply(&self) -> Option<&str> {
        self.etrn_reply.as_deref()
    }

    /// Whether the connection came to its end while ETRN had no reply, or by what the server said to it. Mail is then worth
    /// another connection on which nothing is asked ([`Manner::etrn`]).
    pub fn ended_at_etrn(&self) -> bool {
        self.ended_at_etrn
    }

    /// What is to be done next.
    pub fn step(&mut self) -> Step {
        if !self.output.is_empty() {
            return Step::Write;
        }
        if let Some(settled) = self.settled.pop_front() {
            return Step::Settled(settled);
        }
        match (&self.phase, self.asked.front()) {
            (Phase::Over(ending), _) => Step::Over(ending.clone()),
            (_, Some(asked)) => Step::Read(asked.wait()),
            (Phase::Handshake, None) => Step::StartTls,
            (Phase::Content, None) => Step::Content,
            (_, None) => Step::Ready,
        }
    }

    /// The bytes to write.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// [`Client::output`] has been written.
    pub fn output_sent(&mut self) {
        self.output.clear();
    }

    /// The command in front of a message that goes as one chunk, without stuffed dots and without terminator. `None`: it
    /// goes in wire form, behind DATA.
    pub fn chunk(&self) -> Option<&[u8]> {
        self.transaction.chunk.as_deref()
    }

    /// The message and its terminator have been written.
    pub fn content_sent(&mut self) {
        if self.phase == Phase::Content {
            self.phase = Phase::Dot;
            if self.speaks_lmtp() {
                self.asked.extend(self.transaction.accepted.iter().map(|&recipient| Asked::DotOf(recipient)));
            } else {
                self.asked.push_back(Asked::Dot(true));
                self.ahead_sent();
            }
        }
    }

    /// Starts a transaction on a connection that is [`Step::Ready`], or goes on with the one that [`Client::begin_next`] has begun. On any
    /// other it settles all recipients as deferred, to be tried on a new connection.
    pub fn begin<'a, T: Into<To<'a>>>(&mut self, mail: &Mail<'_>, recipients: impl IntoIterator<Item = T>) {
        if self.was_begun() {
            return;
        }
        let usable = self.phase == Phase::Ready;
        self.begun = self.begun.saturating_add(1);
        self.start(mail, recipients);
        if usable {
            self.phase = Phase::Envelope;
            self.advance();
        } else {
            debug_assert!(matches!(self.phase, Phase::Over(_)), "begin() while {:?}", self.phase);
            let outcome = match &self.phase {
                Phase::Over(ending) => ending.outcome.clone(),
                _ => deferred(Status::new(4, 3, 0), "the connection is not free", ""),
            };
            self.settle(&outcome, true);
        }
    }

    /// Says goodbye, if the connection is in a state for that. Nobody needs to wait long for the reply.
    pub fn quit(&mut self) {
        let polite = match &self.phase {
            Phase::Ready => true,
            Phase::Over(ending) => ending.polite,
            _ => false,
        };
        if polite {
            self.phase = Phase::Closing;
            self.ask(Asked::Quit, b"QUIT\r\n");
        }
    }

    /// Takes what the server sent.
    pub fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.phase, Phase::Over(_)) {
            if self.phase == Phase::Handshake && self.asked.is_empty() {
                // Somebody in between may have put it there, to be taken for something that was said under TLS.
                return self.violated("the server speaks before TLS is on");
            }
            match self.reader.read(&mut bytes) {
                Ok(None) => {}
                Ok(Some(answer)) => self.answered(&answer),
                Err(error) => self.violated(&error.to_string()),
            }
        }
        // Half a reply that nobody asked for is as bad as a whole one.
        if self.asked.is_empty() && self.reader.is_within_reply() && !matches!(self.phase, Phase::Over(_)) {
            self.violated("the server speaks without being asked");
        }
    }

    /// The connection is gone, or given up.
    pub fn lost(&mut self, loss: &Loss) {
        if matches!(self.phase, Phase::Over(_)) {
            return;
        }
        self.ended_at_etrn = self.asked.front() == Some(&Asked::Etrn);
        let doing = match (self.asked.front(), &self.phase) {
            (Some(asked), _) => format!("waiting for {}", asked.wait().what()),
            (None, Phase::Handshake) => "turning on TLS".to_owned(),
            (None, Phase::Content | Phase::Dot) => "sending the message".to_owned(),
            (None, _) => "nothing was going on".to_owned(),
        };
        let (status, text) = match loss {
            Loss::Closed => (Status::new(4, 4, 2), format!("connection lost while {doing}")),
            Loss::TimedOut => (Status::new(4, 4, 2), format!("timed out while {doing}")),
            Loss::Failed(error) => (Status::new(4, 4, 2), format!("connection lost while {doing}: {error}")),
            Loss::Stopping => (Status::new(4, 3, 2), format!("stopped while {doing}")),
        };
        // RFC 5248: X.7.5 is a failure of cryptography.
        let status = if self.phase == Phase::Handshake { Status::new(4, 7, 5) } else { status };
        let outcome = deferred(status, &text, &self.manner.peer);
        self.trouble.get_or_insert(Trouble::Lost);
        self.over(outcome, false);
    }

    // The connection.

    fn answered(&mut self, answer: &Reply) {
        self.replies += 1;
        let Some(asked) = self.asked.pop_front() else {
            if answer.code == 421 {
                self.closing(answer, None);
            } else {
                self.violated(&format!("the server speaks without being asked: {}", shown(answer)));
            }
            return;
        };
        self.ended_at_etrn = asked == Asked::Etrn;
        // RFC 5321 section 3.8: 421 may be the answer to anything and the connection is over.
        if answer.code == 421 && asked != Asked::Quit {
            return self.closing(answer, Some(asked));
        }
        let expected = matches!((answer.code, asked), (354, Asked::Data) | (334, Asked::Auth));
        if answer.is_intermediate() && !expected {
            return self.violated(&format!(
                "no possible answer to what was asked ({}): {}",
                asked.wait().what(),
                shown(answer)
            ));
        }
        let good = answer.is_success();
        match asked {
            Asked::Greeting if good => self.greeted(answer),
            Asked::Ehlo if good => {
                let mark = self.manner.mark.as_deref();
                if mark.is_some_and(|mark| Offers::has_mark(&answer.lines, mark)) {
                    // Messaging Server Reference, "loopcheck": the client bounces the message at once.
                    let (status, text) = (Status::new(5, 4, 6), "SMTP client-server loop detected");
                    return self.over(failed(status, text, &self.manner.peer), true);
                }
                self.offers = Offers::read(&answer.lines);
                self.protect();
            }
            Asked::Helo if good => self.protect(),
            Asked::Ehlo if self.speaks_lmtp() && matches!(answer.code, 500 | 502) => {
                // Whoever set up the channel or the server has to know; the mail waits for that.
                let text =
                    format!("the server does not know LHLO, so it does not speak LMTP: {}", shown(answer));
                self.over(deferred(Status::new(4, 5, 1), &text, &self.manner.peer), true);
            }
            // RFC 5321 sections 3.2 and 4.1.4: a server that does not know EHLO is asked with HELO. It may say 500, 501,
            // 502, 504 or 550; whichever 5xx it is, HELO tells what is meant.
            Asked::Ehlo if answer.is_permanent() && !self.speaks_lmtp() => self.hello(Asked::Helo),
            Asked::Greeting | Asked::Ehlo | Asked::Helo => {
                let outcome = outcome_of(answer, asked.wait(), &self.manner.peer);
                self.over(outcome, true);
            }
            Asked::StartTls => self.tls_answered(answer),
            Asked::Auth => self.auth_answered(answer),
            // No answer to ETRN can fail a delivery.
            Asked::Etrn => {
                self.etrn_reply = Some(shown(answer));
                self.ended_at_etrn = false;
                self.phase = Phase::Ready;
            }
            Asked::Request(_) => self.request_answered(answer),
            Asked::Quit => {
                self.over(deferred(Status::NOT_NOW, "the connection was closed by us", ""), false);
            }
            Asked::Reset if good => self.needs_reset = false,
            Asked::Reset => self.violated(&format!("RSET was refused: {}", shown(answer))),
            Asked::Mail => self.mail_answered(answer),
            Asked::Rcpt(recipient) => self.rcpt_answered(recipient, answer),
            Asked::Data => self.data_answered(answer),
            Asked::Dot(sent) => self.dot_answered(sent, answer),
            Asked::DotOf(recipient) => self.dot_of_answered(recipient, answer),
        }
        if self.phase == Phase::Envelope && self.asked.is_empty() {
            self.advance();
        }
    }

    fn greeted(&mut self, banner: &Reply) {
        let announced = banner.lines.iter().any(|line| line.to_ascii_uppercase().contains("ESMTP"));
        let extended = match self.manner.hello {
            Hello::Ehlo | Hello::Lhlo => true,
            Hello::IfAnnounced => announced,
            Hello::Helo => false,
        };
        self.hello(if extended { Asked::Ehlo } else { Asked::Helo });
    }

    fn hello(&mut self, asked: Asked) {
        let verb = match asked {
            Asked::Ehlo if self.speaks_lmtp() => "LHLO",
            Asked::Ehlo => "EHLO",
            _ => "HELO",
        };
        let line = command(verb, &self.manner.name);
        self.ask(asked, &line);
    }

    fn opened(&mut self) {
        match &self.manner.etrn {
            Some(name) if self.offers.etrn => {
                let line = command("ETRN", name);
                self.ask(Asked::Etrn, &line);
            }
            _ => self.phase = Phase::Ready,
        }
    }

    fn ask(&mut self, asked: Asked, line: &[u8]) {
        debug_assert!(line.ends_with(b"\r\n"));
        self.output.extend_from_slice(line);
        self.asked.push_back(asked);
    }

    /// 421: the server closes the connection. A connection that has served before may have been idle for too long or
    /// have reached the server's limit of messages; then the transaction is worth a new connection at once.
    fn closing(&mut self, answer: &Reply, asked: Option<Asked>) {
        let wait = asked.map_or(Wait::Greeting, Asked::wait);
        let outcome = outcome_of(answer, wait, &self.manner.peer);
        self.over(outcome, false);
    }

    /// The server does not speak SMTP as we know it: nothing it says from here on can be trusted.
    fn violated(&mut self, why: &str) {
        let mut text = format!("protocol violation: {why}");
        if self.transaction.again && self.phase == Phase::Envelope {
            text.push_str("; it offers CHUNKING and refuses BDAT, which `nochunkingclient` avoids");
        }
        let outcome = deferred(Status::new(4, 5, 0), &text, &self.manner.peer);
        self.ended_at_etrn |= self.asked.front() == Some(&Asked::Etrn);
        self.trouble.get_or_insert(Trouble::Nonsense);
        self.over(outcome, false);
    }

    /// Ends the connection; recipients without a verdict get this outcome.
    fn over(&mut self, outcome: Outcome, polite: bool) {
        if matches!(self.phase, Phase::Envelope | Phase::Content | Phase::Dot) {
            let stale = self.begun > 1 && !self.transaction.mail_answered;
            self.settle(&outcome, stale);
        }
        self.forget_ahead();
        self.output.clear();
        self.asked.clear();
        self.phase = Phase::Over(Ending { outcome, polite });
    }
}

/// A command with one argument from the configuration. What could end the line is left out, whoever checked before.
fn command(verb: &str, argument: &str) -> Vec<u8> {
    let argument: String = argument.chars().filter(|c| !c.is_control()).collect();
    format!("{verb} {argument}\r\n").into_bytes()
}
