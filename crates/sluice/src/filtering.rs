//! A message that filters look at before it is queued.
//!
//! Its content is kept in memory until the verdict, in the pieces in which it came: they are lent to the filters, and handed on to the
//! spool as they are when nothing was changed. A message that no filter asks for goes another way and pays nothing.
//!
//! The verdict is worked out on a thread that may wait ([`copies`]), and so is the storing behind it. The client, or the plugin that
//! brings the message in, waits for both.
//!
//! # Failure
//! More content than [`HELD_OCTETS_MAX`] waiting for verdicts is refused for now, and so is a message whose verdicts take longer than
//! its session waits: it is not stored behind the client's back. Whatever goes wrong here, nothing of the
//! message is queued unless all of it is answered for. Where copies differ, all of them are handed to the spool before the first is
//! committed, and they share one answer: the first refusal. A disk that fails between two commits, a hub that stops then, or that has no
//! room left for another message, leaves a copy behind a refusal, and that copy comes twice when the client comes again.
//! # Not here
//! What becomes of a copy on its way into the spool (`arriving`), making filters and asking them (`filters`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sluice_config::{FilterUse, WithoutVerdict};
use sluice_dispatch::Loaded;
use sluice_host::About;
use sluice_mail::{Envelope, Refusal, Status, Wishes};
use sluice_smtp::replies;
use sluice_smtpd::{Accepted, Done, Incoming, Origin, Parcel, Refused, Session, Transaction};
use tokio::sync::Semaphore;

use crate::arriving::Arriving;
use crate::hub::Hub;
use content::Content;
use copies::{Copies, Filtered, To};
use waiting::Waiting;

mod content;
mod copies;
#[cfg(test)]
mod tests;
mod waiting;

/// Most octets of all messages that wait for verdicts.
const HELD_OCTETS_MAX: usize = 256 << 20;
/// So many messages are looked at at once; others wait for their turn.
const TURNS: usize = 32;
/// How long the spool may take for a piece of a message.
const STORE_MAX: Duration = Duration::from_secs(300);

static TURN: Semaphore = Semaphore::const_new(TURNS);

/// A message that waits for its verdict.
pub(crate) struct Filtering {
    hub: Arc<Hub>,
    loaded: Arc<Loaded>,
    session: Session,
    transaction: Transaction,
    inner: Box<Arriving>,
    pieces: Vec<Vec<u8>>,
    room: Room,
}

/// Octets that are counted as long as this is there.
#[derive(Debug, Default)]
pub(crate) struct Room(usize);

static HELD_OCTETS: AtomicUsize = AtomicUsize::new(0);

impl Room {
    /// Room for more; false when there is none.
    fn grow(&mut self, octets: usize) -> bool {
        let before = HELD_OCTETS.fetch_add(octets, Ordering::Relaxed);
        self.0 += octets;
        before.saturating_add(octets) <= HELD_OCTETS_MAX
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        HELD_OCTETS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// The filters that mail of this session is shown to. Mail that comes in again under its original source channel has passed them.
///
/// # Errors
/// It has waited for a filter of a channel that there is no longer, so that nobody can say which ones are left.
fn source_filters<'a>(loaded: &'a Loaded, session: &Session) -> Result<&'a [FilterUse], Refusal> {
    // Where mail has waited says which filters are left, whatever it appears to come from by now (`APPEARS_FROM`).
    match Waiting::of(session) {
        Some(Waiting::Source { number, channel }) => {
            if let Some(channel) = loaded.config.channels.by_name(channel) {
                return Ok(from_number(&channel.settings.source_filters, number));
            }
            let filter = loaded.config.filters.iter().find(|one| one.options.number == number);
            // One that is switched off is waited for no longer, and one without whose verdict mail passes has none.
            return match filter.map(|one| one.options.without_verdict) {
                None | Some(WithoutVerdict::Passes) => Ok(&[]),
                Some(WithoutVerdict::Waits | WithoutVerdict::Refused) => Err(Refusal::new(
                    451,
                    Status::new(4, 7, 1),
                    format!(
                        "it waits for filter {number} of {channel}, and there is no such channel any more"
                    ),
                )),
            };
        }
        // It had passed them before it came to those of its destination.
        Some(Waiting::Destination { .. }) => return Ok(&[]),
        None => {}
    }
    let source = session.admission.source_channel.as_str();
    let again = session.origin == Origin::Again && *session.connection.channel != *source;
    let Some(channel) = loaded.config.channels.by_name(source) else { return Ok(&[]) };
    Ok(if again { &[] } else { &channel.settings.source_filters })
}

/// Those with this number and higher ones.
fn from_number(filters: &[FilterUse], number: u32) -> &[FilterUse] {
    &filters[filters.partition_point(|one| one.number < number)..]
}

