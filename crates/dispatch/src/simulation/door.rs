//! Front doors of the simulation: what a session asks, answered from the configuration in force as the program does it, without
//! aliases, access tables and headers; and a message on its way from a session into the spool.
//!
//! # Not here
//! The conversation (`sluice_smtpd`, which is the real one).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sluice_mail::{Address, Recipient, Refusal, Status, Time};
use sluice_rewrite::{Context, Kind};
use sluice_smtpd::{
    Accepted, Admission, AtrnPolicy, Connection, Done, EtrnAnswer, EtrnPolicy, Incoming, Intake, Limits,
    MailParams, Orders, Parcel, Reception, Safety, Session, Transaction,
};

use super::filters::{Copied, Filter, Questions};
use super::world::{Answer, Answers};
use crate::handle::{CommitError, Draft, Handle};

/// Local parts that begin so are refused for good, and for now.
pub(super) const REFUSED: [&str; 2] = ["no-", "later-"];

/// The time by the wall, for all doors.
pub(super) type Wall = Arc<AtomicU64>;

/// What a session is told of itself, at every door.
pub(super) fn admission(chunk_octets: usize) -> Admission {
    Admission {
        source_channel: SOURCE_CHANNEL.to_owned(),
        banner_host: "hub.example".to_owned(),
        etrn: EtrnPolicy::Disable,
        atrn: AtrnPolicy::No,
        safety: Safety::default(),
        is_known: true,
        limits: Limits { chunk_octets, ..Limits::default() },
        reception: Reception {
            later_release: Some(30 * 86_400),
            priorities: Some(false),
            ..Reception::default()
        },
    }
}

/// What an address of one of [`REFUSED`] gets.
pub(super) fn refusal(address: &str) -> Option<Refusal> {
    let [never, later] = REFUSED.map(|front| address.starts_with(front));
    let status = |class| Status { class, subject: 1, detail: 1 };
    match () {
        () if never => Some(Refusal::new(550, status(5), "no such user")),
        () if later => Some(Refusal::new(450, status(4), "not now")),
        () => None,
    }
}

/// What waits for an operator from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    All,
    /// What is for an address of [`is_held_alone`].
    Some,
}

/// Whose copies are on hold while others of the same message are not.
pub(super) fn is_held_alone(path: &str) -> bool {
    path.split('@').next().is_some_and(|local| local.ends_with(['1', '3']))
}

/// Where an address leads.
fn route(handle: &Handle, path: &str) -> Recipient {
    let address = Address::parse(path).expect("clients write addresses");
    let context =
        Context { kind: Kind::EnvelopeTo, source_channel: SOURCE_CHANNEL, destination_channel: None };
    let route = handle.loaded().rewriter.route(&address, &context, None);
    let route = route.unwrap_or_else(|rejected| panic!("{path}: {}", rejected.into_refusal(path)));
    Recipient {
        address: route.final_address().to_string(),
        original: path.to_owned(),
        domain: route.host().to_lowercase(),
        channel: route.channel,
        ..Recipient::default()
    }
}

/// The channel that clients come in by.
const SOURCE_CHANNEL: &str = "tcp_local";

/// The hub's, as one session sees it.
pub(super) struct Door {
    pub(super) session: u64,
    pub(super) handle: Handle,
    pub(super) wall: Wall,
    pub(super) answers: Answers,
    /// What this client sends waits for an operator: all of it, or what goes to every other recipient.
    pub(super) holds: Holds,
    pub(super) filter: Option<Filter>,
    pub(super) questions: Questions,
    /// Content is handed on in pieces of so many octets.
    pub(super) piece: usize,
}

impl Intake for Door {
    fn now(&self) -> Time {
        Time(self.wall.load(Ordering::Relaxed))
    }

    fn admit(&self, _: &Connection) -> Result<Admission, Refusal> {
        Ok(admission(self.piece))
    }

    fn sender(&self, _: &Session, _: &str, _: &MailParams, _: &mut Orders) -> Result<(), Refusal> {
        Ok(())
    }

