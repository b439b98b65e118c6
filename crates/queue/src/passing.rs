//! What time does to the index, and keeping it in line with its shelves: rings, wake times, queues that are empty.
//!
//! # Not here
//! What is on the shelves (`index`), leases (`lease`).

use std::sync::Arc;

use sluice_mail::Time;

use crate::entry::{Due, EntryKey, NEVER, State, Then};
use crate::index::{QueueKey, Queues};
use crate::names::Name;
use crate::place::Place;
use crate::ring::{Party, Spot};

/// Time.
impl Queues {
    /// When [`Queues::advance`] has something to do next.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        self.wakes.first().map(|&(time, _)| time)
    }

    /// The entries that were put off until a date which has come since the last call, and that nobody has asked for: they
    /// are ready, and the caller may know of something else that they have to wait for. To be asked before anything
    /// is leased.
    pub fn take_dated(&mut self) -> Vec<EntryKey> {
        std::mem::take(&mut self.dated)
    }

    /// Makes ready what has become due, and ends runs whose grace is over.
    pub fn advance(&mut self, now: Time) {
        while let Some(&(time, key)) = self.wakes.first() {
            if time > now {
                return;
            }
            self.wakes.pop_first();
            let Some(queue) = self.queues.get_mut(key.0) else { continue };
            queue.wake = Due::NEVER;
            let mut in_reach = Vec::new();
            while let Some(&(due, entry)) = queue.due.first() {
                if due > now {
                    break;
                }
                queue.due.pop_first();
                let Some(record) = self.entries.get_mut(entry.0) else { continue };
                let Some(message) = self.messages.get(record.message.0) else { continue };
                let place = queue.place(record.priority, message.id(), message.size(), entry);
                if record.state == State::Deferred {
                    if let Some(sets) = queue.rare.sets() {
                        sets.deferred.remove(&place);
                    }
                    in_reach.push(entry);
                    if record.then == Then::UntilReleased && queue.run.is_none() {
                        (record.state, record.due) = (State::Delayed, Due::NEVER);
                        queue.delayed.insert(place);
                        continue;
                    }
                    queue.ready.insert(place);
                } else if queue.delayed.remove(&place) {
                    queue.ready.insert(place);
                }
                record.state = State::Ready;
            }
            let is_free = queue.run.is_none();
            for entry in in_reach {
                self.weigh(entry, true);
                self.enter(entry);
                if is_free && self.entry(entry).state == State::Ready {
                    self.dated.push(entry);
                }
            }
            let Some(queue) = self.queues.get(key.0) else { continue };
            let over = |since: Time| since.plus(self.grace) <= now;
            if queue.is_idle() && queue.run.as_ref().and_then(|run| run.idle_since).is_some_and(over) {
                self.end_run(key);
            }
            self.touch(key, now);
        }
    }

    /// The clock was set back: what is idle under a run has been so since now at the latest, and collects no longer than it
    /// may from here on. What entries wait for is the caller's.
    pub fn clock_set_back(&mut self, now: Time) {
        let is_ahead = |since: Time| since > now;
        let idle_since = |key: QueueKey| self.queues.get(key.0)?.run.as_ref()?.idle_since;
        let waking = self.wakes.iter().map(|&(_, key)| key);
        let ahead: Vec<QueueKey> = waking.filter(|&key| idle_since(key).is_some_and(is_ahead)).collect();
        for key in ahead {
            if let Some(run) = self.queues.get_mut(key.0).and_then(|queue| queue.run.as_mut()) {
                run.idle_since = Some(now);
            }
            self.touch(key, now);
        }
    }

    /// Brings rings, wake time and the queue's own existence in line with its shelves.
    pub(crate) fn touch(&mut self, key: QueueKey, now: Time) {
        let Some(queue) = self.queues.get_mut(key.0) else { return };
        // Each level that has something, found from one to the next: mostly there is one.
        let mut from = if queue.is_closed() { None } else { queue.ready.first().copied() };
        while let Some(place) = from {
            let level = place.level();
            if queue.in_ring & 1 << level == 0 {
                queue.in_ring |= 1 << level;
                let spot = Spot { queue: key, number: queue.spot };
                let party = queue.run.as_ref().and_then(|run| run.party.as_ref());
                self.channels[queue.channel.0 as usize].rings.push(level, spot, party, queue.turns == 0);
            }
            from = queue.ready.range(Place::first_of(level + 1)..).next().copied();
        }
        if !queue.ready.is_empty() {
            let channel = &mut self.channels[queue.channel.0 as usize];
            if !std::mem::replace(&mut channel.is_stirred, true) {
                self.stirred.push(queue.channel);
            }
        }
        let idle = queue.is_idle();
        if idle {
            queue.turns = 0;
            queue.tidy();
        }
        if let Some(run) = &mut queue.run {
            run.idle_since = if idle { run.idle_since.or(Some(now)) } else { None };
        }
        let due = queue.due.first().map(|&(due, _)| due);
        let grace = queue.run.as_ref().and_then(|run| run.idle_since).map(|since| since.plus(self.grace));
        let wake = Due::from([due, grace].into_iter().flatten().min().unwrap_or(NEVER));
        if wake != queue.wake {
            let old = std::mem::replace(&mut queue.wake, wake);
            if old != Due::NEVER {
                self.wakes.remove(&(old.time(), key));
            }
            if wake != Due::NEVER {
                self.wakes.insert((wake.time(), key));
            }
        }
        if queue.is_empty() && queue.run.is_none() {
            self.forget(key);
        }
    }

    /// Somebody asks for what waits in the queue, whom nobody has asked before: it takes new places, among the party's.
    pub(crate) fn ask_for(&mut self, key: QueueKey, party: &Party) {
        let Some(queue) = self.queues.get_mut(key.0) else { return };
        let Some(run) = queue.run.as_mut().filter(|run| run.party.is_none()) else { return };
        run.party = Some(Arc::clone(party));
        queue.turns = 0;
        (queue.in_ring, queue.spot) = (0, queue.spot.wrapping_add(1));
    }

    fn forget(&mut self, key: QueueKey) {
        let Some(queue) = self.queues.remove(key.0) else { return };
        if queue.wake != Due::NEVER {
            self.wakes.remove(&(queue.wake.time(), key));
        }
        let channel = &mut self.channels[queue.channel.0 as usize];
        channel.queues.remove(key, &queue.domain, &self.queues, &self.hasher);
        if channel.queues.is_empty() {
            self.occupied.remove(&queue.channel);
        }
        let name = Name::of(&queue.domain);
        if let Some(homes) = self.domains.get_mut(&name)
            && !homes.remove(key)
        {
            self.domains.remove(&name);
        }
    }
}
