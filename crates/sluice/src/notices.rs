//! Notices that come of a message as it is accepted: about recipients who do not get it after all, and about those who stand
//! for others. What they return of it, and who is told.
//!
//! Not here: what a notice says (`dispatch`).

use std::collections::BTreeMap;

use sluice_dispatch::{Answered, Draft, Fate, NoNotice, RETURNED_WHOLE_MAX, early_notices};
use sluice_mail::notice::Action;
use sluice_mail::{Envelope, Recipient, Refusal, Time, Wishes};
use sluice_smtpd::{Expanded, Refused, Transaction};

use crate::hub::{self, Hub};

/// So much of a message is remembered, in wire form: enough for all that a notice returns of it.
const HEAD_OCTETS_MAX: usize = 2 * RETURNED_WHOLE_MAX;

/// What there is to tell.
pub(crate) struct News<'a> {
    /// The reverse-path of the client, who hears of those that stand for others.
    pub(crate) sender: &'a str,
    pub(crate) refused: Vec<Refused>,
    pub(crate) expanded: Vec<Expanded>,
    pub(crate) wishes: Wishes,
    pub(crate) arrived: Time,
}

fn is_wanted(expanded: &Expanded) -> bool {
    expanded.wishes.notify.wants(expanded.action)
}

/// The beginning of a message that may call for a notice at once.
pub(crate) struct Head(Vec<u8>);

impl Head {
    /// Room for it, if the message is of that kind.
    pub(crate) fn of(transaction: &Transaction) -> Option<Head> {
        let uncertain = transaction
            .recipients
            .iter()
            .any(|one| one.refused.is_some() || one.size_max.is_some() || one.lines_max.is_some());
        (uncertain || transaction.expanded.iter().any(is_wanted)).then(|| Head(Vec::new()))
    }

    /// Takes the next octets, as far as they are of use.
    pub(crate) fn remember(&mut self, octets: &[u8]) {
        let room = HEAD_OCTETS_MAX.saturating_sub(self.0.len()).min(octets.len());
        self.0.extend_from_slice(&octets[..room]);
    }

    /// The notices about these recipients, one for each reverse-path. When nobody can be told of a refusal, the client is: the
    /// first one is the answer to its message.
    pub(crate) fn notices(
        &self,
        hub: &Hub,
        source_channel: &str,
        news: News<'_>,
    ) -> Result<Vec<(Draft, Envelope, Vec<u8>)>, Refusal> {
        let News { sender, refused, expanded, wishes, arrived } = news;
        let mut by_sender: BTreeMap<String, Vec<Answered>> = BTreeMap::new();
        for Refused { recipient, sender, refusal } in refused {
            let fate = Fate::Refused(refusal);
            by_sender.entry(sender).or_default().push(Answered { recipient, fate });
        }
        // Nobody is told about a notice.
        for one in expanded.into_iter().filter(|one| is_wanted(one) && !sender.is_empty()) {
            let fate = if one.action == Action::Expanded { Fate::Expanded } else { Fate::Listed };
            let Expanded { original, wishes, .. } = one;
            let recipient = Recipient { address: original.clone(), original, wishes, ..Recipient::default() };
            by_sender.entry(sender.to_owned()).or_default().push(Answered { recipient, fate });
        }
        let loaded = hub.loaded();
        let mut notices = Vec::new();
        for (sender, answered) in by_sender {
            let about = Envelope {
                sender: hub::rewritten(&loaded, &sender, source_channel),
                arrived,
                source_channel: source_channel.to_owned(),
                wishes: wishes.clone(),
                ..Envelope::default()
            };
            let refusals = answered.iter().filter_map(|one| match &one.fate {
                Fate::Refused(refusal) => Some(refusal.clone()),
                Fate::Expanded | Fate::Listed => None,
            });
            let first = refusals.collect::<Vec<_>>().into_iter().next();
            match (early_notices(&loaded, about, answered, &self.0, || hub.dispatcher().draft()), first) {
                (Ok(made), _) => notices.extend(made),
                (Err(why), None) => tracing::warn!(%why, "no notice of the delivery"),
                (Err(why @ NoNotice::NobodyToTell), Some(first)) => {
                    tracing::warn!(refusal = %first, %why, "recipients are refused after the fact");
                }
                (Err(why @ NoNotice::NoRoute(_)), Some(first)) => {
                    tracing::warn!(refusal = %first, %why, "recipients are refused, and the message with them");
                    return Err(first);
                }
            }
        }
        Ok(notices)
    }
}
