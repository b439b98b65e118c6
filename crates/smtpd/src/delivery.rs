//! A message on its way from the client to the intake, by DATA or in chunks (BDAT).
//!
//! The content goes into one buffer, the tail, behind our `Received:` field. A tail of [`CHUNK_OCTETS`](crate::CHUNK_OCTETS) is handed on as
//! a chunk while the next one fills; before a third is begun the first must have been taken. At the end the tail goes
//! with the envelope to `commit`, and only its `done` makes the message accepted. In every other case the
//! [`Incoming`] is dropped, which leaves nothing behind.

use crate::refusals::Refusals;
use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use sluice_mail::{Envelope, Recipient, RecipientWishes, Refusal, Time, Wishes, rfc5322_date};
use sluice_smtp::content::{Content, Fed, Rules, Summary};
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use sluice_smtp::server::{Received, Transaction};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::intake::{Accepted, Body, Done, Incoming, LongLines, Parcel, Refused, Session};
use crate::session::{Got, Talk};
use crate::trace::Trace;
use crate::{CHUNK_OCTETS, DATA_WINDOW_OCTETS, SWALLOW_OCTETS_MAX};

/// Room for one read of a small message, and of one that has shown to be larger.
const READ_OCTETS: (usize, usize) = (8 * 1024, 64 * 1024);
/// Room for a read of the last octets of a chunk: the command behind it may come along.
const READ_OCTETS_MIN: usize = 4 * 1024;

/// Room for a message whose client has not said how large it is: most fit.
const TAIL_OCTETS: u64 = 8 * 1024;

/// How the reception of content went on.
pub(crate) enum Progress {
    /// The message, or the chunk, has come to its end.
    Ended,
    /// It never will: say this and close.
    Close(Reply),
}

/// Where the message goes, as long as there is nothing against it.
struct Draft {
    incoming: Box<dyn Incoming>,
    tail: Vec<u8>,
    /// A chunk that has been handed on and not yet been taken.
    chunk: Option<oneshot::Receiver<Result<(), Refusal>>>,
}

/// Of all sessions: the disk that is full is one.
static REFUSALS: Refusals = Refusals::new();

/// A message on its way in, by DATA or by BDAT.
pub(crate) struct Arrival {
    transaction: Transaction,
    /// It is accepted and goes to nobody.
    discard: bool,
    id: String,
    arrived: Time,
    content: Content,
    /// Or why it goes nowhere; what `content` finds at fault it remembers itself.
    draft: Result<Draft, Option<Refusal>>,
    /// Where in the draft's tail fields may be put in, behind our `Received:`; until the first of it is handed on.
    front: Option<usize>,
    discarded: Vec<u8>,
    /// Octets read so far, and those of them that came after a refusal.
    taken: u64,
    refused: u64,
    end_of_time: Instant,
}

/// Within a window of time so much must come.
struct Window {
    end: Instant,
    octets: u64,
    length: Duration,
}

impl Window {
    fn new(length: Duration) -> Window {
        Window { end: Instant::now() + length, octets: 0, length }
    }

    fn brought(&mut self, octets: u64) {
        self.octets += octets;
        if self.octets >= DATA_WINDOW_OCTETS {
            *self = Window::new(self.length);
        }
    }
}

impl Arrival {
    /// The message of `transaction`, of which nothing has come yet.
    pub(crate) fn begin(talk: &Talk, mut transaction: Transaction, chunked: bool) -> Arrival {
        put_off(&talk.session, &mut transaction);
        let arrived = talk.intake.now();
        let incoming = talk.intake.begin(&talk.session, &transaction);
        let id = incoming.id();
        let tail = first_lines(talk, &transaction, &id, arrived);
        Arrival {
            content: Content::new(rules(talk, &transaction, chunked)),
            transaction,
            discard: talk.orders.discard,
            id,
            arrived,
            front: Some(tail.len()),
            draft: Ok(Draft { incoming, tail, chunk: None }),
            discarded: Vec::new(),
            taken: 0,
            refused: 0,
            end_of_time: Instant::now() + talk.session.admission.limits.data_total_timeout,
        }
    }

