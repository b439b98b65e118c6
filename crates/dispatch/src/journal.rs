//! What is written down: states as they change, notes, and checkpoints so that the next start is quick.
//!
//! # A checkpoint
//! It costs by all that waits, and the loop has other things to do. So its thread cuts the journal, which waits for the disk; the
//! loop copies the states, some at a time between its rounds ([`COPIED`]); and a thread writes the copy. What changes between
//! two steps is in the journal behind the cut, whichever of the two states was copied ([`Cut::write`]).

use std::time::Duration;

use sluice_mail::Time;
use sluice_queue::{MessageKey, State};
use sluice_spool::{CheckpointError, Cut, Done, Durability, EntryId, Location, brief_list};

use crate::core::Core;
use crate::desk::chain;
use crate::event::Event;
use crate::state::{GroupRef, StateWriter};

/// A checkpoint is written when the journal since the last one is longer: replaying it takes about a second.
const JOURNAL_LARGE: u64 = 64 << 20;
/// After a checkpoint that failed, the next one is tried no sooner.
const RETRY: Duration = Duration::from_secs(60);
/// A checkpoint that names so many more messages than twice those that wait is superseded when the hub has had time: its file,
/// and the journals behind it, are the room of mail that has gone.
const GONE_MANY: usize = 10_000;
/// How often the journal's length is looked at when nothing else happens.
const LOOK: Duration = Duration::from_secs(60);

/// About what the state of a message takes.
const USUAL_STATE: usize = 80;
/// Messages that one round of the loop copies: about a millisecond. In the simulation few, so that much happens between two steps.
pub(crate) const COPIED: u32 = if cfg!(test) { 3 } else { 1024 };

/// The state of checkpointing.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    is_running: bool,
    /// Wanted whatever the journal's length: once after each start.
    is_wanted: bool,
    not_before: Time,
    next_look: Time,
    /// Messages in the one that is being written.
    writing: usize,
    /// Messages in the two that are kept, the older first; what was there at the start stands for those of an earlier run.
    kept: [usize; 2],
    /// When they are superseded, if still so many of their messages have gone.
    supersede_at: Option<Time>,
}

impl Checkpoint {
    pub(crate) const fn starting(now: Time) -> Self {
        Self {
            is_running: false,
            is_wanted: true,
            not_before: now,
            next_look: now,
            writing: 0,
            kept: [0; 2],
            supersede_at: None,
        }
    }

    /// No other is called for, for a rehearsal.
    #[cfg(test)]
    pub(crate) const fn is_the_last(&mut self) {
        self.not_before = Time(u64::MAX);
    }

    /// So many messages were found at the start.
    pub(crate) const fn found(&mut self, messages: usize) {
        self.kept = [messages; 2];
    }

    const fn begin(&mut self, messages: usize) {
        self.is_running = true;
        self.writing = messages;
    }

    const fn written(&mut self) {
        self.is_wanted = false;
        self.supersede_at = None;
        self.kept = [self.kept[1], self.writing];
    }

    /// Whether the kept ones are much larger than need be, and have been for a while.
    fn are_too_large(&mut self, messages: usize, now: Time) -> bool {
        if self.kept.iter().all(|kept| *kept <= messages * 2 + GONE_MANY) {
            self.supersede_at = None;
            return false;
        }
        *self.supersede_at.get_or_insert(now.plus(LOOK)) <= now
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.is_running
    }

    pub(crate) const fn next(&self) -> Time {
        self.next_look
    }

    /// The clock was set back.
    pub(crate) fn look_at(&mut self, time: Time) {
        self.next_look = self.next_look.min(time);
        self.not_before = self.not_before.min(time);
        self.supersede_at = None;
    }
}

/// States of all messages, one after the other in one piece of memory; and the notes.
struct Copy {
    notes: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    rows: Vec<(EntryId, Location, usize)>,
}

impl Copy {
    /// The notes, and room for the states.
    fn begun(core: &Core) -> Self {
        let messages = core.queues.messages_total();
        Self {
            notes: core.all_notes(),
            bytes: brief_list(messages * USUAL_STATE),
            rows: brief_list(messages),
        }
    }

    /// All at once, for when nobody else waits.
    fn whole(core: &Core) -> Self {
        let mut copy = Self::begun(core);
        copy.take(core, 0, u32::MAX, core.queues.message_places());
        copy
    }

    /// Takes what is in so many places from this one on, before the last. Where to go on, if there are more.
    fn take(&mut self, core: &Core, from: u32, places: u32, end: u32) -> Option<u32> {
        core.queues.walk_messages(from, places, end, |key, message| {
            let at = self.bytes.len();
            core.encode(key, &mut self.bytes);
            self.rows.push((message.id, message.at, at));
        })
    }

    fn write(&self, cut: Cut) -> Result<(), String> {
        let ends = self.rows.iter().skip(1).map(|&(_, _, from)| from).chain([self.bytes.len()]);
        let rows = self.rows.iter().zip(ends).map(|(&(id, at, from), to)| (id, at, &self.bytes[from..to]));
        cut.write(rows, &self.notes).map_err(|error| chain(&error))
    }
}

/// A copy that is being made.
pub(crate) struct Copying {
    cut: Cut,
    copy: Copy,
    /// Where to go on.
    from: u32,
    /// Messages behind this place have come after the cut, and need not be in the copy.
    end: u32,
}

