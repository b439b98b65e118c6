//! What must be true: every message that was acknowledged, and where each of its recipients stands as far as an outsider can
//! know. The ledger lives through crashes; the index of each life is held against it.
//!
//! It knows what was sent, what peers took, what operators were promised. It does not know how the dispatcher decides; where
//! several things would be right it accepts each of them.

mod deaths;
mod notices;
mod patience;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluice_config::Windows;
use sluice_mail::notice::Action;
use sluice_mail::{Envelope, Notify, Time};
use sluice_queue::State;
use sluice_spool::EntryId;

pub(super) use deaths::{Back, End};

use super::hub::Hub;
use super::scenery::{BACKOFF_MIN, CHANGING, CHANNELS};
use crate::core::Core;
use crate::desk::open_recipients;
use deaths::Deaths;

/// Less is no jump of the clock, and so long nothing is returned for its age after one forward (docs/internals/faults.md).
const JUMP: Duration = Duration::from_secs(60);
const AGES_WAIT: Duration = Duration::from_secs(3600);
/// What is older is returned.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Nothing but a release makes it due.
pub(super) const NEVER: Time = Time(u64::MAX);

/// Whether a recipient was delivered, as far as the hub knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Open,
    /// The hub was told, and a crash may make it forget that.
    Volatile,
    Durable,
}

/// What an operator has done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    No,
    /// Asked for, and perhaps done.
    Asked,
    /// Answered: it is so, whatever comes.
    Promised,
}

#[derive(Debug, Clone)]
pub(super) struct Recipient {
    pub(super) address: String,
    pub(super) channel: String,
    pub(super) domain: String,
    /// What its age counts from; and it was too old when somebody set the clock, so that it may be on its way back.
    arrived: Time,
    was_old: bool,
    /// How often a peer took it.
    pub(super) delivered: u32,
    pub(super) closed: Closed,
    /// It has failed for good in this life, and its sender is to be told.
    pub(super) is_failing: bool,
    /// Why it has failed, in the words of whoever said so.
    pub(super) words: String,
    /// Since when, by a clock that nobody sets, it could have been tried and was not: from the first look on.
    waits_since: Option<Duration>,
    /// Its sender was told of its failure: ever, and in this life.
    pub(super) is_told: bool,
    pub(super) is_told_now: bool,
    /// It is gone without a word, which is right for a notice.
    pub(super) is_dropped: bool,
    /// Returned or deleted by an operator; by return.
    pub(super) gone: Word,
    pub(super) is_returned: bool,
    pub(super) held: Word,
    /// The hub has put it on hold by itself, which a crash may take back.
    is_set_aside: bool,
    deaths: Deaths,
    /// The last act upon it, whose answer counts.
    pub(super) act: usize,
    /// A plugin has it.
    pub(super) is_out: bool,
    /// When its sender wants to be told.
    pub(super) notify: Notify,
    /// It was delivered, which its sender is to be told before the hub is done with it; and that was so when the hub crashed.
    pub(super) is_passing: bool,
    pub(super) was_passing: bool,
    /// Its sender was told that it was delivered.
    pub(super) is_success_told: bool,
    /// Its sender's date for it, which no request moves; and what is left of it as far as the ledger knows.
    promised: Time,
    pub(super) date: Time,
    /// No attempt before; and what a crash takes that back to.
    pub(super) not_before: Time,
    pub(super) not_before_durable: Time,
    /// Its entry waits for the notice about another recipient, and is put back after that.
    pub(super) waits_for_notice: bool,
    /// Attempts: at least and at most; and what a crash takes the former back to.
    pub(super) attempts: (u32, u32),
    pub(super) attempts_durable: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its commit has no answer yet, or was refused: it may be there after a crash.
    Unanswered,
    /// The client has its 250.
    Acknowledged,
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) standing: Standing,
    /// It was seen in the index, in whatever life.
    pub(super) is_seen: bool,
    pub(super) is_notice: bool,
    pub(super) envelope: Envelope,
    pub(super) content: Vec<u8>,
    pub(super) recipients: Vec<Recipient>,
}

