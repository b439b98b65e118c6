//! Peers at work: deliveries that go over lines of the simulated network, to sessions that go on by themselves.
//!
//! A peer is another machine: it outlives crashes of the hub, and what was said to the end it may still take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sluice_host::Delivery;
use sluice_mail::{Handover, Outcome};
use sluice_spool::EntryId;

use super::super::chance::Chance;
use super::super::door::Wall;
use super::super::ledger::{Ledger, Said};
use super::super::network::{Line, Serving};
use super::super::peers::{Deed, Deeds, PeerDoor, Transfer, WORDS};
use super::super::planted::Plant;
use super::World;

/// The peer's side of a transfer.
struct Peer {
    line: Line,
    serving: Serving,
    /// The network may cut it.
    is_doomed: bool,
}

/// All of them, and what was sent to whom.
#[derive(Default)]
pub(super) struct Peers {
    peers: Vec<Peer>,
    transfers: u64,
    /// What each transfer is: its message, its recipients, and its content.
    sent: BTreeMap<u64, Sent>,
    deeds: Deeds,
    pub(super) is_good: Arc<AtomicBool>,
    plant: Option<Plant>,
}

struct Sent {
    id: EntryId,
    recipients: BTreeMap<String, u32>,
    content: Vec<u8>,
    /// Whom the peer has taken it for.
    taken: BTreeSet<u32>,
    /// What it has said to refuse one of them, or all.
    refused: Vec<(Option<u32>, String)>,
}

impl Peers {
    pub(super) fn new(plant: Option<Plant>) -> Self {
        Self { plant, ..Self::default() }
    }

    /// Begins to send a delivery to a peer.
    pub(super) fn call(&mut self, delivery: Delivery, wall: &Wall, chance: &mut Chance) -> Transfer {
        self.transfers += 1;
        let number = self.transfers;
        let line = Line::new(*chance.pick(&[32, 1000, 65_536]));
        let mut content = Vec::new();
        delivery.content.pieces(&mut |piece| content.extend_from_slice(piece));
        let recipients = delivery.recipients.iter().map(|one| (one.address.clone(), one.index)).collect();
        let id = delivery.id.parse().expect("ids of ours");
        self.sent
            .insert(number, Sent { id, recipients, content, taken: BTreeSet::new(), refused: Vec::new() });
        let transfer = Transfer::new(number, delivery, line.clone(), chance.once_in(2), self.plant);
        let door = PeerDoor {
            transfer: number,
            expected: transfer.expected(),
            wall: Arc::clone(wall),
            is_good: Arc::clone(&self.is_good),
            chance: Mutex::new(Chance::new(chance.number())),
            deeds: Arc::clone(&self.deeds),
        };
        let serving = Serving::of(&line, Arc::new(door));
        let is_doomed = !self.is_good.load(Ordering::Relaxed) && chance.once_in(3);
        self.peers.push(Peer { line, serving, is_doomed });
        transfer
    }

    /// What peers have made their own since somebody looked: each of them whole, and what was sent.
    pub(super) fn take_note(&mut self, ledger: &mut Ledger) -> Vec<String> {
        let mut lines = Vec::new();
        for (transfer, deed) in std::mem::take(&mut *self.deeds.lock().expect("no panic within")) {
            let sent = self.sent.get_mut(&transfer).expect("it was called");
            let (addresses, content) = match deed {
                Deed::Took { addresses, content } => (addresses, content),
                Deed::Refused { address, words } => {
                    let whom = address.map(|address| sent.recipients[&address]);
                    lines.push(format!("a peer refuses {} for {whom:?}: {words}", sent.id));
                    sent.refused.push((whom, words));
                    continue;
                }
            };
            let (front, own) = content.split_at(content.len().saturating_sub(sent.content.len()));
            assert!(own == sent.content, "a peer has taken something else than {}", sent.id);
            let front = String::from_utf8_lossy(front);
            let is_folded = front.split_inclusive("\r\n").skip(1).all(|line| line.starts_with('\t'));
            assert!(front.starts_with("Received: ") && is_folded, "{front:?} stands before {}", sent.id);
            for address in addresses {
                let index = sent.recipients[&address];
                assert!(sent.taken.insert(index), "{address} got {} twice in one transaction", sent.id);
                ledger.delivered(sent.id, index);
            }
            lines.push(format!("a peer takes {} for {:?}", sent.id, sent.taken));
        }
        lines
    }

