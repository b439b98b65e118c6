//! What becomes of an entry after an attempt: settled, waiting again, told of, held.
//!
//! # Order
//! Delivered recipients are closed at once (lazily journalled: a crash delivers them a second time). Failed ones stay
//! open until the notice to the sender is durable. Only then is the entry finished, or put back for its deferred ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sluice_mail::notice::Action;
use sluice_mail::{Handover, Outcome, Status, Time};
use sluice_queue::{ChannelKey, EntryKey, EntryView, Placement, Settled};
use sluice_spool::{Durability, GivesBack};

use crate::acts::Latch;
use crate::core::{Channel, Core, InFlight, Taken};
use crate::event::NoticeEnd;
use crate::handle::NOTICES;
use crate::last_error::LastError;
use crate::notice::{Audience, News, NoticeJob, Told};
use crate::record;
use crate::sites::LARGE_PAUSE;

/// How long a notice waits that the spool would not take.
const NOTICE_RETRY: Duration = Duration::from_secs(30);

/// How long one word about deferred deliveries counts for all that are deferred for the same reason.
const DEFERRALS_TOLD: Duration = Duration::from_secs(60);

/// When what was put off is due again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// By the next step of its schedule.
    Next,
    /// By its schedule, but not sooner than it was, and with no step taken.
    Same,
    /// As if nobody had tried.
    AsBefore,
    /// With another attempt now, where the channel makes attempts by itself.
    AtOnce,
}

/// A notice under way, or waiting to be.
pub(crate) struct PendingNotice {
    /// The entry it is about, which stays leased until this is over; `None` for a notice of delay.
    entry: Option<EntryKey>,
    view: EntryView,
    news: News,
    /// Recipients that wait on when the failed ones are settled.
    open: Vec<u32>,
    pace: Pace,
    /// Whom it is for; there may be another one after it.
    audience: Option<Audience>,
    not_before: Time,
    /// Who waits for the end of the entry.
    latch: Option<Arc<Latch>>,
}

/// Notices that are not under way yet.
#[derive(Default)]
pub(crate) struct WaitingNotices {
    /// For a place among those under way.
    ready: VecDeque<PendingNotice>,
    /// For their time; numbered, since several may have the same.
    later: BTreeMap<(Time, u64), PendingNotice>,
    number: u64,
}

impl WaitingNotices {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.later.len()
    }

    fn put(&mut self, pending: PendingNotice) {
        self.number += 1;
        self.later.insert((pending.not_before, self.number), pending);
    }

    /// The clock was set back: none waits longer than one that is put off now.
    pub(crate) fn no_later_than(&mut self, now: Time) {
        let ahead = self.later.split_off(&(now.plus(NOTICE_RETRY), u64::MAX));
        self.ready.extend(ahead.into_values());
    }

    fn next(&mut self) -> Option<PendingNotice> {
        let next = self.ready.pop_front()?;
        self.ready.give_back();
        Some(next)
    }

    fn advance(&mut self, now: Time) {
        while self.later.first_key_value().is_some_and(|(&(time, _), _)| time <= now) {
            self.ready.extend(self.later.pop_first().map(|(_, pending)| pending));
        }
    }
}

impl Core {
    /// Settles the entries of a delivery by what its worker said of each recipient.
    pub(crate) fn settle(&mut self, delivery: &InFlight, outcomes: Vec<(u32, Outcome)>, now: Time) {
        if let Some(facts) = delivery.record.as_ref().and_then(|record| record.get()) {
            let entry = self.queues.entry(delivery.entry.entry);
            let channel = self.queues.channel_name(self.queues.queue_names(entry.queue).0);
            let message = self.queues.message(entry.message);
            let blocks = record::blocks(message.size, &self.loaded.config);
            record::settled(channel, blocks, facts, &outcomes)
                .for_each(|line| record::write(message.id, &line));
        }
        let (turned, wanted) = (delivery.turned, &delivery.wanted);
        if let Some(run) = turned {
            outcomes.iter().for_each(|(_, outcome)| self.turned_outcome(run, outcome));
        }
        let Some(others) = &delivery.others else {
            return self.settle_entry(delivery.entry, outcomes, wanted, turned.is_some(), now);
        };
        let owners = others.owners.get().map(Vec::as_slice).unwrap_or_default();
        let mut shares: Vec<Vec<(u32, Outcome)>> = vec![Vec::new(); 1 + others.entries.len()];
        for (index, outcome) in outcomes {
            let owner = owners.binary_search_by_key(&index, |&(known, _)| known).map(|at| owners[at].1);
            // A worker speaks only of recipients it was given, and the owner of each was named before.
            if let Some(share) = owner.ok().and_then(|owner| shares.get_mut(owner)) {
                share.push((index, outcome));
            }
        }
        for (taken, share) in delivery.all().zip(shares) {
            self.settle_entry(taken, share, wanted, turned.is_some(), now);
        }
    }

