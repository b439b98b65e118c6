//! One worker thread's side of the host: what it holds, and the answers to its callbacks.
//!
//! # Invariants
//! A delivery is in exactly one place: waiting (`pending`), lent (`held`), or reported. It leaves `held` under the lock,
//! once, so it is reported once, by whoever took it out: the plugin with `finish`, or the host with
//! [`seize`](Worker::seize). Events are sent without the lock.
//! # Failure
//! After `seize` the worker is gone: it is told to stop, its settlements are refused, and the bytes it was lent are
//! kept until its thread ends, because nobody knows what it still reads.

use crate::call::{Lent, Pointer};
use crate::door::{Origin, Submission};
use crate::event::{Cause, HostEvent};
use crate::instance::{Inner, Received};
use crate::recorder::{Call, HELD_MAX, Slot};
use crate::sync::{Condvar, Mutex};
use crate::work::{Delivery, Lease};
use sluice_abi as abi;
use sluice_mail::Outcome;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longest single wait; a plugin that asks for more is asked to ask again.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Names a delivery towards plugins. For the whole process, so that no plugin can hit another's by mistake.
static TOKENS: AtomicU64 = AtomicU64::new(1);

/// What `next` answers.
pub(crate) enum Answer {
    Delivery(Pointer),
    Idle,
    Poll,
    Stop,
}

/// One worker thread, as its callbacks and the watchdog see it.
pub(crate) struct Worker {
    pub(crate) instance: Arc<Inner>,
    state: Mutex<State>,
    /// Something left `held`.
    room: Condvar,
    /// The instance has a lease for this worker.
    called: Arc<Condvar>,
    /// Where it writes down what it does.
    slot: Option<Slot>,
}

struct State {
    /// Still in `create`?
    creating: bool,
    /// Since when the thread is in the plugin's code; `None` while it waits in `next`.
    away_since: Option<Instant>,
    /// Since when it has had nothing to do.
    idle_since: Instant,
    held: Vec<Held>,
    /// Which places in the slot are taken by those that are held, by bits.
    places: u64,
    pending: VecDeque<(u64, Delivery)>,
    leases: Vec<OpenLease>,
    /// Lent to a thread that is gone, and kept alive for it.
    kept: Vec<Held>,
    /// Was `next` answered with stop?
    told_to_stop: bool,
    gone: bool,
}

struct OpenLease {
    lease: u64,
    unfinished: usize,
    polling: bool,
}

struct Held {
    token: u64,
    /// In the slot; one too many is in none.
    place: usize,
    lease: u64,
    due: Instant,
    lent: Lent,
    outcomes: Vec<(u32, Outcome)>,
}

impl Held {
    /// It is no longer in hand.
    fn leaves(&self, slot: Option<&Slot>, places: &mut u64) {
        if let Some(slot) = slot
            && self.place < HELD_MAX
        {
            *places &= !(1 << self.place);
            slot.held(self.place, 0);
        }
    }

    fn into_event(self, cause: Cause) -> (HostEvent, Lent) {
        let Held { lease, lent, outcomes, .. } = self;
        let settled = |index: u32| outcomes.iter().any(|(done, _)| *done == index);
        let all = lent.source().recipients.iter().map(|recipient| recipient.index);
        let unsettled: Vec<u32> = match outcomes.len() == lent.source().recipients.len() {
            true => Vec::new(),
            false => all.filter(|index| !settled(*index)).collect(),
        };
        let token = lent.source().token;
        (HostEvent::Finished { token, lease, outcomes, unsettled, cause, lease_done: false }, lent)
    }
}

/// Everything about a delivery that was never lent.
pub(crate) fn untouched(lease: u64, delivery: &Delivery, cause: Cause) -> HostEvent {
    let unsettled = delivery.recipients.iter().map(|recipient| recipient.index).collect();
    let token = delivery.token;
    HostEvent::Finished { token, lease, outcomes: Vec::new(), unsettled, cause, lease_done: false }
}

/// Everything about a lease that no worker ever had.
pub(crate) fn untouched_lease(lease: &Lease, cause: &Cause) -> Vec<HostEvent> {
    let finished = lease.deliveries.iter().map(|delivery| untouched(lease.lease, delivery, cause.clone()));
    finished.chain([HostEvent::LeaseDone { lease: lease.lease }]).collect()
}

impl Worker {
    pub(crate) fn new(instance: Arc<Inner>, creating: bool) -> Worker {
        let now = Instant::now();
        let state = State {
            creating,
            away_since: Some(now),
            idle_since: now,
            held: Vec::new(),
            places: 0,
            pending: VecDeque::new(),
            leases: Vec::new(),
            kept: Vec::new(),
            told_to_stop: false,
            gone: false,
        };
        let slot = instance.slot();
        Worker { instance, state: Mutex::new(state), room: Condvar::new(), called: Arc::default(), slot }
    }