    /// What the hub's side has made of a transfer, which must be true: delivered is who was taken, has failed who was refused,
    /// and in the peer's words; whoever waits may have been either, since words are lost on the way.
    pub(super) fn said(&mut self, transfer: &Transfer, outcomes: &[(u32, Outcome)]) -> Vec<(u32, Said)> {
        let sent = self.sent.remove(&transfer.number);
        let sent = sent.expect("a transfer ends once");
        let is_turned = transfer.delivery.next_hop.is_some();
        let said: Vec<(u32, Said)> =
            outcomes.iter().map(|(index, outcome)| (*index, word(outcome, is_turned))).collect();
        for (index, said) in &said {
            let is_taken = sent.taken.contains(index);
            let says_so = matches!(said, Said::Delivered | Said::PassedOn);
            assert!(
                !says_so || is_taken,
                "recipient {index} of {} is called delivered, and nobody has it",
                sent.id
            );
            assert!(
                *said != Said::Failed || !is_taken,
                "recipient {index} of {} has failed, and was taken",
                sent.id
            );
        }
        for (index, outcome) in outcomes {
            let (Outcome::Failed { text, .. } | Outcome::Deferred { text, .. }) = outcome else { continue };
            let was_said = |(whom, words): &(Option<u32>, String)| {
                whom.is_none_or(|whom| whom == *index) && text.contains(words.as_str())
            };
            let is_quoting = text.contains(WORDS) || matches!(outcome, Outcome::Failed { .. });
            assert!(
                !is_quoting || sent.refused.iter().any(was_said),
                "nobody has said to recipient {index} of {}: {text}",
                sent.id
            );
        }
        // The peer may take it yet.
        self.sent.insert(transfer.number, sent);
        said
    }

    /// One thing that the network or a peer does. Whether octets moved.
    pub(super) fn go_on(&mut self, which: usize, chance: &mut Chance) -> bool {
        let Some(peer) = self.peers.get_mut(which) else { return false };
        if peer.is_doomed && chance.once_in(30) {
            peer.line.cut();
        }
        let moved = peer.line.carry(chance);
        if peer.serving.go_on() {
            self.peers.remove(which);
        }
        moved
    }

    pub(super) fn count(&self) -> usize {
        self.peers.len()
    }

    /// All of them, as far as they get.
    pub(super) fn go_on_all(&mut self, chance: &mut Chance) {
        for which in (0..self.peers.len()).rev() {
            let before = self.peers.len();
            while self.go_on(which, chance) && self.peers.len() == before {}
        }
    }
}

fn word(outcome: &Outcome, is_turned: bool) -> Said {
    match outcome {
        Outcome::Delivered { handover: Handover::PassedOn, .. } => Said::PassedOn,
        Outcome::Delivered { .. } => Said::Delivered,
        // Down a turned connection nothing is put off by a step of the schedule.
        Outcome::Deferred { .. } if is_turned => Said::Unreachable,
        Outcome::Deferred { status, peer, .. } if status.subject == 4 && peer.is_empty() => Said::Unreachable,
        Outcome::Deferred { .. } => Said::Deferred,
        Outcome::Failed { .. } => Said::Failed,
    }
}

impl World {
    /// Peers and the network towards them do something.
    pub(super) fn peer(&mut self) {
        for _ in 0..=self.chance.below(30) {
            let which = self.chance.below(self.peers.count());
            self.peers.go_on(which, &mut self.chance);
        }
        self.hear_of_peers();
    }

    pub(super) fn all_peers(&mut self) {
        self.peers.go_on_all(&mut self.chance);
        self.hear_of_peers();
    }

    fn hear_of_peers(&mut self) {
        let lines = self.peers.take_note(&mut self.ledger);
        lines.into_iter().for_each(|line| self.note(line));
    }
}
