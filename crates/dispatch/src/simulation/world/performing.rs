//! What plugins do with what they have: settle one delivery after another in any order, die, hang, refuse, stop.

use std::time::Duration;

use sluice_host::{Cause, Delivery, Failure, HostEvent, StopReason};
use sluice_mail::{Handover, Outcome, Status};
use sluice_spool::EntryId;

use super::super::chance::Chance;
use super::super::ledger::{Back, End, Ledger, Said};
use super::super::peers::{WORDS, words};
use super::super::plugins::{Living, OpenLease};
use super::dying::{self, Company};
use super::{World, alive};

/// What happens to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// A delivery is settled, recipient by recipient.
    Settle,
    /// Its worker ends with all that it holds.
    Die,
    /// Its worker does not come back in time.
    Hang,
    /// It comes back untried: the plugin could not be created.
    Untried,
    /// The process of the whole instance dies.
    Crash,
}

/// What has killed a process mostly kills the next one.
const SUSPECTS_CRASH: usize = 400;
/// One that dies with many in hand dies often, so that some message is among them each time.
const BUSY_CRASH: usize = 80;
/// What peers and the network do at most while a plugin is in a conversation, in one step of its.
const PEERS_TURNS_MAX: usize = 40;

pub(super) type Told = Vec<Back>;

impl World {
    /// One thing that a plugin does. False when there is nothing to do.
    pub(super) fn perform(&mut self) -> bool {
        let Self { chance, ledger, said: told, is_good, peers, wall, plant, company, .. } = self;
        let (is_good, plant, company) = (*is_good, *plant, *company);
        let mut stage = alive(&self.hub).plugins.stage();
        let busy =
            |living: &Living| !living.has_ended && (!living.leases.is_empty() || living.is_asked_to_stop);
        // What was taken is read first.
        let reads = |number: usize| stage.unread.iter().any(|(other, _)| *other == number);
        let numbers: Vec<usize> = stage
            .instances
            .iter()
            .enumerate()
            .filter(|(number, living)| busy(living) && !reads(*number))
            .map(|(number, _)| number)
            .collect();
        if numbers.is_empty() {
            return false;
        }
        let instance = &mut stage.instances[*chance.pick(&numbers)];
        let mut news = Vec::new();
        let mut lines = Vec::new();
        if instance.leases.is_empty() {
            instance.has_ended = true;
            news.push(stopped(instance, StopReason::Asked));
            lines.push(format!("{} has stopped", instance.channel));
        } else if !is_good && chance.once_in(60) {
            // The whole instance gives up.
            for lease in std::mem::take(&mut instance.leases) {
                return_lease(lease, Fate::Untried, &Cause::Stopping, chance, ledger, told, &mut news);
            }
            instance.has_ended = true;
            lines.push(format!("{} gives up", instance.channel));
            news.push(stopped(instance, StopReason::Refused("no more".to_owned())));
        } else {
            let which = chance.below(instance.leases.len());
            let fate = if is_good {
                Fate::Settle
            } else {
                let is_suspect = instance.leases[which].deliveries.iter().any(|one| one.suspect);
                let crash = match (is_suspect, company) {
                    (true, _) => SUSPECTS_CRASH,
                    (false, Company::Seldom) => 8,
                    (false, Company::Mostly) => BUSY_CRASH,
                };
                chance.weighed(&[
                    (70, Fate::Settle),
                    (5, Fate::Die),
                    (4, Fate::Hang),
                    (5, Fate::Untried),
                    (crash, Fate::Crash),
                ])
            };
            if fate == Fate::Settle {
                let lease = &mut instance.leases[which];
                if lease.transfer.is_none() && !lease.deliveries.is_empty() && chance.once_in(2) {
                    let delivery = lease.deliveries.remove(chance.below(lease.deliveries.len()));
                    lines.push(format!("call a peer for {}", delivery.id));
                    lease.transfer = Some(peers.call(delivery, wall, chance));
                }
                if let Some(transfer) = &mut lease.transfer {
                    let mut outcomes = transfer.go_on();
                    while is_good && outcomes.is_none() {
                        peers.go_on_all(chance);
                        outcomes = transfer.go_on();
                    }
                    // A conversation has many turns, and takes no longer than anything else that is done in a step.
                    for _ in 0..chance.below(PEERS_TURNS_MAX) {
                        if outcomes.is_some() {
                            break;
                        }
                        let which = chance.below(peers.count());
                        peers.go_on(which, chance);
                        outcomes = transfer.go_on();
                    }
                    lines.extend(peers.take_note(ledger));
                    if let Some(outcomes) = outcomes
                        && let Some(transfer) = lease.transfer.take()
                    {
                        let said = peers.said(&transfer, &outcomes);
                        lines.push(finish(
                            lease.lease,
                            &transfer.delivery,
                            said,
                            outcomes,
                            ledger,
                            told,
                            &mut news,
                        ));
                    }
                } else if !lease.deliveries.is_empty() {
                    let delivery = lease.deliveries.remove(chance.below(lease.deliveries.len()));
                    lines.push(settle(lease.lease, &delivery, is_good, chance, ledger, told, &mut news));
                }
                if lease.is_done() && (is_good || chance.once_in(2)) {
                    match news.last_mut() {
                        Some(HostEvent::Finished { lease_done, .. }) => *lease_done = true,
                        _ => news.push(HostEvent::LeaseDone { lease: lease.lease }),
                    }
                    instance.leases.remove(which);
                }
            } else if fate == Fate::Crash {
                lines.extend(dying::process_dies(
                    instance,
                    (which, company),
                    chance,
                    ledger,
                    told,
                    &mut news,
                    plant,
                ));
            } else {
                let lease = instance.leases.remove(which);
                lines.push(format!("{fate:?} on {}", instance.channel));
                let (cause, failure) = match fate {
                    Fate::Die => (Cause::WorkerEnded, Failure::Panicked("panicked".to_owned())),
                    Fate::Hang => (Cause::Hung, Failure::Hung(Duration::from_secs(1))),
                    _ => (Cause::NotCreated, Failure::CreateFailed("no".to_owned())),
                };
                return_lease(lease, fate, &cause, chance, ledger, told, &mut news);
                let pause = Duration::from_secs(chance.below(3) as u64);
                news.push(HostEvent::WorkerFailed {
                    channel: instance.channel.as_str().into(),
                    failure,
                    pause,
                });
            }
        }
        let events = std::sync::Arc::clone(&instance.events);
        drop(stage);
        news.into_iter().for_each(|event| events(event));
        lines.into_iter().for_each(|line| self.note(line));
        true
    }
}

