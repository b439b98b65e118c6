//! What a sender wishes to be told (RFC 3461) and how soon its message is to go (RFC 6710), from the edge of the plugin to the words of SMTP.
//!
//! # Not here
//! When it is said: `sluice_smtp::client` knows what the server offers.

use sluice_mail::{Notify, RecipientWishes, Return, TransferPriority, Wishes};
use sluice_sdk::Delivery;

/// About the message; nothing about its priority where that is not `passed` on.
pub(crate) fn of(delivery: &Delivery<'_>, passed: bool) -> Wishes {
    Wishes {
        returned: Return::from_number(delivery.returned()).flatten(),
        envelope_id: delivery.envelope_id().to_owned(),
        priority: delivery.transfer_priority().filter(|_| passed).and_then(TransferPriority::new),
        // Whoever holds a message has done it for all.
        ..Wishes::default()
    }
}

/// About each recipient; nothing where nothing was said about any.
pub(crate) fn of_recipients(delivery: &Delivery<'_>) -> Vec<RecipientWishes> {
    if delivery.recipients().all(|one| one.notify == 0 && one.origin.is_empty()) {
        return Vec::new();
    }
    let said = delivery.recipients().map(|one| RecipientWishes {
        notify: Notify::from_bits(one.notify).unwrap_or_default(),
        original: one.origin.to_owned(),
    });
    said.collect()
}