impl Core {
    /// Appends the state of a message.
    fn encode(&self, key: MessageKey, out: &mut Vec<u8>) {
        let queues = &self.queues;
        let message = queues.message(key);
        let mut writer = StateWriter::new(out, message.priority, message.arrived);
        for entry_key in queues.entries_of(key) {
            let entry = queues.entry(entry_key);
            let (channel, domain) = queues.queue_names(entry.queue);
            let state = self.returning.get(&entry_key).copied().unwrap_or(entry.state());
            writer.group(&GroupRef {
                channel: queues.channel_name(channel),
                domain,
                held: state == State::Held,
                deferred: state == State::Deferred,
                recipients: entry.recipients,
                attempts: entry.attempts,
                step: entry.step,
                noticed: entry.noticed,
                crashes: self.crashes.of(entry_key),
                due: entry.due(),
                open: queues.open(entry_key),
                error: self.errors.of(entry_key).map(|(at, error)| (*at, &**error)),
            });
        }
    }

    /// Writes the state of a message to the journal.
    pub(crate) fn write_state(&self, key: MessageKey, durability: Durability, _now: Time) {
        self.write_state_for(key, durability, None);
    }

    /// The same, for somebody who waits until it is written.
    pub(crate) fn write_state_for(&self, key: MessageKey, durability: Durability, done: Option<Done>) {
        let message = self.queues.message(key);
        let mut bytes = Vec::with_capacity(96);
        self.encode(key, &mut bytes);
        self.spool.set_state(message.id, message.at, bytes, durability, done);
    }

    /// Begins a checkpoint when one is called for: the journal is cut, on a thread of its own.
    pub(crate) fn checkpoint_if_large(&mut self, now: Time) {
        self.checkpoint.next_look = now.plus(LOOK);
        let is_called_for = self.checkpoint.is_wanted
            || self.checkpoint.are_too_large(self.queues.messages_total(), now)
            || self.spool.journal_bytes_since_checkpoint() > JOURNAL_LARGE;
        if !is_called_for
            || self.checkpoint.is_running
            || now < self.checkpoint.not_before
            || self.stopping.is_some()
        {
            return;
        }
        self.checkpoint.begin(self.queues.messages_total());
        let (spool, inbox) = (self.spool.clone(), self.inbox.clone());
        let cut = move || {
            // Fails only when the dispatcher has gone.
            let _ = inbox.send(Event::Cut(spool.cut()));
        };
        self.begin_aside(Box::new(cut), now);
    }

    fn begin_aside(&mut self, work: Box<dyn FnOnce() + Send>, now: Time) {
        if let Err(error) = self.aside.begin("checkpoint".to_owned(), work) {
            self.checkpointed(Err(format!("no thread for it: {error}")), now);
        }
    }

    /// The journal has been cut.
    pub(crate) fn begin_copy(&mut self, cut: Result<Cut, CheckpointError>, now: Time) {
        match cut {
            Err(error) => self.checkpointed(Err(chain(&error)), now),
            // There will be a last one.
            Ok(_) if self.stopping.is_some() => self.checkpoint.is_running = false,
            Ok(cut) => {
                self.reckon_moments(now);
                let (copy, end) = (Copy::begun(self), self.queues.message_places());
                self.copying = Some(Box::new(Copying { cut, copy, from: 0, end }));
            }
        }
    }

    /// One step of the copy. When it is whole, it is written, on a thread of its own.
    pub(crate) fn copy_on(&mut self, now: Time) {
        let Some(mut copying) = self.copying.take() else { return };
        match copying.copy.take(self, copying.from, COPIED, copying.end) {
            Some(from) => {
                copying.from = from;
                self.copying = Some(copying);
            }
            None => {
                let inbox = self.inbox.clone();
                let write = move || {
                    let Copying { cut, copy, .. } = *copying;
                    // Fails only when the dispatcher has gone.
                    let _ = inbox.send(Event::Checkpointed(copy.write(cut)));
                };
                self.begin_aside(Box::new(write), now);
            }
        }
    }

    /// A copy that is being made is not needed any more: there will be a last one.
    pub(crate) fn drop_copy(&mut self) {
        if self.copying.take().is_some() {
            self.checkpoint.is_running = false;
        }
    }

    /// A checkpoint is over.
    pub(crate) fn checkpointed(&mut self, result: Result<(), String>, now: Time) {
        self.checkpoint.is_running = false;
        match result {
            Ok(()) => {
                self.checkpoint.written();
                tracing::debug!("checkpoint written");
            }
            Err(why) => {
                tracing::warn!(why, "no checkpoint; the journal grows until the next one");
                self.checkpoint.not_before = now.plus(RETRY);
            }
        }
    }

    /// The last checkpoint, on this thread. While another is still being
    /// written there is none: the journal has what that one has not.
    pub(crate) fn last_checkpoint(&self) {
        let written = match self.spool.cut() {
            Ok(cut) => Copy::whole(self).write(cut),
            Err(error) => Err(chain(&error)),
        };
        if let Err(why) = written {
            tracing::warn!(why, "no checkpoint at the end; the next start replays the journal");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_of_mail_that_has_gone_are_superseded_one_after_the_other() {
        let mut now = Time(1_790_000_000_000);
        let mut checkpoint = Checkpoint::starting(now);
        checkpoint.found(1_000_000);
        checkpoint.begin(1_000_000);
        checkpoint.written();
        assert!(!checkpoint.are_too_large(600_000, now), "more than half of it waits");
        assert!(!checkpoint.are_too_large(5, now), "it may go on shrinking");
        for _ in 0..2 {
            assert!(!checkpoint.are_too_large(5, now));
            now = now.plus(LOOK);
            assert!(checkpoint.are_too_large(5, now));
            assert!(checkpoint.are_too_large(5, now), "one that has failed is tried again");
            checkpoint.begin(5);
            checkpoint.written();
        }
        now = now.plus(LOOK);
        assert!(
            !checkpoint.are_too_large(5, now) && !checkpoint.are_too_large(5, now.plus(LOOK)),
            "both are small"
        );
    }
}