    /// Writes down what crosses the edge.
    pub(crate) fn note(&self, call: Call) {
        if let Some(slot) = &self.slot {
            slot.note(call);
        }
    }

    /// `create` is over. `false` when that took too long and nobody waits for the channel any more.
    pub(crate) fn created(&self) -> bool {
        let mut state = self.state.lock();
        state.creating = false;
        state.away_since = Some(Instant::now());
        !state.gone
    }

    /// It has a delivery that it has not finished.
    pub(crate) fn holds(&self) -> bool {
        !self.state.lock().held.is_empty()
    }

    /// It was given up.
    pub(crate) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// How it is called when it waits for a lease.
    pub(crate) const fn called(&self) -> &Arc<Condvar> {
        &self.called
    }

    pub(crate) fn told_to_stop(&self) -> bool {
        self.state.lock().told_to_stop
    }

    pub(crate) fn next(&self, timeout: Duration) -> Answer {
        self.note(Call::Waits);
        let answer = self.next_thing(timeout);
        match &answer {
            Answer::Delivery(_) => {} // Noted with the delivery.
            Answer::Idle => self.note(Call::Idle),
            Answer::Poll => self.note(Call::Poll),
            Answer::Stop => self.note(Call::ToldToStop),
        }
        answer
    }

    fn next_thing(&self, timeout: Duration) -> Answer {
        let give_up = Instant::now() + timeout.min(WAIT_MAX);
        self.end_polls();
        loop {
            let mut state = self.state.lock();
            state.away_since = None;
            if state.gone {
                return Answer::Stop;
            }
            if self.instance.is_stopping() {
                state.told_to_stop = true;
                state.away_since = Some(Instant::now());
                drop(state);
                self.give_back_pending(&Cause::Stopping);
                return Answer::Stop;
            }
            if state.held.len() >= self.instance.spec.held_max {
                // Woken by `finish` on another thread, ended by the timeout.
                if self.room.wait_until(&mut state, give_up).timed_out() {
                    state.away_since = Some(Instant::now());
                    return Answer::Idle;
                }
                continue;
            }
            if let Some((lease, delivery)) = state.pending.pop_front() {
                let more = state.pending.front().is_some_and(|(next, _)| *next == lease);
                let token = TOKENS.fetch_add(1, Ordering::Relaxed);
                match Lent::new(delivery, token, lease, more) {
                    Ok(mut lent) => {
                        lent.disguise(self.instance.spec.guise);
                        return Answer::Delivery(self.lend(&mut state, token, lease, lent));
                    }
                    Err(delivery) => {
                        let _sends = self.instance.sending.begin();
                        drop(state);
                        tracing::error!(channel = %self.instance.channel, id = delivery.id, "{}", Cause::Unusable);
                        self.report(lease, untouched(lease, &delivery, Cause::Unusable));
                        continue;
                    }
                }
            }
            let idle_limit = match state.held.is_empty() {
                true => state.idle_since + self.instance.spec.idle_exit,
                false => give_up,
            };
            drop(state);
            match self.instance.receive(self, give_up.min(idle_limit)) {
                Received::Offer(offer, _sends) => {
                    if self.take(offer.read()) {
                        return Answer::Poll;
                    }
                }
                Received::Closed => {} // The instance is stopping, or this worker is gone; the loop sees that.
                Received::Nothing => {
                    let now = Instant::now();
                    let mut state = self.state.lock();
                    if now >= give_up || now >= idle_limit {
                        state.away_since = Some(now);
                        // Whoever offers work from now on starts a new worker, or finds this one not yet ended, and
                        // that looks at the queue again when it ends.
                        let retire = now >= idle_limit && state.held.is_empty() && !state.gone;
                        state.told_to_stop |= retire;
                        return if retire { Answer::Stop } else { Answer::Idle };
                    }
                }
            }
        }
    }

    fn lend(&self, state: &mut State, token: u64, lease: u64, lent: Lent) -> Pointer {
        let now = Instant::now();
        let pointer = lent.pointer();
        let place = (!state.places).trailing_zeros() as usize;
        if let Some(slot) = &self.slot
            && place < HELD_MAX
        {
            state.places |= 1 << place;
            slot.lent(place, lent.source().token, &lent.source().id);
        }
        state.held.push(Held {
            token,
            place,
            lease,
            due: now + self.instance.spec.deadline,
            lent,
            outcomes: Vec::new(),
        });
        state.away_since = Some(now);
        state.idle_since = now;
        pointer
    }

