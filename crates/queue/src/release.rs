//! Releases: what they match, how many messages that is, how long they go on collecting, and what they come to.
//!
//! A released queue is *under a run*: mail that comes in for it is due at once, until the queue has been idle for
//! the time of grace ([`Queues::set_grace`]). A second release of the queue joins the run or takes it over, as the caller
//! says. A release of a channel or a subnet also covers queues that come into being while any of its queues is under the
//! run. A *single* run has one lease at a time, over all of its queues in whatever channels: its mail goes over one connection.
//!
//! What becomes of the mail of a run is counted (`tally`). A run is over when its last queue has left it; it is then told
//! of once, by [`Queues::take_ended`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sluice_mail::{Priority, ReversedDomain, Time};
use sluice_spool::{EntryId, GivesBack};

use crate::entry::{Due, EntryKey, MessageKey, State};
use crate::index::{ChannelKey, QueueKey, Queues};
use crate::ring::Party;
use crate::tally::{Count, Entrance, Ledger, Tally};

/// Rules for queues yet to come that a run keeps; further ones of orders that joined it go without.
const COLLECTS_MAX: usize = 64;

/// Which queues that do not exist yet a release covers.
#[derive(Debug, Clone, PartialEq)]
pub enum Collect {
    /// None: only the queues it was given.
    Named,
    /// Those of a channel.
    Channel(ChannelKey),
    /// Those of a domain and everything below it, on the given channels, which are in order.
    Subnet(ReversedDomain, Arc<[ChannelKey]>),
}

/// How many leases of a run there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// As many as the channel allows.
    Many,
    /// One: all of it goes over one connection.
    Single,
}

/// A run as the caller names it: by a number of his own, used once.
pub type RunNumber = u64;

/// A queue's part in a run.
#[derive(Debug)]
pub(crate) struct QueueRun {
    /// Its place among [`Queues::runs`].
    pub(crate) run: u32,
    /// Who asked for it.
    pub(crate) party: Option<Party>,
    /// Since when the queue has been idle; `None` while it is not.
    pub(crate) idle_since: Option<Time>,
    /// Entries that were tried under this run and are still open.
    pub(crate) tried: HashSet<EntryKey>,
    /// Entries that this run does not count (any more): settled ones, and those that are under way by another connection
    /// than its own.
    pub(crate) outside: HashSet<EntryKey>,
}

/// A release under way; lives as long as a queue is under it.
#[derive(Debug)]
pub(crate) struct Run {
    number: RunNumber,
    lanes: Lanes,
    /// Who asked for it.
    party: Option<Party>,
    /// A single run has its lease.
    is_busy: bool,
    collects: Vec<Collect>,
    queues: HashSet<QueueKey>,
    /// Entries that were released by themselves, whose queues are under no run.
    pub(crate) alone: HashSet<EntryKey>,
    pub(crate) ledger: Ledger,
}

impl Run {
    /// The queues that it covers, in the order of their numbers.
    fn sorted_queues(&self) -> Vec<QueueKey> {
        let mut queues: Vec<QueueKey> = self.queues.iter().copied().collect();
        queues.sort_unstable();
        queues
    }
}

impl Collect {
    fn covers(&self, channel: ChannelKey, domain: &str) -> bool {
        match self {
            Self::Named => false,
            Self::Channel(own) => *own == channel,
            Self::Subnet(root, channels) => {
                channels.binary_search(&channel).is_ok() && ReversedDomain::new(domain).is_within(root)
            }
        }
    }
}

