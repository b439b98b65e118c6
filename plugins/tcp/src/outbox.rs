//! What one worker does with the messages it is given, and whom it could not reach.
//!
//! A connection that has served is kept (`pool`) for the next message to the same destination, whichever worker has it,
//! and closed when it was idle for IDLE_TIME, has carried ATTEMPT_TRANSACTIONS_PER_SESSION messages, or the channel stops. A kept connection that turns
//! out to be dead before MAIL was answered costs nothing: the message goes over a new one at once.
//!
//! An address that could not be reached is not tried again for the other messages of the same batch (lease), so that a
//! thousand messages for a dead peer are one attempt.
//!
//! A line that is dialled when it is wanted may take a minute: each address is waited for (CONNECT_TIME), and where the machine
//! has no route to any of them, all are tried again for a while, since a line that is coming up makes one. One worker waits in
//! vain for all of them.
//!
//! # Not here
//! The dialogue and the socket (`connection`), the order of hosts (`targets`), what is remembered of hosts (`memory`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_sdk::{Level, Outcome, Status};
use tokio::runtime::Runtime;

use crate::connection::{Connection, NotOpen};
use crate::fitting::{self, Fitted};
use crate::halt::Halt;
use crate::memory::{Batch, Rests};
use crate::message::Message;
use crate::names::Names;
use crate::pool::{Found, Pool, Slot};
use crate::settings::Settings;
use crate::targets::{self, Approach, Hop, Place, Sought, Target, outward};
use crate::trace::{Log, Trace};

/// A connection that was used this recently is taken without a look at it.
const FRESH_FOR: Duration = Duration::from_millis(200);
/// How long a worker waits for one of the channel's connections to become free.
const SLOT_TIME: Duration = Duration::from_secs(120);
/// How long the hosts of a destination are tried again while there is no route to any of them, and how often. CONNECT_TIME
/// may make it less.
const ROUTE_TIME: Duration = Duration::from_secs(60);
const ROUTE_PAUSE: Duration = Duration::from_secs(1);
/// How long nobody waits for a route after somebody has done so in vain. All destinations of a channel that are due while the
/// line is down would otherwise take a worker each for that long.
const NO_LINE_FOR: Duration = Duration::from_secs(60);
/// How long a poll may look for a peer that answers, before it is given up for this time.
const POLL_TIME: Duration = Duration::from_secs(300);
/// A poll run finds that the peer was asked already when its connection is not older than this.
const ASKED_FOR: Duration = Duration::from_secs(30);

/// What all workers of a channel share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) names: Box<dyn Names>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) halt: Arc<Halt>,
    pub(crate) pool: Pool,
    pub(crate) rests: Rests,
    pub(crate) log: Log,
    /// Until then nobody waits for a line: somebody has just done so, and none came up.
    pub(crate) no_line_until: Mutex<Option<Instant>>,
}

impl Shared {
    fn waits_for_no_line(&self) -> bool {
        let until = *self.no_line_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn note_line(&self, none_until: Option<Instant>) {
        *self.no_line_until.lock().unwrap_or_else(PoisonError::into_inner) = none_until;
    }

    /// A step of the delivering side, for a channel with `master_debug`.
    fn step(&self, text: impl FnOnce() -> String) {
        if self.settings.debug {
            (self.log)(Level::Info, &text());
        }
    }
}

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
enum To<'a> {
    /// To one of the hosts of somebody.
    Hosts(Sought<'a>),
    /// To a socket of this machine, whose other end is called `peer` in outcomes.
    Socket { path: &'a str, peer: &'a str },
}

/// One worker's messages.
pub(crate) struct Outbox<'s> {
    shared: &'s Shared,
    batch: Batch,
    /// No connection is begun after this. The host gives a delivery a time and takes it for lost after that; half of it
    /// belongs to the dialogue.
    until: Instant,
    round: Round,
    /// The connection over which the envelope of the next message has gone with the last one.
    ahead: Option<(Identity, Connection)>,
}

/// Which message it is, of those that a worker holds at a time: where the host lends its id, which no two of them share.
type Identity = *const u8;

fn identity(message: &Message<'_>) -> Identity {
    message.id.as_ptr()
}

/// What came of the hosts of a destination, tried one after the other.
#[derive(Debug, Default)]
struct Round {
    /// Those to which there is no route. They are remembered as failed when no more rounds follow.
    no_route: Vec<(Target, Outcome)>,
    /// Some host failed otherwise.
    other: bool,
}

