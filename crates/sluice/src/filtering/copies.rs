//! The verdicts about a message, and what they leave of it: contents, and who gets each.
//!
//! Filters of the source channel see the whole message, by their numbers. Then each destination channel with filters has its copy shown to
//! those. What a destination filter sends to another channel passes the filters of that channel, unless they have seen this copy.
//!
//! # Invariants
//! A filter sees what the one before has left. A copy passes the filters of a channel once, so that filters which send mail to
//! each other's channels come to an end. A refusal for now is the answer to the whole message.
//! # Not here
//! Storing what is left (`filtering`).

use std::sync::Arc;
use std::time::Instant;

use sluice_config::{FilterUse, WAITING_CHANNEL, WithoutVerdict};
use sluice_dispatch::Loaded;
use sluice_host::{About, Judged, Shown, ShownRecipient, Verdict};
use sluice_mail::{Address, Envelope, Recipient, Refusal, Status};
use sluice_smtp::replies;
use sluice_smtpd::{Accepted, Orders, Origin, Session};

use super::content::Content;
use super::waiting::Waiting;
use super::{destination_filters, from_number};
use crate::hub::Hub;
use crate::lookups;
use crate::recipients::Recipients;

/// Most copies that destination filters are shown, whatever they send where.
const COPIES_MAX: usize = 1000;

/// One recipient on the way through the filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct To {
    pub(crate) recipient: Recipient,
    /// The reverse-path of its copy.
    pub(crate) sender: String,
    pub(crate) held: bool,
    /// Why a filter holds it; empty when none does.
    pub(crate) hold_reason: String,
}

impl To {
    /// The recipients of an envelope.
    pub(crate) fn of(envelope: &Envelope) -> impl Iterator<Item = To> + '_ {
        envelope.recipients.iter().map(|recipient| To {
            recipient: recipient.clone(),
            sender: envelope.sender.clone(),
            held: envelope.held,
            hold_reason: envelope.hold_reason.clone(),
        })
    }
}

/// What the filters leave.
#[derive(Debug)]
pub(crate) struct Filtered {
    /// Contents and who gets them. One content comes as often as there are reasons to hold it: all who are held in a part are held
    /// for the same.
    pub(crate) copies: Vec<(Arc<Content>, Vec<To>)>,
    /// Who gets nothing, and is to be told why.
    pub(crate) refused: Vec<(To, Refusal)>,
    /// The message as the filters of the source channel have left it.
    pub(crate) whole: Arc<Content>,
}

/// A copy, or the whole message before there are copies.
struct Copy {
    /// The channel that it is for; `None` for the whole message.
    channel: Option<String>,
    content: Arc<Content>,
    to: Vec<To>,
    /// Channels whose filters it has passed.
    passed: Vec<String>,
}

/// What is left of a copy behind its filters.
enum Left {
    Copy(Copy),
    /// Thrown away, by a filter's word or because nobody gets it.
    Nothing,
    Refused(Vec<To>, Refusal),
}

/// Shows a message to its filters.
pub(crate) struct Copies<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) loaded: &'a Loaded,
    pub(crate) session: &'a Session,
    pub(crate) about: Arc<About>,
    /// Nobody waits for the verdicts any more.
    pub(crate) end: Option<Instant>,
}

