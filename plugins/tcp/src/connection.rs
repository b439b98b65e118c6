//! One connection: the socket under the SMTP client, with its clocks.
//!
//! Blocking sockets in the worker's own thread: a worker has nothing else to do than wait for its peer. Each wait is
//! made of short ones, so that a stopping channel is noticed; the time for a reply runs from the last reply before it,
//! not from the last byte, or a peer could keep us for days with one byte now and then.
//!
//! A message is written with one system call where it fits: all its pieces, mapped from the spool, and the closing dot
//! together, and the envelope of the next message where that is known. Nothing of it is copied or looked at here; it is in wire form
//! (debug builds make sure).
//!
//! # Not here
//! The dialogue (`sluice_smtp::client`), which address to connect to (`targets`), how long to keep it (`outbox`).

use std::io::{self, IoSlice, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use sluice_mail::wire::Unstuffer;
use sluice_sdk::{Outcome, Status};
use sluice_smtp::client::{Client, Demand, Loss, Manner, Safety, Settled, Step, Wait, terminator};
use tokio::runtime::Runtime;

use crate::halt::Halt;
use crate::message::Message;
use crate::pieces::{is_wire_form, last_two, plain};
use crate::pool::Slot;
use crate::settings::{Settings, Times};
use crate::socket::{NoSocket, Socket};
use crate::targets::{Approach, Target, outward};
use crate::tls::Wire;
use crate::trace::Trace;

/// One wait of the system; the time after which a stopping channel is noticed at the latest.
const TICK: Duration = Duration::from_millis(500);
/// The least time that a connection gets to come about, however little is left of the delivery's.
const CONNECT_TIME_MIN: Duration = Duration::from_secs(1);
/// Room for one read of replies. A whole group's fit as a rule.
const READ_OCTETS: usize = 4096;
/// How long the reply to QUIT is worth.
const QUIT_TIME: Duration = Duration::from_millis(250);

/// Why a connection is no use.
#[derive(Debug)]
pub(crate) struct NotOpen {
    pub(crate) outcome: Outcome,
    /// The address cannot be reached from here at all: no route, no interface. A line that is coming up will change that.
    pub(crate) no_route: bool,
}

impl From<Outcome> for NotOpen {
    fn from(outcome: Outcome) -> NotOpen {
        NotOpen { outcome, no_route: false }
    }
}

/// What a connection begins with.
#[derive(Debug, Clone, Copy)]
struct Opening<'a> {
    tls: Demand,
    /// The name to ask for.
    etrn: Option<&'a str>,
}

/// A connection that was greeted and is free, or at work, or over.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Wire,
    client: Client,
    times: Times,
    /// Source routes are taken off recipients.
    remove_route: bool,
    halt: Arc<Halt>,
    opened: Instant,
    used: Instant,
    /// Room for one read.
    input: Box<[u8]>,
    /// What the socket's timeouts are set to.
    set: (Option<Duration>, Option<Duration>),
    /// What TLS needs, and the name that the server's certificate is to have.
    tls: Option<Arc<ClientConfig>>,
    name: String,
    /// TLS was begun and did not come about.
    no_handshake: bool,
    /// What a server did to another connection when it was asked for our mail.
    etrn_trouble: Option<String>,
    trace: Trace,
    _slot: Slot,
}