fn stopped(instance: &Living, reason: StopReason) -> HostEvent {
    HostEvent::Stopped { channel: instance.channel.as_str().into(), reason, left_behind: 0 }
}

pub(super) fn id_of(delivery: &Delivery) -> EntryId {
    delivery.id.parse().expect("ids of ours")
}

/// All of a lease comes back at once.
fn return_lease(
    lease: OpenLease,
    fate: Fate,
    cause: &Cause,
    chance: &mut Chance,
    ledger: &mut Ledger,
    told: &mut Told,
    news: &mut Vec<HostEvent>,
) {
    // Whoever dies in the middle of a transfer hangs up.
    let under_way = lease.transfer.map(|transfer| transfer.delivery.clone());
    for delivery in lease.deliveries.into_iter().chain(under_way) {
        let id = id_of(&delivery);
        let unsettled: Vec<u32> = delivery.recipients.iter().map(|one| one.index).collect();
        let mut said = Vec::new();
        for &index in &unsettled {
            ledger.recipient(id, index).is_out = false;
            // A peer may have taken it before the worker died, and nobody hears of that.
            if matches!(fate, Fate::Die | Fate::Hang) && chance.once_in(6) {
                ledger.delivered(id, index);
            }
            let is_turned = delivery.next_hop.is_some();
            said.push((
                index,
                match fate {
                    Fate::Untried => Said::Untried,
                    // Down a turned connection nothing is put off by a step of the schedule.
                    _ if is_turned => Said::Unreachable,
                    _ => Said::Nothing,
                },
            ));
        }
        told.push(Back { id, said, end: End::Left });
        let (token, lease, cause) = (delivery.token, lease.lease, cause.clone());
        news.push(HostEvent::Finished {
            token,
            lease,
            outcomes: Vec::new(),
            unsettled,
            cause,
            lease_done: false,
        });
    }
    news.push(HostEvent::LeaseDone { lease: lease.lease });
}

