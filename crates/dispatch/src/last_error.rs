//! Why entries were deferred last: the peer's words, kept by entry and written with its state.
//!
//! A peer that is away defers thousands for one reason, so equal words are kept once. What strangers can fill with it is
//! limited twice: a text is cut at [`TEXT_MAX`] octets, and of different reasons there are [`REASONS_MAX`] at most; an
//! entry that is deferred for one more says the class of its status, and that the log has the words.
//!
//! # Not here
//! The bytes (`state`), and what an operator is shown of an entry beside (`details`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sluice_mail::{Status, Time};
use sluice_queue::EntryKey;
use sluice_spool::GivesBack;

/// Longest text that is kept, in octets. A reply of several lines (RFC 5321, section 4.5.3.1.5, has 512 for one) says
/// what is needed in its first ones.
pub(crate) const TEXT_MAX: usize = 512;

/// Longest name of a peer that is kept, in octets: a domain name and an address literal.
pub(crate) const PEER_MAX: usize = 320;

/// Different reasons that are kept. With the longest texts they take some 14 MiB.
const REASONS_MAX: usize = 16_384;

/// Newcomers between two looks through a small table.
const SWEEP_MIN: usize = 64;

/// Stands for the words of a reason too many.
const TOO_MANY: &str = "one of too many different replies to keep; the log has it";

/// Why an attempt was deferred.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LastError {
    /// RFC 3463.
    pub status: Status,
    /// The peer's words, or ours.
    pub text: String,
    /// Who said so; empty when nobody was reached.
    pub peer: String,
}

impl LastError {
    /// With texts no longer than they may be.
    pub(crate) fn new(status: Status, text: &str, peer: &str) -> Self {
        Self { status, text: cut(text, TEXT_MAX), peer: cut(peer, PEER_MAX) }
    }
}

/// The first octets of a text, whole characters only.
fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

/// When an entry was deferred last, and why.
pub type Deferral = (Time, Arc<LastError>);

/// Last errors by entry.
#[derive(Debug)]
pub(crate) struct LastErrors {
    by_entry: HashMap<EntryKey, Deferral>,
    reasons: HashSet<Arc<LastError>>,
    /// Newcomers until the table is looked through for reasons that no entry has any more: as many as it had after the
    /// last time, so that looking costs each of them the same, also when there is no room for them.
    until_sweep: usize,
    reasons_max: usize,
}

impl Default for LastErrors {
    fn default() -> Self {
        Self::with_reasons(REASONS_MAX)
    }
}

impl LastErrors {
    fn with_reasons(reasons_max: usize) -> Self {
        Self { by_entry: HashMap::new(), reasons: HashSet::new(), until_sweep: SWEEP_MIN, reasons_max }
    }

    /// Keeps why an entry was deferred.
    pub(crate) fn note(&mut self, entry: EntryKey, at: Time, error: LastError) {
        let reason = self.shared(error);
        self.by_entry.insert(entry, (at, reason));
    }

    pub(crate) fn of(&self, entry: EntryKey) -> Option<&Deferral> {
        self.by_entry.get(&entry)
    }

    pub(crate) fn remove(&mut self, entry: EntryKey) {
        if self.by_entry.remove(&entry).is_some() {
            self.by_entry.give_back();
            self.sweep_if_few();
        }
    }

    fn shared(&mut self, error: LastError) -> Arc<LastError> {
        if let Some(known) = self.reasons.get(&error) {
            return Arc::clone(known);
        }
        self.until_sweep -= 1;
        if self.until_sweep == 0 {
            self.sweep();
        }
        if self.reasons.len() >= self.reasons_max {
            return self.one_too_many(error.status);
        }
        let reason = Arc::new(error);
        self.reasons.insert(Arc::clone(&reason));
        reason
    }

    /// Lets go the reasons that no entry has any more.
    fn sweep(&mut self) {
        self.reasons.retain(|reason| Arc::strong_count(reason) > 1);
        self.reasons.give_back();
        self.until_sweep = self.reasons.len().max(SWEEP_MIN);
    }

