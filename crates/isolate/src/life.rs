//! The thread of an isolated channel: it starts children, gives them leases, has them stop, and buries them.
//!
//! Woken by whoever offers, stops, answers a submission, or hears that the child is over; and each second while there is a child, to see
//! whether segments have gone. Ended by the stop of the instance.

use crate::child_process::{Child, Ended};
use crate::files::Shipment;
use crate::instance::{Creation, Shared, State};
use crate::sync::send;
use crate::watch::Known;
use crate::wire::{ToChild, encode_lease};
use sluice_host::{Cause, Delivery, Failure, HostEvent, Offer, Recipient, StopReason};
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a child that was told to stop has for its last words, after its workers' deadline.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a child may take for its end that has nothing to do and is let go because one of its workers hangs.
const OWN_STOP: Duration = Duration::from_secs(10);
/// Octets of leases that are put together before they are written.
const AT_ONCE: usize = 256 << 10;
/// Octets of a lease that go into one frame, as estimated: well below the 64 MiB that one may have.
const FRAME: usize = 16 << 20;
/// How often it is looked whether segments have gone.
const TIDY: Duration = Duration::from_secs(1);

/// A lease that has been read, or what has not gone to the child of one.
struct Pending {
    /// Our number for it.
    lease: u64,
    poll: bool,
    deliveries: VecDeque<Delivery>,
}

/// The thread of an instance.
pub(crate) struct Life {
    shared: Arc<Shared>,
    pending: VecDeque<Pending>,
    /// When it was last looked whether segments have gone.
    tidied: Instant,
}

/// What a child is to do next.
enum Next {
    Work,
    Over,
    /// By then its workers are to be done.
    Stop(Instant),
}

/// What became of a child that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// It says nothing more.
    Over,
    /// It was not done in time.
    Late,
}

impl Life {
    pub(crate) fn of(shared: Arc<Shared>) -> Life {
        Life { shared, pending: VecDeque::new(), tidied: Instant::now() }
    }

    /// From the first offer to the last word.
    pub(crate) fn live(mut self) {
        while self.wait_for_work() {
            match Child::start(&self.shared, false) {
                Ok(child) => self.serve(child),
                Err(why) => self.not_started(&why),
            }
        }
        self.give_back();
        let mut state = self.shared.state.lock();
        let reason = state.stop.take().map_or(StopReason::Asked, |(reason, _)| reason);
        let left_behind = state.stopped.take().map_or(0, |(_, left_behind)| left_behind);
        drop(state);
        let channel = Arc::clone(&self.shared.channel);
        self.shared.send(HostEvent::Stopped { channel, reason, left_behind });
    }

    /// Without a child: `false` when the instance is to end.
    fn wait_for_work(&self) -> bool {
        let mut state = self.shared.state.lock();
        loop {
            if !state.open {
                return false;
            }
            let rest = state.rest();
            if (state.creation == Creation::Wanted || !state.queue.is_empty()) && rest.is_zero() {
                return true;
            }
            match rest.is_zero() {
                true => self.shared.changed.wait(&mut state),
                false => drop(self.shared.changed.wait_for(&mut state, rest)),
            }
        }
    }

    /// A child could not be started.
    fn not_started(&mut self, why: &str) {
        self.failed(Failure::CreateFailed(why.to_owned()));
        self.give_back();
    }

    /// One failure more: a rest, and a word about it.
    fn failed(&self, failure: Failure) {
        let mut state = self.shared.state.lock();
        state.not_created(&failure);
        self.shared.changed.notify_all();
        let pause = self.shared.pause(&mut state);
        drop(state);
        let (channel, plugin) = (&self.shared.channel, self.shared.plugin_name());
        tracing::error!(channel = %channel, plugin, pause_secs = pause.as_secs_f64(), "the plugin failed: {failure}");
        self.shared.send(HostEvent::WorkerFailed { channel: Arc::clone(channel), failure, pause });
    }

    /// What never went to a child is back.
    fn give_back(&mut self) {
        let shared = Arc::clone(&self.shared);
        let turn = shared.turn_to_tell();
        let (offers, mut events) = {
            let mut state = self.shared.state.lock();
            let mut events = Vec::new();
            for Pending { lease, poll, deliveries } in self.pending.drain(..) {
                let ledger = &mut state.ledger;
                events.extend(deliveries.iter().map(|one| ledger.untouched(lease, one, Cause::Stopping)));
                if poll {
                    events.extend(ledger.poll_over(lease));
                }
            }
            let ended = events.iter().filter(|event| event.lease_done().is_some()).count();
            state.leases -= ended + state.queue.len();
            (std::mem::take(&mut state.queue), events)
        };
        events.drain(..).for_each(|event| shared.send(event));
        drop(turn);
        for offer in offers {
            let lease = offer.lease;
            events.extend(
                (offer.read)().into_iter().map(|delivery| untouched(lease, &delivery, Cause::Stopping)),
            );
            events.push(HostEvent::LeaseDone { lease });
        }
        events.into_iter().for_each(|event| self.shared.send(event));
    }