    /// Receives the content behind DATA; the 354 reply has been sent.
    pub(crate) async fn data(&mut self, talk: &mut Talk) -> io::Result<Progress> {
        let mut window = Window::new(talk.session.admission.limits.data_timeout);
        loop {
            let input = talk.input.unused();
            let octets = input.len();
            let fed = self.feed(input);
            if let Fed::End(used) = fed {
                talk.input.used(used);
                return Ok(Progress::Ended);
            }
            talk.input.used(octets);
            if let Some(reply) = self.keep_up(talk, &mut window, octets).await {
                return Ok(Progress::Close(reply));
            }
            if let Some(reply) = self.read(talk, &window, u64::MAX).await? {
                return Ok(Progress::Close(reply));
            }
        }
    }

    /// Receives the octets of one BDAT.
    pub(crate) async fn chunk(&mut self, talk: &mut Talk, octets: u64) -> io::Result<Progress> {
        let mut window = Window::new(talk.session.admission.limits.data_timeout);
        let mut left = octets;
        loop {
            let input = talk.input.unused();
            let here = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.feed(&input[..here]);
            talk.input.used(here);
            left -= here as u64;
            if let Some(reply) = self.keep_up(talk, &mut window, here).await {
                return Ok(Progress::Close(reply));
            }
            if left == 0 {
                return Ok(Progress::Ended);
            }
            if let Some(reply) = self.read(talk, &window, left).await? {
                return Ok(Progress::Close(reply));
            }
        }
    }

    /// What is against the message, after a chunk that is not its last.
    pub(crate) fn trouble(&mut self) -> Option<Received> {
        if let Some(fault) = self.content.fault() {
            return Some(Received::Faulty(fault));
        }
        match &mut self.draft {
            Ok(_) => None,
            Err(refusal) => Some(Received::Refused(refusal.take().unwrap_or_else(unanswered))),
        }
    }

    fn feed(&mut self, input: &[u8]) -> Fed {
        let tail = match &mut self.draft {
            Ok(draft) => &mut draft.tail,
            Err(_) => &mut self.discarded,
        };
        let fed = self.content.feed(input, tail);
        self.discarded.clear();
        fed
    }

    /// After `octets` have been fed: hands on what has gathered. The reply to close with, when there is no end to a
    /// message that goes nowhere.
    async fn keep_up(&mut self, talk: &mut Talk, window: &mut Window, octets: usize) -> Option<Reply> {
        self.taken += octets as u64;
        window.brought(octets as u64);
        if self.content.fault().is_some() && self.draft.is_ok() {
            // What it is refused for is remembered by `content`; the rest is read only to find the end.
            self.draft = Err(None);
        }
        let most = talk.session.admission.limits.chunk_octets;
        if self.draft.as_ref().is_ok_and(|draft| draft.tail.len() >= most) {
            self.complete(&talk.session);
        }
        match &mut self.draft {
            Ok(waiting) if waiting.tail.len() >= most => {
                let limit = talk.session.admission.limits.intake_timeout;
                if let Err(refusal) = waiting.hand_on(most, limit).await {
                    self.draft = Err(Some(refusal));
                }
                // The time that we took is not the client's.
                *window = Window::new(window.length);
            }
            Ok(_) => {}
            Err(_) => {
                self.refused += octets as u64;
                if self.refused > SWALLOW_OCTETS_MAX {
                    return Some(replies::endless_message());
                }
            }
        }
        None
    }

    /// Puts in the fields that a new message lacks, and one that tells of lines that were cut off or broken. In a message
    /// whose header fills a whole chunk nothing is put in.
    fn complete(&mut self, session: &Session) {
        let (Some(front), Ok(draft)) = (self.front.take(), &mut self.draft) else { return };
        let so_far = self.content.so_far();
        let header_seen =
            so_far.body_at.is_some() || draft.tail.len() < session.admission.limits.chunk_octets;
        let mut fields = String::new();
        if session.admission.reception.submit && header_seen {
            // RFC 6409 sections 8.2 and 8.3.
            if !so_far.dated {
                fields += &format!("Date: {}\r\n", rfc5322_date(self.arrived));
            }
            if !so_far.identified {
                let host = &session.admission.banner_host;
                fields += &format!("Message-ID: <{}.{}@{host}>\r\n", self.id, self.arrived.0);
            }
        }
        if so_far.long_lines {
            let done = match session.admission.reception.long_lines {
                LongLines::Wrap => "broken",
                _ => "cut off",
            };
            fields += &format!("X-Sluice-Warning: Lines longer than SMTP allows were {done}.\r\n");
        }
        draft.tail.splice(front..front, fields.bytes());
    }