    fn recipient(&self, _: &Session, _: &str, path: &str, _: &mut Orders) -> Result<Vec<Accepted>, Refusal> {
        if let Some(refusal) = refusal(path) {
            return Err(refusal);
        }
        let held = match self.holds {
            Holds::Nothing => false,
            Holds::All => true,
            Holds::Some => is_held_alone(path),
        };
        Ok(vec![Accepted { held, ..route(&self.handle, path).into() }])
    }

    fn begin(&self, _: &Session, _: &Transaction) -> Box<dyn Incoming> {
        let (handle, answers) = (self.handle.clone(), Arc::clone(&self.answers));
        let draft = handle.draft();
        let (filter, questions) = (self.filter.clone(), Arc::clone(&self.questions));
        let (session, content) = (self.session, Vec::new());
        Box::new(Arriving { session, handle, answers, draft, filter, questions, content })
    }

    fn etrn(&self, _: &Session, _: &str, _: Box<dyn FnOnce(EtrnAnswer) + Send>) {
        unreachable!("ETRN is not offered");
    }
}

struct Arriving {
    session: u64,
    handle: Handle,
    answers: Answers,
    draft: Draft,
    /// It is looked at before anything is stored.
    filter: Option<Filter>,
    questions: Questions,
    content: Vec<u8>,
}

/// What becomes of the copies of a message, which share one answer: the first refusal.
struct Shared {
    waits_for: usize,
    refusal: Option<Refusal>,
    done: Option<Done>,
}

impl Incoming for Arriving {
    fn id(&self) -> String {
        self.draft.id().to_string()
    }

    fn chunk(&mut self, bytes: Vec<u8>, done: Done) {
        self.content.extend_from_slice(&bytes);
        if self.filter.is_some() {
            return done(Ok(()));
        }
        self.draft.chunk(bytes, |taken| done(taken.map_err(|error| error.refusal())));
    }

    fn commit(self: Box<Self>, parcel: Parcel, done: Done) {
        let Self { session, handle, answers, draft, filter, questions, mut content } = *self;
        content.extend_from_slice(&parcel.tail);
        let copies = parcel.envelopes.into_iter().map(|envelope| (envelope, content.clone())).collect();
        let Some(filter) = filter else {
            return store(session, &handle, &answers, (draft, parcel.tail), copies, done);
        };
        let ask = Box::new(move || match filter.look(copies, |path| route(&handle, path)) {
            Ok(looked) => {
                // Nothing of it is in the draft yet.
                let tail = looked[0].1.clone();
                store(session, &handle, &answers, (draft, tail), looked, done);
            }
            Err(refusal) => done(Err(refusal)),
        });
        questions.lock().expect("no panic within").push(ask);
    }
}

/// Hands all copies to the spool. The first goes into a draft that may have a part of it already, and needs the rest.
fn store(
    session: u64,
    handle: &Handle,
    answers: &Answers,
    first: (Draft, Vec<u8>),
    copies: Vec<Copied>,
    done: Done,
) {
    let tell = |answer| answers.lock().expect("no panic within").push(answer);
    let shared = Shared { waits_for: copies.len(), refusal: None, done: Some(done) };
    let shared = Arc::new(Mutex::new(shared));
    let mut first = Some(first);
    for (envelope, content) in copies {
        let (draft, tail) = first.take().unwrap_or_else(|| (handle.draft(), content.clone()));
        let id = draft.id();
        tell(Answer::Begun { session, id, envelope: envelope.clone(), content });
        let (answers, shared) = (Arc::clone(answers), Arc::clone(&shared));
        handle.commit(draft, envelope, tail, move |result| {
            let refusal = result.as_ref().err().map(CommitError::refusal);
            answers.lock().expect("no panic within").push(Answer::Commit { session, id, result });
            let mut shared = shared.lock().expect("no panic within");
            shared.waits_for -= 1;
            if shared.refusal.is_none() {
                shared.refusal = refusal;
            }
            if shared.waits_for > 0 {
                return;
            }
            let answer = shared.refusal.take().map_or(Ok(()), Err);
            let done = shared.done.take().expect("the last one comes once");
            drop(shared);
            done(answer);
        });
    }
}
