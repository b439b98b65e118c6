//! What one worker does with the messages it is given.
//!
//! A connection is kept for IDLE_TIME for the worker's next message. One that turns out to be dead before anything of an answer came
//! is replaced at once. A server that could not be reached is not tried again for the other messages of the same batch (lease), and
//! one that asks for a rest (`Retry-After`) is left alone by all workers.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::crypto::SecureRandom;
use sluice_mail::Time;
use sluice_sdk::{Delivery, Outcome, Status};

use crate::address::Address;
use crate::answer::Answer;
use crate::connection::{Connection, Trouble};
use crate::content::Content;
use crate::engine::Engine;
use crate::halt::Halt;
use crate::request::{self, Mail, To, hex};
use crate::settings::Settings;

/// What all workers of a channel share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) engine: Engine,
    pub(crate) random: &'static dyn SecureRandom,
    pub(crate) halt: Halt,
    /// Until then the server wants to be left alone.
    pub(crate) rest: Mutex<Option<Instant>>,
}

/// One worker's messages.
pub(crate) struct Outbox<'s> {
    shared: &'s Shared,
    kept: Option<Connection>,
    /// The batch in which the server could not be reached, and why.
    unreached: Option<(u64, Outcome)>,
}

impl<'s> Outbox<'s> {
    pub(crate) fn new(shared: &'s Shared) -> Outbox<'s> {
        Outbox { shared, kept: None, unreached: None }
    }

    /// Delivers a message, by as many requests as its recipients need.
    pub(crate) fn deliver(&mut self, delivery: &Delivery<'_>) {
        let settings = &self.shared.settings;
        let mut recipients = delivery.take_recipients();
        let pieces: Vec<&[u8]> = delivery.pieces().collect();
        loop {
            let group: Vec<_> = recipients.by_ref().take(settings.recipients_max).collect();
            if group.is_empty() {
                return;
            }
            let mail = Mail {
                id: delivery.id(),
                sender: delivery.sender(),
                recipients: group
                    .iter()
                    .map(|one| To { address: one.address, original: one.original })
                    .collect(),
                pieces: &pieces,
                arrived_ms: delivery.arrived_ms(),
                attempts: delivery.attempts(),
            };
            let outcome = match delivery.next_hop() {
                // RFC 3463 X.3.5: the system is not set up for it.
                Some(hop) => {
                    let text = format!("mail of this channel goes to its URL, and not to {hop}");
                    Outcome::deferred(Status::new(4, 3, 5), text)
                }
                None => self.post(&mail, delivery.lease(), delivery.remaining()),
            };
            for recipient in group {
                recipient.settle(outcome.clone());
            }
        }
    }

    /// The outcome for all recipients of one request, which has this time.
    pub(crate) fn post(&mut self, mail: &Mail<'_>, lease: u64, time: Duration) -> Outcome {
        let settings = &self.shared.settings;
        let peer = &settings.address.host;
        let size = mail.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if let Some(most) = settings.size_max.filter(|most| size > *most) {
            let text = format!("the message has {size} octets, more than the {most} of MAX_SIZE");
            return Outcome::failed(Status::new(5, 3, 4), text);
        }
        if self.shared.halt.is_told() {
            return Outcome::deferred(Status::new(4, 3, 2), "the channel is stopping");
        }
        if let Some((_, outcome)) = self.unreached.as_ref().filter(|(of, _)| *of == lease) {
            return outcome.clone();
        }
        if let Some(rest) = self.rest() {
            let text = format!("the server wants to be left alone for another {} s", rest.as_secs() + 1);
            return Outcome::deferred(Status::new(4, 3, 2), text).from_peer(peer.as_str());
        }
        let shared = self.shared;
        let done = shared.engine.block_on(async {
            tokio::select! {
                done = tokio::time::timeout(time, self.exchange(mail)) => done.ok(),
                () = shared.halt.over() => None,
            }
        });
        match done {
            Some(Ok(answer)) => {
                self.note_rest(&answer);
                answer.outcome().from_peer(peer.as_str())
            }
            Some(Err(trouble)) => {
                let outcome = trouble.outcome().from_peer(peer.as_str());
                if trouble.unreached {
                    self.unreached = Some((lease, outcome.clone()));
                }
                outcome
            }
            None if shared.halt.is_told() => {
                Outcome::deferred(Status::new(4, 3, 2), "stopped before the answer")
            }
            None => {
                Outcome::deferred(Status::new(4, 4, 2), "the time for the message was over before the answer")
            }
        }
    }

    /// One request with its redirections.
    async fn exchange(&mut self, mail: &Mail<'_>) -> Result<Answer, Trouble> {
        let settings = &self.shared.settings;
        let content = Content::of(mail, settings, &self.boundary());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let fields = request::fields(mail, &content, settings, now);
        let mut address = settings.address.clone();
        for redirects_left in (0..=settings.redirects_max).rev() {
            let mut fields = fields.clone();
            if address.is_same_place(&settings.address) {
                fields.extend(settings.headers.iter().cloned());
            }
            let mut fresh = false;
            let answer = loop {
                let connection = match self.kept.take().filter(|kept| !fresh && self.may_use(kept, &address))
                {
                    Some(kept) => kept,
                    None => Connection::open(&address, settings).await?,
                };
                let chunks = content.chunks(mail);
                let posted = connection
                    .post(&address.path, fields.clone(), content.length, chunks, &settings.times)
                    .await;
                match posted {
                    Ok((answer, connection)) => {
                        self.kept = connection.filter(|_| !settings.times.idle.is_zero());
                        break answer;
                    }
                    Err(trouble) if trouble.stale && !fresh => fresh = true,
                    Err(trouble) => return Err(trouble),
                }
            };
            match answer.redirection().filter(|_| redirects_left > 0).map(|location| address.follow(location))
            {
                None => return Ok(answer),
                Some(Ok(next)) => address = next,
                Some(Err(why)) => {
                    let text = format!("the server redirects to an address that {why}");
                    return Err(Trouble::refused(text));
                }
            }
        }
        // The last round has no redirection left, and ends with its answer.
        Err(Trouble::refused("the server redirects in a circle".to_owned()))
    }

    fn may_use(&self, kept: &Connection, address: &Address) -> bool {
        kept.serves(address) && kept.used().elapsed() < self.shared.settings.times.idle
    }

    /// What stands between the parts of a form. Nobody who writes mail can know it.
    fn boundary(&self) -> String {
        let mut octets = [0; 16];
        if self.shared.random.fill(&mut octets).is_err() {
            // A clock is better than nothing: a message that guesses it spoils its own form and nothing else.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            octets = now.as_nanos().to_be_bytes();
        }
        format!("sluice-{}", hex(&octets))
    }

    fn rest(&self) -> Option<Duration> {
        let until = *self.shared.rest.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }

    fn note_rest(&self, answer: &Answer) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(rest) = answer.rest(Time::from_secs(now)) {
            let until = Instant::now() + rest;
            *self.shared.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        }
    }

    /// How long the kept connection may still be idle; `None` while there is none.
    pub(crate) fn until_idle(&self) -> Option<Duration> {
        let kept = self.kept.as_ref()?;
        Some(self.shared.settings.times.idle.saturating_sub(kept.used().elapsed()))
    }

    /// Closes the kept connection when its time is over.
    pub(crate) fn close_idle(&mut self) {
        if self.until_idle().is_some_and(|left| left.is_zero()) {
            self.kept = None;
        }
    }
}
