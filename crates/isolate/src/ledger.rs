//! What a child has, and what may be said of it: the hub's own account, against which each frame is held.
//!
//! # Invariants
//! A delivery is in the ledger from before the child hears of it until one `Finished` has been made of it. A lease of the
//! caller's is there until all its deliveries are back and its poll is over; then one end of it is told, with the last
//! delivery or by itself. What a child leaves out costs no memory for longer than its deliveries are with it.
//! # Not here
//! Threads, sockets, and which frames there are.

use crate::wire::Bad;
use sluice_host::{Cause, Delivery, HostEvent, Origin};
use sluice_mail::Outcome;
use std::collections::HashMap;
use std::sync::Arc;

/// A delivery that the child has.
struct Outstanding {
    /// The caller's name for it.
    token: u64,
    /// The caller's lease, by our number.
    lease: u64,
    /// The part in which it went.
    part: u64,
    /// Indexes of its recipients, in order, and whether they are settled.
    recipients: Vec<(u32, bool)>,
    outcomes: Vec<(u32, Outcome)>,
    origin: Origin,
    suspect: bool,
}

/// A lease of the caller's.
struct OpenLease {
    /// The caller's name for it.
    lease: u64,
    /// Deliveries that are not back.
    unfinished: usize,
    /// A poll for it is not over.
    polls: bool,
}

/// A lease as the child knows it: all of one of the caller's, or some of it.
struct Part {
    /// The caller's lease, by our number.
    lease: u64,
    /// Its deliveries, and how many of them are not back.
    numbers: Vec<u64>,
    left: usize,
    polls: bool,
}

/// The account of one child.
#[derive(Default)]
pub(crate) struct Ledger {
    deliveries: HashMap<u64, Outstanding>,
    leases: HashMap<u64, OpenLease>,
    parts: HashMap<u64, Part>,
    last: u64,
    suspects: usize,
    /// How many deliveries have come back from the child.
    came_back: u64,
}

impl Ledger {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A lease of the caller's with so many deliveries, and perhaps a poll; our number for it.
    pub(crate) fn open(&mut self, lease: u64, deliveries: usize, polls: bool) -> u64 {
        let number = self.number();
        self.leases.insert(number, OpenLease { lease, unfinished: deliveries, polls });
        number
    }

    /// A part of a lease goes to the child; its number there.
    pub(crate) fn part(&mut self, lease: u64, polls: bool) -> u64 {
        let number = self.number();
        self.parts.insert(number, Part { lease, numbers: Vec::new(), left: 0, polls });
        number
    }

    /// A delivery goes there with it; its number.
    pub(crate) fn give(&mut self, part_number: u64, delivery: &mut Delivery) -> u64 {
        let number = self.number();
        let Some(part) = self.parts.get_mut(&part_number) else { return number };
        part.numbers.push(number);
        part.left += 1;
        let mut recipients: Vec<(u32, bool)> =
            delivery.recipients.iter().map(|one| (one.index, false)).collect();
        recipients.sort_unstable();
        self.suspects += usize::from(delivery.suspect);
        let outstanding = Outstanding {
            token: delivery.token,
            lease: part.lease,
            part: part_number,
            recipients,
            outcomes: Vec::new(),
            origin: Origin {
                id: delivery.id.clone(),
                source_channel: std::mem::take(&mut delivery.source_channel),
                domain: Arc::clone(&delivery.domain),
                priority: delivery.priority,
                arrived: delivery.arrived,
                wishes: delivery.wishes.clone(),
            },
            suspect: delivery.suspect,
        };
        self.deliveries.insert(number, outstanding);
        number
    }

    /// Nothing is with the child.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many have come back from it, in all.
    pub(crate) fn came_back(&self) -> u64 {
        self.came_back
    }

    /// Whether it has one that may have killed another child.
    pub(crate) fn has_suspect(&self) -> bool {
        self.suspects > 0
    }

    /// What a submission takes over from a message that the child has.
    pub(crate) fn origin(&self, id: &str) -> Option<Origin> {
        self.deliveries.values().find(|one| one.origin.id == id).map(|one| one.origin.clone())
    }