    /// Registers a lease. `true` when the plugin is to poll first.
    fn take(&self, lease: Lease) -> bool {
        let Lease { lease, poll, deliveries } = lease;
        let mut state = self.state.lock();
        if state.gone {
            // Taken from the queue in the same moment as this worker was given up: nobody has looked at it.
            drop(state);
            for event in untouched_lease(&Lease { lease, poll, deliveries }, &Cause::Stopping) {
                self.instance.send(event);
            }
            return false;
        }
        let now = Instant::now();
        state.idle_since = now;
        if deliveries.is_empty() && !poll {
            drop(state);
            self.instance.send(HostEvent::LeaseDone { lease });
            return false;
        }
        state.leases.push(OpenLease { lease, unfinished: deliveries.len(), polling: poll });
        state.pending.extend(deliveries.into_iter().map(|delivery| (lease, delivery)));
        if poll {
            state.away_since = Some(now);
        }
        poll
    }

    /// The plugin asks for the next thing, so it is done with asking its peer.
    fn end_polls(&self) {
        let mut over = Vec::new();
        let mut state = self.state.lock();
        for lease in &mut state.leases {
            lease.polling = false;
        }
        state.leases.retain(|lease| {
            let done = lease.unfinished == 0;
            if done {
                over.push(lease.lease);
            }
            !done
        });
        let _sends = self.instance.sending.begin();
        drop(state);
        for lease in over {
            self.instance.send(HostEvent::LeaseDone { lease });
        }
    }

    pub(crate) fn settle(&self, token: u64, index: u32, outcome: Outcome) -> u32 {
        let mut state = self.state.lock();
        let gone = state.gone;
        let Some(held) = state.held.iter_mut().find(|held| held.token == token) else {
            drop(state);
            let when = if gone { "after its time was over" } else { "of a delivery that it does not hold" };
            self.complain(&format!("it settled recipient {index} {when}; this is ignored"));
            return abi::SETTLE_UNKNOWN;
        };
        let source = held.lent.source();
        if source.recipients.binary_search_by_key(&index, |recipient| recipient.index).is_err() {
            let id = source.id.clone();
            drop(state);
            self.complain_about(&id, &format!("it settled recipient {index}, who is not in the delivery"));
            return abi::SETTLE_NO_RECIPIENT;
        }
        if held.outcomes.iter().any(|(done, _)| *done == index) {
            let id = source.id.clone();
            drop(state);
            self.complain_about(&id, &format!("it settled recipient {index} again; the first word counts"));
            return abi::SETTLE_AGAIN;
        }
        held.outcomes.push((index, outcome));
        self.note(Call::Settled);
        abi::SETTLE_OK
    }

    /// What a submission takes over from the delivery with this token, 0 for none. An error when the worker may not bring
    /// anything in, or does not hold the delivery.
    pub(crate) fn origin(&self, token: u64) -> Result<Option<Origin>, u32> {
        let state = self.state.lock();
        let gone = state.gone;
        let held = state.held.iter().find(|held| held.token == token);
        match (gone, token, held) {
            (false, 0, _) => Ok(None),
            (false, _, Some(held)) => {
                let source = held.lent.source();
                Ok(Some(Origin {
                    id: source.id.clone(),
                    source_channel: source.source_channel.clone(),
                    domain: Arc::clone(&source.domain),
                    priority: source.priority,
                    arrived: source.arrived,
                    wishes: source.wishes.clone(),
                }))
            }
            _ => {
                drop(state);
                let when =
                    if gone { "after its time was over" } else { "of a delivery that it does not hold" };
                self.complain(&format!("it brought a message in {when}; this is refused"));
                Err(abi::ENQUEUE_GONE)
            }
        }
    }

    /// Hands a submission to the door. The time that this takes is not the plugin's.
    pub(crate) fn submit(&self, submission: &Submission<'_>) -> Option<Vec<Outcome>> {
        let door = self.instance.door.get()?.clone();
        self.state.lock().away_since = None;
        let answers = door.submit(submission);
        self.note(Call::Enqueued);
        self.state.lock().away_since = Some(Instant::now());
        answers
    }

    pub(crate) fn finish(&self, token: u64) -> u32 {
        let mut state = self.state.lock();
        let Some(at) = state.held.iter().position(|held| held.token == token) else {
            return abi::SETTLE_UNKNOWN;
        };
        let held = state.held.swap_remove(at);
        held.leaves(self.slot.as_ref(), &mut state.places);
        // Whoever takes the next delivery while one is at hand begins with it now.
        let due = Instant::now() + self.instance.spec.deadline;
        let later = |other: &&mut Held| other.lease == held.lease && other.token > held.token;
        if let Some(next) = state.held.iter_mut().filter(later).min_by_key(|other| other.token) {
            next.due = next.due.max(due);
        }
        self.note(Call::Finished);
        // Under the lock, so that an end that finds nothing here to seize knows that something is on its way.
        let _sends = self.instance.sending.begin();
        drop(state);
        self.room.notify_one();
        if !held.outcomes.is_empty() {
            self.instance.worked();
        }
        let lease = held.lease;
        let (event, _lent) = held.into_event(Cause::Done);
        self.report(lease, event);
        abi::SETTLE_OK
    }

