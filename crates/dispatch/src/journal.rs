//! What is written down: states as they change, notes, and checkpoints so that the next start is quick.

use std::time::Duration;

use sluice_mail::Time;
use sluice_queue::{MessageKey, State};
use sluice_spool::{Cut, Done, Durability, EntryId, Location};

use crate::core::Core;
use crate::desk::chain;
use crate::event::Event;
use crate::state::{GroupRef, StateWriter};

/// A checkpoint is written when the journal since the last one is longer: replaying it takes about a second.
const JOURNAL_LARGE: u64 = 64 << 20;
/// After a checkpoint that failed, the next one is tried no sooner.
const RETRY: Duration = Duration::from_secs(60);
/// How often the journal's length is looked at when nothing else happens.
const LOOK: Duration = Duration::from_secs(60);

/// The state of checkpointing.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    is_running: bool,
    /// Wanted whatever the journal's length: once after each start.
    is_wanted: bool,
    not_before: Time,
    next_look: Time,
}

impl Checkpoint {
    pub(crate) const fn starting(now: Time) -> Self {
        Self { is_running: false, is_wanted: true, not_before: now, next_look: now }
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.is_running
    }

    pub(crate) const fn next(&self) -> Time {
        self.next_look
    }
}

/// States of all messages, one after the other in one piece of memory; and the notes.
struct Copy {
    notes: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    rows: Vec<(EntryId, Location, usize)>,
}

impl Copy {
    fn of(core: &Core) -> Self {
        let queues = &core.queues;
        let mut copy = Self {
            notes: core.all_notes(),
            bytes: Vec::new(),
            rows: Vec::with_capacity(queues.messages_total()),
        };
        for (key, message) in queues.messages() {
            let from = copy.bytes.len();
            core.encode(key, &mut copy.bytes);
            copy.rows.push((message.id, message.at, from));
        }
        copy
    }

    fn write(&self, cut: Cut) -> Result<(), String> {
        let ends = self.rows.iter().skip(1).map(|&(_, _, from)| from).chain([self.bytes.len()]);
        let rows = self.rows.iter().zip(ends).map(|(&(id, at, from), to)| (id, at, &self.bytes[from..to]));
        cut.write(rows, &self.notes).map_err(|error| chain(&error))
    }
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
            writer.group(&GroupRef {
                channel: queues.channel_name(channel),
                domain,
                held: entry.state() == State::Held,
                deferred: entry.state() == State::Deferred,
                recipients: entry.recipients,
                attempts: entry.attempts,
                step: entry.step,
                noticed: entry.noticed,
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

    /// Begins a checkpoint when one is called for. The copy is made here, the writing on a thread of its own.
    pub(crate) fn checkpoint_if_large(&mut self, now: Time) {
        self.checkpoint.next_look = now.plus(LOOK);
        let is_called_for =
            self.checkpoint.is_wanted || self.spool.journal_bytes_since_checkpoint() > JOURNAL_LARGE;
        if !is_called_for
            || self.checkpoint.is_running
            || now < self.checkpoint.not_before
            || self.stopping.is_some()
        {
            return;
        }
        let cut = match self.spool.cut() {
            Ok(cut) => cut,
            Err(error) => return self.checkpointed(Err(chain(&error)), now),
        };
        self.checkpoint.is_running = true;
        self.reckon_moments(now);
        let (copy, inbox) = (Copy::of(self), self.inbox.clone());
        let work = move || {
            let result = copy.write(cut);
            // Fails only when the dispatcher has gone.
            let _ = inbox.send(Event::Checkpointed(result));
        };
        if let Err(error) = self.aside.begin("checkpoint".to_owned(), Box::new(work)) {
            self.checkpointed(Err(format!("no thread to write it on: {error}")), now);
        }
    }

    /// A checkpoint is over.
    pub(crate) fn checkpointed(&mut self, result: Result<(), String>, now: Time) {
        self.checkpoint.is_running = false;
        match result {
            Ok(()) => {
                self.checkpoint.is_wanted = false;
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
            Ok(cut) => Copy::of(self).write(cut),
            Err(error) => Err(chain(&error)),
        };
        if let Err(why) = written {
            tracing::warn!(why, "no checkpoint at the end; the next start replays the journal");
        }
    }
}