    fn settle_entry(
        &mut self,
        taken: Taken,
        outcomes: Vec<(u32, Outcome)>,
        wanted: &[u32],
        turned: bool,
        now: Time,
    ) {
        let Taken { entry, early } = taken;
        let record = self.queues.entry_mut(entry);
        record.attempts = record.attempts.saturating_add(1);
        let message = record.message;
        let queue = record.queue;
        let id = self.queues.message(message).id;
        let channel = self.queues.queue_names(queue).0;
        let (mut open, mut told, mut delivered) = (Vec::new(), Vec::new(), 0u64);
        let mut failed = Vec::new();
        let (mut reached, mut asked_to_wait) = (false, false);
        if let Some((_, outcome)) =
            outcomes.iter().rev().find(|(_, outcome)| !matches!(outcome, Outcome::Delivered { .. }))
        {
            self.tell_record(entry, outcome);
        }
        for (index, outcome) in outcomes {
            match &outcome {
                Outcome::Delivered { status, text, peer, handover } => {
                    tracing::debug!(%id, recipient = index, %status, text, peer, "delivered");
                    delivered += 1;
                    let action = match handover {
                        Handover::Final => Some(Action::Delivered),
                        Handover::Relayed => Some(Action::Relayed),
                        Handover::PassedOn => None,
                    };
                    if let (Some(action), Ok(_)) = (action, wanted.binary_search(&index)) {
                        told.push(Told { index, action, outcome });
                    }
                }
                Outcome::Deferred { status, text, peer } => {
                    self.tell_deferral(channel, id, index, (*status, text, peer), now);
                    // RFC 3463 subject 4, said by ourselves: no connection, no name, no route.
                    self.errors.note(entry, now, LastError::new(*status, text, peer));
                    reached |= !(status.subject == 4 && peer.is_empty());
                    asked_to_wait |= !peer.is_empty();
                    open.push(index);
                }
                Outcome::Failed { status, text, peer } => {
                    tracing::info!(%id, recipient = index, %status, text, peer, "failed");
                    failed.push(index);
                    told.push(Told { index, action: Action::Failed, outcome });
                }
            }
        }
        if open.is_empty() && failed.is_empty() && delivered == 0 {
            // Nobody said anything of anybody. That is a mistake of ours, and no mistake of ours drops mail.
            return self.hold(entry, "a delivery came back without a word about any recipient", now);
        }
        open.sort_unstable();
        let pace = match (turned, reached || !early) {
            // A release that found nobody at home does not push the schedule out, and neither does a connection that the
            // site has opened: it will open another one.
            (true, _) => Pace::AsBefore,
            // The next attempt may well do better: the other side is there and takes messages (PMDF's code Z).
            (false, _) if delivered > 0 && asked_to_wait => Pace::AtOnce,
            (false, true) => Pace::Next,
            (false, false) => Pace::Same,
        };
        // Those who have failed stay open until the sender's notice is durable.
        let still_open = (open.len() + failed.len()) as u64;
        self.count_settled(entry, Settled { delivered, bounced: 0, open: still_open });
        if told.is_empty() {
            return self.conclude(entry, &open, delivered > 0, pace, now);
        }
        // Recipients that were delivered are closed first, for a notice is not worth a second copy. Where nobody else is left
        // the entry has nothing that could be closed: then a stop in between delivers once more.
        let mut rest: Vec<u32> = open.iter().chain(&failed).copied().collect();
        if delivered > 0 && !rest.is_empty() || !open.is_empty() {
            rest.sort_unstable();
            self.queues.set_open(entry, &rest);
            self.write_state(message, Durability::Lazy, now);
        }
        self.notify(Some(entry), News::Settled(told), open, pace, now);
    }

