//! What operators do to entries: hold, release, return, delete, retry.
//!
//! An act is about entries, each with all of its open recipients. It is on the disk before it is answered; a return is
//! answered when the notice to the sender is durable and the entry's end too. Acts come in portions, so that one about a
//! million entries leaves time for everything else between.
//!
//! # What is in delivery
//! Nobody can take it from its worker. A hold, a return or a delete is noted and carried out if it comes back deferred or
//! untried; if it is delivered or fails, there is nothing left to act upon. Such a note is in memory only: a hub that
//! stops before knows nothing of it, and the count in the answer tells what it is about.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice_mail::{Outcome, Status, Time};
use sluice_queue::{EntryKey, Finished, Placement, State, Then};
use sluice_spool::{Done, Durability, SealError};

use crate::choose::{CHUNK, Chosen};
use crate::core::Core;
use crate::desk::chain;
use crate::event::{Answer, Event};
use crate::handle::{Busy, Handle, ask};
use crate::notice::News;
use crate::record;
use crate::settle::Pace;

/// Octets of a reason, which a notice has to carry in one line.
pub const ACT_REASON_MAX: usize = 500;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Neither time nor release moves it any more, until it is released.
    Hold,
    /// Lifts a hold: it waits as if it had just come in.
    Release,
    /// The sender is told that it could not be delivered, and it is gone.
    Return,
    /// It is gone, and nobody is told.
    Delete,
    /// It is due now.
    Retry,
}

impl Act {
    /// As commands name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Return => "return",
            Self::Delete => "delete",
            Self::Retry => "retry",
        }
    }
}

/// An act, who wants it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// What is done.
    pub act: Act,
    /// Who wants it, for the log.
    pub by: String,
    /// Why, for the log, and for the sender of what is returned.
    pub reason: String,
}

/// How many entries had which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Done.
    pub done: u64,
    /// It was so before: held already, not on hold, due already, waiting for a sender's date.
    pub unchanged: u64,
    /// In delivery: noted, see the module. For a retry: being tried.
    pub active: u64,
    /// On hold, which a retry does not lift.
    pub held: u64,
    /// Of those done by a retry: due, and not tried, because the channel is stopped or the domain suspended.
    pub closed: u64,
    /// Gone meanwhile.
    pub gone: u64,
    /// To be returned, and on hold instead, because no notice could be made; the log says why.
    pub failed: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.unchanged += other.unchanged;
        self.active += other.active;
        self.held += other.held;
        self.closed += other.closed;
        self.gone += other.gone;
        self.failed += other.failed;
    }
}

/// Why an act has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// The dispatcher cannot take note of it; the tally says what was done before.
    #[error("the dispatcher is busy or stopping; {} entries were done", .0.done)]
    Busy(Tally),
    /// It is in force, but a restart now might not know of it.
    #[error("{} entries were done, and not all of that is on the disk yet: {why}", .tally.done)]
    NotDurable {
        /// What was done.
        tally: Tally,
        /// What the disk said.
        why: String,
    },
}

/// What became of a portion; with what the disk said, where it would not take all of it.
pub(crate) type Portion = Result<Tally, (Tally, String)>;

/// Answers when the last one who holds it lets it go: when everything of an act is on the disk.
pub(crate) struct Latch(Mutex<Inner>);

struct Inner {
    tally: Tally,
    error: Option<String>,
    done: Option<Answer<Portion>>,
}

impl Latch {
    fn new(done: Answer<Portion>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner { tally: Tally::default(), error: None, done: Some(done) })))
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        if let Ok(mut inner) = self.0.lock() {
            change(&mut inner.tally);
        }
    }

    /// A callback for the spool that keeps the answer waiting.
    fn written(self: &Arc<Self>) -> Done {
        let latch = Arc::clone(self);
        Box::new(move |result: Result<(), SealError>| {
            if let (Err(error), Ok(mut inner)) = (result, latch.0.lock()) {
                inner.error = Some(chain(&error));
            }
        })
    }

    /// The notice of a return is durable.
    pub(crate) fn returned(&self) {
        self.count(|tally| tally.done += 1);
    }

    /// There can be no notice.
    pub(crate) fn not_returned(&self) {
        self.count(|tally| tally.failed += 1);
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        if let Ok(inner) = self.0.get_mut()
            && let Some(done) = inner.done.take()
        {
            done(match inner.error.take() {
                None => Ok(inner.tally),
                Some(error) => Err((inner.tally, error)),
            });
        }
    }
}

