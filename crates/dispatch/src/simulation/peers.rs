//! Peers: hosts that the hub's mail goes to. Each stands at the server's end of a line of the simulated network, with a real session
//! (`sluice_smtpd`), and takes what it likes; at the other end is the hub's own side of the conversation (`sluice_smtp::client`), as the
//! tcp plugin drives it.
//!
//! # Not here
//! What the plugin does with its leases otherwise (`world::performing`), and when each goes on (`world::peering`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sluice_host::Delivery;
use sluice_mail::{Outcome, RecipientWishes, Refusal, Status, Time};
use sluice_smtp::client::{Client, Loss, Mail, Manner, Settled, Step, To, terminator};
use sluice_smtpd::{
    Accepted, Admission, Connection, Done, EtrnAnswer, Incoming, Intake, MailParams, Orders, Parcel, Session,
    Transaction,
};

use super::chance::Chance;
use super::door::{Wall, admission};
use super::network::{Heard, Line};
use super::planted::Plant;

/// What a peer has done in a transfer; whether the hub hears of it is another matter.
pub(super) enum Deed {
    /// It has made the message its own, for these.
    Took { addresses: Vec<String>, content: Vec<u8> },
    /// It has refused one recipient, or all of the message, with words that it uses once.
    Refused { address: Option<String>, words: String },
}

/// What peers have done, with the transfer of each deed.
pub(super) type Deeds = Arc<Mutex<Vec<(u64, Deed)>>>;

/// What a peer was to get.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    sender: String,
    recipients: Vec<(String, RecipientWishes)>,
}

/// Words that nobody else says, so that they are known wherever they are quoted.
pub(super) fn words(chance: &mut Chance) -> String {
    format!("{WORDS}{:016x}", chance.number())
}

/// What they begin with.
pub(super) const WORDS: &str = "because-";

/// A delivery that is on its way over a line.
pub(super) struct Transfer {
    pub(super) number: u64,
    pub(super) delivery: Delivery,
    line: Line,
    client: Client,
    /// Said, but not yet taken by the network.
    rest: VecDeque<u8>,
    has_begun: bool,
    plant: Option<Plant>,
}

fn content_of(delivery: &Delivery) -> Vec<u8> {
    let mut content = Vec::new();
    delivery.content.pieces(&mut |piece| content.extend_from_slice(piece));
    content
}

