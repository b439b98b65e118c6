//! A message on its way from the client to the intake.
//!
//! The content goes into one buffer, the tail, behind our `Received:` field. A tail of [`CHUNK_OCTETS`] is handed on as
//! a chunk while the next one fills; before a third is begun the first must have been taken. At the end the tail goes
//! with the envelope to `commit`, and only its `done` makes the message accepted. In every other case the
//! [`Incoming`] is dropped, which leaves nothing behind.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, SystemTime};

use sluice_mail::{Envelope, Refusal, Time};
use sluice_smtp::content::{Content, Fed, Rules, Summary};
use sluice_smtp::replies;
use sluice_smtp::reply::Reply;
use sluice_smtp::server::{Received, Transaction};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::intake::{Body, Done, Incoming};
use crate::session::{Got, Talk};
use crate::trace::Trace;
use crate::{CHUNK_OCTETS, DATA_WINDOW_OCTETS, SWALLOW_OCTETS_MAX};

/// Room for one read of a small message, and of one that has shown to be larger.
const READ_OCTETS: (usize, usize) = (8 * 1024, 64 * 1024);

/// How the reception of a message ended.
pub(crate) enum Verdict {
    /// The content has come to its end.
    Received(Received),
    /// It never will.
    Close(Reply),
}

/// Where the message goes, as long as there is nothing against it.
struct Draft {
    incoming: Box<dyn Incoming>,
    tail: Vec<u8>,
    /// A chunk that has been handed on and not yet been taken.
    chunk: Option<oneshot::Receiver<Result<(), Refusal>>>,
}

/// Receives the message of `transaction`; the 354 reply has been sent.
pub(crate) async fn receive(talk: &mut Talk, transaction: Transaction) -> io::Result<Verdict> {
    let limits = talk.session.admission.limits.clone();
    let arrived = Time::from(SystemTime::now());
    let incoming = talk.intake.begin(kinds(&transaction).len());
    let id = incoming.id();
    let mut draft = Ok(Draft { incoming, tail: first_lines(talk, &transaction, &id, arrived), chunk: None });
    let mut content = Content::new(rules(talk, &transaction));
    let mut discarded = Vec::new();
    let (mut taken, mut refused) = (0u64, 0u64);
    let end_of_time = Instant::now() + limits.data_total_timeout;
    let mut window = Instant::now() + limits.data_timeout;
    let mut in_window = 0u64;
    loop {
        let input = talk.input.unused();
        let tail = match &mut draft {
            Ok(draft) => &mut draft.tail,
            Err(_) => &mut discarded,
        };
        let fed = content.feed(input, tail);
        discarded.clear();
        if let Fed::End(used) = fed {
            talk.input.used(used);
            break;
        }
        let octets = input.len();
        talk.input.used(octets);
        taken += octets as u64;
        in_window += octets as u64;
        if content.fault().is_some() && draft.is_ok() {
            // What it is refused for is remembered by `content`; the rest is read only to find the end.
            draft = Err(None);
        }
        match &mut draft {
            Ok(waiting) if waiting.tail.len() >= CHUNK_OCTETS => {
                if let Err(refusal) = waiting.hand_on(limits.intake_timeout).await {
                    draft = Err(Some(refusal));
                }
                // The time that we took is not the client's.
                window = Instant::now() + limits.data_timeout;
            }
            Ok(_) => {}
            Err(_) => {
                refused += octets as u64;
                if refused > SWALLOW_OCTETS_MAX {
                    return Ok(Verdict::Close(replies::endless_message()));
                }
            }
        }
        if in_window >= DATA_WINDOW_OCTETS {
            in_window = 0;
            window = Instant::now() + limits.data_timeout;
        }
        let room = if taken < READ_OCTETS.0 as u64 { READ_OCTETS.0 } else { READ_OCTETS.1 };
        match talk.read_content(room, window.min(end_of_time)).await? {
            Got::Octets(_) => {}
            Got::End => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed within a message")),
            Got::Late | Got::Stopping => return Ok(Verdict::Close(talk.server.data_timeout())),
        }
    }
    let summary = match content.finish() {
        Ok(summary) => summary,
        Err(fault) => return Ok(Verdict::Received(Received::Faulty(fault))),
    };
    let draft = match draft {
        Ok(draft) => draft,
        Err(refusal) => return Ok(refuse(refusal.unwrap_or_else(unanswered))),
    };
    let sender = transaction.sender.clone();
    let envelopes = envelopes(talk, &transaction, &summary, arrived);
    let recipients: usize = envelopes.iter().map(|envelope| envelope.recipients.len()).sum();
    let held = envelopes.iter().any(|envelope| envelope.held);
    if let Err(refusal) = draft.commit(envelopes, limits.intake_timeout).await {
        tracing::warn!(%id, %refusal, "message not accepted");
        return Ok(refuse(refusal));
    }
    let peer = talk.session.connection.peer;
    let channel = &talk.session.admission.source_channel;
    if summary.long_lines {
        tracing::info!(%id, %peer, %channel, "lines of more than 1000 octets were cut off or broken");
    }
    tracing::info!(%id, %peer, %channel, ?sender, recipients, size = summary.size, held, "message accepted");
    Ok(Verdict::Received(Received::Safe(id)))
}

