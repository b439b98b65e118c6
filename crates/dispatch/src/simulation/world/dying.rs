//! Processes of plugins that die with deliveries in hand: what the instance tells of them, as `isolate` does.
//!
//! # Not here
//! What must come of it (`ledger::deaths`).

use std::sync::Arc;
use std::time::Duration;

use sluice_host::{Cause, Delivery, Failure, HostEvent};

use super::super::chance::Chance;
use super::super::ledger::{Back, End, Ledger, Said};
use super::super::peers::words;
use super::super::planted::Plant;
use super::super::plugins::Living;
use super::performing::{Told, any, id_of, note_words, outcome};

/// A delivery that the process had, and whether it was in hand.
struct Had {
    lease: u64,
    delivery: Delivery,
    is_in_hand: bool,
}

/// How often a process that dies has more than one delivery in hand. A message that processes have died with is tried alone on its
/// connection, but other workers of the same process have theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Seldom,
    Mostly,
}

/// The process of an instance dies: what it had in hand comes back as such, and all else untouched. One of its leases is that which is
/// to blame.
pub(super) fn process_dies(
    instance: &mut Living,
    (blamed, company): (usize, Company),
    chance: &mut Chance,
    ledger: &mut Ledger,
    told: &mut Told,
    news: &mut Vec<HostEvent>,
    plant: Option<Plant>,
) -> Vec<String> {
    let mut had: Vec<Had> = Vec::new();
    let mut leases = Vec::new();
    for (number, lease) in std::mem::take(&mut instance.leases).into_iter().enumerate() {
        leases.push(lease.lease);
        // Conversations end with the process, and their peers may go on with what they have heard.
        let in_conversation = lease.transfer.map(|transfer| transfer.delivery.clone());
        let before = had.len();
        let all = lease.deliveries.into_iter().map(|delivery| (delivery, false));
        for (delivery, is_in_hand) in all.chain(in_conversation.map(|delivery| (delivery, true))) {
            had.push(Had { lease: lease.lease, delivery, is_in_hand });
        }
        // Suspects are lent by themselves, as a rule.
        let here = &mut had[before..];
        if number == blamed && !here.is_empty() && !here.iter().any(|one| one.is_in_hand) {
            let suspect = here.iter().position(|one| one.delivery.suspect);
            let first = suspect.unwrap_or_else(|| chance.below(here.len()));
            here[first].is_in_hand = true;
        }
    }
    let has_company = match company {
        Company::Seldom => {
            let is_suspect = had.iter().any(|one| one.is_in_hand && one.delivery.suspect);
            chance.once_in(if is_suspect { 6 } else { 2 })
        }
        Company::Mostly => !chance.once_in(6),
    };
    if has_company {
        had.iter_mut().for_each(|one| one.is_in_hand |= chance.once_in(2));
    }
    let alone = had.iter().filter(|one| one.is_in_hand).count() == 1;
    let how: Arc<str> = "died of signal 11".into();
    let mut lines = Vec::new();
    for Had { lease, delivery, is_in_hand } in had {
        let id = id_of(&delivery);
        let is_partly_settled = is_in_hand && chance.once_in(4);
        let (mut outcomes, mut unsettled, mut said) = (Vec::new(), Vec::new(), Vec::new());
        for one in &delivery.recipients {
            let index = one.index;
            ledger.recipient(id, index).is_out = false;
            let word = match is_in_hand {
                true if is_partly_settled && chance.once_in(2) => any(chance),
                true => Said::Nothing,
                false => Said::Untried,
            };
            let may_be_there = word == Said::Nothing && chance.once_in(6);
            if may_be_there || matches!(word, Said::Delivered | Said::PassedOn) {
                ledger.delivered(id, index);
            }
            match outcome(word, words(chance)) {
                Some(outcome) => outcomes.push((index, outcome)),
                None => unsettled.push(index),
            }
            said.push((index, word));
        }
        if delivery.next_hop.is_some() && !outcomes.is_empty() {
            // Down a turned connection nothing is put off by a step of the schedule.
            let put_off = said.iter_mut().filter(|(_, word)| matches!(word, Said::Deferred | Said::Nothing));
            put_off.for_each(|(_, word)| *word = Said::Unreachable);
        }
        note_words(ledger, id, &outcomes);
        let (cause, end) = match is_in_hand {
            true => {
                let is_called_alone = alone || plant == Some(Plant::DeathsAreAlone);
                (Cause::Crashed { alone: is_called_alone, how: Arc::clone(&how) }, End::Died { alone })
            }
            false => (Cause::Stopping, End::Left),
        };
        if is_in_hand {
            let company = if alone { "alone" } else { "among others" };
            lines.push(format!("a process dies with {id} in hand, {company}: {said:?}"));
        }
        told.push(Back { id, said, end });
        let token = delivery.token;
        news.push(HostEvent::Finished { token, lease, outcomes, unsettled, cause, lease_done: false });
    }
    news.extend(leases.into_iter().map(|lease| HostEvent::LeaseDone { lease }));
    let channel = instance.channel.as_str().into();
    let failure = Failure::Died("died of signal 11".to_owned());
    news.push(HostEvent::WorkerFailed {
        channel,
        failure,
        pause: Duration::from_secs(chance.below(3) as u64),
    });
    lines
}
