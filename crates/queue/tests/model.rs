//! The index against a model that is too slow to be wrong: a list of entries, looked through for every question.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use sluice_mail::{Priority, ReversedDomain, Time, TransferPriority};
use sluice_queue::{
    ChannelKey, Collect, Count, EntryKey, Finished, Lanes, NewEntry, NewMessage, Order, Party, Placement,
    QueueKey, Queues, Settled, State, Tally, Then,
};
use sluice_spool::{EntryId, Location};

/// Time of grace in these tests.
const GRACE: Duration = Duration::from_secs(30);

const CHANNELS: [&str; 3] = ["tcp_local", "tcp_dialup", "tcp_periodic"];
const DOMAINS: [&str; 6] = [
    "example.com",
    "mail.example.com",
    "example.com.invalid",
    "xample.com",
    "example.org",
    "deep.mail.example.com",
];

#[derive(Debug, Clone)]
enum Step {
    Insert { level: u8, size: u64, entries: Vec<(usize, usize, u8, u64)> },
    Advance(u64),
    Lease { channel: usize, max: usize },
    Finish(usize, u8),
    PutBack(usize, u8, u64),
    ReleaseSubnet(usize),
    ReleaseChannel(usize),
    ReleaseHost(usize),
    ReleaseMessage(usize),
    Hold(usize),
    Reorder(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let entry = (0..CHANNELS.len(), 0..DOMAINS.len(), 0..4u8, 0..100_000u64);
    let step = prop_oneof![
        4 => (0..19u8, 1..200u64, prop::collection::vec(entry, 1..5))
            .prop_map(|(level, size, entries)| Step::Insert { level, size, entries }),
        3 => (0..40_000u64).prop_map(Step::Advance),
        3 => (0..CHANNELS.len(), 1..5usize).prop_map(|(channel, max)| Step::Lease { channel, max }),
        3 => (any::<usize>(), 0..3u8).prop_map(|(which, how)| Step::Finish(which, how)),
        3 => (any::<usize>(), 0..4u8, 0..100_000u64).prop_map(|(which, how, wait)| Step::PutBack(which, how, wait)),
        1 => (0..DOMAINS.len()).prop_map(Step::ReleaseSubnet),
        1 => (0..CHANNELS.len()).prop_map(Step::ReleaseChannel),
        1 => (0..DOMAINS.len()).prop_map(Step::ReleaseHost),
        1 => any::<usize>().prop_map(Step::ReleaseMessage),
        1 => any::<usize>().prop_map(Step::Hold),
        1 => (0..DOMAINS.len()).prop_map(Step::Reorder),
    ];
    prop::collection::vec(step, 1..120)
}

#[derive(Debug, Clone)]
struct Expected {
    id: u64,
    channel: usize,
    domain: usize,
    level: u8,
    state: State,
    due: Option<u64>,
    size: u64,
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<EntryKey, Expected>,
    /// Queues under a run, with since when they have been idle; and the runs that cover queues to come.
    idle: BTreeMap<(usize, usize), Option<u64>>,
    /// Runs that were begun, and entries that were tried under them.
    runs: BTreeSet<u64>,
    tried: BTreeSet<(u64, EntryKey)>,
    /// Domains whose queues are ordered by size.
    by_size: BTreeSet<usize>,
    /// Leases in a row of each channel that have passed over less urgent mail.
    passing: [u32; 3],
}

/// Sizes that differ by less count as equal.
fn step_of(size: u64) -> u64 {
    match size {
        0..64 => size,
        64..128 => 64 + (size - 64) / 2,
        _ => 96 + (size - 128) / 4,
    }
}

impl Model {
    fn order(&self, domain: usize) -> Order {
        if self.by_size.contains(&domain) { Order::Size } else { Order::Age }
    }

    fn in_queue(&self, channel: usize, domain: usize) -> impl Iterator<Item = &Expected> {
        self.entries.values().filter(move |entry| entry.channel == channel && entry.domain == domain)
    }