fn destination_filters<'a>(loaded: &'a Loaded, channel: &str) -> &'a [FilterUse] {
    let channel = loaded.config.channels.by_name(channel);
    channel.map_or(&[], |channel| &channel.settings.destination_filters)
}

impl Filtering {
    /// The same message, with filters in between if any of them asks for it.
    pub(crate) fn over(
        hub: &Arc<Hub>,
        session: &Session,
        transaction: &Transaction,
        arriving: Box<Arriving>,
    ) -> Box<dyn Incoming> {
        let loaded = hub.loaded();
        let is_there =
            |one: &FilterUse| loaded.config.filters.iter().any(|filter| filter.options.number == one.number);
        let to = transaction.recipients.iter().filter(|accepted| accepted.refused.is_none());
        let asked = !loaded.config.filters.is_empty()
            && (source_filters(&loaded, session).map_or(true, |filters| filters.iter().any(is_there))
                || to
                    .into_iter()
                    .any(|one| destination_filters(&loaded, &one.recipient.channel).iter().any(is_there)));
        if !asked {
            return arriving;
        }
        Box::new(Filtering {
            hub: Arc::clone(hub),
            loaded,
            session: session.clone(),
            transaction: transaction.clone(),
            inner: arriving,
            pieces: Vec::new(),
            room: Room::default(),
        })
    }

    fn take(&mut self, bytes: Vec<u8>) -> Result<(), Refusal> {
        if !self.room.grow(bytes.len()) {
            return Err(no_room(&self.inner.id()));
        }
        if !bytes.is_empty() {
            self.pieces.push(bytes);
        }
        Ok(())
    }

    /// What is known about the message, for all its filters.
    fn about(&self, parcel: &Parcel, plain: &Envelope) -> About {
        let session = &self.session;
        let from_client = session.origin == Origin::Client;
        About {
            id: self.inner.id(),
            source_channel: session.admission.source_channel.clone(),
            client_address: from_client.then(|| session.connection.peer.ip().to_canonical()),
            client_name: session.connection.name.as_ref().map(|name| name.name.clone()).unwrap_or_default(),
            helo: if from_client { session.helo.clone() } else { String::new() },
            login: session.login.as_ref().map(|login| login.name.clone()).unwrap_or_default(),
            arrived: parcel.arrived,
            eight_bit: plain.eight_bit,
            smtputf8: plain.smtputf8,
            tls: session.tls.is_some(),
            is_known: session.admission.is_known,
            from_channel: !from_client,
            again: session.origin == Origin::Again,
        }
    }

    /// Waits for the verdicts and stores what they leave. For a thread that may wait.
    /// Behind `end` nobody waits for it any more, and nothing is stored.
    fn judge(self: Box<Self>, parcel: Parcel, end: Option<Instant>, done: Done) {
        let handed_over = end.map(|end| end + handing_time(self.session.admission.limits.intake_timeout));
        match self.judged(parcel, end) {
            // The client has been told to come again, or is about to be.
            Ok(_) if copies::is_over(end) => done(Err(copies::not_now())),
            Ok(Some(store)) => store.run(handed_over, done),
            Ok(None) => done(Ok(())),
            Err(refusal) => done(Err(refusal)),
        }
    }

    /// What is to be stored; `None` when there is nothing and the message is answered for all the same.
    fn judged(
        mut self: Box<Self>,
        mut parcel: Parcel,
        end: Option<Instant>,
    ) -> Result<Option<Store>, Refusal> {
        let tail = std::mem::take(&mut parcel.tail);
        self.take(tail)?;
        let Some(plain) = parcel.envelopes.first().cloned() else {
            // Nobody gets it: there may be notices to write.
            return Ok(Some(self.untouched(parcel)));
        };
        let to: Vec<To> = parcel.envelopes.iter().flat_map(To::of).collect();
        let about = Arc::new(self.about(&parcel, &plain));
        let content = Content::new(std::mem::take(&mut self.pieces), std::mem::take(&mut self.room));
        let copies = Copies { hub: &self.hub, loaded: &self.loaded, session: &self.session, about, end };
        let sender = self.transaction.sender.clone();
        let source = source_filters(&self.loaded, &self.session).inspect_err(|refusal| {
            tracing::error!(id = %self.inner.id(), %refusal, "mail stays where it waits for a filter");
        })?;
        let Some(filtered) = copies.filter(&sender, source, content, to.clone())? else { return Ok(None) };
        Ok(Some(self.changed(&parcel, &plain, &to, filtered)))
    }