    /// Says in the log that a delivery was deferred. Of many for one reason it says the first of each minute, and how many
    /// there were.
    fn tell_deferral(
        &mut self,
        channel: ChannelKey,
        id: sluice_spool::EntryId,
        recipient: u32,
        (status, text, peer): (Status, &str, &str),
        now: Time,
    ) {
        let name = self.queues.channel_name(channel);
        let Some(Channel { deferrals, .. }) = self.channels.get_mut(channel.index()) else { return };
        let is_told = deferrals.told.as_ref().is_some_and(|(when, known, from)| {
            (*known, from.as_str()) == (status, peer) && now.since(*when) < DEFERRALS_TOLD
        });
        if is_told {
            deferrals.untold += 1;
            tracing::debug!(channel = %name, %id, recipient, %status, text, peer, "deferred");
            return;
        }
        let untold = std::mem::take(&mut deferrals.untold);
        tracing::info!(channel = %name, %id, recipient, %status, text, peer, others_before = untold, "deferred");
        deferrals.told = Some((now, status, peer.to_owned()));
    }

    /// Nobody's turn any more: the entry is finished, or waits for the recipients that are still open.
    fn conclude(&mut self, entry: EntryKey, open: &[u32], partly: bool, pace: Pace, now: Time) {
        if open.is_empty() {
            return self.finish(entry, now);
        }
        if partly {
            self.queues.set_open(entry, open);
        }
        if self.grant_wish(entry, now) {
            return;
        }
        if self.is_over_age(entry, now) {
            // As before any notice: until it is durable a crash brings the entry back, and then without those who have it.
            self.write_state(self.queues.entry(entry).message, Durability::Lazy, now);
            return self.give_up(entry, now);
        }
        let record = self.queues.entry(entry);
        let (step, due, message) = (record.step, record.due(), record.message);
        let priority = record.priority;
        let (channel, domain) = self.queues.queue_names(record.queue);
        let queue = (&**self.queues.channel_name(channel), &**domain);
        let size = self.queues.message(message).size;
        let policy = self.policy(channel);
        let mut placement =
            policy.map_or(Placement::UntilReleased, |policy| policy.after_failure(priority, step, now));
        // The clock may have been set back meanwhile: no later than it could be by its schedule.
        let due = due.map(|due| {
            let planned = if let Placement::At(at) = placement { at } else { now };
            let longest = policy.map(|policy| now.plus(policy.longest_wait(priority, step)).max(planned));
            longest.map_or(due, |longest| self.not_beyond(due, longest, queue, size, now))
        });
        match (pace, due) {
            (Pace::AtOnce, _) if matches!(placement, Placement::At(_)) => placement = Placement::Ready,
            (Pace::Next | Pace::AtOnce, _) => self.queues.entry_mut(entry).step = step.saturating_add(1),
            (Pace::AsBefore, None) => placement = Placement::UntilReleased,
            (Pace::AsBefore, Some(due)) if due > now => placement = Placement::At(due),
            (Pace::Same, Some(due)) if due > now && matches!(placement, Placement::At(_)) => {
                placement = Placement::At(due);
            }
            _ => {}
        }
        let (channel, domain) = self.queues.queue_names(self.queues.entry(entry).queue);
        let queue = (&**self.queues.channel_name(channel), &**domain);
        let placement = self.within_window(queue, size, placement, LARGE_PAUSE, now);
        self.queues.put_back(entry, placement, now);
        self.write_state(message, Durability::Lazy, now);
    }

    fn finish(&mut self, entry: EntryKey, now: Time) {
        self.end_entry(entry, None, now);
    }

    /// Puts an entry on hold because we cannot go on with it; an operator has to look.
    pub(crate) fn hold(&mut self, entry: EntryKey, why: &str, now: Time) {
        let message = self.queues.entry(entry).message;
        let id = self.queues.message(message).id;
        tracing::error!(%id, why, "held: this message needs an operator");
        self.record_act(entry, "hub", "hold", why);
        self.wishes.remove(&entry);
        self.queues.put_back(entry, Placement::Held, now);
        self.write_state(message, Durability::Sync, now);
    }
}

/// Notices.
impl Core {
    /// Has the sender told. The entry, if it is to be settled by this, must be leased.
    pub(crate) fn notify(
        &mut self,
        entry: Option<EntryKey>,
        news: News,
        open: Vec<u32>,
        pace: Pace,
        now: Time,
    ) {
        self.notify_for(entry, news, open, pace, None, now);
    }

    /// The same, for somebody who waits for the end of the entry.
    pub(crate) fn notify_for(
        &mut self,
        entry: Option<EntryKey>,
        news: News,
        open: Vec<u32>,
        pace: Pace,
        latch: Option<Arc<Latch>>,
        now: Time,
    ) {
        let Some(key) = entry else { return };
        let view = self.queues.view(key);
        self.notices_waiting.put(PendingNotice {
            entry,
            view,
            news,
            open,
            pace,
            audience: None,
            not_before: now,
            latch,
        });
    }