    /// Reads more, of which no more than `wanted` octets are content. The reply to close with when nothing comes.
    async fn read(&mut self, talk: &mut Talk, window: &Window, wanted: u64) -> io::Result<Option<Reply>> {
        let room = if self.taken < READ_OCTETS.0 as u64 { READ_OCTETS.0 } else { READ_OCTETS.1 };
        let room = room.min(usize::try_from(wanted).unwrap_or(usize::MAX)).max(READ_OCTETS_MIN);
        read(talk, room, window.end.min(self.end_of_time)).await
    }

    /// The content has come to its end: hands it on with its envelopes, and waits until it is safe.
    pub(crate) async fn finish(mut self, talk: &mut Talk, chunked: bool) -> Received {
        if chunked && let Ok(draft) = &mut self.draft {
            self.content.end_chunks(&mut draft.tail);
        }
        let summary = match self.content.finish() {
            Ok(summary) => summary,
            Err(fault) => return Received::Faulty(fault),
        };
        self.complete(&talk.session);
        let draft = match self.draft {
            Ok(draft) => draft,
            Err(refusal) => return Received::Refused(refusal.unwrap_or_else(unanswered)),
        };
        let (id, mut transaction) = (self.id, self.transaction);
        let refused = match turn_away(&mut transaction.recipients, &transaction.sender, &summary) {
            Ok(refused) => refused,
            Err(refusal) => return Received::Refused(refusal),
        };
        for Refused { recipient, refusal, .. } in &refused {
            let recipient = &recipient.original;
            tracing::info!(%id, ?recipient, %refusal, "recipient gets no copy; the sender is told");
        }
        let later = transaction.params.wishes.later;
        let plain = Envelope {
            sender: transaction.sender.clone(),
            arrived: self.arrived,
            source_channel: talk.session.admission.source_channel.clone(),
            priority: summary.priority,
            eight_bit: summary.eight_bit || transaction.params.body == Body::EightBitMime,
            smtputf8: transaction.params.smtputf8,
            held: summary.received_lines > talk.session.admission.limits.max_received_lines,
            hold_reason: String::new(),
            // What MAIL says is for the whole way that the message takes here, and goes before its header.
            deferred_until: later.map(|later| later.date(self.arrived)).or(summary.deferred_until),
            wishes: transaction.params.wishes.clone(),
            recipients: Vec::new(),
        };
        let envelopes = match self.discard {
            true => Vec::new(),
            false => envelopes(&transaction.recipients, &plain),
        };
        let recipients: usize = envelopes.iter().map(|envelope| envelope.recipients.len()).sum();
        let held = envelopes.iter().any(|envelope| envelope.held);
        let limit = talk.session.admission.limits.intake_timeout;
        let parcel = Parcel {
            envelopes,
            refused,
            expanded: if self.discard { Vec::new() } else { std::mem::take(&mut transaction.expanded) },
            wishes: plain.wishes,
            arrived: self.arrived,
            tail: Vec::new(),
        };
        if let Err(refusal) = draft.commit(parcel, limit).await {
            REFUSALS.tell(&id, &refusal);
            return Received::Refused(refusal);
        }
        let peer = talk.session.connection.peer;
        let channel = &talk.session.admission.source_channel;
        if summary.long_lines {
            tracing::info!(%id, %peer, %channel, "lines of more than 1000 octets were cut off or broken");
        }
        let sender = &transaction.sender;
        tracing::info!(%id, %peer, %channel, ?sender, recipients, size = summary.size, held, "message accepted");
        talk.accepted += 1;
        Received::Safe(id)
    }
}

/// Reads octets that belong to no message, and forgets them.
pub(crate) async fn discard(talk: &mut Talk, octets: u64) -> io::Result<Progress> {
    let mut window = Window::new(talk.session.admission.limits.data_timeout);
    let (mut left, mut read_so_far) = (octets, 0u64);
    loop {
        let here = talk.input.unused().len().min(usize::try_from(left).unwrap_or(usize::MAX));
        talk.input.used(here);
        left -= here as u64;
        read_so_far += here as u64;
        window.brought(here as u64);
        if left == 0 {
            return Ok(Progress::Ended);
        }
        if read_so_far > SWALLOW_OCTETS_MAX {
            return Ok(Progress::Close(replies::endless_message()));
        }
        if let Some(reply) = read(talk, READ_OCTETS.0, window.end).await? {
            return Ok(Progress::Close(reply));
        }
    }
}