/// What the content is held to.
fn rules(talk: &Talk, transaction: &Transaction) -> Rules {
    let admission = &talk.session.admission;
    let announced = transaction.params.body == Body::EightBitMime || transaction.params.smtputf8;
    Rules {
        size_max: admission.limits.max_message_size,
        lines_max: admission.reception.max_lines,
        long_lines: admission.reception.long_lines,
        seven_bit: admission.reception.eight_bit_strict && !announced,
        chunked: false,
    }
}

fn refuse(refusal: Refusal) -> Verdict {
    Verdict::Received(Received::Refused(refusal))
}

/// The buffer for the message, with our `Received:` field in it.
fn first_lines(talk: &Talk, transaction: &Transaction, id: &str, now: Time) -> Vec<u8> {
    let session = &talk.session;
    let trace = Trace {
        helo: &session.helo,
        peer: session.connection.peer.ip(),
        host: &session.admission.banner_host,
        extended: session.extended,
        smtputf8: transaction.params.smtputf8,
        id,
        recipient: match transaction.recipients.as_slice() {
            [only] if session.admission.reception.received_for => Some(&only.recipient.original),
            _ => None,
        },
        now,
    };
    let field = trace.field();
    let expected = transaction.params.size.unwrap_or(4096).min(CHUNK_OCTETS as u64) as usize;
    let mut tail = Vec::with_capacity(field.len() + expected + 64);
    tail.extend_from_slice(field.as_bytes());
    tail
}

/// What sets one copy of a message apart from another: its own reverse-path, and whether it waits for an operator. The
/// plain kind comes first.
fn kinds(transaction: &Transaction) -> Vec<(Option<&str>, bool)> {
    let mut kinds: Vec<(Option<&str>, bool)> =
        transaction.recipients.iter().map(|accepted| (accepted.sender.as_deref(), accepted.held)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// An envelope for each kind of copy.
fn envelopes(talk: &Talk, transaction: &Transaction, summary: &Summary, arrived: Time) -> Vec<Envelope> {
    let admission = &talk.session.admission;
    let envelope = |sender: Option<&str>, held: bool| Envelope {
        sender: sender.unwrap_or(&transaction.sender).to_owned(),
        arrived,
        source_channel: admission.source_channel.clone(),
        priority: summary.priority,
        eight_bit: summary.eight_bit || transaction.params.body == Body::EightBitMime,
        smtputf8: transaction.params.smtputf8,
        held: held || summary.received_lines > admission.limits.max_received_lines,
        recipients: Vec::new(),
    };
    let kinds = kinds(transaction);
    let mut envelopes: Vec<Envelope> = kinds.iter().map(|(sender, held)| envelope(*sender, *held)).collect();
    let mut seen = HashSet::new();
    for accepted in &transaction.recipients {
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
    /// Hands the tail on as a chunk, after the one before has been taken.
    async fn hand_on(&mut self, limit: Duration) -> Result<(), Refusal> {
        self.chunk_taken(limit).await?;
        let (done, taken) = promise();
        let tail = std::mem::replace(&mut self.tail, Vec::with_capacity(CHUNK_OCTETS + READ_OCTETS.1));
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

    async fn commit(mut self, envelopes: Vec<Envelope>, limit: Duration) -> Result<(), Refusal> {
        self.chunk_taken(limit).await?;
        let (done, safe) = promise();
        self.incoming.commit(envelopes, self.tail, done);
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
