//! Segments in quarantine as the command line and the control socket show them.
//!
//! Not here: reading them and bringing mail back (`spool`), the words for people (`commands::spool_bring_back`).

use sluice_admin::protocol::{AsideRow, AsideSegmentRow};
use sluice_mail::Envelope;
use sluice_spool::{Aside, AsideMessage, Fate};

/// What is missing and has an envelope that nobody understands is not brought back: there is no queue that it could stand in.
pub(crate) fn doubt_envelopes(aside: &mut Aside) {
    for message in &mut aside.messages {
        if message.fate == Fate::Missing
            && let Err(error) = Envelope::decode(&message.envelope)
        {
            message.fate = Fate::Damaged(format!("its envelope is not understood: {error}"));
        }
    }
}

/// Nothing is left to be hoped for of it, once what is missing is brought back.
pub(crate) fn is_done(aside: &Aside) -> bool {
    aside.is_whole && aside.damaged().next().is_none()
}

/// A message as a row.
pub(crate) fn message_row(aside: &Aside, message: &AsideMessage) -> AsideRow {
    let (fate, what) = match &message.fate {
        Fate::Missing => ("missing", None),
        Fate::There => ("there", None),
        Fate::Settled => ("settled", None),
        Fate::Gone => ("gone", None),
        Fate::Damaged(why) => ("damaged", Some(why.clone())),
    };
    let envelope = Envelope::decode(&message.envelope).ok();
    let recipients =
        |envelope: &Envelope| envelope.recipients.iter().map(|one| one.address.clone()).collect();
    AsideRow {
        id: message.id.to_string(),
        file: aside.path.display().to_string(),
        fate: fate.to_owned(),
        content_bytes: message.body_len,
        recipients: envelope.as_ref().map(recipients),
        sender: envelope.map(|envelope| envelope.sender),
        what,
    }
}

/// A segment as a row.
pub(crate) fn segment_row(number: u32, aside: &Aside) -> AsideSegmentRow {
    AsideSegmentRow {
        segment: number,
        file: aside.path.display().to_string(),
        is_whole: aside.is_whole,
        has_unread_journal: aside.has_unread_journal,
        missing: aside.missing().count() as u64,
        damaged: aside.damaged().count() as u64,
    }
}