async fn read(talk: &mut Talk, room: usize, deadline: Instant) -> io::Result<Option<Reply>> {
    match talk.read_content(room, deadline).await? {
        Got::Octets(_) => Ok(None),
        Got::End => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within a message")),
        Got::Late | Got::Stopping => Ok(Some(talk.server.data_timeout())),
    }
}

/// What the content is held to.
fn rules(talk: &Talk, transaction: &Transaction, chunked: bool) -> Rules {
    let admission = &talk.session.admission;
    let announced = transaction.params.body == Body::EightBitMime || transaction.params.smtputf8;
    Rules {
        size_max: admission.limits.max_message_size,
        lines_max: admission.reception.max_lines,
        long_lines: admission.reception.long_lines,
        seven_bit: admission.reception.eight_bit_strict && !announced,
        chunked,
    }
}

/// The buffer for the message, with our `Received:` field in it and those that were ordered.
fn first_lines(talk: &Talk, transaction: &Transaction, id: &str, now: Time) -> Vec<u8> {
    let session = &talk.session;
    let trace = Trace {
        helo: &session.helo,
        peer: session.connection.peer.ip(),
        name: session.connection.name.as_ref(),
        name_only: session.admission.reception.name_only,
        host: &session.admission.banner_host,
        extended: session.extended,
        smtputf8: transaction.params.smtputf8,
        tls: session.tls.is_some(),
        login: session.login.is_some(),
        id,
        original_sender: transaction
            .recipients
            .iter()
            .any(|one| one.sender.as_ref().is_some_and(|sender| *sender != transaction.sender))
            .then_some(transaction.sender.as_str())
            .filter(|sender| session.admission.reception.received_from && !sender.is_empty()),
        recipient: match transaction.recipients.as_slice() {
            [only] if session.admission.reception.received_for => Some(&only.recipient.original),
            _ => None,
        },
        priority: transaction.params.wishes.priority,
        now,
    };
    let field = trace.field();
    let expected = transaction.params.size.unwrap_or(TAIL_OCTETS).min(CHUNK_OCTETS as u64) as usize;
    let mut tail = Vec::with_capacity(field.len() + expected + 64);
    tail.extend_from_slice(field.as_bytes());
    talk.orders.write_fields(&mut tail);
    tail
}

/// `expandlimit`: a message for too many is put whole on another channel, which brings it in again. Whom its recipients
/// stand for is worked out then; that each of them may be sent to at all has been seen already.
fn put_off(session: &Session, transaction: &mut Transaction) {
    let Some(later) = &session.admission.limits.expand_later else { return };
    if transaction.commands <= later.more_than {
        return;
    }
    let mut seen = HashSet::new();
    let recipients = std::mem::take(&mut transaction.recipients);
    let (refused, taken): (Vec<Accepted>, Vec<Accepted>) =
        recipients.into_iter().partition(|accepted| accepted.refused.is_some());
    // What was wished about one that stands for others has been handed down to them; it is wanted as it was.
    let expanded: HashMap<String, RecipientWishes> =
        transaction.expanded.drain(..).map(|one| (one.original, one.wishes)).collect();
    let originals = taken.into_iter().map(|accepted| accepted.recipient);
    let originals: Vec<Recipient> = originals.filter(|one| seen.insert(one.original.clone())).collect();
    let put_off = |one: Recipient| Recipient {
        address: one.original.clone(),
        wishes: expanded.get(&one.original).cloned().unwrap_or(one.wishes),
        original: one.original,
        channel: later.channel.clone(),
        domain: later.domain.clone(),
    };
    transaction.recipients = originals.into_iter().map(put_off).map(Accepted::from).chain(refused).collect();
}

