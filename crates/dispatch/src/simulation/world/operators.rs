//! Operators and peers that ask for mail: releases, acts on entries, what is closed and opened, reloads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice_mail::Time;
use sluice_queue::{Selector, State};
use sluice_spool::EntryId;

use super::super::ledger::{Recipient, Word};
use super::super::scenery::{self, CHANNELS, PEER, PLACES};
use super::{Answer, World, alive};
use crate::acts::{Act, Acting, Portion};
use crate::choose::Chosen;
use crate::closed::{Closing, ClosingDone, ClosingError};
use crate::core::Core;
use crate::desk::open_recipients;
use crate::event::Event;
use crate::order::{Order, Peer, Released, Requester, Via};
use crate::policy::Policy;
use crate::renew::NotMade;

/// What is closed: channels, and domains with what is below them and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shut {
    pub(super) channels: BTreeSet<String>,
    pub(super) domains: BTreeMap<(String, bool), Option<Time>>,
}

impl Shut {
    pub(super) fn of(core: &Core) -> Self {
        let is_stopped = |name: &&&str| core.closed.is_stopped(name);
        let channels = CHANNELS.iter().filter(is_stopped).map(|name| (*name).to_owned()).collect();
        let domains = core.closed.suspensions().map(|one| ((one.domain.clone(), one.below), one.until));
        Self { channels, domains: domains.collect() }
    }

    pub(super) fn at(mut self, now: Time) -> Self {
        self.domains.retain(|_, until| until.is_none_or(|until| until > now));
        self
    }

    pub(super) fn covers(&self, domain: &str) -> bool {
        self.domains
            .keys()
            .any(|(name, below)| domain == name || *below && domain.ends_with(&format!(".{name}")))
    }

    pub(super) fn apply(&mut self, closing: &Closing, now: Time) {
        match closing.clone() {
            Closing::Stop(names) => self.channels.extend(names),
            Closing::Start(names) => names.iter().for_each(|name| {
                self.channels.remove(name);
            }),
            Closing::Suspend { domain, below, time, .. } => {
                self.domains.insert((domain, below), time.map(|time| now.plus(time)));
            }
            Closing::Resume { domain, below } => {
                self.domains.remove(&(domain, below));
            }
        }
    }
}

/// Whether an order for this may move a recipient's mail.
pub(super) fn is_meant(selector: &Selector, id: EntryId, recipient: &Recipient) -> bool {
    let Recipient { channel, domain, .. } = recipient;
    let is_peer = |name: &str| name == PEER.0 && channel == PEER.1;
    match selector {
        Selector::Host(name) => domain == name || is_peer(name),
        Selector::Subnet(name) => domain == name || domain.ends_with(&format!(".{name}")) || is_peer(name),
        Selector::Channel(name) => channel == name,
        Selector::Message(message) => id == *message,
    }
}

impl World {
    pub(super) fn order(&mut self) {
        let (channel, domain) = *self.chance.pick(&PLACES);
        let some_id = {
            let ids: Vec<EntryId> = self.ledger.messages.keys().copied().collect();
            if ids.is_empty() { None } else { Some(*self.chance.pick(&ids)) }
        };
        let selector = match self.chance.below(6) {
            0 | 1 => Selector::Host(domain.to_owned()),
            2 => Selector::Subnet(domain.split_once("deep.").map_or(domain, |(_, rest)| rest).to_owned()),
            3 => Selector::Channel(channel.to_owned()),
            4 => Selector::Host(PEER.0.to_owned()),
            _ => some_id.map_or(Selector::Channel(channel.to_owned()), Selector::Message),
        };
        let by_peer = self.chance.once_in(2) && !matches!(selector, Selector::Message(_));
        let requester = if by_peer {
            Requester::Etrn(Peer { source_channel: "tcp_local".to_owned(), ..Peer::default() })
        } else {
            Requester::Operator
        };
        let mut order = Order::new(selector.clone(), requester);
        match self.chance.below(6) {
            0 => order.via = Via::target("[192.0.2.7]:2525").expect("an address"),
            1 if by_peer => order.via = Via::turned("/run/turned".to_owned()),
            _ => {}
        }
        self.note(format!("order {selector} {}", order.via));
        let released = Arc::new(Mutex::new(None));
        let told = Arc::clone(&released);
        let done = Box::new(move |answer: Released| {
            *told.lock().expect("no panic within") = Some(answer.id);
        });
        let _ = self.hub().handle.tell(Event::Release { order, done });
        self.asked.push(selector);
        // Answered with the next round: the session behind a turned release may end at any time after that.
        if self.chance.once_in(2) {
            self.round();
            self.releases.extend(released.lock().expect("no panic within").take());
        } else if let Some(id) = self.releases.pop() {
            let _ = self.hub().handle.tell(Event::EndRelease(id));
        }
    }

