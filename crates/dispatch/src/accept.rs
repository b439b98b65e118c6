//! Mail that comes in: new from the front door, and old from the spool at start-up.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sluice_mail::{Envelope, Time, TransferPriority};
use sluice_queue::{ChannelKey, EntryKey, MessageKey, NewEntry, NewMessage, Order, Placement, State, Then};
use sluice_spool::{Durability, Envelopes, Live};

use crate::core::Core;
use crate::desk;
use crate::event::Ticket;
use crate::state::{Group, MessageState};
use crate::ticket::ticket;

/// What puts entries on hold as they come.
#[derive(Clone, Copy)]
enum HeldBy {
    /// `holdlimit`.
    Limit,
    /// The channel is `hold`, or one of its kind.
    Channel,
}

impl Core {
    /// Queues a message that has just been made durable.
    pub(crate) fn accept(&mut self, ticket: &Ticket, now: Time) {
        let placed = self.place(ticket, now);
        if let Some((message, _)) = placed.filter(|_| !ticket.hold_reason.is_empty()) {
            let entries = self.queues.entries_of(message);
            entries.for_each(|key| self.record_act(key, "hub", "hold", &ticket.hold_reason));
        }
        if let Some((message, Some(why))) = placed {
            let reason = match why {
                HeldBy::Limit => {
                    tracing::warn!(id = %ticket.id, "held: more recipients than the channel's holdlimit");
                    "more recipients than holdlimit"
                }
                HeldBy::Channel => {
                    tracing::info!(id = %ticket.id, "held: its channel holds what comes");
                    "its channel holds what comes"
                }
            };
            let held = self.queues.entries_of(message).filter(|&key| self.queues.state(key) == State::Held);
            held.for_each(|key| self.record_act(key, "hub", "hold", reason));
            self.write_state(message, Durability::Lazy, now);
        }
        tracing::debug!(id = %ticket.id, size = ticket.size, "queued");
    }

    /// Puts a message without state where its envelope and the configuration say. With its number comes what held any of
    /// it.
    fn place(&mut self, ticket: &Ticket, now: Time) -> Option<(MessageKey, Option<HeldBy>)> {
        let mut held_by = None;
        let mut placements = Vec::with_capacity(ticket.parts.len());
        let mut service: Vec<ChannelKey> = Vec::new();
        for part in &ticket.parts {
            let key = self.channel(&part.channel);
            let mut priority = ticket.priority;
            let placement = match self.policy(key) {
                // No configuration has it: it waits, and shows as such.
                None => Placement::UntilReleased,
                Some(policy) => {
                    let on_channel = ticket.parts.iter().filter(|other| other.channel == part.channel);
                    let count: u32 = on_channel.map(|other| other.recipients).sum();
                    if policy.hold_limit.is_some_and(|limit| count > limit) {
                        held_by = Some(HeldBy::Limit);
                        Placement::Held
                    } else if policy.holds {
                        held_by.get_or_insert(HeldBy::Channel);
                        Placement::Held
                    } else {
                        let (placement, urgency) = match policy.at_enqueue(ticket) {
                            // The date came while the message did: what else it has to wait for, it waits for.
                            (Placement::Deferred { until, then: Then::Ready }, urgency) if until <= now => {
                                (Placement::Ready, urgency)
                            }
                            enqueued => enqueued,
                        };
                        let queue = (part.channel.as_str(), part.domain.as_str());
                        let placement =
                            self.within_window(queue, ticket.size, placement, Duration::ZERO, now);
                        priority = urgency;
                        if policy.service_all
                            && !matches!(placement, Placement::UntilReleased | Placement::Deferred { .. })
                            && !service.contains(&key)
                        {
                            service.push(key);
                        }
                        placement
                    }
                }
            };
            placements.push((if ticket.held { Placement::Held } else { placement }, priority));
        }
        let orders: Vec<Order> =
            ticket.parts.iter().map(|part| self.order_of(&part.channel, &part.domain)).collect();
        let parts = ticket.parts.iter().zip(&placements).zip(orders);
        let entries = parts.map(|((part, &(placement, priority)), order)| NewEntry {
            channel: &part.channel,
            domain: &part.domain,
            placement,
            attempts: 0,
            step: 0,
            noticed: 0,
            priority,
            order,
            recipients: u16::try_from(part.recipients).unwrap_or(u16::MAX),
            open: part.open.as_deref(),
        });
        let Ticket { id, at, size, arrived, priority, .. } = *ticket;
        let message = self.queues.insert(NewMessage { id, at, arrived, size, priority }, entries, now)?;
        if !ticket.held {
            for key in service {
                // `serviceall`: the job that this message starts takes whatever the channel has.
                let mut queues = self.queues.queues_of_channel(key);
                self.keep_open_windows(&mut queues, now);
                self.queues.make_due(&queues, now);
            }
        }
        Some((message, held_by))
    }