    /// A child's life, from the first lease to its burial.
    fn serve(&mut self, mut child: Child) {
        let stop = loop {
            match self.next(&mut child) {
                Next::Work => {}
                Next::Over => break None,
                Next::Stop(until) => break Some(until),
            }
        };
        self.give_back();
        let end = stop.map(|until| self.let_finish(&child, until));
        self.bury(child, end);
    }

    /// Waits for something to do, and does it.
    fn next(&mut self, child: &mut Child) -> Next {
        let shared = Arc::clone(&self.shared);
        let mut out = Vec::new();
        self.tidy(child, &mut out);
        let offers = {
            let mut state = shared.state.lock();
            loop {
                if state.over {
                    return Next::Over;
                }
                if let Some((_, until)) = &state.stop {
                    return Next::Stop(*until);
                }
                match state.retire {
                    // One of its workers hangs; what the others have is theirs to finish, and goes on for a while.
                    Some(_) if state.ledger.is_empty() => return Next::Stop(Instant::now() + OWN_STOP),
                    // With few threads that hang it is as good as another one, and under work without end it stays.
                    Some(since)
                        if state.hung >= shared.spec.hung_max && since.elapsed() >= shared.spec.deadline =>
                    {
                        return Next::Stop(Instant::now() + shared.spec.deadline);
                    }
                    _ => {}
                }
                if state.creation == Creation::Wanted {
                    state.creation = Creation::Asked;
                    state.asked = true;
                    ToChild::Prepare.write(&mut out);
                }
                if !state.frames.is_empty()
                    || !state.queue.is_empty()
                    || !out.is_empty()
                    || self.may_give(&state)
                {
                    break;
                }
                state.wants_empty = !self.pending.is_empty() || state.retire.is_some();
                if shared.changed.wait_for(&mut state, TIDY).timed_out() {
                    self.tidy(child, &mut out);
                }
            }
            out.append(&mut state.frames);
            std::mem::take(&mut state.queue)
        };
        for offer in offers {
            self.read(offer);
        }
        let is_sent = self.give(child, &mut out).is_ok() && send(&child.handle.socket, &out, &[]).is_ok();
        if !is_sent {
            // It has closed its end, or has died; the reader finds out as well.
            child.handle.kill();
            let mut state = self.shared.state.lock();
            while !state.over {
                self.shared.changed.wait(&mut state);
            }
            return Next::Over;
        }
        Next::Work
    }

    /// Has the child forget segments that have gone, each second, whether or not it has much to do.
    fn tidy(&mut self, child: &mut Child, out: &mut Vec<u8>) {
        if self.tidied.elapsed() >= TIDY {
            self.tidied = Instant::now();
            child.files.gone().into_iter().for_each(|key| ToChild::Forget(key).write(out));
        }
    }

    /// Whether some of what waits may go to the child now.
    fn may_give(&self, state: &State) -> bool {
        let first = self.pending.front();
        first.is_some_and(|first| match first.deliveries.front() {
            _ if state.ledger.has_suspect() => false,
            Some(delivery) if delivery.suspect => state.ledger.is_empty(),
            _ => true,
        })
    }

    /// Has an offer read, and enters it in the ledger.
    fn read(&mut self, offer: Offer) {
        let (name, poll) = (offer.lease, offer.poll);
        let (good, bad): (Vec<Delivery>, Vec<Delivery>) = (offer.read)().into_iter().partition(is_usable);
        let mut events = Vec::new();
        let shared = Arc::clone(&self.shared);
        let _turn = shared.turn_to_tell();
        {
            let mut state = self.shared.state.lock();
            if good.is_empty() && bad.is_empty() && !poll {
                state.leases -= 1;
                events.push(HostEvent::LeaseDone { lease: name });
            } else {
                let lease = state.ledger.open(name, good.len() + bad.len(), poll);
                events.extend(bad.iter().map(|one| state.ledger.untouched(lease, one, Cause::Unusable)));
                state.leases -= events.iter().filter(|event| event.lease_done().is_some()).count();
                if !good.is_empty() || poll {
                    self.pending.push_back(Pending { lease, poll, deliveries: good.into() });
                }
            }
        }
        events.into_iter().for_each(|event| self.shared.send(event));
    }

