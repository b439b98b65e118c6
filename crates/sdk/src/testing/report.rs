//! What a channel did on a bench.

use crate::{Level, Outcome};
use std::fmt::Write;

/// How a function of the plugin came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// As it should.
    #[default]
    Well,
    /// `run` returned without having been told to.
    Early,
    /// The settings are wrong.
    Refused(String),
    /// It could not.
    Failed(String),
    /// It panicked; message and place.
    Panicked(String),
    /// It did not come back.
    Hung,
}

/// What became of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its queue id.
    pub id: String,
    /// Address and outcome of each recipient; a hub defers those that have none.
    pub recipients: Vec<(String, Option<Outcome>)>,
    /// The channel has had it.
    pub handed_out: bool,
    /// It was taken away, because the test said that its time was over.
    pub taken_away: bool,
}

/// A line that the plugin wrote to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How loud.
    pub level: Level,
    /// Which message it is about.
    pub id: Option<String>,
    /// What it says.
    pub text: String,
}

/// A message that the channel brought in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Envelope sender.
    pub sender: String,
    /// The recipients.
    pub recipients: Vec<BroughtTo>,
    /// In wire form.
    pub content: Vec<u8>,
    /// It says that it is not pure seven-bit text.
    pub eight_bit: bool,
    /// It says that it needs SMTPUTF8.
    pub smtputf8: bool,
    /// It is to appear to come from the channel that its delivery came in by.
    pub as_original: bool,
    /// It is to be on hold.
    pub on_hold: bool,
    /// It is the message of a delivery once more.
    pub again: bool,
    /// RET, as its number; 0 when nothing was said.
    pub returned: u8,
    /// ENVID; empty when there is none.
    pub envelope_id: String,
}

/// A recipient of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtTo {
    /// Where to.
    pub address: String,
    /// What notices are to name; empty where that is the address.
    pub original: String,
    /// NOTIFY, as a sum of bits.
    pub notify: u8,
    /// ORCPT.
    pub origin: String,
}

/// What a channel did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How `create` came back. With anything but [`Ended::Well`] nothing else happened.
    pub created: Ended,
    /// How `run` came back, for each worker.
    pub ended: Vec<Ended>,
    /// What became of each delivery: first those that were handed out, in that order.
    pub deliveries: Vec<Settled>,
    /// What it wrote to the log.
    pub log: Vec<Line>,
    /// What it brought in.
    pub submissions: Vec<Brought>,
    /// Where it broke the rules of the contract: settled twice, settled what is not there, kept what it should have given back.
    pub faults: Vec<String>,
}

impl Report {
    /// What became of the first recipient with this address.
    #[must_use]
    pub fn outcome(&self, address: &str) -> Option<&Outcome> {
        let mut all = self.deliveries.iter().flat_map(|one| &one.recipients);
        all.find(|(to, _)| to == address).and_then(|(_, outcome)| outcome.as_ref())
    }

    /// One line for each recipient: queue id, address, outcome, status, text.
    #[must_use]
    pub fn story(&self) -> String {
        let mut story = String::new();
        for delivery in &self.deliveries {
            for (address, outcome) in &delivery.recipients {
                let said = match outcome {
                    Some(Outcome::Delivered { status, text, .. }) => format!("delivered {status} {text}"),
                    Some(Outcome::Deferred { status, text, .. }) => format!("deferred {status} {text}"),
                    Some(Outcome::Failed { status, text, .. }) => format!("failed {status} {text}"),
                    None if !delivery.handed_out => "not handed out".to_owned(),
                    None if delivery.taken_away => "taken away".to_owned(),
                    None => "not settled".to_owned(),
                };
                let _ = writeln!(story, "{} {address} {said}", delivery.id);
            }
        }
        story
    }

    /// Everything ended as it should, everybody was settled, and no rule was broken.
    ///
    /// # Panics
    /// When not: with all that is known.
    #[track_caller]
    pub fn assert_clean(&self) {
        let well = |ended: &Ended| *ended == Ended::Well;
        let settled = |one: &Settled| {
            !one.handed_out || one.taken_away || one.recipients.iter().all(|(_, outcome)| outcome.is_some())
        };
        assert!(
            well(&self.created)
                && self.ended.iter().all(well)
                && self.faults.is_empty()
                && self.deliveries.iter().all(settled),
            "created {:?}, ended {:?}, faults {:#?}, log {:#?}\n{}",
            self.created,
            self.ended,
            self.faults,
            self.log,
            self.story()
        );
    }
}