    fn untouched(self, parcel: Parcel) -> Store {
        let content = Content::new(self.pieces, self.room);
        Store { id: self.inner.id(), parts: vec![Part::new(self.inner, content, parcel)] }
    }

    /// The message as it is stored after the verdicts: a part for each content.
    fn changed(self, parcel: &Parcel, plain: &Envelope, before: &[To], filtered: Filtered) -> Store {
        let Filtered { copies, refused, whole } = filtered;
        let id = self.inner.id();
        let (hub, session, transaction) = (&self.hub, &self.session, &self.transaction);
        let template = |to: &To| Envelope {
            sender: to.sender.clone(),
            held: to.held,
            hold_reason: to.hold_reason.clone(),
            wishes: wishes_of(&parcel.envelopes, to, transaction, &parcel.wishes),
            recipients: Vec::new(),
            ..plain.clone()
        };
        let mut parts = Vec::with_capacity(copies.len().max(1));
        let mut inner = Some(self.inner);
        let same = refused.is_empty()
            && matches!(copies.as_slice(), [(content, to)] if content.is_unchanged() && to == before);
        // Everybody who gets no copy: whom the session has turned away, for the size too, and whom the filters have.
        let by_filters = refused.into_iter().map(|(one, refusal)| Refused {
            recipient: one.recipient,
            sender: one.sender,
            refusal,
        });
        let told: Vec<Refused> = parcel.refused.iter().cloned().chain(by_filters).collect();
        let mut copies = copies;
        if copies.is_empty() {
            // Nobody gets it, and there are refusals to tell of: they are in the first part.
            copies.push((whole, Vec::new()));
        }
        for (content, to) in copies {
            let mut envelopes: Vec<Envelope> = Vec::new();
            for one in &to {
                let alike = |envelope: &&mut Envelope| {
                    (&envelope.sender, envelope.held, &envelope.hold_reason)
                        == (&one.sender, one.held, &one.hold_reason)
                };
                match envelopes.iter_mut().find(alike) {
                    Some(envelope) => envelope.recipients.push(one.recipient.clone()),
                    None => {
                        envelopes.push(Envelope { recipients: vec![one.recipient.clone()], ..template(one) });
                    }
                }
            }
            let is_first = inner.is_some();
            // Only the first part tells of refusals and of those that stand for others.
            let (refused, expanded) = match is_first {
                true => (told.clone(), parcel.expanded.clone()),
                false => (Vec::new(), Vec::new()),
            };
            let arriving = match inner.take() {
                Some(inner) if same => inner,
                other => {
                    let own = |one: &To| (one.sender != transaction.sender).then(|| one.sender.clone());
                    let accepted = to.iter().map(|one| Accepted {
                        sender: own(one),
                        held: one.held,
                        ..one.recipient.clone().into()
                    });
                    let turned_away = refused.iter().map(|one| Accepted {
                        refused: Some(one.refusal.clone()),
                        ..one.recipient.clone().into()
                    });
                    let transaction = Transaction {
                        recipients: accepted.chain(turned_away).collect(),
                        expanded: expanded.clone(),
                        ..transaction.clone()
                    };
                    let draft = match other {
                        Some(inner) => inner.into_draft(),
                        None => hub.dispatcher().draft(),
                    };
                    Box::new(Arriving::with_draft(hub, session, &transaction, draft))
                }
            };
            let parcel = Parcel {
                envelopes,
                refused,
                expanded,
                wishes: parcel.wishes.clone(),
                arrived: parcel.arrived,
                tail: Vec::new(),
            };
            parts.push(Part::new(arriving, content, parcel));
        }
        Store { id, parts }
    }
}

fn no_room(id: &str) -> Refusal {
    tracing::warn!(%id, "too much mail waits for the verdicts of filters; a message is refused for now");
    Refusal::new(452, Status::new(4, 3, 1), "too much mail is being looked at, try again later")
}

/// How long verdicts may take of the time for which a session waits: the rest is for the spool, and for the answer to be heard.
fn verdict_time(intake_timeout: Duration) -> Duration {
    intake_timeout / 10 * 9
}

/// How much of the rest is for handing a message to the spool, before any of it is committed.
fn handing_time(intake_timeout: Duration) -> Duration {
    intake_timeout / 20
}

/// The sender's wishes about the message, as those with this reverse-path have them.
fn wishes_of(envelopes: &[Envelope], to: &To, transaction: &Transaction, wishes: &Wishes) -> Wishes {
    match envelopes.iter().find(|envelope| envelope.sender == to.sender) {
        Some(envelope) => envelope.wishes.clone(),
        None if to.sender == transaction.sender => wishes.clone(),
        // RFC 3461 section 5.2.7: what the sender wished about the message is nothing to the owner of a list.
        None => Wishes { priority: wishes.priority, ..Wishes::default() },
    }
}