    pub(super) fn act(&mut self) {
        let hub = alive(&self.hub);
        let mut keys = Vec::new();
        hub.core.queues.walk(0, u32::MAX, |key, entry, message| keys.push((key, message.id, entry.queue)));
        if keys.is_empty() {
            return;
        }
        let (key, id, queue) = *self.chance.pick(&keys);
        let act = self.chance.weighed(&[
            (5, Act::Hold),
            (4, Act::Release),
            (2, Act::Retry),
            (1, Act::Return),
            (1, Act::Delete),
        ]);
        let number = usize::try_from(self.number()).unwrap_or(usize::MAX);
        let hub = alive(&self.hub);
        let core = &hub.core;
        let (channel, domain) = core.queues.queue_names(queue);
        let channel = Arc::clone(core.queues.channel_name(channel));
        let Some(message) = self.ledger.messages.get_mut(&id) else { return };
        let open = open_recipients(&message.envelope, &channel, domain, core.queues.open(key));
        let open: Vec<u32> = open.map(|(index, _)| index).collect();
        for &index in &open {
            let recipient = &mut message.recipients[index as usize];
            recipient.act = number;
            match act {
                Act::Hold if recipient.held == Word::No => recipient.held = Word::Asked,
                Act::Release if recipient.held == Word::Promised => recipient.held = Word::Asked,
                Act::Return | Act::Delete => {
                    if recipient.gone == Word::No {
                        recipient.gone = Word::Asked;
                    }
                    // It stands on hold no more while its sender is being told.
                    recipient.held = Word::Asked;
                }
                _ => {}
            }
        }
        self.acts.push((act, id, open));
        let acting = Arc::new(Acting { act, by: "somebody".to_owned(), reason: String::new() });
        let answers = Arc::clone(&self.answers);
        let done = Box::new(move |portion| {
            answers.lock().expect("no panic within").push(Answer::Act { number, act, id, portion });
        });
        let chosen = vec![Chosen { id, key }];
        let _ = self.hub().handle.tell(Event::Act { acting, chosen, done });
        self.note(format!("{} {id} on {channel}", act.name()));
    }

    pub(super) fn acted(&mut self, number: usize, act: Act, id: EntryId, portion: &Portion) {
        self.note(format!("{} {id}: {portion:?}", act.name()));
        let Ok(tally) = *portion else { return };
        let Some(message) = self.ledger.messages.get_mut(&id) else { return };
        for recipient in message.recipients.iter_mut().filter(|one| one.act == number) {
            match act {
                Act::Hold if tally.done == 1 => recipient.held = Word::Promised,
                Act::Release if tally.done == 1 => recipient.held = Word::No,
                Act::Return | Act::Delete if tally.done == 1 => {
                    recipient.gone = Word::Promised;
                    recipient.is_returned = act == Act::Return;
                }
                Act::Return if tally.failed == 1 => recipient.held = Word::Asked,
                _ => {}
            }
        }
    }