    /// Sends of what waits as much as may go.
    fn give(&mut self, child: &mut Child, out: &mut Vec<u8>) -> std::io::Result<()> {
        while self.may_give(&self.shared.state.lock()) {
            let Some(first) = self.pending.front_mut() else { break };
            let count = match first.deliveries.front() {
                Some(delivery) if delivery.suspect => 1,
                _ => fitting(&first.deliveries),
            };
            let mut part: Vec<Delivery> = first.deliveries.drain(..count).collect();
            let (lease, poll) = (first.lease, std::mem::take(&mut first.poll));
            if first.deliveries.is_empty() {
                self.pending.pop_front();
            } else if let Some(last) = part.last_mut() {
                last.more_follows = true;
            }
            let (mut before, mut after) = (Vec::new(), Vec::new());
            let mut lent = Vec::with_capacity(part.len());
            let mut lost = Vec::new();
            for delivery in part {
                match child.files.pieces(&*delivery.content, &mut before, &mut after) {
                    Ok(pieces) => lent.push((0, delivery, pieces)),
                    Err(error) => lost.push((delivery, error)),
                }
            }
            let has_part = !lent.is_empty() || poll;
            let number = match has_part {
                true => {
                    let mut state = self.shared.state.lock();
                    let number = state.ledger.part(lease, poll);
                    for (known_as, delivery, _) in &mut lent {
                        *known_as = state.ledger.give(number, delivery);
                    }
                    number
                }
                false => 0,
            };
            // Told first, for a child that does not take the others ends this.
            for (delivery, error) in lost {
                let id = &delivery.id;
                tracing::error!(channel = %self.shared.channel, id, %error, "its content cannot be lent to a process");
                let _turn = self.shared.turn_to_tell();
                let event = {
                    let mut state = self.shared.state.lock();
                    let event = state.ledger.untouched(lease, &delivery, Cause::WorkerEnded);
                    state.leases -= usize::from(event.lease_done().is_some());
                    event
                };
                self.shared.send(event);
            }
            for shipment in before {
                if let Shipment::File(key, length, file) = shipment {
                    // In the order in which they are needed, so what was put together goes first.
                    send(&child.handle.socket, out, &[])?;
                    out.clear();
                    ToChild::Segment { key, length }.write(out);
                    send(&child.handle.socket, out, &[&file])?;
                    out.clear();
                }
            }
            if has_part {
                let deliveries = lent.iter().map(|(number, delivery, pieces)| (*number, delivery, &**pieces));
                encode_lease(out, number, poll, deliveries);
            }
            for shipment in after {
                if let Shipment::Forget(key) = shipment {
                    ToChild::Forget(key).write(out);
                }
            }
            if out.len() > AT_ONCE {
                send(&child.handle.socket, out, &[])?;
                out.clear();
            }
        }
        Ok(())
    }

    /// Has the child finish what its workers hold, and answers what they bring in meanwhile.
    fn let_finish(&self, child: &Child, mut until: Instant) -> Stop {
        let stop = |until: Instant| ToChild::Stop(until.saturating_duration_since(Instant::now()));
        let mut out = Vec::new();
        stop(until).write(&mut out);
        loop {
            if send(&child.handle.socket, &out, &[]).is_err() {
                return Stop::Over;
            }
            out.clear();
            let mut state = self.shared.state.lock();
            loop {
                if state.over {
                    return Stop::Over;
                }
                // Who wants the end of the instance may leave it less time.
                if let Some((_, asked)) = &state.stop
                    && *asked < until
                {
                    until = *asked;
                    stop(until).write(&mut out);
                }
                if !state.frames.is_empty() || !out.is_empty() {
                    break;
                }
                if self.shared.changed.wait_until(&mut state, until + LAST_WORDS).timed_out() {
                    let why = "was ended: it did not stop in time".to_owned();
                    Known::ended_because(&child.known, why);
                    return Stop::Late;
                }
            }
            out.append(&mut state.frames);
        }
    }