    /// Has the sender told that an entry is late. Nothing waits for it.
    pub(crate) fn notify_delay(&mut self, view: EntryView, give_up: Time, now: Time) {
        let expected = self.expected_of_site(&view.channel, &view.domain, now);
        let news = News::Delayed { give_up, expected };
        let open = Vec::new();
        self.notices_waiting.put(PendingNotice {
            entry: None,
            view,
            news,
            open,
            pace: Pace::Same,
            audience: None,
            not_before: now,
            latch: None,
        });
    }

    /// Hands notices to the desk, as many as have a place.
    pub(crate) fn start_notices(&mut self, now: Time) {
        self.notices_waiting.advance(now);
        while self.notices.len() < NOTICES {
            let Some(mut pending) = self.notices_waiting.next() else { return };
            let number = self.number();
            let policy = self.queues.known_channel(&pending.view.channel).and_then(|key| self.policy(key));
            let copies = match (policy, &pending.news) {
                (None, _) => sluice_config::PostmasterCopies::default(),
                (Some(policy), News::Delayed { .. }) => policy.warn_post,
                (Some(_), news) if news.is_good() => sluice_config::PostmasterCopies::Never,
                (Some(policy), _) => policy.send_post,
            };
            let terms = policy.map(|policy| policy.notice_terms.clone()).unwrap_or_default();
            let audience = *pending.audience.get_or_insert(Audience::first(&terms));
            let job = NoticeJob {
                number,
                entry: pending.view.clone(),
                news: pending.news.clone(),
                now,
                loaded: std::sync::Arc::clone(&self.loaded),
                copies,
                terms,
                audience,
            };
            self.notices.insert(number, pending);
            // The desk ends after the dispatcher; were it gone, the entries would stay leased until the next start.
            let _ = self.desk.send(Box::new(job));
        }
    }

    /// When a notice that had to wait may be tried again. Those that wait for a place are thought of when one ends.
    pub(crate) fn next_notice(&self) -> Option<Time> {
        self.notices_waiting.later.first_key_value().map(|(&(time, _), _)| time)
    }

    /// A notice has been dealt with: now its recipients may be.
    pub(crate) fn notice_ended(&mut self, number: u64, end: NoticeEnd, now: Time) {
        let Some(pending) = self.notices.remove(&number) else { return };
        let id = pending.view.id;
        let next = pending.audience.and_then(Audience::next);
        let settled = match end {
            NoticeEnd::Committed(ticket) => {
                tracing::info!(%id, notice = %ticket.id, "notice to the sender");
                self.accept(&ticket, now);
                true
            }
            NoticeEnd::NotWanted => {
                tracing::debug!(%id, "no notice: the sender does not want to be told");
                true
            }
            NoticeEnd::NobodyToTell if next.is_some() => true,
            NoticeEnd::NobodyToTell => {
                let is_delay = matches!(pending.news, News::Delayed { .. });
                if !is_delay {
                    tracing::warn!(%id, "recipients have failed and there is nobody to tell: null sender, no postmaster copy");
                }
                true
            }
            NoticeEnd::NotNow(why) => {
                tracing::warn!(%id, why, "a notice has to wait");
                self.notices_waiting.put(PendingNotice { not_before: now.plus(NOTICE_RETRY), ..pending });
                return;
            }
            NoticeEnd::NoRoute(why) if pending.news.is_good() => {
                tracing::warn!(%id, why, "no notice of the delivery");
                true
            }
            NoticeEnd::NoRoute(why) | NoticeEnd::Unreadable(why) => {
                if let Some(latch) = &pending.latch {
                    latch.not_returned();
                }
                match pending.entry {
                    Some(entry) => self.hold(entry, &why, now),
                    None => tracing::warn!(%id, why, "no notice of the delay"),
                }
                false
            }
        };
        if settled && next.is_some() {
            self.notices_waiting.put(PendingNotice { audience: next, ..pending });
            return;
        }
        if let (true, Some(entry)) = (settled, pending.entry) {
            let open = pending.open.len() as u64;
            let bounced = self.queues.recipients(entry).saturating_sub(open);
            self.count_settled(entry, Settled { delivered: 0, bounced, open });
            match &pending.latch {
                Some(latch) => {
                    latch.returned();
                    self.end_entry(entry, Some(latch), now);
                }
                None => self.conclude(entry, &pending.open, true, pending.pace, now),
            }
        }
    }
}