    pub(super) fn closing(&mut self) {
        let (channel, domain) = *self.chance.pick(&PLACES);
        let below = self.chance.once_in(2);
        let names = vec![channel.to_owned()];
        let domain = domain.to_owned();
        let closing = match self.chance.below(5) {
            0 => Closing::Stop(names),
            1 => Closing::Start(names),
            2 => {
                let minutes = [None, Some(1), Some(200)];
                let time = self.chance.pick(&minutes).map(|minutes| Duration::from_secs(minutes * 60));
                Closing::Suspend { domain, below, time, reason: String::new() }
            }
            _ => Closing::Resume { domain, below },
        };
        self.close(closing);
    }

    pub(super) fn close(&mut self, closing: Closing) {
        self.note(format!("{closing:?}"));
        // The round that comes takes it in at this very moment.
        self.round();
        let mut after = self.snapshots.last().cloned().unwrap_or_default().at(self.now);
        after.apply(&closing, self.now);
        self.snapshots.push(after);
        let snapshot = self.snapshots.len() - 1;
        let answers = Arc::clone(&self.answers);
        let done = Box::new(move |result: Result<_, ClosingError>| {
            let is_durable = match result {
                Ok(rows) => {
                    let rows: Vec<ClosingDone> = rows;
                    // What was so before was noted by somebody else, who has the answer.
                    rows.iter().any(|row| row.changed)
                }
                Err(_) => false,
            };
            answers.lock().expect("no panic within").push(Answer::Closing { snapshot, is_durable });
        });
        self.closings.push(closing.clone());
        let _ = self.hub().handle.tell(Event::Close { closing, done });
        self.round();
    }

    pub(super) fn reload(&mut self) {
        // One or the other, by the rules of the house (`Handle::renew`).
        if self.renewal.is_some() {
            return;
        }
        let variant = self.chance.below(scenery::variants());
        let loaded = scenery::loaded(variant);
        let policies = Policy::of_all(&loaded.config);
        let tried = match self.chance.once_in(3) {
            // Whoever does not try instances out has new ones started later.
            true => Vec::new(),
            false => {
                let instances = policies.iter().filter_map(|policy| policy.instance.clone()).collect();
                let (hub, now) = (self.hub.as_mut().expect("a hub lives between the steps"), self.now);
                let planned = hub.core.plan_reload(instances, now);
                let runners = &hub.handle.shared.runners;
                match hub.handle.start_all(planned, |instance, events| runners.start(instance, events)) {
                    Ok(tried) => tried,
                    Err(NotMade { channel, why, .. }) => {
                        return self.note(format!("reload {variant} is refused: {channel}: {why}"));
                    }
                }
            }
        };
        self.variant = variant;
        self.note(format!("reload {variant}, tried out: {}", tried.len()));
        self.has_reloaded = true;
        let _ = self.hub().handle.tell(Event::Reload { loaded, policies, tried, done: Box::new(|()| ()) });
        // What it makes due is due, even if another one follows.
        self.round();
    }

    pub(super) fn release_all_held(&mut self) {
        let hub = self.hub();
        let mut chosen = Vec::new();
        let queues = &hub.core.queues;
        queues.walk(0, u32::MAX, |key, entry, message| {
            if entry.state() == State::Held {
                chosen.push(Chosen { id: message.id, key });
            }
        });
        let ids: BTreeSet<EntryId> = chosen.iter().map(|one| one.id).collect();
        for recipient in self
            .ledger
            .messages
            .iter_mut()
            .filter(|(id, _)| ids.contains(id))
            .flat_map(|(_, m)| &mut m.recipients)
        {
            if recipient.held == Word::Promised {
                recipient.held = Word::Asked;
            }
            recipient.not_before = Time(0);
            recipient.date = Time(0);
        }
        let acting = Acting { act: Act::Release, by: "somebody".to_owned(), reason: String::new() };
        let done = Box::new(|_| ());
        let _ = self.hub().handle.tell(Event::Act { acting: Arc::new(acting), chosen, done });
    }
}
