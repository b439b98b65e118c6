//! Everything that is known of one message's entries.

use sluice_mail::Time;
use sluice_queue::{EntryKey, EntryView};
use sluice_spool::EntryId;

use crate::core::Core;
use crate::event::Event;
use crate::handle::{Busy, Handle, ask};
use crate::last_error::Deferral;
use crate::policy::Schedule;

/// Everything about an entry, short of what only the envelope knows.
#[derive(Debug, Clone)]
pub struct Details {
    /// The entry.
    pub view: EntryView,
    /// When it is given up, by the channel's `notices` of now; `None` when the channel has none.
    pub expires: Option<Time>,
    /// How many of the ages at which its sender is told of the delay have passed.
    pub notices_sent: u8,
    /// When it was deferred last, and why.
    pub error: Option<Deferral>,
    /// What keeps it back: `channel NAME is stopped`, `example.com is suspended`.
    pub closed: Vec<String>,
    /// An act that is carried out if it comes back from its delivery.
    pub noted: Option<&'static str>,
    /// The plugin that would carry it.
    pub plugin: Option<String>,
    /// How its channel starts; `None` when no configuration has it.
    pub schedule: Option<Schedule>,
    /// The host that the channel always connects to (`daemon`).
    pub fixed_peer: Option<String>,
}

impl Core {
    /// All entries of a message, ordered by channel and domain.
    pub(crate) fn details(&self, id: EntryId) -> Vec<Details> {
        let Some(message) = self.queues.find_message(id) else { return Vec::new() };
        let mut all: Vec<Details> = self.queues.entries_of(message).map(|key| self.details_of(key)).collect();
        all.sort_by(|a, b| {
            (&a.view.channel, &a.view.domain, &a.view.open).cmp(&(
                &b.view.channel,
                &b.view.domain,
                &b.view.open,
            ))
        });
        all
    }

    fn details_of(&self, key: EntryKey) -> Details {
        let view = self.queues.view(key);
        let entry = self.queues.entry(key);
        let (channel, _) = self.queues.queue_names(entry.queue);
        let policy = self.policy(channel);
        let mut closed = Vec::new();
        if self.is_stopped(channel) {
            closed.push(format!("channel {} is stopped", view.channel));
        }
        closed.extend(self.closed.suspension_of(&view.domain).map(|one| format!("{one} is suspended")));
        Details {
            expires: self.ages(key).last().map(|&age| view.arrived.plus(age)),
            notices_sent: entry.noticed,
            error: self.errors.of(key).cloned(),
            closed,
            noted: self.wishes.get(&key).map(|acting| acting.act.name()),
            plugin: policy.and_then(|policy| Some(policy.instance.as_ref()?.plugin.clone())),
            schedule: policy.map(|policy| policy.schedule),
            fixed_peer: policy.and_then(|policy| policy.fixed_peer.clone()),
            view,
        }
    }
}

impl Handle {
    /// Everything about the entries of a message; none when it is not in the queue.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn show(&self, id: EntryId) -> Result<Vec<Details>, Busy> {
        ask(|done| self.tell(Event::Details { id, done }))
    }
}