    /// What becomes of the child's work, and what is told of its end.
    fn bury(&mut self, mut child: Child, told_to_stop: Option<Stop>) {
        let was_told_to_stop = told_to_stop.is_some();
        let ended = child.end();
        let mut state = self.shared.state.lock();
        state.pid = None;
        let in_order = was_told_to_stop && state.stopped.is_some();
        if in_order {
            state.not_created(&"its process was let go");
            self.shared.changed.notify_all();
        }
        let asked = was_told_to_stop && !state.open;
        // One that was not in time at its own end has been told so often enough: its work is untouched, as that of a
        // worker in process is that is left behind.
        let late = told_to_stop == Some(Stop::Late);
        let in_hand: Vec<u64> = match in_order || late {
            true => Vec::new(),
            false => ended.calls.iter().flat_map(|call| call.held.iter().copied()).collect(),
        };
        let how: Arc<str> = ended.how.as_str().into();
        let (events, ids) = state.ledger.died(&in_hand, &how);
        state.leases -= events.iter().filter(|event| event.lease_done().is_some()).count();
        drop(state);
        events.into_iter().for_each(|event| self.shared.send(event));
        match (in_order, asked) {
            (true, true) => {}
            // It was let go for a worker that hung, of which has been told.
            (true, false) => {
                let channel = &self.shared.channel;
                tracing::warn!(channel = %channel, plugin = self.shared.plugin_name(), "its process was replaced");
            }
            (false, _) => self.failed(Failure::Died(told(&ended, &ids))),
        }
    }
}

/// All that is known of a death, in a line.
fn told(ended: &Ended, ids: &[String]) -> String {
    let mut text = ended.how.clone();
    if ended.memory > 0 {
        let _ = write!(text, ", with {} MiB of memory when it was seen last", ended.memory >> 20);
    }
    if !ids.is_empty() {
        let _ = write!(text, "; it had in hand {}", ids.join(", "));
    }
    for call in ended.calls.iter().take(4) {
        let _ = write!(text, "; a worker {}", call.call.words());
        if !call.id.is_empty() {
            let _ = write!(text, ", the last was {}", call.id);
        }
    }
    text
}

fn untouched(lease: u64, delivery: &Delivery, cause: Cause) -> HostEvent {
    let unsettled = delivery.recipients.iter().map(|one| one.index).collect();
    let token = delivery.token;
    HostEvent::Finished { token, lease, outcomes: Vec::new(), unsettled, cause, lease_done: false }
}

/// How many deliveries from the front go into one frame, at least one if there is one: none behind a suspect, and as many octets as
/// [`FRAME`].
fn fitting(deliveries: &VecDeque<Delivery>) -> usize {
    let mut octets = 0;
    let fits = |delivery: &&Delivery| {
        octets += size(delivery);
        !delivery.suspect && octets <= FRAME
    };
    deliveries.iter().take_while(fits).count().max(1).min(deliveries.len())
}

/// About how many octets a delivery has in a frame, and not fewer.
fn size(delivery: &Delivery) -> usize {
    let one = |recipient: &Recipient| {
        let wishes = &recipient.wishes;
        64 + recipient.address.len() + recipient.original.len() + wishes.original.len()
    };
    let texts = delivery.id.len() + delivery.sender.len() + delivery.domain.len();
    4096 + texts + delivery.recipients.iter().map(one).sum::<usize>()
}

/// It has recipients, and none of them twice.
fn is_usable(delivery: &Delivery) -> bool {
    let mut indexes: Vec<u32> = delivery.recipients.iter().map(|one| one.index).collect();
    indexes.sort_unstable();
    !indexes.is_empty() && indexes.windows(2).all(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_mail::{Priority, RecipientWishes, Time, Wishes};

    #[test]
    fn a_large_lease_goes_in_parts_that_fit_into_frames() {
        let long = Recipient {
            index: 0,
            address: "a".repeat(FRAME / 3),
            original: String::new(),
            wishes: RecipientWishes::default(),
        };
        let one = Delivery {
            token: 1,
            id: String::new(),
            sender: String::new(),
            source_channel: "x".into(),
            domain: "x".into(),
            recipients: vec![long],
            content: Arc::new(Vec::new()),
            attempts: 0,
            arrived: Time(0),
            priority: Priority::Normal,
            eight_bit: false,
            smtputf8: false,
            wishes: Wishes::default(),
            more_follows: false,
            next_hop: None,
            suspect: false,
        };
        let small = Delivery { recipients: Vec::new(), ..one.clone() };
        let huge = Delivery { recipients: vec![one.recipients[0].clone(); 4], ..one.clone() };
        let suspect = Delivery { suspect: true, ..small.clone() };
        let count =
            |deliveries: &[&Delivery]| fitting(&deliveries.iter().map(|one| (*one).clone()).collect());
        assert_eq!(count(&[]), 0, "a poll alone");
        assert_eq!(count(&[&small; 5]), 5);
        assert_eq!(count(&[&one; 5]), 2);
        assert_eq!(count(&[&huge, &small]), 1, "at least one");
        assert_eq!(count(&[&small, &suspect, &small]), 1);
    }
}