/// Beginning, joining, ending.
impl Queues {
    /// How long a run goes on collecting after its queue has become idle. Nothing, at first: what comes in after the run
    /// waits for the next release. Runs under way end by the new time.
    pub fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// Begins a run: makes everything that waits in these queues due now, held and deferred entries excepted, and keeps
    /// them collecting. A queue that is under another run leaves it. Without any queue nothing begins. Turns are between
    /// parties: what the same one has asked for, by however many runs, has one turn.
    pub fn begin_run(
        &mut self,
        number: RunNumber,
        lanes: Lanes,
        party: Option<&Party>,
        queues: &[QueueKey],
        collects: Vec<Collect>,
        now: Time,
    ) {
        let queues: Vec<QueueKey> =
            queues.iter().copied().filter(|key| self.queues.get(key.0).is_some()).collect();
        if queues.is_empty() {
            return;
        }
        for &key in &queues {
            self.leave_run(key);
        }
        let run = self.new_run(number, lanes, party);
        self.add_collects(run, collects);
        let mut ledger = Ledger::default();
        for &key in &queues {
            let Some(queue) = self.queues.get_mut(key.0) else { continue };
            queue.release();
            // What is in delivery now goes by a connection that is not this run's.
            let outside = match lanes {
                Lanes::Many => HashSet::new(),
                Lanes::Single => queue.leased.iter().map(|place| place.entry()).collect(),
            };
            let idle_since = queue.is_idle().then_some(now);
            let tried = HashSet::new();
            queue.run = Some(Box::new(QueueRun { run, party: None, idle_since, tried, outside }));
            if let Some(party) = party {
                self.ask_for(key, party);
            }
            self.enter_queue(key, &mut ledger);
            if let Some(run) = self.runs.get_mut(run) {
                run.queues.insert(key);
            }
            self.touch(key, now);
        }
        if let Some(run) = self.runs.get_mut(run) {
            run.ledger = ledger;
        }
    }

    /// An order joins the run of that number: what has been put off since is due again, and the run covers what the order
    /// does; where nobody has asked for the queues yet, the order's party does now. A single run gives everybody one chance,
    /// so that nothing is made due again there.
    pub fn join(
        &mut self,
        number: RunNumber,
        party: Option<&Party>,
        queues: &[QueueKey],
        collects: Vec<Collect>,
        now: Time,
    ) {
        let Some(&index) = self.run_numbers.get(&number) else { return };
        self.add_collects(index, collects);
        if self.runs.get(index).is_some_and(|run| run.lanes == Lanes::Single) {
            return;
        }
        for &key in queues {
            let Some(queue) = self.queues.get_mut(key.0) else { continue };
            if queue.run.as_ref().is_some_and(|run| run.run == index) {
                queue.release();
                if let Some(party) = party {
                    self.ask_for(key, party);
                }
                self.touch(key, now);
            }
        }
    }

    /// The run that a queue is under.
    #[must_use]
    pub fn run_of(&self, key: QueueKey) -> Option<RunNumber> {
        let index = self.queues.get(key.0)?.run.as_ref()?.run;
        self.runs.get(index).map(|run| run.number)
    }

    /// The run that counts an entry, if one does.
    #[must_use]
    pub fn run_of_entry(&self, key: EntryKey) -> Option<RunNumber> {
        self.counted_by(key).and_then(|(index, _)| self.runs.get(index)).map(|run| run.number)
    }

    /// Whether there is something that a lease of the run could take, of this channel if one is named.
    #[must_use]
    pub fn run_has_ready(&self, number: RunNumber, channel: Option<ChannelKey>) -> bool {
        let run = self.run_numbers.get(&number).and_then(|&index| self.runs.get(index));
        run.is_some_and(|run| {
            let ready = |key: &QueueKey| {
                self.queues.get(key.0).is_some_and(|queue| {
                    !queue.is_suspended
                        && !queue.ready.is_empty()
                        && channel.is_none_or(|channel| queue.channel == channel)
                })
            };
            run.queues.iter().any(ready)
        })
    }

