//! From an envelope to what the index is told: which channel each recipient takes, and who shares an entry.
//!
//! A channel has one entry for each of its destination domains. With `single` each recipient has one of its own, and with
//! `addrsperfile` no more than so many recipients share one; such an entry names its recipients. That of `multiple` goes
//! the other way, and is done when a lease is taken (`schedule`): what waits stays apart by domain, so that a release may
//! name one.

use sluice_config::{Channels, Config, Copies, waits_for_filter};
use sluice_mail::{Envelope, Recipient};
use sluice_spool::{EntryId, Location};

use crate::event::{Part, Ticket};

/// Recipients that are looked at one by one for neighbours; a longer list is sorted first.
const UNSORTED_MAX: usize = 16;

/// Lines of a piece of content.
pub(crate) fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Moves recipients to the alternate channels of theirs, where the message is beyond a limit (`alternatechannel`). Once:
/// the alternate channel's own alternate is not asked.
pub(crate) fn divert(envelope: &mut Envelope, size: u64, lines: impl FnOnce() -> u64, config: &Config) {
    let of = |recipient: &Recipient| {
        if waits_for_filter(&recipient.channel, &recipient.domain) {
            return None;
        }
        config.channels.by_name(&recipient.channel).and_then(|channel| channel.settings.alternate.as_ref())
    };
    if envelope.recipients.iter().all(|recipient| of(recipient).is_none()) {
        return;
    }
    let lines = lines();
    let beyond = |value: u64, limit: Option<u64>| limit.is_some_and(|limit| value > limit);
    let counts: Vec<u64> = {
        let mut counts = std::collections::HashMap::<&str, u64>::new();
        for recipient in &envelope.recipients {
            *counts.entry(&recipient.channel).or_default() += 1;
        }
        envelope.recipients.iter().map(|recipient| counts[recipient.channel.as_str()]).collect()
    };
    for (recipient, count) in envelope.recipients.iter_mut().zip(counts) {
        let Some(alternate) = of(recipient) else { continue };
        let is_too_much = beyond(size, alternate.block_limit)
            || beyond(lines, alternate.line_limit)
            || beyond(count, alternate.recipient_limit);
        if !is_too_much {
            continue;
        }
        if config.channels.by_name(&alternate.channel).is_none() {
            let (channel, alternate) = (&recipient.channel, &alternate.channel);
            tracing::warn!(channel, alternate, "the alternate channel does not exist; mail keeps its own");
            continue;
        }
        tracing::debug!(from = recipient.channel, to = alternate.channel, "takes the alternate channel");
        recipient.channel.clone_from(&alternate.channel);
    }
}

/// What the index needs to know of a message.
pub(crate) fn ticket(id: EntryId, at: Location, size: u64, envelope: Envelope, config: &Config) -> Ticket {
    let priority = envelope.transfer_priority();
    let Envelope { arrived, held, hold_reason, deferred_until, source_channel, wishes, recipients, .. } =
        envelope;
    let promised = wishes
        .later
        .map(|later| later.date(arrived))
        .filter(|date| *date > arrived && Some(*date) == deferred_until);
    // RFC 4865: the time in which it is to be delivered begins with its release. Its age is counted from there, so that nobody
    // is warned of a delay that was asked for.
    let arrived = promised.unwrap_or(arrived);
    let deferred_source = deferred_until
        .and_then(|_| config.channels.by_name(&source_channel))
        .and_then(|channel| channel.settings.deferred_source);
    let parts = match recipients.len() {
        0 | 1 => whole_parts(recipients),
        _ if recipients.iter().all(|recipient| share(&config.channels, recipient).is_none()) => {
            whole_parts(recipients)
        }
        _ => shared_parts(recipients, &config.channels),
    };
    Ticket {
        id,
        at,
        size,
        arrived,
        priority,
        held,
        hold_reason: hold_reason.into_boxed_str(),
        deferred_until,
        promised: promised.is_some(),
        deferred_source,
        parts,
    }
}

/// Most recipients in an entry of the recipient's channel; `None` for all that there are.
fn share(channels: &Channels, recipient: &Recipient) -> Option<usize> {
    let settings = &channels.by_name(&recipient.channel)?.settings;
    let single = (settings.copies == Copies::Single).then_some(1);
    let limit = settings.addrs_per_file.map(|limit| limit.max(1) as usize);
    single.or(limit)
}

/// A part for each channel and domain.
fn whole_parts(mut recipients: Vec<Recipient>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    // Recipients of one message mostly share few destinations, and neighbours share them; a long list is sorted first.
    let sorted = recipients.len() > UNSORTED_MAX;
    if sorted {
        recipients.sort_unstable_by(|a, b| (&a.channel, &a.domain).cmp(&(&b.channel, &b.domain)));
    }
    for Recipient { channel, domain, .. } in recipients {
        let same = |part: &&mut Part| part.channel == channel && part.domain == domain;
        let part = if sorted { parts.last_mut().filter(same) } else { parts.iter_mut().find(same) };
        match part {
            Some(part) => part.recipients += 1,
            None => parts.push(Part { channel, domain, recipients: 1, open: None }),
        }
    }
    parts
}

/// The same, cut into shares where the channel wants that.
fn shared_parts(recipients: Vec<Recipient>, channels: &Channels) -> Vec<Part> {
    let mut numbered: Vec<(u32, Recipient)> = (0..).zip(recipients).collect();
    numbered.sort_by(|(_, a), (_, b)| (&a.channel, &a.domain).cmp(&(&b.channel, &b.domain)));
    let mut parts = Vec::new();
    for group in numbered.chunk_by(|(_, a), (_, b)| (&a.channel, &a.domain) == (&b.channel, &b.domain)) {
        let first = &group[0].1;
        let most = share(channels, first).unwrap_or(group.len());
        for piece in group.chunks(most.max(1)) {
            let indexes = || piece.iter().map(|(index, _)| *index).collect();
            parts.push(Part {
                channel: first.channel.clone(),
                domain: first.domain.clone(),
                recipients: u32::try_from(piece.len()).unwrap_or(u32::MAX),
                open: (piece.len() < group.len()).then(indexes),
            });
        }
    }
    parts
}