impl Copies<'_> {
    /// The message after all its filters; `None` when it is thrown away. `sender` is the client's reverse-path.
    pub(crate) fn filter(
        &self,
        sender: &str,
        source: &[FilterUse],
        content: Arc<Content>,
        to: Vec<To>,
    ) -> Result<Option<Filtered>, Refusal> {
        let whole = Copy { channel: None, content, to, passed: Vec::new() };
        let whole = match self.pass(sender, source, whole)? {
            Left::Copy(whole) => whole,
            Left::Nothing => return Ok(None),
            Left::Refused(_, refusal) => return Err(refusal),
        };
        let content = Arc::clone(&whole.content);
        let mut filtered = Filtered { copies: Vec::new(), refused: Vec::new(), whole: content };
        let mut waiting = Vec::new();
        let mut discarded = false;
        self.divide(whole, &mut waiting, &mut filtered);
        let mut shown = 0;
        while let Some(copy) = waiting.pop() {
            shown += 1;
            if shown > COPIES_MAX {
                tracing::error!(id = %self.about.id, "filters send a message to more than {COPIES_MAX} copies; it is refused for now");
                return Err(not_now());
            }
            let channel = copy.channel.clone().unwrap_or_default();
            let filters = match Waiting::of(self.session) {
                // What it has passed before it waited, it has passed; what filters send there has not.
                Some(Waiting::Destination { number, channel: of })
                    if of == channel && copy.passed.is_empty() =>
                {
                    from_number(destination_filters(self.loaded, &channel), number)
                }
                _ => destination_filters(self.loaded, &channel),
            };
            match self.pass(sender, filters, copy)? {
                Left::Copy(mut copy) => {
                    copy.passed.push(channel);
                    self.divide(copy, &mut waiting, &mut filtered);
                }
                Left::Nothing => discarded = true,
                Left::Refused(to, refusal) => {
                    filtered.refused.extend(to.into_iter().map(|one| (one, refusal.clone())));
                }
            }
        }
        match filtered.refused.first() {
            // Nobody gets it: the client is told itself.
            Some((_, refusal)) if filtered.copies.is_empty() && !discarded => Err(refusal.clone()),
            // Also when all is thrown away: the session may have turned somebody away, who is to be told.
            _ => Ok(Some(filtered)),
        }
    }

    /// Sorts recipients into those whose channel still has filters to pass, and those that are through.
    fn divide(&self, copy: Copy, waiting: &mut Vec<Copy>, filtered: &mut Filtered) {
        let first = waiting.len();
        for one in copy.to {
            let channel = one.recipient.channel.as_str();
            let is_through = Waiting::has(&one.recipient)
                || destination_filters(self.loaded, channel).is_empty()
                || copy.passed.iter().any(|passed| passed == channel);
            if is_through {
                let suits = |(content, to): &&mut (Arc<Content>, Vec<To>)| {
                    let held = to.iter().find(|other| one.held && other.held);
                    Arc::ptr_eq(content, &copy.content)
                        && held.is_none_or(|held| held.hold_reason == one.hold_reason)
                };
                match filtered.copies.iter_mut().find(suits) {
                    Some((_, to)) => to.push(one),
                    None => filtered.copies.push((Arc::clone(&copy.content), vec![one])),
                }
                continue;
            }
            match waiting[first..].iter_mut().find(|other| other.channel.as_deref() == Some(channel)) {
                Some(other) => other.to.push(one),
                None => waiting.push(Copy {
                    channel: Some(channel.to_owned()),
                    content: Arc::clone(&copy.content),
                    to: vec![one],
                    passed: copy.passed.clone(),
                }),
            }
        }
    }

    /// Shows a copy to these filters, one after another.
    fn pass(&self, sender: &str, filters: &[FilterUse], mut copy: Copy) -> Result<Left, Refusal> {
        for asked in filters {
            // A number without a plugin is a filter that is switched off.
            let Some(filter) = self.hub.filters().get(asked.number) else { continue };
            let (id, number, plugin) = (&self.about.id, asked.number, filter.plugin());
            if is_over(self.end) {
                tracing::error!(%id, filter = number, plugin, "a filter is not asked any more: verdicts have taken too long; the message is refused for now");
                return Err(not_now());
            }
            let judged = filter.ask(self.shown(sender, asked, &copy));
            let Judged { verdict, edits, added, withdrawn } = match judged {
                Ok(judged) => judged,
                Err(why) => {
                    let becomes = match filter.without_verdict() {
                        WithoutVerdict::Waits if !self.may_wait() => WithoutVerdict::Refused,
                        other => other,
                    };
                    tracing::error!(%id, filter = number, plugin, %why, "a filter has no verdict; {}", consequence(becomes));
                    match becomes {
                        WithoutVerdict::Passes => continue,
                        WithoutVerdict::Waits => {
                            let channel = copy.channel.as_deref();
                            let queue =
                                Waiting::queue(number, channel, &self.session.admission.source_channel);
                            for one in &mut copy.to {
                                WAITING_CHANNEL.clone_into(&mut one.recipient.channel);
                                one.recipient.domain.clone_from(&queue);
                            }
                            return Ok(Left::Copy(copy));
                        }
                        WithoutVerdict::Refused => return Err(not_now()),
                    }
                }
            };
            let channel = copy.channel.as_deref();
            match verdict {
                Verdict::Accept => {}
                Verdict::Refuse(refusal) => {
                    tracing::info!(%id, filter = number, plugin, channel, %refusal, "refused by a filter");
                    if refusal.is_temporary() {
                        return Err(refusal);
                    }
                    return Ok(Left::Refused(copy.to, refusal));
                }
                Verdict::Discard => {
                    tracing::info!(%id, filter = number, plugin, channel, recipients = copy.to.len(), "thrown away by a filter");
                    return Ok(Left::Nothing);
                }
                Verdict::Hold(reason) => {
                    tracing::warn!(%id, filter = number, plugin, channel, %reason, "held by a filter");
                    for one in &mut copy.to {
                        one.held = true;
                        if one.hold_reason.is_empty() {
                            one.hold_reason = format!("filter {number}: {reason}");
                        }
                    }
                }
            }
            copy.content = copy.content.edited(&edits);
            let held = copy.to.first().filter(|one| one.held && !one.hold_reason.is_empty()).cloned();
            let mut position = 0;
            copy.to.retain(|_| {
                position += 1;
                withdrawn.binary_search(&(position - 1)).is_err()
            });
            for address in added {
                self.add(sender, &address, number, held.as_ref(), &copy.content, &mut copy.to)?;
            }
            if copy.to.is_empty() {
                tracing::info!(%id, filter = number, plugin, channel, "thrown away: a filter has left no recipient");
                return Ok(Left::Nothing);
            }
        }
        Ok(Left::Copy(copy))
    }

    /// Whether mail can wait for a filter: it can be brought in again, and is not being brought in again at the moment, by a channel which keeps
    /// it and tries again by itself.
    fn may_wait(&self) -> bool {
        let channel = self.loaded.config.channels.by_name(WAITING_CHANNEL);
        channel.is_some_and(|channel| channel.plugin.as_deref() == Some("reprocess"))
            && self.session.origin != Origin::Again
    }

    fn shown(&self, sender: &str, asked: &FilterUse, copy: &Copy) -> Shown {
        let recipients = copy.to.iter().map(|one| ShownRecipient {
            address: one.recipient.address.clone(),
            original: one.recipient.original.clone(),
            channel: one.recipient.channel.clone(),
            wishes: one.recipient.wishes.clone(),
        });
        Shown {
            about: Arc::clone(&self.about),
            number: asked.number,
            opt_in: asked.opt_in.clone(),
            destination_channel: copy.channel.clone(),
            sender: sender.to_owned(),
            recipients: recipients.collect(),
            may_be_edited: copy.content.may_be_edited(),
            content: Arc::clone(&copy.content) as Arc<dyn sluice_host::Content>,
        }
    }

    /// Adds whom an address stands for, as if the client had named it; not for a channel that takes no message as large as that. `held`
    /// is somebody whom the same filter holds.
    fn add(
        &self,
        sender: &str,
        path: &str,
        filter: u32,
        held: Option<&To>,
        content: &Content,
        to: &mut Vec<To>,
    ) -> Result<(), Refusal> {
        let id = &self.about.id;
        let refused = |why: &dyn std::fmt::Display| {
            tracing::warn!(%id, filter, address = path, %why, "a recipient that a filter adds is not taken");
        };
        let address = match Address::parse(path) {
            Ok(address) => address,
            Err(error) => {
                refused(&error);
                return Ok(());
            }
        };
        let mut orders = Orders::default();
        let accepted = lookups::answered(self.loaded, || {
            Recipients { loaded: self.loaded, session: self.session, sender, path }
                .accept(&address, &mut orders)
        });
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) if refusal.is_temporary() => return Err(refusal),
            Err(refusal) => {
                refused(&refusal);
                return Ok(());
            }
        };
        let limited = accepted.iter().any(|one| one.size_max.is_some() || one.lines_max.is_some());
        let (octets, lines) = if limited { content.measure() } else { (0, 0) };
        for Accepted { recipient, sender: own, held: on_hold, size_max, lines_max, .. } in accepted {
            if let Some(most) = size_max.filter(|most| octets > *most) {
                refused(&replies::too_large_for_recipients(most).into_refusal());
                continue;
            }
            if let Some(most) = lines_max.filter(|most| lines > *most) {
                refused(&replies::too_long_for_recipients(most).into_refusal());
                continue;
            }
            let known = |one: &To| {
                (&one.recipient.channel, &one.recipient.address) == (&recipient.channel, &recipient.address)
            };
            if to.iter().any(known) {
                continue;
            }
            tracing::info!(%id, filter, address = %recipient.address, channel = %recipient.channel, "a filter sends it there too");
            to.push(To {
                recipient,
                sender: own.unwrap_or_else(|| sender.to_owned()),
                held: on_hold || held.is_some(),
                hold_reason: held.map(|one| one.hold_reason.clone()).unwrap_or_default(),
            });
        }
        Ok(())
    }
}

/// What becomes of a message without a verdict, in words for the log.
fn consequence(becomes: WithoutVerdict) -> &'static str {
    match becomes {
        WithoutVerdict::Passes => "the message passes without it",
        WithoutVerdict::Refused => "the message is refused for now",
        WithoutVerdict::Waits => "the message waits on the channel reprocess",
    }
}

/// What is said when there is no verdict.
pub(super) fn not_now() -> Refusal {
    Refusal::new(451, Status::new(4, 7, 1), "the message cannot be looked at now, try again later")
}

/// Whether the time for verdicts has passed.
pub(super) fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| end <= Instant::now())
}