    /// The runs that queues or entries of a channel are under, in order.
    #[must_use]
    pub fn runs_of_channel(&self, channel: ChannelKey) -> Vec<RunNumber> {
        let queues = self.channels[channel.0 as usize].queues.keys();
        let of_queues = queues.filter_map(|key| self.queues.get(key.0)?.run.as_ref()).map(|run| run.run);
        let of_entries =
            self.alone.iter().filter(|&(&entry, _)| self.is_on(entry, channel)).map(|(_, own)| own.0);
        let mut numbers: Vec<RunNumber> = of_queues
            .chain(of_entries)
            .filter_map(|index| self.runs.get(index))
            .map(|run| run.number)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn is_on(&self, entry: EntryKey, channel: ChannelKey) -> bool {
        self.queues.get(self.entry(entry).queue.0).is_some_and(|queue| queue.channel == channel)
    }

    /// What a run has come to so far, or in the end as long as nobody has asked for that.
    #[must_use]
    pub fn tally(&self, number: RunNumber) -> Option<Tally> {
        if let Some(index) = self.run_numbers.get(&number) {
            return self.runs.get(*index).map(|run| run.ledger.tally);
        }
        self.ended.iter().find(|(ended, _)| *ended == number).map(|&(_, tally)| tally)
    }

    /// Whether a run of that number goes on.
    #[must_use]
    pub fn is_running(&self, number: RunNumber) -> bool {
        self.run_numbers.contains_key(&number)
    }

    /// The runs that have ended since this was last asked, and what they have come to.
    pub fn take_ended(&mut self) -> Vec<(RunNumber, Tally)> {
        std::mem::take(&mut self.ended)
    }

    /// The lease of a single run is over; the next one may be taken.
    pub fn end_turn(&mut self, number: RunNumber, now: Time) {
        let Some(run) = self.run_numbers.get(&number).and_then(|&index| self.runs.get_mut(index)) else {
            return;
        };
        run.is_busy = false;
        for key in run.sorted_queues() {
            if let Some(queue) = self.queues.get_mut(key.0) {
                queue.is_barred = false;
            }
            self.touch(key, now);
        }
    }

    /// Ends a run whatever is left of it. What it made due waits as it did before; what came in during it is due or, where
    /// `until_released` says so of the channel, waits for the next release.
    pub fn end_run_now(&mut self, number: RunNumber, until_released: impl Fn(ChannelKey) -> bool, now: Time) {
        let Some(run) = self.run_numbers.get(&number).and_then(|&index| self.runs.get(index)) else {
            return;
        };
        for key in run.sorted_queues() {
            let waits = self.queues.get(key.0).is_some_and(|queue| until_released(queue.channel));
            self.end_run(key);
            self.put_to_wait(key, waits, now);
            self.touch(key, now);
        }
    }

    /// The run goes on without a channel: what it has there is left over, and waits as with [`Queues::end_run_now`]. Queues
    /// with something under way stay, for what becomes of that counts.
    pub fn leave_channel(&mut self, number: RunNumber, channel: ChannelKey, until_released: bool, now: Time) {
        let Some(&index) = self.run_numbers.get(&number) else { return };
        let Some(run) = self.runs.get(index) else { return };
        let is_left = |key: &QueueKey| {
            self.queues.get(key.0).is_some_and(|queue| queue.channel == channel && queue.leased.is_empty())
        };
        let queues = run.sorted_queues().into_iter().filter(is_left).collect::<Vec<_>>();
        let is_waiting =
            |&entry: &EntryKey| self.is_on(entry, channel) && self.entry(entry).state != State::Leased;
        let mut alone: Vec<EntryKey> = run.alone.iter().copied().filter(is_waiting).collect();
        alone.sort_unstable();
        for entry in alone {
            self.leave(entry);
        }
        for key in queues {
            self.end_run(key);
            self.put_to_wait(key, until_released, now);
            self.touch(key, now);
        }
    }

    /// What a release has made ready and nobody has taken waits again.
    fn put_to_wait(&mut self, key: QueueKey, until_released: bool, now: Time) {
        let Some(queue) = self.queues.get_mut(key.0) else { return };
        let ready = std::mem::take(&mut queue.ready);
        for place in ready {
            let Some(record) = self.entries.get_mut(place.entry().0) else { continue };
            let waits = match record.state {
                State::Delayed => record.due.time() > now,
                State::Ready if until_released => {
                    (record.state, record.due) = (State::Delayed, Due::NEVER);
                    true
                }
                _ => false,
            };
            if waits { &mut queue.delayed } else { &mut queue.ready }.insert(place);
        }
    }

    fn new_run(&mut self, number: RunNumber, lanes: Lanes, party: Option<&Party>) -> u32 {
        let index = self.runs.insert(Run {
            number,
            lanes,
            party: party.cloned(),
            is_busy: false,
            collects: Vec::new(),
            queues: HashSet::new(),
            alone: HashSet::new(),
            ledger: Ledger::default(),
        });
        self.run_numbers.insert(number, index);
        index
    }

    fn add_collects(&mut self, index: u32, collects: Vec<Collect>) {
        let Some(run) = self.runs.get_mut(index) else { return };
        let had = !run.collects.is_empty();
        for collect in collects {
            if collect != Collect::Named
                && run.collects.len() < COLLECTS_MAX
                && !run.collects.contains(&collect)
            {
                run.collects.push(collect);
            }
        }
        if !had && !run.collects.is_empty() {
            self.collecting.push(index);
        }
    }

    /// Ends the run of a queue.
    pub(crate) fn end_run(&mut self, key: QueueKey) {
        let Some(queue) = self.queues.get(key.0) else { return };
        let Some(run) = &queue.run else { return };
        let index = run.run;
        // Messages with entries elsewhere are remembered by number; those numbers will be others' once they are settled.
        let concerned: Vec<EntryKey> =
            queue.rare.spread.iter().copied().filter(|&entry| self.counted_by(entry).is_some()).collect();
        for entry in concerned {
            let Some((_, tried)) = self.counted_by(entry) else { continue };
            let (whose, recipients) = (self.whose(entry), self.recipients(entry));
            let Some(run) = self.runs.get_mut(index) else { continue };
            if tried {
                run.ledger.conclude(whose);
            } else {
                run.ledger.leave(whose, recipients, false);
            }
        }
        self.detach(key, index);
    }

    /// Takes a queue out of its run, if it is under one, with all that it holds.
    fn leave_run(&mut self, key: QueueKey) {
        if !self.alone.is_empty() {
            let own: Vec<EntryKey> =
                self.alone.keys().copied().filter(|&entry| self.entry(entry).queue == key).collect();
            for entry in own {
                self.leave(entry);
            }
        }
        let Some(queue) = self.queues.get(key.0) else { return };
        let Some(run) = &queue.run else { return };
        let index = run.run;
        let covered: Vec<EntryKey> = [&queue.ready, &queue.delayed, &*queue.leased]
            .into_iter()
            .flat_map(|shelf| shelf.iter().map(|place| place.entry()))
            .collect();
        for entry in covered {
            self.leave(entry);
        }
        self.detach(key, index);
    }

    fn detach(&mut self, key: QueueKey, index: u32) {
        if let Some(queue) = self.queues.get_mut(key.0) {
            queue.run = None;
            queue.is_barred = false;
        }
        if let Some(run) = self.runs.get_mut(index) {
            run.queues.remove(&key);
            run.queues.give_back();
        }
        self.end_if_empty(index);
    }

    pub(crate) fn end_if_empty(&mut self, index: u32) {
        let is_over = self.runs.get(index).is_some_and(|run| run.queues.is_empty() && run.alone.is_empty());
        if !is_over {
            return;
        }
        let Some(mut run) = self.runs.remove(index) else { return };
        self.run_numbers.remove(&run.number);
        self.run_numbers.give_back();
        self.collecting.retain(|&other| other != index);
        run.ledger.tally.close();
        self.ended.push((run.number, run.ledger.tally));
    }

    /// Puts a queue that has just come into being under a run that covers it.
    pub(crate) fn join_run(&mut self, key: QueueKey, now: Time) {
        let Some(queue) = self.queues.get(key.0) else { return };
        let covers = |index: &&u32| {
            self.runs.get(**index).is_some_and(|run| {
                run.collects.iter().any(|collect| collect.covers(queue.channel, &queue.domain))
            })
        };
        let Some(index) = self.collecting.iter().find(covers).copied() else { return };
        let Some(run) = self.runs.get_mut(index) else { return };
        run.queues.insert(key);
        let (is_barred, party) = (run.is_busy, run.party.clone());
        if let Some(queue) = self.queues.get_mut(key.0) {
            queue.is_barred = is_barred;
            queue.run = Some(Box::new(QueueRun {
                run: index,
                party,
                idle_since: Some(now),
                tried: HashSet::new(),
                outside: HashSet::new(),
            }));
        }
    }

    /// A lease of this queue was taken: if its run is single, that is the only one now.
    pub(crate) fn begin_turn(&mut self, key: QueueKey) {
        let Some(index) = self.queues.get(key.0).and_then(|queue| queue.run.as_ref()).map(|run| run.run)
        else {
            return;
        };
        let Some(run) = self.runs.get_mut(index).filter(|run| run.lanes == Lanes::Single) else { return };
        run.is_busy = true;
        for key in &run.queues {
            if let Some(queue) = self.queues.get_mut(key.0) {
                queue.is_barred = true;
            }
        }
    }
}

/// Making due, and counting.
impl Queues {
    /// Makes everything that waits in these queues due now, once, without a run: what comes later keeps its schedule.
    pub fn make_due(&mut self, queues: &[QueueKey], now: Time) {
        for &key in queues {
            if let Some(queue) = self.queues.get_mut(key.0) {
                queue.release();
                self.touch(key, now);
            }
        }
    }

