//! Messages with which a plugin's process died: how often, and what becomes of them.
//!
//! The instance tells which deliveries the process had in hand, and whether there was but one. One that was not alone may be as innocent as
//! the others, so it is counted and tried again, alone (`Delivery::suspect`): the next death has one suspect. A message that
//! has been in hand three times, and the last time alone, is put on hold, so that its channel can go on.
//!
//! # Not here
//! The process (`isolate`), and its rests.

use std::collections::HashMap;
use std::sync::Arc;

use sluice_mail::{Outcome, Status, Time};
use sluice_queue::EntryKey;
use sluice_spool::{Durability, GivesBack};

use crate::core::{Core, InFlight};
use crate::last_error::LastError;

/// So many deaths, and a message is put on hold.
const DEATHS_MAX: u8 = 3;

/// How many processes have died with an entry in hand. Most entries have none and are not here.
#[derive(Debug, Default)]
pub(crate) struct Crashes(HashMap<EntryKey, u8>);

impl Crashes {
    pub(crate) fn of(&self, entry: EntryKey) -> u8 {
        if self.0.is_empty() { 0 } else { self.0.get(&entry).copied().unwrap_or(0) }
    }

    pub(crate) fn restore(&mut self, entry: EntryKey, crashes: u8) {
        if crashes > 0 {
            self.0.insert(entry, crashes);
        }
    }

    fn count(&mut self, entry: EntryKey) -> u8 {
        let count = self.0.entry(entry).or_default();
        *count = count.saturating_add(1);
        *count
    }

    pub(crate) fn forget(&mut self, entry: EntryKey) {
        if !self.0.is_empty() {
            self.0.remove(&entry);
            self.0.give_back();
        }
    }
}

impl Core {
    /// A process died with this delivery in hand.
    pub(crate) fn crashed(
        &mut self,
        delivery: &InFlight,
        mut outcomes: Vec<(u32, Outcome)>,
        unsettled: Vec<u32>,
        (alone, how): (bool, &Arc<str>),
        now: Time,
    ) {
        let status = Status { class: 4, subject: 3, detail: 0 };
        let text = format!("the channel's process {how} while it had this message");
        let mut most = 0;
        for taken in delivery.all() {
            most = most.max(self.crashes.count(taken.entry));
            self.errors.note(taken.entry, now, LastError::new(status, &text, ""));
        }
        if !outcomes.is_empty() {
            // Some recipients were settled before; the others wait, and the count is written with them.
            let deferred =
                |index| (index, Outcome::Deferred { status, text: text.clone(), peer: String::new() });
            outcomes.extend(unsettled.into_iter().map(deferred));
            return self.settle(delivery, outcomes, now);
        }
        if most >= DEATHS_MAX && alone {
            let why = format!("{most} processes of the channel died with it in hand; the last one {how}");
            for taken in delivery.all() {
                self.errors.note(taken.entry, now, LastError::new(status, &why, ""));
            }
            return self.hold_all(delivery, &why, now);
        }
        for taken in delivery.all() {
            let entry = self.queues.entry_mut(taken.entry);
            entry.attempts = entry.attempts.saturating_add(1);
        }
        self.put_back_untried(delivery, now);
        for taken in delivery.all() {
            // A wish may have ended it.
            if self.crashes.of(taken.entry) > 0 {
                let message = self.queues.entry(taken.entry).message;
                self.write_state(message, Durability::Lazy, now);
            }
        }
    }
}
