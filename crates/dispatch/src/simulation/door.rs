//! Front doors of the simulation: what a session asks, answered from the configuration in force as the program does it, without
//! aliases, access tables and headers; and a message on its way from a session into the spool.
//!
//! # Not here
//! The conversation (`sluice_smtpd`, which is the real one).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_mail::{Address, Recipient, Refusal, Status, Time};
use sluice_rewrite::{Context, Kind};
use sluice_smtpd::{
    Accepted, Admission, AtrnPolicy, Connection, Done, EtrnAnswer, EtrnPolicy, Incoming, Intake, Limits,
    MailParams, Orders, Parcel, Reception, Safety, Session, Transaction,
};

use super::world::{Answer, Answers};
use crate::handle::{Draft, Handle};

/// Local parts that begin so are refused for good, and for now.
pub(super) const REFUSED: [&str; 2] = ["no-", "later-"];

/// The time by the wall, for all doors.
pub(super) type Wall = Arc<AtomicU64>;

/// What a session is told of itself, at every door.
pub(super) fn admission(chunk_octets: usize) -> Admission {
    Admission {
        source_channel: "tcp_local".to_owned(),
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

/// The hub's, as one session sees it.
pub(super) struct Door {
    pub(super) session: u64,
    pub(super) handle: Handle,
    pub(super) wall: Wall,
    pub(super) answers: Answers,
    /// What this client sends waits for an operator.
    pub(super) holds: bool,
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

    fn recipient(
        &self,
        session: &Session,
        _: &str,
        path: &str,
        _: &mut Orders,
    ) -> Result<Vec<Accepted>, Refusal> {
        if let Some(refusal) = refusal(path) {
            return Err(refusal);
        }
        let address = Address::parse(path).expect("clients write addresses");
        let source_channel = session.admission.source_channel.as_str();
        let context = Context { kind: Kind::EnvelopeTo, source_channel, destination_channel: None };
        let route = self.handle.loaded().rewriter.route(&address, &context, None);
        let route = route.unwrap_or_else(|rejected| panic!("{path}: {}", rejected.into_refusal(path)));
        let recipient = Recipient {
            address: route.final_address().to_string(),
            original: path.to_owned(),
            domain: route.host().to_lowercase(),
            channel: route.channel,
            ..Recipient::default()
        };
        Ok(vec![Accepted { held: self.holds, ..recipient.into() }])
    }

    fn begin(&self, _: &Session, _: &Transaction) -> Box<dyn Incoming> {
        let (handle, answers) = (self.handle.clone(), Arc::clone(&self.answers));
        let draft = handle.draft();
        Box::new(Arriving { session: self.session, handle, answers, draft, content: Vec::new() })
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
    content: Vec<u8>,
}

impl Incoming for Arriving {
    fn id(&self) -> String {
        self.draft.id().to_string()
    }

    fn chunk(&mut self, bytes: Vec<u8>, done: Done) {
        self.content.extend_from_slice(&bytes);
        self.draft.chunk(bytes, |taken| done(taken.map_err(|error| error.refusal())));
    }

    fn commit(self: Box<Self>, parcel: Parcel, done: Done) {
        let Self { session, handle, answers, draft, mut content } = *self;
        content.extend_from_slice(&parcel.tail);
        let [envelope] = parcel.envelopes.try_into().expect("no copies differ here");
        let id = draft.id();
        let tell = |answer| answers.lock().expect("no panic within").push(answer);
        tell(Answer::Begun { session, id, envelope: Clone::clone(&envelope), content });
        let answers = Arc::clone(&answers);
        handle.commit(draft, envelope, parcel.tail, move |result| {
            let refusal = result.as_ref().map(|_| ()).map_err(|error| error.refusal());
            answers.lock().expect("no panic within").push(Answer::Commit { session, id, result });
            done(refusal);
        });
    }
}