impl<'s> Outbox<'s> {
    pub(crate) fn new(shared: &'s Shared) -> Outbox<'s> {
        Outbox {
            shared,
            batch: Batch::default(),
            until: Instant::now(),
            round: Round::default(),
            ahead: None,
        }
    }

    /// Delivers a message: `settle` is called once for each recipient, by position. `next` is the message that is delivered after it, where
    /// that is known: its envelope may go with this one.
    pub(crate) fn deliver(
        &mut self,
        message: &Message<'_>,
        next: Option<&Message<'_>>,
        settle: &mut dyn FnMut(usize, Outcome),
    ) {
        let mut ahead = self.taken_ahead(message);
        self.batch.begin(message.lease);
        self.until = Instant::now() + message.time_left / 2;
        let hop = match message.next_hop.map(Hop::read).transpose() {
            Ok(hop) => hop,
            Err(outcome) => {
                return (0..message.recipients.len())
                    .for_each(|recipient| settle(recipient, outcome.clone()));
            }
        };
        let (key, to) = destination(&self.shared.settings, message, hop.as_ref());
        // A turned session waits for the end of the connection.
        let last_of_turned = matches!(hop, Some(Hop::Unix(_))) && !message.more_follows;
        let settings = &self.shared.settings;
        let next = next.filter(|next| self.goes_the_same_way(message, next, &key));
        let mut fitted: Option<Fitted> = None;
        let mut left: Vec<usize> = (0..message.recipients.len()).collect();
        self.shared.step(|| {
            let (to, from) = (message.recipients.join(" "), message.sender);
            format!("a message of {} octets from <{from}> for {to}, by way of {key}", message.size)
        });
        // Each turn either settles at least one recipient, or replaces a stale connection by a new one, which is not
        // stale at its first transaction.
        while !left.is_empty() {
            let mut connection = match ahead.take().map_or_else(|| self.connect(&key, to), Ok) {
                Ok(connection) => connection,
                Err(outcome) => {
                    left.drain(..).for_each(|recipient| settle(recipient, outcome.clone()));
                    return;
                }
            };
            let made;
            let message = match fitting::needs(settings, connection.takes_eight_bit(), message) {
                None => message,
                Some(needs) => {
                    if fitted.as_ref().is_none_or(|(known, _)| *known != needs) {
                        fitted = Some((needs, fitting::fit(message, needs)));
                    }
                    match &fitted {
                        Some((_, Ok(wire))) => {
                            let (pieces, size) = (vec![wire.as_slice()], wire.len() as u64);
                            made = Message { pieces, size, eight_bit: !wire.is_ascii(), ..message.clone() };
                            &made
                        }
                        Some((_, Err(outcome))) => {
                            left.drain(..).for_each(|recipient| settle(recipient, outcome.clone()));
                            return self.leave(&key, connection, last_of_turned);
                        }
                        None => message,
                    }
                }
            };
            let next = next.filter(|next| self.may_follow(&connection, next));
            let settled = connection.transact(message, &left, next);
            if settled.stale && !self.shared.halt.is_told() {
                continue;
            }
            let progress = settled.verdicts.iter().any(|verdict| !verdict.surplus);
            let mut surplus = Vec::new();
            for (recipient, verdict) in left.drain(..).zip(settled.verdicts) {
                if verdict.surplus && progress {
                    surplus.push(recipient);
                } else {
                    let outcome = outward(verdict.outcome);
                    self.shared.step(|| {
                        let (Outcome::Delivered { status, text, .. }
                        | Outcome::Deferred { status, text, .. }
                        | Outcome::Failed { status, text, .. }) = &outcome;
                        format!("{}: {status} {text}", message.recipients[recipient])
                    });
                    settle(recipient, outcome);
                }
            }
            let ends = last_of_turned && surplus.is_empty();
            left = surplus;
            match next.filter(|_| connection.awaits_next()) {
                Some(next) => self.ahead = Some((identity(next), connection)),
                None => self.leave(&key, connection, ends),
            }
        }
    }

    /// The connection over which the envelope of this message has gone already. It is no use for any other message.
    fn taken_ahead(&mut self, message: &Message<'_>) -> Option<Connection> {
        let (whose, connection) = self.ahead.take()?;
        (whose == identity(message)).then_some(connection)
    }

    /// Whether the next message goes where this one goes, over a connection that is kept.
    fn goes_the_same_way(&self, message: &Message<'_>, next: &Message<'_>, key: &str) -> bool {
        let settings = &self.shared.settings;
        message.next_hop.is_none()
            && next.next_hop.is_none()
            && !settings.times.idle.is_zero()
            && !self.shared.halt.is_told()
            && destination(settings, next, None).0 == key
    }

    /// Whether the envelope of the next message may go over this connection with the message at hand.
    fn may_follow(&self, connection: &Connection, next: &Message<'_>) -> bool {
        let settings = &self.shared.settings;
        // The message at hand may not be counted yet.
        settings.transactions_max.is_none_or(|most| connection.transactions() + 1 < most)
            && fitting::needs(settings, connection.takes_eight_bit(), next).is_none()
    }

    /// Keeps the connection, or ends it when somebody at its other end waits for that.
    fn leave(&self, key: &str, connection: Connection, ends: bool) {
        if ends { connection.quit() } else { self.keep(key, connection) }
    }

    /// Asks the fixed peer for its mail (`sendetrn`), over a connection of its own when there is none young enough.
    pub(crate) fn poll(&mut self) {
        let settings = &self.shared.settings;
        let (Some(peer), Some(_)) = (settings.peer.clone(), &settings.etrn) else {
            return (self.shared.log)(Level::Debug, "nobody to poll: that needs `daemon` and `sendetrn`");
        };
        if let Some(connection) = self.shared.pool.take(&peer) {
            if connection.opened().elapsed() < ASKED_FOR {
                self.shared.pool.put(&peer, connection);
                return;
            }
            connection.quit();
        }
        self.batch = Batch::default();
        self.until = Instant::now() + POLL_TIME;
        match self.slot().and_then(|slot| self.open(Sought::Configured(&peer), slot)) {
            Ok(connection) => self.keep(&peer, connection),
            Err(outcome) => {
                let (Outcome::Delivered { text, .. }
                | Outcome::Deferred { text, .. }
                | Outcome::Failed { text, .. }) = outcome;
                (self.shared.log)(Level::Warn, &format!("{peer} could not be polled: {text}"));
            }
        }
    }

    /// Time until a kept connection will have been idle for long enough.
    pub(crate) fn until_idle(&self) -> Option<Duration> {
        self.shared.pool.until_idle(self.shared.settings.times.idle)
    }

    /// Closes what was idle for long enough.
    pub(crate) fn close_idle(&mut self) {
        self.shared.pool.close_idle(self.shared.settings.times.idle);
    }

    /// The worker ends. What it kept serves the others, unless the channel stops; the last worker that ends has been
    /// idle for longer than any connection may be.
    pub(crate) fn close(&mut self) {
        if self.shared.halt.is_told() {
            self.shared.pool.close_idle(Duration::ZERO);
        } else {
            self.close_idle();
        }
    }

    /// A connection for the next message: a kept one that is alive, or a new one.
    fn connect(&mut self, key: &str, to: To<'_>) -> Result<Connection, Outcome> {
        let shared = self.shared;
        loop {
            match shared.pool.find(Some(key), SLOT_TIME, &shared.halt) {
                Some(Found::Kept(mut connection)) => {
                    if connection.used().elapsed() < FRESH_FOR || connection.looks_alive() {
                        return Ok(*connection);
                    }
                }
                Some(Found::Slot(slot)) => {
                    return match to {
                        To::Hosts(sought) => self.open(sought, slot),
                        To::Socket { path, peer } => self.open_socket(path, peer, slot),
                    };
                }
                None => return Err(self.none_free()),
            }
        }
    }

    fn keep(&self, key: &str, mut connection: Connection) {
        let spent =
            self.shared.settings.transactions_max.is_some_and(|most| connection.transactions() >= most);
        if !connection.is_free()
            || spent
            || self.shared.settings.times.idle.is_zero()
            || self.shared.halt.is_told()
        {
            return connection.quit();
        }
        self.shared.pool.put(key, connection);
    }

    /// Connects to the best host that answers.
    fn open(&mut self, sought: Sought<'_>, slot: Slot) -> Result<Connection, Outcome> {
        let mut slot = Some(slot);
        let begun = Instant::now();
        loop {
            let mut why = None;
            self.round = Round::default();
            if let Some(connection) = self.open_round(sought, &mut slot, &mut why) {
                return Ok(connection);
            }
            let round = std::mem::take(&mut self.round);
            if !self.may_get_a_route(&round, begun) {
                round.no_route.into_iter().for_each(|(target, outcome)| self.failed(&target, outcome));
                return Err(why.unwrap_or_else(|| {
                    Outcome::deferred(Status::new(4, 4, 4), format!("no host for {}", sought.name()))
                }));
            }
            self.shared.step(|| format!("{}: there is no route; a line may be coming up", sought.name()));
            self.shared.halt.wait(&self.shared.runtime, ROUTE_PAUSE);
        }
    }

    /// Whether to try again the hosts that could not be reached.
    fn may_get_a_route(&self, round: &Round, begun: Instant) -> bool {
        let time = ROUTE_TIME.min(self.shared.settings.times.connect);
        let next = Instant::now() + ROUTE_PAUSE;
        let only = !round.no_route.is_empty() && !round.other;
        if !only || self.shared.halt.is_told() || self.shared.waits_for_no_line() {
            return false;
        }
        if next >= begun + time {
            self.shared.note_line(Some(Instant::now() + NO_LINE_FOR));
            return false;
        }
        next < self.until
    }

    /// Connects to the best host that answers, the last resort included.
    fn open_round(
        &mut self,
        sought: Sought<'_>,
        slot: &mut Option<Slot>,
        why: &mut Option<Outcome>,
    ) -> Option<Connection> {
        if let Some(connection) = self.open_any(sought, slot, why) {
            return Some(connection);
        }
        // A destination that does not exist is not a destination that cannot be reached; and where the hub has named a
        // host, no other will do.
        if !matches!(sought, Sought::Named { .. })
            && let Some(host) = &self.shared.settings.last_resort
            && !matches!(why, Some(Outcome::Failed { .. }))
        {
            return self.open_last_resort(host, slot, why);
        }
        None
    }

    /// Connects to a socket of this machine.
    fn open_socket(&self, path: &str, peer: &str, slot: Slot) -> Result<Connection, Outcome> {
        let shared = self.shared;
        if shared.halt.is_told() {
            return Err(Outcome::deferred(Status::new(4, 3, 2), "the channel is stopping"));
        }
        let place = Place::Unix(path.to_owned());
        let target = Target { name: peer.to_owned(), place, approach: Approach::Local };
        let log = shared.settings.debug.then(|| Arc::clone(&shared.log));
        let trace = Trace::new(log, &target.name);
        let opened = Connection::open(
            &target,
            &shared.settings,
            &shared.runtime,
            &shared.halt,
            self.time_left(),
            slot,
            trace,
        );
        opened.map_err(|why| why.outcome)
    }

    /// How long a connection may take to come about.
    fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Tries all hosts of a destination in order.
    fn open_any(
        &mut self,
        sought: Sought<'_>,
        slot: &mut Option<Slot>,
        why: &mut Option<Outcome>,
    ) -> Option<Connection> {
        let (names, settings) = (&*self.shared.names, &self.shared.settings);
        let hosts = match targets::hosts(names, settings, sought) {
            Ok(hosts) => {
                self.shared.step(|| format!("{}: hosts to try: {}", sought.name(), hosts.join(" ")));
                hosts
            }
            Err(outcome) => {
                self.round.other = true;
                *why = Some(targets::milder(why.take(), outcome));
                return None;
            }
        };
        hosts.iter().find_map(|host| self.open_host(sought, host, slot, why))
    }

    /// `lastresort`: one host, by its addresses.
    fn open_last_resort(
        &mut self,
        host: &str,
        slot: &mut Option<Slot>,
        why: &mut Option<Outcome>,
    ) -> Option<Connection> {
        self.open_host(Sought::Configured(host), host, slot, why)
    }

    fn open_host(
        &mut self,
        sought: Sought<'_>,
        host: &str,
        slot: &mut Option<Slot>,
        why: &mut Option<Outcome>,
    ) -> Option<Connection> {
        match targets::addresses(&*self.shared.names, &self.shared.settings, sought, host) {
            Ok(targets) => targets.iter().find_map(|target| self.open_target(target, slot, why)),
            Err(outcome) => {
                self.round.other = true;
                *why = Some(targets::milder(why.take(), outcome));
                None
            }
        }
    }

    fn open_target(
        &mut self,
        target: &Target,
        slot: &mut Option<Slot>,
        why: &mut Option<Outcome>,
    ) -> Option<Connection> {
        let shared = self.shared;
        let Place::Net(address) = target.place else { return None };
        let known =
            self.batch.known(address).or_else(|| self.rests(target).and_then(|rests| rests.known(address)));
        let outcome = match known {
            Some(known) => known,
            None if shared.halt.is_told() => {
                Outcome::deferred(Status::new(4, 3, 2), "the channel is stopping")
            }
            // One is tried whatever the time: a delivery that was given hardly any shall not be deferred without a look.
            None if why.is_some() && self.time_left().is_zero() => {
                Outcome::deferred(Status::new(4, 4, 1), "no time was left to try more hosts")
            }
            None => {
                // A failed attempt gives its slot back; the next one takes it again, or whichever is free by then.
                let slot = match slot.take().map_or_else(|| self.slot(), Ok) {
                    Ok(slot) => slot,
                    Err(outcome) => {
                        self.round.other = true;
                        *why = Some(targets::milder(why.take(), outcome));
                        return None;
                    }
                };
                let (settings, runtime, halt) = (&shared.settings, &shared.runtime, &shared.halt);
                let log = settings.debug.then(|| Arc::clone(&shared.log));
                let trace = Trace::new(log, &target.name);
                match Connection::open(target, settings, runtime, halt, self.time_left(), slot, trace) {
                    Ok(connection) => {
                        self.batch.reached(settings.host_cache, address);
                        shared.note_line(None);
                        if let Some(rests) = self.rests(target) {
                            rests.reached(address);
                        }
                        self.say_etrn(target, &connection);
                        return Some(connection);
                    }
                    Err(NotOpen { outcome, no_route: true }) => {
                        self.round.no_route.push((target.clone(), outcome.clone()));
                        *why = Some(targets::milder(why.take(), outcome));
                        return None;
                    }
                    Err(NotOpen { outcome, no_route: false }) => {
                        self.failed(target, outcome.clone());
                        outcome
                    }
                }
            }
        };
        self.round.other = true;
        *why = Some(targets::milder(why.take(), outcome));
        None
    }

    /// Remembers that an address was no use.
    fn failed(&mut self, target: &Target, outcome: Outcome) {
        let Place::Net(address) = target.place else { return };
        if let Some(rests) = self.rests(target) {
            rests.failed(address, &outcome);
        }
        self.batch.failed(self.shared.settings.host_cache, address, outcome);
    }

    /// Who rests. Whoever has named a host for a release is there now: it does not rest for what was before, and what it does
    /// says nothing about the next release.
    fn rests(&self, target: &Target) -> Option<&'s Rests> {
        (target.approach == Approach::Configured).then_some(&self.shared.rests)
    }