/// Without the dots that stuff it.
pub(super) fn unstuffed(content: &[u8]) -> Vec<u8> {
    let lines = content.split_inclusive(|octet| *octet == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}

impl Transfer {
    pub(super) fn new(
        number: u64,
        delivery: Delivery,
        line: Line,
        chunking: bool,
        plant: Option<Plant>,
    ) -> Self {
        let (name, peer) = ("hub.example".to_owned(), "peer.example".to_owned());
        let client = Client::new(Manner { name, peer, chunking, ..Manner::default() });
        Self { number, delivery, line, client, rest: VecDeque::new(), has_begun: false, plant }
    }

    pub(super) fn expected(&self) -> Expected {
        let recipients = self.delivery.recipients.iter();
        let recipients = recipients.map(|one| (one.address.clone(), one.wishes.clone())).collect();
        Expected { sender: self.delivery.sender.clone(), recipients }
    }

    /// Goes on as far as it gets. What became of each recipient, once that is known.
    pub(super) fn go_on(&mut self) -> Option<Vec<(u32, Outcome)>> {
        loop {
            while !self.rest.is_empty() {
                match self.line.say(self.rest.make_contiguous()) {
                    Some(0) => return None,
                    Some(taken) => drop(self.rest.drain(..taken)),
                    None => {
                        self.rest.clear();
                        self.client.lost(&Loss::Failed("broken pipe".to_owned()));
                    }
                }
            }
            match self.client.step() {
                Step::Write => {
                    self.rest.extend(self.client.output());
                    self.client.output_sent();
                }
                Step::Read(_) => match self.line.hear() {
                    Heard::Nothing => return None,
                    Heard::Octets(octets) => self.client.receive(&octets),
                    Heard::End => self.client.lost(&Loss::Closed),
                    Heard::Lost => self.client.lost(&Loss::Failed("connection reset".to_owned())),
                },
                Step::Ready => {
                    assert!(!self.has_begun, "a transaction has ended in nothing");
                    self.begin();
                }
                Step::Content => {
                    let content = content_of(&self.delivery);
                    match self.client.chunk() {
                        Some(command) => {
                            self.rest.extend(command);
                            self.rest.extend(unstuffed(&content));
                        }
                        None => {
                            self.rest.extend(&content);
                            self.rest.extend(terminator(&content));
                        }
                    }
                    self.client.content_sent();
                }
                Step::Settled(Settled { verdicts, .. }) => {
                    let mut outcomes: Vec<Outcome> =
                        verdicts.into_iter().map(|verdict| verdict.outcome).collect();
                    let is_taken = |outcome: &&Outcome| matches!(outcome, Outcome::Delivered { .. });
                    let taken = outcomes.iter().find(is_taken).cloned();
                    if let (Some(taken), Some(Plant::RefusedIsTaken)) = (taken, self.plant) {
                        outcomes.fill(taken);
                    }
                    return Some(
                        self.delivery.recipients.iter().map(|one| one.index).zip(outcomes).collect(),
                    );
                }
                Step::Over(ending) => {
                    let recipients = self.delivery.recipients.iter();
                    return Some(recipients.map(|one| (one.index, ending.outcome.clone())).collect());
                }
                Step::StartTls => unreachable!("nobody offers it"),
            }
        }
    }

    fn begin(&mut self) {
        self.has_begun = true;
        let delivery = &self.delivery;
        let content = content_of(delivery);
        let chunk = self.client.takes_chunks().then(|| unstuffed(&content).len() as u64);
        let mail = Mail {
            sender: &delivery.sender,
            size: Some(content.len() as u64),
            eight_bit: delivery.eight_bit,
            smtputf8: delivery.smtputf8,
            chunk,
            wishes: Some(&delivery.wishes),
        };
        let recipients = delivery.recipients.iter();
        self.client.begin(
            &mail,
            recipients.map(|one| To { address: one.address.as_str(), wishes: Some(&one.wishes) }),
        );
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // Whoever hangs up has sent what it has sent.
        self.line.hang_up();
    }
}

/// A peer's front door, for one transfer.
pub(super) struct PeerDoor {
    pub(super) transfer: u64,
    pub(super) expected: Expected,
    pub(super) wall: Wall,
    /// It takes everything.
    pub(super) is_good: Arc<AtomicBool>,
    pub(super) chance: Mutex<Chance>,
    pub(super) deeds: Deeds,
}

impl PeerDoor {
    /// `address`: whom it would refuse; `None`: everybody.
    fn mood(&self, one_in: usize, address: Option<&str>) -> Result<(), Refusal> {
        let mut chance = self.chance.lock().expect("no panic within");
        if self.is_good.load(Ordering::Relaxed) || !chance.once_in(one_in) {
            return Ok(());
        }
        let status = |class| Status { class, subject: 2, detail: 0 };
        let words = words(&mut chance);
        let deed = Deed::Refused { address: address.map(str::to_owned), words: words.clone() };
        self.deeds.lock().expect("no panic within").push((self.transfer, deed));
        Err(match chance.below(3) {
            0 => Refusal::new(550, status(5), words),
            1 => Refusal::new(452, status(4), words),
            _ => Refusal::new(450, status(4), words),
        })
    }
}

impl Intake for PeerDoor {
    fn now(&self) -> Time {
        Time(self.wall.load(Ordering::Relaxed))
    }

    fn admit(&self, _: &Connection) -> Result<Admission, Refusal> {
        Ok(admission(64 << 10))
    }

    fn sender(&self, _: &Session, path: &str, _: &MailParams, _: &mut Orders) -> Result<(), Refusal> {
        assert_eq!(path, self.expected.sender, "another sender was sent");
        self.mood(20, None)
    }

    fn recipient(
        &self,
        session: &Session,
        _: &str,
        path: &str,
        _: &mut Orders,
    ) -> Result<Vec<Accepted>, Refusal> {
        let is_meant = self.expected.recipients.iter().any(|(address, _)| address == path);
        assert!(is_meant, "{path} is none of {:?}", self.expected);
        self.mood(4, Some(path))?;
        let recipient = sluice_mail::Recipient {
            address: path.to_owned(),
            original: path.to_owned(),
            channel: session.admission.source_channel.clone(),
            domain: "peer.example".to_owned(),
            ..sluice_mail::Recipient::default()
        };
        Ok(vec![recipient.into()])
    }

    fn begin(&self, _: &Session, transaction: &Transaction) -> Box<dyn Incoming> {
        for accepted in &transaction.recipients {
            let one = &accepted.recipient;
            let wishes = self.expected.recipients.iter().find(|(address, _)| *address == one.address);
            assert_eq!(wishes.map(|(_, wishes)| wishes.notify), Some(one.wishes.notify), "{one:?}");
        }
        let (transfer, deeds) = (self.transfer, Arc::clone(&self.deeds));
        Box::new(Taking { transfer, deeds, mood: self.mood(10, None), content: Vec::new() })
    }

    fn etrn(&self, _: &Session, _: &str, _: Box<dyn FnOnce(EtrnAnswer) + Send>) {
        unreachable!("ETRN is not offered");
    }
}

struct Taking {
    transfer: u64,
    deeds: Deeds,
    mood: Result<(), Refusal>,
    content: Vec<u8>,
}

impl Incoming for Taking {
    fn id(&self) -> String {
        self.transfer.to_string()
    }

    fn chunk(&mut self, bytes: Vec<u8>, done: Done) {
        self.content.extend_from_slice(&bytes);
        done(Ok(()));
    }

    fn commit(mut self: Box<Self>, parcel: Parcel, done: Done) {
        if let Err(refusal) = self.mood {
            return done(Err(refusal));
        }
        self.content.extend_from_slice(&parcel.tail);
        let recipients = parcel.envelopes.iter().flat_map(|envelope| &envelope.recipients);
        let addresses = recipients.map(|one| one.address.clone()).collect();
        let Self { transfer, content, deeds, .. } = *self;
        deeds.lock().expect("no panic within").push((transfer, Deed::Took { addresses, content }));
        done(Ok(()));
    }
}