    pub(crate) fn remaining(&self, token: u64) -> Duration {
        let state = self.state.lock();
        let held = state.held.iter().find(|held| held.token == token);
        held.map_or(Duration::ZERO, |held| held.due.saturating_duration_since(Instant::now()))
    }

    /// Sends the last word about one delivery, and about its lease when it was the last of it.
    fn report(&self, lease: u64, mut event: HostEvent) {
        let mut state = self.state.lock();
        // All others of the lease have been told of.
        let is_last = |open: &OpenLease| open.lease == lease && open.unfinished == 1 && !open.polling;
        if let Some(at) = state.leases.iter().position(is_last)
            && let HostEvent::Finished { lease_done, .. } = &mut event
        {
            *lease_done = true;
            state.leases.swap_remove(at);
            drop(state);
            return self.instance.send(event);
        }
        drop(state);
        self.instance.send(event);
        // Counted only now, so that the lease is never reported before one of its deliveries.
        let mut state = self.state.lock();
        let Some(at) = state.leases.iter().position(|open| open.lease == lease) else { return };
        let open = &mut state.leases[at];
        open.unfinished = open.unfinished.saturating_sub(1);
        if open.unfinished == 0 && !open.polling {
            state.leases.swap_remove(at);
            drop(state);
            self.instance.send(HostEvent::LeaseDone { lease });
        }
    }

    /// Reports what was not lent yet.
    pub(crate) fn give_back_pending(&self, cause: &Cause) {
        let mut state = self.state.lock();
        let pending = std::mem::take(&mut state.pending);
        let _sends = self.instance.sending.begin();
        drop(state);
        for (lease, delivery) in pending {
            self.report(lease, untouched(lease, &delivery, cause.clone()));
        }
    }

    /// Takes everything from this worker, to be given to [`report_seized`](Self::report_seized) by the caller. `None`
    /// when that was done before: exactly one caller gets it.
    pub(crate) fn seize(&self, cause: &Cause) -> Option<Seized> {
        let mut state = self.state.lock();
        if state.gone {
            return None;
        }
        state.gone = true;
        let mut seized = Vec::new();
        for held in std::mem::take(&mut state.held) {
            held.leaves(self.slot.as_ref(), &mut state.places);
            let (token, place, lease, due) = (held.token, held.place, held.lease, held.due);
            let (event, lent) = held.into_event(cause.clone());
            seized.push((lease, event));
            state.kept.push(Held { token, place, lease, due, lent, outcomes: Vec::new() });
        }
        for (lease, delivery) in std::mem::take(&mut state.pending) {
            seized.push((lease, untouched(lease, &delivery, cause.clone())));
        }
        drop(state);
        self.room.notify_all();
        Some(Seized(seized))
    }

    /// Sends the last word about everything that was seized.
    pub(crate) fn report_seized(&self, seized: Seized) {
        for (lease, event) in seized.0 {
            self.report(lease, event);
        }
        self.end_polls();
    }

    /// How long it was given, if that is over.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let spec = &self.instance.spec;
        let state = self.state.lock();
        if state.gone {
            return None;
        }
        let away = state.away_since.map(|since| now.saturating_duration_since(since));
        if state.creating {
            return (away? > spec.create_deadline).then_some(Overdue::Create(spec.create_deadline));
        }
        let late = match state.held.is_empty() {
            true => away.is_some_and(|away| away > spec.deadline),
            false => state.held.iter().any(|held| now > held.due),
        };
        late.then_some(Overdue::Work(spec.deadline))
    }

    /// Says in the log what the plugin did wrong, as often as it may say something itself: it may do that with each delivery.
    pub(crate) fn complain(&self, what: &str) {
        let instance = &self.instance;
        if !instance.handle.one_more_line() {
            return;
        }
        tracing::warn!(channel = %instance.channel, plugin = instance.plugin.name(), "the plugin is faulty: {what}");
    }

    fn complain_about(&self, id: &str, what: &str) {
        let instance = &self.instance;
        if !instance.handle.one_more_line() {
            return;
        }
        tracing::warn!(channel = %instance.channel, plugin = instance.plugin.name(), id, "the plugin is faulty: {what}");
    }
}

/// Last words that are still to be sent.
pub(crate) struct Seized(Vec<(u64, HostEvent)>);

/// What a worker did not do in time.
pub(crate) enum Overdue {
    Create(Duration),
    Work(Duration),
}
