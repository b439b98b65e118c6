//! What must be true after a round of the loop, beside what the ledger says of each recipient.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sluice_mail::Time;
use sluice_queue::State;

use super::super::hub::Hub;
use super::super::ledger::Word;
use super::operators::is_meant;
use super::{World, alive};
use crate::core::Core;
use crate::desk::open_recipients;

/// After so many leases that have passed over less urgent mail, one is for that (docs/concepts/priorities.md).
const URGENT_IN_A_ROW: u32 = 15;

/// Queues, each by its channel and its domain.
#[derive(Default)]
pub(super) struct UnderWay {
    /// Those that are under a run.
    places: BTreeSet<(Arc<str>, Arc<str>)>,
    /// All that there are.
    known: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl World {
    /// The queues that there are, and those that are under a run.
    pub(super) fn under_way(&self) -> UnderWay {
        let queues = &alive(&self.hub).core.queues;
        let mut found = UnderWay::default();
        for queue in queues.channels().flat_map(|key| queues.queues_of_channel(key)) {
            let (channel, domain) = queues.queue_names(queue);
            let place = (Arc::clone(queues.channel_name(channel)), Arc::clone(domain));
            if queues.run_of(queue).is_some() {
                found.places.insert(place.clone());
            }
            found.known.insert(place);
        }
        found
    }

    /// Mail that has come into a queue under a run goes with it, which may have ended in the same round: `before` has those that there
    /// were when it began. So does mail whose queue has come into being with it, if somebody has asked for all of a channel or of a domain.
    pub(super) fn excuse_newcomers(&mut self, before: &UnderWay) {
        let hub = alive(&self.hub);
        let core = &hub.core;
        let (ledger, covered) = (&mut self.ledger, &self.covered);
        for (key, found) in core.queues.messages() {
            let Some(message) = ledger.messages.get_mut(&found.id).filter(|message| !message.is_seen) else {
                continue;
            };
            for entry in core.queues.entries_of(key) {
                let queue = core.queues.entry(entry).queue;
                let (channel, domain) = core.queues.queue_names(queue);
                let channel = core.queues.channel_name(channel);
                let place = (Arc::clone(channel), Arc::clone(domain));
                let is_new = !before.places.is_empty() && !before.known.contains(&place);
                let is_under_way = core.queues.run_of(queue).is_some() || before.places.contains(&place);
                let here = message.recipients.iter_mut();
                for one in here.filter(|one| *one.channel == **channel && *one.domain == **domain) {
                    if is_under_way || is_new && covered.iter().any(|all| is_meant(all, found.id, one)) {
                        one.not_before = Time(0);
                    }
                }
            }
        }
    }

    /// What was leased in this round, numbers after `tokens`, could be.
    pub(super) fn check_leases(&mut self, tokens: u64) {
        let hub = alive(&self.hub);
        let core = &hub.core;
        let new = core.deliveries.iter().filter(|(token, _)| **token > tokens);
        let (mut lines, mut leased) = (Vec::new(), Vec::new());
        for taken in new.flat_map(|(_, delivery)| delivery.all()) {
            let entry = core.queues.entry(taken.entry);
            let id = core.queues.message(entry.message).id;
            let (channel, domain) = core.queues.queue_names(entry.queue);
            let channel = core.queues.channel_name(channel);
            lines.push(format!("lease {id} {channel} {domain}"));
            assert!(
                !self.shut.channels.contains(&**channel),
                "{id} is leased to {channel}, which is stopped"
            );
            assert!(!self.shut.covers(domain), "{id} is leased, but {domain} is suspended");
            let Some(message) = self.ledger.messages.get(&id) else { continue };
            if !taken.early && core.queues.run_of(entry.queue).is_none() {
                leased.push((entry.queue, entry.priority, id));
            }
            let open = core.queues.open(taken.entry);
            for (index, _) in open_recipients(&message.envelope, channel, domain, open) {
                let recipient = &message.recipients[index as usize];
                assert_ne!(recipient.held, Word::Promised, "{id} is leased while it is on hold");
                let (not_before, now) = (recipient.not_before.max(recipient.date), self.now);
                assert!(
                    not_before <= now,
                    "{} of {id} is leased at {}, not to be before {}: {recipient:?}",
                    recipient.address,
                    now.0,
                    not_before.0
                );
            }
        }
        // Nothing that is less urgent goes before what is ready in the same queue, but for one turn in so many.
        let mut passed = BTreeMap::new();
        core.queues.walk(0, u32::MAX, |_, entry, waiting| {
            let first = leased
                .iter()
                .find(|(queue, priority, _)| *queue == entry.queue && *priority < entry.priority);
            if let (Some((queue, _, id)), State::Ready) = (first, entry.state()) {
                passed.insert(
                    Arc::clone(core.queues.channel_name(core.queues.queue_names(*queue).0)),
                    (*id, waiting.id),
                );
            }
        });
        for (queue, ..) in &leased {
            let channel = core.queues.channel_name(core.queues.queue_names(*queue).0);
            *self.in_order.entry(Arc::clone(channel)).or_default() += 1;
        }
        for (channel, (leased, waits)) in passed {
            let turns = self.in_order.insert(channel, 0).unwrap_or_default();
            assert!(turns > URGENT_IN_A_ROW, "{waits} waits, and {leased}, which is less urgent, is leased");
        }
        lines.sort();
        lines.into_iter().for_each(|line| self.note(line));
    }
}

/// Each lease that an instance has, an old one too, is a job of its channel.
pub(super) fn check_jobs(hub: &Hub) {
    let stage = hub.plugins.stage();
    let mut leases: BTreeMap<&str, u32> = BTreeMap::new();
    let unread = stage.unread.iter().map(|(number, _)| (&stage.instances[*number], 1));
    let open = stage.instances.iter().map(|instance| (instance, instance.leases.len()));
    for (instance, count) in unread.chain(open) {
        *leases.entry(&instance.channel).or_default() += u32::try_from(count).unwrap_or(u32::MAX);
    }
    for (channel, leases) in leases {
        let key = hub.core.queues.known_channel(channel).expect("channels do not go");
        let jobs = hub.core.channels[key.index()].jobs;
        assert!(leases <= jobs, "{channel} has {leases} leases, and {jobs} jobs");
    }
}

/// What is told of releases that are over, and of those under way.
pub(super) fn check_records(core: &Core) {
    for record in core.list_releases(None, usize::MAX) {
        assert!(record.tally.is_balanced(), "a record does not add up: {record:?}");
        if record.ended.is_some() {
            assert!(record.tally.waiting.is_zero(), "something waits for what is over: {record:?}");
        }
    }
}

/// What the dispatcher and the index say of themselves.
pub(super) fn check_core(core: &Core, now: Time) {
    let mut counted: BTreeMap<(Arc<str>, Arc<str>), [u64; 4]> = BTreeMap::new();
    core.queues.walk(0, u32::MAX, |key, entry, message| {
        let (channel, domain) = core.queues.queue_names(entry.queue);
        let place = (Arc::clone(core.queues.channel_name(channel)), Arc::clone(domain));
        let row = counted.entry(place).or_default();
        let state = core.queues.state(key);
        row[0] += 1;
        row[1] += message.size;
        row[2] += u64::from(state == State::Held);
        row[3] += u64::from(state == State::Leased);
    });
    let said: BTreeMap<_, _> = core
        .queues
        .summaries()
        .map(|row| ((row.channel, row.domain), [row.messages, row.bytes, row.held, row.active]))
        .collect();
    assert_eq!(counted, said, "summaries and entries");
    let under_way: usize = core.deliveries.values().map(|delivery| delivery.all().count()).sum();
    let leased: u64 = counted.values().map(|row| row[3]).sum();
    let told = core.notices.len() + core.notices_waiting.len();
    assert!(
        under_way as u64 <= leased && leased <= (under_way + told) as u64,
        "{leased} entries are leased, {under_way} of them are under way, {told} notices wait"
    );
    for record in core.live_records() {
        assert!(record.tally.is_balanced(), "a record does not add up: {record:?}");
    }
    if core.stopping.is_none() {
        for key in core.queues.channels() {
            assert!(!core.is_forgotten(key, now), "{} is forgotten", core.queues.channel_name(key));
        }
    }
}
