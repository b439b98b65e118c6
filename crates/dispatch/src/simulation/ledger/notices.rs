//! Notices that the hub has made: each of them is about somebody who is known, wants to be told, and was told what is true.
//!
//! # Not here
//! What they look like (`sluice_mail::notice`).

use sluice_mail::Envelope;
use sluice_mail::notice::Action;
use sluice_spool::EntryId;

use super::{AGE_MAX, Closed, Ledger, Message, Standing, Word};
use crate::core::Core;

impl Ledger {
    /// A message that nobody has sent: a notice, or an invention.
    pub(super) fn adopt(&mut self, id: EntryId, at: sluice_spool::Location, core: &Core) {
        let stored = core.spool.read(at).unwrap_or_else(|error| panic!("{id} cannot be read: {error}"));
        let envelope = Envelope::decode(stored.envelope()).expect("an envelope of ours");
        let content: Vec<u8> = stored.pieces().flat_map(<[u8]>::to_vec).collect();
        assert!(envelope.sender.is_empty(), "{id} from {} was sent by nobody", envelope.sender);
        let text = String::from_utf8_lossy(&content).into_owned();
        let mut address = "";
        let mut reports = 0;
        let mut is_volatile = false;
        let (now, ages_wait, is_starting) = (self.now, self.ages_wait, self.is_starting);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if let Some(final_address) = line.strip_prefix("Final-Recipient: rfc822;") {
                address = final_address.trim();
            }
            let Some(action) = line.strip_prefix("Action: ") else { continue };
            reports += 1;
            let known = self.recipients().find(|recipient| recipient.address == address);
            let known =
                known.unwrap_or_else(|| panic!("a notice about {address}, whom nobody has written to"));
            match action.trim() {
                "failed" => {
                    assert!(
                        known.notify.wants(Action::Failed),
                        "{address}: its sender did not want to be told"
                    );
                    let is_for_age = !is_starting && !known.is_failing && known.gone == Word::No;
                    let end = known.arrived.plus(AGE_MAX);
                    let is_old = end <= now && now >= ages_wait || known.was_old;
                    assert!(
                        !is_for_age || is_old,
                        "{address} is returned for its age at {}: {known:?}",
                        now.0
                    );
                    // Unless it was something else that has ended it.
                    if known.is_failing && known.gone == Word::No {
                        let words = known.words.as_str();
                        let is_quoted = lines[at..]
                            .iter()
                            .take_while(|line| !line.is_empty())
                            .any(|line| line.contains(words));
                        assert!(
                            is_quoted,
                            "{address} has failed because of {words}, and its sender is told: {text}"
                        );
                    }
                    known.is_told = true;
                    known.is_told_now = true;
                }
                "delivered" | "relayed" => {
                    assert!(
                        known.notify.wants(Action::Delivered),
                        "{address}: its sender did not want to be told"
                    );
                    assert!(known.delivered > 0, "{address} was told of as delivered, and nobody has it");
                    known.is_success_told = true;
                    if std::mem::take(&mut known.is_passing) {
                        known.closed = Closed::Volatile;
                        is_volatile = true;
                    }
                }
                "delayed" => {
                    assert!(
                        known.notify.wants(Action::Delayed),
                        "{address}: its sender did not want to be told"
                    );
                }
                other => panic!("{address}: {other}?"),
            }
        }
        self.is_volatile |= is_volatile;
        assert!(reports > 0, "{id} has a null sender and is no notice: {text}");
        let mut message = Message::new(envelope, content, Word::No, core, now);
        message.is_notice = true;
        message.standing = Standing::Acknowledged;
        self.messages.insert(id, message);
    }
}
