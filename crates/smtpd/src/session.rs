//! One connection from its greeting to its end.
//!
//! The loop takes every whole command line that is there, gathers the replies, writes them at once and reads more. It is
//! woken by input, by the deadline of the command, or by the stop of the server; it ends when either side closes.
//!
//! # Not here
//! Which reply is right (`sluice_smtp::server`), message content (`delivery`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sluice_mail::Refusal;
use sluice_sasl::Mechanism;
use sluice_smtp::atrn::Domains;
use sluice_smtp::etrn::Node;
use sluice_smtp::line::{Line, LineReader};
use sluice_smtp::reply::{Charset, Reply};
use sluice_smtp::server::{self, Step, Transaction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::delivery::{self, Arrival, Progress};
use crate::farewell::{LINGER, last_words, linger};
use crate::intake::{Admission, Connection, EtrnAnswer, Intake, Lookup, MailParams, Orders, Origin, Session};
use crate::protection::{Underway, policy};
use crate::tls::Wire;
use crate::turn::{AfterAtrn, AtrnAnswer};
use crate::{LOOKUP_TIME, log};

/// Room for one read while commands are expected. A pipelined group of some forty commands fits.
const COMMAND_READ_OCTETS: usize = 4 * 1024;
/// Replies are written when so much has gathered, even if more commands are there.
const OUTPUT_OCTETS_MAX: usize = 16 * 1024;
/// Code of the reply to QUIT, and of no other.
pub(crate) const GOODBYE: u16 = 221;

/// A session at work.
pub(crate) struct Talk {
    /// `None` only within a handshake, and for good when it fails.
    pub(crate) stream: Option<Wire>,
    pub(crate) input: Input,
    output: Vec<u8>,
    pub(crate) lines: LineReader,
    pub(crate) server: server::Server,
    pub(crate) session: Session,
    pub(crate) intake: Arc<dyn Intake>,
    /// What the intake ordered for the open transaction.
    pub(crate) orders: Orders,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) exchange: Option<Underway>,
    pub(crate) auth_failures: u32,
    /// A message of which some chunks have come.
    arrival: Option<Arrival>,
    /// Messages that were made safe.
    pub(crate) accepted: u64,
    /// Code of the reply that was given last.
    pub(crate) last_code: u16,
}

/// What has been read and not yet used.
#[derive(Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
}

impl Input {
    /// What is there.
    pub(crate) fn unused(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Marks the first `octets` as used.
    pub(crate) fn used(&mut self, octets: usize) {
        self.start += octets;
        if self.start >= self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Gives back memory that only a large message needs.
    fn shrink(&mut self) {
        if self.buffer.capacity() > COMMAND_READ_OCTETS * 4 {
            self.make_room(0);
            self.buffer.shrink_to(COMMAND_READ_OCTETS);
        }
    }

    /// Moves what is left to the front and makes room for `octets` more.
    fn make_room(&mut self, octets: usize) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(octets);
    }
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many octets.
    Octets(usize),
    /// The client closed its side.
    End,
    /// The deadline passed.
    Late,
    /// The server stops.
    Stopping,
}

/// What follows a command line.
enum Next {
    /// Its reply has been gathered.
    Line,
    /// The last reply has been gathered.
    Close,
    Etrn(Node, oneshot::Receiver<EtrnAnswer>),
    Atrn(Domains, oneshot::Receiver<AtrnAnswer>),
    Releases(oneshot::Receiver<Reply>),
    StartTls(Reply),
    Auth(Option<Mechanism>, Option<Vec<u8>>),
    Sender {
        lookup: Lookup<Result<(), Refusal>>,
        path: String,
        params: MailParams,
    },
    Content(Box<Transaction>),
    Chunk {
        octets: u64,
        last: bool,
    },
    Discard(u64, Reply),
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    stream: TcpStream,
    mut connection: Connection,
    intake: Arc<dyn Intake>,
    stopping: watch::Receiver<bool>,
) {
    let peer = connection.peer;
    if let Some(lookup) = intake.client_name(&connection) {
        connection.name = timeout(LOOKUP_TIME, lookup).await.ok().flatten();
    }
    let admission = match intake.admit(&connection) {
        Ok(admission) => admission,
        Err(refusal) => {
            tracing::info!(%peer, service = %connection.service, %refusal, "connection refused");
            if connection.implicit_tls {
                return;
            }
            // RFC 2034 section 4: no enhanced code in what stands for the greeting.
            let mut output = Vec::new();
            Reply::from(refusal).without_status().write_to(&mut output);
            let mut stream = Wire::Plain(stream);
            let _ = timeout(LINGER, stream.write_all(&output)).await;
            return linger(&mut stream).await;
        }
    };
    tracing::debug!(%peer, service = %connection.service, channel = %admission.source_channel, "connected");
    let mut talk = Talk::new(Wire::Plain(stream), connection, admission, intake, stopping);
    match talk.run().await {
        Ok(()) => tracing::debug!(%peer, "disconnected"),
        Err(error) => tracing::debug!(%peer, %error, "connection lost"),
    }
}

impl Talk {
    /// A session that has been admitted and not yet greeted.
    pub(crate) fn new(
        stream: Wire,
        connection: Connection,
        admission: Admission,
        intake: Arc<dyn Intake>,
        stopping: watch::Receiver<bool>,
    ) -> Talk {
        Talk {
            stream: Some(stream),
            input: Input::default(),
            output: Vec::with_capacity(512),
            lines: LineReader::new(admission.reception.line_ends),
            server: server::Server::new(policy(&admission)),
            session: Session {
                connection,
                admission,
                helo: String::new(),
                extended: false,
                tls: None,
                login: None,
                origin: Origin::Client,
                waited_in: String::new(),
            },
            intake,
            stopping,
            orders: Orders::default(),
            exchange: None,
            auth_failures: 0,
            arrival: None,
            accepted: 0,
            last_code: 0,
        }
    }