    /// Where there are four times as many reasons as entries, three quarters of them at least are nobody's, and newcomers that
    /// would have them looked through may not come.
    fn sweep_if_few(&mut self) {
        if self.reasons.len() > SWEEP_MIN && self.by_entry.len() < self.reasons.len() / 4 {
            self.sweep();
        }
    }

    /// Of these there are as many as classes, beside the limit.
    fn one_too_many(&mut self, status: Status) -> Arc<LastError> {
        let status = Status::new(status.class, 0, 0);
        let error = LastError { status, text: TOO_MANY.to_owned(), peer: String::new() };
        let reason = self.reasons.get(&error).cloned().unwrap_or_else(|| Arc::new(error));
        self.reasons.insert(Arc::clone(&reason));
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_queue::{NewEntry, NewMessage, Placement, Queues};
    use sluice_spool::{EntryId, Location};

    /// As many entries as asked for.
    fn entries(count: u64) -> Vec<EntryKey> {
        let mut queues = Queues::new();
        let entry = NewEntry {
            channel: "tcp_local",
            domain: "there.example",
            placement: Placement::Ready,
            attempts: 0,
            step: 0,
            noticed: 0,
            priority: sluice_mail::TransferPriority::NORMAL,
            order: sluice_queue::Order::Age,
            recipients: 1,
            open: None,
        };
        let message = |id| NewMessage {
            id: EntryId(id),
            at: Location { segment: 1, offset: 0 },
            arrived: Time(0),
            size: 1,
            priority: sluice_mail::TransferPriority::NORMAL,
        };
        (1..=count)
            .map(|id| {
                let key = queues.insert(message(id), [entry.clone()], Time(0)).expect("an entry");
                queues.entries_of(key).next().expect("its entry")
            })
            .collect()
    }

    fn error(text: &str) -> LastError {
        LastError::new(Status::new(4, 7, 1), text, "mx.example")
    }

    #[test]
    fn equal_reasons_are_kept_once_and_those_of_nobody_go() {
        let mut errors = LastErrors::with_reasons(1000);
        let entries = entries(3);
        errors.note(entries[0], Time(1), error("busy"));
        errors.note(entries[1], Time(2), error("full"));
        errors.note(entries[2], Time(3), error("busy"));
        let kept = |errors: &LastErrors, at: usize| errors.of(entries[at]).expect("an error").clone();
        assert!(Arc::ptr_eq(&kept(&errors, 0).1, &kept(&errors, 2).1));
        assert_eq!((kept(&errors, 2).0, kept(&errors, 1).1.text.as_str()), (Time(3), "full"));
        errors.remove(entries[1]);
        assert!(errors.of(entries[1]).is_none());
        for number in 0..1000 {
            errors.note(entries[0], Time(4), error(&number.to_string()));
        }
        assert!(errors.reasons.len() < 200, "{}", errors.reasons.len());
        assert_eq!(kept(&errors, 0).1.text, "999");
    }

    #[test]
    fn a_reason_too_many_keeps_the_class() {
        let mut errors = LastErrors::with_reasons(100);
        let entries = entries(5000);
        for (number, entry) in entries.iter().enumerate() {
            errors.note(*entry, Time(1), error(&number.to_string()));
        }
        assert!(errors.reasons.len() <= 101, "{}", errors.reasons.len());
        let last = &errors.of(entries[4999]).expect("an error").1;
        assert_eq!((last.status, last.text.as_str()), (Status::NOT_NOW, TOO_MANY));
        // When the others have gone there is room again.
        entries.iter().for_each(|entry| errors.remove(*entry));
        for number in 0..200 {
            errors.note(entries[0], Time(1), error(&number.to_string()));
        }
        assert_eq!(errors.of(entries[0]).expect("an error").1.text, "199");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long =
            LastError::new(Status::NOT_NOW, &"ä".repeat(TEXT_MAX), &format!("x{}", "ä".repeat(PEER_MAX)));
        assert_eq!((long.text.len(), long.peer.len()), (TEXT_MAX, PEER_MAX - 1));
    }
}