    fn say_etrn(&self, target: &Target, connection: &Connection) {
        if let Some(why) = connection.login_trouble() {
            (self.shared.log)(Level::Warn, &format!("not logged in to {}: {why}", target.name));
        }
        let Some(name) = &self.shared.settings.etrn.as_ref().filter(|_| target.approach != Approach::Local)
        else {
            return;
        };
        let (level, text) = match (connection.etrn_reply(), connection.etrn_trouble()) {
            (_, Some(why)) => {
                (Level::Warn, format!("ETRN {name} to {}: {why}; mail goes without asking", target.name))
            }
            (Some(reply), None) => (Level::Info, format!("ETRN {name} to {}: {reply}", target.name)),
            (None, None) => (
                Level::Warn,
                format!("{} does not offer ETRN: `sendetrn {name}` has no effect there", target.name),
            ),
        };
        (self.shared.log)(level, &text);
    }

    /// The right to one more connection.
    fn slot(&self) -> Result<Slot, Outcome> {
        match self.shared.pool.find(None, SLOT_TIME, &self.shared.halt) {
            Some(Found::Slot(slot)) => Ok(slot),
            Some(Found::Kept(_)) | None => Err(self.none_free()),
        }
    }

    fn none_free(&self) -> Outcome {
        if self.shared.halt.is_told() {
            return Outcome::deferred(Status::new(4, 3, 2), "the channel is stopping");
        }
        let most = self.shared.settings.connections_max;
        let text = format!("all {most} connections of the channel are busy (MAX_CLIENT_THREADS)");
        Outcome::deferred(Status::new(4, 3, 2), text)
    }
}

/// Under which name connections for this message are kept, and where it goes.
fn destination<'m>(settings: &'m Settings, message: &Message<'m>, hop: Option<&'m Hop>) -> (String, To<'m>) {
    match (hop, &settings.peer) {
        // No domain has a blank in it: what is kept for a next hop or a socket serves nobody else.
        (Some(hop), _) => {
            let key = format!("hop {}", message.next_hop.unwrap_or_default());
            let to = match hop {
                Hop::Host { host, port, mx } => To::Hosts(Sought::Named { host, port: *port, mx: *mx }),
                Hop::Unix(path) => To::Socket { path, peer: message.domain },
            };
            (key, to)
        }
        (None, _) if settings.socket.is_some() => {
            let path = settings.socket.as_deref().unwrap_or_default();
            (format!("socket {path}"), To::Socket { path, peer: path })
        }
        (None, Some(peer)) => (peer.clone(), To::Hosts(Sought::Configured(peer))),
        (None, None) => (message.domain.to_owned(), To::Hosts(Sought::Destination(message.domain))),
    }
}