    /// Like [`Queues::make_due`], for entries of these priorities only.
    pub fn make_due_of(&mut self, queues: &[QueueKey], priorities: &[Priority], now: Time) {
        for &key in queues {
            if let Some(queue) = self.queues.get_mut(key.0) {
                priorities.iter().for_each(|&priority| queue.release_priority(priority));
                self.touch(key, now);
            }
        }
    }

    /// Makes one message due now, in whatever queues it waits, suspended ones excepted, and counts what becomes of it as the
    /// run of that number; entries whose queue is under a run stay with that. Returns the queues where it is ready or under way. Walks
    /// the messages, since nothing but this needs to find one by its id; a million take some milliseconds.
    pub fn release_message(&mut self, number: RunNumber, id: EntryId, now: Time) -> Vec<QueueKey> {
        let Some(message) = self.find_message(id) else { return Vec::new() };
        let mut queues = Vec::new();
        let mut alone = Vec::new();
        for entry in self.entries_of(message).collect::<Vec<_>>() {
            let (queue, state) = (self.entry(entry).queue, self.entry(entry).state);
            match state {
                State::Held | State::Deferred => continue,
                _ if self.is_suspended(queue) => continue,
                State::Delayed if self.is_delayed(entry) => self.make_ready(entry, now),
                State::Delayed | State::Ready | State::Leased => {}
            }
            queues.push(queue);
            if self.queues.get(queue.0).is_some_and(|queue| queue.run.is_none())
                && !self.alone.contains_key(&entry)
            {
                alone.push(entry);
            }
        }
        if !alone.is_empty() {
            let index = self.new_run(number, Lanes::Many, None);
            for entry in alone {
                let (whose, recipients) = (self.whose(entry), self.recipients(entry));
                if let Some(run) = self.runs.get_mut(index) {
                    run.alone.insert(entry);
                    run.ledger.enter(whose, recipients, Entrance::Promised);
                }
                self.alone.insert(entry, (index, false));
            }
        }
        queues
    }

    /// How many messages, recipients and octets these queues hold that a release covers (all but held and deferred ones), each message counted
    /// once however many of the queues it is in. Costs by the queues, and by the messages in them that have several
    /// destinations.
    #[must_use]
    pub fn count(&self, queues: &[QueueKey]) -> Count {
        let found = || queues.iter().filter_map(|key| self.queues.get(key.0));
        let mut total = Count::default();
        for queue in found() {
            total.messages += queue.releasable();
            total.recipients += queue.covered.recipients;
            total.bytes += queue.covered.bytes;
        }
        if queues.len() < 2 && !found().any(|queue| queue.is_split) {
            return total;
        }
        let mut seen: HashSet<MessageKey> = HashSet::new();
        for queue in found() {
            for &entry in queue.rare.spread.iter() {
                let entry = self.entry(entry);
                if !matches!(entry.state, State::Held | State::Deferred) && !seen.insert(entry.message) {
                    total.messages -= 1;
                    total.bytes -= self.message(entry.message).size;
                }
            }
        }
        total
    }
}
