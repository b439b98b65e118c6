//! Notices about recipients that a client was told would get the message, and who cannot.
//!
//! The front door knows of them before the message is kept: under `acceptalladdresses` an address need not exist, and a
//! message may turn out too large for the channel of one recipient of several. The message is then kept for the others,
//! and this notice with it; the client gets its 250 when both are safe.
//!
//! # Not here
//! Who fails later (`settle`).

use std::sync::Arc;

use sluice_mail::notice::Returned;
use sluice_mail::{Envelope, Outcome, Recipient, Refusal};
use sluice_queue::{EntryView, State};
use sluice_spool::{EntryId, Location};

use crate::event::{Loaded, NoticeEnd};
use crate::notice::{News, NoticeJob};

/// A recipient that a message was accepted for and cannot go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The recipient.
    pub recipient: Recipient,
    /// What the client would have been told, had there been a way.
    pub refusal: Refusal,
}

/// Why there is no notice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoNotice {
    /// The message is itself a notice, and nobody else is to be told.
    #[error("there is nobody to tell: null sender, no copy for the postmaster")]
    NobodyToTell,
    /// There is somebody, but no way to them.
    #[error("{0}")]
    NoRoute(String),
}

/// The notice with the id `id` to the sender of `about`, whose recipients are not looked at. Who else gets it is decided
/// by the channel that the message came in by (`sendpost` and its kind).
///
/// # Errors
/// [`NoNotice`] says why nobody can be told.
pub fn refused_notice(
    loaded: &Arc<Loaded>,
    id: EntryId,
    about: Envelope,
    refused: Vec<Refused>,
    returned: Returned,
) -> Result<(Envelope, Vec<u8>), NoNotice> {
    let source = loaded.config.channels.by_name(&about.source_channel);
    let failed = (0u32..).zip(&refused).map(|(index, refused)| {
        let Refusal { status, .. } = refused.refusal;
        (index, Outcome::Failed { status, text: refused.refusal.to_string(), peer: String::new() })
    });
    let job = NoticeJob {
        number: 0,
        news: News::Failed(failed.collect()),
        now: about.arrived,
        copies: source.map(|channel| channel.settings.send_post).unwrap_or_default(),
        return_address: source.and_then(|channel| channel.settings.return_address.clone()),
        loaded: Arc::clone(loaded),
        // No queue has these recipients.
        entry: EntryView {
            id,
            at: Location { segment: 0, offset: 0 },
            channel: Arc::from(about.source_channel.as_str()),
            domain: Arc::from(""),
            size: 0,
            arrived: about.arrived,
            attempts: 0,
            due: None,
            state: State::Leased,
            open: None,
        },
    };
    let recipients = refused.into_iter().map(|refused| refused.recipient).collect();
    job.write(id, returned, &Envelope { recipients, ..about }).map_err(|end| match end {
        NoticeEnd::NobodyToTell => NoNotice::NobodyToTell,
        NoticeEnd::NoRoute(why) | NoticeEnd::NotNow(why) | NoticeEnd::Unreadable(why) => {
            NoNotice::NoRoute(why)
        }
        // Nothing is committed here.
        NoticeEnd::Committed(_) => NoNotice::NobodyToTell,
    })
}