    pub(crate) async fn run(&mut self) -> io::Result<()> {
        if self.session.connection.implicit_tls {
            let Some(certificates) = self.intake.certificates(&self.session.connection) else {
                let service = &self.session.connection.service;
                tracing::error!(%service, "there is no certificate for TLS_PORT; the connection is closed");
                return Ok(());
            };
            self.handshake(certificates).await?;
        }
        let greeting = self.server.greeting();
        self.say(&greeting);
        let mut deadline = self.command_deadline();
        loop {
            while let Some(next) = self.next_command() {
                self.delay().await;
                match next {
                    Next::Line if !self.server.is_in_transaction() => self.orders = Orders::default(),
                    Next::Line => {}
                    Next::Close => return self.close().await,
                    Next::Etrn(node, answer) => {
                        if !self.finish_etrn(node, answer).await? {
                            return self.close().await;
                        }
                    }
                    Next::Atrn(domains, answer) => match self.finish_atrn(&domains, answer).await? {
                        AfterAtrn::Line => {}
                        AfterAtrn::Close => return self.close().await,
                        AfterAtrn::Gone => return Ok(()),
                    },
                    Next::Releases(answer) => {
                        if !self.finish_releases(answer).await? {
                            return self.close().await;
                        }
                    }
                    Next::StartTls(reply) => {
                        if !self.start_tls(&reply).await? {
                            return self.close().await;
                        }
                    }
                    Next::Auth(mechanism, response) => {
                        if !self.authenticate(mechanism, response).await? {
                            return self.close().await;
                        }
                    }
                    Next::Sender { lookup, path, params } => {
                        if !self.finish_sender(lookup, &path, params).await? {
                            return self.close().await;
                        }
                    }
                    Next::Content(transaction) => {
                        if !self.finish_content(*transaction).await? {
                            return self.close().await;
                        }
                    }
                    Next::Chunk { octets, last } => {
                        if !self.finish_chunk(octets, last).await? {
                            return self.close().await;
                        }
                    }
                    Next::Discard(octets, reply) => {
                        if !self.finish_discarded(octets, &reply).await? {
                            return self.close().await;
                        }
                    }
                }
                if self.output.len() >= OUTPUT_OCTETS_MAX {
                    self.flush().await?;
                }
                deadline = self.command_deadline();
            }
            self.flush().await?;
            let reply = match self.read_command(deadline).await? {
                Got::Octets(_) => continue,
                Got::End => return Ok(()),
                Got::Late => self.server.command_timeout(),
                Got::Stopping => self.server.shutdown(),
            };
            tracing::debug!(peer = %self.session.connection.peer, %reply, "session ended by us");
            self.say(&reply);
            return self.close().await;
        }
    }

    /// When the next command must be there as a whole: octets that trickle in do not move it.
    fn command_deadline(&self) -> Instant {
        Instant::now() + self.session.admission.limits.command_timeout
    }

