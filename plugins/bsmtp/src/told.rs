//! Notices to the senders of messages that came in a batch, for recipients who were refused.
//!
//! The session that would have told the other site has ended long before: its batch was written then.

use std::time::SystemTime;

use sluice_mail::notice::{Action, Notice, Report, Returned};
use sluice_sdk::Outcome;

use crate::text::Parcel;

/// So much of a message is returned.
const RETURNED_MAX: usize = 64 << 10;

/// A notice about these recipients, in wire form. `name` tells it from all others.
pub(crate) fn notice(host: &str, name: &str, parcel: &Parcel, refused: &[(&str, Outcome)]) -> Vec<u8> {
    let now = sluice_mail::Time::from(SystemTime::now());
    let report = |(recipient, outcome): &(&str, Outcome)| {
        let status = outcome.status();
        Report {
            original: (*recipient).to_owned(),
            origin: String::new(),
            final_address: (*recipient).to_owned(),
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
    let notice = Notice {
        reporting_mta: host.to_owned(),
        sender: parcel.sender.clone(),
        postmaster: format!("postmaster@{host}"),
        personal: String::new(),
        message_id: format!("{name}.{}@{host}", now.0),
        date: now,
        arrived: now,
        envelope_id: String::new(),
        later: None,
        recipients: refused.iter().map(report).collect(),
        returned: Returned::of([parcel.content.as_slice()], RETURNED_MAX),
    };
    sluice_sdk::wire(&notice.build())
}