/// Acts on entries that are in delivery.
pub(crate) type Wishes = HashMap<EntryKey, Arc<Acting>>;

impl Core {
    /// Acts on a portion of entries.
    pub(crate) fn act(&mut self, acting: &Arc<Acting>, chosen: &[Chosen], done: Answer<Portion>, now: Time) {
        let latch = Latch::new(done);
        for one in chosen {
            if self.queues.is_entry_of(one.key, one.id) {
                self.act_on(acting, one.key, &latch, now);
            } else {
                latch.count(|tally| tally.gone += 1);
            }
        }
    }

    fn act_on(&mut self, acting: &Arc<Acting>, key: EntryKey, latch: &Arc<Latch>, now: Time) {
        let state = self.queues.state(key);
        let act = acting.act;
        if state == State::Leased {
            if matches!(act, Act::Hold | Act::Return | Act::Delete) {
                self.log(acting, key, "noted, it is in delivery");
                self.wishes.insert(key, Arc::clone(acting));
            }
            return latch.count(|tally| tally.active += 1);
        }
        match (act, state) {
            (Act::Hold, State::Held) => latch.count(|tally| tally.unchanged += 1),
            (Act::Retry, State::Held) => latch.count(|tally| tally.held += 1),
            (Act::Retry, State::Deferred | State::Ready) | (Act::Release, _) if state != State::Held => {
                latch.count(|tally| tally.unchanged += 1);
            }
            (Act::Hold, _) => self.move_to(acting, key, Placement::Held, latch, now),
            (Act::Release, _) => {
                let placement = self.after_hold(key, now);
                self.move_to(acting, key, placement, latch, now);
            }
            (Act::Retry, _) => {
                let (channel, _) = self.queues.queue_names(self.queues.entry(key).queue);
                let is_closed =
                    self.is_stopped(channel) || self.queues.is_suspended(self.queues.entry(key).queue);
                self.wake_channel(channel);
                latch.count(|tally| tally.closed += u64::from(is_closed));
                self.move_to(acting, key, Placement::Ready, latch, now);
            }
            (Act::Delete, _) => {
                self.queues.take(key, now);
                latch.count(|tally| tally.done += 1);
                self.delete(acting, key, Some(latch), now);
            }
            (Act::Return, _) => {
                if matches!(state, State::Held | State::Deferred) {
                    self.returning.insert(key, state);
                }
                self.queues.take(key, now);
                self.give_back(acting, key, Some(Arc::clone(latch)), now);
            }
        }
    }

    fn move_to(&mut self, acting: &Acting, key: EntryKey, to: Placement, latch: &Arc<Latch>, now: Time) {
        self.log(acting, key, "done");
        self.record_operator(acting, key);
        self.queues.put_back(key, to, now);
        latch.count(|tally| tally.done += 1);
        let message = self.queues.entry(key).message;
        self.write_state_for(message, Durability::Sync, Some(latch.written()));
    }

    /// Where an entry waits whose hold is lifted: as new mail does, for its window too.
    fn after_hold(&self, key: EntryKey, now: Time) -> Placement {
        let entry = self.queues.entry(key);
        let message = self.queues.message(entry.message);
        let (channel, domain) = self.queues.queue_names(entry.queue);
        let policy = self.policy(channel);
        let placement = match policy.map(|policy| policy.after_deferral(message.priority, message.size)) {
            Some(Then::Ready) => Placement::Ready,
            Some(Then::UntilReleased) | None => Placement::UntilReleased,
        };
        let queue = (&**self.queues.channel_name(channel), &**domain);
        self.within_window(queue, message.size, placement, Duration::ZERO, now)
    }

    /// Ends a leased entry without a word to anybody.
    fn delete(&mut self, acting: &Acting, key: EntryKey, latch: Option<&Arc<Latch>>, now: Time) {
        self.log(acting, key, "done");
        self.record_operator(acting, key);
        self.end_entry(key, latch, now);
    }

    /// Ends a leased entry; the latch, if there is one, waits until that is durable.
    pub(crate) fn end_entry(&mut self, key: EntryKey, latch: Option<&Arc<Latch>>, now: Time) {
        let message = self.queues.entry(key).message;
        self.forget_entry(key);
        let durability = if latch.is_some() { Durability::Sync } else { Durability::Lazy };
        let done = latch.map(Latch::written);
        match self.queues.finish(key, now) {
            Finished::Whole { id, at } => self.spool.remove(id, at, durability, done),
            Finished::InPart => self.write_state_for(message, durability, done),
        }
    }