    /// The child says what became of recipients.
    pub(crate) fn settled(&mut self, delivery: u64, outcomes: Vec<(u32, Outcome)>) -> Result<(), Bad> {
        let known =
            self.deliveries.get_mut(&delivery).ok_or(Bad("it spoke of a delivery that it has not"))?;
        for (index, outcome) in outcomes {
            let recipient = known
                .recipients
                .binary_search_by_key(&index, |(known, _)| *known)
                .map(|at| &mut known.recipients[at].1)
                .map_err(|_| Bad("it settled a recipient who is not in the delivery"))?;
            if std::mem::replace(recipient, true) {
                return Err(Bad("it settled a recipient twice"));
            }
            known.outcomes.push((index, outcome));
        }
        Ok(())
    }

    /// The child gives a delivery back.
    pub(crate) fn finished(
        &mut self,
        delivery: u64,
        cause: Cause,
        outcomes: Vec<(u32, Outcome)>,
    ) -> Result<HostEvent, Bad> {
        self.settled(delivery, outcomes)?;
        self.came_back += 1;
        self.back(delivery, cause).ok_or(Bad("it spoke of a delivery that it has not"))
    }

    /// The one `Finished` of a delivery.
    fn back(&mut self, delivery: u64, cause: Cause) -> Option<HostEvent> {
        let known = self.deliveries.remove(&delivery)?;
        self.suspects -= usize::from(known.suspect);
        if let Some(part) = self.parts.get_mut(&known.part) {
            part.left -= 1;
            if part.left == 0 && !part.polls {
                self.parts.remove(&known.part);
            }
        }
        let unsettled = known.recipients.iter().filter(|(_, settled)| !settled).map(|(index, _)| *index);
        let unsettled = unsettled.collect();
        Some(self.finish(known.lease, known.token, known.outcomes, unsettled, cause))
    }

    fn finish(
        &mut self,
        number: u64,
        token: u64,
        outcomes: Vec<(u32, Outcome)>,
        unsettled: Vec<u32>,
        cause: Cause,
    ) -> HostEvent {
        let (mut lease, mut lease_done) = (0, false);
        if let Some(open) = self.leases.get_mut(&number) {
            lease = open.lease;
            open.unfinished = open.unfinished.saturating_sub(1);
            lease_done = open.unfinished == 0 && !open.polls;
        }
        if lease_done {
            self.leases.remove(&number);
        }
        HostEvent::Finished { token, lease, outcomes, unsettled, cause, lease_done }
    }

    /// The child has polled for a lease. The end of the lease, if this was it.
    pub(crate) fn polled(&mut self, part: u64) -> Result<Option<HostEvent>, Bad> {
        let known = self.parts.get_mut(&part).filter(|part| part.polls);
        let known = known.ok_or(Bad("it ended a lease that it has not, or that has no poll"))?;
        known.polls = false;
        let (number, is_over) = (known.lease, known.left == 0);
        if is_over {
            self.parts.remove(&part);
        }
        Ok(self.poll_over(number))
    }

    /// The poll of a lease is over, or will never be.
    pub(crate) fn poll_over(&mut self, number: u64) -> Option<HostEvent> {
        let open = self.leases.get_mut(&number)?;
        open.polls = false;
        if open.unfinished > 0 {
            return None;
        }
        let lease = open.lease;
        self.leases.remove(&number);
        Some(HostEvent::LeaseDone { lease })
    }

    /// The child has not looked at a part of a lease: everything in it is back.
    pub(crate) fn refused(&mut self, part: u64) -> Result<Vec<HostEvent>, Bad> {
        let known = self.parts.get(&part).ok_or(Bad("it refused a lease that it has not"))?;
        let (numbers, polls) = (known.numbers.clone(), known.polls);
        let mut events: Vec<HostEvent> =
            numbers.into_iter().filter_map(|number| self.back(number, Cause::Stopping)).collect();
        if polls {
            events.extend(self.polled(part)?);
        }
        Ok(events)
    }