impl Connection {
    /// Connects and goes as far as the first MAIL. An outcome says why this address is no use now.
    ///
    /// Where TLS may be used and need not, a handshake that fails costs the connection, and another one is made without:
    /// mail in clear is what the operator asked for in that case. A server that ends the connection over ETRN gets another one
    /// on which it is not asked: asking for mail must not keep ours from going.
    ///
    /// `most` is how long it may take to connect, where that is less than the channel's time for it.
    pub(crate) fn open(
        target: &Target,
        settings: &Settings,
        runtime: &Runtime,
        halt: &Arc<Halt>,
        most: Duration,
        slot: Slot,
        trace: Trace,
    ) -> Result<Connection, NotOpen> {
        let is_local = target.approach == Approach::Local;
        let mut opening = Opening {
            tls: if is_local { Demand::No } else { settings.tls.demand },
            etrn: settings.etrn.as_deref().filter(|_| !is_local),
        };
        let (mut slot, mut trace, mut etrn_trouble) = (slot, trace, None);
        loop {
            let opened = Connection::open_with(opening, target, settings, runtime, halt, most, slot, trace);
            let (outcome, connection) = match opened {
                Ok(connection) => return Ok(Connection { etrn_trouble, ..connection }),
                Err((why, None)) => return Err(why),
                Err((why, Some(connection))) => (why.outcome, *connection),
            };
            let (Outcome::Delivered { text, .. }
            | Outcome::Deferred { text, .. }
            | Outcome::Failed { text, .. }) = &outcome;
            if connection.no_handshake && opening.tls == Demand::May {
                connection.trace.step(&format!("once more without TLS: {text}"));
                opening.tls = Demand::No;
            } else if connection.client.ended_at_etrn() && !halt.is_told() {
                connection.trace.step(&format!("once more without ETRN: {text}"));
                etrn_trouble = Some(text.clone());
                opening.etrn = None;
            } else {
                return Err(outcome.into());
            }
            Connection { _slot: slot, trace, .. } = connection;
        }
    }

    /// As [`Connection::open`], once. A connection that failed by TLS or by ETRN comes back.
    fn open_with(
        opening: Opening<'_>,
        target: &Target,
        settings: &Settings,
        runtime: &Runtime,
        halt: &Arc<Halt>,
        most: Duration,
        slot: Slot,
        trace: Trace,
    ) -> Result<Connection, (NotOpen, Option<Box<Connection>>)> {
        trace.step(&format!("connecting to {}", target.place));
        let limit = settings.times.connect.min(most.max(CONNECT_TIME_MIN));
        let connected = Socket::open(&target.place, settings, limit, runtime, halt);
        let stream = connected.map_err(|NoSocket { why, no_route }| {
            let text = format!("no connection to {} at {}: {why}", target.name, target.place);
            let outcome = Outcome::deferred(Status::new(4, 4, 1), text).from_peer(target.name.as_str());
            (NotOpen { outcome, no_route }, None)
        })?;
        let is_local = target.approach == Approach::Local;
        let implicit_tls = settings.tls.implicit && !is_local;
        let (auth, credentials) = match (target.approach, settings.auth) {
            (Approach::Configured, auth) => (auth, settings.credentials.clone()),
            // Whoever must have a login there gets no mail through without one.
            (Approach::Named, Demand::Must) => (Demand::Must, None),
            (Approach::Named | Approach::Local, _) => (Demand::No, None),
        };
        let mut safety =
            Safety { tls: opening.tls, secured: implicit_tls, auth, credentials, ..Safety::default() };
        let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        if source.fill(&mut safety.random).is_err() {
            // Without a nonce of our own nothing is proved.
            safety.credentials = None;
        }
        let manner = Manner {
            name: settings.name.clone(),
            peer: target.name.clone(),
            hello: settings.hello,
            etrn: opening.etrn.map(str::to_owned),
            eight_bit: settings.eight_bit,
            streaming: settings.streaming,
            chunking: settings.chunking,
            mark: settings.mark.clone(),
            safety,
        };
        let now = Instant::now();
        let mut connection = Connection {
            stream: Wire::new(stream),
            client: Client::new(manner),
            times: settings.times,
            remove_route: settings.remove_route,
            halt: Arc::clone(halt),
            opened: now,
            used: now,
            input: vec![0; READ_OCTETS].into_boxed_slice(),
            set: (None, None),
            tls: settings.tls.config.clone(),
            name: target.name.clone(),
            no_handshake: false,
            etrn_trouble: None,
            trace,
            _slot: slot,
        };
        if implicit_tls {
            connection.secure();
        }
        match connection.pump(None, None) {
            Step::Over(ending) => {
                let outcome = outward(ending.outcome);
                if connection.no_handshake || connection.client.ended_at_etrn() {
                    return Err((outcome.into(), Some(Box::new(connection))));
                }
                connection.quit();
                Err((outcome.into(), None))
            }
            _ => Ok(connection),
        }
    }

