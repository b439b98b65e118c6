//! Notices about recipients that a client was told would get the message, and who cannot.
//!
//! The front door knows of them before the message is kept: under `acceptalladdresses` an address need not exist, and a
//! message may turn out too large for the channel of one recipient of several. The message is then kept for the others,
//! and this notice with it; the client gets its 250 when both are safe.
//!
//! # Not here
//! Who fails later (`settle`).

use std::sync::Arc;

use sluice_mail::{Envelope, Outcome, Recipient, Refusal, wire};
use sluice_queue::{EntryView, State};
use sluice_spool::Location;

use crate::event::{Loaded, NoticeEnd};
use crate::handle::Draft;
use crate::notice::{Audience, News, NoticeJob, RETURNED_WHOLE_MAX};

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

/// The notices to the sender of `about`, whose recipients are not looked at, and to the postmaster if they are not one.
/// Who gets one is decided by the channel that the message came in by (`sendpost` and its kind). `head` is the beginning of
/// the message as it came; unless the message is larger than [`RETURNED_WHOLE_MAX`], all of it.
///
/// # Errors
/// [`NoNotice`] says why nobody can be told.
pub fn refused_notice(
    loaded: &Arc<Loaded>,
    about: Envelope,
    refused: Vec<Refused>,
    head: &[u8],
    mut draft: impl FnMut() -> Draft,
) -> Result<Vec<(Draft, Envelope, Vec<u8>)>, NoNotice> {
    let source = loaded.config.channels.by_name(&about.source_channel);
    let failed = (0u32..).zip(&refused).map(|(index, refused)| {
        let Refusal { status, .. } = refused.refusal;
        (index, Outcome::Failed { status, text: refused.refusal.to_string(), peer: String::new() })
    });
    let terms = source.map(|channel| channel.settings.notice_terms.clone()).unwrap_or_default();
    let mut place = draft();
    let mut job = NoticeJob {
        number: 0,
        news: News::Failed(failed.collect()),
        now: about.arrived,
        copies: source.map(|channel| channel.settings.send_post).unwrap_or_default(),
        audience: Audience::first(&terms),
        terms,
        loaded: Arc::clone(loaded),
        // No queue has these recipients.
        entry: EntryView {
            id: place.id(),
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
    let about = Envelope { recipients, ..about };
    let mut made = Vec::new();
    loop {
        match job.write(place.id(), wire::unstuff(head), RETURNED_WHOLE_MAX, &about) {
            Ok((envelope, content)) => made.push((std::mem::replace(&mut place, draft()), envelope, content)),
            Err(NoticeEnd::NoRoute(why) | NoticeEnd::NotNow(why) | NoticeEnd::Unreadable(why)) => {
                return Err(NoNotice::NoRoute(why));
            }
            Err(NoticeEnd::NobodyToTell | NoticeEnd::Committed(_)) if job.audience.next().is_some() => {}
            // Nothing is committed here.
            Err(NoticeEnd::NobodyToTell | NoticeEnd::Committed(_)) => return Err(NoNotice::NobodyToTell),
        }
        match job.audience.next() {
            Some(next) => job.audience = next,
            None => return Ok(made),
        }
    }
}
