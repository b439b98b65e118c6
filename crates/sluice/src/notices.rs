//! Notices about recipients who do not get a message after all: what they return of it, and who is told.
//!
//! Not here: what a notice says (`dispatch`).

use std::collections::BTreeMap;

use sluice_dispatch::{Draft, NoNotice, RETURNED_WHOLE_MAX, refused_notice};
use sluice_mail::{Envelope, Refusal, Time};
use sluice_smtpd::{Refused, Transaction};

use crate::hub::{self, Hub};

/// So much of a message is remembered, in wire form: enough for all that a notice returns of it.
const HEAD_OCTETS_MAX: usize = 2 * RETURNED_WHOLE_MAX;

/// The beginning of a message of which some recipients may not get a copy.
pub(crate) struct Head(Vec<u8>);

impl Head {
    /// Room for it, if the message is of that kind.
    pub(crate) fn of(transaction: &Transaction) -> Option<Head> {
        let uncertain = transaction
            .recipients
            .iter()
            .any(|one| one.refused.is_some() || one.size_max.is_some() || one.lines_max.is_some());
        uncertain.then(|| Head(Vec::new()))
    }

    /// Takes the next octets, as far as they are of use.
    pub(crate) fn remember(&mut self, octets: &[u8]) {
        let room = HEAD_OCTETS_MAX.saturating_sub(self.0.len()).min(octets.len());
        self.0.extend_from_slice(&octets[..room]);
    }

    /// The notices about refused recipients, one for each reverse-path. When nobody can be told, the client is: the first
    /// refusal is the answer to its message.
    pub(crate) fn notices(
        &self,
        hub: &Hub,
        source_channel: &str,
        refused: Vec<Refused>,
        arrived: Time,
    ) -> Result<Vec<(Draft, Envelope, Vec<u8>)>, Refusal> {
        if refused.is_empty() {
            return Ok(Vec::new());
        }
        let loaded = hub.loaded();
        let mut by_sender: BTreeMap<String, Vec<Refused>> = BTreeMap::new();
        for one in refused {
            by_sender.entry(one.sender.clone()).or_default().push(one);
        }
        let mut notices = Vec::new();
        for (sender, refused) in by_sender {
            let about = Envelope {
                sender: hub::rewritten(&loaded, &sender, source_channel),
                arrived,
                source_channel: source_channel.to_owned(),
                ..Envelope::default()
            };
            let first = refused[0].refusal.clone();
            let refused = refused
                .into_iter()
                .map(|one| sluice_dispatch::Refused { recipient: one.recipient, refusal: one.refusal })
                .collect();
            match refused_notice(&loaded, about, refused, &self.0, || hub.dispatcher().draft()) {
                Ok(made) => notices.extend(made),
                Err(why @ NoNotice::NobodyToTell) => {
                    tracing::warn!(refusal = %first, %why, "recipients are refused after the fact");
                }
                Err(why @ NoNotice::NoRoute(_)) => {
                    tracing::warn!(refusal = %first, %why, "recipients are refused, and the message with them");
                    return Err(first);
                }
            }
        }
        Ok(notices)
    }
}