    /// Turns on TLS; a failure is the end of the connection.
    fn secure(&mut self) {
        match self.handshake() {
            Ok(()) => {
                self.trace.step("TLS is on");
                self.client.secured();
            }
            Err(loss) => {
                self.no_handshake = !self.halt.is_told();
                self.client.lost(&loss);
            }
        }
    }

    fn handshake(&mut self) -> Result<(), Loss> {
        let no_tls = |error: &io::Error| Loss::Failed(format!("no TLS: {error}"));
        let Some(config) = &self.tls else { return Err(Loss::Failed("no TLS was set up".to_owned())) };
        self.stream.begin_tls(config, &self.name).map_err(|error| no_tls(&error))?;
        self.set_read_time(TICK).map_err(|error| failed(&error))?;
        self.stream.socket().set_write_timeout(Some(TICK)).map_err(|error| failed(&error))?;
        self.set.1 = Some(TICK);
        let since = Instant::now();
        loop {
            match self.stream.shake_hands() {
                Ok(_) => return Ok(()),
                Err(error) if is_tick(&error) && self.halt.is_told() => return Err(Loss::Stopping),
                Err(error) if is_tick(&error) && since.elapsed() < self.times.connect => {}
                Err(error) if is_tick(&error) => return Err(Loss::TimedOut),
                Err(error) => return Err(no_tls(&error)),
            }
        }
    }

    /// Why we are not logged in although we might have been.
    pub(crate) fn login_trouble(&self) -> Option<&str> {
        self.client.login_trouble()
    }

    /// Sends a message to some of its recipients. Always ends in a verdict for each of them.
    ///
    /// The envelope of `next` goes with it where that may be; [`Connection::awaits_next`] says so, and then this connection carries that message
    /// and no other.
    pub(crate) fn transact(
        &mut self,
        message: &Message<'_>,
        recipients: &[usize],
        next: Option<&Message<'_>>,
    ) -> Settled {
        let chunk = if self.client.takes_chunks() { plain(&message.pieces) } else { None };
        let remove_route = self.remove_route;
        self.client.begin(&message.mail(chunk), recipients.iter().map(|&at| message.to(at, remove_route)));
        let step = self.pump(Some(message), next);
        self.used = Instant::now();
        match step {
            Step::Settled(settled) => {
                if !self.client.has_begun_next() {
                    // What is left is a reply to something that does not concern the message.
                    self.pump(None, None);
                }
                settled
            }
            // The client settles every transaction it has begun before it says anything else.
            step => unreachable!("a transaction ended in {step:?}"),
        }
    }

    /// The envelope of the next message went with the last one.
    pub(crate) fn awaits_next(&self) -> bool {
        self.client.has_begun_next()
    }

    /// Whether the server offers 8BITMIME.
    pub(crate) fn takes_eight_bit(&self) -> bool {
        self.client.offers().eight_bit_mime
    }

    /// Whether another transaction can be started.
    pub(crate) fn is_free(&mut self) -> bool {
        self.client.step() == Step::Ready
    }

    /// Messages that went over it, or tried to.
    pub(crate) fn transactions(&self) -> u32 {
        self.client.transactions()
    }

    /// The reply to our ETRN; `None` when none was sent.
    pub(crate) fn etrn_reply(&self) -> Option<&str> {
        self.client.etrn_reply()
    }

