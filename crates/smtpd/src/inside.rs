//! Mail that comes in without a wire: a channel brings it, and it goes through the same [`Intake`] as everybody's.
//!
//! There is no conversation, so every recipient is answered at once, and only one call stands for the whole transaction.
//!
//! # Invariants
//! `Delivered` is answered only after the intake has said that the message is safe. In every other case nothing of it is
//! kept. The content is held to the rules of content from the wire.
//! # Not here
//! Who may bring mail in (`host`), and what becomes of it (behind [`Intake`]).

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use sluice_mail::{Envelope, Handover, Outcome, Priority, RecipientWishes, Refusal, Status, Time, Wishes};
use sluice_smtp::content::{Content, Fed, Rules, Summary};
use sluice_smtp::replies;
use sluice_smtp::server::hand_down;

use crate::CHUNK_OCTETS;
use crate::delivery::{envelopes, turn_away};
use crate::intake::{
    Accepted, Admission, Body, Connection, Done, Expanded, Incoming, Intake, MailParams, Orders, Origin,
    Parcel, Session, Transaction,
};
use crate::trace;

/// A message that a channel brings in.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Reverse-path; empty for the null one.
    pub sender: &'a str,
    /// The recipients.
    pub recipients: &'a [To<'a>],
    /// What the sender wishes about notices.
    pub wishes: &'a Wishes,
    /// The content in wire form.
    pub pieces: &'a [&'a [u8]],
    /// It is not all seven-bit.
    pub eight_bit: bool,
    /// It needs SMTPUTF8.
    pub smtputf8: bool,
    /// It is on hold from the moment it comes in.
    pub on_hold: bool,
    /// Its urgency, where that is known and need not be read from the header.
    pub priority: Option<Priority>,
    /// When it comes in.
    pub now: Time,
}

/// One of its recipients.
#[derive(Debug, Clone)]
pub struct To<'a> {
    /// Its address.
    pub address: &'a str,
    /// The address that notices name.
    pub original: &'a str,
    /// What the sender wants to be told about it.
    pub wishes: RecipientWishes,
}

impl Session {
    /// A session without a connection. `channel` brings the messages; `name` is what `Received:` says they come from.
    #[must_use]
    pub fn inside(channel: &str, name: String, admission: Admission, origin: Origin) -> Session {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Session {
            connection: Connection {
                peer: nowhere,
                local: nowhere,
                service: channel.into(),
                channel: channel.into(),
                implicit_tls: false,
                name: None,
            },
            admission,
            helo: name,
            extended: true,
            tls: None,
            login: None,
            origin,
            waited_in: String::new(),
        }
    }
}

/// Takes a message: one outcome for each of its recipients. `None` when the house is closing: nothing is wrong with the
/// message then. Waits, so it is not for the runtime's threads.
pub fn take(intake: &dyn Intake, session: &Session, message: &Message<'_>) -> Option<Vec<Outcome>> {
    let body = if message.eight_bit { Body::EightBitMime } else { Body::SevenBit };
    let wishes = message.wishes.clone();
    let params = MailParams { body, smtputf8: message.smtputf8, wishes, ..MailParams::default() };
    // Nobody waits for replies here, so delays mean nothing.
    let mut orders = Orders::default();
    if let Err(refusal) = intake.sender(session, message.sender, &params, &mut orders) {
        return answered(&refusal, message.recipients.len());
    }
    let (accepted, expanded, outcomes) = recipients(intake, session, message, &mut orders);
    if accepted.is_empty() || orders.discard {
        return Some(
            outcomes.into_iter().map(|one| one.unwrap_or_else(|| safe("discarded".to_owned()))).collect(),
        );
    }
    let transaction = Transaction {
        sender: message.sender.to_owned(),
        params,
        commands: u32::try_from(message.recipients.len()).unwrap_or(u32::MAX),
        recipients: accepted,
        expanded,
    };
    let queued = content(intake, session, message, &transaction, &orders);
    match queued {
        Ok(id) => {
            let said = |one: Option<Outcome>| one.unwrap_or_else(|| safe(format!("queued as {id}")));
            Some(outcomes.into_iter().map(said).collect())
        }
        Err(refusal) if refusal.code == 421 => None,
        Err(refusal) => {
            tracing::warn!(channel = %session.connection.channel, %refusal, "a message from a channel is not taken");
            Some(outcomes.into_iter().map(|one| one.unwrap_or_else(|| outcome(&refusal))).collect())
        }
    }
}

/// Asks about each recipient: the copies to make, and the outcomes of those who get none.
fn recipients(
    intake: &dyn Intake,
    session: &Session,
    message: &Message<'_>,
    orders: &mut Orders,
) -> (Vec<Accepted>, Vec<Expanded>, Vec<Option<Outcome>>) {
    let (mut accepted, mut expanded) = (Vec::new(), Vec::new());
    let mut outcomes = Vec::with_capacity(message.recipients.len());
    // The same address twice is one recipient, as it is for a client who says it twice.
    let mut asked: HashMap<&str, Option<Outcome>> = HashMap::new();
    for To { address, original, wishes } in message.recipients {
        if let Some(known) = asked.get(address) {
            outcomes.push(known.clone());
            continue;
        }
        let said = match intake.recipient(session, message.sender, address, orders) {
            Ok(mut copies) => {
                expanded.extend(hand_down(original, wishes.clone(), &mut copies));
                accepted.extend(copies.into_iter().map(|mut copy| {
                    (*original).clone_into(&mut copy.recipient.original);
                    copy
                }));
                None
            }
            Err(refusal) => Some(outcome(&refusal)),
        };
        asked.insert(address, said.clone());
        outcomes.push(said);
    }
    (accepted, expanded, outcomes)
}

