//! Notices to the senders of messages that came in a batch, for recipients who were refused.
//!
//! The session that would have told the other site has ended long before: its batch was written then.

use std::time::SystemTime;

use sluice_mail::notice::{Action, Notice, Report, Returned};
use sluice_mail::{Return, wishes};
use sluice_sdk::Outcome;

use crate::text::{Parcel, To};

/// So much of a message is returned.
const RETURNED_MAX: usize = 64 << 10;

/// A notice about these recipients, in wire form. `name` tells it from all others.
pub(crate) fn notice(host: &str, name: &str, parcel: &Parcel, refused: &[(&To, Outcome)]) -> Vec<u8> {
    let now = sluice_mail::Time::from(SystemTime::now());
    let report = |(recipient, outcome): &(&To, Outcome)| {
        let status = outcome.status();
        Report {
            original: recipient.address.clone(),
            origin: recipient.wishes.decoded().map(|(kind, to)| format!("{kind}; {to}")).unwrap_or_default(),
            final_address: recipient.address.clone(),
            action: Action::Failed,
            status: sluice_mail::Status {
                class: status.class,
                subject: status.subject,
                detail: status.detail,
            },
            diagnostic: outcome.text().to_owned(),
            peer: String::new(),
            last_attempt: Some(now),
            retry_until: None,
        }
    };
    let limit = if parcel.wishes.returned == Some(Return::Headers) { 0 } else { RETURNED_MAX };
    let notice = Notice {
        reporting_mta: host.to_owned(),
        sender: parcel.sender.clone(),
        postmaster: format!("postmaster@{host}"),
        personal: String::new(),
        message_id: format!("{name}.{}@{host}", now.0),
        date: now,
        arrived: now,
        envelope_id: wishes::xtext_decoded(&parcel.wishes.envelope_id).unwrap_or_default(),
        later: None,
        recipients: refused.iter().map(report).collect(),
        returned: Returned::of([parcel.content.as_slice()], limit),
    };
    sluice_sdk::wire(&notice.build())
}