    /// Carries out the next line that is there, as far as that needs no waiting.
    fn next_command(&mut self) -> Option<Next> {
        let (line, used) = self.lines.next(self.input.unused());
        let step = match line {
            Line::Incomplete => {
                self.input.used(used);
                return None;
            }
            Line::TooLong => self.server.line_too_long(),
            Line::Complete(line) => {
                if self.session.admission.reception.debug {
                    log::command(&self.session, line, self.server.is_in_exchange());
                }
                self.server.line(line, self.intake.now())
            }
        };
        let step = match step {
            Step::Sender { path, params } => {
                self.orders = Orders::default();
                let answer = self.intake.sender(&self.session, path, &params, &mut self.orders);
                let lookup = match &answer {
                    Ok(()) => self.intake.sender_exists(&self.session, path),
                    Err(_) => None,
                };
                if let Some(lookup) = lookup {
                    let path = path.to_owned();
                    self.input.used(used);
                    return Some(Next::Sender { lookup, path, params });
                }
                self.server.sender(path, params, answer)
            }
            Step::Recipient { path, wishes } => {
                let sender = self.server.reverse_path().unwrap_or_default();
                let answer = self.intake.recipient(&self.session, sender, path, &mut self.orders);
                if let Err(refusal) = &answer {
                    tracing::info!(peer = %self.session.connection.peer, recipient = ?path, %refusal, "recipient refused");
                }
                self.server.recipient(path, wishes, answer)
            }
            Step::Verify(text) => {
                let reply = self.intake.verify(&self.session, text);
                self.server.answered(reply)
            }
            step => step,
        };
        let charset = self.server.charset();
        let next = match step {
            Step::Reply(reply) => {
                self.put(charset, &reply);
                Next::Line
            }
            Step::Hello(reply) => {
                self.put(charset, &reply);
                if let Some(helo) = self.server.helo() {
                    self.session.helo.clone_from(&helo.name);
                    self.session.extended = helo.extended;
                }
                Next::Line
            }
            Step::Close(reply) => {
                self.put(charset, &reply);
                Next::Close
            }
            Step::Etrn(argument) => match argument.parse() {
                Ok(node) => {
                    let (sender, answer) = oneshot::channel();
                    let done = Box::new(move |answer| drop(sender.send(answer)));
                    self.intake.etrn(&self.session, argument, done);
                    Next::Etrn(node, answer)
                }
                // The state machine hands on nothing else; if it did, this would be the reply.
                Err(_) => {
                    sluice_smtp::replies::etrn_syntax().write_to(&mut self.output);
                    Next::Line
                }
            },
            Step::Atrn(argument) => {
                let domains: Domains = argument.parse().unwrap_or_default();
                self.input.used(used);
                if !self.input.unused().is_empty() {
                    let step = self.server.spoke_before_turn();
                    return Some(if self.carry_out(step) { Next::Line } else { Next::Close });
                }
                let (sender, answer) = oneshot::channel();
                let done = Box::new(move |answer| drop(sender.send(answer)));
                self.intake.atrn(&self.session, &domains.0, done);
                return Some(Next::Atrn(domains, answer));
            }
            Step::Releases => {
                let (sender, answer) = oneshot::channel();
                let done = Box::new(move |answer| drop(sender.send(answer)));
                self.intake.releases(&self.session, done);
                Next::Releases(answer)
            }
            Step::Content(reply, transaction) => {
                self.put(Charset::Ascii, &reply);
                Next::Content(transaction)
            }
            Step::Chunk { octets, last, transaction } => {
                if let Some(transaction) = transaction {
                    self.arrival = Some(Arrival::begin(self, *transaction, true));
                }
                Next::Chunk { octets, last }
            }
            Step::Discard(octets, reply) => Next::Discard(octets, reply),
            Step::StartTls(reply) => Next::StartTls(reply),
            Step::Authenticate(mechanism, response) => Next::Auth(Some(mechanism), response),
            Step::AuthResponse(response) => Next::Auth(None, Some(response)),
            // Answered above: what these three become is a reply.
            Step::Sender { .. } | Step::Recipient { .. } | Step::Verify(_) => Next::Close,
        };
        self.input.used(used);
        if !self.server.expects_chunks() {
            self.arrival = None;
        }
        Some(next)
    }

    /// Waits as long as the orders say, with the replies that have gathered. A stop of the server ends the wait. The
    /// orders end with their transaction: what they say about its message, its arrival knows by then.
    async fn delay(&mut self) {
        let delay = self.orders.delay();
        self.orders.delay_once = Duration::ZERO;
        if !delay.is_zero() {
            let _ = timeout(delay, self.stopping.wait_for(|stop| *stop)).await;
        }
    }

    /// Says what the last step of a longer command says; false when the connection is to be closed.
    pub(crate) fn carry_out(&mut self, step: Step<'static>) -> bool {
        match step {
            Step::Reply(reply) => {
                self.say(&reply);
                true
            }
            Step::Close(reply) => {
                self.say(&reply);
                false
            }
            // Nothing else comes of an answer.
            _ => false,
        }
    }