impl Incoming for Filtering {
    fn id(&self) -> String {
        self.inner.id()
    }

    fn chunk(&mut self, bytes: Vec<u8>, done: Done) {
        done(self.take(bytes));
    }

    fn commit(self: Box<Self>, parcel: Parcel, done: Done) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // A plugin brings it in, on a thread of its own that waits.
            return self.judge(parcel, None, done);
        };
        let end = Instant::now() + verdict_time(self.session.admission.limits.intake_timeout);
        runtime.clone().spawn(async move {
            let Ok(turn) = tokio::time::timeout_at(end.into(), TURN.acquire()).await else {
                tracing::error!(id = %self.inner.id(), "so many messages wait for verdicts that this one had no turn");
                return done(Err(copies::not_now()));
            };
            let judged = runtime.spawn_blocking(move || self.judge(parcel, Some(end), done)).await;
            drop(turn);
            if let Err(error) = judged {
                tracing::error!(%error, "a message could not be shown to its filters");
            }
        });
    }
}

/// One content, and who gets it.
struct Part {
    arriving: Box<Arriving>,
    content: Arc<Content>,
    parcel: Parcel,
    /// What its headers take that are waiting to be committed.
    room: Room,
}

/// What a part takes in memory, counted until this is dropped.
type Counted = (Arc<Content>, Room);

/// What is stored of a message.
struct Store {
    id: String,
    parts: Vec<Part>,
}

impl Store {
    /// Stores all parts. The answer is the first refusal, or that all is safe. For a thread that may wait. What is not handed over by
    /// `end` is not stored.
    fn run(self, end: Option<Instant>, done: Done) {
        let Store { id, parts } = self;
        let result = Store::all(parts, end);
        if let Err(refusal) = &result {
            tracing::warn!(%id, %refusal, "a message is not stored after its filters have seen it");
        }
        done(result);
    }

    fn all(mut parts: Vec<Part>, end: Option<Instant>) -> Result<(), Refusal> {
        let several = parts.len() > 1;
        parts.iter_mut().try_for_each(|part| part.hand_over(several))?;
        // Nothing counts yet, and soon nobody waits for it any more: what is left of the session's time is for the commits.
        if copies::is_over(end) {
            return Err(copies::not_now());
        }
        let mut promises = Vec::with_capacity(parts.len());
        // What the message takes in memory is counted until all is safe.
        let mut contents = Vec::with_capacity(parts.len());
        for part in parts {
            let (content, safe) = part.commit();
            contents.push(content);
            match safe.try_recv() {
                // Answered before anything was asked of the disk: by a database that notices need, for instance, or because all of it is thrown away.
                Ok(answer) => answer?,
                Err(_) => promises.push(safe),
            }
        }
        promises.into_iter().try_for_each(kept)
    }
}

impl Part {
    fn new(arriving: Box<Arriving>, content: Arc<Content>, parcel: Parcel) -> Part {
        Part { arriving, content, parcel, room: Room::default() }
    }

    /// Gives the spool all but the last piece, one after another, and finds out what is against the message where there are `several`
    /// parts. Nothing of it counts before it is committed.
    fn hand_over(&mut self, several: bool) -> Result<(), Refusal> {
        let last = self.content.count().saturating_sub(1);
        for at in 0..last {
            let (done, taken) = promise();
            self.arriving.chunk(Content::hand_on(&mut self.content, at), done);
            kept(taken)?;
        }
        if several {
            self.arriving.can_lead(&self.parcel.envelopes)?;
        }
        match last {
            0 if several => {
                self.arriving.look(&self.content.first())?;
                let has_room = self.room.grow(self.arriving.looked_at());
                if has_room { Ok(()) } else { Err(no_room(&self.arriving.id())) }
            }
            _ => Ok(()),
        }
    }

    fn commit(self) -> (Counted, mpsc::Receiver<Result<(), Refusal>>) {
        let Part { arriving, mut content, parcel, room } = self;
        let last = content.count().saturating_sub(1);
        let tail = Content::hand_on(&mut content, last);
        let (done, safe) = promise();
        arriving.commit(Parcel { tail, ..parcel }, done);
        ((content, room), safe)
    }
}

fn promise() -> (Done, mpsc::Receiver<Result<(), Refusal>>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    (Box::new(move |answer| drop(sender.send(answer))), receiver)
}

#[allow(clippy::needless_pass_by_value)] // A promise is kept once.
fn kept(promise: mpsc::Receiver<Result<(), Refusal>>) -> Result<(), Refusal> {
    promise.recv_timeout(STORE_MAX).unwrap_or_else(|_| Err(replies::not_stored().into_refusal()))
}