    /// Takes back what the spool has found: in the order in which it was accepted, more or less.
    pub(crate) fn recover(&mut self, mut entries: Vec<Live>, now: Time) {
        // What nobody has said anything about is the newest: it came behind the last checkpoint, and is read in the order of its place.
        entries.sort_unstable_by_key(|live| match live.state {
            Some(_) => (false, live.id.0),
            None => (true, u64::from(live.at.segment) << 32 | u64::from(live.at.offset)),
        });
        let (mut with_state, mut without, mut damaged) = (0u64, 0u64, 0u64);
        let spool = self.spool.clone();
        let mut envelopes = spool.envelopes();
        for live in entries {
            match live.state.as_deref().map(MessageState::decode) {
                Some(Ok(state)) => {
                    self.restore(&live, &state, now);
                    with_state += 1;
                }
                unknown => {
                    let trouble = unknown.and_then(Result::err);
                    if let Some(error) = &trouble {
                        tracing::error!(id = %live.id, %error, "held: its queue state cannot be read, all recipients are open again");
                        damaged += 1;
                    } else {
                        without += 1;
                    }
                    self.restore_from_envelope(&live, &mut envelopes, trouble.is_some(), now);
                }
            }
        }
        self.checkpoint.found(self.queues.messages_total());
        tracing::info!(with_state, without, damaged, "queue recovered from the spool");
    }

    fn restore(&mut self, live: &Live, state: &MessageState, now: Time) {
        for group in &state.groups {
            self.channel(&group.channel);
        }
        // A recipient that is in two groups comes of no writer of ours; the first one counts.
        let mut seen: HashMap<(&str, &str), Option<HashSet<u32>>> = HashMap::new();
        let mut unique: Vec<(&Group, TransferPriority, Placement, Order)> =
            Vec::with_capacity(state.groups.len());
        for group in &state.groups {
            let is_new = state.groups.len() == 1
                || match (seen.entry((&group.channel, &group.domain)), &group.open) {
                    (Entry::Vacant(place), open) => {
                        place.insert(open.as_ref().map(|open| open.iter().copied().collect()));
                        true
                    }
                    (Entry::Occupied(mut place), Some(open)) => match place.get_mut() {
                        Some(others) if open.iter().all(|index| !others.contains(index)) => {
                            others.extend(open);
                            true
                        }
                        _ => false,
                    },
                    (Entry::Occupied(_), None) => false,
                };
            if is_new {
                let policy = self.queues.known_channel(&group.channel).and_then(|key| self.policy(key));
                let (priority, then) = policy.map_or((state.priority, Then::UntilReleased), |policy| {
                    let (priority, _) = policy.urgency(state.priority, live.body_len);
                    (priority, policy.after_deferral(state.priority, live.body_len))
                });
                let queue = (&*group.channel, &*group.domain);
                let then = self.after_window(queue, live.body_len, then);
                let due = group.due.map(|due| match policy {
                    Some(policy) if !group.deferred => {
                        // A clock that was ahead when it was planned, and is right now.
                        let longest = now.plus(policy.longest_wait(priority, group.step));
                        self.not_beyond(due, longest, queue, live.body_len, now)
                    }
                    _ => due,
                });
                let placement = match (group.held, due) {
                    (true, _) => Placement::Held,
                    (false, Some(until)) if group.deferred && (until > now || then != Then::Ready) => {
                        Placement::Deferred { until, then }
                    }
                    (false, Some(due)) => Placement::At(due),
                    (false, None) => Placement::UntilReleased,
                };
                // What has become due while no hub ran waits for the window, as it would have.
                let placement = self.within_window(queue, live.body_len, placement, Duration::ZERO, now);
                let order = self.order_of(&group.channel, &group.domain);
                unique.push((group, priority, placement, order));
            }
        }
        let entries = unique.iter().map(|&(group, priority, placement, order)| NewEntry {
            channel: &group.channel,
            domain: &group.domain,
            placement,
            priority,
            order,
            recipients: group.recipients,
            attempts: group.attempts,
            step: group.step,
            noticed: group.noticed,
            open: group.open.as_deref(),
        });
        let (arrived, priority) = (state.arrived, state.priority);
        let message = NewMessage { id: live.id, at: live.at, arrived, size: live.body_len, priority };
        match self.queues.insert(message, entries, now) {
            Some(message) if unique.iter().any(|(group, ..)| group.error.is_some()) => {
                self.restore_errors(message, unique.iter().map(|&(group, ..)| group));
            }
            Some(_) => {}
            // Nothing is open: it was about to be removed.
            None => self.spool.remove(live.id, live.at, Durability::Lazy, None),
        }
    }

    /// Gives the entries of a message back why they were deferred last, and how often a process died with them.
    fn restore_errors<'a>(&mut self, message: MessageKey, groups: impl Iterator<Item = &'a Group>) {
        let entries: Vec<EntryKey> = self.queues.entries_of(message).collect();
        // The index hands out first what it took last.
        for (&entry, group) in entries.iter().rev().zip(groups) {
            let (channel, domain) = self.queues.queue_names(self.queues.entry(entry).queue);
            let is_its_own =
                **self.queues.channel_name(channel) == *group.channel && **domain == *group.domain;
            if let (true, Some((at, error))) = (is_its_own, &group.error) {
                self.errors.note(entry, *at, error.clone());
                self.crashes.restore(entry, group.crashes);
            }
        }
    }

    fn restore_from_envelope(&mut self, live: &Live, envelopes: &mut Envelopes<'_>, hold: bool, now: Time) {
        let envelope = envelopes.read(live.at).map_err(|error| desk::chain(&error));
        match envelope.and_then(|bytes| Envelope::decode(&bytes).map_err(|error| desk::chain(&error))) {
            Ok(mut envelope) => {
                envelope.held |= hold;
                let ticket = ticket(live.id, live.at, live.body_len, envelope, &self.loaded.config);
                self.place(&ticket, now);
            }
            // It stays in the spool, named in the log; there is no queue that it could stand in.
            Err(what) => {
                tracing::error!(id = %live.id, what, "a message in the spool cannot be read; it stays there");
            }
        }
    }
}