/// What a plugin has said of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Delivered,
    /// Delivered, and it is for others to tell the sender.
    PassedOn,
    /// Put off by the peer, which is there.
    Deferred,
    /// Put off because nobody answers.
    Unreachable,
    /// Nothing was said of it, and it was tried.
    Nothing,
    Failed,
    Untried,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) messages: BTreeMap<EntryId, Message>,
    /// Something was taken in that may not be durable; and since when the spool's writer knows.
    pub(super) is_volatile: bool,
    pub(super) volatile_since: Option<Duration>,
    /// The time of the last look, and before when nothing is returned for its age.
    now: Time,
    ages_wait: Time,
    has_set_aside: bool,
    /// What is new was there before this life.
    is_starting: bool,
}

impl Ledger {
    /// A message whose commit is under way.
    pub(super) fn begin(
        &mut self,
        id: EntryId,
        envelope: Envelope,
        content: Vec<u8>,
        core: &Core,
        now: Time,
    ) {
        self.now = now;
        let held = if envelope.held { Word::Promised } else { Word::No };
        let message = Message::new(envelope, content, held, core, now);
        let before = self.messages.insert(id, message);
        assert!(before.is_none_or(|old| old.standing == Standing::Unanswered), "the id {id} is used twice");
    }

    fn recipients(&mut self) -> impl Iterator<Item = &mut Recipient> {
        self.messages.values_mut().flat_map(|message| &mut message.recipients)
    }

    /// Everything that was said to the dispatcher until now is on the disk.
    pub(super) fn all_is_durable(&mut self) {
        self.is_volatile = false;
        self.volatile_since = None;
        for recipient in self.recipients() {
            if recipient.closed == Closed::Volatile {
                recipient.closed = Closed::Durable;
            }
            if !recipient.waits_for_notice {
                recipient.not_before_durable = recipient.not_before;
            }
            if !recipient.is_failing && !recipient.is_passing {
                recipient.attempts_durable = recipient.attempts.0;
                if !recipient.waits_for_notice {
                    recipient.deaths.is_durable();
                }
            }
            recipient.is_set_aside = false;
        }
    }

    /// What lives in memory only is gone.
    pub(super) fn crash(&mut self) {
        self.is_volatile = false;
        self.volatile_since = None;
        for recipient in self.recipients() {
            recipient.is_out = false;
            recipient.is_failing = false;
            recipient.was_passing |= std::mem::take(&mut recipient.is_passing);
            recipient.waits_for_notice = false;
            recipient.is_told_now = false;
            recipient.not_before = recipient.not_before.min(recipient.not_before_durable);
            recipient.attempts.0 = recipient.attempts_durable;
            recipient.deaths.crash();
            if std::mem::take(&mut recipient.is_set_aside) {
                recipient.held = Word::Asked;
            }
        }
    }

    /// A new life has begun: what may be so or otherwise is settled by what it has found.
    pub(super) fn restart(&mut self, core: &Core) {
        self.is_starting = true;
        // A hub that starts knows of no jump before.
        self.ages_wait = Time(0);
        let places = self.places(core);
        self.is_starting = false;
        // What an earlier life has told, it may not have settled.
        self.recipients().for_each(|recipient| recipient.is_told_now = false);
        for (id, message) in &mut self.messages {
            let Some(found) = places.get(id) else {
                message.recipients.iter_mut().for_each(|recipient| recipient.recovered(None));
                continue;
            };
            message.is_seen = true;
            for (recipient, state) in message.recipients.iter_mut().zip(found) {
                recipient.recovered(*state);
            }
        }
    }

    /// Where the open recipients of each message stand in the index. What is new there must be a notice about something that
    /// is known.
    fn places(&mut self, core: &Core) -> BTreeMap<EntryId, Vec<Option<State>>> {
        let mut places = BTreeMap::new();
        for (key, found) in core.queues.messages() {
            if !self.messages.contains_key(&found.id) {
                self.adopt(found.id, found.at, core);
            }
            let message = &self.messages[&found.id];
            let mut states = vec![None; message.recipients.len()];
            for entry in core.queues.entries_of(key) {
                let (channel, domain) = core.queues.queue_names(core.queues.entry(entry).queue);
                let channel = core.queues.channel_name(channel);
                for (index, _) in open_recipients(&message.envelope, channel, domain, core.queues.open(entry))
                {
                    let place: &mut Option<State> = &mut states[index as usize];
                    assert!(place.is_none(), "recipient {index} of {} stands in two entries", found.id);
                    *place = Some(core.queues.state(entry));
                }
            }
            places.insert(found.id, states);
        }
        places
    }

