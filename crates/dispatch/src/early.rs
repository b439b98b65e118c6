//! Notices that are due as soon as a message is accepted: about recipients that a client was told would get it and who
//! cannot, and about those that stand for others, where the sender wants to hear of success.
//!
//! The front door knows of them before the message is kept: under `acceptalladdresses` an address need not exist, and a
//! message may turn out too large for the channel of one recipient of several. The message is then kept for the others,
//! and this notice with it; the client gets its 250 when both are safe.
//!
//! # Not here
//! Who fails later (`settle`).

use std::sync::Arc;

use sluice_config::PostmasterCopies;
use sluice_mail::notice::Action;
use sluice_mail::{Envelope, Handover, Outcome, Recipient, Refusal, Status, wire};
use sluice_queue::{EntryView, State};
use sluice_spool::Location;

use crate::event::{Loaded, NoticeEnd};
use crate::handle::Draft;
use crate::notice::{Audience, News, NoticeJob, RETURNED_WHOLE_MAX, Told};

/// A recipient that a message was accepted for, and about which its sender has to hear already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The recipient.
    pub recipient: Recipient,
    /// What has become of it.
    pub fate: Fate,
}

/// What becomes of a recipient at the front door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The message cannot go there: what the client would have been told, had there been a way.
    Refused(Refusal),
    /// It stands for several addresses, to which the message goes on (RFC 3461 section 5.2.7).
    Expanded,
    /// It is a list, and the message has got there.
    Listed,
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

/// The notices about recipients to the sender of `about`, whose recipients are not looked at, and to the postmaster if they are not one.
/// Who gets one is decided by the channel that the message came in by (`sendpost` and its kind). `head` is the beginning of
/// the message as it came; unless the message is larger than [`RETURNED_WHOLE_MAX`], all of it.
///
/// # Errors
/// [`NoNotice`] says why nobody can be told.
pub fn early_notices(
    loaded: &Arc<Loaded>,
    about: Envelope,
    answered: Vec<Answered>,
    head: &[u8],
    mut draft: impl FnMut() -> Draft,
) -> Result<Vec<(Draft, Envelope, Vec<u8>)>, NoNotice> {
    let source = loaded.config.channels.by_name(&about.source_channel);
    let done = |text: &str| {
        let status = Status { class: 2, subject: 0, detail: 0 };
        Outcome::Delivered { status, text: text.to_owned(), peer: String::new(), handover: Handover::Final }
    };
    let told = (0u32..).zip(&answered).map(|(index, answered)| match &answered.fate {
        Fate::Refused(refusal) => {
            let (status, text) = (refusal.status, refusal.to_string());
            Told {
                index,
                action: Action::Failed,
                outcome: Outcome::Failed { status, text, peer: String::new() },
            }
        }
        Fate::Expanded => {
            Told { index, action: Action::Expanded, outcome: done("stands for several addresses") }
        }
        Fate::Listed => Told { index, action: Action::Delivered, outcome: done("delivered to the list") },
    });
    let news = News::Settled(told.collect());
    let terms = source.map(|channel| channel.settings.notice_terms.clone()).unwrap_or_default();
    let mut place = draft();
    let mut job = NoticeJob {
        number: 0,
        now: about.arrived,
        copies: match news.is_good() {
            true => PostmasterCopies::Never,
            false => source.map(|channel| channel.settings.send_post).unwrap_or_default(),
        },
        news,
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
            priority: about.transfer_priority(),
            arrived: about.arrived,
            attempts: 0,
            due: None,
            state: State::Leased,
            open: None,
        },
    };
    let recipients = answered.into_iter().map(|answered| answered.recipient).collect();
    let about = Envelope { recipients, ..about };
    let mut made = Vec::new();
    loop {
        match job.write(place.id(), wire::unstuff(head), RETURNED_WHOLE_MAX, &about) {
            Ok((envelope, content)) => made.push((std::mem::replace(&mut place, draft()), envelope, content)),
            Err(NoticeEnd::NoRoute(why) | NoticeEnd::NotNow(why) | NoticeEnd::Unreadable(why)) => {
                return Err(NoNotice::NoRoute(why));
            }
            // All that there is to tell is about these recipients, and the sender does not want to hear it.
            Err(NoticeEnd::NotWanted) => return Ok(made),
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