    fn refresh(&mut self, now: u64) {
        let queues: Vec<_> = self.idle.keys().copied().collect();
        for (channel, domain) in queues {
            let busy =
                self.in_queue(channel, domain).any(|e| matches!(e.state, State::Ready | State::Leased));
            let since = self.idle.get_mut(&(channel, domain)).unwrap();
            *since = if busy { None } else { since.or(Some(now)) };
        }
    }
}

fn is_within(domain: &str, root: &str) -> bool {
    domain == root || domain.strip_suffix(root).is_some_and(|rest| rest.ends_with('.'))
}

fn placement(how: u8, due: u64) -> Placement {
    match how {
        0 => Placement::Ready,
        1 => Placement::At(Time(due)),
        2 => Placement::UntilReleased,
        _ => Placement::Held,
    }
}

fn names(queues: &Queues, keys: &[QueueKey]) -> BTreeSet<(usize, usize)> {
    keys.iter()
        .map(|&key| {
            let (channel, domain) = queues.queue_names(key);
            (
                CHANNELS.iter().position(|name| **name == **queues.channel_name(channel)).unwrap(),
                DOMAINS.iter().position(|name| **name == **domain).unwrap(),
            )
        })
        .collect()
}

/// Applies `steps` to both, and compares all that can be seen after each.
#[expect(clippy::too_many_lines, reason = "one step, one arm, side by side with the model's")]
fn run(steps: Vec<Step>) {
    let mut queues = Queues::new();
    queues.set_grace(GRACE);
    let mut model = Model::default();
    let channels = CHANNELS.map(|name| queues.channel(name));
    let mut now = 1_000_000u64;
    let mut next_id = 1;
    let mut next_run = 0;
    let mut leased: Vec<EntryKey> = Vec::new();
    let mut known_ready: BTreeSet<ChannelKey> = BTreeSet::new();
    for step in steps {
        match step {
            Step::Insert { level, size, mut entries } => {
                let mut seen = BTreeSet::new();
                entries.retain(|&(channel, domain, ..)| seen.insert((channel, domain)));
                let id = next_id;
                next_id += 1;
                let message = NewMessage {
                    id: EntryId(id),
                    at: Location { segment: 1, offset: u32::try_from(id).unwrap() },
                    arrived: Time(now),
                    size,
                    priority: TransferPriority::at_level(level).unwrap(),
                };
                let parts = entries.iter().map(|&(channel, domain, how, wait)| NewEntry {
                    channel: CHANNELS[channel],
                    domain: DOMAINS[domain],
                    placement: placement(how, now + wait),
                    attempts: 0,
                    step: 0,
                    noticed: 0,
                    priority: message.priority,
                    order: model.order(domain),
                    recipients: 1,
                    open: None,
                });
                let key = queues.insert(message, parts, Time(now)).unwrap();
                let keys: Vec<_> = queues.entries_of(key).collect();
                assert_eq!(keys.len(), entries.len());
                for key in keys {
                    let (channel, domain) = *names(&queues, &[queues.entry(key).queue]).first().unwrap();
                    let &(_, _, how, wait) =
                        entries.iter().find(|&&(c, d, ..)| (c, d) == (channel, domain)).unwrap();
                    let existing = model.idle.contains_key(&(channel, domain));
                    // Runs that cover queues to come are not modelled: what they cover is taken over as seen.
                    let collects = existing || (queues.state(key) == State::Ready && how == 2);
                    let state = match how {
                        3 => State::Held,
                        0 => State::Ready,
                        1 if wait == 0 => State::Ready,
                        1 if !existing && queues.state(key) == State::Ready => State::Ready,
                        _ if collects => State::Ready,
                        _ => State::Delayed,
                    };
                    let due = (how == 1 && state == State::Delayed).then_some(now + wait);
                    let expected = Expected { id, channel, domain, level, state, due, size };
                    model.entries.insert(key, expected);
                }
            }
            Step::Advance(by) => {
                now += by;
                for entry in model.entries.values_mut() {
                    if entry.state == State::Delayed && entry.due.is_some_and(|due| due <= now) {
                        entry.state = State::Ready;
                        entry.due = None;
                    }
                }
                let over = |since: &Option<u64>| since.is_some_and(|s| Time(s).plus(GRACE) <= Time(now));
                model.refresh(now);
                model.idle.retain(|_, since| !over(since));
                queues.advance(Time(now));
                assert!(queues.next_wake().is_none_or(|wake| wake > Time(now)));
            }
            Step::Lease { channel, max } => {
                let mut taken = Vec::new();
                let from = queues.lease(channels[channel], None, max, &mut taken, Time(now));
                let ready: Vec<_> = model
                    .entries
                    .values()
                    .filter(|e| e.channel == channel && e.state == State::Ready)
                    .collect();
                assert_eq!(
                    from.is_some(),
                    !ready.is_empty(),
                    "a lease finds what is ready, and nothing else"
                );
                if from.is_some() {
                    let domain = model.entries[&taken[0]].domain;
                    let best = ready.iter().map(|e| e.level).min().unwrap();
                    let got = model.entries[&taken[0]].level;
                    let passes = ready.iter().any(|e| e.level > got);
                    let row = &mut model.passing[channel];
                    assert!(got == best || *row >= 15, "most urgent of the channel first, for 15 leases");
                    *row = if got == best && passes { *row + 1 } else { 0 };
                    assert!((1..=max).contains(&taken.len()), "first turns may be short");
                    let by_size = model.by_size.contains(&domain);
                    let rank = |e: &Expected| (e.level, if by_size { step_of(e.size) } else { 0 }, e.id);
                    let mut own: Vec<_> = ready
                        .iter()
                        .filter(|e| e.domain == domain && e.level >= got)
                        .map(|e| rank(e))
                        .collect();
                    own.sort_unstable();
                    let mut got: Vec<_> = taken.iter().map(|key| rank(&model.entries[key])).collect();
                    let oldest = own.iter().filter(|e| e.0 == own[0].0).min_by_key(|e| e.2).copied().unwrap();
                    if by_size && got[0] != own[0] {
                        assert_eq!(got[0], oldest, "or the oldest of that level first");
                        got.sort_unstable();
                        own.retain(|e| *e != oldest);
                        own.push(oldest);
                        own.rotate_right(1);
                    }
                    own.truncate(taken.len());
                    own.sort_unstable();
                    assert_eq!(got, own, "priority, then size where that counts, then age, of one queue");
                }
                for key in &taken {
                    let entry = model.entries.get_mut(key).unwrap();
                    assert_eq!((entry.channel, entry.state), (channel, State::Ready));
                    entry.state = State::Leased;
                }
                leased.extend(taken);
            }
            Step::Finish(which, how) => {
                let Some(index) = which.checked_rem(leased.len()) else { continue };
                let key = leased.swap_remove(index);
                // Delivered, bounced, or taken away by somebody.
                match how {
                    0 => drop(queues.settle(key, Settled { delivered: 1, ..Settled::default() })),
                    1 => drop(queues.settle(key, Settled { bounced: 1, ..Settled::default() })),
                    _ => {}
                }
                model.tried.retain(|&(_, other)| other != key);
                let gone = model.entries.remove(&key).unwrap();
                let left = model.entries.values().any(|entry| entry.id == gone.id);
                let finished = queues.finish(key, Time(now));
                assert_eq!(matches!(finished, Finished::Whole { id, .. } if id.0 == gone.id), !left);
            }
            Step::PutBack(which, how, wait) => {
                let Some(index) = which.checked_rem(leased.len()) else { continue };
                let key = leased.swap_remove(index);
                if how != 0 {
                    let run = queues.run_of_entry(key);
                    assert_eq!(queues.settle(key, Settled { open: 1, ..Settled::default() }), run.is_some());
                    model.tried.extend(run.map(|run| (run, key)));
                }
                if how == 3 {
                    model.tried.retain(|&(_, other)| other != key);
                }
                queues.put_back(key, placement(how, now + wait), Time(now));
                let entry = model.entries.get_mut(&key).unwrap();
                entry.due = None;
                entry.state = match how {
                    0 => State::Ready,
                    1 if wait == 0 => State::Ready,
                    1 => {
                        entry.due = Some(now + wait);
                        State::Delayed
                    }
                    2 => State::Delayed,
                    _ => State::Held,
                };
            }
            Step::Hold(which) => {
                let Some(index) = which.checked_rem(model.entries.len()) else { continue };
                let (&key, entry) = model.entries.iter_mut().nth(index).unwrap();
                if entry.state == State::Leased {
                    continue;
                }
                entry.state = State::Held;
                entry.due = None;
                model.tried.retain(|&(_, other)| other != key);
                queues.put_back(key, Placement::Held, Time(now));
            }
            Step::Reorder(domain) => {
                if !model.by_size.remove(&domain) {
                    model.by_size.insert(domain);
                }
                queues.set_orders(|_, name| {
                    model.order(DOMAINS.iter().position(|domain| *domain == name).unwrap())
                });
            }
            Step::ReleaseMessage(which) => {
                let Some(index) = which.checked_rem(model.entries.len()) else { continue };
                let id = model.entries.values().nth(index).unwrap().id;
                let mut expected = BTreeSet::new();
                for entry in model.entries.values_mut().filter(|e| e.id == id && e.state != State::Held) {
                    expected.insert((entry.channel, entry.domain));
                    if entry.state == State::Delayed {
                        entry.state = State::Ready;
                        entry.due = None;
                    }
                }
                next_run += 1;
                model.runs.insert(next_run);
                let found = queues.release_message(next_run, EntryId(id), Time(now));
                assert_eq!(names(&queues, &found), expected);
            }
            Step::ReleaseSubnet(_) | Step::ReleaseChannel(_) | Step::ReleaseHost(_) => {
                let (found, collect) = match step {
                    Step::ReleaseSubnet(domain) => {
                        let collect =
                            Collect::Subnet(ReversedDomain::new(DOMAINS[domain]), channels.to_vec().into());
                        (queues.queues_of_subnet(DOMAINS[domain]), collect)
                    }
                    Step::ReleaseChannel(channel) => {
                        (queues.queues_of_channel(channels[channel]), Collect::Channel(channels[channel]))
                    }
                    Step::ReleaseHost(domain) => (queues.queues_of_domain(DOMAINS[domain]), Collect::Named),
                    _ => unreachable!(),
                };
                let matches = |entry: &Expected| match step {
                    Step::ReleaseSubnet(domain) => is_within(DOMAINS[entry.domain], DOMAINS[domain]),
                    Step::ReleaseChannel(channel) => entry.channel == channel,
                    Step::ReleaseHost(domain) => entry.domain == domain,
                    _ => unreachable!(),
                };
                let expected: BTreeSet<_> = model
                    .entries
                    .values()
                    .filter(|e| matches(e) && e.state != State::Held)
                    .map(|e| e.id)
                    .collect();
                let covered = model.entries.values().filter(|e| matches(e) && e.state != State::Held);
                let sizes: BTreeMap<u64, u64> = covered.clone().map(|e| (e.id, e.size)).collect();
                let count = Count {
                    messages: expected.len() as u64,
                    recipients: covered.count() as u64,
                    bytes: sizes.values().sum(),
                };
                assert_eq!(queues.count(&found), count, "each message once");
                next_run += 1;
                queues.begin_run(next_run, Lanes::Many, None, &found, vec![collect], Time(now));
                assert_eq!(queues.count(&found), count, "a release changes no count");
                if !found.is_empty() {
                    model.runs.insert(next_run);
                    assert_eq!(queues.tally(next_run).unwrap().promised, count);
                    let taken: BTreeSet<EntryKey> =
                        model.entries.iter().filter(|(_, e)| matches(e)).map(|(&key, _)| key).collect();
                    model.tried.retain(|&(_, key)| !taken.contains(&key));
                }
                for (channel, domain) in names(&queues, &found) {
                    let was = model.idle.get(&(channel, domain)).copied();
                    let busy = model.in_queue(channel, domain).any(|e| e.state != State::Held);
                    let _ = was;
                    model.idle.insert((channel, domain), if busy { None } else { Some(now) });
                }
                for entry in model.entries.values_mut().filter(|e| matches(e) && e.state == State::Delayed) {
                    entry.state = State::Ready;
                    entry.due = None;
                }
            }
        }
        model.refresh(now);
        compare(&queues, &model);
        // Whoever looks only at the channels that are named as stirred misses none that has something ready.
        for key in queues.take_stirred() {
            known_ready.insert(key);
        }
        for (channel, &key) in channels.iter().enumerate() {
            queues.tidy_rings(key);
            let has_ready = model.entries.values().any(|e| e.channel == channel && e.state == State::Ready);
            assert_eq!(queues.has_ready(key), has_ready, "{}", CHANNELS[channel]);
            assert!(!has_ready || known_ready.contains(&key), "{} was not named", CHANNELS[channel]);
            if !has_ready {
                known_ready.remove(&key);
            }
            let has_queue = !queues.queues_of_channel(key).is_empty();
            assert_eq!(queues.occupied_channels().any(|occupied| occupied == key), has_queue);
        }
        books_are_right(&mut queues, &mut model);
        // Queues that a run brought in are taken over, so that the model knows what collects.
        for key in queues.all_queues() {
            let (channel, domain) = *names(&queues, &[key]).first().unwrap();
            if queues.is_collecting(key) && !model.idle.contains_key(&(channel, domain)) {
                let busy =
                    model.in_queue(channel, domain).any(|e| matches!(e.state, State::Ready | State::Leased));
                model.idle.insert((channel, domain), if busy { None } else { Some(now) });
            }
        }
        let collecting: BTreeSet<_> =
            queues.all_queues().into_iter().filter(|&k| queues.is_collecting(k)).collect();
        assert_eq!(
            names(&queues, &collecting.into_iter().collect::<Vec<_>>()),
            model.idle.keys().copied().collect()
        );
    }
}

/// What has come into a run is somewhere, and what has not been tried is what waits.
fn books_are_right(queues: &mut Queues, model: &mut Model) {
    let balanced = |number: u64, tally: &Tally| {
        assert!(tally.is_balanced(), "run {number} does not add up: {tally:#?}");
    };
    for (number, tally) in queues.take_ended() {
        balanced(number, &tally);
        assert!(tally.waiting.is_zero(), "nothing waits in a run that is over: {tally:#?}");
        assert!(model.runs.remove(&number), "run {number} ended twice, or never began");
        assert_eq!(queues.tally(number), None);
        model.tried.retain(|&(run, _)| run != number);
    }
    model.runs.retain(|&number| queues.tally(number).is_some());
    for &number in &model.runs {
        let tally = queues.tally(number).unwrap();
        balanced(number, &tally);
        let counted: Vec<_> =
            model.entries.iter().filter(|&(&key, _)| queues.run_of_entry(key) == Some(number)).collect();
        let untried: Vec<_> =
            counted.iter().filter(|(key, _)| !model.tried.contains(&(number, **key))).collect();
        assert_eq!(tally.waiting.recipients, untried.len() as u64, "run {number}: {tally:#?}");
        let messages: BTreeMap<u64, u64> = untried.iter().map(|(_, e)| (e.id, e.size)).collect();
        assert_eq!(tally.waiting.messages, messages.len() as u64, "run {number}: {tally:#?}");
        assert_eq!(tally.waiting.bytes, messages.values().sum::<u64>(), "run {number}: {tally:#?}");
    }
}

fn compare(queues: &Queues, model: &Model) {
    for (&key, expected) in &model.entries {
        assert_eq!(queues.state(key), expected.state, "{expected:?}");
    }
    let mut summaries = 0;
    for summary in queues.summaries() {
        summaries += 1;
        let own: Vec<_> = model
            .entries
            .values()
            .filter(|e| CHANNELS[e.channel] == &*summary.channel && DOMAINS[e.domain] == &*summary.domain)
            .collect();
        let count = |state| own.iter().filter(|e| e.state == state).count() as u64;
        assert_eq!(summary.messages, own.len() as u64);
        assert_eq!(summary.bytes, own.iter().map(|e| e.size).sum::<u64>());
        assert_eq!(summary.held, count(State::Held));
        assert_eq!(summary.active, count(State::Leased));
        assert_eq!(summary.ready, count(State::Ready));
        let oldest = own.iter().map(|e| e.id).min().unwrap();
        let oldest = queues.list_message(EntryId(oldest))[0].arrived;
        assert_eq!(summary.oldest, Some(oldest));
        let next = own.iter().filter(|e| e.state == State::Delayed).filter_map(|e| e.due).min();
        if summary.ready == 0 {
            assert_eq!(summary.next_due.map(|t| t.0), next);
        }
    }
    let distinct: BTreeSet<_> = model.entries.values().map(|e| (e.channel, e.domain)).collect();
    assert_eq!(summaries, distinct.len());
    let ids: BTreeSet<_> = model.entries.values().map(|e| e.id).collect();
    assert_eq!(queues.messages_total(), ids.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_does_what_the_model_does(steps in steps()) {
        run(steps);
    }
}

struct Index {
    queues: Queues,
    now: Time,
    next: u64,
    runs: u64,
}

impl Index {
    fn new() -> Self {
        let mut queues = Queues::new();
        queues.set_grace(GRACE);
        Self { queues, now: Time(1_000_000), next: 1, runs: 0 }
    }

    fn add(&mut self, channel: &str, domains: &[&str], placement: Placement) -> u64 {
        let id = self.next;
        self.next += 1;
        let message = NewMessage {
            id: EntryId(id),
            at: Location { segment: 0, offset: 0 },
            arrived: self.now,
            size: 1,
            priority: TransferPriority::NORMAL,
        };
        let parts = domains.iter().map(|&domain| NewEntry {
            channel,
            domain,
            placement,
            attempts: 0,
            step: 0,
            noticed: 0,
            priority: TransferPriority::NORMAL,
            order: Order::Age,
            recipients: 1,
            open: None,
        });
        self.queues.insert(message, parts, self.now).unwrap();
        id
    }

    fn take(&mut self, channel: &str, max: usize) -> Vec<(EntryKey, u64)> {
        let channel = self.queues.channel(channel);
        let mut taken = Vec::new();
        self.queues.lease(channel, None, max, &mut taken, self.now);
        let id = |key: EntryKey| self.queues.message(self.queues.entry(key).message).id.0;
        taken.into_iter().map(|key| (key, id(key))).collect()
    }

    fn release(&mut self, queues: &[QueueKey], collect: Collect) {
        self.runs += 1;
        self.queues.begin_run(self.runs, Lanes::Many, None, queues, vec![collect], self.now);
    }

    /// A party asks for queues, which may be under the run of that number.
    fn ask(&mut self, party: &Party, run: u64, queues: &[QueueKey]) {
        let (theirs, own): (Vec<QueueKey>, Vec<QueueKey>) =
            queues.iter().partition(|&&queue| self.queues.run_of(queue).is_some());
        self.queues.join(run, Some(party), &theirs, Vec::new(), self.now);
        self.runs += 1;
        self.queues.begin_run(self.runs, Lanes::Many, Some(party), &own, Vec::new(), self.now);
    }

    fn after(&mut self, wait: Duration) {
        self.now = self.now.plus(wait);
        self.queues.advance(self.now);
    }
}

#[test]
fn queues_of_a_channel_take_turns() {
    let mut index = Index::new();
    for _ in 0..4 {
        index.add("tcp_local", &["busy.example"], Placement::Ready);
    }
    index.add("tcp_local", &["quiet.example"], Placement::Ready);
    let order: Vec<u64> =
        std::iter::from_fn(|| index.take("tcp_local", 2).first().map(|&(_, id)| id)).collect();
    assert_eq!(
        order,
        [1, 5, 2, 4],
        "a first turn is for one message, and the second lease is the other queue's"
    );
}

#[test]
fn whoever_asks_last_does_not_wait_for_all_the_mail_of_those_before() {
    let mut index = Index::new();
    let crowd: Vec<String> = (0..1000).map(|number| format!("s{number}.example")).collect();
    for domain in &crowd {
        for _ in 0..20 {
            index.add("tcp_many", &[domain], Placement::UntilReleased);
        }
    }
    let last = index.add("tcp_many", &["late.example"], Placement::UntilReleased);
    for domain in &crowd {
        let found = index.queues.queues_of_domain(domain);
        index.release(&found, Collect::Named);
    }
    // Some have had several turns when the last one asks.
    let mut taken: usize = (0..1500).map(|_| index.take("tcp_many", 10).len()).sum();
    let found = index.queues.queues_of_domain("late.example");
    index.release(&found, Collect::Named);
    let before = taken;
    loop {
        let lease = index.take("tcp_many", 10);
        taken += lease.len();
        if lease.iter().any(|&(_, id)| id == last) {
            break;
        }
    }
    assert!(taken - before <= 10, "{} messages went before it", taken - before);
}

/// How many messages go before that of the last to ask, when another party has asked for a thousand domains before, of which
/// so many leases have been taken, and all of the channel's queues have been released by nobody in particular if that is wanted.
fn before_the_last(leases: usize, by_schedule: bool) -> usize {
    let mut index = Index::new();
    let crowd: Vec<String> = (0..1000).map(|number| format!("s{number}.example")).collect();
    for domain in &crowd {
        for _ in 0..100 {
            index.add("tcp_many", &[domain], Placement::UntilReleased);
        }
    }
    let late: Vec<u64> =
        (0..100).map(|_| index.add("tcp_many", &["late.example"], Placement::UntilReleased)).collect();
    let (many, one) = (Party::from("many"), Party::from("one"));
    if by_schedule {
        let channel = index.queues.channel("tcp_many");
        let all = index.queues.queues_of_channel(channel);
        index.release(&all, Collect::Channel(channel));
    }
    let run = index.runs;
    for domain in &crowd {
        let found = index.queues.queues_of_domain(domain);
        index.ask(&many, run, &found);
    }
    for _ in 0..leases {
        index.take("tcp_many", 10);
    }
    let found = index.queues.queues_of_domain("late.example");
    index.ask(&one, run, &found);
    let mut before = 0;
    loop {
        let lease = index.take("tcp_many", 10);
        assert!(!lease.is_empty(), "it has not come at all");
        if lease.iter().any(|(_, id)| late.contains(id)) {
            return before;
        }
        before += lease.len();
    }
}

#[test]
fn a_party_with_a_thousand_domains_does_not_keep_another_waiting() {
    let early = [0, 1, 10].map(|leases| (leases, true));
    for (leases, by_schedule) in
        [0, 1, 10, 500, 1500, 5000].map(|leases| (leases, false)).into_iter().chain(early)
    {
        let before = before_the_last(leases, by_schedule);
        // The other has asked at the same moment, and has one turn.
        assert!(before <= 10, "{leases} leases, {by_schedule}: {before} messages went before it");
    }
}

#[test]
fn a_queue_that_is_asked_for_again_and_again_has_one_place() {
    let mut index = Index::new();
    for _ in 0..5 {
        index.add("tcp_many", &["a.example"], Placement::UntilReleased);
        index.add("tcp_many", &["b.example"], Placement::UntilReleased);
    }
    let channel = index.queues.channel("tcp_many");
    let all = index.queues.queues_of_channel(channel);
    index.release(&all, Collect::Named);
    for party in ["one", "two", "one"] {
        let (party, run) = (Party::from(party), index.runs);
        let found = index.queues.queues_of_domain("a.example");
        (0..50).for_each(|_| index.ask(&party, run, &found));
    }
    let lengths: Vec<usize> =
        std::iter::from_fn(|| Some(index.take("tcp_many", 4).len()).filter(|&n| n > 0)).collect();
    assert_eq!(lengths, [1, 1, 2, 2, 2, 2], "turn by turn");
}

#[test]
fn mail_that_arrives_during_a_run_and_its_grace_joins_it() {
    let mut index = Index::new();
    index.add("tcp_dialup", &["site.example"], Placement::UntilReleased);
    assert!(index.take("tcp_dialup", 9).is_empty());
    let found = index.queues.queues_of_domain("site.example");
    index.release(&found, Collect::Named);
    let first = index.take("tcp_dialup", 9);
    assert_eq!(first.len(), 1);
    // Long after, but still under way: joins.
    index.after(Duration::from_secs(600));
    index.add("tcp_dialup", &["site.example"], Placement::UntilReleased);
    let second = index.take("tcp_dialup", 9);
    assert_eq!(second.len(), 1);
    for (key, _) in first.into_iter().chain(second) {
        index.queues.finish(key, index.now);
    }
    index.after(GRACE - Duration::from_secs(1));
    index.add("tcp_dialup", &["site.example"], Placement::UntilReleased);
    let third = index.take("tcp_dialup", 9);
    assert_eq!(third.len(), 1, "within the grace");
    index.queues.finish(third[0].0, index.now);
    index.after(GRACE);
    index.add("tcp_dialup", &["site.example"], Placement::UntilReleased);
    assert!(index.take("tcp_dialup", 9).is_empty(), "the run is over");
}

#[test]
fn a_run_of_a_channel_covers_domains_that_come_during_it() {
    let mut index = Index::new();
    index.add("tcp_dialup", &["site.example"], Placement::UntilReleased);
    let channel = index.queues.channel("tcp_dialup");
    let found = index.queues.queues_of_channel(channel);
    index.release(&found, Collect::Channel(channel));
    index.add("tcp_dialup", &["other.site.example"], Placement::UntilReleased);
    index.add("tcp_other", &["other.site.example"], Placement::UntilReleased);
    assert_eq!(index.take("tcp_dialup", 1).len() + index.take("tcp_dialup", 1).len(), 2);
    assert!(index.take("tcp_other", 1).is_empty());
}

#[test]
fn what_fails_under_a_run_is_not_tried_again_by_it() {
    let mut index = Index::new();
    index.add("tcp_dialup", &["site.example"], Placement::UntilReleased);
    let found = index.queues.queues_of_domain("site.example");
    index.release(&found, Collect::Named);
    let taken = index.take("tcp_dialup", 9);
    index.queues.put_back(taken[0].0, Placement::UntilReleased, index.now);
    assert!(index.take("tcp_dialup", 9).is_empty());
    index.release(&found, Collect::Named);
    assert_eq!(index.take("tcp_dialup", 9).len(), 1, "but by the next one");
}

#[test]
fn settled_recipients_are_remembered_only_where_some_are_left() {
    let mut index = Index::new();
    index.add("tcp_local", &["a.example"], Placement::Ready);
    let (key, _) = index.take("tcp_local", 1)[0];
    assert_eq!(index.queues.open(key), None);
    index.queues.set_open(key, &[2, 5]);
    index.queues.put_back(key, Placement::Ready, index.now);
    assert_eq!(index.queues.open(key), Some(&[2, 5][..]));
    assert_eq!(index.queues.list_message(EntryId(1))[0].open.as_deref(), Some(&[2, 5][..]));
    index.queues.finish(key, index.now);
    assert_eq!(index.queues.open(key), None);
}

#[test]
fn a_release_costs_by_queues_and_not_by_their_mail() {
    // 60,000 messages in one queue: releasing it must not look at them. Time is a poor witness in a test, so the
    // comparison is generous: a thousand releases of it cost less than putting its mail in once.
    let mut index = Index::new();
    let started = std::time::Instant::now();
    for _ in 0..60_000 {
        index.add("tcp_dialup", &["site.example"], Placement::UntilReleased);
    }
    let filling = started.elapsed();
    let found = index.queues.queues_of_domain("site.example");
    let started = std::time::Instant::now();
    index.release(&found, Collect::Named);
    for _ in 0..1_000 {
        index.queues.join(1, None, &found, Vec::new(), index.now);
        assert_eq!(index.queues.count(&found).messages, 60_000);
    }
    assert!(
        started.elapsed() < filling,
        "{:?} for the releases, {filling:?} for the mail",
        started.elapsed()
    );
}

#[test]
fn a_walk_sees_every_entry_once_in_pieces() {
    let mut index = Index::new();
    for _ in 0..100 {
        index.add("tcp_local", &["a.example", "b.example"], Placement::Ready);
    }
    let mut gone = Vec::new();
    while gone.len() < 30 {
        gone.extend(index.take("tcp_local", 30 - gone.len()));
    }
    for (key, _) in gone {
        index.queues.finish(key, index.now);
    }
    let (mut seen, mut from, mut pieces) = (BTreeSet::new(), Some(0), 0);
    while let Some(place) = from {
        pieces += 1;
        from = index.queues.walk(place, 16, |key, _, _| assert!(seen.insert(key)));
    }
    assert_eq!((seen.len(), pieces), (170, 13));
}

/// A message whose recipients 0, 1 and 2 wait apart in one queue.
fn add_split(index: &mut Index, priorities: [Priority; 3]) -> EntryId {
    let id = EntryId(index.next);
    index.next += 1;
    let (at, priority) = (Location { segment: 0, offset: 0 }, TransferPriority::NORMAL);
    let message = NewMessage { id, at, arrived: index.now, size: 1, priority };
    let opens = [[0u32], [1], [2]];
    let parts = opens.iter().zip(priorities).map(|(open, priority)| NewEntry {
        channel: "tcp_single",
        domain: "site.example",
        placement: Placement::Ready,
        attempts: 0,
        step: 0,
        noticed: 0,
        priority: priority.into(),
        order: Order::Age,
        recipients: 1,
        open: Some(open),
    });
    index.queues.insert(message, parts, index.now).unwrap();
    id
}

#[test]
fn a_step_of_a_summary_looks_at_no_more_queues_than_it_may() {
    let mut index = Index::new();
    for _ in 0..5 {
        add_split(&mut index, [Priority::Normal; 3]);
    }
    let all: Vec<String> = index.queues.summaries().map(|row| format!("{row:?}")).collect();
    for budget in 1..4 {
        let (mut found, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let (rows, then) = index.queues.summaries_from(from, budget);
            assert!(rows.len() <= budget as usize && then.is_none_or(|then| then > from));
            found.extend(rows.iter().map(|row| format!("{row:?}")));
            next = then;
        }
        assert_eq!(found, all, "{budget} at a time");
    }
    let lengths: u64 = index.queues.queue_lengths().map(|(_, count)| count).sum();
    assert_eq!(lengths, index.queues.summaries().map(|row| row.messages).sum::<u64>());
}

#[test]
fn recipients_that_wait_apart_are_entries_of_their_own() {
    let mut index = Index::new();
    let id = add_split(&mut index, [Priority::Normal; 3]);
    let queue = index.queues.queues_of_domain("site.example");
    assert_eq!(index.queues.summaries().next().unwrap().messages, 3);
    assert_eq!(index.queues.count(&queue).messages, 1, "they are one message all the same");
    let (first, _) = index.take("tcp_single", 1)[0];
    assert_eq!(index.queues.open(first), Some(&[0][..]), "in the order of the envelope");
    assert_eq!(index.queues.due_siblings(first).len(), 2);
    index.queues.put_back(first, Placement::UntilReleased, index.now);
    let rest = index.take("tcp_single", 9);
    assert_eq!(rest.len(), 2, "the one that waits keeps nobody");
    for (key, _) in rest {
        assert_eq!(index.queues.finish(key, index.now), Finished::InPart);
    }
    assert_eq!(index.queues.list_message(id).len(), 1);
    index.queues.take(first, index.now);
    assert!(matches!(index.queues.finish(first, index.now), Finished::Whole { .. }));
    assert_eq!(index.queues.summaries().count(), 0);
}

#[test]
fn a_lease_may_be_for_one_priority() {
    let mut index = Index::new();
    add_split(&mut index, [Priority::Nonurgent, Priority::Urgent, Priority::Normal]);
    let channel = index.queues.channel("tcp_single");
    assert_eq!(index.queues.count_ready(channel, (u64::MAX, u64::MAX)), (3, 3));
    assert_eq!(index.queues.count_ready(channel, (1, u64::MAX)).0, 2, "it counts no further than it must");
    for (priority, recipient) in [(Priority::Normal, 2), (Priority::Nonurgent, 0), (Priority::Urgent, 1)] {
        assert!(index.queues.has_ready_of(channel, priority));
        let mut taken = Vec::new();
        index.queues.lease(channel, Some(&[priority]), 9, &mut taken, index.now);
        assert_eq!(taken.len(), 1);
        assert_eq!(index.queues.open(taken[0]), Some(&[recipient][..]));
        assert!(!index.queues.has_ready_of(channel, priority));
    }
    assert!(!index.queues.has_ready(channel));
}

#[test]
fn some_priorities_may_be_made_due_and_others_left() {
    let mut index = Index::new();
    add_split(&mut index, [Priority::Nonurgent, Priority::Urgent, Priority::Normal]);
    let keys: Vec<EntryKey> = index.take("tcp_single", 9).into_iter().map(|(key, _)| key).collect();
    for key in keys {
        index.queues.put_back(key, Placement::UntilReleased, index.now);
    }
    let queue = index.queues.queues_of_domain("site.example");
    index.queues.make_due_of(&queue, &[Priority::Urgent, Priority::Normal], index.now);
    assert_eq!(index.take("tcp_single", 9).len(), 2);
    index.queues.make_due(&queue, index.now);
    let left = index.take("tcp_single", 9);
    assert_eq!(index.queues.open(left[0].0), Some(&[0][..]));
}

#[test]
fn only_time_moves_what_is_deferred() {
    let mut index = Index::new();
    let day = Duration::from_secs(86_400);
    let until = index.now.plus(day);
    let ready = index.add("tcp_local", &["a.example"], Placement::Deferred { until, then: Then::Ready });
    let later =
        index.add("tcp_slow", &["b.example"], Placement::Deferred { until, then: Then::UntilReleased });
    for name in ["tcp_local", "tcp_slow"] {
        let channel = index.queues.channel(name);
        let queues = index.queues.queues_of_channel(channel);
        assert_eq!(index.queues.count(&queues).messages, 0, "a release has nothing to do with it");
        index.release(&queues, Collect::Channel(channel));
        index.queues.make_due_of(&queues, &[Priority::Normal], index.now);
    }
    assert_eq!(index.queues.release_message(99, EntryId(ready), index.now), []);
    let view = &index.queues.list_message(EntryId(ready))[0];
    assert_eq!((view.state, view.due), (State::Deferred, Some(until)));
    index.after(GRACE);
    assert!(index.take("tcp_local", 1).is_empty() && index.take("tcp_slow", 1).is_empty());
    assert_eq!(index.queues.next_wake(), Some(until));
    index.after(day - GRACE);
    assert_eq!(index.take("tcp_local", 1)[0].1, ready);
    assert!(index.take("tcp_slow", 1).is_empty(), "its channel has its own time");
    let queue = index.queues.queues_of_domain("b.example");
    index.queues.make_due(&queue, index.now);
    assert_eq!(index.take("tcp_slow", 1)[0].1, later);
    // A date that has passed is none.
    let past = Placement::Deferred { until: index.now, then: Then::Ready };
    index.add("tcp_local", &["a.example"], past);
    assert_eq!(index.take("tcp_local", 1).len(), 1);
}

impl Index {
    /// A message of this size and priority; its number.
    fn add_of(&mut self, number: i8, size: u64, order: Order) -> u64 {
        let id = self.next;
        self.next += 1;
        let (at, priority) = (Location { segment: 0, offset: 0 }, TransferPriority::new(number).unwrap());
        let part = NewEntry {
            channel: "tcp_ship",
            domain: "ship.example",
            placement: Placement::UntilReleased,
            attempts: 0,
            step: 0,
            noticed: 0,
            priority,
            order,
            recipients: 1,
            open: None,
        };
        let message = NewMessage { id: EntryId(id), at, arrived: self.now, size, priority };
        self.queues.insert(message, [part], self.now).unwrap();
        id
    }

    fn take_all(&mut self, max: usize) -> Vec<u64> {
        std::iter::from_fn(|| Some(self.take("tcp_ship", max)).filter(|taken| !taken.is_empty()))
            .flatten()
            .map(|(_, id)| id)
            .collect()
    }
}

#[test]
fn a_run_takes_the_most_urgent_and_of_those_the_smallest_where_size_counts() {
    for (order, expected) in [(Order::Age, [5, 6, 2, 4, 1, 3]), (Order::Size, [6, 5, 4, 2, 1, 3])] {
        let mut index = Index::new();
        for (number, size) in [(0, 10), (2, 9000), (-4, 1), (2, 300), (9, 80_000), (9, 70_000)] {
            index.add_of(number, size, order);
        }
        let queue = index.queues.queues_of_domain("ship.example");
        index.release(&queue, Collect::Named);
        assert_eq!(index.take_all(100), expected, "{order:?}");
    }
}

#[test]
fn a_stream_of_small_urgent_mail_keeps_neither_large_nor_ordinary_mail_for_ever() {
    let mut index = Index::new();
    let ordinary = index.add_of(0, 10, Order::Size);
    let large = index.add_of(5, 1 << 20, Order::Size);
    let queue = index.queues.queues_of_domain("ship.example");
    index.release(&queue, Collect::Named);
    let mut waits = BTreeSet::from([ordinary, large]);
    let mut leases = 0;
    while !waits.is_empty() {
        index.add_of(5, 10, Order::Size);
        index.add_of(5, 10, Order::Size);
        for (key, id) in index.take("tcp_ship", 1) {
            waits.remove(&id);
            index.queues.finish(key, index.now);
        }
        leases += 1;
        assert!(leases <= 40, "{waits:?} still wait after {leases} leases");
    }
    assert!(leases > 15, "urgent mail goes first, for a while");
}