    /// Holds the index against what must be in it.
    pub(super) fn check(&mut self, hub: &Hub, now: Time) {
        self.now = now;
        let places = self.places(&hub.core);
        for (id, message) in &mut self.messages {
            let found = places.get(id);
            message.is_seen |= found.is_some();
            if message.standing == Standing::Unanswered && !message.is_seen {
                continue;
            }
            let is_notice = message.is_notice;
            let is_old = now.since(message.envelope.arrived) >= AGE_MAX;
            for (index, recipient) in message.recipients.iter_mut().enumerate() {
                let what = || format!("recipient {index} of {id}");
                match found.and_then(|states| states[index]) {
                    Some(state) => recipient.check_present(state, &what),
                    None => {
                        self.is_volatile |= recipient.passes();
                        recipient.check_absent(is_notice, is_old || recipient.was_old, &what);
                    }
                }
            }
        }
    }

    /// A plugin is offered a delivery.
    pub(super) fn offered(&mut self, channel: &str, delivery: &sluice_host::Delivery) {
        let id: EntryId = delivery.id.parse().expect("ids of ours");
        let what = format!("{id} on {channel}");
        let Some(message) = self.messages.get_mut(&id) else { panic!("{what}: nobody has sent it") };
        let mut content = Vec::new();
        delivery.content.pieces(&mut |piece| content.extend_from_slice(piece));
        assert!(content == message.content, "{what}: its content has changed");
        assert_eq!(delivery.sender, message.envelope.sender, "{what}");
        assert!(!delivery.recipients.is_empty(), "{what}: a delivery to nobody");
        let deaths = || delivery.recipients.iter().map(|one| message.recipients[one.index as usize].deaths);
        let (must_be, may_be) = (deaths().any(|one| one.least > 0), deaths().any(|one| one.most > 0));
        assert!(!must_be || delivery.suspect, "{what}: processes have died with it, and nobody says so");
        assert!(may_be || !delivery.suspect, "{what}: no process has died with it");
        for given in &delivery.recipients {
            let recipient = &mut message.recipients[given.index as usize];
            let what = format!("{what}, {}", given.address);
            assert_eq!(recipient.address, given.address, "{what}");
            assert_eq!(recipient.channel, channel, "{what}");
            assert!(!recipient.is_out, "{what}: offered twice at once");
            assert_eq!(recipient.closed, Closed::Open, "{what}: offered again after it was delivered");
            assert!(!recipient.is_failing, "{what}: offered again after it had failed");
            assert!(!recipient.is_passing, "{what}: offered again after it was delivered");
            recipient.was_passing = false;
            assert_ne!(recipient.gone, Word::Promised, "{what}: offered after an operator took it away");
            assert_ne!(recipient.held, Word::Promised, "{what}: offered while it is on hold");
            if recipient.domain == *delivery.domain {
                let (least, most) = recipient.attempts;
                let attempts = delivery.attempts;
                assert!(
                    (least..=most).contains(&attempts),
                    "{what}: {attempts} attempts, not {least} to {most}"
                );
                if least < most {
                    recipient.attempts = (attempts, attempts);
                    recipient.attempts_durable = attempts;
                }
            }
            recipient.is_out = true;
            recipient.waits_since = None;
        }
    }

    /// A peer has it.
    pub(super) fn delivered(&mut self, id: EntryId, index: u32) {
        self.recipient(id, index).delivered += 1;
    }

    pub(super) fn recipient(&mut self, id: EntryId, index: u32) -> &mut Recipient {
        let message = self.messages.get_mut(&id).expect("it was offered");
        &mut message.recipients[index as usize]
    }

