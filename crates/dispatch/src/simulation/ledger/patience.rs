//! How long mail waits at most: where everybody is well, whatever may go by itself is tried within a time that does not depend on the
//! clock of the wall, and on who sets it.
//!
//! # Not here
//! That nothing is tried before its time (`world::checks`).

use std::time::Duration;

use sluice_mail::Time;

use super::super::scenery::{BACKOFF_MAX, SERVICES};
use super::{Closed, Ledger, NEVER, Recipient, Word, by_itself, windows_of};
use crate::core::Core;

/// For what is due, until it is looked at and has its turn.
const TURN: Duration = Duration::from_secs(1800);

impl Recipient {
    /// It is there, and nothing but its time keeps it from being tried.
    fn waits(&self, now: Time) -> bool {
        let is_open = self.closed == Closed::Open && !self.is_failing && !self.is_passing && !self.is_dropped;
        let is_free = self.held == Word::No && self.gone == Word::No && !self.is_out;
        is_open && is_free && !self.is_told && self.promised <= now
    }
}

impl Ledger {
    /// Looks at what waits, while everybody is well and nothing is closed. `jumps`: how often somebody has set the clock meanwhile, each of
    /// which may let a wait begin anew.
    pub(in super::super) fn check_patience(&mut self, core: &Core, jumps: u32, now: Time, steady: Duration) {
        for (id, message) in &mut self.messages {
            // What is less urgent than the rest waits for the next service (docs/concepts/priorities.md).
            let is_patient = message.envelope.wishes.priority.is_some_and(|priority| priority.number() < 0);
            for recipient in message.recipients.iter_mut() {
                let place = (recipient.channel.as_str(), recipient.domain.as_str());
                if !message.is_seen || !recipient.waits(now) || windows_of(core, place).is_some() {
                    recipient.waits_since = None;
                    continue;
                }
                let goes_by_service = is_patient || by_itself(core, place, now) == NEVER;
                let longest = if goes_by_service { SERVICES } else { BACKOFF_MAX };
                let since = *recipient.waits_since.get_or_insert(steady);
                assert!(
                    steady - since <= longest * (1 + jumps) + TURN,
                    "{} of {id} is not tried again for {:?}: {recipient:?}",
                    recipient.address,
                    steady - since
                );
            }
        }
    }
}
