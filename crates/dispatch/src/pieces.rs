//! Mail that goes over the channel `defragment`: pieces of messages that are for a channel with that keyword, and messages that are too
//! large for one with `maxblocks` or `maxlines`.
//!
//! What comes from such a channel is not led there again. In its queue a piece keeps its domain; a message that is to be cut stands
//! under the name of the channel that it is cut for, which is how the plugin knows the limits.
//!
//! # Not here
//! Putting together and cutting (the plugin `defragment`).

use std::fmt::Write as _;

use sluice_config::{Channel, Config, DEFRAGMENT, waits_for_filter};
use sluice_mail::mime::Partial;
use sluice_mail::{Envelope, Recipient};

/// Octets of a message in which its header must end, to be looked at. A longer one is no piece of a message that any program makes.
const HEAD_MAX: usize = 64 * 1024;

/// The beginning of a message, as far as it is needed to see whether it is a piece.
#[derive(Debug, Default)]
pub(crate) struct Head(Vec<u8>);

impl Head {
    /// Whether any channel asks.
    pub(crate) fn wanted(config: &Config) -> bool {
        config.channels.by_name(DEFRAGMENT).is_some()
            && config.channels.iter().any(|channel| channel.settings.defragment || is_limited(channel))
    }

    /// Takes what follows.
    pub(crate) fn take(&mut self, octets: &[u8]) {
        let room = HEAD_MAX - self.0.len();
        self.0.extend_from_slice(&octets[..octets.len().min(room)]);
    }

    /// Whether it is a piece of a message.
    pub(crate) fn is_piece(&self) -> bool {
        Partial::of(sluice_mail::mime::split(&self.0).0).is_some()
    }
}

fn is_limited(channel: &Channel) -> bool {
    channel.settings.piece_octets.is_some() || channel.settings.piece_lines.is_some()
}

/// Whether mail of this envelope may be led to the channel `defragment`.
fn may_lead(envelope: &Envelope, config: &Config) -> bool {
    let source = config.channels.by_name(&envelope.source_channel);
    !source.is_some_and(Channel::defragments) && config.channels.by_name(DEFRAGMENT).is_some()
}

/// Recipients of mail that does not wait for a filter: what does is looked at when it comes in again.
fn going(envelope: &mut Envelope) -> impl Iterator<Item = &mut Recipient> {
    envelope.recipients.iter_mut().filter(|one| !waits_for_filter(&one.channel, &one.domain))
}

/// Leads a piece of a message over the channel `defragment` for recipients whose channels want it put together.
pub(crate) fn lead_piece(envelope: &mut Envelope, config: &Config) {
    if !may_lead(envelope, config) {
        return;
    }
    for recipient in going(envelope) {
        if config.channels.by_name(&recipient.channel).is_some_and(|channel| channel.settings.defragment) {
            DEFRAGMENT.clone_into(&mut recipient.channel);
        }
    }
}

/// Leads a message that is no piece over the channel `defragment` for recipients whose channels want it cut. What is to be converted
/// is cut, or not, when it comes back.
pub(crate) fn lead_large(envelope: &mut Envelope, size: u64, lines: impl Fn() -> u64, config: &Config) {
    if !may_lead(envelope, config) {
        return;
    }
    for recipient in going(envelope) {
        let Some(channel) = config.channels.by_name(&recipient.channel) else { continue };
        let settings = &channel.settings;
        if !channel.converts()
            && (settings.piece_octets.is_some_and(|most| size > most)
                || settings.piece_lines.is_some_and(|most| lines() > most))
        {
            recipient.domain.clone_from(&channel.name);
            DEFRAGMENT.clone_into(&mut recipient.channel);
        }
    }
}

/// The limits of all channels that mail is cut for: name, octets and lines, with 0 for none.
pub(crate) fn cut_limits(config: &Config) -> String {
    let mut text = String::new();
    for channel in config.channels.iter().filter(|channel| is_limited(channel)) {
        let (octets, lines) = (channel.settings.piece_octets, channel.settings.piece_lines);
        let _ = write!(text, "{} {} {} ", channel.name, octets.unwrap_or(0), lines.unwrap_or(0));
    }
    text
}