/// What becomes of a recipient.
pub(super) fn any(chance: &mut Chance) -> Said {
    chance.weighed(&[
        (50, Said::Delivered),
        (10, Said::PassedOn),
        (16, Said::Deferred),
        (6, Said::Unreachable),
        (8, Said::Failed),
        (4, Said::Nothing),
    ])
}

fn settle(
    lease: u64,
    delivery: &Delivery,
    is_good: bool,
    chance: &mut Chance,
    ledger: &mut Ledger,
    told: &mut Told,
    news: &mut Vec<HostEvent>,
) -> String {
    let id = id_of(delivery);
    // What a peer says of one recipient it mostly says of all.
    let for_all = any(chance);
    let (mut outcomes, mut unsettled, mut said) = (Vec::new(), Vec::new(), Vec::new());
    for recipient in &delivery.recipients {
        let index = recipient.index;
        let one = match () {
            () if is_good => Said::Delivered,
            () if chance.once_in(5) => any(chance),
            () => for_all,
        };
        ledger.recipient(id, index).is_out = false;
        if matches!(one, Said::Delivered | Said::PassedOn) {
            ledger.delivered(id, index);
        }
        match outcome(one, words(chance)) {
            Some(outcome) => outcomes.push((index, outcome)),
            None => unsettled.push(index),
        }
        // Down a turned connection nothing is put off by a step of the schedule.
        let is_turned = delivery.next_hop.is_some();
        let is_put_off = matches!(one, Said::Deferred | Said::Nothing);
        said.push((index, if is_turned && is_put_off { Said::Unreachable } else { one }));
    }
    finished(lease, delivery, said, outcomes, unsettled, ledger, told, news)
}

/// What became of a transfer.
fn finish(
    lease: u64,
    delivery: &Delivery,
    said: Vec<(u32, Said)>,
    outcomes: Vec<(u32, Outcome)>,
    ledger: &mut Ledger,
    told: &mut Told,
    news: &mut Vec<HostEvent>,
) -> String {
    for recipient in &delivery.recipients {
        ledger.recipient(id_of(delivery), recipient.index).is_out = false;
    }
    finished(lease, delivery, said, outcomes, Vec::new(), ledger, told, news)
}

fn finished(
    lease: u64,
    delivery: &Delivery,
    said: Vec<(u32, Said)>,
    outcomes: Vec<(u32, Outcome)>,
    unsettled: Vec<u32>,
    ledger: &mut Ledger,
    told: &mut Told,
    news: &mut Vec<HostEvent>,
) -> String {
    let id = id_of(delivery);
    note_words(ledger, id, &outcomes);
    let line = format!("settle {id} on its way: {said:?}");
    told.push(Back { id, said, end: End::Done });
    let (token, cause) = (delivery.token, Cause::Done);
    news.push(HostEvent::Finished { token, lease, outcomes, unsettled, cause, lease_done: false });
    line
}

/// Whoever has failed has failed because of these words.
pub(super) fn note_words(ledger: &mut Ledger, id: EntryId, outcomes: &[(u32, Outcome)]) {
    for (index, outcome) in outcomes {
        if let Outcome::Failed { text, .. } = outcome {
            ledger.recipient(id, *index).words = quoted(text).to_owned();
        }
    }
}

/// The words in what a peer has said.
fn quoted(text: &str) -> &str {
    let begin = text.find(WORDS).unwrap_or_else(|| panic!("nobody says that: {text}"));
    text[begin..].split_whitespace().next().unwrap_or_default()
}

pub(super) fn outcome(said: Said, text: String) -> Option<Outcome> {
    let status = |class, subject, detail| Status { class, subject, detail };
    let peer = "peer.example".to_owned();
    match said {
        Said::Delivered | Said::PassedOn => {
            let handover = if said == Said::Delivered { Handover::Final } else { Handover::PassedOn };
            Some(Outcome::Delivered { status: status(2, 0, 0), text, peer, handover })
        }
        Said::Deferred => Some(Outcome::Deferred { status: status(4, 2, 0), text, peer }),
        Said::Unreachable => Some(Outcome::Deferred { status: status(4, 4, 1), text, peer: String::new() }),
        Said::Failed => Some(Outcome::Failed { status: status(5, 1, 1), text, peer }),
        Said::Nothing | Said::Untried => None,
    }
}