    /// Receives a message; false when the connection is to be closed.
    async fn finish_content(&mut self, transaction: Transaction) -> io::Result<bool> {
        self.flush().await?;
        let mut arrival = Arrival::begin(self, transaction, false);
        self.orders = Orders::default();
        let progress = arrival.data(self).await?;
        self.received(progress, arrival, false).await
    }

    /// Receives a chunk of a message; false when the connection is to be closed.
    async fn finish_chunk(&mut self, octets: u64, last: bool) -> io::Result<bool> {
        // The octets behind BDAT do not wait for a reply; those to the commands before it may go out later, unless there
        // is something to wait for.
        if (self.input.unused().len() as u64) < octets {
            self.flush().await?;
        }
        self.orders = Orders::default();
        let Some(mut arrival) = self.arrival.take() else {
            // The state machine names no chunk without a message.
            return Ok(false);
        };
        let progress = arrival.chunk(self, octets).await?;
        if let (Progress::Ended, false) = (&progress, last) {
            let step = match arrival.trouble() {
                Some(received) => self.server.received(received),
                None => {
                    self.arrival = Some(arrival);
                    self.server.chunk_taken(octets)
                }
            };
            return Ok(self.carry_out(step));
        }
        self.received(progress, arrival, true).await
    }

    /// Reads octets that belong to no message; false when the connection is to be closed.
    async fn finish_discarded(&mut self, octets: u64, reply: &Reply) -> io::Result<bool> {
        self.flush().await?;
        Ok(match delivery::discard(self, octets).await? {
            Progress::Ended => {
                self.say(reply);
                true
            }
            Progress::Close(reply) => {
                self.say(&reply);
                false
            }
        })
    }

    /// The content of a message is there, or never will be; false when the connection is to be closed.
    async fn received(&mut self, progress: Progress, arrival: Arrival, chunked: bool) -> io::Result<bool> {
        let received = match progress {
            Progress::Ended => arrival.finish(self, chunked).await,
            Progress::Close(reply) => {
                tracing::info!(peer = %self.session.connection.peer, %reply, "message not received");
                self.say(&reply);
                return Ok(false);
            }
        };
        self.input.shrink();
        let step = self.server.received(received);
        Ok(self.carry_out(step))
    }

    pub(crate) fn say(&mut self, reply: &Reply) {
        self.put(Charset::Ascii, reply);
    }

    fn put(&mut self, charset: Charset, reply: &Reply) {
        if self.session.admission.reception.debug {
            log::reply(&self.session, reply);
        }
        self.last_code = reply.code;
        reply.write_in(charset, &mut self.output);
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            let limit = self.session.admission.limits.command_timeout;
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            let written = timeout(limit, async {
                stream.write_all(&self.output).await?;
                // Without TLS there is nothing to flush.
                stream.flush().await
            })
            .await;
            self.output.clear();
            written.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, "the client does not read our replies")
            })??;
        }
        Ok(())
    }

    /// Reads more, until `deadline` or until the server stops.
    async fn read_command(&mut self, deadline: Instant) -> io::Result<Got> {
        self.input.make_room(COMMAND_READ_OCTETS);
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let got = tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stop| *stop) => Ok(Got::Stopping),
            read = timeout_at(deadline, stream.read_buf(&mut self.input.buffer)) => got(read),
        };
        self.arrived();
        got
    }

    /// Reads more of a message. A stop of the server lets it come to its end.
    pub(crate) async fn read_content(&mut self, room: usize, deadline: Instant) -> io::Result<Got> {
        self.input.make_room(room);
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let got = got(timeout_at(deadline, stream.read_buf(&mut self.input.buffer)).await);
        self.arrived();
        got
    }

    /// Octets have been read; the first of them may belong to a line that was carried out already.
    fn arrived(&mut self) {
        let used = self.lines.arrived(self.input.unused());
        self.input.used(used);
    }

    async fn close(&mut self) -> io::Result<()> {
        // Who has said QUIT says no more, so there is nothing to wait for, and the close reaches the client behind 221.
        // Only the LF of that line may still be on its way.
        let has_quit =
            self.last_code == GOODBYE && self.input.unused().is_empty() && !self.lines.expects_lf();
        if let Some(Wire::Plain(stream)) = self.stream.as_ref().filter(|_| has_quit)
            && last_words(stream)
        {
            return self.flush().await;
        }
        self.flush().await?;
        if let Some(stream) = &mut self.stream {
            linger(stream).await;
        }
        Ok(())
    }
}

fn got(read: Result<io::Result<usize>, tokio::time::error::Elapsed>) -> io::Result<Got> {
    match read {
        Err(_) => Ok(Got::Late),
        Ok(Ok(0)) => Ok(Got::End),
        Ok(Ok(octets)) => Ok(Got::Octets(octets)),
        Ok(Err(error)) => Err(error),
    }
}