/// Hands the content over and waits until it is safe: its queue id.
fn content(
    intake: &dyn Intake,
    session: &Session,
    message: &Message<'_>,
    transaction: &Transaction,
    orders: &Orders,
) -> Result<String, Refusal> {
    let limits = &session.admission.limits;
    let mut incoming = intake.begin(session, transaction);
    let id = incoming.id();
    let host = &session.admission.banner_host;
    let mut tail = trace::inside(&session.helo, host, &id, message.now).into_bytes();
    orders.write_fields(&mut tail);
    let rules = Rules {
        size_max: limits.max_message_size,
        lines_max: session.admission.reception.max_lines,
        ..Rules::default()
    };
    let mut content = Content::new(rules);
    for piece in message.pieces {
        for part in piece.chunks(CHUNK_OCTETS) {
            if let Fed::End(_) = content.feed(part, &mut tail) {
                // A line with a single dot would end the message here for everybody it is sent on to.
                return Err(not_wire());
            }
            if tail.len() >= CHUNK_OCTETS {
                hand_on(incoming.as_mut(), std::mem::take(&mut tail), limits.intake_timeout)?;
            }
        }
    }
    if content.fault().is_none() && content.feed(b".\r\n", &mut tail) != Fed::End(3) {
        return Err(not_wire());
    }
    let summary: Summary = content.finish().map_err(|fault| fault.reply().into_refusal())?;
    let is_circling = summary.received_lines > limits.max_received_lines;
    let plain = Envelope {
        sender: message.sender.to_owned(),
        arrived: message.now,
        source_channel: session.admission.source_channel.clone(),
        priority: message.priority.unwrap_or(summary.priority),
        eight_bit: summary.eight_bit || message.eight_bit,
        smtputf8: message.smtputf8,
        held: is_circling || message.on_hold,
        hold_reason: match message.on_hold {
            true => format!("the channel {} wants somebody to look at it", session.connection.channel),
            false => String::new(),
        },
        deferred_until: summary.deferred_until,
        wishes: message.wishes.clone(),
        recipients: Vec::new(),
    };
    let mut recipients = transaction.recipients.clone();
    let refused = turn_away(&mut recipients, message.sender, &summary)?;
    let envelopes = envelopes(&recipients, &plain);
    let count: usize = envelopes.iter().map(|envelope| envelope.recipients.len()).sum();
    let held = envelopes.iter().any(|envelope| envelope.held);
    if is_circling {
        tracing::warn!(%id, channel = %session.connection.channel, "held: it goes in circles, see its Received: lines");
    }
    let (done, safe) = promise();
    let (expanded, wishes) = (transaction.expanded.clone(), message.wishes.clone());
    incoming.commit(Parcel { envelopes, refused, expanded, wishes, arrived: message.now, tail }, done);
    kept(&safe, limits.intake_timeout)?;
    let channel = &session.admission.source_channel;
    let (by, sender, size) = (&session.connection.channel, message.sender, summary.size);
    tracing::info!(%id, %by, %channel, ?sender, recipients = count, size, held, "message brought in");
    Ok(id)
}

fn hand_on(incoming: &mut dyn Incoming, bytes: Vec<u8>, limit: Duration) -> Result<(), Refusal> {
    let (done, taken) = promise();
    incoming.chunk(bytes, done);
    kept(&taken, limit)
}

fn promise() -> (Done, mpsc::Receiver<Result<(), Refusal>>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    (Box::new(move |answer| drop(sender.send(answer))), receiver)
}

/// A promise that is broken or late is a temporary failure. It may be kept after all: then the message is there twice.
fn kept(promise: &mpsc::Receiver<Result<(), Refusal>>, limit: Duration) -> Result<(), Refusal> {
    promise.recv_timeout(limit).unwrap_or_else(|_| {
        tracing::error!("nobody answered for a message");
        Err(replies::not_stored().into_refusal())
    })
}

fn not_wire() -> Refusal {
    Refusal::new(554, Status { class: 5, subject: 6, detail: 0 }, "the content is not in wire form")
}

fn safe(text: String) -> Outcome {
    let status = Status { class: 2, subject: 1, detail: 5 };
    // What the sender wishes has come in with the message.
    Outcome::Delivered { status, text, peer: String::new(), handover: Handover::PassedOn }
}

fn answered(refusal: &Refusal, count: usize) -> Option<Vec<Outcome>> {
    if refusal.code == 421 { None } else { Some(vec![outcome(refusal); count]) }
}

fn outcome(refusal: &Refusal) -> Outcome {
    let (status, text, peer) = (refusal.status, refusal.to_string(), String::new());
    match refusal.is_temporary() {
        true => Outcome::Deferred { status, text, peer },
        false => Outcome::Failed { status, text, peer },
    }
}