/// What sets one copy of a message apart from another: its own reverse-path, and whether it waits for an operator. The
/// plain kind comes first.
pub(crate) fn kinds(recipients: &[Accepted]) -> Vec<(Option<&str>, bool)> {
    let mut kinds: Vec<(Option<&str>, bool)> =
        recipients.iter().map(|accepted| (accepted.sender.as_deref(), accepted.held)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Takes those recipients out that the message cannot go to. When it is too large for all of them, the client is told so
/// itself.
pub(crate) fn turn_away(
    recipients: &mut Vec<Accepted>,
    sender: &str,
    summary: &Summary,
) -> Result<Vec<Refused>, Refusal> {
    let reason = |one: &Accepted| {
        let lines_max = one.lines_max.filter(|lines_max| summary.lines > *lines_max);
        match (&one.refused, one.size_max, lines_max) {
            (Some(refusal), ..) => Some((false, refusal.clone())),
            (_, Some(size_max), _) if summary.size > size_max => {
                Some((true, replies::too_large_for_recipients(size_max).into_refusal()))
            }
            (.., Some(lines_max)) => Some((true, replies::too_long_for_recipients(lines_max).into_refusal())),
            _ => None,
        }
    };
    let mut refused = Vec::new();
    let mut outgrown = None;
    let mut others = false;
    recipients.retain(|one| {
        let Some((too_large, refusal)) = reason(one) else {
            others = true;
            return true;
        };
        if too_large {
            outgrown = Some(refusal.clone());
        } else {
            others = true;
        }
        let sender = one.sender.clone().unwrap_or_else(|| sender.to_owned());
        refused.push(Refused { recipient: one.recipient.clone(), sender, refusal });
        false
    });
    match outgrown {
        Some(refusal) if !others => Err(refusal),
        _ => Ok(refused),
    }
}

/// An envelope for each kind of copy, made from one without recipients.
pub(crate) fn envelopes(recipients: &[Accepted], plain: &Envelope) -> Vec<Envelope> {
    let envelope = |(sender, held): &(Option<&str>, bool)| Envelope {
        sender: sender.unwrap_or(&plain.sender).to_owned(),
        held: *held || plain.held,
        // RFC 3461 section 5.2.7: what the sender wished about the message is nothing to the owner of a list.
        wishes: match sender {
            // How soon it goes is not about notices: it stays (RFC 6710).
            Some(_) => Wishes { priority: plain.wishes.priority, ..Wishes::default() },
            None => plain.wishes.clone(),
        },
        ..plain.clone()
    };
    let kinds = kinds(recipients);
    let mut envelopes: Vec<Envelope> = kinds.iter().map(envelope).collect();
    let mut seen = HashSet::new();
    for accepted in recipients {
        let recipient = &accepted.recipient;
        let first = seen.insert((recipient.channel.as_str(), recipient.address.as_str()));
        if accepted.expanded && !first {
            continue;
        }
        let kind = (accepted.sender.as_deref(), accepted.held);
        if let Ok(index) = kinds.binary_search(&kind) {
            envelopes[index].recipients.push(recipient.clone());
        }
    }
    // A kind whose recipients were all there already has nobody left.
    envelopes.retain(|envelope| !envelope.recipients.is_empty());
    envelopes
}

impl Draft {
    /// Hands the tail on as a chunk, after the one before has been taken; the next may have about `most` octets.
    async fn hand_on(&mut self, most: usize, limit: Duration) -> Result<(), Refusal> {
        self.chunk_taken(limit).await?;
        let (done, taken) = promise();
        let tail = std::mem::replace(&mut self.tail, Vec::with_capacity(most + READ_OCTETS.1));
        self.incoming.chunk(tail, done);
        self.chunk = Some(taken);
        Ok(())
    }

    async fn chunk_taken(&mut self, limit: Duration) -> Result<(), Refusal> {
        match self.chunk.take() {
            Some(taken) => kept(taken, limit).await,
            None => Ok(()),
        }
    }

    /// Commits the parcel, whose tail is what is left here.
    async fn commit(mut self, parcel: Parcel, limit: Duration) -> Result<(), Refusal> {
        self.chunk_taken(limit).await?;
        let (done, safe) = promise();
        self.incoming.commit(Parcel { tail: self.tail, ..parcel }, done);
        kept(safe, limit).await
    }
}

fn promise() -> (Done, oneshot::Receiver<Result<(), Refusal>>) {
    let (sender, receiver) = oneshot::channel();
    (Box::new(move |answer| drop(sender.send(answer))), receiver)
}

/// Waits for a promise. One that is broken or late is a temporary failure: the client keeps the message and tries again.
async fn kept(promise: oneshot::Receiver<Result<(), Refusal>>, limit: Duration) -> Result<(), Refusal> {
    match timeout(limit, promise).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => {
            tracing::error!("nobody answered for a message");
            Err(unanswered())
        }
    }
}

fn unanswered() -> Refusal {
    replies::not_stored().into_refusal()
}
