//! Age limits: a warning at each of the channel's `notices` ages, and the end at the last.
//!
//! A *patrol* looks at every entry, at each `RETURN_INTERVAL`, some thousand at a time so that the loop stays quick.
//! A site may have ages of its own (`sites`). Ages count wherever an entry waits: ready, delayed, in a channel that nobody runs or that no configuration has any
//! more (which goes by the local channel's ages). What is on hold is left alone, for it waits for a person. What is
//! under way is looked at when it comes back.

use std::borrow::Cow;
use std::time::Duration;

use sluice_config::PerPriority;
use sluice_mail::{Outcome, Status, Time};
use sluice_queue::{Entry, EntryKey, Message, State};

use crate::core::Core;
use crate::notice::News;
use crate::policy::by_priority;
use crate::settle::Pace;

/// Entries looked at in one step of the loop: well under a millisecond.
const STEP: u32 = 4096;
/// Patrols are not closer than this, whatever the configuration says.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Where the patrol is.
#[derive(Debug)]
pub(crate) struct Patrol {
    /// Next place to look at; `None` between patrols.
    cursor: Option<u32>,
    /// When the next step is.
    next: Time,
}

impl Patrol {
    /// The first patrol is soon: much may have grown old while the hub was down.
    pub(crate) const fn starting(now: Time) -> Self {
        Self { cursor: None, next: now }
    }

    pub(crate) const fn next(&self) -> Time {
        self.next
    }

    /// The clock was set back.
    pub(crate) fn no_later_than(&mut self, time: Time) {
        self.next = self.next.min(time);
    }
}

/// What an entry's age calls for.
enum Verdict {
    Young,
    /// So many ages have passed, more than were acted upon.
    Late(u8),
    Over,
}

impl Core {
    /// One step of the patrol, when it is time.
    pub(crate) fn walk_patrol(&mut self, now: Time) {
        if now < self.patrol.next || self.stopping.is_some() {
            return;
        }
        let mut late = Vec::new();
        let mut over = Vec::new();
        let from = self.patrol.cursor.unwrap_or(0);
        let cursor = self.queues.walk(from, STEP, |key, entry, message| {
            if matches!(entry.state(), State::Held | State::Leased) {
                return;
            }
            match self.verdict(entry, &message, now) {
                Verdict::Young => {}
                Verdict::Late(passed) => late.push((key, passed)),
                Verdict::Over => over.push(key),
            }
        });
        self.patrol.cursor = cursor;
        if cursor.is_none() {
            self.patrol.next = now.plus(self.loaded.config.options.return_interval.max(INTERVAL_MIN));
        }
        for (key, passed) in late {
            let entry = self.queues.entry_mut(key);
            // Counted before it is sent: a warning that is lost does no harm, one a minute would.
            entry.noticed = passed;
            let message = entry.message;
            let arrived = self.queues.message(message).arrived;
            let ages = self.ages_for(self.queues.entry(key));
            let give_up = arrived.plus(ages.last().copied().unwrap_or_default());
            self.notify_delay(self.queues.view(key), give_up, now);
            self.write_state(message, sluice_spool::Durability::Lazy, now);
        }
        for key in over {
            self.queues.take(key, now);
            self.give_up(key, now);
        }
    }

    /// Whether the entry has reached the last of its ages.
    pub(crate) fn is_over_age(&self, key: EntryKey, now: Time) -> bool {
        let entry = self.queues.entry(key);
        matches!(self.verdict(entry, &self.queues.message(entry.message), now), Verdict::Over)
    }

    /// All open recipients of a leased entry have failed: it has waited too long.
    pub(crate) fn give_up(&mut self, key: EntryKey, now: Time) {
        let message = self.queues.message(self.queues.entry(key).message);
        let hours = now.since(message.arrived).as_secs() / 3600;
        tracing::info!(id = %message.id, hours, "given up: the last of its notices ages has passed");
        // RFC 3463 X.4.7: delivery time expired. Class 4: the address may well be good.
        let status = Status { class: 4, subject: 4, detail: 7 };
        let text = format!("could not be delivered within {}", in_words(now.since(message.arrived)));
        let outcome = Outcome::Failed { status, text, peer: String::new() };
        self.notify(Some(key), News::AllFailed(outcome), Vec::new(), Pace::Same, now);
    }

    fn verdict(&self, entry: &Entry, message: &Message, now: Time) -> Verdict {
        if !self.jumps.ages_count(now) {
            return Verdict::Young;
        }
        let ages = self.ages_for(entry);
        let age = now.since(message.arrived);
        let passed = ages.iter().take_while(|&&limit| limit <= age).count();
        match u8::try_from(passed).unwrap_or(u8::MAX) {
            _ if passed > 0 && passed == ages.len() => Verdict::Over,
            passed if passed > entry.noticed => Verdict::Late(passed),
            _ => Verdict::Young,
        }
    }

    pub(crate) fn ages(&self, key: EntryKey) -> Cow<'_, [Duration]> {
        self.ages_for(self.queues.entry(key))
    }

    fn ages_for(&self, entry: &Entry) -> Cow<'_, [Duration]> {
        let (channel, _) = self.queues.queue_names(entry.queue);
        let ages: &PerPriority<Vec<Duration>> = match self.policy(channel) {
            Some(policy) => &policy.notices,
            None => &self.loaded.config.channels.local().settings.notices,
        };
        self.ages_of_site(entry.queue, by_priority::<Vec<Duration>>(ages, entry.priority.class()))
    }
}

/// A duration for a reader of mail.
fn in_words(age: Duration) -> String {
    let hours = age.as_secs() / 3600;
    match (hours / 24, hours) {
        (0, 1) => "1 hour".to_owned(),
        (0, hours) => format!("{hours} hours"),
        (1, _) => "1 day".to_owned(),
        (days, _) => format!("{days} days"),
    }
}