    /// A delivery that never went to the child is back.
    pub(crate) fn untouched(&mut self, lease: u64, delivery: &Delivery, cause: Cause) -> HostEvent {
        let unsettled = delivery.recipients.iter().map(|one| one.index).collect();
        self.finish(lease, delivery.token, Vec::new(), unsettled, cause)
    }

    /// The child is no more. What it had is back: what was in its hands, as far as one knows, for `crashed`, the rest untouched.
    /// Also the ids of the former.
    pub(crate) fn died(&mut self, in_hand: &[u64], how: &Arc<str>) -> (Vec<HostEvent>, Vec<String>) {
        let mut numbers: Vec<u64> = self.deliveries.keys().copied().collect();
        numbers.sort_unstable();
        let is_in_hand = |number: &u64| in_hand.contains(number);
        let alone = numbers.iter().filter(|number| is_in_hand(number)).count() == 1;
        let (mut events, mut ids) = (Vec::new(), Vec::new());
        for number in numbers {
            let cause = match is_in_hand(&number) {
                true => Cause::Crashed { alone, how: Arc::clone(how) },
                false => Cause::Stopping,
            };
            if cause != Cause::Stopping {
                ids.push(self.deliveries[&number].origin.id.clone());
            }
            events.extend(self.back(number, cause));
        }
        events.extend(self.polls_over());
        (events, ids)
    }