    /// The dispatcher has taken in what a plugin said of one delivery.
    pub(super) fn settled(&mut self, back: &Back, core: &Core, now: Time) {
        if self.ended(back) {
            return;
        }
        let (id, said) = (back.id, back.said.as_slice());
        let partly = said.iter().any(|(_, said)| matches!(said, Said::Delivered | Said::PassedOn));
        let asked_to_wait = said.iter().any(|(_, said)| *said == Said::Deferred);
        let mut tells = said.iter().any(|(_, said)| *said == Said::Failed);
        for &(index, said) in said {
            tells |= said == Said::Delivered && self.recipient(id, index).notify.wants(Action::Delivered);
        }
        for &(index, said) in said {
            let recipient = self.recipient(id, index);
            recipient.waits_since = None;
            // So it is where an operator wants it returned.
            recipient.waits_for_notice = tells || recipient.gone == Word::Asked;
            if said != Said::Untried {
                recipient.attempts = (recipient.attempts.0 + 1, recipient.attempts.1 + 1);
            }
            // Then it is for others to tell.
            recipient.is_success_told |= said == Said::PassedOn;
            match said {
                // Whoever shares its entry with somebody whose sender is being told is done with when that one is.
                Said::Delivered | Said::PassedOn if tells => recipient.is_passing = true,
                Said::Delivered | Said::PassedOn => recipient.closed = Closed::Volatile,
                Said::Failed => recipient.is_failing = true,
                Said::Unreachable => recipient.not_before = now.min(recipient.not_before),
                // Those that share its entry may have been delivered, and then the next attempt is at once, where the peer has said
                // that it may do better.
                Said::Deferred | Said::Nothing if partly && asked_to_wait => recipient.not_before = now,
                Said::Deferred | Said::Nothing => {
                    let later = now.plus(BACKOFF_MIN);
                    recipient.not_before = by_itself(core, (&recipient.channel, &recipient.domain), later);
                }
                Said::Untried => {}
            }
        }
        self.is_volatile = true;
    }

    /// Somebody has asked for what matches: it may go now.
    pub(super) fn excuse(&mut self, wanted: impl Fn(EntryId, &Recipient) -> bool) {
        for (&id, message) in &mut self.messages {
            for recipient in message.recipients.iter_mut().filter(|recipient| wanted(id, recipient)) {
                recipient.not_before = Time(0);
            }
        }
    }

    /// Somebody has set the clock. What was due is due; what was to be due later is no further away than a pause, if it was set
    /// back; what waits for a date goes on waiting for it.
    pub(super) fn clock_set(&mut self, core: &Core, before: Time, now: Time) {
        let ages_count = before >= self.ages_wait;
        if before.plus(JUMP) < now {
            self.ages_wait = now.plus(AGES_WAIT);
        } else if now.plus(JUMP) < before {
            self.ages_wait = Time(0);
        }
        for recipient in self.recipients() {
            recipient.was_old |= ages_count && recipient.arrived.plus(AGE_MAX) <= before;
            let place = (recipient.channel.as_str(), recipient.domain.as_str());
            let soonest = in_window(core, place, now.plus(BACKOFF_MIN));
            for time in [&mut recipient.not_before, &mut recipient.not_before_durable] {
                *time = match *time {
                    due if due <= before => Time(0),
                    NEVER => NEVER,
                    due => due.min(soonest),
                };
            }
            if recipient.date <= before {
                recipient.date = Time(0);
            }
        }
    }

    /// Another configuration is in force: what waited for a release may wait for nothing any more.
    pub(super) fn reloaded(&mut self, core: &Core, now: Time) {
        for recipient in self.recipients().filter(|recipient| recipient.channel == CHANGING) {
            let place = (CHANGING, recipient.domain.as_str());
            recipient.not_before = recipient.not_before.min(by_itself(core, place, now));
        }
    }

    /// Everybody who was promised something has got it.
    pub(super) fn close(&self) {
        for (id, message) in &self.messages {
            if message.standing == Standing::Unanswered && !message.is_seen {
                continue;
            }
            for recipient in &message.recipients {
                let is_settled = recipient.delivered > 0
                    || recipient.is_told
                    || recipient.is_dropped
                    || recipient.gone != Word::No;
                assert!(is_settled, "{} of {id} was lost: {recipient:?}", recipient.address);
                assert!(
                    !recipient.is_passing,
                    "nobody was told that {} of {id} was delivered",
                    recipient.address
                );
            }
        }
    }
}

/// When mail that is due at that time goes without anybody asking.
pub(super) fn by_itself(core: &Core, (channel, domain): (&str, &str), due: Time) -> Time {
    let policy = core.queues.known_channel(channel).and_then(|key| core.policy(key));
    let policy = policy.unwrap_or_else(|| panic!("{channel} is one of {CHANNELS:?}"));
    if policy.schedule != crate::policy::Schedule::Immediate {
        return NEVER;
    }
    in_window(core, (channel, domain), due)
}