    /// How a server that was asked for our mail ended the connection before this one, on which it was not asked.
    pub(crate) fn etrn_trouble(&self) -> Option<&str> {
        self.etrn_trouble.as_deref()
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// When it was last used.
    pub(crate) fn used(&self) -> Instant {
        self.used
    }

    /// Looks whether an idle connection has been closed, or has said something, behind our back.
    pub(crate) fn looks_alive(&mut self) -> bool {
        let mut bytes = [0; 1024];
        let looked = self.stream.socket().set_nonblocking(true).and_then(|()| {
            let read = self.stream.read(&mut bytes);
            self.stream.socket().set_nonblocking(false)?;
            read
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Ok(count) if count > 0 => {
                self.client.receive(&bytes[..count]);
                self.is_free()
            }
            _ => false,
        }
    }

    /// Says QUIT where that makes sense, and hangs up.
    pub(crate) fn quit(mut self) {
        self.client.quit();
        self.pump(None, None);
        self.stream.say_end();
    }

    /// Does what the client says until it is free, has results, or is over.
    fn pump(&mut self, message: Option<&Message<'_>>, next: Option<&Message<'_>>) -> Step {
        let mut replies = self.client.replies();
        let mut since = Instant::now();
        let mut part = false;
        loop {
            if self.client.replies() != replies {
                replies = self.client.replies();
                since = Instant::now();
            }
            match self.client.step() {
                Step::Write => {
                    match self.write() {
                        Ok(()) => self.client.output_sent(),
                        Err(loss) => self.lost(&loss),
                    }
                    since = Instant::now();
                    part = false;
                }
                Step::Read(wait) => {
                    if part {
                        self.acknowledge();
                    }
                    part = true;
                    if let Err(loss) = self.read(wait, since, message) {
                        self.client.lost(&loss);
                    }
                }
                Step::Content => {
                    let sent = match message {
                        Some(message) if (message.ours)() => {
                            if let Some(next) = next {
                                let remove_route = self.remove_route;
                                let all = (0..next.recipients.len()).map(|at| next.to(at, remove_route));
                                self.client.begin_next(&next.mail(None), all);
                            }
                            self.write_content(message)
                        }
                        _ => {
                            Err(Loss::Failed("the time that the hub allows for this delivery is over".into()))
                        }
                    };
                    match sent {
                        Ok(()) => self.client.content_sent(),
                        Err(loss) => self.lost(&loss),
                    }
                    since = Instant::now();
                    part = false;
                }
                Step::StartTls => {
                    self.secure();
                    since = Instant::now();
                }
                step @ (Step::Ready | Step::Settled(_) | Step::Over(_)) => return step,
            }
        }
    }

    /// Waits for bytes, one tick at most.
    fn read(&mut self, wait: Wait, since: Instant, message: Option<&Message<'_>>) -> Result<(), Loss> {
        let limit = self.limit(wait, message);
        let left = limit.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(Loss::TimedOut);
        }
        if self.halt.is_over() {
            return Err(Loss::Stopping);
        }
        self.set_read_time(left.min(TICK)).map_err(|error| failed(&error))?;
        match self.stream.read(&mut self.input) {
            Ok(0) => Err(Loss::Closed),
            Ok(count) => {
                self.trace.received(&self.input[..count]);
                self.client.receive(&self.input[..count]);
                Ok(())
            }
            Err(error) if is_tick(&error) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// A server that sends the replies to one group in several small packets may hold back the next until we have
    /// acknowledged the first (Nagle), while we hold back the acknowledgement (delayed by up to 40 ms). So a reply that
    /// came in part is acknowledged before the rest is waited for. Servers that send them together, as RFC 2920 section
    /// 3.2 asks, never get here.
    fn acknowledge(&self) {
        self.stream.socket().acknowledge();
    }

    fn limit(&self, wait: Wait, message: Option<&Message<'_>>) -> Duration {
        match wait {
            Wait::Greeting
            | Wait::Hello
            | Wait::Etrn
            | Wait::Atrn
            | Wait::StartTls
            | Wait::Auth
            | Wait::Reset
            | Wait::Data => self.times.status,
            Wait::Mail => self.times.status_mail,
            Wait::Rcpt => self.times.status_rcpt,
            Wait::Dot => match message {
                Some(message) => self.times.status_data(message.recipients.len(), message.size),
                None => self.times.status_data(0, 0),
            },
            Wait::Quit => QUIT_TIME,
        }
    }

    fn write(&mut self) -> Result<(), Loss> {
        self.trace.sent(self.client.output());
        let mut slices = [IoSlice::new(self.client.output())];
        let written =
            write_all(&mut self.stream, &mut self.set.1, &mut slices, self.times.command, &self.halt);
        written.map_err(|(loss, _)| loss)
    }

    fn write_content(&mut self, message: &Message<'_>) -> Result<(), Loss> {
        debug_assert!(is_wire_form(&message.pieces), "a message that is not in wire form");
        if let Some(head) = self.client.chunk() {
            self.trace.sent(head);
            let mut unstuffer = Unstuffer::new();
            let plain = message.pieces.iter().flat_map(|piece| unstuffer.piece(piece));
            let mut slices: Vec<IoSlice<'_>> = std::iter::once(head).chain(plain).map(IoSlice::new).collect();
            let written =
                write_all(&mut self.stream, &mut self.set.1, &mut slices, self.times.data, &self.halt);
            return written.map_err(|(loss, _)| loss);
        }
        let end = terminator(last_two(&message.pieces).as_slice());
        let ahead = self.client.envelope_ahead();
        let behind: usize = ahead.iter().map(|part| part.len()).sum();
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(message.pieces.len() + 1 + ahead.len());
        slices.extend(message.pieces.iter().map(|piece| IoSlice::new(piece)));
        slices.push(IoSlice::new(end));
        for part in ahead {
            self.trace.sent(part);
            slices.push(IoSlice::new(part));
        }
        match write_all(&mut self.stream, &mut self.set.1, &mut slices, self.times.data, &self.halt) {
            // The message is out with its end, and what the server says to it counts. What is missing of the envelope behind it is
            // found out when nobody answers that.
            Err((_, left)) if left <= behind && !self.stream.has_unsent() => Ok(()),
            written => written.map_err(|(loss, _)| loss),
        }
    }

    /// The connection broke while we were writing. A server that closes early often says why first.
    fn lost(&mut self, loss: &Loss) {
        if matches!(loss, Loss::Failed(_) | Loss::Closed) {
            let mut bytes = [0; 1024];
            if self.set_read_time(Duration::from_millis(10)).is_ok()
                && let Ok(count) = self.stream.read(&mut bytes)
            {
                self.client.receive(&bytes[..count]);
            }
        }
        self.client.lost(loss);
    }

    fn set_read_time(&mut self, time: Duration) -> io::Result<()> {
        if self.set.0 != Some(time) {
            self.stream.socket().set_read_timeout(Some(time))?;
            self.set.0 = Some(time);
        }
        Ok(())
    }
}

/// Writes everything; `limit` is the time without any progress. An error comes with how many octets were not taken.
pub(crate) fn write_all(
    stream: &mut Wire,
    set: &mut Option<Duration>,
    mut slices: &mut [IoSlice<'_>],
    limit: Duration,
    halt: &Halt,
) -> Result<(), (Loss, usize)> {
    let left = |slices: &[IoSlice<'_>]| slices.iter().map(|slice| slice.len()).sum::<usize>();
    let tick = limit.min(TICK);
    if *set != Some(tick) {
        let timed = stream.socket().set_write_timeout(Some(tick));
        timed.map_err(|error| (failed(&error), left(slices)))?;
        *set = Some(tick);
    }
    let mut since = Instant::now();
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() || stream.has_unsent() {
        let written =
            if slices.is_empty() { stream.send_rest().map(|()| 0) } else { stream.write_vectored(slices) };
        let loss = match written {
            Ok(0) if !slices.is_empty() => Loss::Closed,
            Ok(count) => {
                IoSlice::advance_slices(&mut slices, count);
                since = Instant::now();
                continue;
            }
            Err(error) if is_tick(&error) => match () {
                () if since.elapsed() >= limit => Loss::TimedOut,
                () if halt.is_over() => Loss::Stopping,
                () => continue,
            },
            Err(error) => failed(&error),
        };
        return Err((loss, left(slices)));
    }
    Ok(())
}

/// A socket's timeout is reported as one or the other, depending on the system.
fn is_tick(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn failed(error: &io::Error) -> Loss {
    Loss::Failed(error.to_string())
}