    /// Has the sender told that an operator returns a leased entry.
    fn give_back(&mut self, acting: &Acting, key: EntryKey, latch: Option<Arc<Latch>>, now: Time) {
        self.log(acting, key, "the sender is being told");
        self.record_operator(acting, key);
        // RFC 3463 X.7.0: other security or policy. It is a person's decision, and the address may well be good.
        let status = Status { class: 5, subject: 7, detail: 0 };
        let text = match acting.reason.as_str() {
            "" => "returned by the administrator of the mail system".to_owned(),
            reason => reason.to_owned(),
        };
        let outcome = Outcome::Failed { status, text, peer: String::new() };
        self.notify_for(Some(key), News::AllFailed(outcome), Vec::new(), Pace::Same, latch, now);
    }

    /// Carries out what was noted of an entry while it was in delivery. True when there was something; the entry must be leased.
    pub(crate) fn grant_wish(&mut self, key: EntryKey, now: Time) -> bool {
        let Some(acting) = self.wishes.remove(&key) else { return false };
        match acting.act {
            Act::Hold => {
                self.log(&acting, key, "done");
                self.record_operator(&acting, key);
                self.queues.put_back(key, Placement::Held, now);
                self.write_state_for(self.queues.entry(key).message, Durability::Sync, None);
            }
            Act::Delete => self.delete(&acting, key, None, now),
            Act::Return => {
                // The notice may take its time, and until it is there a crash brings the entry back: with its attempts.
                self.write_state(self.queues.entry(key).message, Durability::Lazy, now);
                self.give_back(&acting, key, None, now);
            }
            Act::Release | Act::Retry => return false,
        }
        true
    }

    /// What is kept by an entry's number, when the entry goes.
    pub(crate) fn forget_entry(&mut self, key: EntryKey) {
        self.wishes.remove(&key);
        self.returning.remove(&key);
        self.errors.remove(key);
        self.crashes.forget(key);
    }

    /// A record of an act in the mail log, where the channel has `logging`.
    pub(crate) fn record_act(&self, key: EntryKey, by: impl fmt::Display, act: &str, why: &str) {
        let entry = self.queues.entry(key);
        let (channel, domain) = self.queues.queue_names(entry.queue);
        let (channel, config) = (self.queues.channel_name(channel), &self.loaded.config);
        if config.channels.by_name(channel).is_some_and(|channel| channel.settings.logging) {
            let message = self.queues.message(entry.message);
            let blocks = record::blocks(message.size, config);
            record::write(message.id, &record::acted(channel, blocks, domain, by, act, why));
        }
    }

    fn record_operator(&self, acting: &Acting, key: EntryKey) {
        self.record_act(key, format_args!("operator:{}", acting.by), acting.act.name(), &acting.reason);
    }

    fn log(&self, acting: &Acting, key: EntryKey, what: &str) {
        let view = self.queues.view(key);
        let (act, by, reason) = (acting.act.name(), &acting.by, &acting.reason);
        tracing::info!(
            id = %view.id, channel = %view.channel, domain = %view.domain, act, by, reason, "an operator's act: {what}"
        );
    }
}

impl Handle {
    /// Acts on entries, a portion at a time. Returns when all of it is on the disk: for threads that may wait. `acted` is
    /// told after each portion how many were done, and of how many.
    ///
    /// # Errors
    /// [`ActError`]; what was done stays done.
    pub fn act(
        &self,
        acting: Acting,
        chosen: &[Chosen],
        acted: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Tally, ActError> {
        let acting = Arc::new(acting);
        let mut tally = Tally::default();
        let mut seen = 0;
        for chunk in chosen.chunks(CHUNK) {
            let (acting, portion) = (Arc::clone(&acting), chunk.to_vec());
            let answer = ask(|done| self.tell(Event::Act { acting, chosen: portion, done }));
            match answer {
                Ok(Ok(part)) => tally.add(part),
                Ok(Err((part, why))) => {
                    tally.add(part);
                    return Err(ActError::NotDurable { tally, why });
                }
                Err(Busy) => return Err(ActError::Busy(tally)),
            }
            seen += chunk.len() as u64;
            if !acted(seen, chosen.len() as u64) {
                break;
            }
        }
        Ok(tally)
    }
}