/// That time, or when the next window opens.
fn in_window(core: &Core, (channel, domain): (&str, &str), due: Time) -> Time {
    windows_of(core, (channel, domain)).map_or(due, |windows| windows.opens_after(due).unwrap_or(NEVER))
}

/// The windows that mail for a place waits for.
fn windows_of<'a>(core: &'a Core, (channel, domain): (&str, &str)) -> Option<&'a Arc<Windows>> {
    let policy = core.queues.known_channel(channel).and_then(|key| core.policy(key));
    let site = core.loaded.config.sites.owner(channel, domain);
    let windows = site.and_then(|site| site.windows.as_ref());
    windows.or(policy.and_then(|policy| policy.windows.as_ref()))
}

impl Message {
    fn new(envelope: Envelope, content: Vec<u8>, held: Word, core: &Core, now: Time) -> Self {
        let date = envelope.deferred_until.unwrap_or(Time(0));
        let recipients = envelope.recipients.iter().map(|recipient| {
            let not_before =
                by_itself(core, (&recipient.channel, &recipient.domain), envelope.arrived.min(now).max(date));
            Recipient {
                address: recipient.address.clone(),
                channel: recipient.channel.clone(),
                domain: recipient.domain.clone(),
                arrived: envelope.arrived.max(date),
                was_old: false,
                delivered: 0,
                closed: Closed::Open,
                is_failing: false,
                words: String::new(),
                waits_since: None,
                is_told: false,
                is_told_now: false,
                is_dropped: false,
                gone: Word::No,
                is_returned: false,
                held,
                is_set_aside: false,
                deaths: Deaths::default(),
                act: 0,
                is_out: false,
                notify: recipient.wishes.notify,
                is_passing: false,
                was_passing: false,
                is_success_told: false,
                promised: date,
                date,
                not_before,
                not_before_durable: not_before,
                waits_for_notice: false,
                attempts: (0, 0),
                attempts_durable: 0,
            }
        });
        let recipients = recipients.collect();
        let (standing, is_seen) = (Standing::Unanswered, false);
        Self { standing, is_seen, is_notice: false, envelope, content, recipients }
    }
}

impl Recipient {
    /// What the disk has of it counts where two things would have been right.
    fn recovered(&mut self, state: Option<State>) {
        if self.closed == Closed::Volatile || std::mem::take(&mut self.was_passing) {
            self.closed = if state.is_some() { Closed::Open } else { Closed::Durable };
        }
        if self.gone == Word::Asked && state.is_some() {
            self.gone = Word::No;
        }
        if self.held == Word::Asked {
            self.held = if state == Some(State::Held) { Word::Promised } else { Word::No };
        }
    }

    /// It is in no queue any more. Whether that is news, which a crash may take back.
    fn passes(&mut self) -> bool {
        let waits_for_word = self.notify.wants(Action::Delivered) && !self.is_success_told;
        if !self.is_passing || waits_for_word {
            return false;
        }
        (self.is_passing, self.closed) = (false, Closed::Volatile);
        true
    }

    fn check_present(&mut self, state: State, what: &dyn Fn() -> String) {
        self.waits_for_notice &= state == State::Leased;
        let what = || format!("{}: {self:?}", what());
        assert_eq!(self.closed, Closed::Open, "{} waits though it was delivered", what());
        assert!(!self.is_told_now, "{} waits though its sender was told that it has failed", what());
        assert_ne!(self.gone, Word::Promised, "{} is back after an operator took it away", what());
        match self.held {
            Word::No => assert_ne!(state, State::Held, "{} is on hold and nobody wanted that", what()),
            Word::Asked => {}
            Word::Promised => assert_eq!(state, State::Held, "{} is on hold no more", what()),
        }
    }

    fn check_absent(&mut self, is_notice: bool, is_old: bool, what: &dyn Fn() -> String) {
        let is_nobody_told = is_notice || !self.notify.wants(Action::Failed);
        if is_nobody_told && (self.is_failing || is_old) {
            self.is_dropped = true;
        }
        let is_settled = self.closed != Closed::Open
            || self.is_passing
            || self.is_told
            || self.is_dropped
            || self.gone != Word::No;
        assert!(is_settled, "{} was lost: {self:?}", what());
        if self.gone == Word::Promised && self.is_returned && !is_nobody_told {
            assert!(self.is_told || self.delivered > 0, "{} was returned and nobody told: {self:?}", what());
        }
    }
}