    /// Nobody polls any more, and there is no child that has a lease.
    fn polls_over(&mut self) -> Vec<HostEvent> {
        let polling: Vec<u64> =
            self.parts.values().filter(|part| part.polls).map(|part| part.lease).collect();
        self.parts.clear();
        polling.into_iter().filter_map(|number| self.poll_over(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_host::Recipient;
    use sluice_mail::{Handover, Priority, RecipientWishes, Status, Time, Wishes};

    fn delivery(token: u64, recipients: u32) -> Delivery {
        Delivery {
            token,
            id: format!("ID{token}"),
            sender: String::new(),
            source_channel: "tcp_in".into(),
            domain: "site.example".into(),
            recipients: (0..recipients)
                .map(|index| Recipient {
                    index,
                    address: String::new(),
                    original: String::new(),
                    wishes: RecipientWishes::default(),
                })
                .collect(),
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
        }
    }

    fn done(index: u32) -> (u32, Outcome) {
        let outcome = Outcome::Delivered {
            status: Status::new(2, 0, 0),
            text: "done".into(),
            peer: String::new(),
            handover: Handover::Final,
        };
        (index, outcome)
    }

    /// A lease 100 with these deliveries, with two recipients each, all of it with the child; our numbers.
    fn given(ledger: &mut Ledger, tokens: &[u64], polls: bool) -> (u64, Vec<u64>) {
        let lease = ledger.open(100, tokens.len(), polls);
        let part = ledger.part(lease, polls);
        let numbers = tokens.iter().map(|token| ledger.give(part, &mut delivery(*token, 2))).collect();
        (part, numbers)
    }

    /// An event in short.
    fn short(event: &HostEvent) -> String {
        match event {
            HostEvent::Finished { token, lease, outcomes, unsettled, cause, lease_done } => {
                let done: Vec<u32> = outcomes.iter().map(|(index, _)| *index).collect();
                let end = if *lease_done { ", the last" } else { "" };
                format!("{token} of {lease}: {cause:?} {done:?} not {unsettled:?}{end}")
            }
            HostEvent::LeaseDone { lease } => format!("{lease} done"),
            other => format!("{other:?}"),
        }
    }

    fn all(events: &[HostEvent]) -> Vec<String> {
        events.iter().map(short).collect()
    }

    #[test]
    fn what_comes_back_is_told_once_and_the_last_ends_the_lease() {
        let mut ledger = Ledger::default();
        let (_, numbers) = given(&mut ledger, &[7, 8], false);
        let event = ledger.finished(numbers[1], Cause::Done, vec![done(1)]).unwrap();
        assert_eq!(short(&event), "8 of 100: Done [1] not [0]");
        assert_eq!(
            ledger.finished(numbers[1], Cause::Done, vec![]),
            Err(Bad("it spoke of a delivery that it has not"))
        );
        ledger.settled(numbers[0], vec![done(0)]).unwrap();
        let event = ledger.finished(numbers[0], Cause::Done, vec![done(1)]).unwrap();
        assert_eq!(short(&event), "7 of 100: Done [0, 1] not [], the last");
        assert!(ledger.is_empty() && ledger.leases.is_empty() && ledger.came_back() == 2);
    }

    #[test]
    fn a_child_that_lies_is_found_out() {
        let mut ledger = Ledger::default();
        let (part, numbers) = given(&mut ledger, &[7], false);
        let bad =
            |ledger: &mut Ledger, outcomes| ledger.finished(numbers[0], Cause::Done, outcomes).unwrap_err().0;
        assert_eq!(bad(&mut ledger, vec![done(2)]), "it settled a recipient who is not in the delivery");
        assert_eq!(bad(&mut ledger, vec![done(0), done(0)]), "it settled a recipient twice");
        assert!(ledger.polled(part).is_err(), "there was no poll");
        assert!(ledger.refused(part + 1000).is_err());
        assert_eq!(ledger.origin("ID8"), None, "it has no such message");
        assert_eq!(ledger.origin("ID7").unwrap().source_channel, "tcp_in");
        // What it has said before it was found out counts once.
        let (events, ids) = ledger.died(&numbers, &"died".into());
        let expected = r#"7 of 100: Crashed { alone: true, how: "died" } [0] not [1], the last"#;
        assert_eq!((all(&events), ids), (vec![expected.to_owned()], vec!["ID7".to_owned()]));
    }

    #[test]
    fn a_poll_ends_by_itself_or_with_the_child() {
        let mut ledger = Ledger::default();
        let (part, numbers) = given(&mut ledger, &[7], true);
        let event = ledger.finished(numbers[0], Cause::Done, vec![done(0), done(1)]).unwrap();
        assert_eq!(short(&event), "7 of 100: Done [0, 1] not []");
        assert!(!ledger.is_empty(), "it polls");
        assert_eq!(ledger.polled(part).unwrap().map(|event| short(&event)), Some("100 done".to_owned()));
        assert!(ledger.is_empty() && ledger.leases.is_empty());
        let (part, _) = given(&mut ledger, &[], true);
        assert_eq!(all(&ledger.refused(part).unwrap()), ["100 done"]);
        given(&mut ledger, &[], true);
        assert_eq!(all(&ledger.died(&[], &"x".into()).0), ["100 done"]);
        assert!(ledger.is_empty() && ledger.leases.is_empty());
    }

    #[test]
    fn of_several_in_hand_none_was_alone_and_the_others_are_untouched() {
        let mut ledger = Ledger::default();
        let (_, numbers) = given(&mut ledger, &[7, 8, 9], false);
        let (events, ids) = ledger.died(&[numbers[0], numbers[2], 12_345], &"x".into());
        let expected = [
            r#"7 of 100: Crashed { alone: false, how: "x" } [] not [0, 1]"#,
            "8 of 100: Stopping [] not [0, 1]",
            r#"9 of 100: Crashed { alone: false, how: "x" } [] not [0, 1], the last"#,
        ];
        assert_eq!((all(&events), ids.len()), (expected.map(str::to_owned).to_vec(), 2));
    }

    #[test]
    fn a_lease_may_go_in_parts_and_some_of_it_never() {
        let mut ledger = Ledger::default();
        let lease = ledger.open(100, 2, false);
        let part = ledger.part(lease, false);
        let number = ledger.give(part, &mut Delivery { suspect: true, ..delivery(7, 2) });
        assert!(ledger.has_suspect());
        let event = ledger.finished(number, Cause::Done, vec![done(0), done(1)]).unwrap();
        assert_eq!(short(&event), "7 of 100: Done [0, 1] not []");
        assert!(ledger.is_empty() && !ledger.has_suspect());
        let event = ledger.untouched(lease, &delivery(8, 2), Cause::Stopping);
        assert_eq!(short(&event), "8 of 100: Stopping [] not [0, 1], the last");
        assert!(ledger.leases.is_empty());
    }
}
